"""Ask the server: interlace run ask.py PORT [EXPRESSION...]

Prints the answers. Without expressions it is a load test: thousands of requests over many connections at once, whose
answers are known.
"""

import asyncio
import random
import sys
import time
from fractions import Fraction

CONNECTIONS = 200
REQUESTS = 10_000


async def ask(port, expressions):
    """Send expressions over one connection, one after the other; return the answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for expression in expressions:
        writer.write(f"{expression}\n".encode())
        answers.append((await reader.readline()).decode().removesuffix("\n"))
    writer.close()
    await writer.wait_closed()
    return answers


def expression(chance, depth=3):
    """Make up an expression; return it and what it is equal to."""
    if depth == 0 or chance.random() < 0.2:
        number = chance.randint(0, 99)
        return str(number), Fraction(number)
    left, a = expression(chance, depth - 1)
    right, b = expression(chance, depth - 1)
    sign = chance.choice("+-*/" if b else "+-*")
    return f"({left} {sign} {right})", {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[sign]


async def check(port, chance, requests):
    """Use one connection as many do at once; return how many answers were wrong."""
    asked = [expression(chance) for _ in range(requests)]
    answers = await ask(port, [text for text, _ in asked])
    return sum(answer != str(number) for (_, number), answer in zip(asked, answers, strict=True))


async def load(port):
    connections = [check(port, random.Random(seed), REQUESTS // CONNECTIONS) for seed in range(CONNECTIONS)]
    start = time.perf_counter()
    wrong = sum(await asyncio.gather(*connections))
    seconds = time.perf_counter() - start
    print(f"{REQUESTS} requests over {CONNECTIONS} connections in {seconds:.2f} s, {wrong} wrong answers")
    return wrong != 0


def main(port, *expressions):
    if not expressions:
        sys.exit(asyncio.run(load(int(port))))
    print(*asyncio.run(ask(int(port), expressions)), sep="\n")


main(*sys.argv[1:])
