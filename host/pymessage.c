/* pymessage.c - messages with a number in front, made before it is known when they are sent; and what comes back.
 *
 * An Executor pickles a call when it is handed in, keeps the message until there is room in the channel, and gives it
 * its number when it goes: one lock of Python's and no code of anybody's are all that sending takes. The head says
 * which call it is and of what kind the object is, so that an object that does not unpickle spoils this call alone.
 *
 * The head is a number of 64 bits, the kind in the lowest eight of them. What follows it is a message of codec.c. */
#include <stdlib.h>
#include <string.h>

#include "module.h"

#define HEAD_SIZE sizeof(uint64_t)
#define SMALL 4096
#define POST_AT_ONCE 64
#define MOST_AT_ONCE 256

typedef struct message_object {
    PyObject_HEAD
    lace_encoded encoded; /* what travels beside the bytes */
    unsigned char kind;
    bool sent;
    char *data; /* room for the head, then the bytes */
    size_t size;
} message_object;

static void put_head(char *data, uint64_t number, unsigned char kind)
{
    uint64_t head = number << 8 | kind;
    memcpy(data, &head, HEAD_SIZE);
}

static bool read_kind(PyObject *object, unsigned char *ret_kind)
{
    long kind = PyLong_AsLong(object);
    if (kind == -1 && PyErr_Occurred())
        return false;
    if (kind < 0 || kind > 255) {
        PyErr_Format(PyExc_ValueError, "kind must be from 0 to 255, not %ld", kind);
        return false;
    }
    *ret_kind = (unsigned char)kind;
    return true;
}

/* ---- messages to be sent ------------------------------------------------------------------------------ */

static void message_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    message_object *self = (message_object *)object;
    if (self->data != NULL)
        lace_encoded_finish(&self->encoded, self->sent);
    free(self->data);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *make_message(lace_module *state, unsigned char kind, PyObject *object)
{
    lace_encoded encoded;
    if (!lace_encode(state, object, &encoded))
        return NULL;
    lace_payload payload = lace_encoded_payload(&encoded);
    char *data = malloc(HEAD_SIZE + payload.size);
    message_object *self = data ? (message_object *)state->message_type->tp_alloc(state->message_type, 0) : NULL;
    if (self == NULL) {
        if (data == NULL)
            PyErr_NoMemory();
        free(data);
        lace_encoded_finish(&encoded, false);
        return NULL;
    }
    memcpy(data + HEAD_SIZE, payload.data, payload.size);
    lace_codec_return(encoded.codec, &encoded.buffer); /* it is larger than need be: the next message's */
    encoded.buffer = (lace_buffer){0};
    self->encoded = encoded;
    self->kind = kind;
    self->data = data;
    self->size = HEAD_SIZE + payload.size;
    return (PyObject *)self;
}

/* _message(kind, object) */
PyObject *lace_py_message(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    unsigned char kind;
    if (nargs != 2)
        return PyErr_Format(PyExc_TypeError, "_message() takes a kind and an object");
    return read_kind(args[0], &kind) ? make_message(lace_module_state(module), kind, args[1]) : NULL;
}

/* _messages(kind, function, chunks): a list of messages of (function, chunk), for each of a list. */
PyObject *lace_py_messages(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    lace_module *state = lace_module_state(module);
    unsigned char kind;
    if (nargs != 3 || !PyList_CheckExact(args[2]))
        return PyErr_Format(PyExc_TypeError, "_messages() takes a kind, a function and a list of chunks");
    PyObject *messages = read_kind(args[0], &kind) ? PyList_New(0) : NULL;
    for (Py_ssize_t i = 0; messages != NULL && i < PyList_GET_SIZE(args[2]); i++) {
        PyObject *call = PyTuple_Pack(2, args[1], PyList_GET_ITEM(args[2], i));
        PyObject *message = call ? make_message(state, kind, call) : NULL;
        if (message == NULL || PyList_Append(messages, message) < 0)
            Py_CLEAR(messages);
        Py_XDECREF(message);
        Py_XDECREF(call);
    }
    return messages;
}

/* _post(sender, messages, number): sends of a list of messages, numbered from there on, as many as there is room for,
 * without waiting; returns how many went. */
PyObject *lace_py_post(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    lace_module *state = lace_module_state(module);
    if (nargs != 3 || Py_TYPE(args[0]) != state->sender_type || !PyList_CheckExact(args[1]))
        return PyErr_Format(PyExc_TypeError, "_post() takes a Sender, a list of messages and a number");
    uint64_t number = PyLong_AsUnsignedLongLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    lace_sender *sender = lace_object_sender(args[0]);
    Py_ssize_t posted = 0, total = PyList_GET_SIZE(args[1]);
    lace_status status = LACE_OK;
    while (posted < total && status == LACE_OK) {
        lace_payload payloads[POST_AT_ONCE];
        size_t count = 0, went = 0;
        while (count < POST_AT_ONCE && posted + (Py_ssize_t)count < total) {
            PyObject *object = PyList_GET_ITEM(args[1], posted + (Py_ssize_t)count);
            message_object *message = (message_object *)object;
            if (Py_TYPE(object) != state->message_type || message->sent)
                return PyErr_Format(PyExc_TypeError, "%R is no message, or has been sent", object);
            put_head(message->data, number + (uint64_t)posted + count, message->kind);
            payloads[count++] = (lace_payload){.data = message->data,
                                               .size = message->size,
                                               .attachments = message->encoded.attachments,
                                               .attachment_count = message->encoded.count};
        }
        status = lace_send_many(sender, payloads, count, &(lace_wait){.deadline = LACE_NOW}, &went);
        for (size_t i = 0; i < went; i++)
            ((message_object *)PyList_GET_ITEM(args[1], posted++))->sent = true;
    }
    if (status != LACE_OK && status != LACE_TIMEOUT)
        return lace_raise(state, status, "send on", lace_sender_name(sender));
    return PyLong_FromSsize_t(posted);
}

/* _reply(sender, number, kind, object): sends one, waiting while there is no room. */
PyObject *lace_py_reply(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    lace_module *state = lace_module_state(module);
    lace_pywait LACE_AUTO(wait);
    lace_encoded encoded;
    unsigned char kind;
    if (nargs != 4 || Py_TYPE(args[0]) != state->sender_type)
        return PyErr_Format(PyExc_TypeError, "_reply() takes a Sender, a number, a kind and an object");
    uint64_t number = PyLong_AsUnsignedLongLong(args[1]);
    if (PyErr_Occurred() || !read_kind(args[2], &kind) || !lace_pywait_init(&wait, state, NULL) ||
        !lace_encode(state, args[3], &encoded))
        return NULL;
    lace_payload payload = lace_encoded_payload(&encoded);
    char small[SMALL], *data = small;
    if (payload.size > SMALL - HEAD_SIZE)
        data = malloc(HEAD_SIZE + payload.size);
    lace_status status = LACE_NOMEM;
    lace_sender *sender = lace_object_sender(args[0]);
    lace_pywait_on(&wait, LACE_AWAITS_SEND, sender, NULL);
    if (data != NULL) {
        put_head(data, number, kind);
        memcpy(data + HEAD_SIZE, payload.data, payload.size);
        payload.data = data;
        payload.size += HEAD_SIZE;
        do
            status = lace_pywait_done(&wait, lace_send(sender, &payload, &wait.wait));
        while (status == LACE_INTERRUPTED);
    }
    if (data != small)
        free(data);
    lace_encoded_finish(&encoded, status == LACE_OK);
    if (status != LACE_OK)
        return lace_raise(state, status, "send on", lace_sender_name(sender));
    Py_RETURN_NONE;
}

/* ---- messages received -------------------------------------------------------------------------------- */

/* (number, kind, object); kind -1 and the exception for an object that does not unpickle. */
static PyObject *read_message(lace_module *state, lace_message *message)
{
    uint64_t head = 0;
    if (lace_message_size(message) < HEAD_SIZE)
        return PyErr_Format(PyExc_ValueError, "this is not a message of an Executor's");
    memcpy(&head, lace_message_data(message), HEAD_SIZE);
    PyObject *object = lace_decode_message(state, message, HEAD_SIZE);
    int kind = object != NULL ? (int)(head & 255) : -1;
    if (object == NULL)
        object = PyErr_GetRaisedException();
    PyObject *parts[3] = {PyLong_FromUnsignedLongLong(head >> 8), PyLong_FromLong(kind), object};
    PyObject *read = parts[0] && parts[1] ? PyTuple_Pack(3, parts[0], parts[1], parts[2]) : NULL;
    for (int i = 0; i < 3; i++)
        Py_XDECREF(parts[i]);
    return read;
}

/* _next_message(receiver): the next one, waiting for it; raises EndOfChannel. */
PyObject *lace_py_next_message(PyObject *module, PyObject *receiver_object)
{
    lace_module *state = lace_module_state(module);
    lace_pywait LACE_AUTO(wait);
    if (Py_TYPE(receiver_object) != state->receiver_type)
        return PyErr_Format(PyExc_TypeError, "_next_message() takes a Receiver");
    if (!lace_pywait_init(&wait, state, NULL))
        return NULL;
    lace_message *message = lace_message_borrow(state);
    if (message == NULL)
        return NULL;
    lace_receiver *receiver = lace_object_receiver(receiver_object);
    lace_pywait_on(&wait, LACE_AWAITS_WORK, NULL, receiver);
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_recv(receiver, message, &wait.wait));
    while (status == LACE_INTERRUPTED);
    PyObject *got = NULL;
    if (status == LACE_OK)
        got = read_message(state, message);
    else
        lace_raise(state, status, "recv on", lace_receiver_name(receiver));
    lace_message_return(state, message);
    return got;
}

/* _next_messages(receiver, timeout): a list of those that are there, waiting for one; likewise. */
PyObject *lace_py_next_messages(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    lace_module *state = lace_module_state(module);
    lace_pywait LACE_AUTO(wait);
    if (nargs != 2 || Py_TYPE(args[0]) != state->receiver_type)
        return PyErr_Format(PyExc_TypeError, "_next_messages() takes a Receiver and a timeout");
    if (!lace_pywait_init(&wait, state, args[1]))
        return NULL;
    lace_receiver *receiver = lace_object_receiver(args[0]);
    lace_pywait_on(&wait, LACE_AWAITS_WORK, NULL, receiver);
    size_t most = lace_receiver_length(receiver), made = 0, received = 0;
    if (most > MOST_AT_ONCE)
        most = MOST_AT_ONCE;
    if (most == 0)
        most = 1;
    lace_message *messages[MOST_AT_ONCE];
    while (made < most && (messages[made] = lace_message_borrow(state)) != NULL)
        made++;
    PyObject *list = NULL;
    if (made == most) {
        lace_status status;
        do
            status = lace_pywait_done(&wait, lace_recv_many(receiver, messages, most, &wait.wait, &received));
        while (status == LACE_INTERRUPTED);
        if (status == LACE_OK)
            list = PyList_New(0);
        else
            lace_raise(state, status, "recv on", lace_receiver_name(receiver));
    }
    for (size_t i = 0; i < received && list != NULL; i++) {
        PyObject *got = read_message(state, messages[i]);
        if (got == NULL || PyList_Append(list, got) < 0)
            Py_CLEAR(list);
        Py_XDECREF(got);
    }
    while (made > 0)
        lace_message_return(state, messages[--made]);
    return list;
}

/* ---- the type ----------------------------------------------------------------------------------------- */

static PyType_Slot message_slots[] = {{Py_tp_dealloc, message_dealloc}, {0, NULL}};

static PyType_Spec message_spec = {"_interlace.Message", sizeof(message_object), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                   message_slots};

bool lace_messages_ready(PyObject *module, lace_module *state)
{
    state->message_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &message_spec, NULL);
    return state->message_type != NULL;
}
