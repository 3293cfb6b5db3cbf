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

/* Written by the one thread whose it is, read by any, also while that thread is stopped in the midst of writing, or was killed
 * there: so nobody waits for the other.
 *
 * `turns` counts what begins and ends; odd: a wait is going on. It says which of the rest is true: since and purpose while
 * it is odd, and the sums at ended[turns / 2 % 2]. What is written next is never what it says is true now: a beginning
 * writes since and purpose, an end the other sums. So a reader that finds `turns` as before when it has read the rest has
 * read what belongs together.
 *
 * `turns` is stored with release after what it tells of, and loaded with acquire before that is read. All else is stored
 * with release and loaded with acquire as well, though it tells of nothing: whoever has read what was written after some
 * turn then finds that turn, or a later one, and knows that he came too late. */
struct lace_meter {
    _Atomic uint64_t turns;
    _Atomic int64_t since; /* lace_clock() of when the wait began */
    _Atomic uint32_t purpose;
    _Atomic uint64_t ended[2][LACE_PURPOSES]; /* ns of waits that are over */
};

/* A meter at one instant. */
struct lace_reading {
    int64_t now;                    /* that instant, as lace_clock() has it */
    uint64_t waits;                 /* that are over */
    uint64_t waited[LACE_PURPOSES]; /* ns until then, those of the present wait among them */
    bool waiting;
};

/* The present thread's; NULL: nobody wants to know. Set by whoever made the thread. */
extern _Thread_local struct lace_meter *lace_meter;

static inline void lace_meter_begin(enum lace_purpose purpose, int64_t started)
{
    struct lace_meter *mine = lace_meter;

    if (mine == NULL)
        return;
    uint64_t turns = atomic_load_explicit(&mine->turns, memory_order_relaxed);
    atomic_store_explicit(&mine->since, started, memory_order_release);
    atomic_store_explicit(&mine->purpose, purpose, memory_order_release);
    atomic_store_explicit(&mine->turns, turns + 1, memory_order_release);
}

/* The wait that began at `started` ends now. */
static inline void lace_meter_end(enum lace_purpose purpose, int64_t started, int64_t now)
{
    struct lace_meter *mine = lace_meter;

    if (mine == NULL)
        return;
    uint64_t turns = atomic_load_explicit(&mine->turns, memory_order_relaxed);
    _Atomic uint64_t *last = mine->ended[turns / 2 % 2], *next = mine->ended[(turns + 1) / 2 % 2];
    for (int i = 0; i < LACE_PURPOSES; i++) {
        uint64_t ended = atomic_load_explicit(&last[i], memory_order_relaxed);
        if (i == (int)purpose)
            ended += (uint64_t)(now - started);
        atomic_store_explicit(&next[i], ended, memory_order_release);
    }
    atomic_store_explicit(&mine->turns, turns + 1, memory_order_release);
}

/* Of any thread's. A wait is known when `turns` says so, which is a little after the clock was read for its beginning or its
 * end: so what was waited may be less by so much in the later one of two readings. A meter may lie where another process
 * writes: then the figures may be any. */
void lace_meter_read(const struct lace_meter *meter, struct lace_reading *ret_reading);

/* Of a thread that is at none of its waits, or is gone, and as long as nobody reads it: when the present wait began; 0: there
 * is none. */
int64_t lace_meter_since(const struct lace_meter *meter);
/* Likewise: the present wait, if there is one, ends at `now`. */
void lace_meter_stop(struct lace_meter *meter, int64_t now);
/* Likewise, of both. */
void lace_meter_copy(struct lace_meter *to, const struct lace_meter *from);

/* The shares that a time has, as they are now, for somebody who was told of them before: `told` becomes what he is to be told
 * now. What has become less stays as it was told until it has caught up, and others grow by so much less: none becomes
 * less, and the sum is that of the shares, unless that has become less. */
void lace_shares_tell(uint64_t *told, const uint64_t *shares, size_t count);

#endif
