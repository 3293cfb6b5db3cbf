"""Interlace, select over N channels of which one has a message: microseconds a call, the value received."""

from interlace import channel, select

import measure


def cost(count):
    senders, receivers = zip(*(channel(1) for _ in range(count)))
    turn = 0

    def once():
        nonlocal turn
        turn = (turn + 617) % count
        senders[turn].send(turn)
        start = measure.clock()
        _, value = select(*receivers)
        took = measure.clock() - start
        assert value == turn
        return took / 1000

    return measure.median(measure.repeat(once))


def main():
    for row in measure.rows:
        measure.tell(row, "interlace", cost(measure.number(row)))


main()
