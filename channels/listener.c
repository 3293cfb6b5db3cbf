/* listener.c - endpoints in a Unix socket, "unix:PATH" and "memory:NAME": the side that listens, and takes one connection
 * after another.
 *
 * Whoever connects has to greet, and may be somebody who never says a word. So nobody is waited for: connections that
 * have come and not greeted yet stand in a list, until as much has arrived as a greeting is, or something that is none.
 *
 * The descriptor of an epoll set stands for all of that. In it are the socket, those in the list (edge by edge, so
 * that one who says half a greeting does not keep it readable) and an eventfd that tells of closing. Events are taken
 * out one by one: what is left keeps the set readable. */
#define _GNU_SOURCE
#include "address.h"
#include "attach.h"
#include "await.h"
#include "descriptor.h"
#include "fork.h"
#include "frame.h"
#include "greeting.h"
#include "hooks.h"
#include "key.h"
#include "lock.h"
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define SILENT_MOST 64                    /* connections that have not greeted; the oldest goes when there are more */
#define GREETING_TIME INT64_C(5000000000) /* for the rest of a greeting that has begun, in nanoseconds */

struct lace_listener {
    struct lace_lock lock; /* guards `fd`, the list and `closed`; calls that cannot block are made under it */
    int fd;                /* -1 once closed */
    int silent[SILENT_MOST];
    unsigned silent_count;
    bool closed;
    int epoll;   /* constant, like all that follow */
    int closing; /* an eventfd, readable once it is closed */
    bool memory; /* what comes after the greeting goes through memory */
    dev_t device;
    ino_t inode;
    char *path;
    char *name;
    char *label;
    lace_key *key;
};

/* ---- making the socket -------------------------------------------------------------------------------- */

/* Whether somebody accepts connections on the socket that the path names: OK when nobody does, BUSY. */
static lace_status check_unheard(const char *path, const struct sockaddr_un *address)
{
    int fd;
    lace_status status = lace_socket_make(&fd);

    if (status != LACE_OK)
        return status;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN) {
        lace_explained(LACE_BUSY, "another listener has %s already", path);
        status = LACE_BUSY;
    } else if (errno != ECONNREFUSED && errno != ENOENT) {
        status = LACE_SYSTEM;
    }
    lace_socket_drop(fd);
    return status;
}

/* Puts the socket at its place. A socket that nobody listens at any more, of a process that was killed, is replaced. */
static lace_status put_in_place(const char *temporary, const char *path, const struct sockaddr_un *address)
{
    for (;;) {
        struct stat stale;
        struct stat replaced;
        bool there;

        if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
            return LACE_OK;
        if (errno != EEXIST)
            return LACE_SYSTEM;
        if (lstat(path, &stale) != 0) {
            if (errno == ENOENT)
                continue;
            return LACE_SYSTEM;
        }
        lace_status status = lace_address_look(path, S_IFSOCK, &there);
        if (status == LACE_OK)
            status = check_unheard(path, address);
        if (status != LACE_OK)
            return status;
        if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) != 0) {
            if (errno == ENOENT)
                continue;
            return LACE_SYSTEM;
        }
        /* Two may have found it stale, and one have been here first: then this takes back what it did. */
        if (lstat(temporary, &replaced) == 0 &&
            (replaced.st_dev != stale.st_dev || replaced.st_ino != stale.st_ino)) {
            if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) != 0)
                return LACE_SYSTEM;
            continue;
        }
        unlink(temporary);
        return LACE_OK;
    }
}

/* A listening socket at the path, of mode 0600 from the first moment on: its inode has that mode before it has a name. */
static lace_status make_socket(struct lace_listener *listener)
{
    struct sockaddr_un address;
    struct sockaddr_un temporary = {.sun_family = AF_UNIX};
    struct stat stat;
    lace_status status = lace_socket_address(listener->path, &address);

    if (status == LACE_OK)
        status = lace_address_temporary(listener->path, temporary.sun_path, sizeof temporary.sun_path);
    if (status == LACE_OK)
        status = lace_socket_make(&listener->fd);
    if (status != LACE_OK)
        return status;
    if (fchmod(listener->fd, 0600) != 0 ||
        bind(listener->fd, (const struct sockaddr *)&temporary, sizeof temporary) != 0)
        return LACE_SYSTEM;
    if (chmod(temporary.sun_path, 0600) == 0 && listen(listener->fd, SOMAXCONN) == 0 &&
        lstat(temporary.sun_path, &stat) == 0) {
        listener->device = stat.st_dev;
        listener->inode = stat.st_ino;
        status = put_in_place(temporary.sun_path, listener->path, &address);
        if (status == LACE_OK)
            return LACE_OK;
    } else {
        status = LACE_SYSTEM;
    }
    int saved = errno;
    unlink(temporary.sun_path);
    errno = saved;
    return status;
}

/* ---- the set ------------------------------------------------------------------------------------------ */

static lace_status add_to_set(struct lace_listener *listener, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    return epoll_ctl(listener->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? LACE_OK : LACE_SYSTEM;
}

static lace_status make_set(struct lace_listener *listener)
{
    if (LACE_FAILS(LACE_FAULT_EVENTFD)) {
        errno = EMFILE;
        return LACE_SYSTEM;
    }
    listener->epoll = lace_descriptor(epoll_create1(EPOLL_CLOEXEC));
    listener->closing = lace_eventfd();
    if (listener->epoll < 0 || listener->closing < 0)
        return LACE_SYSTEM;
    lace_status status = add_to_set(listener, listener->closing, EPOLLIN);
    return status == LACE_OK ? add_to_set(listener, listener->fd, EPOLLIN) : status;
}

/* ---- opening and closing ------------------------------------------------------------------------------ */

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = lace_allocate(size);

    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

static void drop(int fd)
{
    if (fd >= 0)
        lace_socket_drop(fd);
}

static void free_listener(struct lace_listener *listener)
{
    int saved = errno;

    drop(listener->fd);
    drop(listener->epoll);
    drop(listener->closing);
    lace_key_destroy(listener->key);
    free(listener->path);
    free(listener->name);
    free(listener->label);
    free(listener);
    errno = saved;
}

/* Removes the socket's name, if it is still this socket's. */
static void remove_name(const struct lace_listener *listener)
{
    struct stat stat;
    int saved = errno;

    if (lstat(listener->path, &stat) == 0 && stat.st_dev == listener->device && stat.st_ino == listener->inode)
        unlink(listener->path);
    errno = saved;
}

lace_status lace_listen(const char *address, const lace_seal_options *options, lace_listener **ret_listener)
{
    char path[LACE_PATH_MOST];
    bool memory;

    if (lace_forked())
        return LACE_FORKED;
    if (address == NULL || options == NULL || options->key == NULL || ret_listener == NULL)
        return LACE_INVALID;
    lace_status status = lace_address_socket(address, path, &memory);
    if (status != LACE_OK)
        return status;
    struct lace_listener *listener = lace_allocate(sizeof *listener);
    if (listener == NULL || !lace_fork_watch()) {
        free(listener);
        return LACE_NOMEM;
    }
    listener->fd = listener->epoll = listener->closing = -1;
    listener->memory = memory;
    listener->path = copy_text(path);
    listener->name = copy_text(options->name != NULL ? options->name : address);
    listener->label = copy_text(options->label != NULL ? options->label : "");
    listener->key = lace_key_copy(options->key);
    status = LACE_NOMEM;
    if (listener->path != NULL && listener->name != NULL && listener->label != NULL && listener->key != NULL)
        status = make_socket(listener);
    if (status == LACE_OK) {
        status = make_set(listener);
        if (status != LACE_OK)
            remove_name(listener);
    }
    if (status == LACE_OK)
        *ret_listener = listener;
    else
        free_listener(listener);
    return status;
}

void lace_listener_close(lace_listener *listener)
{
    if (listener == NULL || lace_forked())
        return;
    lace_lock_acquire(&listener->lock);
    if (!listener->closed) {
        listener->closed = true;
        remove_name(listener); /* while it listens: nobody takes it for a stale one */
        drop(listener->fd);
        listener->fd = -1;
        while (listener->silent_count > 0)
            drop(listener->silent[--listener->silent_count]);
        (void)eventfd_write(listener->closing, 1);
    }
    lace_lock_release(&listener->lock);
}

void lace_listener_destroy(lace_listener *listener)
{
    if (listener == NULL || lace_forked())
        return;
    lace_listener_close(listener);
    free_listener(listener);
}

bool lace_listener_closed(lace_listener *listener)
{
    if (listener == NULL || lace_forked())
        return true;
    lace_lock_acquire(&listener->lock);
    bool closed = listener->closed;
    lace_lock_release(&listener->lock);
    return closed;
}

const char *lace_listener_name(const lace_listener *listener)
{
    return listener != NULL ? listener->name : "";
}

lace_status lace_listener_fd(lace_listener *listener, int *ret_fd)
{
    if (lace_forked())
        return LACE_FORKED;
    if (listener == NULL || ret_fd == NULL)
        return LACE_INVALID;
    if (lace_listener_closed(listener))
        return LACE_CLOSED;
    *ret_fd = listener->epoll;
    return LACE_OK;
}

/* ---- accepting ---------------------------------------------------------------------------------------- */

/* Takes a connection out of the list. */
static void remove_silent(struct lace_listener *listener, int fd)
{
    unsigned i = 0;

    while (i < listener->silent_count && listener->silent[i] != fd)
        i++;
    if (i == listener->silent_count)
        return;
    listener->silent_count--;
    memmove(listener->silent + i, listener->silent + i + 1, (listener->silent_count - i) * sizeof *listener->silent);
}

/* Puts the next connection into the list. AGAIN when that is done, or there was none after all. */
static lace_status admit(struct lace_listener *listener)
{
    int fd = lace_descriptor(accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));

    if (fd < 0)
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? LACE_AGAIN : LACE_SYSTEM;
    lace_status status = lace_socket_check_peer(fd, listener->path);
    if (status == LACE_OK)
        status = add_to_set(listener, fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
    if (status != LACE_OK) {
        drop(fd);
        return status;
    }
    if (listener->silent_count == SILENT_MOST) {
        drop(listener->silent[0]);
        remove_silent(listener, listener->silent[0]);
    }
    listener->silent[listener->silent_count++] = fd;
    return LACE_AGAIN;
}

/* What a connection has said: nothing that could be judged yet (AGAIN), a greeting or something that is none (OK), or
 * nothing at all before it left (END), as when somebody only looks whether there is a listener. */
static lace_status listen_to(int fd, bool leaves)
{
    unsigned char bytes[LACE_HELLO_SIZE];
    uint32_t magic;
    ssize_t size = recv(fd, bytes, sizeof bytes, MSG_PEEK);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return LACE_AGAIN;
    if (size <= 0)
        return LACE_END;
    if (leaves || size == sizeof bytes)
        return LACE_OK;
    if (size < (ssize_t)sizeof magic)
        return LACE_AGAIN;
    memcpy(&magic, bytes, sizeof magic);
    return magic != LACE_GREETING_MAGIC ? LACE_OK : LACE_AGAIN;
}

/* One in the list has something to say. AGAIN: nothing that concerns anybody. */
static lace_status attend(struct lace_listener *listener, const struct epoll_event *event, int *ret_fd)
{
    int fd = event->data.fd;
    lace_status status = listen_to(fd, (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);

    if (status == LACE_AGAIN)
        return status;
    remove_silent(listener, fd);
    if (status == LACE_END) {
        drop(fd);
        return LACE_AGAIN;
    }
    epoll_ctl(listener->epoll, EPOLL_CTL_DEL, fd, NULL);
    *ret_fd = fd;
    return LACE_OK;
}

/* Takes one event after another until it has a connection that has spoken. AGAIN: there is none. */
static lace_status take_connection(struct lace_listener *listener, int *ret_fd)
{
    lace_status status = LACE_AGAIN;

    lace_lock_acquire(&listener->lock);
    for (unsigned turn = 0; status == LACE_AGAIN && !listener->closed && turn < 4 * SILENT_MOST; turn++) {
        struct epoll_event event;
        int count = epoll_wait(listener->epoll, &event, 1, 0);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            status = count == 0 ? LACE_AGAIN : LACE_SYSTEM;
            break;
        }
        status = event.data.fd == listener->fd ? admit(listener) : attend(listener, &event, ret_fd);
    }
    if (listener->closed)
        status = LACE_CLOSED;
    lace_lock_release(&listener->lock);
    return status;
}

/* The greeting has begun: its rest is a matter of moments, and a deadline that passes just now must not cost the
 * client its connection. */
static lace_status greet(const struct lace_listener *listener, int fd, const lace_wait *wait,
                         lace_sender **ret_sender, lace_receiver **ret_receiver)
{
    lace_wait brief = wait != NULL ? *wait : (lace_wait){0};
    lace_seal_options options = {.key = listener->key, .label = listener->label, .name = listener->name};

    brief.deadline = lace_clock() + GREETING_TIME;
    lace_status status = (listener->memory ? lace_sealed_memory : lace_sealed_socket)(fd, LACE_ROLE_SERVER, &options,
                                                                                      &brief, ret_sender, ret_receiver);
    if (status == LACE_TIMEOUT) {
        lace_explained(LACE_TRUNCATED, "the other side of %s began a greeting and did not go on with it",
                       listener->path);
        status = LACE_TRUNCATED;
    }
    if (status != LACE_OK)
        drop(fd);
    return status;
}

lace_status lace_accept(lace_listener *listener, const lace_wait *wait, lace_sender **ret_sender,
                        lace_receiver **ret_receiver)
{
    int fd = -1;
    lace_status status;
    LACE_AWAIT(await, wait);

    if (lace_forked())
        return LACE_FORKED;
    if (listener == NULL || ret_sender == NULL || ret_receiver == NULL)
        return LACE_INVALID;
    do {
        status = take_connection(listener, &fd);
        if (status == LACE_AGAIN)
            status = lace_await(&await, listener->epoll, POLLIN);
        else
            break;
    } while (status == LACE_OK);
    lace_await_end(&await);
    return status == LACE_OK ? greet(listener, fd, wait, ret_sender, ret_receiver) : status;
}
