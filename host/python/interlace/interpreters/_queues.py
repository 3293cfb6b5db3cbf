"""Queue: what interpreters pass objects through, known to each by the same number."""

import weakref
from concurrent.interpreters import QueueEmpty, QueueFull
from concurrent.interpreters._queues import (
    UNBOUND,
    UNBOUND_ERROR,
    UNBOUND_REMOVE,
    ItemInterpreterDestroyed,
    QueueError,
    QueueNotFoundError,
)
from threading import RLock
from time import monotonic
from types import FunctionType

import _interlace

from interlace import _stateless

_KEEP = 0  # an item stays what it is
_OPS = {None: _KEEP, UNBOUND_REMOVE: 1, UNBOUND_ERROR: 2, UNBOUND: 3}
_ITEMS = {op: items for items, op in _OPS.items()}
_NOTHING = object()


def create(maxsize=0, *, unbounditems=None):
    """Make a queue that any interpreter may use.

    maxsize (int, up to 1048576) is how many items may wait in it: put() waits for room then. 0 and below mean that
    put() never waits; what waits lies in the memory that channels share, whose limit is half of the machine's, and a
    put() beyond it raises MemoryError. Room for maxsize items, 256 bytes each, is taken at once.

    unbounditems says what get() does with an item whose interpreter has ended since. None: it gives the item, as it
    was put. With UNBOUND it gives UNBOUND in its place, with UNBOUND_ERROR it raises ItemInterpreterDestroyed, with
    UNBOUND_REMOVE it goes on to the next item. (These are in interlace.interpreters.)

    Raises TypeError, ValueError, NotImplementedError for any other unbounditems, MemoryError.

        queue = interpreters.create_queue()
        queue.put("hello")
        print(queue.get())                 # hello
    """
    binding = _interlace._make_queue(maxsize, _op_of(unbounditems))
    return _known_or_new(binding.id, binding)


def list_all():
    """Return all queues of the process, as a list of Queue in the order they were made."""
    found = []
    for id in _interlace._queues():
        try:
            found.append(Queue(id))
        except QueueNotFoundError:  # it has gone since
            pass
    return found


def _op_of(items):
    try:
        return _OPS[items]
    except (KeyError, TypeError):
        raise NotImplementedError(
            f"unbounditems must be None, UNBOUND, UNBOUND_ERROR or UNBOUND_REMOVE, not {items!r}"
        ) from None


_known = weakref.WeakValueDictionary()  # id: the one Queue of that number in this interpreter
_known_lock = RLock()  # the collector may run in there, and with it anything


def _known_or_new(id, binding):
    queue = object.__new__(Queue)
    queue._binding = binding
    with _known_lock:
        return _known.setdefault(id, queue)


class Queue:
    """A queue that any interpreter may use: its items are copies, pickled by put() and rebuilt by get().

    There is one object for each number in each interpreter. It travels: as an argument, in prepare_main(), in another
    queue, in a channel's message. The queue and what is in it live until the last Queue of that number is gone; one
    that holds itself, until the process ends.

    Queue(id) finds a queue by its number (int). Raises QueueNotFoundError.

        queue = interpreters.create_queue(10)
        print(interpreters.Queue(queue.id) is queue)   # True
    """

    __slots__ = ("__weakref__", "_binding")

    def __new__(cls, id, /):
        if not isinstance(id, int):
            raise TypeError(f"id must be an int, got {id!r}")
        if id < 0:
            raise ValueError(f"a queue's id must be a non-negative int, got {id!r}")
        queue = _known.get(id)
        if queue is not None:
            return queue
        binding = _interlace._find_queue(id)
        if binding is None:
            raise QueueNotFoundError(f"queue {id} not found")
        return _known_or_new(int(id), binding)

    def __repr__(self):
        return f"{type(self).__name__}({self.id})"

    def __hash__(self):
        return hash(self.id)

    def __reduce__(self):
        if _interlace._encoding():  # it cannot go while it is on its way
            return _arrive, (self.id, self._binding.flight())
        return type(self), (self.id,)

    @property
    def id(self):
        """The queue's number (int), the same in all interpreters."""
        return self._binding.id

    @property
    def maxsize(self):
        """How many items may wait in it (int), as given to create_queue(); 0 and below mean any number."""
        return self._binding.maxsize

    @property
    def unbounditems(self):
        """What becomes of items whose interpreter has ended: see create_queue()."""
        return _ITEMS[self._binding.unbound]

    def qsize(self):
        """Return how many items wait in the queue (int). It may have changed by the time you look.

            print(queue.qsize())               # 0

        It is exact while nobody else uses the queue.
        """
        return len(self._binding)

    def empty(self):
        """Return whether no item waits in the queue (bool).

            print(queue.empty())               # True

        It may have changed by the time you look.
        """
        return len(self._binding) == 0

    def full(self):
        """Return whether put() would wait for room now (bool).

            print(queue.full())                # False

        It may have changed by the time you look.
        """
        return 0 < self._binding.maxsize <= len(self._binding)

    def put(self, obj, block=True, timeout=None, *, unbounditems=None):
        """Put an object into the queue, waiting for room.

        Any object that pickles will do, and what travels through channels: ends, Buffers, memoryviews, other queues.
        With block false it does not wait; timeout is in seconds (float or int), None waits for ever. unbounditems:
        see create_queue(), whose value it replaces for this object.

        Raises QueueFull (the object was not put), NotShareableError for an object that does not pickle, Cancelled.

            queue.put(("any", ["object"]), timeout=0.5)
        """
        if not block:
            timeout = 0
        elif timeout is not None and not timeout >= 0:
            raise ValueError("timeout value must be non-negative")
        binding = self._binding
        op = binding.unbound if unbounditems is None else _op_of(unbounditems)
        if type(obj) is FunctionType:
            obj = _stateless.pack(obj)
        if op != _KEEP:
            obj = _Bound(op, _interlace._id(), obj)
        try:
            done = binding.put(obj, timeout)
        except MemoryError:
            raise
        except Exception as error:
            raise _stateless.refused(f"the object cannot be put into a queue: {error}", error) from error
        if not done:
            raise QueueFull(f"queue {self.id} is full")

    def put_nowait(self, obj, *, unbounditems=None):
        """Put an object into the queue if there is room: put(obj, block=False).

            queue.put_nowait("item")

        Raises what put() raises.
        """
        self.put(obj, False, unbounditems=unbounditems)

    def get(self, block=True, timeout=None):
        """Take the next object out of the queue, waiting for one.

        With block false it does not wait; timeout is in seconds (float or int), None waits for ever.

        Raises QueueEmpty, Cancelled, whatever unpickling the object raises, and ItemInterpreterDestroyed for an object
        that was put with unbounditems=UNBOUND_ERROR by an interpreter that has ended.

            queue.put("item")
            print(queue.get(timeout=0.5))      # item
        """
        if not block:
            timeout = 0
        elif timeout is not None and not timeout >= 0:
            raise ValueError("timeout value must be non-negative")
        start = monotonic() if timeout else 0.0
        obj = self._binding.get(timeout, _NOTHING)
        while type(obj) is _Bound and obj.is_unbound():
            if obj.op == _OPS[UNBOUND]:
                return UNBOUND
            if obj.op == _OPS[UNBOUND_ERROR]:
                raise ItemInterpreterDestroyed("the interpreter that put this item has ended")
            obj = self._binding.get(max(0.0, timeout - (monotonic() - start)) if timeout else timeout, _NOTHING)
        if obj is _NOTHING:
            raise QueueEmpty(f"queue {self.id} is empty")
        return obj.obj if type(obj) is _Bound else obj

    def get_nowait(self):
        """Take the next object out of the queue if there is one: get(block=False).

            queue.put("item")
            print(queue.get_nowait())          # item

        Raises what get() raises.
        """
        return self.get(False)


def _arrive(id, flight):
    with flight:
        return Queue(id)


class _Bound:
    """An item that is to become something else when its interpreter ends."""

    def __init__(self, op, worker, obj):
        self.op, self.worker, self.obj = op, worker, obj

    def __reduce__(self):
        return _Bound, (self.op, self.worker, self.obj)

    def is_unbound(self):
        from interlace.interpreters import _interpreter

        return not _interpreter.exists(self.worker - 1)
