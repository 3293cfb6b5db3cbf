"""W1 and the Worker: threads and interpreters of their own, targets, results."""

import functools
import os
import pathlib
import sys
import threading

import interlace
from support import DEADLINE, asleep, equal, raises, run, switches, wait_until, write


def who_am_i(ready=None, go=None):
    import _interpreters

    if ready is not None:
        ready.send(None)
        go.recv()
    return threading.get_native_id(), _interpreters.get_current()[0], id(sys.modules)


def test_w1_every_worker_has_a_thread_and_an_interpreter():
    """All alive at once they differ from each other and from the script's; nobody is in the main interpreter."""
    with interlace.Group() as group:
        (tell, ready), (go, gone) = interlace.channel(10), interlace.channel(10)
        workers = [group.start(who_am_i, tell, gone) for _ in range(10)]
        for _ in workers:
            ready.recv(timeout=DEADLINE)
        go.send_many([None] * 10)
        found = [worker.result(timeout=DEADLINE) for worker in workers] + [who_am_i()]
    for kind in range(3):
        equal(len({one[kind] for one in found}), 11)
    assert os.getpid() not in {one[0] for one in found}, "user code runs in the main thread"
    assert 0 not in {one[1] for one in found}, "user code runs in the main interpreter"


def test_w1_the_main_thread_is_idle():
    """It sleeps, and is not woken, while workers start, talk and end."""
    asleep(os.getpid())
    before = switches(os.getpid())
    with interlace.Group() as group:
        for worker in [group.start(who_am_i) for _ in range(5)]:
            worker.result(timeout=DEADLINE)
    equal(switches(os.getpid()), before)


def echo(receiver, sender):
    for value in receiver:
        sender.send(value)


def test_w1_every_interpreter_has_its_own_gil():
    """While one worker is inside a long bytecode that keeps its GIL, two others talk a hundred times."""
    with interlace.Group() as group:
        tell, started = interlace.channel(1)
        there, receiver = interlace.channel(0)
        sender, back = interlace.channel(0)
        group.start(echo, receiver, sender)
        there.send("warm")
        back.recv()
        worker = group.start(hold_gil, tell)
        started.recv(timeout=DEADLINE)
        for n in range(100):
            there.send(n)
            equal(back.recv(timeout=DEADLINE), n)
        assert not worker.done(), "the long computation was too short for this machine"
        worker.cancel()
        there.close()


def hold_gil(started):
    started.send(None)
    return sum(range(30_000_000))


def test_worker_name_id_done_and_text():
    """Names are given or made from the target and a number; ids differ; repr tells the state."""
    with interlace.Group() as group:
        _, receiver = kept = interlace.channel(0)
        one, two = group.start(echo, receiver, kept[0]), group.start(echo, receiver, kept[0])
        given = group.start(pow, 2, 3, name="power \u00e4")
        equal((one.name, two.name, given.name), ("echo-1", "echo-2", "power \u00e4"))
        equal(len({one.id, two.id, given.id}), 3)
        equal((one.index, one.count), (0, 1))
        assert not one.done()
        wait_until(given.done, "its end")
        equal(repr(given), "<interlace.Worker 'power \u00e4', ended>")
        assert repr(one).startswith("<interlace.Worker 'echo-1', "), one
        kept[0].close()
        group.cancel()


def my_name():
    me = interlace.current_worker()
    return me.name, me.id, me.index, me.count, me.done()


def test_current_worker_is_the_same_worker():
    """Name and id are those that Group.start gave; it cannot wait for itself."""
    with interlace.Group() as group:
        worker = group.start(my_name, name="me")
        equal(worker.result(timeout=DEADLINE), ("me", worker.id, 0, 1, False))
    for call in (interlace.current_worker().result, interlace.current_worker().exception):
        with raises(RuntimeError, "its own"):
            call()


def test_results_can_be_asked_again():
    """result() and exception() give the same each time, to several threads, and after the block."""
    with interlace.Group() as group:
        worker = group.start(list, "ab")
        equal(worker.result(), ["a", "b"])
        assert worker.result() is worker.result(timeout=0)
        equal(worker.exception(), None)
    equal(worker.result(0), ["a", "b"])
    with raises(ExceptionGroup), interlace.Group() as group:
        failing = group.start(int, "x")
        wait_until(failing.done, "its end")
        error = failing.exception()
        with raises(ValueError, "invalid literal"):
            failing.result()
    assert failing.exception() is error


class Adder:
    def __init__(self, a, b=0):
        self.sum = a + b

    def plus(self, c):
        return self.sum + c

    @classmethod
    def make(cls, a):
        return cls(a, 1)

    @staticmethod
    def double(a):
        return 2 * a


def test_targets_that_can_be_called():
    """Functions, built-in ones, classes, their methods, bound methods and partial ones."""
    with interlace.Group() as group:
        for target, args, kwargs, wanted in [
            (my_sum, (1, 2), {"c": 3}, 6),
            (pow, (2, 10), {}, 1024),
            (str, (5,), {}, "5"),
            (functools.partial(my_sum, 1), (2,), {"c": 3}, 6),
            (Adder(1, 2).plus, (3,), {}, 6),
            (Adder.double, (4,), {}, 8),
            ("x".join, (["a", "b"],), {}, "axb"),
        ]:
            equal(group.start(target, *args, **kwargs).result(timeout=DEADLINE), wanted)
        equal(group.start(Adder, 1, b=2).result(timeout=DEADLINE).sum, 3)
        equal(group.start(Adder.make, 5).result(timeout=DEADLINE).sum, 6)


def my_sum(a, b, *, c):
    return a + b + c


def test_targets_by_name():
    """ "module:function", with dots on both sides."""
    with interlace.Group() as group:
        for target, args, wanted in [
            ("os.path:join", ("a", "b"), "a/b"),
            ("math:sqrt", (4,), 2.0),
            ("builtins:str.upper", ("a",), "A"),
            ("test_worker:my_name.__name__.title", (), "My_Name"),
        ]:
            equal(group.start(target, *args).result(timeout=DEADLINE), wanted)
        equal(group.start("math:pow", 2, 3).name, "pow-1")
    for target, kind, words in [
        ("no_such_module:f", ModuleNotFoundError, "no_such_module"),
        ("math:no", AttributeError, "'no'"),
    ]:
        with raises(ExceptionGroup) as caught, interlace.Group() as group:
            group.start(target)
        [error] = caught.error.exceptions
        equal(type(error), kind)
        assert words in str(error)


def test_targets_that_are_scripts():
    """A path runs as __main__ with sys.argv; its result is None; it may be os.PathLike."""
    path = write(
        """
        import os, sys
        assert __name__ == "__main__"
        os.write(int(sys.argv[1]), repr((__file__ == sys.argv[0], sys.argv[2:])).encode())
        """
    )
    for target in (path, pathlib.Path(path)):
        log, log_fd = os.pipe()
        with interlace.Group() as group:
            worker = group.start(target, log_fd, "a b", 3, 1.5)
            equal(worker.result(timeout=DEADLINE), None)
            equal(worker.name, "script.py-1")
        os.close(log_fd)
        equal(os.read(log, 1000), b"(True, ['a b', '3', '1.5'])")
        os.close(log)


def test_targets_that_are_none():
    """What cannot be started raises in start(), and says what can."""
    with interlace.Group() as group:
        for target, args, kind, words in [
            (5, (), TypeError, ["function", "module:function", "int"]),
            (None, (), TypeError, ["NoneType"]),
            ("no/such/script.py", (), FileNotFoundError, ["no/such/script.py"]),
            (__file__, ([1],), TypeError, ["sys.argv", "list", "start a function"]),
        ]:
            with raises(kind, *words):
                group.start(target, *args)
        with raises(TypeError, "keyword"):
            group.start(__file__, a=1)
        with raises(TypeError, "name"):
            group.start(pow, 1, 2, name=5)
        with raises(TypeError, "target"):
            group.start()
    with raises(ExceptionGroup) as caught, interlace.Group() as group:
        group.start(pow, 1)
    equal([type(error) for error in caught.error.exceptions], [TypeError])


def test_a_worker_object_stays_where_it_is():
    """It is not sent; the error says so. A worker dropped by everybody still runs."""
    sender, receiver = interlace.channel(2)
    with interlace.Group() as group:
        worker = group.start(pow, 1, 1)
        with raises(TypeError, "stays with the worker that started it"):
            sender.send([worker])
        group.start(echo_one, sender)
        del worker
        equal(receiver.recv(timeout=DEADLINE), "ran")


def echo_one(sender):
    sender.send("ran")


def test_replicas_know_index_and_count():
    """interlace run -n 3: three of them, index 0 to 2 of 3, names with numbers."""
    show = "import interlace\nme = interlace.current_worker()\nprint(me.index, me.count, me.name)\n"
    ended = run(show, words=["-n", "3"]).expect(0, None)
    equal(sorted(ended.out.splitlines()), ["0 3 script.py-1", "1 3 script.py-2", "2 3 script.py-3"])
    run(show).expect(0, "0 1 script.py\n")
