"""The job of map_1gb.py: some lines of Python source in, what is in them out. As a program, a line at a time."""

import json
import re
import sys

WORD = re.compile(r"[A-Za-z_]\w*|\d+|\S")


def describe(record):
    """Return the most frequent words of a record's text, its depth and its longest line."""
    counts, depth, longest = {}, 0, ""
    for line in record["text"].split("\n"):
        for word in WORD.findall(line):
            counts[word] = counts.get(word, 0) + 1
        depth = max(depth, len(line) - len(line.lstrip()))
        longest = max(longest, line, key=len)
    words = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    return {"path": record["path"], "line": record["line"], "words": words, "depth": depth, "longest": longest.strip()}


def main():
    """What people write without `interlace map`."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(describe(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
