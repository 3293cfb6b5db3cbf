"""interlace.interpreters as a module: its names and its example in the README."""

import re
from pathlib import Path

import interlace
from interlace import interpreters
from support import equal, host, run


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


def test_the_example_of_the_readme():
    """It runs, and prints what its comment says."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    parts = [part.partition("```")[0] for part in readme.split("```python\n")]
    code = next(part for part in parts if "from interlace import interpreters" in part)
    printed = re.findall(r"print\(.*\)\s+# (.+)", code)
    assert printed
    run(code).expect(out="".join(f"{line}\n" for line in printed))


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
