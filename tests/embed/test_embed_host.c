/* test_embed_host.c - opening, closing and opening again; versions and options; what the host leaves as it was. */
#include "embedding.h"

#include <locale.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static lace_host *const UNTOUCHED = (lace_host *)"untouched";

START_TEST(test_host_opens_and_closes)
{
    open_host(NULL);
    check_result(start_function("json:loads", lace_value_build("(s)", "[1, 2.5, null, {\"a\": true}]")),
                 "[1, 2.5, None, {'a': True}]");
    CHECK(lace_host_region(host) != NULL);
    close_host();
    CHECK_UINT(mapped_regions(), 0);
}
END_TEST

START_TEST(test_host_version_is_that_of_the_header)
{
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", LACE_VERSION_MAJOR, LACE_VERSION_MINOR, LACE_VERSION_PATCH);
    CHECK_TEXT(text, LACE_VERSION);
    CHECK(lace_version() == LACE_VERSION_NUMBER);
}
END_TEST

START_TEST(test_host_refuses_a_program_of_another_header)
{
    static const int others[] = {LACE_VERSION_NUMBER + 1, LACE_VERSION_NUMBER + 1000, LACE_VERSION_NUMBER + 1000000,
                                 2000000000, -1};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        host = UNTOUCHED;
        CHECK_REFUSED(LACE_OUTDATED, LACE_VERSION, lace_host_open_version(others[i], NULL, &host));
        CHECK(host == UNTOUCHED);
    }
    CHECK_REFUSED(LACE_OUTDATED, "interlace.h 9.8.7", lace_host_open_version(9008007, NULL, &host));
    CHECK_OK(lace_host_open_version(LACE_VERSION_MAJOR * 1000000, NULL, &host)); /* an older one will do */
    close_host();
}
END_TEST

START_TEST(test_host_refuses_options_out_of_range)
{
    static const double graces[] = {-1, -1e-9, NAN, INFINITY, -INFINITY, 1e6 + 1};
    for (size_t i = 0; i < sizeof graces / sizeof *graces; i++) {
        host = UNTOUCHED;
        CHECK_REFUSED(LACE_INVALID, "grace", lace_host_open(&(lace_host_options){.grace = graces[i]}, &host));
        CHECK(host == UNTOUCHED);
    }
    CHECK_REFUSED(LACE_INVALID, "ret_host", lace_host_open(NULL, NULL));
    CHECK_OK(lace_host_open(&(lace_host_options){.grace = 1e6}, &host));
    close_host();
}
END_TEST

START_TEST(test_host_is_one_at_a_time)
{
    lace_host *second = UNTOUCHED;
    open_host(NULL);
    CHECK_REFUSED(LACE_BUSY, "one at a time", lace_host_open(NULL, &second));
    CHECK(second == UNTOUCHED);
    run_code("pass"); /* the first is none the worse for it */
    close_host();
    CHECK_OK(lace_host_open(NULL, &second));
    host = second;
    run_code("pass");
    close_host();
}
END_TEST

START_TEST(test_host_opens_again_and_again)
{
    for (int i = 0; i < 5; i++) {
        open_host(NULL);
        check_result(start_function("operator:add", lace_value_build("(ii)", i, 1)),
                     (const char *[]){"1", "2", "3", "4", "5"}[i]);
        close_host();
    }
}
END_TEST

START_TEST(test_host_closed_twice)
{
    open_host(NULL);
    close_host();
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_host_close(host));
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_host_close(host));
    open_host(NULL);
    close_host();
}
END_TEST

START_TEST(test_host_that_is_none)
{
    char something[64] = {0};
    CHECK_REFUSED(LACE_INVALID, "NULL", lace_host_close(NULL));
    CHECK_REFUSED(LACE_INVALID, "no host", lace_host_close((lace_host *)something));
    open_host(NULL);
    CHECK_REFUSED(LACE_INVALID, "NULL", lace_host_close(NULL));
    CHECK_REFUSED(LACE_INVALID, "no host", lace_host_close((lace_host *)something));
    CHECK_REFUSED(LACE_INVALID, "no host",
                  lace_worker_start((lace_host *)something, &(lace_worker_options){.code = "pass"}, NULL));
    CHECK(lace_host_region((lace_host *)something) == NULL);
    close_host();
}
END_TEST

static lace_value *nothing(lace_call *call, void *context)
{
    (void)call;
    (void)context;
    return lace_value_none();
}

/* Each call that starts or makes something says CLOSED, and what it takes is gone. */
static void check_closed(void)
{
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_worker *worker = NULL;
    lace_group *group = NULL;
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_worker_start(host, &(lace_worker_options){.code = "pass"}, &worker));
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_group_create(host, "late", &group));
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_export(host, "late", nothing, NULL, 0));
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_host_channel(host, NULL, &sender, &receiver));
    CHECK(lace_host_region(host) == NULL);
    CHECK(!sender && !receiver && !worker && !group);
}

START_TEST(test_host_that_is_closed_starts_nothing)
{
    lace_sender *sender;
    lace_receiver *input;
    open_host(NULL);
    make_channel(1, &sender, &input);
    lace_value *args = lace_value_build("(s)", "x"), *kwargs = lace_value_build("{si}", "y", 2);
    close_host();
    check_closed();
    CHECK_STATUS(
        LACE_CLOSED,
        lace_worker_start(
            host, &(lace_worker_options){.function = "builtins:dict", .args = args, .kwargs = kwargs, .input = input},
            NULL));
    CHECK_STATUS(LACE_BROKEN, lace_send_value(sender, lace_value_none(), TRY)); /* the input was taken */
    lace_sender_destroy(sender);
    CHECK_UINT(mapped_regions(), 0);
    open_host(NULL); /* the same handle is good again */
    run_code("pass");
    close_host();
    check_closed();
}
END_TEST

START_TEST(test_host_path_comes_first)
{
    char first[100], second[100];
    snprintf(first, sizeof first, "%s/first", own_folder());
    snprintf(second, sizeof second,
             "%s/s\xc3\xa9"
             "cond",
             own_folder());
    const char *path[] = {first, second, NULL};

    char command[256];
    snprintf(command, sizeof command, "mkdir '%s' '%s'", first, second);
    CHECK(system(command) == 0);
    write_file("first/which.py", "def of(): return 1\n");
    write_file("s\xc3\xa9"
               "cond/which.py",
               "def of(): return 2\n");
    write_file("s\xc3\xa9"
               "cond/colorsys.py",
               "def of(): return 'mine'\n"); /* hides the library's */
    open_host(&(lace_host_options){.path = path});
    memset(first, 'x', sizeof first - 1); /* they were borrowed for the call only */
    path[0] = path[1] = NULL;
    check_result(start_function("which:of", NULL), "1");
    check_result(start_function("colorsys:of", NULL), "'mine'");
    run_code("import sys; assert [p.rpartition('/')[2] for p in sys.path[1:3]] == ['first', 's\xc3\xa9"
             "cond'], sys.path");
    close_host();
    open_host(NULL); /* the next one has none */
    check_failure(start_function("which:of", NULL), "ModuleNotFoundError", "which");
    close_host();
}
END_TEST

static void on_signal(int number)
{
    (void)number;
}

START_TEST(test_host_leaves_signals_alone)
{
    struct sigaction before[NSIG], after;
    sigaction(SIGURG, &(struct sigaction){.sa_handler = on_signal}, NULL);
    for (int number = 1; number < NSIG; number++)
        sigaction(number, NULL, &before[number]);
    open_host(NULL);
    lace_worker *worker = start_code("while True: pass");
    CHECK_STATUS(LACE_TIMEOUT, lace_worker_wait(worker, TRY));
    close_host(); /* cancelling it needs no handler of ours */
    check_failure(worker, "Cancelled", "");
    for (int number = 1; number < NSIG; number++)
        if (sigaction(number, NULL, &after) == 0)
            CHECK_MSG(after.sa_handler == before[number].sa_handler, "the handler of signal %d is another", number);
}
END_TEST

START_TEST(test_host_takes_a_signal_that_nobody_handles)
{
    struct sigaction before[NSIG], after;
    for (int number = 1; number < NSIG; number++)
        sigaction(number, NULL, &before[number]);
    CHECK(before[SIGURG].sa_handler == SIG_DFL);
    open_host(NULL);
    for (int number = 1; number < NSIG; number++)
        if (sigaction(number, NULL, &after) == 0)
            CHECK_MSG((after.sa_handler != before[number].sa_handler) == (number == SIGURG), "signal %d", number);
    close_host();
}
END_TEST

/* The environment and the locale are the application's. */
START_TEST(test_host_leaves_the_locale_alone)
{
    static const char *const locales[] = {"C", "C.UTF-8"};
    CHECK(setlocale(LC_ALL, locales[_i]) != NULL);
    unsetenv("LC_ALL");
    unsetenv("LC_CTYPE");
    setenv("LANG", locales[1 - _i], 1);
    open_host(NULL);
    CHECK_TEXT(setlocale(LC_ALL, NULL), locales[_i]);
    CHECK(getenv("LC_CTYPE") == NULL);
    const char *path = write_file("na\xc3\xafve.py", "import os, sys\nassert os.path.exists(sys.argv[0])\n"
                                                     "assert ascii(sys.argv[0][-8:]) == r\"'na\\xefve.py'\"\n");
    lace_worker *worker;
    CHECK_OK(lace_worker_start(host, &(lace_worker_options){.file = path}, &worker));
    check_result(worker, "None");
    CHECK_TEXT(setlocale(LC_ALL, NULL), locales[_i]);
    close_host();
}
END_TEST

/* In a child that was forked before anything was done with the library. */
START_TEST(test_host_left_open_at_exit)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ignore_leaks();
        open_host(NULL);
        lace_receiver *told = open_tell();
        start_code("import interlace.host; interlace.host.tell(1)\nwhile True: pass");
        start_code("import interlace.host, time; interlace.host.tell(1); time.sleep(1000)");
        check_received(told, "1");
        check_received(told, "1");
        exit(7);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the child's status is %#x", (unsigned)status);
}
END_TEST

TEST_MAIN("embed_host", EMBED(test_host_opens_and_closes), EMBED(test_host_version_is_that_of_the_header),
          EMBED(test_host_refuses_a_program_of_another_header), EMBED(test_host_refuses_options_out_of_range),
          EMBED(test_host_is_one_at_a_time), EMBED(test_host_opens_again_and_again), EMBED(test_host_closed_twice),
          EMBED(test_host_that_is_none), EMBED(test_host_that_is_closed_starts_nothing),
          EMBED(test_host_path_comes_first), EMBED(test_host_leaves_signals_alone),
          EMBED(test_host_takes_a_signal_that_nobody_handles), EMBED_LOOP(test_host_leaves_the_locale_alone, 2),
          EMBED(test_host_left_open_at_exit))
