"""Counter: a number that workers share, change and wait for."""

import copy
import gc
import pickle
import threading
import time

import interlace
from support import DEADLINE, Thread, asleep, equal, raises


def test_it_counts():
    """add(), value, set(), compare_exchange(), with what they return."""
    counter = interlace.Counter()
    equal(counter.value, 0)
    equal([counter.add(), counter.add(5), counter.add(n=-7), counter.add(0)], [1, 6, -1, -1])
    equal(counter.set(40), None)
    equal(counter.compare_exchange(41, 1), False)
    equal(counter.compare_exchange(expected=40, value=42), True)
    equal(counter.value, 42)
    equal(repr(counter), "<interlace.Counter at 42>")
    equal(interlace.Counter(value=-3).value, -3)
    with raises(AttributeError):
        counter.value = 1


def test_64_bits():
    """What does not fit is an OverflowError, and changes nothing."""
    most, least = (1 << 63) - 1, -(1 << 63)
    counter = interlace.Counter(most)
    with raises(OverflowError, "64 bits"):
        counter.add()
    equal(counter.value, most)
    counter.set(least)
    with raises(OverflowError, "64 bits"):
        counter.add(-1)
    equal(counter.value, least)
    for call in (interlace.Counter, counter.add, counter.set, counter.wait, counter.reached):
        with raises(OverflowError, "64 bits"):
            call(1 << 63)
    with raises(OverflowError):
        counter.compare_exchange(least, 1 << 64)
    for call in (interlace.Counter, counter.add, counter.set, counter.wait, counter.reached):
        with raises(TypeError):
            call("1")
    equal(counter.value, least)


def test_wait():
    """It returns at once where the value is reached, and else when it has been, however it was changed."""
    counter = interlace.Counter(5)
    equal([counter.wait(5), counter.wait(-1), counter.wait(at_least=5, timeout=0)], [5, 5, 5])
    for change in (
        lambda: counter.add(1),
        lambda: counter.set(10),
        lambda: counter.compare_exchange(counter.value, 10),
    ):
        counter.set(5)
        waiting = Thread(counter.wait, 10).asleep()
        counter.set(9)
        assert waiting.running()
        change()
        equal(waiting.result(), 10)
    counter.set(0)
    waiting = Thread(counter.wait, 1).asleep()
    counter.set(7)
    counter.set(0)
    assert waiting.result() >= 1


def test_timeouts():
    """TimeoutError after that time; the next wait is none the worse for it."""
    counter = interlace.Counter()
    start = time.monotonic()
    with raises(TimeoutError, "at least 1"):
        counter.wait(1, timeout=0.1)
    assert 0.09 <= time.monotonic() - start < 5
    with raises(TimeoutError):
        counter.wait(1, 0)
    with raises(ValueError, "timeout"):
        counter.wait(1, timeout=-1)
    for _ in range(500):  # those who gave up leave nothing behind
        with raises(TimeoutError):
            counter.wait(1, timeout=0.0001)
    counter.add()
    equal(counter.wait(1, timeout=0), 1)


def test_it_can_be_selected():
    """reached() is a Receiver of one message, the number waited for; it ends afterwards."""
    counter = interlace.Counter()
    three, two = counter.reached(3), counter.reached(2)
    equal(counter.reached(0).recv(timeout=0), 0)
    with raises(TimeoutError):
        interlace.select(three, two, timeout=0.05)
    waiting = Thread(interlace.select, three, two).asleep()
    counter.add(2)
    equal(waiting.result(), (two, 2))
    waiting = Thread(interlace.select, three, interlace.after(1000)).asleep()
    counter.set(1000)
    equal(waiting.result(), (three, 3))
    with raises(interlace.EndOfChannel):
        three.recv(timeout=0)
    last = counter.reached(2000)
    del counter, three, two, waiting
    gc.collect()
    with raises(interlace.EndOfChannel):
        last.recv(timeout=DEADLINE)


def count(counter, rounds):
    for _ in range(rounds):
        counter.add()


def follow(counter, total, step):
    seen = 0
    while seen < total:
        seen = counter.wait(min(seen + step, total), timeout=DEADLINE)
    return seen


def test_workers_share_it():
    """Every add() counts once, and no wait is forgotten, with several workers at once."""
    counter = interlace.Counter()
    with interlace.Group() as group:
        followers = [group.start(follow, counter, 60_000, step) for step in (1, 500)]
        for _ in range(3):
            group.start(count, counter, 20_000)
    equal(counter.value, 60_000)
    equal([worker.result() for worker in followers], [60_000, 60_000])


def pass_on(receiver, results):
    counter = receiver.recv()["deep"][0]
    results.send((counter, counter.add(), counter.reached(10)))


def test_it_travels():
    """In messages and back, with what waits for it, beyond the end of the worker; plain pickle and copy are refused."""
    counter = interlace.Counter(5)
    sender, receiver = interlace.channel(1)
    results, result = interlace.channel(1)
    with interlace.Group() as group:
        group.start(pass_on, receiver, results)
        sender.send({"deep": [counter]})
        back, value, reached = result.recv(timeout=DEADLINE)
    equal(value, 6)
    equal(back.add(), 7)
    counter.set(10)
    equal(reached.recv(timeout=DEADLINE), 10)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with raises(TypeError, "cannot be pickled", "Group.start"):
            attempt(counter)
    for ends in ((1, 2), interlace.channel(1), interlace.Semaphore(1).case):
        with raises(TypeError):
            interlace.Counter._join(*(ends if isinstance(ends, tuple) else (ends, ends)))


def make_and_end():
    return interlace.Counter(3)


def test_it_outlives_its_maker():
    """The worker that made it has ended, or one that waited for it was cancelled: it counts on."""
    with interlace.Group() as group:
        counter = group.start(make_and_end).result(timeout=DEADLINE)
    equal(counter.add(), 4)
    waiting = Thread(counter.wait, 5).asleep()
    counter.add()
    equal(waiting.result(), 5)


def wait_for_ever(counter, ready):
    ready.send(threading.get_native_id())
    counter.wait(1)


def test_a_cancelled_wait():
    """Cancelled comes at once; others go on waiting."""
    counter = interlace.Counter()
    waiting = Thread(counter.wait, 1).asleep()
    with interlace.Group() as group:
        tell, ready = interlace.channel(1)
        worker = group.start(wait_for_ever, counter, tell)
        asleep(ready.recv(timeout=DEADLINE))
        start = time.monotonic()
        worker.cancel()
        equal(type(worker.exception(timeout=DEADLINE)), interlace.Cancelled)
        assert time.monotonic() - start < 2
    counter.add()
    equal(waiting.result(), 1)
