/* state.h - what every worker does now, and what every channel holds: read without stopping anything. */
#ifndef LACE_STATE_H
#define LACE_STATE_H

#include <stdio.h>

#include "../channels/look.h"
#include "host.h"

/* One Python thread of a worker. */
typedef struct lace_state_thread {
    unsigned long native; /* as the system numbers it */
    char *awaits;         /* what it waits for, in words; NULL: it runs, or waits for something that is not ours */
    double seconds;       /* for how long it has */
    char *stack;          /* lines of text, the innermost call first */
} lace_state_thread;

/* One open end of a worker. */
typedef struct lace_state_end {
    lace_look *look;
    bool sender;
    uint64_t messages, bytes;
} lace_state_end;

typedef enum lace_reach {
    LACE_REACH_NOT_YET,
    LACE_REACH_READ,
    LACE_REACH_BUSY, /* foreign C code has kept its lock all the time, or its process has not answered: only what is outside is
                        known */
    LACE_REACH_NONE, /* it has no interpreter, yet or any more */
} lace_reach;

typedef struct lace_state_worker {
    lace_worker *worker; /* counted */
    lace_reach reach;
    lace_worker_state state;
    pid_t pid;                  /* of its process, when it has one and that runs; 0 */
    int64_t cpu;                /* ns that its own thread, or its process, has had; -1: not known */
    uint64_t received, sent;    /* messages, on ends that it has or had */
    lace_state_thread *threads; /* the worker's own first */
    size_t thread_count;
    lace_state_end *ends;
    size_t end_count;
} lace_state_worker;

/* A channel that a worker holds an end of. */
typedef struct lace_state_channel {
    const lace_look *look; /* one of the ends' */
    lace_sight sight;
    uint64_t received; /* messages, by the receivers that there are */
    double rate;       /* of them, in a second; below 0: not known */
} lace_state_channel;

typedef struct lace_state {
    int64_t at; /* lace_clock() */
    lace_state_worker *workers;
    size_t worker_count;
    lace_state_channel *channels;
    size_t channel_count;
} lace_state;

/* Reads all there is: takes some milliseconds, and a quarter of a second when a worker's lock is not to be had. Called
 * without a GIL. NULL: no memory. */
lace_state *lace_state_read(void);
/* Fills in the rates: what has been received since an earlier state was read. */
void lace_state_compare(lace_state *state, const lace_state *earlier);
void lace_state_free(lace_state *state);

/* state_process.c: of a worker that runs in a process. Asks it, and takes what it says into all but `worker` and `cpu`. */
void lace_state_read_process(lace_state_worker *seen);
/* In the child: what it says of its own worker. Its looks are to be kept until that has been read. */
void lace_state_write_share(const lace_state *state, FILE *out);

/* state_text.c */
void lace_state_write_text(const lace_state *state, FILE *out);
void lace_state_write_json(const lace_state *state, FILE *out);

/* state_server.c: answering those who ask for the state, by SIGQUIT or through a socket. */
void lace_state_serve(void); /* has the socket, should there be one to be had: called before the keeper starts */
int lace_state_fd(void);     /* for the keeper to poll; -1: there is none */
void lace_state_accept(void);
void lace_state_print(void); /* on stderr */
void lace_state_stop(void);  /* waits for the answers under way */

/* The name of the socket of a process, in the abstract namespace: no file, and nothing to clean up. Its length. */
size_t lace_state_address(int pid, char *name, size_t size);
bool lace_state_is_ours(int connection, int *ret_pid); /* whether the other side is the same user, or root */

#endif
