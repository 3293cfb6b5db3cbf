/* test_embed_close.c - closing: with workers running, with one that does not end, from where it must not be done; and
 * what was kept from before. */
#include "embedding.h"

#include <patchlevel.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

static double seconds_since(int64_t start)
{
    return (double)(lace_clock() - start) / 1e9;
}

/* ---- workers that run --------------------------------------------------------------------------------- */

/* What a worker may be doing when the host is closed, and has to be got out of. Each tells when it is at it. */
static const char *const busy[] = {
    /* computing */
    "interlace.host.tell('at it')\n"
    "while True: pass",
    /* computing, and deaf to exceptions */
    "interlace.host.tell('at it')\n"
    "while True:\n"
    "    try:\n"
    "        while True: pass\n"
    "    except Exception: pass",
    /* waiting for a channel */
    "s, r = interlace.channel(1)\n"
    "interlace.host.tell('at it')\n"
    "r.recv()",
    /* waiting for a worker of its own */
    "with interlace.Group() as group:\n"
    "    group.start('interlace.host:wait')\n"
    "    interlace.host.tell('at it')",
    /* in a C function that waits as it is told to */
    "interlace.host.tell('at it')\n"
    "interlace.host.wait()",
    /* with a thread of its own that waits */
    "import threading\n"
    "s, r = interlace.channel(1)\n"
    "thread = threading.Thread(target=r.recv)\n"
    "thread.start()\n"
    "interlace.host.tell('at it')\n"
    "while True: thread.join()",
};
#define BUSY ((int)(sizeof busy / sizeof *busy))

static lace_value *wait_for_nothing(lace_call *call, void *context)
{
    lace_sender *sender;
    lace_receiver *receiver;
    lace_value *value = NULL;
    (void)context;
    lace_status status = lace_host_channel(host, NULL, &sender, &receiver);
    if (status != LACE_OK)
        return lace_call_fail(call, "OSError", "it is closed already");
    status = lace_recv_value(receiver, lace_call_wait(call), &value);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return status == LACE_OK ? value : lace_call_fail(call, "OSError", "the wait ended: %s", status_name(status));
}

static lace_worker *start_busy(int which)
{
    char code[1024];
    snprintf(code, sizeof code, "import interlace, interlace.host\n%s\n", busy[which]);
    return start_code(code);
}

START_TEST(test_close_cancels_what_runs)
{
    open_host(&(lace_host_options){.grace = 60});
    lace_receiver *told = open_tell();
    CHECK_OK(lace_export(host, "wait", wait_for_nothing, NULL, 0));
    lace_worker *worker = start_busy(_i);
    check_received(told, "'at it'");
    int64_t start = lace_clock();
    close_host();
    CHECK_MSG(seconds_since(start) < 20, "it took %.1f s", seconds_since(start));
    CHECK(lace_worker_ended(worker));
    check_failure(worker, "Cancelled", "");
    lace_receiver_destroy(told);
}
END_TEST

START_TEST(test_close_lets_finally_run)
{
    open_host(NULL);
    lace_receiver *told = open_tell();
    lace_worker *worker = start_code("import interlace, interlace.host\n"
                                     "try:\n"
                                     "    interlace.host.tell('at it')\n"
                                     "    while True: pass\n"
                                     "finally:\n"
                                     "    interlace.host.tell('finally')\n");
    check_received(told, "'at it'");
    close_host();
    check_received(told, "'finally'"); /* sent while the host was closing, received after */
    check_failure(worker, "Cancelled", "");
    lace_receiver_destroy(told);
}
END_TEST

START_TEST(test_close_with_many_workers_and_no_handles)
{
    open_host(NULL);
    lace_receiver *told = open_tell();
    CHECK_OK(lace_export(host, "wait", wait_for_nothing, NULL, 0));
    for (int i = 0; i < 12; i++)
        lace_worker_destroy(start_busy(i % BUSY));
    for (int i = 0; i < 12; i++)
        check_received(told, "'at it'");
    close_host();
    lace_receiver_destroy(told);
}
END_TEST

START_TEST(test_close_while_workers_start)
{
    open_host(NULL);
    lace_worker *workers[6];
    for (int i = 0; i < 6; i++)
        workers[i] = start_code("while True: pass");
    close_host();
    for (int i = 0; i < 6; i++)
        check_failure(workers[i], "Cancelled", "");
}
END_TEST

/* ---- a worker that does not end ----------------------------------------------------------------------- */

static gate stuck_gate = GATE_INIT, sits = GATE_INIT;

/* Foreign C code: it waits for something that we know nothing of. */
static lace_value *get_stuck(lace_call *call, void *context)
{
    (void)call;
    (void)context;
    gate_open(&sits);
    gate_wait(&stuck_gate);
    return lace_value_none();
}

static const char stuck_code[] = "import interlace.host\n"
                                 "def sit():\n"
                                 "    interlace.host.stick()\n" /* line 3 */
                                 "sit()\n";

static lace_worker *open_with_stuck(double grace, unsigned flags)
{
    lace_worker *worker;
    open_host(&(lace_host_options){.grace = grace});
    CHECK_OK(lace_export(host, "stick", get_stuck, NULL, flags));
    CHECK_OK(lace_worker_start(host, &(lace_worker_options){.code = stuck_code, .name = "sitter"}, &worker));
    gate_wait(&sits);
    return worker;
}

START_TEST(test_close_with_a_worker_that_does_not_end)
{
    lace_host *second = NULL;
    lace_worker *late = NULL;
    lace_worker *worker = open_with_stuck(0.1, 0);
    for (int i = 0; i < 2; i++) {
        int64_t start = lace_clock();
        CHECK_REFUSED(LACE_STUCK, "'sitter'", lace_host_close(host));
        CHECK_MSG(seconds_since(start) < 20, "it took %.1f s", seconds_since(start));
        CHECK_MSG(strstr(lace_problem(), "line 3, in sit"), "%s", lace_problem());
        CHECK_MSG(strstr(lace_problem(), "0.1 s"), "%s", lace_problem());
    }
    CHECK(!lace_worker_ended(worker));
    /* It starts nothing any more, and there is no room for another. */
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_worker_start(host, &(lace_worker_options){.code = "pass"}, &late));
    CHECK_REFUSED(LACE_BUSY, "one at a time", lace_host_open(NULL, &second));
    CHECK(!late && !second);
    gate_open(&stuck_gate);
    CHECK_OK(lace_worker_wait(worker, SOON));
    close_host();
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_host_close(host));
    check_failure(worker, "Cancelled", "");
    open_host(NULL);
    run_code("pass");
    close_host();
}
END_TEST

START_TEST(test_close_with_a_worker_that_keeps_its_lock)
{
    lace_worker *worker = open_with_stuck(0.1, LACE_EXPORT_KEEP_LOCK);
    CHECK_REFUSED(LACE_STUCK, "'sitter'", lace_host_close(host));
    CHECK_MSG(strstr(lace_problem(), "holds the interpreter's lock"), "%s", lace_problem());
    gate_open(&stuck_gate);
    CHECK_OK(lace_worker_wait(worker, SOON));
    close_host();
    lace_worker_destroy(worker);
}
END_TEST

START_TEST(test_close_with_a_worker_that_sleeps)
{
    open_host(&(lace_host_options){.grace = 0.05});
    lace_worker *worker = start_code("import time\n"
                                     "time.sleep(5)\n");
    until_in_syscall(lace_worker_name(worker), SYS_clock_nanosleep);
    if (PY_VERSION_HEX < 0x030f0000) { /* later ones can be woken */
        CHECK_REFUSED(LACE_STUCK, "line 2, in <module>", lace_host_close(host));
        CHECK_OK(lace_worker_wait(worker, SOON));
    }
    close_host();
    check_failure(worker, "Cancelled", "");
}
END_TEST

/* ---- from where it must not be done -------------------------------------------------------------------- */

typedef struct closing {
    thread runner;
    lace_status status;
} closing;

static void close_in_thread(void *context)
{
    closing *self = context;
    self->status = lace_host_close(host);
}

START_TEST(test_close_by_two_threads_at_once)
{
    closing first;
    lace_host *second;
    lace_worker *late;
    lace_worker *worker = open_with_stuck(100, 0);
    thread_start(&first.runner, close_in_thread, &first);
    /* Once the host says that it is closed, the other one is at it. */
    while (lace_worker_start(host, &(lace_worker_options){.code = "pass"}, &late) == LACE_OK)
        lace_worker_destroy(late);
    CHECK_REFUSED(LACE_BUSY, "another thread", lace_host_close(host));
    CHECK_REFUSED(LACE_BUSY, "one at a time", lace_host_open(NULL, &second));
    CHECK(lace_host_region(host) == NULL);
    gate_open(&stuck_gate);
    thread_join(&first.runner);
    CHECK_OK(first.status);
    CHECK_REFUSED(LACE_CLOSED, "closed", lace_host_close(host));
    lace_worker_destroy(worker);
}
END_TEST

static lace_value *close_here(lace_call *call, void *context)
{
    lace_status status = lace_host_close(host);
    (void)call;
    (void)context;
    return lace_value_build("(ss)", status_name(status), status != LACE_OK ? lace_problem() : "");
}

START_TEST(test_close_by_a_worker)
{
    static const char *const calls[] = {
        "name, problem = interlace.host.close()\n",
        /* a thread of the worker's, which the worker's end would wait for */
        "import threading\n"
        "told = []\n"
        "thread = threading.Thread(target=lambda: told.append(interlace.host.close()))\n"
        "thread.start(); thread.join()\n"
        "name, problem = told[0]\n"};
    char code[512];
    open_host(NULL);
    CHECK_OK(lace_export(host, "close", close_here, NULL, _i < 2 ? 0 : LACE_EXPORT_KEEP_LOCK));
    snprintf(code, sizeof code,
             "import interlace.host\n%sassert (name, 'worker' in problem) == ('BUSY', True), told\n", calls[_i % 2]);
    run_code(code);
    close_host();
}
END_TEST

/* Making, starting and exporting, as fast as may be, while another thread closes: each call is done before, or refused. */
typedef struct user {
    thread runner;
    int what;
    atomic_bool *going;
} user;

static lace_status make_something(int what)
{
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_group *group = NULL;
    lace_status status;
    switch (what) {
    case 0:
        status = lace_host_channel(host, NULL, &sender, &receiver);
        break;
    case 1:
        status = lace_group_create(host, NULL, &group);
        break;
    case 2:
        status = lace_export(host, "stick", get_stuck, NULL, 0);
        break;
    default:
        status = lace_worker_start(host, &(lace_worker_options){.function = "builtins:list"}, NULL);
        pass_ms(1); /* they take their time to end */
        break;
    }
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_group_destroy(group);
    return status;
}

static void use_until_closed(void *context)
{
    user *self = context;
    lace_status status;
    while ((status = make_something(self->what)) == LACE_OK)
        atomic_store(self->going, true);
    CHECK_STATUS(LACE_CLOSED, status);
}

START_TEST(test_close_while_others_make_something)
{
    for (size_t round = 0; round < test_scaled(40); round++) {
        atomic_bool going = false;
        user users[2];
        open_host(&(lace_host_options){.grace = 60});
        for (int i = 0; i < 2; i++) {
            users[i] = (user){.what = i == 0 ? 0 : (int)(round % 4), .going = &going};
            thread_start(&users[i].runner, use_until_closed, &users[i]);
        }
        while (!atomic_load(&going))
            sched_yield();
        close_host();
        for (int i = 0; i < 2; i++)
            thread_join(&users[i].runner);
    }
    CHECK_UINT(mapped_regions(), 0);
}
END_TEST

/* ---- what was kept ------------------------------------------------------------------------------------ */

START_TEST(test_close_leaves_ends_and_values_as_they_are)
{
    lace_sender *sender;
    lace_receiver *receiver;
    lace_message *message;
    lace_block *block;
    open_host(NULL);
    make_channel(4, &sender, &receiver);
    CHECK_OK(lace_message_create(lace_host_region(host), &message));
    CHECK_OK(lace_block_create(lace_host_region(host), 100000, &block));
    memset(lace_block_data(block), 'b', 100000);
    lace_worker *worker = start_code_with("import interlace\n"
                                          "interlace.output.send([1, memoryview(b'x' * 100000)])\n"
                                          "interlace.output.send(interlace.channel(1))\n",
                                          NULL, sender);
    CHECK_OK(lace_worker_wait(worker, SOON));
    lace_worker_destroy(worker);
    lace_value *value = receive(receiver);
    close_host();
    for (int round = 0; round < 2; round++) { /* with another host there, and without */
        lace_value *held = lace_value_block(block);
        const void *data;
        size_t size;
        CHECK_OK(lace_value_get_bytes(lace_value_at(value, 1), &data, &size));
        CHECK(size == 100000 && ((const char *)data)[size - 1] == 'x');
        CHECK_OK(lace_value_get_bytes(held, &data, &size));
        CHECK(size == 100000 && ((const char *)data)[size - 1] == 'b');
        CHECK_OK(lace_value_share_block(held, &block));
        lace_value_destroy(held);
        if (round == 0)
            open_host(NULL);
    }
    /* The channel of a worker that has gone with its host, in the channel that was kept. */
    lace_value *pair = receive(receiver);
    CHECK_OK(lace_value_take_sender(lace_value_at(pair, 0), &sender));
    CHECK_OK(lace_send_value(sender, lace_value_build("[i]", 7), TRY));
    lace_sender_destroy(sender);
    lace_receiver *inner;
    CHECK_OK(lace_value_take_receiver(lace_value_at(pair, 1), &inner));
    check_received(inner, "[7]");
    CHECK_STATUS(LACE_END, lace_recv(inner, message, TRY));
    CHECK_UINT(mapped_regions(), 2);
    /* They are for C: a worker of this host could not receive with them. */
    lace_worker_options options = {.function = "builtins:len", .args = lace_value_build("(v)", lace_value_receiver(inner))};
    worker = NULL;
    CHECK_REFUSED(LACE_INVALID, "another region", lace_worker_start(host, &options, &worker));
    CHECK(worker == NULL);
    lace_value_destroy(pair);
    lace_value_destroy(value);
    lace_block_destroy(block);
    lace_message_destroy(message);
    CHECK_UINT(mapped_regions(), 2);
    lace_receiver_destroy(receiver);
    CHECK_UINT(mapped_regions(), 1); /* the last that was made in it has gone */
    close_host();
    CHECK_UINT(mapped_regions(), 0);
}
END_TEST

START_TEST(test_close_leaves_handles_what_they_knew)
{
    lace_worker *good, *bad, *cut;
    lace_group *group, *empty;
    open_host(NULL);
    lace_receiver *told = open_tell();
    good = start_function("builtins:divmod", lace_value_build("(ii)", 17, 5));
    CHECK_OK(lace_worker_wait(good, SOON));
    CHECK_OK(lace_group_create(host, "kept", &group));
    CHECK_OK(lace_group_create(host, "empty", &empty));
    CHECK_OK(lace_worker_start(host, &(lace_worker_options){.code = "1 / 0", .name = "bad", .group = group}, &bad));
    CHECK_STATUS(LACE_FAILED, lace_group_wait(group, SOON));
    cut = start_code("import interlace.host\ninterlace.host.tell(1)\nwhile True: pass");
    check_received(told, "1");
    close_host();
    CHECK(lace_worker_ended(good) && lace_worker_ended(bad) && lace_worker_ended(cut));
    for (int i = 0; i < 2; i++) {
        lace_value *value;
        CHECK_OK(lace_worker_wait(cut, TRY));
        CHECK_OK(lace_worker_cancel(cut));
        CHECK_OK(lace_worker_result(good, TRY, &value)); /* it was not read before the end */
        check_value(value, "(3, 2)");
        CHECK_STATUS(LACE_FAILED, lace_worker_result(bad, TRY, &value));
        CHECK_TEXT(lace_worker_error(bad)->type, "ZeroDivisionError");
        CHECK_TEXT(lace_worker_error(cut)->type, "Cancelled");
        CHECK_STATUS(LACE_FAILED, lace_group_wait(group, TRY));
        CHECK_TEXT(lace_group_error(group)->worker, "bad");
        CHECK_STATUS(LACE_CANCELLED, lace_group_wait(empty, TRY)); /* the host's end cancelled it */
        CHECK_OK(lace_group_cancel(group));
        lace_case ended = {.kind = LACE_CASE_ENDED, .receiver = lace_worker_end(cut)};
        size_t index = 9;
        CHECK_OK(lace_select(&ended, 1, 0, TRY, &index));
        if (i == 0)
            open_host(NULL);
    }
    lace_worker *late = NULL; /* it was a group of the host that has gone */
    lace_worker_options options = {.code = "while True: pass", .group = group};
    CHECK_REFUSED(LACE_CLOSED, "group", lace_worker_start(host, &options, &late));
    CHECK(late == NULL);
    close_host();
    lace_worker_destroy(good);
    lace_worker_destroy(bad);
    lace_worker_destroy(cut);
    lace_group_destroy(group);
    lace_group_destroy(empty);
    lace_receiver_destroy(told);
}
END_TEST

TEST_MAIN("embed_close", EMBED_LOOP(test_close_cancels_what_runs, BUSY), EMBED(test_close_lets_finally_run),
          EMBED(test_close_with_many_workers_and_no_handles), EMBED(test_close_while_workers_start),
          EMBED(test_close_with_a_worker_that_does_not_end), EMBED(test_close_with_a_worker_that_keeps_its_lock),
          EMBED(test_close_with_a_worker_that_sleeps), EMBED(test_close_by_two_threads_at_once),
          EMBED_LOOP(test_close_by_a_worker, 4), EMBED(test_close_while_others_make_something),
          EMBED(test_close_leaves_ends_and_values_as_they_are), EMBED(test_close_leaves_handles_what_they_knew))
