/* harness.h - what every C test suite here stands on: the `check` library, wrapped.
 *
 * - Each test runs in a process of its own (check's fork mode), which ends with exit(): so LeakSanitizer and
 *   ThreadSanitizer judge every single test, and a hang or a crash costs one test, not the run. CK_FORK=no runs all
 *   in one process, for a debugger.
 * - Each test is a check "case" with the test's own name, so CK_RUN_CASE=test_x runs it alone.
 * - CHECK may be used from any thread. In the test's own thread it is check's assertion; in another one it prints
 *   and ends the process, since check must not be called from there.
 * - Randomness comes from one seed: LACE_SEED, or a new one each run. A failure prints the line that replays it.
 * - LACE_TEST_SCALE (default 1) multiplies the rounds of the stress tests.
 */
#ifndef LACE_TESTS_HARNESS_H
#define LACE_TESTS_HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* this header comes before all others */
#endif

#include <check.h>
#undef fail /* an old macro of check, and a name in channels/hooks.h */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../channels/channel.h"

/* ---- running ------------------------------------------------------------------------------------------ */

typedef struct test_entry {
    const TTest *test;
    int loops;      /* runs it with _i = 0 .. loops - 1 */
    double seconds; /* its time limit; 0 means 20 s; stretched under sanitizers */
} test_entry;

/* Runs the tests; gives main's exit status. */
int test_run(const char *suite, const test_entry *tests, size_t count, int argc, char **argv);

#define TEST(name) {name, 1, 0}
#define TEST_LOOP(name, loops) {name, loops, 0}
#define TEST_LONG(name, loops, seconds) {name, loops, seconds}

#define TEST_MAIN(suite, ...)                                                                                  \
    int main(int argc, char **argv)                                                                            \
    {                                                                                                          \
        const test_entry tests[] = {__VA_ARGS__};                                                              \
        return test_run(suite, tests, sizeof tests / sizeof *tests, argc, argv);                               \
    }

/* Called once before the tests, with the run's seed, in programs that define it (shake.c does). */
void test_prepare(uint64_t seed) __attribute__((weak));

/* `rounds`, scaled by LACE_TEST_SCALE and by what the sanitizers cost; at least 1. */
size_t test_scaled(size_t rounds);

/* ---- checking ----------------------------------------------------------------------------------------- */

_Noreturn void test_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "OK", "TIMEOUT" and so on. */
const char *status_name(lace_status status);

#define CHECK(condition)                                                                                       \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                                   \
    } while (0)

#define CHECK_MSG(condition, ...)                                                                              \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            test_fail(__FILE__, __LINE__, __VA_ARGS__);                                                        \
    } while (0)

#define CHECK_STATUS(want, call)                                                                               \
    do {                                                                                                       \
        lace_status want_ = (want), got_ = (call);                                                             \
        if (got_ != want_)                                                                                     \
            test_fail(__FILE__, __LINE__, "%s gave %s, not %s", #call, status_name(got_), status_name(want_)); \
    } while (0)

#define CHECK_OK(call) CHECK_STATUS(LACE_OK, call)

#define CHECK_UINT(got, want)                                                                                  \
    do {                                                                                                       \
        uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want);                                             \
        if (got_ != want_)                                                                                     \
            test_fail(__FILE__, __LINE__, "%s is %llu, not %llu", #got, (unsigned long long)got_,              \
                      (unsigned long long)want_);                                                              \
    } while (0)

/* ---- randomness --------------------------------------------------------------------------------------- */

typedef struct rng {
    uint64_t state;
} rng;

/* A stream that depends on the run's seed, the name and the salt only. In a test: rng_start(__func__, _i). */
rng rng_start(const char *name, uint64_t salt);
/* The same stream in every run, for statistical bounds that must not fail once in a while. */
rng rng_fixed(uint64_t salt);
uint64_t rng_next(rng *random);
/* 0 .. bound - 1 */
size_t rng_below(rng *random, size_t bound);

/* ---- threads ------------------------------------------------------------------------------------------ */

typedef struct thread {
    pthread_t handle;
    _Atomic int tid; /* of the kernel; 0 until it runs */
    void (*body)(void *context);
    void *context;
} thread;

void thread_start(thread *started, void (*body)(void *context), void *context);
void thread_join(thread *started);

/* Returns when the kernel has the thread asleep in a futex or poll call. It may be a short sleep on some lock: a test
 * must stay right if it was, and relies on this only to make the interesting order likely. */
void thread_until_asleep(thread *watched);

/* What a thread has cost so far. */
typedef struct thread_cost {
    uint64_t cpu_ns;
    uint64_t switches; /* voluntary and not */
} thread_cost;
thread_cost thread_cost_now(const thread *watched);

/* The bounded "never happens": lets this much time pass. */
void pass_ms(unsigned milliseconds);

/* A gate that threads wait at until it is opened. */
typedef struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool open;
} gate;

#define GATE_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false}
void gate_open(gate *opened);
void gate_wait(gate *closed);

/* ---- watching waits ----------------------------------------------------------------------------------- */

/* Counts the park and unpark calls of waits made with watch_wait; checks that they alternate and never come from two
 * threads at once. */
typedef struct watch {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned parks, unparks;
} watch;

#define WATCH_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0}
lace_wait watch_wait(watch *watching, int64_t deadline, lace_cancel *cancel);
/* Returns when the watched call has begun to wait (for the `count`-th time). */
void watch_until_parked(watch *watching, unsigned count);

/* Waits to pass by pointer. */
#define TRY (&(const lace_wait){.deadline = LACE_NOW})
#define WITHIN_MS(ms) (&(const lace_wait){.deadline = lace_clock() + (int64_t)(ms) * 1000000})
#define UNDER(token) (&(const lace_wait){.cancel = (token)})

#endif
