/* memory_name.c - where the two sides of "memory:NAME" meet: a socket in a folder that is this user's alone.
 *
 * That is the folder for such things that the system gives each user, XDG_RUNTIME_DIR or else /run/user/UID. Where there is
 * neither, one in the home folder: in /tmp somebody else could have taken the name. */
#define _GNU_SOURCE
#include "address.h"

#include "key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_MOST 64

static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t length = strlen(name);

    return length > 0 && length <= NAME_MOST && name[0] != '.' && strspn(name, letters) == length;
}

static lace_status fail_homeless(void)
{
    lace_explained(LACE_INVALID, "there is no folder for this user's memory: addresses: set XDG_RUNTIME_DIR, or HOME");
    return LACE_INVALID;
}

/* The folder, with no slash at its end. */
static lace_status find_folder(char *ret_folder, size_t room)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    unsigned long user = geteuid();
    struct stat stat;
    int length;

    if (runtime != NULL && runtime[0] == '/') {
        if (lstat(runtime, &stat) != 0) {
            lace_explained(LACE_INVALID, "XDG_RUNTIME_DIR names %s, which is no folder that could be used: %s", runtime,
                           strerror(errno));
            return LACE_INVALID;
        }
        length = snprintf(ret_folder, room, "%s/interlace", runtime);
    } else {
        char usual[64], home[LACE_PATH_MOST];

        snprintf(usual, sizeof usual, "/run/user/%lu", user);
        if (lstat(usual, &stat) == 0 && S_ISDIR(stat.st_mode) && stat.st_uid == user) {
            length = snprintf(ret_folder, room, "%s/interlace", usual);
        } else {
            if (!lace_address_home(home, sizeof home))
                return fail_homeless();
            length = snprintf(ret_folder, room, "%s/.interlace", home);
        }
    }
    if (length < 0 || (size_t)length >= room) {
        lace_explained(LACE_INVALID, "the path of the folder for memory: addresses is too long");
        return LACE_INVALID;
    }
    return LACE_OK;
}

static lace_status check_folder(const char *folder, const struct stat *stat)
{
    if (!S_ISDIR(stat->st_mode)) {
        lace_explained(LACE_MALFORMED, "%s is there already, and is no folder: move it away", folder);
        return LACE_MALFORMED;
    }
    if (stat->st_uid != geteuid()) {
        lace_explained(LACE_EXPOSED, "the folder %s belongs to another user (uid %lu): set XDG_RUNTIME_DIR to one of yours",
                       folder, (unsigned long)stat->st_uid);
        return LACE_EXPOSED;
    }
    if ((stat->st_mode & 077) != 0) {
        lace_explained(LACE_EXPOSED, "others may use the folder %s (its mode is %04o): chmod 700 %s", folder,
                       (unsigned)stat->st_mode & 07777, folder);
        return LACE_EXPOSED;
    }
    return LACE_OK;
}

static lace_status provide_folder(const char *folder)
{
    struct stat stat;

    if (lstat(folder, &stat) != 0) {
        lace_status status = errno == ENOENT ? lace_address_make(folder, S_IFDIR) : LACE_SYSTEM;
        if (status != LACE_OK)
            return status;
        if (lstat(folder, &stat) != 0)
            return LACE_SYSTEM;
    }
    return check_folder(folder, &stat);
}

static lace_status find_memory(const char *address, const char *name, char *ret_path, size_t room)
{
    char folder[LACE_PATH_MOST];

    if (!is_name(name)) {
        lace_explained(LACE_INVALID,
                       "'%.100s' is no address: memory:NAME has a name of 1 to %d letters, digits, '-', '_' and '.', with no "
                       "'.' at its beginning",
                       address, NAME_MOST);
        return LACE_INVALID;
    }
    lace_status status = find_folder(folder, sizeof folder);
    if (status == LACE_OK)
        status = provide_folder(folder);
    if (status == LACE_OK && (size_t)snprintf(ret_path, room, "%s/%s", folder, name) >= room) {
        lace_explained(LACE_INVALID, "%s/%s: the path is too long", folder, name);
        status = LACE_INVALID;
    }
    return status;
}

lace_status lace_address_socket(const char *address, char ret_path[LACE_PATH_MOST], bool *ret_memory)
{
    static const char memory[] = "memory:";
    const char *path;

    *ret_memory = strncmp(address, memory, strlen(memory)) == 0;
    if (*ret_memory)
        return find_memory(address, address + strlen(memory), ret_path, LACE_PATH_MOST);
    if (strncmp(address, "unix:", 5) != 0) {
        lace_explained(LACE_INVALID, "'%s' is no address for this: unix:PATH or memory:NAME was expected", address);
        return LACE_INVALID;
    }
    lace_status status = lace_address_path(address, "unix:", &path);
    if (status == LACE_OK)
        memcpy(ret_path, path, strlen(path) + 1); /* it is shorter than LACE_PATH_MOST */
    return status;
}
