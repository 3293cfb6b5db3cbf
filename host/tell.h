/* tell.h - what a command tells of its run: --stats, --trace, --report, --metrics. */
#ifndef LACE_TELL_H
#define LACE_TELL_H

#include <stdbool.h>

typedef struct lace_tell {
    bool stats;
    const char *trace, *report, *metrics; /* paths, borrowed; NULL: not wanted */
    const char *graph;                    /* of `interlace graph`: a format, which excludes the others; NULL */
    const char *graph_path;               /* where to; NULL: to the descriptor */
    int graph_fd;
} lace_tell;

/* Letters and long options for getopt_long: those of the command come before. */
enum { LACE_TELL_STATS = 512, LACE_TELL_TRACE, LACE_TELL_REPORT, LACE_TELL_METRICS };
#define LACE_TELL_OPTIONS                                \
    {"stats", no_argument, NULL, LACE_TELL_STATS},       \
    {"trace", required_argument, NULL, LACE_TELL_TRACE}, \
    {"report", required_argument, NULL, LACE_TELL_REPORT}, \
    {"metrics", required_argument, NULL, LACE_TELL_METRICS}
#define LACE_TELL_USAGE                                                                                        \
    "      --stats         at the end, tell on standard error what workers and channels did, and which is the bottleneck\n" \
    "      --report FILE   write a page about the run: the network, a timeline, channels, failures (HTML)\n"            \
    "      --trace FILE    write every message and wait for https://ui.perfetto.dev or chrome://tracing (JSON)\n"       \
    "      --metrics PATH  meanwhile, serve figures as OpenMetrics text through a Unix socket at PATH\n"

/* What a command's options begin as: all nought, but for `interlace graph`. */
extern lace_tell lace_tell_preset;

/* Whether the letter is one of those. */
bool lace_tell_is(int letter);
/* Whether the word on a command line is one of those that take a value in the next word. */
bool lace_tell_takes_value(const char *word);
/* Takes it in; false when its value is wrong, which has been said, `where` first. */
bool lace_tell_take(lace_tell *tell, int letter, const char *value, const char *where);
/* Whether the options go together and their files can be written; says so if not. */
bool lace_tell_check(const lace_tell *tell, const char *where);

/* Before the first worker starts, the host being open; false: it does not work, which has been said. */
bool lace_tell_begin(const lace_tell *tell);
/* When all workers have ended. `words` is the command line. False when something could not be written, which has been
 * said. */
bool lace_tell_end(const lace_tell *tell, char *const *words);

#endif
