/* ring.h - a memory channel: its state in the region, and what happens to it under its lock.
 *
 * Functions here that say "locked" want the channel's lock held. None of them blocks, allocates or makes a system
 * call, but for eventfds where somebody asked for a channel's descriptor.
 *
 * Invariants, whenever the lock is free:
 *   - tail - head <= capacity, and the messages [head, tail) are whole;
 *   - a message is queued, or came back: no OPEN party is in `receiving`, and every selector's bit is set there;
 *   - an OPEN party is in `sending`: its message does not fit (always so on a rendezvous), or it queues behind one
 * that
 *     does not; there is no OPEN party in `receiving`; every selector's bit is set there;
 *   - the channel has ended: the same for the bits of `receiving` and `ending`.
 */
#ifndef LACE_RING_H
#define LACE_RING_H

#include "party.h"

#include <stdatomic.h>

/* A list of nodes in order of arrival. */
struct lace_list {
    uint64_t first;
    uint64_t last;
    _Atomic uint32_t count; /* read without the lock for lace_sender_length */
    uint32_t unused;
};

/* An eventfd that one end gave out. Guarded by the channel's lock. */
struct lace_note {
    uint64_t next;
    uint64_t end;   /* id */
    int32_t event;  /* a descriptor of the process of that seat */
    uint32_t seat;  /* that process; constant */
    uint8_t sender; /* for sending, else for receiving */
    uint8_t set;    /* whether it is readable now */
    uint8_t closed; /* its end is closed: stays readable */
    _Atomic uint8_t rung; /* its process's bell was rung, to bring it up to date; read without the lock as a hint */
    uint8_t unused[4];
};

/* A channel. All of it is guarded by `lock`, but for the constants. */
struct lace_ring {
    uint32_t magic;
    struct lace_lock lock;
    /* The counters only grow. Written under the lock, and peeked at without: a release pairs with the acquire of
     * lace_ring_peek_recv. */
    _Atomic uint64_t head;
    _Atomic uint64_t tail;
    uint64_t bytes; /* weight of what is queued */
    _Atomic uint64_t handed;  /* messages that went from hand to hand, not through the queue; written as the counters */
    _Atomic uint64_t carried; /* weight of all that was sent; likewise, relaxed */
    uint64_t notes; /* the first lace_note */
    _Atomic uint32_t senders;   /* open ends and ends in flight; peeked at like the counters */
    _Atomic uint32_t receivers;
    uint32_t references; /* handles, ends in flight, drains: the memory goes with the last */
    uint32_t mark;       /* see look.h; constant once others know the channel */
    uint32_t reader;     /* of a counter: the child process that has its message now, or 0 */
    uint32_t listed; /* its number in the host's list, 0: in none; set before others know the channel, then constant */
    struct lace_list receiving;
    struct lace_list sending;
    struct lace_list ending; /* waits for the end only */
    uint64_t doomed; /* next in a list of channels to drain, of the thread that took the last receiver away */
    uint64_t capacity; /* constant */
    uint64_t max_bytes; /* constant; 0: none */
    uint64_t out;        /* of a channel that redelivers: receipts of what is not confirmed, the oldest first; see confirm.h */
    uint64_t out_last;
    uint64_t back;       /* and of what came back, in order */
    _Atomic uint32_t out_count; /* peeked at like the counters */
    _Atomic uint32_t back_count;
    uint32_t redelivers; /* constant */
    uint32_t overwrites; /* constant: the oldest message makes room for the newest */
    uint32_t counts; /* constant: it is a counter's: see counter.h, also for the next two, which have no lock */
    _Atomic int64_t number;
    _Atomic int64_t awaited;
    char name[64]; /* constant */
};

#define LACE_RING_MAGIC UINT32_C(0x4c524e47)
#define LACE_RING_SLOTS 512 /* where the slots begin */
_Static_assert(sizeof(struct lace_ring) <= LACE_RING_SLOTS, "the slots lie behind the header");

/* A channel as this process sees it: what is trusted of it. */
struct lace_view {
    struct lace_region *region;
    struct lace_ring *ring;
    struct lace_slot *slots;
    uint64_t offset;
    uint64_t mask; /* slots - 1: their number is a power of two */
    uint64_t capacity;
    uint64_t max_bytes;
    bool overwrites;
    bool counts;
    bool redelivers;
};

enum lace_side { LACE_SIDE_SENDER, LACE_SIDE_RECEIVER };

struct lace_outgoing;

/* Makes a channel with no ends and one reference. `held`: a child's record, of its memory. */
lace_status lace_ring_create(struct lace_region *region, const lace_channel_options *options,
                             struct lace_attached *held, struct lace_view *ret_view);

/* Checks what lies at `offset` and makes a view of it. CORRUPT. */
lace_status lace_ring_view(struct lace_region *region, uint64_t offset, struct lace_view *ret_view);

/* One more end and reference, which are in `held` then. Locked, where `count` is above zero already or nobody else
 * knows the channel. */
void lace_ring_add_end(const struct lace_view *view, enum lace_side side, struct lace_attached *held);

/* Locked: sends or receives without waiting. `self` is the caller's party when it is registered somewhere already,
 * and is claimed along; else NULL. OK, LACE_AGAIN, LACE_TAKEN, CORRUPT; BROKEN, END. The caller has checked its own
 * end. */
lace_status lace_ring_send(const struct lace_view *view, const struct lace_outgoing *outgoing,
                           struct lace_party *self, struct lace_wakes *wakes);
lace_status lace_ring_recv(const struct lace_view *view, lace_message *message, struct lace_party *self,
                           struct lace_wakes *wakes);
/* Locked: lace_ring_send on a channel that overwrites: what had to make room is in `displaced`, an empty container that the
 * caller clears when the lock is free. Never AGAIN. */
lace_status lace_ring_replace(const struct lace_view *view, const struct lace_outgoing *outgoing,
                              struct lace_party *self, lace_message *displaced, struct lace_wakes *wakes);

/* Unlocked hints: whether a receive (a send) could be worth the lock. */
bool lace_ring_peek_recv(const struct lace_view *view);
bool lace_ring_peek_send(const struct lace_view *view);

/* Locked: puts a node at the list's end, or takes it out if it is in. Taking a sender's out may let others in. */
void lace_ring_enqueue(const struct lace_view *view, struct lace_list *list, struct lace_node *node);
void lace_ring_unlink(const struct lace_view *view, struct lace_list *list, struct lace_node *node,
                      struct lace_wakes *wakes);

/* Locked: tells those in the list who wait on the end `end` (0: on whichever) the status. */
void lace_ring_tell(const struct lace_view *view, struct lace_list *list, uint64_t end, lace_status status,
                    struct lace_wakes *wakes);

/* Channels whose last receiver went and whose messages wait to be discarded; each holds a reference. */
struct lace_doomed {
    struct lace_region *region;
    uint64_t first;
};

/* Takes one end off its side's count, and tells those whom it concerns; dooms the channel with its last receiver. For
 * a handle, `closed` is its flag, which is set - nothing happens when it was set before - and `end` its id. `held` is a
 * REFERENCE then. Locks. */
void lace_ring_drop_end(const struct lace_view *view, enum lace_side side, uint64_t end, atomic_bool *closed,
                        struct lace_doomed *doomed, struct lace_attached *held);

/* The first part of that: sets the flag and tells those who wait on the end; false when it was set before. */
bool lace_ring_shut_end(const struct lace_view *view, enum lace_side side, uint64_t end, atomic_bool *closed);

/* Drops one reference, the one in `held`; the last one frees the memory. Locks. */
void lace_ring_unref(const struct lace_view *view, struct lace_attached *held);

/* Locked: makes the invariants hold where a dead child has left off in mid-operation: tells whoever should have been
 * told, lets in whoever fits. */
void lace_ring_settle(const struct lace_view *view, struct lace_wakes *wakes);

/* Locked: takes out the nodes and notes of a dead child. */
void lace_ring_expel(const struct lace_view *view, uint32_t seat, struct lace_wakes *wakes);

/* In the host: drains what children have left to it. */
void lace_orphans_drain(struct lace_region *region);

/* Discards the messages of a channel that has no receivers (no other), where one came back after the last receiver had gone. In
 * the host, with a reference to it; no lock may be held. */
void lace_ring_discard(const struct lace_view *view);

/* Discards the messages of the doomed channels, and of those that this dooms. No lock may be held. */
void lace_doomed_drain(struct lace_doomed *doomed);

/* Locks and unlocks the channel; unlocking brings descriptors up to date and then wakes. */
static inline void lace_ring_lock(const struct lace_view *view)
{
    lace_lock_acquire(&view->ring->lock);
}

void lace_ring_notify(const struct lace_view *view);

static inline void lace_ring_unlock(const struct lace_view *view, struct lace_wakes *wakes)
{
    if (__builtin_expect(view->ring->notes != 0, 0))
        lace_ring_notify(view);
    lace_lock_release(&view->ring->lock);
    if (__builtin_expect(wakes->count != 0, 0))
        lace_wakes_flush(wakes);
}

#endif
