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
    uint32_t needs[2]; /* how many receivers and senders the channel has: all that could end this wait */
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
    bool elsewhere; /* a thread of a suspect is in no wait of ours: it may end without our being told */
} lace_net;

typedef enum lace_verdict {
    LACE_VERDICT_NONE,  /* nobody is stuck */
    LACE_VERDICT_MOVED, /* somebody moved meanwhile: to be asked again */
    LACE_VERDICT_STUCK, /* those marked so are, and will be until somebody cancels them */
} lace_verdict;

/* Adds a worker that seems to wait. Attaches to its interpreter: blocks where somebody else there holds on to the GIL. */
void lace_net_add(lace_net *net, lace_worker *worker);
/* Who of those added is stuck: each of its threads waits, without a time limit, for what only others that are stuck could
 * do. Exact: whoever is told to be stuck is. */
lace_verdict lace_net_judge(lace_net *net);
size_t lace_net_stuck(const lace_net *net); /* how many are */
void lace_net_finish(lace_net *net);

/* The holds of the ends on one side of a channel: their number, from the place *ret_first on. */
size_t lace_net_holders(const lace_net *net, const void *channel, bool sender, size_t *ret_first);
bool lace_net_hold_is_stuck(const lace_net *net, const lace_hold *hold);

/* Says on stderr who waits for whom: as a deadlock of all, or as a warning about some. */
void lace_deadlock_report(lace_net *net, bool all);
/* Has the waits of the stuck raise Deadlock. */
void lace_deadlock_tell(lace_net *net);
/* A copy of the latest report of a deadlock of all, malloc'ed; NULL: there was none. */
char *lace_deadlock_text(void);

/* ---- the watcher (watcher.c) ---------------------------------------------------------------------------- */

/* The thread that looks. `raises`: a deadlock of all workers is raised in them; else it is only told. NULL or what went
 * wrong. */
const char *lace_watcher_start(bool raises);
void lace_watcher_stop(void);

#endif
