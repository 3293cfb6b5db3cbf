/* raw_one_way.c - bytes through a pipe, words through a ring of memory, and memcpy. */
#include "raw.h"

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

/* Copied in by one thread and out by another, who keeps what came last until the next is there, as a program does:
 * what two copies cost at best. */
#define BLOCKS 4

struct relay {
    size_t size;
    char *blocks[BLOCKS];
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t tail;
    _Atomic uint64_t last; /* how many there are in all; UINT64_MAX until it is known */
    double rate;
};

static char *filled(size_t size)
{
    char *data = malloc(size);
    check(data != NULL);
    memset(data, 'x', size);
    return data;
}

static void *copy_out(void *context)
{
    struct relay *relay = context;
    char *got[2] = {filled(relay->size), filled(relay->size)};
    int64_t start = now();
    uint64_t tail = 0;
    while (tail != atomic_load(&relay->last)) {
        if (atomic_load_explicit(&relay->head, memory_order_acquire) == tail) {
            relax();
            continue;
        }
        memcpy(got[tail % 2], relay->blocks[tail % BLOCKS], relay->size);
        __asm__ volatile("" ::"r"(got[tail % 2]) : "memory");
        atomic_store_explicit(&relay->tail, ++tail, memory_order_release);
    }
    relay->rate = (double)tail / (double)(now() - start) * 1e9;
    free(got[0]);
    free(got[1]);
    return NULL;
}

static double two_copies_rate(size_t size)
{
    struct relay relay = {.size = size, .last = UINT64_MAX};
    char *from = filled(size);
    for (int i = 0; i < BLOCKS; i++)
        relay.blocks[i] = filled(size);
    pthread_t thread = start_thread(copy_out, &relay);
    int64_t end = now() + (int64_t)(seconds * 1e9);
    uint64_t head = 0;
    for (; now() < end; head++) {
        while (head - atomic_load_explicit(&relay.tail, memory_order_acquire) == BLOCKS)
            relax();
        memcpy(relay.blocks[head % BLOCKS], from, size);
        atomic_store_explicit(&relay.head, head + 1, memory_order_release);
    }
    atomic_store(&relay.last, head);
    pthread_join(thread, NULL);
    for (int i = 0; i < BLOCKS; i++)
        free(relay.blocks[i]);
    free(from);
    return relay.rate;
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

static void measure(const char *row)
{
    if (strcmp(row, "one_way_int") == 0) {
        tell(row, "raw spin", ring_rate());
        tell(row, "raw pipe", pipe_rate(8));
    } else if (strcmp(row, "one_way_1kb") == 0) {
        tell(row, "raw pipe", pipe_rate(1024));
    } else if (strcmp(row, "one_way_1mb") == 0) {
        tell(row, "raw pipe", pipe_rate(1 << 20));
        tell(row, "memcpy", 1e6 / copy_cost(1 << 20));
        tell(row, "raw memcpy in and out", two_copies_rate(1 << 20));
    } else if (strcmp(row, "buffer_64b") == 0) {
        tell(row, "memcpy", copy_cost(64));
    } else if (strcmp(row, "buffer_1mb") == 0) {
        tell(row, "memcpy", copy_cost(1 << 20));
    } else if (strcmp(row, "buffer_64mb") == 0) {
        tell(row, "memcpy", copy_cost(64 << 20));
    }
}
