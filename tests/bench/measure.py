"""What the measuring programs share: arguments, loops that measure by time, and how a result is told.

A program is called as `PROGRAM SECONDS ROW...`, measures each row for about that long, and prints one JSON
object {"row", "peer", "value"} (or {"note"}) a line. This module is imported in workers, interpreters and
processes too: it imports next to nothing, and the loops take the two calls to measure, `send` and `recv`,
whoever they belong to.
"""

import sys
from time import perf_counter_ns as clock

BATCH = 16  # messages between two looks at the clock
CAPACITY = 1024  # of every bounded queue that is measured one way,
LARGE_CAPACITY = 8  # with large messages

PAYLOADS = {
    "one_way_int": 12345,
    "one_way_str100": "x" * 100,
    "one_way_dict": {"id": 12345, "name": "interlace", "value": 0.5, "done": True},
    "one_way_1kb": b"x" * 1024,
    "one_way_1mb": b"x" * (1 << 20),
}
BUFFERS = {"buffer_64b": 64, "buffer_1mb": 1 << 20, "buffer_64mb": 64 << 20}


def capacity(row):
    return LARGE_CAPACITY if row.endswith("_1mb") else CAPACITY


seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
rows = sys.argv[2:]


def tell(row, peer, value):
    """Report a value of a row that was asked for."""
    if row in rows and value is not None:
        _print({"row": row, "peer": peer, "value": value})


def note(text):
    """Report why something is not measured."""
    _print({"note": text})


def _print(told):
    import json

    print(json.dumps(told), flush=True)


def number(row):
    """Return the N at the end of a row's name: 64 for fan_in_64."""
    return int(row.rpartition("_")[2])


def percentile(samples, part):
    samples = sorted(samples)
    return samples[min(int(len(samples) * part), len(samples) - 1)]


def median(samples):
    return percentile(samples, 0.5)


def repeat(action, least=3):
    """Call action() for about `seconds`, after a warm-up of a fifth; return what it returned each time."""
    end = clock() + seconds * 2e8
    action()
    while clock() < end:
        action()
    end = clock() + seconds * 1e9
    values = []
    while len(values) < least or clock() < end:
        values.append(action())
    return values


# ---- to and fro --------------------------------------------------------------------------------------------


def echo(recv, send):
    """Send back whatever comes, None last."""
    while True:
        obj = recv()
        send(obj)
        if obj is None:
            return


def round_trips(send, recv, obj):
    """Return the microseconds of each round trip; what comes back is what goes next."""

    def bounce(duration, least):
        nonlocal obj
        samples = []
        end = clock() + duration * 1e9
        while len(samples) < least or clock() < end:
            start = clock()
            send(obj)
            obj = recv()
            samples.append((clock() - start) / 1000)
        return samples

    bounce(seconds / 5, 2)
    return bounce(seconds, 4)


def tell_round_trips(peer, send, recv):
    samples = round_trips(send, recv, 12345)
    tell("round_trip_int", peer, median(samples))
    tell("round_trip_int_p99", peer, percentile(samples, 0.99))


# ---- one way -----------------------------------------------------------------------------------------------


def pour(send, obj, duration, ends=1, last=None):
    """Send obj for so many seconds, then `last` so many times."""
    end = clock() + duration * 1e9
    while clock() < end:
        for _ in range(BATCH):
            send(obj)
    for _ in range(ends):
        send(last)


def drain(recv, ends=1, last=None):
    """Receive until `last` has come so often. Return (messages after the first, its time, the last one's)."""
    first = recv()
    start = clock()
    count = 0
    for _ in range(ends - (first == last)):
        for count, _obj in enumerate(iter(recv, last), count + 1):
            pass
    return count, start, clock()


def rate(drained):
    """Return messages a second from what several drain() returned."""
    counts, starts, ends = zip(*drained)
    return sum(counts) / (max(ends) - min(starts)) * 1e9


def drain_twice(recv, tell_result, last=None):
    """The receiving side of one_way()."""
    for _ in range(2):
        tell_result(drain(recv, last=last))


def one_way(send, obj, result, last=None):
    """Return messages a second to somebody who runs drain_twice(); the first time is the warm-up."""
    for duration in (seconds / 5, seconds):
        pour(send, obj, duration, last=last)
        drained = result()
    return rate([drained])


# ---- work --------------------------------------------------------------------------------------------------


def nothing():
    pass


def add_one(x):
    return x + 1


def busy(n):
    """Use the CPU, in bytecode."""
    total = 0
    for i in range(n):
        total += i * i % 7
    return total


def busy_size():
    """Return an n for which busy(n) takes about a sixth of `seconds`."""
    n = 20_000
    while True:
        start = clock()
        busy(n)
        took = (clock() - start) / 1e9
        if took > seconds / 20:
            return max(int(n * seconds / 6 / took), 1)
        n *= 2


def speed_up(one, two):
    """Return how much faster two(n) does two busy(n) than one(n) does: the median of pairs."""

    def pair(n):
        start = clock()
        one(n)
        middle = clock()
        two(n)
        return (middle - start) / (clock() - middle)

    n = busy_size()
    one(1)
    two(1)
    return median([pair(n) for _ in range(5)])


def tasks_a_second(do):
    """Return tasks a second of do(count), for as many tasks as it can do in the time, at most 100,000."""
    count = 500
    while True:
        start = clock()
        do(count)
        took = (clock() - start) / 1e9
        if count >= 100_000 or took > seconds / 2:
            return count / took
        count = int(min(count * max(2, min(seconds / took, 20)), 100_000))


def cores():
    import os

    return len(os.sched_getaffinity(0))


def proportional_memory(pids):
    """Return the megabytes that processes take, pages that they share counted in parts (PSS)."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total / 1024


def family(pid="self"):
    """Return a process and all its descendants."""
    import os

    found = [os.getpid() if pid == "self" else pid]
    for parent in found:
        for task in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{task}/children") as file:
                found += map(int, file.read().split())
    return found


def memory_per_worker(start, count):
    """Return the megabytes that each of `count` workers adds; start() starts one and waits for it."""
    start()  # what the first one brings with it is everybody's
    before = proportional_memory(family())
    for _ in range(count):
        start()
    return (proportional_memory(family()) - before) / count
