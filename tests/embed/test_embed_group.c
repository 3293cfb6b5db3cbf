/* test_embed_group.c - groups: the first failure cancels the rest, and one call waits for all. */
#include "embedding.h"

#include <unistd.h>

static lace_group *make_group(const char *name)
{
    lace_group *group;
    CHECK_OK(lace_group_create(host, name, &group));
    return group;
}

/* Starts a worker of the group; `name` names it. The handle is let go of when ret_worker is NULL. */
static void start_in(lace_group *group, const char *name, const char *code, lace_worker **ret_worker)
{
    lace_worker_options options = {.code = code, .name = name, .group = group};
    lace_status status = lace_worker_start(host, &options, ret_worker);
    CHECK_MSG(status == LACE_OK, "lace_worker_start gave %s: %s", status_name(status), lace_problem());
}

static const char endless[] = "import interlace, interlace.host\n"
                              "try:\n"
                              "    interlace.host.tell('at it')\n"
                              "    while True: pass\n"
                              "finally:\n"
                              "    interlace.host.tell('over')\n";

START_TEST(test_group_waits_for_all)
{
    open_host(NULL);
    lace_receiver *told = open_tell();
    lace_group *group = make_group("all");
    CHECK_OK(lace_group_wait(group, TRY)); /* of nobody */
    for (int i = 0; i < 20; i++)
        start_in(group, "one", "import interlace.host; interlace.host.tell(1)", NULL);
    CHECK_OK(lace_group_wait(group, SOON));
    CHECK_UINT(lace_receiver_length(told), 20);
    CHECK(lace_group_error(group) == NULL);
    start_in(group, "one", "import interlace.host; interlace.host.tell(1)", NULL); /* and more */
    CHECK_OK(lace_group_wait(group, NULL));
    CHECK_UINT(lace_receiver_length(told), 21);
    lace_group_destroy(group);
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

START_TEST(test_group_first_failure_cancels_the_rest)
{
    lace_worker *failing, *cut, *outside;
    open_host(NULL);
    lace_receiver *told = open_tell();
    lace_group *group = make_group("doomed");
    start_in(group, "cut", endless, &cut);
    start_in(NULL, "outside", endless, &outside);
    check_received(told, "'at it'");
    check_received(told, "'at it'");
    start_in(group, "failing", "def f(): return {}['here']\nf()", &failing);
    check_received(told, "'over'"); /* before anybody waits */
    for (int i = 0; i < 2; i++) {   /* may be repeated */
        CHECK_REFUSED(LACE_FAILED, "group 'doomed': worker 'failing' failed: KeyError: 'here'",
                      lace_group_wait(group, SOON));
        const lace_error *error = lace_group_error(group);
        CHECK(error != NULL);
        CHECK_TEXT(error->worker, "failing");
        CHECK_TEXT(error->type, "KeyError");
        CHECK_TEXT(error->message, "'here'");
        CHECK(strstr(error->traceback, "in f\n") != NULL);
    }
    CHECK_STATUS(LACE_TIMEOUT, lace_worker_wait(outside, TRY)); /* is of no group */
    start_in(group, "late", endless, NULL);
    CHECK_STATUS(LACE_FAILED, lace_group_wait(group, SOON)); /* later ones are cancelled, too */
    check_failure(cut, "Cancelled", "");
    check_failure(failing, "KeyError", "here");
    CHECK_TEXT(lace_group_error(group)->worker, "failing");
    lace_group_destroy(group);
    CHECK_OK(lace_worker_cancel(outside));
    check_failure(outside, "Cancelled", "");
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

/* Two fail; the error is that of who failed first, whoever was started first. */
START_TEST(test_group_error_is_the_first_in_time)
{
    lace_worker *last;
    lace_sender *go;
    lace_receiver *input;
    open_host(NULL);
    make_channel(1, &go, &input);
    lace_group *group = make_group(NULL);
    lace_worker_options options = {.code = "import interlace\n"
                                           "try: interlace.input.recv()\n"
                                           "except interlace.Cancelled: raise ValueError('second')\n",
                                   .name = "second",
                                   .input = input,
                                   .group = group};
    CHECK_OK(lace_worker_start(host, &options, &last));
    start_in(group, "first", "raise LookupError('first')", NULL);
    CHECK_REFUSED(LACE_FAILED, "LookupError", lace_group_wait(group, SOON));
    CHECK_TEXT(lace_group_error(group)->worker, "first");
    CHECK_TEXT(lace_group_error(group)->message, "first");
    check_failure(last, lace_worker_error(last)->type, ""); /* Cancelled, if it had not come so far */
    lace_sender_destroy(go);
    lace_group_destroy(group);
    close_host();
}
END_TEST

START_TEST(test_group_cancel)
{
    lace_worker *worker;
    open_host(NULL);
    lace_receiver *told = open_tell();
    lace_group *group = make_group("cut");
    start_in(group, "endless", endless, &worker);
    start_in(group, "well", "pass", NULL);
    check_received(told, "'at it'");
    CHECK_OK(lace_group_cancel(group));
    CHECK_OK(lace_group_cancel(group));
    CHECK_REFUSED(LACE_CANCELLED, "'cut' was cancelled", lace_group_wait(group, SOON));
    CHECK(lace_group_error(group) == NULL);
    check_received(told, "'over'");
    check_failure(worker, "Cancelled", "");
    start_in(group, "late", endless, &worker); /* those started later, too */
    check_failure(worker, "Cancelled", "");
    CHECK_STATUS(LACE_CANCELLED, lace_group_wait(group, SOON));
    lace_group_destroy(group);
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

START_TEST(test_group_wait_with_a_deadline)
{
    lace_cancel *token;
    open_host(NULL);
    lace_receiver *told = open_tell();
    lace_group *group = make_group(NULL);
    start_in(group, "endless", endless, NULL);
    start_in(group, "failing", "pass", NULL);
    check_received(told, "'at it'");
    CHECK_REFUSED(LACE_TIMEOUT, "endless", lace_group_wait(group, TRY));
    CHECK_REFUSED(LACE_TIMEOUT, "endless", lace_group_wait(group, WITHIN_MS(20)));
    CHECK_OK(lace_cancel_create(NULL, &token));
    lace_cancel_fire(token);
    CHECK_STATUS(LACE_CANCELLED, lace_group_wait(group, UNDER(token)));
    CHECK(lace_group_error(group) == NULL);
    lace_value *none;
    CHECK_STATUS(LACE_TIMEOUT, lace_recv_value(told, TRY, &none)); /* it runs on */
    lace_group_destroy(group);                                     /* is cancelled, and waited for */
    check_received(told, "'over'");
    lace_cancel_destroy(token);
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

static gate stuck_gate = GATE_INIT, sits = GATE_INIT;

static lace_value *get_stuck(lace_call *call, void *context)
{
    (void)call;
    (void)context;
    gate_open(&sits);
    gate_wait(&stuck_gate);
    return lace_value_none();
}

START_TEST(test_group_destroyed_with_a_worker_that_does_not_end)
{
    lace_worker *worker;
    open_host(&(lace_host_options){.grace = 0.1});
    CHECK_OK(lace_export(host, "stick", get_stuck, NULL, 0));
    lace_group *group = make_group(NULL);
    start_in(group, "sitter", "import interlace.host; interlace.host.stick()", &worker);
    gate_wait(&sits);
    int64_t start = lace_clock();
    lace_group_destroy(group);
    double took = (double)(lace_clock() - start) / 1e9;
    CHECK_MSG(took >= 0.09 && took < 20, "it took %g s", took);
    CHECK(!lace_worker_ended(worker));
    gate_open(&stuck_gate);
    check_failure(worker, "Cancelled", "");
    close_host();
}
END_TEST

/* By a C function that one of its workers calls: it does not wait for that one. */
static lace_value *destroy_group(lace_call *call, void *context)
{
    lace_group **group = context;
    (void)call;
    lace_group_destroy(*group);
    *group = NULL;
    return lace_value_none();
}

START_TEST(test_group_destroyed_by_its_own_worker)
{
    lace_worker *worker;
    open_host(&(lace_host_options){.grace = 60});
    lace_receiver *told = open_tell();
    lace_group *group = make_group(NULL);
    CHECK_OK(lace_export(host, "destroy", destroy_group, &group, 0));
    start_in(group, "other", endless, NULL);
    check_received(told, "'at it'");
    start_in(group, "destroyer", "import interlace.host; interlace.host.destroy()\nwhile True: pass", &worker);
    CHECK_OK(lace_worker_wait(worker, SOON));
    CHECK(group == NULL);
    check_received(told, "'over'");
    check_failure(worker, "Cancelled", "");
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

static void start_many(void *context)
{
    for (int i = 0; i < 10; i++)
        start_in(context, "one", "import interlace.host; interlace.host.tell(1)", NULL);
}

START_TEST(test_group_used_by_several_threads)
{
    thread starters[4];
    open_host(NULL);
    lace_receiver *told = open_tell();
    lace_group *group = make_group("shared");
    for (int i = 0; i < 4; i++)
        thread_start(&starters[i], start_many, group);
    for (int i = 0; i < 100; i++)
        CHECK_OK(lace_group_wait(group, SOON)); /* of those that there are */
    for (int i = 0; i < 4; i++)
        thread_join(&starters[i]);
    CHECK_OK(lace_group_wait(group, SOON));
    CHECK_UINT(lace_receiver_length(told), 40);
    lace_group_destroy(group);
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

/* A worker of a group that starts workers of its own: they end with it. */
START_TEST(test_group_reaches_workers_of_workers)
{
    lace_worker *worker;
    open_host(NULL);
    lace_receiver *told = open_tell();
    lace_group *group = make_group(NULL);
    start_in(group, "parent",
             "import interlace, interlace.host\n"
             "def child():\n"
             "    try:\n"
             "        interlace.host.tell('at it')\n"
             "        while True: pass\n"
             "    finally: interlace.host.tell('over')\n"
             "with interlace.Group() as own:\n"
             "    own.start(child)\n",
             &worker);
    check_received(told, "'at it'");
    CHECK_OK(lace_group_cancel(group));
    CHECK_STATUS(LACE_CANCELLED, lace_group_wait(group, SOON));
    check_received(told, "'over'");
    lace_worker_destroy(worker);
    lace_group_destroy(group);
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

/* Those who stumble over the ends of the cancelled have not failed. */
START_TEST(test_group_failure_is_not_who_stumbled)
{
    for (size_t i = 0; i < test_scaled(10); i++) {
        lace_sender *sender, *other;
        lace_receiver *receiver, *rest;
        open_host(NULL);
        lace_group *group = make_group(NULL);
        make_channel(0, &sender, &receiver);
        make_channel(0, &other, &rest);
        lace_worker_options options = {.code = "import interlace\nfor x in interlace.input: raise ArithmeticError(x)",
                                       .name = "culprit",
                                       .input = receiver,
                                       .group = group};
        CHECK_OK(lace_worker_start(host, &options, NULL));
        options = (lace_worker_options){
            .code = "import interlace\nwhile True: interlace.output.send(interlace.input.recv())",
            .name = "stumbler",
            .input = rest,
            .output = sender,
            .group = group};
        CHECK_OK(lace_worker_start(host, &options, NULL));
        while (lace_send_value(other, lace_value_int(1), SOON) == LACE_OK)
            continue;
        CHECK_REFUSED(LACE_FAILED, "ArithmeticError: 1", lace_group_wait(group, SOON));
        CHECK_TEXT(lace_group_error(group)->worker, "culprit");
        lace_sender_destroy(other);
        lace_group_destroy(group);
        close_host();
    }
}
END_TEST

/* Cancelled is what the host has cancelled, not what is called so. */
START_TEST(test_group_failure_that_is_called_cancelled)
{
    open_host(NULL);
    static const char *const codes[] = {"class Cancelled(Exception): pass\nraise Cancelled('mine')",
                                        "import interlace\nraise interlace.Cancelled('mine')"};
    for (size_t i = 0; i < 2; i++) {
        lace_group *group = make_group("own");
        start_in(group, "caller", codes[i], NULL);
        CHECK_REFUSED(LACE_FAILED, "worker 'caller' failed: Cancelled: mine", lace_group_wait(group, SOON));
        CHECK_TEXT(lace_group_error(group)->message, "mine");
        lace_group_destroy(group);
    }
    close_host();
}
END_TEST

START_TEST(test_group_of_a_host_that_is_closed)
{
    lace_worker *worker = NULL;
    open_host(NULL);
    lace_group *group = make_group("old");
    start_in(group, "one", "pass", NULL);
    CHECK_OK(lace_group_wait(group, SOON));
    close_host();
    open_host(NULL);
    lace_worker_options options = {.code = "pass", .group = group, .args = lace_value_build("(s)", "x")};
    CHECK_REFUSED(LACE_CLOSED, "group", lace_worker_start(host, &options, &worker));
    CHECK(worker == NULL);
    CHECK_STATUS(LACE_CANCELLED, lace_group_wait(group, SOON)); /* closing has cancelled it */
    lace_group *now = make_group("new");
    start_in(now, "one", "pass", NULL);
    CHECK_OK(lace_group_wait(now, SOON));
    lace_group_destroy(now);
    lace_group_destroy(group);
    close_host();
}
END_TEST

TEST_MAIN("embed_group", EMBED(test_group_waits_for_all), EMBED(test_group_first_failure_cancels_the_rest),
          EMBED(test_group_error_is_the_first_in_time), EMBED(test_group_cancel),
          EMBED(test_group_wait_with_a_deadline), EMBED(test_group_destroyed_with_a_worker_that_does_not_end),
          EMBED(test_group_destroyed_by_its_own_worker), EMBED(test_group_used_by_several_threads),
          EMBED(test_group_reaches_workers_of_workers), EMBED(test_group_failure_is_not_who_stumbled),
          EMBED(test_group_failure_that_is_called_cancelled), EMBED(test_group_of_a_host_that_is_closed))
