"""W4: Ctrl-C and SIGTERM end everything, with 130 and 143, and leave no process."""

import signal
import time

from support import DEADLINE, equal, start, start_pipe, wait_until

# Workers in every kind of wait, one that computes; each says "cleaned" in a finally block.
BUSY = """
    import os
    import interlace

    def clean(wait):
        try:
            os.write(1, b"started\\n")
            wait()
        finally:
            os.write(1, b"cleaned\\n")

    def forever():
        while True:
            pass

    def recv(end):
        clean(end.recv)

    def send(end):
        clean(lambda: end.send(1))

    def select(end):
        clean(lambda: interlace.select(end, interlace.after(1000)))

    def compute():
        clean(forever)

    def nest(end):
        def body():
            with interlace.Group() as group:
                group.start(recv, end)
        clean(body)

    def main():
        with interlace.Group() as group:
            sender, receiver = interlace.channel(0)
            for target in (recv, select, nest):
                group.start(target, receiver)
            group.start(compute)
            clean(receiver.recv)

    main()
"""
STARTED = 6

# A worker that no cancelling ends, beside one that says when it is cancelled.
STUCK = """
    import os, threading
    import interlace

    def stuck(ready):
        lock = threading.Lock()
        lock.acquire()
        ready.send(None)
        lock.acquire()

    def main():
        with interlace.Group() as group:
            sender, receiver = interlace.channel(0)
            group.start(stuck, sender, name="sleeper")
            receiver.recv()
            os.write(1, b"started\\n")
            try:
                receiver.recv()
            finally:
                os.write(1, b"cleaned\\n")

    main()
"""


def check_nothing_left(started):
    wait_until(lambda: not started.left(), lambda: f"processes {started.left()} to end")


def test_w4_sigint_and_sigterm_cancel_everything():
    """130 and 143; every finally block has run; nothing is printed; no process is left."""
    for number, code in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
        with start(BUSY) as started:
            started.printed("started", times=STARTED)
            started.send_signal(number)
            ended = started.end(10)
            check_nothing_left(started)
        ended.expect(code)
        equal(ended.out.count("cleaned"), STARTED)


def test_w4_signals_end_a_pipe():
    """The same for a pipeline of stages, replicas and standard input that stays open."""
    for number, code in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
        stage = """
            # -n 2 copy.py
            import os, interlace
            try:
                os.write(2, b"started\\n")
                for line in interlace.input:
                    interlace.output.send(line)
            finally:
                os.write(2, b"cleaned\\n")
        """
        busy = """
            # busy.py
            import os
            os.write(2, b"started\\n")
            while True:
                pass
        """
        with start_pipe(stage, busy, stage, stdin=b"") as started:
            started.printed("started", times=5)
            started.write(b"a\nb\nc\n")
            started.send_signal(number)
            ended = started.end(10)
            check_nothing_left(started)
        ended.expect(code, "", "started\n" * 5 + "cleaned\n" * 4)


def test_w4_a_signal_to_a_flood():
    """A pipeline that runs at full speed, its channels full, ends as well."""
    source = """
        # source.py
        import interlace
        for n in __import__("itertools").count():
            interlace.output.send(n)
    """
    middle = "-n 2 -c 'import interlace\nfor n in interlace.input: interlace.output.send(n)'"
    with start_pipe(source, middle) as started:
        started.printed("1000\n")
        started.send_signal(signal.SIGINT)
        ended = started.end(10)
        check_nothing_left(started)
    ended.expect(130)
    assert ended.out.endswith("\n"), ended.out[-100:]


def test_w4_a_second_ctrl_c_exits_at_once():
    """While a worker that does not end is being waited for; the exit code stays that of the second signal."""
    for second, code in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
        with start(STUCK, words=["--grace", "100"]) as started:
            started.printed("started")
            started.send_signal(signal.SIGINT)
            started.printed("cleaned")
            assert started.process.poll() is None, "it did not wait for the worker"
            started.send_signal(second)
            ended = started.end(5)
            check_nothing_left(started)
        ended.expect(code, "started\ncleaned\n")


def test_w4_a_stuck_worker_is_named_after_ctrl_c():
    """After the grace period the process leaves with 130 and says why it had to wait."""
    with start(STUCK, words=["--grace", "0.5"]) as started:
        started.printed("started")
        started.send_signal(signal.SIGINT)
        started.end(10).expect(130, None, ("worker 'sleeper'", "did not end within 0.5 s", "in stuck"))


def test_w4_a_signal_while_it_starts():
    """Whenever the signal comes: 130, no traceback of anything but the script, no hang."""
    for delay in (0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2):
        with start(BUSY) as started:
            time.sleep(delay)  # on purpose: every moment has to do
            started.send_signal(signal.SIGINT)
            ended = started.end(10)
            check_nothing_left(started)
        if ended.code != -signal.SIGINT:  # before main() it ends by the signal itself, which a shell calls 130, too
            ended.expect(130)


def test_w4_ctrl_c_reaches_the_children_of_workers():
    """A process that a worker started gets the signal that the terminal sends to all, and ends by it."""
    script = """
        import subprocess
        child = subprocess.Popen(["sleep", "300"])
        print("child", child.pid, flush=True)
        child.wait()
    """
    with start(script) as started:
        started.printed("child ")
        equal(len(started.left()), 2)
        started.send_signal(signal.SIGINT, whole_session=True)
        ended = started.end(DEADLINE)
        check_nothing_left(started)
    ended.expect(130, None)


def test_w4_sys_exit_0_after_a_signal_is_still_130():
    """What a script does while it is cancelled does not hide that it was."""
    with start(
        """
        import os, sys
        import interlace
        try:
            os.write(1, b"started\\n")
            interlace.select(interlace.after(1000))
        finally:
            sys.exit(0)
        """
    ) as started:
        started.printed("started")
        started.send_signal(signal.SIGTERM)
        started.end(10).expect(143)
