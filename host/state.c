/* state.c - what every worker does now: read with its GIL, one worker after the other, by a thread that is given up where
 * a GIL is not to be had. */
#include "state.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "module.h"
#include "process.h"

#define PATIENCE ((int64_t)250 * 1000 * 1000) /* ns that a worker's lock is waited for */
#define PATIENCE_WITH_PROCESSES (4 * PATIENCE) /* likewise, that an answer is; it knows the same patience */
#define MOST_FRAMES 100

/* ---- one worker ------------------------------------------------------------------------------------------- */

/* 0: it has no process of its own, or that does not run yet. */
static pid_t pid_of(const lace_worker *worker)
{
    /* The state first: once it runs, what it is of is set. */
    bool runs = atomic_load(&worker->state) != LACE_WORKER_STARTING;
    return runs && worker->process != NULL ? lace_process_pid(worker) : 0;
}

static int64_t cpu_of(const lace_worker *worker)
{
    pid_t pid = pid_of(worker), tid = pid ? pid : atomic_load(&worker->tid);
    struct timespec used;
    /* Of a process or a thread, as clock_getres(2) has them. */
    clockid_t clock = (clockid_t)(~(unsigned)tid << 3 | (pid ? 2 : 6));
    if (tid == 0 || clock_gettime(clock, &used) != 0)
        return -1;
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

/* The calls of a thread, the innermost first, without those of ours that lead to the others. */
static char *read_stack(PyThreadState *thread)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    PyFrameObject *frame = PyThreadState_GetFrame(thread);
    for (int depth = 0; frame != NULL && depth < MOST_FRAMES; depth++) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        const char *file = PyUnicode_AsUTF8(code->co_filename), *name = PyUnicode_AsUTF8(code->co_qualname);
        if (file == NULL || strncmp(file, "<interlace>", strlen("<interlace>")) != 0)
            fprintf(out, "%s, line %d, in %s\n", file ? file : "?", PyFrame_GetLineNumber(frame), name ? name : "?");
        Py_DECREF(code);
        Py_SETREF(frame, PyFrame_GetBack(frame));
    }
    Py_XDECREF(frame);
    PyErr_Clear();
    return fclose(out) == 0 ? text : NULL;
}

static char *read_awaited(const lace_awaited *awaited)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out != NULL)
        lace_awaited_describe(awaited, out);
    return out != NULL && fclose(out) == 0 ? text : NULL;
}

static void read_thread(lace_state_worker *seen, PyThreadState *thread)
{
    lace_state_thread read = {.native = thread->native_thread_id, .stack = read_stack(thread)};
    const lace_awaited *awaited = seen->worker->waits.first;
    while (awaited != NULL && awaited->thread != thread)
        awaited = awaited->next;
    if (awaited != NULL) {
        read.awaits = read_awaited(awaited);
        int64_t waited = lace_clock() - awaited->since;
        read.seconds = waited > 0 ? (double)waited / 1e9 : 0.0;
    }
    lace_state_thread *larger = realloc(seen->threads, (seen->thread_count + 1) * sizeof *larger);
    if (larger == NULL) {
        free(read.awaits);
        free(read.stack);
        return;
    }
    seen->threads = larger;
    seen->threads[seen->thread_count++] = read;
    if (thread->thread_id == seen->worker->thread_ident && seen->thread_count > 1) {
        seen->threads[seen->thread_count - 1] = seen->threads[0];
        seen->threads[0] = read;
    }
}

static void read_end(lace_state_worker *seen, const lace_holding *held)
{
    lace_stats stats;
    bool sender = held->sender != NULL;
    lace_look *look = sender ? lace_look_at_sender(held->sender) : lace_look_at_receiver(held->receiver);
    bool outcome = look != NULL && lace_look_mark(look) == LACE_SITE_OUTCOME;
    bool closed = sender ? lace_sender_closed(held->sender) : lace_receiver_closed(held->receiver);
    if (sender)
        lace_sender_stats(held->sender, &stats);
    else
        lace_receiver_stats(held->receiver, &stats);
    if (!outcome)
        *(sender ? &seen->sent : &seen->received) += stats.messages;
    bool listed = look != NULL && !outcome && !closed; /* a pipe channel has no look, and no depth */
    lace_state_end *larger = listed ? realloc(seen->ends, (seen->end_count + 1) * sizeof *larger) : NULL;
    if (larger == NULL) {
        lace_look_finish(look);
        return;
    }
    seen->ends = larger;
    seen->ends[seen->end_count++] = (lace_state_end){
        .look = look, .sender = sender, .messages = stats.messages, .bytes = stats.bytes};
}

/* Attached to the worker, which may be one that has nothing of ours to say yet. */
static void read_attached(lace_state_worker *seen)
{
    const PyThreadState *own = PyThreadState_Get();
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyThreadState_GetInterpreter(PyThreadState_Get()));
    for (; thread != NULL; thread = PyThreadState_Next(thread))
        if (thread != own && thread->native_thread_id != 0)
            read_thread(seen, thread);
    const lace_holding *head = &seen->worker->ends;
    for (const lace_holding *held = head->next; held != head; held = held->next)
        if (held->sender != NULL || held->receiver != NULL)
            read_end(seen, held);
}

static void free_read(lace_state_worker *seen)
{
    for (size_t i = 0; i < seen->thread_count; i++) {
        free(seen->threads[i].awaits);
        free(seen->threads[i].stack);
    }
    for (size_t i = 0; i < seen->end_count; i++)
        lace_look_finish(seen->ends[i].look);
    free(seen->threads);
    free(seen->ends);
}

/* ---- all of them -------------------------------------------------------------------------------------------- */

/* A round of visits, shared by who waits for it and the threads that do it; the last one frees it. */
typedef struct visits {
    pthread_mutex_t lock; /* guards what follows; held for a few instructions */
    pthread_cond_t progress;
    int users;
    unsigned turn;              /* which thread is at it: another one is begun when it does not get ahead */
    size_t next, end;           /* the worker it is at */
    lace_state_worker *workers; /* one that is done is changed no more; NULL: nobody wants to know any more */
} visits;

static void leave_visits(visits *all)
{
    bool last = --all->users == 0;
    pthread_mutex_unlock(&all->lock);
    if (!last)
        return;
    pthread_cond_destroy(&all->progress);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* Visits one worker after the other, for as long as it is this thread's turn. */
static void *visit_all(void *argument)
{
    visits *all = argument;
    pthread_mutex_lock(&all->lock);
    unsigned turn = all->turn;
    while (all->turn == turn && all->workers != NULL && all->next < all->end) {
        lace_state_worker read = {.worker = lace_worker_ref(all->workers[all->next].worker)};
        pthread_mutex_unlock(&all->lock);
        bool elsewhere = pid_of(read.worker) != 0;
        PyThreadState *tstate = elsewhere ? NULL : lace_worker_attach(read.worker);
        read.reach = tstate != NULL ? LACE_REACH_READ : LACE_REACH_NONE;
        if (elsewhere) {
            lace_state_read_process(&read);
        } else if (tstate != NULL) {
            read_attached(&read);
            lace_worker_detach(read.worker, tstate);
        }
        pthread_mutex_lock(&all->lock);
        bool wanted = all->turn == turn && all->workers != NULL;
        if (wanted) {
            lace_state_worker *seen = &all->workers[all->next++];
            read.state = seen->state;
            read.pid = pid_of(read.worker); /* it may have begun to run since it was listed */
            read.cpu = read.pid != seen->pid ? cpu_of(read.worker) : seen->cpu;
            read.received += seen->received;
            read.sent += seen->sent;
            lace_worker_unref(read.worker); /* `seen` has its own count */
            *seen = read;
            pthread_cond_signal(&all->progress);
            continue;
        }
        pthread_mutex_unlock(&all->lock);
        free_read(&read);
        lace_worker_unref(read.worker);
        pthread_mutex_lock(&all->lock);
    }
    leave_visits(all);
    return NULL;
}

/* With the lock. Without a thread to be had nobody is visited. */
static void start_visitor(visits *all)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)256 << 10);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    all->turn++;
    all->users++;
    if (pthread_create(&thread, &attributes, visit_all, all) != 0) {
        all->users--;
        all->next = all->end;
    }
    pthread_attr_destroy(&attributes);
}

static bool visit_workers(lace_state *state)
{
    visits *all = calloc(1, sizeof *all);
    if (all == NULL)
        return false;
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->progress, NULL);
    all->users = 1;
    all->end = state->worker_count;
    all->workers = state->workers;
    pthread_mutex_lock(&all->lock);
    if (all->end > 0)
        start_visitor(all);
    while (all->next < all->end) {
        size_t at = all->next;
        int64_t due = lace_clock() + (all->workers[at].pid != 0 ? PATIENCE_WITH_PROCESSES : PATIENCE);
        const struct timespec until = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
        while (all->next == at && pthread_cond_clockwait(&all->progress, &all->lock, CLOCK_MONOTONIC, &until) == 0)
            continue;
        if (all->next != at)
            continue;
        all->workers[all->next++].reach = LACE_REACH_BUSY;
        start_visitor(all);
    }
    all->workers = NULL;
    leave_visits(all);
    return true;
}

static void note_worker(lace_worker *worker, void *context)
{
    lace_state *state = context;
    lace_state_worker *larger = realloc(state->workers, (state->worker_count + 1) * sizeof *larger);
    if (larger == NULL)
        return;
    state->workers = larger;
    state->workers[state->worker_count++] = (lace_state_worker){
        .worker = lace_worker_ref(worker),
        .state = atomic_load(&worker->state),
        .pid = pid_of(worker),
        .cpu = cpu_of(worker),
        .received = atomic_load_explicit(&worker->received, memory_order_relaxed),
        .sent = atomic_load_explicit(&worker->sent, memory_order_relaxed),
    };
}

/* ---- the channels ----------------------------------------------------------------------------------------- */

static int compare_channels(const void *one, const void *other)
{
    uintptr_t a = (uintptr_t)lace_look_channel(((const lace_state_channel *)one)->look);
    uintptr_t b = (uintptr_t)lace_look_channel(((const lace_state_channel *)other)->look);
    return a < b ? -1 : a > b;
}

static bool list_channels(lace_state *state)
{
    size_t ends = 0, kept = 0;
    for (size_t w = 0; w < state->worker_count; w++)
        ends += state->workers[w].end_count;
    lace_state_channel *all = calloc(ends ? ends : 1, sizeof *all);
    if (all == NULL)
        return false;
    ends = 0;
    for (size_t w = 0; w < state->worker_count; w++)
        for (size_t e = 0; e < state->workers[w].end_count; e++) {
            const lace_state_end *end = &state->workers[w].ends[e];
            all[ends++] = (lace_state_channel){
                .look = end->look, .received = end->sender ? 0 : end->messages, .rate = -1};
        }
    qsort(all, ends, sizeof *all, compare_channels);
    for (size_t i = 0; i < ends; i++) {
        if (kept > 0 && compare_channels(&all[kept - 1], &all[i]) == 0) {
            all[kept - 1].received += all[i].received;
            continue;
        }
        all[kept++] = all[i];
    }
    for (size_t i = 0; i < kept; i++)
        lace_look_see(all[i].look, &all[i].sight);
    state->channels = all;
    state->channel_count = kept;
    return true;
}

lace_state *lace_state_read(void)
{
    lace_state *state = calloc(1, sizeof *state);
    if (state == NULL)
        return NULL;
    lace_workers_each(note_worker, state);
    bool well = visit_workers(state) && list_channels(state);
    state->at = lace_clock();
    if (well)
        return state;
    lace_state_free(state);
    return NULL;
}

void lace_state_compare(lace_state *state, const lace_state *earlier)
{
    double seconds = (double)(state->at - earlier->at) / 1e9;
    for (size_t i = 0; i < state->channel_count; i++) {
        lace_state_channel *now = &state->channels[i];
        const lace_state_channel *before = earlier->channel_count == 0
                                               ? NULL
                                               : bsearch(now, earlier->channels, earlier->channel_count, sizeof *now,
                                                         compare_channels);
        if (before != NULL && now->received >= before->received && seconds > 0)
            now->rate = (double)(now->received - before->received) / seconds;
    }
}

void lace_state_free(lace_state *state)
{
    if (state == NULL)
        return;
    for (size_t i = 0; i < state->worker_count; i++) {
        free_read(&state->workers[i]);
        lace_worker_unref(state->workers[i].worker);
    }
    free(state->workers);
    free(state->channels);
    free(state);
}
