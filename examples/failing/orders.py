"""Send orders: what, how many, and what was paid for all. See price.py."""

import interlace

ORDERS = [("apples", 8, 4.00), ("pears", 7, 3.50), ("plums", 0, 2.00), ("quinces", 3, 4.50)]

interlace.output.send_many(ORDERS)
