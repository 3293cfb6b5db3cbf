/* pyopen.c - interlace.open(): the calls of channel.h that open endpoints with names. _open.py is their face. */
#include <errno.h>

#include "module.h"

bool lace_opening_read(PyObject *address, PyObject *key, PyObject *label, PyObject *name, lace_opening *ret_opening)
{
    *ret_opening = (lace_opening){0};
    lace_opening opening = {0};
    lace_key *loaded;
    const char *path = key == Py_None ? NULL : PyBytes_AsString(key);
    opening.options.label = lace_name_of(label, "label");
    opening.options.name = name == Py_None ? NULL : lace_name_of(name, "name");
    if (PyErr_Occurred() || !PyUnicode_FSConverter(address, &opening.encoded))
        return false;
    opening.address = PyBytes_AS_STRING(opening.encoded);
    lace_status status = lace_key_load_own(path, &loaded);
    if (status == LACE_OK) {
        opening.options.key = loaded;
        *ret_opening = opening;
        return true;
    }
    int saved = errno;
    PyObject *type = status == LACE_NOMEM     ? PyExc_MemoryError
                     : status == LACE_EXPOSED ? PyExc_PermissionError
                     : status != LACE_SYSTEM  ? PyExc_ValueError
                     : saved == ENOENT        ? PyExc_FileNotFoundError
                     : saved == EACCES        ? PyExc_PermissionError
                                              : PyExc_OSError;
    PyErr_Format(type, "the key of '%s': %s", opening.address, lace_problem());
    Py_DECREF(opening.encoded);
    return false;
}

void lace_opening_finish(lace_opening *opening)
{
    lace_key_destroy((lace_key *)opening->options.key);
    Py_XDECREF(opening->encoded);
}

PyObject *lace_raise_opening(lace_module *module, lace_status status, const char *did, const char *address)
{
    switch (status) {
    case LACE_TIMEOUT:
        return PyErr_Format(PyExc_TimeoutError, "%s '%s': the timeout passed before the other side was there", did,
                            address);
    case LACE_INVALID:
        return PyErr_Format(PyExc_ValueError, "%s '%s': %s", did, address, lace_explain(status));
    case LACE_MALFORMED:
        return PyErr_Format(PyExc_FileExistsError, "%s '%s': %s", did, address, lace_explain(status));
    case LACE_EXPOSED:
    case LACE_FOREIGN:
        return PyErr_Format(PyExc_PermissionError, "%s '%s': %s", did, address, lace_explain(status));
    case LACE_BUSY: {
        PyObject *text = PyUnicode_FromFormat("%s '%s': %s", did, address, lace_explain(status));
        PyObject *arguments = text ? Py_BuildValue("(iN)", EADDRINUSE, text) : NULL;
        if (arguments != NULL)
            PyErr_SetObject(PyExc_OSError, arguments);
        Py_XDECREF(arguments);
        return NULL;
    }
    case LACE_SYSTEM:
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, address);
    default:
        return lace_raise(module, status, did, address);
    }
}

PyObject *lace_both_ends(lace_module *module, lace_sender *sender, lace_receiver *receiver)
{
    PyObject *first = lace_sender_object(module, sender);
    if (first == NULL)
        lace_sender_destroy(sender);
    PyObject *second = first ? lace_receiver_object(module, receiver) : NULL;
    if (second == NULL) {
        lace_receiver_destroy(receiver);
        Py_XDECREF(first);
        return NULL;
    }
    return Py_BuildValue("NN", first, second);
}

/* What the three calls below have in common: the arguments, and how they wait. */
typedef struct lace_call_of_open {
    lace_opening opening;
    lace_pywait wait;
} lace_call_of_open;

static bool begin(PyObject *self, PyObject *args, lace_call_of_open *call)
{
    PyObject *address, *key, *label, *name, *timeout;
    return PyArg_ParseTuple(args, "OOOOO", &address, &key, &label, &name, &timeout) &&
           lace_pywait_init(&call->wait, lace_module_state(self), timeout) &&
           lace_opening_read(address, key, label, name, &call->opening);
}

static void end(lace_call_of_open *call)
{
    lace_opening_finish(&call->opening);
    lace_pywait_drop(&call->wait);
}

/* _open_sender(address, key, label, name, timeout) */
PyObject *lace_py_open_sender(PyObject *self, PyObject *args)
{
    lace_call_of_open call = {0};
    lace_sender *sender = NULL;
    PyObject *object = NULL;
    if (begin(self, args, &call)) {
        lace_status status;
        do
            status = lace_pywait_done(
                &call.wait, lace_open_sender(call.opening.address, &call.opening.options, &call.wait.wait, &sender));
        while (status == LACE_INTERRUPTED);
        object = status == LACE_OK
                     ? lace_sender_object(lace_module_state(self), sender)
                     : lace_raise_opening(lace_module_state(self), status, "open", call.opening.address);
        if (object == NULL && status == LACE_OK)
            lace_sender_destroy(sender);
    }
    end(&call);
    return object;
}

/* _open_receiver(address, key, label, name, timeout): it does not wait. */
PyObject *lace_py_open_receiver(PyObject *self, PyObject *args)
{
    lace_call_of_open call = {0};
    lace_receiver *receiver = NULL;
    PyObject *object = NULL;
    if (begin(self, args, &call)) {
        lace_status status = lace_open_receiver(call.opening.address, &call.opening.options, &receiver);
        object = status == LACE_OK
                     ? lace_receiver_object(lace_module_state(self), receiver)
                     : lace_raise_opening(lace_module_state(self), status, "open", call.opening.address);
        if (object == NULL && status == LACE_OK)
            lace_receiver_destroy(receiver);
    }
    end(&call);
    return object;
}

/* _connect(address, key, label, name, timeout): (Sender, Receiver). */
PyObject *lace_py_connect(PyObject *self, PyObject *args)
{
    lace_call_of_open call = {0};
    lace_sender *sender;
    lace_receiver *receiver;
    PyObject *both = NULL;
    if (begin(self, args, &call)) {
        lace_status status;
        do
            status = lace_pywait_done(&call.wait, lace_connect(call.opening.address, &call.opening.options,
                                                               &call.wait.wait, &sender, &receiver));
        while (status == LACE_INTERRUPTED);
        both = status == LACE_OK ? lace_both_ends(lace_module_state(self), sender, receiver)
                                 : lace_raise_opening(lace_module_state(self), status, "open", call.opening.address);
    }
    end(&call);
    return both;
}
