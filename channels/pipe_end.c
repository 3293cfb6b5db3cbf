/* pipe_end.c - making, sharing, closing and ending the ends of pipe channels. */
#define _GNU_SOURCE
#include "byte_ring.h"
#include "descriptor.h"
#include "hooks.h"
#include "pipe.h"
#include "seal.h"
#include "text.h"
#include "turn.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static _Atomic uint64_t names; /* the last "pipe-N"; relaxed */

static void close_retired(int fd)
{
    if (fd >= 0)
        close(fd);
}

static struct lace_end *make_end(struct lace_pipe *pipe, enum lace_side side, const char *name)
{
    struct lace_end *end = lace_allocate(sizeof *end);

    if (end == NULL)
        return NULL;
    end->pipe = pipe;
    end->side = side;
    lace_text_print(end->name, sizeof end->name, "%s", name);
    return end;
}

static uint64_t make_writer(const void *unique)
{
    uint64_t writer;

    if (getrandom(&writer, sizeof writer, GRND_NONBLOCK) != sizeof writer)
        writer = ((uint64_t)lace_clock() ^ (uint64_t)(uintptr_t)unique) * UINT64_C(0x9e3779b97f4a7c15) ^
                 (uint64_t)getpid() << 32;
    return writer;
}

/* Whether a descriptor is one that an end can be made of. */
static lace_status check_fd(int fd, enum lace_side side, bool *ret_socket)
{
    struct stat stat;
    int type;
    socklen_t size = sizeof type;
    int flags = LACE_FAILS(LACE_FAULT_PIPE) ? (errno = EMFILE, -1) : fcntl(fd, F_GETFL);

    if (flags < 0 || fstat(fd, &stat) != 0)
        return LACE_SYSTEM;
    bool is_socket = S_ISSOCK(stat.st_mode);
    if (!S_ISFIFO(stat.st_mode) && !is_socket)
        return LACE_INVALID;
    if (is_socket && (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM))
        return LACE_INVALID;
    int mode = flags & O_ACCMODE;
    if (!is_socket && mode != O_RDWR && mode != (side == LACE_SIDE_SENDER ? O_WRONLY : O_RDONLY))
        return LACE_INVALID;
    if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return LACE_SYSTEM;
    *ret_socket = is_socket;
    return LACE_OK;
}

lace_status lace_pipe_make(int fd, const char *name, enum lace_side side, struct lace_end **ret_end)
{
    bool socket;
    lace_status status = check_fd(fd, side, &socket);
    char number[64];

    if (status != LACE_OK)
        return status;
    struct lace_pipe *pipe = lace_allocate(sizeof *pipe);
    if (pipe == NULL)
        return LACE_NOMEM;
    if (name == NULL) {
        snprintf(number, sizeof number, "pipe-%llu",
                 (unsigned long long)atomic_fetch_add_explicit(&names, 1, memory_order_relaxed) + 1);
        name = number;
    }
    struct lace_end *end = make_end(pipe, side, name);
    if (end == NULL) {
        free(pipe);
        return LACE_NOMEM;
    }
    pipe->references = 1;
    pipe->ends = 1;
    pipe->fd = fd;
    pipe->event = -1;
    pipe->staged = -1;
    pipe->epoll = -1;
    pipe->socket = socket;
    pipe->writer = make_writer(pipe);
    *ret_end = end;
    return LACE_OK;
}

lace_status lace_pipe_sender(int fd, const char *name, lace_sender **ret_sender)
{
    if (lace_forked())
        return LACE_FORKED;
    struct lace_end *end;

    if (ret_sender == NULL)
        return LACE_INVALID;
    lace_status status = lace_pipe_make(fd, name, LACE_SIDE_SENDER, &end);
    if (status == LACE_OK)
        *ret_sender = (lace_sender *)end;
    return status;
}

lace_status lace_pipe_receiver(int fd, const char *name, lace_receiver **ret_receiver)
{
    if (lace_forked())
        return LACE_FORKED;
    struct lace_end *end;

    if (ret_receiver == NULL)
        return LACE_INVALID;
    lace_status status = lace_pipe_make(fd, name, LACE_SIDE_RECEIVER, &end);
    if (status == LACE_OK)
        *ret_receiver = (lace_receiver *)end;
    return status;
}

lace_status lace_pipe_create(const char *name, lace_sender **ret_sender, lace_receiver **ret_receiver)
{
    if (lace_forked())
        return LACE_FORKED;
    int fds[2];
    lace_sender *sender;

    if (ret_sender == NULL || ret_receiver == NULL)
        return LACE_INVALID;
    if (LACE_FAILS(LACE_FAULT_PIPE) || pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return LACE_SYSTEM;
    lace_status status = LACE_SYSTEM;
    fds[0] = lace_descriptor(fds[0]);
    fds[1] = lace_descriptor(fds[1]);
    if (fds[0] < 0 || fds[1] < 0)
        goto fail_fds;
    status = lace_pipe_sender(fds[1], name, &sender);
    if (status != LACE_OK)
        goto fail_fds;
    status = lace_pipe_receiver(fds[0], name != NULL ? name : lace_sender_name(sender), ret_receiver);
    if (status != LACE_OK)
        goto fail_sender;
    *ret_sender = sender;
    return LACE_OK;

fail_sender:
    lace_sender_destroy(sender);
    close(fds[0]);
    return status;
fail_fds:
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close_retired(fds[i]);
    return status;
}

lace_status lace_pipe_clone(struct lace_end *end, struct lace_end **ret_end)
{
    struct lace_wakes wakes = {.count = 0};
    struct lace_end *twin = make_end(end->pipe, end->side, end->name);

    if (twin == NULL)
        return LACE_NOMEM;
    lace_pipe_lock(end->pipe);
    bool closed = lace_end_closed(end);
    if (!closed) {
        end->pipe->references++;
        end->pipe->ends++;
    }
    lace_pipe_unlock(end->pipe, &wakes);
    if (closed) {
        free(twin);
        return LACE_CLOSED;
    }
    *ret_end = twin;
    return LACE_OK;
}

void lace_pipe_close(struct lace_end *end)
{
    struct lace_pipe *pipe = end->pipe;
    struct lace_wakes wakes = {.count = 0};
    int fd = -1;

    lace_pipe_lock(pipe);
    if (!lace_end_closed(end)) {
        atomic_store_explicit(&end->closed, true, memory_order_relaxed);
        pipe->ends--;
        /* All of them look again; those who wait on other ends of the pipe go on waiting. */
        lace_waiters_claim(&pipe->queue, UINT_MAX, LACE_RETRY, &wakes);
        lace_waiters_claim(&pipe->tries, UINT_MAX, LACE_RETRY, &wakes);
        lace_waiters_claim(&pipe->watchers, UINT_MAX, LACE_RETRY, &wakes);
        fd = lace_pipe_retire(pipe);
    }
    lace_pipe_unlock(pipe, &wakes);
    lace_pipe_hang_up(pipe, fd);
}

void lace_pipe_destroy(struct lace_end *end)
{
    struct lace_pipe *pipe = end->pipe;
    struct lace_wakes wakes = {.count = 0};

    lace_pipe_lock(pipe);
    bool last = --pipe->references == 0;
    lace_pipe_unlock(pipe, &wakes);
    if (last) {
        close_retired(pipe->epoll);
        close_retired(pipe->event);
        close_retired(pipe->staged);
        lace_reader_finish(&pipe->reader);
        lace_sealer_destroy(pipe->sealer);
        lace_byte_ring_destroy(pipe->bytes);
        free(pipe);
    }
    free(end);
}

/* Makes the descriptor that stands for a receiver, or for any end with its bytes in memory: readable when the pipe, or
 * the bell, is, or the end is ripe. */
static lace_status make_epoll(struct lace_pipe *pipe)
{
    struct epoll_event stream = {.events = EPOLLIN};
    struct epoll_event staged = {.events = EPOLLIN};
    int event = LACE_FAILS(LACE_FAULT_EVENTFD) ? (errno = EMFILE, -1)
                                               : lace_descriptor(eventfd(pipe->ripe ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (event < 0)
        return LACE_SYSTEM;
    int epoll = lace_descriptor(epoll_create1(EPOLL_CLOEXEC));
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, pipe->fd, &stream) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, event, &staged) != 0) {
        int saved = errno;
        close_retired(epoll);
        close(event);
        errno = saved;
        return LACE_SYSTEM;
    }
    pipe->staged = event;
    pipe->staged_set = pipe->ripe;
    pipe->epoll = epoll;
    return LACE_OK;
}

lace_status lace_pipe_fd(struct lace_end *end, int *ret_fd)
{
    struct lace_pipe *pipe = end->pipe;
    struct lace_wakes wakes = {.count = 0};
    lace_status status = LACE_OK;

    lace_pipe_lock(pipe);
    bool plain = end->side == LACE_SIDE_SENDER && pipe->bytes == NULL;
    bool first = !plain && pipe->epoll < 0;
    if (lace_end_closed(end))
        status = LACE_CLOSED;
    else if (first)
        status = make_epoll(pipe);
    if (status == LACE_OK)
        *ret_fd = plain ? pipe->fd : pipe->epoll;
    lace_pipe_unlock(pipe, &wakes);
    if (status == LACE_OK && first)
        lace_pipe_listen(pipe);
    return status;
}
