"""Workers that are started anew: what their tests share."""

import math
import os

import interlace
from support import write

KINDS = "interpreter", "process"
SOON = interlace.Restart(attempts=5, within=math.inf, backoff=0.0)


def marks():
    """The path of a file that attempts write to, one character each."""
    return write("", "marks")


def attempt(path):
    """Note an attempt and return its number, from 1."""
    with open(path, "a") as file:
        file.write("x")
    return os.path.getsize(path)


def wait_for_a_message(path, receiver):
    attempt(path)
    receiver.recv()
