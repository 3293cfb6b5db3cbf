/* server.c - many connections and a pool of Python workers, in one thread that waits in epoll only. */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_MS 5000 /* that requests have to be answered after a signal */

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- events --------------------------------------------------------------------------------------------- */

static void add_client(struct server *server, int fd)
{
    size_t place = 0;
    while (server->clients[place] != NULL)
        place++;
    struct client *client = client_create(fd, ++server->round * MOST_CLIENTS + place);
    if (client == NULL) {
        perror("server: a connection");
        return;
    }
    if (!server_watch(server, EPOLL_CTL_ADD, fd, EPOLLIN, client->ticket)) {
        client_destroy(client);
        return;
    }
    client->watched = EPOLLIN;
    server->clients[place] = client;
    server->count++;
    server->connections++;
}

/* A new connection. What it has sent already is the next event. */
static void on_listener(struct server *server)
{
    if (server->count == MOST_CLIENTS)
        server_accept(server, false); /* until one has gone; the kernel keeps some more */
    if (!server->accepting)
        return;
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        add_client(server, fd);
        return;
    }
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        perror("server: a connection");
        server_accept(server, false); /* until one has gone */
        server->broken = server->count == 0;
        break;
    default: /* the connection broke before it was accepted, or so */
        break;
    }
}

/* Answers: a hundred of them, so that others have their turn. What is left is the next event. */
static void on_answers(struct server *server)
{
    for (int i = 0; i < 100; i++) {
        uint64_t ticket;
        const char *text;
        size_t size;
        pool_result result = pool_answer(server->pool, &ticket, &text, &size);
        if (result == POOL_OVER) {
            server->over = true;
            server_watch(server, EPOLL_CTL_DEL, pool_answers_fd(server->pool), 0, ANSWERS);
        }
        if (result != POOL_DONE)
            return;
        struct client *client = server_find(server, ticket);
        if (client == NULL)
            continue; /* it did not wait for its answer */
        client->asked = false;
        if (client_answer(client, text, size))
            server_advance(server, client);
        else
            server_drop(server, client);
    }
}

/* The first signal: no more connections, no more requests; those that were read are answered. The second one: the end. */
static void on_signal(struct server *server)
{
    struct signalfd_siginfo info;
    if (read(server->signals, &info, sizeof info) != sizeof info)
        return;
    server->deadline = milliseconds() + (server->draining ? 0 : DRAIN_MS);
    server->draining = true;
    server_accept(server, false);
    server_advance_all(server);
}

static void on_event(struct server *server, const struct epoll_event *event)
{
    struct client *client;
    switch (event->data.u64) {
    case LISTENER:
        on_listener(server);
        break;
    case SIGNALS:
        on_signal(server);
        break;
    case ROOM:
        server_advance_queue(server);
        break;
    case ANSWERS:
        on_answers(server);
        break;
    default:
        client = server_find(server, event->data.u64);
        if (client != NULL && event->events & (EPOLLERR | EPOLLHUP))
            server_drop(server, client);
        else if (client != NULL)
            server_advance(server, client);
    }
}

/* ---- the loop ------------------------------------------------------------------------------------------- */

/* How long to wait for events, in milliseconds: -1 for ever, 0 not any more. */
static int patience(const struct server *server)
{
    int64_t left = server->deadline - milliseconds();
    return !server->draining ? -1 : left > 0 ? (int)left : 0;
}

/* False: it was cut short. */
static bool loop(struct server *server)
{
    struct epoll_event events[64];
    while (!server->broken && patience(server) != 0) {
        int count = epoll_wait(server->epoll, events, sizeof events / sizeof *events, patience(server));
        if (count < 0 && errno != EINTR) {
            perror("server: epoll");
            return false;
        }
        for (int i = 0; i < count; i++)
            on_event(server, &events[i]);
        if (server->over && !server->draining)
            return false; /* nobody told the workers to end */
        if (server->over)
            server_advance_all(server);
        if (server->over && server->count == 0)
            return true;
        if (server->draining && server->head == NULL && !server->finished) {
            pool_finish(server->pool);
            server->finished = true;
        }
    }
    return false;
}

static bool watch_all(struct server *server)
{
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0) {
        perror("server: epoll");
        return false;
    }
    server->accepting = true;
    return server_watch(server, EPOLL_CTL_ADD, server->signals, EPOLLIN, SIGNALS) &&
           server_watch(server, EPOLL_CTL_ADD, server->listener, EPOLLIN, LISTENER) &&
           server_watch(server, EPOLL_CTL_ADD, pool_answers_fd(server->pool), EPOLLIN, ANSWERS) &&
           server_watch(server, EPOLL_CTL_ADD, pool_room_fd(server->pool), 0, ROOM);
}

bool server_run(int listener, int signals, struct pool *pool)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        perror("server");
        return false;
    }
    server->listener = listener;
    server->signals = signals;
    server->pool = pool;
    bool well = watch_all(server) && loop(server);
    for (size_t i = 0; i < MOST_CLIENTS; i++)
        if (server->clients[i] != NULL)
            client_destroy(server->clients[i]);
    if (server->epoll >= 0)
        close(server->epoll);
    printf("%" PRIu64 " connections, %" PRIu64 " requests, %" PRIu64 " of them waited for room\n",
           server->connections, server->requests, server->held_up);
    free(server);
    return well;
}
