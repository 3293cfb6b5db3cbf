"""What a kept interpreter does: one request after another, until nobody names it any more.

A request is two messages: (kind, Sender of the answer), and the arguments of that kind. Its answer is one:
(RESULT, object), (FAILED, what is known of the exception) or (NOT_SHAREABLE, text).
"""

import builtins
import functools
import marshal
import sys
from types import BuiltinFunctionType

import _interlace
from _interlace import BrokenChannel, Cancelled

from interlace import _errors, _main, _stateless

RESULT, FAILED, NOT_SHAREABLE = range(3)


def serve(requests):
    """The job of the worker."""
    _main.keep_apart()
    for kind, reply in requests:
        with reply:
            _send(reply, _answer(kind, requests))
        del reply


def _send(reply, answer):
    try:
        try:
            with _main.within_script():
                reply.send(answer)
        except (BrokenChannel, Cancelled):
            raise
        except Exception as error:
            reply.send((NOT_SHAREABLE, _say(error)))
    except BrokenChannel:  # who asked has gone, and cannot say that this is free again
        _interlace._idle()


def _answer(kind, requests):
    try:
        with _main.within_script():
            body = requests.recv()
    except Exception as error:
        return NOT_SHAREABLE, _say(error)
    if body is None:  # it could not be sent, which the asker knows
        return RESULT, None
    try:
        result = _KINDS[kind](*body)
        del body
        _flush()
        return RESULT, _stateless.pack(result)
    except BaseException as error:
        if isinstance(error, Cancelled) and _interlace._is_cancelled():
            raise
        return FAILED, _describe(error)


def _flush():
    for stream in (sys.stdout, sys.stderr):  # which may be anything
        flush = getattr(stream, "flush", None)
        if flush is not None and not getattr(stream, "closed", False):
            flush()


def _say(error):
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])


def _describe(error):
    """Return what an exception's asker is told: (type's name, qualified name, module), text, traceback, lost stdout."""
    kind = type(error)
    try:
        text = str(error)
    except Exception:
        text = "<exception str() failed>"
    display = _errors.text_of(error).rstrip("\n")
    return (kind.__name__, kind.__qualname__, kind.__module__), text, display, hasattr(error, "interlace_stdout")


# ---- the kinds of request -----------------------------------------------------------------------------------------


def _exec(code):
    exec(marshal.loads(code), _main.namespace())


def _bind(values):
    _main.namespace().update(values)


def _call(function, args, kwargs):
    if type(function) is BuiltinFunctionType and function.__module__ == "builtins":
        return _call_from_main(functools.partial(function, *args, **kwargs))
    return function(*args, **kwargs)


_NAME = "_interlace_call"
_CALL = compile(f"{_NAME}()", "<interlace>/call", "eval", dont_inherit=True)


def _call_from_main(call):
    """Call something as if the call stood in __main__: eval, dir, globals and others look at the frame of their caller.

    What is called lies among the built-in names meanwhile, where none of them looks.
    """
    setattr(builtins, _NAME, call)
    try:
        return eval(_CALL, _main.namespace())
    finally:
        delattr(builtins, _NAME)


_KINDS = {"exec": _exec, "bind": _bind, "call": _call}
