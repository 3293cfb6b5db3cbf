"""interlace map: how it ends, how much memory it takes, what it shows meanwhile."""

import contextlib
import os
import resource
import select
import signal
import subprocess
import time

from map_support import NUMBERS, lines, run
from support import BINARY, DEADLINE, Started, command, equal, folder, wait_until, write


# ---- ends ---------------------------------------------------------------------------------------------------------


def closed_early(words, stdin):
    """Run a command whose output is read no further than its first line; return (line, exit code, stderr)."""
    with open(stdin, "rb") as file:
        process = subprocess.Popen(words, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    return line, process.wait(DEADLINE), err


def test_head():
    """Nobody reads any more: the end, quietly, with exit code 0."""
    path = write(NUMBERS * 20, "numbers")
    for words in [], ["--unordered"], ["--timeout", "9"], ["--keep-going", "--in", "csv"]:
        begin = time.monotonic()
        line, code, err = closed_early([BINARY, "map", "-n", "2", *words, "-c", "line * 100"], path)
        equal((code, err), (0, b""))
        assert line.strip(b"'[]\n"), line
        assert time.monotonic() - begin < DEADLINE


def test_signals():
    """Ctrl-C and SIGTERM: 130 and 143 at once, whether it computes, waits for input or for its reader."""
    spin = "[0 for x in iter(int, 1) if x]"
    for number, code in (signal.SIGINT, 130), (signal.SIGTERM, 143):
        for expression, given in (spin, b"1\n2\n3\n"), ("line", b"x\n"), ("'x' * 1000", NUMBERS.encode()):
            with Started([BINARY, "map", "-n", "2", "-c", expression], stdin=True) as started:
                started.write(given)
                wait_until(lambda: len(started.threads()) >= 5, "its workers")
                time.sleep(0.1)
                begin = time.monotonic()
                started.send_signal(number)
                code_found = started.process.wait(DEADLINE)
                equal((code_found, started.err), (code, ""))
                assert time.monotonic() - begin < 4, "it did not end by itself"


def test_output_that_cannot_be_written():
    """A full disk: a line that says so, and exit code 1."""
    words = f"exec {BINARY} map -c line >/dev/full"
    command("sh", "-c", words, stdin=b"x\n").expect(1, "", "interlace: map: standard output: No space left on device\n")


def test_input_that_cannot_be_read():
    """Likewise for standard input that is open for writing only."""
    where = folder() / "file"
    ended = command("sh", "-c", f"exec {BINARY} map -c line 0>{where}").expect(1, "", ("interlace: ", "standard input"))
    equal(ended.err.count("\n"), 1)


def test_streams_of_the_function():
    """What it prints goes to stderr, and it has no standard input: those are for items and results."""
    path = write("import sys\ndef f(line):\n    print('seen', line)\n    return repr(sys.stdin.read())\n")
    run(f"{path}:f", stdin="a\nb\n").expect(0, "''\n''\n", ("seen a\n", "seen b\n"))


# ---- bounds -------------------------------------------------------------------------------------------------------


def peak(words, stdin):
    """Run a command and return (exit code, peak of its resident memory in MiB, as last seen)."""
    with open(stdin, "rb") as source, open(os.devnull, "wb") as target:
        process = subprocess.Popen(words, stdin=source, stdout=target)
    fd = os.pidfd_open(process.pid)
    ended = select.poll()
    ended.register(fd, select.POLLIN)
    kib = 0
    # Not ru_maxrss of wait4(): that begins with the memory of the process that started it.
    while not ended.poll(20):
        with open(f"/proc/{process.pid}/status") as status:
            kib = max([kib, *(int(line.split()[1]) for line in status if line.startswith("VmHWM"))])
    os.close(fd)
    return process.wait(), kib / 1024


def test_memory_is_bounded():
    """Much input, much output of little input, and a first item that holds all others up."""
    path = write(NUMBERS * 300, "numbers")  # 32 MiB
    one = write(lines(range(400)), "some")
    slow = "(time.sleep(1.5) if line == '0' else None) or line * 100000"
    for words, source in [
        (["-c", "line"], path),
        (["-c", "line * 20"], path),
        (["--batch", "400", "-c", "line * 1000000"], one),
        (["--unordered", "--batch", "400", "-c", "line * 1000000"], one),
        (["--batch", "1", "--import", "time", "-c", slow], write(lines(range(3000)), "more")),
    ]:
        code, mib = peak([BINARY, "map", "-n", "3", *words], source)
        equal(code, 0)
        assert mib < 220, f"{words}: {mib:.0f} MiB"


def test_large_items():
    """A line of some MiB is an item like others; one that never ends is refused, with its number."""
    large = "x" * 3_000_000
    run("-n", "2", "-c", "len(line)", stdin=f"a\n{large}\nb\n").expect(0, "1\n3000000\n1\n")
    run("-n", "2", "-c", "line", stdin=f"a\n{large}\nb\n").expect(0, f"a\n{large}\nb\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    for words, begin, hint in [([], b"a", ""), (["--in", "csv"], b'"a', ": is a quote missing?")]:
        with Started([BINARY, "map", *words, "-c", "len(line)"], stdin=True) as started:
            started.write(b"b\n")
            started.printed("1\n")
            with contextlib.suppress(BrokenPipeError):  # it does not read all of it
                started.write(begin)
                for _ in range(66):
                    started.write(bytes(1 << 20))
            started.end().expect(1, "1\n", f"interlace: map: line 2 is longer than 64 MiB{hint}\n")
    # Less than half a second. To look at all of it again for each piece that comes took 14.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 4


# ---- progress -----------------------------------------------------------------------------------------------------


def on_a_terminal(words, stdin):
    """Run a command with a terminal as its stderr; return (exit code, what the terminal got, stdout)."""
    ours, theirs = os.openpty()
    try:
        with open(stdin, "rb") as file:
            process = subprocess.Popen(words, stdin=file, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        shown = []
        try:
            while piece := os.read(ours, 65536):
                shown.append(piece)
        except OSError:  # the last one that had it has gone
            pass
        out = process.stdout.read()
        process.stdout.close()
        return process.wait(DEADLINE), b"".join(shown).decode(), out.decode()
    finally:
        os.close(ours)


def test_progress():
    """Items, rate, part and time left of a file, each worker's load; a line at the end; failures between."""
    path = write(lines(range(40)), "numbers")
    words = [BINARY, "map", "-n", "2", "--progress", "--import", "time", "-c", "time.sleep(0.05) or line"]
    code, shown, out = on_a_terminal(words, path)
    equal((code, out), (0, lines(range(40))))
    steps = [step for step in shown.split("\r") if "ETA" in step]
    assert len(steps) >= 2, shown
    for words_of in ("done", "/s", "%", "ETA 0:00:0", "load"):
        assert words_of in steps[-1], shown
    loads = [[int(load) for load in step.partition("load ")[2].split("%")[0].split()] for step in steps]
    equal(max(map(len, loads)), 2)  # in the end there may be one mapper
    assert max(map(max, loads)) > 50, shown
    assert "40 done in 0:00:0" in shown.splitlines()[-1], shown
    code, shown, out = on_a_terminal([BINARY, "map", "--progress", "--keep-going", "-c", "1 // int(line)"], path)
    assert code == 1 and "line 1 failed: ZeroDivisionError" in shown and "1 of 40 items failed" in shown, shown


def test_progress_elsewhere():
    """Not on a terminal: nothing is shown."""
    run("--progress", "-c", "line", stdin=NUMBERS).expect(0, NUMBERS, "")
