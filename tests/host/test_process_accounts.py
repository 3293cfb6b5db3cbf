"""I2: where the time of a process went, and what went through it, is accounted for as with any other worker."""

import collections
import os
import re
import time

import interlace
from support import equal, folder, host, pipe, run, start, wait_until, write
from test_bottleneck import COPY, SINK, SLOW_SOURCE, SOURCE, begins, slow
from test_metrics import ask, parse, value
from test_trace import check_flows, traced, track_names


def of(name):
    return next((w for w in interlace.stats()["workers"] if w["name"] == name), None)


def wait_both_ways(pid, orders, answers):
    pid.send(os.getpid())
    for _ in orders:
        answers.send(1)


def compute(seconds, ready):
    ready.send(1)
    while time.process_time() < seconds:
        pass


def test_i2_stats_while_it_runs():
    """State, waits for input and output, and CPU time, of the process as a whole, grow while it lives."""
    with interlace.Group(isolation="process") as group:
        send_pid, pid = interlace.channel(1)
        orders, takes = interlace.channel(8, name="orders")
        gives, answers = interlace.channel(0, name="answers")
        worker = group.start(wait_both_ways, send_pid, takes, gives, name="both ways")
        equal(of("both ways")["id"], worker.id)
        del send_pid, takes, gives
        pid.recv()
        wait_until(lambda: of("both ways")["state"] == "waiting" and of("both ways")["input"] > 0, "it to wait for orders")
        equal(of("both ways")["output"], 0.0)
        orders.send(1)
        wait_until(lambda: of("both ways")["output"] > 0.01, "it to wait for room")
        account = of("both ways")
        assert account["input"] > 0 and account["starting"] > 0 and account["cpu"] > 0 and account["waits"] >= 1, account
        answers.recv()
        del orders
        ready, got = interlace.channel(1)
        group.start(compute, of("both ways")["cpu"] + 0.3, ready, name="compute")
        got.recv()
        wait_until(lambda: of("compute") is None or of("compute")["cpu"] > 0.05, "its CPU time")


def test_i2_a_slow_process_is_the_bottleneck():
    """The sentence names it wherever it is."""
    begins(pipe(process(SLOW_SOURCE), COPY, SINK, words=["--stats"]), "source.py is the bottleneck: 1 worker ")
    ended = pipe(SOURCE, process(slow(COPY, "work.py", 2)), SINK, words=["--stats"])
    said = begins(ended, "work.py is the bottleneck: 2 workers ", "something outside")
    assert int(re.search(r"(\d+) % busy", said)[1]) > 80, said
    ended = pipe(process(SOURCE), COPY, process(slow(SINK, "sink.py")), words=["--stats"])
    begins(ended, "sink.py is the bottleneck: 1 worker ")


def process(stage):
    return stage.replace("# ", "# --isolation=process ", 1)


def test_i2_one_that_dies_keeps_its_account():
    """--stats and the report have what a killed process did until then, and that it was killed."""
    path = str(folder() / "report.html")
    ended = run(
        """
        import os
        import interlace

        def work(numbers):
            while sum(1 for _ in range(1000)) and os.times().user < 0.2:
                pass
            numbers.recv()
            os.kill(os.getpid(), 9)

        with interlace.Group(isolation="process") as group:
            sender, numbers = interlace.channel(1, name="numbers")
            group.start(work, numbers, name="victim")
            del numbers
            sender.send(1)
            sender.send(2, timeout=60)
        """,
        words=["--stats", "--report", path],
    )
    equal(ended.code, 1)
    (row,) = re.findall(r"^victim +([\d.]+) s +\d+ % +(\d+) %", ended.err, re.M)
    assert float(row[0]) >= 0.2 and int(row[1]) > 0, ended.describe()
    with open(path) as file:
        assert "killed by SIGKILL" in file.read()


FANS = """
import interlace

def double(numbers, doubled):
    for n in numbers:
        doubled.send(2 * n)

with interlace.Group() as group:
    sender, numbers = interlace.channel({capacity}, name='numbers')
    doubled, results = interlace.channel({capacity}, name="results")
    for kind in ("process", "process", "interpreter"):
        group.start(double, numbers, doubled, isolation=kind)
    del numbers, doubled
    with sender:
        for n in range(50):
            sender.send(n)
            sender.send(n)
            {first}
            {first}
    total = sum(results)
"""


def test_i2_messages_of_processes_are_in_the_graph():
    """What each sent and received is counted, also where it closed its ends itself or left that to its end."""
    path = write(FANS.format(capacity=256, first="pass"), "fans.py")
    ended = host("graph", "run", path).expect(0, ("digraph network {",), "")
    nodes = dict(re.findall(r'^  (n\d) \[label="([\w.]+)\\n', ended.out, re.M))
    found = re.findall(r'(n\d) -> (n\d) \[label="(.*?)", pen', ended.out)
    edges = {(nodes[a], nodes[b]): label for a, b, label in found if a in nodes and b in nodes}
    equal(edges, {("fans.py", "double"): "numbers\\n100 messages", ("double", "fans.py"): "results\\n100 messages"})


def test_i2_a_trace_has_the_tracks_of_processes():
    """Every message has both its ends, from hand to hand as well; their waits and what lies between are slices."""
    for capacity, first in ((0, "results.recv()"), (4, "results.recv()"), (256, "pass")):
        path = str(folder() / "trace.json")
        ended = run(FANS.format(capacity=capacity, first=first), words=["--trace", path])
        found, _ = traced(ended, path)
        names = track_names(found)
        ways = collections.Counter(
            (s["name"], names[s["tid"]][:6], names[e["tid"]][:6]) for s, e in check_flows(found).values()
        )
        equal(dict(ways), {("numbers", "script", "double"): 100, ("results", "double", "script"): 100})
        for tid, name in names.items():
            kinds = {e["name"] for e in found["X"] if e["tid"] == tid}
            assert {"starting", "running"} <= kinds, (name, kinds)


def test_i2_metrics_have_processes():
    path = str(folder() / "socket")
    script = """
        import sys
        import interlace

        def work(orders):
            orders.recv()

        with interlace.Group(isolation="process") as group:
            orders, takes = interlace.channel(1)
            group.start(work, takes, name="waiter")
            sys.stdin.readline()
            orders.send(1)
    """
    with start(script, words=["--metrics", path], stdin=b"") as started:

        def waited():
            if not os.path.exists(path):
                return 0.0
            try:
                return value(parse(ask(path)[2]), "interlace_worker_seconds", worker="waiter", state="input")
            except (StopIteration, ConnectionError):  # not there yet
                return 0.0

        wait_until(lambda: waited() > 0, "the process to wait for input")
        first = waited()
        wait_until(lambda: waited() > first, "the time of waiting to grow")
        assert value(parse(ask(path)[2]), "interlace_worker_cpu_seconds", worker="waiter") > 0
        started.write(b"\n")
        started.end().expect(0, "", "")


def test_the_account_of_processes_goes_on():
    """Of one that is started anew, one row has the CPU time and the waits of all, killed or not."""
    path, script = str(folder() / "trace.json"), """
        import interlace, os, sys, time

        def work(path, numbers, results):
            with open(path, "a") as file:
                file.write("x")
            results.send(numbers.recv())
            start = time.process_time()
            while time.process_time() - start < 0.2:
                pass
            if os.path.getsize(path) == 1:
                os.kill(os.getpid(), 9)
            if os.path.getsize(path) == 2:
                raise ValueError("the second")

        def main():
            send, numbers = interlace.channel(8, name="numbers", redeliver=True)
            results, done = interlace.channel(8, name="results")
            send.send_many([5, 6])
            with interlace.Group(isolation="process") as group:
                group.start(work, sys.argv[1], numbers, results, name="w", restart=interlace.Restart(backoff=1.0))
                del results
                print(sum(done))

        main()
    """
    ended = run(script, write("", "marks"), words=["--stats", "--trace", path]).expect(0, "15\n", None)  # 5 came back, twice
    (row,) = (line for line in ended.err.splitlines() if line.startswith("w ") and line.endswith("%"))
    seconds, starting, busy, waits_in, waits_out, other, cpu = map(float, re.findall(r"[\d.]+", row))
    assert seconds > 3 and other / 100 * seconds > 2.9, row  # two pauses, of 1 and of 2 seconds
    assert 97 <= starting + busy + waits_in + waits_out + other <= 103, row
    assert cpu + 1 >= 60 / seconds, row
    found, _ = traced(ended, path)
    check_flows(found)  # one arrow for each time that it was received
    (track,) = (tid for tid, name in track_names(found).items() if name == "w")
    equal(sum(event["tid"] == track for event in found["f"]), 3)  # what the killed one received is on its track, too
    pauses = [event["dur"] / 1e6 for event in found["X"] if event["tid"] == track and event["name"] == "waiting"]
    assert any(0.9 <= pause for pause in pauses) and any(1.9 <= pause for pause in pauses), pauses
