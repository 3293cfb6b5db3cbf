/* test_embed_process.c - workers in processes of their own, as a C program has them. */
#include "embedding.h"

#include <unistd.h>

static lace_worker *start_process(lace_worker_options options)
{
    lace_worker *worker = NULL;
    if (options.isolation == LACE_ISOLATION_INTERPRETER)
        options.isolation = LACE_ISOLATION_PROCESS;
    lace_status status = lace_worker_start(host, &options, &worker);
    CHECK_MSG(status == LACE_OK, "lace_worker_start gave %s: %s", status_name(status), lace_problem());
    return worker;
}

START_TEST(test_process_results)
{
    open_host(NULL);
    check_result(
        start_process((lace_worker_options){.function = "json:loads", .args = lace_value_build("(s)", "[1, null]")}),
        "[1, None]");
    char parent[32];
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    lace_worker_options options = {.code = "import os, sys\n"
                                           "assert os.getppid() == int(sys.argv[1])\n",
                                   .args = lace_value_build("(s)", parent)};
    check_result(start_process(options), "None");
    close_host();
}
END_TEST

START_TEST(test_process_failures)
{
    open_host(NULL);
    check_failure(
        start_process((lace_worker_options){.function = "builtins:int", .args = lace_value_build("(s)", "x")}),
        "ValueError", "invalid literal");
    check_failure(start_process((lace_worker_options){.code = "import sys; sys.exit(3)"}), "SystemExit", "3");
    close_host();
}
END_TEST

/* Values and blocks go there and come back. */
START_TEST(test_process_channels)
{
    open_host(NULL);
    lace_sender *sender, *output;
    lace_receiver *input, *receiver;
    make_channel(2, &sender, &input);
    make_channel(2, &output, &receiver);
    lace_worker *worker = start_process((lace_worker_options){.code = "import interlace\n"
                                                                      "for x in interlace.input:\n"
                                                                      "    interlace.output.send([x, len(x)])\n",
                                                              .input = input,
                                                              .output = output});
    CHECK_OK(lace_send_value(sender, lace_value_str("abc"), NULL));
    check_received(receiver, "['abc', 3]");
    lace_block *block;
    CHECK_OK(lace_block_create(lace_host_region(host), 1 << 20, &block));
    memset(lace_block_data(block), 'x', 1 << 20);
    CHECK_OK(lace_send_value(sender, lace_value_block(block), NULL));
    lace_value *answer = receive(receiver);
    const void *data;
    size_t size;
    CHECK_OK(lace_value_get_bytes(lace_value_at(answer, 0), &data, &size));
    CHECK(size == 1 << 20 && ((const char *)data)[size - 1] == 'x');
    lace_value_destroy(answer);
    lace_sender_destroy(sender);
    check_result(worker, "None");
    lace_receiver_destroy(receiver);
    close_host();
}
END_TEST

START_TEST(test_process_dies)
{
    open_host(NULL);
    lace_group *group;
    CHECK_OK(lace_group_create(host, "doomed", &group));
    lace_sender *sender;
    lace_receiver *receiver;
    make_channel(1, &sender, &receiver);
    lace_worker *other = NULL;
    CHECK_OK(lace_worker_start(
        host,
        &(lace_worker_options){.code = "import interlace; interlace.input.recv()", .input = receiver, .group = group},
        &other));
    lace_worker *worker = start_process(
        (lace_worker_options){.code = "import os; os.kill(os.getpid(), 9)", .name = "x", .group = group});
    CHECK_STATUS(LACE_FAILED, lace_group_wait(group, SOON));
    CHECK_TEXT(lace_group_error(group)->type, "WorkerDied");
    CHECK_TEXT(lace_group_error(group)->message, "killed by SIGKILL");
    check_failure(worker, "WorkerDied", "killed by SIGKILL");
    check_failure(other, "Cancelled", "");
    lace_group_destroy(group);
    lace_sender_destroy(sender);
    check_result(
        start_process((lace_worker_options){.function = "builtins:abs", .args = lace_value_build("(i)", -1)}), "1");
    close_host();
}
END_TEST

static char printed[200000];
static size_t printed_size;

static void keep(void *context, const char *worker, int fd, const char *text, size_t size)
{
    CHECK(context == printed && strcmp(worker, "x") == 0 && fd == 1 && size > 0);
    CHECK(printed_size + size < sizeof printed);
    memcpy(printed + printed_size, text, size);
    printed_size += size;
}

START_TEST(test_process_prints)
{
    open_host(&(lace_host_options){.output = keep, .context = printed});
    check_result(start_process((lace_worker_options){
                     .code = "print('one'); print('-' * 100000); print('end', end='')", .name = "x"}),
                 "None");
    CHECK(printed_size >= 100000 && strncmp(printed, "one\n---", 7) == 0);
    CHECK(strstr(printed, "-\nend") != NULL);
    close_host();
}
END_TEST

START_TEST(test_process_is_cancelled)
{
    open_host(NULL);
    lace_sender *sender;
    lace_receiver *receiver;
    make_channel(1, &sender, &receiver);
    lace_worker *worker = start_process((lace_worker_options){.code = "import interlace\n"
                                                                      "interlace.output.send('on')\n"
                                                                      "while True: pass\n",
                                                              .output = sender});
    check_received(receiver, "'on'");
    CHECK(!lace_worker_ended(worker));
    CHECK_OK(lace_worker_cancel(worker));
    check_failure(worker, "Cancelled", "");
    lace_receiver_destroy(receiver);
    close_host();
}
END_TEST

/* The host is closed while one computes, and one that heeds nothing: it is killed after the grace period. */
START_TEST(test_process_and_the_host_closes)
{
    open_host(NULL);
    close_host();
    size_t regions = mapped_regions(), descriptors = open_descriptors();
    for (int heeds = 1; heeds >= 0; heeds--) {
        open_host(&(lace_host_options){.grace = heeds ? 5 : 0.2});
        lace_sender *sender;
        lace_receiver *receiver;
        make_channel(1, &sender, &receiver);
        lace_worker *worker = start_process((lace_worker_options){
            .code = heeds ? "import interlace\ninterlace.output.send('on')\nwhile True: pass\n"
                          : "import interlace\ninterlace.output.send('on')\n"
                            "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n",
            .output = sender});
        check_received(receiver, "'on'");
        CHECK_OK(lace_host_close(host));
        check_failure(worker, heeds ? "Cancelled" : "WorkerDied", heeds ? "" : "since it did not end within 0.2 s");
        lace_receiver_destroy(receiver);
    }
    CHECK(mapped_regions() == regions);
    CHECK_MSG(open_descriptors() == descriptors, "%zu descriptors were open, now %zu", descriptors,
              open_descriptors());
}
END_TEST

START_TEST(test_process_options)
{
    open_host(NULL);
    lace_worker_options options = {.function = "builtins:abs", .args = lace_value_build("(i)", -1)};
    options.isolation = (lace_isolation)7;
    CHECK_REFUSED(LACE_INVALID, "isolation must be", lace_worker_start(host, &options, NULL));
    check_result(start_process((lace_worker_options){.code = "import os; assert os.getpid() == os.getpid()",
                                                     .isolation = LACE_ISOLATION_AUTO}),
                 "None");
    setenv("INTERLACE_PROGRAM", "/not/there", 1);
    options = (lace_worker_options){.code = "0", .isolation = LACE_ISOLATION_PROCESS};
    CHECK_REFUSED(LACE_SYSTEM, "INTERLACE_PROGRAM", lace_worker_start(host, &options, NULL));
    close_host();
}
END_TEST

TEST_MAIN("embed_process", EMBED(test_process_results), EMBED(test_process_failures), EMBED(test_process_channels),
          EMBED(test_process_dies), EMBED(test_process_prints), EMBED(test_process_is_cancelled),
          EMBED(test_process_and_the_host_closes), EMBED(test_process_options))
