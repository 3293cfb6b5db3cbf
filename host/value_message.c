/* value_message.c - whole messages read: what lies where in one, and receiving. */
#include "value_reader.h"

/* Finds the pickle and the letters. `data` may be a block instead: see value_write.c. */
static lace_status read_message(const unsigned char *data, size_t size, lace_source *from, lace_value **ret_value)
{
    lace_status status = LACE_OK;
    if (from->count > 0) {
        from->named = LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : calloc(from->count, sizeof *from->named);
        if (from->named == NULL)
            return lace_value_no_memory();
    }
    from->letters = data;
    from->letter_count = size;
    if (size == 0 || data[0] != OP_PROTO) {
        if (lace_source_kind(from, 0) != LACE_ATTACH_BLOCK)
            status = lace_object(LACE_NOT_PLAIN, "this is no message: it does not begin as one");
        else if (from->message != NULL)
            status = lace_message_block(from->message, 0, &from->body);
        else
            status = lace_block_share(from->payload->attachments[0].as.block, &from->body);
        if (status == LACE_OK) {
            from->named[0] = true;
            from->first = from->next = 1;
            data = lace_block_data(from->body);
            size = lace_block_size(from->body);
        }
    } else {
        size_t letters = 0;
        while (letters < from->count && letters < size && data[size - 1 - letters] != OP_STOP)
            letters++;
        from->letters = data + size - letters;
        from->letter_count = letters;
    }
    if (status == LACE_OK)
        status = lace_reader_run(data, size, from, ret_value);
    else if (status == LACE_NOMEM)
        lace_value_no_memory();
    if (from->body != NULL)
        lace_block_destroy(from->body);
    return status;
}

lace_status lace_value_read_message(lace_message *message, size_t skip, lace_value **ret_value)
{
    size_t size = lace_message_size(message);
    const unsigned char *data = lace_message_data(message);
    lace_source from = {.message = message, .count = lace_message_attachments(message)};
    if (skip > size)
        return lace_object(LACE_NOT_PLAIN, "this is no message: it is too short");
    lace_status status = read_message(data + skip, size - skip, &from, ret_value);
    free(from.named);
    return status;
}

lace_status lace_value_of_message(lace_message *message, lace_value **ret_value)
{
    if (message == NULL || ret_value == NULL)
        return lace_object(LACE_INVALID, "lace_value_of_message() got a NULL");
    return lace_value_read_message(message, 0, ret_value);
}

lace_status lace_value_decode(const lace_payload *payload, lace_value **ret_value)
{
    if (payload == NULL || ret_value == NULL || (payload->data == NULL && payload->size > 0) ||
        (payload->attachments == NULL && payload->attachment_count > 0) ||
        payload->attachment_count > LACE_MAX_ATTACHMENTS)
        return lace_object(LACE_INVALID,
                                    "lace_value_decode() got a NULL, or more attachments than there can be");
    lace_source from = {.payload = payload, .count = payload->attachment_count};
    lace_status status = read_message(payload->data, payload->size, &from, ret_value);
    for (size_t i = 0; status == LACE_OK && i < from.count; i++) {
        const lace_attachment *left = &payload->attachments[i];
        if (from.named[i] && !(i == 0 && from.first == 1))
            continue;
        if (left->kind == LACE_ATTACH_SENDER)
            lace_sender_destroy(left->as.sender);
        else if (left->kind == LACE_ATTACH_RECEIVER)
            lace_receiver_destroy(left->as.receiver);
        else if (left->kind == LACE_ATTACH_BLOCK)
            lace_block_destroy(left->as.block);
    }
    free(from.named);
    return status;
}

lace_status lace_recv_value(lace_receiver *receiver, const lace_wait *wait, lace_value **ret_value)
{
    lace_message *message;
    if (receiver == NULL || ret_value == NULL)
        return lace_object(LACE_INVALID, "lace_recv_value() got a NULL");
    lace_status status = lace_message_create(lace_receiver_region(receiver), &message);
    if (status != LACE_OK)
        return lace_object(status, "%s", lace_strerror(status));
    status = lace_recv(receiver, message, wait);
    if (status == LACE_OK)
        status = lace_value_read_message(message, 0, ret_value);
    else
        lace_object(status, "%s", lace_explain(status));
    lace_message_destroy(message);
    return status;
}
