"""Scripts as they were written for python3: its options, and what cannot work in a worker says why."""

import os
import pty

from support import BINARY, command, environment, equal, folder, host, run, write


def test_w6_x_and_w_options():
    """As with python, for the script and its workers."""
    script = write("""
        import sys
        import interlace

        def show():
            print(sys.flags.dev_mode, "error::UserWarning" in sys.warnoptions, sys._xoptions.get("mine"))

        def main():
            show()
            with interlace.Group() as group:
                group.start(show)

        main()
    """)
    done = host("run", "-X", "dev", "-Werror::UserWarning", "-Xmine=7", script).expect(0, None, None)
    equal(done.out, "True True 7\n" * 2)
    host("run", "-W", "error", "-c", "import warnings; warnings.warn('no')").expect(1, "", ("UserWarning: no",))
    host("run", "-X").expect(2, "", ("-X needs a value",))
    host("pipe", "-X dev -c 1", "-c 1").expect(2, "", ("belongs before the first stage",))
    host("run", *["-Xa"] * 65, "-c", "1").expect(2, "", ("64 times at most",))


def test_w6_scripts_see_what_python_shows_them():
    """sys.argv, __file__, data files beside the script and in the working folder, input(), PYTHONPATH, .pth files."""
    here = folder()
    (here / "data.txt").write_text("beside")
    (here / "library").mkdir()
    (here / "library" / "helper.py").write_text("NAME = 'helped'")
    script = write("""
        import sys
        from pathlib import Path
        import helper
        print(sys.argv[1:], Path(__file__).name, Path(__file__).with_name("data.txt").read_text(), helper.NAME)
        print(Path("here.txt").read_text(), input("? "))
    """, "main.py", here)  # fmt: skip
    work = folder()
    (work / "here.txt").write_text("working")
    done = command(BINARY, "run", script, "a", "-n", stdin=b"typed\n", cwd=work,
                   env=environment(PYTHONPATH=str(here / "library")))  # fmt: skip
    done.expect(0, "['a', '-n'] main.py beside helped\n? working typed\n")


def test_w6_an_environment_s_packages():
    """A virtual environment that is active; its .pth files hold."""
    import subprocess
    import sys

    here = folder()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", here / "venv"], check=True, capture_output=True)
    [site] = (here / "venv").glob("lib/python*/site-packages")
    (site / "only_there.py").write_text("X = 'of the environment'")
    (here / "more").mkdir()
    (here / "more" / "by_pth.py").write_text("X = 'by .pth'")
    (site / "more.pth").write_text(f"{here / 'more'}\n")
    script = write("""
        import interlace, sys

        def show():
            import by_pth, only_there
            print(only_there.X, by_pth.X, sys.prefix.endswith("venv"))

        def main():
            with interlace.Group() as group:
                group.start(show)

        main()
    """)
    command(BINARY, "run", script, env=environment(VIRTUAL_ENV=str(here / "venv"))).expect(
        0, "of the environment by .pth True\n"
    )


def test_logging_and_threads_name_the_worker():
    """%(threadName)s is the worker's name, whenever threading is imported; warm workers likewise."""
    done = run("""
        import interlace

        def log(text):
            import logging
            import threading
            logging.basicConfig(format="%(threadName)s: %(message)s", force=True)
            logging.warning(text)
            assert threading.current_thread().name == interlace.current_worker().name
            assert threading.__spec__.loader is threading.__loader__

        def main():
            with interlace.Group() as group:
                group.start(log, "cold", name="first").result()
                interlace.prestart(1, preload=["threading"])
                group.start(log, "warm", name="second").result()
            interlace.prestart(0)

        main()
    """)
    done.expect(0, "", None)
    equal(done.err, "first: cold\nsecond: warm\n")


def test_what_cannot_work_says_why_and_what_to_do():
    run("import signal; signal.signal(signal.SIGUSR1, print)").expect(1, "", ("Cancelled", "finally", "plain python3"))
    run("import os; os.fork()").expect(1, "", ("subprocess", "spawn"))
    run("""
        import subprocess
        print(subprocess.run(["echo", "child"], capture_output=True, text=True, check=True).stdout, end="")
    """).expect(0, "child\n")


def test_multiprocessing_works_in_a_worker():
    """Processes do, with spawn; what needs daemon threads says what to do instead."""
    here = folder()
    (here / "work.py").write_text("def square(n, answers):\n    answers.put(n * n)\n")
    script = write("""
        import multiprocessing
        import work

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            answers = context.SimpleQueue()
            process = context.Process(target=work.square, args=(3, answers))
            process.start()
            print(answers.get())
            process.join()
    """, "main.py", here)  # fmt: skip
    host("run", script).expect(0, "9\n", "")
    run("""
        import multiprocessing
        if __name__ == "__main__":
            multiprocessing.get_context("spawn").Pool(1)
    """).expect(1, "", ("interlace.Executor", "multiprocessing.Process"))


def test_breakpoint_in_the_main_script():
    """pdb, on a terminal."""
    script = write("""
        secret = 41
        breakpoint()
        print("after")
    """)
    pid, terminal = pty_fork(BINARY, "run", script)
    shown = talk(terminal, [(b"(Pdb) ", b"secret + 1\n"), (b"(Pdb) ", b"continue\n")])
    _, status = os.waitpid(pid, 0)
    equal(os.waitstatus_to_exitcode(status), 0)
    equal(b"42" in shown and b"after" in shown, True)


def pty_fork(*words):
    """Start a command on a terminal of its own, without a fork of this process's Python."""
    import subprocess

    own, other = pty.openpty()
    process = subprocess.Popen(words, stdin=other, stdout=other, stderr=other, env=environment(TERM="dumb"))
    os.close(other)
    process.returncode = 0  # waited for by the caller
    return process.pid, own


def talk(terminal, lines):
    shown = b""
    start = 0
    for prompt, answer in lines:
        while prompt not in shown[start:]:
            shown += os.read(terminal, 1000)
        start = len(shown)
        os.write(terminal, answer)
    try:
        while data := os.read(terminal, 1000):
            shown += data
    except OSError:
        pass  # the other side is closed
    os.close(terminal)
    return shown


def test_an_exception_whose_text_fails_is_reported_all_the_same():
    run("""
        class Odd(ValueError):
            def __str__(self):
                raise SystemExit(0)

        raise Odd
    """).expect(1, "", ("worker 'script.py' failed", "Odd"))
