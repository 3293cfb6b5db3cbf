/* value_get.c - what is in a value. */
#include "value.h"

#include <endian.h>
#include <math.h>
#include <string.h>

lace_type lace_value_type(const lace_value *value)
{
    return value != NULL ? (lace_type)value->type : LACE_TYPE_FAILED;
}

lace_status lace_value_status(const lace_value *value)
{
    return value != NULL ? lace_value_state(value) : LACE_INVALID;
}

/* The bytes that a small int takes. */
static size_t int_size(int64_t number)
{
    uint64_t magnitude = (uint64_t)(number < 0 ? ~number : number);
    if (number == 0)
        return 0;
    return magnitude == 0 ? 1 : (size_t)(64 - __builtin_clzll(magnitude)) / 8 + 1; /* and a bit for the sign */
}

size_t lace_value_size(const lace_value *value)
{
    switch (lace_value_type(value)) {
    case LACE_TYPE_INT:
        if ((value->flags & LACE_VALUE_BIG) == 0)
            return int_size(((const struct lace_number *)value)->as.integer);
        return ((const struct lace_text *)value)->size;
    case LACE_TYPE_STR:
        return ((const struct lace_text *)value)->size;
    case LACE_TYPE_BYTES:
        if (value->flags & LACE_VALUE_LAID)
            return ((const struct lace_laid *)value)->size;
        return ((const struct lace_text *)value)->size;
    case LACE_TYPE_LIST:
    case LACE_TYPE_TUPLE:
        return ((const struct lace_items *)value)->size;
    case LACE_TYPE_DICT:
        return ((const struct lace_dict *)value)->size;
    default:
        return 0;
    }
}

/* ---- parts ---------------------------------------------------------------------------------------------- */

const lace_value *lace_value_at(const lace_value *value, size_t index)
{
    lace_type type = lace_value_type(value);
    if (index >= lace_value_size(value))
        return NULL;
    if (type == LACE_TYPE_LIST || type == LACE_TYPE_TUPLE)
        return ((const struct lace_items *)value)->items[index];
    return type == LACE_TYPE_DICT ? ((const struct lace_dict *)value)->pairs[index].item : NULL;
}

const lace_value *lace_value_key(const lace_value *dict, size_t index)
{
    if (lace_value_type(dict) != LACE_TYPE_DICT || index >= lace_value_size(dict))
        return NULL;
    return ((const struct lace_dict *)dict)->pairs[index].key;
}

/* ---- mistakes ------------------------------------------------------------------------------------------- */

static lace_status nowhere(const char *function)
{
    return lace_object(LACE_INVALID, "%s got nowhere to store the answer", function);
}

static lace_status mismatch(const lace_value *value, const char *wanted)
{
    if (value == NULL)
        return lace_object(LACE_MISMATCH, "wanted a value that is %s, and there is none", wanted);
    return lace_object(LACE_MISMATCH, "wanted a value that is %s, got one of type %s", wanted,
                                lace_type_name(value->type));
}

static lace_status too_big(void)
{
    return lace_object(LACE_MISMATCH, "an int does not fit into what it is read into");
}

/* ---- numbers -------------------------------------------------------------------------------------------- */

static bool is_int(const lace_value *value)
{
    return lace_value_type(value) == LACE_TYPE_INT || lace_value_type(value) == LACE_TYPE_BOOL;
}

static int64_t small_int(const lace_value *value)
{
    return ((const struct lace_number *)value)->as.integer;
}

lace_status lace_value_get_bool(const lace_value *value, bool *ret_truth)
{
    if (ret_truth == NULL)
        return nowhere(__func__);
    if (lace_value_type(value) != LACE_TYPE_BOOL)
        return mismatch(value, "a bool");
    *ret_truth = small_int(value) != 0;
    return LACE_OK;
}

lace_status lace_value_get_int(const lace_value *value, int64_t *ret_number)
{
    if (ret_number == NULL)
        return nowhere(__func__);
    if (!is_int(value))
        return mismatch(value, "an int");
    if (value->flags & LACE_VALUE_BIG)
        return too_big();
    *ret_number = small_int(value);
    return LACE_OK;
}

lace_status lace_value_get_uint(const lace_value *value, uint64_t *ret_number)
{
    if (ret_number == NULL)
        return nowhere(__func__);
    if (!is_int(value))
        return mismatch(value, "an int");
    if (value->flags & LACE_VALUE_BIG) {
        const struct lace_text *big = (const struct lace_text *)value;
        if (big->size != sizeof *ret_number + 1 || big->bytes[big->size - 1] != 0)
            return too_big();
        uint64_t number;
        memcpy(&number, big->bytes, sizeof number);
        *ret_number = le64toh(number);
        return LACE_OK;
    }
    if (small_int(value) < 0)
        return too_big();
    *ret_number = (uint64_t)small_int(value);
    return LACE_OK;
}

lace_status lace_value_get_big(const lace_value *value, void *bytes, size_t size)
{
    if (bytes == NULL && size > 0)
        return nowhere(__func__);
    if (!is_int(value))
        return mismatch(value, "an int");
    uint64_t ordered = value->flags & LACE_VALUE_BIG ? 0 : htole64((uint64_t)small_int(value));
    const unsigned char *from = (const unsigned char *)&ordered;
    size_t length = value->flags & LACE_VALUE_BIG ? lace_value_size(value) : int_size(small_int(value));
    if (value->flags & LACE_VALUE_BIG)
        from = ((const struct lace_text *)value)->bytes;
    if (length > size)
        return too_big();
    bool negative = length > 0 && from[length - 1] & 0x80;
    if (length > 0)
        memcpy(bytes, from, length);
    if (size > length)
        memset((unsigned char *)bytes + length, negative ? 0xff : 0, size - length);
    return LACE_OK;
}

/* The nearest double. Of a big int's magnitude the upper 64 bits decide, and whether there is anything below them. */
static double big_to_double(const struct lace_text *big)
{
    bool negative = big->bytes[big->size - 1] & 0x80;
    uint64_t top = 0;
    bool below = false;
    size_t taken = 0, exponent = 0;
    unsigned carry = 1;
    /* From the lowest byte upwards, `top` is the last eight bytes of the magnitude, less its lowest as more come. */
    for (size_t i = 0; i < big->size; i++) {
        unsigned byte = big->bytes[i];
        if (negative) {
            carry += (unsigned char)~byte;
            byte = carry & 0xff;
            carry >>= 8;
        }
        if (i == big->size - 1 && byte == 0)
            break; /* it was for the sign */
        if (taken < 8) {
            top |= (uint64_t)byte << 8 * taken++;
        } else {
            below = below || (top & 0xff) != 0;
            top = top >> 8 | (uint64_t)byte << 56;
            exponent += 8;
        }
    }
    /* A uint64_t has at least 3 bits more than are rounded to here: its lowest can stand for all below. */
    double magnitude = ldexp((double)(top | below), (int)(exponent < 4096 ? exponent : 4096));
    return negative ? -magnitude : magnitude;
}

lace_status lace_value_get_float(const lace_value *value, double *ret_number)
{
    if (ret_number == NULL)
        return nowhere(__func__);
    if (lace_value_type(value) == LACE_TYPE_FLOAT) {
        *ret_number = ((const struct lace_number *)value)->as.real;
        return LACE_OK;
    }
    if (!is_int(value))
        return mismatch(value, "a float");
    if ((value->flags & LACE_VALUE_BIG) == 0) {
        *ret_number = (double)small_int(value);
        return LACE_OK;
    }
    double number = big_to_double((const struct lace_text *)value);
    if (isinf(number))
        return too_big();
    *ret_number = number;
    return LACE_OK;
}

/* ---- text and bytes ------------------------------------------------------------------------------------- */

lace_status lace_value_get_str(const lace_value *value, const char **ret_text, size_t *ret_size)
{
    if (ret_text == NULL)
        return nowhere(__func__);
    if (lace_value_type(value) != LACE_TYPE_STR)
        return mismatch(value, "a str");
    const struct lace_text *text = (const struct lace_text *)value;
    if (ret_size == NULL && memchr(text->bytes, '\0', text->size) != NULL)
        return lace_object(LACE_MISMATCH, "wanted a str without a NUL in it");
    *ret_text = (const char *)text->bytes;
    if (ret_size != NULL)
        *ret_size = text->size;
    return LACE_OK;
}

lace_status lace_value_get_bytes(const lace_value *value, const void **ret_data, size_t *ret_size)
{
    if (ret_data == NULL || ret_size == NULL)
        return nowhere(__func__);
    if (lace_value_type(value) != LACE_TYPE_BYTES)
        return mismatch(value, "a bytes");
    if (value->flags & LACE_VALUE_LAID)
        *ret_data = ((const struct lace_laid *)value)->data;
    else
        *ret_data = ((const struct lace_text *)value)->bytes;
    *ret_size = lace_value_size(value);
    return LACE_OK;
}

lace_status lace_value_share_block(const lace_value *value, lace_block **ret_block)
{
    if (ret_block == NULL)
        return nowhere(__func__);
    if (lace_value_type(value) != LACE_TYPE_BYTES || (value->flags & LACE_VALUE_OUT_OF_BAND) == 0)
        return mismatch(value, "bytes on a block of their own");
    lace_status status = lace_block_share(((const struct lace_laid *)value)->block, ret_block);
    return status == LACE_NOMEM ? lace_value_no_memory() : status;
}

/* ---- ends ----------------------------------------------------------------------------------------------- */

/* `value` is const for its shape, not for the end in it. */
static lace_status take_end(const lace_value *value, lace_type type, const char *wanted, void **ret_end)
{
    if (lace_value_type(value) != type)
        return mismatch(value, wanted);
    struct lace_carried *carried = (struct lace_carried *)value;
    pthread_mutex_lock(&lace_ends_lock);
    void *end = carried->end;
    carried->end = NULL;
    pthread_mutex_unlock(&lace_ends_lock);
    if (end == NULL)
        return lace_object(LACE_MISMATCH, "the %s in this value has been taken", lace_type_name(type));
    *ret_end = end;
    return LACE_OK;
}

lace_status lace_value_take_sender(const lace_value *value, lace_sender **ret_sender)
{
    void *end = NULL;
    if (ret_sender == NULL)
        return nowhere(__func__);
    lace_status status = take_end(value, LACE_TYPE_SENDER, "a Sender", &end);
    if (status == LACE_OK)
        *ret_sender = end;
    return status;
}

lace_status lace_value_take_receiver(const lace_value *value, lace_receiver **ret_receiver)
{
    void *end = NULL;
    if (ret_receiver == NULL)
        return nowhere(__func__);
    lace_status status = take_end(value, LACE_TYPE_RECEIVER, "a Receiver", &end);
    if (status == LACE_OK)
        *ret_receiver = end;
    return status;
}
