"""The codec: what it writes, pickle reads; what pickle writes, it reads; identity included. And garbage.

CODEC_SEED replays a run; CODEC_SCALE=0.1 makes it ten times shorter (1 is 200,000 objects and 200,000 streams)."""

import math
import os
import pickle
import pickletools
import random
import resource
import struct
import sys

from _interlace import _codec_dumps as dumps, _codec_loads as loads

SEED = int(os.environ.get("CODEC_SEED") or random.randrange(1 << 32))
SCALE = float(os.environ.get("CODEC_SCALE") or 1)
print(f"codec: CODEC_SEED={SEED} CODEC_SCALE={SCALE}", flush=True)


# ---- comparing --------------------------------------------------------------------------------------------

def same(left, right, merged=False):
    """Whether right is a copy of left: types, values, order, and which places hold the same object. `merged` lets
    equal str be one in right that were two in left."""
    there, back = {}, {}
    todo = [(left, right)]
    while todo:
        a, b = todo.pop()
        kind = type(a)
        if kind is not type(b):
            return False
        if kind is int or kind is bool or a is None:
            if a != b:
                return False
            continue
        if kind is float:
            if struct.pack("d", a) != struct.pack("d", b):
                return False
            continue
        if a is b and kind in (list, dict):
            return False
        if (kind is str or kind is bytes) and (len(a) == 0 or len(a) == 1 and (kind is bytes or a < "\u0100")):
            if a != b:
                return False
            continue  # CPython has one of each
        if kind is tuple and not a:
            if b:
                return False
            continue
        if id(a) in there:
            if there[id(a)] is not b:
                return False
            continue
        if back.setdefault(id(b), a) is not a and not (merged and kind is str):
            return False
        there[id(a)] = b
        if kind is str or kind is bytes:
            if a != b:
                return False
            continue
        if len(a) != len(b):
            return False
        if kind is dict:
            todo.extend(zip(a.keys(), b.keys()))
            todo.extend(zip(a.values(), b.values()))
        else:
            todo.extend(zip(a, b))
    return True


def check(obj):
    """All four ways between the codec and pickle."""
    written = dumps(obj)
    assert written is not None, f"not the codec's: {obj!r:.200}"
    pickled = pickle.dumps(obj, 5)
    assert same(obj, pickle.loads(written)), (obj, written)
    assert same(obj, loads(written), merged=True), (obj, written)
    assert same(obj, loads(pickled), merged=True), (obj, pickled)
    return written


# ---- random objects ---------------------------------------------------------------------------------------

INTS = [s * (1 << n) + d for n in (0, 7, 8, 15, 16, 29, 30, 31, 32, 60, 62, 63, 64, 127, 128, 2039, 2040, 2048)
        for s in (1, -1) for d in (-1, 0, 1)]
FLOATS = [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, -math.nan, 5e-324, 1.7976931348623157e308]
TEXTS = ["", "a", "ab", "key", "\x00", "\xff", "\u0100", "\u20ac uro", "\U0001f600", "\ud800", "\udfff\ud800x",
         "x" * 40]


class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.made = []

    def text(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.3:
            return rng.choice(TEXTS)
        if kind < 0.8:
            return "field_%d" % rng.randrange(40)
        top = rng.choice((0x80, 0x100, 0x800, 0x10000, 0x110000))
        return "".join(chr(rng.randrange(top)) for _ in range(rng.choice((1, 2, 5, 90, 130))))

    def leaf(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.25:
            return rng.randrange(-300, 70000)
        if kind < 0.35:
            return rng.choice(INTS)
        if kind < 0.4:
            return rng.getrandbits(rng.choice((31, 64, 200))) * rng.choice((1, -1))
        if kind < 0.5:
            return rng.choice(FLOATS) if rng.random() < 0.5 else rng.random()
        if kind < 0.6:
            return rng.choice((None, True, False))
        if kind < 0.7:
            return rng.randbytes(rng.choice((0, 1, 2, 9, 255, 256, 300)))
        return self.text()

    def key(self, depth):
        kind = self.rng.random()
        if kind < 0.75:
            return self.text()
        if kind < 0.95 or depth == 0:
            return self.leaf()
        return tuple(self.key(depth - 1) for _ in range(self.rng.randrange(4)))

    def object(self, depth):
        rng = self.rng
        if self.made and rng.random() < 0.1:
            return rng.choice(self.made)
        kind = rng.random()
        if depth == 0 or kind < 0.4:
            made = self.leaf()
        else:
            size = rng.choice((0, 1, 1, 2, 3, 4, 7))
            if kind < 0.6:
                made = []
                if rng.random() < 0.2:
                    self.made.append(made)
                for _ in range(size):
                    made.append(self.object(depth - 1))
                return made
            if kind < 0.8:
                made = {}
                if rng.random() < 0.2:
                    self.made.append(made)
                for _ in range(size):
                    made[self.key(2)] = self.object(depth - 1)
                return made
            made = tuple([self.object(depth - 1) for _ in range(size)])
        if rng.random() < 0.2:
            self.made.append(made)
        return made


def test_random_objects():
    """Random objects, shared and cyclic ones among them, all four ways."""
    rng = random.Random(SEED)
    for i in range(int(200_000 * SCALE)):
        obj = Maker(rng).object(rng.choice((1, 2, 3, 4)))
        written = check(obj)
        if i % 500 == 0:
            pickletools.dis(written, out=open(os.devnull, "w"))


# ---- one by one -------------------------------------------------------------------------------------------

def test_numbers():
    """Integers at each boundary of an opcode, huge ones, and the odd floats."""
    for n in [*INTS, 1 << 100_000, -(1 << 100_000), 1 << 1_000_007, (1 << 30) + 5, -(1 << 30) - 5, sys.maxsize]:
        check(n)
        check([n, -n])
    for x in FLOATS:
        check(x)
        check((x, x))
    assert math.copysign(1, loads(dumps(-0.0))) == -1
    for x in (None, True, False):
        assert loads(dumps(x)) is x and pickle.loads(dumps(x)) is x
    assert loads(dumps([True, 1, False, 0])) == [True, 1, False, 0]


def test_text_and_bytes_of_every_width():
    """Every width of UTF-8 and of a size, lone surrogates included."""
    for c in ("a", "\x7f", "\x80", "\xff", "\u0100", "\u07ff", "\u0800", "\ud800", "\udfff", "\uffff", "\U00010000",
              "\U0010ffff"):
        for n in (1, 2, 31, 32, 33, 63, 64, 85, 86, 127, 128, 255, 256, 70_000):
            check(c * n)
            check({c * n: [c * n]})
            check(["x" + c * n, c * n + "x"])
    assert loads(dumps("\ud83d\ude00")) == "\ud83d\ude00" and len(loads(dumps("\ud83d\ude00"))) == 2
    for n in (0, 1, 2, 255, 256, 65535, 65536, 3_000_000):
        check(b"\xfe" * n)
        check([b"\xfe" * n, "\xe9" * n])


def test_shapes():
    """Containers of each size that is written in a way of its own."""
    for n in (0, 1, 2, 3, 4, 5, 6, 100, 1000, 1001, 2002, 70_000):
        check(list(range(n)))
        check(tuple(range(n)))
        check({i: str(i) for i in range(n)})
        check({f"key number {i}": {} for i in range(n)})
        check([[] for _ in range(n)])
        check([()] * n)


def test_shared_stays_shared():
    """What is one object in a message is one object after it."""
    for item in ("shared", "\u20ac", b"shared", (1,), [1], [], {}, {"k": []}, (1, 2, 3, 4)):
        check([item, item])
        check((item, [item], {"a": item}))
        back = pickle.loads(dumps([item, item]))
        assert back[0] is back[1]
        back = loads(dumps([item, item]))
        assert back[0] is back[1]
    many = [[str(i)] for i in range(1000)]
    check(many + many[::-1])


def test_equal_stays_apart():
    """Equal objects that are two stay two."""
    for make in (lambda: [1], lambda: {}, lambda: (len("x"), []), lambda: "".join(["ab", "cd"]),
                 lambda: bytes([1, 2, 3]), lambda: [()]):
        pair = [make(), make()]
        assert pair[0] is not pair[1]
        back = pickle.loads(dumps(pair))
        assert back[0] is not back[1] and back == pair
        check([pair[0], pair[1], pair[0], pair[1]])


def test_cycles():
    """Cycles through lists, dicts and tuples of each size."""
    a = []
    a.append(a)
    check(a)
    d = {}
    d["self"] = d
    check(d)
    for n in (1, 2, 3, 4, 5):
        inner = []
        t = (inner,) + (0,) * (n - 1)
        inner.append(t)
        check(t)
        check(inner)
        check([t, inner, t])
        inner = {}
        t = (0,) * (n - 1) + (inner,)
        inner[1] = t
        inner[2] = [t, (t, t)]
        check(t)
        check({"t": t, "inner": inner})


def test_cycles_through_tuples_alone():
    """Lists and dicts with one reference, which no memo would stop at, in tuples with several."""
    for wrap in (lambda inner: (inner,), lambda inner: ((inner,),), lambda inner: ("one", (inner, (inner,)), "two")):
        for make in (lambda: [], lambda: {}):
            inner = make()
            t = wrap(inner)
            if type(inner) is list:
                inner.append({"deep": [t, 1]})
            else:
                inner["deep"] = [t, 1]
            del inner
            check(t)
            check([t])
            check((t, [t]))
            check({"t": t})


def test_a_message_held_only_by_what_is_in_it():
    """A cycle is found though the message has no reference from outside."""
    for make in (lambda t: t[0].append(t), lambda t: t[0].append([t]), lambda t: t[0].append((1, t))):
        t = ([],)
        make(t)
        assert same(t[0], pickle.loads(dumps(*t)))  # borrowed from the tuple, which the list holds


def test_a_table_of_keys_for_many_dicts():
    """The attribute names of two instances stay one str each."""
    class Plain:
        pass
    first, second = Plain(), Plain()
    for i in range(3):
        name = "".join(["attribute", str(i)])
        first.__dict__[name] = i
        del name
    for i in range(3):
        second.__dict__["attribute" + str(i)] = i
    check([first.__dict__, second.__dict__])
    first.more = second.more = first.__dict__
    check([first.__dict__, second.__dict__])


def test_kept_keys_are_the_right_ones():
    """Keys that are much alike do not take the place of each other."""
    rng = random.Random(SEED + 2)
    for _ in range(300):
        long = "".join(rng.choices("abcdefgh", k=40))
        for n in range(41, 0, -1):
            obj = {long[:n]: n, long[-n:]: {long[:n]: -n}}
            assert loads(dumps(obj)) == obj
            assert loads(pickle.dumps(obj, 5)) == obj
    for _ in range(3000):
        text = "".join(chr(rng.randrange(0x80, 0xc0)) for _ in range(rng.randrange(2, 17)))
        assert loads(dumps({text: 1})) == {text: 1}
        raw = text.encode("latin-1")  # no UTF-8, though a kept str may look like it
        assert refused(b"}\x8c" + bytes([len(raw)]) + raw + b"Ns."), raw


def test_any_depth():
    """No C stack and no recursion limit is used up."""
    def nest(depth, wrap):
        obj = 7
        for _ in range(depth):
            obj = wrap(obj)
        return obj
    for wrap in (lambda o: [o], lambda o: (o,), lambda o: {"k": o}, lambda o: [1, (2, {"k": o, "l": 3})],
                 lambda o: (1, 2, 3, 4, o)):
        obj = nest(200_000, wrap)
        data = dumps(obj)
        assert same(obj, loads(data)) and same(obj, pickle.loads(data))
    assert dumps(nest((1 << 20) + 5, lambda o: (o,))) is None  # the Pickler raises RecursionError


def test_not_the_codecs():
    """Subclasses and other types are refused, at any place, and leave nothing behind."""
    import collections
    import datetime
    import enum

    class Text(str):
        pass

    class Number(int):
        pass

    class Many(list):
        pass

    class Color(enum.IntEnum):
        RED = 1
    others = [Text("x"), Number(1), Many(), Color.RED, collections.OrderedDict(a=1),
              collections.namedtuple("P", "x")(1), {1}, frozenset(), bytearray(b"x"), 1j, range(3),
              print, object(), datetime.date(2026, 1, 1), ..., int, type("D", (dict,), {})(),
              type("B", (bytes,), {})(), type("F", (float,), {})(), memoryview(b"x")]
    for other in others:
        assert dumps(other) is None, other
        assert dumps([1, "two", (other,)]) is None, other
        assert dumps({"k": [other]}) is None, other
        try:
            assert dumps({other: 1}) is None, other
        except TypeError:
            pass  # unhashable
        check([1, "two"])
        try:
            pickled = pickle.dumps([1, other], 5)
        except Exception:
            continue
        try:
            loads(pickled)
            assert False, other
        except NotImplementedError:
            pass


def test_every_protocol_is_read_or_left():
    """Older pickles are the Unpickler's, or read right."""
    obj = [1, -5, 2.5, "text", "text", ("t", (), (1, 2, 3, 4)), {"a": {}, "b": None}, 1 << 70, True]
    for protocol in range(6):
        try:
            assert same(obj, loads(pickle.dumps(obj, protocol)), merged=True)
        except NotImplementedError:
            assert protocol < 4


# ---- garbage ----------------------------------------------------------------------------------------------

def refused(data):
    try:
        loads(data)
    except (pickle.UnpicklingError, RecursionError):
        return True
    except NotImplementedError:
        return False
    return False


def test_frames():
    """Frames are as they are to pickle."""
    long = lambda n: n.to_bytes(8, "little")
    for good in (b"\x95" + long(2) + b"N.", b"\x95" + long(1) + b"N.", b"\x95" + long(0) + b"N.",
                 b"(\x95" + long(1) + b"N\x95" + long(1) + b"Nt.", b"\x95" + long(1) + b"K\x05."):
        assert same(pickle.loads(good), loads(good)), good
    for bad in (b"\x95" + long(3) + b"N.", b"\x95" + long(2) + b"J\x05\0\0\0.",
                b"\x95" + long(12) + b"\x95" + long(1) + b"N.", b"\x95" + long(11) + b"\x95" + long(2) + b"N.",
                b"\x95" + long(1 << 63) + b"N."):
        assert refused(bad), bad


def test_malformed():
    """Each way to be malformed is an UnpicklingError, and a foreign opcode is not."""
    head = b"\x80\x05"
    for bad in (b"", head, b".", head + b".", b"\x80", head + b"N", b"(.", b"N(.", b"(N(.", b"Na.", b"]a.", b"e.",
                b"]e.", b"(e.", b"u.", b"}(Nu.", b"}(]Nu.", b"}]Ns.", b"}(])\x86Nu.", b"}](e\x85Ns.", b"\x85.",
                b"N\x86.", b"NN\x87.", b"(N\x85\x86.", b"t.", b"0.", b"N00.", b"1.", b"h\x00.", b"N\x94h\x01.",
                b"Nj\x01\x00\x00\x00.", b"\x94.", b"(\x94.", b"K", b"M\x01", b"J\x01\x02\x03", b"G1234567",
                b"\x8a", b"\x8a\x05abc", b"\x8b\xff\xff\xff\xff.", b"\x8b\x10\x00\x00\x00abc.", b"\x8c\x02a",
                b"\x8c\x01\xff.", b"\x8c\x02\xc0\x80.", b"X\x05\x00\x00\x00abcd", b"B\x05\x00\x00\x00abcd",
                b"C\x05abcd", b"\x95\x01\x00\x00\x00\x00\x00\x00\x00", b"\x95\x00"):
        assert refused(bad), bad
    for mine_not in (b"c__main__\nx\n.", b"\x80\x06N.", b"I1\n.", b"]K\x00K\x01s.", b"K\x01Na.", b"N(e.", b"N(u.",
                     b"\x8f.", b"\x97."):
        try:
            loads(mine_not)
            assert False, mine_not
        except NotImplementedError:
            pass
    try:
        loads(b"}](e\x85Ns.")
    except pickle.UnpicklingError as raised:
        assert isinstance(raised.__cause__, TypeError), raised.__cause__
    assert loads(b"](K\x01K\x02e(K\x03K\x04e.") == [1, 2, 3, 4]
    assert loads(b"]\x94(K\x01K\x02eK\x05a0h\x00.") == [1, 2, 5]


def test_claims_allocate_nothing():
    """A size that the stream has no bytes for costs nothing."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for size in (1 << 31, (1 << 32) - 1, 1 << 40, 1 << 62, (1 << 64) - 1):
        wide = size.to_bytes(8, "little")
        for op in (b"\x8d", b"\x8e", b"\x95"):
            assert refused(b"\x80\x05" + op + wide + b"xxxx.")
        if size < 1 << 32:
            for op in (b"X", b"B", b"\x8b"):
                assert refused(b"\x80\x05" + op + wide[:4] + b"xxxx.")
            assert refused(b"N\x94j" + wide[:4] + b".")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 10_000, (before, after)


def test_a_key_too_deep_to_hash():
    """RecursionError instead of a C stack that overflows."""
    try:
        loads(b"\x80\x05})" + b"\x85" * 1_000_000 + b"Ns.")
        assert False
    except RecursionError:
        pass
    deep = b"})" + b"\x85" * 100 + b"Ns."
    assert same(loads(deep), pickle.loads(deep))
    wide = b"}N\x85" + b"\x94h\x00\x86" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(1, 60)) + b"Ns."
    assert len(loads(wide)) == 1  # 2 ** 60 leaves, 60 tuples


class Careful(pickle.Unpickler):
    def find_class(self, module, name):
        raise ImportError(name)


OPS = [b"(", b".", b"0", b"1", b"B\x02\0\0\0ab", b"C\x03abc", b"C\x00", b"G\x3f\xf0\0\0\0\0\0\0",
       b"J\xff\xff\xff\xff", b"K\x07", b"M\x00\x10", b"N", b"X\x02\0\0\0\xc3\xa9", b"]", b"a", b"e", b"h\x00",
       b"h\x01", b"h\x03", b"j\x02\0\0\0", b"s", b"u", b"t", b")", b"}", b"\x80\x05", b"\x85", b"\x86",
       b"\x87", b"\x88", b"\x89", b"\x8a\x01\x80", b"\x8b\x01\0\0\0\x7f", b"\x8c\x03key", b"\x8c\x05other",
       b"\x8c\x01z", b"\x8d\x03\0\0\0\0\0\0\0\xed\xa0\x80", b"\x8e\x01\0\0\0\0\0\0\0\xff", b"\x94", b"\x94",
       b"\x95\x01\0\0\0\0\0\0\0"]
FILL = [b"N", b"K\x07", b"\x8c\x03key", b"]", b"}", b")", b"(", b"\x94"]


def broken(rng, seeds):
    kind = rng.random()
    if kind < 0.1:
        return rng.randbytes(rng.randrange(40))
    if kind < 0.45:
        return b"".join(rng.choice(FILL if rng.random() < 0.5 else OPS) for _ in range(rng.randrange(30))) + b"."
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        kind = rng.random()
        if kind < 0.3 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind < 0.5 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind < 0.6:
            del data[at:at + rng.choice((1, 2, 9))]
        elif kind < 0.8:
            data[at:at] = rng.choice(OPS)
        elif kind < 0.9:
            other = rng.choice(seeds)
            data[at:] = other[rng.randrange(len(other)):]
        else:
            del data[at:]
    return bytes(data)


def test_garbage():
    """What the codec reads out of garbage, pickle reads; what it refuses, pickle refuses."""
    import io
    rng = random.Random(SEED + 1)
    seeds = []
    for _ in range(1000):
        obj = Maker(rng).object(3)
        seeds += [dumps(obj), pickle.dumps(obj, 5)]
    seeds = [seed for seed in seeds if len(seed) < 1000]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = {"read": 0, "refused": 0, "left": 0}
    for _ in range(int(200_000 * SCALE)):
        data = broken(rng, seeds)
        try:
            mine = loads(data)
        except NotImplementedError:
            counts["left"] += 1
            continue
        except pickle.UnpicklingError:
            counts["refused"] += 1
            try:
                Careful(io.BytesIO(data)).load()
            except Exception:
                continue
            assert False, f"pickle reads {data!r}"
        counts["read"] += 1
        try:
            theirs = pickle.loads(data)  # harmless: the codec has seen each of its opcodes
        except Exception as raised:
            raise AssertionError(f"pickle refuses {data!r}") from raised
        assert same(theirs, mine, merged=True), data
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"codec: garbage {counts}", flush=True)
    assert after - before < 50_000, (before, after)
    assert SCALE < 0.1 or min(counts.values()) > 1000 * SCALE, counts
