"""The log of `interlace map --joblog`: what is done, and how far standard output had come by then.

A batch is noted after its output has been written. So what the log says is done has been written, and at most what
comes after it in the output is not noted: --resume cuts that off, if standard output is a file, and does it again.

Each line is one write: a run (`run KEY=VALUE ...`) or a batch, ten fields with tabs between them: offsets in standard
input from - to, number of the first line and of lines, items, failed items, then the offset in standard output after
it (- when it is no file), the bytes of its output and their checksum, the checksum of its input. A last line that is
not whole was being written when the process was killed, and does not count.
"""

import fcntl
import os
import stat
import zlib

KEYS = "in", "order", "at", "file"
PIECE = 1 << 20
START = b"run in="  # of a log


class Unusable(Exception):
    """The log or standard output does not fit: why."""


class _Output:
    """Where standard output stands, if it is a file."""

    def __init__(self):
        status = os.fstat(1)
        self.is_file = stat.S_ISREG(status.st_mode)
        self.inode = status.st_ino if self.is_file else None

    def at(self):
        """Return the offset that the next write goes to, None if it is no file."""
        if not self.is_file:
            return None
        if fcntl.fcntl(1, fcntl.F_GETFL) & os.O_APPEND:
            return os.fstat(1).st_size
        return os.lseek(1, 0, os.SEEK_CUR)

    def checksum(self, begin, end):
        """Return that of a part of the file; OSError if it cannot be read."""
        fd = os.open("/proc/self/fd/1", os.O_RDONLY)
        try:
            checksum = 0
            while begin < end and (piece := os.pread(fd, min(PIECE, end - begin), begin)):
                checksum = zlib.crc32(piece, checksum)
                begin += len(piece)
            return checksum
        finally:
            os.close(fd)

    def cut(self, offset):
        os.ftruncate(1, offset)
        os.lseek(1, offset, os.SEEK_SET)


def _no_log(path, line):
    return Unusable(f"{path}, line {line}: this is not a log of interlace map")


def _read(path, text):
    """Return (runs, batches, at) of a log: dicts, tuples of int or None, and where the output stood in the end."""
    runs, batches, at = [], [], None
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            if line.startswith("run "):
                run = {key: _value(value) for key, value in (word.split("=") for word in line.split()[1:])}
                if tuple(run) != KEYS:
                    raise ValueError
                runs.append(run)
                at = run["at"]
            else:
                batch = tuple(_value(word) for word in line.split("\t"))
                kinds = [int] * 6 + [int | None] + [int] * 2 + [int | None]
                if not runs or len(batch) != 10 or not all(map(isinstance, batch, kinds)):
                    raise ValueError
                batches.append(batch)
                at = batch[6]
        except ValueError:
            raise _no_log(path, number) from None
    return runs, batches, at


def _value(word):
    return None if word == "-" else int(word) if word.isdigit() else word


def _shown(value):
    return "-" if value is None else str(value)


class Log:
    """The log of a run. todo and check are what the reader needs; items and failed count those of earlier runs."""

    def __init__(self, path, resume, format, unordered):
        self._path = path
        self._output = _Output()
        self.todo, self.check, self.items, self.failed, self.skipped = [(0, None, 1)], None, 0, 0, 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise Unusable(f"{path} is not a file that keeps what is written to it, as --resume needs it: name another")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unusable(f"{path} is the log of a run that has not ended") from None
        if os.fstat(self._fd).st_size > 0 and not resume:
            raise Unusable(f"{path} is there already: go on with it (--resume), or remove it")
        begun = {"in": format, "order": "any" if unordered else "kept"}
        text = self._whole_lines()
        if text:
            self._go_on(*_read(path, text), begun)
        self._at = self._output.at()
        begun.update(at=self._at, file=self._output.inode)
        self._write("run " + " ".join(f"{key}={_shown(begun[key])}" for key in KEYS) + "\n")

    def _whole_lines(self):
        if not START.startswith(os.pread(self._fd, len(START), 0)):
            raise _no_log(self._path, 1)  # before it is read as a whole, and cut
        pieces = []
        while piece := os.pread(self._fd, PIECE, sum(map(len, pieces))):
            pieces.append(piece)
        data = b"".join(pieces)
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(self._fd, whole)
        return data[:whole].decode("utf-8", "replace")

    def _write(self, line):
        data = line.encode()
        if os.write(self._fd, data) != len(data):
            raise OSError(28, os.strerror(28))

    # ---- going on ----

    def _go_on(self, runs, batches, at, begun):
        run = runs[-1]
        for key, option in (("in", "--in"), ("order", "--unordered")):
            if run[key] != begun[key]:
                raise Unusable(f"{self._path} is of a run with another {option}: use the same options")
        if at is not None:
            self._go_back(at, run, [batch for batch in batches if batch[6] is not None and batch[7] > 0])
        self.items = sum(batch[4] for batch in batches)
        self.failed = sum(batch[5] for batch in batches)
        self.skipped = sum(batch[1] - batch[0] for batch in batches)
        self._plan(sorted(batches, key=lambda batch: batch[:2]))

    def _go_back(self, at, run, written):
        """Make standard output what it was when the log said so last."""
        output = self._output
        if not output.is_file:
            raise Unusable("standard output of the log's run was a file: write to it (>>), for --resume")
        size = os.fstat(1).st_size
        hint = "write to the same file, with >> and not >, for --resume"
        if size < at:
            raise Unusable(f"standard output has {size} bytes, and {self._path} is of a run that had written {at}: {hint}")
        try:
            if written:
                *_, end, length, checksum, _ = written[-1]
                same = output.checksum(end - length, end) == checksum
            else:
                same = output.inode == run["file"] or size == at
        except OSError as error:
            raise Unusable(f"standard output cannot be read, to see whether it fits the log: {error.strerror}") from None
        if not same:
            raise Unusable(f"standard output does not hold what {self._path} says was written: {hint}")
        if size > at or output.at() != at:
            output.cut(at)

    def _plan(self, batches):
        offset, line = 0, 1
        self.todo = []
        for start, end, first, lines, *_ in batches:
            if start > offset:
                self.todo.append((offset, start, line))
            if end > offset:
                offset, line = end, first + lines
        self.todo.append((offset, None, line))
        checked = [batch for batch in batches if batch[9] is not None]
        if checked:
            start, end, *_, checksum = checked[-1]
            self.check = start, end, checksum

    # ---- noting ----

    checksum = staticmethod(zlib.crc32)  # (data, that of what came before)

    def note(self, head, stop, items, failed, length, checksum):
        """Note a batch whose output, so many bytes with that checksum, has been written; stop: only what is before it."""
        _, start, end, line, lines, input_checksum = head
        if stop is not None:
            end, lines, input_checksum = stop[0], stop[1] - line, None
        if self._at is not None:
            self._at += length
            if self._output.at() != self._at:
                raise Unusable(
                    "something else writes to standard output, so that --resume could not tell what is whose: "
                    "let it write to standard error or a file"
                )
        if end > start:
            fields = start, end, line, lines, items, failed, self._at, length, checksum, input_checksum
            self._write("\t".join(map(_shown, fields)) + "\n")
