/* client.h - a connection of lines: read when somebody wants them, written as fast as the other side reads. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LONGEST_LINE 1000 /* bytes, its newline not counted */

struct client {
    struct client *next; /* in the queue of those whose request waits for room */
    uint64_t ticket;     /* which client this is: never another one's */
    int fd;
    uint32_t watched; /* the events that epoll watches for, in words of epoll */
    bool asked;       /* its first line is a request that is being answered */
    bool queued;      /* or one that waits for room */
    bool ended;       /* it will send no more */
    bool overlong;    /* the beginning of its first line did not fit in here, and is lost */
    size_t in_size, out_size, out_sent;
    char *out; /* the answer that is being written; NULL: none */
    char in[LONGEST_LINE + 1];
};

typedef enum read_result {
    READ_SOME,
    READ_NOTHING,
    READ_END, /* no more will come; also after an error */
} read_result;

/* Takes the socket, which does not block. NULL: no memory, and the socket is closed. */
struct client *client_create(int fd, uint64_t ticket);
/* Closes the connection. */
void client_destroy(struct client *client);

/* Reads what there is room for, when the first line is not all there. */
read_result client_read(struct client *client);
/* Whether the first line is all there; and its size, without its end. */
bool client_line(const struct client *client, size_t *ret_size);

/* Replaces the first line by its answer, for client_write(). The one before has been written. False: no memory. */
bool client_answer(struct client *client, const char *text, size_t size);
/* Writes as much as the other side takes now; `out` is NULL when that was all. False: the connection is broken. */
bool client_write(struct client *client);

#endif
