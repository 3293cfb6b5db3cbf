/* await.h - waiting for a descriptor that is no channel's: a listener's, or what tells of changes to files. */
#ifndef LACE_AWAIT_H
#define LACE_AWAIT_H

#include "cancel.h"

/* One call that waits, once or several times. */
struct lace_await {
    const lace_wait *wait;
    int event;   /* the eventfd of its party; -1: none yet */
    bool parked; /* park has been called */
};

#define LACE_AWAIT(name, how) struct lace_await name = {.wait = (how), .event = -1}

/* Waits until the descriptor is ready for `events` (of poll), which has been found not to be so. OK, TIMEOUT,
 * CANCELLED, SYSTEM. */
lace_status lace_await(struct lace_await *await, int fd, short events);
/* Only looks whether it may wait, and parks: for what the caller waits for by itself, shortly. OK, TIMEOUT, CANCELLED,
 * SYSTEM. */
lace_status lace_await_check(struct lace_await *await);
/* Ends the call; errno stays. */
void lace_await_end(struct lace_await *await);

#endif
