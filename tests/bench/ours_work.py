"""Interlace, work for workers: two that compute, against one; and tiny tasks, a message each."""

from interlace import Group, channel

import measure

CHUNK = 100


def compute(tasks, results):
    for n in tasks:
        results.send(measure.busy(n))


def add_one(tasks, results):
    for x in tasks:
        results.send((x, measure.add_one(x)))


def add_one_chunks(tasks, results):
    for chunk in tasks:
        results.send((chunk[0], [measure.add_one(x) for x in chunk]))


def feed(counts, tasks):
    for count in counts:
        tasks.send_many(range(count))


def feed_chunks(counts, tasks):
    for count in counts:
        tasks.send_many(list(range(i, min(i + CHUNK, count))) for i in range(0, count, CHUNK))


def two_workers(group):
    results, done = channel(4)
    senders = []
    for _ in range(2):
        sender, tasks = channel(4)
        group.start(compute, tasks, results)
        senders.append(sender)
    one, two = senders

    def run(first, second, n):
        first.send(n)
        second.send(n)
        done.recv()
        done.recv()

    ratio = measure.speed_up(lambda n: run(one, one, n), lambda n: run(one, two, n))
    for sender in senders:
        sender.close()
    return ratio


def map_tasks(feeder, worker, collect):
    """Return tasks a second, by a worker per core that stands when the first comes; the results in order."""
    with Group() as group:
        ask, counts = channel(1)
        outbox, tasks = channel(measure.CAPACITY)
        outcome, results = channel(measure.CAPACITY)
        for _ in range(measure.cores()):
            group.start(worker, tasks, outcome)
        group.start(feeder, counts, outbox)
        for end in (counts, outbox, tasks, outcome):
            end.close()

        def do(count):
            values = [None] * count
            ask.send(count)
            collect(results, values)
            assert values == list(range(1, count + 1))

        do(1)
        with ask:
            return measure.tasks_a_second(do)


def collect(results, values):
    for _ in range(len(values)):
        x, value = results.recv()
        values[x] = value


def collect_chunks(results, values):
    for _ in range(0, len(values), CHUNK):
        first, chunk = results.recv()
        values[first : first + len(chunk)] = chunk


def main():
    if "cpu_two_workers" in measure.rows:
        with Group() as group:
            measure.tell("cpu_two_workers", "interlace", two_workers(group))
    if "tiny_tasks" in measure.rows:
        measure.tell("tiny_tasks", "interlace", map_tasks(feed, add_one, collect))
    if "tiny_tasks_in_chunks" in measure.rows:
        value = map_tasks(feed_chunks, add_one_chunks, collect_chunks)
        measure.tell("tiny_tasks_in_chunks", "interlace", value)


main()
