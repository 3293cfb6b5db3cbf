"""examples/executor: each program prints and writes what it does with a ProcessPoolExecutor, with one line changed."""

import os
import re
import struct
import sys
import zlib

import readme
from support import command, environment, equal, folder, host

EXECUTOR = readme.EXAMPLES / "executor"
LIBRARY = os.path.dirname(os.__file__)
OURS = "from interlace import Executor\n"
THEIRS = "from concurrent.futures import ProcessPoolExecutor as Executor\n"


def outputs(name, *args):
    """What the program prints in the host, and with the other line under plain Python."""
    text = (EXECUTOR / name).read_text()
    equal(text.count(OURS), 1)
    other = folder() / name
    other.write_text(text.replace(OURS, THEIRS))
    ours = host("run", str(EXECUTOR / name), *args, limit=90).expect(code=0).out
    theirs = command(sys.executable, str(other), *args, env=environment(), limit=90).expect(code=0).out
    return ours, theirs


def test_primes():
    """The number of primes is right, and the same."""
    ours, theirs = outputs("primes.py", "100000")
    equal(ours, "9,592 primes below 100,000\n")
    equal(ours, theirs)


def test_words():
    """The same words as often, and as many as an independent count finds."""
    top = os.path.join(LIBRARY, "email")
    ours, theirs = outputs("words.py", top)
    equal(ours, theirs)
    text = ""
    for path, _, names in os.walk(top):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(path, name), encoding="utf-8", errors="replace") as file:
                    text += file.read() + "\n"
    words = [word for word in re.split("[^a-z]+", text.lower()) if len(word) > 1]
    first, *most = ours.splitlines()
    assert f" files, {len(words):,} words, {len(set(words)):,} different ones" in first, first
    for line in most:
        times, word = line.split()
        equal(words.count(word), int(times.replace(",", "")))
    equal(len(most), 5)


def pixels(data):
    """The rows of a PNG file such as the example writes: read another way than it is written."""
    equal(data[:8], b"\x89PNG\r\n\x1a\n")
    place, pieces = 8, {}
    while place < len(data):
        (size,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        equal(struct.unpack_from(">I", data, place + 8 + size)[0], zlib.crc32(data[place + 4 : place + 8 + size]))
        pieces[kind] = body
        place += 12 + size
    width, height = struct.unpack_from(">II", pieces[b"IHDR"])
    raw = zlib.decompress(pieces[b"IDAT"])
    stride = 1 + 3 * width
    equal(len(raw), height * stride)
    return width, height, [raw[y * stride + 1 : (y + 1) * stride] for y in range(height)]


def test_mandelbrot():
    """Both files are the same picture: of its size, black inside the set, symmetric about the real axis."""
    path = str(folder() / "ours.png")
    ours, theirs = outputs("mandelbrot.py", path, "120")
    equal(ours, theirs)
    equal(ours, f"{path}: 120 x 90 pixels\n")
    with open(path, "rb") as file:
        theirs = file.read()
    host("run", str(EXECUTOR / "mandelbrot.py"), path, "120").expect(code=0)
    with open(path, "rb") as file:
        equal(file.read(), theirs)
    width, height, rows = pixels(theirs)
    equal((width, height), (120, 90))
    black = [row[3 * x : 3 * x + 3] for row, x in ((rows[45], 90), (rows[45], 50))]  # 0 and -1
    equal(black, [b"\0\0\0", b"\0\0\0"])
    assert rows[0][:3] != b"\0\0\0"
    equal(rows[44], rows[46])


def test_readme():
    """Its commands work, and print what it shows, for the numbers of some Python's library."""
    readme.check(
        "executor",
        lambda output: re.sub(r"^[\d,]+ files(.|\n)*", "FILES AND WORDS\n", output, flags=re.M),
        rewrite=lambda line: line.replace("/usr/lib/python3.14", LIBRARY),
    )
