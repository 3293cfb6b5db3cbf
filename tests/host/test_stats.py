"""interlace.stats() and --stats: where the time went, and what went through."""

import re
import threading
import time

import interlace
from support import asleep, equal, host, pipe, run, wait_until, write

WORKER = {
    "name": str, "id": int, "state": str, "seconds": float, "starting": float, "busy": float, "input": float,
    "output": float, "other": float, "cpu": float, "waits": int,
}  # fmt: skip
CHANNEL = {
    "name": str, "capacity": int, "sent": int, "received": int, "bytes": int, "waiting": int,
    "full": type(None), "empty": type(None),
}  # fmt: skip


def channel(name):
    return next(c for c in interlace.stats()["channels"] if c["name"] == name)


def worker(name):
    return next((w for w in interlace.stats()["workers"] if w["name"] == name), None)


def own():
    return worker(interlace.current_worker().name)


def test_what_it_says():
    """The keys and their types, as documented."""
    sender, receiver = interlace.channel(4, name="shape")
    found = interlace.stats()
    equal(sorted(found), ["channels", "workers"])
    for key, kinds in (("workers", WORKER), ("channels", CHANNEL)):
        assert found[key]
        for account in found[key]:
            equal({name: type(value) for name, value in account.items()}, kinds)
    mine = own()
    equal((mine["id"], mine["state"]), (interlace.current_worker().id, "running"))
    del sender, receiver


def test_channels():
    """Messages, bytes and what waits, also where messages pass from hand to hand; gone when both sides have."""
    sender, receiver = interlace.channel(4, name="counted")
    sender.send_many(["a", "b", "c"])
    receiver.recv()
    found = channel("counted")
    equal([found[k] for k in ("capacity", "sent", "received", "waiting")], [4, 3, 1, 2])
    equal(found["bytes"], sender.stats()["bytes"])
    sender.close()
    equal(channel("counted")["sent"], 3)
    receiver.close()
    del sender, receiver
    equal([c["name"] for c in interlace.stats()["channels"] if c["name"] == "counted"], [])

    sender, receiver = interlace.channel(0, name="by hand")
    with interlace.Group() as group:
        group.start(sender.send_many, range(10))
        equal(receiver.recv(), 0)
        wait_until(lambda: len(receiver) == 1, "the next one to wait")
        found = channel("by hand")
        equal([found[k] for k in ("sent", "received", "waiting")], [1, 1, 1])
        equal(receiver.recv_many(100) + [receiver.recv() for _ in range(8)], list(range(1, 10)))
    found = channel("by hand")
    equal([found[k] for k in ("sent", "received", "waiting")], [10, 10, 0])
    equal(found["bytes"], receiver.stats()["bytes"])


def test_selects_count_as_well():
    sender, receiver = interlace.channel(2, name="chosen")
    for n in range(5):
        interlace.select((sender, n))
        interlace.select(receiver)
    found = channel("chosen")
    equal([found[k] for k in ("sent", "received", "waiting")], [5, 5, 0])


def test_a_thousand_channels_leave_nothing():
    """Accounts of what is gone are not kept, nor is their memory."""
    before = len(interlace.stats()["channels"])
    for _ in range(1000):
        interlace.channel(4)
    assert len(interlace.stats()["channels"]) <= before, interlace.stats()["channels"]


def wait_for(receiver, told):
    told.send(interlace.current_worker().name)
    receiver.recv()


def test_waiting_is_told_by_its_purpose():
    """Input, output and all else; a wait counts while it lasts."""
    told, tellers = interlace.channel(0)
    hold, held = interlace.channel(0, name="never")
    full_in, full_out = interlace.channel(1, name="full")
    with interlace.Group() as group:
        group.start(wait_for, held, told, name="for input")
        group.start(fill, full_in, told, name="for output")
        group.start(sleep, 60, name="for other")
        tellers.recv()
        tellers.recv()
        for kind in ("input", "output", "other"):
            name = f"for {kind}"
            wait_until(lambda: (worker(name) or {"state": ""})["state"] == "waiting", name)
            first = worker(name)[kind]
            wait_until(lambda: worker(name)[kind] > first + 0.1, f"{name} to go on")
            account = worker(name)
            equal(max(("input", "output", "other"), key=account.__getitem__), kind)
            whole = sum(account[k] for k in ("starting", "busy", "input", "output", "other"))
            assert abs(whole - account["seconds"]) < 0.05, account
        group.cancel()


def sleep(seconds):
    interlace.select(interlace.after(seconds))


def fill(sender, told):
    told.send("")
    sender.send_many(range(3))


def test_busy_is_what_is_left():
    """A loop that sleeps is busy, and not on a CPU; one that counts is both."""
    before = own()
    time.sleep(0.3)
    slept = own()
    assert slept["busy"] - before["busy"] > 0.29, (before, slept)
    assert slept["cpu"] - before["cpu"] < 0.2, (before, slept)
    start = time.thread_time()
    while time.thread_time() - start < 0.2:
        pass
    assert own()["cpu"] - slept["cpu"] > 0.19, own()


def test_other_threads_do_not_count():
    """What a worker's own thread does is its account; another thread of its may wait meanwhile."""
    _, receiver = interlace.channel(0)
    before = own()

    def wait():
        try:
            receiver.recv(timeout=0.3)
        except TimeoutError:
            pass

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert own()["input"] - before["input"] < 0.1, (before, own())


def idle(receiver, told):
    """Waits again and again, never for long, until it is cancelled."""
    told.send(None)
    while True:
        try:
            receiver.recv(timeout=0.0002)
        except TimeoutError:
            pass


def test_what_counts_upwards_never_becomes_less():
    """Of workers that wait most of the time, looked at a thousand times; threads and a process."""
    sender, receiver = interlace.channel(4, name="quiet")
    told, tellers = interlace.channel(32)
    last, less = {}, []
    with interlace.Group() as group:
        for number in range(20):
            group.start(idle, receiver, told, name=f"idle-{number}", isolation="process" if number == 0 else None)
        for _ in range(20):
            tellers.recv()
        for _ in range(1000):
            for account in interlace.stats()["workers"]:
                for kind in ("seconds", "starting", "busy", "input", "output", "other", "cpu", "waits"):
                    key = account["name"], account["id"], kind
                    if account[kind] < last.get(key, 0):
                        less.append((*key, last[key], account[kind]))
                    last[key] = account[kind]
                whole = sum(account[kind] for kind in ("starting", "busy", "input", "output", "other"))
                assert abs(whole - account["seconds"]) < 1e-6, account
        group.cancel()
    assert len(last) > 100, last
    equal(less[:5], [])
    del sender, receiver


def test_states_of_the_life_of_a_worker():
    """Started, it is there; ended, it is not, unless somebody wanted accounts."""
    with interlace.Group() as group:
        one = group.start(time.sleep, 0.01, name="short")
        assert worker("short") is not None
        one.result()
    wait_until(lambda: worker("short") is None, "its account to go")


def test_the_tables():
    """--stats: a row for each worker and channel that was used, and a sentence, all on standard error."""
    ended = pipe(
        "\n# -n 2 source.py\nimport interlace\ninterlace.output.send_many(range(500))\n",
        "\n# sink.py\nimport interlace\nprint(sum(interlace.input))\n",
        words=["--stats"],
    ).expect(0, f"{2 * sum(range(500))}\n", None)
    lines = ended.err.splitlines()
    equal(lines[1].split(), ["worker", "time", "starting", "busy", "input", "output", "other", "CPU"])
    equal([line.split()[0] for line in lines[2:5]], ["source.py-1", "source.py-2", "sink.py"])
    for line in lines[2:5]:
        shares = [int(n) for n in re.findall(r"(\d+) %", line)]
        equal(len(shares), 6)
        assert 97 <= sum(shares[:5]) <= 103, line
    equal(lines[6].split(), ["channel", "messages", "bytes", "full", "empty", "waiting", "capacity"])
    assert re.fullmatch(r"stage 1 to 2 +1,000 +[\d.]+ KiB +\d+ % +\d+ % +[\d.]+ +64", lines[7]), lines[7]
    equal(lines[8], "")
    equal(len(lines), 10)


def test_many_workers_are_told_by_stage():
    ended = host("run", "--stats", "-n", "30", "-c", "pass").expect(0, "", ("-c (30)",))
    equal(len(ended.err.splitlines()), 5)


def test_shares_are_there_under_stats():
    """Full and empty, from looking; an account of what is gone stays."""
    ended = run(
        """
        import interlace, time

        def one():
            time.sleep(0.01)

        def main():
            full, _full = interlace.channel(1, name="full")
            full.send(1)
            empty, _empty = interlace.channel(1, name="empty")
            with interlace.Group() as group:
                group.start(one, name="gone")
            time.sleep(0.5)
            found = interlace.stats()
            for c in found["channels"]:
                print(c["name"], round(c["full"]), round(c["empty"]))
            print([(w["name"], w["state"]) for w in found["workers"]])

        main()
        """,
        words=["--stats"],
    )
    ended.expect(0, "full 1 0\nempty 0 1\n[('script.py', 'running'), ('gone', 'ended')]\n", None)


def test_it_tells_of_failures_and_interruptions_too():
    """What failed is among what is told, and the exit code is as without."""
    ended = host("run", "--stats", "-c", "raise ValueError('planted')").expect(1, "", ("planted", "-c ran alone"))
    assert ended.err.index("planted") < ended.err.index("worker  "), ended.err
    host("run", "--stats", "-c", "import sys; sys.exit(7)").expect(7, "", ("-c ran alone",))


def test_map_tells_as_well():
    ended = host("map", "-n", "2", "--stats", "-c", "int(line) * 2", stdin=b"1\n2\n3\n").expect(0, "2\n4\n6\n", None)
    names = [line.split()[0] for line in ended.err.splitlines()[2:6]]
    equal(sorted(names), ["map", "map-1", "map-2", "map-input"])


def test_spare_workers_have_accounts():
    """A worker that stood ready before it had a job."""
    run(
        """
        import interlace, time

        def nap():
            time.sleep(0.1)
            return [w for w in interlace.stats()["workers"] if w["name"] == "napper"][0]

        interlace.prestart(1)
        with interlace.Group() as group:
            account = group.start(nap, name="napper").result()
            print(account["state"], account["busy"] > 0.09, account["cpu"] > 0)
        """
    ).expect(0, "running True True\n", "")
