"""Interpreter: a worker that keeps its __main__ from one request to the next (see interlace._serve)."""

import itertools
import marshal
import threading
import weakref
from concurrent.interpreters import ExecutionFailed, InterpreterError, InterpreterNotFoundError, NotShareableError
from types import FunctionType, SimpleNamespace

import _interlace
from _interlace import BrokenChannel, Cancelled, EndOfChannel

from interlace import _bootstrap, _main, _serve, _stateless, _worker
from interlace.interpreters import _scripts

_MAIN = 0
_numbers = itertools.count(1)


def create():
    """Make a new interpreter, which does nothing yet, and return it (an Interpreter).

    It is made on its own thread meanwhile: this does not wait for it. Raises InterpreterError when the system lets the
    process have no more threads, or the host is about to end.

        interp = interpreters.create()
        print(interp.call(pow, 2, 10))     # 1024
        interp.close()
    """
    if _main.loading:
        raise RuntimeError(
            "the script makes an interpreter while its definitions are loaded in one: make it inside a function, or "
            'below `if __name__ == "__main__":`'
        )
    name = f"interpreter-{next(_numbers)}"
    sender, requests = _interlace.channel(2, name=name)
    job = _serve.serve, (requests,), {}
    with sender, requests:
        try:
            head = "call", _main.surroundings()
            worker = _interlace._spawn(head, job, name, 0, 1, _interlace.Scope(True), True)
            binding = _interlace._keep(worker, sender)
        except RuntimeError as error:
            raise InterpreterError(str(error)) from error
    return _known_or_new(binding.id, binding)


def list_all():
    """Return all interpreters of the process, as a list of Interpreter in the order they were made.

    That of a script is among them, as it is a worker.

        interp = interpreters.create()
        print(interp in interpreters.list_all())   # True
    """
    found = []
    for id in sorted({_MAIN, *_interlace._other_interpreters(), *_interlace._kept_interpreters()}):
        try:
            found.append(Interpreter(id))
        except InterpreterNotFoundError:  # it has ended since
            pass
    return found


def get_current():
    """Return the interpreter that this code runs in (an Interpreter).

    It is the main one in a script.

        print(interpreters.get_current() == interpreters.get_main())   # True
    """
    return Interpreter(_current())


def get_main():
    """Return the interpreter that runs the script (an Interpreter): the first one of the process.

    Its number is 0.

        print(interpreters.get_main().id)  # 0
    """
    return Interpreter(_MAIN)


def _current():
    return _interlace._id() - 1


def exists(id):
    """Whether there is an interpreter of that number (bool)."""
    return id in _interlace._kept_interpreters() or id in _interlace._other_interpreters()


_known = weakref.WeakValueDictionary()  # id: the one Interpreter of that number in this interpreter
_known_lock = threading.RLock()  # the collector may run in there, and with it anything


def _known_or_new(id, binding):
    interp = object.__new__(Interpreter)
    interp._id = id
    interp._end = None  # why it has ended, in words
    interp._kept = binding is not None
    interp._binding = binding if id != _current() else None  # one that names itself would never end
    with _known_lock:
        return _known.setdefault(id, interp)


class Interpreter:
    """An interpreter with a __main__ of its own, which lives until it is closed or nobody names it any more.

    There is one object for each number in each interpreter. It travels: in arguments, queues and messages.

    Interpreter(id) finds an interpreter by its number (int). Raises InterpreterNotFoundError.

        interp = interpreters.create()
        print(interpreters.Interpreter(interp.id) is interp)   # True
    """

    __slots__ = ("__weakref__", "_binding", "_end", "_id", "_kept")

    def __new__(cls, id, /):
        if not isinstance(id, int):
            raise TypeError(f"id must be an int, got {id!r}")
        if id < 0:
            raise ValueError(f"an interpreter's id must be a non-negative int, got {id!r}")
        interp = _known.get(id)
        if interp is not None:
            return interp
        binding = _interlace._find_interpreter(id)
        if binding is None and id != _MAIN and id not in _interlace._other_interpreters():
            raise InterpreterNotFoundError(f"unrecognized interpreter ID {id}")
        return _known_or_new(int(id), binding)

    def __repr__(self):
        return f"{type(self).__name__}({self._id})"

    def __hash__(self):
        return hash(self._id)

    def __reduce__(self):
        if self._kept and _interlace._encoding():  # it does not end while it is on its way
            return _arrive, (self._id, self._find().flight())
        return type(self), (self._id,)

    @property
    def id(self):
        """The interpreter's number (int), the same in all interpreters; never used twice in one process."""
        return self._id

    @property
    def whence(self):
        """Where it comes from (str), in the standard module's words."""
        if self._kept:
            return "_interpreters module"
        return "runtime init" if self._id == _MAIN else "C-API"

    def _find(self):
        binding = self._binding or _interlace._find_interpreter(self._id)
        if binding is None or not binding.listed():
            raise InterpreterNotFoundError(f"unrecognized interpreter ID {self._id}")
        return binding

    def _check_kept(self, what):
        if not self._kept:
            raise InterpreterError(f"cannot {what} unrecognized interpreter {self._id}: create() has not made it")

    def is_running(self):
        """Return whether the interpreter executes something in its __main__ (bool): an exec() or a call().

        The main interpreter does, and so does a worker of a Group. Raises InterpreterNotFoundError.

            print(interp.is_running(), interpreters.get_main().is_running())   # False True
        """
        if self._kept:
            return self._find().running()
        if self._id not in _interlace._other_interpreters():
            raise InterpreterNotFoundError(f"unrecognized interpreter ID {self._id}")
        return True

    def close(self):
        """End the interpreter: its threads are waited for, then it is destroyed.

        Raises InterpreterError when it executes something, or is the current one, or was not made by create();
        InterpreterNotFoundError when it has been closed before; Cancelled, in which case it has been cancelled, too.

            interp = interpreters.create()
            try:
                interp.exec("print('hello')")
            finally:
                interp.close()
        """
        self._check_kept("close")
        if self._id == _current():
            raise InterpreterError("cannot close the current interpreter")
        binding = self._find()
        if not binding.cancelled() and not binding.claim():
            raise InterpreterError("interpreter running: it can be closed when what it executes has ended")
        if not binding.end():
            raise InterpreterNotFoundError(f"unrecognized interpreter ID {self._id}")
        binding.join()

    def prepare_main(self, ns=None, /, **kwargs):
        """Bind values to names in the interpreter's __main__.

        ns is a dict, or an iterable of pairs; keyword arguments are added to it. Values are copied: anything that
        pickles will do. Raises ValueError when there is no name at all, NotShareableError, InterpreterError when the
        interpreter executes something.

            interp.prepare_main(queue=queue, limit=10)
        """
        values = dict(ns, **kwargs) if ns is not None else kwargs
        if not values:
            raise ValueError("prepare_main() needs a name and its value")
        for name in values:
            if not isinstance(name, str):
                raise TypeError(f"a name in __main__ must be a str, not {type(name).__name__}")
        self._check_kept("update __main__ of")
        self._ask("bind", ({name: _stateless.pack(value) for name, value in values.items()},))

    def exec(self, code, /):
        """Execute code in the interpreter's __main__, and wait for its end.

        code is source text (str or bytes), a code object, or a function without arguments and result, whose body is
        executed. What it prints is printed; there is no result.

        Raises ExecutionFailed for an exception that the code raises: its `excinfo` has the type's names, the text and
        the traceback. SyntaxError, TypeError or ValueError for code that is none; InterpreterError when the interpreter
        executes something already; Cancelled: see the module's text.

            interp.exec("import math; print(math.pi)")
        """
        code = _scripts.read(code)
        self._check_kept("exec code for")
        self._ask("exec", (marshal.dumps(code),))

    def call(self, callable, /, *args, **kwargs):
        """Call something in the interpreter, wait, and return the result.

        A function that needs nothing but its code and built-in names travels as its code, and runs in the interpreter's
        __main__. Other callables, arguments and the result are pickled: a function or class of a module or of the
        script is looked up by its name.

        Raises ExecutionFailed for an exception of the callable, NotShareableError for what does not pickle, and what
        exec() raises.

            print(interp.call(sorted, "cab", reverse=True))     # ['c', 'b', 'a']
        """
        return self._call(callable, args, kwargs)

    def call_in_thread(self, callable, /, *args, **kwargs):
        """Call something in the interpreter, waiting for it in a new thread, and return that (a threading.Thread).

        The result is dropped. An exception goes to threading.excepthook.

            thread = interp.call_in_thread(print, "hello")
            thread.join()
        """
        thread = threading.Thread(target=self._call, args=(callable, args, kwargs))
        thread.start()
        return thread

    def _call(self, function, args, kwargs):
        if not callable(function):
            raise TypeError(f"expected a callable, got {function!r}")
        self._check_kept("make a call in")
        kwargs = {name: _stateless.pack(value) for name, value in kwargs.items()}
        return self._ask("call", (_stateless.pack(function), _stateless.pack(args), kwargs))

    def _ask(self, kind, body):
        """Have the interpreter do something, wait, and return the result."""
        binding = self._find()
        if binding.cancelled():
            raise self._gone(binding)
        if not binding.claim():
            raise InterpreterError("interpreter already running")
        try:
            tag, *answer = self._send_and_wait(binding, kind, body)
        except Exception:
            binding.release()
            raise
        except BaseException:  # cancelled: nobody waits for what it does any more
            binding.cancel()
            raise
        binding.release()
        if tag == _serve.FAILED:
            raise _failure(*answer[0])
        if tag == _serve.NOT_SHAREABLE:
            raise NotShareableError(answer[0])
        return answer[0]

    def _send_and_wait(self, binding, kind, body):
        reply, answers = _interlace.channel(1, name=f"interpreter {self._id}'s answer")
        with reply, answers:
            try:
                binding.request((kind, reply), body)
            except BrokenChannel:
                raise self._gone(binding) from None
            except MemoryError:
                raise
            except Exception as error:
                raise _stateless.refused(_why_not(body, error), error) from error
            reply.close()
            try:
                return answers.recv()
            except EndOfChannel:
                raise self._gone(binding) from None
            except Exception as error:
                raise _stateless.refused(f"the result cannot be rebuilt here: {error}", error) from error

    def _gone(self, binding):
        """Return the exception for an interpreter that ended all by itself."""
        if _interlace.Scope().cancelled():  # like the one that asks
            _bootstrap.hush_threads()
            return Cancelled("cancelled together with the interpreter that was waited for")
        if self._end is None:
            error, _ = _worker.failure(binding.worker())
            cancelled = isinstance(error, Cancelled)
            self._end = "was cancelled" if cancelled else f"has ended: {error or 'so will the host'}"
        return InterpreterError(f"interpreter {self._id} {self._end}. Close it, and create another one")


def _arrive(id, flight):
    with flight:
        return Interpreter(id)


def _failure(names, text, display, lost_stdout):
    kind = SimpleNamespace(**dict(zip(("__name__", "__qualname__", "__module__"), names)))
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    formatted = f"{module}{kind.__qualname__}: {text}"
    error = ExecutionFailed(SimpleNamespace(type=kind, msg=text, formatted=formatted, errdisplay=display))
    if lost_stdout:  # nobody reads standard output any more: the end of a script in `... | head`
        error.interlace_stdout = True
    return error


def _why_not(body, error):
    """Say why a request does not pickle."""
    function = body[0] if body else None
    reason = _stateless.why_stateful(function) if type(function) is FunctionType else None
    if reason is None:
        return f"what is passed to an interpreter is pickled, and this does not pickle: {error}"
    return (
        f"the function {function.__qualname__!r} can neither travel as its code, since {reason}, nor be pickled: "
        f"{error}. Use a function from the top level of a module or script"
    )
