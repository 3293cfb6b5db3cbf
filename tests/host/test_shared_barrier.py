"""Barrier: workers that wait for each other."""

import copy
import pickle
import threading
import time
from threading import BrokenBarrierError

import interlace
from support import DEADLINE, Thread, asleep, equal, raises, wait_until


def test_nobody_passes_before_all_are_there():
    """wait() returns when all parties have arrived, an index of its own to each; and again."""
    barrier = interlace.Barrier(3)
    equal((barrier.parties, barrier.n_waiting, barrier.broken), (3, 0, False))
    for _ in range(3):
        waiting = [Thread(barrier.wait).asleep() for _ in range(2)]
        equal(barrier.n_waiting, 2)
        equal(repr(barrier), "<interlace.Barrier of 3, 2 waiting>")
        assert all(thread.running() for thread in waiting)
        indexes = [barrier.wait(timeout=DEADLINE), *(thread.result() for thread in waiting)]
        equal(sorted(indexes), [0, 1, 2])
        equal(barrier.n_waiting, 0)
    one = interlace.Barrier(1)
    equal([one.wait(), one.wait(timeout=0)], [0, 0])


def test_what_it_takes():
    """parties from 1 to 1048576; a wrong timeout breaks nothing."""
    for wrong in (0, -1, (1 << 20) + 1):
        with raises(ValueError, "1048576"):
            interlace.Barrier(wrong)
    for wrong in ("1", 1.5, None):
        with raises(TypeError, "int"):
            interlace.Barrier(wrong)
    barrier = interlace.Barrier(2)
    with raises(ValueError, "timeout"):
        barrier.wait(timeout=-1)
    with raises(TypeError):
        barrier.wait(timeout="1")
    equal((barrier.n_waiting, barrier.broken), (0, False))


def test_a_timeout_breaks_it():
    """For the one that gives up, for those who wait, and for those who come later."""
    barrier = interlace.Barrier(3)
    waiting = Thread(barrier.wait).asleep()
    start = time.monotonic()
    with raises(BrokenBarrierError, "timeout"):
        barrier.wait(timeout=0.1)
    assert 0.09 <= time.monotonic() - start < 5
    with raises(BrokenBarrierError):
        waiting.result()
    for timeout in (None, 0, 1):
        with raises(BrokenBarrierError, "stays broken: make a new one"):
            barrier.wait(timeout)
    with raises(BrokenBarrierError):
        barrier.arrive()
    equal((barrier.broken, barrier.n_waiting, repr(barrier)), (True, 0, "<interlace.Barrier of 3, broken>"))


def test_abort():
    """It breaks the barrier for those who wait, not for those who have passed."""
    barrier = interlace.Barrier(2)
    passed = [barrier.arrive(), barrier.arrive()]
    waiting = Thread(barrier.wait).asleep()
    barrier.abort()
    barrier.abort()
    with raises(BrokenBarrierError):
        waiting.result()
    equal([receiver.recv(timeout=DEADLINE) for receiver in passed], [0, 1])


def test_it_can_be_selected():
    """arrive() gives a Receiver of one message; when the barrier is broken it ends without one."""
    barrier = interlace.Barrier(2)
    passed = barrier.arrive()
    with raises(TimeoutError):
        interlace.select(passed, timeout=0.05)
    waiting = Thread(interlace.select, passed, interlace.after(1000)).asleep()
    equal(barrier.wait(), 1)
    equal(waiting.result(), (passed, 0))
    passed = barrier.arrive()
    waiting = Thread(interlace.select, passed).asleep()
    barrier.abort()
    with raises(interlace.EndOfChannel):
        waiting.result()


def work(barrier, arrived, rounds):
    for number in range(1, rounds + 1):
        arrived.add()
        barrier.wait(timeout=DEADLINE)
        assert arrived.value >= 3 * number, (arrived.value, number)
        barrier.wait(timeout=DEADLINE)
        assert arrived.value == 3 * number, (arrived.value, number)
        barrier.wait(timeout=DEADLINE)


def test_workers_share_it():
    """Three workers in step, many times: between two waits all have done the same."""
    barrier, arrived = interlace.Barrier(3), interlace.Counter()
    with interlace.Group() as group:
        for _ in range(3):
            group.start(work, barrier, arrived, 300)
    equal((barrier.n_waiting, barrier.broken), (0, False))


def pass_on(receiver):
    return receiver.recv()["deep"][0].wait()


def test_it_travels_in_messages():
    """Deep in an object; plain pickle and copy are refused."""
    barrier = interlace.Barrier(2)
    sender, receiver = interlace.channel(1)
    with interlace.Group() as group:
        worker = group.start(pass_on, receiver)
        sender.send({"deep": [barrier]})
        equal(sorted([barrier.wait(timeout=DEADLINE), worker.result(timeout=DEADLINE)]), [0, 1])
    for attempt in (pickle.dumps, copy.deepcopy):
        with raises(TypeError, "cannot be pickled"):
            attempt(barrier)


def wait_for_ever(barrier, ready):
    ready.send(threading.get_native_id())
    barrier.wait()


def test_a_cancelled_wait_breaks_it():
    """Cancelled for the one, BrokenBarrierError for the others, at once."""
    barrier = interlace.Barrier(3)
    waiting = Thread(barrier.wait).asleep()
    with interlace.Group() as group:
        tell, ready = interlace.channel(1)
        worker = group.start(wait_for_ever, barrier, tell)
        asleep(ready.recv(timeout=DEADLINE))
        wait_until(lambda: barrier.n_waiting == 2, "the worker to arrive")
        worker.cancel()
        equal(type(worker.exception(timeout=DEADLINE)), interlace.Cancelled)
    with raises(BrokenBarrierError):
        waiting.result()
    equal(barrier.broken, True)


def give_up(barrier, timeout):
    try:
        return barrier.wait(timeout)
    except BrokenBarrierError:
        return "broken"


def give_up_on_many(barriers, results):
    for barrier, timeout in barriers:
        results.send(give_up(barrier, timeout))


def test_timeouts_that_race_with_the_last_arrival():
    """All pass, or all find it broken: never some of either."""
    with interlace.Group() as group:
        barriers, receiver = interlace.channel(0)
        results, result = interlace.channel(1)
        group.start(give_up_on_many, receiver, results)
        for timeout in [0.0, 0.000005, 0.00002, 0.0001, 0.001] * 40:
            barrier = interlace.Barrier(2)
            barriers.send((barrier, timeout))
            both = {give_up(barrier, DEADLINE), result.recv(timeout=DEADLINE)}
            assert both in ({0, 1}, {"broken"}), both
        barriers.close()


def arrive_and_end(barrier):
    barrier.arrive()


def test_an_arrival_outlives_its_worker():
    """Who has arrived counts, also when its worker has ended since."""
    barrier = interlace.Barrier(2)
    with interlace.Group() as group:
        group.start(arrive_and_end, barrier)
    equal(barrier.wait(timeout=DEADLINE), 1)
