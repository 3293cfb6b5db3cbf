"""W3: a worker that cancelling cannot end is waited for during the grace period, named, and left."""

import sys
import time

import interlace
from support import DEADLINE, run


def sleep_a_little(ready):
    ready.send(None)
    time.sleep(0.5)


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
    """After --grace the process leaves with 1, and says who sits where: in a lock, in a loop that swallows all."""
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
