"""Measure a numpy array of 64 MiB sent from one process to another: interlace run tests/bench/numpy_64mb.py

Each row is the time until the answer, a number in the array, is back: the median and the least of some rounds.
"""

import statistics
import time

import interlace

SIZE = 64 << 20  # bytes


def answer(arrays, answers):
    for array in arrays:
        answers.send(float(array.reshape(-1)[-1]))


def give_back(buffers, back):
    import numpy

    for buffer in buffers:
        numpy.frombuffer(buffer)[-1] += 1  # it is this worker's now
        back.send(buffer)


def measure(row, rounds, once):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        once()
        times.append((time.perf_counter() - start) * 1e6)
    print(f"{row}: {statistics.median(times):,.1f} µs, at least {min(times):,.1f} µs")


def ask(sender, answers, lent, back):
    import numpy

    buffer = interlace.Buffer(SIZE)
    numpy.frombuffer(buffer)[:] = 7.0
    buffer.freeze()
    array = numpy.frombuffer(buffer).reshape(1024, -1)
    copied = array.copy()
    moving = interlace.Buffer(SIZE)

    def send(sent):
        sender.send(sent)
        assert answers.recv() == 7.0

    def move():
        nonlocal moving
        lent.send(moving)
        moving = back.recv()

    measure("an array on a frozen Buffer, which is shared", 1000, lambda: send(array))
    measure("a Buffer, which moves there and back", 1000, move)
    measure("an array of its own, which is copied", 20, lambda: send(copied))


with interlace.Group(isolation="process") as group:
    sender, arrays = interlace.channel(1)
    answered, answers = interlace.channel(1)
    lent, buffers = interlace.channel(1)
    given, back = interlace.channel(1)
    group.start(answer, arrays, answered)
    group.start(give_back, buffers, given)
    group.start(ask, sender, answers, lent, back)
    for end in (sender, arrays, answered, answers, lent, buffers, given, back):
        end.close()
