"""Executor: cancelling what waits and what runs, shutting down, breaking, Ctrl-C."""

import concurrent.futures
import gc
import random
import signal
import threading
import time
import weakref

import _interlace
import interlace
from support import DEADLINE, Thread, equal, raises, run, start, wait_until


def double(x):
    return 2 * x


def who():
    return interlace.current_worker().name


def hold(sender, end):
    """Tell that the call has begun, and wait until the channel ends; tell how that went."""
    sender.send("begun")
    try:
        return list(end)
    except BaseException as error:
        sender.send(type(error).__name__)
        raise
    finally:
        sender.send("ended")


def spin(sender):
    sender.send("begun")
    try:
        while True:
            pass
    except BaseException as error:
        sender.send(type(error).__name__)
        raise


def doze(sender, seconds):
    sender.send("begun")
    time.sleep(seconds)
    return who()


def group_of_holders(sender, end):
    with interlace.Group() as group:
        group.start(hold, sender, end)


def got(receiver, count):
    return [receiver.recv(timeout=DEADLINE) for _ in range(count)]


def test_cancel_what_waits():
    """A call that has not begun never does, wherever it waits, and the future is cancelled for everybody at once."""
    sender, receiver = interlace.channel(10)
    release, end = interlace.channel(1)
    told = []
    with interlace.Executor(1) as executor:
        first = executor.submit(hold, sender, end)
        equal(got(receiver, 1), ["begun"])
        futures = [executor.submit(end.recv) for _ in range(200)]
        futures[3].add_done_callback(told.append)
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            waiter = threads.submit(concurrent.futures.wait, futures, DEADLINE)
            result = threads.submit(futures[7].result)
            equal([future.cancel() for future in futures], [True] * 200)
            equal(waiter.result(DEADLINE).not_done, set())
            with raises(concurrent.futures.CancelledError):
                result.result(DEADLINE)
        equal(told, [futures[3]])
        equal({(future.done(), future.cancelled(), future.running()) for future in futures}, {(True, True, False)})
        equal(len(list(concurrent.futures.as_completed(futures, 0))), 200)
        after = executor.submit(double, 1)
        release.close()
        equal((first.result(DEADLINE), after.result(DEADLINE)), ([], 2))
        equal((first.cancel(), first.cancelled(), futures[0].cancel()), (False, False, True))
    equal(got(receiver, 1), ["ended"])


def test_cancel_a_wait_that_runs():
    """Cancelled is raised in the wait, `finally` blocks run, and the same worker does the next call."""
    sender, receiver = interlace.channel(10)
    _release, end = interlace.channel(1)
    with interlace.Executor(1) as executor:
        name = executor.submit(who).result(DEADLINE)
        for _ in range(20):
            future = executor.submit(hold, sender, end)
            equal(got(receiver, 1), ["begun"])
            wait_until(future.running, "the call to run")
            equal(future.cancel(), True)
            equal((future.cancelled(), future.running(), future.cancel()), (True, False, True))
            equal(got(receiver, 2), ["Cancelled", "ended"])
            with raises(concurrent.futures.CancelledError):
                future.result(0)
            equal(executor.submit(who).result(DEADLINE), name)


def test_cancel_bytecode_that_runs():
    """Likewise in a loop that waits for nothing."""
    sender, receiver = interlace.channel(10)
    with interlace.Executor(1) as executor:
        name = executor.submit(who).result(DEADLINE)
        for _ in range(10):
            future = executor.submit(spin, sender)
            equal(got(receiver, 1), ["begun"])
            equal(future.cancel(), True)
            equal(got(receiver, 1), ["Cancelled"])
            equal(executor.submit(who).result(DEADLINE), name)


def test_cancel_what_workers_of_a_call_do():
    """The workers that the call has started are cancelled with it."""
    sender, receiver = interlace.channel(10)
    _release, end = interlace.channel(1)
    with interlace.Executor(1) as executor:
        future = executor.submit(group_of_holders, sender, end)
        equal(got(receiver, 1), ["begun"])
        equal(future.cancel(), True)
        equal(got(receiver, 2), ["Cancelled", "ended"])
        equal(executor.submit(double, 2).result(DEADLINE), 4)


def test_cancel_foreign_code():
    """A call that sits in C code ends when it returns from there; nobody waits for it but its worker."""
    sender, receiver = interlace.channel(10)
    with interlace.Executor(1) as executor:
        name = executor.submit(who).result(DEADLINE)
        future = executor.submit(doze, sender, 0.3)
        equal(got(receiver, 1), ["begun"])
        equal((future.cancel(), future.cancelled()), (True, True))
        equal(executor.submit(who).result(DEADLINE), name)


def busy(number):
    total = 0
    for i in range(number % 97 * 20):
        total += i
    return number, total == sum(range(number % 97 * 20))


def test_cancelling_hits_nobody_else():
    """Calls cancelled at any moment: each of the others has its result, and no Cancelled strays into one."""
    dice = random.Random(5)
    with interlace.Executor(2) as executor:
        for _ in range(30):
            futures = [executor.submit(busy, number) for number in range(60)]
            for future in dice.sample(futures, 30):
                future.cancel()
            for number, future in enumerate(futures):
                try:
                    equal(future.result(DEADLINE), (number, True))
                except concurrent.futures.CancelledError:
                    assert future.cancelled()
        equal(list(executor.map(double, range(50))), [2 * x for x in range(50)])


kept = []


def make_an_executor():
    kept.append(interlace.Executor(1))
    return kept[0].submit(double, 1).result()


def use_the_executor():
    return kept[0].submit(double, 2).result()


def test_what_a_call_leaves_behind():
    """An executor made in one call is not cancelled with another."""
    sender, receiver = interlace.channel(10)
    with interlace.Executor(1) as executor:
        equal(executor.submit(make_an_executor).result(DEADLINE), 2)
        future = executor.submit(spin, sender)
        equal(got(receiver, 1), ["begun"])
        future.cancel()
        equal(executor.submit(use_the_executor).result(DEADLINE), 4)


def test_shutdown():
    """Calls that were handed in are done; nothing more is taken; again does nothing."""
    for wait in True, False:
        executor = interlace.Executor(2)
        futures = [executor.submit(double, x) for x in range(300)]
        results = executor.map(double, range(300))
        for _ in range(2):
            executor.shutdown(wait)
        if wait:
            assert all(future.done() for future in futures)
        equal([future.result(DEADLINE) for future in futures], [2 * x for x in range(300)])
        equal(list(results), [2 * x for x in range(300)])
        for again in (lambda: executor.submit(double, 1)), (lambda: executor.map(double, [1])):
            with raises(RuntimeError, "cannot schedule new futures after shutdown"):
                again()
        executor.shutdown()
    interlace.Executor(2).shutdown()


def test_shutdown_that_cancels():
    """Calls that nobody has begun are cancelled, those of a map() too; those that run are done."""
    for wait in True, False:
        sender, receiver = interlace.channel(10)
        release, end = interlace.channel(1)
        executor = interlace.Executor(1)
        running = executor.submit(hold, sender, end)
        equal(got(receiver, 1), ["begun"])
        futures = [executor.submit(end.recv) for _ in range(400)]
        results = executor.map(double, range(5))
        if wait:
            shut = Thread(executor.shutdown, cancel_futures=True)
        else:
            executor.shutdown(wait=False, cancel_futures=True)
        for future in futures:
            wait_until(future.cancelled, "it to be cancelled")
        assert not running.done()
        release.close()
        equal(running.result(DEADLINE), [])
        if wait:
            shut.result()
            assert all(future.done() for future in futures)
        equal(concurrent.futures.wait(futures, DEADLINE).not_done, set())
        equal({future.cancelled() for future in futures}, {True})
        with raises(concurrent.futures.CancelledError):
            next(results)


def test_cancel_right_before_shutdown():
    """It does not hold up the end."""
    executor = interlace.Executor(1)
    executor.submit(int).result(DEADLINE)
    for _ in range(5):
        executor.submit(int).cancel()
    Thread(executor.shutdown).result()


def test_collected():
    """An executor that nobody shuts down or keeps does what it has, and its workers end."""
    before = threading.active_count()
    executor = interlace.Executor(2)
    futures = [executor.submit(double, x) for x in range(200)]
    results = executor.map(double, range(5))
    gone = weakref.ref(executor)
    del executor
    gc.collect()
    equal(gone(), None)
    equal([future.result(DEADLINE) for future in futures], [2 * x for x in range(200)])
    equal(list(results), [0, 2, 4, 6, 8])
    wait_until(lambda: threading.active_count() <= before, "its thread to end")


def test_shutdown_while_it_does_not_pickle():
    """A call that fails to be pickled does not hold up the end."""
    with interlace.Executor(2) as executor:
        executor.submit(id, 42).result(DEADLINE)
        future = executor.submit(id, threading.Lock())
        executor.shutdown(wait=False)
        with raises(TypeError):
            future.result(DEADLINE)


def test_a_worker_that_fails():
    """Every call that is not done raises BrokenExecutor, and no more are taken."""
    sender, receiver = interlace.channel(10)
    _release, end = interlace.channel(1)
    with interlace.Executor(2) as executor:
        running = executor.submit(hold, sender, end)
        equal(got(receiver, 1), ["begun"])
        executor.submit(_interlace._fail, None)
        futures = [executor.submit(end.recv) for _ in range(150)]
        results = executor.map(end.recv, [DEADLINE] * 3)
        for future in running, *futures:
            with raises(concurrent.futures.BrokenExecutor, "worker 'executor-", "has failed"):
                future.result(DEADLINE)
        with raises(concurrent.futures.BrokenExecutor):
            next(results)
        with raises(concurrent.futures.BrokenExecutor):
            executor.submit(double, 1)
    equal(got(receiver, 2), ["Cancelled", "ended"])


def test_terminate():
    """The workers are cancelled with whatever they do."""
    for terminate in interlace.Executor.terminate_workers, interlace.Executor.kill_workers:
        sender, receiver = interlace.channel(10)
        _release, end = interlace.channel(1)
        with interlace.Executor(2) as executor:
            futures = [executor.submit(hold, sender, end) for _ in range(2)]
            futures += [executor.submit(end.recv) for _ in range(100)]
            equal(got(receiver, 2), ["begun", "begun"])
            terminate(executor)
            for future in futures:
                with raises(concurrent.futures.BrokenExecutor, "terminated"):
                    future.result(DEADLINE)
            with raises(RuntimeError):
                executor.submit(double, 1)
            terminate(executor)
        equal(sorted(got(receiver, 4)), ["Cancelled", "Cancelled", "ended", "ended"])
    with interlace.Executor(1) as executor:
        executor.terminate_workers()


def test_a_group_around_it():
    """An executor made in a group's block is cancelled with the group, and so is who waits for its results."""
    sender, receiver = interlace.channel(10)
    _release, end = interlace.channel(1)

    def block():
        with interlace.Group() as group, interlace.Executor(1) as executor:
            futures = [executor.submit(hold, sender, end) for _ in range(3)]
            got(receiver, 1)
            group.cancel()
            for future in futures:
                with raises(interlace.Cancelled):
                    future.result(DEADLINE)
            futures[0].result()
        return "quietly"

    equal(Thread(block).result(), "quietly")
    equal(got(receiver, 2), ["Cancelled", "ended"])


FOREVER = """
    import sys
    import threading
    import time
    import interlace

    def spin(x):
        while True:
            x += 1

    def wait_for(receiver):
        try:
            receiver.recv()
        finally:
            print("cleaned up", flush=True)

    def main():
        sender, receiver = interlace.channel(1)
        executor = interlace.Executor(2)
        if sys.argv[1] == "wait":
            future = executor.submit(wait_for, receiver)
        else:
            future = executor.submit(spin, 1)
        more = [executor.submit(spin, 1) for _ in range(100)]
        results = executor.map(spin, range(100))
        print("ready", flush=True)
        match sys.argv[2]:
            case "result":
                future.result()
            case "map":
                next(results)
            case "shutdown":
                executor.shutdown()
            case "end":
                pass
            case "with":
                with executor:
                    pass

    main()
    """


def test_ctrl_c():
    """Wherever the script waits for its executor, it ends with 130 at once, and quietly."""
    for kind, where in ("wait", "result"), ("spin", "result"), ("spin", "map"), ("wait", "shutdown"), ("spin", "end"), (
        "wait",
        "with",
    ):
        with start(FOREVER, kind, where) as script:
            script.printed("ready")
            script.send_signal(signal.SIGINT)
            ended = script.end().expect(code=130)
            equal((ended.err, ended.out.replace("cleaned up\n", "")), ("", "ready\n"))
            assert ended.seconds < 5, ended.describe()
            equal(script.left(), [])


def test_the_end_of_a_script():
    """A script that ends without a word to its executor: what was handed in is done, and nothing is lost or said."""
    text = """
        import interlace

        def say(x):
            print(x, flush=True)

        if __name__ == "__main__":
            executor = interlace.Executor(2)
            for x in range(200):
                executor.submit(say, x)
            executor.map(say, range(200, 400))
        """
    ended = run(text).expect(code=0)
    equal(sorted(map(int, ended.out.split())), list(range(400)))
