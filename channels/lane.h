/* lane.h - what makes the death of a child process harmless at any instruction: each of its threads keeps a lane.
 *
 * A lane lies in the child's seat, in the region, so that it outlives the child. While the thread holds a lock of the
 * region, the lane says which, and before each store to what the lock guards it keeps the old value. Letting go of a
 * lock - of any, also an inner one - makes all stores so far final: it happens only where what is stored makes sense
 * to others. When the child is dead, the host puts back what was not final, finishes what had been promised to a
 * claimed party, and lets go of the locks (see bury.h).
 *
 * A process that is killed stops between two instructions, its earlier stores are seen and its later ones are not; so the
 * order of the program is all that counts here, and the compiler keeps it across the calls.
 *
 * The host keeps nothing: when it dies, all is over. To it each of these is one test of a pointer.
 */
#ifndef LACE_LANE_H
#define LACE_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lace_lock;
struct lace_region;

#define LACE_LANES 24     /* of one child; the first is shared by the threads that find no other free */
#define LACE_LANE_LOCKS 6 /* held at once: channel, two parties; or class, heap */
#define LACE_LANE_LOG 64  /* stores between two commits: a score at most */

/* An owner of locks that is no thread id: bit 30, then the seat's number, then the lane's. */
#define LACE_LANE_TAG UINT32_C(0x40000000)
#define LACE_LANE_SEAT(tag) (((tag) >> 8) & 0xffffu)

struct lace_kept {
    uint64_t where; /* offset, and the size in the highest byte */
    uint64_t was;
};

/* Of one thread; read by others only when that is dead. */
struct lace_lane {
    _Atomic uint64_t word; /* how many entries of the log count; and LACE_LANE_CLAIMED or TOLD, about `claimed` */
    uint64_t claimed;      /* a party of another process */
    uint32_t epoch;        /* of its signal */
    uint32_t tag;          /* constant */
    _Atomic uint64_t locks[LACE_LANE_LOCKS]; /* offsets of those it is about to take, holds, or has just let go of */
    struct lace_kept log[LACE_LANE_LOG];
};

#define LACE_LANE_CLAIMED (UINT64_C(1) << 32) /* the party is closed, and has not been told what for */
#define LACE_LANE_TOLD (UINT64_C(1) << 33)    /* it has its result, but for DONE, the wake and the bell */

/* The region that this process keeps lanes in; NULL in the host. Set once, when it attaches, before other threads are
 * there to see it; cleared when the region ends. */
extern struct lace_region *lace_journal __attribute__((visibility("hidden")));

#define LACE_JOURNALS() __builtin_expect(lace_journal != NULL, 0)

/* Before a store to what others can see: keeps the old value of an lvalue of at most 8 bytes. */
#define LACE_KEEP(lvalue) (LACE_JOURNALS() ? lace_lane_keep(&(lvalue), sizeof(lvalue)) : (void)0)
/* Such a store. */
#define LACE_SET(lvalue, value) (LACE_KEEP(lvalue), (void)((lvalue) = (value)))

/* A section that takes no lock: its stores become final together, at the end. */
#define LACE_BEGIN() (LACE_JOURNALS() ? lace_lane_enter() : (void)0)
#define LACE_END_SECTION() (LACE_JOURNALS() ? lace_lane_leave() : (void)0)

/* Within a section, where what is stored makes sense to others: all stores so far are final. A run of many messages under one
 * lock does it after each, since the log has room for one. */
#define LACE_COMMIT() (LACE_JOURNALS() ? lace_lane_commit() : (void)0)

void lace_lane_keep(const void *place, size_t size);
void lace_lane_enter(void);
void lace_lane_leave(void);
void lace_lane_commit(void);

/* Of lock.h, in a child. False: the lock is not in the region, so an ordinary one. */
bool lace_lane_lock(struct lace_lock *lock);
bool lace_lane_unlock(struct lace_lock *lock);
bool lace_lane_holds(struct lace_lock *lock);

/* Of party.h: before the state of another process's party is set to CLOSED, with its lock; before DONE, when all that
 * is promised is in place; and when it has been woken. */
void lace_lane_claim(uint64_t party, uint32_t epoch);
void lace_lane_told(void);
void lace_lane_settled(void);

/* Begins to use the lanes, as the process attaches; and stops. */
struct lace_lane;
void lace_lane_open(struct lace_region *region, struct lace_lane *lanes, uint32_t seat);
void lace_lane_close(struct lace_region *region);

#endif
