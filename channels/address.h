/* address.h - the files that named endpoints lie in: addresses, whose a file is, making one, waiting for one. */
#ifndef LACE_ADDRESS_H
#define LACE_ADDRESS_H

#include "await.h"

#include <stddef.h>
#include <sys/stat.h>

#define LACE_PATH_MOST 4096
/* What a name for a moment adds to the folder that it is in, at most. */
#define LACE_TEMPORARY 16

/* The path of an address that begins with `scheme` ("pipe:"). INVALID, explained. */
lace_status lace_address_path(const char *address, const char *scheme, const char **ret_path);

/* memory_name.c: the path of the socket that "unix:PATH" and "memory:NAME" name, and which of the two it is. Makes the
 * folder that it lies in for the latter. INVALID, MALFORMED, EXPOSED, explained; SYSTEM. */
lace_status lace_address_socket(const char *address, char ret_path[LACE_PATH_MOST], bool *ret_memory);

/* Whether a file that an endpoint lies in is of the right type (S_IFIFO, S_IFSOCK) and its user's alone. MALFORMED,
 * EXPOSED, explained. */
lace_status lace_address_check(const struct stat *stat, mode_t type, const char *path);
/* The same for what the path names now, a link not followed. *ret_there says whether it names anything. SYSTEM. */
lace_status lace_address_look(const char *path, mode_t type, bool *ret_there);

/* Makes a FIFO or a folder (S_IFIFO, S_IFDIR) that is its user's alone, unless somebody else has meanwhile. It gets its name
 * when it has its mode, whatever the umask is. INVALID, SYSTEM. */
lace_status lace_address_make(const char *path, mode_t type);

/* The user's home folder: what HOME says, or else the system; cut off at `room`, which paths have as well. False: there is
 * none. */
bool lace_address_home(char *ret_home, size_t room);

/* A name in the same folder that nobody has. INVALID when it is too long for `room`; SYSTEM. */
lace_status lace_address_temporary(const char *path, char *ret_name, size_t room);

/* Something that tells when a file may have come or changed: an inotify descriptor. It tells of `path` itself, when
 * somebody opens it or it goes away, or of that name in its folder, when it comes. */
lace_status lace_address_watch_file(const char *path, int *ret_watch);
lace_status lace_address_watch_name(const char *path, int *ret_watch);
/* Waits until it tells of the name, or of anything when `path` is NULL. As lace_await. */
lace_status lace_address_await(struct lace_await *await, int watch, const char *path);

#endif
