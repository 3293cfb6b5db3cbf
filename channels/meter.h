/* meter.h - what the waits of a thread took, in all. */
#ifndef LACE_METER_H
#define LACE_METER_H

#include "channel.h"

#include <stdatomic.h>

/* What a wait is for. */
enum lace_purpose {
    LACE_FOR_INPUT,  /* a message from a listed channel, or from a pipe */
    LACE_FOR_OUTPUT, /* room in one */
    LACE_FOR_OTHER,  /* a worker's end, a timer, a permit, a counter */
    LACE_PURPOSES,
};

/* Written by the one thread whose it is, read by any. Relaxed, but for `ended`: its release pairs with the acquire of
 * lace_meter_read, so that a wait is never found twice, as over and as going on. */
struct lace_meter {
    _Atomic int64_t since;    /* lace_clock() of when the present wait began; 0: there is none */
    _Atomic uint32_t purpose; /* of the present wait */
    _Atomic uint64_t waits[LACE_PURPOSES];
    _Atomic uint64_t ended[LACE_PURPOSES]; /* ns of waits that are over */
};

/* The present thread's; NULL: nobody wants to know. Set by whoever made the thread. */
extern _Thread_local struct lace_meter *lace_meter;

static inline void lace_meter_begin(enum lace_purpose purpose, int64_t started)
{
    struct lace_meter *mine = lace_meter;

    if (mine == NULL)
        return;
    atomic_store_explicit(&mine->purpose, purpose, memory_order_relaxed);
    atomic_store_explicit(&mine->since, started, memory_order_release);
}

/* The wait that began at `started` ends now. */
static inline void lace_meter_end(enum lace_purpose purpose, int64_t started, int64_t now)
{
    struct lace_meter *mine = lace_meter;

    if (mine == NULL)
        return;
    atomic_store_explicit(&mine->since, 0, memory_order_relaxed);
    atomic_store_explicit(&mine->waits[purpose],
                          atomic_load_explicit(&mine->waits[purpose], memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_store_explicit(&mine->ended[purpose],
                          atomic_load_explicit(&mine->ended[purpose], memory_order_relaxed) +
                              (uint64_t)(now - started),
                          memory_order_release);
}

/* The nanoseconds waited until `now`, the present wait among them. */
void lace_meter_read(const struct lace_meter *meter, int64_t now, uint64_t ret_waited[LACE_PURPOSES]);

#endif
