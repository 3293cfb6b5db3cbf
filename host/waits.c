/* waits.c - what the threads of an interpreter wait for now. */
#include "module.h"
#include "shown.h"

#include <time.h>

/* A clock that is late by some milliseconds, and costs a quarter of an exact one. */
static int64_t about_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void count(lace_waits *waits, int change)
{
    uint32_t now = atomic_load_explicit(&waits->count, memory_order_relaxed) + (uint32_t)change;
    atomic_store_explicit(&waits->count, now, memory_order_relaxed);
}

/* As the other figures: before what makes the wait known to others. */
static void show(const lace_waits *waits)
{
    lace_waits_shown *shown = waits->shown;
    if (__builtin_expect(shown == NULL, 1))
        return;
    atomic_store_explicit(&shown->parks, atomic_load_explicit(&waits->parks, memory_order_relaxed), memory_order_relaxed);
    atomic_store_explicit(&shown->since, atomic_load_explicit(&waits->since, memory_order_relaxed), memory_order_relaxed);
    atomic_store_explicit(&shown->count, atomic_load_explicit(&waits->count, memory_order_relaxed), memory_order_relaxed);
}

void lace_waits_begin(lace_waits *waits, lace_awaited *awaited)
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
    count(waits, +1);
    show(waits);
}

void lace_waits_end(lace_waits *waits, lace_awaited *awaited)
{
    count(waits, -1);
    show(waits);
    if (awaited->next != NULL)
        awaited->next->prev = awaited->prev;
    if (awaited->prev != NULL)
        awaited->prev->next = awaited->next;
    else
        waits->first = awaited->next;
}

static void describe_case(const lace_module *module, PyObject *object, FILE *out)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == module->receiver_type)
        lace_show_name(out, "recv on ", lace_receiver_name(lace_object_receiver(object)));
    else if (type == module->worker_type)
        lace_show_name(out, "the end of worker ", lace_object_worker(object)->name);
    else if (PyTuple_CheckExact(object) && Py_TYPE(PyTuple_GET_ITEM(object, 0)) == module->sender_type)
        lace_show_name(out, "send on ", lace_sender_name(lace_object_sender(PyTuple_GET_ITEM(object, 0))));
    else
        fputs(type == module->after_type ? "a timer" : "a descriptor", out);
}

void lace_awaited_describe(const lace_awaited *awaited, FILE *out)
{
    switch (awaited->operation) {
    case LACE_AWAITS_OTHER:
    case LACE_AWAITS_LOCK:
        fputs("something of Interlace's", out);
        break;
    case LACE_AWAITS_SEND:
        lace_show_name(out, "send on ", lace_sender_name(awaited->sender));
        break;
    case LACE_AWAITS_RECV:
        lace_show_name(out, "recv on ", lace_receiver_name(awaited->receiver));
        break;
    case LACE_AWAITS_WORK:
        lace_show_name(out, "work, on ", lace_receiver_name(awaited->receiver));
        break;
    case LACE_AWAITS_PERMIT:
        lace_show_name(out, "acquire on semaphore ", lace_receiver_name(awaited->receiver));
        break;
    case LACE_AWAITS_COUNT:
        lace_show_name(out, "counter ", lace_sender_name(awaited->sender));
        break;
    case LACE_AWAITS_SELECT:
        fputs("select over ", out);
        for (size_t i = 0; i < awaited->case_count; i++) {
            if (i > 0)
                fputs(", ", out);
            describe_case(lace_pywait_of(awaited)->module, awaited->cases[i], out);
        }
        break;
    case LACE_AWAITS_RESULT:
        lace_show_name(out, "the result of worker ", awaited->worker->name);
        break;
    case LACE_AWAITS_END:
        lace_show_name(out, "the end of worker ", awaited->worker->name);
        break;
    }
    if (awaited->timed)
        fputs(", for a limited time", out);
}
