"""List the Python files below a folder, the largest first. The first of the census's three stages:

    interlace pipe 'list.py DIR' '-n 2 parse.py' 'tally.py'
"""

import os
import sys

import interlace

SKIPPED = {"__pycache__", "site-packages", "dist-packages"}


def python_files(folder):
    """Return the paths of all Python files below a folder.

    The largest come first: no worker then begins a long file when the others have just run out of work.
    """
    paths = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED]
        paths += [os.path.join(where, name) for name in names if name.endswith(".py")]
    return sorted(paths, key=os.path.getsize, reverse=True)


if __name__ == "__main__":
    interlace.output.send_many(python_files(sys.argv[1]))
