"""interlace map --joblog and --resume: killed at any moment and gone on with, nothing is lost and nothing comes twice."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

from map_support import lines
from support import BINARY, DEADLINE, Started, command, equal, folder, wait_until, write

FUNCTION = """
    import os, time
    CALLS = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    def f(item):
        key = item if isinstance(item, str) else item[0]
        os.write(CALLS, f"{key}\\n".encode())
        time.sleep(0.002)
        if key in os.environ.get("BAD", "").split() and not os.path.exists(os.environ["CALLS"] + ".mended"):
            raise ValueError(key)
        return None if key.endswith("9") else f"{key}: {'x' * (int(key) * 37 % 400)}"
"""


class Job:
    """A folder with an input, a function, a log and an output that is appended to."""

    def __init__(self, items=400, text=None, bad=()):
        self.folder = folder()
        self.input = self.folder / "input"
        self.input.write_text(lines(range(items)) if text is None else text)
        self.log, self.out, self.calls = (self.folder / name for name in ("log", "out", "calls"))
        self.function = f"{write(FUNCTION, 'work.py', self.folder)}:f"
        self.env = {**os.environ, "CALLS": str(self.calls), "BAD": " ".join(bad)}
        self.wanted = "".join(self.result(n) for n in range(items) if str(n) not in bad)

    @staticmethod
    def result(n):
        return "" if n % 10 == 9 else f"{n}: {'x' * (n * 37 % 400)}\n"

    def words(self, *options, to=">>", given="<", resume=True):
        """The shell's words for a run."""
        source = f"cat {self.input} |" if given == "|" else ""
        again = "--resume" if resume else ""
        redirect = f"<{self.input}" if given == "<" else ""
        what = " ".join(options)
        return f"{source} exec {BINARY} map -n 2 --joblog {self.log} {again} {what} {self.function} {redirect} {to}{self.out}"

    def run(self, *options, **how):
        return command("sh", "-c", self.words(*options, **how), env=self.env)

    def kill(self, moment, *options, **how):
        """Start it and kill it, `moment` seconds after the first call of the function. Whether it was killed."""
        before = self.size(self.calls)
        with Started(["sh", "-c", self.words(*options, **how)], env=self.env) as started:
            wait_until(lambda: self.size(self.calls) > before or started.process.poll() is not None, "a first call")
            time.sleep(moment)
            killed = False
            for pid in started.left():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/exe").readlink() == Path(BINARY).resolve():
                        os.kill(pid, signal.SIGKILL)
                        killed = True
            started.process.wait(DEADLINE)  # with what it is piped to
            return killed

    @staticmethod
    def size(path):
        return path.stat().st_size if path.exists() else 0

    def called(self):
        return self.calls.read_text().split() if self.calls.exists() else []

    def noted(self):
        """The items that the log says are done."""
        text, data = self.log.read_text(), self.input.read_text()
        batches = [line.split("\t") for line in text[: text.rfind("\n") + 1].splitlines() if not line.startswith("run")]
        return [item.split(",")[0] for fields in batches for item in data[int(fields[0]) : int(fields[1])].split()]


def killed_again_and_again(job, seed, *options, **how):
    """Kill it at random moments until it gets through. Nothing that has been noted is done again."""
    choose = random.Random(seed)
    kills = 0
    while job.kill(choose.uniform(0, 0.12), *options, **how):
        kills += 1
        noted = job.noted() if job.log.exists() else []
        equal(len(set(noted)), len(noted))
        calls = len(job.called())
        if kills % 3 == 0:  # and a whole look at what the next run does
            job.kill(0.05, *options, **how)
            again = set(job.called()[calls:]) & set(noted)
            assert not again, f"{again} were done again"
        assert kills < 200, "it does not come to an end"
    job.run(*options, **how).expect(1 if "--keep-going" in options else 0, None, None)
    return kills


def test_killed_at_random_moments():
    """kill -9 and --resume, over and over: the output is that of one run, to the byte."""
    for seed, options in enumerate(([], ["--batch", "1"], ["--batch", "7"])):
        job = Job()
        kills = killed_again_and_again(job, seed, *options)
        assert kills > 2, "it was hardly ever killed"
        equal(job.out.read_text(), job.wanted)
        equal(sorted(set(job.noted())), sorted(map(str, range(400))))


def test_killed_unordered():
    """Likewise with --unordered: every line once."""
    for seed, options in enumerate((["--unordered"], ["--unordered", "--batch", "5"])):
        job = Job()
        assert killed_again_and_again(job, seed, *options) > 2
        equal(sorted(job.out.read_text().splitlines()), sorted(job.wanted.splitlines()))


def test_killed_with_failures():
    """Likewise with --keep-going: what failed has been tried, and is counted over all the runs."""
    job = Job(bad=("3", "100", "222"))
    assert killed_again_and_again(job, 1, "--keep-going") > 2
    equal(job.out.read_text(), job.wanted)
    ended = job.run("--keep-going")
    ended.expect(1, None, "interlace: map: 3 of 400 items failed\n")


def test_killed_with_csv_from_a_pipe():
    """Likewise for rows of several lines, and for an input that cannot be sought."""
    text = "".join(f'{n},"a\nb ""{n}"" \r\n"\n' for n in range(300))
    job = Job(text=text)
    job.wanted = "".join(job.result(n) for n in range(300))
    job.noted = lambda: []  # the test's way to read the log is for simple lines
    assert killed_again_and_again(job, 2, "--in", "csv", "--batch", "3", given="|") > 2
    equal(job.out.read_text(), job.wanted)


def test_killed_while_writing_to_a_pipe():
    """What a pipe has got cannot be taken back: nothing is lost, but the last of it may come twice."""
    job = Job()
    choose = random.Random(3)
    kills = 0
    while job.kill(choose.uniform(0, 0.15), to="| cat >>"):
        kills += 1
        assert kills < 200
    job.run(to="| cat >>").expect(0, None)
    found = job.out.read_text().splitlines()
    equal(set(job.wanted.splitlines()) - set(found), set())


def test_any_crash():
    """Whatever part of the log and of the output had reached the disk: the rest is done, and no more."""
    for options in [], ["--unordered", "--batch", "4"]:
        job = Job(items=120)
        job.run(*options, resume=False).expect(0, None)
        log, out, whole = job.log.read_bytes(), job.out.read_bytes(), sorted(job.wanted.splitlines())
        choose = random.Random(4)
        for _ in range(12):
            cut = choose.randrange(len(log) + 1)
            batches = [line.split(b"\t") for line in log[: log.rfind(b"\n", 0, cut) + 1].splitlines()[1:]]
            written = int(batches[-1][6]) if batches else 0
            job.log.write_bytes(log[:cut])
            begun = b"\n" in log[:cut]  # the first line is there before any output
            out_now = out[: choose.randint(written, len(out))] + choose.choice([b"", b"torn", b"\n"])
            job.out.write_bytes(out_now if begun else b"")
            job.calls.unlink()
            job.run(*options).expect(0, None)
            equal(sorted(job.out.read_text().splitlines()), whole)
            if not options:
                equal(job.out.read_text(), job.wanted)
            done = sum(int(fields[4]) for fields in batches)
            equal(len(job.called()), 120 - done)


def test_after_a_failure():
    """A run that an item has ended goes on with that item."""
    job = Job(items=60, bad=("30",))
    job.run(resume=False).expect(1, None, ("line 31 failed: ValueError: 30",))
    equal(job.out.read_text(), "".join(job.result(n) for n in range(30)))
    job.run().expect(1, None, ("line 31 failed",))
    Path(f"{job.calls}.mended").touch()
    calls = len(job.called())
    job.run().expect(0, None)
    equal(job.out.read_text(), "".join(job.result(n) for n in range(60)))
    equal(sorted(job.called()[calls:], key=int), [str(n) for n in range(30, 60)])


def test_lines_after_resuming():
    """Items keep the numbers that they have in the whole input."""
    job = Job(items=60, bad=("30", "45"))
    job.run(resume=False).expect(1, None, ("line 31 failed",))
    job.run("--keep-going").expect(1, None, ("line 31 failed", "line 46 failed", "2 of 60 items failed"))


def test_resume_of_nothing_and_of_everything():
    """--resume may stand there from the first run on; when all is done there is nothing to do."""
    job = Job(items=50)
    job.run().expect(0, None)
    equal(job.out.read_text(), job.wanted)
    log = len(job.log.read_text().splitlines())
    calls = len(job.called())
    job.run().expect(0, None)
    equal((job.out.read_text(), len(job.called())), (job.wanted, calls))
    equal(len(job.log.read_text().splitlines()), log + 1)
    # More lines of input are more to do.
    with open(job.input, "a") as file:
        file.write(lines(range(50, 60)))
    job.run().expect(0, None)
    equal(job.out.read_text(), "".join(job.result(n) for n in range(60)))


def test_output_that_had_something_in_it():
    """What stood in the file before is kept."""
    job = Job(items=60, bad=("30",))
    job.out.write_text("before\n")
    job.run().expect(1, None, None)
    with open(job.out, "a") as file:
        file.write("3")  # half a line
    Path(f"{job.calls}.mended").touch()
    job.run().expect(0, None)
    equal(job.out.read_text(), "before\n" + "".join(job.result(n) for n in range(60)))


def test_refusals():
    """A log, an output or an input that does not fit: exit code 2, a line that says so, and nothing is touched."""
    job = Job(items=60, bad=("30",))
    job.run("--batch", "5").expect(1, None, None)
    log, out = job.log.read_bytes(), job.out.read_bytes()

    def refused(*words, run=job.run, code=2, **how):
        calls = job.called()
        ended = run(**how).expect(code, None, ("interlace: map: ", *words))
        equal(ended.err.count("\n"), 1)
        equal(job.called(), calls)
        equal(job.log.read_bytes().startswith(log), True)

    refused("is there already", "--resume", resume=False)
    refused("with another --in", run=lambda: job.run("--in", "csv"))
    refused("with another --unordered", run=lambda: job.run("--unordered"))
    refused("standard output of the log's run was a file", code=0, to="| cat >>")  # the code is that of cat
    job.out.write_bytes(b"")
    refused("standard output has 0 bytes", "with >> and not >", to=">")
    job.out.write_bytes(b"y" * len(out) * 2)
    refused("does not hold what", "the same file")
    equal(job.out.read_bytes(), b"y" * len(out) * 2)
    job.out.write_bytes(out)
    given = job.input.read_text()
    job.input.write_text(given.replace("27\n", "99\n"))  # in the last batch that is noted
    refused("standard input is not that of the log")
    job.input.write_text(given[:20])
    refused("standard input ends after 20 bytes: it is not that of the log")
    refused("standard input ends after 20 bytes", given="|")
    job.input.write_text(given)
    equal(job.out.read_bytes(), out)


def test_what_is_no_log():
    """A file that is something else is left alone; so is one in a folder that is not there."""
    job = Job(items=5)
    for text in "hello\nworld\n", "run in=lines\n", "run in=lines order=kept at=0 file=1\n1\t2\n", "1\t" * 9 + "1\n":
        job.log.write_text(text)
        job.run().expect(2, None, ("interlace: map: --joblog: ", ": this is not a log of interlace map"))
        equal((job.log.read_text(), job.called()), (text, []))
    for text in "hello", "hello\nworld", "run fast":
        job.log.write_text(text)
        job.run().expect(2, None, (", line 1: this is not a log of interlace map",))
        equal((job.log.read_text(), job.called()), (text, []))
    job.log.write_text("run in=li")  # what a run that was killed may leave
    job.run(resume=False).expect(2, None, ("is there already",))
    equal((job.log.read_text(), job.called()), ("run in=li", []))
    job.log = job.folder / "none" / "log"
    job.run().expect(2, None, ("interlace: map: --joblog: ", "No such file or directory"))


def test_a_log_that_is_no_file():
    """A device that never ends is not read, and what forgets, or cannot be read again, is no log."""
    job = Job(items=5)
    fifo = job.folder / "fifo"
    os.mkfifo(fifo)
    for job.log in "/dev/zero", "/dev/full", "/dev/null", fifo:
        for resume in False, True:
            words = f"ulimit -v 4000000; {job.words(resume=resume)}"
            ended = command("sh", "-c", words, env=job.env)
            ended.expect(2, None, f"interlace: map: --joblog: {job.log} is not a file that keeps what is written to it, "
                         "as --resume needs it: name another\n")  # fmt: skip
    equal(job.called(), [])


def test_two_runs_of_one_log():
    """The second one is refused as long as the first one runs."""
    job = Job()
    with Started(["sh", "-c", job.words()], env=job.env) as started:
        wait_until(job.called, "a first call")
        job.run().expect(2, None, ("is the log of a run that has not ended",))
        started.end().expect(0, None)
    equal(job.out.read_text(), job.wanted)


def test_somebody_else_writes_there():
    """Output that is not the run's own would make --resume wrong, so it ends the run."""
    job = Job(items=5)
    path = write("import os\ndef f(line):\n    os.system('echo mine')\n    return line\n", "rude.py", job.folder)
    job.function = f"{path}:f"
    job.run().expect(1, None, ("--joblog: something else writes to standard output",))
