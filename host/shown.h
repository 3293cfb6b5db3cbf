/* shown.h - texts as a terminal can show them: what Python's str.isprintable() says no to becomes a '?', so that a name takes
 * one line and changes no terminal. The same in Python: python/interlace/_shown.py. */
#ifndef LACE_SHOWN_H
#define LACE_SHOWN_H

#include <stdio.h>

/* In place; the text may become shorter. The characters of `kept`, a string, stay. */
void lace_show(char *text, const char *kept);
/* Writes `before`, and then a name in quotes: "recv on 'numbers'". */
void lace_show_name(FILE *out, const char *before, const char *name);

#endif
