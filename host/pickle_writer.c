/* pickle_writer.c - enough of pickle protocol 5 to hand plain things to Python from C without an interpreter. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

static void put(lace_pickle *pickle, const void *bytes, size_t size)
{
    if (pickle->failed)
        return;
    if (pickle->size + size > pickle->room) {
        size_t room = (pickle->size + size) * 2 + 64;
        char *grown = realloc(pickle->data, room);
        if (grown == NULL) {
            pickle->failed = true;
            return;
        }
        pickle->data = grown;
        pickle->room = room;
    }
    memcpy(pickle->data + pickle->size, bytes, size);
    pickle->size += size;
}

void lace_pickle_op(lace_pickle *pickle, char op)
{
    put(pickle, &op, 1);
}

void lace_pickle_begin(lace_pickle *pickle)
{
    pickle->size = 0;
    put(pickle, "\x80\x05", 2);
}

void lace_pickle_none(lace_pickle *pickle)
{
    lace_pickle_op(pickle, 'N');
}

void lace_pickle_int(lace_pickle *pickle, int64_t number)
{
    unsigned char bytes[10] = {0x8a, 8}; /* LONG1: little endian, two's complement */
    for (int i = 0; i < 8; i++)
        bytes[2 + i] = (unsigned char)((uint64_t)number >> (8 * i));
    put(pickle, bytes, sizeof bytes);
}

void lace_pickle_bytes(lace_pickle *pickle, const void *bytes, size_t size)
{
    unsigned char head[9] = {0x8e}; /* BINBYTES8 */
    for (int i = 0; i < 8; i++)
        head[1 + i] = (unsigned char)((uint64_t)size >> (8 * i));
    put(pickle, head, sizeof head);
    if (size > 0)
        put(pickle, bytes, size);
}

void lace_pickle_end(lace_pickle *pickle)
{
    lace_pickle_op(pickle, '.');
}

size_t lace_utf8_sequence(const unsigned char *p, size_t size)
{
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool beyond = (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf4 && p[1] >= 0x90);
    return overlong || beyond ? 0 : length;
}

void lace_pickle_str(lace_pickle *pickle, const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t bad = 0;
    for (size_t i = 0; i < size;) {
        size_t length = lace_utf8_sequence(p + i, size - i);
        bad += length == 0;
        i += length ? length : 1;
    }
    /* BINUNICODE8: a length in 8 bytes, little endian. A byte that is not UTF-8 becomes a lone surrogate, as
     * os.fsdecode makes it, and those take three bytes. */
    uint64_t total = size + 2 * bad;
    unsigned char head[9] = {0x8d};
    for (int i = 0; i < 8; i++)
        head[1 + i] = (unsigned char)(total >> (8 * i));
    put(pickle, head, sizeof head);
    if (bad == 0) {
        put(pickle, text, size);
        return;
    }
    for (size_t i = 0; i < size;) {
        size_t length = lace_utf8_sequence(p + i, size - i);
        if (length == 0) {
            unsigned char surrogate[3] = {0xed, (unsigned char)(0xb0 | ((p[i] >> 6) & 3)),
                                          (unsigned char)(0x80 | (p[i] & 0x3f))};
            put(pickle, surrogate, sizeof surrogate);
            length = 1;
        } else {
            put(pickle, p + i, length);
        }
        i += length;
    }
}
