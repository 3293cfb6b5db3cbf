/* family.c - starting children and waiting for them. */
#include "family.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- in the child ------------------------------------------------------------------------------------- */

static pthread_mutex_t orders_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t orders_changed = PTHREAD_COND_INITIALIZER;
static uint32_t orders_come;

static void ordered(void *context, uint32_t orders)
{
    CHECK(context == &orders_come);
    pthread_mutex_lock(&orders_lock);
    orders_come |= orders;
    pthread_cond_broadcast(&orders_changed);
    pthread_mutex_unlock(&orders_lock);
}

void orders_await(uint32_t wanted)
{
    pthread_mutex_lock(&orders_lock);
    while ((orders_come & wanted) != wanted)
        pthread_cond_wait(&orders_changed, &orders_lock);
    pthread_mutex_unlock(&orders_lock);
}

struct job {
    const script *what;
    const char *argument;
    int fd;
    uint32_t seat;
    int result;
};

static void work(void *context)
{
    struct job *job = context;
    const lace_attach_options options = {.ordered = ordered, .context = &orders_come};
    lace_region *region;

    CHECK_OK(lace_region_attach(job->fd, job->seat, &options, &region));
    job->result = job->what->run(region, job->argument);
    CHECK_OK(lace_region_destroy(region)); /* a script leaves nothing */
}

/* argv: PROGRAM --child SCRIPT FD SEAT ARGUMENT */
void family_begin(int argc, char **argv, const script *scripts, size_t count)
{
    struct job job = {0};
    thread worker;

    if (argc != 6 || strcmp(argv[1], "--child") != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(scripts[i].name, argv[2]) == 0)
            job.what = &scripts[i];
    }
    if (job.what == NULL) {
        fprintf(stderr, "there is no script %s\n", argv[2]);
        exit(EXIT_FAILURE);
    }
    job.fd = atoi(argv[3]);
    job.seat = (uint32_t)atoi(argv[4]);
    job.argument = argv[5];
    thread_start(&worker, work, &job);
    thread_join(&worker);
    exit(job.result);
}

lace_sender *gift_sender(lace_region *region)
{
    lace_attachment gift;

    CHECK_OK(lace_place_take(region, &gift));
    CHECK(gift.kind == LACE_ATTACH_SENDER);
    return gift.as.sender;
}

lace_receiver *gift_receiver(lace_region *region)
{
    lace_attachment gift;

    CHECK_OK(lace_place_take(region, &gift));
    CHECK(gift.kind == LACE_ATTACH_RECEIVER);
    return gift.as.receiver;
}

lace_block *gift_block(lace_region *region)
{
    lace_attachment gift;

    CHECK_OK(lace_place_take(region, &gift));
    CHECK(gift.kind == LACE_ATTACH_BLOCK);
    return gift.as.block;
}

/* ---- in the parent ------------------------------------------------------------------------------------ */

void child_make(child *made, lace_region *region)
{
    *made = (child){0};
    CHECK_OK(lace_place_create(region, &made->place));
}

static void give(child *to, const lace_attachment *gift)
{
    CHECK_OK(lace_place_give(to->place, gift));
}

void child_give_sender(child *to, lace_sender *sender)
{
    give(to, &(lace_attachment){.kind = LACE_ATTACH_SENDER, .as.sender = sender});
}

void child_give_receiver(child *to, lace_receiver *receiver)
{
    give(to, &(lace_attachment){.kind = LACE_ATTACH_RECEIVER, .as.receiver = receiver});
}

void child_give_block(child *to, lace_block *block)
{
    give(to, &(lace_attachment){.kind = LACE_ATTACH_BLOCK, .as.block = block});
}

void child_start(child *started, const char *script_name, const char *argument)
{
    char program[4096] = {0};
    char flag[] = "--child", fd[16], seat[16], name[64], value[256] = "";
    char *argv[] = {program, flag, name, fd, seat, value, NULL};
    posix_spawn_file_actions_t actions;
    lace_region *region = lace_place_region(started->place);
    int inherited = fcntl(lace_region_descriptor(region), F_DUPFD_CLOEXEC, 100);

    CHECK(inherited >= 0);
    CHECK(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    snprintf(name, sizeof name, "%s", script_name);
    snprintf(fd, sizeof fd, "%d", inherited);
    snprintf(seat, sizeof seat, "%u", lace_place_seat(started->place));
    if (argument != NULL)
        snprintf(value, sizeof value, "%s", argument);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, inherited, inherited); /* keeps it open */
    CHECK(posix_spawn(&started->pid, program, &actions, NULL, argv, environ) == 0);
    CHECK_OK(lace_place_started(started->place, started->pid));
    posix_spawn_file_actions_destroy(&actions);
    close(inherited);
}

int child_wait(child *awaited)
{
    int status;

    while (waitpid(awaited->pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    return status;
}

void child_kill(child *killed)
{
    CHECK(kill(killed->pid, SIGKILL) == 0);
}

void child_bury(child *buried)
{
    lace_place_bury(buried->place);
    buried->place = NULL;
}

void child_join(child *joined)
{
    int status = child_wait(joined);

    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status 0x%x", (unsigned)status);
    child_bury(joined);
}
