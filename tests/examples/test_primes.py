"""examples/primes: the first primes, from as many workers."""

import signal
import time

import readme
from support import BINARY, Started, equal, host

PRIMES = str(readme.EXAMPLES / "primes" / "primes.py")


def primes(how_many):
    """The first primes, found by division."""
    found = []
    number = 2
    while len(found) < how_many:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def test_first_hundred():
    """All of them, in order, and nothing else."""
    ended = host("run", PRIMES).expect(code=0)
    equal([int(word) for word in ended.out.split()], primes(100))
    equal({len(line.split()) for line in ended.out.splitlines()}, {10})


def test_how_many():
    """As many as are asked for, also none."""
    for how_many in 0, 1, 25:
        ended = host("run", PRIMES, str(how_many)).expect(code=0)
        equal([int(word) for word in ended.out.split()], primes(how_many))


def test_ctrl_c():
    """A hundred workers that are being started, or wait for each other, all end."""
    for after in 0.1, 0.5:
        with Started([BINARY, "run", PRIMES, "2000"]) as started:
            time.sleep(after)
            started.send_signal(signal.SIGINT)
            started.end().expect(code=130, out="", err="")
            equal(started.left(), [])


def test_readme():
    """The output is what the README shows."""
    readme.check("primes")
