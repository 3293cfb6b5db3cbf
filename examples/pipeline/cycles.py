"""The fractions 1/n with the longest cycles of decimals, until one is longer than a limit:

    interlace run cycles.py [DIGITS]

1/7 = 0.142857 142857 ... has a cycle of 6 digits. Two workers divide, one keeps the record.
"""

import itertools
import sys

import interlace


def cycle(n):
    """Return n and the length of the cycle of 1/n, found by division as at school."""
    seen = {}
    rest = 1 % n
    while rest and rest not in seen:
        seen[rest] = len(seen)
        rest = rest * 10 % n
    return n, len(seen) - seen[rest] if rest else 0


class Records:
    """Yields what is longer than all before it. This needs one worker, and items in order."""

    longest = 0

    def __call__(self, found):
        if found[1] > self.longest:
            self.longest = found[1]
            yield found


def main(limit):
    numbers = itertools.count(1)  # for ever: it is read as far ahead as the stages need
    with interlace.pipeline(numbers, interlace.stage(cycle, workers=2, batch=20), Records()) as records:
        for n, length in records:
            print(f"1/{n}: {length}")
            if length > limit:
                break


main(int(sys.argv[1]) if len(sys.argv) > 1 else 150)
