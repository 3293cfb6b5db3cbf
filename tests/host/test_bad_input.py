"""Bad input: each gets one clear message that says what to do, and the right exit code; never a hang or a crash."""

import importlib.util
import itertools
import os

from support import Skip, equal, folder, host, pipe, run, write


def failing(ended, *words):
    """It ended with 1 and one traceback that names the worker, with these words."""
    ended.expect(1, "", words)
    for text in ("Traceback (most recent call last)", "failed:"):
        equal((text, ended.err.count(text)), (text, 1))
    assert ended.seconds < 10, ended.describe()
    return ended


def test_a_script_that_does_not_exist():
    """One line and 2, in run, in a stage, and as Group's target (1)."""
    why = "cannot open 'missing.py': No such file or directory\n"
    host("run", "missing.py").expect(2, "", f"interlace: run: {why}")
    host("pipe", "missing.py").expect(2, "", f"interlace: pipe: stage 1: {why}")
    text = "import interlace\nwith interlace.Group() as group:\n    group.start('missing.py')\n"
    failing(run(text), "FileNotFoundError", "missing.py", "worker 'script.py' failed")


def test_a_script_that_may_not_be_read():
    """One line and 2."""
    path = write("")
    os.chmod(path, 0)
    if os.access(path, os.R_OK):
        raise Skip("root may read everything")
    host("run", path).expect(2, "", f"interlace: run: cannot open '{path}': Permission denied\n")


def test_a_module_that_does_not_exist():
    """-m of a missing module, of a package without __main__, of something with a dot too much."""
    for name, words in [("no_such_module", "No module named no_such_module"), ("email", "email.__main__"),
                        ("a.b.c", "a.b.c")]:  # fmt: skip
        ended = host("run", "-m", name, cwd=folder())
        ended.expect(1, "", ("interlace: worker", words))
        equal(ended.err.count("failed:"), 1)


def test_a_syntax_error():
    """The line and what is wrong with it, in run, in a stage, in an imported module, in -c."""
    text = "print('never')\nif True\n    pass\n"
    path = write(text, "wrong.py")
    for ended in (host("run", path), pipe(path, "-c 'import interlace; print(list(interlace.input))'")):
        assert ended.code == 1 and "never" not in ended.out, ended.describe()
        assert f'File "{path}", line 2' in ended.err and "SyntaxError: expected ':'" in ended.err, ended.describe()
        equal(ended.err.count("wrong.py' failed"), 1)
    host("run", "-c", "1 +").expect(1, "", ("worker '-c' failed", "SyntaxError"))
    host("run", "-c", "import wrong", cwd=os.path.dirname(path)).expect(1, "", ("wrong.py", "line 2", "SyntaxError"))


def test_bytes_that_are_no_source():
    """A binary file, one with a NUL byte, one in an encoding that is not UTF-8: an error, no crash."""
    for data in (bytes(range(256)), b"print(1)\0", "x = '\u00e4'".encode("latin-1"), b"\x7fELF" + bytes(1000)):
        path = folder() / "data.py"
        path.write_bytes(data)
        ended = host("run", path)
        ended.expect(1, "", ("worker 'data.py' failed", "Error"))
    path.write_bytes(b"\xef\xbb\xbf# a mark\r\nprint('read')\r\n")
    host("run", path).expect(0, "read\n")
    path.write_bytes("# coding: latin-1\nprint('\u00e4')\n".encode("latin-1"))
    host("run", path).expect(0, "\u00e4\n")
    path.write_bytes(b"")
    host("run", path).expect(0, "")


def test_a_stage_that_imports_a_missing_module():
    """The pipeline ends with 1, and one traceback that names the stage."""
    source = "\n# source.py\nimport interlace\nwhile True:\n    interlace.output.send('x')\n"
    bad = "\n# bad.py\nimport no_such_thing\n"
    for stages in [(source, bad), (bad, "-c 'import interlace; list(interlace.input)'")]:
        failing(pipe(*stages), "worker 'bad.py' failed", "ModuleNotFoundError: No module named 'no_such_thing'")


def test_modules_that_refuse_interpreters_with_an_own_gil():
    """The error names the module and the way out, in run, in a stage, and in a worker of a group."""
    for module in ("readline", "_curses"):
        if importlib.util.find_spec(module) is None:
            raise Skip(f"this Python has no {module}")
        text = f"import {module}\n"
        way_out = (module, "own GIL", 'isolation="process"')
        failing(run(text), "ImportError", *way_out)
        source = "-c 'import interlace; [interlace.output.send(1) for _ in range(1000)]'"
        failing(pipe(source, f"\n# bad.py\n{text}"), "worker 'bad.py' failed", *way_out)
        work = f"import interlace\ndef work():\n    import {module}\n"
        ended = run(f"{work}with interlace.Group() as group:\n    group.start(work)\n")
        ended.expect(1, "", ("ImportError", "in worker 'work-1'", *way_out))
        run(f"try:\n    import {module}\nexcept ImportError:\n    print('without')\n").expect(0, "without\n")


USES = {
    "a negative timeout": ("receiver.recv(timeout=-1)", "ValueError", ["timeout", "-1"]),
    "a timeout that is text": ("receiver.recv(timeout='1')", "TypeError", ["timeout", "str"]),
    "sending an open file": ("sender.send(open('/dev/null'))", "TypeError", ["path instead of an open file"]),
    "sending a lambda": ("sender.send(lambda: 1)", "PicklingError", ["top level"]),
    "sending a generator": ("sender.send(x for x in ())", "TypeError", ["generator", "send what it can rebuild"]),
    "sending to a closed end": ("sender.close(); sender.send(1)", "ValueError", ["'rows'", "this end is closed"]),
    "receiving from a closed end": ("receiver.close(); receiver.recv()", "ValueError", ["'rows'", "end is closed"]),
    "sending to nobody": ("receiver.close(); sender.send(1)", "BrokenChannel", ["'rows'", "every receiver is gone"]),
    "receiving from nobody": ("sender.close(); receiver.recv()", "EndOfChannel", ["'rows'", "every sender is gone"]),
    "plain pickle of an end": ("import pickle; pickle.dumps(sender)", "TypeError", ["be pickled", "Group.start"]),
    "a copy of an end": ("import copy; copy.deepcopy([receiver])", "TypeError", ["cannot be pickled or copied"]),
    "an end that is sent by queue": (
        "import multiprocessing.reduction as r; r.ForkingPickler.dumps(sender)", "TypeError", ["cannot be pickled"]),
    "no capacity": ("interlace.channel()", "TypeError", ["capacity", "rendezvous"]),
    "a message too big": ("interlace.channel(1, max_bytes=10)[0].send('x' * 100)", "ValueError", ["max_bytes"]),
    "select of nothing": ("interlace.select()", "ValueError", ["at least one case"]),
    "select of a sender": ("interlace.select(sender)", "TypeError", ["(Sender, obj)"]),
    "interlace.input in run": ("interlace.input", "AttributeError", ["only in a stage of `interlace pipe`"]),
    "interlace.output in run": ("interlace.output", "AttributeError", ["only in a stage of `interlace pipe`"]),
    "something that is not there": ("interlace.queue", "AttributeError", ["no attribute 'queue'"]),
    "a daemon thread": ("import threading; threading.Thread(daemon=True).start()", "RuntimeError", ["daemon"]),
    "fork": ("import os; os.fork()", "RuntimeError", ["fork"]),
    "exec": ("import os; os.execv('/bin/true', ['true'])", "RuntimeError", ["exec"]),
    "a start outside the block": ("interlace.Group().start(print)", "RuntimeError", ["inside the group's block"]),
}  # fmt: skip


def test_wrong_use_in_a_script():
    """Each ends the script with 1, one traceback and the words that help."""
    for what, (use, kind, words) in USES.items():
        code = f"import interlace; sender, receiver = interlace.channel(1, name='rows'); {use}"
        try:
            failing(host("run", "-c", code), kind, *words)
        except AssertionError as error:
            error.add_note(f"This was {what}.")
            raise


def test_wrong_use_in_a_worker():
    """The same mistakes, all at once in a group's workers: the group raises them with their types."""
    quiet = ("EndOfChannel", "BrokenChannel")  # of a worker that was cancelled these are no failures
    uses = {what: (use, kind) for what, (use, kind, _) in USES.items() if kind not in quiet}
    run(
        f"""
        import interlace

        USES = {uses!r}

        def work(use):
            sender, receiver = interlace.channel(1, name="rows")
            exec(use, {{"interlace": interlace, "sender": sender, "receiver": receiver}})

        for what, (use, kind) in USES.items():
            try:
                with interlace.Group() as group:
                    group.start(work, use)
            except* Exception as errors:
                [error] = errors.exceptions
                assert type(error).__name__ == kind, (what, error)
            else:
                raise AssertionError(what)
        print("all raised")
        """
    ).expect(0, "all raised\n")


def test_a_thousand_wrong_words():
    """Options in all combinations of two odd words: exit code 0, 1 or 2, and never a signal or a hang."""
    words = ["-n", "--", "-", "", "-c", "--tag", "-mm", "''", "\udcff", "-n\u0663", "x" * 5000]
    for number, pair in enumerate(itertools.permutations(words, 2)):
        ended = host(("run", "pipe")[number % 2], *pair)
        assert ended.code in (0, 1, 2), ended.describe()
        assert ended.code == 0 or ended.err, ended.describe()
        assert len(ended.err) < 12000, ended.describe()
