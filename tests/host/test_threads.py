"""W2 and W3: a worker's threads, its atexit functions, and what else is left at its end."""

import contextlib
import itertools
import os
import threading
import time

import interlace
from support import DEADLINE, Thread, equal, raises, run, start


def threads_in_a_worker(receiver, sender):
    """Three threads share the worker's ends; the function returns before they are done."""

    def work():
        for n in receiver:
            sender.send((threading.get_ident(), n))

    for _ in range(3):
        threading.Thread(target=work).start()


def test_threads_of_a_worker_use_its_ends_and_are_waited_for():
    """A worker ends when its threads have."""
    with interlace.Group() as group:
        send, numbers = interlace.channel(0)
        sender, results = interlace.channel(200)
        worker = group.start(threads_in_a_worker, numbers, sender)
        numbers.close()
        sender.close()
        equal(worker.result(timeout=DEADLINE), None)
        for n in range(100):
            send.send(n, timeout=DEADLINE)
        assert not worker.done()
        send.close()
        got = list(results)
    equal(sorted(n for _, n in got), list(range(100)))


def test_w3_cancel_ends_the_threads_of_a_worker():
    """Those that wait for a channel and those that compute, while the worker waits or has returned; quietly."""
    for how, returns in itertools.product(("wait", "compute"), (False, True)):
        with start(
            f"""
            import sys, threading
            import interlace

            def wait():
                interlace.select(interlace.after(1000))

            def compute():
                while True:
                    pass

            def work(sender):
                threading.Thread(target={how}).start()
                sender.send(threading.get_native_id())
                if {returns}:
                    return  # and wait for the thread
                interlace.select(interlace.after(1000))

            def main():
                sys.path.insert(0, {os.path.dirname(__file__)!r})
                from support import asleep
                with interlace.Group() as group:
                    sender, receiver = interlace.channel(0)
                    worker = group.start(work, sender)
                    asleep(receiver.recv())
                    worker.cancel()
                print("ended")

            main()
            """
        ) as started:
            started.end(15).expect(0, "ended\n", "")


def test_atexit_functions_run_at_a_workers_end():
    """In the reverse order, their output is there, before the group ends; also when the worker fails or exits."""
    for end in ("pass", "raise LookupError('reason')", "sys.exit(3)", "sys.exit('text')"):
        ended = run(
            f"""
            import atexit, sys, time
            import interlace

            def late(text):
                for _ in range(100):  # somebody might want to interrupt it
                    time.sleep(0.001)
                print(text)

            def work():
                atexit.register(late, "second")
                atexit.register(late, "first")
                {end}

            def main():
                try:
                    with interlace.Group() as group:
                        group.start(work)
                except* BaseException:
                    pass
                print("end", flush=True)
                work()

            atexit.register(print, "last")
            main()
            """
        )
        code = {"pass": 0, "sys.exit(3)": 3}.get(end, 1)
        ended.expect(code, "first\nsecond\nend\nfirst\nsecond\nlast\n", None)
        equal(ended.err.count("Traceback"), end.count("LookupError"))
        assert "ignored" not in ended.err, ended.describe()


def leave_things(sender):
    """Things that are alive at the end: cycles with finalisers that use ends, a thread, an open file, an executor."""
    import concurrent.futures
    import weakref

    class Last:
        def __del__(self):
            with contextlib.suppress(Exception, interlace.Cancelled):
                sender.send("finaliser", timeout=0)

    last = Last()
    last.self = last
    weakref.finalize(last, len, "x")
    kept = [open("/dev/null"), concurrent.futures.ThreadPoolExecutor(1)]  # noqa: SIM115
    kept[1].submit(time.sleep, 0.01)
    kept.append(kept)
    generator = (sender.send(n) for n in range(2))
    next(generator)
    threading.current_thread().kept = kept, generator


def test_what_a_worker_leaves_behind_is_cleaned_up():
    """Finalisers, executors and generators that hold ends do not keep the channel or the group."""
    for _ in range(20):
        sender, receiver = interlace.channel(8)
        with interlace.Group() as group:
            group.start(leave_things, sender)
            sender.close()
        equal([x for x in receiver if x != "finaliser"], [0])


def wait_in_finaliser():
    import builtins

    sender, receiver = interlace.channel(0)

    class Waits:
        def __del__(self, receiver=receiver):
            with contextlib.suppress(interlace.Cancelled):
                receiver.recv()

    builtins.kept = [sender, Waits()]  # a list lets go of its last item first


def test_w3_a_finaliser_that_waits_does_not_hang_the_end():
    """A __del__ that waits for ever, run by the interpreter's end, is cancelled."""
    with interlace.Group() as group:
        worker = group.start(wait_in_finaliser)
        interlace.select(worker, timeout=DEADLINE)


def test_threads_of_the_script_may_use_groups():
    """Groups in several threads of one interpreter at once; a failure in one cancels nothing in the others."""

    def work(n):
        if n % 2:
            with raises(ExceptionGroup), interlace.Group() as group:
                group.start("builtins:int", "x")
            return None
        with interlace.Group() as group:
            return group.start(pow, n, 2).result(timeout=DEADLINE)

    threads = [Thread(work, n) for n in range(8)]
    equal([thread.result() for thread in threads], [0, None, 4, None, 16, None, 36, None])
