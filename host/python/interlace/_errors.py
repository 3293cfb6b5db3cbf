"""How an exception gets from one interpreter to another: itself when it pickles, with its traceback as text."""

import _pickle
import sys


class RemoteTraceback(Exception):
    """The cause of an exception that came from a worker: the traceback it had there, as text.

        with interlace.Group() as group:
            worker = group.start(pow, 2, 3)
            if (error := worker.exception()) is not None:
                print(error.__cause__.text)
    """

    def __init__(self, text):
        super().__init__(text)
        self.text = text

    def __str__(self):
        return self.text


class RemoteError(RuntimeError):
    """Stands for a worker's exception that could not be pickled; its text names the original type and message.

    It is raised where the original would be: by Worker.result(), and in the ExceptionGroup of a Group.

        def read():
            class Unheard(Exception):                  # of no module: it does not pickle
                pass

            raise Unheard("of")

        try:
            with interlace.Group() as group:
                group.start(read)
        except* interlace.RemoteError as group:
            print(group.exceptions[0])                 # read.<locals>.Unheard: of
    """


class WorkerDied(RuntimeError):
    """The process of a worker ended before its work was done: it crashed, was killed, or called os._exit().

    It is raised by Worker.result(), and in the ExceptionGroup of a Group. signal (signal.Signals, int, or None) is what
    killed it, exitcode (int or None) its exit status if nothing did; both are None where something else in the process
    has waited for it.

        import os

        try:
            with interlace.Group(isolation="process") as group:
                group.start(os.abort, name="breaker")
        except* interlace.WorkerDied as died:
            print(died.exceptions[0])                  # worker 'breaker' died: killed by SIGABRT
    """

    def __init__(self, message="", signal=None, exitcode=None):
        super().__init__(message)
        self.signal = signal
        self.exitcode = exitcode

    def __reduce__(self):
        return WorkerDied, (str(self), self.signal, self.exitcode)


def death(worker_name, text, number, exitcode):
    """Return the exception for a worker whose process has died."""
    import signal

    try:
        number = number and signal.Signals(number)
    except ValueError:
        pass
    return WorkerDied(f"worker {worker_name!r} died: {text}", number, exitcode)


def own_frames(traceback):
    """Return the traceback without its first frames, where those are Interlace's own or runpy's."""
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith(("<interlace>", "<frozen runpy>")):
            break
        traceback = traceback.tb_next
    return traceback


def explain(error):
    """Add to an exception what its user can do about it, where we know."""
    if isinstance(error, ImportError) and "loading in subinterpreters" in message_of(error):
        words = message_of(error).split()  # "module NAME does not support loading in subinterpreters"
        module = error.name or (words[1] if words[0] == "module" and len(words) > 1 else "the module")
        error.add_note(
            f"{module} has an extension that cannot be loaded in an interpreter with its own GIL. A worker that imports "
            "it, or receives objects of its classes, needs a process of its own, where every extension loads: "
            'isolation="process" for Group(), start() and stage(), --isolation=process on the command line.'
        )


_SIGNALS = (
    "Python handles signals in the main thread of the main interpreter alone, and no worker is that. Ctrl-C and SIGTERM "
    "arrive in a worker as interlace.Cancelled: clean up in a finally block. A program that needs handlers of its own "
    "runs in plain python3, and imports interlace there."
)
_FORK = (
    "A process with several interpreters cannot be forked. Use subprocess, or multiprocessing with its 'spawn' or "
    "'forkserver' method."
)


_DAEMONS = (
    "An interpreter that ends with its worker has no daemon threads, which multiprocessing's Pool and Queue (and so "
    "ProcessPoolExecutor) are made with. Use interlace.Executor, or multiprocessing.Process with Pipe or SimpleQueue."
)


def _explain_limits(error):
    if type(error) not in (ValueError, RuntimeError):  # those of Python itself; no __str__ of the user's is called
        return
    text = str(error)
    if isinstance(error, ValueError) and text.startswith("signal only works in main thread"):
        error.add_note(_SIGNALS)
    elif isinstance(error, RuntimeError) and text.startswith("fork not supported"):
        error.add_note(_FORK)
    elif isinstance(error, RuntimeError) and text.startswith("daemon threads are disabled"):
        error.add_note(_DAEMONS)


def text_of(error):
    """Return the traceback of an exception as Python would print it."""
    explain(error)
    _explain_limits(error)
    try:
        import traceback

        text = "".join(traceback.format_exception(type(error), error, own_frames(error.__traceback__)))
    except Exception:  # such as when a file of the user's shadows a module that traceback needs
        text = f"{type(error).__qualname__}: {message_of(error)}\n"
    return _encodable(text)


def message_of(error):
    """Return str() of an exception, whatever its class makes of that."""
    try:
        return _encodable(str(error))
    except BaseException:
        return "<exception str() failed>"  # as Python prints it


def _encodable(text):
    """Return the text with lone surrogates as Python prints them: as \\udc80."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def pack(error):
    """Return a tuple that pickles, whatever the exception is: (pickle or None, type name, message, traceback)."""
    text = text_of(error)
    try:
        pickled = _pickle.dumps(error, 5)
    except BaseException:
        pickled = None
    return pickled, type(error).__qualname__, message_of(error), text


def unpack(packed, worker_name):
    """Return the exception of a worker, its remote traceback as its cause."""
    pickled, type_name, message, text = packed
    error = None
    if pickled is not None:
        try:
            error = _pickle.loads(pickled)
        except Exception:
            error = None
    if not isinstance(error, BaseException):
        error = RemoteError(f"{type_name}: {message}" if message else type_name)
    error.__cause__ = RemoteTraceback(f'\n"""\nin worker {worker_name!r}:\n{text}"""')
    return error


def failure_of(name, text):
    """Return what is printed for the failure of a worker."""
    return f"interlace: worker {name!r} failed:\n{text}"


def report(name, error):
    """Print the failure of a worker on stderr, in one piece, and return its traceback."""
    text = text_of(error)
    sys.stderr.write(failure_of(name, text))
    sys.stderr.flush()
    return text
