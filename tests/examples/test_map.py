"""examples/map: what the README shows is what is printed."""

import re

import readme

CODES = {
    "interlace map --out json parse.py:request < access.log": 1,
    "interlace map --keep-going parse.py:request < access.log > /dev/null": 1,
}


def test_readme():
    """Every command, to the letter; where the traceback finds the file is this machine's affair."""
    readme.check("map", lambda output: re.sub(r'File ".*parse.py"', 'File "parse.py"', output), codes=CODES)
