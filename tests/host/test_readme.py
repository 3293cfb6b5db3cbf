"""The Python in the README runs, and prints what the README says."""

import re
from pathlib import Path

from endpoints import with_a_key
from support import equal, folder, run

README = Path(__file__).resolve().parents[2] / "README.md"

PRINTED = [
    "2450\n",
    f"{sum(d for n in range(100) for d in range(1, n + 1) if n % d == 0)}\n",
    "0\n1\n2\n",
    "45\n",
    "[499500.0]\n",
    "worker 'solve-1' died: killed by SIGKILL\n['small', 'large', 'last']\n",
    "[0, 1, 4, 16, 25, 36, 49, 64, 81] 1\n",
    "6\n",
    f"{[n * n for n in range(10)]}\n",
    "numbers 3 3\n",
]


def test_snippets():
    """Each block of Python, as a script of its own."""
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.M | re.S)
    equal(len(blocks), len(PRINTED))
    for block, printed in zip(blocks, PRINTED):
        err = None if "Restart(" in block else ""  # a worker that is started anew has said why
        run(block, env=with_a_key(), cwd=folder()).expect(out=printed, err=err)
