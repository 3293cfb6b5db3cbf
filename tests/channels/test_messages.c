/* test_messages.c - what is sent is what arrives, on every transport: bytes of every size, several at once, and the
 * container they arrive in; and what an end tells about itself (name, capacity, length, stats). */
#include "fixture.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sizes around every boundary an implementation is likely to have. */
static const size_t sizes[] = {0,    1,    7,    8,    9,    63,   64,    65,    191,   192,   239,    240,     241,
                               247,  248,  255,  256,  257,  511,  512,   1000,  1023,  1024,  4031,   4032,    4064,
                               4095, 4096, 4097, 8191, 8192, 8193, 32767, 32768, 32769, 65535, 65536,  65537,   131072,
                               200000, 1u << 20, (1u << 20) + 1, 3000001};
#define SIZE_COUNT (sizeof sizes / sizeof *sizes)

static unsigned char pattern_at(size_t size, size_t index)
{
    return (unsigned char)(size * 31 + index * 7 + (index >> 8));
}

typedef struct sized_send {
    lace_sender *sender;
    unsigned char *bytes; /* room for the largest */
} sized_send;

static void sizes_send(void *context)
{
    sized_send *self = context;
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        for (size_t at = 0; at < sizes[i]; at++)
            self->bytes[at] = pattern_at(sizes[i], at);
        lace_payload payload = payload_of(sizes[i] ? self->bytes : NULL, sizes[i]);
        CHECK_OK(lace_send(self->sender, &payload, NULL));
        memset(self->bytes, 0xee, sizes[i]); /* they were copied before the call returned */
    }
}

START_TEST(test_c2_bytes_of_every_size)
{
    pair p;
    thread other;
    pair_open(&p, _i);
    sized_send work = {p.sender, malloc(sizes[SIZE_COUNT - 1])};
    thread_start(&other, sizes_send, &work);
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        CHECK_OK(lace_recv(p.receiver, p.message, NULL));
        CHECK_UINT(lace_message_size(p.message), sizes[i]);
        CHECK_UINT(lace_message_attachments(p.message), 0);
        const unsigned char *bytes = lace_message_data(p.message);
        CHECK((uintptr_t)bytes % 8 == 0);
        for (size_t at = 0; at < sizes[i]; at++)
            CHECK_MSG(bytes[at] == pattern_at(sizes[i], at), "byte %zu of %zu is wrong", at, sizes[i]);
    }
    thread_join(&other);
    free(work.bytes);
    pair_close(&p);
}
END_TEST

START_TEST(test_c2_random_sizes_and_bytes)
{
    rng random = rng_start(__func__, (uint64_t)_i);
    pair p;
    pair_open(&p, 3);
    unsigned char bytes[6000];
    size_t lengths[64], queued = 0, taken = 0;
    uint64_t marks[64];
    for (size_t round = test_scaled(20000); round > 0; round--) {
        if (queued - taken < 64 && rng_below(&random, 2)) {
            size_t size = 8 + rng_below(&random, rng_below(&random, 8) ? 400 : sizeof bytes - 8);
            uint64_t mark = rng_next(&random);
            memset(bytes, (int)(mark & 0xff), size);
            memcpy(bytes, &mark, sizeof mark);
            lace_payload payload = payload_of(bytes, size);
            CHECK_OK(lace_send(p.sender, &payload, TRY));
            lengths[queued % 64] = size;
            marks[queued++ % 64] = mark;
        } else if (taken < queued) {
            CHECK_OK(lace_recv(p.receiver, p.message, TRY));
            const unsigned char *got = lace_message_data(p.message);
            size_t size = lace_message_size(p.message);
            CHECK_UINT(size, lengths[taken % 64]);
            CHECK(memcmp(got, &marks[taken % 64], 8) == 0);
            for (size_t at = 8; at < size; at++)
                CHECK(got[at] == (unsigned char)(marks[taken % 64] & 0xff));
            taken++;
        }
    }
    pair_close(&p);
}
END_TEST

START_TEST(test_message_container_is_reused_and_cleared)
{
    pair p;
    pair_open(&p, 2);
    CHECK_UINT(lace_message_size(p.message), 0);
    CHECK_OK(send_text(p.sender, "one", TRY));
    CHECK_OK(send_text(p.sender, "three", TRY));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK(message_is(p.message, "one"));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK(message_is(p.message, "three"));
    lace_message_clear(p.message);
    CHECK_UINT(lace_message_size(p.message), 0);
    CHECK_UINT(lace_message_attachments(p.message), 0);
    lace_message_clear(p.message);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

START_TEST(test_message_outlives_its_channel)
{
    pair p;
    char large[3000];
    pair_open(&p, 1);
    memset(large, 'x', sizeof large);
    lace_payload payload = payload_of(large, sizeof large);
    CHECK_OK(lace_send(p.sender, &payload, TRY));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    pair_close_ends(&p);
    CHECK_UINT(lace_message_size(p.message), sizeof large);
    CHECK(memcmp(lace_message_data(p.message), large, sizeof large) == 0);
    pair_close(&p);
}
END_TEST

/* ---- several at once ---------------------------------------------------------------------------------- */

#define MANY 100

static void many_send(void *context)
{
    lace_sender *sender = context;
    uint64_t values[MANY];
    lace_payload payloads[MANY];
    size_t sent = 99999;
    for (size_t i = 0; i < MANY; i++) {
        values[i] = i;
        payloads[i] = payload_of(&values[i], sizeof values[i]);
    }
    CHECK_OK(lace_send_many(sender, payloads, MANY, NULL, &sent));
    CHECK_UINT(sent, MANY);
}

START_TEST(test_c2_send_many_recv_many_in_order)
{
    pair p;
    thread other;
    lace_message *messages[MANY];
    pair_open(&p, _i);
    for (size_t i = 0; i < MANY; i++)
        messages[i] = message_make(p.region);
    thread_start(&other, many_send, p.sender);
    for (size_t next = 0; next < MANY;) {
        size_t received = 0;
        CHECK_OK(lace_recv_many(p.receiver, messages, 7, NULL, &received));
        CHECK(received >= 1 && received <= 7);
        for (size_t i = 0; i < received; i++)
            CHECK_UINT(message_u64(messages[i]), next++);
    }
    thread_join(&other);
    for (size_t i = 0; i < MANY; i++)
        lace_message_destroy(messages[i]);
    pair_close(&p);
}
END_TEST

START_TEST(test_c1_send_many_says_how_many_went)
{
    pair p;
    uint64_t values[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    lace_payload payloads[9];
    size_t sent = 77;
    pair_open(&p, _i);
    size_t room = p.kind->capacity;
    for (size_t i = 0; i < 9; i++)
        payloads[i] = payload_of(&values[i], sizeof values[i]);
    if (room > 9)
        fill(p.sender, room - 5), room = 5;
    CHECK_STATUS(LACE_TIMEOUT, lace_send_many(p.sender, payloads, 9, TRY, &sent));
    CHECK_UINT(sent, room);
    sent = 77;
    CHECK_STATUS(LACE_TIMEOUT, lace_send_many(p.sender, payloads, 9, WITHIN_MS(5), &sent));
    CHECK_UINT(sent, 0);
    CHECK_OK(lace_send_many(p.sender, payloads, 0, TRY, &sent));
    CHECK_UINT(sent, 0);
    pair_close(&p);
}
END_TEST

START_TEST(test_recv_many_takes_what_is_there_without_waiting)
{
    pair p;
    lace_message *messages[8];
    size_t received = 77;
    pair_open(&p, 3);
    for (size_t i = 0; i < 8; i++)
        messages[i] = message_make(p.region);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv_many(p.receiver, messages, 8, TRY, &received));
    CHECK(received == 77 || received == 0);
    fill(p.sender, 5);
    CHECK_OK(lace_recv_many(p.receiver, messages, 3, NULL, &received));
    CHECK_UINT(received, 3);
    CHECK_OK(lace_recv_many(p.receiver, messages, 8, NULL, &received));
    CHECK_UINT(received, 2);
    CHECK_UINT(message_u64(messages[1]), 4);
    fill(p.sender, 2);
    lace_sender_close(p.sender);
    CHECK_OK(lace_recv_many(p.receiver, messages, 8, NULL, &received));
    CHECK_UINT(received, 2);
    CHECK_STATUS(LACE_END, lace_recv_many(p.receiver, messages, 8, NULL, &received));
    for (size_t i = 0; i < 8; i++)
        lace_message_destroy(messages[i]);
    pair_close(&p);
}
END_TEST

START_TEST(test_recv_many_takes_from_waiting_senders_too)
{
    pair p;
    call senders[3];
    lace_message *messages[8];
    size_t received = 0, total = 0;
    pair_open(&p, _i); /* capacities 0, 1, 2 */
    for (size_t i = 0; i < 8; i++)
        messages[i] = message_make(p.region);
    fill(p.sender, p.kind->capacity);
    for (size_t i = 0; i < 3; i++)
        call_start(&senders[i], CALL_SEND, &p, 100 + i);
    while (lace_receiver_length(p.receiver) < p.kind->capacity + 3)
        sched_yield();
    CHECK_OK(lace_recv_many(p.receiver, messages, 8, NULL, &received));
    CHECK_UINT(received, p.kind->capacity + 3);
    for (size_t i = p.kind->capacity; i < received; i++)
        total += message_u64(messages[i]);
    CHECK_UINT(total, 303);
    for (size_t i = 0; i < 3; i++)
        CHECK_OK(call_join(&senders[i]));
    for (size_t i = 0; i < 8; i++)
        lace_message_destroy(messages[i]);
    pair_close(&p);
}
END_TEST

/* ---- what an end tells -------------------------------------------------------------------------------- */

START_TEST(test_end_has_its_channels_name)
{
    lace_region *region = region_make(0);
    lace_sender *sender, *other;
    lace_receiver *receiver;
    char name[200], longest[64];
    CHECK_OK(lace_channel_create(region, &(lace_channel_options){.capacity = 1, .name = "r\303\244ume"}, &sender,
                                 &receiver));
    CHECK(strcmp(lace_sender_name(sender), "r\303\244ume") == 0);
    CHECK(strcmp(lace_receiver_name(receiver), "r\303\244ume") == 0);
    CHECK_OK(lace_sender_clone(sender, &other));
    lace_sender_close(sender);
    CHECK(strcmp(lace_sender_name(sender), "r\303\244ume") == 0); /* also after close */
    CHECK(strcmp(lace_sender_name(other), "r\303\244ume") == 0);
    lace_sender_destroy(sender);
    lace_sender_destroy(other);
    lace_receiver_destroy(receiver);
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    memset(longest, 'n', sizeof longest);
    longest[63] = '\0';
    CHECK_OK(lace_channel_create(region, &(lace_channel_options){.capacity = 1, .name = name}, &sender, &receiver));
    CHECK(strcmp(lace_sender_name(sender), longest) == 0);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_name_by_default_tells_channels_apart)
{
    pair p, q;
    char start[16];
    pair_open(&p, _i);
    pair_open_beside(&q, &p);
    snprintf(start, sizeof start, "%s-", p.kind->pipe ? "pipe" : "channel");
    CHECK(strncmp(lace_sender_name(p.sender), start, strlen(start)) == 0);
    if (p.kind->seal != SEALED_SOCKET && p.kind->seal != SEALED_MEMORY) /* whose sides name it each for themselves */
        CHECK(strcmp(lace_sender_name(p.sender), lace_receiver_name(p.receiver)) == 0);
    CHECK(strcmp(lace_sender_name(p.sender), lace_sender_name(q.sender)) != 0);
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

START_TEST(test_name_is_cut_between_characters)
{
    lace_region *region = region_make(0);
    lace_sender *sender;
    lace_receiver *receiver;
    char name[80];
    memset(name, 'a', sizeof name);
    memcpy(name + 62, "\303\244\303\244", 5); /* the 63rd byte would be half an umlaut */
    CHECK_OK(lace_channel_create(region, &(lace_channel_options){.capacity = 1, .name = name}, &sender, &receiver));
    CHECK_UINT(strlen(lace_sender_name(sender)), 62);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_stats_count_what_went_through_this_end)
{
    pair p;
    lace_sender *clone;
    lace_stats stats;
    uint64_t value;
    pair_open(&p, _i + 1); /* those that can queue */
    CHECK_OK(lace_sender_clone(p.sender, &clone));
    lace_sender_stats(p.sender, &stats);
    CHECK(stats.messages == 0 && stats.bytes == 0 && stats.waits == 0 && stats.blocked_ns == 0);
    CHECK_OK(send_text(p.sender, "12345", TRY));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_OK(send_u64(clone, 1, TRY));
    CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
    lace_sender_stats(p.sender, &stats);
    CHECK_UINT(stats.messages, 1);
    CHECK_UINT(stats.bytes, 5);
    lace_sender_stats(clone, &stats);
    CHECK_UINT(stats.messages, 1);
    CHECK_UINT(stats.bytes, 8);
    lace_receiver_stats(p.receiver, &stats);
    CHECK_UINT(stats.messages, 2);
    CHECK_UINT(stats.bytes, 13);
    CHECK_UINT(stats.waits, 0);
    int64_t start = lace_clock();
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, WITHIN_MS(20)));
    int64_t took = lace_clock() - start;
    lace_receiver_stats(p.receiver, &stats);
    CHECK_UINT(stats.messages, 2);
    CHECK_UINT(stats.waits, 1);
    CHECK(stats.blocked_ns >= 15000000 && stats.blocked_ns <= (uint64_t)took);
    lace_receiver_close(p.receiver);
    lace_receiver_stats(p.receiver, &stats); /* also after close */
    CHECK_UINT(stats.messages, 2);
    lace_sender_destroy(clone);
    pair_close(&p);
}
END_TEST

START_TEST(test_stats_count_a_hand_over_on_both_sides)
{
    pair p;
    call receiving;
    lace_stats stats;
    pair_open(&p, _i);
    call_start(&receiving, CALL_RECV, &p, 0);
    call_until_asleep(&receiving);
    CHECK_OK(send_u64(p.sender, 42, NULL));
    CHECK_OK(call_join(&receiving));
    CHECK_UINT(receiving.value, 42);
    lace_sender_stats(p.sender, &stats);
    CHECK(stats.messages == 1 && stats.bytes == 8);
    lace_receiver_stats(p.receiver, &stats);
    CHECK(stats.messages == 1 && stats.bytes == 8 && stats.waits == 1 && stats.blocked_ns > 0);
    pair_close(&p);
}
END_TEST

START_TEST(test_status_texts_and_numbers)
{
    static const char *const names[] = {
        "OK", "TIMEOUT", "CANCELLED", "END", "BROKEN", "CLOSED", "INVALID", "NOMEM", "TOO_BIG", "CORRUPT",
        "SYSTEM", "UNSUPPORTED", "WRONG_KEY", "UNSEALED", "FORGED", "TRUNCATED", "REORDERED", "REPLAYED",
        "SPLICED", "EXPOSED", "MALFORMED", "MISMATCH", "NOT_PLAIN", "FAILED", "BUSY", "STUCK", "OUTDATED",
        "FORKED",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK(strcmp(status_name((lace_status)i), names[i]) == 0); /* the numbers are for ever */
        CHECK(strlen(lace_strerror((lace_status)i)) > 3);
        for (size_t before = 0; before < i; before++)
            CHECK(strcmp(lace_strerror((lace_status)i), lace_strerror((lace_status)before)) != 0);
    }
    CHECK(lace_strerror((lace_status)9999) != NULL);
    CHECK(lace_strerror((lace_status)-1) != NULL);
}
END_TEST

START_TEST(test_a_block_is_shared_out_of_a_message)
{
    pair p;
    lace_block *block, *first, *second, *untouched = NULL;
    lace_sender *sender;
    lace_receiver *receiver;
    pair_open_memory(&p, 4, 0);
    CHECK(lace_sender_region(p.sender) == p.region && lace_receiver_region(p.receiver) == p.region);
    region_warm(p.region);
    size_t used = region_used(p.region);
    channel_make(p.region, 1, &sender, &receiver);
    CHECK_OK(lace_block_create(p.region, 10, &block));
    memcpy(lace_block_data(block), "in a block", 10);
    lace_attachment carried[2] = {{LACE_ATTACH_BLOCK, {.block = block}}, {LACE_ATTACH_SENDER, {.sender = sender}}};
    CHECK_OK(send_attached(p.sender, "", carried, 2, TRY));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_OK(lace_message_block(p.message, 0, &first));
    CHECK_OK(lace_message_block(p.message, 0, &second));
    CHECK(first != second && lace_block_data(first) == lace_block_data(second));
    CHECK_UINT(lace_message_kind(p.message, 0), LACE_ATTACH_BLOCK);
    CHECK_STATUS(LACE_INVALID, lace_message_block(p.message, 1, &untouched)); /* an end */
    CHECK_STATUS(LACE_INVALID, lace_message_block(p.message, 2, &untouched));
    CHECK_STATUS(LACE_INVALID, lace_message_block(NULL, 0, &untouched));
    CHECK_STATUS(LACE_INVALID, lace_message_block(p.message, 0, NULL));
    block = take_block(p.message, 0);
    CHECK_STATUS(LACE_INVALID, lace_message_block(p.message, 0, &untouched)); /* taken */
    CHECK(untouched == NULL);
    lace_message_clear(p.message);
    lace_block_destroy(block);
    lace_block_destroy(first);
    CHECK(memcmp(lace_block_data(second), "in a block", 10) == 0);
    lace_block_destroy(second);
    lace_receiver_destroy(receiver);
    CHECK_UINT(region_used(p.region), used);
    pair_close(&p);
}
END_TEST

TEST_MAIN("messages", TEST_LOOP(test_c2_bytes_of_every_size, TRANSPORT_COUNT),
          TEST_LOOP(test_c2_random_sizes_and_bytes, 2),
          TEST(test_message_container_is_reused_and_cleared),
          TEST(test_message_outlives_its_channel),
          TEST_LOOP(test_c2_send_many_recv_many_in_order, TRANSPORT_COUNT),
          TEST_LOOP(test_c1_send_many_says_how_many_went, TRANSPORT_PIPE),
          TEST(test_recv_many_takes_what_is_there_without_waiting),
          TEST_LOOP(test_recv_many_takes_from_waiting_senders_too, 3),
          TEST(test_end_has_its_channels_name),
          TEST_LOOP(test_name_by_default_tells_channels_apart, TRANSPORT_COUNT),
          TEST(test_name_is_cut_between_characters),
          TEST_LOOP(test_stats_count_what_went_through_this_end, 4),
          TEST_LOOP(test_stats_count_a_hand_over_on_both_sides, TRANSPORT_COUNT),
          TEST(test_status_texts_and_numbers), TEST(test_a_block_is_shared_out_of_a_message))
