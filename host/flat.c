/* flat.c - an iterator over the items of many lists, which lets go of each item as it gives it. */
#include "module.h"

typedef struct flat_object {
    PyObject_HEAD
    PyObject *lists; /* an iterator of lists that are its alone; NULL: it has ended */
    PyObject *list;  /* the one it is in; NULL: none */
    Py_ssize_t next;
} flat_object;

static int flat_traverse(PyObject *object, visitproc visit, void *arg)
{
    flat_object *self = (flat_object *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->lists);
    Py_VISIT(self->list);
    return 0;
}

static int flat_clear(PyObject *object)
{
    flat_object *self = (flat_object *)object;
    Py_CLEAR(self->list);
    Py_CLEAR(self->lists);
    return 0;
}

static void flat_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    flat_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *flat_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *lists;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)
        return PyErr_Format(PyExc_TypeError, "Flat() takes no keyword arguments");
    if (!PyArg_ParseTuple(args, "O", &lists))
        return NULL;
    lists = PyObject_GetIter(lists);
    if (lists == NULL)
        return NULL;
    flat_object *self = (flat_object *)type->tp_alloc(type, 0);
    if (self == NULL)
        Py_DECREF(lists);
    else
        self->lists = lists;
    return (PyObject *)self;
}

/* The next list, or NULL: an exception, or the end. Other threads may be in here while its code runs. */
static PyObject *flat_next(PyObject *object)
{
    flat_object *self = (flat_object *)object;
    for (;;) {
        PyObject *list = self->list;
        if (list != NULL && self->next < PyList_GET_SIZE(list)) {
            PyObject *item = PyList_GET_ITEM(list, self->next);
            PyList_SET_ITEM(list, self->next++, Py_NewRef(Py_None)); /* its reference is ours now */
            return item;
        }
        Py_CLEAR(self->list);
        if (self->lists == NULL)
            return NULL;
        PyObject *lists = Py_NewRef(self->lists);
        list = PyIter_Next(lists);
        Py_DECREF(lists);
        if (list == NULL) {
            Py_CLEAR(self->lists);
            return NULL;
        }
        if (!PyList_CheckExact(list)) {
            Py_DECREF(list);
            return PyErr_Format(PyExc_TypeError, "the iterator gave something that is no list");
        }
        Py_XSETREF(self->list, list);
        self->next = 0;
    }
}

/* close(): as a generator's. */
static PyObject *flat_close(PyObject *object, PyObject *unused)
{
    (void)unused;
    flat_object *self = (flat_object *)object;
    PyObject *lists = self->lists;
    self->lists = NULL;
    Py_CLEAR(self->list);
    if (lists == NULL)
        Py_RETURN_NONE;
    PyObject *done = PyObject_CallMethod(lists, "close", NULL);
    Py_DECREF(lists);
    return done;
}

static PyMethodDef flat_methods[] = {
    {"close", flat_close, METH_NOARGS, "close($self, /)\n--\n\nEnd the iteration."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot flat_slots[] = {
    {Py_tp_new, flat_new},           {Py_tp_dealloc, flat_dealloc},   {Py_tp_traverse, flat_traverse},
    {Py_tp_clear, flat_clear},       {Py_tp_iter, PyObject_SelfIter}, {Py_tp_iternext, flat_next},
    {Py_tp_methods, flat_methods},   {0, NULL},
};

static PyType_Spec flat_spec = {"_interlace.Flat", sizeof(flat_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, flat_slots};

bool lace_flat_ready(PyObject *module, lace_module *state)
{
    (void)state;
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &flat_spec, NULL);
    bool ready = type != NULL && PyModule_AddType(module, type) == 0;
    Py_XDECREF((PyObject *)type);
    return ready;
}
