"""The function of `interlace map`: found, given items, its results as bytes."""

import sys


_KINDS = (0x20, "a generator"), (0x80, "an async"), (0x200, "an async generator")  # by their code's flags, see inspect


class Unusable(Exception):
    """There is no such function."""


def load(options):
    """Return the function of the command line. Raises Unusable, or what its module raises."""
    if options.expression:
        return _expression(options.function, options.imports)
    place, _, path = options.function.rpartition(":")
    if "/" in place or place.endswith(".py"):
        function = _file(place)
    else:
        function = _module(place)
    name = place
    for part in path.split("."):
        try:
            function = getattr(function, part)
        except AttributeError:
            raise Unusable(f"{name!r} has no {part!r}") from None
        name = f"{name}:{part}" if name == place else f"{name}.{part}"
    if not callable(function):
        raise Unusable(f"{name!r} is not a function but of type {type(function).__name__}")
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    for flag, kind in _KINDS:
        if flags & flag:
            raise Unusable(f"{name!r} is {kind} function: it takes one that returns its result, one for each item")
    return function


def _module(name):
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or name != error.name and not name.startswith(f"{error.name}."):
            raise
        raise Unusable(f"there is no module {error.name!r} (for a file, write its path: {name}.py:FUNCTION)") from None


def _file(path):
    import os
    from importlib import machinery, util

    name = os.path.basename(path).removesuffix(".py")
    if name in sys.modules:
        name = f"_map_{name}"
    loader = machinery.SourceFileLoader(name, os.path.abspath(path))
    module = util.module_from_spec(util.spec_from_loader(name, loader))
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def _expression(source, imports):
    namespace = {"__name__": "-c"}
    for name in imports:
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            raise Unusable(f"--import: {error}") from None
        top = name.partition(".")[0]
        namespace[top] = sys.modules[top]
    # On a line of its own: it may end with a comment. The writer has seen that it is one expression.
    return eval(compile(f"lambda line: (\n{source}\n)", "-c", "eval", dont_inherit=True), namespace)


def of_json(function):
    """Return what calls the function with the document of a line; a blank line is none, and gives None."""
    from json import JSONDecoder

    decode = JSONDecoder().decode

    def call(line):
        try:
            if not line.isascii():
                line.encode("utf-8", "surrogateescape").decode()  # what is not UTF-8 is not JSON
            value = decode(line)
        except ValueError as error:
            if not line or line.isspace():
                return None
            raise error.with_traceback(None)
        return function(value)

    return call


def encoder(format):
    """Return what makes bytes, whole lines, of a result."""
    if format == "json":
        from json import JSONEncoder

        encode = JSONEncoder().encode
        return lambda result: (encode(result) + "\n").encode("utf-8", "surrogateescape")
    return lambda result: (str(result) + "\n").encode("utf-8", "surrogateescape")
