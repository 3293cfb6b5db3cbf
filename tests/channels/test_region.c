/* test_region.c - regions and blocks: counts, sharing, memory that goes with its last count wherever that is; limits
 * that end in NOMEM and lose nothing; usage that returns to its start; and a region that does not go too early. */
#include "fixture.h"

#include "../../channels/region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- blocks ------------------------------------------------------------------------------------------- */

START_TEST(test_blocks_of_many_sizes)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 100, 4096, 5000, 32704, 32768, 65536, 65537, 1000000, 10000000};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    lace_region *region = region_make(0);
    lace_block *blocks[COUNT];
    size_t before = region_used(region), total = 0;
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            CHECK_OK(lace_block_create(region, sizes[i], &blocks[i]));
            CHECK_UINT(lace_block_size(blocks[i]), sizes[i]);
            total += sizes[i];
            void *data = lace_block_data(blocks[i]);
            CHECK((uintptr_t)data % 8 == 0);
            if (sizes[i] > 0)
                memset(data, (int)i + 1, sizes[i]);
        }
        CHECK(region_used(region) >= before + total);
        for (size_t i = 0; i < COUNT; i++) {
            unsigned char *bytes = lace_block_data(blocks[i]);
            for (size_t at = 0; at < sizes[i]; at++)
                CHECK(bytes[at] == i + 1);
            lace_block_destroy(blocks[i]);
        }
        CHECK_UINT(region_used(region), before);
        total = 0;
    }
    lace_block_destroy(NULL);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_blocks_are_shared_and_freed_at_last)
{
    lace_region *region = region_make(0);
    size_t before = region_used(region);
    lace_block *block, *shares[10];
    CHECK_OK(lace_block_create(region, 100000, &block));
    size_t one = region_used(region);
    CHECK(one >= before + 100000);
    for (size_t i = 0; i < 10; i++) {
        CHECK_OK(lace_block_share(i ? shares[i - 1] : block, &shares[i]));
        CHECK(shares[i] != block && lace_block_data(shares[i]) == lace_block_data(block));
        CHECK_UINT(lace_block_size(shares[i]), 100000);
    }
    CHECK(region_used(region) < one + 1000); /* the same memory */
    lace_block_destroy(block);
    for (size_t i = 0; i < 10; i++) {
        CHECK(region_used(region) >= before + 100000);
        lace_block_destroy(shares[i]);
    }
    CHECK_UINT(region_used(region), before);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_c8_a_block_travels_without_a_copy)
{
    pair p;
    lace_block *block, *kept;
    pair_open(&p, 1);
    region_warm(p.region);
    size_t before = region_used(p.region);
    CHECK_OK(lace_block_create(p.region, 1000000, &block));
    memset(lace_block_data(block), 'b', 1000000);
    void *data = lace_block_data(block);
    CHECK_OK(lace_block_share(block, &kept));
    CHECK_OK(send_block(p.sender, block, TRY));
    lace_block_destroy(kept); /* the message holds it now, alone */
    CHECK(region_used(p.region) >= before + 1000000);
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    block = take_block(p.message, 0);
    CHECK(lace_block_data(block) == data && lace_block_size(block) == 1000000);
    CHECK(((char *)data)[0] == 'b' && ((char *)data)[999999] == 'b');
    lace_message_clear(p.message);
    lace_block_destroy(block);
    CHECK_UINT(region_used(p.region), before);
    pair_close(&p);
}
END_TEST

/* A frozen block is found by its memory, all of it, and by nothing else. */
START_TEST(test_frozen_blocks_are_found)
{
    static const size_t sizes[] = {0, 1, 100, 5000, 200000};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        lace_region *region = region_make(0);
        lace_block *block, *fake, *found = NULL;
        size_t size = sizes[i];

        CHECK_OK(lace_block_create(region, size, &block));
        unsigned char *data = lace_block_data(block);
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, data, size, &found));
        lace_block_freeze(block);
        CHECK_OK(lace_block_find(region, data, size, &found));
        CHECK(found != block && lace_block_data(found) == data);
        CHECK_UINT(lace_block_size(found), size);
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, data, size + 1, &fake));
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, data, size - 1, &fake));
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, data + 1, size, &fake));
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, data - 64, size, &fake));
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, &size, size, &fake));
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, NULL, size, &fake));
        CHECK_STATUS(LACE_INVALID, lace_block_find(NULL, data, size, &fake));
        lace_block_destroy(block);
        lace_block_destroy(found);
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, data, size, &fake));

        /* What looks like a block inside a block is none; and a new one in the same place is not frozen. */
        CHECK_OK(lace_block_create(region, 4096, &block));
        CHECK_OK(lace_block_create(region, 64, &fake));
        lace_block_freeze(fake);
        data = lace_block_data(block);
        memcpy(data + 64, (unsigned char *)lace_block_data(fake) - 64, 128);
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, data + 128, 64, &found));
        CHECK_STATUS(LACE_INVALID, lace_block_find(region, data, 4096, &found));
        lace_block_destroy(block);
        lace_block_destroy(fake);
        lace_block_freeze(NULL);
        CHECK_UINT(region_used(region), 0);
        CHECK_OK(lace_region_destroy(region));
    }
}
END_TEST

START_TEST(test_blocks_in_discarded_messages_are_freed)
{
    pair p;
    lace_block *block;
    pair_open(&p, 3);
    region_warm(p.region);
    size_t before = region_used(p.region);
    for (size_t i = 0; i < 20; i++) {
        CHECK_OK(lace_block_create(p.region, 50000, &block));
        CHECK_OK(send_block(p.sender, block, TRY));
    }
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    lace_receiver_close(p.receiver);
    CHECK(region_used(p.region) < before + 2 * 50000);
    lace_message_clear(p.message);
    CHECK_UINT(region_used(p.region), before);
    pair_close(&p);
}
END_TEST

typedef struct sharing {
    lace_region *region;
    lace_block *block;
    uint64_t seed;
    size_t rounds;
} sharing;

static void share_and_drop(void *context)
{
    sharing *self = context;
    rng random = {self->seed};
    lace_block *held[8] = {NULL};
    for (size_t i = 0; i < self->rounds; i++) {
        size_t at = rng_below(&random, 8);
        lace_block_destroy(held[at]);
        held[at] = NULL;
        if (rng_below(&random, 2)) {
            CHECK_OK(lace_block_share(self->block, &held[at]));
        } else {
            CHECK_OK(lace_block_create(self->region, rng_below(&random, rng_below(&random, 20) ? 3000 : 300000),
                                       &held[at]));
            memset(lace_block_data(held[at]), (int)at, lace_block_size(held[at]));
        }
        lace_block *other = held[rng_below(&random, 8)]; /* nobody else writes into it */
        if (other && lace_block_size(other) > 0 && lace_block_data(other) != lace_block_data(self->block)) {
            const unsigned char *bytes = lace_block_data(other);
            CHECK(bytes[0] == bytes[lace_block_size(other) - 1] && bytes[0] < 8);
        }
    }
    for (size_t i = 0; i < 8; i++)
        lace_block_destroy(held[i]);
}

START_TEST(test_blocks_from_several_threads)
{
    rng random = rng_start(__func__, (uint64_t)_i);
    lace_region *region = region_make(0);
    size_t before = region_used(region);
    sharing work[4];
    thread threads[4];
    lace_block *block;
    CHECK_OK(lace_block_create(region, 77, &block));
    for (size_t i = 0; i < 4; i++) {
        work[i] = (sharing){region, block, rng_next(&random), test_scaled(20000)};
        thread_start(&threads[i], share_and_drop, &work[i]);
    }
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    lace_block_destroy(block);
    CHECK_UINT(region_used(region), before);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

/* Against a model: blocks never overlap, and keep what is written into them. */
START_TEST(test_blocks_never_overlap)
{
    enum { HELD = 200 };
    rng random = rng_start(__func__, (uint64_t)_i);
    lace_region *region = region_make((size_t)64 << 20);
    lace_block *held[HELD] = {NULL};
    unsigned char marks[HELD];
    size_t before = region_used(region);
    for (size_t round = test_scaled(20000); round > 0; round--) {
        size_t at = rng_below(&random, HELD);
        if (held[at]) {
            size_t size = lace_block_size(held[at]);
            const unsigned char *bytes = lace_block_data(held[at]);
            for (size_t k = 0; k < size; k += k < 64 || k + 65 > size ? 1 : 61)
                CHECK(bytes[k] == marks[at]);
            lace_block_destroy(held[at]);
            held[at] = NULL;
            continue;
        }
        size_t size = rng_below(&random, (size_t)1 << (4 + rng_below(&random, 14)));
        CHECK_OK(lace_block_create(region, size, &held[at]));
        marks[at] = (unsigned char)rng_next(&random);
        if (size > 0)
            memset(lace_block_data(held[at]), marks[at], size);
    }
    for (size_t i = 0; i < HELD; i++)
        lace_block_destroy(held[i]);
    CHECK_UINT(region_used(region), before);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_empty_pages_go_back)
{
    lace_region *region = region_make(0);
    lace_block *blocks[16];
    size_t used, backed, most;
    for (size_t i = 0; i < 16; i++) {
        CHECK_OK(lace_block_create(region, (size_t)8 << 20, &blocks[i]));
        memset(lace_block_data(blocks[i]), 1, (size_t)8 << 20);
    }
    lace_region_usage(region, &used, &most);
    CHECK(most >= (size_t)128 << 20);
    for (size_t i = 0; i < 16; i++)
        lace_block_destroy(blocks[i]);
    lace_region_usage(region, &used, &backed);
    CHECK_MSG(backed <= (size_t)32 << 20, "%zu bytes of %zu are still backed", backed, most);
    for (size_t i = 0; i < 16; i++) { /* and come again */
        CHECK_OK(lace_block_create(region, (size_t)8 << 20, &blocks[i]));
        memset(lace_block_data(blocks[i]), 2, (size_t)8 << 20);
    }
    for (size_t i = 0; i < 16; i++)
        lace_block_destroy(blocks[i]);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

/* ---- limits ------------------------------------------------------------------------------------------- */

START_TEST(test_region_limit_ends_in_nomem)
{
    lace_region *region = region_make((size_t)4 << 20);
    lace_block *blocks[200], *none = NULL;
    size_t count = 0, used, backed;
    size_t before = region_used(region);
    lace_status status;
    while (count < 200 && (status = lace_block_create(region, 100000, &blocks[count])) == LACE_OK)
        memset(lace_block_data(blocks[count++]), 7, 100000);
    CHECK_STATUS(LACE_NOMEM, status);
    CHECK(count >= 20); /* 4 MiB hold 41 at most; how many is lost to spans is up to the heap */
    lace_region_usage(region, &used, &backed);
    CHECK(backed <= (size_t)4 << 20);
    CHECK_STATUS(LACE_NOMEM, lace_block_create(region, 100000, &none));
    CHECK_STATUS(LACE_NOMEM, lace_block_create(region, SIZE_MAX, &none));
    CHECK_STATUS(LACE_NOMEM, lace_block_create(region, SIZE_MAX - 64, &none));
    CHECK_STATUS(LACE_NOMEM, lace_block_create(region, (size_t)1 << 40, &none));
    CHECK(!none);
    lace_block_destroy(blocks[--count]);
    CHECK_OK(lace_block_create(region, 100000, &blocks[count++]));
    while (count > 0)
        lace_block_destroy(blocks[--count]);
    CHECK_UINT(region_used(region), before);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_a_send_without_memory_changes_nothing)
{
    pair p = {.kind = NULL};
    lace_block *block;
    size_t sent = 0;
    uint64_t value;
    static char large[60000];
    lace_payload payload = payload_of(large, sizeof large);
    lace_status status;
    p.region = region_make((size_t)2 << 20);
    p.message = message_make(p.region);
    channel_make(p.region, 1000, &p.sender, &p.receiver);
    region_warm(p.region);
    size_t before = region_used(p.region);
    CHECK_OK(lace_block_create(p.region, 16, &block));
    while ((status = lace_send(p.sender, &payload, TRY)) == LACE_OK)
        sent++;
    CHECK_STATUS(LACE_NOMEM, status);
    CHECK(sent >= 5 && sent < 40);
    CHECK_UINT(lace_sender_length(p.sender), sent);
    lace_attachment carried = {LACE_ATTACH_BLOCK, {.block = block}};
    lace_payload with_block = {large, sizeof large, &carried, 1};
    CHECK_STATUS(LACE_NOMEM, lace_send(p.sender, &with_block, NULL)); /* it does not wait for memory */
    CHECK_UINT(lace_block_size(block), 16);                           /* and the block is still ours */
    CHECK_OK(send_u64(p.sender, 1234, TRY));                          /* a small one needs none */
    for (size_t i = 0; i < sent; i++) {
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        CHECK_UINT(lace_message_size(p.message), sizeof large);
    }
    CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
    CHECK_UINT(value, 1234);
    CHECK_OK(lace_send(p.sender, &with_block, TRY));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    lace_message_clear(p.message);
    CHECK_UINT(region_used(p.region), before);
    pair_close(&p);
}
END_TEST

START_TEST(test_channels_without_memory_change_nothing)
{
    lace_region *region = region_make((size_t)2 << 20);
    lace_sender *senders[400], *sender = NULL;
    lace_receiver *receivers[400], *receiver = NULL;
    size_t count = 0, before = region_used(region);
    lace_status status = LACE_OK;
    while (count < 400) {
        status = lace_channel_create(region, &(lace_channel_options){.capacity = 64}, &senders[count],
                                     &receivers[count]);
        if (status != LACE_OK)
            break;
        count++;
    }
    CHECK_STATUS(LACE_NOMEM, status);
    CHECK_STATUS(LACE_NOMEM, lace_channel_create(region, &(lace_channel_options){.capacity = LACE_MAX_CAPACITY},
                                                 &sender, &receiver));
    CHECK(!sender && !receiver);
    while (count > 0) {
        count--;
        CHECK_OK(send_u64(senders[count], count, TRY));
        lace_sender_destroy(senders[count]);
        lace_receiver_destroy(receivers[count]);
    }
    CHECK_UINT(region_used(region), before);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_small_limits_are_refused_or_work)
{
    size_t limit = (size_t)1 << (_i + 2); /* 4 bytes to 2 MiB */
    lace_region *region = NULL;
    lace_status status = lace_region_create(&(lace_region_options){.limit = limit}, &region);
    if (status != LACE_OK) {
        CHECK(status == LACE_INVALID || status == LACE_NOMEM);
        CHECK(!region);
        return;
    }
    lace_sender *sender;
    lace_receiver *receiver;
    lace_message *message = message_make(region);
    status = lace_channel_create(region, &(lace_channel_options){.capacity = 1}, &sender, &receiver);
    if (status == LACE_OK) {
        CHECK_OK(send_u64(sender, 1, TRY));
        CHECK_OK(lace_recv(receiver, message, TRY));
        status = lace_recv(receiver, message, WITHIN_MS(1));
        CHECK(status == LACE_TIMEOUT || status == LACE_NOMEM);
        lace_sender_destroy(sender);
        lace_receiver_destroy(receiver);
    } else {
        CHECK_STATUS(LACE_NOMEM, status);
    }
    lace_message_destroy(message);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

/* ---- the end of a region ------------------------------------------------------------------------------ */

START_TEST(test_region_stays_while_something_is_left)
{
    lace_region *region = region_make(0);
    lace_sender *sender;
    lace_receiver *receiver;
    lace_selector *selector;
    lace_block *block, *share;
    lace_message *message = message_make(region);
    CHECK_STATUS(LACE_INVALID, lace_region_destroy(region));
    channel_make(region, 1, &sender, &receiver);
    lace_message_destroy(message);
    CHECK_STATUS(LACE_INVALID, lace_region_destroy(region));
    CHECK_OK(send_u64(sender, 1, TRY)); /* nothing was changed */
    lace_sender_close(sender);
    lace_receiver_close(receiver);
    CHECK_STATUS(LACE_INVALID, lace_region_destroy(region)); /* closed is not destroyed */
    lace_sender_destroy(sender);
    CHECK_STATUS(LACE_INVALID, lace_region_destroy(region));
    lace_receiver_destroy(receiver);
    CHECK_OK(lace_block_create(region, 5, &block));
    CHECK_STATUS(LACE_INVALID, lace_region_destroy(region));
    CHECK_OK(lace_block_share(block, &share));
    lace_block_destroy(block);
    CHECK_STATUS(LACE_INVALID, lace_region_destroy(region));
    lace_block_destroy(share);
    channel_make(region, 1, &sender, &receiver);
    lace_case choice = {.kind = LACE_CASE_RECV, .receiver = receiver};
    CHECK_OK(lace_selector_create(&choice, 1, &selector));
    CHECK_STATUS(LACE_INVALID, lace_region_destroy(region));
    lace_selector_destroy(selector);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    CHECK_OK(lace_region_destroy(region));
    CHECK_OK(lace_region_destroy(NULL));
}
END_TEST

/* A thread that has waited in a region which is gone then waits in others: what it kept for the first is no trap. */
START_TEST(test_regions_come_and_go_under_living_threads)
{
    for (size_t i = 0; i < test_scaled(100); i++) {
        lace_region *one = region_make(0), *two = region_make((size_t)8 << 20);
        region_warm(one);
        region_warm(two);
        region_warm(one);
        CHECK_OK(lace_region_destroy(i % 2 ? one : two));
        region_warm(i % 2 ? two : one);
        CHECK_OK(lace_region_destroy(i % 2 ? two : one));
    }
}
END_TEST

static void warm_here(void *context)
{
    region_warm(context);
}

START_TEST(test_threads_that_waited_leave_nothing_behind)
{
    lace_region *region = region_make(0);
    region_warm(region);
    size_t before = region_used(region);
    for (size_t i = 0; i < 20; i++) {
        thread threads[4];
        for (size_t k = 0; k < 4; k++)
            thread_start(&threads[k], warm_here, region);
        for (size_t k = 0; k < 4; k++)
            thread_join(&threads[k]);
    }
    CHECK_UINT(region_used(region), before);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

static size_t open_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

START_TEST(test_regions_leave_no_descriptors)
{
    size_t before = 0;
    for (int round = 0; round < 2; round++) { /* the first one makes what a thread keeps for itself */
        before = open_descriptors();
        for (int i = 0; i < TRANSPORT_COUNT; i++) {
            pair p;
            int fd;
            pair_open(&p, i);
            CHECK_OK(lace_receiver_fd(p.receiver, &fd));
            CHECK_OK(lace_sender_fd(p.sender, &fd));
            CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, WITHIN_MS(1)));
            CHECK(open_descriptors() > before);
            pair_close(&p);
        }
    }
    CHECK_UINT(open_descriptors(), before);
}
END_TEST

/* A file that is too large kills the process: a region has no more than it may have, or says why there is none. */
START_TEST(test_files_may_be_limited)
{
    struct rlimit files;
    lace_region *region = region_make(0);

    CHECK_OK(lace_region_destroy(region));
    CHECK(getrlimit(RLIMIT_FSIZE, &files) == 0);
    files.rlim_cur = (64 << 20) + 1;
    CHECK(setrlimit(RLIMIT_FSIZE, &files) == 0);
    region = region_make(0);
    CHECK_UINT(region->size, 64 << 20);
    CHECK_OK(lace_region_destroy(region));
    CHECK_STATUS(LACE_SYSTEM, lace_region_create(&(lace_region_options){.limit = 65 << 20}, &region));
    CHECK_UINT(errno, EFBIG);
}
END_TEST

TEST_MAIN("region", TEST(test_blocks_of_many_sizes), TEST(test_blocks_are_shared_and_freed_at_last),
          TEST(test_c8_a_block_travels_without_a_copy), TEST(test_frozen_blocks_are_found),
          TEST(test_blocks_in_discarded_messages_are_freed), TEST_LOOP(test_blocks_from_several_threads, 2),
          TEST_LOOP(test_blocks_never_overlap, 2), TEST(test_empty_pages_go_back),
          TEST(test_region_limit_ends_in_nomem), TEST(test_a_send_without_memory_changes_nothing),
          TEST(test_channels_without_memory_change_nothing), TEST_LOOP(test_small_limits_are_refused_or_work, 20),
          TEST(test_region_stays_while_something_is_left), TEST(test_regions_come_and_go_under_living_threads),
          TEST(test_threads_that_waited_leave_nothing_behind), TEST(test_regions_leave_no_descriptors),
          TEST(test_files_may_be_limited))
