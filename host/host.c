/* host.c - what there is one of in the process: the region, the scope above all others, and whether the host is open. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../channels/fork.h"
#include "deadlock.h"
#include "directory.h"
#include "ledger.h"
#include "module.h"
#include "process.h"

/* Taken around creating and ending interpreters, by threads without a thread state. CPython has open races there. */
static pthread_mutex_t lifecycle = PTHREAD_MUTEX_INITIALIZER;

/* Held by the thread that opens, which may need the main GIL meanwhile: a thread that has a GIL drops it to wait for this. */
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

/* Guards the next three and changes of `scope`. Held for a few instructions, by threads with or without a GIL. */
static pthread_mutex_t state_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t unused = PTHREAD_COND_INITIALIZER; /* users has become 0 */
static lace_host_state state = LACE_HOST_CLOSED;
static size_t users;  /* threads between lace_host_use and lace_host_leave: what is open stays so for them */
static bool moved_in; /* it was opened by an import: see lace_host_move_in */

/* Written while the host is opened and closed, when no worker is alive and nobody uses it. */
static lace_region *region;
static lace_scope *scope;
static char **path; /* NULL-ended; NULL: none */

void lace_lifecycle_lock(void)
{
    pthread_mutex_lock(&lifecycle);
}

void lace_lifecycle_unlock(void)
{
    pthread_mutex_unlock(&lifecycle);
}

lace_region *lace_region_of_host(void)
{
    return region;
}

lace_scope *lace_host_scope(void)
{
    return scope;
}

char *const *lace_host_path(void)
{
    return path;
}

lace_host_state lace_host_now(void)
{
    pthread_mutex_lock(&state_lock);
    lace_host_state now = state;
    pthread_mutex_unlock(&state_lock);
    return now;
}

bool lace_host_use(void)
{
    pthread_mutex_lock(&state_lock);
    bool open = state == LACE_HOST_OPEN;
    if (open)
        users++;
    pthread_mutex_unlock(&state_lock);
    return open;
}

void lace_host_leave(void)
{
    pthread_mutex_lock(&state_lock);
    if (--users == 0)
        pthread_cond_broadcast(&unused);
    pthread_mutex_unlock(&state_lock);
}

lace_scope *lace_host_scope_ref(void)
{
    pthread_mutex_lock(&state_lock);
    lace_scope *counted = scope ? lace_scope_ref(scope) : NULL;
    pthread_mutex_unlock(&state_lock);
    return counted;
}

static void set_state(lace_host_state now)
{
    pthread_mutex_lock(&state_lock);
    state = now;
    pthread_mutex_unlock(&state_lock);
}

/* ---- opening -------------------------------------------------------------------------------------------- */

static void free_path(void)
{
    for (size_t i = 0; path != NULL && path[i] != NULL; i++)
        free(path[i]);
    free(path);
    path = NULL;
}

static bool copy_path(const char *const *given)
{
    size_t count = 0;
    while (given != NULL && given[count] != NULL)
        count++;
    if (count == 0)
        return true;
    path = calloc(count + 1, sizeof *path);
    for (size_t i = 0; path != NULL && i < count; i++)
        if ((path[i] = strdup(given[i])) == NULL)
            return false;
    return path != NULL;
}

static void let_go(void)
{
    lace_watcher_stop();
    lace_keeper_stop();
    lace_process_close();
    lace_claim_drop();
    pthread_mutex_lock(&state_lock);
    lace_scope *gone = scope;
    scope = NULL;
    pthread_mutex_unlock(&state_lock);
    lace_scope_unref(gone);
    lace_ledger_clear();
    if (region != NULL)
        lace_region_abandon(region);
    region = NULL;
    free_path();
}

static lace_status set_up(const lace_host_setup *setup)
{
    lace_pool_open();
    lace_output_configure(setup->tag, setup->output, setup->context);
    region = setup->region;
    lace_status status = region != NULL ? LACE_OK : lace_region_create(NULL, &region);
    if (status != LACE_OK)
        return lace_object(status, "no shared memory for the channels: %s", lace_strerror(status));
    lace_scope *made = lace_scope_create(NULL);
    pthread_mutex_lock(&state_lock);
    scope = made;
    pthread_mutex_unlock(&state_lock);
    if (made == NULL || !copy_path(setup->path))
        return lace_object(LACE_NOMEM, "out of memory");
    /* Python first: the keeper has to know whether Ctrl-C is Python's. */
    const char *error = lace_python_up(setup->leaves);
    if (error != NULL)
        return lace_object(LACE_FAILED, "%s", error);
    status = lace_python_claim();
    if (status != LACE_OK)
        return status;
    if (!lace_python_is_ours())
        lace_workers_leave_one();
    error = lace_keeper_start(setup->grace, setup->leaves);
    if (error != NULL)
        return lace_object(LACE_SYSTEM, "%s", error);
    error = lace_watcher_start(setup->leaves);
    if (error != NULL)
        return lace_object(LACE_SYSTEM, "%s", error);
    return LACE_OK;
}

lace_status lace_host_start(const lace_host_setup *setup)
{
    if (pthread_mutex_trylock(&opening) != 0) {
        PyThreadState *attached = PyThreadState_GetUnchecked() != NULL ? PyEval_SaveThread() : NULL;
        pthread_mutex_lock(&opening);
        if (attached != NULL)
            PyEval_RestoreThread(attached);
    }
    lace_status status = LACE_OK;
    if (lace_host_now() != LACE_HOST_CLOSED) {
        status = lace_object(LACE_BUSY, "there is a host in this process already, and one at a time is all");
    } else {
        status = set_up(setup);
        if (status == LACE_OK)
            set_state(LACE_HOST_OPEN);
        else
            let_go();
    }
    pthread_mutex_unlock(&opening);
    return status;
}

bool lace_host_move_in(const char **ret_error)
{
    const lace_host_setup setup = {0};
    if (lace_host_now() != LACE_HOST_CLOSED)
        return false;
    /* Without the GIL: somebody else may be opening it, who needs that. */
    PyThreadState *tstate = PyEval_SaveThread();
    lace_status status = lace_host_start(&setup);
    PyEval_RestoreThread(tstate);
    if (status != LACE_OK && (status != LACE_BUSY || lace_host_now() == LACE_HOST_CLOSED))
        *ret_error = lace_problem();
    moved_in = status == LACE_OK;
    return moved_in;
}

/* ---- closing -------------------------------------------------------------------------------------------- */

lace_status lace_host_stop(void)
{
    pthread_mutex_lock(&state_lock);
    lace_host_state before = state;
    if (before == LACE_HOST_OPEN || before == LACE_HOST_STUCK)
        state = LACE_HOST_CLOSING;
    while (state == LACE_HOST_CLOSING && before != LACE_HOST_CLOSING && users > 0)
        pthread_cond_wait(&unused, &state_lock);
    pthread_mutex_unlock(&state_lock);
    if (before == LACE_HOST_CLOSED)
        return lace_object(LACE_CLOSED, "the host has been closed already");
    if (before == LACE_HOST_CLOSING)
        return lace_object(LACE_BUSY, "another thread is closing the host");

    lace_directory_end();
    lace_pool_close();
    lace_scope_cancel(scope);
    bool gone = lace_workers_gone(lace_deadline_after(lace_keeper_grace() + (lace_process_any() ? 5.0 : 1.0)));
    if (gone) {
        lace_directory_close();
        lace_exports_clear();
        let_go();
    } else {
        char where[512];
        lace_keeper_describe(where, sizeof where);
        lace_object(LACE_STUCK, "%s", where);
    }
    set_state(gone ? LACE_HOST_CLOSED : LACE_HOST_STUCK);
    return gone ? LACE_OK : LACE_STUCK;
}

void lace_host_move_out(void)
{
    /* In a child that fork() made, the workers are its parent's, and the locks as they were. An interpreter that is not the
     * main one ends what its own import has opened; the main one ends, and there is no Python any more. */
    bool ends = moved_in || PyInterpreterState_Get() == PyInterpreterState_Main();
    if (!ends || lace_forked() || lace_host_now() == LACE_HOST_CLOSED)
        return;
    PyThreadState *tstate = PyEval_SaveThread();
    lace_status status = lace_host_stop();
    PyEval_RestoreThread(tstate);
    if (status != LACE_STUCK)
        return;
    /* Python would wait for it for ever. */
    lace_complain("%s", lace_problem());
    for (int fd = 1; fd <= 2; fd++) {
        PyObject *stream = PySys_GetObject(fd == 1 ? "stdout" : "stderr"); /* borrowed */
        PyObject *done = stream ? PyObject_CallMethod(stream, "flush", NULL) : NULL;
        if (done == NULL)
            PyErr_Clear();
        Py_XDECREF(done);
    }
    _exit(1);
}
