"""What the tests of the host share: scripts run by the built binary, threads, waiting for what can be observed."""

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import traceback
from pathlib import Path

BINARY = os.environ["INTERLACE"]
DEADLINE = 30.0  # seconds for what takes milliseconds on an idle machine


class Skip(Exception):
    """Raised by a test that cannot be made here; its text says why."""


# ---- checking ----------------------------------------------------------------------------------------------------


def give_up(test, what):
    """Say that a test hangs, and where every thread of this interpreter is, and end the process."""
    print(f"not ok {test}\nit hangs: {what}")
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            print("a thread:", *traceback.format_stack(frame), sep="\n")
    sys.stdout.flush()
    os._exit(1)


def equal(got, wanted):
    """Fail unless the two are equal and of one type."""
    if got != wanted or type(got) is not type(wanted):
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


class Caught:
    error = None


@contextlib.contextmanager
def raises(kind, *words):
    """The block has to raise `kind`, with these words in its text or notes. Gives an object with the `error`."""
    caught = Caught()
    try:
        yield caught
    except kind as error:
        caught.error = error
        text = "\n".join([str(error), *getattr(error, "__notes__", ())])
        for word in words:
            assert word in text, f"{word!r} is not in the text of {error!r}: {text}"
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


def soon(seconds):
    """Return those seconds as the limit for what would take much longer if it went wrong; a busy machine has DEADLINE."""
    return seconds if os.getloadavg()[0] < 2 * os.cpu_count() else DEADLINE


def wait_until(predicate, what, limit=DEADLINE):
    """Wait for something observable; fail when it has not come after `limit` seconds."""
    end = time.monotonic() + limit
    while not (seen := predicate()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit:g} s in vain for {what() if callable(what) else what}")
        time.sleep(0.002)
    return seen


# ---- threads -----------------------------------------------------------------------------------------------------


def stat(path):
    """The fields of a /proc/.../stat from the state on: [0] is the state."""
    return Path(path).read_text().rpartition(")")[2].split()


def switches(tid, pid="self"):
    """How often a thread has gone to sleep."""
    for line in Path(f"/proc/{pid}/task/{tid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches"):
            return int(line.split()[1])
    raise AssertionError("no voluntary_ctxt_switches")


def asleep(*tids, pid="self"):
    """Wait until threads sleep and nothing wakes them: they are inside a wait of ours, not between two steps."""

    def look():
        return [(stat(f"/proc/{pid}/task/{tid}/stat")[0], switches(tid, pid)) for tid in tids]

    def are_asleep():
        before = look()
        if any(state != "S" for state, _ in before):
            return False
        time.sleep(0.03)  # a thread that waits for the GIL wakes every 5 ms
        return look() == before

    wait_until(are_asleep, f"threads {tids} to sleep")


class Thread:
    """A call in a thread of this interpreter."""

    def __init__(self, function, *args, **kwargs):
        self._value = self._error = None
        self._thread = threading.Thread(target=self._run, args=(function, args, kwargs))
        self._thread.start()

    def _run(self, function, args, kwargs):
        try:
            self._value = function(*args, **kwargs)
        except BaseException as error:
            self._error = error

    def asleep(self):
        """Wait until the call waits."""
        asleep(self._thread.native_id)
        return self

    def running(self):
        return self._thread.is_alive()

    def result(self, limit=DEADLINE):
        """The result, or the exception raised again; fails when there is none after `limit` seconds."""
        self._thread.join(limit)
        assert not self._thread.is_alive(), f"the thread did not end within {limit:g} s"
        if self._error is not None:
            raise self._error
        return self._value


# ---- the binary --------------------------------------------------------------------------------------------------

_scratch = None
_numbers = itertools.count(1)


def folder():
    """A new empty folder, removed at the end."""
    global _scratch
    if _scratch is None:
        _scratch = Path(tempfile.mkdtemp(prefix="interlace-test-"))
        atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
    path = _scratch / str(next(_numbers))
    path.mkdir()
    return path


def write(text, name="script.py", into=None):
    """Write a script and return its path (a str)."""
    path = Path(into or folder()) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    return str(path)


def environment(**changes):
    """This process's environment without what configures Python, with changes (None: without)."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    for key, value in changes.items():
        env.pop(key, None)
        if value is not None:
            env[key] = value
    return env


class Ended:
    """How a command ended: its exit code, what it printed, the seconds it took."""

    def __init__(self, words, code, out, err, seconds):
        self.words, self.code, self.out, self.err, self.seconds = words, code, out, err, seconds

    def expect(self, code=0, out=None, err=""):
        """Fail unless it ended so. out, err: a str to be equal to, or a tuple of words to be found in it."""
        problems = [] if self.code == code else [f"exit code {self.code}, wanted {code}"]
        for name, got, wanted in (("stdout", self.out, out), ("stderr", self.err, err)):
            if isinstance(wanted, str) and got != wanted:
                problems.append(f"{name} is not {wanted[:2000]!r}")
            elif isinstance(wanted, tuple):
                problems += [f"{name} has no {word!r}" for word in wanted if word not in got]
        if problems:
            raise AssertionError(f"{'; '.join(problems)}\n{self.describe()}")
        return self

    def describe(self):
        out, err = (t if len(t) < 4000 else f"{t[:2000]}\n[...]\n{t[-2000:]}" for t in (self.out, self.err))
        end = f"--- exit code {self.code} after {self.seconds:.2f} s"
        return f"$ {self.words}\n--- stdout:\n{out}--- stderr:\n{err}{end}"


class Started:
    """A running command, in a session of its own; a context manager that kills what is left of it."""

    def __init__(self, words, stdin=None, env=None, cwd=None):
        self.words = " ".join(map(str, words))
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._start = time.monotonic()
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=self._files[0],
            stderr=self._files[1],
            env=environment() if env is None else env,
            cwd=cwd,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for file in (*self._files, self.process.stdin):
            if file is not None:
                with contextlib.suppress(BrokenPipeError):
                    file.close()

    def _printed(self, index):
        fd = self._files[index].fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "surrogateescape")

    out = property(lambda self: self._printed(0))
    err = property(lambda self: self._printed(1))

    def printed(self, text, times=1):
        """Wait until it has printed something on stdout or stderr."""
        wait_until(
            lambda: (self.out + self.err).count(text) >= times or self.process.poll() is not None,
            lambda: f"{text!r}\n{self._ended(None).describe()}",
        )
        seen = (self.out + self.err).count(text)
        assert seen >= times, f"no {text!r}\n{self._ended(self.process.poll()).describe()}"

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send_signal(self, number, whole_session=False):
        if whole_session:
            os.killpg(self.pid, number)
        else:
            os.kill(self.pid, number)

    def threads(self):
        return sorted(int(name) for name in os.listdir(f"/proc/{self.pid}/task"))

    def left(self):
        """The processes of its session that are alive."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    fields = stat(f"/proc/{name}/stat")
                    if int(fields[3]) == self.pid and fields[0] != "Z":
                        found.append(int(name))
        return found

    def _ended(self, code):
        return Ended(self.words, code, self.out, self.err, time.monotonic() - self._start)

    def end(self, limit=DEADLINE):
        """Wait for its end (Ended). A command that does not end within `limit` seconds fails the test."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self._start = time.monotonic() - limit
            raise AssertionError(f"it hangs: no end after {limit:g} s\n{self._ended(None).describe()}") from None
        return self._ended(code)


def command(*words, stdin=None, limit=DEADLINE, **options):
    """Run a command to its end, with these bytes as its standard input (Ended)."""
    with Started(words, stdin=stdin, **options) as started:
        if stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                started.write(stdin)
        return started.end(limit)


def host(*words, **options):
    """Run `interlace WORDS...` to its end (Ended)."""
    return command(BINARY, *words, **options)


def run(text, *args, words=(), **options):
    """Run a script, given as its text, with `interlace run [words...] SCRIPT args...` (Ended)."""
    return host("run", *words, write(text), *args, **options)


def start(text, *args, words=(), **options):
    """Likewise, without waiting for its end (Started)."""
    return Started([BINARY, "run", *words, write(text), *args], **options)


def pipe(*stages, words=(), **options):
    """Run `interlace pipe` with these stages: see stage() (Ended)."""
    return host("pipe", *words, *map(stage, stages), **options)


def start_pipe(*stages, words=(), **options):
    """Likewise, without waiting for its end (Started)."""
    return Started([BINARY, "pipe", *words, *map(stage, stages)], **options)


def stage(text):
    """The words of a stage. A text that begins with a newline becomes a script, its first line its name: # -n 2 x.py"""
    if not text.startswith("\n"):
        return text
    text = textwrap.dedent(text).lstrip("\n")
    first = text.splitlines()[0]
    words = first[1:].split() if first.startswith("#") else ["stage.py"]
    name = next(word for word in words if word.endswith(".py"))
    return " ".join(write(text, name) if word == name else word for word in words)


def traceback_of(error):
    """An exception as Python prints it."""
    return "".join(traceback.format_exception(error))
