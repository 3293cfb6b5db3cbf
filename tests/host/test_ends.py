"""What else ends can do: batches, fileno, stats, len, names."""

import selectors
import select as os_select

import interlace
from support import Thread, equal, raises


def test_c1_send_many_and_recv_many():
    """send_many sends what an iterable yields, recv_many takes what is there, up to a limit."""
    sender, receiver = interlace.channel(100)
    equal(sender.send_many(n * n for n in range(10)), 10)
    equal(receiver.recv_many(4), [0, 1, 4, 9])
    equal(receiver.recv_many(100), [16, 25, 36, 49, 64, 81])
    wide_sender, wide = interlace.channel(3000)
    wide_sender.send_many(range(3000))
    equal(wide.recv_many(1000), list(range(1000)))
    equal(wide.recv_many(1 << 60), list(range(1000, 3000)))
    equal(sender.send_many([]), 0)
    with raises(TimeoutError):
        receiver.recv_many(5, timeout=0)
    waiting = Thread(receiver.recv_many, 5).asleep()
    sender.send("first")
    equal(waiting.result(), ["first"])
    sender.send("last")
    sender.close()
    equal(receiver.recv_many(5), ["last"])
    with raises(interlace.EndOfChannel):
        receiver.recv_many(5)


def test_c1_recv_many_of_many_messages():
    """A limit beyond what comes in one go is no error, and nothing is lost."""
    sender, receiver = interlace.channel(2000)
    sender.send_many(range(2000))
    sender.close()
    got = []
    while len(got) < 2000:
        got += receiver.recv_many(1500)
    equal(got, list(range(2000)))


def test_c1_recv_many_of_waiting_senders():
    """From a rendezvous it takes the messages of all who wait."""
    sender, receiver = interlace.channel(0)
    waiting = [Thread(sender.send, n).asleep() for n in range(3)]
    got = []
    while len(got) < 3:
        got += receiver.recv_many(10, timeout=5)
    equal(sorted(got), [0, 1, 2])
    for thread in waiting:
        thread.result()


def test_c1_wrong_limits():
    """The limit is an int of 1 or more."""
    _, receiver = kept = interlace.channel(1)
    for limit, kind in [(0, ValueError), (-1, ValueError), ("1", TypeError), (1.5, TypeError), (None, TypeError)]:
        with raises(kind):
            receiver.recv_many(limit)
    with raises(TypeError, "limit"):
        receiver.recv_many()
    del kept


def test_c6_send_many_tells_how_many_went():
    """An exception - of the iterable, of pickling, of the channel - has the number sent so far."""
    sender, receiver = interlace.channel(3)

    def broken():
        yield 1
        yield 2
        raise ZeroDivisionError("in the iterable")

    for objects, kind, sent in [(broken(), ZeroDivisionError, 2), ([1, lambda: 1], Exception, 1),
                                (range(9), TimeoutError, 3)]:  # fmt: skip
        with raises(kind) as caught:
            sender.send_many(objects, timeout=0)
        equal(caught.error.sent, sent)
        equal(receiver.recv_many(9), list(range(1, sent + 1)) if kind is not TimeoutError else [0, 1, 2])
    receiver.close()
    with raises(interlace.BrokenChannel) as caught:
        sender.send_many([1])
    equal(caught.error.sent, 0)
    with raises(TypeError, "iterable"):
        interlace.channel(1)[0].send_many(5)


def test_c2_send_many_of_a_list_of_all_sizes():
    """Small messages of a list go together: in order with the large ones, those with ends, and all that do not fit."""
    sender, receiver = interlace.channel(7)
    inner = interlace.channel(1)[1]
    objects = [b"x" * (n * 37 % 2500) for n in range(300)]
    objects[100] = inner
    objects[200] = b"y" * 200_000
    for given in (objects, tuple(objects)):
        sending = Thread(sender.send_many, given)
        got = [receiver.recv(timeout=5) for _ in given]
        equal(sending.result(), 300)
        equal([type(a) for a in got], [type(a) for a in given])
        equal([a for a in got if isinstance(a, bytes)], [a for a in given if isinstance(a, bytes)])
    sending = Thread(sender.send_many, range(1000))
    equal([receiver.recv(timeout=5) for _ in range(1000)], list(range(1000)))
    equal(sending.result(), 1000)


def test_c5_send_many_sends_what_comes_before_one_that_does_not_pickle():
    sender, receiver = interlace.channel(200)
    with raises(Exception) as caught:
        sender.send_many([*range(70), lambda: 1, 71])
    equal(caught.error.sent, 70)
    equal(receiver.recv_many(200), list(range(70)))


def test_c6_send_many_of_a_list_counts_what_went():
    """When the last receiver goes while it waits, after some have been received."""
    sender, receiver = interlace.channel(4)
    sending = Thread(sender.send_many, list(range(50))).asleep()
    equal([receiver.recv() for _ in range(10)], list(range(10)))
    sending.asleep()
    receiver.close()
    with raises(interlace.BrokenChannel) as caught:
        sending.result()
    equal(caught.error.sent, 14)


def readable(end):
    poller = os_select.poll()
    poller.register(end, os_select.POLLIN)
    return bool(poller.poll(0))


def test_fileno_of_a_receiver():
    """It polls readable exactly while recv() would not wait: a message is there, or the end."""
    sender, receiver = interlace.channel(2)
    assert not readable(receiver)
    sender.send(1)
    sender.send(2)
    assert readable(receiver)
    receiver.recv()
    assert readable(receiver)
    receiver.recv()
    assert not readable(receiver)
    sender.close()
    assert readable(receiver)
    with raises(interlace.EndOfChannel):
        receiver.recv(timeout=0)


def test_fileno_of_a_sender():
    """It polls readable exactly while send() would not wait: there is room, or nobody receives any more."""
    sender, receiver = interlace.channel(1)
    assert readable(sender)
    sender.send(1)
    assert not readable(sender)
    receiver.recv()
    assert readable(sender)
    sender.send(2)
    receiver.close()
    assert readable(sender)
    with raises(interlace.BrokenChannel):
        sender.send(3, timeout=0)


def test_fileno_of_a_rendezvous():
    """With capacity 0 an end polls readable while somebody waits on the other side."""
    sender, receiver = interlace.channel(0)
    assert not readable(sender) and not readable(receiver)
    waiting = Thread(receiver.recv).asleep()
    assert readable(sender)
    sender.send(1, timeout=0)
    waiting.result()
    assert not readable(sender)
    waiting = Thread(sender.send, 2).asleep()
    assert readable(receiver)
    equal(receiver.recv(timeout=0), 2)
    waiting.result()
    assert not readable(receiver)


def test_fileno_wakes_a_selector():
    """Python's selectors wait for a message that a thread sends, and for room that it makes."""
    sender, receiver = interlace.channel(1)
    with selectors.DefaultSelector() as selector:
        selector.register(receiver, selectors.EVENT_READ, "message")
        waiting = Thread(selector.select, 30).asleep()
        sender.send("hello")
        [(key, _)] = waiting.result()
        equal(key.data, "message")
        selector.unregister(receiver)
        selector.register(sender, selectors.EVENT_READ, "room")
        waiting = Thread(selector.select, 30).asleep()
        equal(receiver.recv(timeout=0), "hello")
        [(key, _)] = waiting.result()
        equal(key.data, "room")


def test_stats_count_what_went_through_an_end():
    """Messages, bytes, calls that waited, and for how long."""
    sender, receiver = interlace.channel(1)
    equal(sender.stats(), {"messages": 0, "bytes": 0, "waits": 0, "blocked": 0.0})
    sender.send(bytes(1000))
    receiver.recv()
    stats = sender.stats()
    equal((stats["messages"], stats["waits"], stats["blocked"]), (1, 0, 0.0))
    assert 1000 <= stats["bytes"] < 1100, stats
    equal(receiver.stats()["bytes"], stats["bytes"])
    waiting = Thread(receiver.recv).asleep()
    sender.send(1)
    waiting.result()
    stats = receiver.stats()
    equal((stats["messages"], stats["waits"]), (2, 1))
    assert 0.02 < stats["blocked"] < 20, stats
    receiver.close()
    equal(receiver.stats()["messages"], 2)


def test_names_and_texts():
    """An end knows its channel's name, is true when it is empty, and equal to itself only."""
    sender, receiver = interlace.channel(4, name="Zahlen \u00e4")
    equal((sender.name, receiver.name), ("Zahlen \u00e4", "Zahlen \u00e4"))
    equal(repr(receiver), "<interlace.Receiver of 'Zahlen \u00e4'>")
    assert sender and receiver and sender != receiver
    equal(len({sender, receiver, sender}), 2)
    equal(sender.capacity, receiver.capacity)
    long_sender, _ = interlace.channel(1, name="\u00e4" * 100)
    assert "\u00e4" * 20 in long_sender.name, long_sender.name
    for kind in (interlace.Sender, interlace.Receiver, interlace.Worker):
        with raises(TypeError):
            kind()
