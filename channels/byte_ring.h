/* byte_ring.h - bytes from one process to another in memory that both can write, where neither trusts the other.
 *
 * The memory is one page of words and LACE_RING_BYTES of data. Each side keeps its own index in private and only tells
 * it through the memory; of what the other side tells, each word is read once and checked against the own index before
 * it is used. Data are copied out, and looked at in the copy only. What cannot be is told as EBADMSG, for good.
 *
 * A side that is about to sleep says so in a word, and sleeps in poll on its *bell*, a Unix socket of its own to the
 * other side, which sends one byte when there is something to look at and takes the word back. The bell's hang-up is
 * the other side's end, also where that was killed. Rings are counted: one that nobody has asked for, or several in a
 * row with nothing to tell, is the work of somebody who wants to keep us busy, and EBADMSG.
 *
 * Memory order: a side publishes its index and then looks at the other's word; the other sets its word and then looks
 * at the index. All four are sequentially consistent, so that one of the two sees what the other did. They are also what
 * publishes the data (released by the index, acquired with it).
 */
#ifndef LACE_BYTE_RING_H
#define LACE_BYTE_RING_H

#include "lock.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LACE_RING_BYTES ((uint64_t)256 << 10)
#define LACE_RING_SIZE ((size_t)4096 + LACE_RING_BYTES) /* of the memory of one direction */
#define LACE_RING_RECORD 4096                           /* as much is written whole, if there is room for it */
#define LACE_RING_RESERVE 8192                          /* for the last word of a full ring */

struct lace_byte_ring {
    struct lace_lock lock; /* guards what follows; a leaf. Calls that cannot block are made under it */
    uint64_t here;         /* this side's index: bytes written, or read, since the beginning */
    uint64_t there;        /* the other side's, as it was last found to be possible */
    uint64_t asked;        /* how often this side has asked for a ring */
    uint64_t rung;         /* rings that came */
    uint64_t rung_at;      /* `here` when one came last */
    unsigned idle;         /* of those, in a row, that had nothing to tell */
    int64_t looked;        /* when a writer last looked whether the other side is there */
    bool gone;             /* the other side has hung up */
    bool corrupt;          /* it has written what cannot be */
    bool writes;           /* constant, like what follows: this side is the writer */
    unsigned char *memory;
};

/* One side of a direction, in LACE_RING_SIZE bytes of mapped memory, zeroed when they were made, which it takes: NULL
 * when there is none for itself. */
struct lace_byte_ring *lace_byte_ring_make(unsigned char *memory, bool writes);
/* Takes the ring and unmaps its memory. */
void lace_byte_ring_destroy(struct lace_byte_ring *ring);

/* As read of a stream that does not block: 0 at its end. -1: EAGAIN, EBADMSG. */
ssize_t lace_byte_ring_read(struct lace_byte_ring *ring, int bell, void *to, size_t room);
/* Writes all of it, LACE_RING_RECORD bytes at most, or nothing. The `last` ones may take room from the reserve, and are
 * as much as that at most. -1: EAGAIN, EPIPE, EBADMSG. */
ssize_t lace_byte_ring_write(struct lace_byte_ring *ring, int bell, const void *from, size_t size, bool last);

/* Whether a read has something, or a write of LACE_RING_RECORD bytes has room, or there is something to say about the
 * other side. Makes no system call; does not see that the other side has hung up. */
bool lace_byte_ring_ready(struct lace_byte_ring *ring);
/* The same with that; where it is false the bell polls readable when it may have become true. */
bool lace_byte_ring_listen(struct lace_byte_ring *ring, int bell);
/* This side will not read or write any more. */
void lace_byte_ring_leave(struct lace_byte_ring *ring);

#endif
