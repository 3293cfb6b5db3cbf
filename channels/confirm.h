/* confirm.h - channels that redeliver: what has been received is kept until it is confirmed.
 *
 * A receive on such a channel moves the message, as it is, into a *receipt*, which stays with the channel, and gives the
 * receiver a copy: bytes of its own, one more count of each block and end in it. The receipt names the receiver's end and
 * process. Confirming lets go of it. What is not confirmed goes back, before all that is queued, in its order, when the
 * end is closed or its process is dead; so a message is always either queued, or in a receipt that goes back, or confirmed.
 *
 * The messages that came back count for the capacity, and may be more; those that are out do not count. Nothing goes from
 * hand to hand here: a send queues its message, and whoever waits is handed the oldest there is.
 *
 * Whoever receives brings an empty receipt along, in its `asking`, so that none is allocated under the channel's lock. A
 * receipt is pinned while its receiver copies it, so that another thread with the same end does not let go of it.
 */
#ifndef LACE_CONFIRM_H
#define LACE_CONFIRM_H

#include "end.h"

/* One call that receives. Its thread's alone. */
struct lace_asking {
    struct lace_region *region;
    uint64_t end;               /* id of the end that asks now */
    uint64_t spare;             /* the receipt brought along; 0: none, or it was used */
    struct lace_attached *held; /* a child's record of that */
    uint64_t got;               /* the receipt of what was received; 0: nothing was */
    uint64_t number;            /* of that message */
    bool copied;                /* the message has its copy already, and the receipt is not pinned */
    bool again;                 /* it had been received before */
};

/* Gets ready to receive on channels of the region: NOMEM. May be repeated, for one receive after the other. */
lace_status lace_asking_begin(struct lace_asking *asking, struct lace_region *region);
void lace_asking_finish(struct lace_asking *asking);

/* Locked: lace_ring_recv for these channels. The message's `asking` is not NULL. */
lace_status lace_receipt_recv(const struct lace_view *view, lace_message *message, struct lace_party *self,
                              struct lace_wakes *wakes);

/* The message came by a claim of the caller's party, whose slot this is. CORRUPT. */
lace_status lace_receipt_handed(lace_message *message, const struct lace_slot *slot);

/* After a receive, with no lock held: makes the message's copy. On failure the message is back in the channel. NOMEM,
 * CORRUPT. */
lace_status lace_receipt_collect(struct lace_end *end, lace_message *message);

/* lace_memory_recv for these channels, with the message emptied and ready; and lace_memory_recv_many. */
lace_status lace_receipt_ask(struct lace_end *end, lace_message *message, const lace_wait *wait);
lace_status lace_receipt_ask_many(struct lace_end *end, lace_message *const *messages, size_t count,
                                  const lace_wait *wait, size_t *ret_received);

/* What this end has received is confirmed. NOMEM: in a child, and some of it is not. */
lace_status lace_receipt_confirm(struct lace_end *end);
/* It is asked for the next: the same. */
lace_status lace_receipt_asked(struct lace_end *end);

/* The end has just been closed: what it has received and not confirmed comes back. */
void lace_receipt_return(struct lace_end *end);

#endif
