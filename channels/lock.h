/* lock.h - a mutex of one word, for use in shared memory.
 *
 * The word is 0 when free, else the owner's thread id, with LACE_LOCK_WAITERS set when a thread may sleep on it; so
 * the locks of a thread that died can be found. Not recursive, no order of arrival.
 *
 * Memory order: taking the lock is an acquire that pairs with the release of letting go of it. Nothing else in the
 * lock carries data.
 */
#ifndef LACE_LOCK_H
#define LACE_LOCK_H

#include "futex.h"

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

static inline void lace_lock_acquire(struct lace_lock *lock)
{
    uint32_t self = lace_self();
    uint32_t seen = 0;

    if (!atomic_compare_exchange_strong_explicit(&lock->word, &seen, self, memory_order_acquire,
                                                 memory_order_relaxed))
        lace_lock_wait(lock, self);
}

static inline void lace_lock_release(struct lace_lock *lock)
{
    uint32_t was = atomic_exchange_explicit(&lock->word, 0, memory_order_release);

    /* The memory may be someone else's already; a wake too many does no harm. */
    if (__builtin_expect((was & LACE_LOCK_WAITERS) != 0, 0))
        lace_futex_wake(&lock->word, 1);
}

/* For asserts: whether the calling thread holds the lock. */
static inline bool lace_lock_held(struct lace_lock *lock)
{
    return (atomic_load_explicit(&lock->word, memory_order_relaxed) & ~LACE_LOCK_WAITERS) == lace_self();
}

/* Whether spinning can pay at all: false where the process may run on one processor only. */
bool lace_many_processors(void);

#endif
