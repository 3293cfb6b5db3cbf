/* confirm.c - what is received from a channel that redelivers is kept until it is confirmed, or comes back. */
#include "confirm.h"

#include "heap.h"
#include "hooks.h"
#include "look.h"
#include "queued.h"
#include "receipt.h"

#include <string.h>

/* ---- receiving ---------------------------------------------------------------------------------------- */

lace_status lace_asking_begin(struct lace_asking *asking, struct lace_region *region)
{
    asking->got = 0;
    asking->copied = false;
    asking->again = false;
    if (asking->spare != 0)
        return LACE_OK;
    asking->region = region;
    if (asking->held == NULL && !lace_held_get(region, &asking->held))
        return LACE_NOMEM;
    asking->spare = lace_heap_allocate(region, sizeof(struct lace_receipt), asking->held);
    struct lace_receipt *receipt = lace_region_at(region, asking->spare, sizeof *receipt, 64);
    if (receipt == NULL)
        return LACE_NOMEM;
    memset(receipt, 0, offsetof(struct lace_receipt, slot));
    receipt->magic = LACE_RECEIPT_MAGIC;
    return LACE_OK;
}

void lace_asking_finish(struct lace_asking *asking)
{
    if (asking->spare != 0)
        lace_heap_free(asking->region, asking->spare, asking->held);
    lace_held_put(asking->region, asking->held);
    *asking = (struct lace_asking){.region = asking->region};
}

/* Notes what was got. */
static void note_got(struct lace_asking *asking, const struct lace_receipt *receipt)
{
    asking->got = lace_region_offset(asking->region, receipt);
    asking->number = receipt->number;
    asking->again = receipt->times > 1;
    if (asking->got == asking->spare)
        asking->spare = 0;
}

lace_status lace_receipt_recv(const struct lace_view *view, lace_message *message, struct lace_party *self,
                              struct lace_wakes *wakes)
{
    struct lace_ring *ring = view->ring;
    struct lace_asking *asking = message->asking;

    if (!lace_receipt_any(view)) {
        if (lace_ring_queued(view) > view->capacity)
            return LACE_CORRUPT;
        return lace_ring_ended(view) ? LACE_END : LACE_AGAIN;
    }
    if (self != NULL && !lace_party_withdraw(self))
        return LACE_TAKEN;
    struct lace_receipt *receipt = lace_receipt_take(view, asking->end, view->region->seat, asking->spare, asking->held);
    if (receipt == NULL)
        return LACE_CORRUPT;
    note_got(asking, receipt);
    message->weight = receipt->slot.weight;
    message->redelivered = asking->again;
    if (receipt->slot.content == 0) {
        lace_status status = lace_message_load(message, &receipt->slot);

        if (status != LACE_OK)
            return status;
        LACE_SET(receipt->pinned, 0);
        asking->copied = true;
    }
    if (lace_list_count(&ring->sending) != 0)
        lace_ring_admit(view, wakes);
    return LACE_OK;
}

lace_status lace_receipt_handed(lace_message *message, const struct lace_slot *slot)
{
    const struct lace_receipt *receipt = lace_receipt_at(message->region, slot->content);

    if (receipt == NULL)
        return LACE_CORRUPT;
    note_got(message->asking, receipt);
    message->weight = receipt->slot.weight;
    message->redelivered = message->asking->again;
    return LACE_OK;
}

/* One more count of what an attachment names. */
static lace_status copy_attached(struct lace_region *region, const struct lace_attached *from, struct lace_attached *to)
{
    struct lace_wakes wakes = {.count = 0};
    struct lace_view view;

    if (from->kind == LACE_ATTACH_BLOCK)
        return lace_block_hold(region, from->offset, to);
    if ((from->kind != LACE_ATTACH_SENDER && from->kind != LACE_ATTACH_RECEIVER) ||
        lace_ring_view(region, from->offset, &view) != LACE_OK)
        return LACE_CORRUPT;
    lace_ring_lock(&view);
    lace_ring_add_end(&view, from->kind == LACE_ATTACH_SENDER ? LACE_SIDE_SENDER : LACE_SIDE_RECEIVER, to);
    lace_ring_unlock(&view, &wakes);
    return LACE_OK;
}

/* Fills an empty container with a copy of a slot's message. */
static lace_status copy_message(lace_message *message, const struct lace_slot *slot)
{
    struct lace_region *region = message->region;
    uint64_t size = slot->size, from = slot->content;
    uint32_t attachments = slot->attachments;
    uint64_t front = (uint64_t)attachments * sizeof(struct lace_attached);
    lace_status status = LACE_OK;

    if (from == 0)
        return lace_message_load(message, slot);
    if (attachments > LACE_MAX_ATTACHMENTS || size > region->size || lace_heap_size(region, from) < front + size)
        return LACE_CORRUPT;
    uint64_t content = lace_heap_allocate(region, front + size, message->held);
    unsigned char *bytes = lace_region_at(region, content, front + size, 64);
    if (bytes == NULL)
        return LACE_NOMEM;
    memset(bytes, 0, front);
    memcpy(bytes + front, region->base + from + front, size);
    LACE_BEGIN();
    lace_held_set(message->held, LACE_HELD_MESSAGE, attachments, content);
    LACE_END_SECTION();
    lace_message_show(message, content, bytes, attachments, size);
    message->weight = slot->weight;
    for (uint32_t i = 0; i < attachments && status == LACE_OK; i++) {
        struct lace_attached one;

        memcpy(&one, region->base + from + i * sizeof one, sizeof one);
        status = copy_attached(region, &one, &message->attached[i]);
    }
    return status;
}

/* Takes the receipt at a link out, to be let go of with `gone` and `held`. */
static lace_status let_go(const struct lace_view *view, uint64_t *link, lace_message *gone, struct lace_attached *held,
                          struct lace_wakes *wakes)
{
    struct lace_ring *ring = view->ring;
    uint64_t offset = *link;
    struct lace_receipt *receipt = lace_receipt_unlink(view, link);

    if (receipt == NULL)
        return LACE_CORRUPT;
    lace_held_set(held, LACE_HELD_CHUNK, 0, offset);
    lace_status status = lace_message_load(gone, &receipt->slot);
    if (lace_ring_ended(view))
        lace_ring_tell(view, &ring->receiving, 0, LACE_RETRY, wakes);
    return status;
}

/* Lets go of one receipt that is out: the one at `offset`, or (0) the first of the end. AGAIN: there is no such. */
static lace_status confirm_one(struct lace_end *end, uint64_t offset)
{
    const struct lace_view *view = &end->view;
    struct lace_region *region = view->region;
    struct lace_wakes wakes = {.count = 0};
    struct lace_attached *held;
    lace_message gone;
    uint64_t found = 0;

    lace_message_begin(&gone, region);
    if (!lace_held_get(region, &held))
        return LACE_NOMEM;
    lace_status status = lace_message_ready(&gone);
    if (status == LACE_OK) {
        lace_ring_lock(view);
        uint64_t *link = offset != 0 ? lace_receipt_find_this(view, offset) : lace_receipt_find(view, end->id, 0);
        status = LACE_AGAIN;
        if (link != NULL) {
            found = *link;
            status = let_go(view, link, &gone, held, &wakes);
        }
        lace_ring_unlock(view, &wakes);
    }
    lace_message_clear(&gone);
    if (found != 0)
        lace_heap_free(region, found, held);
    lace_held_put(region, held);
    return status;
}

lace_status lace_receipt_collect(struct lace_end *end, lace_message *message)
{
    struct lace_asking *asking = message->asking;
    const struct lace_view *view = &end->view;
    struct lace_wakes wakes = {.count = 0};

    if (asking->again)
        atomic_store_explicit(&end->again, true, memory_order_relaxed);
    if (asking->copied) {
        atomic_store_explicit(&end->keeps, true, memory_order_relaxed);
        return LACE_OK;
    }
    struct lace_receipt *receipt = lace_receipt_at(view->region, asking->got);
    if (receipt == NULL)
        return LACE_CORRUPT;
    /* Nobody else changes it while it is pinned. */
    lace_status status = copy_message(message, &receipt->slot);
    if (status != LACE_OK)
        lace_message_clear(message);
    lace_ring_lock(view);
    /* Closing the end did not bring this one back. Without receivers nothing would: then it counts as confirmed. */
    bool closed = lace_end_closed(end);
    bool others = atomic_load_explicit(&view->ring->receivers, memory_order_relaxed) != 0;
    bool returns = status != LACE_OK && (!closed || others);
    uint64_t *link = returns ? lace_receipt_find_this(view, asking->got) : NULL;
    if (link != NULL) {
        lace_receipt_put_back(view, lace_receipt_unlink(view, link));
        lace_receipt_hand_out(view, &wakes);
    } else if (!closed) {
        LACE_SET(receipt->pinned, 0);
        atomic_store_explicit(&end->keeps, true, memory_order_relaxed);
    }
    lace_ring_unlock(view, &wakes);
    if (closed && !returns)
        (void)confirm_one(end, asking->got);
    return status;
}

void lace_end_count_again(struct lace_end *end, const lace_message *message)
{
    lace_end_count_slow(end, message->weight);
    if (lace_trace_on())
        lace_trace_handed(&end->view, end->side, message->asking->number, lace_clock());
}

/* ---- confirming --------------------------------------------------------------------------------------- */

lace_status lace_receipt_confirm(struct lace_end *end)
{
    lace_status status;

    if (!atomic_exchange_explicit(&end->keeps, false, memory_order_relaxed))
        return LACE_OK;
    do
        status = confirm_one(end, 0);
    while (status == LACE_OK);
    if (status != LACE_AGAIN)
        atomic_store_explicit(&end->keeps, true, memory_order_relaxed);
    return status == LACE_AGAIN ? LACE_OK : status;
}

lace_status lace_receipt_asked(struct lace_end *end)
{
    atomic_store_explicit(&end->again, false, memory_order_relaxed);
    return lace_receipt_confirm(end);
}

void lace_receipt_return(struct lace_end *end)
{
    const struct lace_view *view = &end->view;
    uint64_t *link;

    do {
        struct lace_wakes wakes = {.count = 0};

        lace_ring_lock(view);
        link = lace_receipt_find(view, end->id, 0);
        if (link != NULL) {
            lace_receipt_put_back(view, lace_receipt_unlink(view, link));
            lace_receipt_hand_out(view, &wakes);
        }
        lace_ring_unlock(view, &wakes);
    } while (link != NULL);
}

/* ---- calls -------------------------------------------------------------------------------------------- */

/* Receives one message, and confirms none. */
static lace_status ask_once(struct lace_end *end, struct lace_asking *asking, lace_message *message,
                            const lace_wait *wait)
{
    lace_status status = lace_asking_begin(asking, end->view.region);

    if (status != LACE_OK)
        return status;
    asking->end = end->id;
    message->asking = asking;
    status = lace_memory_recv_ready(end, message, wait);
    if (status == LACE_OK)
        status = lace_receipt_collect(end, message);
    message->asking = NULL;
    return status;
}

lace_status lace_receipt_ask(struct lace_end *end, lace_message *message, const lace_wait *wait)
{
    struct lace_asking asking = {0};
    lace_status status = lace_receipt_asked(end);

    if (status != LACE_OK)
        return status;
    status = ask_once(end, &asking, message, wait);
    lace_asking_finish(&asking);
    return status;
}

lace_status lace_receipt_ask_many(struct lace_end *end, lace_message *const *messages, size_t count,
                                  const lace_wait *wait, size_t *ret_received)
{
    const lace_wait now = {.deadline = LACE_NOW};
    struct lace_asking asking = {0};
    lace_status status = lace_receipt_asked(end);
    size_t received = 0;

    while (status == LACE_OK && received < count) {
        status = ask_once(end, &asking, messages[received], received == 0 ? wait : &now);
        if (status == LACE_OK)
            received++;
    }
    lace_asking_finish(&asking);
    if (received == 0)
        return status;
    *ret_received = received;
    return LACE_OK;
}

lace_status lace_receiver_confirm(lace_receiver *receiver)
{
    if (lace_forked())
        return LACE_FORKED;
    if (receiver == NULL)
        return LACE_INVALID;
    if (lace_end_closed(&receiver->end))
        return LACE_CLOSED;
    return receiver->end.view.redelivers ? lace_receipt_confirm(&receiver->end) : LACE_OK;
}

bool lace_receiver_redelivered(const lace_receiver *receiver)
{
    return atomic_load_explicit(&receiver->end.again, memory_order_relaxed);
}

lace_status lace_receiver_serve(lace_receiver *receiver, lace_message *message)
{
    const lace_wait now = {.deadline = LACE_NOW};
    struct lace_asking asking = {0};

    if (receiver->end.pipe != NULL || !receiver->end.view.redelivers)
        return lace_recv(receiver, message, &now);
    if (lace_forked())
        return LACE_FORKED;
    lace_message_reset(message);
    lace_status status = lace_message_ready(message);
    if (status == LACE_OK)
        status = ask_once(&receiver->end, &asking, message, &now);
    lace_asking_finish(&asking);
    return status;
}

bool lace_message_redelivered(const lace_message *message)
{
    return message != NULL && message->redelivered;
}
