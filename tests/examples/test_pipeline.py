"""examples/pipeline: the records, in order, from workers that compute them in any order."""

import signal
import time

import readme
from support import BINARY, Started, equal, host

CYCLES = str(readme.EXAMPLES / "pipeline" / "cycles.py")


def cycle(n):
    """The length of the cycle of 1/n: the order of 10, among the rests that n leaves without its twos and fives."""
    for factor in 2, 5:
        while n % factor == 0:
            n //= factor
    return next(length for length in range(1, n) if 10**length % n == 1) if n > 1 else 0


def records(limit):
    """The lines that the program has to print."""
    longest = n = 0
    while longest <= limit:
        n += 1
        if cycle(n) > longest:
            longest = cycle(n)
            yield f"1/{n}: {longest}"


def test_records():
    """All of them and no more."""
    for limit in 0, 40, 300:
        equal(host("run", CYCLES, str(limit)).expect(code=0).out.splitlines(), list(records(limit)))


def test_ctrl_c():
    """A pipeline without an end ends."""
    for after in 0.1, 0.5:
        with Started([BINARY, "run", CYCLES, str(10**9)]) as started:
            time.sleep(after)
            started.send_signal(signal.SIGINT)
            started.end().expect(code=130, out=None, err="")
            equal(started.left(), [])


def test_readme():
    """The output is what the README shows."""
    readme.check("pipeline")
