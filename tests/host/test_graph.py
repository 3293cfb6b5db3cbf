"""interlace graph: the network of a pipeline, and of a script's run."""

import html
import re
import xml.etree.ElementTree as ElementTree

from support import equal, folder, host, stage, write

STAGES = [stage("\n# list.py\nraise SystemExit('must not run')\n"), "-n 4 " + stage("\n# parse.py\n"), stage("\n# tally.py\n")]
SCRIPT = """
    import interlace

    def double(numbers, doubled):
        for n in numbers:
            doubled.send(2 * n)

    with interlace.Group() as group:
        sender, numbers = interlace.channel(64, name='the "numbers"')
        doubled, results = interlace.channel(64, name="results")
        for _ in range(2):
            group.start(double, numbers, doubled)
        del numbers, doubled
        with sender:
            sender.send_many(range(50))
        print(sum(results))
"""


def test_dot_of_a_pipeline():
    """Its stages in a row, between standard input and output. It is not run."""
    out = host("graph", "pipe", *STAGES).expect(0, ("digraph network {",), "").out
    for label in ("standard input", "list.py\\n1 worker", "parse.py\\n4 workers", "tally.py\\n1 worker", "standard output"):
        assert f'label="{label}"' in out, out
    equal(re.findall(r"(n\d) -> (n\d)", out), [("n0", "n1"), ("n1", "n2"), ("n2", "n3"), ("n3", "n4")])
    equal((out.count("{"), out.count("}")), (1, 1))


def test_mermaid_of_a_pipeline():
    out = host("graph", "--format", "mermaid", "pipe", *STAGES).expect(0, ("flowchart LR\n",), "").out
    assert '  n2["parse.py<br>4 workers"]\n' in out and '  n1 -->|"stage 1 to 2"| n2\n' in out, out


def test_svg_of_a_pipeline():
    """Well-formed, with a box for each stage and an arrow for each channel."""
    out = host("graph", "-f", "svg", "pipe", *STAGES).expect(0, None, "").out
    root = ElementTree.fromstring(out)
    classes = [element.get("class") for element in root.iter()]
    equal((classes.count("box"), classes.count("flow")), (5, 4))
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"list.py", "parse.py", "tally.py", "4 workers"} <= set(texts), texts


def test_of_a_run():
    """The script runs; what it prints does not get into the graph. Who sends to whom is counted."""
    path = write(SCRIPT, "double.py")
    ended = host("graph", "run", path).expect(0, ("digraph network {",), "2450\n")
    nodes = dict(re.findall(r'^  (n\d) \[label="([\w.]+)\\n', ended.out, re.M))
    equal(sorted(nodes.values()), ["double", "double.py"])
    found = re.findall(r'(n\d) -> (n\d) \[label="(.*?)", pen', ended.out)
    edges = {(nodes[a], nodes[b]): label for a, b, label in found if a in nodes and b in nodes}
    equal(edges[("double.py", "double")], 'the \\"numbers\\"\\n50 messages')
    equal(edges[("double", "double.py")], "results\\n50 messages")


# Names that mean something to one of the three, or to no reader at all.
HOSTILE = ["<lambda>-1", 'a "quote"', "#35; &amp; #quot;", "back\\\\slash\\n", "`code`", "%%{init}%%", "style:a#b;"]
HOSTILE += ["a\x01b\ufffe\x1b\nc"]
SHOWN = [*HOSTILE[:-1], "a\ufffdb\ufffd\ufffd c"]
HOSTILE_SCRIPT = f"""
    import interlace

    def pass_on(receiver, sender):
        sender.send_many(receiver)

    with interlace.Group() as group:
        first, receiver = interlace.channel(4)
        for number, name in enumerate({HOSTILE!r}):
            sender, after = interlace.channel(4, name=name + "!")
            group.start(pass_on, receiver, sender, name=name)
            receiver = after
        with first:
            first.send(1)
        del sender, after
        print(list(receiver))
"""


def hostile(form):
    return host("graph", "-f", form, "run", write(HOSTILE_SCRIPT)).expect(0, None, "[1]\n").out


def test_names_in_dot():
    """As Graphviz reads a quoted string: its own escapes, and then HTML's entities."""
    found = re.findall(r'\[label="((?:[^"\\\n]|\\.)*)"', hostile("dot"))
    parts = [re.split(r"(?<!\\)((?:\\\\)*)\\n", label, maxsplit=1) for label in found]
    names = {html.unescape(re.sub(r"\\(.)", r"\1", "".join(first[:2]) if len(first) > 1 else first[0])) for first in parts}
    equal([name for name in SHOWN if name.removesuffix("-1") not in names and name not in names], [])
    equal([name + "!" for name in SHOWN if name + "!" not in names], [])


def test_names_in_mermaid():
    """As Mermaid reads a label in quotes: "#name;" and "#number;" are entities, and the rest is HTML."""
    out = hostile("mermaid")
    assert "%%" not in out and "`" not in out and not re.search(r"style.*:\S*#.*;", out), out
    labels = re.findall(r'^  n\d+\[("?[^\n]*?)\]$', out, re.M)
    names = []
    for label in labels:
        assert re.fullmatch(r'"[^"<>&\\]*<br>[^"<>&\\]*"', label), label
        name = re.sub(r"#(\w+);", lambda found: f"&{'#' * found[1].isdigit()}{found[1]};", label[1:].partition("<br>")[0])
        names.append(html.unescape(name))
    equal([name for name in SHOWN if name.removesuffix("-1") not in names and name not in names], [])


def test_names_in_svg():
    """Well-formed, whatever characters there are."""
    root = ElementTree.fromstring(hostile("svg"))
    names = [element.get("data-stage") for element in root.iter()]
    equal([name for name in SHOWN[:-1] if name.removesuffix("-1") not in names and name not in names], [])
    assert any(name and name.startswith("a\ufffdb\ufffd\ufffd") for name in names), names


def test_names_in_a_report():
    path = folder() / "report.html"
    host("run", "--report", str(path), write(HOSTILE_SCRIPT)).expect(0, "[1]\n", "")
    text = path.read_text()
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]", text)
    pictures = re.findall(r'<svg class="net".*?</svg>', text, re.S)
    assert pictures
    for picture in pictures:
        ElementTree.fromstring(picture)


def test_into_a_file():
    """Then the script prints as usual."""
    path = folder() / "network.svg"
    host("graph", "-f", "svg", "-o", str(path), "run", write(SCRIPT, "double.py")).expect(0, "2450\n", "")
    text = path.read_text()
    ElementTree.fromstring(text)
    assert "50 messages" in text, text


def test_a_failing_script_fails():
    host("graph", "run", "-c", "import sys; sys.exit(3)").expect(3, ("digraph",), "")


def test_loops_and_circles_are_drawn():
    """Workers of one name that send to one another, and answers that come back."""
    path = write(
        """
        import interlace

        def link(before, after):
            for x in before:
                after.send(x)

        def main():
            with interlace.Group() as group:
                first, before = interlace.channel(4)
                for _ in range(5):
                    sender, after = interlace.channel(4)
                    group.start(link, before, sender)
                    del sender
                    before = after
                first.send_many(range(10))
                first.close()
                print(len(list(before)))

        main()
        """,
        "ring.py",
    )
    for form in ("dot", "mermaid", "svg"):
        out = host("graph", "-f", form, "run", path).expect(0, None, "10\n").out
        assert "40 messages" in out and "10 messages" in out, out
        if form == "svg":
            ElementTree.fromstring(out)
