/* pyworker.c - the Worker type, spawning, and scopes as Python sees them. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"
#include "process.h"
#include "restart.h"

typedef struct worker_object {
    PyObject_HEAD
    lace_worker *worker;   /* counted */
    lace_holding *outcome; /* the receiver of what became of it, linked among the open ends; NULL: current_worker() */
    int asking;            /* threads inside _outcome() */
    PyObject *cached;      /* the outcome once it has come: (tag, object) */
    PyObject *weakrefs;
} worker_object;

typedef struct scope_object {
    PyObject_HEAD
    lace_scope *scope; /* counted */
    bool entered;
} scope_object;

static lace_module *module_of(PyObject *self)
{
    return lace_module_of(Py_TYPE(self));
}

lace_worker *lace_object_worker(PyObject *object)
{
    return ((worker_object *)object)->worker;
}

lace_receiver *lace_object_outcome(PyObject *object)
{
    lace_holding *outcome = ((worker_object *)object)->outcome;
    return outcome ? outcome->receiver : NULL;
}

/* ---- spawning ----------------------------------------------------------------------------------------- */

static char *copy(const char *data, size_t size)
{
    char *made = malloc(size ? size : 1);
    if (made != NULL && size > 0)
        memcpy(made, data, size);
    return made;
}

/* Both pickles of a job; NULL with an exception set. The body is a message, with all that may travel in one; the head is
 * a plain pickle, which its being large does not change. */
static lace_job *make_job(lace_module *module, PyObject *head, PyObject *body)
{
    lace_encoded first, second;
    if (!lace_encode(module, head, &first))
        return NULL;
    if (!lace_encode(module, body, &second)) {
        lace_encoded_finish(&first, false);
        return NULL;
    }
    lace_job *job = calloc(1, sizeof *job);
    if (job != NULL) {
        const lace_block *large = first.count > 0 ? first.attachments[0].as.block : NULL;
        job->head_size = large ? lace_block_size(large) : first.buffer.size;
        job->head = copy(large ? lace_block_data(large) : first.buffer.data, job->head_size);
        job->body_size = second.buffer.size;
        job->body = copy(second.buffer.data, second.buffer.size);
        job->attachments = malloc((second.count ? second.count : 1) * sizeof *job->attachments);
        if (job->head == NULL || job->body == NULL || job->attachments == NULL) {
            lace_job_destroy(job);
            job = NULL;
        } else if (second.count > 0) {
            memcpy(job->attachments, second.attachments, second.count * sizeof *job->attachments);
            job->attachment_count = second.count;
        }
    }
    lace_encoded_finish(&first, false);
    lace_encoded_finish(&second, job != NULL);
    if (job == NULL)
        PyErr_NoMemory();
    return job;
}

static PyObject *make_worker_object(lace_module *module, lace_worker *worker, lace_holding *outcome)
{
    worker_object *self = (worker_object *)module->worker_type->tp_alloc(module->worker_type, 0);
    if (self == NULL)
        return NULL;
    self->worker = worker;
    self->outcome = outcome;
    if (outcome != NULL) {
        outcome->prev = module->ends->prev;
        outcome->next = module->ends;
        outcome->prev->next = outcome->next->prev = outcome;
    }
    return (PyObject *)self;
}

PyObject *lace_worker_object(lace_module *module, lace_worker *worker, lace_receiver *outcome)
{
    lace_holding *holding = calloc(1, sizeof *holding);
    if (holding == NULL || lace_receiver_clone(outcome, &holding->receiver) != LACE_OK) {
        free(holding);
        return PyErr_NoMemory();
    }
    PyObject *object = make_worker_object(module, lace_worker_ref(worker), holding);
    if (object == NULL) {
        lace_receiver_destroy(holding->receiver);
        free(holding);
        lace_worker_unref(worker);
    }
    return object;
}

/* The strings of a tuple, NULL-ended, each borrowed from it. NULL with an exception set. */
static const char **strings_of(PyObject *tuple)
{
    Py_ssize_t count = PyTuple_Check(tuple) ? PyTuple_GET_SIZE(tuple) : 0;
    const char **strings = calloc((size_t)count + 1, sizeof *strings);
    if (strings == NULL)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; strings != NULL && i < count; i++) {
        strings[i] = PyUnicode_AsUTF8(PyTuple_GET_ITEM(tuple, i));
        if (strings[i] == NULL) {
            free(strings);
            return NULL;
        }
    }
    return strings;
}

/* _spawn(head, body, name, index, count, scope, kept=False, settings=None, restart=None): with settings, in a process of its
 * own: () is for as this one's Python is, else the path of python and its options. restart: (attempts, within, backoff). */
PyObject *lace_py_spawn(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"head", "body", "name", "index", "count", "scope", "kept", "settings", "restart", NULL};
    PyObject *given[9];
    if (!lace_arguments("_spawn", args, nargs, kwnames, names, 6, 9, given))
        return NULL;
    lace_module *module = lace_module_state(self);
    if (Py_TYPE(given[5]) != module->scope_type)
        return PyErr_Format(PyExc_TypeError, "scope must be a Scope");
    lace_spawn_options options = {
        .name = lace_name_of(given[2], "name"),
        .index = (unsigned)PyLong_AsUnsignedLong(given[3]),
        .count = (unsigned)PyLong_AsUnsignedLong(given[4]),
        .parent = ((scope_object *)given[5])->scope,
        .fails_parent = true,
        .quiet = true,
        .kept = given[6] == Py_True,
        .process = given[7] != NULL && given[7] != Py_None,
    };
    lace_restart_policy policy;
    if (given[8] != NULL && given[8] != Py_None) {
        if (!PyArg_ParseTuple(given[8], "Idd", &policy.attempts, &policy.within, &policy.backoff))
            return NULL;
        options.restart = &policy;
    }
    if (PyErr_Occurred())
        return NULL;
    const char **settings = NULL;
    if (options.process) {
        settings = strings_of(given[7]);
        if (settings == NULL)
            return NULL;
        options.settings = settings[0] != NULL ? settings : NULL;
    }
    lace_holding *holding = calloc(1, sizeof *holding);
    lace_job *job = holding ? make_job(module, given[0], given[1]) : (lace_job *)PyErr_NoMemory();
    if (job == NULL || !lace_module_enter(module)) {
        lace_job_destroy(job);
        free(holding);
        free(settings);
        return NULL;
    }
    lace_worker *worker;
    const char *error;
    if (options.process) {
        Py_BEGIN_ALLOW_THREADS
        error = lace_worker_spawn(&options, job, &worker, &holding->receiver);
        Py_END_ALLOW_THREADS
    } else {
        error = lace_worker_spawn(&options, job, &worker, &holding->receiver);
    }
    free(settings);
    lace_module_leave(module);
    if (error != NULL) {
        lace_job_destroy(job);
        free(holding);
        return PyErr_Format(PyExc_RuntimeError, "worker '%U' cannot be started: %s", given[2], error);
    }
    PyObject *object = make_worker_object(module, worker, holding);
    if (object == NULL) { /* it runs, but nobody will ever ask it */
        lace_scope_cancel(worker->scope);
        lace_receiver_destroy(holding->receiver);
        free(holding);
        lace_worker_unref(worker);
    }
    return object;
}

PyObject *lace_py_current_worker(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_module *module = lace_module_state(self);
    if (module->worker == NULL)
        return PyErr_Format(PyExc_RuntimeError, "this is not a worker");
    PyObject *object = make_worker_object(module, lace_worker_ref(module->worker), NULL);
    if (object == NULL)
        lace_worker_unref(module->worker);
    return object;
}

/* An end that was given to the worker is closed for good, unless its code is on its way out with an exception: what the next
 * attempt gets the end for. */
void lace_note_closed(const lace_module *module, lace_holding *held)
{
    if (held->given == 0 || module->worker == NULL)
        return;
    PyObject *handled = PyErr_GetHandledException();
    Py_XDECREF(handled);
    if (handled != NULL)
        return;
    size_t index = held->given - 1;
    held->given = 0;
    if (module->worker->restart != NULL)
        lace_restart_drop_end(module->worker->restart, index);
    else
        lace_child_say_closed(module->worker, index);
}

/* ---- asking a worker ---------------------------------------------------------------------------------- */

static int worker_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((worker_object *)self)->cached);
    return 0;
}

static int worker_clear(PyObject *self)
{
    Py_CLEAR(((worker_object *)self)->cached);
    return 0;
}

static void worker_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    worker_object *object = (worker_object *)self;
    PyObject_GC_UnTrack(self);
    PyObject_ClearWeakRefs(self);
    worker_clear(self);
    if (object->outcome != NULL) {
        lace_select_forget(module_of(self), self);
        object->outcome->prev->next = object->outcome->next;
        object->outcome->next->prev = object->outcome->prev;
        lace_receiver_destroy(object->outcome->receiver);
        free(object->outcome);
    }
    lace_worker_unref(object->worker);
    type->tp_free(self);
    Py_DECREF(type);
}

/* _outcome(timeout=None): (tag, object) once there is one; the tag is that of _bootstrap.py, or b'' for a worker that
 * ended without a word. Raises TimeoutError. */
static PyObject *worker_outcome(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    worker_object *object = (worker_object *)self;
    lace_module *module = module_of(self);
    if (object->outcome == NULL)
        return PyErr_Format(PyExc_RuntimeError, "a worker cannot wait for its own result");
    if (object->cached != NULL)
        return Py_NewRef(object->cached);
    lace_pywait LACE_AUTO(wait);
    if (!lace_pywait_init(&wait, module, nargs > 0 ? args[0] : NULL))
        return NULL;
    lace_message *message = lace_message_borrow(module);
    if (message == NULL)
        return NULL;
    lace_pywait_on_worker(&wait, LACE_AWAITS_RESULT, object->worker, object->outcome->receiver);
    object->asking++;
    lace_status status;
    do
        status = lace_pywait_done(&wait, lace_recv(object->outcome->receiver, message, &wait.wait));
    while (status == LACE_INTERRUPTED);
    PyObject *outcome = NULL;
    /* Another thread may have taken the outcome and be unpickling it. */
    while (status == LACE_END && object->cached == NULL && object->asking > 1) {
        Py_BEGIN_ALLOW_THREADS
        sched_yield();
        Py_END_ALLOW_THREADS
    }
    if (object->cached != NULL) { /* another thread was first */
        outcome = Py_NewRef(object->cached);
    } else if (status == LACE_OK && lace_message_size(message) > 0) {
        PyObject *value = lace_decode_message(module, message, 1);
        if (value == NULL) {
            PyObject *raised = PyErr_GetRaisedException();
            outcome = Py_BuildValue("(yN)", "U", raised); /* the result does not unpickle here */
        } else {
            outcome = Py_BuildValue("(y#N)", (const char *)lace_message_data(message), (Py_ssize_t)1, value);
        }
    } else if (status == LACE_END || status == LACE_OK) {
        outcome = Py_BuildValue("(yO)", "", Py_None);
    } else if (status == LACE_TIMEOUT) {
        PyErr_Format(PyExc_TimeoutError, "worker '%s' has no result yet", object->worker->name);
    } else {
        lace_raise(module, status, "the result of", object->worker->name);
    }
    lace_message_return(module, message);
    if (outcome != NULL && object->cached == NULL)
        object->cached = Py_NewRef(outcome);
    object->asking--;
    return outcome;
}

/* _keep(outcome): what _outcome() returns from now on. */
static PyObject *worker_keep(PyObject *self, PyObject *outcome)
{
    Py_XSETREF(((worker_object *)self)->cached, Py_NewRef(outcome));
    Py_RETURN_NONE;
}

/* _join(): waits until the worker has ended, whatever is cancelled meanwhile (the grace period bounds it). None; or the
 * exception that says why it cannot be waited for. Where Python is not ours, a signal handler's exception is raised. */
static PyObject *worker_join(PyObject *self, PyObject *unused)
{
    (void)unused;
    worker_object *object = (worker_object *)self;
    if (object->outcome == NULL)
        return PyErr_Format(PyExc_RuntimeError, "a worker cannot wait for its own end");
    lace_case ended = {.kind = LACE_CASE_ENDED, .receiver = object->outcome->receiver};
    lace_status status;
    size_t index;
    /* Not in a finaliser, though: the interpreter that ends holds what the other worker needs to end. */
    lace_worker *own = module_of(self)->worker;
    lace_pywait LACE_AUTO(wait);
    lace_pywait_init(&wait, module_of(self), NULL);
    lace_scope_unref(wait.scope);
    wait.scope = NULL;
    wait.wait.cancel = NULL;
    wait.unheeding = true;
    if (own != NULL && atomic_load(&own->state) == LACE_WORKER_ENDING)
        wait.wait.cancel = lace_scope_cancel_token(own->scope);
    lace_pywait_on_worker(&wait, LACE_AWAITS_END, object->worker, object->outcome->receiver);
    do
        status = lace_select(&ended, 1, 0, &wait.wait, &index);
    while ((own == NULL || wait.interrupt.fired) && (status = lace_pywait_done(&wait, status)) == LACE_INTERRUPTED);
    if (status == LACE_OK)
        Py_RETURN_NONE;
    lace_raise(module_of(self), status, "the end of", object->worker->name);
    return status == LACE_RAISED ? NULL : PyErr_GetRaisedException();
}

static PyObject *worker_done(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(atomic_load(&((worker_object *)self)->worker->state) == LACE_WORKER_ENDED);
}

static PyObject *worker_cancel(PyObject *self, PyObject *unused)
{
    (void)unused;
    const lace_worker *worker = ((worker_object *)self)->worker;
    if (!lace_scope_cancelled(worker->scope))
        lace_child_say_cancelled(worker);
    lace_scope_cancel(worker->restart != NULL ? lace_restart_scope(worker->restart) : worker->scope);
    Py_RETURN_NONE;
}

static PyObject *worker_cancelled(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(lace_scope_cancelled(((worker_object *)self)->worker->scope));
}

/* _at(number): whether it is at that call right now; _revoke(number, interrupt): likewise, see numbered.c. */
static PyObject *worker_at(PyObject *self, PyObject *number_object)
{
    unsigned long long number = PyLong_AsUnsignedLongLong(number_object);
    if (PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(lace_numbered_at(((worker_object *)self)->worker, number));
}

static PyObject *worker_revoke(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2)
        return PyErr_Format(PyExc_TypeError, "_revoke() takes a number and a bool");
    unsigned long long number = PyLong_AsUnsignedLongLong(args[0]);
    bool noted;
    if (PyErr_Occurred())
        return NULL;
    if (!lace_numbered_revoke(((worker_object *)self)->worker, number, args[1] == Py_True, &noted))
        return PyErr_NoMemory();
    return PyBool_FromLong(noted);
}

/* _failed(): whether it has failed; its outcome says how, or is about to. */
static PyObject *worker_failed(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(atomic_load(&((worker_object *)self)->worker->failed));
}

static PyObject *worker_get_name(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(((worker_object *)self)->worker->name);
}

static PyObject *worker_get_id(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((worker_object *)self)->worker->id);
}

static PyObject *worker_get_index(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(((worker_object *)self)->worker->index);
}

static PyObject *worker_get_restarts(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(atomic_load(&((worker_object *)self)->worker->restarts));
}

static PyObject *worker_get_count(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(((worker_object *)self)->worker->count);
}

static PyObject *worker_repr(PyObject *self)
{
    lace_worker *worker = ((worker_object *)self)->worker;
    static const char *const states[] = {"starting", "running", "ending", "ended", "restarting"};
    return PyUnicode_FromFormat("<interlace.Worker '%s', %s>", worker->name, states[atomic_load(&worker->state)]);
}

static PyObject *worker_reduce(PyObject *self, PyObject *protocol)
{
    (void)protocol;
    return PyErr_Format(PyExc_TypeError, "%R cannot be pickled or copied: it stays with the worker that started it",
                        self);
}

/* ---- scopes ------------------------------------------------------------------------------------------- */

/* Scope(): below what is current in this thread; Scope(parent): below that one, None for the worker's own; Scope(True):
 * below nothing but the host. */
static PyObject *scope_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *given = NULL;
    lace_module *module = lace_module_of(type);
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) || !PyArg_UnpackTuple(args, "Scope", 0, 1, &given))
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "Scope() takes no keyword arguments");
    bool below = given != NULL && Py_TYPE(given) == module->scope_type;
    if (given != NULL && !below && given != Py_None && given != Py_True)
        return PyErr_Format(PyExc_TypeError, "parent must be a Scope, None or True");
    lace_scope *parent = below              ? ((scope_object *)given)->scope
                         : given == NULL    ? lace_scope_current()
                         : given == Py_True ? lace_host_scope()
                                            : NULL;
    if (parent == NULL)
        parent = module->worker ? module->worker->scope : lace_host_scope();
    scope_object *self = (scope_object *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->scope = lace_scope_create(parent);
    if (self->scope == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void scope_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    scope_object *self = (scope_object *)object;
    lace_scope_unref(self->scope);
    type->tp_free(object);
    Py_DECREF(type);
}

/* enter(): the waits of this thread are cancelled by this scope from now on. */
static PyObject *scope_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    scope_object *self = (scope_object *)object;
    if (self->entered)
        return PyErr_Format(PyExc_RuntimeError, "the scope has been entered already");
    self->entered = true;
    lace_scope_enter(self->scope);
    Py_RETURN_NONE;
}

static PyObject *scope_exit(PyObject *object, PyObject *unused)
{
    (void)unused;
    if (((scope_object *)object)->entered)
        lace_scope_exit(((scope_object *)object)->scope);
    Py_RETURN_NONE;
}

static PyObject *scope_cancel(PyObject *object, PyObject *unused)
{
    (void)unused;
    lace_scope_cancel(((scope_object *)object)->scope);
    Py_RETURN_NONE;
}

static PyObject *scope_cancelled(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(lace_scope_cancelled(((scope_object *)object)->scope));
}

/* fileno(): a descriptor that polls readable once the scope is cancelled. */
static PyObject *scope_fileno(PyObject *object, PyObject *unused)
{
    (void)unused;
    int fd;
    lace_status status = lace_cancel_fd(lace_scope_cancel_token(((scope_object *)object)->scope), &fd);
    if (status != LACE_OK)
        return lace_raise(lace_module_of(Py_TYPE(object)), status, "watching", "a scope");
    return PyLong_FromLong(fd);
}

/* ---- the types ---------------------------------------------------------------------------------------- */

static PyMethodDef worker_methods[] = {
    {"_outcome", (PyCFunction)(void (*)(void))worker_outcome, METH_FASTCALL, NULL},
    {"_keep", worker_keep, METH_O, NULL},
    {"_join", worker_join, METH_NOARGS, NULL},
    {"_cancelled", worker_cancelled, METH_NOARGS, NULL},
    {"_at", worker_at, METH_O, NULL},
    {"_revoke", (PyCFunction)(void (*)(void))worker_revoke, METH_FASTCALL, NULL},
    {"_failed", worker_failed, METH_NOARGS, NULL},
    {"done", worker_done, METH_NOARGS,
     "done($self, /)\n--\n\nWhether the worker has ended (bool), in whatever way.\n\n"
     "    interlace.select(worker)\n"
     "    print(worker.done())               # True"},
    {"cancel", worker_cancel, METH_NOARGS,
     "cancel($self, /)\n--\n\n"
     "Cancel the worker: its current and later waits raise Cancelled, and so does its running bytecode, once.\n\n"
     "Returns at once. One that does not end within the grace period ends the process, with its name on stderr.\n\n"
     "    _, receiver = interlace.channel(0)\n"
     "    with interlace.Group() as group:\n"
     "        worker = group.start(next, receiver)   # waits for a message\n"
     "        worker.cancel()\n"
     "    print(worker.done())               # True"},
    {"__reduce_ex__", worker_reduce, METH_O, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef worker_getset[] = {
    {"name", worker_get_name, NULL, "The worker's name (str), unique only if you make it so.", NULL},
    {"id", worker_get_id, NULL, "The worker's number (int), never used twice in one process.", NULL},
    {"index", worker_get_index, NULL, "Which of its replicas it is (int), from 0.", NULL},
    {"count", worker_get_count, NULL, "How many replicas there are (int).", NULL},
    {"restarts", worker_get_restarts, NULL, "How often it has been started anew so far (int): see Restart.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef worker_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(worker_object, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot worker_slots[] = {
    {Py_tp_dealloc, worker_dealloc},
    {Py_tp_traverse, worker_traverse},
    {Py_tp_clear, worker_clear},
    {Py_tp_repr, worker_repr},
    {Py_tp_methods, worker_methods},
    {Py_tp_getset, worker_getset},
    {Py_tp_members, worker_members},
    {Py_tp_doc, (void *)"A worker: one thread with an interpreter of its own, started by Group.start().\n\n"
                        "It may stand as a case in select(), which it satisfies once it has ended.\n\n"
                        "    with interlace.Group() as group:\n"
                        "        worker = group.start(sorted, 'cab', name='sorter')\n"
                        "        print(worker.name, worker.result())    # sorter ['a', 'b', 'c']"},
    {0, NULL},
};

static PyType_Spec worker_spec = {"interlace.Worker", sizeof(worker_object), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                  worker_slots};

static PyMethodDef scope_methods[] = {
    {"enter", scope_enter, METH_NOARGS, NULL},   {"exit", scope_exit, METH_NOARGS, NULL},
    {"cancel", scope_cancel, METH_NOARGS, NULL}, {"cancelled", scope_cancelled, METH_NOARGS, NULL},
    {"fileno", scope_fileno, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL},
};

static PyType_Slot scope_slots[] = {
    {Py_tp_new, scope_new},
    {Py_tp_dealloc, scope_dealloc},
    {Py_tp_methods, scope_methods},
    {Py_tp_doc, (void *)"A cancel scope, below the one that is current in the thread that makes it."},
    {0, NULL},
};

static PyType_Spec scope_spec = {"_interlace.Scope", sizeof(scope_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, scope_slots};

bool lace_workers_ready(PyObject *module, lace_module *state)
{
    state->worker_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &worker_spec, NULL);
    return state->worker_type != NULL && PyModule_AddType(module, state->worker_type) == 0;
}

bool lace_scopes_ready(PyObject *module, lace_module *state)
{
    state->scope_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &scope_spec, NULL);
    return state->scope_type != NULL && PyModule_AddType(module, state->scope_type) == 0;
}
