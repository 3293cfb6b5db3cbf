/* message.c - preparing what is sent, holding what was received, letting go of both. */
#include "message.h"

#include "end.h"
#include "heap.h"
#include "hooks.h"

#include <stdlib.h>
#include <string.h>

/* ---- outgoing ----------------------------------------------------------------------------------------- */

lace_status lace_attached_hold(struct lace_region *region, const lace_attachment *attachment,
                               struct lace_attached *ret_attached)
{
    struct lace_end *end = NULL;
    lace_status status = LACE_OK;

    switch (attachment->kind) {
    case LACE_ATTACH_BLOCK:
        if (attachment->as.block == NULL || lace_block_region(attachment->as.block) != region)
            return LACE_INVALID;
        return lace_block_hold(region, lace_block_offset(attachment->as.block), ret_attached);
    case LACE_ATTACH_SENDER:
        end = attachment->as.sender != NULL ? &attachment->as.sender->end : NULL;
        break;
    case LACE_ATTACH_RECEIVER:
        end = attachment->as.receiver != NULL ? &attachment->as.receiver->end : NULL;
        break;
    default:
        return LACE_INVALID;
    }
    struct lace_wakes wakes = {.count = 0};

    if (end == NULL)
        return LACE_INVALID;
    if (end->pipe != NULL)
        return LACE_UNSUPPORTED;
    if (end->view.region != region)
        return LACE_INVALID;
    lace_ring_lock(&end->view);
    if (lace_end_closed(end))
        status = LACE_INVALID;
    else
        lace_ring_add_end(&end->view, end->side, ret_attached);
    lace_ring_unlock(&end->view, &wakes);
    return status;
}

/* Lets go of the first `count` attachments. */
static void release_attached(struct lace_region *region, struct lace_attached *attached, size_t count)
{
    struct lace_doomed doomed = {.region = region};

    for (size_t i = 0; i < count; i++)
        lace_attached_release(region, &attached[i], &doomed);
    lace_doomed_drain(&doomed);
}

/* Whether one handle is named twice: taking it would be freeing it twice. */
static bool has_double(const lace_payload *payload)
{
    for (size_t i = 1; i < payload->attachment_count; i++) {
        for (size_t k = 0; k < i && i < 256; k++) {
            if (payload->attachments[i].as.block == payload->attachments[k].as.block)
                return true;
        }
    }
    return false;
}

/* Gets the chunk for `total` bytes, with `count` attachments in front that are none yet. */
static lace_status make_content(struct lace_region *region, uint64_t total, uint32_t count,
                                struct lace_outgoing *outgoing)
{
    if (!lace_held_get(region, &outgoing->held))
        return LACE_NOMEM;
    outgoing->content = lace_heap_allocate(region, total, outgoing->held);
    if (outgoing->content == 0) {
        lace_held_put(region, outgoing->held);
        return LACE_NOMEM;
    }
    if (count == 0)
        return LACE_OK;
    outgoing->attached = (struct lace_attached *)(region->base + outgoing->content);
    memset(outgoing->attached, 0, count * sizeof *outgoing->attached);
    LACE_BEGIN();
    lace_held_set(outgoing->held, LACE_HELD_MESSAGE, count, outgoing->content);
    LACE_END_SECTION();
    return LACE_OK;
}

lace_status lace_outgoing_prepare(const struct lace_view *view, const lace_payload *payload,
                                  struct lace_outgoing *ret_outgoing)
{
    struct lace_outgoing outgoing = {.payload = payload, .weight = payload->size};
    size_t count = payload->attachment_count;
    lace_status status = LACE_OK;

    if ((payload->data == NULL && payload->size != 0) || count > LACE_MAX_ATTACHMENTS ||
        (payload->attachments == NULL && count != 0) || has_double(payload))
        return LACE_INVALID;
    if (view->max_bytes != 0 && payload->size > view->max_bytes)
        return LACE_TOO_BIG;
    if (payload->size > view->region->size)
        return LACE_NOMEM;
    uint64_t total = lace_slot_total(payload->size, (uint32_t)count);
    if (total > LACE_SLOT_INLINE || count != 0) {
        status = make_content(view->region, total, (uint32_t)count, &outgoing);
        if (status != LACE_OK)
            return status;
    }
    for (size_t i = 0; i < count && status == LACE_OK; i++) {
        const lace_attachment *attachment = &payload->attachments[i];

        status = lace_attached_hold(view->region, attachment, &outgoing.attached[i]);
        if (status == LACE_OK && attachment->kind == LACE_ATTACH_BLOCK)
            outgoing.weight += lace_block_size(attachment->as.block);
    }
    if (status == LACE_OK && view->max_bytes != 0 && outgoing.weight > view->max_bytes)
        status = LACE_TOO_BIG;
    if (status != LACE_OK) {
        lace_outgoing_discard(view->region, &outgoing);
        return status;
    }
    if (outgoing.content != 0 && payload->size != 0)
        memcpy(view->region->base + outgoing.content + count * sizeof *outgoing.attached, payload->data,
               payload->size);
    *ret_outgoing = outgoing;
    return LACE_OK;
}

void lace_outgoing_store(const struct lace_outgoing *outgoing, struct lace_slot *slot)
{
    const lace_payload *payload = outgoing->payload;

    slot->size = payload->size;
    slot->weight = outgoing->weight;
    slot->content = outgoing->content;
    slot->attachments = (uint32_t)payload->attachment_count;
    if (outgoing->content == 0 && payload->size != 0)
        memcpy(slot->bytes, payload->data, payload->size);
}

void lace_attachment_destroy(const lace_attachment *attachment)
{
    switch (attachment->kind) {
    case LACE_ATTACH_SENDER:
        lace_sender_destroy(attachment->as.sender);
        break;
    case LACE_ATTACH_RECEIVER:
        lace_receiver_destroy(attachment->as.receiver);
        break;
    case LACE_ATTACH_BLOCK:
        lace_block_destroy(attachment->as.block);
        break;
    default:
        break;
    }
}

void lace_outgoing_sent(struct lace_region *region, struct lace_outgoing *outgoing)
{
    const lace_payload *payload = outgoing->payload;

    lace_held_put(region, outgoing->held);
    for (size_t i = 0; i < payload->attachment_count; i++)
        lace_attachment_destroy(&payload->attachments[i]);
}

void lace_outgoing_discard(struct lace_region *region, struct lace_outgoing *outgoing)
{
    if (outgoing->payload == NULL || outgoing->content == 0)
        return;
    if (outgoing->attached != NULL)
        release_attached(region, outgoing->attached, outgoing->payload->attachment_count);
    LACE_BEGIN();
    lace_held_change(outgoing->held, LACE_HELD_CHUNK);
    LACE_END_SECTION();
    lace_heap_free(region, outgoing->content, outgoing->held);
    lace_held_put(region, outgoing->held);
}

/* ---- slots -------------------------------------------------------------------------------------------- */

void lace_attached_release(struct lace_region *region, struct lace_attached *attached, struct lace_doomed *doomed)
{
    uint32_t kind = attached->kind;
    struct lace_view view;

    switch (kind) {
    case LACE_ATTACH_BLOCK:
        lace_block_let_go(region, attached->offset, attached);
        break;
    case LACE_ATTACH_SENDER:
    case LACE_ATTACH_RECEIVER:
    case LACE_HELD_REFERENCE:
        if (lace_ring_view(region, attached->offset, &view) != LACE_OK)
            break;
        if (kind != LACE_HELD_REFERENCE)
            lace_ring_drop_end(&view, kind == LACE_ATTACH_SENDER ? LACE_SIDE_SENDER : LACE_SIDE_RECEIVER, 0, NULL,
                               doomed, attached);
        lace_ring_unref(&view, attached);
        break;
    default:
        break;
    }
    attached->kind = LACE_ATTACH_NONE;
}

lace_status lace_attached_take(struct lace_region *region, struct lace_attached *attached,
                               lace_attachment *ret_attachment)
{
    struct lace_attached copy = *attached;
    lace_attachment taken = {.kind = (lace_attachment_kind)copy.kind};
    struct lace_view view;
    struct lace_end *end;
    lace_status status;

    switch (copy.kind) {
    case LACE_ATTACH_NONE:
        return LACE_INVALID;
    case LACE_ATTACH_BLOCK:
        status = lace_block_adopt(region, attached, &taken.as.block);
        if (status != LACE_OK)
            return status;
        break;
    case LACE_ATTACH_SENDER:
    case LACE_ATTACH_RECEIVER:
        status = lace_ring_view(region, copy.offset, &view);
        if (status == LACE_OK)
            status = lace_end_create(&view, copy.kind == LACE_ATTACH_SENDER ? LACE_SIDE_SENDER : LACE_SIDE_RECEIVER,
                                     &end);
        if (status != LACE_OK)
            return status;
        LACE_BEGIN();
        lace_held_set(end->held, copy.kind, 0, copy.offset);
        lace_held_change(attached, LACE_ATTACH_NONE);
        LACE_END_SECTION();
        if (copy.kind == LACE_ATTACH_SENDER)
            taken.as.sender = (lace_sender *)end;
        else
            taken.as.receiver = (lace_receiver *)end;
        break;
    default:
        return LACE_CORRUPT;
    }
    *ret_attachment = taken;
    return LACE_OK;
}

/* Where a slot's attachments and then its data lie; NULL when the slot is damaged. */
static unsigned char *slot_bytes(struct lace_region *region, const struct lace_slot *slot)
{
    uint64_t total = lace_slot_total(slot->size, slot->attachments);

    if (slot->attachments > LACE_MAX_ATTACHMENTS || slot->size > region->size)
        return NULL;
    if (slot->content == 0)
        return slot->attachments == 0 && total <= LACE_SLOT_INLINE ? (unsigned char *)slot->bytes : NULL;
    if (lace_heap_size(region, slot->content) < total)
        return NULL;
    return region->base + slot->content;
}

void lace_slot_release(struct lace_region *region, const struct lace_slot *slot, struct lace_doomed *doomed)
{
    unsigned char *bytes = slot_bytes(region, slot);

    if (bytes == NULL)
        return;
    for (uint32_t i = 0; i < slot->attachments; i++) {
        struct lace_attached attached;

        memcpy(&attached, bytes + i * sizeof attached, sizeof attached);
        lace_attached_release(region, &attached, doomed);
    }
    if (slot->content != 0)
        lace_heap_free(region, slot->content, NULL);
}

/* ---- the container ------------------------------------------------------------------------------------ */

lace_status lace_message_create(lace_region *region, lace_message **ret_message)
{
    if (lace_forked())
        return LACE_FORKED;
    if (ret_message == NULL)
        return LACE_INVALID;
    lace_message *message = lace_allocate(sizeof *message);
    if (message == NULL)
        return LACE_NOMEM;
    message->region = region;
    message->data = message->bytes;
    if (region != NULL)
        lace_region_hold(region);
    *ret_message = message;
    return LACE_OK;
}

void lace_message_destroy(lace_message *message)
{
    if (lace_forked())
        return;
    if (message == NULL)
        return;
    lace_message_clear(message);
    if (message->region != NULL)
        lace_region_drop(message->region);
    free(message->buffer);
    free(message);
}

void lace_message_clear(lace_message *message)
{
    if (lace_forked() || message == NULL)
        return;
    if (message->attachments != 0)
        release_attached(message->region, message->attached, message->attachments);
    if (message->content != 0) {
        LACE_BEGIN();
        lace_held_change(message->held, LACE_HELD_CHUNK);
        LACE_END_SECTION();
        lace_heap_free(message->region, message->content, message->held);
    }
    lace_held_put(message->region, message->held);
    message->held = NULL;
    message->attachments = 0;
    message->content = 0;
    message->data = message->bytes;
    message->size = 0;
    message->weight = 0;
}

lace_status lace_message_load(lace_message *message, const struct lace_slot *slot)
{
    uint64_t size = slot->size;
    uint32_t attachments = slot->attachments;
    uint64_t content = slot->content;
    uint64_t front = (uint64_t)attachments * sizeof(struct lace_attached);
    unsigned char *bytes;

    if (attachments > LACE_MAX_ATTACHMENTS || size > message->region->size)
        return LACE_CORRUPT;
    if (content == 0) {
        if (size > LACE_SLOT_INLINE || attachments != 0)
            return LACE_CORRUPT;
        bytes = message->bytes;
        memcpy(bytes, slot->bytes, size);
    } else {
        if (lace_heap_size(message->region, content) < size + front)
            return LACE_CORRUPT;
        bytes = message->region->base + content;
        lace_held_set(message->held, LACE_HELD_MESSAGE, attachments, content);
    }
    lace_message_show(message, content, bytes, attachments, size);
    message->weight = slot->weight;
    return LACE_OK;
}

const void *lace_message_data(const lace_message *message)
{
    return message != NULL ? message->data : NULL;
}

size_t lace_message_size(const lace_message *message)
{
    return message != NULL ? message->size : 0;
}

size_t lace_message_attachments(const lace_message *message)
{
    return message != NULL ? message->attachments : 0;
}

lace_attachment_kind lace_message_kind(const lace_message *message, size_t index)
{
    return message != NULL && index < message->attachments ? (lace_attachment_kind)message->attached[index].kind
                                                           : LACE_ATTACH_NONE;
}

lace_status lace_message_take(lace_message *message, size_t index, lace_attachment *ret_attachment)
{
    if (lace_forked())
        return LACE_FORKED;
    if (message == NULL || ret_attachment == NULL || index >= message->attachments)
        return LACE_INVALID;
    return lace_attached_take(message->region, &message->attached[index], ret_attachment);
}

lace_status lace_message_block(const lace_message *message, size_t index, lace_block **ret_block)
{
    if (lace_forked())
        return LACE_FORKED;
    if (message == NULL || ret_block == NULL || lace_message_kind(message, index) != LACE_ATTACH_BLOCK)
        return LACE_INVALID;

    return lace_block_open(message->region, message->attached[index].offset, ret_block);
}
