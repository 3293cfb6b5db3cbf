"""Count the words in the Python files of a folder, on all cores:

    interlace run words.py FOLDER
"""

import collections
import pathlib
import re
import sys

from interlace import Executor

WORD = re.compile(r"[A-Za-z]{2,}")


def count_words(path):
    return collections.Counter(WORD.findall(path.read_text(errors="replace").lower()))


def main():
    paths = sorted(pathlib.Path(sys.argv[1]).rglob("*.py"))
    total = collections.Counter()
    with Executor() as executor:
        for count in executor.map(count_words, paths, chunksize=4):
            total.update(count)
    print(f"{len(paths):,} files, {total.total():,} words, {len(total):,} different ones")
    for word, times in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:5]:
        print(f"{times:9,} {word}")


if __name__ == "__main__":
    main()
