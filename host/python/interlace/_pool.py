"""prestart: workers that stand ready before they are needed."""

import sys

import _interlace
import _pickle


def prestart(count, *, preload=(), timeout=None):
    """Have workers stand ready, so that starting one takes microseconds instead of milliseconds.

    count (int, from 0) interpreters are made in advance, and another one whenever one of them is used. preload names
    modules (an iterable of str) that each imports in advance; they are imported here, too, so that one that does not
    exist raises here. Returns when all stand ready.

    timeout is in seconds (float or int): None waits for ever, 0 does not wait. Raises TimeoutError (they are made all
    the same), ImportError, RuntimeError when the system lets the process have no more threads.

        interlace.prestart(8, preload=["json", "re"])
    """
    if isinstance(preload, str):
        raise TypeError("preload must be an iterable of module names, not a str")
    names = tuple(preload)
    for name in names:
        __import__(name)
    _interlace._prestart(count, _pickle.dumps((list(sys.path), names), 5), timeout)
