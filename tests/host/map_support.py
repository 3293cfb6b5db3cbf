"""What the tests of interlace map share."""

from support import host

NUMBERS = "".join(f"{n}\n" for n in range(1, 20001))


def run(*words, stdin="", **options):
    """Run `interlace map WORDS...` with that standard input (Ended)."""
    return host("map", *words, stdin=stdin if isinstance(stdin, bytes) else stdin.encode(), **options)


def lines(items):
    """Return each item as a line."""
    return "".join(f"{item}\n" for item in items)
