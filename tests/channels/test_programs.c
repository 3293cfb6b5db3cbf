/* test_programs.c - small concurrent programs that Go, crossbeam and libdill test their channels with: a prime sieve,
 * channels sent through channels, a relay of choices, one-shot channels, and a send that is followed by a try. */
#include "fixture.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ---- the sieve ---------------------------------------------------------------------------------------- */

#define PRIMES 20

typedef struct sieve {
    lace_region *region;
    lace_receiver *in;
    lace_sender *out;
    uint64_t prime;
} sieve;

static void sieve_filter(void *context)
{
    sieve *self = context;
    lace_message *message = message_make(self->region);
    uint64_t value;
    while (recv_u64(self->in, message, &value, NULL) == LACE_OK) {
        if (value % self->prime == 0)
            continue;
        if (send_u64(self->out, value, NULL) == LACE_BROKEN)
            break; /* nobody wants more: say so upstream */
    }
    lace_receiver_destroy(self->in);
    lace_sender_destroy(self->out);
    lace_message_destroy(message);
}

static void sieve_generate(void *context)
{
    sieve *self = context;
    uint64_t value = 2;
    while (send_u64(self->out, value++, NULL) == LACE_OK)
        continue;
    lace_sender_destroy(self->out);
}

START_TEST(test_c6_a_sieve_of_threads_ends_by_itself)
{
    static const uint64_t primes[PRIMES] = {2,  3,  5,  7,  11, 13, 17, 19, 23, 29,
                                            31, 37, 41, 43, 47, 53, 59, 61, 67, 71};
    pair p;
    thread threads[PRIMES + 1];
    sieve stages[PRIMES + 1];
    lace_receiver *in;
    pair_open(&p, _i);
    in = p.receiver;
    stages[0] = (sieve){p.region, NULL, p.sender, 0};
    thread_start(&threads[0], sieve_generate, &stages[0]);
    for (size_t i = 0; i < PRIMES; i++) {
        uint64_t prime;
        pair next;
        CHECK_OK(recv_u64(in, p.message, &prime, NULL));
        CHECK_UINT(prime, primes[i]);
        pair_open_beside(&next, &p);
        stages[i + 1] = (sieve){p.region, in, next.sender, prime};
        in = next.receiver;
        thread_start(&threads[i + 1], sieve_filter, &stages[i + 1]);
    }
    lace_receiver_destroy(in); /* the whole chain breaks, up to its source */
    for (size_t i = 0; i <= PRIMES; i++)
        thread_join(&threads[i]);
    p.sender = NULL;
    p.receiver = NULL;
    pair_close(&p);
}
END_TEST

/* ---- channels through channels ------------------------------------------------------------------------ */

typedef struct journey {
    lace_region *region;
    size_t capacity, steps;
    lace_sender *sender;
    lace_receiver *receiver;
} journey;

/* Sends over each channel the receiver of the next one. */
static void journey_send(void *context)
{
    journey *self = context;
    lace_sender *sender = self->sender;
    for (size_t i = 0; i < self->steps; i++) {
        lace_sender *next_sender;
        lace_receiver *next_receiver;
        channel_make(self->region, self->capacity, &next_sender, &next_receiver);
        lace_attachment carried = {LACE_ATTACH_RECEIVER, {.receiver = next_receiver}};
        lace_payload payload = {"next", 4, &carried, 1};
        lace_case choice = {.kind = LACE_CASE_SEND, .sender = sender, .payload = &payload};
        size_t index;
        CHECK_OK(i % 2 ? lace_select(&choice, 1, 0, NULL, &index) : lace_send(sender, &payload, NULL));
        lace_sender_destroy(sender);
        sender = next_sender;
    }
    lace_sender_destroy(sender);
}

static void journey_receive(void *context)
{
    journey *self = context;
    lace_message *message = message_make(self->region);
    lace_receiver *receiver = self->receiver;
    for (size_t i = 0; i < self->steps; i++) {
        lace_case choice = {.kind = LACE_CASE_RECV, .receiver = receiver, .message = message};
        size_t index;
        CHECK_OK(i % 3 ? lace_select(&choice, 1, 0, NULL, &index) : lace_recv(receiver, message, NULL));
        lace_receiver *next = take_receiver(message, 0);
        lace_receiver_destroy(receiver);
        receiver = next;
    }
    CHECK_STATUS(LACE_END, lace_recv(receiver, message, NULL));
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
}

START_TEST(test_c7_channels_through_channels)
{
    journey work = {.region = region_make(0), .capacity = (size_t)_i, .steps = test_scaled(5000)};
    thread threads[2];
    region_warm(work.region);
    size_t before = region_used(work.region);
    channel_make(work.region, work.capacity, &work.sender, &work.receiver);
    thread_start(&threads[0], journey_send, &work);
    thread_start(&threads[1], journey_receive, &work);
    thread_join(&threads[0]);
    thread_join(&threads[1]);
    CHECK_UINT(region_used(work.region), before);
    CHECK_OK(lace_region_destroy(work.region));
}
END_TEST

/* ---- a relay of choices (Go's doubleselect.go) --------------------------------------------------------- */

typedef struct relay {
    lace_region *region;
    lace_sender *senders[4];
    lace_receiver *in;
    lace_sender *out;
    size_t rounds;
} relay;

static void relay_source(void *context)
{
    relay *self = context;
    for (uint64_t i = 0; i < self->rounds; i++) {
        lace_payload payload = payload_of(&i, sizeof i);
        lace_case cases[4];
        size_t index;
        for (size_t k = 0; k < 4; k++)
            cases[k] = (lace_case){.kind = LACE_CASE_SEND, .sender = self->senders[k], .payload = &payload};
        CHECK_OK(lace_select(cases, 4, 0, NULL, &index));
    }
    for (size_t k = 0; k < 4; k++)
        lace_sender_destroy(self->senders[k]);
}

static void relay_pump(void *context)
{
    relay *self = context;
    lace_message *message = message_make(self->region);
    uint64_t value;
    while (recv_u64(self->in, message, &value, NULL) == LACE_OK)
        CHECK_OK(send_u64(self->out, value, NULL));
    lace_receiver_destroy(self->in);
    lace_sender_destroy(self->out);
    lace_message_destroy(message);
}

START_TEST(test_s1_a_relay_of_choices_doubles_nothing)
{
    pair p;
    thread threads[5];
    relay source = {.rounds = test_scaled(10000)}, pumps[4];
    pair_open(&p, _i);
    source.region = p.region;
    unsigned char *seen = calloc(source.rounds, 1);
    for (size_t i = 0; i < 4; i++) {
        pair lane;
        pair_open_beside(&lane, &p);
        source.senders[i] = lane.sender;
        pumps[i] = (relay){.region = p.region, .in = lane.receiver};
        CHECK_OK(lace_sender_clone(p.sender, &pumps[i].out));
        thread_start(&threads[i], relay_pump, &pumps[i]);
    }
    thread_start(&threads[4], relay_source, &source);
    lace_sender_close(p.sender);
    for (size_t i = 0; i < source.rounds; i++) {
        uint64_t value;
        CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
        CHECK(value < source.rounds && !seen[value]);
        seen[value] = 1;
    }
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    for (size_t i = 0; i < 5; i++)
        thread_join(&threads[i]);
    free(seen);
    pair_close(&p);
}
END_TEST

/* ---- a send and then a try (crossbeam's `linearizable`) ------------------------------------------------ */

typedef struct swap {
    const pair *on;
    size_t rounds;
} swap;

static void swap_run(void *context)
{
    swap *self = context;
    lace_message *message = message_make(self->on->region);
    for (size_t i = 0; i < self->rounds; i++) {
        CHECK_OK(send_u64(self->on->sender, i, NULL));
        CHECK_OK(lace_recv(self->on->receiver, message, TRY)); /* each took one out only after it had put one in */
    }
    lace_message_destroy(message);
}

START_TEST(test_c2_what_was_sent_is_there_at_once)
{
    pair p;
    thread threads[4];
    if (_i >= TRANSPORT_PIPE)
        pair_open(&p, _i);
    else
        pair_open_memory(&p, 4 + (size_t)_i, 0);
    swap work = {&p, test_scaled(20000)};
    for (size_t i = 0; i < 4; i++)
        thread_start(&threads[i], swap_run, &work);
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

/* ---- one-shot channels: all that may happen at once in a channel's short life -------------------------- */

typedef struct shot {
    pthread_barrier_t *barrier;
    pair *on;
    size_t rounds, side;
    lace_status outcome[2];
} shot;

/* Each side does one thing, chosen by the round: it sends (receives) or gives up its end. */
static void shot_run(void *context)
{
    shot *self = context;
    for (size_t i = 0; i < self->rounds; i++) {
        pthread_barrier_wait(self->barrier);
        pair *p = self->on;
        if (self->side == 0)
            self->outcome[0] = i % 3 ? send_u64(p->sender, i, NULL) : LACE_CLOSED;
        else
            self->outcome[1] = i % 4 ? lace_recv(p->receiver, p->message, NULL) : LACE_CLOSED;
        if (self->side == 0)
            lace_sender_close(p->sender);
        else
            lace_receiver_close(p->receiver);
        pthread_barrier_wait(self->barrier);
    }
}

START_TEST(test_c6_one_shot_channels)
{
    pair p;
    thread threads[2];
    pthread_barrier_t barrier;
    shot sides[2];
    pair_open(&p, _i);
    pair_close_ends(&p);
    pthread_barrier_init(&barrier, NULL, 3);
    for (size_t i = 0; i < 2; i++) {
        sides[i] = (shot){&barrier, &p, test_scaled(3000), i, {LACE_OK, LACE_OK}};
        thread_start(&threads[i], shot_run, &sides[i]);
    }
    for (size_t i = 0; i < sides[0].rounds; i++) {
        lace_message *message = p.message;
        pair_open_beside(&p, &p);
        p.message = message;
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
        lace_status sent = sides[0].outcome[0], received = sides[1].outcome[1];
        bool sends = i % 3, receives = i % 4;
        if (sends && receives)
            CHECK(sent == LACE_OK && received == LACE_OK);
        else if (sends) /* it may have gone into the queue before the receiver left */
            CHECK(sent == LACE_BROKEN || (sent == LACE_OK && p.kind->can & CAN_QUEUE));
        else if (receives)
            CHECK_STATUS(LACE_END, received);
        pair_close_ends(&p);
    }
    for (size_t i = 0; i < 2; i++)
        thread_join(&threads[i]);
    pthread_barrier_destroy(&barrier);
    pair_close(&p);
}
END_TEST

/* A try on a channel that holds one message and is being closed: the message or the end, never "not now" (Go's
 * TestNonblockRecvRace). */
typedef struct peek {
    pthread_barrier_t *start;
    const pair *on;
    lace_status status;
} peek;

static void peek_run(void *context)
{
    peek *self = context;
    lace_message *message = message_make(self->on->region);
    pthread_barrier_wait(self->start);
    self->status = lace_recv(self->on->receiver, message, TRY);
    lace_message_destroy(message);
}

START_TEST(test_c6_a_try_during_close_gets_the_message_or_the_end)
{
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, 2);
    for (size_t round = test_scaled(3000); round > 0; round--) {
        pair p;
        thread other;
        pair_open(&p, 1);
        fill(p.sender, 1);
        peek work = {&start, &p, LACE_OK};
        thread_start(&other, peek_run, &work);
        pthread_barrier_wait(&start);
        lace_sender_close(p.sender);
        lace_status mine = lace_recv(p.receiver, p.message, TRY);
        thread_join(&other);
        CHECK(mine == LACE_OK || mine == LACE_END);
        CHECK(work.status == LACE_OK || work.status == LACE_END);
        CHECK(mine != work.status);
        pair_close(&p);
    }
    pthread_barrier_destroy(&start);
}
END_TEST

TEST_MAIN("programs", TEST_LOOP(test_c6_a_sieve_of_threads_ends_by_itself, TRANSPORT_COUNT),
          TEST_LOOP(test_c7_channels_through_channels, 3),
          TEST_LOOP(test_s1_a_relay_of_choices_doubles_nothing, TRANSPORT_COUNT),
          TEST_LOOP(test_c2_what_was_sent_is_there_at_once, TRANSPORT_COUNT),
          TEST_LOOP(test_c6_one_shot_channels, TRANSPORT_COUNT),
          TEST(test_c6_a_try_during_close_gets_the_message_or_the_end))
