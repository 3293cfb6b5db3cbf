/* scope.c - counted cancel tokens in a tree. */
#include <stdlib.h>

#include "host.h"
#include "process.h"

struct lace_scope {
    atomic_int refs; /* a child counts on its parent, so that the parent's token outlives the child's */
    lace_cancel *cancel;
    lace_scope *parent;
    lace_scope *outer; /* while entered: what was current before; of the thread that entered it, like the next */
    atomic_bool exited;
    bool timed; /* written by who makes it, before anybody waits under it */
};

static _Thread_local lace_scope *current;

lace_scope *lace_scope_create(lace_scope *parent)
{
    lace_scope *scope = malloc(sizeof *scope);
    if (scope == NULL)
        return NULL;
    if (lace_cancel_create(parent ? parent->cancel : NULL, &scope->cancel) != LACE_OK) {
        free(scope);
        return NULL;
    }
    atomic_init(&scope->refs, 1);
    scope->outer = NULL;
    scope->timed = false;
    atomic_init(&scope->exited, false);
    scope->parent = parent ? lace_scope_ref(parent) : NULL;
    return scope;
}

lace_scope *lace_scope_ref(lace_scope *scope)
{
    atomic_fetch_add_explicit(&scope->refs, 1, memory_order_relaxed);
    return scope;
}

void lace_scope_unref(lace_scope *scope)
{
    while (scope != NULL && atomic_fetch_sub_explicit(&scope->refs, 1, memory_order_acq_rel) == 1) {
        lace_scope *parent = scope->parent;
        lace_cancel_destroy(scope->cancel);
        free(scope);
        scope = parent;
    }
}

lace_cancel *lace_scope_cancel_token(const lace_scope *scope)
{
    return scope->cancel;
}

bool lace_scope_cancelled(const lace_scope *scope)
{
    return lace_cancel_fired(scope->cancel);
}

bool lace_scope_is_below(const lace_scope *scope, const lace_scope *above)
{
    while (scope != NULL && scope != above)
        scope = scope->parent;
    return scope != NULL;
}

void lace_scope_cancel(lace_scope *scope)
{
    lace_process_foretell(scope);
    lace_cancel_fire(scope->cancel);
    lace_keeper_poke();
}

void lace_scope_set_timed(lace_scope *scope)
{
    scope->timed = true;
}

bool lace_scope_is_timed(const lace_scope *scope)
{
    while (scope != NULL && !scope->timed)
        scope = scope->parent;
    return scope != NULL;
}

lace_scope *lace_scope_current(void)
{
    return current;
}

void lace_scope_enter(lace_scope *scope)
{
    scope->outer = current; /* with the thread's count on it */
    current = lace_scope_ref(scope);
}

bool lace_scope_is_shared(const lace_scope *scope)
{
    return atomic_load(&scope->refs) > 2;
}

void lace_scope_exit_all(void)
{
    while (current != NULL) {
        lace_scope *done = current;
        current = done->outer;
        lace_scope_unref(done);
    }
}

void lace_scope_exit(lace_scope *scope)
{
    atomic_store(&scope->exited, true);
    while (current != NULL && atomic_load(&current->exited)) {
        lace_scope *done = current;
        current = done->outer;
        lace_scope_unref(done);
    }
}
