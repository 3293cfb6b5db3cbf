"""I2: a worker in a process of its own is a worker like any other."""

import contextlib
import importlib.util
import itertools
import multiprocessing
import os
import signal
import subprocess
import threading
import time

import interlace
from support import Skip, equal, raises, run


@contextlib.contextmanager
def group(**options):
    with interlace.Group(isolation="process", **options) as made:
        yield made


def add(a, b=0):
    return a + b, os.getpid()


def test_i2_a_function_in_a_process_of_its_own():
    """Its result comes back, its arguments are pickled, and it is another process."""
    with group() as workers:
        value, pid = workers.start(add, [1], b=[2]).result()
        equal(value, [1, 2])
        assert pid != os.getpid()
        equal(workers.start("operator:mul", 6, 7).result(), 42)
    with interlace.Group() as workers:
        _, pid = workers.start(add, 1).result()
        equal(pid, os.getpid())
        _, pid = workers.start(add, 1, isolation="process").result()
        assert pid != os.getpid()
        with raises(ValueError, "isolation must be one of", "'thread'"):
            workers.start(add, 1, isolation="thread")
    with raises(ValueError, "'auto'"):
        interlace.Group(isolation=None)


def whoami():
    me = interlace.current_worker()
    main = threading.current_thread() is threading.main_thread()
    return me.name, me.index, me.count, me.id, main, threading.current_thread().name


def test_the_worker_knows_itself():
    with group() as workers:
        worker = workers.start(whoami, name="somebody")
        equal(worker.result(), ("somebody", 0, 1, worker.id, True, "somebody"))
        assert "somebody" in repr(worker)
    equal(worker.done(), True)
    assert "ended" in repr(worker)


def forward(numbers, results, factor):
    with results:
        for n in numbers:
            results.send(n * factor)


def test_channels_between_processes_and_interpreters():
    """C2, C6: a pipeline of both kinds; every message comes once, in order, and the end comes after the last."""
    with interlace.Group() as workers:
        first, receiver = interlace.channel(4)
        for isolation in ("process", "interpreter", "process"):
            sender, following = interlace.channel(4)
            workers.start(forward, receiver, sender, 2, isolation=isolation)
            receiver.close()
            sender.close()
            receiver = following
        feeder = threading.Thread(target=lambda: (first.send_many(range(5000)), first.close()))
        feeder.start()
        equal(list(receiver), [8 * n for n in range(5000)])
        feeder.join()


def count_all(numbers, counts):
    while numbers:
        try:
            got = numbers.recv_many(1000)
        except interlace.EndOfChannel:
            break
        counts.send_many(got)


def test_many_messages_under_one_lock():
    """send_many and recv_many of more messages than any log of one section has room for."""
    for capacity in (0, 64, 4096):
        with group() as workers:
            numbers, takes = interlace.channel(capacity)
            gives, counts = interlace.channel(capacity)
            if capacity == 4096:
                numbers.send_many(range(3000))
            workers.start(count_all, takes, gives)
            del takes, gives
            if capacity < 4096:
                sender = threading.Thread(target=lambda: (numbers.send_many(range(3000)), numbers.close()))
                sender.start()
            else:
                numbers.close()
            equal(list(counts), list(range(3000)))


def serve(requests):
    for number, reply in requests:
        with reply:
            reply.send((number, os.getpid()))


def test_c7_ends_travel_between_processes():
    """In messages, into a process and out of it; a rendezvous works across."""
    with group() as workers:
        ask, requests = interlace.channel(0)
        workers.start(serve, requests)
        requests.close()
        for number in range(20):
            sender, answer = interlace.channel(0)
            ask.send((number, sender))
            sender.close()
            equal(answer.recv()[0], number)
            with raises(interlace.EndOfChannel):
                answer.recv()
        ask.close()


def make_channel():
    sender, receiver = interlace.channel(2, name="made there")
    sender.send("before the end")
    return receiver


def test_what_a_process_sent_outlives_it():
    """An end in a result; the channel was made in a process that has ended."""
    with group() as workers:
        worker = workers.start(make_channel)
        receiver = worker.result()
    equal(worker.done(), True)
    equal(receiver.name, "made there")
    equal(list(receiver), ["before the end"])


def fill(blocks, back):
    for block in blocks:
        view = memoryview(block)
        view[-1] = view[0] + 1
        view.release()
        back.send(block)


def test_c8_blocks_are_not_copied():
    """A Buffer goes there and back and is the same memory; large bytes and views arrive whole."""
    with group() as workers:
        there, blocks = interlace.channel(1)
        back, received = interlace.channel(1)
        workers.start(fill, blocks, back)
        del blocks, back
        size = 32 << 20
        block = interlace.Buffer(size)
        memoryview(block)[0] = 7
        times = []
        for _ in range(5):
            start = time.perf_counter()
            there.send(block)
            block = received.recv()
            times.append(time.perf_counter() - start)
            equal(len(block), size)
        view = memoryview(block)
        equal((view[0], view[size - 1]), (7, 8))
        # Two copies of 32 MiB take 10 ms at the least, a fast machine's; what is lent takes well below one.
        assert min(times) < 0.008, times
        there.close()
    with group() as workers:
        big = bytes(range(256)) * 4096
        equal(workers.start(bytes.upper, big).result(), big.upper())
        equal(workers.start(bytes, memoryview(big)).result(), big)


def choose(a, b, out):
    chosen = []
    while len(chosen) < 3:
        case, value = interlace.select(a, b, (out, "sent"), interlace.after(30), priority=True)
        chosen.append("a" if case is a else "b" if case is b else "out")
    try:
        interlace.select(a, timeout=0.01)
    except TimeoutError:
        chosen.append("timeout")
    return chosen


def test_select_in_a_process():
    """S1: receives, sends and timers; a worker in a process is a case of a select elsewhere."""
    with group() as workers:
        to_a, a = interlace.channel(1)
        to_b, b = interlace.channel(1)
        out, outs = interlace.channel(1)
        to_a.send(1)
        to_b.send(2)
        worker = workers.start(choose, a, b, out)
        case, _ = interlace.select(worker, interlace.after(60))
        assert case is worker
        equal(worker.result(), ["a", "b", "out", "timeout"])
        equal(outs.recv(), "sent")


def nested():
    pids = []
    with interlace.Group() as workers:
        sender, receiver = interlace.channel(1)
        for _ in range(3):
            workers.start(tell_pid, sender)
        del sender
        pids = list(receiver)
    try:
        with interlace.Group(isolation="process") as workers:
            workers.start(add, 1)
    except RuntimeError as error:
        return pids, os.getpid(), str(error)


def tell_pid(sender):
    sender.send(os.getpid())


def test_groups_in_a_process():
    """Interpreter workers inside that process; processes of its own it cannot start, and is told who can."""
    with group() as workers:
        pids, own, text = workers.start(nested).result()
    equal(pids, [own] * 3)
    assert "start workers in interpreters" in text, text


class Custom(Exception):
    pass


def fail(text):
    raise Custom(text, 7)


def test_w2_exceptions_with_their_traceback():
    with raises(ExceptionGroup) as caught:
        with group(name="doomed") as workers:
            _, never = interlace.channel(0)
            other = workers.start(next, never)
            failing = workers.start(fail, "no", name="failing")
    (error,) = caught.error.exceptions
    equal((type(error), error.args), (Custom, ("no", 7)))
    for word in ("in worker 'failing'", "in fail", "test_process.py", "Custom: ('no', 7)"):
        assert word in str(error.__cause__), error.__cause__
    assert failing.exception() is error
    with raises(interlace.Cancelled):
        other.result()


def test_the_outcome_that_does_not_pickle():
    with raises(ExceptionGroup, "1 of 1") as caught:
        with group() as workers:
            workers.start(threading.Lock)
    assert "pickle" in str(caught.error.exceptions[0]), caught.error.exceptions


def test_i1_extensions_that_refuse_interpreters_load():
    for module in ("readline", "_curses", "faulthandler"):
        if importlib.util.find_spec(module) is None:
            raise Skip(f"this Python has no {module}")
        text = f"""
            import interlace
            def work():
                import {module}
                return {module}.__name__
            with interlace.Group() as group:
                print(group.start(work, isolation="process").result())
        """
        run(text).expect(0, f"{module}\n")


def python_alone():
    """What only a main interpreter can do."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    pid = os.fork()
    if pid == 0:
        os._exit(5)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout
    process = multiprocessing.get_context("fork").Process(target=os.getpid)
    process.start()
    process.join()
    return seen, code, said, process.exitcode


def test_what_only_main_interpreters_can():
    """Signal handlers, fork, daemon threads."""
    with group() as workers:
        equal(workers.start(python_alone).result(), ([signal.SIGUSR1], 5, "hello\n", 0))


def test_w6_surroundings():
    """sys.path, argv, the environment, warning filters, options, folder and script's definitions are the same."""
    text = """
        import os, sys, warnings
        import interlace
        VALUE = {"a": 1}
        class Point:
            def __init__(self, x):
                self.x = x
        def look(point):
            try:
                warnings.warn("loud")
            except UserWarning:
                loud = "raised"
            return (sys.path, sys.argv, os.environ["SEEN"], os.getcwd(), sys._xoptions, sys.flags.utf8_mode, loud,
                    sys.executable, sys.prefix, VALUE, Point(point.x + 1), sys.warnoptions, sys.flags.dev_mode)
        def main():
            sys.path.insert(1, "/somewhere")
            os.environ["SEEN"] = "yes"
            warnings.simplefilter("error")
            with interlace.Group() as group:
                results = [group.start(look, Point(1), isolation=kind).result() for kind in ("interpreter", "process")]
            for ours, theirs in zip(*results):
                if isinstance(ours, Point):
                    ours, theirs = ours.x, theirs.x
                print("same" if ours == theirs else (ours, theirs))
        main()
    """
    words = "-X", "utf8", "-X", "dev", "-W", "ignore::DeprecationWarning"
    run(text, "one", "--two", words=words).expect(0, "same\n" * 13)


def wait_for(receiver, timeout):
    start = time.monotonic()
    try:
        receiver.recv(timeout=timeout)
    except TimeoutError:
        return time.monotonic() - start


def test_c4_timeouts():
    _, receiver = interlace.channel(0)
    with group() as workers:
        assert 0.2 <= workers.start(wait_for, receiver, 0.2).result() < 30
        worker = workers.start(wait_for, receiver, 30)
        with raises(TimeoutError, "no result yet"):
            worker.result(timeout=0.05)
        worker.cancel()
        with raises(interlace.Cancelled):
            worker.result()


def hold(ready, end, log):
    try:
        ready.send("waits" if end else "computes")
        if end:
            end.recv()
        while True:
            pass
    except Exception as error:  # Cancelled is none
        log.send(repr(error))
    finally:
        log.send("cleaned")


def test_w3_cancelling():
    """Waits and bytecode are interrupted, finally blocks run, except Exception does not catch it."""
    _, never = interlace.channel(0)
    ready, readies = interlace.channel(2)
    log, logged = interlace.channel(8)
    with group() as workers:
        all_of_them = [workers.start(hold, ready, end, log) for end in (never, None)]
        del ready, log
        equal(sorted([readies.recv(), readies.recv()]), ["computes", "waits"])
        for worker in all_of_them:
            worker.cancel()
        for worker in all_of_them:
            with raises(interlace.Cancelled):
                worker.result()
        equal(list(logged), ["cleaned", "cleaned"])


def cancel_itself(never):
    interlace.current_worker().cancel()
    never.recv()


def test_w3_a_worker_that_cancels_itself():
    """It is no failure, in an interpreter and in a process: the group goes on, and it is not started anew."""
    _, never = interlace.channel(0)
    for isolation, restart in itertools.product(("interpreter", "process"), (None, interlace.Restart(backoff=0))):
        with interlace.Group(isolation=isolation, restart=restart) as workers:
            cancelled = workers.start(cancel_itself, never)
            with raises(interlace.Cancelled, "was cancelled"):
                cancelled.result()
            equal(workers.start(add, 1, 2).result()[0], 3)
        equal(cancelled.restarts, 0)


def wait_while_holding(other, orders, ready):
    ready.send(1)
    ready.close()
    orders.recv()


def test_w3_processes_cancelled_together():
    """One of them sees the other's ends close before it is told why: that is the cancellation as well, and no failure."""
    for _ in range(12):
        with group() as workers:
            (a, a_end), (b, b_end), (ready, both) = (interlace.channel(0) for _ in range(3))
            workers.start(wait_while_holding, a, b_end, ready)
            workers.start(wait_while_holding, b, a_end, ready)
            del a, b, a_end, b_end, ready
            equal(list(both), [1, 1])
            workers.cancel()


def count_descriptors():
    return len(os.listdir("/proc/self/fd"))


def children():
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and int(open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(name))
    return found


def test_a_hundred_one_after_another_leave_nothing():
    """No descriptors, no zombies, nothing in /dev/shm."""
    with group() as workers:
        workers.start(os.getpid).result()
    before = count_descriptors(), children(), os.listdir("/dev/shm")
    for _ in range(25):
        with group() as workers:
            for worker in [workers.start(os.getpid) for _ in range(4)]:
                worker.result()
    equal((count_descriptors(), children(), os.listdir("/dev/shm")), before)


def test_objects_that_are_shared():
    """Counters and semaphores lie in memory that a process has, too."""
    counter = interlace.Counter()
    semaphore = interlace.Semaphore(1)
    with group() as workers:
        for _ in range(3):
            workers.start(count_up, counter, semaphore, 200)
    equal(counter.value, 600)


def count_up(counter, semaphore, times):
    for _ in range(times):
        with semaphore:
            value = counter.value
            counter.set(value + 1)


def test_stages_of_pipelines():
    """A stage whose function runs in processes, between two of interpreters."""
    stages = [
        interlace.stage(float),
        interlace.stage(with_pid, isolation="process", workers=2),
        interlace.stage(with_pid),
    ]
    results = list(interlace.pipeline(range(50), *stages))
    equal([value for (value, _), _ in results], [float(n) for n in range(50)])
    assert {pid for _, pid in results} == {os.getpid()}
    assert os.getpid() not in {pid for (_, pid), _ in results}


def with_pid(value):
    return value, os.getpid()


def test_i2_numpy():
    """A module that refuses: arrays arrive in a process without a copy of its own, and go on to another one."""
    if importlib.util.find_spec("numpy") is None:
        raise Skip("this Python has no numpy")
    text = """
        import interlace
        def transpose(arrays, results):
            for array in arrays:
                results.send((array.T.copy(), array.flags.owndata))
        def check(sender, receiver):
            import numpy
            for size in 3, 2000:
                array = numpy.arange(size * size, dtype=float).reshape(size, size)
                sender.send(array)
                result, owned = receiver.recv(timeout=30)
                print((result == array.T).all(), owned)
        with interlace.Group(isolation="auto") as group:
            sender, arrays = interlace.channel(1)
            results, receiver = interlace.channel(1)
            group.start(transpose, arrays, results, isolation="process")
            arrays.close()
            group.start(check, sender, receiver)
            sender.close()
    """
    said = "interlace: numpy does not load in an interpreter with its own GIL: workers that import it run in processes of"
    run(text).expect(0, "True False\nTrue False\n", (said,))


def test_i2_numpy_arrays_on_a_frozen_buffer():
    """They are sent as arrays, of their type and shape, from process to process, without a copy."""
    if importlib.util.find_spec("numpy") is None:
        raise Skip("this Python has no numpy")
    text = """
        import time
        import interlace
        def receive(arrays, results):
            for array in arrays:
                results.send((array.dtype.str, array.shape, array.flags.writeable, float(array[-1, -1])))
        def send(sender, receiver):
            import numpy
            buffer = interlace.Buffer(64 << 20)
            numpy.frombuffer(buffer)[:] = 7.0
            buffer.freeze()
            array = numpy.frombuffer(buffer).reshape(1024, -1)
            times = []
            for _ in range(20):
                start = time.perf_counter()
                sender.send(array)
                times.append(time.perf_counter() - start)
                result = receiver.recv(timeout=30)
            print(result)
            # A copy of 64 MiB takes more than 5 ms, a fast machine's.
            assert min(times) < 0.003, times
        with interlace.Group(isolation="process") as group:
            sender, arrays = interlace.channel(1)
            results, receiver = interlace.channel(1)
            group.start(receive, arrays, results)
            arrays.close()
            group.start(send, sender, receiver)
            sender.close()
    """
    run(text).expect(0, "('<f8', (1024, 8192), False, 7.0)\n")
