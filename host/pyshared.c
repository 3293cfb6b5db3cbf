/* pyshared.c - objects that are both ends of one channel: made, sent, gone. */
#include "pyshared.h"

#include <stddef.h>

lace_module *lace_shared_module(PyObject *self)
{
    return lace_module_of(Py_TYPE(self));
}

lace_sender *lace_shared_sender(PyObject *self)
{
    return lace_object_sender(((lace_shared_object *)self)->sender);
}

lace_receiver *lace_shared_receiver(PyObject *self)
{
    return lace_object_receiver(((lace_shared_object *)self)->receiver);
}

const char *lace_shared_name(PyObject *self)
{
    return lace_sender_name(lace_shared_sender(self));
}

static PyObject *make(PyTypeObject *type, PyObject *sender, PyObject *receiver)
{
    lace_shared_object *self = (lace_shared_object *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->sender = Py_NewRef(sender);
        self->receiver = Py_NewRef(receiver);
    }
    return (PyObject *)self;
}

PyObject *lace_shared_make(PyTypeObject *type, lace_sender *sender, lace_receiver *receiver)
{
    lace_module *module = lace_module_of(type);
    PyObject *first = lace_sender_object(module, sender);
    if (first == NULL)
        lace_sender_destroy(sender);
    PyObject *second = lace_receiver_object(module, receiver);
    if (second == NULL)
        lace_receiver_destroy(receiver);
    PyObject *self = first != NULL && second != NULL ? make(type, first, second) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(second);
    return self;
}

void lace_shared_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_ClearWeakRefs(self);
    Py_XDECREF(((lace_shared_object *)self)->sender);
    Py_XDECREF(((lace_shared_object *)self)->receiver);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject *lace_shared_reduce(PyObject *self, PyObject *protocol)
{
    (void)protocol;
    if (!lace_encoding())
        return PyErr_Format(PyExc_TypeError,
                            "%R cannot be pickled or copied: it travels in Interlace's own messages and workers' "
                            "arguments only; send it through a channel or pass it to Group.start()",
                            self);
    PyObject *join = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "_join");
    lace_shared_object *shared = (lace_shared_object *)self;
    return join ? Py_BuildValue("N(OO)", join, shared->sender, shared->receiver) : NULL;
}

PyObject *lace_shared_join(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    PyTypeObject *type = (PyTypeObject *)object;
    lace_module *module = lace_module_of(type);
    if (nargs != 2 || Py_TYPE(args[0]) != module->sender_type || Py_TYPE(args[1]) != module->receiver_type)
        return PyErr_Format(PyExc_TypeError, "a %s comes only out of a message", type->tp_name);
    return make(type, args[0], args[1]);
}

PyMemberDef lace_shared_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(lace_shared_object, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
