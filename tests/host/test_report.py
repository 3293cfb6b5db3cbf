"""--report: one page that loads nothing."""

import html.parser
import re

from report_support import report
from support import equal, host, folder

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(html.parser.HTMLParser):
    """Checks that elements are closed in order; collects what the tests look for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.links = [], [], [], []
        self.feed(text)
        self.close()
        equal(self.open, [])

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.links += [value for name, value in attributes if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        equal(self.open.pop(), tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page():
    """Well-formed, self-contained, with everything that is known of the run, and nothing unescaped."""
    path, ended = report()
    equal(ended.code, 1)
    text = path.read_text()
    page = Page(text)
    equal(page.links, [])
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)|@import|url\(", text), "the page loads something"
    said = ended.err.splitlines()[-1]
    words = "".join(page.texts)
    assert said in words, said
    assert "ValueError: <planted> & escaped" in words and "<planted>" not in text, "a traceback is not there, or not escaped"
    assert "<jobs>" in words
    ids = {attributes.get("id") for tag, attributes in page.tags if tag == "section"}
    equal(ids, {"network", "timeline", "channels", "workers", "failures"})
    stages = [a["data-stage"] for tag, a in page.tags if tag == "g" and "data-stage" in a]
    equal(sorted(stages), sorted(["feed", "work", "script.py"] * 2))
    hot = {a["data-stage"] for tag, a in page.tags if tag == "g" and "hot" in a.get("class", "").split()}
    [name] = hot  # that the sentence names
    assert name in said, (name, said)
    equal(sum(tag == "article" for tag, _ in page.tags), 2)
    rows = [a["data-stage"] for tag, a in page.tags if tag == "tr" and "data-stage" in a]
    equal(rows, ["script.py", "feed", "work", "work"])
    assert "--stats" not in words and "--report" not in words


def test_a_run_without_channels():
    """Of one worker, that did next to nothing."""
    path = folder() / "report.html"
    host("run", "--report", str(path), "-c", "pass").expect(0, "", "")
    page = Page(path.read_text())
    words = "".join(page.texts)
    assert "-c ran alone" in words and "Channels" not in words, words


def test_many_workers():
    """The page stays a page: of so many workers some are shown."""
    path = folder() / "report.html"
    host("run", "-n", "80", "--report", str(path), "-c", "pass", limit=120).expect(0, "", "")
    text = path.read_text()
    Page(text)
    assert "and 16 more workers" in text and len(text) < 500_000, len(text)
