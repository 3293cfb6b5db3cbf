"""Planted deadlocks: run, with the time from the beginning of the last wait to the report."""

import itertools
import os
import time

from support import DEADLINE, environment, equal, folder, start, start_pipe, textwrap

# In each worker, threads of its own too: notes when each C function is called, all waits among them. It is put into the first
# line of a script, so that the others keep their numbers.
NOTE_CALLS = """
import os, sys, threading, time
_calls = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _note(frame, event, arg, write=os.write, calls=_calls, now=time.monotonic):
    if event == "c_call":
        write(calls, b"%.6f\\n" % now())
sys.setprofile(_note)
threading.setprofile(_note)
"""

WITHIN = 1.0  # seconds
SILENCE = 0.08  # likewise: a wait is looked at after 0.1 s at the earliest


def planted(name, script, *words, told="interlace: deadlock: ", **options):
    """Run a script that ends up in a deadlock (Ended); fails unless all words are in what it says, and that comes in time.

    It has a second for that, and as long as this thread itself had to wait for a processor meanwhile.
    """
    calls = os.path.join(folder(), "calls")
    text = f"exec({NOTE_CALLS!r}); " + textwrap.dedent(script).lstrip("\n")
    late = []
    with start(text, env=environment(CALLS=calls), **options) as started:
        end = time.monotonic() + DEADLINE
        while told not in started.err and started.process.poll() is None and time.monotonic() < end:
            before = time.monotonic()
            time.sleep(0.002)
            now = time.monotonic()
            late.append((now, max(0.0, now - before - 0.003)))
        reported = time.monotonic()
        ended = started.end()
    missing = [word for word in (told, *words) if word not in ended.err]
    assert not missing, f"{name}: no {missing} in\n{ended.describe()}"
    with open(calls) as file:
        times = sorted([*(at for at in map(float, file) if at < reported), reported])
    # Between the last wait's beginning and the report nobody does anything. What calls there are behind that came of it.
    waited = [at for at, then in itertools.pairwise(times) if then - at > SILENCE][-1]
    delay = sum(by for at, by in late if at > waited)
    print(f"{name}: told {reported - waited:.3f} s after the last wait began (processors were {delay:.3f} s late)")
    assert reported - waited < WITHIN + delay, f"{name}: only after {reported - waited:.3f} s\n{ended.describe()}"
    return ended


def warned_once(script, held):
    """Run a script whose 'left-1' and 'right-1' wait for one another while others go on (Ended): one warning, with `held`."""
    with start_pipe(f"\n# script.py\n{textwrap.dedent(script)}", stdin=b"") as started:
        started.printed("'left-1' waits for 'right-1', 'right-1' waits for 'left-1'")
        time.sleep(2.5)  # the warning would come again within the time that it took to come
        ended = started.end()
    ended.expect(0, "", ("interlace: warning: 2 workers wait only for one another", held))
    equal(ended.err.count("interlace: "), 1)
    return ended
