/* frame.c - cutting messages into chunks and putting them together. Trusts nothing that was read. */
#include "frame.h"

#include "hooks.h"
#include "seal.h"

#include <stdlib.h>
#include <string.h>

#define STAGE ((size_t)64 << 10)
#define WRITERS 256                    /* with a message underway */
#define HELD ((uint64_t)2 << 30)       /* bytes of messages underway */
#define FIRST_ROOM ((size_t)8 << 10)

/* One writer's message underway. */
struct lace_assembly {
    struct lace_assembly *next;
    uint64_t writer;
    uint64_t number;
    uint64_t total;
    uint64_t have;
    unsigned char *bytes;
    size_t room; /* grows with `have`, whatever `total` says */
};

size_t lace_chunk_make(unsigned char *to, size_t most, uint64_t writer, uint64_t number, const lace_payload *payload,
                       size_t offset, size_t *ret_data)
{
    size_t left = payload->size - offset;
    size_t room = most - sizeof(struct lace_chunk) - 1;
    size_t size = left < room ? left : room;
    struct lace_chunk chunk = {.magic = LACE_CHUNK_MAGIC,
                               .size = (uint16_t)size,
                               .writer = writer,
                               .number = number,
                               .total = payload->size,
                               .offset = offset};

    memcpy(to, &chunk, sizeof chunk);
    if (size != 0)
        memcpy(to + sizeof chunk, (const unsigned char *)payload->data + offset, size);
    to[sizeof chunk + size] = LACE_CHUNK_GOOD;
    *ret_data = size;
    return sizeof chunk + size + 1;
}

unsigned char *lace_reader_space(struct lace_reader *reader, size_t *ret_room)
{
    if (reader->staged == NULL) {
        reader->staged = lace_allocate(STAGE);
        if (reader->staged == NULL)
            return NULL;
    }
    if (reader->start == reader->end) {
        reader->start = reader->end = 0;
    } else if (reader->start != 0 && STAGE - reader->end < LACE_CHUNK_MOST) {
        memmove(reader->staged, reader->staged + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
    }
    *ret_room = STAGE - reader->end;
    return reader->staged + reader->end;
}

static struct lace_assembly **find(struct lace_reader *reader, uint64_t writer)
{
    struct lace_assembly **link = &reader->assemblies;

    while (*link != NULL && (*link)->writer != writer)
        link = &(*link)->next;
    return link;
}

static void drop_assembly(struct lace_reader *reader, struct lace_assembly **link)
{
    struct lace_assembly *assembly = *link;

    *link = assembly->next;
    reader->writers--;
    reader->held -= assembly->have;
    free(assembly->bytes);
    free(assembly);
}

/* Adds a chunk's data; NOMEM leaves the assembly as it was. */
static bool append(struct lace_reader *reader, struct lace_assembly *assembly, const unsigned char *data, size_t size)
{
    if (assembly->room - assembly->have < size) {
        uint64_t room = assembly->room == 0 ? FIRST_ROOM : (uint64_t)assembly->room * 2;

        if (room > assembly->total)
            room = assembly->total;
        unsigned char *bytes = LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : realloc(assembly->bytes, room);
        if (bytes == NULL)
            return false;
        assembly->bytes = bytes;
        assembly->room = room;
    }
    memcpy(assembly->bytes + assembly->have, data, size);
    assembly->have += size;
    reader->held += size;
    return true;
}

/* A message in one chunk goes straight into the container. */
static lace_status fill(lace_message *message, const unsigned char *data, size_t size)
{
    unsigned char *to = message->bytes;

    if (size > sizeof message->bytes) {
        if (message->room < size) {
            unsigned char *buffer = LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : malloc(size);
            if (buffer == NULL)
                return LACE_NOMEM;
            free(message->buffer);
            message->buffer = buffer;
            message->room = size;
        }
        to = message->buffer;
    }
    memcpy(to, data, size);
    message->data = to;
    message->size = size;
    message->weight = size;
    return LACE_OK;
}

/* Takes in a chunk that is not a message of its own. OK: that made a message whole. */
static lace_status assemble(struct lace_reader *reader, const struct lace_chunk *chunk, const unsigned char *data,
                            lace_message *message)
{
    struct lace_assembly **link = find(reader, chunk->writer);
    struct lace_assembly *assembly = *link;

    if (assembly == NULL) {
        if (chunk->offset != 0 || reader->writers >= WRITERS)
            return LACE_CORRUPT;
        assembly = lace_allocate(sizeof *assembly);
        if (assembly == NULL)
            return LACE_NOMEM;
        *assembly = (struct lace_assembly){.writer = chunk->writer, .number = chunk->number, .total = chunk->total};
        assembly->next = reader->assemblies;
        reader->assemblies = assembly;
        link = &reader->assemblies;
        reader->writers++;
    }
    if (chunk->number != assembly->number || chunk->total != assembly->total || chunk->offset != assembly->have ||
        reader->held + chunk->size > HELD)
        return LACE_CORRUPT;
    if (!append(reader, assembly, data, chunk->size)) {
        if (assembly->have == 0)
            drop_assembly(reader, link);
        return LACE_NOMEM;
    }
    if (assembly->have < assembly->total)
        return LACE_AGAIN;

    free(message->buffer);
    message->buffer = assembly->bytes;
    message->room = assembly->room;
    message->data = assembly->bytes;
    message->size = assembly->total;
    message->weight = assembly->total;
    assembly->bytes = NULL;
    drop_assembly(reader, link);
    return LACE_OK;
}

/* Looks at one chunk that is wholly staged. */
static lace_status take(struct lace_reader *reader, const struct lace_chunk *chunk, const unsigned char *data,
                        lace_message *message)
{
    unsigned char commit = data[chunk->size];
    struct lace_assembly **link = find(reader, chunk->writer);

    if (commit > LACE_CHUNK_GOOD)
        return LACE_CORRUPT;
    if (*link != NULL && (chunk->offset == 0 || commit == LACE_CHUNK_DROPPED))
        drop_assembly(reader, link); /* its sender gave it up */
    if (commit == LACE_CHUNK_DROPPED)
        return LACE_AGAIN;
    if (chunk->size == chunk->total)
        return fill(message, data, chunk->size);
    return assemble(reader, chunk, data, message);
}

/* Takes in the chunk that begins at `bytes`. *ret_length is how many of them it has; 0: more are needed. OK: that made a
 * message whole; AGAIN: it did not. */
static lace_status look(struct lace_reader *reader, const unsigned char *bytes, size_t size, lace_message *message,
                        size_t *ret_length)
{
    struct lace_chunk chunk;

    *ret_length = 0;
    if (size < sizeof chunk)
        return LACE_AGAIN;
    memcpy(&chunk, bytes, sizeof chunk);
    if (chunk.magic == LACE_RECORD_MAGIC || chunk.magic == LACE_GREETING_MAGIC)
        return LACE_UNSEALED;
    if (chunk.magic != LACE_CHUNK_MAGIC || chunk.flags != 0 || chunk.size > LACE_CHUNK_DATA ||
        chunk.total > LACE_FRAME_MOST || chunk.offset > chunk.total || chunk.size > chunk.total - chunk.offset ||
        (chunk.size == 0 && chunk.total != 0))
        return LACE_CORRUPT;
    size_t length = sizeof chunk + chunk.size + 1;
    if (size < length)
        return LACE_AGAIN;
    *ret_length = length;
    return take(reader, &chunk, bytes + sizeof chunk, message);
}

/* The next chunk of those that were sealed. As look(); *ret_more: it makes sense to come again. */
static lace_status look_sealed(struct lace_reader *reader, lace_message *message, bool *ret_more)
{
    struct lace_unsealed unsealed;
    size_t used;
    size_t length;
    lace_status status = lace_unsealer_next(reader->unsealer, reader->staged + reader->start,
                                            reader->end - reader->start, &used, &unsealed);

    reader->start += used;
    *ret_more = status == LACE_OK;
    if (status != LACE_OK)
        return status;
    if (unsealed.chunk == NULL) {
        struct lace_assembly **link = find(reader, unsealed.stream);

        if (*link != NULL)
            drop_assembly(reader, link); /* given up, and no other came after it */
        return LACE_AGAIN;
    }
    status = look(reader, unsealed.chunk, unsealed.size, message, &length);
    if (status == LACE_NOMEM)
        return status;
    lace_unsealer_taken(reader->unsealer);
    return length == unsealed.size || status == LACE_CORRUPT ? status : LACE_CORRUPT;
}

lace_status lace_reader_next(struct lace_reader *reader, lace_message *message)
{
    bool more = true;

    while (reader->over == LACE_OK && more) {
        lace_status status;

        if (reader->staged == NULL)
            return LACE_AGAIN;
        if (reader->unsealer != NULL) {
            status = look_sealed(reader, message, &more);
        } else {
            size_t length;

            status = look(reader, reader->staged + reader->start, reader->end - reader->start, message, &length);
            more = length != 0;
            if (status != LACE_NOMEM)
                reader->start += length;
        }
        if (status == LACE_OK || status == LACE_NOMEM)
            return status;
        if (status != LACE_AGAIN)
            reader->over = status;
    }
    if (reader->over == LACE_OK)
        return LACE_AGAIN;
    if (reader->unsealer != NULL)
        lace_unsealer_explain(reader->unsealer, reader->over);
    else if (reader->over == LACE_UNSEALED)
        lace_explained(LACE_UNSEALED, "the other side seals its frames, and this one has no key");
    return reader->over;
}

lace_status lace_reader_ended(struct lace_reader *reader)
{
    lace_status status = LACE_END;

    if (reader->unsealer != NULL) {
        status = lace_unsealer_ended(reader->unsealer, reader->end - reader->start);
        if (status != LACE_END) {
            reader->over = status;
            lace_unsealer_explain(reader->unsealer, status);
        }
    }
    while (reader->assemblies != NULL)
        drop_assembly(reader, &reader->assemblies);
    reader->start = reader->end = 0;
    return status;
}

lace_status lace_reader_damaged(struct lace_reader *reader, const char *story)
{
    reader->over = LACE_FORGED;
    reader->unsealer->story = story;
    lace_unsealer_explain(reader->unsealer, LACE_FORGED);
    return LACE_FORGED;
}

void lace_reader_finish(struct lace_reader *reader)
{
    while (reader->assemblies != NULL)
        drop_assembly(reader, &reader->assemblies);
    lace_unsealer_destroy(reader->unsealer);
    free(reader->staged);
    reader->staged = NULL;
}
