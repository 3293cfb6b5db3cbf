"""examples/merge: every message comes once, in order, in batches of the right size."""

import re

import readme
from support import equal, host

MERGE = str(readme.EXAMPLES / "merge" / "merge.py")
SENT = {"drum": 40, "bell": 4, "gong": 2}


def check(output):
    """Fail unless the program may print this. How messages fall into batches is up to the clock."""
    *lines, last = output.splitlines()
    equal(last, f"{sum(SENT.values())} messages")
    received = {name: [] for name in SENT}
    for line in lines:
        why, _, batch = line.partition(": ")
        messages = [re.fullmatch(r"(\w+) (\d+)", text).groups() for text in batch.split(", ")]
        for name, number in messages:
            received[name].append(int(number))
        assert len(messages) == 8 if why == "full" else why == "time" and 0 < len(messages) < 8, line
    equal(received, {name: list(range(1, number + 1)) for name, number in SENT.items()})
    return [line.partition(":")[0] for line in lines]


def test_merge():
    """Both a full batch and one whose time had come are there: the gong alone fills none."""
    kinds = check(host("run", MERGE).expect(code=0).out)
    equal(set(kinds), {"full", "time"})
    equal(kinds[-1], "time")


def test_readme():
    """What the README shows is an output that the program may have, and its command works."""
    shown = list(readme.sessions("merge"))
    equal(len(shown), 1)
    line, output = shown[0]
    check(output)
    check(readme.run("merge", line).expect(code=0).out)
