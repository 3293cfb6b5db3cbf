/* turn.c - calls on a pipe channel, taking turns, and waiting in poll. */
#define _GNU_SOURCE
#include "turn.h"

#include "await.h"
#include "byte_ring.h"
#include "hooks.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- calls -------------------------------------------------------------------------------------------- */

int lace_pipe_retire(struct lace_pipe *pipe)
{
    int fd = pipe->fd;

    if (pipe->ends != 0 || pipe->users != 0)
        return -1;
    pipe->fd = -1;
    return fd;
}

lace_status lace_call_enter(struct lace_call *call, struct lace_end *end, const lace_wait *wait)
{
    struct lace_pipe *pipe = end->pipe;
    struct lace_wakes wakes = {.count = 0};

    call->end = end;
    call->pipe = pipe;
    call->wait = wait;
    call->parked = false;
    call->foreign = false;
    lace_pipe_lock(pipe);
    lace_status status = lace_end_closed(end) ? LACE_CLOSED : LACE_OK;
    if (status == LACE_OK)
        pipe->users++;
    lace_pipe_unlock(pipe, &wakes);
    return status;
}

void lace_call_leave(struct lace_call *call)
{
    struct lace_wakes wakes = {.count = 0};
    int saved = errno;

    lace_pipe_lock(call->pipe);
    call->pipe->users--;
    int fd = lace_pipe_retire(call->pipe);
    lace_pipe_unlock(call->pipe, &wakes);
    lace_pipe_hang_up(call->pipe, fd);
    if (call->parked && !call->foreign) {
        lace_end_waited(call->end, lace_end_purpose(call->end), call->started);
        lace_wait_unpark(call->wait);
    }
    errno = saved;
}

/* Before a wait: whether it may be, and park. */
static lace_status begin_wait(struct lace_call *call)
{
    if (lace_wait_cancelled(call->wait))
        return LACE_CANCELLED;
    if (lace_deadline_passed(lace_wait_deadline(call->wait)))
        return LACE_TIMEOUT;
    if (!call->parked) {
        lace_wait_park(call->wait);
        call->started = lace_clock();
        lace_meter_begin(lace_end_purpose(call->end), call->started);
        call->parked = true;
    }
    return LACE_OK;
}

static void open_party(struct lace_call *call, int event)
{
    memset(&call->party, 0, offsetof(struct lace_party, slot));
    call->party.event = event;
    lace_party_open(&call->party);
}

/* ---- the turn ----------------------------------------------------------------------------------------- */

/* Queues for the turn and waits. OK: the caller has it; RETRY: look again. `brief`: no deadline, since the owner of
 * the turn does not wait either. */
static lace_status queue_up(struct lace_call *call, bool brief)
{
    struct lace_pipe *pipe = call->pipe;
    struct lace_waiters *list = brief ? &pipe->tries : &pipe->queue;
    lace_cancel *token = brief ? NULL : lace_wait_token(call->wait);
    int64_t deadline = brief ? LACE_NEVER : lace_wait_deadline(call->wait);
    struct lace_wakes wakes = {.count = 0};
    struct lace_waiter waiter;
    struct lace_waiter cancelled;

    open_party(call, -1);
    lace_pipe_lock(pipe);
    bool queued = pipe->busy && !(brief && pipe->stalled) && !lace_end_closed(call->end);
    if (queued)
        lace_waiters_add(list, &waiter, &call->party);
    lace_pipe_unlock(pipe, &wakes);
    if (!queued)
        return LACE_RETRY;

    bool entered = lace_cancel_enter(token, &cancelled, &call->party);
    bool done = entered && lace_party_wait(&call->party, deadline, false);
    if (entered)
        lace_cancel_leave(token, &cancelled);
    if (!done && !lace_party_withdraw(&call->party))
        done = lace_party_wait(&call->party, LACE_NEVER, false);
    lace_pipe_lock(pipe);
    lace_waiters_remove(list, &waiter);
    lace_pipe_unlock(pipe, &wakes);
    if (done)
        return (lace_status)call->party.status;
    return entered ? LACE_TIMEOUT : LACE_CANCELLED;
}

lace_status lace_turn_take(struct lace_call *call, bool wait)
{
    struct lace_pipe *pipe = call->pipe;

    for (;;) {
        struct lace_wakes wakes = {.count = 0};
        lace_status status = LACE_AGAIN;

        lace_pipe_lock(pipe);
        bool stalled = pipe->stalled;
        if (lace_end_closed(call->end)) {
            status = LACE_CLOSED;
        } else if (!pipe->busy) {
            pipe->busy = true;
            status = LACE_OK;
        }
        lace_pipe_unlock(pipe, &wakes);
        if (status != LACE_AGAIN)
            return status;

        bool brief = !wait || lace_deadline_passed(lace_wait_deadline(call->wait));
        if (brief && stalled) {
            if (!wait)
                return LACE_AGAIN;
            return lace_wait_cancelled(call->wait) ? LACE_CANCELLED : LACE_TIMEOUT;
        }
        status = brief ? LACE_OK : begin_wait(call);
        if (status == LACE_OK)
            status = queue_up(call, brief);
        if (status != LACE_RETRY)
            return status;
    }
}

void lace_turn_give(struct lace_pipe *pipe)
{
    struct lace_wakes wakes = {.count = 0};

    lace_pipe_lock(pipe);
    if (lace_waiters_claim(&pipe->tries, 1, LACE_OK, &wakes) == 0 &&
        lace_waiters_claim(&pipe->queue, 1, LACE_OK, &wakes) == 0) {
        pipe->busy = false;
        if (pipe->shunned) {
            pipe->shunned = false;
            lace_waiters_claim(&pipe->watchers, UINT_MAX, LACE_RETRY, &wakes);
        }
    }
    lace_pipe_unlock(pipe, &wakes);
}

/* With the lock held. */
static void set_ripe(struct lace_pipe *pipe, bool ripe, struct lace_wakes *wakes)
{
    eventfd_t ignored;

    pipe->ripe = ripe;
    if (pipe->staged >= 0 && pipe->staged_set != ripe &&
        (ripe ? eventfd_write(pipe->staged, 1) == 0 : eventfd_read(pipe->staged, &ignored) == 0))
        pipe->staged_set = ripe;
    if (ripe)
        lace_waiters_claim(&pipe->watchers, UINT_MAX, LACE_RETRY, wakes);
}

void lace_pipe_set_ripe(struct lace_pipe *pipe, bool ripe)
{
    struct lace_wakes wakes = {.count = 0};

    lace_pipe_lock(pipe);
    /* Somebody polls at any time: the bell has to tell of what comes from now on. */
    if (pipe->bytes != NULL && pipe->epoll >= 0 && !ripe)
        ripe = lace_byte_ring_listen(pipe->bytes, pipe->fd);
    set_ripe(pipe, ripe, &wakes);
    lace_pipe_unlock(pipe, &wakes);
}

bool lace_pipe_listen(struct lace_pipe *pipe)
{
    struct lace_wakes wakes = {.count = 0};

    if (pipe->bytes == NULL)
        return false;
    lace_pipe_lock(pipe);
    /* A bell that has been heard tells nobody else: so those who poll it are told here. The lock keeps what two such
     * calls say in order. */
    bool ready = pipe->fd < 0 || lace_byte_ring_listen(pipe->bytes, pipe->fd);
    if (ready || pipe->bytes->writes)
        set_ripe(pipe, ready, &wakes);
    lace_pipe_unlock(pipe, &wakes);
    return ready;
}

/* ---- poll --------------------------------------------------------------------------------------------- */

/* Registers the call as a watcher. RETRY: there is something to look at already. */
static lace_status watch(struct lace_call *call, short events, struct lace_waiter *waiter)
{
    struct lace_pipe *pipe = call->pipe;
    struct lace_wakes wakes = {.count = 0};
    lace_status status = LACE_OK;

    lace_pipe_lock(pipe);
    if (lace_end_closed(call->end)) {
        status = LACE_CLOSED;
    } else if (events == POLLIN && pipe->ripe) {
        status = LACE_RETRY;
    } else {
        lace_waiters_add(&pipe->watchers, waiter, &call->party);
        pipe->stalled = true;
        lace_waiters_claim(&pipe->tries, UINT_MAX, LACE_RETRY, &wakes);
    }
    lace_pipe_unlock(pipe, &wakes);
    return status;
}

/* Bytes in memory may come before a sleep pays. */
static bool spin_for_bytes(struct lace_pipe *pipe)
{
    struct lace_spin spin;
    bool ready = false;

    if (pipe->bytes == NULL)
        return false;
    lace_spin_begin(&spin);
    while (!ready && lace_spin(&spin))
        ready = lace_byte_ring_ready(pipe->bytes);
    lace_spin_end(&spin, ready);
    return ready;
}

lace_status lace_turn_wait(struct lace_call *call, short events)
{
    struct lace_pipe *pipe = call->pipe;
    struct lace_wakes wakes = {.count = 0};
    struct lace_waiter waiter;
    struct lace_waiter cancelled;
    lace_status status = begin_wait(call);

    if (status != LACE_OK)
        return status;
    if (spin_for_bytes(pipe))
        return LACE_OK;
    lace_cancel *token = lace_wait_token(call->wait);
    if (pipe->event < 0) {
        pipe->event = lace_eventfd();
        if (pipe->event < 0)
            return LACE_SYSTEM;
    }
    open_party(call, pipe->event);
    status = watch(call, events, &waiter);
    if (status != LACE_OK)
        return status == LACE_RETRY ? LACE_OK : status;

    if (lace_cancel_enter(token, &cancelled, &call->party)) {
        if (!lace_pipe_listen(pipe))
            status = lace_poll_both(pipe->event, pipe->fd, pipe->bytes != NULL ? POLLIN : events,
                                    lace_wait_deadline(call->wait));
        lace_cancel_leave(token, &cancelled);
    } else {
        status = LACE_CANCELLED;
    }
    int saved = errno;
    lace_pipe_lock(pipe);
    lace_waiters_remove(&pipe->watchers, &waiter);
    pipe->stalled = false;
    lace_pipe_unlock(pipe, &wakes);
    if (!lace_party_withdraw(&call->party)) {
        eventfd_t ignored;

        lace_party_wait(&call->party, LACE_NEVER, false);
        (void)eventfd_read(pipe->event, &ignored);
        /* Something was said: look again, unless it was that the wait is over. */
        status = call->party.status == (uint32_t)LACE_RETRY ? LACE_OK : (lace_status)call->party.status;
    }
    if (lace_end_closed(call->end))
        status = LACE_CLOSED;
    errno = saved;
    return status;
}
