/* trace.c - what each thread did, event by event, in memory of its own. */
#define _GNU_SOURCE
#include "trace.h"
#include "text.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

atomic_bool lace_tracing;
_Thread_local uint64_t lace_track_owner;

static pthread_mutex_t tracks_lock = PTHREAD_MUTEX_INITIALIZER; /* guards tracks and track_room */
static struct lace_track *tracks;
static uint64_t track_room;
static _Atomic uint64_t generation; /* written under it; tells tracks of before lace_trace_end() from those of after */

static _Thread_local struct lace_track *own_track;
static _Thread_local uint64_t own_generation;

void lace_trace_begin(uint64_t room)
{
    pthread_mutex_lock(&tracks_lock);
    track_room = room;
    generation++;
    pthread_mutex_unlock(&tracks_lock);
    atomic_store(&lace_tracing, true);
}

static size_t size_of(uint64_t room)
{
    return sizeof(struct lace_event_ring) + room * sizeof(struct lace_event);
}

static void free_track(struct lace_track *track)
{
    if (track->block != NULL)
        lace_block_destroy(track->block);
    else
        munmap(track->ring, size_of(track->room));
    free(track);
}

void lace_trace_end(void)
{
    atomic_store(&lace_tracing, false);
    pthread_mutex_lock(&tracks_lock);
    while (tracks != NULL) {
        struct lace_track *next = tracks->next;

        free_track(tracks);
        tracks = next;
    }
    generation++;
    pthread_mutex_unlock(&tracks_lock);
}

const struct lace_track *lace_trace_tracks(void)
{
    pthread_mutex_lock(&tracks_lock);
    const struct lace_track *first = tracks;
    pthread_mutex_unlock(&tracks_lock);
    return first;
}

/* A new track of this thread; NULL when there is no memory: its events are lost then. */
static struct lace_track *make_track(void)
{
    struct lace_track *track = calloc(1, sizeof *track);

    if (track == NULL)
        return NULL;
    pthread_mutex_lock(&tracks_lock);
    track->room = track_room;
    /* Memory comes with the first touch: a thread with few events has few pages. */
    track->ring = mmap(NULL, size_of(track->room), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (track->ring == MAP_FAILED) {
        free(track);
        track = NULL;
    } else {
        track->owner = lace_track_owner;
        pthread_getname_np(pthread_self(), track->name, sizeof track->name);
        track->next = tracks;
        tracks = track;
        own_generation = generation;
    }
    pthread_mutex_unlock(&tracks_lock);
    own_track = track;
    return track;
}

lace_status lace_trace_lend(lace_region *region, lace_block **ret_block)
{
    pthread_mutex_lock(&tracks_lock);
    uint64_t room = track_room;
    pthread_mutex_unlock(&tracks_lock);
    lace_status status = lace_block_create(region, size_of(room), ret_block);
    if (status == LACE_OK)
        atomic_store(&((struct lace_event_ring *)lace_block_data(*ret_block))->count, 0);
    return status;
}

void lace_trace_list(lace_block *block, uint64_t owner, const char *name)
{
    struct lace_track *track = calloc(1, sizeof *track);

    if (track == NULL) {
        lace_block_destroy(block);
        return;
    }
    *track = (struct lace_track){.owner = owner, .block = block, .ring = lace_block_data(block)};
    lace_text_print(track->name, sizeof track->name, "%s", name);
    pthread_mutex_lock(&tracks_lock);
    track->room = track_room;
    track->next = tracks;
    tracks = track;
    pthread_mutex_unlock(&tracks_lock);
}

void lace_trace_borrow(lace_block *block)
{
    struct lace_track *track = calloc(1, sizeof *track);
    uint64_t room = (lace_block_size(block) - sizeof(struct lace_event_ring)) / sizeof(struct lace_event);

    lace_trace_begin(room);
    if (track == NULL)
        return;
    track->room = room;
    track->ring = lace_block_data(block);
    own_track = track;
    own_generation = atomic_load(&generation);
}

void lace_trace_add(const struct lace_event *event)
{
    struct lace_track *track = own_track;

    if (track == NULL || own_generation != atomic_load_explicit(&generation, memory_order_relaxed))
        track = make_track();
    if (track == NULL)
        return;
    uint64_t count = atomic_load_explicit(&track->ring->count, memory_order_relaxed);
    track->ring->events[count & (track->room - 1)] = *event;
    atomic_store_explicit(&track->ring->count, count + 1, memory_order_release);
}

static uint64_t depth(const struct lace_ring *ring)
{
    return atomic_load_explicit(&ring->tail, memory_order_relaxed) -
           atomic_load_explicit(&ring->head, memory_order_relaxed);
}

void lace_trace_passed(const struct lace_view *view, enum lace_side side)
{
    const struct lace_ring *ring = view->ring;
    const _Atomic uint64_t *passed = side == LACE_SIDE_SENDER ? &ring->tail : &ring->head;

    if (ring->listed == 0)
        return;
    const struct lace_event event = {
        .time = lace_clock(),
        .span = depth(ring),
        .sequence = atomic_load_explicit(passed, memory_order_relaxed) +
                    atomic_load_explicit(&ring->handed, memory_order_relaxed) - 1,
        .channel = ring->listed,
        .kind = side == LACE_SIDE_SENDER ? LACE_EVENT_SENT : LACE_EVENT_RECEIVED,
    };
    lace_trace_add(&event);
}

void lace_trace_handed(const struct lace_view *view, enum lace_side side, uint64_t sequence, int64_t time)
{
    const struct lace_event event = {
        .time = time,
        .span = depth(view->ring),
        .sequence = sequence,
        .channel = view->ring->listed,
        .kind = side == LACE_SIDE_SENDER ? LACE_EVENT_SENT : LACE_EVENT_RECEIVED,
    };

    if (event.channel != 0)
        lace_trace_add(&event);
}
