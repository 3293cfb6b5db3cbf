"""What a worker of a pipeline's stage does: units in, the stage's function over their items, units out (see _merge).

An item fails when the function raises an Exception, as often as it may be tried, or when its result cannot be pickled.
Then the stage's on_error decides. Whatever else a function raises, SystemExit say, ends the pipeline. A worker in which
the pipeline fails says so in the state of its last unit; whoever consumes the results then cancels the rest.
"""

import time

import _interlace
from _interlace import BrokenChannel, Cancelled

from interlace import _errors
from interlace._merge import LAST, MORE

SKIPPED = object()
_END = object()


class Failed(Exception):
    """The pipeline fails: `state` is that of the unit that says so."""

    def __init__(self, error):
        self.state = _errors.pack(error), _interlace.current_worker().name


class Job:
    """A stage as its workers know it."""

    def __init__(self, stage, ordered, most, takers):
        self.function = stage.function
        self.kind = stage.kind
        self.name = stage.name
        self.on_error = stage.on_error
        self.retries = stage.retries
        self.ordered = ordered
        self.timeout = stage.timeout
        self.concurrency = stage.concurrency
        self.most = most  # results in one message; None: as they come
        self.takers = takers  # how many workers tell what they take; 0: none needs to

    def settle(self, item, error):
        """Return what takes the place of a failed item's results, SKIPPED, or raise Failed."""
        if not isinstance(error, Exception):
            raise Failed(error)
        if self.on_error == "skip":
            return SKIPPED
        if self.on_error == "raise":
            import reprlib

            error.add_note(f"This happened in stage {self.name!r} of a pipeline, for the item {_shown(reprlib, item)}")
            raise Failed(error)
        try:
            result = self.on_error(item, error)
        except Exception as another:
            another.add_note(f"This happened in on_error of stage {self.name!r} of a pipeline.")
            raise Failed(another) from None
        return SKIPPED if result is None else result


def _shown(reprlib, item):
    try:
        return reprlib.repr(item)
    except Exception:
        return f"of type {type(item).__name__}"


class Output:
    """A worker's way to the next stage."""

    def __init__(self, job, sender, taken, index):
        self._job = job
        self.sender = sender
        self._taken = taken
        self._index = index
        self._step = 1 if taken is None else 0  # without others beside it, its messages are numbered one by one
        self._number = 0
        self._silent = True  # nothing has been sent of the input at work

    def tell(self, number):
        """Where others send, too, tell those who merge whose channel the results of an input come on."""
        if self._taken is not None:
            self._taken.send(number * self._job.takers + self._index)

    def begin(self, number):
        """What is sent from now on is made of that input."""
        self._silent = True
        if self._taken is not None:
            self._number = number

    def finish(self, results, state, origins):
        """Send the last results of an input. Every input is heard of: the source goes on when something arrives."""
        if results or self._silent or self._taken is not None or state != LAST:
            return self.send(results, state, origins)
        return state

    def send(self, results, state, origins):
        """Send results, each made of the item at its place in origins. Return the state it came to."""
        self._silent = False
        if self._job.most is None or len(results) <= self._job.most:
            try:
                self.sender.send((self._number, results, state))
            except BrokenChannel:
                raise
            except Exception:  # one of them does not pickle
                steps = self._singly(results, state, origins)
            else:
                self._number += self._step
                return state
        else:
            steps = self.messages(results, state, origins)
        try:
            message = next(steps)
            while True:
                try:
                    self.sender.send(message)
                except BrokenChannel:
                    raise
                except Exception as error:
                    message = steps.throw(error)
                else:
                    message = next(steps)
        except StopIteration as end:
            return end.value

    def messages(self, results, state, origins):
        """Yield the messages to send; an exception of sending one is to be thrown in. Return the state it came to."""
        most = self._job.most or max(len(results), 1)
        for start in range(0, max(len(results), 1), most):
            part = results[start : start + most]
            last = start + most >= len(results)
            try:
                yield self._number, part, state if last else MORE
                self._number += self._step
            except Exception:
                came_to = yield from self._singly(part, state if last else MORE, origins[start : start + most])
                if isinstance(came_to, tuple):
                    return came_to
        return state

    def _singly(self, results, state, origins):
        for result, origin in zip(results, origins):
            try:
                try:
                    yield self._number, [result], MORE
                except Exception as error:
                    error.add_note(f"This is about sending a result of stage {self._job.name!r}, {type(result)}")
                    instead = self._job.settle(origin, error)
                    if instead is not SKIPPED:
                        try:
                            yield self._number, [instead], MORE
                        except Exception as another:
                            raise Failed(another) from None
            except Failed as failed:
                state = failed.state
                break
            self._number += self._step
        yield self._number, [], state
        self._number += self._step
        return state


class _Stopped(Exception):
    """It has been sent that the pipeline fails: nothing is left to do."""


def work(job, units, sender, taken, index):
    """The target of a stage's workers."""
    output = Output(job, sender, taken, index)
    if job.kind == "coroutine":
        from interlace import _pipeline_async

        return _pipeline_async.work(job, units, output)
    run = _Generator(job, output) if job.kind == "generator" else _Function(job)
    for number, items, state in units.units():
        output.tell(number)
        output.begin(number)
        try:
            results, origins, failure = run(items)
        except _Stopped:
            return
        if isinstance(output.finish(results, failure or state or LAST, origins), tuple):
            return


class _Function:
    """One result for each item."""

    def __init__(self, job):
        self._job = job
        self._call = job.function
        if job.timeout is not None:
            within, seconds, function = _interlace._within, job.timeout, job.function
            self._call = lambda item: within(seconds, function, item)

    def __call__(self, items):
        """Return results, what each was made of, and the state of a failure or None."""
        results = []
        append = results.append
        call = self._call
        rest = iter(items)
        skipped = False
        failure = None
        while True:
            try:
                for item in rest:
                    append(call(item))
                break
            except Cancelled:
                raise
            except BaseException as error:
                try:
                    append(self._again(item, error))
                except Failed as failed:
                    failure = failed.state
                    break
            skipped = skipped or results[-1] is SKIPPED
        if skipped:
            items = [item for item, result in zip(items, results) if result is not SKIPPED]
            results = [result for result in results if result is not SKIPPED]
        return results, items, failure

    def _again(self, item, error):
        for _ in range(self._job.retries):
            if not isinstance(error, Exception):
                break
            try:
                return self._call(item)
            except Cancelled:
                raise
            except BaseException as another:
                error = another
        return self._job.settle(item, error)


class _Generator:
    """Any number of results for an item, sent on as they come."""

    def __init__(self, job, output):
        self._job = job
        self._output = output
        self._most = job.most or 1
        self._values = self._untimed if job.timeout is None else self._timed

    def __call__(self, items):
        self._results, self._origins = [], []
        failure = None
        try:
            for item in items:
                self._run(item)
        except Failed as failed:
            failure = failed.state
        return self._results, self._origins, failure

    def _run(self, item):
        for _ in range(self._job.retries + 1):
            yielded = False
            self._error = None
            for value in self._caught(item):
                yielded = True
                self._put(item, value)
            if self._error is None:
                return
            if yielded or not isinstance(self._error, Exception):
                break  # what it has yielded is on its way: another try would yield it again
        instead = self._job.settle(item, self._error)
        if instead is not SKIPPED:
            self._put(item, instead)

    def _put(self, item, value):
        self._results.append(value)
        self._origins.append(item)
        if len(self._results) >= self._most:
            if isinstance(self._output.send(self._results, MORE, self._origins), tuple):
                raise _Stopped
            self._results, self._origins = [], []

    def _caught(self, item):
        """Yield what the function yields, and keep its exception: what sending raises is another matter."""
        try:
            yield from self._values(item)
        except Cancelled, GeneratorExit:
            raise
        except BaseException as error:
            self._error = error

    def _untimed(self, item):
        return self._job.function(item)

    def _timed(self, item):
        left = self._job.timeout
        values = self._job.function(item)
        while True:
            begun = time.monotonic()
            value = _interlace._within(left, next, values, _END)
            if value is _END:
                return
            left = max(left - (time.monotonic() - begun), 0)
            yield value
