/* memory.c - send and receive on memory channels: try first, then spin, register, sleep. */
#include "cancel.h"
#include "confirm.h"
#include "hooks.h"

/* ---- waiting ------------------------------------------------------------------------------------------ */

/* Why a call that would have to wait may not; OK when it may. */
static lace_status may_wait(const lace_wait *wait)
{
    if (lace_wait_cancelled(wait))
        return LACE_CANCELLED;
    return lace_deadline_passed(lace_wait_deadline(wait)) ? LACE_TIMEOUT : LACE_OK;
}

/* Looks at the channel for a while without being registered, until a try seems worth it. */
static void spin_until(struct lace_end *end, bool (*peek)(const struct lace_view *view), const lace_wait *wait)
{
    struct lace_spin spin;
    bool ready = false;

    lace_spin_begin(&spin);
    while (!ready && lace_spin(&spin))
        ready = peek(&end->view) || lace_end_closed(end) || lace_wait_cancelled(wait);
    lace_spin_end(&spin, ready);
}

/* The same before the call has parked, so only for about as long as parking takes: true when a try seems worth it. */
static bool glance(struct lace_end *end, bool (*peek)(const struct lace_view *view))
{
    struct lace_spin spin;
    bool ready = false;

    lace_spin_begin_brief(&spin);
    while (!ready && lace_spin(&spin))
        ready = peek(&end->view);
    return ready;
}

/* Waits until the party, registered in `list`, has a result, and returns it; TIMEOUT and CANCELLED when it gave up.
 * It is registered no more then. */
static lace_status wait_registered(struct lace_end *end, struct lace_list *list, struct lace_party *party,
                                   const lace_wait *wait)
{
    lace_cancel *token = lace_wait_token(wait);
    struct lace_waiter waiter;
    struct lace_wakes wakes = {.count = 0};

    LACE_YIELD(LACE_POINT_ENQUEUED);
    bool entered = lace_cancel_enter(token, &waiter, party);
    bool done = entered && lace_party_wait(party, lace_wait_deadline(wait), end->view.capacity == 0);
    if (entered)
        lace_cancel_leave(token, &waiter);
    if (!done) {
        LACE_YIELD(LACE_POINT_TIMEOUT);
        if (!lace_party_withdraw(party)) {
            /* Somebody was faster: the result is on its way, and it counts. */
            lace_party_wait(party, LACE_NEVER, false);
            done = true;
        }
    }
    /* A channel that claims a party takes its node out as well. */
    if (done && party->index != LACE_NO_CASE)
        return (lace_status)party->status;
    LACE_YIELD(LACE_POINT_UNLINK);
    lace_ring_lock(&end->view);
    lace_ring_unlink(&end->view, list, &party->node, &wakes);
    lace_ring_unlock(&end->view, &wakes);
    if (done)
        return (lace_status)party->status;
    return entered ? LACE_TIMEOUT : LACE_CANCELLED;
}

/* Registers the party. The channel is locked, and what it wants has just turned out impossible. */
static void enroll(struct lace_end *end, struct lace_list *list, struct lace_party *party, struct lace_attached *held)
{
    party->node.held = lace_held_offset(end->view.region, held);
    party->node.end = end->id;
    party->node.index = 0;
    party->node.persistent = 0;
    lace_party_open(party);
    lace_ring_enqueue(&end->view, list, &party->node);
}

/* The party's wait is over, and its message with somebody else, or somebody else's with it; `time` is when it was on
 * offer, or came. */
static void count_handed(struct lace_end *end, uint64_t weight, const struct lace_party *party, int64_t time)
{
    lace_end_count_slow(end, weight);
    if (lace_trace_on())
        lace_trace_handed(&end->view, end->side, party->sequence, time);
}

/* ---- sending ------------------------------------------------------------------------------------------ */

/* The slot this end uses next, if no other end of its kind is at work: asked for while the lock is on its way. */
static struct lace_slot *probable_slot(const struct lace_end *end)
{
    return &end->view.slots[(atomic_load_explicit(&end->place, memory_order_relaxed) + 1) & end->view.mask];
}

static void remember_slot(struct lace_end *end, const _Atomic uint64_t *counter)
{
    uint64_t next = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(&end->place, next - 1, memory_order_relaxed);
}

/* Sends where the oldest message makes room: there is nothing to wait for. */
static lace_status replace(struct lace_end *end, const struct lace_outgoing *outgoing)
{
    struct lace_wakes wakes = {.count = 0};
    lace_status status = LACE_CLOSED;
    lace_message displaced;

    lace_message_begin(&displaced, end->view.region);
    if (lace_message_ready(&displaced) != LACE_OK)
        return LACE_NOMEM;
    LACE_YIELD(LACE_POINT_SEND);
    lace_ring_lock(&end->view);
    if (!lace_end_closed(end))
        status = lace_ring_replace(&end->view, outgoing, NULL, &displaced, &wakes);
    if (status == LACE_OK)
        lace_end_count(end, outgoing->weight);
    lace_ring_unlock(&end->view, &wakes);
    lace_message_clear(&displaced);
    return status;
}

/* Sends without waiting; with a party, registers it when that is impossible. */
static lace_status try_send(struct lace_end *end, const struct lace_outgoing *outgoing, struct lace_party *party)
{
    struct lace_wakes wakes;
    lace_status status = LACE_CLOSED;

    if (__builtin_expect(end->view.overwrites, 0))
        return replace(end, outgoing);
    wakes.count = 0;
    LACE_YIELD(LACE_POINT_SEND);
    lace_prefetch_to_write(probable_slot(end));
    lace_ring_lock(&end->view);
    if (!lace_end_closed(end))
        status = lace_ring_send(&end->view, outgoing, NULL, &wakes);
    remember_slot(end, &end->view.ring->tail);
    if (status == LACE_OK)
        lace_end_count(end, outgoing->weight);
    else if (status == LACE_AGAIN && party != NULL)
        enroll(end, &end->view.ring->sending, party, outgoing->held);
    lace_ring_unlock(&end->view, &wakes);
    return status;
}

/* Sends what could not be sent without waiting. */
static lace_status wait_to_send(struct lace_end *end, const struct lace_outgoing *outgoing, const lace_wait *wait)
{
    lace_status status = may_wait(wait);

    if (status != LACE_OK)
        return status;
    if (end->view.capacity != 0 && end->view.max_bytes == 0 && glance(end, lace_ring_peek_send)) {
        status = try_send(end, outgoing, NULL);
        if (status != LACE_AGAIN)
            return status;
    }
    struct lace_party *party = lace_party_get(end->view.region);
    if (party == NULL)
        return LACE_NOMEM;
    lace_outgoing_store(outgoing, &party->slot);

    lace_wait_park(wait);
    int64_t started = lace_clock();
    lace_meter_begin(lace_end_purpose(end), started);
    do {
        if (end->view.capacity != 0 && end->view.max_bytes == 0)
            spin_until(end, lace_ring_peek_send, wait);
        status = try_send(end, outgoing, party);
        if (status == LACE_AGAIN) {
            status = wait_registered(end, &end->view.ring->sending, party, wait);
            if (status == LACE_OK)
                count_handed(end, outgoing->weight, party, started);
        }
    } while (status == LACE_RETRY);
    lace_end_waited(end, lace_end_purpose(end), started);
    lace_wait_unpark(wait);
    lace_party_put(end->view.region, party);
    return status;
}

lace_status lace_memory_send(struct lace_end *end, const lace_payload *payload, const lace_wait *wait)
{
    struct lace_region *region = end->view.region;
    struct lace_outgoing outgoing;
    lace_status status;

    if (lace_end_closed(end))
        return LACE_CLOSED;
    if (lace_payload_plain(payload)) {
        if (end->view.max_bytes != 0 && payload->size > end->view.max_bytes)
            return LACE_TOO_BIG;
        outgoing = (struct lace_outgoing){.payload = payload, .weight = payload->size};
        status = try_send(end, &outgoing, NULL);
        return status == LACE_AGAIN ? wait_to_send(end, &outgoing, wait) : status;
    }

    status = lace_outgoing_prepare(&end->view, payload, &outgoing);
    if (status != LACE_OK)
        return status;
    status = try_send(end, &outgoing, NULL);
    if (status == LACE_AGAIN)
        status = wait_to_send(end, &outgoing, wait);
    /* From here on the end itself may be gone: it may be one of its own message's attachments. */
    if (status == LACE_OK)
        lace_outgoing_sent(region, &outgoing);
    else
        lace_outgoing_discard(region, &outgoing);
    return status;
}

/* Sends plain payloads under one lock, as many as go without waiting. */
static lace_status send_run(struct lace_end *end, const lace_payload *payloads, size_t count, size_t *sent)
{
    struct lace_wakes wakes = {.count = 0};
    lace_status status = LACE_CLOSED;

    LACE_YIELD(LACE_POINT_SEND);
    lace_ring_lock(&end->view);
    if (!lace_end_closed(end))
        status = LACE_OK;
    while (status == LACE_OK && *sent < count && lace_payload_plain(&payloads[*sent])) {
        struct lace_outgoing outgoing = {.payload = &payloads[*sent], .weight = payloads[*sent].size};

        status = end->view.max_bytes != 0 && outgoing.weight > end->view.max_bytes
                     ? LACE_TOO_BIG
                     : lace_ring_send(&end->view, &outgoing, NULL, &wakes);
        if (status == LACE_OK) {
            LACE_COMMIT();
            lace_end_count(end, outgoing.weight);
            ++*sent;
        }
    }
    lace_ring_unlock(&end->view, &wakes);
    return status;
}

lace_status lace_memory_send_many(struct lace_end *end, const lace_payload *payloads, size_t count,
                                  const lace_wait *wait, size_t *ret_sent)
{
    lace_status status = LACE_OK;
    size_t sent = 0;

    while (status == LACE_OK && sent < count) {
        if (lace_payload_plain(&payloads[sent]) && !end->view.overwrites) {
            status = send_run(end, payloads, count, &sent);
            if (status != LACE_AGAIN)
                continue;
            struct lace_outgoing outgoing = {.payload = &payloads[sent], .weight = payloads[sent].size};
            status = wait_to_send(end, &outgoing, wait);
        } else {
            status = lace_memory_send(end, &payloads[sent], wait);
        }
        if (status == LACE_OK)
            sent++;
    }
    *ret_sent = sent;
    return status;
}

/* ---- receiving ---------------------------------------------------------------------------------------- */

static void enroll_to_recv(struct lace_end *end, struct lace_party *party, const lace_message *message)
{
    struct lace_attached *held = message->held;

    if (__builtin_expect(end->view.redelivers, 0)) {
        party->slot.content = message->asking->spare;
        held = message->asking->held;
    }
    enroll(end, &end->view.ring->receiving, party, held);
}

/* Receives without waiting; with a party, registers it when that is impossible. */
static lace_status try_recv(struct lace_end *end, lace_message *message, struct lace_party *party)
{
    struct lace_wakes wakes;
    lace_status status = LACE_CLOSED;

    wakes.count = 0;
    LACE_YIELD(LACE_POINT_RECV);
    __builtin_prefetch(probable_slot(end));
    lace_ring_lock(&end->view);
    if (!lace_end_closed(end))
        status = lace_ring_recv(&end->view, message, NULL, &wakes);
    remember_slot(end, &end->view.ring->head);
    if (status == LACE_OK)
        lace_end_count_received(end, message);
    else if (status == LACE_AGAIN && party != NULL)
        enroll_to_recv(end, party, message);
    lace_ring_unlock(&end->view, &wakes);
    return status;
}

/* Receives what was not there without waiting. */
static lace_status wait_to_recv(struct lace_end *end, lace_message *message, const lace_wait *wait)
{
    lace_status status = may_wait(wait);

    if (status != LACE_OK)
        return status;
    if (end->view.capacity != 0 && glance(end, lace_ring_peek_recv)) {
        status = try_recv(end, message, NULL);
        if (status != LACE_AGAIN)
            return status;
    }
    struct lace_party *party = lace_party_get(end->view.region);
    if (party == NULL)
        return LACE_NOMEM;

    lace_wait_park(wait);
    int64_t started = lace_clock();
    lace_meter_begin(lace_end_purpose(end), started);
    do {
        if (end->view.capacity != 0)
            spin_until(end, lace_ring_peek_recv, wait);
        status = try_recv(end, message, party);
        if (status == LACE_AGAIN) {
            status = wait_registered(end, &end->view.ring->receiving, party, wait);
            if (status == LACE_OK)
                status = __builtin_expect(end->view.redelivers, 0) ? lace_receipt_handed(message, &party->slot)
                                                                   : lace_message_load(message, &party->slot);
            if (status == LACE_OK)
                count_handed(end, message->weight, party, lace_trace_on() ? lace_clock() : 0);
        }
    } while (status == LACE_RETRY);
    lace_end_waited(end, lace_end_purpose(end), started);
    lace_wait_unpark(wait);
    lace_party_put(end->view.region, party);
    return status;
}

lace_status lace_memory_recv_ready(struct lace_end *end, lace_message *message, const lace_wait *wait)
{
    lace_status status = try_recv(end, message, NULL);

    return status == LACE_AGAIN ? wait_to_recv(end, message, wait) : status;
}

lace_status lace_memory_recv(struct lace_end *end, lace_message *message, const lace_wait *wait)
{
    if (message->region != end->view.region)
        return LACE_INVALID;
    lace_message_reset(message);

    lace_status status = lace_message_ready(message);
    if (status != LACE_OK)
        return status;
    return __builtin_expect(end->view.redelivers, 0) ? lace_receipt_ask(end, message, wait)
                                                     : lace_memory_recv_ready(end, message, wait);
}

/* Receives under one lock, as many as are there. The status is of the first that was not to be had. */
static lace_status recv_run(struct lace_end *end, lace_message *const *messages, size_t count, size_t *received)
{
    struct lace_wakes wakes = {.count = 0};
    lace_status status = LACE_CLOSED;

    LACE_YIELD(LACE_POINT_RECV);
    lace_ring_lock(&end->view);
    if (!lace_end_closed(end))
        status = LACE_OK;
    while (status == LACE_OK && *received < count) {
        status = lace_ring_recv(&end->view, messages[*received], NULL, &wakes);
        if (status == LACE_OK) {
            LACE_COMMIT();
            lace_end_count(end, messages[*received]->weight);
            ++*received;
        }
    }
    lace_ring_unlock(&end->view, &wakes);
    return status;
}

lace_status lace_memory_recv_many(struct lace_end *end, lace_message *const *messages, size_t count,
                                  const lace_wait *wait, size_t *ret_received)
{
    size_t received = 0;

    for (size_t i = 0; i < count; i++) {
        if (messages[i] == NULL || messages[i]->region != end->view.region)
            return LACE_INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        lace_message_reset(messages[i]);
        if (lace_message_ready(messages[i]) != LACE_OK)
            return LACE_NOMEM;
    }

    if (__builtin_expect(end->view.redelivers, 0))
        return lace_receipt_ask_many(end, messages, count, wait, ret_received);

    lace_status status = recv_run(end, messages, count, &received);
    if (received == 0 && status == LACE_AGAIN) {
        status = wait_to_recv(end, messages[0], wait);
        if (status == LACE_OK) {
            received = 1;
            (void)recv_run(end, messages, count, &received);
        }
    }
    if (received == 0)
        return status;
    *ret_received = received;
    return LACE_OK;
}
