"""interlace map: functions, workers, order, and its command line."""

import os
import time
from pathlib import Path

from map_support import NUMBERS, lines, run
from support import BINARY, Started, command, environment, equal, folder, host, write


# ---- functions ----------------------------------------------------------------------------------------------------


def test_a_function_of_a_module():
    """Found from the working folder and the library, also a method of a class; the module is not __main__."""
    where = folder()
    write(
        """
        def twice(line):
            return line * 2

        class Kind:
            @staticmethod
            def of(line):
                return f"{__name__} {line}"

        if __name__ == "__main__":
            raise SystemExit("not a script")
        """,
        "tools.py",
        where,
    )
    run("tools:twice", stdin="ab\nc\n", cwd=where).expect(0, "abab\ncc\n")
    run("tools:Kind.of", stdin="x\n", cwd=where).expect(0, "tools x\n")
    run("builtins:len", stdin="abc\n\n", cwd=where).expect(0, "3\n0\n")
    run("os.path:basename", stdin="/a/b\n").expect(0, "b\n")


def test_a_function_of_a_file():
    """By its path, from anywhere; the modules beside it are found."""
    path = write("import beside\ndef f(line):\n    return beside.ADDED + line\n", "some.py")
    write("ADDED = 'plus '\n", "beside.py", os.path.dirname(path))
    run(f"{path}:f", stdin="x\ny\n").expect(0, "plus x\nplus y\n")
    run("some.py:f", stdin="x\n", cwd=os.path.dirname(path)).expect(0, "plus x\n")
    run("./some.py:f", stdin="x\n", cwd=os.path.dirname(path)).expect(0, "plus x\n")
    # One that bears the name of a module that is in use hides nothing.
    path = write("import sys\ndef f(line):\n    return sys.path is not None\n", "sys.py")
    run(f"{path}:f", stdin="x\n").expect(0, "True\n")


def test_an_expression():
    """-c calls the item `line`; --import has modules at hand, also a module of a package, also several times."""
    run("-c", "line.upper()", stdin="a\n").expect(0, "A\n")
    run("-c", "  line + '#'  # a comment", stdin="a\n").expect(0, "a#\n")
    run("-c", "[line for _ in range(2)]", stdin="a\n").expect(0, "['a', 'a']\n")
    code = "math.floor(2.5), os.path.sep, re.sub('a', 'b', line)"
    run("--import", "math,os.path", "--import=re", "-c", code, stdin="a\n").expect(0, "(2, '/', 'b')\n")


def test_options_after_the_function():
    """They may stand there, too: a function takes no arguments."""
    run("builtins:int", "-n", "1", "--out", "json", stdin="007\n").expect(0, "7\n")


def test_what_is_no_function():
    """Exit code 2 and a line that says what to write instead."""
    path = write("value = 3\ndef f(line): pass\ndef y(line): yield line\nasync def a(line): pass\n", "mine.py")
    where = os.path.dirname(path)
    for words, found in [
        (["nowhere:f"], ["map: there is no module 'nowhere'", "nowhere.py:FUNCTION"]),
        (["os.nowhere:f"], ["there is no module 'os.nowhere'"]),
        (["mine:g"], ["map: 'mine' has no 'g'"]),
        (["mine.py:g"], ["map: 'mine.py' has no 'g'"]),
        (["mine.py:f.g"], ["map: 'mine.py:f' has no 'g'"]),
        (["mine:value"], ["map: 'mine:value' is not a function but of type int"]),
        (["mine:y"], ["map: 'mine:y' is a generator function: it takes one that returns its result, one for each item"]),
        (["mine:a"], ["map: 'mine:a' is an async function: it takes one that returns its result"]),
        (["-c", "line +"], ["map: -c takes an expression of `line`, not 'line +'", "invalid syntax"]),
        (["-c", ""], ["map: -c takes an expression"]),
        (["-c", "1) + (2"], ["map: -c takes an expression"]),
        (["-c", "x = 1"], ["map: -c takes an expression"]),
        (["--import", "nowhere", "-c", "1"], ["map: --import: No module named 'nowhere'"]),
    ]:
        ended = run(*words, stdin="1\n2\n", cwd=where).expect(2, "", ("interlace: ", *found))
        equal((words, ended.err.count("\n")), (words, 1))


def test_a_module_that_fails():
    """Its traceback, once, whatever the number of workers, and exit code 1."""
    path = write("import nowhere_to_be_found\n", "broken.py")
    ended = run("-n", "3", f"{path}:f", stdin=NUMBERS)
    ended.expect(1, "", ("cannot be loaded", "broken.py", "No module named 'nowhere_to_be_found'"))
    equal(ended.err.count("Traceback"), 1)
    run(f"{write('raise SystemExit(7)')}:f", stdin="1\n").expect(1, "", ("cannot be loaded", "SystemExit: 7"))


# ---- order and workers --------------------------------------------------------------------------------------------


def test_order_is_kept():
    """However long each item takes, with any number of workers and items in a batch."""
    spread = "time.sleep(hash(line) % 7 / 3000) or line"
    for workers in 1, 2, 7:
        run("-n", str(workers), "--import", "time", "-c", spread, stdin=lines(range(300))).expect(0, lines(range(300)))
    for batch in 1, 3, 1000:
        ended = run("-n", "4", "--batch", str(batch), "-c", "int(line) * 2", stdin=NUMBERS)
        ended.expect(0, lines(2 * n for n in range(1, 20001)))


def test_unordered():
    """Everything comes once, and what is done first comes first."""
    ended = run("-n", "3", "--unordered", "-c", "int(line) * 2", stdin=NUMBERS).expect(0)
    equal(sorted(map(int, ended.out.split())), [2 * n for n in range(1, 20001)])
    slow = "(time.sleep(0.5) if line == '0' else None) or line"
    ended = run("-n", "2", "--unordered", "--batch", "1", "--import", "time", "-c", slow, stdin=lines(range(20))).expect(0)
    equal(ended.out.split()[-1], "0")
    equal(sorted(map(int, ended.out.split())), list(range(20)))


def test_number_of_workers():
    """-n of them, by default one for each CPU the process may use; each has its own interpreter."""
    path = write(
        """
        import time, interlace
        def who(line):
            time.sleep(0.05)
            return interlace.current_worker().name
        """
    )
    for words, env, count in [
        (["-n", "3"], {}, 3),
        (["--workers=1"], {}, 1),
        ([], {}, os.process_cpu_count()),
        ([], {"PYTHON_CPU_COUNT": "5"}, 5),
    ]:
        ended = run(*words, f"{path}:who", stdin=lines(range(count * 8)), env=environment(**env)).expect(0)
        equal(set(ended.out.split()), {f"map-{number}" for number in range(1, count + 1)})


def test_batch():
    """--batch K hands out K items at a time: they go to one worker."""
    path = write("import interlace\nseen = []\ndef f(line):\n    seen.append(line)\n    return len(seen)\n")
    ended = run("-n", "1", "--batch", "4", f"{path}:f", stdin=lines(range(10))).expect(0)
    equal(ended.out, lines(range(1, 11)))
    path = write("import interlace, time\ndef f(line):\n    time.sleep(0.01)\n    return interlace.current_worker().name\n")
    who = run("-n", "3", "--batch", "4", f"{path}:f", stdin=lines(range(38))).expect(0).out.split()
    equal(len(who), 38)
    for at in range(0, 38, 4):
        equal(len(set(who[at : at + 4])), 1)


def test_few_slow_items_are_spread():
    """Without --batch, too: items that take long are handed out one by one."""
    ended = run("-n", "8", "--import", "time", "-c", "time.sleep(0.2) or line", stdin=lines(range(40)))
    ended.expect(0, lines(range(40)))
    assert ended.seconds < 6, f"8 s of sleep took 8 workers {ended.seconds:.1f} s"


def test_lines_are_done_as_they_come():
    """Nothing waits for a batch to be full: a line's result is there while the input is still open."""
    for words in [], ["--batch", "1000"], ["--unordered"], ["--in", "csv", "--batch", "50"], ["--in", "json"]:
        with Started([BINARY, "map", "-n", "2", *words, "-c", "line"], stdin=True) as started:
            for number in range(3):
                started.write(b"%d\n%d\n" % (number, 1000 + number))
                started.printed(f"{1000 + number}")
            started.end().expect(0)


# ---- the command line ---------------------------------------------------------------------------------------------


def test_usage_errors():
    """Unknown options, bad values, options that do not go together: exit code 2, one line with a hint."""
    script = write("def f(line): return line\n", "f.py")
    for words, found in [
        ([], ["map: a function is missing", "MODULE:FUNCTION", "-c EXPRESSION"]),
        (["f"], ["map: 'f' is not a function", "MODULE:FUNCTION"]),
        (["f:"], ["'f:' is not a function"]),
        ([":f"], ["':f' is not a function"]),
        ([script], ["is not a function"]),
        (["no/such.py:f"], ["map: cannot open 'no/such.py': No such file or directory"]),
        (["such.py:f"], ["map: cannot open 'such.py'"]),
        ([f"{script}:f", "data.txt"], ["map: 'data.txt' is one word too many", "standard input"]),
        (["-c", "line", f"{script}:f"], ["map: -c EXPRESSION and the function", "exclude each other"]),
        (["--import", "re", f"{script}:f"], ["map: --import is for -c EXPRESSION"]),
        (["--resume", "-c", "line"], ["map: --resume needs the --joblog FILE"]),
        (["--joblog", "", "-c", "line"], ["map: --joblog needs the name of a file"]),
        (["-n", "0", "-c", "line"], ["map: -n takes a number of workers from 1 to 10000, not '0'"]),
        (["--workers=x", "-c", "line"], ["map: -n takes", "'x'"]),
        (["--batch", "0", "-c", "line"], ["map: --batch takes a number of items from 1 to 1000000, not '0'"]),
        (["--batch=1.5", "-c", "line"], ["map: --batch takes", "'1.5'"]),
        (["--retries", "-1", "-c", "line"], ["map: --retries takes a number from 0", "'-1'"]),
        (["--timeout", "0", "-c", "line"], ["map: --timeout takes a number of seconds above 0, not '0'"]),
        (["--timeout", "soon", "-c", "line"], ["map: --timeout takes", "'soon'"]),
        (["--grace", "0", "-c", "line"], ["map: --grace takes a number of seconds above 0, not '0'"]),
        (["--in", "xml", "-c", "line"], ["map: --in takes lines, json, csv or null, not 'xml'"]),
        (["--in", "", "-c", "line"], ["map: --in takes", "''"]),
        (["--in", "json csv", "-c", "line"], ["map: --in takes", "'json csv'"]),
        (["--out", "csv", "-c", "line"], ["map: --out takes lines or json, not 'csv'"]),
        (["--in"], ["map: --in needs a value"]),
        (["-n"], ["map: -n needs a value"]),
        (["--frob", "-c", "line"], ["map: unknown option --frob", "interlace map --help"]),
        (["-x", "-c", "line"], ["map: unknown option -x"]),
        (["--tag", "-c", "line"], ["map: unknown option --tag"]),
    ]:
        ended = run(*words, stdin="x\n").expect(2, "", ("interlace: ", *found))
        equal((words, ended.err.count("\n")), (words, 1))


def test_help():
    """Every option, an example and the exit codes."""
    ended = host("map", "--help").expect(0, ("Usage: interlace map", "Example", "130"))
    for option in "workers in out unordered batch import retries timeout keep-going joblog resume progress grace help".split():
        assert f"--{option}" in ended.out, option
    assert all(len(line) <= 119 for line in ended.out.splitlines()), ended.out
    equal(host("map", "-h").expect(0).out, ended.out)
    host("--help").expect(0, ("map FUNCTION",))


# ---- the benchmark ------------------------------------------------------------------------------------------------


def test_the_benchmark():
    """tests/bench/map_1gb.py, over a few MiB: `map` and a program with one loop write the same."""
    script = Path(__file__).parents[1] / "bench" / "map_1gb.py"
    ended = host("run", script, "--mib", "3", "-n", "3", "--parallel", "", limit=60).expect(0, ("3 MiB, ", "map -n 3"))
    equal(ended.out.count(" s CPU "), 2)
