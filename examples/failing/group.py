"""The same in one script: the group's block raises what its worker raised. With --catch, somebody catches it:

    interlace run group.py [--catch]
"""

import sys

import interlace

ORDERS = [("apples", 8, 4.00), ("pears", 7, 3.50), ("plums", 0, 2.00), ("quinces", 3, 4.50)]


def price(orders, prices):
    for what, number, paid in orders:
        prices.send((what, paid / number))


def report():
    with interlace.Group("prices") as group:
        send_order, orders = interlace.channel(64)
        send_price, results = interlace.channel(64)
        group.start(price, orders, send_price)
        del orders, send_price  # only the worker holds them now
        with send_order:
            send_order.send_many(ORDERS)
        prices = dict(results)
    for what, price_of_one in prices.items():  # not reached when a worker failed
        print(f"{what:<10} {price_of_one:.2f}")


def main():
    if sys.argv[1:] != ["--catch"]:
        return report()
    try:
        report()
    except* ZeroDivisionError as failures:
        for error in failures.exceptions:
            print(f"no report: {error!r}")


main()
