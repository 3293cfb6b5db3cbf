/* offers.h - what the application offers to its plug-ins: interlace.host.register(), .log() and .measure(). */
#ifndef OFFERS_H
#define OFFERS_H

#include "registry.h"

#include <interlace/interlace.h>

/* What the functions work on, and share: several plug-ins may call them at once. */
struct offers {
    struct registry registry;
    char *const *plugins; /* their names, which are those of their workers; constant */
    size_t count;
};

/* Exports the functions. `offers` is borrowed until the host is closed. */
lace_status offers_export(lace_host *host, struct offers *offers);

/* Writes each line of a text to the application's log, with the name of the plug-in it comes from. From any thread. */
void offers_log(const char *plugin, const char *text, size_t size);

#endif
