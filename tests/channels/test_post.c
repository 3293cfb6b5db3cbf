/* test_post.c - posts: a send that waits in its channel's line while nobody waits with it. It has its turn like any
 * other sender, its message is received once or, withdrawn in time, never, and its sender's descriptor says when. */
#include "fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

static bool rings(const pair *p)
{
    int fd;
    CHECK_OK(lace_sender_posts_fd(p->sender, &fd));
    struct pollfd polled = {fd, POLLIN, 0};
    int got;
    while ((got = poll(&polled, 1, 0)) < 0 && errno == EINTR)
        continue;
    CHECK(got >= 0);
    return got == 1;
}

/* Waits until the descriptor says that a post has its result. */
static void until_rung(const pair *p)
{
    int fd;
    CHECK_OK(lace_sender_posts_fd(p->sender, &fd));
    struct pollfd polled = {fd, POLLIN, 0};
    while (poll(&polled, 1, -1) < 0)
        CHECK(errno == EINTR);
    lace_sender_posts_seen(p->sender);
}

static lace_status post_u64(const pair *p, uint64_t value, lace_post **ret_post)
{
    lace_payload payload = payload_of(&value, sizeof value);
    return lace_post_send(p->sender, &payload, ret_post);
}

/* A post that has to wait. */
static lace_post *waiting_post(const pair *p, uint64_t value)
{
    lace_post *post;
    CHECK_STATUS(LACE_TIMEOUT, post_u64(p, value, &post));
    CHECK_STATUS(LACE_TIMEOUT, lace_post_result(post));
    return post;
}

static void receives(const pair *p, uint64_t wanted)
{
    uint64_t value;
    CHECK_OK(recv_u64(p->receiver, p->message, &value, TRY));
    CHECK_UINT(value, wanted);
}

/* ---- one post ----------------------------------------------------------------------------------------- */

START_TEST(test_post_with_room_is_a_send)
{
    pair p;
    call receiving;
    lace_post *post = NULL;
    pair_open_memory(&p, _i, 0);
    if (_i == 0) {
        call_start(&receiving, CALL_RECV, &p, 0);
        while (post_u64(&p, 7, &post) == LACE_TIMEOUT) { /* it does not wait yet */
            lace_status status = lace_post_withdraw(post);
            lace_post_destroy(post);
            post = NULL;
            if (status == LACE_OK)
                break;
            CHECK_STATUS(LACE_CANCELLED, status);
        }
        CHECK_OK(call_join(&receiving));
        CHECK_UINT(receiving.value, 7);
    } else {
        CHECK_OK(post_u64(&p, 7, &post));
        receives(&p, 7);
    }
    CHECK(post == NULL);
    CHECK(!rings(&p) || _i == 0);
    pair_close(&p);
}
END_TEST

START_TEST(test_post_waits_for_room)
{
    pair p;
    pair_open_memory(&p, 1, 0);
    CHECK_OK(send_u64(p.sender, 1, TRY));
    lace_post *post = waiting_post(&p, 2);
    CHECK(!rings(&p));
    CHECK_UINT(lace_sender_length(p.sender), 2);
    receives(&p, 1);
    CHECK(rings(&p) && rings(&p));
    lace_sender_posts_seen(p.sender);
    CHECK(!rings(&p));
    CHECK_OK(lace_post_result(post));
    CHECK_OK(lace_post_result(post));
    CHECK_OK(lace_post_withdraw(post));
    lace_post_destroy(post);
    receives(&p, 2);
    lace_stats stats;
    lace_sender_stats(p.sender, &stats);
    CHECK_UINT(stats.messages, 2);
    CHECK_UINT(stats.waits, 1);
    pair_close(&p);
}
END_TEST

START_TEST(test_post_on_a_rendezvous)
{
    pair p;
    int fd;
    pair_open_memory(&p, 0, 0);
    CHECK_OK(lace_receiver_fd(p.receiver, &fd));
    struct pollfd polled = {fd, POLLIN, 0};
    CHECK(poll(&polled, 1, 0) == 0);
    lace_post *post = waiting_post(&p, 5);
    CHECK(poll(&polled, 1, 0) == 1); /* for the receiver it is a sender that waits */
    receives(&p, 5);
    CHECK(poll(&polled, 1, 0) == 0);
    CHECK(rings(&p));
    CHECK_OK(lace_post_result(post));
    lace_post_destroy(post);
    pair_close(&p);
}
END_TEST

START_TEST(test_post_waits_for_bytes)
{
    pair p;
    lace_post *large, *small;
    char bytes[100] = {0};
    pair_open_memory(&p, 10, 100);
    lace_payload payload = payload_of(bytes, 60);
    CHECK_OK(lace_send(p.sender, &payload, TRY));
    CHECK_STATUS(LACE_TIMEOUT, lace_post_send(p.sender, &payload, &large));
    payload.size = 10;
    CHECK_STATUS(LACE_TIMEOUT, lace_post_send(p.sender, &payload, &small)); /* it would fit: but its turn comes later */
    CHECK_STATUS(LACE_CANCELLED, lace_post_withdraw(large));
    CHECK(rings(&p)); /* which lets in the one behind it */
    CHECK_OK(lace_post_result(small));
    payload.size = 101;
    CHECK_STATUS(LACE_TOO_BIG, lace_post_send(p.sender, &payload, &large + 1));
    lace_post_destroy(large);
    lace_post_destroy(small);
    pair_close(&p);
}
END_TEST

/* ---- many --------------------------------------------------------------------------------------------- */

START_TEST(test_posts_keep_the_order_of_the_line)
{
    enum { POSTS = 40 };
    pair p;
    call before, behind;
    lace_post *posts[POSTS];
    pair_open_memory(&p, _i, 0);
    size_t room = fill_up(p.sender); /* 0 .. room - 1 */
    call_start(&before, CALL_SEND, &p, 1000);
    call_until_asleep(&before);
    for (uint64_t i = 0; i < POSTS; i++)
        posts[i] = waiting_post(&p, 2000 + i);
    call_start(&behind, CALL_SEND, &p, 3000);
    call_until_asleep(&behind);
    for (size_t i = 0; i < POSTS; i += 4)
        CHECK_STATUS(LACE_CANCELLED, lace_post_withdraw(posts[i]));
    for (size_t i = 0; i < room; i++)
        receives(&p, i);
    uint64_t value;
    CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
    CHECK_UINT(value, 1000);
    for (uint64_t i = 0; i < POSTS; i++) {
        if (i % 4 != 0)
            receives(&p, 2000 + i);
    }
    receives(&p, 3000);
    CHECK_OK(call_join(&before));
    CHECK_OK(call_join(&behind));
    CHECK(rings(&p));
    for (size_t i = 0; i < POSTS; i++) {
        CHECK_STATUS(i % 4 == 0 ? LACE_CANCELLED : LACE_OK, lace_post_result(posts[i]));
        lace_post_destroy(posts[i]);
    }
    pair_close(&p);
}
END_TEST

/* A select takes from a post, and a post gives to a select. */
START_TEST(test_post_and_select_meet)
{
    pair p;
    call choosing;
    lace_post *post = NULL;
    pair_open_memory(&p, 0, 0);
    call_start(&choosing, _i == 0 ? CALL_SELECT_RECV : CALL_SELECTOR_RECV, &p, 0);
    lace_status status = post_u64(&p, 9, &post);
    if (status == LACE_TIMEOUT) {
        until_rung(&p);
        status = lace_post_result(post);
        lace_post_destroy(post);
    }
    CHECK_OK(status);
    CHECK_OK(call_join(&choosing));
    CHECK_UINT(choosing.value, 9);
    pair_close(&p);
}
END_TEST

/* ---- the end ------------------------------------------------------------------------------------------ */

START_TEST(test_post_of_a_closed_sender)
{
    pair p;
    lace_sender *clone;
    pair_open_memory(&p, _i, 0);
    CHECK_OK(lace_sender_clone(p.sender, &clone));
    fill_up(p.sender);
    lace_post *post = waiting_post(&p, 1), *second = waiting_post(&p, 2), *third;
    int fd;
    CHECK_OK(lace_sender_posts_fd(p.sender, &fd));
    lace_sender_close(p.sender);
    struct pollfd polled = {fd, POLLIN, 0};
    CHECK(poll(&polled, 1, 0) == 1);
    CHECK_STATUS(LACE_CLOSED, lace_post_result(post));
    CHECK_STATUS(LACE_CLOSED, lace_post_withdraw(second));
    CHECK_STATUS(LACE_CLOSED, post_u64(&p, 3, &third));
    CHECK_STATUS(LACE_CLOSED, lace_sender_posts_fd(p.sender, &fd));
    lace_post_destroy(post);
    lace_post_destroy(second);
    lace_sender_destroy(clone);
    pair_close(&p);
}
END_TEST

START_TEST(test_post_without_receivers)
{
    pair p;
    lace_post *other;
    pair_open_memory(&p, _i, 0);
    fill_up(p.sender);
    lace_post *post = waiting_post(&p, 1);
    lace_receiver_close(p.receiver);
    CHECK(rings(&p));
    CHECK_STATUS(LACE_BROKEN, lace_post_result(post));
    CHECK_STATUS(LACE_BROKEN, post_u64(&p, 1, &other));
    lace_post_destroy(post);
    pair_close(&p);
}
END_TEST

/* Posts whose result nobody asks for: destroyed, they are withdrawn. */
START_TEST(test_post_destroyed_is_withdrawn)
{
    pair p;
    pair_open_memory(&p, 0, 0);
    region_warm(p.region);
    size_t used = region_used(p.region);
    for (int i = 0; i < 100; i++)
        lace_post_destroy(waiting_post(&p, 1));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    CHECK(region_used(p.region) <= used + 1024); /* what a thread keeps */
    pair_close(&p);
}
END_TEST

START_TEST(test_post_with_attachments)
{
    pair p, q;
    lace_post *post;
    static char large[5000];
    pair_open_memory(&p, 1, 0);
    pair_open_beside(&q, &p);
    fill_up(p.sender);
    lace_attachment carried = {LACE_ATTACH_SENDER, {.sender = q.sender}};
    lace_payload payload = {large, sizeof large, &carried, 1};
    CHECK_STATUS(LACE_TIMEOUT, lace_post_send(p.sender, &payload, &post));
    CHECK_STATUS(LACE_CANCELLED, lace_post_withdraw(post));
    CHECK(!lace_sender_closed(q.sender)); /* still ours */
    lace_post_destroy(post);
    CHECK_STATUS(LACE_TIMEOUT, lace_post_send(p.sender, &payload, &post));
    receives(&p, 0);
    CHECK_OK(lace_post_result(post));
    q.sender = NULL; /* taken */
    lace_post_destroy(post);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(q.receiver, q.message, TRY));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_UINT(lace_message_size(p.message), sizeof large);
    lace_sender *arrived = take_sender(p.message, 0);
    lace_sender_destroy(arrived);
    CHECK_STATUS(LACE_END, lace_recv(q.receiver, q.message, TRY));
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

START_TEST(test_post_misuse)
{
    pair p, tube;
    lace_post *post;
    int fd;
    pair_open_memory(&p, 1, 0);
    CHECK_STATUS(LACE_INVALID, lace_post_send(NULL, NULL, &post));
    CHECK_STATUS(LACE_INVALID, lace_post_send(p.sender, NULL, &post));
    CHECK_STATUS(LACE_INVALID, lace_post_result(NULL));
    CHECK_STATUS(LACE_INVALID, lace_post_withdraw(NULL));
    CHECK_STATUS(LACE_INVALID, lace_sender_posts_fd(NULL, &fd));
    lace_sender_posts_seen(NULL);
    lace_post_destroy(NULL);
    pair_close(&p);
    pair_open(&tube, TRANSPORT_COUNT - 1);
    CHECK_STATUS(LACE_UNSUPPORTED, post_u64(&tube, 1, &post));
    CHECK_STATUS(LACE_UNSUPPORTED, lace_sender_posts_fd(tube.sender, &fd));
    pair_close(&tube);
}
END_TEST

/* ---- races -------------------------------------------------------------------------------------------- */

typedef struct taking {
    const pair *on;
    uint64_t count, sum;
} taking;

static void take_all(void *context)
{
    taking *self = context;
    lace_message *message = message_make(self->on->region);
    uint64_t value;
    while (recv_u64(self->on->receiver, message, &value, NULL) == LACE_OK) {
        self->count++;
        self->sum += value;
    }
    lace_message_destroy(message);
}

/* Posts are withdrawn while somebody receives: what is said to be sent has been received, once, and nothing else. */
START_TEST(test_post_withdrawn_in_a_race)
{
    pair p;
    thread receiving;
    rng random = rng_start(__func__, (uint64_t)_i);
    pair_open_memory(&p, (size_t)_i, 0);
    taking taken = {.on = &p};
    thread_start(&receiving, take_all, &taken);
    uint64_t count = 0, sum = 0;
    size_t rounds = test_scaled(20000);
    for (uint64_t value = 1; value <= rounds; value++) {
        lace_post *post;
        lace_status status = post_u64(&p, value, &post);
        if (status == LACE_TIMEOUT) {
            if (rng_below(&random, 4) == 0)
                until_rung(&p);
            for (size_t spin = rng_below(&random, 60); spin > 0; spin--)
                atomic_thread_fence(memory_order_seq_cst);
            status = lace_post_withdraw(post);
            CHECK_STATUS(status, lace_post_result(post));
            lace_post_destroy(post);
            CHECK(status == LACE_OK || status == LACE_CANCELLED);
        } else {
            CHECK_OK(status);
        }
        if (status == LACE_OK) {
            count++;
            sum += value;
        }
    }
    lace_sender_close(p.sender);
    thread_join(&receiving);
    CHECK_UINT(taken.count, count);
    CHECK_UINT(taken.sum, sum);
    pair_close(&p);
}
END_TEST

/* One thread keeps many posts going, as an event loop does. */
START_TEST(test_posts_drive_a_loop)
{
    enum { POSTS = 16 };
    pair p;
    thread receiving;
    pair_open_memory(&p, (size_t)_i, 0);
    taking taken = {.on = &p};
    thread_start(&receiving, take_all, &taken);
    lace_post *posts[POSTS] = {NULL};
    uint64_t last = test_scaled(20000), next = 1;
    size_t waiting = 0;
    while (next <= last || waiting > 0) {
        for (size_t i = 0; i < POSTS && next <= last; i++) {
            if (posts[i] != NULL)
                continue;
            lace_status status = post_u64(&p, next++, &posts[i]);
            CHECK(status == LACE_OK || status == LACE_TIMEOUT);
            waiting += status == LACE_TIMEOUT;
        }
        if (waiting == 0)
            continue;
        until_rung(&p);
        for (size_t i = 0; i < POSTS; i++) {
            if (posts[i] == NULL || lace_post_result(posts[i]) == LACE_TIMEOUT)
                continue;
            CHECK_OK(lace_post_result(posts[i]));
            lace_post_destroy(posts[i]);
            posts[i] = NULL;
            waiting--;
        }
    }
    lace_sender_close(p.sender);
    thread_join(&receiving);
    CHECK_UINT(taken.count, last);
    CHECK_UINT(taken.sum, last * (last + 1) / 2);
    pair_close(&p);
}
END_TEST

TEST_MAIN("post", TEST_LOOP(test_post_with_room_is_a_send, 2), TEST(test_post_waits_for_room),
          TEST(test_post_on_a_rendezvous), TEST(test_post_waits_for_bytes),
          TEST_LOOP(test_posts_keep_the_order_of_the_line, 3), TEST_LOOP(test_post_and_select_meet, 2),
          TEST_LOOP(test_post_of_a_closed_sender, 2), TEST_LOOP(test_post_without_receivers, 2),
          TEST(test_post_destroyed_is_withdrawn), TEST(test_post_with_attachments), TEST(test_post_misuse),
          TEST_LOOP(test_post_withdrawn_in_a_race, 3), TEST_LOOP(test_posts_drive_a_loop, 3))
