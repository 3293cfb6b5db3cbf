/* child.c - a process that is one worker of another process, its host: what it does there, and what it says to it. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../channels/futex.h"
#include "../channels/place.h"
#include "../channels/text.h"
#include "../channels/trace.h"
#include "command.h"
#include "deadlock.h"
#include "directory.h"
#include "ledger.h"
#include "process.h"
#include "sheet.h"
#include "site.h"

#define NOTED_AFTER 10.0 /* seconds that the host may take to note a failure */
#define LONGEST_WHY 1024 /* bytes */

static bool is_child;                 /* set before there are threads */
static _Atomic(lace_worker *) itself; /* the worker that the process is for; NULL: nothing is heard yet */
static atomic_bool cancelled;         /* its host has said so */
static atomic_bool told;              /* its outcome has been sent */
static bool watched; /* its host wants to know which of the ends given to it are closed; set before its code runs */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next three */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool noted; /* the host has noted the failure */
static bool again; /* likewise; and it starts the worker anew, in another process */
static lace_sheet *sheet; /* set before there is anything to be written on it */

bool lace_child_is(void)
{
    return is_child;
}

int lace_child_fd(void)
{
    return atomic_load(&itself) != NULL ? LACE_CHILD_TALK : -1;
}

const char *lace_child_version(void)
{
    return LACE_VERSION " " PY_VERSION;
}

lace_sheet *lace_child_sheet(void)
{
    return sheet;
}

/* ---- what it says --------------------------------------------------------------------------------------- */

static void say(lace_saying what, int code, const char *text)
{
    size_t size = text != NULL ? strlen(text) : 0;
    lace_talk talk = {.what = what,
                      .code = code,
                      .text = text,
                      .text_size = size < LACE_LONGEST_SAYING ? size : LACE_LONGEST_SAYING};
    lace_talk_say(LACE_CHILD_TALK, &talk, true); /* if nobody is there to hear it, this process is about to end */
}

void lace_child_say_ready(const lace_worker *worker)
{
    if (is_child && worker == itself)
        say(LACE_SAY_READY, 0, NULL);
}

void lace_child_say_told(const lace_worker *worker)
{
    if (!is_child || worker != itself)
        return;
    atomic_store(&told, true);
    say(LACE_SAY_TOLD, 0, NULL);
}

void lace_child_say_cancelled(const lace_worker *worker)
{
    if (is_child && worker == itself)
        say(LACE_SAY_CANCEL, 0, NULL);
}

bool lace_child_say_failed(const lace_worker *worker, const char *why)
{
    static char words[LACE_LONGEST_SAYING + 1]; /* the worker's own thread is here */
    if (!is_child || worker != itself)
        return false;
    if (!lace_keeper_copy_last_words(words, sizeof words))
        words[0] = '\0';
    lace_talk failure = {.what = LACE_SAY_FAILED,
                         .code = atomic_load(&worker->exit_code),
                         .text = words,
                         .text_size = strnlen(words, LACE_LONGEST_SAYING - LONGEST_WHY),
                         .more = why,
                         .more_size = why != NULL ? strnlen(why, LONGEST_WHY) : 0};
    lace_talk_say(LACE_CHILD_TALK, &failure, true);
    int64_t deadline = lace_deadline_after(NOTED_AFTER);
    const struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    pthread_mutex_lock(&lock);
    while (!noted && pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &until) == 0)
        continue;
    bool anew = again;
    pthread_mutex_unlock(&lock);
    return anew;
}

void lace_child_say_closed(const lace_worker *worker, size_t index)
{
    if (!is_child || worker != itself || !watched)
        return;
    atomic_fetch_add(&sheet->closed, 1);
    say(LACE_SAY_CLOSED, (int)index, NULL);
}

void lace_child_want_lines(void)
{
    if (is_child)
        say(LACE_SAY_LINES, 0, NULL);
}

void lace_child_say_waits(void)
{
    say(LACE_SAY_WAITS, 0, NULL);
}

void lace_child_leave(const char *where)
{
    say(LACE_SAY_STUCK, 0, where);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Output for an application that takes it: see process.h. */
static void pass_on(void *context, const char *worker, int fd, const char *text, size_t size)
{
    (void)context;
    char shown[256];
    size_t name = lace_text_print(shown, sizeof shown, "%s", worker);
    do {
        size_t part = size < LACE_LONGEST_SAYING - name ? size : LACE_LONGEST_SAYING - name;
        lace_talk talk = {.what = LACE_SAY_OUTPUT,
                          .code = part < size ? fd | LACE_GOES_ON : fd,
                          .text = shown,
                          .text_size = name,
                          .more = text,
                          .more_size = part};
        lace_talk_say(LACE_CHILD_TALK, &talk, true);
        text += part;
        size -= part;
    } while (size > 0);
}

/* ---- what it hears -------------------------------------------------------------------------------------- */

static void heed_cancelling(void)
{
    atomic_store(&cancelled, true);
    lace_cancel_fire(lace_scope_cancel_token(lace_host_scope()));
}

void lace_child_serve(void)
{
    static char room[LACE_TALK_ROOM];
    lace_talk talk;
    int heard;
    while ((heard = lace_talk_hear(LACE_CHILD_TALK, room, &talk)) > 0) {
        if (talk.what == LACE_SAY_CANCEL) {
            heed_cancelling();
        } else if (talk.what == LACE_SAY_REVOKE && talk.text_size == sizeof(uint64_t)) {
            uint64_t number;
            bool ahead;
            memcpy(&number, talk.text, sizeof number);
            lace_numbered_revoke(atomic_load(&itself), number, talk.code != 0, &ahead);
        } else if (talk.what == LACE_SAY_ANSWER && sheet != NULL) {
            atomic_store(&sheet->answered, (uint32_t)talk.code);
            lace_futex_wake(&sheet->answered, 1);
        } else if (talk.what == LACE_SAY_NOTED) {
            pthread_mutex_lock(&lock);
            noted = true;
            again = talk.code != 0;
            pthread_cond_signal(&changed);
            pthread_mutex_unlock(&lock);
        }
    }
    if (heard < 0)
        _exit(1); /* the host is gone, and nobody waits for anything here */
}

bool lace_child_is_cancelled(void)
{
    if (sheet == NULL || !atomic_load(&sheet->cancelled))
        return false;
    heed_cancelling();
    return true;
}

bool lace_child_dies(const lace_worker *worker)
{
    return is_child && worker == itself && lace_keeper_signal() != 0 && !atomic_load(&cancelled) &&
           !atomic_load(&told);
}

/* ---- its life ------------------------------------------------------------------------------------------- */

/* Opens this process's host in the region of the other. NULL, or what went wrong. */
static const char *begin(unsigned number)
{
    lace_region *region;
    lace_attachment jobs = {0};
    lace_post post;
    lace_job *job;
    lace_with_job with = {0};
    lace_status status = lace_region_attach(LACE_CHILD_REGION, number, NULL, &region);
    if (status != LACE_OK)
        return lace_strerror(status);
    status = lace_place_take(region, &jobs);
    if (status == LACE_OK && jobs.kind != LACE_ATTACH_RECEIVER)
        status = LACE_CORRUPT;
    if (status == LACE_OK) {
        status = lace_job_receive(jobs.as.receiver, region, &post, &job, &with);
        lace_receiver_destroy(jobs.as.receiver);
    }
    if (status != LACE_OK)
        return lace_strerror(status);
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", lace_region_descriptor(region));
    /* Opened anew, since locks of it are between openings. */
    int turns = open(path, O_RDWR | O_CLOEXEC);
    if (turns < 0)
        return "/proc is not there";
    lace_host_setup setup = {.tag = post.tag,
                             .grace = post.grace,
                             .leaves = true,
                             .output = post.output_taken ? pass_on : NULL,
                             .region = region};
    lace_python_options options = {.settings = post.settings};
    lace_python_set_options(&options);
    if (lace_host_start(&setup) != LACE_OK)
        return lace_problem();
    lace_output_share(turns, lace_block_data(with.output));
    lace_spawn_options spawn = {.name = post.name,
                                .index = post.index,
                                .count = post.count,
                                .parent = lace_host_scope(),
                                .quiet = post.quiet,
                                .kept = post.kept};
    lace_worker *made = lace_worker_adopt(&spawn, post.id, job, with.outcome);
    if (made == NULL)
        return "out of memory";
    made->call.shown = lace_block_data(with.at);
    sheet = lace_block_data(with.sheet);
    made->waits.shown = &sheet->waits;
    lace_life_show(made->life, &sheet->account);
    if (with.ring != NULL)
        lace_trace_borrow(with.ring);
    lace_site_number_from(number);
    lace_ledger_number_from(number);
    lace_ledger_keeps = post.watched;
    lace_statement_begin();
    atomic_store(&made->restarts, post.restarts);
    watched = post.restartable;
    atomic_store(&itself, made);
    lace_keeper_poke(); /* it has something more to poll */
    return NULL;
}

/* interlace __worker VERSION PLACE PARENT [NAME] */
int lace_command_child(int argc, char **argv)
{
    if (argc < 4 || fcntl(LACE_CHILD_TALK, F_GETFD) < 0) {
        lace_complain("%s is for interlace itself: it makes a process of a worker", LACE_CHILD_COMMAND);
        return LACE_EXIT_USAGE;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != atoi(argv[3]))
        _exit(1); /* it was too late for that */
    fcntl(LACE_CHILD_REGION, F_SETFD, FD_CLOEXEC);
    fcntl(LACE_CHILD_TALK, F_SETFD, FD_CLOEXEC);
    char other[256];
    const char *error = NULL;
    if (strcmp(argv[1], lace_child_version()) != 0) {
        snprintf(other, sizeof other, "the program is interlace %s, and what started it is %s", lace_child_version(),
                 argv[1]);
        error = other;
    }
    is_child = true;
    if (error == NULL)
        error = begin((unsigned)atoi(argv[2]));
    if (error != NULL) {
        say(LACE_SAY_REFUSED, 0, error);
        _exit(1);
    }
    int code = lace_worker_live_in_main(itself);
    if (lace_child_dies(itself)) {
        signal(SIGTERM, SIG_DFL);
        raise(SIGTERM);
    }
    say(LACE_SAY_DONE, code, NULL);
    _exit(0);
}
