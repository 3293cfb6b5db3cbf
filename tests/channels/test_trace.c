/* Traces and meters: both ends of a message have one number, however it went; waits are added up by what they were for. */
#include "fixture.h"

#include "../../channels/end.h"

#include <pthread.h>
#include <stdlib.h>

#define EVENTS 1024

static struct lace_ring *ring_of(lace_sender *sender)
{
    return sender->end.view.ring;
}

/* The numbers of one kind of event on a channel, over all tracks; numbers[n] counts the number n. */
static void count_events(uint32_t channel, uint16_t kind, unsigned numbers[EVENTS])
{
    for (const struct lace_track *track = lace_trace_tracks(); track != NULL; track = track->next) {
        uint64_t count = atomic_load(&track->ring->count);
        ck_assert_uint_le(count, track->room);
        for (uint64_t i = 0; i < count; i++) {
            const struct lace_event *event = &track->ring->events[i];
            if (event->channel != channel || event->kind != kind)
                continue;
            ck_assert_uint_lt(event->sequence, EVENTS);
            numbers[event->sequence]++;
        }
    }
}

/* Each of the first `count` messages has been sent and received once, under its number. */
static void check_numbers(uint32_t channel, size_t count)
{
    unsigned sent[EVENTS] = {0}, received[EVENTS] = {0};

    count_events(channel, LACE_EVENT_SENT, sent);
    count_events(channel, LACE_EVENT_RECEIVED, received);
    for (size_t i = 0; i < EVENTS; i++) {
        ck_assert_msg(sent[i] == (i < count), "message %zu was sent %u times", i, sent[i]);
        ck_assert_msg(received[i] == (i < count), "message %zu was received %u times", i, received[i]);
    }
}

struct crowd {
    lace_region *region;
    lace_sender *sender;
    lace_receiver *receiver;
    unsigned messages; /* of each */
    bool selects;
};

static void *send_all(void *argument)
{
    const struct crowd *crowd = argument;
    const lace_payload payload = {.data = "word", .size = 4};

    for (unsigned i = 0; i < crowd->messages; i++) {
        size_t index;
        const lace_case one = {.kind = LACE_CASE_SEND, .sender = crowd->sender, .payload = &payload};
        ck_assert_int_eq(crowd->selects && i % 2 != 0 ? lace_select(&one, 1, 0, NULL, &index)
                                                      : lace_send(crowd->sender, &payload, NULL),
                         LACE_OK);
    }
    return NULL;
}

static void *receive_all(void *argument)
{
    const struct crowd *crowd = argument;
    lace_message *message;

    ck_assert_int_eq(lace_message_create(crowd->region, &message), LACE_OK);
    for (unsigned i = 0; i < crowd->messages; i++) {
        size_t index;
        const lace_case one = {.kind = LACE_CASE_RECV, .receiver = crowd->receiver, .message = message};
        ck_assert_int_eq(crowd->selects && i % 3 != 0 ? lace_select(&one, 1, 0, NULL, &index)
                                                      : lace_recv(crowd->receiver, message, NULL),
                         LACE_OK);
    }
    lace_message_destroy(message);
    return NULL;
}

static void run_crowd(size_t capacity, bool selects)
{
    struct crowd crowd = {.messages = 100, .selects = selects};
    const lace_channel_options options = {.capacity = capacity};
    pthread_t threads[6];

    ck_assert_int_eq(lace_region_create(NULL, &crowd.region), LACE_OK);
    ck_assert_int_eq(lace_channel_create(crowd.region, &options, &crowd.sender, &crowd.receiver), LACE_OK);
    ring_of(crowd.sender)->listed = 7;
    lace_trace_begin(EVENTS);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i % 2 != 0 ? send_all : receive_all, &crowd), 0);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    check_numbers(7, 300);
    const struct lace_ring *ring = ring_of(crowd.sender);
    ck_assert_uint_eq(ring->tail + ring->handed, 300);
    ck_assert_uint_eq(ring->head + ring->handed, 300);
    ck_assert_uint_eq(ring->carried, 1200);
    lace_trace_end();
    ck_assert_ptr_null(lace_trace_tracks());
    lace_sender_destroy(crowd.sender);
    lace_receiver_destroy(crowd.receiver);
    lace_region_destroy(crowd.region);
}

START_TEST(test_both_ends_have_one_number)
{
    run_crowd((size_t)_i, false);
    run_crowd((size_t)_i, true);
}
END_TEST

/* A track keeps its latest events. */
START_TEST(test_a_track_is_a_ring)
{
    lace_trace_begin(16);
    for (uint64_t i = 0; i < 40; i++)
        lace_trace_add(&(struct lace_event){.time = 1, .sequence = i, .kind = LACE_EVENT_SENT});
    const struct lace_track *track = lace_trace_tracks();
    ck_assert_ptr_nonnull(track);
    ck_assert_uint_eq(track->ring->count, 40);
    for (uint64_t i = 24; i < 40; i++)
        ck_assert_uint_eq(track->ring->events[i & 15].sequence, i);
    lace_trace_end();
}
END_TEST

static int64_t waited(const struct lace_meter *meter, enum lace_purpose purpose)
{
    struct lace_reading reading;

    lace_meter_read(meter, &reading);
    return (int64_t)reading.waited[purpose];
}

START_TEST(test_waits_are_added_up_by_purpose)
{
    struct lace_meter meter = {0};
    lace_region *region;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_message *message;
    const lace_payload payload = {.data = "word", .size = 4};
    const int64_t span = 20 * 1000 * 1000;

    ck_assert_int_eq(lace_region_create(NULL, &region), LACE_OK);
    ck_assert_int_eq(lace_message_create(region, &message), LACE_OK);
    ck_assert_int_eq(lace_channel_create(region, &(lace_channel_options){.capacity = 1}, &sender, &receiver), LACE_OK);
    lace_meter = &meter;
    for (uint32_t listed = 0; listed < 2; listed++) {
        int64_t before[LACE_PURPOSES];
        ring_of(sender)->listed = listed;
        for (int i = 0; i < LACE_PURPOSES; i++)
            before[i] = waited(&meter, (enum lace_purpose)i);
        lace_wait wait = {.deadline = lace_clock() + span};
        ck_assert_int_eq(lace_recv(receiver, message, &wait), LACE_TIMEOUT);
        enum lace_purpose purpose = listed ? LACE_FOR_INPUT : LACE_FOR_OTHER;
        ck_assert_int_ge(waited(&meter, purpose) - before[purpose], span * 9 / 10);
        before[purpose] = waited(&meter, purpose);

        ck_assert_int_eq(lace_send(sender, &payload, NULL), LACE_OK);
        wait.deadline = lace_clock() + span;
        ck_assert_int_eq(lace_send(sender, &payload, &wait), LACE_TIMEOUT);
        purpose = listed ? LACE_FOR_OUTPUT : LACE_FOR_OTHER;
        ck_assert_int_ge(waited(&meter, purpose) - before[purpose], span * 9 / 10);
        ck_assert_int_eq(lace_recv(receiver, message, NULL), LACE_OK);
    }
    ck_assert_uint_eq(meter.turns, 8);
    lace_meter = NULL;
    lace_message_destroy(message);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_region_destroy(region);
}
END_TEST

/* A wait that goes on counts, as long as it has lasted. */
START_TEST(test_a_wait_counts_while_it_lasts)
{
    struct lace_meter meter = {0};
    struct lace_reading reading;
    int64_t started = lace_clock() - 1000000;

    lace_meter = &meter;
    lace_meter_begin(LACE_FOR_OUTPUT, started);
    lace_meter_read(&meter, &reading);
    ck_assert(reading.waiting);
    ck_assert_uint_eq(reading.waits, 0);
    ck_assert_int_eq((int64_t)reading.waited[LACE_FOR_OUTPUT], reading.now - started);
    lace_meter_end(LACE_FOR_OUTPUT, started, started + 700);
    lace_meter_read(&meter, &reading);
    ck_assert(!reading.waiting);
    ck_assert_uint_eq(reading.waits, 1);
    ck_assert_uint_eq(reading.waited[LACE_FOR_OUTPUT], 700);
    ck_assert_uint_eq(reading.waited[LACE_FOR_INPUT] + reading.waited[LACE_FOR_OTHER], 0);
    lace_meter = NULL;
}
END_TEST

struct waiter {
    struct lace_meter meter;
    atomic_bool stop;
};

/* Waits of a nanosecond each, as the meter has it, in turn for each purpose; but for as long as one lasts, it seems to have
 * lasted for ever. */
static void *wait_again_and_again(void *context)
{
    struct waiter *waiter = context;

    lace_meter = &waiter->meter;
    for (uint64_t i = 0; !atomic_load(&waiter->stop); i++) {
        for (uint64_t pause = 0; pause < i / 32 % 32; pause++) /* now faster than anybody can read, now slower */
            lace_clock();
        if (i % 2 == 0)
            lace_meter_begin((enum lace_purpose)(i / 2 % LACE_PURPOSES), 1);
        else
            lace_meter_end((enum lace_purpose)(i / 2 % LACE_PURPOSES), 1, 2);
    }
    return NULL;
}

/* Each wait is in a reading once: as over, or as going on. */
START_TEST(test_a_reading_is_of_one_instant)
{
    struct waiter waiter = {.stop = false};
    struct lace_reading reading = {.waits = 0};
    pthread_t waits;
    int number = 0;

    ck_assert_int_eq(pthread_create(&waits, NULL, wait_again_and_again, &waiter), 0);
    for (uint64_t before = 0; number < 100000 || reading.waits < 1000; before = reading.waits, number++) {
        lace_meter_read(&waiter.meter, &reading);
        ck_assert_uint_ge(reading.waits, before);
        for (uint64_t i = 0; i < LACE_PURPOSES; i++) {
            bool present = reading.waiting && reading.waits % LACE_PURPOSES == i;
            uint64_t past = reading.waits / LACE_PURPOSES + (reading.waits % LACE_PURPOSES > i);
            ck_assert_uint_eq(reading.waited[i], past + (present ? (uint64_t)reading.now - 1 : 0));
        }
    }
    atomic_store(&waiter.stop, true);
    pthread_join(waits, NULL);
}
END_TEST

START_TEST(test_no_share_that_is_told_becomes_less)
{
    uint64_t told[3] = {0};
    static const struct {
        uint64_t shares[3], told[3];
    } steps[] = {
        {{5, 10, 0}, {5, 10, 0}},   {{5, 4, 9}, {5, 10, 3}}, /* what was the second's turns out to be the third's */
        {{5, 4, 20}, {5, 10, 14}},  {{5, 12, 20}, {5, 12, 20}}, /* it has caught up */
        {{5, 11, 20}, {5, 12, 20}},                             /* the sum itself has become less */
        {{0, 13, 25}, {5, 12, 21}},
    };

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        lace_shares_tell(told, steps[i].shares, 3);
        for (int share = 0; share < 3; share++)
            ck_assert_uint_eq(told[share], steps[i].told[share]);
    }
}
END_TEST

TEST_MAIN("trace", TEST_LOOP(test_both_ends_have_one_number, 4), TEST(test_a_track_is_a_ring),
          TEST(test_waits_are_added_up_by_purpose), TEST(test_a_wait_counts_while_it_lasts),
          TEST(test_a_reading_is_of_one_instant), TEST(test_no_share_that_is_told_becomes_less))
