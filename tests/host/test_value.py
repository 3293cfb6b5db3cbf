"""lace_value: what Python pickles is read in C and written again, and is the same after that. And garbage.

CODEC_SEED replays a run; CODEC_SCALE=0.1 makes it ten times shorter (1 is 20,000 objects and 60,000 streams)."""

import array
import collections
import datetime
import io
import math
import pickle
import pickletools
import random
import sys

import interlace
from _interlace import _value_equal as equal_there
from _interlace import _value_pass as there_and_back
from _interlace import _value_rewrite as rewritten
from _interlace import _value_text as text_of
from support import equal, raises
from test_codec import FLOATS, INTS, SCALE, SEED, Maker, broken, same

PROTOCOLS = (2, 3, 4, 5)


def has_cycle(obj):
    """Whether an object contains itself."""
    open_ones, done, todo = set(), {}, [(obj, False)]
    while todo:
        one, left = todo.pop()
        if type(one) not in (list, tuple, dict):
            continue
        if left:
            open_ones.discard(id(one))
            done[id(one)] = one
        elif id(one) in open_ones:
            return True
        elif id(one) not in done:
            open_ones.add(id(one))
            todo.append((one, True))
            items = [*one.keys(), *one.values()] if type(one) is dict else one
            todo.extend((item, False) for item in items)
    return False


def check(obj):
    """By way of each of those who pickle."""
    written = [pickle.dumps(obj, protocol) for protocol in PROTOCOLS]
    written += [pickletools.optimize(one) for one in written[::3]]
    written.append(pickle._dumps(obj, 5))
    for one in written:
        assert same(obj, pickle.loads(rewritten(one)), merged=True), (obj, one)
    assert same(obj, there_and_back(obj), merged=True), obj


def test_random_objects():
    """Random objects, shared parts included; those that contain themselves are refused."""
    rng = random.Random(SEED + 3)
    refused = 0
    for _ in range(int(20_000 * SCALE)):
        obj = Maker(rng).object(rng.choice((1, 2, 3, 4)))
        if has_cycle(obj):
            with raises(TypeError, "contains itself"):
                there_and_back(obj)
            with raises(TypeError, "contains itself"):
                rewritten(pickle.dumps(obj, rng.choice(PROTOCOLS)))
            refused += 1
        else:
            check(obj)
    assert SCALE < 0.1 or refused > 0


def test_one_by_one():
    """Numbers at each boundary of an opcode, texts of each width, containers of each size."""
    for n in [*INTS, 1 << 100_000, -(1 << 100_000), sys.maxsize]:
        check(n)
    for x in FLOATS:
        check([x])
    for c in ("a", "\x80", "\u0800", "\ud800", "\udfff", "\U00010000"):
        for n in (0, 1, 2, 85, 86, 127, 128, 255, 256, 70_000):
            check([c * n, (c * n).encode("utf-8", "surrogatepass")])
    for n in (0, 1, 2, 3, 4, 5, 8, 9, 1000, 1001, 2002, 70_000):
        check([list(range(n)), tuple(range(n)), {i: str(i) for i in range(n)}, [[] for _ in range(n)]])
    for n in (0, 1, 2, 255, 256, 16_383, 16_384, 65_535, 65_536, 3_000_000):
        check(b"\xfe" * n)
        check([b"\xfe" * n, "\xe9" * n])
    check(None), check(True), check(False)


def test_any_depth():
    """No C stack and no recursion limit is used up."""
    for wrap in (lambda o: [o], lambda o: (o,), lambda o: {"k": o}, lambda o: [1, (2, {"k": o, "l": 3})]):
        obj = 7
        for _ in range(200_000):
            obj = wrap(obj)
        assert same(obj, there_and_back(obj))


def test_bytes_of_each_kind():
    """bytearray, memoryview and PickleBuffer are bytes in C."""
    for n in (0, 1, 255, 70_000):
        data = bytes(range(256)) * (n // 256 + 1)
        data = data[:n]
        for protocol in PROTOCOLS:
            equal(pickle.loads(rewritten(pickle.dumps(bytearray(data), protocol))), data)
        equal(there_and_back(bytearray(data)), data)
        for readonly, view in ((True, memoryview(data)), (False, memoryview(bytearray(data)))):
            for wrapped in (view, pickle.PickleBuffer(view)):
                got = there_and_back([wrapped])[0]
                assert type(got) is interlace.Buffer and bytes(got) == data
                equal(memoryview(got).readonly, readonly)
    got = there_and_back(memoryview(array.array("d", [1.5, 2.5])))
    equal(memoryview(got).cast("d").tolist(), [1.5, 2.5])


def test_a_buffer_moves():
    """A Buffer goes into a value and out of it without a copy: writing to it here and there is writing to one memory."""
    buffer = interlace.Buffer(1 << 20)
    with memoryview(buffer) as view:
        view[:5] = b"hello"
    got = there_and_back(buffer)
    assert type(got) is interlace.Buffer and not got.readonly and bytes(got)[:6] == b"hello\0"
    with raises(ValueError, "has been sent"):
        len(buffer)
    mixed = {"buffers": [got, interlace.Buffer(3)], "text": "x" * 100_000}
    got = there_and_back(mixed)
    equal([len(one) for one in got["buffers"]], [1 << 20, 3])
    equal(got["text"], "x" * 100_000)
    shared = interlace.Buffer(8)
    got = there_and_back([shared, shared])
    assert got[0] is got[1]
    kept = interlace.Buffer(1)
    with raises(TypeError, "a set"):
        there_and_back([kept, {1}])
    equal(len(kept), 1)  # it did not go anywhere


def test_ends():
    """Ends go through a value, and are counted once."""
    sender, receiver = interlace.channel(3)
    got = there_and_back({"send": sender, "receive": [receiver], "more": "x" * 100_000, "again": sender})
    assert got["send"] is got["again"] and got["send"] is not sender
    got["send"].send("there")
    equal(receiver.recv(0), "there")
    sender.close()
    got["send"].send("and back")
    equal(got["receive"][0].recv(0), "and back")
    del got["again"]
    got["send"].close()
    with raises(interlace.EndOfChannel):
        receiver.recv(5)
    kept, other = interlace.channel(3)
    with raises(TypeError, "a set"):
        there_and_back([kept, {1}])
    kept.close()
    with raises(interlace.EndOfChannel):
        other.recv(5)


def test_what_is_not_plain():
    """Refused with its name, at any depth; nothing of it is called."""
    class Text(str):
        pass

    globals()["Text"] = Text
    Text.__qualname__ = "Text"
    for other, words in ((datetime.date(2026, 11, 21), "datetime.date"), (collections.OrderedDict(a=1), "OrderedDict"),
                         (1j, "complex"), ({1}, "a set"), (frozenset([1]), "a frozenset"), (range(3), "range"),
                         (print, "builtins.print"), (Text("x"), "Text"), (..., "Ellipsis")):
        for obj in (other, [1, (other,)], {"k": other}):
            with raises(TypeError, words, "no plain value"):
                there_and_back(obj)
            with raises(TypeError, "no plain value"):
                rewritten(pickle.dumps(obj, 4))

    class Harm:
        def __reduce__(self):
            return (sys.exit, ("it was called",))

    for protocol in PROTOCOLS:
        with raises(TypeError, "sys.exit"):
            rewritten(pickle.dumps(Harm(), protocol))


def test_equality():
    """== there is == here."""
    rng = random.Random(SEED + 4)
    numbers = [0, 0.0, -0.0, False, 1, 1.0, True, 2**53, 2.0**53, 2**53 + 1, 2**63, 2.0**63, -(2**63), -(2.0**63), 2**64,
               2.0**64, 2**70 + 1, 2.0**70, -(2**70), -(2.0**70), 10**308, 1e308, math.inf, -math.inf, math.nan, 0.5]
    for a in numbers:
        for b in numbers:
            equal(equal_there(a, b), a == b)
            equal(equal_there({a: 1}, {b: 1}), {a: 1} == {b: 1} if a is not b or a == a else False)
    leaves = [*numbers[:8], "a", "b", b"a", None, (), [], {}]

    def make(depth):
        if depth == 0 or rng.random() < 0.3:
            return rng.choice(leaves)
        parts = [make(depth - 1) for _ in range(rng.randrange(4))]
        kind = rng.random()
        if kind < 0.4:
            return parts
        return tuple(parts) if kind < 0.7 else {rng.choice(leaves[:12]): part for part in parts}

    counts = collections.Counter()
    for _ in range(int(50_000 * SCALE)):
        a, b = make(2), make(2)
        equal(equal_there(a, b), a == b)
        counts[a == b] += 1
    assert SCALE < 0.1 or min(counts[True], counts[False]) > 100, counts


def test_text():
    """What lace_value_format() writes is repr(), as far as it goes."""
    for obj in (None, True, -5, 0.1, 1e300, 1.0, math.inf, "plain", b"\x00\xffa", [1, (2,), ()], {"a": [1], 2: {}}, "\u20ac"):
        equal(text_of(obj), repr(obj))
    for n in (2**64, -(2**64), 2**100 + 12345, -(2**100) - 12345, -(2**71), 2**64 - 1, 2**63):
        equal(text_of(n), hex(n))
    equal(text_of("\ud800"), "'\\ud800'")


class Careful:
    """Knows what reading knows, and nothing else."""

    known = {("_codecs", "encode")} | {(m, n) for m in ("builtins", "__builtin__") for n in ("bytes", "bytearray")}

    def find_class(self, module, name):
        if (module, name) not in self.known:
            raise ImportError(name)
        # A stream may name the protocol of one Python and the module of another, which takes nothing from its meaning.
        return super().find_class(module.replace("__builtin__", "builtins"), name)


class CarefulInC(Careful, pickle.Unpickler):
    pass


class CarefulInPython(Careful, pickle._Unpickler):
    """Reads as CarefulInC does, but for one thing: 3.15's unpickler in C gives a memo's number out twice when an opcode
    has put something at a number far beyond the others, as only garbage does."""


def as_pickle_reads(data, mine):
    try:
        theirs = plain(CarefulInC(io.BytesIO(data)).load())
        if same(theirs, mine, merged=True) or theirs == mine:
            return True
    except Exception as raised:
        print(f"value: pickle's unpickler in C refuses {data!r}: {raised}", flush=True)
    theirs = plain(CarefulInPython(io.BytesIO(data)).load())
    return same(theirs, mine, merged=True) or theirs == mine


def plain(obj):
    """A copy with bytes for each bytearray."""
    made = {}

    def copy(one):
        if id(one) in made:
            return made[id(one)][1]
        kind = type(one)
        if kind is bytearray:
            new = bytes(one)
        elif kind is list or kind is tuple:
            new = kind(copy(item) for item in one)
        elif kind is dict:
            new = {copy(key): copy(item) for key, item in one.items()}
        else:
            return one
        made[id(one)] = (one, new)
        return new

    return copy(obj)


def test_a_memo_with_a_gap():
    """What an opcode puts at a number of its own is one of those that the next number counts."""
    wide = b"-" * 255  # a number beyond the bytes that have been read is refused
    for far in (5, 20, 148, 255):
        data = b"\x80\x04](C\xff" + wide + b"}\x94q" + bytes([far]) + b"]\x94K\x07\x85\x94h\x02h" + bytes([far]) + b"e."
        wanted = [wide, {}, [], (7,), [], {}]
        equal(pickle.loads(rewritten(data)), wanted)
        equal(pickle._loads(data), wanted)


def test_garbage():
    """What is read out of garbage, pickle reads as well, and as the same."""
    rng = random.Random(SEED + 5)
    seeds = []
    for _ in range(600):
        obj = Maker(rng).object(3)
        seeds += [pickle.dumps(obj, protocol) for protocol in PROTOCOLS]
    seeds = [seed for seed in seeds if len(seed) < 1000]
    counts = collections.Counter()
    for _ in range(int(60_000 * SCALE)):
        data = broken(rng, seeds)
        if rng.random() < 0.5:
            data = b"\x80\x05" + data
        try:
            mine = pickle.loads(rewritten(data))
        except TypeError:
            counts["refused"] += 1
            continue
        counts["read"] += 1
        assert as_pickle_reads(data, mine), data
    print(f"value: garbage {dict(counts)}", flush=True)
    assert SCALE < 0.1 or min(counts.values()) > 100, counts
