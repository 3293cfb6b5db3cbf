/* within.c - a call that may take so long: when its time is over, it is interrupted as a cancelled worker is.
 *
 * Each interpreter that makes such calls has one thread that sleeps until the first of them is due. A call costs that
 * thread nothing, unless it is due before what the thread sleeps for: it finds out when it wakes.
 *
 * The lock of a watch is held for a few instructions, with and without the GIL, and never while waiting for the GIL or
 * for another lock than those that firing a scope takes. */
#include <math.h>
#include <stdlib.h>

#include "module.h"

#define STACK_SIZE ((size_t)256 << 10)

/* One call under way, in the frame of lace_py_within. All of it is guarded by the watch's lock. */
typedef struct timed_call {
    struct timed_call *next;
    int64_t due;
    unsigned long thread;
    lace_scope *scope; /* of the call's waits */
    bool over;         /* it has been interrupted, or is about to be */
} timed_call;

struct lace_watch {
    pthread_t thread;
    lace_worker *worker; /* borrowed from the module, which outlives the watch */
    PyObject *cancelled; /* likewise */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    timed_call *calls;  /* the rest is guarded by `lock` */
    int64_t asleep_for; /* what the thread waits for; LACE_NEVER: a call */
    bool stopping;
};

/* ---- the thread --------------------------------------------------------------------------------------- */

/* When the first of the calls is due that have not been interrupted yet; LACE_NEVER: there is none. Locked. */
static int64_t first_due(const lace_watch *watch)
{
    int64_t due = LACE_NEVER;
    for (const timed_call *call = watch->calls; call != NULL; call = call->next)
        if (!call->over && (due == LACE_NEVER || call->due < due))
            due = call->due;
    return due;
}

/* Interrupts a call that is due, and says in which thread; 0: there is none. A call ends with the GIL held, as it is
 * here: none does meanwhile. */
static unsigned long interrupt_one(lace_watch *watch)
{
    unsigned long thread = 0;
    pthread_mutex_lock(&watch->lock);
    int64_t now = lace_clock();
    for (timed_call *call = watch->calls; call != NULL && thread == 0; call = call->next) {
        if (call->over || call->due > now)
            continue;
        call->over = true;
        lace_cancel_fire(lace_scope_cancel_token(call->scope));
        PyThreadState_SetAsyncExc(call->thread, watch->cancelled);
        thread = call->thread;
    }
    pthread_mutex_unlock(&watch->lock);
    return thread;
}

/* Interrupts what is due; false when the interpreter is about to end. */
static bool interrupt_due(lace_watch *watch)
{
    PyThreadState *tstate = lace_worker_attach(watch->worker);
    if (tstate == NULL)
        return false;
    for (unsigned long thread; (thread = interrupt_one(watch)) != 0;)
        lace_interrupt_loops(thread);
    lace_worker_detach(watch->worker, tstate);
    return true;
}

static void *keep_watch(void *argument)
{
    lace_watch *watch = argument;
    pthread_setname_np(pthread_self(), "watch");
    pthread_mutex_lock(&watch->lock);
    bool living = true;
    while (!watch->stopping) {
        int64_t due = living ? first_due(watch) : LACE_NEVER;
        watch->asleep_for = due;
        if (due == LACE_NEVER) {
            pthread_cond_wait(&watch->changed, &watch->lock);
        } else if (due > lace_clock()) {
            const struct timespec until = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
            pthread_cond_clockwait(&watch->changed, &watch->lock, CLOCK_MONOTONIC, &until);
        } else {
            pthread_mutex_unlock(&watch->lock);
            living = interrupt_due(watch);
            pthread_mutex_lock(&watch->lock);
        }
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

static lace_watch *get_watch(lace_module *module)
{
    if (module->watch != NULL)
        return module->watch;
    lace_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    watch->worker = module->worker;
    watch->cancelled = module->cancelled;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->changed, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error = pthread_create(&watch->thread, &attributes, keep_watch, watch);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        free(watch);
        PyErr_SetString(PyExc_RuntimeError, "timeout: the system lets this process have no more threads");
        return NULL;
    }
    module->watch = watch;
    return watch;
}

void lace_watch_destroy(lace_watch *watch)
{
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL); /* it does not wait for the GIL any more: see withdraw_interpreter */
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

/* ---- the call ----------------------------------------------------------------------------------------- */

static void begin(lace_watch *watch, timed_call *call)
{
    pthread_mutex_lock(&watch->lock);
    call->next = watch->calls;
    watch->calls = call;
    if (watch->asleep_for == LACE_NEVER || call->due < watch->asleep_for)
        pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

static void end(lace_watch *watch, timed_call *call)
{
    pthread_mutex_lock(&watch->lock);
    timed_call **link = &watch->calls;
    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    pthread_mutex_unlock(&watch->lock);
}

/* TimeoutError, whatever came of the call, which stays visible as its context. */
static PyObject *raise_over(lace_module *module, PyObject *seconds, PyObject *result)
{
    PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL); /* not in what comes after the call */
    PyObject *raised = PyErr_GetRaisedException();
    Py_XDECREF(result);
    if (lace_scope_cancelled(module->worker->scope)) {
        Py_XDECREF(raised);
        if (module->worker == lace_worker_current())
            module->worker->told = true; /* see wait.c */
        return lace_raise(module, LACE_CANCELLED, "", "");
    }
    PyErr_Format(PyExc_TimeoutError, "it took longer than %R s", seconds);
    if (raised != NULL) {
        PyObject *error = PyErr_GetRaisedException();
        PyException_SetContext(error, raised);
        PyErr_SetRaisedException(error);
    }
    return NULL;
}

/* _within(seconds, function, *args): what function(*args) returns or raises; TimeoutError when it took longer: its
 * bytecode and our waits in it are interrupted by Cancelled then. */
PyObject *lace_py_within(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    lace_module *module = lace_module_state(self);
    if (nargs < 2)
        return PyErr_Format(PyExc_TypeError, "_within() takes seconds and a function");
    double seconds = PyFloat_AsDouble(args[0]);
    if (seconds == -1.0 && PyErr_Occurred())
        return NULL;
    if (module->worker == NULL)
        return PyErr_Format(PyExc_RuntimeError, "this is not a worker");
    lace_watch *watch = get_watch(module);
    if (watch == NULL)
        return NULL;
    lace_scope *parent = lace_scope_current();
    timed_call call = {.thread = PyThread_get_thread_ident(),
                       .scope = lace_scope_create(parent ? parent : module->worker->scope)};
    if (call.scope == NULL)
        return PyErr_NoMemory();
    lace_scope_set_timed(call.scope);
    int64_t due = lace_deadline_after(seconds);
    call.due = due == LACE_NEVER ? INT64_MAX : due == LACE_NOW ? lace_clock() : due;
    lace_scope_enter(call.scope);
    begin(watch, &call);
    PyObject *result = PyObject_Vectorcall(args[1], args + 2, (size_t)(nargs - 2), NULL);
    end(watch, &call);
    lace_scope_exit(call.scope);
    lace_scope_unref(call.scope);
    return call.over ? raise_over(module, args[0], result) : result;
}
