/* ring.c - what happens to a memory channel under its lock: matching and queueing. */
#include "bell.h"
#include "confirm.h"
#include "heap.h"
#include "queued.h"
#include "receipt.h"
#include "text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- making and finding ------------------------------------------------------------------------------- */

static uint64_t slots_for(uint64_t capacity)
{
    uint64_t slots = 1;

    while (slots < capacity)
        slots *= 2;
    return capacity == 0 ? 0 : slots;
}

static void make_view(struct lace_region *region, uint64_t offset, uint64_t capacity, uint64_t max_bytes,
                      const struct lace_ring *kind, struct lace_view *ret_view)
{
    uint64_t slots = slots_for(capacity);

    *ret_view = (struct lace_view){
        .region = region,
        .ring = (struct lace_ring *)(region->base + offset),
        .slots = (struct lace_slot *)(region->base + offset + LACE_RING_SLOTS),
        .offset = offset,
        .mask = slots == 0 ? 0 : slots - 1,
        .capacity = capacity,
        .max_bytes = max_bytes,
        .overwrites = kind->overwrites != 0,
        .counts = kind->counts != 0,
        .redelivers = kind->redelivers != 0 && kind->overwrites == 0 && capacity != 0,
    };
}

lace_status lace_ring_create(struct lace_region *region, const lace_channel_options *options,
                             struct lace_attached *held, struct lace_view *ret_view)
{
    uint64_t capacity = options != NULL ? options->capacity : 0;
    uint64_t max_bytes = options != NULL ? options->max_bytes : 0;

    bool overwrites = options != NULL && options->overwrite;
    bool redelivers = options != NULL && options->redeliver;

    if (capacity > LACE_MAX_CAPACITY || (overwrites && (capacity == 0 || max_bytes != 0)) ||
        (redelivers && (capacity == 0 || overwrites)))
        return LACE_INVALID;

    uint64_t room = LACE_RING_SLOTS + slots_for(capacity) * sizeof(struct lace_slot);
    uint64_t offset = lace_heap_allocate(region, room, held);
    if (offset == 0)
        return LACE_NOMEM;

    struct lace_ring *ring = (struct lace_ring *)(region->base + offset);
    memset(ring, 0, sizeof *ring);
    ring->magic = LACE_RING_MAGIC;
    ring->capacity = capacity;
    ring->max_bytes = max_bytes;
    ring->overwrites = overwrites;
    ring->redelivers = redelivers;
    make_view(region, offset, capacity, max_bytes, ring, ret_view);
    ring->references = 1;
    if (options != NULL && options->name != NULL) {
        lace_text_print(ring->name, sizeof ring->name, "%s", options->name);
    } else {
        uint64_t number = atomic_fetch_add_explicit(&lace_region_front(region)->names, 1, memory_order_relaxed) + 1;
        snprintf(ring->name, sizeof ring->name, "channel-%llu", (unsigned long long)number);
    }
    return LACE_OK;
}

lace_status lace_ring_view(struct lace_region *region, uint64_t offset, struct lace_view *ret_view)
{
    uint64_t room = lace_heap_size(region, offset);

    if (room < LACE_RING_SLOTS)
        return LACE_CORRUPT;
    const struct lace_ring *ring = (const struct lace_ring *)(region->base + offset);
    uint64_t capacity = ring->capacity;
    if (ring->magic != LACE_RING_MAGIC || capacity > LACE_MAX_CAPACITY ||
        slots_for(capacity) * sizeof(struct lace_slot) > room - LACE_RING_SLOTS)
        return LACE_CORRUPT;
    make_view(region, offset, capacity, ring->max_bytes, ring, ret_view);
    return LACE_OK;
}

void lace_ring_add_end(const struct lace_view *view, enum lace_side side, struct lace_attached *held)
{
    struct lace_ring *ring = view->ring;
    _Atomic uint32_t *count = side == LACE_SIDE_SENDER ? &ring->senders : &ring->receivers;

    LACE_KEEP(*count);
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
    LACE_SET(ring->references, ring->references + 1);
    lace_held_set(held, side == LACE_SIDE_SENDER ? LACE_ATTACH_SENDER : LACE_ATTACH_RECEIVER, 0, view->offset);
}

void lace_ring_unref(const struct lace_view *view, struct lace_attached *held)
{
    struct lace_ring *ring = view->ring;

    lace_lock_acquire(&ring->lock);
    bool last = ring->references == 1;
    LACE_SET(ring->references, ring->references - 1);
    if (last)
        LACE_SET(ring->magic, 0);
    lace_held_change(held, last ? LACE_HELD_CHUNK : LACE_ATTACH_NONE);
    lace_lock_release(&ring->lock);
    /* With no reference left nobody else can come to lock it. */
    if (last)
        lace_heap_free(view->region, view->offset, held);
}

/* ---- lists -------------------------------------------------------------------------------------------- */

void lace_ring_enqueue(const struct lace_view *view, struct lace_list *list, struct lace_node *node)
{
    uint64_t offset = lace_region_offset(view->region, node);
    struct lace_node *last = list->last != 0 ? lace_node_at(view, list->last) : NULL;

    assert(lace_lock_held(&view->ring->lock));
    LACE_SET(node->next, 0);
    LACE_SET(node->previous, last != NULL ? list->last : 0);
    if (last != NULL)
        LACE_SET(last->next, offset);
    else
        LACE_SET(list->first, offset);
    LACE_SET(list->last, offset);
    LACE_SET(node->linked, 1);
    LACE_KEEP(list->count);
    atomic_store_explicit(&list->count, lace_list_count(list) + 1, memory_order_release);
}

void lace_ring_dequeue(const struct lace_view *view, struct lace_list *list, struct lace_node *node)
{
    struct lace_node *next = node->next != 0 ? lace_node_at(view, node->next) : NULL;
    struct lace_node *previous = node->previous != 0 ? lace_node_at(view, node->previous) : NULL;

    if (next != NULL)
        LACE_SET(next->previous, node->previous);
    else
        LACE_SET(list->last, node->previous);
    if (previous != NULL)
        LACE_SET(previous->next, node->next);
    else
        LACE_SET(list->first, node->next);
    LACE_SET(node->next, 0);
    LACE_SET(node->previous, 0);
    LACE_SET(node->linked, 0);
    LACE_KEEP(list->count);
    atomic_store_explicit(&list->count, lace_list_count(list) - 1, memory_order_relaxed);
}

void lace_ring_retire(const struct lace_view *view, struct lace_list *list, struct lace_node *node)
{
    lace_ring_dequeue(view, list, node);
    if (node->persistent)
        lace_ring_enqueue(view, list, node);
}

lace_status lace_ring_claim_first(const struct lace_view *view, struct lace_list *list, struct lace_party *self,
                               struct lace_node **ret_node, struct lace_party **ret_party)
{
    uint64_t offset = list->first;

    for (uint32_t left = lace_list_count(list); left > 0 && offset != 0; left--) {
        struct lace_node *node = lace_node_at(view, offset);
        struct lace_party *party = node != NULL ? lace_party_at(view, node->party) : NULL;
        lace_status status = LACE_AGAIN;

        if (party == NULL)
            return LACE_CORRUPT;
        if (party != self) {
            if (self != NULL)
                status = lace_party_claim_pair(view->region, self, party, node->index, node->persistent);
            else if (node->persistent ? lace_party_claim_or_mark(view->region, party, node->index, false)
                                      : lace_party_claim(view->region, party))
                status = LACE_OK;
        }
        if (status != LACE_AGAIN) {
            *ret_node = node;
            *ret_party = party;
            return status;
        }
        offset = node->next;
    }
    return LACE_AGAIN;
}

void lace_ring_tell(const struct lace_view *view, struct lace_list *list, uint64_t end, lace_status status,
                    struct lace_wakes *wakes)
{
    uint64_t offset = list->first;

    assert(lace_lock_held(&view->ring->lock));
    for (uint32_t left = lace_list_count(list); left > 0 && offset != 0; left--) {
        struct lace_node *node = lace_node_at(view, offset);
        struct lace_party *party = node != NULL ? lace_party_at(view, node->party) : NULL;

        if (party == NULL)
            return;
        offset = node->next;
        if (end != 0 && node->end != end)
            continue;
        if (node->persistent ? lace_party_claim_or_mark(view->region, party, node->index, true)
                             : lace_party_claim(view->region, party)) {
            uint32_t index = node->index;

            lace_ring_retire(view, list, node);
            lace_party_finish(view->region, party, index, status, wakes);
        }
    }
}

/* ---- messages ----------------------------------------------------------------------------------------- */

static bool fits(const struct lace_view *view, uint64_t queued, uint64_t weight)
{
    const struct lace_ring *ring = view->ring;

    return queued < view->capacity &&
           (view->max_bytes == 0 ||
            (ring->bytes <= view->max_bytes && weight <= view->max_bytes - ring->bytes));
}

static void carry(struct lace_ring *ring, uint64_t weight)
{
    LACE_KEEP(ring->carried);
    atomic_store_explicit(&ring->carried, atomic_load_explicit(&ring->carried, memory_order_relaxed) + weight,
                          memory_order_relaxed);
}

/* One message goes past the queue, which is empty. Returns its number: those in the queue are counted by head and tail,
 * which do not move meanwhile, so that both sides' sums with `handed` number all messages in order. */
static uint64_t hand_over(struct lace_ring *ring)
{
    uint64_t handed = atomic_load_explicit(&ring->handed, memory_order_relaxed);

    LACE_KEEP(ring->handed);
    atomic_store_explicit(&ring->handed, handed + 1, memory_order_relaxed);
    return atomic_load_explicit(&ring->tail, memory_order_relaxed) + handed;
}

void lace_ring_advance(const struct lace_view *view, uint64_t weight)
{
    LACE_SET(view->ring->bytes, view->ring->bytes + weight);
    carry(view->ring, weight);
    LACE_KEEP(view->ring->tail);
    /* Release: who peeks at the counter may count on what was done before it. */
    atomic_store_explicit(&view->ring->tail, atomic_load_explicit(&view->ring->tail, memory_order_relaxed) + 1,
                          memory_order_release);
}

void lace_ring_admit(const struct lace_view *view, struct lace_wakes *wakes)
{
    struct lace_list *list = &view->ring->sending;
    uint64_t offset = list->first;

    for (uint32_t left = lace_list_count(list); left > 0 && offset != 0; left--) {
        struct lace_node *node = lace_node_at(view, offset);
        struct lace_party *party = node != NULL ? lace_party_at(view, node->party) : NULL;
        struct lace_slot *slot = node != NULL ? lace_slot_at(view, node->slot) : NULL;

        if (party == NULL || slot == NULL || lace_ring_queued(view) >= view->capacity)
            return;
        offset = node->next;
        if (!fits(view, lace_ring_waiting(view), slot->weight)) {
            /* The first in the line holds up the rest. If it is about to leave, it lets them in when it does. */
            if (atomic_load_explicit(&party->state, memory_order_relaxed) == LACE_PARTY_OPEN)
                return;
        } else if (lace_party_claim(view->region, party)) {
            lace_slot_copy(lace_ring_next_slot(view), slot);
            lace_ring_advance(view, slot->weight);
            LACE_SET(party->sequence, atomic_load_explicit(&view->ring->tail, memory_order_relaxed) - 1 +
                                          atomic_load_explicit(&view->ring->handed, memory_order_relaxed));
            lace_ring_dequeue(view, list, node);
            lace_held_change(lace_held_at(view->region, node->held), LACE_ATTACH_NONE);
            lace_party_finish(view->region, party, node->index, LACE_OK, wakes);
        }
    }
}

/* Whether another party waits to send, whose turn it is then. */
static bool senders_wait(const struct lace_view *view, const struct lace_party *self)
{
    const struct lace_list *list = &view->ring->sending;
    uint64_t offset = list->first;

    for (uint32_t left = lace_list_count(list); left > 0 && offset != 0; left--) {
        struct lace_node *node = lace_node_at(view, offset);
        struct lace_party *party = node != NULL ? lace_party_at(view, node->party) : NULL;

        if (party == NULL)
            return false;
        if (party != self && atomic_load_explicit(&party->state, memory_order_relaxed) == LACE_PARTY_OPEN)
            return true;
        offset = node->next;
    }
    return false;
}

/* Puts a message into the slot of one who waits for it: whose it is then. */
static void deliver(const struct lace_view *view, const struct lace_outgoing *outgoing, const struct lace_node *node,
                    struct lace_slot *slot, uint32_t seat)
{
    lace_outgoing_store(outgoing, slot);
    if (outgoing->content != 0) {
        lace_held_set(lace_held_at(view->region, node->held), LACE_HELD_MESSAGE, slot->attachments, slot->content);
        lace_held_change(outgoing->held, LACE_ATTACH_NONE);
    }
    if (__builtin_expect(view->counts, 0))
        LACE_SET(view->ring->reader, seat);
}

lace_status lace_ring_send(const struct lace_view *view, const struct lace_outgoing *outgoing,
                           struct lace_party *self, struct lace_wakes *wakes)
{
    struct lace_ring *ring = view->ring;
    uint64_t waiting = lace_ring_queued(view);

    assert(lace_lock_held(&ring->lock));
    if (waiting > view->capacity)
        return LACE_CORRUPT;
    if (atomic_load_explicit(&ring->receivers, memory_order_relaxed) == 0)
        return LACE_BROKEN;
    if (__builtin_expect(view->redelivers, 0)) {
        waiting = lace_ring_waiting(view);
    } else if (waiting == 0 && lace_list_count(&ring->receiving) != 0) {
        struct lace_node *node;
        struct lace_party *party;
        lace_status status = lace_ring_claim_first(view, &ring->receiving, self, &node, &party);

        if (status == LACE_OK) {
            struct lace_slot *slot = lace_slot_at(view, node->slot);
            uint32_t index = node->index;

            if (slot != NULL) {
                deliver(view, outgoing, node, slot, party->seat);
                LACE_SET(party->sequence, hand_over(ring));
                carry(ring, outgoing->weight);
            }
            lace_ring_retire(view, &ring->receiving, node);
            lace_party_finish(view->region, party, index, slot != NULL ? LACE_OK : LACE_CORRUPT, wakes);
            return slot != NULL ? LACE_OK : LACE_CORRUPT;
        }
        if (status != LACE_AGAIN)
            return status;
    }
    if (!fits(view, waiting, outgoing->weight) || (lace_list_count(&ring->sending) != 0 && senders_wait(view, self)))
        return LACE_AGAIN;
    if (self != NULL && !lace_party_withdraw(self))
        return LACE_TAKEN;
    lace_outgoing_store(outgoing, lace_ring_next_slot(view));
    lace_ring_advance(view, outgoing->weight);
    lace_held_change(outgoing->held, LACE_ATTACH_NONE);
    if (__builtin_expect(view->counts, 0))
        LACE_SET(ring->reader, 0);
    if (__builtin_expect(view->redelivers, 0) && waiting == 0 && lace_list_count(&ring->receiving) != 0)
        lace_receipt_hand_out(view, wakes);
    return LACE_OK;
}

lace_status lace_ring_recv(const struct lace_view *view, lace_message *message, struct lace_party *self,
                           struct lace_wakes *wakes)
{
    struct lace_ring *ring = view->ring;
    uint64_t waiting = lace_ring_queued(view);

    assert(lace_lock_held(&ring->lock));
    if (__builtin_expect(view->redelivers, 0))
        return lace_receipt_recv(view, message, self, wakes);
    if (waiting > view->capacity)
        return LACE_CORRUPT;
    if (waiting != 0) {
        if (self != NULL && !lace_party_withdraw(self))
            return LACE_TAKEN;
        uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
        lace_status status = lace_message_load(message, &view->slots[head & view->mask]);
        if (status != LACE_OK)
            return status;
        LACE_SET(ring->bytes, ring->bytes - (message->weight <= ring->bytes ? message->weight : ring->bytes));
        if (__builtin_expect(view->counts, 0))
            LACE_SET(ring->reader, view->region->seat);
        LACE_KEEP(ring->head);
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
        if (lace_list_count(&ring->sending) != 0)
            lace_ring_admit(view, wakes);
        return LACE_OK;
    }
    if (lace_list_count(&ring->sending) != 0) {
        struct lace_node *node;
        struct lace_party *party;
        lace_status status = lace_ring_claim_first(view, &ring->sending, self, &node, &party);

        if (status == LACE_OK) {
            struct lace_slot *slot = lace_slot_at(view, node->slot);
            uint32_t index = node->index;

            status = slot != NULL ? lace_message_load(message, slot) : LACE_CORRUPT;
            if (status == LACE_OK) {
                lace_held_change(lace_held_at(view->region, node->held), LACE_ATTACH_NONE);
                LACE_SET(party->sequence, hand_over(ring));
                carry(ring, message->weight);
            }
            lace_ring_retire(view, &ring->sending, node);
            lace_party_finish(view->region, party, index, status, wakes);
        }
        if (status != LACE_AGAIN)
            return status;
    }
    return atomic_load_explicit(&ring->senders, memory_order_relaxed) == 0 ? LACE_END : LACE_AGAIN;
}

lace_status lace_ring_replace(const struct lace_view *view, const struct lace_outgoing *outgoing,
                              struct lace_party *self, lace_message *displaced, struct lace_wakes *wakes)
{
    lace_status status = lace_ring_send(view, outgoing, self, wakes);

    if (status != LACE_AGAIN)
        return status;
    if (self != NULL && !lace_party_withdraw(self))
        return LACE_TAKEN;
    status = lace_ring_recv(view, displaced, NULL, wakes);
    return status == LACE_OK ? lace_ring_send(view, outgoing, NULL, wakes) : status;
}

bool lace_ring_peek_recv(const struct lace_view *view)
{
    struct lace_ring *ring = view->ring;

    /* Acquire: pairs with the releases of these words, so that what happened before a message was queued is seen by
     * whoever sees the message (a PRIORITY select looks at its earlier cases again then). */
    return atomic_load_explicit(&ring->tail, memory_order_acquire) !=
               atomic_load_explicit(&ring->head, memory_order_acquire) ||
           atomic_load_explicit(&ring->sending.count, memory_order_acquire) != 0 ||
           atomic_load_explicit(&ring->senders, memory_order_acquire) == 0 ||
           (view->redelivers && atomic_load_explicit(&ring->back_count, memory_order_acquire) != 0);
}

bool lace_ring_peek_send(const struct lace_view *view)
{
    struct lace_ring *ring = view->ring;

    return view->overwrites ||
           atomic_load_explicit(&ring->tail, memory_order_acquire) -
                   atomic_load_explicit(&ring->head, memory_order_acquire) <
               view->capacity ||
           atomic_load_explicit(&ring->receiving.count, memory_order_acquire) != 0 ||
           atomic_load_explicit(&ring->receivers, memory_order_acquire) == 0;
}

void lace_ring_unlink(const struct lace_view *view, struct lace_list *list, struct lace_node *node,
                      struct lace_wakes *wakes)
{
    assert(lace_lock_held(&view->ring->lock));
    if (!node->linked)
        return;
    lace_ring_dequeue(view, list, node);
    if (list == &view->ring->sending && lace_list_count(list) != 0)
        lace_ring_admit(view, wakes);
}

/* ---- descriptors -------------------------------------------------------------------------------------- */

void lace_ring_notify(const struct lace_view *view)
{
    struct lace_ring *ring = view->ring;
    uint64_t waiting = lace_ring_waiting(view);
    bool recv = waiting != 0 || lace_list_count(&ring->sending) != 0 || lace_ring_ended(view);
    bool send = view->overwrites ||
                (waiting < view->capacity && (view->max_bytes == 0 || ring->bytes < view->max_bytes)) ||
                (waiting == 0 && lace_list_count(&ring->receiving) != 0) ||
                atomic_load_explicit(&ring->receivers, memory_order_relaxed) == 0;
    uint64_t offset = ring->notes;
    struct lace_note *note;
    int saved = errno;

    for (uint32_t left = LACE_NOTES_MOST; left > 0 && offset != 0; left--, offset = note->next) {
        note = lace_region_at(view->region, offset, sizeof *note, 8);
        if (note == NULL)
            break;
        bool ready = note->closed || (note->sender ? send : recv);
        eventfd_t ignored;

        if (note->seat != view->region->seat) {
            if (ready != (note->set != 0) && !atomic_load_explicit(&note->rung, memory_order_relaxed)) {
                atomic_store_explicit(&note->rung, 1, memory_order_release);
                lace_bell_ring(view->region, note->seat, LACE_BELL_LOOK);
            }
            continue;
        }
        atomic_store_explicit(&note->rung, 0, memory_order_relaxed);
        if (ready == (note->set != 0))
            continue;
        if (ready ? eventfd_write(note->event, 1) == 0 : eventfd_read(note->event, &ignored) == 0)
            note->set = ready;
    }
    errno = saved;
}
