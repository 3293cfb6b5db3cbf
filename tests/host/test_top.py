"""`interlace top PID`: the live view of what a host's workers do."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios

from support import BINARY, environment, equal, host, start, wait_until

SCRIPT = """
    import time
    import interlace

    def compute(ready):
        ready.send(1)
        n = 0
        while True:
            n += 1

    def feed(sender):
        for n in range(10**9):
            sender.send(n)
            time.sleep(0.005)

    def eat(receiver):
        for n in receiver:
            pass

    def main():
        ready, seen = interlace.channel(0, name="ready")
        sender, receiver = interlace.channel(4, name="food")
        full, full_end = interlace.channel(2, name="full")
        full.send_many("ab")
        with interlace.Group() as group:
            group.start(compute, ready, name="compute with a name that is too long for any column")
            group.start(feed, sender)
            group.start(eat, receiver)
            seen.recv()
            print("all started", flush=True)

    main()
"""


def rows_of(lines):
    """The rows of the two tables, by their first words."""
    blank = lines.index("")
    assert lines[1].split() == ["WORKER", "CPU", "IN/s", "OUT/s", "DOES"], lines
    assert lines[blank + 1].split() == ["CHANNEL", "FULL", "DEPTH", "OUT/s", "SENDERS", "RECEIVERS"], lines
    return lines[2:blank], lines[blank + 2 :]


def test_top_prints_where_there_is_no_terminal():
    """Two views, 80 columns wide: whoever computes comes first, and the full channel."""
    with start(SCRIPT, words=("--grace", "0.2")) as started:
        started.printed("all started")
        ended = host("top", "-d", "0.5", "--count=2", str(started.pid)).expect(0, None, "")
        views = ended.out.split(f"interlace {started.pid}: 4 workers, ")
        equal((views[0], len(views)), ("", 3))
        for view in views[1:]:
            lines = view.rstrip("\n").split("\n")
            assert max(map(len, lines)) <= 80, view
            assert re.fullmatch(r"\d+% CPU, \d channels", lines[0]), view
            workers, channels = rows_of(lines)
            assert re.fullmatch(r"compute with a name~ +\d+% +0 +0 runs script.py:\d+ compute", workers[0]), view
            equal(sorted(row.split()[0] for row in workers), ["compute", "eat-1", "feed-1", "script.py"])
            assert re.fullmatch(r"full +100% +2/2 +0 +1 1", channels[0]), view
            assert any(row.startswith("food ") for row in channels), view
        started.send_signal(signal.SIGTERM)
        started.end().expect(143, "all started\n", None)


class Terminal:
    """`interlace top` in a terminal of its own."""

    def __init__(self, pid, columns, rows):
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows)
        self.modes = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [BINARY, "top", "--delay", "0.2", str(pid)],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment(TERM="xterm"),
            start_new_session=True,
        )
        os.set_blocking(self.master, False)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def read(self):
        try:
            while data := os.read(self.master, 65536):
                self.text += data.decode()
        except BlockingIOError:
            pass
        return self.text

    def views(self):
        """The whole views shown up to now, each a list of lines."""
        parts = self.read().split("\x1b[H")[1:]
        return [part.replace("\x1b[K", "").replace("\x1b[J", "").split("\r\n") for part in parts if "\x1b[J" in part]

    def end(self):
        wait_until(lambda: self.read() is not None and self.process.poll() is not None, "top to end")
        self.read()
        return self.process.returncode


def test_top_in_a_terminal():
    """It draws again and again, follows the terminal's size, and q ends it with the terminal as it was."""
    with start(SCRIPT, words=("--grace", "0.2")) as started:
        started.printed("all started")
        with Terminal(started.pid, 80, 24) as terminal:
            wait_until(lambda: len(terminal.views()) >= 3, lambda: f"three views: {terminal.text!r}")
            assert terminal.text.startswith("\x1b[?1049h\x1b[?25l"), terminal.text
            lines = terminal.views()[-1]
            assert len(lines) <= 24 and max(map(len, lines)) <= 80, lines
            workers, channels = rows_of(lines)
            equal((len(workers), channels[0].split()[0]), (4, "full"))
            terminal.resize(60, 8)

            def follows():
                lines = terminal.views()[-1]
                return len(lines) <= 8 and max(map(len, lines)) <= 60 and lines

            workers, channels = rows_of(wait_until(follows, "a view of the new size"))
            assert workers[0].startswith("compute") and channels[0].startswith("full"), (workers, channels)
            os.write(terminal.master, b"xyzq")
            equal(terminal.end(), 0)
            assert terminal.text.endswith("\x1b[?25h\x1b[?1049l"), terminal.text[-100:]
            equal(termios.tcgetattr(terminal.slave), terminal.modes)


def test_top_ends_with_the_process():
    """When the process that is watched ends, so does the view; Ctrl-C ends it, too, and leaves the terminal as it was."""
    with start(SCRIPT, words=("--grace", "0.2")) as started:
        started.printed("all started")
        with Terminal(started.pid, 80, 24) as terminal, Terminal(started.pid, 80, 24) as other:
            wait_until(lambda: terminal.views() and other.views(), "a view")
            os.kill(other.process.pid, signal.SIGINT)
            equal(other.end(), 130)
            equal(termios.tcgetattr(other.slave), other.modes)
            started.send_signal(signal.SIGTERM)
            equal(terminal.end(), 0)
            equal(termios.tcgetattr(terminal.slave), terminal.modes)


def test_top_of_nothing():
    """A process that is no host, wrong words: one line each, and the right exit code."""
    text = f"interlace: process {os.getppid()} is no interlace run, pipe or map\n"
    host("top", str(os.getppid())).expect(1, "", text)
    for words in ((), ("x",), ("0",), ("1", "2"), ("-d", "0", "1"), ("--count=no", "1"), ("-n",)):
        host("top", *words).expect(2, "", ("interlace: top",))
    host("top", "--help").expect(0, ("Usage: interlace top [OPTION...] PID", "--delay"), "")
