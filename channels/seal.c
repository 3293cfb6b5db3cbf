/* seal.c - the sender's side of a seal: chunks into records. */
#define _GNU_SOURCE
#include "seal.h"

#include "hooks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

typedef crypto_secretstream_xchacha20poly1305_state stream_state;

struct lace_sealer_secrets {
    stream_state state;
    stream_state before;                  /* the record last made */
    stream_state middle;                  /* before its commit */
    unsigned char master[LACE_KEY_BYTES]; /* until the stream is opened */
};

/* ---- keys of a stream --------------------------------------------------------------------------------- */

void lace_seal_one_way_key(const lace_key *key, const char *label, unsigned char ret_master[LACE_KEY_BYTES])
{
    static const char purpose[16] = "lace one way";

    lace_key_derive(key, purpose, label, ret_master);
}

/* BLAKE2b of the opening's fields up to, not including, `end`. */
static void hash_opening(const struct lace_opening *opening, size_t end, const unsigned char master[LACE_KEY_BYTES],
                         const unsigned char purpose[16], unsigned char *ret_hash, size_t size)
{
    crypto_generichash_blake2b_salt_personal(ret_hash, size, (const unsigned char *)opening, end, master,
                                             LACE_KEY_BYTES, NULL, purpose);
}

void lace_opening_authenticate(const struct lace_opening *opening, const unsigned char master[LACE_KEY_BYTES],
                               unsigned char ret_mac[LACE_MAC])
{
    static const unsigned char purpose[16] = "lace opening";

    hash_opening(opening, offsetof(struct lace_opening, mac), master, purpose, ret_mac, LACE_MAC);
}

void lace_opening_derive(const struct lace_opening *opening, const unsigned char master[LACE_KEY_BYTES],
                         unsigned char ret_key[LACE_KEY_BYTES])
{
    static const unsigned char purpose[16] = "lace stream key";

    hash_opening(opening, offsetof(struct lace_opening, header), master, purpose, ret_key, LACE_KEY_BYTES);
}

uint64_t lace_seal_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- forks -------------------------------------------------------------------------------------------- */

static _Atomic unsigned forks; /* changes in a child that has one thread; relaxed */

static void count_fork(void)
{
    atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

unsigned lace_forks(void)
{
    return atomic_load_explicit(&forks, memory_order_relaxed);
}

/* ---- making ------------------------------------------------------------------------------------------- */

static struct lace_sealer *make_sealer(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct lace_sealer *sealer = lace_allocate(sizeof *sealer);

    if (sealer == NULL)
        return NULL;
    sealer->secrets = lace_guarded_create(sizeof *sealer->secrets);
    if (sealer->secrets == NULL) {
        free(sealer);
        return NULL;
    }
    pthread_once(&once, watch_forks);
    sealer->forks = lace_forks();
    return sealer;
}

lace_status lace_sealer_create(const lace_key *key, const char *label, struct lace_sealer **ret_sealer)
{
    struct lace_sealer *sealer = make_sealer();

    if (sealer == NULL)
        return LACE_NOMEM;
    lace_seal_one_way_key(key, label, sealer->secrets->master);
    memcpy(sealer->key_id, lace_key_id(key), LACE_KEY_ID);
    randombytes_buf(&sealer->stream, sizeof sealer->stream);
    *ret_sealer = sealer;
    return LACE_OK;
}

void lace_sealer_destroy(struct lace_sealer *sealer)
{
    if (sealer == NULL)
        return;
    lace_guarded_destroy(sealer->secrets);
    sodium_memzero(sealer->chunk, sizeof sealer->chunk);
    free(sealer);
}

lace_status lace_sealer_check(const struct lace_sealer *sealer)
{
    if (sealer->forks != lace_forks())
        return LACE_UNSUPPORTED;
    if (sealer->torn) {
        lace_explained(LACE_TRUNCATED,
                       "the sealed stream was cut off: an earlier send was given up in the last bytes "
                       "of its frame");
        return LACE_TRUNCATED;
    }
    return sealer->ended ? LACE_CLOSED : LACE_OK;
}

/* ---- records ------------------------------------------------------------------------------------------ */

static struct lace_record make_record(struct lace_sealer *sealer, enum lace_record_kind kind, size_t size)
{
    return (struct lace_record){.magic = LACE_RECORD_MAGIC,
                                .kind = (uint8_t)kind,
                                .size = (uint16_t)size,
                                .stream = sealer->stream,
                                .number = sealer->number++};
}

size_t lace_sealer_open(struct lace_sealer *sealer, unsigned char *to)
{
    struct lace_sealer_secrets *secrets = sealer->secrets;
    struct lace_opening opening = {.began = lace_seal_now()};
    unsigned char key[LACE_KEY_BYTES];

    sealer->number = 0;
    opening.record = make_record(sealer, LACE_RECORD_OPENING, sizeof opening - sizeof opening.record);
    memcpy(opening.key_id, sealer->key_id, LACE_KEY_ID);
    randombytes_buf(opening.salt, sizeof opening.salt);
    lace_opening_derive(&opening, secrets->master, key);
    crypto_secretstream_xchacha20poly1305_init_push(&secrets->state, opening.header, key);
    sodium_memzero(key, sizeof key);
    lace_opening_authenticate(&opening, secrets->master, opening.mac);
    memcpy(to, &opening, sizeof opening);
    return sizeof opening;
}

lace_status lace_sealer_confirm(unsigned char session[LACE_KEY_BYTES], uint64_t stream,
                                struct lace_sealer **ret_sealer, unsigned char ret_confirm[LACE_CONFIRM_SIZE])
{
    struct lace_sealer *sealer = make_sealer();
    struct lace_confirm confirm;

    if (sealer != NULL) {
        sealer->stream = stream;
        sealer->socket = true;
        sealer->opened = true;
        confirm.record = make_record(sealer, LACE_RECORD_CONFIRM, sizeof confirm.header + sizeof confirm.proof);
        crypto_secretstream_xchacha20poly1305_init_push(&sealer->secrets->state, confirm.header, session);
        crypto_secretstream_xchacha20poly1305_push(&sealer->secrets->state, confirm.proof, NULL, NULL, 0,
                                                   (const unsigned char *)&confirm.record, sizeof confirm.record,
                                                   crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
        memcpy(ret_confirm, &confirm, LACE_CONFIRM_SIZE);
        *ret_sealer = sealer;
    }
    sodium_memzero(session, LACE_KEY_BYTES);
    return sealer != NULL ? LACE_OK : LACE_NOMEM;
}

/* Seals `size` bytes behind a header, which is authenticated along. */
static size_t seal(struct lace_sealer *sealer, unsigned char *to, const struct lace_record *record,
                   const unsigned char *data, size_t size, unsigned char tag)
{
    memcpy(to, record, sizeof *record);
    crypto_secretstream_xchacha20poly1305_push(&sealer->secrets->state, to + sizeof *record, NULL, data, size, to,
                                               sizeof *record, tag);
    return sizeof *record + size + LACE_SEAL_ADDED;
}

/* A commit: PUSH for a message that counts, MESSAGE for one that was given up. */
static void seal_commit(struct lace_sealer *sealer, unsigned char *to, bool counts)
{
    crypto_secretstream_xchacha20poly1305_push(&sealer->secrets->state, to, NULL, NULL, 0, NULL, 0,
                                               counts ? crypto_secretstream_xchacha20poly1305_TAG_PUSH
                                                      : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
}

size_t lace_sealer_chunk(struct lace_sealer *sealer, unsigned char to[LACE_RECORD_MOST], uint64_t number,
                         const lace_payload *payload, size_t offset, size_t *ret_data)
{
    struct lace_sealer_secrets *secrets = sealer->secrets;
    size_t start = sealer->opened ? 0 : lace_sealer_open(sealer, to);
    /* Without its commit byte: the record says that. */
    size_t size = lace_chunk_make(sealer->chunk, LACE_SEALED_CHUNK - start, sealer->stream, number, payload, offset,
                                  ret_data) -
                  1;
    bool commits = sealer->socket && offset + *ret_data == payload->size;

    secrets->before = secrets->state;
    struct lace_record record = make_record(sealer, LACE_RECORD_DATA,
                                            size + LACE_SEAL_ADDED + (commits ? LACE_SEAL_ADDED : 0));
    record.flags = commits ? LACE_RECORD_COMMITS : 0;
    size_t length = start + seal(sealer, to + start, &record, sealer->chunk, size,
                                 crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
    sealer->commit = 0;
    if (commits) {
        sealer->commit = length;
        secrets->middle = secrets->state;
        seal_commit(sealer, to + length, true);
        length += LACE_SEAL_ADDED;
    }
    return length;
}

size_t lace_sealer_end(struct lace_sealer *sealer, unsigned char *to)
{
    struct lace_record record = make_record(sealer, LACE_RECORD_END, LACE_SEAL_ADDED);

    sealer->ended = true;
    return seal(sealer, to, &record, NULL, 0, crypto_secretstream_xchacha20poly1305_TAG_FINAL);
}

bool lace_sealer_give_up(struct lace_sealer *sealer, unsigned char *record, size_t written)
{
    if (written == 0) {
        sealer->secrets->state = sealer->secrets->before;
        sealer->number--;
        return false;
    }
    if (sealer->socket && sealer->commit == 0)
        return true; /* the message is not whole without the records that do not follow now */
    if (!sealer->socket || written > sealer->commit) {
        sealer->torn = true;
        return false;
    }
    sealer->secrets->state = sealer->secrets->middle;
    seal_commit(sealer, record + sealer->commit, false);
    return true;
}
