/* restart.h - workers that are started anew when they fail.
 *
 * Such a worker is one lace_worker after the other, its attempts, with one number, one name and one outcome. What others hold
 * of it is its face: a lace_worker that has no thread and is in no registry, and whose scope all attempts are below. The job
 * that the attempts get copies of stays here; an attempt that fails is followed by another one unless this says otherwise. */
#ifndef LACE_RESTART_H
#define LACE_RESTART_H

#include "host.h"

#define LACE_LONGEST_BACKOFF 60.0 /* seconds; however often it has been doubled */
#define LACE_MOST_ATTEMPTS 10000

typedef struct lace_restart_policy {
    unsigned attempts; /* so many restarts, at most LACE_MOST_ATTEMPTS, may lie within ... */
    double within;     /* ... so many seconds; may be infinite */
    double backoff;    /* seconds before the first; twice as many before the next one */
} lace_restart_policy;

typedef struct lace_restart lace_restart;

/* Starts the first attempt. Takes the job and the outcome if it succeeds, and gives the face (counted). NULL, or a static
 * sentence, which errno says as well. */
const char *lace_restart_begin(const lace_spawn_options *options, lace_job *job, lace_sender *outcome,
                               lace_worker **ret_face);
lace_restart *lace_restart_ref(lace_restart *restart);
void lace_restart_unref(lace_restart *restart); /* NULL: nothing */

/* An attempt fails (why: a phrase), and is not to be counted as ended by its failure if this is true: another one follows.
 * Once it was false it stays so. NULL: none may follow. By its own thread, or by the keeper if it is a process. */
bool lace_restart_grant(lace_worker *attempt, const char *why);

/* An attempt has ended, its ends are closed, and it is still in the registry. Either the next one is, too, from now on, or all
 * is over but the attempt's own count of the outcome. By the same; without a GIL. */
void lace_restart_over(lace_worker *attempt);

/* By the keeper: starts attempts whose time has come, and ends those that have been cancelled before. Returns when to look
 * again, or LACE_NEVER. */
int64_t lace_restart_serve(void);

/* What cancels all attempts; and what a failure that is the last one cancels, or NULL. Borrowed. */
lace_scope *lace_restart_scope(const lace_restart *restart);
lace_scope *lace_restart_group(const lace_restart *restart);

/* The attempt has closed an end for good that its job has given to it: its attachment with that index. With its GIL, or by
 * the keeper. */
void lace_restart_drop_end(lace_restart *restart, size_t index);

/* What is kept for the attempts that may come, borrowed; with the GIL of one that runs. */
const lace_job *lace_restart_job(const lace_restart *restart);
const lace_sender *lace_restart_outcome(const lace_restart *restart);

#endif
