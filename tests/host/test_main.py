"""W5: functions and classes of the script itself as targets and in messages, guarded or not."""

import subprocess
import sys
import zipfile

from support import equal, environment, folder, host, raises, run, write

# What a script may define; every kind is used by a worker below.
DEFINITIONS = """
    import dataclasses, enum, os.path
    from collections import namedtuple
    import interlace

    FACTOR = 3
    TABLE = {"a": 1}
    Pair = namedtuple("Pair", "left right")

    class Colour(enum.Enum):
        RED = 1

    @dataclasses.dataclass
    class Item:
        name: str
        size: int = 0

        class Inner:
            pass

    class Oops(Exception):
        pass

    if os.path.sep == "/":
        def separator():
            return "slash"
    else:
        def separator():
            return "backslash"

    try:
        import no_such_module_at_all as fast
    except ImportError:
        fast = None

    def triple(item):
        return Item(item.name * FACTOR, item.size + TABLE["a"]), Colour.RED, Pair(fast, separator()), Item.Inner

    def fail():
        raise Oops("mine")

    def stream(receiver, sender):
        for item in receiver:
            sender.send(triple(item))

    def main():
        with interlace.Group() as group:
            send, items = interlace.channel(2)
            out, results = interlace.channel(2)
            group.start(stream, items, out)
            items.close()
            out.close()
            send.send(Item("ab", 1))
            send.close()
            for result in results:
                print(*result)
                assert result[0] == Item("ababab", 2) and result[3] is Item.Inner, result
            print(type(group.start(Item, "made").result()) is Item)
        try:
            with interlace.Group() as group:
                group.start(fail)
        except* Oops as errors:
            print(repr(errors.exceptions[0]))
"""
PRINTS = (
    "Item(name='ababab', size=2) Colour.RED Pair(left=None, right='slash') <class '__main__.Item.Inner'>\n"
    "True\n"
    "Oops('mine')\n"
)


def test_w5_without_a_guard():
    """A script that defines things and calls main()."""
    run(DEFINITIONS + "\n    main()\n").expect(0, PRINTS)


def test_w5_with_a_guard():
    """The same below `if __name__ == "__main__":`."""
    run(DEFINITIONS + '\n    if __name__ == "__main__":\n        main()\n').expect(0, PRINTS)


def dedented():
    with open(write(DEFINITIONS + "\n    main()\n")) as file:
        return file.read()


def test_w5_as_code_and_as_standard_input():
    """With -c, and with - as the script."""
    host("run", "-c", dedented()).expect(0, PRINTS)
    host("run", "-", stdin=dedented().encode()).expect(0, PRINTS)


def test_w5_as_a_module_a_package_a_folder_and_a_zip_file():
    """With -m, from the current folder; and as a folder or zip file with a __main__.py."""
    where = folder()
    write(DEFINITIONS + "\n    main()\n", "mod.py", where)
    write("", "pack/__init__.py", where)
    write("from .helper import HELP\nassert HELP == 1\n" + dedented(), "pack/__main__.py", where)
    write("HELP = 1\n", "pack/helper.py", where)
    write(DEFINITIONS + "\n    main()\n", "plain/__main__.py", where)
    with zipfile.ZipFile(where / "app.zip", "w") as archive:
        archive.writestr("__main__.py", dedented())
    for words in (["-m", "mod"], ["-m", "pack"], ["-m", "pack.__main__"], ["plain"], ["app.zip"]):
        host("run", *words, cwd=where).expect(0, PRINTS)


def test_w5_the_top_level_runs_once():
    """What the script does at its top level - calls, loops, with-blocks - does not happen again in workers."""
    run(
        """
        import interlace

        print("begin")
        for n in range(2):
            print("loop", n)

        def work(n):
            return n + OFFSET

        OFFSET = 10
        with interlace.Group() as group:
            for worker in [group.start(work, n) for n in range(3)]:
                print(worker.result())
        print("end")
        """
    ).expect(0, "begin\nloop 0\nloop 1\n10\n11\n12\nend\n")


def test_w5_definitions_are_loaded_when_they_are_needed():
    """A worker that runs something else does not even execute the script's assignments."""
    run(
        """
        import os
        import interlace

        LOADED = os.write(1, b"loaded\\n")

        def own():
            return "own"

        def main():
            with interlace.Group() as group:
                group.start(pow, 2, 3).result()
                group.start("math:sqrt", 4).result()
                os.write(1, b"now\\n")
                print(group.start(own).result())

        main()
        """
    ).expect(0, "loaded\nnow\nloaded\nown\n")


def test_w5_a_worker_starts_workers_of_the_script():
    """Three levels deep, functions and classes are still the script's."""
    run(
        """
        import interlace

        class Node:
            def __init__(self, depth):
                self.depth = depth

        def descend(node):
            if node.depth == 3:
                return node
            with interlace.Group() as group:
                return group.start(descend, Node(node.depth + 1)).result()

        def main():
            node = descend(Node(0))
            print(type(node) is Node, node.depth)

        main()
        """
    ).expect(0, "True 3\n")


def test_w5_an_assignment_that_starts_workers_says_what_to_do():
    """It would start workers in every worker: refused with the way out, instead of going on for ever."""
    run(
        """
        import interlace

        def work():
            return 1

        def main():
            with interlace.Group() as group:
                return group.start(work).result()

        RESULT = main()
        """
    ).expect(1, "", ("start them inside a function, or below `if __name__", "loaded the script's definitions"))


def test_w5_what_workers_cannot_see_says_so():
    """A function that the top level makes in a loop, or by exec, is named with what is loaded."""
    run(
        """
        import interlace

        for name in ("one", "two"):
            exec(f"def {name}(): return {name!r}")

        with interlace.Group() as group:
            group.start(one)
        """
    ).expect(1, "", ("'one'", "only its imports, functions,", "classes and assignments are loaded"))


def test_w5_a_failing_definition_says_where():
    """An assignment that works once only: the error notes that it happened while a worker loaded the script."""
    run(
        """
        import os
        import interlace

        FOLDER = os.mkdir(os.path.join(os.path.dirname(__file__), "once"))

        def work():
            return 1

        with interlace.Group() as group:
            group.start(work, name="second")
        """
    ).expect(1, "", ("FileExistsError", "once", "worker 'second' loaded the script's definitions", "into a function"))


def test_w5_lambdas_and_inner_functions_say_what_to_do():
    """They do not pickle, in a script as anywhere."""
    for definition in ("f = lambda: 1", "def outer():\n    def inner(): return 1\n    return inner\nf = outer()"):
        path = write(f"import interlace\n{definition}\nwith interlace.Group() as group:\n    group.start(f)\n")
        host("run", path).expect(1, "", ("PicklingError", "functions and classes from the top level of a module"))


def test_w5_tracebacks_show_the_scripts_lines():
    """Of a worker's function, with file and line of the script."""
    path = write(
        """
        import interlace

        def work():
            return 1 / 0  # the line

        with interlace.Group() as group:
            group.start(work)
        """
    )
    host("run", path).expect(1, "", (f'File "{path}", line 4, in work', "return 1 / 0  # the line"))


def test_w5_a_script_of_a_group_has_its_own_main():
    """A script started by a path starts workers with its own functions, not those of the script that started it."""
    inner = write(
        """
        import interlace

        def who():
            return "inner"

        with interlace.Group() as group:
            print(group.start(who).result(), flush=True)
        """,
        "inner.py",
    )
    run(
        f"""
        import interlace

        def who():
            return "outer"

        with interlace.Group() as group:
            group.start({inner!r}).result()
            print(group.start(who).result())
        """
    ).expect(0, "inner\nouter\n")


def test_w5_plain_python_can_tell_what_is_missing():
    """`import interlace` outside of the host is an ordinary ModuleNotFoundError."""
    done = subprocess.run([sys.executable, "-c", "import interlace"], capture_output=True, env=environment())
    equal(done.returncode, 1)
    assert b"ModuleNotFoundError" in done.stderr
    with raises(ModuleNotFoundError):
        import interlace.no_such_part  # noqa: F401
