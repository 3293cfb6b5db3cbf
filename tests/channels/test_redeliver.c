/* test_redeliver.c - channels that redeliver: what a receiver has not confirmed comes back when its end is closed. */
#include "fixture.h"

#include "../../channels/look.h"

#include <poll.h>
#include <string.h>

#define WITH(...) (lace_channel_options){.redeliver = true, __VA_ARGS__}

static void open_redelivering(pair *opened, const lace_channel_options *options)
{
    *opened = (pair){.kind = &transports[0], .region = region_make(0)};
    opened->message = message_make(opened->region);
    CHECK_OK(lace_channel_create(opened->region, options, &opened->sender, &opened->receiver));
}

static lace_receiver *clone_of(lace_receiver *receiver)
{
    lace_receiver *clone;

    CHECK_OK(lace_receiver_clone(receiver, &clone));
    return clone;
}

/* Checks that the next message is `value`. */
static void expect(const pair *p, lace_receiver *receiver, uint64_t value, bool again)
{
    uint64_t got;

    CHECK_OK(recv_u64(receiver, p->message, &got, TRY));
    CHECK_UINT(got, value);
    CHECK(lace_message_redelivered(p->message) == again);
}

/* Receives by one of the calls. */
static lace_status receive_by(int way, const pair *p, lace_receiver *receiver, uint64_t *ret_value)
{
    const lace_case it = {.kind = LACE_CASE_RECV, .receiver = receiver, .message = p->message};
    lace_selector *selector;
    lace_status status;
    size_t index = 0;

    switch (way) {
    case 0:
        status = lace_recv(receiver, p->message, TRY);
        break;
    case 1:
        status = lace_recv_many(receiver, &p->message, 1, TRY, &index);
        break;
    case 2:
        status = lace_select(&it, 1, 0, TRY, &index);
        break;
    default:
        CHECK_OK(lace_selector_create(&it, 1, &selector));
        status = lace_selector_wait(selector, 0, p->message, TRY, &index);
        lace_selector_destroy(selector);
        break;
    }
    if (status == LACE_OK)
        *ret_value = message_u64(p->message);
    return status;
}
#define WAYS 4

/* Closing without a word brings it back, before what is queued; asking for the next confirms. */
START_TEST(test_redeliver_unless_confirmed)
{
    pair p;
    uint64_t value;
    open_redelivering(&p, &WITH(.capacity = 8));
    for (uint64_t i = 0; i < 5; i++)
        CHECK_OK(send_u64(p.sender, i, TRY));
    lace_receiver *other = clone_of(p.receiver);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_OK(receive_by(_i, &p, other, &value));
        CHECK_UINT(value, i);
        CHECK(!lace_message_redelivered(p.message));
    }
    CHECK_UINT(lace_receiver_length(p.receiver), 2);
    lace_receiver_close(other);
    CHECK_UINT(lace_receiver_length(p.receiver), 3);
    lace_receiver_destroy(other);
    CHECK_OK(receive_by(_i, &p, p.receiver, &value));
    CHECK_UINT(value, 2);
    CHECK(lace_message_redelivered(p.message));
    for (uint64_t i = 3; i < 5; i++)
        expect(&p, p.receiver, i, false);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    other = clone_of(p.receiver);
    CHECK_OK(send_u64(p.sender, 5, TRY));
    expect(&p, other, 5, false);
    CHECK_OK(lace_receiver_confirm(other));
    CHECK_OK(lace_receiver_confirm(other));
    lace_receiver_destroy(other);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

/* Several are out, of several ends, and come back in the order they were sent in. */
START_TEST(test_redeliver_keeps_order)
{
    pair p;
    lace_receiver *ends[3];
    lace_message *messages[4];
    size_t count;
    open_redelivering(&p, &WITH(.capacity = 16));
    for (uint64_t i = 0; i < 12; i++)
        CHECK_OK(send_u64(p.sender, i, TRY));
    for (int i = 0; i < 4; i++)
        messages[i] = message_make(p.region);
    for (int i = 0; i < 3; i++) {
        ends[i] = clone_of(p.receiver);
        CHECK_OK(lace_recv_many(ends[i], messages, 4, TRY, &count));
        CHECK_UINT(count, 4);
    }
    for (int i = 0; i < 4; i++)
        lace_message_destroy(messages[i]);
    CHECK_UINT(lace_receiver_length(p.receiver), 0);
    lace_receiver_destroy(ends[2]);
    CHECK_OK(lace_receiver_confirm(ends[1])); /* 4 .. 7 */
    CHECK_OK(send_u64(p.sender, 12, TRY));
    lace_receiver_destroy(ends[0]);
    lace_receiver_destroy(ends[1]);
    for (uint64_t i = 0; i < 13; i++) {
        if (i < 4 || i > 7)
            expect(&p, p.receiver, i, i != 12);
    }
    pair_close(&p);
}
END_TEST

/* The channel does not end while somebody has what is not confirmed: who waits gets it, or is told the end then. */
START_TEST(test_redeliver_end_waits)
{
    pair p;
    call waiting;
    lace_cancel *cancel;
    lace_look *look;
    lace_sight sight;
    bool comes_back = _i % 2;
    open_redelivering(&p, &WITH(.capacity = 8));
    lace_receiver *other = clone_of(p.receiver);
    CHECK_OK(send_u64(p.sender, 7, TRY));
    expect(&p, other, 7, false);
    look = lace_look_at_receiver(p.receiver);
    lace_look_see(look, &sight);
    CHECK_UINT(sight.unconfirmed, 1);
    lace_look_finish(look);
    lace_sender_close(p.sender);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    call_start_waiting(&waiting, _i < 2 ? CALL_RECV : _i < 4 ? CALL_SELECT_RECV : CALL_SELECTOR_RECV, &p, 0, LACE_NEVER,
                       cancel);
    call_until_asleep(&waiting);
    if (!comes_back)
        CHECK_OK(lace_receiver_confirm(other));
    lace_receiver_destroy(other);
    if (comes_back) {
        CHECK_OK(call_join(&waiting));
        CHECK_UINT(waiting.value, 7);
        CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, TRY));
    } else if (_i < 2) {
        CHECK_STATUS(LACE_END, call_join(&waiting));
    } else { /* it goes on with its other case */
        CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, TRY));
        lace_cancel_fire(cancel);
        CHECK_STATUS(LACE_CANCELLED, call_join(&waiting));
    }
    lace_cancel_destroy(cancel);
    pair_close(&p);
}
END_TEST

/* Whoever asks again confirms his own, and so is told the end. */
START_TEST(test_redeliver_sole_receiver_ends)
{
    pair p;
    uint64_t value;
    open_redelivering(&p, &WITH(.capacity = 8));
    CHECK_OK(send_u64(p.sender, 7, TRY));
    lace_sender_close(p.sender);
    CHECK_OK(receive_by(_i, &p, p.receiver, &value));
    CHECK_STATUS(LACE_END, receive_by(_i, &p, p.receiver, &value));
    pair_close(&p);
}
END_TEST

/* What came back counts for the capacity and the bytes, and may be more than they allow; nobody waits to bring it back. */
START_TEST(test_redeliver_capacity)
{
    pair p;
    call sending;
    open_redelivering(&p, &WITH(.capacity = 2, .max_bytes = 24));
    lace_receiver *other = clone_of(p.receiver);
    CHECK_OK(send_u64(p.sender, 0, TRY));
    CHECK_OK(send_u64(p.sender, 1, TRY));
    CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 2, TRY));
    expect(&p, other, 0, false);
    CHECK_OK(send_u64(p.sender, 2, TRY));
    lace_receiver_destroy(other);
    CHECK_UINT(lace_receiver_length(p.receiver), 3);
    CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 3, TRY));
    call_start(&sending, _i ? CALL_SELECT_SEND : CALL_SEND, &p, 3);
    call_until_asleep(&sending);
    expect(&p, p.receiver, 0, true);
    CHECK(!sending.done); /* two are queued still */
    expect(&p, p.receiver, 1, false);
    CHECK_OK(call_join(&sending));
    expect(&p, p.receiver, 2, false);
    expect(&p, p.receiver, 3, false);
    pair_close(&p);
}
END_TEST

/* Ends and blocks: the receiver has its own, the channel keeps one of each until it is confirmed. */
START_TEST(test_redeliver_attachments)
{
    pair p;
    lace_sender *inner, *got;
    lace_receiver *reply;
    lace_block *block;
    open_redelivering(&p, &WITH(.capacity = 4));
    lace_receiver *other = clone_of(p.receiver);
    channel_make(p.region, 1, &inner, &reply);
    CHECK_OK(lace_block_create(p.region, 100, &block));
    memset(lace_block_data(block), 1, 100);
    CHECK_OK(send_sender(p.sender, inner, TRY));
    CHECK_OK(send_block(p.sender, block, TRY));

    CHECK_OK(lace_recv(other, p.message, TRY));
    got = take_sender(p.message, 0);
    lace_sender_destroy(got);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(reply, p.message, TRY)); /* the channel has a sender still */
    CHECK_OK(lace_recv(other, p.message, TRY));
    CHECK_STATUS(LACE_END, lace_recv(reply, p.message, TRY)); /* the first is confirmed */
    CHECK_OK(lace_receiver_confirm(other));
    lace_receiver_destroy(reply);

    other = (lace_receiver_destroy(other), clone_of(p.receiver));
    channel_make(p.region, 1, &inner, &reply);
    CHECK_OK(lace_block_create(p.region, 100, &block));
    CHECK_OK(send_sender(p.sender, inner, TRY));
    CHECK_OK(send_block(p.sender, block, TRY));
    lace_message *messages[2] = {p.message, message_make(p.region)};
    size_t count;
    CHECK_OK(lace_recv_many(other, messages, 2, TRY, &count));
    CHECK_UINT(count, 2);
    block = take_block(messages[1], 0);
    memset(lace_block_data(block), 9, 100);
    lace_block_destroy(block);
    lace_receiver_destroy(other);
    lace_message_destroy(messages[1]);
    lace_message_clear(p.message);
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK(lace_message_redelivered(p.message));
    got = take_sender(p.message, 0);
    CHECK_OK(send_u64(got, 1, TRY));
    lace_sender_destroy(got);
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    block = take_block(p.message, 0);
    CHECK(((unsigned char *)lace_block_data(block))[99] == 9); /* as it is by then */
    lace_block_destroy(block);
    lace_receiver_destroy(reply);
    if (_i) /* else what is not confirmed goes with the last receiver */
        CHECK_OK(lace_receiver_confirm(p.receiver));
    pair_close(&p);
}
END_TEST

/* The last receiver discards what it had, unless there is one on its way. */
START_TEST(test_redeliver_last_receiver)
{
    pair p;
    open_redelivering(&p, &WITH(.capacity = 4));
    CHECK_OK(send_text(p.sender, "something that is longer than what fits into a slot of a channel, which is 224 bytes: "
                                 "0123456789012345678901234567890123456789012345678901234567890123456789"
                                 "0123456789012345678901234567890123456789012345678901234567890123456789"
                                 "0123456789012345678901234567890123456789012345678901234567890123456789", TRY));
    if (_i) {
        lace_receiver *travels = clone_of(p.receiver);
        pair over = {.kind = &transports[0], .region = p.region, .message = p.message};
        channel_make(p.region, 1, &over.sender, &over.receiver);
        CHECK_OK(send_receiver(over.sender, travels, TRY));
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        lace_receiver_destroy(p.receiver);
        CHECK_UINT(lace_sender_length(p.sender), 1);
        CHECK_OK(lace_recv(over.receiver, p.message, TRY));
        p.receiver = take_receiver(p.message, 0);
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        CHECK(lace_message_redelivered(p.message));
        lace_sender_destroy(over.sender);
        lace_receiver_destroy(over.receiver);
    } else {
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        lace_receiver_close(p.receiver);
        CHECK_STATUS(LACE_BROKEN, send_u64(p.sender, 1, TRY));
    }
    pair_close(&p);
}
END_TEST

START_TEST(test_redeliver_descriptor)
{
    pair p;
    int fd;
    open_redelivering(&p, &WITH(.capacity = 4));
    lace_receiver *other = clone_of(p.receiver);
    CHECK_OK(lace_receiver_fd(p.receiver, &fd));
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    CHECK_OK(send_u64(p.sender, 1, TRY));
    CHECK(poll(&polled, 1, 0) == 1);
    expect(&p, other, 1, false);
    lace_sender_close(p.sender);
    CHECK(poll(&polled, 1, 0) == 0); /* it has not ended */
    if (_i)
        CHECK_OK(lace_receiver_confirm(other));
    lace_receiver_destroy(other);
    CHECK(poll(&polled, 1, 0) == 1);
    CHECK_STATUS(_i ? LACE_END : LACE_OK, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

START_TEST(test_redeliver_options)
{
    pair p;
    lace_sender *sender;
    lace_receiver *receiver;
    pair_open_memory(&p, 4, 0);
    CHECK_STATUS(LACE_INVALID, lace_channel_create(p.region, &WITH(.capacity = 0), &sender, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_channel_create(p.region, &WITH(.capacity = 1, .overwrite = true), &sender, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_receiver_confirm(NULL));
    CHECK_OK(send_u64(p.sender, 1, TRY));
    lace_receiver *other = clone_of(p.receiver);
    expect(&p, other, 1, false);
    CHECK_OK(lace_receiver_confirm(other)); /* nothing to it */
    lace_receiver_close(other);
    CHECK_STATUS(LACE_CLOSED, lace_receiver_confirm(other));
    lace_receiver_destroy(other);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

/* A select asks, whichever case happens. */
START_TEST(test_redeliver_select_asks)
{
    pair p, beside = {0};
    lace_selector *selector;
    size_t index = 9;
    open_redelivering(&p, &WITH(.capacity = 4));
    channel_make(p.region, 1, &beside.sender, &beside.receiver);
    lace_receiver *other = clone_of(p.receiver);
    CHECK_OK(send_u64(p.sender, 1, TRY));
    CHECK_OK(send_u64(beside.sender, 2, TRY));
    expect(&p, other, 1, false);
    const lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = beside.receiver, .message = p.message},
                                {.kind = LACE_CASE_RECV, .receiver = other, .message = p.message}};
    if (_i) {
        CHECK_OK(lace_selector_create(cases, 2, &selector));
        CHECK_OK(lace_selector_wait(selector, 0, p.message, TRY, &index));
        lace_selector_destroy(selector);
    } else {
        CHECK_OK(lace_select(cases, 2, 0, TRY, &index));
    }
    CHECK_UINT(index, 0);
    lace_receiver_destroy(other);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    pair_close_ends(&beside);
    pair_close(&p);
}
END_TEST

/* ---- many threads ------------------------------------------------------------------------------------- */

#define SENDERS 2
#define RECEIVERS 4
#define EACH 2000

struct crowd {
    lace_region *region;
    lace_sender *sender;
    lace_receiver *receiver; /* its own */
    lace_receiver *source;   /* where it gets a new one */
    rng random;
    int way;
    unsigned number;
    thread runner;
};

static _Atomic unsigned seen[SENDERS][EACH]; /* how often it was confirmed */

static void crowd_send(void *context)
{
    struct crowd *crowd = context;
    unsigned char bytes[600] = {0};

    for (uint64_t i = 0; i < EACH; i++) {
        uint64_t value = (uint64_t)crowd->number << 32 | i;
        memcpy(bytes, &value, sizeof value);
        lace_payload payload = payload_of(bytes, i % 3 == 0 ? sizeof bytes : sizeof value);
        CHECK_OK(lace_send(crowd->sender, &payload, NULL));
    }
    lace_sender_destroy(crowd->sender);
}

/* Goes now and then, with what it has got, and comes again. */
static void crowd_receive(void *context)
{
    struct crowd *crowd = context;
    lace_message *message = message_make(crowd->region);
    lace_status status;
    size_t index;

    for (;;) {
        const lace_case it = {.kind = LACE_CASE_RECV, .receiver = crowd->receiver, .message = message};
        if (rng_below(&crowd->random, 2))
            status = lace_recv(crowd->receiver, message, NULL);
        else
            status = lace_select(&it, 1, 0, NULL, &index);
        if (status != LACE_OK)
            break;
        uint64_t value;
        memcpy(&value, lace_message_data(message), sizeof value);
        if (rng_below(&crowd->random, 4) == 0) {
            lace_receiver_destroy(crowd->receiver);
            crowd->receiver = clone_of(crowd->source);
        } else {
            CHECK_OK(lace_receiver_confirm(crowd->receiver));
            atomic_fetch_add(&seen[value >> 32][value & UINT32_MAX], 1);
        }
    }
    CHECK_STATUS(LACE_END, status);
    lace_receiver_destroy(crowd->receiver);
    lace_message_destroy(message);
}

START_TEST(test_redeliver_crowd)
{
    pair p;
    struct crowd senders[SENDERS], receivers[RECEIVERS];
    rng random = rng_start(__func__, (uint64_t)_i);
    open_redelivering(&p, &WITH(.capacity = _i == 0 ? 1 : 16));
    for (unsigned i = 0; i < RECEIVERS; i++) {
        receivers[i] = (struct crowd){.region = p.region, .receiver = clone_of(p.receiver), .source = p.receiver,
                                      .random = rng_start("crowd", rng_next(&random))};
        thread_start(&receivers[i].runner, crowd_receive, &receivers[i]);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct crowd){.region = p.region, .number = i};
        CHECK_OK(lace_sender_clone(p.sender, &senders[i].sender));
        thread_start(&senders[i].runner, crowd_send, &senders[i]);
    }
    lace_sender_close(p.sender);
    for (unsigned i = 0; i < SENDERS; i++)
        thread_join(&senders[i].runner);
    for (unsigned i = 0; i < RECEIVERS; i++)
        thread_join(&receivers[i].runner);
    for (unsigned s = 0; s < SENDERS; s++) {
        for (unsigned i = 0; i < EACH; i++)
            CHECK_UINT(seen[s][i], 1);
    }
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

TEST_MAIN("redeliver", TEST_LOOP(test_redeliver_unless_confirmed, WAYS), TEST(test_redeliver_keeps_order),
          TEST_LOOP(test_redeliver_end_waits, 6), TEST_LOOP(test_redeliver_sole_receiver_ends, WAYS),
          TEST_LOOP(test_redeliver_capacity, 2), TEST_LOOP(test_redeliver_attachments, 2),
          TEST_LOOP(test_redeliver_last_receiver, 2), TEST_LOOP(test_redeliver_descriptor, 2), TEST(test_redeliver_options),
          TEST_LOOP(test_redeliver_select_asks, 2), TEST_LONG(test_redeliver_crowd, 2, 60))
