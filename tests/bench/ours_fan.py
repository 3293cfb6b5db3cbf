"""Interlace, N workers to one and one to N, over one channel: ints a second."""

from interlace import Group, channel

import measure


def source(ready, go, outbox):
    ready.send(None)
    go.recv()
    measure.pour(outbox.send, 1, measure.seconds)


def sink(ready, inbox, results):
    ready.send(None)
    results.send(measure.drain(inbox.recv))


def fan_in(group, count):
    outbox, inbox = channel(measure.CAPACITY)
    ready, standing = channel(count)
    start, go = channel(count)
    for _ in range(count):
        group.start(source, ready, go, outbox)
    for _ in range(count):
        standing.recv()
    start.send_many([None] * count)
    return measure.rate([measure.drain(inbox.recv, ends=count)])


def fan_out(group, count):
    outbox, inbox = channel(measure.CAPACITY)
    ready, standing = channel(count)
    results, drained = channel(count)
    for _ in range(count):
        group.start(sink, ready, inbox, results)
    for _ in range(count):
        standing.recv()
    measure.pour(outbox.send, 1, measure.seconds, ends=count)
    return measure.rate([drained.recv() for _ in range(count)])


def main():
    for row in measure.rows:
        fan = fan_in if row.startswith("fan_in") else fan_out
        with Group() as group:
            measure.tell(row, "interlace", fan(group, measure.number(row)))


main()
