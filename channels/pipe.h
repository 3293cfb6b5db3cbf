/* pipe.h - channels over a pipe, FIFO or stream socket: the same calls on frames in a byte stream.
 *
 * Every function here wants an end whose `pipe` is set.
 */
#ifndef LACE_PIPE_H
#define LACE_PIPE_H

#include "cancel.h"
#include "end.h"

#include <poll.h>

lace_status lace_pipe_send(struct lace_end *end, const lace_payload *payload, const lace_wait *wait);
lace_status lace_pipe_recv(struct lace_end *end, lace_message *message, const lace_wait *wait);

/* For select. A try takes what is there: OK, LACE_AGAIN, END, BROKEN, CLOSED, CORRUPT, SYSTEM, NOMEM. A try to send
 * that could write only part of the message has happened; it goes on as lace_pipe_send does, waiting included, and
 * calls park and unpark unless `parked`. */
lace_status lace_pipe_try_recv(struct lace_end *end, lace_message *message);
lace_status lace_pipe_try_send(struct lace_end *end, const lace_payload *payload, const lace_wait *wait, bool parked);
/* Whether the arguments can be sent at all: OK, UNSUPPORTED, INVALID, TOO_BIG. */
lace_status lace_pipe_check(const lace_payload *payload);
/* Whether every sender is gone. */
bool lace_pipe_ended(struct lace_end *end);
/* Whether a try is worth it. */
bool lace_pipe_peek(struct lace_end *end);

/* Registers an OPEN party with an eventfd and says in *ret_poll what to poll beside it; false: there is something to
 * try already, and nothing is registered. */
bool lace_pipe_enter(struct lace_end *end, bool ended, struct lace_waiter *waiter, struct lace_party *party,
                     struct pollfd *ret_poll);
void lace_pipe_leave(struct lace_end *end, struct lace_waiter *waiter);

/* Makes the first end of a descriptor, which it takes if it succeeds. */
lace_status lace_pipe_make(int fd, const char *name, enum lace_side side, struct lace_end **ret_end);
/* Undoes that; the descriptor is the caller's again. */
void lace_pipe_unmake(struct lace_end *end);
/* lace_sender_finish. */
lace_status lace_pipe_finish(struct lace_end *end, const lace_wait *wait);
lace_status lace_pipe_clone(struct lace_end *end, struct lace_end **ret_end);
void lace_pipe_close(struct lace_end *end);
void lace_pipe_destroy(struct lace_end *end);
lace_status lace_pipe_fd(struct lace_end *end, int *ret_fd);

#endif
