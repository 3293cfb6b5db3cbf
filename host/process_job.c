/* process_job.c - a job as a message, for a worker in a process of its own. */
#include <stdlib.h>
#include <string.h>

#include "process.h"

/* What the message begins with; behind it lie the name, the settings, the head and the body. */
typedef struct front {
    uint64_t id;
    uint32_t index, count;
    double grace;
    uint8_t tag, quiet, kept, output_taken, watched, restartable;
    uint32_t restarts;
    uint8_t input, input_is_lines, output, ring;
    uint64_t name_size, settings_size, head_size, body_size; /* the first two count their NULs */
} front;

static size_t size_of(const char *const *words)
{
    size_t size = 0;
    for (; words != NULL && *words != NULL; words++)
        size += strlen(*words) + 1;
    return size;
}

lace_status lace_job_send(lace_sender *to, const lace_post *post, lace_job *job, const lace_with_job *with)
{
    front first = {.id = post->id,
                   .index = post->index,
                   .count = post->count,
                   .grace = post->grace,
                   .tag = post->tag,
                   .quiet = post->quiet,
                   .kept = post->kept,
                   .watched = post->watched,
                   .output_taken = post->output_taken,
                   .restartable = post->restartable,
                   .restarts = post->restarts,
                   .input = job->input != NULL,
                   .input_is_lines = job->input_is_lines,
                   .output = job->output != NULL,
                   .ring = with->ring != NULL,
                   .name_size = strlen(post->name) + 1,
                   .settings_size = size_of(post->settings),
                   .head_size = job->head_size,
                   .body_size = job->body_size};
    size_t size = sizeof first + first.name_size + first.settings_size + first.head_size + first.body_size;
    size_t count = 0;
    char *data = malloc(size);
    lace_attachment *all = malloc((job->attachment_count + 7) * sizeof *all);
    lace_status status = LACE_NOMEM;
    if (data != NULL && all != NULL) {
        char *at = mempcpy(data, &first, sizeof first);
        at = mempcpy(at, post->name, first.name_size);
        for (const char *const *word = post->settings; word != NULL && *word != NULL; word++)
            at = mempcpy(at, *word, strlen(*word) + 1);
        at = mempcpy(at, job->head, job->head_size);
        memcpy(at, job->body, job->body_size);
        all[count++] = (lace_attachment){.kind = LACE_ATTACH_SENDER, .as.sender = with->outcome};
        all[count++] = (lace_attachment){.kind = LACE_ATTACH_BLOCK, .as.block = with->output};
        all[count++] = (lace_attachment){.kind = LACE_ATTACH_BLOCK, .as.block = with->at};
        all[count++] = (lace_attachment){.kind = LACE_ATTACH_BLOCK, .as.block = with->sheet};
        if (with->ring != NULL)
            all[count++] = (lace_attachment){.kind = LACE_ATTACH_BLOCK, .as.block = with->ring};
        if (job->input != NULL)
            all[count++] = (lace_attachment){.kind = LACE_ATTACH_RECEIVER, .as.receiver = job->input};
        if (job->output != NULL)
            all[count++] = (lace_attachment){.kind = LACE_ATTACH_SENDER, .as.sender = job->output};
        for (size_t i = 0; i < job->attachment_count; i++)
            all[count++] = job->attachments[i];
        lace_payload payload = {.data = data, .size = size, .attachments = all, .attachment_count = count};
        status = lace_send(to, &payload, &(lace_wait){.deadline = LACE_NOW});
    }
    free(all);
    free(data);
    if (status != LACE_OK)
        return status;
    job->attachment_count = 0;
    job->input = NULL;
    job->output = NULL;
    lace_job_destroy(job);
    return LACE_OK;
}

static char *copy(const char **at, size_t size)
{
    char *made = malloc(size ? size : 1);
    if (made != NULL && size > 0)
        memcpy(made, *at, size);
    *at += size;
    return made;
}

/* The words one after the other, each with its NUL. */
static const char *const *split(const char *words, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += words[i] == '\0';
    const char **list = calloc(count + 1, sizeof *list);
    for (size_t i = 0; list != NULL && i < count; i++, words += strlen(words) + 1)
        list[i] = words;
    return list;
}

static lace_status take(lace_message *message, size_t *index, lace_attachment_kind kind,
                        lace_attachment *ret_attachment)
{
    if (lace_message_kind(message, *index) != kind)
        return LACE_CORRUPT;
    return lace_message_take(message, (*index)++, ret_attachment);
}

static lace_status read_job(lace_message *message, const front *first, const char *at, lace_post *post, lace_job *job,
                            lace_with_job *with)
{
    char *name = copy(&at, first->name_size), *settings = copy(&at, first->settings_size);
    *post = (lace_post){.id = first->id,
                        .index = first->index,
                        .count = first->count,
                        .grace = first->grace,
                        .tag = first->tag,
                        .quiet = first->quiet,
                        .kept = first->kept,
                        .watched = first->watched,
                        .output_taken = first->output_taken,
                        .restartable = first->restartable,
                        .restarts = first->restarts,
                        .name = name,
                        .settings = settings != NULL ? split(settings, first->settings_size) : NULL};
    job->head = copy(&at, job->head_size = first->head_size);
    job->body = copy(&at, job->body_size = first->body_size);
    job->input_is_lines = first->input_is_lines;
    size_t count = lace_message_attachments(message), next = 0;
    job->attachments = calloc(count + 1, sizeof *job->attachments);
    if (name == NULL || post->settings == NULL || job->head == NULL || job->body == NULL || job->attachments == NULL)
        return LACE_NOMEM;
    lace_attachment taken = {0};
    lace_status status = take(message, &next, LACE_ATTACH_SENDER, &taken);
    if (status == LACE_OK) {
        with->outcome = taken.as.sender;
        status = take(message, &next, LACE_ATTACH_BLOCK, &taken);
    }
    if (status == LACE_OK) {
        with->output = taken.as.block;
        status = take(message, &next, LACE_ATTACH_BLOCK, &taken);
    }
    if (status == LACE_OK) {
        with->at = taken.as.block;
        status = take(message, &next, LACE_ATTACH_BLOCK, &taken);
    }
    if (status == LACE_OK) {
        with->sheet = taken.as.block;
        if (first->ring && (status = take(message, &next, LACE_ATTACH_BLOCK, &taken)) == LACE_OK)
            with->ring = taken.as.block;
    }
    if (status == LACE_OK) {
        if (first->input && (status = take(message, &next, LACE_ATTACH_RECEIVER, &taken)) == LACE_OK)
            job->input = taken.as.receiver;
    }
    if (status == LACE_OK && first->output && (status = take(message, &next, LACE_ATTACH_SENDER, &taken)) == LACE_OK)
        job->output = taken.as.sender;
    while (status == LACE_OK && next < count) {
        status = lace_message_take(message, next++, &job->attachments[job->attachment_count]);
        job->attachment_count += status == LACE_OK;
    }
    return status;
}

lace_status lace_job_receive(lace_receiver *from, lace_region *region, lace_post *ret_post, lace_job **ret_job,
                             lace_with_job *ret_with)
{
    lace_message *message;
    lace_status status = lace_message_create(region, &message);
    if (status != LACE_OK)
        return status;
    status = lace_recv(from, message, &(lace_wait){.deadline = LACE_NOW});
    front first;
    size_t size = status == LACE_OK ? lace_message_size(message) : 0;
    if (status == LACE_OK && size < sizeof first)
        status = LACE_CORRUPT;
    lace_job *job = status == LACE_OK ? calloc(1, sizeof *job) : NULL;
    if (status == LACE_OK && job == NULL)
        status = LACE_NOMEM;
    if (status == LACE_OK) {
        const char *data = lace_message_data(message);
        memcpy(&first, data, sizeof first);
        size_t parts[] = {first.name_size, first.settings_size, first.head_size, first.body_size};
        size_t left = size - sizeof first;
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            if (parts[i] > left)
                status = LACE_CORRUPT;
            left -= parts[i] > left ? left : parts[i];
        }
        if (status == LACE_OK)
            status = read_job(message, &first, data + sizeof first, ret_post, job, ret_with);
        if (status == LACE_OK)
            *ret_job = job;
        else
            lace_job_destroy(job);
    }
    lace_message_destroy(message);
    return status;
}
