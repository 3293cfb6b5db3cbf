"""os.pipe and pickle between two interpreters: one write a message; and epoll over many pipes."""

from concurrent import interpreters
import functools
import os
import pickle
import resource
import select

import measure

PIPE_SIZE = 1 << 20
F_SETPIPE_SZ = 1031


class Writer:
    """Sends pickles."""

    def __init__(self, fd):
        self._write = open(fd, "wb", buffering=0, closefd=False).write

    def send(self, obj):
        self._write(pickle.dumps(obj))


class Reader:
    """Receives what a Writer sent."""

    def __init__(self, fd):
        self._file = open(fd, "rb", buffering=1 << 16, closefd=False)

    def recv(self):
        return pickle.load(self._file)


def echo(inbox, outbox):
    measure.echo(Reader(inbox).recv, Writer(outbox).send)


def drain_twice(inbox, results):
    measure.drain_twice(Reader(inbox).recv, Writer(results).send)


def with_interpreter(function, action):
    """Call action(send, recv) while another interpreter runs function(file descriptor, file descriptor)."""
    import fcntl

    there, back = os.pipe(), os.pipe()
    for fd in (there[1], back[1]):
        try:
            fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:  # more than an ordinary user may have
            pass
    interpreter = interpreters.create()
    thread = interpreter.call_in_thread(function, there[0], back[1])
    action(Writer(there[1]).send, Reader(back[0]).recv)
    thread.join()
    interpreter.close()
    for fd in there + back:
        os.close(fd)


def round_trips(send, recv):
    measure.tell_round_trips("os.pipe", send, recv)
    send(None)


def one_way(row, send, recv):
    measure.tell(row, "os.pipe", measure.one_way(send, measure.PAYLOADS[row], recv))


def select_cost(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pipes = [os.pipe() for _ in range(count)]
    senders = [Writer(write) for _, write in pipes]
    poll = select.epoll()
    for read, _ in pipes:
        poll.register(read, select.EPOLLIN)
    turn = 0

    def once():
        nonlocal turn
        turn = (turn + 617) % count
        senders[turn].send(turn)
        start = measure.clock()
        ((fd, _),) = poll.poll()
        value = pickle.loads(os.read(fd, 65536))
        took = measure.clock() - start
        assert value == turn
        return took / 1000

    return measure.median(measure.repeat(once))


def main():
    if any(row.startswith("round_trip") for row in measure.rows):
        with_interpreter(echo, round_trips)
    for row in measure.rows:
        if row in measure.PAYLOADS:
            with_interpreter(drain_twice, functools.partial(one_way, row))
        elif row.startswith("select"):
            measure.tell(row, "os.pipe and epoll", select_cost(measure.number(row)))


if __name__ == "__main__":
    main()
