/* words.h - what each thread keeps of its last failures.
 *
 * In memory of its own: a library that is loaded late, such as an extension module, shares some 1.5 kB of static
 * thread-local memory with all others of that kind.
 */
#ifndef LACE_WORDS_H
#define LACE_WORDS_H

#include "channel.h"

struct lace_words {
    lace_status status; /* what `story` is about */
    char story[512];    /* for lace_explain() */
    char problem[640];  /* for lace_problem(); "": there has been none */
};

/* This thread's, all zero at first; NULL: no memory. They go when the thread ends. */
struct lace_words *lace_words_own(void);

#endif
