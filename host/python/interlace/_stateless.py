"""Functions that travel as their code: those that are nothing but code, as the standard library defines it.

Such a function has no closure, no defaults, and looks up no global names but built-in ones. Where it arrives it is made
anew, with that interpreter's __main__ as its globals.
"""

import builtins
import marshal
from types import CodeType, FunctionType

from interlace import _main

_GLOBAL_INSTRUCTIONS = None


def pack(obj):
    """Return what is to be sent in place of the object: for a stateless function its code, else the object itself."""
    if type(obj) is FunctionType and why_stateful(obj) is None:
        return Packed(obj.__code__)
    if type(obj) is tuple and obj:
        packed = tuple(map(pack, obj))
        if any(one is not other for one, other in zip(packed, obj)):
            return packed
    return obj


class Packed:
    """The code of a function on its way: it unpickles as the function."""

    def __init__(self, code):
        self._code = code

    def __reduce__(self):
        return unpack, (marshal.dumps(self._code),)


def unpack(data):
    return FunctionType(marshal.loads(data), _main.namespace())


def why_stateful(function):
    """Return why a function cannot travel as its code, or None when it can."""
    if function.__code__.co_freevars:
        return "it is a closure"
    if function.__defaults__ or function.__kwdefaults__:
        return "it has defaults"
    names = sorted(name for name in global_names(function.__code__) if not _is_builtin(name, function.__globals__))
    return f"it uses the global name {names[0]!r}" if names else None


def refused(text, error):
    """Return the NotShareableError for what does not pickle, with the notes of the error that says so."""
    from concurrent.interpreters import NotShareableError

    refusal = NotShareableError(text)
    for note in getattr(error, "__notes__", ()):
        refusal.add_note(note)
    return refusal


def _is_builtin(name, namespace):
    return name not in namespace and hasattr(builtins, name)


def global_names(code):
    """Return the global names that some code and the functions in it use, as a set."""
    global _GLOBAL_INSTRUCTIONS
    if _GLOBAL_INSTRUCTIONS is None:
        from opcode import opmap

        _GLOBAL_INSTRUCTIONS = {
            opmap[name]: name == "LOAD_GLOBAL"
            for name in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")
        }
    names = {code.co_names[index] for index in _name_indexes(code)}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= global_names(constant)
    return names


def _name_indexes(code):
    for operation, argument in instructions(code):
        shifted = _GLOBAL_INSTRUCTIONS.get(operation)
        if shifted is not None:
            yield argument >> 1 if shifted else argument  # LOAD_GLOBAL has a flag in the lowest bit


def instructions(code):
    """Yield (operation, argument) of some bytecode; the caches between instructions are operations 0."""
    from opcode import EXTENDED_ARG

    extended = 0
    raw = code.co_code
    for i in range(0, len(raw), 2):
        argument = extended | raw[i + 1]
        if raw[i] == EXTENDED_ARG:
            extended = argument << 8
        else:
            extended = 0
            yield raw[i], argument
