"""`interlace dump PID` and SIGQUIT: what every worker does now, without stopping any."""

import os
import re
import signal

from support import equal, host, run, start, wait_until

SCRIPT = """
    import threading
    import time
    import interlace

    def compute(ready):
        ready.send("compute")
        n = 0
        while True:
            n += 1

    def lock(ready):                               # one call in C that keeps the interpreter's lock
        ready.send("lock")
        sum(range(10**11))

    def feed(sender):
        for n in range(10**9):
            sender.send(n)
            time.sleep(0.001)

    def eat(receiver, ready):
        other = threading.Thread(target=idle, args=(ready,))
        other.start()
        for n in receiver:
            pass

    def idle(ready):
        ready.send("idle")
        time.sleep(1000)

    def choose(first, second):
        interlace.select(first, (second, "x"))

    def main():
        ready, seen = interlace.channel(0, name="ready")
        sender, receiver = interlace.channel(4, name="food")
        never, nothing = interlace.channel(3, name="never")
        full, full_end = interlace.channel(1, name="full")
        full.send(1)
        with interlace.Group() as group:
            group.start(compute, ready)
            group.start(lock, ready)
            group.start(feed, sender)
            group.start(eat, receiver, ready)
            group.start(choose, nothing, full)
            for _ in range(3):
                seen.recv()
            print("all started", flush=True)
            del sender, receiver

    main()
"""


def check_state(text, pid):
    """The state of the script above, as text."""
    workers = {}
    channels = {}
    for line in text.splitlines():
        if found := re.match(r"worker '([^']+)' \(\d+\): (.*)", line):
            lines = workers[found[1]] = [found[2]]
        elif found := re.match(r"channel '([^']+)', made at \S+script.py, line \d+, in main: (.*)", line):
            channels[found[1]] = found[2]
        elif line.startswith("  "):
            lines.append(line.strip())
    equal(text.splitlines()[0], f"interlace {pid}: 6 workers, {len(channels)} channels")
    equal(sorted(workers), ["choose-1", "compute-1", "eat-1", "feed-1", "lock-1", "script.py"])
    figures = r"; CPU (\d+\.\d\d) s; (\d+) received, (\d+) sent"

    def has(name, doing, *lines):
        found = re.fullmatch(doing + figures, workers[name][0])
        assert found, f"{name}: {workers[name]}\n{text}"
        for line in lines:
            assert any(line in got for got in workers[name][1:]), f"{name}: no {line!r} in\n{text}"
        return float(found[1]), int(found[2]), int(found[3])

    runs = "runs, or is in a call that is not Interlace's"
    cpu, received, sent = has("compute-1", runs, "script.py, line 9, in compute")
    equal((received, sent), (0, 1))
    found = re.fullmatch(r"in C code that keeps its interpreter's lock; CPU \d+\.\d\d s", workers["lock-1"][0])
    assert found, workers["lock-1"]  # what went through its ends is not known
    _, received, sent = has("feed-1", f"(?:{runs}|waits .*)", "in feed")
    assert sent > 0 and received == 0, text
    _, received, sent = has("eat-1", f"(?:{runs}|waits since .* for recv on 'food')", "in eat", "thread ", "in idle")
    assert received > 0, text
    equal(workers["eat-1"][0].count("sent"), 1)
    has("choose-1", r"waits since \d+\.\d s for select over recv on 'never', send on 'full'", "in choose")
    _, received, sent = has("script.py", r"waits since \d+\.\d s for the end of worker 'compute-1'", "in main")
    equal((received, sent), (3, 1))
    equal(channels["full"], "1 of 1 wait; 2 senders, 1 receiver; 0 messages/s")
    assert re.fullmatch(r"\d of 4 wait; 1 sender, 1 receiver; \d+ messages/s", channels["food"]), text
    return cpu


def test_dump_and_sigquit():
    """Both tell all of it, and nobody stops: the worker that computes has had more time in the second one."""
    with start(SCRIPT, words=("--grace", "0.2")) as started:
        started.printed("all started")
        wait_until(lambda: waits_for_choice(started.pid), "the last worker to wait")
        dump = host("dump", str(started.pid)).expect(0, None, "")
        first = check_state(dump.out, started.pid)
        equal(started.err, "")
        started.send_signal(signal.SIGQUIT)
        started.printed("messages/s")
        second = check_state(started.err, started.pid)
        assert second > first, (first, second)
        started.send_signal(signal.SIGTERM)
        started.end().expect(143, "all started\n", None)


def waits_for_choice(pid):
    ended = host("dump", str(pid))
    return ended.code == 0 and "for select over" in ended.out and " 0 received, 0 sent\n    " in ended.out


def test_dump_of_a_pipe_while_it_starts_and_ends():
    """A script asks for its own state, again and again, while workers come and go."""
    ended = run("""
        import json
        import os
        import socket
        import subprocess
        import sys
        import interlace

        def work(n):
            return n

        def ask(what):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(f"\\0interlace-{os.getpid()}")
                connection.sendall(what)
                answer = b""
                while data := connection.recv(65536):
                    answer += data
            return answer.decode()

        def main():
            for _ in range(10):
                with interlace.Group() as group:
                    for n in range(5):
                        group.start(work, n, name='a "quoted" \\\\ name')
                    state = json.loads(ask(b"state\\n"))
                    assert state["pid"] == os.getpid()
                    names = {worker["name"] for worker in state["workers"]}
                    assert names <= {"script.py", 'a "quoted" \\\\ name'}, names
                    main = state["workers"][0]
                    assert main["state"] == "running" and "in ask" in main["threads"][0]["stack"], main
            print(repr(ask(b"what?\\n")), ask(b"dump\\n").splitlines()[0])

        main()
    """)
    ended.expect(0, None, "")
    assert re.fullmatch(r"'' interlace \d+: 1 worker, 0 channels\n", ended.out), ended.out


def test_dump_of_nothing():
    """A process that is no host, a number that is none, no number at all: one line each, and the right exit code."""
    text = f"interlace: process {os.getppid()} is no interlace run, pipe or map\n"
    host("dump", str(os.getppid())).expect(1, "", text)
    wrong = "interlace: dump takes the number of a process (try interlace dump --help)\n"
    for words in ((), ("x",), ("0",), ("-5",), ("1", "2"), ("99999999999999999999",)):
        host("dump", *words).expect(2, "", wrong)
    host("dump", "--help").expect(0, ("Usage: interlace dump PID", "SIGQUIT"), "")


def test_names_take_one_line_and_change_no_terminal():
    """What cannot be shown of a name is a '?': in dumps, in what is said of a deadlock, in the table of --stats, in tags."""
    script = """
        import interlace, sys

        def wait(receiver):
            print("ready", flush=True)
            try:
                receiver.recv()
            except interlace.Deadlock:
                pass

        sender, receiver = interlace.channel(4, name="two\\nlines\\x1b[31m\\u202e\\x85 é")
        sender.send(0)
        receiver.recv()
        with interlace.Group() as group:
            group.start(wait, receiver, name="worker\\n\\x1b[31m é")
            if len(sys.argv) == 1:
                sys.stdin.readline()
                sender.send(1)
    """
    with start(script, stdin=b"") as started:
        started.printed("ready")
        channel, worker = "'two?lines?[31m?? é'", "'worker??[31m é'"

        def dump():
            out = host("dump", str(started.process.pid)).expect(0, None, "").out
            return out if f"recv on {channel}" in out else None

        out = wait_until(dump, "the wait to be told")
        assert f"\nworker {worker} (" in out and f"\nchannel {channel}, made at" in out, out
        assert "\x1b" not in out, out
        started.write(b"\n")
        started.end().expect(0, "ready\n", "")
    ended = run(script, "deadlock", words=["--stats", "--tag"]).expect(0, "[worker??[31m é] ready\n", None)
    for words in (f"in recv on channel {channel}", f"worker {worker} waits", "\nworker??[31m é  ", "\ntwo?lines?[31m?? é  "):
        assert words in ended.err, f"{words!r}: {ended.describe()}"
    assert "\x1b" not in ended.err, ended.describe()
    host("no\x1b[31m").expect(2, "", ("interlace: 'no?[31m' is not a command",))
