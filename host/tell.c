/* tell.c - what a command tells of its run: --stats, --trace, --report, --metrics. The words come from Python
 * (python/interlace/_telling.py), which the main interpreter runs when no worker is left. */
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../channels/trace.h"
#include "host.h"
#include "ledger.h"
#include "tell.h"

#define EVENTS ((uint64_t)1 << 17) /* of each thread that are kept for --trace: 4 MiB */

static const struct {
    int letter;
    const char *word;
    bool takes_value;
} words[] = {
    {LACE_TELL_STATS, "--stats", false},
    {LACE_TELL_TRACE, "--trace", true},
    {LACE_TELL_REPORT, "--report", true},
    {LACE_TELL_METRICS, "--metrics", true},
};

lace_tell lace_tell_preset;

bool lace_tell_is(int letter)
{
    return letter >= LACE_TELL_STATS && letter <= LACE_TELL_METRICS;
}

bool lace_tell_takes_value(const char *word)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].takes_value && strcmp(words[i].word, word) == 0)
            return true;
    return false;
}

static const char *word_of(int letter)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].letter == letter)
            return words[i].word;
    return "";
}

bool lace_tell_take(lace_tell *tell, int letter, const char *value, const char *where)
{
    const char **place = letter == LACE_TELL_TRACE    ? &tell->trace
                         : letter == LACE_TELL_REPORT ? &tell->report
                                                      : &tell->metrics;
    if (letter == LACE_TELL_STATS) {
        tell->stats = true;
        return true;
    }
    if (value[0] == '\0' || value[0] == '-') {
        lace_complain("%s: %s needs the name of a file, not '%s' (for one that begins with a dash, ./%s)", where,
                      word_of(letter), value, value);
        return false;
    }
    if (*place != NULL) {
        lace_complain("%s: %s is given twice", where, word_of(letter));
        return false;
    }
    *place = value;
    return true;
}

/* Whether the file can be written, or made, as far as that can be told without making it. */
static bool can_write(const char *path, const char *where, const char *word)
{
    char *copy = strdup(path);
    struct stat seen;
    errno = 0;
    if (stat(path, &seen) == 0)
        errno = S_ISDIR(seen.st_mode) ? EISDIR : access(path, W_OK) == 0 ? 0 : errno;
    else if (errno == ENOENT && copy != NULL)
        errno = access(dirname(copy), W_OK | X_OK) == 0 ? 0 : errno;
    int error = errno;
    free(copy);
    if (error != 0)
        lace_complain("%s: %s: cannot write '%s': %s", where, word, path, strerror(error));
    return error == 0;
}

bool lace_tell_check(const lace_tell *tell, const char *where)
{
    if (tell->trace != NULL && tell->report != NULL && strcmp(tell->trace, tell->report) == 0) {
        lace_complain("%s: --trace and --report need a file each, not '%s' for both", where, tell->trace);
        return false;
    }
    return (tell->trace == NULL || can_write(tell->trace, where, "--trace")) &&
           (tell->report == NULL || can_write(tell->report, where, "--report")) &&
           (tell->graph_path == NULL || can_write(tell->graph_path, where, "-o"));
}

static bool is_wanted(const lace_tell *tell)
{
    return tell->stats || tell->trace != NULL || tell->report != NULL || tell->metrics != NULL || tell->graph != NULL;
}

bool lace_tell_begin(const lace_tell *tell)
{
    if (!is_wanted(tell))
        return true;
    lace_ledger_keeps = true;
    if (tell->trace != NULL)
        lace_trace_begin(EVENTS);
    const char *error = lace_sampler_start();
    if (error == NULL && tell->metrics != NULL)
        error = lace_metrics_start(tell->metrics);
    if (error == NULL)
        return true;
    lace_complain("%s", error);
    lace_sampler_stop();
    return false;
}

bool lace_tell_end(const lace_tell *tell, char *const *command)
{
    if (!is_wanted(tell))
        return true;
    lace_metrics_stop();
    lace_sampler_stop();
    bool told = lace_python_tell(tell, command);
    lace_trace_end();
    return told;
}
