"""interlace doctor: which modules load in a worker."""

import json

import shutil
from importlib.util import find_spec

from support import BINARY, Skip, command, environment, equal, folder


def doctor(*words, **variables):
    return command(BINARY, "doctor", *words, env=environment(**variables))


def test_i1_what_loads_refuses_crashes_fails_and_is_missing():
    """Each answer is right, each module's alone: a crash costs a process of its own."""
    here = folder()
    (here / "crasher.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    (here / "leaver.py").write_text("import os\nos._exit(0)\n")
    (here / "broken.py").write_text("1 / 0\n")
    (here / "needy.py").write_text("import surely_not_there\n")
    (here / "versioned.py").write_text("__version__ = '1.5'\nprint('noise')\n")
    (here / "sleeper.py").write_text("import time\ntime.sleep(100)\n")
    names = ["json", "faulthandler", "crasher", "leaver", "broken", "needy", "surely_not_there", "versioned", "sleeper",
             "json", "os.path"]  # fmt: skip
    done = doctor("--json", "--timeout", "5", *names, PYTHONPATH=str(here))
    answers = json.loads(done.out)
    got = {one["module"]: (one["answer"], one["detail"]) for one in answers["modules"]}
    equal([one["module"] for one in answers["modules"]], [*dict.fromkeys(names)])
    equal({name: answer for name, (answer, _) in got.items()}, {
        "json": "loads", "faulthandler": "refuses", "crasher": "crashes", "leaver": "crashes", "broken": "fails",
        "needy": "fails", "surely_not_there": "missing", "versioned": "loads", "sleeper": "fails", "os.path": "loads",
    })  # fmt: skip
    equal(got["crasher"][1], "killed by SIGSEGV")
    equal(got["versioned"][1], "1.5")
    equal("ZeroDivisionError" in got["broken"][1] and "5 s" in got["sleeper"][1], True)
    equal(answers["summary"], {"loads": 3, "refuses": 1, "crashes": 2, "fails": 3, "missing": 1})
    equal((done.code, done.err), (1, ""))


def test_i1_the_table_and_the_way_out():
    done = doctor("json", "faulthandler")
    lines = done.out.splitlines()
    equal(lines[0].split()[:2], ["json", "loads"])
    equal(lines[1].split()[:2], ["faulthandler", "refuses"])
    equal(lines[2], "1 loads; 1 refuses")
    equal('isolation="process"' in lines[3], True)
    equal(done.code, 1)
    equal(doctor("json").code, 0)


def test_i1_numpy_json_lxml():
    """As they are installed. lxml itself has nothing to refuse; lxml.etree does."""
    missing = [name for name in ("numpy", "lxml.etree") if find_spec(name.partition(".")[0]) is None or not find_spec(name)]
    if missing:
        raise Skip(f"{missing[0]} is not installed for this Python")
    done = doctor("numpy", "json", "lxml")
    lines = done.out.splitlines()
    equal([line.split()[:2] for line in lines[:3]], [["numpy", "refuses"], ["json", "loads"], ["lxml", "refuses"]])
    equal("numpy._core._multiarray_umath does not support loading in subinterpreters" in lines[0], True)
    equal("module lxml." in lines[2], True)
    equal((lines[3], max(map(len, lines)) < 120, done.code), ("1 loads; 2 refuse", True, 1))


def test_i1_the_extensions_of_a_package_are_tried_with_it():
    """Copies of one that refuses, of one that loads and of what is none, in packages that load without them."""
    here = folder()
    for package, module in ("apart", "_testsinglephase"), ("deep.er", "xxlimited"), ("other.test", "_testsinglephase"):
        spec = find_spec(module)
        if spec is None:
            raise Skip(f"{module} is not installed")
        inside = here / package.replace(".", "/")
        inside.mkdir(parents=True)
        (here / package.partition(".")[0] / "__init__.py").write_text("__version__ = '3'\n")
        shutil.copy(spec.origin, inside)
    (here / "deep" / "not_one.abi3.so").write_bytes(b"no library")
    done = doctor("--json", "apart", "deep", "other", PYTHONPATH=str(here))
    got = [(one["module"], one["answer"], one["detail"]) for one in json.loads(done.out)["modules"]]
    equal(got, [
        ("apart", "refuses", "ImportError: module _testsinglephase does not support loading in subinterpreters"),
        ("deep", "loads", "3"),
        ("other", "loads", "3"),
    ])  # fmt: skip


def test_without_names_it_looks_for_extensions():
    """Every installed module or package that has one, but Python's own."""
    here = folder()
    (here / "pack" / "deep").mkdir(parents=True)
    (here / "pack" / "__init__.py").write_text("")
    (here / "pack" / "deep" / "_fast.abi3.so").write_bytes(b"no library")
    (here / "single.abi3.so").write_bytes(b"no library")
    (here / "plain.py").write_text("")
    (here / "libother.so").write_bytes(b"")
    done = doctor("--json", PYTHONPATH=str(here))
    got = {one["module"]: one["answer"] for one in json.loads(done.out)["modules"]}
    equal((got.get("pack"), got.get("single"), got.get("plain"), got.get("libother")), ("loads", "fails", None, None))
    equal("_ctypes" in got or "_json" in got, False)


def test_wrong_words():
    for words, hint in [(("no-name",), "no module's name"), (("--timeout", "0", "json"), "--timeout"),
                        (("--what",), "--what")]:  # fmt: skip
        done = doctor(*words)
        equal(done.code, 2)
        equal(hint in done.err, True)
    equal("refuses" in doctor("--help").out, True)
