/* ends.c - Sender and Receiver. */
#include <stdlib.h>

#include "../channels/look.h"
#include "module.h"

typedef struct end_object {
    PyObject_HEAD
    lace_holding *held; /* linked into the interpreter's list of open ends; one of its two pointers is set */
    PyObject *weakrefs;
    PyObject *loop; /* the tasks of an event loop that wait on it: _asyncio.py's; NULL: none */
} end_object;

static lace_sender *sender_of(PyObject *self)
{
    return ((end_object *)self)->held->sender;
}

static lace_receiver *receiver_of(PyObject *self)
{
    return ((end_object *)self)->held->receiver;
}

lace_sender *lace_object_sender(PyObject *object)
{
    return sender_of(object);
}

lace_receiver *lace_object_receiver(PyObject *object)
{
    return receiver_of(object);
}

static lace_module *module_of(PyObject *self)
{
    return lace_module_of(Py_TYPE(self));
}

static const char *name_of(PyObject *self)
{
    return sender_of(self) ? lace_sender_name(sender_of(self)) : lace_receiver_name(receiver_of(self));
}

static bool is_closed(PyObject *self)
{
    return sender_of(self) ? lace_sender_closed(sender_of(self)) : lace_receiver_closed(receiver_of(self));
}

/* ---- making and ending -------------------------------------------------------------------------------- */

static PyObject *make(lace_module *module, PyTypeObject *type, lace_sender *sender, lace_receiver *receiver)
{
    lace_holding *held = malloc(sizeof *held);
    if (held == NULL)
        return PyErr_NoMemory();
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL) {
        free(held);
        return NULL;
    }
    PyObject_GC_UnTrack(self); /* until an event loop's tasks hang on it, it is in no cycle */
    *held = (lace_holding){.prev = module->ends->prev, .next = module->ends, .sender = sender, .receiver = receiver};
    held->prev->next = held->next->prev = held;
    ((end_object *)self)->held = held;
    return self;
}

PyObject *lace_sender_object(lace_module *module, lace_sender *sender)
{
    return make(module, module->sender_type, sender, NULL);
}

PyObject *lace_receiver_object(lace_module *module, lace_receiver *receiver)
{
    return make(module, module->receiver_type, NULL, receiver);
}

static int end_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((end_object *)self)->loop);
    return 0;
}

static int end_clear(PyObject *self)
{
    Py_CLEAR(((end_object *)self)->loop);
    return 0;
}

static void end_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    lace_holding *held = ((end_object *)self)->held;
    PyObject_GC_UnTrack(self);
    PyObject_ClearWeakRefs(self);
    end_clear(self);
    if (held != NULL) {
        if (held->receiver != NULL)
            lace_select_forget(module_of(self), self);
        held->prev->next = held->next;
        held->next->prev = held->prev;
        lace_py_drop_end(module_of(self), held);
        lace_confirm_at_end(module_of(self), held->receiver);
        lace_sender_destroy(held->sender);
        lace_receiver_destroy(held->receiver);
        free(held);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *close_it(PyObject *self)
{
    if (receiver_of(self) != NULL)
        lace_select_forget(module_of(self), self);
    lace_note_closed(module_of(self), ((end_object *)self)->held);
    if (!lace_end_close(module_of(self), sender_of(self), receiver_of(self)))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *end_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (receiver_of(self) != NULL && !is_closed(self))
        lace_receiver_confirm(receiver_of(self));
    return close_it(self);
}

static PyObject *end_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

/* Left by an exception, what the receiver has not confirmed goes to another one. */
static PyObject *end_exit(PyObject *self, PyObject *error)
{
    bool well = PyTuple_GET_SIZE(error) == 0 || PyTuple_GET_ITEM(error, 0) == Py_None;
    return well ? end_close(self, NULL) : close_it(self);
}

/* ---- what both have ----------------------------------------------------------------------------------- */

static Py_ssize_t end_length(PyObject *self)
{
    size_t n = sender_of(self) ? lace_sender_length(sender_of(self)) : lace_receiver_length(receiver_of(self));
    return (Py_ssize_t)n;
}

static PyObject *end_get_name(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(name_of(self));
}

static PyObject *end_get_closed(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(is_closed(self));
}

static PyObject *end_get_capacity(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(sender_of(self) ? lace_sender_capacity(sender_of(self))
                                             : lace_receiver_capacity(receiver_of(self)));
}

static PyObject *end_get_loop(PyObject *self, void *unused)
{
    (void)unused;
    PyObject *loop = ((end_object *)self)->loop;
    return Py_NewRef(loop ? loop : Py_None);
}

static int end_set_loop(PyObject *self, PyObject *loop, void *unused)
{
    (void)unused;
    if (loop != NULL && !PyObject_GC_IsTracked(self))
        PyObject_GC_Track(self);
    Py_XSETREF(((end_object *)self)->loop, Py_XNewRef(loop));
    return 0;
}

static int end_bool(PyObject *self)
{
    (void)self;
    return 1; /* an end is true also when nothing waits */
}

static PyObject *end_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<interlace.%s of '%s'%s>", sender_of(self) ? "Sender" : "Receiver", name_of(self),
                                is_closed(self) ? ", closed" : "");
}

static PyObject *end_stats(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_stats stats;
    if (sender_of(self) != NULL)
        lace_sender_stats(sender_of(self), &stats);
    else
        lace_receiver_stats(receiver_of(self), &stats);
    return Py_BuildValue("{s:K,s:K,s:K,s:d}", "messages", (unsigned long long)stats.messages, "bytes",
                         (unsigned long long)stats.bytes, "waits", (unsigned long long)stats.waits, "blocked",
                         (double)stats.blocked_ns / 1e9);
}

static PyObject *end_fileno(PyObject *self, PyObject *unused)
{
    (void)unused;
    int fd = -1;
    lace_status status = sender_of(self) ? lace_sender_fd(sender_of(self), &fd)
                                         : lace_receiver_fd(receiver_of(self), &fd);
    if (status != LACE_OK)
        return lace_raise(module_of(self), status, "fileno of", name_of(self));
    return PyLong_FromLong(fd);
}

static PyObject *end_reduce(PyObject *self, PyObject *protocol)
{
    (void)protocol;
    if (!lace_encoding()) {
        PyErr_Format(
            PyExc_TypeError,
            "%R cannot be pickled or copied: it travels in Interlace's own messages and workers' arguments only; "
            "send it through a channel or pass it to Group.start()",
            self);
        return NULL;
    }
    lace_attachment end = {.kind = sender_of(self) ? LACE_ATTACH_SENDER : LACE_ATTACH_RECEIVER};
    lace_status status = sender_of(self) ? lace_sender_clone(sender_of(self), &end.as.sender)
                                         : lace_receiver_clone(receiver_of(self), &end.as.receiver);
    if (status != LACE_OK)
        return lace_raise(module_of(self), status, "sending an end of", name_of(self));
    PyObject *reduced = lace_encode_end(module_of(self), end);
    if (reduced == NULL) {
        if (end.kind == LACE_ATTACH_SENDER)
            lace_sender_destroy(end.as.sender);
        else
            lace_receiver_destroy(end.as.receiver);
    }
    return reduced;
}

/* ---- sending ------------------------------------------------------------------------------------------ */

static PyObject *sender_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj", "timeout", NULL};
    PyObject *given[2];
    if (!lace_arguments("send", args, nargs, kwnames, names, 1, 2, given))
        return NULL;
    lace_module *module = module_of(self);
    lace_pywait LACE_AUTO(wait);
    lace_encoded encoded;
    if (!lace_pywait_init(&wait, module, given[1]) || !lace_encode_for(module, sender_of(self), given[0], &encoded))
        return NULL;
    lace_pywait_on(&wait, LACE_AWAITS_SEND, sender_of(self), NULL);
    lace_payload payload = lace_encoded_payload(&encoded);
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_send(sender_of(self), &payload, &wait.wait));
    while (status == LACE_INTERRUPTED);
    lace_encoded_finish(&encoded, status == LACE_OK);
    if (status != LACE_OK)
        return lace_raise(module, status, "send on", name_of(self));
    Py_RETURN_NONE;
}

/* Notes on the exception that is set how many messages went before it. */
static void note_sent(Py_ssize_t sent)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *number = PyLong_FromSsize_t(sent);
    if (number == NULL || PyObject_SetAttrString(raised, "sent", number) < 0)
        PyErr_Clear();
    Py_XDECREF(number);
    PyErr_SetRaisedException(raised);
}

/* Small messages that go together: their bytes, one after the other. */
#define BATCH_MOST 64
#define BATCH_BYTES 8192
#define BATCH_LARGEST 1024
typedef struct lace_batch {
    size_t count, size;
    lace_payload payloads[BATCH_MOST];
    char bytes[BATCH_BYTES];
} lace_batch;

/* Puts a message into the batch; false when it is not of the kind or there is no room. */
static bool add_to_batch(lace_batch *batch, const lace_payload *payload)
{
    if (payload->attachment_count != 0 || payload->size > BATCH_LARGEST ||
        payload->size > BATCH_BYTES - batch->size || batch->count == BATCH_MOST)
        return false;
    char *place = batch->bytes + batch->size;
    memcpy(place, payload->data, payload->size);
    batch->payloads[batch->count++] = (lace_payload){.data = place, .size = payload->size};
    batch->size += payload->size;
    return true;
}

/* One send_many(). */
typedef struct lace_sending {
    PyObject *self;
    lace_pywait *wait;
    Py_ssize_t sent;
    lace_batch batch;
} lace_sending;

/* False with an exception set. */
static bool sent_well(lace_sending *sending, lace_status status)
{
    if (status != LACE_OK)
        lace_raise(sending->wait->module, status, "send_many on", name_of(sending->self));
    return status == LACE_OK;
}

/* Sends what is in the batch; an exception that is set already stays, unless there is a new one. */
static bool send_batch(lace_sending *sending)
{
    lace_batch *batch = &sending->batch;
    size_t went = 0;
    if (batch->count == 0)
        return true;
    PyObject *raised = PyErr_GetRaisedException();
    lace_status status;
    size_t done = 0;
    do {
        sending->wait->parked = false;
        status = lace_pywait_done(sending->wait, lace_send_many(sender_of(sending->self), batch->payloads + done,
                                                                batch->count - done, &sending->wait->wait, &went));
        done += went;
    } while (status == LACE_INTERRUPTED);
    sending->sent += (Py_ssize_t)done;
    bool well = sent_well(sending, status);
    batch->count = batch->size = 0;
    if (well)
        PyErr_SetRaisedException(raised);
    else
        Py_XDECREF(raised);
    return well;
}

/* Sends an object, or puts it into the batch. */
static bool send_one_of_many(lace_sending *sending, PyObject *item, bool may_gather)
{
    lace_encoded encoded;
    if (!lace_encode_for(sending->wait->module, sender_of(sending->self), item, &encoded)) {
        send_batch(sending);
        return false;
    }
    lace_payload payload = lace_encoded_payload(&encoded);
    bool gathered = may_gather && add_to_batch(&sending->batch, &payload);
    if (!gathered && sending->batch.count > 0) {
        if (!send_batch(sending)) {
            lace_encoded_finish(&encoded, false);
            return false;
        }
        gathered = add_to_batch(&sending->batch, &payload);
    }
    lace_status status = LACE_OK;
    while (!gathered) {
        sending->wait->parked = false;
        status = lace_pywait_done(sending->wait, lace_send(sender_of(sending->self), &payload, &sending->wait->wait));
        if (status != LACE_INTERRUPTED)
            break;
    }
    lace_encoded_finish(&encoded, status == LACE_OK);
    if (gathered)
        return true;
    if (!sent_well(sending, status))
        return false;
    sending->sent++;
    return true;
}

static PyObject *sender_send_many(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"iterable", "timeout", NULL};
    PyObject *given[2];
    if (!lace_arguments("send_many", args, nargs, kwnames, names, 1, 2, given))
        return NULL;
    lace_pywait LACE_AUTO(wait);
    if (!lace_pywait_init(&wait, module_of(self), given[1]))
        return NULL;
    lace_pywait_on(&wait, LACE_AWAITS_SEND, sender_of(self), NULL);
    PyObject *iterator = PyObject_GetIter(given[0]);
    if (iterator == NULL)
        return NULL;
    /* Only what does not itself wait for its next item may have messages wait for it. */
    bool may_gather = PyList_CheckExact(given[0]) || PyTuple_CheckExact(given[0]) || PyRange_Check(given[0]);
    lace_sending sending;
    sending.self = self;
    sending.wait = &wait;
    sending.sent = 0;
    sending.batch.count = sending.batch.size = 0;
    PyObject *item;
    bool well = true;
    while (well && PyIter_NextItem(iterator, &item) == 1) {
        well = send_one_of_many(&sending, item, may_gather);
        Py_DECREF(item);
    }
    Py_DECREF(iterator);
    if (well && !PyErr_Occurred())
        well = send_batch(&sending);
    if (well && !PyErr_Occurred())
        return PyLong_FromSsize_t(sending.sent);
    note_sent(sending.sent);
    return NULL;
}

/* ---- receiving ---------------------------------------------------------------------------------------- */

/* The next object, or NULL; with `*ret_status` LACE_END no exception is set. */
static PyObject *receive(PyObject *self, PyObject *timeout, const char *did, lace_status *ret_status)
{
    lace_module *module = module_of(self);
    lace_pywait LACE_AUTO(wait);
    *ret_status = LACE_INVALID;
    if (!lace_pywait_init(&wait, module, timeout))
        return NULL;
    lace_pywait_on(&wait, LACE_AWAITS_RECV, NULL, receiver_of(self));
    lace_message *message = lace_message_borrow(module);
    if (message == NULL)
        return NULL;
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_recv(receiver_of(self), message, &wait.wait));
    while (status == LACE_INTERRUPTED);
    PyObject *object = NULL;
    if (status == LACE_OK)
        object = lace_decode_message(module, message, 0);
    else if (status != LACE_END)
        lace_raise(module, status, did, name_of(self));
    lace_message_return(module, message);
    *ret_status = status;
    return object;
}

static PyObject *receiver_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *given[1];
    if (!lace_arguments("recv", args, nargs, kwnames, names, 0, 1, given))
        return NULL;
    lace_status status;
    PyObject *object = receive(self, given[0], "recv on", &status);
    if (object == NULL && status == LACE_END)
        lace_raise(module_of(self), LACE_END, "recv on", name_of(self));
    return object;
}

static PyObject *receiver_next(PyObject *self)
{
    lace_status status;
    return receive(self, NULL, "iteration over", &status);
}

#define USUAL 256

static PyObject *receiver_recv_many(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"limit", "timeout", NULL};
    PyObject *given[2];
    if (!lace_arguments("recv_many", args, nargs, kwnames, names, 1, 2, given))
        return NULL;
    lace_module *module = module_of(self);
    Py_ssize_t limit = PyNumber_AsSsize_t(given[0], PyExc_OverflowError);
    if (limit == -1 && PyErr_Occurred())
        return NULL;
    if (limit < 1)
        return PyErr_Format(PyExc_ValueError, "limit must be 1 or more, not %zd", limit);
    lace_pywait LACE_AUTO(wait);
    if (!lace_pywait_init(&wait, module, given[1]))
        return NULL;
    lace_pywait_on(&wait, LACE_AWAITS_RECV, NULL, receiver_of(self));
    size_t most = USUAL, there = (size_t)limit > USUAL ? lace_receiver_length(receiver_of(self)) : 0, made = 0,
           received = 0;
    if (most < there)
        most = there;
    if (most > (size_t)limit)
        most = (size_t)limit;
    lace_message *usual[USUAL], **messages = most <= USUAL ? usual : PyMem_New(lace_message *, most);
    if (messages == NULL)
        return PyErr_NoMemory();
    while (made < most && (messages[made] = lace_message_borrow(module)) != NULL)
        made++;
    PyObject *list = NULL;
    if (made == most) {
        lace_status status;
        do
            status = lace_pywait_done(&wait,
                                      lace_recv_many(receiver_of(self), messages, most, &wait.wait, &received));
        while (status == LACE_INTERRUPTED);
        if (status == LACE_OK)
            list = PyList_New(0);
        else
            lace_raise(module, status, "recv_many on", name_of(self));
    }
    for (size_t i = 0; i < received && list != NULL; i++) {
        PyObject *object = lace_decode_message(module, messages[i], 0);
        if (object == NULL || PyList_Append(list, object) < 0)
            Py_CLEAR(list);
        Py_XDECREF(object);
    }
    while (made > 0)
        lace_message_return(module, messages[--made]);
    if (messages != usual)
        PyMem_Free(messages);
    return list;
}

/* ---- the types ---------------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    sender_doc,
    "The sending end of a channel, made by channel(). Usable from any thread; a context manager that closes it.\n\n"
    "    with sender:\n"
    "        sender.send(('any', 'object', 'that pickles'))\n\n"
    "Sending it (in a message, or as an argument of Group.start) gives the other side an end of its own.");

PyDoc_STRVAR(
    send_doc,
    "send($self, obj, timeout=None)\n--\n\n"
    "Send one object: it is pickled first, then queued.\n\n"
    "Waits while the channel is full; on a rendezvous (capacity 0), until a receiver has the object.\n"
    "timeout is in seconds (float or int): None waits for ever, 0 only tries.\n\n"
    "Raises TimeoutError (the object was not sent), BrokenChannel when every receiver is gone, ValueError when this\n"
    "end is closed or the message is larger than max_bytes, Cancelled, and whatever pickling the object raises.\n\n"
    "    sender.send({'answer': 42}, timeout=1.5)");

PyDoc_STRVAR(
    send_many_doc,
    "send_many($self, iterable, timeout=None)\n--\n\n"
    "Send each object of an iterable, in order, and return their number (int).\n\n"
    "timeout (seconds, None: for ever) bounds the whole call. Raises what send() raises; the exception's attribute\n"
    "'sent' says how many went before it.\n\n"
    "    print(sender.send_many(range(50)))     # 50");

PyDoc_STRVAR(
    send_async_doc,
    "send_async($self, obj, /)\n--\n\n"
    "Like send(), for coroutines: a task of an asyncio event loop waits, not the loop's thread.\n\n"
    "Tasks that wait on one end send in the order they came. When the task is cancelled, the object has not been sent;\n"
    "if it has been at that moment, this returns, and the cancellation is raised by the task's next await.\n"
    "asyncio.timeout() bounds it in time. Raises what send() raises, but for TimeoutError; RuntimeError when tasks of\n"
    "another event loop wait on this end, or the loop has no add_reader().\n\n"
    "    await sender.send_async({'answer': 42})");

PyDoc_STRVAR(
    receiver_doc,
    "The receiving end of a channel, made by channel(). Usable from any thread; a context manager that closes it.\n\n"
    "Iterating over it yields messages until every sender is gone:\n\n"
    "    for obj in receiver:\n"
    "        print(obj)\n\n"
    "Every message goes to exactly one receiver; see channel() for those that redeliver.");

PyDoc_STRVAR(
    recv_doc,
    "recv($self, timeout=None)\n--\n\n"
    "Receive the next object, waiting for it.\n\n"
    "timeout is in seconds (float or int): None waits for ever, 0 only tries.\n\n"
    "Raises TimeoutError (nothing is lost), EndOfChannel when every sender is gone and nothing is left, ValueError\n"
    "when this end is closed, Cancelled, and whatever unpickling the object raises.\n\n"
    "    obj = receiver.recv(timeout=0.5)");

PyDoc_STRVAR(
    recv_async_doc,
    "recv_async($self, /)\n--\n\n"
    "Like recv(), for coroutines: a task of an asyncio event loop waits, not the loop's thread.\n\n"
    "Tasks that wait on one end receive in the order they came. A task that is cancelled, also by asyncio.timeout() or\n"
    "wait_for(), has taken no message. Raises what recv() raises, but for TimeoutError; RuntimeError when tasks of\n"
    "another event loop wait on this end, or the loop has no add_reader(). Iterating works likewise.\n\n"
    "    obj = await receiver.recv_async()\n"
    "    async for obj in receiver:\n"
    "        print(obj)");

PyDoc_STRVAR(recv_many_doc,
             "recv_many($self, limit, timeout=None)\n--\n\n"
             "Wait for one object, then take what else is there at once: a list of 1 to limit objects.\n\n"
             "Raises what recv() raises when the first object cannot be had.\n\n"
             "    for row in receiver.recv_many(100, timeout=1.0):\n"
             "        print(row)");

PyDoc_STRVAR(
    close_doc,
    "close($self, /)\n--\n\n"
    "Close this end. May be repeated; a later use raises ValueError.\n\n"
    "When it was the channel's last sender, receivers get what is queued and then EndOfChannel. When it was the\n"
    "last receiver, senders get BrokenChannel. Collecting the object, and the end of its worker, close it too.\n"
    "It confirms what a receiver has received (see confirm()); leaving a with block by an exception does not.\n"
    "The last sender of a pipe or socket may wait here, as send() does, until there is room for the word that it ends.\n\n"
    "    sender, receiver = interlace.channel(4)\n"
    "    sender.send('the last')\n"
    "    sender.close()\n"
    "    print(receiver.recv(), sender.closed)      # the last True\n"
    "    receiver.close()");

PyDoc_STRVAR(
    stats_doc,
    "stats($self, /)\n--\n\n"
    "What went through this very end, as a dict: 'messages' and 'bytes' (int), 'waits' (int, calls that had to\n"
    "wait) and 'blocked' (float, the seconds they waited).\n\n"
    "    sender, receiver = interlace.channel(4)\n"
    "    sender.send_many(['a', 'b'])\n"
    "    print(sender.stats()['messages'], receiver.stats()['messages'])    # 2 0");

PyDoc_STRVAR(
    fileno_doc,
    "fileno($self, /)\n--\n\n"
    "A file descriptor (int) for select, poll and event loops: it polls readable while a call on this end would not\n"
    "wait. It belongs to the end; do not read it.\n\n"
    "    import select\n\n"
    "    sender, receiver = interlace.channel(4)\n"
    "    sender.send('there')\n"
    "    readable, _, _ = select.select([receiver], [], [], 1.0)\n"
    "    print(readable == [receiver])      # True");

PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nThe end itself.");
PyDoc_STRVAR(exit_doc, "__exit__($self, /, *error)\n--\n\nClose this end.");
PyDoc_STRVAR(reduce_doc, "__reduce_ex__($self, protocol, /)\n--\n\nEnds travel in Interlace's own messages only.");

#define SHARED_METHODS                                                                                      \
    {"close", end_close, METH_NOARGS, close_doc}, {"stats", end_stats, METH_NOARGS, stats_doc},             \
        {"fileno", end_fileno, METH_NOARGS, fileno_doc}, {"__reduce_ex__", end_reduce, METH_O, reduce_doc}, \
        {"__enter__", end_enter, METH_NOARGS, enter_doc}, {"__exit__", end_exit, METH_VARARGS, exit_doc},   \
    {                                                                                                       \
        "__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL                                     \
    }

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef sender_methods[] = {
    {"send", FAST(sender_send), METH_FASTCALL | METH_KEYWORDS, send_doc},
    {"send_many", FAST(sender_send_many), METH_FASTCALL | METH_KEYWORDS, send_many_doc},
    {"send_async", lace_sender_send_async, METH_O, send_async_doc},
    {"_post", lace_sender_post, METH_O, NULL},
    {"_posts_fd", lace_sender_posts_fileno, METH_NOARGS, NULL},
    SHARED_METHODS,
    {NULL, NULL, 0, NULL},
};

static PyMethodDef receiver_methods[] = {
    {"recv", FAST(receiver_recv), METH_FASTCALL | METH_KEYWORDS, recv_doc},
    {"recv_many", FAST(receiver_recv_many), METH_FASTCALL | METH_KEYWORDS, recv_many_doc},
    {"recv_async", lace_receiver_recv_async, METH_NOARGS, recv_async_doc},
    {"confirm", lace_py_confirm, METH_NOARGS, lace_confirm_doc},
    {"_recv_now", lace_receiver_recv_now, METH_O, NULL},
    {"_serve_now", lace_receiver_serve_now, METH_O, NULL},
    SHARED_METHODS,
    {NULL, NULL, 0, NULL},
};

#define SHARED_GETSET                                                                                   \
    {"name", end_get_name, NULL, "The channel's name (str).", NULL},                                    \
        {"closed", end_get_closed, NULL, "Whether this end has been closed (bool).", NULL},             \
        {"capacity", end_get_capacity, NULL, "How many messages may wait in the channel (int).", NULL}, \
    {                                                                                                   \
        "_loop", end_get_loop, end_set_loop, NULL, NULL                                                 \
    }

static PyGetSetDef sender_getset[] = {
    SHARED_GETSET,
    {NULL, NULL, NULL, NULL, NULL},
};

static PyGetSetDef receiver_getset[] = {
    SHARED_GETSET,
    {"redelivered", lace_py_redelivered, NULL, lace_redelivered_doc, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef end_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(end_object, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

#define SHARED_SLOTS                                                                          \
    {Py_tp_dealloc, end_dealloc}, {Py_tp_repr, end_repr}, {Py_tp_members, end_members},       \
        {Py_tp_traverse, end_traverse}, {Py_tp_clear, end_clear}, {Py_sq_length, end_length}, \
    {                                                                                         \
        Py_nb_bool, end_bool                                                                  \
    }

static PyType_Slot sender_slots[] = {
    SHARED_SLOTS, {Py_tp_methods, sender_methods}, {Py_tp_getset, sender_getset}, {Py_tp_doc, (void *)sender_doc},
    {0, NULL},
};

static PyType_Slot receiver_slots[] = {
    SHARED_SLOTS,
    {Py_tp_methods, receiver_methods},
    {Py_tp_getset, receiver_getset},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, receiver_next},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, lace_receiver_anext},
    {Py_tp_doc, (void *)receiver_doc},
    {0, NULL},
};

#define FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION)

static PyType_Spec sender_spec = {"interlace.Sender", sizeof(end_object), 0, FLAGS, sender_slots};
static PyType_Spec receiver_spec = {"interlace.Receiver", sizeof(end_object), 0, FLAGS, receiver_slots};

bool lace_ends_ready(PyObject *module, lace_module *state)
{
    state->sender_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &sender_spec, NULL);
    state->receiver_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &receiver_spec, NULL);
    return state->sender_type != NULL && state->receiver_type != NULL &&
           PyModule_AddType(module, state->sender_type) == 0 && PyModule_AddType(module, state->receiver_type) == 0;
}
