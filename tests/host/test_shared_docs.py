"""The docstrings of what workers share: every example runs, and prints what its comments say."""

import contextlib
import inspect
import io
import re
import textwrap

import interlace
from support import equal, run

DOCUMENTED = {
    interlace.Counter: ("add", "set", "compare_exchange", "wait", "reached"),
    interlace.Semaphore: ("acquire", "release", "case"),
    interlace.Barrier: ("arrive", "wait", "abort"),
}


def examples(thing):
    """Yield the examples of a docstring: (code, the lines that its comments say are printed)."""
    for block in re.findall(r"(?:^ {4,}\S.*\n?|^ *\n)+", inspect.getdoc(thing), re.M):
        if code := textwrap.dedent(block).strip():
            yield code + "\n", re.findall(r"print\(.*\)\s+# (.+)", code)


def names():
    """What the examples take for granted."""
    _, stop = kept = interlace.channel(1)
    counter, semaphore = interlace.Counter(100), interlace.Semaphore(2)
    semaphore.acquire()
    return {"interlace": interlace, "counter": counter, "semaphore": semaphore, "barrier": interlace.Barrier(1),
            "stop": stop, "best": 120, "kept": kept, "__name__": "__main__"}  # fmt: skip


def test_every_example_runs():
    """Of each type and of each method: there is one, and it does what it says."""
    things = [interlace.latest, *DOCUMENTED]
    things += [inspect.getattr_static(kind, name) for kind, methods in DOCUMENTED.items() for name in methods]
    for thing in things:
        found = list(examples(thing))
        assert found, thing
        for code, printed in found:
            if code.startswith("def "):  # with workers, whose functions want a script
                run("import interlace\n" + code).expect(0, "".join(line + "\n" for line in printed))
                continue
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(code, names())
            if printed:
                equal((code, output.getvalue().splitlines()), (code, printed))
