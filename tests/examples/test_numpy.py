"""examples/numpy: matrices that numpy inverts, in a process, between workers in interpreters."""

import signal
from importlib.util import find_spec

import readme
from support import BINARY, Skip, Started, equal, host, wait_until

INVERSE = str(readme.EXAMPLES / "numpy" / "inverse.py")


def needs_numpy():
    if find_spec("numpy") is None:
        raise Skip("this Python has no numpy")


def test_inverses():
    """Of several sizes, 1 included: the trace is that of the matrix which has been worked out by hand."""
    needs_numpy()
    for size, count in (1, 1), (2, 3), (50, 40):
        lines = host("run", INVERSE, str(size), str(count)).expect(0).out.splitlines()
        first = 2 if size > 1 else 1
        equal(
            lines,
            [
                f"{n} x min(i, j): the inverse begins with {first / n:.3f}, its trace is {(2 * size - 1) / n:.3f}"
                for n in range(1, count + 1)
            ],
        )


def test_ctrl_c():
    """In the middle of it: no process is left."""
    needs_numpy()
    with Started([BINARY, "run", INVERSE, "40", "1000000"]) as started:
        wait_until(lambda: len(started.left()) > 1, "the process")
        started.send_signal(signal.SIGINT, whole_session=True)
        started.end().expect(130, None, "")
        equal(started.left(), [])


def test_readme():
    """The output is what the README shows."""
    needs_numpy()
    readme.check("numpy")
