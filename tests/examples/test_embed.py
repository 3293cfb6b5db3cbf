"""examples/embed: the first program that a C programmer copies."""

import readme
from program import Copy, program
from support import command


def test_answers():
    """One for each text, in order; none for none."""
    words = ["tea for two and two for tea and tea", "one", "  two\ttwo  one\n", "na\u00efve na\u00efve"]
    command(program("embed"), *words).expect(0, "tea (3)\none (1)\ntwo (2)\nna\u00efve (2)\n")
    command(program("embed")).expect(0, "")


def test_the_worker_fails():
    """What was answered before stays; the reason is the worker's; nobody waits."""
    why = "embed: worker 'counter' failed: ValueError: not enough values to unpack (expected 1, got 0)\n"
    command(program("embed"), "one", "", "two").expect(1, "one (1)\n", why)


def test_a_text_that_is_none():
    """Said in a sentence, and it is not the worker's fault."""
    why = "embed: a str was to be made of bytes that are not UTF-8\n"
    command(program("embed"), "one", b"\xff", "two").expect(1, "one (1)\n", why)


def test_readme():
    """The compiler's line, and what the program prints then."""
    failing = "./embed 'tea for two' '...' ''"
    # Sorted: what goes to stdout and what to stderr comes in this order on a terminal only.
    readme.check("embed", simplify=lambda output: sorted(output.splitlines()), codes={failing: 1}, run=Copy("embed").run)
