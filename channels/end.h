/* end.h - a handle: one end of a channel as this process holds it. */
#ifndef LACE_END_H
#define LACE_END_H

#include "message.h"
#include "meter.h"
#include "trace.h"

struct lace_pipe;

/* Counted twice: `fast` under the channel's lock, with plain loads and stores, `slow` by those who waited, without
 * it. Both are read at any time. All relaxed: figures only. */
struct lace_count {
    _Atomic uint64_t fast;
    _Atomic uint64_t slow;
};

struct lace_end {
    struct lace_view view;
    struct lace_pipe *pipe; /* instead of a view, for a pipe channel */
    enum lace_side side;
    uint64_t id;        /* names this end to those who wait on it; unique in the region */
    atomic_bool keeps;  /* a receiver's: it may have received what is not confirmed; a hint, relaxed: see confirm.c */
    atomic_bool again;  /* likewise: something that its last call received had been received before; relaxed */
    atomic_bool closed; /* set under the channel's lock; read under it, or as a hint */
    struct lace_count messages;
    struct lace_count bytes;
    _Atomic uint64_t place; /* the slot it used last; relaxed: for prefetching only */
    _Atomic uint64_t waits;
    _Atomic uint64_t blocked;
    int event;     /* 0: none; else the descriptor that was given out + 1; under the channel's lock */
    uint64_t note; /* its lace_note */
    int bell;      /* a sender's: 0: none; else the eventfd of its posts + 1; of the thread that uses them: see post.c */
    struct lace_end *next_noted; /* in the region's list of ends with a note, under its `watch` */
    struct lace_end **noted_link;
    struct lace_attached *held;      /* a child's records, of the end and of the note; NULL in the host */
    struct lace_attached *note_held;
    char name[64];
};

struct lace_sender {
    struct lace_end end;
};

struct lace_receiver {
    struct lace_end end;
};

/* Locked: one message of `weight` bytes went through. */
static inline void lace_end_count(struct lace_end *end, uint64_t weight)
{
    atomic_store_explicit(&end->messages.fast, atomic_load_explicit(&end->messages.fast, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&end->bytes.fast, atomic_load_explicit(&end->bytes.fast, memory_order_relaxed) + weight,
                          memory_order_relaxed);
    if (lace_trace_on())
        lace_trace_passed(&end->view, end->side);
}

/* The same for a message that had been received before: the channel's counters do not tell its number. */
void lace_end_count_again(struct lace_end *end, const lace_message *message);

static inline void lace_end_count_received(struct lace_end *end, const lace_message *message)
{
    if (__builtin_expect(message->redelivered, 0))
        lace_end_count_again(end, message);
    else
        lace_end_count(end, message->weight);
}

/* The same without the lock. */
static inline void lace_end_count_slow(struct lace_end *end, uint64_t weight)
{
    atomic_fetch_add_explicit(&end->messages.slow, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&end->bytes.slow, weight, memory_order_relaxed);
}

/* What a wait on this end is for. */
static inline enum lace_purpose lace_end_purpose(const struct lace_end *end)
{
    if (end->pipe == NULL && end->view.ring->listed == 0)
        return LACE_FOR_OTHER;
    return end->side == LACE_SIDE_SENDER ? LACE_FOR_OUTPUT : LACE_FOR_INPUT;
}

/* A wait on this end was from `started` to `now`. */
static inline void lace_end_count_wait(struct lace_end *end, int64_t started, int64_t now)
{
    atomic_fetch_add_explicit(&end->waits, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&end->blocked, (uint64_t)(now - started), memory_order_relaxed);
}

/* This thread's call has waited since `started`, on this end (NULL: on none), for that purpose. */
void lace_end_waited(struct lace_end *end, enum lace_purpose purpose, int64_t started);

static inline bool lace_end_closed(const struct lace_end *end)
{
    return atomic_load_explicit(&end->closed, memory_order_relaxed);
}

/* Makes a handle of an end that is counted in the channel already, or will be, with its reference. NOMEM. */
lace_status lace_end_create(const struct lace_view *view, enum lace_side side, struct lace_end **ret_end);

/* memory.c: the calls on memory channels. */
lace_status lace_memory_send(struct lace_end *end, const lace_payload *payload, const lace_wait *wait);
lace_status lace_memory_send_many(struct lace_end *end, const lace_payload *payloads, size_t count,
                                  const lace_wait *wait, size_t *ret_sent);
lace_status lace_memory_recv(struct lace_end *end, lace_message *message, const lace_wait *wait);
lace_status lace_memory_recv_many(struct lace_end *end, lace_message *const *messages, size_t count,
                                  const lace_wait *wait, size_t *ret_received);
/* lace_memory_recv, with the message emptied and ready. */
lace_status lace_memory_recv_ready(struct lace_end *end, lace_message *message, const lace_wait *wait);

#endif
