/* select.c - waiting on several cases at once, for one time.
 *
 * First a pass of tries, which touches nothing but the channels tried. When nothing can be had, the call's party is
 * opened and registered with one node per channel, in the order of the cases; each registration tries once more under
 * that channel's lock and closes the own party along with it. So exactly one case happens, whoever makes it happen.
 *
 * A PRIORITY choice that finds something other than its first case ready registers as well: only then can it be said
 * that no earlier case was ready when the later one was taken. So does a choice of several cases whose deadline has
 * passed: only then can it be said that none was ready.
 */
#define _GNU_SOURCE
#include "await.h"
#include "bell.h"
#include "cancel.h"
#include "confirm.h"
#include "heap.h"
#include "hooks.h"
#include "pipe.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NEAR 16 /* so many cases need no allocation */

/* What is known of one case. */
struct item {
    struct lace_end *end;          /* NULL for AT and READABLE */
    struct lace_outgoing outgoing; /* SEND on a memory channel */
    struct lace_node *node;        /* on a memory channel, once registered */
    struct lace_waiter waiter;     /* on a pipe */
    bool dead;                     /* dropped: the other side is gone */
};

struct choice {
    const lace_case *cases;
    const lace_wait *wait;
    size_t count;
    bool priority;
    bool parked;
    int64_t parked_at;
    size_t pipes; /* and other descriptors */
    size_t sends; /* on memory channels */
    struct lace_region *region; /* of the memory channels; NULL: there are none */
    struct item *items;
    uint32_t *order; /* for a fair choice */
    struct pollfd *polls;
    int event; /* the party's, where there are pipes; -1: none */
    struct lace_party *party;
    uint64_t memory; /* nodes and slots in the region */
    struct lace_attached *held; /* a child's record of that */
    bool redelivers;            /* some case receives from a channel that does */
    struct lace_asking asking;  /* for those */
    struct lace_party local; /* instead of one in a region */
    lace_message displaced;  /* by a send on a channel that overwrites */
    struct item near_items[NEAR];
    uint32_t near_order[NEAR];
};

/* ---- preparing ---------------------------------------------------------------------------------------- */

static lace_status check_case(struct choice *choice, size_t i)
{
    const lace_case *it = &choice->cases[i];
    struct lace_end *end = NULL;

    switch (it->kind) {
    case LACE_CASE_RECV:
        if (it->receiver == NULL || it->message == NULL)
            return LACE_INVALID;
        end = &it->receiver->end;
        if (end->pipe == NULL && it->message->region != end->view.region)
            return LACE_INVALID;
        break;
    case LACE_CASE_SEND:
        if (it->sender == NULL || it->payload == NULL)
            return LACE_INVALID;
        end = &it->sender->end;
        break;
    case LACE_CASE_ENDED:
        if (it->receiver == NULL)
            return LACE_INVALID;
        end = &it->receiver->end;
        break;
    case LACE_CASE_AT:
        break;
    case LACE_CASE_READABLE:
        if (it->fd < 0)
            return LACE_INVALID;
        choice->pipes++;
        break;
    default:
        return LACE_INVALID;
    }
    choice->items[i] = (struct item){.end = end};
    if (end == NULL)
        return LACE_OK;
    if (end->pipe != NULL) {
        choice->pipes++;
    } else {
        if (choice->region != NULL && choice->region != end->view.region)
            return LACE_INVALID;
        choice->region = end->view.region;
        choice->sends += it->kind == LACE_CASE_SEND;
    }
    return lace_end_closed(end) ? LACE_CLOSED : LACE_OK;
}

/* Whether a case receives from a channel that redelivers. */
static bool receives_again(const struct choice *choice, size_t i)
{
    return choice->cases[i].kind == LACE_CASE_RECV && choice->items[i].end->view.redelivers;
}

/* Such a case asks for its end's next message, whichever case will happen: so it confirms the last one. */
static lace_status prepare_asking(struct choice *choice, size_t i)
{
    lace_status status = lace_receipt_asked(choice->items[i].end);

    if (status == LACE_OK && !choice->redelivers)
        status = lace_asking_begin(&choice->asking, choice->region);
    choice->redelivers = true;
    choice->cases[i].message->asking = &choice->asking;
    return status;
}

static lace_status prepare(struct choice *choice)
{
    lace_status status = LACE_OK;

    choice->items = choice->near_items;
    choice->order = choice->near_order;
    if (choice->count <= NEAR) {
        memset(choice->near_items, 0, choice->count * sizeof *choice->items);
    } else {
        choice->items = lace_allocate(choice->count * sizeof *choice->items);
        choice->order = choice->priority ? NULL : lace_allocate(choice->count * sizeof *choice->order);
        if (choice->items == NULL || (choice->order == NULL && !choice->priority))
            return LACE_NOMEM;
    }
    for (size_t i = 0; i < choice->count && status == LACE_OK; i++)
        status = check_case(choice, i);
    lace_message_begin(&choice->displaced, choice->region);
    if (status == LACE_OK && choice->region != NULL)
        status = lace_message_ready(&choice->displaced);
    for (size_t i = 0; i < choice->count && status == LACE_OK; i++) {
        struct item *item = &choice->items[i];

        if (choice->cases[i].kind == LACE_CASE_RECV) {
            lace_message_reset(choice->cases[i].message);
            if (item->end->pipe == NULL)
                status = lace_message_ready(choice->cases[i].message);
            if (status == LACE_OK && receives_again(choice, i))
                status = prepare_asking(choice, i);
        } else if (choice->cases[i].kind == LACE_CASE_SEND && item->end->pipe == NULL) {
            status = lace_outgoing_prepare(&item->end->view, choice->cases[i].payload, &item->outgoing);
        } else if (choice->cases[i].kind == LACE_CASE_SEND) {
            status = lace_pipe_check(choice->cases[i].payload);
        }
    }
    return status;
}

/* Lets go of everything; `winner` is the case that happened, or count. */
static void finish(struct choice *choice, size_t winner)
{
    for (size_t i = 0; choice->sends != 0 && i < choice->count; i++) {
        struct lace_outgoing *outgoing = &choice->items[i].outgoing;

        if (i != winner)
            lace_outgoing_discard(choice->region, outgoing);
    }
    if (choice->redelivers) {
        for (size_t i = 0; i < choice->count; i++) {
            if (choice->cases[i].kind == LACE_CASE_RECV && choice->cases[i].message != NULL)
                choice->cases[i].message->asking = NULL;
        }
        lace_asking_finish(&choice->asking);
    }
    if (choice->region != NULL) {
        lace_message_clear(&choice->displaced);
        if (choice->memory != 0)
            lace_heap_free(choice->region, choice->memory, choice->held);
        lace_held_put(choice->region, choice->held);
        if (choice->party != NULL) {
            choice->party->event = -1;
            lace_party_put(choice->region, choice->party);
        }
    }
    /* Last: among the attachments that are taken now may be an end of the choice itself. */
    if (winner < choice->count && choice->items[winner].outgoing.payload != NULL)
        lace_outgoing_sent(choice->region, &choice->items[winner].outgoing);
    if (choice->event >= 0)
        close(choice->event);
    free(choice->polls);
    if (choice->items != choice->near_items)
        free(choice->items);
    if (choice->order != choice->near_order)
        free(choice->order);
}

/* ---- trying ------------------------------------------------------------------------------------------- */

static struct lace_list *list_of(const struct choice *choice, size_t i)
{
    struct lace_ring *ring = choice->items[i].end->view.ring;

    switch (choice->cases[i].kind) {
    case LACE_CASE_SEND:
        return &ring->sending;
    case LACE_CASE_ENDED:
        return &ring->ending;
    default:
        return &ring->receiving;
    }
}

/* Locked: tries a case of a memory channel, and closes `self` along with it where that is given. */
static lace_status try_locked(struct choice *choice, size_t i, struct lace_party *self, struct lace_wakes *wakes)
{
    struct item *item = &choice->items[i];
    lace_status status;

    if (lace_end_closed(item->end))
        return LACE_CLOSED;
    switch (choice->cases[i].kind) {
    case LACE_CASE_SEND:
        status = item->end->view.overwrites
                     ? lace_ring_replace(&item->end->view, &item->outgoing, self, &choice->displaced, wakes)
                     : lace_ring_send(&item->end->view, &item->outgoing, self, wakes);
        if (status == LACE_OK)
            lace_end_count(item->end, item->outgoing.weight);
        return status;
    case LACE_CASE_RECV:
        if (__builtin_expect(choice->redelivers, 0))
            choice->asking.end = item->end->id;
        status = lace_ring_recv(&item->end->view, choice->cases[i].message, self, wakes);
        if (status == LACE_OK)
            lace_end_count_received(item->end, choice->cases[i].message);
        return status;
    default:
        if (atomic_load_explicit(&item->end->view.ring->senders, memory_order_relaxed) != 0)
            return LACE_AGAIN;
        return self == NULL || lace_party_withdraw(self) ? LACE_OK : LACE_TAKEN;
    }
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

/* Tries a case on its own. END and BROKEN drop it: AGAIN then. */
static lace_status try_case(struct choice *choice, size_t i)
{
    const lace_case *it = &choice->cases[i];
    struct item *item = &choice->items[i];
    lace_status status;

    if (item->dead)
        return LACE_AGAIN;
    if (it->kind == LACE_CASE_AT)
        return lace_deadline_passed(it->at) ? LACE_OK : LACE_AGAIN;
    if (it->kind == LACE_CASE_READABLE)
        return is_readable(it->fd) ? LACE_OK : LACE_AGAIN;
    if (item->end->pipe == NULL) {
        struct lace_wakes wakes = {.count = 0};

        lace_ring_lock(&item->end->view);
        status = try_locked(choice, i, NULL, &wakes);
        lace_ring_unlock(&item->end->view, &wakes);
    } else if (it->kind == LACE_CASE_RECV) {
        status = lace_pipe_try_recv(item->end, it->message);
    } else if (it->kind == LACE_CASE_SEND) {
        status = lace_pipe_try_send(item->end, it->payload, choice->wait, choice->parked);
    } else {
        status = lace_end_closed(item->end) ? LACE_CLOSED : lace_pipe_ended(item->end) ? LACE_OK : LACE_AGAIN;
    }
    if (status != LACE_END && status != LACE_BROKEN)
        return status;
    item->dead = true;
    return LACE_AGAIN;
}

/* Without any lock: whether trying a case could be worth it. */
static bool peek_case(struct choice *choice, size_t i)
{
    const lace_case *it = &choice->cases[i];
    struct item *item = &choice->items[i];

    if (item->dead)
        return false;
    if (it->kind == LACE_CASE_AT)
        return lace_deadline_passed(it->at);
    if (it->kind == LACE_CASE_READABLE)
        return is_readable(it->fd);
    if (lace_end_closed(item->end))
        return true;
    if (it->kind == LACE_CASE_ENDED)
        return item->end->pipe != NULL
                   ? lace_pipe_ended(item->end)
                   : atomic_load_explicit(&item->end->view.ring->senders, memory_order_acquire) == 0;
    if (item->end->pipe != NULL)
        return lace_pipe_peek(item->end);
    return it->kind == LACE_CASE_SEND ? lace_ring_peek_send(&item->end->view) : lace_ring_peek_recv(&item->end->view);
}

static uint64_t random_number(void)
{
    static _Thread_local uint64_t state;

    if (state == 0)
        state = (uint64_t)lace_clock() ^ (uint64_t)lace_self() << 32;
    state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t mixed = (state ^ state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

/* Tries every case once, in a random order. */
static lace_status try_fair(struct choice *choice, size_t *ret_index)
{
    for (size_t i = 0; i < choice->count; i++)
        choice->order[i] = (uint32_t)i;
    for (size_t i = 0; i < choice->count; i++) {
        size_t other = i + (size_t)(random_number() % (choice->count - i));
        uint32_t picked = choice->order[other];

        choice->order[other] = choice->order[i];
        lace_status status = try_case(choice, picked);
        if (status != LACE_AGAIN) {
            *ret_index = picked;
            return status;
        }
    }
    return LACE_AGAIN;
}

/* Takes the first case when it is ready; *ret_more tells whether a later one could be. */
static lace_status try_first(struct choice *choice, size_t *ret_index, bool *ret_more)
{
    bool earlier = false;

    *ret_more = false;
    for (size_t i = 0; i < choice->count; i++) {
        if (choice->items[i].dead)
            continue;
        if (!peek_case(choice, i)) {
            earlier = true;
            continue;
        }
        if (earlier) {
            *ret_more = true;
            return LACE_AGAIN;
        }
        lace_status status = try_case(choice, i);
        if (status != LACE_AGAIN) {
            *ret_index = i;
            return status;
        }
        earlier = !choice->items[i].dead;
    }
    return LACE_AGAIN;
}

static bool any_alive(const struct choice *choice)
{
    for (size_t i = 0; i < choice->count; i++) {
        if (!choice->items[i].dead)
            return true;
    }
    return false;
}

/* ---- registering -------------------------------------------------------------------------------------- */

/* A child's record of the message that a case sends or receives. */
static struct lace_attached *record_of(const struct choice *choice, size_t i)
{
    switch (choice->cases[i].kind) {
    case LACE_CASE_SEND:
        return choice->items[i].outgoing.held;
    case LACE_CASE_RECV:
        return receives_again(choice, i) ? choice->asking.held : choice->cases[i].message->held;
    default:
        return NULL;
    }
}

/* Gets the party, nodes and slots, once per call. */
static lace_status equip(struct choice *choice)
{
    int event = -1;

    if (choice->party != NULL)
        return LACE_OK;
    if (choice->pipes != 0) {
        event = lace_eventfd();
        if (event < 0)
            return LACE_SYSTEM;
        choice->event = event;
        choice->polls = lace_allocate((choice->pipes + 1) * sizeof *choice->polls);
        if (choice->polls == NULL)
            return LACE_NOMEM;
    }
    if (choice->region == NULL) {
        memset(&choice->local, 0, sizeof choice->local);
        choice->local.event = event;
        choice->party = &choice->local;
        return LACE_OK;
    }

    uint64_t nodes = (choice->count * sizeof(struct lace_node) + 63) / 64 * 64;
    if (choice->held == NULL && !lace_held_get(choice->region, &choice->held))
        return LACE_NOMEM;
    choice->memory =
        lace_heap_allocate(choice->region, nodes + choice->sends * sizeof(struct lace_slot), choice->held);
    if (choice->memory == 0)
        return LACE_NOMEM;
    struct lace_party *party = lace_party_get(choice->region);
    if (party == NULL)
        return LACE_NOMEM;
    choice->party = party;
    party->event = event;

    uint64_t slot = choice->memory + nodes;
    for (size_t i = 0; i < choice->count; i++) {
        struct item *item = &choice->items[i];

        if (item->end == NULL || item->end->pipe != NULL)
            continue;
        item->node = (struct lace_node *)(choice->region->base + choice->memory) + i;
        *item->node = (struct lace_node){.party = lace_region_offset(choice->region, party),
                                         .slot = party->node.slot,
                                         .end = item->end->id,
                                         .held = lace_held_offset(choice->region, record_of(choice, i)),
                                         .index = (uint32_t)i,
                                         .seat = (uint16_t)choice->region->seat};
        if (choice->cases[i].kind == LACE_CASE_SEND) {
            item->node->slot = slot;
            lace_outgoing_store(&item->outgoing, (struct lace_slot *)(choice->region->base + slot));
            slot += sizeof(struct lace_slot);
        }
    }
    return LACE_OK;
}

/* Puts the node of each living case into its channel's list. AGAIN when all are in; anything else is what came of it:
 * OK and *ret_index, TAKEN when somebody claimed the party meanwhile, RETRY. */
static lace_status register_all(struct choice *choice, size_t *ret_index)
{
    for (size_t i = 0; i < choice->count; i++) {
        struct item *item = &choice->items[i];
        lace_status status = LACE_AGAIN;

        if (item->dead)
            continue;
        LACE_YIELD(LACE_POINT_REGISTER);
        if (item->node != NULL) {
            struct lace_wakes wakes = {.count = 0};

            lace_ring_lock(&item->end->view);
            status = try_locked(choice, i, choice->party, &wakes);
            if (status == LACE_AGAIN)
                lace_ring_enqueue(&item->end->view, list_of(choice, i), item->node);
            lace_ring_unlock(&item->end->view, &wakes);
        } else if (choice->priority && peek_case(choice, i)) {
            /* AT, READABLE, or a pipe. A closed party is not opened again while it is registered. */
            if (!lace_party_withdraw(choice->party))
                return LACE_TAKEN;
            status = try_case(choice, i);
            if (status == LACE_AGAIN)
                return LACE_RETRY;
        }
        if (status == LACE_END || status == LACE_BROKEN) {
            item->dead = true;
            status = LACE_AGAIN;
        }
        if (status != LACE_AGAIN) {
            *ret_index = i;
            return status;
        }
    }
    return any_alive(choice) ? LACE_AGAIN : LACE_END;
}

/* Takes all nodes out. The party is closed. */
static void unregister_all(struct choice *choice)
{
    LACE_YIELD(LACE_POINT_UNLINK);
    for (size_t i = 0; i < choice->count && choice->region != NULL; i++) {
        struct item *item = &choice->items[i];
        struct lace_wakes wakes = {.count = 0};

        if (item->node == NULL)
            continue;
        lace_ring_lock(&item->end->view);
        lace_ring_unlink(&item->end->view, list_of(choice, i), item->node, &wakes);
        lace_ring_unlock(&item->end->view, &wakes);
    }
}

/* ---- waiting ------------------------------------------------------------------------------------------ */

/* The earliest of the deadline and the AT cases. */
static int64_t next_time(const struct choice *choice)
{
    int64_t time = lace_wait_deadline(choice->wait);

    for (size_t i = 0; i < choice->count; i++) {
        if (choice->cases[i].kind == LACE_CASE_AT && choice->cases[i].at != LACE_NEVER &&
            (time == LACE_NEVER || choice->cases[i].at < time))
            time = choice->cases[i].at;
    }
    return time;
}

/* Sleeps in poll until the party is done (true), a pipe is ready, or the time has come. */
static bool poll_pipes(struct choice *choice, nfds_t count, int64_t deadline)
{
    choice->polls[0] = (struct pollfd){.fd = choice->party->event, .events = POLLIN};
    for (;;) {
        struct timespec span = {0};

        if (deadline > 0) {
            int64_t left = deadline - lace_clock();
            if (left <= 0)
                return false;
            span = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        }
        int ready = ppoll(choice->polls, count, deadline > 0 ? &span : NULL, NULL);
        if (lace_party_done(choice->party))
            return true;
        if (ready > 0 && choice->polls[0].revents == 0)
            return false;
        if (ready < 0 && errno != EINTR)
            return false;
        /* The eventfd is readable and DONE not yet to be seen: it is being written just now, or a moment later. */
        if (ready > 0)
            return lace_party_wait(choice->party, LACE_NEVER, false);
    }
}

/* Waits for pipes and other descriptors along with the rest. */
static bool wait_pipes(struct choice *choice, int64_t deadline)
{
    nfds_t count = 1;
    bool sleep = true;
    size_t entered = 0;

    for (; entered < choice->count && sleep; entered++) {
        struct item *item = &choice->items[entered];

        if (choice->cases[entered].kind == LACE_CASE_READABLE)
            choice->polls[count++] = (struct pollfd){.fd = choice->cases[entered].fd, .events = POLLIN};
        if (item->dead || item->end == NULL || item->end->pipe == NULL)
            continue;
        sleep = lace_pipe_enter(item->end, choice->cases[entered].kind == LACE_CASE_ENDED, &item->waiter,
                                choice->party, &choice->polls[count]);
        count++;
    }
    bool done = sleep && poll_pipes(choice, count, deadline);
    for (size_t i = 0; i < entered; i++) {
        struct item *item = &choice->items[i];

        if (!item->dead && item->end != NULL && item->end->pipe != NULL)
            lace_pipe_leave(item->end, &item->waiter);
    }
    return done;
}

/* What the claimed party has to say. */
static lace_status read_result(struct choice *choice, size_t *ret_index)
{
    struct lace_party *party = choice->party;
    lace_status status = (lace_status)party->status;
    uint32_t index = party->index;

    if (index == LACE_NO_CASE || index >= choice->count || status != LACE_OK)
        return status;
    *ret_index = index;
    if (choice->cases[index].kind == LACE_CASE_SEND) {
        lace_end_count_slow(choice->items[index].end, choice->items[index].outgoing.weight);
        if (lace_trace_on())
            lace_trace_handed(&choice->items[index].end->view, LACE_SIDE_SENDER, party->sequence, choice->parked_at);
        return LACE_OK;
    }
    status = receives_again(choice, index) ? lace_receipt_handed(choice->cases[index].message, &party->slot)
                                           : lace_message_load(choice->cases[index].message, &party->slot);
    if (status != LACE_OK)
        return status;
    lace_end_count_slow(choice->items[index].end, choice->cases[index].message->weight);
    if (lace_trace_on())
        lace_trace_handed(&choice->items[index].end->view, LACE_SIDE_RECEIVER, party->sequence, lace_clock());
    return LACE_OK;
}

/* What the wait is for, as long as nobody knows which case will happen. */
static enum lace_purpose purpose_of(const struct choice *choice)
{
    enum lace_purpose purpose = LACE_FOR_OTHER;

    for (size_t i = 0; i < choice->count && purpose != LACE_FOR_INPUT; i++) {
        lace_case_kind kind = choice->cases[i].kind;

        if ((kind == LACE_CASE_RECV || kind == LACE_CASE_SEND) && !choice->items[i].dead &&
            lace_end_purpose(choice->items[i].end) != LACE_FOR_OTHER)
            purpose = lace_end_purpose(choice->items[i].end);
    }
    return purpose;
}

/* Registers, waits and unregisters. RETRY: all is to be looked at again. */
static lace_status wait_once(struct choice *choice, size_t *ret_index)
{
    struct lace_party *party = choice->party;
    int64_t time = next_time(choice);
    struct lace_polled polled;
    bool done = false;

    /* Before anybody can claim the party. */
    if (party->event >= 0 && choice->region != NULL)
        lace_bell_poll(choice->region, &polled, party);
    if (choice->redelivers)
        party->slot.content = choice->asking.spare;
    lace_party_open(party);
    lace_status status = register_all(choice, ret_index);
    if (status == LACE_AGAIN) {
        struct lace_waiter waiter;

        LACE_YIELD(LACE_POINT_ENQUEUED);
        status = LACE_RETRY;
        if (!choice->parked && !lace_deadline_passed(time)) {
            lace_wait_park(choice->wait);
            choice->parked = true;
            choice->parked_at = lace_clock();
            lace_meter_begin(purpose_of(choice), choice->parked_at);
        }
        lace_cancel *token = lace_wait_token(choice->wait); /* park may have changed it */
        if (!lace_cancel_enter(token, &waiter, party)) {
            status = LACE_CANCELLED;
        } else {
            if (lace_deadline_passed(time)) {
                /* Everything has been tried by now, where the choice could not be overtaken. */
                if (lace_deadline_passed(lace_wait_deadline(choice->wait)))
                    status = LACE_TIMEOUT;
            } else {
                done = choice->pipes != 0 ? wait_pipes(choice, time) : lace_party_wait(party, time, true);
            }
            lace_cancel_leave(token, &waiter);
        }
        if (!done) {
            LACE_YIELD(LACE_POINT_TIMEOUT);
            if (!lace_party_withdraw(party))
                status = LACE_TAKEN;
        }
    } else if (status != LACE_OK && status != LACE_TAKEN && status != LACE_RETRY) {
        /* An error. A case may have happened while it was being found. */
        if (!lace_party_withdraw(party))
            status = LACE_TAKEN;
    }
    if (status == LACE_TAKEN)
        done = lace_party_wait(party, LACE_NEVER, false);
    unregister_all(choice);
    if (party->event >= 0 && choice->region != NULL)
        lace_bell_unpoll(choice->region, &polled);
    if (party->event >= 0 && done) {
        eventfd_t ignored;
        (void)eventfd_read(party->event, &ignored);
    }
    return done ? read_result(choice, ret_index) : status;
}

static lace_status run(struct choice *choice, size_t *ret_index)
{
    for (;;) {
        bool more = false;
        lace_status status = choice->priority ? try_first(choice, ret_index, &more) : try_fair(choice, ret_index);

        if (status != LACE_AGAIN)
            return status;
        if (!any_alive(choice))
            return LACE_END;
        /* Of several cases, each may have been looked at while another one was ready: only a choice that is
         * registered with all of them can say that there was nothing. */
        if (!more && choice->count == 1) {
            if (lace_wait_cancelled(choice->wait))
                return LACE_CANCELLED;
            if (lace_deadline_passed(lace_wait_deadline(choice->wait)))
                return LACE_TIMEOUT;
        }
        status = equip(choice);
        if (status == LACE_OK)
            status = wait_once(choice, ret_index);
        if (status != LACE_RETRY)
            return status;
    }
}

lace_status lace_select(const lace_case *cases, size_t count, unsigned flags, const lace_wait *wait,
                        size_t *ret_index)
{
    if (lace_forked())
        return LACE_FORKED;
    if ((cases == NULL && count != 0) || count > UINT32_MAX - 1 || (flags & ~LACE_SELECT_PRIORITY) != 0 ||
        ret_index == NULL)
        return LACE_INVALID;

    struct choice choice;
    size_t index = count;
    /* Not all of it: the arrays are filled as far as they are used. */
    memset(&choice, 0, offsetof(struct choice, local));
    choice.cases = cases;
    choice.wait = wait;
    choice.count = count;
    choice.event = -1;
    choice.priority = (flags & LACE_SELECT_PRIORITY) != 0;

    lace_status status = prepare(&choice);
    if (status == LACE_OK) {
        status = run(&choice, &index);
        if (choice.redelivers && status == LACE_OK && receives_again(&choice, index))
            status = lace_receipt_collect(choice.items[index].end, cases[index].message);
        if (choice.parked) {
            struct lace_end *end = status == LACE_OK ? choice.items[index].end : NULL;

            lace_end_waited(end, purpose_of(&choice), choice.parked_at);
            lace_wait_unpark(wait);
        }
    }
    finish(&choice, status == LACE_OK ? index : count);
    if (status == LACE_OK)
        *ret_index = index;
    return status;
}
