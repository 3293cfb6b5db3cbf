"""interlace map: what goes in and what comes out."""

import csv
import io
import json
import os
import random

from map_support import lines, run
from support import equal, folder, write


def test_lines():
    """A line is what stands before a newline, and nothing else ends it; bytes that are not UTF-8 pass through."""
    text = b"a\r\n\n  b \x0b\x0c\x85\xe2\x80\xa8c\n\xff\xfe\xc3\xa9\0\nlast"
    for words in [], ["--batch", "1"], ["--batch", "2"], ["--in", "lines"]:
        out = run(*words, "-c", "line", stdin=text).expect(0).out
        equal(out.encode("utf-8", "surrogateescape"), text + b"\n")
    run("-c", "len(line)", stdin=text).expect(0, lines([2, 0, 9, 4, 4]))
    for text in b"", b"\n", b"\n\n", b"x":
        out = run("-c", "line", stdin=text).expect(0).out
        equal(out, text.decode() + ("\n" if text == b"x" else ""))


def test_null():
    """Items end with NUL and may hold newlines; names of files come as Python has them."""
    run("--in", "null", "-c", "repr(line)", stdin=b"a\nb\0\0 c").expect(0, lines([repr("a\nb"), "''", "' c'"]))
    where = folder()
    for name in b"plain", b"new\nline", b"\xff\xfe":
        (where / os.fsdecode(name)).write_bytes(name)
    found = b"".join(os.fsencode(path) + b"\0" for path in where.iterdir())
    ended = run("--in", "null", "--unordered", "-c", "open(line, 'rb').read()", stdin=found).expect(0)
    equal(sorted(ended.out.splitlines()), sorted(["b'plain'", "b'new\\nline'", "b'\\xff\\xfe'"]))


def test_json_in():
    """A document a line; blank lines are none, and count as lines."""
    documents = [1, "é\u2028", None, [1.5, {"k": []}], True]
    text = "\n".join(json.dumps(document, ensure_ascii=False) for document in documents)
    run("--in", "json", "-c", "repr(line)", stdin=f"\n{text}\r\n  \n").expect(0, lines(map(repr, documents)))
    for bad, word in [(b"{", "JSONDecodeError"), (b'"\xff"', "UnicodeDecodeError"), (b"1 2", "Extra data")]:
        ended = run("--in", "json", "-c", "line", stdin=b"1\n\n2\n" + bad + b"\n5\n")
        ended.expect(1, "1\n2\n", ("interlace: map: line 4 failed: ", word))


def test_json_out():
    """As json.dumps writes it; what it cannot write is a failed item."""
    given = ["a", "é", "\x7f\t"]
    run("--out", "json", "-c", "{'line': line, 'n': [1, 2.5, True]}", stdin=lines(given)).expect(
        0, lines(json.dumps({"line": item, "n": [1, 2.5, True]}) for item in given)
    )
    run("--out", "json", "-c", "{line}", stdin="x\n").expect(1, "", ("line 1 failed: TypeError", "set", "'x'"))


def test_lines_out():
    """str() of the result; None writes nothing; newlines in it are the reader's business."""
    values = "[None, 1.5, 'two\\nlines', '', b'b', (1,)][int(line)]"
    run("-c", values, stdin=lines(range(6))).expect(0, "1.5\ntwo\nlines\n\nb'b'\n(1,)\n")
    run("--out", "json", "-c", values.replace("b'b'", "2"), stdin=lines(range(6))).expect(
        0, '1.5\n"two\\nlines"\n""\n2\n[1]\n'
    )
    run("-c", "chr(0xd800)", stdin="x\n").expect(1, "", ("line 1 failed: UnicodeEncodeError", "surrogates"))


CSV = [
    "a,b\n1,2\n",
    'a,"b\nc",d\n"e ""x"" f",\n',
    '5" nail,6" nail\nx,"y"z,"\nw"\n',
    '"open\nand never closed,1\n2,3',
    "a\rb,c\rd\r\n\r\n\n",
    '"a\r\nb",1\r"c",2\r\n\r',
    "no newline",
    '""\n"",""\n"""",1\n""x"\ny",2\n',
    ' "a\n",b\n',
    "é,\x00,\u2028\n",
]


def csv_rows(text):
    return [str(row) for row in csv.reader(io.StringIO(text, newline=""))]


def test_csv():
    """The rows that the csv module finds in the whole, wherever batches end."""
    for text in CSV:
        for words in [], ["--batch", "1"], ["--batch", "2"]:
            run("-n", "2", "--in", "csv", *words, "-c", "line", stdin=text).expect(0, lines(csv_rows(text)))


def test_csv_of_any_kind():
    """Likewise for texts made up at random, short ones and one of several batches."""
    choose = random.Random(5)
    for size, words in [(30, ["--batch", "1"])] * 12 + [(3000, ["--batch", "3"])] * 3 + [(800_000, [])]:
        text = "".join(choose.choices(["a", "bc", ",", '"', '""', '"x\ny"', "\n", "\r\n", "\r", "é"], k=size))
        ended = run("-n", "2", "--in", "csv", *words, "-c", "line", stdin=text)
        if ended.out != lines(csv_rows(text)) or ended.code != 0:
            raise AssertionError(f"{text[:300]!r}\n{ended.describe()}")


def test_csv_lines_are_counted():
    """A row is known by the line that it begins in."""
    text = 'a,1\n"b\nb",2\n"c\r\nc\rc",3\nd,x\n"e\n\ne",y\n'
    for batch in "1", "2", "100":
        ended = run("--in", "csv", "--batch", batch, "--keep-going", "-c", "int(line[1])", stdin=text)
        ended.expect(1, "1\n2\n3\n", ("line 7 failed", "['d', 'x']", "line 8 failed", "2 of 5 items failed"))
