/* expel.c - a memory channel after the death of a child: what it left goes, and whoever waits gets what is there. */
#include "message.h"
#include "queued.h"
#include "receipt.h"

#include <string.h>

/* Hands queued messages to those who wait for them. */
static void hand_out(const struct lace_view *view, struct lace_wakes *wakes)
{
    struct lace_ring *ring = view->ring;

    while (lace_ring_queued(view) != 0 && lace_ring_queued(view) <= view->capacity) {
        uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
        struct lace_slot *from = &view->slots[head & view->mask];
        struct lace_node *node;
        struct lace_party *party;

        if (lace_ring_claim_first(view, &ring->receiving, NULL, &node, &party) != LACE_OK)
            return;
        struct lace_slot *slot = lace_slot_at(view, node->slot);
        uint32_t index = node->index;
        if (slot != NULL) {
            lace_slot_copy(slot, from);
            if (from->content != 0)
                lace_held_set(lace_held_at(view->region, node->held), LACE_HELD_MESSAGE, from->attachments,
                              from->content);
            if (view->counts)
                ring->reader = party->seat;
            ring->bytes -= from->weight <= ring->bytes ? from->weight : ring->bytes;
            atomic_store_explicit(&ring->head, head + 1, memory_order_release);
        }
        lace_ring_retire(view, &ring->receiving, node);
        lace_party_finish(view->region, party, index, slot != NULL ? LACE_OK : LACE_CORRUPT, wakes);
    }
}

void lace_ring_settle(const struct lace_view *view, struct lace_wakes *wakes)
{
    struct lace_ring *ring = view->ring;

    if (view->redelivers)
        lace_receipt_hand_out(view, wakes);
    else
        hand_out(view, wakes);
    if (lace_list_count(&ring->sending) != 0)
        lace_ring_admit(view, wakes);
    /* The rest look for themselves. */
    if (atomic_load_explicit(&ring->senders, memory_order_relaxed) == 0) {
        lace_ring_tell(view, &ring->receiving, 0, LACE_RETRY, wakes);
        lace_ring_tell(view, &ring->ending, 0, LACE_RETRY, wakes);
    }
    if (atomic_load_explicit(&ring->receivers, memory_order_relaxed) == 0 || view->capacity == 0)
        lace_ring_tell(view, &ring->sending, 0, LACE_RETRY, wakes);
}

static void expel_nodes(const struct lace_view *view, struct lace_list *list, uint32_t seat)
{
    uint64_t offset = list->first;

    for (uint32_t left = lace_list_count(list); left > 0 && offset != 0; left--) {
        struct lace_node *node = lace_node_at(view, offset);

        if (node == NULL)
            return;
        offset = node->next;
        if (node->seat == seat)
            lace_ring_dequeue(view, list, node);
    }
}

/* A counter without its message would stop for ever. It gets an empty one: those who waited are given up, and their
 * channels end. */
static void restore_list(const struct lace_view *view)
{
    view->ring->reader = 0;
    if (lace_ring_queued(view) != 0 || view->capacity == 0)
        return;
    memset(lace_ring_next_slot(view), 0, offsetof(struct lace_slot, bytes));
    lace_ring_advance(view, 0);
    atomic_store(&view->ring->awaited, INT64_MAX);
}

void lace_ring_expel(const struct lace_view *view, uint32_t seat, struct lace_wakes *wakes)
{
    struct lace_ring *ring = view->ring;
    uint64_t *link = &ring->notes;

    expel_nodes(view, &ring->receiving, seat);
    expel_nodes(view, &ring->sending, seat);
    expel_nodes(view, &ring->ending, seat);
    if (view->redelivers)
        lace_receipt_expel(view, seat);
    if (view->counts && ring->reader == seat)
        restore_list(view);
    for (uint32_t left = LACE_NOTES_MOST; left > 0 && *link != 0; left--) {
        struct lace_note *note = lace_region_at(view->region, *link, sizeof *note, 8);

        if (note == NULL)
            break;
        if (note->seat == seat)
            *link = note->next;
        else
            link = &note->next;
    }
    lace_ring_settle(view, wakes);
}
