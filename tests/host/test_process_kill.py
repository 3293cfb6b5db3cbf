"""I2: kill -9 of any process of a pipeline at any moment, many times over.

INTERLACE_ROUNDS says how many, INTERLACE_SEED which.
"""

import contextlib
import os
import random
import signal
import time

import interlace
from support import DEADLINE, equal, raises

ROUNDS = int(os.environ.get("INTERLACE_ROUNDS", 30))
SEED = int(os.environ.get("INTERLACE_SEED", 0)) or random.SystemRandom().getrandbits(32)
LARGE = 100_000  # bytes: such a message is a block
MOST = 16 << 20  # bytes of memory that may stand behind the region when all is over: what is free is kept for a while


def produce(sender, pids, large):
    pids.send(os.getpid())
    filling = b"x" * LARGE if large else None
    n = 0
    with contextlib.suppress(interlace.BrokenChannel):
        while True:
            sender.send((n, filling))
            n += 1


def forward(receiver, sender, pids, turn):
    """In one of the ways in which a message can be received and sent."""
    pids.send(os.getpid())
    with contextlib.suppress(interlace.BrokenChannel, interlace.EndOfChannel):
        while True:
            if turn == 0:
                sender.send(receiver.recv())
            elif turn == 1:
                _, message = interlace.select(receiver, interlace.after(DEADLINE))
                interlace.select((sender, message), interlace.after(DEADLINE))
            else:
                sender.send_many(receiver.recv_many(3))


def usage():
    """Bytes of shared memory behind the host's region; and what else a round may not leave behind."""
    used = 0
    fds = os.listdir("/proc/self/fd")
    for name in fds:
        with contextlib.suppress(OSError):
            if "memfd:interlace" in os.readlink(f"/proc/self/fd/{name}"):
                used += os.stat(f"/proc/self/fd/{name}").st_blocks * 512
    with open("/proc/self/task/%d/children" % os.getpid()) as file:
        children = file.read().split()
    return used, (len(fds), len(os.listdir("/proc/self/task")), children, os.listdir("/dev/shm"))


def one_round(dice):
    """Start a pipeline, kill one of its processes. Return the seconds from the kill to the end."""
    pids, started = interlace.channel(3)
    first, first_out = interlace.channel(dice.randrange(4))
    second, second_out = interlace.channel(dice.randrange(4))
    third, results = interlace.channel(dice.randrange(4))
    got = []
    with raises(ExceptionGroup) as caught:
        with interlace.Group(isolation="process") as group:
            workers = [
                group.start(produce, first, pids, dice.random() < 0.3),
                group.start(forward, first_out, second, pids, dice.randrange(3)),
                group.start(forward, second_out, third, pids, dice.randrange(3)),
            ]
            for end in (pids, first, first_out, second, second_out, third):
                end.close()
            victim = [started.recv(DEADLINE) for _ in range(3)][dice.randrange(3)]
            for _ in range(dice.choice((0, 1, 10, 100))):
                got.append(results.recv(DEADLINE)[0])
            time.sleep(dice.random() * 0.005)  # it is killed at a random moment: that is the test
            os.kill(victim, signal.SIGKILL)
            start = time.monotonic()
            with contextlib.suppress(interlace.Cancelled):
                for n, _ in results:
                    got.append(n)
    seconds = time.monotonic() - start
    got += [n for n, _ in results]
    equal(got, list(range(len(got))))  # none is missing, none came twice
    (error,) = caught.error.exceptions
    equal((type(error), error.signal), (interlace.WorkerDied, signal.SIGKILL))
    equal(all(worker.done() for worker in workers), True)
    results.close()
    return seconds


def test_kill_9_at_random_moments():
    """Nobody hangs, no message is lost or doubled, no memory, descriptor, thread or process is left."""
    dice = random.Random(SEED)
    print(f"INTERLACE_SEED={SEED}", flush=True)
    longest = 0
    for n in range(ROUNDS):
        longest = max(longest, one_round(dice))
        if n == 9:  # what is made once has been made
            before = usage()
    after = usage()
    equal(after[1], before[1])
    assert after[0] <= MOST, (before, after)
    limit = 2 if os.getloadavg()[0] < 2 * os.cpu_count() else DEADLINE
    assert longest < limit, longest
