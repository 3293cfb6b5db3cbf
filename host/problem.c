/* problem.c - the sentence that each thread keeps about its last failure. */
#include "problem.h"
#include "value.h"
#include "../channels/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *lace_problem(void)
{
    const struct lace_words *own = lace_words_own();
    return own == NULL ? "out of memory" : own->problem[0] != '\0' ? own->problem : "there has been no problem";
}

/* What it names comes out of messages and from Python, and may have been cut: half of a character, and what cannot be
 * shown, becomes a '?'. */
static void make_readable(char *text)
{
    unsigned char *at = (unsigned char *)text;
    while (*at != '\0') {
        size_t size = *at < 0xc0 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
        bool shown = (*at >= ' ' && *at != 0x7f) || *at == '\n' || *at == '\t';
        if (!shown || strnlen((char *)at, size) < size || !lace_text_is_utf8(at, size) ||
            (*at == 0xed && at[1] >= 0xa0)) {
            *at = '?';
            size = 1;
        }
        at += size;
    }
}

lace_status lace_object(lace_status status, const char *format, ...)
{
    struct lace_words *own = lace_words_own();
    if (own == NULL)
        return status;
    char text[sizeof own->problem]; /* what was said before may be said in it again */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    make_readable(text);
    memcpy(own->problem, text, sizeof text);
    return status;
}
