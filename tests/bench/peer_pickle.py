"""pickle.dumps alone: what a sender could do if a message's way cost nothing and nobody read it."""

from pickle import dumps

import measure


def main():
    for row in measure.rows:
        obj = measure.PAYLOADS[row]
        calls = 1000 if row != "one_way_1mb" else 10

        def once():
            start = measure.clock()
            for _ in range(calls):
                dumps(obj)
            return calls / (measure.clock() - start) * 1e9

        measure.tell(row, "pickle.dumps alone", measure.median(measure.repeat(once)))


main()
