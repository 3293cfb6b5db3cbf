/* problem.c - the sentence that each thread keeps about its last failure. */
#include "problem.h"
#include "value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char problem[640] = "there has been no problem";

const char *lace_problem(void)
{
    return problem;
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
    char text[sizeof problem];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    make_readable(text);
    memcpy(problem, text, sizeof problem);
    return status;
}
