"""interlace pipe: objects between stages, lines at both ends, and how it ends."""

import os

import interlace
from support import BINARY, command, equal, host, pipe, raises, run, start_pipe, write

NUMBERS = "-c 'import interlace, sys; interlace.output.send_many(range(int(sys.argv[1])))'"
COPY = "-c 'import interlace\nfor x in interlace.input: interlace.output.send(x)'"
REPR = "-c 'import interlace\nfor x in interlace.input: interlace.output.send(repr(x))'"


def test_objects_pass_between_stages():
    """Any object that pickles, types and order kept; the last stage's are written as str() writes them."""
    source = """
        import datetime, interlace
        for x in (None, 1, 2.5, "text", "two\\nlines", b"b", (1, [2]), {"k": {3}}, datetime.date(2026, 1, 2), int):
            interlace.output.send(x)
    """
    shown = [None, 1, 2.5, "text", "two\nlines", b"b", (1, [2]), {"k": {3}}]
    dates = ["datetime.date(2026, 1, 2)", "<class 'int'>"]
    pipe(source, REPR).expect(0, "".join(f"{line}\n" for line in [*map(repr, shown), *dates]))
    pipe(source).expect(0, "".join(f"{line}\n" for line in [*map(str, shown), "2026-01-02", dates[1]]))


def test_many_stages_and_many_objects_in_order():
    """20,000 objects through five stages."""
    pipe(f"{NUMBERS} 20000", COPY, COPY, COPY, COPY).expect(0, "".join(f"{n}\n" for n in range(20000)))


def test_lines_in_lines_out():
    """Standard input comes as str without the newline; with one stage and with several."""
    data = "first\n\n  spaces \t\nümläut \U0001f600\r\nlast\n"
    for stages in ([COPY], [COPY, COPY]):
        pipe(*stages, stdin=data.encode()).expect(0, data)
    pipe(REPR, stdin=data.encode()).expect(0, "".join(f"{line!r}\n" for line in data.split("\n")[:-1]))


def test_lines_at_the_edges():
    """No input, no newline at the end, empty lines only, a line of 10 MB, 100,000 lines, NUL bytes."""
    for data in (b"", b"\n", b"\n\n\n", b"x" * 10_000_000 + b"\n", b"line\n" * 100_000, b"a\0b\n\0\n"):
        ended = pipe(COPY, stdin=data).expect(0, None)
        assert ended.out == data.decode(), f"{len(ended.out)} of {len(data)} bytes: {ended.out[:100]!r}"
    pipe(REPR, stdin=b"one\ntwo").expect(0, "'one'\n'two'\n")
    pipe(REPR, stdin=b"no newline").expect(0, "'no newline'\n")
    pipe(REPR).expect(0, "")  # /dev/null
    command("sh", "-c", f'exec "{BINARY}" pipe "$0" <&-', REPR).expect(0, "")


def test_bytes_that_are_not_utf_8_pass():
    """As os.fsdecode has them, and out as they were."""
    data = b"latin-\xe4\n\xff\xfe\xc3\n\xed\xa0\x80 surrogate\n\xf0\x9f\x98\n"
    check = """
        import interlace, os
        for line in interlace.input:
            interlace.output.send(os.fsdecode(os.fsencode(line)))
    """
    ended = pipe(check, stdin=data).expect(0, None)
    equal(os.fsencode(ended.out), data)


def test_standard_input_is_left_alone_until_it_is_wanted():
    """A first stage that does not ask for interlace.input may read sys.stdin itself."""
    stage = "-c 'import interlace, sys; interlace.output.send(sys.stdin.read().upper())'"
    pipe(stage, REPR, stdin=b"own\nreading").expect(0, "'OWN\\nREADING'\n")


def test_replicas_share_the_work():
    """Of four replicas each gets some, together they get everything once; each knows its index and the count."""
    stage = """
        # -n 4 work.py
        import interlace
        me = interlace.current_worker()
        assert me.count == 4 and me.name == f"work.py-{me.index + 1}", me
        interlace.output.send((me.index, "here"))
        for n in interlace.input:
            interlace.output.send((me.index, n))
    """
    collect = """
        import interlace
        got = list(interlace.input)
        assert sorted(index for index, n in got if n == "here") == [0, 1, 2, 3]
        numbers = [n for _, n in got if n != "here"]
        print(sorted(numbers) == list(range(3000)))
        for index in range(4):
            own = [n for i, n in got if i == index and n != "here"]
            assert own == sorted(own)
    """
    pipe(f"{NUMBERS} 3000", stage, collect).expect(0, "True\n")


def test_a_consumer_that_ends_early_ends_the_pipeline_quietly():
    """Like `| head`: a stage that has enough, in the middle or at the end; the exit code is 0."""
    endless = "\nimport interlace, itertools\nfor n in itertools.count():\n    interlace.output.send(n)\n"
    three = "\nimport interlace\nfor _ in range(3):\n    interlace.output.send(interlace.input.recv())\n"
    for stages in ([endless, three], [endless, COPY, "-n 2 " + write(three), COPY], [endless, COPY, three],
                   [endless, three, COPY]):  # fmt: skip
        ended = pipe(*stages).expect(0, None)
        assert len(ended.out.splitlines()) in (3, 6), ended.describe()
        assert ended.seconds < 10
    pipe(endless, "-c pass").expect(0, "")
    many = "\nimport interlace, itertools\ninterlace.output.send_many(itertools.count())\n"
    pipe(many, three).expect(0, "0\n1\n2\n")


def test_head_ends_the_pipeline_quietly():
    """A reader of standard output that goes: exit code 0, nothing on stderr."""
    endless = write("import interlace, itertools\nfor n in itertools.count():\n    interlace.output.send(n)\n")
    seven = write("import interlace\nfor x in interlace.input:\n    interlace.output.send(7)\n")
    shell = '"$0" pipe "$@" | head -n 2; echo "${PIPESTATUS[0]}"'
    for stages in ([endless], [endless, COPY], [endless, f"-n 3 {seven}"]):
        ended = command("bash", "-c", shell, BINARY, *stages).expect(0, None)
        assert ended.out.endswith("\n0\n"), ended.describe()
        equal(len(ended.out.splitlines()), 3)
    yes = command("bash", "-c", 'yes | "$0" pipe "$1" | head -n 1; echo "${PIPESTATUS[@]}"', BINARY, COPY)
    assert yes.out.startswith("y\n141 0 0") or yes.out.startswith("y\n1 0 0"), yes.describe()


def test_a_full_disk_fails_the_pipeline():
    """Also when it is a flush before a wait that meets it: exit code 1 and one message, as where print meets it."""
    waits = """
        import contextlib, interlace
        interlace.output.send(1)
        sender, receiver = interlace.channel(0)
        with contextlib.suppress(TimeoutError):
            receiver.recv(timeout=0.01)  # flushes, and fails
    """
    sends = write(f"{waits}    interlace.output.send(2)\n")
    exits = write(f"{waits}    raise SystemExit\n")
    shell = 'exec "$0" pipe "$@" >/dev/full'
    process = f"--isolation process {COPY}"
    for stages in ([sends], [f"--isolation process {sends}"], [exits], [COPY], [process], [COPY, process], [COPY, COPY]):
        ended = command("sh", "-c", shell, BINARY, *stages, stdin=b"line\n" * 3000)
        ended.expect(1, "", ("No space left on device",))
        equal((ended.err.count("No space left"), ended.err.count("Error")), (1, 1))


def test_stages_that_only_print():
    """A stage need not touch its ends: print goes to standard output, and the next stage has no input."""
    pipe("-c 'print(1)'", "-c 'import interlace; print(list(interlace.input))'").expect(0, None)
    host("pipe", "-c 'print(1)'").expect(0, "1\n")


def test_input_and_output_are_ends():
    """In the middle both are ends like any other; at the edges output writes lines and input is a Receiver."""
    stage = """
        import interlace
        from interlace import input, output
        assert input is interlace.input and output is interlace.output
        assert type(input) is interlace.Receiver and type(output) is interlace.Sender
        with output:
            for case, value in iter(lambda: interlace.select(input, interlace.after(30)), None):
                output.send_many(value)
                if value[-1] == 5:
                    break
        assert input.name == "stage 1 to 2" and output.name == "stage 2 to 3"
    """
    source = "\nimport interlace\ninterlace.output.send((1, 2, 3))\ninterlace.output.send([4, 5])\n"
    last = """
        import interlace
        output = interlace.output
        with output:
            assert output.send_many(interlace.input, timeout=5) == 5
            assert output.stats()["messages"] == 5 and len(output) == 0 and output
        try:
            output.send(6)
        except ValueError as error:
            assert "closed" in str(error)
            print("refused")
    """
    pipe(source, stage, last).expect(0, "1\n2\n3\n4\n5\nrefused\n")


def test_ends_travel_between_stages():
    """A stage sends a sender for the answer to the next one, which uses it."""
    asks = """
        import interlace
        reply, answers = interlace.channel(1)
        interlace.output.send(("question", reply))
        reply.close()
        print(answers.recv())
    """
    replies = "\nimport interlace\nfor text, reply in interlace.input:\n    reply.send('answer to ' + text)\n"
    pipe(asks, replies).expect(0, "answer to question\n")


def test_groups_in_stages_and_ends_as_arguments():
    """A stage starts workers of its own script and hands them its input and output."""
    stage = """
        import interlace

        def square(numbers, squares):
            for n in numbers:
                squares.send(n * n)

        with interlace.Group() as group:
            for _ in range(3):
                group.start(square, interlace.input, interlace.output)
    """
    ended = pipe(f"{NUMBERS} 100", stage, COPY).expect(0, None)
    equal(sorted(map(int, ended.out.split())), [n * n for n in range(100)])


def test_words_of_a_stage_are_split_as_a_shell_does():
    """Quotes and backslashes; arguments reach sys.argv."""
    path = write("import sys\nprint(sys.argv[1:])\n", "with space.py")
    host("pipe", f"'{path}' one 'two words' \"three's\" four\\ five -n 0").expect(
        0, "['one', 'two words', \"three's\", 'four five', '-n', '0']\n"
    )


def test_an_empty_pipeline_stage_passes_the_end_on():
    """The first stage ends without sending: the others get no input and end."""
    pipe("-c pass", COPY, "-n 3 " + write("import interlace\nprint(list(interlace.input))\n")).expect(0, "[]\n" * 3)


def test_a_stage_waits_no_longer_than_its_input():
    """Lines come through while standard input stays open."""
    flush = "-c 'import interlace\nfor x in interlace.input: print(x.upper(), flush=True)'"
    with start_pipe(COPY, flush, stdin=b"") as started:
        for word in (b"one", b"two"):
            started.write(word + b"\n")
            started.printed(word.decode().upper())
        started.end().expect(0, "ONE\nTWO\n")


def test_not_in_a_stage():
    """In a script of `run` there is neither; in a worker of a stage there is neither."""
    assert not hasattr(interlace, "input") and not hasattr(interlace, "output")
    with raises(ImportError, "input"):
        from interlace import input  # noqa: F401
    show = "import interlace\nprint('input' in dir(interlace), hasattr(interlace, 'output'))\n"
    run(show).expect(0, "False False\n")
