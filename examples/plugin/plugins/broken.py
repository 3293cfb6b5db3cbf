"""A plug-in that does not load."""

import mill
import nowhere


@mill.command
def lost(text):
    "Never offered."
    return nowhere.find(text)
