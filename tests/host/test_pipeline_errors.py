"""What becomes of items that fail in a pipeline: raising, skipping, handling, trying again, taking too long."""

import asyncio
import time

import interlace
from interlace import pipeline, stage
from support import DEADLINE, equal, raises, traceback_of


class Refused(ValueError):
    """An exception of the script's own, with a value."""

    def __init__(self, n):
        super().__init__(f"refused {n}")
        self.n = n


def picky(n):
    if n % 10 == 7:
        raise Refused(n)
    return n


def picky_generator(n):
    yield n
    if n % 10 == 7:
        raise Refused(n)
    yield -n


async def picky_async(n):
    await asyncio.sleep(0)
    return picky(n)


def plus(n):
    return n + 1


def rest_of(results):
    """What a pipeline gives before it raises, and what it raises."""
    got = []
    try:
        for result in results:
            got.append(result)
    except Exception as error:
        return got, error
    raise AssertionError(f"nothing was raised after {got}")


# ---- raise -------------------------------------------------------------------------------------------------------


def test_raise():
    """The exception itself, where the result would come, with what happened in the worker; no worker is left."""
    for options in {}, {"workers": 3}, {"batch": 5}, {"workers": 2, "batch": 3, "capacity": 1}:
        results = pipeline(range(100), stage(picky, **options), plus)
        workers = results._group._workers
        got, error = rest_of(results)
        equal((got, type(error), error.n), ([1, 2, 3, 4, 5, 6, 7], Refused, 7))
        equal([worker.done() for worker in workers], [True] * len(workers))
        text = traceback_of(error)
        for words in ("in worker 'picky-", "raise Refused(n)", "in stage 'picky' of a pipeline, for the item 7"):
            assert words in text, f"no {words!r} in {text}"
        assert "_pipeline_worker" not in str(error.__cause__), str(error.__cause__)
        equal(list(results), [])


def stop(n):
    if n == 3:
        raise StopIteration(n)
    return n


def test_stop_iteration_is_no_end():
    """The results would look complete: it is a RuntimeError, as in a generator."""
    for options in {}, {"batch": 2}, {"timeout": DEADLINE}, {"retries": 1}:
        got, error = rest_of(pipeline(range(6), stage(stop, **options)))
        equal((got[:2], type(error), str(error)), ([0, 1], RuntimeError, "a stage raised StopIteration"))
        equal((type(error.__cause__), error.__cause__.value), (StopIteration, 3))
        assert "in stop" in str(error.__cause__.__cause__)
    equal(list(pipeline(range(6), stage(stop, on_error="skip"))), [0, 1, 2, 4, 5])


def test_raise_in_every_kind():
    """In a generator what was yielded before comes first; in an async function the items before."""
    got, error = rest_of(pipeline(range(100), stage(picky_generator, workers=2)))
    equal((got, error.n), ([m for n in range(7) for m in (n, -n)] + [7], 7))
    for concurrency in 1, 10:
        got, error = rest_of(pipeline(range(100), stage(picky_async, concurrency=concurrency)))
        equal((got, error.n), ([0, 1, 2, 3, 4, 5, 6], 7))
    for kind in picky, picky_async:
        got, error = rest_of(pipeline(range(100), stage(kind, ordered=False, workers=2)))
        equal((type(error), error.n % 10), (Refused, 7))


class Stubborn(Exception):
    """Does not pickle."""

    def __reduce__(self):
        raise TypeError("no")


def raise_stubborn(n):
    raise Stubborn("cannot travel")


def test_raise_what_does_not_pickle():
    """A RemoteError stands for it."""
    with raises(interlace.RemoteError, "Stubborn: cannot travel"):
        list(pipeline([1], raise_stubborn))


def leave(code):
    raise SystemExit(code)


def test_other_exceptions():
    """SystemExit ends the pipeline whatever on_error says, and is raised as it is."""
    for kind in leave, leave_async, leave_generator:
        for code in 0, 3:
            try:
                list(pipeline([code], stage(kind, on_error="skip", retries=5)))
            except SystemExit as error:
                equal(error.code, code)
            else:
                raise AssertionError("SystemExit was not raised")


async def leave_async(code):
    raise SystemExit(code)


def leave_generator(code):
    yield 1
    raise SystemExit(code)


def unpicklable(n):
    return (lambda: n) if n == 3 else n


def unpicklable_generator(n):
    yield unpicklable(n)


async def unpicklable_async(n):
    return unpicklable(n)


def test_results_that_do_not_pickle():
    """Are failures of their items, each by itself."""
    for kind in unpicklable, unpicklable_generator, unpicklable_async:
        for batch in None, 4:
            got, error = rest_of(pipeline(range(10), stage(kind, batch=batch, workers=2)))
            equal(got, [0, 1, 2])
            assert "a result of stage 'unpicklable" in "".join(error.__notes__), error.__notes__
            equal(list(pipeline(range(6), stage(kind, batch=batch, on_error="skip"))), [0, 1, 2, 4, 5])
            instead = stage(kind, batch=batch, on_error=instead_of)
            equal(list(pipeline(range(6), instead, stage(plus, batch=2))), [1, 2, 3, -2, 5, 6])


def instead_of(item, error):
    return -item


class Arrives:
    """Fails to be unpickled where it arrives."""

    def __reduce__(self):
        return fail_to_arrive, ()


def fail_to_arrive():
    raise Refused("on arrival")


def make_one(n):
    return Arrives()


def test_items_that_do_not_travel():
    """What cannot be pickled or unpickled raises, wherever it happens."""
    with raises(Exception, "lambda"):
        list(pipeline([1, lambda: 1], plus))
    with raises(Refused, "on arrival"):
        list(pipeline([Arrives()], plus))
    with raises(Refused, "on arrival"):
        list(pipeline([1], make_one))
    with raises(Refused, "on arrival"):
        list(pipeline([1], make_one, plus))
    with raises(Exception, "lambda"):
        pipeline([1], plus, lambda n: n)


# ---- skip and handle ---------------------------------------------------------------------------------------------


def note(item, error):
    """Handles: a text takes the place; None, nothing does."""
    return f"{type(error).__name__} of {item}" if item != 17 else None


def test_skip():
    """There is no result for what fails."""
    good = [n for n in range(40) if n % 10 != 7]
    for kind in picky, picky_async:
        for options in {}, {"workers": 2, "batch": 7}, {"workers": 2, "capacity": 1}:
            equal(list(pipeline(range(40), stage(kind, on_error="skip", **options))), good)
        equal(sorted(pipeline(range(40), stage(kind, on_error="skip", workers=2, ordered=False))), good)
    got = list(pipeline(range(9), stage(picky_generator, on_error="skip")))
    equal(got, [m for n in range(9) for m in ((n, -n) if n != 7 else (n,))])
    equal(list(pipeline([7, 17], stage(picky, on_error="skip"))), [])


def test_a_function_that_handles():
    """It gets the item and the exception, in the worker; what it returns takes the place, None takes none."""
    wanted = [n if n % 10 != 7 else note(n, Refused(n)) for n in range(30)]
    wanted.remove(None)
    for kind in picky, picky_async:
        for options in {}, {"workers": 2, "batch": 7}:
            equal(list(pipeline(range(30), stage(kind, on_error=note, **options))), wanted)
    got = list(pipeline([7, 17, 8], stage(picky_generator, on_error=note)))
    equal(got, [7, "Refused of 7", 17, 8, -8])


def fail_again(item, error):
    raise KeyError(item) from error


def test_a_handler_that_fails():
    """Its exception is raised, and says where that was."""
    for kind in picky, picky_async, picky_generator:
        with raises(KeyError, "7") as caught:
            list(pipeline(range(10), stage(kind, on_error=fail_again)))
        equal(caught.error.__notes__, [f"This happened in on_error of stage {kind.__name__!r} of a pipeline."])


# ---- retries -----------------------------------------------------------------------------------------------------


class Flaky:
    """Fails so many times for each item, then returns how many calls it took."""

    def __init__(self, fails):
        self.fails = fails
        self.calls = {}

    def call(self, n):
        self.calls[n] = self.calls.get(n, 0) + 1
        if self.calls[n] <= self.fails:
            raise OSError(f"try {self.calls[n]} of {n}")
        return self.calls[n]

    __call__ = call


class FlakyAsync(Flaky):
    async def __call__(self, n):
        await asyncio.sleep(0)
        return self.call(n)


class FlakyGenerator(Flaky):
    def __call__(self, n):
        yield self.call(n)


def test_retries():
    """A failed item is tried so many times more."""
    for kind in Flaky, FlakyAsync, FlakyGenerator:
        equal(list(pipeline(range(5), stage(kind(2), retries=2))), [3] * 5)
        got, error = rest_of(pipeline(range(5), stage(kind(3), retries=2)))
        equal((got, type(error), str(error)), ([], OSError, "try 3 of 0"))
        equal(list(pipeline(range(5), stage(kind(3), retries=2, on_error=note_text))), [f"try 3 of {n}" for n in range(5)])


def note_text(item, error):
    return str(error)


class YieldsFirst(Flaky):
    def __call__(self, n):
        yield "first"
        yield self.call(n)


def test_a_generator_that_has_yielded_is_not_tried_again():
    """What it has yielded is on its way."""
    equal(list(pipeline([1], stage(YieldsFirst(1), retries=5, on_error="skip"))), ["first"])


# ---- timeout -----------------------------------------------------------------------------------------------------


def compute_or(n):
    while n == "busy":
        pass
    if n == "wait":
        interlace.select(interlace.after(1000))
    if n == "stubborn":
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass
    return n


def generate_or(n):
    yield "begun"
    yield compute_or(n)


async def wait_or(n):
    if n == "wait":
        await asyncio.sleep(1000)
    if n == "receive":
        ends = interlace.channel(0)
        await ends[1].recv_async()
    return n


def test_timeout():
    """The item is interrupted in bytecode and in waits and fails with TimeoutError; the worker goes on."""
    items = ["a", "busy", "b", "wait", "stubborn", "c"]
    start = time.monotonic()
    for options in {}, {"workers": 2, "batch": 2}:
        limited = stage(compute_or, timeout=0.2, on_error=name_of, **options)
        equal(list(pipeline(items, limited)), ["a", "TimeoutError", "b", "TimeoutError", "TimeoutError", "c"])
    equal(list(pipeline(items, stage(generate_or, timeout=0.2, on_error=name_of))),
          ["begun", "a", "begun", "TimeoutError", "begun", "b", "begun", "TimeoutError", "begun", "TimeoutError",
           "begun", "c"])  # fmt: skip
    equal(list(pipeline(["a", "wait", "receive", "b"], stage(wait_or, timeout=0.2, on_error=name_of))),
          ["a", "TimeoutError", "TimeoutError", "b"])  # fmt: skip
    assert time.monotonic() - start < DEADLINE


def loop_or(n):
    """Runs an event loop of its own."""
    return asyncio.run(wait_or(n))


def test_a_timeout_of_an_event_loop():
    """A loop that the item runs is ended, whatever it waits for."""
    limited = stage(loop_or, timeout=0.3, on_error=name_of)
    start = time.monotonic()
    equal(list(pipeline(["a", "wait", "receive", "b"], limited)), ["a", "TimeoutError", "TimeoutError", "b"])
    assert time.monotonic() - start < DEADLINE


def name_of(item, error):
    return type(error).__name__


def test_a_timeout_that_raises():
    """The message says how long it was to take, the traceback where it was."""
    for kind in compute_or, wait_or:
        with raises(TimeoutError, "longer than 0.1 s", f"in stage '{kind.__name__}'") as caught:
            list(pipeline(["wait"], stage(kind, timeout=0.1)))
        assert f"in {kind.__name__}\n" in traceback_of(caught.error), traceback_of(caught.error)


class CleansUp:
    """Counts the finally blocks that have run."""

    done = 0

    def __call__(self, n):
        try:
            while n == "busy":
                pass
            return self.done
        finally:
            self.done += 1


def test_timeouts_and_retries():
    """Each try has its own time; finally blocks run."""
    equal(list(pipeline(["busy", "x"], stage(CleansUp(), timeout=0.05, retries=2, on_error="skip"))), [3])


def test_items_in_time():
    """A timeout that is not reached changes nothing, however many items there are."""
    start = time.monotonic()
    equal(list(pipeline(range(20000), stage(plus, timeout=60, batch=100))), list(range(1, 20001)))
    quick = stage(compute_briefly, timeout=0.5)
    equal(len(list(pipeline(range(60), quick))), 60)  # longer than the timeout, all together
    assert time.monotonic() - start > 0.5


def compute_briefly(n):
    end = time.monotonic() + 0.012
    while time.monotonic() < end:
        pass
    return n


def take_part(pair):
    """Waits in a nested group, for a worker that waits."""
    with interlace.Group() as group:
        group.start(compute_or, "wait")


def test_a_timeout_ends_what_the_item_started():
    """A group inside is cancelled with it."""
    start = time.monotonic()
    equal(list(pipeline([1, 2], stage(take_part, timeout=0.3, on_error=name_of))), ["TimeoutError"] * 2)
    assert time.monotonic() - start < DEADLINE


# ---- wrong use ---------------------------------------------------------------------------------------------------


async def numbers(n):
    yield n


def test_wrong_use():
    """Each wrong argument is named, with what is right."""
    for kind, words, options in (
        (ValueError, "workers must be 1 or more, not 0", {"workers": 0}),
        (TypeError, "workers must be an int, not float", {"workers": 2.0}),
        (TypeError, "workers must be an int, not bool", {"workers": True}),
        (ValueError, "batch must be 1 or more", {"batch": 0}),
        (ValueError, "retries must be 0 or more", {"retries": -1}),
        (ValueError, "capacity must be 1 or more", {"capacity": 0}),
        (ValueError, "concurrency is for async functions", {"concurrency": 2}),
        (TypeError, "ordered must be a bool", {"ordered": 1}),
        (ValueError, 'on_error must be "raise", "skip"', {"on_error": "ignore"}),
        (TypeError, "on_error must be a str or a function", {"on_error": None}),
        (ValueError, "a number of seconds above 0", {"timeout": 0}),
        (ValueError, "a number of seconds above 0", {"timeout": float("nan")}),
        (TypeError, "a number of seconds, not str", {"timeout": "1"}),
        (TypeError, "name must be a str", {"name": 5}),
        (ValueError, "isolation must be one of", {"isolation": "thread"}),
        (TypeError, "unexpected keyword", {"worker": 2}),
    ):
        with raises(kind, words):
            stage(plus, **options)
    with raises(ValueError, "concurrency must be 1 or more"):
        stage(picky_async, concurrency=0)
    with raises(TypeError, "a stage needs a function, not int"):
        stage(5)
    with raises(TypeError, "a stage needs a function, not str"):
        pipeline([], "plus")
    with raises(TypeError, "at least one stage"):
        pipeline([])
    with raises(TypeError, "asynchronous generator"):
        stage(numbers)
