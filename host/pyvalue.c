/* pyvalue.c - Python objects to lace_values and back. It goes by way of a message: the codec of each side knows
 * those, and what is in them, already. */
#include "pyvalue.h"

/* The exception for what a function of values said. Returns NULL. */
static PyObject *raise_problem(lace_status status)
{
    if (status == LACE_NOMEM)
        return PyErr_NoMemory();
    PyErr_SetString(status == LACE_NOT_PLAIN ? PyExc_TypeError : PyExc_ValueError, lace_problem());
    return NULL;
}

bool lace_value_of_object(lace_module *module, PyObject *object, lace_value **ret_value)
{
    lace_encoded encoded;
    if (!lace_encode(module, object, &encoded))
        return false;
    lace_payload payload = lace_encoded_payload(&encoded);
    lace_status status = lace_value_decode(&payload, ret_value);
    lace_encoded_finish(&encoded, status == LACE_OK);
    if (status != LACE_OK)
        raise_problem(status);
    return status == LACE_OK;
}

PyObject *lace_object_of_value(lace_module *module, lace_value *value)
{
    lace_payload payload;
    lace_status status = lace_value_encode(value, lace_region_of_host(), &payload);
    if (status != LACE_OK)
        return raise_problem(status);
    /* Both arrays are the payload's own. What is taken out of them is marked as gone there. */
    lace_job job = {.body = (char *)payload.data,
                    .body_size = payload.size,
                    .attachments = (lace_attachment *)payload.attachments,
                    .attachment_count = payload.attachment_count};
    PyObject *object = lace_decode_job(module, &job);
    lace_payload_finish(&payload, false);
    return object;
}

/* ---- for the tests -------------------------------------------------------------------------------------- */

PyObject *lace_py_value_pass(PyObject *self, PyObject *object)
{
    lace_module *module = lace_module_state(self);
    lace_value *value;
    return lace_value_of_object(module, object, &value) ? lace_object_of_value(module, value) : NULL;
}

PyObject *lace_py_value_rewrite(PyObject *self, PyObject *bytes)
{
    (void)self;
    char *data;
    Py_ssize_t size;
    lace_value *value;
    if (PyBytes_AsStringAndSize(bytes, &data, &size) < 0)
        return NULL;
    lace_payload payload = {.data = data, .size = (size_t)size};
    lace_status status = lace_value_decode(&payload, &value);
    if (status == LACE_OK)
        status = lace_value_encode(value, NULL, &payload);
    if (status != LACE_OK)
        return raise_problem(status);
    PyObject *written = PyBytes_FromStringAndSize(payload.data, (Py_ssize_t)payload.size);
    lace_payload_finish(&payload, false);
    return written;
}

PyObject *lace_py_value_equal(PyObject *self, PyObject *args)
{
    lace_module *module = lace_module_state(self);
    PyObject *objects[2];
    lace_value *values[2];
    if (!PyArg_ParseTuple(args, "OO", &objects[0], &objects[1]) ||
        !lace_value_of_object(module, objects[0], &values[0]))
        return NULL;
    if (!lace_value_of_object(module, objects[1], &values[1])) {
        lace_value_destroy(values[0]);
        return NULL;
    }
    bool equal = false;
    lace_status status = lace_value_equal(values[0], values[1], &equal);
    lace_value_destroy(values[0]);
    lace_value_destroy(values[1]);
    return status == LACE_OK ? PyBool_FromLong(equal) : raise_problem(status);
}

PyObject *lace_py_value_text(PyObject *self, PyObject *object)
{
    char text[2000];
    lace_value *value;
    if (!lace_value_of_object(lace_module_state(self), object, &value))
        return NULL;
    size_t size = lace_value_format(value, text, sizeof text);
    lace_value_destroy(value);
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "replace");
}
