"""The stage that fails, at the order of no plums:

    interlace pipe orders.py price.py report.py
"""

import interlace

for what, number, paid in interlace.input:
    interlace.output.send((what, paid / number))
