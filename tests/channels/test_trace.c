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
    uint64_t all[LACE_PURPOSES];

    lace_meter_read(meter, lace_clock(), all);
    return (int64_t)all[purpose];
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
    ck_assert_uint_eq(meter.waits[LACE_FOR_OTHER] + meter.waits[LACE_FOR_INPUT] + meter.waits[LACE_FOR_OUTPUT], 4);
    ck_assert_int_eq(meter.since, 0);
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
    uint64_t all[LACE_PURPOSES];

    lace_meter = &meter;
    lace_meter_begin(LACE_FOR_OUTPUT, 1000);
    lace_meter_read(&meter, 1500, all);
    ck_assert_uint_eq(all[LACE_FOR_OUTPUT], 500);
    lace_meter_end(LACE_FOR_OUTPUT, 1000, 1700);
    lace_meter_read(&meter, 2000, all);
    ck_assert_uint_eq(all[LACE_FOR_OUTPUT], 700);
    ck_assert_uint_eq(all[LACE_FOR_INPUT] + all[LACE_FOR_OTHER], 0);
    lace_meter = NULL;
}
END_TEST

TEST_MAIN("trace", TEST_LOOP(test_both_ends_have_one_number, 4), TEST(test_a_track_is_a_ring),
          TEST(test_waits_are_added_up_by_purpose), TEST(test_a_wait_counts_while_it_lasts))
