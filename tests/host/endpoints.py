"""What the tests of endpoints share: a key, addresses, another process's side."""

import functools
import itertools
import os
import textwrap

from support import environment, folder, host, start

SOCKETS = ("unix", "memory")  # the schemes where one side listens

_key = None
_home = None
_numbers = itertools.count(1)

# Where memory: addresses meet. Other hosts inherit it, and so do the workers of this one, which import this, too.
if os.environ.get("ENDPOINTS_OF") != str(os.getpid()):
    os.environ.update(ENDPOINTS_OF=str(os.getpid()), XDG_RUNTIME_DIR=str(folder()))


def over_sockets(test):
    """Make a test of one scheme a test of all of SOCKETS."""

    @functools.wraps(test)
    def each():
        for scheme in SOCKETS:
            try:
                test(scheme)
            except BaseException as error:
                error.add_note(f"with {scheme}:")
                raise

    return each


def key():
    """The path of this process's key, made once."""
    global _key
    if _key is None:
        _key = new_key()
    return _key


def new_key():
    path = os.path.join(folder(), "key")
    host("key", "new", path).expect()
    return path


def address(scheme, name="here"):
    """An address in a new folder; of memory, which has one folder, a new name."""
    if scheme == "memory":
        return f"memory:{name}-{os.getpid()}-{next(_numbers)}"
    return f"{scheme}:{folder()}/{name}"


def path_of(where):
    """The path of the file that an address has."""
    scheme, _, path = where.partition(":")
    return f"{os.environ['XDG_RUNTIME_DIR']}/interlace/{path}" if scheme == "memory" else path


def left_at(where):
    """The names of what lies there because of an address: none, or its own file and what should not be there."""
    place, name = os.path.split(path_of(where))
    if where.startswith("memory:"):
        return [found for found in os.listdir(place) if found == name or found.startswith(".")]
    return os.listdir(place)


def file_of(where):
    """What left_at() is while somebody listens."""
    return [os.path.basename(path_of(where))]


def other(text, *args, **options):
    """Start another host with a script that has KEY and ARGS (Started)."""
    before = f"import sys, interlace\nKEY = {key()!r}\nARGS = sys.argv[1:]\n"
    return start(before + textwrap.dedent(text), *args, **options)


def with_a_key():
    """The environment of a user who has a key, for the examples with other hosts."""
    global _home
    if _home is None:
        _home = folder()
        (_home / "interlace").mkdir(0o700)
        os.link(key(), _home / "interlace" / "key")
    return environment(XDG_CONFIG_HOME=str(_home))
