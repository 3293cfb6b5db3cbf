/* key.h - shared keys inside: what other keys are derived from, and guarded memory for all of them. */
#ifndef LACE_KEY_H
#define LACE_KEY_H

#include "channel.h"

#define LACE_KEY_BYTES 32
#define LACE_KEY_ID 8 /* what two sides show each other to tell whether they have the same key */

/* Zeroed memory for secrets: between guard pages, kept out of swap and core dumps; NULL when there is none. */
void *lace_guarded_create(size_t size);
/* Wipes it and lets go of it; NULL is fine. */
void lace_guarded_destroy(void *memory);

/* One more key with the same secret; NULL when there is no memory. */
lace_key *lace_key_copy(const lace_key *key);

const unsigned char *lace_key_id(const lace_key *key);

/* Derives a key for one purpose (16 bytes of text that no other purpose has) and label (NULL: empty). */
void lace_key_derive(const lace_key *key, const char purpose[16], const char *label,
                     unsigned char ret_derived[LACE_KEY_BYTES]);

/* The text of a key's id. */
void lace_key_print(const unsigned char id[LACE_KEY_ID], char ret_text[LACE_FINGERPRINT]);

/* status.c: says in a sentence why this thread's call is about to fail with `status`. */
void lace_explained(lace_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
