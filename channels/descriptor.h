/* descriptor.h - descriptors of our own are never 0, 1 or 2.
 *
 * Where those are closed, as in a daemon, the kernel would give them to us, and whoever prints would write into a region.
 */
#ifndef LACE_DESCRIPTOR_H
#define LACE_DESCRIPTOR_H

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Takes a new descriptor, or -1; gives it, or another for it, closed on exec; -1, with errno. */
static inline int lace_descriptor(int fd)
{
    if (__builtin_expect(fd < 0 || fd > STDERR_FILENO, 1))
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int saved = errno;
    close(fd);
    errno = saved;
    return moved;
}

#endif
