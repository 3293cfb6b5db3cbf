"""W7: a deadlock is reported with the right culprits, and what is only slow is not."""

import os

from deadlock_support import planted, warned_once
from support import DEADLINE, command, environment, equal, run, write

# Each is a script that ends up with nobody able to move: the code, and for each worker that waits what is said of it.
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
            group.start(left, a_end, b)
            group.start(right, a, b_end)
            del a, b, a_end, b_end

    main()
"""

RING = """
    import interlace

    def pass_on(before, after):
        for x in before:
            after.send(x)

    def main():
        ends = [interlace.channel(1, name=f"link {i}") for i in range(5)]
        with interlace.Group() as group:
            for i in range(5):
                group.start(pass_on, ends[i][1], ends[(i + 1) % 5][0])
            del ends

    main()
"""

RENDEZVOUS = """
    import interlace

    def offer(meeting):
        meeting.send("take it")

    def main():
        meeting, taker = interlace.channel(0, name="meeting")
        with interlace.Group() as group:
            group.start(offer, meeting)

    main()
"""

KEPT_ALIVE = """
    import interlace

    def collect(lines):
        for line in lines:
            print(line, flush=True)

    def main():
        sender, lines = interlace.channel(8, name="lines")
        with interlace.Group() as group:
            group.start(collect, lines)
            sender.send("one")
            # the sender is neither closed nor deleted here

    main()
"""

SELECT = """
    import interlace

    def choose(first, second, full):
        interlace.select(first, second, (full, "more"))

    def main():
        with interlace.Group() as group:
            gone, first = interlace.channel(1, name="first")
            kept, second = interlace.channel(1, name="second")
            full, full_end = interlace.channel(1, name="full")
            full.send("it is")
            group.start(choose, first, second, full)
            del gone

    main()
"""

INNER_GROUP = """
    import interlace

    def inner(orders):
        orders.recv()

    def outer(orders):
        with interlace.Group() as group:
            group.start(inner, orders)

    def main():
        send, orders = interlace.channel(0, name="orders")
        with interlace.Group() as group:
            group.start(outer, orders)

    main()
"""

JOIN = """
    import interlace

    def child(questions, answers):
        questions.send("may I?")
        answers.recv()

    def main():
        asks, questions = interlace.channel(1, name="questions")
        answers, answered = interlace.channel(1, name="answers")
        with interlace.Group() as group:
            worker = group.start(child, asks, answered)
            print(worker.result())                     # before it has been answered
            answers.send(questions.recv())

    main()
"""

SEMAPHORE = """
    import interlace

    def work(first, second, barrier):
        with first:
            barrier.wait()
            with second:
                pass

    def main():
        one, other, both = interlace.Semaphore(1), interlace.Semaphore(1), interlace.Barrier(2)
        with interlace.Group() as group:
            group.start(work, one, other, both)
            group.start(work, other, one, both)

    main()
"""

BARRIER = """
    import interlace

    def meet(barrier):
        barrier.wait()

    def main():
        barrier = interlace.Barrier(3)
        with interlace.Group() as group:
            group.start(meet, barrier)
            group.start(meet, barrier)

    main()
"""

THREADS = """
    import threading
    import interlace

    def work(a, b):
        other = threading.Thread(target=a.recv)
        other.start()
        b.recv()

    def main():
        a, a_end = interlace.channel(0, name="a")
        b, b_end = interlace.channel(0, name="b")
        with interlace.Group() as group:
            group.start(work, a_end, b_end)

    main()
"""

COUNTER = """
    import interlace

    def count(counter):
        counter.add()
        counter.wait(3)

    def main():
        counter = interlace.Counter()
        with interlace.Group() as group:
            group.start(count, counter)
            group.start(count, counter)

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
        answer, answered = interlace.channel(4, name="answers")
        with interlace.Group() as group:
            group.start(serve, served, other_end)
            requests.send(answer)
            answer.close()
            del served
            answered.recv()

    main()
"""

ALONE = """
    import interlace

    def main():
        sender, receiver = interlace.channel(0, name="own")
        receiver.recv()

    main()
"""

EXECUTOR = """
    import interlace

    def task(answers):
        return answers.recv()

    def main():
        send, answers = interlace.channel(0, name="answers")
        with interlace.Executor(2) as executor:
            print(executor.submit(task, answers).result())
            send.send("too late")

    main()
"""

EXECUTOR_MAP = EXECUTOR.replace("print(executor.submit(task, answers).result())", "print(list(executor.map(task, [answers])))")
EXECUTOR_AHEAD = EXECUTOR_MAP.replace("[answers]", "iter([answers]), buffersize=2")

IN_AN_EXECUTOR = (
    "worker 'script.py' waits for another of its threads, at ",
    "script.py, line 9, in main",
    "recv on channel 'answers'",
    "; its sender is held by 'script.py'",
    "'script.py' waits for 'executor-1.1', 'executor-1.1' waits for 'script.py'",
)

PLANTED = {
    "crossed": (
        CROSSED,
        "'left-1' waits for 'right-1', 'right-1' waits for 'left-1'",
        "script.py, line 4, in left\n    in recv on channel 'a', made at",
        "script.py, line 13, in main; its sender is held by 'right-1'",
        "script.py, line 8, in right\n    in recv on channel 'b', made at",
        "script.py, line 14, in main; its sender is held by 'left-1'",
    ),
    "ring": (
        RING,
        "all 6 workers",
        *(f"'pass_on-{i}' waits for 'pass_on-{(i + 3) % 5 + 1}'" for i in range(1, 6)),
    ),
    "rendezvous": (
        RENDEZVOUS,
        "worker 'offer-1'",
        "in send on channel 'meeting'",
        "; its receiver is held by 'script.py'",
        "for the end of worker 'offer-1'",
    ),
    "kept alive": (KEPT_ALIVE, "recv on channel 'lines'", "; its sender is held by 'script.py'", "in collect"),
    "select": (
        SELECT,
        "worker 'choose-1'",
        "in select",
        "recv on channel 'first'",
        "; its other side is gone",
        "recv on channel 'second'",
        "; its sender is held by 'script.py'",
        "send on channel 'full'",
        "; its receiver is held by 'script.py'",
    ),
    "inner group": (
        INNER_GROUP,
        "for the end of worker 'outer-1'",
        "for the end of worker 'inner-1'",
        "recv on channel 'orders'",
        "; its sender is held by 'script.py'",
    ),
    "join": (JOIN, "for the result of worker 'child-1'", "recv on channel 'answers'", "sender is held by 'script.py'"),
    "semaphore": (SEMAPHORE, "acquire on semaphore", "line 10, in main", "worker 'work-1'", "worker 'work-2'"),
    "barrier": (BARRIER, "all 3 workers", "'meet-1'", "'meet-2'", "for a counter or barrier", "line 7, in main"),
    "threads": (THREADS, "recv on channel 'a'", "recv on channel 'b'", "worker 'work-1'"),
    "counter": (COUNTER, "for a counter", "line 8, in main", "held by 'script.py', 'count-1' and 'count-2'"),
    "in a message": (IN_A_MESSAGE, "a sender lies in a message in 'requests'", "recv on channel 'other'"),
    "executor": (EXECUTOR, *IN_AN_EXECUTOR),
    "executor's map": (EXECUTOR_MAP, *IN_AN_EXECUTOR),
    "executor's map that reads as it goes": (EXECUTOR_AHEAD, *IN_AN_EXECUTOR),
    "alone": (ALONE, "the only worker waits", "recv on channel 'own'", "'script.py' waits for itself"),
}


def test_w7_planted_deadlocks_are_reported():
    """Each of them is reported within a second with its culprits, raised in those who wait, and the exit code is 3."""
    for name, (script, *words) in PLANTED.items():
        ended = planted(name, script, *words)
        assert ended.code == 3, f"{name}:\n{ended.describe()}"
        assert "Deadlock" in ended.err, f"{name}:\n{ended.describe()}"
        equal(ended.err.count("interlace: deadlock: "), 1)


# Each ends by itself, though for a while all its workers wait, or seem to.
SLOW = {
    "a timer": """
        import interlace

        def work(sender, receiver):
            case, _ = interlace.select(receiver, interlace.after(0.6))
            sender.send("late")

        def main():
            sender, receiver = interlace.channel(0)
            never, nothing = interlace.channel(0)
            with interlace.Group() as group:
                group.start(work, sender, nothing)
                print(receiver.recv())

        main()
    """,
    "a timeout": """
        import interlace

        def work(sender, receiver):
            try:
                receiver.recv(timeout=0.6)
            except TimeoutError:
                sender.send("late")

        def main():
            sender, receiver = interlace.channel(0)
            never, nothing = interlace.channel(0)
            with interlace.Group() as group:
                group.start(work, sender, nothing)
                print(receiver.recv())

        main()
    """,
    "a sleeper": """
        import time
        import interlace

        def work(sender):
            time.sleep(0.6)
            sender.send("late")

        def main():
            sender, receiver = interlace.channel(0)
            with interlace.Group() as group:
                group.start(work, sender)
                print(receiver.recv())

        main()
    """,
    "a sleeping thread": """
        import threading
        import time
        import interlace

        def late(sender):
            time.sleep(0.6)
            sender.send("late")

        def main():
            sender, receiver = interlace.channel(0)
            threading.Thread(target=late, args=(sender,)).start()
            print(receiver.recv())

        main()
    """,
    "a child process": """
        import subprocess
        import interlace

        def work(sender):
            subprocess.run(["sleep", "0.6"], check=True)
            sender.send("late")

        def main():
            sender, receiver = interlace.channel(0)
            with interlace.Group() as group:
                group.start(work, sender)
                print(receiver.recv())

        main()
    """,
    "an event loop": """
        import asyncio
        import interlace

        def work(sender):
            async def late():
                await asyncio.sleep(0.6)
                await sender.send_async("late")
            asyncio.run(late())

        def main():
            sender, receiver = interlace.channel(0)
            with interlace.Group() as group:
                group.start(work, sender)
                print(receiver.recv())

        main()
    """,
    "a pipe": """
        import os
        import interlace

        def work(fd, sender):
            sender.send(os.read(fd, 10).decode())

        def main():
            fd, write = os.pipe()
            os.set_inheritable(write, True)
            sender, receiver = interlace.channel(0)
            import subprocess
            subprocess.Popen(["sh", "-c", f"sleep 0.6; printf late >&{write}"], pass_fds=[write])
            with interlace.Group() as group:
                group.start(work, fd, sender)
                print(receiver.recv())

        main()
    """,
    "a descriptor among the cases": """
        import os
        import subprocess
        import interlace

        def main():
            fd, write = os.pipe()
            sender, receiver = interlace.channel(0)
            subprocess.Popen(["sh", "-c", f"sleep 0.6; printf late >&{write}"], pass_fds=[write])
            os.close(write)
            with open(fd, "rb") as pipe:
                case, _ = interlace.select(receiver, pipe)
                assert case is pipe
                print(pipe.read().decode())

        main()
    """,
    "a kept interpreter": """
        import time
        import interlace
        from interlace import interpreters

        def main():
            queue = interpreters.create_queue()
            kept = interpreters.create()
            import threading
            thread = threading.Thread(target=kept.call, args=(put_late, queue))
            thread.start()
            print(queue.get())
            thread.join()

        def put_late(queue):
            time.sleep(0.6)
            queue.put("late")

        if __name__ == "__main__":
            main()
    """,
    "a time limit": """
        import interlace
        from _interlace import _within as within

        def main():
            sender, receiver = interlace.channel(0)
            try:
                within(0.6, receiver.recv)
            except TimeoutError:
                print("late")

        main()
    """,
    "a slow consumer": """
        import time
        import interlace

        def consume(numbers):
            for n in numbers:
                time.sleep(0.15)

        def produce(numbers):
            for n in range(5):
                numbers.send(n)

        def main():
            with interlace.Group() as group:
                sender, receiver = interlace.channel(0)
                group.start(consume, receiver)
                group.start(produce, sender)
                del sender, receiver
            print("late")

        main()
    """,
    "an executor": """
        import time
        import interlace

        def slow():
            time.sleep(0.6)
            return "late"

        def main():
            with interlace.Executor(2) as executor:
                print(executor.submit(slow).result())

        main()
    """,
    "an executor's map": """
        import time
        import interlace

        def slow(answer):
            time.sleep(0.6)
            return answer

        def main():
            with interlace.Executor(2) as executor:
                print(*executor.map(slow, ["late"]))
                try:
                    for _ in executor.map(slow, ["later"], timeout=0.2):
                        print("too early")
                except TimeoutError:
                    pass

        main()
    """,
}


def test_w7_what_is_only_slow_is_no_deadlock():
    """Programs that wait for a timer, a thread, a process, a descriptor and the like: not a word."""
    for name, script in SLOW.items():
        ended = run(script)
        try:
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

    def busy(sender):
        while True:                                    # waits often, and never for long
            sender.send(1, timeout=60)
            time.sleep(0.01)

    def drain(receiver):
        for _ in receiver:
            pass

    def main():
        with interlace.Group() as group:
            a, a_end = interlace.channel(0, name="a")
            b, b_end = interlace.channel(0, name="b")
            group.start(left, a_end, b)
            group.start(right, a, b_end)
            del a, b, a_end, b_end
            sender, receiver = interlace.channel(0, name="busy")
            group.start(busy, sender)
            group.start(drain, receiver)
            del sender, receiver
            for line in interlace.input:
                pass
            group.cancel()

    main()
"""


def test_w7_a_partial_deadlock_is_warned_of_once():
    """Two workers wait only for one another while others go on: one warning that names the two; nobody is interrupted."""
    ended = warned_once(PARTIAL, "its sender is held by 'right-1'")
    for name in ("busy", "drain", "script.py'"):
        assert f"worker '{name}" not in ended.err, ended.describe()


def test_w7_who_catches_deadlock_goes_on():
    """Deadlock is a RuntimeError like others: it has the report, and whoever catches it goes on."""
    ended = run("""
        import interlace

        def main():
            sender, receiver = interlace.channel(0, name="own")
            for wait in (receiver.recv, lambda: sender.send(1), lambda: interlace.select(receiver, (sender, 1)),
                         lambda: next(iter(receiver)), lambda: receiver.recv_many(3), lambda: sender.send_many([1])):
                try:
                    wait()
                except RuntimeError as error:
                    assert type(error) is interlace.Deadlock, error
                    print(str(error).split(":")[0], "own" in error.report, len(error.report.splitlines()) > 3)
            sender.close()
            print(list(receiver))

        main()
    """)
    own = " True True\n"
    wanted = ["recv on channel 'own'", "send on channel 'own'", "select over channel '(several)'"]
    wanted += ["iteration over channel 'own'", "recv_many on channel 'own'", "send_many on channel 'own'"]
    ended.expect(0, own.join(wanted) + own + "[]\n", None)
    equal(ended.err.count("interlace: deadlock: the only worker waits"), 6)


MANY = """
    import interlace

    def pass_on(jobs, before, after):
        job = jobs.recv()
        after.send(before.recv())

    def main():
        count, isolation = {count}, "{isolation}"
        sender, jobs = interlace.channel(count, redeliver=True)
        sender.send_many(range(count))
        try:
            with interlace.Group(isolation=isolation) as group:
                ends = [interlace.channel(1) for _ in range(count)]
                for i in range(count):
                    group.start(pass_on, jobs, ends[i][1], ends[(i + 1) % count][0])
                del ends
        except BaseExceptionGroup as caught:
            print("all are of one kind:", {{type(error).__name__ for error in caught.exceptions}})
        sender.close()
        found = [(job, jobs.redelivered) for job in jobs]
        print("all come back:", sorted(found) == [(job, True) for job in range(count)])

    main()
"""


def test_w7_a_deadlock_of_many():
    """Each is interrupted while those that were before it cancel it: Deadlock stands, and what they had received comes back."""
    for count, isolation in ((50, "interpreter"), (6, "process")):
        # A busy machine takes its time to end so many interpreters.
        ended = run(MANY.format(count=count, isolation=isolation), words=("--grace=60",), limit=2 * DEADLINE)
        ended.expect(0, "all are of one kind: {'Deadlock'}\nall come back: True\n", None)
        assert "Traceback" not in ended.err and "itself" not in ended.err, ended.describe()


def test_w7_ends_that_c_holds():
    """In plain Python, which may do anything at any time, there is no deadlock of all, and its ends count as held."""
    script = write("""
        import threading, time
        import interlace

        def work(sender, receiver):
            sender.send(receiver.recv())

        with interlace.Group() as group:
            ask, asked = interlace.channel(0)
            answer, answered = interlace.channel(0)
            group.start(work, answer, asked)
            time.sleep(1.5)
            ask.send("late")
            print(answered.recv())
    """)
    env = environment(PYTHONPATH=os.environ["PLAIN_PYTHONPATH"])
    command(os.environ["PLAIN_PYTHON"], script, env=env).expect(0, "late\n", "")
