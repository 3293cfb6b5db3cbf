"""Interlace, one way: messages a second from one worker to another, a call a message, and ints in bulk."""

import interlace
from interlace import Group, channel

import measure


def receive(inbox, results):
    measure.drain_twice(inbox.recv, results.send)


def receive_many(inbox, results):
    """As measure.drain_twice(), with recv_many()."""
    for _ in range(2):
        count, start, last = 0, None, 0
        while last is not None:
            got = inbox.recv_many(256)
            count, last = count + len(got), got[-1]
            start = start or measure.clock()
        results.send((count, start, measure.clock()))


def pour_many(sender, obj, duration):
    end = measure.clock() + duration * 1e9
    while measure.clock() < end:
        sender.send_many([obj] * 256)
    sender.send(None)


def receive_buffers(inbox, free, results):
    """Send every Buffer back where it came from."""

    def recv():
        buffer = inbox.recv()
        if buffer is None:
            return None
        free.send(buffer)
        return True

    measure.drain_twice(recv, results.send)


def buffers(group, row):
    if not hasattr(interlace, "Buffer"):
        measure.note(f"{row}: this build has no interlace.Buffer")
        return
    sender, inbox = channel(measure.LARGE_CAPACITY)
    back, free = channel(measure.LARGE_CAPACITY)
    outbox, results = channel(1)
    group.start(receive_buffers, inbox, back, outbox)
    for _ in range(measure.LARGE_CAPACITY):
        buffer = interlace.Buffer(1 << 20)
        with memoryview(buffer) as view:
            view[:] = b"x" * len(view)
        back.send(buffer)

    def send(obj):
        sender.send(obj and free.recv())

    measure.tell(row, "interlace", measure.one_way(send, True, results.recv))


def main():
    with Group() as group:
        for row in measure.rows:
            if row == "one_way_buffer_1mb":
                buffers(group, row)
                continue
            sender, inbox = channel(measure.capacity(row))
            outbox, results = channel(1)
            if row == "one_way_int_many":
                group.start(receive_many, inbox, outbox)
                for duration in (measure.seconds / 5, measure.seconds):
                    pour_many(sender, 12345, duration)
                    drained = results.recv()
                measure.tell(row, "interlace", measure.rate([drained]))
            else:
                group.start(receive, inbox, outbox)
                value = measure.one_way(sender.send, measure.PAYLOADS[row], results.recv)
                measure.tell(row, "interlace", value)


main()
