/* test_corrupt.c - a damaged region: whatever another process has written into the shared memory, calls come back, with
 * CORRUPT where the damage stands in their way, and touch nothing outside the region. Looks inside: private headers.
 *
 * Not damaged here are locks and the states of waiting parties: who holds those can stop anybody for ever.
 */
#include "fixture.h"

#include "../../channels/end.h"
#include "../../channels/heap.h"

#include <string.h>

#define WILD UINT64_C(0x7ffffffffffff040) /* an offset far outside, aligned */

/* A channel with a small message, one in the heap, one with attachments, and an idle selector: something of everything. */
typedef struct patient {
    pair p;
    lace_selector *selector;
    lace_sender *target;
    lace_receiver *target_end;
    lace_block *block;
    lace_receiver *other; /* of a channel that redelivers: has received something; else NULL */
} patient;

static struct lace_ring *ring_of(const patient *sick)
{
    return sick->p.sender->end.view.ring;
}

static struct lace_slot *slot_of(const patient *sick, size_t index)
{
    return &sick->p.sender->end.view.slots[index];
}

static void *inside(const patient *sick, uint64_t offset)
{
    void *pointer = lace_region_at(sick->p.region, offset, 8, 8);
    CHECK(pointer != NULL);
    return pointer;
}

/* Receives one message by an end of its own. */
static lace_receiver *receive_one(const patient *sick)
{
    lace_receiver *clone;
    CHECK_OK(lace_receiver_clone(sick->p.receiver, &clone));
    CHECK_OK(lace_recv(clone, sick->p.message, TRY));
    lace_message_clear(sick->p.message);
    return clone;
}

static void patient_open_kind(patient *sick, bool redelivers)
{
    char large[3000] = "large";
    lace_payload payload = payload_of(large, sizeof large);
    lace_block *share;
    lace_sender *clone;
    pair_open(&sick->p, 3);
    sick->other = NULL;
    if (redelivers) {
        const lace_channel_options options = {.capacity = 64, .redeliver = true};
        pair_close_ends(&sick->p);
        CHECK_OK(lace_channel_create(sick->p.region, &options, &sick->p.sender, &sick->p.receiver));
    }
    channel_make(sick->p.region, 2, &sick->target, &sick->target_end);
    CHECK_OK(lace_block_create(sick->p.region, 1000, &sick->block));
    CHECK_OK(lace_block_share(sick->block, &share));
    CHECK_OK(lace_sender_clone(sick->target, &clone));
    lace_attachment carried[2] = {{LACE_ATTACH_SENDER, {.sender = clone}}, {LACE_ATTACH_BLOCK, {.block = share}}};
    CHECK_OK(send_text(sick->p.sender, "small", TRY));
    CHECK_OK(lace_send(sick->p.sender, &payload, TRY));
    CHECK_OK(send_attached(sick->p.sender, "carrier", carried, 2, TRY));
    lace_case choice = {.kind = LACE_CASE_RECV, .receiver = sick->p.receiver};
    CHECK_OK(lace_selector_create(&choice, 1, &sick->selector));
    if (redelivers) { /* two come back, one stays out */
        lace_receiver *first = receive_one(sick), *second = receive_one(sick);
        sick->other = receive_one(sick);
        lace_receiver_destroy(second);
        lace_receiver_destroy(first);
    }
}

static void patient_open(patient *sick)
{
    patient_open_kind(sick, false);
}

/* Everything there is to do with it, and then its end: nothing of this may crash or hang. */
static void patient_use(patient *sick)
{
    lace_attachment taken;
    lace_block *block;
    size_t index;
    int fd;
    char large[3000] = "more";
    lace_payload payload = payload_of(large, sizeof large);
    (void)lace_sender_length(sick->p.sender);
    (void)lace_receiver_length(sick->p.receiver);
    (void)lace_sender_name(sick->p.sender);
    (void)lace_receiver_fd(sick->p.receiver, &fd);
    (void)lace_sender_fd(sick->p.sender, &fd);
    for (size_t i = 0; i < 6; i++) {
        (void)send_text(sick->p.sender, "more", TRY);
        (void)lace_send(sick->p.sender, &payload, WITHIN_MS(1));
        lace_status status = i % 3 == 2 ? lace_selector_wait(sick->selector, 0, sick->p.message, TRY, &index)
                                        : lace_recv(sick->p.receiver, sick->p.message, i % 2 ? TRY : WITHIN_MS(1));
        if (status != LACE_OK)
            continue;
        CHECK(lace_message_size(sick->p.message) <= sick->p.region->size);
        for (size_t k = 0; k < lace_message_attachments(sick->p.message) && k < 4; k++) {
            if (lace_message_take(sick->p.message, k, &taken) != LACE_OK)
                continue;
            if (taken.kind == LACE_ATTACH_SENDER) {
                (void)send_text(taken.as.sender, "hello", TRY);
                lace_sender_destroy(taken.as.sender);
            } else if (taken.kind == LACE_ATTACH_RECEIVER) {
                lace_receiver_destroy(taken.as.receiver);
            } else {
                CHECK(lace_block_size(taken.as.block) <= sick->p.region->size);
                lace_block_destroy(taken.as.block);
            }
        }
        if (lace_block_create(sick->p.region, i % 2 ? 300 : 70000, &block) == LACE_OK) {
            memset(lace_block_data(block), 1, lace_block_size(block));
            lace_block_destroy(block);
        }
    }
}

static void patient_close(patient *sick)
{
    lace_selector_destroy(sick->selector);
    lace_receiver_destroy(sick->other);
    lace_sender_destroy(sick->target);
    lace_receiver_destroy(sick->target_end);
    lace_block_destroy(sick->block);
    pair_close_ends(&sick->p);
    lace_message_destroy(sick->p.message);
    CHECK_OK(lace_region_destroy(sick->p.region));
}

/* ---- damage that a call must name --------------------------------------------------------------------- */

static void skip_messages(patient *sick, size_t count)
{
    for (size_t i = 0; i < count; i++)
        CHECK_OK(lace_recv(sick->p.receiver, sick->p.message, TRY));
}

START_TEST(test_corrupt_counters)
{
    patient sick;
    patient_open(&sick);
    size_t index;
    lace_case choice = {.kind = LACE_CASE_RECV, .receiver = sick.p.receiver, .message = sick.p.message};
    uint64_t tail = ring_of(&sick)->tail;
    ring_of(&sick)->tail = _i == 0 ? tail + 1000 : _i == 1 ? UINT64_MAX : ring_of(&sick)->head - 1;
    CHECK_STATUS(LACE_CORRUPT, lace_recv(sick.p.receiver, sick.p.message, TRY));
    CHECK_STATUS(LACE_CORRUPT, lace_recv(sick.p.receiver, sick.p.message, NULL));
    CHECK_STATUS(LACE_CORRUPT, send_text(sick.p.sender, "x", NULL));
    CHECK_STATUS(LACE_CORRUPT, lace_select(&choice, 1, 0, NULL, &index));
    CHECK_STATUS(LACE_CORRUPT, lace_selector_wait(sick.selector, 0, sick.p.message, NULL, &index));
    ring_of(&sick)->tail = tail; /* nothing was changed: with the damage undone all is well */
    skip_messages(&sick, 3);
    patient_close(&sick);
}
END_TEST

START_TEST(test_corrupt_slots)
{
    patient sick;
    patient_open(&sick);
    struct lace_slot *small = slot_of(&sick, 0), healthy = *small;
    switch (_i) {
    case 0:
        small->size = LACE_SLOT_INLINE + 1;
        break;
    case 1:
        small->size = UINT64_MAX;
        break;
    case 2:
        small->size = UINT64_MAX - 100; /* so that a sum runs over */
        small->attachments = 10;
        break;
    case 3:
        small->attachments = 100;
        break;
    case 4:
        small->attachments = UINT32_MAX;
        break;
    case 5:
        small->content = WILD;
        break;
    case 6:
        small->content = 64; /* the heap's own front */
        break;
    case 7:
        small->content = slot_of(&sick, 1)->content + 8; /* the middle of a chunk */
        break;
    case 8:
        small->content = slot_of(&sick, 1)->content;
        small->size = (uint64_t)1 << 20; /* more than the chunk has */
        break;
    default:
        small->content = UINT64_MAX - 7;
        break;
    }
    CHECK_STATUS(LACE_CORRUPT, lace_recv(sick.p.receiver, sick.p.message, NULL));
    CHECK_STATUS(LACE_CORRUPT, lace_recv(sick.p.receiver, sick.p.message, TRY));
    *small = healthy;
    CHECK_OK(lace_recv(sick.p.receiver, sick.p.message, TRY));
    CHECK(message_is(sick.p.message, "small"));
    skip_messages(&sick, 2);
    patient_close(&sick);
}
END_TEST

START_TEST(test_corrupt_attachments)
{
    patient sick;
    lace_attachment taken = {LACE_ATTACH_NONE, {NULL}};
    patient_open(&sick);
    struct lace_attached attached[2], healthy[2];
    memcpy(healthy, inside(&sick, slot_of(&sick, 2)->content), sizeof healthy);
    memcpy(attached, healthy, sizeof attached);
    struct lace_ring *target = inside(&sick, healthy[0].offset);
    uint64_t *header = inside(&sick, healthy[1].offset);
    uint64_t first = header[0], second = header[1];
    size_t which = 0;
    switch (_i) {
    case 0:
        attached[0].kind = 77;
        break;
    case 1:
        attached[0].offset = WILD;
        break;
    case 2:
        attached[0].offset = healthy[1].offset; /* a block is no channel */
        break;
    case 3:
        target->capacity = LACE_MAX_CAPACITY;
        break;
    case 4:
        target->capacity = UINT64_MAX;
        break;
    case 5:
        target->magic ^= 1;
        break;
    case 6:
        which = 1;
        attached[1].offset = WILD;
        break;
    case 7:
        which = 1;
        attached[1].offset = healthy[0].offset; /* nor a channel a block */
        break;
    case 8:
        which = 1;
        header[0] ^= 1;
        break;
    default:
        which = 1;
        header[1] = UINT64_MAX - 10;
        break;
    }
    memcpy(inside(&sick, slot_of(&sick, 2)->content), attached, sizeof attached);
    skip_messages(&sick, 3);
    CHECK_UINT(lace_message_attachments(sick.p.message), 2);
    CHECK_STATUS(LACE_CORRUPT, lace_message_take(sick.p.message, which, &taken));
    CHECK(taken.kind == LACE_ATTACH_NONE);
    CHECK_OK(lace_message_take(sick.p.message, 1 - which, &taken)); /* the other one is fine */
    if (taken.kind == LACE_ATTACH_SENDER)
        lace_sender_destroy(taken.as.sender);
    else
        lace_block_destroy(taken.as.block);
    lace_message_clear(sick.p.message); /* lets go of a damaged attachment: nothing, or what it can */
    if (which == 1 && _i >= 8) { /* so that the handle that the test holds finds its block again */
        header[0] = first;
        header[1] = second;
    }
    target->magic = LACE_RING_MAGIC;
    target->capacity = 2;
    patient_close(&sick);
}
END_TEST

/* The own trusted copies count, whatever the shared header says now. */
START_TEST(test_corrupt_constants_are_not_read_again)
{
    patient sick;
    patient_open(&sick);
    ring_of(&sick)->capacity = _i ? UINT64_MAX : 0;
    ring_of(&sick)->max_bytes = _i ? 1 : 0;
    CHECK_UINT(lace_sender_capacity(sick.p.sender), 64);
    for (size_t i = 3; i < 64; i++)
        CHECK_OK(send_text(sick.p.sender, "more", TRY));
    CHECK_STATUS(LACE_TIMEOUT, send_text(sick.p.sender, "more", TRY));
    skip_messages(&sick, 64);
    patient_close(&sick);
}
END_TEST

/* Lists that lead nowhere, or in a circle. */
START_TEST(test_corrupt_lists)
{
    patient sick;
    patient_open(&sick);
    int fd;
    struct lace_list *list = &ring_of(&sick)->receiving, healthy = *list;
    struct lace_node *node = inside(&sick, list->first), healthy_node = *node;
    skip_messages(&sick, 3);
    CHECK_OK(lace_receiver_fd(sick.p.receiver, &fd));
    CHECK_OK(lace_sender_fd(sick.p.sender, &fd));
    struct lace_note *note = inside(&sick, ring_of(&sick)->notes), healthy_note = *note;
    bool named = true;
    switch (_i) {
    case 0:
        list->first = WILD;
        break;
    case 1:
        node->party = WILD;
        break;
    case 2:
        node->party = list->first + 8; /* not aligned as a party is */
        break;
    case 3:
        list->count = 1000000;
        node->next = list->first;
        named = false;
        break;
    case 4:
        node->index = UINT32_MAX;
        named = false;
        break;
    default:
        note->next = ring_of(&sick)->notes;
        named = false;
        break;
    }
    lace_status status = send_text(sick.p.sender, "x", TRY);
    CHECK_MSG(status == LACE_CORRUPT || !named, "%s", status_name(status));
    (void)lace_recv(sick.p.receiver, sick.p.message, TRY);
    *list = healthy;
    *node = healthy_node;
    *note = healthy_note;
    patient_close(&sick);
}
END_TEST

/* ---- damage of any kind ------------------------------------------------------------------------------- */

/* What must stay as it is: the locks, and the state of the selector's party. */
typedef struct taboo {
    size_t starts[LACE_HEAP_CLASSES + 6];
    size_t sizes[LACE_HEAP_CLASSES + 6];
    size_t count;
} taboo;

static void taboo_add(taboo *t, const patient *sick, const void *word, size_t size)
{
    t->starts[t->count] = (size_t)((const unsigned char *)word - sick->p.region->base);
    t->sizes[t->count++] = size;
}

static taboo taboo_of(const patient *sick)
{
    taboo t = {.count = 0};
    const struct lace_heap *heap = &lace_region_front(sick->p.region)->heap;
    const struct lace_node *node = inside(sick, ring_of(sick)->receiving.first);
    for (size_t i = 0; i < LACE_HEAP_CLASSES; i++)
        taboo_add(&t, sick, &heap->classes[i].lock, sizeof heap->classes[i].lock);
    taboo_add(&t, sick, &heap->lock, sizeof heap->lock);
    taboo_add(&t, sick, &ring_of(sick)->lock, sizeof(struct lace_lock));
    taboo_add(&t, sick, &sick->target->end.view.ring->lock, sizeof(struct lace_lock));
    taboo_add(&t, sick, inside(sick, lace_block_offset(sick->block)), 8); /* its lock behind its magic number */
    taboo_add(&t, sick, &lace_region_front(sick->p.region)->orphans_lock, sizeof(struct lace_lock));
    taboo_add(&t, sick, inside(sick, node->party), offsetof(struct lace_party, index));
    return t;
}

static bool is_taboo(const taboo *t, size_t at, size_t width)
{
    for (size_t i = 0; i < t->count; i++)
        if (at < t->starts[i] + t->sizes[i] && t->starts[i] < at + width)
            return true;
    return false;
}

/* Where damage can go: the front, the span table, the channel's header and slots, and what is in the heap. */
static size_t pick_place(const patient *sick, rng *random)
{
    size_t span = sick->p.region->first_span;
    switch (rng_below(random, 6)) {
    case 0:
        return rng_below(random, sizeof(struct lace_front));
    case 1:
        return 8192 + rng_below(random, 32 * sizeof(struct lace_span));
    case 2:
        return sick->p.sender->end.view.offset + rng_below(random, sizeof(struct lace_ring));
    case 3:
        return sick->p.sender->end.view.offset + LACE_RING_SLOTS + rng_below(random, 3 * LACE_SLOT_SIZE);
    default:
        return span + rng_below(random, 6 * LACE_SPAN_SIZE);
    }
}

static uint64_t pick_value(rng *random, uint64_t old)
{
    switch (rng_below(random, 6)) {
    case 0:
        return rng_next(random);
    case 1:
        return 0;
    case 2:
        return UINT64_MAX;
    case 3:
        return old ^ (uint64_t)1 << rng_below(random, 64);
    case 4:
        return old + rng_below(random, 1000) - 500;
    default:
        return rng_below(random, (size_t)1 << 22) * 8;
    }
}

START_TEST(test_corrupt_anything_is_survived)
{
    rng random = rng_start(__func__, (uint64_t)_i);
#ifdef __SANITIZE_ADDRESS__
    lace_heap_poisons = false;
#endif
    for (size_t round = test_scaled(400); round > 0; round--) {
        patient sick;
        patient_open_kind(&sick, _i % 2);
        taboo t = taboo_of(&sick);
        for (size_t hits = 1 + rng_below(&random, 3); hits > 0;) {
            size_t at = pick_place(&sick, &random) & ~(size_t)3;
            size_t width = rng_below(&random, 2) ? 4 : 8;
            if (is_taboo(&t, at, width))
                continue;
            uint64_t value = 0;
            memcpy(&value, sick.p.region->base + at, width);
            value = pick_value(&random, value);
            memcpy(sick.p.region->base + at, &value, width);
            hits--;
        }
        patient_use(&sick);
        patient_close(&sick);
    }
}
END_TEST

TEST_MAIN("corrupt", TEST_LOOP(test_corrupt_counters, 3), TEST_LOOP(test_corrupt_slots, 10),
          TEST_LOOP(test_corrupt_attachments, 10), TEST_LOOP(test_corrupt_constants_are_not_read_again, 2),
          TEST_LOOP(test_corrupt_lists, 6), TEST_LOOP(test_corrupt_anything_is_survived, 4))
