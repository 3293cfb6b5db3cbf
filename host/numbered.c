/* numbered.c - the numbered call that a worker is at, which can be cancelled without ending the worker.
 *
 * Whoever hands out calls (an Executor) numbers them in the order it sends them, over one channel that its workers
 * share. So each worker sees growing numbers, and a call that is to be cancelled is in one of three places: some
 * worker is at it, or no worker has begun it, or it is over. Asking every worker covers all three: the one that is
 * at it is interrupted, the others note the number and skip the call should they come to it; a greater number proves
 * that they will not.
 *
 * While a worker is at a call, its waits are under a scope of the call's own, below the worker's. Interrupting is
 * told exactly once, as wait.c argues for a worker's cancellation: by the wait that the scope ends, or by an
 * exception that another thread sets with the worker's GIL. Between the end of the call's bytecode and end() none
 * runs, so that an exception that comes too late is taken back there. */
#include <stdlib.h>

#include "module.h"
#include "process.h"

/* ---- the worker's side -------------------------------------------------------------------------------- */

typedef enum begun { BEGUN, SKIPPED, NO_MEMORY } begun;

/* With the worker's GIL, on its own thread; so are the next two. */
static begun begin(lace_worker *worker, uint64_t number)
{
    lace_numbered *call = &worker->call;
    lace_scope *scope = call->scope;
    if (scope == NULL) {
        scope = lace_scope_create(worker->scope);
        if (scope == NULL)
            return NO_MEMORY;
        lace_scope_enter(scope);
    }
    bool skip = false;
    size_t kept = 0;
    pthread_mutex_lock(&call->lock);
    call->scope = scope;
    call->last = number;
    for (size_t i = 0; i < call->skip_count; i++) {
        skip = skip || call->skip[i] == number;
        if (call->skip[i] > number)
            call->skip[kept++] = call->skip[i];
    }
    call->skip_count = kept;
    if (!skip)
        call->number = number;
    if (!skip && call->shown != NULL)
        atomic_store(call->shown, number);
    pthread_mutex_unlock(&call->lock);
    return skip ? SKIPPED : BEGUN;
}

/* Whether it was interrupted. No Cancelled of the call's comes any more. */
static bool end(lace_worker *worker)
{
    lace_numbered *call = &worker->call;
    lace_scope *done = NULL;
    pthread_mutex_lock(&call->lock);
    call->number = 0;
    if (call->shown != NULL)
        atomic_store(call->shown, 0);
    bool interrupted = atomic_load(&call->interrupted);
    /* Something that outlives the call, an Executor made in it, say, may be below its scope. */
    if (interrupted || lace_scope_is_shared(call->scope)) {
        done = call->scope;
        call->scope = NULL;
        atomic_store(&call->interrupted, false);
    }
    pthread_mutex_unlock(&call->lock);
    if (interrupted && call->told && !worker->told)
        PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL);
    call->told = false;
    if (done != NULL)
        lace_scope_exit(done);
    lace_scope_unref(done);
    return interrupted;
}

/* _run_call(number, function, args, kwargs): (0, the result), (1, the exception), or (2, None) for a call that was
 * cancelled. */
PyObject *lace_py_run_call(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 4 || !PyTuple_Check(args[2]) || !PyDict_Check(args[3]))
        return PyErr_Format(PyExc_TypeError, "_run_call() takes a number, a function, a tuple and a dict");
    uint64_t number = PyLong_AsUnsignedLongLong(args[0]);
    if (PyErr_Occurred())
        return NULL;
    lace_worker *worker = lace_module_state(self)->worker;
    if (worker == NULL || worker != lace_worker_current() || worker->call.number != 0)
        return PyErr_Format(PyExc_RuntimeError, "a worker's own thread runs one numbered call at a time");
    begun did = begin(worker, number);
    if (did == NO_MEMORY)
        return PyErr_NoMemory();
    if (did == SKIPPED)
        return Py_BuildValue("(iO)", 2, Py_None);
    PyObject *result = PyObject_Call(args[1], args[2], args[3]);
    PyObject *raised = result ? NULL : PyErr_GetRaisedException();
    if (end(worker)) {
        Py_XDECREF(result);
        Py_XDECREF(raised);
        return Py_BuildValue("(iO)", 2, Py_None);
    }
    return result ? Py_BuildValue("(iN)", 0, result) : Py_BuildValue("(iN)", 1, raised);
}

/* ---- from outside ------------------------------------------------------------------------------------- */

bool lace_numbered_at(lace_worker *worker, uint64_t number)
{
    if (worker->process != NULL)
        return lace_process_at(worker) == number;
    pthread_mutex_lock(&worker->call.lock);
    bool at = worker->call.number == number;
    pthread_mutex_unlock(&worker->call.lock);
    return at;
}

/* With the lock: false when there is no memory. */
static bool note(lace_numbered *call, uint64_t number)
{
    if (call->skip_count == call->skip_room) {
        size_t room = call->skip_room ? call->skip_room * 2 : 8;
        uint64_t *grown = realloc(call->skip, room * sizeof *grown);
        if (grown == NULL)
            return false;
        call->skip = grown;
        call->skip_room = room;
    }
    call->skip[call->skip_count++] = number;
    return true;
}

bool lace_numbered_revoke(lace_worker *worker, uint64_t number, bool interrupt, bool *ret_noted)
{
    lace_numbered *call = &worker->call;
    lace_scope *scope = NULL;
    if (worker->process != NULL) { /* what it has come to by then is not known here */
        *ret_noted = false;
        lace_process_revoke(worker, number, interrupt);
        return true;
    }
    pthread_mutex_lock(&call->lock);
    bool ahead = number > call->last, well = !ahead || note(call, number);
    *ret_noted = ahead && well;
    if (call->number == number && interrupt && !atomic_load(&call->interrupted)) {
        atomic_store(&call->interrupted, true);
        scope = lace_scope_ref(call->scope);
    }
    pthread_mutex_unlock(&call->lock);
    if (scope != NULL) {
        lace_scope_cancel(scope); /* the keeper sees to the bytecode */
        lace_scope_unref(scope);
    }
    return well;
}

uint64_t lace_numbered_interrupted(lace_worker *worker)
{
    pthread_mutex_lock(&worker->call.lock);
    uint64_t number = atomic_load(&worker->call.interrupted) ? worker->call.number : 0;
    pthread_mutex_unlock(&worker->call.lock);
    return number;
}

void lace_numbered_tell(lace_worker *worker)
{
    lace_numbered *call = &worker->call;
    if (!atomic_load(&call->interrupted) || call->told || worker->told || atomic_load(&worker->waiting))
        return;
    PyThreadState_SetAsyncExc(worker->thread_ident, worker->cancelled_type);
    call->told = true;
}

void lace_numbered_finish(lace_numbered *call)
{
    lace_scope_unref(call->scope);
    free(call->skip);
    pthread_mutex_destroy(&call->lock);
}
