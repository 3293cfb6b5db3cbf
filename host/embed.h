/* embed.h - what the files of the C API share. */
#ifndef LACE_EMBED_H
#define LACE_EMBED_H

#include "host.h"

/* OK when it is the open host; FORKED, INVALID, CLOSED, with lace_problem(). */
lace_status lace_host_check(const lace_host *host);
/* The same, and when it is OK, lace_host_leave() is owed: another thread may be about to close it. */
lace_status lace_host_enter(const lace_host *host);

/* Waits for the worker's end, then has `*ret_error` say what it failed with; NULL when it did not. TIMEOUT, CANCELLED. */
lace_status lace_answer_wait(lace_worker *worker, const lace_wait *wait, const lace_error **ret_error);
/* After lace_answer_wait() has given OK: whether what it failed with is that it was cancelled. (A class of the script's own
 * may be called Cancelled, too.) */
bool lace_answer_is_cancelled(const lace_worker *worker);

/* For a worker that is being started: the scope it is to be made in, and listing it when it has been. The group is checked
 * already. */
lace_scope *lace_group_scope(lace_group *group);
bool lace_group_is_of_now(const lace_group *group); /* of the host that is open, not of one of before */
bool lace_group_reserve(lace_group *group); /* a place in the list; false: no memory */
void lace_group_release(lace_group *group); /* gives it back: the worker could not be started */
void lace_group_add(lace_group *group, lace_worker *worker);

#endif
