/* codec_write.c - plain objects to pickles.
 *
 * Nothing here runs Python code, allocates a Python object or releases the GIL: types are compared, never asked, and
 * an object of any other type ends the attempt. So no object can change, move or die while a message is written, its
 * address is its identity, and reading lists and dicts in place with borrowed references is safe.
 *
 * Which objects does pickle put into its memo, so that they stay one object when they are met twice? str, bytes,
 * tuple, list and dict. Most need no look there: what has one reference and is met as the item of a container has
 * just had that reference used up, if the container is walked once. Three things to mind:
 * - The caller may hold the message itself through a borrowed reference, out of a container inside it: it gets a
 *   reference of ours.
 * - str keys of dicts always go through the memo: the __dict__s of a class's instances share one table of keys, which
 *   holds one reference for all of them.
 * - A tuple comes into being after its items. So one with several references, and the tuples that are items of it,
 *   can be walked once more inside themselves, through a list or dict among their items; those always go through the
 *   memo, so that the second walk ends there. Which other items are then written twice does not show: the tuple of
 *   the outer walk is dropped for that of the inner.
 * Lists and dicts are walked once, then: either they have one reference, in a container that is walked once, or they
 * are in the memo. A walk that does not end meets one of them, or nothing but tuples: see MAX_DEPTH.
 * A str or bytes of one ASCII character, or none, needs no memo: CPython has one object for each. */
#include "codec_fast.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#ifdef Py_GIL_DISABLED
#error "The codec counts on the GIL, and on reference counts that are whole."
#endif

#define LEAF_ROOM 16        /* at least the longest opcode with its number, and a MEMOIZE */
#define KEPT_MET (1 << 14)  /* entries */
#define KEPT_OPEN (1 << 10) /* entries */
#define MAX_DEPTH (1 << 20) /* beyond, it may be a cycle of nothing but tuples, as C code can make */

typedef struct writer {
    lace_codec *codec;
    unsigned char *at, *end; /* the free part of the buffer */
    lace_buffer buffer;
} writer;

typedef enum step {
    WRITTEN, /* the whole object */
    OPENED,  /* a container has been opened: its items come next */
    NOT_MINE,
    FAILED, /* with an exception set */
} step;

/* ---- the buffer ----------------------------------------------------------------------------------------- */

static Py_NO_INLINE bool grow(writer *w, size_t need)
{
    size_t used = w->buffer.data ? (size_t)(w->at - (unsigned char *)w->buffer.data) : 0;
    if (!lace_buffer_grow(&w->buffer, used, need))
        return false;
    w->at = (unsigned char *)w->buffer.data + used;
    w->end = (unsigned char *)w->buffer.data + w->buffer.room;
    return true;
}

static inline bool reserve(writer *w, size_t need)
{
    return (size_t)(w->end - w->at) >= need || grow(w, need);
}

/* These write into room that has been reserved. */

static inline void put(writer *w, unsigned char byte)
{
    *w->at++ = byte;
}

static inline void put_16(writer *w, uint16_t number)
{
    number = htole16(number);
    memcpy(w->at, &number, sizeof number);
    w->at += sizeof number;
}

static inline void put_32(writer *w, uint32_t number)
{
    number = htole32(number);
    memcpy(w->at, &number, sizeof number);
    w->at += sizeof number;
}

static inline void put_64(writer *w, uint64_t number)
{
    number = htole64(number);
    memcpy(w->at, &number, sizeof number);
    w->at += sizeof number;
}

/* The opcode of something with a size; pickle has three for each. */
static inline void put_size(writer *w, unsigned char op_8, unsigned char op_32, unsigned char op_64, size_t size)
{
    if (size <= UINT8_MAX) {
        put(w, op_8);
        put(w, (unsigned char)size);
    } else if (size <= UINT32_MAX) {
        put(w, op_32);
        put_32(w, (uint32_t)size);
    } else {
        put(w, op_64);
        put_64(w, size);
    }
}

/* ---- what has been met ---------------------------------------------------------------------------------- */

static inline size_t met_place(const lace_codec *codec, const PyObject *object)
{
    uint64_t hash = ((uint64_t)(uintptr_t)object >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 32) & (codec->met_room - 1);
}

/* The object's entry, or the one for it to use: there always is a free one. */
static inline lace_met *met_entry(const lace_codec *codec, const PyObject *object)
{
    size_t place = met_place(codec, object);
    for (;;) {
        lace_met *entry = &codec->met[place];
        if (entry->message != codec->message || entry->object == object)
            return entry;
        place = (place + 1) & (codec->met_room - 1);
    }
}

static Py_NO_INLINE bool met_grow(lace_codec *codec)
{
    lace_codec old = *codec;
    codec->met_room = old.met_room ? old.met_room * 2 : 64;
    codec->met = calloc(codec->met_room, sizeof *codec->met); /* message 0 is none */
    if (codec->met == NULL) {
        codec->met = old.met;
        codec->met_room = old.met_room;
        PyErr_NoMemory();
        return false;
    }
    for (size_t i = 0; i < old.met_room; i++) {
        if (old.met[i].message == codec->message)
            *met_entry(codec, old.met[i].object) = old.met[i];
    }
    free(old.met);
    return true;
}

/* A new message: everything in the table is free, without touching it. */
static void met_begin(lace_codec *codec)
{
    codec->met_count = 0;
    if (++codec->message == 0) {
        codec->message = 1;
        for (size_t i = 0; i < codec->met_room; i++)
            codec->met[i].message = 0;
    }
}

/* Finds an object that may be met twice. WRITTEN: it had been met, and a reference to it has been written. OPENED:
 * it has not; *ret_entry is the one for it, until the next look. */
static inline step met_before(writer *w, PyObject *object, lace_met **ret_entry)
{
    lace_codec *codec = w->codec;
    if (codec->met_count >= codec->met_room / 2 && !met_grow(codec))
        return FAILED;
    lace_met *entry = met_entry(codec, object);
    if (entry->message == codec->message) {
        if (entry->index <= UINT8_MAX) {
            put(w, LACE_OP_BINGET);
            put(w, (unsigned char)entry->index);
        } else {
            put(w, LACE_OP_LONG_BINGET);
            put_32(w, entry->index);
        }
        return WRITTEN;
    }
    if (codec->met_count == UINT32_MAX)
        return NOT_MINE;
    *ret_entry = entry;
    return OPENED;
}

/* The object that has just been written gets the next index, as the reader counts them. */
static inline void met_now(writer *w, PyObject *object, lace_met *entry)
{
    *entry = (lace_met){object, w->codec->message, w->codec->met_count++};
    put(w, LACE_OP_MEMOIZE);
}

/* ---- leaves --------------------------------------------------------------------------------------------- */

static Py_NO_INLINE step put_big_int(writer *w, PyObject *object)
{
    int64_t value;
    Py_ssize_t size = PyLong_AsNativeBytes(object, &value, sizeof value, Py_ASNATIVEBYTES_NATIVE_ENDIAN);
    if (size < 0)
        return FAILED;
    if (size <= (Py_ssize_t)sizeof value) {
        uint64_t magnitude = (uint64_t)(value < 0 ? ~value : value);
        int bytes = magnitude == 0 ? 1 : (64 - __builtin_clzll(magnitude)) / 8 + 1; /* and a bit for the sign */
        put(w, LACE_OP_LONG1);
        put(w, (unsigned char)bytes);
        put_64(w, (uint64_t)value);
        w->at -= (int)sizeof value - bytes;
        return WRITTEN;
    }
    if (size > INT32_MAX)
        return NOT_MINE;
    if (!reserve(w, (size_t)size + LEAF_ROOM))
        return FAILED;
    if (size <= UINT8_MAX) {
        put(w, LACE_OP_LONG1);
        put(w, (unsigned char)size);
    } else {
        put(w, LACE_OP_LONG4);
        put_32(w, (uint32_t)size);
    }
    if (PyLong_AsNativeBytes(object, w->at, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN) < 0)
        return FAILED;
    w->at += size;
    return WRITTEN;
}

static inline step put_int(writer *w, PyObject *object)
{
    if (!PyUnstable_Long_IsCompact((PyLongObject *)object))
        return put_big_int(w, object);
    Py_ssize_t value = PyUnstable_Long_CompactValue((PyLongObject *)object);
    if (value >= 0 && value <= UINT8_MAX) {
        put(w, LACE_OP_BININT1);
        put(w, (unsigned char)value);
    } else if (value >= 0 && value <= UINT16_MAX) {
        put(w, LACE_OP_BININT2);
        put_16(w, (uint16_t)value);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        put(w, LACE_OP_BININT);
        put_32(w, (uint32_t)(int32_t)value);
    } else {
        return put_big_int(w, object);
    }
    return WRITTEN;
}

static inline step put_float(writer *w, PyObject *object)
{
    double value = PyFloat_AS_DOUBLE(object);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = htobe64(bits); /* alone in pickle, floats have their highest byte first */
    put(w, LACE_OP_BINFLOAT);
    memcpy(w->at, &bits, sizeof bits);
    w->at += sizeof bits;
    return WRITTEN;
}

/* UTF-8 in which a lone surrogate is a character like any other: what pickle calls "surrogatepass". Room for the
 * longest has been reserved. */
static Py_NO_INLINE unsigned char *put_utf8(unsigned char *at, PyObject *object)
{
    int kind = PyUnicode_KIND(object);
    const void *data = PyUnicode_DATA(object);
    Py_ssize_t length = PyUnicode_GET_LENGTH(object);
    for (Py_ssize_t i = 0; i < length; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        if (c < 0x80) {
            *at++ = (unsigned char)c;
        } else if (c < 0x800) {
            *at++ = (unsigned char)(0xc0 | c >> 6);
            *at++ = (unsigned char)(0x80 | (c & 0x3f));
        } else if (c < 0x10000) {
            *at++ = (unsigned char)(0xe0 | c >> 12);
            *at++ = (unsigned char)(0x80 | (c >> 6 & 0x3f));
            *at++ = (unsigned char)(0x80 | (c & 0x3f));
        } else {
            *at++ = (unsigned char)(0xf0 | c >> 18);
            *at++ = (unsigned char)(0x80 | (c >> 12 & 0x3f));
            *at++ = (unsigned char)(0x80 | (c >> 6 & 0x3f));
            *at++ = (unsigned char)(0x80 | (c & 0x3f));
        }
    }
    return at;
}

/* The size is written for the longest it can be, so that the characters are read once, and put right afterwards. */
static Py_NO_INLINE bool put_wide_str(writer *w, PyObject *object)
{
    size_t length = (size_t)PyUnicode_GET_LENGTH(object);
    int kind = PyUnicode_KIND(object);
    size_t longest = length * (kind == PyUnicode_1BYTE_KIND ? 2 : kind == PyUnicode_2BYTE_KIND ? 3 : 4);
    if (!reserve(w, longest + LEAF_ROOM))
        return false;
    unsigned char *head = w->at;
    put_size(w, LACE_OP_SHORT_BINUNICODE, LACE_OP_BINUNICODE, LACE_OP_BINUNICODE8, longest);
    unsigned char *text = w->at;
    unsigned char *after = put_utf8(text, object);
    w->at = head + 1;
    if (longest <= UINT8_MAX)
        put(w, (unsigned char)(after - text));
    else if (longest <= UINT32_MAX)
        put_32(w, (uint32_t)(after - text));
    else
        put_64(w, (uint64_t)(after - text));
    w->at = after;
    return true;
}

/* `shared`: it may be met again. */
static inline step put_str(writer *w, PyObject *object, bool shared)
{
    size_t length = (size_t)PyUnicode_GET_LENGTH(object);
    bool ascii = PyUnicode_IS_ASCII(object);
    lace_met *entry = NULL;
    if (shared && (length > 1 || !ascii)) {
        step met = met_before(w, object, &entry);
        if (met != OPENED)
            return met;
    }
    if (ascii) {
        if (!reserve(w, length + LEAF_ROOM))
            return FAILED;
        put_size(w, LACE_OP_SHORT_BINUNICODE, LACE_OP_BINUNICODE, LACE_OP_BINUNICODE8, length);
        memcpy(w->at, PyUnicode_DATA(object), length);
        w->at += length;
    } else if (!put_wide_str(w, object)) {
        return FAILED;
    }
    if (entry != NULL)
        met_now(w, object, entry);
    return WRITTEN;
}

static inline step put_bytes(writer *w, PyObject *object, bool shared)
{
    size_t size = (size_t)PyBytes_GET_SIZE(object);
    lace_met *entry = NULL;
    if (shared && size > 1) {
        step met = met_before(w, object, &entry);
        if (met != OPENED)
            return met;
    }
    if (!reserve(w, size + LEAF_ROOM))
        return FAILED;
    put_size(w, LACE_OP_SHORT_BINBYTES, LACE_OP_BINBYTES, LACE_OP_BINBYTES8, size);
    memcpy(w->at, PyBytes_AS_STRING(object), size);
    w->at += size;
    if (entry != NULL)
        met_now(w, object, entry);
    return WRITTEN;
}

/* ---- containers ----------------------------------------------------------------------------------------- */

static Py_NO_INLINE bool open_grow(lace_codec *codec)
{
    size_t room = codec->open_room ? codec->open_room * 2 : 32;
    lace_open *grown = realloc(codec->open, room * sizeof *grown);
    if (grown == NULL) {
        PyErr_NoMemory();
        return false;
    }
    codec->open = grown;
    codec->open_room = room;
    return true;
}

static inline step open_container(writer *w, PyObject *container)
{
    lace_codec *codec = w->codec;
    if (codec->depth == codec->open_room) {
        if (codec->depth >= MAX_DEPTH)
            return NOT_MINE;
        if (!open_grow(codec))
            return FAILED;
    }
    bool again = false;
    if (PyTuple_CheckExact(container))
        again = Py_REFCNT(container) > 1 || (codec->depth > 0 && codec->open[codec->depth - 1].again);
    codec->open[codec->depth++] = (lace_open){container, 0, NULL, again};
    return OPENED;
}

/* A list or dict is in the memo before its items are written: cycles end there. */
static inline step put_filled(writer *w, PyObject *object, bool shared, unsigned char op, Py_ssize_t size)
{
    lace_met *entry = NULL;
    if (shared) {
        step met = met_before(w, object, &entry);
        if (met != OPENED)
            return met;
    }
    put(w, op);
    if (entry != NULL)
        met_now(w, object, entry);
    if (size == 0)
        return WRITTEN;
    if (size > 1)
        put(w, LACE_OP_MARK);
    return open_container(w, object);
}

/* A tuple is in the memo only after its items. */
static inline step put_tuple(writer *w, PyObject *object, bool shared)
{
    Py_ssize_t size = PyTuple_GET_SIZE(object);
    if (size == 0) {
        put(w, LACE_OP_EMPTY_TUPLE);
        return WRITTEN;
    }
    if (shared) {
        lace_met *entry;
        step met = met_before(w, object, &entry);
        if (met != OPENED)
            return met;
    }
    if (size > 3)
        put(w, LACE_OP_MARK);
    return open_container(w, object);
}

static inline step put_object(writer *w, PyObject *object, bool shared)
{
    if (!reserve(w, LEAF_ROOM))
        return FAILED;
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyUnicode_Type)
        return put_str(w, object, shared);
    if (type == &PyLong_Type)
        return put_int(w, object);
    if (type == &PyFloat_Type)
        return put_float(w, object);
    if (type == &PyDict_Type)
        return put_filled(w, object, shared, LACE_OP_EMPTY_DICT, PyDict_GET_SIZE(object));
    if (type == &PyList_Type)
        return put_filled(w, object, shared, LACE_OP_EMPTY_LIST, PyList_GET_SIZE(object));
    if (type == &PyTuple_Type)
        return put_tuple(w, object, shared);
    if (object == Py_None)
        return put(w, LACE_OP_NONE), WRITTEN;
    if (object == Py_True)
        return put(w, LACE_OP_NEWTRUE), WRITTEN;
    if (object == Py_False)
        return put(w, LACE_OP_NEWFALSE), WRITTEN;
    if (type == &PyBytes_Type)
        return put_bytes(w, object, shared);
    return NOT_MINE;
}

static inline step put_item(writer *w, PyObject *object)
{
    return put_object(w, object, Py_REFCNT(object) > 1);
}

/* The next three write items of the innermost open container until one of them opens another, and close it after the
 * last. `top` is stale as soon as a container has been opened. */

static step list_items(writer *w, lace_open *top)
{
    PyObject *list = top->container;
    Py_ssize_t size = PyList_GET_SIZE(list);
    while (top->next < size) {
        step did = put_item(w, PyList_GET_ITEM(list, top->next++));
        if (did != WRITTEN)
            return did;
    }
    if (!reserve(w, LEAF_ROOM))
        return FAILED;
    put(w, size > 1 ? LACE_OP_APPENDS : LACE_OP_APPEND);
    w->codec->depth--;
    return WRITTEN;
}

static step dict_items(writer *w, lace_open *top)
{
    PyObject *dict = top->container;
    for (;;) {
        PyObject *key = NULL;
        if (top->value == NULL) {
            if (!PyDict_Next(dict, &top->next, &key, &top->value))
                break;
            step did = PyUnicode_CheckExact(key) ? put_object(w, key, true) : put_item(w, key);
            if (did != WRITTEN)
                return did;
        }
        PyObject *value = top->value;
        top->value = NULL;
        step did = put_item(w, value);
        if (did != WRITTEN)
            return did;
    }
    if (!reserve(w, LEAF_ROOM))
        return FAILED;
    put(w, PyDict_GET_SIZE(dict) > 1 ? LACE_OP_SETITEMS : LACE_OP_SETITEM);
    w->codec->depth--;
    return WRITTEN;
}

static step tuple_items(writer *w, lace_open *top)
{
    static const unsigned char ops[] = {0, LACE_OP_TUPLE1, LACE_OP_TUPLE2, LACE_OP_TUPLE3};
    PyObject *tuple = top->container;
    Py_ssize_t size = PyTuple_GET_SIZE(tuple);
    while (top->next < size) {
        PyObject *item = PyTuple_GET_ITEM(tuple, top->next++);
        bool filled = PyList_CheckExact(item) || PyDict_CheckExact(item);
        step did = put_object(w, item, Py_REFCNT(item) > 1 || (top->again && filled));
        if (did != WRITTEN)
            return did;
    }
    if (!reserve(w, LEAF_ROOM))
        return FAILED;
    w->codec->depth--;
    if (Py_REFCNT(tuple) == 1) {
        put(w, size > 3 ? LACE_OP_TUPLE : ops[size]);
        return WRITTEN;
    }
    /* Was the tuple met inside itself, through a list or dict? Then it has been made there, where the list was known
     * already: that one it is, and the items here are dropped. */
    lace_met *entry;
    unsigned char *before = w->at;
    step met = met_before(w, tuple, &entry);
    if (met == WRITTEN) {
        w->at = before;
        for (Py_ssize_t i = 0; size <= 3 && i < size; i++)
            put(w, LACE_OP_POP);
        if (size > 3)
            put(w, LACE_OP_POP_MARK);
        return met_before(w, tuple, &entry);
    }
    if (met == OPENED) {
        put(w, size > 3 ? LACE_OP_TUPLE : ops[size]);
        met_now(w, tuple, entry);
        return WRITTEN;
    }
    return met;
}

static step put_message(writer *w, PyObject *object)
{
    if (!reserve(w, LEAF_ROOM))
        return FAILED;
    put(w, LACE_OP_PROTO);
    put(w, 5);
    PyTypeObject *type = Py_TYPE(object);
    bool container = type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type;
    step did = put_object(w, object, container);
    while ((did == WRITTEN || did == OPENED) && w->codec->depth > 0) {
        lace_open *top = &w->codec->open[w->codec->depth - 1];
        type = Py_TYPE(top->container);
        if (type == &PyList_Type)
            did = list_items(w, top);
        else
            did = type == &PyDict_Type ? dict_items(w, top) : tuple_items(w, top);
    }
    if (did == WRITTEN) {
        if (!reserve(w, 1))
            return FAILED;
        put(w, LACE_OP_STOP);
    }
    return did;
}

/* ---- messages ------------------------------------------------------------------------------------------- */

lace_codec_result lace_codec_write(lace_codec *codec, PyObject *object, lace_buffer *ret_buffer)
{
    writer w = {.codec = codec, .buffer = codec->spare};
    codec->spare = (lace_buffer){0};
    w.at = (unsigned char *)w.buffer.data;
    w.end = w.at + w.buffer.room;
    met_begin(codec);
    Py_INCREF(object);
    step did = put_message(&w, object);
    Py_DECREF(object); /* the caller's reference is left */
    codec->depth = 0;
    if (codec->met_room > KEPT_MET) {
        free(codec->met);
        codec->met = NULL;
        codec->met_room = 0;
    }
    if (codec->open_room > KEPT_OPEN) {
        free(codec->open);
        codec->open = NULL;
        codec->open_room = 0;
    }
    if (did == WRITTEN) {
        w.buffer.size = (size_t)(w.at - (unsigned char *)w.buffer.data);
        *ret_buffer = w.buffer;
        return LACE_CODEC_DONE;
    }
    lace_codec_return(codec, &w.buffer);
    return did == NOT_MINE ? LACE_CODEC_NOT_MINE : LACE_CODEC_FAILED;
}

void lace_codec_return(lace_codec *codec, lace_buffer *buffer)
{
    if (buffer->block == NULL && buffer->room > codec->spare.room) {
        lace_buffer_free(&codec->spare);
        codec->spare = *buffer;
        *buffer = (lace_buffer){0};
    } else {
        lace_buffer_free(buffer);
    }
}

void lace_codec_finish(lace_codec *codec)
{
    lace_buffer_free(&codec->spare);
    free(codec->met);
    free(codec->open);
    lace_codec_finish_reading(codec);
    *codec = (lace_codec){0};
}

PyObject *lace_codec_dumps(lace_codec *codec, PyObject *object)
{
    lace_buffer buffer;
    switch (lace_codec_write(codec, object, &buffer)) {
    case LACE_CODEC_DONE:
        break;
    case LACE_CODEC_NOT_MINE:
        Py_RETURN_NONE;
    default:
        return NULL;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(buffer.data, (Py_ssize_t)buffer.size);
    lace_codec_return(codec, &buffer);
    return bytes;
}
