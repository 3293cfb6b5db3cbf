"""The standard library in workers: subprocesses, asyncio, signals, modules that race when they are imported."""

import asyncio
import os
import signal
import subprocess

import interlace
from support import DEADLINE, equal, raises


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
    return (day.isoformat(), str(decimal.Decimal("1.10") + 1), hashlib.sha256(b"x").hexdigest()[:4],
            json.dumps({"a": 1}), three, etree.fromstring("<a><b/></a>")[0].tag)  # fmt: skip


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
