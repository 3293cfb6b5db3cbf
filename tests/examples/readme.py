"""The sessions that an example's README shows: every command is run, and has to print what stands there."""

import os
import re
from pathlib import Path

from support import BINARY, command, environment

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)


def sessions(example):
    """Yield (command, output) for each line with a $ in the README's console blocks."""
    for block in BLOCK.findall((EXAMPLES / example / "README.md").read_text()):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            line, _, output = part.partition("\n")
            yield line, output


def run(example, line):
    """Run a line of shell in the example's folder (Ended), its stderr joined to its stdout."""
    path = f"{os.path.dirname(BINARY)}:{os.environ.get('PATH', os.defpath)}"
    env = environment(PATH=path, PYTHONDONTWRITEBYTECODE="1")
    return command("sh", "-c", f"exec 2>&1\n{line}", cwd=EXAMPLES / example, env=env, limit=240)


def check(example, simplify=str, rewrite=str, codes=(), run=run):
    """Run what the README shows.

    simplify makes two outputs alike that may differ, rewrite makes a command fit this machine, codes holds
    the exit codes that are not 0, by command, run(example, line) runs a command.
    """
    shown = list(sessions(example))
    assert shown, f"the README of {example} shows no session"
    for line, output in shown:
        ended = run(example, rewrite(line)).expect(code=dict(codes).get(line, 0))
        assert simplify(ended.out) == simplify(output), f"the README shows:\n{output}\n{ended.describe()}"
