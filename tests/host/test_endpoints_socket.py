"""Endpoints with names: Unix sockets, one side that listens and many that connect (C2, C4, I3, S1)."""

import os
import select
import signal
import socket
import stat

import interlace
from endpoints import address, key, other, path_of
from support import Thread, equal, raises


def talk(where):
    """Both sides of a socket: the listener, and the Connections of the client and of the server."""
    listener = interlace.listen(where, key=key())
    client = Thread(interlace.open, where, key=key(), timeout=30)
    server = listener.accept(30)
    return listener, client.result(), server


def test_i3_a_socket_both_ways():
    """A Connection is (Sender, Receiver); it goes to a worker; each direction ends by itself; the file goes away."""
    where = address("unix")
    listener, client, server = talk(where)
    equal(stat.S_IMODE(os.stat(path_of(where)).st_mode), 0o600)
    equal(os.listdir(os.path.dirname(path_of(where))), ["here"])
    with interlace.Group() as group, client:
        group.start(double, server)
        server.close()
        sender, receiver = client
        equal((sender, receiver), (client.sender, client.receiver))
        equal(tuple(client), (sender, receiver))
        sender.send_many([1, "a", [3]])
        equal([receiver.recv(30) for _ in range(3)], [2, "aa", [3, 3]])
        sender.close()
        with raises(interlace.EndOfChannel):
            receiver.recv(30)
    with listener:
        pass
    equal(os.listdir(os.path.dirname(path_of(where))), [])
    for call in (listener.accept, listener.recv, listener.fileno):
        with raises(ValueError, "this listener is closed"):
            call()
    listener.close()


def double(connection):
    with connection as (sender, receiver):
        for obj in receiver:
            sender.send(obj * 2)


def test_c2_many_clients_of_one_listener():
    """Each message comes with the sender that answers its client; clients come and go; all in other hosts."""
    where = address("unix")
    script = """
        def ask(where, who):
            with interlace.open(where, key=KEY, timeout=30) as (sender, answers):
                for i in range(50):
                    sender.send((who, i))
                    assert answers.recv(30) == (who, -i)

        with interlace.Group() as group:
            for worker in range(3):
                group.start(ask, ARGS[0], f"{ARGS[1]}-{worker}")
    """
    with other(script, where, "a") as a, other(script, where, "b") as b, interlace.listen(where, key=key()) as listener:
        seen = {}
        for _ in range(300):
            client, (who, i) = listener.recv(30)
            equal(seen.setdefault(who, 0), i)
            seen[who] += 1
            client.send((who, -i), timeout=30)
        a.end().expect()
        b.end().expect()
        equal(sorted(seen), ["a-0", "a-1", "a-2", "b-0", "b-1", "b-2"])
        with raises(TimeoutError, where):
            listener.recv(0.05)
        with raises(TimeoutError, where):
            listener.recv(0)
        equal(listener._clients, {})


def test_c4_connecting_waits_for_the_listener():
    """With a timeout, 0 included; one that comes later is seen at once, also in place of a file that is stale."""
    where = address("unix")
    for timeout in (0, 0.05):
        with raises(TimeoutError, where, "before the other side was there"):
            interlace.open(where, key=key(), timeout=timeout)
    for stale in (False, True):
        if stale:
            leave_a_stale_socket(where)
        opening = Thread(interlace.open, where, key=key(), timeout=30).asleep()
        with interlace.listen(where, key=key()) as listener, listener.accept(30) as server, opening.result() as client:
            server.sender.send(stale)
            equal(client.receiver.recv(30), stale)


def leave_a_stale_socket(where):
    """As a listener does that is killed."""
    with other("listener = interlace.listen(ARGS[0], key=KEY)\nprint('there', flush=True)\nlistener.accept()", where) as there:
        there.printed("there")
        there.send_signal(signal.SIGKILL, whole_session=True)
        there.process.wait()
    assert stat.S_ISSOCK(os.stat(path_of(where)).st_mode)


def test_i3_one_listener_at_a_place():
    """A second one is refused, here and elsewhere, and the first one goes on."""
    where = address("unix")
    with interlace.listen(where, key=key()) as listener:
        with raises(OSError, where, "another listener has", "already"):
            interlace.listen(where, key=key())
        client = Thread(interlace.open, where, key=key(), timeout=30)
        listener.accept(30).close()
        client.result().close()
        equal(os.listdir(os.path.dirname(path_of(where))), ["here"])


def test_s1_select_takes_a_listener():
    """Beside channels and timers; and whatever else has a descriptor."""
    where = address("unix")
    sender, receiver = interlace.channel(1)
    with interlace.listen(where, key=key()) as listener:
        timer = interlace.after(0.02)
        equal(interlace.select(listener, receiver, timer)[0], timer)
        sender.send("memory")
        equal(interlace.select(listener, receiver, timeout=30), (receiver, "memory"))
        equal(select.select([listener], [], [], 0), ([], [], []))
        opening = Thread(interlace.open, where, key=key(), timeout=30)
        equal(interlace.select(listener, receiver, timeout=30), (listener, None))
        server = listener.accept(30)
        client = opening.result()
        waiting = Thread(interlace.select, server.receiver, listener, receiver, timeout=30).asleep()
        client.sender.send("socket")
        equal(waiting.result(), (server.receiver, "socket"))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with raises(TimeoutError):
            interlace.select(ours, timeout=0)
        waiting = Thread(interlace.select, ours, receiver, timeout=30).asleep()
        theirs.send(b"x")
        equal(waiting.result(), (ours, None))
    for wrong in (5, object(), "pipe:/x"):
        with raises(TypeError, "something with a fileno()"):
            interlace.select(wrong)
