"""W7: random programs of waits that all come to their end: never a word of a deadlock.

A program is a random sequence of deliveries between its workers, of which each does its own part in order: so it always
gets to its end, but for most of the time most workers wait for others, in circles too. What goes on now and then takes a
while, as something outside: a timer, a sleeping thread, an event loop, a pipe, a limited wait, ends in messages. Some of the
workers are processes; now and then one is killed while others wait for it.

Workers do one program after the other, and the host looks at their waits fifty times as soon as usual: so there are many
programs in a second, and in each of them waits are looked at.

INTERLACE_SOAK says for how many seconds new programs are begun, 4 if it does not, INTERLACE_PROGRAMS instead how many on each
side, INTERLACE_SIDES how many there are side by side, 3 if it does not, and INTERLACE_SEED which ones.
"""

import os
import random
import time

from support import run

SCRIPT = '''
import asyncio
import os
import random
import sys
import threading
import time

import _interlace
import interlace

SECONDS = 0.002, 0.03         # of a pause: around what the host waits before it looks
OFTEN = 0.04

_interlace._watch_sooner(50)


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


def pause(dice):
    if dice.random() < OFTEN:
        dice.choice(PAUSES)(dice.uniform(*SECONDS))


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


def waits_of(ends):
    return sum(end.stats()["waits"] for end in ends)


def play(seed, parts, senders, receivers, nothing):
    """One worker's part: a list of (number, role, channel, asks). Return how many waits there were."""
    dice = random.Random(seed)
    waits = 0
    for number, role, channel, asks in parts:
        pause(dice)
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
            waits += waits_of([receiver])
        else:
            got = receive(dice, receivers[channel], nothing)
            if not asks:
                assert got == number, (got, number)
                continue
            assert got[0] == number, (got, number)
            with got[1]:
                pause(dice)
                got[1].send(number)
    return waits + waits_of([*senders.values(), *receivers.values(), nothing])


def work(jobs, results):
    for seed, *part in jobs:
        waits = play(seed, *part)
        part.clear()
        results.send((seed, waits))


def begin_program(seed, jobs):
    """Give the workers of a random program their parts; return what is kept here of it, and how many there are."""
    dice = random.Random(seed)
    players = dice.sample(jobs, dice.randrange(2, len(jobs) + 1))
    parts = [[] for _ in players]
    ends = {}
    for event in range(dice.randrange(4, 40)):
        one, other = dice.sample(range(len(players)), 2)
        asks = dice.random() < 0.25
        if (one, other) not in ends:
            ends[one, other] = interlace.channel(dice.randrange(3), name=f"{one} to {other}")
        parts[one].append((event, "send", (one, other), asks))
        parts[other].append((event, "receive", (one, other), asks))
    kept, nothing = interlace.channel(0)               # nothing is ever sent there
    for me, player in enumerate(players):
        senders = {pair: end for pair, (end, _) in ends.items() if pair[0] == me}
        receivers = {pair: end for pair, (_, end) in ends.items() if pair[1] == me}
        player.send((seed + me, parts[me], senders, receivers, nothing))
    return (kept, ends if dice.random() < 0.5 else None), len(players)


def victim(told, nothing):
    told.send(os.getpid())
    nothing.recv()


def kill_one(dice):
    """A process that is killed, sooner or later, while it waits and is waited for."""
    kept, nothing = interlace.channel(0)
    sender, told = interlace.channel(0)
    try:
        with interlace.Group() as group:
            group.start(victim, sender, nothing, isolation="process")
            del sender
            threading.Timer(dice.uniform(*SECONDS), os.kill, (told.recv(), 9)).start()
            assert list(told) == []
    except* interlace.WorkerDied:
        pass


def coordinate(seed, interpreters, processes, deaths):
    """Have workers do random programs until standard input's time has come; print how many, and their waits."""
    dice = random.Random(seed)
    end, most = time.monotonic() + float(sys.argv[2]), int(sys.argv[3])
    programs = waits = killed = 0
    with interlace.Group() as group:
        jobs = []
        sender, results = interlace.channel(16)
        for number in range(interpreters + processes):
            gives, takes = interlace.channel(1)
            jobs.append(gives)
            kind = "process" if number >= interpreters else "interpreter"
            group.start(work, takes, sender, isolation=kind, name=f"{seed % 1000}.{number}")
        del sender, takes, gives
        while programs < most if most else time.monotonic() < end:
            kept, players = begin_program(dice.randrange(1 << 40), jobs)
            waits += sum(results.recv()[1] for _ in range(players))
            del kept
            programs += 1
            if programs % 200 == deaths:
                killed += 1
                kill_one(dice)
        jobs.clear()
    print(f"done: {programs} programs, {waits} waits, {killed} killed", flush=True)


def main():
    sides = int(sys.argv[4])
    if sides == 1:                                     # nothing but the program itself could wake anybody
        coordinate(int(sys.argv[1]), 2, 2, 5)
        return
    with interlace.Group() as group:
        for number in range(sides):                    # some of many wait, while others go on
            group.start(coordinate, int(sys.argv[1]) + number, 2, 1, 199 if number else 5)


main()
'''


SEED = int(os.environ.get("INTERLACE_SEED", random.SystemRandom().randrange(1 << 32)))
SECONDS = float(os.environ.get("INTERLACE_SOAK", 4))
PROGRAMS = int(os.environ.get("INTERLACE_PROGRAMS", 0))
SIDES = int(os.environ.get("INTERLACE_SIDES", 3))


def soak(sides):
    start = time.monotonic()
    ended = run(SCRIPT, str(SEED), str(SECONDS), str(PROGRAMS), str(sides), limit=120 + 3 * SECONDS + PROGRAMS)
    try:
        ended.expect(0, None, "")
        done = [line.split() for line in ended.out.splitlines() if line.startswith("done: ")]
        programs, waits, killed = (sum(int(words[i]) for words in done) for i in (1, 3, 5))
        assert len(done) == sides and programs >= 10 and killed > 0, ended.describe()
    except AssertionError as error:
        raise AssertionError(f"INTERLACE_SEED={SEED}: {error}") from None
    seconds = time.monotonic() - start
    print(f"{programs} programs with {waits} waits, {killed} killed, in {seconds:.1f} s: {programs / seconds:.0f} in a second")


def test_w7_random_programs_are_no_deadlock():
    """One at a time, for some seconds: each gets to its end, and nothing is said."""
    soak(1)


def test_w7_random_programs_side_by_side_are_no_deadlock():
    """Several at a time in one host, likewise."""
    soak(SIDES)
