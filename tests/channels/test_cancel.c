/* test_cancel.c - tokens end waits: current and later ones, of every kind, also those that name a child of the token;
 * what needs no wait is still done, and nothing is lost. */
#include "fixture.h"

#include <sched.h>
#include <stdlib.h>

#define KINDS 5

/* _i: the transport and how it waits */
START_TEST(test_c4_cancel_ends_a_current_wait)
{
    pair p;
    call waiting;
    lace_cancel *cancel;
    uint64_t value;
    call_kind kind = (call_kind)(_i % KINDS);
    pair_open(&p, _i / KINDS);
    if (kind == CALL_SELECTOR_RECV && !(p.kind->can & CAN_REGISTER)) {
        pair_close(&p);
        return;
    }
    bool sends = kind == CALL_SEND || kind == CALL_SELECT_SEND;
    size_t room = sends ? fill_up(p.sender) : 0;
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    CHECK(!lace_cancel_fired(cancel));
    call_start_waiting(&waiting, kind, &p, 888, LACE_NEVER, cancel);
    call_until_asleep(&waiting);
    CHECK(!waiting.done);
    lace_cancel_fire(cancel);
    CHECK(lace_cancel_fired(cancel));
    CHECK_STATUS(LACE_CANCELLED, call_join(&waiting));
    lace_cancel_destroy(cancel);
    for (uint64_t i = 0; i < room; i++) { /* what was cancelled was not sent, what was sent is there */
        CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
        CHECK_UINT(value, i);
    }
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

START_TEST(test_c4_cancel_ends_later_waits_only_when_they_would_wait)
{
    pair p;
    lace_cancel *cancel;
    uint64_t value;
    watch watching = WATCH_INIT;
    pair_open(&p, _i + 1);
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    lace_cancel_fire(cancel);
    lace_cancel_fire(cancel);
    CHECK_STATUS(LACE_CANCELLED, lace_recv(p.receiver, p.message, UNDER(cancel)));
    CHECK_OK(send_u64(p.sender, 6, UNDER(cancel)));
    CHECK_OK(recv_u64(p.receiver, p.message, &value, UNDER(cancel)));
    CHECK_UINT(value, 6);
    fill_up(p.sender);
    CHECK_STATUS(LACE_CANCELLED, send_u64(p.sender, 7, UNDER(cancel)));
    lace_receiver_close(p.receiver);
    CHECK_STATUS(LACE_BROKEN, send_u64(p.sender, 7, UNDER(cancel)));
    lace_wait wait = watch_wait(&watching, LACE_NEVER, cancel);
    CHECK_STATUS(LACE_BROKEN, send_u64(p.sender, 7, &wait));
    CHECK_UINT(watching.parks, watching.unparks);
    lace_cancel_destroy(cancel);
    pair_close(&p);
}
END_TEST

START_TEST(test_c4_cancel_reaches_children_and_not_parents)
{
    lace_cancel *root, *left, *right, *leaf, *late;
    CHECK_OK(lace_cancel_create(NULL, &root));
    CHECK_OK(lace_cancel_create(root, &left));
    CHECK_OK(lace_cancel_create(root, &right));
    CHECK_OK(lace_cancel_create(left, &leaf));
    lace_cancel_fire(left);
    CHECK(!lace_cancel_fired(root) && lace_cancel_fired(left) && lace_cancel_fired(leaf) && !lace_cancel_fired(right));
    CHECK_OK(lace_cancel_create(left, &late));
    CHECK(lace_cancel_fired(late)); /* at once if its parent has fired already */
    lace_cancel_destroy(late);
    lace_cancel_fire(root);
    CHECK(lace_cancel_fired(root) && lace_cancel_fired(right));
    lace_cancel_destroy(leaf);
    lace_cancel_destroy(right);
    lace_cancel_destroy(left);
    lace_cancel_destroy(root);
    lace_cancel_destroy(NULL);
}
END_TEST

START_TEST(test_c4_cancel_of_a_child_leaves_its_siblings_waiting)
{
    pair p;
    call one, two;
    lace_cancel *root, *left, *right;
    pair_open(&p, _i);
    CHECK_OK(lace_cancel_create(NULL, &root));
    CHECK_OK(lace_cancel_create(root, &left));
    CHECK_OK(lace_cancel_create(root, &right));
    call_start_waiting(&one, CALL_RECV, &p, 0, LACE_NEVER, left);
    call_start_waiting(&two, CALL_RECV, &p, 0, LACE_NEVER, right);
    call_until_asleep(&one);
    call_until_asleep(&two);
    lace_cancel_fire(left);
    CHECK_STATUS(LACE_CANCELLED, call_join(&one));
    pass_ms(5);
    CHECK(!two.done);
    CHECK_OK(send_u64(p.sender, 3, NULL));
    CHECK_OK(call_join(&two));
    CHECK_UINT(two.value, 3);
    lace_cancel_destroy(left);
    lace_cancel_destroy(right);
    lace_cancel_destroy(root);
    pair_close(&p);
}
END_TEST

START_TEST(test_c4_cancel_wakes_many_waits_of_many_kinds)
{
    pair p, q;
    call waiting[12];
    lace_cancel *root, *children[3];
    pair_open(&p, _i);
    pair_open_beside(&q, &p);
    fill_up(q.sender);
    CHECK_OK(lace_cancel_create(NULL, &root));
    for (size_t i = 0; i < 3; i++)
        CHECK_OK(lace_cancel_create(i ? children[i - 1] : root, &children[i]));
    for (size_t i = 0; i < 12; i++) {
        call_kind kind = (call_kind)(i % KINDS);
        bool sends = kind == CALL_SEND || kind == CALL_SELECT_SEND;
        if (kind == CALL_SELECTOR_RECV && !(p.kind->can & CAN_REGISTER))
            kind = CALL_RECV;
        call_start_waiting(&waiting[i], kind, sends ? &q : &p, i, LACE_NEVER, i < 9 ? children[i % 3] : root);
        call_until_asleep(&waiting[i]);
    }
    lace_cancel_fire(root);
    for (size_t i = 0; i < 12; i++)
        CHECK_STATUS(LACE_CANCELLED, call_join(&waiting[i]));
    for (size_t i = 3; i > 0; i--)
        lace_cancel_destroy(children[i - 1]);
    lace_cancel_destroy(root);
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

/* ---- races -------------------------------------------------------------------------------------------- */

typedef struct firing {
    pthread_barrier_t *start;
    lace_cancel *cancel;
    pair *on;
} firing;

static void fire(void *context)
{
    firing *self = context;
    pthread_barrier_wait(self->start);
    lace_cancel_fire(self->cancel);
}

/* A cancel, a message and a wait at the same moment: the wait gets one of the two, and a message that it did not get
 * is still there. */
START_TEST(test_c4_cancel_races_with_a_message)
{
    pair p;
    pthread_barrier_t start;
    pair_open(&p, _i + 1);
    pthread_barrier_init(&start, NULL, 2);
    for (size_t round = test_scaled(400); round > 0; round--) {
        thread other;
        call waiting;
        firing work = {&start, NULL, &p};
        uint64_t value;
        CHECK_OK(lace_cancel_create(NULL, &work.cancel));
        call_start_waiting(&waiting, round % 2 ? CALL_RECV : CALL_SELECT_RECV, &p, 0, LACE_NEVER, work.cancel);
        if (round % 3)
            watch_until_parked(&waiting.watching, 1);
        thread_start(&other, fire, &work);
        pthread_barrier_wait(&start);
        CHECK_OK(send_u64(p.sender, round, NULL));
        lace_status status = call_join(&waiting);
        thread_join(&other);
        if (status == LACE_OK) {
            CHECK_UINT(waiting.value, round);
        } else {
            CHECK_STATUS(LACE_CANCELLED, status);
            CHECK_OK(recv_u64(p.receiver, p.message, &value, TRY));
            CHECK_UINT(value, round);
        }
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
        lace_cancel_destroy(work.cancel);
    }
    pthread_barrier_destroy(&start);
    pair_close(&p);
}
END_TEST

/* Children come and go while their parents fire. */
static void families(void *context)
{
    firing *self = context;
    lace_message *message = message_make(self->on->region);
    pthread_barrier_wait(self->start);
    for (bool fired = false; !fired;) {
        lace_cancel *child, *grandchild;
        CHECK_OK(lace_cancel_create(self->cancel, &child));
        CHECK_OK(lace_cancel_create(child, &grandchild));
        lace_status status = lace_recv(self->on->receiver, message,
                                       &(lace_wait){.cancel = grandchild, .deadline = lace_clock() + 50000});
        CHECK(status == LACE_TIMEOUT || status == LACE_CANCELLED);
        fired = lace_cancel_fired(grandchild);
        CHECK(status != LACE_CANCELLED || fired);
        lace_cancel_destroy(grandchild);
        lace_cancel_destroy(child);
    }
    lace_message_destroy(message);
}

START_TEST(test_c4_cancel_races_with_children_that_come_and_go)
{
    pair p;
    pthread_barrier_t start;
    pair_open(&p, _i);
    pthread_barrier_init(&start, NULL, 4);
    for (size_t round = test_scaled(60); round > 0; round--) {
        thread threads[3];
        firing work = {&start, NULL, &p};
        CHECK_OK(lace_cancel_create(NULL, &work.cancel));
        for (size_t i = 0; i < 3; i++)
            thread_start(&threads[i], families, &work);
        pthread_barrier_wait(&start);
        pass_ms((unsigned)(round % 3)); /* no synchronisation: how far they get does not matter */
        lace_cancel_fire(work.cancel);
        for (size_t i = 0; i < 3; i++)
            thread_join(&threads[i]);
        lace_cancel_destroy(work.cancel);
    }
    pthread_barrier_destroy(&start);
    pair_close(&p);
}
END_TEST

TEST_MAIN("cancel", TEST_LOOP(test_c4_cancel_ends_a_current_wait, TRANSPORT_COUNT *KINDS),
          TEST_LOOP(test_c4_cancel_ends_later_waits_only_when_they_would_wait, TRANSPORT_COUNT - 1),
          TEST(test_c4_cancel_reaches_children_and_not_parents),
          TEST_LOOP(test_c4_cancel_of_a_child_leaves_its_siblings_waiting, TRANSPORT_COUNT),
          TEST_LOOP(test_c4_cancel_wakes_many_waits_of_many_kinds, TRANSPORT_COUNT),
          TEST_LOOP(test_c4_cancel_races_with_a_message, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_c4_cancel_races_with_children_that_come_and_go, TRANSPORT_COUNT))
