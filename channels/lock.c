/* lock.c - the slow path of lock.h, and what it must know about the machine. */
#define _GNU_SOURCE
#include "lock.h"

#include "channel.h"

#include <pthread.h>
#include <sched.h>

#define SPINS 64 /* sections are some tens of nanoseconds long; longer means that the owner does not run */

#define PATIENCE 20000000 /* nanoseconds: then it is asked whether the owner, a child process, is dead */

_Thread_local uint32_t lace_thread_id;
_Atomic(void (*)(struct lace_lock *, uint32_t)) lace_lock_rescue;
#if defined(__SANITIZE_THREAD__)
_Atomic bool lace_order_hidden;
#endif

static _Atomic int processors; /* 0: not asked yet, else 1 or 2 (more than one); any thread may store the answer */

static void forget_thread(void)
{
    lace_thread_id = 0;
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget_thread);
}

uint32_t lace_lock_learn_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, watch_forks);
    lace_thread_id = (uint32_t)syscall(SYS_gettid);
    return lace_thread_id;
}

bool lace_many_processors(void)
{
    int known = atomic_load_explicit(&processors, memory_order_relaxed);

    if (known == 0) {
        cpu_set_t set;

        /* A machine of more than 1024 processors fails this call, and has more than one. */
        known = sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) > 1 ? 2 : 1;
        atomic_store_explicit(&processors, known, memory_order_relaxed);
    }
    return known > 1;
}

/* Sleeps on the lock's word; but if a child process holds it, not for ever. */
static void wait_a_while(struct lace_lock *lock, uint32_t word)
{
    void (*rescue)(struct lace_lock *, uint32_t) = atomic_load_explicit(&lace_lock_rescue, memory_order_acquire);
    uint32_t owner = word & ~LACE_LOCK_WAITERS;

    if (rescue == NULL || !(owner & LACE_LANE_TAG))
        lace_futex_wait(&lock->word, word, 0);
    else if (lace_futex_wait(&lock->word, word, lace_clock() + PATIENCE) == ETIMEDOUT)
        rescue(lock, owner);
}

void lace_lock_wait(struct lace_lock *lock, uint32_t self)
{
    uint32_t seen;

    if (lace_many_processors()) {
        for (int i = 0; i < SPINS; i++) {
            seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
            if (seen & LACE_LOCK_WAITERS)
                break;
            if (seen == 0 && atomic_compare_exchange_weak_explicit(&lock->word, &seen, self, memory_order_acquire,
                                                                   memory_order_relaxed))
                return;
            lace_pause();
        }
    }
    seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
    for (;;) {
        if (seen == 0) {
            /* Others may sleep still: whoever has slept must assume so. */
            if (atomic_compare_exchange_weak_explicit(&lock->word, &seen, self | LACE_LOCK_WAITERS,
                                                      memory_order_acquire, memory_order_relaxed))
                return;
            continue;
        }
        if (!(seen & LACE_LOCK_WAITERS) &&
            !atomic_compare_exchange_weak_explicit(&lock->word, &seen, seen | LACE_LOCK_WAITERS,
                                                   memory_order_relaxed, memory_order_relaxed))
            continue;
        wait_a_while(lock, seen | LACE_LOCK_WAITERS);
        seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
    }
}
