/* metrics_server.c - the text of metrics.c through a Unix socket.
 *
 * Who asks speaks HTTP, as agents do. One thread serves them all and waits for none of them: it polls them, each has
 * WAIT_MOST for its request and for taking the answer, and where there are too many the one goes that has been there
 * longest, one that has not asked yet before others. */
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

#define WAIT_MOST ((int64_t)2000 * 1000000) /* ns for a request, and for its answer to be taken */
#define REST ((int64_t)100 * 1000000)       /* ns after there was no descriptor for whoever asks next */
#define REQUEST_MOST 8192
#define CLIENTS 32

typedef struct client {
    int fd;
    int64_t deadline;
    size_t got;
    char *answer; /* its start is in here, its text follows; NULL: it has not asked yet */
    size_t size, sent;
    char request[REQUEST_MOST + 1];
} client;

static pthread_t thread;
static int listener = -1, stop_fd = -1; /* by the thread that starts and stops; constant meanwhile */
static struct sockaddr_un address = {.sun_family = AF_UNIX};

/* By the thread that serves. */
static client *clients[CLIENTS]; /* in the order in which they came, and their deadlines are */
static size_t client_count;
static int64_t rests_until; /* nobody is let in before that */

static void drop_client(size_t i)
{
    close(clients[i]->fd);
    free(clients[i]->answer);
    free(clients[i]);
    memmove(&clients[i], &clients[i + 1], (--client_count - i) * sizeof *clients);
}

static void drop_longest(void)
{
    size_t i = 0;
    while (i < client_count && clients[i]->answer != NULL)
        i++;
    drop_client(i < client_count ? i : 0);
}

static void let_in(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    client *made = fd >= 0 ? calloc(1, sizeof *made) : NULL;
    if (made == NULL) {
        if (fd >= 0)
            close(fd);
        else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
            return;
        rests_until = lace_clock() + REST;
        return;
    }
    if (client_count == CLIENTS)
        drop_longest();
    made->fd = fd;
    made->deadline = lace_clock() + WAIT_MOST;
    clients[client_count++] = made;
}

/* False: no memory. */
static bool make_answer(client *asking)
{
    size_t length = 0, room;
    bool head = strncmp(asking->request, "HEAD ", 5) == 0;
    bool good = head || strncmp(asking->request, "GET ", 4) == 0;
    char *text = good ? lace_metrics_text(&length) : NULL;
    FILE *out = open_memstream(&asking->answer, &room);
    if (out != NULL) {
        fprintf(out,
                "HTTP/1.1 %s\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
                "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                text != NULL ? "200 OK" : good ? "503 Service Unavailable" : "405 Method Not Allowed", length);
        if (text != NULL && !head)
            fwrite(text, 1, length, out);
        if (fclose(out) != 0) {
            free(asking->answer);
            asking->answer = NULL;
        }
    }
    free(text);
    asking->size = asking->answer != NULL ? room : 0;
    return asking->answer != NULL;
}

/* Takes what has come of a request. False: there is nothing more to do for this client. */
static bool hear(client *asking)
{
    ssize_t n = recv(asking->fd, asking->request + asking->got, REQUEST_MOST - asking->got, 0);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    asking->got += (size_t)n;
    asking->request[asking->got] = '\0';
    if (strstr(asking->request, "\r\n\r\n") == NULL && asking->got < REQUEST_MOST)
        return true;
    return make_answer(asking);
}

/* Likewise, gives what goes of the answer. */
static bool tell(client *asking)
{
    ssize_t n = send(asking->fd, asking->answer + asking->sent, asking->size - asking->sent, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    asking->sent += (size_t)n;
    return asking->sent < asking->size;
}

static void attend(size_t i, short ready, int64_t now)
{
    bool stays = now < clients[i]->deadline;
    if (stays && ready != 0 && clients[i]->answer == NULL)
        stays = hear(clients[i]);
    if (stays && ready != 0 && clients[i]->answer != NULL)
        stays = tell(clients[i]);
    if (!stays)
        drop_client(i);
}

/* ms until there is something to do without anybody's saying so; -1: never. */
static int time_left(int64_t now)
{
    int64_t next = client_count > 0 ? clients[0]->deadline : INT64_MAX;
    if (rests_until > now && rests_until < next)
        next = rests_until;
    if (next == INT64_MAX)
        return -1;
    return next > now ? (int)((next - now + 999999) / 1000000) : 0;
}

static void *serve(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "metrics");
    for (;;) {
        int64_t now = lace_clock();
        size_t count = client_count;
        struct pollfd pollers[CLIENTS + 2] = {
            [CLIENTS] = {.fd = now < rests_until ? -1 : listener, .events = POLLIN},
            [CLIENTS + 1] = {.fd = stop_fd, .events = POLLIN},
        };
        for (size_t i = 0; i < CLIENTS; i++)
            pollers[i].fd = -1;
        for (size_t i = 0; i < count; i++)
            pollers[i] =
                (struct pollfd){.fd = clients[i]->fd, .events = clients[i]->answer != NULL ? POLLOUT : POLLIN};
        int ready = poll(pollers, CLIENTS + 2, time_left(now));
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0 || pollers[CLIENTS + 1].revents != 0)
            break;
        now = lace_clock();
        for (size_t i = count; i-- > 0;) /* from the end: whoever is dropped moves nobody who is still to come */
            attend(i, pollers[i].revents, now);
        if (pollers[CLIENTS].revents != 0)
            let_in();
    }
    while (client_count > 0)
        drop_client(client_count - 1);
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
    if (bound && listen(listener, SOMAXCONN) == 0 && pthread_create(&thread, NULL, serve, NULL) == 0)
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
