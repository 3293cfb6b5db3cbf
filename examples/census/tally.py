"""Add up the summaries of files and print a table. The last of the census's three stages:

    interlace pipe 'list.py DIR' '-n 2 parse.py' 'tally.py'
"""

from collections import Counter

import interlace


def tally(summaries):
    """Return (totals, longest function, files that import each module), from any iterable of summaries."""
    totals = Counter({"files": 0, "not parsed": 0, "lines": 0, "functions": 0, "classes": 0, "branches": 0})
    longest = (0, "", 0, "")
    importers = Counter()
    for summary in summaries:
        totals["files"] += 1
        if "error" in summary:
            totals["not parsed"] += 1
            continue
        for what in ("lines", "functions", "classes", "branches"):
            totals[what] += summary[what]
        longest = max(longest, (*summary["longest"], summary["path"]))
        importers.update(summary["imports"])
    return totals, longest, importers


def table(census):
    """Return the census as text, a few lines."""
    totals, (length, name, line, path), importers = census
    rows = [f"{what:<16} {number:>9,}" for what, number in totals.items()]
    rows.append(f"longest function {length:>9,} lines: {name}, {path}:{line}")
    rows.append("most imported        files")
    most = sorted(importers.items(), key=lambda item: (-item[1], item[0]))
    rows += [f"  {module:<14} {number:>9,}" for module, number in most[:8]]
    return "\n".join(rows)


if __name__ == "__main__":
    interlace.output.send(table(tally(interlace.input)))
