/* module.h - the C half of the `interlace` module: what its files share. One lace_module per interpreter. */
#ifndef LACE_MODULE_H
#define LACE_MODULE_H

#include <stddef.h>

#include "codec_fast.h"
#include "host.h"
#include "site.h"

#define LACE_SPARE_MESSAGES 64
#define LACE_KEPT_SELECTORS 4
#define LACE_ASYNC_CALLS 2

/* A selector that stays registered between calls of select() with the same cases. The pointers are not counted:
 * an end that goes takes the entries that name it with it (pyselect.c). */
typedef struct lace_kept_selector {
    PyObject **cases; /* receivers and workers, in order; NULL: an empty place */
    size_t count;
    lace_selector *selector;
    bool busy;     /* a thread is waiting in it */
    bool stale;    /* to be destroyed when it is no longer busy */
    uint64_t used; /* when, in calls */
} lace_kept_selector;

typedef struct lace_watch lace_watch; /* within.c */

/* The module's state. Guarded by the interpreter's GIL. */
typedef struct lace_module {
    lace_worker *worker; /* counted; NULL in an interpreter that is not a worker's */
    lace_holding *ends;  /* head of the list of open ends: the worker's, or own_ends */
    lace_holding own_ends;
    lace_waits *waits; /* the worker's, or own_waits */
    lace_waits own_waits;
    PyTypeObject *sender_type, *receiver_type, *worker_type, *after_type, *scope_type, *buffer_type, *sink_type;
    PyTypeObject *interpreter_type, *queue_type; /* of pydirectory.c */
    PyTypeObject *message_type;                  /* of pymessage.c */
    PyTypeObject *counter_type, *semaphore_type;
    PyTypeObject *post_type; /* of pyasync.c */
    PyObject *end_of_channel, *broken_channel, *cancelled, *deadlock, *seal_error, *truncated;
    PyTypeObject *listener_type;
    PyObject *loads, *attach, *protocol, *pickler_type, *take_buffer, *rebuild_buffer;
    PyObject *sink, *pickler;                /* of codec.c; NULL while they are at work */
    PyObject *async_calls[LACE_ASYNC_CALLS]; /* of pyasync.c; NULL until they are needed */
    lace_codec codec;
    lace_message *spare[LACE_SPARE_MESSAGES];
    size_t spare_count;
    lace_region *spare_region; /* of the host that they were made in: it may have been closed and opened again */
    lace_kept_selector kept[LACE_KEPT_SELECTORS];
    uint64_t selects;
    lace_sites sites;          /* where channels were made */
    unsigned long main_thread; /* of a main interpreter that runs the user's code, with its signal handlers; or 0 */
    bool flush_wanted;         /* flush sys.stdout before the next wait */
    bool settled;              /* the job is done: no exception of a cancellation comes any more */
    lace_watch *watch;         /* over the calls of _within(); NULL: there was none yet */
} lace_module;

PyMODINIT_FUNC PyInit__interlace(void);
lace_module *lace_module_of(PyTypeObject *type); /* of one of our types: never NULL */
lace_module *lace_module_state(PyObject *module);

/* Runs the worker's job in the attached interpreter and tells its outcome. NULL, or what went wrong with that, with an
 * exception set. */
const char *lace_module_run_worker(lace_worker *worker);
/* Prepares a spare worker's interpreter: see pool.c. False with an exception set. */
bool lace_module_prepare(const char *profile, size_t size);
/* Cancelled for every thread of the attached interpreter but the calling one and `spared`. False: for none, since one is
 * still starting, and whoever starts it would wait for ever; to be tried again. */
bool lace_interrupt_threads(unsigned long spared, PyObject *cancelled);
/* Cancelled out of the asyncio event loop that runs in a thread of the attached interpreter (0: in each of them), whose
 * wait is a system call that Python begins again when it is interrupted. */
void lace_interrupt_loops(unsigned long thread);
/* Has threads of threading.Thread end without a word when Cancelled ends them, as they do for SystemExit. */
void lace_hush_threads(void);
/* _unraisablehook(unraisable): what goes wrong where nobody can catch it, in a finaliser or a callback. A cancelled worker
 * that runs user code is told again there: the Cancelled that fell into such a hole was the only one. In C, so that it is
 * not this hook that gets it. */
PyObject *lace_unraisablehook(PyObject *module, PyObject *unraisable);
/* Writes "file.py, line N, in f" of the innermost Python frame of a thread of the attached interpreter; `past_locks`: of
 * the innermost that is not a module's which threads wait for each other with. */
void lace_module_describe_thread(unsigned long ident, bool past_locks, char *text, size_t size);

/* Keeps the host open while something is made in it; workers need not, since closing waits for them. False with an
 * exception set when it is closed. */
bool lace_module_enter(lace_module *module);
void lace_module_leave(lace_module *module);

/* _exports(), _call_exported(name, *args): see export.c. */
PyObject *lace_py_exports(PyObject *self, PyObject *unused);
PyObject *lace_py_call_exported(PyObject *self, PyObject *const *args, Py_ssize_t nargs);

/* ---- arguments and errors (arguments.c) ---------------------------------------------------------------- */

/* Sorts the arguments of a METH_FASTCALL | METH_KEYWORDS call into out[] by `names` (NULL-ended), borrowed; those
 * that are left out stay NULL. The first `required` must be there; those from `positional` on by keyword only. */
bool lace_arguments(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                    const char *const *names, int required, int positional, PyObject **out);
/* The UTF-8 of a str, borrowed from it; NULL with an exception set, also when a null character would cut it short. `what` it
 * is for: "name". */
const char *lace_name_of(PyObject *str, const char *what);
/* Sets the exception for a status; `did` is what was being done ("recv on"), `name` the channel's. Returns NULL. */
PyObject *lace_raise(lace_module *module, lace_status status, const char *did, const char *name);

/* ---- waiting (wait.c) ---------------------------------------------------------------------------------- */

/* Of a wait of Python's main thread, where code of the user's runs in that: see interrupt.c. */
typedef struct lace_interrupt {
    lace_cancel *token;  /* what the wait stands under; NULL: not armed */
    lace_cancel *parent; /* what it stood under before; NULL: nothing */
    int fd_before;       /* what Python told of signals before */
    bool fired;
    PyObject *raised; /* by a signal handler, before the wait; NULL: nothing */
} lace_interrupt;

bool lace_interrupt_open(void); /* false: no descriptors */
int lace_interrupt_fd(void);    /* for the keeper to poll; -1: not open */
void lace_interrupt_take(void); /* by the keeper: it is readable */
/* With the GIL, in Python's main thread: from arm to disarm a signal fires a token of its own below `parent`. */
void lace_interrupt_arm(lace_interrupt *interrupt, lace_cancel *parent);
void lace_interrupt_disarm(lace_interrupt *interrupt);
/* Runs the signal handlers; true with an exception set when one raised it. */
bool lace_interrupt_raises(lace_interrupt *interrupt);

/* What lace_pywait_done() returns beside lace_status. */
#define LACE_RAISED ((lace_status)1100)      /* an exception is set: a signal handler's */
#define LACE_INTERRUPTED ((lace_status)1101) /* signals have been handled: make the call again */
#define LACE_DEADLOCK ((lace_status)1102)    /* nobody could ever have ended the wait: see deadlock.c */

/* A lace_wait that drops the GIL while it waits and can be cancelled. */
typedef struct lace_pywait {
    lace_wait wait;
    lace_module *module;
    lace_scope *scope; /* counted, since Python code may run before the wait; NULL: none */
    PyThreadState *saved;
    lace_awaited awaited; /* filled in by the functions below */
    bool parked;
    bool unheeding;           /* nobody can cancel it: the worker counts as running on meanwhile */
    bool closed;              /* it may not wait, since no host is open; it would if it could */
    bool late;                /* the call was done, and yet Cancelled comes next: set by lace_pywait_done */
    lace_interrupt interrupt; /* of Python's main thread */
} lace_pywait;

/* The wait that is written down there. */
static inline const lace_pywait *lace_pywait_of(const lace_awaited *awaited)
{
    return (const lace_pywait *)((const char *)awaited - offsetof(lace_pywait, awaited));
}

/* `lace_pywait LACE_AUTO(wait);` lets go of what it holds at the end of the block. */
#define LACE_AUTO(name) __attribute__((cleanup(lace_pywait_drop))) name = {0}
void lace_pywait_drop(lace_pywait *wait);

/* `timeout`: NULL, None or seconds. False with an exception set when it is neither. */
bool lace_pywait_init(lace_pywait *wait, lace_module *module, PyObject *timeout);
/* What is waited for, for those who look at the worker. Borrowed until the wait is over. */
static inline void lace_pywait_on(lace_pywait *wait, lace_operation operation, lace_sender *sender,
                                  lace_receiver *receiver)
{
    wait->awaited.operation = operation;
    wait->awaited.sender = sender;
    wait->awaited.receiver = receiver;
}
static inline void lace_pywait_on_worker(lace_pywait *wait, lace_operation operation, const lace_worker *worker,
                                         lace_receiver *outcome)
{
    lace_pywait_on(wait, operation, NULL, outcome);
    wait->awaited.worker = worker;
}
static inline void lace_pywait_on_cases(lace_pywait *wait, PyObject *const *cases, size_t count)
{
    wait->awaited.operation = LACE_AWAITS_SELECT;
    wait->awaited.cases = cases;
    wait->awaited.case_count = count;
}
/* To be called with what the waiting call returned, before anything else: returns the same status, or one of the two
 * above. LACE_INTERRUPTED says to make the call again. */
lace_status lace_pywait_done(lace_pywait *wait, lace_status status);

/* ---- messages (codec.c) -------------------------------------------------------------------------------- */

/* A pickled object and what travels beside it. */
typedef struct lace_encoded {
    lace_codec *codec; /* that the buffer goes back to */
    lace_buffer buffer;
    lace_attachment *attachments;
    size_t count, room;
    char *letters; /* one for each out-of-band buffer: see codec.c */
    size_t letter_count;
    PyObject **moving; /* Buffers that are the receiver's once the message has been sent */
    size_t moving_count;
    bool leaves; /* through a pipe, to another process, which takes bytes alone: nothing lies beside the pickle */
} lace_encoded;

bool lace_encode(lace_module *module, PyObject *object, lace_encoded *ret_encoded);
/* For that very sender, whether its channel is one of memory or a pipe. */
bool lace_encode_for(lace_module *module, const lace_sender *sender, PyObject *object, lace_encoded *ret_encoded);
lace_payload lace_encoded_payload(const lace_encoded *encoded);
/* Frees it; `sent` says whether the attachments have been taken. */
void lace_encoded_finish(lace_encoded *encoded, bool sent);
/* The object of a received message, or of a job's body. The message still holds its bytes. */
PyObject *lace_decode_message(lace_module *module, lace_message *message, size_t skip);
PyObject *lace_decode_job(lace_module *module, lace_job *job);
PyObject *lace_decode_bytes(lace_module *module, const char *data, size_t size);
/* For __reduce_ex__ of an end: notes the end, taken on success, as an attachment of the message in the making. */
PyObject *lace_encode_end(lace_module *module, lace_attachment end);
/* For __reduce_ex__ of a Buffer: it is told, by the two above, what becomes of the message. */
bool lace_encode_moving(PyObject *buffer);
bool lace_encoding(void); /* a message is being made in this thread */
PyObject *lace_attach(PyObject *module, PyObject *index);
PyObject *lace_take_buffer(PyObject *module, PyObject *pickle_buffer);
bool lace_codec_ready(PyObject *module, lace_module *state);

lace_message *lace_message_borrow(lace_module *module); /* a container, or NULL with MemoryError set */
void lace_message_return(lace_module *module, lace_message *message);

/* ---- types ---------------------------------------------------------------------------------------------- */

PyObject *lace_sender_object(lace_module *module, lace_sender *sender);       /* takes on success */
PyObject *lace_receiver_object(lace_module *module, lace_receiver *receiver); /* likewise */
lace_sender *lace_object_sender(PyObject *object);                            /* borrowed */
lace_receiver *lace_object_receiver(PyObject *object);
bool lace_ends_ready(PyObject *module, lace_module *state); /* makes the types */
/* pyconfirm.c: channels that redeliver. */
extern const char lace_confirm_doc[], lace_redelivered_doc[];
PyObject *lace_py_confirm(PyObject *receiver, PyObject *unused);
PyObject *lace_py_redelivered(PyObject *receiver, void *unused);
PyObject *lace_py_hand_back(PyObject *module, PyObject *unused);
/* The program lets go of a receiver: that confirms what it has received, unless its worker fails. */
void lace_confirm_at_end(const lace_module *module, lace_receiver *receiver);

PyObject *lace_py_channel(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *lace_py_latest(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *lace_py_overwriting(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* Closes a sender or receiver, as the method does (pyseal.c): a sealed stream says first that it ends, and waits for room
 * to say so. False with an exception set. */
bool lace_end_close(lace_module *module, lace_sender *sender, lace_receiver *receiver);

/* What can be wrong with a seal, as exceptions (pyseal.c). */
bool lace_seals_ready(PyObject *module, lace_module *state);
PyObject *lace_raise_seal(lace_module *module, lace_status status, const char *did, const char *name);
static inline bool lace_is_of_a_seal(lace_status status)
{
    return status >= LACE_WRONG_KEY && status <= LACE_SPLICED;
}

/* Endpoints with names (pyopen.c, pylistener.c). */
PyObject *lace_py_open_sender(PyObject *module, PyObject *args);
PyObject *lace_py_open_receiver(PyObject *module, PyObject *args);
PyObject *lace_py_connect(PyObject *module, PyObject *args);
bool lace_listeners_ready(PyObject *module, lace_module *state);
/* The options of a seal as the module's functions have them: a key that is loaded, and texts that are borrowed. */
typedef struct lace_opening {
    lace_seal_options options; /* its key is owned */
    const char *address;
    PyObject *encoded; /* the address as bytes */
} lace_opening;
/* address, the key's file (bytes) or None, label, name or None. False with an exception set. */
bool lace_opening_read(PyObject *address, PyObject *key, PyObject *label, PyObject *name, lace_opening *ret_opening);
void lace_opening_finish(lace_opening *opening);
/* Sets the exception for what opening or accepting has come to. Returns NULL. */
PyObject *lace_raise_opening(lace_module *module, lace_status status, const char *did, const char *address);
/* (Sender, Receiver), which it takes, also on failure. */
PyObject *lace_both_ends(lace_module *module, lace_sender *sender, lace_receiver *receiver);

/* Methods of the two types that are for event loops (pyasync.c). */
PyObject *lace_receiver_recv_async(PyObject *receiver, PyObject *unused);
PyObject *lace_receiver_anext(PyObject *receiver);
PyObject *lace_receiver_serve_now(PyObject *receiver, PyObject *nothing);
PyObject *lace_receiver_recv_now(PyObject *receiver, PyObject *nothing);
PyObject *lace_sender_send_async(PyObject *sender, PyObject *obj);
PyObject *lace_sender_post(PyObject *sender, PyObject *obj);
PyObject *lace_sender_posts_fileno(PyObject *sender, PyObject *unused);
bool lace_async_ready(PyObject *module, lace_module *state);

bool lace_buffers_ready(PyObject *module, lace_module *state);
PyObject *lace_buffer_object(lace_module *module, lace_block *block, bool readonly); /* takes the block on success */
PyObject *lace_py_rebuild_buffer(PyObject *module, PyObject *argument);
/* Whether a message that is nothing but this object is a Buffer that moves: gives one more handle of its block then. */
bool lace_buffer_take(lace_module *module, PyObject *object, lace_block **ret_block);
/* A Buffer in a message: whether it moves (else it is copied); one more handle of its block; the message is on its way;
 * it has arrived, or come back. */
bool lace_buffer_moves(lace_module *module, PyObject *object);
bool lace_buffer_is_unseen(PyObject *object); /* no view of it is left; false with BufferError set */
lace_status lace_buffer_share(PyObject *object, lace_block **ret_block);
void lace_buffer_begin_send(PyObject *object);
void lace_buffer_end_send(PyObject *object, bool sent);

bool lace_workers_ready(PyObject *module, lace_module *state);
lace_worker *lace_object_worker(PyObject *worker);    /* borrowed */
lace_receiver *lace_object_outcome(PyObject *worker); /* borrowed; NULL for current_worker() */
/* A Worker; both are borrowed, and counted once more. */
/* The interpreter's code closes an end: if its worker may be started anew, that may matter to the next attempt. */
void lace_note_closed(const lace_module *module, lace_holding *held);
PyObject *lace_worker_object(lace_module *module, lace_worker *worker, lace_receiver *outcome);
PyObject *lace_py_spawn(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *lace_py_current_worker(PyObject *module, PyObject *unused);

bool lace_messages_ready(PyObject *module, lace_module *state);
PyObject *lace_py_message(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *lace_py_messages(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *lace_py_post(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *lace_py_reply(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *lace_py_next_message(PyObject *module, PyObject *receiver);
PyObject *lace_py_next_messages(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *lace_py_run_call(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

bool lace_flat_ready(PyObject *module, lace_module *state);

bool lace_select_ready(PyObject *module, lace_module *state);
PyObject *lace_py_select(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *lace_py_after(PyObject *module, PyObject *seconds);
/* The case object goes or closes: selectors kept for it go too. */
void lace_select_forget(lace_module *state, PyObject *object);

bool lace_counters_ready(PyObject *module, lace_module *state);
bool lace_semaphores_ready(PyObject *module, lace_module *state);
PyObject *lace_py_within(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
void lace_watch_destroy(lace_watch *watch); /* nobody is inside a call of _within() */

bool lace_scopes_ready(PyObject *module, lace_module *state);

/* An end that the interpreter held is about to go: its worker's accounts have what went through it. */
void lace_py_drop_end(lace_module *state, const lace_holding *held);
PyObject *lace_py_ledger(PyObject *module, PyObject *unused);
PyObject *lace_py_tracks(PyObject *module, PyObject *unused);
PyObject *lace_py_watch_sooner(PyObject *self, PyObject *factor);
PyObject *lace_py_note_failure(PyObject *module, PyObject *text);

bool lace_directory_ready(PyObject *module, lace_module *state); /* kept interpreters and queues */

#endif
