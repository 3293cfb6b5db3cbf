/* pool.h - Python workers that answer requests, for a thread that must never wait. */
#ifndef POOL_H
#define POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

typedef enum pool_result {
    POOL_DONE,
    POOL_LATER, /* not now: the descriptor says when */
    POOL_OVER,  /* never again: the workers have ended */
} pool_result;

/* Starts `count` workers that run a script. It receives (ticket, line) from interlace.input, an int and bytes, and sends
 * (ticket, answer) to interlace.output, an int and a str. NULL: that failed, which has been said on stderr. */
struct pool *pool_open(const char *script, int count);

/* Hands a request in (borrowed). LATER: all workers are busy, and as many requests as are worth it lie ready for them. */
pool_result pool_ask(struct pool *pool, uint64_t ticket, const char *line, size_t size);
/* Readable while pool_ask() can do something. */
int pool_room_fd(const struct pool *pool);

/* Takes out an answer, in whatever order they come; the text lives until the next call. LATER: there is none yet. */
pool_result pool_answer(struct pool *pool, uint64_t *ret_ticket, const char **ret_text, size_t *ret_size);
/* Readable while pool_answer() can do something. */
int pool_answers_fd(const struct pool *pool);

/* There will be no more requests: the workers answer those they have, and end. pool_room_fd() is gone then. */
void pool_finish(struct pool *pool);

/* Ends the workers, at once those that have not ended by themselves. False: one has failed, or does not end; it has been
 * said on stderr which and why. */
bool pool_close(struct pool *pool);

#endif
