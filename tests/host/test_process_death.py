"""I2: a process that dies is a failed worker: named, its ends closed, and nobody hangs."""

import contextlib
import ctypes
import os
import pickle
import resource
import signal
import time

import interlace
from support import DEADLINE, equal, pipe, raises, run, start_pipe, wait_until


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def segfault():
    no_core()
    ctypes.string_at(0)


def abort():
    no_core()
    os.abort()


def kill_self(number):
    _, never = interlace.channel(0)
    os.kill(os.getpid(), number)
    never.recv(timeout=DEADLINE)  # SIGTERM lets `finally` blocks run


@contextlib.contextmanager
def death():
    """The block has to fail with one WorkerDied and nothing else; gives a list that has it then."""
    found = []
    with raises(ExceptionGroup, "1 of") as caught:
        yield found
    (error,) = caught.error.exceptions
    equal(type(error), interlace.WorkerDied)
    found.append(error)


def test_worker_died_names_the_signal():
    """Segfault, abort, kill -9, an unexpected SIGTERM; signal and exitcode say it, too."""
    for target, args, number in (
        (segfault, (), signal.SIGSEGV),
        (abort, (), signal.SIGABRT),
        (kill_self, (signal.SIGKILL,), signal.SIGKILL),
        (kill_self, (signal.SIGTERM,), signal.SIGTERM),
        (kill_self, (40,), 40),
    ):
        with death() as found:
            with interlace.Group(isolation="process") as group:
                group.start(target, *args, name="x")
        (error,) = found
        name = getattr(number, "name", f"signal {number}")
        equal(str(error), f"worker 'x' died: killed by {name}")
        equal((error.signal, error.exitcode), (number, None))
        assert isinstance(error, RuntimeError)
        copied = pickle.loads(pickle.dumps(error))
        equal((str(copied), copied.signal, copied.exitcode), (str(error), error.signal, error.exitcode))


def test_an_exit_without_a_word():
    """os._exit, with whatever status, is no way to end a worker."""
    for code in (0, 3):
        with death() as found:
            with interlace.Group(isolation="process") as group:
                worker = group.start(os._exit, code, name="x")
                with contextlib.suppress(interlace.Cancelled):
                    worker.result()
        equal(str(found[0]), f"worker 'x' died: its process ended with exit status {code}")
        equal((found[0].signal, found[0].exitcode), (None, code))
        assert worker.exception() is found[0]


def die_after(receiver, sender, count):
    for _ in range(count):
        sender.send(receiver.recv())
    os.kill(os.getpid(), signal.SIGKILL)


def test_kill_in_the_middle_of_a_pipeline():
    """The ends that the dead process had are closed: those after it get the end, those before it a broken channel."""
    with death():
        with interlace.Group() as group:
            first, receiver = interlace.channel(4)
            sender, last = interlace.channel(4)
            group.start(die_after, receiver, sender, 3, isolation="process", name="x")
            receiver.close()
            sender.close()
            with contextlib.suppress(interlace.BrokenChannel, interlace.Cancelled):
                for n in range(1000):
                    first.send(n)
    # Outside of the group nothing is cancelled: what the ends say is to be seen.
    with raises(interlace.BrokenChannel):
        first.send(1)
    equal(list(last), [0, 1, 2])


def hold_all(message, ready):
    ready.send(os.getpid())
    time.sleep(2 * DEADLINE)


def test_what_it_held_is_let_go():
    """Ends inside a message that nobody received, ends of its own, blocks: with it they are gone."""
    sender, receiver = interlace.channel(4)
    inner, inners = interlace.channel(0)
    ready, pids = interlace.channel(1)
    with death():
        with interlace.Group(isolation="process") as group:
            group.start(hold_all, [sender, interlace.Buffer(1 << 20), [inner]], ready)
            sender.close()
            inner.close()
            ready.close()
            os.kill(pids.recv(), signal.SIGKILL)
            with contextlib.suppress(interlace.Cancelled):
                receiver.recv()
    for end in (receiver, inners, pids):
        with raises(interlace.EndOfChannel):
            end.recv(timeout=DEADLINE)


def spin_between(receiver, sender, ready):
    ready.send(os.getpid())
    for message in receiver:
        sender.send(message)


def test_kill_at_any_moment():
    """A process in full swing is killed again and again; the host and its channels live on."""
    for round_number in range(15):
        ready, pids = interlace.channel(1)
        first, receiver = interlace.channel(round_number % 3)
        sender, last = interlace.channel(2)
        got = []
        with death():
            with interlace.Group() as group:
                group.start(spin_between, receiver, sender, ready, isolation="process")
                group.start(pump_numbers, first)
                for end in (receiver, sender, first):
                    end.close()
                pid = pids.recv()
                try:
                    for n in last:
                        got.append(n)
                        if n == 20 * round_number:
                            os.kill(pid, signal.SIGKILL)
                except interlace.Cancelled:
                    pass
        got += last
        equal(got, list(range(len(got))))
        assert len(got) > 20 * round_number, (len(got), round_number)


def pump_numbers(sender):
    n = 0
    with contextlib.suppress(interlace.BrokenChannel):
        while True:
            sender.send(n)
            n += 1


def test_w2_a_death_cancels_the_group():
    _, never = interlace.channel(0)
    with death() as found:
        with interlace.Group() as group:
            worker = group.start(next, never)
            group.start(os._exit, 1, name="x", isolation="process")
    with raises(interlace.Cancelled):
        worker.result()
    equal(found[0].exitcode, 1)


def test_the_command_says_it_once():
    """run and pipe: the worker and what killed it, exit status 1; the others end."""
    text = "import ctypes, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nctypes.string_at(0)\n"
    ended = run(text, words=("--isolation=process",))
    ended.expect(1, "", "interlace: worker 'script.py' died: killed by SIGSEGV\n")
    source = "-c 'import interlace; [interlace.output.send(1) for _ in iter(int, 1)]'"
    dying = "\n# --isolation=process dying.py\nimport interlace, os\ninterlace.input.recv()\nos._exit(9)\n"
    pipe(source, dying).expect(1, "", ("interlace: worker 'dying.py' died: its process ended with exit status 9\n",))


def test_kill_a_stage():
    """kill -9 of the process of one stage ends the pipeline."""
    source = "-c 'import interlace; [interlace.output.send(1) for _ in iter(int, 1)]'"
    stage = """
        # --isolation=process x.py
        import interlace, os
        print(os.getpid(), flush=True)
        for x in interlace.input:
            pass
    """
    with start_pipe(source, stage) as started:
        wait_until(lambda: started.out.endswith("\n"), "the stage to begin")
        os.kill(int(started.out), signal.SIGKILL)
        started.end().expect(1, err=("worker 'x.py' died: killed by SIGKILL",))
        equal(started.left(), [])


def test_a_death_after_the_result():
    """What it had sent holds; that it died as it ended is said on stderr."""
    text = """
        import interlace, os, signal
        class Late:
            def __del__(self, kill=os.kill, pid=os.getpid):
                kill(pid(), 9)
        def work():
            import builtins
            builtins.late = Late()
            return "done"
        with interlace.Group(isolation="process") as group:
            worker = group.start(work, name="x")
        print(worker.result())
    """
    run(text).expect(0, "done\n", "interlace: worker 'x' died as it ended, after its work: killed by SIGKILL\n")
