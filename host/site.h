/* site.h - where in Python a channel was made. */
#ifndef LACE_SITE_H
#define LACE_SITE_H

#include "host.h"

/* A line that has made channels. Never freed: a program has only so many. */
typedef struct lace_site {
    char *file, *function;
    int line;
} lace_site;

#define LACE_SITE_OUTCOME UINT32_MAX /* marks the channel that a worker's outcome comes from */
#define LACE_SITES_KEPT 64

/* Which site some places in code objects are; of one interpreter, guarded by its GIL. */
typedef struct lace_sites {
    struct {
        PyObject *code; /* counted; NULL: an empty place */
        int offset;     /* of the instruction */
        uint32_t number;
    } kept[LACE_SITES_KEPT];
} lace_sites;

/* The number of the line that calls; frames of our own do not count. 0: not known. With the GIL. */
uint32_t lace_site_here(lace_sites *sites);
void lace_sites_clear(lace_sites *sites);

/* In a child, before there is a site: its numbers are none of its host's, nor of another child's that is there, which know
 * nothing of them. */
void lace_site_number_from(unsigned seat);

/* Gives the site with that number, whose strings stay for ever; false: there is none. */
bool lace_site_find(uint32_t number, lace_site *ret_site);

#endif
