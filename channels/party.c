/* party.c - claiming, telling, sleeping, and each thread's cache of parties. */
#define _GNU_SOURCE
#include "party.h"

#include "bell.h"
#include "bits.h"
#include "heap.h"
#include "hooks.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

/* ---- claims ------------------------------------------------------------------------------------------- */

/* Closes an open party whose lock is held. */
static bool close_locked(const struct lace_region *region, struct lace_party *party)
{
    if (atomic_load_explicit(&party->state, memory_order_relaxed) != LACE_PARTY_OPEN)
        return false;
    /* Should this process die before the party is told, it is told to look again. */
    if (LACE_JOURNALS() && region != NULL && party->seat != region->seat)
        lace_lane_claim(lace_region_offset(region, party),
                        atomic_load_explicit(&party->signal, memory_order_relaxed) | 3u);
    atomic_store_explicit(&party->state, LACE_PARTY_CLOSED, memory_order_relaxed);
    return true;
}

bool lace_party_claim(const struct lace_region *region, struct lace_party *party)
{
    lace_lock_acquire(&party->lock);
    bool won = close_locked(region, party);
    lace_lock_release(&party->lock);
    return won;
}

bool lace_party_withdraw(struct lace_party *party)
{
    lace_lock_acquire(&party->lock);
    uint32_t state = atomic_load_explicit(&party->state, memory_order_relaxed);
    if (state == LACE_PARTY_OPEN)
        atomic_store_explicit(&party->state, LACE_PARTY_WITHDRAWN, memory_order_relaxed);
    lace_lock_release(&party->lock);
    return state != LACE_PARTY_CLOSED;
}

bool lace_party_claimed(struct lace_party *party)
{
    lace_lock_acquire(&party->lock);
    bool claimed = atomic_load_explicit(&party->state, memory_order_relaxed) == LACE_PARTY_CLOSED;
    lace_lock_release(&party->lock);
    return claimed;
}

bool lace_party_claim_or_mark(struct lace_region *region, struct lace_party *party, uint32_t index, bool always)
{
    lace_lock_acquire(&party->lock);
    bool won = close_locked(region, party);
    if (!won || always)
        lace_bits_set(region, party, index);
    lace_lock_release(&party->lock);
    return won;
}

lace_status lace_party_claim_pair(struct lace_region *region, struct lace_party *mine, struct lace_party *other,
                                  uint32_t index, bool persistent)
{
    struct lace_party *first = mine < other ? mine : other;
    struct lace_party *second = mine < other ? other : mine;
    lace_status status = LACE_OK;

    lace_lock_acquire(&first->lock);
    lace_lock_acquire(&second->lock);
    if (atomic_load_explicit(&mine->state, memory_order_relaxed) != LACE_PARTY_OPEN) {
        status = LACE_TAKEN;
    } else if (!close_locked(region, other)) {
        status = LACE_AGAIN;
        if (persistent)
            lace_bits_set(region, other, index);
    } else {
        atomic_store_explicit(&mine->state, LACE_PARTY_WITHDRAWN, memory_order_relaxed);
    }
    lace_lock_release(&second->lock);
    lace_lock_release(&first->lock);
    return status;
}

void lace_party_finish(const struct lace_region *region, struct lace_party *party, uint32_t index,
                       lace_status status, struct lace_wakes *wakes)
{
    uint32_t seat = party->seat;
    bool foreign = region != NULL && __builtin_expect(seat != region->seat, 0);
    bool polls = false;

    LACE_YIELD(LACE_POINT_CLAIM);
    party->index = index;
    party->status = (uint32_t)status;
    if (foreign) {
        polls = party->event >= 0;
    } else if (party->event >= 0) {
        /* Before DONE: until then the owner cannot close the descriptor. */
        int saved = errno;
        (void)eventfd_write(party->event, 1);
        errno = saved;
    }
    /* Release: publishes the result; pairs with the acquire loads of signal in this file. Acquire: none needed. */
    bool kept = LACE_JOURNALS() && foreign;
    if (kept)
        lace_lane_told();
    uint32_t epoch = atomic_load_explicit(&party->signal, memory_order_relaxed) & ~3u;
    uint32_t was = atomic_exchange_explicit(&party->signal, epoch | LACE_SIGNAL_DONE, memory_order_release);
    if (kept && LACE_SIGNAL_STATE(was) == LACE_SIGNAL_ASLEEP) {
        LACE_STEP();
        lace_futex_wake(&party->signal, 1); /* now: what is put off may never be done */
    } else if (LACE_SIGNAL_STATE(was) == LACE_SIGNAL_ASLEEP) {
        if (wakes->count == LACE_WAKES)
            lace_wakes_flush(wakes);
        wakes->words[wakes->count++] = &party->signal;
    }
    if (__builtin_expect(polls, 0))
        lace_bell_ring(region, seat, LACE_BELL_LOOK);
    if (kept)
        lace_lane_settled();
}

void lace_party_renew(struct lace_party *party)
{
    uint32_t signal = atomic_load_explicit(&party->signal, memory_order_relaxed);

    atomic_store_explicit(&party->signal, LACE_SIGNAL_NEXT(signal), memory_order_relaxed);
}

void lace_party_open(struct lace_party *party)
{
    /* No lock: nobody else can reach it. The channel's lock, under which it is registered, publishes it. */
    lace_party_renew(party);
    party->index = LACE_NO_CASE;
    atomic_store_explicit(&party->state, LACE_PARTY_OPEN, memory_order_relaxed);
}

/* ---- spinning and sleeping ---------------------------------------------------------------------------- */

#define SPIN_MOST 30000 /* nanoseconds; about what a sleep and a wake cost */
#define SPIN_LEAST 1000
#define SPIN_BRIEF 2000 /* at most, of a caller that holds a GIL */
#define SPIN_PROBE 32   /* one spin in so many is long again, to notice better times */

/* How long this thread spins: longer while it pays, halved each time that it did not. */
static _Thread_local int64_t spin_span = 10000;
static _Thread_local unsigned spin_fails;

void lace_spin_begin(struct lace_spin *spin)
{
    int64_t span = spin_span;

    if (!lace_many_processors())
        span = 0;
    else if (span <= SPIN_LEAST && spin_fails % SPIN_PROBE == SPIN_PROBE - 1)
        span = SPIN_MOST / 2;
    spin->started = lace_clock();
    spin->limit = spin->started + span;
    spin->turns = 3;
}

void lace_spin_begin_brief(struct lace_spin *spin)
{
    spin->turns = 3;
    spin->started = lace_clock();
    spin->limit = spin->started + (lace_many_processors() && spin_span > SPIN_LEAST ? SPIN_BRIEF : 0);
}

bool lace_spin(struct lace_spin *spin)
{
    /* A glance costs little against reading the clock, and a pause up to 140 cycles. */
    lace_pause();
    return spin->turns++ % 4 != 3 || lace_clock() < spin->limit;
}

void lace_spin_end(struct lace_spin *spin, bool paid)
{
    if (paid) {
        int64_t span = 3 * (lace_clock() - spin->started) + SPIN_LEAST;

        if (span > spin_span)
            spin_span = span < SPIN_MOST ? span : SPIN_MOST;
        spin_fails = 0;
    } else {
        spin_span = spin_span / 2 > SPIN_LEAST ? spin_span / 2 : SPIN_LEAST;
        spin_fails++;
    }
}

bool lace_party_done(struct lace_party *party)
{
    /* Pairs with the release in lace_party_finish. */
    bool done = LACE_SIGNAL_STATE(atomic_load_explicit(&party->signal, memory_order_acquire)) == LACE_SIGNAL_DONE;

    if (done)
        LACE_ORDER(acquire);
    return done;
}

bool lace_party_wait(struct lace_party *party, int64_t deadline, bool spin)
{
    if (lace_party_done(party))
        return true;
    if (spin) {
        struct lace_spin turn;
        bool done = false;

        lace_spin_begin(&turn);
        while (lace_spin(&turn)) {
            done = lace_party_done(party);
            if (done)
                break;
        }
        lace_spin_end(&turn, done);
        if (done)
            return true;
    }
    LACE_YIELD(LACE_POINT_SLEEP);

    uint32_t epoch = atomic_load_explicit(&party->signal, memory_order_acquire) & ~3u;
    uint32_t seen = epoch | LACE_SIGNAL_RUNNING;
    if (!atomic_compare_exchange_strong_explicit(&party->signal, &seen, epoch | LACE_SIGNAL_ASLEEP,
                                                 memory_order_acquire, memory_order_acquire) &&
        LACE_SIGNAL_STATE(seen) == LACE_SIGNAL_DONE)
        return true;
    for (;;) {
        int error = lace_futex_wait(&party->signal, epoch | LACE_SIGNAL_ASLEEP, deadline);

        if (lace_party_done(party))
            return true;
        if (error == ETIMEDOUT)
            return false;
    }
}

void lace_party_begin(const struct lace_region *region, struct lace_party *party)
{
    memset(party, 0, offsetof(struct lace_party, slot));
    party->magic = LACE_PARTY_MAGIC;
    party->event = -1;
    party->seat = region->seat;
    /* Not where the last party in this memory began. */
    atomic_init(&party->signal, (uint32_t)lace_clock() & ~3u);
}

/* ---- the cache ---------------------------------------------------------------------------------------- */

#define CACHED 2

/* One thread's parties that are not in use, by region. Touched by this thread only; a region that has gone meanwhile
 * is told by its generation. */
struct cache {
    bool watched; /* whether the thread's exit will call give_back */
    unsigned turn;
    struct {
        struct lace_region *region;
        uint64_t generation;
        uint64_t party; /* 0: none */
    } entries[CACHED];
};

static _Thread_local struct cache cache;
static pthread_key_t cache_key;
static bool cache_key_made;

static void free_party(struct lace_region *region, void *context)
{
    uint64_t offset = *(uint64_t *)context;
    struct lace_party *party = (struct lace_party *)(region->base + offset);
    struct lace_attached *held = lace_held_at(region, party->held);

    party->magic = 0;
    lace_heap_free(region, offset, held);
    lace_held_put(region, held);
}

static void give_back(void *context)
{
    struct cache *mine = context;

    for (int i = 0; i < CACHED; i++) {
        if (mine->entries[i].party != 0)
            lace_region_visit(mine->entries[i].region, mine->entries[i].generation, free_party,
                              &mine->entries[i].party);
        mine->entries[i].party = 0;
    }
    mine->watched = false;
}

static void make_key(void)
{
    cache_key_made = pthread_key_create(&cache_key, give_back) == 0;
}

/* Arranges for give_back at the thread's exit; false: nothing may be kept in the cache. */
static bool watch_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (!cache.watched) {
        pthread_once(&once, make_key);
        cache.watched = cache_key_made && pthread_setspecific(cache_key, &cache) == 0;
    }
    return cache.watched;
}

struct lace_party *lace_party_get(struct lace_region *region)
{
    for (int i = 0; i < CACHED; i++) {
        if (cache.entries[i].party != 0 && cache.entries[i].region == region &&
            cache.entries[i].generation == region->generation) {
            struct lace_party *party = (struct lace_party *)(region->base + cache.entries[i].party);

            cache.entries[i].party = 0;
            return party;
        }
    }

    struct lace_attached *held;
    if (!lace_held_get(region, &held))
        return NULL;
    uint64_t offset = lace_heap_allocate(region, sizeof(struct lace_party), held);
    struct lace_party *party = lace_region_at(region, offset, sizeof *party, 64);
    if (party == NULL) {
        lace_held_put(region, held);
        return NULL;
    }
    lace_party_begin(region, party);
    party->held = lace_held_offset(region, held);
    party->node.party = offset;
    party->node.seat = (uint16_t)region->seat;
    party->node.slot = offset + offsetof(struct lace_party, slot);
    return party;
}

void lace_party_put(struct lace_region *region, struct lace_party *party)
{
    uint64_t offset = lace_region_offset(region, party);

    if (!watch_thread()) {
        free_party(region, &offset);
        return;
    }

    int place = -1;
    for (int i = 0; i < CACHED && place < 0; i++) {
        if (cache.entries[i].party == 0)
            place = i;
    }
    if (place < 0) {
        place = (int)(cache.turn++ % CACHED);
        lace_region_visit(cache.entries[place].region, cache.entries[place].generation, free_party,
                          &cache.entries[place].party);
    }
    cache.entries[place].region = region;
    cache.entries[place].generation = region->generation;
    cache.entries[place].party = offset;
}
