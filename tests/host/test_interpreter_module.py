"""interlace.interpreters as a module: its names, its stub, its texts and their examples."""

import ast
import contextlib
import inspect
import io
import re
import textwrap
from pathlib import Path

import interlace
from interlace import interpreters
from support import equal, host


def test_names_and_exceptions():
    """Everything that the standard module exports is there; the exceptions are its own classes; all is documented."""
    from concurrent import interpreters as standard

    for name in standard.__all__:
        assert name in interpreters.__all__, name
        if isinstance(getattr(standard, name), type) and issubclass(getattr(standard, name), Exception):
            assert getattr(interpreters, name) is getattr(standard, name), name
    equal(sorted(interpreters.__all__), sorted(set(interpreters.__all__)))
    for thing in (interpreters.Interpreter, interpreters.Queue):
        wanted = getattr(standard, thing.__name__)
        public = {name for name in dir(wanted) if not name.startswith("_")}
        assert public <= set(dir(thing)), public - set(dir(thing))
        for name in public:
            assert getattr(thing, name).__doc__, f"{thing.__name__}.{name}"
        equal(thing.__module__, "interlace.interpreters")
    for name in ("create", "create_queue", "get_current", "get_main", "is_shareable", "list_all"):
        equal((getattr(interpreters, name).__name__, getattr(interpreters, name).__module__), (name, interpreters.__name__))
        assert getattr(interpreters, name).__doc__


def test_the_stub_is_in_step():
    """It has the names of __all__, and the parameters that functions and methods really have."""
    path = Path(__file__).resolve().parents[2] / "host/python/interlace/interpreters/__init__.pyi"
    names, signatures = set(), {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.asname}
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
            members = node.body if isinstance(node, ast.ClassDef) else [node]
            for member in members:
                where = [node.name] if member is node else [node.name, member.name]
                arguments = member.args.posonlyargs + member.args.args + member.args.kwonlyargs
                signatures[".".join(where)] = {a.arg for a in arguments} - {"self", "cls"}
    equal(names, set(interpreters.__all__))
    for where, wanted in signatures.items():
        thing = interpreters
        for part in where.split("."):
            thing = inspect.getattr_static(thing, part)
        thing = getattr(thing, "fget", None) or getattr(thing, "__func__", thing)
        parameters = inspect.signature(thing).parameters.values()
        equal((where, {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)} - {"self", "cls"}),
              (where, wanted))  # fmt: skip


def examples(doc):
    """Yield the examples of a docstring or README: (code, the lines that its comments say are printed)."""
    for block in re.findall(r"(?:^ {4,}\S.*\n?|^ *\n)+", inspect.cleandoc(doc), re.M):
        code = textwrap.dedent(block).strip()
        if code:
            yield code + "\n", re.findall(r"print\(.*\)\s+# (.+)", code)


def test_the_examples_are_right():
    """Every public function and method has one, each is run, and prints what its comments say; that of the README too."""
    documented = {"module": interpreters}
    for name in ("create", "create_queue", "is_shareable"):
        documented[name] = getattr(interpreters, name)
    for kind, names in ((interpreters.Interpreter, "close prepare_main exec call call_in_thread"),
                        (interpreters.Queue, "put get")):  # fmt: skip
        documented |= {f"{kind.__name__}.{name}": getattr(kind, name) for name in names.split()}
    found = [(where, *example) for where, thing in documented.items() for example in examples(thing.__doc__)]
    equal({where for where, *_ in found}, set(documented))
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    block = next(part for part in readme.split("```python\n") if "from interlace import interpreters" in part)
    found += [("README", *example) for example in examples(textwrap.indent(block.partition("```")[0], "    "))]
    for where, code, printed in found:
        interp, queue = interpreters.create(), interpreters.create_queue()
        if where == "Queue.get":
            queue.put("something")
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(code, {"interpreters": interpreters, "interp": interp, "queue": queue, "__name__": "example"})
        print(f"{where}: {output.getvalue().strip()}")
        equal((where, output.getvalue().splitlines()), (where, printed))


def test_is_shareable():
    """The standard module's answer; and what Interlace carries is shareable."""
    queue = interpreters.create_queue()
    for obj in (None, 1, "s", b"b", 1.5, (1, "s"), memoryview(b""), queue, *interlace.channel(1), interlace.Buffer(1)):
        assert interpreters.is_shareable(obj), obj
    for obj in ([], {}, object(), interpreters.get_main(), bytearray()):
        assert not interpreters.is_shareable(obj), obj


def test_it_is_imported_only_on_use():
    """A worker that does not use it pays nothing for it."""
    host("run", "-c", "import interlace, sys; print([n for n in sys.modules if 'interpreters' in n])").expect(out="[]\n")
