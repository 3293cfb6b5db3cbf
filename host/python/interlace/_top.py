"""`interlace top PID`: a live view of what another host's workers do, in a terminal."""

import json
import os
import select
import socket
import struct
import sys
import termios
import time
import tty

from interlace._shown import printable

USAGE = """\
Usage: interlace top [OPTION...] PID

Shows, again and again, what a running interlace run, pipe or map does, without stopping it: each worker's share of a
processor, what it does or waits for, its messages; each channel's depth and rate. The busiest worker and the fullest
channel come first. PID is the number of the process, which has to be your own. q ends it.

Options:
  -d, --delay S       show it every S seconds, 1 by default
  -n, --count N       show it N times; without a terminal, 1 time is the default
  -h, --help          this text

Example:
  interlace top $(pgrep -n interlace)

Exit status: 0 all well (the process has ended as well), 1 there is no such process, 2 wrong usage.
"""


class Problem(Exception):
    """What the user is told, with the exit code."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


def read_words(words):
    """Return (pid, delay, count or None)."""
    pid, delay, count = None, 1.0, None
    words = list(words)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option in ("-d", "--delay", "-n", "--count"):
            if not equals:
                if not words:
                    raise Problem(f"top: {word} needs a number", 2)
                value = words.pop(0)
            try:
                number = float(value) if option in ("-d", "--delay") else int(value)
            except ValueError:
                number = 0
            if not 0 < number <= 1e6:
                raise Problem(f"top: {option} takes a number above 0, not {value!r}", 2)
            if option in ("-d", "--delay"):
                delay = number
            else:
                count = number
        elif pid is None and word.isascii() and word.isdigit() and 0 < int(word) < 1 << 31:
            pid = int(word)
        else:
            raise Problem(f"top: {word!r} is no option and no number of a process (try interlace top --help)", 2)
    if pid is None:
        raise Problem("top takes the number of a process (try interlace top --help)", 2)
    return pid, delay, count


# ---- asking -------------------------------------------------------------------------------------------------------


def ask(pid):
    """Return the state of a host (see state_server.c), or None: there is none (any more)."""
    answer = bytearray()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(f"\0interlace-{pid}")
            number, user, _ = struct.unpack("iii", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if number != pid or os.geteuid() not in (0, user):
                raise Problem(f"process {pid} is not yours", 1)
            connection.sendall(b"state\n")
            while data := connection.recv(65536):
                answer += data
        except OSError:
            return None
    return json.loads(answer.decode("utf-8", "replace")) if answer else None


# ---- what is shown ------------------------------------------------------------------------------------------------


def rates(now, before, key, figures):
    """Return for each thing of `now` how fast its figures have grown since `before`, 0 where that is not known."""
    seconds = now["clock"] - before["clock"] if before else 0
    earlier = {thing["key"]: thing for thing in before[key]} if before else {}

    def rate(thing, name):
        old = earlier.get(thing["key"], {}).get(name)
        if old is None or thing[name] is None or seconds <= 0:
            return 0.0
        return max(0.0, thing[name] - old) / seconds

    return [[rate(thing, name) for name in figures] for thing in now[key]]


def doing(worker):
    """Return in words what a worker does, and at which line."""
    threads = worker["threads"]
    if worker["busy"]:
        return "in C code that keeps its lock"
    if worker["state"] != "running" or not threads:
        return worker["state"]
    line = threads[0]["stack"].partition("\n")[0]
    file, _, rest = line.partition(", line ")
    at = f"{os.path.basename(file)}:{rest.replace(', in ', ' ')}" if rest else line
    if threads[0]["awaits"] is None:
        return f"runs {at}"
    return f"{threads[0]['awaits']} {threads[0]['seconds']:.1f}s {at}"


def short(number):
    """Return a number of at most 5 characters."""
    for limit, divisor, unit in ((99999.5, 1, ""), (9999.5e3, 1e3, "k"), (9999.5e6, 1e6, "M")):
        if number < limit:
            return f"{number / divisor:.0f}{unit}"
    return f"{number / 1e9:.0f}G"


def fit(text, width):
    """Return the text, printable and cut or filled to the width."""
    text = printable(text)
    return text[: width - 1] + "~" if len(text) > width else text.ljust(width)


def lines_of(now, before, width, height):
    """Return the lines of the view, none longer than width, height at most."""
    for state in filter(None, (now, before)):
        for worker in state["workers"]:
            worker["key"] = worker["id"]
        for channel in state["channels"]:
            channel["key"] = channel["number"]
    workers = zip(now["workers"], rates(now, before, "workers", ("cpu", "received", "sent")), strict=True)
    workers = sorted(workers, key=lambda pair: (-pair[1][0], pair[0]["id"]))
    channels = zip(now["channels"], rates(now, before, "channels", ("received",)), strict=True)
    channels = sorted(channels, key=lambda pair: (-pair[0]["depth"] / max(1, pair[0]["capacity"]), pair[0]["name"]))
    cpu = sum(rate[0] for _, rate in workers)
    head = f"interlace {now['pid']}: {len(workers)} workers, {cpu:.0%} CPU, {len(channels)} channels"
    room = max(0, height - 5)
    most = max(room - len(channels), room // 2) if len(workers) + len(channels) > room else len(workers)
    name = max(10, min(24, width // 4))
    lines = [fit(head, width), fit(f"{'WORKER':{name}} {'CPU':>4} {'IN/s':>5} {'OUT/s':>5} DOES", width)]
    for worker, (share, received, sent) in workers[:most]:
        row = f"{fit(worker['name'], name)} {share:4.0%} {short(received):>5} {short(sent):>5} {doing(worker)}"
        lines.append(fit(row, width))
    lines += ["", fit(f"{'CHANNEL':{name}} {'FULL':>4} {'DEPTH':>11} {'OUT/s':>5} {'SENDERS':>7} RECEIVERS", width)]
    for channel, (rate,) in channels[: max(0, height - 1 - len(lines))]:
        full = channel["depth"] / max(1, channel["capacity"])
        depth = f"{channel['depth']}/{channel['capacity']}"
        row = f"{fit(channel['name'], name)} {full:4.0%} {depth:>11} {short(rate):>5} {channel['senders']:>7} "
        lines.append(fit(row + str(channel["receivers"]), width))
    return [line.rstrip() for line in lines[:height]]


# ---- the terminal -------------------------------------------------------------------------------------------------


class Screen:
    """The terminal while the view is on it: the other screen, no echo, no cursor."""

    def __init__(self):
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._before = None

    def __enter__(self):
        self._before = termios.tcgetattr(self._in)
        tty.setcbreak(self._in)
        sys.stdout.write("\x1b[?1049h\x1b[?25l")
        sys.stdout.flush()
        return self

    def __exit__(self, *error):
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)

    def size(self):
        try:
            columns, rows = os.get_terminal_size(self._out)
        except OSError:
            columns, rows = 80, 24
        return max(40, columns), max(6, rows)

    def show(self, lines):
        rows = "".join(f"{line}\x1b[K\n" for line in lines[:-1]) + f"{lines[-1]}\x1b[K\x1b[J"
        sys.stdout.write(f"\x1b[H{rows}")
        sys.stdout.flush()

    def wait(self, seconds):
        """Wait that long, or until the size changes. Return whether q was pressed."""
        end = time.monotonic() + seconds
        size = self.size()
        while (left := end - time.monotonic()) > 0 and self.size() == size:
            if select.select([self._in], [], [], min(left, 0.1))[0]:
                keys = os.read(self._in, 64)
                if not keys or b"q" in keys or b"Q" in keys:
                    return True
        return False


def live(pid, delay, count):
    """Show the view until q, the process's end or the count."""
    before = None
    state = ask(pid)
    if state is None:
        raise Problem(f"process {pid} is no interlace run, pipe or map", 1)
    with Screen() as screen:
        at = time.monotonic()
        while True:
            width, height = screen.size()
            screen.show(lines_of(state, before, width, height))
            if count is not None:
                count -= 1
                if count == 0:
                    return
            size, due = screen.size(), at + delay
            if screen.wait(due - time.monotonic()):
                return
            if screen.size() != size and time.monotonic() < due:
                continue  # the same once more, as wide as it is now
            at = time.monotonic()
            before, state = state, ask(pid)
            if state is None:
                return


def plain(pid, delay, count):
    """Print the view a number of times, for a pipe or a file."""
    before = ask(pid)
    if before is None:
        raise Problem(f"process {pid} is no interlace run, pipe or map", 1)
    for turn in range(count or 1):
        time.sleep(delay)
        state = ask(pid)
        if state is None:
            return
        last = turn + 1 == (count or 1)
        print(*lines_of(state, before, 80, 1 << 30), sep="\n", end="\n" if last else "\n\n", flush=True)
        before = state


def main(words):
    """The command; returns its exit code."""
    if any(word in ("-h", "--help") for word in words):
        sys.stdout.write(USAGE)
        return 0
    try:
        pid, delay, count = read_words(words)
        (live if sys.stdin.isatty() and sys.stdout.isatty() else plain)(pid, delay, count)
    except Problem as problem:
        sys.stderr.write(f"interlace: {problem}\n")
        return problem.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
