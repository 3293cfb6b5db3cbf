/* held.c - the records of this process: tables of them, and those that are free. */
#include "held.h"

#include "heap.h"
#include "hooks.h"
#include "seat.h"

/* Guards the list of free records, which are linked by their offsets, and the seat's list of tables. Comes before the
 * locks of the region. The list itself means nothing to others: a record is in use when it has a kind. */
static pthread_mutex_t records_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t first_free;

/* Adds a table. */
static bool grow(struct lace_region *region)
{
    struct lace_seat *seat = lace_seat_find(region, region->seat);

    if (seat == NULL)
        return false;
    uint64_t offset = lace_heap_allocate(region, sizeof(struct lace_held_table), &seat->growing);
    struct lace_held_table *table = lace_region_at(region, offset, sizeof *table, 64);
    if (table == NULL)
        return false;
    for (size_t i = 0; i < LACE_HELD_RECORDS; i++) {
        table->records[i] = (struct lace_attached){.offset = first_free};
        first_free = lace_region_offset(region, &table->records[i]);
    }
    table->next = seat->tables;
    LACE_BEGIN();
    LACE_SET(seat->tables, offset);
    lace_held_change(&seat->growing, LACE_ATTACH_NONE);
    LACE_END_SECTION();
    return true;
}

bool lace_held_get(struct lace_region *region, struct lace_attached **ret_held)
{
    *ret_held = NULL;
    if (region == NULL || region->seat == 0)
        return true;
    pthread_mutex_lock(&records_lock);
    if (first_free != 0 || grow(region)) {
        *ret_held = lace_held_at(region, first_free);
        if (*ret_held != NULL)
            first_free = (*ret_held)->offset;
    }
    pthread_mutex_unlock(&records_lock);
    return *ret_held != NULL;
}

void lace_held_put(struct lace_region *region, struct lace_attached *held)
{
    if (held == NULL)
        return;
    pthread_mutex_lock(&records_lock);
    held->offset = first_free;
    first_free = lace_region_offset(region, held);
    pthread_mutex_unlock(&records_lock);
}
