"""Interlace, work for workers: two that compute, against one; and an Executor's tiny tasks, as the peers do them."""

from interlace import Executor, Group, channel

import measure


def compute(tasks, results):
    for n in tasks:
        results.send(measure.busy(n))


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


def tiny_tasks(row, **options):
    count = measure.cores()
    with Executor(count) as executor:
        list(executor.map(measure.add_one, range(count)))

        def do(count):
            assert list(executor.map(measure.add_one, range(count), **options)) == list(range(1, count + 1))

        measure.tell(row, "interlace", measure.tasks_a_second(do))


def main():
    if "cpu_two_workers" in measure.rows:
        with Group() as group:
            measure.tell("cpu_two_workers", "interlace", two_workers(group))
    if "tiny_tasks" in measure.rows:
        tiny_tasks("tiny_tasks")
    if "tiny_tasks_in_chunks" in measure.rows:
        tiny_tasks("tiny_tasks_in_chunks", chunksize=100)


main()
