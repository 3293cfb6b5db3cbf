"""--isolation: run and pipe with workers in processes; what they print; their exit codes."""

import os

from support import Started, equal, host, pipe, run, start_pipe, write, BINARY

WHERE = "import os; print(os.getppid() if 'INTERLACE_TEST_PARENT' not in os.environ else '')"


def test_run_in_a_process():
    """The script is __main__, with its arguments and standard input, its functions targets; exit codes are passed on."""
    text = """
        import os, sys
        import interlace
        def double(x):
            return 2 * x, os.getpid()
        if __name__ == "__main__":
            print(sys.argv[1:], sys.stdin.read())
            with interlace.Group() as group:
                value, pid = group.start(double, 21).result()
                print(value, pid == os.getpid(), open("/proc/self/cmdline").read().split("\\0")[1])
            sys.exit(7)
    """
    words = "--isolation", "process"
    ended = run(text, "one", "two", words=words, stdin=b"from stdin")
    ended.expect(7, "['one', 'two'] from stdin\n42 True __worker\n")
    host("run", "--isolation=process", "-c", "print(6 * 7)").expect(0, "42\n")
    host("run", "--isolation=process", "-n", "3", "-c", "print(1)").expect(0, "1\n1\n1\n")
    host("run", "--isolation=process", "-m", "platform").expect(0, ("Linux",))
    host("run", "--isolation=threads", "-c", "0").expect(2, "", ("--isolation is interpreter, process or auto",))
    host("pipe", "--isolation", "x", "-c 0").expect(2, "", ("pipe: --isolation is",))
    host("pipe", "--isolation=x -c 0").expect(2, "", ("pipe: stage 1: --isolation is",))


def test_w9_an_uncaught_exception_is_printed_once():
    ended = run("def f():\n    1 / 0\nf()\n", words=("--isolation=process",))
    ended.expect(1, "", ("interlace: worker 'script.py' failed:\nTraceback", "line 2, in f", "ZeroDivisionError"))
    equal(ended.err.count("ZeroDivisionError"), 1)
    equal("<interlace>" in ended.err, False)


def test_pipe_of_both_kinds():
    """Lines in, lines out; the option of a stage, and that of the command for those that have none."""
    text = """
        # -n 2 stage.py
        import os, interlace
        for seen, line in interlace.input:
            interlace.output.send((seen + [os.getpid()], line))
    """
    first = "-c 'import os, interlace; [interlace.output.send(([os.getpid()], line)) for line in interlace.input]'"
    last = "--isolation=interpreter -c 'import os, interlace; [print(*s, os.getpid(), x) for s, x in interlace.input]'"
    lines = "".join(f"{n}\n" for n in range(300)).encode()
    ended = pipe(first, text, last, words=("--isolation=process",), stdin=lines).expect(0)
    rows = [line.split() for line in ended.out.splitlines()]
    equal(sorted(int(row[3]) for row in rows), list(range(300)))
    equal(len({row[0] for row in rows}), 1)
    equal(len({row[2] for row in rows}), 1)
    assert all(len({*row[:3]}) == 3 for row in rows), rows[:3]


def test_a_reader_that_ends_early():
    """`| head` ends a pipeline of processes quietly."""
    endless = "-c 'import interlace, itertools; [interlace.output.send(n) for n in itertools.count()]'"
    passing = "-c 'import interlace; [interlace.output.send(x) for x in interlace.input]'"
    words = f"'{BINARY}' pipe --isolation=process \"{endless}\" \"{passing}\" | head -n 2; echo ${{PIPESTATUS[0]}}"
    with Started(["bash", "-c", words]) as started:
        started.end().expect(0, "0\n1\n0\n")


TALKING = """
    # -n 4 talk.py
    import os, sys
    import interlace
    me = interlace.current_worker().index
    for n in range(40):
        line = f"{me}:{n}:" + chr(97 + me) * 30000
        if n % 3:
            print(line)
        else:
            sys.stdout.write(line[:100])
            sys.stdout.flush()
            sys.stdout.write(line[100:] + "\\n")
        print(f"{me}:{n}", file=sys.stderr)
"""


def test_w8_lines_are_never_torn():
    """Lines longer than a pipe, of several processes and interpreters, through a pipe; tagged ones as well."""
    for words in ((), ("--tag",)):
        path = write(TALKING, "talk.py")
        stages = f"-n 3 --isolation=process {path}", f"-n 3 {path}"
        arguments = " ".join(["pipe", *words, *(f"'{stage}'" for stage in stages)])
        with Started(["bash", "-c", f"{{ '{BINARY}' {arguments} 2>&1 >&3 3>&- | cat >&2; }} 3>&1 | cat"]) as started:
            ended = started.end(60).expect(0, err=("0:0",))
        wanted = sorted(f"{me}:{n}:" + chr(97 + me) * 30000 for me in range(3) for n in range(40)) * 2
        got = ended.out.splitlines()
        if words:
            tags = {line.partition(" ")[0] for line in got + ended.err.splitlines()}
            equal(tags, {f"[talk.py-{n}]" for n in (1, 2, 3)})
            got = [line.partition(" ")[2] for line in got]
        equal(len(got), 240)
        equal(sorted(got), sorted(wanted))
        equal(len(ended.err.splitlines()), 240)


def test_the_first_failure_ends_a_pipeline():
    """A stage in a process fails: the others are cancelled, and the exit status is 1; sys.exit(3) of one is 3."""
    source = "-c 'import interlace; [interlace.output.send(1) for _ in iter(int, 1)]'"
    failing = "\n# bad.py\nimport interlace\ninterlace.input.recv()\nraise LookupError('no luck')\n"
    pipe(source, failing, words=("--isolation=process",)).expect(1, "", ("worker 'bad.py' failed", "no luck"))
    leaving = "\n# bad.py\nimport sys\nimport interlace\ninterlace.input.recv()\nsys.exit(3)\n"
    pipe(source, leaving, words=("--isolation=process",)).expect(3, "")


def test_standard_input_is_read_when_it_is_wanted():
    """A first stage in a process that does not ask for its input leaves it to others, and one that does gets it as it comes."""
    text = "\n# echo.py\nimport interlace\nfor line in interlace.input:\n    interlace.output.send(line.upper())\n"
    with start_pipe(text, words=("--isolation=process",), stdin=True) as started:
        started.write(b"one\n")
        started.printed("ONE\n")
        started.write(b"two\n")
        started.printed("TWO\n")
        started.end().expect(0, "ONE\nTWO\n")
    reading = "--isolation=process -c 'import sys; print(sys.stdin.read())'"
    host("pipe", reading, stdin=b"whole").expect(0, "whole\n")


def test_the_command_is_for_interlace_itself():
    host("__worker").expect(2, "", ("is for interlace itself",))
    host("__worker", "x", "1", str(os.getpid())).expect(2, "", ("is for interlace itself",))
