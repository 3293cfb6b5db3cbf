"""I2: signal handlers in a worker that is a process of its own: they run while its main thread waits."""

import os
import signal
import threading
import time

import interlace
from interlace import interpreters
from support import asleep, equal, raises, run, start, wait_until

LIMIT = 60.0  # seconds for what takes a tenth of one: a wait that is not interrupted lasts this long, or for ever


class Rang(BaseException):
    pass


def ring(number, frame):
    raise Rang("wake up")


def ring_when_asleep(thread):
    asleep(thread)
    os.kill(os.getpid(), signal.SIGALRM)


def in_process(target, *args):
    with interlace.Group(isolation="process") as group:
        return group.start(target, *args).result()


# ---- a handler that raises ------------------------------------------------------------------------------------------


def park(receiver):
    receiver.recv()


def every_wait():
    """Which kinds of wait a handler's exception does not leave at once."""
    sender, receiver = interlace.channel(0)
    permits = interlace.Semaphore(1)
    permits.acquire()
    queue = interpreters.create_queue()

    def result():
        with interlace.Group() as group:
            group.start(park, receiver).result()

    def end_of_group():
        with interlace.Group() as group:
            for _ in range(2):
                group.start(park, receiver)

    waits = {
        "recv": receiver.recv,
        "recv until": lambda: receiver.recv(timeout=LIMIT),
        "next": lambda: next(receiver),
        "recv_many": lambda: receiver.recv_many(3),
        "send": lambda: sender.send(1),
        "send_many": lambda: sender.send_many([1, 2]),
        "select": lambda: interlace.select(receiver),
        "select until": lambda: interlace.select(receiver, timeout=LIMIT),
        "select to send": lambda: interlace.select((sender, 1), receiver),
        "select a timer": lambda: interlace.select(receiver, interlace.after(LIMIT)),
        "acquire": permits.acquire,
        "get": queue.get,
        "result": result,
        "the end of a group": end_of_group,
    }
    signal.signal(signal.SIGALRM, ring)
    endured = []
    for name, wait in waits.items():
        begun = time.monotonic()
        bell = threading.Thread(target=ring_when_asleep, args=(threading.get_native_id(),))
        bell.start()
        try:
            wait()
            endured.append(name)
        except Rang as rang:
            if str(rang) != "wake up" or time.monotonic() - begun > LIMIT / 2:
                endured.append(name)
        bell.join()
    threading.Thread(target=sender.send, args=("well",)).start()
    return endured, receiver.recv(timeout=LIMIT)


def test_a_handler_s_exception_leaves_every_kind_of_wait():
    equal(in_process(every_wait), ([], "well"))


def test_of_a_group_that_it_leaves_nobody_is_left():
    """As where Python is not ours: the block ends when its workers have, all cancelled."""
    script = ("""
        import signal
        import interlace

        def clean(receiver, ended):
            try:
                receiver.recv()
            finally:
                ended.send(1, timeout=0)

        def ring(number, frame):
            raise LookupError("wake up")

        sender, receiver = interlace.channel(0)
        ended, ends = interlace.channel(9)
        signal.signal(signal.SIGALRM, ring)
        try:
            with interlace.Group() as group:
                workers = [group.start(clean, receiver, ended) for _ in range(3)]
                signal.setitimer(signal.ITIMER_REAL, 0.1)
        except LookupError as error:
            print(error, [worker.done() for worker in workers])
    """)
    run(script, words=("--isolation=process",)).expect(0, "wake up [True, True, True]\n")


# ---- a handler that raises nothing ------------------------------------------------------------------------------------


def test_a_handler_may_do_what_the_wait_is_for():
    """Without a timeout as well; and a worker with handlers is no suspect of a deadlock."""
    script = ("""
        import signal
        import interlace

        sender, receiver = interlace.channel(1)
        signal.signal(signal.SIGALRM, lambda *_: sender.send("alarm"))
        for timeout in (20, None):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            print(receiver.recv(timeout=timeout))
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        print(interlace.select(receiver)[1])
    """)
    run(script, words=("--isolation=process",)).expect(0, "alarm\n" * 3)


def go_on():
    """What waits with a deadline do while a handler runs again and again: (what came, for how long, how often)."""
    rung = []
    sender, receiver = interlace.channel(0)
    empty, full = interpreters.create_queue(), interpreters.create_queue(1)
    full.put(1)
    signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    seen = []
    for wait in (
        lambda: receiver.recv(timeout=0.5),
        lambda: sender.send(1, timeout=0.5),
        lambda: interlace.select(receiver, timeout=0.5),
        lambda: empty.get(timeout=0.5),
        lambda: full.put(1, timeout=0.5),
        lambda: interlace.select(receiver, interlace.after(0.5))[1],
    ):
        begun = time.monotonic()
        before = len(rung)
        try:
            what = wait()
        except (TimeoutError, interpreters.QueueEmpty, interpreters.QueueFull) as error:
            what = type(error).__name__
        seen.append((what, time.monotonic() - begun, len(rung) - before))
    signal.setitimer(signal.ITIMER_REAL, 0)
    return seen


def test_a_wait_that_was_interrupted_goes_on_until_its_deadline():
    seen = in_process(go_on)
    equal([what for what, _, _ in seen], ["TimeoutError"] * 3 + ["QueueEmpty", "QueueFull", None])
    for _, seconds, rung in seen:
        assert 0.5 <= seconds < LIMIT and rung >= 2, seen


def feed(sender, count):
    for n in range(count):
        sender.send(n)
    sender.close()


def in_the_rain():
    """Send and receive while a signal comes every half a millisecond."""
    rung = []
    signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    sender, receiver = interlace.channel(1)
    back, answers = interlace.channel(1)
    with interlace.Group() as group:
        group.start(feed, sender, 10000)
        del sender
        got = list(receiver)
    thread = threading.Thread(target=lambda: got.extend(answers))
    thread.start()
    for n in range(10000, 15000):
        back.send(n)
    back.close()
    thread.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return got == list(range(15000)), len(rung) > 10


def test_many_signals_lose_no_message():
    equal(in_process(in_the_rain), (True, True))


# ---- beside what the host does ------------------------------------------------------------------------------------------


def endure(receiver, started, ended):
    """Count how often Cancelled comes in the rain: the second one would end the loop without a word."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    came = 0
    try:
        started.send(1)
        receiver.recv()
    except interlace.Cancelled:
        came += 1
        try:
            for _ in range(20000):
                pass
        except interlace.Cancelled:
            came += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        ended.send(came, timeout=0)


def test_cancelled_comes_once_however_many_signals_do():
    sender, receiver = interlace.channel(0)
    for round in range(10):
        started, starts = interlace.channel(1)
        ended, ends = interlace.channel(1)
        with interlace.Group(isolation="process") as group:
            worker = group.start(endure, receiver, started, ended)
            starts.recv(timeout=LIMIT)
            time.sleep(0.001 * round)  # anywhere in its wait
            worker.cancel()
        equal(ends.recv(timeout=LIMIT), 1)
    sender.close()


def wait_in_a_call(receiver, started, rains):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, *[0.0002 if rains else 0] * 2)
    started.send(os.getpid())
    if rains:
        receiver.recv()
    return os.getpid()


def test_a_call_of_an_executor_s_is_cancelled_in_the_rain():
    """And the worker takes the next one."""
    sender, receiver = interlace.channel(0)
    started, starts = interlace.channel(1)
    with interlace.Executor(1, isolation="process") as executor:
        for _ in range(5):
            future = executor.submit(wait_in_a_call, receiver, started, True)
            pid = starts.recv(timeout=LIMIT)
            assert future.cancel()
            wait_until(future.done, "the call to end")
            equal(executor.submit(wait_in_a_call, receiver, started, False).result(LIMIT), pid)
            starts.recv(timeout=LIMIT)
    sender.close()


IN_THE_RAIN = """
    import os, signal
    import interlace

    def wait(receiver):
        rung = []
        signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            os.write(1, b"started\\n")
            receiver.recv()
        except interlace.Cancelled:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.write(1, b"cancelled\\n" if rung else b"dry\\n")
            raise
        except BaseException as error:
            os.write(1, repr(error).encode())

    def main():
        with interlace.Group(isolation="process") as group:
            sender, receiver = interlace.channel(0)
            for _ in range(3):
                group.start(wait, receiver)

    main()
"""


def test_w4_ctrl_c_is_the_host_s():
    """Cancelled in each of them, no KeyboardInterrupt, though handlers run there; with SIGTERM likewise."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with start(IN_THE_RAIN) as started:
            started.printed("started\n", 3)
            time.sleep(0.1)
            started.send_signal(number, whole_session=True)
            started.end().expect(128 + number, "started\n" * 3 + "cancelled\n" * 3)
            equal(started.left(), [])


def wait_for_one(receiver, started):
    started.send(os.getpid())
    return receiver.recv(timeout=LIMIT)


def test_w4_sigint_to_a_process_alone_is_not_heeded():
    sender, receiver = interlace.channel(1)
    started, starts = interlace.channel(1)
    with interlace.Group(isolation="process") as group:
        worker = group.start(wait_for_one, receiver, started)
        os.kill(starts.recv(timeout=LIMIT), signal.SIGINT)
        with raises(TimeoutError):
            worker.result(0.2)
        sender.send("well")
        equal(worker.result(LIMIT), "well")
