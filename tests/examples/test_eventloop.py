"""examples/eventloop: thousands of requests, all answered right; the loop never waits; it ends as it should."""

import contextlib
import re
import signal
import socket
import struct
import time
from pathlib import Path

import readme
from program import Copy, as_installed, program
from support import BINARY, DEADLINE, Started, Thread, asleep, command, equal, folder, write

CALCULATE = str(readme.EXAMPLES / "eventloop" / "calculate.py")
ASK = str(readme.EXAMPLES / "eventloop" / "ask.py")
LINE = re.compile(r"(\d+) connections, (\d+) requests, (\d+) of them waited for room\n")

# A worker's script that answers with what it was asked; to "wait" only when there is a certain file.
SLOW = """
    import os
    import sys

    import interlace

    for ticket, line in interlace.input:
        if line == b"die":
            raise SystemError("as it was told")
        while line == b"wait" and not os.path.exists(os.environ["FLAG"]):
            interlace.select(interlace.after(0.01))
        interlace.output.send((ticket, line.decode()))
"""


class Server(Started):
    """A running server."""

    def __init__(self, script=CALCULATE, workers=2, words=(program("eventloop"),), cwd=None):
        self.flag = folder() / "flag"
        super().__init__([*words, script, "0", str(workers)], env=as_installed(FLAG=str(self.flag)), cwd=cwd)
        self.printed("listening on 127.0.0.1:")
        self.port = int(re.search(r"127\.0\.0\.1:(\d+), \d+ workers\n", self.out)[1])

    def client(self):
        return Client(self.port)

    def ask(self, *lines):
        with self.client() as client:
            return client.ask(*lines)

    def stop(self, code=0, err="", number=signal.SIGTERM):
        """End it by a signal; return (connections, requests, those that waited for room)."""
        self.send_signal(number)
        ended = self.end().expect(code, None, err)
        return tuple(map(int, LINE.search(ended.out).groups()))


class Client:
    """A connection to a server."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, *lines):
        self.socket.sendall(b"".join(line + b"\n" for line in lines))
        return self

    def read(self):
        """The next answer; b"" at the end."""
        return self.file.readline().removesuffix(b"\n")

    def ask(self, *lines):
        self.send(*lines)
        return [self.read() for _ in lines]

    def at_end(self):
        with contextlib.suppress(ConnectionResetError):
            return self.file.read(1) == b""
        return True


def test_answers():
    """Each line is answered, exactly, in the order of the lines, whatever is in it."""
    asked = {
        b"1/3 + 1/6": b"1/2",
        b"0.1 + 0.2\r": b"3/10",
        b" -(2 ** 64) % 1000 ": b"384",
        b"2 ** -2": b"1/4",
        b"1 / (1 - 1)": b"error: division by zero",
        b"9 ** 9 ** 9": b"error: that number has too many digits",
        b"2 ** (1/2)": b"error: an exponent has to be a whole number",
        b"__import__('os')": b"error: numbers, + - * / % ** and parentheses are what there is",
        b"1 +": b"error: invalid syntax",
        b"": b"error: invalid syntax",
        b"\xff\xfe": b"error: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        b"1" * 1001: b"error: the line is too long",
        b"1" * 100_000: b"error: the line is too long",
        b"0" * 999 + b"7": b"error: leading zeros in decimal integer literals are not permitted; "
        b"use an 0o prefix for octal integers",
        b"(" * 990 + b"1": b"error: too many nested parentheses",
        b"6 * 7": b"42",
    }
    with Server() as server:
        for line, answer in asked.items():
            equal(server.ask(line), [answer])
        equal(server.ask(*asked), list(asked.values()))  # all at once
        count = len(asked) - 2  # the two long ones are no requests
        equal(server.stop()[:2], (len(asked) + 1, 2 * count))


def test_load():
    """10,000 requests over 200 connections: all answered right, within a bounded time, most had to wait for room."""
    with Server() as server:
        ended = command(BINARY, "run", ASK, str(server.port), limit=80).expect(0, ("10000 requests", " 0 wrong answers"))
        print(ended.out.strip())
        connections, requests, waited = server.stop()
        equal((connections, requests), (200, 10_000))
        assert waited > 1000, waited


def test_idle():
    """With connections open and nothing to do, all of its threads sleep and stay asleep."""
    with Server(workers=3) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(20)]
        for client in clients:
            equal(client.ask(b"1+1"), [b"2"])
        asleep(*server.threads(), pid=server.pid)
        for client in clients:
            equal(client.ask(b"1+2"), [b"3"])
        server.stop()


def test_busy_workers():
    """While no worker has time the loop goes on: it takes connections and requests, and what needs no worker is done."""
    with Server(write(SLOW), workers=2) as server, contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(server.client()).send(b"wait", b"next") for _ in range(100)]
        long = stack.enter_context(server.client())
        equal(long.ask(b"x" * 2000), [b"error: the line is too long"])
        asleep(server.pid, pid=server.pid)  # room is watched for and there is none: that keeps nobody busy
        server.flag.touch()
        for client in waiting:
            equal([client.read(), client.read()], [b"wait", b"next"])
        connections, requests, waited = server.stop()
        equal((connections, requests), (101, 200))
        assert waited >= 100 - 2 - 4, waited  # two are being answered, four lie in the channel


def test_back_pressure():
    """Who sends and does not read is held up by TCP, not kept in memory; what is sent later is answered, in order."""
    with Server(write(SLOW), workers=1) as server, server.client() as client:
        def resident():
            return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())[1])

        equal(client.ask(b"first"), [b"first"])
        before = resident()
        client.send(b"wait")
        line = b"%0999d\n"
        sent = b""
        number = 0
        client.socket.setblocking(False)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.5:  # as much as the two sockets hold, which is the kernel's business
            if not sent:
                sent = line % number
                number += 1
            try:
                sent = sent[client.socket.send(sent) :]
                quiet_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
            assert number < 100_000, "a hundred megabytes were taken"
        assert resident() - before < 4096, f"{resident() - before} KiB for one connection"
        client.socket.settimeout(DEADLINE)
        server.flag.touch()
        rest = Thread(client.socket.sendall, sent)
        equal(client.read(), b"wait")
        for i in range(number):
            equal(client.read(), line[:-1] % i)
        rest.result()
        server.stop()


def test_clients_that_leave():
    """Before their answer, in the middle of a line, with a reset: nobody else notices."""
    with Server(write(SLOW), workers=1) as server:
        for reset in False, True:
            for lines in (b"wait\n", b"half a line", b"", b"one\ntwo\nthree\n"):
                for _ in range(10):
                    with server.client() as client:
                        client.socket.sendall(lines)
                        if reset:
                            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with server.client() as client:
            client.send(b"still there")
            server.flag.touch()
            equal(client.read(), b"still there")
            client.socket.shutdown(socket.SHUT_WR)
            assert client.at_end()
        server.stop()


def test_few_descriptors():
    """When the process may open no more, connections wait until others have gone."""
    words = ["sh", "-c", 'ulimit -n 60 && exec "$0" "$@"', program("eventloop")]
    with Server(workers=1, words=words) as server, contextlib.ExitStack() as stack:
        equal(server.ask(b"1"), [b"1"])  # the worker has opened what it needs to open
        clients = [stack.enter_context(server.client()) for _ in range(100)]
        server.printed("Too many open files")
        for client in clients:
            equal(client.ask(b"3 * 3"), [b"9"])
            client.close()
        connections, requests, _ = server.stop(err=("Too many open files",))
        equal((connections, requests), (101, 101))


def test_more_connections_than_it_takes():
    """A thousand at once; the kernel keeps some more waiting until one goes."""
    with Server() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(1010)]
        for client in clients:
            equal(client.ask(b"3 * 3"), [b"9"])
            client.close()
        equal(server.stop()[:2], (1010, 1010))


def test_signals():
    """Either signal: what was asked is answered, nobody connects any more, and it ends well, at once."""
    for number in signal.SIGINT, signal.SIGTERM:
        with Server(write(SLOW), workers=2) as server, contextlib.ExitStack() as stack:
            idle = stack.enter_context(server.client())
            equal(idle.ask(b"hello"), [b"hello"])
            waiting = [stack.enter_context(server.client()).send(b"wait", b"too late") for _ in range(20)]
            equal(stack.enter_context(server.client()).ask(b"x" * 2000), [b"error: the line is too long"])  # all are there
            server.send_signal(number)
            assert idle.at_end()
            server.flag.touch()
            for client in waiting:
                equal(client.read(), b"wait")
                assert client.at_end()
            ended = server.end().expect(0, ("22 connections, 21 requests, ",))
            equal(server.left(), [])
            assert ended.seconds < 15, ended.describe()


def test_second_signal():
    """It ends although a worker is busy, soon, and says that it was cut short by its exit code."""
    with Server(write(SLOW), workers=2) as server, server.client() as client, server.client() as idle:
        client.send(b"wait")
        equal(idle.ask(b"hello"), [b"hello"])
        server.send_signal(signal.SIGINT)
        assert idle.at_end()  # the first one has been seen
        start = time.monotonic()
        server.send_signal(signal.SIGINT)
        server.end().expect(1, ("2 connections, 2 requests, ",))
        assert client.at_end()
        equal(server.left(), [])
        assert time.monotonic() - start < 4, "the time for answers was not cut short"


def test_workers_that_do_not_finish():
    """They have five seconds after the signal."""
    with Server(write(SLOW), workers=2) as server, server.client() as client:
        client.send(b"wait")
        equal(server.ask(b"hello"), [b"hello"])
        start = time.monotonic()
        equal(server.stop(code=1)[:2], (2, 2))
        assert 4.9 < time.monotonic() - start < 15
        assert client.at_end()


def test_a_worker_fails():
    """The server ends, and says which worker failed where; nobody waits for an answer that never comes."""
    with Server(write(SLOW, "slow.py"), workers=2) as server, server.client() as client, server.client() as other:
        other.send(b"wait")
        client.send(b"die")
        assert client.at_end() and other.at_end()
        failure = ("worker 'slow.py-", "' failed:\nTraceback", "slow.py\", line ", "SystemError: as it was told\n")
        ended = server.end().expect(1, ("2 connections, ",), failure)
        equal(ended.err.count("Traceback"), 1)


def test_scripts_that_do_not_run():
    """Said, with an exit code."""
    for script, words in ((str(folder() / "none.py"), ("FileNotFoundError",)), (write("1 +"), ("SyntaxError",))):
        command(program("eventloop"), script, "0", "2").expect(1, None, words)
    for words in ([], [CALCULATE, "x", "0"], [CALCULATE, "99999"], [CALCULATE, "0", "1", "2"]):
        command(program("eventloop"), *words).expect(2, "", ("usage: ",))


def test_port_in_use():
    with Server() as server:
        command(program("eventloop"), CALCULATE, str(server.port)).expect(1, "", ("Address already in use",))
        server.stop()


def test_readme():
    """What the server and the client show has the form of what they print, for some port and speed."""
    copy = Copy("eventloop")
    (compiler, nothing), (serve, shown), *asked = readme.sessions("eventloop")
    equal(copy.run("eventloop", compiler).expect(0).out, nothing)
    equal(serve, "./server calculate.py 7070 2")
    with Server("calculate.py", words=["./server"], cwd=copy.place) as server:
        for line, output in asked:
            equal(form(copy.run("eventloop", line.replace("7070", str(server.port))).expect(0).out), form(output))
        server.send_signal(signal.SIGINT)
        equal(form(server.end().expect(0).out), form(shown.replace("^C", "")))


def form(output):
    """The output without its port, its time, and how often there was no room."""
    output = re.sub(r"127.0.0.1:\d+", "127.0.0.1:PORT", output)
    output = re.sub(r"in \d+\.\d\d s", "in SECONDS", output)
    return re.sub(r"\d+ of them", "SOME of them", output)
