/* heap.c - size classes, runs of spans, and giving empty memory back to the kernel.
 *
 * Locks: a class lock, then the heap lock, never the other way round. The kind and class of a span do not change
 * while a chunk in it is in use, so that freeing may read them without a lock.
 */
#include "heap.h"

#include "hooks.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
bool lace_heap_poisons = true;
#define POISON(pointer, size) (lace_heap_poisons && !is_shared(region) ? __asan_poison_memory_region(pointer, size) \
                                                                      : (void)0)
#define UNPOISON(pointer, size) __asan_unpoison_memory_region(pointer, size)
#else
#define POISON(pointer, size) ((void)0) /* the range is free */
#define UNPOISON(pointer, size) ((void)0)
#endif

#define PAGE ((uint64_t)4096)
#define TABLE (2 * PAGE) /* offset of the span table: behind the front */
#define CHUNK_ALIGN 64
#define GROWTH 16u   /* spans by which the heap grows at least */
#define RESERVE 384u /* free spans that keep their memory, 24 MiB: some large messages on their way and back */
#define LINK_SIZE 16 /* the part of a free chunk that stays readable: it holds the link */

_Static_assert(sizeof(struct lace_front) <= TABLE, "the front is two pages");

enum span_kind { SPAN_FREE, SPAN_SMALL, SPAN_LARGE, SPAN_INSIDE };

static const uint32_t sizes[LACE_HEAP_CLASSES] = {64,   128,  192,  256,  384,  512,   768,   1024,  1536,
                                                  2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768};

/* Other processes tell this one's sanitizer nothing of what they allocate and free. */
static inline bool is_shared(const struct lace_region *region)
{
    return atomic_load_explicit(&region->shared, memory_order_relaxed);
}

static struct lace_heap *heap_of(const struct lace_region *region)
{
    return &lace_region_front(region)->heap;
}

static struct lace_span *span_at(const struct lace_region *region, uint32_t number)
{
    return (struct lace_span *)(region->base + TABLE) + number;
}

static uint64_t span_offset(const struct lace_region *region, uint32_t number)
{
    return region->first_span + number * LACE_SPAN_SIZE;
}

/* A span by its link (number + 1), or NULL for none and for nonsense. */
static struct lace_span *span_linked(const struct lace_region *region, uint32_t link)
{
    return link != 0 && link <= region->spans ? span_at(region, link - 1) : NULL;
}

static unsigned class_of(uint64_t size)
{
    unsigned class = 0;

    while (sizes[class] < size)
        class++;
    return class;
}

static unsigned bin_of(uint32_t run)
{
    return 31u - (unsigned)__builtin_clz(run);
}

/* ---- runs of spans, under the heap lock --------------------------------------------------------------- */

static void list_insert(struct lace_region *region, uint32_t *head, uint32_t number)
{
    struct lace_span *span = span_at(region, number);
    struct lace_span *next = span_linked(region, *head);

    LACE_SET(span->previous, 0);
    LACE_SET(span->next, next != NULL ? *head : 0);
    if (next != NULL)
        LACE_SET(next->previous, number + 1);
    LACE_SET(*head, number + 1);
}

static void list_remove(struct lace_region *region, uint32_t *head, uint32_t number)
{
    struct lace_span *span = span_at(region, number);
    struct lace_span *next = span_linked(region, span->next);
    struct lace_span *previous = span_linked(region, span->previous);

    if (next != NULL)
        LACE_SET(next->previous, span->previous);
    if (previous != NULL)
        LACE_SET(previous->next, span->next);
    else
        LACE_SET(*head, span->next);
    LACE_SET(span->next, 0);
    LACE_SET(span->previous, 0);
}

/* Makes spans [first, first + run) a free run, joined to nothing, and lists it. */
static void insert_free(struct lace_region *region, uint32_t first, uint32_t run)
{
    struct lace_span *head = span_at(region, first);
    struct lace_span *tail = span_at(region, first + run - 1);

    LACE_SET(head->kind, SPAN_FREE);
    LACE_SET(head->run, run);
    LACE_SET(tail->kind, SPAN_FREE);
    LACE_SET(tail->run, run);
    list_insert(region, &heap_of(region)->bins[bin_of(run)], first);
}

static void remove_free(struct lace_region *region, uint32_t first)
{
    list_remove(region, &heap_of(region)->bins[bin_of(span_at(region, first)->run)], first);
}

/* The number of spans ever used, whatever the region says. */
static uint32_t frontier_of(const struct lace_region *region)
{
    uint32_t frontier = heap_of(region)->frontier;

    return frontier <= region->spans ? frontier : region->spans;
}

/* Whether `number` heads a free run that lies whole within the frontier. */
static bool is_free_run(const struct lace_region *region, uint32_t number)
{
    const struct lace_span *span = span_at(region, number);

    return number < frontier_of(region) && span->kind == SPAN_FREE && span->run != 0 &&
           span->run <= frontier_of(region) - number;
}

/* Joins [first, first + run), which is in no list, with the free runs on both sides and lists the whole. */
static void join_free(struct lace_region *region, uint32_t first, uint32_t run)
{
    if (first > 0 && span_at(region, first - 1)->kind == SPAN_FREE) {
        uint32_t before = span_at(region, first - 1)->run;

        if (before != 0 && before <= first && is_free_run(region, first - before)) {
            remove_free(region, first - before);
            first -= before;
            run += before;
        }
    }
    if (first + run < frontier_of(region) && is_free_run(region, first + run)) {
        uint32_t behind = span_at(region, first + run)->run;

        remove_free(region, first + run);
        run += behind;
    }
    insert_free(region, first, run);
}

/* Backs the table's part for spans below `frontier`. */
static bool back_table(struct lace_region *region, uint32_t frontier)
{
    struct lace_heap *heap = heap_of(region);
    uint64_t need = ((uint64_t)frontier * sizeof(struct lace_span) + PAGE - 1) / PAGE * PAGE;

    if (need <= heap->table_backed)
        return true;
    if (!lace_region_back(region, TABLE + heap->table_backed, need - heap->table_backed))
        return false;
    atomic_store_explicit(&heap->backed, heap->backed + need - heap->table_backed, memory_order_relaxed);
    heap->table_backed = need;
    return true;
}

/* Puts memory behind those of [first, first + run) that have none. What has been backed before a failure stays so. */
static bool back_run(struct lace_region *region, uint32_t first, uint32_t run)
{
    struct lace_heap *heap = heap_of(region);
    uint32_t end = first + run;

    while (first < end) {
        uint32_t stop = first;

        while (stop < end && !span_at(region, stop)->backed)
            stop++;
        if (stop > first) {
            uint64_t size = (stop - first) * LACE_SPAN_SIZE;

            if (!lace_region_back(region, span_offset(region, first), size))
                return false;
            atomic_store_explicit(&heap->backed, heap->backed + size, memory_order_relaxed);
            heap->idle += stop - first;
            for (; first < stop; first++)
                span_at(region, first)->backed = 1;
        } else {
            first++;
        }
    }
    return true;
}

/* A listed free run of `run` spans or more: its number + 1, or 0. Looks at a bounded number of runs. */
static uint32_t find_free(struct lace_region *region, uint32_t run)
{
    struct lace_heap *heap = heap_of(region);
    unsigned bin = bin_of(run);
    uint32_t link = heap->bins[bin];

    for (int tries = 0; tries < 32 && link != 0 && link <= frontier_of(region); tries++) {
        if (!is_free_run(region, link - 1))
            return 0;
        if (span_at(region, link - 1)->run >= run)
            return link;
        link = span_at(region, link - 1)->next;
    }
    while (++bin < LACE_HEAP_BINS) {
        link = heap->bins[bin];
        if (link != 0 && link <= frontier_of(region))
            return is_free_run(region, link - 1) ? link : 0;
    }
    return 0;
}

/* Moves the frontier so that its end has a free run of `run` spans; backs a little more than is asked for. */
static bool grow(struct lace_region *region, uint32_t run)
{
    struct lace_heap *heap = heap_of(region);
    uint32_t left = region->spans - frontier_of(region);
    uint32_t step = run > GROWTH ? run : GROWTH;

    if (step > left)
        step = left;
    if (step == 0 || !back_table(region, frontier_of(region) + step))
        return false;

    uint32_t first = frontier_of(region);
    memset(span_at(region, first), 0, step * sizeof(struct lace_span));
    LACE_SET(heap->frontier, first + step);
    (void)back_run(region, first, step); /* take_run tries again with what it needs */
    join_free(region, first, step);
    return true;
}

/* Takes a run of spans with memory behind it: its number + 1, or 0. */
static uint32_t take_run(struct lace_region *region, uint32_t run)
{
    struct lace_heap *heap = heap_of(region);
    uint32_t link = find_free(region, run);

    if (link == 0) {
        if (!grow(region, run))
            return 0;
        link = find_free(region, run);
        if (link == 0)
            return 0;
    }

    uint32_t first = link - 1;
    uint32_t whole = span_at(region, first)->run;

    if (!back_run(region, first, run))
        return 0;
    remove_free(region, first);
    if (whole > run)
        insert_free(region, first + run, whole - run);
    heap->idle -= run;
    return link;
}

/* Gives a run back, and memory to the kernel when much of it lies idle. */
static void give_run(struct lace_region *region, uint32_t first, uint32_t run)
{
    struct lace_heap *heap = heap_of(region);

    heap->idle += run;
    if (heap->idle > RESERVE) {
        uint32_t many = heap->idle - RESERVE < run ? heap->idle - RESERVE : run;
        uint32_t from = first + run - many;

        /* Said first: a child that dies in between must not leave spans that seem to have memory. */
        for (uint32_t i = from; i < first + run; i++)
            span_at(region, i)->backed = 0;
        if (!lace_region_punch(region, span_offset(region, from), many * LACE_SPAN_SIZE)) {
            for (uint32_t i = from; i < first + run; i++)
                span_at(region, i)->backed = 1;
        } else {
            heap->idle -= many;
            atomic_store_explicit(&heap->backed, heap->backed - many * LACE_SPAN_SIZE, memory_order_relaxed);
        }
    }
    join_free(region, first, run);
}

/* ---- chunks, under the class lock --------------------------------------------------------------------- */

/* Takes a span for the class and lists it: its number + 1, or 0. Listed before the heap's lock is free: then all of it
 * is final. */
static uint32_t add_span(struct lace_region *region, unsigned class)
{
    struct lace_heap *heap = heap_of(region);

    lace_lock_acquire(&heap->lock);
    uint32_t link = take_run(region, 1);
    if (link != 0) {
        struct lace_span *span = span_at(region, link - 1);

        LACE_SET(span->kind, SPAN_SMALL);
        LACE_SET(span->class, (uint8_t)class);
        LACE_SET(span->taken, 0);
        LACE_SET(span->fresh, 0);
        LACE_SET(span->free, 0);
        list_insert(region, &heap->classes[class].partial, link - 1);
    }
    lace_lock_release(&heap->lock);
    return link;
}

static uint64_t allocate_small(struct lace_region *region, unsigned class, struct lace_attached *held)
{
    struct lace_class *home = &heap_of(region)->classes[class];
    uint32_t per_span = (uint32_t)(LACE_SPAN_SIZE / sizes[class]);
    uint64_t offset = 0;

    lace_lock_acquire(&home->lock);
    uint32_t link = home->partial;
    if (link == 0)
        link = add_span(region, class);
    struct lace_span *span = span_linked(region, link);
    if (span != NULL) {
        uint32_t chunk = span->free;

        if (chunk != 0 && chunk <= per_span) {
            chunk--;
            offset = span_offset(region, link - 1) + (uint64_t)chunk * sizes[class];
            LACE_KEEP(span->free);
            memcpy(&span->free, region->base + offset, sizeof span->free);
        } else if (span->fresh < per_span) {
            offset = span_offset(region, link - 1) + (uint64_t)span->fresh * sizes[class];
            LACE_SET(span->fresh, (uint16_t)(span->fresh + 1));
        }
        if (offset != 0)
            LACE_SET(span->taken, (uint16_t)(span->taken + 1));
        if (offset == 0 || span->taken >= per_span)
            list_remove(region, &home->partial, link - 1);
        if (offset != 0) {
            UNPOISON(region->base + offset, sizes[class]);
            atomic_fetch_add_explicit(&heap_of(region)->used, sizes[class], memory_order_relaxed);
            lace_held_set(held, LACE_HELD_CHUNK, 0, offset);
        }
    }
    lace_lock_release(&home->lock);
    return offset;
}

static void free_small(struct lace_region *region, uint32_t number, uint64_t offset, struct lace_attached *held)
{
    struct lace_heap *heap = heap_of(region);
    struct lace_span *span = span_at(region, number);
    unsigned class = span->class;
    struct lace_class *home = &heap->classes[class];
    uint32_t per_span = (uint32_t)(LACE_SPAN_SIZE / sizes[class]);

    lace_lock_acquire(&home->lock);
    if (span->taken == 0) { /* a damaged table */
        lace_lock_release(&home->lock);
        return;
    }
    memcpy(region->base + offset, &span->free, sizeof span->free);
    POISON(region->base + offset + LINK_SIZE, sizes[class] - LINK_SIZE);
    LACE_SET(span->free, (uint16_t)((offset - span_offset(region, number)) / sizes[class] + 1));
    LACE_SET(span->taken, (uint16_t)(span->taken - 1));
    if (span->taken == per_span - 1)
        list_insert(region, &home->partial, number);
    atomic_fetch_sub_explicit(&heap->used, sizes[class], memory_order_relaxed);
    lace_held_change(held, LACE_ATTACH_NONE);
    /* An empty span goes back, unless it is the last one that can give a chunk. */
    if (span->taken == 0 && (span->next != 0 || span->previous != 0)) {
        list_remove(region, &home->partial, number);
        UNPOISON(region->base + span_offset(region, number), LACE_SPAN_SIZE);
        lace_lock_acquire(&heap->lock);
        give_run(region, number, 1);
        lace_lock_release(&heap->lock);
    }
    lace_lock_release(&home->lock);
}

/* ---- the interface ------------------------------------------------------------------------------------ */

void lace_heap_lay_out(struct lace_region *region)
{
    uint64_t most = region->size / LACE_SPAN_SIZE;
    uint64_t table = most * sizeof(struct lace_span);

    region->first_span = (TABLE + table + LACE_SPAN_SIZE - 1) / LACE_SPAN_SIZE * LACE_SPAN_SIZE;
    region->spans = (uint32_t)((region->size - region->first_span) / LACE_SPAN_SIZE);
}

bool lace_heap_init(struct lace_region *region)
{
    lace_heap_lay_out(region);
    if (!lace_region_back(region, 0, TABLE))
        return false;
    atomic_store_explicit(&heap_of(region)->backed, TABLE, memory_order_relaxed);
    return true;
}

void lace_heap_share(struct lace_region *region)
{
    struct lace_heap *heap = heap_of(region);

    if (is_shared(region))
        return;
    for (unsigned i = 0; i < LACE_HEAP_CLASSES; i++)
        lace_lock_acquire(&heap->classes[i].lock);
    atomic_store_explicit(&region->shared, true, memory_order_relaxed);
    LACE_ORDER_HIDDEN();
    UNPOISON(region->base + region->first_span, (uint64_t)frontier_of(region) * LACE_SPAN_SIZE);
    for (unsigned i = LACE_HEAP_CLASSES; i > 0; i--)
        lace_lock_release(&heap->classes[i - 1].lock);
}

void lace_heap_finish(struct lace_region *region)
{
    /* Another mapping may come to lie here, with nobody to tell the sanitizer. */
    (void)region;
    UNPOISON(region->base + region->first_span, (uint64_t)frontier_of(region) * LACE_SPAN_SIZE);
}

uint64_t lace_heap_allocate(struct lace_region *region, uint64_t size, struct lace_attached *held)
{
    if (LACE_FAILS(LACE_FAULT_HEAP))
        return 0;
    if (size <= sizes[LACE_HEAP_CLASSES - 1])
        return allocate_small(region, class_of(size), held);

    struct lace_heap *heap = heap_of(region);
    uint64_t run = size / LACE_SPAN_SIZE + (size % LACE_SPAN_SIZE != 0);
    if (run > region->spans)
        return 0;

    lace_lock_acquire(&heap->lock);
    uint32_t link = take_run(region, (uint32_t)run);
    if (link != 0) {
        struct lace_span *head = span_at(region, link - 1);

        /* The first and the last of a free run say so; what is between says nothing. */
        LACE_KEEP(span_at(region, (uint32_t)(link - 2 + run))->kind);
        for (uint32_t i = 1; i < run; i++)
            span_at(region, link - 1 + i)->kind = SPAN_INSIDE;
        LACE_SET(head->kind, SPAN_LARGE);
        LACE_SET(head->run, (uint32_t)run);
        atomic_fetch_add_explicit(&heap->used, run * LACE_SPAN_SIZE, memory_order_relaxed);
        lace_held_set(held, LACE_HELD_CHUNK, 0, span_offset(region, link - 1));
    }
    lace_lock_release(&heap->lock);
    return link != 0 ? span_offset(region, link - 1) : 0;
}

uint64_t lace_heap_size(const struct lace_region *region, uint64_t offset)
{
    if (lace_region_at(region, offset, CHUNK_ALIGN, CHUNK_ALIGN) == NULL)
        return 0;

    uint64_t number = (offset - region->first_span) / LACE_SPAN_SIZE;
    uint64_t within = (offset - region->first_span) % LACE_SPAN_SIZE;
    if (number >= region->spans)
        return 0;

    const struct lace_span *span = span_at(region, (uint32_t)number);
    if (span->kind == SPAN_SMALL && span->class < LACE_HEAP_CLASSES) {
        uint32_t size = sizes[span->class];

        return within % size == 0 && within / size < LACE_SPAN_SIZE / size ? size : 0;
    }
    if (span->kind == SPAN_LARGE && within == 0 && span->run <= region->spans - number)
        return span->run * LACE_SPAN_SIZE;
    return 0;
}

void lace_heap_free(struct lace_region *region, uint64_t offset, struct lace_attached *held)
{
    uint64_t size = lace_heap_size(region, offset);

    if (size == 0)
        return;

    uint32_t number = (uint32_t)((offset - region->first_span) / LACE_SPAN_SIZE);
    if (span_at(region, number)->kind == SPAN_SMALL) {
        free_small(region, number, offset, held);
        return;
    }

    struct lace_heap *heap = heap_of(region);
    lace_lock_acquire(&heap->lock);
    give_run(region, number, (uint32_t)(size / LACE_SPAN_SIZE));
    atomic_fetch_sub_explicit(&heap->used, size, memory_order_relaxed);
    lace_held_change(held, LACE_ATTACH_NONE);
    lace_lock_release(&heap->lock);
}

void lace_heap_recount(struct lace_region *region)
{
    struct lace_heap *heap = heap_of(region);
    uint64_t used = 0;
    uint64_t backed = TABLE;
    uint32_t idle = 0;

    for (unsigned i = 0; i < LACE_HEAP_CLASSES; i++)
        lace_lock_acquire(&heap->classes[i].lock);
    lace_lock_acquire(&heap->lock);
    for (uint32_t i = 0; i < frontier_of(region);) {
        const struct lace_span *span = span_at(region, i);
        uint32_t run = span->kind == SPAN_FREE || span->kind == SPAN_LARGE ? span->run : 1;

        if (run == 0 || run > frontier_of(region) - i)
            break; /* a damaged table */
        if (span->kind == SPAN_SMALL && span->class < LACE_HEAP_CLASSES)
            used += (uint64_t)span->taken * sizes[span->class];
        else if (span->kind == SPAN_LARGE)
            used += run * LACE_SPAN_SIZE;
        for (uint32_t k = i; k < i + run; k++) {
            backed += span_at(region, k)->backed ? LACE_SPAN_SIZE : 0;
            idle += span->kind == SPAN_FREE && span_at(region, k)->backed;
        }
        i += run;
    }
    heap->idle = idle;
    atomic_store_explicit(&heap->used, used, memory_order_relaxed);
    atomic_store_explicit(&heap->backed, backed + heap->table_backed, memory_order_relaxed);
    lace_lock_release(&heap->lock);
    for (unsigned i = LACE_HEAP_CLASSES; i > 0; i--)
        lace_lock_release(&heap->classes[i - 1].lock);
}
