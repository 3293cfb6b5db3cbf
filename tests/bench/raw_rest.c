/* raw_rest.c - epoll over eventfds, a thread's start, and what a second core adds. */
#include "raw.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

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
    if (strncmp(row, "select_", 7) == 0) {
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
