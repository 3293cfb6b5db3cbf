/* wire.h - sealed streams as bytes: taken from the wire, changed, and played to a receiver. */
#ifndef LACE_TESTS_WIRE_H
#define LACE_TESTS_WIRE_H

#include "fixture.h"

#include "../../channels/seal.h"

/* Bytes on their way, and where its records begin in them (one more for the end). */
typedef struct wire {
    unsigned char *bytes;
    size_t size;
    size_t count;
    size_t at[64];
} wire;

/* The stream of a sender that sends messages of these sizes over a pipe and closes; the data of message i is all
 * 'a' + i % 26. Free it with wire_free. */
wire wire_of(const lace_seal_options *options, const size_t *sizes, size_t count);
wire wire_copy(const wire *copied);
void wire_free(wire *freed);
/* Appends records [from, to) of another. */
void wire_add(wire *to, const wire *from, size_t first, size_t last);
/* Adds bytes as they are; a damaged wire has no records. */
void wire_add_bytes(wire *to, const void *bytes, size_t size);
struct lace_record wire_record(const wire *of, size_t index);
/* How many of the messages are whole before a record, or before a byte. */
size_t wire_whole(const size_t *sizes, size_t count, size_t record);
size_t wire_whole_at(const wire *of, const size_t *sizes, size_t count, size_t byte);

/* What a receiver made of a wire. */
typedef struct outcome {
    size_t messages;
    lace_status status; /* that ended it */
} outcome;

/* Plays the bytes to a new receiver, and then the end of the file; checks that each message received is the next of
 * those of `sizes`, and that the status stays. */
outcome wire_play(const wire *played, const lace_seal_options *options, const size_t *sizes, size_t count);
/* The same with an end of their own: receives all there is. */
outcome wire_drain(lace_receiver *receiver, const size_t *sizes, size_t count);

#endif
