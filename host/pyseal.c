/* pyseal.c - what can be wrong with a sealed channel, as exceptions; and closing one in due form. */
#include "module.h"

PyDoc_STRVAR(
    seal_error_doc,
    "What came through a pipe or socket is not what the other side sent, or not from somebody who has the key.\n\n"
    "reason (str) is one of 'wrong key' (the other side has another one), 'unsealed' (it does not seal at\n"
    "all), 'forged' (garbage, or changed on its way), 'truncated' (see Truncated), 'reordered', 'replayed' and\n"
    "'spliced' (of another stream). Nothing of such a message has been unpickled. channel (str) is its name.\n"
    "Later calls on the same end say the same.\n\n"
    "    def read(numbers):\n"
    "        try:\n"
    "            return list(numbers)\n"
    "        except interlace.SealError as error:\n"
    "            print(error.reason, error)");

PyDoc_STRVAR(
    truncated_doc,
    "A sealed stream was cut off: its sender ended before it could say so, as when its process is killed.\n\n"
    "What was received before is whole. An end in due form is EndOfChannel.\n\n"
    "    def read(numbers):\n"
    "        try:\n"
    "            return list(numbers)\n"
    "        except interlace.Truncated:\n"
    "            print('the other side was killed')");

static const char *reason_of(lace_status status)
{
    switch (status) {
    case LACE_WRONG_KEY:
        return "wrong key";
    case LACE_UNSEALED:
        return "unsealed";
    case LACE_TRUNCATED:
        return "truncated";
    case LACE_REORDERED:
        return "reordered";
    case LACE_REPLAYED:
        return "replayed";
    case LACE_SPLICED:
        return "spliced";
    default:
        return "forged";
    }
}

PyObject *lace_raise_seal(lace_module *module, lace_status status, const char *did, const char *name)
{
    PyObject *type = status == LACE_TRUNCATED ? module->truncated : module->seal_error;
    PyObject *text = PyUnicode_FromFormat("%s channel '%s': %s", did, name, lace_explain(status));
    PyObject *raised = text ? PyObject_CallOneArg(type, text) : NULL;
    PyObject *reason = raised ? PyUnicode_FromString(reason_of(status)) : NULL;
    PyObject *channel = reason ? PyUnicode_FromString(name) : NULL;
    if (channel != NULL && PyObject_SetAttrString(raised, "reason", reason) == 0 &&
        PyObject_SetAttrString(raised, "channel", channel) == 0)
        PyErr_SetObject(type, raised);
    Py_XDECREF(channel);
    Py_XDECREF(reason);
    Py_XDECREF(raised);
    Py_XDECREF(text);
    return NULL;
}

bool lace_end_close(lace_module *module, lace_sender *sender, lace_receiver *receiver)
{
    if (sender == NULL) {
        lace_receiver_close(receiver);
        return true;
    }
    if (lace_sender_region(sender) != NULL || lace_sender_closed(sender)) {
        lace_sender_close(sender);
        return true;
    }
    lace_pywait LACE_AUTO(wait);
    if (!lace_pywait_init(&wait, module, NULL))
        return false;
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_sender_finish(sender, &wait.wait));
    while (status == LACE_INTERRUPTED);
    lace_sender_close(sender); /* whatever came of it; does not wait */
    if (status != LACE_CANCELLED && status != LACE_RAISED)
        return true; /* BROKEN: nobody will miss it */
    lace_raise(module, status, "closing", lace_sender_name(sender));
    return false;
}

static PyObject *new_exception(PyObject *module, const char *name, const char *doc, PyObject *base)
{
    const char *dot = strrchr(name, '.');
    PyObject *type = PyErr_NewExceptionWithDoc(name, doc, base, NULL);
    if (type != NULL && PyModule_AddObjectRef(module, dot + 1, type) < 0)
        Py_CLEAR(type);
    return type;
}

bool lace_seals_ready(PyObject *module, lace_module *state)
{
    state->seal_error = new_exception(module, "interlace.SealError", seal_error_doc, PyExc_ConnectionError);
    if (state->seal_error != NULL)
        state->truncated = new_exception(module, "interlace.Truncated", truncated_doc, state->seal_error);
    return state->truncated != NULL;
}
