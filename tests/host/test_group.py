"""W2: a group ends when its workers have, and fails as a whole."""

import threading

import interlace
from support import DEADLINE, asleep, equal, raises, wait_until


def recv(receiver):
    return receiver.recv()


def fail(error, ready=None):
    if ready is not None:
        ready.recv()
    raise error


def kinds(caught):
    return [type(error) for error in caught.error.exceptions]


def test_w2_the_block_ends_when_every_worker_has():
    """Leaving the block waits for workers nobody asked for a result."""
    with interlace.Group() as group:
        send, receiver = interlace.channel(1)
        workers = [group.start(recv, receiver) for _ in range(3)]
        send.send_many(range(3))
    assert all(worker.done() for worker in workers)
    equal(sorted(worker.result(timeout=0) for worker in workers), [0, 1, 2])


def test_w2_a_failure_raises_an_exception_group():
    """Of the original types, with the number of those who failed and the group's name."""
    what = "group 'parsing': 1 of 2 workers failed"
    with raises(ExceptionGroup, what) as caught, interlace.Group("parsing") as group:
        group.start(pow, 2, 3)
        group.start(fail, KeyError("k", 1))
    equal(kinds(caught), [KeyError])
    equal(caught.error.exceptions[0].args, ("k", 1))
    equal(type(caught.error), ExceptionGroup)


def test_w2_the_first_failure_cancels_the_others():
    """Workers that wait for ever end, and the group reports the failure only."""
    with raises(ExceptionGroup, "1 of 6 workers failed") as caught, interlace.Group() as group:
        kept = interlace.channel(0)
        waiting = [group.start(recv, kept[1]) for _ in range(5)]
        go, ready = interlace.channel(0)
        group.start(fail, ValueError("first"), ready)
        go.send(None)
    equal(kinds(caught), [ValueError])
    for worker in waiting:
        with raises(interlace.Cancelled, "cancelled"):
            worker.result(timeout=0)


def note_the_end(ended, broken, blocked, told):
    try:
        told.send("begun")
        blocked.recv()
    finally:
        for call in ended.recv, lambda: next(ended), lambda: interlace.select(ended), lambda: broken.send(1):
            try:
                call()
            except BaseException as error:
                told.send(type(error).__name__)


def test_w2_what_siblings_left_is_seen_as_the_cancellation():
    """A cancelled worker gets Cancelled from a channel whose other side has gone: it must not take that for an end."""
    told, names = interlace.channel(8)
    kept, blocked = interlace.channel(1)
    gone, ended = interlace.channel(1)
    gone.close()
    broken, gone = interlace.channel(1)
    gone.close()
    with kept, interlace.Group() as group:
        worker = group.start(note_the_end, ended, broken, blocked, told)
        equal(names.recv(timeout=DEADLINE), "begun")
        worker.cancel()
    told.close()
    equal(list(names), ["Cancelled"] * 4)


def test_w2_the_body_that_waits_is_released():
    """A failure ends whatever the block waits in: recv, send, select, result."""
    for how in ("recv", "send", "select", "select kept", "result", "exception"):
        with raises(ExceptionGroup) as caught, interlace.Group() as group:
            sender, receiver = interlace.channel(0)
            waiting = group.start(recv, receiver)
            group.start(fail, OSError(5, "text"))
            if how == "recv":
                interlace.channel(0)[1].recv() if False else receiver.recv(timeout=DEADLINE)
            elif how == "send":
                full = interlace.channel(1)
                full[0].send_many([1, 2], timeout=DEADLINE)
            elif how == "select":
                interlace.select(interlace.after(DEADLINE))
            elif how == "select kept":
                interlace.select(waiting, receiver, timeout=DEADLINE)
            else:
                getattr(waiting, how)(timeout=DEADLINE)
            raise AssertionError(f"{how} returned")
        equal((how, kinds(caught)), (how, [OSError]))
        equal(caught.error.exceptions[0].errno, 5)
        del sender


def test_w2_the_threads_of_the_body_go_on():
    """After a failed group the same thread waits as before: its waits are not cancelled any more."""
    with raises(ExceptionGroup), interlace.Group() as group:
        group.start(fail, ValueError())
    _, receiver = kept = interlace.channel(1)
    with raises(TimeoutError):
        receiver.recv(timeout=0.05)
    with interlace.Group() as group:
        equal(group.start(pow, 2, 5).result(timeout=DEADLINE), 32)
    del kept


def test_w2_an_exception_of_the_body_cancels_the_workers():
    """It comes out in the ExceptionGroup with those of the workers; without workers as it is."""
    with raises(ExceptionGroup, "the block failed") as caught, interlace.Group() as group:
        _, receiver = kept = interlace.channel(0)
        group.start(recv, receiver)
        raise ZeroDivisionError("in the body")
    equal(kinds(caught), [ZeroDivisionError])
    with raises(ZeroDivisionError), interlace.Group():
        raise ZeroDivisionError("no workers")
    del kept


def test_w2_exceptions_of_body_and_worker_are_both_there():
    """The body's first, then the workers' in the order they were started."""
    with raises(ExceptionGroup, "1 of 1 worker failed") as caught, interlace.Group() as group:
        worker = group.start(fail, KeyError("worker"))
        wait_until(worker.done, "its end")
        raise ZeroDivisionError("body")
    equal(kinds(caught), [ZeroDivisionError, KeyError])


def test_w2_result_reraised_by_the_body_is_there_once():
    """When the body lets the worker's own exception through, the group has it once."""
    with raises(ExceptionGroup) as caught, interlace.Group() as group:
        worker = group.start(fail, KeyError("worker"))
        wait_until(worker.done, "its end")
        raise worker.exception(timeout=0)
    equal(kinds(caught), [KeyError])


def test_w2_sys_exit_and_cancel_in_the_body_pass():
    """SystemExit leaves the block as it is, and cancels the workers."""
    with raises(SystemExit) as caught, interlace.Group() as group:
        _, receiver = kept = interlace.channel(0)
        worker = group.start(recv, receiver)
        raise SystemExit(7)
    equal(caught.error.code, 7)
    assert worker.done()
    del kept


def inner_group(ready):
    with interlace.Group("inner") as group:
        _, receiver = kept = interlace.channel(0)
        for _ in range(2):
            group.start(recv, receiver)
        group.start(fail, LookupError("deep"), ready)
    del kept


def test_w2_groups_nest():
    """A failure in a worker's own group fails that worker, and so the outer group: types are kept in both."""
    with raises(ExceptionGroup, "outer") as caught, interlace.Group("outer") as group:
        go, ready = interlace.channel(0)
        group.start(inner_group, ready)
        go.send(None)
    [inner] = caught.error.exceptions
    equal(type(inner), ExceptionGroup)
    assert "inner" in str(inner), inner
    equal([type(error) for error in inner.exceptions], [LookupError])


def hold_inner(ready):
    with interlace.Group("inner") as group:
        _, receiver = kept = interlace.channel(0)
        group.start(tell_and_wait, ready, receiver)
        receiver.recv()
    del kept


def tell_and_wait(ready, receiver):
    ready.send(threading.get_native_id())
    receiver.recv()


def test_w2_cancelling_reaches_the_workers_of_workers():
    """When the outer group fails, groups inside its workers end too."""
    with raises(ExceptionGroup) as caught, interlace.Group() as group:
        tell, ready = interlace.channel(1)
        group.start(hold_inner, tell)
        asleep(ready.recv(timeout=DEADLINE))
        raise ZeroDivisionError
    equal(kinds(caught), [ZeroDivisionError])


def test_w2_nested_blocks_in_one_thread():
    """A failure in the outer group ends a wait inside the inner block; both groups end."""
    with raises(ExceptionGroup, "outer") as caught, interlace.Group("outer") as outer:
        go, ready = interlace.channel(0)
        outer.start(fail, ValueError("of the outer"), ready)
        with interlace.Group("inner") as inner:
            _, receiver = kept = interlace.channel(0)
            worker = inner.start(recv, receiver)
            go.send(None)
            receiver.recv(timeout=DEADLINE)
    equal(kinds(caught), [ValueError])
    assert worker.done()
    del kept


def test_w2_an_inner_failure_leaves_the_outer_group_alone():
    """Caught around the inner block it has cancelled nothing else."""
    with interlace.Group() as outer:
        go, receiver = interlace.channel(0)
        worker = outer.start(recv, receiver)
        with raises(ExceptionGroup), interlace.Group() as inner:
            inner.start(fail, ValueError())
        go.send("alive", timeout=DEADLINE)
        equal(worker.result(timeout=DEADLINE), "alive")


def test_w2_group_cancel_ends_everything_quietly():
    """group.cancel() ends workers and what the block waits for; the block ends without an exception."""
    with interlace.Group() as group:
        _, receiver = kept = interlace.channel(0)
        workers = [group.start(recv, receiver) for _ in range(3)]
        group.cancel()
        receiver.recv(timeout=DEADLINE)
        raise AssertionError("not reached")
    for worker in workers:
        equal(type(worker.exception(timeout=0)), interlace.Cancelled)
    del kept


def test_w2_groups_refuse_wrong_use():
    """Entered once, started inside its block only, names are strings."""
    group = interlace.Group()
    for use in (lambda: group.start(pow, 1, 1), group.cancel):
        with raises(RuntimeError, "inside the group's block"):
            use()
    with group:
        pass
    with raises(RuntimeError, "entered once"), group:
        pass
    with raises(RuntimeError, "inside the group's block"):
        group.start(pow, 1, 1)
    with raises(TypeError, "name"):
        interlace.Group(5)
