/* text.h - texts that are cut to the room there is, between characters. */
#ifndef LACE_TEXT_H
#define LACE_TEXT_H

#include <stdarg.h>
#include <stddef.h>

/* As snprintf(), but what does not fit is cut off at the beginning of a character of UTF-8, and the text's length is
 * returned: less than `room`. */
size_t lace_text_print(char *to, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));
size_t lace_text_vprint(char *to, size_t room, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

#endif
