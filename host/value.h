/* value.h - what the files of lace_value share. No Python here.
 *
 * A value is counted. Of its counts some are places, in the containers that it is in, and the rest are handles, in
 * somebody's hands: to put a value somewhere makes a place of a handle. A list, tuple or dict changes only while it
 * has one handle and no place, so what is in a container never changes, and no container is ever in itself. */
#ifndef LACE_VALUE_H
#define LACE_VALUE_H

#include "../channels/hooks.h"
#include "interlace.h"
#include "problem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LACE_HELD_ONE (UINT64_C(1) << 32) /* one count; a place is one more in the lower half */
#define LACE_HELD_PLACES UINT64_C(0xffffffff)
#define LACE_HELD_MOST (UINT64_C(1) << 31) /* counts of one value */

enum {
    LACE_VALUE_STATIC = 1,      /* not counted, never changes */
    LACE_VALUE_BIG = 2,         /* an int that is a lace_text: it does not fit into an int64_t */
    LACE_VALUE_LAID = 4,        /* bytes that are a lace_laid */
    LACE_VALUE_OUT_OF_BAND = 8, /* and their block is all theirs: they are sent as that block */
};

/* One of the functions that may stand in a pickle: a value only on the stack of value_read.c. */
#define LACE_TYPE_FUNCTION 100

struct lace_value {
    /* Counts above, places below. Whoever takes a count away releases, and who takes the last one acquires. With one
     * count left nobody else is there, and plain loads and stores will do. */
    _Atomic uint64_t held;
    _Atomic uint32_t hash; /* 0: not known yet. Relaxed: everybody computes the same. */
    uint8_t type;          /* a lace_type, constant */
    _Atomic uint8_t
        status;    /* why it has failed. Relaxed: it changes while one thread has the value, or by mistake. */
    uint8_t flags; /* constant for what is not new */
};

struct lace_number { /* bool, int, float, function */
    lace_value value;
    union {
        int64_t integer;
        double real;
    } as;
};

struct lace_text { /* str, bytes, big int: the shortest two's complement, the lowest byte first */
    lace_value value;
    size_t size;
    unsigned char bytes[]; /* and a NUL */
};

struct lace_laid { /* bytes that lie on a block */
    lace_value value;
    size_t size;
    const unsigned char *data;
    lace_block *block; /* NULL while value_read.c has it under `index` */
    size_t index;
    atomic_bool readonly; /* who receives the block may only read it. Relaxed: once true, for ever. */
};

struct lace_carried { /* an end */
    lace_value value;
    void *end; /* NULL: taken, or not there yet. Guarded by lace_ends_lock while there may be several handles. */
    size_t index;
};

/* Guards the ends in all values, while they are taken or cloned. Channels' locks are taken under it. */
extern pthread_mutex_t lace_ends_lock;

struct lace_items { /* list, tuple */
    lace_value value;
    size_t size;
    union {
        size_t room;
        lace_value *next; /* in a list of what is being destroyed */
    } as;
    lace_value **items;
};

struct lace_pair {
    lace_value *key, *item;
};

struct lace_dict {
    lace_value value;
    size_t size;
    union {
        size_t room;
        lace_value *next;
    } as;
    struct lace_pair *pairs; /* in the order in which the keys came */
    uint32_t *index;         /* open addressing: a pair's place + 1, or 0. NULL while there are few. */
    size_t index_room;       /* a power of two */
};

/* ---- allocating ---------------------------------------------------------------------------------------- */

static inline void *lace_value_allocate(size_t size)
{
    return LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : malloc(size);
}

static inline void *lace_value_reallocate(void *memory, size_t size)
{
    return LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : realloc(memory, size);
}

/* Makes room for one entry more, at least, in an array of entries of `entry` bytes, of which `room` is how many fit.
 * `own` is the array's first memory, that need not be freed. False: the array is as it was. */
bool lace_value_grow(void *array, size_t *room, size_t entry, const void *own);

/* ---- making and counting (value.c) ---------------------------------------------------------------------- */

/* A new value of `size` bytes, with one handle; only the head is filled. NULL: out of memory. */
static inline void *lace_value_make(size_t size, unsigned type, unsigned flags)
{
    lace_value *value = lace_value_allocate(size);
    if (value != NULL) {
        atomic_init(&value->held, LACE_HELD_ONE);
        atomic_init(&value->hash, 0);
        value->type = (uint8_t)type;
        atomic_init(&value->status, LACE_OK);
        value->flags = (uint8_t)flags;
    }
    return value;
}

static inline uint64_t lace_value_held(const lace_value *value)
{
    return atomic_load_explicit(&value->held, memory_order_acquire);
}

static inline uint64_t lace_value_handles(const lace_value *value)
{
    uint64_t held = lace_value_held(value);
    return (held >> 32) - (held & LACE_HELD_PLACES);
}

static inline lace_status lace_value_state(const lace_value *value)
{
    return (lace_status)atomic_load_explicit(&value->status, memory_order_relaxed);
}

static inline bool lace_value_is_container(const lace_value *value)
{
    return value->type >= LACE_TYPE_LIST && value->type <= LACE_TYPE_DICT;
}

/* More than one place or handle: it may be met twice. */
static inline bool lace_value_is_shared(const lace_value *value)
{
    return (value->flags & LACE_VALUE_STATIC) == 0 && lace_value_held(value) >= 2 * LACE_HELD_ONE;
}

/* Makes a place of one of its handles. False when it has none: somebody puts a value somewhere twice. */
bool lace_value_place(lace_value *value);
/* And back. */
void lace_value_unplace(lace_value *value);

lace_value *lace_value_failed(lace_status status); /* the static value that has failed so */

/* Room for `count` items of a list or tuple in all. False: as it was. */
bool lace_items_reserve(struct lace_items *items, size_t count);

/* A str, bytes or big int with its bytes not filled in yet. */
struct lace_text *lace_text_make(size_t size, unsigned type, unsigned flags);
/* An int of two's complement bytes, which need not be the shortest. NULL: out of memory. */
lace_value *lace_value_of_bytes(const unsigned char *bytes, size_t size);
/* UTF-8, in which surrogates are characters like any other. */
bool lace_text_is_utf8(const unsigned char *text, size_t size);

/* ---- telling (value_text.c) ----------------------------------------------------------------------------- */

const char *lace_type_name(unsigned type); /* as Python has it: "str" */
lace_status lace_value_no_memory(void);

/* ---- comparing (value_hash.c, value_equal.c, value_dict.c) ------------------------------------------------ */

/* How much work comparing may still be; NULL is any amount. What nobody waits for has no end: see value_equal.c. */
typedef struct lace_effort {
    uint64_t left;
} lace_effort;

/* The hash of a key: MISMATCH when it can be none. NOMEM. */
lace_status lace_value_hash(const lace_value *key, uint32_t *ret_hash);
uint32_t lace_hash_text(unsigned type, const void *bytes, size_t size);

/* As lace_value_equal(); TOO_BIG when that takes more than the effort. */
lace_status lace_value_compare(const lace_value *a, const lace_value *b, lace_effort *effort, bool *ret_equal);
/* An integral double that is no int64_t, as the shortest two's complement: its size. */
#define LACE_DOUBLE_BYTES 129
size_t lace_double_bytes(double number, unsigned char bytes[LACE_DOUBLE_BYTES]);

/* The place of a key's pair, SIZE_MAX when there is none. */
lace_status lace_dict_place(const struct lace_dict *dict, const lace_value *key, lace_effort *effort,
                            size_t *ret_place);
/* Adds or replaces. Takes handles of both on success only; MISMATCH when the key can be none. */
lace_status lace_dict_put(struct lace_dict *dict, lace_value *key, lace_value *item, lace_effort *effort);

/* ---- messages (value_read.c) ------------------------------------------------------------------------------ */

/* Reads the value that begins behind the first `skip` bytes of a message; else as lace_value_of_message(). */
lace_status lace_value_read_message(lace_message *message, size_t skip, lace_value **ret_value);

#endif
