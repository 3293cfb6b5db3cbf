"""concurrent.futures: InterpreterPoolExecutor and ProcessPoolExecutor. Starts, speed-up, tiny tasks."""

from concurrent.futures import InterpreterPoolExecutor, ProcessPoolExecutor

import measure

POOLS = {"InterpreterPoolExecutor": InterpreterPoolExecutor, "ProcessPoolExecutor": ProcessPoolExecutor}


def start_cold(name):
    """A new pool's first result; the pool's end is not counted."""

    def once():
        start = measure.clock()
        pool = POOLS[name](1)
        pool.submit(measure.nothing).result()
        took = measure.clock() - start
        pool.shutdown()
        return took / 1000

    measure.tell("start_cold", name, measure.median(measure.repeat(once)))


def start_warm(name):
    """A result of a worker that is there already and used again: no start, but what people do instead."""
    with POOLS[name](1) as pool:

        def once():
            start = measure.clock()
            pool.submit(measure.nothing).result()
            return (measure.clock() - start) / 1000

        measure.tell("start_warm", f"{name}.submit", measure.median(measure.repeat(once)))


def two_workers(name):
    with POOLS[name](1) as one, POOLS[name](2) as two:

        def run(pool, n):
            for future in [pool.submit(measure.busy, n) for _ in range(2)]:
                future.result()

        measure.tell("cpu_two_workers", name, measure.speed_up(lambda n: run(one, n), lambda n: run(two, n)))


def tiny_tasks(row, name, **options):
    count = measure.cores()
    with POOLS[name](count) as pool:
        list(pool.map(measure.add_one, range(count)))

        def do(count):
            assert list(pool.map(measure.add_one, range(count), **options)) == list(range(1, count + 1))

        measure.tell(row, name, measure.tasks_a_second(do))


def main():
    for name in POOLS:
        if "start_cold" in measure.rows:
            start_cold(name)
        if "start_warm" in measure.rows:
            start_warm(name)
        if "cpu_two_workers" in measure.rows:
            two_workers(name)
        if "tiny_tasks" in measure.rows:
            tiny_tasks("tiny_tasks", name)
    if "tiny_tasks_in_chunks" in measure.rows:  # the other pool takes no notice of chunksize
        tiny_tasks("tiny_tasks_in_chunks", "ProcessPoolExecutor", chunksize=100)


if __name__ == "__main__":
    main()
