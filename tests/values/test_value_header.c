/* test_value_header.c - interlace.h stands alone, in C: it is included first and with nothing before it. Together
 * with value_header_cpp.cc, which does the same in C++ and is linked into this program. And the example that it
 * begins with. */
#include "../../host/interlace.h"

#include "../channels/fixture.h"

#include <string.h>

_Static_assert(LACE_TYPE_FAILED == 0 && LACE_TYPE_RECEIVER == 11, "the numbers of the types are for ever");
_Static_assert(LACE_MISMATCH == 21 && LACE_NOT_PLAIN == 22, "and so are those of the statuses");

int values_in_cpp(lace_region *region);

START_TEST(test_header_links_from_cpp)
{
    lace_region *region = region_make(0);
    CHECK_UINT(values_in_cpp(region), 12);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_the_example)
{
    pair p;
    lace_status status;
    lace_value *answer;
    pair_open_memory(&p, 4, 0);
    lace_sender *sender = p.sender;
    lace_receiver *receiver = p.receiver;

    lace_value *job = lace_value_build("{si s[dd]}", "id", 7, "range", 0.5, 1.5);
    status = lace_send_value(sender, job, NULL);
    CHECK_OK(status);
    CHECK_OK(lace_recv_value(receiver, NULL, &answer));
    char shown[100];
    lace_value_format(answer, shown, sizeof shown);
    CHECK(strcmp(shown, "{'id': 7, 'range': [0.5, 1.5]}") == 0);
    lace_value_destroy(answer);

    CHECK_OK(lace_send_value(sender, lace_value_build("{si s[ssi]}", "count", 5, "rows", "one", "two", 3), NULL));
    int64_t count = 0;
    const char *text;
    char all[100] = "";
    status = lace_recv_value(receiver, NULL, &answer);
    if (status == LACE_OK) {
        status = lace_value_unpack(answer, "{sl s_}", "count", &count, "rows");
        const lace_value *rows = lace_value_find(answer, "rows");
        for (size_t i = 0; i < lace_value_size(rows); i++)
            if (lace_value_get_str(lace_value_at(rows, i), &text, NULL) == LACE_OK)
                strcat(all, text);
        lace_value_destroy(answer);
    }
    CHECK_OK(status);
    CHECK(count == 5 && strcmp(all, "onetwo") == 0);
    pair_close(&p);
}
END_TEST

TEST_MAIN("value_header", TEST(test_header_links_from_cpp), TEST(test_the_example))
