"""memoryview objects in messages: they lie on shared memory where they are received."""

import copyreg

import _interlace
from _pickle import PickleBuffer


def _reduce(view):
    if not _interlace._encoding():
        raise TypeError("cannot pickle 'memoryview' object")
    if not view.c_contiguous:
        raise BufferError("a memoryview has to be contiguous to be sent: send its tobytes()")
    return rebuild, (PickleBuffer(view), view.format, view.shape)


def rebuild(buffer, format, shape):
    view = memoryview(buffer)
    if 0 in shape or (format == view.format and shape == view.shape):
        return view
    return view.cast("B").cast(format, shape)


copyreg.pickle(memoryview, _reduce)
