/* bell.c - ringing, and the thread that listens. */
#define _GNU_SOURCE
#include "bell.h"

#include "hooks.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

struct lace_listener {
    struct lace_region *region;
    void (*ordered)(void *context, uint32_t orders);
    void *context;
    pthread_t thread;
    atomic_bool quit;
};

/* A thread may be started once: guards `listener` of all regions while it is. */
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;

void lace_bell_ring(const struct lace_region *region, uint32_t seat, uint32_t orders)
{
    if (seat > LACE_SEATS)
        return;
    struct lace_bell *bell = &lace_region_front(region)->bells[seat];
    atomic_fetch_or(&bell->orders, orders);
    atomic_fetch_add(&bell->word, 1);
    lace_futex_wake(&bell->word, INT_MAX);
}

/* ---- what the thread does ----------------------------------------------------------------------------- */

/* Brings the notes of this process up to date where somebody else asked for it. With `watch` held. */
static void look_at_notes(struct lace_region *region)
{
    for (struct lace_end *end = region->noted; end != NULL; end = end->next_noted) {
        struct lace_note *note = lace_region_at(region, end->note, sizeof *note, 8);
        struct lace_wakes wakes = {.count = 0};

        /* Acquire: pairs with the release in lace_ring_notify; the rest is under the lock. */
        if (note == NULL || !atomic_load_explicit(&note->rung, memory_order_acquire))
            continue;
        lace_ring_lock(&end->view);
        lace_ring_unlock(&end->view, &wakes);
    }
}

/* Wakes those who sit in poll and have a result from another process. With `watch` held. */
static void look_at_parties(struct lace_region *region)
{
    for (struct lace_polled *polled = region->polled; polled != NULL; polled = polled->next) {
        if (lace_party_done(polled->party))
            (void)eventfd_write(polled->party->event, 1);
    }
}

static void *listen(void *context)
{
    struct lace_listener *self = context;
    struct lace_region *region = self->region;
    struct lace_bell *bell = &lace_region_front(region)->bells[region->seat];

    for (;;) {
        uint32_t seen = atomic_load(&bell->word);
        uint32_t orders = atomic_exchange(&bell->orders, 0);

        if (orders & LACE_BELL_LOOK) {
            pthread_mutex_lock(&region->watch);
            look_at_notes(region);
            look_at_parties(region);
            pthread_mutex_unlock(&region->watch);
            if (region->seat == 0)
                lace_orphans_drain(region);
        }
        if ((orders & ~LACE_BELL_LOOK) != 0 && self->ordered != NULL)
            self->ordered(self->context, orders & ~LACE_BELL_LOOK);
        if (atomic_load(&self->quit))
            return NULL;
        lace_futex_wait(&bell->word, seen, 0);
    }
}

/* ---- beginning and ending ----------------------------------------------------------------------------- */

/* Starts the thread without any signal: those are for threads of the program. */
static bool start(struct lace_listener *listener)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&listener->thread, NULL, listen, listener) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

lace_status lace_bell_listen(struct lace_region *region, void (*ordered)(void *context, uint32_t orders),
                             void *context)
{
    lace_status status = LACE_OK;

    pthread_mutex_lock(&starting);
    if (region->listener == NULL) {
        struct lace_listener *listener = lace_allocate(sizeof *listener);

        if (listener == NULL) {
            status = LACE_NOMEM;
        } else {
            listener->region = region;
            listener->ordered = ordered;
            listener->context = context;
            if (start(listener)) {
                region->listener = listener;
            } else {
                free(listener);
                status = LACE_NOMEM;
            }
        }
    }
    pthread_mutex_unlock(&starting);
    return status;
}

void lace_bell_hush(struct lace_region *region)
{
    struct lace_listener *listener = region->listener;

    if (listener == NULL)
        return;
    atomic_store(&listener->quit, true);
    lace_bell_ring(region, region->seat, 0);
    pthread_join(listener->thread, NULL);
    free(listener);
    region->listener = NULL;
}

/* ---- what it looks after ------------------------------------------------------------------------------ */

void lace_bell_mind(struct lace_end *end)
{
    struct lace_region *region = end->view.region;
    struct lace_wakes wakes = {.count = 0};

    pthread_mutex_lock(&region->watch);
    end->next_noted = region->noted;
    end->noted_link = &region->noted;
    if (end->next_noted != NULL)
        end->next_noted->noted_link = &end->next_noted;
    region->noted = end;
    /* The bell may have been rung for it already, and the thread not have found it. */
    lace_ring_lock(&end->view);
    lace_ring_unlock(&end->view, &wakes);
    pthread_mutex_unlock(&region->watch);
}

void lace_bell_forget(struct lace_end *end)
{
    struct lace_region *region = end->view.region;

    pthread_mutex_lock(&region->watch);
    *end->noted_link = end->next_noted;
    if (end->next_noted != NULL)
        end->next_noted->noted_link = end->noted_link;
    pthread_mutex_unlock(&region->watch);
}

void lace_bell_poll(struct lace_region *region, struct lace_polled *polled, struct lace_party *party)
{
    pthread_mutex_lock(&region->watch);
    *polled = (struct lace_polled){.party = party, .next = region->polled, .link = &region->polled};
    if (polled->next != NULL)
        polled->next->link = &polled->next;
    region->polled = polled;
    pthread_mutex_unlock(&region->watch);
}

void lace_bell_unpoll(struct lace_region *region, struct lace_polled *polled)
{
    pthread_mutex_lock(&region->watch);
    *polled->link = polled->next;
    if (polled->next != NULL)
        polled->next->link = polled->link;
    pthread_mutex_unlock(&region->watch);
}
