/* worker.c - a worker: one OS thread with one interpreter, from its start to its end. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../channels/look.h"
#include "../channels/text.h"
#include "directory.h"
#include "ledger.h"
#include "module.h"
#include "process.h"
#include "restart.h"

#define STACK_SIZE ((size_t)16 << 20)

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;     /* guards registry, alive, threads, last_id */
static lace_worker registry = {.prev = &registry, .next = &registry}; /* head of the list of living workers */
static size_t alive;
static size_t threads;                                        /* workers' threads, until their very last step */
static pthread_cond_t thread_gone = PTHREAD_COND_INITIALIZER; /* alive or threads has become 0 */
static uint64_t last_id;
static _Thread_local lace_worker *current;

lace_worker *lace_worker_current(void)
{
    return current;
}

lace_worker *lace_worker_ref(lace_worker *worker)
{
    atomic_fetch_add_explicit(&worker->refs, 1, memory_order_relaxed);
    return worker;
}

void lace_worker_unref(lace_worker *worker)
{
    if (worker == NULL || atomic_fetch_sub_explicit(&worker->refs, 1, memory_order_acq_rel) != 1)
        return;
    lace_scope_unref(worker->scope);
    lace_scope_unref(worker->spare_scope);
    lace_scope_unref(worker->group_scope);
    lace_answer_free(worker->answer);
    lace_process_free(worker->process);
    lace_restart_unref(worker->restart);
    free(worker->why);
    pthread_cond_destroy(&worker->called);
    pthread_cond_destroy(&worker->attach_idle);
    pthread_mutex_destroy(&worker->attach);
    lace_numbered_finish(&worker->call);
    free(worker->name);
    free(worker);
}

void lace_job_destroy(lace_job *job)
{
    if (job == NULL)
        return;
    for (size_t i = 0; i < job->attachment_count; i++) {
        if (job->attachments[i].kind == LACE_ATTACH_SENDER)
            lace_sender_destroy(job->attachments[i].as.sender);
        else if (job->attachments[i].kind == LACE_ATTACH_RECEIVER)
            lace_receiver_destroy(job->attachments[i].as.receiver);
        else if (job->attachments[i].kind == LACE_ATTACH_BLOCK)
            lace_block_destroy(job->attachments[i].as.block);
    }
    lace_receiver_destroy(job->input);
    lace_sender_destroy(job->output);
    free(job->attachments);
    free(job->head);
    free(job->body);
    free(job);
}

/* ---- the registry ------------------------------------------------------------------------------------- */

static bool registry_add(lace_worker *worker)
{
    pthread_mutex_lock(&registry_lock);
    bool room = alive < LACE_MAX_WORKERS;
    if (room) {
        if (worker->id == 0)
            worker->id = ++last_id;
        worker->prev = registry.prev;
        worker->next = &registry;
        worker->prev->next = worker->next->prev = lace_worker_ref(worker);
        alive++;
    }
    pthread_mutex_unlock(&registry_lock);
    return room;
}

static void registry_remove(lace_worker *worker)
{
    pthread_mutex_lock(&registry_lock);
    worker->prev->next = worker->next;
    worker->next->prev = worker->prev;
    alive--;
    if (alive == 0)
        pthread_cond_broadcast(&thread_gone);
    pthread_mutex_unlock(&registry_lock);
    lace_worker_unref(worker);
}

static void count_thread(int change)
{
    pthread_mutex_lock(&registry_lock);
    threads += (size_t)change;
    if (threads == 0)
        pthread_cond_broadcast(&thread_gone);
    pthread_mutex_unlock(&registry_lock);
}

bool lace_workers_gone(int64_t deadline)
{
    const struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    pthread_mutex_lock(&registry_lock);
    while (threads > 0 && pthread_cond_clockwait(&thread_gone, &registry_lock, CLOCK_MONOTONIC, &until) == 0)
        continue;
    bool gone = threads == 0;
    pthread_mutex_unlock(&registry_lock);
    return gone;
}

void lace_workers_leave_one(void)
{
    pthread_mutex_lock(&registry_lock);
    if (last_id == 0)
        last_id = 1;
    pthread_mutex_unlock(&registry_lock);
}

size_t lace_workers_alive(void)
{
    pthread_mutex_lock(&registry_lock);
    size_t n = alive;
    pthread_mutex_unlock(&registry_lock);
    return n;
}

void lace_workers_join(void)
{
    pthread_mutex_lock(&registry_lock);
    while (alive > 0)
        pthread_cond_wait(&thread_gone, &registry_lock);
    pthread_mutex_unlock(&registry_lock);
}

void lace_workers_each(void (*visit)(lace_worker *worker, void *context), void *context)
{
    pthread_mutex_lock(&registry_lock);
    size_t count = 0;
    lace_worker **all = malloc((alive ? alive : 1) * sizeof *all);
    for (lace_worker *w = registry.next; all != NULL && w != &registry; w = w->next)
        all[count++] = lace_worker_ref(w);
    pthread_mutex_unlock(&registry_lock);
    for (size_t i = 0; i < count; i++) {
        visit(all[i], context);
        lace_worker_unref(all[i]);
    }
    free(all);
}

/* ---- attaching from other threads --------------------------------------------------------------------- */

PyThreadState *lace_worker_attach(lace_worker *worker)
{
    pthread_mutex_lock(&worker->attach);
    PyInterpreterState *interp = worker->interp;
    if (interp != NULL)
        worker->attached++;
    pthread_mutex_unlock(&worker->attach);
    if (interp == NULL)
        return NULL;
    PyThreadState *tstate = PyThreadState_New(interp);
    if (tstate != NULL)
        PyEval_RestoreThread(tstate);
    else
        lace_worker_detach(worker, NULL);
    return tstate;
}

void lace_worker_detach(lace_worker *worker, PyThreadState *tstate)
{
    if (tstate != NULL) {
        PyThreadState_Clear(tstate);
        PyThreadState_DeleteCurrent();
    }
    pthread_mutex_lock(&worker->attach);
    if (--worker->attached == 0)
        pthread_cond_broadcast(&worker->attach_idle);
    pthread_mutex_unlock(&worker->attach);
}

static void publish_interpreter(lace_worker *worker, PyThreadState *tstate)
{
    pthread_mutex_lock(&worker->attach);
    worker->thread_ident = PyThread_get_thread_ident();
    worker->interp = PyThreadState_GetInterpreter(tstate);
    pthread_mutex_unlock(&worker->attach);
}

/* After this nobody is attached and nobody will be. The GIL is dropped meanwhile, for those who wait for it. */
static void withdraw_interpreter(lace_worker *worker)
{
    PyThreadState *tstate = PyEval_SaveThread();
    pthread_mutex_lock(&worker->attach);
    worker->interp = NULL;
    while (worker->attached > 0)
        pthread_cond_wait(&worker->attach_idle, &worker->attach);
    pthread_mutex_unlock(&worker->attach);
    PyEval_RestoreThread(tstate);
}

/* ---- a worker's life ---------------------------------------------------------------------------------- */

bool lace_worker_fail(lace_worker *worker, const char *why)
{
    int_least64_t never = 0;
    bool again = lace_restart_grant(worker, why);
    atomic_compare_exchange_strong(&worker->failed_at, &never, lace_clock());
    atomic_store(&worker->failed, true);
    if (!again && worker->group_scope != NULL)
        lace_scope_cancel(worker->group_scope);
    if (lace_child_say_failed(worker, why)) /* whose group is in another process */
        again = worker->again = true;
    return again;
}

void lace_worker_fail_in_c(lace_worker *worker, const char *what)
{
    lace_worker_fail(worker, NULL);
    if (atomic_load(&worker->quiet)) {
        lace_pickle text = {0};
        lace_pickle_begin(&text);
        lace_pickle_str(&text, what, strlen(what));
        lace_pickle_end(&text);
        size_t size = text.size + 1;
        char *data = malloc(size);
        if (data != NULL && !text.failed) {
            data[0] = 'E'; /* the tag: see _bootstrap.py */
            memcpy(data + 1, text.data, text.size);
            lace_payload payload = {.data = data, .size = size};
            if (lace_send(worker->outcome, &payload, &(lace_wait){.deadline = LACE_NOW}) == LACE_OK)
                lace_child_say_told(worker);
        }
        free(data);
        free(text.data);
    } else {
        lace_complain("worker '%s' failed: %s", worker->name, what);
    }
}

/* Makes the interpreter on this thread: its thread state is attached on success. Returns NULL or what went wrong. */
static const char *create_interpreter(PyThreadState **ret_tstate)
{
    const PyInterpreterConfig config = {
        .use_main_obmalloc = 0,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 0,
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    const char *error = NULL;
    lace_lifecycle_lock();
    PyThreadState *boot = PyThreadState_New(PyInterpreterState_Main());
    if (boot == NULL) {
        error = "no memory for a thread state";
    } else {
        PyEval_RestoreThread(boot);
        PyThreadState *tstate = NULL;
        PyStatus status = Py_NewInterpreterFromConfig(&tstate, &config);
        if (PyStatus_Exception(status) || tstate == NULL) {
            error = status.err_msg ? status.err_msg : "the interpreter could not be made";
            PyThreadState_Clear(boot); /* on failure `boot` is attached again */
            PyThreadState_DeleteCurrent();
        } else {
            PyThreadState_Swap(boot); /* the main GIL again, for an instant, to be rid of `boot` */
            PyThreadState_Clear(boot);
            PyThreadState_DeleteCurrent();
            *ret_tstate = tstate;
        }
    }
    lace_lifecycle_unlock();
    if (error == NULL)
        PyEval_RestoreThread(*ret_tstate);
    return error;
}

/* Runs what Python leaves to the end: its threads, its atexit functions, its streams. Code of the user's may run and
 * wait here, so this comes before the lifecycle lock. */
static void settle_python(lace_worker *worker)
{
    PyObject *bootstrap = PyImport_ImportModule("interlace._bootstrap");
    PyObject *result = bootstrap ? PyObject_CallMethod(bootstrap, "settle", NULL) : NULL;
    if (result == NULL) {
        PyErr_Clear();
        if (!lace_scope_cancelled(worker->scope))
            lace_complain("worker '%s': its last steps failed", worker->name);
    }
    Py_XDECREF(result);
    Py_XDECREF(bootstrap);
}

static void begin_to_end(lace_worker *worker)
{
    if (worker->again)
        lace_scope_cancel(worker->scope); /* its other threads: the next attempt waits for their end */
    settle_python(worker);
    /* A finaliser that waits for a channel from here on gets Cancelled: nobody could end it. */
    atomic_store(&worker->state, LACE_WORKER_ENDING);
    lace_cancel_fire(lace_scope_cancel_token(worker->scope));
    withdraw_interpreter(worker);
}

static void end_interpreter(lace_worker *worker, PyThreadState *tstate)
{
    if (worker->spare_scope != NULL && lace_scope_cancelled(worker->scope))
        lace_cancel_fire(lace_scope_cancel_token(worker->spare_scope));
    begin_to_end(worker);
    PyEval_SaveThread();
    lace_lifecycle_lock();
    PyEval_RestoreThread(tstate);
    Py_EndInterpreter(tstate);
    lace_lifecycle_unlock();
}

void lace_worker_count_end(lace_worker *worker, const lace_holding *held)
{
    lace_stats stats = {0};
    if (held->sender != NULL)
        lace_sender_stats(held->sender, &stats);
    else if (held->receiver != NULL)
        lace_receiver_stats(held->receiver, &stats);
    atomic_fetch_add_explicit(held->sender != NULL ? &worker->sent : &worker->received, stats.messages,
                              memory_order_relaxed);
}

/* Closes the ends that objects of the ended interpreter left open: those it leaked, or held in threads of its own. */
static void close_ends(lace_worker *worker)
{
    lace_holding *head = &worker->ends;
    lace_wait brief = {.deadline = lace_deadline_after(lace_keeper_grace())};
    while (head->next != head) {
        lace_holding *held = head->next;
        held->prev->next = held->next;
        held->next->prev = held->prev;
        lace_worker_count_end(worker, held);
        lace_life_drop_end(worker->life, held->sender, held->receiver);
        /* A sealed stream is not cut off for want of room for its last word, while somebody reads it. */
        if (held->sender != NULL)
            lace_sender_finish(held->sender, &brief);
        lace_sender_destroy(held->sender);
        if (held->receiver != NULL && !atomic_load(&worker->hands_back))
            lace_receiver_confirm(held->receiver);
        lace_receiver_destroy(held->receiver);
        if (held->entry != NULL)
            lace_entry_unbind(held->entry);
        free(held);
    }
}

static void set_thread_name(const lace_worker *worker)
{
    char name[16];
    lace_text_print(name, sizeof name, "%s", worker->name);
    pthread_setname_np(pthread_self(), name);
}

/* A spare's way to its job: true when it has been given one. With the GIL held. */
static bool get_job(lace_worker *worker)
{
    size_t size = 0;
    char *profile;
    bool wanted = lace_pool_profile(worker, &profile, &size);
    bool prepared = profile != NULL && lace_module_prepare(profile, size);
    free(profile);
    if (wanted && !prepared) {
        lace_show_exception();
        lace_pool_give_up(worker, "a module to be imported in advance does not import (see above)");
        return false;
    }
    PyThreadState *tstate = PyEval_SaveThread();
    bool has_job = lace_pool_stand_by(worker);
    PyEval_RestoreThread(tstate);
    return has_job;
}

static void work(lace_worker *worker, PyThreadState *tstate)
{
    lace_life_enter(worker->life);
    publish_interpreter(worker, tstate);
    const char *trouble = lace_module_run_worker(worker);
    if (trouble != NULL) {
        lace_show_exception();
        lace_worker_fail_in_c(worker, trouble);
    }
    if (worker->life != NULL)
        atomic_store(&worker->life->tally->finished, lace_clock());
}

/* What is left to do when the interpreter is gone, in the order others may rely on. */
static void leave(lace_worker *worker, bool had_job)
{
    int error = lace_output_end(worker);
    if (error != 0 && error != EPIPE && error != ECANCELED) {
        lace_complain("the last output of worker '%s' is lost: %s", worker->name, strerror(error));
        atomic_store(&worker->exit_code, 1);
    }
    lace_job_destroy(worker->job);
    worker->job = NULL;
    close_ends(worker);
    lace_scope_exit_all();
    if (had_job && worker->restart != NULL)
        lace_restart_over(worker); /* which may go on with the account */
    lace_life_end(worker->life, atomic_load(&worker->failed));
    worker->life = NULL;
    atomic_store(&worker->state, LACE_WORKER_ENDED);
    if (had_job)
        registry_remove(worker);
    if (worker->owes_spare)
        lace_pool_repay(worker);
    lace_sender_destroy(worker->outcome); /* the last thing others see: the worker has ended */
    lace_sender_destroy(worker->end);
    lace_watcher_heed();
    if (atomic_load(&worker->cancelled_at) != 0)
        lace_keeper_poke();
    lace_worker_unref(worker);
}

/* An application that takes its signals with sigwait() has blocked them all, in the threads it starts as well. */
static void admit_kicks(void)
{
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, LACE_KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
}

static void *live(void *argument)
{
    lace_worker *worker = argument;
    bool has_job = worker->spare_generation == 0;
    current = worker;
    admit_kicks();
    atomic_store(&worker->tid, gettid());

    PyThreadState *tstate = NULL;
    const char *error = create_interpreter(&tstate);
    bool made = error == NULL;
    if (made && !lace_python_give_module()) {
        lace_show_exception();
        error = "the interpreter has no module _interlace (see above)";
    }
    if (error != NULL && has_job)
        lace_worker_fail_in_c(worker, error);
    else if (error != NULL)
        lace_pool_give_up(worker, error);
    if (error != NULL && made) {
        PyEval_SaveThread();
        lace_lifecycle_lock();
        PyEval_RestoreThread(tstate);
        Py_EndInterpreter(tstate);
        lace_lifecycle_unlock();
    } else if (error == NULL) {
        if (!has_job)
            has_job = get_job(worker);
        if (has_job) {
            set_thread_name(worker);
            work(worker, tstate);
        }
        end_interpreter(worker, tstate);
    }
    leave(worker, has_job);
    count_thread(-1);
    return NULL;
}

/* A worker without a name, of a scope that nobody else knows: a spare, until identify(). */
static lace_worker *allocate(void)
{
    lace_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return NULL;
    worker->scope = lace_scope_create(NULL);
    worker->name = strdup("spare");
    if (worker->scope == NULL || worker->name == NULL) {
        lace_scope_unref(worker->scope);
        free(worker->name);
        free(worker);
        return NULL;
    }
    atomic_init(&worker->refs, 1);
    atomic_init(&worker->waits.watched, true); /* the first wait is news */
    worker->ends.prev = worker->ends.next = &worker->ends;
    pthread_mutex_init(&worker->attach, NULL);
    pthread_mutex_init(&worker->call.lock, NULL);
    pthread_cond_init(&worker->attach_idle, NULL);
    pthread_cond_init(&worker->called, NULL);
    return worker;
}

/* A copy of a name, in UTF-8, as which Python reads it: a file's name can be any bytes. */
static char *copy_name(const char *given)
{
    size_t size = strlen(given);
    char *name = strdup(given);
    for (size_t i = 0; name != NULL && i < size;) {
        size_t length = lace_utf8_sequence((unsigned char *)name + i, size - i);
        if (length == 0)
            name[i] = '?';
        i += length ? length : 1;
    }
    return name;
}

/* Makes it somebody; false when there is no memory, and it is as before then. */
static bool identify(lace_worker *worker, const lace_spawn_options *options)
{
    char *name = copy_name(options->name);
    lace_scope *scope = lace_scope_create(options->parent);
    if (name == NULL || scope == NULL) {
        free(name);
        lace_scope_unref(scope);
        return false;
    }
    free(worker->name);
    worker->name = name;
    worker->spare_scope = worker->spare_generation != 0 ? worker->scope : NULL;
    if (worker->spare_scope == NULL)
        lace_scope_unref(worker->scope);
    worker->scope = scope;
    worker->index = options->index;
    worker->count = options->count;
    worker->kept = options->kept;
    lace_scope *fails = options->fails_parent ? options->parent : NULL;
    if (options->attempt_of != NULL) {
        worker->restart = lace_restart_ref(options->attempt_of);
        fails = lace_restart_group(options->attempt_of);
    }
    worker->group_scope = fails != NULL ? lace_scope_ref(fails) : NULL;
    atomic_store(&worker->quiet, options->quiet);
    return true;
}

static int start_thread(lace_worker *worker)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return error;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    count_thread(+1);
    error = pthread_create(&worker->thread, &attributes, live, worker);
    if (error != 0)
        count_thread(-1);
    pthread_attr_destroy(&attributes);
    return error;
}

static const char *start_failure(int error)
{
    return error == EAGAIN ? "the system lets this process have no more threads (see ulimit -u)"
                           : "the thread could not be started";
}

const char *lace_worker_start_spare(uint64_t generation)
{
    lace_worker *worker = allocate();
    if (worker == NULL)
        return "no memory for a worker";
    worker->spare = LACE_SPARE_MAKING;
    worker->spare_generation = generation;
    int error = start_thread(worker); /* which has the only count */
    if (error == 0)
        return NULL;
    lace_worker_unref(worker);
    return start_failure(error);
}

/* Hands the job to the worker's thread, or makes the thread; one more count then. NULL or what went wrong. */
static const char *set_going(lace_worker *worker, lace_job *job)
{
    worker->job = job;
    lace_worker_ref(worker);
    if (worker->spare_generation != 0) {
        lace_pool_send(worker, LACE_SPARE_CALLED);
        return NULL;
    }
    int error = start_thread(worker);
    if (error == 0)
        return NULL;
    worker->job = NULL;
    lace_worker_unref(worker);
    errno = error;
    return start_failure(error);
}

/* Has it run in a process of its own; likewise. Its end is there, and so it counts as a thread of ours until then. */
static const char *go_elsewhere(lace_worker *worker, lace_job *job, const lace_spawn_options *options)
{
    count_thread(+1);
    const char *error = lace_process_start(worker, job, options);
    if (error != NULL)
        count_thread(-1);
    return error;
}

void lace_worker_bury(lace_worker *worker)
{
    if (worker->restart != NULL)
        lace_restart_over(worker); /* which may go on with the account */
    lace_life_bury(worker->life, atomic_load(&worker->failed));
    worker->life = NULL;
    atomic_store(&worker->state, LACE_WORKER_ENDED);
    registry_remove(worker);
    lace_sender_destroy(worker->outcome);
    lace_sender_destroy(worker->end);
    lace_watcher_heed();
    count_thread(-1);
}

/* ---- in a child ----------------------------------------------------------------------------------------- */

lace_worker *lace_worker_adopt(const lace_spawn_options *options, uint64_t id, lace_job *job, lace_sender *outcome)
{
    lace_worker *worker = allocate();
    if (worker == NULL || !identify(worker, options))
        return NULL;
    last_id = id - 1; /* nobody else is here yet */
    if (!registry_add(worker))
        return NULL;
    worker->job = job;
    worker->outcome = outcome;
    worker->life = lace_life_begin(worker->id, worker->name, worker->index, worker->count);
    return worker;
}

int lace_worker_live_in_main(lace_worker *worker)
{
    current = worker;
    atomic_store(&worker->tid, gettid());
    set_thread_name(worker);
    lace_worker_ref(worker); /* leave() drops one */
    PyThreadState *tstate = lace_python_main();
    PyEval_RestoreThread(tstate);
    work(worker, tstate);
    begin_to_end(worker);
    PyEval_SaveThread();
    lace_directory_end();
    lace_pool_close();
    lace_scope_cancel(lace_host_scope());        /* for those that are below nothing else */
    lace_workers_gone(lace_deadline_after(1e9)); /* bounded by the keeper, which does not let this process stay */
    PyEval_RestoreThread(tstate);
    int lost = Py_FinalizeEx();
    leave(worker, true);
    if (lost != 0 && atomic_load(&worker->exit_code) == 0)
        atomic_store(&worker->exit_code, 1);
    return atomic_load(&worker->exit_code);
}

/* ---- starting ------------------------------------------------------------------------------------------- */

const char *lace_worker_begin(const lace_spawn_options *options, lace_job *job, lace_sender *outcome,
                              lace_worker **ret_worker)
{
    /* The one count on a spare is its thread's, that on a new worker ours; set_going() adds the other. */
    lace_worker *worker = options->process ? NULL : lace_pool_take();
    bool spare = worker != NULL;
    if (!spare)
        worker = allocate();
    errno = ENOMEM;
    if (worker == NULL)
        return "no memory for a worker";
    const char *error = NULL;
    if (!identify(worker, options)) {
        errno = ENOMEM;
        error = "no memory for a worker";
    } else if (!registry_add(worker)) {
        errno = EAGAIN;
        error = "there are too many workers: 10000 may be alive at once";
    } else {
        worker->outcome = outcome;
        worker->end = options->end;
        worker->life = lace_life_begin(worker->id, worker->name, worker->index, worker->count);
        error = options->process ? go_elsewhere(worker, job, options) : set_going(worker, job);
        if (error != NULL) {
            int why = errno;
            lace_life_end(worker->life, true);
            worker->life = NULL;
            worker->outcome = worker->end = NULL;
            registry_remove(worker);
            errno = why;
        }
    }
    if (error != NULL) {
        int why = errno;
        if (spare)
            lace_pool_send(worker, LACE_SPARE_DISMISSED);
        else
            lace_worker_unref(worker);
        errno = why;
        return error;
    }
    *ret_worker = worker;
    return NULL;
}

const char *lace_worker_spawn(const lace_spawn_options *options, lace_job *job, lace_worker **ret_worker,
                              lace_receiver **ret_outcome)
{
    lace_sender *ended;
    lace_receiver *outcome;
    lace_channel_options channel = {.capacity = 1, .name = options->name};
    errno = ENOMEM;
    if (lace_channel_create(lace_region_of_host(), &channel, &ended, &outcome) != LACE_OK)
        return "no memory for a worker";
    lace_sender_mark(ended, LACE_SITE_OUTCOME);
    const char *error = options->restart != NULL ? lace_restart_begin(options, job, ended, ret_worker)
                                                 : lace_worker_begin(options, job, ended, ret_worker);
    if (error == NULL) {
        *ret_outcome = outcome;
    } else {
        int why = errno;
        lace_sender_destroy(ended);
        lace_receiver_destroy(outcome);
        errno = why;
    }
    return error;
}

/* ---- starting anew -------------------------------------------------------------------------------------- */

lace_worker *lace_worker_create(const lace_spawn_options *options)
{
    lace_worker *worker = allocate();
    if (worker == NULL || identify(worker, options))
        return worker;
    lace_worker_unref(worker);
    return NULL;
}

lace_worker *lace_worker_create_next(const lace_spawn_options *options, lace_worker *failed, lace_sender *outcome)
{
    lace_worker *worker = lace_worker_create(options);
    if (worker == NULL)
        return NULL;
    worker->id = failed->id;
    atomic_store(&worker->state, LACE_WORKER_RESTARTING);
    atomic_store(&worker->restarts, atomic_load(&failed->restarts) + 1);
    atomic_store(&worker->received, atomic_load(&failed->received));
    atomic_store(&worker->sent, atomic_load(&failed->sent));
    if (!registry_add(worker)) {
        lace_worker_unref(worker);
        return NULL;
    }
    count_thread(+1); /* it is to have one: nobody closes the host meanwhile */
    worker->outcome = outcome;
    worker->life = failed->life;
    failed->life = NULL;
    if (options->process)
        lace_life_pause_process(worker->life);
    else
        lace_life_pause(worker->life);
    return worker;
}

const char *lace_worker_go(lace_worker *worker, lace_job *job, const lace_spawn_options *options)
{
    atomic_store(&worker->state, LACE_WORKER_STARTING);
    if (worker->life == NULL)
        worker->life = lace_life_begin(worker->id, worker->name, worker->index, worker->count);
    const char *error = options->process ? go_elsewhere(worker, job, options) : set_going(worker, job);
    if (error == NULL)
        count_thread(-1);
    return error;
}

void lace_worker_forgo(lace_worker *worker)
{
    bool failed = atomic_load(&worker->failed);
    lace_restart_over(worker);
    lace_life_end(worker->life, failed);
    worker->life = NULL;
    atomic_store(&worker->state, LACE_WORKER_ENDED);
    registry_remove(worker);
    lace_sender_destroy(worker->outcome);
    lace_worker_unref(worker);
    count_thread(-1);
}
