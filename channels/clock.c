/* clock.c - monotonic time and deadlines. */
#include "channel.h"

#include <time.h>

int64_t lace_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    return time > 0 ? time : 1;
}

int64_t lace_deadline_after(double seconds)
{
    const double century = 100.0 * 366 * 86400;

    if (!(seconds > 0))
        return LACE_NOW;
    if (seconds > century)
        return LACE_NEVER;
    /* At least one nanosecond off, so that a tiny timeout is not taken for "now". */
    int64_t span = (int64_t)(seconds * 1e9);
    return lace_clock() + (span > 0 ? span : 1);
}
