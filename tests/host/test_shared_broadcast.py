"""interlace.Broadcast: every receiver gets every message, with a bound and a policy for the slow."""

import pickle

import interlace
from support import Thread, equal, raises


def listen(receiver, answers):
    answers.send(list(receiver))


def test_every_receiver_gets_every_message_in_order():
    """In other workers, too, while the sender waits for the slow."""
    answers, results = interlace.channel(4)
    with interlace.Group() as group, interlace.Broadcast(3, name="news") as news:
        for _ in range(3):
            group.start(listen, news.subscribe(), answers)
        equal(news.receivers, 3)
        for n in range(1000):
            equal(news.send(n), 3)
        news.close()
        equal([results.recv(timeout=30) for _ in range(3)], [list(range(1000))] * 3)


def test_who_comes_later_gets_what_comes_later_and_who_goes_is_forgotten():
    news = interlace.Broadcast(8)
    equal(news.send("nobody"), 0)
    first = news.subscribe()
    news.send(1)
    second = news.subscribe()
    news.send(2)
    equal((first.recv_many(8), second.recv_many(8)), ([1, 2], [2]))
    first.close()
    equal((news.send(3), news.receivers, second.recv()), (1, 1, 3))
    news.close()
    news.close()
    with raises(interlace.EndOfChannel):
        second.recv()
    for call in (lambda: news.send(1), news.subscribe):
        with raises(ValueError, "closed"):
            call()
    equal(news.closed, True)


def test_c4_block_and_timeout_neither_lose_nor_double():
    """Those with room have the message, the slow get it before the next one."""
    news = interlace.Broadcast(1)
    slow, quick = news.subscribe(), news.subscribe()
    news.send("a")
    equal(quick.recv(), "a")
    with raises(TimeoutError, "1 of 2 receivers"):
        news.send("b", timeout=0.01)
    equal(quick.recv(timeout=0), "b")
    equal(slow.recv(), "a")
    sending = Thread(news.send, "c").asleep()
    equal((slow.recv(), slow.recv(timeout=10)), ("b", "c"))
    equal((sending.result(), quick.recv(timeout=10)), (2, "c"))
    with raises(TimeoutError):
        quick.recv(timeout=0)


def test_close_wakes_a_send_that_waits():
    """It is another thread's, and no receiver makes room. Those who had room have the message."""
    news = interlace.Broadcast(1)
    slow, quick = news.subscribe(), news.subscribe()
    news.send(1)
    equal(quick.recv(), 1)
    thread = Thread(news.send, 2).asleep()
    news.close()
    with raises(ValueError, "closed"):
        thread.result()
    equal((list(slow), list(quick), news.closed, news.receivers), ([1], [2], True, 0))


def test_disconnect_ends_the_slow():
    news = interlace.Broadcast(2, slow="disconnect")
    slow, quick = news.subscribe(), news.subscribe()
    for n in range(4):
        news.send(n)
        equal(quick.recv(), n)
    equal((list(slow), news.receivers), ([0, 1], 1))


def test_drop_oldest_keeps_the_newest():
    news = interlace.Broadcast(2, slow="drop_oldest")
    slow = news.subscribe()
    for n in range(10):
        equal(news.send(n, timeout=0), 1)
    equal(slow.recv_many(10), [8, 9])


def test_its_receivers_are_cases_of_select():
    news, other = interlace.Broadcast(1), interlace.channel(1)[1]
    receiver = news.subscribe()
    with raises(interlace.EndOfChannel):
        interlace.select(other)
    news.send("x")
    equal(interlace.select(receiver, interlace.after(10)), (receiver, "x"))


def test_cancel_in_the_middle_of_a_send():
    """What the slow one misses comes before the next message."""

    def fill(news):
        news.send(2)

    news = interlace.Broadcast(1)
    slow = news.subscribe()
    news.send(1)
    with interlace.Group() as group:
        thread = Thread(fill, news).asleep()
        equal(slow.recv(), 1)
        thread.result()
        group.cancel()
    equal(slow.recv(), 2)


def test_c5_what_does_not_pickle_reaches_nobody():
    news = interlace.Broadcast(1)
    receivers = [news.subscribe() for _ in range(2)]
    with raises(Exception):
        news.send(lambda: 1)
    news.send("well", timeout=0)
    equal([receiver.recv() for receiver in receivers], ["well", "well"])


def test_wrong_arguments():
    for call, kind in [(lambda: interlace.Broadcast(1, slow="wait"), ValueError), (lambda: interlace.Broadcast(-1), ValueError),
                       (lambda: interlace.Broadcast("1"), TypeError), (lambda: interlace.Broadcast(1, name=2), TypeError),
                       (lambda: interlace.Broadcast(0, slow="drop_oldest"), ValueError),
                       (lambda: pickle.dumps(interlace.Broadcast(1)), TypeError)]:  # fmt: skip
        with raises(kind):
            call()
