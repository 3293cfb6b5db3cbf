/* numbered.h - messages that carry a number, and can be checked: short, long, or with a block and a sender. */
#ifndef LACE_TESTS_NUMBERED_H
#define LACE_TESTS_NUMBERED_H

#include "fixture.h"

#define NUMBERED_LARGE 5000

/* What `value` is sent as, in bytes[NUMBERED_LARGE] and attached[2], which the payload borrows. */
void numbered_payload(lace_region *region, uint64_t value, unsigned char *bytes, lace_attachment *attached,
                      lace_payload *payload);
/* Sends it, and waits. */
lace_status numbered_send(lace_region *region, lace_sender *sender, uint64_t value);
/* Checks that a message is whole, takes some of what is in it, and gives its number, which is below `most`. */
uint64_t numbered_check(lace_message *message, uint64_t most);

#endif
