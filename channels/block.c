/* block.c - counted pieces of shared memory. */
#include "heap.h"
#include "hooks.h"
#include "message.h"

#include <stdlib.h>

#define BLOCK_MAGIC UINT64_C(0x314b4c424543414c) /* "LACEBLK1" */
#define HEADER 64 /* bytes before the data, which is aligned to 64 */

/* In front of the data. */
struct header {
    uint64_t magic; /* constant */
    uint64_t size;  /* constant */
    /* Handles and messages that hold the block. A drop is a release, and the last one an acquire as well, so that all
     * uses lie before the memory is freed. */
    _Atomic uint64_t count;
};

struct lace_block {
    struct lace_region *region;
    uint64_t offset;
    struct header *header;
    unsigned char *data;
    size_t size;
};

/* The header at `offset`, checked; NULL for anything that is no block. *ret_size is the trusted size. */
static struct header *find(struct lace_region *region, uint64_t offset, size_t *ret_size)
{
    uint64_t room = lace_heap_size(region, offset);

    if (room < HEADER)
        return NULL;
    struct header *header = (struct header *)(region->base + offset);
    uint64_t size = header->size;
    if (header->magic != BLOCK_MAGIC || size > room - HEADER)
        return NULL;
    *ret_size = size;
    return header;
}

lace_status lace_block_create(lace_region *region, size_t size, lace_block **ret_block)
{
    if (lace_forked())
        return LACE_FORKED;
    if (region == NULL || ret_block == NULL)
        return LACE_INVALID;
    if (size > region->size)
        return LACE_NOMEM;

    lace_block *block = lace_allocate(sizeof *block);
    if (block == NULL)
        return LACE_NOMEM;
    uint64_t offset = lace_heap_allocate(region, HEADER + size);
    if (offset == 0) {
        free(block);
        return LACE_NOMEM;
    }

    struct header *header = (struct header *)(region->base + offset);
    header->magic = BLOCK_MAGIC;
    header->size = size;
    atomic_init(&header->count, 1);
    *block = (lace_block){.region = region,
                          .offset = offset,
                          .header = header,
                          .data = region->base + offset + HEADER,
                          .size = size};
    lace_region_hold(region);
    *ret_block = block;
    return LACE_OK;
}

void *lace_block_data(const lace_block *block)
{
    return block != NULL ? block->data : NULL;
}

size_t lace_block_size(const lace_block *block)
{
    return block != NULL ? block->size : 0;
}

lace_status lace_block_hold(struct lace_region *region, uint64_t offset)
{
    size_t size;
    struct header *header = find(region, offset, &size);

    if (header == NULL)
        return LACE_CORRUPT;
    atomic_fetch_add_explicit(&header->count, 1, memory_order_relaxed);
    return LACE_OK;
}

void lace_block_let_go(struct lace_region *region, uint64_t offset)
{
    size_t size;
    struct header *header = find(region, offset, &size);

    if (header == NULL || atomic_fetch_sub_explicit(&header->count, 1, memory_order_acq_rel) != 1)
        return;
    header->magic = 0;
    lace_heap_free(region, offset);
}

/* Takes over a count that is held already. */
lace_status lace_block_adopt(struct lace_region *region, uint64_t offset, lace_block **ret_block)
{
    size_t size;
    struct header *header = find(region, offset, &size);

    if (header == NULL)
        return LACE_CORRUPT;
    lace_block *block = lace_allocate(sizeof *block);
    if (block == NULL)
        return LACE_NOMEM;
    *block = (lace_block){.region = region,
                          .offset = offset,
                          .header = header,
                          .data = region->base + offset + HEADER,
                          .size = size};
    lace_region_hold(region);
    *ret_block = block;
    return LACE_OK;
}

lace_status lace_block_share(const lace_block *block, lace_block **ret_block)
{
    if (lace_forked())
        return LACE_FORKED;
    if (block == NULL || ret_block == NULL)
        return LACE_INVALID;

    lace_block *shared = lace_allocate(sizeof *shared);
    if (shared == NULL)
        return LACE_NOMEM;
    atomic_fetch_add_explicit(&block->header->count, 1, memory_order_relaxed);
    *shared = *block;
    lace_region_hold(shared->region);
    *ret_block = shared;
    return LACE_OK;
}

void lace_block_destroy(lace_block *block)
{
    if (lace_forked())
        return;
    if (block == NULL)
        return;
    lace_block_let_go(block->region, block->offset);
    lace_region_drop(block->region);
    free(block);
}

uint64_t lace_block_offset(const lace_block *block)
{
    return block->offset;
}

struct lace_region *lace_block_region(const lace_block *block)
{
    return block->region;
}
