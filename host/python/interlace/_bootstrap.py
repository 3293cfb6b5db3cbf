"""What a worker does, from its interpreter's first step to its last. Called by the host (worker.c).

An outcome is one byte and a pickle: R a result, X a failure (see _errors.pack), C cancelled; the host itself may say
E and a sentence, or D and how the worker's process died (see _errors.death).
"""

import io
import sys

import _interlace
import _pickle

from interlace import _errors, _main, _thread_name


class _Lines(io.RawIOBase):
    """Raw standard output or error: the host passes whole lines on (output.c)."""

    def __init__(self, fd):
        self._fd = fd
        self.mode = "wb"
        self.name = f"<{'stdout' if fd == 1 else 'stderr'}>"
        self.lost = None  # what the first write that failed failed of: at the end, the rest goes nowhere quietly

    def write(self, data):
        if self.lost is not None and _settling:
            return len(data)
        try:
            return _interlace._write(self._fd, data)
        except OSError as error:
            if self.lost is None:
                self.lost = OSError(error.errno, error.strerror)  # without the traceback, and what that keeps alive
            error.interlace_stdout = self._fd == 1 and isinstance(error, BrokenPipeError)
            raise

    def writable(self):
        return True

    def fileno(self):
        return self._fd

    def isatty(self):
        import os

        return os.isatty(self._fd)


_LONGEST_REASON = 200  # characters

_raw = {}
_spare = False
_settling = False  # it is said, or will be, how the job has failed: what cannot be written now is no news
_under_way = False  # the user's code has begun, and not returned: what fails before or after it would fail each time


def _replace_stream(name, fd):
    old = getattr(sys, name)
    if old is not None:
        like = {
            "encoding": old.encoding,
            "errors": old.errors,
            "line_buffering": old.line_buffering,
            "write_through": old.write_through,
        }
    elif _interlace._output_is_taken():
        like = {"encoding": "utf-8", "errors": "strict" if fd == 1 else "backslashreplace", "line_buffering": fd == 2}
    else:  # the descriptor was closed when the process started
        return
    _raw[fd] = raw = _Lines(fd)
    new = io.TextIOWrapper(io.BufferedWriter(raw), newline="\n", **like)
    new.mode = "w"
    setattr(sys, name, new)
    setattr(sys, f"__{name}__", new)


def _take_over():
    if not _raw:
        sys.unraisablehook = _interlace._unraisablehook
        _replace_stream("stdout", 1)
        _replace_stream("stderr", 2)


def prepare(profile):
    """Get ready before there is a job: a spare worker of prestart()."""
    _take_over()
    sys.path[:], names = _pickle.loads(profile)
    for name in names:
        __import__(name)
    global _spare
    _spare = True


def check_stdout():
    """Raise the OSError of the first write to standard output that failed, if one has."""
    lost = _raw[1].lost if 1 in _raw else None
    if lost is not None:
        raise OSError(*lost.args)  # BrokenPipeError for EPIPE


def work():
    """Do the worker's job: what it returns, and the job, whose ends are not to close before the outcome is told."""
    global _under_way
    _take_over()
    if _spare:
        import os

        os.reload_environ()  # it may have changed since this interpreter was made
    kind, surroundings = _interlace._head()
    if isinstance(surroundings, list):
        sys.path[:0] = surroundings  # the application's folders
    elif surroundings is not None:
        _main.surround(surroundings)
    _thread_name.name_thread(_interlace._name())
    _interlace._ready()
    job = _interlace._body()
    result = _JOBS[kind](*job)
    _under_way = False
    _flush()
    return result, job


def end(done, error):
    """Tell the outcome: what work() has returned, or the exception it raised. No Cancelled comes out of the blue here."""
    if error is not None:
        _end_ill(error)
    elif _interlace._is_quiet():
        try:
            _interlace._finish(b"R", done[0])
        except BaseException as late:  # no pickle of it
            _end_ill(late)


def _end_ill(error):
    global _settling
    _settling = True
    if not _means_well(error):
        _interlace._hand_back()
    _end_with(error)


def _end_with(error):
    if isinstance(error, SystemExit):
        _exit_with(error)
    elif _means_cancelled(error):
        _finish_quietly(b"C")
    elif _means_nobody_reads(error):
        _finish_quietly(b"R")
    else:
        _fail(error, 3 if _means_deadlock(error) else 1)


def _means_well(error):
    return isinstance(error, SystemExit) and not error.code


def _means_cancelled(error):
    if not _interlace._is_cancelled():
        return False
    # What else a cancelled worker stumbles over: the ends of others that were cancelled with it.
    return isinstance(error, (_interlace.Cancelled, _interlace.BrokenChannel, _interlace.EndOfChannel))


def _means_deadlock(error):
    if isinstance(error, BaseExceptionGroup):
        return any(map(_means_deadlock, error.exceptions))
    return isinstance(error, _interlace.Deadlock)


def _means_nobody_reads(error):
    """As a shell's pipeline ends when its consumer does: `... | head`."""
    if getattr(error, "interlace_stdout", False):
        return True
    if not isinstance(error, _interlace.BrokenChannel) or _interlace._is_quiet():
        return False
    from interlace import _stage

    channel = getattr(error, "channel", None)
    return channel is None or _stage.is_output(channel)


def _exit_with(error):
    global _settling
    code = error.code
    if code is None:
        code = 0
    elif not isinstance(code, int):
        try:
            sys.stderr.write(f"{code}\n")
        except BaseException:  # no stderr, or no text: it says nothing then
            pass
        code = 1
    elif not -(2**63) <= code < 2**63:
        code = -1  # as with python3
    if code & 0xFF == 0:
        _settling = False  # an earlier write may have failed, and nothing said so
        try:
            _flush()
        except BaseException as late:
            _settling = True
            late.__suppress_context__ = True  # that it was about to end well explains nothing
            _end_with(late)
        else:
            _finish_quietly(b"R")
    elif _interlace._is_quiet():
        _fail(error, code)
    else:
        _interlace._exit_code(code)
        _interlace._fail(None)


def _fail(error, code):
    _interlace._exit_code(code)
    if not _interlace._is_quiet():
        _note_failure(_errors.report(_interlace._name(), error))
        _interlace._fail(None)
        return
    packed = _errors.pack(error)
    words = _errors.failure_of(_interlace._name(), packed[-1])
    if _interlace._is_child():
        _interlace._last_words(words)  # the host hears them with the failure, and drops them if it starts the worker anew
    if _interlace._fail(_reason(error, packed)):
        _print_failure(words)
        return
    _note_failure(packed[-1])
    if not _interlace._is_child():
        _interlace._last_words(words)
    _interlace._finish(b"X", packed)


def _reason(error, packed):
    """Return what is said of the failure when the worker is started anew; None: it would fail likewise again."""
    if not _under_way or _means_deadlock(error):
        return None
    _, kind, message, _ = packed
    first = message.partition("\n")[0]
    text = f"{kind}: {first}" if first else kind
    return "failed: " + (text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "...")


def _print_failure(words):
    try:
        sys.stderr.write(words)
        sys.stderr.flush()
    except BaseException:  # no stderr: what follows names the exception
        pass


def _note_failure(text):
    _interlace._note_failure(text.encode("utf-8", "replace").decode())


def _finish_quietly(tag):
    if _interlace._is_quiet():
        _interlace._finish(tag, None)


def _flush():
    """Write what is buffered; a reader that has gone raises BrokenPipeError here, not at the interpreter's end."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


# ---- the kinds of job ---------------------------------------------------------------------------------------------


def _begin():
    global _under_way
    _under_way = True


def _call(target, args, kwargs):
    _begin()
    return target(*args, **kwargs)


def _call_by_name(target, args, kwargs):
    import importlib

    module_name, _, path = target.partition(":")
    function = importlib.import_module(module_name)
    for part in path.split("."):
        function = getattr(function, part)
    return _call(function, args, kwargs)


def _run_source(source, filename, attributes):
    main = sys.modules["__main__"]
    vars(main).pop("__getattr__", None)
    vars(main).update(attributes)
    _main.runs(source, filename, attributes)
    code = compile(source, filename, "exec", dont_inherit=True)
    _begin()
    exec(code, vars(main))


def _run_script(path, args, kwargs):
    import os

    sys.argv[:] = [path, *args]
    if path == "-":
        return _run_source(sys.stdin.buffer.read(), "<stdin>", {})
    if os.path.isdir(path) or not path.endswith(".py") and _is_archive(path):
        if os.path.isdir(path) and not os.path.exists(os.path.join(path, "__main__.py")):
            raise SystemExit(f"interlace: the folder {path!r} has no __main__.py to run")
        import runpy

        sys.path.insert(0, path)
        _, spec, code = runpy._get_main_module_details(ImportError)
        return _run_spec(spec, code)
    if not sys.flags.safe_path:
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    with io.open_code(os.path.abspath(path)) as file:
        source = file.read()
    from importlib.machinery import SourceFileLoader

    loader = SourceFileLoader("__main__", path)
    _run_source(source, path, {"__file__": path, "__loader__": loader, "__cached__": None})


def _is_archive(path):
    with open(path, "rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        return True
    import zipfile

    return zipfile.is_zipfile(path)


def _run_module(name, args, kwargs):
    import runpy

    sys.argv[:] = ["-m", *args]
    if not sys.flags.safe_path:
        import os

        sys.path.insert(0, os.getcwd())
    _, spec, code = runpy._get_module_details(name, ImportError)
    sys.argv[0] = spec.origin
    _run_spec(spec, code)


def _run_spec(spec, code):
    """Run a module that has been found as the __main__ of this worker."""
    attributes = {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__loader__": spec.loader,
        "__package__": spec.parent,
        "__spec__": spec,
    }
    main = sys.modules["__main__"]
    vars(main).pop("__getattr__", None)
    vars(main).update(attributes)
    source = spec.loader.get_source(spec.name) if hasattr(spec.loader, "get_source") else None
    if source is not None:
        _main.runs(source, spec.origin, {"__file__": spec.origin, "__package__": spec.parent})
    _begin()
    exec(code, vars(main))


def _run_code(source, args, kwargs):
    sys.argv[:] = ["-c", *args]
    if not sys.flags.safe_path:
        sys.path.insert(0, "")
    _run_source(source, "<string>", {})


def _run_map(function, words, kwargs):
    from interlace import _map

    _map.main(function, words)


_JOBS = {
    "call": _call,
    "name": _call_by_name,
    "script": _run_script,
    "module": _run_module,
    "code": _run_code,
    "map": _run_map,
}


# ---- the end ------------------------------------------------------------------------------------------------------


def hush_threads():
    """Let threads that Cancelled ends end as quietly as those that SystemExit ends."""
    import threading

    if getattr(threading.excepthook, "interlace", False):
        return
    before = threading.excepthook

    def excepthook(args):
        if not issubclass(args.exc_type, _interlace.Cancelled):
            before(args)

    excepthook.interlace = True
    threading.excepthook = excepthook


def settle():
    """What Python leaves to the end: threads, atexit functions, buffers. Called when the job is done."""
    import atexit

    global _settling
    if _interlace._is_cancelled():
        _interlace._interrupt_threads()
    threading = sys.modules.get("threading")
    try:
        if threading is not None:
            threading._shutdown()
        atexit._run_exitfuncs()
    finally:
        for fd, stream in ((1, sys.stdout), (2, sys.stderr)):
            try:
                if stream is not None and not stream.closed:
                    stream.flush()
            except BaseException as error:
                _raw[fd].lost = error
                if not isinstance(error, BrokenPipeError):
                    _interlace._exit_code(1)
                    if fd == 1:
                        sys.stderr.write(f"interlace: standard output: {error}\n")
        _settling = True  # the streams' own end comes
