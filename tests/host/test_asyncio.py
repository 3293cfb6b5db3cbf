"""Ends in an asyncio event loop: tasks wait, in order, and the loop sleeps."""

import asyncio
import gc
import os
import threading

import interlace
from loops import in_loop, spin
from support import DEADLINE, Thread, asleep, equal, raises


async def collect(receiver):
    return [message async for message in receiver]


def descriptors():
    return len(os.listdir("/proc/self/fd"))


# ---- receiving and sending ---------------------------------------------------------------------------------------


@in_loop
async def test_recv_async():
    """What is there is received at once; what is not, when it comes; other tasks run meanwhile."""
    sender, receiver = interlace.channel(4)
    sender.send_many(["a", {"b": 1}])
    equal(await receiver.recv_async(), "a")
    equal(await receiver.recv_async(), {"b": 1})
    task = asyncio.create_task(receiver.recv_async())
    await spin()
    assert not task.done()
    Thread(sender.send, "from a thread").result()
    equal(await task, "from a thread")


def double(numbers, doubled):
    for n in numbers:
        doubled.send(2 * n)


@in_loop
async def test_between_workers():
    """A loop feeds and drains workers: channels full and empty, in both directions."""
    for capacity in 0, 1, 64:
        numbers, inbox = interlace.channel(capacity)
        outbox, doubled = interlace.channel(capacity)

        async def feed():
            for n in range(500):
                await numbers.send_async(n)
            numbers.close()

        with interlace.Group() as group:
            for _ in range(2):
                group.start(double, inbox, outbox)
            inbox.close()
            outbox.close()
            _, results = await asyncio.gather(feed(), collect(doubled))
        equal(sorted(results), [2 * n for n in range(500)])


@in_loop
async def test_c1_rendezvous():
    """Capacity 0: a task meets a task, a thread, and a select, in either role."""
    sender, receiver = interlace.channel(0)
    for first, second in ((receiver.recv_async(), sender.send_async(1)), (sender.send_async(1), receiver.recv_async())):
        one = asyncio.create_task(first)
        await spin()
        assert not one.done()
        equal({await second, await one}, {1, None})
    waiting = Thread(receiver.recv).asleep()
    await sender.send_async(2)
    equal(waiting.result(), 2)
    waiting = Thread(sender.send, 3).asleep()
    equal(await receiver.recv_async(), 3)
    waiting.result()
    waiting = Thread(interlace.select, receiver).asleep()
    await sender.send_async(4)
    equal(waiting.result(), (receiver, 4))
    waiting = Thread(interlace.select, (sender, 5)).asleep()
    equal(await receiver.recv_async(), 5)
    waiting.result()


@in_loop
async def test_c5_errors_of_pickling():
    """They are raised by the call, and the channel goes on as before."""
    sender, receiver = interlace.channel(1)
    with raises(Exception, "lambda"):
        await sender.send_async(lambda: None)
    sender.send(Unpickles(TimeoutError("of its own")))
    with raises(TimeoutError, "of its own"):
        await receiver.recv_async()
    await sender.send_async("next")
    equal(await receiver.recv_async(), "next")


class Unpickles:
    """Raises an exception where it is received."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return throw, (self.error,)


def throw(error):
    raise error


# ---- order and fairness ------------------------------------------------------------------------------------------


@in_loop
async def test_c2_tasks_receive_in_the_order_they_came():
    """Also when some of them are cancelled, and nobody who comes later overtakes."""
    sender, receiver = interlace.channel(64)
    got = []

    async def take(name):
        got.append((name, await receiver.recv_async()))

    tasks = [asyncio.create_task(take(n)) for n in range(20)]
    await spin()
    for n in 3, 4, 11:
        tasks[n].cancel()
    sender.send_many(range(10))
    late = asyncio.create_task(take("late"))
    sender.send_many(range(10, 18))
    await asyncio.gather(*tasks, late, return_exceptions=True)
    names = [n for n in range(20) if n not in (3, 4, 11)] + ["late"]
    equal(got, list(zip(names, range(18))))


@in_loop
async def test_c2_tasks_send_in_the_order_they_came():
    """Behind a thread that waits already, before one that comes later."""
    sender, receiver = interlace.channel(1)
    sender.send("full")
    before = Thread(sender.send, "before").asleep()
    tasks = [asyncio.create_task(sender.send_async(n)) for n in range(10)]
    await spin()
    behind = Thread(sender.send, "behind").asleep()
    tasks[4].cancel()
    await spin()
    wanted = ["full", "before", 0, 1, 2, 3, 5, 6, 7, 8, 9, "behind"]
    equal([await receiver.recv_async() for _ in wanted], wanted)
    await asyncio.gather(*tasks, return_exceptions=True)
    before.result()
    behind.result()


@in_loop
async def test_many_tasks_on_one_end():
    """A thousand wait, and all are served."""
    sender, receiver = interlace.channel(8)
    receiving = [asyncio.create_task(receiver.recv_async()) for _ in range(1000)]
    await spin()
    sending = [asyncio.create_task(sender.send_async(n)) for n in range(1000)]
    equal(await asyncio.gather(*receiving), list(range(1000)))
    await asyncio.gather(*sending)


@in_loop
async def test_others_have_their_turn():
    """A channel that always has something, or always room, does not keep the loop to itself."""
    for ready in "receiving", "sending":
        sender, receiver = interlace.channel(2000)
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        if ready == "receiving":
            sender.send_many(range(2000))
            sender.close()
            equal(await collect(receiver), list(range(2000)))
        else:
            for n in range(2000):
                await sender.send_async(n)
        assert turns >= 20, turns
        counting.cancel()


# ---- ends --------------------------------------------------------------------------------------------------------


@in_loop
async def test_c6_the_last_sender_goes():
    """Every task that waits gets EndOfChannel, after what is queued; iterating ends."""
    sender, receiver = interlace.channel(4)
    waiting = [asyncio.create_task(receiver.recv_async()) for _ in range(5)]
    iterating = asyncio.create_task(collect(receiver))
    await spin()
    sender.send_many("ab")
    sender.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    equal(results[:2], ["a", "b"])
    equal([type(error) for error in results[2:]], [interlace.EndOfChannel] * 3)
    equal(await iterating, [])
    with raises(interlace.EndOfChannel):
        await receiver.recv_async()


@in_loop
async def test_c6_the_last_receiver_goes():
    """Every task that waits to send gets BrokenChannel."""
    for capacity in 0, 1:
        sender, receiver = interlace.channel(capacity)
        if capacity:
            sender.send(None)
        waiting = [asyncio.create_task(sender.send_async(n)) for n in range(3)]
        await spin()
        receiver.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        equal([type(error) for error in results], [interlace.BrokenChannel] * 3)
        with raises(interlace.BrokenChannel, sender.name):
            await sender.send_async(1)


@in_loop
async def test_c6_this_end_is_closed():
    """By this thread or another one: ValueError, as in blocking use."""
    for close_in_thread in False, True:
        sender, receiver = interlace.channel(0)
        waiting = [asyncio.create_task(call) for call in (receiver.recv_async(), receiver.recv_async())]
        await spin()
        Thread(receiver.close).result() if close_in_thread else receiver.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        equal([type(error) for error in results], [ValueError] * 2)
        sender, receiver = interlace.channel(0)
        waiting = [asyncio.create_task(sender.send_async(n)) for n in range(2)]
        await spin()
        Thread(sender.close).result() if close_in_thread else sender.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        equal([type(error) for error in results], [ValueError] * 2)


@in_loop
async def test_c6_a_collected_end_is_closed():
    """The loop keeps no end alive, and no descriptor of one that is gone."""
    before = None
    for _ in range(20):
        sender, receiver = interlace.channel(1)
        with raises(TimeoutError):
            await asyncio.wait_for(receiver.recv_async(), 0)
        task = asyncio.create_task(receiver.recv_async())
        await spin()
        await sender.send_async(1)
        filled = asyncio.create_task(sender.send_async(2))
        filled_too = asyncio.create_task(sender.send_async(3))
        await spin()
        await task
        equal([receiver.recv(0), await filled, receiver.recv(0), await filled_too], [2, None, 3, None])
        del receiver, task
        gc.collect()
        with raises(interlace.BrokenChannel):
            sender.send(1)
        del sender, filled, filled_too
        gc.collect()
        await spin()
        before = before or descriptors()
    equal(descriptors(), before)


def test_a_loop_that_is_left():
    """Tasks that still wait when their loop is gone are collected with the ends they hold."""
    sender, receiver = interlace.channel(0)
    outbox, inbox = interlace.channel(0)

    def leave():
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending!"
        tasks = [loop.create_task(receiver.recv_async()), loop.create_task(outbox.send_async("never"))]
        loop.run_until_complete(spin())
        loop.close()
        return tasks

    tasks = leave()
    equal(len(inbox), 1)
    del receiver, outbox, tasks
    gc.collect()
    with raises(interlace.BrokenChannel):
        sender.send(1)
    with raises(interlace.EndOfChannel):
        inbox.recv()


# ---- loops -------------------------------------------------------------------------------------------------------


def test_one_loop_after_the_other():
    """An end may be used in a new loop when nothing waits in the old one; no descriptor stays."""
    sender, receiver = interlace.channel(1)

    async def once(n):
        task = asyncio.create_task(receiver.recv_async())
        await spin()
        await sender.send_async(n)
        equal(await task, n)

    asyncio.run(once(-1))
    before = descriptors()
    for n in range(20):
        asyncio.run(once(n))
    equal(descriptors(), before)
    equal(Thread(asyncio.run, once("in a thread")).result(), None)


def test_two_loops_at_once():
    """Tasks of two loops that wait on one end are refused: each is to have its own."""
    sender, receiver = interlace.channel(0)

    async def wait(call):
        return await call()

    for call in receiver.recv_async, lambda: sender.send_async("x"):
        waiting = Thread(asyncio.run, wait(call)).asleep()
        with raises(RuntimeError, "another event loop", "an end of its own"):
            asyncio.run(wait(call))
        other = Thread(sender.send, "x") if call == receiver.recv_async else Thread(receiver.recv)
        equal({waiting.result(), other.result()}, {"x", None})


def test_a_loop_without_add_reader():
    """The error says what is missing."""

    class Poor(asyncio.SelectorEventLoop):
        def add_reader(self, *args):
            raise NotImplementedError

    sender, receiver = interlace.channel(0)
    for call in receiver.recv_async, lambda: sender.send_async(1):

        async def wait():
            return await call()

        with raises(RuntimeError, "add_reader", "Poor"):
            asyncio.run(wait(), loop_factory=Poor)
    equal(len(receiver), 0)


def test_no_loop():
    """Awaited outside of one, the call says so."""
    sender, receiver = interlace.channel(1)
    for call in receiver.recv_async(), sender.send_async(1):
        with raises(RuntimeError, "no running event loop"):
            call.send(None)


def test_c3_the_loop_sleeps():
    """Whatever its ends are like, a loop in which all tasks wait makes no system calls."""

    async def receive(receiver):
        await receiver.recv_async()

    async def send(sender, obj):
        await sender.send_async(obj)

    def check(call, *others):
        """Run a coroutine, wait until its thread sleeps, do the rest."""
        thread = threading.Thread(target=asyncio.run, args=(call,))
        thread.start()
        for other in others:
            asleep(thread.native_id)
            other()
        thread.join(DEADLINE)
        assert not thread.is_alive()

    sender, receiver = interlace.channel(1)
    check(receive(receiver), lambda: sender.send(1))
    # There is room, but not for this message.
    sender, receiver = interlace.channel(10, max_bytes=100)
    sender.send(b"x" * 60)
    check(send(sender, b"x" * 60), receiver.recv)
    # A selector stands registered for a rendezvous, and nobody waits in it.
    sender, receiver = interlace.channel(0)
    other_sender, other = interlace.channel(1)
    other_sender.send("other")
    equal(interlace.select(receiver, other), (other, "other"))
    check(send(sender, "met"), lambda: equal(interlace.select(receiver, other), (receiver, "met")))
    # Messages that nobody awaits for now.
    sender, receiver = interlace.channel(8)

    async def twice():
        equal(await receiver.recv_async(), 1)
        await later.recv_async()
        equal([await receiver.recv_async() for _ in range(3)], [2, 3, 4])

    now, later = interlace.channel(1)
    check(twice(), lambda: sender.send(1), lambda: sender.send_many([2, 3, 4]), lambda: now.send(None))


def test_stats():
    """Calls that waited are counted as waits."""
    sender, receiver = interlace.channel(1)

    async def both():
        await sender.send_async(1)
        task = asyncio.create_task(sender.send_async(2))
        await spin()
        equal([await receiver.recv_async(), await receiver.recv_async()], [1, 2])
        await task

    asyncio.run(both())
    equal([sender.stats()["messages"], sender.stats()["waits"], receiver.stats()["messages"]], [2, 1, 2])


def test_coroutines():
    """The calls are coroutines, and an asynchronous iterator."""
    sender, receiver = interlace.channel(1)
    for call in sender.send_async(1), receiver.recv_async(), receiver.__anext__():
        assert asyncio.iscoroutine(call)
        call.close()
    assert receiver.__aiter__() is receiver
    equal(len(receiver), 0)  # nothing of it has begun
