"""What Interpreter.exec() takes for code."""

from opcode import opmap
from types import CodeType, FunctionType

from interlace import _stateless

_TAKES_ARGUMENTS = 0x4 | 0x8  # CO_VARARGS, CO_VARKEYWORDS
_IS_GENERATOR = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR


def read(code):
    """Return the code object of what exec() was given."""
    if isinstance(code, (str, bytes, bytearray)):
        return compile(code, "<script>", "exec", dont_inherit=True)
    if isinstance(code, FunctionType):
        if code.__closure__ or code.__code__.co_freevars:
            raise ValueError("closures not supported")
        code = code.__code__
    elif not isinstance(code, CodeType):
        raise TypeError(f"unsupported script {code!r}: a script is a str, a code object or a function")
    if code.co_freevars:
        raise ValueError("closures not supported")
    if code.co_argcount or code.co_posonlyargcount or code.co_kwonlyargcount or code.co_flags & _TAKES_ARGUMENTS:
        raise ValueError("code with args not supported")
    if not _returns_none(code):
        raise ValueError("code that returns a value is not a script")
    return code


def _returns_none(code):
    if code.co_flags & _IS_GENERATOR:
        return False
    before = None
    for operation, argument in _stateless.instructions(code):
        if operation == opmap["RETURN_VALUE"]:
            if before is None or before[0] != opmap["LOAD_CONST"] or code.co_consts[before[1]] is not None:
                return False
        if operation != 0:
            before = operation, argument
    return True
