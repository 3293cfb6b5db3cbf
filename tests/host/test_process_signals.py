"""W3, W4 with workers in processes: Ctrl-C, SIGTERM, the stuck, and the end of the host."""

import os
import signal
import time

from support import DEADLINE, equal, host, start, start_pipe, wait_until

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
        with interlace.Group(isolation="process") as group:
            sender, receiver = interlace.channel(0)
            for target in (recv, select, nest):
                group.start(target, receiver)
            group.start(compute)
            group.start(recv, receiver, isolation="interpreter")
            clean(receiver.recv)

    main()
"""
STARTED = 7

STUCK = """
    import os, threading
    import interlace

    def stuck():
        lock = threading.Lock()
        lock.acquire()
        os.write(1, b"stuck\\n")
        while True:
            try:
                lock.acquire()
            except BaseException:
                pass

    def waits(end):
        try:
            os.write(1, b"waits\\n")
            end.recv()
        finally:
            os.write(1, b"cleaned\\n")

    def main():
        _, end = interlace.channel(0)
        with interlace.Group(isolation="process") as group:
            group.start(stuck, name="sticky")
            group.start(waits, end)

    main()
"""


def test_w4_signals_end_all_processes():
    """Ctrl-C to the whole terminal and to the host alone, SIGTERM likewise: finally blocks run, 130 and 143, nothing left."""
    for number, whole in (
        (signal.SIGINT, True),
        (signal.SIGINT, False),
        (signal.SIGTERM, True),
        (signal.SIGTERM, False),
    ):
        with start(BUSY) as started:
            started.printed("started\n", STARTED)
            started.send_signal(number, whole_session=whole)
            started.end().expect(128 + number, "started\n" * STARTED + "cleaned\n" * STARTED)
            equal(started.left(), [])


def test_w4_in_a_pipeline():
    words = ("--isolation=process",)
    source = "-c 'import interlace; [interlace.output.send(1) for _ in iter(int, 1)]'"
    busy = "\n# -n 2 busy.py\nimport interlace\nfor n in interlace.input:\n    print('got', flush=True)\n    1 + 1\n"
    with start_pipe(source, busy, words=words) as started:
        started.printed("got\n", 50)
        started.send_signal(signal.SIGINT, whole_session=True)
        started.end().expect(130, ("got",))
        equal(started.left(), [])


def test_w4_the_second_signal_ends_all_at_once():
    """Those that do not heed the first one as well."""
    with start(STUCK, words=("--grace", "60")) as started:
        started.printed("stuck\n")
        started.printed("waits\n")
        started.send_signal(signal.SIGINT, whole_session=True)
        started.printed("cleaned\n")
        started.send_signal(signal.SIGINT, whole_session=True)
        started.end(20).expect(130, ("cleaned",))
        wait_until(lambda: started.left() == [], "the processes to end")


def test_w3_the_stuck_process_is_named_and_killed():
    """After the grace period; the others end by themselves, and the host lives."""
    with start(STUCK, words=("--grace", "0.5")) as started:
        started.printed("stuck\n")
        started.printed("waits\n")
        started.send_signal(signal.SIGINT)
        ended = started.end().expect(130, ("cleaned",), ("worker 'sticky' did not end within 0.5 s", "in stuck"))
        equal(started.left(), [])
    equal(ended.err.count("did not end within"), 1)


def test_a_process_that_is_stopped_is_killed():
    """It cannot say where it sits, and ends all the same."""
    with start(BUSY, words=("--grace", "0.3")) as started:
        started.printed("started\n", STARTED)
        (stopped, *_) = [pid for pid in started.left() if pid != started.pid]
        os.kill(stopped, signal.SIGSTOP)
        started.send_signal(signal.SIGTERM)
        ended = started.end().expect(143, ("cleaned",), ("did not end within 0.3 s", "a process that does not answer"))
        equal(started.left(), [])
    equal(ended.err.count("did not end within"), 1)


def test_the_host_dies_and_so_do_the_processes():
    """kill -9 of the host leaves no process, and nothing in /dev/shm."""
    before = os.listdir("/dev/shm")
    for text, line in ((BUSY, "started\n"), (STUCK, "stuck\n")):
        with start(text) as started:
            started.printed(line)
            os.kill(started.pid, signal.SIGKILL)
            started.end().expect(-9)
            wait_until(lambda: started.left() == [], "the processes to end")
    equal(os.listdir("/dev/shm"), before)


def test_a_script_in_a_process():
    """`interlace run --isolation=process`: Ctrl-C arrives as Cancelled, exit status 130."""
    text = "import time\ntry:\n    print('on', flush=True)\n    while True: pass\nfinally:\n    print('off', flush=True)\n"
    with start(text, words=("--isolation=process",)) as started:
        started.printed("on\n")
        start_time = time.monotonic()
        started.send_signal(signal.SIGINT, whole_session=True)
        started.end().expect(130, "on\noff\n")
        assert time.monotonic() - start_time < DEADLINE / 2
    host("run", "--isolation=process", "-c", "0").expect(0, "")
