/* deadlock_report.c - who waits for whom, as a text and as an exception. */
#include "deadlock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "sheet.h"
#include "shown.h"

static pthread_mutex_t text_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next two; held for a few instructions */
static char *latest;
static int64_t latest_at;

char *lace_deadlock_text(void)
{
    const lace_sheet *sheet = lace_child_sheet();
    pthread_mutex_lock(&text_lock);
    const char *text = latest;
    if (sheet != NULL && sheet->reported_at > latest_at)
        text = sheet->report; /* our host has found it */
    char *copy = text ? strdup(text) : NULL;
    pthread_mutex_unlock(&text_lock);
    return copy;
}

/* ---- words -------------------------------------------------------------------------------------------------- */

static const char *name_of(const lace_net *net, size_t suspect)
{
    return net->suspects[suspect].worker->name;
}

/* "'a'", or "process worker 'a' (pid 4711)" */
static void write_name(FILE *out, const lace_net *net, size_t suspect)
{
    const lace_worker *worker = net->suspects[suspect].worker;
    lace_show_name(out, worker->process != NULL ? "process worker " : "", worker->name);
    if (worker->process != NULL)
        fprintf(out, " (pid %d)", (int)lace_process_pid(worker));
}

/* Marks, in seen[], the stuck who hold an end on that side, those too who could receive one in a message. */
static void mark_holders(const lace_net *net, const void *channel, bool sender, bool *seen, size_t depth)
{
    size_t first, count = lace_net_holders(net, channel, sender, &first);
    for (size_t i = first; i < first + count; i++) {
        const lace_hold *hold = &net->holds[i];
        if (hold->suspect != LACE_NOBODY)
            seen[hold->suspect] |= net->suspects[hold->suspect].stuck;
        else if (depth > 0)
            mark_holders(net, lace_look_channel(net->containers[hold->container].look), false, seen, depth - 1);
    }
}

#define DEPTH 4 /* messages in messages: further than that nobody wants to know */

/* Writes those who are marked: " 'a', 'b' and 'c'". */
static void write_names(FILE *out, const lace_net *net, const bool *seen)
{
    size_t count = 0, written = 0;
    for (size_t i = 0; i < net->suspect_count; i++)
        count += seen[i];
    for (size_t i = 0; i < net->suspect_count; i++)
        if (seen[i]) {
            fputs(written == 0 ? " " : written + 1 == count ? " and " : ", ", out);
            write_name(out, net, i);
            written++;
        }
}

/* Who has the ends on a side of the channel: "; its sender is held by 'a'". */
static void write_holders(FILE *out, const lace_net *net, const void *channel, bool sender)
{
    size_t first, count = lace_net_holders(net, channel, sender, &first), direct = 0;
    const char *side = sender ? "sender" : "receiver";
    bool *seen = calloc(net->suspect_count, sizeof *seen);
    for (size_t i = first; i < first + count; i++)
        direct += net->holds[i].suspect != LACE_NOBODY;
    if (direct > 0 && seen != NULL) {
        fprintf(out, "; its %s%s held by", side, direct == 1 ? " is" : "s are");
        mark_holders(net, channel, sender, seen, 0);
        write_names(out, net, seen);
    }
    for (size_t i = first; i < first + count; i++)
        if (net->holds[i].suspect == LACE_NOBODY) {
            fprintf(out, "; a %s lies in a message in ", side);
            lace_show_name(out, "", lace_look_name(net->containers[net->holds[i].container].look));
        }
    free(seen);
}

/* Where a channel was made; `told`: by a process that knows, or NULL. */
static void write_site(FILE *out, const lace_look *look, const char *told)
{
    lace_site made;
    if (told != NULL && told[0] != '\0')
        fprintf(out, ", made at %s", told);
    else if (lace_site_find(lace_look_mark(look), &made))
        fprintf(out, ", made at %s, line %d, in %s", made.file, made.line, made.function);
}

/* The counter that would tell whoever waits there; NULL: it is a channel like others. */
static const lace_look *counter_of(const lace_net *net, const lace_await_case *one)
{
    size_t first, count = lace_net_holders(net, one->channel, true, &first);
    if (one->list != LACE_LOOK_RECEIVING || count != 1 || net->holds[first].suspect != LACE_NOBODY)
        return NULL;
    const lace_look *look = net->containers[net->holds[first].container].look;
    return lace_look_is_counter(look) ? look : NULL;
}

static void write_case(FILE *out, const lace_net *net, const lace_await *await, const lace_await_case *one)
{
    const char *name = lace_look_name(one->look);
    bool sends = one->list == LACE_LOOK_SENDING;
    const lace_look *counter = counter_of(net, one);
    if (one->list == LACE_LOOK_ENDING || await->operation == LACE_AWAITS_RESULT) {
        bool ends = one->list == LACE_LOOK_ENDING;
        lace_show_name(out, ends ? "    for the end of worker " : "    for the result of worker ", name);
        fputc('\n', out);
        return;
    }
    if (counter != NULL) {
        fputs("    for a counter or barrier", out);
        write_site(out, counter, NULL);
        write_holders(out, net, lace_look_channel(counter), false);
    } else {
        bool permit = await->operation == LACE_AWAITS_PERMIT;
        lace_show_name(out,
                       permit  ? "    in acquire on semaphore "
                       : sends ? "    in send on channel "
                               : "    in recv on channel ",
                       name);
        write_site(out, one->look, one->made);
        if (one->unconfirmed && one->needs[1] == 0) {
            fputs("; its senders are gone, and a message is not confirmed", out);
            write_holders(out, net, one->channel, false);
        } else if (one->needs[sends ? 0 : 1] == 0)
            fputs("; its other side is gone", out);
        else
            write_holders(out, net, one->channel, !sends);
    }
    fputc('\n', out);
}

static void write_await(FILE *out, const lace_net *net, const lace_await *await, int64_t now)
{
    fputs(net->suspects[await->suspect].worker->process != NULL ? "  " : "  worker ", out);
    write_name(out, net, await->suspect);
    fputs(" waits", out);
    if (await->operation == LACE_AWAITS_LOCK)
        fputs(" for another of its threads", out);
    else
        fprintf(out, " since %.1f s%s", (double)(now - await->since) / 1e9,
                await->operation == LACE_AWAITS_SELECT ? " in select" : "");
    fprintf(out, "%s%s\n", await->where[0] ? ", at " : "", await->where);
    for (size_t i = 0; i < await->case_count; i++)
        write_case(out, net, await, &net->cases[await->first_case + i]);
}

/* ---- the cycle ---------------------------------------------------------------------------------------------- */

/* One of those that a suspect waits for, LACE_NOBODY when there is none left that could be. */
static size_t waits_for(const lace_net *net, size_t suspect, bool *seen)
{
    memset(seen, 0, net->suspect_count * sizeof *seen);
    for (size_t a = 0; a < net->await_count; a++) {
        const lace_await *await = &net->awaits[a];
        for (size_t i = 0; i < await->case_count && await->suspect == suspect; i++) {
            const lace_await_case *one = &net->cases[await->first_case + i];
            mark_holders(net, one->channel, one->list != LACE_LOOK_SENDING, seen, DEPTH);
        }
    }
    for (size_t i = 0; i < net->suspect_count; i++)
        if (seen[i] && i != suspect)
            return i;
    return seen[suspect] ? suspect : LACE_NOBODY;
}

/* "'a' waits for 'b', 'b' waits for 'a'" */
static void write_cycle(FILE *out, const lace_net *net)
{
    size_t *when = calloc(net->suspect_count, sizeof *when); /* at which step each was come to; 0: not yet */
    bool *seen = calloc(net->suspect_count, sizeof *seen);
    size_t at = 0, step = 1;
    while (at < net->suspect_count && !net->suspects[at].stuck)
        at++;
    if (when != NULL && seen != NULL && at < net->suspect_count) {
        while (at != LACE_NOBODY && when[at] == 0) {
            when[at] = step++;
            at = waits_for(net, at, seen);
        }
        size_t start = at;
        for (bool first = true; at != LACE_NOBODY && (first || at != start); first = false) {
            size_t next = waits_for(net, at, seen);
            lace_show_name(out, first ? "  " : ", ", name_of(net, at));
            if (next == at)
                fputs(" waits for itself", out);
            else
                lace_show_name(out, " waits for ", name_of(net, next));
            at = next;
        }
        if (start != LACE_NOBODY)
            fputc('\n', out);
    }
    free(seen);
    free(when);
}

/* ---- the report ----------------------------------------------------------------------------------------------- */

void lace_net_find_lines(lace_net *net)
{
    for (size_t s = 0; s < net->suspect_count; s++) {
        lace_worker *worker = net->suspects[s].worker;
        PyThreadState *tstate = net->suspects[s].stuck ? lace_worker_attach(worker) : NULL;
        if (tstate == NULL)
            continue;
        for (size_t a = 0; a < net->await_count; a++) {
            lace_await *await = &net->awaits[a];
            if (await->suspect == s && await->operation != LACE_AWAITS_WORK) /* that is in no line of anybody's */
                lace_module_describe_thread(await->ident, await->operation == LACE_AWAITS_LOCK, await->where,
                                            sizeof await->where);
        }
        lace_worker_detach(worker, tstate);
    }
}

void lace_deadlock_report(lace_net *net, bool all)
{
    char *text = NULL;
    size_t size = 0, stuck = lace_net_stuck(net);
    int64_t now = lace_clock();
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return;
    lace_net_find_lines(net);
    if (all && stuck == 1)
        fprintf(out, "interlace: deadlock: the only worker waits, and nothing can wake it\n");
    else if (all)
        fprintf(out, "interlace: deadlock: all %zu workers wait, and nothing else can wake them\n", stuck);
    else if (stuck == 1)
        fprintf(out, "interlace: warning: a worker waits for what only itself could do\n");
    else
        fprintf(out, "interlace: warning: %zu workers wait only for one another, while others go on\n", stuck);
    for (size_t a = 0; a < net->await_count; a++)
        if (net->suspects[net->awaits[a].suspect].stuck)
            write_await(out, net, &net->awaits[a], now);
    write_cycle(out, net);
    if (fclose(out) != 0) {
        free(text);
        return;
    }
    lace_output_write(NULL, 2, text, size);
    for (size_t i = 0; i < net->suspect_count && all; i++)
        if (net->suspects[i].stuck && net->suspects[i].worker->process != NULL)
            lace_statement_report(net->suspects[i].worker, text);
    if (all) {
        pthread_mutex_lock(&text_lock);
        free(latest);
        latest = text;
        latest_at = now;
        text = NULL;
        pthread_mutex_unlock(&text_lock);
    }
    free(text);
}

/* ---- telling the workers --------------------------------------------------------------------------------------- */

/* Whether it gets to know of it from those that it waits for. */
static bool waits_for_others(const lace_await *await)
{
    return await->operation == LACE_AWAITS_END || await->operation == LACE_AWAITS_RESULT ||
           await->operation == LACE_AWAITS_WORK || await->operation == LACE_AWAITS_LOCK;
}

void lace_deadlock_tell(lace_net *net)
{
    bool others = false;
    for (size_t a = 0; a < net->await_count; a++)
        others |= net->suspects[net->awaits[a].suspect].stuck && !waits_for_others(&net->awaits[a]);
    for (size_t a = 0; a < net->await_count; a++) {
        const lace_await *await = &net->awaits[a];
        if (!net->suspects[await->suspect].stuck || (others && waits_for_others(await)))
            continue;
        for (size_t i = await->first_case; i < await->first_case + await->case_count; i++)
            lace_look_tell(net->cases[i].look, net->cases[i].list, net->cases[i].end, LACE_DEADLOCK);
    }
}
