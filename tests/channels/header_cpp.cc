// header_cpp.cc - the public header stands alone, in C++, and what it declares has C linkage.
#include "../../channels/channel.h"

extern "C" int header_in_cpp(void)
{
    lace_wait wait = {};
    lace_payload payload = {};
    lace_region *region = nullptr;
    lace_sender *sender = nullptr;
    lace_receiver *receiver = nullptr;
    lace_channel_options options = {};
    lace_message *message = nullptr;
    options.capacity = 1;
    options.redeliver = true;
    payload.data = "from C++";
    payload.size = 8;
    wait.deadline = LACE_NOW;
    int passed = 0;
    passed += lace_region_create(nullptr, &region) == LACE_OK;
    passed += lace_message_create(region, &message) == LACE_OK;
    passed += lace_channel_create(region, &options, &sender, &receiver) == LACE_OK;
    passed += lace_send(sender, &payload, &wait) == LACE_OK;
    passed += lace_send(sender, &payload, &wait) == LACE_TIMEOUT;
    passed += lace_recv(receiver, message, &wait) == LACE_OK;
    passed += lace_message_size(message) == 8;
    passed += !lace_message_redelivered(message);
    passed += lace_receiver_confirm(receiver) == LACE_OK;
    passed += static_cast<const char *>(lace_message_data(message))[7] == '+';
    passed += lace_sender_capacity(sender) == 1;
    passed += lace_strerror(LACE_TIMEOUT) != nullptr;
    lace_message_destroy(message);
    lace_sender_destroy(sender);
    passed += lace_receiver_length(receiver) == 0;
    lace_receiver_destroy(receiver);
    passed += lace_region_destroy(region) == LACE_OK;
    return passed;
}
