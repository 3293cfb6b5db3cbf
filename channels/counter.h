/* counter.h - a number that threads change without waiting for each other, and wait for.
 *
 * A counter is a channel of one slot. The number lies in the channel's header. The slot holds one message, always the
 * same: the list of those who wait, each with the sender of a channel of its own. Who has received it may change it,
 * and sends it back, within a few instructions that wait for nothing else. So a counter lives as long as its ends,
 * and goes where they go.
 *
 * `number` and `awaited` of the channel's header: awaited is the least number that anybody waits for, INT64_MAX when
 * nobody does. Who has the list lowers `awaited` before he reads `number`; who changes `number` reads `awaited`
 * afterwards; all four sequentially consistent, so that at least one of them sees the other's.
 */
#ifndef LACE_COUNTER_H
#define LACE_COUNTER_H

#include "channel.h"

/* The ends are borrowed, and open. */
typedef struct lace_counter {
    lace_sender *sender;
    lace_receiver *receiver;
} lace_counter;

#define LACE_COUNTER_ANSWER 32 /* bytes of an answer, at most */

/* One who waits. */
typedef struct lace_counter_watch {
    int64_t at_least; /* the number it waits for */
    int64_t limit; /* from this number on it is answered only if number - limit >= at_least, and else its channel just
                       * ends; 0: there is no such limit */
    uint32_t size;
    unsigned char answer[LACE_COUNTER_ANSWER];
    uint32_t unused;
} lace_counter_watch;

/* Makes a counter. Gives both ends. INVALID, NOMEM. */
lace_status lace_counter_create(lace_region *region, int64_t number, const char *name, lace_sender **ret_sender,
                                lace_receiver **ret_receiver);

/* Whether these are the ends of one counter. */
bool lace_counter_is(lace_counter counter);

int64_t lace_counter_number(lace_counter counter);

/* Changes the number, and gives the new one; false, with nothing changed, when it would not fit. */
bool lace_counter_add(lace_counter counter, int64_t n, int64_t *ret_number);
void lace_counter_set(lace_counter counter, int64_t number);
/* Sets it to `wanted` if it is *expected; else false, and gives what it is in *expected. */
bool lace_counter_exchange(lace_counter counter, int64_t *expected, int64_t wanted);

/* Whether somebody waits for the present number, or a smaller one: lace_counter_settle is to be called. To be asked after
 * each change. */
bool lace_counter_due(lace_counter counter);
/* Answers those whose number has been reached. May wait for another thread that does the same, so not to be called
 * with a lock held. NOMEM, CORRUPT, CLOSED. */
lace_status lace_counter_settle(lace_counter counter);

/* Has the watch's answer sent, once, when the number is reached; at once if it is. Takes the sender, whose channel has
 * room for one message, also on failure. Without memory those who wait are given up: their channels end. Waits as
 * settle does. INVALID, NOMEM, CORRUPT, CLOSED. */
lace_status lace_counter_watch_for(lace_counter counter, const lace_counter_watch *watch, lace_sender *sender);

#endif
