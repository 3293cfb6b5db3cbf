"""The sentence of --stats names what was planted: slow stages sleep, so that a loaded machine makes no other one slower."""

import time

from support import BINARY, Started, host, pipe, run, start_pipe, write

ITEMS = 120
PAUSE = 0.01

SOURCE = f"""
    # source.py
    import interlace
    interlace.output.send_many(range({ITEMS}))
"""
SLOW_SOURCE = f"""
    # source.py
    import interlace, time
    for n in range({ITEMS}):
        time.sleep({PAUSE})
        interlace.output.send(n)
"""
COPY = """
    # copy.py
    import interlace
    for x in interlace.input:
        interlace.output.send(x)
"""
SINK = """
    # sink.py
    import interlace
    for x in interlace.input:
        pass
"""


def slow(text, name, replicas=1):
    """The stage with a pause for each item."""
    return text.replace("interlace\n", "interlace, time\n", 1).replace(
        "for x in interlace.input:", f"for x in interlace.input:\n        time.sleep({PAUSE * replicas})"
    ).replace("# copy.py", f"# -n {replicas} {name}").replace("# sink.py", f"# {name}")


def sentence(ended):
    """The last line of what --stats says."""
    ended.expect(0, None, ("worker ", "busy"))
    return ended.err.splitlines()[-1]


def begins(ended, *words):
    """Fail unless the sentence begins with the first and has all others."""
    said = sentence(ended)
    assert said.startswith(words[0]), f"{words[0]!r}\n{ended.describe()}"
    for word in words[1:]:
        assert word in said, f"{word!r}\n{ended.describe()}"
    return said


def test_a_slow_source():
    said = begins(pipe(SLOW_SOURCE, COPY, SINK, words=["--stats"]), "source.py is the bottleneck: 1 worker ")
    assert "its output empty" in said and "something outside" in said, said


def test_a_slow_stage_in_the_middle():
    ended = pipe(SOURCE, slow(COPY, "work.py", 2), SINK, words=["--stats"])
    begins(ended, "work.py is the bottleneck: 2 workers ", "its input full", "something outside")


def test_a_slow_sink():
    ended = pipe(SOURCE, COPY, slow(SINK, "sink.py"), words=["--stats"])
    begins(ended, "sink.py is the bottleneck: 1 worker ", "its input full")


def test_unbalanced_replicas():
    """Each has a channel of its own, and one gets most of the work."""
    ended = run(
        f"""
        import interlace, time

        def work(items, pause):
            for x in items:
                time.sleep(pause)

        with interlace.Group() as group:
            senders = []
            for i in range(4):
                sender, receiver = interlace.channel(8, name=f"part {{i}}")
                group.start(work, receiver, {PAUSE})
                senders.append(sender)
            for n in range({ITEMS}):
                senders[n % 4 if n < 12 else 1].send(n)
            del senders, sender
        """,
        words=["--stats"],
    )
    begins(ended, "work-2 is the bottleneck: ", "the other 3 of its stage only", "the work is spread unevenly")


def test_a_channel_that_is_too_small():
    """One side works in bursts, the other steadily: they take turns where they could work at once."""
    script = f"""
        import interlace, time

        def source(numbers):
            for burst in range(12):
                time.sleep({10 * PAUSE})
                for n in range(10):
                    numbers.send(n)

        def sink(numbers):
            for n in numbers:
                time.sleep({PAUSE})

        with interlace.Group() as group:
            sender, receiver = interlace.channel(CAPACITY, name="narrow")
            group.start(source, sender)
            group.start(sink, receiver)
            del sender, receiver
        """
    ended = run(script.replace("CAPACITY", "1"), words=["--stats"])
    said = begins(ended, "the channel 'narrow' is the bottleneck: with room for 1 message both its sides wait in turn")
    assert "source" in said and "sink" in said and "larger capacity" in said, said
    said = sentence(run(script.replace("CAPACITY", "64"), words=["--stats"]))
    assert "'narrow'" not in said, said


def test_a_stage_that_waits_for_other_programs():
    ended = pipe(
        SOURCE.replace(str(ITEMS), "40"),
        """
        # ask.py
        import interlace, subprocess
        for x in interlace.input:
            subprocess.run(["sleep", "0.03"])
            interlace.output.send(x)
        """,
        SINK,
        words=["--stats"],
    )
    begins(ended, "ask.py is the bottleneck: 1 worker ", "its output empty", "on a CPU: it waited for something outside")


def test_slow_standard_input():
    with start_pipe(COPY, SINK, words=["--stats"], stdin=b"") as started:
        for n in range(100):
            started.write(b"line\n")
            time.sleep(PAUSE)
        begins(started.end(), "standard input is the bottleneck: copy.py waited for it ")


def test_slow_standard_output():
    """Who reads it is slow: a shell's pipeline."""
    script = write(
        """
        import interlace
        for n in range(200):
            interlace.output.send("x" * 10000)
        """,
        "writer.py",
    )
    reader = "import os, time\nwhile os.read(0, 20000): time.sleep(0.01)"
    with Started(["sh", "-c", f'"$0" pipe --stats {script} | "$0" run -c "{reader}"', BINARY]) as started:
        begins(started.end(), "standard output is the bottleneck: writer.py waited for its reader ")


def test_one_worker_alone():
    begins(host("run", "--stats", "-c", "sum(range(1000000))"), "-c ran alone: ")


def test_nothing_is_a_bottleneck():
    """Where all wait for the same clock, nobody is blamed."""
    ended = run(
        f"""
        import interlace

        def tick(stop, out):
            for n in range(60):
                interlace.select(interlace.after({2 * PAUSE}))
                out.send(n)

        with interlace.Group() as group:
            sender, receiver = interlace.channel(8)
            group.start(tick, None, sender)
            del sender
            list(receiver)
        """,
        words=["--stats"],
    )
    begins(ended, "nothing was a bottleneck: the busiest was ")
