"""I2: what a process does now is told by dump and top as of any other worker."""

import os
import re
import signal

from support import equal, host, start, wait_until

SCRIPT = """
    import os, threading, time
    import interlace

    def compute(numbers):
        n = numbers.recv()
        while True:
            n += 1

    def cook(food, orders):
        threading.Thread(target=food.send, args=("soup",), daemon=True).start()
        orders.recv()

    def main():
        with interlace.Group(isolation="process") as group:
            send, numbers = interlace.channel(1, name="numbers")
            food, eat = interlace.channel(0, name="food")
            give, orders = interlace.channel(2, name="orders")
            group.start(compute, numbers)
            group.start(cook, food, orders)
            send.send(1)
            del food, orders
            print("all started", flush=True)
            time.sleep(100)

    main()
"""


def dumped(pid):
    """{name: what is said of it, with its stack} and {channel: what is said of it}."""
    ended = host("dump", str(pid)).expect(0, None, "")
    workers, channels, name = {}, {}, None
    for line in ended.out.splitlines()[1:]:
        if match := re.match(r"worker '(.*?)' \(\d+(?:, pid (\d+))?\): (.*)", line):
            name = match[1]
            workers[name] = match.groups()[1:]
        elif match := re.match(r"channel '(.*?)', made at .*?, in main: (.*)", line):
            channels[match[1]] = match[2]
        else:
            workers[name] += (line,)
    return workers, channels


def test_i2_dump_and_top():
    """State, for what and since when, Python stacks of all threads, CPU time, messages, and the channels between."""
    with start(SCRIPT, words=("--grace", "0.2")) as started:
        started.printed("all started")

        def all_there():
            workers, channels = dumped(started.pid)
            settled = "cook-1" in workers and "send on 'food'" in "".join(map(str, workers["cook-1"]))
            return settled and "runs" in workers["compute-1"][1] and (workers, channels)

        workers, channels = wait_until(all_there, "the processes to work")
        pid, doing, *stack = workers["cook-1"]
        with open(f"/proc/{pid}/stat") as file:
            equal(int(file.read().rpartition(")")[2].split()[1]), started.pid)
        assert re.match(r"waits since \d+\.\d s for recv on 'orders'; CPU \d+\.\d\d s; 0 received, 0 sent$", doing), doing
        assert any("script.py, line 11, in cook" in line for line in stack), stack
        assert any(re.search(r"  thread \d+: waits since .* for send on 'food'", line) for line in stack), stack
        pid, doing, *stack = workers["compute-1"]
        assert re.match(r"runs, or is in a call that is not Interlace's; CPU \d+\.\d\d s; 1 received, 0 sent$", doing), doing
        assert re.search(r"script.py, line [67], in compute$", stack[0]), stack
        assert channels["orders"].startswith("0 of 2 wait; 1 sender, 1 receiver"), channels
        assert channels["food"].startswith("0 of 0 wait; 1 sender, 1 receiver"), channels

        def time_of(name):
            return float(re.search(r"CPU (\d+\.\d\d) s", dumped(started.pid)[0][name][1])[1])

        first = time_of("compute-1")
        wait_until(lambda: time_of("compute-1") > first, "its CPU time to grow")
        top = host("top", "-n", "1", str(started.pid)).expect(0, None, "").out
        assert re.search(r"cook-1 .*recv on 'orders'", top), top
        started.send_signal(signal.SIGTERM)
        started.end().expect(143, "all started\n", None)


def test_i2_a_process_that_does_not_answer():
    """A stopped one holds nobody up; what is known of it from outside is told."""
    with start(SCRIPT, words=("--grace", "0.2")) as started:
        started.printed("all started")
        wait_until(lambda: dumped(started.pid)[0].get("cook-1", ("", ""))[1].startswith("waits"), "the cook to wait")
        pid = int(dumped(started.pid)[0]["cook-1"][0])
        os.kill(pid, signal.SIGSTOP)
        workers, _ = dumped(started.pid)
        assert workers["cook-1"][1].startswith("its process does not answer"), workers
        assert "received" not in workers["cook-1"][1], workers  # it would have to be asked
        assert "in compute" in workers["compute-1"][2], workers
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: dumped(started.pid)[0]["cook-1"][1].startswith("waits"), "the cook to answer again")
        started.send_signal(signal.SIGTERM)
        started.end().expect(143, "all started\n", None)
