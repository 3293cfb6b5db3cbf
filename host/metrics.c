/* metrics.c - the accounts as OpenMetrics text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"

/* As a label's value: a backslash, a quote and a line's end are written with a backslash. */
static void put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\\' || *text == '"')
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void begin_family(FILE *out, const char *name, const char *type, const char *unit, const char *help)
{
    fprintf(out, "# TYPE %s %s\n", name, type);
    if (unit != NULL)
        fprintf(out, "# UNIT %s %s\n", name, unit);
    fprintf(out, "# HELP %s %s\n", name, help);
}

static void put_worker(FILE *out, const lace_life *life, const char *name, const char *state, uint64_t ns)
{
    fprintf(out, "%s_total{worker=\"", name);
    put_escaped(out, life->name);
    fprintf(out, "\",id=\"%llu\"", (unsigned long long)life->id);
    if (state != NULL)
        fprintf(out, ",state=\"%s\"", state);
    fprintf(out, "} %.9f\n", (double)ns / 1e9);
}

static void put_times(FILE *out, const lace_life *life, const lace_spent *spent)
{
    static const char name[] = "interlace_worker_seconds";
    put_worker(out, life, name, "starting", spent->shares[LACE_SPENT_STARTING]);
    put_worker(out, life, name, "busy", spent->shares[LACE_SPENT_BUSY]);
    put_worker(out, life, name, "input", spent->shares[LACE_SPENT_WAITED + LACE_FOR_INPUT]);
    put_worker(out, life, name, "output", spent->shares[LACE_SPENT_WAITED + LACE_FOR_OUTPUT]);
    put_worker(out, life, name, "other", spent->shares[LACE_SPENT_WAITED + LACE_FOR_OTHER]);
}

static bool is_alive(const lace_life *life)
{
    return atomic_load(&life->ended) == 0;
}

static void put_workers(FILE *out)
{
    size_t starting = 0, waiting = 0, running = 0;
    begin_family(out, "interlace_worker_seconds", "counter", "seconds",
                 "What a worker's time was spent with: starting, busy, or waiting for input, output or something other.");
    for (lace_life *life = lace_ledger_lives(); life != NULL; life = life->next)
        if (is_alive(life))
            put_times(out, life, lace_life_spent(life));
    begin_family(out, "interlace_worker_cpu_seconds", "counter", "seconds", "Time of a worker's thread on a CPU.");
    for (const lace_life *life = lace_ledger_lives(); life != NULL; life = life->next) {
        if (!is_alive(life))
            continue;
        put_worker(out, life, "interlace_worker_cpu_seconds", NULL, life->told.cpu);
        bool ready = atomic_load(&life->tally->ready) != 0;
        starting += !ready;
        waiting += ready && life->told.waiting;
        running += ready && !life->told.waiting;
    }
    begin_family(out, "interlace_workers", "gauge", NULL, "Workers, by what they do now.");
    fprintf(out, "interlace_workers{state=\"starting\"} %zu\n", starting);
    fprintf(out, "interlace_workers{state=\"running\"} %zu\n", running);
    fprintf(out, "interlace_workers{state=\"waiting\"} %zu\n", waiting);
}

enum figure { SENT, RECEIVED, BYTES, WAITING, CAPACITY, FULL, EMPTY };

static const struct {
    enum figure figure;
    const char *name, *type, *unit, *help;
} families[] = {
    {SENT, "interlace_channel_sent", "counter", NULL, "Messages sent."},
    {RECEIVED, "interlace_channel_received", "counter", NULL, "Messages received."},
    {BYTES, "interlace_channel_bytes", "counter", "bytes", "Bytes of the messages sent."},
    {WAITING, "interlace_channel_waiting", "gauge", NULL, "Messages waiting now, those of waiting senders among them."},
    {CAPACITY, "interlace_channel_capacity", "gauge", NULL, "Messages that may wait."},
    {FULL, "interlace_channel_full_seconds", "counter", "seconds", "Time for which it was full."},
    {EMPTY, "interlace_channel_empty_seconds", "counter", "seconds", "Time for which it was empty."},
};

static void put_channel(FILE *out, const lace_listed *listed, size_t family)
{
    lace_sight sight;
    uint64_t depth;
    bool counts = strcmp(families[family].type, "counter") == 0;
    lace_listed_read(listed, &sight, &depth);
    fprintf(out, "%s%s{channel=\"", families[family].name, counts ? "_total" : "");
    put_escaped(out, listed->name);
    fprintf(out, "\",number=\"%u\"} ", listed->number);
    if (families[family].figure == FULL || families[family].figure == EMPTY) {
        fprintf(out, "%.9f\n",
                (double)(families[family].figure == FULL ? listed->full_ns : listed->empty_ns) / 1e9);
        return;
    }
    const uint64_t whole[] = {
        [SENT] = sight.sent, [RECEIVED] = sight.received, [BYTES] = sight.bytes, [WAITING] = depth,
        [CAPACITY] = listed->capacity};
    fprintf(out, "%llu\n", (unsigned long long)whole[families[family].figure]);
}

char *lace_metrics_text(size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    if (out == NULL)
        return NULL;
    begin_family(out, "interlace", "info", NULL, "The version of Interlace.");
    fprintf(out, "interlace_info{version=\"%s\",python=\"%s\"} 1\n", LACE_VERSION, PY_VERSION);
    lace_ledger_lock();
    put_workers(out);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        begin_family(out, families[i].name, families[i].type, families[i].unit, families[i].help);
        for (const lace_listed *listed = lace_ledger_channels(); listed != NULL; listed = listed->next)
            if (listed->look != NULL)
                put_channel(out, listed, i);
    }
    lace_ledger_unlock();
    fputs("# EOF\n", out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
