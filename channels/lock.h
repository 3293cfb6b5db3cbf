/* lock.h - a mutex of one word, for use in shared memory.
 *
 * The word is 0 when free, else the owner's thread id - of a child process, its lane's tag - with LACE_LOCK_WAITERS
 * set when a thread may sleep on it; so the locks of a child that died can be found. Each lock in a region, but for
 * those in its front, stands behind the magic number of its object. Not recursive, no order of arrival.
 *
 * Memory order: taking the lock is an acquire that pairs with the release of letting go of it. Nothing else in the
 * lock carries data.
 */
#ifndef LACE_LOCK_H
#define LACE_LOCK_H

#include "futex.h"
#include "lane.h"

#include <stdbool.h>

#define LACE_LOCK_WAITERS UINT32_C(0x80000000)

struct lace_lock {
    _Atomic uint32_t word;
};

extern _Thread_local uint32_t lace_thread_id __attribute__((tls_model("initial-exec"), visibility("hidden")));

uint32_t lace_lock_learn_thread(void);
void lace_lock_wait(struct lace_lock *lock, uint32_t self);

/* The calling thread's id, asked from the kernel once. */
static inline uint32_t lace_self(void)
{
    uint32_t self = lace_thread_id;

    return __builtin_expect(self != 0, 1) ? self : lace_lock_learn_thread();
}

/* ThreadSanitizer sees one process. Where a child stands between two threads - one let go of a lock, the child took it
 * and let go of another, which the second thread took - the order is there, and hidden from it. So once there are
 * children, these tell it that whoever takes a lock comes after all that have let go of any. */
#if defined(__SANITIZE_THREAD__)
extern _Atomic bool lace_order_hidden __attribute__((visibility("hidden")));
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define LACE_ORDER_HIDDEN() atomic_store_explicit(&lace_order_hidden, true, memory_order_relaxed)
#define LACE_ORDER(verb)                                                                                       \
    (atomic_load_explicit(&lace_order_hidden, memory_order_relaxed) ? __tsan_##verb(&lace_order_hidden) : (void)0)
#else
#define LACE_ORDER_HIDDEN() ((void)0)
#define LACE_ORDER(verb) ((void)0)
#endif

static inline void lace_lock_acquire(struct lace_lock *lock)
{
    if (LACE_JOURNALS() && lace_lane_lock(lock))
        return;

    uint32_t self = lace_self();
    uint32_t seen = 0;

    if (!atomic_compare_exchange_strong_explicit(&lock->word, &seen, self, memory_order_acquire,
                                                 memory_order_relaxed))
        lace_lock_wait(lock, self);
    LACE_ORDER(acquire);
}

static inline void lace_lock_release(struct lace_lock *lock)
{
    if (LACE_JOURNALS() && lace_lane_unlock(lock))
        return;

    LACE_ORDER(release);
    uint32_t was = atomic_exchange_explicit(&lock->word, 0, memory_order_release);

    /* The memory may be someone else's already; a wake too many does no harm. */
    if (__builtin_expect((was & LACE_LOCK_WAITERS) != 0, 0))
        lace_futex_wake(&lock->word, 1);
}

/* For asserts: whether the calling thread holds the lock. */
static inline bool lace_lock_held(struct lace_lock *lock)
{
    if (LACE_JOURNALS())
        return lace_lane_holds(lock);
    return (atomic_load_explicit(&lock->word, memory_order_relaxed) & ~LACE_LOCK_WAITERS) == lace_self();
}

/* Called by a thread of the host that has waited for a lock for a while that a child process holds: should that be
 * dead, the lock is let go of. Set once, with the first place; NULL: nobody has children. */
extern _Atomic(void (*)(struct lace_lock *lock, uint32_t owner)) lace_lock_rescue
    __attribute__((visibility("hidden")));

/* Whether spinning can pay at all: false where the process may run on one processor only. */
bool lace_many_processors(void);

#endif
