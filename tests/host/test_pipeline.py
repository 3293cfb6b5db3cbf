"""interlace.pipeline: every item once, in order, no further ahead than promised, and no worker left."""

import asyncio
import gc
import itertools
import os
import random
import signal
import threading
import time

import interlace
from interlace import pipeline, stage
from support import DEADLINE, asleep, equal, raises, run, start


def double(n):
    return 2 * n


def some(n):
    """0 to 3 results."""
    for k in range(n % 4):
        yield n, k


async def later(n):
    await asyncio.sleep(n % 3 * 0.0005)
    return n + 1


# ---- results -----------------------------------------------------------------------------------------------------


def test_functions():
    """One result for an item, through one stage or several; a bare function is a stage."""
    equal(list(pipeline(range(10), double)), [2 * n for n in range(10)])
    equal(list(pipeline(range(10), double, stage(str), len)), [len(str(2 * n)) for n in range(10)])
    equal(list(pipeline([], double)), [])
    equal(list(pipeline([None, "", 0], repr)), ["None", "''", "0"])


def test_generators():
    """What a generator function yields, none to any number for an item."""
    equal(list(pipeline(range(20), some)), [pair for n in range(20) for pair in some(n)])
    equal(list(pipeline([5000], range_of)), list(range(5000)))
    equal(list(pipeline([3, 3], range_of, range_of)), [0, 0, 1, 0, 0, 1])


def range_of(n):
    yield from range(n)


def test_async_functions():
    """They work at once, as many as concurrency says, in order or as they are ready."""
    equal(list(pipeline(range(50), later)), list(range(1, 51)))
    for workers in 1, 2:
        for batch in None, 7:
            many = stage(AtOnce(), workers=workers, concurrency=5, batch=batch)
            got = list(pipeline(range(60), many))
            equal([n for n, _ in got], list(range(60)))
            most = max(most for _, most in got)
            assert 1 < most <= 5, most
    unordered = stage(later, concurrency=8, ordered=False)
    equal(sorted(pipeline(range(50), unordered)), list(range(1, 51)))


class AtOnce:
    """An object that is called, and counts how many calls are under way."""

    now = most = 0

    async def __call__(self, n):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        return n, self.most


def test_sources():
    """Any iterable: a generator, a mapping, text, a file, another pipeline."""
    equal(list(pipeline((n for n in range(5)), double)), [0, 2, 4, 6, 8])
    equal(list(pipeline({"a": 1, "b": 2}, str.upper)), ["A", "B"])
    equal(list(pipeline("ab", double)), ["aa", "bb"])
    equal(list(pipeline(pipeline(range(5), double), double)), [0, 4, 8, 12, 16])
    with raises(TypeError, "not iterable"):
        pipeline(5, double)


def test_a_receiver_as_the_source():
    """The first stage's workers read it themselves; what a closed pipeline has not taken stays in it."""
    for function in double, later, some:
        for workers, batch in ((1, 4), (3, None)):
            sender, receiver = interlace.channel(100)
            sender.send_many(range(100))
            sender.close()
            got = list(pipeline(receiver, stage(function, workers=workers, batch=batch)))
            model = {double: double, later: lambda n: n + 1, some: some}[function]
            equal(got, list(modelled(range(100), function, model)))
    sender, receiver = interlace.channel(100)
    sender.send_many(range(50))
    results = pipeline(receiver, double)
    equal([next(results) for _ in range(5)], [0, 2, 4, 6, 8])  # also while the source goes on
    sender.send_many(range(50, 100))
    results.close()
    left = receiver.recv_many(100)
    equal(left[-1], 99)
    assert 100 - len(left) <= results.lookahead + 5, left


def modelled(items, function, model):
    for n in items:
        if function is some:
            yield from model(n)
        else:
            yield model(n)


def test_types_are_kept():
    """C8: what a function gets and returns is what was there; ends of channels travel."""
    items = [1, 2.5, "x", b"y", None, True, (1, 2), [3], {"k": {4}}]
    equal(list(pipeline(items, stage(identity, workers=2, batch=2))), items)
    sender, receiver = interlace.channel(5)
    equal(list(pipeline([(sender, n) for n in range(5)], answer)), [None] * 5)
    sender.close()
    equal(list(receiver), list(range(5)))


def identity(x):
    return x


def answer(pair):
    sender, n = pair
    sender.send(n)


# ---- order -------------------------------------------------------------------------------------------------------


def plus(n):
    return n + 1


def thrice(n):
    for _ in range(n % 3):
        yield n


async def plus_async(n):
    if n % 5 == 0:
        await asyncio.sleep(0.0003)
    return n + 1


def sequential(items, stages):
    for each in stages:
        items = [m for n in items for m in (thrice(n) if each.kind == "generator" else [n + 1])]
    return items


def test_any_pipeline_does_what_a_loop_does():
    """Random stages of every kind, over many and few workers, small and large batches and capacities."""
    rng = random.Random(interlace.current_worker().id)
    interlace.prestart(4)
    for _ in range(12):
        stages = []
        for _ in range(rng.randint(1, 3)):
            function = rng.choice((plus, thrice, plus_async))
            options = {"concurrency": rng.choice((1, 3, 10))} if function is plus_async else {}
            stages.append(
                stage(
                    function,
                    workers=rng.randint(1, 3),
                    batch=rng.choice((None, 1, 2, 7, 100)),
                    ordered=rng.random() < 0.8,
                    capacity=rng.choice((1, 2, 20)),
                    **options,
                )
            )
        items = range(rng.choice((0, 1, 10, 150)))
        got, wanted = list(pipeline(items, *stages)), sequential(items, stages)
        if not all(each.ordered for each in stages):
            got, wanted = sorted(got), sorted(wanted)
        assert got == wanted, (stages, [vars(each) for each in stages], got, wanted)
    interlace.prestart(0)


class InTurn:
    """Tells the number of each call."""

    calls = -1

    def __call__(self, n):
        self.calls += 1
        return n, self.calls


def test_a_single_worker_gets_items_in_order():
    """Behind an ordered stage of several workers, each of which takes as long as it likes."""
    for workers in 2, 3:
        for following in 1, 2:  # with another stage of several workers in between
            stages = [stage(uneven, workers=workers)] * following
            equal(list(pipeline(range(120), *stages, InTurn())), [(n, n) for n in range(120)])


def uneven(n):
    for _ in range(n * 7919 % 5 * 3000):
        pass
    return n


def wait_for_go(pair):
    n, go = pair
    if go is not None:
        go.recv()
    return n


def test_unordered_results_come_as_they_are_ready():
    """An item that takes long holds up nobody; in an ordered stage it holds up the results behind it."""
    for kind in wait_for_go, wait_for_go_async:
        workers = 2 if kind is wait_for_go else 1
        send_go, go = interlace.channel(1)
        results = pipeline([(0, go), (1, None), (2, None)], stage(kind, workers=workers, ordered=False))
        equal([next(results), next(results)], [1, 2])
        send_go.send(None)
        equal(list(results), [0])
        results = pipeline([(0, go), (1, None), (2, None)], stage(kind, workers=workers))
        releasing = threading.Timer(0.1, send_go.send, [None])
        releasing.start()
        equal(list(results), [0, 1, 2])
        releasing.join()


async def wait_for_go_async(pair):
    n, go = pair
    if go is not None:
        await go.recv_async()
    return n


# ---- bounds ------------------------------------------------------------------------------------------------------


def counted(taken):
    for n in itertools.count():
        taken.append(n)
        yield n


def settled():
    """Wait until all threads but this one sleep."""
    own = threading.get_native_id()
    asleep(*[int(tid) for tid in os.listdir("/proc/self/task") if int(tid) != own])


def test_c1_the_source_is_read_no_further_than_promised():
    """`lookahead` items at most, whatever the stages, and also while the consumer does something else."""
    for stages in (
        [stage(plus, capacity=1)],
        [stage(plus, capacity=3, workers=3)],
        [stage(plus, capacity=3, workers=3, ordered=False)],
        [stage(plus, capacity=2, batch=5), stage(plus, capacity=1, workers=2)],
        [stage(plus, workers=2, capacity=2), stage(plus, workers=2, capacity=2)],
        [stage(plus_async, capacity=2, concurrency=4)],
        [stage(plus_async, capacity=2, concurrency=4, workers=2, batch=3), stage(again, capacity=2)],
    ):
        taken = []
        with pipeline(counted(taken), *stages) as results:
            equal(taken, [])  # it is read when somebody asks for a result
            for handed_out in range(1, 200):
                next(results)
                assert len(taken) - handed_out <= results.lookahead, (stages, len(taken), handed_out)
                if handed_out in (1, 7, 100):
                    settled()
    taken = []
    with pipeline(counted(taken), stage(drop_most, capacity=2, workers=2)) as results:
        for handed_out in range(5):
            equal(next(results), 100 * handed_out)
            assert len(taken) - 100 * handed_out - 1 <= results.lookahead, (len(taken), handed_out)
    equal(pipeline([], stage(plus, capacity=1)).lookahead, 4)  # waiting, at work, done, here
    equal(pipeline([], stage(plus, capacity=1, batch=5)).lookahead, 20)
    equal(pipeline([], stage(plus, workers=2, capacity=4), stage(plus, capacity=1)).lookahead, 4 + 2 + 2 + 1 + 1 + 1)


def again(n):
    yield n


def drop_most(n):
    if n % 100 == 0:
        yield n


def for_ever(n):
    while True:
        yield n


def test_c1_results_of_a_generator_are_bounded():
    """One item may have any number of results: they wait in the worker that makes them."""
    for workers in 1, 3:
        with pipeline(range(1000), stage(for_ever, workers=workers, capacity=2), stage(plus, capacity=2)) as results:
            equal([next(results) for _ in range(500)], [1] * 500)
            settled()  # none of the workers goes on making more


def test_a_filter_that_lets_nothing_through():
    """No result for a very long time is no reason to stop."""
    for workers in 1, 2:
        for ordered in True, False:
            got = list(pipeline(range(5000), stage(nothing, workers=workers, capacity=2, ordered=ordered, batch=3)))
            equal(got, [])


def nothing(n):
    yield from ()


def test_the_source_is_read_in_the_callers_thread():
    """It may be what only this thread may use."""
    seen = set()

    def source():
        for n in range(100):
            seen.add((threading.get_ident(), interlace.current_worker().id))
            yield n

    equal(sum(pipeline(source(), double)), 9900)
    equal(seen, {(threading.get_ident(), interlace.current_worker().id)})


# ---- the end -----------------------------------------------------------------------------------------------------


def slowly(n):
    interlace.select(interlace.after(0.001))
    return n


def use_some(results):
    for _, result in zip(range(3), results):
        pass


def break_off(make):
    for _ in make():
        break


def close(make):
    results = make()
    next(results)
    results.close()
    results.close()
    equal(list(results), [])


def close_unused(make):
    make().close()


def collect(make):
    results = make()
    next(results)
    del results
    gc.collect()


def collect_unused(make):
    make()
    gc.collect()


def raise_inside(make):
    with raises(KeyError, "mine"):
        with make() as results:
            for _ in results:
                raise KeyError("mine")


def leave_a_block(make):
    with make() as results:
        use_some(results)


def in_a_function(make):
    use_some(make())


def exhaust(make):
    results = make(range(20))
    equal(len(list(results)), 20)
    equal([next(results, "over"), next(results, "over")], ["over", "over"])


def test_no_worker_is_left():
    """However the consumer ends: all workers have ended when it goes on."""
    every = [break_off, close, close_unused, collect, collect_unused, raise_inside, leave_a_block, in_a_function]
    for ways, stages in (
        ([*every, exhaust], [slowly]),
        (every, [stage(double, workers=2), stage(for_ever, workers=2), double]),
        (every[:4], [stage(later, workers=2)]),
        (every[:4], [stage(slowly, workers=2, ordered=False, timeout=5)]),
    ):

        def make(source=range(100_000)):
            results = pipeline(source, *stages)
            workers.extend(results._group._workers)
            return results

        for way in ways:
            workers = []
            way(make)
            equal((way.__name__, [worker.done() for worker in workers]), (way.__name__, [True] * len(workers)))
            assert workers


def test_a_source_that_fails():
    """Its exception is raised as it is, after the results of what came before it, and no worker is left."""
    error = LookupError("of the source")

    def source():
        yield from range(10)
        raise error

    for options in {}, {"capacity": 2}, {"batch": 4}, {"batch": 100}, {"workers": 2, "batch": 3}:
        results = pipeline(source(), stage(double, **options))
        workers = results._group._workers
        got = []
        with raises(LookupError) as caught:
            got.extend(results)
        assert caught.error is error
        equal(got, [2 * n for n in range(10)])
        equal([worker.done() for worker in workers], [True] * len(workers))
        equal(list(results), [])


def test_a_source_whose_item_does_not_pickle():
    """That is raised after the results of what came before it."""
    got = []
    with raises(TypeError, "generator"):
        got.extend(pipeline([1, 2, (n for n in [3]), 4], double))
    equal(got, [2, 4])


def test_a_source_that_fails_and_a_stage_that_does():
    """What comes first in the order of the items is raised."""

    def source():
        yield from ("1", "x", "2")
        raise LookupError

    with raises(ValueError, "invalid literal"):
        list(pipeline(source(), int))
    with raises(LookupError):
        list(pipeline(source(), stage(int, on_error="skip")))


def test_its_own_source_asks_for_a_result():
    """As with generators, which cannot be run twice at a time either; the same holds for several threads."""

    def source():
        yield 1
        with raises(ValueError, "waited for already"):
            next(results)
        yield 2

    results = pipeline(source(), double)
    equal(list(results), [2, 4])


def test_close_from_another_thread():
    """The thread that waits for a result is told that there are no more."""
    sender, receiver = interlace.channel(1)
    results = pipeline([receiver], wait_for_message)
    closing = threading.Timer(0.1, results.close)
    closing.start()
    equal(list(results), [])
    closing.join()


def wait_for_message(receiver):
    return receiver.recv()


def test_it_is_an_iterator():
    """iter() is itself, and its repr names the stages."""
    results = pipeline(range(3), double, stage(plus, name="add"))
    assert iter(results) is results
    equal(repr(results), "<interlace.Pipeline double | add>")
    equal(repr(results.stages[1]), "<interlace.Stage 'add', 1 worker>")
    equal(next(results), 1)
    results.close()
    equal(repr(results), "<interlace.Pipeline double | add, ended>")


# ---- inside workers ----------------------------------------------------------------------------------------------


def total(n):
    return sum(pipeline(range(n), stage(double, workers=2)))


def test_nested():
    """A stage's function may use a pipeline of its own."""
    equal(list(pipeline(range(6), stage(total, workers=2))), [n * (n - 1) for n in range(6)])


def who(n):
    me = interlace.current_worker()
    return me.name, me.index, me.count


def test_workers_have_names():
    """The stage's name and a number, which is one more than the index among its workers."""
    seen = set(pipeline(range(300), stage(who, workers=2, name="asked"), stage(identity)))
    assert seen <= {("asked-1", 0, 2), ("asked-2", 1, 2)}, seen


def run_pipeline(ready):
    for result in pipeline(range(10**9), stage(slowly, workers=2)):
        if ready is not None:
            ready.send(result)
            ready = None


def test_w3_a_worker_that_runs_one_is_cancelled():
    """Its pipeline's workers end with it."""
    with interlace.Group() as group:
        tell, ready = interlace.channel(1)
        worker = group.start(run_pipeline, tell)
        ready.recv(timeout=DEADLINE)
        begun = time.monotonic()
        worker.cancel()
        equal(type(worker.exception(timeout=DEADLINE)), interlace.Cancelled)
        assert time.monotonic() - begun < 3


def test_w4_ctrl_c():
    """At any moment: exit code 130, soon, nothing on stderr, no process left."""
    text = """
        import interlace

        def slowly(n):
            interlace.select(interlace.after(0.001))
            return n

        def main():
            stages = interlace.stage(slowly, workers=2), interlace.stage(slowly, ordered=False, timeout=9)
            for n in interlace.pipeline(range(10**9), *stages):
                if n == 20:
                    print("ready", flush=True)

        main()
    """
    for after in None, 0.05, 0.2:
        with start(text) as started:
            if after is None:
                started.printed("ready")
            else:
                time.sleep(after)
            started.send_signal(signal.SIGINT)
            ended = started.end(limit=20).expect(code=130, out=None, err="")
            equal(started.left(), [])


def test_w5_a_script_without_a_guard():
    """A pipeline at the top level of a script is made once, not in every worker that loads the definitions."""
    run(
        """
        import interlace

        def double(n):
            return 2 * n

        for result in interlace.pipeline(range(3), double):
            print(result)
        """
    ).expect(out="0\n2\n4\n")
    run(
        """
        import interlace

        def double(n):
            return 2 * n

        total = sum(interlace.pipeline(range(3), double))
        """
    ).expect(code=1, out="", err=("RuntimeError", "starts workers while its definitions are loaded"))


def test_import_costs_nothing():
    """`import interlace` alone imports neither this nor what it needs."""
    run(
        """
        import sys
        before = set(sys.modules)
        import interlace
        print([name for name in ("interlace._pipeline", "inspect", "asyncio") if name in set(sys.modules) - before])
        interlace.stage, interlace.Pipeline, interlace.Stage, interlace.pipeline
        from interlace import *
        print(pipeline is interlace.pipeline, interlace.pipeline.__module__)
        """
    ).expect(out="[]\nTrue interlace\n")


def test_c3_a_pipeline_that_nobody_reads_sleeps():
    """Its workers fill what there is to fill, and then make no system calls."""
    with pipeline(range(10**6), stage(double, workers=2), stage(later), stage(some, ordered=False)) as results:
        next(results)
        settled()


def test_many_at_once():
    """Pipelines that are read in turns do not disturb each other."""
    many = [pipeline(range(30), stage(double, workers=2, capacity=2)) for _ in range(4)]
    equal(list(zip(*many)), [(2 * n,) * 4 for n in range(30)])
    equal([next(each, None) for each in many], [None] * 4)
