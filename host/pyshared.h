/* pyshared.h - what Counter and Semaphore have in common: each is both ends of one channel, and travels as they do. */
#ifndef LACE_PYSHARED_H
#define LACE_PYSHARED_H

#include "module.h"

/* Guarded by the interpreter's GIL; the ends close with their interpreter, like all others. */
typedef struct lace_shared_object {
    PyObject_HEAD
    PyObject *sender, *receiver;
    PyObject *weakrefs;
} lace_shared_object;

/* An object of the type that holds these ends, which it takes, also on failure. */
PyObject *lace_shared_make(PyTypeObject *type, lace_sender *sender, lace_receiver *receiver);
void lace_shared_dealloc(PyObject *self);
/* __reduce_ex__: (type._join, (sender, receiver)). */
PyObject *lace_shared_reduce(PyObject *self, PyObject *protocol);
/* type._join(sender, receiver): the object that has travelled. */
PyObject *lace_shared_join(PyObject *type, PyObject *const *args, Py_ssize_t nargs);
lace_module *lace_shared_module(PyObject *self);
lace_sender *lace_shared_sender(PyObject *self);     /* borrowed */
lace_receiver *lace_shared_receiver(PyObject *self); /* borrowed */
const char *lace_shared_name(PyObject *self);

extern PyMemberDef lace_shared_members[];

#endif
