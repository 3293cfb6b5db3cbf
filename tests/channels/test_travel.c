/* test_travel.c - C7: ends travel inside messages. The receiving side gets an end of its own, counted from the moment
 * of the send: an end in flight keeps its channel alive, and a message that is discarded lets its ends go. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

START_TEST(test_c7_a_sender_travels)
{
    pair p, q;
    lace_sender *clone;
    uint64_t value;
    pair_open(&p, 1);
    pair_open_beside(&q, &p);
    CHECK_OK(lace_sender_clone(q.sender, &clone));
    CHECK_OK(send_sender(p.sender, clone, TRY));
    lace_sender_close(q.sender);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(q.receiver, p.message, TRY)); /* one is in flight: no end yet */
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK(message_is(p.message, "sender"));
    CHECK_UINT(lace_message_attachments(p.message), 1);
    lace_sender *arrived = take_sender(p.message, 0);
    CHECK(!lace_sender_closed(arrived));
    CHECK(strcmp(lace_sender_name(arrived), lace_receiver_name(q.receiver)) == 0);
    CHECK_OK(send_u64(arrived, 21, TRY));
    lace_sender_destroy(arrived);
    CHECK_OK(recv_u64(q.receiver, p.message, &value, TRY));
    CHECK_UINT(value, 21);
    CHECK_STATUS(LACE_END, lace_recv(q.receiver, p.message, TRY));
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

START_TEST(test_c7_a_receiver_travels_with_what_is_queued)
{
    pair p, q;
    uint64_t value;
    pair_open(&p, 3);
    pair_open_beside(&q, &p);
    fill(q.sender, 10);
    CHECK_OK(send_receiver(p.sender, q.receiver, TRY)); /* the only one */
    q.receiver = NULL;
    CHECK_OK(send_u64(q.sender, 10, TRY)); /* not broken */
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    q.receiver = take_receiver(p.message, 0);
    for (uint64_t i = 0; i <= 10; i++) {
        CHECK_OK(recv_u64(q.receiver, p.message, &value, TRY));
        CHECK_UINT(value, i);
    }
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

START_TEST(test_c7_ends_travel_while_waiting_and_over_a_rendezvous)
{
    pair p, q;
    call receiving;
    pair_open(&p, _i);
    pair_open_beside(&q, &p);
    call_start(&receiving, CALL_RECV, &q, 0);
    call_until_asleep(&receiving);
    lace_sender *traveller = q.sender;
    lace_attachment carried = {LACE_ATTACH_SENDER, {.sender = traveller}};
    if (p.kind->capacity == 0) {
        CHECK_STATUS(LACE_TIMEOUT, send_sender(p.sender, traveller, TRY)); /* then it is still ours */
        CHECK_STATUS(LACE_TIMEOUT, send_sender(p.sender, traveller, WITHIN_MS(2)));
        CHECK(!lace_sender_closed(traveller));
    } else {
        CHECK_OK(send_attached(p.sender, "", &carried, 1, TRY));
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        traveller = take_sender(p.message, 0);
    }
    CHECK_OK(send_u64(traveller, 5, NULL));
    CHECK_OK(call_join(&receiving));
    lace_sender_destroy(traveller);
    q.sender = NULL;
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

START_TEST(test_c7_failed_sends_leave_the_ends_to_the_caller)
{
    pair p, q;
    lace_cancel *cancel;
    uint64_t value;
    pair_open(&p, 1);
    pair_open_beside(&q, &p);
    fill(p.sender, 1);
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    lace_cancel_fire(cancel);
    CHECK_STATUS(LACE_TIMEOUT, send_sender(p.sender, q.sender, TRY));
    CHECK_STATUS(LACE_TIMEOUT, send_sender(p.sender, q.sender, WITHIN_MS(1)));
    CHECK_STATUS(LACE_CANCELLED, send_sender(p.sender, q.sender, UNDER(cancel)));
    lace_receiver_close(p.receiver);
    CHECK_STATUS(LACE_BROKEN, send_sender(p.sender, q.sender, NULL));
    lace_sender_close(p.sender);
    CHECK_STATUS(LACE_CLOSED, send_sender(p.sender, q.sender, NULL));
    CHECK_OK(send_u64(q.sender, 1, TRY));
    CHECK_OK(recv_u64(q.receiver, p.message, &value, TRY));
    lace_sender_close(q.sender); /* it was the only one: nothing is counted twice */
    CHECK_STATUS(LACE_END, lace_recv(q.receiver, p.message, TRY));
    lace_cancel_destroy(cancel);
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

START_TEST(test_c7_send_many_takes_the_ends_of_what_went)
{
    pair p, q;
    lace_attachment carried[4];
    lace_payload payloads[4];
    size_t sent = 0;
    pair_open(&p, 2);
    pair_open_beside(&q, &p);
    for (size_t i = 0; i < 4; i++) {
        carried[i].kind = LACE_ATTACH_SENDER;
        CHECK_OK(lace_sender_clone(q.sender, &carried[i].as.sender));
        payloads[i] = (lace_payload){"x", 1, &carried[i], 1};
    }
    CHECK_STATUS(LACE_TIMEOUT, lace_send_many(p.sender, payloads, 4, TRY, &sent));
    CHECK_UINT(sent, 2);
    lace_sender_destroy(carried[2].as.sender);
    lace_sender_destroy(carried[3].as.sender);
    lace_sender_close(q.sender);
    for (size_t i = 0; i < 2; i++) {
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(q.receiver, q.message, TRY));
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        lace_sender_destroy(take_sender(p.message, 0));
    }
    CHECK_STATUS(LACE_END, lace_recv(q.receiver, q.message, TRY));
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

START_TEST(test_c7_a_closed_end_cannot_be_sent)
{
    pair p, q;
    pair_open(&p, 1);
    pair_open_beside(&q, &p);
    lace_sender_close(q.sender);
    lace_receiver_close(q.receiver);
    CHECK(send_sender(p.sender, q.sender, TRY) != LACE_OK);
    CHECK(send_receiver(p.sender, q.receiver, TRY) != LACE_OK);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

/* ---- taking ------------------------------------------------------------------------------------------- */

START_TEST(test_c7_attachments_are_taken_once_and_in_any_order)
{
    pair p;
    lace_attachment carried[6], taken = {LACE_ATTACH_NONE, {NULL}};
    lace_receiver *receivers[3];
    pair_open(&p, 1);
    for (size_t i = 0; i < 3; i++) {
        carried[i].kind = LACE_ATTACH_SENDER;
        channel_make(p.region, 1, &carried[i].as.sender, &receivers[i]);
        carried[3 + i].kind = LACE_ATTACH_BLOCK;
        CHECK_OK(lace_block_create(p.region, 10 + i, &carried[3 + i].as.block));
    }
    CHECK_OK(send_attached(p.sender, "with bytes", carried, 6, TRY));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK(message_is(p.message, "with bytes"));
    CHECK((uintptr_t)lace_message_data(p.message) % 8 == 0);
    CHECK_UINT(lace_message_attachments(p.message), 6);
    lace_sender *second = take_sender(p.message, 1);
    lace_block *last = take_block(p.message, 5);
    CHECK_UINT(lace_block_size(last), 12);
    CHECK_STATUS(LACE_INVALID, lace_message_take(p.message, 1, &taken));
    CHECK_STATUS(LACE_INVALID, lace_message_take(p.message, 5, &taken));
    CHECK_STATUS(LACE_INVALID, lace_message_take(p.message, 6, &taken));
    CHECK_STATUS(LACE_INVALID, lace_message_take(p.message, SIZE_MAX, &taken));
    CHECK(taken.kind == LACE_ATTACH_NONE);
    CHECK_UINT(lace_message_attachments(p.message), 6);
    lace_message_clear(p.message); /* the rest is let go, what was taken is not */
    lace_message *other = message_make(p.region);
    CHECK_STATUS(LACE_END, lace_recv(receivers[0], other, TRY));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(receivers[1], other, TRY));
    CHECK_STATUS(LACE_END, lace_recv(receivers[2], other, TRY));
    lace_sender_destroy(second);
    CHECK_STATUS(LACE_END, lace_recv(receivers[1], other, TRY));
    lace_block_destroy(last);
    lace_message_destroy(other);
    for (size_t i = 0; i < 3; i++)
        lace_receiver_destroy(receivers[i]);
    pair_close(&p);
}
END_TEST

/* From a few that fit beside the bytes to as many as there may be. */
START_TEST(test_c7_many_attachments)
{
    static const size_t counts[] = {1, 2, 3, 7, 13, 14, 15, 16, 17, 100, 1000, LACE_MAX_ATTACHMENTS};
    size_t count = counts[_i];
    pair p;
    lace_block *block;
    pair_open(&p, 1);
    region_warm(p.region);
    size_t before = region_used(p.region);
    lace_attachment *carried = calloc(count + 1, sizeof *carried);
    CHECK_OK(lace_block_create(p.region, 64, &block));
    for (size_t i = 0; i <= count; i++) {
        carried[i].kind = LACE_ATTACH_BLOCK;
        CHECK_OK(lace_block_share(block, &carried[i].as.block));
    }
    if (count == LACE_MAX_ATTACHMENTS)
        CHECK_STATUS(LACE_INVALID, send_attached(p.sender, "n", carried, count + 1, TRY));
    lace_block_destroy(carried[count].as.block);
    CHECK_OK(send_attached(p.sender, "many", carried, count, TRY));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_UINT(lace_message_attachments(p.message), count);
    CHECK(message_is(p.message, "many"));
    for (size_t i = 0; i < count; i += 2) {
        lace_block *arrived = take_block(p.message, i);
        CHECK(lace_block_data(arrived) == lace_block_data(block));
        lace_block_destroy(arrived);
    }
    lace_message_clear(p.message);
    lace_block_destroy(block);
    CHECK_UINT(region_used(p.region), before);
    free(carried);
    pair_close(&p);
}
END_TEST

/* ---- let go ------------------------------------------------------------------------------------------- */

/* _i: in which way the message that carries the end is let go */
START_TEST(test_c7_a_discarded_message_lets_its_ends_go)
{
    pair p, q;
    call receiving;
    pair_open(&p, 1);
    pair_open_beside(&q, &p);
    call_start(&receiving, CALL_RECV, &q, 0);
    call_until_asleep(&receiving);
    CHECK_OK(send_sender(p.sender, q.sender, TRY));
    q.sender = NULL;
    CHECK(!receiving.done);
    switch (_i) {
    case 0: /* the channel it lies in is closed */
        lace_receiver_close(p.receiver);
        break;
    case 1:
        lace_receiver_destroy(p.receiver);
        p.receiver = NULL;
        break;
    case 2: /* received and cleared */
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        lace_message_clear(p.message);
        break;
    case 3: /* received over */
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        CHECK_OK(send_u64(p.sender, 1, TRY));
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        break;
    default: /* received and destroyed */
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        lace_message_destroy(p.message);
        p.message = NULL;
        break;
    }
    CHECK_STATUS(LACE_END, call_join(&receiving));
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

/* A chain: each channel holds the sender of the next one, or its receiver, in its queue. Closing the first lets all
 * go, one after the other, without a recursion as deep as the chain. */
START_TEST(test_c7_a_long_chain_is_let_go_without_recursion)
{
    lace_region *region = region_make(0);
    size_t length = 10000;
    region_warm(region);
    size_t before = region_used(region);
    lace_message *message = message_make(region);
    lace_sender *sender, *last_sender;
    lace_receiver *receiver, *last_receiver;
    channel_make(region, 1, &last_sender, &last_receiver); /* the far end of the chain is watched */
    lace_receiver *next_receiver;
    CHECK_OK(lace_receiver_clone(last_receiver, &next_receiver));
    lace_sender *next_sender;
    CHECK_OK(lace_sender_clone(last_sender, &next_sender));
    for (size_t i = 0; i < length; i++) {
        lace_attachment both[2] = {{LACE_ATTACH_SENDER, {.sender = next_sender}},
                                   {LACE_ATTACH_RECEIVER, {.receiver = next_receiver}}};
        channel_make(region, 1, &sender, &receiver);
        CHECK_OK(send_attached(sender, "next", both, 2, TRY));
        next_sender = sender;
        next_receiver = receiver;
    }
    lace_sender_close(last_sender);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(last_receiver, message, TRY));
    lace_sender_destroy(sender);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(last_receiver, message, TRY));
    if (_i % 2)
        lace_receiver_close(receiver);
    lace_receiver_destroy(receiver);
    CHECK_STATUS(LACE_END, lace_recv(last_receiver, message, TRY));
    lace_sender_destroy(last_sender);
    lace_receiver_destroy(last_receiver);
    CHECK_UINT(region_used(region), before);
    lace_message_destroy(message);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_c7_a_tree_is_let_go)
{
    lace_region *region = region_make(0);
    lace_receiver *leaves[256], *level[16];
    lace_sender *watched[256], *senders[16];
    lace_message *message = message_make(region);
    for (size_t i = 0; i < 256; i++)
        channel_make(region, 1, &watched[i], &leaves[i]);
    /* 16 channels with 16 senders each in their queues, and those 16 receivers in one more. */
    lace_sender *top;
    lace_receiver *root;
    channel_make(region, 16, &top, &root);
    for (size_t i = 0; i < 16; i++) {
        channel_make(region, 16, &senders[i], &level[i]);
        for (size_t k = 0; k < 16; k++)
            CHECK_OK(send_sender(senders[i], watched[16 * i + k], TRY));
        lace_sender_destroy(senders[i]);
        CHECK_OK(send_receiver(top, level[i], TRY));
    }
    for (size_t i = 0; i < 256; i++)
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(leaves[i], message, TRY));
    lace_receiver_destroy(root);
    for (size_t i = 0; i < 256; i++) {
        CHECK_STATUS(LACE_END, lace_recv(leaves[i], message, TRY));
        lace_receiver_destroy(leaves[i]);
    }
    lace_sender_destroy(top);
    lace_message_destroy(message);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_c7_an_end_may_travel_through_its_own_channel)
{
    pair p;
    lace_sender *clone;
    lace_receiver *receiver_clone;
    pair_open(&p, 2);
    CHECK_OK(lace_sender_clone(p.sender, &clone));
    CHECK_OK(send_sender(p.sender, clone, TRY));
    CHECK_OK(lace_receiver_clone(p.receiver, &receiver_clone));
    CHECK_OK(send_receiver(p.sender, receiver_clone, TRY));
    lace_sender_close(p.sender);
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    clone = take_sender(p.message, 0);
    CHECK_OK(send_text(clone, "again", TRY));
    lace_sender_destroy(clone);
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    receiver_clone = take_receiver(p.message, 0);
    CHECK_OK(lace_recv(receiver_clone, p.message, TRY));
    CHECK(message_is(p.message, "again"));
    CHECK_STATUS(LACE_END, lace_recv(receiver_clone, p.message, TRY));
    lace_receiver_destroy(receiver_clone);
    pair_close(&p);
}
END_TEST

/* A receiver queued in its own channel keeps it alive for ever; the region discards it when it goes. */
START_TEST(test_c7_a_cycle_goes_with_its_region)
{
    pair p;
    lace_receiver *clone;
    pair_open(&p, 2);
    CHECK_OK(lace_receiver_clone(p.receiver, &clone));
    CHECK_OK(send_receiver(p.sender, clone, TRY));
    pair_close(&p); /* checks that the region can go */
}
END_TEST

/* ---- traffic ------------------------------------------------------------------------------------------ */

/* Threads pass the ends of fresh channels around and use them; at the end not a byte of the region is left. */
typedef struct courier {
    lace_region *region;
    lace_sender *out;
    lace_receiver *in;
    size_t rounds;
} courier;

static void courier_run(void *context)
{
    courier *self = context;
    lace_message *message = message_make(self->region);
    uint64_t value;
    for (size_t i = 0; i < self->rounds; i++) {
        lace_sender *sender;
        lace_receiver *receiver;
        channel_make(self->region, 1, &sender, &receiver);
        CHECK_OK(send_u64(sender, i, TRY));
        CHECK_OK(send_receiver(self->out, receiver, NULL));
        lace_sender_destroy(sender);
        CHECK_OK(lace_recv(self->in, message, NULL));
        receiver = take_receiver(message, 0);
        CHECK_OK(recv_u64(receiver, message, &value, NULL));
        CHECK_STATUS(LACE_END, lace_recv(receiver, message, NULL));
        lace_receiver_destroy(receiver);
    }
    lace_message_destroy(message);
}

START_TEST(test_c7_ends_travel_between_threads)
{
    pair p;
    thread threads[4];
    pair_open(&p, 3);
    region_warm(p.region);
    size_t before = region_used(p.region);
    courier work = {p.region, p.sender, p.receiver, test_scaled(4000)};
    for (size_t i = 0; i < 4; i++)
        thread_start(&threads[i], courier_run, &work);
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    CHECK_UINT(region_used(p.region), before);
    pair_close(&p);
}
END_TEST

TEST_MAIN("travel", TEST(test_c7_a_sender_travels), TEST(test_c7_a_receiver_travels_with_what_is_queued),
          TEST_LOOP(test_c7_ends_travel_while_waiting_and_over_a_rendezvous, 4),
          TEST(test_c7_failed_sends_leave_the_ends_to_the_caller),
          TEST(test_c7_send_many_takes_the_ends_of_what_went), TEST(test_c7_a_closed_end_cannot_be_sent),
          TEST(test_c7_attachments_are_taken_once_and_in_any_order), TEST_LOOP(test_c7_many_attachments, 12),
          TEST_LOOP(test_c7_a_discarded_message_lets_its_ends_go, 5),
          TEST_LOOP(test_c7_a_long_chain_is_let_go_without_recursion, 2), TEST(test_c7_a_tree_is_let_go),
          TEST(test_c7_an_end_may_travel_through_its_own_channel), TEST(test_c7_a_cycle_goes_with_its_region),
          TEST(test_c7_ends_travel_between_threads))
