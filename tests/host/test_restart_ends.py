"""Workers that are started anew when they fail: what becomes of their channels and arguments."""

import contextlib
import math
import os
import signal

import interlace
from restart_support import KINDS, SOON, attempt, marks, wait_for_a_message
from support import DEADLINE, equal, raises, wait_until


def square(path, numbers, squares):
    for number in numbers:
        if number % 10 == 3:
            attempt(path)
            raise ValueError(number)
        squares.send(number * number)


def feed(sender, count):
    sender.send_many(range(count))


def test_a_pipeline_goes_on():
    """A stage that fails again and again: its channels neither end nor break, what it had in hand is lost, all else arrives."""
    for kind in KINDS:
        path = marks()
        with interlace.Group(isolation=kind) as group:
            send_number, numbers = interlace.channel(4)
            send_square, squares = interlace.channel(4)
            group.start(feed, send_number, 40, isolation="interpreter")
            policy = interlace.Restart(attempts=4, within=math.inf, backoff=0.01)
            worker = group.start(square, path, numbers, send_square, restart=policy)
            del send_number, numbers, send_square
            equal(list(squares), [n * n for n in range(40) if n % 10 != 3])
        equal(worker.restarts, 4)


def count_until(sender, stopped):
    number = 0
    with contextlib.suppress(interlace.EndOfChannel):
        while True:
            sender.send(number)
            number += 1
            with contextlib.suppress(TimeoutError):
                stopped.recv(timeout=0)


def forward(pids, numbers, copies):
    pids.send(os.getpid())
    for number in numbers:
        copies.send(number)


def test_kill_9_at_any_moment():
    """A process that is killed again and again: nothing comes twice, each death loses at most what was in hand."""
    deaths = 6
    with interlace.Group() as group:
        send_number, numbers = interlace.channel(2)
        send_copy, copies = interlace.channel(2)
        send_pid, pids = interlace.channel(1)
        stop, stopped = interlace.channel(0)
        group.start(count_until, send_number, stopped)
        policy = interlace.Restart(attempts=deaths, within=math.inf, backoff=0)
        worker = group.start(forward, send_pid, numbers, send_copy, isolation="process", restart=policy)
        del send_number, numbers, send_copy, send_pid, stopped
        got = []
        for n in range(deaths):
            pid = pids.recv(DEADLINE)
            got += [copies.recv(DEADLINE) for _ in range(10 * n)]
            os.kill(pid, signal.SIGKILL)
        pids.recv(DEADLINE)
        got += [copies.recv(DEADLINE) for _ in range(10)]
        stop.close()
        got += list(copies)
    equal(got, sorted(set(got)))
    assert got[-1] - (len(got) - 1) <= deaths, got
    equal(worker.restarts, deaths)


def test_a_stage_that_gives_up_ends_its_channels():
    """Once no attempt is left the group is cancelled, and nobody hangs."""
    for kind in KINDS:
        with raises(ExceptionGroup) as caught, interlace.Group(isolation=kind) as group:
            send_number, numbers = interlace.channel(4)
            send_square, squares = interlace.channel(4)
            group.start(feed, send_number, 10**6, isolation="interpreter")
            group.start(square, marks(), numbers, send_square, restart=interlace.Restart(2, backoff=0))
            del send_number, numbers, send_square
            for _ in squares:
                pass
        equal(repr(caught.error.exceptions), "(ValueError(23),)")


def send_and_wait(path, sender, answers):
    number = attempt(path)
    sender.send(number)
    sender.close()
    answer = answers.recv()
    if number == 1:
        raise ValueError
    return answer


def answer_at_the_end(receiver, sender):
    sender.send(list(receiver))


def test_what_a_worker_closes_is_closed():
    """An end that it closes itself is not kept: the channel ends; the next attempt finds its other side gone."""
    for kind in KINDS:
        with raises(ExceptionGroup) as caught, interlace.Group(isolation=kind) as group:
            sender, receiver = interlace.channel(4)
            answer, answers = interlace.channel(4)
            group.start(answer_at_the_end, receiver, answer, isolation="interpreter")
            worker = group.start(send_and_wait, marks(), sender, answers, restart=SOON)
            del sender, receiver, answer, answers
            with contextlib.suppress(interlace.BrokenChannel, interlace.Cancelled):
                worker.result()
        equal({type(error) for error in caught.error.exceptions}, {interlace.BrokenChannel})


def with_statement(path, sender):
    with sender:
        number = attempt(path)
        sender.send(number)
        if number < 3:
            raise ValueError(number)


def finally_clause(path, sender):
    try:
        with_statement(path, sender)
    finally:
        sender.close()


def test_what_an_exception_closes_is_kept():
    """`with sender:` and `finally:` close the end of an attempt that fails, and the next one gets it all the same."""
    for kind in KINDS:
        for target in (with_statement, finally_clause):
            with interlace.Group(isolation=kind) as group:
                sender, receiver = interlace.channel(4)
                group.start(target, marks(), sender, restart=SOON)
                del sender
                equal(list(receiver), [1, 2, 3])


def drain_then_fail(path, receiver):
    found = list(receiver)
    receiver.close()
    if attempt(path) == 1:
        raise ValueError
    return found


def test_a_receiver_that_was_closed_has_ended():
    """The next attempt receives nothing from it; and senders see at once that nobody receives."""
    for kind in KINDS:
        with interlace.Group(isolation=kind) as group:
            sender, receiver = interlace.channel(4)
            sender.send_many([1, 2])
            sender.close()
            worker = group.start(drain_then_fail, marks(), receiver, restart=SOON)
            equal(worker.result(), [])


def change_and_fail(path, buffer, array, number):
    with memoryview(buffer) as view:
        seen = bytes(view[:4]), bytes(array[:4]), len(view), len(array)
        view[:4] = array[:4] = b"spam"
    if attempt(path) < 3:
        raise ValueError
    return seen


def test_each_attempt_has_the_arguments_as_they_were():
    """Buffers and large arrays, too: what one attempt writes to them the next one does not see."""
    for kind in KINDS:
        size = 1_000_000
        buffer = interlace.Buffer(size)
        with memoryview(buffer) as view:
            view[:4] = b"eggs"
        array = bytearray(b"milk" + bytes(size))
        with interlace.Group(isolation=kind) as group:
            worker = group.start(change_and_fail, marks(), buffer, array, 2**70, restart=SOON)
            equal(worker.result(), (b"eggs", b"milk", size, size + 4))
        equal(array[:4], bytearray(b"milk"))


def read_and_fail(path, buffer):
    with memoryview(buffer) as view:
        seen = view.readonly, bytes(view[:4])
    if attempt(path) < 3:
        raise ValueError
    return seen


def test_attempts_share_a_frozen_buffer():
    for kind in KINDS:
        buffer = interlace.Buffer(1_000_000)
        with memoryview(buffer) as view:
            view[:4] = b"eggs"
        buffer.freeze()
        with interlace.Group(isolation=kind) as group:
            worker = group.start(read_and_fail, marks(), buffer, restart=SOON)
            equal((worker.result(), worker.restarts), ((True, b"eggs"), 2))


def fail_on_the_first_delivery(jobs, done):
    for job in jobs:
        if not jobs.redelivered:
            if job % 10 == 3:
                raise KeyError(job)
            if job % 10 == 7:
                os.kill(os.getpid(), signal.SIGKILL)
        done.send(job)


def test_what_a_failed_attempt_had_is_redelivered():
    """To the other worker, to a later attempt, or, when it is the only one, to its own next."""
    for count in 1, 2:
        sender, jobs = interlace.channel(40, redeliver=True)
        done, results = interlace.channel(40)
        policy = interlace.Restart(attempts=100, backoff=0.001)
        with interlace.Group(isolation="process", restart=policy) as group:
            workers = [group.start(fail_on_the_first_delivery, jobs, done) for _ in range(count)]
            for end in jobs, done:
                end.close()
            sender.send_many(range(20))
            sender.close()
            equal(sorted(results), list(range(20)))
        equal(sum(worker.restarts for worker in workers), 4)


def nested(path):
    with interlace.Group() as group:
        sender, receiver = interlace.channel(0)
        group.start(wait_for_a_message, path, receiver)
        wait_until(lambda: os.path.getsize(path) % 2, "the worker to begin")
        if attempt(path) < 4:
            raise ValueError
        sender.send("well")


def test_an_attempts_own_group_ends_with_it():
    """Before the next one begins."""
    path = marks()
    with interlace.Group() as group:
        worker = group.start(nested, path, restart=SOON)
    equal((os.path.getsize(path), worker.restarts), (4, 1))


def leave_a_thread(path):
    import threading

    _, never = interlace.channel(0)
    thread = threading.Thread(target=lambda: never.recv())
    thread.start()
    if attempt(path) < 3:
        raise ValueError
    interlace.current_worker().cancel()


def test_threads_of_a_failed_attempt_are_cancelled():
    """As when the group is: the next attempt does not wait for them."""
    for kind in KINDS:
        path = marks()
        with interlace.Group(isolation=kind) as group:
            group.start(leave_a_thread, path, restart=SOON)
        equal(os.path.getsize(path), 3)
