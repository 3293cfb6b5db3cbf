"""What the tests of endpoints share: a key, addresses, another process's side."""

import os
import textwrap

from support import environment, folder, host, start

_key = None
_home = None


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
    """An address in a new folder."""
    return f"{scheme}:{folder()}/{name}"


def path_of(where):
    return where.partition(":")[2]


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
