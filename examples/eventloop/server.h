/* server.h - what the files of the server share: all that it knows while it runs. */
#ifndef SERVER_H
#define SERVER_H

#include "client.h"
#include "pool.h"

#define MOST_CLIENTS 1000

/* What an event of epoll is about: one of these, or a client's ticket, which is larger. */
enum { LISTENER, SIGNALS, ROOM, ANSWERS };

struct server {
    int epoll, listener, signals;
    struct pool *pool;
    struct client *clients[MOST_CLIENTS]; /* each at its ticket modulo MOST_CLIENTS; NULL: free */
    size_t count;
    uint64_t round;             /* makes tickets differ */
    struct client *head, *tail; /* the queue of those whose request waits for room */
    bool accepting;             /* the listener is watched */
    bool draining;              /* no more connections and requests, but answers for those that are there */
    bool finished;              /* the workers know that there are no more requests */
    bool over;                  /* the workers have ended */
    bool broken;                /* the server cannot go on */
    int64_t deadline;           /* when draining ends, in milliseconds */
    uint64_t connections, requests, held_up;
};

/* server.c: serves whoever connects to the socket `listener`, until the signalfd `signals` has something or the workers
 * fail; then finishes the pool, if it can, by answering what was asked. All are borrowed, and neither descriptor blocks.
 * Says on stdout how much there was to do. False: it was cut short. */
bool server_run(int listener, int signals, struct pool *pool);

/* advance.c. Nothing there waits. */

/* The client of a ticket; NULL: it has gone. */
struct client *server_find(const struct server *server, uint64_t ticket);
/* Takes a client as far as it goes now: until it waits for its socket, for an answer or for room, or is dropped. */
void server_advance(struct server *server, struct client *client);
void server_advance_all(struct server *server);
/* Hands in requests of clients that wait for room. */
void server_advance_queue(struct server *server);
void server_drop(struct server *server, struct client *client);
/* epoll_ctl(); false: it failed, which has been said. */
bool server_watch(struct server *server, int operation, int fd, uint32_t events, uint64_t about);
/* Watches the listener, or not. */
void server_accept(struct server *server, bool accepting);

#endif
