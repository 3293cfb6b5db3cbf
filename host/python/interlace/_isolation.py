"""Where a worker runs: in an interpreter of this process, or in a process of its own; and which of the two, for "auto".

A module is read, not imported, to learn what it imports: from its source, and from the sources of what it imports. The host
uses this file alone, in its main interpreter, so that nothing of ours is imported when it is.
"""

import sys

KINDS = "interpreter", "process", "auto"

# Top-level names whose extensions refuse to load in an interpreter with its own GIL, as of 2026 (interlace doctor tells).
REFUSING = frozenset(
    "PIL _curses _tkinter cryptography curses faulthandler grpc lxml lz4 numpy orjson pandas psutil pydantic pydantic_core "
    "readline regex scipy tkinter torch uvloop zmq zstandard".split()
)
_MOST = 300  # sources that are read for one worker

_found = {}  # (path of a source, size, time): names that it imports, in order


def check(kind):
    """Return the kind of isolation, if it is one."""
    if kind not in KINDS:
        raise ValueError(f"isolation must be one of {', '.join(map(repr, KINDS))}, not {kind!r}")
    return kind


def settings(isolation, kind, target):
    """Return what _interlace._spawn takes for a job of that kind and target: None for an interpreter."""
    if isolation == "interpreter":
        return None
    import _interlace

    if isolation == "auto":
        refusing = refusing_import(kind, target, sys.path)
        if refusing is None or _interlace._is_child():
            return None
        _interlace._announce(refusing)
    if _interlace._is_ours():
        return ()
    import os
    import subprocess

    python = sys.executable or ""
    if not os.path.basename(python).startswith("python"):
        python = ""  # an application's
    return python, *subprocess._args_from_interpreter_flags()


def refusing_import(kind, target, path):
    """Return the name of a module that the job imports and that refuses to load in an interpreter, or None.

    kind and target are those of a job (see _bootstrap.py), path is where its modules are looked for.
    """
    import os

    source, function = None, None
    path = list(path)
    try:
        if kind == "call":
            name, function = _file_of(target)
            source = _read(name)
        elif kind in ("name", "map"):
            module, _, function = target.partition(":")
            function = function.partition(".")[0]
            source = _source_of(module, path)
        elif kind == "module":
            path.insert(0, os.getcwd())
            source = _source_of(target, path) or _source_of(f"{target}.__main__", path)
        elif kind == "script":
            path.insert(0, os.path.dirname(os.path.realpath(target)))
            source = _read(os.path.join(target, "__main__.py") if os.path.isdir(target) else target)
        else:
            path.insert(0, "")
            source = target
        return _first_refusing(_imports(source, function, kind in ("module", "script", "code")), path)
    except (OSError, SyntaxError, ValueError):
        return None  # the worker will say what is wrong


def _file_of(target):
    """Return the file that a callable comes from and the first part of its qualified name."""
    while hasattr(target, "func"):
        target = target.func
    target = getattr(target, "__func__", target)
    while hasattr(target, "__wrapped__"):
        target = target.__wrapped__
    if not hasattr(target, "__qualname__"):
        target = type(target)
    code = getattr(target, "__code__", None)
    module = sys.modules.get(target.__module__)
    name = code.co_filename if code is not None else getattr(module, "__file__", None)
    return name, target.__qualname__.partition(".")[0]


def _read(name):
    if not name or name.startswith("<"):
        raise ValueError
    with open(name, "rb") as file:
        return file.read()  # of an archive, say, this is no source, as its parsing will say


def _find(name, path):
    """Return the spec of a module, importing nothing."""
    from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

    spec = None
    parts = name.split(".")
    for n in range(len(parts)):
        whole = ".".join(parts[: n + 1])
        spec = None
        if n == 0:
            spec = BuiltinImporter.find_spec(whole) or FrozenImporter.find_spec(whole)
        spec = spec or PathFinder.find_spec(whole, path)
        if spec is None:
            return None
        path = spec.submodule_search_locations or []
    return spec


def _source_of(name, path):
    spec = _find(name, path)
    origin = spec and spec.has_location and spec.origin
    return _read(origin) if origin and origin.endswith(".py") else None


def _imports(source, function=None, everything=False, package=""):
    """Return the names of the modules that a source imports: its top level, and what is in a function of that name."""
    import ast

    names = []
    pending = [(node, everything) for node in reversed(ast.parse(source).body)] if source is not None else []
    while pending:
        node, inside = pending.pop()
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package.split(".")
                base = base[: len(base) - node.level + 1]
                whole = ".".join([*base, *([node.module] if node.module else [])])
            else:
                whole = node.module
            if whole:
                names.append(whole)
                names += [f"{whole}.{alias.name}" for alias in node.names if node.level]
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not inside:
            if getattr(node, "name", None) == function:
                pending += [(child, True) for child in ast.iter_child_nodes(node)]
        elif not isinstance(node, ast.expr):
            within = inside or isinstance(node, ast.ClassDef) and node.name == function
            pending += [(child, within) for child in ast.iter_child_nodes(node)]
    return names


def _first_refusing(names, path):
    """Return the first of these modules, or of those that they import, that refuses."""
    pending = list(names)
    seen = set()
    read = 0
    while pending:
        name = pending.pop(0)
        top = name.partition(".")[0]
        if name in seen:
            continue
        seen.add(name)
        if top in REFUSING:
            if _find(top, path) is not None:
                return top
            continue
        if top in sys.stdlib_module_names or top in ("interlace", "_interlace"):
            continue
        pending += _uppers(name)
        spec = _find(name, path)
        if spec is None or not spec.has_location or not spec.origin.endswith(".py") or read == _MOST:
            continue
        read += 1
        package = spec.name if spec.submodule_search_locations is not None else spec.parent
        try:
            pending += _imports_of_file(spec.origin, package)
        except (OSError, SyntaxError, ValueError):
            continue
    return None


def _uppers(name):
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _imports_of_file(name, package):
    import os

    about = os.stat(name)
    key = name, about.st_size, about.st_mtime_ns
    if key not in _found:
        _found[key] = _imports(_read(name), package=package)
    return _found[key]
