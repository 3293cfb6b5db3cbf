/* module.c - the module _interlace: its state, its functions, and a worker's way into Python. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"
#include "module.h"
#include "process.h"
#include "pyvalue.h"

lace_module *lace_module_state(PyObject *module)
{
    return PyModule_GetState(module);
}

lace_module *lace_module_of(PyTypeObject *type)
{
    return PyType_GetModuleState(type);
}

/* ---- what a worker's bootstrap asks ------------------------------------------------------------------- */

/* The worker this interpreter belongs to, or NULL with an exception set. */
static lace_worker *own_worker(PyObject *self)
{
    lace_worker *worker = lace_module_state(self)->worker;
    if (worker == NULL)
        PyErr_SetString(PyExc_RuntimeError, "this is not a worker");
    return worker;
}

static PyObject *py_head(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_worker *worker = own_worker(self);
    return worker ? lace_decode_bytes(lace_module_state(self), worker->job->head, worker->job->head_size) : NULL;
}

static PyObject *py_body(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_worker *worker = own_worker(self);
    return worker ? lace_decode_job(lace_module_state(self), worker->job) : NULL;
}

/* _stage(): (input, output) of a pipe's stage, each an end or None; the second call gives None for both. None while there is no
 * job. */
static PyObject *py_stage(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_module *module = lace_module_state(self);
    lace_worker *worker = own_worker(self);
    if (worker == NULL)
        return NULL;
    if (worker->job == NULL) /* a spare, which may have a job one day */
        Py_RETURN_NONE;
    PyObject *input = Py_None, *output = Py_None;
    if (worker->job->input != NULL) {
        input = lace_receiver_object(module, worker->job->input);
        if (input == NULL)
            return NULL;
        worker->job->input = NULL;
    }
    if (worker->job->output != NULL) {
        output = lace_sender_object(module, worker->job->output);
        if (output == NULL) {
            Py_DECREF(input);
            return NULL;
        }
        worker->job->output = NULL;
    }
    return Py_BuildValue("NN", input, output);
}

/* _want_stdin(): somebody asked for this stage's input; if that is standard input, it is read from now on. */
static PyObject *py_want_stdin(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_worker *worker = own_worker(self);
    if (worker == NULL)
        return NULL;
    if (worker->job != NULL && worker->job->input_is_lines) {
        if (lace_child_is())
            lace_child_want_lines(); /* its host reads them */
        else
            lace_lines_want(lace_stdin_lines);
    }
    Py_RETURN_NONE;
}

/* _ready(): user code is about to run; raises Cancelled when the worker has been cancelled already. */
static PyObject *py_ready(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_worker *worker = own_worker(self);
    if (worker == NULL)
        return NULL;
    atomic_store(&worker->state, LACE_WORKER_RUNNING);
    lace_child_say_ready(worker);
    if (worker->life != NULL && atomic_load(&worker->life->tally->ready) == 0)
        atomic_store(&worker->life->tally->ready, lace_clock());
    if (lace_scope_cancelled(worker->scope)) {
        worker->told = true;
        return lace_raise(lace_module_state(self), LACE_CANCELLED, "", "");
    }
    Py_RETURN_NONE;
}

/* _heed(): raises Cancelled when what this thread waits under has been cancelled. */
static PyObject *py_heed(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_module *module = lace_module_state(self);
    lace_worker *worker = module->worker;
    lace_scope *scope = lace_scope_current();
    if (scope == NULL && worker != NULL)
        scope = worker->scope;
    if (scope == NULL || !lace_scope_cancelled(scope))
        Py_RETURN_NONE;
    if (worker != NULL && worker == lace_worker_current() && lace_scope_cancelled(worker->scope))
        worker->told = true; /* see wait.c */
    return lace_raise(module, LACE_CANCELLED, "", "");
}

static PyObject *py_is_cancelled(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_worker *worker = own_worker(self);
    return worker ? PyBool_FromLong(lace_scope_cancelled(worker->scope)) : NULL;
}

static PyObject *py_finish(PyObject *self, PyObject *args)
{
    const char *tag;
    Py_ssize_t tag_size;
    PyObject *object;
    if (!PyArg_ParseTuple(args, "y#O", &tag, &tag_size, &object))
        return NULL;
    lace_worker *worker = own_worker(self);
    lace_encoded encoded;
    if (worker != NULL && tag[0] == 'C' && lace_child_dies(worker))
        Py_RETURN_NONE; /* its death says more */
    if (worker == NULL || !lace_encode(lace_module_state(self), object, &encoded))
        return NULL;
    lace_payload payload = lace_encoded_payload(&encoded);
    char *data = malloc(payload.size + 1);
    lace_status status = LACE_NOMEM;
    if (data != NULL) {
        data[0] = tag[0];
        if (payload.size > 0)
            memcpy(data + 1, payload.data, payload.size);
        payload.data = data;
        payload.size++;
        /* Never full: this is the channel's one message. BROKEN: nobody will ask. */
        status = lace_send(worker->outcome, &payload, &(lace_wait){.deadline = LACE_NOW});
        if (status == LACE_OK)
            lace_child_say_told(worker);
    }
    free(data);
    lace_encoded_finish(&encoded, status == LACE_OK);
    if (status != LACE_OK && status != LACE_BROKEN)
        return lace_raise(lace_module_state(self), status, "the outcome of", worker->name);
    Py_RETURN_NONE;
}

/* _fail(why): whether the worker is started anew; see lace_worker_fail. None for NULL there. */
static PyObject *py_fail(PyObject *self, PyObject *why)
{
    lace_worker *worker = own_worker(self);
    const char *phrase = worker != NULL && why != Py_None ? PyUnicode_AsUTF8(why) : NULL;
    if (worker == NULL || (phrase == NULL && why != Py_None))
        return NULL;
    return PyBool_FromLong(lace_worker_fail(worker, phrase));
}

static PyObject *py_exit_code(PyObject *self, PyObject *code_object)
{
    lace_worker *worker = own_worker(self);
    long code = PyLong_AsLong(code_object);
    if (worker == NULL || (code == -1 && PyErr_Occurred()))
        return NULL;
    atomic_store(&worker->exit_code, (int)(code & 0xff));
    Py_RETURN_NONE;
}

static PyObject *py_is_quiet(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_worker *worker = own_worker(self);
    return worker ? PyBool_FromLong(atomic_load(&worker->quiet)) : NULL;
}

bool lace_module_enter(lace_module *module)
{
    if (module->worker != NULL || lace_host_use())
        return true;
    PyErr_SetString(PyExc_RuntimeError, "the host has been closed: nothing can be made in it any more");
    return false;
}

void lace_module_leave(lace_module *module)
{
    if (module->worker == NULL)
        lace_host_leave();
}

/* _interrupt_threads(): Cancelled for every other thread of this interpreter. */
static PyObject *py_interrupt_threads(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_interrupt_threads(PyThread_get_thread_ident(), lace_module_state(self)->cancelled);
    Py_RETURN_NONE;
}

/* _output_is_taken(): the application takes what is printed, whatever the descriptors are. */
static PyObject *py_output_is_taken(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyBool_FromLong(lace_output_is_taken());
}

/* Its time is one of waiting: for whoever reads standard output. */
static int write_out(lace_worker *worker, int fd, const char *data, size_t size)
{
    bool own = fd == 1 && worker != NULL && worker == lace_worker_current();
    int64_t started = own ? lace_clock() : 0;
    if (own)
        lace_meter_begin(LACE_FOR_OUTPUT, started);
    int error = lace_output_write(worker, fd, data, size);
    if (own)
        lace_life_wrote(worker->life, size, started);
    return error;
}

/* _write(fd, bytes): whole lines to stdout (1) or stderr (2). */
static PyObject *py_write(PyObject *self, PyObject *args)
{
    int fd;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "iy*", &fd, &buffer))
        return NULL;
    lace_module *module = lace_module_state(self);
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = write_out(module->worker, fd, buffer.buf, (size_t)buffer.len);
    Py_END_ALLOW_THREADS
    Py_ssize_t size = buffer.len;
    PyBuffer_Release(&buffer);
    if (error == ECANCELED) {
        if (module->worker != NULL && module->worker == lace_worker_current())
            module->worker->told = true; /* see wait.c */
        return lace_raise(module, LACE_CANCELLED, "", "");
    }
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromSsize_t(size);
}

/* _last_words(text or None): see keeper.c. */
static PyObject *py_last_words(PyObject *self, PyObject *text)
{
    (void)self;
    const char *words = text == Py_None ? NULL : PyUnicode_AsUTF8(text);
    if (words == NULL && text != Py_None)
        return NULL;
    lace_keeper_last_words(words);
    Py_RETURN_NONE;
}

/* _move_out(): Python ends, and with it the host, if an import has opened it. */
static PyObject *py_move_out(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    lace_host_move_out();
    Py_RETURN_NONE;
}

/* _name(): the worker's, or what stands for it in an interpreter that is not a worker's. */
static PyObject *py_name(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_worker *worker = lace_module_state(self)->worker;
    return PyUnicode_FromString(worker ? worker->name : "main");
}

static PyObject *py_is_worker(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(lace_module_state(self)->worker != NULL);
}

/* _is_ours(): whether Python is the host's. _is_child(): whether this process is a worker of another one. */
static PyObject *py_is_ours(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyBool_FromLong(lace_python_is_ours());
}

static PyObject *py_is_child(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyBool_FromLong(lace_child_is());
}

/* _check_processes(): raises RuntimeError where no worker can have a process of its own. */
static PyObject *py_check_processes(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    const char *error = lace_process_trouble();
    if (error != NULL)
        return PyErr_Format(PyExc_RuntimeError, "%s", error);
    Py_RETURN_NONE;
}

/* _announce(module): see lace_process_announce. */
static PyObject *py_announce(PyObject *self, PyObject *module)
{
    (void)self;
    const char *name = PyUnicode_AsUTF8(module);
    if (name == NULL)
        return NULL;
    lace_process_announce(name);
    Py_RETURN_NONE;
}

/* _id(): the worker's; 1, which no worker has then, in a main interpreter that is not ours. */
static PyObject *py_id(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_worker *worker = lace_module_state(self)->worker;
    return PyLong_FromUnsignedLongLong(worker ? worker->id : 1);
}

/* _flush_before_waiting(): standard output has something that somebody may be waiting for. */
static PyObject *py_flush_before_waiting(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_module_state(self)->flush_wanted = true;
    Py_RETURN_NONE;
}

/* _encoding(): whether this thread is making a message. */
static PyObject *py_encoding(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyBool_FromLong(lace_encoding());
}

/* For the tests of the codec: object to bytes, or None when it is not the codec's; bytes to object. */
static PyObject *py_codec_dumps(PyObject *self, PyObject *object)
{
    return lace_codec_dumps(&lace_module_state(self)->codec, object);
}

static PyObject *py_codec_loads(PyObject *self, PyObject *bytes)
{
    return lace_codec_loads(&lace_module_state(self)->codec, bytes);
}

/* _prestart(count, profile, timeout) */
static PyObject *py_prestart(PyObject *self, PyObject *args)
{
    lace_module *module = lace_module_state(self);
    Py_ssize_t count, size;
    const char *profile;
    PyObject *timeout;
    lace_pywait LACE_AUTO(wait);
    if (!PyArg_ParseTuple(args, "ny#O", &count, &profile, &size, &timeout) ||
        !lace_pywait_init(&wait, module, timeout))
        return NULL;
    if (count < 0 || count > LACE_MAX_WORKERS)
        return PyErr_Format(PyExc_ValueError, "count must be from 0 to %d, not %zd", LACE_MAX_WORKERS, count);
    if (!lace_module_enter(module))
        return NULL;
    const char *trouble = lace_pool_set((size_t)count, profile, (size_t)size);
    lace_module_leave(module);
    if (trouble == NULL && wait.wait.deadline == LACE_NOW)
        Py_RETURN_NONE;
    lace_status status = LACE_INVALID;
    while (trouble == NULL) {
        status = lace_pywait_done(&wait, lace_pool_wait_full(&wait.wait, &trouble));
        if (status != LACE_INTERRUPTED)
            break;
    }
    if (status == LACE_INVALID && trouble != NULL)
        return PyErr_Format(PyExc_RuntimeError, "no spare workers: %s", trouble);
    if (status == LACE_TIMEOUT)
        return PyErr_Format(PyExc_TimeoutError, "prestart: the timeout passed before %zd workers stood ready", count);
    if (status != LACE_OK)
        return lace_raise(module, status, "waiting for", "spare workers");
    Py_RETURN_NONE;
}

bool lace_module_prepare(const char *profile, size_t size)
{
    PyObject *bootstrap = PyImport_ImportModule("interlace._bootstrap");
    PyObject *result = bootstrap ? PyObject_CallMethod(bootstrap, "prepare", "y#", profile, (Py_ssize_t)size) : NULL;
    Py_XDECREF(bootstrap);
    Py_XDECREF(result);
    return result != NULL;
}

/* What came of the job stands once its last bytecode has run: an exception of a cancellation that is on its way then is
 * taken back, and none is sent any more. In C, so that there is no bytecode in between for it to come at. */
static void settle(lace_worker *worker, lace_module *module)
{
    worker->told = true;
    module->settled = true;
    PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL);
}

const char *lace_module_run_worker(lace_worker *worker)
{
    PyObject *bootstrap = PyImport_ImportModule("interlace._bootstrap");
    PyObject *own = bootstrap ? PyImport_ImportModule("_interlace") : NULL;
    Py_XDECREF(own); /* the interpreter keeps it */
    if (own == NULL) {
        Py_XDECREF(bootstrap);
        return "interlace itself could not start it (see above)";
    }
    PyObject *done = PyObject_CallMethod(bootstrap, "work", NULL);
    PyObject *raised = done ? NULL : PyErr_GetRaisedException();
    settle(worker, lace_module_state(own));
    PyObject *ended =
        PyObject_CallMethod(bootstrap, "end", "OO", done ? done : Py_None, raised ? raised : Py_None);
    PyObject *trouble = ended ? NULL : PyErr_GetRaisedException();
    if (trouble != NULL)
        atomic_store(&worker->hands_back, true); /* before what holds its receivers goes */
    Py_XDECREF(ended);
    Py_XDECREF(raised);
    Py_XDECREF(done);
    Py_DECREF(bootstrap);
    PyErr_SetRaisedException(trouble);
    return trouble ? "interlace itself could not tell what came of it (see above)" : NULL;
}

/* ---- the module --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    channel_doc,
    "channel($module, capacity, *, max_bytes=None, name=None, redeliver=False)\n--\n\n"
    "Make a channel: a bounded FIFO of messages. Returns its two ends, (Sender, Receiver).\n\n"
    "capacity (int, 0 to 1048576) is how many messages may wait in it. It has no default on purpose: 0 is a\n"
    "rendezvous, where send() returns when a receiver has the message; 64 or so is for throughput.\n"
    "max_bytes (int or None) bounds the pickled bytes that wait in it as well.\n"
    "name (str or None) is what error messages call it.\n"
    "redeliver (bool): what a receiver has received and not confirmed goes to another one, first in the line, when its\n"
    "worker fails, is cancelled or is killed; see Receiver.confirm(). Each message is then received at least once, and\n"
    "receivers get EndOfChannel only when all is confirmed. Large buffers are not copied: whoever receives one again\n"
    "finds in it what was written there meanwhile. Not with capacity 0.\n\n"
    "Raises ValueError, TypeError, MemoryError.\n\n"
    "    sender, receiver = interlace.channel(64)\n"
    "    sender.send('hello')\n"
    "    sender.close()\n"
    "    print(list(receiver))              # ['hello']");

PyDoc_STRVAR(
    latest_doc,
    "latest($module, *, name=None)\n--\n\n"
    "Make a channel that keeps the newest message only. Returns its two ends, (Sender, Receiver).\n\n"
    "send() never waits: a message that nobody has received yet is replaced by the next one. recv() gives the newest\n"
    "message that has not been received, and waits when there is none; each goes to one receiver, once. All else is as\n"
    "with channel(): timeouts, close, select, fileno, ends that travel. name is what error messages call it.\n\n"
    "    sender, receiver = interlace.latest()\n"
    "    for position in range(1000):\n"
    "        sender.send(position)\n"
    "    print(receiver.recv())             # 999");

PyDoc_STRVAR(
    select_doc,
    "select($module, *cases, timeout=None, priority=False)\n--\n\n"
    "Wait until one of the cases can happen, make exactly that one happen, and return (case, value).\n\n"
    "A case is a Receiver (value: the object received), a pair (Sender, obj) (value: None), a Worker (it has ended;\n"
    "value: None), after(seconds) (value: None), or anything else with a fileno(), such as a Listener or a socket: it\n"
    "can be read (value: None). Among several that are ready the choice is fair; with\n"
    "priority=True it is the first in order. timeout is in seconds (None: for ever, 0: only try).\n\n"
    "A receiver whose senders are all gone, and a sender whose receivers are all gone, are dropped from the choice.\n"
    "Raises EndOfChannel when no case is left, TimeoutError, Cancelled, ValueError for a closed end.\n\n"
    "    sender, numbers = interlace.channel(4)\n"
    "    _, stop = interlace.channel(0)\n"
    "    sender.send(42)\n"
    "    case, value = interlace.select(numbers, stop, interlace.after(60.0))\n"
    "    if case is numbers:\n"
    "        print(value)                   # 42");

PyDoc_STRVAR(after_doc,
             "after($module, seconds, /)\n--\n\n"
             "A case for select() that happens once `seconds` (float, from now) have passed, and from then on.\n\n"
             "    deadline = interlace.after(5.0)    # one deadline for a whole loop of selects");

PyDoc_STRVAR(current_worker_doc, "current_worker($module, /)\n--\n\n"
                                 "The Worker this code runs in, with its index and count among its replicas.\n\n"
                                 "    me = interlace.current_worker()\n"
                                 "    print(f'{me.name}: {me.index + 1} of {me.count}')");

#define FASTEST(function) ((PyCFunction)(void (*)(void))(function)), METH_FASTCALL
#define FAST(function) ((PyCFunction)(void (*)(void))(function)), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef methods[] = {
    {"channel", FAST(lace_py_channel), channel_doc},
    {"_overwriting", FAST(lace_py_overwriting), NULL},
    {"latest", FAST(lace_py_latest), latest_doc},
    {"select", FAST(lace_py_select), select_doc},
    {"_open_sender", lace_py_open_sender, METH_VARARGS, NULL},
    {"_open_receiver", lace_py_open_receiver, METH_VARARGS, NULL},
    {"_connect", lace_py_connect, METH_VARARGS, NULL},
    {"after", lace_py_after, METH_O, after_doc},
    {"current_worker", lace_py_current_worker, METH_NOARGS, current_worker_doc},
    {"_spawn", FAST(lace_py_spawn), NULL},
    {"_message", FASTEST(lace_py_message), NULL},
    {"_messages", FASTEST(lace_py_messages), NULL},
    {"_post", FASTEST(lace_py_post), NULL},
    {"_reply", FASTEST(lace_py_reply), NULL},
    {"_next_message", lace_py_next_message, METH_O, NULL},
    {"_next_messages", FASTEST(lace_py_next_messages), NULL},
    {"_run_call", FASTEST(lace_py_run_call), NULL},
    {"_attach", lace_attach, METH_O, NULL},
    {"_take_buffer", lace_take_buffer, METH_O, NULL},
    {"_buffer", lace_py_rebuild_buffer, METH_O, NULL},
    {"_encoding", py_encoding, METH_NOARGS, NULL},
    {"_codec_dumps", py_codec_dumps, METH_O, NULL},
    {"_codec_loads", py_codec_loads, METH_O, NULL},
    {"_value_pass", lace_py_value_pass, METH_O, NULL},
    {"_value_rewrite", lace_py_value_rewrite, METH_O, NULL},
    {"_value_equal", lace_py_value_equal, METH_VARARGS, NULL},
    {"_value_text", lace_py_value_text, METH_O, NULL},
    {"_head", py_head, METH_NOARGS, NULL},
    {"_body", py_body, METH_NOARGS, NULL},
    {"_stage", py_stage, METH_NOARGS, NULL},
    {"_want_stdin", py_want_stdin, METH_NOARGS, NULL},
    {"_ready", py_ready, METH_NOARGS, NULL},
    {"_heed", py_heed, METH_NOARGS, NULL},
    {"_is_cancelled", py_is_cancelled, METH_NOARGS, NULL},
    {"_is_quiet", py_is_quiet, METH_NOARGS, NULL},
    {"_hand_back", lace_py_hand_back, METH_NOARGS, NULL},
    {"_finish", py_finish, METH_VARARGS, NULL},
    {"_fail", py_fail, METH_O, NULL},
    {"_exit_code", py_exit_code, METH_O, NULL},
    {"_interrupt_threads", py_interrupt_threads, METH_NOARGS, NULL},
    {"_output_is_taken", py_output_is_taken, METH_NOARGS, NULL},
    {"_unraisablehook", lace_unraisablehook, METH_O, NULL},
    {"_write", py_write, METH_VARARGS, NULL},
    {"_prestart", py_prestart, METH_VARARGS, NULL},
    {"_move_out", py_move_out, METH_NOARGS, NULL},
    {"_exports", lace_py_exports, METH_NOARGS, NULL},
    {"_call_exported", (PyCFunction)(void (*)(void))lace_py_call_exported, METH_FASTCALL, NULL},
    {"_is_ours", py_is_ours, METH_NOARGS, NULL},
    {"_is_child", py_is_child, METH_NOARGS, NULL},
    {"_check_processes", py_check_processes, METH_NOARGS, NULL},
    {"_announce", py_announce, METH_O, NULL},
    {"_is_worker", py_is_worker, METH_NOARGS, NULL},
    {"_id", py_id, METH_NOARGS, NULL},
    {"_name", py_name, METH_NOARGS, NULL},
    {"_within", (PyCFunction)(void (*)(void))lace_py_within, METH_FASTCALL, NULL},
    {"_last_words", py_last_words, METH_O, NULL},
    {"_ledger", lace_py_ledger, METH_NOARGS, NULL},
    {"_tracks", lace_py_tracks, METH_NOARGS, NULL},
    {"_watch_sooner", lace_py_watch_sooner, METH_O, NULL},
    {"_note_failure", lace_py_note_failure, METH_O, NULL},
    {"_flush_before_waiting", py_flush_before_waiting, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *new_exception(PyObject *module, const char *name, const char *doc, PyObject *base)
{
    char full[64];
    snprintf(full, sizeof full, "interlace.%s", name);
    PyObject *type = PyErr_NewExceptionWithDoc(full, doc, base, NULL);
    if (type != NULL && PyModule_AddObjectRef(module, name, type) < 0)
        Py_CLEAR(type);
    return type;
}

static PyObject *import_attribute(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *attribute = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return attribute;
}

static bool close_at_exit(PyObject *module)
{
    PyObject *enlist = import_attribute("atexit", "register");
    PyObject *close = PyObject_GetAttrString(module, "_move_out");
    PyObject *done = enlist && close ? PyObject_CallOneArg(enlist, close) : NULL;
    Py_XDECREF(done);
    Py_XDECREF(close);
    Py_XDECREF(enlist);
    return done != NULL;
}

/* Where Python is not ours, its main interpreter is the application's, or the user's; in a process that is a worker, the
 * worker's: the waits of its main thread are to be interrupted by signals. */
static bool heed_signals(lace_module *state)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main())
        return true;
    PyObject *ask = import_attribute("_thread", "_get_main_thread_ident");
    PyObject *ident = ask ? PyObject_CallNoArgs(ask) : NULL;
    state->main_thread = ident ? PyLong_AsUnsignedLong(ident) : 0;
    Py_XDECREF(ident);
    Py_XDECREF(ask);
    return !PyErr_Occurred();
}

PyDoc_STRVAR(end_of_channel_doc, "Every sender of the channel is gone and nothing is left in it.\n\n"
                                 "    sender, receiver = interlace.channel(4)\n"
                                 "    sender.close()\n"
                                 "    try:\n"
                                 "        receiver.recv()\n"
                                 "    except interlace.EndOfChannel:\n"
                                 "        print('no more')               # no more");

PyDoc_STRVAR(broken_channel_doc, "Every receiver of the channel is gone.\n\n"
                                 "    sender, receiver = interlace.channel(4)\n"
                                 "    receiver.close()\n"
                                 "    try:\n"
                                 "        sender.send('hello')\n"
                                 "    except interlace.BrokenChannel:\n"
                                 "        print('nobody listens')        # nobody listens");

PyDoc_STRVAR(deadlock_doc,
             "Every worker waits, and nothing can wake any of them: the wait would never have ended.\n\n"
             "`report` (str) says who waits for whom; it has been printed on stderr as well.\n\n"
             "    def wait(sender, receiver):\n"
             "        try:\n"
             "            receiver.recv()            # the only sender is our own\n"
             "        except interlace.Deadlock as deadlock:\n"
             "            print(deadlock.report)");

PyDoc_STRVAR(cancelled_doc, "The worker, or the group this code waits in, was cancelled.\n\n"
                            "Like KeyboardInterrupt, it is not an Exception: let it pass.\n\n"
                            "    def serve(requests):\n"
                            "        try:\n"
                            "            for request in requests:\n"
                            "                print(request)\n"
                            "        finally:                       # runs when the worker is cancelled, too\n"
                            "            requests.close()\n\n"
                            "    _, requests = interlace.channel(4)\n"
                            "    with interlace.Group() as group:\n"
                            "        group.start(serve, requests).cancel()");

static int execute(PyObject *module)
{
    lace_module *state = lace_module_state(module);
    lace_worker *worker = lace_worker_current();
    const char *error = NULL;
    bool opened = lace_host_move_in(&error);
    if (error != NULL) {
        PyErr_SetString(PyExc_ImportError, error);
        return -1;
    }
    bool guest = !lace_python_is_ours() && worker == NULL;
    bool ends = opened || (guest && PyInterpreterState_Get() == PyInterpreterState_Main());
    if ((ends && !close_at_exit(module)) || ((guest || lace_child_is()) && !heed_signals(state)))
        return -1;
    state->own_ends.prev = state->own_ends.next = &state->own_ends;
    state->worker = worker ? lace_worker_ref(worker) : NULL;
    state->ends = worker ? &worker->ends : &state->own_ends;
    state->waits = worker ? &worker->waits : &state->own_waits;
    state->pickler_type = import_attribute("_pickle", "Pickler");
    state->loads = import_attribute("_pickle", "loads");
    state->protocol = PyLong_FromLong(5);
    state->attach = PyObject_GetAttrString(module, "_attach");
    state->take_buffer = PyObject_GetAttrString(module, "_take_buffer");
    state->end_of_channel = new_exception(module, "EndOfChannel", end_of_channel_doc, PyExc_EOFError);
    state->broken_channel = new_exception(module, "BrokenChannel", broken_channel_doc, PyExc_BrokenPipeError);
    state->cancelled = new_exception(module, "Cancelled", cancelled_doc, PyExc_BaseException);
    state->deadlock = new_exception(module, "Deadlock", deadlock_doc, PyExc_RuntimeError);
    if (state->pickler_type == NULL || state->take_buffer == NULL || state->loads == NULL ||
        state->protocol == NULL || state->attach == NULL || state->end_of_channel == NULL ||
        state->broken_channel == NULL || state->cancelled == NULL || state->deadlock == NULL)
        return -1;
    if (worker != NULL)
        worker->cancelled_type = state->cancelled;
    return lace_ends_ready(module, state) && lace_workers_ready(module, state) && lace_scopes_ready(module, state) &&
                   lace_select_ready(module, state) && lace_buffers_ready(module, state) &&
                   lace_codec_ready(module, state) && lace_directory_ready(module, state) &&
                   lace_messages_ready(module, state) && lace_flat_ready(module, state) &&
                   lace_counters_ready(module, state) && lace_semaphores_ready(module, state) &&
                   lace_async_ready(module, state) && lace_seals_ready(module, state) &&
                   lace_listeners_ready(module, state)
               ? 0
               : -1;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    lace_module *state = lace_module_state(module);
    PyTypeObject *const types[] = {
        state->sender_type,  state->receiver_type,  state->worker_type, state->after_type,       state->scope_type,
        state->buffer_type,  state->sink_type,      state->queue_type,  state->interpreter_type, state->message_type,
        state->counter_type, state->semaphore_type, state->post_type,   state->listener_type};
    PyObject *const objects[] = {state->loads,          state->attach,         state->protocol,  state->pickler_type,
                                 state->take_buffer,    state->rebuild_buffer, state->sink,      state->pickler,
                                 state->end_of_channel, state->broken_channel, state->cancelled, state->deadlock,
                                 state->seal_error,     state->truncated};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        Py_VISIT((PyObject *)types[i]);
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        Py_VISIT(objects[i]);
    for (size_t i = 0; i < LACE_ASYNC_CALLS; i++)
        Py_VISIT(state->async_calls[i]);
    return 0;
}

static int clear(PyObject *module)
{
    lace_module *state = lace_module_state(module);
    Py_CLEAR(state->sender_type);
    Py_CLEAR(state->receiver_type);
    Py_CLEAR(state->worker_type);
    Py_CLEAR(state->after_type);
    Py_CLEAR(state->scope_type);
    Py_CLEAR(state->buffer_type);
    Py_CLEAR(state->sink_type);
    Py_CLEAR(state->interpreter_type);
    Py_CLEAR(state->queue_type);
    Py_CLEAR(state->message_type);
    Py_CLEAR(state->counter_type);
    Py_CLEAR(state->semaphore_type);
    Py_CLEAR(state->post_type);
    Py_CLEAR(state->listener_type);
    Py_CLEAR(state->pickler_type);
    Py_CLEAR(state->take_buffer);
    Py_CLEAR(state->rebuild_buffer);
    Py_CLEAR(state->pickler);
    Py_CLEAR(state->sink);
    Py_CLEAR(state->loads);
    Py_CLEAR(state->attach);
    Py_CLEAR(state->protocol);
    Py_CLEAR(state->end_of_channel);
    Py_CLEAR(state->broken_channel);
    Py_CLEAR(state->cancelled);
    Py_CLEAR(state->deadlock);
    lace_sites_clear(&state->sites);
    Py_CLEAR(state->seal_error);
    Py_CLEAR(state->truncated);
    for (size_t i = 0; i < LACE_ASYNC_CALLS; i++)
        Py_CLEAR(state->async_calls[i]);
    return 0;
}

static void release(void *module)
{
    lace_module *state = lace_module_state(module);
    lace_watch_destroy(state->watch);
    state->watch = NULL;
    if (state->worker != NULL)
        state->worker->cancelled_type = NULL;
    for (int k = 0; k < LACE_KEPT_SELECTORS; k++) {
        if (state->kept[k].selector != NULL)
            lace_selector_destroy(state->kept[k].selector);
        free(state->kept[k].cases);
    }
    while (state->spare_count > 0)
        lace_message_destroy(state->spare[--state->spare_count]);
    lace_codec_finish(&state->codec);
    clear(module);
    lace_worker_unref(state->worker);
    state->worker = NULL;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_interlace",
    .m_doc = "The C half of interlace: import that instead.",
    .m_size = sizeof(lace_module),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__interlace(void)
{
    return PyModuleDef_Init(&definition);
}
