/* pychannel.c - interlace.channel() and its like: making channels. */
#include "../channels/look.h"
#include "module.h"

/* A count of messages or bytes: 0 .. most, or -1 with an exception set. */
static Py_ssize_t read_size(PyObject *object, const char *what, size_t most)
{
    Py_ssize_t n = PyNumber_AsSsize_t(object, PyExc_OverflowError);
    if (n == -1 && PyErr_Occurred())
        return -1;
    if (n < 0 || (size_t)n > most) {
        PyErr_Format(PyExc_ValueError, "%s must be from 0 to %zu, not %zd", what, most, n);
        return -1;
    }
    return n;
}

/* A name (borrowed from the object), or NULL for None. False with an exception set. */
static bool read_name(PyObject *object, const char **ret_name)
{
    *ret_name = NULL;
    if (object == NULL || object == Py_None)
        return true;
    if (PyUnicode_Check(object))
        *ret_name = lace_name_of(object, "name");
    else
        PyErr_Format(PyExc_TypeError, "name must be a str or None, not %T", object);
    return *ret_name != NULL;
}

/* A new channel's (Sender, Receiver). */
static PyObject *make_channel(lace_module *module, const lace_channel_options *options)
{
    lace_sender *sender;
    lace_receiver *receiver;
    if (!lace_module_enter(module))
        return NULL;
    lace_status status = lace_channel_create(lace_region_of_host(), options, &sender, &receiver);
    lace_module_leave(module);
    if (status != LACE_OK)
        return lace_raise(module, status, "making", options->name ? options->name : "");
    lace_sender_mark(sender, lace_site_here(&module->sites));
    lace_ledger_list(sender);
    return lace_both_ends(module, sender, receiver);
}

PyObject *lace_py_channel(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"capacity", "max_bytes", "name", "redeliver", NULL};
    PyObject *given[4];
    if (!lace_arguments("channel", args, nargs, kwnames, names, 0, 1, given))
        return NULL;
    if (given[0] == NULL) {
        PyErr_SetString(PyExc_TypeError, "channel() needs a capacity: 0 for a rendezvous, 64 or so for throughput");
        return NULL;
    }
    lace_module *module = lace_module_state(self);
    lace_channel_options options = {0};
    Py_ssize_t capacity = read_size(given[0], "capacity", LACE_MAX_CAPACITY);
    if (capacity < 0)
        return NULL;
    options.capacity = (size_t)capacity;
    if (given[1] != NULL && given[1] != Py_None) {
        Py_ssize_t max_bytes = read_size(given[1], "max_bytes", PY_SSIZE_T_MAX);
        if (max_bytes < 0)
            return NULL;
        if (max_bytes == 0)
            return PyErr_Format(PyExc_ValueError,
                                "max_bytes must be None or 1 and more: 0 would let nothing through");
        options.max_bytes = (size_t)max_bytes;
    }
    if (!read_name(given[2], &options.name))
        return NULL;
    int redeliver = given[3] != NULL ? PyObject_IsTrue(given[3]) : 0;
    if (redeliver < 0)
        return NULL;
    options.redeliver = redeliver != 0;
    if (options.redeliver && capacity == 0) {
        PyErr_SetString(PyExc_ValueError, "a channel with redeliver=True needs a capacity of 1 or more: on a rendezvous "
                                          "nothing waits that could go to another receiver");
        return NULL;
    }
    return make_channel(module, &options);
}

/* latest(*, name=None) */
PyObject *lace_py_latest(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"name", NULL};
    PyObject *given[1];
    lace_channel_options options = {.capacity = 1, .overwrite = true};
    if (!lace_arguments("latest", args, nargs, kwnames, names, 0, 0, given) || !read_name(given[0], &options.name))
        return NULL;
    return make_channel(lace_module_state(self), &options);
}

/* _overwriting(capacity, *, name=None): a channel where a send to the full one throws the oldest message away. */
PyObject *lace_py_overwriting(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"capacity", "name", NULL};
    PyObject *given[2];
    lace_channel_options options = {.overwrite = true};
    if (!lace_arguments("_overwriting", args, nargs, kwnames, names, 1, 1, given) || !read_name(given[1], &options.name))
        return NULL;
    Py_ssize_t capacity = read_size(given[0], "capacity", LACE_MAX_CAPACITY);
    if (capacity == 0)
        PyErr_SetString(PyExc_ValueError, "capacity must be 1 or more where the oldest message is dropped");
    if (capacity <= 0)
        return NULL;
    options.capacity = (size_t)capacity;
    return make_channel(lace_module_state(self), &options);
}
