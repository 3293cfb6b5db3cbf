/* codec.c - objects to messages and back: pickles, with ends and buffers beside them as attachments.
 *
 * Plain objects are written and read in C (codec_write.c, codec_read.c); anything else by a Pickler that each
 * interpreter keeps. While an object is pickled, this thread's `encoding` says which message it is for: an end's
 * __reduce_ex__ adds a new end of the same channel to that message's attachments and pickles as a call of
 * _interlace._attach(index), and an out-of-band buffer (take_buffer) adds a block. While a message is unpickled,
 * `decoding` says whose attachments an index means. Outside of both, ends refuse to be pickled, and a stray _attach()
 * raises. Both are stacks: a __reduce__ may itself send.
 *
 * A message's bytes are the pickle and then one letter for each out-of-band buffer, 'r' when it is read-only, else 'w';
 * those buffers are the message's block attachments, in order. A large pickle is a block, too: it is the first
 * attachment then, and the bytes are the letters alone. A pickle begins with 0x80: the two cannot be mistaken.
 *
 * Through a pipe go bytes alone: there the message is one pickle, its buffers inside it. */
#include <stdlib.h>
#include <string.h>

#include "module.h"

typedef struct source {
    lace_message *message; /* one of the two */
    lace_job *job;
    size_t shift; /* 1 when the first attachment is the pickle itself */
    struct source *outer;
} source;

struct sink {
    lace_encoded *encoded;
    struct sink *outer;
};

static _Thread_local struct sink *encoding;
static _Thread_local source *decoding;

bool lace_encoding(void)
{
    return encoding != NULL;
}

/* ---- what a message takes along ----------------------------------------------------------------------- */

static void drop_attachments(lace_attachment *attachments, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (attachments[i].kind == LACE_ATTACH_SENDER)
            lace_sender_destroy(attachments[i].as.sender);
        else if (attachments[i].kind == LACE_ATTACH_RECEIVER)
            lace_receiver_destroy(attachments[i].as.receiver);
        else if (attachments[i].kind == LACE_ATTACH_BLOCK)
            lace_block_destroy(attachments[i].as.block);
    }
}

static bool attach(lace_encoded *encoded, lace_attachment attachment)
{
    if (encoded->count == LACE_MAX_ATTACHMENTS - 1) { /* one is kept for the pickle itself */
        PyErr_SetString(PyExc_ValueError, "a message can carry 65534 channel ends and buffers at most");
        return false;
    }
    if (encoded->count == encoded->room) {
        size_t room = encoded->room ? encoded->room * 2 : 4;
        lace_attachment *grown = realloc(encoded->attachments, (room + 1) * sizeof *grown);
        if (grown == NULL) {
            PyErr_NoMemory();
            return false;
        }
        encoded->attachments = grown;
        encoded->room = room;
    }
    encoded->attachments[encoded->count++] = attachment;
    return true;
}

PyObject *lace_encode_end(lace_module *module, lace_attachment end)
{
    lace_encoded *encoded = encoding->encoded;
    if (encoded->leaves)
        return PyErr_Format(PyExc_TypeError, "an end of a channel cannot go through a pipe or socket, to another "
                                             "process: it travels in this one's channels of memory only");
    PyObject *reduced = Py_BuildValue("O(n)", module->attach, (Py_ssize_t)encoded->count);
    if (reduced != NULL && !attach(encoded, end))
        Py_CLEAR(reduced);
    return reduced;
}

bool lace_encode_moving(PyObject *object)
{
    lace_encoded *encoded = encoding->encoded;
    PyObject **grown = realloc(encoded->moving, (encoded->moving_count + 1) * sizeof *grown);
    if (grown == NULL) {
        PyErr_NoMemory();
        return false;
    }
    encoded->moving = grown;
    encoded->moving[encoded->moving_count++] = Py_NewRef(object);
    return true;
}

static bool note_letter(lace_encoded *encoded, char letter)
{
    char *grown = realloc(encoded->letters, encoded->letter_count + 1);
    if (grown == NULL) {
        PyErr_NoMemory();
        return false;
    }
    encoded->letters = grown;
    encoded->letters[encoded->letter_count++] = letter;
    return true;
}

/* The Pickler's buffer_callback: takes a PickleBuffer out of band. False then, True to have it in the pickle. */
PyObject *lace_take_buffer(PyObject *self, PyObject *pickle_buffer)
{
    lace_module *module = lace_module_state(self);
    if (encoding == NULL || encoding->encoded->leaves)
        Py_RETURN_TRUE;
    const Py_buffer *out = PyPickleBuffer_GetBuffer(pickle_buffer);
    if (out == NULL)
        return NULL;
    if (!PyBuffer_IsContiguous(out, 'A'))
        return PyErr_Format(PyExc_BufferError, "a buffer has to be contiguous to be sent");
    lace_encoded *encoded = encoding->encoded;
    lace_attachment block = {.kind = LACE_ATTACH_BLOCK};
    lace_status status = LACE_INVALID;
    if (lace_buffer_moves(module, out->obj))
        status = lace_buffer_share(out->obj, &block.as.block);
    else if (out->readonly)
        status = lace_block_find(lace_region_of_host(), out->buf, (size_t)out->len, &block.as.block);
    if (status == LACE_INVALID) {
        status = lace_block_create(lace_region_of_host(), (size_t)out->len, &block.as.block);
        if (status == LACE_OK)
            memcpy(lace_block_data(block.as.block), out->buf, (size_t)out->len);
    }
    if (status != LACE_OK)
        return PyErr_Format(PyExc_MemoryError, "no room for %zd bytes in the memory that workers share", out->len);
    if (!note_letter(encoded, out->readonly ? 'r' : 'w') || !attach(encoded, block)) {
        lace_block_destroy(block.as.block);
        return NULL;
    }
    Py_RETURN_FALSE;
}

/* ---- pickling ----------------------------------------------------------------------------------------- */

/* Where a Pickler writes to. */
typedef struct sink_object {
    PyObject_HEAD
    lace_buffer buffer;
} sink_object;

static PyObject *sink_write(PyObject *object, PyObject *data)
{
    lace_buffer *buffer = &((sink_object *)object)->buffer;
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    size_t size = (size_t)view.len;
    bool room = buffer->room - buffer->size >= size;
    if (!room) {
        size_t used = buffer->size;
        room = lace_buffer_grow(buffer, used, size);
        buffer->size = used;
    }
    if (room) {
        memcpy(buffer->data + buffer->size, view.buf, size);
        buffer->size += size;
    }
    PyBuffer_Release(&view);
    return room ? PyLong_FromSize_t(size) : NULL;
}

/* The module keeps a sink, whose type keeps the module: a cycle that the collector has to see. */
static int sink_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    return 0;
}

static void sink_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    lace_buffer_free(&((sink_object *)object)->buffer);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef sink_methods[] = {{"write", sink_write, METH_O, NULL}, {NULL, NULL, 0, NULL}};

static PyType_Slot sink_slots[] = {
    {Py_tp_dealloc, sink_dealloc}, {Py_tp_traverse, sink_traverse}, {Py_tp_methods, sink_methods}, {0, NULL}};

static PyType_Spec sink_spec = {"_interlace.Sink", sizeof(sink_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                    Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                sink_slots};

bool lace_codec_ready(PyObject *module, lace_module *state)
{
    state->sink_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &sink_spec, NULL);
    return state->sink_type != NULL;
}

/* A sink and the Pickler that writes to it; false with an exception set. */
static bool make_pickler(lace_module *module, PyObject **ret_sink, PyObject **ret_pickler)
{
    PyObject *sink = module->sink_type->tp_alloc(module->sink_type, 0);
    PyObject *arguments = sink ? Py_BuildValue("(OO)", sink, module->protocol) : NULL;
    PyObject *keywords = arguments ? Py_BuildValue("{s:O}", "buffer_callback", module->take_buffer) : NULL;
    PyObject *pickler = keywords ? PyObject_Call(module->pickler_type, arguments, keywords) : NULL;
    Py_XDECREF(keywords);
    Py_XDECREF(arguments);
    if (pickler == NULL) {
        Py_XDECREF(sink);
        return false;
    }
    *ret_sink = sink;
    *ret_pickler = pickler;
    return true;
}

/* Pickles with the interpreter's own Pickler, or with a new one while that is at work. */
static bool write_by_pickler(lace_module *module, PyObject *object, lace_buffer *ret_buffer)
{
    PyObject *sink = module->sink, *pickler = module->pickler;
    module->sink = module->pickler = NULL;
    if (pickler == NULL && !make_pickler(module, &sink, &pickler))
        return false;
    PyObject *done = PyObject_CallMethod(pickler, "dump", "(O)", object);
    PyObject *raised = done ? NULL : PyErr_GetRaisedException();
    PyObject *cleared = PyObject_CallMethod(pickler, "clear_memo", NULL);
    lace_buffer *buffer = &((sink_object *)sink)->buffer;
    if (done != NULL && cleared != NULL) {
        *ret_buffer = *buffer;
        *buffer = (lace_buffer){0};
    } else {
        lace_buffer_free(buffer);
    }
    bool written = done != NULL && cleared != NULL;
    if (raised != NULL)
        PyErr_SetRaisedException(raised);
    if (written && module->pickler == NULL) {
        module->sink = sink;
        module->pickler = pickler;
    } else {
        Py_DECREF(sink);
        Py_DECREF(pickler);
    }
    Py_XDECREF(done);
    Py_XDECREF(cleared);
    return written;
}

/* Tells the author of a message that does not pickle what to do instead. */
static void explain_failure(void)
{
    PyObject *raised = PyErr_GetRaisedException();
    if (raised == NULL)
        return;
    if (PyErr_GivenExceptionMatches(raised, PyExc_Exception)) {
        PyObject *done = PyObject_CallMethod(
            raised, "add_note", "s",
            "What is sent to a worker is pickled: send what it can rebuild, such as a file's path instead of an "
            "open file, and functions and classes from the top level of a module or script.");
        if (done == NULL)
            PyErr_Clear();
        Py_XDECREF(done);
    }
    PyErr_SetRaisedException(raised);
}

/* Puts the letters and a pickle that is a block where they belong. */
static bool assemble(lace_encoded *encoded)
{
    lace_buffer *buffer = &encoded->buffer;
    if (buffer->block != NULL) {
        if (encoded->attachments == NULL && (encoded->attachments = malloc(sizeof *encoded->attachments)) == NULL) {
            PyErr_NoMemory();
            return false;
        }
        memmove(encoded->attachments + 1, encoded->attachments, encoded->count * sizeof *encoded->attachments);
        encoded->attachments[0] = (lace_attachment){.kind = LACE_ATTACH_BLOCK, .as.block = buffer->block};
        encoded->count++;
        *buffer = (lace_buffer){.data = encoded->letters, .size = encoded->letter_count};
        encoded->letters = NULL;
    } else if (encoded->letter_count > 0) {
        if (buffer->room - buffer->size < encoded->letter_count) {
            char *grown = realloc(buffer->data, buffer->size + encoded->letter_count);
            if (grown == NULL) {
                PyErr_NoMemory();
                return false;
            }
            buffer->data = grown;
            buffer->room = buffer->size + encoded->letter_count;
        }
        memcpy(buffer->data + buffer->size, encoded->letters, encoded->letter_count);
        buffer->size += encoded->letter_count;
    }
    return true;
}

/* What a message that is nothing but a Buffer looks like, as a pickle and with its letter: it is not worth a Pickler. */
static const char buffer_message[] = "\x80\x05\x8c\x0a_interlace\x8c\x07_buffer\x93\x97\x85R.w";
#define BUFFER_MESSAGE_SIZE (sizeof buffer_message - 1)

/* False without an exception when the object is no such Buffer, with one when there is no memory. */
static bool encode_buffer(lace_module *module, PyObject *object, lace_encoded *encoded)
{
    lace_attachment block = {.kind = LACE_ATTACH_BLOCK};
    if (!lace_buffer_take(module, object, &block.as.block))
        return false;
    struct sink here = {encoded, encoding};
    encoding = &here;
    bool noted = lace_encode_moving(object);
    encoding = here.outer;
    if (!noted)
        lace_buffer_end_send(object, false);
    if (!noted || !attach(encoded, block)) {
        lace_block_destroy(block.as.block);
        return false;
    }
    if (!lace_buffer_grow(&encoded->buffer, 0, BUFFER_MESSAGE_SIZE))
        return false;
    memcpy(encoded->buffer.data, buffer_message, BUFFER_MESSAGE_SIZE);
    encoded->buffer.size = BUFFER_MESSAGE_SIZE;
    return true;
}

bool lace_encode(lace_module *module, PyObject *object, lace_encoded *ret_encoded)
{
    return lace_encode_for(module, NULL, object, ret_encoded);
}

bool lace_encode_for(lace_module *module, const lace_sender *sender, PyObject *object, lace_encoded *ret_encoded)
{
    lace_encoded encoded = {.codec = &module->codec, .leaves = sender != NULL && lace_sender_region(sender) == NULL};
    if (!encoded.leaves && encode_buffer(module, object, &encoded)) {
        lace_buffer_begin_send(object);
        *ret_encoded = encoded;
        return true;
    }
    if (PyErr_Occurred()) {
        lace_encoded_finish(&encoded, false);
        return false;
    }
    lace_codec_result result = lace_codec_write(&module->codec, object, &encoded.buffer);
    if (result == LACE_CODEC_NOT_MINE) {
        struct sink here = {&encoded, encoding};
        encoding = &here;
        result = write_by_pickler(module, object, &encoded.buffer) ? LACE_CODEC_DONE : LACE_CODEC_FAILED;
        encoding = here.outer;
        if (result != LACE_CODEC_DONE)
            explain_failure();
    }
    if (result == LACE_CODEC_DONE && !encoded.leaves && (encoded.buffer.block != NULL || encoded.letter_count > 0) &&
        !assemble(&encoded))
        result = LACE_CODEC_FAILED;
    if (result != LACE_CODEC_DONE) {
        lace_encoded_finish(&encoded, false);
        return false;
    }
    /* Pickling may have run code of anybody's, which may have taken views. */
    bool free_to_go = true;
    for (size_t i = 0; i < encoded.moving_count && free_to_go; i++)
        free_to_go = lace_buffer_is_unseen(encoded.moving[i]);
    if (!free_to_go) {
        lace_encoded_finish(&encoded, false);
        return false;
    }
    for (size_t i = 0; i < encoded.moving_count; i++)
        lace_buffer_begin_send(encoded.moving[i]);
    *ret_encoded = encoded;
    return true;
}

lace_payload lace_encoded_payload(const lace_encoded *encoded)
{
    return (lace_payload){.data = encoded->buffer.data,
                          .size = encoded->buffer.size,
                          .attachments = encoded->attachments,
                          .attachment_count = encoded->count};
}

void lace_encoded_finish(lace_encoded *encoded, bool sent)
{
    if (!sent)
        drop_attachments(encoded->attachments, encoded->count);
    for (size_t i = 0; i < encoded->moving_count; i++) {
        lace_buffer_end_send(encoded->moving[i], sent);
        Py_DECREF(encoded->moving[i]);
    }
    free(encoded->moving);
    free(encoded->letters);
    free(encoded->attachments);
    lace_codec_return(encoded->codec, &encoded->buffer);
}

/* ---- decoding ----------------------------------------------------------------------------------------- */

/* Takes one attachment out of what is being decoded; LACE_ATTACH_NONE when there is no such one. */
static lace_attachment take(source *from, size_t index)
{
    lace_attachment taken = {0};
    if (from->message != NULL) {
        if (lace_message_take(from->message, index, &taken) != LACE_OK)
            taken.kind = LACE_ATTACH_NONE;
    } else if (from->job != NULL && index < from->job->attachment_count) {
        taken = from->job->attachments[index];
        from->job->attachments[index].kind = LACE_ATTACH_NONE;
    }
    return taken;
}

static lace_attachment_kind kind_of(const source *from, size_t index)
{
    return from->message ? lace_message_kind(from->message, index) : from->job->attachments[index].kind;
}

/* The out-of-band buffers, as PickleBuffers over Buffers, for their letters: a list. */
static PyObject *take_buffers(lace_module *module, source *from, size_t first, size_t total, const char *letters,
                              size_t count)
{
    PyObject *list = PyList_New(0);
    size_t done = 0;
    for (size_t i = first; list != NULL && i < total && done < count; i++) {
        if (kind_of(from, i) != LACE_ATTACH_BLOCK)
            continue;
        lace_attachment block = take(from, i);
        PyObject *buffer = block.kind == LACE_ATTACH_BLOCK
                               ? lace_buffer_object(module, block.as.block, letters[done] == 'r')
                               : NULL;
        if (buffer == NULL)
            drop_attachments(&block, 1);
        PyObject *out = buffer ? PyPickleBuffer_FromObject(buffer) : NULL;
        Py_XDECREF(buffer);
        if (out == NULL || PyList_Append(list, out) < 0)
            Py_CLEAR(list);
        Py_XDECREF(out);
        done++;
    }
    if (list == NULL && !PyErr_Occurred())
        PyErr_NoMemory();
    return list;
}

static PyObject *read_by_unpickler(lace_module *module, const char *data, size_t size, source *from,
                                   PyObject *buffers)
{
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)size, PyBUF_READ);
    if (view == NULL)
        return NULL;
    from->outer = decoding;
    decoding = from;
    PyObject *object = NULL;
    if (buffers == NULL) {
        object = PyObject_CallOneArg(module->loads, view);
    } else {
        PyObject *arguments = PyTuple_Pack(1, view), *keywords = Py_BuildValue("{s:O}", "buffers", buffers);
        if (arguments != NULL && keywords != NULL)
            object = PyObject_Call(module->loads, arguments, keywords);
        Py_XDECREF(keywords);
        Py_XDECREF(arguments);
    }
    decoding = from->outer;
    Py_DECREF(view);
    return object;
}

/* Reads what `data` begins with, or the block that stands for it. */
static PyObject *load(lace_module *module, const char *data, size_t size, size_t attachments, source *from)
{
    PyObject *object = NULL;
    lace_attachment body = {0};
    size_t letters = 0;
    if (attachments == 1 && size == BUFFER_MESSAGE_SIZE && memcmp(data, buffer_message, size) == 0) {
        lace_attachment block = take(from, 0);
        if (block.kind == LACE_ATTACH_BLOCK)
            object = lace_buffer_object(module, block.as.block, false);
        if (object == NULL)
            drop_attachments(&block, 1);
        if (object != NULL || PyErr_Occurred())
            return object;
        return PyErr_Format(PyExc_ValueError, "this is not a message of Interlace's");
    }
    if (size == 0 || data[0] != '\x80') {
        body = take(from, 0);
        if (body.kind != LACE_ATTACH_BLOCK)
            return PyErr_Format(PyExc_ValueError, "this is not a message of Interlace's");
        letters = size;
    } else {
        while (letters < attachments && letters < size && data[size - 1 - letters] != '.')
            letters++;
    }
    const char *text = data + size - letters;
    if (body.kind == LACE_ATTACH_BLOCK) {
        data = lace_block_data(body.as.block);
        size = lace_block_size(body.as.block);
    }
    if (attachments == (body.kind == LACE_ATTACH_BLOCK)) {
        lace_codec_result result = lace_codec_read(&module->codec, data, size, &object);
        if (result == LACE_CODEC_NOT_MINE)
            object = read_by_unpickler(module, data, size, from, NULL);
    } else {
        PyObject *buffers = NULL;
        if (letters > 0)
            buffers = take_buffers(module, from, body.kind == LACE_ATTACH_BLOCK, attachments, text, letters);
        if (letters == 0 || buffers != NULL) {
            from->shift = body.kind == LACE_ATTACH_BLOCK;
            object = read_by_unpickler(module, data, size, from, buffers);
        }
        Py_XDECREF(buffers);
    }
    drop_attachments(&body, 1);
    return object;
}

PyObject *lace_decode_message(lace_module *module, lace_message *message, size_t skip)
{
    source from = {.message = message};
    const char *data = lace_message_data(message);
    return load(module, data + skip, lace_message_size(message) - skip, lace_message_attachments(message), &from);
}

PyObject *lace_decode_job(lace_module *module, lace_job *job)
{
    source from = {.job = job};
    return load(module, job->body, job->body_size, job->attachment_count, &from);
}

PyObject *lace_decode_bytes(lace_module *module, const char *data, size_t size)
{
    source from = {0};
    return read_by_unpickler(module, data, size, &from, NULL);
}

PyObject *lace_attach(PyObject *self, PyObject *index_object)
{
    lace_module *module = lace_module_state(self);
    size_t index = PyLong_AsSize_t(index_object);
    if (index == (size_t)-1 && PyErr_Occurred())
        return NULL;
    lace_attachment end = {0};
    if (decoding != NULL)
        end = take(decoding, index + decoding->shift);
    PyObject *object = NULL;
    if (end.kind == LACE_ATTACH_SENDER)
        object = lace_sender_object(module, end.as.sender);
    else if (end.kind == LACE_ATTACH_RECEIVER)
        object = lace_receiver_object(module, end.as.receiver);
    else
        PyErr_SetString(PyExc_ValueError, "no channel end travels here: ends come only out of messages");
    if (object == NULL)
        drop_attachments(&end, 1);
    else if (decoding->job != NULL)
        module->ends->prev->given = index + decoding->shift + 1; /* the newest is the last */
    return object;
}

/* ---- containers --------------------------------------------------------------------------------------- */

lace_message *lace_message_borrow(lace_module *module)
{
    lace_region *region = lace_region_of_host();
    while (module->spare_region != region && module->spare_count > 0)
        lace_message_destroy(module->spare[--module->spare_count]);
    module->spare_region = region;
    if (module->spare_count > 0)
        return module->spare[--module->spare_count];
    lace_message *message;
    if (lace_message_create(region, &message) == LACE_OK)
        return message;
    PyErr_NoMemory();
    return NULL;
}

void lace_message_return(lace_module *module, lace_message *message)
{
    lace_message_clear(message);
    if (module->spare_count < LACE_SPARE_MESSAGES)
        module->spare[module->spare_count++] = message;
    else
        lace_message_destroy(message);
}
