/* test_close.c - C6: what closing does. END for receivers once the channel is drained, BROKEN for senders at once,
 * CLOSED for whoever uses the end that was closed; every kind of wait is woken; clones keep a side alive. */
#include "fixture.h"

#include <sched.h>
#include <string.h>

START_TEST(test_c6_receivers_drain_then_end)
{
    pair p;
    uint64_t value;
    pair_open(&p, _i + 1);
    size_t queued = fill_up(p.sender);
    lace_sender_close(p.sender);
    for (uint64_t i = 0; i < queued; i++) {
        CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
        CHECK_UINT(value, i);
    }
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, TRY));
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, WITHIN_MS(1000)));
    pair_close(&p);
}
END_TEST

START_TEST(test_c6_end_of_an_empty_channel)
{
    pair p;
    pair_open(&p, _i);
    lace_sender_destroy(p.sender);
    p.sender = NULL;
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, TRY));
    CHECK(!lace_receiver_closed(p.receiver));
    pair_close(&p);
}
END_TEST

START_TEST(test_c6_send_into_a_broken_channel)
{
    pair p;
    pair_open(&p, _i);
    lace_receiver_destroy(p.receiver);
    p.receiver = NULL;
    CHECK_STATUS(LACE_BROKEN, send_u64(p.sender, 1, NULL));
    CHECK_STATUS(LACE_BROKEN, send_u64(p.sender, 1, TRY));
    CHECK_STATUS(LACE_BROKEN, send_u64(p.sender, 1, WITHIN_MS(1000)));
    CHECK(!lace_sender_closed(p.sender));
    pair_close(&p);
}
END_TEST

START_TEST(test_c6_what_was_queued_goes_with_the_last_receiver)
{
    pair p;
    pair_open(&p, 3);
    region_warm(p.region);
    size_t before = region_used(p.region);
    char large[5000] = {0};
    lace_payload payload = payload_of(large, sizeof large);
    for (size_t i = 0; i < 64; i++)
        CHECK_OK(lace_send(p.sender, &payload, TRY));
    CHECK(region_used(p.region) >= before + 64 * sizeof large);
    lace_receiver_close(p.receiver);
    CHECK_UINT(lace_sender_length(p.sender), 0);
    CHECK_STATUS(LACE_BROKEN, lace_send(p.sender, &payload, TRY));
    CHECK_UINT(region_used(p.region), before);
    pair_close(&p);
}
END_TEST

/* ---- everyone who waits is woken ---------------------------------------------------------------------- */

#define WAITERS 4

START_TEST(test_c6_last_sender_gone_wakes_all_receivers)
{
    static const call_kind kinds[WAITERS] = {CALL_RECV, CALL_SELECT_RECV, CALL_SELECTOR_RECV, CALL_RECV};
    pair p;
    call waiting[WAITERS];
    lace_cancel *cancel;
    pair_open(&p, _i);
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    for (size_t i = 0; i < WAITERS; i++) {
        bool can = kinds[i] != CALL_SELECTOR_RECV || p.kind->can & CAN_REGISTER;
        call_start_waiting(&waiting[i], can ? kinds[i] : CALL_RECV, &p, 0, LACE_NEVER, cancel);
        call_until_asleep(&waiting[i]);
    }
    lace_sender_close(p.sender);
    for (size_t i = 0; i < WAITERS; i++)
        if (waiting[i].kind == CALL_RECV)
            CHECK_STATUS(LACE_END, call_join(&waiting[i]));
    /* The choices have another case left (S3): they wait on, without this channel. */
    pass_ms(5);
    for (size_t i = 0; i < WAITERS; i++)
        CHECK(waiting[i].kind == CALL_RECV || !waiting[i].done);
    lace_cancel_fire(cancel);
    for (size_t i = 0; i < WAITERS; i++)
        if (waiting[i].kind != CALL_RECV)
            CHECK_STATUS(LACE_CANCELLED, call_join(&waiting[i]));
    lace_cancel_destroy(cancel);
    pair_close(&p);
}
END_TEST

START_TEST(test_c6_last_receiver_gone_wakes_all_senders)
{
    pair p;
    call waiting[WAITERS];
    pair_open(&p, _i);
    fill_up(p.sender);
    for (size_t i = 0; i < WAITERS; i++) {
        call_start(&waiting[i], CALL_SEND, &p, i);
        call_until_asleep(&waiting[i]);
    }
    lace_receiver_close(p.receiver);
    for (size_t i = 0; i < WAITERS; i++)
        CHECK_STATUS(LACE_BROKEN, call_join(&waiting[i]));
    CHECK_UINT(lace_sender_length(p.sender), 0);
    pair_close(&p);
}
END_TEST

/* _i: the transport and how it waits */
START_TEST(test_c6_closing_the_own_end_wakes_its_waits)
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
    call_until_asleep(&waiting);
    if (sends)
        lace_sender_close(p.sender);
    else
        lace_receiver_close(p.receiver);
    CHECK_STATUS(LACE_CLOSED, call_join(&waiting));
    pair_close(&p);
}
END_TEST

START_TEST(test_c6_closing_one_clone_leaves_the_waits_of_others)
{
    pair p, twin;
    call mine, other;
    pair_open(&p, _i);
    twin = p;
    CHECK_OK(lace_receiver_clone(p.receiver, &twin.receiver));
    call_start(&mine, CALL_RECV, &p, 0);
    call_start(&other, CALL_RECV, &twin, 0);
    call_until_asleep(&mine);
    call_until_asleep(&other);
    lace_receiver_close(p.receiver);
    CHECK_STATUS(LACE_CLOSED, call_join(&mine));
    pass_ms(5);
    CHECK(!other.done);
    CHECK_OK(send_u64(p.sender, 9, NULL));
    CHECK_OK(call_join(&other));
    CHECK_UINT(other.value, 9);
    lace_receiver_destroy(twin.receiver);
    pair_close(&p);
}
END_TEST

START_TEST(test_c6_closing_one_sender_clone_leaves_the_waits_of_others)
{
    pair p, twin;
    call mine, other;
    pair_open(&p, _i);
    twin = p;
    CHECK_OK(lace_sender_clone(p.sender, &twin.sender));
    size_t room = fill_up(p.sender);
    call_start(&mine, CALL_SEND, &p, 1111);
    call_start(&other, CALL_SEND, &twin, 2222);
    call_until_asleep(&mine);
    call_until_asleep(&other);
    lace_sender_close(p.sender);
    CHECK_STATUS(LACE_CLOSED, call_join(&mine));
    pass_ms(5);
    CHECK(!other.done);
    uint64_t value = 0;
    for (size_t i = 0; i <= room; i++)
        CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
    CHECK_UINT(value, 2222);
    CHECK_OK(call_join(&other));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    lace_sender_destroy(twin.sender);
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

/* ---- the own side, closed ----------------------------------------------------------------------------- */

START_TEST(test_c6_use_of_a_closed_end)
{
    pair p;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_payload payload = payload_of("x", 1);
    size_t count = 55;
    int fd;
    pair_open(&p, _i);
    CHECK(!lace_sender_closed(p.sender) && !lace_receiver_closed(p.receiver));
    lace_sender_close(p.sender);
    lace_receiver_close(p.receiver);
    lace_sender_close(p.sender);
    lace_receiver_close(p.receiver);
    CHECK(lace_sender_closed(p.sender) && lace_receiver_closed(p.receiver));
    CHECK_STATUS(LACE_CLOSED, lace_send(p.sender, &payload, NULL)); /* rather than BROKEN */
    CHECK_STATUS(LACE_CLOSED, lace_send_many(p.sender, &payload, 1, NULL, &count));
    CHECK_UINT(count, 0);
    CHECK_STATUS(LACE_CLOSED, lace_recv(p.receiver, p.message, NULL)); /* rather than END */
    CHECK_STATUS(LACE_CLOSED, lace_recv_many(p.receiver, &p.message, 1, NULL, &count));
    CHECK_STATUS(LACE_CLOSED, lace_sender_clone(p.sender, &sender));
    CHECK_STATUS(LACE_CLOSED, lace_receiver_clone(p.receiver, &receiver));
    CHECK_STATUS(LACE_CLOSED, lace_sender_fd(p.sender, &fd));
    CHECK_STATUS(LACE_CLOSED, lace_receiver_fd(p.receiver, &fd));
    lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = p.receiver, .message = p.message},
                          {.kind = LACE_CASE_SEND, .sender = p.sender, .payload = &payload}};
    CHECK_STATUS(LACE_CLOSED, lace_select(cases, 1, 0, NULL, &count));
    CHECK_STATUS(LACE_CLOSED, lace_select(cases + 1, 1, 0, NULL, &count));
    pair_close(&p);
}
END_TEST

START_TEST(test_c6_queued_messages_survive_their_senders_close)
{
    pair p;
    call sending;
    uint64_t value;
    pair_open(&p, _i); /* memory 0, 1, 2: a waiting sender on a clone keeps the side alive */
    lace_sender *clone;
    CHECK_OK(lace_sender_clone(p.sender, &clone));
    pair twin = p;
    twin.sender = clone;
    fill(p.sender, p.kind->capacity);
    lace_sender_close(p.sender);
    call_start(&sending, CALL_SEND, &twin, p.kind->capacity);
    while (lace_receiver_length(p.receiver) < p.kind->capacity + 1)
        sched_yield();
    for (uint64_t i = 0; i <= p.kind->capacity; i++) {
        CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
        CHECK_UINT(value, i);
    }
    CHECK_OK(call_join(&sending));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    lace_sender_destroy(clone);
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    pair_close(&p);
}
END_TEST

/* ---- clones ------------------------------------------------------------------------------------------- */

START_TEST(test_c6_the_last_of_many_clones_ends_the_channel)
{
    pair p;
    lace_sender *senders[20];
    lace_receiver *receivers[20];
    pair_open(&p, _i);
    for (size_t i = 0; i < 20; i++) {
        CHECK_OK(lace_sender_clone(i ? senders[i - 1] : p.sender, &senders[i]));
        CHECK_OK(lace_receiver_clone(i ? receivers[i - 1] : p.receiver, &receivers[i]));
    }
    lace_sender_close(p.sender);
    for (size_t i = 0; i < 20; i++) {
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(receivers[i], p.message, TRY));
        lace_sender_destroy(senders[i]);
    }
    for (size_t i = 0; i < 20; i++) {
        CHECK_STATUS(LACE_END, lace_recv(receivers[i], p.message, TRY));
        lace_receiver_destroy(receivers[i]);
    }
    pair_close(&p);
}
END_TEST

START_TEST(test_c6_a_channel_with_a_receiver_clone_is_not_broken)
{
    pair p;
    lace_receiver *clone;
    uint64_t value;
    pair_open(&p, _i + 1);
    CHECK_OK(lace_receiver_clone(p.receiver, &clone));
    CHECK_OK(send_u64(p.sender, 4, TRY));
    lace_receiver_destroy(p.receiver);
    p.receiver = NULL;
    CHECK_OK(recv_u64(clone, p.message, &value, TRY)); /* nothing was discarded */
    CHECK_UINT(value, 4);
    CHECK_OK(send_u64(p.sender, 5, TRY));
    lace_receiver_destroy(clone);
    CHECK_STATUS(LACE_BROKEN, send_u64(p.sender, 6, TRY));
    pair_close(&p);
}
END_TEST

/* ---- races -------------------------------------------------------------------------------------------- */

typedef struct racer {
    pthread_barrier_t *start;
    pair *on;
    size_t number;
    _Atomic size_t *outcomes;
} racer;

/* 0: closes the sender; 1 and 2: receive; 3: closes the receiver's clone of its own */
static void racer_run(void *context)
{
    racer *self = context;
    pair *p = self->on;
    lace_message *message = message_make(p->region);
    lace_receiver *own = NULL;
    if (self->number > 0)
        CHECK_OK(lace_receiver_clone(p->receiver, &own));
    pthread_barrier_wait(self->start);
    if (self->number == 0) {
        lace_sender_close(p->sender);
    } else if (self->number == 3) {
        lace_receiver_close(own);
    } else {
        lace_status status;
        while ((status = lace_recv(own, message, NULL)) == LACE_OK)
            atomic_fetch_add(self->outcomes, 1);
        CHECK_STATUS(LACE_END, status);
    }
    lace_receiver_destroy(own);
    lace_message_destroy(message);
}

START_TEST(test_c6_close_races_with_receives)
{
    for (size_t round = test_scaled(150); round > 0; round--) {
        pair p;
        thread threads[4];
        racer racers[4];
        pthread_barrier_t start;
        _Atomic size_t received = 0;
        pair_open(&p, _i);
        size_t queued = p.kind->can & CAN_QUEUE ? 1 : 0;
        fill(p.sender, queued);
        pthread_barrier_init(&start, NULL, 4);
        for (size_t i = 0; i < 4; i++) {
            racers[i] = (racer){&start, &p, i, &received};
            thread_start(&threads[i], racer_run, &racers[i]);
        }
        for (size_t i = 0; i < 4; i++)
            thread_join(&threads[i]);
        CHECK_UINT(received, queued);
        pthread_barrier_destroy(&start);
        pair_close(&p);
    }
}
END_TEST

/* A send that races with the close of the last receiver either says OK or BROKEN, and comes back. */
static void sending_until_broken(void *context)
{
    racer *self = context;
    lace_status status;
    pthread_barrier_wait(self->start);
    while ((status = send_u64(self->on->sender, 1, NULL)) == LACE_OK)
        atomic_fetch_add(self->outcomes, 1);
    CHECK_STATUS(LACE_BROKEN, status);
}

START_TEST(test_c6_close_races_with_sends)
{
    for (size_t round = test_scaled(150); round > 0; round--) {
        pair p;
        thread threads[3];
        racer racers[3];
        pthread_barrier_t start;
        _Atomic size_t sent = 0;
        size_t received = 0;
        pair_open(&p, _i);
        pthread_barrier_init(&start, NULL, 4);
        for (size_t i = 0; i < 3; i++) {
            racers[i] = (racer){&start, &p, i, &sent};
            thread_start(&threads[i], sending_until_broken, &racers[i]);
        }
        pthread_barrier_wait(&start);
        for (size_t i = round % 4; i > 0; i--, received++)
            CHECK_OK(lace_recv(p.receiver, p.message, NULL));
        lace_receiver_close(p.receiver);
        for (size_t i = 0; i < 3; i++)
            thread_join(&threads[i]);
        CHECK(sent >= received);
        if (p.kind->can & CAN_COUNT)
            CHECK(sent <= received + p.kind->capacity);
        pthread_barrier_destroy(&start);
        pair_close(&p);
    }
}
END_TEST

TEST_MAIN("close", TEST_LOOP(test_c6_receivers_drain_then_end, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_c6_end_of_an_empty_channel, TRANSPORT_COUNT),
          TEST_LOOP(test_c6_send_into_a_broken_channel, TRANSPORT_COUNT),
          TEST(test_c6_what_was_queued_goes_with_the_last_receiver),
          TEST_LOOP(test_c6_last_sender_gone_wakes_all_receivers, TRANSPORT_COUNT),
          TEST_LOOP(test_c6_last_receiver_gone_wakes_all_senders, TRANSPORT_COUNT),
          TEST_LOOP(test_c6_closing_the_own_end_wakes_its_waits, TRANSPORT_COUNT * 5),
          TEST_LOOP(test_c6_closing_one_clone_leaves_the_waits_of_others, TRANSPORT_COUNT),
          TEST_LOOP(test_c6_closing_one_sender_clone_leaves_the_waits_of_others, TRANSPORT_COUNT),
          TEST_LOOP(test_c6_use_of_a_closed_end, TRANSPORT_COUNT),
          TEST_LOOP(test_c6_queued_messages_survive_their_senders_close, 3),
          TEST_LOOP(test_c6_the_last_of_many_clones_ends_the_channel, TRANSPORT_COUNT),
          TEST_LOOP(test_c6_a_channel_with_a_receiver_clone_is_not_broken, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_c6_close_races_with_receives, TRANSPORT_COUNT),
          TEST_LOOP(test_c6_close_races_with_sends, TRANSPORT_COUNT))
