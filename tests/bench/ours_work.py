"""Interlace, work for workers: two that compute, against one; and tiny tasks, a message each."""

from interlace import Group, channel

import measure


def compute(tasks, results):
    for n in tasks:
        results.send(measure.busy(n))


def add_one(tasks, results):
    for x in tasks:
        results.send((x, measure.add_one(x)))


def add_one_chunks(tasks, results):
    for chunk in tasks:
        results.send((chunk[0], [measure.add_one(x) for x in chunk]))


def feed(tasks, count):
    tasks.send_many(range(count))


def feed_chunks(tasks, count):
    tasks.send_many(list(range(i, min(i + 100, count))) for i in range(0, count, 100))


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


def map_tasks(feeder, worker, count):
    """Return add_one(x) for each x of range(count), in order, by as many workers as there are cores."""
    values = [None] * count
    with Group() as group:
        outbox, tasks = channel(measure.CAPACITY)
        outcome, results = channel(measure.CAPACITY)
        for _ in range(measure.cores()):
            group.start(worker, tasks, outcome)
        group.start(feeder, outbox, count)
        for end in (outbox, tasks, outcome):
            end.close()
        if worker is add_one:
            for x, value in results:
                values[x] = value
        else:
            for first, chunk in results:
                values[first : first + len(chunk)] = chunk
    assert values == list(range(1, count + 1))


def main():
    if "cpu_two_workers" in measure.rows:
        with Group() as group:
            measure.tell("cpu_two_workers", "interlace", two_workers(group))
    if "tiny_tasks" in measure.rows:
        measure.tell("tiny_tasks", "interlace", measure.tasks_a_second(lambda n: map_tasks(feed, add_one, n)))
    if "tiny_tasks_in_chunks" in measure.rows:
        value = measure.tasks_a_second(lambda n: map_tasks(feed_chunks, add_one_chunks, n))
        measure.tell("tiny_tasks_in_chunks", "interlace", value)


main()
