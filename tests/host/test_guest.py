"""`import interlace` in the python3 program: the same library, as a guest in an interpreter that is not its own."""

import os
import signal
import subprocess
import tempfile
import time

from support import equal

PYTHON = [os.environ["PLAIN_PYTHON"], "-X", "dev", "-W", "ignore::ResourceWarning"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.environ["PLAIN_PYTHONPATH"], "PYTHONUNBUFFERED": "1"}


def write(source):
    file = tempfile.NamedTemporaryFile("w", suffix=".py", prefix="plain_", delete=False)
    with file:
        file.write(source)
    return file.name


def plain(source, code=0, stderr=""):
    """Run a script with python3. Return what it printed, without the last newline."""
    path = write(source)
    try:
        done = subprocess.run([*PYTHON, path], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    finally:
        os.unlink(path)
    assert stderr in done.stderr if stderr else not done.stderr, done.stderr
    equal(done.returncode, code)
    return done.stdout.rstrip("\n")


def test_w5_functions_of_the_script_are_targets():
    equal(plain("""
import interlace

FACTOR = 3

class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b

def work(numbers, products):
    for n in numbers:
        products.send(Pair(n, FACTOR * n))

if __name__ == "__main__":
    with interlace.Group() as group:
        send, numbers = interlace.channel(4)
        products, results = interlace.channel(4)
        for _ in range(2):
            group.start(work, numbers, products)
        group.start("builtins:print", "from a worker")
        del numbers, products
        with send:
            send.send_many(range(10))
        print(sorted((pair.a, pair.b) for pair in results) == [(n, 3 * n) for n in range(10)])
""").splitlines().count("True"), 1)


def test_what_a_prompt_defines_is_refused_clearly():
    done = subprocess.run(
        [*PYTHON, "-c", "import interlace\ndef f(): pass\nwith interlace.Group() as g: g.start(f)"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60)  # fmt: skip
    equal(done.returncode, 1)
    equal("put it into a file" in done.stderr, True)


def test_w2_the_first_failure_cancels_and_is_raised():
    equal(plain("""
import interlace

def bad():
    raise ValueError("no")

def waits():
    interlace.select(interlace.after(100))

if __name__ == "__main__":
    try:
        with interlace.Group() as group:
            group.start(bad)
            group.start(waits)
    except* ValueError as failed:
        [error] = failed.exceptions
        print(type(error).__name__, error, "in worker 'bad-1'" in str(error.__cause__))
"""), "ValueError no True")


def test_w4_ctrl_c_interrupts_every_kind_of_wait():
    """KeyboardInterrupt, at once, in the main thread; the channel goes on working."""
    equal(plain("""
import interlace, os, signal, threading, time

def interrupt(call):
    start = time.monotonic()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        call()
    except KeyboardInterrupt:
        assert time.monotonic() - start < 5, "late"
        timer.join()
        return "interrupted"

def sleep_for_ever():
    interlace.select(interlace.after(100))

def join():
    with interlace.Group() as group:
        group.start(sleep_for_ever)

def result():
    with interlace.Group() as group:
        group.start(sleep_for_ever).result()

def main():
    sender, receiver = interlace.channel(0)
    for call in (receiver.recv, lambda: next(receiver), lambda: sender.send(1), lambda: sender.send_many([1]),
                 lambda: receiver.recv_many(3), lambda: interlace.select(receiver),
                 lambda: interlace.select(receiver, interlace.after(50)), lambda: interlace.select((sender, 1)), join, result):
        assert interrupt(call) == "interrupted", call
    threading.Thread(target=sender.send, args=("well",)).start()
    print(receiver.recv(timeout=10))

if __name__ == "__main__":
    main()
"""), "well")


def test_c4_a_signal_handler_that_raises_nothing_does_not_end_a_wait():
    equal(plain("""
import interlace, os, signal, threading, time

if __name__ == "__main__":
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    sender, receiver = interlace.channel(1)
    for n in range(3):
        threading.Timer(0.1 * (n + 1), os.kill, (os.getpid(), signal.SIGUSR1)).start()
    threading.Timer(0.6, sender.send, ("late",)).start()
    print(receiver.recv(timeout=30), len(seen))
"""), "late 3")


def test_nor_one_for_a_queue():
    equal(plain("""
import os, signal, threading
from interlace import interpreters

if __name__ == "__main__":
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    empty, full = interpreters.create_queue(), interpreters.create_queue(1)
    for n in range(3):
        threading.Timer(0.1 * (n + 1), os.kill, (os.getpid(), signal.SIGUSR1)).start()
    threading.Timer(0.6, empty.put, ("late",)).start()
    print(empty.get(timeout=30), len(seen))
    full.put(1)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    threading.Timer(0.3, full.get).start()
    full.put(2, timeout=30)
    print(full.get(), len(seen))
"""), "late 3\n2 4")


def test_w4_many_signals_lose_no_message():
    """Thousands of signals while messages are sent and received: each message comes exactly once, in order."""
    equal(plain("""
import interlace, signal, threading

def feed(sender, count):
    for n in range(count):
        sender.send(n)
    sender.close()

if __name__ == "__main__":
    seen = []
    signal.signal(signal.SIGALRM, lambda number, frame: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    sender, receiver = interlace.channel(1)
    threading.Thread(target=feed, args=(sender, 20000)).start()
    got = [receiver.recv(timeout=30) for _ in range(20000)]
    back, answers = interlace.channel(1)
    thread = threading.Thread(target=lambda: got.extend(answers))
    thread.start()
    for n in range(20000, 30000):
        back.send(n)
    back.close()
    thread.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(got == list(range(30000)), len(seen) > 10)
"""), "True True")


def test_w3_python_ends_with_workers_running():
    """Whatever still runs is cancelled when the script ends; nothing hangs."""
    start = time.monotonic()
    equal(plain("""
import interlace

def for_ever():
    while True:
        pass

if __name__ == "__main__":
    group = interlace.Group()
    group.__enter__()
    group.start(for_ever)
    print("end")
"""), "end")
    equal(time.monotonic() - start < 20, True)


def test_w3_a_stuck_worker_is_named_and_left():
    """The grace period of 5 s bounds the end."""
    equal(plain("""
import interlace, time

def stuck():
    import _thread
    lock = _thread.allocate_lock()
    lock.acquire()
    lock.acquire()  # for ever: no signal ends it

if __name__ == "__main__":
    group = interlace.Group()
    group.__enter__()
    group.start(stuck)
    time.sleep(0.5)
    print("end")
""", code=1, stderr="worker 'stuck-1' did not end within 5 s of being cancelled"), "end")


def test_forked_children_are_told():
    equal(plain("""
import interlace, os, warnings

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sender, receiver = interlace.channel(1)
    pid = os.fork()
    if pid == 0:
        try:
            sender.send(1)
        except RuntimeError as error:
            os._exit(7 if "forked" in str(error) else 1)
        os._exit(2)
    _, status = os.waitpid(pid, 0)
    sender.send("well")
    print(os.waitstatus_to_exitcode(status), receiver.recv())
"""), "7 well")


def test_forked_children_end_as_they_say():
    """The workers are the parent's: the child does not wait for them, inside a group's block or at its exit."""
    equal(plain("""
import interlace, os, sys, warnings

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    go, wait = interlace.channel(0)
    with interlace.Group() as group:
        worker = group.start(next, wait)
        pid = os.fork()
        if pid == 0:
            sys.exit(7)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), worker.done())
        go.send(1)
"""), "7 False")


def test_w4_ctrl_c_ends_the_calls_of_an_executor():
    """A KeyboardInterrupt that leaves the block does not wait for a call that never ends."""
    equal(plain("""
import interlace, signal

def spin(started):
    started.send(1)
    while True:
        pass

if __name__ == "__main__":
    try:
        with interlace.Executor(1) as executor:
            started, begun = interlace.channel(1)
            future = executor.submit(spin, started)
            begun.recv(timeout=60)
            signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print(type(future.exception()).__name__)
"""), "BrokenExecutor")


def test_w4_ctrl_c_ends_an_executor_s_map():
    equal(plain("""
import interlace, signal, threading

def spin(started):
    started.send(1)
    while True:
        pass

def interrupt(begun):
    begun.recv()
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

if __name__ == "__main__":
    try:
        with interlace.Executor(1) as executor:
            started, begun = interlace.channel(1)
            threading.Thread(target=interrupt, args=(begun,)).start()
            list(executor.map(spin, [started]))
    except KeyboardInterrupt:
        print("interrupted")
"""), "interrupted")


def test_the_host_is_gone_after_each_of_many_scripts_quickly():
    """Starting and ending costs what Python costs."""
    best = min(_seconds("pass") for _ in range(3))
    with_us = min(_seconds("import interlace") for _ in range(3))
    equal(with_us - best < 0.25, True)


def _seconds(source):
    start = time.monotonic()
    subprocess.run([PYTHON[0], "-c", source], env=ENVIRONMENT, check=True, timeout=60)
    return time.monotonic() - start


def test_python_s_own_interrupt_handler_stays():
    """SIGINT is Python's before and after, and in bytecode."""
    path = write("""
import interlace, signal
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
with interlace.Group() as group:
    group.start("math:sqrt", 4)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print("ready", flush=True)
while True:
    pass
""")
    process = subprocess.Popen([*PYTHON, path], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        equal(process.stdout.readline(), b"ready\n")
        process.send_signal(signal.SIGINT)
        equal(process.wait(20), -signal.SIGINT)
        equal(b"KeyboardInterrupt" in process.stderr.read(), True)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
        os.unlink(path)
