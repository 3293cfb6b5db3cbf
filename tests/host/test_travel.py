"""C7: ends travel in arguments and messages, and count from the moment they are sent."""

import copy
import copyreg
import gc
import pickle

import interlace
from support import DEADLINE, equal, raises, run


def ended(receiver):
    """Whether the channel has ended, without waiting."""
    try:
        receiver.recv(timeout=0)
    except TimeoutError:
        return False
    except interlace.EndOfChannel:
        return True
    raise AssertionError("there was a message")


def broken(sender):
    """Whether every receiver is gone, without waiting. The channel has to be full."""
    try:
        sender.send("one too many", timeout=0)
    except TimeoutError:
        return False
    except interlace.BrokenChannel:
        return True
    raise AssertionError("there was room")


def answer(receiver, sender, *, extra):
    extra["deep"][0][1].send(receiver.recv() + 1)
    sender.send("done")


def test_c7_ends_travel_in_arguments():
    """Positional, by keyword and deep inside: the worker has ends of its own."""
    with interlace.Group() as group:
        numbers, receiver = interlace.channel(1)
        sender, words = interlace.channel(1)
        results, result = interlace.channel(1)
        group.start(answer, receiver, sender, extra={"deep": [("x", results)]})
        del receiver, sender, results
        numbers.send(41)
        equal(result.recv(timeout=DEADLINE), 42)
        equal(words.recv(timeout=DEADLINE), "done")
        with raises(interlace.EndOfChannel):
            words.recv(timeout=DEADLINE)


class Request:
    def __init__(self, number, reply):
        self.number, self.reply = number, reply


def serve(requests):
    for request in requests:
        with request.reply:
            request.reply.send(request.number * 2)


def test_c7_ends_travel_in_messages():
    """A request carries the sender of its answer, as an attribute of an object."""
    with interlace.Group() as group:
        ask, requests = interlace.channel(8)
        for _ in range(2):
            group.start(serve, requests)
        requests.close()
        answers = []
        for number in range(100):
            reply, receiver = interlace.channel(1)
            ask.send(Request(number, reply))
            del reply
            answers.append(receiver)
        ask.close()
        equal([list(receiver) for receiver in answers], [[2 * n] for n in range(100)])


def test_c7_ends_nested_at_any_depth():
    """A hundred lists deep, as a dictionary's value, and many in one message."""
    boxes, box = interlace.channel(1)
    sender, receiver = interlace.channel(64)
    nest = {"end": sender}
    for _ in range(100):
        nest = [nest]
    boxes.send(nest)
    nest = box.recv(timeout=0)
    for _ in range(100):
        [nest] = nest
    nest["end"].send("deep")
    equal(receiver.recv(timeout=0), "deep")
    boxes.send([sender, *[interlace.channel(1) for _ in range(500)], receiver])
    first, *pairs, last = box.recv(timeout=0)
    for number, (pair_sender, pair_receiver) in enumerate(pairs):
        pair_sender.send(number)
        equal(pair_receiver.recv(timeout=0), number)
    first.send("many")
    equal(last.recv(timeout=0), "many")


def test_c7_the_same_end_twice_is_one_object():
    """Within one message sharing is kept, as pickle does it."""
    boxes, box = interlace.channel(1)
    sender, receiver = interlace.channel(1)
    boxes.send((sender, sender))
    sender.close()
    one, two = box.recv(timeout=0)
    assert one is two
    one.close()
    assert ended(receiver)


def test_c7_an_end_in_flight_keeps_its_channel():
    """A sender in a queued message counts; a receiver does too."""
    boxes, box = interlace.channel(4)
    sender, receiver = interlace.channel(1)
    boxes.send(sender)
    sender.close()
    assert not ended(receiver)
    arrived = box.recv(timeout=0)
    arrived.send("still there")
    equal(receiver.recv(timeout=0), "still there")
    del arrived
    assert ended(receiver)

    sender, receiver = interlace.channel(1)
    sender.send("full")
    boxes.send({"r": receiver})
    receiver.close()
    assert not broken(sender)
    arrived = box.recv(timeout=0)
    equal(arrived["r"].recv(timeout=0), "full")
    arrived.clear()
    with raises(interlace.BrokenChannel):
        sender.send("nobody")


def test_c7_an_end_in_a_discarded_message_is_gone():
    """When the channel that carries it is discarded, or the message cannot be sent, the end counts no more."""
    boxes, box = interlace.channel(4)
    sender, receiver = interlace.channel(1)
    boxes.send([sender])
    sender.close()
    assert not ended(receiver)
    box.close()
    assert ended(receiver)

    boxes, box = interlace.channel(1)
    boxes.send("full")
    sender, receiver = interlace.channel(1)
    for attempt in (
        lambda: boxes.send(sender, timeout=0),
        lambda: boxes.send([sender, lambda: 1]),
        lambda: interlace.select((boxes, sender), timeout=0),
    ):
        try:
            attempt()
        except Exception:
            pass
    sender.close()
    gc.collect()
    assert ended(receiver)


def test_c7_ends_of_ends_cascade():
    """A channel in a channel in a channel: closing the outermost receiver ends the innermost."""
    innermost, receiver = interlace.channel(1)
    end = innermost
    for _ in range(200):
        sender, kept = interlace.channel(1)
        sender.send(end)
        end = kept
        sender.close()
    innermost.close()
    assert not ended(receiver)
    end.close()
    del kept
    assert ended(receiver)


def take_and_leave(box):
    box.recv()
    raise SystemExit(0)


def never_looks(argument):
    raise SystemExit(0)


def test_c7_a_worker_that_ends_drops_what_it_got():
    """Ends it received or never unpickled end with it."""
    for in_message in (True, False):
        sender, receiver = interlace.channel(1)
        with interlace.Group() as group:
            boxes, box = interlace.channel(1)
            if in_message:
                group.start(take_and_leave, box)
                boxes.send(sender)
            else:
                group.start(never_looks, [sender])
            sender.close()
            with raises(interlace.EndOfChannel):
                receiver.recv(timeout=DEADLINE)


def test_c7_a_closed_end_does_not_travel():
    """Sending it is a ValueError, and nothing is sent."""
    boxes, box = interlace.channel(1)
    sender, receiver = interlace.channel(1)
    sender.close()
    receiver.close()
    for end in (sender, receiver):
        with raises(ValueError, "closed"):
            boxes.send([end])
        with raises(ValueError, "closed"), interlace.Group() as group:
            group.start(print, end)
    equal(len(box), 0)


def test_c7_plain_pickle_and_copy_are_refused():
    """Everything but Interlace's own messages is refused, and says where ends can travel."""
    for end in interlace.channel(1):
        for attempt in (
            lambda: pickle.dumps(end),  # noqa: B023
            lambda: pickle.dumps([end], 0),  # noqa: B023
            lambda: pickle._dumps(end),  # noqa: B023
            lambda: copy.copy(end),  # noqa: B023
            lambda: copy.deepcopy({"end": end}),  # noqa: B023
            lambda: copyreg.__reduce_ex__(end, 2),  # noqa: B023
        ):
            with raises(TypeError):
                attempt()
        with raises(TypeError, "cannot be pickled", "channel", "Group.start"):
            pickle.dumps(end)


def test_c7_a_forged_reference_is_refused():
    """Calling what an end pickles to, by hand, is an error and no crash."""
    import _interlace

    for index in (0, 5, -1, 1 << 70, "0", None):
        with raises((ValueError, TypeError, OverflowError)):
            _interlace._attach(index)


def test_c7_a_channel_that_holds_its_own_ends_does_not_hang_the_end():
    """A message with the receiver of its own channel is a cycle: the process still ends, with 0."""
    run(
        """
        import interlace
        sender, receiver = interlace.channel(2)
        sender.send((sender, receiver))
        sender.close()
        """
    ).expect(0)
