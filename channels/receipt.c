/* receipt.c - the receipts of a channel that redelivers, under its lock: those that are out, and those that came back. */
#include "receipt.h"

#include "heap.h"
#include "message.h"
#include "queued.h"

#include <assert.h>

#define MOST (1u << 20) /* a list that is longer goes in circles: the region is damaged */

struct lace_receipt *lace_receipt_at(const struct lace_region *region, uint64_t offset)
{
    if (offset == 0 || lace_heap_size(region, offset) < sizeof(struct lace_receipt))
        return NULL;
    struct lace_receipt *receipt = (struct lace_receipt *)(region->base + offset);
    return receipt->magic == LACE_RECEIPT_MAGIC ? receipt : NULL;
}

static uint32_t count_of(const _Atomic uint32_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void set_count(_Atomic uint32_t *count, uint32_t value)
{
    LACE_KEEP(*count);
    atomic_store_explicit(count, value, memory_order_release);
}

/* How many receipts of a list to look at, at most. */
static uint32_t length_of(const _Atomic uint32_t *count)
{
    return count_of(count) < MOST ? count_of(count) : MOST;
}

/* Takes the first of those that came back out of the list. */
static struct lace_receipt *take_back(const struct lace_view *view)
{
    struct lace_ring *ring = view->ring;
    struct lace_receipt *receipt = count_of(&ring->back_count) != 0 ? lace_receipt_at(view->region, ring->back) : NULL;

    if (receipt == NULL)
        return NULL;
    LACE_SET(ring->back, receipt->next);
    set_count(&ring->back_count, count_of(&ring->back_count) - 1);
    return receipt;
}

/* Puts a receipt to the end of those that are out. */
static void put_out(const struct lace_view *view, struct lace_receipt *receipt)
{
    struct lace_ring *ring = view->ring;
    uint64_t offset = lace_region_offset(view->region, receipt);
    struct lace_receipt *last = ring->out != 0 ? lace_receipt_at(view->region, ring->out_last) : NULL;

    LACE_SET(receipt->next, 0);
    if (last != NULL)
        LACE_SET(last->next, offset);
    else
        LACE_SET(ring->out, offset);
    LACE_SET(ring->out_last, offset);
    set_count(&ring->out_count, count_of(&ring->out_count) + 1);
}

struct lace_receipt *lace_receipt_unlink(const struct lace_view *view, uint64_t *link)
{
    struct lace_ring *ring = view->ring;
    struct lace_receipt *receipt = lace_receipt_at(view->region, *link);

    if (receipt == NULL)
        return NULL;
    if (receipt->next == 0) /* it was the last: now the one is whose `next` this link is */
        LACE_SET(ring->out_last,
                 link == &ring->out ? 0 : lace_region_offset(view->region, link) - offsetof(struct lace_receipt, next));
    LACE_SET(*link, receipt->next);
    set_count(&ring->out_count, count_of(&ring->out_count) - 1);
    return receipt;
}

/* The link of the first that is out for which this holds: it lies at `offset`; or else (0) it is the end's and not pinned; or
 * else (0) it is the seat's. */
static uint64_t *find(const struct lace_view *view, uint64_t offset, uint64_t end, uint32_t seat)
{
    uint64_t *link = &view->ring->out;

    for (uint32_t left = length_of(&view->ring->out_count); left > 0; left--) {
        struct lace_receipt *receipt = lace_receipt_at(view->region, *link);

        if (receipt == NULL)
            return NULL;
        if (offset != 0 ? *link == offset
            : end != 0  ? receipt->end == end && !receipt->pinned
                        : receipt->seat == seat)
            return link;
        link = &receipt->next;
    }
    return NULL;
}

uint64_t *lace_receipt_find(const struct lace_view *view, uint64_t end, uint32_t seat)
{
    return find(view, 0, end, seat);
}

uint64_t *lace_receipt_find_this(const struct lace_view *view, uint64_t offset)
{
    return find(view, offset, 0, 0);
}

void lace_receipt_put_back(const struct lace_view *view, struct lace_receipt *receipt)
{
    struct lace_ring *ring = view->ring;
    uint64_t *link = &ring->back;

    if (receipt == NULL)
        return;
    for (uint32_t left = length_of(&ring->back_count); left > 0; left--) {
        struct lace_receipt *other = lace_receipt_at(view->region, *link);

        if (other == NULL || other->number > receipt->number)
            break;
        link = &other->next;
    }
    LACE_SET(receipt->end, 0);
    LACE_SET(receipt->pinned, 0);
    LACE_SET(receipt->next, *link);
    LACE_SET(*link, lace_region_offset(view->region, receipt));
    set_count(&ring->back_count, count_of(&ring->back_count) + 1);
    LACE_SET(ring->bytes, ring->bytes + receipt->slot.weight);
}

struct lace_receipt *lace_receipt_take(const struct lace_view *view, uint64_t end, uint32_t seat, uint64_t spare,
                                        struct lace_attached *held)
{
    struct lace_ring *ring = view->ring;
    struct lace_receipt *receipt;

    if (count_of(&ring->back_count) != 0) {
        receipt = take_back(view);
        if (receipt == NULL)
            return NULL;
    } else {
        uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

        receipt = lace_receipt_at(view->region, spare);
        if (receipt == NULL)
            return NULL;
        lace_slot_copy(&receipt->slot, &view->slots[head & view->mask]);
        receipt->number = head;
        receipt->times = 0;
        LACE_KEEP(ring->head);
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
        lace_held_change(held, LACE_ATTACH_NONE);
    }
    uint64_t weight = receipt->slot.weight;
    LACE_SET(ring->bytes, ring->bytes - (weight <= ring->bytes ? weight : ring->bytes));
    LACE_SET(receipt->times, receipt->times + 1);
    LACE_SET(receipt->end, end);
    LACE_SET(receipt->seat, seat);
    LACE_SET(receipt->pinned, 1);
    put_out(view, receipt);
    return receipt;
}

bool lace_receipt_any(const struct lace_view *view)
{
    return lace_ring_waiting(view) != 0 && lace_ring_queued(view) <= view->capacity;
}

void lace_receipt_hand_out(const struct lace_view *view, struct lace_wakes *wakes)
{
    struct lace_ring *ring = view->ring;

    assert(lace_lock_held(&ring->lock));
    while (lace_receipt_any(view)) {
        struct lace_node *node;
        struct lace_party *party;

        if (lace_ring_claim_first(view, &ring->receiving, NULL, &node, &party) != LACE_OK)
            return;
        struct lace_slot *slot = lace_slot_at(view, node->slot);
        struct lace_receipt *receipt =
            slot != NULL
                ? lace_receipt_take(view, node->end, node->seat, slot->content, lace_held_at(view->region, node->held))
                : NULL;
        uint32_t index = node->index;
        if (receipt != NULL) {
            LACE_SET(slot->content, lace_region_offset(view->region, receipt));
            LACE_SET(party->sequence, receipt->number);
        }
        lace_ring_retire(view, &ring->receiving, node);
        lace_party_finish(view->region, party, index, receipt != NULL ? LACE_OK : LACE_CORRUPT, wakes);
        if (lace_list_count(&ring->sending) != 0)
            lace_ring_admit(view, wakes);
    }
}

void lace_receipt_expel(const struct lace_view *view, uint32_t seat)
{
    uint64_t *link;

    for (uint32_t left = length_of(&view->ring->out_count); left > 0; left--) {
        link = lace_receipt_find(view, 0, seat);
        if (link == NULL)
            return;
        lace_receipt_put_back(view, lace_receipt_unlink(view, link));
    }
}

bool lace_receipt_take_out(const struct lace_view *view, struct lace_slot *ret_slot, uint64_t *ret_chunk)
{
    struct lace_ring *ring = view->ring;
    struct lace_receipt *receipt = take_back(view);

    if (receipt == NULL)
        return false;
    lace_slot_copy(ret_slot, &receipt->slot);
    ring->bytes -= ret_slot->weight <= ring->bytes ? ret_slot->weight : ring->bytes;
    *ret_chunk = lace_region_offset(view->region, receipt);
    return true;
}

void lace_receipt_visit(const struct lace_view *view, void (*visit)(const void *context, const struct lace_slot *slot),
                        const void *context)
{
    const struct lace_ring *ring = view->ring;
    const uint64_t first[2] = {ring->out, ring->back};
    const uint32_t count[2] = {length_of(&ring->out_count), length_of(&ring->back_count)};

    for (int i = 0; i < 2; i++) {
        uint64_t offset = first[i];

        for (uint32_t left = count[i]; left > 0; left--) {
            const struct lace_receipt *receipt = lace_receipt_at(view->region, offset);

            if (receipt == NULL)
                break;
            visit(context, &receipt->slot);
            offset = receipt->next;
        }
    }
}
