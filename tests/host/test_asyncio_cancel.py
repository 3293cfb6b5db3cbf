"""Cancelling in an asyncio event loop: of tasks, without losing a message, and of workers that run a loop."""

import asyncio
import contextlib
import random
import threading
import time

import interlace
from loops import in_loop, spin
from support import DEADLINE, Thread, asleep, equal, raises, start


# ---- cancelling --------------------------------------------------------------------------------------------------


@in_loop
async def test_c4_timeouts():
    """asyncio's own bound a call; nothing has been taken or sent then."""
    sender, receiver = interlace.channel(1)
    with raises(TimeoutError):
        await asyncio.wait_for(receiver.recv_async(), 0.01)
    sender.send(1)
    with raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await sender.send_async(2)
    equal(receiver.recv(0), 1)
    with raises(TimeoutError):
        receiver.recv(0)


@in_loop
async def test_a_woken_task_that_is_cancelled_has_taken_nothing():
    """The message stays in the channel: for the next task, or whoever it is."""
    for others in 0, 1:
        sender, receiver = interlace.channel(1)
        task = asyncio.create_task(receiver.recv_async())
        rest = [asyncio.create_task(receiver.recv_async()) for _ in range(others)]
        await spin()
        sender.send("kept")
        receiver._loop.wake()  # as the loop does, before it is the task's turn
        task.cancel()
        with raises(asyncio.CancelledError):
            await task
        equal(await rest[0] if others else receiver.recv(0), "kept")


@in_loop
async def test_a_sent_message_is_not_cancelled():
    """Where it was sent, send_async returns, and the next await is cancelled."""
    sender, receiver = interlace.channel(0)
    steps = []

    async def send_twice():
        for n in range(2):
            await sender.send_async(n)
            steps.append(n)

    task = asyncio.create_task(send_twice())
    await spin()
    equal(receiver.recv(0), 0)
    task.cancel("enough")
    with raises(asyncio.CancelledError, "enough"):
        await task
    equal((steps, task.cancelled()), ([0], True))
    with raises(TimeoutError):
        receiver.recv(0)
    task = asyncio.create_task(sender.send_async("alone"))
    await spin()
    equal(receiver.recv(0), "alone")
    task.cancel()
    equal(await task, None)


@in_loop
async def test_a_sent_message_and_a_timeout():
    """A deadline that passes at that very moment is over: wait_for returns."""
    sender, receiver = interlace.channel(0)

    async def send():
        await asyncio.wait_for(sender.send_async("x"), 0.02)
        await asyncio.sleep(0)  # not cancelled
        return "sent"

    task = asyncio.create_task(send())
    await spin()
    asyncio.get_running_loop().call_later(0.02, receiver.recv, 0)
    time.sleep(0.05)  # both timers are due in one turn of the loop
    try:
        equal(await task, "sent")
    except TimeoutError:
        equal(len(receiver), 0)  # the deadline was first, so it was withdrawn: see the callback's complaint


def pour(sender, first, count):
    for n in range(first, first + count):
        sender.send(n)


@in_loop
async def test_cancelled_receives_lose_nothing():
    """Random cancels and timeouts of many tasks, while others receive and workers send: each message comes once."""
    rng = random.Random(interlace.current_worker().id)
    for capacity in 0, 2, 100:
        sender, receiver = interlace.channel(capacity)
        got, count = [], 1500

        async def take(kind):
            with contextlib.suppress(interlace.EndOfChannel):
                while True:
                    try:
                        if kind == "timeout":
                            got.append(await asyncio.wait_for(receiver.recv_async(), rng.random() * 0.002))
                        elif kind == "cancel":
                            task = asyncio.create_task(receiver.recv_async())
                            await asyncio.wait([task], timeout=rng.random() * 0.001)
                            task.cancel()
                            got.append(await task)
                        else:
                            got.append(await receiver.recv_async())
                            await asyncio.sleep(rng.random() * 0.001)
                    except TimeoutError, asyncio.CancelledError:
                        pass

        with interlace.Group() as group:
            for n in range(2):
                group.start(pour, sender, n * count, count)
            sender.close()
            taken = Thread(list, receiver) if capacity == 2 else None
            async with asyncio.TaskGroup() as tasks:
                for kind in ["timeout", "cancel", "plain"] * 3:
                    tasks.create_task(take(kind))
        if taken:
            got += taken.result()
        equal(sorted(got), list(range(2 * count)))


@in_loop
async def test_cancelled_sends_double_nothing():
    """What send_async says it sent is received once; what was cancelled never."""
    rng = random.Random(interlace.current_worker().id)
    for capacity in 0, 2:
        sender, receiver = interlace.channel(capacity)
        sent, numbers = [], iter(range(2500))

        async def give():
            for n in numbers:
                task = asyncio.create_task(sender.send_async(n))
                if rng.random() < 0.5:
                    await asyncio.wait([task], timeout=rng.random() * 0.0005)
                    task.cancel()
                try:
                    await task
                    sent.append(n)
                except asyncio.CancelledError:
                    pass

        receiving = Thread(list, receiver)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(give())
        sender.close()
        equal(sorted(receiving.result()), sorted(sent))
        assert sent


# ---- cancelled workers -------------------------------------------------------------------------------------------


def wait_in_loop(how, ready, done):
    """Wait for ever in a coroutine; tell which finally blocks have run."""

    async def wait():
        sender, receiver = interlace.channel(0)
        if how == "recv":
            await receiver.recv_async()
        elif how == "send":
            await sender.send_async(1)
        elif how == "sleep":
            await asyncio.sleep(1000)
        elif how == "busy":
            while True:
                pass
        elif how == "busy task":
            task = asyncio.create_task(busy())
            await asyncio.sleep(1000)
            await task
        elif how == "gather":
            await asyncio.gather(asyncio.sleep(1000), receiver.recv_async(), return_exceptions=True)

    async def busy():
        while True:
            pass

    async def main():
        other = asyncio.create_task(in_the_background())
        try:
            await asyncio.sleep(0)
            assert not other.done()
            ready.send(threading.get_native_id())
            await wait()
        finally:
            done.send("main")

    async def in_the_background():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            done.send("background")

    asyncio.run(main())


def test_w3_a_loop_is_cancelled_at_once():
    """Cancelling ends a loop that waits or computes; its tasks are cancelled, their finally blocks run."""
    for how in "recv", "send", "sleep", "busy", "busy task", "gather":
        ready, started = interlace.channel(1)
        done, told = interlace.channel(8)
        with interlace.Group() as group:
            worker = group.start(wait_in_loop, how, ready, done)
            done.close()
            thread = started.recv(timeout=DEADLINE)
            if "busy" not in how:
                asleep(thread)
            begun = time.monotonic()
            worker.cancel()
            error = worker.exception(timeout=DEADLINE)
            took = time.monotonic() - begun
        equal((how, type(error)), (how, interlace.Cancelled))
        equal((how, sorted(told)), (how, ["background", "main"]))
        assert took < 3, f"{how}: {took}"


def sleep_in_a_loop(ready):
    ready.send(threading.get_native_id())
    asyncio.run(asyncio.sleep(1000))


def test_a_call_of_an_executor():
    """Cancelling a call ends the loop it runs, and its worker takes the next one."""
    tell, ready = interlace.channel(1)
    with interlace.Executor(1) as executor:
        for _ in range(3):
            future = executor.submit(sleep_in_a_loop, tell)
            asleep(ready.recv(timeout=DEADLINE))
            future.cancel()
            equal(executor.submit(pow, 2, 3).result(timeout=DEADLINE), 8)


def fall_asleep(started):
    """Wait until all threads of a command sleep, those that end just now apart."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return asleep(*started.threads(), pid=started.pid)
        assert started.process.poll() is None, started.err


def test_w4_ctrl_c():
    """A script that waits in a loop, in its main thread or a worker, ends with 130 and without a word."""
    for text in (
        "async def main():\n    ends = interlace.channel(0)\n    print('ready', flush=True)\n    await ends[1].recv_async()\n",
        "async def main():\n    print('ready', flush=True)\n    await asyncio.sleep(1000)\n",
    ):
        for last in (
            "asyncio.run(main())\n",
            "def work():\n    asyncio.run(main())\nwith interlace.Group() as group:\n    group.start(work)\n",
        ):
            with start(f"import asyncio, interlace\n{text}{last}") as started:
                started.printed("ready")
                fall_asleep(started)
                started.send_signal(2)
                ended = started.end(limit=4).expect(code=130, out="ready\n")
                assert ended.seconds < 4


def fail(ready):
    ready.recv()
    raise ValueError("on purpose")


@in_loop
async def test_w2_a_group_in_a_coroutine():
    """When a worker fails, what the block awaits is cancelled, and that alone."""
    sender, receiver = interlace.channel(0)  # held here: the channel neither ends nor breaks
    outside = asyncio.create_task(receiver.recv_async())

    async def block(call):
        go, ready = interlace.channel(1)
        with interlace.Group() as group:
            group.start(fail, ready)
            inner = asyncio.create_task(call())
            await spin()
            go.send(None)
            try:
                await inner
            finally:
                equal(type(inner.exception()), interlace.Cancelled)

    full, _full = interlace.channel(1)
    full.send(None)
    other_sender, other = interlace.channel(0)
    for call in other.recv_async, lambda: full.send_async(1):
        with raises(ExceptionGroup, "1 of 1 worker failed"):
            await block(call)
    equal(len(full), 1)
    await sender.send_async("still there")
    equal(await outside, "still there")
    # After the block its scope is nobody's any more.
    task = asyncio.create_task(other.recv_async())
    await spin()
    await other_sender.send_async("after")
    equal(await task, "after")
