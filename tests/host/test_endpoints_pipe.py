"""interlace pipe --input and --output: two pipelines joined by a FIFO or a socket."""

import itertools
import os
import signal

import interlace
from endpoints import SOCKETS, address, key, new_key, over_sockets, path_of
from support import BINARY, Started, equal, host, pipe, raises, start_pipe, wait_until

COUNT = """
    # count.py
    import interlace
    with interlace.output as output:
        for i in range(1000):
            output.send((i, [i]))
"""
TOTAL = """
    # -n 2 total.py
    import interlace
    total = n = 0
    for i, more in interlace.input:
        total, n = total + sum(more), n + 1
    interlace.output.send((n, total))
"""
ADD = "-c \"import interlace; a, b = zip(*interlace.input); print(sum(a), sum(b))\""


def joined(option, where, more=()):
    return (option, where, "--key", key(), *more)


def test_i3_two_pipelines_through_a_fifo():
    """Objects, in order, shared out among the first stage's workers; either side comes first."""
    for first in ("--input", "--output"):
        where = address("pipe")
        sides = [
            lambda: start_pipe(TOTAL, ADD, words=joined("--input", where)),
            lambda: start_pipe(COUNT, words=joined("--output", where)),
        ]
        if first == "--output":
            sides.reverse()
        with sides[0]() as a:
            wait_until(lambda: os.path.exists(path_of(where)), "the FIFO")
            with sides[1]() as b:
                for side in (a, b):
                    ended = side.end()
                    ended.expect(0, "1000 499500\n" if "--input" in ended.words else "")


@over_sockets
def test_i3_many_pipelines_into_a_socket(scheme):
    """Each client's objects arrive; when the last of them has left, the input ends; scripts may be clients, too."""
    where = address(scheme)
    with start_pipe(TOTAL, ADD, words=joined("--input", where)) as there:
        held = interlace.open(where, key=key(), timeout=30)
        clients = [start_pipe(COUNT, words=joined("--output", where)) for _ in range(3)]
        for client in clients:
            with client:
                client.end().expect()
        held.sender.send((0, [1]))
        held.close()
        there.end().expect(0, "3001 1498501\n")
    assert not os.path.exists(path_of(where))


@over_sockets
def test_i3_a_pipeline_between_two_sockets(scheme):
    """One in the middle has both."""
    first, second = address(scheme), address(scheme)
    double = '-c "import interlace; interlace.output.send_many(2 * x for x in interlace.input)"'
    middle = start_pipe(double, words=("--input", first, "--output", second, "--key", key()))
    with start_pipe('-c "import interlace; print(sum(interlace.input))"', words=joined("--input", second)) as there, middle:
        with interlace.open(first, key=key(), timeout=30) as (sender, _):
            sender.send_many(range(100))
        middle.end().expect()
        there.end().expect(0, "9900\n")


@over_sockets
def test_i3_a_client_that_is_cut_off(scheme):
    """It is named, what it sent is there, and the exit status is 1. One that is refused is named, and no more."""
    where = address(scheme)
    with start_pipe('-c "import interlace; print(list(interlace.input))"', words=joined("--input", where)) as there:
        held = interlace.open(where, key=key(), timeout=30)
        with raises(interlace.SealError, "different keys"):
            interlace.open(where, key=new_key(), timeout=30)
        script = '-c "import interlace; interlace.output.send(1); print(2, flush=True); interlace.channel(0)[1].recv()"'
        with start_pipe(script, words=joined("--output", where)) as bad:
            bad.printed("2")
            bad.send_signal(signal.SIGKILL, whole_session=True)
            bad.process.wait()
        there.printed("lost a client")
        held.close()
        ended = there.end().expect(1, "[1]\n", ("refused a client", "different keys", "lost a client", "cut off"))
        equal(ended.err.count("\n"), 2)
    where = address("pipe")
    with start_pipe('-c "import interlace; print(list(interlace.input))"', words=joined("--input", where)) as there:
        with start_pipe(script, words=joined("--output", where)) as bad:
            bad.printed("2")
            bad.send_signal(signal.SIGKILL, whole_session=True)
        there.end().expect(1, "", ("Truncated", where))


def test_c6_nobody_reads_any_more():
    """A reader that ends early ends the other pipeline quietly, as `| head` does."""
    for scheme in ("pipe", *SOCKETS):
        where = address(scheme)
        endless = '-c "import interlace, itertools; interlace.output.send_many(itertools.count())"'
        with (
            start_pipe('-c "import interlace; print(interlace.input.recv())"', words=joined("--input", where)) as there,
            start_pipe(endless, words=joined("--output", where)) as writer,
        ):
            there.end().expect(0, "0\n")
            writer.end().expect(0)


def test_w4_ctrl_c_while_it_waits():
    """For who reads, and for clients; the socket's file is not left."""
    for option, scheme in itertools.product(("--output", "--input"), ("pipe", *SOCKETS)):
        where = address(scheme)
        stage = "-c 'import interlace; print(\"here\", flush=True); list(interlace.input)'"
        with start_pipe(stage, words=joined(option, where)) as there:
            if option == "--input":
                there.printed("here")
            elif scheme == "pipe":
                wait_until(lambda: os.path.exists(path_of(where)), "the FIFO")
            else:
                wait_until(lambda: len(there.threads()) > 1, "the keeper")
            there.send_signal(signal.SIGINT)
            equal(there.end().code, 130)
        assert scheme == "pipe" or not os.path.exists(path_of(where))


def test_bad_input():
    """One line each, before anything runs."""
    for words, code, found in (
        (("--input", "tcp:x"), 2, ("--input takes an address", "pipe:/path", "'tcp:x'")),
        (("--output", "/tmp/x"), 2, ("--output takes an address", "memory:NAME")),
        (("--output", "memory:a/b"), 2, ("1 to 64 letters",)),
        (("--input", "memory:"), 2, ("1 to 64 letters",)),
        (("--input", "pipe:/nowhere/x"), 1, ("--input 'pipe:/nowhere/x': No such file",)),
        (("--output", "pipe:"), 2, ("names no file",)),
        (("--input",), 2, ("--input",)),
    ):
        ended = host("pipe", *words, *(("--key", key(), "-c pass") if len(words) > 1 else ()))
        ended.expect(code, "", found)
        equal(ended.err.count("\n"), 1)
    host("pipe", "--key", key(), "-c pass").expect(2, "", ("--key is for --input and --output",))
    missing = address("unix").partition(":")[2]
    ended = pipe("-c pass", words=("--input", "pipe:/tmp/x", "--key", missing))
    ended.expect(1, "", ("no key in", missing, "interlace key new"))
    os.chmod(mine := new_key(), 0o644)
    pipe("-c pass", words=("--input", "pipe:/tmp/x", "--key", mine)).expect(1, "", ("others may read", mine))


def test_help():
    """--input, --output and --key."""
    with Started([BINARY, "pipe", "--help"]) as ended:
        words = ("--input ADDR", "--output ADDR", "--key FILE", "pipe:/path/to/fifo", "unix:/path/to/socket", "memory:NAME")
        ended.end().expect(0, words)
