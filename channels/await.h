/* await.h - waiting for a descriptor beside an eventfd of our own, that of a party or of a call. */
#ifndef LACE_AWAIT_H
#define LACE_AWAIT_H

#include "cancel.h"

/* One call that waits, once or several times. */
struct lace_await {
    const lace_wait *wait;
    int event;   /* the eventfd of its party; -1: none yet */
    bool parked; /* park has been called */
};

/* A new eventfd, closed on exec, that never blocks; -1, with errno. */
int lace_eventfd(void);

/* Polls two descriptors: an eventfd of our own for reading, and `fd` for `events`, until one is ready. OK, TIMEOUT (the
 * deadline is that of a wait, and not LACE_NOW), SYSTEM. */
lace_status lace_poll_both(int event, int fd, short events, int64_t deadline);

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
