"""Measure `interlace map` on a large file of JSON lines: interlace run tests/bench/map_1gb.py [--help]

The file is made of the source of Python's own standard library. The job (map_job.py) is done by a program that takes
a line at a time, run by `interlace run`; by `interlace map`; and, where there is one, by GNU parallel --pipe. Prints
the seconds and the peak memory of each (of its first process), and exits with 1 if two outputs differ.
"""

import argparse
import hashlib
import json
import os
import resource
import select
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
JOB = os.path.join(HERE, "map_job.py")
LINES = 12  # of source in a record


def read_arguments():
    parser = argparse.ArgumentParser(prog="map_1gb.py", description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=float, default=1024, help="size of the input (1024)")
    parser.add_argument("-n", type=int, default=os.process_cpu_count(), help="workers (one for each CPU)")
    parser.add_argument("--folder", help="where the input and the outputs lie (a temporary one)")
    parser.add_argument("--repeat", type=int, default=1, help="measure everything so many times")
    parser.add_argument("--parallel", default=shutil.which("parallel"), help="GNU parallel (that of PATH)")
    parser.add_argument("--block", default="1M", help="its --block (1M, as by default)")
    parser.add_argument("--python", default=sys.executable, help="the Python that it starts")
    return parser.parse_args()


def sources():
    """Yield (path, lines) of the standard library's files, for ever, in the same order."""
    top = sysconfig.get_path("stdlib")
    paths = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in ("site-packages", "dist-packages", "__pycache__"))
        paths += [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
    while True:
        for path in paths:
            with open(path, encoding="utf-8", errors="replace") as file:
                yield os.path.relpath(path, top), file.read().split("\n")


def make(path, size):
    """Write that many bytes of JSON lines, or a line more."""
    written = 0
    with open(path, "w", encoding="ascii") as file:
        for name, lines in sources():
            for at in range(0, len(lines), LINES):
                record = {"path": name, "line": at + 1, "text": "\n".join(lines[at : at + LINES])}
                written += file.write(json.dumps(record) + "\n")
                if written >= size:
                    return


def measure(words, source, target):
    """Run a command from file to file; return (seconds, seconds of CPU, peak of its resident memory in MiB)."""
    kib = 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(source, "rb") as stdin, open(target, "wb") as stdout:
        begin = time.perf_counter()
        process = subprocess.Popen(words, stdin=stdin, stdout=stdout)
    fd = os.pidfd_open(process.pid)
    ended = select.poll()
    ended.register(fd, select.POLLIN)
    # Not ru_maxrss of wait4(): that begins with the memory of the process that started it.
    while not ended.poll(100):
        with open(f"/proc/{process.pid}/status") as status:
            kib = max([kib, *(int(line.split()[1]) for line in status if line.startswith("VmHWM"))])
    seconds = time.perf_counter() - begin
    os.close(fd)
    if process.wait():
        sys.exit(f"{' '.join(words)}: exit code {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, kib / 1024


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commands(given):
    """Return {name: words}, the sequential program first."""
    interlace = os.readlink("/proc/self/exe")
    found = {
        "one line at a time": [interlace, "run", JOB],
        f"interlace map -n {given.n}": [
            *(interlace, "map", "-n", str(given.n), "--in", "json", "--out", "json", f"{JOB}:describe"),
        ],
    }
    if given.parallel:
        words = [given.parallel, "--pipe", "--keep-order", f"-j{given.n}", "--block", given.block]
        found[f"parallel --pipe, {os.path.basename(given.python)}"] = [*words, given.python, JOB]
        found["parallel --pipe, interlace run"] = [*words, interlace, "run", JOB]
    return found


def main():
    given = read_arguments()
    with tempfile.TemporaryDirectory(prefix="interlace-map-", dir=given.folder) as folder:
        source, target = os.path.join(folder, "input"), os.path.join(folder, "output")
        make(source, given.mib * 1024 * 1024)
        with open(source, "rb") as file:
            records = sum(1 for _ in file)
        print(f"{os.path.getsize(source) / 1024 / 1024:,.0f} MiB, {records:,} records")
        first = wanted = None
        for _ in range(given.repeat):
            for name, words in commands(given).items():
                seconds, cpu, peak = measure(words, source, target)
                found = digest(target)
                first, wanted = first or seconds, wanted or found
                if found != wanted:
                    sys.exit(f"{name}: its output differs")
                print(f"{name:34} {seconds:8.2f} s {first / seconds:5.2f} x {cpu:8.2f} s CPU {peak:6.0f} MiB", flush=True)


main()
