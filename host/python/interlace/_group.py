"""Group: a scope that starts workers and does not end before they have."""

import os
import sys

import _interlace
from _interlace import Cancelled

from interlace import _errors, _isolation, _main, _restart, _worker


class Group:
    """Start workers; leave the `with` block when every one of them has ended.

        with interlace.Group() as group:
            worker = group.start(pow, 2, 10)
            print(worker.result())                     # 1024

    The first worker that fails cancels the others and what this block waits for, and the block raises an
    ExceptionGroup of the original exceptions. An exception in the block itself cancels the workers, too.

    name (str or None) is what error messages call the group. isolation (str) says where its workers run: each in an
    "interpreter" of this process, on a thread; in a "process" of its own, where every extension module loads and a crash
    is a failure of that worker alone; or "auto": in an interpreter, unless it imports a module that is known not to load
    there, which is said on stderr. Channels, Buffers, select and all else are the same; starting a process takes longer,
    and only workers that are not in one themselves can do it.

        with interlace.Group(isolation="process") as group:
            print(group.start(pow, 2, 10).result())    # 1024

    restart (a Restart or None) has workers that fail started anew, so many times, instead of failing the group.
    """

    def __init__(self, name=None, *, isolation="interpreter", restart=None):
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a str or None, not {type(name).__name__}")
        self.name = name
        self._isolation = _isolation.check(isolation)
        self._restart = _restart.check(restart)
        self._workers = []
        self._scope = None
        self._ended = False
        self._names = {}

    def __repr__(self):
        state = "ended" if self._ended else f"{len(self._workers)} started" if self._scope else "not entered"
        return f"<interlace.Group {self.name or ''!r}, {state}>"

    def __enter__(self):
        if self._scope is not None:
            raise RuntimeError("a Group is entered once: make a new one")
        self._begin()
        self._scope.enter()
        self._block = _for_asyncio().enter_block(self._scope) if _in_coroutine() else None
        return self

    def _begin(self):
        if _main.loading:
            raise RuntimeError(
                "the script starts workers while its definitions are loaded in one of them: start them inside a "
                'function, or below `if __name__ == "__main__":`'
            )
        self._scope = new_scope()
        self._process = os.getpid()

    def start(self, target, /, *args, name=None, isolation=None, restart=None, **kwargs):
        """Start a worker and return it (a Worker), without waiting for it.

        target is a function or class (of a module or of the script itself), called with the arguments; a string
        "module:function", likewise; or the path of a script (str or os.PathLike) that runs with sys.argv[1:] = args.
        Arguments are pickled; channel ends in them, at any depth, give the worker ends of its own.
        name (str or None) names the worker in messages; by default it is the target's, with a number. isolation (str or
        None) and restart (a Restart or None) are as for Group(), whose they are by default.

        Raises what pickling raises, TypeError, ValueError, and RuntimeError outside the `with` block or when the system
        lets the process have no more threads.

            worker = group.start(divmod, 17, 5, name="divider")
            print(worker.result())                     # (3, 2)
        """
        if self._scope is None or self._ended:
            raise RuntimeError("start() works inside the group's block: with interlace.Group() as group: ...")
        kind, target, args, default = _read_target(target, args, kwargs)
        if name is None:
            self._names[default] = number = self._names.get(default, 0) + 1
            name = f"{default}-{number}"
        elif not isinstance(name, str):
            raise TypeError(f"name must be a str or None, not {type(name).__name__}")
        isolation = self._isolation if isolation is None else _isolation.check(isolation)
        restart = self._restart if restart is None else _restart.check(restart)
        settings = _isolation.settings(isolation, kind, target)
        return self._launch(kind, (target, args, kwargs), name, settings=settings, restart=restart)

    def _launch(self, kind, body, name, index=0, count=1, settings=None, restart=None):
        head = (kind, _main.surroundings())
        worker = _interlace._spawn(head, body, name, index, count, self._scope, False, settings, _restart.policy(restart))
        self._workers.append(worker)
        return worker

    def cancel(self):
        """Cancel every worker of the group, and what its block waits for. The block then ends quietly.

            _, receiver = interlace.channel(0)
            with interlace.Group() as group:
                group.start(next, receiver)            # waits for a message
                group.cancel()

        Raises RuntimeError outside the block.
        """
        if self._scope is None:
            raise RuntimeError("cancel() works inside the group's block: with interlace.Group() as group: ...")
        self._scope.cancel()

    def _join(self, worker):
        """Wait for a worker's end. Return what a signal handler raised meanwhile: it cancels the group as well."""
        interrupt = None
        trouble = None  # it cannot be waited for: there is no memory
        while trouble is None:
            try:
                trouble = worker._join()
                if trouble is None:
                    return interrupt
            except BaseException as raised:
                if isinstance(raised, Cancelled) and _interlace._is_worker():
                    raise  # which its workers are as well
                interrupt = raised
                self._scope.cancel()
        self._scope.cancel()
        raise trouble

    def __exit__(self, kind, error, traceback):
        self._scope.exit()
        if self._block is not None:
            _for_asyncio().leave_block(self._block)
        if os.getpid() != self._process:
            self._ended = True
            return False  # a child that os.fork() made: the workers are its parent's
        if error is not None:
            if isinstance(error, Exception):
                name = _interlace._name()
                _interlace._last_words(_errors.failure_of(name, _errors.text_of(error)))
            self._scope.cancel()
        errors = self._end()
        workers_failed = len(errors)
        outer = new_scope().cancelled()  # of what surrounds the group
        if isinstance(error, Cancelled) and not outer:
            error = None  # that was this group's own cancelling
            if not errors:
                return True
        if error is not None and not any(error is other for other in errors):
            if not errors and not (isinstance(error, Exception) and self._workers):
                return False  # SystemExit, Cancelled from outside, or a block without workers: as it is
            if isinstance(error, Cancelled):
                return False
            errors.insert(0, error)
        if not errors:
            _interlace._heed()  # the wait for the workers is one that cancelling ends, though they are waited for
            return False
        what = f"group {self.name!r}: " if self.name else ""
        if workers_failed:
            what += f"{workers_failed} of {len(self._workers)} worker{'s' * (len(self._workers) > 1)} failed"
        else:
            what += "the block failed"
        raise BaseExceptionGroup(what, errors) from None

    def _end(self):
        """Wait until every worker has ended; return what they failed with, which is the caller's to raise."""
        if os.getpid() != self._process:
            self._ended = True
            return []  # a child that os.fork() made: the workers are its parent's
        interrupt = None
        for worker in self._workers:  # workers may start others here meanwhile: the list grows
            interrupt = self._join(worker) or interrupt
        _interlace._last_words(None)
        self._ended = True
        if interrupt is not None:
            raise interrupt
        return [failure for failure in map(_failure, self._workers) if failure is not None]


def _in_coroutine():
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None


def _for_asyncio():
    from interlace import _asyncio

    return _asyncio


def new_scope():
    """Return a scope below what surrounds this call: in a coroutine, what surrounds its task."""
    return _for_asyncio().new_scope() if _in_coroutine() else _interlace.Scope()


def _failure(worker):
    error, _ = _worker.failure(worker)
    return None if isinstance(error, Cancelled) and worker._cancelled() else error


def _read_target(target, args, kwargs):
    """Return (kind of job, target, arguments, default name)."""
    if isinstance(target, str) and ":" in target and all(map(_is_dotted, target.split(":", 1))):
        return "name", target, args, target.partition(":")[2]
    if isinstance(target, (str, os.PathLike)):
        path = os.fspath(target)
        if kwargs:
            raise TypeError(f"a script takes no keyword arguments: {', '.join(kwargs)}")
        for arg in args:
            if not isinstance(arg, (str, os.PathLike, int, float)):
                raise TypeError(
                    f"a script's arguments become its sys.argv, so they must be strings, not {type(arg).__name__}; "
                    "start a function to pass objects"
                )
        if not os.path.exists(path):
            raise FileNotFoundError(2, os.strerror(2), path)
        return "script", path, tuple(map(str, args)), os.path.basename(path)
    if callable(target):
        return "call", target, args, getattr(target, "__name__", type(target).__name__)
    raise TypeError(
        f"target must be a function, a 'module:function' string or the path of a script, not {type(target).__name__}"
    )


def _is_dotted(text):
    return all(part.isidentifier() for part in text.split("."))
