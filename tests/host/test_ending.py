"""C6: how a channel ends, and whom that wakes."""

import gc
import sys
import threading

import interlace
from support import DEADLINE, Thread, asleep, equal, raises, wait_until


def test_c6_kinds_of_exceptions():
    """The end is an EOFError, a channel without receivers a BrokenPipeError, Cancelled no Exception."""
    assert issubclass(interlace.EndOfChannel, EOFError)
    assert issubclass(interlace.BrokenChannel, BrokenPipeError)
    assert issubclass(interlace.Cancelled, BaseException) and not issubclass(interlace.Cancelled, Exception)


def test_c6_last_sender_gone_ends_iteration():
    """What is queued is drained first; from then on every call says EndOfChannel."""
    sender, receiver = interlace.channel(4, name="numbers")
    sender.send_many([1, 2])
    sender.close()
    equal(list(receiver), [1, 2])
    equal(list(receiver), [])
    for call in (receiver.recv, lambda: receiver.recv(timeout=0), lambda: receiver.recv_many(3)):
        with raises(interlace.EndOfChannel, "numbers", "every sender is gone"):
            call()


def test_c6_a_collected_sender_is_closed():
    """A sender that is deleted, or part of a cycle that is collected, counts no more."""
    sender, receiver = interlace.channel(4)
    sender.send("kept")
    del sender
    equal(list(receiver), ["kept"])
    sender, receiver = interlace.channel(4)
    cycle = [sender]
    cycle.append(cycle)
    del sender, cycle
    gc.collect()
    equal(list(receiver), [])


def test_c6_every_sender_has_to_go():
    """While one of several senders is left the channel goes on."""
    sender, receiver = interlace.channel(4)
    boxes, box = interlace.channel(1)
    boxes.send(sender)
    second = box.recv(timeout=0)
    sender.close()
    with raises(TimeoutError):
        receiver.recv(timeout=0)
    second.send("last")
    second.close()
    equal(list(receiver), ["last"])


def return_with(sender):
    sender.send("queued")


def raise_with(sender):
    sender.send("queued")
    raise ValueError("with a sender")


def exit_with(sender):
    sender.send("queued")
    sys.exit(0)


def exit_7_with(sender):
    sender.send("queued")
    sys.exit(7)


def hide_and_return(sender):
    sender.send("queued")
    sys.hidden = sender
    sys.modules["hidden"] = cycle = [sender]
    cycle.append(cycle)
    threading.local().hidden = sender


def leak_and_return(sender):
    import ctypes

    sender.send("queued")
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(sender))  # as a faulty extension module would


def wait_with(sender):
    sender.send("queued")
    interlace.select(interlace.after(1000))


def test_c6_a_worker_that_ended_has_closed_its_ends():
    """However it ends - with an exception, sys.exit, cancelled: what it sent stays, then the channel ends."""
    for function, failure in [
        (return_with, None), (raise_with, ValueError), (exit_with, None), (exit_7_with, SystemExit),
        (hide_and_return, None), (leak_and_return, None), (wait_with, None),
    ]:  # fmt: skip
        sender, receiver = interlace.channel(4)
        kinds = None
        try:
            with interlace.Group() as group:
                worker = group.start(function, sender)
                sender.close()
                if function is wait_with:
                    wait_until(lambda: len(receiver) == 1, "its message")
                    worker.cancel()
        except BaseExceptionGroup as error:
            [kinds] = [type(e) for e in error.exceptions]
        equal((function, kinds), (function, failure))
        equal([receiver.recv(timeout=DEADLINE)], ["queued"])
        with raises(interlace.EndOfChannel):
            receiver.recv(timeout=DEADLINE)


def test_c6_what_an_ended_worker_sent_stays_deliverable():
    """Its messages are received after its interpreter is long gone."""
    sender, receiver = interlace.channel(4)
    with interlace.Group() as group:
        group.start(return_with, sender)
        sender.close()
    equal(list(receiver), ["queued"])


def test_c6_last_receiver_gone_breaks_send():
    """send, send_many and select raise BrokenChannel (or drop the case); len is 0 again."""
    sender, receiver = interlace.channel(4, name="rows")
    sender.send("lost")
    receiver.close()
    for call in (lambda: sender.send(1), lambda: sender.send(1, timeout=0), lambda: sender.send_many([1])):
        with raises(interlace.BrokenChannel, "rows", "every receiver is gone"):
            call()
    with raises(interlace.EndOfChannel):
        interlace.select((sender, 1))
    equal(len(sender), 0)


def test_c6_waiting_senders_get_broken_channel():
    """Threads that wait in send, send_many and select when the last receiver goes."""
    for capacity in (0, 1):
        sender, receiver = interlace.channel(capacity)
        for _ in range(capacity):
            sender.send("full")
        waiting = [Thread(sender.send, 1).asleep(), Thread(sender.send_many, [1]).asleep()]
        select = Thread(interlace.select, (sender, 1)).asleep()
        receiver.close()
        for thread in waiting:
            with raises(interlace.BrokenChannel):
                thread.result()
        with raises(interlace.EndOfChannel):
            select.result()


def test_c6_waiting_receivers_get_the_end():
    """Threads that wait in recv, recv_many, iteration and select when the last sender goes."""
    sender, receiver = interlace.channel(1)
    waiting = [Thread(receiver.recv).asleep(), Thread(receiver.recv_many, 5).asleep(),
               Thread(interlace.select, receiver).asleep()]  # fmt: skip
    iteration = Thread(list, receiver).asleep()
    sender.close()
    for thread in waiting:
        with raises(interlace.EndOfChannel):
            thread.result()
    equal(iteration.result(), [])


def wait_in(how, ready, end):
    """In a worker: say which thread this is, wait on the end, return what came of it."""
    ready.send(threading.get_native_id())
    try:
        if how == "recv":
            return end.recv()
        if how == "iterate":
            return list(end)
        if how == "send":
            return end.send("x")
        return interlace.select(end if how == "select recv" else (end, "x"))
    except Exception as error:
        return type(error).__name__


def test_c6_close_wakes_waits_in_other_workers():
    """Workers that wait in recv, iteration, send and select when this side closes its end."""
    for how, wanted in [("recv", "EndOfChannel"), ("iterate", []), ("send", "BrokenChannel"),
                        ("select recv", "EndOfChannel"), ("select send", "EndOfChannel")]:  # fmt: skip
        with interlace.Group() as group:
            tell, ready = interlace.channel(1)
            sender, receiver = interlace.channel(0)
            theirs, ours = (receiver, sender) if how in ("recv", "iterate", "select recv") else (sender, receiver)
            worker = group.start(wait_in, how, tell, theirs)
            theirs.close()
            asleep(ready.recv(timeout=DEADLINE))
            ours.close()
            equal(worker.result(timeout=DEADLINE), wanted)


def test_c6_closing_an_end_wakes_waits_on_that_very_end():
    """Another thread closes the end on which this one waits: ValueError, as with files."""
    for capacity in (0, 1):
        for how in ("recv", "recv_many", "select", "iterate"):
            sender, receiver = interlace.channel(capacity)
            call = {
                "recv": receiver.recv,
                "recv_many": lambda: receiver.recv_many(2),  # noqa: B023
                "iterate": lambda: list(receiver),  # noqa: B023
                "select": lambda: interlace.select(receiver),  # noqa: B023
            }[how]
            waiting = Thread(call).asleep()
            receiver.close()
            with raises(ValueError, "closed"):
                waiting.result()
        for how in ("send", "select"):
            sender, receiver = interlace.channel(capacity)
            for _ in range(capacity):
                sender.send("full")
            waiting = Thread(sender.send if how == "send" else lambda x: interlace.select((sender, x)), 1).asleep()
            sender.close()
            with raises(ValueError, "closed"):
                waiting.result()
            equal(list(receiver), ["full"] * capacity)


def test_c6_a_closed_end_refuses_use():
    """Every use after close() is a ValueError; closing again is not."""
    sender, receiver = interlace.channel(1, name="rows")
    sender.close()
    sender.close()
    receiver.close()
    receiver.close()
    assert sender.closed and receiver.closed
    for call in (lambda: sender.send(1), lambda: sender.send_many([1]), receiver.recv, lambda: receiver.recv_many(1),
                 lambda: list(receiver), lambda: interlace.select(receiver), lambda: interlace.select((sender, 1)),
                 sender.fileno, receiver.fileno):  # fmt: skip
        with raises(ValueError, "closed"):
            call()
    equal((sender.name, len(sender), len(receiver)), ("rows", 0, 0))
    equal(repr(sender), "<interlace.Sender of 'rows', closed>")


def test_c6_with_closes():
    """Both ends are context managers that close, also when the block raises."""
    sender, receiver = interlace.channel(1)
    with raises(ZeroDivisionError), sender as entered:
        assert entered is sender
        1 / 0  # noqa: B018
    assert sender.closed and not receiver.closed
    with receiver:
        equal(list(receiver), [])
    assert receiver.closed
