"""What the tests of asyncio share."""

import asyncio


async def spin(turns=5):
    """Let the loop go round a few times, so that every task that can go on has."""
    for _ in range(turns):
        await asyncio.sleep(0)


def in_loop(function):
    """A test that is a coroutine."""

    def test():
        asyncio.run(function())

    test.__name__, test.__doc__ = function.__name__, function.__doc__
    return test
