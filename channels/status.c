/* status.c - the text of each status, and the story behind the last one. */
#include "key.h"

#include <stdarg.h>
#include <stdio.h>

/* What this thread's last failure with `status` was about. */
static _Thread_local struct {
    lace_status status;
    char text[512];
} story;

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
    return status != LACE_OK && status == story.status ? story.text : lace_strerror(status);
}

void lace_explained(lace_status status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(story.text, sizeof story.text, format, arguments);
    va_end(arguments);
    story.status = status;
}
