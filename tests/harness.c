/* harness.c - the test harness: see harness.h. */
#include "harness.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define SLOWNESS 10
#elif defined(__SANITIZE_ADDRESS__)
#define SLOWNESS 3
#else
#define SLOWNESS 1
#endif

static uint64_t run_seed;

/* ---- running ------------------------------------------------------------------------------------------ */

static uint64_t seed_choose(void)
{
    uint64_t seed = 0;
    const char *given = getenv("LACE_SEED");
    if (given)
        return strtoull(given, NULL, 0);
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)lace_clock();
    return seed;
}

size_t test_scaled(size_t rounds)
{
    const char *given = getenv("LACE_TEST_SCALE");
    double scaled = (double)rounds * (given ? strtod(given, NULL) : 1.0) / SLOWNESS;
    return scaled < 1 ? 1 : (size_t)scaled;
}

static void replays_print(SRunner *runner, const char *program)
{
    TestResult **failures = srunner_failures(runner);
    const char *last = "";
    for (int i = 0; i < srunner_ntests_failed(runner); i++) {
        if (strcmp(last, tr_tcname(failures[i])) != 0)
            fprintf(stderr, "replay: LACE_SEED=0x%016" PRIx64 " CK_RUN_CASE=%s %s\n", run_seed,
                    tr_tcname(failures[i]), program);
        last = tr_tcname(failures[i]);
    }
    free(failures);
}

/* A test that ends its process, with whatever status, has not come to its end. */
static pid_t test_process;
static bool test_ended;

static void check_that_it_ended(void)
{
    if (getpid() != test_process || test_ended)
        return;
    fprintf(stderr, "the test ended its process before it had come to its end\n");
    _exit(EXIT_FAILURE);
}

static void begin_test(void)
{
    test_process = getpid();
    test_ended = false;
    atexit(check_that_it_ended);
}

static void end_test(void)
{
    test_ended = true;
}

int test_run(const char *suite, const test_entry *tests, size_t count, int argc, char **argv)
{
    Suite *made = suite_create(suite);
    for (size_t i = 0; i < count; i++) {
        TCase *one = tcase_create(tests[i].test->name);
        double seconds = (tests[i].seconds > 0 ? tests[i].seconds : 20) * (SLOWNESS > 1 ? 3 : 1);
        tcase_set_timeout(one, seconds);
        tcase_add_checked_fixture(one, begin_test, end_test);
        tcase_add_loop_test(one, tests[i].test, 0, tests[i].loops);
        suite_add_tcase(made, one);
    }
    run_seed = seed_choose();
    if (test_prepare)
        test_prepare(run_seed);
    signal(SIGPIPE, SIG_IGN); /* what a user of pipe channels has to arrange */
    SRunner *runner = srunner_create(made);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    if (failed > 0)
        replays_print(runner, argc > 0 ? argv[0] : suite);
    else if (srunner_ntests_run(runner) == 0)
        fprintf(stderr, "%s: no test was run\n", suite);
    bool passed = failed == 0 && srunner_ntests_run(runner) > 0;
    srunner_free(runner);
    return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- checking ----------------------------------------------------------------------------------------- */

const char *status_name(lace_status status)
{
    switch (status) {
#define STATUS_CASE(name, text)                                                                                \
    case LACE_##name:                                                                                          \
        return #name;
        LACE_STATUS_MAP(STATUS_CASE)
#undef STATUS_CASE
    }
    return "no status at all";
}

void test_fail(const char *file, int line, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (gettid() == getpid())
        _ck_assert_failed(file, line, text, NULL);
    fprintf(stderr, "%s:%d: in a thread: %s (LACE_SEED=0x%016" PRIx64 ")\n", file, line, text, run_seed);
    _exit(EXIT_FAILURE);
}

/* ---- randomness --------------------------------------------------------------------------------------- */

uint64_t rng_next(rng *random) /* splitmix64 */
{
    uint64_t mixed = random->state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

rng rng_fixed(uint64_t salt)
{
    rng random = {salt * 0xd1342543de82ef95u + 1};
    rng_next(&random);
    return random;
}

rng rng_start(const char *name, uint64_t salt)
{
    uint64_t hash = run_seed ^ salt * 0xd1342543de82ef95u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return (rng){hash};
}

size_t rng_below(rng *random, size_t bound)
{
    return (size_t)(rng_next(random) % bound);
}

/* ---- threads ------------------------------------------------------------------------------------------ */

static void *thread_main(void *context)
{
    thread *self = context;
    atomic_store(&self->tid, gettid());
    self->body(self->context);
    return NULL;
}

void thread_start(thread *started, void (*body)(void *context), void *context)
{
    atomic_store(&started->tid, 0);
    started->body = body;
    started->context = context;
    int error = pthread_create(&started->handle, NULL, thread_main, started);
    CHECK_MSG(error == 0, "pthread_create: %s", strerror(error));
}

void thread_join(thread *started)
{
    CHECK(pthread_join(started->handle, NULL) == 0);
}

static bool thread_file(const thread *watched, const char *name, char *text, size_t room)
{
    char path[64];
    int tid = atomic_load(&watched->tid);
    if (tid == 0)
        return false;
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, name);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t got = fread(text, 1, room - 1, file);
    text[got] = '\0';
    fclose(file);
    return got > 0;
}

static bool thread_asleep(const thread *watched)
{
    char text[512];
    char *end;
    if (!thread_file(watched, "syscall", text, sizeof text))
        return false;
    long number = strtol(text, &end, 10);
    if (end == text) /* it says "running" */
        return false;
    return number == SYS_futex || number == SYS_ppoll || number == SYS_epoll_pwait
#ifdef SYS_poll
           || number == SYS_poll || number == SYS_epoll_wait
#endif
        ;
}

void thread_until_asleep(thread *watched)
{
    while (!thread_asleep(watched))
        sched_yield();
}

thread_cost thread_cost_now(const thread *watched)
{
    thread_cost cost = {0};
    unsigned long long cpu = 0, voluntary = 0, forced = 0;
    char text[4096];
    CHECK(thread_file(watched, "schedstat", text, sizeof text) && sscanf(text, "%llu", &cpu) == 1);
    CHECK(thread_file(watched, "status", text, sizeof text));
    const char *line = strstr(text, "\nvoluntary_ctxt_switches:");
    CHECK(line && sscanf(line, "\nvoluntary_ctxt_switches: %llu nonvoluntary_ctxt_switches: %llu", &voluntary,
                         &forced) == 2);
    cost.cpu_ns = cpu;
    cost.switches = voluntary + forced;
    return cost;
}

void pass_ms(unsigned milliseconds)
{
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

void gate_open(gate *opened)
{
    pthread_mutex_lock(&opened->mutex);
    opened->open = true;
    pthread_cond_broadcast(&opened->changed);
    pthread_mutex_unlock(&opened->mutex);
}

void gate_wait(gate *closed)
{
    pthread_mutex_lock(&closed->mutex);
    while (!closed->open)
        pthread_cond_wait(&closed->changed, &closed->mutex);
    pthread_mutex_unlock(&closed->mutex);
}

/* ---- watching waits ----------------------------------------------------------------------------------- */

static void watch_park(void *context)
{
    watch *watching = context;
    pthread_mutex_lock(&watching->mutex);
    CHECK_UINT(watching->parks, watching->unparks);
    watching->parks++;
    pthread_cond_broadcast(&watching->changed);
    pthread_mutex_unlock(&watching->mutex);
}

static void watch_unpark(void *context)
{
    watch *watching = context;
    pthread_mutex_lock(&watching->mutex);
    watching->unparks++;
    CHECK_UINT(watching->parks, watching->unparks);
    pthread_mutex_unlock(&watching->mutex);
}

lace_wait watch_wait(watch *watching, int64_t deadline, lace_cancel *cancel)
{
    return (lace_wait){deadline, cancel, watch_park, watch_unpark, watching};
}

void watch_until_parked(watch *watching, unsigned count)
{
    pthread_mutex_lock(&watching->mutex);
    while (watching->parks < count)
        pthread_cond_wait(&watching->changed, &watching->mutex);
    pthread_mutex_unlock(&watching->mutex);
}
