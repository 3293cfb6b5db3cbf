"""CPython's own tests of concurrent.interpreters, with interlace.interpreters in its place.

They come from the Python that is installed (Debian: libpython3.14-testsuite), and are run as they are: a folder at the
front of sys.path has a `concurrent` package whose `interpreters` is ours, and which takes the rest from the standard
library. What they start as "python" is a script that runs `interlace run`.
"""

import contextlib
import functools
import gc
import importlib
import io
import os
import sys
import types
import unittest
from pathlib import Path

from support import BINARY, Skip, folder, wait_until

# Why a test is not run, by what is in its name after "test_interpreters.". All others have to pass. Where it says
# `skips itself`, CPython has it so.
NEEDS_CAPI = "makes interpreters with the C module _testinternalcapi, of which Interlace knows nothing"
IS_LOW_LEVEL = "is about the C modules _interpreters and _interpqueues, not about the module built on them"
SKIPPED = {
    "test_api.LowLevelTests": IS_LOW_LEVEL,
    "test_queues.LowLevelTests.test_create_destroy": IS_LOW_LEVEL,
    "test_queues.LowLevelTests.test_not_destroyed": IS_LOW_LEVEL,
    "test_queues.LowLevelTests.test_bind_release": IS_LOW_LEVEL,
    "test_api.TestInterpreterIsRunning.test_from_subinterpreter": "asks _interpreters for an interpreter of ours",
    "test_stress.StressTests.test_many_threads_running_interp_in_other_interp": "as before",
    "test_stress.StressTests.test_create_interpreter_no_memory": "as before, with _testcapi, which does not load here",
    "test_api.TestInterpreterClose.test_remaining_daemon_threads": "makes its interpreter with _interpreters; in ours "
    "threading refuses daemon threads",
    "test_api.GetCurrentTests.test_created_with_capi": NEEDS_CAPI,
    "test_api.ListAllTests.test_created_with_capi": NEEDS_CAPI,
    "test_api.TestInterpreterIsRunning.test_created_with_capi": NEEDS_CAPI,
    "test_api.TestInterpreterClose.test_created_with_capi": NEEDS_CAPI,
    "test_api.TestInterpreterPrepareMain.test_created_with_capi": NEEDS_CAPI,
    "test_api.TestInterpreterExec.test_created_with_capi": NEEDS_CAPI,
    "test_api.TestInterpreterIsRunning.test_subinterpreter": "skips itself",
    "test_api.TestInterpreterClose.test_still_running": "skips itself",
    "test_api.TestInterpreterExec.test_already_running": "skips itself",
    "test_api.TestInterpreterPrepareMain.test_not_shareable": "a dict can be bound here: whatever pickles",
    "test_api.TestInterpreterCall.test_func_in___main___valid": "wants the script's functions to see the __name__ "
    "'<fake __main__>'; here it is '__main__', so that objects of the script's classes can be sent back",
    "test_api.TestInterpreterCall.test_func_in___main___hidden": "as before",
    "test_api.TestInterpreterExec.test_display_preserved_exception": "compares the whole of what python prints for an "
    "uncaught exception, with the lines of the standard module's source",
    "test_api.InterpreterObjectTests.test_cleanup_in_repl": "wants a warning about an open interpreter from a REPL: "
    "there is none, and ours ends when nobody names it any more",
    "test_api.InterpreterObjectTests.test_keyboard_interrupt_in_thread_running_interp": "wants KeyboardInterrupt to be "
    "printed: Ctrl-C cancels everything here, and the exit code is 130",
    "test_queues.TestQueueOps.test_timeout_uses_monotonic_clock": "looks for calls of time.monotonic(): the wait is in C",
    "test_queues.TestQueueOps.test_put_cleared_with_subinterpreter": "an item outlives its interpreter here; with "
    "UNBOUND_REMOVE it counts until get() comes to it",
    "test_queues.TestQueueOps.test_put_cleared_with_subinterpreter_mixed": "as before",
    "test_queues.TestQueueOps.test_put_cleared_with_subinterpreter_multiple": "as before",
}

PREFIX = "test.test_interpreters."

CONCURRENT = """
import os
import sys

__path__ = [os.path.join(os.path.dirname(os.__file__), "concurrent")]
from concurrent.interpreters import _crossinterp

import interlace.interpreters

interpreters = interlace.interpreters
interpreters._crossinterp = _crossinterp
sys.modules["concurrent.interpreters"] = interpreters
"""

PYTHON = """#!/bin/sh
# python OPTION... -c CODE | -m MODULE | SCRIPT [ARG...], as the tests call it
while :; do
    case $1 in
        -X) shift 2 ;;
        -I | -E) shift ;;
        *) break ;;
    esac
done
export PYTHONPATH='{folder}'
exec '{binary}' run "$@"
"""


def is_skipped(test):
    name = test.id().removeprefix(PREFIX)
    return any(name == skipped or name.startswith(skipped + ".") for skipped in SKIPPED)


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


@functools.cache
def replace():
    """From now on, concurrent.interpreters is ours, and python the host."""
    place = folder()
    (place / "concurrent").mkdir()
    (place / "concurrent" / "__init__.py").write_text(CONCURRENT)
    python = place / "python"
    python.write_text(PYTHON.format(folder=place, binary=os.path.realpath(BINARY)))
    python.chmod(0o755)
    sys.modules["_testinternalcapi"] = None  # it loads in 3.15, and not in 3.14: see NEEDS_CAPI
    sys.modules.pop("concurrent", None)  # unittest has brought it, with concurrent.futures
    sys.path.insert(0, str(place))
    sys.executable = str(python)


def load(name):
    """Return a module of test.test_interpreters, and its tests."""
    replace()
    try:
        module = importlib.import_module(f"test.test_interpreters.{name}")
    except ModuleNotFoundError as error:
        raise Skip(f"CPython's tests are not installed: {error} (Debian: libpython3.X-testsuite)") from None
    assert sys.modules["concurrent.interpreters"].__name__ == "interlace.interpreters"
    return module, list(flatten(unittest.defaultTestLoader.loadTestsFromModule(module)))


def settle():
    """Wait for the end of interpreters that a test has let go of: the standard module's end in that very moment."""
    gc.collect()

    def are_gone():
        names = (Path(f"/proc/self/task/{tid}/comm") for tid in os.listdir("/proc/self/task"))
        with contextlib.suppress(OSError):
            return not any(name.read_text().startswith("interpreter-") for name in names)

    wait_until(are_gone, "the interpreters of a test to end")


class Result(unittest.TextTestResult):
    def stopTest(self, test):
        super().stopTest(test)
        settle()


def check(name, least):
    """Run the tests of one module; at least so many have to be there."""
    module, tests = load(name)
    if name == "test_api":
        # The one thing that other tests ask of it: what two functions have in common.
        module._testinternalcapi = types.SimpleNamespace(get_code_var_counts=code_var_counts)
    output = io.StringIO()
    suite = unittest.TestSuite(test for test in tests if not is_skipped(test))
    result = unittest.TextTestRunner(output, verbosity=2, resultclass=Result).run(suite)
    print(f"{name}: {result.testsRun} of {len(tests)} run, {len(result.failures) + len(result.errors)} failed")
    assert result.wasSuccessful(), output.getvalue()
    skipped = [f"{test.id()}: {why}" for test, why in result.skipped if "_testinternalcapi" not in why]
    assert not skipped, f"skipped, and not in the table: {skipped}"
    assert result.testsRun >= least, f"{result.testsRun} tests only"


def code_var_counts(function):
    code = getattr(function, "__code__", function)
    return code.co_nlocals, code.co_argcount, code.co_kwonlyargcount, code.co_cellvars, code.co_freevars, code.co_names


def test_api():
    """Interpreter and the functions of the module."""
    check("test_api", 60)


def test_queues():
    """Queue."""
    check("test_queues", 20)


def test_lifecycle():
    """The beginning and the end of interpreters."""
    check("test_lifecycle", 2)


def test_stress():
    """Many interpreters, from many threads."""
    from test import support

    support.verbose = 0
    support.real_max_memuse = 8 << 30  # what it says it needs; it is less than a tenth of that
    module, _ = load("test_stress")
    module.StressTests.test_create_many_threaded.size = 50  # threads; 200 take a loaded machine too long
    check("test_stress", 2)


def test_the_table_names_tests_that_exist():
    """Every line of the table is about a test of some supported version."""
    names = {test.id().removeprefix(PREFIX) for name in ("test_api", "test_queues", "test_stress") for test in load(name)[1]}
    of_one_version = {"test_keyboard_interrupt_in_thread_running_interp", "test_timeout_uses_monotonic_clock"}
    for skipped in SKIPPED:
        found = any(name == skipped or name.startswith(skipped + ".") for name in names)
        assert found or skipped.rpartition(".")[2] in of_one_version, f"there is no {skipped}"
