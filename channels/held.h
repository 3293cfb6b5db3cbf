/* held.h - what a child process holds of the region, written down in the region: so that it can be let go of when the
 * child is dead.
 *
 * A record has the form of an attachment in a slot: a kind, and the offset of what is held. Whoever changes a count, or
 * takes a chunk, changes the record in the same section (see lane.h), so that the two agree at any instruction. The
 * host holds nothing in this sense: its records are NULL, which every function here takes.
 */
#ifndef LACE_HELD_H
#define LACE_HELD_H

#include "lane.h"
#include "slot.h"

/* Kinds beyond lace_attachment_kind: NONE (a record that is free), SENDER and RECEIVER (an end, and a reference to
 * its channel), BLOCK (a count). */
enum {
    LACE_HELD_REFERENCE = 16, /* to a channel: its end is closed */
    LACE_HELD_CHUNK,          /* memory of the heap */
    LACE_HELD_MESSAGE,        /* a chunk that is a message, with `extra` attachments in front */
};

/* Gives a free record; NULL in the host. False: there is no memory. */
bool lace_held_get(struct lace_region *region, struct lace_attached **ret_held);
/* Takes a record, of kind NONE, or NULL. */
void lace_held_put(struct lace_region *region, struct lace_attached *held);

/* A record's kind is read and written in one piece: the dead one's records are looked through while another process, with the
 * lock of the channel that the dead one waits at, may still give it a message. That changes no record of an end. The order of
 * these accesses means nothing: once the dead one has left all channels, nobody else has its records. */
static inline uint32_t lace_held_kind(const struct lace_attached *held)
{
    return __atomic_load_n(&held->kind, __ATOMIC_RELAXED);
}

static inline void lace_held_change(struct lace_attached *held, uint32_t kind)
{
    if (held == NULL)
        return;
    LACE_KEEP(held->kind);
    __atomic_store_n(&held->kind, kind, __ATOMIC_RELAXED);
}

static inline void lace_held_set(struct lace_attached *held, uint32_t kind, uint32_t extra, uint64_t offset)
{
    if (held == NULL)
        return;
    LACE_SET(held->offset, offset);
    LACE_SET(held->extra, extra);
    lace_held_change(held, kind);
}

/* The record at an offset; NULL for 0, and for nonsense. */
static inline struct lace_attached *lace_held_at(const struct lace_region *region, uint64_t offset)
{
    return __builtin_expect(offset == 0, 1) ? NULL : lace_region_at(region, offset, sizeof(struct lace_attached), 8);
}

static inline uint64_t lace_held_offset(const struct lace_region *region, const struct lace_attached *held)
{
    return held == NULL ? 0 : lace_region_offset(region, held);
}

#endif
