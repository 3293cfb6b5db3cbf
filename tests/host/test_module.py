"""The module itself: what it exports, its help, one state per interpreter, nothing leaked."""

import gc
import inspect
import os
import pydoc
import sys

import interlace
from support import DEADLINE, Thread, environment, equal, host, raises, run

NAMES = ["BrokenChannel", "Cancelled", "EndOfChannel", "Group", "Receiver", "Sender", "Worker", "after", "channel",
         "current_worker", "select"]  # fmt: skip

SIGNATURES = {
    interlace.channel: "(capacity, *, max_bytes=None, name=None, redeliver=False)",
    interlace.select: "(*cases, timeout=None, priority=False)",
    interlace.after: "(seconds, /)",
    interlace.current_worker: "()",
    interlace.Sender.send: "(self, /, obj, timeout=None)",
    interlace.Sender.send_many: "(self, /, iterable, timeout=None)",
    interlace.Sender.close: "(self, /)",
    interlace.Receiver.recv: "(self, /, timeout=None)",
    interlace.Receiver.recv_many: "(self, /, limit, timeout=None)",
    interlace.Receiver.fileno: "(self, /)",
    interlace.Receiver.stats: "(self, /)",
    interlace.Group: "(name=None)",
    interlace.Group.start: "(self, target, /, *args, name=None, **kwargs)",
    interlace.Group.cancel: "(self)",
    interlace.Worker.result: "(self, timeout=None)",
    interlace.Worker.exception: "(self, timeout=None)",
    interlace.Worker.done: "(self, /)",
    interlace.Worker.cancel: "(self, /)",
}


def test_names():
    """__all__ is sorted, complete, and everything in it says it is of `interlace`."""
    equal(interlace.__all__, sorted(interlace.__all__))
    for name in NAMES:
        assert name in interlace.__all__, name
    for name in interlace.__all__:
        thing = getattr(interlace, name)
        assert thing.__module__.split(".")[0] == "interlace", f"{name}: {thing.__module__}"
        equal(thing.__name__, name)
    public = {name for name in dir(interlace) if not name.startswith("_")}
    equal(sorted(public), interlace.__all__)
    namespace = {}
    exec("from interlace import *", namespace)
    equal(sorted(set(namespace) - {"__builtins__"}), interlace.__all__)


def test_signatures():
    """inspect shows the signatures of the reference; select's says that it takes any number of cases."""
    for function, wanted in SIGNATURES.items():
        shown = str(inspect.signature(function)).replace("($self", "(self")
        if shown != wanted and function not in (interlace.Group, interlace.Group.start):
            equal((function.__qualname__, shown), (function.__qualname__, wanted))
        for parameter in set(inspect.signature(function).parameters) - {"self", "args", "kwargs"}:
            assert parameter in function.__doc__, f"{function.__qualname__} does not say what {parameter} is"


def test_everything_is_documented():
    """Every public function, type, method and attribute has a text whose first paragraph is a sentence."""
    for name in interlace.__all__:
        thing = getattr(interlace, name)
        found = [(name, thing)]
        if isinstance(thing, type) and not issubclass(thing, BaseException):
            found += [(f"{name}.{k}", getattr(thing, k)) for k in vars(thing) if not k.startswith("_")]
        for where, member in found:
            first = (getattr(member, "__doc__", None) or "").partition("\n\n")[0].strip()
            assert first and first[-1] in ".:", f"{where}: {first!r}"
            assert all(len(line) <= 118 for line in member.__doc__.splitlines()), where
    assert "Group" in interlace.__doc__


def test_help():
    """help(interlace.channel) shows the signature, what the arguments are, and an example."""
    text = pydoc.render_doc(interlace.channel, renderer=pydoc.plaintext)
    signature = f"channel{SIGNATURES[interlace.channel]}"
    for words in (signature, "rendezvous", "channel(64)", "ValueError"):
        assert words in text, text
    for thing in (interlace, interlace.Sender, interlace.Receiver, interlace.Worker, interlace.Group):
        assert len(pydoc.render_doc(thing, renderer=pydoc.plaintext)) > 500


def test_types_cannot_be_made_or_changed():
    """Ends and workers come from the host only, and their types are fixed."""
    for kind in (interlace.Sender, interlace.Receiver, interlace.Worker):
        with raises(TypeError):
            kind()
        with raises(TypeError):
            kind.__new__(kind)
        with raises(TypeError):
            type("Sub", (kind,), {})
        with raises(TypeError):
            object.__new__(kind)
    for kind in (interlace.Sender, interlace.Receiver):
        with raises(TypeError):
            kind.send = None
        with raises(AttributeError):
            interlace.channel(1)[0].attribute = 1


def mark_and_look():
    seen = hasattr(interlace, "mark"), id(interlace.Sender), id(interlace.EndOfChannel)
    interlace.mark = True
    return seen


def test_every_interpreter_has_its_own_module():
    """What one worker writes into the module no other one sees; types and exceptions are its own."""
    interlace.mark = True
    try:
        with interlace.Group() as group:
            workers = [group.start(mark_and_look) for _ in range(3)]
            found = [worker.result(timeout=DEADLINE) for worker in workers]
    finally:
        del interlace.mark
    equal([marked for marked, *_ in found], [False] * 3)


def raise_end():
    raise interlace.EndOfChannel("over there")


def test_exceptions_of_another_interpreter_are_caught_by_type():
    """An EndOfChannel raised in a worker is this interpreter's EndOfChannel."""
    with raises(ExceptionGroup) as caught, interlace.Group() as group:
        group.start(raise_end)
    equal(type(caught.error.exceptions[0]), interlace.EndOfChannel)


def use_everything():
    """A bit of everything that makes and drops objects."""
    sender, receiver = interlace.channel(4, max_bytes=1000, name="leak")
    sender.send(({"a": [1, 2]}, sender, receiver))
    del sender
    _, sender, other = interlace.select(receiver, timeout=1)[1]
    other.close()
    sender.send_many("ab")
    receiver.recv_many(5)
    interlace.select((sender, 1), receiver, interlace.after(0))
    for wrong in (lambda: sender.send(lambda: 1), lambda: interlace.select(5), lambda: receiver.recv(timeout=-1),
                  lambda: interlace.channel(-1), lambda: receiver.recv(nothing=1), lambda: sender.send_many(5),
                  lambda: interlace.select(receiver, interlace.after(0.0001), timeout=0)):  # fmt: skip
        try:
            wrong()
        except Exception:
            pass
    receiver.fileno()
    sender.stats()
    receiver.close()
    try:
        sender.send(1)
    except interlace.BrokenChannel:
        pass


def blocks():
    for _ in range(3):
        gc.collect()
    return sys.getallocatedblocks(), len(gc.get_objects()), len(os.listdir("/proc/self/fd"))


def check_no_growth(call, rounds, most):
    """The best of four rounds leaves nothing behind: caches that fill up do not count, what grows for ever does."""
    growth = []
    for _ in range(4):
        before = blocks()
        for _ in range(rounds):
            call()
        growth.append([b - a for a, b in zip(before, blocks(), strict=True)])
    for what, limit, found in zip(("memory blocks", "objects", "descriptors"), (most, rounds // 20, 0),
                                  zip(*growth, strict=True), strict=True):  # fmt: skip
        assert min(found) <= limit, f"{what} that {rounds} calls left behind, four times: {found}"


def test_calls_leak_no_objects():
    """Rounds of every kind of call leave no objects, memory blocks or descriptors behind."""
    check_no_growth(use_everything, 500, 125)


def test_workers_leak_no_objects():
    """Workers made and ended leave no objects behind in the interpreter that started them."""

    def round_trip():
        with interlace.Group("leak") as group:
            worker = group.start(pow, 2, 3)
            equal(worker.result(timeout=DEADLINE), 8)
            assert interlace.current_worker().id != worker.id
        try:
            with interlace.Group() as group:
                group.start("builtins:int", "x")
        except ExceptionGroup:
            pass

    # Two workers a round. CPython's own caches grow by some blocks a round, ever slower (3.15: 1 after 500 rounds).
    check_no_growth(round_trip, 20, 100)


def test_threads_leak_no_waiters():
    """Threads that waited and ended leave nothing in a channel that lives on."""
    sender, receiver = interlace.channel(0)
    for n in range(50):
        waiting = Thread(receiver.recv)
        sender.send(n, timeout=DEADLINE)
        equal(waiting.result(), n)
        with raises(TimeoutError):
            receiver.recv(timeout=0.0001)
    equal((len(sender), sender.stats()["messages"], receiver.stats()["messages"]), (0, 50, 50))


def test_debug_settings_of_python():
    """PYTHONDEVMODE, a debug allocator, warnings as errors, a tracemalloc that is asked for: the same, no warning."""
    script = """
        import interlace

        def work(receiver):
            return sum(receiver)

        with interlace.Group() as group:
            sender, receiver = interlace.channel(3)
            workers = [group.start(work, receiver) for _ in range(3)]
            receiver.close()
            with sender:
                sender.send_many(range(100))
            print(sum(worker.result() for worker in workers))
    """
    for settings in ({"PYTHONDEVMODE": "1"}, {"PYTHONMALLOC": "debug", "PYTHONWARNINGS": "error"},
                     {"PYTHONTRACEMALLOC": "5"}, {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
                     {"PYTHONMALLOC": "malloc"}):  # fmt: skip
        run(script, env=environment(**settings)).expect(0, "4950\n")
    host("run", "-c", "import sys; print(sys.stdout.line_buffering, sys.stdout.write_through)",
         env=environment(PYTHONUNBUFFERED="1")).expect(0, "False True\n")  # fmt: skip
