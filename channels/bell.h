/* bell.h - how one process asks for what another one has to do itself.
 *
 * Each process with a place in a region has a bell there, a futex word, and a thread that sleeps on it. The library
 * rings it for descriptors, which mean nothing outside their process: of an end's note that is out of date, of a party
 * whose owner sits in poll. Whoever made the place rings it with orders of his own (see place.h).
 */
#ifndef LACE_BELL_H
#define LACE_BELL_H

#include "end.h"

#define LACE_BELL_LOOK UINT32_C(0x80000000) /* the library's own order: look after descriptors */

/* One party whose owner sits in poll. Of the owner, who keeps it until lace_bell_unpoll. */
struct lace_polled {
    struct lace_party *party;
    struct lace_polled *next;
    struct lace_polled **link;
};

/* Rings the bell of that seat, or does nothing when there is no such seat. Any lock may be held. */
void lace_bell_ring(const struct lace_region *region, uint32_t seat, uint32_t orders);

/* Starts this process's thread, if there is none. It calls `ordered` with the orders other than the library's, no lock
 * held; `ordered` may be NULL, and must not let go of the region. NOMEM. */
lace_status lace_bell_listen(struct lace_region *region, void (*ordered)(void *context, uint32_t orders),
                             void *context);

/* Ends the thread. Nothing of the region is in use any more. */
void lace_bell_hush(struct lace_region *region);

/* An end that has just got a note, and one that is about to lose it. Both take the channel's lock. */
void lace_bell_mind(struct lace_end *end);
void lace_bell_forget(struct lace_end *end);

/* Before a party with an eventfd is opened, and after it has been closed. */
void lace_bell_poll(struct lace_region *region, struct lace_polled *polled, struct lace_party *party);
void lace_bell_unpoll(struct lace_region *region, struct lace_polled *polled);

#endif
