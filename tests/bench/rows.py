"""What is measured: the rows, in the table's order, and which programs measure which."""

import re

# name: unit. us and MB are better when lower, /s and x when higher.
UNITS = {
    "round_trip_int": "us",
    "round_trip_int_p99": "us",
    "one_way_int": "/s",
    "one_way_int_many": "/s",
    "one_way_str100": "/s",
    "one_way_dict": "/s",
    "one_way_1kb": "/s",
    "one_way_1mb": "/s",
    "buffer_64b": "us",
    "buffer_1mb": "us",
    "buffer_64mb": "us",
    "fan_in_2": "/s",
    "fan_in_8": "/s",
    "fan_in_64": "/s",
    "fan_out_2": "/s",
    "fan_out_8": "/s",
    "fan_out_64": "/s",
    "select_2": "us",
    "select_64": "us",
    "select_1024": "us",
    "start_cold": "us",
    "start_warm": "us",
    "memory_per_worker": "MB",
    "cpu_two_workers": "x",
    "tiny_tasks": "/s",
    "tiny_tasks_in_chunks": "/s",
}

# Rows that are measured together: all programs of one before any of the next.
FAMILIES = ("round_trip|buffer", "one_way", "fan", "select", "start|memory", "cpu|tiny")

# program: the rows it measures, as a regular expression from the name's start
PROGRAMS = {
    "ours_round_trip.py": "round_trip|buffer",
    "ours_one_way.py": "one_way",
    "ours_fan.py": "fan",
    "ours_select.py": "select",
    "ours_start.py": "start|memory",
    "ours_work.py": "cpu|tiny",
    "peer_interpreters.py": "round_trip|buffer|one_way_(int$|str|dict|1)|fan|select|start_cold|memory",
    "peer_multiprocessing.py": "round_trip|buffer|one_way_(int$|str|dict|1)|fan|select|start_cold|memory",
    "peer_pipe.py": "round_trip|one_way_(int$|str|dict|1)|select",
    "peer_pools.py": "start|cpu|tiny",
    "peer_pickle.py": "one_way_(int$|str|dict|1)",
    "raw.c": "round_trip|one_way_(int$|1)|buffer|select|start_cold|cpu",
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
            rows = [row for row in UNITS if row in chosen and re.match(family, row) and re.match(pattern, row)]
            if rows:
                yield program, rows
