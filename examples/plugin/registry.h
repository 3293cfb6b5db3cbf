/* registry.h - which commands there are, and whose. Any thread may call these: plug-ins register in theirs. */
#ifndef REGISTRY_H
#define REGISTRY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct command {
    struct command *next;
    char *name, *help;
    size_t plugin; /* which one, in the application's list */
};

struct registry {
    pthread_mutex_t lock;  /* guards `first` and `next`; the rest of a command does not change */
    struct command *first; /* by name */
};

#define REGISTRY_INITIALIZER            \
    {                                   \
        PTHREAD_MUTEX_INITIALIZER, NULL \
    }

typedef enum registry_result { REGISTRY_DONE, REGISTRY_TAKEN, REGISTRY_NO_MEMORY } registry_result;

/* Makes it empty. False: the system has no lock for it. */
bool registry_init(struct registry *registry);
/* The strings are copied. TAKEN: there is such a command. */
registry_result registry_add(struct registry *registry, const char *name, const char *help, size_t plugin);
/* NULL: there is none. What it gives lives until the registry ends. */
const struct command *registry_find(struct registry *registry, const char *name);
/* The first one after `command`, the very first for NULL; NULL at the end. */
const struct command *registry_next(struct registry *registry, const struct command *command);
/* Ends it. No other thread may be at it. */
void registry_end(struct registry *registry);

#endif
