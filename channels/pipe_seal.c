/* pipe_seal.c - what a seal adds to a pipe channel: ends that are made with a key, and the word that a stream ends. */
#define _GNU_SOURCE
#include "byte_ring.h"
#include "greeting.h"
#include "hooks.h"
#include "pipe.h"
#include "seal.h"
#include "turn.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- making ------------------------------------------------------------------------------------------- */

static bool has_key(const lace_seal_options *options)
{
    return options != NULL && options->key != NULL;
}

void lace_pipe_unmake(struct lace_end *end)
{
    end->pipe->fd = -1;
    lace_pipe_close(end);
    lace_pipe_destroy(end);
}

lace_status lace_sealed_sender(int fd, const lace_seal_options *options, lace_sender **ret_sender)
{
    if (lace_forked())
        return LACE_FORKED;
    struct lace_end *end;

    if (!has_key(options) || ret_sender == NULL)
        return LACE_INVALID;
    lace_status status = lace_pipe_make(fd, options->name, LACE_SIDE_SENDER, &end);
    if (status != LACE_OK)
        return status;
    status = end->pipe->socket ? LACE_INVALID : lace_sealer_create(options->key, options->label, &end->pipe->sealer);
    if (status == LACE_OK)
        *ret_sender = (lace_sender *)end;
    else
        lace_pipe_unmake(end);
    return status;
}

lace_status lace_sealed_receiver(int fd, const lace_seal_options *options, lace_receiver **ret_receiver)
{
    if (lace_forked())
        return LACE_FORKED;
    struct lace_end *end;

    if (!has_key(options) || ret_receiver == NULL)
        return LACE_INVALID;
    lace_status status = lace_pipe_make(fd, options->name, LACE_SIDE_RECEIVER, &end);
    if (status != LACE_OK)
        return status;
    status = end->pipe->socket
                 ? LACE_INVALID
                 : lace_unsealer_create(options->key, options->label, options->max_age, &end->pipe->reader.unsealer);
    if (status == LACE_OK)
        *ret_receiver = (lace_receiver *)end;
    else
        lace_pipe_unmake(end);
    return status;
}

/* Makes the two ends of a connection and has them greet. The descriptors stay the caller's if that fails. */
static lace_status greet(int fd, int twin, lace_role role, const lace_seal_options *options, const lace_wait *wait,
                         struct lace_end **ret_sender, struct lace_end **ret_receiver)
{
    struct lace_end *sender;
    struct lace_end *receiver;
    lace_status status = lace_pipe_make(twin, options->name, LACE_SIDE_SENDER, &sender);

    if (status != LACE_OK)
        return status;
    status = lace_pipe_make(fd, options->name != NULL ? options->name : sender->name, LACE_SIDE_RECEIVER, &receiver);
    if (status != LACE_OK)
        goto fail_sender;
    struct lace_manners manners = {.role = role, .key = options->key, .label = options->label};
    status = receiver->pipe->socket
                 ? lace_greet(receiver, &manners, wait, &sender->pipe->sealer, &receiver->pipe->reader.unsealer)
                 : LACE_INVALID;
    if (status != LACE_OK)
        goto fail_receiver;
    sender->pipe->greeted = receiver->pipe->greeted = true;
    sender->pipe->forks = receiver->pipe->forks = lace_forks();
    *ret_sender = sender;
    *ret_receiver = receiver;
    return LACE_OK;

fail_receiver:
    lace_pipe_unmake(receiver);
fail_sender:
    lace_pipe_unmake(sender);
    return status;
}

/* Takes some of the send buffer out of use, where there is plenty, to have room for the last word. */
#define RESERVE (32 << 10)

static void keep_reserve(int fd)
{
    int size;
    socklen_t length = sizeof size;

    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size >= 4 * RESERVE) {
        size = (size - RESERVE) / 2; /* the kernel doubles what it is told */
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
}

lace_status lace_sealed_socket(int fd, lace_role role, const lace_seal_options *options, const lace_wait *wait,
                               lace_sender **ret_sender, lace_receiver **ret_receiver)
{
    if (lace_forked())
        return LACE_FORKED;
    struct lace_end *sender;
    struct lace_end *receiver;

    if (!has_key(options) || ret_sender == NULL || ret_receiver == NULL ||
        (role != LACE_ROLE_CLIENT && role != LACE_ROLE_SERVER))
        return LACE_INVALID;
    int twin = LACE_FAILS(LACE_FAULT_PIPE) ? (errno = EMFILE, -1) : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (twin < 0)
        return LACE_SYSTEM;
    lace_status status = greet(fd, twin, role, options, wait, &sender, &receiver);
    if (status != LACE_OK) {
        int saved = errno;
        close(twin);
        errno = saved;
        return status;
    }
    keep_reserve(twin);
    *ret_sender = (lace_sender *)sender;
    *ret_receiver = (lace_receiver *)receiver;
    return LACE_OK;
}

/* ---- the last word ------------------------------------------------------------------------------------ */

/* Whether a stream has still to say that it ends: not in a forked child, not when torn, and only once. */
static bool can_end(const struct lace_pipe *pipe)
{
    return pipe->sealer != NULL && lace_sealer_check(pipe->sealer) == LACE_OK;
}

/* How often to make room for the last word: others who write to the same FIFO may be there first. */
#define ROOMS 4

/* Makes room in a full pipe or socket: this end sends no more, so a larger buffer holds up nobody. */
static bool make_room(const struct lace_pipe *pipe, int fd)
{
    int size;
    socklen_t length = sizeof size;

    if (LACE_FAILS(LACE_FAULT_PIPE))
        return false;
    if (pipe->bytes != NULL)
        return true;
    if (!pipe->socket) {
        size = fcntl(fd, F_GETPIPE_SZ);
        return size > 0 && fcntl(fd, F_SETPIPE_SZ, size * 2) > size;
    }
    return getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0;
}

/* What is left of the stream: the rest of a record, and its END. */
static size_t make_words(struct lace_pipe *pipe, unsigned char *words)
{
    size_t size = pipe->rest_end - pipe->rest_start;

    memcpy(words, pipe->rest + pipe->rest_start, size);
    if (can_end(pipe)) {
        if (!pipe->sealer->opened)
            size += lace_sealer_open(pipe->sealer, words + size);
        size += lace_sealer_end(pipe->sealer, words + size);
    }
    return size;
}

static void say_end(struct lace_pipe *pipe, int fd)
{
    unsigned char words[LACE_CHUNK_MOST + sizeof(struct lace_opening) + LACE_END_SIZE];
    unsigned rooms = 0;
    bool forked = lace_sealer_check(pipe->sealer) == LACE_UNSUPPORTED;
    size_t size = forked ? 0 : make_words(pipe, words);

    for (size_t done = 0; done < size;) {
        ssize_t count = -1;

        if (LACE_FAILS(LACE_FAULT_WRITE))
            errno = EAGAIN;
        else if (pipe->bytes != NULL)
            count = lace_byte_ring_write(pipe->bytes, fd, words, size, true); /* it has room in the reserve */
        else
            count = pipe->socket ? send(fd, words + done, size - done, MSG_NOSIGNAL)
                                 : write(fd, words + done, size - done);
        if (count >= 0) {
            done += (size_t)count;
        } else if ((errno == EAGAIN || errno == EWOULDBLOCK) && rooms < ROOMS) {
            rooms++;
            if (!make_room(pipe, fd))
                return;
        } else if (errno != EINTR) {
            return; /* nobody reads any more, or there is no room: the reader says TRUNCATED then */
        }
    }
}

void lace_pipe_hang_up(struct lace_pipe *pipe, int fd)
{
    if (fd < 0)
        return;
    if (pipe->sealer != NULL)
        say_end(pipe, fd);
    bool ours = pipe->greeted && pipe->forks == lace_forks(); /* a child's end is not the connection's */
    if (ours && pipe->bytes != NULL)
        lace_byte_ring_leave(pipe->bytes);
    if (ours)
        shutdown(fd, pipe->bytes != NULL ? SHUT_RDWR : pipe->sealer != NULL ? SHUT_WR : SHUT_RD);
    close(fd);
}

/* With the turn: puts the END into rest[] and writes it. */
static lace_status write_end(struct lace_call *call)
{
    struct lace_pipe *pipe = call->pipe;
    lace_status status = lace_pipe_write_rest(call, true);

    if (status != LACE_OK || !can_end(pipe))
        return status;
    pipe->sealer->commit = 0;
    pipe->rest_start = pipe->rest_end = 0;
    pipe->rest_end = make_words(pipe, pipe->rest);
    return lace_pipe_write_rest(call, true);
}

lace_status lace_pipe_finish(struct lace_end *end, const lace_wait *wait)
{
    struct lace_wakes wakes = {.count = 0};
    struct lace_pipe *pipe = end->pipe;
    struct lace_call call;
    lace_status status = lace_call_enter(&call, end, wait);

    if (status != LACE_OK)
        return status;
    lace_pipe_lock(pipe);
    bool last = pipe->ends == 1;
    lace_pipe_unlock(pipe, &wakes);
    if (last && pipe->sealer != NULL) {
        status = lace_turn_take(&call, true);
        if (status == LACE_OK) {
            status = write_end(&call);
            int saved = errno;
            lace_turn_give(pipe);
            errno = saved;
        }
    }
    lace_call_leave(&call);
    if (status != LACE_TIMEOUT && status != LACE_CANCELLED && status != LACE_SYSTEM)
        lace_pipe_close(end);
    return status;
}
