/* keeper.c - the host's own thread: signals, interrupting the cancelled, leaving without the stuck.
 *
 * It sleeps in poll() without a timeout until it is poked or a signal comes; while some worker is cancelled and has
 * not ended, or a call that was cancelled is not over, it looks again every KICK_EVERY, to interrupt system calls that
 * began after the last kick. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../channels/descriptor.h"
#include "module.h"
#include "process.h"
#include "restart.h"
#include "state.h"

#define KICK_EVERY ((int64_t)100 * 1000 * 1000)  /* ns */
#define INSPECT_FOR 200                          /* ms to find out what a stuck worker sits in */
#define KILL_AFTER ((int64_t)1000 * 1000 * 1000) /* ns beyond the grace period, in which a process ends by itself */

static pthread_t thread;
static bool running;            /* written by start and stop, which one thread calls */
static int64_t grace_ns;        /* set before the thread starts, like the next */
static bool leaves;             /* the process ends when a cancelled worker does not */
static atomic_int poke_fd = -1; /* eventfd; made once, never closed, so that a signal handler may write to it */
static atomic_bool stopping;
static atomic_int first_signal;                                /* 0 until the first SIGINT or SIGTERM */
static atomic_bool state_wanted; /* a SIGQUIT has come, and the state has not been printed */
static pthread_mutex_t words_lock = PTHREAD_MUTEX_INITIALIZER; /* guards last_words */
static char *last_words; /* a failure that somebody is yet to be told; NULL: none */

void lace_keeper_poke(void)
{
    uint64_t one = 1;
    int fd = atomic_load(&poke_fd);
    /* It fails only when 2^64 - 2 pokes are waiting: one is enough. */
    if (fd >= 0 && write(fd, &one, sizeof one) < 0)
        return;
}

int lace_keeper_signal(void)
{
    return atomic_load(&first_signal);
}

void lace_keeper_last_words(const char *text)
{
    pthread_mutex_lock(&words_lock);
    if (text == NULL || last_words == NULL) {
        free(last_words);
        last_words = text ? strdup(text) : NULL;
    }
    pthread_mutex_unlock(&words_lock);
}

bool lace_keeper_copy_last_words(char *text, size_t size)
{
    pthread_mutex_lock(&words_lock);
    bool any = last_words != NULL;
    if (any)
        snprintf(text, size, "%s", last_words);
    pthread_mutex_unlock(&words_lock);
    return any;
}

/* SIGINT and SIGTERM: the first is the keeper's to act on, the second ends the process. Signals are handled,
 * not blocked: a handler is reset in the programs that a worker starts, a mask would be inherited. */
static void on_signal(int number)
{
    int none = 0, saved = errno;
    if (!atomic_compare_exchange_strong(&first_signal, &none, number))
        _exit(128 + number);
    lace_keeper_poke();
    errno = saved;
}

/* SIGQUIT: what is going on? */
static void on_quit(int number)
{
    (void)number;
    int saved = errno;
    atomic_store(&state_wanted, true);
    lace_keeper_poke();
    errno = saved;
}

static void leave_to_host(int number)
{
    (void)number;
}

const char *lace_keeper_take_signals(bool child)
{
    if (atomic_load(&poke_fd) < 0)
        atomic_store(&poke_fd, lace_descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
    if (atomic_load(&poke_fd) < 0)
        return "no descriptor for the host's own thread";
    struct sigaction take = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &take, NULL);
    if (child)
        take.sa_handler = leave_to_host;
    sigaction(SIGINT, &take, NULL);
    if (!child)
        take.sa_handler = on_quit;
    sigaction(SIGQUIT, &take, NULL);
    return NULL;
}

/* ---- interrupting ------------------------------------------------------------------------------------- */

/* A thread of its own, since taking a busy worker's GIL takes as long as the worker pleases. */
static void *interrupt(void *argument)
{
    lace_worker *worker = argument;
    PyThreadState *tstate = lace_worker_attach(worker);
    if (tstate != NULL) {
        if (atomic_load(&worker->state) == LACE_WORKER_RUNNING)
            lace_interrupt_loops(0);
        /* One that is still starting finds out by itself (_ready), and one that is ending is over. With the GIL in
         * hand the worker is either inside one of our waits, which raises Cancelled by itself, or between two
         * bytecodes, or inside foreign code that has dropped the GIL. */
        if (atomic_load(&worker->state) == LACE_WORKER_RUNNING && !atomic_load(&worker->waiting) && !worker->told) {
            PyThreadState_SetAsyncExc(worker->thread_ident, worker->cancelled_type);
            worker->told = true;
        }
        if (worker->cancelled_type != NULL && !worker->told_threads) {
            worker->told_threads = lace_interrupt_threads(worker->thread_ident, worker->cancelled_type);
            atomic_store(&worker->tell_again, !worker->told_threads);
        }
        lace_worker_detach(worker, tstate);
    }
    lace_worker_unref(worker);
    return NULL;
}

static void start_small_thread(void *(*run)(void *), lace_worker *worker)
{
    pthread_attr_t attributes;
    pthread_t small;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)256 << 10);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&small, &attributes, run, lace_worker_ref(worker)) != 0)
        lace_worker_unref(worker); /* no thread to be had: the grace period still bounds the end */
    pthread_attr_destroy(&attributes);
}

/* Likewise for the call that a worker is at. */
static void *interrupt_call(void *argument)
{
    lace_worker *worker = argument;
    PyThreadState *tstate = lace_worker_attach(worker);
    if (tstate != NULL) {
        lace_numbered_tell(worker);
        if (lace_numbered_interrupted(worker) != 0)
            lace_interrupt_loops(worker->thread_ident);
        lace_worker_detach(worker, tstate);
    }
    lace_worker_unref(worker);
    return NULL;
}

/* ---- the stuck ---------------------------------------------------------------------------------------- */

/* Guards `where`, between the thread that looks and the keeper that gives up on it. */
static pthread_mutex_t inspect_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t inspect_done = PTHREAD_COND_INITIALIZER;
static char where[512];

static void *inspect(void *argument)
{
    lace_worker *worker = argument;
    PyThreadState *tstate = lace_worker_attach(worker);
    char found[sizeof where] = "its interpreter's end";
    if (tstate != NULL) {
        lace_module_describe_thread(worker->thread_ident, false, found, sizeof found);
        lace_worker_detach(worker, tstate);
    }
    pthread_mutex_lock(&inspect_lock);
    memcpy(where, found, sizeof where);
    pthread_cond_signal(&inspect_done);
    pthread_mutex_unlock(&inspect_lock);
    lace_worker_unref(worker);
    return NULL;
}

/* Writes where a worker sits that does not end. */
static void find_where(lace_worker *worker, char *text, size_t size)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)INSPECT_FOR * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&inspect_lock);
    where[0] = '\0';
    start_small_thread(inspect, worker);
    while (where[0] == '\0' && pthread_cond_timedwait(&inspect_done, &inspect_lock, &until) == 0)
        continue;
    snprintf(text, size, "%s", where[0] ? where : "foreign C code that holds the interpreter's lock");
    pthread_mutex_unlock(&inspect_lock);
}

/* Writes a sentence about a worker that does not end. */
static void describe_stuck(lace_worker *worker, char *text, size_t size)
{
    char found[sizeof where];
    find_where(worker, found, sizeof found);
    snprintf(text, size, "worker '%s' did not end within %g s of being cancelled; it sits in %s", worker->name,
             (double)grace_ns / 1e9, found);
}

/* ---- looking at everybody ----------------------------------------------------------------------------- */

typedef struct view {
    int64_t now;
    int64_t wake_at; /* LACE_NEVER: nothing to look at again */
    size_t overdue;
    bool waits; /* a process has been cancelled and may still end, and others with it that wait for it */
} view;

static void wake_at(view *seen, int64_t time)
{
    if (seen->wake_at == LACE_NEVER || time < seen->wake_at)
        seen->wake_at = time;
}

/* A call that was cancelled, of a worker that was not: nothing bounds it, but it is interrupted likewise. */
static void look_at_call(lace_worker *worker, view *seen)
{
    uint64_t number = lace_numbered_interrupted(worker);
    if (number == 0)
        return;
    if (worker->call.seen != number) {
        worker->call.seen = number;
        start_small_thread(interrupt_call, worker);
    }
    tgkill(getpid(), atomic_load(&worker->tid), LACE_KICK_SIGNAL);
    wake_at(seen, seen->now + KICK_EVERY);
}

/* A worker in a process of its own: that is told once, and has a keeper itself. */
static void look_at_process(lace_worker *worker, view *seen)
{
    int64_t since = atomic_load(&worker->cancelled_at);
    if (!lace_scope_cancelled(worker->scope))
        return;
    if (since == 0) {
        since = seen->now;
        atomic_store(&worker->cancelled_at, since);
        lace_process_cancel(worker);
    }
    int64_t late = seen->now - since - grace_ns;
    if (late >= KILL_AFTER)
        lace_process_kill(worker); /* its death wakes us */
    else
        wake_at(seen, since + grace_ns + KILL_AFTER);
    if (late < 2 * KILL_AFTER) {
        seen->waits = true;
        wake_at(seen, since + grace_ns + 2 * KILL_AFTER);
    }
}

static void look_at(lace_worker *worker, void *context)
{
    view *seen = context;
    if (atomic_load(&worker->state) == LACE_WORKER_RESTARTING)
        return;
    if (worker->process != NULL) {
        look_at_process(worker, seen);
        return;
    }
    look_at_call(worker, seen);
    int64_t since = atomic_load(&worker->cancelled_at);
    bool ending = atomic_load(&worker->state) == LACE_WORKER_ENDING; /* which fires its own scope */
    if (!lace_scope_cancelled(worker->scope) || (ending && since == 0))
        return;
    if (since == 0) {
        since = seen->now;
        atomic_store(&worker->cancelled_at, since);
        atomic_thread_fence(memory_order_seq_cst); /* see wait.c */
        if (!atomic_load(&worker->waiting))
            start_small_thread(interrupt, worker);
    } else if (atomic_exchange(&worker->tell_again, false)) {
        start_small_thread(interrupt, worker);
    }
    pid_t tid = atomic_load(&worker->tid);
    if (tid != 0)
        tgkill(getpid(), tid, LACE_KICK_SIGNAL); /* a thread that has taken over the number ignores it */
    if (seen->now - since >= grace_ns)
        seen->overdue++;
    int64_t next = seen->now + KICK_EVERY;
    if (since + grace_ns > seen->now && since + grace_ns < next)
        next = since + grace_ns;
    wake_at(seen, next);
}

static void name_if_overdue(lace_worker *worker, void *context)
{
    const view *seen = context;
    int64_t since = atomic_load(&worker->cancelled_at);
    char text[sizeof where + 256];
    if (worker->process != NULL || since == 0 || seen->now - since < grace_ns)
        return;
    describe_stuck(worker, text, sizeof text);
    lace_complain("%s", text);
}

typedef struct description {
    char *text;
    size_t size;
} description;

static void describe_first(lace_worker *worker, void *context)
{
    description *first = context;
    if (first->text[0] == '\0' && worker->process == NULL && lace_scope_cancelled(worker->scope))
        describe_stuck(worker, first->text, first->size);
}

void lace_keeper_describe(char *text, size_t size)
{
    description first = {.text = text, .size = size};
    text[0] = '\0';
    lace_workers_each(describe_first, &first);
    if (text[0] == '\0')
        snprintf(text, size, "a spare worker does not end");
}

/* For a child: where the first one sits that is overdue. */
typedef struct overdue {
    const view *seen;
    char text[sizeof where];
} overdue;

static void find_overdue(lace_worker *worker, void *context)
{
    overdue *found = context;
    int64_t since = atomic_load(&worker->cancelled_at);
    if (found->text[0] == '\0' && since != 0 && found->seen->now - since >= grace_ns)
        find_where(worker, found->text, sizeof found->text);
}

static void leave(const view *seen)
{
    if (lace_child_is()) {
        overdue found = {.seen = seen};
        lace_workers_each(find_overdue, &found);
        lace_child_leave(found.text);
    }
    pthread_mutex_lock(&words_lock);
    if (last_words != NULL)
        lace_output_write(NULL, 2, last_words, strlen(last_words));
    pthread_mutex_unlock(&words_lock);
    lace_workers_each(name_if_overdue, (void *)seen);
    int number = lace_keeper_signal();
    _exit(number ? 128 + number : 1);
}

static void *keep(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "keeper");
    int64_t next_look = LACE_NEVER;
    int64_t patient_until = 0; /* those who are overdue may wait for a process, which has a little longer than they */
    bool took_signal = false;
    while (!atomic_load(&stopping)) {
        struct pollfd pollers[5] = {{.fd = atomic_load(&poke_fd), .events = POLLIN},
                                    {.fd = lace_interrupt_fd(), .events = POLLIN},
                                    {.fd = lace_state_fd(), .events = POLLIN},
                                    {.fd = lace_process_fd(), .events = POLLIN},
                                    {.fd = lace_child_fd(), .events = POLLIN}};
        struct timespec rest = {0}, *timeout = NULL;
        if (next_look != LACE_NEVER) {
            int64_t left = next_look - lace_clock();
            if (left > 0)
                rest = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
            timeout = &rest;
        }
        if (ppoll(pollers, 5, timeout, NULL) < 0 && errno != EINTR)
            lace_complain("poll: %s", strerror(errno));
        uint64_t pokes;
        if (pollers[1].revents)
            lace_interrupt_take();
        if (pollers[2].revents)
            lace_state_accept();
        if (atomic_exchange(&state_wanted, false))
            lace_state_print();
        if (pollers[0].revents && read(pollers[0].fd, &pokes, sizeof pokes) < 0 && errno != EAGAIN)
            lace_complain("eventfd: %s", strerror(errno));
        if (pollers[4].revents)
            lace_child_serve();
        lace_process_serve();
        if (lace_keeper_signal() != 0 && !took_signal) {
            took_signal = true;
            lace_process_foretell(lace_host_scope());
            lace_cancel_fire(lace_scope_cancel_token(lace_host_scope()));
        }
        view seen = {.now = lace_clock(), .wake_at = lace_restart_serve()};
        lace_workers_each(look_at, &seen);
        if (seen.waits)
            patient_until = seen.now + KILL_AFTER;
        if (seen.overdue > 0 && leaves && seen.now >= patient_until)
            leave(&seen);
        next_look = seen.wake_at;
    }
    return NULL;
}

/* ---- start and stop ----------------------------------------------------------------------------------- */

static void ignore_kick(int number)
{
    (void)number; /* its arrival interrupts a system call: that is all */
}

double lace_keeper_grace(void)
{
    return (double)grace_ns / 1e9;
}

const char *lace_keeper_start(double grace, bool leave_stuck)
{
    leaves = leave_stuck;
    if (leaves)
        lace_state_serve();
    if ((!lace_python_is_ours() || lace_child_is()) && !lace_interrupt_open())
        return "no descriptors for the host's own thread";
    grace_ns = (int64_t)((grace > 0 ? grace : LACE_DEFAULT_GRACE) * 1e9);
    if (atomic_load(&poke_fd) < 0)
        atomic_store(&poke_fd, lace_descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
    if (atomic_load(&poke_fd) < 0)
        return "no descriptor for the host's own thread";
    struct sigaction kick = {.sa_handler = ignore_kick}; /* no SA_RESTART: system calls return EINTR */
    struct sigaction before;
    if (sigaction(LACE_KICK_SIGNAL, NULL, &before) == 0 && !(before.sa_flags & SA_SIGINFO) &&
        (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN))
        sigaction(LACE_KICK_SIGNAL, &kick, NULL);
    atomic_store(&stopping, false);
    running = pthread_create(&thread, NULL, keep, NULL) == 0;
    return running ? NULL : "the host's own thread could not be started";
}

void lace_keeper_stop(void)
{
    if (!running)
        return;
    atomic_store(&stopping, true);
    lace_keeper_poke();
    pthread_join(thread, NULL);
    lace_state_stop();
    running = false;
}
