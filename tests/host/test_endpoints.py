"""Endpoints with names: interlace.open() and listen(), between two hosts (C4, C6, C8, I3)."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import stat
import time

import interlace
from endpoints import address, key, other, path_of
from support import Started, Thread, asleep, equal, raises, run, start, wait_until, write

PLAIN = [None, True, 2**70, 1.5, "text", b"bytes", ("tuple",), ["list"], {"a": {1}}]


def fifo(**options):
    """Both ends of a FIFO, in this process."""
    where = address("pipe")
    receiver = interlace.open(where, "r", key=key(), **options)
    return interlace.open(where, "w", key=key(), **options), receiver


def talk(where):
    """Both sides of a socket: the listener, and the Connections of the client and of the server."""
    listener = interlace.listen(where, key=key())
    client = Thread(interlace.open, where, key=key(), timeout=30)
    server = listener.accept(30)
    return listener, client.result(), server


# ---- FIFOs -------------------------------------------------------------------------------------------------------


def test_i3_a_fifo_between_two_hosts():
    """Whoever comes first makes the FIFO; objects keep their types; the end is an end. The other way round, too."""
    for mode, ours in (("w", "r"), ("r", "w")):
        where = address("pipe")
        script = {
            "w": """
                with interlace.open(ARGS[0], "w", key=KEY) as sender:
                    sender.send_many([None, True, 2**70, 1.5, "text", b"bytes", ("tuple",), ["list"], {"a": {1}}])
            """,
            "r": """
                with interlace.open(ARGS[0], "r", key=KEY) as receiver:
                    print(list(receiver))
            """,
        }[mode]
        with other(script, where) as there:
            with interlace.open(where, ours, key=key(), timeout=30) as end:
                if ours == "r":
                    equal([end.recv(30) for _ in PLAIN], PLAIN)
                    with raises(interlace.EndOfChannel):
                        end.recv(30)
                else:
                    equal(end.send_many(PLAIN, 30), len(PLAIN))
            there.end().expect(0, "" if ours == "r" else f"{PLAIN}\n")
        equal(stat.S_IMODE(os.stat(path_of(where)).st_mode), 0o600)


def test_c8_what_goes_through_a_pipe():
    """Large and small, buffers inside the pickle; a Buffer moves; ends stay here, and the channel goes on."""
    sender, receiver = fifo()
    large = bytes(range(256)) * 4000
    buffer = interlace.Buffer(100_000)
    with memoryview(buffer) as view:
        view[-3:] = b"end"
    sent = [large, bytearray(large), "x" * 200_000, list(range(50_000)), range(3)]

    def send():
        sender.send_many(sent)
        sender.send(memoryview(large))
        sender.send(buffer)

    sending = Thread(send)
    for obj in sent:
        equal(receiver.recv(30), obj)
    equal(bytes(receiver.recv(30)), large)
    came = receiver.recv(30)
    sending.result()
    equal(type(came), interlace.Buffer)
    equal(bytes(memoryview(came)[-4:]), b"\0end")
    with raises(ValueError):
        memoryview(buffer)
    memory = interlace.channel(1)
    for obj in (memory[0], [memory[1]], sender):
        with raises(TypeError, "cannot go through a pipe or socket"):
            sender.send(obj)
        with raises(TypeError, "cannot go through a pipe or socket"):
            interlace.select((sender, obj))
    with raises(TypeError, "Group.start()"):
        memory[0].send(receiver)
    interlace.select((sender, "still there"), timeout=30)
    equal(interlace.select(receiver, timeout=30), (receiver, "still there"))


def test_c4_opening_a_fifo_waits_for_its_receiver():
    """With a timeout, 0 included; a receiver that comes later is seen at once; a FIFO that is taken away is made anew."""
    where = address("pipe")
    for timeout in (0, 0.05):
        with raises(TimeoutError, where, "before the other side was there"):
            interlace.open(where, "w", key=key(), timeout=timeout)
    opening = Thread(interlace.open, where, "w", key=key(), timeout=30).asleep()
    os.unlink(path_of(where))
    wait_until(lambda: os.path.exists(path_of(where)), "the FIFO to be made again")
    with interlace.open(where, "r", key=key()) as receiver, opening.result() as sender:
        sender.send("hello")
        equal(receiver.recv(30), "hello")
        with raises(TimeoutError):
            receiver.recv(0)


def test_c2_several_senders_and_one_receiver():
    """Each message once, in each sender's order; a second receiver is refused while there is one."""
    where = address("pipe")
    with interlace.open(where, "r", key=key()) as receiver:
        with raises(OSError, "has a receiver already"):
            interlace.open(where, "r", key=key())
        script = """
            with interlace.open(ARGS[0], "w", key=KEY) as sender:
                sender.send_many([(ARGS[1], i) for i in range(500)])
        """
        held = interlace.open(where, "w", key=key())  # or the end of one might come before the other begins
        with other(script, where, "a") as a, other(script, where, "b") as b:
            came = [receiver.recv(30) for _ in range(1000)]
            a.end().expect()
            b.end().expect()
        held.close()
        for name in "ab":
            equal([i for who, i in came if who == name], list(range(500)))
        with raises(interlace.EndOfChannel):
            receiver.recv(30)
    interlace.open(where, "r", key=key()).close()


def test_c6_an_end_and_a_cut_are_two_things():
    """A sender that is killed leaves Truncated behind, not EndOfChannel; what it had sent before is there."""
    where = address("pipe")
    receiver = interlace.open(where, "r", key=key())
    script = """
        sender = interlace.open(ARGS[0], "w", key=KEY)
        sender.send("before")
        print("sent", flush=True)
        interlace.channel(0)[1].recv()
    """
    with other(script, where) as there:
        equal(receiver.recv(30), "before")
        there.printed("sent")
        there.send_signal(signal.SIGKILL, whole_session=True)
        for _ in range(2):
            with raises(interlace.Truncated, where, "cut off") as caught:
                receiver.recv(30)
            equal(caught.error.reason, "truncated")
            equal(caught.error.channel, where)
    assert issubclass(interlace.Truncated, interlace.SealError)
    assert issubclass(interlace.SealError, ConnectionError)
    assert not issubclass(interlace.Truncated, EOFError)


def test_c6_a_worker_that_ends_closes_in_due_form():
    """Its sender in a global, in a full pipe, never closed: nothing is lost, and the end is EndOfChannel."""
    where = address("pipe")
    receiver = interlace.open(where, "r", key=key())
    script = """
        sender = interlace.open(ARGS[0], "w", key=KEY)
        try:
            while True:
                sender.send("x" * 100, timeout=0)
        except TimeoutError as error:
            print("full")
    """
    with other(script, where) as there:
        there.printed("full")
        there.end().expect()
    assert len(list(receiver)) > 100


def test_i3_ends_of_pipes_as_arguments():
    """Group.start() hands them to a worker, which closes them; descriptors and names are there as with any end."""
    sender, receiver = fifo(name="numbers")
    equal((sender.name, receiver.name), ("numbers", "numbers"))
    with interlace.Group() as group:
        worker = group.start(take, receiver)
        sender.send_many([1, 2, 3])
        sender.close()
        equal(worker.result(30), 6)
    equal(sender.closed, True)
    with raises(ValueError, "closed"):
        sender.send(4)


def take(receiver):
    with receiver:
        return sum(receiver)


# ---- sockets -----------------------------------------------------------------------------------------------------


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


def test_c3_closing_wakes_whoever_accepts():
    """In whatever call; and the waits of a cancelled group end."""
    for call in ("accept", "recv"):
        listener = interlace.listen(address("unix"), key=key())
        waiting = Thread(getattr(listener, call)).asleep()
        listener.close()
        with raises(ValueError, "this listener is closed"):
            waiting.result()


def wait_to_open(where, mode, path):
    interlace.open(where, mode, key=path)


def wait_to_accept(where, path):
    interlace.listen(where, key=path).accept()


def test_w3_a_cancelled_group_ends_every_wait():
    """Opening a FIFO, connecting, accepting."""
    with interlace.Group() as group:
        workers = [
            group.start(wait_to_open, address("pipe"), "w", key()),
            group.start(wait_to_open, address("unix"), None, key()),
            group.start(wait_to_accept, address("unix"), key()),
        ]
        with raises(TimeoutError):
            workers[0].result(0.2)
        begun = time.monotonic()
        group.cancel()
    assert time.monotonic() - begun < 4, "that was the grace period's doing"
    for worker in workers:
        equal(type(worker.exception()), interlace.Cancelled)


def test_w4_ctrl_c_ends_every_wait():
    """In a host of its own."""
    for what in ("open(ARGS[0], 'w', key=KEY)", "listen(ARGS[0], key=KEY).accept()", "listen(ARGS[0], key=KEY).recv()"):
        where = address("pipe" if "open" in what else "unix")
        with other(f"print('here', flush=True)\ninterlace.{what}", where) as there:
            there.printed("here")
            there.send_signal(signal.SIGINT)
            equal(there.end().code, 130)
        assert "open" in what or not os.path.exists(path_of(where)), "the socket's file is left"


def test_c3_waiting_costs_nothing():
    """A receiver, a listener and a connecting client that wait do not poll."""
    where = address("unix")
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
    with other(script, where, address("pipe"), address("unix")) as there:
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


def test_w3_a_coroutine_receives():
    """From a sealed FIFO; it ends as any channel does. A coroutine cannot send into one, and is told so."""
    sender, receiver = fifo()

    async def main():
        sending = asyncio.create_task(asyncio.to_thread(send))
        got = [obj async for obj in receiver]
        await sending
        return got

    def send():
        with sender:
            sender.send_many(range(5000))

    equal(asyncio.run(main()), list(range(5000)))
    sender, receiver = fifo()
    with raises(TypeError, "no such call"):
        asyncio.run(asyncio.wait_for(sender.send_async(1), 30))


def test_w7_another_host_may_end_the_wait():
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
        pipe, where = address("pipe"), address("unix")
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


def a_listener():
    return interlace.listen(address("unix"), key=key())


def test_bad_input():
    """One clear message each, of a built-in type."""
    path = address("unix", "s").partition(":")[2]
    for kind, words, call in (
        (ValueError, ("is no address", "pipe:/path", "unix:/path"), lambda: interlace.open("tcp:host:1")),
        (ValueError, ("is no address",), lambda: interlace.open(path)),
        (TypeError, ("an address is a str", "not int"), lambda: interlace.open(5)),
        (ValueError, ("names no file",), lambda: interlace.open("pipe:", "r", key=key())),
        (ValueError, ("the mode 'r' to receive or 'w' to send, not None",), lambda: interlace.open("pipe:/x")),
        (ValueError, ("a socket goes both ways", "listen()"), lambda: interlace.open("unix:/x", "r")),
        (ValueError, ("listen() takes a socket",), lambda: interlace.listen("pipe:/x")),
        (ValueError, ("too long for a socket",), lambda: interlace.listen("unix:/" + "x" * 200, key=key())),
        (TypeError, ("label must be a str",), lambda: interlace.open("pipe:/x", "r", label=None)),
        (TypeError, ("name must be a str or None",), lambda: interlace.open("pipe:/x", "r", name=5)),
        (ValueError, ("timeout must be None or a number",), lambda: interlace.open("unix:/x", timeout=-1, key=key())),
        (TypeError, ("timeout must be None or a number",), lambda: a_listener().accept("1")),
        (ValueError, ("timeout must be None or a number",), lambda: a_listener().recv(-1)),
        (TypeError, ("timeout must be None or a number",), lambda: a_listener().recv("1")),
        (FileNotFoundError, ("No such file", "/nowhere/x"), lambda: interlace.open("pipe:/nowhere/x", "r", key=key())),
        (FileNotFoundError, ("No such file", "/nowhere/x"), lambda: interlace.open("unix:/nowhere/x", key=key())),
        (FileNotFoundError, ("no key in", f"interlace key new {path}`"), lambda: interlace.open("unix:/x", key=path)),
    ):
        with raises(kind, *words):
            call()
    ended = run("import interlace\ninterlace.open('pipe:/tmp/x', 'r')", env={**os.environ, "HOME": path, "XDG_CONFIG_HOME": ""})
    ended.expect(1, "", ("FileNotFoundError", f"no key in '{path}/.config/interlace/key'", "`interlace key new`"))


def test_the_key_of_the_user():
    """Without key=, both hosts use what `interlace key new` has made."""
    home = os.path.dirname(address("unix").partition(":")[2])
    env = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": ""}
    os.makedirs(f"{home}/.config/interlace", 0o700)
    os.link(key(), f"{home}/.config/interlace/key")
    where = address("pipe")
    with (
        start("import interlace, sys\nprint(list(interlace.open(sys.argv[1], 'r')))", where, env=env) as there,
        interlace.open(where, "w", key=key(), timeout=30) as sender,
    ):
        sender.send(1)
        sender.close()
        there.end().expect(0, "[1]\n")
