/* problem.c - the sentence that each thread keeps about its last failure. */
#include "problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char problem[640] = "there has been no problem";

const char *lace_problem(void)
{
    return problem;
}

lace_status lace_object(lace_status status, const char *format, ...)
{
    char text[sizeof problem];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(problem, text, sizeof problem);
    return status;
}
