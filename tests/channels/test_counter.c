/* test_counter.c - counters: every change counts once, and who waits for a number is told once it is reached. */
#include "fixture.h"

#include "../../channels/counter.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

typedef struct made {
    lace_region *region;
    lace_counter counter;
    lace_message *message;
} made;

static void open_counter(made *opened, int64_t number)
{
    opened->region = region_make(0);
    opened->message = message_make(opened->region);
    CHECK_OK(lace_counter_create(opened->region, number, NULL, &opened->counter.sender, &opened->counter.receiver));
}

static void close_counter(made *closed)
{
    lace_sender_destroy(closed->counter.sender);
    lace_receiver_destroy(closed->counter.receiver);
    lace_message_destroy(closed->message);
    CHECK_OK(lace_region_destroy(closed->region));
}

static void add(lace_counter counter, int64_t n)
{
    int64_t number;
    CHECK(lace_counter_add(counter, n, &number));
    if (lace_counter_due(counter))
        CHECK_OK(lace_counter_settle(counter));
}

/* Gives a receiver that gets `answer`. */
static lace_receiver *watch_for(const made *on, int64_t at_least, int64_t limit, uint64_t answer)
{
    lace_counter_watch wanted = {.at_least = at_least, .limit = limit, .size = sizeof answer};
    lace_sender *sender;
    lace_receiver *receiver;
    memcpy(wanted.answer, &answer, sizeof answer);
    channel_make(on->region, 1, &sender, &receiver);
    CHECK_OK(lace_counter_watch_for(on->counter, &wanted, sender));
    return receiver;
}

START_TEST(test_counter_changes)
{
    made m;
    int64_t number;
    open_counter(&m, -5);
    CHECK(lace_counter_is(m.counter));
    CHECK(lace_counter_number(m.counter) == -5);
    CHECK(lace_counter_add(m.counter, 7, &number) && number == 2);
    CHECK(lace_counter_add(m.counter, -1, &number) && number == 1);
    CHECK(!lace_counter_due(m.counter));
    lace_counter_set(m.counter, INT64_MAX - 1);
    CHECK(lace_counter_add(m.counter, 1, &number) && number == INT64_MAX);
    CHECK(!lace_counter_add(m.counter, 1, &number) && lace_counter_number(m.counter) == INT64_MAX);
    number = 3;
    CHECK(!lace_counter_exchange(m.counter, &number, 4) && number == INT64_MAX);
    CHECK(lace_counter_exchange(m.counter, &number, 4) && lace_counter_number(m.counter) == 4);
    lace_counter_set(m.counter, INT64_MIN);
    CHECK(!lace_counter_add(m.counter, -1, &number) && lace_counter_number(m.counter) == INT64_MIN);
    CHECK_OK(lace_counter_settle(m.counter)); /* nobody waits */
    pair p;
    pair_open_memory(&p, 1, 0);
    CHECK(!lace_counter_is((lace_counter){p.sender, p.receiver}));
    CHECK(!lace_counter_is((lace_counter){m.counter.sender, p.receiver}));
    pair_close(&p);
    close_counter(&m);
}
END_TEST

START_TEST(test_counter_answers_those_whose_number_is_reached)
{
    made m;
    uint64_t value;
    open_counter(&m, 0);
    region_warm(m.region);
    size_t before = region_used(m.region);
    lace_receiver *ten = watch_for(&m, 10, 0, 110), *five = watch_for(&m, 5, 0, 105),
                  *here = watch_for(&m, 0, 0, 100);
    CHECK_OK(recv_u64(here, m.message, &value, TRY));
    CHECK_UINT(value, 100);
    CHECK_STATUS(LACE_END, lace_recv(here, m.message, TRY));
    add(m.counter, 4);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(five, m.message, TRY));
    add(m.counter, 3);
    CHECK_OK(recv_u64(five, m.message, &value, TRY));
    CHECK_UINT(value, 105);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(ten, m.message, TRY));
    lace_counter_set(m.counter, 10);
    CHECK(lace_counter_due(m.counter));
    CHECK_OK(lace_counter_settle(m.counter));
    lace_counter_set(m.counter, 0); /* what has been reached, has */
    CHECK_OK(recv_u64(ten, m.message, &value, TRY));
    CHECK_UINT(value, 110);
    CHECK(!lace_counter_due(m.counter));
    lace_receiver_destroy(ten);
    lace_receiver_destroy(five);
    lace_receiver_destroy(here);
    CHECK_UINT(region_used(m.region), before);
    close_counter(&m);
}
END_TEST

START_TEST(test_counter_with_a_limit)
{
    made m;
    uint64_t value;
    const int64_t limit = 1000;
    open_counter(&m, 0);
    lace_receiver *first = watch_for(&m, 3, limit, 1), *second = watch_for(&m, 6, limit, 2);
    lace_counter_set(m.counter, limit + 4); /* three were there before, six were not */
    CHECK(lace_counter_due(m.counter));
    CHECK_OK(lace_counter_settle(m.counter));
    CHECK_OK(recv_u64(first, m.message, &value, TRY));
    CHECK_UINT(value, 1);
    CHECK_STATUS(LACE_END, lace_recv(second, m.message, TRY));
    lace_receiver *late = watch_for(&m, 6, limit, 3);
    CHECK_STATUS(LACE_END, lace_recv(late, m.message, TRY));
    lace_receiver_destroy(first);
    lace_receiver_destroy(second);
    lace_receiver_destroy(late);
    close_counter(&m);
}
END_TEST

/* Those who have gone are dropped from the list, and those who are left hear of the counter's end. */
START_TEST(test_counter_forgets_those_who_go)
{
    made m;
    lace_counter_watch wide = {.size = LACE_COUNTER_ANSWER + 1};
    open_counter(&m, 0);
    region_warm(m.region);
    lace_receiver *stays = watch_for(&m, 1000, 0, 0);
    lace_receiver_destroy(watch_for(&m, 500, 0, 0));
    lace_receiver_destroy(watch_for(&m, 500, 0, 0));
    size_t before = region_used(m.region);
    for (size_t i = 0; i < 1000; i++)
        lace_receiver_destroy(watch_for(&m, (int64_t)i + 1, 0, 0));
    CHECK(region_used(m.region) <= before);
    lace_sender *sender;
    lace_receiver *receiver;
    channel_make(m.region, 1, &sender, &receiver);
    CHECK_STATUS(LACE_INVALID, lace_counter_watch_for(m.counter, &wide, sender)); /* which takes it all the same */
    CHECK_STATUS(LACE_END, lace_recv(receiver, m.message, TRY));
    lace_receiver_destroy(receiver);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(stays, m.message, TRY));
    lace_sender_close(m.counter.sender);
    CHECK_STATUS(LACE_CLOSED, lace_counter_settle(m.counter));
    lace_receiver_close(m.counter.receiver);
    CHECK_STATUS(LACE_END, lace_recv(stays, m.message, TRY));
    lace_receiver_destroy(stays);
    close_counter(&m);
}
END_TEST

typedef struct part {
    const made *on;
    uint64_t rounds;
    rng random;
} part;

static void count_up(void *context)
{
    part *self = context;
    for (uint64_t i = 0; i < self->rounds; i++)
        add(self->on->counter, 1);
}

/* Waits for one number after the other, a little above what it is. */
static void wait_on(void *context)
{
    part *self = context;
    lace_message *message = message_make(self->on->region);
    const int64_t total = 2 * (int64_t)self->rounds;
    for (int64_t target = 1; target <= total;) {
        uint64_t value;
        lace_receiver *receiver = watch_for(self->on, target, 0, (uint64_t)target);
        if (rng_below(&self->random, 4) != 0 || target == total) {
            CHECK_OK(recv_u64(receiver, message, &value, NULL)); /* a lost answer hangs here */
            CHECK_UINT(value, target);
            CHECK(lace_counter_number(self->on->counter) >= target);
        }
        lace_receiver_destroy(receiver);
        int64_t next = lace_counter_number(self->on->counter) + 1 + (int64_t)rng_below(&self->random, 3);
        target = target == total ? total + 1 : next < total ? next : total;
    }
    lace_message_destroy(message);
}

START_TEST(test_counter_under_load)
{
    made m;
    thread threads[4];
    part parts[4];
    open_counter(&m, 0);
    for (size_t i = 0; i < 4; i++) {
        parts[i] = (part){&m, test_scaled(20000), rng_start(__func__, i)};
        thread_start(&threads[i], i < 2 ? count_up : wait_on, &parts[i]);
    }
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    CHECK_UINT(lace_counter_number(m.counter), 2 * parts[0].rounds);
    close_counter(&m);
}
END_TEST

/* A region that is full: those who wait are given up, and the counter counts on. */
START_TEST(test_counter_without_memory)
{
    made m;
    lace_receiver *receivers[64];
    lace_block *blocks[4096];
    size_t made_blocks = 0, count = 0;
    lace_status status = LACE_OK;
    lace_counter_watch wanted = {.at_least = 1000, .size = 8};
    m.region = region_make((size_t)8 << 20);
    m.message = message_make(m.region);
    CHECK_OK(lace_counter_create(m.region, 0, NULL, &m.counter.sender, &m.counter.receiver));
    lace_sender *senders[64];
    for (size_t i = 0; i < 64; i++)
        channel_make(m.region, 1, &senders[i], &receivers[i]);
    for (size_t size = (size_t)4 << 20; size > 0; size /= 2) {
        while (made_blocks < 4096 && lace_block_create(m.region, size, &blocks[made_blocks]) == LACE_OK)
            made_blocks++;
    }
    for (; count < 64 && status == LACE_OK; count++)
        status = lace_counter_watch_for(m.counter, &wanted, senders[count]);
    CHECK_STATUS(LACE_NOMEM, status);
    for (size_t i = 0; i < count; i++)
        CHECK_STATUS(LACE_END, lace_recv(receivers[i], m.message, TRY));
    add(m.counter, 2000);
    CHECK(lace_counter_number(m.counter) == 2000);
    for (size_t i = 0; i < 64; i++) {
        lace_receiver_destroy(receivers[i]);
        if (i >= count)
            lace_sender_destroy(senders[i]);
    }
    while (made_blocks > 0)
        lace_block_destroy(blocks[--made_blocks]);
    lace_receiver *again = watch_for(&m, 2001, 0, 1);
    uint64_t value;
    add(m.counter, 1);
    CHECK_OK(recv_u64(again, m.message, &value, TRY));
    lace_receiver_destroy(again);
    close_counter(&m);
}
END_TEST

TEST_MAIN("counter", TEST(test_counter_changes), TEST(test_counter_answers_those_whose_number_is_reached),
          TEST(test_counter_with_a_limit), TEST(test_counter_forgets_those_who_go), TEST(test_counter_without_memory),
          TEST_LONG(test_counter_under_load, 1, 120))
