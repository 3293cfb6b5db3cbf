"""--trace: a file that Perfetto reads, in which every message has both its ends."""

import collections
import json
import os

from support import equal, folder, host, pipe, run, write


def traced(ended, path):
    """Its events by their kind."""
    ended.expect(0, None, None)
    with open(path) as file:
        trace = json.load(file)
    found = collections.defaultdict(list)
    for event in trace["traceEvents"]:
        found[event["ph"]].append(event)
    return found, trace


def track_names(found):
    return {e["tid"]: e["args"]["name"] for e in found["M"] if e["name"] == "thread_name"}


def check_flows(found):
    """Each arrow has two ends, in order of time, each inside a slice of its own track. Returns {id: (start, end)}."""
    starts, ends = ({e["id"]: e for e in found[kind]} for kind in "sf")
    equal((len(starts), len(ends)), (len(found["s"]), len(found["f"])))
    equal(sorted(starts), sorted(ends))
    slices = collections.defaultdict(list)
    for e in found["X"]:
        slices[e["tid"]].append((e["ts"], e["ts"] + e["dur"]))
    for them in slices.values():
        them.sort()
        for (_, end), (start, _) in zip(them, them[1:]):
            assert start >= end - 0.01, f"slices overlap: {start} {end}"
    pairs = {}
    for name, start in starts.items():
        end = ends[name]
        assert end["ts"] >= start["ts"] and end["name"] == start["name"] and end["bp"] == "e", (start, end)
        for e in (start, end):
            assert any(a - 0.01 <= e["ts"] <= b + 0.01 for a, b in slices[e["tid"]]), f"in no slice: {e}"
        pairs[name] = start, end
    return pairs


def test_a_pipeline():
    """Every message of every channel, from the track that sent it to the one that received it; depths; slices."""
    path = str(folder() / "trace.json")
    ended = pipe(
        "\n# source.py\nimport interlace\ninterlace.output.send_many(range(300))\n",
        "\n# -n 2 copy.py\nimport interlace\nfor x in interlace.input: interlace.output.send(x)\n",
        "\n# sink.py\nimport interlace\nprint(sum(interlace.input))\n",
        words=["--trace", path],
    )
    found, trace = traced(ended, path)
    names = track_names(found)
    equal(sorted(set(names.values()) & {"source.py", "copy.py-1", "copy.py-2", "sink.py"}), sorted(names.values()))
    pairs = check_flows(found)
    ways = collections.Counter((s["name"], names[s["tid"]][:4], names[e["tid"]][:4]) for s, e in pairs.values())
    equal(dict(ways), {("stage 1 to 2", "sour", "copy"): 300, ("stage 2 to 3", "copy", "sink"): 300})
    kinds = {e["name"] for e in found["X"]}
    assert {"starting", "running", "waiting for a message"} <= kinds, kinds
    depths = [e["args"]["waiting"] for e in found["C"]]
    equal(len(depths), 1200)
    assert 0 <= min(depths) and max(depths) <= 64, depths
    equal(trace["otherData"]["events lost, of the oldest"], {})


def test_messages_that_pass_from_hand_to_hand():
    """A rendezvous, a channel of one message, selects of both kinds, and many senders and receivers at once."""
    path = str(folder() / "trace.json")
    ended = run(
        """
        import interlace

        def send(sender, n):
            for i in range(n):
                if i % 3:
                    sender.send(i)
                else:
                    interlace.select((sender, i))

        def receive(receiver):
            n = 0
            try:
                while True:
                    n += 1
                    if n % 3:
                        receiver.recv()
                    elif n % 2:
                        interlace.select(receiver)
                    else:
                        interlace.select(receiver, interlace.after(0.05))  # the end of the channel leaves the timer
            except interlace.EndOfChannel:
                pass

        with interlace.Group() as group:
            for name, capacity in (("hand", 0), ("one", 1), ("few", 3)):
                sender, receiver = interlace.channel(capacity, name=name)
                for _ in range(2):
                    group.start(send, sender, 100)
                for _ in range(2):
                    group.start(receive, receiver)
                del sender, receiver
        """,
        words=["--trace", path],
        limit=60,
    )
    found, _ = traced(ended, path)
    ways = collections.Counter(start["name"] for start, _ in check_flows(found).values())
    equal(dict(ways), {"hand": 200, "one": 200, "few": 200})


def test_lines_of_standard_input_have_a_track():
    path = str(folder() / "trace.json")
    ended = pipe(
        "-c 'import interlace\nfor x in interlace.input: interlace.output.send(x)'",
        words=["--trace", path],
        stdin=b"line\n" * 50,
    )
    found, _ = traced(ended, path)
    names = track_names(found)
    pairs = check_flows(found)
    equal([names[start["tid"]] for start, _ in pairs.values()], ["standard input"] * 50)


def test_only_the_latest_are_kept():
    """More events than a track has room for: the oldest go, which is told, and what is left is whole."""
    path = str(folder() / "trace.json")
    ended = pipe(
        "-c 'import interlace\ninterlace.output.send_many(range(150000))'",
        "-c 'import interlace\nprint(sum(1 for _ in interlace.input))'",
        words=["--trace", path],
        limit=120,
    )
    found, trace = traced(ended, path)
    equal(ended.out, "150000\n")
    equal(sorted(trace["otherData"]["events lost, of the oldest"]), ["-c"])
    starts, ends = ({e["id"] for e in found[kind]} for kind in "sf")
    equal(starts, ends)
    assert len(starts) > 50000, len(starts)


def test_a_name_that_is_cut_in_the_middle_of_a_character():
    """A thread's name has 15 bytes: the 16th is the second one of a letter here. Everything else is told, too."""
    script = write("import interlace; s, r = interlace.channel(1); s.send(1); r.recv()", "die-tabelle-größe.py")
    trace, report = str(folder() / "trace.json"), folder() / "report.html"
    ended = host("run", "--stats", "--trace", trace, "--report", str(report), script)
    found, _ = traced(ended, trace)
    equal(list(track_names(found).values()), ["die-tabelle-größe.py"])
    ended.expect(0, "", ("die-tabelle-größe.py", "ran alone"))
    assert "die-tabelle-größe.py" in report.read_text()


def test_a_thread_s_name_in_any_bytes():
    """A thread that is no worker's is called what the kernel has for it: half a character is shown as such."""
    path = str(folder() / "trace.json")
    script = """
        import interlace, threading

        def send(sender):
            with open(f"/proc/self/task/{threading.get_native_id()}/comm", "wb") as name:
                name.write(b"caf\\xc3")
            sender.send(1)

        sender, receiver = interlace.channel(1)
        thread = threading.Thread(target=send, args=(sender,))
        thread.start()
        print(receiver.recv())
        thread.join()
    """
    found, _ = traced(run(script, words=["--trace", path]), path)
    assert len(check_flows(found)) == 1 and found["M"], found


TELLING = """
    import sys
    from interlace import _telling, _trace

    def fail(accounts, words):
        yield "["
        raise ValueError("planted,\\nin two lines")

    _trace.pieces = fail
    print(_telling.tell(["run"], True, sys.argv[1], sys.argv[2], None, None, None))
"""


def test_one_that_fails_takes_no_other_with_it():
    """The failure is told in one line; the report and the table are there."""
    trace, report = str(folder() / "trace.json"), folder() / "report.html"
    ended = run(TELLING, trace, str(report)).expect(0, "False\n", None)
    first, *rest = ended.err.splitlines()
    equal(first, f"interlace: cannot write {trace!r}: ValueError: planted, in two lines")
    assert "worker" in "\n".join(rest) and "Traceback" not in ended.err, ended.describe()
    assert report.read_text().rstrip().endswith("</html>"), report.read_text()[-100:]


def test_files_named_in_any_bytes():
    places = [folder() / os.fsdecode(b"caf\xc3" + end) for end in (b".json", b".html", b".dot")]
    host("run", "--trace", str(places[0]), "--report", str(places[1]), "-c", "pass").expect(0, "", "")
    host("graph", "-o", str(places[2]), "run", "-c", "pass").expect(0, "", "")
    assert all(place.stat().st_size for place in places)
    host("graph", "-o", str(places[2]), "pipe", "-c pass").expect(0, "", "")


def test_it_is_not_written_in_vain():
    """A full disk is told, and is a failure."""
    if not os.path.exists("/dev/full"):
        return
    host("run", "--trace", "/dev/full", "-c", "pass").expect(1, "", ("cannot write '/dev/full': No space left",))
