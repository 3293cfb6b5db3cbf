/* post.c - posts: sends that stay in a channel's line of waiting senders while nobody waits with them.
 *
 * A post is a party like that of a waiting thread, but with an eventfd, the bell, in place of a sleeper. The bell is the
 * sender's, one for all its posts: it lives as long as the sender does, whose closing claims every post of its own. So
 * no post that may still be claimed names a descriptor that is closed.
 *
 * A sender's posts are used by one thread at a time, which is what guards them and `bell`.
 */
#include "await.h"
#include "bell.h"
#include "end.h"
#include "hooks.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lace_post {
    struct lace_end *end;
    struct lace_party *party; /* NULL: it has its result */
    struct lace_polled polled; /* so that the party's eventfd is written to when another process claims it */
    lace_payload payload;
    struct lace_outgoing outgoing;
    int64_t started;
    lace_status status; /* the result */
};

/* What an end that posts must be. */
static lace_status may_post(const struct lace_end *end)
{
    if (end->pipe != NULL)
        return LACE_UNSUPPORTED;
    return lace_end_closed(end) ? LACE_CLOSED : LACE_OK;
}

lace_status lace_sender_posts_fd(lace_sender *sender, int *ret_fd)
{
    if (sender == NULL || ret_fd == NULL)
        return LACE_INVALID;
    struct lace_end *end = &sender->end;
    lace_status status = may_post(end);
    if (status != LACE_OK)
        return status;
    if (end->bell == 0) {
        int bell = lace_eventfd();

        if (bell < 0)
            return LACE_SYSTEM;
        end->bell = bell + 1;
    }
    *ret_fd = end->bell - 1;
    return LACE_OK;
}

void lace_sender_posts_seen(lace_sender *sender)
{
    eventfd_t ignored;

    if (sender != NULL && sender->end.bell != 0)
        (void)eventfd_read(sender->end.bell - 1, &ignored);
}

/* Sends without waiting, or puts the party at the end of the line: AGAIN. */
static lace_status send_or_enroll(struct lace_end *end, const struct lace_outgoing *outgoing, struct lace_party *party)
{
    struct lace_wakes wakes = {.count = 0};
    lace_status status = LACE_CLOSED;

    LACE_YIELD(LACE_POINT_SEND);
    lace_ring_lock(&end->view);
    if (!lace_end_closed(end))
        status = lace_ring_send(&end->view, outgoing, NULL, &wakes);
    if (status == LACE_OK) {
        lace_end_count(end, outgoing->weight);
    } else if (status == LACE_AGAIN && party != NULL) {
        party->node.end = end->id;
        party->node.index = 0;
        party->node.persistent = 0;
        party->node.held = lace_held_offset(end->view.region, outgoing->held);
        lace_party_open(party);
        lace_ring_enqueue(&end->view, &end->view.ring->sending, &party->node);
    }
    lace_ring_unlock(&end->view, &wakes);
    return status;
}

/* What could not be sent without waiting becomes a post. */
static lace_status make_post(struct lace_end *end, const lace_payload *payload, struct lace_outgoing *outgoing,
                             lace_post **ret_post)
{
    int bell;
    lace_status status = lace_sender_posts_fd((lace_sender *)end, &bell);

    if (status != LACE_OK)
        return status;
    struct lace_post *post = lace_allocate(sizeof *post);
    struct lace_party *party = post != NULL ? lace_party_get(end->view.region) : NULL;
    if (party == NULL) {
        free(post);
        return LACE_NOMEM;
    }
    lace_outgoing_store(outgoing, &party->slot);
    party->event = bell;
    lace_bell_poll(end->view.region, &post->polled, party); /* before anybody can claim it */
    status = send_or_enroll(end, outgoing, party);
    if (status != LACE_AGAIN) {
        lace_bell_unpoll(end->view.region, &post->polled);
        party->event = -1;
        lace_party_put(end->view.region, party);
        free(post);
        return status;
    }
    post->end = end;
    post->party = party;
    post->payload = *payload;
    post->outgoing = *outgoing;
    post->started = lace_clock();
    post->status = LACE_TIMEOUT;
    post->outgoing.payload = &post->payload;
    *ret_post = post;
    return LACE_TIMEOUT;
}

lace_status lace_post_send(lace_sender *sender, const lace_payload *payload, lace_post **ret_post)
{
    if (sender == NULL || payload == NULL || ret_post == NULL)
        return LACE_INVALID;
    struct lace_end *end = &sender->end;
    lace_status status = may_post(end);
    if (status != LACE_OK)
        return status;

    struct lace_region *region = end->view.region;
    struct lace_outgoing outgoing;
    status = lace_outgoing_prepare(&end->view, payload, &outgoing);
    if (status != LACE_OK)
        return status;
    status = send_or_enroll(end, &outgoing, NULL);
    if (status == LACE_AGAIN)
        status = make_post(end, payload, &outgoing, ret_post);
    /* From here on the end itself may be gone: it may be one of its own message's attachments. */
    if (status == LACE_OK)
        lace_outgoing_sent(region, &outgoing);
    else if (status != LACE_TIMEOUT)
        lace_outgoing_discard(region, &outgoing);
    return status;
}

/* The post has its result, and its party is registered nowhere. */
static lace_status settle(struct lace_post *post, lace_status status)
{
    struct lace_end *end = post->end;
    struct lace_region *region = end->view.region;

    uint64_t sequence = post->party->sequence;

    lace_bell_unpoll(region, &post->polled);
    post->party->event = -1;
    lace_party_put(region, post->party);
    post->party = NULL;
    post->status = status;
    lace_end_count_wait(end, post->started, lace_clock()); /* no thread has waited */
    if (status == LACE_OK) {
        if (lace_trace_on())
            lace_trace_handed(&end->view, LACE_SIDE_SENDER, sequence, post->started);
        lace_end_count_slow(end, post->outgoing.weight);
        lace_outgoing_sent(region, &post->outgoing);
    } else {
        lace_outgoing_discard(region, &post->outgoing);
    }
    return status;
}

lace_status lace_post_result(lace_post *post)
{
    if (post == NULL)
        return LACE_INVALID;
    if (post->party == NULL)
        return post->status;
    if (!lace_party_claimed(post->party))
        return LACE_TIMEOUT;
    /* The bell may have been heard a moment before DONE. Who claimed it has taken its node out of the line. */
    lace_party_wait(post->party, LACE_NEVER, false);
    lace_status status = (lace_status)post->party->status;
    if (status == LACE_RETRY) /* told of a close: this end's own, or that of the last receiver */
        status = lace_end_closed(post->end) ? LACE_CLOSED : LACE_BROKEN;
    return settle(post, status);
}

lace_status lace_post_withdraw(lace_post *post)
{
    if (post == NULL)
        return LACE_INVALID;
    if (post->party == NULL)
        return post->status;
    LACE_YIELD(LACE_POINT_TIMEOUT);
    if (!lace_party_withdraw(post->party))
        return lace_post_result(post);

    const struct lace_view *view = &post->end->view;
    struct lace_wakes wakes = {.count = 0};

    LACE_YIELD(LACE_POINT_UNLINK);
    lace_ring_lock(view);
    lace_ring_unlink(view, &view->ring->sending, &post->party->node, &wakes);
    lace_ring_unlock(view, &wakes);
    return settle(post, LACE_CANCELLED);
}

void lace_post_destroy(lace_post *post)
{
    if (post == NULL)
        return;
    (void)lace_post_withdraw(post);
    free(post);
}
