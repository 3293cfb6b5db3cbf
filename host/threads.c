/* threads.c - the Python threads of an attached interpreter: interrupting them and their event loops, saying where one is. */
#include <string.h>

#include "../channels/text.h"
#include "module.h"

/* Whether one of the threads is starting: threading knows of such a one, and this is none that it has seen running. */
static bool one_is_starting(const unsigned long *idents, size_t count)
{
    PyObject *threading = PyDict_GetItemString(PyImport_GetModuleDict(), "threading"); /* borrowed */
    PyObject *limbo = threading ? PyObject_GetAttrString(threading, "_limbo") : NULL;
    PyObject *active = threading ? PyObject_GetAttrString(threading, "_active") : NULL;
    bool starting = false;
    if (limbo != NULL && active != NULL && PyObject_Size(limbo) > 0) {
        for (size_t i = 0; i < count && !starting; i++) {
            PyObject *ident = PyLong_FromUnsignedLong(idents[i]);
            starting = ident != NULL && PySequence_Contains(active, ident) == 0;
            Py_XDECREF(ident);
        }
    }
    PyErr_Clear();
    Py_XDECREF(limbo);
    Py_XDECREF(active);
    return starting;
}

void lace_hush_threads(void)
{
    PyObject *bootstrap = PyImport_ImportModule("interlace._bootstrap");
    PyObject *done = bootstrap ? PyObject_CallMethod(bootstrap, "hush_threads", NULL) : NULL;
    if (done == NULL)
        PyErr_Clear(); /* they will be louder than need be */
    Py_XDECREF(done);
    Py_XDECREF(bootstrap);
}

bool lace_interrupt_threads(unsigned long spared, PyObject *cancelled)
{
    PyThreadState *own = PyThreadState_Get();
    unsigned long idents[256];
    size_t count = 0;
    PyThreadState *t = PyInterpreterState_ThreadHead(PyThreadState_GetInterpreter(own));
    for (; t != NULL && count < sizeof idents / sizeof *idents; t = PyThreadState_Next(t))
        if (t != own && t->thread_id != spared)
            idents[count++] = t->thread_id;
    if (count > 0 && one_is_starting(idents, count))
        return false;
    if (count > 0)
        lace_hush_threads();
    for (size_t i = 0; i < count; i++)
        PyThreadState_SetAsyncExc(idents[i], cancelled);
    return true;
}

void lace_interrupt_loops(unsigned long thread)
{
    PyObject *name = PyUnicode_FromString("asyncio.base_events");
    PyObject *loops = name ? PyImport_GetModule(name) : NULL;
    PyObject *python = loops ? PyImport_ImportModule("interlace._asyncio") : NULL;
    PyObject *done = python ? PyObject_CallMethod(python, "interrupt", "k", thread) : NULL;
    if (done == NULL)
        PyErr_Clear(); /* no loop, or one that the grace period will end */
    Py_XDECREF(done);
    Py_XDECREF(python);
    Py_XDECREF(loops);
    Py_XDECREF(name);
}

/* Whether frames in a file tell nobody anything: those of our own, such as lead into exported functions; and, of a thread
 * that waits for another one of its interpreter, those of the modules that it does so with. */
static bool is_passed_over(const char *file, bool past_locks)
{
    const char *slash = file ? strrchr(file, '/') : NULL;
    if (file == NULL)
        return false;
    return strncmp(file, "<interlace>", strlen("<interlace>")) == 0 ||
           (past_locks && slash != NULL &&
            (strcmp(slash, "/threading.py") == 0 || strcmp(slash, "/queue.py") == 0 ||
             strstr(file, "/concurrent/futures/") != NULL));
}

void lace_module_describe_thread(unsigned long ident, bool past_locks, char *text, size_t size)
{
    PyObject *frames = PySys_GetObject("_current_frames"); /* borrowed */
    PyObject *all = frames ? PyObject_CallNoArgs(frames) : NULL;
    PyObject *key = PyLong_FromUnsignedLong(ident);
    PyFrameObject *frame = (PyFrameObject *)(all && key ? Py_XNewRef(PyDict_GetItemWithError(all, key)) : NULL);
    bool ours = true;
    while (frame != NULL && ours) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        const char *file = PyUnicode_AsUTF8(code->co_filename), *name = PyUnicode_AsUTF8(code->co_qualname);
        ours = is_passed_over(file, past_locks);
        PyFrameObject *back = ours ? PyFrame_GetBack(frame) : NULL;
        if (back == NULL)
            lace_text_print(text, size, "%s, line %d, in %s", file ? file : "?", PyFrame_GetLineNumber(frame),
                            name ? name : "?");
        Py_DECREF(code);
        Py_SETREF(frame, back);
    }
    Py_XDECREF(frame);
    PyErr_Clear();
    Py_XDECREF(key);
    Py_XDECREF(all);
}

PyObject *lace_unraisablehook(PyObject *self, PyObject *unraisable)
{
    lace_module *module = lace_module_state(self);
    if (module->worker != NULL && lace_scope_cancelled(module->worker->scope)) {
        PyObject *type = PyObject_GetAttrString(unraisable, "exc_type");
        bool cancelled = type != NULL && PyType_Check(type) &&
                         PyType_IsSubtype((PyTypeObject *)type, (PyTypeObject *)module->cancelled);
        Py_XDECREF(type);
        if (cancelled) {
            if (module->worker == lace_worker_current() && !module->settled)
                PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), module->cancelled);
            Py_RETURN_NONE;
        }
        /* An event loop that was being made or closed when Cancelled came: it has nothing to complain about. */
        PyObject *what = PyObject_GetAttrString(unraisable, "err_msg");
        const char *text = what != NULL && PyUnicode_Check(what) ? PyUnicode_AsUTF8(what) : NULL;
        bool loop = text != NULL && strstr(text, "BaseEventLoop.__del__") != NULL;
        Py_XDECREF(what);
        if (loop)
            Py_RETURN_NONE;
        PyErr_Clear();
    }
    PyObject *hook = PySys_GetObject("__unraisablehook__"); /* borrowed */
    return hook ? PyObject_CallOneArg(hook, unraisable) : Py_NewRef(Py_None);
}
