/* test_value_read.c - pickles read: what CPython writes, what is malformed, what claims more than it has, what is deep.
 * And garbage. Wherever memory can be counted, it is: what is read costs no more than its bytes justify. */
#include "streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- counting memory ------------------------------------------------------------------------------------ */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define COUNTED 0
static size_t allocated, allocated_most;
#else
#define COUNTED 1
/* In front of the C library's own, in this program. What is allocated is counted by what it was asked for. */
static size_t allocated;      /* since it was last set to 0; what is freed does not count */
static size_t allocated_most; /* in one piece */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static void count_allocation(size_t size)
{
    allocated += size;
    if (size > allocated_most)
        allocated_most = size;
}

void *malloc(size_t size)
{
    count_allocation(size);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    count_allocation(count * size);
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    count_allocation(size);
    return __libc_realloc(memory, size);
}
#endif

/* Reads, and checks what that cost: of everything ever asked for together, some 150 bytes for each byte read. */
static lace_status read_counted(const void *data, size_t size, lace_value **ret_value)
{
    allocated = allocated_most = 0;
    lace_status status = read_stream(data, size, ret_value);
    CHECK_MSG(allocated <= 1024 + 160 * size, "%zu bytes allocated for %zu", allocated, size);
    return status;
}

static void check_reads(const char *text, const char *data, size_t size)
{
    lace_value *value = NULL;
    lace_status status = read_counted(data, size, &value);
    CHECK_MSG(status == LACE_OK, "%s: %s: %s", text, status_name(status), lace_problem());
    char got[400];
    lace_value_format(value, got, sizeof got);
    CHECK_MSG(strcmp(got, text) == 0, "it is %s, not %s", got, text);
    lace_value_destroy(value);
}

#define READS(text, stream) check_reads(text, STREAM(stream))

static void check_refuses(const char *problem, const char *data, size_t size)
{
    lace_value *value = NULL;
    lace_status status = read_counted(data, size, &value);
    CHECK_MSG(status == LACE_NOT_PLAIN && value == NULL, "wanted \"%s\", got %s", problem, status_name(status));
    CHECK_MSG(strstr(lace_problem(), problem) != NULL, "\"%s\" is not in \"%s\"", problem,
              lace_problem());
}

#define REFUSES(problem, stream) check_refuses(problem, STREAM(stream))

/* ---- what there is -------------------------------------------------------------------------------------- */

START_TEST(test_every_opcode)
{
    READS("None", "\x80\x05N.");
    READS("[True, False]", "\x80\x04](\x88\x89"
                           "e.");
    READS("(7, 4096, -1)", "\x80\x03K\x07M\x00\x10J\xff\xff\xff\xff\x87.");
    READS("(0, -128, 127, 9223372036854775807, 0x8000000000000000)",
          "\x80\x02(\x8a\x00\x8a\x01\x80\x8b\x02\0\0\0\x7f\0\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"
          "\x8a\x09\0\0\0\0\0\0\0\x80\0t.");
    READS("1.0", "\x80\x05G\x3f\xf0\0\0\0\0\0\0.");
    READS("['k', 'k', '\xc3\xa9', '\\ud800']",
          "\x80\x05]\x94(\x8c\x01k\x94h\x01X\x02\0\0\0\xc3\xa9\x8d\x03\0\0\0\0\0\0\0\xed\xa0\x80"
          "e.");
    READS("[b'a', b'bc', b'', b'ba']", "\x80\x05](C\x01"
                                       "aB\x02\0\0\0bc\x8e\0\0\0\0\0\0\0\0\x96\x02\0\0\0\0\0\0\0ba"
                                       "e.");
    READS("((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))",
          "\x80\x05()K\x01\x85K\x01K\x02\x86K\x01K\x02K\x03\x87(K\x01K\x02K\x03K\x04tt.");
    READS("{'a': [1], 'b': {}}", "\x80\x05}(\x8c\x01"
                                 "a]K\x01"
                                 "a\x8c\x01"
                                 "b}u.");
    READS("{1: 2, 3: 4}", "\x80\x05}K\x01K\x02s(K\x03K\x04u.");
    READS("{1: 'last'}", "\x80\x05}(K\x01N\x88\x8c\x04lastu.");
    READS("[1, 2, 3]", "\x80\x05](K\x01K\x02"
                       "eK\x03"
                       "a.");
    READS("(1, 1)", "\x80\x02K\x01q\x00h\x00\x86.");
    READS("(1, 2, 1)", "\x80\x02K\x01r\x01\0\0\0K\x02j\x01\0\0\0\x87.");
    READS("(2, 3, 3)", "\x80\x02K\x01q\x00K\x02q\x00K\x03\x94h\x01\x87."); /* a number that is used again */
    READS("1", "\x80\x05K\x01N0.");
    READS("1", "\x80\x05K\x01(NN1.");
    READS("1", "\x80\x05K\x01(0.");
    READS("None", "\x80\x05\x95\x02\0\0\0\0\0\0\0N.");
    READS("[None, 1]", "\x80\x05\x95\x02\0\0\0\0\0\0\0](\x95\x04\0\0\0\0\0\0\0NK\x01"
                       "e.");
    READS("None", "\x80\x05N.what follows is not read");
    /* What CPython writes of bytes and bytearrays before there was an opcode for them. */
    READS("b'\\x00\\xff'", "\x80\x02"
                           "c_codecs\nencode\nq\x00X\x03\0\0\0\0\xc3\xbfq\x01X\x06\0\0\0latin1q\x02\x86q\x03Rq\x04.");
    READS("b''", "\x80\x02"
                 "c__builtin__\nbytes\n)R.");
    READS("b''", "\x80\x02"
                 "cbuiltins\nbytes\n)R.");
    READS("b'a'", "\x80\x02"
                  "c__builtin__\nbytearray\nX\x01\0\0\0aX\x07\0\0\0latin-1\x86R.");
    READS("b'a'", "\x80\x04\x8c\x08"
                  "builtins\x8c\x09"
                  "bytearray\x93"
                  "C\x01"
                  "a\x85R.");
}
END_TEST

START_TEST(test_what_is_not_plain)
{
    REFUSES("datetime.date is no plain value", "\x80\x05\x8c\x08"
                                               "datetime\x8c\x04"
                                               "date\x93"
                                               "C\x04\x07\xe9\x0b\x15\x85R.");
    REFUSES("os.system is no plain value", "\x80\x02"
                                           "cos\nsystem\nX\x04\0\0\0true\x85R.");
    REFUSES("builtins.set is no plain value", "\x80\x02"
                                              "cbuiltins\nset\n]\x85R.");
    REFUSES("a set is", "\x80\x05\x8f.");
    REFUSES("a set is", "\x80\x05\x8f(K\x01\x90.");
    REFUSES("a frozenset is", "\x80\x05(K\x01\x91.");
    REFUSES("an instance is", "\x80\x05N}b.");
    REFUSES("an instance is", "\x80\x05N)\x81.");
    REFUSES("an object of copyreg's is", "\x80\x05\x82\x01.");
    REFUSES("an object outside the pickle is", "\x80\x05NQ.");
    REFUSES("protocol 0 or 1", "\x80\x02I1\n.");
    REFUSES("does not begin as one", "I1\n.");
    REFUSES("does not begin as one", "");
    REFUSES("a function is no plain value", "\x80\x05\x8c\x0a_interlace\x8c\x07_attach\x93.");
    REFUSES("a function is no plain value", "\x80\x05]\x8c\x0a_interlace\x8c\x07_attach\x93"
                                            "a.");
    REFUSES("a function is no plain value", "\x80\x05\x8c\x0a_interlace\x8c\x07_attach\x93\x85.");
    REFUSES("a function is no plain value", "\x80\x05}K\x01\x8c\x0a_interlace\x8c\x07_attach\x93s.");
    REFUSES("a key in the message", "\x80\x05}\x8c\x0a_interlace\x8c\x07_attach\x93K\x01s.");
    REFUSES("an end that does not travel with it", "\x80\x05\x8c\x0a_interlace\x8c\x07_attach\x93K\x00\x85R.");
    REFUSES("a buffer that does not travel with it", "\x80\x05\x97.");
}
END_TEST

/* Names of anybody's are shown as whole characters, wherever they were cut. */
START_TEST(test_problems_can_be_read)
{
    REFUSES("a\nb?c.\xc3\xa9 is no plain value", "\x80\x05\x8c\x05"
                                                "a\nb\x7f"
                                                "c\x8c\x02\xc3\xa9\x93.");
    static const char *const many[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\xa0\x80"};
    unsigned char data[400];
    for (size_t i = 0; i < 20; i++) {
        unsigned char *at = data, *size;
        const char *repeated = many[i % 4];
        memcpy(at, "\x80\x05\x8c", 3), at += 3;
        size = at++;
        memset(at, 'x', i / 4), at += i / 4;
        while (at - size < 240)
            memcpy(at, repeated, strlen(repeated)), at += strlen(repeated);
        *size = (unsigned char)(at - size - 1);
        memcpy(at, "\x8c\x01x\x93.", 5), at += 5;
        lace_value *value;
        CHECK_STATUS(LACE_NOT_PLAIN, read_stream(data, (size_t)(at - data), &value));
        CHECK(strchr(lace_problem(), '\xed') == NULL);
        value = lace_value_str(lace_problem());
        CHECK_OK(lace_value_status(value));
        lace_value_destroy(value);
    }
}
END_TEST

START_TEST(test_cycles)
{
    REFUSES("contains itself", "\x80\x05]\x94h\x00"
                               "a.");
    REFUSES("contains itself", "\x80\x05}\x94K\x01h\x00s.");
    REFUSES("contains itself", "\x80\x05}\x94h\x00K\x01s.");
    REFUSES("contains itself", "\x80\x05]\x94(K\x01]h\x00"
                               "ae.");
    REFUSES("contains itself", "\x80\x05]\x94h\x00\x85"
                               "a.");
    REFUSES("contains itself", "\x80\x05]\x94}K\x01h\x00sa.");
    REFUSES("contains itself", "\x80\x05]\x94h\x00\x85\x94"
                               "0h\x00h\x01"
                               "a.");
}
END_TEST

START_TEST(test_malformed)
{
    static const struct {
        const char *text;
        size_t size;
    } streams[] = {
#define BAD(text) {text, sizeof(text) - 1}
        BAD("\x80"),
        BAD("\x80\x05"),
        BAD("\x80\x06N."),
        BAD("\x80\x05."),
        BAD("\x80\x05N"),
        BAD("\x80\x05(."),
        BAD("\x80\x05N(."),
        BAD("\x80\x05(N(."),
        BAD("\x80\x05Na."),
        BAD("\x80\x05K\x01Na."),
        BAD("\x80\x05]a."),
        BAD("\x80\x05"
            "e."),
        BAD("\x80\x05]e."),
        BAD("\x80\x05(e."),
        BAD("\x80\x05N(e."),
        BAD("\x80\x05N(u."),
        BAD("\x80\x05u."),
        BAD("\x80\x05](NNu."),
        BAD("\x80\x05}(Ne."),
        BAD("\x80\x05}(Nu."),
        BAD("\x80\x05]K\x00K\x01s."),
        BAD("\x80\x05}(]Nu."),
        BAD("\x80\x05}]Ns."),
        BAD("\x80\x05}(])\x86Nu."),
        BAD("\x80\x05}](e\x85Ns."),
        BAD("\x80\x05\x85."),
        BAD("\x80\x05N\x86."),
        BAD("\x80\x05NN\x87."),
        BAD("\x80\x05(N\x85\x86."),
        BAD("\x80\x05t."),
        BAD("\x80\x05"
            "0."),
        BAD("\x80\x05N00."),
        BAD("\x80\x05"
            "1."),
        BAD("\x80\x05h\x00."),
        BAD("\x80\x05N\x94h\x01."),
        BAD("\x80\x05Nj\x01\x00\x00\x00."),
        BAD("\x80\x05N\x94j\x00\x00\x00\x80."),
        BAD("\x80\x05\x94."),
        BAD("\x80\x05(\x94."),
        BAD("\x80\x05q\x00."),
        BAD("\x80\x05Nr\xff\xff\xff\xff."),
        BAD("\x80\x05Nr\x00\x00\x01\x00."),
        BAD("\x80\x05K"),
        BAD("\x80\x05M\x01"),
        BAD("\x80\x05J\x01\x02\x03"),
        BAD("\x80\x05G1234567"),
        BAD("\x80\x05\x8a"),
        BAD("\x80\x05\x8a\x05"
            "abc"),
        BAD("\x80\x05\x8b\xff\xff\xff\xff."),
        BAD("\x80\x05\x8b\x10\x00\x00\x00"
            "abc."),
        BAD("\x80\x05\x8c\x02"
            "a"),
        BAD("\x80\x05\x8c\x01\xff."),
        BAD("\x80\x05\x8c\x02\xc0\x80."),
        BAD("\x80\x05X\x05\x00\x00\x00"
            "abcd"),
        BAD("\x80\x05"
            "B\x05\x00\x00\x00"
            "abcd"),
        BAD("\x80\x05"
            "C\x05"
            "abcd"),
        BAD("\x80\x05\x95\x01\x00\x00\x00\x00\x00\x00\x00"),
        BAD("\x80\x05\x95\x00"),
        BAD("\x80\x05\x95\x03\0\0\0\0\0\0\0N."),
        BAD("\x80\x05\x95\x02\0\0\0\0\0\0\0J\x05\0\0\0."),
        BAD("\x80\x05\x95\x0c\0\0\0\0\0\0\0\x95\x01\0\0\0\0\0\0\0N."),
        BAD("\x80\x05\x95\0\0\0\0\0\0\0\x80N."),
        BAD("\x80\x05\xff."),
        BAD("\x80\x05\0."),
        BAD("\x80\x05"
            "c"),
        BAD("\x80\x05"
            "cbuiltins"),
        BAD("\x80\x05"
            "cbuiltins\nbytes"),
        BAD("\x80\x05"
            "cbuil\xfftins\nbytes\n)R."),
        BAD("\x80\x05\x93."),
        BAD("\x80\x05NN\x93."),
        BAD("\x80\x05\x8c\x01"
            "aN\x93."),
        BAD("\x80\x05R."),
        BAD("\x80\x05NR."),
        BAD("\x80\x05N)R."),
        BAD("\x80\x05"
            "cbuiltins\nbytes\nNR."),
        BAD("\x80\x05"
            "cbuiltins\nbytes\nK\x05\x85R."),
        BAD("\x80\x05"
            "c_codecs\nencode\n)R."),
        BAD("\x80\x05"
            "c_codecs\nencode\nX\x02\0\0\0\xc4\x80X\x06\0\0\0latin1\x86R."),
        BAD("\x80\x05"
            "c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0ascii\x86R."),
        BAD("\x80\x05"
            "c_codecs\nencode\nC\x01"
            "aX\x06\0\0\0latin1\x86R."),
        BAD("\x80\x05"
            "cbuiltins\nbytearray\nN\x85R."),
        BAD("\x80\x05\x8c\x0a_interlace\x8c\x07_buffer\x93"
            "C\x01"
            "a\x85R."),
        BAD("\x80\x05\x8c\x0a_interlace\x8c\x07_attach\x93\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85R."),
        BAD("\x80\x05\x8c\x0a_interlace\x8c\x07_attach\x93J\xff\xff\xff\xff\x85R."),
        BAD("\x80\x05\x98."),
        BAD("\x80\x05N\x98."),
#undef BAD
    };
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        lace_value *value = NULL;
        CHECK_MSG(read_counted(streams[i].text, streams[i].size, &value) == LACE_NOT_PLAIN, "%zu: \"%s\"", i,
                  streams[i].text);
        CHECK(value == NULL);
    }
}
END_TEST

/* A size that the stream has no bytes for costs nothing. */
START_TEST(test_claims_allocate_nothing)
{
    static const unsigned char wide_ops[] = {0x8d, 0x8e, 0x96, 0x95}, narrow_ops[] = {'X', 'B', 0x8b, 'r', 'j'};
    CHECK(lace_problem()[0] != '\0'); /* a thread's first needs room for its words, which do not count here */
    for (unsigned shift = 5; shift < 64; shift++) {
        uint64_t size = (UINT64_C(1) << shift) - (shift & 1);
        unsigned char data[24] = {0x80, 5, 'N', 0x94};
        lace_value *value = NULL;
        memcpy(data + 5, &size, sizeof size);
        for (size_t i = 0; i < sizeof wide_ops; i++) {
            data[4] = wide_ops[i];
            CHECK_STATUS(LACE_NOT_PLAIN, read_counted(data, sizeof data, &value));
            CHECK(allocated_most < 1024);
        }
        memset(data + 9, '.', sizeof data - 9);
        for (size_t i = 0; shift < 32 && i < sizeof narrow_ops; i++) {
            data[4] = narrow_ops[i];
            CHECK_STATUS(LACE_NOT_PLAIN, read_counted(data, sizeof data, &value));
            CHECK(allocated_most < 1024);
        }
    }
}
END_TEST

/* ---- deep and large ------------------------------------------------------------------------------------- */

#define DEEP 1000000

static lace_value *nested(int kind)
{
    lace_value *value = lace_value_int(7);
    for (size_t i = test_scaled(DEEP); i > 0; i--) {
        int now = kind < 3 ? kind : (int)(i % 3);
        lace_value *outer = now == 0 ? lace_value_list() : now == 1 ? lace_value_tuple() : lace_value_dict();
        if (now == 2)
            CHECK_OK(lace_value_set(outer, "k", value));
        else
            CHECK_OK(lace_value_append(outer, value));
        value = outer;
    }
    return value;
}

/* A million levels are made, written, read, compared, shown and destroyed on the stack of a small thread: fewer with a
 * sanitizer, more than that stack has room for all the same. */
static void *go_deep(void *context)
{
    int kind = *(int *)context;
    lace_value *value = nested(kind), *other = nested(kind);
    lace_payload payload;
    char text[2000];
    CHECK(values_equal(value, other));
    lace_value_destroy(other);
    CHECK_OK(lace_value_encode(lace_value_share(value), NULL, &payload));
    CHECK_OK(read_counted(payload.data, payload.size, &other));
    CHECK(values_equal(value, other));
    CHECK(lace_value_format(other, text, sizeof text) > 24);
    if (kind == 1) { /* as a key, too */
        lace_value *dict = lace_value_dict();
        CHECK_OK(lace_value_put(dict, other, lace_value_none()));
        CHECK(lace_value_find_any(dict, value) != NULL);
        lace_value_destroy(dict);
    } else {
        lace_value_destroy(other);
    }
    lace_value_destroy(value);
    /* Half of it is no message. */
    CHECK_STATUS(LACE_NOT_PLAIN, read_counted(payload.data, payload.size / 2, &other));
    lace_payload_finish(&payload, false);
    return NULL;
}

START_TEST(test_any_depth)
{
    pthread_attr_t attributes;
    pthread_t small;
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, 256 << 10) == 0);
    /* CHECK ends the process in there, as it does in every other thread. */
    CHECK(pthread_create(&small, &attributes, go_deep, &_i) == 0 && pthread_join(small, NULL) == 0);
    pthread_attr_destroy(&attributes);
}
END_TEST

START_TEST(test_depth_without_an_end)
{
    static const char openers[] = {']', '}', '(', ')'};
    unsigned char *data = malloc(DEEP);
    for (size_t i = 0; i < sizeof openers; i++) {
        lace_value *value = NULL;
        memset(data, openers[i], DEEP);
        memcpy(data, "\x80\x05", 2);
        CHECK_STATUS(LACE_NOT_PLAIN, read_counted(data, DEEP, &value));
    }
    free(data);
}
END_TEST

START_TEST(test_large)
{
    enum { ITEMS = 200000 };
    lace_value *list = lace_value_list(), *dict = lace_value_dict();
    char key[24];
    for (int64_t i = 0; i < ITEMS; i++) {
        lace_value_append(list, i % 3 ? lace_value_int(i) : lace_value_build("[l]", i));
        snprintf(key, sizeof key, "%" PRIx64, (uint64_t)i);
        lace_value_set(dict, key, lace_value_int(-i));
    }
    lace_value *whole = lace_value_build("(vvs#)", list, dict, key, (size_t)0);
    lace_value *again = value_again(whole);
    CHECK(values_equal(again, whole));
    int64_t number;
    CHECK_OK(lace_value_get_int(lace_value_find(lace_value_at(again, 1), "30d3f"), &number));
    CHECK(number == -0x30d3f);
    lace_value_destroy(again);
    lace_value_destroy(whole);
}
END_TEST

/* ---- work ----------------------------------------------------------------------------------------------- */

/* Two equal long keys that come in turn, each of them named by three bytes: comparing them each time would take hours. */
START_TEST(test_comparing_keys_has_an_end)
{
    enum { LONG = 1 << 20, TIMES = 300000 };
    unsigned char *data = malloc(2 * LONG + 8 * TIMES), *at = data;
    static const unsigned char head[] = {0x80, 5}, ops[] = {'X', 'B', 0x8b};
    memcpy(at, head, 2), at += 2;
    for (int i = 0; i < 2; i++) { /* two of them; they are popped, and stay in the memo */
        uint32_t size = LONG;
        *at++ = ops[_i];
        memcpy(at, &size, 4), at += 4;
        memset(at, 'x', LONG), at += LONG;
        *at++ = 0x94;
        *at++ = '0';
    }
    *at++ = '}';
    *at++ = '(';
    for (int i = 0; i < TIMES; i++) {
        *at++ = 'h';
        *at++ = i & 1;
        *at++ = 'N';
    }
    *at++ = 'u';
    *at++ = '.';
    lace_value *value = NULL;
    CHECK_STATUS(LACE_NOT_PLAIN, read_counted(data, (size_t)(at - data), &value));
    CHECK(strstr(lace_problem(), "too long to compare") != NULL);
    free(data);
}
END_TEST

/* 2 ** 60 leaves in 300 bytes, as a key twice. */
START_TEST(test_wide_keys)
{
    unsigned char data[2000] = {0x80, 5, '}', '('}, *at = data + 4;
    for (int which = 0; which < 2; which++) {
        *at++ = 'N';
        *at++ = 0x85;
        for (int level = 0; level < 60; level++) {
            *at++ = 'q';
            *at++ = (unsigned char)(which * 60 + level);
            *at++ = 'h';
            *at++ = (unsigned char)(which * 60 + level);
            *at++ = 0x86;
        }
        *at++ = 'K';
        *at++ = (unsigned char)which;
    }
    *at++ = 'u';
    *at++ = '.';
    lace_value *value = value_of(data, (size_t)(at - data));
    CHECK_UINT(lace_value_size(value), 1);
    lace_value_destroy(value);
}
END_TEST

/* What is named over and over is not written over and over. */
START_TEST(test_small_messages_stay_small)
{
    enum { LONG = 1 << 20, TIMES = 100000 };
    static const unsigned char ops[] = {'X', 'B', 0x8b};
    unsigned char *data = malloc(LONG + 3 * TIMES), *at;
    for (size_t kind = 0; kind < sizeof ops; kind++) {
        uint32_t size = LONG;
        at = data;
        memcpy(at, "\x80\x05](", 4), at += 4;
        *at++ = ops[kind];
        memcpy(at, &size, 4), at += 4;
        memset(at, 'x', LONG), at += LONG;
        *at++ = 0x94;
        for (int i = 0; i < TIMES; i++) {
            *at++ = 'h';
            *at++ = 0;
        }
        *at++ = 'e';
        *at++ = '.';
        lace_value *value = value_of(data, (size_t)(at - data)), *other = value_of(data, (size_t)(at - data));
        CHECK_UINT(lace_value_size(value), TIMES + 1);
        CHECK(values_equal(value, other));
        lace_payload payload;
        CHECK_OK(lace_value_encode(value, NULL, &payload));
        CHECK(payload.size <= (size_t)(at - data));
        lace_payload_finish(&payload, false);
        lace_value_destroy(other);
    }
    free(data);
}
END_TEST

/* ---- garbage -------------------------------------------------------------------------------------------- */

/* What is read out of garbage is a value: it can be written, and is the same when it is read again. */
START_TEST(test_garbage)
{
    rng random = rng_fixed((uint64_t)_i + 1);
    unsigned char data[4096];
    size_t read = 0, refused = 0;
    for (size_t i = test_scaled(25000); i > 0; i--) {
        size_t size = stream_random(&random, data, sizeof data);
        /* In memory of its size, so that AddressSanitizer sees a byte too far. */
        unsigned char *exact = malloc(size ? size : 1);
        memcpy(exact, data, size);
        lace_value *value = NULL;
        lace_status status = read_counted(exact, size, &value);
        free(exact);
        if (status == LACE_NOT_PLAIN) {
            CHECK(value == NULL);
            refused++;
            continue;
        }
        CHECK_OK(status);
        read++;
        lace_value *again = value_again(value), *third = value_again(again);
        char text[300], other[300];
        CHECK(lace_value_format(again, text, sizeof text) == lace_value_format(third, other, sizeof other));
        CHECK(strcmp(text, other) == 0);
        lace_value_format(value, other, sizeof other);
        CHECK_MSG(strcmp(text, other) == 0, "%s is %s after it was written", other, text);
        lace_value_destroy(value);
        lace_value_destroy(again);
        lace_value_destroy(third);
    }
    CHECK_MSG(read > refused / 50 && refused > read / 50, "%zu read, %zu refused", read, refused);
}
END_TEST

START_TEST(test_memory_is_counted)
{
    lace_value *value = NULL;
    CHECK_OK(read_counted(STREAM("\x80\x05K\x05."), &value));
    CHECK(!COUNTED || allocated > 0);
    lace_value_destroy(value);
}
END_TEST

TEST_MAIN("value_read", TEST(test_memory_is_counted), TEST(test_every_opcode), TEST(test_what_is_not_plain),
          TEST(test_cycles), TEST(test_problems_can_be_read), TEST(test_malformed),
          TEST(test_claims_allocate_nothing), TEST_LONG(test_any_depth, 4, 60), TEST(test_depth_without_an_end),
          TEST(test_large), TEST_LOOP(test_comparing_keys_has_an_end, 3), TEST(test_wide_keys),
          TEST_LONG(test_small_messages_stay_small, 1, 60), TEST_LONG(test_garbage, 8, 120))
