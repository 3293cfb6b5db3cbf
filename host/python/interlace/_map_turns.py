"""Whose turn it is to be written: the batches of `interlace map`, in the order of the input or as they come."""

PARKED = 32 << 20  # bytes of output that wait for their turn before mappers are held back
ENTRY = 512  # bytes that a message costs besides


class Turns:
    """Gives messages of mappers to put(data, failures, finish), those of one batch after those of another.

    put returns True to end the run; so does take() then.
    """

    def __init__(self, ordered, put):
        self._ordered = ordered
        self._put = put
        self._turn = 0 if ordered else None  # the number of the batch that is being written; None: of whichever comes
        self._parked = {}  # number: messages, in the order of coming
        self._size = 0

    def lets(self, number):
        """Whether the next message of a mapper may be received, after one of batch `number` (-1: none yet).

        It is always that of the mapper that has the batch whose turn it is: batches are taken from a channel, so a
        mapper that has told of a later one does not hold an earlier one.
        """
        if self._size < PARKED or self._turn is None:
            return True
        return number <= self._turn if self._ordered else number == self._turn

    def take(self, number, data, failures, finish):
        if self._turn is None:
            self._turn = number
        if number != self._turn:
            self._parked.setdefault(number, []).append((data, failures, finish))
            self._size += len(data) + ENTRY
            return False
        if self._put(data, failures, finish):
            return True
        if finish is None:
            return False
        self._turn = self._turn + 1 if self._ordered else None
        return self._write_parked()

    def _write_parked(self):
        while self._parked:
            if self._turn is None:
                self._turn = next(iter(self._parked))
            messages = self._parked.pop(self._turn, ())
            for data, failures, finish in messages:
                self._size -= len(data) + ENTRY
                if self._put(data, failures, finish):
                    return True
            if not messages or finish is None:
                break
            self._turn = self._turn + 1 if self._ordered else None
        return False

    def done(self):
        """Whether everything that came has been written, whole."""
        return not self._parked and (self._ordered or self._turn is None)
