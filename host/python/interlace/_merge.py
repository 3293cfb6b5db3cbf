"""What the workers of one stage of a pipeline send, as those of the next stage receive it.

Items travel in units: a message (number, items, state) each, numbered in the order they are in. state is LAST for a
message, MORE when another one belongs to the same input of the stage that sends it, or a tuple: how the pipeline fails
at this point.

Where several workers keep the order of their inputs, each sends on a channel of its own, which is in order, and says
which input it has taken on a channel that they share. So a merge knows whose channel is to be read next, and no result
has to be held anywhere but in its channel.
"""

from _interlace import EndOfChannel

MORE, LAST = 0, 1


class Source:
    """A channel of items that are not in units yet."""

    def __init__(self, receiver, most):
        self._receiver = receiver
        self._most = most
        self._count = 0

    def _unit(self, items):
        unit = self._count, items, LAST
        self._count += 1
        return unit

    def units(self):
        """Yield units until there are no more."""
        if self._most == 1:
            for item in self._receiver:
                yield self._unit([item])
            return
        while True:
            try:
                items = self._receiver.recv_many(self._most)
            except EndOfChannel:
                return
            yield self._unit(items)

    async def next_async(self):
        """Return a unit; raise EndOfChannel when there are no more."""
        items = [await self._receiver.recv_async()]
        if self._most > 1:
            try:
                items += self._receiver.recv_many(self._most - 1, timeout=0)
            except TimeoutError, EndOfChannel:
                pass
        return self._unit(items)

    def state(self):
        """What another worker, with the same channel, needs to go on from here."""
        return self._count

    def resume(self, state):
        self._count = state

    def ends(self):
        """The ends to close for who does not take from here itself."""
        return ()


class Straight:
    """One channel, from one worker or from several without an order."""

    def __init__(self, receiver):
        self._receiver = receiver

    def units(self):
        return iter(self._receiver)

    def gather(self, most):
        """Wait for a unit, then return what else is there, `most` at most; raise EndOfChannel when there are no more."""
        return self._receiver.recv_many(most)

    async def next_async(self):
        return await self._receiver.recv_async()

    def ends(self):
        return (self._receiver,)


class Merge:
    """Several workers' channels, in the order of the inputs that they tell they have taken."""

    def __init__(self, taken, channels):
        self._taken = taken
        self._channels = channels
        self._count = 0  # units so far: the next one's number
        self._next = 0  # the input whose results come next
        self._takers = {}  # the channels of later inputs, as far as they are known
        self._needs = taken  # what is to be received from next

    def _accept(self, message):
        """Take what has been received: return a unit, or None when it was only told what is needed next."""
        if self._needs is self._taken:
            self._note(message)
            self._find()
            return None
        _, items, state = message
        unit = self._count, items, state
        self._count += 1
        if state != MORE:
            self._next += 1
            self._needs = self._taken
            self._find()
        return unit

    def _note(self, told):
        number, taker = divmod(told, len(self._channels))
        self._takers[number] = taker

    def _find(self):
        taker = self._takers.pop(self._next, None)
        if taker is not None:
            self._needs = self._channels[taker]

    def units(self):
        while True:
            try:
                unit = self._accept(self._needs.recv())
            except EndOfChannel:
                return
            if unit is not None:
                yield unit

    def gather(self, most):
        units = []
        while len(units) < most and (not units or len(self._needs)):
            if self._needs is self._taken:
                for told in self._taken.recv_many(most):
                    self._note(told)
                self._find()
            else:
                units.append(self._accept(self._needs.recv()))
        return units

    async def next_async(self):
        while True:
            unit = self._accept(await self._needs.recv_async())
            if unit is not None:
                return unit

    def state(self):
        current = None if self._needs is self._taken else self._channels.index(self._needs)
        return self._count, self._next, current, self._takers

    def resume(self, state):
        self._count, self._next, current, self._takers = state
        self._needs = self._taken if current is None else self._channels[current]

    def ends(self):
        return (self._taken, *self._channels)


class InTurns:
    """What the workers of a stage take from in turns, so that they agree on the order: who has the turn takes a unit."""

    def __init__(self, units, give_turn, turns):
        self._units = units
        self._give = give_turn
        self._turns = turns

    def units(self):
        for state in self._turns:
            if state is None:
                break
            self._units.resume(state)
            unit = next(self._units.units(), None)
            if unit is None:
                break
            self._give.send(self._units.state())
            yield unit
        self._give.send(None)  # to the next one: there are no more

    async def next_async(self):
        state = await self._turns.recv_async()
        try:
            if state is None:
                raise EndOfChannel
            self._units.resume(state)
            unit = await self._units.next_async()
        except EndOfChannel:
            self._give.send(None)
            raise
        await self._give.send_async(self._units.state())
        return unit
