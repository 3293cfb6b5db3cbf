"""Endpoints with names: FIFOs between two hosts, and what is wrong input (C4, C6, C8, I3)."""

import asyncio
import os
import signal
import stat

import interlace
from endpoints import address, key, other, path_of
from support import Thread, equal, raises, run, start, wait_until

PLAIN = [None, True, 2**70, 1.5, "text", b"bytes", ("tuple",), ["list"], {"a": {1}}]


def fifo(**options):
    """Both ends of a FIFO, in this process."""
    where = address("pipe")
    receiver = interlace.open(where, "r", key=key(), **options)
    return interlace.open(where, "w", key=key(), **options), receiver


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


def a_listener():
    return interlace.listen(address("unix"), key=key())


def test_bad_input():
    """One clear message each, of a built-in type."""
    path = address("unix", "s").partition(":")[2]
    for kind, words, call in (
        (ValueError, ("is no address", "pipe:/path", "unix:/path", "memory:NAME"), lambda: interlace.open("tcp:host:1")),
        (ValueError, ("is no address",), lambda: interlace.open(path)),
        (TypeError, ("an address is a str", "not int"), lambda: interlace.open(5)),
        (ValueError, ("names no file",), lambda: interlace.open("pipe:", "r", key=key())),
        (ValueError, ("the mode 'r' to receive or 'w' to send, not None",), lambda: interlace.open("pipe:/x")),
        (ValueError, ("a connection goes both ways", "listen()"), lambda: interlace.open("unix:/x", "r")),
        (ValueError, ("a connection goes both ways", "memory:"), lambda: interlace.open("memory:x", "w")),
        (ValueError, ("memory:a/b", "1 to 64 letters"), lambda: interlace.open("memory:a/b", key=key())),
        (ValueError, ("memory:.x", "1 to 64 letters"), lambda: interlace.listen("memory:.x", key=key())),
        (ValueError, ("listen() takes a socket", "memory:NAME"), lambda: interlace.listen("pipe:/x")),
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
