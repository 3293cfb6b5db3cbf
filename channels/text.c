/* text.c - texts that are cut to the room there is, between characters. */
#include "text.h"

#include <stdio.h>

/* The length of a text without the part of a character that it ends with. */
static size_t whole(const char *text, size_t length)
{
    size_t start = length; /* of the last character */

    while (start > 0 && length - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return length;
    unsigned char first = (unsigned char)text[start - 1];
    size_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
    return wanted > length - start + 1 ? start - 1 : length;
}

size_t lace_text_vprint(char *to, size_t room, const char *format, va_list arguments)
{
    int wanted = vsnprintf(to, room, format, arguments);

    if (wanted < 0)
        to[0] = '\0';
    if (wanted < 0 || (size_t)wanted < room)
        return wanted < 0 ? 0 : (size_t)wanted;
    size_t length = whole(to, room - 1);
    to[length] = '\0';
    return length;
}

size_t lace_text_print(char *to, size_t room, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    size_t length = lace_text_vprint(to, room, format, arguments);
    va_end(arguments);
    return length;
}
