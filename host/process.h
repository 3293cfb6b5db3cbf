/* process.h - workers in processes of their own: the host's side (process.c, process_start.c), the child's (child.c),
 * and what both speak (process_talk.c).
 *
 * A child is the program `interlace`, started anew. It has its host's region by an inherited descriptor, and in it a place,
 * which holds the receiver of a channel with one message: its job. Beside the channels, the two are joined by a socket
 * whose messages say what is not for channels: that it is cancelled, has failed, is done. */
#ifndef LACE_PROCESS_H
#define LACE_PROCESS_H

#include "host.h"

#define LACE_CHILD_COMMAND "__worker" /* what the program is told to be one */
#define LACE_CHILD_REGION 3           /* the descriptors that a child inherits, beside 0, 1 and 2 */
#define LACE_CHILD_TALK 4

/* ---- the socket (process_talk.c) ----------------------------------------------------------------------- */

/* What a message says: its first byte. */
typedef enum lace_saying {
    LACE_SAY_CANCEL = 'c', /* to the child: its worker is cancelled; to the host: by its own code */
    LACE_SAY_NOTED = 'n',  /* its failure has been noted; `code`: it is started anew */
    LACE_SAY_ANSWER = 'a', /* the number in `code` is to be written on its sheet */
    LACE_SAY_REVOKE = 'v', /* a numbered call (text: the number) is not to be begun; if `code`, nor to go on */
    LACE_SAY_READY = 'r',  /* to the host: its user's code is about to run */
    LACE_SAY_FAILED =
        'f', /* its worker has failed; `code` is its exit code, the text what to print if nobody gets to know, `more` why */
    LACE_SAY_LINES = 'l',   /* it wants the lines of standard input */
    LACE_SAY_OUTPUT = 'o',  /* a worker (text) has printed (more) to the descriptor `code` */
    LACE_SAY_STUCK = 's',   /* it does not end: where it sits */
    LACE_SAY_REFUSED = 'x', /* it cannot begin: why */
    LACE_SAY_CLOSED = 'e',  /* it has closed an end that it was given: the attachment `code` of its job */
    LACE_SAY_TOLD = 't',    /* the outcome has been sent */
    LACE_SAY_WAITS = 'w',   /* it has stated what it waits for: see statement.c */
    LACE_SAY_DONE = 'd',    /* all is over but its exit; `code` is its worker's exit code */
} lace_saying;

#define LACE_LONGEST_SAYING 32768 /* bytes of both texts */
#define LACE_GOES_ON 256          /* in the code of output: its next part follows */

typedef struct lace_talk {
    lace_saying what;
    int32_t code;
    const char *text, *more; /* borrowed; NULL: none */
    size_t text_size, more_size;
} lace_talk;

/* Sends one message; false when there is nobody any more, or (`waits` false) no room. */
bool lace_talk_say(int fd, const lace_talk *talk, bool waits);
/* Receives one, without waiting, into `room` (LACE_TALK_ROOM bytes), which its texts point into. 1; 0: there is none now; -1:
 * nobody is there any more. */
#define LACE_TALK_ROOM (LACE_LONGEST_SAYING + 64)
int lace_talk_hear(int fd, char *room, lace_talk *ret_talk);

/* ---- the job as a message (process_job.c) ---------------------------------------------------------------- */

/* What a child is told beside the job. */
typedef struct lace_post {
    uint64_t id;
    uint32_t index, count;
    double grace;
    bool tag, quiet, kept, output_taken;
    bool watched; /* accounts are kept of what is gone: see ledger.h */
    bool restartable;  /* it may be started anew: the host wants to hear LACE_SAY_CLOSED */
    uint32_t restarts; /* how often it has been */
    const char *name;
    const char *const *settings; /* NULL-ended; of its Python: never NULL in the child */
} lace_post;

/* What travels with the job: a sender of the outcome; and blocks. */
typedef struct lace_with_job {
    lace_sender *outcome;
    lace_block *output; /* what all processes know of it: see lace_output_share */
    lace_block *at;     /* the number of the call that the worker is at: see numbered.c */
    lace_block *sheet;  /* see sheet.h */
    lace_block *ring;   /* for its thread's events, when there is a trace: see channels/trace.h; NULL */
} lace_with_job;

/* Sends the job (taken if it succeeds, as is what goes with it). */
lace_status lace_job_send(lace_sender *to, const lace_post *post, lace_job *job, const lace_with_job *with);
/* Receives them. The strings of *ret_post are never freed. */
lace_status lace_job_receive(lace_receiver *from, lace_region *region, lace_post *ret_post, lace_job **ret_job,
                             lace_with_job *ret_with);

/* ---- the host's side (process.c) -------------------------------------------------------------------------- */

/* Why no worker can have a process of its own here, a static sentence; or NULL. */
const char *lace_process_trouble(void);
/* Has the keeper start a process for the worker, which has its outcome; takes the job if it succeeds. NULL, or a static
 * sentence. */
const char *lace_process_start(lace_worker *worker, lace_job *job, const lace_spawn_options *options);
int lace_process_fd(void);     /* for the keeper to poll; -1: there have been none */
void lace_process_serve(void); /* by the keeper: starts those that are to be, hears what they say, buries the dead */
/* From any thread, before that scope is cancelled: processes of workers below it that see the ends of others close know why. */
void lace_process_foretell(const lace_scope *scope);
void lace_process_cancel(const lace_worker *worker); /* by the keeper: tells it */
void lace_process_kill(const lace_worker *worker);   /* by the keeper: it has not ended in time */
/* From any thread: the number of the call that the worker is at, or 0; and lace_numbered_revoke() there. */
uint64_t lace_process_at(const lace_worker *worker);
void lace_process_revoke(const lace_worker *worker, uint64_t number, bool interrupt);
/* By the watcher, of a worker that runs or has run: what it has written down. */
struct lace_sheet *lace_process_sheet(const lace_worker *worker);
/* By the same: keeps the worker's process from being buried, for a moment; false: it has been. */
bool lace_process_hold(const lace_worker *worker);
void lace_process_release(const lace_worker *worker);
/* By the same: nothing that it has closed is still kept for further attempts of it. */
bool lace_process_is_heard(const lace_worker *worker);
/* By the same: asks it to write the number on its sheet; whether it has by that time (lace_clock()). One that has been killed
 * never does, also when it has not died of it yet. Blocks until then. */
void lace_process_ask(const lace_worker *worker, uint32_t number);
bool lace_process_answers(const lace_worker *worker, uint32_t number, int64_t deadline);
pid_t lace_process_pid(const lace_worker *worker);
bool lace_process_any(void);   /* is there a process that has not been buried? */
void lace_process_close(void); /* the host closes, its keeper has ended */
void lace_process_free(struct lace_process *process);
/* Says on stderr, once for each module, that workers which import it are in processes, where isolation is "auto". */
void lace_process_announce(const char *module);

/* The program that a child is: its path, perhaps in found[], or NULL with a static sentence in *ret_error (program.c). */
const char *lace_program(char *found, size_t size, const char **ret_error);
void lace_program_is_this(void); /* it is the one that runs */

/* ---- the child's side (child.c) ---------------------------------------------------------------------------- */

bool lace_child_is(void);
const char *lace_child_version(void); /* of the program, and what its host has to be as well */
int lace_child_fd(void);              /* for the keeper to poll; -1: this is no child */
void lace_child_serve(void);          /* by the keeper: it is readable */
/* For the worker that the child is for: tells the host, if this is one. */
void lace_child_say_ready(const lace_worker *worker);
/* Returns when the host has noted it: whether that starts the worker anew. See lace_worker_fail. */
bool lace_child_say_failed(const lace_worker *worker, const char *why);
void lace_child_say_closed(const lace_worker *worker, size_t index);
void lace_child_say_told(const lace_worker *worker);
void lace_child_say_cancelled(const lace_worker *worker); /* by its own code: before it is */
void lace_child_want_lines(void);
void lace_child_say_waits(void);
/* Whether its host has cancelled it; so it is here, too, then. */
bool lace_child_is_cancelled(void);
struct lace_sheet *lace_child_sheet(void); /* NULL: this is no child */
/* By the keeper: the process does not end. Does not return. */
void lace_child_leave(const char *where);
/* Whether a signal has ended the worker, and not its host: it is to die of that then. */
bool lace_child_dies(const lace_worker *worker);
int lace_command_child(int argc, char **argv);

#endif
