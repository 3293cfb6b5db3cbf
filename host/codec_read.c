/* codec_read.c - pickles of plain objects to objects.
 *
 * The bytes may be anything. Every size is compared with what is left of them before something is allocated for it,
 * and each opcode grows each of the reader's three stacks by one entry at most: what is allocated is bounded by a
 * multiple of the bytes. What CPython's Unpickler would reject is an UnpicklingError here; an opcode that is not
 * listed, or one that is used in a way that asks an object what to do, is for the Unpickler.
 *
 * The types that are made here run no Python code when they are hashed, compared or freed. Two things can, though: an
 * error handler registered in place of "surrogatepass", and a BytesWarning (python -bb) at a dict with str and bytes
 * keys. A message read in there is left to the Unpickler: a codec reads one at a time. */
#include "codec_fast.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_ENTRIES (1 << 14) /* of each stack */
#define KEY_SIZE 32            /* of the longest key that is kept */
#define KEYS_KEPT 32           /* of one dict: a big one is a table, whose keys do not come again */

typedef struct reader {
    lace_codec *codec;
    const unsigned char *at, *end; /* of the frame, or of what is in no frame */
    const unsigned char *data_end;
    bool framed;
    size_t fence; /* the last mark, or 0: nothing below is to be touched */
} reader;

static PyObject *unpickling_error(void)
{
    return PyImport_ImportModuleAttrString("_pickle", "UnpicklingError");
}

/* Always false: an exception is set. */
static Py_NO_INLINE bool fail(const char *why)
{
    PyObject *cause = PyErr_GetRaisedException();
    PyObject *type = unpickling_error();
    if (type != NULL) {
        PyErr_SetString(type, why);
        Py_DECREF(type);
        PyObject *raised = PyErr_GetRaisedException();
        PyException_SetCause(raised, cause); /* takes it */
        cause = NULL;
        PyErr_SetRaisedException(raised);
    }
    Py_XDECREF(cause);
    return false;
}

/* ---- the three stacks ----------------------------------------------------------------------------------- */

/* A stack with more room; NULL, with the stack as it was, is an exception. */
static Py_NO_INLINE void *grown(void *entries, size_t *room, size_t entry)
{
    size_t wanted = *room ? *room * 2 : 64;
    void *more = realloc(entries, wanted * entry);
    if (more == NULL)
        return PyErr_NoMemory();
    *room = wanted;
    return more;
}

/* Takes the object; NULL is an exception. */
static inline bool push(reader *r, PyObject *object)
{
    lace_codec *codec = r->codec;
    if (object == NULL)
        return false;
    if (codec->stack_count == codec->stack_room) {
        PyObject **stack = grown(codec->stack, &codec->stack_room, sizeof *stack);
        if (stack == NULL) {
            Py_DECREF(object);
            return false;
        }
        codec->stack = stack;
    }
    codec->stack[codec->stack_count++] = object;
    return true;
}

/* Are there that many objects above the last mark? */
static inline bool has(const reader *r, size_t count)
{
    return r->codec->stack_count - r->fence >= count || fail("unpickling stack underflow");
}

static inline void set_fence(reader *r)
{
    r->fence = r->codec->mark_count > 0 ? r->codec->marks[r->codec->mark_count - 1] : 0;
}

static inline bool mark(reader *r)
{
    lace_codec *codec = r->codec;
    if (codec->mark_count == codec->mark_room) {
        size_t *marks = grown(codec->marks, &codec->mark_room, sizeof *marks);
        if (marks == NULL)
            return false;
        codec->marks = marks;
    }
    r->fence = codec->marks[codec->mark_count++] = codec->stack_count;
    return true;
}

/* Removes the last mark; *ret_place is where it was. */
static inline bool unmark(reader *r, size_t *ret_place)
{
    if (r->codec->mark_count == 0)
        return fail("could not find MARK");
    *ret_place = r->codec->marks[--r->codec->mark_count];
    set_fence(r);
    return true;
}

static void drop_to(lace_codec *codec, size_t place)
{
    while (codec->stack_count > place)
        Py_DECREF(codec->stack[--codec->stack_count]);
}

static inline bool memoize(reader *r)
{
    lace_codec *codec = r->codec;
    if (!has(r, 1))
        return false;
    if (codec->memo_count == codec->memo_room) {
        PyObject **memo = grown(codec->memo, &codec->memo_room, sizeof *memo);
        if (memo == NULL)
            return false;
        codec->memo = memo;
    }
    codec->memo[codec->memo_count++] = Py_NewRef(codec->stack[codec->stack_count - 1]);
    return true;
}

static inline bool get(reader *r, size_t index)
{
    if (index >= r->codec->memo_count)
        return fail("memo value not found");
    return push(r, Py_NewRef(r->codec->memo[index]));
}

/* ---- numbers -------------------------------------------------------------------------------------------- */

/* There are no `size` bytes left in the frame: are there behind it? */
static Py_NO_INLINE bool leave_frame(reader *r, uint64_t size)
{
    if (r->framed && r->at != r->end)
        return fail("pickle exhausted before end of frame");
    r->framed = false;
    r->end = r->data_end;
    return size <= (uint64_t)(r->end - r->at) || fail("pickle data was truncated");
}

/* *ret_bytes are the next `size` ones. */
static inline bool take(reader *r, uint64_t size, const unsigned char **ret_bytes)
{
    if (size > (uint64_t)(r->end - r->at) && !leave_frame(r, size))
        return false;
    *ret_bytes = r->at;
    r->at += size;
    return true;
}

/* A number of 1, 2, 4 or 8 bytes: a constant wherever this is used, so that the copy is one instruction. */
static Py_ALWAYS_INLINE inline bool number(reader *r, size_t width, uint64_t *ret_number)
{
    const unsigned char *bytes;
    if (!take(r, width, &bytes))
        return false;
    uint64_t value = 0;
    memcpy(&value, bytes, width);
    *ret_number = le64toh(value);
    return true;
}

/* A frame says how much may be read ahead, which is nothing to us; but nothing may lie across its end. */
static bool frame(reader *r)
{
    uint64_t size;
    if (!number(r, 8, &size))
        return false;
    if (r->framed && r->at != r->end)
        return fail("beginning of a new frame before end of current frame");
    if (size > (uint64_t)(r->data_end - r->at))
        return fail("pickle data was truncated");
    r->framed = true;
    r->end = r->at + size;
    return true;
}

static bool big_int(reader *r, uint64_t size)
{
    const unsigned char *bytes;
    if (size > INT32_MAX)
        return fail("LONG pickle has negative byte count");
    if (!take(r, size, &bytes))
        return false;
    if (size == 0)
        return push(r, PyLong_FromLong(0));
    if (size <= 8) {
        uint64_t value = bytes[size - 1] & 0x80 ? UINT64_MAX : 0;
        value = htole64(value);
        memcpy(&value, bytes, size);
        return push(r, PyLong_FromLongLong((int64_t)le64toh(value)));
    }
    return push(r, PyLong_FromNativeBytes(bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN));
}

static inline bool binfloat(reader *r)
{
    const unsigned char *bytes;
    if (!take(r, 8, &bytes))
        return false;
    uint64_t bits;
    memcpy(&bits, bytes, sizeof bits);
    bits = be64toh(bits);
    double value;
    memcpy(&value, &bits, sizeof value);
    return push(r, PyFloat_FromDouble(value));
}

/* ---- str and bytes -------------------------------------------------------------------------------------- */

static inline PyObject *decode(const unsigned char *text, size_t size)
{
    return PyUnicode_DecodeUTF8((const char *)text, (Py_ssize_t)size, "surrogatepass");
}

/* Is what comes next on the stack a key, and none of very many? A guess: it costs nothing but time when wrong. */
static inline bool at_key(const reader *r)
{
    const lace_codec *codec = r->codec;
    size_t above = codec->stack_count - r->fence;
    if (r->fence > 0 && above % 2 == 0 && above <= 2 * KEYS_KEPT && PyDict_CheckExact(codec->stack[r->fence - 1]))
        return true;
    /* A dict with one item has no mark. */
    return above > 0 && PyDict_CheckExact(codec->stack[codec->stack_count - 1]);
}

/* Of 2 to KEY_SIZE bytes: from the first and last few of them. */
static inline size_t key_place(const unsigned char *text, size_t size)
{
    uint64_t first = 0, last = 0;
    if (size >= 8) {
        memcpy(&first, text, 8);
        memcpy(&last, text + size - 8, 8);
    } else if (size >= 4) {
        memcpy(&first, text, 4);
        memcpy(&last, text + size - 4, 4);
    } else {
        memcpy(&first, text, 2);
        last = text[size - 1];
    }
    uint64_t hash = (first ^ (last << 7 | last >> 57) ^ size) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 32) % LACE_CODEC_KEYS;
}

/* The key that was made last time, with its hash known. Equal keys of different messages become one object by this;
 * within a message that hardly ever shows, and a str has no identity to speak of. */
static PyObject *key(lace_codec *codec, const unsigned char *text, size_t size)
{
    PyObject **kept = &codec->keys[key_place(text, size)];
    if (*kept != NULL && (size_t)PyUnicode_GET_LENGTH(*kept) == size &&
        memcmp(PyUnicode_DATA(*kept), text, size) == 0)
        return Py_NewRef(*kept);
    PyObject *made = decode(text, size);
    if (made != NULL && PyUnicode_IS_ASCII(made))
        Py_XSETREF(*kept, Py_NewRef(made));
    return made;
}

static bool str(reader *r, uint64_t size)
{
    const unsigned char *text;
    if (!take(r, size, &text))
        return false;
    PyObject *made;
    if (size >= 2 && size <= KEY_SIZE && at_key(r))
        made = key(r->codec, text, size);
    else
        made = decode(text, size);
    if (made == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return fail("a str in the pickle is not UTF-8");
    return push(r, made);
}

static bool bytes_object(reader *r, uint64_t size)
{
    const unsigned char *bytes;
    if (!take(r, size, &bytes))
        return false;
    return push(r, PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size));
}

/* ---- containers ----------------------------------------------------------------------------------------- */

/* Makes the objects from `place` on into a tuple, which takes their place. */
static bool make_tuple(reader *r, size_t place)
{
    lace_codec *codec = r->codec;
    size_t size = codec->stack_count - place;
    PyObject *tuple = PyTuple_New((Py_ssize_t)size);
    if (tuple == NULL)
        return false;
    for (size_t i = 0; i < size; i++)
        PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, codec->stack[place + i]);
    codec->stack_count = place;
    return push(r, tuple);
}

static inline bool counted_tuple(reader *r, size_t size)
{
    return has(r, size) && make_tuple(r, r->codec->stack_count - size);
}

/* Moves the objects from `place` on into a new list. */
static PyObject *list_of(reader *r, size_t place, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        PyList_SET_ITEM(list, (Py_ssize_t)i, r->codec->stack[place + i]);
    r->codec->stack_count = place;
    return list;
}

/* Adds the objects from `place` on to the list below them. */
static lace_codec_result append(reader *r, size_t place)
{
    lace_codec *codec = r->codec;
    if (place <= r->fence || place > codec->stack_count)
        return fail("unpickling stack underflow"), LACE_CODEC_FAILED;
    size_t count = codec->stack_count - place;
    PyObject *list = codec->stack[place - 1];
    if (!PyList_CheckExact(list))
        return LACE_CODEC_NOT_MINE;
    if (count == 0)
        return LACE_CODEC_DONE;
    if (PyList_GET_SIZE(list) == 0 && Py_REFCNT(list) == 1) {
        /* Nobody knows this empty list yet: one of the right size may as well take its place. */
        PyObject *made = list_of(r, place, count);
        if (made == NULL)
            return LACE_CODEC_FAILED;
        codec->stack[place - 1] = made;
        Py_DECREF(list);
        return LACE_CODEC_DONE;
    }
    if (count == 1) {
        if (PyList_Append(list, codec->stack[place]) < 0)
            return LACE_CODEC_FAILED;
        drop_to(codec, place);
        return LACE_CODEC_DONE;
    }
    PyObject *more = list_of(r, place, count);
    if (more == NULL)
        return LACE_CODEC_FAILED;
    int done = PyList_SetSlice(list, PyList_GET_SIZE(list), PyList_GET_SIZE(list), more);
    Py_DECREF(more);
    return done < 0 ? LACE_CODEC_FAILED : LACE_CODEC_DONE;
}

/* Computes the hash of a tuple from the innermost tuple outwards: it is kept in each, and so a deep one is an error
 * here where PyObject_Hash() would run out of the C stack. */
static bool hash_tuple(PyObject *tuple)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *item = PyTuple_GET_ITEM(tuple, i);
        if (!PyTuple_CheckExact(item) || ((PyTupleObject *)item)->ob_hash != -1)
            continue;
        if (Py_EnterRecursiveCall(" while unpickling a key"))
            return false;
        bool done = hash_tuple(item);
        Py_LeaveRecursiveCall();
        if (!done)
            return false;
    }
    return PyObject_Hash(tuple) != -1;
}

/* Puts the keys and values from `place` on into the dict below them. */
static lace_codec_result set_items(reader *r, size_t place)
{
    lace_codec *codec = r->codec;
    if (place <= r->fence || place > codec->stack_count)
        return fail("unpickling stack underflow"), LACE_CODEC_FAILED;
    size_t count = codec->stack_count - place;
    PyObject *dict = codec->stack[place - 1];
    if (!PyDict_CheckExact(dict))
        return LACE_CODEC_NOT_MINE;
    if (count % 2 != 0)
        return fail("odd number of items for SETITEMS"), LACE_CODEC_FAILED;
    for (size_t i = place; i < codec->stack_count; i += 2) {
        PyObject *the_key = codec->stack[i];
        if ((PyTuple_CheckExact(the_key) && !hash_tuple(the_key)) ||
            PyDict_SetItem(dict, the_key, codec->stack[i + 1]) < 0) {
            if (PyErr_ExceptionMatches(PyExc_TypeError))
                fail("a key in the pickle is unhashable");
            return LACE_CODEC_FAILED;
        }
    }
    drop_to(codec, place);
    return LACE_CODEC_DONE;
}

static bool pop(reader *r)
{
    lace_codec *codec = r->codec;
    if (codec->mark_count > 0 && codec->marks[codec->mark_count - 1] == codec->stack_count) {
        codec->mark_count--; /* pickle's stack has the marks in it */
        set_fence(r);
        return true;
    }
    if (!has(r, 1))
        return false;
    drop_to(codec, codec->stack_count - 1);
    return true;
}

/* ---- opcodes -------------------------------------------------------------------------------------------- */

static lace_codec_result run(reader *r)
{
    uint64_t value;
    size_t place;
    for (;;) {
        bool ok;
        lace_codec_result result;
        if (r->at == r->end && !leave_frame(r, 1))
            return LACE_CODEC_FAILED;
        switch (*r->at++) {
        case LACE_OP_PROTO:
            ok = number(r, 1, &value);
            if (ok && value > 5)
                return LACE_CODEC_NOT_MINE;
            break;
        case LACE_OP_FRAME:
            ok = frame(r);
            break;
        case LACE_OP_NONE:
            ok = push(r, Py_NewRef(Py_None));
            break;
        case LACE_OP_NEWTRUE:
            ok = push(r, Py_NewRef(Py_True));
            break;
        case LACE_OP_NEWFALSE:
            ok = push(r, Py_NewRef(Py_False));
            break;
        case LACE_OP_BININT1:
            ok = number(r, 1, &value) && push(r, PyLong_FromLong((long)value));
            break;
        case LACE_OP_BININT2:
            ok = number(r, 2, &value) && push(r, PyLong_FromLong((long)value));
            break;
        case LACE_OP_BININT:
            ok = number(r, 4, &value) && push(r, PyLong_FromLong((int32_t)(uint32_t)value));
            break;
        case LACE_OP_LONG1:
            ok = number(r, 1, &value) && big_int(r, value);
            break;
        case LACE_OP_LONG4:
            ok = number(r, 4, &value) && big_int(r, value);
            break;
        case LACE_OP_BINFLOAT:
            ok = binfloat(r);
            break;
        case LACE_OP_SHORT_BINUNICODE:
            ok = number(r, 1, &value) && str(r, value);
            break;
        case LACE_OP_BINUNICODE:
            ok = number(r, 4, &value) && str(r, value);
            break;
        case LACE_OP_BINUNICODE8:
            ok = number(r, 8, &value) && str(r, value);
            break;
        case LACE_OP_SHORT_BINBYTES:
            ok = number(r, 1, &value) && bytes_object(r, value);
            break;
        case LACE_OP_BINBYTES:
            ok = number(r, 4, &value) && bytes_object(r, value);
            break;
        case LACE_OP_BINBYTES8:
            ok = number(r, 8, &value) && bytes_object(r, value);
            break;
        case LACE_OP_MEMOIZE:
            ok = memoize(r);
            break;
        case LACE_OP_BINGET:
            ok = number(r, 1, &value) && get(r, value);
            break;
        case LACE_OP_LONG_BINGET:
            ok = number(r, 4, &value) && get(r, value);
            break;
        case LACE_OP_MARK:
            ok = mark(r);
            break;
        case LACE_OP_POP:
            ok = pop(r);
            break;
        case LACE_OP_POP_MARK:
            ok = unmark(r, &place);
            if (ok)
                drop_to(r->codec, place);
            break;
        case LACE_OP_EMPTY_TUPLE:
            ok = push(r, PyTuple_New(0));
            break;
        case LACE_OP_TUPLE1:
            ok = counted_tuple(r, 1);
            break;
        case LACE_OP_TUPLE2:
            ok = counted_tuple(r, 2);
            break;
        case LACE_OP_TUPLE3:
            ok = counted_tuple(r, 3);
            break;
        case LACE_OP_TUPLE:
            ok = unmark(r, &place) && make_tuple(r, place);
            break;
        case LACE_OP_EMPTY_LIST:
            ok = push(r, PyList_New(0));
            break;
        case LACE_OP_EMPTY_DICT:
            ok = push(r, PyDict_New());
            break;
        case LACE_OP_APPEND:
            result = has(r, 1) ? append(r, r->codec->stack_count - 1) : LACE_CODEC_FAILED;
            if (result != LACE_CODEC_DONE)
                return result;
            continue;
        case LACE_OP_APPENDS:
            result = unmark(r, &place) ? append(r, place) : LACE_CODEC_FAILED;
            if (result != LACE_CODEC_DONE)
                return result;
            continue;
        case LACE_OP_SETITEM:
            result = has(r, 2) ? set_items(r, r->codec->stack_count - 2) : LACE_CODEC_FAILED;
            if (result != LACE_CODEC_DONE)
                return result;
            continue;
        case LACE_OP_SETITEMS:
            result = unmark(r, &place) ? set_items(r, place) : LACE_CODEC_FAILED;
            if (result != LACE_CODEC_DONE)
                return result;
            continue;
        case LACE_OP_STOP:
            return has(r, 1) ? LACE_CODEC_DONE : LACE_CODEC_FAILED;
        default:
            return LACE_CODEC_NOT_MINE;
        }
        if (!ok)
            return LACE_CODEC_FAILED;
    }
}

/* ---- messages ------------------------------------------------------------------------------------------- */

/* The stack to keep: none instead of a huge one. */
static void *trimmed(void *entries, size_t *room)
{
    if (*room <= KEPT_ENTRIES)
        return entries;
    free(entries);
    *room = 0;
    return NULL;
}

lace_codec_result lace_codec_read(lace_codec *codec, const char *data, size_t size, PyObject **ret_object)
{
    if (codec->reading)
        return LACE_CODEC_NOT_MINE;
    codec->reading = true;
    const unsigned char *bytes = (const unsigned char *)data;
    reader r = {.codec = codec, .at = bytes, .end = bytes + size, .data_end = bytes + size};
    lace_codec_result result = run(&r);
    if (result == LACE_CODEC_DONE)
        *ret_object = codec->stack[--codec->stack_count];
    drop_to(codec, 0);
    while (codec->memo_count > 0)
        Py_DECREF(codec->memo[--codec->memo_count]);
    codec->mark_count = 0;
    codec->stack = trimmed(codec->stack, &codec->stack_room);
    codec->marks = trimmed(codec->marks, &codec->mark_room);
    codec->memo = trimmed(codec->memo, &codec->memo_room);
    codec->reading = false;
    return result;
}

void lace_codec_finish_reading(lace_codec *codec)
{
    free(codec->stack);
    free(codec->marks);
    free(codec->memo);
    for (size_t i = 0; i < LACE_CODEC_KEYS; i++)
        Py_CLEAR(codec->keys[i]);
}

PyObject *lace_codec_loads(lace_codec *codec, PyObject *bytes)
{
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(bytes, &data, &size) < 0)
        return NULL;
    PyObject *object;
    switch (lace_codec_read(codec, data, (size_t)size, &object)) {
    case LACE_CODEC_DONE:
        return object;
    case LACE_CODEC_NOT_MINE:
        PyErr_SetString(PyExc_NotImplementedError, "not the codec's");
        return NULL;
    default:
        return NULL;
    }
}
