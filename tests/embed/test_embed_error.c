/* test_embed_error.c - Python's exceptions as C has them: type, message, traceback. */
#include "embedding.h"

#include <unistd.h>

static const lace_error *failed(lace_worker *worker)
{
    lace_value *value = NULL;
    CHECK(worker != NULL);
    CHECK_STATUS(LACE_FAILED, lace_worker_result(worker, SOON, &value));
    CHECK(value == NULL);
    return lace_worker_error(worker);
}

START_TEST(test_error_says_type_message_and_traceback)
{
    const char *path = write_file("broken.py", "def outer(x):\n"
                                               "    inner(x)\n"
                                               "\n"
                                               "def inner(x):\n"
                                               "    raise KeyError('missing', x)\n");
    const char *folders[] = {own_folder(), NULL};
    (void)path;
    open_host(&(lace_host_options){.path = folders});
    lace_worker *worker = start_function("broken:outer", lace_value_build("(i)", 5));
    const lace_error *error = failed(worker);
    CHECK_TEXT(error->worker, lace_worker_name(worker));
    CHECK_TEXT(error->type, "KeyError");
    CHECK_TEXT(error->message, "('missing', 5)");
    char want[1024];
    snprintf(want, sizeof want,
             "Traceback (most recent call last):\n"
             "  File \"%s/broken.py\", line 2, in outer\n"
             "    inner(x)\n"
             "    ~~~~~^^^\n"
             "  File \"%s/broken.py\", line 5, in inner\n"
             "    raise KeyError('missing', x)\n"
             "KeyError: ('missing', 5)\n",
             own_folder(), own_folder());
    CHECK_TEXT(error->traceback, want);
    CHECK_MSG(strstr(lace_problem(), "outer-1") && strstr(lace_problem(), "KeyError: ('missing', 5)"), "%s",
              lace_problem());
    CHECK(lace_worker_error(worker) == error); /* lives as long as the handle */
    close_host();
    CHECK_TEXT(error->type, "KeyError");
    lace_worker_destroy(worker);
}
END_TEST

typedef struct failure {
    const char *code, *type, *message, *traceback;
} failure;

/* What people raise, and what they should not. */
static const failure failures[] = {
    {"raise ValueError", "ValueError", "", "ValueError\n"},
    {"class Odd(Exception): pass\nraise Odd('mine')", "Odd", "mine", "\nOdd: mine\n"},
    {"class A:\n  class B(Exception): pass\nraise A.B(1)", "A.B", "1", "A.B: 1"},
    {"raise ValueError('h\xc3\xa9\\n\\0 \\U0001f600')", "ValueError", "h\xc3\xa9\n", "ValueError: h\xc3\xa9\n"},
    {"raise ValueError('lone \\udc80')", "ValueError", "lone \\udc80", "ValueError: lone \\udc80\n"},
    {"try: 1 / 0\nexcept Exception as e: raise OSError(5, 'chained') from e", "OSError", "[Errno 5] chained",
     "The above exception was the direct cause"},
    {"e = ValueError('noted')\ne.add_note('a note')\nraise e", "ValueError", "noted", "a note\n"},
    {"raise ExceptionGroup('all', [ValueError(1), TypeError(2)])", "ExceptionGroup", "all (2 sub-exceptions)",
     "TypeError: 2"},
    {"def f(): f()\nf()", "RecursionError", "maximum recursion depth exceeded", "Previous line repeated"},
    {"import interlace\ns, r = interlace.channel(1); s.close(); r.recv()", "EndOfChannel", "", "EndOfChannel: "},
    {"class Shy(Exception):\n  def __str__(self): raise RuntimeError('no')\nraise Shy", "Shy",
     "<exception str() failed>", "Shy: <exception str() failed>\n"},
    {"class Rude(Exception):\n  def __str__(self): return 5\nraise Rude", "Rude", "<exception str() failed>",
     "Rude: "},
    {"class Wild(Exception):\n  def __reduce__(self): raise SystemExit(0)\nraise Wild('w')", "Wild", "w",
     "Wild: w\n"},
    {"raise KeyboardInterrupt('i')", "KeyboardInterrupt", "i", "KeyboardInterrupt: i\n"},
    {"raise BaseException('b')", "BaseException", "b", "BaseException: b\n"},
    {"import sys; sys.exit(3)", "SystemExit", "3", "SystemExit: 3\n"},
    {"import sys; sys.exit('text')", "SystemExit", "text", "SystemExit: text\n"},
    {"import sys; sys.exit(10 ** 30)", "SystemExit", "1000000000", "SystemExit: 1"},
    {"class Mute:\n  def __str__(self): raise SystemExit(0)\nraise SystemExit(Mute())", "SystemExit", "",
     "SystemExit"},
    {"class Mute:\n  def __str__(self): raise ValueError(0)\nraise SystemExit(Mute())", "SystemExit", "",
     "SystemExit"},
    {"import sys; sys.stderr = None; sys.stdout = None; sys.exit('text')", "SystemExit", "text",
     "SystemExit: text\n"},
    {"import os, sys; sys.modules['traceback'] = None; 1 / 0", "ZeroDivisionError", "", "ZeroDivisionError: "},
    {"import interlace; raise interlace.Cancelled('not really')", "Cancelled", "not really",
     "Cancelled: not really\n"},
    {"raise ValueError('x' * 3000000)", "ValueError", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "ValueError: xxxxx"},
    {"import asyncio\nasync def f(): raise LookupError('in a loop')\nasyncio.run(f())", "LookupError", "in a loop",
     "LookupError: in a loop\n"},
};

START_TEST(test_error_of_every_kind)
{
    const failure *want = &failures[_i];
    open_host(NULL);
    lace_worker *worker = start_code(want->code);
    const lace_error *error = failed(worker);
    CHECK_TEXT(error->type, want->type);
    CHECK_MSG(strncmp(error->message, want->message, strlen(want->message)) == 0, "the message is %s",
              error->message);
    CHECK_MSG(strstr(error->traceback, want->traceback), "the traceback is %s", error->traceback);
    CHECK(strstr(error->traceback, "<interlace>") == NULL); /* no frame of our own */
    lace_worker_destroy(worker);
    close_host();
}
END_TEST

START_TEST(test_error_of_an_extension_that_will_not_load)
{
    open_host(NULL);
    lace_worker *worker = start_code("import readline"); /* refuses interpreters with a GIL of their own */
    const lace_error *error = failed(worker);
    CHECK_MSG(strcmp(error->type, "ImportError") == 0 || strcmp(error->type, "ModuleNotFoundError") == 0, "%s",
              error->type);
    CHECK_MSG(strstr(error->message, "readline"), "%s", error->message);
    if (strcmp(error->type, "ImportError") == 0)
        CHECK_MSG(strstr(error->traceback, "isolation=\"process\""), "%s", error->traceback); /* the way out */
    lace_worker_destroy(worker);
    close_host();
}
END_TEST

START_TEST(test_error_of_a_worker_that_runs_or_ended_well)
{
    lace_sender *feed;
    lace_receiver *input;
    open_host(NULL);
    make_channel(1, &feed, &input);
    lace_worker *worker = start_code_with("import interlace; interlace.input.recv()", input, NULL);
    CHECK(lace_worker_error(worker) == NULL && !lace_worker_ended(worker));
    CHECK_OK(lace_send_value(feed, lace_value_none(), SOON));
    CHECK_OK(lace_worker_wait(worker, SOON));
    CHECK(lace_worker_error(worker) == NULL && lace_worker_ended(worker));
    check_result(worker, "None");
    check_result(start_code("import sys; sys.exit()"), "None");
    check_result(start_code("import sys; sys.exit(0)"), "None");
    lace_sender_destroy(feed);
    close_host();
}
END_TEST

/* An exception that runs code, or lies, when it is pickled must not end in anything but itself; nothing of it runs here. */
START_TEST(test_error_of_a_result_that_will_not_pickle)
{
    const char *folders[] = {own_folder(), NULL};
    write_file("wild.py", "class Wild:\n"
                          "    def __reduce__(self): raise LookupError('not me')\n"
                          "class Evil:\n"
                          "    def __reduce__(self): return (print, ('evil',))\n");
    open_host(&(lace_host_options){.path = folders});
    check_failure(start_function("wild:Wild", NULL), "LookupError", "not me");
    check_failure(start_function("threading:Lock", NULL), "TypeError", "pickle");
    lace_value *value = NULL;
    lace_worker *worker = start_function("wild:Evil", NULL);
    CHECK_STATUS(LACE_NOT_PLAIN, lace_worker_result(worker, SOON, &value));
    CHECK(value == NULL && lace_worker_error(worker) == NULL);
    lace_worker_destroy(worker);
    close_host();
}
END_TEST

/* Standard error goes into a pipe from the first to the second, which gives what came. */
static int kept_error, printed[2];

static void take_error(void)
{
    kept_error = dup(2);
    CHECK(kept_error > 2 && pipe(printed) == 0 && dup2(printed[1], 2) == 2);
}

static const char *give_error_back(void)
{
    static char text[4096];
    CHECK(dup2(kept_error, 2) == 2 && close(printed[1]) == 0);
    ssize_t size = read(printed[0], text, sizeof text - 1); /* one write each, and all is written: the host is closed */
    text[size > 0 ? size : 0] = '\0';
    return text;
}

START_TEST(test_error_prints_nothing)
{
    lace_group *group;
    take_error();
    open_host(NULL);
    lace_worker *worker = start_code("1 / 0");
    failed(worker);
    lace_worker_destroy(worker);
    CHECK_OK(lace_group_create(host, NULL, &group)); /* that hears of it */
    CHECK_OK(lace_worker_start(host, &(lace_worker_options){.code = "1 / 0", .group = group}, NULL));
    CHECK_STATUS(LACE_FAILED, lace_group_wait(group, SOON));
    lace_group_destroy(group);
    close_host();
    CHECK_TEXT(give_error_back(), "");
}
END_TEST

/* Nobody has a handle to ask with: it is said on standard error, as of any uncaught exception (W9); a cancelled one has
 * nothing to say. */
START_TEST(test_error_that_nobody_can_ask_for)
{
    static const char *const names[] = {"without a handle", "destroyed", "cancelled"};
    take_error();
    open_host(NULL);
    for (int way = 0; way < 3; way++) {
        lace_sender *go, *output;
        lace_receiver *input, *ended;
        lace_worker *worker = NULL;
        lace_value *none;
        make_channel(1, &go, &input);
        make_channel(0, &output, &ended);
        lace_worker_options options = {.code = "import interlace\ninterlace.input.recv()\nraise LookupError('unheard')",
                                       .name = names[way],
                                       .input = input,
                                       .output = output};
        CHECK_OK(lace_worker_start(host, &options, way == 0 ? NULL : &worker));
        if (way == 2)
            CHECK_OK(lace_worker_cancel(worker));
        lace_worker_destroy(worker);
        if (way < 2)
            CHECK_OK(lace_send_value(go, lace_value_none(), SOON));
        CHECK_STATUS(LACE_END, lace_recv_value(ended, SOON, &none)); /* its ends are gone: it has ended */
        lace_sender_destroy(go);
        lace_receiver_destroy(ended);
    }
    close_host();
    const char *text = give_error_back();
    CHECK_MSG(strstr(text, "interlace: worker 'without a handle' failed:\nTraceback"), "%s", text);
    CHECK_MSG(strstr(text, "interlace: worker 'destroyed' failed:\nTraceback"), "%s", text);
    CHECK_MSG(strstr(text, "LookupError: unheard\n"), "%s", text);
    CHECK_MSG(strstr(text, "'cancelled'") == NULL, "%s", text);
}
END_TEST

TEST_MAIN("embed_error", EMBED(test_error_says_type_message_and_traceback),
          EMBED_LOOP(test_error_of_every_kind, sizeof failures / sizeof *failures),
          EMBED(test_error_of_an_extension_that_will_not_load), EMBED(test_error_of_a_worker_that_runs_or_ended_well),
          EMBED(test_error_of_a_result_that_will_not_pickle), EMBED(test_error_prints_nothing),
          EMBED(test_error_that_nobody_can_ask_for))
