/* test_bounded.c - C1: the bounds are exact. `capacity` messages may wait and `max_bytes` bytes of them; capacity 0
 * is a rendezvous, where a send returns only when a receiver has the message. */
#include "fixture.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static lace_status send_bytes(lace_sender *sender, size_t size, const lace_wait *wait)
{
    static const char zeros[20000];
    lace_payload payload = payload_of(zeros, size);
    CHECK(size <= sizeof zeros);
    return lace_send(sender, &payload, wait);
}

/* ---- capacity ----------------------------------------------------------------------------------------- */

START_TEST(test_c1_capacity_is_exact)
{
    static const size_t capacities[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 1000, 4097};
    pair p;
    uint64_t value;
    pair_open_memory(&p, capacities[_i], 0);
    CHECK_UINT(lace_sender_capacity(p.sender), capacities[_i]);
    CHECK_UINT(lace_receiver_capacity(p.receiver), capacities[_i]);
    for (size_t round = 0; round < 3; round++) {
        CHECK_UINT(fill_up(p.sender), capacities[_i]);
        CHECK_UINT(lace_sender_length(p.sender), capacities[_i]);
        CHECK_UINT(lace_receiver_length(p.receiver), capacities[_i]);
        for (size_t i = 0; i < capacities[_i]; i++) {
            CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
            CHECK_UINT(value, i);
        }
        CHECK_STATUS(LACE_TIMEOUT, recv_u64(p.receiver, p.message, &value, TRY));
        CHECK_UINT(lace_receiver_length(p.receiver), 0);
        if (capacities[_i] > 1) { /* starts the next round somewhere else in the ring */
            CHECK_OK(send_u64(p.sender, 0, TRY));
            CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
        }
    }
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_capacity_has_a_limit)
{
    lace_region *region = region_make(0);
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_channel_options options = {.capacity = LACE_MAX_CAPACITY + 1};
    CHECK_STATUS(LACE_INVALID, lace_channel_create(region, &options, &sender, &receiver));
    options.capacity = SIZE_MAX;
    CHECK_STATUS(LACE_INVALID, lace_channel_create(region, &options, &sender, &receiver));
    CHECK(!sender && !receiver);
    options.capacity = LACE_MAX_CAPACITY;
    CHECK_OK(lace_channel_create(region, &options, &sender, &receiver));
    CHECK_UINT(lace_sender_capacity(sender), LACE_MAX_CAPACITY);
    fill(sender, 1000);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_c1_length_counts_waiting_senders)
{
    pair p;
    call senders[3];
    uint64_t value;
    pair_open(&p, _i);
    size_t room = p.kind->capacity;
    fill(p.sender, room);
    for (size_t i = 0; i < 3; i++) {
        call_start(&senders[i], CALL_SEND, &p, i);
        while (lace_receiver_length(p.receiver) < room + i + 1)
            sched_yield();
        CHECK_UINT(lace_sender_length(p.sender), room + i + 1);
    }
    for (size_t i = room + 3; i > 0; i--) {
        CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
        CHECK_UINT(lace_receiver_length(p.receiver), i - 1);
    }
    for (size_t i = 0; i < 3; i++)
        CHECK_OK(call_join(&senders[i]));
    lace_sender_close(p.sender);
    CHECK_UINT(lace_sender_length(p.sender), 0); /* also after close */
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_a_full_channel_holds_its_sender_back)
{
    pair p;
    call blocked;
    uint64_t value;
    pair_open(&p, _i);
    size_t room = fill_up(p.sender);
    call_start(&blocked, CALL_SEND, &p, room);
    call_until_asleep(&blocked);
    pass_ms(10);
    CHECK(!blocked.done);
    for (uint64_t i = 0; i <= room; i++) {
        CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
        CHECK_UINT(value, i);
    }
    CHECK_OK(call_join(&blocked));
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_a_pipes_room_is_used_again)
{
    pair p;
    uint64_t value;
    pair_open(&p, TRANSPORT_PIPE);
    CHECK_UINT(lace_sender_length(p.sender), 0);
    CHECK_UINT(lace_receiver_length(p.receiver), 0);
    for (size_t round = 0; round < 3; round++) {
        size_t room = fill_up(p.sender);
        CHECK(room > 100);
        for (size_t i = 0; i < room; i++) {
            CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
            CHECK_UINT(value, i);
        }
        CHECK_STATUS(LACE_TIMEOUT, recv_u64(p.receiver, p.message, &value, TRY));
    }
    pair_close(&p);
}
END_TEST

/* ---- bytes -------------------------------------------------------------------------------------------- */

START_TEST(test_c1_max_bytes_is_exact)
{
    pair p;
    pair_open_memory(&p, 64, 1000);
    CHECK_OK(send_bytes(p.sender, 600, TRY));
    CHECK_STATUS(LACE_TIMEOUT, send_bytes(p.sender, 401, TRY));
    CHECK_OK(send_bytes(p.sender, 400, TRY));
    CHECK_STATUS(LACE_TIMEOUT, send_bytes(p.sender, 1, TRY));
    CHECK_OK(send_bytes(p.sender, 0, TRY)); /* no byte more */
    CHECK_UINT(lace_sender_length(p.sender), 3);
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_UINT(lace_message_size(p.message), 600);
    CHECK_OK(send_bytes(p.sender, 600, TRY));
    CHECK_STATUS(LACE_TIMEOUT, send_bytes(p.sender, 1, TRY));
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_max_bytes_and_capacity_hold_together)
{
    pair p;
    pair_open_memory(&p, 2, 1000);
    CHECK_OK(send_bytes(p.sender, 1, TRY));
    CHECK_OK(send_bytes(p.sender, 1, TRY));
    CHECK_STATUS(LACE_TIMEOUT, send_bytes(p.sender, 1, TRY));
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_too_big_for_max_bytes)
{
    pair p;
    call receiving;
    pair_open_memory(&p, (size_t)_i, 1000); /* also on a rendezvous, whoever waits */
    CHECK_STATUS(LACE_TOO_BIG, send_bytes(p.sender, 1001, NULL));
    CHECK_STATUS(LACE_TOO_BIG, send_bytes(p.sender, 1001, TRY));
    if (_i > 0) {
        CHECK_OK(send_bytes(p.sender, 1000, TRY));
        CHECK_STATUS(LACE_TOO_BIG, send_bytes(p.sender, 1001, NULL));
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    }
    call_start(&receiving, CALL_RECV, &p, 0);
    call_until_asleep(&receiving);
    CHECK_STATUS(LACE_TOO_BIG, send_bytes(p.sender, 1001, NULL));
    CHECK_OK(send_u64(p.sender, 5, NULL));
    CHECK_OK(call_join(&receiving));
    CHECK_UINT(receiving.value, 5);
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_max_bytes_counts_blocks)
{
    pair p;
    lace_block *block, *large;
    pair_open_memory(&p, 64, 5000);
    CHECK_OK(lace_block_create(p.region, 4995, &block));
    CHECK_OK(lace_block_create(p.region, 5001, &large));
    CHECK_STATUS(LACE_TOO_BIG, send_block(p.sender, large, TRY));
    CHECK_OK(send_block(p.sender, block, TRY)); /* 5 bytes of "block" and 4995 */
    CHECK_STATUS(LACE_TIMEOUT, send_bytes(p.sender, 1, TRY));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_OK(send_bytes(p.sender, 5000, TRY));
    lace_block_destroy(large);
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_room_in_bytes_wakes_the_sender)
{
    pair p;
    call blocked;
    pair_open_memory(&p, 64, 100);
    CHECK_OK(send_bytes(p.sender, 50, TRY));
    CHECK_OK(send_bytes(p.sender, 45, TRY));
    call_start(&blocked, CALL_SEND, &p, 9); /* 8 bytes */
    while (lace_sender_length(p.sender) < 3)
        sched_yield();
    CHECK_STATUS(LACE_TIMEOUT, send_bytes(p.sender, 1, TRY)); /* that would overtake the waiting sender */
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_OK(call_join(&blocked));
    CHECK_STATUS(LACE_TIMEOUT, send_bytes(p.sender, 48, TRY)); /* 45 + 8 + 47 = 100 */
    CHECK_OK(send_bytes(p.sender, 47, TRY));
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_one_freed_message_admits_several_small_ones)
{
    pair p;
    call blocked[5];
    pair_open_memory(&p, 64, 100);
    CHECK_OK(send_bytes(p.sender, 100, TRY));
    for (size_t i = 0; i < 5; i++) {
        call_start(&blocked[i], CALL_SEND, &p, i);
        while (lace_sender_length(p.sender) < i + 2)
            sched_yield();
    }
    CHECK_OK(lace_recv(p.receiver, p.message, TRY)); /* 40 bytes fit now */
    for (size_t i = 0; i < 5; i++)
        CHECK_OK(call_join(&blocked[i]));
    CHECK_UINT(lace_sender_length(p.sender), 5);
    pair_close(&p);
}
END_TEST

typedef struct large_send {
    lace_sender *sender;
    int64_t deadline;
    lace_cancel *cancel;
    bool selects;
    lace_status status;
} large_send;

static void large_send_run(void *context)
{
    large_send *self = context;
    char bytes[80] = {0};
    lace_payload payload = payload_of(bytes, sizeof bytes);
    lace_case choice = {.kind = LACE_CASE_SEND, .sender = self->sender, .payload = &payload};
    lace_wait wait = {.deadline = self->deadline, .cancel = self->cancel};
    size_t index;
    self->status = self->selects ? lace_select(&choice, 1, 0, &wait, &index) : lace_send(self->sender, &payload, &wait);
}

/* The first in the line does not fit and holds up one that would; when it gives up, the other goes. _i: how it does. */
START_TEST(test_c1_who_gives_up_lets_the_next_in)
{
    pair p, twin;
    call small;
    thread leaving;
    lace_cancel *cancel;
    pair_open_memory(&p, 64, 100);
    twin = p;
    CHECK_OK(lace_sender_clone(p.sender, &twin.sender));
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    large_send large = {twin.sender, _i == 0 ? lace_clock() + 50000000 : LACE_NEVER, cancel, _i == 3, LACE_OK};
    CHECK_OK(send_bytes(p.sender, 50, TRY));
    thread_start(&leaving, large_send_run, &large);
    while (lace_sender_length(p.sender) < 2)
        sched_yield();
    call_start(&small, CALL_SEND, &p, 1);
    while (_i > 0 && lace_sender_length(p.sender) < 3)
        sched_yield();
    if (_i == 1 || _i == 3)
        lace_cancel_fire(cancel);
    else if (_i == 2)
        lace_sender_close(twin.sender);
    CHECK_OK(call_join(&small)); /* nothing was received meanwhile */
    thread_join(&leaving);
    CHECK_STATUS(_i == 0 ? LACE_TIMEOUT : _i == 2 ? LACE_CLOSED : LACE_CANCELLED, large.status);
    CHECK_UINT(lace_sender_length(p.sender), 2);
    lace_cancel_destroy(cancel);
    lace_sender_destroy(twin.sender);
    pair_close(&p);
}
END_TEST

/* The sum of what is queued never exceeds max_bytes, whatever happens: seen from outside as a model. */
START_TEST(test_c1_bounds_against_a_model)
{
    rng random = rng_start(__func__, (uint64_t)_i);
    pair p;
    size_t capacity = 1 + rng_below(&random, 20), max_bytes = 1 + rng_below(&random, 3000);
    size_t sizes[20], head = 0, tail = 0, bytes = 0;
    pair_open_memory(&p, capacity, max_bytes);
    for (size_t round = test_scaled(5000); round > 0; round--) {
        if (rng_below(&random, 5) < 3) {
            size_t size = rng_below(&random, rng_below(&random, 2) ? 300 : max_bytes + 20);
            lace_status want = size > max_bytes                                            ? LACE_TOO_BIG
                               : tail - head == capacity || bytes + size > max_bytes ? LACE_TIMEOUT
                                                                                           : LACE_OK;
            CHECK_STATUS(want, send_bytes(p.sender, size, TRY));
            if (want == LACE_OK)
                sizes[tail++ % capacity] = size, bytes += size;
        } else if (head < tail) {
            CHECK_OK(lace_recv(p.receiver, p.message, TRY));
            CHECK_UINT(lace_message_size(p.message), sizes[head % capacity]);
            bytes -= sizes[head++ % capacity];
        } else {
            CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
        }
        CHECK_UINT(lace_sender_length(p.sender), tail - head);
    }
    pair_close(&p);
}
END_TEST

/* ---- rendezvous --------------------------------------------------------------------------------------- */

START_TEST(test_c1_rendezvous_send_waits_for_its_receiver)
{
    pair p;
    call sending;
    uint64_t value;
    pair_open(&p, 0);
    CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 1, TRY));
    CHECK_STATUS(LACE_TIMEOUT, recv_u64(p.receiver, p.message, &value, TRY));
    call_start(&sending, CALL_SEND, &p, 2);
    call_until_asleep(&sending);
    pass_ms(10);
    CHECK(!sending.done);
    CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
    CHECK_UINT(value, 2);
    CHECK_OK(call_join(&sending));
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_rendezvous_try_send_to_a_waiting_receiver)
{
    pair p;
    call receiving;
    lace_status status;
    pair_open(&p, 0);
    call_start(&receiving, (call_kind)(_i == 0 ? CALL_RECV : _i == 1 ? CALL_SELECT_RECV : CALL_SELECTOR_RECV), &p, 0);
    call_until_asleep(&receiving);
    while ((status = send_u64(p.sender, 3, TRY)) == LACE_TIMEOUT) /* it may still be on its way to sleep */
        sched_yield();
    CHECK_OK(status);
    CHECK_OK(call_join(&receiving));
    CHECK_UINT(receiving.value, 3);
    CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 4, TRY)); /* nobody waits any more */
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_rendezvous_try_recv_from_a_waiting_sender)
{
    pair p;
    call sending;
    uint64_t value;
    pair_open(&p, 0);
    call_start(&sending, _i == 0 ? CALL_SEND : CALL_SELECT_SEND, &p, 6);
    while (lace_receiver_length(p.receiver) == 0)
        sched_yield();
    CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
    CHECK_UINT(value, 6);
    CHECK_OK(call_join(&sending));
    CHECK_STATUS(LACE_TIMEOUT, recv_u64(p.receiver, p.message, &value, TRY));
    pair_close(&p);
}
END_TEST

typedef struct meeting {
    const pair *on;
    _Atomic uint64_t received;
    uint64_t rounds;
} meeting;

static void meeting_receive(void *context)
{
    meeting *self = context;
    uint64_t value;
    for (uint64_t i = 0; i < self->rounds; i++) {
        CHECK_OK(recv_u64(self->on->receiver, self->on->message, &value, NULL));
        CHECK_UINT(value, i);
        atomic_store(&self->received, i + 1);
    }
}

/* When send number i returns, the receiver has message i, so it has come back for it: i - 1 is booked. */
START_TEST(test_c1_rendezvous_never_runs_ahead)
{
    pair p;
    thread other;
    pair_open(&p, 0);
    meeting work = {.on = &p, .rounds = test_scaled(10000)};
    thread_start(&other, meeting_receive, &work);
    for (uint64_t i = 0; i < work.rounds; i++) {
        CHECK_OK(send_u64(p.sender, i, NULL));
        CHECK(atomic_load(&work.received) >= i);
    }
    thread_join(&other);
    pair_close(&p);
}
END_TEST

TEST_MAIN("bounded", TEST_LOOP(test_c1_capacity_is_exact, 18), TEST(test_c1_capacity_has_a_limit),
          TEST_LOOP(test_c1_length_counts_waiting_senders, 4),
          TEST_LOOP(test_c1_a_full_channel_holds_its_sender_back, TRANSPORT_COUNT),
          TEST(test_c1_a_pipes_room_is_used_again), TEST(test_c1_max_bytes_is_exact),
          TEST(test_c1_max_bytes_and_capacity_hold_together), TEST_LOOP(test_c1_too_big_for_max_bytes, 3),
          TEST(test_c1_max_bytes_counts_blocks), TEST(test_c1_room_in_bytes_wakes_the_sender),
          TEST(test_c1_one_freed_message_admits_several_small_ones),
          TEST_LOOP(test_c1_who_gives_up_lets_the_next_in, 4), TEST_LOOP(test_c1_bounds_against_a_model, 6),
          TEST(test_c1_rendezvous_send_waits_for_its_receiver),
          TEST_LOOP(test_c1_rendezvous_try_send_to_a_waiting_receiver, 3),
          TEST_LOOP(test_c1_rendezvous_try_recv_from_a_waiting_sender, 2),
          TEST(test_c1_rendezvous_never_runs_ahead))
