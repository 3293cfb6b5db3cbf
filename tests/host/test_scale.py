"""W1 at scale: many workers one after another and at once. INTERLACE_TEST_SCALE=full for 2000 and 1000 of them."""

import os
import threading

import interlace
from support import DEADLINE, equal, wait_until

FULL = os.environ.get("INTERLACE_TEST_SCALE") == "full"
PATIENCE = 600 if FULL else DEADLINE


def rss():
    """Resident memory of this process, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files():
    return len(os.listdir("/proc/self/fd"))


def one_after_another(count):
    """Start and end workers: with an end each, every tenth failing, every tenth cancelled."""
    for n in range(count):
        sender, receiver = interlace.channel(1)
        try:
            with interlace.Group() as group:
                if n % 10 == 0:
                    group.start("builtins:int", "x")
                elif n % 10 == 1:
                    group.start("interlace:select", interlace.channel(1)[1], name="waits")
                    group.cancel()
                else:
                    group.start("scale_target:send", sender)
                    sender.close()
                    equal(receiver.recv(timeout=PATIENCE), 1)
        except ExceptionGroup as error:
            equal([type(e) for e in error.exceptions], [ValueError])


def test_w1_workers_one_after_another_leak_nothing():
    """After a warm-up, memory grows by less than 20 MB, and descriptors and threads not at all."""
    one_after_another(50)
    before, files, threads = rss(), open_files(), len(os.listdir("/proc/self/task"))
    one_after_another(2000 if FULL else 300)
    print(f"{before:.1f} MB before, {rss():.1f} MB after")
    assert rss() - before < 20, f"{before:.1f} MB before, {rss():.1f} MB after"
    equal(open_files(), files)
    wait_until(lambda: len(os.listdir("/proc/self/task")) <= threads, "the threads to end")


def test_w1_many_workers_at_once():
    """All alive together, each in a wait, then each answers."""
    count = 1000 if FULL else 100
    with interlace.Group() as group:
        go, gone = interlace.channel(count)
        answer, answers = interlace.channel(count)
        for _ in range(count):
            group.start("scale_target:echo", gone, answer)
        gone.close()
        answer.close()
        for _ in range(count):
            equal(answers.recv(timeout=PATIENCE), "ready")
        assert len(os.listdir("/proc/self/task")) > count
        assert threading.active_count() < 5  # of this interpreter: the others' threads are not ours
        go.send_many(range(count))
        equal(sorted(answers), list(range(count)))


def test_w1_workers_started_from_several_workers():
    """Ten workers start ten each, at the same time."""
    with interlace.Group() as group:
        workers = [group.start("scale_target:start_ten", n) for n in range(10)]
        found = [worker.result(timeout=PATIENCE) for worker in workers]
    equal(found, [[n * 10 + i for i in range(10)] for n in range(10)])


def test_w2_a_failure_cancels_hundreds():
    """One failure ends all of them within seconds."""
    count = 500 if FULL else 60
    try:
        with interlace.Group() as group:
            sender, receiver = interlace.channel(0)
            go, gone = interlace.channel(0)
            answer, answers = interlace.channel(count)
            for _ in range(count):
                group.start("scale_target:echo", receiver, answer)
            for _ in range(count):
                equal(answers.recv(timeout=PATIENCE), "ready")
            group.start("scale_target:fail", gone)
            go.send(1, timeout=PATIENCE)
            receiver.recv(timeout=PATIENCE)
            sender.close()
    except ExceptionGroup as error:
        equal([type(e) for e in error.exceptions], [LookupError])
    else:
        raise AssertionError("no failure")
