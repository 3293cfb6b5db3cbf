"""Names and other texts of the user's as they are shown: on a terminal, and in XML and HTML."""

import html
import re

# What XML 1.0 has no place for, not even as an entity, and the control characters that HTML has none for.
_NOT_XML = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text):
    """Return the text for a terminal: what cannot be shown, a line's end as well, is a '?'. (In C: shown.c.)"""
    return "".join(c if c.isprintable() else "?" for c in text)


def legible(text):
    """Return the text with U+FFFD for what no XML can have in it."""
    return _NOT_XML.sub("\ufffd", text)


def escape(text):
    """Return the text as it is written between tags, or in quotes within one."""
    return html.escape(legible(text))
