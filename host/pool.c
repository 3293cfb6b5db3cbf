/* pool.c - workers that stand ready: their interpreters made, their modules imported, waiting for a job.
 *
 * Starting a worker takes a spare one when there is one. Another is made in its place as soon as the worker first waits
 * or ends: at once, it would compete with the worker for a processor, and the start would not be a fast one. Spares
 * are not workers yet: they are in no registry and have no name. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* Guards everything here and the `spare` member of workers. Held for a few instructions; a thread with a GIL may take
 * it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static lace_worker *ready; /* a list by `next` */
static size_t ready_count;
static size_t making; /* threads on their way to ready */
static size_t target;
static uint64_t generation; /* of the profile: a spare of an earlier one goes home */
static char *profile;
static size_t profile_size;
static bool closed;         /* the host is being closed: no more spares */
static const char *trouble; /* why the last spare could not be made; NULL: it could */
static lace_sender *full;   /* closed once the target is reached, or given up: see lace_pool_wait_full */
static lace_receiver *full_watch;

/* Whoever waits for a full pool may go on. With the lock held. */
static void tell_if_full(void)
{
    if (full != NULL && (ready_count >= target || trouble != NULL))
        lace_sender_close(full);
}

/* Starts as many spares as are missing. With the lock held, which is dropped meanwhile. */
static void refill(void)
{
    while (ready_count + making < target && trouble == NULL) {
        uint64_t mine = generation;
        making++;
        pthread_mutex_unlock(&lock);
        const char *error = lace_worker_start_spare(mine);
        pthread_mutex_lock(&lock);
        if (error != NULL) {
            making--;
            if (mine == generation)
                trouble = error;
        }
    }
    tell_if_full();
}

/* Sends those home that stand ready. With the lock held. */
static void dismiss_ready(void)
{
    while (ready != NULL) {
        lace_worker *worker = ready;
        ready = worker->next;
        ready_count--;
        worker->spare = LACE_SPARE_DISMISSED;
        pthread_cond_signal(&worker->called);
    }
}

const char *lace_pool_set(size_t count, const char *new_profile, size_t size)
{
    char *copy = malloc(size ? size : 1);
    lace_sender *new_full = NULL;
    lace_receiver *new_watch = NULL;
    lace_channel_options options = {.name = "spare workers"};
    if (copy == NULL || lace_channel_create(lace_region_of_host(), &options, &new_full, &new_watch) != LACE_OK) {
        free(copy);
        return "no memory for spare workers";
    }
    memcpy(copy, new_profile, size);
    pthread_mutex_lock(&lock);
    if (closed) {
        pthread_mutex_unlock(&lock);
        lace_sender_destroy(new_full);
        lace_receiver_destroy(new_watch);
        free(copy);
        return "the host is being closed";
    }
    if (profile == NULL || profile_size != size || memcmp(profile, copy, size) != 0) {
        generation++;
        dismiss_ready();
    }
    char *old_profile = profile;
    lace_sender *old_full = full;
    lace_receiver *old_watch = full_watch;
    profile = copy;
    profile_size = size;
    full = new_full;
    full_watch = new_watch;
    target = count;
    trouble = NULL;
    if (ready_count > target)
        dismiss_ready();
    refill();
    pthread_mutex_unlock(&lock);
    free(old_profile);
    lace_sender_destroy(old_full);
    lace_receiver_destroy(old_watch);
    return NULL;
}

lace_status lace_pool_wait_full(const lace_wait *wait, const char **ret_trouble)
{
    lace_receiver *watch = NULL;
    pthread_mutex_lock(&lock);
    lace_status status = full_watch ? lace_receiver_clone(full_watch, &watch) : LACE_OK;
    pthread_mutex_unlock(&lock);
    if (watch != NULL) {
        lace_case ended = {.kind = LACE_CASE_ENDED, .receiver = watch};
        size_t index;
        status = lace_select(&ended, 1, 0, wait, &index);
        lace_receiver_destroy(watch);
    }
    pthread_mutex_lock(&lock);
    if (status == LACE_OK && trouble != NULL) {
        *ret_trouble = trouble;
        status = LACE_INVALID;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

bool lace_pool_profile(const lace_worker *worker, char **ret_profile, size_t *ret_size)
{
    char *copy = NULL;
    pthread_mutex_lock(&lock);
    bool wanted = worker->spare_generation == generation;
    if (wanted) {
        copy = malloc(profile_size ? profile_size : 1);
        if (copy != NULL)
            memcpy(copy, profile, profile_size);
        *ret_size = profile_size;
    }
    pthread_mutex_unlock(&lock);
    *ret_profile = copy;
    return wanted;
}

lace_worker *lace_pool_take(void)
{
    pthread_mutex_lock(&lock);
    lace_worker *worker = ready;
    if (worker != NULL) {
        ready = worker->next;
        ready_count--;
        worker->next = NULL;
        worker->owes_spare = true;
    } else {
        refill();
    }
    pthread_mutex_unlock(&lock);
    return worker;
}

void lace_pool_repay(lace_worker *worker)
{
    worker->owes_spare = false;
    pthread_mutex_lock(&lock);
    refill();
    pthread_mutex_unlock(&lock);
}

void lace_pool_send(lace_worker *worker, lace_spare_state state)
{
    lace_worker_ref(worker);
    pthread_mutex_lock(&lock);
    worker->spare = state;
    pthread_mutex_unlock(&lock);
    /* Without the lock, on which the worker would go back to sleep. */
    pthread_cond_signal(&worker->called);
    lace_worker_unref(worker);
}

bool lace_pool_stand_by(lace_worker *worker)
{
    pthread_mutex_lock(&lock);
    making--;
    if (worker->spare_generation == generation && ready_count < target) {
        worker->spare = LACE_SPARE_READY;
        worker->next = ready;
        ready = worker;
        ready_count++;
        tell_if_full();
        while (worker->spare == LACE_SPARE_READY)
            pthread_cond_wait(&worker->called, &lock);
    } else {
        worker->spare = LACE_SPARE_DISMISSED;
        refill(); /* of the profile that is wanted now */
    }
    bool has_job = worker->spare == LACE_SPARE_CALLED;
    pthread_mutex_unlock(&lock);
    /* If it was woken on the processor of who called it, that one is to go on first: the kernel may leave both there,
     * and whoever starts a worker would wait for its end instead of its first message. */
    if (has_job)
        sched_yield();
    return has_job;
}

void lace_pool_give_up(const lace_worker *worker, const char *reason)
{
    pthread_mutex_lock(&lock);
    making--;
    if (worker->spare_generation == generation)
        trouble = reason;
    refill();
    pthread_mutex_unlock(&lock);
}

void lace_pool_open(void)
{
    pthread_mutex_lock(&lock);
    closed = false;
    pthread_mutex_unlock(&lock);
}

void lace_pool_close(void)
{
    pthread_mutex_lock(&lock);
    closed = true;
    target = 0;
    generation++;
    dismiss_ready();
    free(profile);
    profile = NULL;
    profile_size = 0;
    lace_sender *old_full = full;
    lace_receiver *old_watch = full_watch;
    full = NULL;
    full_watch = NULL;
    pthread_mutex_unlock(&lock);
    lace_sender_destroy(old_full);
    lace_receiver_destroy(old_watch);
}
