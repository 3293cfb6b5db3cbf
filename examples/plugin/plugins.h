/* plugins.h - plug-ins in Python: one worker each, commands that they offer, and how they are called. */
#ifndef PLUGINS_H
#define PLUGINS_H

#include <stddef.h>

struct plugins;

/* Loads every NAME.py of a folder; waits until all have been loaded, or have failed. Those are named on stderr, and the
 * others are there. NULL: nothing can be loaded at all, which has been said on stderr. */
struct plugins *plugins_load(const char *folder);

/* Calls `each` (borrowed) for every command, in the order of their names. */
void plugins_list(struct plugins *plugins, void (*each)(const char *command, const char *plugin, const char *help));

typedef enum plugins_result {
    PLUGINS_DONE,
    PLUGINS_FAILED,  /* named on stderr */
    PLUGINS_UNKNOWN, /* no plug-in offers such a command */
} plugins_result;

/* Has a command change a text. Gives the new text, to be freed. A plug-in that does not answer within seconds, or has
 * ended, is out from then on. */
plugins_result plugins_do(struct plugins *plugins, const char *command, const char *text, char **ret_text);

/* Ends the plug-ins, and the host with them. */
void plugins_unload(struct plugins *plugins);

#endif
