"""C5 and C8: objects are pickled where they are sent, and arrive as what they were."""

import collections
import datetime
import decimal
import enum
import fractions
import math
import pathlib
import threading
import uuid

import interlace
from support import equal, raises


class Broken:
    def __reduce__(self):
        raise ZeroDivisionError("in __reduce__")


class BrokenThere:
    """Pickles, but does not unpickle."""

    def __reduce__(self):
        return int, ("not a number",)


class Chatty:
    """Sends another message while it is being pickled."""

    def __init__(self, sender, end):
        self.sender, self.end = sender, end

    def __reduce__(self):
        self.sender.send(("on the way", self.end))
        return str, ("chatty",)


class Colour(enum.Enum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


def test_c5_pickling_errors_are_raised_in_the_sender():
    """What does not pickle raises where it is sent; the channel holds nothing and goes on."""
    sender, receiver = interlace.channel(4)
    with open("/dev/null") as file:
        for unsendable, kind in [
            (lambda: 1, Exception),
            (file, TypeError),
            ((i for i in ()), TypeError),
            (threading.Lock(), TypeError),
            ({"deep": [(Broken(),)]}, ZeroDivisionError),
        ]:
            for send in (sender.send, lambda x: sender.send_many([x]), lambda x: interlace.select((sender, x))):
                with raises(kind, "What is sent to a worker is pickled"):
                    send(unsendable)
    equal(len(receiver), 0)
    sender.send("still works")
    equal(receiver.recv(timeout=0), "still works")


def test_c5_an_open_file_says_what_to_do():
    """The error for an open file advises to send its path."""
    sender, receiver = interlace.channel(1)
    with open("/dev/null") as file, raises(TypeError, "cannot pickle", "path", "open file"):
        sender.send(file)
    del receiver


def test_c5_pickled_before_it_is_queued():
    """What is changed after send() has not been sent."""
    sender, receiver = interlace.channel(1)
    items = [1, 2]
    sender.send(items)
    items.append(3)
    equal(receiver.recv(timeout=0), [1, 2])


def test_c5_arguments_that_do_not_pickle_raise_in_start():
    """Group.start() raises, and has started nobody."""
    with interlace.Group() as group:
        for args in ((lambda: 1,), (Broken(),)):
            with raises(Exception, "pickled"):
                group.start(print, *args)
        with raises(Exception, "pickled"):
            group.start(lambda: 1)
        equal(repr(group), "<interlace.Group '', 0 started>")


def test_c5_unpickling_errors_are_raised_in_the_receiver():
    """They take the one message only."""
    sender, receiver = interlace.channel(4)
    sender.send(BrokenThere())
    sender.send("next")
    with raises(ValueError, "not a number"):
        receiver.recv(timeout=5)
    equal(receiver.recv(timeout=5), "next")
    sender.send(BrokenThere())
    sender.send("after")
    with raises(ValueError, "not a number"):
        interlace.select(receiver, timeout=5)
    equal(interlace.select(receiver, timeout=5)[1], "after")


def test_c5_a_message_may_send_another_while_it_is_pickled():
    """A __reduce__ that itself sends, ends included, does not mix up the two."""
    sender, receiver = interlace.channel(4)
    inner_sender, inner = interlace.channel(4)
    one, one_receiver = interlace.channel(1, name="one")
    two, two_receiver = interlace.channel(1, name="two")
    sender.send((one, Chatty(inner_sender, two)))
    got_one, word = receiver.recv(timeout=5)
    text, got_two = inner.recv(timeout=5)
    equal((got_one.name, word, text, got_two.name), ("one", "chatty", "on the way", "two"))
    got_one.send(1)
    got_two.send(2)
    equal((one_receiver.recv(timeout=5), two_receiver.recv(timeout=5)), (1, 2))


VALUES = [
    None, True, False, 0, -1, 10**100, 1.5, -0.0, math.inf, 2 + 3j,
    "", "text", "ünï \U0001f600", "lone \udc80", "nul \0", b"", b"bytes\0\xff", bytearray(b"array"),
    (), (1, ("2", [3])), [], [1, 2], {}, {"a": {"b": None}}, {1, 2},
    frozenset({3}), range(5), slice(1, 2), Ellipsis, NotImplemented, int, len, math.sqrt, Colour.RED, Point(1, 2),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.UTC), datetime.timedelta(1, 2, 3), decimal.Decimal("1.10"),
    fractions.Fraction(1, 3), pathlib.PurePosixPath("/a/b"), uuid.UUID(int=5), collections.OrderedDict(a=1),
    collections.deque([1], 5), collections.Counter("aab"), ValueError, pow,
]  # fmt: skip


def echo(receiver, sender):
    for value in receiver:
        sender.send(value)


def through_a_worker(values):
    with interlace.Group() as group:
        there, receiver = interlace.channel(8)
        sender, back = interlace.channel(8)
        group.start(echo, receiver, sender)
        receiver.close()
        sender.close()
        for value in values:
            there.send(value, timeout=30)
            yield value, back.recv(timeout=30)
        there.close()


def test_c8_types_are_kept():
    """Values of many types, sent to a worker and back, are equal and of the same type."""
    for value, got in through_a_worker(VALUES):
        equal(got, value)


def test_c8_nan_cycles_and_sharing_are_kept():
    """NaN stays NaN, a list in itself stays one, an object that is there twice stays one object."""
    cycle = [1]
    cycle.append(cycle)
    shared = ["s"]
    nan, cycle, twice = [got for _, got in through_a_worker([math.nan, cycle, (shared, shared)])]
    assert math.isnan(nan)
    assert cycle[1] is cycle and cycle[0] == 1
    assert twice[0] is twice[1]


def test_c8_exceptions_are_kept():
    """An exception as a message keeps its type, arguments and notes."""
    error = KeyError("key", 5)
    error.add_note("a note")
    [(_, got)] = through_a_worker([error])
    equal((type(got), got.args, got.__notes__), (KeyError, ("key", 5), ["a note"]))


def test_c8_large_messages_are_kept():
    """From a byte to 64 MiB, bytes and bytearrays and lists of them arrive whole."""
    for size in (1, 255, 256, 257, 4095, 65536, 1 << 20, (64 << 20) + 3):
        data = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
        for value, got in through_a_worker([data, bytearray(data), [data[: size // 2], data[size // 2 :]]]):
            assert got == value and type(got) is type(value), f"{type(value)} of {size} bytes"
