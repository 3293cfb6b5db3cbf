/* test_embed_wait.c - waiting for workers: deadlines, tokens, select, descriptors; and cancelling them. */
#include "embedding.h"

#include <poll.h>
#include <unistd.h>

/* A worker that runs until it is told to stop: its input ends. */
typedef struct waiter {
    lace_worker *worker;
    lace_sender *stop;
} waiter;

static waiter start_waiter(void)
{
    waiter started;
    lace_receiver *input;
    make_channel(0, &started.stop, &input);
    started.worker = start_code_with("import interlace\nfor x in interlace.input: pass", input, NULL);
    return started;
}

static void stop_waiter(waiter *stopped)
{
    lace_sender_destroy(stopped->stop);
    check_result(stopped->worker, "None");
}

START_TEST(test_wait_with_a_deadline)
{
    lace_value *value = NULL;
    open_host(NULL);
    waiter w = start_waiter();
    CHECK_REFUSED(LACE_TIMEOUT, "not ended", lace_worker_wait(w.worker, TRY));
    CHECK_REFUSED(LACE_TIMEOUT, lace_worker_name(w.worker), lace_worker_wait(w.worker, WITHIN_MS(20)));
    CHECK_REFUSED(LACE_TIMEOUT, "not ended", lace_worker_result(w.worker, TRY, &value));
    CHECK_REFUSED(LACE_TIMEOUT, "not ended", lace_worker_result(w.worker, WITHIN_MS(20), &value));
    CHECK(value == NULL && !lace_worker_ended(w.worker) && lace_worker_error(w.worker) == NULL);
    lace_sender_close(w.stop);
    CHECK_OK(lace_worker_wait(w.worker, NULL)); /* for ever */
    CHECK(lace_worker_ended(w.worker));
    CHECK_OK(lace_worker_wait(w.worker, TRY));
    stop_waiter(&w);
    close_host();
}
END_TEST

typedef struct asker {
    thread runner;
    lace_worker *worker;
    lace_cancel *token;
    lace_status status;
} asker;

static void ask(void *context)
{
    asker *self = context;
    lace_value *value = NULL;
    self->status = lace_worker_result(self->worker, UNDER(self->token), &value);
    lace_value_destroy(value);
}

START_TEST(test_wait_of_several_threads)
{
    asker askers[4];
    lace_cancel *token;
    open_host(NULL);
    CHECK_OK(lace_cancel_create(NULL, &token));
    waiter w = start_waiter();
    for (int i = 0; i < 4; i++) {
        askers[i] = (asker){.worker = w.worker, .token = i < 2 ? token : NULL};
        thread_start(&askers[i].runner, ask, &askers[i]);
    }
    for (int i = 0; i < 4; i++)
        thread_until_asleep(&askers[i].runner);
    lace_cancel_fire(token);
    for (int i = 0; i < 2; i++) {
        thread_join(&askers[i].runner);
        CHECK_STATUS(LACE_CANCELLED, askers[i].status); /* the wait: the worker runs on */
    }
    CHECK_STATUS(LACE_TIMEOUT, lace_worker_wait(w.worker, TRY));
    CHECK_REFUSED(LACE_CANCELLED, "wait", lace_worker_wait(w.worker, UNDER(token)));
    lace_sender_close(w.stop);
    for (int i = 2; i < 4; i++) {
        thread_join(&askers[i].runner);
        CHECK_OK(askers[i].status);
    }
    CHECK_OK(lace_worker_wait(w.worker, UNDER(token))); /* what need not wait is done */
    stop_waiter(&w);
    lace_cancel_destroy(token);
    close_host();
}
END_TEST

static lace_value *wait_for_itself(lace_call *call, void *context)
{
    (void)call;
    lace_worker *worker = *(lace_worker **)context;
    lace_value *value = NULL;
    lace_status waited = lace_worker_wait(worker, SOON), got = lace_worker_result(worker, SOON, &value);
    return lace_value_build("[sss]", status_name(waited), status_name(got), lace_problem());
}

START_TEST(test_wait_of_a_worker_for_itself)
{
    lace_worker *worker;
    lace_sender *go;
    lace_receiver *input;
    open_host(NULL);
    make_channel(1, &go, &input);
    CHECK_OK(lace_export(host, "wait", wait_for_itself, &worker, 0));
    worker = start_code_with("import interlace, interlace.host\n"
                             "interlace.input.recv()\n" /* `worker` is known now */
                             "said = interlace.host.wait()\n"
                             "assert said[:2] == ['INVALID', 'INVALID'] and 'its own end' in said[2], said\n",
                             input, NULL);
    CHECK_OK(lace_send_value(go, lace_value_none(), SOON));
    check_result(worker, "None");
    lace_sender_destroy(go);
    close_host();
}
END_TEST

/* ---- select, descriptors -------------------------------------------------------------------------------- */

START_TEST(test_end_as_a_case)
{
    enum { COUNT = 5 };
    waiter all[COUNT];
    lace_case cases[COUNT + 1];
    size_t index = 99;
    open_host(NULL);
    for (int i = 0; i < COUNT; i++) {
        all[i] = start_waiter();
        cases[i] = (lace_case){.kind = LACE_CASE_ENDED, .receiver = lace_worker_end(all[i].worker)};
    }
    cases[COUNT] = (lace_case){.kind = LACE_CASE_AT, .at = lace_clock() + 20000000};
    CHECK_OK(lace_select(cases, COUNT + 1, 0, SOON, &index));
    CHECK_UINT(index, COUNT);
    for (int i = 0; i < COUNT; i++) {
        int next = (i * 2) % COUNT;
        lace_sender_close(all[next].stop);
        lace_selector *selector;
        lace_message *message;
        CHECK_OK(lace_select(cases, COUNT, 0, SOON, &index));
        CHECK_UINT(index, next);
        CHECK(lace_worker_ended(all[next].worker));
        CHECK_OK(lace_message_create(lace_host_region(host), &message));
        CHECK_OK(lace_selector_create(cases, COUNT, &selector));
        CHECK_OK(lace_selector_wait(selector, 0, message, TRY, &index));
        CHECK_UINT(index, next);
        lace_selector_destroy(selector);
        lace_message_destroy(message);
        stop_waiter(&all[next]);
        all[next] = start_waiter();
        cases[next].receiver = lace_worker_end(all[next].worker);
    }
    for (int i = 0; i < COUNT; i++)
        stop_waiter(&all[i]);
    CHECK(lace_worker_end(NULL) == NULL);
    close_host();
}
END_TEST

static bool readable(int fd, int ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    return poll(&poller, 1, ms) == 1;
}

/* Readable means that it has ended: whoever polls need not poll again. */
START_TEST(test_end_as_a_descriptor)
{
    static const char *const codes[] = {"pass", "1 / 0", "import sys; sys.exit(2)", "x = list(range(200000))"};
    open_host(NULL);
    for (size_t i = 0; i < test_scaled(40); i++) {
        int fd = -1, again = -1;
        lace_value *value;
        lace_worker *worker = start_code(codes[i % 4]);
        CHECK_OK(lace_receiver_fd(lace_worker_end(worker), &fd));
        CHECK_OK(lace_receiver_fd(lace_worker_end(worker), &again));
        CHECK(fd >= 0 && fd == again);
        CHECK(readable(fd, 60000));
        CHECK(lace_worker_ended(worker));
        CHECK_OK(lace_worker_wait(worker, TRY));
        lace_status status = lace_worker_result(worker, TRY, &value);
        CHECK(status == (i % 4 == 0 || i % 4 == 3 ? LACE_OK : LACE_FAILED));
        if (status == LACE_OK)
            lace_value_destroy(value);
        CHECK(readable(fd, 0)); /* from then on */
        lace_worker_destroy(worker);
    }
    waiter w = start_waiter();
    int fd = -1;
    CHECK_OK(lace_receiver_fd(lace_worker_end(w.worker), &fd));
    CHECK(!readable(fd, 30));
    stop_waiter(&w);
    close_host();
}
END_TEST

/* ---- cancelling ----------------------------------------------------------------------------------------- */

START_TEST(test_cancel_of_a_worker)
{
    static const char *const doing[] = {"while True: pass", "r.recv()", "interlace.select(interlace.after(1000))",
                                        "list(r)", "interlace.select(r, (t, 1), timeout=1000)"};
    char code[512];
    open_host(&(lace_host_options){.grace = 60});
    lace_receiver *told = open_tell();
    snprintf(code, sizeof code,
             "import interlace, interlace.host\n"
             "s, r = interlace.channel(0)\n"
             "t, u = interlace.channel(0)\n"
             "try:\n"
             "    interlace.host.tell('at it')\n"
             "    %s\n"
             "finally:\n"
             "    interlace.host.tell('finally')\n",
             doing[_i]);
    lace_worker *worker = start_code(code);
    check_received(told, "'at it'");
    CHECK_OK(lace_worker_cancel(worker));
    CHECK_OK(lace_worker_cancel(worker)); /* may be repeated */
    CHECK_OK(lace_worker_wait(worker, SOON));
    CHECK_OK(lace_worker_cancel(worker)); /* also after the end */
    const lace_error *error = lace_worker_error(worker);
    CHECK(error != NULL);
    CHECK_TEXT(error->type, "Cancelled");
    CHECK_TEXT(error->traceback, "");
    CHECK(error->message[0] != '\0');
    check_received(told, "'finally'");
    lace_value *none;
    CHECK_STATUS(LACE_TIMEOUT, lace_recv_value(told, TRY, &none));
    check_failure(worker, "Cancelled", "cancelled");
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

START_TEST(test_cancel_before_it_runs)
{
    open_host(NULL);
    lace_receiver *told = open_tell();
    lace_worker *workers[8];
    for (int i = 0; i < 8; i++) {
        workers[i] = start_code("import interlace.host\nwhile True: pass");
        CHECK_OK(lace_worker_cancel(workers[i]));
    }
    for (int i = 0; i < 8; i++)
        check_failure(workers[i], "Cancelled", "");
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

/* Who is cancelled and fails of something else has failed of that; who ends well all the same has ended well. */
START_TEST(test_cancel_that_is_caught)
{
    static const char ends[] = "import interlace, interlace.host\n"
                               "s, r = interlace.channel(0)\n"
                               "try:\n"
                               "    interlace.host.tell('at it')\n"
                               "    r.recv()\n"
                               "except interlace.Cancelled: %s\n";
    char code[300];
    open_host(NULL);
    lace_receiver *told = open_tell();
    snprintf(code, sizeof code, ends, _i == 0 ? "raise ValueError('instead')" : "pass");
    lace_worker *worker = start_code(code);
    check_received(told, "'at it'");
    CHECK_OK(lace_worker_cancel(worker));
    if (_i == 0)
        check_failure(worker, "ValueError", "instead");
    else
        check_result(worker, "None");
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

TEST_MAIN("embed_wait", EMBED(test_wait_with_a_deadline), EMBED(test_wait_of_several_threads),
          EMBED(test_wait_of_a_worker_for_itself), EMBED(test_end_as_a_case), EMBED(test_end_as_a_descriptor),
          EMBED_LOOP(test_cancel_of_a_worker, 5), EMBED(test_cancel_before_it_runs),
          EMBED_LOOP(test_cancel_that_is_caught, 2))
