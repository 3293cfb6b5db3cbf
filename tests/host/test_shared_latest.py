"""latest(): a channel that keeps the newest message only."""

import selectors

import interlace
from support import DEADLINE, Thread, equal, raises


def test_the_newest_is_kept():
    """send() never waits; recv() gets the newest message that nobody has had, once."""
    sender, receiver = interlace.latest(name="place")
    for number in range(1000):
        sender.send(number)
        equal(len(receiver), 1)
    equal(receiver.recv(timeout=0), 999)
    with raises(TimeoutError, "place"):
        receiver.recv(timeout=0)
    sender.send_many(range(1000))
    sender.send("last")
    sender.close()
    equal(list(receiver), ["last"])
    equal((sender.name, sender.capacity), ("place", 1))
    for wrong in (1, b"x"):
        with raises(TypeError, "name"):
            interlace.latest(name=wrong)
    with raises(TypeError):
        interlace.latest("place")


def test_recv_waits_when_there_is_none():
    """And gets what is sent then; with no receiver left send() raises BrokenChannel."""
    sender, receiver = interlace.latest()
    waiting = Thread(receiver.recv, timeout=DEADLINE).asleep()
    sender.send(1)
    equal(waiting.result(), 1)
    with raises(TimeoutError):
        receiver.recv(timeout=0.05)
    receiver.close()
    with raises(interlace.BrokenChannel):
        sender.send(2)


def test_it_can_be_selected():
    """As a receive, and as a send, which is always ready; fileno() tells of a message."""
    sender, receiver = interlace.latest()
    waiting = Thread(interlace.select, receiver).asleep()
    sender.send("first")
    equal(waiting.result(), (receiver, "first"))
    for number in range(5):
        case = (sender, number)
        equal(interlace.select(case, interlace.after(1000)), (case, None))
    with selectors.DefaultSelector() as selector:
        selector.register(receiver, selectors.EVENT_READ)
        equal(len(selector.select(0)), 1)
        equal(interlace.select(receiver), (receiver, 4))
        equal(len(selector.select(0)), 0)


def test_a_displaced_message_lets_go_of_its_ends():
    """A channel whose last sender lay in it has ended; a Buffer's memory is free."""
    sender, receiver = interlace.latest()
    inner, other = interlace.channel(1)
    sender.send([inner])
    del inner
    with raises(TimeoutError):
        other.recv(timeout=0)
    for _ in range(20):
        sender.send(interlace.Buffer(4 << 20))
    with raises(interlace.EndOfChannel):
        other.recv(timeout=0)
    equal(len(receiver.recv()), 4 << 20)


def report(sender, count):
    for number in range(1, count + 1):
        sender.send(number)


def test_workers_share_it():
    """Numbers of several senders: a receiver sees each sender's grow, and none twice."""
    with interlace.Group() as group:
        outs, total = [], 0
        for _ in range(2):
            sender, receiver = interlace.latest()
            group.start(report, sender, 20_000)
            sender.close()
            outs.append(receiver)
        last = dict.fromkeys(outs, 0)
        while True:
            try:
                receiver, number = interlace.select(*outs, timeout=DEADLINE)
            except interlace.EndOfChannel:
                break
            assert number > last[receiver], (number, last[receiver])
            last[receiver] = number
            total += 1
    equal(list(last.values()), [20_000, 20_000])
    assert 2 <= total <= 40_000
