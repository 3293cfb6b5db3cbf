/* test_overwrite.c - channels that overwrite: a send to the full channel discards the oldest message and never waits. */
#include "fixture.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* A channel that overwrites. */
static void open_overwriting(pair *opened, size_t capacity)
{
    *opened = (pair){.kind = &transports[0], .region = region_make(0)};
    opened->message = message_make(opened->region);
    CHECK_OK(lace_channel_create(opened->region,
                                 &(lace_channel_options){.capacity = capacity, .overwrite = true, .name = "newest"},
                                 &opened->sender, &opened->receiver));
}

START_TEST(test_overwrite_keeps_the_newest)
{
    pair p;
    uint64_t value;
    size_t capacity = _i == 0 ? 1 : _i == 1 ? 3 : 8;
    open_overwriting(&p, capacity);
    for (uint64_t i = 0; i < 100; i++) {
        CHECK_OK(send_u64(p.sender, i, NULL)); /* would wait for ever */
        CHECK_UINT(lace_receiver_length(p.receiver), i + 1 < capacity ? i + 1 : capacity);
    }
    for (uint64_t i = 100 - capacity; i < 100; i++) {
        CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
        CHECK_UINT(value, i);
    }
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

START_TEST(test_overwrite_by_send_many_and_select)
{
    pair p;
    uint64_t values[5] = {1, 2, 3, 4, 5}, value;
    lace_payload payloads[5];
    size_t sent = 0, index = 9;
    open_overwriting(&p, 1);
    for (size_t i = 0; i < 5; i++)
        payloads[i] = payload_of(&values[i], sizeof values[i]);
    CHECK_OK(lace_send_many(p.sender, payloads, 5, NULL, &sent));
    CHECK_UINT(sent, 5);
    for (unsigned flags = 0; flags <= LACE_SELECT_PRIORITY; flags++) {
        lace_case cases[2] = {{.kind = LACE_CASE_SEND, .sender = p.sender, .payload = &payloads[1]},
                              {.kind = LACE_CASE_AT, .at = INT64_MAX}};
        CHECK_OK(lace_select(cases, 2, flags, NULL, &index));
        CHECK_UINT(index, 0);
        CHECK_UINT(lace_sender_length(p.sender), 1);
    }
    CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
    CHECK_UINT(value, 2);
    pair_close(&p);
}
END_TEST

START_TEST(test_overwrite_hands_over_to_who_waits)
{
    pair p;
    call waiting;
    open_overwriting(&p, 1);
    call_start(&waiting, _i == 0 ? CALL_RECV : _i == 1 ? CALL_SELECT_RECV : CALL_SELECTOR_RECV, &p, 0);
    call_until_asleep(&waiting);
    CHECK_OK(send_u64(p.sender, 7, TRY));
    CHECK_OK(call_join(&waiting));
    CHECK_UINT(waiting.value, 7);
    CHECK_UINT(lace_sender_length(p.sender), 0);
    lace_receiver_close(p.receiver);
    CHECK_STATUS(LACE_BROKEN, send_u64(p.sender, 8, NULL));
    lace_sender_close(p.sender);
    CHECK_STATUS(LACE_CLOSED, send_u64(p.sender, 8, NULL));
    pair_close(&p);
}
END_TEST

/* What is displaced is let go of: ends close, blocks and large messages are freed. */
START_TEST(test_overwrite_lets_go_of_what_is_displaced)
{
    pair p, q;
    open_overwriting(&p, 1);
    region_warm(p.region);
    size_t before = region_used(p.region);
    channel_make(p.region, 1, &q.sender, &q.receiver);
    CHECK_OK(send_sender(p.sender, q.sender, TRY));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(q.receiver, p.message, TRY));
    char *large = calloc(1, 100000);
    lace_payload payload = payload_of(large, 100000), empty = {0};
    CHECK_OK(lace_send(p.sender, &payload, TRY));
    CHECK_STATUS(LACE_END, lace_recv(q.receiver, p.message, TRY));
    lace_receiver_destroy(q.receiver);
    lace_block *block;
    CHECK_OK(lace_block_create(p.region, 100000, &block));
    CHECK_OK(send_block(p.sender, block, TRY));
    channel_make(p.region, 1, &q.sender, &q.receiver);
    lace_case choice = {.kind = LACE_CASE_SEND, .sender = p.sender, .payload = &empty};
    size_t index;
    CHECK_OK(send_receiver(p.sender, q.receiver, TRY));
    CHECK_OK(lace_select(&choice, 1, 0, NULL, &index));
    CHECK_STATUS(LACE_BROKEN, send_u64(q.sender, 1, TRY));
    lace_sender_destroy(q.sender);
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_UINT(region_used(p.region), before);
    free(large);
    pair_close(&p);
}
END_TEST

START_TEST(test_overwrite_descriptors_and_options)
{
    pair p;
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    open_overwriting(&p, 1);
    struct pollfd polls[2] = {{.events = POLLIN}, {.events = POLLIN}};
    CHECK_OK(lace_sender_fd(p.sender, &polls[0].fd));
    CHECK_OK(lace_receiver_fd(p.receiver, &polls[1].fd));
    CHECK(poll(polls, 2, 0) == 1 && polls[0].revents == POLLIN);
    CHECK_OK(send_u64(p.sender, 1, TRY));
    CHECK_OK(send_u64(p.sender, 2, TRY));
    CHECK(poll(polls, 2, 0) == 2); /* full, and yet there is room */
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK(poll(polls, 2, 0) == 1 && polls[0].revents == POLLIN);
    CHECK_STATUS(LACE_INVALID,
                 lace_channel_create(p.region, &(lace_channel_options){.overwrite = true}, &sender, &receiver));
    CHECK_STATUS(LACE_INVALID,
                 lace_channel_create(p.region,
                                     &(lace_channel_options){.capacity = 1, .max_bytes = 1, .overwrite = true},
                                     &sender, &receiver));
    CHECK(sender == NULL && receiver == NULL);
    pair_close(&p);
}
END_TEST

typedef struct post {
    const pair *on;
    uint64_t number, count;
} post;

static void post_send(void *context)
{
    post *self = context;
    lace_sender *sender;
    CHECK_OK(lace_sender_clone(self->on->sender, &sender));
    for (uint64_t i = 1; i <= self->count; i++) {
        uint64_t value = self->number << 32 | i;
        lace_payload payload = payload_of(&value, sizeof value);
        size_t index;
        lace_case choice = {.kind = LACE_CASE_SEND, .sender = sender, .payload = &payload};
        if (i % 3 == 0)
            CHECK_OK(lace_select(&choice, 1, 0, NULL, &index));
        else
            CHECK_OK(lace_send(sender, &payload, NULL));
    }
    lace_sender_destroy(sender);
}

/* Several send, one receives: each sender's messages come in order, none twice, and its last one or a later one of
 * another sender is what is left in the end. */
START_TEST(test_overwrite_under_load)
{
    pair p;
    thread threads[3];
    post posts[3];
    uint64_t last[3] = {0}, value, seen = 0;
    open_overwriting(&p, 1);
    for (uint64_t i = 0; i < 3; i++) {
        posts[i] = (post){&p, i, test_scaled(20000)};
        thread_start(&threads[i], post_send, &posts[i]);
    }
    while (seen == 0 || (last[0] < posts[0].count && last[1] < posts[1].count && last[2] < posts[2].count)) {
        CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
        CHECK((value & UINT32_MAX) > last[value >> 32]);
        last[value >> 32] = value & UINT32_MAX;
        seen++;
    }
    for (size_t i = 0; i < 3; i++)
        thread_join(&threads[i]);
    lace_sender_close(p.sender);
    while (lace_recv(p.receiver, p.message, NULL) == LACE_OK) {
        value = message_u64(p.message);
        CHECK((value & UINT32_MAX) > last[value >> 32]);
        last[value >> 32] = value & UINT32_MAX;
    }
    pair_close(&p);
}
END_TEST

TEST_MAIN("overwrite", TEST_LOOP(test_overwrite_keeps_the_newest, 3), TEST(test_overwrite_by_send_many_and_select),
          TEST_LOOP(test_overwrite_hands_over_to_who_waits, 3), TEST(test_overwrite_lets_go_of_what_is_displaced),
          TEST(test_overwrite_descriptors_and_options), TEST_LONG(test_overwrite_under_load, 1, 60))
