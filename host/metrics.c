/* metrics.c - the accounts as OpenMetrics text, through a Unix socket.
 *
 * What asks speaks HTTP, as agents do. One at a time is answered, and each within WAIT_MOST. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../channels/descriptor.h"
#include "ledger.h"

#define WAIT_MOST 2000 /* ms for a request, and for its answer to be taken */
#define REQUEST_MOST 8192

static pthread_t thread;
static int listener = -1, stop_fd = -1; /* by the thread that starts and stops; constant meanwhile */
static struct sockaddr_un address = {.sun_family = AF_UNIX};

/* ---- the text ----------------------------------------------------------------------------------------- */

/* As a label's value: a backslash, a quote and a line's end are written with a backslash. */
static void put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\\' || *text == '"')
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void begin_family(FILE *out, const char *name, const char *type, const char *unit, const char *help)
{
    fprintf(out, "# TYPE %s %s\n", name, type);
    if (unit != NULL)
        fprintf(out, "# UNIT %s %s\n", name, unit);
    fprintf(out, "# HELP %s %s\n", name, help);
}

static void put_worker(FILE *out, const lace_life *life, const char *name, const char *state, uint64_t ns)
{
    fprintf(out, "%s_total{worker=\"", name);
    put_escaped(out, life->name);
    fprintf(out, "\",id=\"%llu\"", (unsigned long long)life->id);
    if (state != NULL)
        fprintf(out, ",state=\"%s\"", state);
    fprintf(out, "} %.9f\n", (double)ns / 1e9);
}

static void put_times(FILE *out, const lace_life *life, const lace_spent *spent)
{
    static const char name[] = "interlace_worker_seconds";
    put_worker(out, life, name, "starting", spent->shares[LACE_SPENT_STARTING]);
    put_worker(out, life, name, "busy", spent->shares[LACE_SPENT_BUSY]);
    put_worker(out, life, name, "input", spent->shares[LACE_SPENT_WAITED + LACE_FOR_INPUT]);
    put_worker(out, life, name, "output", spent->shares[LACE_SPENT_WAITED + LACE_FOR_OUTPUT]);
    put_worker(out, life, name, "other", spent->shares[LACE_SPENT_WAITED + LACE_FOR_OTHER]);
}

static bool is_alive(const lace_life *life)
{
    return atomic_load(&life->ended) == 0;
}

static void put_workers(FILE *out)
{
    size_t starting = 0, waiting = 0, running = 0;
    begin_family(out, "interlace_worker_seconds", "counter", "seconds",
                 "What a worker's time was spent with: starting, busy, or waiting for input, output or something other.");
    for (lace_life *life = lace_ledger_lives(); life != NULL; life = life->next)
        if (is_alive(life))
            put_times(out, life, lace_life_spent(life));
    begin_family(out, "interlace_worker_cpu_seconds", "counter", "seconds", "Time of a worker's thread on a CPU.");
    for (const lace_life *life = lace_ledger_lives(); life != NULL; life = life->next) {
        if (!is_alive(life))
            continue;
        put_worker(out, life, "interlace_worker_cpu_seconds", NULL, life->told.cpu);
        bool ready = atomic_load(&life->tally->ready) != 0;
        starting += !ready;
        waiting += ready && life->told.waiting;
        running += ready && !life->told.waiting;
    }
    begin_family(out, "interlace_workers", "gauge", NULL, "Workers, by what they do now.");
    fprintf(out, "interlace_workers{state=\"starting\"} %zu\n", starting);
    fprintf(out, "interlace_workers{state=\"running\"} %zu\n", running);
    fprintf(out, "interlace_workers{state=\"waiting\"} %zu\n", waiting);
}

enum figure { SENT, RECEIVED, BYTES, WAITING, CAPACITY, FULL, EMPTY };

static const struct {
    enum figure figure;
    const char *name, *type, *unit, *help;
} families[] = {
    {SENT, "interlace_channel_sent", "counter", NULL, "Messages sent."},
    {RECEIVED, "interlace_channel_received", "counter", NULL, "Messages received."},
    {BYTES, "interlace_channel_bytes", "counter", "bytes", "Bytes of the messages sent."},
    {WAITING, "interlace_channel_waiting", "gauge", NULL, "Messages waiting now, those of waiting senders among them."},
    {CAPACITY, "interlace_channel_capacity", "gauge", NULL, "Messages that may wait."},
    {FULL, "interlace_channel_full_seconds", "counter", "seconds", "Time for which it was full."},
    {EMPTY, "interlace_channel_empty_seconds", "counter", "seconds", "Time for which it was empty."},
};

static void put_channel(FILE *out, const lace_listed *listed, size_t family)
{
    lace_sight sight;
    uint64_t depth;
    bool counts = strcmp(families[family].type, "counter") == 0;
    lace_listed_read(listed, &sight, &depth);
    fprintf(out, "%s%s{channel=\"", families[family].name, counts ? "_total" : "");
    put_escaped(out, listed->name);
    fprintf(out, "\",number=\"%u\"} ", listed->number);
    if (families[family].figure == FULL || families[family].figure == EMPTY) {
        fprintf(out, "%.9f\n",
                (double)(families[family].figure == FULL ? listed->full_ns : listed->empty_ns) / 1e9);
        return;
    }
    const uint64_t whole[] = {
        [SENT] = sight.sent, [RECEIVED] = sight.received, [BYTES] = sight.bytes, [WAITING] = depth,
        [CAPACITY] = listed->capacity};
    fprintf(out, "%llu\n", (unsigned long long)whole[families[family].figure]);
}

char *lace_metrics_text(size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    if (out == NULL)
        return NULL;
    begin_family(out, "interlace", "info", NULL, "The version of Interlace.");
    fprintf(out, "interlace_info{version=\"%s\",python=\"%s\"} 1\n", LACE_VERSION, PY_VERSION);
    lace_ledger_lock();
    put_workers(out);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        begin_family(out, families[i].name, families[i].type, families[i].unit, families[i].help);
        for (const lace_listed *listed = lace_ledger_channels(); listed != NULL; listed = listed->next)
            if (listed->look != NULL)
                put_channel(out, listed, i);
    }
    lace_ledger_unlock();
    fputs("# EOF\n", out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- the socket --------------------------------------------------------------------------------------- */

/* Waits until the descriptor is ready for `events`; false: the time is over, or the thread is to stop. */
static bool wait_for(int fd, short events, int64_t deadline)
{
    int64_t left = (deadline - lace_clock()) / 1000000;
    struct pollfd pollers[2] = {{.fd = fd, .events = events}, {.fd = stop_fd, .events = POLLIN}};
    if (deadline != LACE_NEVER && left <= 0)
        return false;
    while (poll(pollers, 2, deadline == LACE_NEVER ? -1 : (int)left) < 0)
        if (errno != EINTR)
            return false;
    return pollers[1].revents == 0 && pollers[0].revents != 0;
}

static void put_all(int fd, const char *data, size_t size, int64_t deadline)
{
    while (size > 0 && wait_for(fd, POLLOUT, deadline)) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return;
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
}

static void answer(int fd)
{
    char request[REQUEST_MOST + 1];
    size_t size = 0;
    int64_t deadline = lace_clock() + (int64_t)WAIT_MOST * 1000000;
    do {
        if (!wait_for(fd, POLLIN, deadline))
            return;
        ssize_t n = recv(fd, request + size, REQUEST_MOST - size, MSG_DONTWAIT);
        if (n <= 0)
            return;
        size += (size_t)n;
        request[size] = '\0';
    } while (strstr(request, "\r\n\r\n") == NULL && size < REQUEST_MOST);

    size_t length = 0;
    bool head = strncmp(request, "HEAD ", 5) == 0;
    bool good = head || strncmp(request, "GET ", 4) == 0;
    char *text = good ? lace_metrics_text(&length) : NULL;
    char start[256];
    int n = snprintf(start, sizeof start,
                     "HTTP/1.1 %s\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                     text != NULL ? "200 OK" : good ? "503 Service Unavailable" : "405 Method Not Allowed", length);
    put_all(fd, start, (size_t)n, deadline);
    if (text != NULL && !head)
        put_all(fd, text, length, deadline);
    free(text);
}

static void *serve(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "metrics");
    while (wait_for(listener, POLLIN, LACE_NEVER)) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            answer(fd);
            close(fd);
        }
    }
    return NULL;
}

static const char *sentence(const char *path, const char *why)
{
    char *text = NULL;
    return asprintf(&text, "--metrics: no socket at '%s': %s", path, why) < 0 ? "out of memory" : text;
}

/* Takes away a socket that nobody listens at, left by a process that was killed. */
static void remove_stale(void)
{
    struct stat seen;
    if (lstat(address.sun_path, &seen) != 0 || !S_ISSOCK(seen.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && errno == ECONNREFUSED)
        unlink(address.sun_path);
    if (fd >= 0)
        close(fd);
}

const char *lace_metrics_start(const char *path)
{
    if (strlen(path) >= sizeof address.sun_path)
        return sentence(path, "the path of a socket has 107 bytes at most");
    strcpy(address.sun_path, path);
    remove_stale();
    stop_fd = lace_descriptor(eventfd(0, EFD_CLOEXEC));
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mask is the process's, which has no other thread yet that makes files. */
    mode_t before = umask(0177);
    bool bound = stop_fd >= 0 && listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0;
    int error = errno;
    umask(before);
    if (bound && listen(listener, 16) == 0 && pthread_create(&thread, NULL, serve, NULL) == 0)
        return NULL;
    if (bound)
        unlink(path);
    if (listener >= 0)
        close(listener);
    listener = -1;
    return sentence(path, error == EADDRINUSE ? "something is there already; name another path, or remove it"
                                              : strerror(error));
}

void lace_metrics_stop(void)
{
    uint64_t one = 1;
    if (listener < 0)
        return;
    if (write(stop_fd, &one, sizeof one) < 0)
        return; /* never: its counter is far from full */
    pthread_join(thread, NULL);
    unlink(address.sun_path);
    close(listener);
    close(stop_fd);
    listener = stop_fd = -1;
}
