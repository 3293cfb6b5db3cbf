"""C8: large memory in messages. Buffers move, other buffers are copied once, types are kept."""

import array
import contextlib
import gc
import os
import pickle
import weakref

import interlace
from support import DEADLINE, equal, raises


def echo(source, sink):
    for obj in source:
        sink.send(obj)


class Echo:
    """A worker that sends back what it is sent."""

    def __enter__(self):
        self.group = interlace.Group("echo").__enter__()
        self.there, source = interlace.channel(4)
        sink, self.back = interlace.channel(4)
        self.group.start(echo, source, sink)
        return self

    def __call__(self, obj):
        self.there.send(obj, timeout=DEADLINE)
        return self.back.recv(timeout=DEADLINE)

    def __exit__(self, *error):
        self.there.close()
        return self.group.__exit__(*error)


def filled(data):
    buffer = interlace.Buffer(len(data))
    with memoryview(buffer) as view:
        view[:] = data
    return buffer


def test_c8_a_buffer_moves():
    """What was written comes out on the other side, in a Buffer that can be written and sent on; the sender has none."""
    with Echo() as there_and_back:
        for size in (0, 1, 100, 5_000_000):
            sent = filled(bytes(size))
            got = there_and_back(sent)
            equal((type(got), got.nbytes, got.readonly), (interlace.Buffer, size, False))
            for use in (memoryview, len, lambda b: b.nbytes):
                with raises(ValueError):
                    use(sent)
            with raises(ValueError):
                there_and_back.there.send(sent)
            if size:
                with memoryview(got) as view:
                    view[size - 1] = 7
                equal(bytes(there_and_back(got))[-1], 7)


def test_c8_a_buffer_inside_other_objects():
    """At any depth, once for each time it is mentioned, beside ends and plain objects."""
    with Echo() as there_and_back:
        buffer = filled(b"abc")
        got = there_and_back({"one": [buffer, 1], "two": (buffer, "x" * 200_000)})
        assert got["one"][0] is got["two"][0]
        equal(bytes(got["one"][0]), b"abc")


def test_c8_a_buffer_with_views_stays():
    """Sending it raises BufferError, alone or inside something, and it is as it was."""
    sender, receiver = interlace.channel(1)
    buffer = filled(b"abc")
    with memoryview(buffer) as view:
        for message in (buffer, [buffer]):
            with raises(BufferError):
                sender.send(message)
        equal(bytes(view), b"abc")
    sender.send(buffer)
    equal(bytes(receiver.recv()), b"abc")


def backed():
    """Bytes of memory behind what workers share."""
    used = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if "memfd:interlace" in os.readlink(f"/proc/self/fd/{name}"):
                used = max(used, os.stat(f"/proc/self/fd/{name}").st_blocks * 512)
    return used


def test_c8_frozen_memory_is_shared():
    """A Buffer that is frozen, and what lies on all of it, go to many without a copy, are kept, and can only be read."""
    size = 16 << 20
    buffer = filled(bytes(range(256)) * (size // 256))
    buffer.freeze()
    buffer.freeze()
    equal(buffer.readonly, True)
    with raises(TypeError):
        memoryview(buffer)[0] = 1
    matrix = memoryview(buffer).cast("q", (1024, size // 8192))
    sender, receiver = interlace.channel(64)
    before = backed()
    for message in (buffer, matrix, [matrix, {"it": buffer}]):
        for _ in range(10):
            sender.send(message)
    with Echo() as there_and_back:
        got = there_and_back(receiver.recv())  # passed on by who has received it
        equal((type(got), got.readonly, memoryview(got) == memoryview(buffer)), (interlace.Buffer, True, True))
        for _ in range(9):
            receiver.recv()
        for _ in range(10):
            got = there_and_back(receiver.recv())
            equal((got.format, got.shape, got.readonly, type(got.obj)), ("q", matrix.shape, True, interlace.Buffer))
            with raises(TypeError):
                got[0, 0] = 1
        one, two = receiver.recv()[0], receiver.recv()[1]["it"]
    equal((one == matrix, memoryview(two) == memoryview(buffer)), (True, True))
    assert backed() - before < size, (backed(), before)


def test_c8_what_is_not_frozen_is_copied():
    """Read-only views of memory that can be written, and views of a part: what is received does not change."""
    buffer = filled(b"abcdef")
    sender, receiver = interlace.channel(4)
    with memoryview(buffer) as view:
        sender.send(view.toreadonly())
        view[0] = 90
    buffer.freeze()
    sender.send(memoryview(buffer)[:5])
    sender.send(memoryview(buffer)[1:])
    sender.send(memoryview(b"Zbcdef"))
    equal([bytes(receiver.recv()) for _ in range(4)], [b"abcdef", b"Zbcde", b"bcdef", b"Zbcdef"])


class Freezer:
    def __init__(self, buffer):
        self.buffer = buffer

    def __reduce__(self):
        self.buffer.freeze()
        return (str, ())


def test_buffers_that_cannot_be_frozen():
    """With a view that may write, while it is being sent, when it has been sent: a clear error, and nothing changes."""
    buffer = filled(b"abc")
    with memoryview(buffer) as view:
        with raises(BufferError, "release()"):
            buffer.freeze()
        view[0] = 90
    sender, _receiver = interlace.channel(2)
    with raises(BufferError, "being sent"):
        sender.send([buffer, Freezer(buffer)])
    equal((buffer.readonly, bytes(buffer)), (False, b"Zbc"))
    sender.send(buffer)
    with raises(ValueError, "has been sent"):
        buffer.freeze()


def test_c4_a_buffer_comes_back_when_sending_fails():
    """After a timeout, a broken channel or a pickling error the Buffer is the sender's again."""
    sender, receiver = interlace.channel(1)
    sender.send("full")
    buffer = filled(b"abc")
    for message in (buffer, [buffer]):
        with raises(TimeoutError):
            sender.send(message, timeout=0.01)
        equal(bytes(buffer), b"abc")
    with raises((TypeError, AttributeError, pickle.PicklingError)):
        sender.send([buffer, lambda: 0])
    equal(bytes(buffer), b"abc")
    receiver.close()
    with raises(interlace.BrokenChannel):
        sender.send(buffer)
    equal(bytes(buffer), b"abc")


def test_c8_types_are_kept():
    """bytes, bytearray, memoryview of any format and shape, PickleBuffer; read-only stays read-only."""
    numbers = array.array("d", range(1000))
    with Echo() as there_and_back:
        for obj in (b"x" * 70_000, bytearray(b"y" * 70_000), "ü" * 70_000, [b"z" * 70_000] * 3):
            got = there_and_back(obj)
            equal((type(got), got == obj), (type(obj), True))
        for view in (memoryview(b"abc"), memoryview(bytearray(b"abc")), memoryview(numbers), memoryview(b""),
                     memoryview(numbers).cast("B").cast("d", (10, 100))):  # fmt: skip
            got = there_and_back(view)
            equal((type(got), got.format, got.shape, got.readonly), (memoryview, view.format, view.shape, view.readonly))
            equal(got.tolist(), view.tolist())
        for data in (b"abc", bytearray(b"abc")):
            got = there_and_back(pickle.PickleBuffer(data))
            equal((type(got), bytes(got)), (pickle.PickleBuffer, b"abc"))
        equal(there_and_back(numbers), numbers)
        with raises(BufferError):
            there_and_back.there.send(memoryview(b"abcdef")[::2])


def test_c8_a_received_view_is_no_copy():
    """Writing through one view shows in another: both lie on the block."""
    with Echo() as there_and_back:
        got = there_and_back([memoryview(bytearray(100_000))])[0]
        other = memoryview(got.obj)
        got[5] = 9
        equal(other[5], 9)


def test_buffers_refuse_what_they_cannot():
    """Plain pickle, a negative size, more than the shared memory holds: one clear error each."""
    with raises(TypeError):
        pickle.dumps(interlace.Buffer(1))
    with raises(TypeError):
        pickle.dumps(memoryview(b"x"))
    with raises(ValueError):
        interlace.Buffer(-1)
    with raises(MemoryError):
        interlace.Buffer(1 << 50)


def make(size):
    return filled(b"m" * size)


def test_c6_a_buffer_outlives_the_worker_that_made_it():
    """The result of a worker that has ended is still there, and goes with its last view."""
    with interlace.Group() as group:
        worker = group.start(make, 300_000)
    buffer = worker.result()
    gone = weakref.ref(buffer)
    view = memoryview(buffer)
    del buffer, worker, group
    gc.collect()
    assert gone() is not None
    equal(bytes(view[-3:]), b"mmm")
    view.release()
    del view
    gc.collect()
    equal(gone(), None)
