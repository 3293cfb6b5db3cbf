/* unseal.c - the receiver's side of a seal: records into chunks, and the names of what can be wrong. Trusts nothing
 * that was read. */
#include "seal.h"

#include "hooks.h"

#include <string.h>

#define STREAMS 1024 /* open at once */
#define SEEN 4096    /* streams remembered; when there are more, the oldest sets the floor */
#define FIRST_SEEN 16
#define DEFAULT_AGE 60 /* seconds */
#define SECOND UINT64_C(1000000)

struct lace_stream {
    crypto_secretstream_xchacha20poly1305_state state;
    uint64_t id;
    uint64_t number; /* of the next record */
    struct lace_stream *next;
};

struct lace_seen {
    uint64_t began;
    uint8_t salt[LACE_SALT];
};

/* ---- making ------------------------------------------------------------------------------------------- */

lace_status lace_unsealer_create(const lace_key *key, const char *label, uint32_t max_age,
                                 struct lace_unsealer **ret_unsealer)
{
    struct lace_unsealer *unsealer = lace_allocate(sizeof *unsealer);
    uint64_t now = lace_seal_now();
    uint64_t age = (max_age != 0 ? max_age : DEFAULT_AGE) * SECOND;

    if (unsealer == NULL)
        return LACE_NOMEM;
    unsealer->master = lace_guarded_create(LACE_KEY_BYTES);
    if (unsealer->master == NULL) {
        free(unsealer);
        return LACE_NOMEM;
    }
    lace_seal_one_way_key(key, label, unsealer->master);
    memcpy(unsealer->key_id, lace_key_id(key), LACE_KEY_ID);
    unsealer->floor = now > age ? now - age : 0;
    *ret_unsealer = unsealer;
    return LACE_OK;
}

/* Adds a stream, its state still to be set. */
static lace_status add_stream(struct lace_unsealer *unsealer, uint64_t id, struct lace_stream **ret_stream)
{
    struct lace_stream *stream = unsealer->count < STREAMS ? lace_guarded_create(sizeof *stream) : NULL;

    if (stream == NULL)
        return LACE_NOMEM;
    stream->id = id;
    stream->number = 1;
    stream->next = unsealer->streams;
    unsealer->streams = stream;
    unsealer->count++;
    *ret_stream = stream;
    return LACE_OK;
}

static void drop_stream(struct lace_unsealer *unsealer, struct lace_stream **link)
{
    struct lace_stream *stream = *link;

    *link = stream->next;
    unsealer->count--;
    lace_guarded_destroy(stream);
}

void lace_unsealer_destroy(struct lace_unsealer *unsealer)
{
    if (unsealer == NULL)
        return;
    while (unsealer->streams != NULL)
        drop_stream(unsealer, &unsealer->streams);
    lace_guarded_destroy(unsealer->master);
    free(unsealer->seen);
    sodium_memzero(unsealer->chunk, sizeof unsealer->chunk);
    free(unsealer);
}

static lace_status check_confirm(struct lace_stream *stream, const struct lace_confirm *confirm,
                                 const unsigned char session[LACE_KEY_BYTES])
{
    const struct lace_record *record = &confirm->record;
    unsigned char tag;

    if (record->magic == LACE_CHUNK_MAGIC)
        return LACE_UNSEALED;
    if (record->magic != LACE_RECORD_MAGIC || record->kind != LACE_RECORD_CONFIRM)
        return LACE_FORGED;
    if (record->stream != stream->id)
        return LACE_REPLAYED; /* of another session: fresh keys make each stream's id a new one */
    if (crypto_secretstream_xchacha20poly1305_init_pull(&stream->state, confirm->header, session) != 0 ||
        crypto_secretstream_xchacha20poly1305_pull(&stream->state, NULL, NULL, &tag, confirm->proof, LACE_SEAL_ADDED,
                                                   (const unsigned char *)record, sizeof *record) != 0 ||
        tag != crypto_secretstream_xchacha20poly1305_TAG_MESSAGE || record->number != 0 ||
        record->size != LACE_CONFIRM_SIZE - sizeof *record || record->flags != 0)
        return LACE_FORGED;
    return LACE_OK;
}

lace_status lace_unsealer_confirm(unsigned char session[LACE_KEY_BYTES], uint64_t stream,
                                  const unsigned char confirm[LACE_CONFIRM_SIZE], struct lace_unsealer **ret_unsealer)
{
    struct lace_unsealer *unsealer = lace_allocate(sizeof *unsealer);
    struct lace_confirm copy = {.record.magic = 0};
    struct lace_stream *added;
    lace_status status = unsealer != NULL ? add_stream(unsealer, stream, &added) : LACE_NOMEM;

    memcpy(&copy, confirm, LACE_CONFIRM_SIZE);
    if (status == LACE_OK)
        status = check_confirm(added, &copy, session);
    sodium_memzero(session, LACE_KEY_BYTES);
    if (status == LACE_OK)
        *ret_unsealer = unsealer;
    else
        lace_unsealer_destroy(unsealer);
    return status;
}

/* ---- streams that begin ------------------------------------------------------------------------------- */

static bool was_seen(const struct lace_unsealer *unsealer, const struct lace_opening *opening)
{
    for (size_t i = 0; i < unsealer->seen_count; i++)
        if (memcmp(unsealer->seen[i].salt, opening->salt, LACE_SALT) == 0)
            return true;
    return false;
}

/* Room to remember one more. When there is no more to be had the oldest is forgotten, and none as old as it comes in
 * again. */
static lace_status make_room(struct lace_unsealer *unsealer)
{
    if (unsealer->seen_count < unsealer->seen_room)
        return LACE_OK;
    if (unsealer->seen_room < SEEN) {
        size_t room = unsealer->seen_room != 0 ? unsealer->seen_room * 2 : FIRST_SEEN;
        struct lace_seen *seen = LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : realloc(unsealer->seen, room * sizeof *seen);

        if (seen == NULL)
            return LACE_NOMEM;
        unsealer->seen = seen;
        unsealer->seen_room = room;
        return LACE_OK;
    }
    size_t oldest = 0;
    for (size_t i = 1; i < unsealer->seen_count; i++)
        if (unsealer->seen[i].began < unsealer->seen[oldest].began)
            oldest = i;
    unsealer->floor = unsealer->seen[oldest].began + 1;
    unsealer->seen[oldest] = unsealer->seen[--unsealer->seen_count];
    return LACE_OK;
}

static struct lace_stream **find(struct lace_unsealer *unsealer, uint64_t id)
{
    struct lace_stream **link = &unsealer->streams;

    while (*link != NULL && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

static lace_status take_opening(struct lace_unsealer *unsealer, const unsigned char *bytes)
{
    struct lace_opening opening;
    unsigned char secret[LACE_KEY_BYTES];
    struct lace_stream *stream;

    memcpy(&opening, bytes, sizeof opening);
    if (memcmp(opening.key_id, unsealer->key_id, LACE_KEY_ID) != 0) {
        memcpy(unsealer->other_id, opening.key_id, LACE_KEY_ID);
        return LACE_WRONG_KEY;
    }
    lace_opening_authenticate(&opening, unsealer->master, secret);
    if (sodium_memcmp(secret, opening.mac, LACE_MAC) != 0) {
        unsealer->story = "the opening of a stream does not fit its seal: it was damaged, or recorded from a channel "
                          "with another label";
        return LACE_FORGED;
    }
    if (was_seen(unsealer, &opening)) {
        unsealer->story = "a sealed stream that was received before is played again";
        return LACE_REPLAYED;
    }
    if (opening.began < unsealer->floor || opening.began > lace_seal_now() + DEFAULT_AGE * SECOND) {
        unsealer->story =
            "a sealed stream began at a time that may be long past, or is yet to come: it is an old one "
            "played again, or the clock was set";
        return LACE_REPLAYED;
    }
    if (*find(unsealer, opening.record.stream) != NULL) /* two streams of one id: chance does not do that */
        return LACE_SPLICED;
    lace_status status = make_room(unsealer);
    if (status == LACE_OK)
        status = add_stream(unsealer, opening.record.stream, &stream);
    if (status != LACE_OK)
        return status;
    struct lace_seen *seen = &unsealer->seen[unsealer->seen_count++];
    seen->began = opening.began;
    memcpy(seen->salt, opening.salt, LACE_SALT);
    lace_opening_derive(&opening, unsealer->master, secret);
    crypto_secretstream_xchacha20poly1305_init_pull(&stream->state, opening.header, secret);
    sodium_memzero(secret, sizeof secret);
    return LACE_OK;
}

/* ---- records ------------------------------------------------------------------------------------------ */

/* The header's own sense, before anything is looked up or waited for. */
static bool is_sane(const struct lace_unsealer *unsealer, const struct lace_record *record)
{
    size_t added = record->flags == LACE_RECORD_COMMITS ? 2 * LACE_SEAL_ADDED : LACE_SEAL_ADDED;

    if (record->kind == LACE_RECORD_OPENING)
        return unsealer->master != NULL && record->flags == 0 && record->number == 0 &&
               record->size == sizeof(struct lace_opening) - sizeof *record;
    if (record->kind == LACE_RECORD_END)
        return record->flags == 0 && record->size == LACE_SEAL_ADDED;
    return record->kind == LACE_RECORD_DATA && record->flags <= LACE_RECORD_COMMITS &&
           record->size >= sizeof(struct lace_chunk) + added && record->size <= LACE_RECORD_MOST - sizeof *record;
}

/* Opens the ciphertext of a record of a stream, and its commit. */
static lace_status open_record(struct lace_unsealer *unsealer, struct lace_stream *stream,
                               const struct lace_record *record, const unsigned char *bytes)
{
    const unsigned char *sealed = bytes + sizeof *record;
    bool commits = record->flags == LACE_RECORD_COMMITS;
    size_t size = record->size - (commits ? LACE_SEAL_ADDED : 0);
    unsigned char wanted = record->kind == LACE_RECORD_END ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
                                                           : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE;
    unsigned char commit = LACE_CHUNK_GOOD;
    unsigned char tag;

    if (crypto_secretstream_xchacha20poly1305_pull(&stream->state, unsealer->chunk, NULL, &tag, sealed, size, bytes,
                                                   sizeof *record) != 0 ||
        tag != wanted)
        return LACE_FORGED;
    if (commits) {
        if (crypto_secretstream_xchacha20poly1305_pull(&stream->state, NULL, NULL, &tag, sealed + size,
                                                       LACE_SEAL_ADDED, NULL, 0) != 0)
            return LACE_FORGED;
        commit = tag == crypto_secretstream_xchacha20poly1305_TAG_PUSH ? LACE_CHUNK_GOOD : LACE_CHUNK_DROPPED;
    }
    if (record->kind == LACE_RECORD_DATA) {
        struct lace_chunk chunk;

        size -= LACE_SEAL_ADDED;
        memcpy(&chunk, unsealer->chunk, sizeof chunk);
        /* Sealed by somebody who has the key, and yet nonsense. */
        if (chunk.writer != stream->id || chunk.size != size - sizeof chunk)
            return LACE_CORRUPT;
        unsealer->chunk[size] = commit;
        unsealer->pending = size + 1;
        unsealer->pending_stream = stream->id;
    }
    return LACE_OK;
}

/* A record of a stream that has begun. */
static lace_status take_record(struct lace_unsealer *unsealer, const struct lace_record *record,
                               const unsigned char *bytes, struct lace_unsealed *ret_unsealed)
{
    struct lace_stream **link = find(unsealer, record->stream);
    struct lace_stream *stream = *link;

    if (stream == NULL)
        return LACE_SPLICED;
    if (record->number != stream->number)
        return record->number < stream->number ? LACE_REPLAYED : LACE_REORDERED;
    lace_status status = open_record(unsealer, stream, record, bytes);
    if (status != LACE_OK)
        return status;
    stream->number++;
    *ret_unsealed = (struct lace_unsealed){.stream = record->stream};
    if (record->kind == LACE_RECORD_END) {
        drop_stream(unsealer, link);
        unsealer->heard = true;
    }
    return LACE_OK;
}

lace_status lace_unsealer_next(struct lace_unsealer *unsealer, const unsigned char *bytes, size_t size,
                               size_t *ret_used, struct lace_unsealed *ret_unsealed)
{
    *ret_used = 0;
    while (unsealer->pending == 0) {
        struct lace_record record;
        uint32_t magic;

        if (unsealer->master == NULL && unsealer->heard)
            return LACE_END; /* a socket has one stream */
        if (size < sizeof magic)
            return LACE_AGAIN;
        memcpy(&magic, bytes, sizeof magic);
        if (magic != LACE_RECORD_MAGIC)
            return magic == LACE_CHUNK_MAGIC ? LACE_UNSEALED : LACE_FORGED;
        if (size < sizeof record)
            return LACE_AGAIN;
        memcpy(&record, bytes, sizeof record);
        if (!is_sane(unsealer, &record))
            return LACE_FORGED;
        size_t length = sizeof record + record.size;
        if (size < length)
            return LACE_AGAIN;
        lace_status status = record.kind == LACE_RECORD_OPENING ? take_opening(unsealer, bytes)
                                                                : take_record(unsealer, &record, bytes, ret_unsealed);
        if (status != LACE_OK)
            return status;
        bytes += length;
        size -= length;
        *ret_used += length;
        if (record.kind == LACE_RECORD_END) {
            ret_unsealed->chunk = NULL;
            return LACE_OK;
        }
    }
    *ret_unsealed = (struct lace_unsealed){unsealer->chunk, unsealer->pending, unsealer->pending_stream};
    return LACE_OK;
}

lace_status lace_unsealer_ended(struct lace_unsealer *unsealer, size_t left)
{
    return unsealer->heard && unsealer->count == 0 && left == 0 ? LACE_END : LACE_TRUNCATED;
}

void lace_unsealer_explain(const struct lace_unsealer *unsealer, lace_status status)
{
    char ours[LACE_FINGERPRINT];
    char theirs[LACE_FINGERPRINT];

    if (status == LACE_WRONG_KEY) {
        lace_key_print(unsealer->key_id, ours);
        lace_key_print(unsealer->other_id, theirs);
        lace_explained(status, "the two sides have different keys (ours %s, theirs %s)", ours, theirs);
    } else if (status == LACE_UNSEALED) {
        lace_explained(status, "the other side does not seal its frames");
    } else {
        lace_explained(status, "%s", unsealer->story != NULL ? unsealer->story : lace_strerror(status));
    }
}
