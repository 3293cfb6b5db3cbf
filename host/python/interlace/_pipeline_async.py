"""A worker of a pipeline's stage whose function is a coroutine function: many items at once, in an event loop.

A unit's items are at work together with those of other units, `concurrency` of them at most. A unit that is taken but
not sent counts in full, so that a slow item in front holds up what is taken, not what is kept.
"""

import asyncio

from _interlace import BrokenChannel, Cancelled, EndOfChannel, _is_cancelled

from interlace._merge import LAST
from interlace._pipeline_worker import SKIPPED, Failed


def work(job, units, output):
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_exception_handler(_complain)
            runner.run(_Loop(job, units, output).run())
    except BaseExceptionGroup as group:
        error = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def _complain(loop, context):
    if not _is_cancelled():  # then tasks end in all sorts of ways
        loop.default_exception_handler(context)


class _Loop:
    def __init__(self, job, units, output):
        self._job = job
        self._units = units
        self._output = output
        self._running = asyncio.Semaphore(job.concurrency)
        self._in_hand = 0  # items of units that are taken and not sent; at least one for each unit
        self._sent = asyncio.Event()  # set when that has become less
        self._failed = False

    async def run(self):
        before = None
        async with asyncio.TaskGroup() as tasks:
            while not self._failed:
                while self._in_hand >= self._job.concurrency:
                    self._sent.clear()
                    await self._sent.wait()
                try:
                    number, items, state = await self._units.next_async()
                except EndOfChannel:
                    return
                self._in_hand += max(len(items), 1)
                self._output.tell(number)
                work = [tasks.create_task(self._do(item)) for item in items]
                done = asyncio.Event()
                tasks.create_task(self._send(number, items, work, state, before, done))
                before = done if self._job.ordered else None

    async def _send(self, number, items, work, state, before, done):
        """Send the results of a unit once they are there and, in an ordered stage, those before it have been sent."""
        results, origins, failure = [], [], None
        for item, task in zip(items, work):
            result = await task
            if isinstance(result, Failed):
                failure = result.state
                break
            if result is not SKIPPED:
                results.append(result)
                origins.append(item)
        if before is not None:
            await before.wait()
        if self._failed:  # in front of this
            return
        self._output.begin(number)
        came_to = await self._send_all(self._output.messages(results, failure or state or LAST, origins))
        self._failed = isinstance(came_to, tuple)
        self._in_hand -= max(len(items), 1)
        self._sent.set()
        done.set()

    async def _send_all(self, messages):
        try:
            message = next(messages)
            while True:
                try:
                    await self._output.sender.send_async(message)
                except BrokenChannel:
                    raise
                except Exception as error:
                    message = messages.throw(error)
                else:
                    message = next(messages)
        except StopIteration as end:
            return end.value

    async def _do(self, item):
        """Return an item's result, SKIPPED, or what the pipeline fails with."""
        async with self._running:
            try:
                for tries_left in range(self._job.retries, -1, -1):
                    try:
                        return await self._call(item)
                    except Exception as error:
                        if tries_left == 0:
                            return self._job.settle(item, error)
            except Cancelled:
                raise
            except Failed as failed:
                return failed
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and asyncio.current_task().cancelling():
                    raise
                return Failed(error)

    async def _call(self, item):
        if self._job.timeout is None:
            return await self._job.function(item)
        limit = asyncio.timeout(self._job.timeout)
        try:
            async with limit:
                return await self._job.function(item)
        except TimeoutError as error:
            if limit.expired():
                raise TimeoutError(f"it took longer than {self._job.timeout} s") from error
            raise
