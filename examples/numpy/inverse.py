"""Matrices through three workers, the one in the middle with numpy, in a process of its own:

    interlace run inverse.py [SIZE [COUNT]]

A matrix is an interlace.Buffer: it is never copied, neither between threads nor between processes.
"""

import sys
from array import array

import interlace


def build(size, count, matrices):
    """Send the multiples of the matrix of min(i, j), for i and j from 1 to size."""
    for factor in range(1, count + 1):
        matrix = interlace.Buffer(8 * size * size)
        with memoryview(matrix).cast("d") as cells:
            for i in range(1, size + 1):
                row = array("d", [factor * min(i, j) for j in range(1, size + 1)])
                cells[(i - 1) * size : i * size] = memoryview(row)
        matrices.send((factor, matrix))  # it is the receiver's from here on


def invert(size, matrices, inverses):
    """Invert each in place."""
    import numpy  # refuses to load in an interpreter with its own GIL

    for factor, matrix in matrices:
        cells = numpy.frombuffer(matrix).reshape(size, size)  # where the other worker has written them
        cells[:] = numpy.linalg.inv(cells)
        del cells
        inverses.send((factor, matrix))


def main(size=200, count=5):
    with interlace.Group() as group:
        matrices, to_invert = interlace.channel(2)
        inverses, results = interlace.channel(2)
        group.start(build, size, count, matrices)
        group.start(invert, size, to_invert, inverses, isolation="process")
        del matrices, to_invert, inverses  # only the workers hold them now
        for factor, matrix in results:
            with memoryview(matrix).cast("d") as cells:
                trace = sum(cells[:: size + 1])
                print(f"{factor} x min(i, j): the inverse begins with {cells[0]:.3f}, its trace is {trace:.3f}")


main(*map(int, sys.argv[1:3]))
