"""C3: a wait sleeps in the kernel, and nothing polls."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

from support import Skip, Started, asleep, equal, folder, start_pipe, wait_until

# Fifty workers in every kind of wait; the stage itself waits for standard input, which stays open.
WAITERS = """
    # waiters.py
    import interlace

    def recv(end):
        end.recv()

    def send(end):
        end.send("no room")

    def rendezvous(end):
        end.send("nobody there")

    def choose(*ends):
        interlace.select(*ends)

    def choose_again(*ends):
        while True:
            interlace.select(*ends)

    def result_of(end):
        with interlace.Group() as group:
            group.start(recv, end).result()

    def main():
        with interlace.Group() as group:
            empty_sender, empty = interlace.channel(4)
            full, full_receiver = interlace.channel(1)
            full.send("full")
            meet, meet_receiver = interlace.channel(0)
            for _ in range(10):
                group.start(recv, empty)
                group.start(send, full)
                group.start(rendezvous, meet)
                group.start(choose, empty, (full, 1), (meet, 2))
            for _ in range(5):
                group.start(choose_again, empty)
                group.start(result_of, empty)
            print("all started", flush=True)
            for line in interlace.input:
                pass
            group.cancel()

    main()
"""
WORKERS = 10 * 4 + 5 + 5 * 2  # and the stage, which waits too


def run_ns(pid):
    """Nanoseconds on a CPU of every thread of a process, together."""
    path = Path(f"/proc/{pid}/task")
    if not (path / str(pid) / "schedstat").exists():
        raise Skip("this kernel has no /proc/PID/schedstat")
    return {tid: int((path / tid / "schedstat").read_text().split()[0]) for tid in os.listdir(path)}


def counts(pid):
    """How often each of its threads has been switched away from."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        text = Path(f"/proc/{pid}/task/{tid}/status").read_text()
        found[tid] = [int(n) for n in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", text)]
    return found


class Waiting:
    """The pipeline above, once every one of its threads sleeps."""

    def __enter__(self):
        self.started = start_pipe(WAITERS, stdin=b"").__enter__()
        self.started.printed("all started")
        wait_until(lambda: len(self.started.threads()) >= WORKERS + 3, "all workers' threads")
        asleep(*self.started.threads(), pid=self.started.pid)
        # One that waits for its turn to be made sleeps as well: nobody may have run between two looks.
        looks = [None]

        def nobody_ran():
            time.sleep(0.4)  # whoever looks for deadlocks does it within that time of the last wait
            looks.append(run_ns(self.started.pid))
            return looks[-1] == looks[-2]

        wait_until(nobody_ran, "all workers to wait")
        return self.started

    def __exit__(self, *error):
        self.started.__exit__(*error)


def test_c3_waiting_workers_use_no_cpu():
    """With 56 workers waiting, no thread of the process runs for a nanosecond in 1.5 s, nor is woken."""
    with Waiting() as started:
        before, switched = run_ns(started.pid), counts(started.pid)
        time.sleep(1.5)  # the period that is measured
        equal(counts(started.pid), switched)
        equal(run_ns(started.pid), before)
        started.end().expect(0)


def test_c3_waiting_workers_make_no_system_calls():
    """strace sees no call begin in 1.5 s while all of them wait."""
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    with Waiting() as started:
        trace = folder() / "trace"
        trace.touch()
        with Started(["strace", "-f", "-ttt", "-o", str(trace), "-p", str(started.pid)]) as strace:
            wait_until(lambda: "attached" in strace.err or strace.process.poll() is not None, "strace to attach")
            if strace.process.poll() is not None:
                raise Skip(f"strace cannot attach: {strace.err.strip()}")
            # What it interrupted by attaching begins anew at once: each thread has its line then.
            wait_until(lambda: trace.read_text().count("\n") >= WORKERS, "every thread in the trace")
            asleep(*started.threads(), pid=started.pid)
            before = trace.read_text()
            time.sleep(1.5)  # the period that is measured
            after = trace.read_text()
            strace.send_signal(signal.SIGINT)
            strace.end()
        equal(after, before)
        started.end().expect(0)
