/* place.c - making places, attaching to them. */
#define _GNU_SOURCE
#include "place.h"

#include "bell.h"
#include "bury.h"
#include "descriptor.h"
#include "heap.h"
#include "hooks.h"
#include "seat.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct lace_place {
    struct lace_region *region;
    struct lace_seat *seat;
    uint64_t offset; /* of the seat */
    uint32_t number;
    int process; /* a pidfd; -1: none */
    lace_place *next;
    lace_place **link;
};

/* The host's: guards who takes which seat, the list of all places, and undoing what a child did. No lock of a region is
 * taken under it. */
static pthread_mutex_t seats_lock = PTHREAD_MUTEX_INITIALIZER;
static lace_place *places;

static atomic_bool attached; /* this process has a seat somewhere */

struct lace_seat *lace_seat_find(const struct lace_region *region, uint32_t number)
{
    if (number == 0 || number > LACE_SEATS)
        return NULL;
    /* Acquire: pairs with the release in lace_place_create, though the child's start is order enough. */
    uint64_t offset = atomic_load_explicit(&lace_region_front(region)->seats[number - 1], memory_order_acquire);
    struct lace_seat *seat = lace_region_at(region, offset, sizeof *seat, 64);

    return seat != NULL && seat->magic == LACE_SEAT_MAGIC ? seat : NULL;
}

/* ---- in the host -------------------------------------------------------------------------------------- */

static bool is_dead(const lace_place *place)
{
    struct pollfd polled = {.fd = place->process, .events = POLLIN};

    return place->process >= 0 && poll(&polled, 1, 0) == 1;
}

/* Somebody has waited for a lock for a while that a child has. */
static void rescue(struct lace_lock *lock, uint32_t owner)
{
    const unsigned char *at = (const unsigned char *)lock;
    struct lace_region *region = NULL;

    pthread_mutex_lock(&seats_lock);
    for (lace_place *each = places; each != NULL && region == NULL; each = each->next) {
        if (each->number != LACE_LANE_SEAT(owner) || at < each->region->base ||
            at >= each->region->base + each->region->size || !is_dead(each))
            continue;
        region = each->region;
        lace_bury_undo(region, each->seat);
    }
    pthread_mutex_unlock(&seats_lock);
    /* A channel's: who waits for one holds no other lock of the region. */
    if (region != NULL)
        lace_bury_channel(region, lock, owner);
}

/* Finds a free number for the place's seat, and lists it; false when there is none. */
static bool take_number(lace_place *place)
{
    struct lace_region *region = place->region;

    struct lace_front *front = lace_region_front(region);
    uint32_t number = 0;

    pthread_mutex_lock(&seats_lock);
    for (uint32_t i = 0; i < LACE_SEATS && number == 0; i++) {
        if (atomic_load_explicit(&front->seats[i], memory_order_relaxed) != 0)
            continue;
        number = i + 1;
        atomic_store(&front->bells[number].orders, 0);
        atomic_store_explicit(&front->seats[i], place->offset, memory_order_release);
    }
    place->number = number;
    if (number != 0) {
        place->next = places;
        place->link = &places;
        if (places != NULL)
            places->link = &place->next;
        places = place;
    }
    pthread_mutex_unlock(&seats_lock);
    return number != 0;
}

lace_status lace_place_create(lace_region *region, lace_place **ret_place)
{
    if (lace_forked())
        return LACE_FORKED;
    if (region == NULL || ret_place == NULL)
        return LACE_INVALID;
    if (region->seat != 0)
        return LACE_UNSUPPORTED;

    lace_heap_share(region);
    lace_status status = lace_bell_listen(region, NULL, NULL);
    if (status != LACE_OK)
        return status;
    struct lace_place *place = lace_allocate(sizeof *place);
    if (place == NULL)
        return LACE_NOMEM;
    atomic_store_explicit(&lace_lock_rescue, rescue, memory_order_release);
    uint64_t offset = lace_heap_allocate(region, sizeof(struct lace_seat), NULL);
    struct lace_seat *seat = lace_region_at(region, offset, sizeof *seat, 64);
    if (seat == NULL) {
        status = LACE_NOMEM;
        goto fail;
    }
    memset(seat, 0, sizeof *seat);
    seat->magic = LACE_SEAT_MAGIC;
    atomic_init(&seat->state, LACE_SEAT_RESERVED);
    *place = (struct lace_place){.region = region, .seat = seat, .offset = offset, .process = -1};
    if (!take_number(place)) {
        status = LACE_BUSY;
        goto fail;
    }
    lace_region_hold(region);
    *ret_place = place;
    return LACE_OK;

fail:
    lace_heap_free(region, offset, NULL);
    free(place);
    return status;
}

uint32_t lace_place_seat(const lace_place *place)
{
    return place->number;
}

lace_region *lace_place_region(const lace_place *place)
{
    return place->region;
}

int lace_region_descriptor(const lace_region *region)
{
    return region->fd;
}

uint32_t lace_region_seat(const lace_region *region)
{
    return region->seat;
}

lace_status lace_place_give(lace_place *place, const lace_attachment *gift)
{
    if (lace_forked())
        return LACE_FORKED;
    if (place == NULL || gift == NULL)
        return LACE_INVALID;
    struct lace_seat *seat = place->seat;
    if (seat->given == LACE_PLACE_GIFTS || atomic_load(&seat->state) != LACE_SEAT_RESERVED)
        return LACE_BUSY;

    lace_status status = lace_attached_hold(place->region, gift, &seat->gifts[seat->given]);
    if (status != LACE_OK)
        return status;
    seat->given++;
    lace_attachment_destroy(gift);
    return LACE_OK;
}

void lace_place_order(lace_place *place, uint32_t orders)
{
    if (lace_forked())
        return;
    lace_bell_ring(place->region, place->number, orders & ~LACE_BELL_LOOK);
}

lace_status lace_place_started(lace_place *place, pid_t pid)
{
    int process = lace_descriptor((int)syscall(SYS_pidfd_open, pid, 0));

    if (process < 0)
        return LACE_SYSTEM;
    pthread_mutex_lock(&seats_lock);
    place->process = process;
    pthread_mutex_unlock(&seats_lock);
    return LACE_OK;
}

void lace_place_bury(lace_place *place)
{
    if (lace_forked() || place == NULL)
        return;
    struct lace_region *region = place->region;
    pthread_mutex_lock(&seats_lock);
    lace_bury_undo(region, place->seat);
    pthread_mutex_unlock(&seats_lock);
    lace_bury_rest(region, place->seat, place->number);
    pthread_mutex_lock(&seats_lock);
    atomic_store_explicit(&lace_region_front(region)->seats[place->number - 1], 0, memory_order_release);
    *place->link = place->next;
    if (place->next != NULL)
        place->next->link = place->link;
    pthread_mutex_unlock(&seats_lock);
    place->seat->magic = 0;
    lace_heap_free(region, place->offset, NULL);
    if (place->process >= 0)
        close(place->process);
    free(place);
    lace_region_drop(region);
}

uint64_t lace_region_discarded(const lace_region *region)
{
    return atomic_load_explicit(&lace_region_front(region)->discarded, memory_order_relaxed);
}

/* ---- in the child ------------------------------------------------------------------------------------- */

lace_status lace_region_attach(int fd, uint32_t number, const lace_attach_options *options, lace_region **ret_region)
{
    struct lace_region *region;
    uint32_t expected = LACE_SEAT_RESERVED;

    if (fd < 0 || number == 0 || number > LACE_SEATS || ret_region == NULL)
        return LACE_INVALID;
    if (atomic_exchange(&attached, true))
        return LACE_BUSY;
    lace_status status = lace_region_map(fd, number, &region);
    if (status != LACE_OK)
        goto fail;
    struct lace_seat *seat = lace_seat_find(region, number);
    if (seat == NULL || !atomic_compare_exchange_strong(&seat->state, &expected, LACE_SEAT_TAKEN)) {
        lace_region_drop(region);
        status = LACE_INVALID;
        goto fail;
    }
    lace_lane_open(region, seat->lanes, number);
    status = lace_bell_listen(region, options != NULL ? options->ordered : NULL,
                              options != NULL ? options->context : NULL);
    if (status != LACE_OK) {
        lace_region_drop(region);
        goto fail;
    }
    *ret_region = region;
    return LACE_OK;

fail:
    atomic_store(&attached, false);
    return status;
}

lace_status lace_place_take(lace_region *region, lace_attachment *ret_gift)
{
    if (lace_forked())
        return LACE_FORKED;
    if (region == NULL || ret_gift == NULL)
        return LACE_INVALID;
    struct lace_seat *seat = lace_seat_find(region, region->seat);
    if (seat == NULL || seat->given > LACE_PLACE_GIFTS)
        return LACE_CORRUPT;
    if (seat->taken >= seat->given)
        return LACE_END;
    lace_status status = lace_attached_take(region, &seat->gifts[seat->taken], ret_gift);
    if (status == LACE_OK)
        seat->taken++;
    return status;
}
