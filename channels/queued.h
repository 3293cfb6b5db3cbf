/* queued.h - the inside of a memory channel: its lists and its queue, for those files that change them.
 *
 * All of it wants the channel's lock held.
 */
#ifndef LACE_QUEUED_H
#define LACE_QUEUED_H

#include "ring.h"

#define LACE_NOTES_MOST 65536u /* a list of notes that is longer goes in circles: the region is damaged */

/* What lies at an offset of the region; NULL for nonsense. */
static inline struct lace_node *lace_node_at(const struct lace_view *view, uint64_t offset)
{
    return lace_region_at(view->region, offset, sizeof(struct lace_node), 8);
}

static inline struct lace_party *lace_party_at(const struct lace_view *view, uint64_t offset)
{
    return lace_region_at(view->region, offset, sizeof(struct lace_party), 64);
}

static inline struct lace_slot *lace_slot_at(const struct lace_view *view, uint64_t offset)
{
    return lace_region_at(view->region, offset, sizeof(struct lace_slot), 8);
}

static inline uint32_t lace_list_count(const struct lace_list *list)
{
    return atomic_load_explicit(&list->count, memory_order_relaxed);
}

/* How many messages are queued. */
static inline uint64_t lace_ring_queued(const struct lace_view *view)
{
    return atomic_load_explicit(&view->ring->tail, memory_order_relaxed) -
           atomic_load_explicit(&view->ring->head, memory_order_relaxed);
}

/* The same with those that came back: how many there are to be received. */
static inline uint64_t lace_ring_waiting(const struct lace_view *view)
{
    return lace_ring_queued(view) +
           (view->redelivers ? atomic_load_explicit(&view->ring->back_count, memory_order_relaxed) : 0);
}

/* Whether nothing is there to be received, nor will be. */
static inline bool lace_ring_ended(const struct lace_view *view)
{
    return atomic_load_explicit(&view->ring->senders, memory_order_relaxed) == 0 && lace_ring_waiting(view) == 0 &&
           (!view->redelivers || atomic_load_explicit(&view->ring->out_count, memory_order_relaxed) == 0);
}

/* The slot behind the last message; lace_ring_advance makes it part of the queue. */
static inline struct lace_slot *lace_ring_next_slot(const struct lace_view *view)
{
    return &view->slots[atomic_load_explicit(&view->ring->tail, memory_order_relaxed) & view->mask];
}

/* Makes the next slot, which is filled, part of the queue. */
void lace_ring_advance(const struct lace_view *view, uint64_t weight);

/* Takes a node out of its list. */
void lace_ring_dequeue(const struct lace_view *view, struct lace_list *list, struct lace_node *node);

/* A node has been claimed: a selector's goes to the end of the list, any other leaves it. */
void lace_ring_retire(const struct lace_view *view, struct lace_list *list, struct lace_node *node);

/* Claims the first open party in the list, and `self` with it if that is given. OK, LACE_AGAIN when there is none,
 * TAKEN, CORRUPT. Every closed selector on the way gets its bit. */
lace_status lace_ring_claim_first(const struct lace_view *view, struct lace_list *list, struct lace_party *self,
                                  struct lace_node **ret_node, struct lace_party **ret_party);

/* Moves the messages of waiting senders into the ring, in order, as long as they fit. */
void lace_ring_admit(const struct lace_view *view, struct lace_wakes *wakes);

#endif
