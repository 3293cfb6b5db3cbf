/* status.c - the text of each status. */
#include "channel.h"

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
