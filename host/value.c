/* value.c - values made, filled, shared and destroyed. */
#include "value.h"

#include <endian.h>
#include <string.h>

/* What every value is once it cannot be built, and what has only one state anyway. Never written to. */
static lace_value no_memory = {.type = LACE_TYPE_FAILED, .status = LACE_NOMEM, .flags = LACE_VALUE_STATIC};
static lace_value invalid = {.type = LACE_TYPE_FAILED, .status = LACE_INVALID, .flags = LACE_VALUE_STATIC};
static lace_value none = {.type = LACE_TYPE_NONE, .flags = LACE_VALUE_STATIC};
static struct lace_number truths[2] = {
    {.value = {.type = LACE_TYPE_BOOL, .flags = LACE_VALUE_STATIC}, .as.integer = 0},
    {.value = {.type = LACE_TYPE_BOOL, .flags = LACE_VALUE_STATIC}, .as.integer = 1},
};

pthread_mutex_t lace_ends_lock = PTHREAD_MUTEX_INITIALIZER;

lace_value *lace_value_failed(lace_status status)
{
    return status == LACE_NOMEM ? &no_memory : &invalid;
}

/* NULL is a constructor that had no memory. */
static lace_value *made(void *value)
{
    if (value != NULL)
        return value;
    lace_value_no_memory();
    return &no_memory;
}

bool lace_value_grow(void *array, size_t *room, size_t entry, const void *own)
{
    void *memory;
    memcpy(&memory, array, sizeof memory);
    size_t wanted = *room < 4 ? 4 : *room * 2;
    if (wanted > SIZE_MAX / 2 / entry)
        return false;
    bool first = memory == own;
    void *grown = lace_value_reallocate(first ? NULL : memory, wanted * entry);
    if (grown == NULL)
        return false;
    if (first && memory != NULL)
        memcpy(grown, memory, *room * entry);
    memcpy(array, &grown, sizeof grown);
    *room = wanted;
    return true;
}

/* ---- leaves --------------------------------------------------------------------------------------------- */

lace_value *lace_value_none(void)
{
    return &none;
}

lace_value *lace_value_bool(bool truth)
{
    return &truths[truth].value;
}

lace_value *lace_value_int(int64_t number)
{
    struct lace_number *value = lace_value_make(sizeof *value, LACE_TYPE_INT, 0);
    if (value != NULL)
        value->as.integer = number;
    return made(value);
}

lace_value *lace_value_float(double number)
{
    struct lace_number *value = lace_value_make(sizeof *value, LACE_TYPE_FLOAT, 0);
    if (value != NULL)
        value->as.real = number;
    return made(value);
}

struct lace_text *lace_text_make(size_t size, unsigned type, unsigned flags)
{
    if (size > PTRDIFF_MAX - sizeof(struct lace_text) - 1)
        return NULL;
    struct lace_text *text = lace_value_make(sizeof *text + size + 1, type, flags);
    if (text != NULL) {
        text->size = size;
        text->bytes[size] = '\0';
    }
    return text;
}

lace_value *lace_value_of_bytes(const unsigned char *bytes, size_t size)
{
    unsigned char sign = size > 0 && bytes[size - 1] & 0x80 ? 0xff : 0;
    while (size > 0 && bytes[size - 1] == sign && (size == 1 ? sign == 0 : (bytes[size - 2] & 0x80) == (sign & 0x80)))
        size--;
    if (size > sizeof(int64_t)) {
        struct lace_text *text = lace_text_make(size, LACE_TYPE_INT, LACE_VALUE_BIG);
        if (text != NULL)
            memcpy(text->bytes, bytes, size);
        return (lace_value *)text;
    }
    struct lace_number *value = lace_value_make(sizeof *value, LACE_TYPE_INT, 0);
    if (value != NULL) {
        uint64_t number = sign ? UINT64_MAX : 0;
        memcpy(&number, bytes, size); /* the host's order is put right behind it */
        value->as.integer = (int64_t)le64toh(number);
    }
    return (lace_value *)value;
}

lace_value *lace_value_big(const void *bytes, size_t size)
{
    if (bytes == NULL && size > 0) {
        lace_object(LACE_INVALID, "lace_value_big() got no bytes");
        return &invalid;
    }
    if (size > INT32_MAX) { /* what a pickle can say */
        lace_object(LACE_INVALID, "an int of %zu bytes is too big for a message", size);
        return &invalid;
    }
    return made(lace_value_of_bytes(size > 0 ? bytes : (const void *)"", size));
}

lace_value *lace_value_uint(uint64_t number)
{
    unsigned char bytes[9] = {0};
    uint64_t ordered = htole64(number);
    memcpy(bytes, &ordered, sizeof ordered);
    return made(lace_value_of_bytes(bytes, sizeof bytes));
}

/* The length of the well-formed sequence at `p`, 0 where there is none. */
static size_t sequence(const unsigned char *p, size_t size)
{
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool beyond = p[0] == 0xf4 && p[1] >= 0x90;
    return overlong || beyond ? 0 : length;
}

bool lace_text_is_utf8(const unsigned char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        if (size - i >= 8) {
            uint64_t eight;
            memcpy(&eight, text + i, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += 8;
                continue;
            }
        }
        size_t length = text[i] < 0x80 ? 1 : sequence(text + i, size - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

lace_value *lace_value_str_sized(const char *text, size_t size)
{
    if (text == NULL && size > 0) {
        lace_object(LACE_INVALID, "a str was to be made of no text");
        return &invalid;
    }
    struct lace_text *value = lace_text_make(size, LACE_TYPE_STR, 0);
    if (value != NULL && size > 0)
        memcpy(value->bytes, text, size);
    if (value != NULL && !lace_text_is_utf8(value->bytes, size)) {
        free(value);
        lace_object(LACE_INVALID, "a str was to be made of bytes that are not UTF-8");
        return &invalid;
    }
    return made(value);
}

lace_value *lace_value_str(const char *text)
{
    if (text == NULL) {
        lace_object(LACE_INVALID, "a str was to be made of no text");
        return &invalid;
    }
    return lace_value_str_sized(text, strlen(text));
}

lace_value *lace_value_bytes(const void *data, size_t size)
{
    if (data == NULL && size > 0) {
        lace_object(LACE_INVALID, "a bytes was to be made of no data");
        return &invalid;
    }
    struct lace_text *value = lace_text_make(size, LACE_TYPE_BYTES, 0);
    if (value != NULL && size > 0)
        memcpy(value->bytes, data, size);
    return made(value);
}

lace_value *lace_value_block(lace_block *block)
{
    if (block == NULL) {
        lace_object(LACE_INVALID, "lace_value_block() got no block");
        return &invalid;
    }
    struct lace_laid *value = lace_value_make(sizeof *value, LACE_TYPE_BYTES,
                                              LACE_VALUE_LAID | LACE_VALUE_OUT_OF_BAND);
    if (value != NULL) {
        value->size = lace_block_size(block);
        value->data = lace_block_data(block);
        value->block = block;
        atomic_init(&value->readonly, false);
    } else {
        lace_block_destroy(block);
    }
    return made(value);
}

static struct lace_carried *carried(lace_type type, void *end)
{
    struct lace_carried *value = lace_value_make(sizeof *value, type, 0);
    if (value != NULL)
        value->end = end;
    return value;
}

lace_value *lace_value_sender(lace_sender *sender)
{
    if (sender == NULL) {
        lace_object(LACE_INVALID, "lace_value_sender() got no sender");
        return &invalid;
    }
    struct lace_carried *value = carried(LACE_TYPE_SENDER, sender);
    if (value == NULL)
        lace_sender_destroy(sender);
    return made(value);
}

lace_value *lace_value_receiver(lace_receiver *receiver)
{
    if (receiver == NULL) {
        lace_object(LACE_INVALID, "lace_value_receiver() got no receiver");
        return &invalid;
    }
    struct lace_carried *value = carried(LACE_TYPE_RECEIVER, receiver);
    if (value == NULL)
        lace_receiver_destroy(receiver);
    return made(value);
}

/* ---- containers ----------------------------------------------------------------------------------------- */

static lace_value *items(lace_type type)
{
    struct lace_items *value = lace_value_make(sizeof *value, type, 0);
    if (value != NULL) {
        value->size = value->as.room = 0;
        value->items = NULL;
    }
    return made(value);
}

lace_value *lace_value_list(void)
{
    return items(LACE_TYPE_LIST);
}

lace_value *lace_value_tuple(void)
{
    return items(LACE_TYPE_TUPLE);
}

lace_value *lace_value_dict(void)
{
    struct lace_dict *value = lace_value_make(sizeof *value, LACE_TYPE_DICT, 0);
    if (value != NULL) {
        value->size = value->as.room = value->index_room = 0;
        value->pairs = NULL;
        value->index = NULL;
    }
    return made(value);
}

bool lace_items_reserve(struct lace_items *value, size_t count)
{
    if (count <= value->as.room)
        return true;
    if (count > PTRDIFF_MAX / sizeof *value->items)
        return false;
    lace_value **grown = lace_value_reallocate(value->items, count * sizeof *grown);
    if (grown == NULL)
        return false;
    value->items = grown;
    value->as.room = count;
    return true;
}

/* The value has failed, unless it had before; gives why. */
static lace_status fail(lace_value *value, lace_status status)
{
    if ((value->flags & LACE_VALUE_STATIC) == 0 && lace_value_state(value) == LACE_OK)
        atomic_store_explicit(&value->status, (uint8_t)status, memory_order_relaxed);
    return status;
}

/* Whether something may be added to the container. */
static lace_status open_to_change(lace_value *container, bool of_the_type, const char *wanted)
{
    if (container == NULL)
        return lace_object(LACE_INVALID, "NULL is no %s", wanted);
    lace_status status = lace_value_state(container);
    if (status != LACE_OK)
        return status;
    if (!of_the_type)
        return fail(container, lace_object(LACE_INVALID, "a value of type %s is no %s",
                                                    lace_type_name(container->type), wanted));
    if (lace_value_held(container) != LACE_HELD_ONE)
        return fail(container,
                    lace_object(LACE_INVALID, "a %s cannot change after it has been put somewhere or shared",
                                         lace_type_name(container->type)));
    return LACE_OK;
}

/* Whether `item` may be put into the container. */
static lace_status fit_to_place(const lace_value *container, const lace_value *item)
{
    if (item == NULL)
        return lace_object(LACE_INVALID, "NULL was to be put into a %s", lace_type_name(container->type));
    if (item == container)
        return lace_object(LACE_INVALID, "a %s was to be put into itself", lace_type_name(container->type));
    return lace_value_state(item);
}

static lace_status placed_already(void)
{
    return lace_object(LACE_INVALID, "a value was to be put into a second place: lace_value_share() makes a "
                                              "handle for each");
}

/* For what is not taken after all: a handle of what is not the container itself. */
static void drop(const lace_value *container, lace_value *item)
{
    if (item != container)
        lace_value_destroy(item);
}

lace_status lace_value_append(lace_value *sequence, lace_value *item)
{
    bool of_the_type = sequence != NULL && (sequence->type == LACE_TYPE_LIST || sequence->type == LACE_TYPE_TUPLE);
    lace_status status = open_to_change(sequence, of_the_type, "list or tuple");
    if (status != LACE_OK) {
        drop(sequence, item);
        return status;
    }
    struct lace_items *value = (struct lace_items *)sequence;
    status = fit_to_place(sequence, item);
    if (status == LACE_OK && value->size == value->as.room && !lace_items_reserve(value, value->size * 2 + 4))
        status = lace_value_no_memory();
    if (status == LACE_OK && !lace_value_place(item))
        return fail(sequence, placed_already()); /* it was not the caller's */
    if (status != LACE_OK) {
        drop(sequence, item);
        return fail(sequence, status);
    }
    value->items[value->size++] = item;
    atomic_store_explicit(&sequence->hash, 0, memory_order_relaxed); /* somebody may have looked for it as a key */
    return LACE_OK;
}

lace_status lace_value_put(lace_value *dict, lace_value *key, lace_value *item)
{
    lace_status status = open_to_change(dict, dict != NULL && dict->type == LACE_TYPE_DICT, "dict");
    if (status == LACE_OK) {
        status = fit_to_place(dict, key);
        if (status == LACE_OK)
            status = fit_to_place(dict, item);
        if (status == LACE_OK)
            status = lace_dict_put((struct lace_dict *)dict, key, item, NULL);
        if (status == LACE_MISMATCH)
            status = lace_object(LACE_INVALID, "a %s cannot be a key", lace_type_name(key->type));
        if (status == LACE_OK)
            return LACE_OK;
        fail(dict, status);
    }
    /* One value for both may come with one handle, by mistake. */
    bool once = item == key && item != NULL && lace_value_handles(item) < 2;
    drop(dict, key);
    if (!once)
        drop(dict, item);
    return status;
}

lace_status lace_value_set(lace_value *dict, const char *key, lace_value *item)
{
    return lace_value_put(dict, lace_value_str(key), item);
}

/* ---- counting ------------------------------------------------------------------------------------------- */

bool lace_value_place(lace_value *value)
{
    if (value->flags & LACE_VALUE_STATIC)
        return true;
    uint64_t held = lace_value_held(value);
    if (held == LACE_HELD_ONE) {
        atomic_store_explicit(&value->held, held + 1, memory_order_relaxed);
        return true;
    }
    do {
        if (held >> 32 == (held & LACE_HELD_PLACES))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&value->held, &held, held + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void lace_value_unplace(lace_value *value)
{
    if ((value->flags & LACE_VALUE_STATIC) == 0)
        atomic_fetch_sub_explicit(&value->held, 1, memory_order_relaxed);
}

lace_value *lace_value_share(const lace_value *value)
{
    lace_value *shared = (lace_value *)value; /* its count is no part of what is const */
    if (shared == NULL) {
        lace_object(LACE_INVALID, "NULL was to be shared");
        return &invalid;
    }
    if (shared->flags & LACE_VALUE_STATIC)
        return shared;
    if (atomic_fetch_add_explicit(&shared->held, LACE_HELD_ONE, memory_order_relaxed) >= LACE_HELD_MOST << 32) {
        atomic_fetch_sub_explicit(&shared->held, LACE_HELD_ONE, memory_order_relaxed);
        return made(NULL);
    }
    return shared;
}

/* Takes a count away, of a place or a handle. Whether it was the last one. */
static bool let_go(lace_value *value, bool place)
{
    if (value->flags & LACE_VALUE_STATIC)
        return false;
    uint64_t held = lace_value_held(value);
    if (held >> 32 == 1)
        return true;
    held = atomic_fetch_sub_explicit(&value->held, LACE_HELD_ONE + place, memory_order_acq_rel);
    return held >> 32 == 1;
}

/* Lets go of a place: what then has no count is freed if it is a leaf, else put on the list. */
static void leave(lace_value *value, lace_value **list);

static void free_value(lace_value *value, lace_value **list)
{
    struct lace_items *sequence = (struct lace_items *)value;
    struct lace_dict *dict = (struct lace_dict *)value;
    switch (value->type) {
    case LACE_TYPE_LIST:
    case LACE_TYPE_TUPLE:
        for (size_t i = 0; i < sequence->size; i++)
            leave(sequence->items[i], list);
        free(sequence->items);
        break;
    case LACE_TYPE_DICT:
        for (size_t i = 0; i < dict->size; i++) {
            leave(dict->pairs[i].key, list);
            leave(dict->pairs[i].item, list);
        }
        free(dict->pairs);
        free(dict->index);
        break;
    case LACE_TYPE_SENDER:
        lace_sender_destroy(((struct lace_carried *)value)->end);
        break;
    case LACE_TYPE_RECEIVER:
        lace_receiver_destroy(((struct lace_carried *)value)->end);
        break;
    case LACE_TYPE_BYTES:
        if (value->flags & LACE_VALUE_LAID)
            lace_block_destroy(((struct lace_laid *)value)->block);
        break;
    default:
        break;
    }
    free(value);
}

static lace_value **next_of(lace_value *container)
{
    if (container->type == LACE_TYPE_DICT)
        return &((struct lace_dict *)container)->as.next;
    return &((struct lace_items *)container)->as.next;
}

static void leave(lace_value *value, lace_value **list)
{
    if (!let_go(value, true))
        return;
    if (lace_value_is_container(value)) {
        *next_of(value) = *list;
        *list = value;
    } else {
        free_value(value, NULL);
    }
}

void lace_value_destroy(lace_value *value)
{
    if (value == NULL || value->flags & LACE_VALUE_STATIC)
        return;
    if (lace_value_handles(value) == 0 || !let_go(value, false))
        return;
    /* Containers within wait in a list that is threaded through themselves: this needs neither stack nor memory. */
    lace_value *list = NULL;
    free_value(value, &list);
    while (list != NULL) {
        value = list;
        list = *next_of(value);
        free_value(value, &list);
    }
}
