/* cancel.h - who is to be woken when a token fires or a pipe's end is closed: lists of waiting parties.
 *
 * Process-local. A waiter is registered just before its party sleeps and taken out just after; while it is in a list,
 * its party may be claimed under the list's lock.
 */
#ifndef LACE_CANCEL_H
#define LACE_CANCEL_H

#include "party.h"

struct lace_waiter {
    struct lace_party *party;
    struct lace_waiter *next;
    struct lace_waiter *previous;
    bool listed;
};

/* `lock` guards the list and the waiters in it. It comes before party locks; no channel lock is taken under it. */
struct lace_waiters {
    struct lace_lock lock;
    struct lace_waiter *first;
    struct lace_waiter *last;
};

/* Both with the lock held. The party is OPEN. Removing what is in no list does nothing. */
void lace_waiters_add(struct lace_waiters *waiters, struct lace_waiter *waiter, struct lace_party *party);
void lace_waiters_remove(struct lace_waiters *waiters, struct lace_waiter *waiter);
/* Claims, in order of arrival, `most` of the waiters that are still open and tells them `status`. Returns how many it
 * were. With the lock held. */
unsigned lace_waiters_claim(struct lace_waiters *waiters, unsigned most, lace_status status,
                            struct lace_wakes *wakes);

/* Registers a party that is OPEN; false when the token has fired already, and nothing is registered then. A NULL
 * token never fires. */
bool lace_cancel_enter(lace_cancel *cancel, struct lace_waiter *waiter, struct lace_party *party);
void lace_cancel_leave(lace_cancel *cancel, struct lace_waiter *waiter);

static inline bool lace_wait_cancelled(const lace_wait *wait)
{
    return wait != NULL && wait->cancel != NULL && lace_cancel_fired(wait->cancel);
}

static inline lace_cancel *lace_wait_token(const lace_wait *wait)
{
    return wait != NULL ? wait->cancel : NULL;
}

static inline int64_t lace_wait_deadline(const lace_wait *wait)
{
    return wait != NULL ? wait->deadline : LACE_NEVER;
}

/* Whether the deadline is LACE_NOW or has passed. */
static inline bool lace_deadline_passed(int64_t deadline)
{
    return deadline < 0 || (deadline > 0 && lace_clock() >= deadline);
}

/* What calls do that have no park and unpark of their own; NULL: nothing. Set by the host, once, to drop and take an
 * interpreter's lock that the calling thread happens to hold. Relaxed: the functions cope with being called without
 * each other. */
extern _Atomic(void (*)(void)) lace_usual_park __attribute__((visibility("hidden")));
extern _Atomic(void (*)(void)) lace_usual_unpark __attribute__((visibility("hidden")));

static inline void lace_call_usual(_Atomic(void (*)(void)) *place)
{
    void (*usual)(void) = atomic_load_explicit(place, memory_order_relaxed);

    if (usual != NULL)
        usual();
}

static inline void lace_wait_park(const lace_wait *wait)
{
    if (wait != NULL && wait->park != NULL)
        wait->park(wait->context);
    else
        lace_call_usual(&lace_usual_park);
}

static inline void lace_wait_unpark(const lace_wait *wait)
{
    if (wait != NULL && wait->unpark != NULL)
        wait->unpark(wait->context);
    else if (wait == NULL || wait->park == NULL)
        lace_call_usual(&lace_usual_unpark);
}

#endif
