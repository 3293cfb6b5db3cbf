/* trace.h - what each thread did, event by event, in memory of its own.
 *
 * Off until lace_trace_begin(). Each thread has a track, made at its first event: a ring of which the latest events are
 * kept. A track is written by its thread alone and read when that thread has ended, or has waited for the reader. */
#ifndef LACE_TRACE_H
#define LACE_TRACE_H

#include "ring.h"

enum lace_event_kind {
    LACE_EVENT_SENT = 1, /* channel, sequence, span: how many waited in the channel then */
    LACE_EVENT_RECEIVED, /* likewise */
    LACE_EVENT_WAITED,   /* channel (0: several, or none), span in ns, what: enum lace_purpose */
};

struct lace_event {
    int64_t time; /* lace_clock(); of a wait, when it began */
    uint64_t span;
    uint64_t sequence; /* of the message in its channel */
    uint32_t channel;  /* as listed by the host; see struct lace_ring */
    uint16_t kind;
    uint16_t what;
};
_Static_assert(sizeof(struct lace_event) == 32, "read as such by the host");

struct lace_event_ring {
    _Atomic uint64_t count; /* events ever; stored with release after each one */
    uint64_t unused[7];
    struct lace_event events[];
};

struct lace_track {
    struct lace_track *next; /* constant once it is listed */
    uint64_t owner;          /* of whoever set lace_track_owner; 0: nobody */
    char name[64];           /* the thread's */
    uint64_t room;           /* events in the ring: a power of two */
    struct lace_event_ring *ring;
    lace_block *block; /* in which the ring lies, of a thread in another process; NULL: it is memory of our own */
};

/* Read relaxed with every message: it is set before the threads that it is for are started. */
extern atomic_bool lace_tracing;
/* Whose events the present thread's are. */
extern _Thread_local uint64_t lace_track_owner;

/* From now on; `room` events of each thread are kept, a power of two. */
void lace_trace_begin(uint64_t room);
/* Makes memory for the ring of a thread in another process, as large as others'. Gives *ret_block; the bytes of other
 * processes in it are not looked at before all have ended. NOMEM. */
lace_status lace_trace_lend(lace_region *region, lace_block **ret_block);
/* Lists a track of that ring; takes the block. */
void lace_trace_list(lace_block *block, uint64_t owner, const char *name);
/* In the other process: tracing begins, and the present thread has its ring there. Borrows the block, for good. */
void lace_trace_borrow(lace_block *block);
/* No more of it, and all tracks are freed. No thread is at one. */
void lace_trace_end(void);
/* The first of the tracks, borrowed. */
const struct lace_track *lace_trace_tracks(void);

void lace_trace_add(const struct lace_event *event);

static inline bool lace_trace_on(void)
{
    return __builtin_expect(atomic_load_explicit(&lace_tracing, memory_order_relaxed), 0);
}

/* Locked: the caller has just sent or received the channel's latest message. */
void lace_trace_passed(const struct lace_view *view, enum lace_side side);
/* The caller, who waited since `time`, was handed a message or had its own taken, with that number. */
void lace_trace_handed(const struct lace_view *view, enum lace_side side, uint64_t sequence, int64_t time);

#endif
