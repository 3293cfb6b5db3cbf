/* place.h - places in a region for child processes. Private to the library: host/ builds process workers on it.
 *
 * A place is one child's seat in the region. The host makes it, puts first ends into it and starts the child, which
 * inherits the region's descriptor and is told the seat's number. The child attaches: the same channels, blocks and
 * waits are its own from then on, with the calls of channel.h, exactly as a thread of the host has them. When the
 * child is dead, in whatever way, the host buries it.
 *
 * In the host
 *
 *     lace_place *place;
 *     lace_place_create(region, &place);
 *     lace_attachment job = {.kind = LACE_ATTACH_RECEIVER, .as.receiver = jobs};
 *     lace_place_give(place, &job);
 *     int fd = lace_region_descriptor(region);    // close-on-exec: dup2 it in posix_spawn's file actions
 *     ... posix_spawn a program, say `prog --place=FD:SEAT`, with FD a duplicate of fd, SEAT lace_place_seat(place)
 *     lace_place_order(place, 1);                 // any time: the child's `ordered` is called with it
 *     lace_place_started(place, pid);
 *     ... waitpid says that it is dead
 *     lace_place_bury(place);
 *
 * and in the child
 *
 *     lace_attach_options options = {.ordered = ordered, .context = me};
 *     lace_region_attach(fd, seat, &options, &region);
 *     lace_place_take(region, &job);              // what was given, in that order; END when there is no more
 *     ... work
 *     lace_region_destroy(region);                // when every end, block and message is gone; or just exit
 *
 * A child may do all of this only in a program started anew (exec): what is merely forked gets FORKED. A process
 * attaches to one region at a time. When the host dies nobody is left to bury anybody, so a child has to die with it
 * (PR_SET_PDEATHSIG).
 */
#ifndef LACE_PLACE_H
#define LACE_PLACE_H

#include "channel.h"

#include <sys/types.h>

typedef struct lace_place lace_place;

#define LACE_PLACE_GIFTS 64 /* so many can be given to one child this way; more travel in messages */

/* ---- in the host -------------------------------------------------------------------------------------- */

/* Reserves a seat, and starts the region's bell thread in this process with the first one. Gives *ret_place, which
 * keeps the region. BUSY when all 256 seats are taken, NOMEM. UNSUPPORTED in a process that has attached itself. */
lace_status lace_place_create(lace_region *region, lace_place **ret_place);

/* The seat's number, from 1, for the child to be told. */
uint32_t lace_place_seat(const lace_place *place);

/* The place's region, borrowed. */
lace_region *lace_place_region(const lace_place *place);

/* The descriptor of the region's file, for the child to inherit. Borrowed; it is close-on-exec. */
int lace_region_descriptor(const lace_region *region);

/* Puts an end or a block into the place, for the child to take: it stays counted on the way. Takes what the attachment
 * names. INVALID (of another region, closed, or no such thing), UNSUPPORTED (a pipe's end), BUSY when there are
 * LACE_PLACE_GIFTS in it or the child has come already. */
lace_status lace_place_give(lace_place *place, const lace_attachment *gift);

/* Has the child's `ordered` called with these bits, soon, in its bell thread; orders that come before the last ones
 * were carried out are joined. Also before it has attached: they wait. The highest bit is the library's. Never blocks. */
void lace_place_order(lace_place *place, uint32_t orders);

/* Tells which process has been started for the place, before anybody waits for it. Then a lock that the child died with
 * is let go of by whoever waits for it, also before it is buried; without this, by bury alone. SYSTEM. */
lace_status lace_place_started(lace_place *place, pid_t pid);

/* Takes the place. The child is dead (waitpid has said so), or was never started. At whichever instruction it died:
 * what it was about to do to a channel is undone, or done if others know of it; its locks are let go of; its ends are
 * closed, as if by close; its waits are over; the blocks and messages it had are let go of, and its memory freed. Never
 * waits for another child, if all are told of by lace_place_started. */
void lace_place_bury(lace_place *place);

/* How many messages with a block, an end or more than 224 bytes went down with children: being sent or received by
 * them, or not let go of. */
uint64_t lace_region_discarded(const lace_region *region);

/* ---- in the child ------------------------------------------------------------------------------------- */

typedef struct lace_attach_options {
    /* Called in the bell thread with the host's orders (lace_place_order), no lock held; may be NULL. It may use
     * channels, but must not wait for long nor end the region. */
    void (*ordered)(void *context, uint32_t orders);
    void *context;
} lace_attach_options;

/* Attaches this process to the region whose file `fd` is, in that seat. Takes `fd`. Gives *ret_region, which is like one
 * made by lace_region_create: its last handle unmaps it. `options` is borrowed and may be NULL. INVALID when the file
 * is no region's or the seat is not waiting for a child, BUSY when this process has attached already, NOMEM, SYSTEM. */
lace_status lace_region_attach(int fd, uint32_t seat, const lace_attach_options *options, lace_region **ret_region);

/* Gives the next of what the host has put into the place. END when there is no more; NOMEM, CORRUPT. Any thread, one at a
 * time. */
lace_status lace_place_take(lace_region *region, lace_attachment *ret_gift);

/* The seat of this process in the region; 0 in the one that made it. */
uint32_t lace_region_seat(const lace_region *region);

#endif
