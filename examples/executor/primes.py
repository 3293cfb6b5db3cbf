"""Count the primes below a number, on all cores:

    interlace run primes.py [BELOW]
"""

import sys

from interlace import Executor

STEP = 10_000


def count_primes(start):
    """How many primes there are from `start` on, below `start` + STEP."""
    count = 0
    for number in range(max(start, 2), start + STEP):
        divisor = 2
        while divisor * divisor <= number and number % divisor:
            divisor += 1
        count += divisor * divisor > number
    return count


def main():
    below = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    if below % STEP:
        sys.exit(f"primes.py: {below} is no multiple of {STEP}")
    with Executor() as executor:
        total = sum(executor.map(count_primes, range(0, below, STEP)))
    print(f"{total:,} primes below {below:,}")


if __name__ == "__main__":
    main()
