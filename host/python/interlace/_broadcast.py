"""Broadcast: a channel of which every receiver gets every message."""

import time

from _interlace import BrokenChannel, Semaphore, _overwriting, channel

_POLICIES = ("block", "drop_oldest", "disconnect")


class Broadcast:
    """Sends each message to all its receivers: each has a queue of its own, of the same bound.

    capacity (int, 0 to 1048576; from 1 on for "drop_oldest") is how many messages may wait for each receiver. slow (str)
    is what happens when a receiver's queue is full: "block" has send() wait for it, "drop_oldest" throws its oldest
    message away, "disconnect" ends its channel: it gets what waits for it, and then EndOfChannel. name (str or None) is
    what error messages call it.

    The receivers are Receivers like any other: they travel, iterate, and are cases of select(). The Broadcast itself
    stays with the worker that made it; its threads may share it. Raises TypeError, ValueError.

        news = interlace.Broadcast(8)
        first, second = news.subscribe(), news.subscribe()
        news.send("hello")
        print(first.recv(), second.recv())     # hello hello
        news.close()
    """

    def __init__(self, capacity, *, slow="block", name=None):
        if slow not in _POLICIES:
            raise ValueError(f"slow must be one of {', '.join(_POLICIES)}, not {slow!r}")
        self._make = _overwriting if slow == "drop_oldest" else channel
        self._make(capacity, name=name)  # raises what is wrong with them
        self._capacity, self._slow, self._name = capacity, slow, name
        self._turn = Semaphore(1)  # guards what follows; held while a message is delivered
        self._senders = []
        self._missing = []  # those who have not got _message yet: a timeout or a cancel came first
        self._message = None
        self._closed = False

    def __repr__(self):
        state = "closed" if self._closed else f"{len(self._senders)} receivers"
        return f"<interlace.Broadcast {self._name or ''!r}, {state}>"

    def __reduce__(self):
        raise TypeError("a Broadcast stays with the worker that made it: send the others what subscribe() returns")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def subscribe(self):
        """Return a new Receiver, which gets every message that is sent from now on. Raises ValueError when closed.

            news = interlace.Broadcast(8)
            receiver = news.subscribe()
            news.send(1)
            print(receiver.recv())             # 1
        """
        sender, receiver = self._make(self._capacity, name=self._name)
        with self._turn:
            self._open()
            self._senders.append(sender)
        return receiver

    def send(self, obj, timeout=None):
        """Send an object to every receiver, and return how many got it (int). Receivers that are gone do not count.

        With slow="block", waits while the queue of some receiver is full. timeout is in seconds (None: for ever, 0: only
        try). After a TimeoutError, or Cancelled, those whose queues had room have the message, and the others get it
        before the next one: the message is sent, and only once. Raises ValueError when closed, and whatever pickling
        raises: then nobody gets it.

            news = interlace.Broadcast(1)
            receiver = news.subscribe()
            print(news.send("first"))          # 1
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._turn.acquire(timeout)
        try:
            self._open()
            self._deliver(deadline)
            self._message, self._missing = obj, list(self._senders)
            self._deliver(deadline)
            return len(self._senders)
        finally:
            self._turn.release()

    def close(self):
        """Close every receiver's channel: they get what waits for them, and then EndOfChannel. May be repeated.

        Another thread's send() that waits for a slow receiver raises ValueError.

            news = interlace.Broadcast(1)
            receiver = news.subscribe()
            news.close()
            print(list(receiver))              # []
        """
        self._closed = True
        for sender in list(self._senders):  # without the turn: a send() that waits has it
            sender.close()
        with self._turn:
            for sender in self._senders:
                sender.close()
            self._senders.clear()
            self._missing.clear()
            self._message = None

    @property
    def receivers(self):
        """How many receivers there are (int); those that have gone are noticed by the next send()."""
        return len(self._senders)

    @property
    def closed(self):
        """Whether close() has been called (bool)."""
        return self._closed

    def _open(self):
        if self._closed:
            raise ValueError(f"the Broadcast {self._name or ''!r} is closed")

    def _deliver(self, deadline):
        """Send the message to those who miss it: first to all that have room."""
        for sender in list(self._missing):
            if not self._pass(sender, 0) and self._slow == "disconnect":
                sender.close()
                self._leave(sender)
        while self._missing:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._pass(self._missing[0], left):
                raise TimeoutError(
                    f"send on broadcast {self._name or ''!r}: {len(self._missing)} of {len(self._senders)} receivers did "
                    "not make room before the timeout; they get the message before the next one"
                )
        self._message = None

    def _pass(self, sender, timeout):
        try:
            sender.send(self._message, timeout)
        except TimeoutError:
            return False
        except BrokenChannel:
            self._leave(sender)
            return True
        except Exception:  # it does not pickle: nobody has it
            self._missing.clear()
            self._open()  # or another thread has closed all this
            raise
        self._missing.remove(sender)
        return True

    def _leave(self, sender):
        self._missing.remove(sender)
        self._senders.remove(sender)
