/* status.c - the text of each status, and the story behind the last one. */
#include "key.h"
#include "text.h"
#include "words.h"

#include <stdarg.h>

const char *lace_strerror(lace_status status)
{
    switch (status) {
#define LACE_STATUS_TEXT(name, text)                                                                           \
    case LACE_##name:                                                                                          \
        return text;
        LACE_STATUS_MAP(LACE_STATUS_TEXT)
#undef LACE_STATUS_TEXT
    }
    return "unknown status";
}

const char *lace_explain(lace_status status)
{
    const struct lace_words *own = status != LACE_OK ? lace_words_own() : NULL;

    return own != NULL && status == own->status ? own->story : lace_strerror(status);
}

void lace_explained(lace_status status, const char *format, ...)
{
    struct lace_words *own = lace_words_own();
    va_list arguments;

    if (own == NULL)
        return;
    va_start(arguments, format);
    lace_text_vprint(own->story, sizeof own->story, format, arguments);
    va_end(arguments);
    own->status = status;
}
