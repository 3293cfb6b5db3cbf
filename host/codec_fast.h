/* codec_fast.h - messages of plain objects written and read in C.
 *
 * What a message looks like on the way is a pickle (protocol 5) in any case. For exact None, bool, int, float, str,
 * bytes, tuple, list and dict, nested in each other, a lace_codec writes and reads it itself. Of anything else it
 * says LACE_CODEC_NOT_MINE, without an exception and without a trace, and the caller starts again with pickle.
 *
 * One codec per interpreter, guarded by its GIL. A codec never releases the GIL of its own accord. */
#ifndef LACE_CODEC_FAST_H
#define LACE_CODEC_FAST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

/* The opcodes of protocol 5 that are written, or written by CPython for the same objects. */
enum {
    LACE_OP_MARK = '(',
    LACE_OP_STOP = '.',
    LACE_OP_POP = '0',
    LACE_OP_POP_MARK = '1',
    LACE_OP_BINBYTES = 'B',
    LACE_OP_SHORT_BINBYTES = 'C',
    LACE_OP_BINFLOAT = 'G',
    LACE_OP_BININT = 'J',
    LACE_OP_BININT1 = 'K',
    LACE_OP_BININT2 = 'M',
    LACE_OP_NONE = 'N',
    LACE_OP_BINUNICODE = 'X',
    LACE_OP_EMPTY_LIST = ']',
    LACE_OP_APPEND = 'a',
    LACE_OP_APPENDS = 'e',
    LACE_OP_BINGET = 'h',
    LACE_OP_LONG_BINGET = 'j',
    LACE_OP_SETITEM = 's',
    LACE_OP_SETITEMS = 'u',
    LACE_OP_TUPLE = 't',
    LACE_OP_EMPTY_TUPLE = ')',
    LACE_OP_EMPTY_DICT = '}',
    LACE_OP_PROTO = 0x80,
    LACE_OP_TUPLE1 = 0x85,
    LACE_OP_TUPLE2 = 0x86,
    LACE_OP_TUPLE3 = 0x87,
    LACE_OP_NEWTRUE = 0x88,
    LACE_OP_NEWFALSE = 0x89,
    LACE_OP_LONG1 = 0x8a,
    LACE_OP_LONG4 = 0x8b,
    LACE_OP_SHORT_BINUNICODE = 0x8c,
    LACE_OP_BINUNICODE8 = 0x8d,
    LACE_OP_BINBYTES8 = 0x8e,
    LACE_OP_MEMOIZE = 0x94,
    LACE_OP_FRAME = 0x95,
};

typedef enum lace_codec_result {
    LACE_CODEC_DONE,
    LACE_CODEC_NOT_MINE, /* no exception is set: pickle can do it, or say what is wrong with it */
    LACE_CODEC_FAILED,   /* with an exception set */
} lace_codec_result;

typedef struct lace_buffer {
    char *data; /* malloc, or the memory of `block` */
    size_t size, room;
    struct lace_block *block; /* NULL: none */
} lace_buffer;

/* buffer.c: makes room for `need` more bytes behind the first `used`, which it keeps; `size` is lost. False with
 * MemoryError set: the buffer is as it was. */
bool lace_buffer_grow(lace_buffer *buffer, size_t used, size_t need);
void lace_buffer_free(lace_buffer *buffer);

/* Where in the message an object is that may be met again. */
typedef struct lace_met {
    PyObject *object;
    uint32_t message; /* the number of the message: entries of other messages are free */
    uint32_t index;
} lace_met;

/* A container whose items are being written. */
typedef struct lace_open {
    PyObject *container;
    Py_ssize_t next;
    PyObject *value; /* of a dict whose key has just been written */
    bool again;      /* a tuple that may be opened once more inside itself */
} lace_open;

#define LACE_CODEC_KEYS 256

/* All zero is a codec that has done nothing yet. The members belong to codec_write.c and codec_read.c. */
typedef struct lace_codec {
    lace_buffer spare; /* of the last message, for the next one */

    lace_met *met; /* open addressing; `met_room` is a power of two, or 0 */
    size_t met_room;
    uint32_t met_count, message;
    lace_open *open;
    size_t depth, open_room;

    bool reading;
    PyObject **stack;
    size_t stack_count, stack_room;
    size_t *marks;
    size_t mark_count, mark_room;
    PyObject **memo;
    size_t memo_count, memo_room;
    PyObject *keys[LACE_CODEC_KEYS]; /* short ASCII keys of dicts, each where its hash says; or NULL */
} lace_codec;

/* Frees what the codec keeps, and leaves it all zero. */
void lace_codec_finish(lace_codec *codec);

/* Writes the object as a whole pickle. Gives the buffer when done, to lace_codec_return(); nothing otherwise. */
lace_codec_result lace_codec_write(lace_codec *codec, PyObject *object, lace_buffer *ret_buffer);
/* Takes a buffer that lace_codec_write() gave, and keeps it for the next message unless it is huge. */
void lace_codec_return(lace_codec *codec, lace_buffer *buffer);

/* Reads a whole pickle. Borrows the bytes during the call. What is no pickle is an UnpicklingError at worst. */
lace_codec_result lace_codec_read(lace_codec *codec, const char *data, size_t size, PyObject **ret_object);

/* The two for the tests: object to bytes, or None when it is not the codec's; bytes to object, or
 * NotImplementedError. */
PyObject *lace_codec_dumps(lace_codec *codec, PyObject *object);
PyObject *lace_codec_loads(lace_codec *codec, PyObject *bytes);

/* ---- between the two files ------------------------------------------------------------------------------ */

void lace_codec_finish_reading(lace_codec *codec);

#endif
