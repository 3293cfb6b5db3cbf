"""The standard library in workers: threads, atexit, subprocesses, asyncio, modules that race, and what is left at the end."""

import asyncio
import contextlib
import os
import signal
import subprocess
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
    """Those that wait for a channel and those that compute; nothing is printed about it."""
    for how in ("wait", "compute"):
        with start(
            f"""
            import os, threading
            import interlace

            def wait():
                interlace.select(interlace.after(1000))

            def compute():
                while True:
                    pass

            def work(sender):
                thread = threading.Thread(target={how})
                thread.start()
                sender.send(None)
                if {how!r} == "wait":
                    interlace.select(interlace.after(1000))

            def main():
                with interlace.Group() as group:
                    sender, receiver = interlace.channel(0)
                    worker = group.start(work, sender)
                    receiver.recv()
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


def call_a_process(text):
    done = subprocess.run(["cat"], input=text, capture_output=True, text=True, check=True)
    return done.stdout + subprocess.check_output(["sh", "-c", "echo from sh"], text=True)


def test_subprocesses_in_workers():
    """Several workers run processes at the same time."""
    with interlace.Group() as group:
        workers = [group.start(call_a_process, f"text {n} ") for n in range(5)]
        equal([w.result(timeout=DEADLINE) for w in workers], [f"text {n} from sh\n" for n in range(5)])


def signals_of_a_child():
    """What a process started here blocks and ignores (its status lines)."""
    return subprocess.check_output(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"], text=True)


def test_w4_processes_of_workers_have_ordinary_signals():
    """They block and ignore nothing, so that terminate() and Ctrl-C end them."""
    ordinary = [line.split()[1] for line in signals_of_a_child().splitlines()]
    equal(ordinary, ["0" * 16, "0" * 16])
    with interlace.Group() as group:
        equal(group.start(signals_of_a_child).result(timeout=DEADLINE), signals_of_a_child())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        child = subprocess.Popen(["sleep", "100"])
        child.send_signal(number)
        try:
            equal(child.wait(10), -number)
        finally:
            child.kill()
            child.wait()


def import_much(ready, go):
    ready.send(None)
    go.recv()
    import ctypes  # noqa: F401
    import datetime
    import decimal
    import hashlib
    import json
    import sqlite3
    import xml.etree.ElementTree as etree
    import zoneinfo  # noqa: F401

    day = datetime.datetime.strptime("2026-01-02", "%Y-%m-%d").replace(tzinfo=datetime.UTC)
    connection = sqlite3.connect(":memory:")
    (three,) = connection.execute("select 1 + 2").fetchone()
    return (day.isoformat(), str(decimal.Decimal("1.10") + 1), hashlib.sha256(b"x").hexdigest()[:4], json.dumps({"a": 1}),
            three, etree.fromstring("<a><b/></a>")[0].tag)  # fmt: skip


def test_modules_imported_by_eight_workers_at_once():
    """datetime, decimal, sqlite3, hashlib, ctypes, expat: imported at the same instant, all work."""
    for _ in range(3):
        with interlace.Group() as group:
            (tell, ready), (go, gone) = interlace.channel(8), interlace.channel(8)
            workers = [group.start(import_much, tell, gone) for _ in range(8)]
            for _ in workers:
                ready.recv(timeout=DEADLINE)
            go.send_many([None] * 8)
            wanted = ("2026-01-02T00:00:00+00:00", "2.10", "2d71", '{"a": 1}', 3, "b")
            equal([worker.result(timeout=DEADLINE) for worker in workers], [wanted] * 8)


def run_asyncio(receiver):
    """Receive by an event loop's add_reader, beside a subprocess and a timer."""

    async def main():
        loop, got, done = asyncio.get_running_loop(), [], asyncio.Event()

        def readable():
            try:
                got.append(receiver.recv(timeout=0))
            except interlace.EndOfChannel:
                loop.remove_reader(receiver.fileno())
                done.set()

        loop.add_reader(receiver.fileno(), readable)
        process = await asyncio.create_subprocess_exec("echo", "hello", stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        await asyncio.sleep(0.01)
        await asyncio.wait_for(done.wait(), DEADLINE)
        return got, out, await asyncio.to_thread(pow, 2, 3)

    return asyncio.run(main())


def test_asyncio_in_a_worker():
    """Event loops run in workers, and wait for channels by their descriptors."""
    with interlace.Group() as group:
        sender, receiver = interlace.channel(3)
        workers = [group.start(run_asyncio, receiver) for _ in range(2)]
        receiver.close()
        sender.send_many(range(50), timeout=DEADLINE)
        sender.close()
        results = [worker.result(timeout=DEADLINE) for worker in workers]
    equal(sorted(n for got, _, _ in results for n in got), list(range(50)))
    equal([rest for _, *rest in results], [[b"hello\n", 8]] * 2)


def test_asyncio_waits_for_a_channel_in_a_thread():
    """asyncio.to_thread(receiver.recv) does not block the loop."""

    async def main():
        sender, receiver = interlace.channel(1)
        waiting = asyncio.create_task(asyncio.to_thread(receiver.recv, 20))
        await asyncio.sleep(0)
        sender.send("to the loop")
        return await waiting

    equal(asyncio.run(main()), "to the loop")


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


def test_signal_handlers_cannot_be_set_in_workers():
    """As in any thread but Python's main one: a ValueError, and nothing breaks."""
    with raises(ValueError, "main thread"):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_memory_of_large_messages_is_given_back():
    """Ten times 100 MB sent and received: resident memory does not keep it."""

    def rss():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    sender, receiver = interlace.channel(1)
    sender.send(bytes(100_000_000))
    receiver.recv()
    before = rss()
    for _ in range(10):
        sender.send(bytes(100_000_000))
        equal(len(receiver.recv()), 100_000_000)
    assert rss() - before < 250, f"{before:.0f} MB before, {rss():.0f} MB after"
