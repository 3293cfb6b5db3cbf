/* test_value_faults.c - the n-th allocation fails, for n = 0, 1, 2 ... until all goes well: once, and from then on
 * for ever. Each time the result is NOMEM or right, and nothing is left behind. Needs channels/ and values with
 * hooks. */
#include "streams.h"

#include "../../channels/hooks.h"

#include <string.h>

#if !LACE_HOOKS
#error "test_value_faults.c needs -DLACE_HOOKS=1, here and in channels/"
#endif

static struct {
    size_t calls, first, span; /* the calls [first, first + span) fail */
    bool armed;
} plan;

/* One thread only. */
static bool fail_by_plan(enum lace_fault site)
{
    if (!plan.armed || (site != LACE_FAULT_ALLOC && site != LACE_FAULT_HEAP))
        return false;
    size_t number = plan.calls++;
    return number >= plan.first && number - plan.first < plan.span;
}

void test_prepare(uint64_t seed)
{
    (void)seed;
    lace_hooks.fail = fail_by_plan;
}

/* ---- things to do --------------------------------------------------------------------------------------- */

/* Something of everything that allocates; not valid as a key. */
static lace_value *much(void)
{
    lace_value *dict = lace_value_dict(), *part = lace_value_build("[is(ss)]", 100000, "part", "of", "two");
    for (int64_t i = 0; i < 12; i++)
        lace_value_put(dict, lace_value_build("(li)", i, 7), lace_value_share(part));
    lace_value_set(dict, "big", lace_value_big("123456789012345678901234567890", 30));
    lace_value_set(dict, "bytes", lace_value_build("[y#bdnu]", "data", (size_t)4, 1, 0.5, UINT64_MAX));
    lace_value_append(part, lace_value_none()); /* it is shared: a failure of its own */
    lace_value_destroy(part);
    lace_value *again = lace_value_tuple();
    lace_value_append(again, dict);
    return again;
}

static lace_value *plenty(void)
{
    lace_value *list = lace_value_list();
    lace_value *part = lace_value_build("[is(ss)]", 100000, "part", "of", "two");
    for (int i = 0; i < 12; i++)
        lace_value_append(list, lace_value_share(part));
    lace_value_destroy(part);
    lace_value *dict = lace_value_dict();
    for (int64_t i = 0; i < 12; i++)
        lace_value_put(dict, lace_value_build("(li)", i, 7), lace_value_float(0.25));
    lace_value_append(list, dict);
    lace_value_append(list, lace_value_big("123456789012345678901234567890", 30));
    for (int i = 0; i < 20; i++) {
        lace_value *outer = lace_value_tuple();
        lace_value_append(outer, list);
        list = outer;
    }
    return list;
}

static lace_status do_build(lace_region *region)
{
    (void)region;
    lace_value *value = plenty();
    lace_status status = lace_value_status(value);
    lace_value_destroy(value);
    return status;
}

/* What was misused says so, unless memory had run out before. */
static lace_status do_misuse(lace_region *region)
{
    lace_payload payload;
    (void)region;
    lace_value *value = much();
    lace_status status = lace_value_encode(value, NULL, &payload);
    CHECK(status == LACE_INVALID || status == LACE_NOMEM);
    return status == LACE_INVALID ? LACE_OK : status;
}

static lace_status do_there_and_back(lace_region *region)
{
    lace_payload payload;
    lace_value *again;
    (void)region;
    bool armed = plan.armed;
    plan.armed = false;
    lace_value *value = plenty();
    plan.armed = armed;
    lace_status status = lace_value_encode(lace_value_share(value), NULL, &payload);
    if (status == LACE_OK) {
        status = lace_value_decode(&payload, &again);
        lace_payload_finish(&payload, false);
    }
    if (status == LACE_OK) {
        bool equal = true;
        status = lace_value_equal(value, again, &equal);
        CHECK(equal);
        lace_value_destroy(again);
    }
    lace_value_destroy(value);
    return status;
}

static lace_status do_find(lace_region *region)
{
    (void)region;
    bool armed = plan.armed;
    plan.armed = false;
    lace_value *dict = lace_value_dict(), *key = lace_value_tuple(), *other = lace_value_tuple();
    for (int i = 0; i < 40; i++) {
        lace_value *outer = lace_value_tuple();
        lace_value_append(outer, key);
        key = outer;
        outer = lace_value_tuple();
        lace_value_append(outer, other);
        other = outer;
    }
    for (int64_t i = 0; i < 12; i++)
        CHECK_OK(lace_value_put(dict, lace_value_int(i), lace_value_none()));
    CHECK_OK(lace_value_put(dict, key, lace_value_none()));
    plan.armed = armed;
    lace_status status = lace_value_find_any(dict, other) != NULL ? LACE_OK : LACE_NOMEM;
    lace_value_destroy(dict);
    lace_value_destroy(other);
    return status;
}

/* Ends and blocks in a message small or large; what fails closes them, or leaves them where they were. */
static lace_status carry(lace_region *region, size_t size)
{
    lace_sender *over = NULL, *sender = NULL, *taken = NULL;
    lace_receiver *under = NULL, *receiver = NULL;
    lace_message *message = NULL;
    lace_block *block = NULL;
    lace_value *value = NULL;
    static char text[100000];
    lace_status status = lace_channel_create(region, &(lace_channel_options){.capacity = 4}, &over, &under);
    if (status == LACE_OK)
        status = lace_channel_create(region, &(lace_channel_options){.capacity = 4}, &sender, &receiver);
    if (status == LACE_OK)
        status = lace_message_create(region, &message);
    if (status == LACE_OK)
        status = lace_block_create(region, 100, &block);
    if (status == LACE_OK) {
        memset(text, 'x', sizeof text);
        value = lace_value_build("[y#vsvs]", text, size, lace_value_sender(sender), "text", lace_value_block(block),
                                 "more");
        sender = NULL;
        block = NULL;
        status = lace_send_value(over, value, TRY);
        CHECK_UINT(lace_sender_length(over), status == LACE_OK ? 1 : 0);
    }
    if (status == LACE_OK)
        status = lace_recv(under, message, TRY);
    if (status == LACE_OK) {
        status = lace_value_of_message(message, &value);
        if (status == LACE_OK) {
            CHECK_OK(lace_value_take_sender(lace_value_at(value, 1), &taken));
            CHECK_OK(send_u64(taken, 1, TRY));
            lace_value_destroy(value);
        }
    }
    lace_message_destroy(message);
    lace_sender_destroy(taken);
    lace_sender_destroy(sender);
    if (receiver != NULL && message != NULL && status != LACE_OK && sender == NULL && block == NULL) {
        bool armed = plan.armed;
        plan.armed = false;
        lace_message *looking = message_make(region);
        lace_status end = lace_recv(receiver, looking, TRY);
        CHECK(end == LACE_END || end == LACE_TIMEOUT);
        lace_message_destroy(looking);
        plan.armed = armed;
    }
    lace_receiver_destroy(receiver);
    lace_sender_destroy(over);
    lace_receiver_destroy(under);
    lace_block_destroy(block);
    return status;
}

static lace_status do_carry_small(lace_region *region)
{
    return carry(region, 10);
}

static lace_status do_carry_large(lace_region *region)
{
    return carry(region, 100000);
}

static lace_status do_receive(lace_region *region)
{
    lace_sender *sender;
    lace_receiver *receiver;
    lace_value *value;
    bool armed = plan.armed;
    plan.armed = false;
    channel_make(region, 4, &sender, &receiver);
    CHECK_OK(lace_send_value(sender, lace_value_build("[sis]", "a", 1 << 20, "b"), TRY));
    plan.armed = armed;
    lace_status status = lace_recv_value(receiver, TRY, &value);
    if (status == LACE_OK)
        lace_value_destroy(value);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return status;
}

typedef lace_status (*deed)(lace_region *region);
static const deed deeds[] = {do_build,       do_misuse,      do_there_and_back, do_find,
                             do_carry_small, do_carry_large, do_receive};
#define DEEDS (int)(sizeof deeds / sizeof *deeds)

/* _i: the deed, and whether one call fails or all from then on */
START_TEST(test_faults_leave_nothing_behind)
{
    deed act = deeds[_i / 2];
    size_t failures = 0;
    lace_region *region = region_make((size_t)16 << 20);
    region_warm(region);
    CHECK_OK(act(region));
    size_t before = region_used(region);
    for (plan.first = 0;; plan.first++) {
        CHECK(plan.first < 5000);
        plan.calls = 0;
        plan.span = _i % 2 ? SIZE_MAX : 1;
        plan.armed = true;
        lace_status status = act(region);
        plan.armed = false;
        bool reached = plan.calls > plan.first;
        CHECK_MSG(status == LACE_OK || (reached && status == LACE_NOMEM), "%s at call %zu: %s", status_name(status),
                  plan.first, lace_problem());
        failures += status != LACE_OK;
        CHECK_UINT(region_used(region), before);
        if (!reached)
            break;
    }
    CHECK(failures > 0);
    CHECK_OK(act(region));
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

TEST_MAIN("value_faults", TEST_LONG(test_faults_leave_nothing_behind, DEEDS * 2, 60))
