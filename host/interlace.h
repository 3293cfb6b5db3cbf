/* interlace.h - Interlace for C programs. It includes channel.h, whose conventions hold here as well.
 *
 * Contents
 *   Values             plain Python objects, built and read in C, sent and received
 *   Keys               the user's own
 *   Host               opening and closing; where output goes
 *   Workers, groups    starting, waiting, results, errors, cancelling
 *   C functions        what scripts call in the application
 */
#ifndef LACE_INTERLACE_H
#define LACE_INTERLACE_H

/* Installed, both headers lie in one folder; in the source tree they do not. */
#if defined(__has_include)
#if __has_include("../host/interlace.h")
#include "../channels/channel.h"
#else
#include "channel.h"
#endif
#else
#include "channel.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- versions ------------------------------------------------------------------------------------------- */

/* Of this header. The major number changes when programs have to be compiled again, and it is the soversion. */
#define LACE_VERSION_MAJOR 0
#define LACE_VERSION_MINOR 1
#define LACE_VERSION_PATCH 0
#define LACE_VERSION "0.1.0"
#define LACE_VERSION_NUMBER (LACE_VERSION_MAJOR * 1000000 + LACE_VERSION_MINOR * 1000 + LACE_VERSION_PATCH)

/* Of the library that is linked: LACE_VERSION_NUMBER as it was when that was built. Does not fail, from any thread. */
LACE_API int lace_version(void);

/* ---- problems ------------------------------------------------------------------------------------------- */

/* What the last call of this header that failed in this thread had to object to: a sentence such as "datetime.date is no
 * plain value". Never NULL; valid until the next such failure in this thread. Does not fail, from any thread. (For channel.h's
 * calls there are lace_strerror() and lace_explain().) */
LACE_API const char *lace_problem(void);

/* ---- values ------------------------------------------------------------------------------------------- *
 *
 * A lace_value is a plain Python object in C: None, bool, int of any size, float, str, bytes, list, tuple, dict, or
 * one end of a channel. It is what a message says: sent to a worker, it is the Python object there, and what a worker
 * sends is a value here. No Python is needed, and reading never runs code, whatever the bytes.
 *
 *     // {'id': 7, 'range': [0.5, 1.5]}
 *     lace_value *job = lace_value_build("{si s[dd]}", "id", 7, "range", 0.5, 1.5);
 *     status = lace_send_value(sender, job, NULL);
 *
 *     status = lace_recv_value(receiver, NULL, &answer);
 *     if (status == LACE_OK) {
 *         status = lace_value_unpack(answer, "{sl s_}", "count", &count, "rows");
 *         const lace_value *rows = lace_value_find(answer, "rows");
 *         for (size_t i = 0; i < lace_value_size(rows); i++)
 *             if (lace_value_get_str(lace_value_at(rows, i), &text, NULL) == LACE_OK)
 *                 puts(text);
 *         lace_value_destroy(answer);
 *     }
 *
 * Building needs one check, at the end. A constructor never gives NULL, and whatever a function of this section
 * *takes* is never the caller's again, whether the call succeeds or fails. What could not be built (memory ran out, a
 * text is not UTF-8) is a failed value; whatever a failed value is put into has failed, too; and encoding or sending
 * it says why. So results of lace_value_append() and the like may be ignored.
 *
 * Reading needs no check for NULL. What looks something up gives NULL when there is no such thing, and every reader
 * answers a NULL as it does any value of another type: LACE_MISMATCH, size 0, type LACE_TYPE_FAILED.
 *
 * A value that has been put into another, or shared, does not change any more: nothing can be added to it, so values
 * have no cycles. An attempt is LACE_INVALID, and fails the value. The pointer stays good for reading as long as what
 * the value was put into lives.
 *
 * Threads: one at a time may use a value that can still change; any number may read, share and destroy (a handle each
 * of) values that cannot. No function here waits, but for lace_send_value() and lace_recv_value().
 *
 * Depth is bounded by memory alone: nothing here recurses. What is read costs at most some 100 bytes of memory for
 * each byte of the message, whatever sizes it claims. */

typedef struct lace_value lace_value;

/* The list is append-only. */
typedef enum lace_type {
    LACE_TYPE_FAILED = 0, /* what could not be built; and NULL */
    LACE_TYPE_NONE,
    LACE_TYPE_BOOL,
    LACE_TYPE_INT, /* of any size */
    LACE_TYPE_FLOAT,
    LACE_TYPE_STR,
    LACE_TYPE_BYTES, /* Python's bytes, bytearray, memoryview and PickleBuffer, and interlace.Buffer */
    LACE_TYPE_LIST,
    LACE_TYPE_TUPLE,
    LACE_TYPE_DICT,
    LACE_TYPE_SENDER,
    LACE_TYPE_RECEIVER,
} lace_type;

/* ---- values: making ------------------------------------------------------------------------------------ *
 *
 * Each of these gives a value, which ends with lace_value_destroy(), or is taken by what it is put into. Out of
 * memory, or with an argument out of range, it is a failed value: never NULL. */

LACE_API lace_value *lace_value_none(void);
LACE_API lace_value *lace_value_bool(bool truth);
LACE_API lace_value *lace_value_int(int64_t number);
LACE_API lace_value *lace_value_uint(uint64_t number);
/* An int of any size: `size` bytes (borrowed) of two's complement, the lowest first. None are 0. */
LACE_API lace_value *lace_value_big(const void *bytes, size_t size);
LACE_API lace_value *lace_value_float(double number);
/* A str of the UTF-8 at `text` (borrowed): up to its NUL, or of `size` bytes, NULs included. Failed (INVALID) when it
 * is not UTF-8. The lone surrogates that a Python str can hold (file names that are no text have them) are written as
 * if they were characters, three bytes each, here and in lace_value_get_str(): what Python calls "surrogatepass". */
LACE_API lace_value *lace_value_str(const char *text);
LACE_API lace_value *lace_value_str_sized(const char *text, size_t size);
/* A bytes object: a copy of `size` bytes at `data` (borrowed). */
LACE_API lace_value *lace_value_bytes(const void *data, size_t size);
/* A bytes-like object that lies on `block`, which it takes: it is sent without a copy, whatever its size, and Python
 * receives an interlace.Buffer. Its memory is the receiver's from then on: leave it alone. (When the value has been
 * shared, so has the memory, and the Buffer is read-only.) A pipe carries no blocks: there it becomes bytes. */
LACE_API lace_value *lace_value_block(lace_block *block);
/* An end of a channel, which it takes. Whoever receives the value gets an end of their own, counted from the moment
 * of the send. */
LACE_API lace_value *lace_value_sender(lace_sender *sender);
LACE_API lace_value *lace_value_receiver(lace_receiver *receiver);

/* Empty containers. All three grow until they are put somewhere; the tuple, too. */
LACE_API lace_value *lace_value_list(void);
LACE_API lace_value *lace_value_tuple(void);
LACE_API lace_value *lace_value_dict(void);

/* Adds `item` (takes it) to the end of a list or tuple. INVALID (not one that can change, or `item` is NULL or put
 * somewhere else already), NOMEM, or why `item` has failed: `sequence` has failed as well then. */
LACE_API lace_status lace_value_append(lace_value *sequence, lace_value *item);
/* Has `key` stand for `item` (takes it) in a dict; what it stood for before is destroyed. The key is a str, borrowed
 * and NUL-ended; or any value that Python can hash (takes it): no list, dict or block, nor a tuple with one in it.
 * Keys are alike when they are equal: 1, 1.0 and True are one key. Fails as lace_value_append() does. */
LACE_API lace_status lace_value_set(lace_value *dict, const char *key, lace_value *item);
LACE_API lace_status lace_value_put(lace_value *dict, lace_value *key, lace_value *item);

/* Builds a value by a format, from one argument for each of its letters, or two where two are named:
 *
 *     n                None (no argument)        s    const char *: str; None for NULL
 *     b    int         bool                      s#   const char *, size_t: str
 *     i    int         int                       y#   const void *, size_t: bytes
 *     l    int64_t     int                       v    lace_value *: takes it
 *     u    uint64_t    int                       (...)   tuple   [...]   list   {...}   dict: keys and items in turn
 *     d    double      float
 *
 * Blanks, commas and colons between them mean nothing: "{s:i, s:[dd]}". All else is borrowed. As with printf, nobody
 * checks the arguments: a literal for `l` or `s#` has to be cast to its type. A format that is wrong gives a failed
 * value (INVALID); values for letters behind the mistake are not taken then. */
LACE_API lace_value *lace_value_build(const char *format, ...);

/* LACE_OK, or why a value could not be built: NOMEM or INVALID, which is also the answer to NULL. */
LACE_API lace_status lace_value_status(const lace_value *value);

/* Gives one more handle of a value, with an end of its own: to keep a part of a value, to put one into several
 * others, to send it again. Costs the same whatever its size. Python receives one object for all places that a value
 * was put into. Failed (INVALID) for NULL. */
LACE_API lace_value *lace_value_share(const lace_value *value);
/* Takes a handle. With its last one a value goes: its ends are closed, its blocks let go. On a value that has been
 * put somewhere it does nothing: that belongs to where it was put. From any thread. */
LACE_API void lace_value_destroy(lace_value *value);

/* ---- values: reading ----------------------------------------------------------------------------------- *
 *
 * Nothing here changes a value. What is borrowed lives as long as the value that it was got from. Each of the
 * lace_status functions says MISMATCH when the value is of another type, or does not fit; INVALID when an output is
 * NULL. */

LACE_API lace_type lace_value_type(const lace_value *value);
/* Items of a list or tuple, pairs of a dict, bytes of a str or bytes, the bytes that an int takes in two's complement
 * (0 takes none). 0 for all else. */
LACE_API size_t lace_value_size(const lace_value *value);

LACE_API lace_status lace_value_get_bool(const lace_value *value, bool *ret_truth);
/* These two read a bool as 0 or 1, as Python does. */
LACE_API lace_status lace_value_get_int(const lace_value *value, int64_t *ret_number);
LACE_API lace_status lace_value_get_uint(const lace_value *value, uint64_t *ret_number);
/* Writes an int of any size, or a bool, to the `size` bytes at `bytes` (borrowed), in two's complement, the lowest
 * first, the sign extended. lace_value_size() of them are enough. */
LACE_API lace_status lace_value_get_big(const lace_value *value, void *bytes, size_t size);
/* A float; also an int or bool: the nearest double, MISMATCH when there is none. */
LACE_API lace_status lace_value_get_float(const lace_value *value, double *ret_number);
/* The text of a str, borrowed: UTF-8 (but see lace_value_str() for surrogates), with a NUL behind it that `size` does
 * not count. Without `ret_size` (NULL), a str with a NUL in it is a MISMATCH. */
LACE_API lace_status lace_value_get_str(const lace_value *value, const char **ret_text, size_t *ret_size);
/* The contents of a bytes value, borrowed. Large ones lie in the memory that they were sent in, without a copy. */
LACE_API lace_status lace_value_get_bytes(const lace_value *value, const void **ret_data, size_t *ret_size);
/* Gives one more handle of the block that a bytes value is: of lace_value_block(), or of what Python sent as a
 * memoryview, PickleBuffer or interlace.Buffer. MISMATCH for all other bytes. NOMEM. Write to it only when nobody
 * else has it: not when the value, or what it came in, has been shared. */
LACE_API lace_status lace_value_share_block(const lace_value *value, lace_block **ret_block);
/* Gives the end that a value holds, once: it is the caller's then, and a later call is a MISMATCH. Ends that nobody
 * takes are closed when the value goes. (`value` is const, since its shape does not change.) From any thread. */
LACE_API lace_status lace_value_take_sender(const lace_value *value, lace_sender **ret_sender);
LACE_API lace_status lace_value_take_receiver(const lace_value *value, lace_receiver **ret_receiver);

/* Item `index` of a list or tuple, or what the key `index` of a dict stands for: borrowed, NULL when there is none.
 * The pairs of a dict are in the order in which their keys came. */
LACE_API const lace_value *lace_value_at(const lace_value *value, size_t index);
/* Key `index` of a dict: borrowed, NULL when there is none. */
LACE_API const lace_value *lace_value_key(const lace_value *dict, size_t index);
/* What a key of a dict stands for: borrowed, NULL when it has no such key, also out of memory (which only a large
 * tuple as a key can need). The key (borrowed) is a str, or any value. */
LACE_API const lace_value *lace_value_find(const lace_value *dict, const char *key);
LACE_API const lace_value *lace_value_find_any(const lace_value *dict, const lace_value *key);

/* Reads a value by a format, into one argument for each of its letters, or two where two are named:
 *
 *     n                        None (no argument)       s    const char **: str without NULs, borrowed
 *     b    bool *              bool                     s#   const char **, size_t *: str, borrowed
 *     i    int *               int                      y#   const void **, size_t *: bytes, borrowed
 *     l    int64_t *           int                      v    const lace_value **: anything, borrowed
 *     u    uint64_t *          int                      _    anything (no argument)
 *     d    double *            float, or int            (...)   tuple   [...]   list: of as many items as are named
 *                                                       {...}   dict: of these keys and others
 *
 * In {...} each item stands behind an `s`, whose argument is the key, a const char *: "{s:i, s:v}". Blanks, commas
 * and colons mean nothing. On success all outputs are stored, on failure none: MISMATCH, where lace_problem()
 * says which item it was; INVALID when the format is wrong. */
LACE_API lace_status lace_value_unpack(const lace_value *value, const char *format, ...);

/* Whether two values (borrowed) are equal as Python's == has it: 1 and 1.0 and True are, a list and a tuple are not,
 * ends are when they are the very same value. NULL is equal to nothing. NOMEM, INVALID. */
LACE_API lace_status lace_value_equal(const lace_value *a, const lace_value *b, bool *ret_equal);

/* Writes the value for people to read, much as Python's repr() does, to the `room` bytes at `text`: cut to fit and
 * always ended with a NUL (unless `room` is 0). Gives the length written. Never fails. */
LACE_API size_t lace_value_format(const lace_value *value, char *text, size_t room);

/* ---- values: sending and receiving ---------------------------------------------------------------------- */

/* Sends a value (takes it, also on failure: share it first to have it for another try). Waits as lace_send() does,
 * with the same errors; and INVALID for NULL or when an end in the value has been closed or taken, or is of another
 * region; UNSUPPORTED when there is an end in it and a pipe on either side; NOMEM or INVALID when the value has
 * failed; TOO_BIG when it holds more than 65534 ends and blocks. */
LACE_API lace_status lace_send_value(lace_sender *sender, lace_value *value, const lace_wait *wait);

/* Receives a value. Waits as lace_recv() does, with the same errors. Gives *ret_value. NOT_PLAIN when the message is
 * not one value: an object of another type (set, a class's instance ...), an object that contains itself, or no
 * pickle at all; lace_problem() says which. After NOT_PLAIN the message has been received, and is gone; after
 * NOMEM it may be. To have it nevertheless, use lace_recv() and lace_value_of_message(). */
LACE_API lace_status lace_recv_value(lace_receiver *receiver, const lace_wait *wait, lace_value **ret_value);

/* Reads the value out of a message that has been received (borrowed). Gives *ret_value, which holds the ends and
 * blocks that were in the message; its bytes stay there. After a failure the message is as it was: NOT_PLAIN,
 * CORRUPT; NOMEM, after which its ends and blocks may be gone. */
LACE_API lace_status lace_value_of_message(lace_message *message, lace_value **ret_value);

/* Writes a value (takes it) as a message for lace_send() or a case of lace_select(): a pickle of protocol 5, with
 * ends and blocks beside it. `region` (borrowed) is that of the channel it is for, lace_sender_region(); NULL when it
 * is for a pipe or a file, where neither ends (UNSUPPORTED) nor blocks travel. Gives *ret_payload, which ends with
 * lace_payload_finish(). The errors are those of lace_send_value() that are not lace_send()'s. */
LACE_API lace_status lace_value_encode(lace_value *value, lace_region *region, lace_payload *ret_payload);
/* Takes what lace_value_encode() gave. `sent` says whether it has been sent: if not, its ends are closed and its
 * blocks let go. NULL is allowed. */
LACE_API void lace_payload_finish(lace_payload *payload, bool sent);
/* The reverse: reads the value that a payload (borrowed) is; bytes alone do where there are no ends or blocks, such
 * as what pickle.dumps() gave, of protocol 2 and later. Gives *ret_value. What `attachments` hold is taken, if it
 * succeeds: what the value does not name is let go. NOT_PLAIN, INVALID, NOMEM. */
LACE_API lace_status lace_value_decode(const lace_payload *payload, lace_value **ret_value);

/* ---- keys ----------------------------------------------------------------------------------------------- */

/* Reads the key of the file `path` (borrowed), as lace_key_load() does; for NULL the user's own, which `interlace key new`
 * makes: $XDG_CONFIG_HOME/interlace/key or ~/.config/interlace/key. It is for what channel.h opens by name. Gives
 * *ret_key. The errors are lace_key_load()'s; lace_problem() says what to do. Does not wait. */
LACE_API lace_status lace_key_load_own(const char *path, lace_key **ret_key);

/* ---- the host ------------------------------------------------------------------------------------------- *
 *
 * The host is the process's one instance of Interlace: Python, and the workers that run in it. A worker is one thread
 * with a Python interpreter of its own; workers run at the same time, each with its own lock.
 *
 *     lace_host *host;
 *     lace_worker *worker;
 *     lace_value *answer;
 *     lace_status status = lace_host_open(NULL, &host);
 *     if (status == LACE_OK) {
 *         lace_worker_options options = {0};
 *         options.function = "json:loads";
 *         options.args = lace_value_build("(s)", "[1, 2, 3]");
 *         status = lace_worker_start(host, &options, &worker);
 *         if (status == LACE_OK) {
 *             status = lace_worker_result(worker, NULL, &answer);
 *             lace_worker_destroy(worker);
 *         }
 *         lace_host_close(host);
 *     }
 *
 * Any thread of the application may call any function below, whether it knows of Python or not: a thread that holds an
 * interpreter's lock lets go of it while it waits. Nothing here is for the process that a fork() made: each function says
 * FORKED there, and so do calls on channels.
 *
 * Calls that fail say more about it with lace_problem(): a sentence, such as "worker 'parse.py' did not end within 5 s;
 * it sits in parse.py, line 7, in wait". */

typedef struct lace_host lace_host;

/* What workers print, instead of standard output and error: whole lines, their newlines included, several at a time
 * perhaps. `worker` names the worker, `fd` is 1 or 2. All is borrowed. Called in the worker's thread, by one thread at a
 * time for each fd, no lock of Python held. It must not call back into this library. */
typedef void (*lace_output)(void *context, const char *worker, int fd, const char *text, size_t size);

typedef struct lace_host_options {
    double grace;            /* seconds that a cancelled worker has to end, a million at most; 0: 5 */
    const char *const *path; /* folders that come first in every worker's sys.path; ended by NULL; NULL: none */
    bool tag;                /* prefix what workers print with their names */
    lace_output output;      /* NULL: what workers print goes to standard output and error */
    void *context;           /* of `output` */
} lace_host_options;

/* Opens the host. `options` is borrowed and may be NULL. The first time it starts Python, unless the application has
 * done that, and takes some 50 ms; Python then stays in the process for good, idle, since it cannot be unloaded safely.
 * It installs no signal handler but one for SIGURG, if that has none, which interrupts system calls of cancelled workers.
 * Python takes its settings (PYTHON*, VIRTUAL_ENV) from the environment. It counts on SIGPIPE being ignored, which is for the
 * application to arrange: else a script that writes to a socket whose other side is gone ends the process.
 * BUSY: there is a host already, and one at a time is all; it may be that of another copy of this library (where the
 * application's own Python has imported the extension module interlace before). OUTDATED: the program was compiled with a
 * newer header than the library's, or an incompatible one. INVALID, NOMEM, SYSTEM; FAILED: Python did not start. */
LACE_API lace_status lace_host_open_version(int version, const lace_host_options *options, lace_host **ret_host);
static inline lace_status lace_host_open(const lace_host_options *options, lace_host **ret_host)
{
    return lace_host_open_version(LACE_VERSION_NUMBER, options, ret_host); /* an older library can tell */
}

/* Closes the host: cancels the workers that still run and waits for their end, as long as the grace period lasts. Ends of
 * channels, values and handles of workers and groups may be kept; those of channels go on working in C, and the others
 * know what they knew. An application that has started Python itself closes the host before it finalises Python; if it
 * has not, Py_FinalizeEx() closes the host, and ends the process (status 1) when a worker does not end.
 * STUCK: a worker did not end (lace_problem() says which, and where it sits); the host stays open, starts nothing any
 * more, and may be closed again later. CLOSED: it has been closed already. INVALID for NULL; BUSY when called by a worker,
 * in whatever thread of its own, or by a second thread at once. */
LACE_API lace_status lace_host_close(lace_host *host);

/* The shared memory that the host's channels and blocks are made in, for lace_channel_create(), lace_block_create() and
 * lace_message_create(): borrowed, good until the host is closed and what was made in it is gone. NULL for NULL and for a
 * host that has been closed. */
LACE_API lace_region *lace_host_region(lace_host *host);

/* Makes a channel: lace_channel_create() in the host's region. INVALID, CLOSED, NOMEM. */
LACE_API lace_status lace_host_channel(lace_host *host, const lace_channel_options *options, lace_sender **ret_sender,
                                       lace_receiver **ret_receiver);

/* ---- workers -------------------------------------------------------------------------------------------- */

typedef struct lace_worker lace_worker;
typedef struct lace_group lace_group;

/* Where a worker runs. The list is append-only. */
typedef enum lace_isolation {
    LACE_ISOLATION_INTERPRETER = 0, /* on a thread of this process, in an interpreter of its own */
    LACE_ISOLATION_PROCESS,         /* in a process of its own, where every extension module loads, and a crash is its alone */
    LACE_ISOLATION_AUTO,            /* in an interpreter, unless what it is to do imports a module that is known not to load
                                     * there; that is said on stderr, once for each such module */
} lace_isolation;

/* What a worker is to do, exactly one of the first four; and how. Strings are borrowed. */
typedef struct lace_worker_options {
    const char *function; /* "module:function", called with `args` and `kwargs`; its result is the worker's */
    const char *file;     /* a script's path; `args` are its sys.argv[1:] and must be str */
    const char *code;     /* Python source, run as a script */
    const char *module;   /* a module's name, run as `python -m` does */

    lace_value *args;      /* a tuple or list; taken, also when the start fails. NULL: none */
    lace_value *kwargs;    /* a dict with str keys, for `function`; taken likewise. NULL: none */
    lace_receiver *input;  /* what `interlace.input` is there; taken likewise. NULL: none */
    lace_sender *output;   /* what `interlace.output` is there; taken likewise. NULL: none */
    const char *name;      /* in messages and tags; NULL: that of what it does, with a number */
    lace_group *group;     /* borrowed; NULL: none */
    lace_isolation isolation; /* 0: in an interpreter */
} lace_worker_options;

/* Starts a worker; does not wait for it. `options` is borrowed, but for what it says is taken. Gives *ret_worker, a
 * handle; NULL for it: nobody is to ask about the worker again, and if it is of no group, the traceback of its failure goes
 * to where its standard error does. INVALID (also ends of another region than the host's), CLOSED (the host has been closed,
 * or that of the group), NOMEM, SYSTEM (the process may have no more threads); what args or kwargs have failed with, and what
 * lace_value_encode() says. A script that cannot be found, or does not compile, is a failure of the worker.
 * A worker in a process of its own is the program `interlace`, which lies beside the library or where both were installed;
 * INTERLACE_PROGRAM in the environment names another. SYSTEM when it is not found. It is the same worker in all else, and
 * fails with a WorkerDied when its process dies ("killed by SIGSEGV"); but `interlace.host` is empty there: exported C
 * functions are in this process. When it does not end within the grace period, it is killed. What it prints goes to
 * lace_output from a thread of the host's. The processes die with this one. */
LACE_API lace_status lace_worker_start(lace_host *host, const lace_worker_options *options, lace_worker **ret_worker);

/* A Python exception, as text; "" where there is none. All strings are UTF-8 and live as long as the handle they come from. */
typedef struct lace_error {
    const char *worker;    /* the name of the worker it was raised in */
    const char *type;      /* its class, such as "ValueError"; "Cancelled" when the worker was cancelled */
    const char *message;   /* str() of it */
    const char *traceback; /* as Python prints it, the exception included */
} lace_error;

/* Waits until the worker has ended, in whatever way. TIMEOUT, CANCELLED (of `wait`'s own token), INVALID (for NULL, and for
 * a C function that the worker itself has called), NOMEM. */
LACE_API lace_status lace_worker_wait(lace_worker *worker, const lace_wait *wait);

/* Waits for the worker's end and gives its result: what the function returned, None for a script. FAILED: it raised an
 * exception, or was cancelled: lace_worker_error(). NOT_PLAIN: its result is no plain value; lace_problem() says what of
 * it. Else as lace_worker_wait(). May be repeated. */
LACE_API lace_status lace_worker_result(lace_worker *worker, const lace_wait *wait, lace_value **ret_value);

/* The exception that ended the worker; NULL as long as it has not ended, and when it ended well. Borrowed: lives as long
 * as the handle. Does not wait. */
LACE_API const lace_error *lace_worker_error(lace_worker *worker);

/* Cancels the worker: its current and later waits raise Cancelled, its running bytecode is interrupted within
 * milliseconds, its `finally` blocks run. Does not wait. May be repeated, also after the worker's end. INVALID for NULL.
 * Foreign C code is not interrupted, and Python's own calls that block (time.sleep(), os.read(), a lock) are only woken: most
 * go on with what is left of them, as they do after any signal. A worker that sits in one for longer than the grace period is
 * STUCK when the host is closed. A script that may be cancelled waits on a channel instead: recv(timeout=...). */
LACE_API lace_status lace_worker_cancel(lace_worker *worker);

LACE_API const char *lace_worker_name(const lace_worker *worker); /* lives as long as the handle; "" for NULL */
LACE_API bool lace_worker_ended(const lace_worker *worker);       /* true for NULL */

/* The worker's end as a case of lace_select() (LACE_CASE_ENDED), or a descriptor to poll that is readable from then on
 * (lace_receiver_fd()). Borrowed: lives as long as the handle; do not receive from it. NULL for NULL. */
LACE_API lace_receiver *lace_worker_end(lace_worker *worker);

/* Takes the handle. The worker goes on: to end it, cancel it first. If it is of no group and fails from then on, the
 * traceback goes to where its standard error does. No other thread may be inside a call with it. */
LACE_API void lace_worker_destroy(lace_worker *worker);

/* ---- groups --------------------------------------------------------------------------------------------- *
 *
 * Workers that belong together: the first that fails cancels the others, and one call waits for all. */

/* Makes a group; `name` (borrowed) is for messages, NULL for none. Gives *ret_group. INVALID, CLOSED, NOMEM. */
LACE_API lace_status lace_group_create(lace_host *host, const char *name, lace_group **ret_group);

/* Cancels every worker of the group, those started later as well. Does not wait. INVALID for NULL. */
LACE_API lace_status lace_group_cancel(lace_group *group);

/* Waits until all workers of the group have ended. FAILED: one failed; lace_group_error() is the first failure. CANCELLED:
 * `wait`'s own token was fired, or the group was cancelled and nothing failed. TIMEOUT: some still run. INVALID for NULL, and
 * for a C function that one of its workers has called. NOMEM. May be repeated. */
LACE_API lace_status lace_group_wait(lace_group *group, const lace_wait *wait);

/* The first failure of a worker of the group; NULL: none has failed that has been waited for. Borrowed: lives as long as
 * the group. */
LACE_API const lace_error *lace_group_error(const lace_group *group);

/* Takes the group. Workers that still run are cancelled, and waited for as long as the grace period lasts. */
LACE_API void lace_group_destroy(lace_group *group);

/* ---- C functions for Python ----------------------------------------------------------------------------- *
 *
 *     static lace_value *add(lace_call *call, void *context)
 *     {
 *         int64_t a, b;
 *         (void)context;
 *         if (lace_value_unpack(lace_call_args(call), "(ll)", &a, &b) != LACE_OK)
 *             return lace_call_fail(call, "TypeError", "add(a, b) takes two ints");
 *         return lace_value_int(a + b);
 *     }
 *
 *     lace_export(host, "add", add, NULL, 0);            // in a script: interlace.host.add(2, 3)
 */

/* One call of an exported function by a script; good until the function returns. */
typedef struct lace_call lace_call;

/* Runs on the calling worker's thread, for several workers at once: guard what they share. Returns what the script gets,
 * which is taken; a failed value raises MemoryError or ValueError. NULL goes with lace_call_fail(). To return (a part of) the
 * arguments, lace_value_share() them. Frames of Python lie above it: no C++ exception and no longjmp() may leave it. */
typedef lace_value *(*lace_function)(lace_call *call, void *context);

#define LACE_EXPORT_KEEP_LOCK 1u /* the interpreter's lock is not let go of: for what takes a microsecond, not a wait */

/* Offers a C function to Python: scripts call it as interlace.host.NAME(...). From now on, for the workers that run and
 * those to come, until the host is closed. A name that is in use already gets the new function; calls of the old one that
 * have begun go on, so its `context` stays until the host is closed. `name` (borrowed) is a Python identifier in ASCII, no
 * keyword, that does not begin with an underscore. INVALID, CLOSED, NOMEM. */
LACE_API lace_status lace_export(lace_host *host, const char *name, lace_function function, void *context, unsigned flags);

/* The arguments, a tuple; borrowed. (Keyword arguments are refused before the function is called.) */
LACE_API const lace_value *lace_call_args(const lace_call *call);
/* The name of the worker that calls; borrowed. */
LACE_API const char *lace_call_worker(const lace_call *call);
/* How to wait in the function (lace_recv() and such) so that cancelling the worker ends the wait; borrowed. */
LACE_API const lace_wait *lace_call_wait(const lace_call *call);
/* Has the call raise an exception of a built-in type ("ValueError"; one that is unknown, or is not made of a text alone, is
 * a RuntimeError), its message made as by printf. Returns NULL, for `return lace_call_fail(...)`. */
LACE_API lace_value *lace_call_fail(lace_call *call, const char *type, const char *format, ...)
    LACE_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
