"""interlace doctor: which modules load in a worker. Each is tried in a process of its own, so that a crash is an answer."""

import argparse
import json
import os
import signal
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

_HELP = """\
Usage: interlace doctor [OPTION...] [MODULE...]

Imports each module in an interpreter with its own GIL, as a worker would, and tells what came of it. Without names,
tries every module with an extension that is installed beside Python's own. The extensions inside a package are tried with
it.

  loads     workers can use it
  refuses   an extension of it cannot be loaded there: run the workers that use it with isolation="process" (on the command
            line --isolation=process)
  crashes   importing it ends the process: the same, if it loads in plain python3, and tell its authors
  fails     it does not load for a reason of its own, which is shown
  missing   there is no such module

Options:
      --json        a JSON object instead of the table
      --timeout S   give each module so many seconds, 60 by default
  -h, --help        this text

Example:
  interlace doctor numpy lxml json

Exit status: 0 all load, 1 some do not, 2 wrong usage.
"""

# Answers are lines of JSON, [answer, detail], the last of which counts: a package that loads may have an extension
# that does not (lxml has), and that is tried after the package.
_TRY = """\
import importlib, importlib.machinery, json, os, sys

name, answers = sys.argv[1], open(int(sys.argv[2]), "w")
REFUSES = "loading in subinterpreters"

def answer(*words):
    print(json.dumps(words), file=answers, flush=True)

def extensions(package):
    for top in getattr(package, "__path__", ()):
        for place, folders, files in os.walk(top):
            folders[:] = sorted(folder for folder in folders if folder.isidentifier() and folder not in ("test", "tests"))
            above = name + place.removeprefix(top).replace(os.sep, ".")
            for suffix in importlib.machinery.EXTENSION_SUFFIXES:
                parts = sorted(file.removesuffix(suffix) for file in files if file.endswith(suffix))
                yield from (f"{above}.{part}" for part in parts if part.isidentifier() and part != "__init__")

try:
    module = importlib.import_module(name)
except ModuleNotFoundError as error:
    missing = error.name is not None and (name + ".").startswith(error.name + ".")
    answer("missing" if missing else "fails", f"{type(error).__name__}: {error}")
except ImportError as error:
    answer("refuses" if REFUSES in str(error) else "fails", f"{type(error).__name__}: {error}")
except BaseException as error:
    answer("fails", f"{type(error).__name__}: {error}")
else:
    version = str(getattr(module, "__version__", ""))
    answer("loads", version)
    for part in extensions(module):
        answer("crashes", f"importing {part}")
        try:
            importlib.import_module(part)
        except ImportError as error:
            if REFUSES in str(error):
                answer("refuses", f"{type(error).__name__}: {error}")
                break
        except BaseException:
            pass
    else:
        answer("loads", version)
"""


def try_module(name, timeout):
    """Return what importing the module in a worker comes to: (answer, detail), both str."""
    with open(os.memfd_create("answers"), "w+", encoding="utf-8") as answers:
        try:
            done = subprocess.run(
                ["/proc/self/exe", "run", "--grace", "0.2", "-c", _TRY, name, str(answers.fileno())],
                executable=os.readlink("/proc/self/exe"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[answers.fileno()],
                timeout=timeout,
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = None
        answers.seek(0)
        given = [json.loads(line) for line in answers if line.endswith("\n")]
    answer, detail = given[-1] if given else ("", "")
    if code is None:
        loads = [one for one in given if one[0] == "loads"]
        return tuple(loads[0]) if loads else ("fails", f"its import took more than {timeout:g} s")
    # First: a signal can reach another thread of the process, so that the answer is written before its end.
    where = f", {detail}" if answer == "crashes" else ""
    if code < 0:
        return "crashes", f"killed by {signal.Signals(-code).name}{where}"
    if answer in ("", "crashes"):
        return "crashes", f"the process ended with exit status {code}{where}"
    return answer, detail


def _in_short(detail):
    """Return the line that counts, for the table."""
    lines = [line.strip() for line in detail.splitlines() if line.strip()]
    for line in lines:
        if "loading in subinterpreters" in line:
            return line[line.rfind("module ") :] if "module " in line else line
    return lines[0] if lines else ""


def installed():
    """Return the names of the installed modules and packages that have an extension, in order."""
    own = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    own.add(os.path.realpath(sysconfig.get_config_var("DESTSHARED") or ""))
    names = set()
    for folder in sys.path:
        if not os.path.isdir(folder) or os.path.realpath(folder) in own:
            continue
        for place, folders, files in os.walk(folder):
            if os.path.realpath(place) in own:
                folders.clear()
                continue
            folders[:] = [name for name in folders if name.isidentifier()]
            if any(_is_extension(name) for name in files):
                inside = os.path.relpath(place, folder)
                if inside == ".":
                    names.update(name.partition(".")[0] for name in files if _is_extension(name))
                else:
                    names.add(inside.split(os.sep)[0])
    return sorted(names - {"_interlace"})


def _is_extension(name):
    suffixes = (sysconfig.get_config_var("EXT_SUFFIX"), ".abi3.so")
    return name.endswith(suffixes) or name.endswith(".so") and name.count(".") == 1 and not name.startswith("lib")


class _Bar:
    """How far it is, on a terminal."""

    def __init__(self, total):
        self._total = total
        self._shown = sys.stderr.isatty()

    def show(self, done, name=""):
        if self._shown:
            filled = 30 * done // self._total
            sys.stderr.write(f"\r\x1b[K[{'#' * filled}{'.' * (30 - filled)}] {done}/{self._total} {name[:30]}")
            sys.stderr.flush()

    def clear(self):
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def examine(names, timeout):
    """Return [(name, answer, detail), ...] in the order of the names."""
    bar = _Bar(len(names))
    results = []
    with ThreadPoolExecutor(os.process_cpu_count()) as pool:
        for name, (answer, detail) in zip(names, pool.map(lambda name: try_module(name, timeout), names)):
            results.append((name, answer, detail))
            bar.show(len(results), name)
    bar.clear()
    return results


def main(words):
    parser = argparse.ArgumentParser("interlace doctor", usage="interlace doctor [OPTION...] [MODULE...]")
    parser.format_help = lambda: _HELP
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--timeout", type=_seconds, default=60.0, metavar="S")
    given = parser.parse_args(words)
    for name in given.modules:
        if not all(part.isidentifier() for part in name.split(".")):
            parser.error(f"{name!r} is no module's name (such as numpy or os.path)")
    names = list(dict.fromkeys(given.modules)) or installed()
    results = examine(names, given.timeout) if names else []
    counts = {}
    for _, answer, _ in results:
        counts[answer] = counts.get(answer, 0) + 1
    if given.json:
        modules = [{"module": name, "answer": answer, "detail": detail} for name, answer, detail in results]
        print(json.dumps({"modules": modules, "summary": counts}, indent=2))
    elif not results:
        print("No module with an extension is installed beside Python's own.")
    else:
        width = max(len(name) for name in names)
        for name, answer, detail in results:
            print(f"{name:{width}}  {answer:7}  {_in_short(detail)}".rstrip())
        print("; ".join(_counted(answer, count) for answer, count in sorted(counts.items())))
        if counts.keys() & {"refuses", "crashes"}:
            print('What refuses works with isolation="process": see interlace doctor --help')
    sys.exit(0 if counts.keys() <= {"loads"} else 1)


def _counted(answer, count):
    """Return "1 loads", "2 load"; "2 missing"."""
    return f"{count} {answer.removesuffix('es' if answer == 'crashes' else 's') if count > 1 else answer}"


def _seconds(text):
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise ValueError
    return seconds


if __name__ == "__main__":
    main(sys.argv[1:])
