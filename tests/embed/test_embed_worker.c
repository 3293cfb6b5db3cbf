/* test_embed_worker.c - what a worker is told to do, and what comes of it. */
#include "embedding.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

static lace_worker *start_with(const lace_worker_options *options)
{
    lace_worker *worker = NULL;
    lace_status status = lace_worker_start(host, options, &worker);
    CHECK_MSG(status == LACE_OK, "lace_worker_start gave %s: %s", status_name(status), lace_problem());
    return worker;
}

/* ---- what it is to do --------------------------------------------------------------------------------- */

START_TEST(test_worker_calls_a_function)
{
    open_host(NULL);
    lace_worker_options options = {.function = "builtins:dict",
                                   .args = lace_value_build("[((si))]", "a", 1), /* a list will do, too */
                                   .kwargs = lace_value_build("{s[dn]sb}", "b", 0.5, "c", true)};
    check_result(start_with(&options), "{'a': 1, 'b': [0.5, None], 'c': True}");
    options = (lace_worker_options){.function = "os.path:join", .args = lace_value_build("(ss)", "x", "y")};
    check_result(start_with(&options), "'x/y'");
    options = (lace_worker_options){.function = "builtins:str.upper", .args = lace_value_build("(s)", "dotted")};
    check_result(start_with(&options), "'DOTTED'");
    options = (lace_worker_options){.function = "builtins:list"};
    check_result(start_with(&options), "[]");
    close_host();
}
END_TEST

START_TEST(test_worker_runs_a_file)
{
    const char *path = write_file("script.py", "import os.path, sys, beside\n"
                                               "assert __name__ == '__main__' and __file__ == sys.argv[0]\n"
                                               "assert os.path.basename(sys.argv[0]) == 'script.py', sys.argv\n"
                                               "assert sys.argv[1:] == ['--flag', '', 'gr\\xfc\\xdfe'], sys.argv\n"
                                               "if beside.fails: sys.exit(3)\n");
    write_file("beside.py", "fails = False\n"); /* its folder comes first in sys.path */
    open_host(NULL);
    lace_worker_options options = {.file = path,
                                   .args = lace_value_build("(sss)", "--flag", "",
                                                            "gr\xc3\xbc\xc3\x9f"
                                                            "e")};
    check_result(start_with(&options), "None");
    check_failure(start_with(&(lace_worker_options){.file = "/nowhere/at/all.py"}), "FileNotFoundError", "all.py");
    check_failure(start_with(&(lace_worker_options){.file = write_file("bad.py", "x = (\n")}), "SyntaxError",
                  "never closed");
    close_host();
}
END_TEST

START_TEST(test_worker_runs_code)
{
    open_host(NULL);
    lace_worker_options options = {.code = "import sys\n"
                                           "assert sys.argv == ['-c', 'one', 'two'], sys.argv\n"
                                           "def f(): return __name__\n"
                                           "assert f() == '__main__'\n",
                                   .args = lace_value_build("[ss]", "one", "two")};
    check_result(start_with(&options), "None");
    check_failure(start_code("x = 1 +"), "SyntaxError", "invalid syntax");
    check_result(start_code("# nothing"), "None");
    close_host();
}
END_TEST

START_TEST(test_worker_runs_a_module)
{
    const char *path[] = {own_folder(), NULL};
    char command[200];
    snprintf(command, sizeof command, "mkdir '%s/package'", own_folder());
    CHECK(system(command) == 0);
    write_file("package/__init__.py", "");
    write_file("package/__main__.py",
               "import sys\n"
               "from . import part\n"
               "assert sys.argv[0].endswith('package/__main__.py') and sys.argv[1:] == ['arg']\n");
    write_file("package/part.py", "assert __name__ == 'package.part'\n");
    open_host(&(lace_host_options){.path = path});
    lace_worker_options options = {.module = "package", .args = lace_value_build("(s)", "arg")};
    check_result(start_with(&options), "None");
    check_failure(start_with(&(lace_worker_options){.module = "no.such.module"}), "ImportError", "no.such.module");
    close_host();
}
END_TEST

START_TEST(test_worker_has_input_and_output)
{
    lace_sender *feed, *output;
    lace_receiver *input, *results;
    open_host(NULL);
    make_channel(4, &feed, &input);
    make_channel(4, &output, &results);
    lace_worker *worker = start_code_with("from interlace import input, output\n"
                                          "for x in input: output.send(x * 2)\n"
                                          "output.send('done')\n",
                                          input, output);
    CHECK_OK(lace_send_value(feed, lace_value_int(21), SOON));
    check_received(results, "42");
    CHECK_OK(lace_send_value(feed, lace_value_str("ab"), SOON));
    check_received(results, "'abab'");
    CHECK_TEXT(lace_sender_closed(feed) ? "closed" : "open", "open");
    lace_sender_destroy(feed); /* the last sender: the worker's loop ends */
    check_received(results, "'done'");
    lace_value *none = NULL;
    CHECK_STATUS(LACE_END, lace_recv_value(results, SOON, &none)); /* and the worker's was the last here */
    check_result(worker, "None");
    lace_receiver_destroy(results);
    /* A function has them, too; who has none is told so. */
    make_channel(4, &output, &results);
    lace_worker_options options = {
        .function = "interlace:output.send", .args = lace_value_build("(i)", 5), .output = output};
    check_result(start_with(&options), "None");
    check_received(results, "5");
    lace_receiver_destroy(results);
    run_code("import interlace\n"
             "try: interlace.input\n"
             "except AttributeError: pass\n"
             "else: assert False\n");
    close_host();
}
END_TEST

START_TEST(test_worker_starts_and_talks_to_workers_of_its_own)
{
    open_host(NULL);
    lace_receiver *told = open_tell();
    run_code("import interlace, interlace.host\n"
             "def square(x): interlace.host.tell(interlace.current_worker().name); return x * x\n"
             "with interlace.Group() as group:\n"
             "    a = [group.start(square, i) for i in range(3)]\n"
             "assert [w.result() for w in a] == [0, 1, 4]\n");
    for (int i = 0; i < 3; i++)
        lace_value_destroy(receive(told));
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

/* ---- names -------------------------------------------------------------------------------------------- */

static void check_name(lace_worker_options options, const char *want, bool numbered)
{
    lace_worker *worker = start_with(&options);
    const char *name = lace_worker_name(worker);
    CHECK_MSG(numbered ? strncmp(name, want, strlen(want)) == 0 && strtol(name + strlen(want), NULL, 10) > 0
                       : strcmp(name, want) == 0,
              "the name is %s", name);
    const lace_error *error;
    CHECK_OK(lace_worker_wait(worker, SOON));
    if ((error = lace_worker_error(worker)) != NULL)
        CHECK_TEXT(error->worker, name);
    lace_worker_destroy(worker);
}

START_TEST(test_worker_names)
{
    open_host(NULL);
    check_name((lace_worker_options){.code = "pass", .name = "given"}, "given", false);
    check_name((lace_worker_options){.code = "1 / 0", .name = "gr\xc3\xbcn, with spaces"}, "gr\xc3\xbcn, with spaces",
               false);
    check_name((lace_worker_options){.code = "pass", .name = ""}, "", false);
    check_name((lace_worker_options){.code = "pass"}, "-c-", true);
    check_name((lace_worker_options){.file = "/a/b/c.py"}, "c.py-", true);
    check_name((lace_worker_options){.file = "c.py"}, "c.py-", true);
    check_name((lace_worker_options){.module = "a.b"}, "a.b-", true);
    check_name((lace_worker_options){.function = "a.b:c.d"}, "c.d-", true);
    CHECK_TEXT(lace_worker_name(NULL), "");
    close_host();
}
END_TEST

/* Whatever name it is given, the worker runs, and Python can read its name. */
START_TEST(test_worker_name_that_is_long_or_no_text)
{
    char wide[1001] = "";
    for (size_t i = 0; i < 500; i++)
        strcat(wide, "\xc3\xa9");
    const char *const names[] = {wide, wide + 1, "\xff\xfe", "a\nb\x01", "\xed\xa0\x80"};
    open_host(NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lace_worker_options options = {.code = "import interlace\n"
                                               "name = interlace.current_worker().name\n"
                                               "name.encode()\n"
                                               "raise ValueError(name)",
                                       .name = names[i]};
        lace_worker *worker = start_with(&options);
        check_failure(worker, "ValueError", "");
    }
    close_host();
}
END_TEST

/* ---- what is refused ---------------------------------------------------------------------------------- */

typedef struct refusal {
    lace_status status;
    const char *words;
    lace_worker_options options;
} refusal;

START_TEST(test_worker_options_that_are_refused)
{
    open_host(NULL);
    lace_value *list = lace_value_list();
    const refusal all[] = {
        {LACE_INVALID, "exactly one", {0}},
        {LACE_INVALID, "exactly one", {.code = "pass", .file = "x.py"}},
        {LACE_INVALID, "exactly one", {.code = "pass", .module = "x"}},
        {LACE_INVALID, "exactly one", {.function = "a:b", .module = "x"}},
        {LACE_INVALID, "exactly one", {.function = "a:b", .file = "x", .code = "x", .module = "x"}},
        {LACE_INVALID, "module:function", {.function = "len"}},
        {LACE_INVALID, "module:function", {.function = ":len"}},
        {LACE_INVALID, "module:function", {.function = ""}},
        {LACE_INVALID, "empty", {.file = ""}},
        {LACE_INVALID, "empty", {.module = ""}},
        {LACE_INVALID, "tuple or a list", {.function = "a:b", .args = lace_value_int(1)}},
        {LACE_INVALID, "tuple or a list", {.function = "a:b", .args = lace_value_str("x")}},
        {LACE_INVALID, "tuple or a list", {.function = "a:b", .args = lace_value_dict()}},
        {LACE_INVALID, "must be str", {.code = "pass", .args = lace_value_build("(si)", "x", 1)}},
        {LACE_INVALID, "must be str", {.file = "x.py", .args = lace_value_build("[n]")}},
        {LACE_INVALID, "must be str", {.module = "x", .args = lace_value_build("(y#)", "x", (size_t)1)}},
        {LACE_INVALID, "a dict", {.function = "a:b", .kwargs = lace_value_build("(s)", "x")}},
        {LACE_INVALID, "must be str", {.function = "a:b", .kwargs = lace_value_build("{is}", 1, "x")}},
        {LACE_INVALID, "for a function", {.code = "pass", .kwargs = lace_value_dict()}},
        {LACE_INVALID, "for a function", {.file = "x.py", .kwargs = lace_value_dict()}},
        {LACE_INVALID, "could not be built", {.function = "a:b", .args = lace_value_build("(s)", "\xff")}},
        {LACE_INVALID, "could not be built", {.function = "a:b", .kwargs = lace_value_build("{ss}", "x", "\xff")}},
        {LACE_INVALID, "UTF-8", {.code = "print('\xff')"}},
        {LACE_INVALID, "UTF-8", {.function = "a:\xff"}},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        lace_sender *feed, *output;
        lace_receiver *input, *results;
        make_channel(1, &feed, &input);
        make_channel(1, &output, &results);
        lace_worker_options options = all[i].options;
        options.input = input;
        options.output = output;
        lace_worker *worker = NULL;
        lace_status status = lace_worker_start(host, &options, &worker);
        CHECK_MSG(status == all[i].status && strstr(lace_problem(), all[i].words), "refusal %zu: %s, %s", i,
                  status_name(status), lace_problem());
        CHECK(worker == NULL);
        /* What it says it takes is taken all the same. */
        lace_value *none;
        CHECK_STATUS(LACE_BROKEN, lace_send_value(feed, lace_value_none(), TRY));
        CHECK_STATUS(LACE_END, lace_recv_value(results, TRY, &none));
        lace_sender_destroy(feed);
        lace_receiver_destroy(results);
    }
    lace_value_destroy(list);
    CHECK_REFUSED(LACE_INVALID, "options", lace_worker_start(host, NULL, NULL));
    close_host();
}
END_TEST

/* ---- what comes of it --------------------------------------------------------------------------------- */

START_TEST(test_worker_results_of_every_kind)
{
    static const char *const shown[] = {"None",
                                        "True",
                                        "-7",
                                        "0x18ee90ff6c373e0ee4e3f0ad2",
                                        "0.1",
                                        "'h\xc3\xa9'",
                                        "b'\\x00\\xff'",
                                        "[]",
                                        "(1, (2,), [])",
                                        "{'a': {1: None}, (1, 2): 'x'}"};
    open_host(NULL);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        check_result(start_function("ast:literal_eval", lace_value_build("(s)", shown[i])), shown[i]);
    check_result(start_function("builtins:float", lace_value_build("(s)", "inf")), "inf");
    close_host();
}
END_TEST

START_TEST(test_worker_result_may_be_asked_for_again)
{
    open_host(NULL);
    lace_worker *worker = start_function("builtins:divmod", lace_value_build("(ii)", 17, 5));
    lace_value *first, *second;
    CHECK_OK(lace_worker_result(worker, SOON, &first));
    CHECK_OK(lace_worker_result(worker, TRY, &second));
    lace_worker_destroy(worker);
    check_value(first, "(3, 2)"); /* without the handle */
    check_value(second, "(3, 2)");
    close_host();
}
END_TEST

START_TEST(test_worker_result_that_holds_an_end_and_a_block)
{
    write_file("giver.py", "import interlace\n"
                           "def give():\n"
                           "    s, r = interlace.channel(5)\n"
                           "    s.send('left for you')\n"
                           "    block = interlace.Buffer(300000)\n"
                           "    with memoryview(block) as view: view[-1] = 77\n"
                           "    return {'r': r, 'block': block}\n");
    const char *path[] = {own_folder(), NULL};
    open_host(&(lace_host_options){.path = path});
    lace_worker *worker = start_function("giver:give", NULL);
    lace_value *value, *again;
    lace_receiver *receiver = NULL, *second = NULL;
    lace_block *block;
    CHECK_OK(lace_worker_result(worker, SOON, &value));
    CHECK_OK(lace_worker_result(worker, SOON, &again));
    CHECK_OK(lace_value_take_receiver(lace_value_find(value, "r"), &receiver));
    CHECK_STATUS(LACE_MISMATCH, lace_value_take_receiver(lace_value_find(again, "r"), &second)); /* there is one */
    CHECK(second == NULL);
    check_received(receiver, "'left for you'");
    lace_value *none;
    CHECK_STATUS(LACE_END, lace_recv_value(receiver, SOON, &none));
    CHECK_OK(lace_value_share_block(lace_value_find(value, "block"), &block));
    CHECK_UINT(lace_block_size(block), 300000);
    CHECK(((unsigned char *)lace_block_data(block))[299999] == 77);
    lace_value_destroy(value);
    lace_value_destroy(again);
    lace_worker_destroy(worker);
    CHECK(((unsigned char *)lace_block_data(block))[299999] == 77);
    lace_block_destroy(block);
    lace_receiver_destroy(receiver);
    close_host();
}
END_TEST

START_TEST(test_worker_results_that_are_not_plain)
{
    static const char *const functions[] = {"builtins:object", "builtins:set",       "datetime:datetime.now",
                                            "io:StringIO",     "fractions:Fraction", "interlace:current_worker"};
    open_host(NULL);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        lace_worker *worker = start_function(functions[i], NULL);
        lace_value *value = NULL;
        lace_status status = lace_worker_result(worker, SOON, &value);
        /* What does not pickle is a failure of the worker; what does is no plain value. */
        CHECK_MSG(status == LACE_NOT_PLAIN || status == LACE_FAILED, "%s: %s", functions[i], status_name(status));
        CHECK_MSG(strstr(lace_problem(), lace_worker_name(worker)), "%s", lace_problem());
        if (strcmp(functions[i], "fractions:Fraction") == 0) /* and what of it */
            CHECK_MSG(strstr(lace_problem(), "no plain value: fractions.Fraction"), "%s", lace_problem());
        CHECK((lace_worker_error(worker) != NULL) == (status == LACE_FAILED) && value == NULL);
        CHECK_STATUS(status, lace_worker_result(worker, SOON, &value)); /* again */
        lace_worker_destroy(worker);
    }
    close_host();
}
END_TEST

START_TEST(test_worker_that_nobody_asks_about)
{
    open_host(NULL);
    lace_receiver *told = open_tell();
    size_t before = open_descriptors();
    for (int i = 0; i < 5; i++)
        CHECK_OK(lace_worker_start(
            host, &(lace_worker_options){.code = "import interlace.host; interlace.host.tell(0)"}, NULL));
    for (int i = 0; i < 5; i++)
        check_received(told, "0");
    lace_worker_destroy(start_code("import interlace.host; interlace.host.tell(1)")); /* the worker goes on */
    check_received(told, "1");
    close_host();
    CHECK(open_descriptors() <= before);
    lace_receiver_destroy(told);
}
END_TEST

/* Ends of a host of before, and of a region that is not the host's: they cannot be used where the worker runs. */
START_TEST(test_worker_given_ends_of_another_region)
{
    lace_region *own;
    CHECK_OK(lace_region_create(NULL, &own));
    open_host(NULL);
    for (int which = 0; which < 2; which++) {
        lace_sender *feed, *output, *carried;
        lace_receiver *input, *results, *other;
        lace_worker *worker = NULL;
        lace_region *region = which == 0 ? own : lace_host_region(host);
        CHECK_OK(lace_channel_create(region, NULL, &feed, &input));
        CHECK_OK(lace_channel_create(region, NULL, &output, &results));
        CHECK_OK(lace_channel_create(region, NULL, &carried, &other));
        if (which == 1) {
            close_host();
            open_host(NULL);
        }
        const lace_worker_options all[] = {
            {.code = "pass", .input = input},
            {.code = "pass", .output = output},
            {.function = "builtins:len", .args = lace_value_build("(v)", lace_value_sender(carried))}};
        for (size_t i = 0; i < 3; i++)
            CHECK_REFUSED(LACE_INVALID, "of another region", lace_worker_start(host, &all[i], &worker));
        CHECK(worker == NULL);
        CHECK(lace_receiver_length(results) == 0 && lace_receiver_length(other) == 0);
        lace_sender_destroy(feed);
        lace_receiver_destroy(results);
        lace_receiver_destroy(other);
    }
    run_code("pass");
    close_host();
    CHECK_OK(lace_region_destroy(own)); /* nothing of it is left */
}
END_TEST

/* An end of a pipe lies in no region, and may be given. */
START_TEST(test_worker_given_pipes)
{
    lace_sender *feed, *output;
    lace_receiver *input, *results;
    open_host(NULL);
    CHECK_OK(lace_pipe_create("in", &feed, &input));
    CHECK_OK(lace_pipe_create("out", &output, &results));
    lace_worker *worker = start_code_with("import interlace\n"
                                          "for n in interlace.input: interlace.output.send(n * n)\n",
                                          input, output);
    for (int i = 1; i < 4; i++) {
        int64_t square;
        CHECK_OK(lace_send_value(feed, lace_value_int(i), SOON));
        lace_value *value = receive(results);
        CHECK_OK(lace_value_get_int(value, &square));
        CHECK(square == i * i);
        lace_value_destroy(value);
    }
    lace_sender_destroy(feed);
    check_result(worker, "None");
    lace_receiver_destroy(results);
    close_host();
}
END_TEST

#ifndef __SANITIZE_ADDRESS__ /* which needs more address space than can be told */
/* The system has no room for another thread: the call says so, and is as if it had not been made. */
START_TEST(test_worker_that_has_no_thread)
{
    struct rlimit before, tight;
    unsigned long pages;
    lace_group *group;
    lace_worker *worker = NULL;
    open_host(NULL);
    CHECK_OK(lace_group_create(host, NULL, &group));
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%lu", &pages) == 1 && fclose(statm) == 0);
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    tight = before;
    tight.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + (8 << 20); /* less than a worker's stack */
    CHECK(setrlimit(RLIMIT_AS, &tight) == 0);
    for (int i = 0; i < 30; i++) {
        lace_worker_options options = {.code = "pass", .group = group, .args = lace_value_build("(s)", "x")};
        errno = 0;
        CHECK_REFUSED(LACE_SYSTEM, "no more threads", lace_worker_start(host, &options, &worker));
        CHECK(errno == EAGAIN && worker == NULL);
    }
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
    CHECK_OK(lace_group_wait(group, SOON));
    CHECK_OK(lace_worker_start(host, &(lace_worker_options){.code = "pass", .group = group}, &worker));
    CHECK_OK(lace_group_wait(group, SOON));
    check_result(worker, "None");
    lace_group_destroy(group);
    close_host();
}
END_TEST
#define NO_THREAD EMBED(test_worker_that_has_no_thread),
#else
#define NO_THREAD
#endif

TEST_MAIN("embed_worker", EMBED(test_worker_calls_a_function), EMBED(test_worker_runs_a_file),
          EMBED(test_worker_runs_code), EMBED(test_worker_runs_a_module), EMBED(test_worker_has_input_and_output),
          EMBED(test_worker_starts_and_talks_to_workers_of_its_own), EMBED(test_worker_names),
          EMBED(test_worker_name_that_is_long_or_no_text), EMBED(test_worker_options_that_are_refused),
          EMBED(test_worker_results_of_every_kind), EMBED(test_worker_result_may_be_asked_for_again),
          EMBED(test_worker_result_that_holds_an_end_and_a_block), EMBED(test_worker_results_that_are_not_plain),
          NO_THREAD EMBED(test_worker_that_nobody_asks_about),
          EMBED(test_worker_given_ends_of_another_region), EMBED(test_worker_given_pipes))
