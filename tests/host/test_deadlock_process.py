"""W7, I2: a deadlock that runs through processes is reported like any other, and what is only slow there is not."""

import re
import textwrap

from deadlock_support import planted, warned_once
from support import equal, run

CROSSED = """
    import interlace

    def left(a, b):
        a.recv()
        b.send(1)

    def right(a, b):
        b.recv()
        a.send(1)

    def main():
        with interlace.Group() as group:
            a, a_end = interlace.channel(0, name="a")
            b, b_end = interlace.channel(0, name="b")
            group.start(left, a_end, b, isolation="{}")
            group.start(right, a, b_end, isolation="process")
            del a, b, a_end, b_end

    main()
"""

RING = """
    import interlace

    def pass_on(before, after):
        for x in before:
            after.send(x)

    def main():
        ends = [interlace.channel(1, name=f"link {i}") for i in range(4)]
        with interlace.Group() as group:
            for i in range(4):
                kind = "process" if i == 2 else "interpreter"
                group.start(pass_on, ends[i][1], ends[(i + 1) % 4][0], isolation=kind)
            del ends

    main()
"""

KEPT = """
    import interlace

    def collect(lines):
        for line in lines:
            print(line, flush=True)

    def main():
        sender, lines = interlace.channel(8, name="lines")
        with interlace.Group(isolation="process") as group:
            group.start(collect, lines)
            sender.send("one")
            # the sender is neither closed nor deleted here

    main()
"""

RESULT = """
    import interlace

    def offer(meeting, unused):
        interlace.select((meeting, "take it"), unused)

    def main():
        meeting, taker = interlace.channel(0, name="meeting")
        kept, unused = interlace.channel(0, name="unused")
        with interlace.Group() as group:
            print(group.start(offer, meeting, unused, isolation="process").result())

    main()
"""

IN_A_MESSAGE = """
    import interlace

    def serve(requests, other):
        other.recv()
        answer = requests.recv()
        answer.send("done")

    def main():
        requests, served = interlace.channel(4, name="requests")
        other, other_end = interlace.channel(4, name="other")
        with interlace.Group(isolation="process") as group:
            group.start(serve, served, other_end)
            answer, answered = interlace.channel(4, name="answers")
            requests.send(answer)
            answer.close()
            del served
            answered.recv()

    main()
"""

MADE_THERE = """
    import threading
    import interlace

    def work(gives):
        first, second = interlace.channel(0, name="first"), interlace.channel(0, name="second")
        gives.send((first[0], second[0]))
        first[0].close()
        second[0].close()
        other = threading.Thread(target=first[1].recv)
        other.start()
        second[1].recv()

    def main():
        gives, given = interlace.channel(1)
        with interlace.Group(isolation="process") as group:
            group.start(work, gives)
            first, second = given.recv()

    main()
"""

PID = r"process worker '{}' \(pid \d+\)"

# The code, and what is said of it: plain words, or what PID makes of a name.
PLANTED = {
    "an interpreter and a process crossed": (
        CROSSED.format("interpreter"),
        "all 3 workers wait",
        "'left-1' waits for 'right-1', 'right-1' waits for 'left-1'",
        "script.py, line 4, in left\n    in recv on channel 'a', made at",
        "script.py, line 13, in main; its sender is held by " + PID.format("right-1"),
        PID.format("right-1") + " waits since 0",
        "script.py, line 8, in right\n    in recv on channel 'b', made at",
        "script.py, line 14, in main; its sender is held by 'left-1'",
    ),
    "two processes crossed": (
        CROSSED.format("process"),
        "all 3 workers wait",
        "script.py, line 4, in left\n    in recv on channel 'a', made at",
        "script.py, line 13, in main; its sender is held by " + PID.format("right-1"),
        "script.py, line 8, in right\n    in recv on channel 'b', made at",
        "script.py, line 14, in main; its sender is held by " + PID.format("left-1"),
    ),
    "a ring through a process": (
        RING,
        "all 5 workers wait",
        "'pass_on-1' waits for 'pass_on-4'",
        "'pass_on-3' waits for 'pass_on-2'",
        "its sender is held by " + PID.format("pass_on-3"),
        PID.format("pass_on-3") + " waits since",
    ),
    "kept by the parent": (
        KEPT,
        PID.format("collect-1") + " waits since .*script.py, line 4, in collect\n    in recv on channel 'lines'",
        "; its sender is held by 'script.py'",
        "for the end of worker 'collect-1'",
    ),
    "a process that offers": (
        RESULT,
        PID.format("offer-1") + " waits since .* in select, at .*script.py, line 4, in offer",
        "send on channel 'meeting', made at .*script.py, line 7, in main; its receiver is held by 'script.py'",
        "recv on channel 'unused', made at .*; its sender is held by 'script.py'",
        "for the result of worker 'offer-1'",
    ),
    "in a message": (
        IN_A_MESSAGE,
        "a sender lies in a message in 'requests'",
        "recv on channel 'other', made at .*; its sender is held by 'script.py'",
    ),
    "made in a process, where two threads wait": (
        MADE_THERE,
        "recv on channel 'first', made at .*script.py, line 5, in work; its sender is held by 'script.py'",
        "recv on channel 'second', made at .*script.py, line 5, in work; its sender is held by 'script.py'",
    ),
}


def test_w7_i2_planted_deadlocks_through_processes_are_reported():
    """Each within a second, with the process and the line; Deadlock is raised there as anywhere, and the exit code is 3."""
    for name, (script, *patterns) in PLANTED.items():
        ended = planted(name, script)
        missing = [pattern for pattern in patterns if not re.search(pattern, ended.err)]
        assert not missing, f"{name}: no {missing} in\n{ended.describe()}"
        assert ended.code == 3, f"{name}:\n{ended.describe()}"
        assert "Deadlock" in ended.err, f"{name}:\n{ended.describe()}"
        equal(ended.err.count("interlace: deadlock: "), 1)


def test_w7_i2_a_process_that_catches_deadlock_goes_on():
    """There it is a RuntimeError with the report of the host, and whoever catches it goes on."""
    ended = run("""
        import interlace

        def work(answers):
            sender, receiver = interlace.channel(0, name="own")
            for wait in (receiver.recv, lambda: sender.send(1), lambda: interlace.select(receiver, (sender, 1))):
                try:
                    wait()
                except interlace.Deadlock as error:
                    answers.send((str(error).split(":")[0], "process worker 'work-1' (pid" in error.report))

        def main():
            answers, answered = interlace.channel(0)
            with interlace.Group(isolation="process") as group:
                group.start(work, answers)
                del answers
                while True:
                    try:
                        print(*answered.recv())
                    except interlace.Deadlock:
                        pass                           # it waits, too
                    except interlace.EndOfChannel:
                        break

        main()
    """)
    wanted = ["recv on channel 'own' True", "send on channel 'own' True", "select over channel '(several)' True"]
    ended.expect(0, "\n".join([*wanted, ""]), None)
    equal(ended.err.count("interlace: deadlock: all 2 workers wait"), 3)


# Each ends by itself, though for a while all its workers wait, or seem to.
SLOW = {
    "computing": """
        def work(sender, nothing):
            end = time.monotonic() + 0.6
            while time.monotonic() < end:
                pass
            sender.send("late")
    """,
    "a sleeper": """
        def work(sender, nothing):
            time.sleep(0.6)
            sender.send("late")
    """,
    "a timeout": """
        def work(sender, nothing):
            try:
                nothing.recv(timeout=0.6)
            except TimeoutError:
                sender.send("late")
    """,
    "a timer": """
        def work(sender, nothing):
            interlace.select(nothing, interlace.after(0.6))
            sender.send("late")
    """,
    "a sleeping thread": """
        import threading

        def work(sender, nothing):
            def late():
                time.sleep(0.6)
                sender.send("late")
            threading.Thread(target=late).start()
            nothing.close()
            mine, never = interlace.channel(0)
            other = threading.Thread(target=never.recv, daemon=True)
            try:
                never.recv(timeout=1.0)
            except TimeoutError:
                pass
    """,
    "a thread that only then sends": """
        import threading

        def work(sender, nothing):
            mine, yours = interlace.channel(0)
            def late():
                time.sleep(0.6)
                mine.send("late")
            threading.Thread(target=late).start()
            sender.send(yours.recv())                  # waits for a thread of its own
    """,
    "an event loop": """
        import asyncio

        def work(sender, nothing):
            async def late():
                await asyncio.sleep(0.6)
                await sender.send_async("late")
            asyncio.run(late())
    """,
    "a pipe": """
        import os, threading

        def work(sender, nothing):
            fd, write = os.pipe()
            with subprocess.Popen(["sh", "-c", "sleep 0.6; printf late"], stdout=write):
                sender.send(os.read(fd, 10).decode())
    """,
    "a worker of its own": """
        def slow(sender):
            time.sleep(0.6)
            sender.send("late")

        def work(sender, nothing):
            with interlace.Group() as group:
                group.start(slow, sender)
    """,
    "a signal handler": """
        import queue, signal, threading

        def work(sender, nothing):
            late = queue.Queue()
            signal.signal(signal.SIGALRM, lambda *_: late.put("late"))
            signal.setitimer(signal.ITIMER_REAL, 0.6)
            threading.Thread(target=lambda: list(nothing), daemon=True).start()
            sender.send(late.get())                    # waits for a thread of its own, or for the signal
    """,
    "a thread that is no Python's": """
        def work(sender, nothing):
            import faulthandler
            sender.send("late")
            log = open(os.devnull, "w")
            faulthandler.dump_traceback_later(0.6, exit=True, file=log)
            nothing.recv()                             # ends with the process
    """,
    "it starts slowly": """
        if interlace.current_worker().name == "work-1":
            time.sleep(0.6)

        def work(sender, nothing):
            sender.send("late")
    """,
    "it dies": """
        def work(sender, nothing):
            sender.send("late")
            sender.send(os.getpid())
            nothing.recv()
    """,
    "it is stopped, and dies": """
        def work(sender, nothing):
            sender.send("late")
            sender.send(os.getpid())
            nothing.recv()
    """,
}

FRAME = """
import os, subprocess, threading, time
import interlace

{}

def main():
    sender, receiver = interlace.channel(0)
    never, nothing = interlace.channel(0)
    with interlace.Group() as group:
        worker = group.start(work, sender, nothing, isolation="process")
        del sender
        print(receiver.recv())
        {}
        for _ in receiver:
            pass

main()
"""

PID = {
    "it dies": "threading.Timer(0.6, os.kill, (receiver.recv(), 9)).start()",
    # By then it has said what it waits for. What has been killed is as silent as this, until it is dead.
    "it is stopped, and dies": "pid = receiver.recv(); time.sleep(0.4); os.kill(pid, 19); "
    "subprocess.Popen(['sh', '-c', f'sleep 1; kill -9 {pid}'])",
}


def test_w7_i2_what_is_only_slow_in_a_process_is_no_deadlock():
    """Processes that compute, sleep, wait for a timer, a thread, a loop, a pipe, a signal; that start or die: not a word."""
    for name, code in SLOW.items():
        dies = name in PID or name == "a thread that is no Python's"
        ended = run(FRAME.format(textwrap.dedent(code).strip(), PID.get(name, "")))
        try:
            if dies:
                ended.expect(1, "late\n", ("WorkerDied",))
                assert "deadlock" not in ended.err and "warning" not in ended.err, ended.describe()
            else:
                ended.expect(0, "late\n", "")
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


PARTIAL = """
    import time
    import interlace

    def left(a, b):
        a.recv()
        b.send(1)

    def right(a, b):
        b.recv()
        a.send(1)

    def main():
        with interlace.Group(isolation="process") as group:
            a, a_end = interlace.channel(0, name="a")
            b, b_end = interlace.channel(0, name="b")
            group.start(left, a_end, b)
            group.start(right, a, b_end)
            del a, b, a_end, b_end
            for line in interlace.input:
                pass
            group.cancel()

    main()
"""


def test_w7_i2_a_partial_deadlock_of_processes_is_warned_of_once():
    """Two processes that wait only for one another while the pipeline goes on: one warning, and nobody is interrupted."""
    warned_once(PARTIAL, "its sender is held by process worker")
