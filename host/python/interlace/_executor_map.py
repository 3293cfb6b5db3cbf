"""Executor.map: many calls of one function, handed in as they are read and yielded in their order."""

import collections
import itertools
import time
from concurrent.futures import CancelledError

import _queue

from _interlace import Flat

from interlace._executor_calls import CANCELLED, ITEMS, RESULT, ROWS, message, read

LOST = -2  # in place of a kind: the call was sent, but nothing comes of it

FIRST, MOST = 16, 256  # messages that are made before they are handed in


class Run:
    """The calls of one map(): a target of the pool's."""

    interrupts = False

    def __init__(self, pool, function, rows):
        self._pool = pool
        self._function = pool.names.of_many(function)
        self._kind = ROWS if rows else ITEMS
        self._over = False
        self._numbers = collections.deque()  # of calls sent whose results have not been taken, in order
        self._arrived = []
        self._queue = _queue.SimpleQueue()
        self._outcomes = {}  # number: (kind, value)
        self._error = None  # of calls that will never be sent
        self._left = 0  # calls handed in whose results have not been taken

    def hand_in(self, chunks):
        """Hand in a call for each chunk of arguments of a list."""
        entries = [(message(self._kind, (self._function, chunk)), self) for chunk in chunks]
        self._pool.add(entries)
        self._left += len(entries)

    # ---- as a target ----------------------------------------------------------------------------------------------

    def begin(self, number):
        if not self._over:
            self._numbers.append(number)
        return not self._over

    def arrived(self, outcome):
        self._arrived.append(outcome)
        return True

    def flush(self):
        self._queue.put(self._arrived)
        self._arrived = []

    def lost(self, error, number=None):
        self._queue.put([(number, LOST, error)])

    def numbers(self):
        return list(self._numbers)

    # ---- as a result ----------------------------------------------------------------------------------------------

    def close(self):
        """What has not been begun is not to be begun."""
        self._over = True
        if self._left:
            self._pool.withdraw(self)

    def _wait(self, deadline):
        timeout = None if deadline is None else max(0, deadline - time.monotonic())
        try:
            arrived = self._queue.get(timeout=timeout)
        except _queue.Empty:
            raise TimeoutError from None
        for number, kind, value in arrived:
            if number is None:
                self._error = value
            else:
                self._outcomes[number] = kind, value

    def next_outcome(self, deadline):
        """Wait for the next call's outcome: (kind, value)."""
        numbers, outcomes = self._numbers, self._outcomes
        while not numbers or numbers[0] not in outcomes:
            if not numbers and self._error is not None:
                raise self._error
            self._wait(deadline)
        self._left -= 1
        return outcomes.pop(numbers.popleft())

    def results(self, deadline, more=None, executor=None):
        """Generate lists of the results. `more` gives a further chunk for each whose outcome is waited for, to `executor`."""
        try:
            while self._left:
                if more is not None and (chunk := list(itertools.islice(more, 1))):
                    self.hand_in(chunk)
                kind, value = self.next_outcome(deadline)
                if kind == RESULT:
                    yield value
                else:
                    yield from _others(kind, value)
        finally:
            self.close()


def _others(kind, value):
    if kind == LOST:
        raise value
    state, value = read(kind, value)
    if state == CANCELLED:
        raise CancelledError
    error = None
    if state != RESULT:
        value, error = value
    try:
        if value:
            yield value
        if error is not None:
            raise error
    finally:
        error = None  # or it and this frame keep each other


def start(executor, pool, function, iterables, timeout, chunksize, buffersize):
    """What Executor.map() does, its arguments checked."""
    deadline = None if timeout is None else timeout + time.monotonic()
    rows = len(iterables) != 1
    run = Run(pool, function, rows)
    chunks = itertools.batched(zip(*iterables) if rows else iterables[0], chunksize)
    if buffersize is not None:
        first = list(itertools.islice(chunks, buffersize))
        if first:
            run.hand_in(first)
        return Flat(run.results(deadline, chunks, executor))
    size = FIRST
    while group := list(itertools.islice(chunks, size)):
        run.hand_in(group)
        size = MOST
    return Flat(run.results(deadline))
