"""Factor numbers for other hosts, each client in a worker of its own, all at the same time:

    interlace run serve.py ADDRESS [CLIENTS]

ADDRESS is unix:PATH or memory:NAME. After CLIENTS clients, if that is given, it ends; else Ctrl-C ends it.
"""

import itertools
import sys

import interlace


def factors(n):
    found, p = [], 2
    while p * p <= n:
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1 + p % 2  # 2, 3, 5, 7, 9 ...
    return found + [n] * (n > 1)


def serve(connection):
    with connection as (answers, numbers):
        for n in numbers:  # ends when the client closes its sender
            answers.send((n, factors(n)))


def main():
    address, clients = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None
    with interlace.listen(address) as listener, interlace.Group() as group:
        for client in itertools.count(1):
            try:
                group.start(serve, listener.accept(), name=f"client-{client}")
            except (interlace.SealError, PermissionError) as error:  # not one of ours: nothing it said was unpickled
                print(f"refused: {error}", file=sys.stderr)
            if client == clients:
                break


if __name__ == "__main__":
    main()
