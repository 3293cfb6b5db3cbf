/* hooks.c - the table behind hooks.h, in test builds only. */
#include "hooks.h"

#if LACE_HOOKS
struct lace_hooks lace_hooks;
#else
typedef int lace_hooks_are_compiled_out; /* ISO C wants a declaration in every file */
#endif
