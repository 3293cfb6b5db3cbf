"""About lines: one command keeps something from line to line, the other asks the application."""

import mill

number = 0


@mill.command
def count(text):
    "With the line's number."
    global number
    number += 1
    return f"{number}: {text}"


@mill.command
def words(text):
    "With the number of its words, which the application counts in C."
    how_many = mill.measure(text)["words"]
    if how_many == 0:
        mill.log("an empty line")
    return f"{text} ({how_many} words)"
