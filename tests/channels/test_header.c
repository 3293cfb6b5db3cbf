/* test_header.c - the public header stands alone, in C: it is included first and with nothing before it. Together with
 * header_cpp.cc, which does the same in C++ and is linked into this program. */
#include "../../channels/channel.h"

#include "../harness.h"

_Static_assert(LACE_OK == 0 && LACE_UNSUPPORTED == 11, "the numbers of the statuses are for ever");
_Static_assert(LACE_CASE_RECV == 1 && LACE_CASE_AT == 4 && LACE_ATTACH_NONE == 0, "and so are these");

int header_in_cpp(void);

START_TEST(test_header_links_from_cpp)
{
    CHECK_UINT(header_in_cpp(), 14);
}
END_TEST

TEST_MAIN("header", TEST(test_header_links_from_cpp))
