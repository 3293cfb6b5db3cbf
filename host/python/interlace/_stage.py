"""interlace.input and interlace.output of a stage of `interlace pipe`."""

import sys

import _interlace
from _interlace import BrokenChannel

from interlace import _bootstrap

_ends = None
_lines = None


def _get():
    global _ends
    if _ends is None:
        _ends = _interlace._stage()
    return _ends or (None, None)


def input():
    receiver = _get()[0]
    if receiver is None:
        raise AttributeError("interlace.input exists only in a stage of `interlace pipe`, and where a C program gives it")
    _interlace._want_stdin()
    return receiver


def output():
    sender = _get()[1]
    if sender is not None:
        return sender
    if _get()[0] is None:
        raise AttributeError("interlace.output exists only in a stage of `interlace pipe`, and where a C program gives it")
    global _lines
    if _lines is None:
        _lines = Lines()
    return _lines


def is_output(channel_name):
    """Whether a BrokenChannel on that channel means that nobody reads this stage's output any more."""
    sender = _get()[1]
    return sender is not None and sender.name == channel_name


class Lines:
    """The output of the last stage: a sender whose objects become lines of standard output, as str() writes them."""

    name = "standard output"
    capacity = 0

    def __init__(self):
        self.closed = False
        self._messages = self._bytes = 0

    def send(self, obj, timeout=None):
        """Write str(obj) and a newline. timeout is for a sender's sake: writing waits for whoever reads."""
        if self.closed:
            raise ValueError("send on standard output: this end is closed")
        line = f"{obj}\n"
        try:
            _bootstrap.check_stdout()  # a flush before a wait may have failed, which nobody has heard of
            sys.stdout.write(line)
            _interlace._flush_before_waiting()
        except BrokenPipeError:
            raise BrokenChannel("send on standard output: nobody reads it any more") from None
        self._messages += 1
        self._bytes += len(line)

    async def send_async(self, obj):
        """Like send(), which waits for nothing but whoever reads."""
        self.send(obj)

    def send_many(self, iterable, timeout=None):
        """Write each object of the iterable as a line, and return their number."""
        sent = 0
        for obj in iterable:
            self.send(obj)
            sent += 1
        return sent

    def close(self):
        """No more lines; standard output itself stays open."""
        self.closed = True

    def stats(self):
        """Like Sender.stats()."""
        return {"messages": self._messages, "bytes": self._bytes, "waits": 0, "blocked": 0.0}

    def fileno(self):
        return sys.stdout.fileno()

    def __len__(self):
        return 0

    def __bool__(self):
        return True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
