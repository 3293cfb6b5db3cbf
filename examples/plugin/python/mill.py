"""What plug-ins of mill are written with.

    import mill

    @mill.command
    def shout(text):
        "In capital letters."              # what the list of commands says
        mill.log("somebody shouts")        # to the application's log
        return text.upper()

A plug-in is a file, loaded once, in an interpreter and a thread of its own: what it keeps in variables is there at its
next command. Several plug-ins work at the same time, and none sees the others.
"""

from pathlib import Path

import interlace

_commands = {}

log = interlace.host.log  # log(text): a line of the application's log
measure = interlace.host.measure  # measure(text) -> {"words": int, "bytes": int}


def command(function):
    """Offer a function to the application, as a command of its name. It takes a str and returns one."""
    interlace.host.register(function.__name__, function.__doc__ or "")
    _commands[function.__name__] = function
    return function


def _do(name, text):
    answer = _commands[name](text)
    if not isinstance(answer, str):
        raise TypeError(f"a command returns a str, not {type(answer).__name__}")
    return answer


def serve(path):
    """Load a plug-in, say so, and do its commands until there are no more. Called by the application."""
    code = compile(Path(path).read_bytes(), path, "exec")
    exec(code, {"__name__": Path(path).stem, "__file__": path})
    interlace.output.send(True)
    for name, text in interlace.input:
        try:
            answer = (True, _do(name, text))
        except Exception as error:
            answer = (False, f"{type(error).__name__}: {error}")
        interlace.output.send(answer)
