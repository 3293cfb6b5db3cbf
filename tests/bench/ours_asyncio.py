"""Interlace, an asyncio event loop that receives ints from another worker; beside it, in the same interpreters, the loop
receives them from a socket. What counts is the processor time of the loop's thread."""

import asyncio
import socket
import time

from interlace import Group, channel

import measure

SIZE = 8
RATES = {"asyncio_10k": 10_000, "asyncio_full": None}


def paced(rate, count):
    """Yield numbers, `rate` of them a second; as fast as can be, if that is None."""
    start = time.perf_counter()
    for number in range(count):
        while rate is not None and (left := start + number / rate - time.perf_counter()) > 0:
            time.sleep(left)
        yield number


def send_messages(sender, rate, count):
    for number in paced(rate, count):
        sender.send(number)


def send_bytes(descriptor, rate, count):
    with socket.socket(fileno=descriptor) as end:
        for number in paced(rate, count):
            end.sendall(number.to_bytes(SIZE))


async def from_channel(receiver):
    return [number async for number in receiver]


async def from_sock_recv(end):
    loop = asyncio.get_running_loop()
    numbers = []
    while data := await loop.sock_recv(end, SIZE):
        numbers.append(int.from_bytes(data))
    return numbers


async def from_stream(end):
    reader, writer = await asyncio.open_connection(sock=end)
    numbers = []
    try:
        while True:
            numbers.append(int.from_bytes(await reader.readexactly(SIZE)))
    except asyncio.IncompleteReadError:
        writer.close()
    return numbers


def cost(receive, count):
    """Return the microseconds of processor time for each number."""
    start = time.thread_time()
    numbers = asyncio.run(receive)
    took = time.thread_time() - start
    assert numbers == list(range(count))
    return took / count * 1e6


def of_channel(rate, count):
    with Group() as group:
        sender, receiver = channel(64)
        group.start(send_messages, sender, rate, count)
        sender.close()
        return cost(from_channel(receiver), count)


def of_socket(receive, rate, count):
    here, there = socket.socketpair()
    here.setblocking(False)
    with here, Group() as group:
        group.start(send_bytes, there.detach(), rate, count)
        return cost(receive(here), count)


def main():
    for row in measure.rows:
        rate = RATES[row]
        count = int(max(measure.seconds, 0.1) * (rate or 200_000))
        measure.tell(row, "interlace", of_channel(rate, count))
        measure.tell(row, "sock_recv()", of_socket(from_sock_recv, rate, count))
        measure.tell(row, "StreamReader", of_socket(from_stream, rate, count))


main()
