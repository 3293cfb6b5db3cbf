"""W2 and W9: what becomes of a worker's exception, where it is caught and where it is not."""

import interlace
from support import DEADLINE, equal, raises, run, traceback_of


class Unpicklable(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.culprit = lambda: None


class NeedsTwo(Exception):
    """Pickles, but does not unpickle: Exception hands one argument to __init__."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Own(ValueError):
    def __init__(self, text, extra):
        super().__init__(text, extra)
        self.extra = extra


def raise_own():
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as cause:
        error = Own("own text", 5)
        error.add_note("see the manual")
        raise error from cause


def raise_unpicklable():
    raise Unpicklable("with a lambda")


def raise_needs_two():
    raise NeedsTwo("salt", "pepper")


def raise_group():
    raise ExceptionGroup("several", [ValueError(1), ExceptionGroup("deeper", [KeyError(2)])])


def failure_of(function, name=None):
    with raises(BaseExceptionGroup) as caught, interlace.Group() as group:
        group.start(function, name=name)
    [error] = caught.error.exceptions
    return error


def test_w2_the_original_exception_with_its_remote_traceback():
    """Type, arguments, attributes and notes are kept; the cause shows the traceback that it had in the worker."""
    error = failure_of(raise_own, "parser")
    equal((type(error), error.args, error.extra, error.__notes__), (Own, ("own text", 5), 5, ["see the manual"]))
    cause = error.__cause__
    equal(type(cause), interlace.RemoteTraceback)
    for words in ("in worker 'parser'", "in raise_own", "raise error from cause", "test_errors.py",
                  "ZeroDivisionError", "Own: ('own text', 5)", "see the manual"):  # fmt: skip
        assert words in str(cause), f"{words!r} is missing in {cause}"
    assert "_bootstrap" not in str(cause), cause
    assert "raise error from cause" in traceback_of(error)


def test_w2_an_exception_that_does_not_pickle():
    """A RemoteError with its type, message and traceback stands for it."""
    error = failure_of(raise_unpicklable)
    equal((type(error), str(error)), (interlace.RemoteError, "Unpicklable: with a lambda"))
    assert "in raise_unpicklable" in str(error.__cause__)


def test_w2_an_exception_that_does_not_unpickle():
    """Likewise."""
    error = failure_of(raise_needs_two)
    equal((type(error), str(error)), (interlace.RemoteError, "NeedsTwo: salt and pepper"))
    assert "in raise_needs_two" in str(error.__cause__)


def test_w2_an_exception_group_of_a_worker():
    """Stays a group inside the group."""
    error = failure_of(raise_group)
    equal((type(error), [type(e) for e in error.exceptions]), (ExceptionGroup, [ValueError, ExceptionGroup]))


def exit_with(code):
    raise SystemExit(code)


def test_w2_sys_exit_in_a_worker():
    """0 and None are success without a result, anything else is a failure that keeps its code."""
    with interlace.Group() as group:
        equal([group.start(exit_with, code).result(timeout=DEADLINE) for code in (0, None)], [None, None])
    with raises(BaseExceptionGroup) as caught, interlace.Group() as group:
        group.start(exit_with, 5)
    equal([(type(error), error.code) for error in caught.error.exceptions], [(SystemExit, 5)])


def return_unpicklable():
    return lambda: None


def test_w2_a_result_that_does_not_pickle_is_a_failure():
    """With the pickling error, raised in the worker."""
    error = failure_of(return_unpicklable)
    assert "pickle" in str(error).lower() or "local object" in str(error), error


def overflow_stack():
    overflow_stack()


def test_w2_endless_recursion_is_a_failure():
    """RecursionError arrives, and its traceback is short."""
    error = failure_of(overflow_stack)
    equal(type(error), RecursionError)
    assert len(str(error.__cause__)) < 20000


FAILS = """
    import interlace

    def main(who):
        raise LookupError(f"nothing for {who}")

    main(interlace.current_worker().index)
"""


def test_w9_an_uncaught_exception_prints_name_and_traceback_once():
    """On stderr, with the script's line; nothing of Interlace's own is in it."""
    ended = run("x = 1\n\ndef f():\n    return 1 / 0\n\nf()\n").expect(
        1, "", ("interlace: worker 'script.py' failed:\n", "line 4, in f", "    return 1 / 0", "ZeroDivisionError")
    )
    for words in ("Traceback", "'script.py' failed", "ZeroDivisionError"):
        equal((words, ended.err.count(words)), (words, 1))
    for words in ("_bootstrap", "<interlace>", "runpy"):
        assert words not in ended.err, ended.describe()


def test_w9_the_failing_replica_is_named():
    """Of five replicas that all fail each that failed is named with its own traceback, the cancelled ones are not."""
    ended = run(FAILS, words=["-n", "5"]).expect(1, "", ("interlace: worker 'script.py-",))
    failures = ended.err.count("failed:")
    assert 1 <= failures <= 5
    equal(ended.err.count("Traceback"), failures)
    assert "Cancelled" not in ended.err, ended.describe()


def test_w9_an_uncaught_group_failure_is_printed_once():
    """The script's traceback has the worker's as its cause; nobody else prints it."""
    ended = run(
        """
        import interlace

        def deep():
            raise LookupError("marker")

        with interlace.Group() as group:
            group.start(deep, name="digger")
        """
    ).expect(1, "", ("worker 'script.py' failed", "in worker 'digger'", "ExceptionGroup: 1 of 1 worker failed"))
    equal(ended.err.count('raise LookupError("marker")'), 1)
    equal(ended.err.count("in worker 'digger'"), 1)


def test_w9_a_caught_group_failure_prints_nothing():
    """Who catches it decides what is printed; the exit code is 0."""
    run(
        """
        import interlace

        def deep():
            raise LookupError("marker")

        try:
            with interlace.Group() as group:
                group.start(deep)
        except* LookupError as errors:
            print("caught", *errors.exceptions)
        """
    ).expect(0, "caught marker\n", "")


def test_w9_output_before_the_failure_is_there():
    """What was printed without a flush comes out."""
    run("print('before', end='')\n1 / 0\n").expect(1, "before", ("ZeroDivisionError",))
