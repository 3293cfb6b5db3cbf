/* directory.h - what interpreters find by a number: kept interpreters and queues (the module interlace.interpreters).
 *
 * A kept interpreter is a worker that does one request after another until nobody names it any more. A queue is a
 * chain of channels. Both are entries of one directory of the process. */
#ifndef LACE_DIRECTORY_H
#define LACE_DIRECTORY_H

#include "host.h"

/* ---- queues (queue.c) --------------------------------------------------------------------------------- */

/* A FIFO of messages that any thread puts to and gets from. With a size it is one channel. Without, it is channels one
 * after another: where one is full, the next, larger one begins, so that to put never waits, and what waits is bounded
 * by the region alone. */
typedef struct lace_queue lace_queue;

/* `size` at most LACE_MAX_CAPACITY; 0: without. Gives *ret_queue. NOMEM, INVALID. */
lace_status lace_queue_create(lace_region *region, size_t size, lace_queue **ret_queue);
/* Takes the queue; no thread may be using it. What it holds is discarded. */
void lace_queue_destroy(lace_queue *queue);
/* As lace_send and lace_recv. TIMEOUT is full, or empty. */
lace_status lace_queue_put(lace_queue *queue, const lace_payload *payload, const lace_wait *wait);
lace_status lace_queue_get(lace_queue *queue, lace_message *message, const lace_wait *wait);
size_t lace_queue_length(lace_queue *queue);

/* ---- the directory (directory.c) ---------------------------------------------------------------------- */

typedef enum lace_entry_kind {
    LACE_ENTRY_INTERPRETER,
    LACE_ENTRY_QUEUE,
} lace_entry_kind;

/* Constant once it is in the directory, but for what says otherwise. */
typedef struct lace_entry {
    lace_entry_kind kind;
    int64_t id;

    lace_worker *worker;    /* an interpreter's; counted */
    lace_sender *requests;  /* the only sender of what it is asked to do: when it is closed, the interpreter ends */
    lace_receiver *outcome; /* of its worker: when its channel has ended, the worker has */
    atomic_bool busy;       /* it does a request, or somebody is about to send one: whoever sets this may */

    lace_queue *queue; /* a queue's */
    int64_t maxsize;   /* as it was given */
    int unbound;       /* a number that is Python's affair */

    /* The rest is guarded by the directory's lock. */
    size_t bindings;         /* Python objects that stand for it */
    bool listed;             /* it can be found; without bindings too, as long as messages with it are on their way */
    lace_receiver **flights; /* one for each such message: its channel ends when the message has arrived or is gone */
    size_t flight_count, flight_room;
    struct lace_entry *prev, *next;
} lace_entry;

/* Puts an entry (calloc'ed, its first parts filled in; a queue's id is given here) into the directory, bound once, and
 * takes it. False, and it is still the caller's, when the host is about to close. */
bool lace_directory_add(lace_entry *entry);
/* Binds one more time. NULL: there is none. */
lace_entry *lace_directory_find(lace_entry_kind kind, int64_t id);
/* Undoes a binding. After the last one an interpreter ends and a queue is gone, unless a message has it. */
void lace_entry_unbind(lace_entry *entry);
/* Ends a kept interpreter although it has bindings: nobody finds it any more. False when somebody else has done so.
 * Does not wait. */
bool lace_entry_end(lace_entry *entry);
bool lace_entry_is_listed(lace_entry *entry);
/* Gives a sender to be put into a message that names the entry: it stays in the directory until that is destroyed. */
lace_status lace_entry_fly(lace_entry *entry, lace_sender **ret_sender);
/* The kept interpreter of that id has done what it was asked to. */
void lace_directory_idle(int64_t id);
/* Gives the ids of all entries of a kind, in order, malloc'ed. NULL: no memory. */
int64_t *lace_directory_ids(lace_entry_kind kind, size_t *ret_count);
/* Ends all kept interpreters, and lets nobody make another one. Does not wait. */
void lace_directory_end(void);
/* Empties the directory; no worker is left. */
void lace_directory_close(void);

#endif
