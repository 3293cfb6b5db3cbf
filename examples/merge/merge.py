"""Merge what several workers send, in batches. One goes out when it is full, or its first message old:

    interlace run merge.py

One select() waits for whichever comes first: a message of any source, or the time of the batch.
"""

import interlace

BATCH = 8  # messages
PATIENCE = 0.1  # seconds that a message waits for company


def source(name, messages, pause, sender):
    for number in range(1, messages + 1):
        sender.send(f"{name} {number}")
        interlace.select(interlace.after(pause))  # like time.sleep, but Ctrl-C and cancel end it at once


def merge(receivers):
    """Yield (why, batch) until every source has ended."""
    batch, deadline = [], []
    while True:
        try:
            case, message = interlace.select(*receivers, *deadline)
        except interlace.EndOfChannel:  # all sources are gone, and no deadline is left to wait for
            return
        if case in deadline:
            yield "time", batch
            batch, deadline = [], []
            continue
        if not batch:
            deadline = [interlace.after(PATIENCE)]
        batch.append(message)
        if len(batch) == BATCH:
            yield "full", batch
            batch, deadline = [], []


def main():
    receivers = []
    with interlace.Group() as group:
        for name, messages, pause in [("drum", 40, 0.005), ("bell", 4, 0.15), ("gong", 2, 0.4)]:
            sender, receiver = interlace.channel(16, name=name)
            group.start(source, name, messages, pause, sender, name=name)
            receivers.append(receiver)
        del sender  # only the sources hold them now
        merged = 0
        for why, batch in merge(receivers):
            merged += len(batch)
            print(f"{why}: {', '.join(batch)}")
        print(f"{merged} messages")


main()
