"""interlace.interpreters: calls, state, closing, ending, cancelling."""

import gc
import os
import signal
import threading

import interlace
from interlace import interpreters
from support import BINARY, DEADLINE, Thread, asleep, command, equal, raises, run, start, wait_until, write


def threads_named(prefix):
    """The threads of this process whose name begins so."""
    found = []
    for tid in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{tid}/comm") as file:
                name = file.read().strip()
        except OSError:
            continue
        if name.startswith(prefix):
            found.append(int(tid))
    return found


def all_have_ended():
    gc.collect()
    return not threads_named("interpreter-")


# ---- calls -------------------------------------------------------------------------------------------------------

factor = 3
loaded = []


class Point:
    def __init__(self, x):
        self.x = x

    def moved(self, by):
        return Point(self.x + by)

    def __eq__(self, other):
        return type(other) is Point and other.x == self.x


def times(x):
    loaded.append(x)
    return x * factor, len(loaded)


def test_functions_of_a_module_and_their_state():
    """A module's function runs among its globals, which are the interpreter's own and last."""
    interp = interpreters.create()
    equal(interp.call(times, 5), (15, 1))
    equal(interp.call(times, 6), (18, 2))
    equal(loaded, [])
    equal(interp.call(Point(1).moved, 2), Point(3))
    interp.close()


SCRIPT = """
    from interlace import interpreters

    count = 10

    class Point:
        def __init__(self, x):
            self.x = x

    def helper(x):
        return x + 1

    def next_count(point):
        global count
        count = helper(count)
        return Point((point.x, count, __name__))

    def put(queue):
        queue.put(Point("from a queue"))

    if __name__ == "__main__":
        interp = interpreters.create()
        interp.exec("count = 'its own'\\ndef helper(x): return None\\nclass Point: pass")
        print(interp.call(next_count, Point(1)).x, interp.call(next_count, Point(2)).x, count)
        print(interp.call(eval, "count, helper(1)"))
        queue = interpreters.create_queue()
        other = interpreters.create()
        other.call(put, queue)
        print(queue.get().x, other.call(dir))
"""


def test_w5_functions_and_classes_of_the_script():
    """They are looked up among the script's definitions, not among what exec() has put into __main__."""
    run(SCRIPT).expect(
        out="(1, 11, '__main__') (2, 12, '__main__') 10\n"
        "('its own', None)\n"
        "from a queue ['__builtins__', '__doc__', '__loader__', '__name__', '__package__', '__spec__']\n"
    )


def test_w5_a_script_that_makes_interpreters_as_it_is_defined():
    """It is told what to do, instead of making interpreters in interpreters."""
    run(
        """
        from interlace import interpreters
        interp = interpreters.create()
        one = 1
        def plus(x): return x + one
        interp.call(plus, 1)
        """
    ).expect(1, err=("NotShareableError", "while its definitions are loaded", '__name__ == "__main__"'))


def test_a_failure_says_what_happened():
    """ExecutionFailed has the type, the text and the traceback; the interpreter goes on."""
    interp = interpreters.create()
    with raises(interpreters.ExecutionFailed, "ZeroDivisionError: division by zero", 'File "<script>", line 2') as caught:
        interp.exec("def f():\n    1 / 0\nf()")
    excinfo = caught.error.excinfo
    equal((excinfo.type.__name__, excinfo.type.__module__), ("ZeroDivisionError", "builtins"))
    equal((excinfo.msg, excinfo.formatted), ("division by zero", "ZeroDivisionError: division by zero"))
    assert "<interlace>" not in excinfo.errdisplay, excinfo.errdisplay
    for code, name in (("raise SystemExit(3)", "SystemExit"), ("raise KeyboardInterrupt", "KeyboardInterrupt")):
        with raises(interpreters.ExecutionFailed, name):
            interp.exec(code)
    with raises(interpreters.ExecutionFailed, "ValueError"):
        interp.call(int, "x")
    equal(interp.call(eval, "f.__name__"), "f")
    assert not interp.is_running()
    interp.close()


def answer(x):
    return x


def test_what_cannot_be_called():
    """What does not travel is said to the caller: the callable, an argument, the result; and what is no code."""
    interp = interpreters.create()
    captured = 1
    not_shareable = interpreters.NotShareableError
    with raises(not_shareable, "closure", "top level"):
        interp.call(lambda: captured)
    with raises(not_shareable, "'interpreters'"):
        interp.call(lambda: interpreters)
    with raises(not_shareable, "defaults"):
        interp.call(lambda x=[]: x)
    with raises(not_shareable):
        interp.call(answer, threading.Lock())
    with raises(not_shareable, "lock"):
        interp.call(threading.Lock)
    with raises(TypeError, "callable"):
        interp.call("abs", 1)
    with raises(SyntaxError):
        interp.exec("1 +")
    for code, error in ((1, TypeError), (print, TypeError), (answer, ValueError), (lambda: 5, ValueError)):
        with raises(error):
            interp.exec(code)
    for values, error in (({}, ValueError), ({1: 2}, TypeError), ({"x": threading.Lock()}, not_shareable)):
        with raises(error):
            interp.prepare_main(values)
    equal(interp.call(dir), interp.call(eval, "dir()"))
    equal(interp.call(lambda f, *, g: (f(2), g), lambda x: x * x, g=(1, [2])), (4, (1, [2])))
    interp.close()


def test_anything_that_pickles_can_be_bound():
    """prepare_main takes dicts, objects, queues, ends and functions; exec sees them."""
    interp = interpreters.create()
    sender, receiver = interlace.channel(1)
    interp.prepare_main({"settings": {"deep": [1, 2]}}, sender=sender, double=lambda x: 2 * x)
    interp.exec("sender.send((settings, double(4)))")
    equal(receiver.recv(timeout=DEADLINE), ({"deep": [1, 2]}, 8))
    sender.close()
    interp.close()
    with raises(interlace.EndOfChannel):
        receiver.recv(timeout=DEADLINE)


def count_in_workers(numbers):
    with interlace.Group() as group:
        workers = [group.start(times, n) for n in numbers]
        return [worker.result(timeout=DEADLINE)[0] for worker in workers]


def test_workers_and_interpreters_in_interpreters():
    """A Group inside a call, an interpreter inside a call."""
    interp = interpreters.create()
    equal(interp.call(count_in_workers, [1, 2]), [3, 6])
    equal(interp.call(call_in_another, times, 7), (21, 1))
    interp.close()


def call_in_another(function, x):
    interp = interpreters.create()
    try:
        return interp.call(function, x)
    finally:
        interp.close()


def test_what_is_printed_comes_in_order():
    """What an interpreter prints is there when the call returns, not when it ends."""
    run(
        """
        from interlace import interpreters
        interp = interpreters.create()
        print("first", flush=True)
        interp.exec("print('second')")
        print("third", flush=True)
        interp.call(print, "fourth")
        """
    ).expect(out="first\nsecond\nthird\nfourth\n")


def test_an_end_of_output_is_quiet():
    """As in `| head`: an interpreter whose output nobody reads any more ends the script without a word."""
    path = write(
        """
        from interlace import interpreters
        interp = interpreters.create()
        interp.exec("for n in range(1_000_000): print(n)")
        """
    )
    command("sh", "-c", f"'{BINARY}' run '{path}' | head -n 1").expect(out="0\n")


# ---- running, closing, ending ------------------------------------------------------------------------------------


def test_one_thing_at_a_time():
    """What executes something refuses everything else, close() too, and is free when it has ended."""
    queue = interpreters.create_queue()
    interp = interpreters.create()
    assert not interp.is_running()
    thread = interp.call_in_thread(answer_when_told, queue)
    wait_until(interp.is_running, "the interpreter to run")
    for refused in (
        lambda: interp.exec("1"),
        lambda: interp.call(abs, 1),
        lambda: interp.prepare_main(x=1),
        interp.close,
    ):
        with raises(interpreters.InterpreterError, "running"):
            refused()
    queue.put("go")
    thread.join()
    assert not interp.is_running()
    interp.close()
    for refused in (lambda: interp.exec("1"), lambda: interp.prepare_main(x=1), interp.close, interp.is_running):
        with raises(interpreters.InterpreterNotFoundError):
            refused()


def answer_when_told(queue):
    return queue.get()


def test_close_waits_for_threads_that_wait():
    """A thread that the code has left behind waits in get(): close() waits for it, and an item ends both."""
    queue, out = interpreters.create_queue(), interpreters.create_queue()
    interp = interpreters.create()
    interp.prepare_main(queue=queue, out=out)
    interp.exec("import threading; threading.Thread(target=lambda: out.put(queue.get())).start()")
    assert not interp.is_running()
    closer = Thread(interp.close).asleep()
    queue.put("the last item")
    closer.result()
    equal(out.get(timeout=DEADLINE), "the last item")


def test_current_main_and_others():
    """Which interpreters there are: the script's, those made here, those that a Group has started."""
    interp = interpreters.create()
    main = interpreters.get_main()
    assert main is interpreters.get_current() is interpreters.Interpreter(0)
    equal(interpreters.list_all(), [main, interp])
    equal((main.whence, interp.whence), ("runtime init", "_interpreters module"))
    for refused in (main.close, lambda: main.exec("1"), lambda: main.call(abs, 1), lambda: main.prepare_main(x=1)):
        with raises(interpreters.InterpreterError, "unrecognized"):
            refused()
    with interlace.Group() as group:
        ident, whence, running, ids, refused = group.start(look_around).result(timeout=DEADLINE)
    equal((whence, running, refused), ("C-API", True, True))
    assert set(ids) == {main.id, interp.id, ident}, ids
    interp.exec("from interlace import interpreters; me = interpreters.get_current()")
    equal(interp.call(eval, "me.id, me.is_running(), me in interpreters.list_all()"), (interp.id, True, True))
    for code, word in (("me.close()", "current"), ("me.exec('1')", "running")):
        with raises(interpreters.ExecutionFailed, "InterpreterError", word):
            interp.exec(code)
    interp.close()
    equal(interpreters.list_all(), [main])


def look_around():
    me = interpreters.get_current()
    try:
        me.close()
        refused = False
    except interpreters.InterpreterError:
        refused = True
    return me.id, me.whence, me.is_running(), [interp.id for interp in interpreters.list_all()], refused


def test_an_interpreter_that_nobody_names_ends():
    """Dropping the last reference ends it, also when it knows itself, and when the code in it made another."""
    interp = interpreters.create()
    interp.exec("from interlace import interpreters; me = interpreters.get_current(); other = interpreters.create()")
    equal(len(interpreters.list_all()), 3)
    del interp
    wait_until(all_have_ended, "both to end")
    equal(len(interpreters.list_all()), 1)


def test_the_process_ends_with_interpreters_left():
    """Left open, knowing each other, with a queue that holds itself, with a thread that still has something to do."""
    run(
        """
        from interlace import interpreters
        first, second = interpreters.create(), interpreters.create()
        first.prepare_main(other=second)
        second.prepare_main(other=first)
        queue = interpreters.create_queue()
        queue.put(queue)
        queue.put(first)
        second.exec('''if True:
            import threading, time
            def late():
                time.sleep(0.2)
                print("late")
            threading.Thread(target=late).start()
            ''')
        print("the script has ended", flush=True)
        """
    ).expect(out="the script has ended\nlate\n")


def test_nothing_leaks():
    """Some 180 interpreters and queues made, used and closed: memory, descriptors, threads and queues as before."""

    def cycle(count):
        for n in range(count):
            interp, queue = interpreters.create(), interpreters.create_queue()
            interp.prepare_main(queue=queue)
            interp.exec("from interlace import interpreters; queue.put(bytes(100_000)); queue.put(queue)")
            try:  # not `with raises`, whose error keeps the interpreter until the next garbage collection
                interp.call(int, "x")
            except interpreters.ExecutionFailed:
                pass
            equal((len(queue.get()), queue.get()), (100_000, queue))
            if n % 2:
                interp.close()

    def measure():
        wait_until(all_have_ended, "the interpreters to end")
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))

    cycle(30)
    before, files = measure()
    cycle(150)
    after, files_after = measure()
    print(f"{before:.1f} MB before, {after:.1f} MB after")
    assert after - before < 20, f"{before:.1f} MB before, {after:.1f} MB after"
    equal(files_after, files)


def test_prestart_serves_interpreters_too():
    """One that stands ready is taken by create()."""
    interlace.prestart(1, preload=["colorsys"], timeout=DEADLINE)
    try:
        interp = interpreters.create()
        assert interp.call(eval, "'colorsys' in __import__('sys').modules")
        interp.close()
    finally:
        interlace.prestart(0)


# ---- cancelling --------------------------------------------------------------------------------------------------


def get_for_ever(queue):
    queue.get()


def fail_when_told(queue):
    queue.get()
    raise ValueError("on purpose")


def test_a_group_cancels_waits():
    """A worker that waits in get() or put() ends when a sibling fails."""
    never, full, go = (interpreters.create_queue(1) for _ in range(3))
    full.put("full")
    with raises(ExceptionGroup) as caught, interlace.Group() as group:
        group.start(get_for_ever, never)
        group.start(full.put, "more")
        group.start(fail_when_told, go)
        go.put("go")
    equal([type(error) for error in caught.error.exceptions], [ValueError])


def test_a_cancelled_caller_takes_its_interpreter_along():
    """The group is cancelled during a call: the code gets Cancelled and runs its finally; close() is still right."""
    never, said, go = (interpreters.create_queue() for _ in range(3))
    interp = interpreters.create()
    interp.prepare_main(never=never, said=said)
    waiting = "said.put('waits')\ntry:\n    never.get()\nfinally:\n    said.put('ends')"
    with raises(ExceptionGroup) as caught, interlace.Group() as group:
        group.start(fail_when_told, go)
        threading.Thread(target=lambda: go.put(said.get(timeout=DEADLINE))).start()
        try:
            interp.exec(waiting)
        finally:
            interp.close()
    equal([type(error) for error in caught.error.exceptions], [ValueError])
    equal(said.get(timeout=DEADLINE), "ends")
    with raises(interpreters.InterpreterNotFoundError):
        interp.close()


def test_a_cancelled_interpreter_says_so():
    """Another use of one that was cancelled with its caller is refused with the reason; close() is not."""
    never, go = interpreters.create_queue(), interpreters.create_queue()
    interp = interpreters.create()
    with raises(ExceptionGroup), interlace.Group() as group:
        group.start(fail_when_told, go)
        waiter = threading.Timer(0, lambda: wait_until(interp.is_running, "it to run") and go.put("go"))
        waiter.start()
        interp.call(get_for_ever, never)
    with raises(interpreters.InterpreterError, "was cancelled"):
        interp.exec("1")
    interp.close()


INTERRUPTED = {
    "get": "queue.get()",
    "put": "full.put(1)",
    "exec": "interp.exec('queue.get()')",
    "call of a loop": "interp.exec('while True: pass')",
    "call_in_thread": "interp.call_in_thread(get, queue)",
    "close": "interp.exec('import threading; threading.Thread(target=queue.get).start()'); interp.close()",
}


def test_w4_ctrl_c():
    """Ctrl-C ends every wait at once, runs finally blocks, and the exit code is 130."""
    for what, code in INTERRUPTED.items():
        script = f"""
            from interlace import interpreters
            def get(queue): queue.get()
            if __name__ == "__main__":
                interp = interpreters.create()
                queue, full = interpreters.create_queue(), interpreters.create_queue(1)
                full.put(0)
                interp.prepare_main(queue=queue)
                try:
                    print("ready", flush=True)
                    {code}
                finally:
                    print("finally", flush=True)
            """
        with start(script) as started:
            started.printed("ready")
            if what != "call of a loop":
                asleep(*started.threads(), pid=started.pid)
            started.send_signal(signal.SIGINT)
            ended = started.end()
        print(f"{what}: {ended.seconds:.2f} s")
        ended.expect(130, out=("ready", "finally"))


def test_an_interpreter_that_cannot_be_made_says_so():
    """No memory for a thread, and surroundings that cannot be rebuilt: InterpreterError, with the reason."""
    run(
        """
        import sys, types, warnings
        from interlace import interpreters

        module = types.ModuleType("made_up")
        exec("class Odd(Warning): pass", vars(module))
        sys.modules["made_up"] = module
        warnings.simplefilter("ignore", module.Odd)
        interp = interpreters.create()
        try:
            interp.exec("1")
        except interpreters.InterpreterError as error:
            print(error)
        interp.close()
        """
    ).expect(out=("has ended", "made_up"))
    run(
        """
        import resource
        from interlace import interpreters

        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 20),) * 2)
        try:
            interpreters.create()
        except interpreters.InterpreterError as error:
            print(error)
        """
    ).expect(out=("cannot be started", "threads"))
