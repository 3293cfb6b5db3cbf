"""The command line: help, versions, exit codes, options."""

import os
import sys

from support import BINARY, command, equal, host, pipe, run, write


def test_help_of_everything():
    """Each --help goes to stdout with an example and the exit codes; no Python is started for it."""
    for words, found in [
        (["--help"], ("Usage: interlace COMMAND", "run", "pipe", "Example", "130")),
        (["-h"], ("Usage: interlace COMMAND",)),
        (["help"], ("Usage: interlace COMMAND",)),
        (["run", "--help"], ("Usage: interlace run", "-m MODULE", "-c CODE", "--workers", "--tag", "--grace", "130")),
        (["run", "-h"], ("Usage: interlace run",)),
        (["pipe", "--help"], ("Usage: interlace pipe", "STAGE", "--tag", "--grace", "Example", "| head", "130")),
        (["pipe", "-h"], ("Usage: interlace pipe",)),
    ]:
        ended = host(*words).expect(0, found)
        assert all(len(line) <= 119 for line in ended.out.splitlines()), ended.out


def test_version():
    """Its own version and that of CPython."""
    version = ".".join(map(str, sys.version_info[:3]))
    for word in ("--version", "-V"):
        ended = host(word).expect(0, ("interlace ", f"(CPython {version}"))
        equal(ended.out.count("\n"), 1)


def test_usage_errors_exit_with_2():
    """One line on stderr that names what is wrong, and nothing on stdout."""
    script = write("print('must not run')\n")
    for words, found in [
        (["walk"], ["'walk' is not a command", "run, pipe, map, graph, doctor, dump, top and key", "--help"]),
        (["--frob"], ["'--frob' is not a command"]),
        (["run"], ["run: a script is missing", "-m MODULE"]),
        (["run", "-n"], ["-n needs a value"]),
        (["run", "-n", "2"], ["a script is missing"]),
        (["run", "-m"], ["-m needs a value"]),
        (["run", "-c"], ["-c needs a value"]),
        (["run", "--grace"], ["--grace needs a value"]),
        (["run", "--frob", script], ["unknown option --frob"]),
        (["run", "-x", script], ["unknown option -x"]),
        (["run", "-n", "0", script], ["-n takes a number of workers from 1 to 10000, not '0'"]),
        (["run", "-n", "-1", script], ["-n takes", "'-1'"]),
        (["run", "-n", "100000", script], ["-n takes a number of workers from 1 to 10000, not '100000'"]),
        (["run", "-n", "9" * 40, script], ["-n takes", "999"]),
        (["run", "-n", "two", script], ["'two'"]),
        (["run", "-n", "1.5", script], ["'1.5'"]),
        (["run", "-n", "", script], ["''"]),
        (["run", "--workers=0", script], ["'0'"]),
        (["run", "no/such.py"], ["run: cannot open 'no/such.py': No such file or directory"]),
        (["run", ""], ["cannot open ''"]),
        (["pipe"], ["pipe: a stage is missing", "--help"]),
        (["pipe", "-n", "2", script], ["unknown option -n", "inside its quotes"]),
        (["pipe", "--tag"], ["a stage is missing"]),
        (["pipe", script, ""], ["pipe: stage 2: a script is missing"]),
        (["pipe", script, "no/such.py -x"], ["pipe: stage 2: cannot open 'no/such.py': No such file or directory"]),
        (["pipe", "-n 0 " + script, script], ["pipe: stage 1: -n takes a number of workers", "'0'"]),
        (["pipe", script, "-n 0 " + script], ["pipe: stage 2: -n takes a number of workers", "'0'"]),
        (["pipe", script, "'unclosed"], ["pipe: stage 2: ", "No closing quotation"]),
        (["pipe", script, "--tag " + script], ["pipe: stage 2: --tag belongs before the first stage"]),
        (["pipe", script, "--stats " + script], ["pipe: stage 2: --stats belongs before the first stage"]),
        (["run", "--trace"], ["run: --trace needs a value"]),
        (["run", "--trace", "--stats", script], ["run: --trace needs the name of a file, not '--stats'", "./--stats"]),
        (["run", "--report", "", script], ["run: --report needs the name of a file, not ''"]),
        (["run", "--report", "a", "--report", "b", script], ["run: --report is given twice"]),
        (["run", "--trace", "x", "--report", "x", script], ["--trace and --report need a file each, not 'x' for both"]),
        (["pipe", "--trace", "no/such/place", script], ["pipe: --trace: cannot write 'no/such/place': No such file"]),
        (["map", "--report", "no/such/place", "-c", "line"], ["map: --report: cannot write 'no/such/place': No such"]),
        (["graph"], ["graph: '' is neither pipe nor run", "interlace graph pipe"]),
        (["graph", "map", "-c", "line"], ["graph: 'map' is neither pipe nor run"]),
        (["graph", "-f", "png", "pipe", script], ["graph: --format takes dot, mermaid or svg, not 'png'"]),
        (["graph", "--frob", "pipe", script], ["graph: unknown option --frob", "--help"]),
        (["graph", "-o", "no/such/place", "pipe", script], ["-o: cannot write 'no/such/place': No such file"]),
        (["pipe", script, "--help"], ["pipe: stage 2: --help is not for a stage"]),
        (["pipe", *[f" -n 9000 {script}"] * 2], ["pipe: that is more than 10000 workers in all"]),
    ]:
        ended = host(*words).expect(2, "", ("interlace: ", *found))
        equal((words, ended.err.count("\n")), (words, 1))


def test_usage_without_a_command():
    """`interlace` alone shows the usage on stderr and exits with 2."""
    host().expect(2, "", ("Usage: interlace COMMAND",))


def test_a_folder_and_an_unreadable_file():
    """What can be opened but holds no script fails with a message, exit code 1 or 2."""
    ended = host("run", os.path.dirname(write("")))
    assert ended.code in (1, 2), ended.describe()
    assert "__main__" in ended.err and "Traceback" not in ended.err, ended.describe()


def test_exit_codes_of_scripts():
    """0, what sys.exit says, 1 for an exception or a text, as with python."""
    for code, wanted, err in [
        ("pass", 0, ""),
        ("import sys; sys.exit(5)", 5, ""),
        ("import sys; sys.exit(0)", 0, ""),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(255)", 255, ""),
        ("import sys; sys.exit(-1)", 255, ""),
        ("import sys; sys.exit(True)", 1, ""),
        ("import sys; sys.exit('reason')", 1, "reason\n"),
        ("import sys; sys.exit((1, 2))", 1, "(1, 2)\n"),
        ("raise SystemExit(7)", 7, ""),
        ("quit(3)", 3, ""),
        ("raise ValueError('text')", 1, ("worker '-c' failed", "ValueError: text")),
        ("raise KeyboardInterrupt", 1, ("KeyboardInterrupt",)),
    ]:
        host("run", "-c", code).expect(wanted, "", err)


def test_exit_codes_of_replicas_and_stages():
    """The first that failed, in the order of workers, tells the exit code."""
    run("import sys, interlace\nsys.exit(10 * interlace.current_worker().index)\n", words=["-n", "1"]).expect(0, "")
    ended = run("import sys\nsys.exit(9)\n", words=["-n", "4"]).expect(9, "")
    equal(ended.err, "")
    pipe("-c 'import sys; sys.exit(4)'", "-c 'import interlace; list(interlace.input)'").expect(4, "", None)
    pipe("-c pass", "-c 'import interlace, sys; list(interlace.input); sys.exit(6)'").expect(6, "")


def test_options_before_the_script_only():
    """What follows the script, -m MODULE or -c CODE is the script's, whatever it looks like."""
    show = "import sys; print(sys.argv[1:])"
    for words in (["run", write(show)], ["run", "-c", show], ["run", "-n1", "--tag", "--grace=1", "-c", show]):
        ended = host(*words, "-n", "0", "--help", "--", "-c").expect(0, None)
        assert ended.out.endswith("['-n', '0', '--help', '--', '-c']\n"), ended.describe()
    host("run", "--", write(show), "x").expect(0, "['x']\n")
    host("run", "-nx", "-c", show).expect(2, "", ("'x'",))
    host("run", "-n2", "-c", "import interlace; print(interlace.current_worker().count)").expect(0, "2\n2\n")
    host("run", "--workers", "2", "-c", "print(1)").expect(0, "1\n1\n")


def test_output_that_nobody_reads():
    """`interlace run ... | head -n 1` ends quietly with 0, however much is still to come."""
    script = write("import itertools\nfor n in itertools.count():\n    print(n)\n")
    late = write("print(1, flush=True)\nimport sys\nsys.stdin.read()\nprint(2)\n")
    shell = 'set -o pipefail; "$0" run "$1" | head -n 1; echo "${PIPESTATUS[0]}"'
    command("bash", "-c", shell, BINARY, script).expect(0, "0\n0\n")
    # it writes again only after the reader has gone
    shell = 'sleep 0.3 | "$0" run "$1" | read x; echo "${PIPESTATUS[1]}"'
    command("bash", "-c", shell, BINARY, late).expect(0, "0\n")


def test_environment_is_not_needed():
    """It runs with an empty environment and in a folder that is gone."""
    host("run", "-c", "print(1)", env={}).expect(0, "1\n")
    shell = 'd=$(mktemp -d); cd "$d"; rmdir "$d"; exec "$0" run -c "print(1)"'
    command("sh", "-c", shell, BINARY).expect(0, "1\n")


def test_files_may_be_limited():
    """ulimit -f: less shared memory than usual, and an error, as in Python, for a file that would be too large."""
    script = write("""
        with open("large", "wb") as file:
            file.truncate(1 << 30)
            try:
                file.truncate(1 << 40)
            except OSError as error:
                print(error.strerror)
    """)
    words = f"ulimit -f 4000000 && cd {os.path.dirname(script)} && exec {BINARY} run {script}"
    command("bash", "-c", words).expect(0, "File too large\n")
