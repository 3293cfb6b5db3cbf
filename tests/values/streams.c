/* streams.c - see streams.h. */
#include "streams.h"

#include <string.h>

lace_status read_stream(const void *data, size_t size, lace_value **ret_value)
{
    lace_payload payload = payload_of(data, size);
    return lace_value_decode(&payload, ret_value);
}

lace_value *value_of(const void *data, size_t size)
{
    lace_value *value = NULL;
    lace_status status = read_stream(data, size, &value);
    CHECK_MSG(status == LACE_OK, "%s: %s", status_name(status), lace_problem());
    return value;
}

void check_text(lace_value *value, const char *text)
{
    char got[400];
    size_t size = lace_value_format(value, got, sizeof got);
    CHECK_UINT(size, strlen(got));
    CHECK_MSG(strcmp(got, text) == 0, "it is %s, not %s", got, text);
    lace_value_destroy(value);
}

bool values_equal(const lace_value *a, const lace_value *b)
{
    bool equal = false;
    CHECK_OK(lace_value_equal(a, b, &equal));
    return equal;
}

lace_value *value_again(const lace_value *value)
{
    lace_payload payload;
    lace_value *again;
    CHECK_OK(lace_value_encode(lace_value_share(value), NULL, &payload));
    lace_status status = lace_value_decode(&payload, &again);
    CHECK_MSG(status == LACE_OK, "%s: %s", status_name(status), lace_problem());
    lace_payload_finish(&payload, true);
    return again;
}

/* ---- random values -------------------------------------------------------------------------------------- */

static const int64_t edges[] = {
    0, 1, 127, 128, 255, 256, 32767, 32768, 65535, 65536, INT32_MAX, INT64_C(1) << 31, INT64_C(1) << 39, INT64_MAX};

static lace_value *random_leaf(rng *random)
{
    unsigned char bytes[300];
    size_t size = rng_below(random, 3) == 0 ? rng_below(random, sizeof bytes) : rng_below(random, 10);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)rng_next(random);
    switch (rng_below(random, 8)) {
    case 0:
        return lace_value_none();
    case 1:
        return lace_value_bool(rng_below(random, 2));
    case 2: {
        int64_t number = edges[rng_below(random, sizeof edges / sizeof *edges)];
        return lace_value_int(rng_below(random, 2) ? number : -number - (int64_t)rng_below(random, 2));
    }
    case 3:
        return lace_value_big(bytes, size);
    case 4:
        return lace_value_float((double)(int64_t)rng_next(random) / (double)(1 + rng_below(random, 1000)));
    case 5:
        return lace_value_bytes(bytes, size);
    default:
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)('a' + bytes[i] % 4);
        return lace_value_str_sized((const char *)bytes, size % 6);
    }
}

static lace_value *random_key(rng *random)
{
    lace_value *leaf = random_leaf(random);
    if (rng_below(random, 8) > 0)
        return leaf;
    lace_value *tuple = lace_value_tuple();
    lace_value_append(tuple, leaf);
    lace_value_append(tuple, random_leaf(random));
    return tuple;
}

static lace_value *random_part(rng *random, unsigned depth, lace_value **kept)
{
    if (*kept != NULL && rng_below(random, 8) == 0)
        return lace_value_share(*kept);
    if (depth == 0 || rng_below(random, 3) == 0)
        return random_leaf(random);
    size_t kind = rng_below(random, 3), size = rng_below(random, 6) * (rng_below(random, 4) == 0 ? 4 : 1);
    lace_value *made = kind == 0 ? lace_value_list() : kind == 1 ? lace_value_tuple() : lace_value_dict();
    for (size_t i = 0; i < size; i++) {
        if (kind < 2)
            CHECK_OK(lace_value_append(made, random_part(random, depth - 1, kept)));
        else
            CHECK_OK(lace_value_put(made, random_key(random), random_part(random, depth - 1, kept)));
    }
    if (rng_below(random, 3) == 0) {
        lace_value_destroy(*kept);
        *kept = lace_value_share(made);
    }
    return made;
}

lace_value *value_random(rng *random, unsigned depth)
{
    lace_value *kept = NULL;
    lace_value *made = random_part(random, depth, &kept);
    lace_value_destroy(kept);
    return made;
}

/* ---- random streams ------------------------------------------------------------------------------------- */

typedef struct piece {
    const char *text;
    size_t size;
} piece;

#define PIECE(text)            \
    {                          \
        text, sizeof(text) - 1 \
    }

static const piece pieces[] = {
    PIECE("("),
    PIECE("."),
    PIECE("0"),
    PIECE("1"),
    PIECE("B\x02\0\0\0ab"),
    PIECE("C\x03"
          "abc"),
    PIECE("G\x3f\xf0\0\0\0\0\0\0"),
    PIECE("G\x7f\xf8\0\0\0\0\0\0"),
    PIECE("J\xff\xff\xff\xff"),
    PIECE("K\x07"),
    PIECE("K\x01"),
    PIECE("M\x00\x10"),
    PIECE("N"),
    PIECE("R"),
    PIECE("X\x02\0\0\0\xc3\xa9"),
    PIECE("]"),
    PIECE("a"),
    PIECE("e"),
    PIECE("h\x00"),
    PIECE("h\x01"),
    PIECE("j\x02\0\0\0"),
    PIECE("q\x01"),
    PIECE("r\x03\0\0\0"),
    PIECE("s"),
    PIECE("u"),
    PIECE("t"),
    PIECE(")"),
    PIECE("}"),
    PIECE("\x80\x05"),
    PIECE("\x85"),
    PIECE("\x86"),
    PIECE("\x87"),
    PIECE("\x88"),
    PIECE("\x89"),
    PIECE("\x8a\x01\x80"),
    PIECE("\x8b\x0a\0\0\0\1\2\3\4\5\6\7\10\11\12"),
    PIECE("\x8c\x03key"),
    PIECE("\x8c\x05other"),
    PIECE("\x8d\x03\0\0\0\0\0\0\0\xed\xa0\x80"),
    PIECE("\x8e\x01\0\0\0\0\0\0\0\xff"),
    PIECE("\x94"),
    PIECE("\x95\x01\0\0\0\0\0\0\0"),
    PIECE("\x96\x02\0\0\0\0\0\0\0ab"),
    PIECE("\x97"),
    PIECE("\x98"),
    PIECE("\x8c\x0a_interlace\x8c\x07_attach\x93"),
    PIECE("\x8c\x0a_interlace\x8c\x07_buffer\x93"),
    PIECE("\x8c\x12interlace._buffers\x8c\x07rebuild\x93"),
    PIECE("c_codecs\nencode\n"),
    PIECE("cbuiltins\nbytearray\n"),
    PIECE("c__builtin__\nbytes\n"),
    PIECE("X\x06\0\0\0latin1"),
    PIECE("\x93"),
    PIECE("\x8f"),
};

/* Those that make something, so that what takes it has something to take. */
static const piece fillers[] = {PIECE("N"), PIECE("K\x07"), PIECE("\x8c\x03key"), PIECE("]"),
                                PIECE("}"), PIECE(")"),     PIECE("("),           PIECE("\x94")};

static size_t add(unsigned char *data, size_t size, size_t room, const piece *added)
{
    if (room - size < added->size)
        return size;
    memcpy(data + size, added->text, added->size);
    return size + added->size;
}

static const piece *any_piece(rng *random)
{
    if (rng_below(random, 2) == 0)
        return &fillers[rng_below(random, sizeof fillers / sizeof *fillers)];
    return &pieces[rng_below(random, sizeof pieces / sizeof *pieces)];
}

static size_t of_pieces(rng *random, unsigned char *data, size_t room)
{
    static const piece proto = PIECE("\x80\x05"), stop = PIECE(".");
    size_t size = add(data, 0, room, &proto);
    for (size_t count = rng_below(random, 40); count > 0; count--)
        size = add(data, size, room - 1, any_piece(random));
    return add(data, size, room, &stop);
}

static size_t mutated(rng *random, unsigned char *data, size_t size, size_t room)
{
    for (size_t changes = 1 + rng_below(random, 4); changes > 0; changes--) {
        size_t at = size > 0 ? rng_below(random, size) : 0, kind = rng_below(random, 6);
        const piece *added = any_piece(random);
        if (kind < 2 && size > 0) {
            data[at] = kind == 0 ? (unsigned char)rng_next(random)
                                 : data[at] ^ (unsigned char)(1 << rng_below(random, 8));
        } else if (kind == 2) {
            size_t gone = 1 + rng_below(random, 9);
            gone = gone < size - at ? gone : size - at;
            memmove(data + at, data + at + gone, size - at - gone);
            size -= gone;
        } else if (kind < 5 && room - size >= added->size) {
            memmove(data + at + added->size, data + at, size - at);
            memcpy(data + at, added->text, added->size);
            size += added->size;
        } else if (kind == 5) {
            size = at;
        }
    }
    return size;
}

size_t stream_random(rng *random, unsigned char *data, size_t room)
{
    size_t kind = rng_below(random, 10), size = 0;
    if (kind == 0) {
        for (size = rng_below(random, 40); size > 0 && size <= room;)
            data[--size] = (unsigned char)rng_next(random);
        return rng_below(random, 40);
    }
    if (kind < 5)
        return of_pieces(random, data, room);
    if (kind == 5) {
        size = of_pieces(random, data, room);
        return mutated(random, data, size, room);
    }
    lace_payload payload;
    CHECK_OK(lace_value_encode(value_random(random, 3), NULL, &payload));
    size = payload.size < room ? payload.size : room;
    memcpy(data, payload.data, size);
    lace_payload_finish(&payload, false);
    return mutated(random, data, size, room);
}
