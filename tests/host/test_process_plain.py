"""Workers in processes of a script that plain python3 runs: the program is found, Python is set up as it is there."""

import os
import signal
import subprocess
import time

from support import DEADLINE, Started, equal, environment, folder, wait_until, write

PYTHON = os.environ["PLAIN_PYTHON"]
ENVIRONMENT = environment(PYTHONPATH=os.environ["PLAIN_PYTHONPATH"])

LOOK = """
    import os, sys
    import interlace

    def look():
        return (sys.argv, sys.path, tuple(sys.flags), sys._xoptions, sys.warnoptions, sys.executable, sys.prefix, __name__)

    if __name__ == "__main__":
        with interlace.Group() as group:
            ours, theirs = [group.start(look, isolation=kind).result() for kind in ("interpreter", "process")]
        for a, b in zip(ours, theirs):
            print("same" if a == b else (a, b))
"""


def plain(text, *options, code=0, env=ENVIRONMENT):
    done = subprocess.run([PYTHON, *options, write(text), "arg"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done


def test_w6_the_same_python():
    for options in (), ("-X", "dev", "-W", "error::UserWarning", "-O"), ("-B", "-s", "-X", "utf8"):
        done = plain(LOOK, *options)
        equal((done.stdout, done.stderr), ("same\n" * 8, ""))


def test_the_program_is_named_when_it_is_not_found():
    text = """
        import interlace
        with interlace.Group(isolation="process") as group:
            print(group.start(pow, 2, 10).result())
    """
    equal(plain(text).stdout, "1024\n")
    equal(plain(text, env=ENVIRONMENT | {"INTERLACE_PROGRAM": os.environ["INTERLACE"]}).stdout, "1024\n")
    done = plain(text, env=ENVIRONMENT | {"INTERLACE_PROGRAM": "/not/there"}, code=1)
    assert "INTERLACE_PROGRAM names no program" in done.stderr, done.stderr
    done = plain(text, env=ENVIRONMENT | {"INTERLACE_PROGRAM": "/bin/true"}, code=1)
    assert "WorkerDied: worker 'pow-1' died: its process ended with exit status 0" in done.stderr, done.stderr
    other = folder() / "other"
    other.write_text(f"#!/bin/sh\nshift 2\nexec '{os.environ['INTERLACE']}' __worker 0.0.1 \"$@\"\n")
    other.chmod(0o700)
    done = plain(text, env=ENVIRONMENT | {"INTERLACE_PROGRAM": str(other)}, code=1)
    assert "its process could not begin" in done.stderr and "0.0.1" in done.stderr, done.stderr


WAITS = """
    import os, time
    import interlace

    def wait(end):
        try:
            os.write(1, b"started\\n")
            end.recv()
        finally:
            os.write(1, b"cleaned\\n")

    if __name__ == "__main__":
        _, end = interlace.channel(0)
        with interlace.Group(isolation="process") as group:
            group.start(wait, end)
            group.start(wait, end)
"""


def test_ctrl_c():
    """KeyboardInterrupt in the main thread ends the group and its processes; so does the second one, at once."""
    with Started([PYTHON, write(WAITS)], env=ENVIRONMENT) as started:
        started.printed("started\n", 2)
        started.send_signal(signal.SIGINT, whole_session=True)
        ended = started.end()
        equal(ended.out, "started\nstarted\ncleaned\ncleaned\n")
        assert "KeyboardInterrupt" in ended.err, ended.err
        equal(started.left(), [])


def test_the_host_dies():
    with Started([PYTHON, write(WAITS)], env=ENVIRONMENT) as started:
        started.printed("started\n", 2)
        os.kill(started.pid, signal.SIGKILL)
        started.end()
        wait_until(lambda: started.left() == [], "the processes to end")


def test_output_and_the_end():
    """Lines of processes come in one piece; nothing is left behind when the script ends."""
    text = """
        import interlace
        def say(n):
            for _ in range(200):
                print(str(n) * 500)
        if __name__ == "__main__":
            with interlace.Group(isolation="process") as group:
                for n in range(3):
                    group.start(say, n)
    """
    start = time.monotonic()
    lines = plain(text).stdout.splitlines()
    equal(sorted(lines), sorted(str(n) * 500 for n in range(3) for _ in range(200)))
    assert time.monotonic() - start < DEADLINE
