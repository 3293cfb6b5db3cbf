/* streams.h - what the suites of lace_value share: pickles as texts, random values, random pickles. */
#ifndef LACE_TESTS_STREAMS_H
#define LACE_TESTS_STREAMS_H

#include "../channels/fixture.h"

#include "../../host/interlace.h"

/* A pickle written as a C string, NULs and all. */
#define STREAM(text) (text), sizeof(text) - 1

/* Reads bytes that nothing travels with. */
lace_status read_stream(const void *data, size_t size, lace_value **ret_value);
/* Reads a pickle that must be good, and gives its value. */
lace_value *value_of(const void *data, size_t size);
/* Checks that the value's text is this one, and destroys it. */
void check_text(lace_value *value, const char *text);
/* Whether two values are equal. */
bool values_equal(const lace_value *a, const lace_value *b);
/* Writes a handle of the value and reads it again. */
lace_value *value_again(const lace_value *value);

/* A random value, its parts sometimes shared. */
lace_value *value_random(rng *random, unsigned depth);

/* A random stream made of opcodes, or a good one with something done to it. Gives its size, at most `room`. */
size_t stream_random(rng *random, unsigned char *data, size_t room);

#endif
