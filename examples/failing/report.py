"""Print the prices once all are there. See price.py: that is never, and half a report is not printed."""

import interlace

prices = dict(interlace.input)
for what, price in prices.items():
    interlace.output.send(f"{what:<10} {price:.2f}")
