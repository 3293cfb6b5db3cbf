/* pool.c - the whole of what this program has to do with Interlace. */
#include "pool.h"

#include <interlace/interlace.h>
#include <stdio.h>
#include <stdlib.h>

struct pool {
    lace_host *host;
    lace_group *group;       /* the first worker that fails ends the others */
    lace_sender *requests;   /* NULL: finished */
    lace_receiver *answers;  /* its channel ends when the last worker has, since they alone have its senders */
    lace_value *answer;      /* the one taken out last */
    int room_fd, answers_fd; /* borrowed from the two ends */
};

static const lace_wait now = {.deadline = LACE_NOW};

/* Says on stderr what a call did not do, if it did not. */
static lace_status say(lace_status status, const char *what, const char *why)
{
    if (status != LACE_OK)
        fprintf(stderr, "server: %s: %s\n", what, why);
    return status;
}

/* The same for calls of interlace.h, which have a sentence of their own for it. */
static lace_status tell(lace_status status, const char *what)
{
    return say(status, what, lace_problem());
}

/* Each worker gets an end of both channels that is its own. */
static lace_status start_worker(struct pool *pool, const char *script, lace_receiver *requests, lace_sender *answers)
{
    lace_worker_options options = {.file = script, .group = pool->group};
    lace_status status = lace_receiver_clone(requests, &options.input);
    if (status != LACE_OK)
        return say(status, "no end for a worker", lace_strerror(status));
    status = lace_sender_clone(answers, &options.output);
    if (status != LACE_OK) {
        lace_receiver_destroy(options.input);
        return say(status, "no end for a worker", lace_strerror(status));
    }
    return tell(lace_worker_start(pool->host, &options, NULL), "a worker cannot be started");
}

static lace_status find_descriptors(struct pool *pool)
{
    lace_status status = lace_sender_fd(pool->requests, &pool->room_fd);
    if (status == LACE_OK)
        status = lace_receiver_fd(pool->answers, &pool->answers_fd);
    return say(status, "no descriptor", lace_strerror(status));
}

static lace_status start(struct pool *pool, const char *script, int count)
{
    /* Twice as many requests as workers: each finds its next one when it is done. Any more would not be done sooner. */
    lace_channel_options for_requests = {.capacity = 2 * (size_t)count, .name = "requests"};
    lace_channel_options for_answers = {.capacity = 2 * (size_t)count, .name = "answers"};
    lace_receiver *requests = NULL;
    lace_sender *answers = NULL;

    lace_status status = tell(lace_host_open(NULL, &pool->host), "no host");
    if (status == LACE_OK)
        status = tell(lace_group_create(pool->host, "pool", &pool->group), "no group");
    if (status == LACE_OK)
        status = tell(lace_host_channel(pool->host, &for_requests, &pool->requests, &requests), "no channel");
    if (status == LACE_OK)
        status = tell(lace_host_channel(pool->host, &for_answers, &answers, &pool->answers), "no channel");
    if (status == LACE_OK)
        status = find_descriptors(pool);
    for (int i = 0; status == LACE_OK && i < count; i++)
        status = start_worker(pool, script, requests, answers);
    lace_receiver_destroy(requests);
    lace_sender_destroy(answers);
    return status;
}

struct pool *pool_open(const char *script, int count)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        fprintf(stderr, "server: out of memory\n");
        return NULL;
    }
    if (start(pool, script, count) == LACE_OK)
        return pool;
    pool_close(pool);
    return NULL;
}

pool_result pool_ask(struct pool *pool, uint64_t ticket, const char *line, size_t size)
{
    lace_value *request = lace_value_build("(u y#)", ticket, (const void *)line, size);
    lace_status status = lace_send_value(pool->requests, request, &now);
    switch (status) {
    case LACE_OK:
        return POOL_DONE;
    case LACE_TIMEOUT:
        return POOL_LATER;
    case LACE_BROKEN: /* every worker has ended; pool_close() says why */
        return POOL_OVER;
    default:
        tell(status, "a request cannot be sent");
        return POOL_OVER;
    }
}

pool_result pool_answer(struct pool *pool, uint64_t *ret_ticket, const char **ret_text, size_t *ret_size)
{
    lace_value_destroy(pool->answer);
    pool->answer = NULL;
    lace_status status = lace_recv_value(pool->answers, &now, &pool->answer);
    if (status == LACE_OK)
        status = lace_value_unpack(pool->answer, "(u s#)", ret_ticket, ret_text, ret_size);
    switch (status) {
    case LACE_OK:
        return POOL_DONE;
    case LACE_TIMEOUT:
        return POOL_LATER;
    case LACE_END: /* every worker has ended; pool_close() says why */
        return POOL_OVER;
    default:
        tell(status, "a worker sends what is no answer");
        return POOL_OVER;
    }
}

int pool_room_fd(const struct pool *pool)
{
    return pool->room_fd;
}

int pool_answers_fd(const struct pool *pool)
{
    return pool->answers_fd;
}

void pool_finish(struct pool *pool)
{
    lace_sender_destroy(pool->requests);
    pool->requests = NULL;
}

/* Cancels what has not ended by itself, and waits for it. */
static bool end_group(lace_group *group)
{
    lace_wait bounded = {.deadline = lace_deadline_after(6)}; /* the grace period, and a little more */
    lace_status status = lace_group_cancel(group);
    if (status == LACE_OK)
        status = lace_group_wait(group, &bounded);
    const lace_error *error = lace_group_error(group);
    if (error != NULL)
        fprintf(stderr, "server: worker '%s' failed:\n%s", error->worker, error->traceback);
    else if (status != LACE_CANCELLED)
        tell(status, "the workers");
    lace_group_destroy(group);
    return status == LACE_OK || status == LACE_CANCELLED;
}

bool pool_close(struct pool *pool)
{
    bool well = true;
    pool_finish(pool);
    if (pool->group != NULL)
        well = end_group(pool->group);
    lace_value_destroy(pool->answer);
    lace_receiver_destroy(pool->answers);
    if (pool->host != NULL && tell(lace_host_close(pool->host), "the host") != LACE_OK)
        well = false;
    free(pool);
    return well;
}
