"""How a call travels to a worker of an Executor, and its outcome back: the kinds of messages, functions by name.

A call is (function, arguments...). The function is bytes when it pickles as a mere name: those bytes are made once here
and looked up there. It is a tuple of bytes when it was pickled by value, once for many calls, and anything else is
itself.
"""

import types

import _interlace
import _pickle

from interlace import _errors

# Kinds of calls: (function, args, kwargs); (function, items), an argument each; (function, rows), a tuple of them each.
CALL, ITEMS, ROWS = 0, 1, 2
# Kinds of outcomes: what was returned; what was raised; nothing, it was not to be; the worker is of no use. The first
# three are what _interlace._run_call() says.
RESULT, FAILED, CANCELLED, BROKEN, POKE = 0, 1, 2, 3, 8
# Either is what cloudpickle has made of it, as bytes.
BY_VALUE = 4

_KEPT = 256  # functions
_BY_NAME = {
    types.FunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    type,
}
_NOT_PICKLED = (_pickle.PicklingError, AttributeError, TypeError)


def _is_a_name(function):
    kind = type(function)
    if kind is types.BuiltinFunctionType:
        return function.__self__ is None or type(function.__self__) is types.ModuleType
    return kind in _BY_NAME


class Names:
    """The pickles of functions that are mere names."""

    def __init__(self):
        self._pickles = {}

    def of(self, function):
        """Return what stands for the function in a call."""
        if not _is_a_name(function):
            return function
        try:
            return self._pickles[function]
        except KeyError:
            pass
        try:
            data = _pickle.dumps(function, 5)
        except Exception:
            return function
        if len(self._pickles) >= _KEPT:
            self._pickles.clear()
        self._pickles[function] = data
        return data

    def of_many(self, function):
        """Likewise for many calls: it is pickled here and now if at all possible."""
        stands = self.of(function)
        if type(stands) is bytes:
            return stands
        try:
            return (_pickle.dumps(function, 5),)
        except _NOT_PICKLED as error:
            try:
                return (by_value(function, error),)
            except _NOT_PICKLED:
                return function  # there may be ends of channels in it; if not, each call says what is wrong


def by_value(obj, error):
    """Return an object's pickle as cloudpickle makes it; raise `error`, what pickling it has raised, when there is none."""
    try:
        import cloudpickle
    except ImportError:
        if any(word in str(error) for word in ("function", "<lambda>", "<locals>", "local object")):
            error.add_note(
                "Lambdas and functions or classes inside a function are sent where the cloudpickle package is installed "
                "(pip install cloudpickle)."
            )
        raise error from None
    try:
        return cloudpickle.dumps(obj, 5)
    except Exception as late:  # what is wrong besides
        for note in getattr(error, "__notes__", ()):
            late.add_note(note)
        raise late from None


def message(kind, call):
    """Return a call as a message to be sent. Raises what pickling it raises."""
    try:
        return _interlace._message(kind, call)
    except _NOT_PICKLED as error:
        data = by_value(call, error)
    return _interlace._message(kind | BY_VALUE, data)


def many_messages(kind, function, chunks):
    """Return a list of messages, a call for each chunk. Likewise."""
    try:
        return _interlace._messages(kind, function, chunks)
    except _NOT_PICKLED:
        return [message(kind, (function, chunk)) for chunk in chunks]


def reply(results, number, state, value):
    """Send an outcome."""
    try:
        return _interlace._reply(results, number, state, value)
    except _NOT_PICKLED as error:
        data = by_value(value, error)
    _interlace._reply(results, number, state | BY_VALUE, data)


def read(kind, value):
    """Return what came of a call: (state, value). Of a failed one, value is (what it had made before, the exception)."""
    state = kind & ~BY_VALUE
    try:
        if kind < 0:
            raise value
        if kind & BY_VALUE:
            value = _pickle.loads(value)
    except BaseException as error:
        error.add_note("This is the outcome of a call in a worker, which does not unpickle here.")
        return FAILED, (None, error)
    if state in (FAILED, BROKEN):
        partial, name, packed = value
        value = partial, _errors.unpack(packed, name)
    return state, value
