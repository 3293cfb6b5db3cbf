/* restart.c - workers that are started anew when they fail. */
#include "restart.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"

struct lace_restart {
    atomic_int refs; /* one for each worker of it, the face among them */
    lace_restart_policy policy;
    lace_scope *scope;        /* of the face; counted, as is the next */
    lace_scope *group_scope;
    lace_spawn_options spawn; /* of further attempts; its strings are our own */

    /* The attempt's that is alive: guarded by its GIL; of one in a process the keeper's, which is kept from changing it by
     * process_own.h's `grave`. Of whoever ends the attempt after that. */
    lace_job *job;       /* with the ends that further attempts get theirs from */
    lace_sender *outcome;
    lace_worker *face;   /* counted; NULL once all is over, like the two above */
    int64_t *times;      /* of the latest restarts, lace_clock(): that number n is at n % attempts */
    uint64_t time_count; /* how many there have been */

    lace_worker *next_attempt;  /* made and registered, but not begun: the waiting list's */
    int64_t due;                /* likewise: when it is to be */
    struct lace_restart *after; /* in the waiting list */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next; held for a few instructions */
static lace_restart *waiting; /* those between two attempts, in no order */

/* ---- making and freeing --------------------------------------------------------------------------------- */

lace_restart *lace_restart_ref(lace_restart *restart)
{
    atomic_fetch_add_explicit(&restart->refs, 1, memory_order_relaxed);
    return restart;
}

static void free_settings(const char *const *settings)
{
    for (const char *const *word = settings; word != NULL && *word != NULL; word++)
        free((char *)(uintptr_t)*word);
    free((void *)(uintptr_t)settings);
}

void lace_restart_unref(lace_restart *restart)
{
    if (restart == NULL || atomic_fetch_sub_explicit(&restart->refs, 1, memory_order_acq_rel) != 1)
        return;
    lace_scope_unref(restart->scope);
    lace_scope_unref(restart->group_scope);
    free((char *)(uintptr_t)restart->spawn.name);
    free_settings(restart->spawn.settings);
    free(restart->times);
    free(restart);
}

/* NULL without memory; and for NULL. */
static const char *const *copy_settings(const char *const *settings)
{
    size_t count = 0;
    while (settings != NULL && settings[count] != NULL)
        count++;
    const char **copy = settings != NULL ? calloc(count + 1, sizeof *copy) : NULL;
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = strdup(settings[i]);
        if (copy[i] == NULL) {
            free_settings(copy);
            return NULL;
        }
    }
    return copy;
}

static lace_restart *make(const lace_spawn_options *options)
{
    lace_restart *restart = calloc(1, sizeof *restart);
    if (restart == NULL)
        return NULL;
    atomic_init(&restart->refs, 1);
    restart->policy = *options->restart;
    restart->spawn = *options;
    restart->spawn.restart = NULL;
    restart->spawn.attempt_of = restart;
    restart->spawn.end = NULL;
    restart->spawn.fails_parent = false;
    restart->spawn.name = strdup(options->name);
    restart->spawn.settings = copy_settings(options->settings);
    restart->group_scope = options->fails_parent ? lace_scope_ref(options->parent) : NULL;
    restart->times = calloc(options->restart->attempts + 1, sizeof *restart->times);
    if (restart->spawn.name != NULL && restart->times != NULL &&
        (restart->spawn.settings == NULL) == (options->settings == NULL))
        return restart;
    lace_restart_unref(restart);
    return NULL;
}

/* ---- the job -------------------------------------------------------------------------------------------- */

static void *copy_bytes(const void *bytes, size_t size)
{
    void *copy = malloc(size ? size : 1);
    if (copy != NULL && size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

static lace_status copy_block(const lace_block *from, lace_block **ret_copy)
{
    const void *data = lace_block_data(from);
    size_t size = lace_block_size(from);
    lace_status status = lace_block_find(lace_region_of_host(), data, size, ret_copy);
    if (status != LACE_INVALID)
        return status;
    status = lace_block_create(lace_region_of_host(), size, ret_copy);
    if (status == LACE_OK)
        memcpy(lace_block_data(*ret_copy), data, size);
    return status;
}

/* A block has a copy of its own for each attempt, since that may write to it; a frozen one is shared. */
static lace_status copy_attachment(const lace_attachment *from, lace_attachment *ret_copy)
{
    lace_status status = LACE_OK;
    lace_attachment copy = {.kind = from->kind};
    if (from->kind == LACE_ATTACH_SENDER)
        status = lace_sender_clone(from->as.sender, &copy.as.sender);
    else if (from->kind == LACE_ATTACH_RECEIVER)
        status = lace_receiver_clone(from->as.receiver, &copy.as.receiver);
    else if (from->kind == LACE_ATTACH_BLOCK)
        status = copy_block(from->as.block, &copy.as.block);
    if (status == LACE_OK)
        *ret_copy = copy;
    return status;
}

/* An attempt's job, with ends and blocks of its own. */
static lace_status copy_job(const lace_job *job, lace_job **ret_copy)
{
    lace_job *copy = calloc(1, sizeof *copy);
    if (copy == NULL)
        return LACE_NOMEM;
    copy->head = copy_bytes(job->head, copy->head_size = job->head_size);
    copy->body = copy_bytes(job->body, copy->body_size = job->body_size);
    copy->attachments = calloc(job->attachment_count + 1, sizeof *copy->attachments);
    bool room = copy->head != NULL && copy->body != NULL && copy->attachments != NULL;
    lace_status status = room ? LACE_OK : LACE_NOMEM;
    for (size_t i = 0; i < job->attachment_count && status == LACE_OK; i++) {
        status = copy_attachment(&job->attachments[i], &copy->attachments[i]);
        copy->attachment_count += status == LACE_OK;
    }
    if (status == LACE_OK)
        *ret_copy = copy;
    else
        lace_job_destroy(copy);
    return status;
}

/* In its place lies an end of a channel that has no other side from now on: without the memory for that nothing is dropped,
 * and the channel lasts as long as the worker. */
void lace_restart_drop_end(lace_restart *restart, size_t index)
{
    lace_attachment *kept = index < restart->job->attachment_count ? &restart->job->attachments[index] : NULL;
    lace_sender *sender;
    lace_receiver *receiver;
    if (kept == NULL || (kept->kind != LACE_ATTACH_SENDER && kept->kind != LACE_ATTACH_RECEIVER))
        return;
    bool sends = kept->kind == LACE_ATTACH_SENDER;
    lace_channel_options options = {
        .capacity = 1, .name = sends ? lace_sender_name(kept->as.sender) : lace_receiver_name(kept->as.receiver)};
    if (lace_channel_create(lace_region_of_host(), &options, &sender, &receiver) != LACE_OK)
        return;
    if (sends) {
        lace_sender *dropped = kept->as.sender;
        kept->as.sender = sender;
        lace_receiver_destroy(receiver);
        lace_sender_destroy(dropped);
    } else {
        lace_receiver *dropped = kept->as.receiver;
        kept->as.receiver = receiver;
        lace_sender_destroy(sender);
        lace_receiver_destroy(dropped);
    }
}

/* ---- beginning ------------------------------------------------------------------------------------------ */

const char *lace_restart_begin(const lace_spawn_options *options, lace_job *job, lace_sender *outcome,
                               lace_worker **ret_face)
{
    lace_restart *restart = make(options);
    lace_worker *face = restart ? lace_worker_create(options) : NULL;
    lace_worker *attempt;
    lace_sender *first_outcome = NULL;
    lace_job *first_job = NULL;
    lace_status status = face != NULL ? lace_sender_clone(outcome, &first_outcome) : LACE_NOMEM;
    if (status == LACE_OK)
        status = copy_job(job, &first_job);
    const char *error = status == LACE_OK ? NULL : lace_strerror(status);
    errno = ENOMEM;
    if (error == NULL) {
        face->restart = lace_restart_ref(restart);
        atomic_store(&face->state, LACE_WORKER_RUNNING); /* whatever its attempts are at */
        restart->face = lace_worker_ref(face);
        restart->scope = lace_scope_ref(face->scope);
        restart->spawn.parent = restart->scope;
        restart->job = job;
        restart->outcome = outcome;
        error = lace_worker_begin(&restart->spawn, first_job, first_outcome, &attempt);
    }
    if (error == NULL) {
        face->id = attempt->id;
        *ret_face = face;
        lace_worker_unref(attempt);
    } else {
        int why = errno;
        lace_job_destroy(first_job);
        lace_sender_destroy(first_outcome);
        if (restart != NULL && restart->face != NULL)
            lace_worker_unref(restart->face);
        lace_worker_unref(face);
        errno = why;
    }
    lace_restart_unref(restart);
    return error;
}

/* ---- how often ------------------------------------------------------------------------------------------ */

static bool is_recent(const lace_restart *restart, uint64_t number, int64_t now)
{
    return (double)(now - restart->times[number % restart->policy.attempts]) < restart->policy.within * 1e9;
}

static bool has_one_left(const lace_restart *restart)
{
    unsigned attempts = restart->policy.attempts;
    return attempts > 0 && (restart->time_count < attempts ||
                            !is_recent(restart, restart->time_count - attempts, lace_clock()));
}

/* How many restarts lie within the time that counts. */
static unsigned count_recent(const lace_restart *restart, int64_t now)
{
    unsigned count = 0;
    while (count < restart->policy.attempts && count < restart->time_count &&
           is_recent(restart, restart->time_count - 1 - count, now))
        count++;
    return count;
}

bool lace_restart_grant(lace_worker *attempt, const char *why)
{
    lace_restart *restart = attempt->restart;
    if (restart == NULL)
        return false;
    if (why == NULL) {
        attempt->again = false;
    } else if (!atomic_load(&attempt->failed)) {
        attempt->again = !lace_scope_cancelled(restart->scope) && has_one_left(restart);
        free(attempt->why);
        attempt->why = strdup(why);
    }
    if (!attempt->again)
        atomic_store(&restart->face->failed, true);
    return attempt->again;
}

/* ---- between two attempts ------------------------------------------------------------------------------- */

/* All is over: nothing is kept any more, and the end of the outcome is up to the last attempt. */
static void finish(lace_restart *restart, int64_t patience)
{
    lace_job *job = restart->job;
    lace_sender *outcome = restart->outcome;
    lace_worker *face = restart->face;
    /* As with ends that an interpreter has left: a sealed stream is not cut off for want of room for its last word. */
    for (size_t i = 0; i < job->attachment_count; i++)
        if (job->attachments[i].kind == LACE_ATTACH_SENDER)
            lace_sender_finish(job->attachments[i].as.sender, &(lace_wait){.deadline = patience});
    restart->job = NULL;
    restart->outcome = NULL;
    restart->face = NULL;
    lace_job_destroy(job);
    atomic_store(&face->state, LACE_WORKER_ENDED);
    lace_sender_destroy(outcome);
    lace_worker_unref(face);
}

/* The outcome of one that has been cancelled between two attempts. */
static void tell_cancelled(lace_sender *outcome)
{
    static const char message[] = "C\x80\x05N."; /* the tag, see _bootstrap.py, and a pickled None */
    lace_payload payload = {.data = message, .size = sizeof message - 1};
    lace_send(outcome, &payload, &(lace_wait){.deadline = LACE_NOW});
}

/* Notes a restart that is to be, and says so. */
static void announce(lace_restart *restart, const lace_worker *attempt)
{
    int64_t now = lace_clock();
    unsigned number = count_recent(restart, now) + 1;
    double delay = fmin(ldexp(restart->policy.backoff, (int)number - 1), LACE_LONGEST_BACKOFF);
    restart->due = now + (int64_t)(delay * 1e9);
    restart->times[restart->time_count++ % restart->policy.attempts] = restart->due;
    lace_complain("worker '%s' %s; restart %u of %u in %g s", attempt->name, attempt->why ? attempt->why : "failed",
                  number, restart->policy.attempts, delay);
}

void lace_restart_over(lace_worker *attempt)
{
    lace_restart *restart = attempt->restart;
    /* The keeper does not wait. */
    int64_t patience = lace_worker_current() == attempt ? lace_deadline_after(lace_keeper_grace()) : LACE_NOW;
    if (!attempt->again) {
        finish(restart, patience);
        return;
    }
    lace_worker *next = NULL;
    lace_sender *outcome = NULL;
    if (lace_scope_cancelled(restart->scope)) {
        tell_cancelled(restart->outcome);
    } else if (lace_sender_clone(restart->outcome, &outcome) != LACE_OK ||
               (next = lace_worker_create_next(&restart->spawn, attempt, outcome)) == NULL) {
        lace_sender_destroy(outcome);
        lace_worker_fail_in_c(attempt, "there is no room to start it anew");
    }
    if (next == NULL) {
        finish(restart, patience);
        return;
    }
    announce(restart, attempt);
    atomic_store(&restart->face->state, LACE_WORKER_RESTARTING);
    pthread_mutex_lock(&lock);
    restart->next_attempt = next;
    restart->after = waiting;
    waiting = restart;
    pthread_mutex_unlock(&lock);
    lace_keeper_poke();
}

/* ---- by the keeper -------------------------------------------------------------------------------------- */

/* Takes an attempt whose time has come, or that has been cancelled, from the list; NULL: there is none, and *ret_due is when
 * the first of the others is to be begun. */
static lace_restart *take(int64_t now, int64_t *ret_due)
{
    lace_restart *taken = NULL;
    *ret_due = LACE_NEVER;
    pthread_mutex_lock(&lock);
    for (lace_restart **link = &waiting; *link != NULL && taken == NULL;) {
        lace_restart *restart = *link;
        if (restart->due <= now || lace_scope_cancelled(restart->scope)) {
            taken = restart;
            *link = restart->after;
            continue;
        }
        if (*ret_due == LACE_NEVER || restart->due < *ret_due)
            *ret_due = restart->due;
        link = &restart->after;
    }
    pthread_mutex_unlock(&lock);
    return taken;
}

static void begin_next(lace_restart *restart)
{
    lace_worker *next = restart->next_attempt;
    restart->next_attempt = NULL;
    if (lace_scope_cancelled(restart->scope)) {
        tell_cancelled(next->outcome);
        lace_worker_forgo(next);
        return;
    }
    lace_job *job = NULL;
    lace_status status = copy_job(restart->job, &job);
    atomic_fetch_add(&restart->face->restarts, 1);
    atomic_store(&restart->face->state, LACE_WORKER_RUNNING);
    const char *error = status == LACE_OK ? lace_worker_go(next, job, &restart->spawn) : lace_strerror(status);
    if (error == NULL) {
        lace_worker_unref(next);
        return;
    }
    atomic_fetch_sub(&restart->face->restarts, 1);
    char text[512];
    snprintf(text, sizeof text, "it cannot be started anew: %s", error);
    lace_job_destroy(job);
    lace_worker_fail_in_c(next, text);
    lace_worker_forgo(next);
}

int64_t lace_restart_serve(void)
{
    int64_t due;
    lace_restart *restart;
    while ((restart = take(lace_clock(), &due)) != NULL) {
        lace_restart_ref(restart);
        begin_next(restart);
        lace_restart_unref(restart);
    }
    return due;
}

/* ---- what others ask ------------------------------------------------------------------------------------ */

lace_scope *lace_restart_scope(const lace_restart *restart)
{
    return restart->scope;
}

lace_scope *lace_restart_group(const lace_restart *restart)
{
    return restart->group_scope;
}

const lace_job *lace_restart_job(const lace_restart *restart)
{
    return restart->job;
}

const lace_sender *lace_restart_outcome(const lace_restart *restart)
{
    return restart->outcome;
}
