"""The reader of `interlace map`: a worker that cuts standard input into batches of whole items."""

import os
import select
import stat
import time
import zlib

from _interlace import BrokenChannel, EndOfChannel

from interlace._map_batch import LONGEST, MOST, cutter

PIECE = 1 << 20  # bytes to read at once
LARGE = 1 << 14  # bytes that travel out of band
AIM = 0.02  # seconds that a batch should keep a mapper busy


class Stopped(Exception):
    """Nobody wants more."""


class Wrong(Exception):
    """The input cannot be used: the exit status, and why."""


def _too_short(size):
    return Wrong(2, f"standard input ends after {size} bytes: it is not that of the log")


class Source:
    """Standard input: never read without looking whether somebody still wants it."""

    def __init__(self, stop, check):
        self._stop_fd = stop.fileno()
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)
        self._poll.register(self._stop_fd, select.POLLIN)
        self._regular = stat.S_ISREG(os.fstat(0).st_mode)
        self._origin = os.lseek(0, 0, os.SEEK_CUR) if self._regular else 0
        self._check = check  # (from, to, checksum) of a batch that a log says was here
        self._checksum = 0
        self._at = 0

    def _look(self, timeout):
        ready = [fd for fd, _ in self._poll.poll(timeout)]
        if self._stop_fd in ready:
            raise Stopped
        return 0 in ready

    def ready(self, patience):
        """Whether a read would not wait, or not for so many seconds."""
        return self._look(1000 * patience)

    def read(self, view):
        """Read into the memory, waiting for some of it; return the bytes read, 0 at the end."""
        while True:
            if self._look(None):
                try:
                    count = os.readv(0, [view])
                except BlockingIOError:
                    continue
                self._at += count
                return count

    def go_to(self, offset):
        """Skip to an offset from where standard input was when the run began."""
        if self._regular and self._check is not None:
            self._seek(self._check[1])
            self._seek(self._check[0])
            self._skip_to(self._check[1])
        if self._regular:
            self._seek(offset)
        else:
            self._skip_to(offset)

    def _seek(self, offset):
        if (size := os.fstat(0).st_size - self._origin) < offset:
            raise _too_short(size)
        os.lseek(0, self._origin + offset, os.SEEK_SET)
        self._at = offset

    def _skip_to(self, offset):
        memory = memoryview(bytearray(min(PIECE, max(1, offset - self._at))))
        while (left := offset - self._at) > 0:
            begin = self._at
            count = self.read(memory[:left])
            if self._check is not None:
                self._compare(begin, memory[:count])
            if count == 0:
                raise _too_short(begin)

    def _compare(self, begin, piece):
        start, end, checksum = self._check
        here = piece[max(0, start - begin) : max(0, end - begin)]
        self._checksum = zlib.crc32(here, self._checksum)
        if begin + len(piece) >= end:
            self._check = None
            if self._checksum != checksum:
                raise Wrong(2, "standard input is not that of the log: what is done there looked different")


class Pace:
    """How many bytes keep a mapper busy for AIM seconds, by what the mappers tell."""

    def __init__(self, paces):
        self._paces = paces
        self._bytes = self._seconds = 0.0
        self._heard = False

    def room(self):
        """Return the bytes that the next batch may have."""
        try:
            while True:
                count, seconds = self._paces.recv(timeout=0)
                self._bytes = 0.8 * self._bytes + count
                self._seconds = 0.8 * self._seconds + seconds
                self._heard = True
        except (TimeoutError, EndOfChannel):
            pass
        if not self._heard:
            return 1  # one item: it may take minutes
        return int(min(max(1, AIM * self._bytes / max(self._seconds, 1e-9)), MOST))


class Reader:
    def __init__(self, options, batches, paces, stop, check):
        self._options = options
        self._batches = batches
        self._source = Source(stop, check)
        self._pace = Pace(paces)
        self._cutter = cutter(options.format)
        self._data = bytearray(2 * PIECE)
        self._begin = self._end = 0  # what of it has been read and not been sent
        self._number = 0

    def range(self, start, end, line):
        """Send what lies between two offsets (end None: all the rest); `line` is the number of its first line."""
        self._source.go_to(start)
        self._begin = self._end = 0
        offset = start
        last = False
        # Looking for the end of a long item takes a while. If it is not there yet, the next look comes when there is twice as
        # much, or no more for as long as this one took.
        enough, patience = 0, 0.0
        while True:
            more = self._source.ready(patience)  # it also notices when nobody wants more
            size = self._end - self._begin
            if last or not more or size >= enough or self._end == len(self._data):
                began = time.monotonic()
                at, full = self._cut(last)
                enough, patience = (2 * size, time.monotonic() - began) if at is None else (0, 0.0)
            if not last and (at is None or more and not full):
                last = not self._fill(None if end is None else end - offset - (self._end - self._begin), line)
                continue
            if at is None or at == self._begin:
                return
            lines = self._cutter.lines(self._data, self._begin, at)
            self._send(offset, line, lines, at)
            offset += at - self._begin
            line += lines
            self._begin = at

    def _cut(self, last):
        if self._options.batch:
            return self._cutter.cut_items(self._data, self._begin, self._end, last, self._options.batch)
        return self._cutter.cut(self._data, self._begin, self._end, last, self._pace.room())

    def _send(self, offset, line, lines, at):
        size = at - self._begin
        with memoryview(self._data) as all_of_it, all_of_it[self._begin : at] as piece:
            checksum = zlib.crc32(piece) if self._options.joblog else None
            head = self._number, offset, offset + size, line, lines, checksum
            self._batches.send((head, offset, line, 0, 0, piece if size > LARGE else bytes(piece)))
        self._number += 1

    def _fill(self, most, line):
        """Read some more, `most` bytes at most (None: as they come). False when there are none."""
        if most == 0:
            return False
        if self._end == len(self._data) and self._begin > 0:
            kept = self._data[self._begin : self._end]
            self._data[: len(kept)] = kept
            self._begin, self._end = 0, len(kept)
        if self._end == len(self._data):
            if self._end >= LONGEST:
                self._complain_about(line)
            self._data.extend(bytes(len(self._data)))
        with memoryview(self._data) as all_of_it:
            count = self._source.read(all_of_it[self._end :][:most])
        self._end += count
        return count > 0

    def _complain_about(self, line):
        what = "item" if self._options.format == "null" else "line"
        hint = ": is a quote missing?" if self._options.format == "csv" else ""
        raise Wrong(1, f"{what} {line} is longer than {LONGEST >> 20} MiB{hint}")


def read(options, todo, check, batches, paces, stop):
    """Do the reader's work: todo is a list of (offset, offset or None, line), see Reader.range.

    Return None, or the exit status and what is wrong with standard input.
    """
    try:
        reader = Reader(options, batches, paces, stop, check)
        for start, end, line in todo:
            reader.range(start, end, line)
    except (Stopped, BrokenChannel):
        return None
    except OSError as error:
        return 1, f"standard input: {error.strerror}"
    except Wrong as wrong:
        return wrong.args
