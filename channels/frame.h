/* frame.h - messages as bytes in a stream: cut into chunks by the sender, put together by the receiver.
 *
 * A chunk is a header, up to LACE_CHUNK_DATA bytes of the message, and one commit byte. It is at most PIPE_BUF bytes
 * long, so that a pipe takes it whole or not at all and several writers cannot tear each other's. The receiver puts
 * together one message per writer at a time. A message that its sender gave up half-way is dropped when the same
 * writer's next one begins, or when a chunk comes whose commit byte says so (a socket may have taken half a chunk;
 * the rest must follow).
 *
 * No locks here: a reader belongs to whoever has the pipe's turn.
 */
#ifndef LACE_FRAME_H
#define LACE_FRAME_H

#include "message.h"

#define LACE_CHUNK_MOST 4096
#define LACE_CHUNK_MAGIC UINT32_C(0x314b484c) /* "LHK1" */
#define LACE_FRAME_MOST ((uint64_t)1 << 30)

enum { LACE_CHUNK_DROPPED, LACE_CHUNK_GOOD }; /* the commit byte */

/* In the byte order of the machine: a pipe does not leave it. */
struct lace_chunk {
    uint32_t magic;
    uint16_t flags; /* 0 */
    uint16_t size;  /* of the data */
    uint64_t writer;
    uint64_t number; /* of the writer's message */
    uint64_t total;  /* bytes of the message */
    uint64_t offset; /* where in it the data belongs */
};
_Static_assert(sizeof(struct lace_chunk) == 40, "the wire format");

#define LACE_CHUNK_DATA (LACE_CHUNK_MOST - sizeof(struct lace_chunk) - 1)

/* Writes the chunk at `offset` of a message into `to`, `most` bytes of it at most; returns its length. *ret_data is how
 * much of the message it has. */
size_t lace_chunk_make(unsigned char *to, size_t most, uint64_t writer, uint64_t number, const lace_payload *payload,
                       size_t offset, size_t *ret_data);

struct lace_assembly;
struct lace_unsealer;

struct lace_reader {
    unsigned char *staged; /* bytes read and not looked at yet: [start, end) */
    size_t start;
    size_t end;
    struct lace_assembly *assemblies; /* messages underway, one per writer */
    unsigned writers;
    uint64_t held; /* bytes in them */
    struct lace_unsealer *unsealer; /* opens what is staged; NULL: it is chunks as they are */
    lace_status over;               /* what ended it for good; OK: nothing yet */
};

/* Where to read to: NULL when there is no memory. *ret_room is above zero. */
unsigned char *lace_reader_space(struct lace_reader *reader, size_t *ret_room);
static inline void lace_reader_filled(struct lace_reader *reader, size_t count)
{
    reader->end += count;
}

/* The next whole message among the bytes staged, into an empty container. AGAIN: more bytes are needed; NOMEM: may be
 * repeated; `over` for good. */
lace_status lace_reader_next(struct lace_reader *reader, lace_message *message);

/* No more bytes will come, for now: END or TRUNCATED. Forgets what is not whole. */
lace_status lace_reader_ended(struct lace_reader *reader);
/* Of a sealed stream: what carries it is damaged. FORGED, for good, and `story` says why. */
lace_status lace_reader_damaged(struct lace_reader *reader, const char *story);
void lace_reader_finish(struct lace_reader *reader);

#endif
