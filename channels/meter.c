/* meter.c - what the waits of a thread took, in all. */
#include "meter.h"

_Thread_local struct lace_meter *lace_meter;

void lace_meter_read(const struct lace_meter *meter, int64_t now, uint64_t ret_waited[LACE_PURPOSES])
{
    for (int i = 0; i < LACE_PURPOSES; i++)
        ret_waited[i] = atomic_load_explicit(&meter->ended[i], memory_order_acquire);
    int64_t since = atomic_load_explicit(&meter->since, memory_order_acquire);
    uint32_t purpose = atomic_load_explicit(&meter->purpose, memory_order_relaxed);
    if (since != 0 && since < now && purpose < LACE_PURPOSES)
        ret_waited[purpose] += (uint64_t)(now - since);
}
