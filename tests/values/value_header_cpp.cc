// value_header_cpp.cc - interlace.h stands alone, in C++, and what it declares has C linkage.
#include "../../host/interlace.h"

#include <cstring>

extern "C" int values_in_cpp(lace_region *region)
{
    lace_channel_options options = {};
    lace_sender *sender = nullptr;
    lace_receiver *receiver = nullptr;
    lace_value *value = nullptr;
    lace_payload payload = {};
    const char *text = nullptr;
    int number = 0;
    bool equal = false;
    int passed = 0;
    options.capacity = 1;
    passed += lace_channel_create(region, &options, &sender, &receiver) == LACE_OK;
    lace_value *sent = lace_value_build("(is)", 7, "from C++");
    lace_value *kept = lace_value_share(sent);
    passed += lace_send_value(sender, sent, nullptr) == LACE_OK;
    passed += lace_recv_value(receiver, nullptr, &value) == LACE_OK;
    passed += lace_value_unpack(value, "(is)", &number, &text) == LACE_OK;
    passed += number == 7 && std::strcmp(text, "from C++") == 0;
    passed += lace_value_equal(value, kept, &equal) == LACE_OK && equal;
    passed += lace_value_type(value) == LACE_TYPE_TUPLE && lace_value_size(value) == 2;
    passed += lace_value_encode(kept, nullptr, &payload) == LACE_OK;
    lace_value_destroy(value);
    passed += lace_value_decode(&payload, &value) == LACE_OK;
    passed += lace_value_append(value, lace_value_none()) == LACE_OK;
    passed += lace_value_status(value) == LACE_OK;
    passed += lace_problem() != nullptr;
    lace_payload_finish(&payload, true);
    lace_value_destroy(value);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return passed;
}
