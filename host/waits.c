/* waits.c - what the threads of an interpreter wait for now. */
#include "host.h"

#include <time.h>

/* A clock that is late by some milliseconds, and costs a quarter of an exact one. */
static int64_t about_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void lace_waits_begin(lace_waits *waits, lace_awaited *awaited, bool own)
{
    awaited->thread = PyThreadState_GetUnchecked();
    awaited->since = about_now();
    awaited->prev = NULL;
    awaited->next = waits->first;
    if (awaited->next != NULL)
        awaited->next->prev = awaited;
    waits->first = awaited;
    atomic_store_explicit(&waits->parks, atomic_load_explicit(&waits->parks, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&waits->since, awaited->since, memory_order_relaxed);
    if (own)
        atomic_store_explicit(&waits->own, true, memory_order_relaxed);
}

void lace_waits_end(lace_waits *waits, lace_awaited *awaited, bool own)
{
    if (own)
        atomic_store_explicit(&waits->own, false, memory_order_relaxed);
    if (awaited->next != NULL)
        awaited->next->prev = awaited->prev;
    if (awaited->prev != NULL)
        awaited->prev->next = awaited->next;
    else
        waits->first = awaited->next;
}

const char *lace_operation_name(lace_operation operation)
{
    static const char *const names[] = {
        [LACE_AWAITS_OTHER] = "a wait of its own",
        [LACE_AWAITS_SEND] = "send on",
        [LACE_AWAITS_RECV] = "recv on",
        [LACE_AWAITS_PERMIT] = "acquire on",
        [LACE_AWAITS_COUNT] = "wait for the counter",
        [LACE_AWAITS_SELECT] = "select over",
        [LACE_AWAITS_RESULT] = "the result of worker",
        [LACE_AWAITS_END] = "the end of worker",
    };
    return names[operation];
}
