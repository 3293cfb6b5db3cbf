/* look.c - a memory channel looked at from outside. */
#include "look.h"

#include "end.h"
#include "held.h"
#include "hooks.h"
#include "receipt.h"

#include <stdlib.h>
#include <string.h>

struct lace_look {
    struct lace_view view;
    struct lace_attached *held; /* in a child process: the record of its reference */
};

const void *lace_sender_channel(const lace_sender *sender)
{
    return sender->end.pipe != NULL ? NULL : sender->end.view.ring;
}

const void *lace_receiver_channel(const lace_receiver *receiver)
{
    return receiver->end.pipe != NULL ? NULL : receiver->end.view.ring;
}

uint64_t lace_sender_id(const lace_sender *sender)
{
    return sender->end.id;
}

uint64_t lace_receiver_id(const lace_receiver *receiver)
{
    return receiver->end.id;
}

void lace_sender_mark(const lace_sender *sender, uint32_t mark)
{
    if (sender->end.pipe == NULL)
        sender->end.view.ring->mark = mark;
}

static lace_look *look_through(const struct lace_view *view)
{
    struct lace_wakes wakes = {.count = 0};

    lace_look *look = lace_allocate(sizeof *look);
    if (look == NULL)
        return NULL;
    look->view = *view;
    if (!lace_held_get(view->region, &look->held)) {
        free(look);
        return NULL;
    }
    lace_ring_lock(&look->view);
    LACE_SET(look->view.ring->references, look->view.ring->references + 1);
    lace_held_set(look->held, LACE_HELD_REFERENCE, 0, look->view.offset);
    lace_ring_unlock(&look->view, &wakes);
    lace_region_hold(look->view.region);
    return look;
}

static lace_look *look_at(const struct lace_end *end)
{
    return end->pipe == NULL ? look_through(&end->view) : NULL;
}

lace_look *lace_look_at_sender(const lace_sender *sender)
{
    return look_at(&sender->end);
}

lace_look *lace_look_at_receiver(const lace_receiver *receiver)
{
    return look_at(&receiver->end);
}

uint64_t lace_look_place(const lace_region *region, const void *channel)
{
    return lace_region_offset(region, channel);
}

const void *lace_look_named(const lace_region *region, uint64_t place)
{
    return place < region->size ? region->base + place : NULL;
}

lace_look *lace_look_at(lace_region *region, uint64_t place)
{
    struct lace_view view;

    return lace_ring_view(region, place, &view) == LACE_OK ? look_through(&view) : NULL;
}

void lace_look_finish(lace_look *look)
{
    if (look == NULL)
        return;
    lace_ring_unref(&look->view, look->held);
    lace_held_put(look->view.region, look->held);
    lace_region_drop(look->view.region);
    free(look);
}

void lace_sender_list(const lace_sender *sender, uint32_t number)
{
    if (sender->end.pipe == NULL)
        sender->end.view.ring->listed = number;
}

bool lace_look_is_last(const lace_look *look)
{
    struct lace_wakes wakes = {.count = 0};

    lace_ring_lock(&look->view);
    bool last = look->view.ring->references == 1;
    lace_ring_unlock(&look->view, &wakes);
    return last;
}

const void *lace_look_channel(const lace_look *look)
{
    return look->view.ring;
}

const char *lace_look_name(const lace_look *look)
{
    return look->view.ring->name;
}

uint32_t lace_look_mark(const lace_look *look)
{
    return look->view.ring->mark;
}

bool lace_look_is_counter(const lace_look *look)
{
    return look->view.ring->counts != 0;
}

void lace_look_see(const lace_look *look, lace_sight *ret_sight)
{
    const struct lace_ring *ring = look->view.ring;

    /* Received first: it never passes what was sent. */
    uint64_t handed = atomic_load_explicit(&ring->handed, memory_order_acquire);
    uint64_t received = atomic_load_explicit(&ring->head, memory_order_acquire);
    /* Before what is out, which was sent by those, or by such as are counted no more. */
    uint32_t senders = atomic_load_explicit(&ring->senders, memory_order_acquire);
    *ret_sight = (lace_sight){
        .senders = senders,
        .receivers = atomic_load_explicit(&ring->receivers, memory_order_acquire),
        .sent = atomic_load_explicit(&ring->tail, memory_order_acquire) + handed,
        .received = received + handed,
        .bytes = atomic_load_explicit(&ring->carried, memory_order_relaxed),
        .unconfirmed = atomic_load_explicit(&ring->out_count, memory_order_acquire),
        .back = atomic_load_explicit(&ring->back_count, memory_order_acquire),
        .sending = atomic_load_explicit(&ring->sending.count, memory_order_relaxed),
        .capacity = look->view.capacity,
        .max_bytes = look->view.max_bytes,
    };
}

/* ---- those who wait ----------------------------------------------------------------------------------- */

static struct lace_list *list_of(const lace_look *look, lace_look_list list)
{
    struct lace_ring *ring = look->view.ring;

    return list == LACE_LOOK_SENDING     ? &ring->sending
           : list == LACE_LOOK_RECEIVING ? &ring->receiving
                                         : &ring->ending;
}

/* Locked: the node at an offset, and its party; NULL where the list is damaged. */
static const struct lace_node *node_at(const lace_look *look, uint64_t offset, const struct lace_party **ret_party)
{
    const struct lace_node *node = lace_region_at(look->view.region, offset, sizeof *node, 8);

    *ret_party = node != NULL ? lace_region_at(look->view.region, node->party, sizeof **ret_party, 64) : NULL;
    return *ret_party != NULL ? node : NULL;
}

size_t lace_look_waiting(const lace_look *look, lace_look_list which, uint64_t end)
{
    struct lace_list *list = list_of(look, which);
    struct lace_wakes wakes = {.count = 0};
    size_t waiting = 0;

    lace_ring_lock(&look->view);
    uint64_t offset = list->first;
    for (uint32_t left = atomic_load_explicit(&list->count, memory_order_relaxed); left > 0 && offset != 0; left--) {
        const struct lace_party *party;
        const struct lace_node *node = node_at(look, offset, &party);

        if (node == NULL)
            break;
        /* Relaxed: whoever closes a party that is in this list does it under this lock, or it was done before by
         * somebody whose channel is looked at after this one was, or who is looked at himself: see deadlock.c. */
        if (node->end == end && atomic_load_explicit(&party->state, memory_order_relaxed) == LACE_PARTY_OPEN)
            waiting++;
        offset = node->next;
    }
    lace_ring_unlock(&look->view, &wakes);
    return waiting;
}

void lace_look_tell(const lace_look *look, lace_look_list which, uint64_t end, lace_status status)
{
    struct lace_wakes wakes = {.count = 0};

    lace_ring_lock(&look->view);
    lace_ring_tell(&look->view, list_of(look, which), end, status, &wakes);
    lace_ring_unlock(&look->view, &wakes);
}

/* ---- ends in messages --------------------------------------------------------------------------------- */

struct search {
    struct lace_region *region;
    void (*visit)(const void *channel, bool sender, void *context);
    void *context;
};

static void search_slot(const struct search *search, const struct lace_slot *slot)
{
    uint64_t front = (uint64_t)slot->attachments * sizeof(struct lace_attached);
    const unsigned char *bytes = slot->bytes;

    if (slot->attachments == 0 || slot->attachments > LACE_MAX_ATTACHMENTS)
        return;
    if (slot->content != 0)
        bytes = lace_region_at(search->region, slot->content, front, 64);
    else if (front > LACE_SLOT_INLINE)
        return;
    for (uint32_t i = 0; bytes != NULL && i < slot->attachments; i++) {
        struct lace_attached attached;
        struct lace_view view;

        memcpy(&attached, bytes + i * sizeof attached, sizeof attached);
        bool sender = attached.kind == LACE_ATTACH_SENDER;
        if ((sender || attached.kind == LACE_ATTACH_RECEIVER) &&
            lace_ring_view(search->region, attached.offset, &view) == LACE_OK)
            search->visit(view.ring, sender, search->context);
    }
}

static void search_receipt(const void *search, const struct lace_slot *slot)
{
    search_slot(search, slot);
}

void lace_look_inside(const lace_look *look, void (*visit)(const void *channel, bool sender, void *context),
                      void *context)
{
    const struct lace_view *view = &look->view;
    const struct search search = {.region = view->region, .visit = visit, .context = context};
    struct lace_list *sending = &view->ring->sending;
    struct lace_wakes wakes = {.count = 0};

    lace_ring_lock(view);
    uint64_t head = atomic_load_explicit(&view->ring->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&view->ring->tail, memory_order_relaxed);
    for (uint64_t i = head; i != tail && tail - head <= view->capacity; i++)
        search_slot(&search, &view->slots[i & view->mask]);
    if (view->redelivers)
        lace_receipt_visit(view, search_receipt, &search);
    uint64_t offset = sending->first;
    for (uint32_t left = atomic_load_explicit(&sending->count, memory_order_relaxed); left > 0 && offset != 0;
         left--) {
        const struct lace_party *party;
        const struct lace_node *node = node_at(look, offset, &party);

        if (node == NULL)
            break;
        const struct lace_slot *slot = lace_region_at(view->region, node->slot, sizeof *slot, 8);
        if (slot != NULL && atomic_load_explicit(&party->state, memory_order_relaxed) == LACE_PARTY_OPEN)
            search_slot(&search, slot);
        offset = node->next;
    }
    lace_ring_unlock(view, &wakes);
}
