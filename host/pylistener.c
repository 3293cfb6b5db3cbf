/* pylistener.c - _interlace._Listener, which interlace.Listener has inside. */
#include "module.h"

typedef struct listener_object {
    PyObject_HEAD
    lace_listener *listener;
} listener_object;

static lace_module *module_of(PyObject *self)
{
    return lace_module_of(Py_TYPE(self));
}

static lace_listener *listener_of(PyObject *self)
{
    return ((listener_object *)self)->listener;
}

static PyObject *listener_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *address, *key, *label, *name;
    lace_opening opening;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OOOO", &address, &key, &label, &name) ||
        !lace_opening_read(address, key, label, name, &opening))
        return NULL;
    listener_object *self = (listener_object *)type->tp_alloc(type, 0);
    if (self != NULL) {
        lace_status status = lace_listen(opening.address, &opening.options, &self->listener);
        if (status != LACE_OK) {
            lace_raise_opening(module_of((PyObject *)self), status, "listen", opening.address);
            Py_CLEAR(self);
        }
    }
    lace_opening_finish(&opening);
    return (PyObject *)self;
}

static int listener_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void listener_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    lace_listener_destroy(listener_of(self));
    type->tp_free(self);
    Py_DECREF(type);
}

/* accept(timeout): (Sender, Receiver). */
static PyObject *listener_accept(PyObject *self, PyObject *timeout)
{
    lace_module *module = module_of(self);
    lace_sender *sender;
    lace_receiver *receiver;
    lace_pywait LACE_AUTO(wait);
    if (!lace_pywait_init(&wait, module, timeout))
        return NULL;
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_accept(listener_of(self), &wait.wait, &sender, &receiver));
    while (status == LACE_INTERRUPTED);
    if (status == LACE_TIMEOUT)
        return PyErr_Format(PyExc_TimeoutError, "accept on '%s': the timeout passed before somebody connected",
                            lace_listener_name(listener_of(self)));
    if (status == LACE_CLOSED)
        return PyErr_Format(PyExc_ValueError, "accept on '%s': this listener is closed",
                            lace_listener_name(listener_of(self)));
    if (status != LACE_OK)
        return lace_raise_opening(module, status, "accept on", lace_listener_name(listener_of(self)));
    return lace_both_ends(module, sender, receiver);
}

static PyObject *listener_fileno(PyObject *self, PyObject *unused)
{
    (void)unused;
    int fd;
    lace_status status = lace_listener_fd(listener_of(self), &fd);
    if (status == LACE_CLOSED)
        return PyErr_Format(PyExc_ValueError, "fileno of '%s': this listener is closed",
                            lace_listener_name(listener_of(self)));
    if (status != LACE_OK)
        return lace_raise(module_of(self), status, "fileno of", lace_listener_name(listener_of(self)));
    return PyLong_FromLong(fd);
}

static PyObject *listener_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_listener_close(listener_of(self));
    Py_RETURN_NONE;
}

static PyObject *listener_get_name(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_DecodeFSDefault(lace_listener_name(listener_of(self)));
}

static PyObject *listener_get_closed(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(lace_listener_closed(listener_of(self)));
}

static PyMethodDef methods[] = {
    {"accept", listener_accept, METH_O, NULL},
    {"fileno", listener_fileno, METH_NOARGS, NULL},
    {"close", listener_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"name", listener_get_name, NULL, NULL, NULL},
    {"closed", listener_get_closed, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, listener_new},
    {Py_tp_dealloc, listener_dealloc},
    {Py_tp_traverse, listener_traverse},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {0, NULL},
};

static PyType_Spec spec = {"_interlace._Listener", sizeof(listener_object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};

bool lace_listeners_ready(PyObject *module, lace_module *state)
{
    state->listener_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, NULL);
    return state->listener_type != NULL && PyModule_AddType(module, state->listener_type) == 0;
}
