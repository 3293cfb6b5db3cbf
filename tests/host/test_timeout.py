"""C4: every blocking call takes a timeout, which loses and doubles nothing."""

import math
import random
import time

import interlace
from support import Thread, equal, raises


def wait_for(receiver):
    receiver.recv()


def calls():
    """Every call that waits, on channels where it has to: (name, call)."""
    sender, receiver = interlace.channel(1)
    empty_sender, empty = interlace.channel(1)
    sender.send("full")
    return [
        ("send", lambda **kw: sender.send("x", **kw)),
        ("send_many", lambda **kw: sender.send_many(["x"], **kw)),
        ("recv", lambda **kw: empty.recv(**kw)),
        ("recv_many", lambda **kw: empty.recv_many(5, **kw)),
        ("select recv", lambda **kw: interlace.select(empty, **kw)),
        ("select send", lambda **kw: interlace.select((sender, "x"), **kw)),
        ("select both", lambda **kw: interlace.select((sender, "x"), empty, **kw)),
        ("select after", lambda **kw: interlace.select(empty, interlace.after(100), **kw)),
    ], (receiver, empty_sender)


def with_worker(check):
    """Run check([(name, call)]) with the calls that wait for a worker, while it waits itself."""
    with interlace.Group() as group:
        go, receiver = interlace.channel(1)
        worker = group.start(wait_for, receiver)
        check([("result", worker.result), ("exception", worker.exception),
               ("select", lambda **kw: interlace.select(worker, **kw))])
        go.send(None)


def check_all(check):
    found, kept = calls()
    check(found)
    with_worker(check)
    del kept


def test_c4_zero_only_tries():
    """timeout=0 raises TimeoutError at once where the call would wait."""

    def check(found):
        for name, call in found:
            start = time.monotonic()
            with raises(TimeoutError):
                call(timeout=0)
            assert time.monotonic() - start < 1, name

    check_all(check)


def test_c4_timeouts_last_as_long_as_asked():
    """A timeout of 0.1 s lasts 0.1 s: never less, and not 10 times as long."""

    def check(found):
        for name, call in found:
            start = time.monotonic()
            with raises(TimeoutError):
                call(timeout=0.1)
            took = time.monotonic() - start
            assert 0.1 <= took < 1, f"{name}: {took}"

    check_all(check)


def test_c4_wrong_timeouts_are_refused():
    """Negative and NaN are ValueErrors that show the value, what is no number is a TypeError."""

    def check(found):
        for name, call in found:
            for value, kind, words in [
                (-1, ValueError, ["timeout", "-1"]),
                (-0.001, ValueError, ["timeout", "-0.001"]),
                (-math.inf, ValueError, ["timeout", "inf"]),
                (math.nan, ValueError, ["timeout", "nan"]),
                ("1", TypeError, ["timeout", "str"]),
                ([], TypeError, ["timeout", "list"]),
                (1j, TypeError, ["timeout", "complex"]),
                (10**400, OverflowError, []),
            ]:
                try:
                    with raises(kind, *words):
                        call(timeout=value)
                except TimeoutError:
                    raise AssertionError(f"{name} took the timeout {value!r}") from None

    check_all(check)


def test_c4_none_and_infinity_wait_for_ever():
    """timeout=None, inf and a million years wait until there is something."""
    for timeout in (None, math.inf, 1e15, 10**12):
        sender, receiver = interlace.channel(1)
        waiting = Thread(receiver.recv, timeout=timeout).asleep()
        sender.send("there")
        equal(waiting.result(), "there")


def test_c4_timeouts_may_be_positional_and_ints():
    """send(obj, 1), recv(1), recv_many(9, 1) and send_many(objs, 1)."""
    sender, receiver = interlace.channel(3)
    sender.send("a", 1)
    equal(receiver.recv(1), "a")
    equal(sender.send_many("bc", 1), 2)
    equal(receiver.recv_many(9, 1), ["b", "c"])


def test_c4_a_timeout_bounds_the_whole_send_many():
    """send_many's timeout is for the call, not for each message."""
    sender, receiver = interlace.channel(0)

    def receive_slowly():
        got = []
        for _ in range(3):
            got.append(receiver.recv())
            time.sleep(0.1)
        return got

    slow = Thread(receive_slowly)
    start = time.monotonic()
    with raises(TimeoutError) as caught:
        sender.send_many(range(100), timeout=0.35)
    assert 0.35 <= time.monotonic() - start < 2
    equal(slow.result(), list(range(caught.error.sent)))


def send_with_timeouts(sender, count, seed):
    """Send 0 .. count - 1, each tried with tiny timeouts until it goes."""
    chance = random.Random(seed)
    tries = 0
    with sender:
        for i in range(count):
            while True:
                tries += 1
                try:
                    sender.send(i, timeout=chance.choice([0, 1e-6, 2e-5, 1e-4, 1e-3]))
                    break
                except TimeoutError:
                    pass
    return tries


def receive_with_timeouts(receiver, seed):
    chance = random.Random(seed)
    got = []
    while True:
        try:
            got.append(receiver.recv(timeout=chance.choice([0, 1e-6, 2e-5, 1e-4, 1e-3])))
        except TimeoutError:
            pass
        except interlace.EndOfChannel:
            return got


def test_c4_a_timeout_never_loses_or_doubles_a_message():
    """Senders and receivers in workers give up all the time: each message still comes once, in order."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    for capacity in (0, 1, 5):
        with interlace.Group() as group:
            sender, receiver = interlace.channel(capacity)
            for s in range(2):
                group.start(send_with_timeouts, sender, 1000, seed + s)
            receivers = [group.start(receive_with_timeouts, receiver, seed + 10 + r) for r in range(2)]
            sender.close()
            receiver.close()
            collected = [worker.result(timeout=60) for worker in receivers]
        equal(sorted(i for got in collected for i in got), sorted(list(range(1000)) * 2))
