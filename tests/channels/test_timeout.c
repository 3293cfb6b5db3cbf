/* test_timeout.c - C4: a call waits as long as it is told and no longer, and a timeout, a cancel or a close never
 * loses or doubles a message: a ledger of random operations that race. */
#include "fixture.h"

#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ---- deadlines ---------------------------------------------------------------------------------------- */

START_TEST(test_c4_clock_and_deadlines)
{
    int64_t before = lace_clock(), deadline = lace_deadline_after(1.5), after = lace_clock();
    CHECK(before > 0 && after >= before);
    CHECK(deadline >= before + 1500000000 && deadline <= after + 1500000000);
    CHECK(lace_deadline_after(0) == LACE_NOW);
    CHECK(lace_deadline_after(-0.0) == LACE_NOW);
    CHECK(lace_deadline_after(-1) == LACE_NOW);
    CHECK(lace_deadline_after(-INFINITY) == LACE_NOW);
    CHECK(lace_deadline_after(NAN) == LACE_NOW);
    CHECK(lace_deadline_after(INFINITY) == LACE_NEVER);
    CHECK(lace_deadline_after(1e300) == LACE_NEVER);
    CHECK(lace_deadline_after(101 * 366.0 * 86400) == LACE_NEVER);
    CHECK(lace_deadline_after(99 * 365.0 * 86400) > after);
    CHECK(lace_deadline_after(1e-12) > 0); /* short, but not a try */
}
END_TEST

/* The five kinds of call, timed. */
static lace_status timed_call(const pair *p, int kind, const lace_wait *wait)
{
    uint64_t value = 1;
    size_t index;
    lace_payload payload = payload_of(&value, sizeof value);
    lace_case receive = {.kind = LACE_CASE_RECV, .receiver = p->receiver, .message = p->message};
    lace_case send = {.kind = LACE_CASE_SEND, .sender = p->sender, .payload = &payload};
    lace_selector *selector;
    switch (kind) {
    case 0:
        return lace_recv(p->receiver, p->message, wait);
    case 1:
        return lace_send(p->sender, &payload, wait);
    case 2:
        return lace_select(&receive, 1, 0, wait, &index);
    case 3:
        return lace_select(&send, 1, LACE_SELECT_PRIORITY, wait, &index);
    default:
        CHECK_OK(lace_selector_create(&receive, 1, &selector));
        lace_status status = lace_selector_wait(selector, 0, p->message, wait, &index);
        lace_selector_destroy(selector);
        return status;
    }
}

START_TEST(test_c4_timeout_waits_its_time_and_not_much_longer)
{
    pair p;
    pair_open(&p, _i);
    for (int kind = 0; kind < (p.kind->can & CAN_REGISTER ? 5 : 4); kind++) {
        bool sends = kind == 1 || kind == 3;
        size_t room = sends ? fill_up(p.sender) : 0;
        int64_t start = lace_clock();
        CHECK_STATUS(LACE_TIMEOUT, timed_call(&p, kind, &(lace_wait){.deadline = start + 30000000}));
        int64_t took = lace_clock() - start;
        CHECK_MSG(took >= 30000000, "kind %d came back after %lld ns", kind, (long long)took);
        CHECK_MSG(took < 2000000000, "kind %d took %lld ns", kind, (long long)took);
        for (size_t i = 0; i < room; i++)
            CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY)); /* nothing was left behind */
    }
    pair_close(&p);
}
END_TEST

START_TEST(test_c4_try_and_past_deadlines_do_not_wait)
{
    pair p;
    watch watching = WATCH_INIT;
    pair_open(&p, _i);
    for (int kind = 0; kind < (p.kind->can & CAN_REGISTER ? 5 : 4); kind++) {
        bool sends = kind == 1 || kind == 3;
        size_t room = sends ? fill_up(p.sender) : 0;
        lace_wait now = watch_wait(&watching, LACE_NOW, NULL);
        CHECK_STATUS(LACE_TIMEOUT, timed_call(&p, kind, &now));
        CHECK_UINT(watching.parks, 0);
        lace_wait past = watch_wait(&watching, 1, NULL); /* a nanosecond after the machine started */
        CHECK_STATUS(LACE_TIMEOUT, timed_call(&p, kind, &past));
        CHECK_UINT(watching.parks, watching.unparks);
        watching.parks = watching.unparks = 0;
        for (size_t i = 0; i < room; i++)
            CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    }
    pair_close(&p);
}
END_TEST

START_TEST(test_c4_past_deadline_still_does_what_needs_no_wait)
{
    pair p;
    uint64_t value;
    pair_open(&p, _i + 1);
    CHECK_OK(send_u64(p.sender, 8, &(lace_wait){.deadline = 1}));
    CHECK_OK(recv_u64(p.receiver, p.message, &value, &(lace_wait){.deadline = 1}));
    CHECK_UINT(value, 8);
    pair_close(&p);
}
END_TEST

START_TEST(test_c4_timed_out_send_is_withdrawn)
{
    pair p;
    uint64_t value;
    pair_open(&p, _i);
    size_t room = fill_up(p.sender);
    CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 999999, WITHIN_MS(2)));
    for (uint64_t i = 0; i < room; i++) {
        CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
        CHECK_UINT(value, i);
    }
    CHECK_STATUS(LACE_TIMEOUT, recv_u64(p.receiver, p.message, &value, TRY));
    CHECK_UINT(lace_sender_length(p.sender), 0);
    pair_close(&p);
}
END_TEST

START_TEST(test_c4_timed_out_receiver_takes_nothing_later)
{
    pair p;
    uint64_t value;
    pair_open(&p, _i);
    for (size_t i = 0; i < 3; i++)
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, WITHIN_MS(1)));
    if (p.kind->can & CAN_QUEUE) {
        CHECK_OK(send_u64(p.sender, 11, TRY));
        CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
        CHECK_UINT(value, 11);
    } else {
        CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 11, TRY)); /* no ghost receiver takes it */
    }
    pair_close(&p);
}
END_TEST

/* ---- at the very deadline ----------------------------------------------------------------------------- */

/* One thread waits until a deadline; the other does at about that moment what would end the wait. When exactly is tuned
 * so that either of them is first about every other time: then the two meet as often as they can. */
typedef struct duel {
    const pair *on;
    call_kind kind;
    size_t rounds;
    pthread_barrier_t line; /* before and after each round */
    int64_t deadline;
    lace_status waited;
    uint64_t value; /* what the waiting thread sends, or has got */
} duel;

static void duel_wait(void *context)
{
    duel *self = context;
    const pair *p = self->on;
    lace_message *message = message_make(p->region);
    lace_payload payload = payload_of(&self->value, sizeof self->value);
    lace_case choice = {.kind = LACE_CASE_RECV, .receiver = p->receiver, .message = message};
    lace_selector *selector = NULL;
    if (self->kind == CALL_SELECTOR_RECV)
        CHECK_OK(lace_selector_create(&choice, 1, &selector));
    if (self->kind == CALL_SELECT_SEND)
        choice = (lace_case){.kind = LACE_CASE_SEND, .sender = p->sender, .payload = &payload};
    for (size_t i = 0; i < self->rounds; i++) {
        size_t index;
        pthread_barrier_wait(&self->line);
        lace_wait wait = {.deadline = self->deadline};
        if (self->kind == CALL_SEND)
            self->waited = lace_send(p->sender, &payload, &wait);
        else if (self->kind == CALL_RECV)
            self->waited = lace_recv(p->receiver, message, &wait);
        else if (self->kind == CALL_SELECTOR_RECV)
            self->waited = lace_selector_wait(selector, 0, message, &wait, &index);
        else
            self->waited = lace_select(&choice, 1, 0, &wait, &index);
        if (self->waited == LACE_OK && self->kind != CALL_SEND && self->kind != CALL_SELECT_SEND)
            self->value = message_u64(message);
        pthread_barrier_wait(&self->line);
    }
    lace_selector_destroy(selector);
    lace_message_destroy(message);
}

/* After a round: what became of message `i`. Whoever said OK, the other one has it; else it is where it was. */
static void duel_check(const duel *self, uint64_t i, lace_status acted, uint64_t seen)
{
    const pair *p = self->on;
    uint64_t value;
    bool sends = self->kind == CALL_SEND || self->kind == CALL_SELECT_SEND;
    CHECK(self->waited == LACE_OK || self->waited == LACE_TIMEOUT);
    if (p->kind->capacity == 0) {
        CHECK_STATUS(self->waited, acted);
        if (acted == LACE_OK)
            CHECK_UINT(sends ? seen : self->value, i);
    } else if (sends) { /* the queue was full; a filler was taken out at the deadline */
        CHECK_OK(acted);
        lace_status after = recv_u64(p->receiver, p->message, &value, TRY);
        CHECK_STATUS(self->waited, after);
        CHECK(after != LACE_OK || value == i);
    } else if (self->waited == LACE_OK) {
        CHECK_UINT(self->value, i);
    } else {
        CHECK_OK(recv_u64(p->receiver, p->message, &value, TRY)); /* it is still in the queue */
        CHECK_UINT(value, i);
    }
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p->receiver, p->message, TRY));
}

/* _i: how it waits, on a rendezvous or on a channel of one */
START_TEST(test_c4_a_message_at_the_very_deadline)
{
    pair p;
    thread waiter;
    pair_open(&p, _i % 2);
    duel both = {.on = &p, .kind = (call_kind)(_i / 2), .rounds = test_scaled(1500)};
    bool sends = both.kind == CALL_SEND || both.kind == CALL_SELECT_SEND;
    size_t counts[2] = {0, 0};
    int64_t offset = 0, step = 1000, ahead = 60000;
    pthread_barrier_init(&both.line, NULL, 2);
    thread_start(&waiter, duel_wait, &both);
    for (uint64_t i = 1; i <= both.rounds; i++) {
        uint64_t seen = 0;
        if (sends)
            fill(p.sender, p.kind->capacity);
        both.value = sends ? i : 0;
        if (offset < -ahead && ahead < 4000000)
            ahead *= 2; /* on a busy machine the other thread is not there as soon as that */
        both.deadline = lace_clock() + ahead;
        pthread_barrier_wait(&both.line);
        while (lace_clock() < both.deadline + offset)
            continue;
        lace_status acted = sends ? recv_u64(p.receiver, p.message, &seen, TRY) : send_u64(p.sender, i, TRY);
        pthread_barrier_wait(&both.line);
        duel_check(&both, i, acted, seen);
        counts[both.waited == LACE_OK]++;
        offset += both.waited == LACE_OK ? step : -step;
    }
    thread_join(&waiter);
    if (both.rounds > 300)
        CHECK_MSG(counts[0] > 0 && counts[1] > 0, "%zu timeouts and %zu messages", counts[0], counts[1]);
    pthread_barrier_destroy(&both.line);
    pair_close(&p);
}
END_TEST

/* ---- the ledger --------------------------------------------------------------------------------------- */

/* Threads send and receive with tiny deadlines, tries, cancels, selects and closing clones of their ends. Whatever the
 * interleaving: a message whose send said OK is received exactly once, any other one never. */

#define ROLES 8

typedef struct ledger {
    const pair *on;
    size_t each;                /* messages of each sending thread */
    _Atomic uint8_t *sent, *got; /* [thread * each + index] */
    _Atomic uint64_t sent_count, got_count;
    _Atomic bool over;
    _Atomic(lace_cancel *) cancels[ROLES]; /* the token each thread's waits name now */
} ledger;

typedef struct role {
    ledger *book;
    size_t number;
    rng random;
} role;

/* A deadline that is likely to race with the other side; some waits get the token too. Never for ever, so that a
 * thread comes back to see that it is over. */
static lace_wait role_wait(role *self, lace_cancel *cancel)
{
    lace_wait wait = {.deadline = LACE_NOW};
    size_t kind = rng_below(&self->random, 8);
    if (kind > 1)
        wait.deadline = lace_clock() + (int64_t)rng_below(&self->random, kind > 6 ? 2000000 : 60000);
    if (kind % 2)
        wait.cancel = cancel;
    return wait;
}

static bool role_expected(lace_status status)
{
    return status == LACE_TIMEOUT || status == LACE_CANCELLED;
}

static void ledger_send(void *context)
{
    role *self = context;
    ledger *book = self->book;
    lace_sender *sender;
    lace_cancel *cancel;
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    CHECK_OK(lace_sender_clone(book->on->sender, &sender));
    for (size_t i = 0; i < book->each; i++) {
        uint64_t value = self->number * book->each + i;
        lace_wait wait = role_wait(self, cancel);
        lace_payload payload = payload_of(&value, sizeof value);
        lace_case choice = {.kind = LACE_CASE_SEND, .sender = sender, .payload = &payload};
        size_t index = 9;
        atomic_store(&book->cancels[self->number], cancel);
        lace_status status = rng_below(&self->random, 4) ? lace_send(sender, &payload, &wait)
                                                         : lace_select(&choice, 1, 0, &wait, &index);
        while (!atomic_exchange(&book->cancels[self->number], NULL)) /* the canceller holds it just now */
            sched_yield();
        if (status == LACE_OK) {
            atomic_store(&book->sent[value], 1);
            atomic_fetch_add(&book->sent_count, 1);
        } else {
            CHECK_MSG(role_expected(status), "%s", status_name(status));
        }
        if (lace_cancel_fired(cancel)) {
            lace_cancel_destroy(cancel);
            CHECK_OK(lace_cancel_create(NULL, &cancel));
        }
        if (rng_below(&self->random, 50) == 0) {
            lace_sender *next;
            CHECK_OK(lace_sender_clone(sender, &next));
            lace_sender_destroy(sender);
            sender = next;
        }
    }
    lace_sender_destroy(sender);
    lace_cancel_destroy(cancel);
}

static void ledger_book(ledger *book, const lace_message *message)
{
    uint64_t value = message_u64(message);
    CHECK(value < ROLES * book->each);
    CHECK_MSG(atomic_exchange(&book->got[value], 1) == 0, "message %llu was doubled", (unsigned long long)value);
    atomic_fetch_add(&book->got_count, 1);
}

static void ledger_receive(void *context)
{
    role *self = context;
    ledger *book = self->book;
    lace_receiver *receiver;
    lace_cancel *cancel;
    lace_message *messages[3];
    lace_status status = LACE_OK;
    for (size_t i = 0; i < 3; i++)
        messages[i] = message_make(book->on->region);
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    CHECK_OK(lace_receiver_clone(book->on->receiver, &receiver));
    while (status != LACE_END) {
        lace_wait wait = role_wait(self, cancel);
        lace_case choice = {.kind = LACE_CASE_RECV, .receiver = receiver, .message = messages[0]};
        size_t got = 1, index = 9, how = rng_below(&self->random, 4);
        atomic_store(&book->cancels[self->number], cancel);
        if (how == 0)
            status = lace_select(&choice, 1, 0, &wait, &index);
        else if (how == 1)
            status = lace_recv_many(receiver, messages, 3, &wait, &got);
        else
            status = lace_recv(receiver, messages[0], &wait);
        while (!atomic_exchange(&book->cancels[self->number], NULL))
            sched_yield();
        for (size_t i = 0; status == LACE_OK && i < got; i++)
            ledger_book(book, messages[i]);
        CHECK_MSG(status == LACE_OK || status == LACE_END || role_expected(status), "%s", status_name(status));
        if (lace_cancel_fired(cancel)) {
            lace_cancel_destroy(cancel);
            CHECK_OK(lace_cancel_create(NULL, &cancel));
        }
        if (rng_below(&self->random, 50) == 0) {
            lace_receiver *next;
            CHECK_OK(lace_receiver_clone(receiver, &next));
            lace_receiver_destroy(receiver);
            receiver = next;
        }
    }
    lace_receiver_destroy(receiver);
    lace_cancel_destroy(cancel);
    for (size_t i = 0; i < 3; i++)
        lace_message_destroy(messages[i]);
}

/* Fires one thread's token after another. */
static void ledger_cancel(void *context)
{
    role *self = context;
    while (!atomic_load(&self->book->over)) {
        _Atomic(lace_cancel *) *place = &self->book->cancels[rng_below(&self->random, ROLES)];
        lace_cancel *cancel = atomic_exchange(place, NULL);
        if (cancel) {
            lace_cancel_fire(cancel);
            atomic_store(place, cancel);
        }
        sched_yield();
    }
}

static void ledger_run(int over, size_t senders, size_t receivers, rng random)
{
    pair p;
    thread threads[ROLES + 1];
    role roles[ROLES + 1];
    pair_open(&p, over);
    if (p.kind->pipe)
        pair_shrink(&p); /* so that it is full at times */
    ledger book = {.on = &p, .each = test_scaled(3000)};
    book.sent = calloc(ROLES * book.each, 1);
    book.got = calloc(ROLES * book.each, 1);
    for (size_t i = 0; i <= ROLES; i++) {
        roles[i] = (role){&book, i, {rng_next(&random)}};
        if (i < senders)
            thread_start(&threads[i], ledger_send, &roles[i]);
        else if (i < senders + receivers)
            thread_start(&threads[i], ledger_receive, &roles[i]);
    }
    thread_start(&threads[ROLES], ledger_cancel, &roles[ROLES]);
    for (size_t i = 0; i < senders; i++)
        thread_join(&threads[i]);
    lace_sender_close(p.sender);
    for (size_t i = senders; i < senders + receivers; i++)
        thread_join(&threads[i]);
    atomic_store(&book.over, true);
    thread_join(&threads[ROLES]);
    CHECK_UINT(book.got_count, book.sent_count);
    for (size_t i = 0; i < ROLES * book.each; i++)
        CHECK_MSG(book.sent[i] == book.got[i], "message %zu: sent %d, received %d", i, book.sent[i], book.got[i]);
    CHECK(book.sent_count > 0);
    if (p.kind->capacity < 3 && !p.kind->pipe) /* else they may all have found room */
        CHECK(book.sent_count < senders * book.each);
    free((void *)book.sent);
    free((void *)book.got);
    pair_close(&p);
}

START_TEST(test_c4_ledger_two_and_two)
{
    ledger_run(_i, 2, 2, rng_start(__func__, (uint64_t)_i));
}
END_TEST

START_TEST(test_c4_ledger_many_senders)
{
    ledger_run(_i, 6, 1, rng_start(__func__, (uint64_t)_i));
}
END_TEST

START_TEST(test_c4_ledger_many_receivers)
{
    ledger_run(_i, 3, 5, rng_start(__func__, (uint64_t)_i));
}
END_TEST

TEST_MAIN("timeout", TEST(test_c4_clock_and_deadlines),
          TEST_LOOP(test_c4_timeout_waits_its_time_and_not_much_longer, TRANSPORT_COUNT),
          TEST_LOOP(test_c4_try_and_past_deadlines_do_not_wait, TRANSPORT_COUNT),
          TEST_LOOP(test_c4_past_deadline_still_does_what_needs_no_wait, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_c4_timed_out_send_is_withdrawn, TRANSPORT_COUNT),
          TEST_LOOP(test_c4_timed_out_receiver_takes_nothing_later, TRANSPORT_COUNT),
          TEST_LONG(test_c4_a_message_at_the_very_deadline, 10, 60),
          TEST_LONG(test_c4_ledger_two_and_two, TRANSPORT_COUNT, 60),
          TEST_LONG(test_c4_ledger_many_senders, TRANSPORT_COUNT, 60),
          TEST_LONG(test_c4_ledger_many_receivers, TRANSPORT_COUNT, 60))
