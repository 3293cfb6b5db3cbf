"""What is measured: the rows, in the table's order, and which programs measure which."""

import re

# name: (unit, what it is). us and MB are better when lower, /s and x when higher.
ROWS = {
    "round_trip_int": ("us", "an int to another worker and back, the median"),
    "round_trip_int_p99": ("us", "the same, the slowest of a hundred"),
    "embed_round_trip": ("us", "100 bytes from C to a worker and back, as values; beside it, between two workers"),
    "one_way_int": ("/s", "ints from one worker to another; queues of 1,024"),
    "one_way_int_many": ("/s", "the same with send_many() and recv_many()"),
    "one_way_str100": ("/s", "str of 100 characters"),
    "one_way_dict": ("/s", "dict of 4 items"),
    "one_way_1kb": ("/s", "bytes, 1 KiB"),
    "one_way_1mb": ("/s", "bytes, 1 MiB; queues of 8"),
    "one_way_buffer_1mb": ("/s", "1 MiB that is passed on: Buffers, which come back; a shared memoryview"),
    "buffer_64b": ("us", "a filled Buffer of 64 bytes passed on to another worker"),
    "buffer_1mb": ("us", "the same, 1 MiB"),
    "buffer_64mb": ("us", "the same, 64 MiB"),
    "fan_in_2": ("/s", "ints from 2 workers to one, over one channel"),
    "fan_in_8": ("/s", "from 8"),
    "fan_in_64": ("/s", "from 64"),
    "fan_out_2": ("/s", "ints from one worker to 2, over one channel"),
    "fan_out_8": ("/s", "to 8"),
    "fan_out_64": ("/s", "to 64"),
    "select_2": ("us", "select over 2 channels of which one has a message"),
    "select_64": ("us", "over 64"),
    "select_1024": ("us", "over 1,024"),
    "asyncio_10k": ("us", "processor time of an event loop for each of 10,000 ints a second; beside it, from a socket"),
    "asyncio_full": ("us", "the same, as fast as they come"),
    "start_cold": ("us", "from starting a worker to the first message it sends"),
    "start_warm": ("us", "the same with a warm one; of pools: a task of a worker that is there"),
    "memory_per_worker": ("MB", "what a worker that waits adds, shared pages counted in parts"),
    "cpu_two_workers": ("x", "two tasks of bytecode, by two workers against one"),
    "tiny_tasks": ("/s", "map of add_one over 100,000 ints by an executor, a worker per core, chunksize 1"),
    "tiny_tasks_in_chunks": ("/s", "the same, chunksize 100"),
}
UNITS = {name: unit for name, (unit, _) in ROWS.items()}

# Rows that are measured together: all programs of one before any of the next.
FAMILIES = ("round_trip|embed|buffer", "one_way", "fan", "select", "asyncio", "start|memory", "cpu|tiny")

# program: the rows it measures, as a regular expression from the name's start
PROGRAMS = {
    "ours_round_trip.py": "round_trip|embed|buffer",
    "ours_embed.c": "embed",
    "ours_one_way.py": "one_way",
    "ours_fan.py": "fan",
    "ours_select.py": "select",
    "ours_asyncio.py": "asyncio",
    "ours_start.py": "start|memory",
    "ours_work.py": "cpu|tiny",
    "peer_interpreters.py": "round_trip|buffer|fan|select|start_cold|memory|one_way_(?!int_many)",
    "peer_multiprocessing.py": "round_trip|buffer|fan|select|start_cold|memory|one_way_(?!int_many)",
    "peer_pipe.py": "round_trip|one_way_(int$|str|dict|1)|select",
    "peer_pools.py": "start|cpu|tiny",
    "peer_pickle.py": "one_way_(int$|str|dict|1)",
    "raw_round_trip.c": "round_trip|buffer_64b",
    "raw_one_way.c": "one_way_(int$|1)|buffer",
    "raw_rest.c": "select|start_cold|cpu",
    "peer.go": "round_trip|one_way_(int$|str|dict)|buffer|fan|select|start_cold|cpu|tiny_tasks$",
}


# Peers that no Python program could use in our place.
LIMITS = re.compile(r"raw |memcpy|go$|pickle\.dumps alone")


def is_limit(peer):
    """Whether a peer is there for scale: nothing that a Python program could use in our place."""
    return LIMITS.match(peer) is not None


def is_better_when_lower(unit):
    return unit in ("us", "MB")


def ratio(unit, ours, theirs):
    """Return how many times better ours is."""
    if is_better_when_lower(unit):
        ours, theirs = theirs, ours
    return ours / theirs if theirs else float("inf")


def plan(chosen):
    """Yield (program, rows to measure) in the order of one repetition."""
    for family in FAMILIES:
        for program, pattern in PROGRAMS.items():
            both = re.compile(f"(?={family})(?={pattern})")
            rows = [row for row in UNITS if row in chosen and both.match(row)]
            if rows:
                yield program, rows
