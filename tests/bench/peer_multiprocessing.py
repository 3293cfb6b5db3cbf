"""multiprocessing: Pipe, SimpleQueue, Queue and shared_memory between processes, and a Process's start."""

import multiprocessing
from multiprocessing import connection, shared_memory

import hello
import measure

SLOTS = 8  # of shared memory, for one_way_1mb


def start(target, *args):
    process = multiprocessing.Process(target=target, args=args)
    process.start()
    return process


def calls(queue):
    """Return (send, recv) of a pair of connections, or of a queue."""
    if isinstance(queue, tuple):
        return queue[1].send, queue[0].recv
    return queue.put, queue.get


def queues(row):
    """Name the kinds of queue, and say how to make one."""
    return {
        "multiprocessing.Pipe": lambda: multiprocessing.Pipe(duplex=False),
        "multiprocessing.SimpleQueue": multiprocessing.SimpleQueue,
        "multiprocessing.Queue": lambda: multiprocessing.Queue(measure.capacity(row)),
    }


def echo(inbox, outbox):
    measure.echo(calls(inbox)[1], calls(outbox)[0])


def echo_bytes(inbox, outbox):
    while data := inbox[0].recv_bytes():
        outbox[1].send_bytes(data)


def drain_twice(inbox, results):
    measure.drain_twice(calls(inbox)[1], calls(results)[0])


def drain_bytes_twice(inbox, results):
    measure.drain_twice(inbox[0].recv_bytes, results[1].send, last=b"")


def drain_shared_twice(memory, copies, inbox, free, results):
    size = memory.size // SLOTS

    def recv():
        slot = inbox[0].recv()
        if slot is None:
            return None
        data = memory.buf[slot * size : (slot + 1) * size]
        if copies:
            data = bytes(data)
        free[1].send(slot)
        return data

    measure.drain_twice(recv, results[1].send)


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
    for name, make in queues("round_trip_int").items():
        there, back = make(), make()
        process = start(echo, there, back)
        send, recv = calls(there)[0], calls(back)[1]
        measure.tell_round_trips(name, send, recv)
        send(None)
        process.join()


def buffers(row, size):
    pipe = queues(row)["multiprocessing.Pipe"]
    there, back = pipe(), pipe()
    process = start(echo_bytes, there, back)
    samples = measure.round_trips(there[1].send_bytes, back[0].recv_bytes, b"x" * size)
    measure.tell(row, "multiprocessing.Pipe send_bytes", measure.median(samples) / 2)
    there[1].send_bytes(b"")
    process.join()
    # Shared memory that both have mapped: what goes to and fro is whose turn it is.
    memory = shared_memory.SharedMemory(create=True, size=size)
    memory.buf[:] = b"x" * len(memory.buf)
    there, back = pipe(), pipe()
    process = start(echo, there, back)
    samples = measure.round_trips(there[1].send, back[0].recv, 1)
    measure.tell(row, "multiprocessing.shared_memory", measure.median(samples) / 2)
    there[1].send(None)
    process.join()
    memory.close()
    memory.unlink()


def one_way(row):
    if row == "one_way_buffer_1mb":
        shared_one_way(row, 1 << 20, None)
        return
    payload = measure.PAYLOADS[row]
    for name, make in queues(row).items():
        queue, results = make(), make()
        process = start(drain_twice, queue, results)
        measure.tell(row, name, measure.one_way(calls(queue)[0], payload, calls(results)[1]))
        process.join()
    if isinstance(payload, bytes):
        pipe = queues(row)["multiprocessing.Pipe"]
        queue, results = pipe(), pipe()
        process = start(drain_bytes_twice, queue, results)
        value = measure.one_way(queue[1].send_bytes, payload, results[0].recv, last=b"")
        measure.tell(row, "multiprocessing.Pipe send_bytes", value)
        process.join()
    if row == "one_way_1mb":
        shared_one_way(row, len(payload), payload)


def shared_one_way(row, size, payload):
    """Slots in shared memory, their numbers in pipes; with a payload, it is copied in here and out there."""
    memory = shared_memory.SharedMemory(create=True, size=size * SLOTS)
    queue, free, results = (multiprocessing.Pipe(duplex=False) for _ in range(3))
    process = start(drain_shared_twice, memory, payload is not None, queue, free, results)
    for slot in range(SLOTS):
        free[1].send(slot)

    def send(obj):
        slot = None
        if obj is not None:
            slot = free[0].recv()
            if payload is not None:
                memory.buf[slot * size : (slot + 1) * size] = payload
        queue[1].send(slot)

    measure.tell(row, "multiprocessing.shared_memory", measure.one_way(send, True, results[0].recv))
    process.join()
    memory.close()
    memory.unlink()


def fan(row):
    count = measure.number(row)
    made = {name: make() for name, make in queues(row).items() if "Pipe" not in name}  # those are for two
    ready, results = multiprocessing.SimpleQueue(), multiprocessing.SimpleQueue()
    starts = [multiprocessing.SimpleQueue() for _ in made]
    inwards = row.startswith("fan_in")
    every = list(made.values())
    job = (source, ready, starts, every, measure.seconds) if inwards else (sink, ready, every, results)
    processes = [start(*job) for _ in range(count)]
    for (name, queue), go in zip(made.items(), starts):
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
    for process in processes:
        process.join()


def select(row):
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = measure.number(row)
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(count)]
    receivers = [receiver for receiver, _ in pipes]
    turn = 0

    def once():
        nonlocal turn
        turn = (turn + 617) % count
        pipes[turn][1].send(turn)
        begin = measure.clock()
        (ready,) = connection.wait(receivers)
        value = ready.recv()
        took = measure.clock() - begin
        assert value == turn
        return took / 1000

    measure.tell(row, "multiprocessing.connection.wait", measure.median(measure.repeat(once)))


def start_cold():
    """As it is by default, and anew as `spawn` does: all that there is on some systems."""
    methods = {"multiprocessing.Process": None, "multiprocessing.Process spawn": "spawn"}
    for name, method in methods.items():
        context = multiprocessing.get_context(method)
        receiver, sender = context.Pipe(duplex=False)

        def once():
            begin = measure.clock()
            process = context.Process(target=hello.send_true, args=(sender,))
            process.start()
            receiver.recv()
            took = measure.clock() - begin
            process.join()
            return took / 1000

        measure.tell("start_cold", name, measure.median(measure.repeat(once)))


def memory():
    here, there = multiprocessing.Pipe(duplex=False)
    processes = []

    def one():
        processes.append(start(hello.send_true_and_wait, there))
        here.recv()

    measure.tell("memory_per_worker", "multiprocessing.Process", measure.memory_per_worker(one, 16))
    for process in processes:
        process.terminate()
        process.join()


def main():
    if any(row.startswith("round_trip") for row in measure.rows):
        round_trips()
    for row in measure.rows:
        if row in measure.BUFFERS:
            buffers(row, measure.BUFFERS[row])
        elif row in measure.PAYLOADS:
            one_way(row)
        elif row.startswith("fan"):
            fan(row)
        elif row.startswith("select"):
            select(row)
        elif row == "start_cold":
            start_cold()
        elif row == "memory_per_worker":
            memory()


if __name__ == "__main__":
    main()
