/* seal.h - sealed frames: chunks as records that only a holder of the key can have made, each in its place.
 *
 * A record is a header in the clear and one chunk of a message encrypted with crypto_secretstream_xchacha20poly1305,
 * the header authenticated along. It is at most PIPE_BUF bytes long, as the chunk would be without a seal. Each sender
 * is a stream with a key of its own, and a pipe may carry several, mixed record by record. What a stream's key comes
 * from is said in its first record:
 *
 *   on a pipe   an OPENING: a random salt and the time, with a MAC. Stream key = BLAKE2b(shared key; label), then
 *               BLAKE2b(that; the opening's fields).
 *   on a socket a greeting goes before (greeting.c), and the first record, a CONFIRM, proves that its sender has the
 *               session's key.
 *
 * A stream ends with an END, whose tag is FINAL.
 *
 * Giving up. A sender that stops in mid-record must let its rest follow later, and yet the message must not count. On
 * a pipe this cannot happen: a record goes as a whole. On a socket the last record of a message has a second, empty
 * ciphertext behind the first, the *commit*, which says whether the message counts; it is sealed again, to say no, as
 * long as no byte of it has left.
 *
 * No locks here: a sealer belongs to whoever has its pipe's turn, an unsealer to whoever reads (lace_pipe.io). In the
 * byte order of the machine, as chunks are.
 */
#ifndef LACE_SEAL_H
#define LACE_SEAL_H

#include "frame.h"
#include "key.h"

#include <sodium.h>

#define LACE_RECORD_MAGIC UINT32_C(0x3153484c)   /* "LHS1" */
#define LACE_GREETING_MAGIC UINT32_C(0x3147484c) /* "LHG1" */
#define LACE_RECORD_MOST LACE_CHUNK_MOST

enum lace_record_kind { LACE_RECORD_OPENING = 1, LACE_RECORD_CONFIRM, LACE_RECORD_DATA, LACE_RECORD_END };
enum { LACE_RECORD_COMMITS = 1 }; /* flags: a commit follows the chunk */

struct lace_record {
    uint32_t magic;
    uint8_t kind;
    uint8_t flags;
    uint16_t size; /* of what follows this header */
    uint64_t stream;
    uint64_t number; /* of the record in its stream */
};
_Static_assert(sizeof(struct lace_record) == 24, "the wire format");

#define LACE_SEAL_HEADER crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define LACE_SEAL_ADDED crypto_secretstream_xchacha20poly1305_ABYTES
#define LACE_SALT 16
#define LACE_MAC 16

struct lace_opening {
    struct lace_record record;
    uint8_t key_id[LACE_KEY_ID];
    uint64_t began; /* microseconds of CLOCK_REALTIME */
    uint8_t salt[LACE_SALT];
    uint8_t header[LACE_SEAL_HEADER];
    uint8_t mac[LACE_MAC];
};
_Static_assert(sizeof(struct lace_opening) == 96, "the wire format");

struct lace_confirm {
    struct lace_record record;
    uint8_t header[LACE_SEAL_HEADER];
    uint8_t proof[LACE_SEAL_ADDED]; /* an empty message */
};
#define LACE_CONFIRM_SIZE (sizeof(struct lace_record) + LACE_SEAL_HEADER + LACE_SEAL_ADDED)
_Static_assert(sizeof(struct lace_confirm) - LACE_CONFIRM_SIZE < 8, "padding at its end only");

#define LACE_END_SIZE (sizeof(struct lace_record) + LACE_SEAL_ADDED)

/* The most bytes of a chunk, its commit byte included, that a record has room for. */
#define LACE_SEALED_CHUNK (LACE_RECORD_MOST - sizeof(struct lace_record) - 2 * LACE_SEAL_ADDED + 1)

/* The key that a stream on a pipe derives its own from, and the two that it derives. */
void lace_seal_one_way_key(const lace_key *key, const char *label, unsigned char ret_master[LACE_KEY_BYTES]);
void lace_opening_authenticate(const struct lace_opening *opening, const unsigned char master[LACE_KEY_BYTES],
                               unsigned char ret_mac[LACE_MAC]);
void lace_opening_derive(const struct lace_opening *opening, const unsigned char master[LACE_KEY_BYTES],
                         unsigned char ret_key[LACE_KEY_BYTES]);
uint64_t lace_seal_now(void);
/* How often this process has come out of a fork: a change means that it is a child of the one before. */
unsigned lace_forks(void);

/* ---- sealing ------------------------------------------------------------------------------------------ */

struct lace_sealer_secrets;

struct lace_sealer {
    struct lace_sealer_secrets *secrets; /* guarded */
    uint64_t stream;
    uint64_t number; /* of the next record */
    uint8_t key_id[LACE_KEY_ID];
    bool socket;    /* a record may be taken in parts */
    bool opened;    /* the stream's first record has gone */
    bool ended;     /* and its last */
    bool torn;      /* a commit was given up half-way: the stream can never go on */
    unsigned forks; /* the process's count of forks when it was made */
    size_t commit;  /* where in the record last made its commit begins; 0: it has none */
    unsigned char chunk[LACE_CHUNK_MOST];
};

/* For a pipe. NOMEM. */
lace_status lace_sealer_create(const lace_key *key, const char *label, struct lace_sealer **ret_sealer);
/* For a socket: with the session's key, wiped afterwards, and stream id. Writes the CONFIRM. NOMEM. */
lace_status lace_sealer_confirm(unsigned char session[LACE_KEY_BYTES], uint64_t stream,
                                struct lace_sealer **ret_sealer, unsigned char ret_confirm[LACE_CONFIRM_SIZE]);
void lace_sealer_destroy(struct lace_sealer *sealer);

/* Whether frames can be sealed: OK; CLOSED after the end; TRUNCATED when torn; UNSUPPORTED in a forked child, which
 * must not use the same key for other frames. */
lace_status lace_sealer_check(const struct lace_sealer *sealer);

/* These write a record and return its length. A chunk's has the OPENING before it, until the caller says that this has
 * gone (`opened`): so that nobody is woken by an opening alone. */
size_t lace_sealer_open(struct lace_sealer *sealer, unsigned char *to);
size_t lace_sealer_chunk(struct lace_sealer *sealer, unsigned char to[LACE_RECORD_MOST], uint64_t number,
                         const lace_payload *payload, size_t offset, size_t *ret_data);
size_t lace_sealer_end(struct lace_sealer *sealer, unsigned char *to);

/* The chunk record last made, `record`, is given up after `written` of its bytes have gone. True: its rest must follow.
 * False: not; either it is as if it had never been made, or the stream is torn. */
bool lace_sealer_give_up(struct lace_sealer *sealer, unsigned char *record, size_t written);

/* ---- unsealing ---------------------------------------------------------------------------------------- */

struct lace_stream;
struct lace_seen;

struct lace_unsealer {
    unsigned char *master;       /* guarded; NULL on a socket */
    struct lace_stream *streams; /* open ones; each guarded */
    unsigned count;
    bool heard;             /* a stream has ended in due form */
    uint64_t floor;         /* streams that began earlier are refused; microseconds */
    struct lace_seen *seen; /* streams that have begun here */
    size_t seen_count;
    size_t seen_room;
    uint8_t key_id[LACE_KEY_ID];
    uint8_t other_id[LACE_KEY_ID]; /* after WRONG_KEY */
    const char *story;             /* what a failure was about; NULL: its status says it all */
    uint64_t pending_stream;
    size_t pending; /* bytes of the chunk that is open and not taken yet */
    unsigned char chunk[LACE_CHUNK_MOST];
};

/* What a record had: a chunk, or the end of a stream (chunk NULL). */
struct lace_unsealed {
    const unsigned char *chunk;
    size_t size;
    uint64_t stream;
};

/* For a pipe. NOMEM. */
lace_status lace_unsealer_create(const lace_key *key, const char *label, uint32_t max_age,
                                 struct lace_unsealer **ret_unsealer);
/* For a socket: with the session's key, wiped afterwards, the stream id that it must have, and its CONFIRM. NOMEM, and
 * how it fails. */
lace_status lace_unsealer_confirm(unsigned char session[LACE_KEY_BYTES], uint64_t stream,
                                  const unsigned char confirm[LACE_CONFIRM_SIZE],
                                  struct lace_unsealer **ret_unsealer);
void lace_unsealer_destroy(struct lace_unsealer *unsealer);

/* Looks at the records at the front of `bytes`. *ret_used, also when there is no more than that: how many bytes are
 * done with. AGAIN: more are needed; NOMEM: may be repeated; else it failed for good. After OK with a chunk the same
 * one comes again until it is taken. */
lace_status lace_unsealer_next(struct lace_unsealer *unsealer, const unsigned char *bytes, size_t size,
                               size_t *ret_used, struct lace_unsealed *ret_unsealed);
static inline void lace_unsealer_taken(struct lace_unsealer *unsealer)
{
    unsealer->pending = 0;
}

/* No more bytes will come; `left` of them are not done with. END or TRUNCATED. */
lace_status lace_unsealer_ended(struct lace_unsealer *unsealer, size_t left);

/* Has lace_explain tell about the failure. */
void lace_unsealer_explain(const struct lace_unsealer *unsealer, lace_status status);

#endif
