/* pyselect.c - interlace.select() and after().
 *
 * A select over receivers and workers alone keeps its selector for the next call with the same cases, so that waiting
 * on a thousand channels costs what is ready. Timers are looked at here; sends take the plain lace_select. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"

typedef struct after_object {
    PyObject_HEAD
    int64_t at; /* lace_clock() */
} after_object;

/* ---- after -------------------------------------------------------------------------------------------- */

static void after_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *after_repr(PyObject *self)
{
    char left[32];
    snprintf(left, sizeof left, "%.3f", (double)(((after_object *)self)->at - lace_clock()) / 1e9);
    return PyUnicode_FromFormat("<interlace.after in %s s>", left);
}

PyObject *lace_py_after(PyObject *self, PyObject *seconds_object)
{
    lace_module *module = lace_module_state(self);
    double seconds = PyFloat_AsDouble(seconds_object);
    if (seconds == -1.0 && PyErr_Occurred())
        return NULL;
    if (isnan(seconds) || seconds < 0)
        return PyErr_Format(PyExc_ValueError, "after() takes a number of seconds from 0 on, not %R", seconds_object);
    PyObject *after = module->after_type->tp_alloc(module->after_type, 0);
    if (after != NULL) {
        int64_t at = lace_deadline_after(seconds);
        ((after_object *)after)->at = at == LACE_NOW ? lace_clock() : at == LACE_NEVER ? INT64_MAX : at;
    }
    return after;
}

/* ---- the cases of a call ------------------------------------------------------------------------------ */

typedef struct choice {
    size_t count;
    lace_case *cases;      /* what the channels see, one for one with the arguments */
    lace_encoded *encoded; /* of the SEND cases, else zero */
    lace_payload *payloads;
    bool sends, timers;
} choice;

static void choice_finish(choice *these, size_t sent)
{
    for (size_t i = 0; i < these->count && these->encoded != NULL; i++)
        if (these->encoded[i].codec != NULL)
            lace_encoded_finish(&these->encoded[i], i == sent);
    free(these->cases);
    free(these->encoded);
    free(these->payloads);
}

/* Of a listener, a socket, a file: whatever has a descriptor. False without an exception when it has none. */
static bool read_descriptor(lace_module *module, lace_case *one, PyObject *object)
{
    if (Py_TYPE(object) == module->sender_type || PyLong_Check(object) || !PyObject_HasAttrString(object, "fileno"))
        return false;
    int fd = PyObject_AsFileDescriptor(object);
    *one = (lace_case){.kind = LACE_CASE_READABLE, .fd = fd};
    return fd >= 0;
}

static bool read_case(lace_module *module, choice *these, size_t i, PyObject *object, lace_message *message)
{
    lace_case *one = &these->cases[i];
    PyTypeObject *type = Py_TYPE(object);
    if (type == module->receiver_type) {
        *one = (lace_case){.kind = LACE_CASE_RECV, .receiver = lace_object_receiver(object), .message = message};
    } else if (type == module->worker_type) {
        lace_receiver *outcome = lace_object_outcome(object);
        if (outcome == NULL) {
            PyErr_SetString(PyExc_ValueError, "a worker cannot wait for its own end");
            return false;
        }
        *one = (lace_case){.kind = LACE_CASE_ENDED, .receiver = outcome};
    } else if (type == module->after_type) {
        *one = (lace_case){.kind = LACE_CASE_AT, .at = ((after_object *)object)->at};
        these->timers = true;
    } else if (PyTuple_CheckExact(object) && PyTuple_GET_SIZE(object) == 2 &&
               Py_TYPE(PyTuple_GET_ITEM(object, 0)) == module->sender_type) {
        if (!lace_encode_for(module, lace_object_sender(PyTuple_GET_ITEM(object, 0)), PyTuple_GET_ITEM(object, 1),
                             &these->encoded[i]))
            return false;
        these->payloads[i] = lace_encoded_payload(&these->encoded[i]);
        *one = (lace_case){.kind = LACE_CASE_SEND,
                           .sender = lace_object_sender(PyTuple_GET_ITEM(object, 0)),
                           .payload = &these->payloads[i]};
        these->sends = true;
    } else if (!read_descriptor(module, one, object)) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError,
                         "case %zu of select() must be a Receiver, a (Sender, obj) pair, a Worker, after(seconds) or "
                         "something with a fileno(), not %T",
                         i, object);
        return false;
    }
    return true;
}

static bool read_cases(lace_module *module, choice *these, PyObject *const *args, size_t count, lace_message *message)
{
    these->count = count;
    these->cases = calloc(count, sizeof *these->cases);
    these->encoded = calloc(count, sizeof *these->encoded);
    these->payloads = calloc(count, sizeof *these->payloads);
    if (these->cases == NULL || these->encoded == NULL || these->payloads == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!read_case(module, these, i, args[i], message))
            return false;
    return true;
}

/* ---- selectors that are kept -------------------------------------------------------------------------- */

static void drop_kept(lace_kept_selector *kept)
{
    if (kept->busy) {
        kept->stale = true;
        return;
    }
    if (kept->selector != NULL)
        lace_selector_destroy(kept->selector);
    free(kept->cases);
    *kept = (lace_kept_selector){0};
}

void lace_select_forget(lace_module *module, PyObject *object)
{
    for (int k = 0; k < LACE_KEPT_SELECTORS; k++)
        for (size_t i = 0; i < module->kept[k].count; i++)
            if (module->kept[k].cases[i] == object) {
                drop_kept(&module->kept[k]);
                break;
            }
}

static lace_kept_selector *find_kept(lace_module *module, PyObject *const *args, size_t count)
{
    for (int k = 0; k < LACE_KEPT_SELECTORS; k++) {
        lace_kept_selector *kept = &module->kept[k];
        if (kept->selector != NULL && kept->count == count && !kept->busy && !kept->stale &&
            memcmp(kept->cases, args, count * sizeof *args) == 0)
            return kept;
    }
    return NULL;
}

/* Keeps a new selector in place of the one that was not used for the longest; NULL when none can be had. */
static lace_kept_selector *keep(lace_module *module, PyObject *const *args, const choice *these)
{
    lace_kept_selector *oldest = NULL;
    for (int k = 0; k < LACE_KEPT_SELECTORS; k++)
        if (!module->kept[k].busy && (oldest == NULL || module->kept[k].used < oldest->used))
            oldest = &module->kept[k];
    if (oldest == NULL)
        return NULL;
    drop_kept(oldest);
    oldest->cases = malloc(these->count * sizeof *oldest->cases);
    if (oldest->cases == NULL || lace_selector_create(these->cases, these->count, &oldest->selector) != LACE_OK) {
        free(oldest->cases);
        *oldest = (lace_kept_selector){0};
        return NULL;
    }
    memcpy(oldest->cases, args, these->count * sizeof *oldest->cases);
    oldest->count = these->count;
    return oldest;
}

static lace_status wait_kept(lace_module *module, lace_kept_selector *kept, unsigned flags, lace_message *message,
                             lace_pywait *wait, size_t *ret_index)
{
    kept->busy = true;
    kept->used = ++module->selects;
    lace_status status = lace_selector_wait(kept->selector, flags, message, &wait->wait, ret_index);
    kept->busy = false;
    if (kept->stale)
        drop_kept(kept);
    return status;
}

/* ---- select ------------------------------------------------------------------------------------------- */

static bool read_options(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **ret_timeout,
                         unsigned *ret_flags)
{
    static const char *const names[] = {"timeout", "priority", NULL};
    PyObject *given[2];
    if (!lace_arguments("select", args + nargs, 0, kwnames, names, 0, 0, given))
        return false;
    int priority = given[1] ? PyObject_IsTrue(given[1]) : 0;
    if (priority < 0)
        return false;
    *ret_timeout = given[0];
    *ret_flags = priority ? LACE_SELECT_PRIORITY : 0;
    return true;
}

/* The timers among the arguments, and the arguments without them. */
typedef struct timers {
    int64_t first; /* the earliest; LACE_NEVER: there is none */
    size_t first_index;
    PyObject **others; /* malloc'ed */
    size_t *indexes;   /* where each of them was */
    size_t count;
} timers;

/* Fills `timers`; false with MemoryError set. Allocates nothing when there is none. */
static bool sort_out_timers(lace_module *module, PyObject *const *args, size_t count, timers *ret_timers)
{
    *ret_timers = (timers){0};
    for (size_t i = 0; i < count; i++) {
        if (Py_TYPE(args[i]) != module->after_type)
            continue;
        int64_t at = ((after_object *)args[i])->at;
        if (ret_timers->first == LACE_NEVER || at < ret_timers->first) {
            ret_timers->first = at;
            ret_timers->first_index = i;
        }
    }
    if (ret_timers->first == LACE_NEVER)
        return true;
    ret_timers->others = malloc(count * sizeof *ret_timers->others);
    ret_timers->indexes = malloc(count * sizeof *ret_timers->indexes);
    if (ret_timers->others == NULL || ret_timers->indexes == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (Py_TYPE(args[i]) != module->after_type) {
            ret_timers->others[ret_timers->count] = args[i];
            ret_timers->indexes[ret_timers->count++] = i;
        }
    }
    return true;
}

/* Waits in a selector that is kept, or kept from now on; LACE_UNSUPPORTED when these cases need lace_select. */
static lace_status select_kept(lace_module *module, PyObject *const *args, size_t count, unsigned flags,
                               lace_message *message, lace_pywait *wait, size_t *ret_index)
{
    lace_kept_selector *kept = find_kept(module, args, count);
    if (kept == NULL) {
        for (size_t i = 0; i < count; i++)
            if (Py_TYPE(args[i]) != module->receiver_type && Py_TYPE(args[i]) != module->worker_type)
                return LACE_UNSUPPORTED;
        choice chosen = {0};
        if (read_cases(module, &chosen, args, count, NULL))
            kept = keep(module, args, &chosen);
        choice_finish(&chosen, count);
        PyErr_Clear(); /* lace_select will say it again */
        if (kept == NULL)
            return LACE_UNSUPPORTED;
    }
    return wait_kept(module, kept, flags, message, wait, ret_index);
}

/* As select_kept, with the first timer as the deadline. A timer that is due already is left to lace_select, which
 * weighs it against the others. */
static lace_status select_kept_until(lace_module *module, const timers *clocks, unsigned flags, lace_message *message,
                                     lace_pywait *wait, size_t *ret_index)
{
    if (clocks->count == 0 || clocks->first <= lace_clock())
        return LACE_UNSUPPORTED;
    int64_t deadline = wait->wait.deadline;
    bool timer_first = deadline == LACE_NEVER || (deadline != LACE_NOW && clocks->first <= deadline);
    if (timer_first && clocks->first != INT64_MAX)
        wait->wait.deadline = clocks->first;
    size_t index = 0;
    lace_status status = select_kept(module, clocks->others, clocks->count, flags, message, wait, &index);
    wait->wait.deadline = deadline;
    if (status == LACE_OK) {
        *ret_index = clocks->indexes[index];
    } else if (status == LACE_TIMEOUT && timer_first) {
        *ret_index = clocks->first_index;
        status = LACE_OK;
    } else if (status == LACE_END) {
        status = LACE_UNSUPPORTED; /* the timers are left to wait for */
    }
    return status;
}

static PyObject *raise_select(lace_module *module, lace_status status, size_t count)
{
    const char *cases = count == 1 ? "case" : "cases";
    switch (status) {
    case LACE_TIMEOUT:
        return PyErr_Format(PyExc_TimeoutError, "select: the timeout passed before any of the %zu %s could happen",
                            count, cases);
    case LACE_END:
        return PyErr_Format(module->end_of_channel, "select: the other side of each of the %zu %s is gone", count,
                            cases);
    case LACE_CLOSED:
        return PyErr_Format(PyExc_ValueError, "select: the end of one of the %zu %s is closed", count, cases);
    default:
        return lace_raise(module, status, "select over", "(several)");
    }
}

PyObject *lace_py_select(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    lace_module *module = lace_module_state(self);
    PyObject *timeout;
    unsigned flags;
    lace_pywait LACE_AUTO(wait);
    if (!read_options(args, nargs, kwnames, &timeout, &flags) || !lace_pywait_init(&wait, module, timeout))
        return NULL;
    if (nargs == 0)
        return PyErr_Format(PyExc_ValueError, "select() needs at least one case");
    lace_message *message = lace_message_borrow(module);
    if (message == NULL)
        return NULL;
    size_t count = (size_t)nargs, index = 0;
    lace_pywait_on_cases(&wait, args, count);
    choice chosen;
    timers clocks;
    PyObject *result = NULL;
    lace_status status;
    bool ready;
    lace_kept_selector *kept;
again:
    chosen = (choice){0};
    clocks = (timers){0};
    status = LACE_UNSUPPORTED;
    ready = true;
    kept = find_kept(module, args, count);
    if (kept != NULL) /* not a look at each of the cases, then */
        status = wait_kept(module, kept, flags, message, &wait, &index);
    else if (!sort_out_timers(module, args, count, &clocks))
        ready = false;
    else if (clocks.first == LACE_NEVER)
        status = select_kept(module, args, count, flags, message, &wait, &index);
    else
        status = select_kept_until(module, &clocks, flags, message, &wait, &index);
    if (ready && status == LACE_UNSUPPORTED) {
        ready = read_cases(module, &chosen, args, count, message);
        if (ready)
            status = lace_select(chosen.cases, count, flags, &wait.wait, &index);
    }
    if (ready)
        status = lace_pywait_done(&wait, status);
    if (ready && status == LACE_INTERRUPTED) {
        choice_finish(&chosen, count);
        free(clocks.others);
        free(clocks.indexes);
        goto again;
    }
    if (ready && status == LACE_OK) {
        PyObject *value = Py_TYPE(args[index]) == module->receiver_type ? lace_decode_message(module, message, 0)
                                                                        : Py_NewRef(Py_None);
        if (value != NULL)
            result = Py_BuildValue("ON", args[index], value);
    } else if (ready) {
        raise_select(module, status, count);
    }
    choice_finish(&chosen, status == LACE_OK ? index : count);
    free(clocks.others);
    free(clocks.indexes);
    lace_message_return(module, message);
    return result;
}

static PyType_Slot after_slots[] = {
    {Py_tp_dealloc, after_dealloc},
    {Py_tp_repr, after_repr},
    {Py_tp_doc, (void *)"A case of select(), made by after(): it happens once its time has come.\n\n"
                        "    case, value = interlace.select(interlace.after(0.01))\n"
                        "    print(value)                       # None"},
    {0, NULL},
};

static PyType_Spec after_spec = {"interlace.After", sizeof(after_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                 after_slots};

bool lace_select_ready(PyObject *module, lace_module *state)
{
    state->after_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &after_spec, NULL);
    return state->after_type != NULL && PyModule_AddType(module, state->after_type) == 0;
}
