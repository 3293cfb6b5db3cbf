"""Dates: Python's standard library is at hand."""

import datetime
import re

import mill


def in_words(found):
    date = datetime.date.fromisoformat(found[0])  # ValueError: there is no such day
    return f"{date:%A}, {date.day} {date:%B} {date.year}"


@mill.command
def dates(text):
    "2026-03-01 becomes Sunday, 1 March 2026."
    return re.sub(r"\b\d{4}-\d\d-\d\d\b", in_words, text)
