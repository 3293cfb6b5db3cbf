/* process.c - workers in processes of their own, as the keeper has them: started, heard, dead and buried.
 *
 * Who starts a worker prepares everything (process_start.c), and leaves the rest to the keeper: a child dies with the thread
 * that made it (PR_SET_PDEATHSIG), and that one lasts as long as the host. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../channels/futex.h"
#include "deadlock.h"
#include "ledger.h"
#include "process_own.h"
#include "restart.h"
#include "sheet.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next two */
static struct lace_process *to_start;                    /* the newest first */
static size_t unburied;                                  /* those to be started as well */
static struct lace_process *alive;                       /* those that have been started; the keeper's */

bool lace_process_any(void)
{
    pthread_mutex_lock(&lock);
    bool any = unburied > 0;
    pthread_mutex_unlock(&lock);
    return any;
}

void lace_process_enlist(struct lace_process *process)
{
    pthread_mutex_lock(&lock);
    process->next = to_start;
    to_start = process;
    unburied++;
    pthread_mutex_unlock(&lock);
    lace_keeper_poke();
}

/* ---- beginning and end ------------------------------------------------------------------------------------ */

/* It is over: its worker has ended. */
static void finish(struct lace_process *process)
{
    lace_worker *worker = process->worker;
    if (process->pidfd >= 0)
        close(process->pidfd);
    process->pidfd = -1;
    pthread_mutex_lock(&process->talk_lock);
    close(process->talk);
    process->talk = -1;
    pthread_mutex_unlock(&process->talk_lock);
    pthread_mutex_lock(&lock);
    unburied--;
    pthread_mutex_unlock(&lock);
    lace_worker_bury(worker);
    lace_worker_unref(worker); /* which may have been the last count, and `process` goes with it */
}

static void bury_place(struct lace_process *process)
{
    pthread_mutex_lock(&process->grave);
    process->buried = true;
    pthread_mutex_unlock(&process->grave);
    lace_place_bury(process->place);
    process->place = NULL;
}

static void start(struct lace_process *process)
{
    int error = lace_process_run(process);
    if (error == 0) {
        process->next = alive;
        alive = process;
        return;
    }
    char text[512];
    snprintf(text, sizeof text, "%s cannot be run: %s", process->program, strerror(error));
    lace_worker_fail(process->worker, NULL);
    bury_place(process);
    lace_worker_fail_in_c(process->worker, text);
    finish(process);
}

/* ---- hearing -------------------------------------------------------------------------------------------- */

static void print(struct lace_process *process, const lace_talk *talk)
{
    lace_tail *text = &process->text;
    if (text->size + talk->more_size > text->room) {
        size_t room = text->size + talk->more_size;
        char *grown = realloc(text->data, room);
        if (grown == NULL)
            return;
        text->data = grown;
        text->room = room;
    }
    memcpy(text->data + text->size, talk->more, talk->more_size);
    text->size += talk->more_size;
    if (talk->code & LACE_GOES_ON)
        return;
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)talk->text_size, talk->text);
    lace_output_pass(name, talk->code, text->data, text->size);
    text->size = 0;
}

static void note_stuck(struct lace_process *process, const char *where, size_t size)
{
    if (process->stuck != NULL)
        return;
    process->stuck = strndup(where, size);
    lace_complain("worker '%s' did not end within %g s of being cancelled; it sits in %.*s: its process is killed",
                  process->worker->name, lace_keeper_grace(), (int)size, where);
}

static void heed(struct lace_process *process, const lace_talk *talk)
{
    lace_worker *worker = process->worker;
    switch (talk->what) {
    case LACE_SAY_READY:
        atomic_store(&worker->state, LACE_WORKER_RUNNING);
        break;
    case LACE_SAY_FAILED: {
        char *why = talk->more_size > 0 ? strndup(talk->more, talk->more_size) : NULL;
        bool again = lace_worker_fail(worker, why);
        free(why);
        atomic_store(&worker->exit_code, talk->code);
        if (talk->text_size > 0 && !again) {
            char *words = strndup(talk->text, talk->text_size);
            if (words != NULL)
                lace_keeper_last_words(words);
            free(words);
        }
        lace_talk_say(process->talk, &(lace_talk){.what = LACE_SAY_NOTED, .code = again}, false);
        break;
    }
    case LACE_SAY_LINES:
        if (lace_stdin_lines != NULL)
            lace_lines_want(lace_stdin_lines);
        break;
    case LACE_SAY_OUTPUT:
        print(process, talk);
        break;
    case LACE_SAY_STUCK:
        note_stuck(process, talk->text, talk->text_size);
        break;
    case LACE_SAY_REFUSED: {
        char text[512];
        snprintf(text, sizeof text, "its process could not begin: %.*s", (int)talk->text_size, talk->text);
        process->refused = true;
        lace_worker_fail(worker, NULL);
        lace_worker_fail_in_c(worker, text);
        break;
    }
    case LACE_SAY_CLOSED:
        pthread_mutex_lock(&process->grave);
        if (worker->restart != NULL && talk->code >= 0)
            lace_restart_drop_end(worker->restart, (size_t)talk->code);
        process->closed++;
        pthread_mutex_unlock(&process->grave);
        break;
    case LACE_SAY_TOLD:
        process->told = true;
        break;
    case LACE_SAY_WAITS:
        lace_watcher_wake();
        break;
    case LACE_SAY_DONE:
        process->done = true;
        process->exit_code = talk->code;
        break;
    case LACE_SAY_CANCEL:
        lace_scope_cancel(worker->restart != NULL ? lace_restart_scope(worker->restart) : worker->scope);
        break;
    case LACE_SAY_NOTED:
    case LACE_SAY_ANSWER:
    case LACE_SAY_REVOKE:
        break; /* not for us */
    }
}

static void hear(struct lace_process *process)
{
    static char room[LACE_TALK_ROOM];
    lace_talk talk;
    int heard;
    while ((heard = lace_talk_hear(process->talk, room, &talk)) > 0)
        heed(process, &talk);
    if (heard < 0) /* it has closed its end: what is to come is its death */
        epoll_ctl(lace_process_fd(), EPOLL_CTL_DEL, process->talk, NULL);
}

/* ---- its death ------------------------------------------------------------------------------------------ */

typedef struct death {
    int signal;    /* 0: none */
    int exit_code; /* -1: unknown */
    char text[1024];
} death;

static void learn(struct lace_process *process, death *how)
{
    siginfo_t info = {0};
    int got;
    do
        got = waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED);
    while (got != 0 && errno == EINTR);
    *how = (death){.exit_code = -1};
    if (got != 0) {
        snprintf(how->text, sizeof how->text, "its process is gone, and something else in this one took its status");
    } else if (info.si_code == CLD_EXITED) {
        how->exit_code = info.si_status;
        snprintf(how->text, sizeof how->text, "its process ended with exit status %d", info.si_status);
    } else {
        const char *name = sigabbrev_np(info.si_status);
        how->signal = info.si_status;
        if (name != NULL)
            snprintf(how->text, sizeof how->text, "killed by SIG%s", name);
        else
            snprintf(how->text, sizeof how->text, "killed by signal %d", info.si_status);
        size_t length = strlen(how->text);
        if (process->stuck != NULL)
            snprintf(how->text + length, sizeof how->text - length,
                     ", since it did not end within %g s of being cancelled; it sat in %s", lace_keeper_grace(),
                     process->stuck);
    }
}

static void put_small(lace_pickle *pickle, int number, bool known)
{
    if (!known) {
        lace_pickle_none(pickle);
        return;
    }
    lace_pickle_op(pickle, 'K'); /* BININT1 */
    lace_pickle_op(pickle, (char)number);
}

/* The outcome that _worker.py makes a WorkerDied of: (text, signal, exit status). */
static void tell_death(lace_worker *worker, const death *how)
{
    lace_pickle body = {0};
    lace_pickle_begin(&body);
    lace_pickle_str(&body, how->text, strlen(how->text));
    put_small(&body, how->signal, how->signal != 0);
    put_small(&body, how->exit_code, how->exit_code >= 0);
    lace_pickle_op(&body, '\x87'); /* TUPLE3 */
    lace_pickle_end(&body);
    char *data = malloc(1 + body.size);
    if (data != NULL && !body.failed) {
        data[0] = 'D'; /* the tag: see _bootstrap.py */
        memcpy(data + 1, body.data, body.size);
        lace_payload payload = {.data = data, .size = 1 + body.size};
        lace_send(worker->outcome, &payload, &(lace_wait){.deadline = LACE_NOW});
    }
    free(data);
    free(body.data);
}

static void mourn(struct lace_process *process)
{
    lace_worker *worker = process->worker;
    death how;
    hear(process);
    lace_life_note_cpu(worker->life);
    learn(process, &how);
    bool told = process->told || process->refused || lace_sender_length(worker->outcome) > 0;
    bool died = !process->done && !told;
    char why[sizeof how.text + 16];
    snprintf(why, sizeof why, "died: %s", how.text);
    bool again = died && lace_worker_fail(worker, why); /* before others see its ends close */
    if (died)
        lace_life_fail(worker->life, how.text);
    bury_place(process);
    if (process->done)
        atomic_store(&worker->exit_code, process->exit_code);
    if (again) {
        /* its next attempt tells */
    } else if (died && atomic_load(&worker->quiet)) {
        tell_death(worker, &how);
    } else if (died) {
        lace_complain("worker '%s' died: %s", worker->name, how.text);
    } else if (!process->done && !process->refused) {
        lace_complain("worker '%s' died as it ended, after its work: %s", worker->name, how.text);
        atomic_store(&worker->exit_code, 1);
    }
    struct lace_process **link = &alive;
    while (*link != process)
        link = &(*link)->next;
    *link = process->next;
    finish(process);
}

void lace_process_serve(void)
{
    pthread_mutex_lock(&lock);
    struct lace_process *news = to_start, *first = NULL;
    to_start = NULL;
    pthread_mutex_unlock(&lock);
    while (news != NULL) { /* the oldest first */
        struct lace_process *next = news->next;
        news->next = first;
        first = news;
        news = next;
    }
    while (first != NULL) {
        struct lace_process *next = first->next;
        start(first);
        first = next;
    }
    struct epoll_event events[64];
    int count = lace_process_fd() < 0 ? 0 : epoll_wait(lace_process_fd(), events, 64, 0);
    /* All that is said first: one that has ended goes, and with it what other events point to. */
    for (int i = 0; i < count; i++)
        if (((uintptr_t)events[i].data.ptr & 1) == 0)
            hear(events[i].data.ptr);
    for (int i = 0; i < count; i++)
        if (((uintptr_t)events[i].data.ptr & 1) != 0)
            mourn((struct lace_process *)((char *)events[i].data.ptr - 1));
}

/* ---- for the watcher ------------------------------------------------------------------------------------ */

lace_sheet *lace_process_sheet(const lace_worker *worker)
{
    return lace_block_data(worker->process->sheet);
}

bool lace_process_hold(const lace_worker *worker)
{
    pthread_mutex_lock(&worker->process->grave);
    if (!worker->process->buried)
        return true;
    pthread_mutex_unlock(&worker->process->grave);
    return false;
}

void lace_process_release(const lace_worker *worker)
{
    pthread_mutex_unlock(&worker->process->grave);
}

bool lace_process_is_heard(const lace_worker *worker)
{
    return atomic_load(&lace_process_sheet(worker)->closed) == atomic_load(&worker->process->closed);
}

/* From any thread; see lace_talk_say. */
static void tell(struct lace_process *process, const lace_talk *talk, bool waits)
{
    pthread_mutex_lock(&process->talk_lock);
    if (process->talk >= 0)
        lace_talk_say(process->talk, talk, waits);
    pthread_mutex_unlock(&process->talk_lock);
}

void lace_process_ask(const lace_worker *worker, uint32_t number)
{
    tell(worker->process, &(lace_talk){.what = LACE_SAY_ANSWER, .code = (int32_t)number}, false);
}

bool lace_process_answers(const lace_worker *worker, uint32_t number, int64_t deadline)
{
    lace_sheet *sheet = lace_process_sheet(worker);
    uint32_t answered;
    while ((answered = atomic_load(&sheet->answered)) != number)
        if (lace_futex_wait(&sheet->answered, answered, deadline) == ETIMEDOUT)
            return false;
    return true;
}

pid_t lace_process_pid(const lace_worker *worker)
{
    return worker->process->pid;
}

/* ---- from others ---------------------------------------------------------------------------------------- */

static void foretell(lace_worker *worker, void *scope)
{
    /* The state first: once it runs, what it is of is set. */
    if (atomic_load(&worker->state) == LACE_WORKER_RUNNING && worker->process != NULL &&
        lace_scope_is_below(worker->scope, scope))
        atomic_store(&lace_process_sheet(worker)->cancelled, true);
}

void lace_process_foretell(const lace_scope *scope)
{
    if (lace_process_any())
        lace_workers_each(foretell, (void *)(uintptr_t)scope);
}

void lace_process_cancel(const lace_worker *worker)
{
    if (worker->process->talk >= 0)
        lace_talk_say(worker->process->talk, &(lace_talk){.what = LACE_SAY_CANCEL}, false);
}

uint64_t lace_process_at(const lace_worker *worker)
{
    return atomic_load((_Atomic(uint64_t) *)lace_block_data(worker->process->at));
}

void lace_process_revoke(const lace_worker *worker, uint64_t number, bool interrupt)
{
    lace_talk talk = {
        .what = LACE_SAY_REVOKE, .code = interrupt, .text = (const char *)&number, .text_size = sizeof number};
    tell(worker->process, &talk, true); /* there the keeper hears it, or it is dead */
}

void lace_process_kill(const lace_worker *worker)
{
    static const char where[] = "a process that does not answer";
    struct lace_process *process = worker->process;
    if (process->pid == 0 || process->pidfd < 0 || process->killed)
        return;
    process->killed = true;
    note_stuck(process, where, sizeof where - 1);
    kill(process->pid, SIGKILL);
}
