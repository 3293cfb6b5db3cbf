/* test_embed_call.c - C functions at work: locks, waits, several workers at once. */
#include "embedding.h"

#include <unistd.h>

/* ---- several at once ------------------------------------------------------------------------------------ */

typedef struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int present, wanted;
} meeting;

/* Returns when as many workers are in it at the same time as are wanted. */
static lace_value *meet(lace_call *call, void *context)
{
    meeting *at = context;
    pthread_mutex_lock(&at->lock);
    if (++at->present == at->wanted)
        pthread_cond_broadcast(&at->changed);
    while (at->present < at->wanted)
        pthread_cond_wait(&at->changed, &at->lock);
    pthread_mutex_unlock(&at->lock);
    return lace_value_str(lace_call_worker(call));
}

START_TEST(test_call_by_several_workers_at_once)
{
    meeting at = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 6};
    lace_worker *workers[6];
    char name[32], shown[32];
    open_host(NULL);
    CHECK_OK(
        lace_export(host, "meet", meet, &at, _i == 0 ? 0 : LACE_EXPORT_KEEP_LOCK)); /* each has a lock of its own */
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "number %d", i);
        lace_worker_options options = {.function = "interlace.host:meet", .name = name};
        CHECK_OK(lace_worker_start(host, &options, &workers[i]));
    }
    for (int i = 0; i < 6; i++) {
        snprintf(shown, sizeof shown, "'number %d'", i);
        check_result(workers[i], shown);
    }
    close_host();
}
END_TEST

/* ---- the lock ------------------------------------------------------------------------------------------- */

static atomic_uint ticks;

static lace_value *tick(lace_call *call, void *context)
{
    (void)call;
    (void)context;
    atomic_fetch_add(&ticks, 1);
    return lace_value_none();
}

/* Whether another thread of the worker ticks meanwhile: for 50 ms, or until one comes. */
static bool ticks_come(bool wanted)
{
    unsigned before = atomic_load(&ticks);
    for (int i = 0; i < (wanted ? 60000 : 50); i++) {
        pass_ms(1);
        if (atomic_load(&ticks) != before)
            return true;
    }
    return false;
}

/* Keeps the lock, unless it waits in one of our calls. */
static lace_value *look(lace_call *call, void *context)
{
    unsigned flags = (unsigned)(uintptr_t)context;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_value *value;
    bool keeps = flags & LACE_EXPORT_KEEP_LOCK;
    CHECK(ticks_come(!keeps) == !keeps);
    make_channel(0, &sender, &receiver);
    for (unsigned before = atomic_load(&ticks); atomic_load(&ticks) == before;) {
        lace_wait wait = *lace_call_wait(call); /* a deadline besides */
        wait.deadline = lace_clock() + 20000000;
        CHECK_STATUS(LACE_TIMEOUT, lace_recv_value(receiver, &wait, &value));
    }
    CHECK(ticks_come(!keeps) == !keeps); /* and it has it again */
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return lace_value_none();
}

START_TEST(test_call_keeps_the_lock_if_asked_to)
{
    unsigned flags = _i == 0 ? 0 : LACE_EXPORT_KEEP_LOCK;
    open_host(NULL);
    CHECK_OK(lace_export(host, "tick", tick, NULL, flags));
    CHECK_OK(lace_export(host, "look", look, (void *)(uintptr_t)flags, flags));
    run_code("import interlace.host, threading\n"
             "done = False\n"
             "def run():\n"
             "    while not done: interlace.host.tick()\n"
             "thread = threading.Thread(target=run)\n"
             "thread.start()\n"
             "interlace.host.look()\n"
             "done = True\n"
             "thread.join()\n");
    close_host();
}
END_TEST

/* From threads that the worker's Python code has started. */
START_TEST(test_call_from_threads_of_a_worker)
{
    meeting at = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 4};
    open_host(NULL);
    CHECK_OK(lace_export(host, "meet", meet, &at, 0));
    run_code("import interlace, interlace.host, threading\n"
             "names = []\n"
             "all = [threading.Thread(target=lambda: names.append(interlace.host.meet())) for _ in range(4)]\n"
             "for t in all: t.start()\n"
             "for t in all: t.join()\n"
             "assert names == [interlace.current_worker().name] * 4, names\n");
    close_host();
}
END_TEST

/* ---- waiting -------------------------------------------------------------------------------------------- */

static lace_value *receive_next(lace_call *call, void *context)
{
    lace_value *value;
    lace_status status = lace_recv_value(context, lace_call_wait(call), &value);
    if (status == LACE_OK)
        return value;
    return lace_call_fail(call, "EOFError", "%s", status_name(status));
}

START_TEST(test_call_waits_until_the_worker_is_cancelled)
{
    static const char *const bodies[] = {
        "interlace.host.next()",
        /* what a function says that gave up since it was cancelled is not what the worker ends with */
        "try: interlace.host.next()\n"
        "    except Exception: pass",
        "import threading\n"
        "    t = threading.Thread(target=interlace.host.next); t.start()\n"
        "    while True: t.join()",
        "with interlace.Group() as group: group.start('interlace.host:next')",
    };
    lace_sender *sender;
    lace_receiver *receiver;
    char code[512];
    unsigned flags = _i % 2 == 0 ? 0 : LACE_EXPORT_KEEP_LOCK;
    open_host(&(lace_host_options){.grace = 60});
    lace_receiver *told = open_tell();
    make_channel(4, &sender, &receiver);
    CHECK_OK(lace_export(host, "next", receive_next, receiver, flags));
    snprintf(code, sizeof code,
             "import interlace, interlace.host\n"
             "assert interlace.host.next() == 'one'\n"
             "try:\n"
             "    interlace.host.tell('at it')\n"
             "    %s\n"
             "    interlace.host.tell('went on')\n"
             "except interlace.Cancelled as error:\n"
             "    interlace.host.tell(type(error).__name__)\n"
             "    raise\n",
             bodies[_i / 2]);
    CHECK_OK(lace_send_value(sender, lace_value_str("one"), SOON));
    lace_worker *worker = start_code(code);
    check_received(told, "'at it'");
    if (_i % 3 == 0)
        pass_ms(20); /* mostly it waits by then */
    CHECK_OK(lace_worker_cancel(worker));
    CHECK_OK(lace_worker_wait(worker, SOON));
    check_received(told, "'Cancelled'");
    check_failure(worker, "Cancelled", "");
    CHECK_OK(lace_send_value(sender, lace_value_str("two"), SOON)); /* nobody has taken part of it */
    check_received(receiver, "'two'");
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

/* The group around a call is cancelled, not the worker. */
START_TEST(test_call_waits_until_its_group_is_cancelled)
{
    lace_sender *sender;
    lace_receiver *receiver;
    open_host(NULL);
    make_channel(0, &sender, &receiver);
    CHECK_OK(lace_export(host, "next", receive_next, receiver, 0));
    run_code("import interlace, interlace.host\n"
             "try:\n"
             "    with interlace.Group() as group:\n"
             "        group.start('builtins:int', 'x')\n" /* fails */
             "        interlace.host.next()\n"
             "except ExceptionGroup as errors: assert [type(e) for e in errors.exceptions] == [ValueError], errors\n"
             "else: assert False\n"
             "assert not interlace.current_worker().done()\n");
    CHECK_STATUS(LACE_TIMEOUT, lace_send_value(sender, lace_value_none(), TRY)); /* nobody waits any more */
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    close_host();
}
END_TEST

/* ---- calls of the library within -------------------------------------------------------------------------- */

/* Has another worker do it, and waits for that one. */
static lace_value *delegate(lace_call *call, void *context)
{
    lace_worker *worker;
    lace_value *result = NULL;
    (void)context;
    lace_worker_options options = {
        .function = "interlace.host:last", .args = lace_value_share(lace_call_args(call)), .name = "deputy"};
    lace_status status = lace_worker_start(host, &options, &worker);
    if (status != LACE_OK)
        return lace_call_fail(call, "OSError", "%s", lace_problem());
    status = lace_worker_result(worker, lace_call_wait(call), &result);
    if (status != LACE_OK)
        lace_call_fail(call, "OSError", "%s", lace_problem());
    lace_worker_destroy(worker);
    return result;
}

static lace_value *last(lace_call *call, void *context)
{
    const lace_value *args = lace_call_args(call);
    (void)context;
    if (lace_value_size(args) == 0)
        return lace_call_fail(call, "IndexError", "%s has nothing", lace_call_worker(call));
    lace_value *pair = lace_value_list();
    lace_value_append(pair, lace_value_share(lace_value_at(args, lace_value_size(args) - 1)));
    lace_value_append(pair, lace_value_str(lace_call_worker(call)));
    return pair;
}

START_TEST(test_call_starts_workers_and_exports)
{
    open_host(NULL);
    CHECK_OK(lace_export(host, "delegate", delegate, NULL, _i == 0 ? 0 : LACE_EXPORT_KEEP_LOCK));
    CHECK_OK(lace_export(host, "last", last, NULL, 0));
    run_code("import interlace.host\n"
             "assert interlace.host.delegate(1, [2]) == [[2], 'deputy']\n"
             "assert interlace.host.last('x')[0] == 'x'\n"
             "try: interlace.host.delegate()\n"
             "except OSError as error: assert 'IndexError: deputy has nothing' in str(error), error\n"
             "else: assert False\n");
    close_host();
}
END_TEST

START_TEST(test_call_of_nothing)
{
    CHECK(lace_call_args(NULL) == NULL);
    CHECK_TEXT(lace_call_worker(NULL), "");
    CHECK(lace_call_wait(NULL) == NULL);
    CHECK(lace_call_fail(NULL, NULL, NULL) == NULL);
}
END_TEST

TEST_MAIN("embed_call", EMBED_LOOP(test_call_by_several_workers_at_once, 2),
          EMBED_LOOP(test_call_keeps_the_lock_if_asked_to, 2), EMBED(test_call_from_threads_of_a_worker),
          EMBED_LOOP(test_call_waits_until_the_worker_is_cancelled, 8),
          EMBED(test_call_waits_until_its_group_is_cancelled), EMBED_LOOP(test_call_starts_workers_and_exports, 2),
          EMBED(test_call_of_nothing))
