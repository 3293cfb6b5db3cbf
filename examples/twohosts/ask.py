"""Have another host factor numbers:

    interlace run ask.py ADDRESS NUMBER...

ADDRESS is that of serve.py, which may start later.
"""

import sys

import interlace


def ask(address, numbers):
    """Yield the answers. Numbers are sent while answers come: neither side waits for the other to be done."""
    left = iter(numbers)
    with interlace.open(address, timeout=60.0) as (sender, answers):
        n = next(left, None)
        while n is not None:
            case, answer = interlace.select(answers, (sender, n))
            if case is answers:
                yield answer
            else:
                n = next(left, None)
        sender.close()  # no more: the other side's loop ends, and then ours
        yield from answers


def main():
    address, *numbers = sys.argv[1:]
    for n, factors in ask(address, map(int, numbers)):
        print(f"{n} = {' * '.join(map(str, factors))}")


if __name__ == "__main__":
    main()
