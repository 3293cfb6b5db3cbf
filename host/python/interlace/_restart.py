"""Restart: how often a worker that fails is started anew, and how long to wait before it is."""

_MOST_ATTEMPTS = 10_000  # as in restart.h, like the next
_LONGEST_BACKOFF = 60.0


class Restart:
    """How often a worker that fails is started anew: an argument of Group.start() and Group().

        def unlucky(turns):
            if turns.recv() < 3:
                raise OSError("not yet")
            return "at last"

        with interlace.Group() as group:
            sender, turns = interlace.channel(3)
            sender.send_many([1, 2, 3])
            worker = group.start(unlucky, turns, restart=interlace.Restart(attempts=5, backoff=0.01))
            print(worker.result(), worker.restarts)    # at last 2

    A worker fails by an exception that it does not catch, by sys.exit() with a status that is not 0, and, in a process of
    its own, by dying. As long as fewer than attempts (int, 0 to 10000) restarts lie within the last within (seconds,
    float, may be math.inf), its group does not hear of it: its traceback is printed on stderr, and a line that says
    when it is started anew: backoff (seconds, float, 0 to 60) later, and twice as long later for each restart that
    lies within that time already, up to 60 s. When none is left, it fails with its last exception, which has a note.
    Cancelling ends it at any time, also while it waits to be started.

    It is the same Worker, with the same name and id, and has the same target and arguments each time, as they were in
    the beginning: Buffers and arrays in them are copied, unless frozen. result(), exception() and select() wait for what
    comes of it in the end. It is not started anew when it returns, is cancelled or in a Deadlock; nor when its target or
    arguments cannot be imported or unpickled, or it cannot be started, since that would be the same again.

    The channel ends in its arguments stay open meanwhile: its failure ends no channel and breaks none. An end that it
    closes itself is closed for good, and the next attempt has one whose other side is gone; unless it closes it while
    an exception is on its way, as `with sender:` and `finally:` do. One that it drops, and does not close, stays open
    as long as the worker. Messages that it had received when it failed are lost, unless their channel redelivers.

    Raises TypeError and ValueError. A Restart does not change; two with the same values are equal.
    """

    __slots__ = ("_attempts", "_backoff", "_within")
    __match_args__ = ("attempts", "within", "backoff")

    def __init__(self, attempts=3, within=60.0, backoff=0.1):
        if not isinstance(attempts, int) or isinstance(attempts, bool):
            raise TypeError(f"attempts must be an int, not {type(attempts).__name__}")
        if not 0 <= attempts <= _MOST_ATTEMPTS:
            raise ValueError(f"attempts must be from 0 to {_MOST_ATTEMPTS}, not {attempts}")
        within = _seconds("within", within)
        if not within > 0:
            raise ValueError(f"within must be more than 0 seconds, not {within:g}")
        backoff = _seconds("backoff", backoff)
        if not 0 <= backoff <= _LONGEST_BACKOFF:
            raise ValueError(f"backoff must be from 0 to {_LONGEST_BACKOFF:g} seconds, not {backoff:g}")
        for name, value in (("_attempts", attempts), ("_within", within), ("_backoff", backoff)):
            object.__setattr__(self, name, value)

    @property
    def attempts(self):
        """How many restarts may lie within that time (int)."""
        return self._attempts

    @property
    def within(self):
        """The time in which restarts count (float, seconds)."""
        return self._within

    @property
    def backoff(self):
        """How long to wait before the first (float, seconds)."""
        return self._backoff

    def _values(self):
        return self.attempts, self.within, self.backoff

    def __setattr__(self, name, value):
        raise AttributeError("a Restart does not change: make a new one")

    def __delattr__(self, name):
        raise AttributeError("a Restart does not change: make a new one")

    def __eq__(self, other):
        return self._values() == other._values() if type(other) is Restart else NotImplemented

    def __hash__(self):
        return hash(self._values())

    def __repr__(self):
        return f"Restart(attempts={self.attempts!r}, within={self.within!r}, backoff={self.backoff!r})"

    def __reduce__(self):
        return Restart, self._values()


def _seconds(name, value):
    if isinstance(value, bool) or not hasattr(type(value), "__float__") and not hasattr(type(value), "__index__"):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    return float(value)


def check(restart):
    """Return it, if it may be an argument."""
    if restart is not None and not isinstance(restart, Restart):
        raise TypeError(f"restart must be an interlace.Restart or None, not {type(restart).__name__}")
    return restart


def policy(restart):
    """Return what _interlace._spawn takes."""
    return restart._values() if restart is not None and restart.attempts > 0 else None
