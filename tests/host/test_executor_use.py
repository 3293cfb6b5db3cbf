"""Executor with what people put around one: asyncio, cloudpickle, joblib."""

import asyncio
import functools
import multiprocessing
import pickle
import sys
import time

import interlace
from support import DEADLINE, Skip, equal, raises, run

try:
    import cloudpickle
except ImportError:
    cloudpickle = None


def double(x):
    return 2 * x


def fail(x):
    raise LookupError(f"not {x}")


def hold(sender, end):
    sender.send("begun")
    try:
        return list(end)
    finally:
        sender.send("ended")


# ---- asyncio -----------------------------------------------------------------------------------------------------


def test_run_in_executor():
    """Results, exceptions, many at once."""

    async def main():
        loop = asyncio.get_running_loop()
        with interlace.Executor(2) as executor:
            equal(await loop.run_in_executor(executor, double, 21), 42)
            with raises(LookupError, "not 3") as caught:
                await loop.run_in_executor(executor, fail, 3)
            equal(type(caught.error.__cause__), interlace.RemoteTraceback)
            got = await asyncio.gather(*(loop.run_in_executor(executor, double, x) for x in range(200)))
            equal(got, [2 * x for x in range(200)])
            future = asyncio.wrap_future(executor.submit(double, 4))
            equal(await future, 8)

    asyncio.run(main())


def test_asyncio_cancels_what_runs():
    """A timeout of asyncio's ends the call in the worker, too; the loop goes on meanwhile."""

    async def main():
        loop = asyncio.get_running_loop()
        sender, receiver = interlace.channel(4)
        _release, end = interlace.channel(1)
        with interlace.Executor(1) as executor:
            call = loop.run_in_executor(executor, hold, sender, end)
            equal(await asyncio.to_thread(receiver.recv, DEADLINE), "begun")
            with raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await call
            equal(await asyncio.to_thread(receiver.recv, DEADLINE), "ended")
            equal(await loop.run_in_executor(executor, double, 1), 2)

    asyncio.run(main())


# ---- cloudpickle -------------------------------------------------------------------------------------------------


def test_lambdas_and_closures():
    """They are functions like any other where cloudpickle is installed: called, as arguments, as results."""
    if cloudpickle is None:
        raise Skip("cloudpickle is not installed")
    count = 3

    def times(x):
        return count * x

    class Local:
        def __init__(self, value):
            self.value = value

        def get(self, add=0):
            return self.value + add

    with interlace.Executor(2, initializer=lambda: None) as executor:
        equal(executor.submit(lambda: 7).result(DEADLINE), 7)
        equal(executor.submit(times, 5).result(DEADLINE), 15)
        equal(executor.submit(Local(4).get, add=1).result(DEADLINE), 5)
        equal(executor.submit(Local, 4).result(DEADLINE).get(), 4)
        equal(executor.submit(sorted, [1, 2, 3], key=lambda x: -x).result(DEADLINE), [3, 2, 1])
        equal(executor.submit(functools.partial(times, 2)).result(DEADLINE), 6)
        equal(executor.submit(lambda: times).result(DEADLINE)(2), 6)
        for chunksize in 1, 10:
            equal(list(executor.map(lambda x: x + count, range(50), chunksize=chunksize)), list(range(3, 53)))
        equal(list(executor.map(functools.partial(times), range(5))), [0, 3, 6, 9, 12])
        equal([made() for made in executor.map(lambda x: lambda: x, range(3), chunksize=2)], [0, 1, 2])
        with raises(ZeroDivisionError):
            executor.submit(lambda: 1 // 0).result(DEADLINE)
        with raises(TypeError, "cannot pickle"):
            executor.submit(lambda x: x, sys._getframe()).result(DEADLINE)


def test_a_closure_is_made_anew():
    """What one call changes in a closure is not there in the next: it is sent as it is here, each time."""
    if cloudpickle is None:
        raise Skip("cloudpickle is not installed")
    seen = []

    def note(x):
        seen.append(x)
        return len(seen)

    with interlace.Executor(1) as executor:
        equal([executor.submit(note, x).result(DEADLINE) for x in range(3)], [1, 1, 1])
        equal(list(executor.map(note, range(3))), [1, 1, 1])
    equal(seen, [])


def test_without_cloudpickle():
    """The error says what is missing, and does so only where it would help."""
    before = sys.modules.get("cloudpickle", False)
    sys.modules["cloudpickle"] = None
    try:
        with interlace.Executor(1) as executor:
            with raises((pickle.PicklingError, AttributeError), "cloudpickle", "pip install"):
                executor.submit(lambda: 7).result(DEADLINE)
            with raises((pickle.PicklingError, AttributeError), "cloudpickle"):
                list(executor.map(lambda x: x, [1]))
            with raises(TypeError, "cannot pickle") as caught:
                executor.submit(double, sys._getframe()).result(DEADLINE)
            assert "cloudpickle" not in "".join(caught.error.__notes__), caught.error.__notes__
            equal(executor.submit(double, 1).result(DEADLINE), 2)
    finally:
        if before is False:
            del sys.modules["cloudpickle"]
        else:
            sys.modules["cloudpickle"] = before


# ---- joblib ------------------------------------------------------------------------------------------------------


def joblib():
    try:
        import interlace.joblib
    except ModuleNotFoundError as error:
        raise Skip(str(error)) from None
    return interlace.joblib.joblib


def who(x):
    return x, interlace.current_worker().name


def sum_of_squares(n):
    import joblib

    return sum(joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(i, 2) for i in range(n)))


def test_joblib():
    """Loops run in workers, in order, with their own exceptions, as a generator, in one loop after the other."""
    lib = joblib()
    delayed = lib.delayed
    with lib.parallel_config("interlace", n_jobs=2):
        got = lib.Parallel()(delayed(who)(x) for x in range(50))
        equal([x for x, _ in got], list(range(50)))
        assert all(name.startswith("executor-") for _, name in got), got
        equal(sum(lib.Parallel()(delayed(pow)(x, 2) for x in range(5000))), sum(x * x for x in range(5000)))
        with raises(LookupError, "not 3"):
            lib.Parallel()(delayed(fail if x == 3 else double)(x) for x in range(20))
        equal(list(lib.Parallel(return_as="generator")(delayed(double)(x) for x in range(9))), [2 * x for x in range(9)])
        with lib.Parallel() as parallel:
            for count in 3, 5:
                equal(parallel(delayed(double)(x) for x in range(count)), [2 * x for x in range(count)])
        equal(lib.Parallel()(delayed(sum_of_squares)(n) for n in range(4)), [0, 0, 1, 5])
        equal(lib.effective_n_jobs(2), 2)
    equal(lib.Parallel(n_jobs=1, backend="interlace")(delayed(double)(x) for x in range(3)), [0, 2, 4])


def test_joblib_timeout():
    """A loop that takes too long is given up, and what it does is cancelled."""
    lib = joblib()
    _release, end = interlace.channel(1)
    start = time.monotonic()
    with raises(multiprocessing.TimeoutError):
        lib.Parallel(n_jobs=2, backend="interlace", timeout=0.2)(lib.delayed(end.recv)() for _ in range(4))
    assert time.monotonic() - start < DEADLINE / 2


def test_joblib_must_come_second():
    """`import joblib` first fails as any import of an extension that refuses does, and the other order works."""
    joblib()
    text = "import joblib\nimport interlace.joblib\n"
    run(text).expect(code=1, err=("faulthandler",))
    run("import interlace.joblib\nimport joblib, sys\nprint('faulthandler' in sys.modules)\n").expect(out="False\n")
