/* program.c - which program a child is: `interlace`, which is this one, or lies near this library. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"

#define OVERRIDE "INTERLACE_PROGRAM"

static bool is_this; /* set before the first worker starts */

void lace_program_is_this(void)
{
    is_this = true;
}

/* Beside the library, as in a build tree, or in the `bin` of one of the folders that it lies in. */
static bool find_near(const char *library, char *found, size_t size)
{
    char folder[PATH_MAX];
    if (realpath(library, folder) == NULL)
        return false;
    for (int up = 0; up < 6; up++) {
        char *slash = strrchr(folder, '/');
        if (slash == NULL)
            return false;
        *slash = '\0';
        if ((size_t)snprintf(found, size, up == 0 ? "%s/interlace" : "%s/bin/interlace", folder) < size &&
            access(found, X_OK) == 0)
            return true;
    }
    return false;
}

const char *lace_program(char *found, size_t size, const char **ret_error)
{
    static const char anything; /* something in this library */
    const char *given = getenv(OVERRIDE);
    Dl_info info;
    *ret_error = NULL;
    if (given != NULL && given[0] != '\0') {
        if (access(given, X_OK) == 0)
            return given;
        *ret_error = "the environment's " OVERRIDE " names no program that can be run";
        return NULL;
    }
    if (is_this)
        return "/proc/self/exe";
    if (dladdr(&anything, &info) != 0 && info.dli_fname != NULL && find_near(info.dli_fname, found, size))
        return found;
    if (access(LACE_PROGRAM, X_OK) == 0)
        return LACE_PROGRAM;
    *ret_error =
        "the program interlace, which a process worker is, was found neither near the library nor at " LACE_PROGRAM
        ": install it, or name it in the environment's " OVERRIDE;
    return NULL;
}
