/* export.c - C functions that the application offers to Python: interlace.host.NAME(...). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed.h"
#include "module.h"

typedef struct export
{
    struct export *next;
    char *name;
    lace_function function;
    void *context;
    unsigned flags;
}
export;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list; held for a few instructions */
static export *exports;

static _Thread_local lace_worker *calling; /* whose code has called the function that this thread is in; NULL: nobody's */

lace_worker *lace_worker_around(void)
{
    lace_worker *own = lace_worker_current();
    return own != NULL ? own : calling;
}

struct lace_call {
    const lace_value *args;
    const char *worker;
    lace_wait wait;
    char type[64]; /* of the exception to raise; "": none */
    char *message; /* malloc'ed; NULL: no memory */
};

/* In whatever locale. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_keyword(const char *name)
{
    static const char *const keywords[] = {
        "False",  "None",     "True",  "and",    "as",   "assert", "async",  "await",    "break", "class", "continue", "def",
        "del",    "elif",     "else",  "except", "for",  "finally", "from",  "global",   "if",    "import", "in",      "is",
        "lambda", "nonlocal", "not",   "or",     "pass", "raise",  "return", "try",      "while", "with",  "yield"};
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(name, keywords[i]) == 0)
            return true;
    return false;
}

static bool is_name(const char *name)
{
    if (name == NULL || !is_letter(name[0]) || is_keyword(name))
        return false;
    for (const char *c = name; *c != '\0'; c++)
        if (!is_letter(*c) && !(*c >= '0' && *c <= '9') && *c != '_')
            return false;
    return true;
}

lace_status lace_export(lace_host *host, const char *name, lace_function function, void *context, unsigned flags)
{
    lace_status status = lace_host_check(host);
    if (status != LACE_OK)
        return status;
    if (!is_name(name))
        return lace_object(LACE_INVALID,
                           "the name of a function must be a Python identifier that begins with a letter, and no "
                           "keyword, not %s%s%s",
                           name ? "\"" : "", name ? name : "NULL", name ? "\"" : "");
    if (function == NULL || (flags & ~LACE_EXPORT_KEEP_LOCK) != 0)
        return lace_object(LACE_INVALID, function ? "flags that this library does not know" : "the function is NULL");
    status = lace_host_enter(host);
    if (status != LACE_OK)
        return status;
    pthread_mutex_lock(&lock);
    export *each = exports;
    while (each != NULL && strcmp(each->name, name) != 0)
        each = each->next;
    if (each == NULL) {
        each = calloc(1, sizeof *each);
        if (each != NULL && (each->name = strdup(name)) != NULL) {
            each->next = exports;
            exports = each;
        } else {
            free(each);
            each = NULL;
        }
    }
    if (each != NULL) {
        each->function = function;
        each->context = context;
        each->flags = flags;
    }
    pthread_mutex_unlock(&lock);
    lace_host_leave();
    return each != NULL ? LACE_OK : lace_object(LACE_NOMEM, "out of memory");
}

void lace_exports_clear(void)
{
    pthread_mutex_lock(&lock);
    while (exports != NULL) {
        export *gone = exports;
        exports = gone->next;
        free(gone->name);
        free(gone);
    }
    pthread_mutex_unlock(&lock);
}

/* Copies an entry, its name left out; false: there is none. */
static bool find(const char *name, export *ret_export)
{
    pthread_mutex_lock(&lock);
    export *each = exports;
    while (each != NULL && strcmp(each->name, name) != 0)
        each = each->next;
    if (each != NULL)
        *ret_export = *each;
    pthread_mutex_unlock(&lock);
    return each != NULL;
}

/* ---- a call --------------------------------------------------------------------------------------------- */

const lace_value *lace_call_args(const lace_call *call)
{
    return call != NULL ? call->args : NULL;
}

const char *lace_call_worker(const lace_call *call)
{
    return call != NULL ? call->worker : "";
}

const lace_wait *lace_call_wait(const lace_call *call)
{
    return call != NULL ? &call->wait : NULL;
}

lace_value *lace_call_fail(lace_call *call, const char *type, const char *format, ...)
{
    if (call == NULL)
        return NULL;
    va_list arguments;
    va_start(arguments, format);
    free(call->message);
    if (format == NULL || vasprintf(&call->message, format, arguments) < 0)
        call->message = NULL;
    va_end(arguments);
    snprintf(call->type, sizeof call->type, "%s", type != NULL && type[0] != '\0' ? type : "RuntimeError");
    return NULL;
}

/* _exports(): the names, a list. */
PyObject *lace_py_exports(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    PyObject *names = PyList_New(0);
    pthread_mutex_lock(&lock);
    for (export *each = exports; names != NULL && each != NULL; each = each->next) {
        PyObject *name = PyUnicode_FromString(each->name);
        if (name == NULL || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    pthread_mutex_unlock(&lock);
    return names;
}

/* Python's arguments as a value: NULL with an exception set. */
static lace_value *read_arguments(lace_module *module, PyObject *const *args, Py_ssize_t count, const char *name)
{
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != NULL && i < count; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    lace_encoded encoded;
    if (tuple == NULL || !lace_encode(module, tuple, &encoded)) {
        Py_XDECREF(tuple);
        return NULL;
    }
    Py_DECREF(tuple);
    lace_payload payload = lace_encoded_payload(&encoded);
    lace_value *value = NULL;
    lace_status status = lace_value_decode(&payload, &value);
    lace_encoded_finish(&encoded, status == LACE_OK);
    if (status == LACE_NOMEM)
        PyErr_NoMemory();
    else if (status != LACE_OK)
        PyErr_Format(PyExc_TypeError, "interlace.host.%s() takes plain values: %s", name, lace_problem());
    return status == LACE_OK ? value : NULL;
}

/* A value (taken) as Python's object: NULL with an exception set. */
static PyObject *make_result(lace_module *module, lace_value *value, const char *name)
{
    lace_payload payload;
    lace_status status = lace_value_encode(value, lace_region_of_host(), &payload);
    if (status == LACE_NOMEM)
        return PyErr_NoMemory();
    if (status != LACE_OK)
        return PyErr_Format(PyExc_ValueError, "interlace.host.%s() returned what is no value: %s", name,
                            lace_problem());
    /* As the body of a job: bytes, and what travels beside them. */
    lace_job job = {
        .body = (char *)payload.data, .body_size = payload.size, .attachment_count = payload.attachment_count};
    job.attachments = (lace_attachment *)payload.attachments;
    PyObject *object = lace_decode_job(module, &job);
    for (size_t i = 0; i < payload.attachment_count; i++) {
        const lace_attachment *left = &payload.attachments[i]; /* what the object did not take is NONE there by now */
        if (left->kind == LACE_ATTACH_SENDER)
            lace_sender_destroy(left->as.sender);
        else if (left->kind == LACE_ATTACH_RECEIVER)
            lace_receiver_destroy(left->as.receiver);
        else if (left->kind == LACE_ATTACH_BLOCK)
            lace_block_destroy(left->as.block);
    }
    lace_payload_finish(&payload, true);
    return object;
}

/* The exception that the function asked for; a RuntimeError where there is no such type, or none that a text makes. */
static PyObject *raise_failure(lace_call *call)
{
    const char *message = call->message != NULL ? call->message : "";
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
    PyObject *builtins = PyImport_ImportModule("builtins");
    PyObject *type = builtins ? PyObject_GetAttrString(builtins, call->type) : NULL;
    PyObject *raised = type && text && PyExceptionClass_Check(type) ? PyObject_CallOneArg(type, text) : NULL;
    if (text != NULL && (raised == NULL || !PyExceptionInstance_Check(raised))) {
        PyErr_Clear();
        Py_XSETREF(raised, PyObject_CallOneArg(PyExc_RuntimeError, text));
    }
    if (raised != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(raised), raised);
    Py_XDECREF(raised);
    Py_XDECREF(type);
    Py_XDECREF(builtins);
    Py_XDECREF(text);
    return NULL;
}

/* _call_exported(name, *args) */
PyObject *lace_py_call_exported(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    lace_module *module = lace_module_state(self);
    const char *name = nargs > 0 ? PyUnicode_AsUTF8(args[0]) : NULL;
    export called;
    if (name == NULL)
        return nargs > 0 ? NULL : PyErr_Format(PyExc_TypeError, "a name is missing");
    if (!find(name, &called))
        return PyErr_Format(PyExc_AttributeError, "the application offers no function '%s' any more", name);
    lace_pywait LACE_AUTO(wait);
    if (!lace_pywait_init(&wait, module, NULL))
        return NULL;
    lace_value *arguments = read_arguments(module, args + 1, nargs - 1, name);
    if (arguments == NULL)
        return NULL;
    lace_call call = {.args = arguments,
                      .worker = module->worker ? module->worker->name : "main",
                      .wait = {.cancel = wait.wait.cancel}};
    PyThreadState *tstate = called.flags & LACE_EXPORT_KEEP_LOCK ? NULL : PyEval_SaveThread();
    lace_worker *before = calling;
    calling = module->worker;
    lace_value *result = called.function(&call, called.context);
    calling = before;
    if (tstate != NULL)
        PyEval_RestoreThread(tstate);
    if (result == arguments) /* by a cast, and taken now */
        arguments = NULL;
    PyObject *object = NULL;
    if ((call.type[0] != '\0' || result == NULL) && call.wait.cancel != NULL && lace_cancel_fired(call.wait.cancel)) {
        /* Whatever it says: it had to give up because the worker is cancelled, and that is what the worker ends with. */
        lace_value_destroy(result);
        object = lace_raise(module, lace_pywait_done(&wait, LACE_CANCELLED), "calling", name);
    } else if (call.type[0] != '\0') {
        lace_value_destroy(result);
        object = raise_failure(&call);
    } else if (result == NULL) {
        PyErr_Format(PyExc_RuntimeError, "interlace.host.%s() failed without saying why", name);
    } else {
        object = make_result(module, result, name);
    }
    lace_value_destroy(arguments); /* after the result, which may be a part of it: that is refused, not freed */
    free(call.message);
    return object;
}
