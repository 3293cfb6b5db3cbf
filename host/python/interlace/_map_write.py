"""The writer of `interlace map`: the worker that starts the others, writes what they tell, and sees when one takes too long."""

import sys
import time

import _interlace
from _interlace import EndOfChannel, after, channel, select

from interlace import _map_input, _map_work
from interlace._map_turns import Turns


class Ended(Exception):
    """The run is over before its time: the exit status, and what is to be said, if it has not been said."""


class _Mapper:
    """A mapper as the writer sees it."""

    def __init__(self, worker, results, rest):
        self.worker = worker
        self.results = results
        self.number = rest[0][0] if rest else -1  # of the batch that it told of last
        self.upto = rest[3] if rest else 0  # the items of it that are done
        self.finished = False  # it told all of it
        self.since = 0.0  # when the item began that it was in; 0: it waits for somebody
        self.item = 0, ""  # its line, and the beginning of it
        self.cancelled = False

    def saw(self, number, upto, finished):
        self.number, self.upto, self.finished = number, upto, finished


class Writer:
    """Starts the reader and the mappers of a run, and writes. items and failed count what has been written."""

    def __init__(self, options, log, progress):
        self._options = options
        self._unit = "item" if options.format == "null" else "line"
        self._log = log
        self._progress = progress
        self._turns = Turns(not options.unordered, self._put)
        self._length = self._checksum = self._failed = 0  # of the batch that is being written
        self._mappers = {}  # slot: _Mapper
        self._slots = 0
        self.items = log.items if log else 0
        self.failed = log.failed if log else 0

    # ---- the workers ----

    def run(self, group):
        """Start the others and write until there is nothing left."""
        options = self._options
        feed, self._batches = channel(options.workers + 1, name="batches")
        self._paces, paces = channel(options.workers * 2, name="paces")
        self._beats_in, self._beats = channel(options.workers * 8 + 8, name="beats")
        self._stop, stop = channel(1, name="stop")
        todo, check = (self._log.todo, self._log.check) if self._log else ([(0, None, 1)], None)
        reader = group.start(_map_input.read, options, todo, check, feed, paces, stop, name="map-input")
        feed.close()
        paces.close()
        stop.close()
        self._group = group
        with self._stop:
            for _ in range(options.workers):
                self._start(None)
            self._loop()
            wrong = reader.result()
        if wrong is not None:
            self._complain(wrong[1])
            raise Ended(wrong[0])

    def _start(self, rest):
        self._slots += 1
        tell, results = channel(2, name=f"results {self._slots}")
        arguments = self._slots, self._options, self._batches, tell, self._paces, self._beats_in, rest
        try:
            worker = self._group.start(_map_work.work, *arguments, name=f"map-{self._slots}")
        except RuntimeError as error:
            self._complain(str(error))
            raise Ended(1) from None
        tell.close()
        self._mappers[self._slots] = _Mapper(worker, results, rest)
        if self._progress:
            self._progress.mapper(self._slots, True)

    def _loop(self):
        self._woke = time.monotonic()
        self._patient_until = 0.0
        while self._mappers:
            cases = {self._beats: None} if self._options.watched else {}
            for slot, mapper in self._mappers.items():
                if self._turns.lets(mapper.number):
                    cases[mapper.results] = slot
                cases[mapper.worker] = slot
            timer = self._watch()
            case, value = select(*cases) if timer is None else select(*cases, timer)
            self._woke = time.monotonic()
            if case is timer:
                continue
            slot = cases[case]
            if slot is None:
                self._beat(*value)
            elif case is self._mappers[slot].results:
                self._take(self._mappers[slot], value)
            else:
                self._ended(slot)

    def _ended(self, slot):
        """A mapper has ended: nothing is left, or its function is unusable, or it has been cancelled."""
        mapper = self._mappers[slot]
        try:
            while True:
                self._take(mapper, mapper.results.recv(timeout=0))
        except EndOfChannel:
            pass
        del self._mappers[slot]
        if self._progress:
            self._progress.mapper(slot, False)
        kind, *what = mapper.worker.result() or (None,)
        if mapper.cancelled:
            self._say_who_is_stuck()
        if kind == "unusable":
            self._complain(what[1])
            raise Ended(what[0])
        if kind == "left":
            message, rest = what
            if mapper.finished and message is not None and message[0] == mapper.number:
                message = rest = None  # it told all of it before it knew
            if message is not None:
                number, upto, entries, failures, finish = message
                known = mapper.upto if mapper.number == number else 0
                entries = entries[len(entries) - (upto - known) :] if upto > known else []
                failures = [failure for failure in failures if failure[0] >= known]
                self._take(mapper, (number, upto, b"".join(entries), failures, finish))
            self._start(rest)

    # ---- what mappers tell ----

    def _take(self, mapper, message):
        number, upto, data, failures, finish = message
        mapper.saw(number, upto, finish is not None)
        if finish is not None and finish[2] is not None:
            self._stop.close()  # nothing after it is wanted
        if self._turns.take(number, data, failures, finish):
            raise Ended(1)

    def _put(self, data, failures, finish):
        """Write what is next. Return True if the run ends here."""
        for _, line, what, shown, trace in failures:
            self._failed += 1
            self._complain(f"{self._unit} {line} failed: {what} (it is {shown})\n{trace}".rstrip("\n"))
        if len(data):
            try:
                _interlace._write(1, data)
            except OSError as error:
                if isinstance(error, BrokenPipeError):
                    raise Ended(0) from None  # as a shell's pipeline ends: `... | head`
                self._complain(f"standard output: {error.strerror}")
                raise Ended(1) from None
        if self._log:
            self._length += len(data)
            self._checksum = self._log.checksum(data, self._checksum)
        if finish is None:
            return False
        head, items, stop = finish
        self.items += items
        self.failed += self._failed
        if self._log:
            self._note(head, stop, items)
        if self._progress:
            self._progress.add(items, head[2] - head[1])
        self._length = self._checksum = self._failed = 0
        return stop is not None

    def _note(self, head, stop, items):
        from interlace._map_joblog import Unusable

        failed = self._failed if stop is None else 0  # the one that ends the run is to be tried again
        try:
            self._log.note(head, stop, items, failed, self._length, self._checksum)
        except Unusable as unusable:
            self._complain(f"--joblog: {unusable}")
            raise Ended(1) from None
        except OSError as error:
            self._complain(f"--joblog: {self._options.joblog}: {error.strerror}")
            raise Ended(1) from None

    # ---- time ----

    def _beat(self, slot, since, line, shown):
        if slot in self._mappers:
            self._mappers[slot].since = since
            self._mappers[slot].item = line, shown
        if self._progress:
            self._progress.beat(slot, since)

    def _watch(self):
        """Cancel mappers whose item takes too long; return a timer for the next look, None if there is to be none."""
        now = time.monotonic()
        moments = []
        if self._progress:
            if now >= self._progress.next:
                self._progress.show()
            moments.append(self._progress.next)
        if self._options.timeout is not None:
            # A mapper tells of its items no more often than that; nor can it, while nobody listens.
            between = min(_map_work.BETWEEN, self._options.timeout / 4)
            if now - self._woke > between:
                self._patient_until = now + 2 * between
            for mapper in self._mappers.values():
                if mapper.since and not mapper.cancelled:
                    moment = max(mapper.since + between + self._options.timeout, self._patient_until)
                    if moment <= now and not len(self._beats):
                        self._interrupt(mapper)
                    else:
                        moments.append(moment)
        return after(max(0.0, min(moments) - time.monotonic())) if moments else None

    def _interrupt(self, mapper):
        mapper.cancelled = True
        self._say_who_is_stuck()
        mapper.worker.cancel()

    def _say_who_is_stuck(self):
        """What is to be said if the host has to leave without a mapper that does not end."""
        _interlace._last_words(None)
        for mapper in self._mappers.values():
            if mapper.cancelled:
                line, shown = mapper.item
                text = f"takes more than {self._options.timeout:g} s and cannot be interrupted (it is {shown})"
                return _interlace._last_words(f"interlace: map: {self._unit} {line} {text}\n")

    # ---- words ----

    def _complain(self, text):
        if self._progress:
            self._progress.clear()
        sys.stderr.write(f"interlace: map: {text}\n")
        sys.stderr.flush()
