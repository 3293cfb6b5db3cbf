"""Executor: results, exceptions, map, functions of all kinds, what a worker is made ready with."""

import concurrent.futures
import functools
import itertools
import logging
import os
import re
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import interlace
from support import DEADLINE, Thread, equal, raises, run, traceback_of, wait_until


def double(x):
    return 2 * x


def show(*args, **kwargs):
    return args, kwargs


def fail_at(wrong, x):
    if x == wrong:
        raise LookupError(f"not {x}")
    return x


def who(*_):
    me = interlace.current_worker()
    return me.name, me.index, me.count


def touch(sender, x):
    """Tell that the call has begun."""
    sender.send(x)
    return x


def wait_for_end(receiver):
    """Return when the channel has ended."""
    return list(receiver)


def test_results():
    """submit() and map() return what the functions return, whatever kind of function it is."""
    with interlace.Executor(2) as executor:
        equal(executor.submit(double, 21).result(DEADLINE), 42)
        equal(executor.submit(show, 1, self=2, fn=3).result(DEADLINE), ((1,), {"self": 2, "fn": 3}))
        equal(executor.submit(functools.partial(show, 1), x=2).result(DEADLINE), ((1,), {"x": 2}))
        equal(executor.submit("text".upper).result(DEADLINE), "TEXT")
        equal(executor.submit(str.upper, "text").result(DEADLINE), "TEXT")
        equal(executor.submit(dict.fromkeys, "ab").result(DEADLINE), {"a": None, "b": None})
        equal(executor.submit(complex, 1, 2).result(DEADLINE), 1 + 2j)
        equal(list(executor.map(double, range(1000))), [2 * x for x in range(1000)])
        equal(list(executor.map(str.upper, "abc")), ["A", "B", "C"])
        equal(list(executor.map(functools.partial(pow, 2), range(5))), [1, 2, 4, 8, 16])
        equal(list(executor.map("{}-{}".format, "abc", range(2))), ["a-0", "b-1"])
        equal(list(executor.map(double, [])), [])
        equal(list(executor.map(double)), [])


def test_chunks():
    """Chunks of every size give the same results in the same order, one iterable or several."""
    with interlace.Executor(3) as executor:
        for chunksize in 1, 2, 7, 100, 1000:
            equal(list(executor.map(double, range(100), chunksize=chunksize)), [2 * x for x in range(100)])
            got = list(executor.map(pow, range(20), itertools.repeat(2), chunksize=chunksize))
            equal(got, [x * x for x in range(20)])


def test_wrong_arguments():
    """They are named at once, in the words of concurrent.futures where there are some."""
    for count in 0, -1:
        with raises(ValueError, "max_workers must be greater than 0"):
            interlace.Executor(count)
    for count in "2", 2.5, True:
        with raises(TypeError, "max_workers must be an int or None"):
            interlace.Executor(count)
    with raises(TypeError, "initializer must be a callable"):
        interlace.Executor(1, initializer=3)
    with raises(TypeError, "iterable of module names"):
        interlace.Executor(1, preload="json")
    with raises(ModuleNotFoundError, "no_such_module"):
        interlace.Executor(1, preload=["no_such_module"])
    with raises(ModuleNotFoundError, "no_such_module"):
        interlace.Executor(1, preload=["no_such_module"], isolation="process")
    for isolation in "thread", "auto", None:
        with raises(ValueError, "'interpreter'", repr(isolation)):
            interlace.Executor(1, isolation=isolation)
    with interlace.Executor(1, isolation="interpreter") as executor:
        with raises(ValueError, "chunksize must be >= 1"):
            executor.map(double, [1], chunksize=0)
        with raises(ValueError, "buffersize must be None or > 0"):
            executor.map(double, [1], buffersize=0)
        with raises(TypeError, "buffersize must be an integer or None"):
            executor.map(double, [1], buffersize=1.0)


def test_exception():
    """It is the very type, with the traceback it had in the worker as its cause."""
    with interlace.Executor(1) as executor:
        with raises(LookupError, "not 3") as caught:
            executor.submit(fail_at, 3, 3).result(DEADLINE)
        equal(type(caught.error), LookupError)
        equal(type(caught.error.__cause__), interlace.RemoteTraceback)
        text = str(caught.error.__cause__)
        for words in "in worker 'executor-", 'raise LookupError(f"not {x}")', "in fail_at\n":
            assert words in text, text
        assert "_executor_worker" not in text, text
        assert 'raise LookupError(f"not {x}")' in traceback_of(caught.error)
        equal(executor.submit(double, 1).result(DEADLINE), 2)


def exit_badly():
    sys.exit("no")


def stop_iterating(x):
    raise StopIteration(x)


def test_exceptions_that_are_not_errors():
    """SystemExit is a call's own, too, and StopIteration does not end a map() early."""
    with interlace.Executor(1) as executor:
        with raises(SystemExit, "no"):
            executor.submit(exit_badly).result(DEADLINE)
        with raises(RuntimeError, "StopIteration"):
            list(executor.map(stop_iterating, range(10), chunksize=5))
        equal(executor.submit(double, 1).result(DEADLINE), 2)


def test_exception_in_map():
    """It comes in its place, after all the results before it, and ends the iteration."""
    with interlace.Executor(2) as executor:
        for chunksize in 1, 4, 100:
            results, got = executor.map(functools.partial(fail_at, 6), range(20), chunksize=chunksize), []
            with raises(LookupError, "not 6"):
                for result in results:
                    got.append(result)
            equal(got, [0, 1, 2, 3, 4, 5])
            equal(list(results), [])


class Unsendable:
    """Pickles, and does not unpickle."""

    def __reduce__(self):
        return int, ("no number",)


class Unpicklable:
    def __reduce__(self):
        raise ValueError("I stay here")


class OddError(Exception):
    def __reduce__(self):
        raise ValueError("I stay here")


def give(kind):
    return kind()


def throw(kind):
    raise kind("that is odd")


def test_what_does_not_pickle():
    """It is the exception of that call alone: the executor lives on."""
    with interlace.Executor(1) as executor:
        for future in (
            executor.submit(double, Unsendable()),
            executor.submit(give, Unsendable),
            executor.submit(double, Unpicklable()),
            executor.submit(give, Unpicklable),
        ):
            with raises(ValueError):
                future.result(DEADLINE)
        with raises(TypeError, "cannot pickle", "rebuild"):
            executor.submit(double, threading.Lock()).result(DEADLINE)
        with raises(interlace.RemoteError, "OddError: that is odd"):
            executor.submit(throw, OddError).result(DEADLINE)
        with raises(ValueError, "I stay here"):
            executor.map(double, [Unpicklable()])
        with raises(ValueError, "no number"):
            list(executor.map(give, [int, Unsendable]))
        equal(executor.submit(double, 1).result(DEADLINE), 2)


def test_ends_and_buffers_travel():
    """Calls are messages: channel ends and Buffers in them work, in functions, arguments and results."""
    with interlace.Executor(2) as executor:
        sender, receiver = interlace.channel(10)
        equal(executor.submit(touch, sender, 5).result(DEADLINE), 5)
        equal(list(executor.map(functools.partial(touch, sender), range(3))), [0, 1, 2])
        equal(sorted(receiver.recv_many(10)), [0, 1, 2, 5])
        buffer = interlace.Buffer(100_000)
        with memoryview(buffer) as view:
            view[:5] = b"hello"
        back = executor.submit(show, buffer).result(DEADLINE)[0][0]
        equal((type(back), bytes(memoryview(back)[:5])), (interlace.Buffer, b"hello"))
        big = bytes(range(256)) * 4096
        equal(executor.submit(double, big).result(DEADLINE), big + big)


def test_slow_calls_hold_up_nobody():
    """Whoever is free takes the next call: one that waits holds up no other, submitted or in a map."""
    with interlace.Executor(2) as executor:
        release, end = interlace.channel(1)
        slow = executor.submit(wait_for_end, end)
        equal(list(executor.map(double, range(500))), [2 * x for x in range(500)])
        for future in [executor.submit(double, x) for x in range(500)]:
            future.result(DEADLINE)
        assert not slow.done()
        release.close()
        equal(slow.result(DEADLINE), [])


def read(iterator, seen):
    for item in iterator:
        seen.append(item)
        yield item


def test_map_reads_ahead():
    """Without buffersize everything is read at once; with it, that many chunks more than have been taken."""
    with interlace.Executor(2) as executor:
        seen = []
        executor.map(double, read(range(300), seen))
        equal(len(seen), 300)
        for chunksize in 1, 3:
            seen = []
            results = executor.map(double, read(itertools.count(), seen), buffersize=4, chunksize=chunksize)
            equal(len(seen), 4 * chunksize)
            for taken in range(1, 10):
                equal(next(results), 2 * (taken - 1))
                equal(len(seen), (4 + (taken + chunksize - 1) // chunksize) * chunksize)
            results.close()
            equal(list(results), [])


def test_map_of_what_comes_slowly():
    """A call begins as soon as its argument has come, though the next has not."""
    sender, receiver = interlace.channel(1)

    def slowly():
        for x in range(5):
            yield x
            equal(receiver.recv(timeout=DEADLINE), x)

    with interlace.Executor(1) as executor:
        equal(list(executor.map(functools.partial(touch, sender), slowly())), list(range(5)))


def test_map_needs_no_iteration():
    """The calls are made whether anybody asks for their results or not."""
    sender, receiver = interlace.channel(20)
    with interlace.Executor(2) as executor:
        executor.map(functools.partial(touch, sender), range(10))
    sender.close()
    equal(sorted(receiver), list(range(10)))


def test_map_that_fails_while_reading():
    """An exception of the iterable is raised by map()."""
    with interlace.Executor(2) as executor, raises(ZeroDivisionError):
        executor.map(double, (1 // (3 - x) for x in range(5)))


def test_map_timeout():
    """It is for the whole iteration; what has not been begun then is not begun any more."""
    release, end = interlace.channel(1)
    sender, receiver = interlace.channel(100)
    with interlace.Executor(1) as executor:
        blocked = executor.submit(wait_for_end, end)
        results = executor.map(functools.partial(touch, sender), range(100), timeout=0.05)
        with raises(TimeoutError):
            next(results)
        equal(list(results), [])
        release.close()
        blocked.result(DEADLINE)
        equal(list(executor.map(double, [1, 2], timeout=DEADLINE)), [2, 4])
    sender.close()
    equal(list(receiver), [])


def touch_and_hold(sender, end, x):
    sender.send(x)
    if x == 2:
        list(end)
    return x


def test_map_that_is_left():
    """An iterator that is closed, or dropped, begins no more calls; one that is running goes on to its end."""
    for leave in (lambda results: results.pop().close()), (lambda results: results.clear()):
        for count in 5, 500:  # fewer than there is room for, and more
            release, end = interlace.channel(1)
            sender, receiver = interlace.channel(count)
            with interlace.Executor(1) as executor:
                results = [executor.map(functools.partial(touch_and_hold, sender, end), range(count))]
                equal(next(results[0]), 0)
                equal([receiver.recv(timeout=DEADLINE) for _ in range(3)], [0, 1, 2])
                leave(results)
                after = executor.submit(double, 4)
                release.close()
                equal(after.result(DEADLINE), 8)
            sender.close()
            equal(list(receiver), [])


def test_nothing_is_kept():
    """Arguments and results are let go of: here as soon as they are taken, there when the call is over."""
    with interlace.Executor(1) as executor:
        result = executor.submit(set, "abc").result(DEADLINE)
        gone = weakref.ref(result)
        del result
        wait_until(lambda: gone() is None, "the result to go")
        for result in executor.map(set, ["ab", "cd"] * 5, chunksize=3):
            gone = weakref.ref(result)
            del result
            equal(gone(), None)
        sender, receiver = interlace.channel(1)
        equal(executor.submit(touch, sender, 1).result(DEADLINE), 1)
        sender.close()
        equal(list(receiver), [1])  # so the worker keeps no end


def test_workers_are_started_when_needed():
    """One call after the other takes one worker; many take as many as there may be, and they have names and indices."""
    with interlace.Executor(3) as executor:
        equal({executor.submit(who).result(DEADLINE)[1:] for _ in range(5)}, {(0, 3)})
        release, end = interlace.channel(1)
        sender, receiver = interlace.channel(10)
        blocked = [executor.submit(hold, sender, end) for _ in range(5)]
        names = {receiver.recv(timeout=DEADLINE) for _ in range(3)}
        equal({index for _, index, _ in names}, {0, 1, 2})
        equal(len({name for name, _, _ in names}), 3)
        release.close()
        concurrent.futures.wait(blocked, DEADLINE)


def hold(sender, end):
    sender.send(who())
    return list(end)


def test_saturation():
    """Many calls that wait for each other's channels, far more than there are workers or there is room."""
    with interlace.Executor(4) as executor:
        sender, receiver = interlace.channel(1)
        futures = [executor.submit(receiver.recv) for _ in range(300)]
        for number in range(300):
            sender.send(number, timeout=DEADLINE)
        equal(sorted(future.result(DEADLINE) for future in futures), list(range(300)))


state = []


def make_ready(*values):
    state.extend(values)


def get_state(_=None):
    return list(state)


def test_initializer():
    """It is called once in each worker, before the first call; its arguments may be channel ends."""
    sender, receiver = interlace.channel(10)
    with interlace.Executor(2, initializer=make_ready, initargs=(1, 2)) as executor:
        equal(set(map(tuple, executor.map(get_state, range(50)))), {(1, 2)})
    with interlace.Executor(2, initializer=touch, initargs=(sender, "ready")) as executor:
        equal(executor.submit(double, 1).result(DEADLINE), 2)
        equal(receiver.recv(timeout=DEADLINE), "ready")
    equal(state, [])


def fail_to_be_ready():
    raise LookupError("nothing to begin with")


class Heard(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(self.format(record))


def test_failing_initializer():
    """The executor is broken: it says why, in all calls and in the log."""
    heard, logger = Heard(), logging.getLogger("concurrent.futures")
    logger.addHandler(heard)
    logger.propagate = False
    try:
        with interlace.Executor(2, initializer=fail_to_be_ready) as executor:
            futures = [executor.submit(double, x) for x in range(200)]
            results = executor.map(double, [1])
            for future in futures:
                with raises(concurrent.futures.BrokenExecutor, "initializer") as caught:
                    future.result(DEADLINE)
                equal(type(caught.error.__cause__), LookupError)
            equal(len({id(future.exception()) for future in futures}), 200)
            with raises(concurrent.futures.BrokenExecutor, "initializer"):
                next(results)
            for again in (lambda: executor.submit(double, 1)), (lambda: executor.map(double, [1])):
                with raises(concurrent.futures.BrokenExecutor, "initializer"):
                    again()
    finally:
        logger.removeHandler(heard)
        logger.propagate = True
    equal(len(heard.records), 1)
    assert "nothing to begin with" in heard.records[0], heard.records


def has_module(name):
    return name in sys.modules


def test_preload():
    """The modules are there before the first call, and only in workers that were asked for it."""
    for preload, wanted in ([], False), (["colorsys"], True):
        with interlace.Executor(1, preload=preload) as executor:
            equal(executor.submit(has_module, "colorsys").result(DEADLINE), wanted)


def test_threads_hand_in():
    """Many threads use one executor at once, and callbacks of futures do."""
    with interlace.Executor(2) as executor:

        def work(number):
            futures = [executor.submit(double, (number, x)) for x in range(50)]
            return [future.result(DEADLINE) for future in futures] == [2 * (number, x) for x in range(50)]

        threads = [Thread(work, number) for number in range(8)]
        equal([thread.result() for thread in threads], [True] * 8)
        again = []
        done = threading.Event()

        def once_more(future):
            again.append(executor.submit(double, future.result()))
            done.set()

        executor.submit(double, 1).add_done_callback(once_more)
        assert done.wait(DEADLINE)
        equal(again[0].result(DEADLINE), 4)


def count_below(n):
    with interlace.Executor(2) as executor:
        return sum(executor.map(double, range(n), chunksize=3))


def test_executors_in_workers():
    """A call may use an executor of its own."""
    with interlace.Executor(2) as executor:
        equal(list(executor.map(count_below, [10, 20])), [90, 380])


def test_scripts():
    """Functions of the script, with and without a guard, and with -c; a script that works while it is loaded says so."""
    text = """
        import interlace

        FACTOR = 3

        def times(x):
            return FACTOR * x

        def main():
            with interlace.Executor(2) as executor:
                print(*executor.map(times, range(5)), executor.submit(times, x=7).result())

        main()
        """
    run(text).expect(out="0 3 6 9 12 21\n")
    run(text.replace("        main()\n", '        if __name__ == "__main__":\n            main()\n')).expect(out=("21",))
    looped = """
        import interlace

        def times(x):
            return 3 * x

        executor = interlace.Executor(2)
        results = list(executor.map(times, range(5)))
        """
    run(looped).expect(code=1, err=("while its definitions are loaded", '__name__ == "__main__"'))


def test_examples():
    """That of the README and that of the docstring print what they say."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    readme = readme.partition("### In place of ProcessPoolExecutor")[2]
    run(readme.partition("```python\n")[2].partition("```")[0]).expect(out=f"{[x * x for x in range(10)]}\n")
    example = interlace.Executor.__doc__.partition("\n\n")[2].partition("\n\nmax_workers")[0]
    ended = run("import interlace\n" + textwrap.dedent(example)).expect()
    equal(ended.out.splitlines(), re.findall(r"# (.*)", example))


def test_import_is_light():
    """`import interlace` imports neither concurrent.futures nor threading: the first use of Executor does."""
    text = """
        import sys
        import interlace
        heavy = {"concurrent.futures", "threading", "logging"}
        print(sorted(heavy & set(sys.modules)))
        from interlace import Executor
        print(sorted(heavy - set(sys.modules)), Executor is interlace.Executor, Executor.__module__)
        """
    run(text).expect(out="[]\n[] True interlace\n")


def test_no_workers_are_left():
    """After shutdown the process has the threads it had before."""

    def tasks():
        return len(os.listdir("/proc/self/task"))

    before = tasks()
    for _ in range(5):
        with interlace.Executor(3) as executor:
            equal(list(executor.map(double, range(100))), [2 * x for x in range(100)])
    wait_until(lambda: tasks() <= before, "the threads to end")
