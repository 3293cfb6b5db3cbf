/* pybuffer.c - interlace.Buffer: memory that travels in a message without being copied, and what else lies on it.
 *
 * A Buffer is a handle of a block. While the message it is in is being sent, nobody may use it; once that has happened,
 * the Buffer is empty: its block is the receiver's. One that can only be read stays, since its block is shared: also by
 * messages with an object that lies on all of it, such as a numpy array (lace_block_find). Everything else that pickles
 * with out-of-band buffers is copied into a block of its own when it is sent (codec.c) and lies on a Buffer where it is
 * received. */
#include <string.h>

#include "module.h"

typedef struct buffer_object {
    PyObject_HEAD
    lace_block *block;  /* NULL: it has been sent */
    Py_ssize_t exports; /* views of it that are not released */
    bool readonly;
    bool moving;  /* it is being pickled, to be moved */
    bool sending; /* it has been, and the message is on its way: nobody may use it */
    PyObject *weakrefs;
} buffer_object;

PyObject *lace_buffer_object(lace_module *module, lace_block *block, bool readonly)
{
    buffer_object *self = (buffer_object *)module->buffer_type->tp_alloc(module->buffer_type, 0);
    if (self != NULL) {
        self->block = block;
        self->readonly = readonly;
        if (readonly)
            lace_block_freeze(block); /* what is received so may be read by others, too: nobody writes to it */
    }
    return (PyObject *)self;
}

static bool usable(buffer_object *self)
{
    if (self->block == NULL || self->sending)
        PyErr_SetString(PyExc_ValueError, "this Buffer has been sent: its memory is the receiver's now");
    return self->block != NULL && !self->sending;
}

static PyObject *buffer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char nbytes[] = "nbytes", *names[] = {nbytes, NULL};
    Py_ssize_t size;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:Buffer", names, &size))
        return NULL;
    if (size < 0)
        return PyErr_Format(PyExc_ValueError, "nbytes must be 0 or more, not %zd", size);
    lace_module *module = lace_module_of(type);
    lace_block *block;
    if (!lace_module_enter(module))
        return NULL;
    lace_status status = lace_block_create(lace_region_of_host(), (size_t)size, &block);
    lace_module_leave(module);
    if (status != LACE_OK)
        return PyErr_Format(PyExc_MemoryError, "no room for a Buffer of %zd bytes in the memory that workers share",
                            size);
    memset(lace_block_data(block), 0, (size_t)size);
    PyObject *self = lace_buffer_object(module, block, false);
    if (self == NULL)
        lace_block_destroy(block);
    return self;
}

static void buffer_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    buffer_object *self = (buffer_object *)object;
    PyObject_ClearWeakRefs(object);
    lace_block_destroy(self->block);
    type->tp_free(object);
    Py_DECREF(type);
}

static int buffer_get(PyObject *object, Py_buffer *view, int flags)
{
    buffer_object *self = (buffer_object *)object;
    if (!usable(self))
        return -1;
    int got = PyBuffer_FillInfo(view, object, lace_block_data(self->block), (Py_ssize_t)lace_block_size(self->block),
                                self->readonly, flags);
    self->exports += got == 0;
    return got;
}

static void buffer_release(PyObject *object, Py_buffer *view)
{
    (void)view;
    ((buffer_object *)object)->exports--;
}

static Py_ssize_t buffer_length(PyObject *object)
{
    buffer_object *self = (buffer_object *)object;
    return usable(self) ? (Py_ssize_t)lace_block_size(self->block) : -1;
}

static PyObject *buffer_nbytes(PyObject *object, void *unused)
{
    (void)unused;
    Py_ssize_t size = buffer_length(object);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

static PyObject *buffer_get_readonly(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((buffer_object *)object)->readonly);
}

static PyObject *buffer_freeze(PyObject *object, PyObject *unused)
{
    buffer_object *self = (buffer_object *)object;
    (void)unused;
    if (!usable(self))
        return NULL;
    if (!self->readonly) {
        if (self->moving)
            return PyErr_Format(PyExc_BufferError, "a Buffer cannot be frozen while it is being sent");
        if (self->exports > 0)
            return PyErr_Format(PyExc_BufferError, "a Buffer cannot be frozen while there are views of it that may "
                                                   "write: release() them, or leave their with-block, first");
        self->readonly = true;
        lace_block_freeze(self->block);
    }
    Py_RETURN_NONE;
}

static PyObject *buffer_repr(PyObject *object)
{
    buffer_object *self = (buffer_object *)object;
    if (self->block == NULL)
        return PyUnicode_FromString("<interlace.Buffer, sent>");
    return PyUnicode_FromFormat("<interlace.Buffer of %zu bytes>", lace_block_size(self->block));
}

bool lace_buffer_is_unseen(PyObject *object)
{
    if (((buffer_object *)object)->exports > 0)
        PyErr_SetString(PyExc_BufferError, "a Buffer cannot be sent while there are views of it: release() them, or "
                                           "leave their with-block, first");
    return ((buffer_object *)object)->exports == 0;
}

/* ---- travelling --------------------------------------------------------------------------------------- */

static PyObject *buffer_reduce(PyObject *object, PyObject *protocol)
{
    (void)protocol;
    if (!lace_encoding()) {
        return PyErr_Format(PyExc_TypeError,
                            "a Buffer cannot be pickled or copied: it travels in Interlace's own messages only");
    }
    buffer_object *self = (buffer_object *)object;
    if (!usable(self))
        return NULL;
    if (!self->readonly && !lace_buffer_is_unseen(object))
        return NULL;
    PyObject *out = PyPickleBuffer_FromObject(object);
    if (out == NULL)
        return NULL;
    /* One that can only be read is shared. */
    if (!self->readonly) {
        if (!lace_encode_moving(object)) {
            Py_DECREF(out);
            return NULL;
        }
        self->moving = true;
    }
    return Py_BuildValue("O(N)", lace_module_of(Py_TYPE(object))->rebuild_buffer, out);
}

bool lace_buffer_take(lace_module *module, PyObject *object, lace_block **ret_block)
{
    buffer_object *self = (buffer_object *)object;
    if (Py_TYPE(object) != module->buffer_type || self->block == NULL || self->sending || self->readonly ||
        self->exports > 0 || lace_block_share(self->block, ret_block) != LACE_OK)
        return false;
    self->moving = true;
    return true;
}

bool lace_buffer_moves(lace_module *module, PyObject *object)
{
    return object != NULL && Py_TYPE(object) == module->buffer_type && ((buffer_object *)object)->moving;
}

lace_status lace_buffer_share(PyObject *object, lace_block **ret_block)
{
    return lace_block_share(((buffer_object *)object)->block, ret_block);
}

void lace_buffer_begin_send(PyObject *object)
{
    ((buffer_object *)object)->sending = true;
}

void lace_buffer_end_send(PyObject *object, bool sent)
{
    buffer_object *self = (buffer_object *)object;
    self->moving = self->sending = false;
    if (sent) {
        lace_block_destroy(self->block);
        self->block = NULL;
    }
}

/* _buffer(pickle_buffer): the Buffer that an out-of-band buffer of a message is. */
/* A Buffer with the same contents; read-only when those are. */
static PyObject *copy_of(lace_module *module, PyObject *object)
{
    Py_buffer view;
    lace_block *block;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *buffer = NULL;
    if (lace_block_create(lace_region_of_host(), (size_t)view.len, &block) == LACE_OK) {
        memcpy(lace_block_data(block), view.buf, (size_t)view.len);
        buffer = lace_buffer_object(module, block, view.readonly);
        if (buffer == NULL)
            lace_block_destroy(block);
    } else {
        PyErr_Format(PyExc_MemoryError, "no room for %zd bytes in the memory that workers share", view.len);
    }
    PyBuffer_Release(&view);
    return buffer;
}

PyObject *lace_py_rebuild_buffer(PyObject *self, PyObject *argument)
{
    lace_module *module = lace_module_state(self);
    const Py_buffer *view = PyPickleBuffer_Check(argument) ? PyPickleBuffer_GetBuffer(argument) : NULL;
    if (PyBytes_CheckExact(argument) || PyByteArray_CheckExact(argument))
        return copy_of(module, argument); /* it came through a pipe */
    if (view == NULL || view->obj == NULL || Py_TYPE(view->obj) != module->buffer_type)
        return PyErr_Format(PyExc_ValueError, "a Buffer comes only out of a message");
    return Py_NewRef(view->obj);
}

/* ---- the type ----------------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    buffer_doc,
    "Buffer(nbytes)\n--\n\n"
    "Memory that can be sent to another worker without being copied, whatever its size.\n\n"
    "nbytes (int, from 0) zero bytes at first. Write to it through a memoryview (or numpy.frombuffer), "
    "release the\nview, and send the Buffer: from then on it is the receiver's, who gets a Buffer, and using "
    "it here raises\nValueError. Sending raises BufferError while a view of it is alive, MemoryError comes "
    "when the memory that\nworkers share is used up. freeze() has it read by all instead.\n\n"
    "    buffer = interlace.Buffer(1 << 20)\n"
    "    with memoryview(buffer) as view:\n"
    "        view[:5] = b'hello'\n"
    "    sender.send(buffer)");

PyDoc_STRVAR(
    freeze_doc,
    "freeze($self, /)\n--\n\n"
    "Make it read-only, for good: then it can be sent any number of times, and is shared, not moved.\n\n"
    "What lies on all of it, such as a numpy array or a memoryview, can be sent as well, and is not copied "
    "either:\nwho receives it reads the same memory. Raises BufferError while a view of it that may write is "
    "alive,\nValueError when it has been sent.\n\n"
    "    buffer = interlace.Buffer(8 << 20)\n"
    "    buffer.freeze()\n"
    "    sender.send(memoryview(buffer).cast('d', (1024, 1024)))");

static PyMethodDef buffer_methods[] = {
    {"freeze", buffer_freeze, METH_NOARGS, freeze_doc},
    {"__reduce_ex__", buffer_reduce, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef buffer_getset[] = {
    {"nbytes", buffer_nbytes, NULL, "Its size in bytes (int).", NULL},
    {"readonly", buffer_get_readonly, NULL, "Whether it can only be read (bool).", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef buffer_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(buffer_object, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot buffer_slots[] = {
    {Py_tp_new, buffer_new},
    {Py_tp_dealloc, buffer_dealloc},
    {Py_tp_repr, buffer_repr},
    {Py_tp_methods, buffer_methods},
    {Py_tp_getset, buffer_getset},
    {Py_tp_members, buffer_members},
    {Py_sq_length, buffer_length},
    {Py_bf_getbuffer, buffer_get},
    {Py_bf_releasebuffer, buffer_release},
    {Py_tp_doc, (void *)buffer_doc},
    {0, NULL},
};

static PyType_Spec buffer_spec = {"interlace.Buffer", sizeof(buffer_object), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, buffer_slots};

bool lace_buffers_ready(PyObject *module, lace_module *state)
{
    state->buffer_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &buffer_spec, NULL);
    state->rebuild_buffer = PyObject_GetAttrString(module, "_buffer");
    return state->buffer_type != NULL && state->rebuild_buffer != NULL &&
           PyModule_AddType(module, state->buffer_type) == 0;
}
