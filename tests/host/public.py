"""What of Interlace is public, found by looking at the modules as they run: for the tests of stubs and docstrings."""

import inspect
import types

import interlace
from interlace import interpreters

MODULES = {"interlace": interlace, "interlace.interpreters": interpreters}

# Special methods that say nothing about a type: every class of its kind has them.
_USUAL = set(dir(object)) | {
    "__annotations__", "__annotate_func__", "__annotations_cache__", "__class_getitem__", "__del__", "__dict__",
    "__firstlineno__", "__module__", "__release_buffer__", "__slots__", "__static_attributes__", "__type_params__",
    "__weaklistoffset__", "__weakref__",
}  # fmt: skip


def things(module):
    """The public names of a module and what they are: its own, without submodules and what it takes from others."""
    found = {}
    for name in dir(module):
        if not name.startswith("_"):
            thing = getattr(module, name)
            if not isinstance(thing, types.ModuleType):
                found[name] = thing
    return found


def is_own(module, thing):
    """Whether a function or class is documented with this module, and not where it comes from."""
    return (callable(thing) or isinstance(thing, type)) and getattr(thing, "__module__", None) == module.__name__


def members(kind):
    """The public attributes of a class of ours and what they are, with the special methods that make it what it is."""
    found = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] in ("interlace", "_interlace"):
            for name, thing in vars(base).items():
                if not name.startswith("_") or (name.startswith("__") and name not in _USUAL):
                    found[name] = thing
    return found


def is_method(thing):
    """Whether a member of a class is called, in distinction from a property and the like."""
    return callable(thing) or isinstance(thing, (classmethod, staticmethod)) or inspect.ismethoddescriptor(thing)
