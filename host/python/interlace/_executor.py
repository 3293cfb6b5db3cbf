"""Executor: calls of functions in workers, as concurrent.futures has them."""

import itertools
import os
from concurrent.futures import CancelledError, InvalidStateError
from concurrent.futures import Executor as _Executor
from concurrent.futures import Future as _Future
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, PENDING, RUNNING
from importlib.util import find_spec

import _interlace

from interlace import _executor_map
from interlace._executor_calls import CALL, CANCELLED, RESULT, message, read
from interlace._executor_pool import Pool

_numbers = itertools.count(1)


class Future(_Future):
    """What came, or will come, of one call: a concurrent.futures.Future that can be cancelled while it runs."""

    interrupts = True

    def __init__(self, pool):
        super().__init__()
        self._pool = pool
        self._number = None  # once it has been sent

    def cancel(self):
        """Cancel the call, also while it runs. Returns False when it is over already, else True (bool).

        A call that has not begun never will. In one that runs, Cancelled is raised: at once in a wait of Interlace's,
        within milliseconds in bytecode, and when it returns from foreign code such as time.sleep(). Its `finally` blocks
        run, its worker goes on with the next call, and the future does not wait for any of that: it is cancelled when
        this returns.
        """
        if self._set_cancelled():
            self._pool.withdraw(self)
            return True
        return self.cancelled()

    def running(self):
        """Whether a worker is at the call right now (bool)."""
        return self._state == RUNNING and self._pool.at(self._number)

    def _set_cancelled(self):
        with self._condition:
            if self._state not in (PENDING, RUNNING):
                return False
            self._state = CANCELLED_AND_NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
        self._invoke_callbacks()
        return True

    # ---- as a target of the pool's ---------------------------------------------------------------------------------

    def begin(self, numbers):
        with self._condition:
            if self._state == PENDING:
                self._state = RUNNING
                self._number = numbers[0]
            return self._state == RUNNING

    def numbers(self):
        return () if self._number is None else (self._number,)

    def arrived(self, outcomes):
        _, kind, value = outcomes[0]
        if kind != RESULT:
            kind, value = read(kind, value)
        try:
            if kind == RESULT:
                self.set_result(value)
            elif kind == CANCELLED:
                self._set_cancelled()
            else:
                self.set_exception(value[1])
        except InvalidStateError:  # it has been cancelled
            pass

    def lost(self, error, number=None):
        try:
            if isinstance(error, CancelledError):
                self._set_cancelled()
            else:
                self.set_exception(error)
        except InvalidStateError:
            pass


class Executor(_Executor):
    """Call functions in workers that stand ready, in place of a concurrent.futures.ProcessPoolExecutor.

        def square(x):
            return x * x

        with interlace.Executor(4) as executor:
            print(list(executor.map(square, range(5))))            # [0, 1, 4, 9, 16]
            print(executor.submit(pow, 2, 10).result())            # 1024

    max_workers (int from 1, or None: as many as the process has cores) bounds the workers, which are started when they
    are first needed. initializer(*initargs) is called in each before its first call, and the modules that `preload`
    names (an iterable of str) are imported before that. isolation says where the workers run, as for Group(): each in an
    "interpreter" or in a "process" of its own; in processes every module can be preloaded.

    Calls and results are pickled, and whatever travels in messages may be in them, channel ends and Buffers too.
    Functions and classes of the script itself work as they do in Group.start(); lambdas and functions inside functions
    need the cloudpickle package. Future.cancel() also cancels a call that runs.

    A worker that cannot be made ready, because its initializer raises, say, breaks the executor: everything that is
    handed in raises concurrent.futures.BrokenExecutor then. Leaving the `with` block waits for all calls; only a
    KeyboardInterrupt that leaves it cancels what runs. An executor that nobody shuts down does its calls and ends when
    it is collected, or with the worker it belongs to.

    Raises ValueError, TypeError, ImportError for a module in `preload`, and RuntimeError where no process can be started.
    """

    def __init__(self, max_workers=None, *, initializer=None, initargs=(), isolation="interpreter", preload=()):
        if max_workers is None:
            max_workers = os.process_cpu_count() or 1
        elif isinstance(max_workers, bool) or not isinstance(max_workers, int):
            raise TypeError(f"max_workers must be an int or None, not {type(max_workers).__name__}")
        elif max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if isolation not in _ISOLATIONS:
            kinds = " or ".join(map(repr, _ISOLATIONS))
            raise ValueError(f"isolation must be {kinds}, not {isolation!r}")
        if isinstance(preload, str):
            raise TypeError("preload must be an iterable of module names, not a str")
        if isolation == "process":
            _interlace._check_processes()
        preload = tuple(preload)
        for name in preload:
            if isolation == "interpreter":
                __import__(name)
            elif find_spec(name) is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        self._max_workers = max_workers
        self._pool = Pool(max_workers, f"executor-{next(_numbers)}", preload, initializer, tuple(initargs), isolation)

    @property
    def _broken(self):
        return self._pool.broken or False

    def submit(self, fn, /, *args, **kwargs):
        """Have fn(*args, **kwargs) called in a worker, and return its Future at once.

        The arguments are pickled before this returns; what that raises is the future's exception. Raises RuntimeError
        after shutdown(), BrokenExecutor when the executor is broken.

            future = executor.submit(pow, 2, 10)
            print(future.result(timeout=5.0))                      # 1024
        """
        pool = self._pool
        future = Future(pool)
        try:
            call = message(CALL, (pool.names.of(fn), args, kwargs))
        except Exception as error:
            pool.check()
            future.set_exception(error)
            return future
        pool.add(future, [call])
        return future

    def map(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None):
        """Call fn with an argument of each iterable at a time, in the workers, and return an iterator of the results.

        The results come in the order of the arguments. The iterables are read to their ends first, or, with buffersize
        (int), no more than that many chunks ahead of the results that have been taken. chunksize (int) is how many calls
        travel in a message: more than 1 pays when they are tiny. timeout is in seconds (float or int) from now, for the
        whole iteration.

        An exception of a call is raised in its place, after the results before it, and ends the iteration; so does
        TimeoutError. What has not been begun then is not begun any more.

            for length in executor.map(len, ["one", "three"], chunksize=100):
                print(length)
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        return _executor_map.start(self, self._pool, fn, iterables, timeout, chunksize, buffersize)

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Take no more calls; the workers end when those handed in are done. May be called again.

        wait=True waits for that. cancel_futures=True cancels the calls that no worker has begun.

            executor = interlace.Executor(2)
            future = executor.submit(pow, 2, 10)
            executor.shutdown()
            print(future.result())                                 # 1024
        """
        self._pool.close(cancel_futures)
        if wait:
            self._pool.join()

    def __exit__(self, exc_type, exc_val, exc_tb):
        if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
            self.terminate_workers()  # as a terminal's Ctrl-C reaches the processes of a ProcessPoolExecutor, too
        return super().__exit__(exc_type, exc_val, exc_tb)

    def terminate_workers(self):
        """Cancel the workers and whatever they run. The executor is broken then: calls that are not done raise
        BrokenExecutor.

        Returns at once. A worker that does not end within the grace period ends the process, with its name on stderr.

            _, receiver = interlace.channel(0)
            executor = interlace.Executor(2)
            future = executor.submit(next, receiver)               # waits for a message
            executor.terminate_workers()
            print(type(future.exception()).__name__)               # BrokenExecutor
        """
        self._pool.terminate()

    kill_workers = terminate_workers

    def __del__(self):
        if hasattr(self, "_pool"):
            self._pool.close()


_ISOLATIONS = "interpreter", "process"
