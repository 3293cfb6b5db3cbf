/* ledger.h - the accounts of workers and channels: what they did, how long they waited, what went through.
 *
 * Always kept of those that are there. Once the host is watched (sampler.c: --stats and the like), also of those that were, and
 * what is found by looking at them again and again. */
#ifndef LACE_LEDGER_H
#define LACE_LEDGER_H

#include "../channels/look.h"
#include "../channels/meter.h"
#include "host.h"
#include "tally.h"

/* A worker's account at one moment: nanoseconds so far. */
typedef struct lace_life_sample {
    uint64_t waited[LACE_PURPOSES];
    uint64_t cpu;
} lace_life_sample;

/* A channel's: messages, and the integral of its depth over time. */
typedef struct lace_listed_sample {
    uint64_t received;
    double depth;
} lace_listed_sample;

/* Where a worker's time went; LACE_SPENT_WAITED + a purpose: waiting for that. */
enum {
    LACE_SPENT_STARTING,
    LACE_SPENT_BUSY,
    LACE_SPENT_WAITED,
    LACE_SPENT_SHARES = LACE_SPENT_WAITED + LACE_PURPOSES
};

/* What is told of it, in nanoseconds, which never becomes less (spent.c). */
typedef struct lace_spent {
    int64_t end; /* lace_clock() of the moment until which it is told: now, or when it ended */
    uint64_t shares[LACE_SPENT_SHARES];
    uint64_t cpu;
    uint64_t waits;
    bool waiting; /* now */
} lace_spent;

typedef struct lace_life {
    struct lace_life *next; /* guarded by the ledger's lock, like all below that is not said to be otherwise */
    uint64_t id;
    char name[128];
    unsigned index, count;
    lace_tally *tally;              /* where the worker's thread has it: `own`, or in the account */
    lace_tally own;
    lace_account *account;          /* of one in a process, on its sheet, as long as that is there; NULL */
    bool alone;                     /* it has, or had, a process to itself, all of whose CPU time is its own */
    atomic_int_least64_t began;     /* lace_clock() of these moments; 0: not yet */
    atomic_int_least64_t ended;
    atomic_bool failed;
    char *failure;
    lace_strand *strands;
    size_t strand_count;
    size_t first;     /* the moment of samples[0], among the sampler's */
    size_t sample_count, sample_room;
    lace_life_sample *samples;
    lace_spent told; /* when somebody last asked */
} lace_life;

typedef struct lace_listed {
    struct lace_listed *next;
    uint32_t number;
    lace_look *look; /* NULL: all its ends have gone */
    char name[64];
    uint64_t capacity;
    int64_t began, ended;
    uint64_t sent, received, bytes; /* all its ends have gone: what they were */
    int64_t sampled;                /* when the next three were last added to; 0: never */
    uint64_t watched_ns, full_ns, empty_ns;
    double depth; /* integral over time: messages times ns */
    size_t first;
    size_t sample_count, sample_room;
    lace_listed_sample *samples;
} lace_listed;

/* In a child, before there is a channel: its numbers are none of its host's, nor of another child's that is there. */
void lace_ledger_number_from(unsigned seat);

/* Whether accounts are kept of what is gone: set before the first worker starts. */
extern bool lace_ledger_keeps;

/* The lock is held for a time that grows with the number of accounts, never while waiting; with or without a GIL. */
void lace_ledger_lock(void);
void lace_ledger_unlock(void);
/* Locked: the first of each, after those that are gone have been seen to. */
lace_life *lace_ledger_lives(void);
lace_listed *lace_ledger_channels(void);
/* Locked: how many accounts of what is gone were dropped, there being too many. */
size_t lace_ledger_dropped(void);

/* A new worker's account, before its thread knows of its job; NULL: no memory, it has none then. */
lace_life *lace_life_begin(uint64_t id, const char *name, unsigned index, unsigned count);
/* It is one in a process, which writes on that account, a new one: in the process, before it has a job, and in its host. There
 * the process goes on with what it was paused with. */
void lace_life_show(lace_life *life, lace_account *account);
/* In the host: the process has died, but is not gone. What is known of its CPU time is noted. */
void lace_life_note_cpu(lace_life *life);
/* In the host: it is gone, and what it wrote is kept as that of any other. Takes the account. */
void lace_life_bury(lace_life *life, bool failed);
/* Locked: what went through its ends, borrowed. */
const lace_strand *lace_life_strands(const lace_life *life, size_t *ret_count);
/* By the worker's thread: from now on its waits are its own. */
void lace_life_enter(lace_life *life);
/* By the same: they are not any more, but another thread will go on with it. */
void lace_life_pause(lace_life *life);
/* In the host, where the process is gone: another process will go on with it. */
void lace_life_pause_process(lace_life *life);
/* Likewise; and it ends. Takes the account. */
void lace_life_end(lace_life *life, bool failed);
void lace_life_fail(lace_life *life, const char *text);
/* Standard output took what it was given, which was begun at `started`. */
void lace_life_wrote(lace_life *life, size_t bytes, int64_t started);
/* An end that the worker held is about to go. */
void lace_life_drop_end(lace_life *life, const lace_sender *sender, const lace_receiver *receiver);
/* Nanoseconds on a CPU so far. */
uint64_t lace_life_cpu(const lace_life *life);
/* Locked: where its time went until now, borrowed; what is told does not become less from one call to the next. */
const lace_spent *lace_life_spent(lace_life *life);

/* Locked: what went through it, and in *ret_depth how many messages wait, those of waiting senders among them. */
void lace_listed_read(const lace_listed *listed, lace_sight *ret_sight, uint64_t *ret_depth);
/* Forgets everything: the region goes. */
void lace_ledger_clear(void);

/* ---- looking again and again (sampler.c) ---------------------------------------------------------------- */

/* Starts the thread that looks. NULL, or a static sentence. */
const char *lace_sampler_start(void);
void lace_sampler_stop(void);
/* Locked: the moments of the samples, borrowed; *ret_count of them. */
const int64_t *lace_sampler_moments(size_t *ret_count);

/* ---- a socket for agents (metrics.c, metrics_server.c) --------------------------------------------------- */

/* Serves the accounts as OpenMetrics text at a new Unix socket of mode 0600. NULL, or a sentence (static, or malloc'ed and
 * leaked). */
const char *lace_metrics_start(const char *path);
void lace_metrics_stop(void);
/* The text, malloc'ed; NULL: no memory. */
char *lace_metrics_text(size_t *ret_size);

#endif
