"""Ends of channels in an asyncio event loop: tasks wait, the loop's thread does not.

Receiving goes by readiness: the receiver's descriptor wakes a task, and the task takes the message in the very step in
which it returns it. So a task that is cancelled before that has taken nothing, and whoever is next gets the message.

Sending goes by posts: the message stands in the channel's own line of waiting senders, with its turn, on a rendezvous
too. A cancelled task withdraws it; where it had been sent by then, the send succeeds and the cancellation is left to
the task's next await. So CancelledError always means: not sent.

What is here is touched by the loop's thread alone, but for let_go() and interrupt(), which go by call_soon_threadsafe.
"""

import contextlib
import select
import sys
import weakref
from asyncio import CancelledError, base_events, current_task, get_running_loop
from collections import OrderedDict
from contextvars import ContextVar
from types import coroutine

import _interlace
from _interlace import Cancelled, EndOfChannel

_NOTHING = object()
_GROUP_CANCELLED = "the group around this wait was cancelled"
_STREAK = 64  # calls on one end that need not wait; then the loop has its turn

current_block = ContextVar("interlace.Group", default=None)  # the _Block of the innermost group of this task


@coroutine
def _let_others_run():
    yield


class _Tasks:
    """The tasks of one event loop that wait on one end, in the order they came."""

    __slots__ = ("end", "events", "loop", "streak", "waiting", "watched", "__weakref__")

    def __init__(self, end, loop):
        self.loop = loop
        self.end = weakref.ref(end, self.let_go)
        self.events = None
        self.waiting = OrderedDict()
        self.streak = 0

    def watch(self):
        """Have the loop call wake() when there is news.

        The descriptor lies in an epoll of its own, which tells of changes only: so it stays with the loop whether or
        not anybody waits, and one that is readable for long does not keep the loop busy.
        """
        if self.events is None:
            self.watched = self.descriptor()
            events = select.epoll()
            events.register(self.watched, select.EPOLLIN | select.EPOLLET)
            _add_reader(self.loop, events.fileno(), self.wake)
            self.events = events

    def let_go(self, _=None):
        """Take all this out of the loop again: the end goes, or is another loop's from now on."""
        if self.events is None:
            return
        try:
            self.loop.call_soon_threadsafe(self._close)
        except RuntimeError:  # a loop that is closed has let go already
            self.events.close()

    def _close(self):
        self.loop.remove_reader(self.events.fileno())
        self.events.close()


class _Receiving(_Tasks):
    """waiting: for each task, in a key that stays, the future it waits for."""

    __slots__ = ()

    def descriptor(self):
        return self.end().fileno()

    def wake(self):
        self.events.poll(0, 1)
        end = self.end()
        count = len(end) if end is not None and len(self.waiting) > 1 else 1
        for future in self.waiting.values():
            if not future.done():
                future.set_result(None)
            count -= 1
            if count <= 0:
                break

    def look_again(self):
        """A task waits no more: there may be something for the next one, which is no news."""
        if self.events is not None:
            self.events.modify(self.watched, select.EPOLLIN | select.EPOLLET)


class _Sending(_Tasks):
    """waiting: for each task its post, by the future it waits for."""

    __slots__ = ()

    def descriptor(self):
        return self.end()._posts_fd()

    def wake(self):
        self.events.poll(0, 1)
        for future, post in self.waiting.items():  # posts have their results in the order they were made
            if future.done():
                continue
            if not post.ended():
                break
            future.set_result(None)


def _add_reader(loop, fd, callback):
    try:
        loop.add_reader(fd, callback)
    except (AttributeError, NotImplementedError):
        kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
        raise RuntimeError(
            f"recv_async() and send_async() need an event loop with add_reader(), such as asyncio's own: {kind} has none"
        ) from None


def _bind(end, loop, kind):
    """Return the _Tasks of an end for the loop that runs."""
    tasks = end._loop
    if tasks is not None:
        if tasks.waiting and not tasks.loop.is_closed():
            raise RuntimeError(f"tasks of another event loop wait on {end!r}: send that loop an end of its own")
        tasks.let_go()
    end._loop = tasks = kind(end, loop)
    return tasks


# ---- the calls ----------------------------------------------------------------------------------------------------


async def receive(receiver, iterating):
    loop = get_running_loop()
    tasks = receiver._loop
    if tasks is None or tasks.loop is not loop:
        tasks = _bind(receiver, loop, _Receiving)
    waiting = tasks.waiting
    tasks.streak += 1
    if tasks.streak >= _STREAK:
        tasks.streak = 0
        await _let_others_run()
    try:
        if not waiting:
            message = receiver._recv_now(_NOTHING)
            if message is not _NOTHING:
                return message
        else:
            receiver.confirm()  # it asks, though others come first
        tasks.streak = 0
        key = future = loop.create_future()
        waiting[key] = future
        block = current_block.get()
        try:
            tasks.watch()
            while True:
                if block is not None:
                    block.add(loop, future)
                await future
                message = receiver._serve_now(_NOTHING)
                if message is not _NOTHING:
                    return message
                if block is not None:
                    block.futures.discard(future)
                waiting[key] = future = loop.create_future()
        finally:
            del waiting[key]
            if block is not None:
                block.futures.discard(future)
            if waiting and not next(iter(waiting.values())).done():
                tasks.look_again()
    except EndOfChannel:
        if iterating:
            raise StopAsyncIteration from None
        raise


async def send(sender, obj):
    loop = get_running_loop()
    tasks = sender._loop
    if tasks is None or tasks.loop is not loop:
        tasks = _bind(sender, loop, _Sending)
    tasks.streak += 1
    if tasks.streak >= _STREAK:
        tasks.streak = 0
        await _let_others_run()
    post = sender._post(obj)
    if post is None:
        return
    tasks.streak = 0
    future = loop.create_future()
    tasks.waiting[future] = post
    block = current_block.get()
    try:
        tasks.watch()
        if block is not None:
            block.add(loop, future)
        await future
        if not post.result():  # it was the block that woke us
            post.withdraw()
            raise Cancelled(_GROUP_CANCELLED)
    except CancelledError as error:
        if not post.withdraw():
            raise
        _cancel_next_await(error)
    finally:
        del tasks.waiting[future]
        if block is not None:
            block.futures.discard(future)
        post.withdraw()


def _cancel_next_await(error):
    task = current_task()
    # A task that is nothing but this call has done it all, and ends well.
    if task is not None and task.cancelling() and task.get_coro().cr_frame is not sys._getframe(1):
        task.cancel(*error.args)
        task.uncancel()  # it is the one that is counted already


# ---- cancelling ---------------------------------------------------------------------------------------------------


class _Block:
    """The block of a group in a coroutine: when the group is cancelled, what its tasks wait for is."""

    def __init__(self, scope):
        self.scope = scope
        self.futures = set()  # that its tasks wait for
        self._loop = None

    def add(self, loop, future):
        self.check()
        self.futures.add(future)
        if self._loop is None and self.scope is not None:
            _add_reader(loop, self.scope.fileno(), self._wake)
            self._loop = loop

    def check(self):
        if self.scope is not None and self.scope.cancelled():
            raise Cancelled(_GROUP_CANCELLED)

    def _wake(self):
        self._unwatch()
        for future in self.futures:
            if not future.done():
                future.set_result(None)

    def _unwatch(self):
        if self._loop is not None:
            self._loop.remove_reader(self.scope.fileno())
            self._loop = None

    def leave(self):
        self._unwatch()
        self.scope = None  # tasks that outlive the block are not of it any more


def new_scope():
    """Return a scope below that of the innermost block around what this task does."""
    block = current_block.get()
    return _interlace.Scope(block.scope if block is not None else None)


def enter_block(scope):
    """Make what this task awaits from now on part of a group's block; return what leave_block() takes."""
    block = _Block(scope)
    return block, current_block.set(block)


def leave_block(entered):
    block, token = entered
    block.leave()
    with contextlib.suppress(ValueError):  # in another task than it was entered in
        current_block.reset(token)


class _LoopCancelled(Cancelled, KeyboardInterrupt):
    """Cancelled as an event loop lets it pass: of a callback's exceptions it is only a KeyboardInterrupt that ends it."""


_RUN = base_events.BaseEventLoop.run_forever.__code__
_RUN_UNTIL = base_events.BaseEventLoop.run_until_complete.__code__


def _running(frame):
    while frame is not None and frame.f_code is not _RUN:
        frame = frame.f_back
    return frame


def _leave_loop(run):
    # The worker's Cancelled may have ended that run already: not the next one, then, in which its tasks end.
    if _running(sys._getframe()) is not run:
        return
    caller = run.f_back
    if caller is not None and caller.f_code is _RUN_UNTIL and caller.f_locals["future"].done():
        return  # or it is just about to end it
    raise _LoopCancelled("the worker was cancelled")


def interrupt(thread):
    """End the event loop that runs in a thread, 0: in each thread. Called from threads of the host."""
    for ident, frame in sys._current_frames().items():
        run = _running(frame) if thread in (0, ident) else None
        if run is not None:
            try:
                run.f_locals["self"].call_soon_threadsafe(_leave_loop, run)
            except RuntimeError:  # it is being closed
                pass
