"""The workers of an Executor, the calls it has been handed, and the thread that hands them on and collects outcomes.

Calls wait in `pending` until there is room in the channel `tasks`, which all workers receive from: whoever is free takes
the next. The channel is short, so that what is cancelled early is seldom there yet, and long enough for the workers while
the threads here wait for each other. Every outcome that comes makes room for another call, so handing on needs no thread
of its own: who hands in a call does it, and who collects outcomes.

What is handed in is a target and its messages. A target is asked begin(numbers), under the pool's lock, when some of them
are about to be sent under these numbers: false drops them. Later it is told, by the collecting thread and without the lock,
what came of them: arrived() with a list of (number, kind, value), or lost() with an exception in place of that. Either may
come twice for the same call when everything is cancelled: the first time counts.

Thousands of calls a millisecond may pass here, so what is done for each is done by the likes of map() where it can be.

Finalisers run wherever Python code does, so what they may come to is written to be done in the middle of anything: it sets
a flag and pokes the collecting thread, or it withdraws a target, under a lock that its thread may have already.
"""

import collections
import itertools
import logging
import operator
import threading
import weakref
from concurrent.futures import BrokenExecutor, CancelledError

import _interlace
from _interlace import Cancelled

from interlace import _executor_worker, _isolation, _main, _worker
from interlace._executor_calls import POKE, Names, read

ROOM = 256  # calls in the channel

LOGGER = logging.getLogger("concurrent.futures")

_first = operator.itemgetter(0)
_pools = weakref.WeakSet()
_leaving = False  # this interpreter ends: nothing is handed in any more


class Pool:
    def __init__(self, count, name, preload, initializer, initargs, isolation):
        self.count = count
        self.names = Names()
        self.workers = []
        self.broken = None  # or why this executor is of no use any more
        self.closing = False  # no more is handed in
        self._kind = BrokenExecutor  # what is raised for it, and its cause
        self._cause = None
        self._name = name
        self._settings = _isolation.settings(isolation, "call", None)
        self._opening = preload, initializer and self.names.of_many(initializer), initargs
        # Guards what follows and the order of sending. The user's code runs under it where the initializer is pickled
        # and in finalisers, which may withdraw.
        self._lock = threading.RLock()
        self._pending = collections.deque()
        self._sent = {}  # number: target, in order
        self._revoked = set()  # of the numbers in `sent`: those that are not to be begun
        self._number = 0
        self._thread = None
        # Pairs (target, outcome), the collecting thread's alone. What it is at stays in there until it is done, since
        # Cancelled may come in between.
        self._unsettled = []
        self._dropping = False  # withdraw whatever has not been begun; without the lock
        self._terminated = False
        self._over = False  # the collecting thread has done all it has to
        self._scope = _interlace.Scope()
        room = ROOM
        while room < 2 * count:
            room *= 2
        self._room = room
        _pools.add(self)
        self._tasks, self._tasks_end = _interlace.channel(room, name=f"{name} calls")
        self._results_end, self._results = _interlace.channel(2 * room, name=f"{name} outcomes")

    # ---- handing in -----------------------------------------------------------------------------------------------

    def add(self, target, messages):
        """Take a list of messages of a target."""
        with self._lock:
            self.check()
            if not self.workers:
                self._start_worker()
            if self._thread is None:
                self._start_thread()
            self._pending.append((target, messages))
            lost = self._feed()
        for target, error, number in lost:
            target.lost(error, number)

    def check(self):
        """Raise what handing in a call would."""
        if self.broken is not None:
            raise self.breaking()
        if self.closing:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if _leaving:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def breaking(self):
        """Return a new exception that says why nothing comes of a call."""
        error = self._kind(self.broken)
        error.__cause__ = self._cause
        return error

    def _start_worker(self):
        if _main.loading:
            raise RuntimeError(
                "the script uses an Executor while its definitions are loaded in a worker: use it inside a function, or "
                'below `if __name__ == "__main__":`'
            )
        index = len(self.workers)
        job = self._tasks_end, self._results_end, tuple(self._revoked), *self._opening
        body = _executor_worker.serve, job, {}
        head = "call", _main.surroundings()
        name = f"{self._name}.{index + 1}"
        worker = _interlace._spawn(head, body, name, index, self.count, self._scope, False, self._settings)
        self.workers.append(worker)
        for number in self._revoked:
            worker._revoke(number, False)

    def _start_thread(self):
        thread = threading.Thread(target=self._collect, name=f"{self._name} collector")
        thread.start()
        self._thread = thread

    def _feed(self):
        """Send what there is room for, with the lock, and have a worker for each call that is not over.

        Returns (target, error, number) of calls for whose messages there is no memory.
        """
        lost = []
        room = self._room - len(self._tasks)
        while room > 0 and self._pending:
            target, messages = self._pending.popleft()
            if len(messages) > room:
                self._pending.appendleft((target, messages[room:]))
                messages = messages[:room]
            numbers = range(self._number + 1, self._number + 1 + len(messages))
            self._sent.update(dict.fromkeys(numbers, target))
            if not target.begin(numbers):
                _remove(self._sent, numbers)
                continue
            self._number += len(messages)
            room -= len(messages)
            try:
                posted = _interlace._post(self._tasks, messages, numbers[0])
            except MemoryError:
                posted = 0
            for number in numbers[posted:]:
                error = MemoryError("no room for the call in the memory that workers share")
                lost.append((self._sent.pop(number), error, number))
        wanted = min(self.count, len(self._sent))
        while len(self.workers) < wanted:
            try:
                self._start_worker()
            except Exception:  # such as when no more threads are to be had: those that are there have to do
                self.count = len(self.workers)
        return lost

    # ---- withdrawing ----------------------------------------------------------------------------------------------

    def poke(self):
        """Have the collecting thread look at the flags. It looks after every outcome anyway."""
        if self._thread is not None and not self._over:
            try:
                _interlace._post(self._results_end, [_interlace._message(POKE, None)], 0)
            except ValueError:  # this end has been closed: it is over
                pass

    def withdraw(self, target):
        """Have the target's calls, those of target.numbers(), not be begun; one that is is cancelled if it `interrupts`."""
        with self._lock:
            for number in target.numbers():
                if number in self._sent:
                    self._revoke(number, target.interrupts)

    def close(self, drop=False):
        """No more calls; the workers end when there is none left to be done."""
        self.closing = True
        self._dropping = self._dropping or drop
        self.poke()

    def terminate(self):
        self._terminated = self.closing = True
        self._scope.cancel()

    def join(self):
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def at(self, number):
        """Whether a worker is at that call right now."""
        return any(worker._at(number) for worker in self.workers)

    def _revoke(self, number, interrupt):
        """Return whether the call will surely not be begun: no worker has come to it."""
        self._revoked.add(number)
        return all([worker._revoke(number, interrupt) for worker in self.workers])

    def _drop(self):
        """Do what shutdown(cancel_futures=True) asks for, with the lock; return pairs (target, number or None)."""
        if not self._dropping:
            return ()
        self._dropping = False
        # A call for each worker counts as begun, as one does that it is about to begin.
        others = list(self._sent.items())[len(self.workers) :]
        dropped = [(target, number) for number, target in others if self._revoke(number, False)]
        dropped += [(target, None) for target, _ in self._pending]
        self._pending.clear()
        return dropped

    # ---- collecting -----------------------------------------------------------------------------------------------

    def _collect(self):
        try:
            self._scope.enter()  # which is cancelled when a worker fails
            while not self._collect_some(None):
                pass
        except BaseException as error:
            reason = error
        else:
            reason = None
        # Cancelled may come out of the blue here as well, a few times: each step may be done again.
        for step in self._scope.exit, lambda: self._break(reason), self._drain, self._lose, self._let_go:
            for _ in range(8):
                try:
                    step()
                    break
                except BaseException as error:
                    if not isinstance(error, Cancelled):
                        LOGGER.exception("the end of %s", self._name)
        self._over = True
        reason = None  # whose traceback keeps this frame

    def _collect_some(self, timeout):
        """Wait for outcomes and settle them; return whether everything is over."""
        arrived = _interlace._next_messages(self._results, timeout)
        others = [message for message in arrived if not message[0]]
        if others:
            arrived = [message for message in arrived if message[0]]
        with self._lock:
            # In one go: nothing is in neither of the two when Cancelled comes.
            self._unsettled.extend(zip(map(self._sent.pop, map(_first, arrived)), arrived))
            if self._revoked:
                self._revoked.difference_update(map(_first, arrived))
            dropped = self._drop()
            lost = () if self.broken else self._feed()
            over = self.closing and not self._pending and not self._sent
        self._settle()
        for target, number in dropped:
            target.lost(CancelledError(), number)
        for target, error, number in lost:
            target.lost(error, number)
        for message in others:
            if message[1] != POKE:
                self._fail_to_open(message)
        return over

    def _settle(self):
        for target, pairs in itertools.groupby(self._unsettled, _first):
            try:
                target.arrived([message for _, message in pairs])
            except Cancelled:
                raise
            except BaseException:  # of somebody's done callback
                LOGGER.exception("exception calling callback for %r", target)
        self._unsettled.clear()

    def _fail_to_open(self, message):
        if self._cause is not None:
            return  # the second worker fails as the first did
        _, value = read(message[1], message[2])
        self._cause = value[1]
        LOGGER.critical("Exception in initializer:", exc_info=self._cause)
        self.broken = "a worker could not be made ready: its initializer, or a module it was to preload, has failed"
        self._scope.cancel()

    def _break(self, reason):
        """All is over before its time: say why."""
        if reason is None:
            return
        if self.broken is None:
            failed = next((worker for worker in self.workers if worker._failed()), None)
            if self._terminated:
                self.broken = "its workers were terminated"
            elif failed is not None:
                self.broken = f"worker {failed.name!r} has failed"
                try:
                    self._cause = _worker.failure(failed)[0]  # which comes at once
                finally:
                    _interlace._last_words(None)
            elif isinstance(reason, Cancelled):
                self._kind, self.broken = Cancelled, "the executor was cancelled with what is around it"
            else:
                self._cause, self.broken = reason, "collecting outcomes has failed"
        self._scope.cancel()

    def _drain(self):
        """Settle what has come before the end."""
        self._settle()
        try:
            while self._sent:
                self._collect_some(0)
        except TimeoutError:
            pass

    def _lose(self):
        """Nothing comes of the others."""
        with self._lock:
            self.closing = True
            sent, pending = list(self._sent.items()), list(self._pending)
        for number, target in sent:
            target.lost(self.breaking(), number)
        for target, _ in pending:
            target.lost(self.breaking())
        with self._lock:
            self._sent.clear()
            self._pending.clear()

    def _let_go(self):
        with self._lock:
            for end in self._tasks, self._tasks_end, self._results, self._results_end:
                end.close()
        for worker in self.workers:
            trouble = worker._join()
            if trouble is not None:
                raise trouble


def _remove(sent, numbers):
    for number in numbers:
        del sent[number]


def _leave():
    global _leaving
    _leaving = True
    pools = list(_pools)
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.join()


threading._register_atexit(_leave)
