/* embed_worker.c - workers as a C application has them: what they are to do, and what came of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "embed.h"
#include "value.h"
#include "../channels/fork.h"
#include "../channels/text.h"

/* What is known of a worker that C may ask about. */
struct lace_answer {
    /* Constant. The outcome's channel carries one message, which comes shortly before the worker's end; the other none, so
     * that its descriptor is readable at the end and not before. */
    lace_receiver *outcome, *end;
    bool grouped;         /* its group hears of its failure */
    pthread_mutex_t lock; /* guards what follows; held while the outcome is read, which does not wait */
    lace_message *message; /* the outcome as it came, until it has been read; NULL: not yet, or not any more */
    bool known;
    bool cancelled;    /* it ended because it was cancelled */
    lace_value *value; /* the result; NULL: there is none, or it is not plain */
    lace_value *told;  /* holds the strings of `error` */
    lace_error error;  /* its type is NULL unless the worker failed */
    char *not_plain;   /* what of the result is no plain value; NULL: nothing is, or there was no memory to note it */
};

void lace_answer_free(struct lace_answer *answer)
{
    if (answer == NULL)
        return;
    lace_receiver_destroy(answer->outcome);
    lace_receiver_destroy(answer->end);
    lace_message_destroy(answer->message);
    lace_value_destroy(answer->value);
    lace_value_destroy(answer->told);
    free(answer->not_plain);
    pthread_mutex_destroy(&answer->lock);
    free(answer);
}

/* ---- what it is to do ----------------------------------------------------------------------------------- */

typedef struct lace_errand {
    const char *kind; /* of the job: see _bootstrap.py */
    const char *target;
} lace_errand;

static lace_status find_errand(const lace_worker_options *options, lace_errand *ret_errand)
{
    const lace_errand tasks[] = {
        {"name", options->function}, {"script", options->file}, {"code", options->code}, {"module", options->module}};
    size_t given = 0;
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        if (tasks[i].target == NULL)
            continue;
        given++;
        *ret_errand = tasks[i];
    }
    if (given != 1)
        return lace_object(LACE_INVALID, "a worker is to do exactly one of function, file, code and module, not %zu",
                           given);
    if (options->function != NULL && (strchr(options->function, ':') == NULL || options->function[0] == ':'))
        return lace_object(LACE_INVALID, "function must be \"module:function\", not \"%s\"", options->function);
    if (ret_errand->target[0] == '\0')
        return lace_object(LACE_INVALID, "what the worker is to do is empty");
    return LACE_OK;
}

static lace_status check_arguments(const lace_worker_options *options)
{
    lace_type type = lace_value_type(options->args);
    lace_status built = options->args != NULL ? lace_value_status(options->args) : LACE_OK;
    if (built == LACE_OK && options->kwargs != NULL)
        built = lace_value_status(options->kwargs);
    if (built != LACE_OK) /* lace_problem() may have said something else since */
        return lace_object(built, "args or kwargs could not be built: %s", lace_strerror(built));
    if (options->args != NULL && type != LACE_TYPE_TUPLE && type != LACE_TYPE_LIST)
        return lace_object(LACE_INVALID, "args must be a tuple or a list");
    if (options->kwargs == NULL)
        return LACE_OK;
    if (options->function == NULL)
        return lace_object(LACE_INVALID, "kwargs are for a function: a script takes args");
    if (lace_value_type(options->kwargs) != LACE_TYPE_DICT)
        return lace_object(LACE_INVALID, "kwargs must be a dict");
    for (size_t i = 0; i < lace_value_size(options->kwargs); i++)
        if (lace_value_type(lace_value_key(options->kwargs, i)) != LACE_TYPE_STR)
            return lace_object(LACE_INVALID, "the keys of kwargs must be str");
    return LACE_OK;
}

static lace_status check_script_arguments(const lace_worker_options *options)
{
    for (size_t i = 0; options->function == NULL && i < lace_value_size(options->args); i++)
        if (lace_value_type(lace_value_at(options->args, i)) != LACE_TYPE_STR)
            return lace_object(LACE_INVALID, "args of a script must be str: they become its sys.argv[1:]");
    return LACE_OK;
}

/* What it is given belongs to the host that is open, not to one of before, or to a region of the application's own. */
static lace_status check_surroundings(const lace_worker_options *options)
{
    const lace_region *own = lace_region_of_host();
    const lace_region *input = options->input ? lace_receiver_region(options->input) : NULL; /* NULL: a pipe */
    const lace_region *output = options->output ? lace_sender_region(options->output) : NULL;
    if ((input != NULL && input != own) || (output != NULL && output != own))
        return lace_object(LACE_INVALID, "%s is of another region than the host's: of a host that has been closed, or "
                                         "one of lace_region_create()",
                           input != NULL && input != own ? "input" : "output");
    if (options->group != NULL && !lace_group_is_of_now(options->group))
        return lace_object(LACE_CLOSED, "the group is of a host that has been closed");
    return LACE_OK;
}

/* The head of a job, as _bootstrap.py reads it: (kind, folders for sys.path or None). */
static bool write_head(const char *kind, lace_job *job)
{
    lace_pickle head = {0};
    char *const *path = lace_host_path();
    lace_pickle_begin(&head);
    lace_pickle_str(&head, kind, strlen(kind));
    if (path == NULL) {
        lace_pickle_none(&head);
    } else {
        lace_pickle_op(&head, ']'); /* EMPTY_LIST */
        lace_pickle_op(&head, '('); /* MARK */
        for (; *path != NULL; path++)
            lace_pickle_str(&head, *path, strlen(*path));
        lace_pickle_op(&head, 'e'); /* APPENDS */
    }
    lace_pickle_op(&head, '\x86'); /* TUPLE2 */
    lace_pickle_end(&head);
    job->head = head.data;
    job->head_size = head.size;
    return !head.failed;
}

/* The body: (target, args, kwargs). Takes both values. */
static lace_status write_body(const char *target, lace_value *args, lace_value *kwargs, lace_job *job)
{
    lace_value *body = lace_value_tuple();
    lace_value_append(body, lace_value_str(target));
    lace_value_append(body, args != NULL ? args : lace_value_tuple());
    lace_value_append(body, kwargs != NULL ? kwargs : lace_value_dict());
    lace_payload payload;
    lace_status status = lace_value_encode(body, lace_region_of_host(), &payload);
    if (status != LACE_OK)
        return lace_object(status, "the arguments cannot be sent: %s", lace_problem());
    job->body = malloc(payload.size);
    job->attachments = malloc((payload.attachment_count ? payload.attachment_count : 1) * sizeof *job->attachments);
    bool copied = job->body != NULL && job->attachments != NULL;
    if (copied) {
        memcpy(job->body, payload.data, payload.size);
        job->body_size = payload.size;
        if (payload.attachment_count > 0)
            memcpy(job->attachments, payload.attachments, payload.attachment_count * sizeof *job->attachments);
        job->attachment_count = payload.attachment_count;
    }
    lace_payload_finish(&payload, copied);
    return copied ? LACE_OK : lace_object(LACE_NOMEM, "out of memory");
}

/* The job's name without a number. */
static const char *name_of(const lace_worker_options *options, const char *target)
{
    if (options->code != NULL)
        return "-c";
    const char *tail = strrchr(target, options->file != NULL ? '/' : ':');
    return tail != NULL && tail[1] != '\0' ? tail + 1 : target;
}

/* ---- starting ------------------------------------------------------------------------------------------- */

static struct lace_answer *make_answer(bool grouped)
{
    struct lace_answer *answer = calloc(1, sizeof *answer);
    if (answer != NULL) {
        pthread_mutex_init(&answer->lock, NULL);
        answer->grouped = grouped;
    }
    return answer;
}

/* Starts the worker of a job (taken). `asked` says that somebody will hear of its failure. */
static lace_status spawn(const lace_worker_options *options, lace_isolation isolation, const char *name, bool asked,
                         lace_job *job, lace_worker **ret_worker)
{
    lace_spawn_options spawn = {.name = name,
                                .count = 1,
                                .parent = options->group ? lace_group_scope(options->group) : lace_host_scope(),
                                .fails_parent = options->group != NULL,
                                .quiet = asked,
                                .process = isolation == LACE_ISOLATION_PROCESS};
    struct lace_answer *answer = make_answer(options->group != NULL);
    lace_worker *worker;
    bool reserved = answer != NULL && options->group != NULL && lace_group_reserve(options->group);
    const char *error = answer == NULL || reserved != (options->group != NULL) ||
                                lace_channel_create(lace_region_of_host(), &(lace_channel_options){.name = name},
                                                    &spawn.end, &answer->end) != LACE_OK
                            ? "out of memory"
                            : NULL;
    int why = ENOMEM;
    if (error == NULL) {
        error = lace_worker_spawn(&spawn, job, &worker, &answer->outcome);
        why = errno;
    }
    if (error != NULL) {
        if (reserved)
            lace_group_release(options->group);
        lace_sender_destroy(spawn.end);
        lace_answer_free(answer);
        lace_job_destroy(job);
        errno = why;
        return lace_object(why == ENOMEM ? LACE_NOMEM : LACE_SYSTEM, "worker '%s' cannot be started: %s", name, error);
    }
    worker->answer = answer;
    if (options->group != NULL)
        lace_group_add(options->group, worker);
    *ret_worker = worker;
    return LACE_OK;
}

static lace_status start(const lace_worker_options *options, lace_worker_options *left, bool asked,
                         lace_worker **ret_worker)
{
    static atomic_uint number;
    lace_errand errand = {0};
    char name[256];
    lace_status status = find_errand(options, &errand);
    if (status == LACE_OK)
        status = check_arguments(options);
    if (status == LACE_OK)
        status = check_script_arguments(options);
    if (status == LACE_OK)
        status = check_surroundings(options);
    if (status == LACE_OK && (unsigned)options->isolation > LACE_ISOLATION_AUTO)
        status = lace_object(LACE_INVALID, "isolation must be one of lace_isolation, not %d",
                             (int)options->isolation);
    if (status != LACE_OK)
        return status;
    lace_isolation isolation = options->isolation;
    lace_python_settle(errand.kind, errand.target, &isolation);
    lace_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return lace_object(LACE_NOMEM, "out of memory");
    job->input = left->input;
    job->output = left->output;
    left->input = NULL;
    left->output = NULL;
    left->args = left->kwargs = NULL;
    status = write_body(errand.target, options->args, options->kwargs, job);
    if (status == LACE_OK && !write_head(errand.kind, job))
        status = lace_object(LACE_NOMEM, "out of memory");
    if (status != LACE_OK) {
        lace_job_destroy(job);
        return status;
    }
    if (options->name != NULL)
        lace_text_print(name, sizeof name, "%s", options->name);
    else
        lace_text_print(name, sizeof name, "%s-%u", name_of(options, errand.target), atomic_fetch_add(&number, 1) + 1);
    return spawn(options, isolation, name, asked, job, ret_worker);
}

lace_status lace_worker_start(lace_host *host, const lace_worker_options *options, lace_worker **ret_worker)
{
    if (options == NULL)
        return lace_object(LACE_INVALID, "options is NULL");
    lace_worker_options left = *options; /* what start() has not taken yet */
    lace_worker *worker = NULL;
    lace_status status = lace_host_enter(host);
    if (status == LACE_OK) {
        status = start(options, &left, ret_worker != NULL || options->group != NULL, &worker);
        lace_host_leave();
    }
    lace_value_destroy(left.args);
    lace_value_destroy(left.kwargs);
    lace_receiver_destroy(left.input);
    lace_sender_destroy(left.output);
    if (status == LACE_OK && ret_worker != NULL)
        *ret_worker = worker;
    else if (status == LACE_OK)
        lace_worker_unref(worker);
    return status;
}

/* ---- what came of it ------------------------------------------------------------------------------------ */

static const char *text_at(const lace_value *value, size_t index)
{
    const char *text;
    size_t size;
    return lace_value_get_str(lace_value_at(value, index), &text, &size) == LACE_OK ? text : "";
}

static void set_error(lace_worker *worker, const char *type, const char *message, const char *traceback)
{
    worker->answer->error = (lace_error){
        .worker = worker->name, .type = type, .message = message, .traceback = traceback};
}

/* Receives the outcome of a worker that has ended; the message stays empty when there is none. NOMEM. */
static lace_status take_outcome(struct lace_answer *answer)
{
    if (answer->message != NULL)
        return LACE_OK;
    lace_message *message;
    if (lace_message_create(lace_receiver_region(answer->outcome), &message) != LACE_OK)
        return lace_object(LACE_NOMEM, "out of memory");
    lace_status status = lace_recv(answer->outcome, message, &(lace_wait){.deadline = LACE_NOW});
    if (status == LACE_NOMEM) {
        lace_message_destroy(message);
        return lace_object(LACE_NOMEM, "out of memory");
    }
    answer->message = message;
    return LACE_OK;
}

/* Reads the outcome of a worker that has ended. With the answer's lock. NOMEM: the next call tries again. */
static lace_status read_outcome(lace_worker *worker)
{
    struct lace_answer *answer = worker->answer;
    lace_value *value = NULL;
    lace_status status = take_outcome(answer);
    if (status != LACE_OK)
        return status;
    /* The first byte is the tag of _bootstrap.py. */
    char tag = lace_message_size(answer->message) > 0 ? *(const char *)lace_message_data(answer->message) : '\0';
    if (tag != '\0')
        status = lace_value_read_message(answer->message, 1, &value);
    if (status == LACE_NOMEM)
        return status;
    lace_message_destroy(answer->message);
    answer->message = NULL;
    answer->known = true;
    if (tag == 'R') {
        answer->value = value;
        answer->not_plain = value == NULL ? strdup(lace_problem()) : NULL;
    } else if (tag == 'X' && value != NULL) {
        answer->told = value;
        set_error(worker, text_at(value, 1), text_at(value, 2), text_at(value, 3));
    } else if (tag == 'E' && value != NULL) {
        const char *text = "";
        answer->told = value;
        lace_value_get_str(value, &text, NULL);
        set_error(worker, "RuntimeError", text, "");
    } else if (tag == 'D' && value != NULL) {
        answer->told = value;
        set_error(worker, "WorkerDied", text_at(value, 0), "");
    } else if (tag == 'C' || (tag == '\0' && lace_scope_cancelled(worker->scope))) {
        lace_value_destroy(value);
        answer->cancelled = true;
        set_error(worker, "Cancelled", "the worker was cancelled", "");
    } else {
        lace_value_destroy(value);
        set_error(worker, "RuntimeError", "the worker ended without a result", "");
    }
    return LACE_OK;
}

static lace_status check(const lace_worker *worker)
{
    if (lace_forked())
        return lace_object(LACE_FORKED, "%s", lace_strerror(LACE_FORKED));
    return worker != NULL ? LACE_OK : lace_object(LACE_INVALID, "the worker is NULL");
}

lace_status lace_worker_wait(lace_worker *worker, const lace_wait *wait)
{
    lace_status status = check(worker);
    if (status != LACE_OK)
        return status;
    if (worker == lace_worker_around())
        return lace_object(LACE_INVALID, "a worker cannot wait for its own end");
    lace_case ended = {.kind = LACE_CASE_ENDED, .receiver = worker->answer->end};
    size_t index;
    status = lace_select(&ended, 1, 0, wait, &index);
    if (status == LACE_TIMEOUT)
        lace_object(status, "worker '%s' has not ended yet", worker->name);
    else if (status != LACE_OK)
        lace_object(status, "the wait for worker '%s': %s", worker->name, lace_strerror(status));
    return status;
}

lace_status lace_answer_wait(lace_worker *worker, const lace_wait *wait, const lace_error **ret_error)
{
    lace_status status = lace_worker_wait(worker, wait);
    if (status != LACE_OK)
        return status;
    struct lace_answer *answer = worker->answer;
    pthread_mutex_lock(&answer->lock);
    if (!answer->known)
        status = read_outcome(worker);
    pthread_mutex_unlock(&answer->lock);
    if (status == LACE_OK)
        *ret_error = answer->error.type != NULL ? &answer->error : NULL;
    return status;
}

bool lace_answer_is_cancelled(const lace_worker *worker)
{
    return worker->answer->cancelled;
}

lace_status lace_worker_result(lace_worker *worker, const lace_wait *wait, lace_value **ret_value)
{
    const lace_error *error;
    if (ret_value == NULL)
        return lace_object(LACE_INVALID, "ret_value is NULL");
    lace_status status = lace_answer_wait(worker, wait, &error);
    if (status != LACE_OK)
        return status;
    if (error != NULL)
        return lace_object(LACE_FAILED, "worker '%s' failed: %s%s%s", worker->name, error->type,
                           error->message[0] ? ": " : "", error->message);
    if (worker->answer->value == NULL)
        return lace_object(LACE_NOT_PLAIN, "the result of worker '%s' is no plain value: %s", worker->name,
                           worker->answer->not_plain ? worker->answer->not_plain : "out of memory");
    lace_value *value = lace_value_share(worker->answer->value);
    status = lace_value_status(value);
    if (status == LACE_OK)
        *ret_value = value;
    else
        lace_value_destroy(value);
    return status;
}

const lace_error *lace_worker_error(lace_worker *worker)
{
    const lace_error *error;
    return lace_answer_wait(worker, &(lace_wait){.deadline = LACE_NOW}, &error) == LACE_OK ? error : NULL;
}

lace_status lace_worker_cancel(lace_worker *worker)
{
    lace_status status = check(worker);
    if (status == LACE_OK)
        lace_scope_cancel(worker->scope);
    return status;
}

const char *lace_worker_name(const lace_worker *worker)
{
    return worker != NULL ? worker->name : "";
}

bool lace_worker_ended(const lace_worker *worker)
{
    if (worker == NULL || lace_forked())
        return worker == NULL || atomic_load(&worker->state) == LACE_WORKER_ENDED;
    /* By what waits go by: the state is set a moment before. */
    lace_case ended = {.kind = LACE_CASE_ENDED, .receiver = worker->answer->end};
    size_t index;
    return lace_select(&ended, 1, 0, &(lace_wait){.deadline = LACE_NOW}, &index) == LACE_OK;
}

lace_receiver *lace_worker_end(lace_worker *worker)
{
    return check(worker) == LACE_OK ? worker->answer->end : NULL;
}

void lace_worker_destroy(lace_worker *worker)
{
    if (worker == NULL || lace_forked())
        return;
    if (!worker->answer->grouped)
        atomic_store(&worker->quiet, false); /* if it fails from now on, nobody else is told */
    lace_worker_unref(worker);
}
