"""Interlace, a worker's start: from start() to the first message it sends, in microseconds; and its memory.

The workers load this script's definitions, so that the imports stand in the functions that need them.
"""

import interlace
from interlace import Group, channel


def hello(outbox):
    outbox.send(1)


def hello_and_wait(outbox, inbox):
    outbox.send(1)
    inbox.recv()


def start_once(group, before=None):
    from time import perf_counter_ns as clock

    outbox, inbox = channel(1)
    if before is not None:
        before(1)
    start = clock()
    worker = group.start(hello, outbox)
    inbox.recv()
    took = clock() - start
    worker.result()
    return took / 1000


def memory():
    import measure

    with Group() as group:
        outbox, started = channel(1)
        hold, held = channel(0)

        def start():
            group.start(hello_and_wait, outbox, held)
            started.recv()

        value = measure.memory_per_worker(start, 32)
        group.cancel()
    return value


def main():
    import measure

    with Group() as group:
        if "start_cold" in measure.rows:
            samples = measure.repeat(lambda: start_once(group))
            measure.tell("start_cold", "interlace", measure.median(samples))
    if "memory_per_worker" in measure.rows:
        measure.tell("memory_per_worker", "interlace", memory())
    if "start_warm" in measure.rows:
        if not hasattr(interlace, "prestart"):
            measure.note("start_warm: this build has no interlace.prestart")
            return
        with Group() as group:
            samples = measure.repeat(lambda: start_once(group, interlace.prestart))
        measure.tell("start_warm", "interlace", measure.median(samples))


main()
