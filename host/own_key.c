/* own_key.c - the user's own key: where it lies, and reading it, or another file's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../channels/address.h"
#include "host.h"

const char *lace_host_key_path(char *path, size_t size)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    char home[LACE_KEY_PATH];
    int length;

    if (config != NULL && config[0] == '/') {
        length = snprintf(path, size, "%s/interlace/key", config);
    } else {
        if (!lace_address_home(home, sizeof home))
            return "no home folder to look for the key in: set HOME, or name the key's file";
        length = snprintf(path, size, "%s/.config/interlace/key", home);
    }
    return length < 0 || (size_t)length >= size ? "the path of the key's file is too long" : NULL;
}

lace_status lace_key_load_own(const char *path, lace_key **ret_key)
{
    char own[LACE_KEY_PATH];
    if (ret_key == NULL)
        return lace_object(LACE_INVALID, "ret_key is NULL");
    const char *trouble = path == NULL ? lace_host_key_path(own, sizeof own) : NULL;
    if (trouble != NULL) {
        errno = ENOENT;
        return lace_object(LACE_SYSTEM, "%s", trouble);
    }
    const char *file = path != NULL ? path : own;
    lace_status status = lace_key_load(file, ret_key);
    if (status == LACE_OK)
        return status;
    int saved = errno;
    if (status == LACE_SYSTEM && saved == ENOENT)
        lace_object(status,
                    "there is no key in '%s': make one with `interlace key new%s%s`, or copy the other side's", file,
                    path != NULL ? " " : "", path != NULL ? path : "");
    else if (status == LACE_SYSTEM)
        lace_object(status, "cannot open the key file '%s': %s", file, strerror(saved));
    else
        lace_object(status, "%s", lace_explain(status));
    errno = saved;
    return status;
}
