/* sampler.c - a thread that looks at the accounts again and again, while the host is watched.
 *
 * How long a channel is full or empty is found out by looking, so that sending and receiving need not tell. Samples are kept
 * at moments that all accounts share; when there are too many, every other one goes, so that a run of any length has some
 * hundreds. */
#include <stdlib.h>
#include <time.h>

#include "ledger.h"

#define PERIOD ((int64_t)5 * 1000 * 1000) /* ns between two looks */
#define SHARE 50                          /* a look takes one part in so many of the time, at most */
#define MOMENTS 1024                      /* samples kept */
#define SERIES 256                        /* so many workers, and channels, have samples */

static pthread_t thread;
static bool running; /* by the thread that starts and stops it */
static pthread_mutex_t stop_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next */
static bool stopping;
static pthread_cond_t stopped = PTHREAD_COND_INITIALIZER;

/* Guarded by the ledger's lock. */
static int64_t moments[MOMENTS];
static size_t moment_count;
static int64_t spacing;

const int64_t *lace_sampler_moments(size_t *ret_count)
{
    *ret_count = moment_count;
    return moments;
}

/* Room for one more sample of `size` bytes: samples[0] is of the moment `first`, and all since are there. False: no memory. */
static bool make_room(void **samples, size_t size, size_t count, size_t *room)
{
    if (count < *room)
        return true;
    size_t wanted = *room != 0 ? *room * 2 : 16;
    void *grown = realloc(*samples, wanted * size);
    if (grown == NULL)
        return false;
    *samples = grown;
    *room = wanted;
    return true;
}

/* Whether an account has no more samples: the last one was taken after its end (0: it has not ended), or one is missing. */
static bool is_over(size_t next, int64_t ended)
{
    return next != moment_count - 1 || (ended != 0 && moments[next - 1] >= ended);
}

static void read_life(const lace_life *life, lace_life_sample *ret_sample)
{
    struct lace_reading reading;
    lace_meter_read(&life->tally->meter, &reading);
    for (int i = 0; i < LACE_PURPOSES; i++)
        ret_sample->waited[i] = reading.waited[i];
    ret_sample->cpu = lace_life_cpu(life);
}

static void sample_life(lace_life *life)
{
    if (life->sample_count == 0)
        life->first = moment_count - 1;
    else if (is_over(life->first + life->sample_count, atomic_load(&life->ended)))
        return;
    if (!make_room((void **)&life->samples, sizeof *life->samples, life->sample_count, &life->sample_room))
        return;
    read_life(life, &life->samples[life->sample_count++]);
}

static void sample_channel(lace_listed *listed)
{
    lace_sight sight;
    uint64_t depth;
    if (listed->sample_count == 0)
        listed->first = moment_count - 1;
    else if (is_over(listed->first + listed->sample_count, listed->look != NULL ? 0 : listed->ended))
        return;
    if (!make_room((void **)&listed->samples, sizeof *listed->samples, listed->sample_count, &listed->sample_room))
        return;
    lace_listed_sample *sample = &listed->samples[listed->sample_count++];
    lace_listed_read(listed, &sight, &depth);
    sample->received = sight.received;
    sample->depth = listed->depth;
}

/* Adds the time since the last look to what the channel was found to be. */
static void weigh(lace_listed *listed, int64_t now)
{
    lace_sight sight;
    uint64_t depth;
    if (listed->look == NULL)
        return;
    bool begun = listed->sampled != 0;
    uint64_t passed = (uint64_t)(now - (begun ? listed->sampled : listed->began));
    lace_listed_read(listed, &sight, &depth);
    if (sight.senders == 0 && depth == 0)
        return; /* nothing will come any more: neither full nor empty means anything */
    listed->sampled = now;
    listed->watched_ns += passed;
    /* A sender that waits says that it is full, also where max_bytes or a rendezvous makes it so. */
    if (sight.sending != 0 || (listed->capacity != 0 && depth >= listed->capacity))
        listed->full_ns += passed;
    else if (depth == 0)
        listed->empty_ns += passed;
    listed->depth += (double)depth * (double)passed;
}

/* Every other sample goes, of moments too: what is left is at the moments 0, 2, 4 ... of before. */
static size_t halve(void *samples, size_t size, size_t *first, size_t count)
{
    size_t odd = *first & 1, kept = 0;
    char *bytes = samples;
    for (size_t i = odd; i < count; i += 2, kept++)
        __builtin_memmove(bytes + kept * size, bytes + i * size, size);
    *first = (*first + odd) / 2;
    return kept;
}

static void thin_out(void)
{
    for (size_t i = 0; i < moment_count; i += 2)
        moments[i / 2] = moments[i];
    moment_count = (moment_count + 1) / 2;
    spacing *= 2;
    for (lace_life *life = lace_ledger_lives(); life != NULL; life = life->next)
        life->sample_count = halve(life->samples, sizeof *life->samples, &life->first, life->sample_count);
    for (lace_listed *listed = lace_ledger_channels(); listed != NULL; listed = listed->next)
        listed->sample_count = halve(listed->samples, sizeof *listed->samples, &listed->first, listed->sample_count);
}

/* One look at everything. */
static void look(bool last)
{
    lace_ledger_lock();
    int64_t now = lace_clock();
    size_t series = 0;
    for (lace_listed *listed = lace_ledger_channels(); listed != NULL; listed = listed->next)
        weigh(listed, now);
    bool due = moment_count == 0 || now - moments[moment_count - 1] >= spacing || last;
    if (due && moment_count == MOMENTS)
        thin_out();
    if (due) {
        moments[moment_count++] = now;
        for (lace_life *life = lace_ledger_lives(); life != NULL && series < SERIES; life = life->next, series++)
            sample_life(life);
        series = 0;
        for (lace_listed *l = lace_ledger_channels(); l != NULL && series < SERIES; l = l->next, series++)
            sample_channel(l);
    }
    lace_ledger_unlock();
}

static void *run(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "sampler");
    pthread_mutex_lock(&stop_lock);
    while (!stopping) {
        pthread_mutex_unlock(&stop_lock);
        int64_t began = lace_clock();
        look(false);
        int64_t took = lace_clock() - began, next = began + PERIOD;
        if (next < began + took * SHARE)
            next = began + took * SHARE;
        const struct timespec until = {.tv_sec = next / 1000000000, .tv_nsec = next % 1000000000};
        pthread_mutex_lock(&stop_lock);
        if (!stopping)
            pthread_cond_clockwait(&stopped, &stop_lock, CLOCK_MONOTONIC, &until);
    }
    pthread_mutex_unlock(&stop_lock);
    return NULL;
}

const char *lace_sampler_start(void)
{
    moment_count = 0;
    spacing = PERIOD;
    stopping = false;
    running = pthread_create(&thread, NULL, run, NULL) == 0;
    return running ? NULL : "no thread to look at the workers with";
}

void lace_sampler_stop(void)
{
    if (!running)
        return;
    pthread_mutex_lock(&stop_lock);
    stopping = true;
    pthread_cond_signal(&stopped);
    pthread_mutex_unlock(&stop_lock);
    pthread_join(thread, NULL);
    running = false;
    look(true);
}
