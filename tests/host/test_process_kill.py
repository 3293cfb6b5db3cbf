"""I2: kill -9 of any process of a pipeline at any moment, many times over.

INTERLACE_ROUNDS says how many rounds, INTERLACE_SEED which, INTERLACE_FIRST_ROUND where to begin: round N of a seed plays
the same dice each time. (The kernel's part in it is not to be had again.)
"""

import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path

import interlace
from support import DEADLINE, equal, give_up, soon, wait_until

ROUNDS = int(os.environ.get("INTERLACE_ROUNDS", 30))
FIRST = int(os.environ.get("INTERLACE_FIRST_ROUND", 0))
SEED = int(os.environ.get("INTERLACE_SEED", 0)) or random.SystemRandom().getrandbits(32)
LARGE = 100_000  # bytes: such a message is a block
MOST = 16 << 20  # bytes of memory that may stand behind the region when all is over: what is free is kept for a while
GROWN = 8 << 20  # bytes that the host may have grown by
MESSAGES = 200  # of a round that ends by itself
WARM = 20  # after so many rounds, what is made once has been made


# ---- the workers -------------------------------------------------------------------------------------------------


def filling(n, large):
    return bytes([n % 251]) * (LARGE if large else 10)


def produce(sender, large, count):
    with contextlib.suppress(interlace.BrokenChannel):
        for n in range(count):
            sender.send((n, "", filling(n, large)))


def forward(receiver, sender, who, way):
    """In one of the ways in which a message can be received and sent."""
    with contextlib.suppress(interlace.BrokenChannel, interlace.EndOfChannel):
        while True:
            if way == 0:
                messages = [receiver.recv()]
            elif way == 1:
                messages = [interlace.select(receiver)[1]]
            else:
                messages = receiver.recv_many(3)
            messages = [(n, path + who, data) for n, path, data in messages]
            if way == 0:
                sender.send(messages[0])
            elif way == 1:
                interlace.select((sender, messages[0]))
            else:
                sender.send_many(messages)


IN_HAND = (1, 1, 3)  # so many messages may be lost with it


# ---- what has come -----------------------------------------------------------------------------------------------


class Arrived:
    """What comes out of a pipeline: each message whole, none twice, in order."""

    def __init__(self, large):
        self.large = large
        self.numbers = []
        self.last = {}  # by the way that they came

    def add(self, message):
        n, path, data = message
        equal(data, filling(n, self.large))
        assert n > self.last.get(path, -1), (n, path, self.last)
        self.last[path] = n
        self.numbers.append(n)


def children():
    """The processes that this one has started, and that have not been waited for."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(map(int, (task / "children").read_text().split()))
    return found


def started(victim):
    """A pidfd of the worker's process; None when it has ended already."""

    def find():
        for pid in children():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"victim\0"):
                    return os.pidfd_open(pid)
        return victim.done()

    found = wait_until(find, "the process to start")
    return None if found is True else found


def usage():
    """Bytes of shared memory behind the host's region, bytes of the host itself; and what else a round may not leave."""
    used = 0
    fds = os.listdir("/proc/self/fd")
    for name in fds:
        with contextlib.suppress(OSError):
            if "memfd:interlace" in os.readlink(f"/proc/self/fd/{name}"):
                used += os.stat(f"/proc/self/fd/{name}").st_blocks * 512
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    names = [name for name in os.listdir("/dev/shm") if "interlace" in name] + os.listdir(os.environ["TMPDIR"])
    return used, resident, (len(fds), len(os.listdir("/proc/self/task")), len(children()), names)


# ---- a round -----------------------------------------------------------------------------------------------------


class Round:
    """A pipeline of three workers: two forwarders in a row, or side by side; and which of them is to die, and when."""

    def __init__(self, number):
        dice = random.Random(f"{SEED} {number}")
        self.row = dice.random() < 0.5
        self.large = dice.random() < 0.3
        self.capacities = [dice.randrange(4) for _ in range(3)]
        self.ways = [dice.randrange(3) for _ in range(2)]
        self.isolations = [dice.choice(("process", "interpreter")) for _ in range(3)]
        self.victim = dice.randrange(3)
        self.isolations[self.victim] = "process"
        self.early = dice.random() < 0.2  # while it starts
        self.until = dice.choice((0, 1, 10, 100, MESSAGES - 5, dice.randrange(MESSAGES)))  # messages that come before
        self.pause = dice.random() * (0.1 if self.early else 0.005)  # seconds
        self.arrived = Arrived(self.large)
        self.seconds = 0.0

    def __repr__(self):
        return f"Round({ {name: thing for name, thing in vars(self).items() if name != 'arrived'} })"

    def jobs(self):
        """The arguments of each worker, and the host's end."""
        first, first_out = interlace.channel(self.capacities[0])
        last, results = interlace.channel(self.capacities[2])
        middle, middle_out = interlace.channel(self.capacities[1]) if self.row else (last, first_out)
        jobs = [
            (produce, first, self.large, 1_000_000 if self.row else MESSAGES),
            (forward, first_out, middle, "a", self.ways[0]),
            (forward, middle_out, last, "b", self.ways[1]),
        ]
        return jobs, {first, first_out, middle, middle_out, last}, results

    def kill(self, victim, results):
        """At a random moment: that is the test."""
        process = started(victim)
        if not self.early:
            with contextlib.suppress(interlace.EndOfChannel):
                while len(self.arrived.numbers) < self.until:
                    self.arrived.add(results.recv(DEADLINE))
        time.sleep(self.pause)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has done all, and ended
                signal.pidfd_send_signal(process, signal.SIGKILL)
            os.close(process)
        self.seconds = time.monotonic()

    def play(self):
        """The victim has a group of its own, so that the others are not cancelled but go on."""
        jobs, ends, results = self.jobs()
        errors = ()
        with interlace.Group() as others:
            for n, job in enumerate(jobs):
                if n != self.victim:
                    others.start(*job, isolation=self.isolations[n])
            try:
                with interlace.Group(isolation="process") as group:
                    victim = group.start(*jobs[self.victim], name="victim")
                    for end in ends:
                        end.close()
                    self.kill(victim, results)
            except ExceptionGroup as caught:
                errors = caught.exceptions
            for message in results:
                self.arrived.add(message)
        results.close()
        self.seconds = time.monotonic() - self.seconds
        equal(victim.done(), True)
        equal([(type(error), error.signal) for error in errors], [(interlace.WorkerDied, signal.SIGKILL)] * len(errors))
        self.check(died=bool(errors))

    def check(self, died):
        """None came twice: `add` looks after that. Lost are only those that the dead had in hand."""
        numbers = sorted(self.arrived.numbers)
        equal(len(set(numbers)), len(numbers))
        if self.row or self.victim == 0:
            equal(numbers, list(range(len(numbers))))
        else:
            missing = MESSAGES - len(numbers)
            assert missing <= (IN_HAND[self.ways[self.victim - 1]] if died else 0), (missing, died)
        assert died or not self.row, "it was not killed"


@contextlib.contextmanager
def inherited(name, value):
    """The variable is set for this process and those that it starts."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def test_kill_9_at_random_moments():
    """Nobody hangs, no message is lost or doubled, no memory, descriptor, thread, process or name is left."""
    print(f"INTERLACE_SEED={SEED}", flush=True)
    with tempfile.TemporaryDirectory(prefix="interlace-test-") as folder, inherited("TMPDIR", folder):
        play_all()


def is_no_more(now, before):
    return now[0] <= before[0] and now[1] <= before[1] and now[2:] == before[2:]


def play_all():
    longest = 0
    before = usage()
    for number in range(FIRST, FIRST + ROUNDS):
        played = Round(number)
        again = f"INTERLACE_SEED={SEED} INTERLACE_FIRST_ROUND={number}: {played!r}"
        watchdog = threading.Timer(2 * DEADLINE, give_up, ["test_kill_9_at_random_moments", again])
        watchdog.start()
        try:
            played.play()
        except BaseException as error:
            error.add_note(again)
            raise
        finally:
            watchdog.cancel()
            watchdog.join()
        longest = max(longest, played.seconds)
        if number - FIRST == WARM:
            before = usage()
        if number % 500 == 499:
            print(f"# {number + 1} rounds, {longest:.3f} s from a kill to the end at most: {usage()}", flush=True)
    # The last threads may be about to end; so may some have been when it was looked before.
    wait_until(lambda: is_no_more(usage()[2], before[2]), lambda: f"{usage()} to be no more than {before}")
    after = usage()
    assert after[0] <= MOST and after[1] <= before[1] + GROWN, (before, after)
    limit = soon(2)
    assert longest < limit, longest
