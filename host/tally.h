/* tally.h - the part of a worker's account that its own thread writes: in memory that its host can read, also where the worker
 * has a process of its own. */
#ifndef LACE_TALLY_H
#define LACE_TALLY_H

#include <sys/types.h>

#include "../channels/meter.h"

/* Written by the worker's thread, read by any; relaxed but for what meter.h says. */
typedef struct lace_tally {
    struct lace_meter meter;
    atomic_int_least64_t ready;    /* lace_clock() of when the user's code begins; 0: not yet */
    atomic_int_least64_t finished; /* and ends */
    _Atomic(pid_t) tid;
    _Atomic uint64_t cpu;              /* ns, of a worker that has ended */
    _Atomic uint64_t cpu_before;       /* ns, of the threads or processes it had before, if it was started anew */
    _Atomic uint64_t queued;           /* ns for which it had no CPU, but wanted one; likewise, while the host is watched */
    _Atomic uint64_t written, blocked; /* standard output: bytes, and ns it took */
} lace_tally;

/* What went through a worker's ends of one channel, once they are closed. Kept while the host is watched. */
typedef struct lace_strand {
    uint32_t channel;
    bool sends;
    _Atomic uint64_t messages, bytes, waits, blocked; /* relaxed */
} lace_strand;

#define LACE_SHOWN_STRANDS 128
#define LACE_SHOWN_FAILURE 8192

/* What a worker in a process has of it on its sheet. */
typedef struct lace_account {
    lace_tally tally;
    _Atomic uint32_t strand_count; /* stored with release after each one; what finds no room is lost */
    lace_strand strands[LACE_SHOWN_STRANDS];
    atomic_bool failed; /* stored with release after the next */
    char failure[LACE_SHOWN_FAILURE];
} lace_account;

#endif
