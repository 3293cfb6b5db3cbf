"""W6: path, arguments, warnings, environment and virtual environment are the same in every worker."""

import os
import subprocess
import sys

import interlace
from support import DEADLINE, Skip, environment, equal, folder, host, run, write

SHOW = """
    import os, sys, warnings
    import interlace

    def show():
        import helper
        filters = [(f[0], f[2].__name__) for f in warnings.filters]
        return (sys.path, sys.argv, filters, helper.HELP, sys.flags.optimize, sys.dont_write_bytecode, sys.executable,
                sys.prefix, os.environ.get("ADDED"), os.environ.get("GONE"), os.getcwd(), sys.stdout.encoding)

    def main():
        sys.path.append("/added/by/the/script")
        sys.argv.append("added")
        warnings.simplefilter("error", DeprecationWarning)
        warnings.filterwarnings("ignore", category=UserWarning)
        os.environ["ADDED"] = "yes"
        os.environ.pop("GONE", None)
        with interlace.Group() as group:
            theirs = group.start(show).result()
        ours = show()
        for a, b in zip(ours, theirs, strict=True):
            assert a == b, f"script: {a}; worker: {b}"
        print("same", ours[1][1:], theirs[4])

    main()
"""


def test_w6_a_worker_has_the_scripts_surroundings():
    """sys.path, argv, warnings filters, environ, flags, folder; with what the script changed before it started it."""
    path = write(SHOW)
    write("HELP = 'beside the script'\n", "helper.py", os.path.dirname(path))
    host("run", path, "one", "--two", env=environment(GONE="x")).expect(0, "same ['one', '--two', 'added'] 0\n")
    env = environment(PYTHONOPTIMIZE="2", PYTHONDONTWRITEBYTECODE="1")
    host("run", path, env=env).expect(0, "same ['added'] 2\n")


def test_w6_warnings_filters_work_in_workers():
    """`error` set by the script makes a worker's warning an exception."""
    run(
        """
        import warnings
        import interlace

        def warn():
            warnings.warn("careful", DeprecationWarning)

        warnings.simplefilter("error")
        try:
            with interlace.Group() as group:
                group.start(warn)
        except* DeprecationWarning as errors:
            print(*errors.exceptions)
        """
    ).expect(0, "careful\n")


def test_w6_pythonwarnings():
    """PYTHONWARNINGS=error holds in the script and in workers."""
    script = """
        import warnings
        import interlace

        def warn():
            warnings.warn("x")

        with interlace.Group() as group:
            group.start(warn)
    """
    run(script, env=environment(PYTHONWARNINGS="error")).expect(1, "", ("UserWarning: x", "ExceptionGroup"))
    run(script, env=environment(PYTHONWARNINGS="ignore")).expect(0, "")


def test_w6_pythonpath():
    """Modules from PYTHONPATH are found in the script and in workers, by name, too."""
    where = folder()
    write("def f():\n    return 'from PYTHONPATH'\n", "helper_on_path.py", where)
    run(
        """
        import helper_on_path
        import interlace
        with interlace.Group() as group:
            for target in (helper_on_path.f, "helper_on_path:f"):
                print(group.start(target).result())
        """,
        env=environment(PYTHONPATH=str(where)),
    ).expect(0, "from PYTHONPATH\n" * 2)


def test_w6_pythonsafepath():
    """With PYTHONSAFEPATH the script's folder is not on the path."""
    path = write("import beside\n")
    write("", "beside.py", os.path.dirname(path))
    host("run", path).expect(0, "")
    host("run", path, env=environment(PYTHONSAFEPATH="1")).expect(1, "", ("ModuleNotFoundError", "beside"))


def venv():
    """A virtual environment of this Python with one module in it."""
    where = folder() / "venv"
    words = [sys.executable, "-m", "venv", "--without-pip", str(where)]
    made = subprocess.run(words, capture_output=True, env=environment())
    if made.returncode != 0:
        raise Skip(f"python -m venv does not work: {made.stderr.decode()}")
    [site_packages] = where.glob("lib/python3*/site-packages")
    write("def f():\n    import sys\n    return sys.prefix\n", "only_in_venv.py", site_packages)
    return where


VENV = """
    import sys
    import interlace
    import only_in_venv
    with interlace.Group() as group:
        print(sys.prefix, only_in_venv.f(), group.start(only_in_venv.f).result(), sys.executable)
"""


def test_w6_an_active_virtual_environment():
    """$VIRTUAL_ENV is used by the script and its workers; without it its modules are not there."""
    where = venv()
    ended = run(VENV, env=environment(VIRTUAL_ENV=str(where))).expect(0, None)
    *prefixes, executable = ended.out.split()
    equal(prefixes, [str(where)] * 3)
    assert executable.startswith(f"{where}/bin/python"), executable
    run(VENV).expect(1, "", ("ModuleNotFoundError", "only_in_venv"))


def test_w6_a_virtual_environment_of_another_python():
    """It cannot be used: one line says so, and the script runs without it."""
    where = folder()
    (where / "bin").mkdir()
    run("print('ran')\n", env=environment(VIRTUAL_ENV=str(where))).expect(
        0, "ran\n", ("interlace: ", f"the virtual environment {where} has no python3", "going on without it")
    )


def test_w6_sys_argv_of_each_way_to_run():
    """As plain Python sets it: the path, -c, -m with the module's file, -."""
    show = "import sys\nprint(sys.argv, sys.path[0], __name__, sys.argv[0] == globals().get('__file__'))\n"
    path = write(show, "show.py")
    where = os.path.dirname(path)
    host("run", path, "a", "-n", "--help").expect(0, f"{[path, 'a', '-n', '--help']} {where} __main__ True\n")
    host("run", "-c", show, "a", "-n").expect(0, "['-c', 'a', '-n']  __main__ False\n")
    host("run", "-m", "show", "a", "-n", cwd=where).expect(0, f"{[path, 'a', '-n']} {where} __main__ True\n")
    ended = host("run", "-", "a", stdin=show.encode())
    assert ended.out.startswith("['-', 'a'] "), ended.describe()


def test_w6_scripts_in_odd_places():
    """Spaces, umlauts and bytes that are no UTF-8 in names; links; a relative path."""
    where = folder()
    for name in ("with space", "\u00fcml\u00e4ut", os.fsdecode(b"latin-\xe4")):
        (where / name).mkdir()
        path = write("import beside, sys\nprint(ascii(sys.argv[1:]))\n", f"{name}/s c.py", where)
        write("", f"{name}/beside.py", where)
        host("run", path, name).expect(0, f"{ascii([name])}\n")
        host("run", f"{name}/s c.py", cwd=where).expect(0, "[]\n")
    os.symlink(path, where / "link.py")
    host("run", str(where / "link.py")).expect(0, "[]\n")


def hash_of(text):
    return hash(text)


def test_w6_strings_hash_alike():
    """One process has one hash seed: what is hashed in one worker means the same in another."""
    with interlace.Group() as group:
        equal(group.start(hash_of, "text").result(timeout=DEADLINE), hash("text"))
