/* ledger.c - the accounts of workers and channels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../channels/end.h"
#include "../channels/text.h"
#include "ledger.h"

#define KEPT 10000 /* accounts of workers, and of channels, that are gone */
#define SWEEP 4    /* channels looked at when one is added, so that the list is about as long as there are channels */

bool lace_ledger_keeps;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below. A ring's lock may be taken under it */
static lace_life *lives, **last_life = &lives;
static lace_listed *channels, **last_channel = &channels;
static lace_listed **cursor = &channels; /* where the sweep goes on */
static size_t lives_gone, channels_gone, dropped;
static uint32_t last_number; /* in a child, above those of its host: see lace_ledger_number_from */

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
    lace_text_print(life->name, sizeof life->name, "%s", name);
    life->index = index;
    life->count = count;
    life->tally = &life->own;
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
    atomic_store(&life->tally->tid, gettid());
    lace_meter = &life->tally->meter;
    lace_track_owner = life->id;
    /* The time between two threads or processes of an account is one of waiting. */
    int64_t paused = lace_meter_since(&life->tally->meter);
    if (paused != 0)
        lace_end_waited(NULL, LACE_FOR_OTHER, paused);
}

static void copy_tally(lace_tally *to, const lace_tally *from)
{
    lace_meter_copy(&to->meter, &from->meter);
    atomic_store(&to->ready, atomic_load(&from->ready));
    atomic_store(&to->finished, atomic_load(&from->finished));
    atomic_store(&to->cpu, atomic_load(&from->cpu));
    atomic_store(&to->cpu_before, atomic_load(&from->cpu_before));
    atomic_store(&to->queued, atomic_load(&from->queued));
    atomic_store(&to->written, atomic_load(&from->written));
    atomic_store(&to->blocked, atomic_load(&from->blocked));
}

/* Locked: the new account begins with what is there from before, in the pause that its worker's thread ends. */
static void carry_over(lace_life *life, lace_account *account)
{
    size_t count = life->strand_count < LACE_SHOWN_STRANDS ? life->strand_count : LACE_SHOWN_STRANDS;
    copy_tally(&account->tally, &life->own);
    for (size_t i = 0; i < count; i++)
        account->strands[i] = life->strands[i];
    atomic_store_explicit(&account->strand_count, (uint32_t)count, memory_order_release);
    free(life->strands);
    life->strands = NULL;
    life->strand_count = 0;
}

void lace_life_show(lace_life *life, lace_account *account)
{
    if (life == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (life->alone)
        carry_over(life, account);
    life->alone = true;
    life->account = account;
    life->tally = &account->tally;
    pthread_mutex_unlock(&lock);
}

const lace_strand *lace_life_strands(const lace_life *life, size_t *ret_count)
{
    *ret_count = life->strand_count;
    if (life->account == NULL)
        return life->strands;
    uint32_t count = atomic_load_explicit(&life->account->strand_count, memory_order_acquire);
    *ret_count = count < LACE_SHOWN_STRANDS ? count : LACE_SHOWN_STRANDS;
    return life->account->strands;
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

/* Keeps the account of a worker that is gone, or frees it. */
static void close_life(lace_life *life, bool failed)
{
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

/* Locked: takes over what is on the sheet, where a wait may still be going on. */
static void copy_account(lace_life *life, int64_t now)
{
    const lace_account *account = life->account;
    size_t count;
    const lace_strand *strands = lace_life_strands(life, &count);
    copy_tally(&life->own, &account->tally);
    lace_meter_stop(&life->own.meter, now);
    life->strands = count > 0 ? malloc(count * sizeof *strands) : NULL;
    life->strand_count = life->strands != NULL ? count : 0;
    for (size_t i = 0; i < life->strand_count; i++)
        life->strands[i] = strands[i];
    if (atomic_load(&account->failed)) {
        free(life->failure);
        life->failure = strndup(account->failure, sizeof account->failure);
    }
    life->tally = &life->own;
    life->account = NULL;
}

static void begin_pause(lace_life *life)
{
    lace_meter = &life->tally->meter;
    lace_meter_begin(LACE_FOR_OTHER, lace_clock());
    lace_meter = NULL;
    uint64_t used = lace_life_cpu(life);
    atomic_store(&life->tally->tid, 0);
    atomic_store(&life->tally->cpu, 0);
    atomic_store(&life->tally->cpu_before, used);
    atomic_store(&life->tally->finished, 0);
}

void lace_life_pause(lace_life *life)
{
    if (life != NULL && lace_ledger_keeps)
        atomic_fetch_add(&life->tally->queued, time_queued());
    lace_meter = NULL;
    if (life != NULL)
        begin_pause(life);
}

void lace_life_pause_process(lace_life *life)
{
    if (life == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (life->account != NULL)
        copy_account(life, lace_clock());
    begin_pause(life);
    pthread_mutex_unlock(&lock);
}

void lace_life_end(lace_life *life, bool failed)
{
    lace_meter = NULL;
    if (life == NULL)
        return;
    lace_meter_stop(&life->tally->meter, lace_clock()); /* a pause, that nobody ends */
    if (lace_ledger_keeps && atomic_load(&life->tally->tid) != 0)
        atomic_fetch_add(&life->tally->queued, time_queued());
    atomic_store(&life->tally->cpu, lace_life_cpu(life));
    close_life(life, failed);
}

void lace_life_note_cpu(lace_life *life)
{
    if (life != NULL && atomic_load(&life->tally->cpu) == 0)
        atomic_store(&life->tally->cpu, lace_life_cpu(life));
}

void lace_life_bury(lace_life *life, bool failed)
{
    if (life == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (life->account != NULL)
        copy_account(life, lace_clock());
    pthread_mutex_unlock(&lock);
    close_life(life, failed);
}

void lace_life_fail(lace_life *life, const char *text)
{
    if (life == NULL || !lace_ledger_keeps)
        return;
    pthread_mutex_lock(&lock);
    free(life->failure);
    life->failure = strdup(text);
    if (life->account != NULL) {
        lace_text_print(life->account->failure, sizeof life->account->failure, "%s", text);
        atomic_store(&life->account->failed, true);
    }
    pthread_mutex_unlock(&lock);
}

void lace_life_wrote(lace_life *life, size_t bytes, int64_t started)
{
    if (life == NULL)
        return;
    int64_t now = lace_clock();
    atomic_fetch_add_explicit(&life->tally->written, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&life->tally->blocked, (uint64_t)(now - started), memory_order_relaxed);
    lace_end_waited(NULL, LACE_FOR_OUTPUT, started);
}

uint64_t lace_life_cpu(const lace_life *life)
{
    struct timespec used;
    pid_t tid = atomic_load(&life->tally->tid);
    uint64_t known = atomic_load(&life->tally->cpu), before = atomic_load(&life->tally->cpu_before);
    if (known != 0 || tid == 0)
        return known != 0 ? known : before;
    /* The clock of a thread, or of a whole process, by its number, as the kernel has it; what is gone has none. */
    clockid_t clock = (clockid_t)((~(unsigned)tid << 3) | (life->alone ? 2 : 6));
    if (clock_gettime(clock, &used) != 0)
        return before;
    return before + (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

/* Locked: the strand, a new one if need be; NULL: there is no room. */
static lace_strand *find_strand(lace_life *life, uint32_t channel, bool sends)
{
    lace_account *account = life->account;
    lace_strand *strands = account != NULL ? account->strands : life->strands;
    size_t count = account != NULL ? atomic_load(&account->strand_count) : life->strand_count;
    for (size_t i = 0; i < count; i++)
        if (strands[i].channel == channel && strands[i].sends == sends)
            return &strands[i];
    if (count >= (account != NULL ? LACE_SHOWN_STRANDS : KEPT))
        return NULL;
    if (account == NULL) {
        strands = realloc(strands, (count + 1) * sizeof *strands);
        if (strands == NULL)
            return NULL;
        life->strands = strands;
    }
    strands[count] = (lace_strand){.channel = channel, .sends = sends};
    if (account != NULL)
        atomic_store_explicit(&account->strand_count, (uint32_t)count + 1, memory_order_release);
    else
        life->strand_count = count + 1;
    return &strands[count];
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
    lace_strand *strand = find_strand(life, end->view.ring->listed, sender != NULL);
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
    uint64_t queued = ret_sight->sent - ret_sight->received + ret_sight->back;
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

void lace_ledger_number_from(unsigned seat)
{
    last_number = UINT32_C(0x80000000) | (seat << 22);
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
    lace_text_print(listed->name, sizeof listed->name, "%s", lace_sender_name(sender));
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
