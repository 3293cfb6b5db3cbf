/* spent.c - where a worker's time went, for those who compare what they are told with what they were told before.
 *
 * Whoever counts upwards (agents that scrape, people who subtract) takes what became less for a new beginning. But a worker's
 * own figures may become less by a little: it reads the clock for the beginning of a wait, and may lose its CPU before it
 * has written it down, so that meanwhile the wait counts as busy. Such a figure stays at what was told of it until it has
 * caught up, and the others, which had grown for it, grow by less: so the sum is right all the time. */
#include "ledger.h"

/* Its account as it stands now: the shares are together the time from its beginning until the returned moment, whatever a
 * process has written there. What was waited before or after the user's code finds no time to be counted in. */
static int64_t look(const lace_life *life, struct lace_reading *ret_reading, uint64_t ret_shares[LACE_SPENT_SHARES])
{
    int64_t ready = atomic_load(&life->tally->ready), finished = atomic_load(&life->tally->finished);
    int64_t began = atomic_load(&life->began), ended = atomic_load(&life->ended);
    lace_meter_read(&life->tally->meter, ret_reading);
    int64_t end = finished != 0 ? finished : ended != 0 ? ended : ret_reading->now;
    end = end < began ? began : end > ret_reading->now ? ret_reading->now : end;
    ready = ready == 0 || ready > end ? end : ready < began ? began : ready;
    uint64_t left = (uint64_t)(end - ready);
    ret_shares[LACE_SPENT_STARTING] = (uint64_t)(ready - began);
    for (int i = 0; i < LACE_PURPOSES; i++) {
        ret_shares[LACE_SPENT_WAITED + i] = ret_reading->waited[i] < left ? ret_reading->waited[i] : left;
        left -= ret_shares[LACE_SPENT_WAITED + i];
    }
    ret_shares[LACE_SPENT_BUSY] = left;
    return end;
}

const lace_spent *lace_life_spent(lace_life *life)
{
    lace_spent *told = &life->told;
    uint64_t shares[LACE_SPENT_SHARES], cpu = lace_life_cpu(life);
    struct lace_reading reading;
    int64_t end = look(life, &reading, shares);
    lace_shares_tell(told->shares, shares, LACE_SPENT_SHARES);
    told->end = end > told->end ? end : told->end;
    told->cpu = cpu > told->cpu ? cpu : told->cpu;
    told->waits = reading.waits > told->waits ? reading.waits : told->waits;
    told->waiting = reading.waiting;
    return told;
}
