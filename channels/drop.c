/* drop.c - an end of a memory channel that goes, and the messages that the last receiver leaves. */
#include "bell.h"
#include "heap.h"
#include "look.h"
#include "message.h"
#include "queued.h"
#include "receipt.h"

_Atomic(void (*)(void)) lace_end_gone;

/* Marks the notes of a closed end. */
static void close_notes(const struct lace_view *view, uint64_t end)
{
    uint64_t offset = view->ring->notes;
    struct lace_note *note;

    for (uint32_t left = LACE_NOTES_MOST; left > 0 && offset != 0; left--, offset = note->next) {
        note = lace_region_at(view->region, offset, sizeof *note, 8);
        if (note == NULL)
            return;
        if (note->end == end)
            note->closed = 1;
    }
}

/* Puts the channel into a list of those to be drained: the caller's, or, from a child, the host's (true): a child that
 * died in mid-drain would leave too much to find out. */
static bool doom(const struct lace_view *view, struct lace_doomed *doomed)
{
    struct lace_front *front = lace_region_front(view->region);
    struct lace_ring *ring = view->ring;

    if (view->region->seat == 0) {
        ring->references++;
        ring->doomed = doomed->first;
        doomed->first = view->offset;
        return false;
    }
    lace_lock_acquire(&front->orphans_lock);
    LACE_SET(ring->references, ring->references + 1);
    LACE_SET(ring->doomed, front->orphans);
    LACE_SET(front->orphans, view->offset);
    lace_lock_release(&front->orphans_lock);
    return true;
}

/* Locked: whoever waits on the end is told that it is closed. */
static void shut(const struct lace_view *view, bool sender, uint64_t end, struct lace_wakes *wakes)
{
    struct lace_ring *ring = view->ring;

    lace_ring_tell(view, sender ? &ring->sending : &ring->receiving, end, LACE_RETRY, wakes);
    if (sender && lace_list_count(&ring->sending) != 0)
        lace_ring_admit(view, wakes); /* it may have held up others */
    if (!sender)
        lace_ring_tell(view, &ring->ending, end, LACE_RETRY, wakes);
    close_notes(view, end);
}

bool lace_ring_shut_end(const struct lace_view *view, enum lace_side side, uint64_t end, atomic_bool *closed)
{
    struct lace_wakes wakes = {.count = 0};

    lace_ring_lock(view);
    bool first = !atomic_load_explicit(closed, memory_order_relaxed);
    if (first) {
        atomic_store_explicit(closed, true, memory_order_relaxed);
        shut(view, side == LACE_SIDE_SENDER, end, &wakes);
    }
    lace_ring_unlock(view, &wakes);
    return first;
}

void lace_ring_drop_end(const struct lace_view *view, enum lace_side side, uint64_t end, atomic_bool *closed,
                        struct lace_doomed *doomed, struct lace_attached *held)
{
    struct lace_ring *ring = view->ring;
    struct lace_wakes wakes = {.count = 0};
    bool orphaned = false;
    bool sender = side == LACE_SIDE_SENDER;

    lace_ring_lock(view);
    if (closed != NULL) {
        if (atomic_load_explicit(closed, memory_order_relaxed)) {
            lace_ring_unlock(view, &wakes);
            return;
        }
        atomic_store_explicit(closed, true, memory_order_relaxed);
        shut(view, sender, end, &wakes);
    }

    _Atomic uint32_t *count = sender ? &ring->senders : &ring->receivers;
    uint32_t left = atomic_load_explicit(count, memory_order_relaxed);
    LACE_KEEP(*count);
    if (left != 0)
        atomic_store_explicit(count, --left, memory_order_release);
    lace_held_change(held, LACE_HELD_REFERENCE);
    if (left == 0 && sender) {
        lace_ring_tell(view, &ring->receiving, 0, LACE_RETRY, &wakes);
        lace_ring_tell(view, &ring->ending, 0, LACE_RETRY, &wakes);
    } else if (left == 0) {
        lace_ring_tell(view, &ring->sending, 0, LACE_RETRY, &wakes);
        if (lace_ring_waiting(view) != 0)
            orphaned = doom(view, doomed);
    }
    lace_ring_unlock(view, &wakes);
    if (orphaned)
        lace_bell_ring(view->region, 0, LACE_BELL_LOOK);
    void (*gone)(void) = atomic_load_explicit(&lace_end_gone, memory_order_relaxed); /* the same all the time */
    if (left != 0 && gone != NULL)
        gone();
}

/* Takes one message out of a channel without receivers, and the chunk that it was kept in, or 0; false when there is none. */
static bool take_out(const struct lace_view *view, struct lace_slot *ret_slot, uint64_t *ret_chunk)
{
    struct lace_ring *ring = view->ring;
    struct lace_wakes wakes = {.count = 0};

    *ret_chunk = 0;
    lace_ring_lock(view);
    bool found = lace_receipt_take_out(view, ret_slot, ret_chunk);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (!found && lace_ring_queued(view) != 0 && lace_ring_queued(view) <= view->capacity) {
        lace_slot_copy(ret_slot, &view->slots[head & view->mask]);
        ring->bytes -= ret_slot->weight <= ring->bytes ? ret_slot->weight : ring->bytes;
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
        found = true;
    }
    lace_ring_unlock(view, &wakes);
    return found;
}

static void drain(const struct lace_view *view, struct lace_doomed *doomed)
{
    struct lace_slot slot;
    uint64_t chunk;

    while (take_out(view, &slot, &chunk)) {
        lace_slot_release(view->region, &slot, doomed);
        lace_heap_free(view->region, chunk, NULL);
    }
}

void lace_ring_discard(const struct lace_view *view)
{
    struct lace_doomed doomed = {.region = view->region};

    /* Nobody is a receiver again once nobody is one. */
    if (atomic_load_explicit(&view->ring->receivers, memory_order_acquire) == 0)
        drain(view, &doomed);
    lace_doomed_drain(&doomed);
}

void lace_doomed_drain(struct lace_doomed *doomed)
{
    /* A list and not a recursion: a message may hold the last receiver of a channel that holds the next one, and so
     * on. */
    while (doomed->first != 0) {
        struct lace_view view;

        if (lace_ring_view(doomed->region, doomed->first, &view) != LACE_OK)
            return;
        doomed->first = view.ring->doomed;
        drain(&view, doomed);
        lace_ring_unref(&view, NULL);
    }
}

void lace_orphans_drain(struct lace_region *region)
{
    struct lace_front *front = lace_region_front(region);

    for (;;) {
        struct lace_doomed doomed = {.region = region};
        struct lace_view view;

        lace_lock_acquire(&front->orphans_lock);
        if (front->orphans != 0 && lace_ring_view(region, front->orphans, &view) == LACE_OK) {
            doomed.first = view.offset;
            front->orphans = view.ring->doomed;
            view.ring->doomed = 0;
        } else {
            front->orphans = 0;
        }
        lace_lock_release(&front->orphans_lock);
        if (doomed.first == 0)
            return;
        lace_doomed_drain(&doomed);
    }
}
