/* fifo.c - endpoints in a FIFO: "pipe:PATH". Whoever comes first makes it. */
#define _GNU_SOURCE
#include "address.h"
#include "descriptor.h"
#include "fork.h"
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes sure that there is a FIFO that is ours alone. */
static lace_status provide(const char *path)
{
    bool there;
    lace_status status = lace_address_look(path, S_IFIFO, &there);

    return status == LACE_OK && !there ? lace_address_make(path, S_IFIFO) : status;
}

/* The open file is what its name seemed to be: nobody has put another in its place. */
static lace_status check_open(int fd, const char *path)
{
    struct stat stat;

    return fstat(fd, &stat) != 0 ? LACE_SYSTEM : lace_address_check(&stat, S_IFIFO, path);
}

static int open_fifo(const char *path, int flags)
{
    return lace_descriptor(open(path, flags | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY));
}

static lace_status fail(int fd, lace_status status)
{
    int saved = errno;

    close(fd);
    errno = saved;
    return status;
}

/* Opens the FIFO for writing, as soon as somebody has it open for reading. AGAIN: it has gone, look again. */
static lace_status open_when_read(const char *path, struct lace_await *await, int *ret_fd)
{
    int watch = -1;
    int fd = open_fifo(path, O_WRONLY);
    lace_status status = LACE_OK;

    if (fd < 0 && errno == ENXIO)
        status = lace_address_watch_file(path, &watch);
    /* Once watched, a reader that comes is told of: so this open comes after. */
    while (status == LACE_OK && fd < 0) {
        if (watch >= 0)
            fd = open_fifo(path, O_WRONLY);
        if (fd < 0)
            status = watch >= 0 && errno == ENXIO ? lace_address_await(await, watch, NULL) : LACE_SYSTEM;
    }
    int saved = errno;
    if (watch >= 0)
        close(watch);
    errno = saved;
    if (fd >= 0)
        *ret_fd = fd;
    return status == LACE_SYSTEM && errno == ENOENT ? LACE_AGAIN : status;
}

static lace_status find_path(const char *address, const lace_seal_options *options, const void *first,
                             const char **ret_path)
{
    if (lace_forked())
        return LACE_FORKED;
    if (address == NULL || options == NULL || options->key == NULL || first == NULL)
        return LACE_INVALID;
    return lace_address_path(address, "pipe:", ret_path);
}

static lace_seal_options named(const lace_seal_options *options, const char *address)
{
    lace_seal_options own = *options;

    if (own.name == NULL)
        own.name = address;
    return own;
}

lace_status lace_open_sender(const char *address, const lace_seal_options *options, const lace_wait *wait,
                             lace_sender **ret_sender)
{
    const char *path;
    int fd = -1;
    lace_status status = find_path(address, options, ret_sender, &path);
    LACE_AWAIT(await, wait);

    if (status != LACE_OK)
        return status;
    do {
        status = provide(path);
        if (status == LACE_OK)
            status = open_when_read(path, &await, &fd);
    } while (status == LACE_AGAIN);
    lace_await_end(&await);
    if (status != LACE_OK)
        return status;
    lace_seal_options own = named(options, address);
    status = check_open(fd, path);
    if (status == LACE_OK)
        status = lace_sealed_sender(fd, &own, ret_sender);
    return status == LACE_OK ? LACE_OK : fail(fd, status);
}

/* Nobody else reads it, as long as this is open. */
static lace_status claim(int fd, const char *path)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return LACE_OK;
    if (errno != EWOULDBLOCK)
        return LACE_SYSTEM;
    lace_explained(LACE_BUSY, "%s has a receiver already: a pipe has one at a time", path);
    return LACE_BUSY;
}

lace_status lace_open_receiver(const char *address, const lace_seal_options *options, lace_receiver **ret_receiver)
{
    const char *path;
    int fd = -1;
    lace_status status = find_path(address, options, ret_receiver, &path);

    if (status != LACE_OK)
        return status;
    do {
        status = provide(path);
        if (status == LACE_OK)
            fd = open_fifo(path, O_RDONLY);
    } while (status == LACE_OK && fd < 0 && errno == ENOENT);
    if (status == LACE_OK && fd < 0)
        status = LACE_SYSTEM;
    if (status != LACE_OK)
        return status;
    lace_seal_options own = named(options, address);
    status = check_open(fd, path);
    if (status == LACE_OK)
        status = claim(fd, path);
    if (status == LACE_OK)
        status = lace_sealed_receiver(fd, &own, ret_receiver);
    return status == LACE_OK ? LACE_OK : fail(fd, status);
}
