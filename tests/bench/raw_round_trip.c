/* raw_round_trip.c - how fast two threads take turns.
 *
 * Three waits: `raw futex` sleeps at once, `raw spin` never does, and `raw spin and futex` does as Interlace
 * does: it looks for up to 30 us, then sleeps. */
#include "raw.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#define SPIN 30000

/* A word that says whose turn it is. */
enum { MAIN, ECHO, STOP };

struct turns {
    _Alignas(64) _Atomic uint32_t turn;
    _Alignas(64) _Atomic uint32_t asleep; /* somebody sleeps on `turn` */
    int64_t spin;
};

static void pass(struct turns *turns, uint32_t to)
{
    atomic_store(&turns->turn, to);
    if (atomic_load(&turns->asleep) && atomic_exchange(&turns->asleep, 0))
        syscall(SYS_futex, &turns->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Waits while it is the other's turn. */
static uint32_t await(struct turns *turns, uint32_t other)
{
    uint32_t turn;
    if (turns->spin > 0) {
        int64_t until = turns->spin == INT64_MAX ? 0 : now() + turns->spin;
        while ((turn = atomic_load_explicit(&turns->turn, memory_order_acquire)) == other) {
            relax();
            if (until != 0 && now() >= until)
                break;
        }
    }
    while ((turn = atomic_load(&turns->turn)) == other) {
        atomic_store(&turns->asleep, 1);
        if (atomic_load(&turns->turn) == other)
            syscall(SYS_futex, &turns->turn, FUTEX_WAIT, other, NULL, NULL, 0);
    }
    return turn;
}

static void *echo_turns(void *context)
{
    while (await(context, MAIN) != STOP)
        pass(context, MAIN);
    return NULL;
}

static void trip_turns(void *context)
{
    pass(context, ECHO);
    await(context, ECHO);
}

static void measure_turns(int64_t spin)
{
    struct turns turns = {.spin = spin};
    pthread_t thread = start_thread(echo_turns, &turns);
    repeat(trip_turns, &turns);
    pass(&turns, STOP);
    pthread_join(thread, NULL);
}

struct pipes {
    int there[2], back[2];
};

static void *echo_pipes(void *context)
{
    struct pipes *pipes = context;
    uint64_t value;
    while (read(pipes->there[0], &value, sizeof value) == sizeof value)
        check(write(pipes->back[1], &value, sizeof value) == sizeof value);
    return NULL;
}

static void trip_pipes(void *context)
{
    struct pipes *pipes = context;
    uint64_t value = 1;
    check(write(pipes->there[1], &value, sizeof value) == sizeof value &&
          read(pipes->back[0], &value, sizeof value) == sizeof value);
}

static void measure_pipes(void)
{
    struct pipes pipes;
    check(pipe(pipes.there) == 0 && pipe(pipes.back) == 0);
    pthread_t thread = start_thread(echo_pipes, &pipes);
    repeat(trip_pipes, &pipes);
    close(pipes.there[1]);
    pthread_join(thread, NULL);
    close(pipes.there[0]);
    close(pipes.back[0]);
    close(pipes.back[1]);
}

static void round_trips(const char *row, double part)
{
    static const int64_t spins[] = {0, SPIN, INT64_MAX};
    static const char *const names[] = {"raw futex", "raw spin and futex", "raw spin"};
    for (int i = 0; i < 3; i++) {
        measure_turns(spins[i]);
        tell(row, names[i], percentile(part));
    }
    measure_pipes();
    tell(row, "raw pipe", percentile(part));
}

static void measure(const char *row)
{
    if (strcmp(row, "round_trip_int") == 0) {
        round_trips(row, 0.5);
    } else if (strcmp(row, "round_trip_int_p99") == 0) {
        round_trips(row, 0.99);
    } else if (strcmp(row, "buffer_64b") == 0) {
        measure_turns(SPIN);
        tell(row, "raw spin and futex", percentile(0.5) / 2);
    }
}
