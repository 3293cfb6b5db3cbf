"""Workers that stand ready: prestart()."""

import os
import sys

import interlace
from support import DEADLINE, equal, raises


def facts():
    return "colorsys" in sys.modules, os.environ.get("LACE_TEST"), sys.argv, sys.path


def test_a_spare_worker_has_the_surroundings_of_its_start():
    """Modules imported in advance; environment, argv and path as they are when it is started, not when it was made."""
    interlace.prestart(2, preload=["colorsys"], timeout=DEADLINE)
    os.environ["LACE_TEST"] = "later"
    sys.path.append("/nowhere/later")
    sys.argv.append("later")
    try:
        with interlace.Group() as group:
            equal(group.start(facts).result(timeout=DEADLINE), (True, "later", sys.argv, sys.path))
    finally:
        sys.path.remove("/nowhere/later")
        sys.argv.remove("later")
        del os.environ["LACE_TEST"]
        interlace.prestart(0)


def name_of_worker():
    worker = interlace.current_worker()
    return worker.name, worker.index, worker.count, worker.id


def fail():
    raise ValueError("on purpose")


def test_spares_are_workers_like_others():
    """Name, id, results, failures and cancelling, many times more than stand ready."""
    interlace.prestart(2, timeout=DEADLINE)
    never, nothing = interlace.channel(0)
    try:
        seen = set()
        for _ in range(5):
            with interlace.Group() as group:
                for _ in range(4):
                    name, index, count, ident = group.start(name_of_worker, name="spare").result(timeout=DEADLINE)
                    equal((name, index, count), ("spare", 0, 1))
                    seen.add(ident)
            with raises(ExceptionGroup) as caught, interlace.Group() as group:
                group.start(nothing.recv)
                group.start(fail)
            equal([type(error) for error in caught.error.exceptions], [ValueError])
        equal(len(seen), 20)
    finally:
        interlace.prestart(0)


def test_prestart_says_what_is_wrong():
    """A module that does not exist, a str for a list, a count that is none, a timeout."""
    with raises(ImportError):
        interlace.prestart(1, preload=["no_such_module"])
    with raises(TypeError):
        interlace.prestart(1, preload="json")
    for count in (-1, 10_001):
        with raises(ValueError):
            interlace.prestart(count)
    try:
        with raises(TimeoutError):
            interlace.prestart(200, timeout=0.001)
    finally:
        interlace.prestart(0)
