/* message.h - messages on their way into a slot, and the container that a receive fills. */
#ifndef LACE_MESSAGE_H
#define LACE_MESSAGE_H

#include "held.h"
#include "ring.h"

/* A message made ready for sending: the large part of the work, done before any lock is taken. */
struct lace_outgoing {
    const lace_payload *payload; /* NULL: nothing prepared */
    uint64_t weight;
    uint64_t content;               /* heap chunk with all of it, or 0 */
    struct lace_attached *attached; /* counts taken on what is attached, in front in that chunk; or NULL */
    struct lace_attached *held;     /* a child's record of the chunk; NULL where there is none */
};

/* Checks the payload and makes it ready. INVALID, TOO_BIG, UNSUPPORTED, NOMEM, CORRUPT. */
lace_status lace_outgoing_prepare(const struct lace_view *view, const lace_payload *payload,
                                  struct lace_outgoing *ret_outgoing);
/* Fills the slot, which owns everything then. */
void lace_outgoing_store(const struct lace_outgoing *outgoing, struct lace_slot *slot);
/* After it was sent: takes the caller's attachments. */
void lace_outgoing_sent(struct lace_region *region, struct lace_outgoing *outgoing);
/* After it was not: lets go of what was prepared. */
void lace_outgoing_discard(struct lace_region *region, struct lace_outgoing *outgoing);

/* Whether a payload is sent with no preparation at all. */
static inline bool lace_payload_plain(const lace_payload *payload)
{
    return payload->attachment_count == 0 && payload->size <= LACE_SLOT_INLINE &&
           (payload->data != NULL || payload->size == 0);
}

struct lace_asking;

struct lace_message {
    struct lace_region *region; /* NULL: for pipes */
    const unsigned char *data;
    uint64_t size;
    uint64_t weight;
    uint64_t content; /* heap chunk that holds data and attachments, or 0 */
    struct lace_attached *attached;
    uint32_t attachments;
    struct lace_attached *held; /* a child's record of the chunk, got before the first message comes; NULL in the host */
    struct lace_asking *asking; /* while it is received into from a channel that redelivers: see confirm.h */
    bool redelivered;
    unsigned char *buffer; /* what a pipe's frame was received into; grows */
    size_t room;
    _Alignas(16) unsigned char bytes[LACE_SLOT_INLINE];
};

/* Empties the container for a receive: what clear does, in a hurry. */
static inline void lace_message_reset(lace_message *message)
{
    if (message->attachments != 0 || message->content != 0)
        lace_message_clear(message);
    message->data = message->bytes;
    message->size = 0;
    message->redelivered = false;
}

/* Has the container show what lies at `bytes`, in the chunk `content` or 0: attachments, then data. */
static inline void lace_message_show(lace_message *message, uint64_t content, unsigned char *bytes,
                                     uint32_t attachments, uint64_t size)
{
    message->content = content;
    message->attached = (struct lace_attached *)bytes;
    message->attachments = attachments;
    message->data = bytes + (size_t)attachments * sizeof(struct lace_attached);
    message->size = size;
}

/* Makes a container of a struct of the caller's, for one receive: it holds no handle of the region, and ends with
 * lace_message_clear. */
static inline void lace_message_begin(lace_message *message, struct lace_region *region)
{
    message->region = region;
    message->data = message->bytes;
    message->size = 0;
    message->weight = 0;
    message->content = 0;
    message->attachments = 0;
    message->held = NULL;
    message->asking = NULL;
    message->redelivered = false;
    message->buffer = NULL;
    message->room = 0;
}

/* Before a receive: a child's message gets its record. NOMEM. */
static inline lace_status lace_message_ready(lace_message *message)
{
    return !LACE_JOURNALS() || message->held != NULL || lace_held_get(message->region, &message->held) ? LACE_OK
                                                                                                     : LACE_NOMEM;
}

/* Moves a slot's message into an empty container; the slot owns nothing then. CORRUPT. */
lace_status lace_message_load(lace_message *message, const struct lace_slot *slot);

/* Lets go of all that a slot owns. Channels that this dooms are put in the list. */
void lace_slot_release(struct lace_region *region, const struct lace_slot *slot, struct lace_doomed *doomed);

/* Takes a count on what `attachment` names, for a slot of `region`. INVALID, UNSUPPORTED, CORRUPT. */
lace_status lace_attached_hold(struct lace_region *region, const lace_attachment *attachment,
                               struct lace_attached *ret_attached);
/* Makes a handle of what lies in a slot, which holds it no more. INVALID when there is nothing, NOMEM, CORRUPT. */
lace_status lace_attached_take(struct lace_region *region, struct lace_attached *attached,
                               lace_attachment *ret_attachment);
/* Ends the handle. */
void lace_attachment_destroy(const lace_attachment *attachment);

/* Lets go of one attachment: it is NONE then. */
void lace_attached_release(struct lace_region *region, struct lace_attached *attached,
                           struct lace_doomed *doomed);

/* block.c: a block by its offset. */
#define LACE_BLOCK_MAGIC UINT32_C(0x4c424c4b)
lace_status lace_block_hold(struct lace_region *region, uint64_t offset, struct lace_attached *held);
void lace_block_let_go(struct lace_region *region, uint64_t offset, struct lace_attached *held);
lace_status lace_block_adopt(struct lace_region *region, struct lace_attached *from, lace_block **ret_block);
lace_status lace_block_open(struct lace_region *region, uint64_t offset, lace_block **ret_block);
uint64_t lace_block_offset(const lace_block *block);
struct lace_region *lace_block_region(const lace_block *block);

#endif
