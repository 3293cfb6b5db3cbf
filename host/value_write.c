/* value_write.c - values to messages.
 *
 * A message is a pickle of protocol 5 with ends and blocks beside it, as codec.c has it: an end is a call of
 * _interlace._attach() with the number of its attachment, a block one of _interlace._buffer() with an out-of-band
 * buffer, for which a letter stands behind the pickle. A large pickle is a block itself, the first attachment, and
 * the letters are all that the bytes are then. What a value shares is written once and then referred to. */
#include "value.h"
#include "value_op.h"

#include <endian.h>
#include <string.h>

#define OWN_ROOM 512                  /* bytes of a message that is written without any allocation */
#define OP_ROOM 32                    /* at least the longest opcode with its number, an end, and a MEMOIZE */
#define BLOCK_FROM ((size_t)64 << 10) /* a pickle of that room is a block */

/* A value that may be met again. */
typedef struct met {
    const lace_value *value; /* NULL: free */
    uint32_t index;
} met;

/* A container whose items are being written. */
typedef struct open_container {
    const lace_value *container;
    size_t next;    /* of a dict: keys and items in turn */
    bool exclusive; /* nobody else has it */
} open_container;

typedef struct writer {
    lace_region *region;     /* NULL: no blocks */
    unsigned char *at, *end; /* the free part of the buffer */
    unsigned char *data;     /* the buffer: own, of malloc, or of `block` */
    lace_block *block;
    lace_attachment *attachments; /* with room for one more */
    size_t attachment_count, attachment_room;
    char *letters;
    size_t letter_count, letter_room;
    met *met; /* open addressing */
    size_t met_count, met_room;
    open_container *open;
    size_t depth, open_room;
    open_container own_open[8];
    unsigned char own[OWN_ROOM];
} writer;

/* ---- the buffer ----------------------------------------------------------------------------------------- */

static lace_status grow(writer *w, size_t need)
{
    size_t used = (size_t)(w->at - w->data), room = (size_t)(w->end - w->data) * 2;
    if (need > PTRDIFF_MAX / 2 - used)
        return lace_value_no_memory();
    room = room > used + need ? room : used + need;
    unsigned char *data;
    lace_block *block = NULL;
    if (w->region != NULL && room >= BLOCK_FROM) {
        if (lace_block_create(w->region, room, &block) != LACE_OK)
            return lace_object(LACE_NOMEM, "the region has no room for a message of %zu bytes", room);
        data = lace_block_data(block);
    } else {
        data = lace_value_reallocate(w->data == w->own ? NULL : w->data, room);
        if (data == NULL)
            return lace_value_no_memory();
    }
    if (block != NULL || w->data == w->own)
        memcpy(data, w->data, used);
    if (w->block != NULL)
        lace_block_destroy(w->block);
    else if (block != NULL && w->data != w->own)
        free(w->data);
    w->block = block;
    w->data = data;
    w->at = data + used;
    w->end = data + room;
    return LACE_OK;
}

static inline lace_status reserve(writer *w, size_t need)
{
    return (size_t)(w->end - w->at) >= need ? LACE_OK : grow(w, need);
}

/* These write into room that has been reserved. */

static inline void put(writer *w, unsigned char byte)
{
    *w->at++ = byte;
}

static inline void put_bytes(writer *w, const void *bytes, size_t size)
{
    memcpy(w->at, bytes, size);
    w->at += size;
}

static inline void put_16(writer *w, uint16_t number)
{
    number = htole16(number);
    put_bytes(w, &number, sizeof number);
}

static inline void put_32(writer *w, uint32_t number)
{
    number = htole32(number);
    put_bytes(w, &number, sizeof number);
}

static inline void put_64(writer *w, uint64_t number)
{
    number = htole64(number);
    put_bytes(w, &number, sizeof number);
}

/* ---- what has been met ---------------------------------------------------------------------------------- */

static met *met_entry(const writer *w, const lace_value *value)
{
    uint64_t hash = ((uint64_t)(uintptr_t)value >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    size_t place = (size_t)(hash >> 32) & (w->met_room - 1);
    while (w->met[place].value != NULL && w->met[place].value != value)
        place = (place + 1) & (w->met_room - 1);
    return &w->met[place];
}

/* Room for one entry more. */
static lace_status met_reserve(writer *w)
{
    if (w->met_count < w->met_room / 2)
        return LACE_OK;
    met *old = w->met;
    size_t old_room = w->met_room, room = old_room ? old_room * 2 : 32;
    met *grown = LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : calloc(room, sizeof *grown);
    if (grown == NULL)
        return lace_value_no_memory();
    w->met = grown;
    w->met_room = room;
    for (size_t i = 0; i < old_room; i++) {
        if (old[i].value != NULL)
            *met_entry(w, old[i].value) = old[i];
    }
    free(old);
    return LACE_OK;
}

/* Whether the value has been written; then a reference to it has been. */
static lace_status met_before(writer *w, const lace_value *value, bool *ret_written)
{
    lace_status status = met_reserve(w);
    if (status != LACE_OK)
        return status;
    const met *entry = met_entry(w, value);
    *ret_written = entry->value != NULL;
    if (entry->value == NULL)
        return LACE_OK;
    if (entry->index <= UINT8_MAX) {
        put(w, OP_BINGET);
        put(w, (unsigned char)entry->index);
    } else {
        put(w, OP_LONG_BINGET);
        put_32(w, entry->index);
    }
    return LACE_OK;
}

/* The value that has just been written gets the next index, as the reader counts them. */
static lace_status met_now(writer *w, const lace_value *value)
{
    if (!lace_value_is_shared(value))
        return LACE_OK;
    lace_status status = met_reserve(w);
    if (status == LACE_OK)
        status = reserve(w, OP_ROOM);
    if (status != LACE_OK || w->met_count == UINT32_MAX)
        return status;
    *met_entry(w, value) = (met){value, (uint32_t)w->met_count++};
    put(w, OP_MEMOIZE);
    return LACE_OK;
}

/* ---- leaves --------------------------------------------------------------------------------------------- */

static void put_int(writer *w, int64_t number)
{
    if (number >= 0 && number <= UINT8_MAX) {
        put(w, OP_BININT1);
        put(w, (unsigned char)number);
    } else if (number >= 0 && number <= UINT16_MAX) {
        put(w, OP_BININT2);
        put_16(w, (uint16_t)number);
    } else if (number >= INT32_MIN && number <= INT32_MAX) {
        put(w, OP_BININT);
        put_32(w, (uint32_t)(int32_t)number);
    } else {
        uint64_t magnitude = (uint64_t)(number < 0 ? ~number : number);
        size_t size = (size_t)(64 - __builtin_clzll(magnitude)) / 8 + 1; /* and a bit for the sign */
        put(w, OP_LONG1);
        put(w, (unsigned char)size);
        put_64(w, (uint64_t)number);
        w->at -= sizeof number - size;
    }
}

static lace_status put_big(writer *w, const struct lace_text *big)
{
    lace_status status = reserve(w, big->size + OP_ROOM);
    if (status != LACE_OK)
        return status;
    if (big->size <= UINT8_MAX) {
        put(w, OP_LONG1);
        put(w, (unsigned char)big->size);
    } else {
        put(w, OP_LONG4);
        put_32(w, (uint32_t)big->size);
    }
    put_bytes(w, big->bytes, big->size);
    return LACE_OK;
}

static void put_float(writer *w, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    bits = htobe64(bits); /* alone in pickle, floats have their highest byte first */
    put(w, OP_BINFLOAT);
    put_bytes(w, &bits, sizeof bits);
}

/* A str or bytes; pickle has three opcodes for each. */
static lace_status put_text(writer *w, const unsigned char ops[3], const void *bytes, size_t size)
{
    lace_status status = reserve(w, size + OP_ROOM);
    if (status != LACE_OK)
        return status;
    if (size <= UINT8_MAX) {
        put(w, ops[0]);
        put(w, (unsigned char)size);
    } else if (size <= UINT32_MAX) {
        put(w, ops[1]);
        put_32(w, (uint32_t)size);
    } else {
        put(w, ops[2]);
        put_64(w, size);
    }
    if (size > 0)
        put_bytes(w, bytes, size);
    return LACE_OK;
}

/* ---- ends and blocks ------------------------------------------------------------------------------------ */

/* Gives the attachment to the message. */
static lace_status attach(writer *w, lace_attachment attachment)
{
    if (w->attachment_count == LACE_MAX_ATTACHMENTS - 1) /* one is kept for the pickle itself */
        return lace_object(LACE_TOO_BIG, "a message can carry 65534 channel ends and blocks at most");
    if (w->attachment_count + 1 >= w->attachment_room &&
        !lace_value_grow(&w->attachments, &w->attachment_room, sizeof *w->attachments, NULL))
        return lace_value_no_memory();
    w->attachments[w->attachment_count++] = attachment;
    return LACE_OK;
}

static void let_go(const lace_attachment *attachment)
{
    if (attachment->kind == LACE_ATTACH_SENDER)
        lace_sender_destroy(attachment->as.sender);
    else if (attachment->kind == LACE_ATTACH_RECEIVER)
        lace_receiver_destroy(attachment->as.receiver);
    else if (attachment->kind == LACE_ATTACH_BLOCK)
        lace_block_destroy(attachment->as.block);
}

/* One more end of the same channel: the value keeps its own until it goes. */
static lace_status clone_end(const struct lace_carried *carried, lace_attachment *ret_end)
{
    bool sender = carried->value.type == LACE_TYPE_SENDER;
    lace_status status = LACE_CLOSED;
    ret_end->kind = sender ? LACE_ATTACH_SENDER : LACE_ATTACH_RECEIVER;
    pthread_mutex_lock(&lace_ends_lock);
    if (carried->end != NULL)
        status = sender ? lace_sender_clone(carried->end, &ret_end->as.sender)
                        : lace_receiver_clone(carried->end, &ret_end->as.receiver);
    pthread_mutex_unlock(&lace_ends_lock);
    if (status == LACE_CLOSED)
        return lace_object(LACE_INVALID, "a %s in the value has been closed or taken",
                                    lace_type_name(carried->value.type));
    return status == LACE_NOMEM ? lace_value_no_memory() : status;
}

static lace_status put_end(writer *w, const struct lace_carried *carried)
{
    static const char call[] = "\x8c\x0a_interlace\x8c\x07_attach\x93"; /* STACK_GLOBAL of the two names */
    lace_attachment end;
    if (w->region == NULL)
        return lace_object(LACE_UNSUPPORTED, "a pipe carries no channel ends");
    lace_status status = clone_end(carried, &end);
    if (status != LACE_OK)
        return status;
    const lace_region *lies_in = end.kind == LACE_ATTACH_SENDER ? lace_sender_region(end.as.sender)
                                                                : lace_receiver_region(end.as.receiver);
    if (lies_in != NULL && lies_in != w->region) { /* NULL: it is a pipe's, which lace_send() refuses */
        let_go(&end);
        return lace_object(LACE_INVALID, "a %s in the value is of another region than what it is sent over",
                           lace_type_name(carried->value.type));
    }
    size_t index = w->attachment_count;
    status = attach(w, end);
    if (status != LACE_OK) {
        let_go(&end);
        return status;
    }
    put_bytes(w, call, sizeof call - 1);
    put_int(w, (int64_t)index);
    put(w, OP_TUPLE1);
    put(w, OP_REDUCE);
    return LACE_OK;
}

static lace_status put_block(writer *w, const struct lace_laid *laid, bool exclusive)
{
    static const char call[] = "\x8c\x0a_interlace\x8c\x07_buffer\x93";
    lace_attachment block = {.kind = LACE_ATTACH_BLOCK};
    /* What others hold as well, nobody may write to any more; nor later, when they have let go of it here. */
    if (!exclusive)
        atomic_store_explicit(&((struct lace_laid *)laid)->readonly, true, memory_order_relaxed);
    bool readonly = atomic_load_explicit(&laid->readonly, memory_order_relaxed);
    if (w->letter_count == w->letter_room && !lace_value_grow(&w->letters, &w->letter_room, 1, NULL))
        return lace_value_no_memory();
    lace_status status = lace_block_share(laid->block, &block.as.block);
    if (status != LACE_OK)
        return status == LACE_NOMEM ? lace_value_no_memory() : status;
    status = attach(w, block);
    if (status != LACE_OK) {
        let_go(&block);
        return status;
    }
    w->letters[w->letter_count++] = readonly ? 'r' : 'w';
    put_bytes(w, call, sizeof call - 1);
    put(w, OP_NEXT_BUFFER);
    if (readonly)
        put(w, OP_READONLY_BUFFER);
    put(w, OP_TUPLE1);
    put(w, OP_REDUCE);
    return LACE_OK;
}

/* ---- values --------------------------------------------------------------------------------------------- */

static lace_status open_one(writer *w, const lace_value *value, bool exclusive)
{
    if (w->depth == w->open_room && !lace_value_grow(&w->open, &w->open_room, sizeof *w->open, w->own_open))
        return lace_value_no_memory();
    w->open[w->depth++] = (open_container){value, 0, exclusive};
    return LACE_OK;
}

/* Begins a container. A list or dict may be referred to at once, a tuple only after its items. */
static lace_status put_container(writer *w, const lace_value *value, bool exclusive)
{
    size_t size = lace_value_size(value);
    lace_status status = LACE_OK;
    if (value->type == LACE_TYPE_TUPLE && size == 0)
        return put(w, OP_EMPTY_TUPLE), LACE_OK;
    if (value->type != LACE_TYPE_TUPLE) {
        put(w, value->type == LACE_TYPE_LIST ? OP_EMPTY_LIST : OP_EMPTY_DICT);
        status = met_now(w, value);
        if (status == LACE_OK)
            status = reserve(w, OP_ROOM);
        if (status != LACE_OK || size == 0)
            return status;
    }
    if (size > (value->type == LACE_TYPE_TUPLE ? 3 : 1))
        put(w, OP_MARK);
    return open_one(w, value, exclusive);
}

/* Writes a leaf, or the beginning of a container. */
static lace_status put_value(writer *w, const lace_value *value, bool exclusive)
{
    static const unsigned char str_ops[] = {OP_SHORT_BINUNICODE, OP_BINUNICODE, OP_BINUNICODE8};
    static const unsigned char bytes_ops[] = {OP_SHORT_BINBYTES, OP_BINBYTES, OP_BINBYTES8};
    const struct lace_number *number = (const struct lace_number *)value;
    const struct lace_text *text = (const struct lace_text *)value;
    const struct lace_laid *laid = (const struct lace_laid *)value;
    lace_status status = lace_value_state(value);
    if (status == LACE_OK)
        status = reserve(w, 2 * OP_ROOM);
    if (status != LACE_OK)
        return status;
    if ((value->type >= LACE_TYPE_STR || value->flags & LACE_VALUE_BIG) && lace_value_is_shared(value)) {
        bool written;
        status = met_before(w, value, &written);
        if (status != LACE_OK || written)
            return status;
    }
    switch (value->type) {
    case LACE_TYPE_NONE:
        return put(w, OP_NONE), LACE_OK;
    case LACE_TYPE_BOOL:
        return put(w, number->as.integer ? OP_NEWTRUE : OP_NEWFALSE), LACE_OK;
    case LACE_TYPE_INT:
        if ((value->flags & LACE_VALUE_BIG) == 0)
            return put_int(w, number->as.integer), LACE_OK;
        status = put_big(w, text);
        break;
    case LACE_TYPE_FLOAT:
        return put_float(w, number->as.real), LACE_OK;
    case LACE_TYPE_STR:
        status = put_text(w, str_ops, text->bytes, text->size);
        break;
    case LACE_TYPE_BYTES:
        if (value->flags & LACE_VALUE_OUT_OF_BAND && w->region != NULL)
            status = put_block(w, laid, exclusive);
        else if (value->flags & LACE_VALUE_LAID)
            status = put_text(w, bytes_ops, laid->data, laid->size);
        else
            status = put_text(w, bytes_ops, text->bytes, text->size);
        break;
    case LACE_TYPE_SENDER:
    case LACE_TYPE_RECEIVER:
        status = put_end(w, (const struct lace_carried *)value);
        break;
    default:
        return put_container(w, value, exclusive);
    }
    return status == LACE_OK ? met_now(w, value) : status;
}

/* Ends the innermost container. */
static lace_status put_close(writer *w, const lace_value *container, size_t size)
{
    static const unsigned char tuples[] = {0, OP_TUPLE1, OP_TUPLE2, OP_TUPLE3};
    lace_status status = reserve(w, OP_ROOM);
    if (status != LACE_OK)
        return status;
    w->depth--;
    if (container->type == LACE_TYPE_LIST)
        return put(w, size > 1 ? OP_APPENDS : OP_APPEND), LACE_OK;
    if (container->type == LACE_TYPE_DICT)
        return put(w, size > 1 ? OP_SETITEMS : OP_SETITEM), LACE_OK;
    put(w, size > 3 ? OP_TUPLE : tuples[size]);
    return met_now(w, container);
}

static lace_status put_message(writer *w, const lace_value *value)
{
    put(w, OP_PROTO);
    put(w, 5);
    lace_status status = put_value(w, value, lace_value_held(value) == LACE_HELD_ONE);
    while (status == LACE_OK && w->depth > 0) {
        open_container *top = &w->open[w->depth - 1];
        const lace_value *container = top->container, *item;
        size_t size = lace_value_size(container), next = top->next++;
        bool dict = container->type == LACE_TYPE_DICT;
        if (next == (dict ? 2 * size : size)) {
            status = put_close(w, container, size);
            continue;
        }
        if (!dict)
            item = ((const struct lace_items *)container)->items[next];
        else if (next % 2 == 0)
            item = ((const struct lace_dict *)container)->pairs[next / 2].key;
        else
            item = ((const struct lace_dict *)container)->pairs[next / 2].item;
        status = put_value(w, item, top->exclusive && !lace_value_is_shared(item));
    }
    if (status == LACE_OK)
        status = reserve(w, OP_ROOM);
    if (status == LACE_OK)
        put(w, OP_STOP);
    return status;
}

/* ---- messages ------------------------------------------------------------------------------------------- */

/* Puts the letters, and a pickle that is a block, where they belong. */
static lace_status assemble(writer *w, lace_payload *ret_payload)
{
    *ret_payload = (lace_payload){.data = w->data, .size = (size_t)(w->at - w->data)};
    if (w->block != NULL) {
        if (w->attachments == NULL &&
            !lace_value_grow(&w->attachments, &w->attachment_room, sizeof *w->attachments, NULL))
            return lace_value_no_memory();
        memmove(w->attachments + 1, w->attachments, w->attachment_count * sizeof *w->attachments);
        w->attachments[0] = (lace_attachment){.kind = LACE_ATTACH_BLOCK, .as.block = w->block};
        w->attachment_count++;
        w->block = NULL;
        ret_payload->data = w->data = (unsigned char *)w->letters;
        ret_payload->size = w->letter_count;
        w->letters = NULL;
    } else if (w->letter_count > 0) {
        lace_status status = reserve(w, w->letter_count);
        if (status != LACE_OK)
            return status;
        if (w->block != NULL) /* it has just become one */
            return assemble(w, ret_payload);
        put_bytes(w, w->letters, w->letter_count);
        ret_payload->data = w->data;
        ret_payload->size += w->letter_count;
    }
    ret_payload->attachments = w->attachments;
    ret_payload->attachment_count = w->attachment_count;
    return LACE_OK;
}

/* Ends what the writer has but for the payload, and the payload as well when there is none. */
static void clean_up(writer *w, bool keep_payload)
{
    if (w->open != w->own_open)
        free(w->open);
    free(w->met);
    free(w->letters);
    if (keep_payload)
        return;
    for (size_t i = 0; i < w->attachment_count; i++)
        let_go(&w->attachments[i]);
    free(w->attachments);
    if (w->block != NULL)
        lace_block_destroy(w->block);
    else if (w->data != w->own)
        free(w->data);
}

/* Writes the value and takes it. The payload lies in the writer, in part. */
static lace_status write_value(writer *w, lace_value *value, lace_region *region, lace_payload *ret_payload)
{
    w->region = region;
    w->data = w->at = w->own;
    w->end = w->own + sizeof w->own;
    w->block = NULL;
    w->attachments = NULL;
    w->letters = NULL;
    w->met = NULL;
    w->open = w->own_open;
    w->open_room = sizeof w->own_open / sizeof *w->own_open;
    w->attachment_count = w->attachment_room = w->letter_count = w->letter_room = 0;
    w->met_count = w->met_room = w->depth = 0;
    lace_status status;
    if (value == NULL)
        status = lace_object(LACE_INVALID, "there is no value to send");
    else if (lace_value_handles(value) == 0 && (value->flags & LACE_VALUE_STATIC) == 0)
        status = lace_object(LACE_INVALID, "a value that has been put into another belongs to that: "
                                                    "lace_value_share() makes a handle to send");
    else
        status = put_message(w, value);
    if (status == LACE_OK)
        status = assemble(w, ret_payload);
    lace_value_destroy(value);
    clean_up(w, status == LACE_OK);
    return status;
}

lace_status lace_value_encode(lace_value *value, lace_region *region, lace_payload *ret_payload)
{
    writer w;
    lace_payload payload;
    if (ret_payload == NULL) {
        lace_value_destroy(value);
        return lace_object(LACE_INVALID, "lace_value_encode() got nowhere to store the payload");
    }
    lace_status status = write_value(&w, value, region, &payload);
    if (status != LACE_OK)
        return status;
    if (payload.data == w.own) {
        void *data = lace_value_allocate(payload.size);
        if (data == NULL) {
            lace_payload_finish(
                &(lace_payload){.attachments = payload.attachments, .attachment_count = payload.attachment_count},
                false);
            return lace_value_no_memory();
        }
        memcpy(data, payload.data, payload.size);
        payload.data = data;
    }
    *ret_payload = payload;
    return LACE_OK;
}

void lace_payload_finish(lace_payload *payload, bool sent)
{
    if (payload == NULL)
        return;
    for (size_t i = 0; i < payload->attachment_count && !sent; i++)
        let_go(&payload->attachments[i]);
    free((void *)payload->attachments);
    free((void *)payload->data);
    *payload = (lace_payload){0};
}

lace_status lace_send_value(lace_sender *sender, lace_value *value, const lace_wait *wait)
{
    writer w;
    lace_payload payload;
    if (sender == NULL) {
        lace_value_destroy(value);
        return lace_object(LACE_INVALID, "there is no sender to send a value with");
    }
    lace_status status = write_value(&w, value, lace_sender_region(sender), &payload);
    if (status != LACE_OK)
        return status;
    status = lace_send(sender, &payload, wait);
    if (payload.data == w.own)
        payload.data = NULL;
    lace_payload_finish(&payload, status == LACE_OK);
    return status == LACE_OK ? status : lace_object(status, "%s", lace_explain(status));
}
