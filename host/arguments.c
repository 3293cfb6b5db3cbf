/* arguments.c - arguments in, exceptions out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "deadlock.h"

bool lace_arguments(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                    const char *const *names, int required, int positional, PyObject **out)
{
    int known = 0;
    while (names[known] != NULL)
        out[known++] = NULL;
    if (nargs > positional) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional argument%s (%zd given)", function, positional,
                     positional == 1 ? "" : "s", nargs);
        return false;
    }
    for (Py_ssize_t i = 0; i < nargs; i++)
        out[i] = args[i];
    Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t k = 0; k < keywords; k++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, k);
        int i = 0;
        while (i < known && PyUnicode_CompareWithASCIIString(key, names[i]) != 0)
            i++;
        if (i == known || out[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got %s argument %R", function,
                         i == known ? "an unexpected keyword" : "two values for", key);
            return false;
        }
        out[i] = args[nargs + k];
    }
    for (int i = 0; i < required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() is missing its argument '%s'", function, names[i]);
            return false;
        }
    }
    return true;
}

const char *lace_name_of(PyObject *str, const char *what)
{
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(str, &size);
    if (text == NULL || strlen(text) == (size_t)size)
        return text;
    PyErr_Format(PyExc_ValueError, "%s has an embedded null character: %R", what, str);
    return NULL;
}

PyObject *lace_raise(lace_module *module, lace_status status, const char *did, const char *name)
{
    if (status == LACE_RAISED)
        return NULL;
    switch ((int)status) {
    case LACE_OK:
        break;
    case LACE_FORKED:
        PyErr_Format(
            PyExc_RuntimeError,
            "%s channel '%s': this process was forked from the one that made it; start a program of its own instead, "
            "with subprocess or multiprocessing's 'spawn'",
            did, name);
        break;
    case LACE_TIMEOUT:
        PyErr_Format(PyExc_TimeoutError, "%s channel '%s': the timeout passed first", did, name);
        break;
    case LACE_CANCELLED:
        /* The wait delivers the cancellation: an exception on its way to the bytecode would be a second one. */
        PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL);
        if (lace_worker_current() == NULL)
            lace_hush_threads();
        if (module->worker != NULL)
            PyErr_Format(module->cancelled, "worker '%s' was cancelled", module->worker->name);
        else
            PyErr_SetString(module->cancelled, "cancelled");
        break;
    case LACE_DEADLOCK: {
        PyObject *text = PyUnicode_FromFormat("%s channel '%s': nothing could ever have ended this wait", did, name);
        PyObject *raised = text ? PyObject_CallOneArg(module->deadlock, text) : NULL;
        char *found = lace_deadlock_text();
        PyObject *report = raised ? PyUnicode_DecodeUTF8(found ? found : "", found ? strlen(found) : 0, "replace") : NULL;
        if (report != NULL && PyObject_SetAttrString(raised, "report", report) == 0)
            PyErr_SetObject(module->deadlock, raised);
        free(found);
        Py_XDECREF(report);
        Py_XDECREF(raised);
        Py_XDECREF(text);
        break;
    }
    case LACE_END:
        PyErr_Format(module->end_of_channel, "%s channel '%s': every sender is gone", did, name);
        break;
    case LACE_BROKEN: {
        PyObject *text = PyUnicode_FromFormat("%s channel '%s': every receiver is gone", did, name);
        PyObject *raised = text ? PyObject_CallOneArg(module->broken_channel, text) : NULL;
        PyObject *channel = raised ? PyUnicode_FromString(name) : NULL;
        if (channel != NULL && PyObject_SetAttrString(raised, "channel", channel) == 0)
            PyErr_SetObject(module->broken_channel, raised);
        Py_XDECREF(channel);
        Py_XDECREF(raised);
        Py_XDECREF(text);
        break;
    }
    case LACE_CLOSED:
        PyErr_Format(PyExc_ValueError, "%s channel '%s': this end is closed", did, name);
        break;
    case LACE_INVALID: /* what Python passes has been checked, but for what is of another host's memory, or of none's */
        PyErr_Format(PyExc_RuntimeError, "%s channel '%s': its host has been closed", did, name);
        break;
    case LACE_NOMEM:
        PyErr_Format(PyExc_MemoryError, "%s channel '%s': no memory, or the channels' limit is reached", did, name);
        break;
    case LACE_TOO_BIG:
        PyErr_Format(PyExc_ValueError, "%s channel '%s': the message is larger than max_bytes allows", did, name);
        break;
    case LACE_UNSUPPORTED: /* attachments in a pipe, and pipes as attachments */
        PyErr_Format(PyExc_TypeError,
                     "%s channel '%s': a pipe or socket has no such call, and its own ends go to workers as arguments of "
                     "Group.start() only, not in messages",
                     did, name);
        break;
    case LACE_SYSTEM:
        PyErr_SetFromErrno(PyExc_OSError);
        break;
    default:
        if (lace_is_of_a_seal(status))
            return lace_raise_seal(module, status, did, name);
        PyErr_Format(PyExc_RuntimeError, "%s channel '%s': %s", did, name, lace_explain(status));
    }
    return NULL;
}
