/* shake.c - linked to a suite and to a channels/ with hooks, upsets the schedule: at each of the points that channels/
 * names, a thread sometimes yields, spins or sleeps, by the run's seed. So orders come up that hardly ever do else. It
 * makes a failure likely to come again with the same seed, not certain: the kernel has its say, too. */
#include "../harness.h"

#include "../../channels/hooks.h"

#include <sched.h>
#include <time.h>

#if LACE_HOOKS
static uint64_t shake_seed;
static _Atomic uint64_t shaken_threads;
static _Thread_local rng shake_random;

static void shake(enum lace_point where)
{
    if (shake_random.state == 0)
        shake_random = rng_start("shake", shake_seed + atomic_fetch_add(&shaken_threads, 1));
    size_t choice = rng_below(&shake_random, where == LACE_POINT_SEND || where == LACE_POINT_RECV ? 64 : 16);
    if (choice == 0) {
        struct timespec span = {0, (long)rng_below(&shake_random, 50000)};
        nanosleep(&span, NULL);
    } else if (choice < 4) {
        sched_yield();
    } else if (choice < 6) {
        for (volatile size_t spins = rng_below(&shake_random, 500); spins > 0; spins--)
            continue;
    }
}

void test_prepare(uint64_t seed)
{
    shake_seed = seed;
    lace_hooks.yield = shake;
}
#else
#error "shake.c needs -DLACE_HOOKS=1, here and in channels/"
#endif
