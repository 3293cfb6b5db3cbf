"""Run the tests of a file inside the host: interlace run tests/host/run.py FILE.py [NAME...]

Every function test_* of the file is a test: its docstring says what it proves, its name which line of the contract.
One line is printed for each: ok NAME, not ok NAME with the traceback, or skip NAME: reason. The exit code is 1 if one
failed.
"""

import importlib
import os
import sys
import threading
import time
import traceback

# A test that takes longer than this hangs: where it waits is printed, and the process ends.
LIMIT = float(os.environ.get("INTERLACE_TEST_LIMIT", 90))


def run_one(name, test):
    """Run a test, print its line, return whether it passed."""
    from support import Skip, give_up

    watchdog = threading.Timer(LIMIT, give_up, [name, f"no end after {LIMIT:g} s"])
    watchdog.start()
    start = time.monotonic()
    try:
        test()
    except Skip as skip:
        print(f"skip {name}: {skip}", flush=True)
        return True
    except BaseException as error:
        error.__traceback__ = error.__traceback__.tb_next  # without this function
        print(f"not ok {name}\n{''.join(traceback.format_exception(error))}", flush=True)
        if not isinstance(error, Exception):
            sys.exit(1)  # Ctrl-C, or something that is about to end this worker anyway
        return False
    finally:
        watchdog.cancel()
    seconds = time.monotonic() - start
    print(f"ok {name}" + (f"  # {seconds:.1f} s" if seconds >= 1 else ""), flush=True)
    return True


def main():
    folder, file = os.path.split(os.path.realpath(sys.argv[1]))
    sys.path.insert(0, folder)
    module = importlib.import_module(file.removesuffix(".py"))
    names = sys.argv[2:] or [name for name in vars(module) if name.startswith("test_")]
    if not names:
        sys.exit(f"{sys.argv[1]}: no test in there")
    failed = [name for name in names if not run_one(name, getattr(module, name))]
    if failed:
        sys.exit(f"{len(failed)} of {len(names)} failed: {' '.join(failed)}")


main()
