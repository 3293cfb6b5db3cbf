/* meter.c - what the waits of a thread took, in all. */
#include "meter.h"

/* A reader comes too late when a whole wait, or more, went by meanwhile: hardly ever twice. No more often than that does it
 * begin anew with a meter that another process may write what it likes to. */
#define TRIES 1000

_Thread_local struct lace_meter *lace_meter;

void lace_meter_read(const struct lace_meter *meter, struct lace_reading *ret_reading)
{
    uint64_t turns = atomic_load_explicit(&meter->turns, memory_order_acquire), before;
    int tries = 0;

    do {
        before = turns;
        for (int i = 0; i < LACE_PURPOSES; i++)
            ret_reading->waited[i] = atomic_load_explicit(&meter->ended[turns / 2 % 2][i], memory_order_acquire);
        int64_t since = atomic_load_explicit(&meter->since, memory_order_acquire);
        uint32_t purpose = atomic_load_explicit(&meter->purpose, memory_order_acquire);
        ret_reading->now = lace_clock();
        ret_reading->waits = turns / 2;
        ret_reading->waiting = turns % 2 != 0;
        if (ret_reading->waiting && since > 0 && since < ret_reading->now && purpose < LACE_PURPOSES)
            ret_reading->waited[purpose] += (uint64_t)(ret_reading->now - since);
        turns = atomic_load_explicit(&meter->turns, memory_order_acquire);
    } while (turns != before && ++tries < TRIES);
}

int64_t lace_meter_since(const struct lace_meter *meter)
{
    return atomic_load(&meter->turns) % 2 != 0 ? atomic_load(&meter->since) : 0;
}

void lace_meter_stop(struct lace_meter *meter, int64_t now)
{
    int64_t since = atomic_load(&meter->since);
    uint32_t purpose = atomic_load(&meter->purpose);
    struct lace_meter *mine = lace_meter;

    if (atomic_load(&meter->turns) % 2 == 0)
        return;
    lace_meter = meter;
    lace_meter_end((enum lace_purpose)purpose, since, since > 0 && since < now ? now : since);
    lace_meter = mine;
}

void lace_meter_copy(struct lace_meter *to, const struct lace_meter *from)
{
    atomic_store(&to->since, atomic_load(&from->since));
    atomic_store(&to->purpose, atomic_load(&from->purpose));
    for (int sums = 0; sums < 2; sums++)
        for (int i = 0; i < LACE_PURPOSES; i++)
            atomic_store(&to->ended[sums][i], atomic_load(&from->ended[sums][i]));
    atomic_store(&to->turns, atomic_load(&from->turns));
}

void lace_shares_tell(uint64_t *told, const uint64_t *shares, size_t count)
{
    uint64_t owed = 0;

    for (size_t i = 0; i < count; i++)
        owed += shares[i] < told[i] ? told[i] - shares[i] : 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t more = shares[i] > told[i] ? shares[i] - told[i] : 0, paid = more < owed ? more : owed;

        told[i] += more - paid;
        owed -= paid;
    }
}
