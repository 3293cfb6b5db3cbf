"""interlace map: a function called with the items of standard input, in several interpreters at once.

Three kinds of worker take part. The reader (_map_input.py) cuts standard input into batches (_map_batch.py), the
mappers (_map_work.py) take one after the other and call the function (_map_function.py), and this one, the writer
(_map_write.py), starts them and writes what they tell: in turn (_map_turns.py), with a log if one is wanted
(_map_joblog.py). Whoever is behind holds the others back: every channel is short, and the writer does not receive from
a mapper that is too far ahead.
"""

import os
import sys

from interlace._group import Group
from interlace._map_write import Ended, Writer


class Options:
    """The words of the command line, which map.c has checked."""

    def __init__(self, function, words):
        given = [word.partition("=")[::2] for word in words]
        values = dict(given)
        self.function = function
        self.expression = "expression" in values
        imports = ",".join(value for key, value in given if key == "import")
        self.imports = [name.strip() for name in imports.split(",") if name.strip()]
        self.workers = int(values.get("workers") or os.process_cpu_count() or 1)
        self.format = values.get("in", "lines")
        self.out = values.get("out", "lines")
        self.unordered = "unordered" in values
        self.batch = int(values["batch"]) if "batch" in values else None
        self.retries = int(values.get("retries", 0))
        self.timeout = float(values["timeout"]) if "timeout" in values else None
        self.keep_going = "keep_going" in values
        self.joblog = values.get("joblog")
        self.resume = "resume" in values
        self.progress = "progress" in values and os.isatty(2)
        self.watched = self.timeout is not None or self.progress


def _prepare(options):
    """What can be found out before anything runs."""
    if options.expression:
        try:
            compile(options.function.strip(), "-c", "eval", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise Ended(2, f"-c takes an expression of `line`, not {options.function!r}: {error}") from None
    place = options.function.rpartition(":")[0]
    if not sys.flags.safe_path:
        is_file = not options.expression and ("/" in place or place.endswith(".py"))
        sys.path.insert(0, os.path.dirname(os.path.realpath(place)) if is_file else os.getcwd())
    sys.argv[:] = ["-c" if options.expression else options.function]


def _open_log(options):
    if options.joblog is None:
        return None
    from interlace import _map_joblog

    try:
        return _map_joblog.Log(options.joblog, options.resume, options.format, options.unordered)
    except _map_joblog.Unusable as unusable:
        raise Ended(2, f"--joblog: {unusable}") from None
    except OSError as error:
        raise Ended(2, f"--joblog: {options.joblog}: {error.strerror}") from None


def _new_progress(options, log):
    if not options.progress:
        return None
    import stat

    from interlace._map_progress import Progress

    status = os.fstat(0)
    total = status.st_size - os.lseek(0, 0, os.SEEK_CUR) if stat.S_ISREG(status.st_mode) else None
    return Progress(total, log.items if log else 0, log.skipped if log else 0)


def main(function, words):
    """Run `interlace map`; raises SystemExit unless all went well."""
    options = Options(function, words)
    writer = progress = None
    status = 0
    try:
        _prepare(options)
        log = _open_log(options)
        progress = _new_progress(options, log)
        writer = Writer(options, log, progress)
        with Group("interlace map") as group:
            try:
                writer.run(group)
            except Ended as ended:
                status = ended.args[0]
                group.cancel()
    except Ended as ended:
        status, text = ended.args
        sys.stderr.write(f"interlace: map: {text}\n")
    if progress:
        progress.end()
    if writer and options.keep_going and writer.failed:
        sys.stderr.write(f"interlace: map: {writer.failed:,} of {writer.items:,} items failed\n")
        status = status or 1
    if status:
        raise SystemExit(status)
