"""Workers that are started anew when they fail: how often, when, with what, and what becomes of their channels."""

import contextlib
import ctypes
import math
import os
import pickle
import resource
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import interlace
from restart_support import KINDS, SOON, attempt, marks, wait_for_a_message
from support import equal, raises, run, soon, start, wait_until, write


# ---- what Restart is ---------------------------------------------------------------------------------------------


def test_restart_is_a_value():
    """Defaults, positions, equality, hash, repr, pickling, matching; and that it does not change."""
    policy = interlace.Restart()
    equal((policy.attempts, policy.within, policy.backoff), (3, 60.0, 0.1))
    equal(repr(interlace.Restart(2, 3, 0)), "Restart(attempts=2, within=3.0, backoff=0.0)")
    equal(interlace.Restart(2, 3) == interlace.Restart(attempts=2, within=3.0), True)
    equal(interlace.Restart() == interlace.Restart(4), False)
    equal(len({interlace.Restart(), interlace.Restart(3)}), 1)
    equal(pickle.loads(pickle.dumps(policy)), policy)
    match policy:
        case interlace.Restart(attempts, within, backoff):
            equal((attempts, within, backoff), (3, 60.0, 0.1))
    with raises(AttributeError, "make a new one"):
        policy.attempts = 4
    with raises(AttributeError, "make a new one"):
        del policy.attempts
    equal(policy.attempts, 3)


def test_restart_refuses_what_makes_no_sense():
    """Each value has its range, and its error says so; `restart` takes a Restart and nothing else."""
    for bad in (-1, 10_001):
        with raises(ValueError, "attempts must be from 0 to 10000", str(bad)):
            interlace.Restart(bad)
    for bad in (2.0, "3", True, None):
        with raises(TypeError, "attempts must be an int"):
            interlace.Restart(bad)
    for bad in (0, -1.0, math.nan):
        with raises(ValueError, "within must be more than 0 seconds"):
            interlace.Restart(within=bad)
    for bad in (-0.1, 61, math.inf, math.nan):
        with raises(ValueError, "backoff must be from 0 to 60 seconds"):
            interlace.Restart(backoff=bad)
    for name in ("within", "backoff"):
        for bad in ("1", None, True):
            with raises(TypeError, f"{name} must be a number of seconds"):
                interlace.Restart(**{name: bad})
    with raises(TypeError, "restart must be an interlace.Restart or None, not int"):
        interlace.Group(restart=3)
    with interlace.Group() as group, raises(TypeError, "restart must be an interlace.Restart or None, not int"):
        group.start(print, restart=3)


# ---- failing and being started anew --------------------------------------------------------------------------------


def fail_until(path, good, how):
    number = attempt(path)
    if number < good:
        how(number)
    me = interlace.current_worker()
    return number, me.restarts, me.name, me.id


def raise_error(number):
    raise ValueError(f"number {number}")


def exit_with(number):
    sys.exit(number)


def leave(number):
    os._exit(0)


def kill_self(number):
    os.kill(os.getpid(), signal.SIGKILL)


def segfault(number):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def test_a_failure_is_followed_by_another_attempt():
    """By an exception and by sys.exit(), in both isolations; os._exit, SIGKILL and a segfault of a process."""
    for kind, ways in (("interpreter", (raise_error, exit_with)), ("process", (raise_error, leave, kill_self, segfault))):
        for how in ways:
            with interlace.Group(isolation=kind) as group:
                worker = group.start(fail_until, marks(), 3, how, name="phoenix", restart=SOON)
                equal(worker.result(), (3, 2, "phoenix", worker.id))
                equal(worker.restarts, 2)
                equal(interlace.select(worker), (worker, None))
                equal(worker.done(), True)


def test_what_is_printed():
    """Each failure: its traceback, and one line that names the worker, the exception, the number and the delay."""
    for kind in KINDS:
        script = """
            import interlace, os, sys

            def work(path):
                with open(path, "a") as file:
                    file.write("x")
                number = os.path.getsize(path)
                if number < 3:
                    raise ValueError(f"number {number}\\nand more")
                if number == 3 and len(sys.argv) > 3:
                    os._exit(7)
                print("well")

            def main():
                with interlace.Group(isolation=sys.argv[1]) as group:
                    restart = interlace.Restart(4, backoff=0.01)
                    group.start(work, sys.argv[2], name="w", restart=restart)

            main()
        """
        ended = run(script, kind, marks(), *(["die"] if kind == "process" else []))
        lines = [line for line in ended.err.splitlines() if line.startswith("interlace:")]
        wanted = []
        for n in (1, 2):
            wanted += ["interlace: worker 'w' failed:"]
            wanted += [f"interlace: worker 'w' failed: ValueError: number {n}; restart {n} of 4 in {n * 0.01:g} s"]
        if kind == "process":
            wanted += ["interlace: worker 'w' died: its process ended with exit status 7; restart 3 of 4 in 0.04 s"]
        equal(lines, wanted)
        equal(ended.err.count("Traceback"), 2)
        ended.expect(0, "well\n", None)


def always(path, number=0):
    raise_error(attempt(path))


def test_no_attempt_is_left():
    """It fails with the last exception, and a note; its group has that one alone. Exactly so many were made."""
    for kind in KINDS:
        for attempts in (0, 1, 3):
            path = marks()
            with raises(ExceptionGroup, "1 of 1 worker failed") as caught, interlace.Group(isolation=kind) as group:
                policy = interlace.Restart(attempts, within=math.inf, backoff=0)
                worker = group.start(always, path, name="w", restart=policy)
            (error,) = caught.error.exceptions
            equal((type(error), str(error)), (ValueError, f"number {attempts + 1}"))
            equal(error is worker.exception(), True)
            equal((os.path.getsize(path), worker.restarts, worker.done()), (attempts + 1, attempts, True))
            notes = getattr(error, "__notes__", [])
            equal(len(notes), min(attempts, 1))
            if attempts:
                assert f"was restarted {attempts} time{'s' * (attempts > 1)};" in notes[0], notes
            assert isinstance(error.__cause__, interlace.RemoteTraceback)


def test_a_process_that_keeps_dying():
    """WorkerDied with the note, once no attempt is left."""
    with raises(ExceptionGroup) as caught, interlace.Group(isolation="process") as group:
        worker = group.start(fail_until, marks(), 9, kill_self, restart=interlace.Restart(2, backoff=0))
    (error,) = caught.error.exceptions
    equal((type(error), error.signal, worker.restarts), (interlace.WorkerDied, signal.SIGKILL, 2))
    assert "restarted 2 times" in error.__notes__[0]


def fail_late(path, pause):
    number = attempt(path)
    if number > 1:
        time.sleep(pause)
    if number < 4:
        raise_error(number)


def test_only_restarts_within_the_time_count():
    """One in 0.2 s: those that lie further back do not count, however many they are."""
    for kind in KINDS:
        with interlace.Group(isolation=kind) as group:
            policy = interlace.Restart(attempts=1, within=0.2, backoff=0)
            worker = group.start(fail_late, marks(), 0.3, restart=policy)
        equal(worker.restarts, 3)


def note_time(path):
    with open(path, "a") as file:
        file.write(f"{time.monotonic()}\n")
    raise ValueError


def test_the_wait_before_it_doubles():
    """Each is at least twice as long as the one before; also at the time of the last failure nothing waits."""
    path = marks()
    with raises(ExceptionGroup), interlace.Group() as group:
        group.start(note_time, path, restart=interlace.Restart(3, backoff=0.1))
    with open(path) as file:
        times = [float(line) for line in file]
    waits = [later - earlier for earlier, later in zip(times, times[1:])]
    equal([wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True)], [True] * 3)


def test_a_groups_restart_is_for_its_workers():
    """Group(restart=...) is the default of start(), which can say otherwise."""
    with interlace.Group(restart=SOON) as group:
        equal(group.start(fail_until, marks(), 2, raise_error).result()[:2], (2, 1))
    path = marks()
    with raises(ExceptionGroup), interlace.Group(restart=SOON) as group:
        group.start(always, path, restart=interlace.Restart(0))
    equal(os.path.getsize(path), 1)


def test_a_named_function_and_a_script():
    """All kinds of targets are started anew."""
    path = marks()
    script = write(
        """
        import interlace, os, sys
        with open(sys.argv[1], "a") as file:
            file.write("x")
        if os.path.getsize(sys.argv[1]) < 3:
            sys.exit("not yet")
        """
    )
    for kind in KINDS:
        os.truncate(path, 0)
        with interlace.Group(isolation=kind) as group:
            worker = group.start(script, path, restart=SOON)
        equal(worker.restarts, 2)
        os.truncate(path, 0)
        with interlace.Group(isolation=kind) as group:
            worker = group.start("test_restart:fail_until", path, 2, raise_error, restart=SOON)
        equal(worker.restarts, 1)


# ---- what is not started anew --------------------------------------------------------------------------------------


def return_at_once(path):
    attempt(path)


def leave_well(path):
    attempt(path)
    sys.exit(0)


def cancel_self(path):
    attempt(path)
    interlace.current_worker().cancel()
    _, never = interlace.channel(0)
    never.recv()


def return_a_lambda(path):
    attempt(path)
    return lambda: None


class Unreadable:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return unpickle, (self.path,)


def unpickle(path):
    raise_error(attempt(path))


def test_what_would_be_the_same_again_is_not_repeated():
    """Returning, sys.exit(0), being cancelled; a result that does not pickle, arguments that do not unpickle, a function or
    module that is not there."""
    for kind in KINDS:
        for target in (return_at_once, leave_well) + (cancel_self,) * (kind == "interpreter"):
            path = marks()
            with interlace.Group(isolation=kind) as group:
                worker = group.start(target, path, restart=SOON)
            equal((os.path.getsize(path), worker.restarts), (1, 0))
            equal(type(worker.exception()), interlace.Cancelled if target is cancel_self else type(None))
        path = marks()
        with raises(ExceptionGroup), interlace.Group(isolation=kind) as group:
            group.start(return_a_lambda, path, restart=SOON)
        equal(os.path.getsize(path), 1)
        path = marks()
        for target, args in ((print, [Unreadable(path)]), ("test_restart:no_such", []), ("no_such_module:no", [])):
            with raises(ExceptionGroup), interlace.Group(isolation=kind) as group:
                worker = group.start(target, *args, restart=SOON)
            equal((worker.restarts, getattr(worker.exception(), "__notes__", [])), (0, []))
        equal(os.path.getsize(path), 1)


DEADLOCK = """
    import interlace, os, sys

    def work(path, sender, receiver):
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) < 3:
            raise ValueError
        receiver.recv()

    def main():
        with interlace.Group(isolation=sys.argv[2]) as group:
            sender, receiver = interlace.channel(1, name="loop")
            worker = group.start(work, sys.argv[1], sender, receiver, name="w", restart=interlace.Restart(backoff=0))
            del sender, receiver
            worker.result()

    main()
"""


def test_w7_a_deadlock_is_found_and_not_repeated():
    """What is kept for further attempts is held by the worker itself: the report comes, and the worker is not started anew."""
    words = "interlace: deadlock: all 2 workers wait", "worker 'w'", "recv on channel 'loop'", "'w' waits for itself"
    for kind in KINDS:
        path = marks()
        ended = run(DEADLOCK, path, kind).expect(3, "", words)
        equal(os.path.getsize(path), 3)
        equal(ended.err.count("; restart "), 2)


def test_w7_waiting_to_be_started_anew_is_no_deadlock():
    """Who waits for a worker between two attempts is told of none: time will wake it."""
    script = """
        import interlace, os, sys

        def work(path, sender):
            with open(path, "a") as file:
                file.write("x")
            if os.path.getsize(path) == 1:
                raise ValueError
            sender.send("at last")

        def main():
            with interlace.Group(isolation=sys.argv[1]) as group:
                sender, receiver = interlace.channel(0)
                worker = group.start(work, sys.argv[2], sender, restart=interlace.Restart(backoff=2.5))
                del sender
                print(receiver.recv())
                worker.result()

        main()
    """
    with ThreadPoolExecutor() as pool:
        for ended in pool.map(lambda kind: run(script, kind, marks()), KINDS):
            ended.expect(0, "at last\n", None)
            assert "deadlock" not in ended.err and "waits" not in ended.err, ended.err


# ---- cancelling ----------------------------------------------------------------------------------------------------

FOREVER = interlace.Restart(backoff=60.0)


def wait_until_it_waits(worker):
    wait_until(lambda: "restarting" in repr(worker), "an attempt to fail")


def test_cancelling_ends_the_wait_before_a_restart():
    """Worker.cancel(), Group.cancel(), and another worker's failure: within 2 s, and it is Cancelled."""
    for kind in KINDS:
        for how in ("worker", "group", "sibling"):
            path = marks()
            context = raises(ExceptionGroup, "1 of 2") if how == "sibling" else contextlib.nullcontext()
            with context as caught, interlace.Group(isolation=kind) as group:
                worker = group.start(always, path, restart=FOREVER)
                wait_until_it_waits(worker)
                began = time.monotonic()
                if how == "worker":
                    worker.cancel()
                elif how == "group":
                    group.cancel()
                else:
                    group.start(raise_error, 7, isolation="interpreter")
                    with contextlib.suppress(interlace.Cancelled):
                        worker.result()
            assert time.monotonic() - began < soon(2.0)
            equal((type(worker.exception()), os.path.getsize(path)), (interlace.Cancelled, 1))
            equal((worker.restarts, worker.done()), (0, True))
            if how == "sibling":
                equal(str(caught.error.exceptions), "(ValueError('number 7'),)")


def test_cancelling_an_attempt_is_for_good():
    """A cancelled attempt is the last one."""
    for kind in KINDS:
        path = marks()
        sender, receiver = interlace.channel(0)
        with interlace.Group(isolation=kind) as group:
            worker = group.start(wait_for_a_message, path, receiver, restart=SOON)
            wait_until(lambda: os.path.getsize(path), "the attempt to begin")
            worker.cancel()
        equal((type(worker.exception()), os.path.getsize(path)), (interlace.Cancelled, 1))


BACKOFF = """
    import interlace, sys

    def work():
        raise ValueError("no")

    def main():
        with interlace.Group(isolation=sys.argv[1]) as group:
            group.start(work, name="w", restart=interlace.Restart(backoff=60)).result()

    main()
"""


def test_w4_ctrl_c_during_the_wait():
    """130, at once."""
    for kind in KINDS:
        with start(BACKOFF, kind) as started:
            started.printed("restart 1 of 3 in 60 s")
            began = time.monotonic()
            started.send_signal(signal.SIGINT)
            started.end().expect(130, "", None)
            assert time.monotonic() - began < soon(2.0)


def test_a_dump_shows_who_is_to_be_started_anew():
    """SIGQUIT: its state is "restarting"."""
    for kind in KINDS:
        with start(BACKOFF, kind) as started:
            started.printed("restart 1 of 3 in 60 s")
            started.send_signal(signal.SIGQUIT)
            started.printed("worker 'w' (2): restarting")
            started.send_signal(signal.SIGINT)
            started.end().expect(130, "", None)


# ---- one worker all the same -----------------------------------------------------------------------------------------


def receive_some(path, receiver):
    receiver.recv()
    receiver.recv()
    if attempt(path) < 3:
        raise ValueError


def test_accounts_go_on():
    """interlace.stats() has one worker, under one number; --stats prints one row."""
    script = """
        import interlace, os, sys

        def work(path):
            with open(path, "a") as file:
                file.write("x")
            if os.path.getsize(path) < 3:
                raise ValueError
            (own,) = [worker for worker in interlace.stats()["workers"] if worker["name"] == "w"]
            print(own["id"], own["state"])

        def main():
            with interlace.Group() as group:
                group.start(work, sys.argv[1], name="w", restart=interlace.Restart(backoff=0))

        main()
    """
    ended = run(script, marks(), words=["--stats"])
    ended.expect(0, "2 running\n", None)
    rows = [line.split() for line in ended.err.splitlines() if line.startswith("w ") and line.endswith("%")]
    equal(len(rows), 1)


def use_some(path, receiver, sender, buffer, last):
    sender.send(receiver.recv())
    if attempt(path) < last:
        raise ValueError


def resources():
    """Descriptors, threads, and bytes of the memory that workers share."""
    names = os.listdir("/proc/self/fd")
    used = 0
    for name in names:
        with contextlib.suppress(OSError):
            if "memfd:interlace" in os.readlink(f"/proc/self/fd/{name}"):
                used += os.stat(f"/proc/self/fd/{name}").st_blocks * 512
    return len(names), len(os.listdir("/proc/self/task")), used


def restart_often(kind, times):
    with interlace.Group(isolation=kind) as group:
        sender, receiver = interlace.channel(times + 1)
        result, results = interlace.channel(times + 1)
        sender.send_many(range(times + 1))
        policy = interlace.Restart(attempts=times, within=math.inf, backoff=0)
        worker = group.start(use_some, marks(), receiver, result, bytearray(100_000), times + 1, restart=policy)
        del receiver, result
        equal(list(results), list(range(times + 1)))
    equal(worker.restarts, times)
    with raises(interlace.BrokenChannel):
        sender.send(0)


def test_nothing_leaks():
    """Descriptors, threads and shared memory are as before, after many restarts."""
    for kind, times in (("interpreter", 40), ("process", 12)):
        restart_often(kind, 3)
        before = resources()
        restart_often(kind, times)
        wait_until(lambda: resources()[:2] <= before[:2], lambda: f"{before} again, not {resources()}")
        assert resources()[2] <= before[2] + 1_000_000, (before, resources())
