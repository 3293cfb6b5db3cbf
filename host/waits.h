/* waits.h - what the threads of an interpreter wait for now.
 *
 * Every wait of ours that has to sleep is written down here for as long as it lasts (wait.c), so that others can tell who
 * waits for whom. That costs a call which does not have to wait nothing, and one that has to a few stores. */
#ifndef LACE_WAITS_H
#define LACE_WAITS_H

#include <Python.h>
#include <stdatomic.h>
#include <stdio.h>

#include "interlace.h"

struct lace_worker;

/* What is waited for, and which of the fields of lace_awaited say more. */
typedef enum lace_operation {
    LACE_AWAITS_OTHER,  /* something not told: nobody knows what ends it */
    LACE_AWAITS_SEND,   /* sender */
    LACE_AWAITS_RECV,   /* receiver */
    LACE_AWAITS_WORK,   /* receiver: an Executor's, of calls or of what came of them */
    LACE_AWAITS_PERMIT, /* receiver: of a semaphore's permits */
    LACE_AWAITS_COUNT,  /* receiver: of one's own, told by who changes the counter; sender: the counter's */
    LACE_AWAITS_SELECT, /* cases */
    LACE_AWAITS_RESULT, /* receiver, worker: whose outcome it is */
    LACE_AWAITS_END,    /* likewise, but for its end */
    LACE_AWAITS_LOCK,   /* a threading.Condition: no wait of ours, and never in a lace_awaited */
} lace_operation;

/* One thread's wait. It lies on that thread's stack; all that it points to is borrowed and stays until the wait is over. */
typedef struct lace_awaited {
    struct lace_awaited *prev, *next; /* among the waits of the interpreter */
    PyThreadState *thread;            /* who waits */
    lace_operation operation;
    bool timed; /* it ends by itself: it has a deadline */
    lace_sender *sender;
    lace_receiver *receiver;
    const struct lace_worker *worker;
    PyObject *const *cases; /* of select(), as they were given */
    size_t case_count;
    int64_t since; /* as lace_clock(), to within some milliseconds */
} lace_awaited;

/* A copy of the figures of a process's worker, which its host sees. */
typedef struct lace_waits_shown {
    _Atomic uint64_t parks;
    _Atomic uint32_t count;
    atomic_int_least64_t since;
} lace_waits_shown;

/* Those of an interpreter: a worker's lies in its lace_worker, another one's in its lace_module. */
typedef struct lace_waits {
    lace_awaited *first; /* in no order; guarded by the GIL, like what it leads to: attach to read it */
    /* Written with the GIL, read by anybody; relaxed, but see `watched`. */
    _Atomic uint64_t parks;     /* how many there have been: as long as it stays, no new one began */
    _Atomic uint32_t count;     /* how many there are now */
    atomic_int_least64_t since; /* when the latest began */
    /* Whoever wants to know of the next wait sets this, then reads the three above. A wait writes those, then reads this,
     * a full fence between the two on both sides: so at least one sees the other. */
    atomic_bool watched;
    lace_waits_shown *shown; /* NULL: nobody else is told; set before the first wait */
} lace_waits;

/* With the GIL, around a wait. */
void lace_waits_begin(lace_waits *waits, lace_awaited *awaited);
void lace_waits_end(lace_waits *waits, lace_awaited *awaited);

/* After lace_waits_begin and a full fence: tells the watcher, who wants to know of this wait. */
void lace_watcher_poke(lace_waits *waits);
/* Tells it that a worker has ended, with all that it held, or that an end is closed. Never blocks; from any thread. */
void lace_watcher_heed(void);

/* Says in words what is waited for: "recv on 'lines'". With the GIL of the interpreter. */
void lace_awaited_describe(const lace_awaited *awaited, FILE *out);

#endif
