/* address.c - the files that named endpoints lie in. They are their user's alone, and made under a name of their own
 * first: nobody ever sees one that is not ready, or whose mode is another, whatever the umask of the process. */
#define _GNU_SOURCE
#include "address.h"

#include "descriptor.h"
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <unistd.h>

lace_status lace_address_path(const char *address, const char *scheme, const char **ret_path)
{
    size_t length = strlen(scheme);

    if (strncmp(address, scheme, length) != 0) {
        lace_explained(LACE_INVALID, "'%s' is no address for this: %sPATH was expected", address, scheme);
        return LACE_INVALID;
    }
    if (address[length] == '\0') {
        lace_explained(LACE_INVALID, "'%s' names no file: %s/some/path was expected", address, scheme);
        return LACE_INVALID;
    }
    if (strlen(address + length) >= LACE_PATH_MOST) {
        lace_explained(LACE_INVALID, "the path of the address is too long: %d bytes at most", LACE_PATH_MOST - 1);
        return LACE_INVALID;
    }
    *ret_path = address + length;
    return LACE_OK;
}

lace_status lace_address_check(const struct stat *stat, mode_t type, const char *path)
{
    const char *wanted = type == S_IFIFO ? "FIFO" : "socket";

    if (S_ISLNK(stat->st_mode)) {
        lace_explained(LACE_MALFORMED, "%s is a symbolic link: name the %s itself", path, wanted);
        return LACE_MALFORMED;
    }
    if ((stat->st_mode & S_IFMT) != type) {
        lace_explained(LACE_MALFORMED, "%s is there already, and is no %s: choose another path", path, wanted);
        return LACE_MALFORMED;
    }
    if (stat->st_uid != geteuid()) {
        lace_explained(LACE_EXPOSED, "the %s %s belongs to another user (uid %lu): choose another path", wanted, path,
                       (unsigned long)stat->st_uid);
        return LACE_EXPOSED;
    }
    if ((stat->st_mode & 077) != 0) {
        lace_explained(LACE_EXPOSED, "others may use the %s %s (its mode is %04o): chmod 600 %s, or remove it",
                       wanted, path, (unsigned)stat->st_mode & 07777, path);
        return LACE_EXPOSED;
    }
    return LACE_OK;
}

lace_status lace_address_look(const char *path, mode_t type, bool *ret_there)
{
    struct stat stat;

    if (lstat(path, &stat) == 0) {
        *ret_there = true;
        return lace_address_check(&stat, type, path);
    }
    if (errno != ENOENT)
        return LACE_SYSTEM;
    *ret_there = false;
    return LACE_OK;
}

/* How much of a path is its folder, with the slash; 0: none is named. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

lace_status lace_address_temporary(const char *path, char *ret_name, size_t room)
{
    unsigned number;
    size_t folder = folder_length(path);

    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return LACE_SYSTEM;
    if (folder + LACE_TEMPORARY > room) {
        lace_explained(LACE_INVALID, "%s: the path is too long for a socket, whose folder has %zu bytes at most",
                       path, room - LACE_TEMPORARY);
        return LACE_INVALID;
    }
    snprintf(ret_name, room, "%.*s.lace%08x", (int)folder, path, number);
    return LACE_OK;
}

lace_status lace_address_make(const char *path, mode_t type)
{
    char temporary[LACE_PATH_MOST + LACE_TEMPORARY];
    mode_t mode = type == S_IFDIR ? 0700 : 0600;
    lace_status status = lace_address_temporary(path, temporary, sizeof temporary);

    if (status != LACE_OK)
        return status;
    if ((type == S_IFDIR ? mkdir(temporary, mode) : mkfifo(temporary, mode)) != 0)
        return LACE_SYSTEM;
    bool made = chmod(temporary, mode) == 0; /* whatever the umask has taken away */
    if (made && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return LACE_OK;
    int saved = errno;
    (void)remove(temporary);
    errno = saved;
    return made && saved == EEXIST ? LACE_OK : LACE_SYSTEM;
}

bool lace_address_home(char *ret_home, size_t room)
{
    const char *home = getenv("HOME");
    struct passwd entry; /* `home` may lie in its strings: other threads ask, too */
    char strings[4096];

    if (home == NULL || home[0] != '/') {
        struct passwd *found = NULL;
        if (getpwuid_r(geteuid(), &entry, strings, sizeof strings, &found) != 0)
            found = NULL;
        home = found != NULL ? found->pw_dir : NULL;
    }
    return home != NULL && home[0] == '/' && snprintf(ret_home, room, "%s", home) > 0;
}

static lace_status watch(const char *path, uint32_t mask, int *ret_watch)
{
    int fd = lace_descriptor(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));

    if (fd < 0)
        return LACE_SYSTEM;
    if (inotify_add_watch(fd, path, mask) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return LACE_SYSTEM;
    }
    *ret_watch = fd;
    return LACE_OK;
}

lace_status lace_address_watch_file(const char *path, int *ret_watch)
{
    /* IN_ATTRIB comes when it is removed, too, though somebody has it open. */
    return watch(path, IN_OPEN | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_DONT_FOLLOW, ret_watch);
}

lace_status lace_address_watch_name(const char *path, int *ret_watch)
{
    char folder[LACE_PATH_MOST];
    size_t length = folder_length(path);

    snprintf(folder, sizeof folder, "%.*s", length != 0 ? (int)length : 1, length != 0 ? path : ".");
    return watch(folder, IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR, ret_watch);
}

/* Reads what there is: whether some of it is about the name. */
static bool tells(int fd, const char *name)
{
    _Alignas(struct inotify_event) char events[4096];
    bool told = false;

    for (;;) {
        ssize_t size = read(fd, events, sizeof events);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            return told;
        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *event = (const struct inotify_event *)(events + at);

            told |= name == NULL || event->len == 0 || strcmp(event->name, name) == 0;
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
}

lace_status lace_address_await(struct lace_await *await, int fd, const char *path)
{
    const char *name = path != NULL ? path + folder_length(path) : NULL;

    while (!tells(fd, name)) {
        lace_status status = lace_await(await, fd, POLLIN);
        if (status != LACE_OK)
            return status;
    }
    return LACE_OK;
}
