/* test_embed_guest.c - in an application that has started Python itself: with its lock held, and without. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "embedding.h"

#include <unistd.h>

static void start_python(void)
{
    Py_InitializeEx(0);
    CHECK(Py_IsInitialized());
}

static void finish_python(void)
{
    CHECK(PyThreadState_GetUnchecked() != NULL);
    CHECK(Py_FinalizeEx() == 0);
}

/* Runs a script in the application's own interpreter, with its lock held. */
static void run_here(const char *code)
{
    CHECK(PyThreadState_GetUnchecked() != NULL); /* it is held */
    CHECK_MSG(PyRun_SimpleString(code) == 0, "%s", code);
}

static bool holds_lock(void)
{
    return PyThreadState_GetUnchecked() != NULL;
}

/* A bit of everything; what has to be imported takes the main interpreter's lock. */
static void use(void)
{
    lace_value *value;
    bool held = holds_lock();
    check_result(start_function("json:loads", lace_value_build("(s)", "[1, 2]")), "[1, 2]");
    run_code("import _ctypes, _sqlite3, _decimal, array, mmap, select, interlace");
    lace_worker *worker = start_code("while True: pass");
    CHECK_STATUS(LACE_TIMEOUT, lace_worker_result(worker, WITHIN_MS(5), &value));
    CHECK_OK(lace_worker_cancel(worker));
    check_failure(worker, "Cancelled", "");
    CHECK(holds_lock() == held);
}

/* ---- opening and closing -------------------------------------------------------------------------------- */

typedef enum manner {
    WITH_LOCK = 1,    /* the thread holds the lock when it opens */
    CLOSES_WITH = 2,  /* and when it closes */
    OTHER_THREAD = 4, /* a thread that Python has not seen; with WITH_LOCK, by PyGILState_Ensure() */
} manner;

static void open_and_use(void *context)
{
    manner how = *(manner *)context;
    PyGILState_STATE state = PyGILState_UNLOCKED;
    PyThreadState *saved = NULL;
    if (how & OTHER_THREAD && how & WITH_LOCK)
        state = PyGILState_Ensure();
    else if (!(how & OTHER_THREAD) && !(how & WITH_LOCK))
        saved = PyEval_SaveThread();
    bool held = holds_lock();
    CHECK(held == ((how & WITH_LOCK) != 0));
    open_host(NULL);
    CHECK(holds_lock() == held);
    use();
    if (held)
        run_here("import sys, interlace; assert len(sys.modules) > 10");
    if (held && !(how & CLOSES_WITH))
        saved = PyEval_SaveThread();
    held = holds_lock();
    close_host();
    CHECK(holds_lock() == held);
    if (saved != NULL)
        PyEval_RestoreThread(saved);
    if (how & OTHER_THREAD && how & WITH_LOCK)
        PyGILState_Release(state);
}

START_TEST(test_guest_opens_and_closes)
{
    manner how = (manner)_i;
    start_python();
    for (int round = 0; round < 2; round++) {
        if (how & OTHER_THREAD) {
            thread other;
            PyThreadState *saved = PyEval_SaveThread();
            thread_start(&other, open_and_use, &how);
            thread_join(&other);
            PyEval_RestoreThread(saved);
        } else {
            open_and_use(&how);
        }
        run_here("import json; json.dumps([])"); /* Python is as before */
    }
    finish_python();
    CHECK_UINT(mapped_regions(), 0);
}
END_TEST

/* One thread opens with the lock held, the other without; both at once. */
static void open_without(void *context)
{
    lace_status *status = context;
    lace_host *opened;
    *status = lace_host_open(NULL, &opened);
    if (*status == LACE_OK)
        host = opened;
}

START_TEST(test_guest_opens_in_two_threads_at_once)
{
    start_python();
    for (size_t round = 0; round < test_scaled(20); round++) {
        thread other;
        lace_status theirs, ours;
        lace_host *opened;
        thread_start(&other, open_without, &theirs);
        if (round % 2)
            pass_ms(1);
        ours = lace_host_open(NULL, &opened);
        if (ours == LACE_OK)
            host = opened;
        else
            CHECK_STATUS(LACE_BUSY, ours);
        PyThreadState *saved = PyEval_SaveThread();
        thread_join(&other);
        PyEval_RestoreThread(saved);
        CHECK((ours == LACE_OK) != (theirs == LACE_OK) && (ours == LACE_BUSY || theirs == LACE_BUSY));
        close_host();
        CHECK_STATUS(LACE_CLOSED, lace_host_close(host));
    }
    finish_python();
}
END_TEST

START_TEST(test_guest_starts_python_again)
{
    for (int round = 0; round < 3; round++) {
        start_python();
        open_host(NULL);
        use();
        run_here("import interlace; s, r = interlace.channel(1); s.send(1); assert r.recv() == 1; del s, r");
        close_host();
        finish_python();
    }
}
END_TEST

/* Once the application's Python has gone, the library starts one, as if there had been none. */
START_TEST(test_guest_becomes_the_owner)
{
    start_python();
    open_host(NULL);
    use();
    close_host();
    finish_python();
    for (int round = 0; round < 2; round++) {
        open_host(NULL);
        CHECK(!holds_lock());
        use();
        close_host();
    }
}
END_TEST

/* ---- waits with the lock held ---------------------------------------------------------------------------- */

/* Each worker waits for the test, then imports what takes the main interpreter's lock, then answers. */
static const char answering[] = "import interlace\n"
                                "interlace.input.recv()\n"
                                "import _ctypes, _decimal, array, mmap, _ssl\n"
                                "interlace.output.send('answer')\n";

static lace_worker *start_answering(lace_receiver **ret_answers)
{
    lace_sender *feed, *output;
    lace_receiver *input;
    make_channel(1, &feed, &input);
    make_channel(0, &output, ret_answers);
    CHECK_OK(lace_send_value(feed, lace_value_none(), TRY));
    lace_sender_destroy(feed);
    return start_code_with(answering, input, output);
}

START_TEST(test_guest_waits_with_the_lock)
{
    lace_receiver *answers;
    lace_message *message;
    lace_group *group;
    lace_selector *selector;
    size_t index, count;
    start_python();
    open_host(NULL);
    CHECK_OK(lace_message_create(lace_host_region(host), &message));
    for (int way = 0; way < 6; way++) {
        lace_worker *worker = start_answering(&answers);
        lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = answers, .message = message},
                              {.kind = LACE_CASE_ENDED, .receiver = lace_worker_end(worker)}};
        switch (way) {
        case 0:
            check_received(answers, "'answer'");
            break;
        case 1:
            CHECK_OK(lace_recv(answers, message, NULL));
            break;
        case 2:
            CHECK_OK(lace_recv_many(answers, &message, 1, NULL, &count));
            break;
        case 3:
            CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
            CHECK_UINT(index, 0);
            break;
        case 4:
            CHECK_OK(lace_selector_create(cases, 2, &selector));
            CHECK_OK(lace_selector_wait(selector, 0, message, NULL, &index));
            CHECK_UINT(index, 0);
            lace_selector_destroy(selector);
            break;
        default:
            lace_receiver_close(answers);
            break;
        }
        CHECK(holds_lock());
        if (way < 5)
            check_result(worker, "None");
        else
            check_failure(worker, "BrokenChannel", "");
        CHECK(holds_lock());
        lace_receiver_destroy(answers);
    }
    CHECK_OK(lace_group_create(host, NULL, &group));
    for (int i = 0; i < 4; i++)
        CHECK_OK(lace_worker_start(host, &(lace_worker_options){.code = "import _ctypes, _decimal", .group = group},
                                   NULL));
    CHECK_OK(lace_group_wait(group, NULL));
    CHECK_OK(lace_worker_start(
        host, &(lace_worker_options){.code = "import _ctypes\nwhile True: pass", .group = group}, NULL));
    lace_group_destroy(group);
    CHECK(holds_lock());
    lace_message_destroy(message);
    close_host();
    finish_python();
}
END_TEST

/* A pipe is a channel, too; and a send waits as a receive does. */
START_TEST(test_guest_sends_with_the_lock)
{
    lace_sender *feed;
    lace_receiver *input;
    start_python();
    open_host(NULL);
    for (int way = 0; way < 2; way++) {
        if (way == 0)
            make_channel(0, &feed, &input);
        else
            CHECK_OK(lace_pipe_create(NULL, &feed, &input));
        lace_worker *worker = start_code_with("import interlace, _ctypes, _decimal, array\n"
                                              "assert sum(len(x) for x in interlace.input) == 300000 * 5\n",
                                              input, NULL);
        char *text = calloc(1, 300001);
        memset(text, 'x', 300000);
        for (int i = 0; i < 5; i++)
            CHECK_OK(lace_send_value(feed, lace_value_str(text), NULL));
        free(text);
        CHECK(holds_lock());
        lace_sender_destroy(feed);
        check_result(worker, "None");
    }
    close_host();
    finish_python();
}
END_TEST

/* The application's own Python threads run while one of them waits in a call. */
START_TEST(test_guest_lets_its_threads_run)
{
    lace_sender *sender;
    lace_receiver *receiver;
    start_python();
    open_host(NULL);
    make_channel(1, &sender, &receiver);
    run_here("import interlace, threading\n"
             "done = threading.Event()\n"
             "seen = []\n"
             "def run():\n"
             "    while not done.is_set(): seen.append(1)\n"
             "thread = threading.Thread(target=run); thread.start()\n"
             "before = len(seen)\n");
    lace_value *value;
    CHECK_STATUS(LACE_TIMEOUT, lace_recv_value(receiver, WITHIN_MS(100), &value));
    run_here("assert len(seen) > before + 10\n"
             "done.set(); thread.join()\n");
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    close_host();
    finish_python();
}
END_TEST

/* Threads of the application that come to Python by PyGILState_Ensure(). */
static void use_in_thread(void *context)
{
    for (int i = 0; i < 3; i++) {
        PyGILState_STATE state = PyGILState_Ensure();
        use();
        run_here("import math; assert math.floor(1.5) == 1");
        PyGILState_Release(state);
        use();
    }
    (void)context;
}

START_TEST(test_guest_threads_at_once)
{
    thread threads[3];
    start_python();
    open_host(NULL);
    PyThreadState *saved = PyEval_SaveThread();
    for (int i = 0; i < 3; i++)
        thread_start(&threads[i], use_in_thread, NULL);
    for (int i = 0; i < 3; i++)
        thread_join(&threads[i]);
    PyEval_RestoreThread(saved);
    use();
    close_host();
    finish_python();
}
END_TEST

/* ---- its own interpreters -------------------------------------------------------------------------------- */

static lace_value *who(lace_call *call, void *context)
{
    (void)context;
    return lace_value_build("[sv]", lace_call_worker(call), lace_value_share(lace_call_args(call)));
}

static lace_value *close_here(lace_call *call, void *context)
{
    (void)call;
    (void)context;
    return lace_value_str(status_name(lace_host_close(host)));
}

START_TEST(test_guest_uses_the_module)
{
    start_python();
    for (int round = 0; round < 2; round++) {
        open_host(NULL);
        CHECK_OK(lace_export(host, "who", who, NULL, 0));
        CHECK_OK(lace_export(host, "close", close_here, NULL, 0));
        run_here("import interlace, interlace.host\n"
                 "assert interlace.host.who(1, 'x') == ['main', (1, 'x')]\n"
                 "s, r = interlace.channel(4)\n"
                 "s.send([1, {}]); assert r.recv() == [1, {}]\n"
                 "with interlace.Group() as group:\n"
                 "    w = group.start('operator:mul', 6, 7)\n"
                 "assert w.result() == 42\n"
                 "with interlace.Group() as group:\n"
                 "    w = group.start('interlace.host:who')\n"
                 "assert w.result()[0] != 'main'\n"
                 "try: r.recv(timeout=0.01)\n"
                 "except TimeoutError: pass\n"
                 "s.send('kept')\n");
        if (round == 0)
            close_host();
        else
            run_here("assert interlace.host.close() == 'OK'"); /* by the application's own Python */
        run_here(
            "import interlace\n"
            "for call in (lambda: interlace.channel(1), lambda: interlace.Group().__enter__().start('builtins:len', 'x'),\n"
            "             lambda: interlace.Buffer(100), lambda: interlace.prestart(1), r.recv):\n"
            "    try: call()\n"
            "    except RuntimeError as error: assert 'closed' in str(error), error\n"
            "    else: assert False\n"
            "try: interlace.host.who()\n"
            "except AttributeError: pass\n"
            "else: assert False\n");
    }
    run_here("del s, r, w, group");
    finish_python();
}
END_TEST

/* Frozen modules of the application's stay where they are, and may even have a name that ours has. */
START_TEST(test_guest_keeps_its_frozen_modules)
{
    start_python();
    run_here("import marshal, sys\n"
             "sys.frozen_code = marshal.dumps(compile('answer = 42', 'mine', 'exec'))\n");
    static unsigned char kept[1000];
    PyObject *code = PySys_GetObject("frozen_code");
    CHECK((size_t)PyBytes_GET_SIZE(code) <= sizeof kept);
    memcpy(kept, PyBytes_AS_STRING(code), (size_t)PyBytes_GET_SIZE(code));
    static struct _frozen table[2];
    table[0] = (struct _frozen){"mine", kept, (int)PyBytes_GET_SIZE(code), 0};
    PyImport_FrozenModules = table;
    for (int round = 0; round < 3; round++) {
        open_host(NULL);
        run_code("import mine; assert mine.answer == 42");
        run_here("import mine, interlace; assert mine.answer == 42");
        close_host();
    }
    finish_python();
    open_host(NULL); /* also when the library starts Python */
    run_code("import mine, interlace; assert mine.answer == 42");
    close_host();
}
END_TEST

/* The thread has an interpreter of its own attached, not the main one. */
START_TEST(test_guest_in_another_interpreter)
{
    start_python();
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadState *other = Py_NewInterpreter();
    CHECK(other != NULL && PyThreadState_Get() == other);
    open_host(NULL);
    CHECK(PyThreadState_Get() == other);
    use();
    CHECK(PyThreadState_Get() == other);
    close_host();
    Py_EndInterpreter(other);
    PyThreadState_Swap(main_state);
    finish_python();
}
END_TEST

/* ---- what is done in the wrong order ---------------------------------------------------------------------- */

/* Python ends while the host is open, with a worker in it: it closes the host. */
static const char *const running[] = {
    "pass",
    "while True: pass",
    "import interlace\ns, r = interlace.channel(1)\nr.recv()",
    "import interlace\nwith interlace.Group() as group: group.start('interlace.host:nothing')\n",
};

START_TEST(test_guest_ends_with_the_host_open)
{
    start_python();
    open_host(NULL);
    run_here("import interlace; sender, receiver = interlace.channel(1); sender.send(1)");
    lace_worker *worker = start_code(running[_i]);
    finish_python();
    CHECK(lace_worker_ended(worker));
    lace_worker_destroy(worker);
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_host_close(host));
    start_python(); /* and again; the host of another Python, too */
    open_host(NULL);
    use();
    finish_python();
    open_host(NULL);
    use();
    close_host();
}
END_TEST

/* No keeper is there any more, who ends a wait of the main thread when Ctrl-C comes: what would wait says that the host is
 * closed. What need not wait is done. */
START_TEST(test_guest_waits_without_a_host)
{
    start_python();
    open_host(NULL);
    run_here("import interlace\n"
             "s, r = interlace.channel(2)\n"
             "with interlace.Group() as group: w = group.start('builtins:len', 'abc')\n"
             "s.send(1)\n");
    close_host();
    run_here("s.send(2)\n"
             "assert w.result() == 3 and w.done()\n"
             "waits = [lambda: s.send(3), lambda: s.send(3, timeout=3600), lambda: interlace.select((s, 3)),\n"
             "         lambda: interlace.select(interlace.after(3600)),\n"
             "         lambda: interlace.select((s, 3), interlace.after(3600)),\n"
             "         lambda: interlace.select((s, 3), timeout=3600)]\n"
             "for wait in waits:\n"
             "    try: wait()\n"
             "    except RuntimeError as error: assert 'closed' in str(error), error\n"
             "    else: assert False\n"
             "try: s.send(3, timeout=0)\n"
             "except TimeoutError: pass\n"
             "else: assert False\n"
             "del s, r, w, group, waits, wait\n");
    finish_python();
}
END_TEST

/* A group goes on to wait for its workers whatever signal handlers raise, but not when it cannot. */
START_TEST(test_guest_waits_for_a_group)
{
    start_python();
    open_host(NULL);
    run_here("import interlace\n"
             "class Interrupted:\n"
             "    times = 3\n"
             "    def _join(self):\n"
             "        self.times -= 1\n"
             "        if self.times: raise KeyboardInterrupt(self.times)\n"
             "class Starved:\n"
             "    def _join(self): return MemoryError('none left')\n"
             "group = interlace.Group()\n"
             "group._begin()\n"
             "assert group._join(Interrupted()).args == (1,)\n"
             "try: group._join(Starved())\n"
             "except MemoryError as error: assert error.args == ('none left',)\n"
             "else: assert False\n"
             "del group\n");
    close_host();
    finish_python();
}
END_TEST

TEST_MAIN("embed_guest", EMBED_LOOP(test_guest_opens_and_closes, 8), EMBED(test_guest_opens_in_two_threads_at_once),
          EMBED(test_guest_starts_python_again), EMBED(test_guest_becomes_the_owner),
          EMBED(test_guest_waits_with_the_lock), EMBED(test_guest_sends_with_the_lock),
          EMBED(test_guest_lets_its_threads_run), EMBED(test_guest_threads_at_once),
          EMBED(test_guest_uses_the_module), EMBED(test_guest_keeps_its_frozen_modules),
          EMBED(test_guest_in_another_interpreter),
          EMBED_LOOP(test_guest_ends_with_the_host_open, sizeof running / sizeof *running),
          EMBED(test_guest_waits_without_a_host), EMBED(test_guest_waits_for_a_group))
