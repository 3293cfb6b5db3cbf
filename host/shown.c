/* shown.c - texts as a terminal can show them. */
#include <string.h>

#include "host.h"
#include "shown.h"

/* The size of the character that the text begins with; *ret_shown: whether it can be shown. */
static size_t look(const char *text, bool *ret_shown)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t size = lace_utf8_sequence(p, strnlen(text, 4));
    Py_UCS4 character = p[0] & (size < 2 ? 0x7F : 0x7F >> size);
    for (size_t i = 1; i < size; i++)
        character = character << 6 | (p[i] & 0x3F);
    *ret_shown = size > 0 && Py_UNICODE_ISPRINTABLE(character);
    return size > 0 ? size : 1;
}

void lace_show(char *text, const char *kept)
{
    char *to = text;
    while (*text != '\0') {
        bool shown;
        size_t size = look(text, &shown);
        if (shown || strchr(kept, *text) != NULL) {
            memmove(to, text, size);
            to += size;
        } else {
            *to++ = '?';
        }
        text += size;
    }
    *to = '\0';
}

void lace_show_name(FILE *out, const char *before, const char *name)
{
    fprintf(out, "%s'", before);
    while (*name != '\0') {
        bool shown;
        size_t size = look(name, &shown);
        fwrite(shown ? name : "?", 1, shown ? size : 1, out);
        name += size;
    }
    fputc('\'', out);
}
