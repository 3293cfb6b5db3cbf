/* test_embed_leaks.c - what is opened and closed again and again leaves nothing behind.
 *
 * Memory is judged twice: here by what the process has resident after a warm-up, and, in the build with AddressSanitizer,
 * block by block, at the end of each test. LACE_TEST_SCALE multiplies the rounds: `./dev soak` has four times as many, so
 * that hosts are opened 200 times. */
#include "embedding.h"

#include <dirent.h>
#include <unistd.h>

/* What a process has, that must not grow. */
typedef struct footprint {
    size_t kb, descriptors, regions, threads;
} footprint;

static size_t count_threads(void)
{
    size_t count = 0;
    DIR *all = opendir("/proc/self/task");
    CHECK(all != NULL);
    for (struct dirent *each; (each = readdir(all)) != NULL;)
        count += each->d_name[0] != '.';
    closedir(all);
    return count;
}

#define OWN_THREADS 3 /* of this test, with a host: its one, the keeper, the watcher */

/* A thread that has been joined or waited for may still be on its way out of the kernel. */
static footprint take(size_t threads)
{
    for (int left = 10000; count_threads() > threads && left > 0; left--)
        pass_ms(1);
    CHECK_UINT(count_threads(), threads);
    return (footprint){resident_kb(), open_descriptors(), mapped_regions(), count_threads()};
}

/* Does `once` for `rounds`, after a fifth of them as a warm-up; may keep `most_kb` more at the end than then. */
static void check_no_growth(void (*once)(size_t round), size_t rounds, size_t threads, size_t most_kb)
{
    size_t warm = rounds / 5 + 1;
    for (size_t i = 0; i < warm; i++)
        once(i);
    footprint before = take(threads);
    for (size_t i = 0; i < rounds; i++)
        once(i);
    footprint after = take(threads);
    CHECK_UINT(after.descriptors, before.descriptors);
    CHECK_UINT(after.regions, before.regions);
    if (getenv("LACE_TEST_TELL") != NULL)
        fprintf(stderr, "%zu rounds: %zu kB, then %zu kB\n", rounds, before.kb, after.kb);
#ifdef __SANITIZE_ADDRESS__
    (void)most_kb; /* it keeps what has been freed for a while */
#else
    CHECK_MSG(after.kb <= before.kb + most_kb, "%zu rounds took it from %zu to %zu kB", rounds, before.kb, after.kb);
#endif
}

/* ---- channels --------------------------------------------------------------------------------------------- */

static void use_channel(size_t round)
{
    lace_sender *sender, *twin;
    lace_receiver *receiver;
    lace_block *block;
    make_channel(round % 4, &sender, &receiver);
    CHECK_OK(lace_sender_clone(sender, &twin));
    if (round % 10 == 0) {
        int fd;
        CHECK_OK(lace_receiver_fd(receiver, &fd));
        CHECK_OK(lace_sender_fd(sender, &fd));
    }
    if (round % 4 >= 2) {
        CHECK_OK(lace_block_create(lace_host_region(host), 1000 + round % 3 * 100000, &block));
        CHECK_OK(lace_send_value(sender, lace_value_build("[s{iv}]", "some text", 1, lace_value_block(block)), TRY));
        /* the other end is in its own channel now, and goes with it */
        CHECK_OK(lace_send_value(sender, lace_value_build("(v)", lace_value_sender(twin)), TRY));
        if (round % 4 == 3)
            lace_value_destroy(receive(receiver));
    } else {
        lace_value *none;
        CHECK_STATUS(LACE_TIMEOUT, lace_recv_value(receiver, TRY, &none));
        lace_sender_destroy(twin);
    }
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
}

START_TEST(test_channels_leave_nothing)
{
    size_t before, after, backed;
    open_host(NULL);
    use_channel(3);
    lace_region_usage(lace_host_region(host), &before, &backed);
    check_no_growth(use_channel, test_scaled(10000), OWN_THREADS, 512);
    lace_region_usage(lace_host_region(host), &after, &backed);
    CHECK_UINT(after, before);
    close_host();
}
END_TEST

/* The same channels used by a worker: it gets ends, answers over them, and has to let them go. */
static lace_sender *to_worker;

static void use_channel_with_worker(size_t round)
{
    lace_sender *sender;
    lace_receiver *receiver;
    make_channel(round % 3, &sender, &receiver);
    CHECK_OK(lace_send_value(to_worker, lace_value_build("[vl]", lace_value_sender(sender), (int64_t)round), SOON));
    lace_value *answer = receive(receiver), *none;
    CHECK_UINT(lace_value_size(answer), 3);
    lace_value_destroy(answer);
    CHECK_STATUS(LACE_END, lace_recv_value(receiver, SOON, &none));
    lace_receiver_destroy(receiver);
}

START_TEST(test_channels_of_workers_leave_nothing)
{
    lace_receiver *input;
    open_host(NULL);
    make_channel(0, &to_worker, &input);
    lace_worker *worker = start_code_with(
        "import interlace\n"
        "for sender, n in interlace.input:\n"
        "    with sender: sender.send([n, interlace.channel(1), memoryview(b'x' * 2000)])\n"
        "    del sender\n",
        input, NULL);
    check_no_growth(use_channel_with_worker, test_scaled(5000), OWN_THREADS + 1, 1024);
    lace_sender_destroy(to_worker);
    check_result(worker, "None");
    close_host();
}
END_TEST

/* ---- calls -------------------------------------------------------------------------------------------------- */

static lace_value *turn_round(lace_call *call, void *context)
{
    lace_value *list = lace_value_list();
    (void)context;
    for (size_t i = lace_value_size(lace_call_args(call)); i-- > 0;)
        lace_value_append(list, lace_value_share(lace_value_at(lace_call_args(call), i)));
    if (lace_value_size(list) == 0) {
        lace_value_destroy(list);
        return lace_call_fail(call, "ValueError", "nothing to turn %s", "round");
    }
    return list;
}

static void make_calls(size_t round)
{
    (void)round;
    run_code("import interlace, interlace.host\n"
             "big = memoryview(b'x' * 5000)\n"
             "for i in range(300):\n"
             "    s, r = interlace.channel(1)\n"
             "    back = interlace.host.turn(i, 'text', [1, {'a': 2}], s, big)\n"
             "    assert len(back) == 5 and back[4] == i\n"
             "    try: interlace.host.turn()\n"
             "    except ValueError: pass\n");
}

START_TEST(test_calls_leave_nothing)
{
    open_host(NULL);
    CHECK_OK(lace_export(host, "turn", turn_round, NULL, 0));
    check_no_growth(make_calls, test_scaled(30), OWN_THREADS, 2048);
    close_host();
}
END_TEST

/* ---- hosts -------------------------------------------------------------------------------------------------- */

static lace_value *nothing(lace_call *call, void *context)
{
    (void)call;
    (void)context;
    return lace_value_none();
}

/* A host with workers that end in every way: well, with a block, failed in a group, cancelled by the host's end. */
static void use_host(size_t round)
{
    lace_worker *worker;
    lace_group *group;
    lace_value *value;
    open_host(NULL);
    CHECK_OK(lace_export(host, "nothing", nothing, NULL, 0));
    CHECK_OK(lace_group_create(host, "group", &group));
    lace_worker_options options = {.code = "import interlace.host, json, threading\n"
                                           "interlace.host.nothing()\n"
                                           "raise ValueError('a message')\n",
                                   .group = group};
    CHECK_OK(lace_worker_start(host, &options, NULL));
    CHECK_STATUS(LACE_FAILED, lace_group_wait(group, SOON));
    worker = start_function("interlace:Buffer", lace_value_build("(i)", 50000));
    CHECK_OK(lace_worker_result(worker, SOON, &value));
    lace_worker_destroy(worker);
    if (round % 2)
        lace_group_destroy(group);
    lace_worker_destroy(start_code("while True: pass"));
    close_host();
    if (round % 2 == 0)
        lace_group_destroy(group);
    lace_value_destroy(value);
}

START_TEST(test_hosts_leave_nothing)
{
    CHECK_UINT(mapped_regions(), 0);
    check_no_growth(use_host, test_scaled(50), 1, 2048);
    CHECK_UINT(mapped_regions(), 0);
}
END_TEST

/* ---- workers ------------------------------------------------------------------------------------------------ */

static void use_worker(size_t round)
{
    if (round % 3 == 0)
        check_failure(start_code("class A: pass\nraise KeyError(1)"), "KeyError", "1");
    else
        check_result(start_function("builtins:len", lace_value_build("(s)", "abc")), "3");
}

START_TEST(test_workers_leave_nothing)
{
    open_host(NULL);
    check_no_growth(use_worker, test_scaled(50), OWN_THREADS, 2048);
    close_host();
}
END_TEST

#define LONG(name) TEST_LONG(name, 1, 280)

TEST_MAIN("embed_leaks", LONG(test_channels_leave_nothing), LONG(test_channels_of_workers_leave_nothing),
          LONG(test_calls_leave_nothing), LONG(test_hosts_leave_nothing), LONG(test_workers_leave_nothing))
