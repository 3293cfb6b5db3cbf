"""Endpoints with names: what ends the wait for another host, and what it costs (C3, W3, W4, W7)."""

import contextlib
import os
import signal
import socket
import time

import interlace
from endpoints import address, key, other, over_sockets, path_of
from support import Started, Thread, asleep, equal, raises, write


@over_sockets
def test_c3_closing_wakes_whoever_accepts(scheme):
    """In whatever call; and the waits of a cancelled group end."""
    for call in ("accept", "recv"):
        listener = interlace.listen(address(scheme), key=key())
        waiting = Thread(getattr(listener, call)).asleep()
        listener.close()
        with raises(ValueError, "this listener is closed"):
            waiting.result()


def wait_to_open(where, mode, path):
    interlace.open(where, mode, key=path)


def wait_to_accept(where, path):
    interlace.listen(where, key=path).accept()


@over_sockets
def test_w3_a_cancelled_group_ends_every_wait(scheme):
    """Opening a FIFO, connecting, accepting."""
    with interlace.Group() as group:
        workers = [
            group.start(wait_to_open, address("pipe"), "w", key()),
            group.start(wait_to_open, address(scheme), None, key()),
            group.start(wait_to_accept, address(scheme), key()),
        ]
        with raises(TimeoutError):
            workers[0].result(0.2)
        begun = time.monotonic()
        group.cancel()
    assert time.monotonic() - begun < 4, "that was the grace period's doing"
    for worker in workers:
        equal(type(worker.exception()), interlace.Cancelled)


@over_sockets
def test_w4_ctrl_c_ends_every_wait(scheme):
    """In a host of its own."""
    for what in ("open(ARGS[0], 'w', key=KEY)", "listen(ARGS[0], key=KEY).accept()", "listen(ARGS[0], key=KEY).recv()"):
        where = address("pipe" if "open" in what else scheme)
        with other(f"print('here', flush=True)\ninterlace.{what}", where) as there:
            there.printed("here")
            there.send_signal(signal.SIGINT)
            equal(there.end().code, 130)
        assert "open" in what or not os.path.exists(path_of(where)), "the socket's file is left"


@over_sockets
def test_c3_waiting_costs_nothing(scheme):
    """A receiver, a listener and a connecting client that wait do not poll."""
    where = address(scheme)
    script = """
        def wait(what, *args):
            getattr(interlace, what)(*args, key=KEY)[0]

        with interlace.Group() as group:
            group.start(wait, "open", ARGS[0])
            group.start(wait, "open", ARGS[1], "w")
            listener = interlace.listen(ARGS[2], key=KEY)
            print("here", flush=True)
            listener.recv()
    """
    with other(script, where, address("pipe"), address(scheme)) as there:
        there.printed("here")
        asleep(*there.threads(), pid=there.pid)


def test_w4_ctrl_c_in_plain_python():
    """KeyboardInterrupt there, in each of these waits; and objects go between it and a host."""
    where, sums = address("pipe"), address("unix")
    script = f"""
        import interlace, sys
        for opening in (
            lambda: interlace.open({address("pipe")!r}, "w", key={key()!r}),
            lambda: interlace.open({address("unix")!r}, key={key()!r}),
            lambda: interlace.listen({address("unix")!r}, key={key()!r}).accept(),
            lambda: interlace.listen({address("unix")!r}, key={key()!r}).recv(),
            interlace.open({where!r}, "r", key={key()!r}).recv,
        ):
            try:
                print("waiting", flush=True)
                opening()
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        with interlace.open({sums!r}, key={key()!r}) as (sender, receiver):
            sender.send([1, 2, 3])
            print(receiver.recv())
    """
    env = os.environ | {"PYTHONPATH": os.environ["PLAIN_PYTHONPATH"]}
    with Started([os.environ["PLAIN_PYTHON"], write(script)], env=env) as plain:
        for times in range(1, 6):
            plain.printed("waiting", times)
            plain.send_signal(signal.SIGINT)
            plain.printed("interrupted", times)
        with interlace.listen(sums, key=key()) as listener:
            client, numbers = listener.recv(30)
            client.send(sum(numbers))
            plain.end().expect(0, "waiting\ninterrupted\n" * 5 + "6\n")


@over_sockets
def test_w7_another_host_may_end_the_wait(scheme):
    """All workers wait, one of them for another process: that is no deadlock, whatever it waits in."""
    for what in (
        "interlace.open(ARGS[0], 'r', key=KEY).recv()",
        "interlace.open(ARGS[0], 'w', key=KEY).send(1)",
        "interlace.open(ARGS[1], key=KEY)",
        "interlace.listen(ARGS[1], key=KEY).accept()",
        "interlace.listen(ARGS[1], key=KEY).recv()",
        "interlace.select(interlace.listen(ARGS[1], key=KEY), theirs)",
    ):
        script = f"""
            sender, receiver = interlace.channel(0)
            ours, theirs = interlace.channel(0)

            def wait(receiver):
                receiver.recv()

            with interlace.Group() as group:
                group.start(wait, receiver)
                print("here", flush=True)
                {what}
                sender.send(1)
        """
        pipe, where = address("pipe"), address(scheme)
        with other(script, pipe, where) as there:
            there.printed("here")
            asleep(*there.threads(), pid=there.pid)
            if "'r'" in what:
                with interlace.open(pipe, "w", key=key(), timeout=30) as sender:
                    sender.send(1)
            elif "'w'" in what:
                equal(list(interlace.open(pipe, "r", key=key())), [1])
            elif "listen" not in what:
                with interlace.listen(where, key=key()) as listener:
                    listener.accept(30)
            else:
                with knock(where) if "select" in what else interlace.open(where, key=key(), timeout=30) as client:
                    if "recv" in what:
                        client.sender.send(1)
                    there.end().expect(0, "here\n")
            there.end().expect(0, "here\n")


@contextlib.contextmanager
def knock(where):
    """Connects, and does not wait for an answer."""
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(path_of(where))
        yield plain
