/* receipt.h - the receipts of a channel that redelivers; see confirm.h. All of it wants the channel's lock held. */
#ifndef LACE_RECEIPT_H
#define LACE_RECEIPT_H

#include "ring.h"
#include "slot.h"

#define LACE_RECEIPT_MAGIC UINT32_C(0x4c524350)

/* In the region. Its memory is a record of who made it ready until it is in one of its channel's two lists, and then the
 * channel's. Guarded by the lock of the channel; the slot is constant while the receipt is in a list. */
struct lace_receipt {
    uint32_t magic; /* constant */
    uint32_t seat;  /* its receiver's process */
    uint64_t next;
    uint64_t end;    /* id of its receiver; 0: it came back */
    uint64_t number; /* of the message in the channel's order */
    uint32_t times;  /* it has been received */
    uint32_t pinned; /* it is being copied */
    struct lace_slot slot;
};

/* What lies at an offset of the region; NULL for nonsense. */
struct lace_receipt *lace_receipt_at(const struct lace_region *region, uint64_t offset);

/* Whether there is a message to be received. */
bool lace_receipt_any(const struct lace_view *view);

/* Takes the oldest message, of those that came back or else from the queue, for an end: the receipt is out then, and pinned.
 * In the second case it is `spare`, of which `held` is the record. NULL: damage. */
struct lace_receipt *lace_receipt_take(const struct lace_view *view, uint64_t end, uint32_t seat, uint64_t spare,
                                       struct lace_attached *held);

/* The link to the oldest receipt that is out, of an end, or (0) of a whole process; NULL: there is none. What another
 * thread copies just now counts only with the process. */
uint64_t *lace_receipt_find(const struct lace_view *view, uint64_t end, uint32_t seat);
/* The link to a certain receipt that is out. */
uint64_t *lace_receipt_find_this(const struct lace_view *view, uint64_t offset);
/* Takes the receipt at a link out of those that are out. NULL: damage. */
struct lace_receipt *lace_receipt_unlink(const struct lace_view *view, uint64_t *link);
/* Puts a receipt that is in no list, or NULL, to those that came back, in their order. */
void lace_receipt_put_back(const struct lace_view *view, struct lace_receipt *receipt);

/* Hands what is there to those who wait for it. */
void lace_receipt_hand_out(const struct lace_view *view, struct lace_wakes *wakes);

/* What was received by a process that is dead comes back. */
void lace_receipt_expel(const struct lace_view *view, uint32_t seat);

/* In the host: takes one message that came back out of a channel without receivers; *ret_chunk is to be freed. */
bool lace_receipt_take_out(const struct lace_view *view, struct lace_slot *ret_slot, uint64_t *ret_chunk);

/* Calls `visit` for each message in a receipt. */
void lace_receipt_visit(const struct lace_view *view, void (*visit)(const void *context, const struct lace_slot *slot),
                        const void *context);

#endif
