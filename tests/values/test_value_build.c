/* test_value_build.c - every kind of value made and read; what cannot be made; formats; misuse. */
#include "streams.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const lace_type every_type[] = {LACE_TYPE_FAILED, LACE_TYPE_NONE, LACE_TYPE_BOOL,   LACE_TYPE_INT,
                                       LACE_TYPE_FLOAT,  LACE_TYPE_STR,  LACE_TYPE_BYTES,  LACE_TYPE_LIST,
                                       LACE_TYPE_TUPLE,  LACE_TYPE_DICT, LACE_TYPE_SENDER, LACE_TYPE_RECEIVER};

/* One value of each type, but for ends. */
static lace_value *value_of_type(lace_type type)
{
    switch (type) {
    case LACE_TYPE_NONE:
        return lace_value_none();
    case LACE_TYPE_BOOL:
        return lace_value_bool(true);
    case LACE_TYPE_INT:
        return lace_value_int(-5);
    case LACE_TYPE_FLOAT:
        return lace_value_float(2.5);
    case LACE_TYPE_STR:
        return lace_value_str("text");
    case LACE_TYPE_BYTES:
        return lace_value_bytes("data", 4);
    case LACE_TYPE_LIST:
        return lace_value_list();
    case LACE_TYPE_TUPLE:
        return lace_value_tuple();
    case LACE_TYPE_DICT:
        return lace_value_dict();
    default:
        return lace_value_str("\xff");
    }
}

/* Each reader takes its own type, says MISMATCH to all others, and leaves its output alone then. */
START_TEST(test_each_reader_reads_its_type)
{
    for (size_t i = 0; i + 2 < sizeof every_type / sizeof *every_type; i++) {
        lace_type type = every_type[i];
        lace_value *value = value_of_type(type);
        CHECK_UINT(lace_value_type(value), type);
        bool is_int = type == LACE_TYPE_INT || type == LACE_TYPE_BOOL;
        bool truth = false;
        int64_t integer = 99;
        uint64_t natural = 99;
        double real = 99;
        const char *text = "untouched";
        const void *data = &truth;
        size_t size = 99;
        unsigned char big[2] = {1, 2};
        lace_sender *sender = NULL;
        lace_receiver *receiver = NULL;
        lace_block *block = NULL;
        CHECK_STATUS(type == LACE_TYPE_BOOL ? LACE_OK : LACE_MISMATCH, lace_value_get_bool(value, &truth));
        CHECK(truth == (type == LACE_TYPE_BOOL));
        CHECK_STATUS(is_int ? LACE_OK : LACE_MISMATCH, lace_value_get_int(value, &integer));
        CHECK(integer == (type == LACE_TYPE_INT ? -5 : type == LACE_TYPE_BOOL ? 1 : 99));
        CHECK_STATUS(type == LACE_TYPE_BOOL ? LACE_OK : LACE_MISMATCH, lace_value_get_uint(value, &natural));
        CHECK_UINT(natural, type == LACE_TYPE_BOOL ? 1 : 99);
        CHECK_STATUS(is_int ? LACE_OK : LACE_MISMATCH, lace_value_get_big(value, big, sizeof big));
        CHECK_UINT(big[1], type == LACE_TYPE_INT ? 0xff : type == LACE_TYPE_BOOL ? 0 : 2);
        CHECK_STATUS(is_int || type == LACE_TYPE_FLOAT ? LACE_OK : LACE_MISMATCH, lace_value_get_float(value, &real));
        CHECK(real == (type == LACE_TYPE_FLOAT ? 2.5 : type == LACE_TYPE_INT ? -5 : type == LACE_TYPE_BOOL ? 1 : 99));
        CHECK_STATUS(type == LACE_TYPE_STR ? LACE_OK : LACE_MISMATCH, lace_value_get_str(value, &text, NULL));
        CHECK(strcmp(text, type == LACE_TYPE_STR ? "text" : "untouched") == 0);
        CHECK_STATUS(type == LACE_TYPE_BYTES ? LACE_OK : LACE_MISMATCH, lace_value_get_bytes(value, &data, &size));
        CHECK_UINT(size, type == LACE_TYPE_BYTES ? 4 : 99);
        CHECK_STATUS(LACE_MISMATCH, lace_value_share_block(value, &block));
        CHECK_STATUS(LACE_MISMATCH, lace_value_take_sender(value, &sender));
        CHECK_STATUS(LACE_MISMATCH, lace_value_take_receiver(value, &receiver));
        CHECK(sender == NULL && receiver == NULL && block == NULL);
        CHECK(lace_value_at(value, 0) == NULL && lace_value_key(value, 0) == NULL);
        CHECK(lace_value_find(value, "x") == NULL && lace_value_find_any(value, value) == NULL);
        lace_value_destroy(value);
    }
}
END_TEST

/* NULL where none may be: a status, or the documented answer. */
START_TEST(test_null)
{
    char text[8];
    lace_payload payload;
    lace_value *value = NULL;
    bool equal = true;
    CHECK_UINT(lace_value_type(NULL), LACE_TYPE_FAILED);
    CHECK_UINT(lace_value_size(NULL), 0);
    CHECK_STATUS(LACE_INVALID, lace_value_status(NULL));
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_bool(NULL, &equal));
    CHECK_STATUS(LACE_MISMATCH, lace_value_unpack(NULL, "i", &(int){0}));
    CHECK(lace_value_at(NULL, 0) == NULL && lace_value_key(NULL, 0) == NULL);
    CHECK(lace_value_find(NULL, "x") == NULL && lace_value_find_any(NULL, NULL) == NULL);
    lace_value_destroy(NULL);
    lace_payload_finish(NULL, true);
    CHECK_UINT(lace_value_format(NULL, text, sizeof text), 4);
    CHECK_UINT(lace_value_format(NULL, NULL, 10), 0);
    CHECK_STATUS(LACE_OK, lace_value_equal(NULL, NULL, &equal));
    CHECK(!equal);
    CHECK_STATUS(LACE_INVALID, lace_value_equal(NULL, NULL, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_share(NULL)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_str(NULL)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_str_sized(NULL, 1)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_bytes(NULL, 1)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_big(NULL, 1)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_block(NULL)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_sender(NULL)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_receiver(NULL)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_build(NULL)));
    CHECK_STATUS(LACE_INVALID, lace_value_append(NULL, lace_value_int(1)));
    CHECK_STATUS(LACE_INVALID, lace_value_set(NULL, "x", lace_value_int(1)));
    CHECK_STATUS(LACE_INVALID, lace_value_put(NULL, lace_value_str("x"), lace_value_int(1)));
    CHECK_STATUS(LACE_INVALID, lace_value_encode(NULL, NULL, &payload));
    CHECK_STATUS(LACE_INVALID, lace_value_encode(lace_value_int(1000), NULL, NULL));
    CHECK_STATUS(LACE_INVALID, lace_send_value(NULL, lace_value_int(1000), NULL));
    CHECK_STATUS(LACE_INVALID, lace_recv_value(NULL, NULL, &value));
    CHECK_STATUS(LACE_INVALID, lace_value_of_message(NULL, &value));
    CHECK_STATUS(LACE_INVALID, lace_value_decode(NULL, &value));
    CHECK_STATUS(LACE_INVALID, lace_value_decode(&(lace_payload){.size = 3}, &value));
    CHECK_STATUS(LACE_INVALID, lace_value_decode(&(lace_payload){"x", 1, NULL, 1}, &value));
    CHECK_STATUS(LACE_INVALID, lace_value_decode(&(lace_payload){"N.", 2, NULL, 0}, NULL));
    lace_value *number = lace_value_int(1);
    CHECK_STATUS(LACE_INVALID, lace_value_get_bool(number, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_get_int(number, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_get_uint(number, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_get_big(number, NULL, 4));
    CHECK_STATUS(LACE_INVALID, lace_value_get_float(number, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_get_str(number, NULL, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_get_bytes(number, NULL, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_share_block(number, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_take_sender(number, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_take_receiver(number, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(number, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(number, "i", NULL));
    lace_value_destroy(number);
    lace_value *list = lace_value_list(), *dict = lace_value_dict();
    CHECK_STATUS(LACE_INVALID, lace_value_append(list, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_status(list));
    CHECK_STATUS(LACE_INVALID, lace_value_set(dict, NULL, lace_value_int(1)));
    CHECK_STATUS(LACE_INVALID, lace_value_put(dict, lace_value_int(1), NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_status(dict));
    lace_value_destroy(list);
    lace_value_destroy(dict);
    CHECK(value == NULL);
}
END_TEST

/* ---- numbers -------------------------------------------------------------------------------------------- */

START_TEST(test_ints_of_every_size)
{
    static const int64_t edges[] = {0,     1,      -1,        127,       128,       -128,     -129,
                                    32767, -32768, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        lace_value *value = lace_value_int(edges[i]), *again = value_again(value), *big;
        unsigned char bytes[24];
        int64_t number;
        CHECK_OK(lace_value_get_big(value, bytes, sizeof bytes));
        size_t size = lace_value_size(value);
        CHECK(size <= 8);
        if (size > 0)
            CHECK_STATUS(LACE_MISMATCH, lace_value_get_big(value, bytes, size - 1));
        for (size_t given = size; given <= sizeof bytes; given++) {
            big = lace_value_big(bytes, given);
            CHECK_OK(lace_value_get_int(big, &number));
            CHECK(number == edges[i] && lace_value_size(big) == size && values_equal(big, value));
            lace_value_destroy(big);
        }
        CHECK_OK(lace_value_get_int(again, &number));
        CHECK(number == edges[i]);
        lace_value_destroy(value);
        lace_value_destroy(again);
    }
    for (int shift = 0; shift < 64; shift++) {
        uint64_t wanted = UINT64_MAX >> shift, got = 0;
        lace_value *value = lace_value_uint(wanted), *again = value_again(value);
        CHECK_OK(lace_value_get_uint(again, &got));
        CHECK_UINT(got, wanted);
        int64_t number;
        CHECK_STATUS(wanted > INT64_MAX ? LACE_MISMATCH : LACE_OK, lace_value_get_int(value, &number));
        lace_value_destroy(value);
        lace_value_destroy(again);
    }
    uint64_t natural;
    lace_value *huge = lace_value_big("\0\0\0\0\0\0\0\0\1", 9);
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_uint(huge, &natural));
    lace_value_destroy(huge);
}
END_TEST

/* 2 ** 1023, and the nearest double of what has more digits than one. */
START_TEST(test_ints_as_floats)
{
    unsigned char bytes[130] = {0};
    double number;
    for (size_t bit = 0; bit < 8 * 129; bit++) {
        for (int sign = 0; sign < 2; sign++) {
            for (int more = 0; more < 3; more++) { /* 2 ** bit, that plus its 2 ** -54, and plus a bit more */
                memset(bytes, 0, sizeof bytes);
                bytes[bit / 8] |= (unsigned char)(1 << bit % 8);
                if (more > 0 && bit < 80)
                    continue;
                if (more > 0)
                    bytes[(bit - 53) / 8] |= (unsigned char)(1 << (bit - 53) % 8);
                if (more > 1)
                    bytes[0] |= 1;
                unsigned carry = 1;
                for (size_t i = 0; sign && i < sizeof bytes; i++) {
                    carry += (unsigned char)~bytes[i];
                    bytes[i] = (unsigned char)carry;
                    carry >>= 8;
                }
                lace_value *value = lace_value_big(bytes, sizeof bytes);
                lace_status status = lace_value_get_float(value, &number);
                double wanted = ldexp(more > 1 ? 1 + DBL_EPSILON : 1, (int)bit); /* a tie goes to the even one */
                if (bit >= 1024) {
                    CHECK_STATUS(LACE_MISMATCH, status);
                } else {
                    CHECK_OK(status);
                    CHECK_MSG(number == (sign ? -wanted : wanted), "bit %zu: %a, not %a", bit, number, wanted);
                    lace_value *real = lace_value_float(sign ? -wanted : wanted);
                    CHECK(values_equal(value, real) == (more == 0));
                    CHECK(values_equal(real, value) == (more == 0));
                    lace_value *dict = lace_value_dict();
                    CHECK_OK(lace_value_put(dict, value, lace_value_none()));
                    for (int64_t i = 0; i < 20; i++) /* so that there is an index */
                        CHECK_OK(lace_value_put(dict, lace_value_int(i + 5), lace_value_none()));
                    CHECK((lace_value_find_any(dict, real) != NULL) == (more == 0));
                    lace_value_destroy(dict);
                    lace_value_destroy(real);
                    continue;
                }
                lace_value_destroy(value);
            }
        }
    }
}
END_TEST

START_TEST(test_floats)
{
    static const double numbers[] = {0.0, -0.0, 1.5, -2.25, DBL_MAX, DBL_TRUE_MIN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double got;
        lace_value *value = lace_value_float(numbers[i]), *again = value_again(value);
        CHECK_OK(lace_value_get_float(again, &got));
        CHECK(memcmp(&got, &numbers[i], sizeof got) == 0 && values_equal(value, again));
        lace_value_destroy(value);
        lace_value_destroy(again);
    }
    lace_value *nan = lace_value_float(NAN), *list = lace_value_list();
    CHECK(!values_equal(nan, nan));
    lace_value_append(list, nan);
    CHECK(values_equal(list, list)); /* as in Python: the very same NaN */
    lace_value *again = value_again(list);
    CHECK(!values_equal(list, again));
    lace_value_destroy(again);
    lace_value_destroy(list);
}
END_TEST

/* ---- text ----------------------------------------------------------------------------------------------- */

START_TEST(test_what_is_utf8)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "\xed\xa0\x80",
                                       "\xed\xbf\xbf",
                                       "twelve plain bytes \xc3\xa9"};
    static const char *const bad[] = {
        "\x80",         "\xbf",         "\xc0\x80",           "\xc1\xbf",         "\xc2",
        "\xc2x",        "\xe0\x9f\xbf", "\xe0\xa0",           "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80", "\xff",         "plain text\xe2\x82", "\xf0\x90\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        lace_value *value = lace_value_str(good[i]), *again = value_again(value);
        const char *text;
        CHECK_OK(lace_value_get_str(again, &text, NULL));
        CHECK(strcmp(text, good[i]) == 0);
        lace_value_destroy(value);
        lace_value_destroy(again);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lace_value *value = lace_value_str(bad[i]);
        CHECK_MSG(lace_value_status(value) == LACE_INVALID, "%zu", i);
        CHECK(strstr(lace_problem(), "UTF-8") != NULL);
    }
    const char *text = NULL;
    size_t size = 0;
    lace_value *value = lace_value_str_sized("a\0b", 3);
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_str(value, &text, NULL));
    CHECK_OK(lace_value_get_str(value, &text, &size));
    CHECK(size == 3 && memcmp(text, "a\0b", 4) == 0);
    lace_value_destroy(value);
}
END_TEST

/* ---- containers ----------------------------------------------------------------------------------------- */

START_TEST(test_dicts_of_every_size)
{
    for (size_t count = 0; count < 70; count += count < 20 ? 1 : 7) {
        lace_value *dict = lace_value_dict();
        char key[24];
        int64_t number;
        for (size_t round = 0; round < 2; round++) {
            for (size_t i = 0; i < count; i++) {
                snprintf(key, sizeof key, "key %zu", i);
                CHECK_OK(lace_value_set(dict, key, lace_value_int((int64_t)(i * 10 + round))));
                CHECK_OK(lace_value_put(dict, lace_value_int((int64_t)i), lace_value_str("number")));
            }
        }
        lace_value *again = value_again(dict);
        CHECK_UINT(lace_value_size(again), 2 * count);
        CHECK(values_equal(dict, again));
        for (size_t i = 0; i < count; i++) {
            snprintf(key, sizeof key, "key %zu", i);
            CHECK_OK(lace_value_get_int(lace_value_find(again, key), &number));
            CHECK_UINT(number, i * 10 + 1);
            const char *text;
            CHECK_OK(lace_value_get_str(lace_value_key(again, 2 * i), &text, NULL));
            CHECK(strcmp(text, key) == 0);
            CHECK_OK(lace_value_get_int(lace_value_key(again, 2 * i + 1), &number));
            CHECK_UINT(number, i);
            lace_value *real = lace_value_float((double)i);
            CHECK(lace_value_find_any(again, real) == lace_value_at(again, 2 * i + 1));
            lace_value_destroy(real);
        }
        CHECK(lace_value_find(again, "no such") == NULL && lace_value_at(again, 2 * count) == NULL);
        CHECK(lace_value_key(again, 2 * count) == NULL);
        lace_value_destroy(dict);
        lace_value_destroy(again);
    }
}
END_TEST

/* Keys of each kind, alike where Python has them alike, in small dicts and in those with an index. */
START_TEST(test_keys)
{
    for (int large = 0; large < 2; large++) {
        lace_value *dict = lace_value_dict();
        for (int64_t i = 0; large && i < 30; i++)
            lace_value_put(dict, lace_value_int(1000 + i), lace_value_none());
        size_t before = lace_value_size(dict);
        CHECK_OK(lace_value_put(dict, lace_value_int(1), lace_value_str("first")));
        CHECK_OK(lace_value_put(dict, lace_value_bool(true), lace_value_str("second")));
        CHECK_OK(lace_value_put(dict, lace_value_float(1), lace_value_str("third")));
        CHECK_OK(lace_value_put(dict, lace_value_bool(false), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_float(-0.0), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_none(), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_str("a"), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_bytes("a", 1), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_float(1.5), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_build("(i(sn))", 1, "x"), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_build("(d(sn))", 1.0, "x"), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_build("(i(sn)n)", 1, "x"), lace_value_none()));
        CHECK_UINT(lace_value_size(dict), before + 8);
        CHECK_UINT(lace_value_type(lace_value_key(dict, before)), LACE_TYPE_INT); /* the first key stays */
        const char *text;
        CHECK_OK(lace_value_get_str(lace_value_at(dict, before), &text, NULL));
        CHECK(strcmp(text, "third") == 0);
        lace_value *nan = lace_value_float(NAN);
        CHECK_OK(lace_value_put(dict, lace_value_share(nan), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_share(nan), lace_value_none()));
        CHECK_OK(lace_value_put(dict, lace_value_float(NAN), lace_value_none()));
        CHECK_UINT(lace_value_size(dict), before + 10); /* each NaN is its own key */
        CHECK(lace_value_find_any(dict, nan) != NULL);
        lace_value_destroy(nan);
        for (int i = 0; i < 4; i++) {
            lace_value *key = i == 0   ? lace_value_list()
                              : i == 1 ? lace_value_dict()
                              : i == 2 ? lace_value_build("((n[]))")
                                       : lace_value_build("(n{})");
            lace_value *copy = value_again(dict);
            CHECK_STATUS(LACE_INVALID, lace_value_put(copy, lace_value_share(key), lace_value_none()));
            CHECK_STATUS(LACE_INVALID, lace_value_status(copy));
            CHECK(lace_value_find_any(dict, key) == NULL);
            lace_value_destroy(copy);
            lace_value_destroy(key);
        }
        lace_value_destroy(dict);
    }
}
END_TEST

/* A tuple that somebody looked for as a key, and that grew then, is found by what it is. */
START_TEST(test_a_key_that_grew)
{
    lace_value *dict = lace_value_dict(), *key = lace_value_tuple();
    for (int64_t i = 0; i < 20; i++)
        CHECK_OK(lace_value_put(dict, lace_value_build("(l)", i), lace_value_int(i)));
    CHECK(lace_value_find_any(dict, key) == NULL);
    CHECK_OK(lace_value_append(key, lace_value_int(7)));
    CHECK(lace_value_find_any(dict, key) == lace_value_at(dict, 7));
    CHECK_OK(lace_value_append(key, lace_value_int(7)));
    CHECK(lace_value_find_any(dict, key) == NULL);
    lace_value_destroy(key);
    lace_value_destroy(dict);
}
END_TEST

/* A failure is remembered: one check at the end is enough. */
START_TEST(test_failures_are_remembered)
{
    lace_payload payload;
    lace_value *inner = lace_value_list(), *outer = lace_value_dict();
    CHECK_OK(lace_value_append(inner, lace_value_int(1)));
    CHECK_STATUS(LACE_INVALID, lace_value_append(inner, lace_value_str("\xff")));
    CHECK_STATUS(LACE_INVALID, lace_value_append(inner, lace_value_int(2)));
    CHECK_STATUS(LACE_INVALID, lace_value_set(outer, "inner", inner));
    CHECK_STATUS(LACE_INVALID, lace_value_set(outer, "fine", lace_value_int(3)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(outer));
    CHECK_STATUS(LACE_INVALID, lace_value_encode(outer, NULL, &payload));
    CHECK_STATUS(LACE_INVALID, lace_value_encode(lace_value_build("[s]", "\xff"), NULL, &payload));
    CHECK_STATUS(LACE_INVALID, lace_value_append(lace_value_str("\xff"), lace_value_list()));
    lace_value *number = lace_value_int(1);
    CHECK_STATUS(LACE_INVALID, lace_value_append(number, lace_value_int(2)));
    CHECK_STATUS(LACE_INVALID, lace_value_encode(number, NULL, &payload));
    CHECK_STATUS(LACE_INVALID, lace_value_append(lace_value_none(), lace_value_int(2)));
    CHECK_OK(lace_value_status(lace_value_none()));
}
END_TEST

/* What a container has taken belongs to it: it cannot be put elsewhere, changed, or destroyed. */
START_TEST(test_misuse_is_caught)
{
    lace_payload payload;
    lace_value *item = lace_value_list(), *first = lace_value_list(), *second = lace_value_list();
    CHECK_OK(lace_value_append(first, item));
    CHECK_STATUS(LACE_INVALID, lace_value_append(second, item));
    CHECK(strstr(lace_problem(), "second place") != NULL);
    CHECK_STATUS(LACE_INVALID, lace_value_encode(second, NULL, &payload));
    lace_value_destroy(item);
    CHECK(lace_value_at(first, 0) == item);
    CHECK_STATUS(LACE_INVALID, lace_value_encode(item, NULL, &payload));
    CHECK_OK(lace_value_status(first));
    check_text(lace_value_share(first), "[[]]");
    CHECK_STATUS(LACE_INVALID, lace_value_append(item, lace_value_int(1)));
    CHECK_STATUS(LACE_INVALID, lace_value_encode(first, NULL, &payload)); /* it is not what its maker thinks */

    lace_value *self = lace_value_list();
    CHECK_STATUS(LACE_INVALID, lace_value_append(self, self));
    CHECK_STATUS(LACE_INVALID, lace_value_status(self));
    CHECK_UINT(lace_value_size(self), 0);
    lace_value_destroy(self);
    self = lace_value_dict();
    CHECK_STATUS(LACE_INVALID, lace_value_set(self, "self", self));
    lace_value_destroy(self);
    self = lace_value_dict();
    CHECK_STATUS(LACE_INVALID, lace_value_put(self, self, lace_value_int(1)));
    lace_value_destroy(self);

    lace_value *inside = lace_value_list(), *around = lace_value_list();
    CHECK_OK(lace_value_append(around, inside));
    CHECK_STATUS(LACE_INVALID, lace_value_append(inside, around)); /* no cycles */
    /* `around` has been taken, and is gone with what was in it */
}
END_TEST

START_TEST(test_one_handle_for_key_and_item)
{
    lace_value *dict = lace_value_dict(), *both = lace_value_str("both");
    CHECK_STATUS(LACE_INVALID, lace_value_put(dict, both, both));
    lace_value_destroy(dict);
    dict = lace_value_dict();
    both = lace_value_str("both");
    CHECK_OK(lace_value_put(dict, both, lace_value_share(both)));
    check_text(dict, "{'both': 'both'}");
    both = lace_value_list();
    dict = lace_value_dict();
    CHECK_STATUS(LACE_INVALID, lace_value_put(dict, both, lace_value_share(both)));
    lace_value_destroy(dict);
}
END_TEST

/* Shared parts are read as shared parts, and outlive what they were in. */
START_TEST(test_sharing)
{
    lace_value *part = lace_value_build("[is]", 1, "part"), *whole = lace_value_tuple();
    for (int i = 0; i < 300; i++)
        CHECK_OK(lace_value_append(whole, lace_value_share(part)));
    CHECK_STATUS(LACE_INVALID, lace_value_append(part, lace_value_int(2)));
    lace_value_destroy(part);
    lace_value_destroy(whole);
    part = lace_value_build("[is]", 1, "part");
    whole = lace_value_tuple();
    for (int i = 0; i < 300; i++)
        CHECK_OK(lace_value_append(whole, lace_value_share(part)));
    lace_value_destroy(part);
    lace_value *again = value_again(whole);
    CHECK(values_equal(again, whole));
    for (size_t i = 1; i < 300; i++)
        CHECK(lace_value_at(again, i) == lace_value_at(again, 0));
    part = lace_value_share(lace_value_at(again, 5));
    lace_value_destroy(again);
    lace_value_destroy(whole);
    check_text(part, "[1, 'part']");
}
END_TEST

/* Two small values that stand for trees of 2 ** 60 leaves. */
START_TEST(test_wide_values_are_compared)
{
    lace_value *values[3];
    for (int i = 0; i < 3; i++) {
        lace_value *value = lace_value_build("(s)", i < 2 ? "leaf" : "other");
        for (int level = 0; level < 60; level++) {
            lace_value *both = lace_value_tuple();
            if (i == 1 && level % 2 == 0) { /* shared at other places than in the first */
                lace_value *one = lace_value_tuple(), *other = lace_value_tuple();
                lace_value_append(one, lace_value_share(value));
                lace_value_append(one, lace_value_share(value));
                lace_value_append(other, lace_value_share(value));
                lace_value_append(other, value);
                lace_value_append(both, one);
                lace_value_append(both, other);
                level++;
            } else {
                lace_value_append(both, lace_value_share(value));
                lace_value_append(both, value);
            }
            value = both;
        }
        values[i] = value;
    }
    CHECK(values_equal(values[0], values[1]) && !values_equal(values[0], values[2]));
    lace_value *dict = lace_value_dict();
    CHECK_OK(lace_value_put(dict, values[0], lace_value_int(0)));
    CHECK(lace_value_find_any(dict, values[1]) != NULL && lace_value_find_any(dict, values[2]) == NULL);
    for (int64_t i = 0; i < 20; i++)
        CHECK_OK(lace_value_put(dict, lace_value_int(i), lace_value_none()));
    CHECK(lace_value_find_any(dict, values[1]) != NULL && lace_value_find_any(dict, values[2]) == NULL);
    char text[100];
    CHECK_UINT(lace_value_format(values[1], text, sizeof text), sizeof text - 1);
    lace_value_destroy(dict);
    lace_value_destroy(values[1]);
    lace_value_destroy(values[2]);
}
END_TEST

/* ---- formats -------------------------------------------------------------------------------------------- */

START_TEST(test_build)
{
    check_text(lace_value_build("n"), "None");
    check_text(lace_value_build("i", -7), "-7");
    check_text(lace_value_build("l", INT64_MIN), "-9223372036854775808");
    check_text(lace_value_build("u", UINT64_MAX), "0xffffffffffffffff");
    check_text(lace_value_build("(bb)", 7, 0), "(True, False)");
    check_text(lace_value_build("d", 0.1), "0.1");
    check_text(lace_value_build("[ddd]", 1e300, -3.0, INFINITY), "[1e+300, -3.0, inf]");
    check_text(lace_value_build("(s, s)", "it's", NULL), "('it\\'s', None)");
    check_text(lace_value_build("s#", "a\0b", (size_t)3), "'a\\x00b'");
    check_text(lace_value_build("[y#]", "\xff'\n", (size_t)3), "[b'\\xff\\'\\n']");
    check_text(lace_value_build("( )"), "()");
    check_text(lace_value_build("(i)", 1), "(1,)");
    check_text(lace_value_build("{s:i, s:[ii], i:()}", "a", 1, "b", 2, 3, 4), "{'a': 1, 'b': [2, 3], 4: ()}");
    check_text(lace_value_build("{(ii):v}", 1, 2, lace_value_list()), "{(1, 2): []}");
    check_text(lace_value_build("v", lace_value_str("\xed\xb3\xbf")), "'\\udcff'");
    char nested[80] = "", shown[80] = "";
    memset(nested, '[', 32);
    memset(nested + 32, ']', 32);
    snprintf(shown, sizeof shown, "%.24s...%.24s", nested, nested + 32);
    check_text(lace_value_build(nested), shown);
}
END_TEST

START_TEST(test_build_with_a_wrong_format)
{
    static const char *const wrong[] = {
        "",     " ",   "(",    ")", "[)",  "nn",
        "x",    "{n}", "{nn",  "y", "n#",  "()n",
        "[n]]", "#",   "(n#)", "}", "{}}", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[n]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        lace_value *value = lace_value_build(wrong[i]);
        CHECK_MSG(lace_value_status(value) == LACE_INVALID, "\"%s\"", wrong[i]);
        CHECK(strstr(lace_problem(), "format") != NULL);
        lace_value_destroy(value);
    }
    lace_value *taken = lace_value_list(); /* it is destroyed with what was built so far */
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_build("[v", taken)));
    CHECK_STATUS(LACE_INVALID, lace_value_status(lace_value_build("v", NULL)));
    lace_value *failed = lace_value_build("[vi]", NULL, 1);
    CHECK_STATUS(LACE_INVALID, lace_value_status(failed));
    lace_value_destroy(failed);
}
END_TEST

START_TEST(test_unpack)
{
    lace_value *value = lace_value_build("(nbiludss#y#[iv]{s:i, s:(ss)})", 1, -3, INT64_C(1) << 40, UINT64_MAX, 0.5,
                                         "text", "a\0b", (size_t)3, "data", (size_t)4, 6, lace_value_str("deep"),
                                         "key", 8, "more", "x", "y");
    bool truth;
    int number, item, found;
    int64_t integer;
    uint64_t natural;
    double real;
    const char *text, *other, *last;
    const void *data;
    size_t other_size, data_size;
    const lace_value *deep;
    CHECK_OK(lace_value_unpack(value, "(n b i l u d s s# y# [i v] {s:(_ s), s:i})", &truth, &number, &integer,
                               &natural, &real, &text, &other, &other_size, &data, &data_size, &item, &deep, "more",
                               &last, "key", &found));
    CHECK(truth && number == -3 && integer == INT64_C(1) << 40 && natural == UINT64_MAX && real == 0.5);
    CHECK(strcmp(text, "text") == 0 && other_size == 3 && memcmp(other, "a\0b", 3) == 0);
    CHECK(data_size == 4 && memcmp(data, "data", 4) == 0 && item == 6 && found == 8 && strcmp(last, "y") == 0);
    CHECK_UINT(lace_value_type(deep), LACE_TYPE_STR);
    lace_value_destroy(value);
}
END_TEST

/* Each way for a value not to be as the format has it, or for a format to be wrong: no output is touched. */
START_TEST(test_unpack_says_no)
{
    static const struct {
        const char *format;
        lace_status status;
        const char *problem;
    } cases[] = {
        {"(ii)", LACE_MISMATCH, "item 1: wanted a value that is an int, got one of type str"},
        {"(i)", LACE_MISMATCH, "wanted a tuple of 1 items, got one of 3"},
        {"(i____)", LACE_MISMATCH, "wanted a tuple of 4 items or more, got one of 3"},
        {"[i]", LACE_MISMATCH, "wanted a list, got a value of type tuple"},
        {"(i_[])", LACE_MISMATCH, "item 2: wanted a list, got a value of type dict"},
        {"(in_)", LACE_MISMATCH, "item 1: wanted None, got a value of type str"},
        {"i", LACE_MISMATCH, "wanted a value that is an int, got one of type tuple"},
        {"", LACE_INVALID, "nothing in it"},
        {"(i", LACE_INVALID, "not closed"},
        {"(i__)n", LACE_INVALID, "behind its end"},
        {"(i__))", LACE_INVALID, "behind its end"},
        {"(i_x)", LACE_INVALID, "a letter that means nothing"},
        {"(iy_)", LACE_INVALID, "without '#'"},
        {"(i_{n})", LACE_INVALID, "without the 's'"},
        {"(i_{s#n})", LACE_INVALID, "without the 's'"},
        {"(i[", LACE_MISMATCH, "item 1: wanted a list"},
        {"(i#__)", LACE_INVALID, "a letter that means nothing"},
    };
    lace_value *value = lace_value_build("(is{s:i})", 1 << 20, "text", "key", 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int untouched[2] = {11, 12};
        CHECK_STATUS(cases[i].status, lace_value_unpack(value, cases[i].format, &untouched[0], &untouched[1]));
        CHECK_MSG(strstr(lace_problem(), cases[i].problem) != NULL, "\"%s\": %s", cases[i].format,
                  lace_problem());
        CHECK(untouched[0] == 11 && untouched[1] == 12);
    }
    int number = 11, other = 12;
    CHECK_STATUS(LACE_MISMATCH, lace_value_unpack(value, "(i_{s:i, s:i})", &number, "key", &other, "none", &other));
    CHECK(strcmp(lace_problem(), "there is no key 'none'") == 0 && number == 11 && other == 12);
    CHECK_STATUS(LACE_MISMATCH, lace_value_unpack(value, "(i_{s:b})", &number, "key", &other));
    CHECK(strstr(lace_problem(), "key 'key': wanted a value that is a bool") != NULL);
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(value, "(i_{s})", &number, "key"));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(value, "(i_{s:_})", &number, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(value, "(i_v)", &number, NULL));
    CHECK(number == 11 && other == 12);
    lace_value_destroy(value);
    value = lace_value_int(INT64_C(1) << 31);
    CHECK_STATUS(LACE_MISMATCH, lace_value_unpack(value, "i", &number));
    lace_value_destroy(value);
}
END_TEST

/* Text of every room, with every cut, is whole characters and a NUL; whatever the locale. */
START_TEST(test_format)
{
    lace_value *value = lace_value_build("{s:[dn], s:y#}", "k\xc3\xa9y", 0.5, "\xe2\x82\xac\xf0\x9f\x98\x80", "\1\2",
                                         (size_t)2);
    char whole[100], text[100];
    static const char wanted[] = "{'k\xc3\xa9y': [0.5, None], '\xe2\x82\xac\xf0\x9f\x98\x80': b'\\x01\\x02'}";
    CHECK_UINT(lace_value_format(value, whole, sizeof whole), sizeof wanted - 1);
    CHECK(strcmp(whole, wanted) == 0);
    for (size_t room = 0; room <= sizeof wanted; room++) {
        memset(text, '#', sizeof text);
        size_t size = lace_value_format(value, text, room);
        CHECK(size < room || room == 0);
        CHECK(room == 0 || (text[size] == '\0' && strlen(text) == size));
        for (size_t i = room; i < sizeof text; i++)
            CHECK(text[i] == '#');
        lace_value *again = lace_value_str_sized(text, size);
        CHECK_MSG(room < 5 || lace_value_status(again) == LACE_OK, "room %zu", room);
        lace_value_destroy(again);
    }
    lace_value_destroy(value);
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8"))
        check_text(lace_value_float(1.25), "1.25");
}
END_TEST

START_TEST(test_random_values_there_and_back)
{
    rng random = rng_start(__func__, (uint64_t)_i);
    for (size_t i = test_scaled(3000); i > 0; i--) {
        lace_value *value = value_random(&random, 4), *again = value_again(value), *third = value_again(again);
        CHECK(values_equal(value, again) && values_equal(third, value));
        char text[2000], other[2000];
        lace_value_format(value, text, sizeof text);
        lace_value_format(third, other, sizeof other);
        CHECK(strcmp(text, other) == 0);
        lace_value_destroy(value);
        lace_value_destroy(again);
        lace_value_destroy(third);
    }
}
END_TEST

TEST_MAIN("value_build", TEST(test_each_reader_reads_its_type), TEST(test_null), TEST(test_ints_of_every_size),
          TEST(test_ints_as_floats), TEST(test_floats), TEST(test_what_is_utf8), TEST(test_dicts_of_every_size),
          TEST(test_keys), TEST(test_a_key_that_grew), TEST(test_failures_are_remembered),
          TEST(test_misuse_is_caught), TEST(test_one_handle_for_key_and_item), TEST(test_sharing),
          TEST(test_wide_values_are_compared), TEST(test_build), TEST(test_build_with_a_wrong_format),
          TEST(test_unpack), TEST(test_unpack_says_no), TEST(test_format),
          TEST_LONG(test_random_values_there_and_back, 2, 60))
