"""A mapper of `interlace map`: a worker that calls the function with the items of one batch after another.

It tells the writer (_map.py) in messages (batch, items, data, failures, finish): the batch's number, how many of its
items are done after this message, their output (bytes, whole lines), the failures since the last message, and
(head, items, stop) with the last message of a batch. stop is None, or the (offset, line) of the item that ends the run.
"""

import sys
import time
from itertools import islice

import _interlace
from _interlace import BrokenChannel, Cancelled

from interlace import _errors, _map_batch, _map_function

LARGE = 1 << 14  # bytes that travel out of band
PART = 1 << 20  # bytes of output that are told before the batch is done
SHOWN = 80  # characters of an item that are shown
BETWEEN = 0.05  # seconds between two signs of life, at least


def _show(item):
    """Return the first characters of an item, as repr writes them."""
    if isinstance(item, str):
        return _shorten(repr(item[: SHOWN + 1]), SHOWN)
    return _shorten(repr([text[: SHOWN + 1] for text in item[: SHOWN + 1]]), SHOWN)


def _shorten(text, most):
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _in_a_line(error):
    text = " ".join(str(error).split())
    name = type(error).__qualname__
    return _shorten(f"{name}: {text}" if text else name, 4 * SHOWN)


class Mapper:
    """Does batches, or the rest of one that another mapper left: (head, offset, line, items done, tries, data).

    A cancellation may come at any point. So one list alone says what is done: _out has an entry for each item of the
    piece that is, whatever came of it; those that the writer has been told are None.
    """

    def __init__(self, slot, options, function, results, paces, beats):
        self._slot = slot
        self._options = options
        self._results = results
        self._paces = paces
        self._beats = beats
        self._encode = _map_function.encoder(options.out)
        call = _map_function.of_json(function) if options.format == "json" else function
        self._call = self._watched(call) if options.watched else call
        self._between = min(BETWEEN, options.timeout / 4) if options.timeout else BETWEEN
        self._last_beat = 0.0
        self._since = 0.0, None, 0  # when the current item began, its batch, its index; watched only
        self._held = []  # the batch that was received, until all of it has been told
        self._head = None  # of the batch that is being done, or was
        self._out = []
        self._told = 0  # entries of _out
        self._size = 0  # bytes of _out that the writer has not been told, more or less
        self._failures = []  # (items before it, line, what, shown, traceback)
        self._tries = 0  # how often the current item has failed

    # ---- signs of life: the writer sees when an item takes too long ----

    def _watched(self, call):
        is_cancelled = _interlace._is_cancelled

        def watched(item):
            if is_cancelled():  # and the last item did not let it pass
                raise Cancelled
            now = time.monotonic()
            self._since = now, self._head, len(self._out)
            if now - self._last_beat >= self._between:
                try:
                    self._beats.send((self._slot, now, self._line_of(item), _show(item)), timeout=0)
                    self._last_beat = now
                except TimeoutError:
                    pass
            return call(item)

        return watched

    def _pause(self):
        """Tell that this mapper is going to wait for somebody, not for an item."""
        self._beats.send((self._slot, 0.0, 0, ""))
        self._last_beat = 0.0

    def _send(self, message):
        if self._options.watched:
            try:
                return self._results.send(message, timeout=0)
            except TimeoutError:
                self._pause()
        self._results.send(message)

    def run(self, batches, rest):
        """Do all the batches that come, beginning with `rest` if it is not None; or those until one ends the run."""
        if rest is not None:
            self._held.append(rest)
        while True:
            if not self._held:
                if self._options.watched and not len(batches):
                    self._pause()
                # One call from the channel to the list: a cancellation finds the batch in either.
                self._held.extend(islice(batches, 1))
                if not self._held:
                    return
            if not self._do(self._held[0]):
                return
            self._held.clear()

    # ---- a batch ----

    def _do(self, batch):
        """Do a batch and tell what came of it. Return whether the run goes on."""
        begin = time.perf_counter()
        self._take(*batch)
        good = self._try_again() if self._tries else True
        while good:
            try:
                self._apply()
                break
            except Cancelled:
                raise
            except BaseException as error:
                good = self._try_more(error)
        self._tell((self._head, self._done + len(self._out), None if good else self._place()))
        if self._options.batch is None:
            try:
                self._paces.send((len(batch[-1]), time.perf_counter() - begin), timeout=0)
            except (TimeoutError, BrokenChannel):  # it is behind, or has read everything
                pass
        return good

    def _take(self, head, offset, line, done, tries, data):
        self._offset, self._line, self._done, self._tries = offset, line, done, tries
        self._text = _map_batch.text_of(data)
        self._items = iter(_map_batch.items_of(self._options.format, self._text))
        self._out, self._told, self._failures, self._size = [], 0, [], 0
        self._head = head

    def _apply(self):
        call, encode, append = self._call, self._encode, self._out.append
        for self._item in self._items:
            result = call(self._item)
            if result is None:
                append(b"")
                continue
            line = encode(result)
            append(line)
            self._size += len(line)
            if self._size >= PART:
                self._tell(None)

    def _tell(self, finish):
        data = b"".join(self._out[self._told :] if self._told else self._out)
        count = len(self._out)
        message = memoryview(data) if len(data) > LARGE else data
        self._send((self._head[0], self._done + count, message, self._failures, finish))
        self._out[self._told :] = [None] * (count - self._told)
        self._told = count
        self._failures = []
        self._size = 0

    def _line_of(self, item):
        """Return the number of the current item's first line."""
        if self._options.format != "csv":
            return self._line + len(self._out)
        # The csv module is at the last line of the row.
        breaks = (text.count("\n") + text.count("\r") - text.count("\r\n") for text in item)
        return self._line + self._items.line_num - 1 - sum(breaks)

    def _place(self):
        """Return the (offset, line) of the current item."""
        offset, lines = _map_batch.place_of(self._options.format, self._text, len(self._out))
        return self._offset + offset, self._line + lines

    # ---- what goes wrong ----

    def _try(self):
        """Call the function with the current item; return the exception if it fails."""
        try:
            result = self._call(self._item)
            self._out.append(b"" if result is None else self._encode(result))
            self._size += len(self._out[-1])
        except Cancelled:
            raise
        except BaseException as error:
            return error

    def _try_again(self):
        """The current item is the first of this piece, and has failed in the mapper that had it before."""
        self._item = next(self._items)
        error = self._try()
        if error is not None:
            return self._try_more(error)
        self._tries = 0
        return True

    def _try_more(self, error):
        """The current item has failed. Try it as often as is wanted; return whether the run goes on."""
        while error is not None and self._tries < self._options.retries:
            self._tries += 1
            error = self._try()
        self._tries = 0
        return error is None or self._fail(error)

    def _fail(self, error):
        """The current item has failed for good. Return whether the run goes on."""
        options = self._options
        of_theirs = _errors.own_frames(error.__traceback__) is not None
        trace = _errors.text_of(error) if of_theirs and not options.expression and not options.keep_going else ""
        line, shown = self._line_of(self._item), _show(self._item)
        self._failures.append((self._done + len(self._out), line, _in_a_line(error), shown, trace))
        if options.keep_going:
            self._out.append(b"")
        return options.keep_going

    def left(self):
        """Return what a mapper that has been cancelled leaves: (message, rest), each None if there is none.

        The message has a list of entries in the place of its output, from item `told` on; the rest is a batch.
        """
        if not self._held:
            return None, None
        batch = self._held[0]
        if self._head is not batch[0]:  # it has not begun
            return None, (*batch[:-1], bytes(batch[-1]))
        began, *item = self._since
        in_it = item == [self._head, len(self._out)]
        good, tries = True, self._tries if in_it else 0
        if in_it and time.monotonic() - began >= self._options.timeout:
            tries += 1
            if tries > self._options.retries:
                tries = 0
                good = self._fail(TimeoutError(f"it took more than {self._options.timeout:g} s"))
        done = self._done + len(self._out)
        failures = [failure for failure in self._failures if failure[0] < done or not good]
        offset, line = self._place()
        finish = None if good else (self._head, done, (offset, line))
        data = self._text.encode("utf-8", "surrogateescape")[offset - self._offset :]
        rest = (self._head, offset, line, done, tries, data) if good else None
        return (self._head[0], done, self._out[self._told :], failures, finish), rest


def _quiet():
    """What the function prints goes to stderr, and standard input is not its own."""
    import os

    sys.stdout = sys.__stdout__ = sys.stderr
    sys.stdin = sys.__stdin__ = open(os.devnull)


def work(slot, options, batches, results, paces, beats, rest):
    """Do a mapper's work. rest: a batch to begin with, or None.

    Return None when the input has ended, ("unusable", exit status, text) without a function, ("left", message, rest)
    after an item has been interrupted.
    """
    _quiet()
    try:
        function = _map_function.load(options)
    except _map_function.Unusable as unusable:
        return "unusable", 2, str(unusable)
    except Cancelled:
        raise
    except BaseException as error:
        return "unusable", 1, f"{options.function} cannot be loaded:\n{_errors.text_of(error)}"
    mapper = Mapper(slot, options, function, results, paces, beats)
    try:
        mapper.run(batches, rest)
    except Cancelled:
        if not options.timeout:
            raise
        left = mapper.left()
        try:
            sys.stderr.flush()
        except BaseException:
            sys.stdout = sys.__stdout__ = sys.stderr = sys.__stderr__ = None  # it must not stop the answer
        return "left", *left
