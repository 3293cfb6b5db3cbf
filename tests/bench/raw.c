/* raw.c - what the machine and the kernel allow: loops in C, called and telling their results as measure.py says.
 *
 * To and fro, three waits: `raw futex` sleeps at once, `raw spin` never does, and `raw spin and futex` does as Interlace
 * does: it looks for up to 30 us, then sleeps. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST_SAMPLES 4000000
#define SPIN 30000

static double seconds;
static double *samples;
static size_t count;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double part)
{
    qsort(samples, count, sizeof *samples, ascending);
    return samples[(size_t)((double)count * part)];
}

static void tell(const char *row, const char *peer, double value)
{
    printf("{\"row\": \"%s\", \"peer\": \"%s\", \"value\": %.9g}\n", row, peer, value);
    fflush(stdout);
}

static void check(bool ok)
{
    if (!ok) {
        perror("raw");
        exit(1);
    }
}

/* Microseconds of each call of `once`, into samples, after a warm-up. */
static void repeat(void (*once)(void *), void *context)
{
    int64_t start = now(), measured = start + (int64_t)(seconds * 2e8), end = measured + (int64_t)(seconds * 1e9);
    count = 0;
    for (int64_t at = start; at < end || count < 4; start = at) {
        once(context);
        at = now();
        if (at >= measured && count < MOST_SAMPLES)
            samples[count++] = (double)(at - start) / 1000;
    }
}

static pthread_t start_thread(void *(*body)(void *), void *context)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, body, context) == 0);
    return thread;
}

/* ---- to and fro: a word that says whose turn it is ------------------------------------------------------ */

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

/* ---- one way -------------------------------------------------------------------------------------------- */

struct stream {
    int fds[2];
    size_t size;
    uint64_t messages;
    int64_t took;
};

static void *drain_pipe(void *context)
{
    struct stream *stream = context;
    char *data = malloc(stream->size);
    int64_t start = 0;
    for (;;) {
        size_t got = 0;
        while (got < stream->size) {
            ssize_t n = read(stream->fds[0], data + got, stream->size - got);
            if (n <= 0) {
                stream->took = now() - start;
                free(data);
                return NULL;
            }
            got += (size_t)n;
        }
        if (start == 0)
            start = now();
        else
            stream->messages++;
    }
}

static double pipe_rate(size_t size)
{
    struct stream stream = {.size = size};
    char *data = malloc(size);
    memset(data, 'x', size);
    check(pipe(stream.fds) == 0);
    pthread_t thread = start_thread(drain_pipe, &stream);
    for (int64_t end = now() + (int64_t)(seconds * 1e9); now() < end;)
        check(write(stream.fds[1], data, size) == (ssize_t)size);
    close(stream.fds[1]);
    pthread_join(thread, NULL);
    close(stream.fds[0]);
    free(data);
    return (double)stream.messages / (double)stream.took * 1e9;
}

/* One sender, one receiver, 1,024 places, no sleep. */
#define PLACES 1024

struct ring {
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) uint64_t places[PLACES];
    uint64_t received;
    int64_t took;
};

static void *drain_ring(void *context)
{
    struct ring *ring = context;
    int64_t start = 0;
    for (uint64_t tail = 0;; tail++) {
        while (atomic_load_explicit(&ring->head, memory_order_acquire) == tail)
            relax();
        uint64_t value = ring->places[tail % PLACES];
        atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
        if (start == 0)
            start = now();
        if (value == 0) {
            ring->received = tail;
            ring->took = now() - start;
            return NULL;
        }
    }
}

static double ring_rate(void)
{
    struct ring *ring = aligned_alloc(64, sizeof *ring);
    memset(ring, 0, sizeof *ring);
    pthread_t thread = start_thread(drain_ring, ring);
    int64_t end = now() + (int64_t)(seconds * 1e9);
    bool last = false;
    for (uint64_t head = 0; !last; head++) {
        last = head % PLACES == 0 && now() >= end;
        while (head - atomic_load_explicit(&ring->tail, memory_order_acquire) == PLACES)
            relax();
        ring->places[head % PLACES] = last ? 0 : 1;
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    }
    pthread_join(thread, NULL);
    double rate = (double)ring->received / (double)ring->took * 1e9;
    free(ring);
    return rate;
}

struct copy {
    size_t size;
    char *from, *to;
};

static void copy_once(void *context)
{
    struct copy *copy = context;
    memcpy(copy->to, copy->from, copy->size);
    __asm__ volatile("" ::"r"(copy->to) : "memory");
}

/* Microseconds of one memcpy, between pages that are there. */
static double copy_cost(size_t size)
{
    struct copy copy = {size, malloc(size), malloc(size)};
    check(copy.from != NULL && copy.to != NULL);
    memset(copy.from, 'x', size);
    memset(copy.to, 'y', size);
    repeat(copy_once, &copy);
    free(copy.from);
    free(copy.to);
    return percentile(0.5);
}

/* ---- the rest ------------------------------------------------------------------------------------------- */

struct events {
    int epoll, *fds;
    unsigned n, turn;
};

static void wait_epoll(void *context)
{
    struct events *events = context;
    struct epoll_event event;
    uint64_t value;
    events->turn = (events->turn + 617) % events->n;
    check(eventfd_write(events->fds[events->turn], 1) == 0);
    int64_t start = now();
    check(epoll_wait(events->epoll, &event, 1, -1) == 1 && eventfd_read(event.data.fd, &value) == 0);
    if (count < MOST_SAMPLES)
        samples[count++] = (double)(now() - start) / 1000;
}

static double epoll_cost(unsigned n)
{
    struct rlimit limit;
    struct events events = {.epoll = epoll_create1(0), .fds = malloc(n * sizeof(int)), .n = n};
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0 && events.fds != NULL && events.epoll >= 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned i = 0; i < n; i++) {
        events.fds[i] = eventfd(0, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = events.fds[i]};
        check(events.fds[i] >= 0 && epoll_ctl(events.epoll, EPOLL_CTL_ADD, events.fds[i], &event) == 0);
    }
    count = 0;
    for (int64_t end = now() + (int64_t)(seconds * 1e9); now() < end;)
        wait_epoll(&events);
    return percentile(0.5);
}

static void *write_byte(void *context)
{
    check(write(*(int *)context, "!", 1) == 1);
    return NULL;
}

static void start_once(void *context)
{
    int *fds = context;
    char byte;
    pthread_t thread = start_thread(write_byte, &fds[1]);
    check(read(fds[0], &byte, 1) == 1);
    pthread_join(thread, NULL);
}

static void *busy(void *context)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < *(uint64_t *)context; i++) {
        total += i * i % 7;
        __asm__ volatile("" : "+r"(total));
    }
    return NULL;
}

static double speed_up(void)
{
    uint64_t n = 1 << 16;
    for (int64_t took = 0; took < (int64_t)(seconds * 1e9 / 12); n *= 2) {
        int64_t start = now();
        busy(&n);
        took = now() - start;
    }
    for (count = 0; count < 5; count++) {
        int64_t start = now();
        pthread_t one = start_thread(busy, &n);
        pthread_join(one, NULL);
        one = start_thread(busy, &n);
        pthread_join(one, NULL);
        int64_t middle = now();
        one = start_thread(busy, &n);
        pthread_t two = start_thread(busy, &n);
        pthread_join(one, NULL);
        pthread_join(two, NULL);
        samples[count] = (double)(middle - start) / (double)(now() - middle);
    }
    return percentile(0.5);
}

static void measure(const char *row)
{
    if (strcmp(row, "round_trip_int") == 0) {
        round_trips(row, 0.5);
    } else if (strcmp(row, "round_trip_int_p99") == 0) {
        round_trips(row, 0.99);
    } else if (strcmp(row, "one_way_int") == 0) {
        tell(row, "raw spin", ring_rate());
        tell(row, "raw pipe", pipe_rate(8));
    } else if (strcmp(row, "one_way_1kb") == 0) {
        tell(row, "raw pipe", pipe_rate(1024));
    } else if (strcmp(row, "one_way_1mb") == 0) {
        tell(row, "raw pipe", pipe_rate(1 << 20));
        tell(row, "memcpy", 1e6 / copy_cost(1 << 20));
    } else if (strcmp(row, "buffer_64b") == 0) {
        measure_turns(SPIN);
        tell(row, "raw spin and futex", percentile(0.5) / 2);
        tell(row, "memcpy", copy_cost(64));
    } else if (strcmp(row, "buffer_1mb") == 0) {
        tell(row, "memcpy", copy_cost(1 << 20));
    } else if (strcmp(row, "buffer_64mb") == 0) {
        tell(row, "memcpy", copy_cost(64 << 20));
    } else if (strncmp(row, "select_", 7) == 0) {
        tell(row, "raw epoll", epoll_cost((unsigned)atoi(row + 7)));
    } else if (strcmp(row, "start_cold") == 0) {
        int fds[2];
        check(pipe(fds) == 0);
        repeat(start_once, fds);
        tell(row, "raw thread", percentile(0.5));
    } else if (strcmp(row, "cpu_two_workers") == 0) {
        tell(row, "raw threads", speed_up());
    }
}

int main(int argc, char **argv)
{
    seconds = argc > 1 ? atof(argv[1]) : 0.5;
    samples = malloc(MOST_SAMPLES * sizeof *samples);
    check(samples != NULL);
    for (int i = 2; i < argc; i++)
        measure(argv[i]);
    return 0;
}
