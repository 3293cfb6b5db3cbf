/* greeting.h - how the two sides of a sealed socket come to the keys of their session. */
#ifndef LACE_GREETING_H
#define LACE_GREETING_H

#include "end.h"
#include "seal.h"

#define LACE_HELLO_SIZE 64 /* what each side says first; it begins with LACE_GREETING_MAGIC */

/* How the two sides greet each other. */
struct lace_manners {
    lace_role role;
    bool memory; /* what follows goes through memory, not through the socket: both sides have to want that */
    const lace_key *key;
    const char *label;
};

/* With a new end of a socket that nobody else has: greets, waiting as `wait` says. Gives what seals the frames sent and
 * what opens those received. */
lace_status lace_greet(struct lace_end *end, const struct lace_manners *manners, const lace_wait *wait,
                       struct lace_sealer **ret_sealer, struct lace_unsealer **ret_unsealer);

#endif
