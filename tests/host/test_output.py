"""W8: lines of several workers are never torn, and may be tagged."""

import random
import re
import textwrap

from support import BINARY, command, equal, pipe, run, start, write

# Every worker writes lines of its own letter in pieces, flushing after each.
PIECES = """
    import random, sys
    import interlace

    def write(letter, seed, fd, ready, go):
        ready.send(None)
        go.recv()
        chance = random.Random(seed)
        out = sys.stdout if fd == 1 else sys.stderr
        for n in range(300):
            left = chance.choice([0, 1, 5, 80, 3000])
            out.write(f"<{letter}{n}:{left}:")
            while left > 0:
                piece = min(left, chance.randint(1, 1000))
                out.write(letter * piece)
                out.flush()
                left -= piece
            out.write(">\\n")
            if chance.random() < 0.3:
                out.flush()

    def main():
        seed = int(sys.argv[1])
        (tell, ready), (go, gone) = interlace.channel(8), interlace.channel(8)
        with interlace.Group() as group:
            for i, letter in enumerate("abcdefgh"):
                group.start(write, letter, seed + i, int(sys.argv[2]), tell, gone, name=f"writer {letter}")
            for _ in range(8):
                ready.recv()
            go.send_many([None] * 8)
            for n in range(100):
                print("<script>", flush=True)

    main()
"""


def check_lines(text, pattern):
    """Every line is a whole one, and those of one worker are in order."""
    seen = {}
    for line in text.splitlines():
        match = re.fullmatch(pattern, line)
        assert match, f"a torn line: {line[:300]!r}"
        letter, number, size, body = match.groups()
        equal(body, letter * int(size))
        equal(int(number), seen.get(letter, -1) + 1)
        seen[letter] = int(number)
    equal(seen, dict.fromkeys("abcdefgh", 299))


def test_w8_lines_are_never_torn():
    """Eight workers write 300 lines each, in pieces, to stdout or stderr; the script writes, too."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    for fd in (1, 2):
        ended = run(PIECES, str(seed), str(fd)).expect(0, None, None)
        text = ended.out if fd == 1 else ended.err
        equal(ended.out.count("<script>\n"), 100)
        check_lines(text.replace("<script>\n", ""), r"<([a-h])(\d+):(\d+):([a-h]*)>")


def test_w8_tag_prefixes_every_line():
    """--tag begins each line with the worker's name, and tears none either."""
    ended = run(PIECES, "1", "1", words=["--tag"]).expect(0, None)
    script = "[script.py] <script>\n"
    equal(ended.out.count(script), 100)
    check_lines(ended.out.replace(script, ""), r"\[writer [a-h]\] <([a-h])(\d+):(\d+):([a-h]*)>")
    tags = re.findall(r"^\[writer ([a-h])\] <([a-h])", ended.out, re.M)
    assert tags and all(tag == letter for tag, letter in tags)


def test_w8_tag_of_errors_and_of_unfinished_lines():
    """Tracebacks are tagged, too; a last line without a newline is whole; empty lines have their tag."""
    ended = run(
        """
        import sys
        print("one\\n\\ntwo", end="", flush=True)
        print(" three", flush=True)
        sys.stderr.write("half")
        sys.stderr.flush()
        sys.stderr.write(" line\\n")
        print("end", end="")
        1 / 0
        """,
        words=["--tag"],
    ).expect(1, "[script.py] one\n[script.py] \n[script.py] two three\n[script.py] end", ("ZeroDivisionError",))
    for line in ended.err.splitlines():
        assert line.startswith(("[script.py] ", "interlace: ")), f"untagged: {line!r}"
    assert "[script.py] half line\n" in ended.err, ended.describe()


def test_w8_replicas_and_stages_are_tagged():
    """With the numbered names of replicas, in run and in pipe."""
    ended = run("print('x')\n", words=["-n", "3", "--tag"]).expect(0, None)
    equal(sorted(ended.out.splitlines()), [f"[script.py-{n}] x" for n in (1, 2, 3)])
    ended = pipe("\n# one.py\nprint('x')\n", "-c \"print('y')\"", words=["--tag"]).expect(0, None)
    equal(sorted(ended.out.splitlines()), ["[-c] y", "[one.py] x"])


def test_w8_unfinished_lines_do_not_mix():
    """What workers leave without a newline comes out whole when they end, each in one piece."""
    ended = run(
        """
        import sys
        import interlace

        def leave(letter):
            for _ in range(100):
                sys.stdout.write(letter)
                sys.stdout.flush()

        with interlace.Group() as group:
            for letter in "abcd":
                group.start(leave, letter)
        print("end")
        """
    ).expect(0, None)
    for letter in "abcd":
        assert letter * 100 in ended.out, ended.describe()
    assert ended.out.endswith("end\n"), ended.describe()


def test_w8_one_worker_alone_may_prompt():
    """What a lone worker flushes without a newline is there at once."""
    with start(
        """
        import sys
        sys.stdout.write("prompt> ")
        sys.stdout.flush()
        print("got", sys.stdin.readline())
        """,
        stdin=b"",
    ) as started:
        started.printed("prompt> ")
        started.write(b"answer\n")
        started.end().expect(0, "prompt> got answer\n\n")


def test_w8_streams_are_ordinary():
    """Encoding, buffer, fileno, writelines, redirection, and print to both at the end without a flush."""
    run(
        """
        import contextlib, io, os, sys
        import interlace

        def work():
            assert sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2 and not sys.stdout.isatty()
            assert sys.stdout.encoding == "utf-8" and sys.stdout.writable() and sys.__stdout__ is sys.stdout
            assert sys.stdout.name == "<stdout>" and sys.stdout.mode == "w"
            sys.stdout.buffer.write(b"bytes \\xc3\\xa4\\n")
            sys.stdout.writelines(["lines\\n", "\\u20ac\\n"])
            with contextlib.redirect_stdout(io.StringIO()) as file:
                print("caught")
            print("big", len("x" * 3_000_000), "x" * 3_000_000)
            print("unflushed", end="")
            print("error, unflushed", end="", file=sys.stderr)
            assert file.getvalue() == "caught\\n"

        with interlace.Group() as group:
            group.start(work)
        """
    ).expect(0, f"bytes \u00e4\nlines\n\u20ac\nbig 3000000 {'x' * 3_000_000}\nunflushed", "error, unflushed")


def test_w8_closed_standard_streams():
    """Started without one of them, what is written there goes nowhere, and a channel works all the same."""
    code = "import interlace as i, sys; s, r = i.channel(1); print(1, flush=True); s.send(2); sys.exit(r.recv() + 3)"
    for closed in (">&-", "<&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        out = "" if closed.replace("2>", "").find(">") >= 0 else "1\n"
        command("sh", "-c", f'exec "{BINARY}" run -c "{code}" {closed}').expect(5, out, "")
    code = "import sys; print(sys.stdin.read() if sys.stdin else '')"
    command("sh", "-c", f'exec "{BINARY}" run -c "{code}" <&-').expect(0, "\n")


def test_w8_a_full_disk():
    """Output that cannot be written is a failure with one message, also when it is only noticed at the end."""
    for code in ("print(1)", "print(1, flush=True)"):
        ended = command("sh", "-c", f'exec "{BINARY}" run -c "{code}" >/dev/full')
        ended.expect(1, "", ("No space left on device",))
        equal(ended.err.count("No space left"), 1)


def test_w8_a_full_disk_that_was_passed_over():
    """Who catches the error still has what could not be written: that is told at the end, in one message, however it ends."""
    prints = textwrap.dedent("""
        import atexit, contextlib, sys
        def prints():
            with contextlib.suppress(OSError):
                for n in range(100_000):  # more than is buffered
                    print(n)
    """)
    for end in ("prints()", "prints(); sys.exit()", "prints(); sys.exit(0)", "atexit.register(prints)"):
        ended = command("sh", "-c", 'exec "$0" run "$1" >/dev/full', BINARY, write(f"{prints}\n{end}\n"))
        ended.expect(1, "", ("No space left on device",))
        equal(ended.err.count("No space left"), 1)
        assert "SystemExit" not in ended.err, ended.describe()
