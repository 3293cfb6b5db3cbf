/* pysemaphore.c - interlace.Semaphore: a channel of permits. Acquiring one is receiving it, and so can be selected. */
#include "../channels/look.h"
#include "pyshared.h"

#define AT_ONCE 64

static lace_status send_permits(lace_module *module, lace_sender *sender, size_t count)
{
    const lace_wait now = {.deadline = LACE_NOW};
    lace_encoded encoded;
    lace_payload payloads[AT_ONCE];
    lace_status status = LACE_OK;
    if (!lace_encode(module, Py_None, &encoded))
        return LACE_RAISED;
    for (size_t i = 0; i < AT_ONCE && i < count; i++)
        payloads[i] = lace_encoded_payload(&encoded);
    while (status == LACE_OK && count > 0) {
        size_t sent = 0;
        status = lace_send_many(sender, payloads, count < AT_ONCE ? count : AT_ONCE, &now, &sent);
        count -= sent;
    }
    lace_encoded_finish(&encoded, status == LACE_OK);
    return status;
}

static PyObject *semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {(char *)"permits", NULL};
    Py_ssize_t permits;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:Semaphore", names, &permits))
        return NULL;
    if (permits < 1 || (size_t)permits > LACE_MAX_CAPACITY)
        return PyErr_Format(PyExc_ValueError, "permits must be from 1 to %zu, not %zd", LACE_MAX_CAPACITY, permits);
    lace_module *module = lace_module_of(type);
    const lace_channel_options options = {.capacity = (size_t)permits};
    lace_sender *sender;
    lace_receiver *receiver;
    lace_status status = lace_channel_create(lace_region_of_host(), &options, &sender, &receiver);
    if (status != LACE_OK)
        return lace_raise(module, status, "making", "a semaphore's");
    lace_sender_mark(sender, lace_site_here(&module->sites));
    PyObject *self = lace_shared_make(type, sender, receiver);
    if (self == NULL)
        return NULL;
    status = send_permits(module, lace_shared_sender(self), (size_t)permits);
    if (status != LACE_OK) {
        Py_DECREF(self);
        return lace_raise(module, status, "making", "a semaphore's");
    }
    return self;
}

static bool acquire(PyObject *self, PyObject *timeout)
{
    lace_module *module = lace_shared_module(self);
    lace_pywait LACE_AUTO(wait);
    if (!lace_pywait_init(&wait, module, timeout))
        return false;
    lace_message *message = lace_message_borrow(module);
    if (message == NULL)
        return false;
    lace_pywait_on(&wait, LACE_AWAITS_PERMIT, NULL, lace_shared_receiver(self));
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_recv(lace_shared_receiver(self), message, &wait.wait));
    while (status == LACE_INTERRUPTED);
    lace_message_return(module, message);
    if (status == LACE_OK && wait.late) {
        /* Cancelled would come before the caller knows that he has a permit. */
        status = send_permits(module, lace_shared_sender(self), 1);
        if (status == LACE_OK)
            status = LACE_CANCELLED;
    }
    if (status == LACE_TIMEOUT)
        PyErr_Format(PyExc_TimeoutError, "acquire: the timeout passed before there was a permit");
    else if (status != LACE_OK)
        lace_raise(module, status, "acquire on", lace_shared_name(self));
    return status == LACE_OK;
}

static PyObject *semaphore_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *given[1];
    if (!lace_arguments("acquire", args, nargs, kwnames, names, 0, 1, given) || !acquire(self, given[0]))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *semaphore_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_status status = send_permits(lace_shared_module(self), lace_shared_sender(self), 1);
    if (status == LACE_TIMEOUT)
        return PyErr_Format(PyExc_ValueError,
                            "the semaphore has all its permits: release() was called without acquire()");
    if (status != LACE_OK)
        return lace_raise(lace_shared_module(self), status, "release on", lace_shared_name(self));
    Py_RETURN_NONE;
}

static PyObject *semaphore_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return acquire(self, NULL) ? Py_NewRef(self) : NULL;
}

static PyObject *semaphore_exit(PyObject *self, PyObject *unused)
{
    return semaphore_release(self, unused);
}

static PyObject *semaphore_case(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(((lace_shared_object *)self)->receiver);
}

static PyObject *semaphore_available(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(lace_receiver_length(lace_shared_receiver(self)));
}

static PyObject *semaphore_permits(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(lace_receiver_capacity(lace_shared_receiver(self)));
}

static PyObject *semaphore_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<interlace.Semaphore, %zu of %zu available>",
                                lace_receiver_length(lace_shared_receiver(self)),
                                lace_receiver_capacity(lace_shared_receiver(self)));
}

PyDoc_STRVAR(
    semaphore_doc,
    "Semaphore(permits)\n--\n\n"
    "A number of permits (int, 1 to 1048576; 256 bytes each) that workers share: who wants to go on acquires one, and\n"
    "releases it afterwards. It travels: as an argument of Group.start and in messages, and all that come of it are\n"
    "one semaphore.\n\n"
    "    def fetch(url, limit):\n"
    "        with limit:                    # at most two workers are in here\n"
    "            ...\n\n"
    "    with interlace.Group() as group:\n"
    "        limit = interlace.Semaphore(2)\n"
    "        for url in ('a', 'b', 'c'):\n"
    "            group.start(fetch, url, limit)\n\n"
    "A permit belongs to nobody: a worker that ends without releasing what it has acquired has used it up.");

PyDoc_STRVAR(acquire_doc, "acquire($self, timeout=None)\n--\n\n"
                          "Take a permit, waiting for one. Who waits first gets one first.\n\n"
                          "timeout is in seconds (float or int): None waits for ever, 0 only tries.\n"
                          "Raises TimeoutError, Cancelled (no permit was taken).\n\n"
                          "    semaphore.acquire(timeout=0.5)");

PyDoc_STRVAR(release_doc, "release($self, /)\n--\n\n"
                          "Give a permit back. Never waits.\n\n"
                          "Raises ValueError when none is missing.\n\n"
                          "    semaphore.release()");

PyDoc_STRVAR(
    case_doc,
    "A Receiver of the permits: receiving from it is acquire(), so that it is a case for select() (whose value is\n"
    "None then), and its fileno() tells of one. Do not close it.\n\n"
    "    case, value = interlace.select(semaphore.case, stop)\n"
    "    if case is semaphore.case:\n"
    "        semaphore.release()");

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef semaphore_methods[] = {
    {"acquire", FAST(semaphore_acquire), METH_FASTCALL | METH_KEYWORDS, acquire_doc},
    {"release", semaphore_release, METH_NOARGS, release_doc},
    {"__enter__", semaphore_enter, METH_NOARGS, NULL},
    {"__exit__", semaphore_exit, METH_VARARGS, NULL},
    {"__reduce_ex__", lace_shared_reduce, METH_O, NULL},
    {"_join", FAST(lace_shared_join), METH_FASTCALL | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef semaphore_getset[] = {
    {"case", semaphore_case, NULL, case_doc, NULL},
    {"available", semaphore_available, NULL, "How many permits there are to acquire now (int).", NULL},
    {"permits", semaphore_permits, NULL, "How many permits there are in all (int).", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot semaphore_slots[] = {
    {Py_tp_new, semaphore_new},         {Py_tp_dealloc, lace_shared_dealloc},
    {Py_tp_repr, semaphore_repr},       {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},   {Py_tp_members, lace_shared_members},
    {Py_tp_doc, (void *)semaphore_doc}, {0, NULL},
};

static PyType_Spec semaphore_spec = {"interlace.Semaphore", sizeof(lace_shared_object), 0,
                                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, semaphore_slots};

bool lace_semaphores_ready(PyObject *module, lace_module *state)
{
    state->semaphore_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &semaphore_spec, NULL);
    return state->semaphore_type != NULL && PyModule_AddType(module, state->semaphore_type) == 0;
}
