/* end.c - the handles: making, closing, counting and asking them. */
#define _GNU_SOURCE
#include "end.h"

#include "await.h"
#include "bell.h"
#include "confirm.h"
#include "heap.h"
#include "hooks.h"
#include "pipe.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- making ------------------------------------------------------------------------------------------- */

lace_status lace_end_create(const struct lace_view *view, enum lace_side side, struct lace_end **ret_end)
{
    struct lace_end *end = lace_allocate(sizeof *end);

    if (end == NULL)
        return LACE_NOMEM;
    if (!lace_held_get(view->region, &end->held)) {
        free(end);
        return LACE_NOMEM;
    }
    end->view = *view;
    end->side = side;
    end->id = atomic_fetch_add_explicit(&lace_region_front(view->region)->ids, 1, memory_order_relaxed) + 1;
    memcpy(end->name, view->ring->name, sizeof end->name);
    end->name[sizeof end->name - 1] = '\0';
    lace_region_hold(view->region);
    *ret_end = end;
    return LACE_OK;
}

/* Takes a handle back that came to nothing. */
static void end_discard(struct lace_end *end)
{
    struct lace_region *region = end->view.region;

    lace_held_put(region, end->held);
    free(end);
    lace_region_drop(region);
}

lace_status lace_channel_create(lace_region *region, const lace_channel_options *options, lace_sender **ret_sender,
                                lace_receiver **ret_receiver)
{
    if (lace_forked())
        return LACE_FORKED;
    struct lace_view view;
    struct lace_end *sender;
    struct lace_end *receiver;
    struct lace_attached *held; /* the memory, until there are ends */

    if (region == NULL || ret_sender == NULL || ret_receiver == NULL)
        return LACE_INVALID;
    if (!lace_held_get(region, &held))
        return LACE_NOMEM;
    lace_status status = lace_ring_create(region, options, held, &view);
    if (status != LACE_OK)
        goto fail;
    status = lace_end_create(&view, LACE_SIDE_SENDER, &sender);
    if (status != LACE_OK)
        goto fail_ring;
    status = lace_end_create(&view, LACE_SIDE_RECEIVER, &receiver);
    if (status != LACE_OK)
        goto fail_sender;

    LACE_BEGIN();
    lace_ring_add_end(&view, LACE_SIDE_SENDER, sender->held);
    lace_ring_add_end(&view, LACE_SIDE_RECEIVER, receiver->held);
    LACE_SET(view.ring->references, 2);
    lace_held_change(held, LACE_ATTACH_NONE);
    LACE_END_SECTION();
    lace_held_put(region, held);
    *ret_sender = (lace_sender *)sender;
    *ret_receiver = (lace_receiver *)receiver;
    return LACE_OK;

fail_sender:
    end_discard(sender);
fail_ring:
    lace_ring_unref(&view, held);
fail:
    lace_held_put(region, held);
    return status;
}

static lace_status twin_of(struct lace_end *end, struct lace_end **ret_end)
{
    struct lace_wakes wakes = {.count = 0};
    struct lace_end *twin;

    if (end->pipe != NULL)
        return lace_pipe_clone(end, ret_end);
    lace_status status = lace_end_create(&end->view, end->side, &twin);
    if (status != LACE_OK)
        return status;
    lace_ring_lock(&end->view);
    if (lace_end_closed(end))
        status = LACE_CLOSED;
    else
        lace_ring_add_end(&end->view, end->side, twin->held);
    lace_ring_unlock(&end->view, &wakes);
    if (status != LACE_OK) {
        end_discard(twin);
        return status;
    }
    *ret_end = twin;
    return LACE_OK;
}

lace_status lace_sender_clone(lace_sender *sender, lace_sender **ret_sender)
{
    if (lace_forked())
        return LACE_FORKED;
    if (sender == NULL || ret_sender == NULL)
        return LACE_INVALID;
    struct lace_end *twin;
    lace_status status = twin_of(&sender->end, &twin);
    if (status == LACE_OK)
        *ret_sender = (lace_sender *)twin;
    return status;
}

lace_status lace_receiver_clone(lace_receiver *receiver, lace_receiver **ret_receiver)
{
    if (lace_forked())
        return LACE_FORKED;
    if (receiver == NULL || ret_receiver == NULL)
        return LACE_INVALID;
    struct lace_end *twin;
    lace_status status = twin_of(&receiver->end, &twin);
    if (status == LACE_OK)
        *ret_receiver = (lace_receiver *)twin;
    return status;
}

/* ---- closing ------------------------------------------------------------------------------------------ */

static void close_end(struct lace_end *end)
{
    if (end->pipe != NULL) {
        lace_pipe_close(end);
        return;
    }
    struct lace_doomed doomed = {.region = end->view.region};

    LACE_YIELD(LACE_POINT_CLOSE);
    if (end->side == LACE_SIDE_RECEIVER && end->view.redelivers) {
        /* What it has not confirmed comes back while it still counts: it may be the last. */
        if (!lace_ring_shut_end(&end->view, end->side, end->id, &end->closed))
            return;
        lace_receipt_return(end);
        lace_ring_drop_end(&end->view, end->side, 0, NULL, &doomed, end->held);
    } else {
        lace_ring_drop_end(&end->view, end->side, end->id, &end->closed, &doomed, end->held);
    }
    lace_doomed_drain(&doomed);
}

/* Takes the end's note, if it has one, out of the channel, and closes the descriptor. */
static void remove_note(struct lace_end *end)
{
    struct lace_region *region = end->view.region;
    struct lace_wakes wakes = {.count = 0};

    if (end->event == 0)
        return;
    lace_bell_forget(end);
    lace_ring_lock(&end->view);
    uint64_t *link = &end->view.ring->notes;
    while (*link != 0 && *link != end->note) {
        struct lace_note *note = lace_region_at(region, *link, sizeof *note, 8);
        if (note == NULL)
            break;
        link = &note->next;
    }
    struct lace_note *mine = lace_region_at(region, end->note, sizeof *mine, 8);
    if (*link == end->note && mine != NULL)
        LACE_SET(*link, mine->next);
    lace_ring_unlock(&end->view, &wakes);
    lace_heap_free(region, end->note, end->note_held);
    lace_held_put(region, end->note_held);
    close(end->event - 1);
}

static void destroy_end(struct lace_end *end)
{
    close_end(end);
    if (end->pipe != NULL) {
        lace_pipe_destroy(end);
        return;
    }
    remove_note(end);
    if (end->bell != 0)
        close(end->bell - 1); /* closing the end has claimed all its posts */
    lace_ring_unref(&end->view, end->held);
    end_discard(end);
}

void lace_sender_close(lace_sender *sender)
{
    if (lace_forked())
        return;
    if (sender != NULL)
        close_end(&sender->end);
}

void lace_receiver_close(lace_receiver *receiver)
{
    if (lace_forked())
        return;
    if (receiver != NULL)
        close_end(&receiver->end);
}

void lace_sender_destroy(lace_sender *sender)
{
    if (lace_forked())
        return;
    if (sender != NULL)
        destroy_end(&sender->end);
}

void lace_receiver_destroy(lace_receiver *receiver)
{
    if (lace_forked())
        return;
    if (receiver != NULL)
        destroy_end(&receiver->end);
}

lace_status lace_sender_finish(lace_sender *sender, const lace_wait *wait)
{
    if (lace_forked())
        return LACE_FORKED;
    if (sender == NULL)
        return LACE_INVALID;
    if (sender->end.pipe != NULL)
        return lace_pipe_finish(&sender->end, wait);
    if (lace_end_closed(&sender->end))
        return LACE_CLOSED;
    close_end(&sender->end);
    return LACE_OK;
}

bool lace_sender_closed(const lace_sender *sender)
{
    return sender == NULL || lace_end_closed(&sender->end);
}

bool lace_receiver_closed(const lace_receiver *receiver)
{
    return receiver == NULL || lace_end_closed(&receiver->end);
}

/* ---- sending and receiving ---------------------------------------------------------------------------- */

lace_status lace_send(lace_sender *sender, const lace_payload *payload, const lace_wait *wait)
{
    if (lace_forked())
        return LACE_FORKED;
    if (sender == NULL || payload == NULL)
        return LACE_INVALID;
    if (__builtin_expect(sender->end.pipe != NULL, 0))
        return lace_pipe_send(&sender->end, payload, wait);
    return lace_memory_send(&sender->end, payload, wait);
}

lace_status lace_recv(lace_receiver *receiver, lace_message *message, const lace_wait *wait)
{
    if (lace_forked())
        return LACE_FORKED;
    if (receiver == NULL || message == NULL)
        return LACE_INVALID;
    if (__builtin_expect(receiver->end.pipe != NULL, 0))
        return lace_pipe_recv(&receiver->end, message, wait);
    return lace_memory_recv(&receiver->end, message, wait);
}

lace_status lace_send_many(lace_sender *sender, const lace_payload *payloads, size_t count, const lace_wait *wait,
                           size_t *ret_sent)
{
    if (lace_forked())
        return LACE_FORKED;
    size_t sent = 0;
    lace_status status = LACE_OK;

    if (sender == NULL || ret_sent == NULL || (payloads == NULL && count != 0))
        return LACE_INVALID;
    if (sender->end.pipe == NULL)
        return lace_memory_send_many(&sender->end, payloads, count, wait, ret_sent);
    while (status == LACE_OK && sent < count) {
        status = lace_pipe_send(&sender->end, &payloads[sent], wait);
        if (status == LACE_OK)
            sent++;
    }
    *ret_sent = sent;
    return status;
}

lace_status lace_recv_many(lace_receiver *receiver, lace_message *const *messages, size_t count,
                           const lace_wait *wait, size_t *ret_received)
{
    if (lace_forked())
        return LACE_FORKED;
    const lace_wait now = {.deadline = LACE_NOW};
    size_t received = 0;
    lace_status status = LACE_OK;

    if (receiver == NULL || messages == NULL || count == 0 || ret_received == NULL)
        return LACE_INVALID;
    if (receiver->end.pipe == NULL)
        return lace_memory_recv_many(&receiver->end, messages, count, wait, ret_received);
    for (size_t i = 0; i < count; i++) {
        if (messages[i] == NULL)
            return LACE_INVALID;
    }
    while (status == LACE_OK && received < count) {
        status = lace_pipe_recv(&receiver->end, messages[received], received == 0 ? wait : &now);
        if (status == LACE_OK)
            received++;
    }
    if (received == 0)
        return status;
    *ret_received = received;
    return LACE_OK;
}

/* ---- asking ------------------------------------------------------------------------------------------- */

static size_t length(const struct lace_end *end)
{
    const struct lace_ring *ring = end->view.ring;

    if (end->pipe != NULL)
        return 0;
    /* The head first: it never passes the tail, so that the difference is never below zero. */
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint64_t waiting = tail - head < end->view.capacity ? tail - head : end->view.capacity;
    return (size_t)waiting + atomic_load_explicit(&ring->back_count, memory_order_relaxed) +
           atomic_load_explicit(&ring->sending.count, memory_order_relaxed);
}

size_t lace_sender_length(const lace_sender *sender)
{
    return sender != NULL ? length(&sender->end) : 0;
}

size_t lace_receiver_length(const lace_receiver *receiver)
{
    return receiver != NULL ? length(&receiver->end) : 0;
}

lace_region *lace_sender_region(const lace_sender *sender)
{
    return sender != NULL ? sender->end.view.region : NULL;
}

lace_region *lace_receiver_region(const lace_receiver *receiver)
{
    return receiver != NULL ? receiver->end.view.region : NULL;
}

size_t lace_sender_capacity(const lace_sender *sender)
{
    return sender != NULL ? (size_t)sender->end.view.capacity : 0;
}

size_t lace_receiver_capacity(const lace_receiver *receiver)
{
    return receiver != NULL ? (size_t)receiver->end.view.capacity : 0;
}

const char *lace_sender_name(const lace_sender *sender)
{
    return sender != NULL ? sender->end.name : "";
}

const char *lace_receiver_name(const lace_receiver *receiver)
{
    return receiver != NULL ? receiver->end.name : "";
}

void lace_end_waited(struct lace_end *end, enum lace_purpose purpose, int64_t started)
{
    int64_t now = lace_clock();

    if (end != NULL)
        lace_end_count_wait(end, started, now);
    lace_meter_end(purpose, started, now);
    if (lace_trace_on()) {
        const struct lace_event event = {
            .time = started,
            .span = (uint64_t)(now - started),
            .channel = end != NULL && end->pipe == NULL ? end->view.ring->listed : 0,
            .kind = LACE_EVENT_WAITED,
            .what = (uint16_t)purpose,
        };
        lace_trace_add(&event);
    }
}

static uint64_t sum(const struct lace_count *count)
{
    return atomic_load_explicit(&count->fast, memory_order_relaxed) +
           atomic_load_explicit(&count->slow, memory_order_relaxed);
}

static void stats(const struct lace_end *end, lace_stats *ret_stats)
{
    if (ret_stats == NULL)
        return;
    if (end == NULL) {
        *ret_stats = (lace_stats){0};
        return;
    }
    ret_stats->messages = sum(&end->messages);
    ret_stats->bytes = sum(&end->bytes);
    ret_stats->waits = atomic_load_explicit(&end->waits, memory_order_relaxed);
    ret_stats->blocked_ns = atomic_load_explicit(&end->blocked, memory_order_relaxed);
}

void lace_sender_stats(const lace_sender *sender, lace_stats *ret_stats)
{
    stats(sender != NULL ? &sender->end : NULL, ret_stats);
}

void lace_receiver_stats(const lace_receiver *receiver, lace_stats *ret_stats)
{
    stats(receiver != NULL ? &receiver->end : NULL, ret_stats);
}

/* ---- descriptors -------------------------------------------------------------------------------------- */

static lace_status describe(struct lace_end *end, int *ret_fd)
{
    struct lace_region *region = end->view.region;
    struct lace_wakes wakes = {.count = 0};
    struct lace_note *note = NULL;
    lace_status status = LACE_OK;

    if (end->pipe != NULL)
        return lace_pipe_fd(end, ret_fd);
    int event = lace_eventfd();
    if (event < 0)
        return LACE_SYSTEM;
    struct lace_attached *held = NULL;
    uint64_t offset = lace_held_get(region, &held) ? lace_heap_allocate(region, sizeof *note, held) : 0;
    note = lace_region_at(region, offset, sizeof *note, 8);
    if (note == NULL) {
        lace_held_put(region, held);
        close(event);
        return LACE_NOMEM;
    }

    lace_ring_lock(&end->view);
    if (lace_end_closed(end)) {
        status = LACE_CLOSED;
    } else if (end->event == 0) {
        *note = (struct lace_note){.next = end->view.ring->notes,
                                   .end = end->id,
                                   .event = event,
                                   .seat = region->seat,
                                   .sender = end->side == LACE_SIDE_SENDER};
        LACE_SET(end->view.ring->notes, offset);
        end->note = offset;
        end->note_held = held;
        end->event = event + 1;
        offset = 0;
    }
    if (status == LACE_OK)
        *ret_fd = end->event - 1;
    lace_ring_unlock(&end->view, &wakes); /* which brings the new descriptor up to date */
    if (offset != 0) {                    /* not needed: closed, or made before */
        lace_heap_free(region, offset, held);
        lace_held_put(region, held);
        close(event);
    } else {
        lace_bell_mind(end);
    }
    return status;
}

lace_status lace_sender_fd(lace_sender *sender, int *ret_fd)
{
    if (lace_forked())
        return LACE_FORKED;
    return sender == NULL || ret_fd == NULL ? LACE_INVALID : describe(&sender->end, ret_fd);
}

lace_status lace_receiver_fd(lace_receiver *receiver, int *ret_fd)
{
    if (lace_forked())
        return LACE_FORKED;
    return receiver == NULL || ret_fd == NULL ? LACE_INVALID : describe(&receiver->end, ret_fd);
}
