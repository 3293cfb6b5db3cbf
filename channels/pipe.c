/* pipe.c - sending and receiving on pipe channels, and what select wants of them. */
#define _GNU_SOURCE
#include "pipe.h"

#include "byte_ring.h"
#include "hooks.h"
#include "seal.h"
#include "turn.h"

#include <assert.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket takes that many bytes at once or not at all: Linux cuts nothing below half of the smallest send buffer. */
#define TAKEN_WHOLE 1024

static const char nonsense[] = "the other side has written nonsense into the memory that both share";

/* ---- receiving ---------------------------------------------------------------------------------------- */

/* A read of nothing: whether there will be nothing more. A FIFO that no writer has opened yet says 0 as well. */
static bool at_end(const struct lace_pipe *pipe)
{
    struct pollfd poll_fd = {.fd = pipe->fd, .events = POLLIN};

    return pipe->socket || (poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLERR)) != 0);
}

/* Reads and puts together until a message is whole, or no more is there. */
static lace_status read_message(struct lace_pipe *pipe, lace_message *message)
{
    assert(lace_lock_held(&pipe->io));
    for (;;) {
        size_t room;
        lace_status status = lace_reader_next(&pipe->reader, message);

        if (status != LACE_AGAIN)
            return status;
        unsigned char *space = lace_reader_space(&pipe->reader, &room);
        if (space == NULL)
            return LACE_NOMEM;
        if (LACE_FAILS(LACE_FAULT_READ))
            room = 1;
        ssize_t count = pipe->bytes != NULL ? lace_byte_ring_read(pipe->bytes, pipe->fd, space, room)
                                            : read(pipe->fd, space, room);
        if (count > 0) {
            lace_reader_filled(&pipe->reader, (size_t)count);
            continue;
        }
        if ((count == 0 && at_end(pipe)) || (count < 0 && errno == ECONNRESET))
            return lace_reader_ended(&pipe->reader);
        if (count < 0 && errno == EINTR)
            continue;
        if (pipe->bytes != NULL && errno == EBADMSG)
            return lace_reader_damaged(&pipe->reader, nonsense);
        return count == 0 || errno == EAGAIN || errno == EWOULDBLOCK ? LACE_AGAIN : LACE_SYSTEM;
    }
}

/* Receives without waiting. */
static lace_status read_once(struct lace_call *call, lace_message *message)
{
    struct lace_pipe *pipe = call->pipe;
    lace_status status = LACE_CLOSED;

    lace_lock_acquire(&pipe->io);
    if (!lace_end_closed(call->end))
        status = read_message(pipe, message);
    /* NOMEM: the message is still there. */
    bool ripe = (status == LACE_OK && pipe->reader.start != pipe->reader.end) || status == LACE_NOMEM ||
                pipe->reader.over != LACE_OK ||
                (pipe->bytes != NULL && status == LACE_OK && lace_byte_ring_ready(pipe->bytes));
    if (ripe || pipe->bytes != NULL || pipe->ripe)
        lace_pipe_set_ripe(pipe, ripe);
    lace_lock_release(&pipe->io);
    if (status == LACE_OK)
        lace_end_count_slow(call->end, message->size);
    return status;
}

static lace_status recv_call(struct lace_end *end, lace_message *message, const lace_wait *wait, bool may_wait)
{
    struct lace_call call;

    lace_message_reset(message);
    lace_status status = lace_call_enter(&call, end, wait);
    if (status != LACE_OK)
        return status;
    bool waits = may_wait && !lace_deadline_passed(lace_wait_deadline(wait));
    status = read_once(&call, message);
    /* That the other side has gone shows when one listens, as who waits does. */
    if (status == LACE_AGAIN && !waits && lace_pipe_listen(end->pipe))
        status = read_once(&call, message);
    if (status == LACE_AGAIN && may_wait && lace_deadline_passed(lace_wait_deadline(wait))) {
        status = lace_wait_cancelled(wait) ? LACE_CANCELLED : LACE_TIMEOUT;
    } else if (status == LACE_AGAIN && may_wait) {
        status = lace_turn_take(&call, true);
        if (status == LACE_OK) {
            do {
                status = read_once(&call, message);
                if (status != LACE_AGAIN)
                    break;
                status = lace_turn_wait(&call, POLLIN);
            } while (status == LACE_OK);
            lace_turn_give(end->pipe);
        }
    }
    lace_call_leave(&call);
    return status;
}

lace_status lace_pipe_recv(struct lace_end *end, lace_message *message, const lace_wait *wait)
{
    return recv_call(end, message, wait, true);
}

lace_status lace_pipe_try_recv(struct lace_end *end, lace_message *message)
{
    return recv_call(end, message, NULL, false);
}

/* ---- sending ------------------------------------------------------------------------------------------ */

static ssize_t write_some(const struct lace_pipe *pipe, const unsigned char *data, size_t size)
{
    if (LACE_FAILS(LACE_FAULT_WRITE)) {
        errno = EAGAIN;
        return -1;
    }
    if (pipe->bytes != NULL)
        return lace_byte_ring_write(pipe->bytes, pipe->fd, data, size, pipe->sealer->ended);
    if (pipe->socket)
        return send(pipe->fd, data, LACE_FAILS(LACE_FAULT_SHORT) ? 1 : size, MSG_NOSIGNAL);
    return write(pipe->fd, data, size);
}

/* How much of rest[] to write at once: all of it, but a commit that may be torn off goes alone (see give_up). Memory
 * takes all or nothing. */
static size_t write_size(const struct lace_pipe *pipe)
{
    size_t left = pipe->rest_end - pipe->rest_start;
    size_t commit = pipe->sealer != NULL ? pipe->sealer->commit : 0;

    return pipe->bytes == NULL && commit > pipe->rest_start && left > TAKEN_WHOLE ? commit - pipe->rest_start : left;
}

lace_status lace_pipe_write_rest(struct lace_call *call, bool wait)
{
    struct lace_pipe *pipe = call->pipe;

    while (pipe->rest_start < pipe->rest_end) {
        if (lace_end_closed(call->end))
            return LACE_CLOSED;
        ssize_t count = write_some(pipe, pipe->rest + pipe->rest_start, write_size(pipe));
        if (count >= 0) {
            pipe->rest_start += (size_t)count;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno == EPIPE || errno == ECONNRESET)
            return LACE_BROKEN;
        if (pipe->bytes != NULL && errno == EBADMSG) {
            lace_explained(LACE_FORGED, "%s", nonsense);
            return LACE_FORGED;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return LACE_SYSTEM;
        /* Who does not wait listens here: a full pipe is to be told from one with room. */
        if ((!wait || lace_deadline_passed(lace_wait_deadline(call->wait))) && lace_pipe_listen(pipe))
            continue;
        if (!wait)
            return LACE_AGAIN;
        lace_status status = lace_turn_wait(call, POLLOUT);
        if (status != LACE_OK)
            return status;
    }
    return LACE_OK;
}

/* A chunk is given up. What the stream has not begun to take is forgotten. The rest of one that it has begun must
 * follow some time, or the reader would lose its place; its commit byte, the last, tells that it counts for
 * nothing. A sealed one has more than a byte for that: if some of these have gone, none of the rest may. */
static void give_up(struct lace_pipe *pipe, size_t length)
{
    bool follows = pipe->rest_start != pipe->rest_end - length;

    if (pipe->sealer != NULL && pipe->rest_start < pipe->rest_end) {
        follows = lace_sealer_give_up(pipe->sealer, pipe->rest, pipe->rest_start);
    } else if (follows && pipe->rest_start < pipe->rest_end) {
        pipe->rest[pipe->rest_end - 1] = LACE_CHUNK_DROPPED;
    }
    if (!follows)
        pipe->rest_start = pipe->rest_end = 0;
}

static size_t make_chunk(struct lace_pipe *pipe, const lace_payload *payload, size_t offset, size_t *ret_data)
{
    if (pipe->sealer != NULL)
        return lace_sealer_chunk(pipe->sealer, pipe->rest, pipe->number, payload, offset, ret_data);
    return lace_chunk_make(pipe->rest, LACE_CHUNK_MOST, pipe->writer, pipe->number, payload, offset, ret_data);
}

/* With the turn. `wait` false: LACE_AGAIN when not even the first chunk can be begun. */
static lace_status write_message(struct lace_call *call, const lace_payload *payload, bool wait)
{
    struct lace_pipe *pipe = call->pipe;
    lace_status status = lace_pipe_write_rest(call, wait); /* of an earlier message */
    size_t offset = 0;

    if (status == LACE_OK && pipe->sealer != NULL)
        status = lace_sealer_check(pipe->sealer);
    if (status != LACE_OK)
        return status;
    pipe->number++;
    do {
        size_t data;
        size_t length = make_chunk(pipe, payload, offset, &data);

        pipe->rest_start = 0;
        pipe->rest_end = length;
        bool first = offset == 0;
        status = lace_pipe_write_rest(call, wait || !first);
        if (status == LACE_AGAIN && pipe->rest_start != 0)
            status = lace_pipe_write_rest(call, true); /* begun, so it is to happen */
        if (status != LACE_OK) {
            int saved = errno;
            give_up(pipe, length);
            errno = saved;
            return status;
        }
        if (pipe->sealer != NULL)
            pipe->sealer->opened = true;
        offset += data;
    } while (offset < payload->size);
    return LACE_OK;
}

lace_status lace_pipe_check(const lace_payload *payload)
{
    if (payload->attachment_count != 0)
        return LACE_UNSUPPORTED;
    if (payload->data == NULL && payload->size != 0)
        return LACE_INVALID;
    return payload->size > LACE_FRAME_MOST ? LACE_TOO_BIG : LACE_OK;
}

static lace_status send_call(struct lace_end *end, const lace_payload *payload, const lace_wait *wait, bool may_wait,
                             bool parked)
{
    struct lace_call call;
    lace_status status = lace_pipe_check(payload);

    if (status != LACE_OK)
        return status;
    status = lace_call_enter(&call, end, wait);
    if (status != LACE_OK)
        return status;
    call.parked = parked;
    call.foreign = parked;
    status = lace_turn_take(&call, may_wait);
    if (status == LACE_OK) {
        status = write_message(&call, payload, may_wait);
        int saved = errno;
        lace_turn_give(end->pipe);
        errno = saved;
        if (status == LACE_OK)
            lace_end_count_slow(end, payload->size);
    }
    lace_call_leave(&call);
    return status;
}

lace_status lace_pipe_send(struct lace_end *end, const lace_payload *payload, const lace_wait *wait)
{
    return send_call(end, payload, wait, true, false);
}

lace_status lace_pipe_try_send(struct lace_end *end, const lace_payload *payload, const lace_wait *wait, bool parked)
{
    return send_call(end, payload, wait, false, parked);
}

/* ---- select ------------------------------------------------------------------------------------------- */

/* With the lock held: what poll says now. */
static short poll_now(const struct lace_pipe *pipe, short events)
{
    struct pollfd poll_fd = {.fd = pipe->fd, .events = events};

    return pipe->fd >= 0 && poll(&poll_fd, 1, 0) == 1 ? poll_fd.revents : 0;
}

bool lace_pipe_ended(struct lace_end *end)
{
    struct lace_wakes wakes = {.count = 0};

    lace_pipe_lock(end->pipe);
    bool ended = (poll_now(end->pipe, POLLRDHUP) & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
    lace_pipe_unlock(end->pipe, &wakes);
    return ended;
}

bool lace_pipe_peek(struct lace_end *end)
{
    struct lace_wakes wakes = {.count = 0};
    struct lace_pipe *pipe = end->pipe;

    lace_pipe_lock(pipe);
    bool ready;
    if (pipe->bytes != NULL) /* the bell tells of an end, and the memory of all else */
        ready = (end->side == LACE_SIDE_RECEIVER && pipe->ripe) || lace_byte_ring_ready(pipe->bytes) ||
                poll_now(pipe, POLLRDHUP) != 0;
    else
        ready = end->side == LACE_SIDE_SENDER ? !pipe->stalled && poll_now(pipe, POLLOUT) != 0
                                              : pipe->ripe || poll_now(pipe, POLLIN) != 0;
    lace_pipe_unlock(pipe, &wakes);
    return ready;
}

bool lace_pipe_enter(struct lace_end *end, bool ended, struct lace_waiter *waiter, struct lace_party *party,
                     struct pollfd *ret_poll)
{
    struct lace_pipe *pipe = end->pipe;
    struct lace_wakes wakes = {.count = 0};

    waiter->listed = false;
    lace_pipe_lock(pipe);
    bool sender = end->side == LACE_SIDE_SENDER;
    bool sleep = !lace_end_closed(end) && (ended || sender || !pipe->ripe);
    bool listens = pipe->bytes != NULL && !ended;
    if (sleep) {
        lace_waiters_add(&pipe->watchers, waiter, party);
        pipe->users++;
        *ret_poll = (struct pollfd){
            .fd = pipe->fd,
            .events = ended ? POLLRDHUP : sender && pipe->bytes == NULL ? POLLOUT : POLLIN,
        };
        /* Another sender takes what room there is, and tells us when its message is through. */
        if (sender && pipe->busy) {
            ret_poll->fd = -1;
            pipe->shunned = true;
            listens = false;
        }
    }
    lace_pipe_unlock(pipe, &wakes);
    /* Whoever has to say something after this finds it in the list of watchers, or hears that the bell is wanted. */
    return sleep && !(listens && lace_pipe_listen(pipe));
}

void lace_pipe_leave(struct lace_end *end, struct lace_waiter *waiter)
{
    struct lace_pipe *pipe = end->pipe;
    struct lace_wakes wakes = {.count = 0};
    int fd = -1;

    lace_pipe_lock(pipe);
    if (waiter->listed) {
        lace_waiters_remove(&pipe->watchers, waiter);
        pipe->users--;
        fd = lace_pipe_retire(pipe);
    }
    lace_pipe_unlock(pipe, &wakes);
    lace_pipe_hang_up(pipe, fd);
}
