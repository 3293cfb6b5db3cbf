"""isolation="auto": an interpreter, unless what the worker imports is known not to load there."""

import importlib.util
import sys

from interlace import _isolation
from support import Skip, equal, folder, host, pipe, run, write

SAID = "{} does not load in an interpreter with its own GIL: workers that import it run in processes of their own\n"


def refusing(kind, target, path=()):
    return _isolation.refusing_import(kind, target, [*path, *sys.path])


def needs(module):
    if importlib.util.find_spec(module) is None:
        raise Skip(f"this Python has no {module}")


def test_the_source_tells():
    """Imports anywhere in a script; those at the top and in the function itself, for a function."""
    needs("readline")
    equal(refusing("code", "import os, readline"), "readline")
    equal(refusing("code", "import os"), None)
    equal(refusing("code", "def f():\n    from readline import x"), "readline")
    equal(refusing("code", "if 1:\n    try:\n        import readline as r\n    finally:\n        pass"), "readline")
    equal(refusing("code", "syntax error here"), None)
    equal(refusing("code", "import numpy_which_is_not_there, readline_"), None)
    place = folder()
    text = """
        def a():
            import readline
        def b():
            import os
        class C:
            def m(self):
                import faulthandler
    """
    write(text, "m.py", place)
    equal(refusing("name", "m:a", [str(place)]), "readline")
    equal(refusing("name", "m:b", [str(place)]), None)
    equal(refusing("name", "m:C.m", [str(place)]), "faulthandler")
    equal(refusing("name", "not_there:b", [str(place)]), None)
    equal(refusing("script", write("import readline")), "readline")
    equal(refusing("script", "/not/there"), None)


def test_modules_are_followed():
    """Through packages and relative imports, in circles, without importing anything."""
    needs("readline")
    place = folder()
    write("from . import inner\nraise SystemExit", "package/__init__.py", place)
    write("from .deeper.leaf import x\nfrom .. import above", "package/inner.py", place)
    write("", "package/deeper/__init__.py", place)
    write("import package\ntry:\n    import readline\nexcept ImportError:\n    pass\n", "package/deeper/leaf.py", place)
    write("import package.inner", "first.py", place)
    equal(refusing("module", "first", [str(place)]), "readline")
    equal(refusing("code", "import first", [str(place)]), "readline")
    write("import package.not_there", "package/inner.py", place)
    equal(refusing("code", "import first", [str(place)]), None)
    assert not {"first", "package"} & set(sys.modules)


def test_what_is_not_installed_does_not_refuse():
    for name in sorted(_isolation.REFUSING):
        there = importlib.util.find_spec(name) is not None
        equal(refusing("code", f"import {name}"), name if there else None)


def test_workers_of_a_group():
    """Each by its own target; said once."""
    needs("readline")
    text = """
        import os
        import interlace
        def light():
            return os.getpid()
        def heavy():
            import readline
            return os.getpid()
        def main():
            with interlace.Group(isolation="auto") as group:
                pids = [group.start(target).result() for target in (light, heavy, light, heavy)]
            print([pid == os.getpid() for pid in pids])
        main()
    """
    run(text).expect(0, "[True, False, True, False]\n", "interlace: " + SAID.format("readline"))


def test_the_command():
    """run and pipe, by the script's imports."""
    needs("readline")
    said = "interlace: " + SAID.format("readline")
    where = "print(open('/proc/self/cmdline').read().split('\\0')[1])"
    host("run", "--isolation=auto", "-c", f"import readline; {where}").expect(0, "__worker\n", said)
    host("run", "--isolation=auto", "-c", where).expect(0, "run\n")
    run(f"import readline\n{where}\n", words=("--isolation", "auto")).expect(0, "__worker\n", said)
    light = f"\n# light.py\n{where}\n"
    heavy = f"\n# heavy.py\nimport readline\n{where}\n"
    ended = pipe(light, heavy, heavy, words=("--isolation=auto",)).expect(0, err=said)
    equal(sorted(ended.out.split()), ["__worker", "__worker", "pipe"])


def test_in_a_process_there_is_no_other():
    """A worker in a process starts interpreters for "auto"."""
    needs("readline")
    text = """
        import os
        import interlace
        def inner():
            try:
                import readline
            except ImportError:
                return os.getpid()
        def outer():
            with interlace.Group(isolation="auto") as group:
                return group.start(inner).result() == os.getpid()
        with interlace.Group(isolation="process") as group:
            print(group.start(outer).result())
    """
    run(text).expect(0, "True\n")
