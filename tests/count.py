"""Counts single tests over the logs of `meson test` and shows the output of what failed.

usage: count.py LABEL=PROGRAMS=TESTLOG.json ...     (PROGRAMS: how many must be in that log)

A check suite says how many tests it ran ("90%: Checks: 10, Failures: 1, Errors: 0"); a script says `ok NAME`,
`not ok NAME` or `skip NAME` for each. A program that says neither counts as one test. One that ended badly after
all that it reported was well counts as one failure more: it crashed, hung, or leaked.

The last line is `N passed, N failed[, N skipped]`. With INTERLACE_COUNTS=FILE the three numbers go to that file
instead, for a caller that adds up several runs. Exits with 1 if anything failed, or if nothing was run.
"""
import json
import os
import re
import sys

CHECK = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)
LINE = re.compile(r"^(ok|not ok|skip)\b(.*)$", re.M)
SHOWN = 200  # lines of a failed program's output: the first and the last half of them


def count(entry):
    """(passed, failed, skipped) of one program."""
    output = entry.get("stdout") or ""
    result = entry["result"]
    passed = failed = skipped = 0
    said = False
    for checks, failures, errors in CHECK.findall(output):
        bad = int(failures) + int(errors)
        passed += int(checks) - bad
        failed += bad
        said = True
    for word, rest in LINE.findall(output):
        said = True
        if word == "skip" or (word == "ok" and re.search(r"# skip\b", rest, re.I)):
            skipped += 1
        elif word == "ok":
            passed += 1
        else:
            failed += 1
    if result == "SKIP" and not said:
        return 0, 0, 1
    well = result in ("OK", "SKIP", "EXPECTEDFAIL")
    if not well and failed == 0:
        failed += 1
    if well and not said:
        passed += 1
    return passed, failed, skipped


def show(label, entry):
    print("\n==== failed: %s / %s (%s, exit %s, %.1f s)" % (
        label, entry["name"], entry["result"], entry.get("returncode"), entry.get("duration") or 0))
    print("     " + " ".join(entry.get("command") or []))
    for stream in "stdout", "stderr":
        lines = (entry.get(stream) or "").splitlines()
        if not lines:
            continue
        print("---- " + stream)
        if len(lines) > SHOWN:
            left_out = "[... %d lines ...]" % (len(lines) - SHOWN)
            lines = lines[:SHOWN // 2] + [left_out] + lines[-SHOWN // 2:]
        print("\n".join(lines))


def main():
    totals = [0, 0, 0]
    for argument in sys.argv[1:]:
        label, expected, path = argument.split("=", 2)
        part = [0, 0, 0]
        try:
            with open(path, encoding="utf-8", errors="replace") as log:
                entries = [json.loads(line) for line in log if line.strip()]
        except OSError:
            entries = []
        if len(entries) < int(expected):
            print("%s: %d of %s test programs are in %s" % (label, len(entries), expected, path))
            part[1] += int(expected) - len(entries)
        for entry in entries:
            counts = count(entry)
            part = [a + b for a, b in zip(part, counts)]
            if counts[1]:
                show(label, entry)
        # Not in the form of the closing line: there is only one of those.
        print("%-20s %4d well, %d failed, %d skipped" % (label, *part))
        totals = [a + b for a, b in zip(totals, part)]
    passed, failed, skipped = totals
    if os.environ.get("INTERLACE_COUNTS"):
        with open(os.environ["INTERLACE_COUNTS"], "w", encoding="utf-8") as out:
            print(passed, failed, skipped, file=out)
    else:
        print("%d passed, %d failed%s" % (passed, failed, ", %d skipped" % skipped if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
