"""Endpoints with names: Unix sockets and memory, one side that listens and many that connect (C2, C4, I3, S1)."""

import asyncio
import os
import select
import signal
import socket
import stat
import time

import interlace
from endpoints import address, file_of, key, left_at, other, over_sockets, path_of
from support import Thread, equal, raises


def talk(where):
    """Both sides of a socket: the listener, and the Connections of the client and of the server."""
    listener = interlace.listen(where, key=key())
    client = Thread(interlace.open, where, key=key(), timeout=30)
    server = listener.accept(30)
    return listener, client.result(), server


@over_sockets
def test_i3_a_socket_both_ways(scheme):
    """A Connection is (Sender, Receiver); it goes to a worker; each direction ends by itself; the file goes away."""
    where = address(scheme)
    listener, client, server = talk(where)
    equal(stat.S_IMODE(os.stat(path_of(where)).st_mode), 0o600)
    equal(left_at(where), file_of(where))
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
    equal(left_at(where), [])
    for call in (listener.accept, listener.recv, listener.fileno):
        with raises(ValueError, "this listener is closed"):
            call()
    listener.close()


def double(connection):
    with connection as (sender, receiver):
        for obj in receiver:
            sender.send(obj * 2)


@over_sockets
def test_c2_many_clients_of_one_listener(scheme):
    """Each message comes with the sender that answers its client; clients come and go; all in other hosts."""
    where = address(scheme)
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


@over_sockets
def test_c4_connecting_waits_for_the_listener(scheme):
    """With a timeout, 0 included; one that comes later is seen at once, also in place of a file that is stale."""
    where = address(scheme)
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


@over_sockets
def test_i3_one_listener_at_a_place(scheme):
    """A second one is refused, here and elsewhere, and the first one goes on."""
    where = address(scheme)
    with interlace.listen(where, key=key()) as listener:
        with raises(OSError, where, "another listener has", "already"):
            interlace.listen(where, key=key())
        client = Thread(interlace.open, where, key=key(), timeout=30)
        listener.accept(30).close()
        client.result().close()
        equal(left_at(where), file_of(where))


@over_sockets
def test_s1_select_takes_a_listener(scheme):
    """Beside channels and timers; and whatever else has a descriptor."""
    where = address(scheme)
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


@over_sockets
def test_c6_a_peer_that_is_killed_in_mid_message(scheme):
    """What it had sent whole is there, the rest is Truncated, and sending is BrokenChannel: at once, for all who wait."""
    where = address(scheme)
    script = """
        sender, receiver = interlace.open(ARGS[0], key=KEY, timeout=30)
        sender.send("before")
        print("sent", flush=True)
        sender.send(bytes(64 << 20))
    """
    with interlace.listen(where, key=key()) as listener, other(script, where) as there:
        sender, receiver = listener.accept(30)
        there.printed("sent")
        filling = Thread(sender.send, bytes(64 << 20)).asleep()
        there.send_signal(signal.SIGKILL, whole_session=True)
        there.process.wait()
        begun = time.monotonic()
        with raises(interlace.BrokenChannel):
            filling.result()
        equal(receiver.recv(30), "before")
        for timeout in (30, 0):
            with raises(interlace.Truncated, where, "cut off"):
                receiver.recv(timeout)
        with raises((interlace.BrokenChannel, interlace.Truncated)):
            for _ in range(2):  # the one that was given up has torn the stream, or had not begun
                sender.send("to nobody")
        assert time.monotonic() - begun < 2


@over_sockets
def test_c6_an_end_in_due_form(scheme):
    """In a full channel, and for those who wait: EndOfChannel after all that was sent; BrokenChannel when nobody reads."""
    where = address(scheme)
    script = """
        with interlace.open(ARGS[0], key=KEY, timeout=30) as (sender, receiver):
            receiver.close()
            sent = 0
            try:
                while True:
                    sender.send(b"x" * 1000, timeout=0)
                    sent += 1
            except TimeoutError:
                print(sent, flush=True)
    """
    with interlace.listen(where, key=key()) as listener, other(script, where) as there:
        sender, receiver = listener.accept(30)
        there.printed("\n")  # it is full, and about to close
        sent = len(list(receiver))
        there.end().expect(0, f"{sent}\n")
        assert sent > 30
        with raises(interlace.EndOfChannel):
            receiver.recv()
        with raises(interlace.BrokenChannel):
            sender.send(1)


@over_sockets
def test_s1_descriptors_of_a_connection(scheme):
    """fileno() of a receiver polls readable while there is something, for event loops; a coroutine receives."""
    listener, client, server = talk(address(scheme))
    for number in range(3):
        equal(select.select([server.receiver], [], [], 0), ([], [], []))
        client.sender.send(number)
        equal(select.select([server.receiver], [], [], 30)[0], [server.receiver])
        equal(server.receiver.recv(0), number)

    async def main():
        sending = asyncio.create_task(asyncio.to_thread(send))
        got = [obj async for obj in server.receiver]
        await sending
        return got

    def send():
        with client.sender as sender:
            sender.send_many(range(3000))

    equal(asyncio.run(main()), list(range(3000)))
    timer = interlace.after(30)
    case, _ = interlace.select((server.sender, "chosen"), timer)
    equal(case, (server.sender, "chosen"))
    equal(interlace.select(client.receiver, timer), (client.receiver, "chosen"))
    client.close()
    server.close()
    listener.close()


@over_sockets
def test_c8_what_goes_through_a_connection(scheme):
    """Large objects both ways at once, a moved Buffer, many small ones: as they were, in order."""
    listener, client, server = talk(address(scheme))
    large = bytes(range(256)) * 40_000
    objects = [large, "x" * 300_000, [list(range(50_000))], None, *range(500), bytearray(large)]
    sending = [Thread(end.send_many, objects) for end in (client.sender, server.sender)]
    for receiver in (client.receiver, server.receiver):
        for obj in objects:
            equal(receiver.recv(30), obj)
    for one in sending:
        equal(one.result(), len(objects))
    client.sender.send(interlace.Buffer(100_000))
    equal(bytes(memoryview(server.receiver.recv(30))), bytes(100_000))
    for end in (*client, *server, listener):
        end.close()
