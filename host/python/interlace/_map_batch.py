"""Batches of `interlace map`: where standard input may be cut, and the items of its pieces.

A batch is some bytes of standard input with whole items in it. Its head says where it comes from, as a tuple: its
number, the offsets it begins and ends at, the number of its first line and of the lines in it, and its checksum (None
without a log). Lines of csv are counted as the csv module counts them; with --in null, an item is a line.
"""

import re

MOST = 1 << 18  # bytes of a batch, unless a single item is longer
LONGEST = 64 << 20  # bytes of an item
SEPARATORS = {"lines": "\n", "json": "\n", "null": "\0", "csv": "\n"}


class Separated:
    """Cuts items that end with a byte: lines, JSON documents, what `find -print0` writes."""

    def __init__(self, separator):
        self._separator = separator

    def cut(self, data, begin, end, last, room):
        """Return where a batch that begins there ends (None: no item is whole yet), and whether it is a full one.

        It has `room` bytes at most, but one item at least. last: data[:end] is all there is.
        """
        limit = min(begin + room, end)
        at = data.rfind(self._separator, begin, limit)
        if at < 0:
            at = data.find(self._separator, limit, end)
        if at < 0:
            return (end if last else None), last
        return at + 1, end - begin >= room

    def cut_items(self, data, begin, end, last, items):
        """Likewise, for a batch of so many items, or fewer where they have more than MOST bytes."""
        at = begin
        for _ in range(items):
            found = data.find(self._separator, at, end)
            if found < 0:
                return (end if last else at if at > begin else None), last
            if found >= begin + MOST and at > begin:
                break
            at = found + 1
        return at, True

    def lines(self, data, begin, end):
        """Return how many lines end there."""
        return data.count(self._separator, begin, end)


class Rows:
    """Cuts csv. A quoted field may hold line breaks; a quote elsewhere than at a field's start is an ordinary byte."""

    _FIELD = rb'(?:"[^"]*+(?:""[^"]*+)*+"[^,\r\n]*+|(?!")[^,\r\n]*+)'
    _ROW = rb"%b(?:,%b)*+(?:\r\n|\n|\r(?=[^\n]))" % (_FIELD, _FIELD)

    def __init__(self):
        self._by_line = Separated(b"\n")
        self._one = re.compile(self._ROW)
        self._many = re.compile(rb"(?:%b){64}+" % self._ROW)

    def cut(self, data, begin, end, last, room):
        """As Separated's."""
        at, full = self._by_line.cut(data, begin, end, last, room)
        if at is not None and data.find(b'"', begin, at) < 0:
            return at, full
        return self._cut(data, begin, end, last, begin + room, MOST)

    def cut_items(self, data, begin, end, last, items):
        """As Separated's."""
        return self._cut(data, begin, end, last, begin + MOST, items)

    def _cut(self, data, begin, end, last, limit, items):
        at, within = begin, min(limit, end)
        while items > 0:
            step = 64 if items >= 64 else 1
            found = (self._many if step == 64 else self._one).match(data, at, within)
            if found is None and step == 64:
                step = 1
                found = self._one.match(data, at, within)
            if found is None:
                break
            at = found.end()
            items -= step
        if at == begin and (found := self._one.match(data, begin, end)) is not None:
            at = found.end()
        if at == begin:
            return (end if last else None), last
        return at, items == 0 or end >= limit

    def lines(self, data, begin, end):
        """As Separated's."""
        breaks = data.count(b"\n", begin, end)
        if data.find(b"\r", begin, end) >= 0:
            breaks += data.count(b"\r", begin, end) - data.count(b"\r\n", begin, end)
        return breaks


def cutter(format):
    """Return what cuts standard input in that format."""
    return Rows() if format == "csv" else Separated(SEPARATORS[format].encode())


def text_of(data):
    """Return the bytes of a batch as a str; what is not UTF-8 becomes surrogates, as in the names of files."""
    return str(data, "utf-8", "surrogateescape")


def items_of(format, text):
    """Return an iterable of the items: str, or list of str for csv."""
    if format == "csv":
        return rows_of(text)
    separator = SEPARATORS[format]
    items = text.split(separator)
    if not items[-1]:
        items.pop()
    return items


def rows_of(text):
    """Return a csv.reader."""
    import csv
    import io

    csv.field_size_limit(LONGEST)
    return csv.reader(io.StringIO(text, newline=""))


def place_of(format, text, count):
    """Return the bytes and the lines before item number `count` (from 0) of a batch."""
    if format != "csv":
        separator = SEPARATORS[format]
        return sum(len(item) for item in _encoded(text.split(separator, count)[:count])) + count, count
    import io

    rows = rows_of(text)
    for _ in range(count):
        next(rows)
    lines = io.StringIO(text, newline="")
    before = "".join(next(lines) for _ in range(rows.line_num))
    return len(before.encode("utf-8", "surrogateescape")), rows.line_num


def _encoded(items):
    return (item.encode("utf-8", "surrogateescape") for item in items)
