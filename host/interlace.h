/* interlace.h - Interlace for C programs. It includes channel.h, whose conventions hold here as well.
 *
 * Contents
 *   Values   plain Python objects, built and read in C, sent and received
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

/* What the last call that failed in this thread, of those in this section, had to object to: a sentence such as
 * "datetime.date is no plain value". Never NULL; valid until the next such failure. From any thread. */
LACE_API const char *lace_value_problem(void);

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
 * and colons mean nothing. On success all outputs are stored, on failure none: MISMATCH, where lace_value_problem()
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
 * pickle at all; lace_value_problem() says which. After NOT_PLAIN the message has been received, and is gone; after
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

#ifdef __cplusplus
}
#endif
#endif
