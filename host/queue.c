/* queue.c - a queue: one channel, or channels one after another. */
#include <pthread.h>
#include <stdlib.h>

#include "directory.h"

#define FIRST_SEGMENT ((size_t)64) /* messages in the first channel of a queue without a size */
#define LARGEST_SEGMENT ((size_t)65536)

typedef struct segment {
    lace_receiver *receiver;
    size_t capacity;
    unsigned users; /* threads that are receiving from it; under the queue's lock */
    bool drained;   /* it has been taken out of the chain; likewise */
    struct segment *next;
} segment;

struct lace_queue {
    lace_region *region;
    size_t size;          /* 0: none */
    pthread_mutex_t lock; /* guards the chain, and putting where there is no size; never held while waiting */
    segment *first, *last;
    lace_sender *sender; /* the only one of the last segment: to close it is to end the segment */
};

static lace_status make_segment(lace_region *region, size_t capacity, segment **ret_segment, lace_sender **ret_sender)
{
    segment *made = calloc(1, sizeof *made);
    if (made == NULL)
        return LACE_NOMEM;
    made->capacity = capacity;
    lace_channel_options options = {.capacity = capacity, .name = "queue"};
    lace_status status = lace_channel_create(region, &options, ret_sender, &made->receiver);
    if (status == LACE_OK)
        *ret_segment = made;
    else
        free(made);
    return status;
}

static void destroy_segment(segment *gone)
{
    lace_receiver_destroy(gone->receiver);
    free(gone);
}

lace_status lace_queue_create(lace_region *region, size_t size, lace_queue **ret_queue)
{
    lace_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL)
        return LACE_NOMEM;
    queue->region = region;
    queue->size = size;
    lace_status status = make_segment(region, size ? size : FIRST_SEGMENT, &queue->first, &queue->sender);
    if (status != LACE_OK) {
        free(queue);
        return status;
    }
    queue->last = queue->first;
    pthread_mutex_init(&queue->lock, NULL);
    *ret_queue = queue;
    return LACE_OK;
}

void lace_queue_destroy(lace_queue *queue)
{
    if (queue == NULL)
        return;
    lace_sender_destroy(queue->sender);
    while (queue->first != NULL) {
        segment *next = queue->first->next;
        destroy_segment(queue->first);
        queue->first = next;
    }
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* Begins a larger segment. The one before it ends: its receivers drain it, and then go on to this one. */
static lace_status grow(lace_queue *queue)
{
    size_t capacity = queue->last->capacity * 2;
    segment *made;
    lace_sender *sender;
    lace_status status = make_segment(queue->region, capacity < LARGEST_SEGMENT ? capacity : LARGEST_SEGMENT, &made,
                                      &sender);
    if (status != LACE_OK)
        return status;
    queue->last->next = made; /* before the end of the last one, which sends its receivers here */
    queue->last = made;
    lace_sender_destroy(queue->sender);
    queue->sender = sender;
    return LACE_OK;
}

lace_status lace_queue_put(lace_queue *queue, const lace_payload *payload, const lace_wait *wait)
{
    if (queue->size != 0)
        return lace_send(queue->sender, payload, wait);
    const lace_wait try = {.deadline = LACE_NOW};
    pthread_mutex_lock(&queue->lock);
    lace_status status = lace_send(queue->sender, payload, &try);
    if (status == LACE_TIMEOUT) {
        status = grow(queue);
        if (status == LACE_OK)
            status = lace_send(queue->sender, payload, &try);
    }
    pthread_mutex_unlock(&queue->lock);
    return status;
}

lace_status lace_queue_get(lace_queue *queue, lace_message *message, const lace_wait *wait)
{
    for (;;) {
        pthread_mutex_lock(&queue->lock);
        segment *from = queue->first;
        from->users++;
        pthread_mutex_unlock(&queue->lock);

        lace_status status = lace_recv(from->receiver, message, wait);

        pthread_mutex_lock(&queue->lock);
        from->users--;
        if (status == LACE_END && from == queue->first) {
            queue->first = from->next;
            from->drained = true;
        }
        bool unused = from->drained && from->users == 0;
        pthread_mutex_unlock(&queue->lock);
        if (unused)
            destroy_segment(from);
        if (status != LACE_END)
            return status;
    }
}

size_t lace_queue_length(lace_queue *queue)
{
    size_t length = 0;
    pthread_mutex_lock(&queue->lock);
    for (const segment *each = queue->first; each != NULL; each = each->next)
        length += lace_receiver_length(each->receiver);
    pthread_mutex_unlock(&queue->lock);
    /* A channel counts those whose senders wait, too. */
    return queue->size != 0 && length > queue->size ? queue->size : length;
}
