/* ledger.c - the accounts of workers and channels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../channels/end.h"
#include "ledger.h"

#define KEPT 10000 /* accounts of workers, and of channels, that are gone */
#define SWEEP 4    /* channels looked at when one is added, so that the list is about as long as there are channels */

bool lace_ledger_keeps;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below. A ring's lock may be taken under it */
static lace_life *lives, **last_life = &lives;
static lace_listed *channels, **last_channel = &channels;
static lace_listed **cursor = &channels; /* where the sweep goes on */
static size_t lives_gone, channels_gone, dropped;
static uint32_t last_number;

void lace_ledger_lock(void)
{
    pthread_mutex_lock(&lock);
}

void lace_ledger_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

/* ---- workers ------------------------------------------------------------------------------------------ */

lace_life *lace_life_begin(uint64_t id, const char *name, unsigned index, unsigned count)
{
    lace_life *life = calloc(1, sizeof *life);
    if (life == NULL)
        return NULL;
    life->id = id;
    snprintf(life->name, sizeof life->name, "%s", name);
    life->index = index;
    life->count = count;
    atomic_store(&life->began, lace_clock());
    pthread_mutex_lock(&lock);
    *last_life = life;
    last_life = &life->next;
    pthread_mutex_unlock(&lock);
    return life;
}

void lace_life_enter(lace_life *life)
{
    if (life == NULL)
        return;
    atomic_store(&life->tid, gettid());
    lace_meter = &life->meter;
    lace_track_owner = life->id;
}

static void free_life(lace_life *life)
{
    free(life->failure);
    free(life->strands);
    free(life->samples);
    free(life);
}

/* Locked. */
static void unlink_life(lace_life *life)
{
    lace_life **link = &lives;
    while (*link != life)
        link = &(*link)->next;
    *link = life->next;
    if (last_life == &life->next)
        last_life = link;
}

/* The time for which this thread wanted a CPU and had none; 0 where the kernel does not tell. */
static uint64_t time_queued(void)
{
    unsigned long long ran, queued = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &ran, &queued) != 2)
        queued = 0;
    fclose(file);
    return queued;
}

void lace_life_end(lace_life *life, bool failed)
{
    lace_meter = NULL;
    if (life == NULL)
        return;
    if (lace_ledger_keeps)
        atomic_store(&life->queued, time_queued());
    atomic_store(&life->cpu, lace_life_cpu(life));
    atomic_store(&life->failed, failed);
    atomic_store(&life->ended, lace_clock());
    pthread_mutex_lock(&lock);
    bool keep = lace_ledger_keeps && lives_gone < KEPT;
    if (keep)
        lives_gone++;
    else
        unlink_life(life);
    dropped += lace_ledger_keeps && !keep;
    pthread_mutex_unlock(&lock);
    if (!keep)
        free_life(life);
}

void lace_life_fail(lace_life *life, const char *text)
{
    if (life == NULL || !lace_ledger_keeps)
        return;
    pthread_mutex_lock(&lock);
    free(life->failure);
    life->failure = strdup(text);
    pthread_mutex_unlock(&lock);
}

void lace_life_wrote(lace_life *life, size_t bytes, int64_t started)
{
    if (life == NULL)
        return;
    int64_t now = lace_clock();
    atomic_fetch_add_explicit(&life->written, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&life->blocked, (uint64_t)(now - started), memory_order_relaxed);
    lace_end_waited(NULL, LACE_FOR_OUTPUT, started);
}

uint64_t lace_life_cpu(const lace_life *life)
{
    struct timespec used;
    pid_t tid = atomic_load(&life->tid);
    uint64_t known = atomic_load(&life->cpu);
    if (known != 0 || tid == 0)
        return known;
    /* A thread's clock by its number, as the kernel has it; a thread that is gone has none. */
    clockid_t clock = (clockid_t)((~(unsigned)tid << 3) | 6);
    if (clock_gettime(clock, &used) != 0)
        return 0;
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

void lace_life_drop_end(lace_life *life, const lace_sender *sender, const lace_receiver *receiver)
{
    const struct lace_end *end = sender ? &sender->end : receiver ? &receiver->end : NULL;
    if (!lace_ledger_keeps || life == NULL || end == NULL || end->pipe != NULL || end->view.ring->listed == 0)
        return;
    lace_stats stats;
    if (sender != NULL)
        lace_sender_stats(sender, &stats);
    else
        lace_receiver_stats(receiver, &stats);
    pthread_mutex_lock(&lock);
    lace_strand *strand = NULL;
    for (size_t i = 0; i < life->strand_count && strand == NULL; i++)
        if (life->strands[i].channel == end->view.ring->listed && life->strands[i].sends == (sender != NULL))
            strand = &life->strands[i];
    if (strand == NULL && life->strand_count < KEPT) {
        lace_strand *grown = realloc(life->strands, (life->strand_count + 1) * sizeof *grown);
        if (grown != NULL) {
            life->strands = grown;
            strand = &grown[life->strand_count++];
            *strand = (lace_strand){.channel = end->view.ring->listed, .sends = sender != NULL};
        }
    }
    if (strand != NULL) {
        strand->messages += stats.messages;
        strand->bytes += stats.bytes;
        strand->waits += stats.waits;
        strand->blocked += stats.blocked_ns;
    }
    pthread_mutex_unlock(&lock);
}

lace_life *lace_ledger_lives(void)
{
    return lives;
}

/* ---- channels ----------------------------------------------------------------------------------------- */

void lace_listed_read(const lace_listed *listed, lace_sight *ret_sight, uint64_t *ret_depth)
{
    *ret_sight = (lace_sight){.sent = listed->sent, .received = listed->received, .bytes = listed->bytes};
    *ret_depth = 0;
    if (listed->look == NULL)
        return;
    lace_look_see(listed->look, ret_sight);
    uint64_t queued = ret_sight->sent - ret_sight->received;
    *ret_depth = (queued < listed->capacity ? queued : listed->capacity) + ret_sight->sending;
}

/* Locked: whether the channel has no end any more; its last figures are noted, and its memory let go, then. */
static bool is_gone(lace_listed *listed)
{
    if (listed->look == NULL)
        return true;
    if (!lace_look_is_last(listed->look))
        return false;
    lace_sight sight;
    uint64_t depth;
    lace_listed_read(listed, &sight, &depth);
    listed->sent = sight.sent;
    listed->received = sight.received;
    listed->bytes = sight.bytes;
    listed->ended = lace_clock();
    lace_look_finish(listed->look);
    listed->look = NULL;
    return true;
}

/* Locked: sees to the channel at *link; returns where the next one hangs. */
static lace_listed **see_to(lace_listed **link)
{
    lace_listed *listed = *link;
    bool was_alive = listed->look != NULL;
    if (!is_gone(listed))
        return &listed->next;
    if (lace_ledger_keeps && (!was_alive || channels_gone < KEPT)) {
        channels_gone += was_alive;
        return &listed->next;
    }
    dropped += lace_ledger_keeps;
    *link = listed->next;
    if (last_channel == &listed->next)
        last_channel = link;
    if (cursor == &listed->next)
        cursor = link;
    free(listed->samples);
    free(listed);
    return link;
}

void lace_ledger_list(const lace_sender *sender)
{
    lace_listed *listed = calloc(1, sizeof *listed);
    lace_look *look = listed ? lace_look_at_sender(sender) : NULL;
    if (look == NULL) {
        free(listed);
        return;
    }
    *listed = (lace_listed){.look = look, .capacity = lace_sender_capacity(sender), .began = lace_clock()};
    snprintf(listed->name, sizeof listed->name, "%s", lace_sender_name(sender));
    pthread_mutex_lock(&lock);
    for (int i = 0; i < SWEEP && channels != NULL; i++) {
        if (*cursor == NULL)
            cursor = &channels;
        cursor = see_to(cursor);
    }
    listed->number = ++last_number;
    lace_sender_list(sender, listed->number);
    *last_channel = listed;
    last_channel = &listed->next;
    pthread_mutex_unlock(&lock);
}

lace_listed *lace_ledger_channels(void)
{
    for (lace_listed **link = &channels; *link != NULL;)
        link = see_to(link);
    return channels;
}

size_t lace_ledger_dropped(void)
{
    return dropped;
}

/* ---- the end ------------------------------------------------------------------------------------------ */

void lace_ledger_clear(void)
{
    pthread_mutex_lock(&lock);
    while (lives != NULL) {
        lace_life *next = lives->next;
        free_life(lives);
        lives = next;
    }
    while (channels != NULL) {
        lace_listed *next = channels->next;
        lace_look_finish(channels->look);
        free(channels->samples);
        free(channels);
        channels = next;
    }
    last_life = &lives;
    last_channel = cursor = &channels;
    lives_gone = channels_gone = dropped = 0;
    pthread_mutex_unlock(&lock);
}
