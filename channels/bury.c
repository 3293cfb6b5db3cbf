/* bury.c - what a dead child has left behind: torn stores, locks, promises, ends, blocks, memory. */
#include "bury.h"

#include "bell.h"
#include "heap.h"
#include "message.h"

#include <limits.h>

#define LOCK_AT sizeof(uint32_t) /* each lock of an object stands behind its magic number */
_Static_assert(offsetof(struct lace_ring, lock) == LOCK_AT, "see lock.h");
_Static_assert(offsetof(struct lace_party, lock) == LOCK_AT, "see lock.h");

/* ---- stores ------------------------------------------------------------------------------------------- */

static void put_back(struct lace_region *region, const struct lace_kept *kept)
{
    uint64_t offset = kept->where & ~(UINT64_C(0xff) << 56);
    unsigned size = (unsigned)(kept->where >> 56);

    if (offset > region->size - sizeof(uint64_t))
        return;
    void *place = region->base + offset;
    /* Single stores: some of these words are looked at without a lock. */
    switch (size) {
    case 1:
        __atomic_store_n((uint8_t *)place, (uint8_t)kept->was, __ATOMIC_RELEASE);
        break;
    case 2:
        __atomic_store_n((uint16_t *)place, (uint16_t)kept->was, __ATOMIC_RELEASE);
        break;
    case 4:
        __atomic_store_n((uint32_t *)place, (uint32_t)kept->was, __ATOMIC_RELEASE);
        break;
    case 8:
        __atomic_store_n((uint64_t *)place, kept->was, __ATOMIC_RELEASE);
        break;
    default:
        break;
    }
}

/* ---- parties ------------------------------------------------------------------------------------------ */

/* Tells the party that the lane had claimed: to look again, or what had been stored for it already. */
static void finish_claim(struct lace_region *region, const struct lace_lane *lane, uint64_t word)
{
    struct lace_party *party = lace_region_at(region, lane->claimed, sizeof *party, 64);

    if (!(word & (LACE_LANE_CLAIMED | LACE_LANE_TOLD)) || party == NULL || party->magic != LACE_PARTY_MAGIC)
        return;
    uint32_t signal = atomic_load_explicit(&party->signal, memory_order_acquire);
    if ((signal | 3u) != (lane->epoch | 3u))
        return; /* told, and opened again */
    if (word & LACE_LANE_CLAIMED) {
        /* The state follows the lane's word: it may not have come to that. Its lock is the lane's then. */
        if (atomic_load_explicit(&party->state, memory_order_relaxed) != LACE_PARTY_CLOSED)
            return;
        party->index = LACE_NO_CASE;
        party->status = (uint32_t)LACE_RETRY;
    }
    bool polls = party->event >= 0;
    uint32_t seat = party->seat;
    while ((signal | 3u) == (lane->epoch | 3u) && LACE_SIGNAL_STATE(signal) != LACE_SIGNAL_DONE &&
           !atomic_compare_exchange_weak_explicit(&party->signal, &signal, (signal & ~3u) | LACE_SIGNAL_DONE,
                                                  memory_order_release, memory_order_relaxed))
        continue;
    lace_futex_wake(&party->signal, INT_MAX);
    if (polls)
        lace_bell_ring(region, seat, LACE_BELL_LOOK);
}

/* ---- locks -------------------------------------------------------------------------------------------- */

static uint32_t owner_of(struct lace_lock *lock)
{
    return atomic_load_explicit(&lock->word, memory_order_acquire) & ~LACE_LOCK_WAITERS;
}

/* A lock that the lane names: one of the front, or of an object; *ret_ring tells which is a channel's. NULL: it is none
 * any more. */
static struct lace_lock *lock_at(struct lace_region *region, uint64_t offset, bool *ret_ring)
{
    *ret_ring = false;
    if (offset == 0 || offset % sizeof(uint32_t) != 0)
        return NULL;
    if (offset < sizeof(struct lace_front))
        return (struct lace_lock *)(region->base + offset);
    uint32_t *magic = lace_region_at(region, offset - LOCK_AT, 2 * sizeof(uint32_t), 64);
    if (magic == NULL)
        return NULL;
    *ret_ring = *magic == LACE_RING_MAGIC;
    return *ret_ring || *magic == LACE_PARTY_MAGIC || *magic == LACE_BLOCK_MAGIC ? (struct lace_lock *)(magic + 1)
                                                                                 : NULL;
}

/* Lets go of the lane's locks but those of channels. */
static void let_go_of_leaves(struct lace_region *region, struct lace_lane *lane)
{
    for (int i = 0; i < LACE_LANE_LOCKS; i++) {
        bool ring;
        struct lace_lock *lock = lock_at(region, atomic_load(&lane->locks[i]), &ring);

        if (lock != NULL && owner_of(lock) == lane->tag) {
            if (ring)
                continue;
            atomic_store_explicit(&lock->word, 0, memory_order_release);
        }
        /* It may have been woken in order to take the lock, and died: all the others look again. */
        if (lock != NULL)
            lace_futex_wake(&lock->word, INT_MAX);
        atomic_store(&lane->locks[i], 0);
    }
}

void lace_bury_undo(struct lace_region *region, struct lace_seat *seat)
{
    LACE_ORDER(acquire); /* its locks are taken over */
    for (int i = 0; i < LACE_LANES; i++) {
        struct lace_lane *lane = &seat->lanes[i];
        uint64_t word = atomic_load_explicit(&lane->word, memory_order_acquire);
        uint32_t count = (uint32_t)word < LACE_LANE_LOG ? (uint32_t)word : LACE_LANE_LOG;

        while (count > 0)
            put_back(region, &lane->log[--count]);
        finish_claim(region, lane, word);
        atomic_store_explicit(&lane->word, 0, memory_order_release);
        let_go_of_leaves(region, lane);
    }
}

void lace_bury_channel(struct lace_region *region, struct lace_lock *lock, uint32_t owner)
{
    struct lace_wakes wakes = {.count = 0};
    uint64_t offset = lace_region_offset(region, lock);
    uint32_t seen = atomic_load_explicit(&lock->word, memory_order_acquire);
    struct lace_view view;
    bool ring;

    if (lock_at(region, offset, &ring) == NULL || !ring || lace_ring_view(region, offset - LOCK_AT, &view) != LACE_OK)
        return;
    do {
        if ((seen & ~LACE_LOCK_WAITERS) != owner)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&lock->word, &seen, lace_self() | LACE_LOCK_WAITERS,
                                                    memory_order_acquire, memory_order_acquire));
    lace_ring_expel(&view, LACE_LANE_SEAT(owner), &wakes);
    lace_ring_unlock(&view, &wakes);
}

/* ---- what it held ------------------------------------------------------------------------------------- */

/* Calls `visit` for each record. */
static void visit_records(struct lace_region *region, struct lace_seat *seat, uint32_t number,
                          void (*visit)(struct lace_region *region, struct lace_attached *held, uint32_t number))
{
    uint64_t next = seat->tables;

    for (uint32_t i = 0; i < seat->given && i < LACE_PLACE_GIFTS; i++)
        visit(region, &seat->gifts[i], number);
    visit(region, &seat->growing, number);
    while (next != 0) {
        struct lace_held_table *table = lace_region_at(region, next, sizeof *table, 64);

        if (table == NULL)
            return;
        next = table->next;
        for (size_t i = 0; i < LACE_HELD_RECORDS; i++)
            visit(region, &table->records[i], number);
    }
}

/* Nobody of the child waits at this channel any more. */
static void leave_channel(struct lace_region *region, struct lace_attached *held, uint32_t number)
{
    struct lace_wakes wakes = {.count = 0};
    uint32_t kind = lace_held_kind(held);
    struct lace_view view;

    if ((kind != LACE_ATTACH_SENDER && kind != LACE_ATTACH_RECEIVER && kind != LACE_HELD_REFERENCE) ||
        lace_ring_view(region, held->offset, &view) != LACE_OK)
        return;
    lace_ring_lock(&view);
    lace_ring_expel(&view, number, &wakes);
    lace_ring_unlock(&view, &wakes);
    lace_ring_discard(&view); /* it may have closed the last receiver while it copied what another one had received */
}

static void let_go(struct lace_region *region, struct lace_attached *held, uint32_t number)
{
    struct lace_doomed doomed = {.region = region};
    uint64_t offset = held->offset;

    (void)number;
    if (held->kind == LACE_HELD_MESSAGE) {
        struct lace_attached *attached = (struct lace_attached *)(region->base + offset);
        uint64_t room = lace_heap_size(region, offset);

        for (uint32_t i = 0; i < held->extra && (i + 1) * sizeof *attached <= room; i++) {
            if (attached[i].kind == LACE_HELD_CHUNK)
                lace_heap_free(region, attached[i].offset, NULL);
            else
                lace_attached_release(region, &attached[i], &doomed);
        }
        lace_heap_free(region, offset, NULL);
        atomic_fetch_add_explicit(&lace_region_front(region)->discarded, 1, memory_order_relaxed);
    } else if (held->kind == LACE_HELD_CHUNK) {
        lace_heap_free(region, offset, NULL);
    } else {
        lace_attached_release(region, held, &doomed);
    }
    held->kind = LACE_ATTACH_NONE;
    lace_doomed_drain(&doomed);
}

void lace_bury_rest(struct lace_region *region, struct lace_seat *seat, uint32_t number)
{
    for (int i = 0; i < LACE_LANES; i++) {
        for (int k = 0; k < LACE_LANE_LOCKS; k++) {
            bool ring;
            struct lace_lock *lock = lock_at(region, atomic_load(&seat->lanes[i].locks[k]), &ring);

            if (lock != NULL && ring)
                lace_bury_channel(region, lock, seat->lanes[i].tag);
        }
    }
    visit_records(region, seat, number, leave_channel);
    visit_records(region, seat, number, let_go);
    while (seat->tables != 0) {
        struct lace_held_table *table = lace_region_at(region, seat->tables, sizeof *table, 64);
        uint64_t offset = seat->tables;

        seat->tables = table != NULL ? table->next : 0;
        lace_heap_free(region, offset, NULL);
    }
    lace_orphans_drain(region);
    lace_heap_recount(region);
    /* It may have died before it rang. */
    for (uint32_t i = 0; i <= LACE_SEATS; i++) {
        if (i == 0 || lace_seat_find(region, i) != NULL)
            lace_bell_ring(region, i, LACE_BELL_LOOK);
    }
}
