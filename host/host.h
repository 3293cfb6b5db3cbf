/* host.h - what the files of host/ share: the host, its workers, its scopes.
 *
 * Threads and locks of the host, and the one order they are taken in:
 *
 *   lifecycle mutex (host.c)   held while an interpreter is created or ended, by a thread without a thread state
 *     -> a GIL                 the main one for the hand-over, then the new interpreter's own
 *   registry mutex (worker.c)  guards the list of workers; held for a few instructions, never while taking a GIL
 *   attach mutex (worker.c)    one per worker; guards its `interp` pointer; held for a few instructions, likewise
 *
 * A thread that holds a GIL may take the registry or an attach mutex, since nobody holds those while waiting for
 * anything. It never takes the lifecycle mutex.
 *
 * The main interpreter runs nothing but the few calls in host.c; its GIL is free at all other times, because every
 * import of an extension module in any worker needs it for a moment.
 */
#ifndef LACE_HOST_H
#define LACE_HOST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdatomic.h>

#include "interlace.h"
#include "problem.h"
#include "waits.h"

#if PY_VERSION_HEX < 0x030e01f0
#error "Interlace needs CPython 3.14.1 or newer: older ones leak or crash with several own-GIL interpreters"
#endif

#define LACE_MAX_WORKERS 10000 /* alive at once: a bound on what a typing error can ask for */
#define LACE_KICK_SIGNAL \
    SIGURG /* interrupts the system calls of a cancelled worker; ignored by default, so harmless */
#define LACE_DEFAULT_GRACE 5.0 /* seconds a cancelled worker has to end */

/* ---- scopes (scope.c) --------------------------------------------------------------------------------- */

/* A counted cancel token. Scopes form a tree: cancelling one cancels everything below it. */
typedef struct lace_scope lace_scope;

lace_scope *lace_scope_create(lace_scope *parent); /* NULL: no memory; keeps a count on the parent */
lace_scope *lace_scope_ref(lace_scope *scope);
void lace_scope_unref(lace_scope *scope);
lace_cancel *lace_scope_cancel_token(const lace_scope *scope);
bool lace_scope_cancelled(const lace_scope *scope);
/* Fires the token and has the keeper interrupt the workers that are below it. Does not block. */
void lace_scope_cancel(lace_scope *scope);

/* Whether it is that scope, or below it. */
bool lace_scope_is_below(const lace_scope *scope, const lace_scope *above);

/* Somebody cancels it when a time is over: what waits under it, or below, does not wait for ever. */
void lace_scope_set_timed(lace_scope *scope);
bool lace_scope_is_timed(const lace_scope *scope);

/* The scope whose token the waits of this thread use, NULL when none was entered. Borrowed. */
lace_scope *lace_scope_current(void);
/* Enters a scope, once, and exits it. Scopes that are not exited in the order of entering end all the same: each lasts
 * until those entered after it in this thread have been exited, too. */
void lace_scope_enter(lace_scope *scope);
void lace_scope_exit(lace_scope *scope);
bool lace_scope_is_shared(const lace_scope *scope); /* has it more counts than its maker's and its entering's? */
void lace_scope_exit_all(void); /* of this thread, which ends */

/* ---- workers (worker.c) ------------------------------------------------------------------------------- */

typedef enum lace_worker_state {
    LACE_WORKER_STARTING, /* its interpreter does not run user code yet */
    LACE_WORKER_RUNNING,
    LACE_WORKER_ENDING, /* user code is over; its own scope is cancelled, so that finalisers cannot wait */
    LACE_WORKER_ENDED,  /* its interpreter and its ends are gone */
    LACE_WORKER_RESTARTING, /* it has not begun: it is to, a while after the one it follows has failed (restart.h) */
} lace_worker_state;

/* What a worker is to do: two pickles, `head` for its surroundings and `body` for the work itself, with the ends
 * that travel in `body`. Plain memory, so that it outlives the interpreter it comes from. */
typedef struct lace_job {
    char *head;
    size_t head_size;
    char *body;
    size_t body_size;
    lace_attachment *attachments;
    size_t attachment_count;
    lace_receiver *input; /* of a pipe's stage, or NULL */
    bool input_is_lines;  /* of lace_stdin_lines */
    lace_sender *output;
} lace_job;

/* Ends what the job still holds and frees it. */
void lace_job_destroy(lace_job *job);

/* What becomes of a worker that was made before its job (pool.c). */
typedef enum lace_spare_state {
    LACE_SPARE_NOT,
    LACE_SPARE_MAKING,
    LACE_SPARE_READY,
    LACE_SPARE_CALLED,    /* it has a job now */
    LACE_SPARE_DISMISSED, /* it is to end */
} lace_spare_state;

/* An end that an interpreter has open, in memory of our own: a worker that ends closes those its objects left.
 * The list is guarded by the worker's GIL and, after its interpreter has gone, touched by its thread alone. */
typedef struct lace_holding {
    struct lace_holding *prev, *next;
    lace_sender *sender; /* one of the three is set */
    lace_receiver *receiver;
    struct lace_entry *entry; /* a binding of a kept interpreter or a queue: directory.h */
    size_t given; /* one more than its index among the attachments of the worker's job; 0: it does not come from there */
} lace_holding;

/* The numbered call that a worker is at: see numbered.c. */
typedef struct lace_numbered {
    pthread_mutex_t lock;    /* guards the next six; held for a few instructions, nothing is taken under it */
    uint64_t number;         /* 0: at none; the worker's thread writes it, with its GIL as well */
    uint64_t last;           /* the last one it came to */
    lace_scope *scope;       /* of its waits; kept from call to call while nothing else needs it */
    atomic_bool interrupted; /* written under the lock; the worker's thread reads it without */
    uint64_t *skip;          /* numbers of calls that are not to be begun */
    size_t skip_count, skip_room;
    _Atomic(uint64_t) *shown; /* a copy of `number` that its host sees, of a worker in a process; NULL: none */
    bool told;     /* Cancelled has been raised in the call, or soon will be; guarded by the worker's GIL */
    uint64_t seen; /* the last one that the keeper saw interrupted; keeper only */
} lace_numbered;

/* The unfinished last line of an output stream. */
typedef struct lace_tail {
    char *data;
    size_t size, room;
} lace_tail;

typedef struct lace_worker {
    atomic_int refs;
    uint64_t id;
    char *name;
    unsigned index, count; /* among its replicas */
    bool kept;             /* it is an interpreter that directory.h keeps */
    pthread_t thread;
    lace_scope *scope;       /* cancels this worker */
    lace_scope *spare_scope; /* what was its scope before it had a job; NULL: none. Threads of it may wait under it. */
    lace_scope *group_scope; /* cancelled when this worker fails; NULL: none */
    lace_job *job;           /* the worker's thread alone uses it */
    lace_sender *outcome;    /* likewise; its end is the worker's end */
    lace_sender *end;        /* likewise; carries nothing; NULL: nobody asked for it */
    lace_holding ends;       /* list head */

    _Atomic(lace_worker_state) state;
    atomic_bool failed;
    atomic_bool hands_back;            /* it fails: what its receivers have not confirmed goes to others */
    atomic_int exit_code;              /* of a script: what sys.exit said */
    atomic_bool quiet;                 /* nothing is printed for its failure: somebody will get the exception */
    atomic_bool waiting;               /* the worker's own thread is inside one of our waits: see wait.c */
    lace_waits waits;                  /* of all its threads */
    _Atomic uint64_t received, sent;   /* messages, on ends that it no longer has; relaxed: figures only */
    uint64_t looked_at, warned_of;     /* the waits that the watcher has seen to; watcher only */
    bool told; /* Cancelled has been raised in the worker, or soon will be; guarded by its GIL */
    bool told_threads; /* likewise, in those that its Python code has started */
    atomic_bool tell_again; /* its threads, which could not be told yet */
    atomic_int_least64_t cancelled_at; /* lace_clock() of when the keeper saw it cancelled, 0 before; keeper only */

    pthread_mutex_t attach; /* guards the next four; held for a few instructions */
    pthread_cond_t attach_idle;
    PyInterpreterState *interp; /* NULL unless others may attach to it */
    unsigned attached;          /* threads that are attaching or attached */
    unsigned long thread_ident;
    PyObject *cancelled_type; /* borrowed from the interpreter: its interlace.Cancelled */

    lace_tail tails[2];              /* of stdout and stderr; guarded by the mutexes of output.c */
    struct lace_answer *answer;      /* of a worker that C asks about: see embed_worker.c; NULL: none */
    struct lace_restart *restart;    /* of a worker that is started anew when it fails: restart.h; counted; NULL: it is not */
    bool again; /* it has failed, and is, here or by its host; its thread's alone, or the keeper's if it is a process */
    char *why;  /* likewise; what it failed with, malloc'ed */
    atomic_uint restarts;            /* how many there have been before it; of the face: so far */
    struct lace_process *process;    /* of a worker in a process of its own: see process.c; NULL: it is a thread here */
    atomic_int_least64_t failed_at;  /* lace_clock() of its failure; 0: it has not failed */
    _Atomic(pid_t) tid;              /* 0 until its thread runs */
    struct lace_worker *prev, *next; /* registry; for a spare, `next` is the pool's list */

    lace_spare_state spare;  /* guarded by the pool's lock; LACE_SPARE_NOT for a worker made for its job */
    pthread_cond_t called;   /* a spare waits here, under the pool's lock */
    uint64_t spare_generation; /* set before its thread starts; 0: it was made for its job */
    lace_numbered call;
    struct lace_life *life; /* its account: ledger.h; NULL: none. Set before it has its job, then its thread's alone */
    bool owes_spare; /* to the pool, since it was taken from there; set before it has its job, then its thread's alone */
} lace_worker;

typedef struct lace_spawn_options {
    const char *name; /* borrowed */
    unsigned index, count;
    lace_scope *parent; /* borrowed: the new worker's scope is made below it */
    bool fails_parent;  /* a failure cancels `parent` */
    bool quiet;
    bool kept;
    lace_sender *end;  /* to be closed when the worker has ended; taken with the job; NULL: none */
    bool process;                /* in a process of its own */
    const char *const *settings; /* of its Python there: the path of python, then its options; NULL-ended. NULL: as here */
    const struct lace_restart_policy *restart; /* borrowed: it is started anew when it fails; NULL: it is not */
    struct lace_restart *attempt_of;           /* restart.c's: an attempt of that; a count is taken */
} lace_spawn_options;

/* Starts a worker. Takes the job when it succeeds. Gives the worker (counted) and the receiver of its outcome.
 * Returns NULL or a static sentence of what went wrong, which errno says as well: ENOMEM, EAGAIN. Does not block: the
 * interpreter is made on its thread. */
const char *lace_worker_spawn(const lace_spawn_options *options, lace_job *job, lace_worker **ret_worker,
                              lace_receiver **ret_outcome);
lace_worker *lace_worker_ref(lace_worker *worker);
void lace_worker_unref(lace_worker *worker);

/* The worker whose own thread this is, else NULL. Borrowed. */
lace_worker *lace_worker_current(void);
/* Likewise; also of a thread that its Python code has started, as long as that is in a C function of the application's
 * (export.c). */
lace_worker *lace_worker_around(void);

/* In a child: makes the worker that it is for, whose number its host has given, from its job (taken) and the sender of its
 * outcome (taken). NULL: no memory. Borrowed: there is one in the process, and it stays. */
lace_worker *lace_worker_adopt(const lace_spawn_options *options, uint64_t id, lace_job *job, lace_sender *outcome);
/* Does its job in the main interpreter, on this thread; every other worker of the process ends, and then Python. Gives its
 * exit code. */
int lace_worker_live_in_main(lace_worker *worker);
/* What could not even begin: said to whoever waits for the outcome, or on stderr. */
void lace_worker_fail_in_c(lace_worker *worker, const char *what);
/* By the keeper: the process of a worker has ended, and what it held is gone. */
void lace_worker_bury(lace_worker *worker);

/* Waits until the threads of all workers, spare ones too, have returned from the last call that uses the host; false
 * when the deadline came first. */
bool lace_workers_gone(int64_t deadline);

/* The id 1 is to be no worker's: it stands for a main interpreter that is not ours. */
void lace_workers_leave_one(void);

/* The number of workers that have not ended. */
size_t lace_workers_alive(void);

/* Waits until every worker has ended, bounded by the keeper's grace once they are cancelled. */
void lace_workers_join(void);

/* The number that interlace.interpreters knows a worker by: the first one is the main interpreter there, number 0. */
static inline int64_t lace_interpreter_id(const lace_worker *worker)
{
    return (int64_t)worker->id - 1;
}

/* Calls `visit` with each worker that has not ended, a count held on it, no lock held. */
void lace_workers_each(void (*visit)(lace_worker *worker, void *context), void *context);

/* Adds what has gone through an end to the figures above: the end is about to go. */
void lace_worker_count_end(lace_worker *worker, const lace_holding *held);

/* Attaches the calling thread (without a thread state) to the worker's interpreter: NULL when it has none any more.
 * Blocks until the interpreter's GIL is free. Undone by lace_worker_detach. */
PyThreadState *lace_worker_attach(lace_worker *worker);
void lace_worker_detach(lace_worker *worker, PyThreadState *tstate);

/* Frees what embed_worker.c keeps: the worker has no more counts. */
void lace_answer_free(struct lace_answer *answer);

/* Marks the failure of a worker, which cancels the group it belongs to; unless it is started anew instead (true). why: what
 * happened, a phrase that follows its name; NULL: it would happen again, so that it is not. */
bool lace_worker_fail(lace_worker *worker, const char *why);

/* For restart.c. A worker without a thread, counted once. */
lace_worker *lace_worker_create(const lace_spawn_options *options);
/* Like lace_worker_spawn, with a sender of the outcome, taken with the job. */
const char *lace_worker_begin(const lace_spawn_options *options, lace_job *job, lace_sender *outcome,
                              lace_worker **ret_worker);
/* One (counted) that is to follow `failed`, which is still registered, and continues its account: registered, but not begun,
 * and the host is not closed before it has been, or has been forgone. Takes the outcome. NULL: no memory, or too many. */
lace_worker *lace_worker_create_next(const lace_spawn_options *options, lace_worker *failed, lace_sender *outcome);
/* By the keeper: begins it. Takes the job if it succeeds; NULL, or a static sentence. */
const char *lace_worker_go(lace_worker *worker, lace_job *job, const lace_spawn_options *options);
/* Or ends it, whose outcome has been told; takes the count. */
void lace_worker_forgo(lace_worker *worker);

/* Starts a thread that makes a spare worker for the pool. NULL, or a static sentence of what went wrong. */
const char *lace_worker_start_spare(uint64_t generation);

/* ---- numbered calls (numbered.c) -------------------------------------------------------------------------- */

/* Whether the worker is at that call right now. */
bool lace_numbered_at(lace_worker *worker, uint64_t number);
/* The call with that number is not to be begun by this worker any more; if it is at it, `interrupt` cancels it.
 * *ret_noted says whether the worker has yet to come to it: when all of them have, it will never be begun. False: no
 * memory to note it. */
bool lace_numbered_revoke(lace_worker *worker, uint64_t number, bool interrupt, bool *ret_noted);
/* The number of the interrupted call that the worker is still at, or 0. */
uint64_t lace_numbered_interrupted(lace_worker *worker);
/* Raises Cancelled in the interrupted call, unless a wait does. Attached to the worker's interpreter. */
void lace_numbered_tell(lace_worker *worker);
void lace_numbered_finish(lace_numbered *call);

/* ---- the pool (pool.c) -------------------------------------------------------------------------------- */

/* Has `count` spares stand ready from now on that have done `profile` (borrowed): a pickle for _bootstrap.prepare().
 * Does not wait for them. NULL, or a static sentence. */
const char *lace_pool_set(size_t count, const char *profile, size_t size);
/* Waits until they do: TIMEOUT, CANCELLED; INVALID with a static sentence in *ret_trouble when one cannot be made. */
lace_status lace_pool_wait_full(const lace_wait *wait, const char **ret_trouble);
/* Gives a copy of the profile that the spare was made for, malloc'ed (NULL: no memory); false when it is not wanted any
 * more. */
bool lace_pool_profile(const lace_worker *worker, char **ret_profile, size_t *ret_size);
/* Gives a spare, which owes the pool another one; NULL when none is ready. It waits for one lace_pool_send. */
lace_worker *lace_pool_take(void);
/* Called by the thread of a worker that was a spare, when it first has nothing to do: another is made. */
void lace_pool_repay(lace_worker *worker);
void lace_pool_send(lace_worker *worker, lace_spare_state state);
/* Called by a spare's thread once it is prepared, without a GIL: true when it has been given a job, false when it is
 * to end. */
bool lace_pool_stand_by(lace_worker *worker);
/* A spare could not be made, for a static reason: no more are tried, unless it was for a profile of before. */
void lace_pool_give_up(const lace_worker *worker, const char *reason);
/* Sends all spares home; none are made any more until the host is opened again. */
void lace_pool_close(void);
void lace_pool_open(void);

/* ---- accounts (ledger.h) ------------------------------------------------------------------------------- */

/* Puts a new channel, that nobody else knows yet, into the list of those that accounts are kept of. */
void lace_ledger_list(const lace_sender *sender);

/* ---- the keeper (keeper.c) ---------------------------------------------------------------------------- */

/* The host's own thread: takes signals, interrupts workers that were cancelled, ends the process when one does not
 * end in time, if it is to. It sleeps without a timeout while nothing is cancelled. */
const char *lace_keeper_start(double grace, bool leaves);
void lace_keeper_stop(void);
double lace_keeper_grace(void); /* seconds */
/* Which worker has not ended in time, and where it sits: a sentence. */
void lace_keeper_describe(char *text, size_t size);
/* SIGINT, SIGTERM and SIGQUIT are the keeper's from here on, also before it runs. In a child SIGTERM is; Ctrl-C and Ctrl-\ go
 * to all processes of a terminal, and there they are its host's to act on. */
const char *lace_keeper_take_signals(bool child);
/* What to print should the process have to leave without a stuck worker: the first failure that nobody has been told
 * yet. NULL: it has been told. */
void lace_keeper_last_words(const char *text);
bool lace_keeper_copy_last_words(char *text, size_t size); /* false: there are none */
void lace_keeper_poke(void);  /* something was cancelled, or a cancelled worker has ended: look */
int lace_keeper_signal(void); /* the first SIGINT or SIGTERM it took, or 0 */

/* ---- the host (host.c) -------------------------------------------------------------------------------- */

typedef enum lace_host_state {
    LACE_HOST_CLOSED,
    LACE_HOST_OPEN,
    LACE_HOST_CLOSING, /* a thread is at it */
    LACE_HOST_STUCK,   /* closing has failed: nothing is started any more */
} lace_host_state;

typedef struct lace_host_setup {
    bool tag;                /* prefix output lines with the worker's name */
    double grace;            /* seconds; <= 0: LACE_DEFAULT_GRACE */
    bool leaves;             /* the process is ours: it ends when a cancelled worker does not, and its locale is Python's */
    lace_output output;      /* where the output goes; NULL: to descriptors 1 and 2 */
    void *context;           /* of `output` */
    const char *const *path; /* what comes first in sys.path; borrowed; NULL: nothing */
    lace_region *region;     /* a child's: that of its host; taken; NULL: a new one */
} lace_host_setup;

/* Opens the host: its region, its scope, the keeper, and Python if that does not run yet. Called without a GIL. BUSY,
 * or what lace_problem() says. */
lace_status lace_host_start(const lace_host_setup *setup);
/* Cancels what runs, waits for the ends of all workers, and closes the host; Python stays. Without a GIL. CLOSED, BUSY;
 * STUCK when a worker does not end. */
lace_status lace_host_stop(void);
lace_host_state lace_host_now(void);
/* Has the host stay open until lace_host_leave(); false: it is not open. For a moment, in which nothing is waited for. */
bool lace_host_use(void);
void lace_host_leave(void);
/* Opens it for an interpreter that imports the module where it is not open: with a GIL. Whether it did. */
bool lace_host_move_in(const char **ret_error);
/* Closes it as Python ends: when it was opened like that, or the main interpreter is not ours. With a GIL. */
void lace_host_move_out(void);
lace_region *lace_region_of_host(void);
lace_scope *lace_host_scope(void);
lace_scope *lace_host_scope_ref(void); /* counted, for a thread that is no worker's; NULL: the host is closed */
char *const *lace_host_path(void); /* what comes first in sys.path; NULL: nothing */

/* ---- several copies of the library (claim.c) -------------------------------------------------------------- */

/* Claims the process for this copy's host: BUSY when another copy has one, NOMEM. Attached to the main interpreter. */
lace_status lace_claim(void);
void lace_claim_drop(void); /* the host is closed */

/* ---- Python itself (python.c) -------------------------------------------------------------------------- */

/* Values of python's options -X and -W, for when it starts. */
#define LACE_MOST_OPTIONS 64
typedef struct lace_python_options {
    const char *x[LACE_MOST_OPTIONS], *w[LACE_MOST_OPTIONS];
    size_t x_count, w_count;
    const char *const *settings; /* of a child: the path of python, then its options; NULL-ended; NULL: none */
} lace_python_options;
void lace_python_set_options(const lace_python_options *options); /* their strings are borrowed for good */
/* How Python was started here: what a child is to be told. NULL where it is not ours. Borrowed, for good. */
const char *const *lace_python_settings(void);

/* Has Python run, its main interpreter idle, or moves in with one that runs already. `sets_locale`: the locale is set as
 * python3 sets it; else that of the process stays what it is. NULL, or a sentence (static, or malloc'ed and leaked). */
const char *lace_python_up(bool sets_locale);
lace_status lace_python_claim(void); /* lace_claim(), when it is up */
/* Where it is not ours, gives its main interpreter the module _interlace, too, once the host is open. NULL or a sentence. */
const char *lace_python_greet(void);
/* Makes AUTO one of the other two, by what a job of that kind and target (see _bootstrap.py) imports. */
void lace_python_settle(const char *kind, const char *target, lace_isolation *isolation);
PyThreadState *lace_python_main(void); /* of the main interpreter, where it is ours: detached */
void lace_python_down(void); /* only where it is ours, when no worker is left */
bool lace_python_is_ours(void);
/* Prints the exception that is set. (PyErr_Print() would end the process for a SystemExit.) */
void lace_show_exception(void);
/* Gives the attached interpreter, a new one, its module _interlace where it has none yet. False with an exception set. */
bool lace_python_give_module(void);

/* Has the main interpreter, which is ours, tell of the run that is over: tell.h. False when that failed, which was said. */
struct lace_tell;
bool lace_python_tell(const struct lace_tell *tell, char *const *command);
/* Likewise, draw the network of a pipeline. */
bool lace_python_draw(const struct lace_tell *tell, const char *const *names, const unsigned *replicas, size_t count);

/* ---- C functions for Python (export.c) ------------------------------------------------------------------ */

void lace_exports_clear(void);

/* The mutex that creating and ending interpreters take; by threads without a thread state only. */
void lace_lifecycle_lock(void);
void lace_lifecycle_unlock(void);

/* Splits a command line as a shell would (Python's shlex). Gives a NULL-ended malloc'ed array of malloc'ed words, or
 * NULL with a malloc'ed sentence in *ret_error. Called from the thread that opened the host. */
char **lace_host_split(const char *line, char **ret_error);

/* ---- output (output.c) -------------------------------------------------------------------------------- */

void lace_output_configure(bool tag, lace_output output, void *context);
bool lace_output_tags(void);
bool lace_output_is_taken(void); /* does it go elsewhere than to the descriptors? */
void lace_output_pass(const char *worker, int fd, const char *text, size_t size); /* there, as it is */
/* Has several processes take turns at the descriptors: by locks of the file `fd`, with what they know in common at
 * `shared`, LACE_OUTPUT_SHARED zeroed bytes that all have mapped. -1 and NULL: not any more. Waits for who writes. */
#define LACE_OUTPUT_SHARED 16
void lace_output_share(int fd, void *shared);
/* Writes bytes for `worker` (NULL: the host itself) to descriptor 1 or 2, whole lines at a time. Blocks. Returns 0
 * or an errno. Called without a GIL. */
int lace_output_write(lace_worker *worker, int fd, const char *data, size_t size);
/* Writes what is left of an unfinished line: the worker has ended. */
int lace_output_end(lace_worker *worker);
/* One line of the host's own on stderr: "interlace: ...". */
void lace_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- keys (own_key.c) ------------------------------------------------------------------------------------- */

#define LACE_KEY_PATH 4096
/* Where the user's key lies, unless a file is named: into path[]. Returns NULL, or what is wrong. */
const char *lace_host_key_path(char *path, size_t size);

/* ---- lines (lines.c) ---------------------------------------------------------------------------------- */

/* A thread that sends the lines of a descriptor as str messages; it starts reading when it is first wanted. */
typedef struct lace_lines lace_lines;
/* Takes the sender. NULL: no memory. Does not start yet. */
lace_lines *lace_lines_create(int fd, lace_sender *sender);
void lace_lines_want(lace_lines *lines);    /* from any thread, any number of times */
void lace_lines_destroy(lace_lines *lines); /* stops it, waits for it */
/* The lines of standard input of an `interlace pipe`, or NULL: set before the first worker starts. */
extern lace_lines *lace_stdin_lines;

/* ---- a tiny pickle writer (pickle_writer.c) ------------------------------------------------------------ */

typedef struct lace_pickle {
    char *data;
    size_t size, room;
    bool failed; /* no memory; sticks */
} lace_pickle;

/* The length of the well-formed UTF-8 sequence at `p`, 0 where there is none. */
size_t lace_utf8_sequence(const unsigned char *p, size_t size);
void lace_pickle_begin(lace_pickle *pickle);
void lace_pickle_none(lace_pickle *pickle);
void lace_pickle_str(lace_pickle *pickle, const char *text, size_t size); /* any bytes: decoded as the OS's are */
void lace_pickle_int(lace_pickle *pickle, int64_t number);
void lace_pickle_bytes(lace_pickle *pickle, const void *bytes, size_t size);
void lace_pickle_op(lace_pickle *pickle, char op);
void lace_pickle_end(lace_pickle *pickle);

#endif
