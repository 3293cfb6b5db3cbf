/* state_text.c - the state of workers and channels as text for people, and as JSON for programs. */
#include <string.h>
#include <unistd.h>

#include "shown.h"
#include "site.h"
#include "state.h"

static const char *state_name(const lace_state_worker *seen)
{
    static const char *const names[] = {"starting", "running", "ending", "ended", "restarting"};
    return names[seen->state];
}

/* ---- text ------------------------------------------------------------------------------------------------- */

static void write_doing(const lace_state_thread *thread, FILE *out)
{
    if (thread->awaits != NULL)
        fprintf(out, "waits since %.1f s for %s", thread->seconds, thread->awaits);
    else
        fputs("runs, or is in a call that is not Interlace's", out);
}

static void write_stack(const lace_state_thread *thread, FILE *out)
{
    const char *line = thread->stack ? thread->stack : "";
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
        fprintf(out, "    %.*s\n", (int)(end - line), line);
}

static void write_worker(const lace_state_worker *seen, FILE *out)
{
    lace_show_name(out, "worker ", seen->worker->name);
    fprintf(out, " (%llu", (unsigned long long)seen->worker->id);
    if (seen->pid != 0)
        fprintf(out, ", pid %d", (int)seen->pid);
    fputs("): ", out);
    if (seen->reach == LACE_REACH_BUSY && seen->pid != 0 && seen->thread_count == 0)
        fputs("its process does not answer, or is in C code that keeps its interpreter's lock", out);
    else if (seen->reach == LACE_REACH_BUSY)
        fputs("in C code that keeps its interpreter's lock", out);
    else if (seen->state == LACE_WORKER_RUNNING && seen->thread_count > 0)
        write_doing(&seen->threads[0], out);
    else
        fprintf(out, "%s", state_name(seen));
    if (seen->cpu >= 0)
        fprintf(out, "; CPU %.2f s", (double)seen->cpu / 1e9);
    if (seen->reach != LACE_REACH_BUSY) /* what went through its ends is known to itself alone */
        fprintf(out, "; %llu received, %llu sent", (unsigned long long)seen->received,
                (unsigned long long)seen->sent);
    fputc('\n', out);
    for (size_t i = 0; i < seen->thread_count; i++) {
        if (i > 0) {
            fprintf(out, "  thread %lu: ", seen->threads[i].native);
            write_doing(&seen->threads[i], out);
            fputc('\n', out);
        }
        write_stack(&seen->threads[i], out);
    }
}

static void write_channel(const lace_state_channel *channel, FILE *out)
{
    const lace_sight *sight = &channel->sight;
    lace_site made;
    lace_show_name(out, "channel ", lace_look_name(channel->look));
    if (lace_site_find(lace_look_mark(channel->look), &made))
        fprintf(out, ", made at %s, line %d, in %s", made.file, made.line, made.function);
    fprintf(out, ": %llu of %llu wait; %u sender%s, %u receiver%s",
            (unsigned long long)(sight->sent - sight->received + sight->back), (unsigned long long)sight->capacity,
            sight->senders, sight->senders == 1 ? "" : "s", sight->receivers, sight->receivers == 1 ? "" : "s");
    if (sight->unconfirmed > 0)
        fprintf(out, ", %u not confirmed", sight->unconfirmed);
    if (channel->rate >= 0)
        fprintf(out, "; %.0f messages/s", channel->rate);
    fputc('\n', out);
}

void lace_state_write_text(const lace_state *state, FILE *out)
{
    fprintf(out, "interlace %d: %zu worker%s, %zu channel%s\n", (int)getpid(), state->worker_count,
            state->worker_count == 1 ? "" : "s", state->channel_count, state->channel_count == 1 ? "" : "s");
    for (size_t i = 0; i < state->worker_count; i++)
        write_worker(&state->workers[i], out);
    for (size_t i = 0; i < state->channel_count; i++)
        write_channel(&state->channels[i], out);
}

/* ---- JSON ------------------------------------------------------------------------------------------------- */

static void write_string(const char *text, FILE *out)
{
    fputc('"', out);
    for (const char *at = text ? text : ""; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if ((unsigned char)*at < 0x20)
            fprintf(out, "\\u%04x", (unsigned)*at);
        else
            fputc(*at, out);
    }
    fputc('"', out);
}

static void write_thread_json(const lace_state_thread *thread, FILE *out)
{
    fprintf(out, "{\"id\": %lu, \"awaits\": ", thread->native);
    if (thread->awaits != NULL)
        write_string(thread->awaits, out);
    else
        fputs("null", out);
    fprintf(out, ", \"seconds\": %.3f, \"stack\": ", thread->seconds);
    write_string(thread->stack, out);
    fputc('}', out);
}

static void write_worker_json(const lace_state_worker *seen, FILE *out)
{
    fprintf(out, "{\"id\": %llu, \"name\": ", (unsigned long long)seen->worker->id);
    write_string(seen->worker->name, out);
    if (seen->pid != 0)
        fprintf(out, ", \"pid\": %d", (int)seen->pid);
    fprintf(out, ", \"state\": \"%s\", \"busy\": %s, \"cpu\": ", state_name(seen),
            seen->reach == LACE_REACH_BUSY ? "true" : "false");
    if (seen->cpu >= 0)
        fprintf(out, "%.6f", (double)seen->cpu / 1e9);
    else
        fputs("null", out);
    if (seen->reach == LACE_REACH_BUSY)
        fputs(", \"received\": null, \"sent\": null", out);
    else
        fprintf(out, ", \"received\": %llu, \"sent\": %llu", (unsigned long long)seen->received,
                (unsigned long long)seen->sent);
    fputs(", \"threads\": [", out);
    for (size_t i = 0; i < seen->thread_count; i++) {
        if (i > 0)
            fputs(", ", out);
        write_thread_json(&seen->threads[i], out);
    }
    fputs("]}", out);
}

static void write_channel_json(const lace_state_channel *channel, FILE *out)
{
    const lace_sight *sight = &channel->sight;
    fputs("{\"name\": ", out);
    write_string(lace_look_name(channel->look), out);
    fprintf(out,
            ", \"number\": %llu, \"depth\": %llu, \"capacity\": %llu, \"senders\": %u, \"receivers\": %u, "
            "\"received\": %llu, \"unconfirmed\": %u}",
            (unsigned long long)(uintptr_t)lace_look_channel(channel->look),
            (unsigned long long)(sight->sent - sight->received + sight->back), (unsigned long long)sight->capacity,
            sight->senders, sight->receivers, (unsigned long long)channel->received, sight->unconfirmed);
}

void lace_state_write_json(const lace_state *state, FILE *out)
{
    fprintf(out, "{\"pid\": %d, \"clock\": %.6f, \"workers\": [", (int)getpid(), (double)state->at / 1e9);
    for (size_t i = 0; i < state->worker_count; i++) {
        fputs(i > 0 ? ",\n" : "\n", out);
        write_worker_json(&state->workers[i], out);
    }
    fputs("],\n\"channels\": [", out);
    for (size_t i = 0; i < state->channel_count; i++) {
        fputs(i > 0 ? ",\n" : "\n", out);
        write_channel_json(&state->channels[i], out);
    }
    fputs("]}\n", out);
}
