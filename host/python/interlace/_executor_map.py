"""Executor.map: many calls of one function, handed in as they are read and yielded in their order."""

import collections
import itertools
import operator
import threading
import time
from concurrent.futures import CancelledError

from _interlace import Flat

from interlace._executor_calls import CANCELLED, ITEMS, RESULT, ROWS, many_messages, read

LOST = -2  # in place of a kind: the call was sent, but nothing comes of it

# Only what does not itself wait for its next item may have items wait to be handed in: so many chunks, fewer at first.
_READY = {list, tuple, range, str, bytes, dict, set, frozenset, itertools.repeat}
FIRST, MOST = 8, 64

_first = operator.itemgetter(0)


class Run:
    """The calls of one map(): a target of the pool's."""

    interrupts = False

    def __init__(self, pool, function, rows):
        self._pool = pool
        self._function = pool.names.of_many(function)
        self._kind = ROWS if rows else ITEMS
        self._over = False
        self._numbers = collections.deque()  # of calls sent whose results have not been taken, in order
        self._came = collections.deque()  # lists of outcomes, which are (number, kind, value)
        self._more = threading.Condition()  # more has come: deadlock.c knows that wait, as it does a Future's
        self._left = 0  # calls handed in whose results have not been taken

    def hand_in(self, chunks):
        """Hand in a call for each chunk of arguments of a list."""
        self._pool.add(self, many_messages(self._kind, self._function, chunks))
        self._left += len(chunks)

    # ---- as a target ----------------------------------------------------------------------------------------------

    def begin(self, numbers):
        if not self._over:
            self._numbers.extend(numbers)
        return not self._over

    def arrived(self, outcomes):
        self._came.append(outcomes)
        with self._more:
            self._more.notify()

    def lost(self, error, number=None):
        self.arrived([(number, LOST, error)])

    def numbers(self):
        return list(self._numbers)

    # ---- as a result ----------------------------------------------------------------------------------------------

    def close(self):
        """What has not been begun is not to be begun."""
        self._over = True
        if self._left:
            self._pool.withdraw(self)

    def _wait(self, deadline):
        """Wait for outcomes of some calls: a list."""
        if not self._came:
            timeout = None if deadline is None else deadline - time.monotonic()
            with self._more:
                if not self._more.wait_for(self._came.__len__, timeout):
                    raise TimeoutError
        return self._came.popleft()

    def results(self, deadline, more=None, executor=None):
        """Generate lists of the results. `more` gives a further chunk for each whose outcome is waited for, to `executor`."""
        numbers, outcomes = self._numbers, {}
        try:
            while self._left:
                if more is not None and (chunk := list(itertools.islice(more, 1))):
                    self.hand_in(chunk)
                while not numbers or numbers[0] not in outcomes:
                    if not numbers and None in outcomes:
                        raise outcomes[None][2]
                    arrived = self._wait(deadline)
                    outcomes.update(zip(map(_first, arrived), arrived))
                    arrived = None
                _, kind, value = outcomes.pop(numbers.popleft())
                self._left -= 1
                if kind == RESULT:
                    yield value
                else:
                    yield from _others(kind, value)
                value = None
        finally:
            self.close()


def _others(kind, value):
    error = None
    if kind == LOST:
        value, error = None, value
    else:
        state, value = read(kind, value)
        if state == CANCELLED:
            raise CancelledError
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
    ready = {type(iterable) for iterable in iterables} <= _READY
    size = FIRST if ready else 1
    while group := list(itertools.islice(chunks, size)):
        run.hand_in(group)
        size = MOST if ready else 1
    return Flat(run.results(deadline))
