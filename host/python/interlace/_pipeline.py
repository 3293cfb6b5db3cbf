"""pipeline() and stage(): workers in a line, from an iterable to an iterator.

The source is read by the thread that asks for results, as far as there is room. Every input of a stage is answered by at
least one message, be it empty: so whoever waits for results hears of every input, and reads on.
"""

import _thread
import inspect
from itertools import islice

import _interlace
from _interlace import BrokenChannel, EndOfChannel, Receiver, channel

from interlace import _errors, _group, _isolation
from interlace._merge import LAST, InTurns, Merge, Source, Straight
from interlace._pipeline_worker import Job, work

_AT_ONCE = 32  # messages that are received in one go, at most


def _kind_of(function):
    """Return "function", "generator" or "coroutine"."""
    called = function
    if not inspect.isroutine(inspect.unwrap(function)) and not isinstance(function, type):
        called = getattr(function, "func", None) or type(function).__call__  # a partial, or an object that is called
    for kind, holds in (("coroutine", inspect.iscoroutinefunction), ("generator", inspect.isgeneratorfunction)):
        if holds(function) or holds(called):
            return kind
    if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(called):
        raise TypeError(
            f"{function!r} is an asynchronous generator function, which no stage can be: use a generator function, or an "
            "async function that returns a list and a stage behind it that yields from that"
        )
    return "function"


def _count(name, value, least):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, not {value}")
    return value


class Stage:
    """A stage of pipelines, made by stage(), whose arguments it has as attributes.

        print(interlace.stage(len, batch=10).batch)     # 10
    """

    def __repr__(self):
        return f"<interlace.Stage {self.name!r}, {self.workers} worker{'s' * (self.workers > 1)}>"


def stage(
    function,
    /,
    *,
    workers=1,
    ordered=True,
    batch=None,
    on_error="raise",
    retries=0,
    timeout=None,
    concurrency=None,
    capacity=64,
    name=None,
    isolation="interpreter",
):
    """Describe a stage of a pipeline: a function and how it is to be worked with. Returns a Stage.

    function is called with one item and returns one result; or it is a generator function, whose results are what it
    yields, none to any number; or an async function, and each worker runs an event loop with `concurrency` (int, by
    default 16) of them at once.

    workers (int) are how many work on it at once. ordered (bool): its results are in the order of its items;
    without, they go on as they are ready.
    batch (int or None) is how many items travel to it in one message, which costs less where the function is quick; the
    function is called with one at a time. None: one at a time, or as they come from the stage before.
    capacity (int) is how many messages may wait for it.

    An item fails when the function raises an Exception (again and again: retries (int) times more it is called), or when
    its result cannot be pickled. A generator that has yielded something is not tried again.
    timeout (seconds or None) bounds each try: it fails with TimeoutError, its code interrupted as by cancelling.
    on_error is what then happens: "raise", the pipeline raises the exception where the result would come; "skip", there
    is no result; or a function(item, exception), called in the worker, whose result takes the place, if not None.

    name (str or None) names its workers in messages: by default the function's name. isolation (str) says where they run:
    "interpreter", "process" or "auto", as for Group().

    Raises TypeError and ValueError.

        numbers = interlace.stage(int, workers=2, batch=100, on_error="skip")
        print(list(interlace.pipeline(["1", "two", "3"], numbers)))     # [1, 3]
    """
    if not callable(function):
        raise TypeError(f"a stage needs a function, not {type(function).__name__}")
    if isinstance(on_error, str):
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error must be "raise", "skip" or a function(item, exception), not {on_error!r}')
    elif not callable(on_error):
        raise TypeError(f"on_error must be a str or a function(item, exception), not {type(on_error).__name__}")
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout must be None or a number of seconds, not {type(timeout).__name__}")
        if not timeout > 0:
            raise ValueError(f"timeout must be None or a number of seconds above 0, not {timeout!r}")
    if not isinstance(ordered, bool):
        raise TypeError(f"ordered must be a bool, not {type(ordered).__name__}")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a str or None, not {type(name).__name__}")
    made = Stage()
    made.isolation = _isolation.check(isolation)
    made.function = function
    made.kind = _kind_of(function)
    made.workers = _count("workers", workers, 1)
    made.ordered = ordered
    made.batch = batch if batch is None else _count("batch", batch, 1)
    made.on_error = on_error
    made.retries = _count("retries", retries, 0)
    made.timeout = timeout
    made.concurrency = 16 if concurrency is None else _count("concurrency", concurrency, 1)
    made.capacity = _count("capacity", capacity, 1)
    made.name = name or getattr(function, "__name__", type(function).__name__)
    if concurrency is not None and made.kind != "coroutine":
        raise ValueError("concurrency is for async functions; how many items others work on at once, workers= says")
    return made


class Pipeline:
    """The results of a pipeline, made by pipeline(): an iterator, and a context manager that closes it.

    stages (a tuple) are the Stages, and lookahead (int) how many items of the source may be taken from it whose results
    have not been handed out.

        with interlace.pipeline(["some", "words"], str.upper, len) as results:
            print(next(results), results.lookahead)     # 4 226
    """

    _group = None  # of its workers; None: they have ended
    _values = iter(())  # results to hand out
    _failure = None  # what to raise after those
    _source_failure = None  # what to raise after the results of all that was sent
    _sender = None  # to the first stage; None: the source has ended
    _cut_off = False  # from the first stage, whose workers have ended
    _count = 0  # messages sent there

    def __init__(self):
        self._turn = _thread.allocate_lock()  # held, and never waited for, by the thread that gets new results

    def _open(self, source, stages):
        self.stages = stages
        self.lookahead = 0
        self._batch = stages[0].batch or 1
        if isinstance(source, Receiver):
            units = Source(source, self._batch)
        else:
            self._source = iter(source)
            self._sender, receiver = channel(stages[0].capacity)
            units = Straight(receiver)
            self._reckon(stages[0].capacity)
        self._results = units
        group = _group.Group()
        group._begin()
        self._group = group
        try:
            self._start(units)
        except BaseException:
            self.close()
            raise

    def _reckon(self, units):
        self.lookahead += units * self._batch

    def _start(self, units):
        in_order = True
        for this, following in zip(self.stages, (*self.stages[1:], None)):
            if this.workers > 1:
                in_order = in_order and this.ordered
            else:
                in_order = this.ordered or this.kind != "coroutine"
            units = self._start_stage(this, following, units, in_order)
        self._results = units
        self._at_once = min(_AT_ONCE, self.stages[-1].capacity)
        self._reckon(self._at_once)

    def _start_stage(self, this, following, units, in_order):
        """Start the workers of a stage; return what the next one's take from."""
        many = this.workers > 1
        at_work = this.concurrency if this.kind == "coroutine" else 1
        capacity = (following or this).capacity
        turns = ()
        if many and in_order and not isinstance(units, Straight):
            turns = channel(1)
            turns[0].send(units.state())
            source = InTurns(units, *turns)
        else:
            source = units
        if many and in_order and not (following and following.workers > 1 and not following.ordered):
            each = -(-capacity // this.workers)
            outputs = [channel(each) for _ in range(this.workers)]
            taken = channel((at_work + each + 1) * this.workers)
            results = Merge(taken[1], [receiver for _, receiver in outputs])
            senders = [sender for sender, _ in outputs]
            self._reckon(each * this.workers)
        else:
            sender, receiver = channel(capacity)
            taken = (None,)
            results = Straight(receiver)
            senders = [sender] * this.workers
            self._reckon(capacity)
        self._reckon(at_work * this.workers)
        job = Job(this, in_order, following.batch if following else None, this.workers if taken[0] else 0)
        for index, sender in enumerate(senders):
            name = f"{this.name}-{index + 1}"
            body = work, (job, source, sender, taken[0], index), {}
            settings = _isolation.settings(this.isolation, "call", this.function)
            self._group._launch("call", body, name, index, this.workers, settings)
        for end in (*turns, *units.ends(), *senders, taken[0]):
            if end is not None:
                end.close()
        return results

    def __iter__(self):
        return self

    def __next__(self):
        for value in self._values:
            return value
        if not self._turn.acquire(blocking=False):
            raise ValueError("this pipeline's next result is being waited for already, by another thread or its own source")
        try:
            return self._next()
        finally:
            self._turn.release()

    def _next(self):
        while self._group is not None:
            try:
                if self._failure is not None:
                    _fail(_errors.unpack(*self._failure))
                self._feed()
                values = self._receive()
            except BaseException:
                self.close()
                raise
            if values is None:
                self._finish()
            else:
                self._values = iter(values)
                for value in self._values:
                    return value
        raise StopIteration

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """End it: cancel its workers, and return when all of them have ended. What they fail with is not raised.

            results = interlace.pipeline(range(10**9), str)
            print(next(results))    # 0
            results.close()
            print(list(results))    # []
        """
        group, self._group = self._group, None
        if group is not None:
            self._let_go()
            group.cancel()
            group._end()

    __del__ = close

    def __repr__(self):
        names = " | ".join(stage.name for stage in self.stages)
        return f"<interlace.Pipeline {names}{', ended' if self._group is None else ''}>"

    def _let_go(self):
        self._values = iter(())
        for end in (self._sender, *self._results.ends()):
            if end is not None:
                end.close()

    def _feed(self):
        """Send on what the source has, as far as there is room: then no send has to wait."""
        room = self.stages[0].capacity
        if self._sender is not None and len(self._sender) > room // 2:
            return  # enough to do until more results are here: waking a worker for each item costs more than the item
        while self._sender is not None and len(self._sender) < room:
            items = []
            try:
                items.extend(islice(self._source, self._batch))
            except Exception as error:  # the results of what came before it come before it, too
                self._source_failure = error
            try:
                if items:
                    self._sender.send((self._count, items, LAST))
                    self._count += 1
                    if self._source_failure is None:
                        continue
            except BrokenChannel:  # its workers have ended: for what reason will be seen
                self._cut_off = True
            except Exception as error:  # one of them does not pickle
                self._source_failure = error
            self._sender.close()
            self._sender = None

    def _receive(self):
        """Return results, maybe none, or None at their end."""
        try:
            units = self._results.gather(self._at_once)
        except EndOfChannel:
            return None
        except ValueError:
            if self._group is not None:
                raise
            return None  # another thread has closed this meanwhile
        values = []
        for _, items, state in units:
            values += items
            if isinstance(state, tuple):
                self._failure = state
                break
        return values

    def _finish(self):
        """The results have ended. Raise what a worker failed with, if one did."""
        group, self._group = self._group, None
        if group is None:
            return
        cut_off = self._cut_off or self._sender is not None
        self._let_go()
        if cut_off:
            group.cancel()
        errors = group._end()
        if errors:
            if len(errors) > 1:
                errors[0].add_note(f"{len(errors) - 1} more of the pipeline's workers failed.")
            raise errors[0]
        _interlace._heed()  # the workers may have ended because all this was cancelled
        failure, self._source_failure = self._source_failure, None
        if failure is not None:
            _fail(failure)
        if cut_off:
            raise RuntimeError("the pipeline's workers ended before its source did")


def _fail(error):
    try:
        if isinstance(error, StopIteration):  # it would end the results as if there were no more
            raise RuntimeError("a stage raised StopIteration") from error
        raise error
    finally:
        del error  # whose traceback has this frame


def pipeline(source, /, *stages):
    """Run the items of an iterable through stages of workers. Returns an iterator over the results, a Pipeline.

    A stage is what stage() returns; a function stands for stage(function). The workers are started at once; the source
    is read by the thread that asks for results, when it asks, and at most `lookahead` (int, an attribute of the result)
    items ahead of the results that were handed out, however slow the consumer. A Receiver as the source is read by the
    workers of the first stage themselves.

    All workers have ended when the results have; when an exception is raised; on close(), at the end of a with-block,
    and when the iterator is collected, as after `break`. An exception of a stage's function is the worker's own, with
    the traceback it had there as its cause. One of the source comes after the results of the items before it.

    Raises TypeError, and what starting a worker does.

        def square(n):
            return n * n

        def main():
            for result in interlace.pipeline(range(100), interlace.stage(square, workers=2, batch=10)):
                print(result)

        main()
    """
    if not stages:
        raise TypeError("a pipeline needs at least one stage: pipeline(source, stage(function), ...)")
    results = Pipeline()
    results._open(source, tuple(each if isinstance(each, Stage) else stage(each) for each in stages))
    return results
