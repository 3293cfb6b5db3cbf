"""Executor passes CPython's own tests for executors, as Debian's libpython3.X-testsuite installs them.

Each class of tests there is written for any executor and gets its own by a mixin: here it gets ours. DIFFERENT names the
tests that do not apply, each with its reason; BREAKING those where a ProcessPoolExecutor breaks and ours does not.
"""

import contextlib
import os
import unittest
import unittest.mock
from concurrent.futures import BrokenExecutor
from pickle import UnpicklingError

import interlace
from support import BINARY, Skip, command, environment, equal

try:
    from test.test_concurrent_futures import test_as_completed as as_completed
    from test.test_concurrent_futures import test_deadlock as deadlock
    from test.test_concurrent_futures import test_init as init
    from test.test_concurrent_futures import test_interpreter_pool as interpreter_pool
    from test.test_concurrent_futures import test_process_pool as process_pool
    from test.test_concurrent_futures import test_shutdown as shutdown
    from test.test_concurrent_futures import test_wait as wait
    from test.test_concurrent_futures import util
except ImportError as error:
    MISSING = f"CPython's tests are not installed: {error}"
else:
    MISSING = None

PROCESSES = "it looks at processes, of which there are none"
PRIVATE = "it looks at what another executor is made of"
CRASH = 'a crash ends the process with all its interpreters, until there is isolation="process"'
TASKS_PER_CHILD = "there is no max_tasks_per_child: a worker keeps nothing that it would have to be replaced for"
SCRIPTS = "it is expected to fail there, too: a call is a function, not a text"

DIFFERENT = {
    "ProcessPoolExecutor": {
        "test_max_workers_too_large": "a limit of Windows",
        "test_killed_child": PROCESSES,
        "test_broken_process_pool_traceback": PROCESSES,
        "test_traceback": "the cause is a RemoteTraceback of ours: test_executor.py has the same test",
        "test_traceback_when_child_process_terminates_abruptly": CRASH,
        "test_ressources_gced_in_workers": PROCESSES + ": it counts by a manager process; test_executor.py has the same test",
        "test_saturation": PROCESSES + ": a semaphore of multiprocessing's; test_executor.py has the same test",
        "test_idle_process_reuse_one": PRIVATE + "; test_executor.py has the same test",
        "test_idle_process_reuse_multiple": PRIVATE + "; test_executor.py has the same test",
        "test_max_tasks_per_child": TASKS_PER_CHILD,
        "test_max_tasks_per_child_defaults_to_spawn_context": TASKS_PER_CHILD,
        "test_max_tasks_per_child_pending_tasks_gh115634": TASKS_PER_CHILD,
        "test_shutdown_no_wait_max_tasks_gh119592": TASKS_PER_CHILD,
        "test_gc_during_max_tasks_worker_exit_gh152967": TASKS_PER_CHILD,
        "test_force_shutdown_during_max_tasks_worker_exit": TASKS_PER_CHILD,
        "test_failed_worker_replacement_breaks_pool": TASKS_PER_CHILD,
        "test_max_tasks_early_shutdown": TASKS_PER_CHILD,
        "test_python_finalization_error": PRIVATE + ": the order in which it starts threads",
        "test_terminate_workers": PRIVATE,
        "test_kill_workers": PRIVATE,
        "test_force_shutdown_workers_invalid_op": PRIVATE,
        "test_force_shutdown_workers": PROCESSES + "; test_executor.py has the same test",
        "test_force_shutdown_workers_dead_workers": CRASH,
        "test_force_shutdown_workers_not_started_yet": PROCESSES,
        "test_force_shutdown_workers_stops_pool": PROCESSES + "; test_executor.py has the same test",
    },
    "ProcessPoolShutdown": {
        "test_hang_gh94440": "signal.signal() works in no worker; test_executor.py has the same test",
        "test_processes_terminate": PROCESSES + "; test_executor.py has the same test",
        "test_context_manager_shutdown": PROCESSES + "; test_executor.py has the same test",
        "test_del_shutdown": PRIVATE + "; test_executor.py has the same test",
        "test_shutdown_no_wait": PRIVATE + "; test_executor.py has the same test",
        "test_shutdown_gh_132969_case_1": TASKS_PER_CHILD,
        "test_shutdown_gh_132969_case_2": TASKS_PER_CHILD,
    },
    "ExecutorDeadlock": {
        "test_crash_at_task_unpickle": CRASH,
        "test_crash_during_func_exec_on_worker": CRASH,
        "test_crash_during_result_pickle_on_worker": CRASH,
        "test_shutdown_deadlock": CRASH,
        "test_crash_big_data": CRASH,
        "test_shutdown_deadlock_pickle": PRIVATE + "; test_executor.py has the same test",
        "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": PRIVATE,
    },
    "InterpreterPoolExecutor": {
        "test_init_script": SCRIPTS,
        "test_init_script_args": SCRIPTS,
        "test_init_exception_in_script": SCRIPTS,
        "test_submit_script": SCRIPTS,
        "test_submit_exception_in_script": SCRIPTS,
        "test_init_closure": "a closure is sent by cloudpickle, or refused by name: see test_executor.py",
        "test_init_instance_method": "a local class is sent by cloudpickle, or refused by name: see test_executor.py",
        "test_init_exception_in_func": "an initializer's failure goes to the log, as a ProcessPoolExecutor's does",
        "test_submit_closure": "a closure is sent by cloudpickle, or refused by name: see test_executor.py",
        "test_submit_local_instance": "a local class is sent by cloudpickle, or refused by name: see test_executor.py",
        "test_submit_instance_method": "a local class is sent by cloudpickle, or refused by name: see test_executor.py",
        "test_submit_exception_in_func": "the cause is a RemoteTraceback of ours: test_executor.py has the same test",
        "test_saturation": PRIVATE,
        "test_idle_thread_reuse": PRIVATE,
        "test_pickle_errors_propagate": "the exception is the object's own: test_executor.py has the same test",
        "test_import_interpreter_pool_executor": "it imports another executor",
        "test_thread_name_prefix": PRIVATE,
        "test_thread_name_prefix_with_thread_get_name": PRIVATE,
        "test_blocking": "its function is a local one, and its queues poll: see test_saturation in test_executor.py",
        "test_blocking_with_limited_workers": "likewise",
    },
    "InterpreterPoolAsyncio": {
        "test_default_executor": "asyncio takes nothing but a ThreadPoolExecutor for its default",
    },
}

# A call or an outcome that does not unpickle spoils nothing but itself: its own exception instead of BrokenProcessPool.
BREAKING = {
    "test_exit_at_task_unpickle": SystemExit,
    "test_error_at_task_unpickle": UnpicklingError,
    "test_error_during_result_unpickle_in_result_handler": UnpicklingError,
    "test_exit_during_result_unpickle_in_result_handler": SystemExit,
}


class Event:
    """An event for several workers: a channel that ends."""

    def __init__(self):
        self._sender, self._receiver = interlace.channel(1)

    def set(self):
        self._sender.close()

    def wait(self):
        for _ in self._receiver:
            pass
        return True

    def __reduce__(self):
        return _waiting, (self._receiver,)


def _waiting(receiver):
    event = Event.__new__(Event)
    event._receiver = receiver
    return event


class Executor(interlace.Executor):
    """With the options of a ProcessPoolExecutor that the tests give it."""

    def __init__(self, max_workers=None, mp_context=None, **options):
        super().__init__(max_workers, **options)


def assert_python_ok(flag, code):
    """In place of test.support's: the script runs in the host, and its executor is ours."""
    assert "concurrent.futures import Executor" in code
    code = code.replace("concurrent.futures import Executor", "interlace import Executor")
    ended = command(BINARY, "run", flag, code, env=environment(PYTHONPATH=os.path.dirname(os.path.realpath(__file__))))
    equal(ended.code, 0)
    return ended.code, ended.out.encode(), ended.err.encode()


def classes():
    """Yield (name, class of tests with our executor)."""

    class Mixin(util.ExecutorMixin):
        executor_type = Executor

        def create_event(self):
            return Event()

        def get_context(self):
            return None

        def pipe(self):
            ends = os.pipe()
            for end in ends:
                self.addCleanup(os.close, end)
            return ends

    base = util.BaseTestCase
    for tests in (
        process_pool.ProcessPoolExecutorTest,
        shutdown.ProcessPoolShutdownTest,
        wait.WaitTests,
        as_completed.AsCompletedTests,
        deadlock.ExecutorDeadlockTest,
    ):
        yield tests.__name__.removesuffix("Tests").removesuffix("Test"), type(tests.__name__, (tests, Mixin, base), {})
    for tests in init.InitializerMixin, init.FailingInitializerMixin:
        name = tests.__name__.removesuffix("Mixin")
        yield name, type(name, (tests, Mixin, base), {})
    own = {name: test for name, test in vars(interpreter_pool.InterpreterPoolExecutorTest).items() if name[:4] == "test"}
    for name in "test_no_stale_references", "test_free_reference":
        del own[name]  # skipped there, and a test of ExecutorTest's above
    yield "InterpreterPoolExecutor", type("InterpreterPoolExecutor", (Mixin, base), own)
    asyncio_base = interpreter_pool.testasyncio_utils.TestCase
    own = dict(vars(interpreter_pool.AsyncioTest))
    for name in "setUp", "tearDown":  # they call super(), which is another's
        del own[name]
    own.pop("__dict__", None)
    own.pop("__weakref__", None)
    yield "InterpreterPoolAsyncio", type("InterpreterPoolAsyncio", (AsyncioSetUp, Mixin, asyncio_base), own)


class AsyncioSetUp:
    def setUp(self):
        super().setUp()
        self.loop = interpreter_pool.asyncio.new_event_loop()
        self.set_event_loop(self.loop)
        self.addCleanup(self.executor.shutdown)

    def tearDown(self):
        if not self.loop.is_closed():
            interpreter_pool.testasyncio_utils.run_briefly(self.loop)
        super().tearDown()


def run(cls, name):
    """Run one of CPython's tests; raises what its failure says."""
    broken = BREAKING.get(name, BrokenExecutor)
    with contextlib.ExitStack() as patches:
        for module in process_pool, deadlock:
            patches.enter_context(unittest.mock.patch.object(module, "BrokenProcessPool", broken))
        patches.enter_context(unittest.mock.patch.object(interpreter_pool, "BrokenInterpreterPool", broken))
        patches.enter_context(unittest.mock.patch.object(shutdown, "assert_python_ok", assert_python_ok))
        result = unittest.TestResult()
        cls(name).run(result)
    for _, text in result.errors + result.failures:
        raise AssertionError(text)
    for _, reason in result.skipped:
        raise AssertionError(f"it was skipped without being on our list: {reason}")
    equal((result.testsRun, result.unexpectedSuccesses), (1, []))


def define(label, cls, name):
    reason = DIFFERENT.get(label, {}).get(name)

    def test():
        if reason is not None:
            raise Skip(reason)
        run(cls, name)

    globals()[f"test_{label}_{name.removeprefix('test_')}"] = test


def test_the_list_of_those_that_differ():
    """Every name on the lists above is one of CPython's tests, of this version or another."""
    if MISSING:
        raise Skip(MISSING)
    known = {label: set(unittest.TestLoader().getTestCaseNames(cls)) for label, cls in ALL}
    newer = {"test_traceback_when_child_process_terminates_abruptly"}
    for label, names in DIFFERENT.items():
        equal(set(names) - known[label] - newer, set())
    equal(set(BREAKING) - known["ExecutorDeadlock"], set())


if MISSING is None:
    ALL = list(classes())
    for _label, _cls in ALL:
        for _name in unittest.TestLoader().getTestCaseNames(_cls):
            define(_label, _cls, _name)
