/* value_dict.c - finding and replacing by key. A dict keeps its pairs in order, and once there are many an index of
 * them by the hash of the key. */
#include "value.h"

#include <string.h>

#define FEW 8 /* pairs that are looked through one by one */

/* Where a str that is no value stands for one. */
typedef struct wanted {
    const lace_value *key; /* or NULL */
    const char *text;
    size_t size;
} wanted;

static lace_status is_key(const lace_value *key, const wanted *want, lace_effort *effort, bool *ret_is)
{
    const struct lace_text *text = (const struct lace_text *)key;
    *ret_is = true;
    if (key == want->key)
        return LACE_OK;
    if (want->key != NULL && (key->type != LACE_TYPE_STR || want->key->type != LACE_TYPE_STR))
        return lace_value_compare(key, want->key, effort, ret_is);
    *ret_is = key->type == LACE_TYPE_STR && text->size == want->size;
    if (!*ret_is)
        return LACE_OK;
    if (effort != NULL) {
        if (effort->left < want->size / 16 + 1)
            return LACE_TOO_BIG;
        effort->left -= want->size / 16 + 1;
    }
    *ret_is = memcmp(text->bytes, want->text, want->size) == 0;
    return LACE_OK;
}

/* *ret_slot, when it is wanted, is the one in the index for a new key. `hash` is needed only where there is an index. */
static lace_status look(const struct lace_dict *dict, const wanted *want, uint32_t hash, lace_effort *effort,
                        size_t *ret_place, size_t *ret_slot)
{
    bool is = false;
    lace_status status = LACE_OK;
    if (dict->index == NULL) {
        for (size_t i = 0; i < dict->size && status == LACE_OK && !is; i++) {
            status = is_key(dict->pairs[i].key, want, effort, &is);
            *ret_place = i;
        }
    } else {
        size_t slot = hash & (dict->index_room - 1);
        for (; dict->index[slot] != 0 && status == LACE_OK; slot = (slot + 1) & (dict->index_room - 1)) {
            size_t place = dict->index[slot] - 1;
            const lace_value *key = dict->pairs[place].key;
            if (atomic_load_explicit(&key->hash, memory_order_relaxed) != hash &&
                (key->flags & LACE_VALUE_STATIC) == 0)
                continue;
            status = is_key(key, want, effort, &is);
            *ret_place = place;
            if (is)
                break;
        }
        if (ret_slot != NULL)
            *ret_slot = slot;
    }
    if (status == LACE_OK && !is)
        *ret_place = SIZE_MAX;
    return status;
}

static wanted want_key(const lace_value *key)
{
    const struct lace_text *text = (const struct lace_text *)key;
    if (key->type != LACE_TYPE_STR)
        return (wanted){.key = key};
    return (wanted){key, (const char *)text->bytes, text->size};
}

/* Whether it can be a key, and its hash if the dict has an index for it. */
static lace_status prepare(const struct lace_dict *dict, const lace_value *key, uint32_t *ret_hash)
{
    bool plain = key->type < LACE_TYPE_LIST && (key->flags & LACE_VALUE_LAID) == 0;
    *ret_hash = 0;
    return plain && dict->index == NULL ? LACE_OK : lace_value_hash(key, ret_hash);
}

lace_status lace_dict_place(const struct lace_dict *dict, const lace_value *key, lace_effort *effort,
                            size_t *ret_place)
{
    uint32_t hash;
    wanted want = want_key(key);
    lace_status status = prepare(dict, key, &hash);
    return status == LACE_OK ? look(dict, &want, hash, effort, ret_place, NULL) : status;
}

/* ---- growing -------------------------------------------------------------------------------------------- */

/* An index with twice the room that `count` pairs take. */
static lace_status index_grow(struct lace_dict *dict, size_t count)
{
    size_t room = 4 * FEW;
    while (room < count * 2)
        room *= 2;
    if (count >= UINT32_MAX / 2)
        return lace_value_no_memory();
    uint32_t *index = LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : calloc(room, sizeof *index);
    if (index == NULL)
        return lace_value_no_memory();
    for (size_t i = 0; i < dict->size; i++) {
        uint32_t hash;
        lace_status status = lace_value_hash(dict->pairs[i].key, &hash);
        if (status != LACE_OK) {
            free(index);
            return status;
        }
        size_t slot = hash & (room - 1);
        while (index[slot] != 0)
            slot = (slot + 1) & (room - 1);
        index[slot] = (uint32_t)i + 1;
    }
    free(dict->index);
    dict->index = index;
    dict->index_room = room;
    return LACE_OK;
}

/* Makes room for one pair more. */
static lace_status reserve(struct lace_dict *dict)
{
    if (dict->size == dict->as.room && !lace_value_grow(&dict->pairs, &dict->as.room, sizeof *dict->pairs, NULL))
        return lace_value_no_memory();
    if (dict->size + 1 > FEW && (dict->size + 1) * 2 > dict->index_room)
        return index_grow(dict, (dict->size + 1) * 2);
    return LACE_OK;
}

static lace_status claim(lace_value *key, lace_value *item)
{
    if (lace_value_place(key)) {
        if (lace_value_place(item))
            return LACE_OK;
        lace_value_unplace(key);
    }
    return lace_object(LACE_INVALID, "a value was to be put into a second place: lace_value_share() makes a "
                                              "handle for each");
}

lace_status lace_dict_put(struct lace_dict *dict, lace_value *key, lace_value *item, lace_effort *effort)
{
    uint32_t hash;
    size_t place = SIZE_MAX, slot = 0;
    wanted want = want_key(key);
    lace_status status = reserve(dict);
    if (status == LACE_OK)
        status = prepare(dict, key, &hash);
    if (status == LACE_OK)
        status = look(dict, &want, hash, effort, &place, &slot);
    if (status == LACE_OK && place == SIZE_MAX) {
        status = claim(key, item);
        if (status != LACE_OK)
            return status;
        if (dict->index != NULL)
            dict->index[slot] = (uint32_t)dict->size + 1;
        dict->pairs[dict->size++] = (struct lace_pair){key, item};
    } else if (status == LACE_OK) {
        status = claim(key, item);
        if (status != LACE_OK)
            return status;
        lace_value *old = dict->pairs[place].item;
        dict->pairs[place].item = item;
        lace_value_unplace(old);
        lace_value_destroy(old);
        lace_value_unplace(key); /* the old key stays, as in Python */
        lace_value_destroy(key);
    }
    return status;
}

/* ---- looking -------------------------------------------------------------------------------------------- */

const lace_value *lace_value_find_any(const lace_value *value, const lace_value *key)
{
    const struct lace_dict *dict = (const struct lace_dict *)value;
    size_t place;
    if (value == NULL || key == NULL || value->type != LACE_TYPE_DICT || key->type == LACE_TYPE_FAILED ||
        lace_dict_place(dict, key, NULL, &place) != LACE_OK || place == SIZE_MAX)
        return NULL;
    return dict->pairs[place].item;
}

const lace_value *lace_value_find(const lace_value *value, const char *key)
{
    const struct lace_dict *dict = (const struct lace_dict *)value;
    if (value == NULL || key == NULL || value->type != LACE_TYPE_DICT)
        return NULL;
    wanted want = {NULL, key, strlen(key)};
    uint32_t hash = dict->index != NULL ? lace_hash_text(LACE_TYPE_STR, key, want.size) : 0;
    size_t place;
    if (look(dict, &want, hash, NULL, &place, NULL) != LACE_OK || place == SIZE_MAX)
        return NULL;
    return dict->pairs[place].item;
}
