/* test_misuse.c - calls with arguments that are out of range say INVALID and change nothing: no crash, no output
 * written, nothing taken. */
#include "fixture.h"

#include <string.h>
#include <unistd.h>

#define NONSENSE ((lace_attachment_kind)77)

START_TEST(test_misuse_of_makers)
{
    lace_region *region = region_make(0);
    lace_cancel *cancel = NULL;
    lace_message *message = NULL;
    lace_block *block = NULL;
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_channel_options options = {.capacity = 1};
    CHECK_STATUS(LACE_INVALID, lace_cancel_create(NULL, NULL));
    CHECK_STATUS(LACE_INVALID, lace_region_create(NULL, NULL));
    CHECK_STATUS(LACE_INVALID, lace_message_create(region, NULL));
    CHECK_STATUS(LACE_INVALID, lace_block_create(NULL, 1, &block));
    CHECK_STATUS(LACE_INVALID, lace_block_create(region, 1, NULL));
    CHECK_STATUS(LACE_INVALID, lace_block_share(NULL, &block));
    CHECK_STATUS(LACE_INVALID, lace_channel_create(NULL, &options, &sender, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_channel_create(region, &options, NULL, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_channel_create(region, &options, &sender, NULL));
    CHECK_STATUS(LACE_INVALID, lace_pipe_create(NULL, NULL, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_pipe_create(NULL, &sender, NULL));
    CHECK(!cancel && !message && !block && !sender && !receiver);
    CHECK_OK(lace_block_create(region, 1, &block));
    CHECK_STATUS(LACE_INVALID, lace_block_share(block, NULL));
    lace_block_destroy(block);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_misuse_of_pipe_makers_takes_no_descriptor)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    CHECK_STATUS(LACE_INVALID, lace_pipe_sender(fds[1], NULL, NULL));
    CHECK_STATUS(LACE_INVALID, lace_pipe_receiver(fds[0], NULL, NULL));
    CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
}
END_TEST

START_TEST(test_misuse_of_ends)
{
    pair p;
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    int fd = -5;
    pair_open(&p, _i);
    CHECK_STATUS(LACE_INVALID, lace_sender_clone(NULL, &sender));
    CHECK_STATUS(LACE_INVALID, lace_sender_clone(p.sender, NULL));
    CHECK_STATUS(LACE_INVALID, lace_receiver_clone(NULL, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_receiver_clone(p.receiver, NULL));
    CHECK_STATUS(LACE_INVALID, lace_sender_fd(NULL, &fd));
    CHECK_STATUS(LACE_INVALID, lace_sender_fd(p.sender, NULL));
    CHECK_STATUS(LACE_INVALID, lace_receiver_fd(NULL, &fd));
    CHECK_STATUS(LACE_INVALID, lace_receiver_fd(p.receiver, NULL));
    CHECK(!sender && !receiver && fd == -5);
    lace_sender_destroy(NULL);
    lace_receiver_destroy(NULL);
    lace_message_destroy(NULL);
    lace_sender_close(p.sender); /* a clone counted by mistake would keep the channel going */
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

START_TEST(test_misuse_of_send_and_receive)
{
    pair p;
    size_t count = 9;
    pair_open(&p, _i);
    lace_payload good = payload_of("x", 1), bad = {NULL, 5, NULL, 0};
    lace_payload mixed[2] = {good, bad};
    CHECK_STATUS(LACE_INVALID, lace_send(NULL, &good, TRY));
    CHECK_STATUS(LACE_INVALID, lace_send(p.sender, NULL, TRY));
    CHECK_STATUS(LACE_INVALID, lace_send(p.sender, &bad, TRY));
    CHECK_STATUS(LACE_INVALID, lace_send_many(NULL, &good, 1, TRY, &count));
    CHECK_STATUS(LACE_INVALID, lace_send_many(p.sender, NULL, 1, TRY, &count));
    CHECK_STATUS(LACE_INVALID, lace_send_many(p.sender, &bad, 1, TRY, &count));
    CHECK_STATUS(LACE_INVALID, lace_recv(NULL, p.message, TRY));
    CHECK_STATUS(LACE_INVALID, lace_recv(p.receiver, NULL, TRY));
    CHECK_STATUS(LACE_INVALID, lace_recv_many(NULL, &p.message, 1, TRY, &count));
    CHECK_STATUS(LACE_INVALID, lace_recv_many(p.receiver, NULL, 1, TRY, &count));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY)); /* nothing of it was sent */
    if (p.kind->can & CAN_QUEUE && p.kind->capacity != 1) {
        CHECK_STATUS(LACE_INVALID, lace_send_many(p.sender, mixed, 2, TRY, &count));
        CHECK(count <= 1);
        for (size_t i = 0; i < count; i++)
            CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    }
    pair_close(&p);
}
END_TEST

START_TEST(test_misuse_of_attachments)
{
    pair p, foreign;
    lace_block *block, *strange;
    lace_attachment taken = {LACE_ATTACH_NONE, {NULL}};
    pair_open(&p, 2);
    pair_open(&foreign, 2);
    CHECK_OK(lace_block_create(p.region, 9, &block));
    CHECK_OK(lace_block_create(foreign.region, 9, &strange));
    lace_attachment good = {LACE_ATTACH_BLOCK, {.block = block}};
    lace_attachment wrong[4] = {good, {NONSENSE, {.block = block}}, {LACE_ATTACH_NONE, {.block = block}}, good};
    CHECK_STATUS(LACE_INVALID, send_attached(p.sender, "x", NULL, 1, TRY));
    CHECK_STATUS(LACE_INVALID, send_attached(p.sender, "x", wrong, 2, TRY));
    CHECK_STATUS(LACE_INVALID, send_attached(p.sender, "x", wrong + 2, 1, TRY));
    CHECK_STATUS(LACE_INVALID, send_attached(p.sender, "x", &good, (size_t)LACE_MAX_ATTACHMENTS + 1, TRY));
    wrong[1] = (lace_attachment){LACE_ATTACH_BLOCK, {.block = NULL}};
    CHECK_STATUS(LACE_INVALID, send_attached(p.sender, "x", wrong, 2, TRY));
    wrong[1] = (lace_attachment){LACE_ATTACH_SENDER, {.sender = NULL}};
    CHECK_STATUS(LACE_INVALID, send_attached(p.sender, "x", wrong, 2, TRY));
    CHECK_STATUS(LACE_INVALID, send_block(p.sender, strange, TRY)); /* of another region */
    CHECK_STATUS(LACE_INVALID, send_sender(p.sender, foreign.sender, TRY));
    CHECK_STATUS(LACE_INVALID, send_receiver(p.sender, foreign.receiver, TRY));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    CHECK_OK(send_u64(foreign.sender, 1, TRY));
    CHECK_OK(send_block(p.sender, block, TRY)); /* the good one was never taken */
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_STATUS(LACE_INVALID, lace_message_take(NULL, 0, &taken));
    CHECK_STATUS(LACE_INVALID, lace_message_take(p.message, 0, NULL));
    CHECK_STATUS(LACE_INVALID, lace_message_take(p.message, 1, &taken));
    CHECK(taken.kind == LACE_ATTACH_NONE);
    lace_block_destroy(take_block(p.message, 0));
    lace_block_destroy(strange);
    pair_close(&foreign);
    pair_close(&p);
}
END_TEST

START_TEST(test_misuse_of_foreign_containers)
{
    pair p, foreign, tube;
    pair_open(&p, 2);
    pair_open(&foreign, 2);
    pair_open(&tube, TRANSPORT_PIPE);
    CHECK_OK(send_u64(p.sender, 3, TRY));
    lace_case choice = {.kind = LACE_CASE_RECV, .receiver = p.receiver, .message = foreign.message};
    size_t index;
    CHECK_STATUS(LACE_INVALID, lace_recv(p.receiver, foreign.message, TRY));
    CHECK_STATUS(LACE_INVALID, lace_recv(p.receiver, tube.message, TRY));
    CHECK_STATUS(LACE_INVALID, lace_select(&choice, 1, 0, TRY, &index));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_UINT(message_u64(p.message), 3);
    pair_close(&p);
    pair_close(&foreign);
    pair_close(&tube);
}
END_TEST

START_TEST(test_misuse_of_select)
{
    pair p;
    size_t index = 9;
    lace_selector *selector = NULL;
    pair_open(&p, _i);
    lace_payload payload = payload_of("x", 1), bad = {NULL, 5, NULL, 0};
    lace_case wrong[8] = {{.kind = (lace_case_kind)0, .receiver = p.receiver, .message = p.message},
                          {.kind = (lace_case_kind)99, .receiver = p.receiver, .message = p.message},
                          {.kind = LACE_CASE_RECV, .message = p.message},
                          {.kind = LACE_CASE_RECV, .receiver = p.receiver},
                          {.kind = LACE_CASE_SEND, .payload = &payload},
                          {.kind = LACE_CASE_SEND, .sender = p.sender},
                          {.kind = LACE_CASE_SEND, .sender = p.sender, .payload = &bad},
                          {.kind = LACE_CASE_ENDED}};
    lace_case good = {.kind = LACE_CASE_SEND, .sender = p.sender, .payload = &payload};
    for (size_t i = 0; i < 8; i++) {
        lace_case both[2] = {good, wrong[i]};
        CHECK_STATUS(LACE_INVALID, lace_select(&wrong[i], 1, 0, TRY, &index));
        CHECK_STATUS(LACE_INVALID, lace_select(both, 2, LACE_SELECT_PRIORITY, TRY, &index)); /* none has happened */
    }
    CHECK_STATUS(LACE_INVALID, lace_select(NULL, 1, 0, TRY, &index));
    CHECK_STATUS(LACE_INVALID, lace_select(&good, 1, 0, TRY, NULL));
    CHECK_STATUS(LACE_INVALID, lace_select(&good, 1, 0x80, TRY, &index));
    CHECK_UINT(index, 9);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    CHECK_STATUS(LACE_END, lace_select(NULL, 0, 0, NULL, &index)); /* no case is left, so it does not wait */
    CHECK_STATUS(LACE_INVALID, lace_selector_create(NULL, 1, &selector));
    CHECK_STATUS(LACE_INVALID, lace_selector_create(&wrong[2], 1, &selector));
    CHECK(!selector);
    if (p.kind->can & CAN_REGISTER) {
        lace_case choice = {.kind = LACE_CASE_RECV, .receiver = p.receiver};
        CHECK_STATUS(LACE_INVALID, lace_selector_create(&choice, 1, NULL));
        CHECK_OK(lace_selector_create(&choice, 1, &selector));
        CHECK_STATUS(LACE_INVALID, lace_selector_wait(NULL, 0, p.message, TRY, &index));
        CHECK_STATUS(LACE_INVALID, lace_selector_wait(selector, 0, NULL, TRY, &index));
        CHECK_STATUS(LACE_INVALID, lace_selector_wait(selector, 0, p.message, TRY, NULL));
        CHECK_STATUS(LACE_INVALID, lace_selector_wait(selector, 0x80, p.message, TRY, &index));
        lace_selector_destroy(selector);
    }
    pair_close(&p);
}
END_TEST

START_TEST(test_misuse_of_questions)
{
    lace_region *region = region_make(0);
    lace_stats stats = {.messages = 9};
    size_t used = 9, backed = 9;
    CHECK(lace_sender_closed(NULL) && lace_receiver_closed(NULL));
    CHECK(lace_sender_length(NULL) == 0 && lace_receiver_length(NULL) == 0);
    CHECK(lace_sender_capacity(NULL) == 0 && lace_receiver_capacity(NULL) == 0);
    CHECK(*lace_sender_name(NULL) == '\0' && *lace_receiver_name(NULL) == '\0');
    CHECK(!lace_sender_region(NULL) && !lace_receiver_region(NULL));
    lace_sender_stats(NULL, &stats);
    CHECK_UINT(stats.messages, 0);
    stats.messages = 9;
    lace_receiver_stats(NULL, &stats);
    CHECK_UINT(stats.messages, 0);
    lace_sender_stats(NULL, NULL);
    lace_receiver_stats(NULL, NULL);
    lace_region_usage(NULL, &used, &backed);
    CHECK(used == 0 && backed == 0);
    lace_region_usage(NULL, NULL, NULL);
    lace_region_usage(region, NULL, NULL);
    CHECK(!lace_message_data(NULL) && lace_message_size(NULL) == 0 && lace_message_attachments(NULL) == 0);
    CHECK(lace_message_kind(NULL, 0) == LACE_ATTACH_NONE);
    CHECK(!lace_block_data(NULL) && lace_block_size(NULL) == 0);
    CHECK(!lace_cancel_fired(NULL));
    CHECK(*lace_key_fingerprint(NULL) == '\0');
    CHECK(lace_strerror((lace_status)1000) != NULL && lace_explain((lace_status)-1) != NULL);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_misuse_of_what_gives_nothing_back)
{
    lace_message *message = NULL;
    lace_block *block = NULL;
    lace_region *region = region_make(0);
    lace_sender_close(NULL);
    lace_receiver_close(NULL);
    lace_cancel_fire(NULL);
    lace_cancel_destroy(NULL);
    lace_message_clear(NULL);
    lace_message_destroy(NULL);
    lace_block_destroy(NULL);
    lace_selector_destroy(NULL);
    lace_key_destroy(NULL);
    CHECK_OK(lace_region_destroy(NULL));
    CHECK_STATUS(LACE_INVALID, lace_region_abandon(NULL));
    CHECK_STATUS(LACE_INVALID, lace_sender_finish(NULL, TRY));
    CHECK_OK(lace_message_create(region, &message));
    CHECK_STATUS(LACE_INVALID, lace_message_block(NULL, 0, &block));
    CHECK_STATUS(LACE_INVALID, lace_message_block(message, 0, NULL));
    CHECK_STATUS(LACE_INVALID, lace_message_block(message, 0, &block));
    CHECK(block == NULL);
    lace_message_destroy(message);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

TEST_MAIN("misuse", TEST(test_misuse_of_questions), TEST(test_misuse_of_what_gives_nothing_back),
          TEST(test_misuse_of_makers), TEST(test_misuse_of_pipe_makers_takes_no_descriptor),
          TEST_LOOP(test_misuse_of_ends, TRANSPORT_COUNT), TEST_LOOP(test_misuse_of_send_and_receive, TRANSPORT_COUNT),
          TEST(test_misuse_of_attachments), TEST(test_misuse_of_foreign_containers),
          TEST_LOOP(test_misuse_of_select, TRANSPORT_COUNT))
