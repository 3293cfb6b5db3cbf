/* command.c - running stages: their workers, the channels between them, and what the process exits with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../channels/text.h"
#include "command.h"
#include "directory.h"
#include "ledger.h"

#define BETWEEN_STAGES 64 /* messages that may wait between two stages */

typedef struct running {
    lace_worker *worker;
    lace_receiver *outcome;
} running;

char *const *lace_command_words;

bool lace_command_open(const lace_command_options *options)
{
    lace_host_setup host = {.tag = options->tag, .grace = options->grace, .leaves = true};
    lace_python_set_options(&options->python);
    lace_status status = lace_host_start(&host);
    if (status != LACE_OK)
        lace_complain("%s", lace_problem());
    return status == LACE_OK && lace_tell_begin(&options->tell);
}

static const char *const kinds[] = {"script", "module", "code",
                                    "map"}; /* of lace_stage_kind, as _bootstrap.py has them */

/* The job's two pickles, as _bootstrap.py reads them: (kind, None) and (target, (args...), {}). */
static lace_job *make_job(const lace_stage *stage)
{
    lace_job *job = calloc(1, sizeof *job);
    lace_pickle head = {0}, body = {0};
    const char *kind = kinds[stage->kind];
    lace_pickle_begin(&head);
    lace_pickle_str(&head, kind, strlen(kind));
    lace_pickle_none(&head);
    lace_pickle_op(&head, '\x86'); /* TUPLE2 */
    lace_pickle_end(&head);
    lace_pickle_begin(&body);
    lace_pickle_str(&body, stage->target, strlen(stage->target));
    lace_pickle_op(&body, '('); /* MARK */
    for (char **arg = stage->args; *arg != NULL; arg++)
        lace_pickle_str(&body, *arg, strlen(*arg));
    lace_pickle_op(&body, 't');    /* TUPLE */
    lace_pickle_op(&body, '}');    /* EMPTY_DICT */
    lace_pickle_op(&body, '\x87'); /* TUPLE3 */
    lace_pickle_end(&body);
    if (job == NULL || head.failed || body.failed) {
        free(head.data);
        free(body.data);
        free(job);
        return NULL;
    }
    *job = (lace_job){.head = head.data, .head_size = head.size, .body = body.data, .body_size = body.size};
    return job;
}

/* The stage's name: that of the script, the module, "-c" or "map". */
static const char *base_name(const lace_stage *stage)
{
    const char *base = stage->kind == LACE_STAGE_CODE ? "-c" : stage->kind == LACE_STAGE_MAP ? "map" : stage->target;
    const char *slash = stage->kind == LACE_STAGE_SCRIPT ? strrchr(base, '/') : NULL;
    if (slash != NULL && slash[1] != '\0')
        base = slash + 1;
    return base;
}

/* The worker's, numbered when it has replicas: a name that is too long is cut before its number. */
static void make_name(const lace_stage *stage, unsigned index, char *name, size_t size)
{
    char number[16] = "";
    size_t digits = stage->replicas > 1 ? lace_text_print(number, sizeof number, "-%u", index + 1) : 0;
    size_t length = lace_text_print(name, size - digits, "%s", base_name(stage));
    memcpy(name + length, number, digits + 1);
}

/* Starts one worker of a stage with ends of its own, cloned from `input` and `output` (NULL: none). */
static const char *start_one(const lace_stage *stage, unsigned index, bool first, lace_receiver *input,
                             lace_sender *output, running *ret_running)
{
    lace_job *job = make_job(stage);
    if (job == NULL)
        return "out of memory";
    if ((input != NULL && lace_receiver_clone(input, &job->input) != LACE_OK) ||
        (output != NULL && lace_sender_clone(output, &job->output) != LACE_OK)) {
        lace_job_destroy(job);
        return "no memory for the ends of a channel";
    }
    job->input_is_lines = first;
    char name[256];
    make_name(stage, index, name, sizeof name);
    lace_spawn_options options = {.name = name,
                                  .index = index,
                                  .count = stage->replicas,
                                  .parent = lace_host_scope(),
                                  .fails_parent = true,
                                  .process = stage->isolation == LACE_ISOLATION_PROCESS};
    const char *error = lace_worker_spawn(&options, job, &ret_running->worker, &ret_running->outcome);
    if (error != NULL)
        lace_job_destroy(job);
    return error;
}

/* Starts every worker into all[], in order; *ret_started says how many, also when it fails. */
static const char *start_all(const lace_stage *stages, size_t count, bool joined, lace_outside *outside, running *all,
                             size_t *ret_started)
{
    lace_receiver *input = outside ? lace_outside_input(outside) : NULL;
    bool lines_wanted = joined && input == NULL;
    const char *error = NULL;
    *ret_started = 0;
    if (lines_wanted) {
        lace_sender *lines;
        lace_channel_options options = {.capacity = BETWEEN_STAGES, .name = "standard input"};
        if (lace_channel_create(lace_region_of_host(), &options, &lines, &input) != LACE_OK)
            return "no memory for a channel";
        lace_ledger_list(lines);
        lace_stdin_lines = lace_lines_create(0, lines);
        if (lace_stdin_lines == NULL) {
            lace_sender_destroy(lines);
            error = "no memory to read standard input with";
        }
    }
    for (size_t s = 0; s < count && error == NULL; s++) {
        lace_sender *output = NULL;
        lace_receiver *next = NULL;
        if (joined && s + 1 < count) {
            char name[64];
            snprintf(name, sizeof name, "stage %zu to %zu", s + 1, s + 2);
            lace_channel_options options = {.capacity = BETWEEN_STAGES, .name = name};
            if (lace_channel_create(lace_region_of_host(), &options, &output, &next) != LACE_OK)
                error = "no memory for a channel";
            else
                lace_ledger_list(output);
        } else if (outside != NULL && lace_outside_output(outside) != NULL &&
                   lace_sender_clone(lace_outside_output(outside), &output) != LACE_OK) {
            error = "no memory for the ends of a channel";
        }
        for (unsigned r = 0; r < stages[s].replicas && error == NULL; r++) {
            error = start_one(&stages[s], r, lines_wanted && s == 0, input, output, &all[*ret_started]);
            if (error == NULL)
                ++*ret_started;
        }
        lace_sender_destroy(output);
        lace_receiver_destroy(input);
        input = next;
    }
    lace_receiver_destroy(input);
    return error;
}

bool lace_command_draw(const lace_stage *stages, size_t count, const lace_tell *tell)
{
    const char **names = calloc(count, sizeof *names);
    unsigned *replicas = calloc(count, sizeof *replicas);
    for (size_t i = 0; names != NULL && replicas != NULL && i < count; i++) {
        names[i] = base_name(&stages[i]);
        replicas[i] = stages[i].replicas;
    }
    bool drawn = names != NULL && replicas != NULL && lace_python_draw(tell, names, replicas, count);
    free(names);
    free(replicas);
    return drawn;
}

int lace_command_finish(lace_stage *stages, size_t count, bool joined, lace_outside *outside,
                        const lace_tell *tell)
{
    size_t total = 0, started = 0;
    for (size_t s = 0; s < count; s++) {
        total += stages[s].replicas;
        lace_python_settle(kinds[stages[s].kind], stages[s].target, &stages[s].isolation);
    }
    running *all = calloc(total, sizeof *all);
    const char *error = all ? start_all(stages, count, joined, outside, all, &started) : "out of memory";
    if (error != NULL) {
        lace_complain("%s", error);
        lace_scope_cancel(lace_host_scope());
    }
    int status = error != NULL;
    for (size_t i = 0; i < started; i++) {
        lace_case ended = {.kind = LACE_CASE_ENDED, .receiver = all[i].outcome};
        size_t index;
        lace_select(&ended, 1, 0, NULL, &index); /* bounded by the keeper's grace once anything is cancelled */
        int code = atomic_load(&all[i].worker->exit_code);
        if (code == 0 && atomic_load(&all[i].worker->failed))
            code = 1;
        if (status == 0)
            status = code;
        lace_receiver_destroy(all[i].outcome);
        lace_worker_unref(all[i].worker);
    }
    free(all);
    if (outside != NULL && !lace_outside_close(outside) && status == 0)
        status = 1;
    lace_lines_destroy(lace_stdin_lines);
    lace_stdin_lines = NULL;
    /* A kept interpreter that nobody names any more ends by itself; two that name each other do not. */
    lace_directory_end();
    lace_workers_join();
    if (!lace_tell_end(tell, lace_command_words) && status == 0)
        status = 1;
    bool closed = lace_host_stop() == LACE_OK;
    if (closed)
        lace_python_down();
    else
        lace_complain("%s", lace_problem());
    int number = lace_keeper_signal();
    status = number ? 128 + number : status;
    if (!closed)
        _exit(status);
    return status;
}
