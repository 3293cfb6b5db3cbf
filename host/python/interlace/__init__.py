"""Interlace: many Python interpreters in one process, laced together with channels.

    import interlace

    def double(numbers, doubled):              # runs in its own interpreter, on its own thread
        for n in numbers:                      # ends when the last sender of `numbers` is gone
            doubled.send(2 * n)

    with interlace.Group() as group:
        send, numbers = interlace.channel(64)
        doubled, results = interlace.channel(64)
        for _ in range(4):
            group.start(double, numbers, doubled)
        del numbers, doubled                   # only the workers hold them now
        with send:
            send.send_many(range(50))
        print(sorted(results))

channel, select and after make and choose; Group starts workers and ends with them; current_worker says who runs.
Counter, Semaphore, Barrier, Broadcast and latest are what workers share.
"""

from _interlace import (
    After,
    BrokenChannel,
    Buffer,
    Cancelled,
    Counter,
    Deadlock,
    EndOfChannel,
    Receiver,
    SealError,
    Semaphore,
    Sender,
    Truncated,
    Worker,
    after,
    channel,
    current_worker,
    latest,
    select,
)

from interlace import _buffers, _stage, _worker
from interlace._errors import RemoteError, RemoteTraceback, WorkerDied
from interlace._group import Group
from interlace._pool import prestart
from interlace._restart import Restart

__all__ = [
    "After",
    "Barrier",
    "Broadcast",
    "BrokenChannel",
    "Buffer",
    "Cancelled",
    "Connection",
    "Counter",
    "Deadlock",
    "EndOfChannel",
    "Executor",
    "Group",
    "Listener",
    "Pipeline",
    "Receiver",
    "RemoteError",
    "RemoteTraceback",
    "Restart",
    "SealError",
    "Semaphore",
    "Sender",
    "Stage",
    "Truncated",
    "Worker",
    "WorkerDied",
    "after",
    "channel",
    "current_worker",
    "latest",
    "listen",
    "open",
    "pipeline",
    "prestart",
    "select",
    "stage",
    "stats",
]

for _public in (after, channel, current_worker, latest, prestart, select, Group, Restart):
    _public.__module__ = "interlace"
for _public in (RemoteError, RemoteTraceback, WorkerDied):
    _public.__module__ = "interlace"
del _public

_worker.complete(Worker)

# What is imported when it is first wanted, since it needs modules that take time.
_LATER = {
    "Barrier": "interlace._barrier",
    "Broadcast": "interlace._broadcast",
    "Connection": "interlace._open",
    "Executor": "interlace._executor",
    "Listener": "interlace._open",
    "Pipeline": "interlace._pipeline",
    "Stage": "interlace._pipeline",
    "listen": "interlace._open",
    "open": "interlace._open",
    "pipeline": "interlace._pipeline",
    "stage": "interlace._pipeline",
    "stats": "interlace._stats",
}


def __getattr__(name):
    # input and output exist in a stage of `interlace pipe`; standard input is read only if somebody asks for it.
    if name in ("input", "output"):
        return getattr(_stage, name)()
    if name == "host":
        import importlib

        return importlib.import_module("interlace.host")
    if name in _LATER:
        import importlib

        thing = getattr(importlib.import_module(_LATER[name]), name)
        thing.__module__ = "interlace"
        return globals().setdefault(name, thing)
    raise AttributeError(f"module 'interlace' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATER})
