/* test_place.c - child processes in places of a region: the same channels, blocks, waits and descriptors there. */
#include "family.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- echo --------------------------------------------------------------------------------------------- */

/* Sends back what it receives, with what is attached to it, until the channel ends. */
static int run_echo(lace_region *region, const char *argument)
{
    lace_receiver *in = gift_receiver(region);
    lace_sender *out = gift_sender(region);
    lace_message *message = message_make(region);
    lace_status status;
    uint64_t count = 0;

    (void)argument;
    while ((status = lace_recv(in, message, NULL)) == LACE_OK) {
        lace_attachment attached[8];
        size_t held = lace_message_attachments(message);

        CHECK(held <= 8);
        for (size_t i = 0; i < held; i++)
            CHECK_OK(lace_message_take(message, i, &attached[i]));
        CHECK_OK(lace_send(out,
                           &(lace_payload){.data = lace_message_data(message),
                                           .size = lace_message_size(message),
                                           .attachments = attached,
                                           .attachment_count = held},
                           NULL));
        count++;
    }
    CHECK(status == LACE_END);
    CHECK(count > 0);
    lace_message_destroy(message);
    lace_receiver_destroy(in);
    lace_sender_destroy(out);
    return 0;
}

struct echo {
    child process;
    lace_region *region;
    lace_sender *to;
    lace_receiver *from;
    lace_message *message;
};

static void echo_start(struct echo *echo, const char *script_name, size_t capacity)
{
    lace_receiver *in;
    lace_sender *out;

    echo->region = region_make(64 << 20);
    channel_make(echo->region, capacity, &echo->to, &in);
    channel_make(echo->region, capacity, &out, &echo->from);
    child_make(&echo->process, echo->region);
    child_give_receiver(&echo->process, in);
    child_give_sender(&echo->process, out);
    child_start(&echo->process, script_name, NULL);
    echo->message = message_make(echo->region);
}

static void echo_end(struct echo *echo)
{
    lace_sender_destroy(echo->to);
    child_join(&echo->process);
    CHECK_STATUS(LACE_END, lace_recv(echo->from, echo->message, NULL));
    lace_receiver_destroy(echo->from);
    lace_message_destroy(echo->message);
    CHECK_OK(lace_region_destroy(echo->region));
}

static const size_t capacities[] = {0, 1, 8};
#define CAPACITIES 3

START_TEST(test_place_messages_there_and_back)
{
    struct echo echo;

    echo_start(&echo, "echo", capacities[_i]);
    for (uint64_t i = 0; i < test_scaled(2000); i++) {
        uint64_t value;

        CHECK_OK(send_u64(echo.to, i, WITHIN_MS(20000)));
        CHECK_OK(recv_u64(echo.from, echo.message, &value, WITHIN_MS(20000)));
        CHECK_UINT(value, i);
    }
    echo_end(&echo);
}
END_TEST

START_TEST(test_place_large_messages_and_blocks)
{
    struct echo echo;
    char *bytes = malloc(100000);

    echo_start(&echo, "echo", capacities[_i]);
    for (int i = 0; i < 30; i++) {
        lace_block *block;
        lace_payload payload = {.data = bytes, .size = (size_t)(i * 3333)};
        lace_attachment attached = {.kind = LACE_ATTACH_BLOCK};

        memset(bytes, i + 1, 100000);
        CHECK_OK(lace_block_create(echo.region, 1 << 20, &block));
        memset(lace_block_data(block), i, 1 << 20);
        attached.as.block = block;
        payload.attachments = &attached;
        payload.attachment_count = 1;
        CHECK_OK(lace_send(echo.to, &payload, WITHIN_MS(20000)));
        CHECK_OK(lace_recv(echo.from, echo.message, WITHIN_MS(20000)));
        CHECK_UINT(lace_message_size(echo.message), payload.size);
        CHECK(payload.size == 0 || memcmp(lace_message_data(echo.message), bytes, payload.size) == 0);
        block = take_block(echo.message, 0);
        CHECK(((unsigned char *)lace_block_data(block))[(1 << 20) - 1] == i);
        lace_block_destroy(block);
    }
    free(bytes);
    echo_end(&echo);
}
END_TEST

START_TEST(test_place_ends_travel)
{
    struct echo echo;
    lace_sender *sender;
    lace_receiver *receiver;
    uint64_t value;

    echo_start(&echo, "echo", 1);
    channel_make(echo.region, 4, &sender, &receiver);
    CHECK_OK(send_u64(sender, 7, TRY));
    CHECK_OK(send_receiver(echo.to, receiver, NULL));
    CHECK_OK(lace_recv(echo.from, echo.message, WITHIN_MS(20000)));
    receiver = take_receiver(echo.message, 0);
    CHECK_OK(send_sender(echo.to, sender, NULL));
    CHECK_OK(lace_recv(echo.from, echo.message, WITHIN_MS(20000)));
    sender = take_sender(echo.message, 0);
    CHECK_OK(recv_u64(receiver, echo.message, &value, TRY));
    CHECK_UINT(value, 7);
    lace_sender_destroy(sender);
    CHECK_STATUS(LACE_END, lace_recv(receiver, echo.message, NULL));
    lace_receiver_destroy(receiver);
    echo_end(&echo);
}
END_TEST

/* ---- other waits -------------------------------------------------------------------------------------- */

/* The same with a selector, a select, and a time that has passed first. */
static int run_chooser(lace_region *region, const char *argument)
{
    lace_receiver *in = gift_receiver(region);
    lace_sender *out = gift_sender(region);
    lace_message *message = message_make(region);
    lace_case it = {.kind = LACE_CASE_RECV, .receiver = in, .message = message};
    lace_selector *selector;
    lace_status status;
    size_t index;

    (void)argument;
    CHECK_STATUS(LACE_TIMEOUT, lace_select(&it, 1, 0, WITHIN_MS(5), &index));
    CHECK_OK(lace_selector_create(&it, 1, &selector));
    CHECK_STATUS(LACE_TIMEOUT, lace_selector_wait(selector, 0, message, WITHIN_MS(5), &index));
    CHECK_OK(send_text(out, "ready", NULL));
    for (;;) {
        status = lace_selector_wait(selector, 0, message, NULL, &index);
        if (status != LACE_OK)
            break;
        lace_payload payload = payload_of(lace_message_data(message), lace_message_size(message));
        lace_case there = {.kind = LACE_CASE_SEND, .sender = out, .payload = &payload};
        CHECK_OK(lace_select(&there, 1, 0, NULL, &index));
    }
    CHECK(status == LACE_END);
    lace_selector_destroy(selector);
    lace_message_destroy(message);
    lace_receiver_destroy(in);
    lace_sender_destroy(out);
    return 0;
}

START_TEST(test_place_select_and_selector)
{
    struct echo echo;

    echo_start(&echo, "chooser", capacities[_i]);
    CHECK_OK(lace_recv(echo.from, echo.message, WITHIN_MS(20000)));
    CHECK(message_is(echo.message, "ready"));
    for (uint64_t i = 0; i < test_scaled(500); i++) {
        uint64_t value;

        CHECK_OK(send_u64(echo.to, i, WITHIN_MS(20000)));
        CHECK_OK(recv_u64(echo.from, echo.message, &value, WITHIN_MS(20000)));
        CHECK_UINT(value, i);
    }
    echo_end(&echo);
}
END_TEST

/* ---- bells -------------------------------------------------------------------------------------------- */

static int run_obedient(lace_region *region, const char *argument)
{
    lace_sender *out = gift_sender(region);

    (void)argument;
    orders_await(1);
    CHECK_OK(send_text(out, "one", NULL));
    orders_await(6);
    CHECK_OK(send_text(out, "six", NULL));
    lace_sender_destroy(out);
    return 0;
}

START_TEST(test_place_orders_arrive)
{
    lace_region *region = region_make(1 << 20);
    lace_message *message = message_make(region);
    lace_receiver *from;
    lace_sender *out;
    child process;

    channel_make(region, 4, &out, &from);
    child_make(&process, region);
    child_give_sender(&process, out);
    lace_place_order(process.place, 1); /* before it is there */
    child_start(&process, "obedient", NULL);
    CHECK_OK(lace_recv(from, message, NULL));
    CHECK(message_is(message, "one"));
    lace_place_order(process.place, 2);
    lace_place_order(process.place, 4);
    CHECK_OK(lace_recv(from, message, NULL));
    CHECK(message_is(message, "six"));
    child_join(&process);
    lace_receiver_destroy(from);
    lace_message_destroy(message);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

/* Receives by the descriptor alone, and sends back likewise. */
static int run_poller(lace_region *region, const char *argument)
{
    lace_receiver *in = gift_receiver(region);
    lace_sender *out = gift_sender(region);
    lace_message *message = message_make(region);
    struct pollfd in_poll = {.events = POLLIN}, out_poll = {.events = POLLIN};
    bool ended = false;

    (void)argument;
    CHECK_OK(lace_receiver_fd(in, &in_poll.fd));
    CHECK_OK(lace_sender_fd(out, &out_poll.fd));
    while (!ended) {
        uint64_t value;

        CHECK(poll(&in_poll, 1, 20000) == 1);
        lace_status status = recv_u64(in, message, &value, TRY);
        if (status == LACE_TIMEOUT) /* somebody else had it, or the descriptor is late */
            continue;
        ended = status == LACE_END;
        if (ended)
            break;
        CHECK_OK(status);
        do {
            CHECK(poll(&out_poll, 1, 20000) == 1);
            status = send_u64(out, value, TRY);
        } while (status == LACE_TIMEOUT);
        CHECK_OK(status);
    }
    lace_message_destroy(message);
    lace_receiver_destroy(in);
    lace_sender_destroy(out);
    return 0;
}

/* The descriptor becomes readable (or not) within a while. */
static void until_readable(int fd, bool wanted)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};

    if (wanted) {
        CHECK(poll(&polled, 1, 20000) == 1);
        return;
    }
    for (int i = 0; i < 20000; i++) {
        if (poll(&polled, 1, 0) == 0)
            return;
        pass_ms(1);
    }
    CHECK(!"it stays readable");
}

START_TEST(test_place_descriptors_of_both_sides)
{
    struct echo echo;
    int from_fd, to_fd;

    echo_start(&echo, "poller", 1);
    CHECK_OK(lace_receiver_fd(echo.from, &from_fd));
    CHECK_OK(lace_sender_fd(echo.to, &to_fd));
    for (uint64_t i = 0; i < test_scaled(300); i++) {
        uint64_t value;

        until_readable(to_fd, true);
        CHECK_OK(send_u64(echo.to, i, WITHIN_MS(20000)));
        until_readable(from_fd, true);
        CHECK_OK(recv_u64(echo.from, echo.message, &value, WITHIN_MS(20000)));
        CHECK_UINT(value, i);
        until_readable(from_fd, false);
    }
    echo_end(&echo);
}
END_TEST

/* A select over a pipe and a memory channel sits in poll: what another process sends must get it out. */
static int run_sleeper(lace_region *region, const char *argument)
{
    lace_receiver *in = gift_receiver(region);
    lace_sender *out = gift_sender(region), *quiet;
    lace_message *message = message_make(region), *piped;
    lace_receiver *pipe_in;
    lace_status status;
    size_t index;

    (void)argument;
    CHECK_OK(lace_pipe_create(NULL, &quiet, &pipe_in));
    CHECK_OK(lace_message_create(NULL, &piped));
    const lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = in, .message = message},
                                {.kind = LACE_CASE_RECV, .receiver = pipe_in, .message = piped}};
    for (;;) {
        status = lace_select(cases, 2, 0, WITHIN_MS(20000), &index);
        CHECK_OK(status);
        CHECK(index == 0);
        if (message_is(message, "leave"))
            break;
        CHECK_OK(send_text(out, "awake", NULL));
    }
    lace_sender_destroy(quiet);
    lace_receiver_destroy(pipe_in);
    lace_message_destroy(piped);
    lace_message_destroy(message);
    lace_receiver_destroy(in);
    lace_sender_destroy(out);
    return 0;
}

START_TEST(test_place_one_in_poll_is_woken)
{
    struct echo echo;

    echo_start(&echo, "sleeper", capacities[_i]);
    for (uint64_t i = 0; i < test_scaled(100); i++) {
        if (i % 10 == 0)
            pass_ms(2); /* it is in poll by now, or will be */
        CHECK_OK(send_text(echo.to, "wake up", WITHIN_MS(20000)));
        CHECK_OK(lace_recv(echo.from, echo.message, WITHIN_MS(20000)));
        CHECK(message_is(echo.message, "awake"));
    }
    CHECK_OK(send_text(echo.to, "leave", WITHIN_MS(20000)));
    echo_end(&echo);
}
END_TEST

/* ---- what is refused ---------------------------------------------------------------------------------- */

START_TEST(test_place_misuse)
{
    lace_region *region = region_make(64 << 20), *other = region_make(1 << 20), *attached;
    lace_place *place, *more[257];
    lace_sender *sender;
    lace_receiver *receiver;
    size_t count = 0, used = region_used(region);
    lace_status status;

    CHECK_OK(lace_place_create(region, &place));
    channel_make(other, 1, &sender, &receiver);
    lace_attachment gift = {.kind = LACE_ATTACH_SENDER, .as.sender = sender};
    CHECK_STATUS(LACE_INVALID, lace_place_give(place, &gift));
    gift.kind = LACE_ATTACH_NONE;
    CHECK_STATUS(LACE_INVALID, lace_place_give(place, &gift));
    CHECK_STATUS(LACE_END, (lace_region_seat(region) == 0 ? LACE_END : LACE_OK));

    int fd = memfd_create("no region", MFD_CLOEXEC);
    CHECK_STATUS(LACE_INVALID, lace_region_attach(fd, 1, NULL, &attached));
    CHECK(ftruncate(fd, 1 << 20) == 0);
    CHECK_STATUS(LACE_INVALID, lace_region_attach(fd, 1, NULL, &attached));
    close(fd);
    fd = fcntl(lace_region_descriptor(region), F_DUPFD_CLOEXEC, 0);
    CHECK_STATUS(LACE_INVALID, lace_region_attach(fd, lace_place_seat(place) + 1, NULL, &attached));
    CHECK_STATUS(LACE_INVALID, lace_region_attach(fd, 0, NULL, &attached));
    CHECK_STATUS(LACE_INVALID, lace_region_attach(fd, 10000, NULL, &attached));
    close(fd);
    CHECK_STATUS(LACE_INVALID, lace_region_destroy(region)); /* the place is there */

    while (count < 256 && (status = lace_place_create(region, &more[count])) == LACE_OK)
        count++;
    CHECK_UINT(count, 255);
    CHECK(status == LACE_OK || status == LACE_BUSY);
    CHECK_STATUS(LACE_BUSY, lace_place_create(region, &more[255]));
    while (count > 0)
        lace_place_bury(more[--count]);
    lace_place_bury(place);
    CHECK_UINT(region_used(region), used);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    CHECK_OK(lace_region_destroy(region));
    CHECK_OK(lace_region_destroy(other));
}
END_TEST

/* A child that never came: what it was given goes. */
START_TEST(test_place_never_taken)
{
    lace_region *region = region_make(1 << 20);
    lace_message *message = message_make(region);
    size_t used = region_used(region);
    lace_sender *sender;
    lace_receiver *receiver;
    lace_block *block;
    child process;

    channel_make(region, 1, &sender, &receiver);
    CHECK_OK(lace_block_create(region, 1000, &block));
    child_make(&process, region);
    child_give_sender(&process, sender);
    child_give_block(&process, block);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(receiver, message, TRY));
    child_bury(&process);
    CHECK_STATUS(LACE_END, lace_recv(receiver, message, TRY));
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
    CHECK_UINT(region_used(region), used);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

static const script scripts[] = {
    {"echo", run_echo},     {"chooser", run_chooser}, {"obedient", run_obedient},
    {"poller", run_poller}, {"sleeper", run_sleeper},
};

FAMILY_MAIN("place", scripts, TEST_LOOP(test_place_messages_there_and_back, CAPACITIES),
            TEST_LOOP(test_place_large_messages_and_blocks, CAPACITIES), TEST(test_place_ends_travel),
            TEST_LOOP(test_place_select_and_selector, CAPACITIES), TEST(test_place_orders_arrive),
            TEST(test_place_descriptors_of_both_sides), TEST_LOOP(test_place_one_in_poll_is_woken, CAPACITIES),
            TEST(test_place_misuse), TEST(test_place_never_taken))
