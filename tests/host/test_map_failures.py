"""interlace map: items that fail, that are tried again, that take too long."""

import os
import time

from map_support import NUMBERS, lines, run
from support import BINARY, command, equal, folder, write


# ---- failures -----------------------------------------------------------------------------------------------------


def test_a_failing_item():
    """Its line and content; what is before it has been written, what is after it has not; exit code 1."""
    for words in [], ["-n", "1"], ["-n", "5"], ["--batch", "1"], ["--batch", "7"]:
        ended = run(*words, "-c", "1 / (int(line) - 13000)", stdin=NUMBERS)
        shown = "interlace: map: line 13000 failed: ZeroDivisionError: division by zero (it is '13000')\n"
        ended.expect(1, lines(1 / (n - 13000) for n in range(1, 13000)), shown)
    ended = run("--unordered", "-n", "2", "-c", "1 / (int(line) - 13000)", stdin=NUMBERS).expect(1, None, ("line 13000 ",))
    assert ended.out.count("\n") < 20000, "nothing was cancelled"


def test_the_first_that_fails_in_order():
    """Several fail: it is the one that a program with one loop would have stopped at."""
    path = write(
        """
        import time
        def f(line):
            time.sleep(0.3 if line == "3" else 0)
            if int(line) >= 3:
                raise ValueError(f"text of\\n{line}")
            return line
        """,
        "late.py",
    )
    for _ in range(3):
        ended = run("-n", "4", "--batch", "1", f"{path}:f", stdin=NUMBERS)
        ended.expect(1, "1\n2\n", ("line 3 failed: ValueError: text of 3 (it is '3')\n", "Traceback", "late.py", "in f\n"))
        equal((ended.err.count("failed"), ended.err.count("Traceback")), (1, 1))
        assert "<interlace>" not in ended.err, ended.describe()


def test_the_content_is_shortened():
    """A long item is shown by its beginning."""
    for words in [], ["--in", "csv"]:
        ended = run(*words, "-c", "1 / 0", stdin="x" * 1_000_000).expect(1, "", ("line 1 failed", "xxx..."))
        assert len(ended.err) < 300, ended.describe()
    ended = run("-c", "int(line)", stdin="x" * 1_000_000).expect(1, "", ("line 1 failed: ValueError: invalid",))
    assert len(ended.err) < 600, ended.describe()


def test_keep_going():
    """All are tried, each failure is one line on stderr, and the exit code says so at the end."""
    for words in [], ["-n", "3"], ["--unordered"], ["--batch", "1"]:
        ended = run("--keep-going", *words, "-c", "int(line) if int(line) % 5000 else {}[line]", stdin=NUMBERS)
        ended.expect(1, None, ("interlace: map: 4 of 20,000 items failed\n",))
        equal(sorted(map(int, ended.out.split())), [n for n in range(1, 20001) if n % 5000])
        found = sorted(ended.err.splitlines()[:-1])
        wanted = [f"interlace: map: line {n} failed: KeyError: '{n}' (it is '{n}')" for n in range(5000, 20001, 5000)]
        equal(found, sorted(wanted))
    run("--keep-going", "-c", "line", stdin=NUMBERS).expect(0, NUMBERS)
    run("--in", "null", "--keep-going", "-c", "1 / 0", stdin=b"a\0b").expect(1, "", ("item 1 failed", "item 2 failed"))


def test_whatever_it_raises():
    """SystemExit and other exceptions that are no Exception are failures of an item, no more."""
    path = write(
        """
        import sys
        class Own(BaseException):
            pass
        def f(line):
            if line == "1": sys.exit(5)
            if line == "2": raise KeyboardInterrupt
            if line == "3": raise Own("words")
            if line == "4": raise GeneratorExit
            return line
        """
    )
    ended = run("--keep-going", f"{path}:f", stdin="1\n2\n3\n4\n5\n")
    ended.expect(1, "5\n", ("line 1 failed: SystemExit: 5", "line 2 failed: KeyboardInterrupt", "Own: words", "4 of 5"))


def test_retries():
    """An item that fails is tried K times more, and is done once."""
    path = write(
        """
        tried = {}
        def f(line):
            times, wanted = tried[line] = tried.get(line, (0, 0))[0] + 1, int(line)
            if times <= wanted:
                raise ValueError(f"try {times}")
            return f"{line} after {times}"
        """
    )
    run("-n1", "--retries", "2", f"{path}:f", stdin="0\n1\n2\n").expect(0, "0 after 1\n1 after 2\n2 after 3\n")
    run("--retries", "2", f"{path}:f", stdin="2\n3\n1\n").expect(1, "2 after 3\n", ("line 2 failed: ValueError: try 3",))
    run("--retries=2", "--keep-going", "-n1", f"{path}:f", stdin="3\n2\n").expect(1, "2 after 3\n", ("line 1 failed", "1 of 2"))
    run("--retries", "0", f"{path}:f", stdin="1\n").expect(1, "", ("try 1",))


# ---- time limits --------------------------------------------------------------------------------------------------

SPIN = """
    import time
    def f(line):
        try:
            while line.startswith("spin"):
                pass
            if line.startswith("sleep"):
                time.sleep(float(line[5:]))
            return line
        finally:
            if line.startswith("spin"):
                print("finally", line)
"""


def test_timeout():
    """An item that takes too long is interrupted and fails; `finally` runs; its neighbours are done once."""
    path = write(SPIN, "spin.py")
    items = [str(n) for n in range(50)]
    items[7], items[20], items[21], items[49] = "spin7", "spin20", "spin21", "spin49"
    ended = run("-n", "2", "--timeout", "1", "--keep-going", f"{path}:f", stdin=lines(items))
    ended.expect(1, lines(item for item in items if not item.startswith("spin")), None)
    for number in 7, 20, 21, 49:
        assert f"line {number + 1} failed: TimeoutError: it took more than 1 s (it is 'spin{number}')" in ended.err
    equal(ended.err.count("finally"), 4)
    assert "4 of 50 items failed" in ended.err, ended.describe()


def test_timeout_ends_the_run():
    """Without --keep-going it is a failure like others, after what comes before it."""
    path = write(SPIN, "spin.py")
    for words in [], ["--batch", "1"], ["--batch", "100"]:
        ended = run("-n", "2", *words, "--timeout", "1", f"{path}:f", stdin="a\nb\nspin\nc\n")
        ended.expect(1, "a\nb\n", ("line 3 failed: TimeoutError: it took more than 1 s", "finally spin"))


def test_timeout_and_retries():
    """It is tried again, from the item on, in a new worker; each try has its time."""
    mark = folder() / "mark"
    path = write(
        f"""
        import os
        def f(line):
            if line == "3":
                with open({str(mark)!r}, "a") as file:
                    print(os.getpid(), file=file)
                while os.path.getsize({str(mark)!r}) < 3 * len(str(os.getpid()) + " "):
                    pass
            return line
        """
    )
    ended = run("-n", "1", "--timeout", "0.8", "--retries", "2", "--batch", "10", f"{path}:f", stdin=lines(range(6)))
    ended.expect(0, lines(range(6)))
    equal(len(mark.read_text().split()), 3)
    mark.unlink()
    run("-n", "1", "--timeout", "0.8", "--retries", "1", f"{path}:f", stdin=lines(range(6))).expect(
        1, "0\n1\n2\n", ("line 4 failed: TimeoutError",)
    )
    equal(len(mark.read_text().split()), 2)


def test_timeout_that_strikes_at_any_point():
    """Items that end just when they are interrupted: each is either done or has failed, and once, in order."""
    path = write(
        """
        import time
        def f(line):
            end = time.monotonic() + (0.02 + hash(line) % 100 / 1000 if line.endswith("7") else 0)
            while time.monotonic() < end:
                pass
            return line
        """
    )
    for words in ["--batch", "40"], ["--batch", "1"], []:
        ended = run("-n", "3", *words, "--timeout", "0.05", "--keep-going", f"{path}:f", stdin=lines(range(300)))
        failed = [int(line.split()[3]) - 1 for line in ended.err.splitlines() if " failed: TimeoutError" in line]
        done = [int(line) for line in ended.out.split()]
        equal(sorted(done + failed), list(range(300)))
        equal(done, sorted(done))
        equal(failed, sorted(failed))


def test_timeout_that_never_strikes():
    """Many short items, and a reader of the output that takes its time: nothing is interrupted, nothing lost."""
    run("-n", "3", "--timeout", "20", "-c", "line", stdin=NUMBERS).expect(0, NUMBERS)
    words = f"exec {BINARY} map -n 2 --timeout 2 --batch 50 -c 'line * 500' | (sleep 4; cat)"
    command("sh", "-c", words, stdin=NUMBERS.encode()).expect(0, lines(str(n) * 500 for n in range(1, 20001)))


def test_timeout_in_foreign_code():
    """What sits in C code cannot be interrupted: it is named, with its item, and the process leaves."""
    path = write("import threading\nlock = threading.Lock()\ndef f(line):\n    lock.acquire()\n    lock.acquire()\n")
    ended = run("-n", "2", "--timeout", "0.3", "--grace", "0.5", f"{path}:f", stdin="x\n")
    ended.expect(1, "", ("line 1 takes more than 0.3 s and cannot be interrupted (it is 'x')", "'map-", "within 0.5 s"))


def test_timeout_of_an_item_that_catches_everything():
    """An `except:` around it does not help it: the next thing that it does is not done in this worker."""
    path = write(
        """
        def f(line):
            try:
                while line == "2":
                    pass
            except:
                pass
            return line
        """
    )
    ended = run("-n", "1", "--timeout", "1", f"{path}:f", stdin="1\n2\n3\n4\n")
    ended.expect(0, "1\n2\n3\n4\n")
