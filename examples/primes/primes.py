"""Find the first 100 primes with a chain of workers, one for each prime:

    interlace run primes.py [HOW_MANY]

The sieve of Eratosthenes as communicating sequential processes: every worker keeps back the multiples of its
own prime and hands the other numbers on, so the first number that comes out of the chain is the next prime.
"""

import itertools
import sys

import interlace


def count(numbers):
    numbers.send_many(itertools.count(2))


def sieve(prime, numbers, rest):
    for number in numbers:
        if number % prime:
            rest.send(number)


def main():
    how_many = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    primes = []
    with interlace.Group("primes") as group:
        sender, chain_end = interlace.channel(0)  # 0: a rendezvous, nobody runs ahead
        group.start(count, sender)
        while len(primes) < how_many:
            prime = chain_end.recv()
            primes.append(prime)
            sender, longer_chain_end = interlace.channel(0)
            group.start(sieve, prime, chain_end, sender, name=f"sieve {prime}")
            chain_end = longer_chain_end
        group.cancel()  # or they would count for ever
    for row in itertools.batched(primes, 10):
        print(*(f"{prime:4}" for prime in row))


main()
