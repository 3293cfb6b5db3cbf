/* test_waits.c - C3: a wait sleeps in the kernel. Whatever a thread waits for, while it sleeps it uses no CPU time at
 * all and the kernel switches it not once: so it makes no system calls and nothing polls. Also the park and unpark
 * callbacks, with which an interpreter drops its lock. */
#include "fixture.h"

#include <sched.h>
#include <string.h>
#include <sys/resource.h>

/* Settles first: a thread that has just fallen asleep may still have been counted as running. */
static void check_costs_nothing(const thread *watched, unsigned milliseconds)
{
    thread_cost before, after = {0, 0};
    for (int tries = 0;; tries++) { /* on a busy machine "asleep" may have been a lock on the way */
        before = thread_cost_now(watched);
        pass_ms(milliseconds);
        after = thread_cost_now(watched);
        if (before.cpu_ns == after.cpu_ns && before.switches == after.switches)
            return;
        CHECK_MSG(tries < 2, "%llu ns and %llu switches in %u ms", (unsigned long long)(after.cpu_ns - before.cpu_ns),
                  (unsigned long long)(after.switches - before.switches), milliseconds);
    }
}

#define WAIT_KINDS 5 /* of call_kind */

/* _i: the transport and what is done on it */
START_TEST(test_c3_a_wait_costs_nothing)
{
    pair p;
    call waiting;
    call_kind kind = (call_kind)(_i % WAIT_KINDS);
    pair_open(&p, _i / WAIT_KINDS);
    if (kind == CALL_SELECTOR_RECV && !(p.kind->can & CAN_REGISTER)) {
        pair_close(&p);
        return;
    }
    bool sends = kind == CALL_SEND || kind == CALL_SELECT_SEND;
    size_t room = sends ? fill_up(p.sender) : 0;
    call_start(&waiting, kind, &p, 5);
    call_until_asleep(&waiting);
    check_costs_nothing(&waiting.runner, 100);
    CHECK(!waiting.done);
    if (!sends)
        CHECK_OK(send_u64(p.sender, 5, NULL));
    for (size_t i = 0; sends && i <= room; i++)
        CHECK_OK(lace_recv(p.receiver, p.message, NULL));
    CHECK_OK(call_join(&waiting));
    CHECK_UINT(waiting.value, 5);
    pair_close(&p);
}
END_TEST

START_TEST(test_c3_a_wait_with_deadline_and_cancel_costs_nothing)
{
    pair p;
    call waiting;
    lace_cancel *root, *cancel;
    pair_open(&p, _i);
    CHECK_OK(lace_cancel_create(NULL, &root));
    CHECK_OK(lace_cancel_create(root, &cancel));
    call_start_waiting(&waiting, CALL_RECV, &p, 0, lace_clock() + 60000000000, cancel);
    call_until_asleep(&waiting);
    check_costs_nothing(&waiting.runner, 100);
    lace_cancel_fire(root);
    CHECK_STATUS(LACE_CANCELLED, call_join(&waiting));
    lace_cancel_destroy(cancel);
    lace_cancel_destroy(root);
    pair_close(&p);
}
END_TEST

/* Traffic on one channel must not wake those who wait on another of the same region. */
START_TEST(test_c3_traffic_elsewhere_wakes_nobody)
{
    pair p, q;
    call waiting[3];
    pair_open(&p, _i + 1);
    pair_open_beside(&q, &p);
    for (size_t i = 0; i < 3; i++) {
        call_start(&waiting[i], i == 2 ? CALL_SELECTOR_RECV : i == 1 ? CALL_SELECT_RECV : CALL_RECV, &p, 0);
        call_until_asleep(&waiting[i]);
    }
    check_costs_nothing(&waiting[2].runner, 20);
    thread_cost before[3], after;
    for (size_t i = 0; i < 3; i++)
        before[i] = thread_cost_now(&waiting[i].runner);
    for (size_t i = 0; i < 5000; i++) {
        CHECK_OK(send_u64(q.sender, i, TRY));
        CHECK_OK(lace_recv(q.receiver, q.message, TRY));
    }
    for (size_t i = 0; i < 3; i++) {
        after = thread_cost_now(&waiting[i].runner);
        CHECK_UINT(after.switches - before[i].switches, 0);
        CHECK_UINT(after.cpu_ns - before[i].cpu_ns, 0);
    }
    for (uint64_t i = 0; i < 3; i++)
        CHECK_OK(send_u64(p.sender, i, NULL));
    for (size_t i = 0; i < 3; i++)
        CHECK_OK(call_join(&waiting[i]));
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

/* One message wakes one of many waiters, not the herd. */
START_TEST(test_c3_one_message_wakes_one_waiter)
{
    pair p;
    call waiting[6];
    thread_cost before[6];
    size_t woken = 0;
    pair_open(&p, _i);
    for (size_t i = 0; i < 6; i++) {
        call_start(&waiting[i], CALL_RECV, &p, 0);
        call_until_asleep(&waiting[i]);
    }
    for (size_t i = 0; i < 6; i++) {
        check_costs_nothing(&waiting[i].runner, 10);
        before[i] = thread_cost_now(&waiting[i].runner);
    }
    CHECK_OK(send_u64(p.sender, 7, NULL));
    for (;;) { /* until that one has it */
        size_t done = 0;
        for (size_t i = 0; i < 6; i++)
            done += waiting[i].done;
        if (done == 1)
            break;
        CHECK(done == 0);
        sched_yield();
    }
    for (size_t i = 0; i < 6; i++)
        if (!waiting[i].done)
            woken += thread_cost_now(&waiting[i].runner).switches != before[i].switches;
    CHECK_UINT(woken, 0);
    lace_sender_close(p.sender);
    for (size_t i = 0; i < 6; i++) {
        lace_status status = call_join(&waiting[i]);
        CHECK(status == LACE_OK || status == LACE_END);
    }
    pair_close(&p);
}
END_TEST

/* Closing one of several ends concerns those who wait on it, and nobody else. */
START_TEST(test_c3_closing_one_end_wakes_nobody_else)
{
    pair p, twin;
    call mine, other;
    pair_open(&p, _i);
    twin = p;
    CHECK_OK(lace_receiver_clone(p.receiver, &twin.receiver));
    call_start(&other, CALL_RECV, &twin, 0);
    call_until_asleep(&other);
    call_start(&mine, CALL_RECV, &p, 0);
    call_until_asleep(&mine);
    check_costs_nothing(&other.runner, 20);
    thread_cost before = thread_cost_now(&other.runner);
    lace_receiver_close(p.receiver);
    CHECK_STATUS(LACE_CLOSED, call_join(&mine));
    thread_cost after = thread_cost_now(&other.runner);
    CHECK_UINT(after.switches - before.switches, 0);
    CHECK_UINT(after.cpu_ns - before.cpu_ns, 0);
    CHECK_OK(send_u64(p.sender, 4, NULL));
    CHECK_OK(call_join(&other));
    lace_receiver_destroy(twin.receiver);
    pair_close(&p);
}
END_TEST

/* ---- park and unpark ---------------------------------------------------------------------------------- */

START_TEST(test_c3_park_comes_in_pairs_around_a_wait)
{
    pair p;
    call waiting;
    call_kind kind = (call_kind)(_i % 5);
    pair_open(&p, _i / 5);
    if (kind == CALL_SELECTOR_RECV && !(p.kind->can & CAN_REGISTER)) {
        pair_close(&p);
        return;
    }
    bool sends = kind == CALL_SEND || kind == CALL_SELECT_SEND;
    if (sends)
        fill_up(p.sender);
    call_start(&waiting, kind, &p, 1);
    watch_until_parked(&waiting.watching, 1);
    if (sends)
        CHECK_OK(lace_recv(p.receiver, p.message, NULL));
    else
        CHECK_OK(send_u64(p.sender, 1, NULL));
    while (sends && !waiting.done) /* a pipe needs more than one message's room */
        (void)lace_recv(p.receiver, p.message, TRY);
    CHECK_OK(call_join(&waiting));
    CHECK(waiting.watching.parks >= 1);
    CHECK_UINT(waiting.watching.parks, waiting.watching.unparks);
    pair_close(&p);
}
END_TEST

START_TEST(test_c3_a_call_that_need_not_wait_does_not_park)
{
    pair p;
    watch watching = WATCH_INIT;
    size_t index;
    pair_open(&p, _i + 1);
    lace_wait wait = watch_wait(&watching, LACE_NEVER, NULL);
    lace_payload payload = payload_of("x", 1);
    lace_case send = {.kind = LACE_CASE_SEND, .sender = p.sender, .payload = &payload};
    lace_case receive = {.kind = LACE_CASE_RECV, .receiver = p.receiver, .message = p.message};
    for (size_t i = 0; i < 100; i++) {
        CHECK_OK(lace_send(p.sender, &payload, &wait));
        CHECK_OK(lace_recv(p.receiver, p.message, &wait));
        CHECK_OK(lace_select(&send, 1, 0, &wait, &index));
        CHECK_OK(lace_select(&receive, 1, 0, &wait, &index));
    }
    lace_sender_close(p.sender);
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, &wait));
    CHECK_UINT(watching.parks, 0);
    CHECK_UINT(watching.unparks, 0);
    pair_close(&p);
}
END_TEST

/* The callbacks run with no lock held: they may use the very channel. */
typedef struct nosy {
    pair *on;
    unsigned parks;
} nosy;

static void nosy_park(void *context)
{
    nosy *self = context;
    self->parks++;
    (void)lace_sender_length(self->on->sender);
    CHECK_OK(send_u64(self->on->sender, 77, self->on->kind->capacity ? NULL : TRY));
}

static void nosy_unpark(void *context)
{
    nosy *self = context;
    lace_stats stats;
    lace_receiver_stats(self->on->receiver, &stats);
    CHECK_UINT(self->parks, 1);
}

START_TEST(test_c3_park_may_use_the_channel)
{
    pair p;
    uint64_t value = 0;
    pair_open(&p, _i + 1);
    nosy self = {&p, 0};
    lace_wait wait = {.park = nosy_park, .unpark = nosy_unpark, .context = &self};
    CHECK_OK(recv_u64(p.receiver, p.message, &value, &wait)); /* nobody else would end this wait */
    CHECK_UINT(value, 77);
    CHECK_UINT(self.parks, 1);
    pair_close(&p);
}
END_TEST

TEST_MAIN("waits", TEST_LOOP(test_c3_a_wait_costs_nothing, TRANSPORT_COUNT *WAIT_KINDS),
          TEST_LOOP(test_c3_a_wait_with_deadline_and_cancel_costs_nothing, TRANSPORT_COUNT),
          TEST_LOOP(test_c3_traffic_elsewhere_wakes_nobody, 3),
          TEST_LOOP(test_c3_one_message_wakes_one_waiter, TRANSPORT_PIPE),
          TEST_LOOP(test_c3_closing_one_end_wakes_nobody_else, TRANSPORT_PIPE),
          TEST_LOOP(test_c3_park_comes_in_pairs_around_a_wait, TRANSPORT_COUNT *WAIT_KINDS),
          TEST_LOOP(test_c3_a_call_that_need_not_wait_does_not_park, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_c3_park_may_use_the_channel, 3))
