/* cancel.c - cancel tokens: a tree of flags, each with the list of those who wait under it. */
#define _GNU_SOURCE
#include "cancel.h"

#include "fork.h"
#include "hooks.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lace_cancel {
    atomic_bool fired; /* set under the waiters' lock, never unset; the release pairs with the acquire in
                          lace_cancel_fired */
    struct lace_waiters waiters;
    int event; /* an eventfd, once somebody has asked for it, + 1; under the waiters' lock */
    /* The tree, under tree_lock. */
    lace_cancel *parent;
    lace_cancel *child;   /* the first */
    lace_cancel *sibling; /* the next, and what points here */
    lace_cancel **link;
};

/* Guards the links of all trees. It comes before the waiters' locks. Taken to create, destroy and fire only: never by
 * a wait. */
static pthread_mutex_t tree_lock = PTHREAD_MUTEX_INITIALIZER;

_Atomic(void (*)(void)) lace_usual_park;
_Atomic(void (*)(void)) lace_usual_unpark;

void lace_usual_wait(void (*park)(void), void (*unpark)(void))
{
    atomic_store_explicit(&lace_usual_unpark, unpark, memory_order_relaxed);
    atomic_store_explicit(&lace_usual_park, park, memory_order_relaxed);
}

void lace_waiters_add(struct lace_waiters *waiters, struct lace_waiter *waiter, struct lace_party *party)
{
    *waiter = (struct lace_waiter){.party = party, .previous = waiters->last, .listed = true};
    if (waiters->last != NULL)
        waiters->last->next = waiter;
    else
        waiters->first = waiter;
    waiters->last = waiter;
}

void lace_waiters_remove(struct lace_waiters *waiters, struct lace_waiter *waiter)
{
    if (!waiter->listed)
        return;
    if (waiter->next != NULL)
        waiter->next->previous = waiter->previous;
    else
        waiters->last = waiter->previous;
    if (waiter->previous != NULL)
        waiter->previous->next = waiter->next;
    else
        waiters->first = waiter->next;
    waiter->listed = false;
}

unsigned lace_waiters_claim(struct lace_waiters *waiters, unsigned most, lace_status status, struct lace_wakes *wakes)
{
    unsigned claimed = 0;

    for (struct lace_waiter *each = waiters->first; each != NULL && claimed < most; each = each->next) {
        if (lace_party_claim(NULL, each->party)) {
            lace_party_finish(NULL, each->party, LACE_NO_CASE, status, wakes);
            claimed++;
        }
    }
    return claimed;
}

bool lace_cancel_enter(lace_cancel *cancel, struct lace_waiter *waiter, struct lace_party *party)
{
    waiter->listed = false;
    if (cancel == NULL)
        return true;
    lace_lock_acquire(&cancel->waiters.lock);
    bool fired = atomic_load_explicit(&cancel->fired, memory_order_relaxed);
    if (!fired)
        lace_waiters_add(&cancel->waiters, waiter, party);
    lace_lock_release(&cancel->waiters.lock);
    return !fired;
}

void lace_cancel_leave(lace_cancel *cancel, struct lace_waiter *waiter)
{
    if (cancel == NULL)
        return;
    lace_lock_acquire(&cancel->waiters.lock);
    lace_waiters_remove(&cancel->waiters, waiter);
    lace_lock_release(&cancel->waiters.lock);
}

lace_status lace_cancel_create(lace_cancel *parent, lace_cancel **ret_cancel)
{
    if (lace_forked())
        return LACE_FORKED;
    if (ret_cancel == NULL)
        return LACE_INVALID;
    lace_cancel *cancel = lace_allocate(sizeof *cancel);
    if (cancel == NULL)
        return LACE_NOMEM;
    if (parent != NULL) {
        pthread_mutex_lock(&tree_lock);
        cancel->parent = parent;
        cancel->sibling = parent->child;
        cancel->link = &parent->child;
        if (cancel->sibling != NULL)
            cancel->sibling->link = &cancel->sibling;
        parent->child = cancel;
        /* A fire marks the whole tree under tree_lock: the parent's flag cannot be set behind our back. */
        atomic_store_explicit(&cancel->fired, lace_cancel_fired(parent), memory_order_relaxed);
        pthread_mutex_unlock(&tree_lock);
    }
    *ret_cancel = cancel;
    return LACE_OK;
}

/* After this nobody registers with the token any more. */
static void mark(lace_cancel *cancel)
{
    lace_lock_acquire(&cancel->waiters.lock);
    atomic_store_explicit(&cancel->fired, true, memory_order_release);
    if (cancel->event != 0)
        (void)eventfd_write(cancel->event - 1, 1);
    lace_lock_release(&cancel->waiters.lock);
    LACE_YIELD(LACE_POINT_CANCEL);
}

static void wake(lace_cancel *cancel)
{
    struct lace_wakes wakes = {.count = 0};

    lace_lock_acquire(&cancel->waiters.lock);
    lace_waiters_claim(&cancel->waiters, UINT_MAX, LACE_CANCELLED, &wakes);
    lace_lock_release(&cancel->waiters.lock);
    lace_wakes_flush(&wakes);
}

/* Calls `visit` with the token and all that are below it. With tree_lock held. */
static void visit_tree(lace_cancel *cancel, void (*visit)(lace_cancel *cancel))
{
    for (lace_cancel *each = cancel;;) {
        visit(each);
        if (each->child != NULL) {
            each = each->child;
            continue;
        }
        while (each != cancel && each->sibling == NULL)
            each = each->parent;
        if (each == cancel)
            return;
        each = each->sibling;
    }
}

void lace_cancel_fire(lace_cancel *cancel)
{
    if (lace_forked())
        return;
    if (cancel == NULL)
        return;
    pthread_mutex_lock(&tree_lock);
    /* Everybody is marked before the first one is woken: whoever sees what a cancelled thread does next, such as
     * closing its ends, finds itself cancelled too. */
    visit_tree(cancel, mark);
    visit_tree(cancel, wake);
    pthread_mutex_unlock(&tree_lock);
}

lace_status lace_cancel_fd(lace_cancel *cancel, int *ret_fd)
{
    if (cancel == NULL || ret_fd == NULL)
        return LACE_INVALID;
    lace_status status = LACE_OK;

    lace_lock_acquire(&cancel->waiters.lock);
    if (cancel->event == 0) {
        unsigned fired = atomic_load_explicit(&cancel->fired, memory_order_relaxed);
        int event = LACE_FAILS(LACE_FAULT_EVENTFD) ? (errno = EMFILE, -1)
                                                   : eventfd(fired, EFD_CLOEXEC | EFD_NONBLOCK);

        if (event < 0)
            status = LACE_SYSTEM;
        else
            cancel->event = event + 1;
    }
    if (status == LACE_OK)
        *ret_fd = cancel->event - 1;
    lace_lock_release(&cancel->waiters.lock);
    return status;
}

bool lace_cancel_fired(const lace_cancel *cancel)
{
    return cancel != NULL && atomic_load_explicit(&cancel->fired, memory_order_acquire);
}

void lace_cancel_destroy(lace_cancel *cancel)
{
    if (lace_forked())
        return;
    if (cancel == NULL)
        return;
    /* Waits for a fire of an ancestor that is just at this token. */
    pthread_mutex_lock(&tree_lock);
    if (cancel->parent != NULL) {
        *cancel->link = cancel->sibling;
        if (cancel->sibling != NULL)
            cancel->sibling->link = cancel->link;
    }
    pthread_mutex_unlock(&tree_lock);
    if (cancel->event != 0)
        close(cancel->event - 1);
    free(cancel);
}
