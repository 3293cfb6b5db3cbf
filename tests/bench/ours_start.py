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


def start_once():
    """Return the microseconds of one start. The worker's end is waited for, but not counted."""
    from time import perf_counter_ns as clock

    outbox, inbox = channel(1)
    with Group() as group:
        start = clock()
        group.start(hello, outbox)
        inbox.recv()
        took = clock() - start
    return took / 1000


def start_warm_once():
    interlace.prestart(1)
    return start_once()


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

    if "start_cold" in measure.rows:
        measure.tell("start_cold", "interlace", measure.median(measure.repeat(start_once)))
    if "memory_per_worker" in measure.rows:
        measure.tell("memory_per_worker", "interlace", memory())
    if "start_warm" in measure.rows:
        if hasattr(interlace, "prestart"):
            measure.tell("start_warm", "interlace", measure.median(measure.repeat(start_warm_once, least=15)))
        else:
            measure.note("start_warm: this build has no interlace.prestart")


main()
