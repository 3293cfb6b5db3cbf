/* heap.h - allocation inside a region.
 *
 * The region is cut into spans of 64 KiB. Requests up to half a span are chunks of a size class, cut from one span;
 * larger ones are runs of whole spans. Every chunk is aligned to 64 bytes. Any thread may allocate and free.
 */
#ifndef LACE_HEAP_H
#define LACE_HEAP_H

#include "held.h"

/* Works out where things are, from the region's size. */
void lace_heap_lay_out(struct lace_region *region);

/* Before a second process comes: no chunk is poisoned from now on. */
void lace_heap_share(struct lace_region *region);

/* Lays out a new region. False when not even its first pages can be backed. */
bool lace_heap_init(struct lace_region *region);

/* Before the region is unmapped. */
void lace_heap_finish(struct lace_region *region);

/* Memory of at least `size` bytes, its contents undefined: its offset, or 0 when there is none. A
 * child process names a free record, which is a CHUNK then; the host NULL. */
uint64_t lace_heap_allocate(struct lace_region *region, uint64_t size, struct lace_attached *held);

/* Takes what lace_heap_allocate gave; 0 does nothing, and so does an offset that it cannot have given. The record
 * is NONE then. */
void lace_heap_free(struct lace_region *region, uint64_t offset, struct lace_attached *held);

/* Counts anew what a child may have miscounted when it died. */
void lace_heap_recount(struct lace_region *region);

/* How many bytes there are at `offset`, 0 when it is not the start of memory in use. */
uint64_t lace_heap_size(const struct lace_region *region, uint64_t offset);

/* In builds with AddressSanitizer: whether what is free is out of bounds. A test that damages a region sets it to false
 * first, since a damaged offset may lead there, which has to be survived. */
extern bool lace_heap_poisons;

#endif
