/* value_hash.c - the hashes of keys.
 *
 * Keys come out of messages of anybody's, who must not be able to choose many of one hash: SipHash-1-3 with a key
 * that this process draws once. What is equal has one hash: an int, a bool and a float of the same number, above all.
 * */
#include "value.h"

#include <endian.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

static pthread_once_t drawn = PTHREAD_ONCE_INIT;
static uint64_t secret[2]; /* written once, before anybody reads it */

static void draw(void)
{
    if (getrandom(secret, sizeof secret, 0) == (ssize_t)sizeof secret)
        return;
    secret[0] = (uint64_t)lace_clock() * UINT64_C(0x9e3779b97f4a7c15);
    secret[1] = (uint64_t)(uintptr_t)&secret ^ (uint64_t)lace_clock() << 32;
}

static inline uint64_t rotated(uint64_t word, int by)
{
    return word << by | word >> (64 - by);
}

typedef struct sip {
    uint64_t a, b, c, d;
} sip;

static inline void round_of(sip *s)
{
    s->a += s->b;
    s->c += s->d;
    s->b = rotated(s->b, 13) ^ s->a;
    s->d = rotated(s->d, 16) ^ s->c;
    s->a = rotated(s->a, 32);
    s->c += s->b;
    s->a += s->d;
    s->b = rotated(s->b, 17) ^ s->c;
    s->d = rotated(s->d, 21) ^ s->a;
    s->c = rotated(s->c, 32);
}

/* `kind` makes what is never equal differ: the secret is another one for each. */
static uint64_t sip_hash(uint64_t kind, const void *data, size_t size)
{
    pthread_once(&drawn, draw);
    uint64_t first = secret[0] ^ kind, second = secret[1], word;
    sip s = {first ^ UINT64_C(0x736f6d6570736575), second ^ UINT64_C(0x646f72616e646f6d),
             first ^ UINT64_C(0x6c7967656e657261), second ^ UINT64_C(0x7465646279746573)};
    const unsigned char *bytes = data;
    size_t left = size;
    for (; left >= sizeof word; left -= sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        s.d ^= le64toh(word);
        round_of(&s);
        s.a ^= le64toh(word);
    }
    word = 0;
    memcpy(&word, bytes, left);
    word = le64toh(word) | (uint64_t)size << 56;
    s.d ^= word;
    round_of(&s);
    s.a ^= word;
    s.c ^= 0xff;
    round_of(&s);
    round_of(&s);
    round_of(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}

static uint32_t narrowed(uint64_t hash)
{
    uint32_t half = (uint32_t)(hash ^ hash >> 32);
    return half != 0 ? half : 1;
}

uint32_t lace_hash_text(unsigned type, const void *bytes, size_t size)
{
    return narrowed(sip_hash(type, bytes, size));
}

/* ---- numbers -------------------------------------------------------------------------------------------- */

size_t lace_double_bytes(double number, unsigned char bytes[LACE_DOUBLE_BYTES])
{
    int exponent;
    uint64_t fraction = (uint64_t)ldexp(frexp(fabs(number), &exponent), 53);
    size_t shift = (size_t)exponent - 53; /* of an integral one beyond 63 bits: at least 11 */
    memset(bytes, 0, LACE_DOUBLE_BYTES);
    for (size_t bit = 0; bit < 53; bit++) {
        if (fraction >> bit & 1)
            bytes[(bit + shift) / 8] |= (unsigned char)(1 << (bit + shift) % 8);
    }
    size_t size = (53 + shift) / 8 + 1; /* and a bit for the sign */
    if (number < 0) {
        unsigned carry = 1;
        for (size_t i = 0; i < size; i++) {
            carry += (unsigned char)~bytes[i];
            bytes[i] = (unsigned char)carry;
            carry >>= 8;
        }
        if (size > 1 && bytes[size - 1] == 0xff && bytes[size - 2] & 0x80)
            size--;
    }
    return size;
}

static uint32_t hash_int(int64_t number)
{
    uint64_t ordered = htole64((uint64_t)number);
    return lace_hash_text(LACE_TYPE_INT, &ordered, sizeof ordered);
}

static uint32_t hash_float(const struct lace_number *number)
{
    double real = number->as.real;
    if (isnan(real)) /* each NaN is equal to itself alone */
        return lace_hash_text(LACE_TYPE_FLOAT, &(const void *){number}, sizeof number);
    if (real >= -0x1p63 && real < 0x1p63 && real == (double)(int64_t)real)
        return hash_int((int64_t)real);
    unsigned char bytes[LACE_DOUBLE_BYTES];
    if (isfinite(real) && fabs(real) >= 0x1p63)
        return lace_hash_text(LACE_TYPE_INT, bytes, lace_double_bytes(real, bytes));
    return lace_hash_text(LACE_TYPE_FLOAT, &real, sizeof real);
}

/* ---- keys ----------------------------------------------------------------------------------------------- */

/* The hash of a key that is no tuple; 0 when it can be none. */
static uint32_t hash_leaf(const lace_value *key)
{
    const struct lace_text *text = (const struct lace_text *)key;
    const struct lace_laid *laid = (const struct lace_laid *)key;
    switch (key->type) {
    case LACE_TYPE_BOOL:
    case LACE_TYPE_INT:
        if ((key->flags & LACE_VALUE_BIG) == 0)
            return hash_int(((const struct lace_number *)key)->as.integer);
        return lace_hash_text(LACE_TYPE_INT, text->bytes, text->size);
    case LACE_TYPE_FLOAT:
        return hash_float((const struct lace_number *)key);
    case LACE_TYPE_BYTES:
        if (key->flags & LACE_VALUE_OUT_OF_BAND)
            return 0;
        if (key->flags & LACE_VALUE_LAID)
            return lace_hash_text(LACE_TYPE_BYTES, laid->data, laid->size);
        return lace_hash_text(LACE_TYPE_BYTES, text->bytes, text->size);
    case LACE_TYPE_STR:
        return lace_hash_text(LACE_TYPE_STR, text->bytes, text->size);
    case LACE_TYPE_NONE:
        return lace_hash_text(LACE_TYPE_NONE, "", 0);
    case LACE_TYPE_SENDER:
    case LACE_TYPE_RECEIVER:
        return lace_hash_text(key->type, &key, sizeof key);
    default:
        return 0;
    }
}

static uint32_t known(const lace_value *key)
{
    return atomic_load_explicit(&key->hash, memory_order_relaxed);
}

static uint32_t note(const lace_value *key, uint32_t hash)
{
    if (hash != 0 && (key->flags & LACE_VALUE_STATIC) == 0)
        atomic_store_explicit(&((lace_value *)key)->hash, hash, memory_order_relaxed);
    return hash;
}

/* A tuple whose items are being hashed. */
typedef struct open_tuple {
    const struct lace_items *tuple;
    size_t next;
    uint64_t hash;
} open_tuple;

static lace_status hash_tuple(const lace_value *key, uint32_t *ret_hash)
{
    open_tuple own[16], *open = own;
    size_t depth = 1, room = sizeof own / sizeof *own;
    uint32_t hash = 0; /* of the tuple that has just been done, 0: none */
    lace_status status = LACE_OK;
    open[0] = (open_tuple){(const struct lace_items *)key, 0, 0};
    while (depth > 0) {
        open_tuple *top = &open[depth - 1];
        if (hash != 0) {
            uint64_t both[2] = {top->hash, hash};
            top->hash = sip_hash(LACE_TYPE_TUPLE, both, sizeof both);
            hash = 0;
        } else if (top->next == top->tuple->size) {
            hash = note(&top->tuple->value, narrowed(sip_hash(LACE_TYPE_TUPLE, &top->hash, sizeof top->hash)));
            depth--;
        } else {
            const lace_value *item = top->tuple->items[top->next++];
            hash = known(item);
            if (hash == 0 && item->type != LACE_TYPE_TUPLE) {
                hash = note(item, hash_leaf(item));
                if (hash == 0) {
                    status = LACE_MISMATCH;
                    break;
                }
            } else if (hash == 0) {
                if (depth == room && !lace_value_grow(&open, &room, sizeof *open, own)) {
                    status = lace_value_no_memory();
                    break;
                }
                open[depth++] = (open_tuple){(const struct lace_items *)item, 0, 0};
            }
        }
    }
    if (open != own)
        free(open);
    *ret_hash = hash;
    return status;
}

lace_status lace_value_hash(const lace_value *key, uint32_t *ret_hash)
{
    *ret_hash = known(key);
    if (*ret_hash != 0)
        return LACE_OK;
    if (key->type == LACE_TYPE_TUPLE)
        return hash_tuple(key, ret_hash);
    *ret_hash = note(key, hash_leaf(key));
    return *ret_hash != 0 ? LACE_OK : LACE_MISMATCH;
}
