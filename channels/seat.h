/* seat.h - a child's seat as it lies in the region. */
#ifndef LACE_SEAT_H
#define LACE_SEAT_H

#include "lane.h"
#include "place.h"
#include "slot.h"

#define LACE_SEAT_MAGIC UINT32_C(0x4c534554)

enum { LACE_SEAT_FREE, LACE_SEAT_RESERVED, LACE_SEAT_TAKEN };

struct lace_seat {
    uint32_t magic;         /* constant */
    _Atomic uint32_t state; /* FREE and RESERVED by the host; RESERVED -> TAKEN by the child, a release that pairs
                               with its own acquire only */
    /* The host's while RESERVED, then the child's. Each has the counts that an attachment in a slot has. */
    uint32_t given;
    uint32_t taken;
    struct lace_attached gifts[LACE_PLACE_GIFTS];
    /* The child's, and whoever's who buries it. */
    uint64_t tables;              /* the first lace_held_table */
    struct lace_attached growing; /* a table that is not in the list yet */
    struct lace_lane lanes[LACE_LANES];
};

#define LACE_HELD_RECORDS 255

/* Records of what the child holds; see held.h. */
struct lace_held_table {
    uint64_t next;
    uint64_t unused;
    struct lace_attached records[LACE_HELD_RECORDS];
};
_Static_assert(sizeof(struct lace_held_table) == 4096, "a chunk is filled");

/* The seat of that number, or NULL. */
struct lace_seat *lace_seat_find(const struct lace_region *region, uint32_t number);

#endif
