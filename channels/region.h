/* region.h - the shared memory that channels live in.
 *
 * A region is one anonymous file, mapped once and whole. Everything inside it is named by its offset from the start,
 * 0 being "none"; no pointer is ever stored in it. What is read from it is not trusted: an offset becomes a pointer
 * through lace_region_at() only, which checks it against the geometry kept in this process.
 */
#ifndef LACE_REGION_H
#define LACE_REGION_H

#include "channel.h"
#include "fork.h"
#include "lock.h"

#include <pthread.h>
#include <stdatomic.h>

#define LACE_SPAN_SIZE ((uint64_t)64 << 10) /* the unit in which the heap hands out the region */
#define LACE_HEAP_CLASSES 18                /* sizes of small chunks */
#define LACE_HEAP_BINS 32                   /* free runs by the logarithm of their length */

/* What a span of the region is used for; one entry of the table behind the front. */
struct lace_span {
    uint8_t kind;   /* enum span_kind in heap.c */
    uint8_t class;  /* SMALL: the size class */
    uint8_t backed; /* whether memory stands behind it */
    uint8_t unused;
    uint32_t run;      /* FREE and LARGE: spans in the run, in its first entry; FREE: in its last as well */
    uint32_t next;     /* the neighbours in a bin or a class list: span number + 1, 0 for none */
    uint32_t previous;
    uint16_t taken;    /* SMALL: chunks in use */
    uint16_t fresh;    /* SMALL: chunks handed out at least once */
    uint16_t free;     /* SMALL: the first free chunk + 1 */
    uint16_t padding[5];
};
_Static_assert(sizeof(struct lace_span) == 32, "the table is laid out by this size");

/* One size class. `lock` guards `partial` and the SMALL fields of its spans; it comes before the heap lock. */
struct lace_class {
    struct lace_lock lock;
    uint32_t partial; /* spans with a chunk to give: span number + 1 */
};

struct lace_heap {
    struct lace_lock lock;          /* guards what follows and the FREE and LARGE fields of the table; a leaf */
    uint32_t frontier;              /* spans ever used; the table is backed up to here */
    uint32_t idle;                  /* free spans with memory behind them */
    uint32_t bins[LACE_HEAP_BINS];  /* free runs of 2^n and more spans: span number + 1 */
    uint64_t table_backed;          /* bytes of the table with memory behind them */
    _Atomic uint64_t used;          /* bytes handed out; relaxed, a figure only */
    _Atomic uint64_t backed;        /* bytes with memory behind them; written under the lock, read without */
    struct lace_class classes[LACE_HEAP_CLASSES];
};

/* What wakes a process's bell thread; see bell.h. Both sequentially consistent: an order is stored before the word
 * changes, and the thread reads the word before it takes the orders. */
struct lace_bell {
    _Atomic uint32_t word; /* the futex word: changes with each ring */
    _Atomic uint32_t orders;
};

#define LACE_SEATS 256 /* child processes at once */

/* The first pages of the region. */
struct lace_front {
    uint64_t magic;
    uint64_t size;
    _Atomic uint64_t ids;   /* the last id given to an end; relaxed */
    _Atomic uint64_t names; /* the last "channel-N"; relaxed */
    struct lace_heap heap;
    _Atomic uint64_t seats[LACE_SEATS];      /* the lace_seat of seat n + 1, or 0; written by the host's places.c alone */
    struct lace_bell bells[LACE_SEATS + 1];  /* by seat; the host's is 0 */
    /* Channels without receivers that children leave to the host to drain, linked by `doomed`; each is a reference.
     * `orphans_lock` guards the list; it comes after channel locks. */
    struct lace_lock orphans_lock;
    uint64_t orphans;
    _Atomic uint64_t discarded; /* messages that went with a child; relaxed */
};

struct lace_end;
struct lace_polled;
struct lace_listener;

/* The region as this process sees it. Constant after creation, but for what says otherwise. */
struct lace_region {
    unsigned char *base;
    uint64_t size;       /* of the mapping */
    uint64_t first_span; /* offset of span 0 */
    uint32_t spans;
    int fd;
    uint64_t generation;      /* unique in the process: tells a region from a later one at the same address */
    _Atomic uint64_t handles; /* ends, blocks, messages and selectors of this process, and 1 for who made it; whoever
                                 takes it to 0 ends the region. Dropping one is a release, for that one's acquire */
    struct lace_region *next; /* in the list of living regions, under its mutex */
    uint32_t seat;            /* this process's: 0 in the one that made the region */
    _Atomic bool shared;      /* other processes may be there; set once, under all class locks */
    /* What this process's bell thread looks after; see bell.h. `watch` guards it, and comes before channel locks. */
    pthread_mutex_t watch;
    struct lace_end *noted;         /* ends that gave out a descriptor */
    struct lace_polled *polled;     /* parties whose owners sit in poll */
    struct lace_listener *listener; /* NULL: there is no such thread */
};

static inline struct lace_front *lace_region_front(const struct lace_region *region)
{
    return (struct lace_front *)region->base;
}

/* The memory at `offset`, or NULL when `size` bytes there, aligned to `align` (a power of two), are not all inside
 * the part of the region that holds objects. */
static inline void *lace_region_at(const struct lace_region *region, uint64_t offset, uint64_t size, uint64_t align)
{
    if (__builtin_expect(offset < region->first_span || size > region->size || offset > region->size - size ||
                             (offset & (align - 1)) != 0, 0))
        return NULL;
    return region->base + offset;
}

static inline uint64_t lace_region_offset(const struct lace_region *region, const void *pointer)
{
    return (uint64_t)((const unsigned char *)pointer - region->base);
}

void lace_region_end(struct lace_region *region);

/* Maps a region's file, which it takes, as the process of `seat`. Gives a region like one just made. INVALID when the
 * file is no region's; NOMEM, SYSTEM. */
lace_status lace_region_map(int fd, uint32_t seat, struct lace_region **ret_region);

static inline void lace_region_hold(struct lace_region *region)
{
    atomic_fetch_add_explicit(&region->handles, 1, memory_order_relaxed);
}

static inline void lace_region_drop(struct lace_region *region)
{
    if (atomic_fetch_sub_explicit(&region->handles, 1, memory_order_acq_rel) == 1)
        lace_region_end(region);
}

/* Calls `visit` while `region` is known to live and to be the one of that `generation`; does nothing otherwise. The
 * region's destroy waits meanwhile. For threads that come back late. */
void lace_region_visit(struct lace_region *region, uint64_t generation,
                       void (*visit)(struct lace_region *region, void *context), void *context);

/* Puts memory behind a range, or takes it away; offsets and sizes are multiples of the page size. */
bool lace_region_back(const struct lace_region *region, uint64_t offset, uint64_t size);
bool lace_region_punch(const struct lace_region *region, uint64_t offset, uint64_t size);

#endif
