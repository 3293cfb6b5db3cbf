"""W3: cancelling ends waits and bytecode, and the end is bounded."""

import os
import sys
import threading
import time

import interlace
from support import DEADLINE, asleep, equal, raises, run, wait_until


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
        with interlace.Group() as group:
            group.start(wait_in, "recv", interlace.channel(1)[0])


def test_w3_every_wait_is_cancelled_at_once():
    """Each kind of wait ends with Cancelled within far less than a second."""
    for how in ("recv", "iterate", "recv_many", "send", "send_many", "select", "select kept", "select timer", "timeout",
                "group"):  # fmt: skip
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
        victim, other = group.start(wait_in, "recv", tell), group.start(echo_once, *(pair := interlace.channel(1))[1:])
        asleep(ready.recv(timeout=DEADLINE))
        victim.cancel()
        equal(type(victim.exception(timeout=DEADLINE)), interlace.Cancelled)
        pair[0].send("alive")
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


def test_w3_the_thread_that_cancels_is_not_delayed():
    """cancel() returns at once, also for a worker that sits in foreign code."""
    with interlace.Group() as group:
        tell, ready = interlace.channel(1)
        worker = group.start(sleep_a_little, tell)
        ready.recv(timeout=DEADLINE)
        start = time.monotonic()
        worker.cancel()
        assert time.monotonic() - start < 0.3
    assert worker.done()


def sleep_a_little(ready):
    ready.send(None)
    time.sleep(0.5)


STUCK = """
    import interlace, threading, time

    def stuck(ready, how):
        ready.send(1)
        if how == "sleep":
            time.sleep(60)
        elif how == "lock":
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()  # for ever
        else:
            while True:
                try:
                    time.sleep(0.01)
                except:
                    pass

    def main():
        import sys
        with interlace.Group() as group:
            send, ready = interlace.channel(0)
            group.start(stuck, send, sys.argv[1], name="sleeper")
            ready.recv()
            print("cancelling", flush=True)
            group.cancel()

    main()
"""


def test_w3_a_worker_that_does_not_end_is_named_and_left():
    """After --grace the process leaves with 1, and says who sits where: in a lock, and in a loop that swallows all."""
    for how, place in [("lock", "line 10, in stuck"), ("swallow", "in stuck")]:
        ended = run(STUCK, how, words=["--grace", "0.5"]).expect(
            1, "cancelling\n", ("worker 'sleeper'", "did not end within 0.5 s", "script.py", place)
        )
        assert 0.5 <= ended.seconds < 5, ended.describe()


def test_w3_time_sleep_does_not_hold_the_process():
    """A worker in time.sleep(60) is left after the grace period; from CPython 3.15 on it is interrupted."""
    ended = run(STUCK, "sleep", words=["--grace", "0.5"])
    if sys.version_info < (3, 15):
        ended.expect(1, "cancelling\n", ("worker 'sleeper'", "0.5 s", "line 6, in stuck"))
    else:
        ended.expect(0, "cancelling\n")
    assert ended.seconds < 5, ended.describe()


def test_w3_a_worker_stuck_without_the_gil_released():
    """One that holds its interpreter's lock in C is named, too, and does not keep the process."""
    ended = run(
        """
        import interlace

        def stuck(ready):
            ready.send(1)
            sum(range(10**12))

        def main():
            with interlace.Group() as group:
                send, ready = interlace.channel(0)
                group.start(stuck, send, name="adder")
                ready.recv()
                group.cancel()

        main()
        """,
        words=["--grace", "0.5"],
    ).expect(1, "", ("worker 'adder'", "did not end within 0.5 s"))
    assert ended.seconds < 5, ended.describe()


def test_w3_a_stuck_worker_does_not_hide_the_failure():
    """When a failure cancelled it, that failure is printed, too, before the process leaves."""
    run(
        """
        import interlace, threading

        def stuck(ready):
            lock = threading.Lock()
            lock.acquire()
            ready.send(1)
            lock.acquire()

        def main():
            with interlace.Group() as group:
                send, ready = interlace.channel(0)
                group.start(stuck, send, name="sleeper")
                ready.recv()
                raise LookupError("the real reason")

        main()
        """,
        words=["--grace", "0.5"],
    ).expect(1, "", ("worker 'sleeper'", "the real reason"))


def test_w3_wrong_grace():
    """--grace takes a number above 0."""
    for value in ("0", "-1", "x", "nan", "inf", ""):
        run("", words=["--grace", value]).expect(2, "", ("--grace", "seconds", f"'{value}'"))
