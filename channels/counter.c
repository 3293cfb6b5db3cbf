/* counter.c - numbers, and those who wait for them. */
#include "counter.h"

#include "end.h"
#include "hooks.h"

#include <stdlib.h>
#include <string.h>

static struct lace_ring *ring_of(lace_counter counter)
{
    return counter.sender->end.view.ring;
}

lace_status lace_counter_create(lace_region *region, int64_t number, const char *name, lace_sender **ret_sender,
                                lace_receiver **ret_receiver)
{
    const lace_channel_options options = {.capacity = 1, .name = name};
    lace_counter counter;
    lace_status status = lace_channel_create(region, &options, &counter.sender, &counter.receiver);

    if (status != LACE_OK)
        return status;
    ring_of(counter)->counts = 1;
    counter.sender->end.view.counts = true;
    counter.receiver->end.view.counts = true;
    atomic_store(&ring_of(counter)->number, number);
    atomic_store(&ring_of(counter)->awaited, INT64_MAX);
    status = lace_send(counter.sender, &(lace_payload){0}, &(lace_wait){.deadline = LACE_NOW});
    if (status != LACE_OK) {
        lace_sender_destroy(counter.sender);
        lace_receiver_destroy(counter.receiver);
        return status;
    }
    *ret_sender = counter.sender;
    *ret_receiver = counter.receiver;
    return LACE_OK;
}

bool lace_counter_is(lace_counter counter)
{
    const struct lace_end *sender = &counter.sender->end, *receiver = &counter.receiver->end;

    return sender->pipe == NULL && receiver->pipe == NULL && sender->view.ring == receiver->view.ring &&
           sender->view.ring->counts != 0;
}

/* ---- the number --------------------------------------------------------------------------------------- */

int64_t lace_counter_number(lace_counter counter)
{
    return atomic_load(&ring_of(counter)->number);
}

bool lace_counter_add(lace_counter counter, int64_t n, int64_t *ret_number)
{
    _Atomic int64_t *number = &ring_of(counter)->number;
    int64_t seen = atomic_load(number);
    int64_t sum;

    do {
        if (__builtin_add_overflow(seen, n, &sum))
            return false;
    } while (!atomic_compare_exchange_weak(number, &seen, sum));
    *ret_number = sum;
    return true;
}

void lace_counter_set(lace_counter counter, int64_t number)
{
    atomic_store(&ring_of(counter)->number, number);
}

bool lace_counter_exchange(lace_counter counter, int64_t *expected, int64_t wanted)
{
    return atomic_compare_exchange_strong(&ring_of(counter)->number, expected, wanted);
}

bool lace_counter_due(lace_counter counter)
{
    int64_t awaited = atomic_load(&ring_of(counter)->awaited);

    return atomic_load(&ring_of(counter)->number) >= awaited;
}

/* ---- those who wait ----------------------------------------------------------------------------------- */

/* The list, taken out. */
struct list {
    size_t count;
    lace_counter_watch *watches;
    lace_attachment *senders; /* one for each */
};

/* Takes what the message holds, and `joining` (or NULL) behind it. After a failure the list is empty, and all senders
 * are gone but those in the message. */
static lace_status unpack(struct list *list, lace_message *message, const lace_counter_watch *watch,
                          lace_sender *joining)
{
    size_t count = lace_message_attachments(message);
    size_t room = count + (joining != NULL);
    lace_status status = LACE_OK;

    *list = (struct list){0};
    if (lace_message_size(message) != count * sizeof *list->watches)
        return LACE_CORRUPT;
    if (room > LACE_MAX_ATTACHMENTS)
        status = LACE_NOMEM;
    list->watches = lace_allocate((room + 1) * sizeof *list->watches);
    list->senders = lace_allocate((room + 1) * sizeof *list->senders);
    if (list->watches == NULL || list->senders == NULL)
        status = LACE_NOMEM;
    if (status == LACE_OK && count != 0)
        memcpy(list->watches, lace_message_data(message), count * sizeof *list->watches);
    while (status == LACE_OK && list->count < count) {
        lace_attachment *place = &list->senders[list->count];

        status = lace_message_kind(message, list->count) == LACE_ATTACH_SENDER
                     ? lace_message_take(message, list->count, place)
                     : LACE_CORRUPT;
        list->count += status == LACE_OK;
    }
    if (status == LACE_OK && joining != NULL) {
        list->watches[count] = *watch;
        list->senders[count] = (lace_attachment){.kind = LACE_ATTACH_SENDER, .as.sender = joining};
        list->count++;
    }
    return status;
}

static void finish(struct list *list)
{
    while (list->count > 0)
        lace_sender_destroy(list->senders[--list->count].as.sender);
    free(list->watches);
    free(list->senders);
}

static int64_t least(const struct list *list)
{
    int64_t number = INT64_MAX;

    for (size_t i = 0; i < list->count; i++) {
        const lace_counter_watch *watch = &list->watches[i];

        if (watch->at_least < number)
            number = watch->at_least;
        if (watch->limit != 0 && watch->limit < number)
            number = watch->limit;
    }
    return number;
}

/* Answers those whose number has been reached, and drops those who have gone. */
static void answer(struct list *list, int64_t number)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        const lace_counter_watch *watch = &list->watches[i];
        lace_sender *sender = list->senders[i].as.sender;
        bool over = watch->limit != 0 && number >= watch->limit;
        bool reached = (over ? number - watch->limit : number) >= watch->at_least;
        bool gone = atomic_load_explicit(&sender->end.view.ring->receivers, memory_order_relaxed) == 0;

        if (!reached && !over && !gone) {
            list->watches[kept] = *watch;
            list->senders[kept++] = list->senders[i];
            continue;
        }
        if (reached && !gone && watch->size <= sizeof watch->answer) {
            const lace_payload payload = {.data = watch->answer, .size = watch->size};

            /* There is room. BROKEN: it has gone just now. */
            (void)lace_send(sender, &payload, &(lace_wait){.deadline = LACE_NOW});
        }
        lace_sender_destroy(sender);
    }
    list->count = kept;
}

/* Puts the list back. Without memory, an empty one, for which none is needed. */
static lace_status put_back(lace_counter counter, struct list *list)
{
    const lace_wait now = {.deadline = LACE_NOW};
    const lace_payload payload = {.data = list->watches,
                                  .size = list->count * sizeof *list->watches,
                                  .attachments = list->senders,
                                  .attachment_count = list->count};
    lace_status status = LACE_OK;

    if (list->count != 0) {
        status = lace_send(counter.sender, &payload, &now);
        if (status == LACE_OK) {
            list->count = 0; /* they have been taken */
            return LACE_OK;
        }
        atomic_store(&ring_of(counter)->awaited, INT64_MAX);
    }
    lace_status again = lace_send(counter.sender, &(lace_payload){0}, &now);
    return status != LACE_OK ? status : again;
}

/* Takes the list, adds `joining` (or NULL), answers, puts it back. */
static lace_status rewrite(lace_counter counter, const lace_counter_watch *watch, lace_sender *joining)
{
    struct lace_ring *ring = ring_of(counter);
    lace_message message;
    struct list list;

    lace_message_begin(&message, counter.sender->end.view.region);
    LACE_YIELD(LACE_POINT_RECV);
    lace_status status = lace_recv(counter.receiver, &message, NULL);
    if (status != LACE_OK) {
        lace_sender_destroy(joining);
        return status;
    }
    status = unpack(&list, &message, watch, joining);
    if (status == LACE_OK) {
        atomic_store(&ring->awaited, least(&list));
        answer(&list, atomic_load(&ring->number));
        atomic_store(&ring->awaited, least(&list));
        status = put_back(counter, &list);
    } else {
        struct list none = {0};

        lace_sender_destroy(joining);
        atomic_store(&ring->awaited, INT64_MAX);
        (void)put_back(counter, &none);
    }
    finish(&list);
    lace_message_clear(&message);
    return status;
}

lace_status lace_counter_settle(lace_counter counter)
{
    return rewrite(counter, NULL, NULL);
}

lace_status lace_counter_watch_for(lace_counter counter, const lace_counter_watch *watch, lace_sender *sender)
{
    if (watch->size > sizeof watch->answer) {
        lace_sender_destroy(sender);
        return LACE_INVALID;
    }
    return rewrite(counter, watch, sender);
}
