/* slot.h - a message as it lies in shared memory.
 *
 * A message is its attachments and then its bytes: in the slot itself when it is short bytes alone, else in one heap
 * chunk that the slot owns. An attachment in a slot holds counts of what it names: a block's count, or a channel's count of
 * senders or receivers and a reference to its memory.
 */
#ifndef LACE_SLOT_H
#define LACE_SLOT_H

#include "region.h"

#define LACE_SLOT_SIZE 256
#define LACE_SLOT_INLINE 224

struct lace_attached {
    uint32_t kind; /* lace_attachment_kind */
    uint32_t extra; /* of a record: see held.h */
    uint64_t offset; /* of the block or the channel */
};

/* Guarded by the lock of the channel it is queued in or whose list its node is in. */
struct lace_slot {
    uint64_t size;    /* bytes of data */
    uint64_t weight;  /* data and blocks: what counts for max_bytes */
    uint64_t content; /* the heap chunk with all of it, or 0 */
    uint32_t attachments;
    uint32_t unused;
    unsigned char bytes[LACE_SLOT_INLINE];
};
_Static_assert(sizeof(struct lace_slot) == LACE_SLOT_SIZE, "a ring is laid out by this size");

/* Bytes of attachments and data together. */
static inline uint64_t lace_slot_total(uint64_t size, uint32_t attachments)
{
    return size + (uint64_t)attachments * sizeof(struct lace_attached);
}

/* Copies a slot, no more of it than is used. */
static inline void lace_slot_copy(struct lace_slot *to, const struct lace_slot *from)
{
    uint64_t total = from->content != 0 ? 0 : lace_slot_total(from->size, from->attachments);

    if (total > LACE_SLOT_INLINE) /* damaged: whoever reads it finds out */
        total = 0;
    __builtin_memcpy(to, from, offsetof(struct lace_slot, bytes) + total);
}

#endif
