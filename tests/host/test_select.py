"""S1 to S4: select over receives, sends, workers and timers."""

import collections
import random
import time

import interlace
from support import DEADLINE, Thread, equal, raises


def test_s1_a_receive():
    """(case, value) of a receiver that has a message, the case being the very object given."""
    sender, receiver = interlace.channel(1)
    _, empty = kept = interlace.channel(1)
    sender.send(None)
    case, value = interlace.select(empty, receiver)
    assert case is receiver and value is None
    waiting = Thread(interlace.select, empty, receiver).asleep()
    sender.send("woken")
    case, value = waiting.result()
    assert case is receiver
    equal(value, "woken")
    del kept


def test_s1_a_send():
    """A (sender, obj) pair happens once there is room; the value is None."""
    sender, receiver = interlace.channel(1)
    pair = (sender, "sent")
    equal(interlace.select(pair), (pair, None))
    waiting = Thread(interlace.select, pair).asleep()
    equal(receiver.recv(timeout=5), "sent")
    assert waiting.result()[0] is pair
    equal(receiver.recv(timeout=5), "sent")


def test_s1_a_rendezvous():
    """Selects meet each other: one sends, one receives; neither may meet itself."""
    sender, receiver = interlace.channel(0)
    waiting = Thread(interlace.select, receiver).asleep()
    equal(interlace.select((sender, "met"), timeout=5)[1], None)
    equal(waiting.result(), (receiver, "met"))
    with raises(TimeoutError):
        interlace.select((sender, "to myself"), receiver, timeout=0.05)
    equal(len(receiver), 0)


def return_quickly(receiver):
    return [*receiver, "result"][-1]


def test_s1_the_end_of_a_worker():
    """A worker is a case that happens once it has ended, and from then on."""
    with interlace.Group() as group:
        go, receiver = interlace.channel(1)
        worker = group.start(return_quickly, receiver)
        receiver.close()
        with raises(TimeoutError):
            interlace.select(worker, timeout=0.05)
        assert not worker.done()
        waiting = Thread(interlace.select, worker).asleep()
        go.close()
        equal(waiting.result(), (worker, None))
        equal(interlace.select(worker, timeout=0), (worker, None))
        assert worker.done()
        equal(worker.result(timeout=0), "result")
        equal(interlace.select(worker, interlace.after(100), priority=True), (worker, None))


def test_s1_a_timer():
    """after(seconds) happens once its time has come, and from then on: one deadline for a loop."""
    sender, receiver = interlace.channel(1)
    timer = interlace.after(0.2)
    start = time.monotonic()
    case, value = interlace.select(receiver, timer)
    assert 0.19 <= time.monotonic() - start < 2
    assert case is timer and value is None
    equal(interlace.select(receiver, timer, timeout=0), (timer, None))
    sender.send("first")
    equal(interlace.select(receiver, timer, priority=True), (receiver, "first"))
    early, late = interlace.after(0.05), interlace.after(1000)
    equal(interlace.select(late, early), (early, None))
    equal(interlace.select(interlace.after(0), late)[1], None)


def test_s1_a_timer_against_a_timeout():
    """Whichever is earlier: the timeout raises, the timer happens."""
    _, receiver = kept = interlace.channel(1)
    with raises(TimeoutError):
        interlace.select(receiver, interlace.after(100), timeout=0.05)
    timer = interlace.after(0.05)
    equal(interlace.select(receiver, timer, timeout=100), (timer, None))
    with raises(TimeoutError):
        interlace.select(interlace.after(100), timeout=0.05)
    del kept


def test_s1_wrong_timers():
    """after() refuses what is no number from 0 on."""
    for value, kind in [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (None, TypeError)]:
        with raises(kind):
            interlace.after(value)


def juggle(inbox, outbox, seed, count):
    """Pass messages on by selects that may both receive and send; return what is left and how often each happened."""
    chance, held, done = random.Random(seed), [], collections.Counter()
    while True:
        cases = [inbox] if len(held) < 3 else []
        if held:
            cases.append((outbox, held[0]))
        chance.shuffle(cases)
        try:
            case, value = interlace.select(*cases, timeout=chance.choice([None, 1, 0.001, 0]))
        except TimeoutError:
            continue
        except interlace.EndOfChannel:
            return done
        if case is inbox:
            held.append(value)
            done["received"] += 1
        else:
            held.pop(0)
            done["sent"] += 1
        if done["received"] == count:  # the last one to come
            outbox.send_many(held)
            return done


def test_s1_exactly_one_case_happens():
    """A chain of workers that receive and send by select: each message arrives once and in order."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    for capacity in (0, 1, 4):
        with interlace.Group() as group:
            first, inbox = interlace.channel(capacity)
            for stage in range(3):
                sender, receiver = interlace.channel(capacity)
                group.start(juggle, inbox, sender, seed + stage, 1000)
                inbox.close()
                sender.close()
                inbox = receiver
            sending = Thread(first.send_many, range(1000))
            equal([inbox.recv(timeout=DEADLINE) for _ in range(1000)], list(range(1000)))
            equal(sending.result(), 1000)
            with raises(interlace.EndOfChannel):
                inbox.recv(timeout=DEADLINE)


def test_s2_the_choice_is_fair():
    """Of three cases that are always ready each is chosen about as often, be they receives or sends."""
    for sends in (True, False):
        ends = [interlace.channel(2000) for _ in range(3)]
        for sender, _ in ends:
            sender.send_many(range(1200))
        cases = [receiver for _, receiver in ends]
        if sends:
            room, kept = interlace.channel(2000)
            cases[1] = (room, "x")
        chosen = collections.Counter(cases.index(interlace.select(*cases, timeout=0)[0]) for _ in range(1200))
        assert all(chosen[i] > 200 for i in range(3)), f"chosen: {chosen}"
        if sends:
            equal(len(kept), chosen[1])


def test_s2_priority_is_exact():
    """With priority=True the first ready case in order happens, always."""
    pairs = [interlace.channel(500) for _ in range(3)]
    receivers = [receiver for _, receiver in pairs]
    for sender, _ in pairs:
        sender.send_many(range(300))
    for wanted in receivers:
        for number in range(300):
            equal(interlace.select(*receivers, priority=True), (wanted, number))
    with raises(TimeoutError):
        interlace.select(*receivers, priority=True, timeout=0)
    room, _ = kept = interlace.channel(1)
    pairs[2][0].send("ready")
    timer = interlace.after(0)
    equal(interlace.select(receivers[0], timer, (room, 1), receivers[2], priority=True)[0], timer)
    equal(interlace.select(receivers[0], (room, 1), timer, receivers[2], priority=True)[0], (room, 1))
    equal(interlace.select(receivers[0], (room, 1), receivers[2], timer, priority=True), (receivers[2], "ready"))
    del kept


def test_s3_gone_sides_are_dropped():
    """A receiver without senders and a sender without receivers do not happen; the others do."""
    ended = interlace.channel(1)[1]
    broken = interlace.channel(1)[0]
    sender, receiver = interlace.channel(1)
    sender.send("alive")
    equal(interlace.select(ended, (broken, 1), receiver, priority=True), (receiver, "alive"))
    timer = interlace.after(0.05)
    equal(interlace.select(ended, (broken, 1), timer), (timer, None))
    with raises(TimeoutError):
        interlace.select(ended, (broken, 1), receiver, timeout=0.05)


def test_s3_end_of_channel_when_no_case_is_left():
    """At once, and when the last one goes while select waits; what is queued comes first."""
    pairs = [interlace.channel(1) for _ in range(2)]
    receivers = [receiver for _, receiver in pairs]
    pairs[0][0].send("queued")
    waiting = Thread(interlace.select, receivers[1]).asleep()
    for sender, _ in pairs:
        sender.close()
    with raises(interlace.EndOfChannel):
        waiting.result()
    equal(interlace.select(*receivers), (receivers[0], "queued"))
    for _ in range(2):
        with raises(interlace.EndOfChannel, "select"):
            interlace.select(*receivers)
    with raises(interlace.EndOfChannel):
        interlace.select((interlace.channel(1)[0], 1), timeout=5)


def test_s3_a_loop_until_the_end():
    """The usual loop over several receivers gets everything and ends."""
    pairs = [interlace.channel(2) for _ in range(10)]

    def send_all(i, sender):
        with sender:
            sender.send_many((i, n) for n in range(50))

    threads = [Thread(send_all, i, sender) for i, (sender, _) in enumerate(pairs)]
    receivers = [receiver for _, receiver in pairs]
    got = []
    while True:
        try:
            got.append(interlace.select(*receivers)[1])
        except interlace.EndOfChannel:
            break
    for thread in threads:
        thread.result()
    equal(sorted(got), [(i, n) for i in range(10) for n in range(50)])
