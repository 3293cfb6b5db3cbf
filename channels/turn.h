/* turn.h - the inside of a pipe channel: what its ends share, calls, and the turn to wait for the descriptor.
 *
 * All ends that this process made of one descriptor share one lace_pipe. Reading and putting together is done under
 * `io`, which is never held for long. One receiver at a time has the *turn* and waits in poll; the others queue for
 * it. A sender keeps the turn for its whole message, waits included: a writer's chunks come in order. A turn is
 * handed on directly, as a claim of the next party in the queue, so that it is never lost. The descriptor is closed
 * when no end is open and no call is inside: never under somebody's poll.
 */
#ifndef LACE_TURN_H
#define LACE_TURN_H

#include "cancel.h"
#include "end.h"
#include "frame.h"

struct lace_byte_ring;

struct lace_pipe {
    /* The lock in `queue` guards all fields but those said otherwise. It comes after `io` and before party locks.
     * Calls that cannot block are made under it (poll without waiting, writing an eventfd). */
    struct lace_waiters queue;    /* those who wait for the turn; OK hands it to them */
    struct lace_waiters tries;    /* the same, while its owner does not wait itself; RETRY tells that it does */
    struct lace_waiters watchers; /* those who poll the descriptor; RETRY */
    uint32_t references;          /* handles */
    uint32_t ends;                /* open handles */
    uint32_t users;               /* calls inside */
    int fd;                       /* -1 once closed; constant while a call is inside */
    bool busy;                    /* somebody has the turn */
    bool stalled;                 /* and waits in poll */
    bool shunned;                 /* a select saw a sender busy, and does not poll */
    bool ripe;                    /* staged bytes may hold a message; changed under `io` as well. Where there are `bytes`,
                                   * not under `io`: there is something to read, or room to write, that the bell may
                                   * not tell of */
    bool staged_set;
    int staged; /* for lace_receiver_fd: an eventfd, readable while ripe; -1: none */
    int epoll;  /* it and the descriptor; -1: none */
    bool socket; /* constant */
    struct lace_byte_ring *bytes; /* what they go through instead of the descriptor, which is its bell; NULL: nothing
                                   * else. Constant once it is greeted */
    bool greeted; /* constant: a sealed socket, of which each direction has a pipe of its own */
    unsigned forks; /* constant: lace_forks() when it was greeted */

    struct lace_lock io;       /* guards the reader */
    struct lace_reader reader;

    /* Of the turn; of whoever closes the descriptor when nobody has it any more. */
    int event;           /* the eventfd of its owner's party; -1: none yet */
    uint64_t writer;     /* constant */
    uint64_t number;     /* of the last message begun */
    struct lace_sealer *sealer; /* NULL: frames are not sealed */
    size_t rest_start;   /* what the stream has not taken yet of the chunk in `rest` */
    size_t rest_end;
    unsigned char rest[LACE_CHUNK_MOST];
};

/* One call. */
struct lace_call {
    struct lace_end *end;
    struct lace_pipe *pipe;
    const lace_wait *wait;
    bool parked;  /* park has been called */
    bool foreign; /* by somebody else, who calls unpark */
    int64_t started;
    struct lace_party party;
};

static inline void lace_pipe_lock(struct lace_pipe *pipe)
{
    lace_lock_acquire(&pipe->queue.lock);
}

static inline void lace_pipe_unlock(struct lace_pipe *pipe, struct lace_wakes *wakes)
{
    lace_lock_release(&pipe->queue.lock);
    lace_wakes_flush(wakes);
}

/* Begins and ends a call. CLOSED. */
lace_status lace_call_enter(struct lace_call *call, struct lace_end *end, const lace_wait *wait);
void lace_call_leave(struct lace_call *call);

/* Waits for the turn: OK when the caller has it. With `wait` false, LACE_AGAIN rather than wait for one who waits. */
lace_status lace_turn_take(struct lace_call *call, bool wait);
void lace_turn_give(struct lace_pipe *pipe);

/* With the turn: waits in poll until the descriptor is ready or might be. */
lace_status lace_turn_wait(struct lace_call *call, short events);

/* With the turn: writes rest[], waiting where that is allowed. OK: all of it went. */
lace_status lace_pipe_write_rest(struct lace_call *call, bool wait);

/* With the pipe locked: the descriptor, if its time has come; the caller hangs up after unlocking. -1: not yet. */
int lace_pipe_retire(struct lace_pipe *pipe);
/* Closes the descriptor, if it is one; says first that a sealed stream ends. Never waits. */
void lace_pipe_hang_up(struct lace_pipe *pipe, int fd);

/* Says whether staged bytes may hold a message; tells those who poll if so. */
void lace_pipe_set_ripe(struct lace_pipe *pipe, bool ripe);

/* Of a pipe with `bytes`, before somebody polls its descriptor, and where one is polled all the time: whether there is
 * something to read, room to write, or an end. If not, the descriptor tells when that changes. Else all who poll are told
 * now. False of any other pipe. */
bool lace_pipe_listen(struct lace_pipe *pipe);

#endif
