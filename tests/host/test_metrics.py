"""--metrics: the accounts as OpenMetrics text, through a Unix socket."""

import contextlib
import os
import re
import select
import socket
import stat

from support import equal, folder, host, start, wait_until

SCRIPT = """
    import interlace, sys

    def wait(receiver):
        receiver.recv()

    sender, receiver = interlace.channel(4, name='a "quoted" \\\\ name')
    sender.send_many([1, 2, 3])
    receiver.recv()
    hold, held = interlace.channel(0, name="hold")
    with interlace.Group() as group:
        group.start(wait, held, name="waiter")
        print("ready", flush=True)
        sys.stdin.readline()
        hold.send(None)
"""
SAMPLE = re.compile(r'(\w+?)(_total|_info)?(?:\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def ask(path, request=b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"):
    """(status line, headers, body) of an answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(path)
        client.sendall(request)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    head, _, body = answer.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    return status, dict(line.lower().split(": ", 1) for line in lines), body


def parse(text):
    """{family: (type, {labels: value})} of OpenMetrics text; fails where the format is not kept."""
    assert text.endswith("\n# EOF\n"), text[-100:]
    equal(text.count("# EOF"), 1)
    found, family = {}, None
    for line in text.splitlines()[:-1]:
        if line.startswith("# "):
            word, name, rest = line[2:].split(" ", 2)
            assert word in ("TYPE", "UNIT", "HELP"), line
            if word == "TYPE":
                assert name not in found, f"the samples of {name} are not together"
                family = name
                found[family] = rest, {}
            equal(name, family)
            if word == "UNIT":
                assert name.endswith("_" + rest), line
            continue
        match = SAMPLE.match(line)
        assert match, line
        name, suffix, labels, value = match.groups()
        kind, samples = found[family]
        equal((name, suffix), (family, {"counter": "_total", "gauge": None, "info": "_info"}[kind]))
        key = tuple(LABEL.findall(labels or ""))
        assert key not in samples, f"twice: {line}"
        samples[key] = float(value)
        assert samples[key] >= 0, line
    return found


def value(found, family, **labels):
    return next(n for key, n in found[family][1].items() if labels.items() <= dict(key).items())


def test_what_it_serves():
    path = str(folder() / "socket")
    with start(SCRIPT, words=["--metrics", path], stdin=b"") as started:
        started.printed("ready")
        mode = os.stat(path).st_mode
        equal((stat.S_ISSOCK(mode), stat.S_IMODE(mode)), (True, 0o600))

        def waiter_waits():
            return value(parse(ask(path)[2]), "interlace_workers", state="waiting") == 1

        wait_until(waiter_waits, "the worker to wait")
        status, headers, body = ask(path)
        equal(status, "HTTP/1.1 200 OK")
        equal(headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8")
        equal(int(headers["content-length"]), len(body.encode()))
        found = parse(body)
        name = r"a \"quoted\" \\ name"
        equal(value(found, "interlace_channel_sent", channel=name), 3.0)
        equal(value(found, "interlace_channel_received", channel=name), 1.0)
        equal(value(found, "interlace_channel_waiting", channel=name), 2.0)
        equal(value(found, "interlace_channel_capacity", channel=name), 4.0)
        assert value(found, "interlace_channel_bytes", channel=name) > 0
        first = value(found, "interlace_worker_seconds", worker="waiter", state="input")

        def goes_on():
            return value(parse(ask(path)[2]), "interlace_worker_seconds", worker="waiter", state="input") > first

        wait_until(goes_on, "the time of waiting to grow")
        equal(ask(path, b"HEAD / HTTP/1.1\r\n\r\n")[2], "")
        equal(ask(path, b"POST / HTTP/1.1\r\n\r\n")[0], "HTTP/1.1 405 Method Not Allowed")
        started.write(b"\n")
        started.end().expect(0, "ready\n", "")
    assert not os.path.exists(path), "the socket is left"


IDLE = """
    import interlace, sys

    def idle(receiver, told):
        told.send(None)
        while True:
            try:
                receiver.recv(timeout=0.0002)
            except TimeoutError:
                pass

    sender, receiver = interlace.channel(4, name="quiet")
    told, tellers = interlace.channel(32)
    with interlace.Group() as group:
        for number in range(20):
            group.start(idle, receiver, told, isolation="process" if number == 0 else None)
        for _ in range(20):
            tellers.recv()
        print("ready", flush=True)
        sys.stdin.readline()
        group.cancel()
"""


def test_counters_never_become_less():
    """An agent would take it for a process that was started anew."""
    path = str(folder() / "socket")
    last, less = {}, []
    with start(IDLE, words=["--metrics", path], stdin=b"") as started:
        started.printed("ready")
        for _ in range(1000):
            for line in ask(path)[2].splitlines():
                sample, _, number = line.rpartition(" ")
                if not line.startswith("#") and "_total" in sample:
                    if float(number) < last.get(sample, 0):
                        less.append((sample, last[sample], number))
                    last[sample] = float(number)
        started.write(b"\n")
        started.end().expect(0, "ready\n", "")
    assert len(last) > 100, last
    equal(less[:5], [])


def connected(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.settimeout(30)
    return client


def is_open(client):
    """Whether the other side has not closed it."""
    return not select.select([client], [], [], 0)[0]


def test_clients_that_say_nothing_do_not_hold_it_up():
    """Five are there, and another is answered before their time is over; nor do they keep the process from ending."""
    path = str(folder() / "socket")
    with start(SCRIPT, words=["--metrics", path], stdin=b"") as started, contextlib.ExitStack() as stack:
        started.printed("ready")

        def others_are_answered():
            silent = [stack.enter_context(connected(path)) for _ in range(5)]
            parse(ask(path)[2])
            return all(is_open(client) for client in silent)

        wait_until(others_are_answered, "an answer while others say nothing")
        equal(stack.enter_context(connected(path)).recv(1), b"")  # its time is over
        stack.enter_context(connected(path))
        started.write(b"\n")
        started.end().expect(0, "ready\n", "")


def test_of_too_many_clients_the_oldest_goes():
    """More than can be there at a time: who comes last is answered all the same."""
    path = str(folder() / "socket")
    with start(SCRIPT, words=["--metrics", path], stdin=b"") as started, contextlib.ExitStack() as stack:
        started.printed("ready")

        def the_last_is_answered():
            silent = [stack.enter_context(connected(path)) for _ in range(40)]
            parse(ask(path)[2])
            return [is_open(client) for client in silent] == [False] * 9 + [True] * 31

        wait_until(the_last_is_answered, "an answer among forty who say nothing")
        started.write(b"\n")
        started.end().expect(0, "ready\n", "")


MANY = """
    import interlace, sys

    channels = [interlace.channel(4, name="x" * 60) for _ in range(1000)]
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_client_that_takes_its_answer_slowly_holds_up_nobody():
    """Nor does it lose a part of it: there is more than the kernel takes at once."""
    path = str(folder() / "socket")
    with start(MANY, words=["--metrics", path], stdin=b"") as started:
        started.printed("ready")

        def both_are_answered():
            with connected(path) as slow:
                slow.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
                first = slow.recv(1)
                size = int(ask(path)[1]["content-length"])
                answer = first + b"".join(iter(lambda: slow.recv(65536), b""))
                return size > 500_000 and len(answer) > size and answer.endswith(b"\n# EOF\n")

        wait_until(both_are_answered, "two answers")
        started.write(b"\n")
        started.end().expect(0, "ready\n", "")


def test_a_long_name_is_cut_between_characters():
    """127 bytes of a worker's name are kept: in the accounts, and so in the text, which is UTF-8."""
    path = str(folder() / "socket")
    script = """
        import interlace, sys

        def wait(receiver):
            receiver.recv()

        hold, held = interlace.channel(0)
        with interlace.Group() as group:
            group.start(wait, held, name="é" * 64)
            print([worker["name"] for worker in interlace.stats()["workers"]][1] == "é" * 63, flush=True)
            sys.stdin.readline()
            hold.send(None)
    """
    with start(script, words=["--metrics", path], stdin=b"") as started:
        started.printed("True")
        kind, values = parse(ask(path)[2])["interlace_worker_seconds"]
        assert any(("worker", "é" * 63) in dict(labels).items() for labels in values), values
        started.write(b"\n")
        started.end().expect(0, "True\n", "")


def test_where_no_socket_can_be():
    taken = folder() / "taken"
    taken.write_text("")
    for path, why in [
        (str(taken), "something is there already"),
        (str(taken) + "/below", "Not a directory"),
        ("x" * 200, "107 bytes at most"),
    ]:
        host("run", "--metrics", path, "-c", "print('must not run')").expect(1, "", ("--metrics: no socket at", why))
    assert taken.exists()


def test_a_socket_that_nobody_listens_at_is_replaced():
    """One that was left by a process that was killed; one that is served is not."""
    path = str(folder() / "socket")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    with start(SCRIPT, words=["--metrics", path], stdin=b"") as started:
        started.printed("ready")
        parse(ask(path)[2])
        host("run", "--metrics", path, "-c", "pass").expect(1, "", ("something is there already",))
        parse(ask(path)[2])
        started.write(b"\n")
        started.end().expect(0, "ready\n", "")
