/* fork.c - noticing fork(). */
#include "fork.h"

#include <pthread.h>

bool lace_is_forked;
static bool watching;

static void note_fork(void)
{
    lace_is_forked = true;
}

static void watch(void)
{
    watching = pthread_atfork(NULL, NULL, note_fork) == 0;
}

bool lace_fork_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, watch);
    return watching;
}
