"""W7: random programs of waits that all come to their end: never a word of a deadlock.

A program is a random sequence of deliveries between its workers, of which each does its own part in order: so it always
gets to its end, but for most of the time most workers wait for others, in circles too. What goes on now and then takes a
while, as something outside: a timer, a sleeping thread, an event loop, a pipe, a limited wait, ends in messages. Several
programs run at once, so that there are always some that wait while others go on.

INTERLACE_SOAK says for how many seconds new programs are begun, 4 if it does not, and INTERLACE_SEED which ones.
"""

import os
import random
import time

from support import run, start_pipe, wait_until

SCRIPT = '''
# -n 3 soak.py
import asyncio
import os
import random
import sys
import threading
import time

import interlace

SOON = (0.1, 0.35), 0.06      # seconds, around what the host waits before it looks at all; and how often
LATE = (1.0, 1.6), 0.02       # likewise, before it speaks of some of many


def pause_in_sleep(seconds):
    time.sleep(seconds)


def pause_in_timer(seconds):
    interlace.select(interlace.after(seconds))


def pause_in_loop(seconds):
    asyncio.run(asyncio.sleep(seconds))


def pause_in_pipe(seconds):
    read, write = os.pipe()
    threading.Timer(seconds, os.write, (write, b"x")).start()
    os.read(read, 1)
    os.close(read)
    os.close(write)


def pause_in_thread(seconds):
    sender, receiver = interlace.channel(0)
    threading.Timer(seconds, sender.send, (1,)).start()
    receiver.recv()


def pause_in_limited_wait(seconds):
    sender, receiver = interlace.channel(0)
    try:
        receiver.recv(timeout=seconds)
    except TimeoutError:
        pass


PAUSES = [pause_in_sleep, pause_in_timer, pause_in_loop, pause_in_pipe, pause_in_thread, pause_in_limited_wait]


def pause(dice, kind):
    seconds, often = kind
    if dice.random() < often:
        dice.choice(PAUSES)(dice.uniform(*seconds))


def send(dice, sender, value, nothing):
    how = dice.randrange(4)
    if how == 0:
        interlace.select((sender, value), nothing)
    elif how == 1:
        sender.send_many([value])
    elif how == 2:
        while True:
            try:
                return sender.send(value, timeout=0.2)
            except TimeoutError:
                pass
    else:
        sender.send(value)


def receive(dice, receiver, nothing):
    how = dice.randrange(5)
    if how == 0:
        return interlace.select(receiver, nothing)[1]
    if how == 1:
        return next(receiver)
    if how == 2:
        return receiver.recv_many(1)[0]
    if how == 3:
        while True:
            try:
                return receiver.recv(timeout=0.2)
            except TimeoutError:
                pass
    return receiver.recv()


def play(kind, seed, parts, senders, receivers, nothing):
    """One worker's part: a list of (number, role, channel, asks)."""
    dice = random.Random(seed)
    for number, role, channel, asks in parts:
        pause(dice, kind)
        if role == "send" and not asks:
            send(dice, senders[channel], number, nothing)
        elif role == "send":                           # and waits for the answer, on a channel that only goes there
            sender, receiver = interlace.channel(dice.randrange(2))
            with sender:
                send(dice, senders[channel], (number, sender), nothing)
            if dice.random() < 0.5:
                assert receive(dice, receiver, nothing) == number
            else:                                      # in another thread, while this one waits for that
                got = []
                other = threading.Thread(target=lambda: got.append(receiver.recv()))
                other.start()
                other.join()
                assert got == [number], got
        else:
            got = receive(dice, receivers[channel], nothing)
            if not asks:
                assert got == number, (got, number)
                continue
            assert got[0] == number, (got, number)
            with got[1]:
                pause(dice, kind)
                got[1].send(number)


def program(kind, seed):
    """Start the workers of a random program and wait for their ends."""
    dice = random.Random(seed)
    workers = dice.randrange(2, 5)
    parts = [[] for _ in range(workers)]
    ends = {}
    for event in range(60):
        one, other = dice.sample(range(workers), 2)
        asks = dice.random() < 0.25
        if (one, other) not in ends:
            ends[one, other] = interlace.channel(dice.randrange(3), name=f"{one} to {other}")
        parts[one].append((event, "send", (one, other), asks))
        parts[other].append((event, "receive", (one, other), asks))
    kept, nothing = interlace.channel(0)               # nothing is ever sent there
    with interlace.Group() as group:
        for me in range(workers):
            senders = {pair: end for pair, (end, _) in ends.items() if pair[0] == me}
            receivers = {pair: end for pair, (_, end) in ends.items() if pair[1] == me}
            group.start(play, kind, seed + me, parts[me], senders, receivers, nothing, name=f"{seed}.{me}")
        if dice.random() < 0.5:
            ends.clear()                               # else this worker holds all of them, too


def main():
    for seed in sys.argv[1:]:                          # nothing but the program itself could wake anybody
        program(SOON, int(seed))
        print("done", seed, flush=True)
    if len(sys.argv) == 1:
        for line in interlace.input:                   # C code holds that channel's sender
            program(LATE, int(line))
            interlace.output.send(f"done {line}")


main()
'''


SEED = int(os.environ.get("INTERLACE_SEED", random.SystemRandom().randrange(1 << 32)))
SECONDS = float(os.environ.get("INTERLACE_SOAK", 4))


def expect_quiet(ended, begun):
    try:
        ended.expect(0, None, "")
        assert ended.out.count("done ") == begun, ended.describe()
    except AssertionError as error:
        raise AssertionError(f"INTERLACE_SEED={SEED}: {error}") from None


def test_w7_random_programs_are_no_deadlock():
    """One at a time, for some seconds: each gets to its end, and nothing is said."""
    dice = random.Random(SEED)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        seeds = [str(dice.randrange(1 << 40)) for _ in range(3)]
        expect_quiet(run(SCRIPT, *seeds, limit=120), len(seeds))


def test_w7_random_programs_side_by_side_are_no_deadlock():
    """Three at a time in one host, likewise."""
    dice = random.Random(SEED)
    end = time.monotonic() + SECONDS
    begun = 0
    with start_pipe(SCRIPT, stdin=b"") as started:

        def enough():
            return begun - started.out.count("done ") <= 2 or started.process.poll() is not None

        while (time.monotonic() < end or begun < 6) and started.process.poll() is None:
            started.write(b"%d\n" % dice.randrange(1 << 40))
            begun += 1
            wait_until(enough, lambda: f"programs of seed {SEED} to end: {started.err[-2000:]}", 120)
        expect_quiet(started.end(120), begun)
