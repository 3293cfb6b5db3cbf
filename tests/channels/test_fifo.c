/* test_fifo.c - C2: first in first out per sender, every message exactly once, with any number of senders and
 * receivers, on every transport. */
#include "fixture.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 8

typedef struct post {
    const pair *on;
    lace_sender *sender;
    lace_receiver *receiver;
    uint64_t number, count;
    bool batches;
    _Atomic uint32_t *ledger; /* [sender * count + index]: how often it was received */
    uint64_t received;
    rng random;
} post;

/* A message is sender << 32 | index. */
static void post_send(void *context)
{
    post *self = context;
    for (uint64_t i = 0; i < self->count;) {
        uint64_t values[5];
        lace_payload payloads[5];
        size_t batch = self->batches ? 1 + rng_below(&self->random, 5) : 1, sent = 0;
        for (size_t k = 0; k < batch; k++) {
            values[k] = self->number << 32 | (i + k);
            payloads[k] = payload_of(&values[k], sizeof values[k]);
        }
        if (i + batch > self->count)
            batch = self->count - i;
        if (batch == 1) {
            CHECK_OK(lace_send(self->sender, &payloads[0], NULL));
            sent = 1;
        } else {
            CHECK_OK(lace_send_many(self->sender, payloads, batch, NULL, &sent));
        }
        CHECK_UINT(sent, batch);
        i += sent;
    }
    lace_sender_close(self->sender);
}

static void post_receive(void *context)
{
    post *self = context;
    lace_message *messages[4];
    int64_t last[THREADS_MAX];
    for (size_t i = 0; i < THREADS_MAX; i++)
        last[i] = -1;
    for (size_t i = 0; i < 4; i++)
        messages[i] = message_make(self->on->region);
    for (;;) {
        size_t limit = self->batches ? 1 + rng_below(&self->random, 4) : 1, got = 1;
        lace_status status = limit == 1 ? lace_recv(self->receiver, messages[0], NULL)
                                        : lace_recv_many(self->receiver, messages, limit, NULL, &got);
        if (status == LACE_END)
            break;
        CHECK_OK(status);
        for (size_t i = 0; i < got; i++) {
            uint64_t value = message_u64(messages[i]), from = value >> 32, index = value & 0xffffffff;
            CHECK(from < THREADS_MAX && index < self->count);
            CHECK_MSG((int64_t)index > last[from], "message %llu of sender %llu came after %lld",
                      (unsigned long long)index, (unsigned long long)from, (long long)last[from]);
            last[from] = (int64_t)index;
            CHECK_UINT(atomic_fetch_add(&self->ledger[from * self->count + index], 1), 0);
            self->received++;
        }
    }
    for (size_t i = 0; i < 4; i++)
        lace_message_destroy(messages[i]);
}

static void run_posts(int over, size_t senders, size_t receivers, uint64_t each, bool batches, uint64_t seed)
{
    pair p;
    post posts[2 * THREADS_MAX] = {0};
    thread threads[2 * THREADS_MAX];
    uint64_t received = 0;
    pair_open(&p, over);
    _Atomic uint32_t *ledger = calloc(THREADS_MAX * each, sizeof *ledger);
    for (size_t i = 0; i < senders + receivers; i++) {
        posts[i] = (post){.on = &p, .number = i, .count = each, .batches = batches, .ledger = ledger};
        posts[i].random.state = seed + i * 1000003;
        if (i < senders)
            CHECK_OK(lace_sender_clone(p.sender, &posts[i].sender));
        else
            CHECK_OK(lace_receiver_clone(p.receiver, &posts[i].receiver));
    }
    lace_sender_close(p.sender);
    for (size_t i = 0; i < senders + receivers; i++)
        thread_start(&threads[i], i < senders ? post_send : post_receive, &posts[i]);
    for (size_t i = 0; i < senders + receivers; i++) {
        thread_join(&threads[i]);
        received += posts[i].received;
        lace_sender_destroy(posts[i].sender);
        lace_receiver_destroy(posts[i].receiver);
    }
    CHECK_UINT(received, senders * each);
    for (size_t i = 0; i < senders * each; i++)
        CHECK_UINT(ledger[i], 1);
    free(ledger);
    pair_close(&p);
}

START_TEST(test_c2_fifo_per_sender)
{
    run_posts(_i, 1, 1, test_scaled(20000), false, rng_start(__func__, (uint64_t)_i).state);
}
END_TEST

START_TEST(test_c2_fifo_many_senders)
{
    run_posts(_i, 4, 1, test_scaled(5000), false, rng_start(__func__, (uint64_t)_i).state);
}
END_TEST

START_TEST(test_c2_once_many_receivers)
{
    run_posts(_i, 1, 4, test_scaled(10000), false, rng_start(__func__, (uint64_t)_i).state);
}
END_TEST

START_TEST(test_c2_once_many_senders_and_receivers)
{
    run_posts(_i, 4, 4, test_scaled(4000), false, rng_start(__func__, (uint64_t)_i).state);
}
END_TEST

START_TEST(test_c2_once_in_batches)
{
    run_posts(_i, 3, 3, test_scaled(6000), true, rng_start(__func__, (uint64_t)_i).state);
}
END_TEST

/* ---- one end, several threads ------------------------------------------------------------------------- */

typedef struct shared_end {
    const pair *on;
    _Atomic uint64_t next, sum, count;
    uint64_t limit;
} shared_end;

static void shared_send(void *context)
{
    shared_end *self = context;
    uint64_t value;
    while ((value = atomic_fetch_add(&self->next, 1)) < self->limit)
        CHECK_OK(send_u64(self->on->sender, value, NULL));
}

static void shared_receive(void *context)
{
    shared_end *self = context;
    lace_message *message = message_make(self->on->region);
    uint64_t value;
    lace_status status;
    while ((status = recv_u64(self->on->receiver, message, &value, NULL)) == LACE_OK) {
        atomic_fetch_add(&self->sum, value);
        atomic_fetch_add(&self->count, 1);
    }
    CHECK_STATUS(LACE_END, status);
    lace_message_destroy(message);
}

START_TEST(test_c2_one_end_used_by_several_threads)
{
    pair p;
    thread threads[6];
    pair_open(&p, _i);
    shared_end work = {.on = &p, .limit = test_scaled(8000)};
    for (size_t i = 0; i < 6; i++)
        thread_start(&threads[i], i < 3 ? shared_send : shared_receive, &work);
    for (size_t i = 0; i < 3; i++)
        thread_join(&threads[i]);
    lace_sender_close(p.sender);
    for (size_t i = 3; i < 6; i++)
        thread_join(&threads[i]);
    CHECK_UINT(work.count, work.limit);
    CHECK_UINT(work.sum, work.limit * (work.limit - 1) / 2);
    lace_stats sent, got;
    lace_sender_stats(p.sender, &sent);
    lace_receiver_stats(p.receiver, &got);
    CHECK_UINT(sent.messages, work.limit);
    CHECK_UINT(got.messages, work.limit);
    pair_close(&p);
}
END_TEST

START_TEST(test_c2_waiting_senders_are_served_in_order)
{
    pair p;
    call senders[5];
    uint64_t value;
    pair_open(&p, _i); /* memory 0, 1, 2 */
    fill(p.sender, p.kind->capacity);
    for (size_t i = 0; i < 5; i++) {
        call_start(&senders[i], CALL_SEND, &p, p.kind->capacity + i);
        while (lace_sender_length(p.sender) < p.kind->capacity + i + 1)
            sched_yield();
    }
    for (size_t i = 0; i < p.kind->capacity + 5; i++) {
        CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
        CHECK_UINT(value, i);
    }
    for (size_t i = 0; i < 5; i++)
        CHECK_OK(call_join(&senders[i]));
    pair_close(&p);
}
END_TEST

START_TEST(test_c2_no_overtaking_of_a_waiting_sender)
{
    pair p;
    call waiting;
    uint64_t value;
    pair_open(&p, _i + 1); /* memory 1, 2 */
    fill(p.sender, p.kind->capacity);
    call_start(&waiting, CALL_SEND, &p, 1000);
    while (lace_sender_length(p.sender) < p.kind->capacity + 1)
        sched_yield();
    CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY)); /* its place is the waiting sender's */
    CHECK_OK(call_join(&waiting));
    CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 1001, TRY));
    for (size_t i = 1; i < p.kind->capacity; i++)
        CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
    CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
    CHECK_UINT(value, 1000);
    pair_close(&p);
}
END_TEST

/* A ping-pong over two channels: the shortest way from one thread to another and back. */
typedef struct echo {
    const pair *in, *out;
} echo;

static void echo_run(void *context)
{
    echo *self = context;
    lace_message *message = message_make(self->in->region);
    uint64_t value;
    while (recv_u64(self->in->receiver, message, &value, NULL) == LACE_OK)
        CHECK_OK(send_u64(self->out->sender, value + 1, NULL));
    lace_sender_close(self->out->sender);
    lace_message_destroy(message);
}

START_TEST(test_c2_ping_pong)
{
    pair p, q;
    thread other;
    uint64_t value = 0, back;
    pair_open(&p, _i);
    pair_open_beside(&q, &p);
    echo work = {&p, &q};
    thread_start(&other, echo_run, &work);
    for (size_t i = test_scaled(10000); i > 0; i--) {
        CHECK_OK(send_u64(p.sender, value, NULL));
        CHECK_OK(recv_u64(q.receiver, q.message, &back, NULL));
        CHECK_UINT(back, value + 1);
        value = back;
    }
    lace_sender_close(p.sender);
    CHECK_STATUS(LACE_END, lace_recv(q.receiver, q.message, NULL));
    thread_join(&other);
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

TEST_MAIN("fifo", TEST_LOOP(test_c2_fifo_per_sender, TRANSPORT_COUNT),
          TEST_LOOP(test_c2_fifo_many_senders, TRANSPORT_COUNT),
          TEST_LOOP(test_c2_once_many_receivers, TRANSPORT_COUNT),
          TEST_LOOP(test_c2_once_many_senders_and_receivers, TRANSPORT_COUNT),
          TEST_LOOP(test_c2_once_in_batches, TRANSPORT_COUNT),
          TEST_LOOP(test_c2_one_end_used_by_several_threads, TRANSPORT_COUNT),
          TEST_LOOP(test_c2_waiting_senders_are_served_in_order, 3),
          TEST_LOOP(test_c2_no_overtaking_of_a_waiting_sender, 2), TEST_LOOP(test_c2_ping_pong, TRANSPORT_COUNT))
