/* pyvalue.h - Python objects to lace_values and back. */
#ifndef LACE_PYVALUE_H
#define LACE_PYVALUE_H

#include "module.h"

#include "interlace.h"

/* Gives the value that an object is, with ends of its own; a Buffer in it moves into the value. False with an exception
 * set: TypeError when it is no plain value, and what pickling raises. */
bool lace_value_of_object(lace_module *module, PyObject *object, lace_value **ret_value);
/* The object that a value, which it takes, is. NULL with an exception set. */
PyObject *lace_object_of_value(lace_module *module, lace_value *value);

/* For the tests: an object there and back; a pickle read and written; ==; the text of a value. */
PyObject *lace_py_value_pass(PyObject *module, PyObject *object);
PyObject *lace_py_value_rewrite(PyObject *module, PyObject *bytes);
PyObject *lace_py_value_equal(PyObject *module, PyObject *args);
PyObject *lace_py_value_text(PyObject *module, PyObject *object);

#endif
