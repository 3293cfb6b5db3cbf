"""I3 at endpoints: whoever has not got the key, or is somebody else, is refused by name, and nothing is unpickled."""

import contextlib
import os
import pickle
import random
import socket
import struct
import time

import interlace
from endpoints import SOCKETS, address, key, left_at, new_key, other, over_sockets, path_of
from support import Skip, Thread, equal, raises, wait_until

SEED = int(os.environ.get("LACE_SEED", "0")) or random.SystemRandom().randrange(1 << 30)


class Trap:
    """What unpickling must never come to."""

    sprung = []

    def __reduce__(self):
        return Trap.sprung.append, ("sprung",)


PICKLE = pickle.dumps(Trap(), 5)
CHUNK = struct.pack("<I", 0x314B484C)  # "LHK1": how a frame without a seal begins


def connected(where):
    """A plain socket to it."""
    plain = socket.socket(socket.AF_UNIX)
    plain.connect(path_of(where))
    return plain


@over_sockets
def test_i3_garbage_at_a_socket(scheme):
    """Each is named, by accept(); by recv() on stderr; and then the listener serves the next client."""
    where = address(scheme)
    with interlace.listen(where, key=key()) as listener:
        for garbage, reason in (
            (b"GET / HTTP/1.1\r\n\r\n", "forged"),
            (PICKLE * 10, "forged"),
            (CHUNK + PICKLE * 10, "unsealed"),
            (os.urandom(64), "forged"),
            (b"LHG1half a greeting", "truncated"),
            (b"LHG1" + os.urandom(60), "forged"),
        ):
            with connected(where) as plain:
                plain.sendall(garbage)
                if reason == "truncated":
                    plain.shutdown(socket.SHUT_WR)
                with raises(interlace.SealError, where) as caught:
                    listener.accept(30)
                equal(caught.error.reason, reason)
        connected(where).close()  # who says nothing and leaves is nobody
        opening = Thread(interlace.open, where, key=key(), timeout=30)
        with listener.accept(30) as (sender, _), opening.result() as client:
            sender.send("well")
            equal(client.receiver.recv(30), "well")
    equal(Trap.sprung, [])


@over_sockets
def test_i3_another_key(scheme):
    """Both sides are told, with both fingerprints."""
    where = address(scheme)
    theirs = new_key()
    with interlace.listen(where, key=key()) as listener:
        opening = Thread(interlace.open, where, key=theirs, timeout=30)
        for call in (lambda: listener.accept(30), opening.result):
            with raises(interlace.SealError, "different keys") as caught:
                call()
            equal(caught.error.reason, "wrong key")
        opening = Thread(interlace.open, where, key=key(), label="something else", timeout=30)
        with raises(interlace.SealError, "another label"):
            listener.accept(30)
        with raises(interlace.SealError):
            opening.result()


def test_i3_another_key_at_a_fifo():
    """The receiver is told."""
    where = address("pipe")
    with interlace.open(where, "r", key=key()) as receiver, interlace.open(where, "w", key=new_key()) as sender:
        sender.send("hello")
        with raises(interlace.SealError, where, "key") as caught:
            receiver.recv(30)
        equal(caught.error.reason, "wrong key")


@over_sockets
def test_i3_who_says_nothing_holds_up_nobody(scheme):
    """Silent connections, more than are kept, and half a greeting: the one that greets is served at once."""
    where = address(scheme)
    with interlace.listen(where, key=key()) as listener, contextlib.ExitStack() as silent:
        for i in range(100):
            plain = silent.enter_context(connected(where))
            if i % 3 == 0:
                plain.sendall(b"LHG1" + bytes(i % 60))
        with raises(TimeoutError):
            listener.accept(0)
        opening = Thread(interlace.open, where, key=key(), timeout=30)
        begun = time.monotonic()
        listener.accept(30).close()
        opening.result().close()
        assert time.monotonic() - begun < 5


@over_sockets
def test_i3_a_server_with_bad_clients(scheme):
    """recv() names on stderr whom it refuses or loses, and goes on with the others."""
    where = address(scheme)
    script = """
        with interlace.listen(ARGS[0], key=KEY) as listener:
            for client, message in listener:
                client.send(message)
                if message == "stop":
                    break
    """
    with other(script, where) as there:
        good = interlace.open(where, key=key(), timeout=30)
        good.sender.send(1)
        equal(good.receiver.recv(30), 1)
        with connected(where) as plain:
            plain.sendall(b"garbage garbage")
            there.printed("refused a client")
        with raises(interlace.SealError):
            interlace.open(where, key=new_key(), timeout=30)
        there.printed("different keys")
        dying = "c = interlace.open(ARGS[0], key=KEY)\nc[0].send(2)\nprint(c[1].recv(), flush=True)\nc[1].recv()"
        with other(dying, where) as bad:
            bad.printed("2")
            bad.send_signal(9, whole_session=True)
            bad.process.wait()
        there.printed("lost a client")
        good.sender.send("stop")
        equal(good.receiver.recv(30), "stop")
        ended = there.end()
        ended.expect(0, "", ("refused a client", "lost a client", "cut off"))
        equal(ended.err.count("\n"), 3)


def test_i3_garbage_in_a_fifo():
    """Random bytes, a frame without a seal, a pickle: named, and nothing unpickled; seeded."""
    random_bytes = random.Random(SEED)
    for garbage in (CHUNK + PICKLE, PICKLE * 50, *(random_bytes.randbytes(random_bytes.randrange(1, 5000)) for _ in range(20))):
        where = address("pipe")
        with interlace.open(where, "r", key=key()) as receiver:
            with open(path_of(where), "wb", buffering=0) as plain:
                plain.write(garbage)
            for _ in range(2):
                with raises(interlace.SealError) as caught:
                    receiver.recv(30)
                assert caught.error.reason in ("forged", "unsealed", "truncated"), (SEED, caught.error.reason)
    equal(Trap.sprung, [])


def bind(path):
    """Leave a socket there that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)


def test_i3_files_that_are_not_ours_alone():
    """Links, other files, modes that let others in; sockets and FIFOs, both sides."""
    os.makedirs(os.path.dirname(path_of(address("memory"))), 0o700, exist_ok=True)
    for scheme, make in (("pipe", os.mkfifo), ("unix", bind), ("memory", bind)):
        calls = [
            lambda where: interlace.open(where, "w", key=key(), timeout=10),
            lambda where: interlace.open(where, "r", key=key()),
        ]
        if scheme in SOCKETS:
            calls = [
                lambda where: interlace.open(where, key=key(), timeout=10),
                lambda where: interlace.listen(where, key=key()),
            ]
        for call in calls:
            where = address(scheme)
            path = path_of(where)
            make(path)
            os.chmod(path, 0o660)
            with raises(PermissionError, path, "0660", "chmod 600"):
                call(where)
            os.chmod(path, 0o600)
            link = address(scheme)
            os.symlink(path, path_of(link))
            with raises(FileExistsError, "symbolic link"):
                call(link)
            os.unlink(path)
            with open(path, "w") as file:
                file.write("precious")
            with raises(FileExistsError, path, "is there already, and is no"):
                call(where)
            with open(path) as file:
                equal(file.read(), "precious")


def test_i3_other_users():
    """Another user's FIFO or socket is refused, and another user's process, though it has the key and may connect."""
    if os.geteuid() != 0:
        raise Skip("only root can be another user")
    where = address("pipe")
    os.mkfifo(path_of(where), 0o600)
    os.chown(path_of(where), 65534, -1)
    for mode in "rw":
        with raises(PermissionError, "belongs to another user (uid 65534)"):
            interlace.open(where, mode, key=key(), timeout=10)
    for scheme in SOCKETS:
        refuse_another_user(address(scheme))


def refuse_another_user(where):
    folder = os.path.dirname(path_of(where))
    with interlace.listen(where, key=key()) as listener:
        script = """
            import os, socket
            plain = socket.socket(socket.AF_UNIX)
            os.setresuid(65534, 65534, 0)
            try:
                plain.connect(ARGS[0])
            except PermissionError:
                print("refused by the file", flush=True)
            else:
                print("connected", flush=True)
                plain.recv(1)
        """
        with other(script, path_of(where)) as there:
            there.end().expect(0, "refused by the file\n")
        modes = {}
        os.chmod(path_of(where), 0o666)
        while folder != "/":
            modes[folder] = os.stat(folder).st_mode
            os.chmod(folder, modes[folder] | 0o011)
            folder = os.path.dirname(folder)
        with other(script, path_of(where)) as there:
            there.printed("connected")
            with raises(PermissionError, "another user's (uid 65534)"):
                listener.accept(30)
            there.end().expect(0, "connected\n")
        for folder, mode in modes.items():
            os.chmod(folder, mode)


def test_i3_the_key_file():
    """One that others can read, and one that is none."""
    where = address("pipe")
    mine = new_key()
    os.chmod(mine, 0o640)
    with raises(PermissionError, "others may read or write the key file", mine):
        interlace.open(where, "r", key=mine)
    with open(mine, "w") as file:
        file.write("secret")
    os.chmod(mine, 0o600)
    with raises(ValueError, "holds no key", mine):
        interlace.open(where, "r", key=mine)
    assert not os.path.exists(path_of(where))


def test_whatever_the_umask():
    """The file has the mode 0600 from the first moment on, with the tightest and the loosest umask; no other is left."""
    for umask in ("0o777", "0"):
        script = f"""
            import os
            os.umask({umask})
            receiver = interlace.open(ARGS[0], "r", key=KEY)
            listener = interlace.listen(ARGS[1], key=KEY)
            print(*(oct(os.stat(where.partition(":")[2]).st_mode & 0o7777) for where in ARGS), flush=True)
            print(*(name for where in ARGS for name in os.listdir(os.path.dirname(where.partition(":")[2]))))
        """
        with other(script, address("pipe"), address("unix")) as there:
            there.end().expect(0, "0o600 0o600\nhere here\n")
        script = f"""
            import os
            os.umask({umask})
            os.environ["XDG_RUNTIME_DIR"] = ARGS[1]
            listener = interlace.listen(ARGS[0], key=KEY)
            for path in (ARGS[1] + "/interlace", ARGS[1] + "/interlace/here"):
                print(oct(os.stat(path).st_mode & 0o7777))
            print(os.listdir(ARGS[1]), os.listdir(ARGS[1] + "/interlace"))
        """
        with other(script, "memory:here", os.path.dirname(path_of(address("unix")))) as there:
            there.end().expect(0, "0o700\n0o600\n['interlace'] ['here']\n")


@over_sockets
def test_many_listeners_at_once_for_a_stale_socket(scheme):
    """Exactly one of them gets it."""
    where = address(scheme)
    for _ in range(20):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path_of(where))
        os.makedirs(os.path.dirname(path_of(where)), 0o700, exist_ok=True)
        bind(path_of(where))
        os.chmod(path_of(where), 0o600)
        tries = [Thread(interlace.listen, where, key=key()) for _ in range(4)]
        made = []
        for one in tries:
            with contextlib.suppress(OSError):
                made.append(one.result())
        equal(len(made), 1)
        opening = Thread(interlace.open, where, key=key(), timeout=30)
        made[0].accept(30).close()
        opening.result().close()
        made[0].close()
        equal(left_at(where), [])
    wait_until(lambda: not os.path.exists(path_of(where)), "the file to be gone")


def test_i3_memory_that_the_other_side_writes_over():
    """A client that has the key puts pickles and garbage where its records lie: named each time, and nothing unpickled."""
    where = address("memory")
    script = """
        import ctypes, random, re
        chance = random.Random(int(ARGS[1]))
        listener = interlace.open(ARGS[0], key=KEY)
        maps = [(int(low, 16), int(high, 16)) for line in open("/proc/self/maps") if "memfd:interlace" in line
                for low, high in [re.match("([0-9a-f]+)-([0-9a-f]+) rw-s", line).groups()]]
        mine = [(low, high) for low, high in maps if high - low <= 2 * (4096 + (256 << 10))]
        assert mine, maps
        pickled = bytes.fromhex(ARGS[2])
        print("attached", flush=True)
        listener.receiver.recv()
        what = chance.randrange(3)
        for low, high in mine:
            for at in range(low + 4096, high - 4096, 4096):
                ctypes.memmove(at, pickled, len(pickled))
        if what:  # the words as well
            for low, high in mine:
                noise = chance.randbytes(4096 if what == 1 else high - low)
                ctypes.memmove(low, noise, len(noise))
        try:
            listener.sender.send(1, timeout=0)
            listener.sender.send(b"x" * 10000, timeout=0)
        except Exception:
            pass
        for low, high in mine:  # where its own frames lie now
            for at in range(low + 4096, low + 8192, 512):
                ctypes.memmove(at, pickled, len(pickled))
        print("written", flush=True)
        interlace.channel(0)[1].recv()
    """
    for round in range(6):
        with (
            interlace.listen(where, key=key()) as listener,
            other(script, where, str(SEED + round), PICKLE.hex()) as there,
            listener.accept(30) as (sender, receiver),
        ):
            there.printed("attached")
            sender.send("go")
            there.printed("written")
            for _ in range(2):
                with raises(interlace.SealError, where) as caught:
                    for _ in range(3):  # what it had sent before that is what it is
                        equal(receiver.recv(0.5), 1)
            assert caught.error.reason != "truncated", (SEED, round, caught.error)
            there.send_signal(9, whole_session=True)
    equal(Trap.sprung, [])
