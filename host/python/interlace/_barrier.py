"""Barrier: workers that wait for each other."""

from threading import BrokenBarrierError

from _interlace import Counter, EndOfChannel

_GAVE_UP = "one of its parties gave up, by a timeout, a cancel or abort(), and the barrier stays broken: make a new one"
_BROKEN = 1 << 62  # what breaking a barrier adds to its counter, so that it still says how many had arrived


class Barrier:
    """A place where workers wait until all parties have arrived, again and again. It travels: as an argument of
    Group.start and in messages, and all that come of it are one barrier.

    parties (int, 1 to 1048576) is how many have to arrive. When one gives up - its timeout passes, or it is cancelled
    in there - the barrier is broken, for good: those who wait, and all who come later, get threading.BrokenBarrierError.

        def work(barrier):
            barrier.wait()                 # nobody goes on before all three are here

        with interlace.Group() as group:
            barrier = interlace.Barrier(3)
            for _ in range(3):
                group.start(work, barrier)
    """

    __slots__ = ("__weakref__", "_arrived", "_parties")

    def __init__(self, parties):
        if not isinstance(parties, int):
            raise TypeError(f"parties must be an int, not {type(parties).__name__}")
        if not 1 <= parties <= 1 << 20:
            raise ValueError(f"parties must be from 1 to {1 << 20}, not {parties}")
        self._parties = parties
        self._arrived = Counter()  # how many have, since the beginning; _BROKEN more when it is broken

    def __reduce__(self):
        return _join, (self._parties, self._arrived)

    def __repr__(self):
        state = "broken" if self.broken else f"{self.n_waiting} waiting"
        return f"<interlace.Barrier of {self._parties}, {state}>"

    @property
    def parties(self):
        """How many have to arrive (int)."""
        return self._parties

    @property
    def broken(self):
        """Whether somebody gave up (bool)."""
        return self._arrived.value >= _BROKEN

    @property
    def n_waiting(self):
        """How many have arrived and wait for the others now (int); 0 when it is broken."""
        arrived = self._arrived.value
        return 0 if arrived >= _BROKEN else arrived % self._parties

    def arrive(self):
        """Arrive without waiting: return a Receiver that gets one message when all parties have arrived.

        The message is an int from 0 to parties - 1, a different one for each. The Receiver is a case for select(); when
        the barrier is broken, it ends with no message. Who no longer wants to wait calls abort().

        Raises BrokenBarrierError.

            passed = barrier.arrive()
            case, index = interlace.select(passed, stop)
        """
        try:
            return self._arrive()[1]
        except BrokenBarrierError:
            raise
        except BaseException:
            self.abort()  # one of the parties may have been counted, and will not be there
            raise

    def _arrive(self):
        arrived = self._arrived.add()
        if arrived >= _BROKEN:
            raise BrokenBarrierError(_GAVE_UP)
        target = arrived + -arrived % self._parties
        return target, self._arrived._reached(target, _BROKEN, (arrived - 1) % self._parties)

    def wait(self, timeout=None):
        """Arrive and wait until all parties have; return an int from 0 to parties - 1, a different one for each.

        timeout is in seconds (float or int), None waits for ever. Raises BrokenBarrierError: somebody gave up, this
        call by its timeout included. Raises Cancelled, which breaks the barrier.

            if barrier.wait(timeout=10.0) == 0:
                print("one of us says it")
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be None or a number of seconds from 0 on, not {timeout!r}")
        target = None
        try:
            target, passed = self._arrive()
            return passed.recv(timeout)
        except BrokenBarrierError:
            raise
        except EndOfChannel:
            self._break(target)  # unless it is broken, memory has run out
            raise BrokenBarrierError(_GAVE_UP) from None
        except TimeoutError:
            if self._break(target):
                raise BrokenBarrierError("the timeout passed before all parties had arrived") from None
            return passed.recv()  # all arrived just now
        except BaseException:
            self._break(target)
            raise

    def abort(self):
        """Break the barrier: those who wait get BrokenBarrierError.

        It stays broken: make a new one.

            barrier.abort()
        """
        self._break(None)

    def _break(self, target):
        # Not when all have arrived that were waited for: the others wait for somebody else by now. Returns whether the
        # barrier is broken for that one.
        counter = self._arrived
        while True:
            arrived = counter.value
            if arrived >= _BROKEN:
                return target is None or arrived - _BROKEN < target
            if target is not None and arrived >= target:
                return False
            if counter.compare_exchange(arrived, arrived + _BROKEN):
                return True


def _join(parties, arrived):
    barrier = object.__new__(Barrier)
    barrier._parties, barrier._arrived = parties, arrived
    return barrier
