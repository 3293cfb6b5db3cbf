"""Interlace, to and fro: an int, bytes and buffers between two workers."""

import interlace
from interlace import Group, channel

import measure


def echo(inbox, outbox):
    measure.echo(inbox.recv, outbox.send)


def main():
    with Group() as group:
        send, inbox = channel(1)
        outbox, receive = channel(1)
        group.start(echo, inbox, outbox)
        if any(row.startswith("round_trip") for row in measure.rows):
            measure.tell_round_trips("interlace", send.send, receive.recv)
        if "embed_round_trip" in measure.rows:
            samples = measure.round_trips(send.send, receive.recv, b"x" * 100)
            measure.tell("embed_round_trip", "two workers", measure.median(samples))
        for row, size in measure.BUFFERS.items():
            if row in measure.rows:
                bounce_buffer(row, size, send, receive)
        send.send(None)


def bounce_buffer(row, size, send, receive):
    if not hasattr(interlace, "Buffer"):
        measure.note(f"{row}: this build has no interlace.Buffer")
        return
    buffer = interlace.Buffer(size)
    with memoryview(buffer) as view:
        view[:] = b"x" * size
    samples = measure.round_trips(send.send, receive.recv, buffer)
    measure.tell(row, "interlace", measure.median(samples) / 2)


main()
