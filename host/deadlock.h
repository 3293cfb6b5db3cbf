/* deadlock.h - workers that can only wake one another: found in deadlock.c, told in deadlock_report.c, looked for when
 * there may be some by watcher.c. */
#ifndef LACE_DEADLOCK_H
#define LACE_DEADLOCK_H

#include "../channels/look.h"
#include "module.h"

#define LACE_NOBODY SIZE_MAX

/* One thing that a wait waits for. */
typedef struct lace_await_case {
    const void *channel;
    lace_look *look; /* at that channel */
    lace_look_list list;
    uint64_t end;      /* which end waits there */
    bool sends_matter; /* of a send: other senders may stand in the way as well */
    bool unconfirmed;  /* of a receive: other receivers have what may come back, and holds up the channel's end */
    uint32_t needs[2]; /* how many receivers and senders the channel has: all that could end this wait */
    char *made;        /* of a wait in another process: where the channel was made, malloc'ed; "" if it does not know */
} lace_await_case;

/* One wait of a worker under suspicion. */
typedef struct lace_await {
    size_t suspect;
    const PyThreadState *thread; /* tells the threads of a worker from one another */
    unsigned long ident;         /* likewise, for Python */
    lace_operation operation;
    int64_t since;
    size_t first_case, case_count;
    char where[512]; /* its Python line; filled in for a report */
} lace_await;

/* An end that a worker under suspicion holds, or that lies in a message. */
typedef struct lace_hold {
    const void *channel;
    bool sender;
    size_t suspect;   /* who has it; LACE_NOBODY: */
    size_t container; /* whose message it lies in */
} lace_hold;

/* A channel that messages lie in, which only its receivers come to. */
typedef struct lace_container {
    lace_look *look;
    uint32_t receivers;
    bool sealed; /* only those who are stuck could receive from it */
} lace_container;

typedef struct lace_suspect {
    lace_worker *worker; /* counted */
    uint64_t parks;
    bool stuck;
} lace_suspect;

/* What was found out about the workers that wait. Filled and read by the watcher's thread alone. */
typedef struct lace_net {
    lace_suspect *suspects;
    size_t suspect_count, suspect_room;
    lace_await *awaits;
    size_t await_count, await_room;
    lace_await_case *cases;
    size_t case_count, case_room;
    lace_hold *holds; /* sorted by channel and side once all are there */
    size_t hold_count, hold_room;
    lace_container *containers;
    size_t container_count, container_room;
    bool failed;    /* no memory: nothing is known */
    bool
        elsewhere; /* a thread of a suspect is in no wait of ours: it may end without our being told; or a process is silent */
    bool moved;     /* one could not be read, since it was moving */
} lace_net;

typedef enum lace_verdict {
    LACE_VERDICT_NONE,  /* nobody is stuck */
    LACE_VERDICT_MOVED, /* somebody moved meanwhile: to be asked again */
    LACE_VERDICT_STUCK, /* those marked so are, and will be until somebody cancels them */
} lace_verdict;

/* Adds a worker that seems to wait. Attaches to its interpreter: blocks where somebody else there holds on to the GIL. */
void lace_net_add(lace_net *net, lace_worker *worker);
/* Likewise one in a process of its own, from what that has stated (statement.c). */
void lace_net_add_process(lace_net *net, lace_worker *worker);
/* Who of those added is stuck: each of its threads waits, without a time limit, for what only others that are stuck could
 * do. Exact: whoever is told to be stuck is. */
lace_verdict lace_net_judge(lace_net *net);
size_t lace_net_stuck(const lace_net *net); /* how many are */
void lace_net_finish(lace_net *net);

/* The holds of the ends on one side of a channel: their number, from the place *ret_first on. */
size_t lace_net_holders(const lace_net *net, const void *channel, bool sender, size_t *ret_first);
bool lace_net_hold_is_stuck(const lace_net *net, const lace_hold *hold);

/* How lace_net_add_process adds what it reads; looks and strings are taken. */
void lace_net_put_suspect(lace_net *net, lace_worker *worker, uint64_t parks);
void lace_net_put_await(lace_net *net, const lace_await *await);
void lace_net_put_case(lace_net *net, const lace_await_case *one);
void lace_net_put_hold(lace_net *net, const void *channel, bool sender, size_t suspect);
void lace_net_put_container(lace_net *net, lace_look *look);
void lace_net_put_ends(lace_net *net, const lace_worker *worker, size_t suspect); /* those of the lace_worker itself */
/* Finds out at which line each of the stuck waits that are here. */
void lace_net_find_lines(lace_net *net);

/* Says on stderr who waits for whom: as a deadlock of all, or as a warning about some. */
void lace_deadlock_report(lace_net *net, bool all);
/* Has the waits of the stuck raise Deadlock. */
void lace_deadlock_tell(lace_net *net);
/* A copy of the latest report of a deadlock of all, malloc'ed; NULL: there was none. */
char *lace_deadlock_text(void);

/* ---- a child's statement about itself (statement.c) ------------------------------------------------------ */

/* In a child, before the user's code runs: the threads that are there now are its host's. */
void lace_statement_begin(void);
/* In a child with one worker, attached to it: whether nothing but Python's threads could act in the process, all of which wait.
 * It has to be seen with the waits, in one go: a thread of another kind needs the GIL as well. Elsewhere true. */
bool lace_statement_is_all(void);
/* By the child's watcher: what it has stated does not hold any more; false: its host reads it just now. */
bool lace_statement_withdraw(void);
/* Likewise: states what the net has found out about its only worker, and takes it, if that is all there is; false: its
 * host reads just now. */
bool lace_statement_make(lace_net *net);
/* In the host, of a worker that runs in a process: whether it waits and has stated for what; *ret_parks: in which wait it
 * is. */
bool lace_statement_stands(const lace_worker *worker, uint64_t *ret_parks);
/* Leaves the report of a deadlock that is about to be raised there. */
void lace_statement_report(const lace_worker *worker, const char *text);

/* ---- the watcher (watcher.c) ---------------------------------------------------------------------------- */

/* The thread that looks. `raises`: a deadlock of all workers is raised in them; else it is only told. NULL or what went
 * wrong. */
const char *lace_watcher_start(bool raises);
/* Has it look soon: a child has made a statement. */
void lace_watcher_wake(void);
void lace_watcher_stop(void);

#endif
