"""Channels with redeliver=True: what a worker has received and not confirmed goes to another one when it fails."""

import asyncio
import os
import random
import signal
import time

import interlace
from support import DEADLINE, Thread, equal, host, raises, run

ISOLATIONS = ("interpreter", "process")


def channel(*messages, capacity=8):
    """A channel that redelivers, with these messages in it."""
    sender, receiver = interlace.channel(capacity, redeliver=True)
    sender.send_many(messages)
    return sender, receiver


def wait_for_ever():
    sender, receiver = interlace.channel(1)
    with sender:
        receiver.recv(timeout=DEADLINE)


def end(how):
    """In one of the ways in which a worker ends."""
    if how == "fails":
        raise LookupError("no")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exits":
        raise SystemExit(3)
    if how == "leaves":
        raise SystemExit
    if how == "cancelled":
        wait_for_ever()


def worker(receiver, told, asks, how):
    if asks == "recv":
        got = [receiver.recv()]
    elif asks == "twice":
        got = [receiver.recv(), receiver.recv()]
    elif asks == "many":
        got = receiver.recv_many(2)
    elif asks == "iterates":
        got = [next(receiver)]
    elif asks == "selects":
        got = [interlace.select(receiver)[1]]
    elif asks == "selects a timer":
        got = [interlace.select(receiver, interlace.after(DEADLINE))[1]]
    elif asks == "awaits":
        got = [asyncio.run(receiver.recv_async())]
    elif asks == "confirms":
        got = [receiver.recv()]
        receiver.confirm()
    elif asks == "closes":
        got = [receiver.recv()]
        receiver.close()
    told.send((got, receiver.redelivered))
    end(how)


def start(receiver, asks, how, isolation):
    """Have a worker receive and end."""
    told, telling = interlace.channel(1)
    try:
        with interlace.Group(isolation=isolation) as group:
            started = group.start(worker, receiver, told, asks, how)
            got = telling.recv(DEADLINE)
            if how == "cancelled":
                started.cancel()
    except BaseExceptionGroup as error:
        kind = {"fails": LookupError, "killed": interlace.WorkerDied, "exits": SystemExit}[how]
        assert isinstance(error.exceptions[0], kind), error
    return got


def left(sender, receiver):
    """What is there still, and of it, what had been received before."""
    sender.close()
    found = [(message, receiver.redelivered) for message in receiver]
    receiver.close()
    return [message for message, _ in found], [message for message, again in found if again]


def test_what_a_failed_worker_had_comes_back():
    """Whether it raises, exits with an error, is cancelled or killed: first in the line, marked as redelivered."""
    for isolation in ISOLATIONS:
        for how in ("fails", "exits", "cancelled") + ("killed",) * (isolation == "process"):
            sender, receiver = channel("a", "b", "c")
            equal(start(receiver, "recv", how, isolation), (["a"], False))
            equal(len(receiver), 3)
            equal(left(sender, receiver), (["a", "b", "c"], ["a"]))


def test_what_is_let_go_of_while_all_is_well_is_confirmed():
    """Returning, sys.exit() without an error."""
    for isolation in ISOLATIONS:
        for how in ("returns", "leaves"):
            sender, receiver = channel("a", "b")
            equal(start(receiver, "recv", how, isolation), (["a"], False))
            equal(left(sender, receiver), (["b"], []))


def test_asking_confirms_what_came_before():
    """By whichever call; recv_many's messages come back together, in order."""
    for isolation in ISOLATIONS:
        for asks, comes_back in (
            ("twice", ["b"]),
            ("many", ["a", "b"]),
            ("iterates", ["a"]),
            ("selects", ["a"]),
            ("selects a timer", ["a"]),
            ("awaits", ["a"]),
            ("confirms", []),
            ("closes", []),
        ):
            sender, receiver = channel("a", "b", "c")
            got, _ = start(receiver, asks, "fails", isolation)
            equal(left(sender, receiver), (comes_back + [m for m in "abc" if m not in got], comes_back))


def another(receiver):
    """Another end of the same channel."""
    carrier, carried = interlace.channel(1)
    carrier.send(receiver)
    return carried.recv()


def test_a_with_block():
    """Left well, it confirms; left by an exception, it hands back."""
    sender, receiver = channel("a", "b")
    with another(receiver) as mine:
        equal((mine.recv(), mine.redelivered), ("a", False))
    for again in (False, True, True):
        with raises(KeyError), another(receiver) as mine:
            equal((mine.recv(), mine.redelivered), ("b", again))
            raise KeyError
        assert mine.closed
    equal(left(sender, receiver), (["b"], ["b"]))


def test_collecting_confirms():
    sender, receiver = channel("a", "b")
    mine = another(receiver)
    equal(mine.recv(), "a")
    del mine
    equal(left(sender, receiver), (["b"], []))


def test_the_end_waits_for_what_is_not_confirmed():
    """Who waits gets what comes back, or EndOfChannel as soon as all is confirmed; a sole receiver never waits for itself."""
    for confirms in (True, False):
        sender, receiver = channel("a")
        mine = another(receiver)
        equal(mine.recv(), "a")
        sender.close()
        with raises(TimeoutError):
            receiver.recv(timeout=0)
        waiting = Thread(list, receiver).asleep()
        if confirms:
            mine.confirm()
        else:
            with raises(KeyError), mine:
                raise KeyError
        equal(waiting.result(), [] if confirms else ["a"])
        with raises(interlace.EndOfChannel):
            receiver.recv()


def test_it_closes_its_case_of_a_select():
    sender, receiver = channel("a")
    mine = another(receiver)
    equal(interlace.select(mine)[1], "a")
    sender.close()
    equal(interlace.select(receiver, interlace.after(0.01))[1], None)
    mine.confirm()
    with raises(interlace.EndOfChannel):
        interlace.select(receiver)


def edit_and_fail(receiver):
    buffer, reply = receiver.recv()
    buffer[:4] = b"mine"
    reply.send("begun")
    raise LookupError


def test_blocks_and_ends_travel_again():
    """Each receiver has ends of its own; a Buffer is the same memory, with what was written there meanwhile."""
    for isolation in ISOLATIONS:
        reply, replies = interlace.channel(4)
        buffer = interlace.Buffer(1 << 20)
        memoryview(buffer)[:4] = b"ours"
        sender, receiver = interlace.channel(4, redeliver=True)
        sender.send((memoryview(buffer), reply))
        with raises(ExceptionGroup), interlace.Group(isolation=isolation) as group:
            group.start(edit_and_fail, receiver)
        equal(replies.recv(DEADLINE), "begun")
        view, again = receiver.recv()
        equal((bytes(view[:4]), len(view)), (b"mine", 1 << 20))
        again.send("done")
        equal(replies.recv(), "done")
        again.close()
        reply.close()
        with raises(TimeoutError):
            replies.recv(timeout=0)  # the channel keeps a sender until this is confirmed
        receiver.confirm()
        with raises(interlace.EndOfChannel):
            replies.recv()


def test_tasks_that_wait_on_one_end():
    """A message that one task is given stays unconfirmed while the others only wait."""

    async def two(receiver, sender):
        first = asyncio.create_task(receiver.recv_async())
        second = asyncio.create_task(receiver.recv_async())
        await asyncio.sleep(0)
        sender.send_many("ab")
        return await first, await second

    sender, receiver = interlace.channel(4, redeliver=True)
    with raises(KeyError), another(receiver) as mine:
        equal(asyncio.run(two(mine, sender)), ("a", "b"))
        raise KeyError
    equal(left(sender, receiver), (["a", "b"], ["a", "b"]))


def test_what_it_does_not_go_with():
    with raises(ValueError, "needs a capacity of 1 or more"):
        interlace.channel(0, redeliver=True)
    sender, receiver = interlace.channel(1)
    sender.send("a")
    receiver.recv()
    receiver.confirm()  # nothing to do
    equal(receiver.redelivered, False)
    receiver.close()
    with raises(ValueError):
        receiver.confirm()


def test_nothing_is_ended_by_a_deadlock_that_is_none():
    """Who waits for what another worker has not confirmed waits for that worker; when that one waits in turn, it is told."""
    script = """
        import interlace

        def holder(jobs, got, answers):
            jobs.recv()
            got.send(1)
            answers.recv({timeout})

        def waiter(jobs):
            for job in jobs:
                pass

        def main():
            with interlace.Group() as group:
                sender, jobs = interlace.channel(4, redeliver=True, name="jobs")
                got, gotten = interlace.channel(1)
                answer, answers = interlace.channel(1, name="answers")
                sender.send("job")
                group.start(holder, jobs, got, answers)
                gotten.recv()
                group.start(waiter, jobs)
                sender.close()
                jobs.close()
                got.close()
                answers.close()
                group.start(keep, answer)
                del answer

        def keep(answer):
            {keeps}

        main()
    """
    ended = run(script.format(timeout="", keeps="import time; time.sleep(1); answer.send(1)"))
    equal((ended.code, ended.err), (0, ""))
    ended = run(script.format(timeout="", keeps="sender, receiver = interlace.channel(1); receiver.recv(); answer.send(1)"))
    said = "; its senders are gone, and a message is not confirmed; its receivers are held by 'holder-1' and 'waiter-1'"
    assert "Deadlock" in ended.err and said in ended.err, ended.describe()


def test_dump_tells_what_is_not_confirmed():
    """Of a process that has two messages in hand, and one that came back."""
    sender, receiver = interlace.channel(8, name="in hand", redeliver=True)
    sender.send_many("abcd")
    with raises(KeyError), another(receiver) as mine:
        mine.recv()
        raise KeyError
    equal(receiver.recv_many(2), ["a", "b"])
    equal(len(receiver), 2)
    dumped = host("dump", str(os.getpid()))
    lines = [line for line in dumped.out.splitlines() if line.startswith("channel 'in hand'")]
    assert [": 2 of 8 wait; 1 sender, 1 receiver, 2 not confirmed" in line for line in lines] == [True], dumped.describe()
    receiver.confirm()
    assert "not confirmed" not in host("dump", str(os.getpid())).out


def task(jobs, done, pids):
    pids.send(os.getpid())
    for job in jobs:
        done.send(job)


def keeper(jobs, done, pids):
    """Have a process do tasks, whatever becomes of it."""
    try:
        with interlace.Group(isolation="process") as group:
            group.start(task, jobs, done, pids)
            for each in (jobs, done, pids):
                each.close()
    except* interlace.WorkerDied:
        pass


TASKS = 200


def one_pool(dice):
    """A pool of four, one of which is killed. Return the seconds from the kill to the end."""
    sender, jobs = interlace.channel(8, redeliver=True)
    done, results = interlace.channel(16)
    pids, started = interlace.channel(4)
    with interlace.Group() as group:
        for _ in range(4):
            group.start(keeper, jobs, done, pids)
        for each in (jobs, done, pids):
            each.close()
        victim = [started.recv(DEADLINE) for _ in range(4)][dice.randrange(4)]
        feeding = Thread(feed, sender)
        got = [results.recv(DEADLINE) for _ in range(dice.randrange(TASKS // 2))]
        time.sleep(dice.random() * 0.002)  # it is killed at a random moment: that is the test
        os.kill(victim, signal.SIGKILL)
        begun = time.monotonic()
        got += results
    feeding.result()
    equal(sorted(set(got)), list(range(TASKS)))
    assert len(got) <= TASKS + 1, got
    return time.monotonic() - begun


def feed(sender):
    with sender:
        sender.send_many(iter(range(TASKS)))


def test_a_pool_of_processes_one_of_which_is_killed():
    """Every task is done, one at most twice, and nobody hangs."""
    seed = int(os.environ.get("INTERLACE_SEED", 0)) or random.SystemRandom().getrandbits(32)
    dice = random.Random(seed)
    for _ in range(int(os.environ.get("INTERLACE_ROUNDS", 4))):
        seconds = one_pool(dice)
        assert seconds < DEADLINE, f"it took {seconds:.1f} s; INTERLACE_SEED={seed}"
