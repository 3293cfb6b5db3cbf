/* lane.c - a child's side of it: finding the thread's lane, keeping old values, naming locks. */
#include "lane.h"

#include "hooks.h"
#include "region.h"

#include <limits.h>
#include <string.h>

struct lace_region *lace_journal;

/* Which lanes have a thread; the first is for those that find none, for one section at a time. */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t shared_lane = PTHREAD_MUTEX_INITIALIZER; /* comes before all locks of the region */
static struct lace_lane *lanes;
static bool busy[LACE_LANES];
static pthread_key_t exit_key;

static _Thread_local struct lace_lane *own;     /* this thread's, if it has one */
static _Thread_local struct lace_lane *current; /* while in a section: that one, or the shared one */
static _Thread_local unsigned depth;

/* ---- lanes and threads -------------------------------------------------------------------------------- */

static void give_back(void *lane)
{
    pthread_mutex_lock(&pool_lock);
    if (lanes != NULL)
        busy[(struct lace_lane *)lane - lanes] = false;
    pthread_mutex_unlock(&pool_lock);
    own = NULL;
}

static void make_key(void)
{
    pthread_key_create(&exit_key, give_back);
}

static struct lace_lane *find(void)
{
    struct lace_lane *found = NULL;

    pthread_mutex_lock(&pool_lock);
    for (unsigned i = 1; i < LACE_LANES && found == NULL; i++) {
        if (!busy[i] && pthread_setspecific(exit_key, &lanes[i]) == 0) {
            busy[i] = true;
            found = &lanes[i];
        }
    }
    pthread_mutex_unlock(&pool_lock);
    return found;
}

void lace_lane_open(struct lace_region *region, struct lace_lane *all, uint32_t seat)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_key);
    memset(all, 0, LACE_LANES * sizeof *all);
    for (uint32_t i = 0; i < LACE_LANES; i++)
        all[i].tag = LACE_LANE_TAG | seat << 8 | i;
    lanes = all;
    lace_journal = region;
}

void lace_lane_close(struct lace_region *region)
{
    if (lace_journal != region)
        return;
    pthread_mutex_lock(&pool_lock);
    lace_journal = NULL;
    lanes = NULL;
    pthread_mutex_unlock(&pool_lock);
}

/* ---- sections ----------------------------------------------------------------------------------------- */

void lace_lane_enter(void)
{
    if (depth++ != 0)
        return;
    if (own == NULL)
        own = find();
    if (own == NULL)
        pthread_mutex_lock(&shared_lane);
    current = own != NULL ? own : &lanes[0];
}

void lace_lane_commit(void)
{
    LACE_STEP();
    /* The party that is claimed stays so. */
    uint64_t word = atomic_load_explicit(&current->word, memory_order_relaxed);
    atomic_store_explicit(&current->word, word & ~(uint64_t)UINT32_MAX, memory_order_release);
    LACE_STEP();
}

static void step_out(void)
{
    if (--depth != 0)
        return;
    bool shared = current != own;
    current = NULL;
    if (shared)
        pthread_mutex_unlock(&shared_lane);
}

void lace_lane_leave(void)
{
    lace_lane_commit();
    step_out();
}

static bool inside(const void *place, size_t size)
{
    const unsigned char *at = place;

    return at >= lace_journal->base && at <= lace_journal->base + lace_journal->size - size;
}

void lace_lane_keep(const void *place, size_t size)
{
    if (depth == 0 || !inside(place, size))
        return;
    uint64_t word = atomic_load_explicit(&current->word, memory_order_relaxed);
    uint32_t count = (uint32_t)word;

    LACE_STEP();
    if (count >= LACE_LANE_LOG || size > sizeof(uint64_t))
        __builtin_trap(); /* a section without an end: a mistake in this library */
    struct lace_kept *kept = &current->log[count];
    kept->was = 0;
    memcpy(&kept->was, place, size);
    kept->where = lace_region_offset(lace_journal, place) | (uint64_t)size << 56;
    /* Release: also to the compiler. The entry is whole before it counts. */
    atomic_store_explicit(&current->word, word + 1, memory_order_release);
    LACE_STEP();
}

/* ---- locks -------------------------------------------------------------------------------------------- */

bool lace_lane_lock(struct lace_lock *lock)
{
    uint32_t seen = 0;
    unsigned i = 0;

    if (!inside(lock, sizeof *lock))
        return false;
    lace_lane_enter();
    while (i < LACE_LANE_LOCKS && atomic_load_explicit(&current->locks[i], memory_order_relaxed) != 0)
        i++;
    if (i == LACE_LANE_LOCKS)
        __builtin_trap();
    LACE_STEP();
    atomic_store_explicit(&current->locks[i], lace_region_offset(lace_journal, lock), memory_order_release);
    LACE_STEP();
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &seen, current->tag, memory_order_acquire,
                                                 memory_order_relaxed))
        lace_lock_wait(lock, current->tag);
    LACE_ORDER(acquire);
    LACE_STEP();
    return true;
}

bool lace_lane_unlock(struct lace_lock *lock)
{
    unsigned i = 0;

    if (!inside(lock, sizeof *lock))
        return false;
    uint64_t offset = lace_region_offset(lace_journal, lock);
    while (i < LACE_LANE_LOCKS && atomic_load_explicit(&current->locks[i], memory_order_relaxed) != offset)
        i++;
    if (i == LACE_LANE_LOCKS)
        __builtin_trap();
    lace_lane_commit();
    LACE_ORDER(release);
    uint32_t was = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    LACE_STEP();
    if (was & LACE_LOCK_WAITERS)
        lace_futex_wake(&lock->word, 1);
    LACE_STEP();
    atomic_store_explicit(&current->locks[i], 0, memory_order_release);
    LACE_STEP();
    step_out();
    return true;
}

bool lace_lane_holds(struct lace_lock *lock)
{
    if (!inside(lock, sizeof *lock))
        return (atomic_load_explicit(&lock->word, memory_order_relaxed) & ~LACE_LOCK_WAITERS) == lace_self();
    return depth != 0 &&
           (atomic_load_explicit(&lock->word, memory_order_relaxed) & ~LACE_LOCK_WAITERS) == current->tag;
}

/* ---- parties ------------------------------------------------------------------------------------------ */

void lace_lane_claim(uint64_t party, uint32_t epoch)
{
    if (depth == 0)
        return;
    uint64_t word = atomic_load_explicit(&current->word, memory_order_relaxed) & UINT32_MAX;

    LACE_STEP();
    current->claimed = party;
    current->epoch = epoch;
    atomic_store_explicit(&current->word, word | LACE_LANE_CLAIMED, memory_order_release);
    LACE_STEP();
}

void lace_lane_told(void)
{
    if (depth == 0)
        return;
    LACE_STEP();
    /* In one store: what was kept is final, and the party is to be told. */
    atomic_store_explicit(&current->word, LACE_LANE_TOLD, memory_order_release);
    LACE_STEP();
}

void lace_lane_settled(void)
{
    if (depth == 0)
        return;
    LACE_STEP();
    atomic_store_explicit(&current->word, 0, memory_order_release);
    LACE_STEP();
}
