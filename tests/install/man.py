"""The manual pages, as their sources say them."""

import re

from installed import SOURCE

SECTIONS = (1, 3, 7)


def page(section):
    return SOURCE / f"host/man/interlace.{section}"


def text(section):
    return page(section).read_text()


def examples(section):
    """The literal displays of the page, each as it is shown."""
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", text(section), re.M | re.S)
    return [block.replace("\\e", "\\").replace("\\&", "") for block in blocks]


def example(section):
    [block] = examples(section)
    return block


def part(section, heading):
    """The lines below an .Ss or .Sh with this heading."""
    found = re.search(rf"^\.S[sh] {re.escape(heading)}\n(.*?)(?=^\.S[sh] |\Z)", text(section), re.M | re.S)
    assert found, f"interlace.{section} has no part {heading!r}"
    return found[1]


def options(source):
    """The options that lines of mdoc name: {"-n", "--workers"}."""
    return {f"-{name}" for name in re.findall(r"\bFl (-?[\w-]+)", source)}
