/* test_embed_threads.c - calls from any thread of an application that knows nothing of Python. */
#include "embedding.h"

#include <unistd.h>

/* Everything at once: each thread has workers, channels and groups of its own. */
static void use_everything(void *context)
{
    int number = *(int *)context;
    for (size_t round = 0; round < test_scaled(3); round++) {
        lace_sender *feed, *output;
        lace_receiver *input, *results;
        lace_group *group;
        lace_worker *worker;
        char shown[32];
        make_channel(2, &feed, &input);
        make_channel(0, &output, &results);
        worker = start_code_with("from interlace import input, output\n"
                                 "for x in input: output.send([x, x * x])\n",
                                 input, output);
        for (int i = 0; i < 50; i++) {
            CHECK_OK(lace_send_value(feed, lace_value_int(number + i), SOON));
            snprintf(shown, sizeof shown, "[%d, %d]", number + i, (number + i) * (number + i));
            check_received(results, shown);
        }
        lace_sender_destroy(feed);
        check_result(worker, "None");
        lace_receiver_destroy(results);

        CHECK_OK(lace_group_create(host, "g", &group));
        for (int i = 0; i < 3; i++) {
            lace_worker_options options = {
                .function = "builtins:divmod", .args = lace_value_build("(ii)", 7, i == 2 ? 0 : 2), .group = group};
            CHECK_OK(lace_worker_start(host, &options, i == 0 ? &worker : NULL));
            if (i == 1)
                CHECK_OK(lace_group_wait(group, SOON));
        }
        CHECK_REFUSED(LACE_FAILED, "ZeroDivisionError", lace_group_wait(group, SOON));
        CHECK(lace_worker_start(host, NULL, NULL) == LACE_INVALID);
        CHECK_TEXT(lace_problem(), "options is NULL"); /* each thread has problems of its own */
        lace_group_destroy(group);
        check_result(worker, "(3, 1)");
    }
}

START_TEST(test_threads_use_everything_at_once)
{
    thread threads[4];
    int numbers[4];
    open_host(NULL);
    for (int i = 0; i < 4; i++) {
        numbers[i] = i * 1000;
        thread_start(&threads[i], use_everything, &numbers[i]);
    }
    for (int i = 0; i < 4; i++)
        thread_join(&threads[i]);
    close_host();
    CHECK_UINT(mapped_regions(), 0);
}
END_TEST

/* ---- opening and closing in any thread ------------------------------------------------------------------ */

typedef struct attempt {
    thread runner;
    lace_status status;
    lace_host *opened;
} attempt;

static void try_to_open(void *context)
{
    attempt *self = context;
    self->status = lace_host_open(NULL, &self->opened);
    CHECK((self->status == LACE_OK) == (self->opened != NULL));
}

static void try_to_close(void *context)
{
    attempt *self = context;
    self->status = lace_host_close(host);
}

static int successes(attempt *attempts, int count, void (*body)(void *), lace_status other, lace_status another)
{
    int good = 0;
    for (int i = 0; i < count; i++) {
        attempts[i] = (attempt){.opened = NULL};
        thread_start(&attempts[i].runner, body, &attempts[i]);
    }
    for (int i = 0; i < count; i++) {
        thread_join(&attempts[i].runner);
        lace_status status = attempts[i].status;
        CHECK_MSG(status == LACE_OK || status == other || status == another, "%s", status_name(status));
        good += status == LACE_OK;
        if (attempts[i].opened != NULL)
            host = attempts[i].opened;
    }
    return good;
}

START_TEST(test_threads_open_and_close_at_once)
{
    attempt attempts[5];
    for (size_t round = 0; round < test_scaled(6); round++) {
        CHECK_UINT(successes(attempts, 5, try_to_open, LACE_BUSY, LACE_BUSY), 1);
        run_code("pass");
        lace_worker_destroy(start_code("while True: pass"));
        CHECK_UINT(successes(attempts, 5, try_to_close, LACE_BUSY, LACE_CLOSED), 1);
    }
    CHECK_UINT(mapped_regions(), 0);
}
END_TEST

/* The thread that opened the host, and Python with it, ends; others go on, and open it again. */
static void open_and_leave(void *context)
{
    (void)context;
    open_host(NULL);
    run_code("pass");
}

static void open_and_close(void *context)
{
    (void)context;
    open_host(NULL);
    run_code("import asyncio, sqlite3, decimal, json, re, threading");
    close_host();
}

START_TEST(test_threads_come_and_go)
{
    thread one;
    for (int round = 0; round < 3; round++) {
        thread_start(&one, open_and_leave, NULL);
        thread_join(&one);
        run_code("pass");
        thread_start(&one, use_everything, &round);
        thread_join(&one);
        close_host();
        thread_start(&one, open_and_close, NULL);
        thread_join(&one);
    }
}
END_TEST

/* A stack as small as the system lets it be will do. */
static void *use_with_little(void *context)
{
    int number = 0;
    use_everything(&number);
    return context;
}

START_TEST(test_threads_with_little_stack)
{
    pthread_attr_t attributes;
    pthread_t small;
    open_host(NULL);
    pthread_attr_init(&attributes);
#ifdef __SANITIZE_ADDRESS__
    pthread_attr_setstacksize(&attributes, (size_t)512 << 10);
#else
    pthread_attr_setstacksize(&attributes, (size_t)64 << 10);
#endif
    CHECK(pthread_create(&small, &attributes, use_with_little, NULL) == 0);
    pthread_join(small, NULL);
    pthread_attr_destroy(&attributes);
    close_host();
}
END_TEST

/* ---- one handle, many threads --------------------------------------------------------------------------- */

typedef struct shared {
    lace_worker *worker;
    lace_group *group;
    lace_receiver *told;
    atomic_bool over;
} shared;

static void ask_all_the_time(void *context)
{
    shared *all = context;
    while (!atomic_load(&all->over)) {
        lace_value *value = NULL;
        bool ended = lace_worker_ended(all->worker);
        lace_status status = lace_worker_result(all->worker, TRY, &value);
        CHECK(status == (ended ? LACE_FAILED : status) && (status == LACE_FAILED || status == LACE_TIMEOUT));
        const lace_error *error = lace_worker_error(all->worker);
        if (error != NULL)
            CHECK(strcmp(error->type, "Cancelled") == 0 && error == lace_worker_error(all->worker));
        CHECK(lace_worker_end(all->worker) != NULL);
        CHECK(strncmp(lace_worker_name(all->worker), "-c", 2) == 0);
        lace_group_wait(all->group, TRY);
        lace_group_error(all->group);
        lace_case ended_case = {.kind = LACE_CASE_ENDED, .receiver = lace_worker_end(all->worker)};
        size_t index;
        lace_select(&ended_case, 1, 0, TRY, &index);
        if (error != NULL)
            return;
    }
}

static void cancel_all_the_time(void *context)
{
    shared *all = context;
    while (!atomic_load(&all->over)) {
        CHECK_OK(lace_worker_cancel(all->worker));
        CHECK_OK(lace_group_cancel(all->group));
        pass_ms(1);
    }
}

START_TEST(test_threads_share_a_worker)
{
    for (size_t round = 0; round < test_scaled(5); round++) {
        shared all = {.over = false};
        thread askers[3], canceller;
        open_host(NULL);
        all.told = open_tell();
        CHECK_OK(lace_group_create(host, NULL, &all.group));
        lace_worker_options options = {.code = "import interlace.host\ninterlace.host.tell(1)\nwhile True: pass",
                                       .group = all.group};
        CHECK_OK(lace_worker_start(host, &options, &all.worker));
        for (int i = 0; i < 3; i++)
            thread_start(&askers[i], ask_all_the_time, &all);
        check_received(all.told, "1");
        thread_start(&canceller, cancel_all_the_time, &all);
        for (int i = 0; i < 3; i++)
            thread_join(&askers[i]);
        atomic_store(&all.over, true);
        thread_join(&canceller);
        lace_worker_destroy(all.worker);
        lace_group_destroy(all.group);
        lace_receiver_destroy(all.told);
        close_host();
    }
}
END_TEST

/* Handles destroyed in threads of their own, while their workers end. */
static void destroy_worker(void *context)
{
    lace_worker_destroy(context);
}

START_TEST(test_threads_destroy_handles)
{
    thread destroyers[10];
    open_host(NULL);
    for (int i = 0; i < 10; i++)
        thread_start(&destroyers[i], destroy_worker, start_function("builtins:list", NULL));
    for (int i = 0; i < 10; i++)
        thread_join(&destroyers[i]);
    close_host();
    CHECK_UINT(mapped_regions(), 0);
}
END_TEST

TEST_MAIN("embed_threads", EMBED(test_threads_use_everything_at_once), EMBED(test_threads_open_and_close_at_once),
          EMBED(test_threads_come_and_go), EMBED(test_threads_with_little_stack), EMBED(test_threads_share_a_worker),
          EMBED(test_threads_destroy_handles))
