/* bury.h - putting right what a dead child has left behind; in the host.
 *
 * In this order: what its lanes kept is put back, parties it had claimed are told, and the locks of parties, blocks and
 * heap are let go of (undo: takes no lock of the region). Then its channels: nobody of its threads waits there any
 * more, and what the others wait for is looked at anew, since the child may have died before it said so. Then all that
 * its records name is let go of.
 */
#ifndef LACE_BURY_H
#define LACE_BURY_H

#include "ring.h"
#include "seat.h"

/* The first step. May be repeated; one thread at a time. */
void lace_bury_undo(struct lace_region *region, struct lace_seat *seat);

/* After undo: takes over a channel's lock that the dead lane `owner` holds, puts the channel right and lets go of it.
 * Does nothing when somebody else has done it. Locks. */
void lace_bury_channel(struct lace_region *region, struct lace_lock *lock, uint32_t owner);

/* All the rest. Locks. */
void lace_bury_rest(struct lace_region *region, struct lace_seat *seat, uint32_t number);

#endif
