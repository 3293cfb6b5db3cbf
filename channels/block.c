/* block.c - counted pieces of shared memory. */
#include "heap.h"
#include "hooks.h"
#include "message.h"

#include <stdlib.h>

#define HEADER 64 /* bytes before the data, which is aligned to 64 */

/* In front of the data. */
struct header {
    uint32_t magic; /* constant, until the count is nought */
    struct lace_lock
        lock;       /* guards the count; a leaf. A count alone could not be changed along with a child's record */
    uint64_t size;  /* constant */
    uint64_t count; /* handles and messages that hold the block */
    _Atomic uint32_t
        frozen; /* nobody writes to it any more. Relaxed: once set it stays, and only who has read the block's
                                memory asks */
};

struct lace_block {
    struct lace_region *region;
    uint64_t offset;
    unsigned char *data;
    size_t size;
    struct lace_attached *held;
};

/* The header at `offset`, checked; NULL for anything that is no block. *ret_size is the trusted size. */
static struct header *find(struct lace_region *region, uint64_t offset, size_t *ret_size)
{
    uint64_t room = lace_heap_size(region, offset);

    if (room < HEADER)
        return NULL;
    struct header *header = (struct header *)(region->base + offset);
    uint64_t size = header->size;
    if (header->magic != LACE_BLOCK_MAGIC || size > room - HEADER)
        return NULL;
    *ret_size = size;
    return header;
}

/* ---- handles ------------------------------------------------------------------------------------------ */

/* Makes a handle of nothing yet. */
static lace_status make_handle(struct lace_region *region, struct lace_block **ret_block)
{
    struct lace_block *block = lace_allocate(sizeof *block);

    if (block == NULL)
        return LACE_NOMEM;
    block->region = region;
    if (!lace_held_get(region, &block->held)) {
        free(block);
        return LACE_NOMEM;
    }
    *ret_block = block;
    return LACE_OK;
}

static void drop_handle(struct lace_block *block)
{
    lace_held_put(block->region, block->held);
    free(block);
}

static void fill_handle(struct lace_block *block, uint64_t offset, size_t size)
{
    block->offset = offset;
    block->data = block->region->base + offset + HEADER;
    block->size = size;
    lace_region_hold(block->region);
}

lace_status lace_block_create(lace_region *region, size_t size, lace_block **ret_block)
{
    struct lace_block *block;

    if (lace_forked())
        return LACE_FORKED;
    if (region == NULL || ret_block == NULL)
        return LACE_INVALID;
    if (size > region->size)
        return LACE_NOMEM;
    if (make_handle(region, &block) != LACE_OK)
        return LACE_NOMEM;
    uint64_t offset = lace_heap_allocate(region, HEADER + size, block->held);
    if (offset == 0) {
        drop_handle(block);
        return LACE_NOMEM;
    }

    struct header *header = (struct header *)(region->base + offset);
    header->magic = LACE_BLOCK_MAGIC;
    atomic_init(&header->lock.word, 0);
    header->size = size;
    header->count = 1;
    atomic_init(&header->frozen, 0);
    LACE_BEGIN();
    lace_held_change(block->held, LACE_ATTACH_BLOCK);
    LACE_END_SECTION();
    fill_handle(block, offset, size);
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

lace_status lace_block_hold(struct lace_region *region, uint64_t offset, struct lace_attached *held)
{
    size_t size;
    struct header *header = find(region, offset, &size);

    if (header == NULL)
        return LACE_CORRUPT;
    lace_lock_acquire(&header->lock);
    LACE_SET(header->count, header->count + 1);
    lace_held_set(held, LACE_ATTACH_BLOCK, 0, offset);
    lace_lock_release(&header->lock);
    return LACE_OK;
}

void lace_block_let_go(struct lace_region *region, uint64_t offset, struct lace_attached *held)
{
    size_t size;
    struct header *header = find(region, offset, &size);

    if (header == NULL)
        return;
    lace_lock_acquire(&header->lock);
    bool last = header->count == 1;
    if (header->count != 0)
        LACE_SET(header->count, header->count - 1);
    if (last)
        LACE_SET(header->magic, 0);
    lace_held_change(held, last ? LACE_HELD_CHUNK : LACE_ATTACH_NONE);
    lace_lock_release(&header->lock);
    if (last)
        lace_heap_free(region, offset, held);
}

/* Takes over a count that is held already, in `from`. */
lace_status lace_block_adopt(struct lace_region *region, struct lace_attached *from, lace_block **ret_block)
{
    struct lace_block *block;
    size_t size;

    if (find(region, from->offset, &size) == NULL)
        return LACE_CORRUPT;
    if (make_handle(region, &block) != LACE_OK)
        return LACE_NOMEM;
    LACE_BEGIN();
    lace_held_set(block->held, LACE_ATTACH_BLOCK, 0, from->offset);
    lace_held_change(from, LACE_ATTACH_NONE);
    LACE_END_SECTION();
    fill_handle(block, from->offset, size);
    *ret_block = block;
    return LACE_OK;
}

lace_status lace_block_open(struct lace_region *region, uint64_t offset, lace_block **ret_block)
{
    struct lace_block *block;
    size_t size;

    if (find(region, offset, &size) == NULL)
        return LACE_CORRUPT;
    if (make_handle(region, &block) != LACE_OK)
        return LACE_NOMEM;
    lace_status status = lace_block_hold(region, offset, block->held);
    if (status != LACE_OK) {
        drop_handle(block);
        return status;
    }
    fill_handle(block, offset, size);
    *ret_block = block;
    return LACE_OK;
}

lace_status lace_block_share(const lace_block *block, lace_block **ret_block)
{
    if (lace_forked())
        return LACE_FORKED;
    if (block == NULL || ret_block == NULL)
        return LACE_INVALID;
    return lace_block_open(block->region, block->offset, ret_block);
}

void lace_block_destroy(lace_block *block)
{
    if (lace_forked())
        return;
    if (block == NULL)
        return;
    struct lace_region *region = block->region;
    lace_block_let_go(region, block->offset, block->held);
    drop_handle(block);
    lace_region_drop(region);
}

void lace_block_freeze(lace_block *block)
{
    size_t size;
    struct header *header = block != NULL ? find(block->region, block->offset, &size) : NULL;

    if (header != NULL)
        atomic_store_explicit(&header->frozen, 1, memory_order_relaxed);
}

lace_status lace_block_find(lace_region *region, const void *data, size_t size, lace_block **ret_block)
{
    size_t found;

    if (lace_forked())
        return LACE_FORKED;
    if (region == NULL || ret_block == NULL || (uintptr_t)data < (uintptr_t)region->base + HEADER ||
        (uintptr_t)data - (uintptr_t)region->base >= region->size)
        return LACE_INVALID;
    uint64_t offset = (uintptr_t)data - (uintptr_t)region->base - HEADER;
    struct header *header = find(region, offset, &found);
    if (header == NULL || found != size || atomic_load_explicit(&header->frozen, memory_order_relaxed) == 0)
        return LACE_INVALID;
    return lace_block_open(region, offset, ret_block);
}

uint64_t lace_block_offset(const lace_block *block)
{
    return block->offset;
}

struct lace_region *lace_block_region(const lace_block *block)
{
    return block->region;
}
