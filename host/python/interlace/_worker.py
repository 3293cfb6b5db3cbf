"""The methods of Worker that are easier said in Python. Tags of outcomes: see _bootstrap.py."""

from _interlace import Cancelled

from interlace import _errors


def failure(worker, timeout=None):
    """Return (exception or None, result) of a worker, waiting for it to have one."""
    tag, value = worker._outcome(timeout)
    if tag == b"R":
        return None, value
    if tag == b"X":
        value = _errors.unpack(value, worker.name)
    elif tag == b"C":
        value = Cancelled(f"worker {worker.name!r} was cancelled")
    elif tag == b"D":
        value = _errors.death(worker.name, *value)
    elif tag == b"E":
        value = RuntimeError(f"worker {worker.name!r} failed: {value}")
    elif tag == b"U":
        value.add_note(f"This is the result of worker {worker.name!r}, which does not unpickle here.")
    elif tag == b"":
        value = RuntimeError(f"worker {worker.name!r} ended without a result")
    if tag in (b"X", b"D", b"E") and worker.restarts:
        value.add_note(
            f"Worker {worker.name!r} was restarted {worker.restarts} time{'s' * (worker.restarts > 1)}; what it failed with "
            "before is on stderr."
        )
    if tag != b"Z":
        worker._keep((b"Z", value))  # the same exception object from now on
    return value, None


def result(self, timeout=None):
    """Wait for the worker's result and return it: what its function returned, None for a script.

    timeout is in seconds (None: for ever, 0: only look). Raises TimeoutError when there is none yet, and the worker's
    own exception when it failed, with the traceback it had there as its cause; Cancelled when it was cancelled.

        worker = group.start(sum, [1, 2, 3])
        print(worker.result())             # 6
    """
    error, value = failure(self, timeout)
    if error is not None:
        raise error
    return value


def exception(self, timeout=None):
    """Wait as result() does, and return the worker's exception, or None when it succeeded.

    timeout is in seconds (float or int): None waits for ever, 0 only looks. Raises TimeoutError when there is no
    outcome yet.

        worker = group.start(len, "abc")
        print(worker.exception())          # None

    The __cause__ of the exception has the traceback that it had in the worker.
    """
    return failure(self, timeout)[0]


def complete(cls):
    for method in (result, exception):
        method.__qualname__ = f"Worker.{method.__name__}"
        method.__module__ = "interlace"
        setattr(cls, method.__name__, method)
