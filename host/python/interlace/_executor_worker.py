"""What a worker of an Executor does: one call after the other, of those that all of its workers share."""

import _interlace
import _pickle

from interlace import _errors
from interlace._executor_calls import BROKEN, BY_VALUE, CALL, FAILED, ITEMS, RESULT, reply

_KEPT = 256  # functions
_NONE = {}
_functions = {}


def serve(tasks, results, revoked, preload, initializer, initargs):
    """The worker's job: a Receiver of calls, a Sender of outcomes, calls not to be begun, and what comes first."""
    for number in revoked:
        _interlace.current_worker()._revoke(number, False)
    try:
        for name in preload:
            __import__(name)
        if initializer is not None:
            _load(initializer)(*initargs)
    except BaseException as error:
        if _interlace._is_cancelled():
            raise
        reply(results, 0, BROKEN, (None, *_packed(error)))
        return
    try:
        while True:
            _serve_one(results, *_interlace._next_message(tasks))
    except (_interlace.EndOfChannel, _interlace.BrokenChannel):
        pass


def _load(function):
    if type(function) is tuple:
        return _pickle.loads(function[0])
    if type(function) is not bytes:
        return function
    try:
        return _functions[function]
    except KeyError:
        loaded = _pickle.loads(function)
    if len(_functions) >= _KEPT:
        _functions.clear()
    _functions[function] = loaded
    return loaded


def _packed(error):
    return _interlace.current_worker().name, _errors.pack(error)


def _each(function, items, results):
    for item in items:
        results.append(function(item))


def _each_row(function, rows, results):
    for row in rows:
        results.append(function(*row))


def _serve_one(results, number, kind, call):
    partial = None
    try:
        if kind < 0:
            raise call  # it does not unpickle here
        if kind & BY_VALUE:
            call, kind = _pickle.loads(call), kind - BY_VALUE
        function = _load(call[0])
    except BaseException as error:
        state, value = FAILED, error
    else:
        if kind == CALL:
            arguments, options = call[1], call[2]
        else:
            partial = []
            arguments, options = (function, call[1], partial), _NONE
            function = _each if kind == ITEMS else _each_row
        state, value = _interlace._run_call(number, function, arguments, options)
        if state == RESULT and kind != CALL:
            value = partial
    if state == FAILED:
        if _interlace._is_cancelled():
            raise value
        value = (partial, *_packed(value))
    try:
        reply(results, number, state, value)
    except BaseException as error:
        if _interlace._is_cancelled() or isinstance(error, _interlace.BrokenChannel):
            raise
        reply(results, number, FAILED, (None, *_packed(error)))
