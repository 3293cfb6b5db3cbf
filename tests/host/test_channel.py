"""C1 and C2: what a channel holds, and that every message comes once, in order."""

import random

import interlace
from support import Thread, equal, raises


def test_c1_capacity_bounds_what_waits():
    """A channel of capacity 3 takes three messages, and a fourth when one has been received."""
    sender, receiver = interlace.channel(3)
    for i in range(3):
        sender.send(i, timeout=0)
    with raises(TimeoutError, "send on"):
        sender.send(3, timeout=0)
    equal((len(sender), len(receiver)), (3, 3))
    equal(receiver.recv(timeout=0), 0)
    sender.send(3, timeout=0)
    equal([receiver.recv(timeout=0) for _ in range(3)], [1, 2, 3])
    with raises(TimeoutError, "recv on"):
        receiver.recv(timeout=0)
    equal((len(sender), len(receiver)), (0, 0))


def test_c1_a_full_channel_makes_send_wait():
    """A send on a full channel waits until a receiver has made room."""
    sender, receiver = interlace.channel(1)
    sender.send("first")
    waiting = Thread(sender.send, "second").asleep()
    assert waiting.running()
    equal(receiver.recv(timeout=5), "first")
    waiting.result()
    equal(receiver.recv(timeout=5), "second")


def test_c1_rendezvous_send_returns_when_received():
    """With capacity 0 send() waits until a receiver has the message."""
    sender, receiver = interlace.channel(0)
    with raises(TimeoutError):
        sender.send("nobody there", timeout=0)
    waiting = Thread(sender.send, "hello").asleep()
    assert waiting.running()
    equal(len(receiver), 1)
    equal(receiver.recv(timeout=5), "hello")
    waiting.result()


def test_c1_rendezvous_try_meets_who_waits():
    """Both tries succeed on a rendezvous when the other side waits already."""
    sender, receiver = interlace.channel(0)
    waiting = Thread(receiver.recv).asleep()
    sender.send("tried", timeout=0)
    equal(waiting.result(), "tried")
    waiting = Thread(sender.send, "waited").asleep()
    equal(receiver.recv(timeout=0), "waited")
    waiting.result()


def test_c1_max_bytes_bounds_what_waits():
    """max_bytes counts pickled bytes beside the number of messages."""
    sender, receiver = interlace.channel(100, max_bytes=1000)
    for _ in range(2):
        sender.send(bytes(400), timeout=0)
    with raises(TimeoutError):
        sender.send(bytes(400), timeout=0)
    sender.send(1, timeout=0)  # there is room for something smaller
    equal(len(receiver.recv(timeout=0)), 400)
    sender.send(bytes(400), timeout=0)
    equal([len(receiver.recv(timeout=0)), receiver.recv(timeout=0), len(receiver.recv(timeout=0))], [400, 1, 400])


def test_c1_a_sender_waits_for_max_bytes():
    """A message for which there are no bytes left waits, and goes when there are."""
    sender, receiver = interlace.channel(100, max_bytes=1000)
    sender.send(bytes(900))
    waiting = Thread(sender.send, bytes(901)).asleep()
    equal(len(receiver.recv(timeout=5)), 900)
    waiting.result()
    equal(len(receiver.recv(timeout=5)), 901)


def test_c1_a_message_larger_than_max_bytes_is_refused():
    """It could never go, so that it raises ValueError instead of waiting."""
    sender, receiver = interlace.channel(10, max_bytes=1000)
    with raises(ValueError, "max_bytes"):
        sender.send(bytes(2000))
    sender.send("fits", timeout=0)
    equal(receiver.recv(timeout=0), "fits")


def test_c1_arguments_of_channel():
    """capacity has no default; what makes no sense is refused with its name."""
    for args, kwargs, kind, words in [
        ((), {}, TypeError, ["capacity", "rendezvous"]),
        ((-1,), {}, ValueError, ["capacity", "-1"]),
        ((1 << 40,), {}, ValueError, ["capacity"]),
        ((1 << 80,), {}, OverflowError, []),
        (("8",), {}, TypeError, ["str"]),
        ((1.5,), {}, TypeError, ["float"]),
        ((1,), {"max_bytes": 0}, ValueError, ["max_bytes"]),
        ((1,), {"max_bytes": -5}, ValueError, ["max_bytes", "-5"]),
        ((1,), {"max_bytes": "1"}, TypeError, ["str"]),
        ((1,), {"name": 5}, TypeError, ["name", "int"]),
        ((1, 2), {}, TypeError, ["positional"]),
        ((1,), {"size": 2}, TypeError, ["size"]),
        ((1,), {"capacity": 2}, TypeError, ["capacity"]),
    ]:
        with raises(kind, *words):
            interlace.channel(*args, **kwargs)
    sender, receiver = interlace.channel(capacity=2, max_bytes=None, name=None)
    equal(sender.capacity, 2)
    equal(sender.name, receiver.name)
    assert sender.name.startswith("channel"), sender.name


def test_c2_fifo_of_one_sender():
    """Ten thousand messages through a small channel come in order."""
    sender, receiver = interlace.channel(7)
    sending = Thread(lambda: [sender.send(i) for i in range(10000)] and sender.close())
    equal(list(receiver), list(range(10000)))
    sending.result()


def produce(sender, who, count):
    with sender:
        for i in range(count):
            sender.send((who, i))


def consume(receiver):
    return list(receiver)


def check_once_and_in_order(collected, senders, count):
    """Every message once; within what one receiver got, those of one sender in order."""
    for got in collected:
        for who in range(senders):
            numbers = [i for sender, i in got if sender == who]
            assert numbers == sorted(numbers), f"out of order from sender {who}: {numbers}"
    everything = sorted(message for got in collected for message in got)
    equal(everything, [(who, i) for who in range(senders) for i in range(count)])


def test_c2_many_senders_and_receivers_in_workers():
    """Four workers send to three workers, for several capacities: everything comes exactly once, in order."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    for capacity in random.Random(seed).sample([0, 1, 2, 3, 8, 64, 500], 3):
        with interlace.Group() as group:
            sender, receiver = interlace.channel(capacity)
            for who in range(4):
                group.start(produce, sender, who, 1500)
            consumers = [group.start(consume, receiver) for _ in range(3)]
            sender.close()
            receiver.close()
            collected = [worker.result(timeout=60) for worker in consumers]
        check_once_and_in_order(collected, 4, 1500)


def test_c2_many_senders_and_receivers_in_threads():
    """The same among threads of one interpreter, each with the same two ends."""
    sender, receiver = interlace.channel(5)
    senders = [Thread(lambda who=who: [sender.send((who, i)) for i in range(500)]) for who in range(4)]
    receivers = [Thread(consume, receiver) for _ in range(3)]
    for thread in senders:
        thread.result()
    sender.close()
    check_once_and_in_order([thread.result() for thread in receivers], 4, 500)


def test_c2_a_message_goes_to_one_receiver():
    """Of two receivers that wait, exactly one gets the message."""
    sender, receiver = interlace.channel(4)
    waiting = [Thread(lambda: list(receiver)).asleep() for _ in range(2)]
    sender.send("once")
    sender.close()
    equal(sorted(thread.result() for thread in waiting), [[], ["once"]])


def test_c1_a_name_has_no_null_character():
    """It would be cut short there: the name of a channel, of a worker, of an endpoint, and an endpoint's label."""
    with interlace.Group() as group:
        for call in (
            lambda: interlace.channel(1, name="nul\0x"),
            lambda: interlace.latest(name="nul\0x"),
            lambda: interlace.Broadcast(1, name="nul\0x"),
            lambda: group.start(len, "", name="nul\0x"),
            lambda: interlace.open("pipe:/nowhere", "r", name="nul\0x"),
            lambda: interlace.open("unix:/nowhere", label="nul\0x"),
            lambda: interlace.listen("unix:/nowhere", name="nul\0x"),
        ):
            with raises(ValueError, "embedded null character", "'nul\\x00x'"):
                call()
        equal(group.start(len, "", name="nul").name, "nul")
