/* fork.h - whether this process is a child of the one that the library was used in.
 *
 * Such a child shares the regions with its parent and has copies of its locks in whatever state they were: it must not
 * touch them.
 */
#ifndef LACE_FORK_H
#define LACE_FORK_H

#include <stdbool.h>

/* Set once, in the child, by the only thread that is there. */
extern bool lace_is_forked __attribute__((visibility("hidden")));

static inline bool lace_forked(void)
{
    return __builtin_expect(lace_is_forked, 0);
}

/* Has fork() set it from now on; false when there is no memory. Any number of times, from any thread. */
bool lace_fork_watch(void);

#endif
