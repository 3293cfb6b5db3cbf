"""Capital letters."""

import mill


@mill.command
def upper(text):
    "In capital letters."
    return text.upper()


@mill.command
def title(text):
    "Each Word With A Capital."
    return text.title()
