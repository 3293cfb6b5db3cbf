/* channel.h - channels in the style of CSP, for threads and processes. Plain C: no Python.
 *
 * A channel is a bounded FIFO of messages with two kinds of end, senders and receivers, any number of each.
 * A memory channel keeps its messages in a region of shared memory; a pipe channel writes them as frames into
 * a pipe, FIFO or Unix socket. Every call below works alike on both unless it says otherwise.
 *
 * Ownership is said in one of three words, in the comment of each function:
 *   borrows   the callee uses it during the call only
 *   takes     the callee owns it afterwards - if it succeeded; after a failure the caller still owns it
 *   gives     the caller owns what comes back and ends it with the matching destroy
 *
 * Conventions
 *   - A fallible function returns lace_status; outputs are its last parameters, named ret_..., and are left
 *     untouched on failure. After any failure the objects involved are as they were before the call.
 *   - Option structs are initialised with {0}; a zero field is the documented default.
 *   - A NULL where none may be is INVALID. What only asks says of NULL what is true of nothing: 0, NULL, "", that it is
 *     closed; and close, clear and destroy do nothing with it.
 *   - Any thread may call any function. An end may be used by several threads at once; it must not be destroyed
 *     while another thread is inside a call on it (close it first: that wakes them).
 *   - After fork() nothing here works in the child: calls that can fail say FORKED, the others do nothing. The
 *     parent's channels are not disturbed by it.
 *   - No function prints, exits, installs signal handlers or changes the locale. Writing to a pipe whose readers
 *     are gone raises SIGPIPE unless the process ignores it, which a user of pipe channels has to arrange; closing
 *     a sealed sender writes, too.
 */
#ifndef LACE_CHANNEL_H
#define LACE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LACE_API __attribute__((visibility("default")))
#else
#define LACE_API
#endif
#if defined(__GNUC__)
#define LACE_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define LACE_PRINTF(text, first)
#endif

/* ---- status ------------------------------------------------------------------------------------------- */

/* X(name, text): the list is append-only, so that numbers stay what they are. */
#define LACE_STATUS_MAP(X)                                                                                     \
    X(OK, "success")                                                                                           \
    X(TIMEOUT, "the deadline passed first")                                                                    \
    X(CANCELLED, "the wait was cancelled")                                                                     \
    X(END, "every sender of the channel is gone and nothing is queued")                                        \
    X(BROKEN, "every receiver of the channel is gone")                                                         \
    X(CLOSED, "this end has been closed by its own side")                                                      \
    X(INVALID, "an argument is out of its range")                                                              \
    X(NOMEM, "out of memory, or the region has reached its limit")                                             \
    X(TOO_BIG, "the message is larger than the channel can ever hold")                                         \
    X(CORRUPT, "the shared region failed a check")                                                             \
    X(SYSTEM, "a system call failed; errno says which way")                                                    \
    X(UNSUPPORTED, "this kind of channel cannot do that")                                                      \
    X(WRONG_KEY, "the two sides have different keys")                                                          \
    X(UNSEALED, "one side seals its frames and the other does not")                                            \
    X(FORGED, "a frame does not fit its seal: it was forged, or damaged on its way")                           \
    X(TRUNCATED, "the sealed stream was cut off: its sender has not said that it ends")                        \
    X(REORDERED, "frames of the sealed stream are missing, or not in the order they were sent in")             \
    X(REPLAYED, "a sealed frame or stream is an old one, played again")                                        \
    X(SPLICED, "a frame belongs to another sealed stream")                                                     \
    X(EXPOSED, "the file is not its owner's alone")                                                            \
    X(MALFORMED, "the file is not what it should be")                                                          \
    X(MISMATCH, "the value is of another type, or does not fit")                                               \
    X(NOT_PLAIN, "the message is not one plain value")                                                         \
    X(FAILED, "the worker failed; its error says why")                                                         \
    X(BUSY, "there is another one already, or it is in use")                                                   \
    X(STUCK, "a worker did not end in time")                                                                   \
    X(OUTDATED, "the program was compiled with a header that this library does not go with")                    \
    X(FORKED, "this process was forked from the one that made it: start a program of its own there instead")  \
    X(FOREIGN, "the other side is another user's process")

typedef enum lace_status {
#define LACE_STATUS_ENUM(name, text) LACE_##name,
    LACE_STATUS_MAP(LACE_STATUS_ENUM)
#undef LACE_STATUS_ENUM
} lace_status;

/* A sentence for a status, never NULL, static. Does not block. */
LACE_API const char *lace_strerror(lace_status status);

/* A sentence that says more, where there is more to say: about this thread's last failure with that status of a call
 * on keys or seals (which file, which two keys); else what lace_strerror says. Valid until this thread's next call. */
LACE_API const char *lace_explain(lace_status status);

/* ---- time and cancelling ------------------------------------------------------------------------------ */

#define LACE_NEVER ((int64_t)0) /* no deadline: what {0} says */
#define LACE_NOW ((int64_t)-1)  /* do not wait: try */

/* Nanoseconds of CLOCK_MONOTONIC; always above zero. */
LACE_API int64_t lace_clock(void);

/* The deadline that lies `seconds` from now: LACE_NOW for 0 and below (and NaN), LACE_NEVER when it lies more
 * than a century off. */
LACE_API int64_t lace_deadline_after(double seconds);

typedef struct lace_cancel lace_cancel;

/* How a call may wait. A NULL pointer or {0} means: for ever, not cancellable, nothing to be told. */
typedef struct lace_wait {
    int64_t deadline;    /* an absolute lace_clock() time, LACE_NEVER or LACE_NOW */
    lace_cancel *cancel; /* borrowed for the call; a fired one ends the wait with LACE_CANCELLED */
    /* Called, when set, in the calling thread just before it starts to wait and just after it has stopped,
     * always in pairs, no lock held. park may set `cancel` for the time until unpark. An interpreter's lock is
     * dropped and taken again here. A call that need not wait calls neither. */
    void (*park)(void *context);
    void (*unpark)(void *context);
    void *context;
} lace_wait;

/* What calls of this process do from now on, instead of park and unpark, that have none of their own. They have no context
 * and may come without each other once. For a library that knows of a lock which a waiting thread may not hold. */
LACE_API void lace_usual_wait(void (*park)(void), void (*unpark)(void));

/* Makes a token that cancels waits. With a `parent` (borrowed; it must outlive the child), firing the parent
 * fires the child too, at once if it has fired already. Gives *ret_cancel. NOMEM. */
LACE_API lace_status lace_cancel_create(lace_cancel *parent, lace_cancel **ret_cancel);

/* Ends every current and later wait that names the token, or a child of it, with LACE_CANCELLED. A call that can
 * be done without waiting is still done. Never blocks for long, cannot be undone, may be repeated. */
LACE_API void lace_cancel_fire(lace_cancel *cancel);

LACE_API bool lace_cancel_fired(const lace_cancel *cancel);

/* A descriptor that polls readable once the token has fired. It belongs to the token. Do not read it. Borrowed. SYSTEM. */
LACE_API lace_status lace_cancel_fd(lace_cancel *cancel, int *ret_fd);

/* Takes the token. No wait may be using it and no child may be left. */
LACE_API void lace_cancel_destroy(lace_cancel *cancel);

/* ---- regions and blocks ------------------------------------------------------------------------------- */

typedef struct lace_region lace_region;
typedef struct lace_block lace_block;

typedef struct lace_region_options {
    size_t limit; /* the most bytes it may grow to; 0: half of the machine's memory, or what the process may have (ulimit) */
} lace_region_options;

/* Makes the shared memory that memory channels and blocks live in: an anonymous file, sealed against shrinking,
 * backed as it grows so that touching it can never raise SIGBUS, and empty pages go back to the kernel.
 * `options` is borrowed and may be NULL. Gives *ret_region. NOMEM, SYSTEM. */
LACE_API lace_status lace_region_create(const lace_region_options *options, lace_region **ret_region);

/* Takes the region. Every channel end, block, message and selector made in it must be gone: this is checked, and
 * INVALID comes back with nothing changed where one is left. Messages still queued in it are discarded. */
LACE_API lace_status lace_region_destroy(lace_region *region);

/* Takes the region for good: it goes by itself when the last channel end, block, message and selector made in it does,
 * at once when there is none. INVALID for NULL. */
LACE_API lace_status lace_region_abandon(lace_region *region);

/* Bytes of the region in use by channels, waits and blocks, and bytes backed by memory. */
LACE_API void lace_region_usage(const lace_region *region, size_t *ret_used, size_t *ret_backed);

/* Makes a block of `size` bytes, its contents undefined. Gives *ret_block, counted once. NOMEM. */
LACE_API lace_status lace_block_create(lace_region *region, size_t size, lace_block **ret_block);
LACE_API void *lace_block_data(const lace_block *block);
LACE_API size_t lace_block_size(const lace_block *block);
/* One more count of the same memory, with a handle of its own. Gives *ret_block. NOMEM. */
LACE_API lace_status lace_block_share(const lace_block *block, lace_block **ret_block);
/* Says that nobody writes to the block any more, with any of its handles, in any process: the caller has seen to that. */
LACE_API void lace_block_freeze(lace_block *block);
/* One more handle of the frozen block whose memory is these `size` bytes, all of it, and is kept meanwhile by another
 * handle. Gives *ret_block. INVALID when they are anything else, NOMEM. */
LACE_API lace_status lace_block_find(lace_region *region, const void *data, size_t size, lace_block **ret_block);
/* Takes the handle; the memory goes when its last count does, in whatever thread and message that is. */
LACE_API void lace_block_destroy(lace_block *block);

/* ---- messages ----------------------------------------------------------------------------------------- */

typedef struct lace_sender lace_sender;
typedef struct lace_receiver lace_receiver;

typedef enum lace_attachment_kind {
    LACE_ATTACH_NONE = 0, /* taken out already */
    LACE_ATTACH_SENDER,
    LACE_ATTACH_RECEIVER,
    LACE_ATTACH_BLOCK,
} lace_attachment_kind;

/* What travels beside the bytes of a message. */
typedef struct lace_attachment {
    lace_attachment_kind kind;
    union {
        lace_sender *sender;
        lace_receiver *receiver;
        lace_block *block;
    } as;
} lace_attachment;

/* A message to send: its bytes, and what travels beside them. */
typedef struct lace_payload {
    const void *data; /* borrowed */
    size_t size;
    const lace_attachment *attachments; /* the array is borrowed, what it holds is taken when the send succeeds */
    size_t attachment_count;            /* at most LACE_MAX_ATTACHMENTS */
} lace_payload;

#define LACE_MAX_ATTACHMENTS 65535

/* A received message. The object is a container that may be used for one receive after another. */
typedef struct lace_message lace_message;

/* Gives an empty container for messages of `region`'s channels, or of pipe channels when `region` is NULL.
 * NOMEM. One thread at a time may use it. */
LACE_API lace_status lace_message_create(lace_region *region, lace_message **ret_message);
/* Takes the container and whatever it still holds: ends in it are closed, blocks let go. */
LACE_API void lace_message_destroy(lace_message *message);
/* Lets go of what it holds, as destroy does, and leaves it empty. Receiving into it does this first. */
LACE_API void lace_message_clear(lace_message *message);
/* The bytes, valid until the container is cleared, received into or destroyed; aligned to 8. */
LACE_API const void *lace_message_data(const lace_message *message);
LACE_API size_t lace_message_size(const lace_message *message);
LACE_API size_t lace_message_attachments(const lace_message *message);
/* What attachment `index` is: NONE when there is no such one or it has been taken out. */
LACE_API lace_attachment_kind lace_message_kind(const lace_message *message, size_t index);
/* Takes attachment `index` out of the message and gives it to the caller, as an end or a block of its own.
 * INVALID when there is none or it has been taken out, NOMEM (it stays in the message), CORRUPT. */
LACE_API lace_status lace_message_take(lace_message *message, size_t index, lace_attachment *ret_attachment);
/* Gives one more handle of the block that attachment `index` is, which stays in the message. INVALID when there is no
 * block, NOMEM, CORRUPT. */
LACE_API lace_status lace_message_block(const lace_message *message, size_t index, lace_block **ret_block);

/* ---- channels ----------------------------------------------------------------------------------------- */

typedef struct lace_channel_options {
    size_t capacity;  /* messages that may wait; 0 is a rendezvous; at most LACE_MAX_CAPACITY */
    size_t max_bytes; /* and bytes (data and blocks) that may wait; 0: no bound but the capacity */
    const char *name; /* borrowed, UTF-8, cut to 63 bytes; NULL: "channel-N" */
    bool overwrite;   /* a send to the full channel discards the oldest message, and so never waits; not with capacity 0,
                       * nor with max_bytes */
    bool redeliver;   /* what a receiver has not confirmed goes to another one when it goes: see lace_receiver_confirm; not
                       * with capacity 0, nor with overwrite */
} lace_channel_options;

#define LACE_MAX_CAPACITY ((size_t)1 << 20)

/* Makes a memory channel. Gives both its first ends. INVALID, NOMEM. */
LACE_API lace_status lace_channel_create(lace_region *region, const lace_channel_options *options,
                                         lace_sender **ret_sender, lace_receiver **ret_receiver);

/* Makes an end of a pipe channel from an open file descriptor of a pipe, FIFO or stream socket, which it takes
 * and makes non-blocking. Its capacity is the kernel's. Frames of several writers to one pipe stay whole; only one
 * process may read a pipe. Attachments cannot travel in it: UNSUPPORTED. `name` is borrowed, NULL: "pipe-N".
 * INVALID, NOMEM, SYSTEM. These frames are believed as they are: a pipe that leads outside this process and its own
 * children wants a seal (see keys and seals). */
LACE_API lace_status lace_pipe_sender(int fd, const char *name, lace_sender **ret_sender);
LACE_API lace_status lace_pipe_receiver(int fd, const char *name, lace_receiver **ret_receiver);
/* Both ends of a new pipe. */
LACE_API lace_status lace_pipe_create(const char *name, lace_sender **ret_sender, lace_receiver **ret_receiver);

/* Sends one message; its bytes are copied before the call returns. Waits while the channel is full; on a
 * rendezvous, until a receiver has the message. TIMEOUT, CANCELLED, BROKEN, CLOSED, NOMEM, TOO_BIG (more than
 * max_bytes), INVALID, CORRUPT, SYSTEM: after each of these the message was not sent and the attachments are
 * still the caller's. */
LACE_API lace_status lace_send(lace_sender *sender, const lace_payload *payload, const lace_wait *wait);

/* Sends `count` messages in order and stores in *ret_sent, on failure too, how many went. Takes the
 * attachments of those only. */
LACE_API lace_status lace_send_many(lace_sender *sender, const lace_payload *payloads, size_t count,
                                    const lace_wait *wait, size_t *ret_sent);

/* Receives the next message into `message` (borrowed). Waits while there is none. TIMEOUT, CANCELLED, END, CLOSED,
 * INVALID, CORRUPT, SYSTEM, NOMEM: after each of these the channel has lost nothing. UNSEALED, and on a sealed channel
 * what is said under keys and seals. */
LACE_API lace_status lace_recv(lace_receiver *receiver, lace_message *message, const lace_wait *wait);

/* Waits for one message, then takes without waiting what else is there, `count` at most, into messages[0..]
 * (borrowed; all distinct) in order. Stores in *ret_received how many. The errors are lace_recv's, when the first
 * one cannot be had. */
LACE_API lace_status lace_recv_many(lace_receiver *receiver, lace_message *const *messages, size_t count,
                                    const lace_wait *wait, size_t *ret_received);

/* On a channel made with `redeliver` each message is received at least once. What an end has received stays unconfirmed
 * until that end is asked for the next message (by lace_recv, lace_recv_many, or in a lace_select or lace_selector_wait
 * with a case for it, whichever case happens, and also if nothing comes), or until this is called. When it is closed
 * before, or its process dies, what is not confirmed goes back, before all that is queued and in its order, for other
 * receivers; it counts for the capacity then, and may exceed it. While somebody has what is not confirmed, the channel does
 * not end: the others wait. Blocks are not copied: a block in such a message is shared by all who receive it, and by
 * whatever it has been sent on in, with what was changed in it. On other channels this does nothing. Never waits. CLOSED,
 * NOMEM. */
LACE_API lace_status lace_receiver_confirm(lace_receiver *receiver);

/* Whether this message had been received before, and not been confirmed. */
LACE_API bool lace_message_redelivered(const lace_message *message);

/* Closes this end: it counts no more, and whoever waits on this very end gets CLOSED. When it was the last sender,
 * receivers drain the channel and then get END; when it was the last receiver, senders get BROKEN and what was
 * queued is discarded. What it has received and not confirmed goes back first. Never blocks; may be repeated. */
LACE_API void lace_sender_close(lace_sender *sender);
LACE_API void lace_receiver_close(lace_receiver *receiver);
/* Takes the end, and closes it if need be. */
LACE_API void lace_sender_destroy(lace_sender *sender);
LACE_API void lace_receiver_destroy(lace_receiver *receiver);
LACE_API bool lace_sender_closed(const lace_sender *sender);
LACE_API bool lace_receiver_closed(const lace_receiver *receiver);

/* One more end of the same channel, counted at once. Gives it. CLOSED, NOMEM. */
LACE_API lace_status lace_sender_clone(lace_sender *sender, lace_sender **ret_sender);
LACE_API lace_status lace_receiver_clone(lace_receiver *receiver, lace_receiver **ret_receiver);

/* Messages waiting in the channel: those queued and those whose senders wait. 0 for a pipe. Also after close. */
LACE_API size_t lace_sender_length(const lace_sender *sender);
LACE_API size_t lace_receiver_length(const lace_receiver *receiver);
LACE_API size_t lace_sender_capacity(const lace_sender *sender);
LACE_API size_t lace_receiver_capacity(const lace_receiver *receiver);
/* The channel's name, valid while the end lives. */
LACE_API const char *lace_sender_name(const lace_sender *sender);
LACE_API const char *lace_receiver_name(const lace_receiver *receiver);

/* The region that its channel lies in, borrowed; NULL for a pipe. */
LACE_API lace_region *lace_sender_region(const lace_sender *sender);
LACE_API lace_region *lace_receiver_region(const lace_receiver *receiver);

/* What went through this very end. */
typedef struct lace_stats {
    uint64_t messages;
    uint64_t bytes;      /* data and blocks */
    uint64_t waits;      /* calls that had to wait */
    uint64_t blocked_ns; /* the time they waited, in all */
} lace_stats;

LACE_API void lace_sender_stats(const lace_sender *sender, lace_stats *ret_stats);
LACE_API void lace_receiver_stats(const lace_receiver *receiver, lace_stats *ret_stats);

/* A descriptor that polls readable exactly while this end is worth a call: for a receiver, a message waits or the
 * channel has ended; for a sender, there is room or the channel is broken. (On a rendezvous, a receiver that a
 * selector stands registered for is room, also while nobody waits in that selector. A pipe's sender gives a
 * descriptor that polls *writable*; a pipe's receiver polls readable for part of a message, too. Both ends of a
 * memory:NAME connection poll readable, and may once in a while for nothing.) It belongs to the end, which closes it. Do
 * not read or write it. Borrowed. CLOSED, SYSTEM, NOMEM. */
LACE_API lace_status lace_sender_fd(lace_sender *sender, int *ret_fd);
LACE_API lace_status lace_receiver_fd(lace_receiver *receiver, int *ret_fd);

/* ---- keys and seals ----------------------------------------------------------------------------------- */

/* A pipe channel between this process and its own children needs no seal. One that leads anywhere else gets one: both
 * sides hold the same key, and each frame is encrypted and authenticated, so that what is received is what was sent by
 * somebody who has the key, in order, once, and all of it. Nothing of a frame is handed on before its seal is
 * verified. Apart from what is said here a sealed channel is a pipe channel like any other.
 *
 * What was received before a failure stays received. The failures below stay: every later call says the same.
 *   WRONG_KEY  the other side has another key (lace_explain names both)
 *   UNSEALED   the other side does not seal its frames; also: a channel without a seal is sent sealed frames
 *   FORGED     a frame's seal does not fit: garbage, a changed bit, or somebody who has not got the key
 *   TRUNCATED  the stream was cut off; its sender was killed, or lost its descriptor, before it could say that it ends
 *   REORDERED  a frame is missing, or comes too early
 *   REPLAYED   a frame comes again, or a whole stream, or one so old that this could not be told (see max_age)
 *   SPLICED    a frame belongs to another stream, or the first ones of its own are missing
 * Where an attacker damages a stream in several ways, or the header that tells them apart, the name is that of the
 * damage seen first; that there is damage is always seen.
 */

/* A shared key: 32 random bytes, in memory that is kept out of core dumps and, as far as the process may lock memory,
 * out of swap; unreadable but for the moments of its use, and wiped in the end. */
typedef struct lace_key lace_key;

#define LACE_FINGERPRINT 20 /* bytes of a fingerprint's text, with its end */

/* Makes a new random key. Gives *ret_key. NOMEM. */
LACE_API lace_status lace_key_create(lace_key **ret_key);
/* Reads a key from a file that lace_key_save has written. EXPOSED when it belongs to another user or its mode lets
 * anybody else read or write it; MALFORMED when it holds no key, or is a symbolic link; SYSTEM, NOMEM. Gives. */
LACE_API lace_status lace_key_load(const char *path, lace_key **ret_key);
/* Writes the key into a new file of mode 0600: one line, "interlace-key-1:" and 48 characters of URL-safe base64 (the
 * key, and 4 bytes that tell a misspelt one). To share a key, copy its file. SYSTEM: EEXIST when the file is there. */
LACE_API lace_status lace_key_save(const lace_key *key, const char *path);
/* A short name of the key that gives nothing of it away, as "1f3a-9c02-77be-04d1". Valid while the key lives. */
LACE_API const char *lace_key_fingerprint(const lace_key *key);
/* Takes the key and wipes it. Channels that were made with it go on. */
LACE_API void lace_key_destroy(lace_key *key);

typedef struct lace_seal_options {
    const lace_key *key; /* borrowed during the call; both sides have the same */
    const char *label;   /* borrowed; what the channel is for, the same on both sides: a stream recorded from a channel
                          * with another label is FORGED here. NULL: "" */
    const char *name;    /* borrowed, as lace_pipe_sender's */
    uint32_t max_age;    /* see lace_sealed_receiver; 0: 60 */
} lace_seal_options;

/* As lace_pipe_sender and lace_pipe_receiver, with a seal, on a pipe or FIFO: there frames go one way only. `options`
 * is borrowed. Each sender made is a stream of its own, and several may write to one FIFO. The receiver gets END when
 * every stream that began has ended in due form and every writer has closed.
 *
 * Since nothing goes back, the receiver cannot ask whether a stream is a fresh one. It remembers every stream that
 * began while it lived, and refuses (REPLAYED) one that began more than `max_age` seconds before the receiver was
 * made, by the machine's clock. So what an attacker can do, who has recorded a whole stream and can write to the
 * FIFO, is to play it to a new receiver, once, within that time. And nobody can tell that a writer was there of whom
 * nothing at all has come through; only if nothing came from anybody is that TRUNCATED. On a socket neither can be.
 *
 * A forked child cannot use its parent's sealed ends: sending is UNSUPPORTED there, and closing them ends nothing.
 *
 * INVALID (a socket, or no key), NOMEM, SYSTEM. */
LACE_API lace_status lace_sealed_sender(int fd, const lace_seal_options *options, lace_sender **ret_sender);
LACE_API lace_status lace_sealed_receiver(int fd, const lace_seal_options *options, lace_receiver **ret_receiver);

typedef enum lace_role {
    LACE_ROLE_CLIENT = 1, /* by custom, who connects */
    LACE_ROLE_SERVER,     /* and who accepts */
} lace_role;

/* Makes both ends of a connection from a stream socket: what is sent here is received there. The two sides take
 * different roles. First they greet each other: an exchange of fresh keys (crypto_kx), authenticated by the shared
 * one, after which each knows that the other has it. A later thief of the key can read nothing that was sent before,
 * and nothing recorded can be played again. This waits as `wait` says: give it a deadline, a stranger may say nothing.
 * Takes `fd`. TIMEOUT, CANCELLED, INVALID, NOMEM, SYSTEM; WRONG_KEY, UNSEALED, FORGED, TRUNCATED (the other side left
 * in mid-greeting), REPLAYED, SPLICED (both sides have the same role). After a failure there is nothing that the
 * connection could still be used for. Closing one of the two ends ends its direction, not the other. */
LACE_API lace_status lace_sealed_socket(int fd, lace_role role, const lace_seal_options *options,
                                        const lace_wait *wait, lace_sender **ret_sender,
                                        lace_receiver **ret_receiver);

/* Closes the sender; if it is the last of a sealed channel, first waits until the stream has taken the word that it
 * ends, so that no receiver takes the end for TRUNCATED. lace_sender_close does this without waiting: it makes room in
 * a full pipe or socket, which the kernel allows unless the user has very many pipes open. On other channels the same
 * as lace_sender_close. TIMEOUT, CANCELLED, SYSTEM: not closed yet, but it may be that nothing more can be sent.
 * BROKEN, and all else: closed. */
LACE_API lace_status lace_sender_finish(lace_sender *sender, const lace_wait *wait);

/* ---- posts -------------------------------------------------------------------------------------------- */

/* A send that waits in its channel's line while its caller does something else: for event loops. Memory channels only.
 * One thread at a time may use a sender's posts. */
typedef struct lace_post lace_post;

/* Sends one message if that needs no waiting: OK. Otherwise leaves it in the line of those who wait to send, where
 * lace_send would wait, and returns TIMEOUT: it is sent when its turn comes, unless it is withdrawn before. Gives
 * *ret_post then, and only then: the payload's attachments are borrowed until the post has a result, and the sender must
 * outlive it. BROKEN, CLOSED, NOMEM, TOO_BIG, INVALID, CORRUPT, SYSTEM, UNSUPPORTED (a pipe): nothing was sent. */
LACE_API lace_status lace_post_send(lace_sender *sender, const lace_payload *payload, lace_post **ret_post);
/* What has become of it: TIMEOUT while it waits, then OK (the attachments have been taken), BROKEN, CLOSED or CORRUPT,
 * for good. Does not block. */
LACE_API lace_status lace_post_result(lace_post *post);
/* Takes it out of the line: CANCELLED when it was not sent and will not be; else the result that it has already. */
LACE_API lace_status lace_post_withdraw(lace_post *post);
/* Takes the post, and withdraws it if need be. */
LACE_API void lace_post_destroy(lace_post *post);

/* A descriptor that polls readable once a post of this sender has its result, until lace_sender_posts_seen is called,
 * which comes before asking the posts. It belongs to the sender. Borrowed. CLOSED, SYSTEM, UNSUPPORTED. */
LACE_API lace_status lace_sender_posts_fd(lace_sender *sender, int *ret_fd);
LACE_API void lace_sender_posts_seen(lace_sender *sender);

/* ---- endpoints with names ----------------------------------------------------------------------------- */

/* Sealed channels between processes that know nothing of each other but an address and the key: "pipe:PATH" is a FIFO,
 * one way, with any number of senders and one receiver; "unix:PATH" a Unix socket, with one side that listens and any
 * number that connect, each connection going both ways; "memory:NAME" the same through memory that the two processes
 * share, some 520 KiB for each connection. What is opened here is always sealed; `options` (borrowed) are
 * those of a seal, where a NULL name stands for the address.
 *
 * A NAME is 1 to 64 letters, digits, '-', '_' and '.', with no '.' at its beginning. The two sides meet at a socket of that
 * name in $XDG_RUNTIME_DIR/interlace, or /run/user/UID/interlace where that is not set, or ~/.interlace where there is
 * neither: a folder of mode 0700, made if need be. What a side writes into the memory that cannot be is FORGED at the
 * other one, for good; the memory is trusted as little as what comes through a socket.
 *
 * The file is made by whoever comes first, with the mode 0600 whatever the umask is, and never appears half made. One
 * that is there already must be this user's, for nobody else, and no symbolic link. The processes at both sides of a
 * socket must be the same user's: FOREIGN.
 *
 * Any thread may call these, and a wait can be cancelled, as any. The errors they share: INVALID (lace_explain says
 * what is wrong with the address), MALFORMED (there is another kind of file), EXPOSED, SYSTEM, NOMEM, FORKED. */

/* Opens a FIFO for sending. Waits until somebody has it open for receiving; makes it if need be. Gives. TIMEOUT,
 * CANCELLED. */
LACE_API lace_status lace_open_sender(const char *address, const lace_seal_options *options, const lace_wait *wait,
                                      lace_sender **ret_sender);
/* Opens a FIFO for receiving, and makes it if need be. Does not wait: receiving does, also for the first sender. BUSY
 * while there is a receiver already, of this process or another. Gives. The FIFO stays when all have closed it. */
LACE_API lace_status lace_open_receiver(const char *address, const lace_seal_options *options,
                                        lace_receiver **ret_receiver);

/* Connects to a socket, or attaches to memory. Waits until somebody listens there, and has accepted and greeted: see
 * lace_sealed_socket(), also for the errors and for what it gives. FOREIGN. */
LACE_API lace_status lace_connect(const char *address, const lace_seal_options *options, const lace_wait *wait,
                                  lace_sender **ret_sender, lace_receiver **ret_receiver);

/* The side of a socket, or of memory, that listens. */
typedef struct lace_listener lace_listener;

/* Makes the socket and listens. One that a killed process has left there is replaced; BUSY when somebody listens at
 * it. Does not wait. Gives *ret_listener. */
LACE_API lace_status lace_listen(const char *address, const lace_seal_options *options, lace_listener **ret_listener);
/* Gives both ends of the next connection. Waits until somebody has connected and begun to greet, as `wait` says;
 * whoever connects and says nothing holds up nobody. The rest of the greeting is waited for whatever the deadline is,
 * 5 seconds at most: a deadline that passes just then costs no client its connection. TIMEOUT, CANCELLED, CLOSED.
 * Where somebody who connected was refused this says why: FOREIGN, and what lace_sealed_socket() says. Nothing has
 * become of the listener then: call it again. Several threads may wait at once. */
LACE_API lace_status lace_accept(lace_listener *listener, const lace_wait *wait, lace_sender **ret_sender,
                                 lace_receiver **ret_receiver);
/* A descriptor that polls readable when lace_accept() is worth a call, which may find nothing all the same. Borrowed;
 * do not read it. CLOSED. */
LACE_API lace_status lace_listener_fd(lace_listener *listener, int *ret_fd);
/* Its name, valid while it lives. */
LACE_API const char *lace_listener_name(const lace_listener *listener);
/* Listens no more, and removes the socket's file. Whoever waits in lace_accept() gets CLOSED. Connections go on. Does
 * not wait; may be repeated. */
LACE_API void lace_listener_close(lace_listener *listener);
LACE_API bool lace_listener_closed(lace_listener *listener);
/* Takes the listener, and closes it if need be. No call may be inside. */
LACE_API void lace_listener_destroy(lace_listener *listener);

/* ---- select ------------------------------------------------------------------------------------------- */

typedef enum lace_case_kind {
    LACE_CASE_RECV = 1, /* a message from `receiver` into `message` */
    LACE_CASE_SEND,     /* `payload` to `sender`, under lace_send's rules */
    LACE_CASE_ENDED,    /* every sender of `receiver`'s channel is gone, whatever is still queued */
    LACE_CASE_AT,       /* the time `at` has come */
    LACE_CASE_READABLE, /* the descriptor `fd` polls readable, has an error, or is no open one */
} lace_case_kind;

/* One case; all pointers are borrowed. */
typedef struct lace_case {
    lace_case_kind kind;
    lace_receiver *receiver;
    lace_message *message;
    lace_sender *sender;
    const lace_payload *payload;
    int64_t at;
    int fd;
} lace_case;

#define LACE_SELECT_PRIORITY 1u /* of several ready cases take the first in order, not a fair choice */

/* Waits until one of the cases can happen, makes exactly that one happen and stores its index. A RECV case whose
 * senders are all gone and a SEND case whose receivers are all gone are dropped from the choice; END when no case
 * is left. (AT, ENDED and READABLE cases are never dropped.) TIMEOUT, CANCELLED, INVALID, NOMEM, TOO_BIG, CORRUPT, SYSTEM;
 * CLOSED when an end of a case is closed by this side: none has happened then. */
LACE_API lace_status lace_select(const lace_case *cases, size_t count, unsigned flags, const lace_wait *wait,
                                 size_t *ret_index);

/* A choice that is waited on again and again: it stays registered with its channels, so that a wait costs what is
 * ready, not what is listed. RECV and ENDED cases of memory channels only (UNSUPPORTED otherwise); the ends must
 * outlive it; a case's `message` is ignored. One thread at a time may use it. Gives *ret_selector. */
typedef struct lace_selector lace_selector;
LACE_API lace_status lace_selector_create(const lace_case *cases, size_t count, lace_selector **ret_selector);
LACE_API lace_status lace_selector_wait(lace_selector *selector, unsigned flags, lace_message *message,
                                        const lace_wait *wait, size_t *ret_index);
LACE_API void lace_selector_destroy(lace_selector *selector);

#ifdef __cplusplus
}
#endif
#endif
