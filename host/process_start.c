/* process_start.c - workers in processes of their own: what the first one needs, the job on its way, the program started. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../channels/descriptor.h"
#include "../channels/trace.h"
#include "ledger.h"
#include "process_own.h"
#include "sheet.h"

#define ABOVE_INHERITED 16 /* descriptors from here on are in nobody's way when those of a child are put in place */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next two */
static lace_block *shared;                               /* see lace_output_share; made with the first process */
static bool open_for_any;                                /* all that the first one needs is there */
static atomic_int watch_fd = -1; /* epoll; written under the lock, and at the end by nobody else */

int lace_process_fd(void)
{
    return atomic_load(&watch_fd);
}

void lace_process_free(struct lace_process *process)
{
    if (process == NULL)
        return;
    if (process->place != NULL)
        lace_place_bury(process->place);
    if (process->talk >= 0)
        close(process->talk);
    if (process->child_talk >= 0)
        close(process->child_talk);
    lace_block_destroy(process->at);
    lace_block_destroy(process->sheet);
    pthread_mutex_destroy(&process->grave);
    pthread_mutex_destroy(&process->talk_lock);
    free(process->program);
    free(process->stuck);
    free(process->text.data);
    free(process);
}

/* ---- what the first one needs ---------------------------------------------------------------------------- */

/* What the first process needs, and all share. Without a GIL: it waits for those who write. */
static bool open_for_processes(void)
{
    pthread_mutex_lock(&lock);
    if (!open_for_any) {
        if (shared == NULL && lace_block_create(lace_region_of_host(), LACE_OUTPUT_SHARED, &shared) != LACE_OK)
            shared = NULL;
        if (shared != NULL && atomic_load(&watch_fd) < 0)
            atomic_store(&watch_fd, lace_descriptor(epoll_create1(EPOLL_CLOEXEC)));
        if (shared != NULL && atomic_load(&watch_fd) >= 0) {
            memset(lace_block_data(shared), 0, LACE_OUTPUT_SHARED);
            lace_output_share(lace_region_descriptor(lace_region_of_host()), lace_block_data(shared));
            open_for_any = true;
        }
    }
    bool opened = open_for_any;
    pthread_mutex_unlock(&lock);
    return opened;
}

void lace_process_close(void)
{
    lace_output_share(-1, NULL);
    if (atomic_load(&watch_fd) >= 0)
        close(atomic_exchange(&watch_fd, -1));
    lace_block_destroy(shared);
    shared = NULL;
    open_for_any = false;
}

/* ---- the job ---------------------------------------------------------------------------------------------- */

static int move_up(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, ABOVE_INHERITED);
    if (moved >= 0)
        close(fd);
    return moved;
}

static bool join_by_socket(struct lace_process *process)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    process->talk = lace_descriptor(ends[0]);
    process->child_talk = move_up(ends[1]);
    return process->talk >= 0 && process->child_talk >= 0;
}

/* Puts the job into a channel whose receiver the child finds at its place. Takes the job if it succeeds. */
static lace_status hand_over(struct lace_process *process, const lace_spawn_options *options, lace_job *job)
{
    lace_worker *worker = process->worker;
    lace_sender *jobs;
    lace_receiver *at_place;
    lace_with_job with = {0};
    lace_channel_options channel = {.capacity = 1, .name = worker->name};
    lace_status status = lace_channel_create(lace_region_of_host(), &channel, &jobs, &at_place);
    if (status != LACE_OK)
        return status;
    const lace_post post = {.id = worker->id,
                            .index = worker->index,
                            .count = worker->count,
                            .grace = lace_keeper_grace(),
                            .tag = lace_output_tags(),
                            .quiet = atomic_load(&worker->quiet),
                            .kept = worker->kept,
                            .watched = lace_ledger_keeps,
                            .output_taken = lace_output_is_taken(),
                            .restartable = worker->restart != NULL,
                            .restarts = atomic_load(&worker->restarts),
                            .name = worker->name,
                            .settings = options->settings != NULL ? options->settings : lace_python_settings()};
    status = lace_sender_clone(worker->outcome, &with.outcome);
    if (status == LACE_OK)
        status = lace_block_share(shared, &with.output);
    if (status == LACE_OK)
        status = lace_block_create(lace_region_of_host(), sizeof(_Atomic(uint64_t)), &process->at);
    if (status == LACE_OK) {
        memset(lace_block_data(process->at), 0, lace_block_size(process->at));
        status = lace_block_share(process->at, &with.at);
    }
    if (status == LACE_OK)
        status = lace_block_create(lace_region_of_host(), sizeof(lace_sheet), &process->sheet);
    if (status == LACE_OK)
        status = lace_sheet_begin(lace_block_data(process->sheet)) ? lace_block_share(process->sheet, &with.sheet)
                                                                   : LACE_NOMEM;
    lace_block *ring = NULL;
    if (status == LACE_OK && lace_trace_on() && lace_trace_lend(lace_region_of_host(), &ring) == LACE_OK) {
        if (lace_block_share(ring, &with.ring) != LACE_OK)
            with.ring = NULL;
        lace_trace_list(ring, worker->id, worker->name);
    }
    if (status == LACE_OK)
        status = lace_place_give(process->place,
                                 &(lace_attachment){.kind = LACE_ATTACH_RECEIVER, .as.receiver = at_place});
    if (status == LACE_OK)
        at_place = NULL; /* the place's */
    if (status == LACE_OK)
        status = lace_job_send(jobs, &post, job, &with);
    if (status != LACE_OK) {
        lace_sender_destroy(with.outcome);
        lace_block_destroy(with.output);
        lace_block_destroy(with.at);
        lace_block_destroy(with.sheet);
        lace_block_destroy(with.ring);
    }
    lace_receiver_destroy(at_place);
    lace_sender_destroy(jobs);
    return status;
}

/* The path of the program, perhaps in found[], or NULL with what is wrong. */
static const char *find_program(char *found, size_t size, const char **ret_error)
{
    if (!lace_child_is())
        return lace_program(found, size, ret_error);
    *ret_error =
        "a worker in a process of its own can start workers in interpreters, not in processes; the worker that "
        "started it can do that";
    return NULL;
}

const char *lace_process_trouble(void)
{
    char found[PATH_MAX];
    const char *error = NULL;
    find_program(found, sizeof found, &error);
    return error;
}

const char *lace_process_start(lace_worker *worker, lace_job *job, const lace_spawn_options *options)
{
    const char *error = NULL;
    char found[PATH_MAX];
    const char *program = find_program(found, sizeof found, &error);
    if (program == NULL)
        return error;
    struct lace_process *process = calloc(1, sizeof *process);
    if (process == NULL)
        return "no memory for a worker";
    *process = (struct lace_process){
        .worker = worker, .program = strdup(program), .talk = -1, .child_talk = -1, .pidfd = -1};
    pthread_mutex_init(&process->talk_lock, NULL);
    pthread_mutex_init(&process->grave, NULL);
    lace_status status = LACE_OK;
    if (process->program == NULL)
        error = "no memory for a worker";
    else if (!open_for_processes() || !join_by_socket(process))
        error = "the process may have no more descriptors (see ulimit -n)";
    else if ((status = lace_place_create(lace_region_of_host(), &process->place)) != LACE_OK)
        error = status == LACE_BUSY ? "there are too many processes: 256 may be alive at once"
                                    : lace_strerror(status);
    else if ((status = hand_over(process, options, job)) != LACE_OK)
        error = status == LACE_UNSUPPORTED ? "ends of pipes and sockets do not go to other processes: open them there"
                                           : lace_strerror(status);
    if (error != NULL) {
        lace_process_free(process);
        return error;
    }
    worker->process = process;
    lace_life_show(worker->life, &((lace_sheet *)lace_block_data(process->sheet))->account);
    lace_worker_ref(worker);
    lace_process_enlist(process);
    return NULL;
}

void lace_process_announce(const char *module)
{
    static char said[16][64]; /* guarded by the lock; when it is full, what is not in it is not said */
    bool news = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        if (said[i][0] == '\0') {
            snprintf(said[i], sizeof said[i], "%s", module);
            news = true;
        }
        if (news || strcmp(said[i], module) == 0)
            break;
    }
    pthread_mutex_unlock(&lock);
    if (news)
        lace_complain(
            "%s does not load in an interpreter with its own GIL: workers that import it run in processes of their "
            "own",
            module);
}

/* ---- the program ------------------------------------------------------------------------------------------ */

/* 0 or an errno. The child has what it is to inherit, and its signals as they were for us. */
static int start_program(struct lace_process *process)
{
    char place[16], parent[16];
    snprintf(place, sizeof place, "%u", lace_place_seat(process->place));
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    const char *words[] = {
        "interlace", LACE_CHILD_COMMAND, lace_child_version(), place, parent, process->worker->name, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, usual;
    int error = posix_spawn_file_actions_init(&files);
    if (error != 0)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error != 0) {
        posix_spawn_file_actions_destroy(&files);
        return error;
    }
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGTERM);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGCHLD);
    sigaddset(&usual, LACE_KICK_SIGNAL);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    error = posix_spawn_file_actions_adddup2(&files, lace_region_descriptor(lace_region_of_host()),
                                             LACE_CHILD_REGION);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&files, process->child_talk, LACE_CHILD_TALK);
    if (error == 0)
        error = posix_spawn_file_actions_addclosefrom_np(&files, LACE_CHILD_TALK + 1);
    if (error == 0)
        error = posix_spawn(&process->pid, process->program, &files, &attributes, (char *const *)(uintptr_t)words,
                            environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error;
}

/* The two descriptors of a process in one epoll: its own address for the socket, one more for the pidfd. */
static bool watch(struct lace_process *process)
{
    struct epoll_event says = {.events = EPOLLIN, .data.ptr = process};
    struct epoll_event ends = {.events = EPOLLIN, .data.ptr = (char *)process + 1};
    process->pidfd = lace_descriptor(pidfd_open(process->pid, 0));
    return process->pidfd >= 0 && epoll_ctl(atomic_load(&watch_fd), EPOLL_CTL_ADD, process->talk, &says) == 0 &&
           epoll_ctl(atomic_load(&watch_fd), EPOLL_CTL_ADD, process->pidfd, &ends) == 0;
}

int lace_process_run(struct lace_process *process)
{
    int error = start_program(process);
    close(process->child_talk);
    process->child_talk = -1;
    if (error == 0 && (lace_place_started(process->place, process->pid) != LACE_OK || !watch(process))) {
        error = errno;
        kill(process->pid, SIGKILL);
        waitpid(process->pid, NULL, 0);
    }
    return error;
}
