"""W3: cancelling ends waits and bytecode, and the end is bounded."""

import os
import threading
import time

import interlace
from support import DEADLINE, asleep, equal, raises, wait_until


def wait_in(how, ready):
    """Wait for ever in one of our calls; the exception that ends it is what comes out."""
    sender, receiver = interlace.channel(0)
    ready.send(threading.get_native_id())
    if how == "recv":
        receiver.recv()
    elif how == "iterate":
        for _ in receiver:
            pass
    elif how == "recv_many":
        receiver.recv_many(5)
    elif how == "send":
        sender.send(1)
    elif how == "send_many":
        sender.send_many([1])
    elif how == "select":
        interlace.select((sender, 1), receiver)
    elif how == "select kept":
        interlace.select(receiver)
    elif how == "select timer":
        interlace.select(receiver, interlace.after(1000))
    elif how == "timeout":
        receiver.recv(timeout=1000)
    elif how == "group":
        tell, started = interlace.channel(1)
        with interlace.Group() as group:
            group.start(wait_in, "recv", tell)
        started.close()


def test_w3_every_wait_is_cancelled_at_once():
    """Each kind of wait ends with Cancelled within far less than a second."""
    for how in ("recv", "iterate", "recv_many", "send", "send_many", "select", "select kept", "select timer",
                "timeout", "group"):  # fmt: skip
        with interlace.Group() as group:
            tell, ready = interlace.channel(1)
            worker = group.start(wait_in, how, tell)
            asleep(ready.recv(timeout=DEADLINE))
            start = time.monotonic()
            worker.cancel()
            error = worker.exception(timeout=DEADLINE)
            took = time.monotonic() - start
        equal((how, type(error)), (how, interlace.Cancelled))
        assert took < 2, f"{how}: {took}"


def busy(ready):
    ready.send(None)
    while True:
        pass


def test_w3_a_busy_loop_is_cancelled_within_milliseconds():
    """The best of five is below 50 ms, every one below 2 s."""
    times = []
    for _ in range(5):
        with interlace.Group() as group:
            tell, ready = interlace.channel(0)
            worker = group.start(busy, tell)
            ready.recv(timeout=DEADLINE)
            start = time.monotonic()
            worker.cancel()
            interlace.select(worker, timeout=DEADLINE)
            times.append(time.monotonic() - start)
    print("ms:", *(f"{1000 * t:.1f}" for t in times))
    assert min(times) < 0.05 and max(times) < 2


class Slow:
    """Takes its time to go."""

    def __init__(self, ready):
        self.ready = ready

    def __del__(self):
        self.ready.send(None)
        while True:
            pass


def busy_in_a_finaliser(ready):
    Slow(ready)
    while True:
        pass


def test_w3_cancelled_in_a_finaliser():
    """An exception there is nobody's; the worker ends all the same, and nothing is printed."""
    with interlace.Group() as group:
        tell, ready = interlace.channel(0)
        worker = group.start(busy_in_a_finaliser, tell)
        ready.recv(timeout=DEADLINE)
        start = time.monotonic()
        worker.cancel()
        equal(type(worker.exception(timeout=DEADLINE)), interlace.Cancelled)
        assert time.monotonic() - start < 3


def stubborn(how, ready, log_fd):
    """Swallow every Exception, for ever; say in the end that the finally block ran."""
    _, receiver = kept = interlace.channel(0)
    ready.send(threading.get_native_id())
    try:
        while True:
            try:
                if how == "wait":
                    receiver.recv()
                elif how == "timeouts":
                    receiver.recv(timeout=0.001)
            except Exception:
                pass
    finally:
        os.write(log_fd, b"finally\n")
        del kept


def test_w3_except_exception_does_not_swallow_it_and_finally_runs():
    """In a wait, in waits that time out all the time, and in bytecode."""
    for how in ("wait", "timeouts", "compute"):
        log, log_fd = os.pipe()
        with interlace.Group() as group:
            tell, ready = interlace.channel(1)
            worker = group.start(stubborn, how, tell, log_fd)
            ready.recv(timeout=DEADLINE)
            worker.cancel()
            equal(type(worker.exception(timeout=DEADLINE)), interlace.Cancelled)
        os.close(log_fd)
        equal(os.read(log, 100), b"finally\n")
        os.close(log)


def swallow_twice(ready):
    """A bare except swallows one Cancelled; the next wait raises it again."""
    _, receiver = kept = interlace.channel(0)
    ready.send(None)
    count = 0
    while count < 3:
        try:
            receiver.recv()
        except:  # noqa: E722
            count += 1
    del kept
    return count


def test_w3_later_waits_raise_it_again():
    """Current and later waits raise Cancelled."""
    with interlace.Group() as group:
        tell, ready = interlace.channel(1)
        worker = group.start(swallow_twice, tell)
        ready.recv(timeout=DEADLINE)
        worker.cancel()
        equal(worker.result(timeout=DEADLINE), 3)


def test_w3_cancel_before_it_runs_and_after_it_ended():
    """A worker that has not begun runs nothing of its function; one that has ended keeps its result."""
    with interlace.Group() as group:
        for _ in range(10):
            log, log_fd = os.pipe()
            worker = group.start(os.write, log_fd, b"ran")
            worker.cancel()
            error = worker.exception(timeout=DEADLINE)
            os.close(log_fd)
            equal(os.read(log, 100), b"ran" if error is None else b"")
            os.close(log)
        worker = group.start(pow, 2, 3)
        equal(worker.result(timeout=DEADLINE), 8)
        wait_until(worker.done, "its end")
        worker.cancel()
        worker.cancel()
        equal(worker.result(timeout=0), 8)


def test_w3_only_the_cancelled_worker_ends():
    """Its group and the others go on, and the block ends without an exception."""
    with interlace.Group() as group:
        tell, ready = interlace.channel(1)
        send, receiver = interlace.channel(1)
        victim, other = group.start(wait_in, "recv", tell), group.start(echo_once, receiver)
        asleep(ready.recv(timeout=DEADLINE))
        victim.cancel()
        equal(type(victim.exception(timeout=DEADLINE)), interlace.Cancelled)
        send.send("alive")
        equal(other.result(timeout=DEADLINE), "alive")


def echo_once(receiver):
    return receiver.recv()


def raise_in_finally(ready):
    try:
        ready.send(threading.get_native_id())
        interlace.select(interlace.after(1000))
    finally:
        raise LookupError("while cleaning up")


def test_w3_a_failure_while_being_cancelled_is_not_lost():
    """An exception that a finally block raises instead of Cancelled is a failure of the group."""
    with raises(ExceptionGroup) as caught, interlace.Group() as group:
        tell, ready = interlace.channel(1)
        worker = group.start(raise_in_finally, tell)
        asleep(ready.recv(timeout=DEADLINE))
        worker.cancel()
    equal([type(error) for error in caught.error.exceptions], [LookupError])
