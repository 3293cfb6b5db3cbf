/* test_select_race.c - S1 under fire: threads that select over sends and receives of the same channels meet each
 * other in every order. Whatever they do: exactly one case happens, a message goes to one, and none is lost. Several
 * of these cases are those that Go's and crossbeam's own tests found worth asking. */
#include "fixture.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define CHANNELS_MAX 6
#define THREADS 6

typedef struct field {
    lace_region *region;
    size_t channels;
    lace_sender *senders[CHANNELS_MAX];
    lace_receiver *receivers[CHANNELS_MAX];
    size_t each;
    _Atomic uint8_t *sent, *got;
    _Atomic uint64_t sent_count, got_count;
} field;

/* Capacities: 0 all rendezvous, 1 all of one, 2 mixed. */
static void field_open(field *f, size_t channels, int mix, size_t each)
{
    *f = (field){.region = region_make(0), .channels = channels, .each = each};
    for (size_t i = 0; i < channels; i++)
        channel_make(f->region, mix == 0 ? 0 : mix == 1 ? 1 : i % 3, &f->senders[i], &f->receivers[i]);
    f->sent = calloc(THREADS * each, 1);
    f->got = calloc(THREADS * each, 1);
}

static void field_book(field *f, uint64_t value)
{
    CHECK(value < THREADS * f->each);
    CHECK_MSG(atomic_exchange(&f->got[value], 1) == 0, "message %llu was doubled", (unsigned long long)value);
    atomic_fetch_add(&f->got_count, 1);
}

static void field_close(field *f)
{
    lace_message *message = message_make(f->region);
    uint64_t value;
    for (size_t i = 0; i < f->channels; i++) {
        lace_sender_destroy(f->senders[i]);
        lace_status status;
        while ((status = recv_u64(f->receivers[i], message, &value, TRY)) == LACE_OK)
            field_book(f, value);
        CHECK_STATUS(LACE_END, status);
        lace_receiver_destroy(f->receivers[i]);
    }
    CHECK_UINT(f->got_count, f->sent_count);
    for (size_t i = 0; i < THREADS * f->each; i++)
        CHECK_MSG(f->sent[i] == f->got[i], "message %zu: sent %d, received %d", i, f->sent[i], f->got[i]);
    free((void *)f->sent);
    free((void *)f->got);
    lace_message_destroy(message);
    CHECK_OK(lace_region_destroy(f->region));
}

typedef struct player {
    field *on;
    size_t number;
    rng random;
} player;

static void player_run(void *context)
{
    player *self = context;
    field *f = self->on;
    lace_message *message = message_make(f->region);
    for (size_t i = 0; i < f->each; i++) {
        uint64_t value = self->number * f->each + i;
        lace_payload payload = payload_of(&value, sizeof value);
        lace_case cases[8];
        size_t count = 1 + rng_below(&self->random, 8), index = 99;
        for (size_t k = 0; k < count; k++) {
            size_t at = rng_below(&self->random, f->channels);
            if (rng_below(&self->random, 2))
                cases[k] = (lace_case){.kind = LACE_CASE_RECV, .receiver = f->receivers[at], .message = message};
            else
                cases[k] = (lace_case){.kind = LACE_CASE_SEND, .sender = f->senders[at], .payload = &payload};
        }
        lace_wait wait = {.deadline = LACE_NOW};
        size_t patience = rng_below(&self->random, 10);
        if (patience > 0)
            wait.deadline = lace_clock() + (int64_t)rng_below(&self->random, patience > 8 ? 1000000 : 100000);
        lace_status status = lace_select(cases, count, patience % 2 ? LACE_SELECT_PRIORITY : 0, &wait, &index);
        if (status == LACE_TIMEOUT) {
            CHECK_UINT(index, 99);
            continue;
        }
        CHECK_OK(status);
        CHECK(index < count);
        if (cases[index].kind == LACE_CASE_SEND) {
            atomic_store(&f->sent[value], 1);
            atomic_fetch_add(&f->sent_count, 1);
        } else {
            field_book(f, message_u64(message));
        }
    }
    lace_message_destroy(message);
}

static void play(size_t channels, int mix, size_t players, rng random)
{
    field f;
    thread threads[THREADS];
    player all[THREADS];
    field_open(&f, channels, mix, test_scaled(6000));
    for (size_t i = 0; i < players; i++) {
        all[i] = (player){&f, i, {rng_next(&random)}};
        thread_start(&threads[i], player_run, &all[i]);
    }
    for (size_t i = 0; i < players; i++)
        thread_join(&threads[i]);
    CHECK(f.sent_count > 0);
    field_close(&f);
}

START_TEST(test_s1_conservation_two_threads)
{
    play(2, _i, 2, rng_start(__func__, (uint64_t)_i));
}
END_TEST

START_TEST(test_s1_conservation_many_threads)
{
    play(4, _i, THREADS, rng_start(__func__, (uint64_t)_i));
}
END_TEST

START_TEST(test_s1_conservation_one_channel)
{
    play(1, _i, 4, rng_start(__func__, (uint64_t)_i));
}
END_TEST

/* ---- threads that meet on one rendezvous -------------------------------------------------------------- */

#define MEETING 22

typedef struct guest {
    const pair *on;
    uint64_t number;
    _Atomic uint32_t *met; /* [sender] */
} guest;

static void guest_run(void *context)
{
    guest *self = context;
    lace_message *message = message_make(self->on->region);
    lace_payload payload = payload_of(&self->number, sizeof self->number);
    lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = self->on->receiver, .message = message},
                          {.kind = LACE_CASE_SEND, .sender = self->on->sender, .payload = &payload}};
    size_t index;
    CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
    if (index == 0) {
        CHECK(message_u64(message) != self->number);
        CHECK_UINT(atomic_fetch_add(&self->met[message_u64(message)], 1), 0);
    }
    lace_message_destroy(message);
}

/* An even number of threads, each ready to send or to receive: all find a partner. With one more, a plain receiver
 * takes what is left (crossbeam's `matching` and `matching_with_leftover`). */
START_TEST(test_s1_everyone_finds_a_partner)
{
    for (size_t round = test_scaled(30); round > 0; round--) {
        pair p;
        thread threads[MEETING + 1];
        guest guests[MEETING + 1];
        _Atomic uint32_t met[MEETING + 1] = {0};
        size_t meetings = 0, count = MEETING + (size_t)_i;
        pair_open(&p, 0);
        for (size_t i = 0; i < count; i++) {
            guests[i] = (guest){&p, i, met};
            thread_start(&threads[i], guest_run, &guests[i]);
        }
        if (_i == 1)
            CHECK_OK(lace_recv(p.receiver, p.message, NULL));
        for (size_t i = 0; i < count; i++)
            thread_join(&threads[i]);
        for (size_t i = 0; i < count; i++)
            meetings += met[i];
        CHECK_UINT(meetings, MEETING / 2);
        pair_close(&p);
    }
}
END_TEST

/* Two threads select to send to and to receive from one channel (Go's TestSelfSelect). */
typedef struct narcissus {
    const pair *on;
    uint64_t number;
    size_t rounds;
} narcissus;

static void narcissus_run(void *context)
{
    narcissus *self = context;
    lace_message *message = message_make(self->on->region);
    lace_payload payload = payload_of(&self->number, sizeof self->number);
    lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = self->on->receiver, .message = message},
                          {.kind = LACE_CASE_SEND, .sender = self->on->sender, .payload = &payload}};
    for (size_t i = 0; i < self->rounds; i++) {
        size_t index;
        bool swapped = (self->number + i) % 2;
        lace_case order[2] = {cases[swapped], cases[!swapped]};
        CHECK_OK(lace_select(order, 2, 0, NULL, &index));
        if (order[index].kind == LACE_CASE_RECV && self->on->kind->capacity == 0)
            CHECK(message_u64(message) != self->number);
    }
    lace_message_destroy(message);
}

START_TEST(test_s1_two_threads_select_both_ways)
{
    pair p;
    thread threads[2];
    narcissus both[2];
    pair_open(&p, _i);
    for (size_t i = 0; i < 2; i++) {
        both[i] = (narcissus){&p, i, test_scaled(10000)};
        thread_start(&threads[i], narcissus_run, &both[i]);
    }
    for (size_t i = 0; i < 2; i++)
        thread_join(&threads[i]);
    pair_close(&p);
}
END_TEST

/* ---- Go's TestSelectStress ---------------------------------------------------------------------------- */

#define STRESS 4

typedef struct stress {
    field *on;
    size_t channel, rounds;
} stress;

static void stress_send(void *context)
{
    stress *self = context;
    for (size_t i = 0; i < self->rounds; i++)
        CHECK_OK(send_u64(self->on->senders[self->channel], 1, NULL));
}

static void stress_recv(void *context)
{
    stress *self = context;
    lace_message *message = message_make(self->on->region);
    for (size_t i = 0; i < self->rounds; i++)
        CHECK_OK(lace_recv(self->on->receivers[self->channel], message, NULL));
    lace_message_destroy(message);
}

/* `rounds` times through each channel, in whichever order; a channel that had its share is left out. */
static void stress_select(stress *self, bool sends)
{
    lace_message *message = message_make(self->on->region);
    lace_payload payload = payload_of("12345678", 8);
    size_t left[STRESS], index;
    for (size_t i = 0; i < STRESS; i++)
        left[i] = self->rounds;
    for (size_t i = 0; i < STRESS * self->rounds; i++) {
        lace_case cases[STRESS];
        size_t channel[STRESS], count = 0;
        for (size_t k = 0; k < STRESS; k++) {
            if (left[k] == 0)
                continue;
            channel[count] = k;
            if (sends)
                cases[count++] = (lace_case){
                    .kind = LACE_CASE_SEND, .sender = self->on->senders[k], .payload = &payload};
            else
                cases[count++] = (lace_case){
                    .kind = LACE_CASE_RECV, .receiver = self->on->receivers[k], .message = message};
        }
        CHECK_OK(lace_select(cases, count, 0, NULL, &index));
        left[channel[index]]--;
    }
    lace_message_destroy(message);
}

static void stress_select_send(void *context)
{
    stress_select(context, true);
}

static void stress_select_recv(void *context)
{
    stress_select(context, false);
}

START_TEST(test_s1_plain_and_selecting_threads_together)
{
    field f;
    thread threads[2 * STRESS + 2];
    stress work[2 * STRESS + 2];
    field_open(&f, STRESS, _i, 1);
    for (size_t i = 0; i < 2 * STRESS + 2; i++) {
        work[i] = (stress){&f, i % STRESS, test_scaled(3000)};
        thread_start(&threads[i],
                     i < STRESS       ? stress_send
                     : i < 2 * STRESS ? stress_recv
                     : i % 2          ? stress_select_send
                                      : stress_select_recv,
                     &work[i]);
    }
    for (size_t i = 0; i < 2 * STRESS + 2; i++)
        thread_join(&threads[i]);
    field_close(&f);
}
END_TEST

/* ---- a try that must not miss what is always there ----------------------------------------------------- */

typedef struct juggler {
    const pair *p, *q;
    _Atomic bool over;
} juggler;

static void juggler_move(const pair *from, const pair *to, lace_message *message)
{
    CHECK_OK(send_u64(to->sender, 1, NULL));
    while (lace_recv(from->receiver, message, TRY) != LACE_OK && lace_recv(to->receiver, message, TRY) != LACE_OK)
        continue; /* the selecting thread has it, and will put it back */
}

/* Takes a message out only after it has put another one in. */
static void juggler_run(void *context)
{
    juggler *self = context;
    lace_message *message = message_make(self->p->region);
    while (!atomic_load(&self->over)) {
        juggler_move(self->p, self->q, message);
        juggler_move(self->q, self->p, message);
    }
    lace_message_destroy(message);
}

/* Whenever the select begins and until it ends, one of the two channels holds a message (after Go's
 * TestNonblockSelectRace): so a select that only tries never comes back with nothing. _i: fair or in order */
START_TEST(test_s1_try_sees_what_is_always_there)
{
    pair p, q;
    thread other;
    pair_open_memory(&p, 8, 0);
    CHECK_OK(lace_channel_create(p.region, &(lace_channel_options){.capacity = 8}, &q.sender, &q.receiver));
    lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = p.receiver, .message = p.message},
                          {.kind = LACE_CASE_RECV, .receiver = q.receiver, .message = p.message}};
    juggler work = {.p = &p, .q = &q};
    q.region = p.region;
    fill(p.sender, 1);
    thread_start(&other, juggler_run, &work);
    for (size_t round = test_scaled(300000); round > 0; round--) {
        size_t index;
        CHECK_OK(lace_select(cases, 2, _i ? LACE_SELECT_PRIORITY : 0, TRY, &index));
        CHECK_OK(send_u64(p.sender, 1, NULL));
    }
    atomic_store(&work.over, true);
    thread_join(&other);
    lace_sender_destroy(q.sender);
    lace_receiver_destroy(q.receiver);
    pair_close(&p);
}
END_TEST

/* ---- priority under fire ------------------------------------------------------------------------------ */

#define RANKS 4

typedef struct ranks {
    lace_region *region;
    lace_sender *senders[RANKS];
    lace_receiver *receivers[RANKS];
    uint64_t rounds;
} ranks;

/* Number i goes into the first channel, then into the second, and so on. */
static void ranks_send(void *context)
{
    ranks *self = context;
    for (uint64_t i = 0; i < self->rounds; i++)
        for (size_t k = 0; k < RANKS; k++)
            CHECK_OK(send_u64(self->senders[k], i, NULL));
    for (size_t k = 0; k < RANKS; k++)
        lace_sender_close(self->senders[k]);
}

/* When a later channel's number i is taken, the earlier ones' have been: each was ready before. _i: the capacity, and
 * whether it is a persistent selector that chooses */
START_TEST(test_s2_priority_is_exact_under_fire)
{
    static const size_t capacities[] = {0, 1, 64};
    ranks work = {.region = region_make(0), .rounds = test_scaled(15000)};
    lace_message *message = message_make(work.region);
    lace_case cases[RANKS];
    uint64_t next[RANKS] = {0};
    thread other;
    lace_selector *selector = NULL;
    lace_status status;
    size_t index;
    for (size_t k = 0; k < RANKS; k++) {
        channel_make(work.region, capacities[_i / 2], &work.senders[k], &work.receivers[k]);
        cases[k] = (lace_case){.kind = LACE_CASE_RECV, .receiver = work.receivers[k], .message = message};
    }
    if (_i % 2)
        CHECK_OK(lace_selector_create(cases, RANKS, &selector));
    thread_start(&other, ranks_send, &work);
    while ((status = selector ? lace_selector_wait(selector, LACE_SELECT_PRIORITY, message, NULL, &index)
                              : lace_select(cases, RANKS, LACE_SELECT_PRIORITY, NULL, &index)) == LACE_OK) {
        CHECK_UINT(message_u64(message), next[index]);
        next[index]++;
        for (size_t k = 0; k < index; k++)
            CHECK_MSG(next[k] >= next[index], "channel %zu came before channel %zu", index, k);
    }
    CHECK_STATUS(LACE_END, status);
    CHECK_UINT(next[RANKS - 1], work.rounds);
    thread_join(&other);
    lace_selector_destroy(selector);
    for (size_t k = 0; k < RANKS; k++) {
        lace_sender_destroy(work.senders[k]);
        lace_receiver_destroy(work.receivers[k]);
    }
    lace_message_destroy(message);
    CHECK_OK(lace_region_destroy(work.region));
}
END_TEST

/* ---- lists that name one channel twice ----------------------------------------------------------------- */

typedef struct twice {
    watch watching;
    const pair *c, *e;
    size_t index;
} twice;

static void twice_run(void *context)
{
    twice *self = context;
    lace_message *message = message_make(self->c->region);
    lace_wait wait = watch_wait(&self->watching, LACE_NEVER, NULL);
    lace_case cases[3] = {{.kind = LACE_CASE_RECV, .receiver = self->c->receiver, .message = message},
                          {.kind = LACE_CASE_RECV, .receiver = self->c->receiver, .message = message},
                          {.kind = LACE_CASE_RECV, .receiver = self->e->receiver, .message = message}};
    CHECK_OK(lace_select(cases, 3, 0, &wait, &self->index));
    lace_message_destroy(message);
}

/* A select that listed a channel twice and was served elsewhere is no longer in that channel's way. */
START_TEST(test_s1_a_channel_listed_twice_is_left_twice)
{
    pair c, e;
    thread chooser;
    call receiving;
    pair_open(&c, _i);
    pair_open_beside(&e, &c);
    twice work = {.watching = WATCH_INIT, .c = &c, .e = &e};
    thread_start(&chooser, twice_run, &work);
    watch_until_parked(&work.watching, 1);
    thread_until_asleep(&chooser);
    call_start(&receiving, CALL_RECV, &c, 0);
    call_until_asleep(&receiving);
    CHECK_OK(send_u64(e.sender, 1, NULL));
    thread_join(&chooser);
    CHECK_UINT(work.index, 2);
    CHECK_OK(send_u64(c.sender, 7, NULL));
    CHECK_OK(call_join(&receiving));
    CHECK_UINT(receiving.value, 7);
    pair_close_ends(&e);
    pair_close(&c);
}
END_TEST

TEST_MAIN("select_race", TEST_LONG(test_s1_conservation_two_threads, 3, 60),
          TEST_LONG(test_s1_conservation_many_threads, 3, 60), TEST_LONG(test_s1_conservation_one_channel, 3, 60),
          TEST_LONG(test_s1_everyone_finds_a_partner, 2, 60),
          TEST_LOOP(test_s1_two_threads_select_both_ways, TRANSPORT_PIPE),
          TEST_LONG(test_s1_plain_and_selecting_threads_together, 3, 60),
          TEST_LONG(test_s1_try_sees_what_is_always_there, 2, 60),
          TEST_LONG(test_s2_priority_is_exact_under_fire, 6, 60),
          TEST_LOOP(test_s1_a_channel_listed_twice_is_left_twice, TRANSPORT_COUNT))
