"""examples/failing: what the user sees when a stage or a worker fails."""

import re

import readme
from support import host

FAILING = readme.EXAMPLES / "failing"


def test_pipe():
    """One traceback, of the stage that failed, with its name; the exit code is 1; the report is not begun."""
    for stages in (["orders.py", "price.py", "report.py"], ["orders.py", "-n 3 price.py", "report.py"]):
        ended = host("pipe", *stages, cwd=FAILING).expect(code=1, out="", err=())
        assert ended.err.count("Traceback") == 1, ended.describe()
        assert "interlace: worker 'price.py" in ended.err, ended.describe()
        assert ended.err.splitlines()[-1].startswith("ZeroDivisionError: "), ended.describe()
        assert 'price.py", line ' in ended.err and "paid / number" in ended.err, ended.describe()


def test_group():
    """The group's exception is the worker's own, and says where it happened."""
    ended = host("run", "group.py", cwd=FAILING).expect(code=1, out="", err=())
    group = "group 'prices': 1 of 1 worker failed"
    for text in (group, "ZeroDivisionError: ", "in worker 'price-1'", "in price\n", "paid / number"):
        assert text in ended.err, f"no {text!r}: {ended.describe()}"


def test_group_that_catches():
    """except* with the type that the worker raised."""
    host("run", "group.py", "--catch", cwd=FAILING).expect(code=0, out=("no report: ZeroDivisionError(",))


def test_readme():
    """All of it is what the README shows."""
    readme.check(
        "failing",
        simplify=lambda output: re.sub(r'(/_group.py", line) \d+', r"\1 N", output),
        codes={"interlace pipe orders.py price.py report.py": 1, "interlace run group.py": 1},
    )
