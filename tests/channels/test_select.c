/* test_select.c - select as one thread sees it, on every transport: exactly one case happens (S1), a fair choice or an
 * exact priority (S2), what is dropped and when it is END (S3), timers and the end of a channel. */
#include "fixture.h"

#include <sched.h>
#include <string.h>

static lace_case recv_case(const pair *p)
{
    return (lace_case){.kind = LACE_CASE_RECV, .receiver = p->receiver, .message = p->message};
}

static lace_case send_case(const pair *p, const lace_payload *payload)
{
    return (lace_case){.kind = LACE_CASE_SEND, .sender = p->sender, .payload = payload};
}

static lace_case ended_case(const pair *p)
{
    return (lace_case){.kind = LACE_CASE_ENDED, .receiver = p->receiver};
}

static lace_case at_case(int64_t at)
{
    return (lace_case){.kind = LACE_CASE_AT, .at = at};
}

#define SETS 3
static void open_set(pair set[SETS], int kind)
{
    pair_open(&set[0], kind);
    for (size_t i = 1; i < SETS; i++)
        pair_open_beside(&set[i], &set[0]);
}

static void close_set(pair set[SETS])
{
    for (size_t i = 1; i < SETS; i++)
        pair_close_ends(&set[i]);
    pair_close(&set[0]);
}

/* A select in a thread of its own. */
typedef struct chooser {
    thread runner;
    watch watching;
    const lace_case *cases;
    size_t count, index;
    lace_status status;
    _Atomic bool done;
} chooser;

static void chooser_run(void *context)
{
    chooser *self = context;
    lace_wait wait = watch_wait(&self->watching, LACE_NEVER, NULL);
    self->status = lace_select(self->cases, self->count, 0, &wait, &self->index);
    atomic_store(&self->done, true);
}

static void chooser_start(chooser *self, const lace_case *cases, size_t count)
{
    *self = (chooser){.watching = WATCH_INIT, .cases = cases, .count = count, .index = 99};
    thread_start(&self->runner, chooser_run, self);
    watch_until_parked(&self->watching, 1);
    thread_until_asleep(&self->runner);
}

/* ---- S1: one case happens ----------------------------------------------------------------------------- */

START_TEST(test_s1_select_takes_the_ready_receive)
{
    pair set[SETS];
    open_set(set, _i + 1);
    lace_case cases[SETS];
    for (size_t ready = 0; ready < SETS; ready++) {
        size_t index = 9;
        for (size_t i = 0; i < SETS; i++)
            cases[i] = recv_case(&set[i]);
        CHECK_OK(send_u64(set[ready].sender, 100 + ready, TRY));
        CHECK_OK(lace_select(cases, SETS, ready % 2 ? LACE_SELECT_PRIORITY : 0, NULL, &index));
        CHECK_UINT(index, ready);
        CHECK_UINT(message_u64(set[0].message), 100 + ready);
        index = 9;
        CHECK_STATUS(LACE_TIMEOUT, lace_select(cases, SETS, 0, TRY, &index));
        CHECK_UINT(index, 9); /* untouched on failure */
    }
    close_set(set);
}
END_TEST

START_TEST(test_s1_select_sends_to_one_only)
{
    pair set[SETS];
    open_set(set, _i + 1);
    uint64_t value = 31;
    lace_payload payload = payload_of(&value, sizeof value);
    lace_case cases[SETS];
    size_t index = 9, found = 0;
    for (size_t i = 0; i < SETS; i++)
        cases[i] = send_case(&set[i], &payload);
    CHECK_OK(lace_select(cases, SETS, 0, NULL, &index));
    CHECK(index < SETS);
    for (size_t i = 0; i < SETS; i++) {
        lace_status status = recv_u64(set[i].receiver, set[i].message, &value, TRY);
        CHECK_STATUS(i == index ? LACE_OK : LACE_TIMEOUT, status);
        found += status == LACE_OK;
    }
    CHECK_UINT(found, 1);
    CHECK_UINT(value, 31);
    close_set(set);
}
END_TEST

/* A full channel, an empty one and one more full one: nothing happens before something can. */
START_TEST(test_s1_select_waits_for_the_first_that_can)
{
    pair set[SETS];
    open_set(set, _i % TRANSPORT_COUNT);
    call sending;
    uint64_t value = 5;
    lace_payload payload = payload_of(&value, sizeof value);
    fill_up(set[1].sender);
    lace_case cases[2] = {recv_case(&set[0]), send_case(&set[1], &payload)};
    size_t index = 9;
    CHECK_STATUS(LACE_TIMEOUT, lace_select(cases, 2, 0, WITHIN_MS(3), &index));
    if (_i < TRANSPORT_COUNT) { /* a message comes */
        call_start(&sending, CALL_SEND, &set[0], 44);
        CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
        CHECK_UINT(index, 0);
        CHECK_UINT(message_u64(set[0].message), 44);
        CHECK_OK(call_join(&sending));
    } else { /* room comes: a pipe has some only after many messages */
        chooser waiting;
        lace_message *message = message_make(set[0].region);
        chooser_start(&waiting, cases, 2);
        while (!waiting.done)
            (void)lace_recv(set[1].receiver, message, TRY);
        thread_join(&waiting.runner);
        CHECK_OK(waiting.status);
        CHECK_UINT(waiting.index, 1);
        lace_message_destroy(message);
    }
    close_set(set);
}
END_TEST

START_TEST(test_s1_same_channel_several_times)
{
    pair p;
    pair_open(&p, _i + 1);
    uint64_t first = 1, second = 2, value;
    lace_payload one = payload_of(&first, sizeof first), two = payload_of(&second, sizeof second);
    lace_case sends[2] = {send_case(&p, &one), send_case(&p, &two)};
    lace_case receives[2] = {recv_case(&p), recv_case(&p)};
    size_t index, counts[2] = {0, 0};
    for (size_t i = 0; i < 200; i++) {
        CHECK_OK(lace_select(sends, 2, 0, NULL, &index));
        CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
        CHECK_UINT(value, index + 1);
        CHECK_OK(send_u64(p.sender, 9, TRY));
        CHECK_OK(lace_select(receives, 2, 0, NULL, &index));
        counts[index]++;
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    }
    CHECK(counts[0] > 0 && counts[1] > 0);
    pair_close(&p);
}
END_TEST

START_TEST(test_s1_select_on_both_ends_of_one_channel)
{
    pair p;
    pair_open(&p, _i);
    uint64_t value = 3;
    lace_payload payload = payload_of(&value, sizeof value);
    lace_case cases[2] = {recv_case(&p), send_case(&p, &payload)};
    size_t index = 9;
    if (p.kind->can & CAN_QUEUE) {
        CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
        CHECK_UINT(index, 1);
        CHECK_OK(lace_select(cases, 2, LACE_SELECT_PRIORITY, NULL, &index));
        CHECK_UINT(index, 0);
    } else { /* a thread never meets itself */
        CHECK_STATUS(LACE_TIMEOUT, lace_select(cases, 2, 0, TRY, &index));
        CHECK_STATUS(LACE_TIMEOUT, lace_select(cases, 2, 0, WITHIN_MS(5), &index));
    }
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

START_TEST(test_s1_one_send_takes_its_attachments_only)
{
    pair set[SETS];
    open_set(set, 1);
    lace_block *blocks[2];
    lace_attachment carried[2];
    lace_payload payloads[2];
    for (size_t i = 0; i < 2; i++) {
        CHECK_OK(lace_block_create(set[0].region, 100 + i, &blocks[i]));
        carried[i] = (lace_attachment){LACE_ATTACH_BLOCK, {.block = blocks[i]}};
        payloads[i] = (lace_payload){"b", 1, &carried[i], 1};
    }
    lace_case cases[2] = {send_case(&set[0], &payloads[0]), send_case(&set[1], &payloads[1])};
    size_t index = 9;
    CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
    CHECK_UINT(lace_block_size(blocks[1 - index]), 101 - index);
    lace_block_destroy(blocks[1 - index]);
    CHECK_OK(lace_recv(set[index].receiver, set[0].message, TRY));
    lace_block *arrived = take_block(set[0].message, 0);
    CHECK_UINT(lace_block_size(arrived), 100 + index);
    lace_block_destroy(arrived);
    fill(set[0].sender, 1);
    CHECK_OK(lace_block_create(set[0].region, 7, &carried[0].as.block));
    CHECK_STATUS(LACE_TIMEOUT, lace_select(cases, 1, 0, WITHIN_MS(1), &index));
    lace_block_destroy(carried[0].as.block); /* a select that fails takes nothing */
    close_set(set);
}
END_TEST

START_TEST(test_s1_blocked_select_send_carries_attachments)
{
    pair p;
    lace_block *block;
    pair_open(&p, _i);
    call receiving;
    fill(p.sender, p.kind->capacity);
    CHECK_OK(lace_block_create(p.region, 300, &block));
    lace_attachment carried = {LACE_ATTACH_BLOCK, {.block = block}};
    uint64_t value = 12;
    lace_payload payload = {&value, sizeof value, &carried, 1};
    lace_case choice = send_case(&p, &payload);
    size_t index = 9;
    call_start(&receiving, CALL_RECV, &p, 0); /* throws its message's block away */
    CHECK_OK(lace_select(&choice, 1, 0, NULL, &index));
    CHECK_OK(call_join(&receiving));
    for (size_t i = p.kind->capacity; i > 0; i--)
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    if (p.kind->capacity > 0) {
        lace_block_destroy(take_block(p.message, 0));
        lace_message_clear(p.message);
    }
    pair_close(&p);
}
END_TEST

/* ---- S2: fair, or in order ---------------------------------------------------------------------------- */

/* With a fixed expectation p = 1/3 of 3000 choices, a count outside 1000 +- 200 is beyond seven sigma: a fair choice
 * never fails here, a fixed or strongly biased one always. */
START_TEST(test_s2_receives_are_chosen_fairly)
{
    pair set[SETS];
    open_set(set, _i + 1);
    lace_case cases[SETS];
    size_t counts[SETS] = {0}, index;
    for (size_t i = 0; i < SETS; i++) {
        cases[i] = recv_case(&set[i]);
        CHECK_OK(send_u64(set[i].sender, i, TRY));
    }
    for (size_t i = 0; i < 3000; i++) {
        CHECK_OK(lace_select(cases, SETS, 0, NULL, &index));
        counts[index]++;
        CHECK_OK(send_u64(set[index].sender, i, TRY));
    }
    for (size_t i = 0; i < SETS; i++)
        CHECK_MSG(counts[i] > 800 && counts[i] < 1200, "case %zu: %zu of 3000", i, counts[i]);
    close_set(set);
}
END_TEST

/* The same when only some of the listed are ready: the neighbour of an idle one must not get its share too. */
START_TEST(test_s2_fair_beside_idle_cases)
{
    enum { LISTED = 12 };
    static const size_t ready[3] = {1, 2, 9};
    pair set[LISTED];
    lace_case cases[LISTED];
    size_t counts[LISTED] = {0}, index;
    pair_open(&set[0], 1);
    for (size_t i = 0; i < LISTED; i++) {
        if (i > 0)
            pair_open_beside(&set[i], &set[0]);
        cases[i] = recv_case(&set[i]);
    }
    for (size_t i = 0; i < 3; i++)
        CHECK_OK(send_u64(set[ready[i]].sender, i, TRY));
    for (size_t i = 0; i < 3000; i++) {
        CHECK_OK(lace_select(cases, LISTED, 0, NULL, &index));
        counts[index]++;
        CHECK_OK(send_u64(set[index].sender, i, TRY));
    }
    for (size_t i = 0; i < 3; i++)
        CHECK_MSG(counts[ready[i]] > 800 && counts[ready[i]] < 1200, "case %zu: %zu of 3000", ready[i],
                  counts[ready[i]]);
    for (size_t i = 1; i < LISTED; i++)
        pair_close_ends(&set[i]);
    pair_close(&set[0]);
}
END_TEST

START_TEST(test_s2_sends_and_receives_are_chosen_fairly)
{
    pair set[SETS];
    open_set(set, _i + 1);
    uint64_t value = 1;
    lace_payload payload = payload_of(&value, sizeof value);
    lace_case cases[2] = {recv_case(&set[0]), send_case(&set[1], &payload)};
    size_t counts[2] = {0}, index;
    CHECK_OK(send_u64(set[0].sender, 1, TRY));
    for (size_t i = 0; i < 2000; i++) {
        CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
        counts[index]++;
        if (index == 0)
            CHECK_OK(send_u64(set[0].sender, 1, TRY));
        else
            CHECK_OK(lace_recv(set[1].receiver, set[1].message, TRY));
    }
    CHECK_MSG(counts[0] > 800 && counts[0] < 1200, "%zu of 2000", counts[0]);
    close_set(set);
}
END_TEST

START_TEST(test_s2_priority_is_exact)
{
    rng random = rng_start(__func__, (uint64_t)_i);
    pair set[SETS];
    open_set(set, _i + 1);
    lace_case cases[SETS];
    bool ready[SETS] = {false};
    for (size_t i = 0; i < SETS; i++)
        cases[i] = recv_case(&set[i]);
    for (size_t round = 0; round < 1000; round++) {
        size_t index = 9, first = 0;
        for (size_t i = 0; i < SETS; i++) {
            if (!ready[i] && rng_below(&random, 2)) {
                CHECK_OK(send_u64(set[i].sender, i, TRY));
                ready[i] = true;
            }
        }
        while (first < SETS && !ready[first])
            first++;
        lace_status status = lace_select(cases, SETS, LACE_SELECT_PRIORITY, TRY, &index);
        CHECK_STATUS(first < SETS ? LACE_OK : LACE_TIMEOUT, status);
        if (status == LACE_OK) {
            CHECK_UINT(index, first);
            CHECK_UINT(message_u64(set[0].message), first);
            ready[first] = false;
        }
    }
    close_set(set);
}
END_TEST

START_TEST(test_s2_priority_over_kinds)
{
    pair set[SETS];
    open_set(set, _i + 1);
    uint64_t value = 1;
    lace_payload payload = payload_of(&value, sizeof value);
    size_t index;
    CHECK_OK(send_u64(set[0].sender, 1, TRY));
    lace_sender_close(set[2].sender);
    lace_case cases[4] = {at_case(1), ended_case(&set[2]), send_case(&set[1], &payload), recv_case(&set[0])};
    for (size_t first = 0; first < 4; first++) {
        CHECK_OK(lace_select(cases + first, 4 - first, LACE_SELECT_PRIORITY, NULL, &index));
        CHECK_UINT(index, 0);
    }
    close_set(set);
}
END_TEST

/* ---- S3: what is dropped ------------------------------------------------------------------------------ */

START_TEST(test_s3_ended_and_broken_cases_are_dropped)
{
    pair set[SETS];
    open_set(set, _i);
    call sending;
    uint64_t value = 1;
    lace_payload payload = payload_of(&value, sizeof value);
    size_t index = 9;
    lace_sender_close(set[0].sender);
    lace_receiver_close(set[1].receiver);
    lace_case cases[3] = {recv_case(&set[0]), send_case(&set[1], &payload), recv_case(&set[2])};
    CHECK_STATUS(LACE_END, lace_select(cases, 2, 0, NULL, &index));
    CHECK_STATUS(LACE_END, lace_select(cases, 1, 0, TRY, &index));
    CHECK_STATUS(LACE_END, lace_select(cases + 1, 1, 0, WITHIN_MS(1000), &index));
    CHECK_STATUS(LACE_TIMEOUT, lace_select(cases, 3, 0, TRY, &index));
    call_start(&sending, CALL_SEND, &set[2], 8);
    CHECK_OK(lace_select(cases, 3, 0, NULL, &index));
    CHECK_UINT(index, 2);
    CHECK_OK(call_join(&sending));
    lace_sender_close(set[2].sender);
    CHECK_STATUS(LACE_END, lace_select(cases, 3, 0, NULL, &index));
    close_set(set);
}
END_TEST

START_TEST(test_s3_what_is_queued_comes_before_the_drop)
{
    pair p;
    size_t index = 9;
    pair_open(&p, _i + 1);
    CHECK_OK(send_u64(p.sender, 4, TRY));
    lace_sender_close(p.sender);
    lace_case choice = recv_case(&p);
    CHECK_OK(lace_select(&choice, 1, 0, NULL, &index));
    CHECK_UINT(message_u64(p.message), 4);
    CHECK_STATUS(LACE_END, lace_select(&choice, 1, 0, NULL, &index));
    pair_close(&p);
}
END_TEST

START_TEST(test_s3_a_waiting_select_ends_with_its_last_case)
{
    pair set[SETS];
    open_set(set, _i);
    chooser waiting;
    uint64_t value = 1;
    lace_payload payload = payload_of(&value, sizeof value);
    fill_up(set[2].sender);
    lace_case cases[3] = {recv_case(&set[0]), recv_case(&set[1]), send_case(&set[2], &payload)};
    chooser_start(&waiting, cases, 3);
    lace_sender_close(set[0].sender);
    lace_receiver_close(set[2].receiver);
    pass_ms(5);
    CHECK(!waiting.done);
    lace_sender_close(set[1].sender);
    thread_join(&waiting.runner);
    CHECK_STATUS(LACE_END, waiting.status);
    CHECK_UINT(waiting.index, 99);
    close_set(set);
}
END_TEST

START_TEST(test_s1_own_end_closed_in_a_waiting_select)
{
    pair set[SETS];
    open_set(set, _i);
    chooser waiting;
    lace_case cases[2] = {recv_case(&set[0]), recv_case(&set[1])};
    chooser_start(&waiting, cases, 2);
    lace_receiver_close(set[1].receiver);
    thread_join(&waiting.runner);
    CHECK_STATUS(LACE_CLOSED, waiting.status);
    size_t index = 9;
    if (set[0].kind->can & CAN_QUEUE) {
        CHECK_OK(send_u64(set[0].sender, 1, TRY));
        CHECK_STATUS(LACE_CLOSED, lace_select(cases, 2, 0, TRY, &index)); /* none has happened then */
        CHECK_OK(lace_recv(set[0].receiver, set[0].message, TRY));
    }
    close_set(set);
}
END_TEST

/* ---- timers and ends ---------------------------------------------------------------------------------- */

START_TEST(test_s1_timers)
{
    pair p;
    size_t index = 9;
    pair_open(&p, _i);
    lace_case cases[4] = {recv_case(&p), at_case(lace_clock() + 60000000000)};
    CHECK_STATUS(LACE_TIMEOUT, lace_select(cases, 2, 0, TRY, &index));
    CHECK_STATUS(LACE_TIMEOUT, lace_select(cases, 2, 0, WITHIN_MS(1), &index));
    int64_t start = lace_clock(); /* the far timers stay in the future however slow the machine is */
    cases[2] = at_case(start + 20000000);
    cases[3] = at_case(start + 60000000000);
    CHECK_OK(lace_select(cases, 4, 0, NULL, &index));
    CHECK_UINT(index, 2);
    int64_t took = lace_clock() - start;
    CHECK_MSG(took >= 20000000 && took < 2000000000, "%lld ns", (long long)took);
    CHECK_OK(lace_select(cases + 1, 2, 0, NULL, &index)); /* a list of timers only, one past */
    CHECK_UINT(index, 1);
    lace_sender_close(p.sender);
    CHECK_OK(lace_select(cases, 1 + 3, 0, NULL, &index)); /* timers are never dropped */
    CHECK(index >= 2);
    pair_close(&p);
}
END_TEST

START_TEST(test_s1_a_message_comes_before_a_timer)
{
    pair p;
    chooser waiting;
    pair_open(&p, _i);
    lace_case cases[2] = {at_case(lace_clock() + 60000000000), recv_case(&p)};
    chooser_start(&waiting, cases, 2);
    CHECK_OK(send_u64(p.sender, 66, NULL));
    thread_join(&waiting.runner);
    CHECK_OK(waiting.status);
    CHECK_UINT(waiting.index, 1);
    CHECK_UINT(message_u64(p.message), 66);
    pair_close(&p);
}
END_TEST

START_TEST(test_s1_the_end_of_a_channel_is_a_case)
{
    pair p;
    chooser waiting;
    size_t index = 9;
    pair_open(&p, _i);
    lace_case choice = ended_case(&p);
    CHECK_STATUS(LACE_TIMEOUT, lace_select(&choice, 1, 0, TRY, &index));
    if (p.kind->can & CAN_QUEUE)
        CHECK_OK(send_u64(p.sender, 1, TRY));
    CHECK_STATUS(LACE_TIMEOUT, lace_select(&choice, 1, 0, WITHIN_MS(2), &index)); /* a message is not an end */
    chooser_start(&waiting, &choice, 1);
    lace_sender_close(p.sender);
    thread_join(&waiting.runner);
    CHECK_OK(waiting.status);
    CHECK_UINT(waiting.index, 0);
    CHECK_OK(lace_select(&choice, 1, 0, TRY, &index)); /* whatever is still queued, and again */
    CHECK_OK(lace_select(&choice, 1, 0, NULL, &index));
    if (p.kind->can & CAN_QUEUE)
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_OK(lace_select(&choice, 1, 0, NULL, &index));
    pair_close(&p);
}
END_TEST

START_TEST(test_s1_select_over_different_transports)
{
    pair memory, tube;
    chooser waiting;
    uint64_t value = 3;
    size_t index = 9;
    pair_open(&memory, _i);
    pair_open(&tube, TRANSPORT_PIPE);
    lace_payload payload = payload_of(&value, sizeof value);
    lace_case cases[2] = {recv_case(&memory), recv_case(&tube)};
    for (size_t round = 0; round < 50; round++) {
        pair *source = round % 2 ? &memory : &tube;
        if (round % 5 == 0) {
            chooser_start(&waiting, cases, 2);
            CHECK_OK(send_u64(source->sender, round, NULL));
            thread_join(&waiting.runner);
            CHECK_OK(waiting.status);
            index = waiting.index;
        } else if (source->kind->can & CAN_QUEUE) {
            CHECK_OK(send_u64(source->sender, round, NULL));
            CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
        } else {
            continue;
        }
        CHECK_UINT(index, round % 2 ? 0 : 1);
        CHECK_UINT(message_u64(source->message), round);
    }
    fill_up(memory.sender);
    cases[0] = send_case(&memory, &payload);
    CHECK_OK(send_u64(tube.sender, 1, NULL));
    CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
    CHECK_UINT(index, 1);
    pair_close(&memory);
    pair_close(&tube);
}
END_TEST

TEST_MAIN("select", TEST_LOOP(test_s1_select_takes_the_ready_receive, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_s1_select_sends_to_one_only, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_s1_select_waits_for_the_first_that_can, 2 * TRANSPORT_COUNT),
          TEST_LOOP(test_s1_same_channel_several_times, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_s1_select_on_both_ends_of_one_channel, TRANSPORT_COUNT),
          TEST(test_s1_one_send_takes_its_attachments_only),
          TEST_LOOP(test_s1_blocked_select_send_carries_attachments, 3),
          TEST_LOOP(test_s2_receives_are_chosen_fairly, TRANSPORT_COUNT - 1), TEST(test_s2_fair_beside_idle_cases),
          TEST_LOOP(test_s2_sends_and_receives_are_chosen_fairly, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_s2_priority_is_exact, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_s2_priority_over_kinds, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_s3_ended_and_broken_cases_are_dropped, TRANSPORT_COUNT),
          TEST_LOOP(test_s3_what_is_queued_comes_before_the_drop, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_s3_a_waiting_select_ends_with_its_last_case, TRANSPORT_COUNT),
          TEST_LOOP(test_s1_own_end_closed_in_a_waiting_select, TRANSPORT_COUNT),
          TEST_LOOP(test_s1_timers, TRANSPORT_COUNT),
          TEST_LOOP(test_s1_a_message_comes_before_a_timer, TRANSPORT_COUNT),
          TEST_LOOP(test_s1_the_end_of_a_channel_is_a_case, TRANSPORT_COUNT),
          TEST_LOOP(test_s1_select_over_different_transports, TRANSPORT_PIPE))
