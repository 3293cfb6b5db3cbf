/* pyasync.c - what event loops need of ends: looks without waiting, posts, and the way to _asyncio.py. */
#include <stdlib.h>

#include "../channels/look.h"
#include "module.h"

/* ---- awaiting ------------------------------------------------------------------------------------------ */

/* The coroutine of a function of interlace._asyncio, which is imported when it is first needed. */
static PyObject *call_python(PyObject *self, int which, PyObject *argument)
{
    static const char *const names[LACE_ASYNC_CALLS] = {"receive", "send"};
    lace_module *module = lace_module_of(Py_TYPE(self));
    if (module->async_calls[which] == NULL) {
        PyObject *python = PyImport_ImportModule("interlace._asyncio");
        PyObject *function = python ? PyObject_GetAttrString(python, names[which]) : NULL;
        Py_XDECREF(python);
        if (function == NULL)
            return NULL;
        Py_XSETREF(module->async_calls[which], function);
    }
    PyObject *args[] = {self, argument};
    return PyObject_Vectorcall(module->async_calls[which], args, 2, NULL);
}

PyObject *lace_receiver_recv_async(PyObject *self, PyObject *unused)
{
    (void)unused;
    return call_python(self, 0, Py_False);
}

PyObject *lace_receiver_anext(PyObject *self)
{
    return call_python(self, 0, Py_True);
}

PyObject *lace_sender_send_async(PyObject *self, PyObject *obj)
{
    return call_python(self, 1, obj);
}

static bool worker_cancelled(lace_module *module)
{
    return module->worker != NULL && lace_scope_cancelled(module->worker->scope);
}

/* What an event loop waits for is cancelled by the worker's scope; that of a group is _asyncio.py's to watch. */
static PyObject *raise_cancelled(lace_module *module)
{
    if (module->worker == lace_worker_current())
        module->worker->told = true; /* see wait.c */
    return lace_raise(module, LACE_CANCELLED, "", "");
}

static PyObject *receive_now(PyObject *self, PyObject *nothing, bool asked_before)
{
    lace_module *module = lace_module_of(Py_TYPE(self));
    lace_message *message = lace_message_borrow(module);
    if (message == NULL)
        return NULL;
    const lace_wait now = {.deadline = LACE_NOW};
    lace_receiver *receiver = lace_object_receiver(self);
    lace_status status = asked_before ? lace_receiver_serve(receiver, message) : lace_recv(receiver, message, &now);
    PyObject *object = NULL;
    if (status == LACE_OK)
        object = lace_decode_message(module, message, 0);
    else if (status == LACE_TIMEOUT && worker_cancelled(module))
        raise_cancelled(module);
    else if (status == LACE_TIMEOUT)
        object = Py_NewRef(nothing);
    else
        lace_raise(module, status, "recv_async on", lace_receiver_name(receiver));
    lace_message_return(module, message);
    return object;
}

/* _recv_now(nothing): the next object, or `nothing` when there is none. Does not wait. */
PyObject *lace_receiver_recv_now(PyObject *self, PyObject *nothing)
{
    return receive_now(self, nothing, false);
}

/* _serve_now(nothing): the same, for a task that asked before; other tasks may have had messages since. */
PyObject *lace_receiver_serve_now(PyObject *self, PyObject *nothing)
{
    return receive_now(self, nothing, true);
}

/* ---- posts --------------------------------------------------------------------------------------------- */

typedef struct post_object {
    PyObject_HEAD
    PyObject *sender; /* which has to outlive the post */
    lace_post *post;
    lace_encoded encoded; /* until there is a result */
    bool ended;
} post_object;

static void end_post(post_object *self, bool sent)
{
    if (!self->ended) {
        self->ended = true;
        lace_encoded_finish(&self->encoded, sent);
    }
}

static int post_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((post_object *)self)->sender);
    return 0;
}

static void post_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    post_object *self = (post_object *)object;
    PyObject_GC_UnTrack(object);
    if (self->post != NULL) {
        end_post(self, lace_post_withdraw(self->post) == LACE_OK);
        lace_post_destroy(self->post);
    }
    Py_XDECREF(self->sender);
    type->tp_free(object);
    Py_DECREF(type);
}

/* _post(obj): None when it has been sent; else a Post that waits in line. Does not wait. */
PyObject *lace_sender_post(PyObject *sender, PyObject *obj)
{
    lace_module *module = lace_module_of(Py_TYPE(sender));
    post_object *self = (post_object *)module->post_type->tp_alloc(module->post_type, 0);
    if (self == NULL)
        return NULL;
    self->ended = true; /* nothing to let go of yet */
    if (!lace_encode_for(module, lace_object_sender(sender), obj, &self->encoded)) {
        Py_DECREF(self);
        return NULL;
    }
    self->ended = false;
    lace_payload payload = lace_encoded_payload(&self->encoded);
    lace_status status = lace_post_send(lace_object_sender(sender), &payload, &self->post);
    if (status == LACE_TIMEOUT && worker_cancelled(module)) /* as for send(): it may not wait any more */
        status = lace_post_withdraw(self->post);
    if (status == LACE_TIMEOUT) {
        self->sender = Py_NewRef(sender);
        return (PyObject *)self;
    }
    end_post(self, status == LACE_OK);
    Py_DECREF(self);
    if (status == LACE_CANCELLED)
        return raise_cancelled(module);
    if (status != LACE_OK)
        return lace_raise(module, status, "send_async on", lace_sender_name(lace_object_sender(sender)));
    Py_RETURN_NONE;
}

/* result(): whether it has been sent (bool); raises what send() would. */
static PyObject *post_result(PyObject *object, PyObject *unused)
{
    (void)unused;
    post_object *self = (post_object *)object;
    lace_status status = lace_post_result(self->post);
    if (status == LACE_TIMEOUT)
        Py_RETURN_FALSE;
    end_post(self, status == LACE_OK);
    if (status != LACE_OK)
        return lace_raise(lace_module_of(Py_TYPE(object)), status, "send_async on",
                          lace_sender_name(lace_object_sender(self->sender)));
    Py_RETURN_TRUE;
}

/* ended(): whether there is a result (bool), whatever it is. */
static PyObject *post_ended(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(lace_post_result(((post_object *)object)->post) != LACE_TIMEOUT);
}

/* withdraw(): whether it has been sent before (bool); if not, it never will be. */
static PyObject *post_withdraw(PyObject *object, PyObject *unused)
{
    (void)unused;
    post_object *self = (post_object *)object;
    bool sent = lace_post_withdraw(self->post) == LACE_OK;
    end_post(self, sent);
    return PyBool_FromLong(sent);
}

/* _posts_fd(): see channel.h. */
PyObject *lace_sender_posts_fileno(PyObject *sender, PyObject *unused)
{
    (void)unused;
    int fd;
    lace_status status = lace_sender_posts_fd(lace_object_sender(sender), &fd);
    if (status != LACE_OK)
        return lace_raise(lace_module_of(Py_TYPE(sender)), status, "send_async on",
                          lace_sender_name(lace_object_sender(sender)));
    return PyLong_FromLong(fd);
}

static PyMethodDef post_methods[] = {
    {"result", post_result, METH_NOARGS, NULL},
    {"ended", post_ended, METH_NOARGS, NULL},
    {"withdraw", post_withdraw, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot post_slots[] = {
    {Py_tp_dealloc, post_dealloc},
    {Py_tp_traverse, post_traverse},
    {Py_tp_methods, post_methods},
    {Py_tp_doc, (void *)"A send that waits in line while nobody waits with it."},
    {0, NULL},
};

static PyType_Spec post_spec = {"interlace.Post", sizeof(post_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                    Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                post_slots};

bool lace_async_ready(PyObject *module, lace_module *state)
{
    state->post_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &post_spec, NULL);
    return state->post_type != NULL;
}
