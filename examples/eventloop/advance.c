/* advance.c - a client's way from its line to its answer.
 *
 * Each client has one request with the workers at most, and nothing more is read from it meanwhile. While the workers
 * have no room for a request it waits in a queue here; so what is kept in memory is bounded by the number of clients,
 * and whoever sends faster than it is answered is slowed down by TCP. */
#include "server.h"

#include <stdio.h>
#include <sys/epoll.h>

bool server_watch(struct server *server, int operation, int fd, uint32_t events, uint64_t about)
{
    struct epoll_event event = {.events = events, .data.u64 = about};
    if (epoll_ctl(server->epoll, operation, fd, &event) == 0)
        return true;
    perror("server: epoll");
    return false;
}

/* The listener only while there is a place for one more; room for requests only while a request waits for it. Both are
 * level-triggered, and would keep the loop busy otherwise. */
void server_accept(struct server *server, bool accepting)
{
    if (accepting == server->accepting)
        return;
    server->accepting = accepting;
    server_watch(server, EPOLL_CTL_MOD, server->listener, accepting ? EPOLLIN : 0, LISTENER);
}

static void watch_room(struct server *server, bool wanted)
{
    server_watch(server, EPOLL_CTL_MOD, pool_room_fd(server->pool), wanted ? EPOLLIN : 0, ROOM);
}

struct client *server_find(const struct server *server, uint64_t ticket)
{
    struct client *client = server->clients[ticket % MOST_CLIENTS];
    return client != NULL && client->ticket == ticket ? client : NULL; /* NULL: it has gone */
}

static void enqueue(struct server *server, struct client *client)
{
    client->queued = true;
    client->next = NULL;
    if (server->head == NULL) {
        server->head = client;
        watch_room(server, true);
    } else {
        server->tail->next = client;
    }
    server->tail = client;
}

static void dequeue(struct server *server, struct client *client)
{
    struct client *before = NULL;
    for (struct client *each = server->head; each != client; each = each->next)
        before = each;
    if (before != NULL)
        before->next = client->next;
    else
        server->head = client->next;
    if (server->tail == client)
        server->tail = before;
    client->queued = false;
    if (server->head == NULL)
        watch_room(server, false);
}

void server_drop(struct server *server, struct client *client)
{
    if (client->queued)
        dequeue(server, client);
    server->clients[client->ticket % MOST_CLIENTS] = NULL;
    server->count--;
    client_destroy(client);
    if (!server->draining)
        server_accept(server, true);
}

/* Hands the first line of a client to the workers. False: they have no room for it. */
static bool ask(struct server *server, struct client *client, size_t size)
{
    switch (pool_ask(server->pool, client->ticket, client->in, size)) {
    case POOL_DONE:
        client->asked = true;
        server->requests++;
        return true;
    case POOL_OVER:
        server->over = true;
        return true;
    case POOL_LATER:
        break;
    }
    return false;
}

/* Sees to the first line of a client. False: the client cannot be answered. */
static bool take_line(struct server *server, struct client *client, size_t size)
{
    static const char too_long[] = "error: the line is too long";
    if (client->overlong)
        return client_answer(client, too_long, sizeof too_long - 1);
    /* Those that wait already come first. */
    if (server->head != NULL || !ask(server, client, size)) {
        enqueue(server, client);
        server->held_up++;
    }
    return true;
}

/* Takes a client as far as it goes now. Gives the events to watch for; false: it is to be dropped. */
static bool step(struct server *server, struct client *client, uint32_t *ret_events)
{
    size_t size;
    for (;;) {
        if (!client_write(client))
            return false;
        if (client->out != NULL) {
            *ret_events = EPOLLOUT;
            return true;
        }
        if (server->over)
            return false;
        if (client->asked || client->queued) {
            *ret_events = 0; /* epoll says nevertheless when the connection breaks */
            return true;
        }
        if (server->draining)
            return false;
        if (client_line(client, &size)) {
            if (!take_line(server, client, size))
                return false;
            continue;
        }
        if (client->ended)
            return false;
        switch (client_read(client)) {
        case READ_SOME:
            break;
        case READ_END:
            client->ended = true;
            break;
        case READ_NOTHING:
            *ret_events = EPOLLIN;
            return true;
        }
    }
}

void server_advance(struct server *server, struct client *client)
{
    uint32_t events;
    if (!step(server, client, &events)) {
        server_drop(server, client);
    } else if (events != client->watched) {
        client->watched = events;
        if (!server_watch(server, EPOLL_CTL_MOD, client->fd, events, client->ticket))
            server_drop(server, client);
    }
}

void server_advance_all(struct server *server)
{
    for (size_t i = 0; i < MOST_CLIENTS; i++)
        if (server->clients[i] != NULL)
            server_advance(server, server->clients[i]);
}

/* Those that wait longest come first. */
void server_advance_queue(struct server *server)
{
    size_t size;
    while (server->head != NULL && !server->over) {
        struct client *client = server->head;
        if (client_line(client, &size) && !ask(server, client, size))
            return;
        dequeue(server, client);
    }
}
