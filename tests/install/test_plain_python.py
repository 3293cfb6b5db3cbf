"""`import interlace` in a plain Python, of the installation and of the build tree."""

from installed import BUILD, PYTHON, VERSION, installed, path_of, python_folder
from support import command, environment, equal, write

SCRIPT = """
import interlace

def double(numbers, doubled):
    for n in numbers:
        doubled.send(2 * n)

def main():
    with interlace.Group() as group:
        send, numbers = interlace.channel(64)
        doubled, results = interlace.channel(64)
        workers = [group.start(double, numbers, doubled) for _ in range(4)]
        del numbers, doubled
        with send:
            send.send_many(range(50))
        print(sum(results))
        print(len({worker.id for worker in workers}))
        print(group.start("math:factorial", 20).result())
    try:
        with interlace.Group() as group:
            group.start("math:factorial", -1)
    except* ValueError as errors:
        print(*map(repr, errors.exceptions))

if __name__ == "__main__":
    main()
"""
PRINTED = "2450\n4\n2432902008176640000\nValueError('factorial() not defined for negative values')\n"


def python(*words, folder, **options):
    """Run the plain Python with its modules in `folder` (Ended)."""
    env = environment(PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1", LD_BIND_NOW="1")
    return command(PYTHON, *words, env=env, cwd="/", **options)


def check(folder):
    script = write(SCRIPT)
    python(script, folder=folder).expect(0, PRINTED, "")
    named = python("-c", "import interlace, _interlace; print(interlace.__file__, _interlace.__file__)", folder=folder)
    package, extension = named.expect(0, None, "").out.split()
    equal(package, f"{folder}/interlace/__init__.py")
    assert extension.startswith(f"{folder}/_interlace."), extension


def test_the_installed_module():
    """The example of the README, errors and all, with the module from where it was installed."""
    check(python_folder())


def test_the_module_of_the_build_tree():
    """The same with PYTHONPATH=build/VERSION/python."""
    check(BUILD / "python")


def test_one_line_of_python():
    """Without a script: targets by name, channels within one interpreter, and an end that comes by itself."""
    text = (
        "import interlace; sender, receiver = interlace.channel(2); sender.send([1, 'two']); print(receiver.recv()); "
        "group = interlace.Group(); group.__enter__(); worker = group.start('os:getpid'); "
        "print(worker.result() == __import__('os').getpid()); group.__exit__(None, None, None)"
    )
    python("-c", text, folder=python_folder()).expect(0, "[1, 'two']\nTrue\n", "")


TWO = """
import ctypes, sys
library = ctypes.PyDLL(sys.argv[1])
library.lace_strerror.restype = library.lace_problem.restype = ctypes.c_char_p
major, minor, patch = map(int, sys.argv[2].split("."))
host = ctypes.c_void_p()

def open_host():
    status = library.lace_host_open_version(major * 1000000 + minor * 1000 + patch, None, ctypes.byref(host))
    return status and library.lace_problem().decode()

if sys.argv[3] == "module":
    import interlace
    print(open_host())
    with interlace.Group() as group:
        print(group.start("math:factorial", 5).result())
else:
    print(open_host())
    import interlace  # of the library's
    with interlace.Group() as group:
        print(group.start("math:factorial", 5).result())
    sys.modules["_interlace"] = None
    del sys.modules["_interlace"]
    try:
        import _interlace
    except ImportError as error:
        print(error)
    print(library.lace_host_close(host))
    import _interlace
    print(open_host())
"""


def test_one_host_of_two_copies():
    """The extension module and a libinterlace.so in one process: whoever is second is told so."""
    library = installed(path_of("libdir")) / f"libinterlace.so.{VERSION.split('.')[0]}"
    busy = "another copy of the library has a host in this process"
    script = write(TWO)
    for first in "module", "library":
        ended = python(script, str(library), VERSION, first, folder=python_folder()).expect(0, None, "")
        shown = [busy if busy in line else line for line in ended.out.splitlines()]
        equal(shown, [busy, "120"] if first == "module" else ["0", "120", busy, "0", busy])
