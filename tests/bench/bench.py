"""Measure Interlace and what people have instead, side by side, and print one table: ./dev bench [--help].

Every program of rows.py is run in turn, and all of them again, several times, so that what disturbs the
machine disturbs all of them. A figure is the median of the repetitions.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import machine
import rows
import table

HERE = os.path.dirname(os.path.abspath(__file__))
QUICK = {"repetitions": 3, "seconds": 0.04, "budget": 50}
FULL = {"repetitions": 7, "seconds": 0.4, "budget": float("inf")}
LIMIT = 120  # seconds for a program that should take some


def read_arguments():
    texts = [f"  {name:21} {unit:3} {text}" for name, (unit, text) in rows.ROWS.items()]
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description=__doc__.splitlines()[0],
        epilog="\n".join(["rows:", *texts]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("interlace", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a minute, with rougher figures")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--rows", metavar="NAME,...", help="only these; 'fan_' stands for all that begin so")
    parser.add_argument("--repetitions", type=int, metavar="N", help="how often each program is run")
    parser.add_argument("--seconds", type=float, metavar="S", help="how long a figure is measured each time")
    given = parser.parse_args()
    for name, value in (QUICK if given.quick else FULL).items():
        if getattr(given, name, None) is None:
            setattr(given, name, value)
    if given.repetitions < 1 or given.seconds <= 0:
        parser.error("--repetitions and --seconds must be more than 0")
    wanted = given.rows.split(",") if given.rows else [""]
    for name in wanted:
        if name not in rows.UNITS and not any(row.startswith(name) for row in rows.UNITS):
            parser.error(f"no such row: {name}; there are {', '.join(rows.UNITS)}")
    exact = {name for name in wanted if name in rows.UNITS}
    starts = tuple(name for name in wanted if name not in rows.UNITS)
    given.rows = [row for row in rows.UNITS if row in exact or starts and row.startswith(starts)]
    return given


class Bench:
    """Runs the programs and keeps what they told."""

    def __init__(self, given, folder):
        self.given = given
        self.values = {}  # (row, peer): a value of each repetition
        self.notes = []
        cache = os.path.join(folder, "cache")
        self.environment = dict(os.environ, PYTHONPATH=HERE, PYTHONPYCACHEPREFIX=cache)
        self.commands = {}
        for program in rows.PROGRAMS:
            command = self.command_of(program, folder)
            if command is not None:
                self.commands[program] = command

    def command_of(self, program, folder):
        """Return the command that runs a program, None when this machine cannot."""
        path = os.path.join(HERE, program)
        if program.startswith("ours") and program.endswith(".py"):
            return [self.given.interlace, "run", path]
        if program.endswith(".py"):
            return [sys.executable, path]
        compiled = os.path.join(folder, program.replace(".", "_"))
        if program.endswith(".c"):
            compiler = shutil.which("cc") or shutil.which("gcc")
            command = [compiler, "-std=gnu11", "-O2", "-pthread", path, "-o", compiled]
            if program.startswith("ours"):
                built = os.path.dirname(os.path.abspath(self.given.interlace))
                command += [os.path.join(built, "libinterlace.so"), f"-Wl,-rpath,{built}"]
        else:
            compiler = shutil.which("go")
            command = [compiler, "build", "-o", compiled, path]
        if compiler is None:
            self.note(f"{program} is left out: there is no compiler for it")
            return None
        environment = dict(self.environment, GOCACHE=os.path.join(folder, "go"), GOTOOLCHAIN="local")
        made = subprocess.run(command, env=environment, capture_output=True, text=True)
        if made.returncode != 0:
            self.note(f"{program} is left out: {made.stderr.strip()[-300:]}")
            return None
        return [compiled]

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            say(text)

    def run(self):
        """Run every program, and all of them again: as often as asked, or as the time allows, but once."""
        end = time.monotonic() + self.given.budget
        steps = [step for step in rows.plan(self.given.rows) if step[0] in self.commands]
        for repetition in range(self.given.repetitions):
            for i, (program, names) in enumerate(steps):
                if repetition > 0 and time.monotonic() > end:
                    return
                progress(f"{repetition + 1} of {self.given.repetitions}: {program} ({i + 1} of {len(steps)})")
                self.run_once(program, names)

    def run_once(self, program, names):
        """Run a program, which has to print what it measured, one JSON object a line."""
        command = [*self.commands[program], str(self.given.seconds), *names]
        # A group of its own: what it started ends with it when it has to be ended.
        process = subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=LIMIT)
        except BaseException as error:
            output, errors = end(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            errors += f"it took more than {LIMIT} s"
        if process.returncode != 0:
            self.note(f"{program} {' '.join(names)}: exit {process.returncode}: {errors.strip()[-600:]}")
        for line in output.splitlines():
            try:
                told = json.loads(line)
            except ValueError:
                self.note(f"{program} printed {line[:200]!r}")
                continue
            if "note" in told:
                self.note(told["note"])
            else:
                self.values.setdefault((told["row"], told["peer"]), []).append(told["value"])

    def measured(self):
        """Return the rows that have a figure of Interlace's."""
        found = []
        for row in self.given.rows:
            medians = {peer: statistics.median(v) for (name, peer), v in self.values.items() if name == row}
            if "interlace" not in medians:
                self.note(f"{row} is left out: there is no figure of Interlace's")
                continue
            ours = medians.pop("interlace")
            found.append(
                {
                    "name": row,
                    "unit": rows.UNITS[row],
                    "interlace": ours,
                    "spread": spread(self.values[row, "interlace"]),
                    "peers": medians,
                }
            )
        return found


def end(process):
    """End a program with all that it started; return what it had printed."""
    os.killpg(process.pid, signal.SIGTERM)  # which lets multiprocessing clean up
    try:
        return process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()


def spread(values):
    """Return the distance of the quartiles as a part of the median; None of a single value."""
    if len(values) < 2:
        return None
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return round((high - low) / middle, 4)


def say(text):
    progress("")
    print(f"bench: {text}", file=sys.stderr)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main():
    given = read_arguments()
    found = machine.describe() | {"repetitions": given.repetitions, "seconds": given.seconds}
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="interlace-bench-") as folder:
        bench = Bench(given, folder)
        bench.run()
    progress("")
    measured = bench.measured()
    if given.json:
        print(json.dumps({"machine": found, "rows": measured}, indent=1))
    else:
        print(*table.lines(measured), "", *table.foot(found), sep="\n")
    say(f"took {time.monotonic() - start:.0f} s")
    return 0 if measured else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        progress("")
        sys.exit(130)
