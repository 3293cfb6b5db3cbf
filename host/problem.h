/* problem.h - what lace_problem() says. */
#ifndef LACE_PROBLEM_H
#define LACE_PROBLEM_H

#include "interlace.h"

/* Has lace_problem() say it, and gives `status`. An argument may be what lace_problem() said before. */
lace_status lace_object(lace_status status, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

#endif
