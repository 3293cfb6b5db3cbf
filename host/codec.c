/* codec.c - objects to messages and back: pickle, with the ends found on the way as attachments.
 *
 * While an object is pickled, this thread's `encoding` says which message it is for; an end's __reduce_ex__ adds
 * a new end of the same channel to that message's attachments and pickles as a call of _interlace._attach(index).
 * While a message is unpickled, `decoding` says whose attachments an index means. Outside of both, ends refuse to be pickled,
 * and a stray _attach() raises. Both are stacks: a __reduce__ may itself send. */
#include <stdlib.h>
#include <string.h>

#include "module.h"

typedef struct source {
    lace_message *message; /* one of the two */
    lace_job *job;
    struct source *outer;
} source;

typedef struct sink {
    lace_encoded *encoded;
    struct sink *outer;
} sink;

static _Thread_local sink *encoding;
static _Thread_local source *decoding;

bool lace_encoding(void)
{
    return encoding != NULL;
}

/* ---- encoding ----------------------------------------------------------------------------------------- */

PyObject *lace_encode_end(lace_module *module, lace_attachment end)
{
    lace_encoded *encoded = encoding->encoded;
    if (encoded->count == LACE_MAX_ATTACHMENTS) {
        PyErr_SetString(PyExc_ValueError, "a message can carry 65535 channel ends at most");
        return NULL;
    }
    if (encoded->count == encoded->room) {
        size_t room = encoded->room ? encoded->room * 2 : 4;
        lace_attachment *grown = realloc(encoded->attachments, room * sizeof *grown);
        if (grown == NULL)
            return PyErr_NoMemory();
        encoded->attachments = grown;
        encoded->room = room;
    }
    PyObject *reduced = Py_BuildValue("O(n)", module->attach, (Py_ssize_t)encoded->count);
    if (reduced != NULL)
        encoded->attachments[encoded->count++] = end;
    return reduced;
}

static void drop_attachments(lace_attachment *attachments, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (attachments[i].kind == LACE_ATTACH_SENDER)
            lace_sender_destroy(attachments[i].as.sender);
        else if (attachments[i].kind == LACE_ATTACH_RECEIVER)
            lace_receiver_destroy(attachments[i].as.receiver);
    }
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

bool lace_encode(lace_module *module, PyObject *object, lace_encoded *ret_encoded)
{
    lace_encoded encoded = {0};
    sink here = {&encoded, encoding};
    encoding = &here;
    encoded.bytes = PyObject_CallFunctionObjArgs(module->dumps, object, module->protocol, NULL);
    encoding = here.outer;
    if (encoded.bytes == NULL) {
        drop_attachments(encoded.attachments, encoded.count);
        free(encoded.attachments);
        explain_failure();
        return false;
    }
    *ret_encoded = encoded;
    return true;
}

lace_payload lace_encoded_payload(const lace_encoded *encoded)
{
    return (lace_payload){.data = PyBytes_AS_STRING(encoded->bytes),
                          .size = (size_t)PyBytes_GET_SIZE(encoded->bytes),
                          .attachments = encoded->attachments,
                          .attachment_count = encoded->count};
}

void lace_encoded_finish(lace_encoded *encoded, bool sent)
{
    if (!sent)
        drop_attachments(encoded->attachments, encoded->count);
    free(encoded->attachments);
    Py_CLEAR(encoded->bytes);
}

/* ---- decoding ----------------------------------------------------------------------------------------- */

static PyObject *load(lace_module *module, const char *data, size_t size, source *from)
{
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)size, PyBUF_READ);
    if (view == NULL)
        return NULL;
    from->outer = decoding;
    decoding = from;
    PyObject *object = PyObject_CallOneArg(module->loads, view);
    decoding = from->outer;
    Py_DECREF(view);
    return object;
}

PyObject *lace_decode_message(lace_module *module, lace_message *message, size_t skip)
{
    source from = {.message = message};
    const char *data = lace_message_data(message);
    return load(module, data + skip, lace_message_size(message) - skip, &from);
}

PyObject *lace_decode_job(lace_module *module, lace_job *job)
{
    source from = {.job = job};
    return load(module, job->body, job->body_size, &from);
}

PyObject *lace_decode_bytes(lace_module *module, const char *data, size_t size)
{
    source from = {0};
    return load(module, data, size, &from);
}

PyObject *lace_attach(PyObject *self, PyObject *index_object)
{
    lace_module *module = lace_module_state(self);
    size_t index = PyLong_AsSize_t(index_object);
    if (index == (size_t)-1 && PyErr_Occurred())
        return NULL;
    lace_attachment end = {0};
    if (decoding != NULL && decoding->message != NULL) {
        lace_status status = lace_message_take(decoding->message, index, &end);
        if (status != LACE_OK && status != LACE_INVALID)
            return lace_raise(module, status, "unpickling an end of a", "?");
    } else if (decoding != NULL && decoding->job != NULL && index < decoding->job->attachment_count) {
        end = decoding->job->attachments[index];
        decoding->job->attachments[index].kind = LACE_ATTACH_NONE;
    }
    PyObject *object = NULL;
    if (end.kind == LACE_ATTACH_SENDER) {
        object = lace_sender_object(module, end.as.sender);
    } else if (end.kind == LACE_ATTACH_RECEIVER) {
        object = lace_receiver_object(module, end.as.receiver);
    } else {
        PyErr_SetString(PyExc_ValueError, "no channel end travels here: ends come only out of messages");
    }
    if (object == NULL)
        drop_attachments(&end, 1);
    return object;
}

/* ---- containers --------------------------------------------------------------------------------------- */

lace_message *lace_message_borrow(lace_module *module)
{
    if (module->spare_count > 0)
        return module->spare[--module->spare_count];
    lace_message *message;
    if (lace_message_create(lace_host_region(), &message) == LACE_OK)
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
