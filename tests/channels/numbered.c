/* numbered.c - messages that carry a number, and can be checked. */
#include "numbered.h"

#include <string.h>

void numbered_payload(lace_region *region, uint64_t value, unsigned char *bytes, lace_attachment *attached,
                      lace_payload *payload)
{
    *payload = (lace_payload){.data = bytes, .size = value % 3 == 1 ? NUMBERED_LARGE : 20};
    memset(bytes, (int)value, payload->size);
    memcpy(bytes, &value, sizeof value);
    if (value % 3 == 2) {
        lace_receiver *receiver;

        attached[0].kind = LACE_ATTACH_BLOCK;
        CHECK_OK(lace_block_create(region, 2000, &attached[0].as.block));
        memset(lace_block_data(attached[0].as.block), (int)value, 2000);
        attached[1].kind = LACE_ATTACH_SENDER;
        channel_make(region, 2, &attached[1].as.sender, &receiver);
        lace_receiver_destroy(receiver);
        payload->attachments = attached;
        payload->attachment_count = 2;
    }
}

uint64_t numbered_check(lace_message *message, uint64_t most)
{
    const unsigned char *bytes = lace_message_data(message);
    uint64_t value;

    CHECK(lace_message_size(message) >= sizeof value);
    memcpy(&value, bytes, sizeof value);
    CHECK(value < most);
    CHECK_UINT(lace_message_size(message), value % 3 == 1 ? NUMBERED_LARGE : 20);
    for (size_t i = sizeof value; i < lace_message_size(message); i++)
        CHECK(bytes[i] == (unsigned char)value);
    if (value % 3 == 2) {
        lace_block *block = take_block(message, 0);

        CHECK(((unsigned char *)lace_block_data(block))[1999] == (unsigned char)value);
        lace_block_destroy(block);
        CHECK(lace_message_kind(message, 1) == LACE_ATTACH_SENDER); /* goes with the message */
    }
    return value;
}

lace_status numbered_send(lace_region *region, lace_sender *sender, uint64_t value)
{
    unsigned char bytes[NUMBERED_LARGE];
    lace_attachment attached[2];
    lace_payload payload;

    numbered_payload(region, value, bytes, attached, &payload);
    lace_status status = lace_send(sender, &payload, NULL);
    if (status != LACE_OK && payload.attachment_count != 0) {
        lace_block_destroy(attached[0].as.block);
        lace_sender_destroy(attached[1].as.sender);
    }
    return status;
}
