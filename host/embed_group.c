/* embed_group.c - groups as a C application has them: the first failure cancels the rest, one wait for all. */
#include <stdlib.h>
#include <string.h>

#include "embed.h"
#include "../channels/fork.h"

struct lace_group {
    char *name;
    lace_scope *scope;
    const lace_scope *above; /* the host's, which `scope` keeps: no later host's has its address */
    pthread_mutex_t lock;  /* guards what follows; held for a few instructions */
    lace_worker **workers; /* counted */
    size_t count, reserved, room;
    const lace_error *first; /* the failure that came first, of a worker in the list; NULL: none is known */
};

lace_status lace_group_create(lace_host *host, const char *name, lace_group **ret_group)
{
    lace_status status = lace_host_check(host);
    if (status != LACE_OK)
        return status;
    if (ret_group == NULL)
        return lace_object(LACE_INVALID, "ret_group is NULL");
    status = lace_host_enter(host);
    if (status != LACE_OK)
        return status;
    lace_group *group = calloc(1, sizeof *group);
    if (group != NULL) {
        group->name = strdup(name ? name : "");
        group->above = lace_host_scope();
        group->scope = lace_scope_create(lace_host_scope());
        pthread_mutex_init(&group->lock, NULL);
    }
    lace_host_leave();
    if (group == NULL || group->name == NULL || group->scope == NULL) {
        lace_group_destroy(group);
        return lace_object(LACE_NOMEM, "out of memory");
    }
    *ret_group = group;
    return LACE_OK;
}

lace_scope *lace_group_scope(lace_group *group)
{
    return group->scope;
}

bool lace_group_is_of_now(const lace_group *group)
{
    return group->above == lace_host_scope();
}

bool lace_group_reserve(lace_group *group)
{
    pthread_mutex_lock(&group->lock);
    bool there = group->reserved < group->room;
    if (!there) {
        size_t room = group->room ? group->room * 2 : 8;
        lace_worker **grown = realloc(group->workers, room * sizeof *grown);
        if (grown != NULL) {
            group->workers = grown;
            group->room = room;
            there = true;
        }
    }
    if (there)
        group->reserved++;
    pthread_mutex_unlock(&group->lock);
    return there;
}

void lace_group_release(lace_group *group)
{
    pthread_mutex_lock(&group->lock);
    group->reserved--;
    pthread_mutex_unlock(&group->lock);
}

void lace_group_add(lace_group *group, lace_worker *worker)
{
    pthread_mutex_lock(&group->lock);
    group->workers[group->count++] = lace_worker_ref(worker);
    pthread_mutex_unlock(&group->lock);
}

/* A worker of the list, as long as the group lives; NULL: there are no more. */
static lace_worker *worker_at(lace_group *group, size_t index)
{
    pthread_mutex_lock(&group->lock);
    lace_worker *worker = index < group->count ? group->workers[index] : NULL;
    pthread_mutex_unlock(&group->lock);
    return worker;
}

static lace_status check(const lace_group *group)
{
    if (lace_forked())
        return lace_object(LACE_FORKED, "%s", lace_strerror(LACE_FORKED));
    return group != NULL ? LACE_OK : lace_object(LACE_INVALID, "the group is NULL");
}

lace_status lace_group_cancel(lace_group *group)
{
    lace_status status = check(group);
    if (status == LACE_OK)
        lace_scope_cancel(group->scope);
    return status;
}

lace_status lace_group_wait(lace_group *group, const lace_wait *wait)
{
    lace_status status = check(group);
    const lace_error *first = NULL;
    int64_t first_at = 0;
    lace_worker *worker;
    for (size_t i = 0; status == LACE_OK && (worker = worker_at(group, i)) != NULL; i++) {
        const lace_error *error;
        status = lace_answer_wait(worker, wait, &error);
        if (status != LACE_OK || error == NULL || lace_answer_is_cancelled(worker))
            continue;
        int64_t at = atomic_load(&worker->failed_at);
        if (first == NULL || at < first_at) {
            first = error;
            first_at = at;
        }
    }
    if (status != LACE_OK)
        return status;
    pthread_mutex_lock(&group->lock);
    group->first = first;
    pthread_mutex_unlock(&group->lock);
    if (first != NULL)
        return lace_object(LACE_FAILED, "group '%s': worker '%s' failed: %s%s%s", group->name, first->worker,
                           first->type, first->message[0] ? ": " : "", first->message);
    if (lace_scope_cancelled(group->scope))
        return lace_object(LACE_CANCELLED, "group '%s' was cancelled", group->name);
    return LACE_OK;
}

const lace_error *lace_group_error(const lace_group *group)
{
    if (check(group) != LACE_OK)
        return NULL;
    lace_group *open = (lace_group *)group; /* for its lock: it is not changed */
    pthread_mutex_lock(&open->lock);
    const lace_error *first = open->first;
    pthread_mutex_unlock(&open->lock);
    return first;
}

void lace_group_destroy(lace_group *group)
{
    if (group == NULL || lace_forked())
        return;
    if (group->scope != NULL)
        lace_scope_cancel(group->scope);
    int64_t deadline = lace_deadline_after(lace_keeper_grace());
    for (size_t i = 0; i < group->count; i++) {
        if (group->workers[i] != lace_worker_around())
            lace_worker_wait(group->workers[i], &(lace_wait){.deadline = deadline});
        lace_worker_unref(group->workers[i]);
    }
    free(group->workers);
    lace_scope_unref(group->scope);
    pthread_mutex_destroy(&group->lock);
    free(group->name);
    free(group);
}
