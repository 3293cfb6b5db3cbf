/* socket.c - endpoints in a Unix socket, "unix:PATH" and "memory:NAME": the connecting side. */
#define _GNU_SOURCE
#include "socket.h"

#include "address.h"
#include "attach.h"
#include "descriptor.h"
#include "fork.h"
#include "hooks.h"
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* A listener whose queue is full says so at once, and cannot be polled for room: the kernel waits for it, so many
 * microseconds at a time, since no token ends that wait. */
#define QUEUE_WAIT 50000

lace_status lace_socket_address(const char *path, struct sockaddr_un *ret_address)
{
    size_t length = strlen(path);

    if (length >= sizeof ret_address->sun_path) {
        lace_explained(LACE_INVALID, "%s: the path is too long for a socket: %zu bytes at most", path,
                       sizeof ret_address->sun_path - 1);
        return LACE_INVALID;
    }
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path, path, length + 1);
    return LACE_OK;
}

lace_status lace_socket_make(int *ret_fd)
{
    int fd = LACE_FAILS(LACE_FAULT_PIPE)
                 ? (errno = EMFILE, -1)
                 : lace_descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0)
        return LACE_SYSTEM;
    *ret_fd = fd;
    return LACE_OK;
}

lace_status lace_socket_check_peer(int fd, const char *path)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return LACE_SYSTEM;
    if (peer.uid == geteuid())
        return LACE_OK;
    lace_explained(LACE_FOREIGN, "the process at the other side of %s (pid %ld) is another user's (uid %lu)", path,
                   (long)peer.pid, (unsigned long)peer.uid);
    return LACE_FOREIGN;
}

void lace_socket_drop(int fd)
{
    int saved = errno;

    close(fd);
    errno = saved;
}

/* Connects while the listener's queue is full, which the kernel waits for, a while. */
static int connect_slowly(int fd, const struct sockaddr_un *address)
{
    struct timeval span = {.tv_usec = QUEUE_WAIT};

    if (fcntl(fd, F_SETFL, 0) != 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &span, sizeof span) != 0)
        return -1;
    int result = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int saved = errno;
    span.tv_usec = 0;
    if (result == 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &span, sizeof span) != 0))
        result = -1;
    else
        errno = saved;
    return result;
}

/* One try. AGAIN: nobody listens; RETRY: somebody does, and has no room. */
static lace_status try_connect(int fd, const char *path, const struct sockaddr_un *address, bool slowly)
{
    bool there;
    lace_status status = lace_address_look(path, S_IFSOCK, &there);

    if (status != LACE_OK)
        return status;
    if (!there)
        return LACE_AGAIN;
    if ((slowly ? connect_slowly(fd, address) : connect(fd, (const struct sockaddr *)address, sizeof *address)) == 0)
        return LACE_OK;
    if (errno == ENOENT || errno == ECONNREFUSED)
        return LACE_AGAIN;
    return errno == EAGAIN || errno == EINTR || errno == EINPROGRESS ? LACE_RETRY : LACE_SYSTEM;
}

/* Has `fd` connected as soon as somebody listens. */
static lace_status connect_when_heard(int fd, const char *path, const struct sockaddr_un *address,
                                      struct lace_await *await)
{
    lace_status status = try_connect(fd, path, address, false);
    int watch = -1;

    if (status == LACE_AGAIN) {
        status = lace_address_watch_name(path, &watch);
        /* Once watched, a listener that comes is told of: so this try comes after. */
        if (status == LACE_OK)
            status = try_connect(fd, path, address, false);
    }
    while (status == LACE_AGAIN || status == LACE_RETRY) {
        bool slowly = status == LACE_RETRY;

        if (!slowly && watch < 0)
            status = lace_address_watch_name(path, &watch);
        else if (slowly) /* parks, and looks at the deadline and the token */
            status = lace_await_check(await);
        else
            status = lace_address_await(await, watch, path);
        if (status == LACE_OK)
            status = try_connect(fd, path, address, slowly);
    }
    if (watch >= 0)
        lace_socket_drop(watch);
    return status;
}

lace_status lace_connect(const char *address, const lace_seal_options *options, const lace_wait *wait,
                         lace_sender **ret_sender, lace_receiver **ret_receiver)
{
    char path[LACE_PATH_MOST];
    bool memory;
    struct sockaddr_un name;
    int fd;
    LACE_AWAIT(await, wait);

    if (lace_forked())
        return LACE_FORKED;
    if (address == NULL || options == NULL || options->key == NULL || ret_sender == NULL || ret_receiver == NULL)
        return LACE_INVALID;
    lace_status status = lace_address_socket(address, path, &memory);
    if (status == LACE_OK)
        status = lace_socket_address(path, &name);
    if (status == LACE_OK)
        status = lace_socket_make(&fd);
    if (status != LACE_OK)
        return status;
    status = connect_when_heard(fd, path, &name, &await);
    lace_await_end(&await);
    if (status == LACE_OK)
        status = lace_socket_check_peer(fd, path);
    if (status == LACE_OK) {
        lace_seal_options own = *options;

        if (own.name == NULL)
            own.name = address;
        status = (memory ? lace_sealed_memory : lace_sealed_socket)(fd, LACE_ROLE_CLIENT, &own, wait, ret_sender,
                                                                    ret_receiver);
    }
    if (status != LACE_OK)
        lace_socket_drop(fd);
    return status;
}
