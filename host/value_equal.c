/* value_equal.c - whether two values are equal, as Python's == has it.
 *
 * Values share parts, so a small one can stand for a tree of a size that no machine can walk. Two that are found to
 * be compared are put into one class and not compared again while the rest of the answer is "equal": there are at
 * most as many such unions as values. (One difference anywhere is the end of it all, so a class is never wrong.) */
#include "value.h"

#include <math.h>
#include <string.h>

#define LARGE 256 /* bytes of text that are not compared over and over */

/* Two containers that are being compared. */
typedef struct open_pair {
    const lace_value *a, *b;
    size_t next;
} open_pair;

typedef struct member {
    const lace_value *value; /* NULL: free */
    const lace_value *above; /* of the same class; the value itself at the top of one */
} member;

typedef struct comparison {
    open_pair *open, own[8];
    size_t depth, room;
    member *members; /* open addressing */
    size_t member_count, member_room;
    lace_effort *effort;
} comparison;

/* ---- classes -------------------------------------------------------------------------------------------- */

static member *member_of(const comparison *c, const lace_value *value)
{
    uint64_t hash = ((uint64_t)(uintptr_t)value >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    size_t place = (size_t)(hash >> 32) & (c->member_room - 1);
    while (c->members[place].value != NULL && c->members[place].value != value)
        place = (place + 1) & (c->member_room - 1);
    return &c->members[place];
}

static bool members_grow(comparison *c)
{
    comparison old = *c;
    size_t room = old.member_room ? old.member_room * 2 : 32;
    member *grown = LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : calloc(room, sizeof *grown);
    if (grown == NULL)
        return false;
    c->members = grown;
    c->member_room = room;
    for (size_t i = 0; i < old.member_room; i++) {
        if (old.members[i].value != NULL)
            *member_of(c, old.members[i].value) = old.members[i];
    }
    free(old.members);
    return true;
}

static member *top_of(comparison *c, const lace_value *value)
{
    member *found = member_of(c, value);
    if (found->value == NULL) {
        *found = (member){value, value};
        c->member_count++;
    }
    while (found->above != found->value) {
        member *above = member_of(c, found->above);
        found->above = above->above;
        found = above;
    }
    return found;
}

/* Puts both into one class; whether they were in one. */
static lace_status unite(comparison *c, const lace_value *a, const lace_value *b, bool *ret_were)
{
    if (c->member_count + 2 > c->member_room / 2 && !members_grow(c))
        return lace_value_no_memory();
    member *first = top_of(c, a), *second = top_of(c, b);
    *ret_were = first == second;
    first->above = second->value;
    return LACE_OK;
}

/* ---- leaves --------------------------------------------------------------------------------------------- */

static bool is_number(const lace_value *value)
{
    return value->type >= LACE_TYPE_BOOL && value->type <= LACE_TYPE_FLOAT;
}

static bool float_is_int(double real, const lace_value *number)
{
    if ((number->flags & LACE_VALUE_BIG) == 0) {
        int64_t integer = ((const struct lace_number *)number)->as.integer;
        return real >= -0x1p63 && real < 0x1p63 && real == trunc(real) && (int64_t)real == integer;
    }
    if (!isfinite(real) || fabs(real) < 0x1p63)
        return false;
    const struct lace_text *big = (const struct lace_text *)number;
    unsigned char bytes[LACE_DOUBLE_BYTES];
    return lace_double_bytes(real, bytes) == big->size && memcmp(bytes, big->bytes, big->size) == 0;
}

/* Of two that are not both big ints. */
static bool numbers_equal(const lace_value *a, const lace_value *b)
{
    const struct lace_number *first = (const struct lace_number *)a, *second = (const struct lace_number *)b;
    if (a->type == LACE_TYPE_FLOAT && b->type == LACE_TYPE_FLOAT)
        return first->as.real == second->as.real;
    if (a->type == LACE_TYPE_FLOAT)
        return float_is_int(first->as.real, b);
    if (b->type == LACE_TYPE_FLOAT)
        return float_is_int(second->as.real, a);
    return ((a->flags | b->flags) & LACE_VALUE_BIG) == 0 && first->as.integer == second->as.integer;
}

static const void *bytes_of(const lace_value *value)
{
    if (value->flags & LACE_VALUE_LAID)
        return ((const struct lace_laid *)value)->data;
    return ((const struct lace_text *)value)->bytes;
}

/* Spends effort; false when there is none left. */
static bool spend(comparison *c, uint64_t work)
{
    if (c->effort == NULL)
        return true;
    if (c->effort->left < work)
        return false;
    c->effort->left -= work;
    return true;
}

/* ---- containers ----------------------------------------------------------------------------------------- */

/* Whether the two are being compared as equal already. Looked at for what is large, and may be met again. */
static lace_status met_before(comparison *c, const lace_value *a, const lace_value *b, bool *ret_were)
{
    *ret_were = false;
    if (!lace_value_is_shared(a) && !lace_value_is_shared(b))
        return LACE_OK;
    return unite(c, a, b, ret_were);
}

/* Compares leaves; opens containers. */
static lace_status meet(comparison *c, const lace_value *a, const lace_value *b, bool *ret_equal)
{
    size_t size = lace_value_size(a);
    bool were;
    lace_status status;
    *ret_equal = true;
    if (a == b) /* a NaN is in a list that is equal to itself */
        return LACE_OK;
    if (!spend(c, 1))
        return LACE_TOO_BIG;
    bool big = a->flags & b->flags & LACE_VALUE_BIG;
    if (is_number(a) && is_number(b) && !big) {
        *ret_equal = numbers_equal(a, b);
        return LACE_OK;
    }
    *ret_equal = a->type == b->type;
    if (!*ret_equal)
        return LACE_OK;
    if (a->type == LACE_TYPE_STR || a->type == LACE_TYPE_BYTES || big) {
        *ret_equal = size == lace_value_size(b);
        if (!*ret_equal || size == 0)
            return LACE_OK;
        if (size >= LARGE) {
            status = met_before(c, a, b, &were);
            if (status != LACE_OK || were)
                return status;
        }
        if (!spend(c, size / 16))
            return LACE_TOO_BIG;
        *ret_equal = memcmp(bytes_of(a), bytes_of(b), size) == 0;
        return LACE_OK;
    }
    if (!lace_value_is_container(a)) {
        *ret_equal = a->type == LACE_TYPE_NONE;
        return LACE_OK;
    }
    *ret_equal = size == lace_value_size(b);
    if (!*ret_equal || size == 0)
        return LACE_OK;
    status = met_before(c, a, b, &were);
    if (status != LACE_OK || were)
        return status;
    if (c->depth == c->room && !lace_value_grow(&c->open, &c->room, sizeof *c->open, c->own))
        return lace_value_no_memory();
    c->open[c->depth++] = (open_pair){a, b, 0};
    return LACE_OK;
}

/* Item `index` of a dict meets what the same key stands for in the other. */
static lace_status meet_in_dict(comparison *c, const lace_value *a, const lace_value *b, size_t index,
                                bool *ret_equal)
{
    const struct lace_dict *first = (const struct lace_dict *)a, *second = (const struct lace_dict *)b;
    size_t place;
    lace_status status = lace_dict_place(second, first->pairs[index].key, c->effort, &place);
    *ret_equal = status == LACE_OK && place != SIZE_MAX;
    return *ret_equal ? meet(c, first->pairs[index].item, second->pairs[place].item, ret_equal) : status;
}

lace_status lace_value_compare(const lace_value *a, const lace_value *b, lace_effort *effort, bool *ret_equal)
{
    comparison c;
    c.open = c.own;
    c.room = sizeof c.own / sizeof *c.own;
    c.depth = c.member_count = c.member_room = 0;
    c.members = NULL;
    c.effort = effort;
    bool equal;
    lace_status status = meet(&c, a, b, &equal);
    while (status == LACE_OK && equal && c.depth > 0) {
        open_pair *top = &c.open[c.depth - 1];
        size_t index = top->next++;
        if (top->next == lace_value_size(top->a))
            c.depth--; /* its last item: `top` is only read below, before anything is opened */
        if (top->a->type == LACE_TYPE_DICT)
            status = meet_in_dict(&c, top->a, top->b, index, &equal);
        else
            status = meet(&c, ((const struct lace_items *)top->a)->items[index],
                          ((const struct lace_items *)top->b)->items[index], &equal);
    }
    if (c.open != c.own)
        free(c.open);
    free(c.members);
    if (status == LACE_OK)
        *ret_equal = equal;
    return status;
}

lace_status lace_value_equal(const lace_value *a, const lace_value *b, bool *ret_equal)
{
    if (ret_equal == NULL)
        return lace_object(LACE_INVALID, "lace_value_equal() got nowhere to store the answer");
    if (a == NULL || b == NULL) {
        *ret_equal = false;
        return LACE_OK;
    }
    /* == itself is about what is in a NaN, and not about which one it is. */
    if (a == b && a->type == LACE_TYPE_FLOAT) {
        *ret_equal = !isnan(((const struct lace_number *)a)->as.real);
        return LACE_OK;
    }
    return lace_value_compare(a, b, NULL, ret_equal);
}
