"""The script itself, in every worker: functions and classes of __main__ as targets and messages.

The worker that runs a script keeps where its code came from. A worker that is started by it gets the script's
*definitions*: its imports, functions, classes, assignments, and the `if` and `try` statements around such, but
neither calls, loops and with-blocks, nor an `if __name__ == "__main__":`. They are executed when the first thing of
__main__ is looked up there, not before.
"""

import _ast
import marshal
import sys

import _warnings

import _interlace

PyCF_ONLY_AST = 0x400

loading = False  # this interpreter is executing the definitions of the script

_origin = None  # (source, file name, {attributes of __main__}) of the script that this interpreter runs
_definitions = None  # (marshalled code, {attributes}) for workers; made from _origin once, or inherited
_first_filters = list(_warnings.filters)


def runs(source, filename, attributes):
    """This interpreter is about to run that script as its __main__."""
    global _origin, _definitions
    _origin, _definitions = (source, filename, attributes), None


def surroundings():
    """Return what a new worker has to have in common with this one: path, argv, warnings, __main__."""
    filters = None if _warnings.filters == _first_filters else list(_warnings.filters)
    return list(sys.path), list(sys.argv), filters, definitions()


def surround(given):
    """Take over what surroundings() returned in the worker that started this one."""
    global _definitions
    path, argv, filters, _definitions = given
    sys.path[:] = path
    sys.argv[:] = argv
    if filters is not None:
        import warnings

        warnings.filters[:] = filters
    if _definitions is not None:
        vars(sys.modules["__main__"])["__getattr__"] = _load_for


def _look_for_origin():
    """Where Python is not ours, nobody has told: note the source of a script that was started as python3 starts it."""
    global _origin
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if path is None or not path.endswith((".py", ".pyw")) and getattr(main, "__spec__", None) is not None:
        _origin = (None, None, {})
        return
    import io

    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError:
        source = None
    _origin = (source, path, {"__file__": path, "__package__": getattr(main, "__package__", None)})


def definitions():
    global _definitions
    if _origin is None and _definitions is None and not _interlace._is_worker():
        _look_for_origin()
    if _definitions is None and _origin is not None and _origin[0] is None:
        _definitions = None, {}
    if _definitions is None and _origin is not None:
        source, filename, attributes = _origin
        tree = compile(source, filename, "exec", PyCF_ONLY_AST, dont_inherit=True)
        tree.body = list(_kept(tree.body))
        _definitions = marshal.dumps(compile(tree, filename, "exec", dont_inherit=True)), attributes
    return _definitions


_KEPT = (
    _ast.Import,
    _ast.ImportFrom,
    _ast.FunctionDef,
    _ast.AsyncFunctionDef,
    _ast.ClassDef,
    _ast.Assign,
    _ast.AnnAssign,
    _ast.AugAssign,
    _ast.TypeAlias,
)


def _kept(body):
    for node in body:
        if isinstance(node, _KEPT):
            yield node
        elif isinstance(node, _ast.If):
            if _asks_for_main(node.test):
                yield from _kept(node.orelse)
            else:
                node.body, node.orelse = _block(node.body), list(_kept(node.orelse))
                yield node
        elif isinstance(node, (_ast.Try, _ast.TryStar)):
            node.body, node.orelse = _block(node.body), list(_kept(node.orelse))
            node.finalbody = list(_kept(node.finalbody))
            for handler in node.handlers:
                handler.body = _block(handler.body)
            if node.handlers or node.finalbody:
                yield node


def _block(body):
    """Statements to be kept, `pass` where none is left."""
    kept = list(_kept(body))
    if not kept:
        place = body[0]
        kept.append(
            _ast.Pass(
                lineno=place.lineno,
                col_offset=place.col_offset,
                end_lineno=place.end_lineno,
                end_col_offset=place.end_col_offset,
            )
        )
    return kept


def _asks_for_main(test):
    """Whether an expression compares __name__ with "__main__" somewhere."""
    pending = [test]
    while pending:
        node = pending.pop()
        if isinstance(node, _ast.Compare):
            sides = [node.left, *node.comparators]
            names = any(isinstance(side, _ast.Name) and side.id == "__name__" for side in sides)
            values = any(isinstance(side, _ast.Constant) and side.value == "__main__" for side in sides)
            if names and values:
                return True
        elif isinstance(node, _ast.BoolOp):
            pending.extend(node.values)
        elif isinstance(node, _ast.UnaryOp):
            pending.append(node.operand)
    return False


def _load_for(name):
    """__main__.__getattr__: the first look-up of something that the script defines."""
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(f"module '__main__' has no attribute {name!r}")
    namespace = vars(sys.modules["__main__"])
    namespace.pop("__getattr__", None)
    _load(namespace, name)
    return _look_up(namespace, name)


def _load(namespace, name):
    """Execute the script's definitions there, since somebody looks for `name`."""
    code, attributes = _definitions
    if code is None:
        raise AttributeError(
            f"a worker cannot have {name!r}: what is defined at a prompt, or by python -c, has no source to load it "
            "from; put it into a file"
        )
    namespace.update(attributes)
    global loading
    loading = True
    try:
        exec(marshal.loads(code), namespace)
    except Exception as error:
        error.add_note(
            f"This happened while worker {_interlace.current_worker().name!r} loaded the script's definitions "
            "(its imports, functions, classes and assignments). Move what cannot be done again into a function, or "
            'below `if __name__ == "__main__":`.'
        )
        raise
    finally:
        loading = False


def _look_up(namespace, name):
    try:
        return namespace[name]
    except KeyError:
        raise AttributeError(
            f"the script defines no {name!r} at its top level that a worker could use: only its imports, functions, "
            "classes and assignments are loaded there"
        ) from None


# ---- a kept interpreter: a __main__ of its own, and that of the script --------------------------------------------

_own = _script = None  # the two modules, in an interpreter that keeps them apart


def keep_apart():
    """Have the script's definitions keep out of this interpreter's own __main__, which is its user's to fill.

    They go into a second __main__. What is pickled as of __main__ is looked up there while within_script() lasts; the
    own one finds it, too, where it has nothing of that name itself.
    """
    global _own, _script
    _own = sys.modules["__main__"]
    if vars(_own).pop("__getattr__", None) is not None:
        _script = _Script("__main__")
        _own.__class__ = _Own


def namespace():
    """Return the namespace of this interpreter's own __main__."""
    return vars(sys.modules["__main__"] if _own is None else _own)


class within_script:
    """A context in which the script's __main__ is the __main__."""

    def __enter__(self):
        if _script is not None:
            sys.modules["__main__"] = _script

    def __exit__(self, *error):
        if _script is not None:
            sys.modules["__main__"] = _own


class _Script(type(sys)):
    """The script's __main__: loaded when the first thing in it is looked up."""

    loaded = False

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        namespace = vars(self)
        if not _Script.loaded:
            _Script.loaded = True
            _load(namespace, name)
        return _look_up(namespace, name)


class _Own(type(sys)):
    """A __main__ that has no more in its namespace than its user has put there."""

    def __getattr__(self, name):
        return getattr(_script, name)
