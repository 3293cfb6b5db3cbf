"""The functions that the application which embeds Interlace offers to its scripts.

    import interlace.host

    interlace.host.log("hello")            # if the application exports a function of that name

Arguments and results are plain values: None, bool, int, float, str, bytes, list, tuple, dict, and ends of channels.
dir(interlace.host) lists the functions. Under `interlace run` there are none.
"""

import _interlace


def __getattr__(name):
    if name not in _interlace._exports():
        offers = ", ".join(sorted(_interlace._exports())) or "none"
        raise AttributeError(f"the application offers no function {name!r} to Python; it offers: {offers}")

    def function(*args):
        return _interlace._call_exported(name, *args)

    function.__name__ = function.__qualname__ = name
    function.__module__ = __name__
    function.__doc__ = f"The application's function {name}, in C. Takes plain values by position."
    return function


def __dir__():
    return sorted(_interlace._exports())
