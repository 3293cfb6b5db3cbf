"""W2: the five stalls other libraries are known for end at once here, as a pipeline and as a group."""

from support import equal, pipe, run

LIMIT = 5.0  # seconds; on an idle machine each takes a fifth of one

ENDLESS = """
    # source.py
    import interlace, itertools
    for n in itertools.count():
        interlace.output.send(n)
"""
COPY = "-n 2 -c 'import interlace\nfor x in interlace.input: interlace.output.send(x)'"
DRAIN = "-c 'import interlace\nfor x in interlace.input: pass'"


def failing(ended, worker, *words):
    """It ended soon, with 1 and one traceback, which names the worker."""
    ended.expect(1, None, (f"interlace: worker '{worker}' failed:", *words))
    for text in ("failed:", "Traceback (most recent call last)"):
        equal((text, ended.err.count(text)), (text, 1))
    assert ended.seconds < LIMIT, ended.describe()


def test_pipe_a_stage_raises_while_its_input_is_full():
    """The queue before it never empties again; the stages before it end without a word."""
    raises = """
        # boom.py
        import interlace
        receiver = interlace.input
        receiver.recv()
        while len(receiver) < 64:
            pass
        raise LookupError("enough")
    """
    failing(pipe(ENDLESS, raises), "boom.py", "LookupError: enough", "line 7")
    failing(pipe(ENDLESS, COPY, raises, DRAIN), "boom.py", "LookupError: enough")


def test_pipe_a_stage_raises_while_upstream_is_blocked_in_send():
    """The source sits in a send to a full channel; it is woken, and cleans up."""
    source = """
        # source.py
        import interlace, sys
        try:
            for n in range(10**9):
                interlace.output.send(n)
        finally:
            print("cleaned", flush=True)
    """
    raises = """
        # boom.py
        import interlace
        while len(interlace.input) < 65:  # 64 wait, and the source itself
            pass
        1 / 0
    """
    ended = pipe(source, raises)
    failing(ended, "boom.py", "ZeroDivisionError")
    equal(ended.out, "cleaned\n")


def test_pipe_the_source_iterator_raises():
    """What it sent before comes through; the others get the end or are cancelled; one traceback."""
    source = """
        # source.py
        import interlace
        def broken():
            yield from range(200)
            raise OSError(5, "the disk is gone")
        interlace.output.send_many(broken())
    """
    for stages in [(source,), (source, DRAIN), (source, COPY, DRAIN), (source, COPY, COPY, COPY)]:
        failing(pipe(*stages), "source.py", "the disk is gone", "line 5, in broken")


def test_pipe_the_last_stage_stops_reading_early():
    """It ends without an error: so does everything before it, with 0 and without a word."""
    stops = "-c 'import interlace\nprint(interlace.input.recv())'"
    for stages in [(ENDLESS, stops), (ENDLESS, COPY, stops), (ENDLESS, COPY, COPY, stops)]:
        ended = pipe(*stages).expect(0, None, "")
        assert ended.seconds < LIMIT, ended.describe()
        equal(ended.out.count("\n"), 1)
    closes = "-c 'import interlace, sys\nwith interlace.input as i: print(i.recv())\nsys.stdin.read()'"
    ended = pipe(ENDLESS, closes).expect(0, "0\n", "")
    assert ended.seconds < LIMIT, ended.describe()


def test_pipe_an_exception_that_cannot_be_pickled():
    """It is printed with its own type and text, and ends the pipeline."""
    raises = """
        # boom.py
        import interlace
        class Odd(Exception):
            def __reduce__(self):
                raise RuntimeError("no pickle of me")
        for x in interlace.input:
            raise Odd("odd one")
    """
    failing(pipe(ENDLESS, raises, DRAIN), "boom.py", "Odd: odd one")


# The same with a group: each script says how its group failed, and after how long it had ended.
GROUP = """
    import itertools, time
    import interlace

    class Odd(Exception):
        def __reduce__(self):
            raise RuntimeError("no pickle of me")

    def source(sender):
        sender.send_many(itertools.count())

    def broken_source(sender):
        def broken():
            yield from range(200)
            raise OSError(5, "the disk is gone")
        sender.send_many(broken())

    def copy(receiver, sender):
        for x in receiver:
            sender.send(x)

    def raise_when_full(receiver, sender, error):
        while len(receiver) < 5:
            pass
        raise error

    def raise_odd(receiver, sender):
        raise Odd("odd one")

    def stop(receiver, sender):
        sender.send(receiver.recv())

    def main(first, middle, *args):
        start = time.monotonic()
        try:
            with interlace.Group("g") as group:
                sender, numbers = interlace.channel(4)
                out, results = interlace.channel(4)
                group.start(first, sender)
                group.start(middle, numbers, out, *args, name="boom")
                del sender, numbers, out
                print("got", *results)
        except ExceptionGroup as errors:
            print(type(errors.exceptions[0]).__name__, *errors.exceptions)
            assert len(errors.exceptions) == 1 and "in worker '" in str(errors.exceptions[0].__cause__)
        assert time.monotonic() - start < 5
"""


def in_group(call, out):
    ended = run(f"{GROUP}\n    {call}\n").expect(0, out)
    assert ended.seconds < LIMIT, ended.describe()


def test_group_a_worker_raises_while_its_input_is_full():
    """The source waits in send for ever; the group ends with the one failure."""
    in_group("main(source, raise_when_full, LookupError('enough'))", "LookupError enough\n")


def test_group_the_source_iterator_raises():
    """Everybody else gets the end or is cancelled."""
    in_group("main(broken_source, copy)", ("OSError [Errno 5] the disk is gone\n",))


def test_group_the_last_worker_stops_reading_early():
    """The source's BrokenChannel is a failure of the group, as its author did not expect it: it ends all the same."""
    in_group("main(source, stop)", ("BrokenChannel ", "every receiver is gone"))


def test_group_an_exception_that_cannot_be_pickled():
    """A RemoteError stands for it."""
    in_group("main(source, raise_odd)", "RemoteError Odd: odd one\n")


def test_group_an_uncaught_failure_is_one_traceback():
    """Not caught by the script it is printed once, names the worker, and the exit code is 1."""
    script = GROUP.replace("except ExceptionGroup as errors", "except ArithmeticError as errors")
    ended = run(f"{script}\n    main(source, raise_when_full, LookupError('enough'))\n").expect(
        1, "", ("worker 'script.py' failed", "in worker 'boom'", "LookupError: enough")
    )
    equal(ended.err.count("raise error"), 1)
    assert ended.seconds < LIMIT, ended.describe()
