/* wait.c - a wait of Python's: the GIL is free meanwhile, and whoever cancels the worker ends it. */
#include <math.h>

#include "module.h"
#include "process.h"

/* How a cancellation reaches a worker exactly once: as the exception of a wait, or out of the blue. The canceller fires
 * the scope, then the keeper reads `waiting`: when it is set, it leaves the worker alone, since the wait returns
 * LACE_CANCELLED. The worker clears `waiting`, then reads whether the scope was fired: when its call succeeded all the
 * same, it interrupts itself. Both have a full fence between their write and their read, so that at least one sees the
 * other's. Who tells the worker does it with the worker's GIL and sets `told`, so that nobody tells it again. */

static lace_worker *own_worker(const lace_pywait *wait)
{
    lace_worker *worker = lace_worker_current();
    return worker != NULL && worker == wait->module->worker ? worker : NULL;
}

/* What the last stage of a pipe has written is to be seen before it waits for more input. */
static void flush_output(lace_module *module)
{
    module->flush_wanted = false;
    PyObject *stream = PySys_GetObject("stdout"); /* borrowed */
    PyObject *done = stream ? PyObject_CallMethod(stream, "flush", NULL) : NULL;
    if (done == NULL)
        PyErr_Clear(); /* it is remembered, and the next send() raises it: see _stage.py */
    Py_XDECREF(done);
}

static void park(void *context)
{
    lace_pywait *wait = context;
    if (wait->module->flush_wanted)
        flush_output(wait->module);
    lace_worker *worker = own_worker(wait);
    wait->parked = true;
    if (worker != NULL && worker->owes_spare)
        lace_pool_repay(worker);
    /* Before the wait is told of, since the handlers that run here may wait themselves. */
    if (wait->module->main_thread != 0 && wait->module->main_thread == PyThread_get_thread_ident()) {
        lace_interrupt_arm(&wait->interrupt, wait->wait.cancel);
        if (wait->interrupt.token != NULL)
            wait->wait.cancel = wait->interrupt.token;
    }
    lace_waits_begin(wait->module->waits, &wait->awaited);
    if (worker != NULL && !wait->unheeding)
        atomic_store(&worker->waiting, true);
    else
        atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&wait->module->waits->watched))
        lace_watcher_poke(wait->module->waits);
    wait->saved = PyEval_SaveThread();
}

static void unpark(void *context)
{
    lace_pywait *wait = context;
    PyEval_RestoreThread(wait->saved);
    if (wait->interrupt.token != NULL) {
        wait->wait.cancel = wait->interrupt.parent;
        lace_interrupt_disarm(&wait->interrupt);
    }
    lace_worker *worker = own_worker(wait);
    lace_waits_end(wait->module->waits, &wait->awaited);
    if (worker != NULL && !wait->unheeding)
        atomic_store(&worker->waiting, false);
}

/* Where no host is open, the keeper is not there to end a wait when Ctrl-C comes: a call does what it can do at once. */
static void bound_if_closed(lace_pywait *wait)
{
    wait->closed = wait->scope == NULL && wait->wait.deadline != LACE_NOW;
    if (wait->closed)
        wait->wait.deadline = LACE_NOW;
}

bool lace_pywait_init(lace_pywait *wait, lace_module *module, PyObject *timeout)
{
    *wait = (lace_pywait){.module = module};
    lace_scope *scope = lace_scope_current();
    if (scope == NULL && module->worker != NULL)
        scope = module->worker->scope;
    wait->scope = scope != NULL ? lace_scope_ref(scope) : lace_host_scope_ref();
    if (wait->scope != NULL)
        wait->wait.cancel = lace_scope_cancel_token(wait->scope);
    wait->wait.park = park;
    wait->wait.unpark = unpark;
    wait->wait.context = wait;
    if (timeout == NULL || timeout == Py_None)
        return bound_if_closed(wait), true;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "timeout must be None or a number of seconds, not %T", timeout);
        return false;
    }
    if (isnan(seconds) || seconds < 0) {
        PyErr_Format(PyExc_ValueError, "timeout must be None or a number of seconds from 0 on, not %R", timeout);
        return false;
    }
    wait->wait.deadline = lace_deadline_after(seconds);
    wait->awaited.timed = wait->wait.deadline != LACE_NEVER;
    bound_if_closed(wait);
    return true;
}

void lace_pywait_drop(lace_pywait *wait)
{
    lace_scope_unref(wait->scope);
    wait->scope = NULL;
}

/* A signal came while the call waited, or just before. */
static lace_status interrupted(lace_pywait *wait, lace_status status)
{
    wait->interrupt.fired = false;
    if (status != LACE_CANCELLED) {
        /* It was done all the same, or has failed: that comes first, the handlers at the next bytecode, and so what one
         * has raised already. */
        PyObject *raised = wait->interrupt.raised;
        wait->interrupt.raised = NULL;
        if (raised != NULL)
            PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), (PyObject *)Py_TYPE(raised));
        Py_XDECREF(raised);
        return status;
    }
    if (lace_interrupt_raises(&wait->interrupt))
        return LACE_RAISED;
    return wait->scope != NULL && lace_scope_cancelled(wait->scope) ? LACE_CANCELLED : LACE_INTERRUPTED;
}

lace_status lace_pywait_done(lace_pywait *wait, lace_status status)
{
    /* Whoever fails cancels its group before its ends close: what is seen of that in the group is the cancellation. */
    if ((status == LACE_END || status == LACE_BROKEN) && wait->scope != NULL &&
        (lace_scope_cancelled(wait->scope) || lace_child_is_cancelled()))
        status = LACE_CANCELLED;
    if (wait->closed && status == LACE_TIMEOUT)
        return LACE_INVALID; /* which is raised as that */
    bool parked = wait->parked;
    if (wait->interrupt.fired) {
        status = interrupted(wait, status);
        wait->parked = false; /* it may be made again */
    }
    lace_worker *worker = own_worker(wait);
    if (worker == NULL || wait->unheeding || (status != LACE_CANCELLED && !parked))
        return status;
    atomic_thread_fence(memory_order_seq_cst);
    bool *told = &worker->told;
    if (!lace_scope_cancelled(worker->scope)) {
        if (!atomic_load(&worker->call.interrupted))
            return status; /* it is the group around this wait that was cancelled, or nothing */
        told = &worker->call.told; /* likewise: see numbered.c */
    }
    if (status != LACE_CANCELLED && !*told) {
        PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), wait->module->cancelled);
        wait->late = true;
    }
    *told = true;
    return status;
}
