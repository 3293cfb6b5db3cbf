"""Semaphore: permits that workers share."""

import copy
import pickle
import threading
import time

import interlace
from support import DEADLINE, Thread, asleep, equal, raises, wait_until


def test_it_counts_its_permits():
    """acquire() takes, release() gives back, never more than there are; available tells."""
    semaphore = interlace.Semaphore(3)
    equal((semaphore.permits, semaphore.available), (3, 3))
    for left in (2, 1, 0):
        equal(semaphore.acquire(), None)
        equal(semaphore.available, left)
    with raises(TimeoutError, "permit"):
        semaphore.acquire(timeout=0)
    start = time.monotonic()
    with raises(TimeoutError):
        semaphore.acquire(0.1)
    assert 0.09 <= time.monotonic() - start < 5
    for left in (1, 2, 3):
        equal(semaphore.release(), None)
        equal(semaphore.available, left)
    with raises(ValueError, "without acquire"):
        semaphore.release()
    equal(semaphore.available, 3)
    equal(repr(semaphore), "<interlace.Semaphore, 3 of 3 available>")


def test_the_with_block_releases():
    """Also when it ends with an exception."""
    semaphore = interlace.Semaphore(permits=1)
    with semaphore as entered:
        assert entered is semaphore
        equal(semaphore.available, 0)
    with raises(KeyError), semaphore:
        raise KeyError
    equal(semaphore.available, 1)


def test_what_it_takes():
    """permits from 1 to 1048576; a timeout from 0 on."""
    for wrong in (0, -1, (1 << 20) + 1):
        with raises(ValueError, "1048576"):
            interlace.Semaphore(wrong)
    for wrong in ("1", 1.5, None):
        with raises(TypeError):
            interlace.Semaphore(wrong)
    with raises(TypeError):
        interlace.Semaphore()
    semaphore = interlace.Semaphore(1)
    with raises(ValueError, "timeout"):
        semaphore.acquire(timeout=-1)
    with raises(TypeError, "timeout"):
        semaphore.acquire(timeout="1")
    equal(semaphore.available, 1)
    equal(interlace.Semaphore(100_000).available, 100_000)


def test_who_waits_first_gets_first():
    """release() hands its permit to the one that has waited for longest."""
    semaphore = interlace.Semaphore(1)
    semaphore.acquire()
    order = []
    threads = []
    for number in range(3):
        threads.append(Thread(lambda n=number: (semaphore.acquire(timeout=DEADLINE), order.append(n))).asleep())
    for number in range(3):
        semaphore.release()
        wait_until(lambda: len(order) == number + 1, "a thread to have the permit")  # noqa: B023
    for thread in threads:
        thread.result()
    equal(order, [0, 1, 2])


def test_it_can_be_selected():
    """Its case is a Receiver: to receive is to acquire; fileno() tells of a permit."""
    semaphore = interlace.Semaphore(1)
    assert semaphore.case is semaphore.case
    equal(interlace.select(semaphore.case, interlace.after(100)), (semaphore.case, None))
    equal(semaphore.available, 0)
    with raises(TimeoutError):
        interlace.select(semaphore.case, timeout=0.05)
    _, idle = kept = interlace.channel(1)
    waiting = Thread(interlace.select, idle, semaphore.case).asleep()
    semaphore.release()
    assert waiting.result()[0] is semaphore.case
    semaphore.release()
    equal(semaphore.available, 1)
    del kept


def work(semaphore, inside, most, rounds):
    for _ in range(rounds):
        with semaphore:
            now = inside.add()
            while (seen := most.value) < now and not most.compare_exchange(seen, now):
                pass
            inside.add(-1)


def test_workers_share_it():
    """Never more of them inside than there are permits, with several workers; all permits are there in the end."""
    semaphore, inside, most = interlace.Semaphore(2), interlace.Counter(), interlace.Counter()
    with interlace.Group() as group:
        for _ in range(4):
            group.start(work, semaphore, inside, most, 3000)
    equal((inside.value, semaphore.available), (0, 2))
    assert 1 <= most.value <= 2, most


def pass_on(receiver, results):
    semaphore = receiver.recv()["deep"][0]
    semaphore.acquire()
    results.send((semaphore, semaphore.available))


def test_it_travels_in_messages():
    """Deep in an object, there and back; plain pickle and copy are refused."""
    semaphore = interlace.Semaphore(5)
    sender, receiver = interlace.channel(1)
    results, result = interlace.channel(1)
    with interlace.Group() as group:
        group.start(pass_on, receiver, results)
        sender.send({"deep": [semaphore]})
        back, available = result.recv(timeout=DEADLINE)
    equal(available, 4)
    back.acquire()
    equal(semaphore.available, 3)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with raises(TypeError, "cannot be pickled", "Group.start"):
            attempt(semaphore)
    with raises(TypeError, "message"):
        interlace.Semaphore._join(1, 2)


def wait_for_ever(semaphore, ready):
    ready.send(threading.get_native_id())
    with semaphore:
        raise AssertionError("there was a permit")


def test_a_cancelled_wait_takes_no_permit():
    """Cancelled comes at once, and the next permit is somebody else's."""
    semaphore = interlace.Semaphore(1)
    semaphore.acquire()
    with interlace.Group() as group:
        tell, ready = interlace.channel(1)
        worker = group.start(wait_for_ever, semaphore, tell)
        asleep(ready.recv(timeout=DEADLINE))
        worker.cancel()
        equal(type(worker.exception(timeout=DEADLINE)), interlace.Cancelled)
    semaphore.release()
    semaphore.acquire(timeout=0)


def test_no_permit_is_lost_to_a_cancel_that_races_with_a_release():
    """Whichever of the two is first: the permit is there in the end."""
    semaphore = interlace.Semaphore(1)
    for number in range(12):
        semaphore.acquire(timeout=DEADLINE)
        with interlace.Group() as group:
            tell, ready = interlace.channel(1)
            worker = group.start(take_and_give, semaphore, tell)
            asleep(ready.recv(timeout=DEADLINE))
            if number % 2:
                worker.cancel()
                semaphore.release()
            else:
                semaphore.release()
                worker.cancel()
            worker.exception(timeout=DEADLINE)
        equal((number, semaphore.available), (number, 1))


def take_and_give(semaphore, ready):
    ready.send(threading.get_native_id())
    semaphore.acquire()
    try:
        pass
    finally:
        semaphore.release()


def take_and_end(semaphore):
    semaphore.acquire()


def test_a_permit_belongs_to_nobody():
    """A worker that ends with one has used it up; anybody may give it back. The semaphore outlives its maker."""
    semaphore = interlace.Semaphore(2)
    with interlace.Group() as group:
        group.start(take_and_end, semaphore)
        made = group.start(interlace.Semaphore, 3)
    equal(semaphore.available, 1)
    semaphore.release()
    equal(semaphore.available, 2)
    equal(made.result().available, 3)
