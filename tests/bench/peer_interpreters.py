"""concurrent.interpreters: its Queue, its starts. Also what it shares with no copy: a memoryview."""

from concurrent import interpreters
import os

import hello
import measure

# A queue as long as ours, and one without a bound: its put() never waits, and so never sleeps 10 ms.
QUEUES = {"interpreters.Queue": measure.capacity, "interpreters.Queue(0)": lambda row: 0}


def start(function, *args):
    """Start an interpreter of its own; return the thread and the interpreter."""
    interpreter = interpreters.create()
    return interpreter.call_in_thread(function, *args), interpreter


def finish(started):
    for thread, interpreter in started:
        thread.join()
        interpreter.close()


def echo(inbox, outbox):
    measure.echo(inbox.get, outbox.put)


def drain_twice(inbox, results):
    measure.drain_twice(inbox.get, results.put)


def source(ready, starts, outboxes, duration):
    for outbox, go in zip(outboxes, starts):
        ready.put(None)
        go.get()
        measure.pour(outbox.put, 1, duration)


def sink(ready, inboxes, results):
    for inbox in inboxes:
        ready.put(None)
        results.put(measure.drain(inbox.get))


def round_trips():
    there, back = interpreters.create_queue(1), interpreters.create_queue(1)
    started = [start(echo, there, back)]
    if any(row.startswith("round_trip") for row in measure.rows):
        measure.tell_round_trips("interpreters.Queue", there.put, back.get)
    for row, size in measure.BUFFERS.items():
        if row in measure.rows:
            block = bytearray(b"x" * size)
            samples = measure.round_trips(there.put, back.get, memoryview(block))
            measure.tell(row, "interpreters.Queue", measure.median(samples) / 2)
    there.put(None)
    finish(started)


def one_way(row):
    payload = measure.PAYLOADS.get(row, memoryview(bytearray(b"x" * (1 << 20))))
    for name, capacity in QUEUES.items():
        queue, results = interpreters.create_queue(capacity(row)), interpreters.create_queue()
        started = [start(drain_twice, queue, results)]
        measure.tell(row, name, measure.one_way(queue.put, payload, results.get))
        finish(started)


def fan(row):
    count = measure.number(row)
    queues = tuple(interpreters.create_queue(capacity(row)) for capacity in QUEUES.values())
    ready, results = interpreters.create_queue(), interpreters.create_queue()
    starts = tuple(interpreters.create_queue() for _ in queues)
    inwards = row.startswith("fan_in")
    job = (source, ready, starts, queues, measure.seconds) if inwards else (sink, ready, queues, results)
    started = [start(*job) for _ in range(count)]
    for name, queue, go in zip(QUEUES, queues, starts):
        for _ in range(count):
            ready.get()
        if inwards:
            for _ in range(count):
                go.put(None)
            drained = [measure.drain(queue.get, ends=count)]
        else:
            measure.pour(queue.put, 1, measure.seconds, ends=count)
            drained = [results.get() for _ in range(count)]
        measure.tell(row, name, measure.rate(drained))
    finish(started)


def select(row):
    """There is none: the way to find the queue that has something is to ask each."""
    count = measure.number(row)
    queues = [interpreters.create_queue(1) for _ in range(count)]
    turn = 0

    def once():
        nonlocal turn
        turn = (turn + 617) % count
        queues[turn].put(turn)
        start = measure.clock()
        for queue in queues:
            try:
                value = queue.get_nowait()
                break
            except interpreters.QueueEmpty:
                pass
        took = measure.clock() - start
        assert value == turn
        return took / 1000

    measure.tell(row, "interpreters.Queue", measure.median(measure.repeat(once)))


def start_cold():
    read, write = os.pipe()

    def once():
        begin = measure.clock()
        started = start(hello.write_byte, write)
        os.read(read, 1)
        took = measure.clock() - begin
        finish([started])
        return took / 1000

    measure.tell("start_cold", "interpreters", measure.median(measure.repeat(once)))


def memory():
    read, write = os.pipe()
    held, hold = os.pipe()
    started = []

    def one():
        started.append(start(hello.write_byte_and_wait, write, held))
        os.read(read, 1)

    measure.tell("memory_per_worker", "interpreters", measure.memory_per_worker(one, 32))
    os.write(hold, b"!" * len(started))
    finish(started)


def main():
    rest = []
    for row in measure.rows:
        if row.startswith("one_way"):
            one_way(row)
        elif row.startswith("fan"):
            fan(row)
        elif row.startswith("select"):
            select(row)
        elif row == "start_cold":
            start_cold()
        elif row == "memory_per_worker":
            memory()
        else:
            rest.append(row)
    if rest:
        round_trips()


if __name__ == "__main__":
    main()
