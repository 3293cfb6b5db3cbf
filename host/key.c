/* key.c - interlace key: making and showing keys. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"

static const char usage[] =
    "Usage: interlace key new [FILE]\n"
    "       interlace key show [FILE]\n"
    "\n"
    "Makes a new key, or shows one: its fingerprint, which gives nothing of the key away, and its file. Two hosts that\n"
    "have the same key can be joined by channels that lead outside: each frame is sealed with it. FILE is by default\n"
    "$XDG_CONFIG_HOME/interlace/key, or ~/.config/interlace/key.\n"
    "\n"
    "A key's file can be read and written by its owner alone, and is refused otherwise. To share a key, copy its file:\n"
    "whoever has it can read and write on every channel sealed with it. A file that is there is never overwritten.\n"
    "\n"
    "Options:\n"
    "  -h, --help          this text\n"
    "\n"
    "Example:\n"
    "  interlace key new && scp -p ~/.config/interlace/key other:.config/interlace/key\n"
    "\n"
    "Exit status: 0 all well, 1 the key could not be made or shown, 2 wrong usage.\n";

/* Makes the folders that lead to a file, for the user alone. What is wrong with them is told by who opens the file. */
static void make_folders(const char *path)
{
    char folder[LACE_KEY_PATH];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strchr(folder + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(folder, 0700);
        *slash = '/';
    }
}

static int show_key(const lace_key *key, const char *path)
{
    printf("%s  %s\n", lace_key_fingerprint(key), path);
    if (fflush(stdout) != 0) {
        lace_complain("key: cannot write to standard output: %s", strerror(errno));
        return 1;
    }
    return 0;
}

static int new_key(const char *path)
{
    lace_key *key;
    lace_status status = lace_key_create(&key);
    if (status != LACE_OK) {
        lace_complain("key new: %s", lace_explain(status));
        return 1;
    }
    status = lace_key_save(key, path);
    int code = 1;
    if (status == LACE_OK)
        code = show_key(key, path);
    else if (status == LACE_SYSTEM && errno == EEXIST)
        lace_complain("key new: '%s' is there already, and is not overwritten (interlace key show shows it)", path);
    else
        lace_complain("key new: cannot write '%s': %s", path,
                      status == LACE_SYSTEM ? strerror(errno) : lace_explain(status));
    lace_key_destroy(key);
    return code;
}

static int show_file(const char *path)
{
    lace_key *key;
    lace_status status = lace_key_load(path, &key);
    if (status == LACE_OK) {
        int code = show_key(key, path);
        lace_key_destroy(key);
        return code;
    }
    if (status == LACE_SYSTEM && errno == ENOENT)
        lace_complain("key show: there is no key in '%s' (interlace key new makes one)", path);
    else if (status == LACE_SYSTEM)
        lace_complain("key show: cannot open '%s': %s", path, strerror(errno));
    else
        lace_complain("key show: %s", lace_explain(status));
    return 1;
}

int lace_command_key(int argc, char **argv)
{
    char own[LACE_KEY_PATH];
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    bool makes = strcmp(verb, "new") == 0;
    if (!makes && strcmp(verb, "show") != 0) {
        if (argc < 2)
            lace_complain("key: new or show is missing (try interlace key --help)");
        else
            lace_complain("key: '%s' is neither new nor show (try interlace key --help)", verb);
        return LACE_EXIT_USAGE;
    }
    int first = argc > 2 && strcmp(argv[2], "--") == 0 ? 3 : 2;
    const char *path = first < argc ? argv[first] : NULL;
    if (first == 2 && path != NULL && (strcmp(path, "--help") == 0 || strcmp(path, "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (first == 2 && path != NULL && path[0] == '-') {
        lace_complain("key %s: unknown option %s (try interlace key --help)", verb, path);
        return LACE_EXIT_USAGE;
    }
    if (argc > first + 1 || (path != NULL && path[0] == '\0')) {
        lace_complain("key %s: one FILE at most, not '%s' (try interlace key --help)", verb, argv[argc - 1]);
        return LACE_EXIT_USAGE;
    }
    if (path == NULL) {
        const char *error = lace_host_key_path(own, sizeof own);
        if (error != NULL) {
            lace_complain("key %s: %s", verb, error);
            return 1;
        }
        path = own;
        if (makes)
            make_folders(path);
    }
    return makes ? new_key(path) : show_file(path);
}
