/* words.c - memory of a thread's own, made when it is first wanted. */
#include "words.h"

#include <pthread.h>
#include <stdlib.h>

static _Thread_local struct lace_words *own;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_exit; /* made once, like the next */
static bool at_exit_made;

static void forget(void *words)
{
    own = NULL;
    free(words);
}

static void make_key(void)
{
    at_exit_made = pthread_key_create(&at_exit, forget) == 0;
}

struct lace_words *lace_words_own(void)
{
    if (own != NULL)
        return own;
    pthread_once(&once, make_key);
    struct lace_words *made = at_exit_made ? calloc(1, sizeof *made) : NULL;
    if (made != NULL && pthread_setspecific(at_exit, made) != 0) {
        free(made);
        made = NULL;
    }
    own = made;
    return made;
}
