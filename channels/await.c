/* await.c - waiting in poll for a descriptor that is no channel's, under a deadline and a token. */
#define _GNU_SOURCE
#include "await.h"

#include "descriptor.h"
#include "hooks.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int lace_eventfd(void)
{
    return LACE_FAILS(LACE_FAULT_EVENTFD) ? (errno = EMFILE, -1)
                                          : lace_descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

lace_status lace_poll_both(int event, int fd, short events, int64_t deadline)
{
    struct pollfd polls[2] = {{.fd = event, .events = POLLIN}, {.fd = fd, .events = events}};

    for (;;) {
        int64_t left = deadline > 0 ? deadline - lace_clock() : 0;
        struct timespec span = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};

        if (deadline > 0 && left <= 0)
            return LACE_TIMEOUT;
        int ready = ppoll(polls, 2, deadline > 0 ? &span : NULL, NULL);
        if (ready > 0)
            return LACE_OK;
        if (ready < 0 && errno != EINTR)
            return LACE_SYSTEM;
    }
}

lace_status lace_await_check(struct lace_await *await)
{
    if (lace_wait_cancelled(await->wait))
        return LACE_CANCELLED;
    if (lace_deadline_passed(lace_wait_deadline(await->wait)))
        return LACE_TIMEOUT;
    if (await->event < 0) {
        await->event = lace_eventfd();
        if (await->event < 0)
            return LACE_SYSTEM;
    }
    if (!await->parked) {
        lace_wait_park(await->wait);
        await->parked = true;
    }
    return LACE_OK;
}

lace_status lace_await(struct lace_await *await, int fd, short events)
{
    struct lace_party party;
    struct lace_waiter waiter;
    lace_status status = lace_await_check(await);

    if (status != LACE_OK)
        return status;
    lace_cancel *token = lace_wait_token(await->wait); /* park may have changed it */
    memset(&party, 0, offsetof(struct lace_party, slot));
    party.event = await->event;
    lace_party_open(&party);
    if (lace_cancel_enter(token, &waiter, &party)) {
        status = lace_poll_both(await->event, fd, events, lace_wait_deadline(await->wait));
        lace_cancel_leave(token, &waiter);
    } else {
        status = LACE_CANCELLED;
    }
    int saved = errno;
    if (!lace_party_withdraw(&party)) {
        eventfd_t ignored;

        lace_party_wait(&party, LACE_NEVER, false);
        (void)eventfd_read(await->event, &ignored);
        status = (lace_status)party.status;
    }
    errno = saved;
    return status;
}

void lace_await_end(struct lace_await *await)
{
    int saved = errno;

    if (await->event >= 0)
        close(await->event);
    if (await->parked)
        lace_wait_unpark(await->wait);
    errno = saved;
}
