"""One line on a terminal that says how far `interlace map --progress` has come."""

import os
import sys
import time

EVERY = 0.25  # seconds
LATELY = 10.0  # seconds that the rate is taken over


class Progress:
    """total: bytes of standard input, None when nobody knows."""

    def __init__(self, total, items, size):
        self._total = total
        self._items, self._size = items, size  # done in all
        self._began = time.monotonic(), items, size
        self._past = [self._began]  # (time, items, bytes) of the last LATELY seconds
        self._busy = {}  # slot: [since when it has been in an item or None, seconds before that]
        self._looked = self._began[0]
        self._loads = ""
        self._shown = False
        self.next = self._looked + EVERY

    def mapper(self, slot, there):
        """A mapper has come or gone."""
        if there:
            self._busy[slot] = [None, 0.0]
        else:
            self._busy.pop(slot, None)

    def beat(self, slot, since):
        """A mapper is in an item since then, or waits (0)."""
        state = self._busy.get(slot)
        if state is None:
            return
        now = time.monotonic()
        if state[0] is not None:
            state[1] += now - max(state[0], self._looked)
        state[0] = now if since else None

    def add(self, items, size):
        self._items += items
        self._size += size

    def show(self):
        """Write the line anew."""
        now = time.monotonic()
        self.next = now + EVERY
        self._past.append((now, self._items, self._size))
        while len(self._past) > 2 and now - self._past[1][0] > LATELY:
            self._past.pop(0)
        before, items, _ = self._past[0]
        words = [f"{self._items:,} done", f"{(self._items - items) / max(now - before, 1e-9):,.0f}/s"]
        if self._total:
            words.append(f"{min(100, 100 * self._size // self._total)} %")
            words.append(f"ETA {self._eta(now)}")
        words.append(f"load {self._load(now)} %")
        self._write("  ".join(words))

    def _eta(self, now):
        before, _, size = self._began
        rate = (self._size - size) / max(now - before, 1e-9)
        return _clock((self._total - self._size) / rate) if rate > 0 else "?"

    def _load(self, now):
        loads = []
        span = max(now - self._looked, 1e-9)
        for state in self._busy.values():
            seconds = state[1] + (now - max(state[0], self._looked) if state[0] is not None else 0.0)
            loads.append(min(100, round(100 * seconds / span)))
            state[1] = 0.0
        self._looked = now
        if not loads:
            return "0"
        if len(loads) > 16:
            return f"{sum(loads) // len(loads)} ({min(loads)}-{max(loads)})"
        return " ".join(map(str, loads))

    def _write(self, text):
        width = os.get_terminal_size(2).columns or 80
        sys.stderr.write(f"\r{text[: width - 1]}\x1b[K")
        sys.stderr.flush()
        self._shown = True

    def clear(self):
        """Take the line away: something else is going to be written."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False

    def end(self):
        """Leave a line that says what has been done."""
        seconds = time.monotonic() - self._began[0]
        items = self._items - self._began[1]
        self._write(f"{self._items:,} done in {_clock(seconds)}  {items / max(seconds, 1e-9):,.0f}/s")
        sys.stderr.write("\n")


def _clock(seconds):
    seconds = int(seconds + 0.5)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
