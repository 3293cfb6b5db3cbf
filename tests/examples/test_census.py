"""examples/census: its numbers are those of an independent count, and Ctrl-C leaves nothing behind."""

import ast
import collections
import os
import pathlib
import re
import shutil
import signal
import time
import warnings

import readme
from support import BINARY, Started, equal, folder, host, soon, write

CENSUS = readme.EXAMPLES / "census"
DEMO = str(CENSUS / "demo.py")
LIBRARY = os.path.dirname(os.__file__)
LINE = re.compile(
    r"^(\d+) files in (\d+\.\d\d) s with (\d+) parse workers, (\d+\.\d\d) s in one interpreter: "
    r"speed-up (\d+\.\d\d)$",
    re.M,
)


class Count(ast.NodeVisitor):
    """The census of one file at a time, made in another way than the example makes it."""

    def __init__(self):
        self.totals = collections.Counter()
        self.longest = []
        self.importers = collections.defaultdict(set)

    def add(self, path):
        self.path = path
        self.totals["files"] += 1
        source = path.read_bytes()
        try:
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self.totals["not parsed"] += 1
            return
        self.totals["lines"] += len(source.split(b"\n")) - 1
        self.visit(tree)

    def visit_FunctionDef(self, node):
        self.totals["functions"] += 1
        self.longest.append((node.end_lineno - node.lineno + 1, node.name, node.lineno, str(self.path)))
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node):
        self.totals["classes"] += 1
        self.generic_visit(node)

    def visit_If(self, node):
        self.totals["branches"] += 1
        self.generic_visit(node)

    visit_IfExp = visit_For = visit_AsyncFor = visit_While = visit_match_case = visit_If

    def visit_Import(self, node):
        for alias in node.names:
            self.importers[alias.name.split(".")[0]].add(self.path)

    def visit_ImportFrom(self, node):
        if not node.level:
            self.importers[node.module.split(".")[0]].add(self.path)


def count(top):
    """The table that the census of a folder has to print."""
    counted = Count()
    for path in pathlib.Path(top).rglob("*.py"):
        if not {"__pycache__", "site-packages", "dist-packages"} & set(path.relative_to(top).parts):
            counted.add(path)
    length, name, line, path = max(counted.longest, default=(0, "", 0, ""))
    rows = []
    for what in "files", "not parsed", "lines", "functions", "classes", "branches":
        rows.append("{:16} {:9,}".format(what, counted.totals[what]))
    rows.append("longest function {:9,} lines: {}, {}:{}".format(length, name, path, line))
    rows.append("most imported        files")
    most = sorted((-len(files), module) for module, files in counted.importers.items())
    rows += ["  {:14} {:9,}".format(module, -number) for number, module in most[:8]]
    return counted.totals, "\n".join(rows) + "\n"


def sample():
    """A folder with every eighth file of the standard library."""
    top = folder()
    paths = sorted(pathlib.Path(LIBRARY).rglob("*.py"))
    for number, path in enumerate(paths[::8]):
        if "dist-packages" not in path.parts:
            shutil.copy(path, top / f"{number}_{path.name}")
    return str(top)


def test_demo_counts_the_standard_library():
    """`./dev demo`: the right numbers, and the one line about time, which is about both ways of counting.

    All of the library with INTERLACE_TEST_SCALE=full.
    """
    words = [] if os.environ.get("INTERLACE_TEST_SCALE") == "full" else [sample()]
    totals, table = count(*words or [LIBRARY])
    assert totals["files"] > 50, totals
    ended = host("run", DEMO, *words, limit=240).expect(code=0)
    assert table in ended.out, f"the census should be\n{table}\n{ended.describe()}"
    found = LINE.findall(ended.out)
    equal(len(found), 1)
    files, seconds, workers, in_one, speed_up = found[0]
    equal((int(files), int(workers)), (totals["files"], os.process_cpu_count()))
    assert ended.out.endswith(f"speed-up {speed_up}\n"), ended.describe()
    assert abs(float(in_one) / float(seconds) - float(speed_up)) < 0.1, ended.describe()
    assert float(seconds) + float(in_one) < ended.seconds, ended.describe()
    if os.process_cpu_count() > 1:
        print(f"speed-up {speed_up} with {workers} workers")  # a busy machine may have any


def test_pipe_of_the_stages():
    """The same scripts as stages of `interlace pipe`, over a small part: asyncio and email."""
    for package in "asyncio", "email":
        top = os.path.join(LIBRARY, package)
        for workers in 1, 3:
            stages = f"list.py {top}", f"-n {workers} parse.py", "tally.py"
            host("pipe", *stages, cwd=CENSUS).expect(out=count(top)[1])


def test_files_that_do_not_parse():
    """They are counted, and the rest is as if they were not there."""
    top = folder()
    write("def f():\n    return 1\n", "good.py", top)
    write("def f(:\n", "bad/syntax.py", top)
    (top / "bad" / "nul.py").write_bytes(b"x = 1\0\n")
    (top / "bad" / "encoding.py").write_bytes(b"# coding: ascii\nx = '\xff'\n")
    write("x = " + "(" * 5000 + ")" * 5000, "bad/deep.py", top)
    write('x = "\\d"\ny = 1 is 1\n', "warns.py", top)
    write("def f(:\n", "site-packages/other.py", top)
    write("not Python", "text.txt", top)
    totals, table = count(top)
    equal((totals["files"], totals["not parsed"], totals["lines"]), (6, 4, 4))
    host("pipe", f"list.py {top}", "-n 2 parse.py", "tally.py", cwd=CENSUS).expect(out=table)
    host("run", DEMO, top).expect(out=(table, "6 files in "))


def test_empty_folder():
    """No files are a census, too."""
    table = count(folder())[1]
    host("pipe", f"list.py {folder()}", "-n 2 parse.py", "tally.py", cwd=CENSUS).expect(out=table)


def test_missing_folder():
    """The stage that needs an argument fails, and nobody waits for it."""
    ended = host("pipe", "list.py", "parse.py", "tally.py", cwd=CENSUS)
    ended.expect(code=1, out="", err=("worker 'list.py' failed", "IndexError"))


def test_ctrl_c():
    """At any moment: exit code 130, soon, no process left and no word of a failure."""
    for after in 0.03, 0.1, 0.2, 0.4, 0.8:
        with Started([BINARY, "run", DEMO]) as demo:
            time.sleep(after)
            demo.send_signal(signal.SIGINT)
            ended = demo.end(limit=20).expect(code=130, out="", err="")
            equal(demo.left(), [])
        assert ended.seconds - after < soon(3), ended.describe()


def test_ctrl_c_in_the_pipe():
    """Likewise for the three stages."""
    for after in 0.03, 0.2, 0.5:
        with Started([BINARY, "pipe", f"list.py {LIBRARY}", "-n 2 parse.py", "tally.py"], cwd=CENSUS) as pipe:
            time.sleep(after)
            pipe.send_signal(signal.SIGINT)
            ended = pipe.end(limit=20).expect(code=130, out="", err="")
            equal(pipe.left(), [])
        assert ended.seconds - after < 3, ended.describe()


def test_readme():
    """What the README shows has the form of what is printed, for the numbers of some Python and machine."""
    readme.check("census", form, rewrite=lambda line: line.replace("/usr/lib/python3.14", LIBRARY))


def form(output):
    """The output with its numbers, places and names of modules taken out."""
    output = re.sub(r"lines: .*", "lines: LONGEST", output)
    output = re.sub(r" in /.*", " in FOLDER", output)
    output = re.sub(r"^  \w+ +[\d,]+$", "  MODULE NUMBER", output, flags=re.M)
    return re.sub(r" *\d[\d,.]*", " NUMBER", output)
