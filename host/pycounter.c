/* pycounter.c - interlace.Counter: channels/counter.h for Python. */
#include "../channels/counter.h"
#include "../channels/look.h"

#include "pyshared.h"

static lace_counter counter_of(PyObject *self)
{
    return (lace_counter){lace_shared_sender(self), lace_shared_receiver(self)};
}

/* Whether this object may still be used: its ends close with its worker only. */
static bool usable(PyObject *self)
{
    if (lace_sender_closed(lace_shared_sender(self)) || lace_receiver_closed(lace_shared_receiver(self))) {
        PyErr_SetString(PyExc_ValueError, "the counter is closed: its worker has ended");
        return false;
    }
    return true;
}

static bool read_number(PyObject *object, const char *what, int64_t *ret_number)
{
    int overflow = 0;
    *ret_number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow != 0)
        PyErr_Format(PyExc_OverflowError, "%s must fit into 64 bits: %R does not", what, object);
    return overflow == 0 && !(*ret_number == -1 && PyErr_Occurred());
}

static PyObject *counter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {(char *)"value", NULL};
    PyObject *value = NULL;
    int64_t number = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Counter", names, &value) ||
        (value != NULL && !read_number(value, "value", &number)))
        return NULL;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_status status = lace_counter_create(lace_region_of_host(), number, NULL, &sender, &receiver);
    if (status != LACE_OK)
        return lace_raise(lace_module_of(type), status, "making", "a counter's");
    lace_sender_mark(sender, lace_site_here(&lace_module_of(type)->sites));
    return lace_shared_make(type, sender, receiver);
}

static PyObject *counter_join(PyObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *self = lace_shared_join(type, args, nargs);
    if (self != NULL && !lace_counter_is(counter_of(self))) {
        Py_DECREF(self);
        return PyErr_Format(PyExc_TypeError, "a Counter comes only out of a message");
    }
    return self;
}

/* After a change: those who wait are told. False with an exception set. */
static bool tell(PyObject *self)
{
    lace_counter counter = counter_of(self);
    lace_status status = LACE_OK;
    if (!lace_counter_due(counter))
        return true;
    Py_BEGIN_ALLOW_THREADS
    status = lace_counter_settle(counter);
    Py_END_ALLOW_THREADS
    if (status != LACE_OK)
        lace_raise(lace_shared_module(self), status, "changing the counter of", lace_shared_name(self));
    return status == LACE_OK;
}

/* ---- changing ----------------------------------------------------------------------------------------- */

static PyObject *counter_add(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"n", NULL};
    PyObject *given[1];
    int64_t n = 1, number;
    if (!lace_arguments("add", args, nargs, kwnames, names, 0, 1, given) ||
        (given[0] != NULL && !read_number(given[0], "n", &n)) || !usable(self))
        return NULL;
    if (!lace_counter_add(counter_of(self), n, &number))
        return PyErr_Format(PyExc_OverflowError, "the counter's value would not fit into 64 bits");
    return tell(self) ? PyLong_FromLongLong(number) : NULL;
}

static PyObject *counter_set(PyObject *self, PyObject *value)
{
    int64_t number;
    if (!read_number(value, "value", &number) || !usable(self))
        return NULL;
    lace_counter_set(counter_of(self), number);
    if (!tell(self))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *counter_compare_exchange(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"expected", "value", NULL};
    PyObject *given[2];
    int64_t expected, wanted;
    if (!lace_arguments("compare_exchange", args, nargs, kwnames, names, 2, 2, given) ||
        !read_number(given[0], "expected", &expected) || !read_number(given[1], "value", &wanted) || !usable(self))
        return NULL;
    bool done = lace_counter_exchange(counter_of(self), &expected, wanted);
    return done && !tell(self) ? NULL : PyBool_FromLong(done);
}

static PyObject *counter_value(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(lace_counter_number(counter_of(self)));
}

/* ---- waiting ------------------------------------------------------------------------------------------ */

/* The receiver of a channel that gets `answer` when the counter is at_least; NULL with an exception set. */
static lace_receiver *watch(PyObject *self, int64_t at_least, int64_t limit, PyObject *answer)
{
    lace_module *module = lace_shared_module(self);
    const lace_channel_options options = {.capacity = 1, .name = lace_shared_name(self)};
    lace_counter_watch wanted = {.at_least = at_least, .limit = limit};
    lace_encoded encoded;
    lace_sender *sender;
    lace_receiver *receiver;
    if (!usable(self) || !lace_encode(module, answer, &encoded))
        return NULL;
    lace_payload payload = lace_encoded_payload(&encoded);
    bool fits = payload.size <= sizeof wanted.answer && payload.attachment_count == 0;
    wanted.size = (uint32_t)payload.size;
    if (fits)
        memcpy(wanted.answer, payload.data, payload.size);
    lace_encoded_finish(&encoded, false);
    lace_status status = fits ? lace_channel_create(lace_region_of_host(), &options, &sender, &receiver)
                              : LACE_INVALID;
    if (status == LACE_OK) {
        lace_counter counter = counter_of(self);
        Py_BEGIN_ALLOW_THREADS
        status = lace_counter_watch_for(counter, &wanted, sender);
        Py_END_ALLOW_THREADS
        if (status != LACE_OK)
            lace_receiver_destroy(receiver);
    }
    if (status != LACE_OK)
        lace_raise(module, status, "waiting for the counter of", lace_shared_name(self));
    return status == LACE_OK ? receiver : NULL;
}

static PyObject *watch_object(PyObject *self, int64_t at_least, int64_t limit, PyObject *answer)
{
    lace_receiver *receiver = watch(self, at_least, limit, answer);
    PyObject *object = receiver ? lace_receiver_object(lace_shared_module(self), receiver) : NULL;
    if (object == NULL)
        lace_receiver_destroy(receiver);
    return object;
}

static PyObject *counter_reached(PyObject *self, PyObject *value)
{
    int64_t at_least;
    PyObject *number = read_number(value, "at_least", &at_least) ? PyLong_FromLongLong(at_least) : NULL;
    PyObject *receiver = number ? watch_object(self, at_least, 0, number) : NULL;
    Py_XDECREF(number);
    return receiver;
}

/* _reached(at_least, limit, answer): see lace_counter_watch. */
static PyObject *counter_reached_below(PyObject *self, PyObject *args)
{
    long long at_least, limit;
    PyObject *answer;
    if (!PyArg_ParseTuple(args, "LLO", &at_least, &limit, &answer))
        return NULL;
    return watch_object(self, at_least, limit, answer);
}

static PyObject *counter_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"at_least", "timeout", NULL};
    PyObject *given[2];
    int64_t at_least;
    lace_module *module = lace_shared_module(self);
    lace_pywait LACE_AUTO(wait);
    if (!lace_arguments("wait", args, nargs, kwnames, names, 1, 2, given) ||
        !read_number(given[0], "at_least", &at_least) || !lace_pywait_init(&wait, module, given[1]) || !usable(self))
        return NULL;
    int64_t number = lace_counter_number(counter_of(self));
    if (number >= at_least)
        return PyLong_FromLongLong(number);
    lace_message *message = lace_message_borrow(module);
    lace_receiver *receiver = message && wait.wait.deadline != LACE_NOW ? watch(self, at_least, 0, Py_None) : NULL;
    lace_pywait_on(&wait, LACE_AWAITS_COUNT, lace_shared_sender(self), receiver);
    lace_status status = LACE_TIMEOUT;
    while (receiver != NULL) {
        status = lace_pywait_done(&wait, lace_recv(receiver, message, &wait.wait));
        if (status != LACE_INTERRUPTED)
            break;
    }
    lace_receiver_destroy(receiver);
    if (message != NULL)
        lace_message_return(module, message);
    if (PyErr_Occurred() && status == LACE_TIMEOUT)
        return NULL; /* there was nothing to wait in */
    if (status == LACE_TIMEOUT)
        return PyErr_Format(PyExc_TimeoutError, "wait: the timeout passed before the counter was at least %lld",
                            (long long)at_least);
    if (status == LACE_END)
        status = LACE_NOMEM; /* whoever changed the counter could not keep us */
    if (status != LACE_OK)
        return lace_raise(module, status, "waiting for the counter of", lace_shared_name(self));
    number = lace_counter_number(counter_of(self));
    return PyLong_FromLongLong(number > at_least ? number : at_least);
}

static PyObject *counter_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<interlace.Counter at %lld>", (long long)lace_counter_number(counter_of(self)));
}

/* ---- the type ----------------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    counter_doc,
    "Counter(value=0)\n--\n\n"
    "A number that workers share, a signed one of 64 bits: each change is one atomic step, and needs no lock. It\n"
    "travels: as an argument of Group.start and in messages, and all that come of it are one counter. Raises\n"
    "OverflowError for what does not fit.\n\n"
    "    def work(done):\n"
    "        done.add()\n\n"
    "    with interlace.Group() as group:\n"
    "        done = interlace.Counter()\n"
    "        for _ in range(4):\n"
    "            group.start(work, done)\n"
    "        print(done.wait(4))            # 4");

PyDoc_STRVAR(add_doc, "add($self, n=1)\n--\n\n"
                      "Add n (int, may be negative) and return the new value (int).\n\n"
                      "Raises OverflowError (nothing is changed).\n\n"
                      "    ticket = counter.add() - 1");

PyDoc_STRVAR(set_doc, "set($self, value, /)\n--\n\n"
                      "Make it another value (int).\n\n"
                      "Raises OverflowError (nothing is changed).\n\n"
                      "    counter.set(0)");

PyDoc_STRVAR(compare_exchange_doc,
             "compare_exchange($self, expected, value)\n--\n\n"
             "Make it `value` if it is `expected` now, and return whether it was (bool).\n\n"
             "Raises OverflowError (nothing is changed).\n\n"
             "    best = 101\n"
             "    while (now := counter.value) < best and not counter.compare_exchange(now, best):\n"
             "        pass                           # the greater of both");

PyDoc_STRVAR(wait_doc, "wait($self, at_least, timeout=None)\n--\n\n"
                       "Wait until the value has been at_least (int) or more, and return the value (int).\n\n"
                       "Somebody may lower it again meanwhile: at_least is returned then.\n"
                       "timeout is in seconds (float or int): None waits for ever, 0 only looks.\n"
                       "Raises TimeoutError, Cancelled, MemoryError.\n\n"
                       "    counter.wait(100, timeout=1.5)");

PyDoc_STRVAR(
    reached_doc,
    "reached($self, at_least, /)\n--\n\n"
    "A Receiver that gets one message, at_least itself, once the value has been that or more: a case for\n"
    "select(). It ends with no message when the last of the counter is gone, or memory has run out. Drop it\n"
    "when you no longer wait.\n\n"
    "    full = counter.reached(100)\n"
    "    case, value = interlace.select(full, interlace.after(1.0))");

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef counter_methods[] = {
    {"add", FAST(counter_add), METH_FASTCALL | METH_KEYWORDS, add_doc},
    {"set", counter_set, METH_O, set_doc},
    {"compare_exchange", FAST(counter_compare_exchange), METH_FASTCALL | METH_KEYWORDS, compare_exchange_doc},
    {"wait", FAST(counter_wait), METH_FASTCALL | METH_KEYWORDS, wait_doc},
    {"reached", counter_reached, METH_O, reached_doc},
    {"_reached", counter_reached_below, METH_VARARGS, NULL},
    {"__reduce_ex__", lace_shared_reduce, METH_O, NULL},
    {"_join", FAST(counter_join), METH_FASTCALL | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef counter_getset[] = {
    {"value", counter_value, NULL, "What it is now (int).", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot counter_slots[] = {
    {Py_tp_new, counter_new},         {Py_tp_dealloc, lace_shared_dealloc},
    {Py_tp_repr, counter_repr},       {Py_tp_methods, counter_methods},
    {Py_tp_getset, counter_getset},   {Py_tp_members, lace_shared_members},
    {Py_tp_doc, (void *)counter_doc}, {0, NULL},
};

static PyType_Spec counter_spec = {"interlace.Counter", sizeof(lace_shared_object), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, counter_slots};

bool lace_counters_ready(PyObject *module, lace_module *state)
{
    state->counter_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &counter_spec, NULL);
    return state->counter_type != NULL && PyModule_AddType(module, state->counter_type) == 0;
}
