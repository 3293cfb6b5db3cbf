"""W7: a deadlock that is complete when somebody goes: nobody begins to wait then, he had been waiting before."""

import signal

from deadlock_support import planted
from support import equal, start

# Each ends up with nobody able to move, some time after the last wait began; and what is said of it.
GONE = {
    "a worker whose sender was the last but one": (
        """
        import time
        import interlace

        def drain(receiver):
            for one in receiver:
                pass

        def feed(sender):
            sender.send(1)
            time.sleep(0.5)
            time.monotonic()

        def main():
            with interlace.Group(isolation=ISOLATION) as group:
                sender, receiver = interlace.channel(4)
                group.start(drain, receiver)
                group.start(feed, sender)

        main()
        """,
        ("'drain-1' waits", "its sender is held by 'script.py'"),
    ),
    "a worker that has nothing to do with it": (
        """
        import time
        import interlace

        def take_and_give(receiver, sender):
            receiver.recv()
            sender.send(1)

        def sleep():
            time.sleep(0.5)
            time.monotonic()

        def main():
            with interlace.Group(isolation=ISOLATION) as group:
                first, first_end = interlace.channel(0)
                second, second_end = interlace.channel(0)
                group.start(take_and_give, first_end, second, name="here")
                group.start(take_and_give, second_end, first, name="there")
                group.start(sleep)
                for end in (first, first_end, second, second_end):
                    end.close()

        main()
        """,
        ("'here' waits for 'there'", "'there' waits for 'here'"),
    ),
    "a worker that has closed its end before": (
        """
        import time
        import interlace

        def wait(receiver):
            receiver.recv()

        def close(sender):
            sender.close()
            time.sleep(0.5)
            time.monotonic()

        def main():
            with interlace.Group(isolation=ISOLATION) as group:
                sender, receiver = interlace.channel(0)
                group.start(wait, receiver)
                group.start(close, sender)

        main()
        """,
        ("'wait-1' waits", "its sender is held by 'script.py'"),
    ),
}


def test_w7_somebody_goes_and_the_others_cannot_move():
    """A worker ends, in whatever isolation: within a second the others are told that they wait for one another."""
    for name, (script, words) in GONE.items():
        for isolation in "interpreter", "process":
            ended = planted(f"{name}, {isolation}", script.replace("ISOLATION", repr(isolation)), *words)
            equal(ended.code, 3)


CLOSED = """
    import time
    import interlace

    def take_and_give(receiver, sender):
        receiver.recv()
        sender.send(1)

    def go_on(end):
        time.sleep(0.5)
        end.close()
        while True:                                    # in no wait of ours
            time.sleep(0.01)

    def main():
        with interlace.Group() as group:
            first, first_end = interlace.channel(0)
            second, second_end = interlace.channel(0)
            group.start(go_on, first)
            group.start(take_and_give, first_end, second, name="here")
            group.start(take_and_give, second_end, first, name="there")
            for end in (first, first_end, second, second_end):
                end.close()

    main()
"""


def test_w7_somebody_closes_an_end_and_goes_on():
    """What two workers wait for was held by a third one as well, until he closed it: they are warned of."""
    with start(CLOSED) as started:
        started.printed("'here' waits for 'there', 'there' waits for 'here'")
        started.send_signal(signal.SIGINT)
        started.end().expect(130, "", ("interlace: warning: 2 workers wait only for one another",))
