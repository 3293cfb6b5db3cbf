/* selector.c - a choice that stays registered: what is waited on again and again.
 *
 * The party is CLOSED between waits and while the owner looks around, and OPEN only while it waits. A channel that
 * gets something for a closed party queues it and sets the case's bit; for an open one it hands the message over. The
 * rule that makes this work: the party is opened under its lock, and only where no bit is set; and a bit is set under
 * that same lock, where the party was seen closed. A bit is cleared under the channel's lock (and the party's) where
 * the channel has nothing.
 *
 * So a wait costs a look at the bitmap's summary and one try for each bit, however many cases there are.
 */
#include "bits.h"
#include "cancel.h"
#include "confirm.h"
#include "heap.h"
#include "hooks.h"

#include <stdlib.h>
#include <string.h>

struct lace_selector {
    struct lace_region *region;
    struct lace_end **ends; /* one per case */
    bool *ended;            /* per case: an ENDED case */
    bool *dead;             /* per case: dropped */
    uint32_t count;
    uint32_t alive;
    enum lace_purpose purpose; /* of its waits */
    uint32_t turn; /* where the next fair look begins */
    struct lace_party *party;
    struct lace_node *nodes;
    struct lace_bits bits;
    uint64_t memory; /* in the region: party, nodes, bits */
    struct lace_attached *held;    /* a child's record of that */
    bool redelivers;               /* some case receives from a channel that does */
    struct lace_asking asking;     /* for those */
    struct lace_attached *message; /* and of a message that is handed over to it */
};

/* ---- making and ending -------------------------------------------------------------------------------- */

static lace_status check(const lace_case *cases, size_t count)
{
    const struct lace_region *region = NULL;

    for (size_t i = 0; i < count; i++) {
        if (cases[i].kind == LACE_CASE_SEND || cases[i].kind == LACE_CASE_AT)
            return LACE_UNSUPPORTED;
        if ((cases[i].kind != LACE_CASE_RECV && cases[i].kind != LACE_CASE_ENDED) || cases[i].receiver == NULL)
            return LACE_INVALID;
        const struct lace_end *end = &cases[i].receiver->end;
        if (end->pipe != NULL)
            return LACE_UNSUPPORTED;
        if (region != NULL && region != end->view.region)
            return LACE_INVALID;
        if (lace_end_closed(end))
            return LACE_CLOSED;
        region = end->view.region;
    }
    return LACE_OK;
}

/* Whether a case receives from a channel that redelivers. */
static bool receives_again(const struct lace_selector *selector, uint32_t i)
{
    return selector->redelivers && !selector->ended[i] && selector->ends[i]->view.redelivers;
}

static struct lace_list *list_of(struct lace_selector *selector, uint32_t i)
{
    struct lace_ring *ring = selector->ends[i]->view.ring;

    return selector->ended[i] ? &ring->ending : &ring->receiving;
}

/* Lays out party, nodes and bits, every bit set: the first wait looks at everything. */
static bool lay_out(struct lace_selector *selector)
{
    uint64_t party = (sizeof(struct lace_party) + 63) / 64 * 64;
    uint64_t nodes = (selector->count * sizeof(struct lace_node) + 63) / 64 * 64;
    uint64_t bits = lace_bits_size(selector->count);

    if (!lace_held_get(selector->region, &selector->held) || !lace_held_get(selector->region, &selector->message))
        return false;
    selector->memory = lace_heap_allocate(selector->region, party + nodes + bits, selector->held);
    if (selector->memory == 0)
        return false;
    memset(selector->region->base + selector->memory, 0, party + nodes + bits);
    selector->party = (struct lace_party *)(selector->region->base + selector->memory);
    selector->nodes = (struct lace_node *)(selector->region->base + selector->memory + party);
    lace_party_begin(selector->region, selector->party);
    selector->party->bits = selector->memory + party + nodes;
    selector->party->cases = selector->count;
    for (uint32_t i = 0; i < selector->count; i++) {
        const struct lace_attached *held = receives_again(selector, i) ? selector->asking.held : selector->message;

        selector->nodes[i] = (struct lace_node){.party = selector->memory,
                                                .slot = selector->memory + offsetof(struct lace_party, slot),
                                                .end = selector->ends[i]->id,
                                                .held = lace_held_offset(selector->region, held),
                                                .index = i,
                                                .persistent = 1,
                                                .seat = (uint16_t)selector->region->seat};
        lace_bits_set(selector->region, selector->party, i);
    }
    return lace_bits_find(selector->region, selector->party, &selector->bits);
}

static void unregister(struct lace_selector *selector, uint32_t i)
{
    const struct lace_view *view = &selector->ends[i]->view;
    struct lace_wakes wakes = {.count = 0};

    lace_ring_lock(view);
    lace_ring_unlink(view, list_of(selector, i), &selector->nodes[i], &wakes);
    lace_ring_unlock(view, &wakes);
}

lace_status lace_selector_create(const lace_case *cases, size_t count, lace_selector **ret_selector)
{
    if (lace_forked())
        return LACE_FORKED;
    if (cases == NULL || count == 0 || count > UINT32_MAX - 64 || ret_selector == NULL)
        return LACE_INVALID;
    lace_status status = check(cases, count);
    if (status != LACE_OK)
        return status;

    struct lace_selector *selector = lace_allocate(sizeof *selector);
    if (selector == NULL)
        return LACE_NOMEM;
    *selector = (struct lace_selector){.region = cases[0].receiver->end.view.region,
                                       .count = (uint32_t)count,
                                       .alive = (uint32_t)count,
                                       .purpose = LACE_FOR_OTHER,
                                       .ends = lace_allocate(count * sizeof *selector->ends),
                                       .ended = lace_allocate(count * sizeof *selector->ended),
                                       .dead = lace_allocate(count * sizeof *selector->dead)};
    if (selector->ends == NULL || selector->ended == NULL || selector->dead == NULL)
        goto fail;
    for (size_t i = 0; i < count; i++) {
        selector->ends[i] = &cases[i].receiver->end;
        selector->ended[i] = cases[i].kind == LACE_CASE_ENDED;
        if (!selector->ended[i] && lace_end_purpose(selector->ends[i]) == LACE_FOR_INPUT)
            selector->purpose = LACE_FOR_INPUT;
        selector->redelivers |= !selector->ended[i] && selector->ends[i]->view.redelivers;
    }
    if (selector->redelivers && lace_asking_begin(&selector->asking, selector->region) != LACE_OK)
        goto fail;
    if (!lay_out(selector))
        goto fail;
    for (uint32_t i = 0; i < selector->count; i++) {
        const struct lace_view *view = &selector->ends[i]->view;
        struct lace_wakes wakes = {.count = 0};

        lace_ring_lock(view);
        lace_ring_enqueue(view, list_of(selector, i), &selector->nodes[i]);
        lace_ring_unlock(view, &wakes);
    }
    lace_region_hold(selector->region);
    *ret_selector = selector;
    return LACE_OK;

fail:
    lace_asking_finish(&selector->asking);
    lace_held_put(selector->region, selector->held);
    lace_held_put(selector->region, selector->message);
    free(selector->dead);
    free(selector->ended);
    free(selector->ends);
    free(selector);
    return LACE_NOMEM;
}

void lace_selector_destroy(lace_selector *selector)
{
    if (lace_forked())
        return;
    if (selector == NULL)
        return;
    for (uint32_t i = 0; i < selector->count; i++)
        unregister(selector, i);
    /* In no list any more: nobody can find the party now. */
    selector->party->magic = 0;
    lace_asking_finish(&selector->asking);
    lace_heap_free(selector->region, selector->memory, selector->held);
    lace_held_put(selector->region, selector->held);
    lace_held_put(selector->region, selector->message);
    lace_region_drop(selector->region);
    free(selector->dead);
    free(selector->ended);
    free(selector->ends);
    free(selector);
}

/* ---- looking around ----------------------------------------------------------------------------------- */

static void clear_bit(struct lace_selector *selector, uint32_t i)
{
    lace_lock_acquire(&selector->party->lock);
    lace_bits_clear(&selector->bits, i);
    lace_lock_release(&selector->party->lock);
}

/* Tries case `i`, whose bit is set. With `exact`, not where an earlier case has got its bit meanwhile: RETRY. That is
 * asked under the channel's lock: whatever was sent before the message to be taken has set its bit by then. */
static lace_status try_case(struct lace_selector *selector, uint32_t i, bool exact, lace_message *message)
{
    struct lace_end *end = selector->ends[i];
    struct lace_wakes wakes = {.count = 0};
    lace_status status = LACE_AGAIN;

    lace_ring_lock(&end->view);
    if (lace_end_closed(end)) {
        status = LACE_CLOSED;
    } else if (exact && lace_bits_next(&selector->bits, 0) < i) {
        status = LACE_RETRY;
    } else if (selector->ended[i]) {
        if (atomic_load_explicit(&end->view.ring->senders, memory_order_relaxed) == 0)
            status = LACE_OK;
        else
            clear_bit(selector, i);
    } else {
        if (__builtin_expect(selector->redelivers, 0))
            selector->asking.end = end->id;
        status = lace_ring_recv(&end->view, message, NULL, &wakes);
        if (status == LACE_OK)
            lace_end_count_received(end, message);
        if (status != LACE_OK || !lace_ring_peek_recv(&end->view))
            clear_bit(selector, i);
        if (status == LACE_END) {
            lace_ring_unlink(&end->view, list_of(selector, i), &selector->nodes[i], &wakes);
            selector->dead[i] = true;
            selector->alive--;
        }
    }
    lace_ring_unlock(&end->view, &wakes);
    return status;
}

/* Tries the cases whose bits are set until one happens. AGAIN: none did, and no bit was left. */
static lace_status look(struct lace_selector *selector, bool exact, lace_message *message, size_t *ret_index)
{
    uint32_t from = exact ? 0 : selector->turn;
    bool wrapped = from == 0;

    while (selector->alive != 0) {
        uint32_t i = lace_bits_next(&selector->bits, from);

        if (i >= selector->count) {
            if (wrapped)
                return LACE_AGAIN;
            wrapped = true;
            from = 0;
            continue;
        }
        from = i + 1;
        if (selector->dead[i]) { /* told once more before it was unlinked */
            clear_bit(selector, i);
            continue;
        }
        lace_status status = try_case(selector, i, exact, message);
        if (status == LACE_RETRY) {
            from = 0;
            continue;
        }
        if (status == LACE_END || status == LACE_AGAIN)
            continue;
        if (status == LACE_OK) {
            selector->turn = i + 1 < selector->count ? i + 1 : 0;
            *ret_index = i;
        }
        return status;
    }
    return LACE_END;
}

/* ---- waiting ------------------------------------------------------------------------------------------ */

/* Opens the party, where no bit is set. */
static bool open_party(struct lace_selector *selector)
{
    struct lace_party *party = selector->party;

    LACE_YIELD(LACE_POINT_OPEN);
    lace_lock_acquire(&party->lock);
    bool idle = lace_bits_next(&selector->bits, 0) >= selector->count;
    if (idle) {
        lace_party_renew(party);
        party->index = LACE_NO_CASE;
        if (selector->redelivers)
            party->slot.content = selector->asking.spare;
        atomic_store_explicit(&party->state, LACE_PARTY_OPEN, memory_order_relaxed);
    }
    lace_lock_release(&party->lock);
    return idle;
}

/* Waits with the party open. RETRY: look around again. */
static lace_status wait_open(struct lace_selector *selector, lace_message *message, const lace_wait *wait,
                             size_t *ret_index)
{
    struct lace_party *party = selector->party;
    struct lace_waiter waiter;

    LACE_YIELD(LACE_POINT_ENQUEUED);
    bool entered = lace_cancel_enter(lace_wait_token(wait), &waiter, party);
    bool done = entered && lace_party_wait(party, lace_wait_deadline(wait), true);
    if (entered)
        lace_cancel_leave(lace_wait_token(wait), &waiter);
    if (!done) {
        LACE_YIELD(LACE_POINT_TIMEOUT);
        if (lace_party_withdraw(party))
            return entered ? LACE_TIMEOUT : LACE_CANCELLED;
        lace_party_wait(party, LACE_NEVER, false);
    }

    lace_status status = (lace_status)party->status;
    uint32_t index = party->index;
    if (status != LACE_OK || index >= selector->count)
        return status;
    if (receives_again(selector, index)) {
        status = lace_receipt_handed(message, &party->slot);
    } else {
        /* From the selector's record to the message's. */
        LACE_BEGIN();
        status = lace_message_load(message, &party->slot);
        lace_held_change(selector->message, LACE_ATTACH_NONE);
        LACE_END_SECTION();
    }
    if (status == LACE_OK) {
        lace_end_count_slow(selector->ends[index], message->weight);
        if (lace_trace_on())
            lace_trace_handed(&selector->ends[index]->view, LACE_SIDE_RECEIVER, party->sequence, lace_clock());
        selector->turn = index + 1 < selector->count ? index + 1 : 0;
        *ret_index = index;
    }
    return status;
}

/* The wait asks for the next message of each such end, whichever case will happen: so it confirms their last ones. */
static lace_status ask(struct lace_selector *selector, lace_message *message)
{
    lace_status status = LACE_OK;

    for (uint32_t i = 0; i < selector->count && status == LACE_OK; i++) {
        if (receives_again(selector, i))
            status = lace_receipt_asked(selector->ends[i]);
    }
    if (status == LACE_OK)
        status = lace_asking_begin(&selector->asking, selector->region);
    if (status == LACE_OK)
        message->asking = &selector->asking;
    return status;
}

lace_status lace_selector_wait(lace_selector *selector, unsigned flags, lace_message *message, const lace_wait *wait,
                               size_t *ret_index)
{
    if (lace_forked())
        return LACE_FORKED;
    bool exact = (flags & LACE_SELECT_PRIORITY) != 0;
    bool parked = false;
    int64_t started = 0;
    size_t index = 0;
    lace_status status;

    if (selector == NULL || message == NULL || message->region != selector->region || ret_index == NULL ||
        (flags & ~LACE_SELECT_PRIORITY) != 0)
        return LACE_INVALID;
    lace_message_reset(message);
    status = lace_message_ready(message);
    if (status == LACE_OK && selector->redelivers)
        status = ask(selector, message);
    if (status != LACE_OK)
        return status;

    for (;;) {
        status = look(selector, exact, message, &index);
        if (status != LACE_AGAIN)
            break;
        if (lace_wait_cancelled(wait)) {
            status = LACE_CANCELLED;
            break;
        }
        if (lace_deadline_passed(lace_wait_deadline(wait))) {
            status = LACE_TIMEOUT;
            break;
        }
        if (!parked) {
            lace_wait_park(wait);
            started = lace_clock();
            lace_meter_begin(selector->purpose, started);
            parked = true;
        }
        if (!open_party(selector))
            continue;
        status = wait_open(selector, message, wait, &index);
        if (status != LACE_RETRY)
            break;
    }
    if (parked) {
        lace_end_waited(status == LACE_OK ? selector->ends[index] : NULL, selector->purpose, started);
        lace_wait_unpark(wait);
    }
    if (__builtin_expect(selector->redelivers, 0)) {
        if (status == LACE_OK && receives_again(selector, (uint32_t)index))
            status = lace_receipt_collect(selector->ends[index], message);
        message->asking = NULL;
    }
    if (status == LACE_OK)
        *ret_index = index;
    return status;
}
