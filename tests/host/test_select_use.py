"""S3 and S4: select's arguments, closed ends, and many cases."""

import gc
import time

import interlace
from support import Thread, equal, raises


def test_s3_a_closed_end_is_a_value_error():
    """An end that this side has closed is a mistake, wherever it stands, and nothing else happens."""
    sender, receiver = interlace.channel(1)
    sender.send("there")
    closed_sender, closed_receiver = interlace.channel(1)
    closed_sender.close()
    closed_receiver.close()
    for cases in [(closed_receiver,), (receiver, closed_receiver), ((closed_sender, 1), receiver),
                  (closed_receiver, receiver)]:  # fmt: skip
        with raises(ValueError, "closed"):
            interlace.select(*cases, timeout=0)
    equal(len(receiver), 1)


def test_s3_wrong_cases():
    """No case at all, and what is none, are refused with the place where it stands."""
    sender, receiver = interlace.channel(1)
    with raises(ValueError, "at least one case"):
        interlace.select()
    for wrong in (sender, (receiver, 1), (sender,), [sender, 1], (sender, 1, 2), 5, None, interlace.current_worker):
        with raises(TypeError, "case 1", "Receiver"):
            interlace.select(receiver, wrong, timeout=0)
    with raises(ValueError, "own end"):
        interlace.select(interlace.current_worker())
    with raises(TypeError, "limit"):
        interlace.select(receiver, limit=5)
    with raises(Exception, "pickled"):
        interlace.select((sender, lambda: 1))
    equal(len(receiver), 0)


def test_s3_selects_on_ends_that_come_and_go():
    """Closing and collecting ends between selects with the same cases: no stale answer, no crash."""
    for round_number in range(200):
        sender, receiver = interlace.channel(1)
        other, other_receiver = interlace.channel(1)
        cases = [receiver, other_receiver]
        sender.send(round_number)
        equal(interlace.select(*cases), (receiver, round_number))
        other.send("other")
        equal(interlace.select(*cases), (other_receiver, "other"))
        if round_number % 3 == 0:
            receiver.close()
            with raises(ValueError):
                interlace.select(*cases)
        elif round_number % 3 == 1:
            del cases, receiver
            gc.collect(0)
            other.send("again")
            equal(interlace.select(other_receiver), (other_receiver, "again"))
        else:
            sender.close()
            with raises(TimeoutError):
                interlace.select(*cases, timeout=0)


def test_s3_two_threads_select_on_the_same_cases():
    """Each message goes to one of them; closing a receiver wakes both."""
    pairs = [interlace.channel(4) for _ in range(3)]
    receivers = [receiver for _, receiver in pairs]

    def collect():
        got = []
        while True:
            try:
                got.append(interlace.select(*receivers)[1])
            except ValueError:
                return got

    threads = [Thread(collect) for _ in range(2)]
    for n in range(300):
        pairs[n % 3][0].send(n)
    while any(len(receiver) for receiver in receivers):
        time.sleep(0.001)
    for thread in threads:
        thread.asleep()
    receivers[1].close()
    equal(sorted(n for thread in threads for n in thread.result()), list(range(300)))


def seconds_per_select(count, rounds):
    """The best time of a select over `count` receivers of which one is ready."""
    pairs = [interlace.channel(1) for _ in range(count)]
    receivers = [receiver for _, receiver in pairs]
    best = 1.0
    for _ in range(rounds):
        start = time.perf_counter()
        for n in range(100):
            pairs[n * 7 % count][0].send(n, timeout=0)
            equal(interlace.select(*receivers, timeout=0)[1], n)
        best = min(best, (time.perf_counter() - start) / 100)
    return best


def test_s4_the_cost_grows_with_what_is_ready():
    """Over 2000 receivers of which one is ready, select costs far less than 200 times what it costs over 10."""
    few, many = seconds_per_select(10, 10), seconds_per_select(2000, 10)
    print(f"10 cases: {few * 1e6:.1f} us, 2000 cases: {many * 1e6:.1f} us")
    assert many < 20 * few, f"{many / few:.0f} times as long"
