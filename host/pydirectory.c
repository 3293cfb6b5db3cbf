/* pydirectory.c - kept interpreters and queues as Python sees them: the C half of interlace.interpreters.
 *
 * An object here is one binding of an entry. It is listed among the interpreter's open ends, so that it is undone when
 * the interpreter leaves the object behind. */
#include <stdlib.h>

#include "directory.h"
#include "module.h"

typedef struct entry_object {
    PyObject_HEAD
    lace_holding *held; /* of the entry */
} entry_object;

static lace_entry *entry_of(PyObject *self)
{
    return ((entry_object *)self)->held->entry;
}

static lace_module *module_of(PyObject *self)
{
    return lace_module_of(Py_TYPE(self));
}

/* ---- making and ending -------------------------------------------------------------------------------- */

/* Takes the binding, also on failure. */
static PyObject *make(lace_module *module, lace_entry *entry)
{
    PyTypeObject *type = entry->kind == LACE_ENTRY_QUEUE ? module->queue_type : module->interpreter_type;
    lace_holding *held = calloc(1, sizeof *held);
    PyObject *self = held ? type->tp_alloc(type, 0) : PyErr_NoMemory();
    if (self == NULL) {
        free(held);
        lace_entry_unbind(entry);
        return NULL;
    }
    held->entry = entry;
    held->prev = module->ends->prev;
    held->next = module->ends;
    held->prev->next = held->next->prev = held;
    ((entry_object *)self)->held = held;
    return self;
}

static void entry_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    lace_holding *held = ((entry_object *)self)->held;
    if (held != NULL) {
        held->prev->next = held->next;
        held->next->prev = held->prev;
        lace_entry_unbind(held->entry);
        free(held);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

/* A new entry goes into the directory; on failure its parts are ended. */
static PyObject *list_and_make(lace_module *module, lace_entry *entry, const char *refused)
{
    if (lace_directory_add(entry))
        return make(module, entry);
    lace_sender_destroy(entry->requests);
    lace_receiver_destroy(entry->outcome);
    lace_worker_unref(entry->worker);
    lace_queue_destroy(entry->queue);
    free(entry);
    return PyErr_Format(PyExc_RuntimeError, "%s", refused);
}

/* _keep(worker, sender): the kept interpreter that this worker is, which `sender` is the only one to ask. */
static PyObject *py_keep(PyObject *self, PyObject *args)
{
    lace_module *module = lace_module_state(self);
    PyObject *worker, *sender;
    if (!PyArg_ParseTuple(args, "O!O!", module->worker_type, &worker, module->sender_type, &sender))
        return NULL;
    lace_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return PyErr_NoMemory();
    entry->kind = LACE_ENTRY_INTERPRETER;
    lace_status status = lace_sender_clone(lace_object_sender(sender), &entry->requests);
    if (status == LACE_OK)
        status = lace_receiver_clone(lace_object_outcome(worker), &entry->outcome);
    if (status != LACE_OK) {
        lace_sender_destroy(entry->requests);
        free(entry);
        return lace_raise(module, status, "keeping", "an interpreter");
    }
    entry->worker = lace_worker_ref(lace_object_worker(worker));
    entry->id = lace_interpreter_id(entry->worker);
    return list_and_make(module, entry, "the host is about to end: no interpreter can be made any more");
}

/* _make_queue(maxsize, unbound) */
static PyObject *py_make_queue(PyObject *self, PyObject *args)
{
    lace_module *module = lace_module_state(self);
    long long maxsize;
    int unbound;
    if (!PyArg_ParseTuple(args, "Li", &maxsize, &unbound))
        return NULL;
    if (maxsize > (long long)LACE_MAX_CAPACITY)
        return PyErr_Format(PyExc_ValueError,
                            "maxsize must be at most %zu, or 0 for a queue without a size, not %lld",
                            LACE_MAX_CAPACITY, maxsize);
    lace_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return PyErr_NoMemory();
    entry->kind = LACE_ENTRY_QUEUE;
    entry->maxsize = maxsize;
    entry->unbound = unbound;
    lace_status status = lace_queue_create(lace_region_of_host(), maxsize > 0 ? (size_t)maxsize : 0, &entry->queue);
    if (status != LACE_OK) {
        free(entry);
        return lace_raise(module, status, "making", "queue");
    }
    return list_and_make(module, entry, "");
}

/* ---- finding ------------------------------------------------------------------------------------------ */

static PyObject *find(PyObject *module, PyObject *id_object, lace_entry_kind kind)
{
    long long id = PyLong_AsLongLong(id_object);
    if (id == -1 && PyErr_Occurred())
        return NULL;
    lace_entry *entry = lace_directory_find(kind, id);
    if (entry == NULL)
        Py_RETURN_NONE;
    return make(lace_module_state(module), entry);
}

/* _find_interpreter(id), _find_queue(id): None when there is none. */
static PyObject *py_find_interpreter(PyObject *self, PyObject *id)
{
    return find(self, id, LACE_ENTRY_INTERPRETER);
}

static PyObject *py_find_queue(PyObject *self, PyObject *id)
{
    return find(self, id, LACE_ENTRY_QUEUE);
}

static PyObject *list_ids(lace_entry_kind kind)
{
    size_t count;
    int64_t *ids = lace_directory_ids(kind, &count);
    PyObject *list = ids ? PyList_New((Py_ssize_t)count) : PyErr_NoMemory();
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *id = PyLong_FromLongLong(ids[i]);
        if (id == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, id);
    }
    free(ids);
    return list;
}

/* _kept_interpreters(), _queues(): their ids, in order. */
static PyObject *py_kept_interpreters(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return list_ids(LACE_ENTRY_INTERPRETER);
}

static PyObject *py_queues(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return list_ids(LACE_ENTRY_QUEUE);
}

static void note_id(lace_worker *worker, void *context)
{
    PyObject *list = context;
    if (worker->kept || atomic_load(&worker->state) == LACE_WORKER_ENDED)
        return;
    PyObject *id = PyLong_FromLongLong(lace_interpreter_id(worker));
    if (id == NULL || PyList_Append(list, id) < 0)
        PyErr_Clear(); /* no memory: the list is shorter */
    Py_XDECREF(id);
}

/* _other_interpreters(): the ids of all other workers. */
static PyObject *py_other_interpreters(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    PyObject *list = PyList_New(0);
    if (list != NULL)
        lace_workers_each(note_id, list);
    return list;
}

/* _idle(): this kept interpreter has done what it was asked to. */
static PyObject *py_idle(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_worker *worker = lace_module_state(self)->worker;
    if (worker == NULL)
        return PyErr_Format(PyExc_RuntimeError, "this is not a worker");
    lace_directory_idle(lace_interpreter_id(worker));
    Py_RETURN_NONE;
}

/* ---- both --------------------------------------------------------------------------------------------- */

static PyObject *entry_get_id(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(entry_of(self)->id);
}

/* flight(): a Sender to go into a message that names the entry. */
static PyObject *entry_flight(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_sender *sender;
    lace_status status = lace_entry_fly(entry_of(self), &sender);
    if (status != LACE_OK)
        return lace_raise(module_of(self), status, "sending", "an interpreter or a queue");
    PyObject *object = lace_sender_object(module_of(self), sender);
    if (object == NULL)
        lace_sender_destroy(sender);
    return object;
}

/* ---- kept interpreters -------------------------------------------------------------------------------- */

/* claim(): False when it does something already. Who has claimed it sends one request, or releases it. */
static PyObject *interpreter_claim(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(!atomic_exchange(&entry_of(self)->busy, true));
}

static PyObject *interpreter_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    atomic_store(&entry_of(self)->busy, false);
    Py_RETURN_NONE;
}

static PyObject *interpreter_running(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_entry *entry = entry_of(self);
    return PyBool_FromLong(atomic_load(&entry->busy) && atomic_load(&entry->worker->state) != LACE_WORKER_ENDED);
}

#define NO_BODY "\x80\x05N." /* None, pickled */

/* request(head, body): two messages, pickled before the first is sent: a body that does not unpickle over there leaves
 * the head, which says whom to tell. */
static PyObject *interpreter_request(PyObject *self, PyObject *args)
{
    lace_module *module = module_of(self);
    PyObject *objects[2];
    lace_encoded encoded[2];
    if (!PyArg_ParseTuple(args, "OO", &objects[0], &objects[1]) || !lace_encode(module, objects[0], &encoded[0]))
        return NULL;
    if (!lace_encode(module, objects[1], &encoded[1])) {
        lace_encoded_finish(&encoded[0], false);
        return NULL;
    }
    lace_sender *sender = entry_of(self)->requests;
    const lace_wait try = {.deadline = LACE_NOW}; /* there is room: nobody else has a request there */
    lace_payload payload = lace_encoded_payload(&encoded[0]);
    lace_status status = lace_send(sender, &payload, &try);
    bool headed = status == LACE_OK;
    payload = lace_encoded_payload(&encoded[1]);
    if (headed)
        status = lace_send(sender, &payload, &try);
    lace_encoded_finish(&encoded[0], headed);
    lace_encoded_finish(&encoded[1], status == LACE_OK);
    if (headed && status != LACE_OK) /* no memory for it: so small a one needs none */
        lace_send(sender, &(lace_payload){.data = NO_BODY, .size = sizeof NO_BODY - 1}, &try);
    if (status == LACE_CLOSED) /* by lace_directory_end() */
        status = LACE_BROKEN;
    if (status != LACE_OK)
        return lace_raise(module, status, "request on", entry_of(self)->worker->name);
    Py_RETURN_NONE;
}

static PyObject *interpreter_cancel(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_scope_cancel(entry_of(self)->worker->scope);
    Py_RETURN_NONE;
}

static PyObject *interpreter_cancelled(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(lace_scope_cancelled(entry_of(self)->worker->scope));
}

/* end(): nobody finds it any more, and it ends. False when that has been done. */
static PyObject *interpreter_end(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(lace_entry_end(entry_of(self)));
}

static PyObject *interpreter_listed(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(lace_entry_is_listed(entry_of(self)));
}

/* join(): waits until it has ended. When the wait is cancelled, so is the interpreter, and its end is waited for all
 * the same: the grace period bounds it. */
static PyObject *interpreter_join(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_module *module = module_of(self);
    lace_entry *entry = entry_of(self);
    const lace_case ended = {.kind = LACE_CASE_ENDED, .receiver = entry->outcome};
    size_t index;
    lace_pywait LACE_AUTO(wait);
    if (!lace_pywait_init(&wait, module, NULL))
        return NULL;
    lace_pywait_on_worker(&wait, LACE_AWAITS_END, entry->worker, entry->outcome);
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_select(&ended, 1, 0, &wait.wait, &index));
    while (status == LACE_INTERRUPTED);
    /* Not in a finaliser: the interpreter that ends may hold what the other one needs to end. */
    if (status == LACE_CANCELLED &&
        (module->worker == NULL || atomic_load(&module->worker->state) != LACE_WORKER_ENDING)) {
        lace_scope_cancel(entry->worker->scope);
        Py_BEGIN_ALLOW_THREADS
        lace_select(&ended, 1, 0, NULL, &index);
        Py_END_ALLOW_THREADS
    }
    if (status != LACE_OK)
        return lace_raise(module, status, "the end of", entry->worker->name);
    Py_RETURN_NONE;
}

/* worker(): the Worker, to ask what it died of. */
static PyObject *interpreter_worker(PyObject *self, PyObject *unused)
{
    (void)unused;
    return lace_worker_object(module_of(self), entry_of(self)->worker, entry_of(self)->outcome);
}

static PyMethodDef interpreter_methods[] = {
    {"claim", interpreter_claim, METH_NOARGS, NULL},     {"release", interpreter_release, METH_NOARGS, NULL},
    {"running", interpreter_running, METH_NOARGS, NULL}, {"request", interpreter_request, METH_VARARGS, NULL},
    {"cancel", interpreter_cancel, METH_NOARGS, NULL},   {"cancelled", interpreter_cancelled, METH_NOARGS, NULL},
    {"end", interpreter_end, METH_NOARGS, NULL},         {"listed", interpreter_listed, METH_NOARGS, NULL},
    {"join", interpreter_join, METH_NOARGS, NULL},       {"worker", interpreter_worker, METH_NOARGS, NULL},
    {"flight", entry_flight, METH_NOARGS, NULL},         {NULL, NULL, 0, NULL},
};

/* ---- queues ------------------------------------------------------------------------------------------- */

/* put(obj, timeout): False when there was no room until then. */
static PyObject *queue_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    lace_module *module = module_of(self);
    lace_pywait LACE_AUTO(wait);
    lace_encoded encoded;
    if (nargs != 2)
        return PyErr_Format(PyExc_TypeError, "put() takes an object and a timeout");
    if (!lace_pywait_init(&wait, module, args[1]) || !lace_encode(module, args[0], &encoded))
        return NULL;
    lace_payload payload = lace_encoded_payload(&encoded);
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_queue_put(entry_of(self)->queue, &payload, &wait.wait));
    while (status == LACE_INTERRUPTED);
    lace_encoded_finish(&encoded, status == LACE_OK);
    if (status != LACE_OK && status != LACE_TIMEOUT)
        return lace_raise(module, status, "put on", "queue");
    return PyBool_FromLong(status == LACE_OK);
}

/* get(timeout, default): the default when there was nothing until then. */
static PyObject *queue_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    lace_module *module = module_of(self);
    lace_pywait LACE_AUTO(wait);
    if (nargs != 2)
        return PyErr_Format(PyExc_TypeError, "get() takes a timeout and a default");
    if (!lace_pywait_init(&wait, module, args[0]))
        return NULL;
    lace_message *message = lace_message_borrow(module);
    if (message == NULL)
        return NULL;
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_queue_get(entry_of(self)->queue, message, &wait.wait));
    while (status == LACE_INTERRUPTED);
    PyObject *object = NULL;
    if (status == LACE_OK)
        object = lace_decode_message(module, message, 0);
    else if (status == LACE_TIMEOUT)
        object = Py_NewRef(args[1]);
    else
        lace_raise(module, status, "get from", "queue");
    lace_message_return(module, message);
    return object;
}

static Py_ssize_t queue_length(PyObject *self)
{
    return (Py_ssize_t)lace_queue_length(entry_of(self)->queue);
}

static PyObject *queue_get_maxsize(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(entry_of(self)->maxsize);
}

static PyObject *queue_get_unbound(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(entry_of(self)->unbound);
}

static PyMethodDef queue_methods[] = {
    {"put", (PyCFunction)(void (*)(void))queue_put, METH_FASTCALL, NULL},
    {"get", (PyCFunction)(void (*)(void))queue_get, METH_FASTCALL, NULL},
    {"flight", entry_flight, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* ---- the types ---------------------------------------------------------------------------------------- */

static PyGetSetDef interpreter_getset[] = {
    {"id", entry_get_id, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyGetSetDef queue_getset[] = {
    {"id", entry_get_id, NULL, NULL, NULL},
    {"maxsize", queue_get_maxsize, NULL, NULL, NULL},
    {"unbound", queue_get_unbound, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot interpreter_slots[] = {
    {Py_tp_dealloc, entry_dealloc},
    {Py_tp_methods, interpreter_methods},
    {Py_tp_getset, interpreter_getset},
    {Py_tp_doc, (void *)"One binding of a kept interpreter: see interlace.interpreters.Interpreter."},
    {0, NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_dealloc, entry_dealloc},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_sq_length, queue_length},
    {Py_tp_doc, (void *)"One binding of a queue: see interlace.interpreters.Queue."},
    {0, NULL},
};

#define FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION)

static PyType_Spec interpreter_spec = {"_interlace.Interpreter", sizeof(entry_object), 0, FLAGS, interpreter_slots};
static PyType_Spec queue_spec = {"_interlace.Queue", sizeof(entry_object), 0, FLAGS, queue_slots};

static PyMethodDef functions[] = {
    {"_keep", py_keep, METH_VARARGS, NULL},
    {"_find_interpreter", py_find_interpreter, METH_O, NULL},
    {"_kept_interpreters", py_kept_interpreters, METH_NOARGS, NULL},
    {"_other_interpreters", py_other_interpreters, METH_NOARGS, NULL},
    {"_idle", py_idle, METH_NOARGS, NULL},
    {"_make_queue", py_make_queue, METH_VARARGS, NULL},
    {"_find_queue", py_find_queue, METH_O, NULL},
    {"_queues", py_queues, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

bool lace_directory_ready(PyObject *module, lace_module *state)
{
    state->interpreter_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &interpreter_spec, NULL);
    state->queue_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &queue_spec, NULL);
    return state->interpreter_type != NULL && state->queue_type != NULL &&
           PyModule_AddFunctions(module, functions) == 0;
}
