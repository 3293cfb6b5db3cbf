/* test_value_carry.c - values in channels: sent and received, with ends and blocks in them, none of which is ever
 * lost, doubled or left behind; and values in the hands of several threads. */
#include "streams.h"

#include <stdlib.h>
#include <string.h>

/* A channel, and what its region had in use before anything was done in it. */
typedef struct scene {
    pair over;
    size_t used;
} scene;

static void scene_open(scene *s)
{
    pair_open_memory(&s->over, 64, 0);
    region_warm(s->over.region);
    s->used = region_used(s->over.region);
}

static void scene_close(scene *s)
{
    lace_message_clear(s->over.message);
    CHECK_UINT(region_used(s->over.region), s->used);
    pair_close(&s->over);
}

static lace_value *sent_and_received(scene *s, lace_value *value)
{
    lace_value *received = NULL;
    lace_status status = lace_send_value(s->over.sender, value, TRY);
    CHECK_MSG(status == LACE_OK, "%s: %s", status_name(status), lace_problem());
    status = lace_recv_value(s->over.receiver, TRY, &received);
    CHECK_MSG(status == LACE_OK, "%s: %s", status_name(status), lace_problem());
    return received;
}

/* ---- sending and receiving ------------------------------------------------------------------------------ */

/* Over each transport there is. */
START_TEST(test_values_travel)
{
    pair p;
    pair_open(&p, _i);
    if (p.kind->can & CAN_QUEUE) {
        rng random = rng_start(__func__, (uint64_t)_i);
        for (size_t i = test_scaled(500); i > 0; i--) {
            lace_value *value = value_random(&random, 3), *received;
            CHECK_OK(lace_send_value(p.sender, lace_value_share(value), TRY));
            CHECK_OK(lace_recv_value(p.receiver, TRY, &received));
            CHECK(values_equal(value, received));
            lace_value_destroy(value);
            lace_value_destroy(received);
        }
    } else {
        lace_value *received = NULL;
        CHECK_STATUS(LACE_TIMEOUT, lace_send_value(p.sender, lace_value_int(1), TRY));
        CHECK_STATUS(LACE_TIMEOUT, lace_recv_value(p.receiver, TRY, &received));
        CHECK(received == NULL);
    }
    lace_value *received = NULL;
    lace_sender_close(p.sender);
    CHECK_STATUS(LACE_CLOSED, lace_send_value(p.sender, lace_value_int(1), TRY));
    CHECK(strcmp(lace_problem(), lace_strerror(LACE_CLOSED)) == 0);
    CHECK_STATUS(LACE_END, lace_recv_value(p.receiver, TRY, &received));
    CHECK(strcmp(lace_problem(), lace_strerror(LACE_END)) == 0);
    pair_close(&p);
}
END_TEST

/* A message of any size is whole: around each place where another way of sending it begins. */
START_TEST(test_values_of_every_size)
{
    static const size_t sizes[] = {0,    1,     100,   210,   220,   224,   250,   480,   500,    512,
                                   4000, 16383, 16384, 30000, 65000, 65520, 65536, 70000, 131072, 5 << 20};
    scene s;
    scene_open(&s);
    unsigned char *data = malloc(5 << 20);
    for (size_t i = 0; i < 5 << 20; i++)
        data[i] = (unsigned char)(i * 7 >> 3);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t less = 0; less < 24 && less <= sizes[i]; less++) {
            const void *got;
            size_t size, text_size;
            const char *text;
            lace_value *received = sent_and_received(
                &s, lace_value_build("(y#s#)", data, sizes[i] - less, "\xc3\xa9", (size_t)2));
            CHECK_OK(lace_value_unpack(received, "(y#s#)", &got, &size, &text, &text_size));
            CHECK(size == sizes[i] - less && memcmp(got, data, size) == 0 && text_size == 2);
            lace_value_destroy(received);
        }
    }
    free(data);
    scene_close(&s);
}
END_TEST

START_TEST(test_a_value_for_a_select)
{
    scene s;
    scene_open(&s);
    lace_payload payload;
    size_t index;
    lace_value *value;
    CHECK_OK(lace_value_encode(lace_value_build("[is]", 5, "select"), lace_sender_region(s.over.sender), &payload));
    lace_case cases[] = {{.kind = LACE_CASE_SEND, .sender = s.over.sender, .payload = &payload}};
    CHECK_OK(lace_select(cases, 1, 0, TRY, &index));
    lace_payload_finish(&payload, true);
    lace_case receive = {.kind = LACE_CASE_RECV, .receiver = s.over.receiver, .message = s.over.message};
    CHECK_OK(lace_select(&receive, 1, 0, TRY, &index));
    CHECK_OK(lace_value_of_message(s.over.message, &value));
    check_text(value, "[5, 'select']");
    CHECK_OK(lace_value_of_message(s.over.message, &value)); /* its bytes are still there */
    check_text(value, "[5, 'select']");
    scene_close(&s);
}
END_TEST

/* ---- ends ----------------------------------------------------------------------------------------------- */

START_TEST(test_ends_travel)
{
    scene s;
    lace_sender *sender, *got_sender = NULL;
    lace_receiver *receiver, *got_receiver = NULL;
    uint64_t number;
    scene_open(&s);
    channel_make(s.over.region, 4, &sender, &receiver);
    lace_value *value = lace_value_build("{s:[v], s:(v)}", "out", lace_value_sender(sender), "in",
                                         lace_value_receiver(receiver));
    check_text(lace_value_share(value), "{'out': [<Sender>], 'in': (<Receiver>,)}");
    value = sent_and_received(&s, value);
    const lace_value *out = lace_value_at(lace_value_find(value, "out"), 0);
    const lace_value *in = lace_value_at(lace_value_find(value, "in"), 0);
    CHECK(lace_value_type(out) == LACE_TYPE_SENDER && lace_value_type(in) == LACE_TYPE_RECEIVER);
    CHECK_STATUS(LACE_MISMATCH, lace_value_take_receiver(out, &got_receiver));
    CHECK_STATUS(LACE_MISMATCH, lace_value_take_sender(in, &got_sender));
    CHECK_OK(lace_value_take_sender(out, &got_sender));
    CHECK_OK(lace_value_take_receiver(in, &got_receiver));
    CHECK_STATUS(LACE_MISMATCH, lace_value_take_sender(out, &got_sender));
    CHECK(strstr(lace_problem(), "has been taken") != NULL);
    lace_value_destroy(value);
    CHECK_OK(send_u64(got_sender, 77, TRY));
    CHECK_OK(recv_u64(got_receiver, s.over.message, &number, TRY));
    CHECK_UINT(number, 77);
    lace_sender_destroy(got_sender);
    CHECK_STATUS(LACE_END, recv_u64(got_receiver, s.over.message, &number, TRY)); /* it was counted once */
    lace_receiver_destroy(got_receiver);
    scene_close(&s);
}
END_TEST

/* Ends that nobody takes are closed: when the value goes, when sending it fails, when it cannot be made. */
START_TEST(test_ends_are_closed)
{
    scene s;
    lace_sender *sender;
    lace_receiver *receiver;
    uint64_t number;
    lace_payload payload;
    scene_open(&s);
    for (int way = 0; way < 8; way++) {
        channel_make(s.over.region, 4, &sender, &receiver);
        lace_value *value = lace_value_build("[v]", lace_value_sender(sender));
        if (way == 0) {
            lace_value_destroy(value);
        } else if (way == 1) {
            lace_value_destroy(sent_and_received(&s, value));
        } else if (way == 2) { /* in flight it keeps the channel open; discarded, it does not */
            lace_sender *other;
            lace_receiver *other_end;
            channel_make(s.over.region, 4, &other, &other_end);
            CHECK_OK(lace_send_value(other, value, TRY));
            CHECK_STATUS(LACE_TIMEOUT, recv_u64(receiver, s.over.message, &number, TRY));
            lace_receiver_destroy(other_end);
            lace_sender_destroy(other);
        } else if (way == 3) {
            fill(s.over.sender, 64);
            CHECK_STATUS(LACE_TIMEOUT, lace_send_value(s.over.sender, value, TRY));
            for (int i = 0; i < 64; i++)
                CHECK_OK(recv_u64(s.over.receiver, s.over.message, &number, TRY));
        } else if (way == 4) {
            CHECK_OK(lace_value_encode(value, s.over.region, &payload));
            lace_payload_finish(&payload, false);
        } else if (way == 5) {
            CHECK_STATUS(LACE_UNSUPPORTED, lace_value_encode(value, NULL, &payload));
        } else if (way == 6) {
            CHECK_STATUS(LACE_INVALID, lace_value_append(lace_value_none(), value));
        } else {
            CHECK_STATUS(LACE_INVALID, lace_value_append(value, lace_value_str("\xff")));
            CHECK_STATUS(LACE_INVALID, lace_send_value(s.over.sender, value, TRY));
        }
        CHECK_STATUS(LACE_END, recv_u64(receiver, s.over.message, &number, TRY));
        lace_receiver_destroy(receiver);
    }
    scene_close(&s);
}
END_TEST

START_TEST(test_ends_that_cannot_travel)
{
    scene s;
    lace_sender *sender, *tube_sender;
    lace_receiver *receiver, *tube_receiver;
    scene_open(&s);
    channel_make(s.over.region, 4, &sender, &receiver);
    lace_sender_close(sender);
    CHECK_STATUS(LACE_INVALID, lace_send_value(s.over.sender, lace_value_sender(sender), TRY));
    lace_value *value = lace_value_receiver(receiver);
    CHECK_OK(lace_value_take_receiver(value, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_send_value(s.over.sender, value, TRY));
    CHECK(strstr(lace_problem(), "closed or taken") != NULL);
    lace_receiver_destroy(receiver);
    CHECK_OK(lace_pipe_create(NULL, &tube_sender, &tube_receiver));
    CHECK_STATUS(LACE_UNSUPPORTED, lace_send_value(s.over.sender, lace_value_receiver(tube_receiver), TRY));
    channel_make(s.over.region, 4, &sender, &receiver);
    CHECK_STATUS(LACE_UNSUPPORTED, lace_send_value(tube_sender, lace_value_sender(sender), TRY));
    lace_receiver_destroy(receiver);
    lace_sender_destroy(tube_sender);
    lace_region *other = region_make(0);
    channel_make(other, 4, &sender, &receiver);
    CHECK_STATUS(LACE_INVALID, lace_send_value(s.over.sender, lace_value_sender(sender), TRY));
    lace_receiver_destroy(receiver);
    CHECK_OK(lace_region_destroy(other));
    scene_close(&s);
}
END_TEST

/* A value that is sent twice gives each receiver an end; one that is in two places of a value is one. */
START_TEST(test_shared_ends)
{
    scene s;
    lace_sender *sender, *ends[2];
    lace_receiver *receiver;
    uint64_t number;
    scene_open(&s);
    channel_make(s.over.region, 4, &sender, &receiver);
    lace_value *end = lace_value_sender(sender), *both = lace_value_tuple();
    CHECK_OK(lace_value_append(both, lace_value_share(end)));
    CHECK_OK(lace_value_append(both, end));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(lace_send_value(s.over.sender, lace_value_share(both), TRY));
        CHECK_OK(lace_recv(s.over.receiver, s.over.message, TRY));
        CHECK_UINT(lace_message_attachments(s.over.message), 1);
        lace_value *got;
        CHECK_OK(lace_value_of_message(s.over.message, &got));
        CHECK(lace_value_at(got, 0) == lace_value_at(got, 1));
        CHECK_OK(lace_value_take_sender(lace_value_at(got, 1), &ends[i]));
        lace_value_destroy(got);
    }
    lace_value_destroy(both);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(LACE_TIMEOUT, recv_u64(receiver, s.over.message, &number, TRY));
        lace_sender_destroy(ends[i]);
    }
    CHECK_STATUS(LACE_END, recv_u64(receiver, s.over.message, &number, TRY));
    lace_receiver_destroy(receiver);
    scene_close(&s);
}
END_TEST

/* ---- blocks --------------------------------------------------------------------------------------------- */

static lace_block *block_of(lace_region *region, const char *text, size_t size)
{
    lace_block *block;
    CHECK_OK(lace_block_create(region, size, &block));
    memset(lace_block_data(block), 0, size);
    memcpy(lace_block_data(block), text, strlen(text) < size ? strlen(text) : size);
    return block;
}

/* From the sender to the receiver the bytes stay where they are; and what Python reads is a Buffer. */
START_TEST(test_a_block_is_not_copied)
{
    scene s;
    scene_open(&s);
    lace_block *block = block_of(s.over.region, "in place", 1 << 20), *got;
    const void *at = lace_block_data(block), *data;
    size_t size;
    CHECK_OK(lace_send_value(s.over.sender, lace_value_block(block), TRY));
    CHECK_OK(lace_recv(s.over.receiver, s.over.message, TRY));
    static const char buffer_message[] = "\x80\x05\x8c\x0a_interlace\x8c\x07_buffer\x93\x97\x85R.w";
    CHECK(message_is(s.over.message, buffer_message) && lace_message_attachments(s.over.message) == 1);
    lace_value *value;
    CHECK_OK(lace_value_of_message(s.over.message, &value));
    lace_message_clear(s.over.message);
    CHECK_OK(lace_value_get_bytes(value, &data, &size));
    CHECK(data == at && size == 1 << 20 && memcmp(data, "in place", 9) == 0);
    CHECK_OK(lace_value_share_block(value, &got));
    lace_value_destroy(value);
    CHECK(lace_block_data(got) == at);
    lace_block_destroy(got);
    scene_close(&s);
}
END_TEST

/* What several have, each of them may only read. */
START_TEST(test_a_shared_block_is_read_only)
{
    scene s;
    scene_open(&s);
    lace_value *inner = lace_value_block(block_of(s.over.region, "x", 10)), *outer = lace_value_list();
    CHECK_OK(lace_value_append(outer, inner));
    lace_value *kept = lace_value_share(lace_value_at(outer, 0));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(lace_send_value(s.over.sender, i < 2 ? lace_value_share(outer) : outer, TRY));
        CHECK_OK(lace_recv(s.over.receiver, s.over.message, TRY));
        const char *bytes = lace_message_data(s.over.message);
        CHECK(bytes[lace_message_size(s.over.message) - 1] == 'r');
        CHECK(memmem(bytes, lace_message_size(s.over.message), "\x97\x98\x85R", 4) != NULL);
    }
    /* Also when the last one to have it sends it: the others are still reading. */
    lace_value *again;
    CHECK_OK(lace_value_of_message(s.over.message, &again));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(lace_send_value(s.over.sender, i == 0 ? kept : again, TRY));
        CHECK_OK(lace_recv(s.over.receiver, s.over.message, TRY));
        const char *bytes = lace_message_data(s.over.message);
        CHECK(bytes[lace_message_size(s.over.message) - 1] == 'r');
    }
    scene_close(&s);
}
END_TEST

START_TEST(test_blocks_and_ends_together)
{
    scene s;
    lace_sender *sender;
    lace_receiver *receiver;
    char text[100000];
    scene_open(&s);
    memset(text, 'x', sizeof text);
    for (size_t size = 3; size <= sizeof text; size += sizeof text - 3) { /* small, and a message that is a block */
        channel_make(s.over.region, 4, &sender, &receiver);
        lace_value *list = lace_value_list();
        lace_value_append(list, lace_value_block(block_of(s.over.region, "first", 8)));
        lace_value_append(list, lace_value_sender(sender));
        lace_value_append(list, lace_value_str_sized(text, size));
        lace_value_append(list, lace_value_block(block_of(s.over.region, "second", 8)));
        lace_value_append(list, lace_value_receiver(receiver));
        lace_value_append(list, lace_value_block(block_of(s.over.region, "", 0)));
        list = sent_and_received(&s, list);
        for (int i = 0; i < 2; i++) {
            const void *data[3];
            const char *got;
            size_t sizes[4];
            CHECK_OK(lace_value_unpack(list, "[y# _ s# y# _ y#]", &data[0], &sizes[0], &got, &sizes[1], &data[1],
                                       &sizes[2], &data[2], &sizes[3]));
            CHECK(sizes[0] == 8 && memcmp(data[0], "first", 6) == 0 && sizes[1] == size &&
                  memcmp(got, text, size) == 0);
            CHECK(sizes[2] == 8 && memcmp(data[1], "second", 7) == 0 && sizes[3] == 0);
            list = sent_and_received(&s, list);
        }
        CHECK_OK(lace_value_take_sender(lace_value_at(list, 1), &sender));
        CHECK_OK(lace_value_take_receiver(lace_value_at(list, 4), &receiver));
        CHECK_OK(send_u64(sender, 1, TRY));
        CHECK_OK(lace_recv(receiver, s.over.message, TRY));
        lace_sender_destroy(sender);
        lace_receiver_destroy(receiver);
        lace_value_destroy(list);
    }
    scene_close(&s);
}
END_TEST

/* Large bytes lie in the block that the message is, and keep it. */
START_TEST(test_large_bytes_are_not_copied)
{
    scene s;
    char *data = malloc(1 << 20);
    scene_open(&s);
    memset(data, 'y', 1 << 20);
    lace_value *value = sent_and_received(&s, lace_value_build("(y#y#)", data, (size_t)1 << 20, data, (size_t)100));
    const char *first, *second;
    size_t sizes[2];
    CHECK_OK(lace_value_unpack(value, "(y#y#)", &first, &sizes[0], &second, &sizes[1]));
    CHECK(sizes[0] == 1 << 20 && memcmp(first, data, sizes[0]) == 0 && sizes[1] == 100);
    CHECK(region_used(s.over.region) > s.used + (1 << 20));
    lace_block *block = NULL;
    CHECK_STATUS(LACE_MISMATCH, lace_value_share_block(lace_value_at(value, 0), &block)); /* it is not all theirs */
    lace_value *small = lace_value_share(lace_value_at(value, 1)), *large = lace_value_share(lace_value_at(value, 0));
    lace_value_destroy(value);
    CHECK(memcmp(first, data, sizes[0]) == 0);
    value = sent_and_received(&s, large);
    CHECK_UINT(lace_value_size(value), 1 << 20);
    lace_value_destroy(value);
    CHECK_UINT(region_used(s.over.region), s.used); /* a small part does not keep all of it */
    lace_value_destroy(small);
    free(data);
    scene_close(&s);
}
END_TEST

/* A pipe carries no blocks: there they are bytes. */
START_TEST(test_a_block_in_a_pipe)
{
    lace_region *region = region_make(0);
    lace_sender *sender;
    lace_receiver *receiver;
    lace_value *value;
    CHECK_OK(lace_pipe_create(NULL, &sender, &receiver));
    CHECK(lace_sender_region(sender) == NULL && lace_receiver_region(receiver) == NULL);
    CHECK_OK(lace_send_value(sender, lace_value_build("[v]", lace_value_block(block_of(region, "block", 5))), TRY));
    CHECK_OK(lace_recv_value(receiver, TRY, &value));
    check_text(value, "[b'block']");
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

START_TEST(test_too_many_blocks)
{
    scene s;
    scene_open(&s);
    lace_block *block = block_of(s.over.region, "x", 1), *share;
    lace_value *list = lace_value_list();
    for (size_t i = 0; i < LACE_MAX_ATTACHMENTS - 1; i++) {
        CHECK_OK(lace_block_share(block, &share));
        CHECK_OK(lace_value_append(list, lace_value_block(share)));
    }
    list = sent_and_received(&s, list);
    CHECK_UINT(lace_value_size(list), LACE_MAX_ATTACHMENTS - 1);
    lace_value *more = lace_value_list();
    lace_value_append(more, list);
    lace_value_append(more, lace_value_block(block));
    CHECK_STATUS(LACE_TOO_BIG, lace_send_value(s.over.sender, more, TRY));
    scene_close(&s);
}
END_TEST

/* ---- what Python writes --------------------------------------------------------------------------------- */

/* Sends bytes with `blocks` blocks of "0", "1" ... and then `ends` senders beside them. */
static void send_parts(scene *s, const void *data, size_t size, size_t blocks, size_t ends)
{
    lace_attachment attachments[16];
    CHECK(blocks + ends <= 16);
    for (size_t i = 0; i < blocks + ends; i++) {
        char text[2] = {(char)('0' + i), 0};
        lace_sender *sender;
        lace_receiver *receiver;
        attachments[i] = (lace_attachment){.kind = LACE_ATTACH_BLOCK};
        if (i < blocks) {
            attachments[i].as.block = block_of(s->over.region, text, 1);
            continue;
        }
        channel_make(s->over.region, 1, &sender, &receiver);
        lace_receiver_destroy(receiver);
        attachments[i] = (lace_attachment){.kind = LACE_ATTACH_SENDER, .as.sender = sender};
    }
    lace_payload payload = {data, size, attachments, blocks + ends};
    CHECK_OK(lace_send(s->over.sender, &payload, TRY));
}

#define BUFFER_OP "\x8c\x0a_interlace\x94\x8c\x07_buffer\x94\x93\x94"
#define ATTACH_OP "\x8c\x0a_interlace\x8c\x07_attach\x93"
#define REBUILD_OP "\x8c\x12interlace._buffers\x94\x8c\x07rebuild\x94\x93\x94"

START_TEST(test_what_python_sends)
{
    static const struct {
        const char *text, *data;
        size_t size, blocks, ends;
    } cases[] = {
#define GOOD(text, data, blocks, ends) {text, data, sizeof(data) - 1, blocks, ends}
        GOOD("b'0'", "\x80\x05\x97.w", 1, 0),                           /* a PickleBuffer */
        GOOD("b'0'", "\x80\x05\x97\x98.r", 1, 0),                       /* of something that is read-only */
        GOOD("b'0'", "\x80\x05" BUFFER_OP "\x97\x85\x94R\x94.w", 1, 0), /* a Buffer */
        GOOD("[b'0', b'0']",
             "\x80\x05]\x94(" BUFFER_OP "\x97\x85\x94R\x94h\x05"
             "e.w",
             1, 0),
        GOOD("b'0'",
             "\x80\x05" REBUILD_OP "\x97\x98\x8c\x01"
             "B\x94K\x01\x85\x94\x87\x94R\x94.r",
             1, 0), /* memoryview */
        GOOD("[b'0', b'1', b'2']",
             "\x80\x05](\x97\x97\x98\x97"
             "e.wrw",
             3, 0),
        GOOD("(b'0', <Sender>, b'1')", "\x80\x05\x97" ATTACH_OP "K\x02\x85R\x97\x87.ww", 2, 1),
        GOOD("None", "\x80\x05N.", 0, 2), /* what is not named is let go */
        GOOD("None", "\x80\x05N.w", 1, 0),
        GOOD("<Sender>", "\x80\x05" ATTACH_OP "K\x01\x85R.", 0, 3),
        GOOD("None", "\x80\x05" ATTACH_OP "K\x00\x85R0N.", 0, 1),
#undef GOOD
    };
    scene s;
    scene_open(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lace_value *value;
        send_parts(&s, cases[i].data, cases[i].size, cases[i].blocks, cases[i].ends);
        lace_status status = lace_recv_value(s.over.receiver, TRY, &value);
        CHECK_MSG(status == LACE_OK, "%zu: %s", i, lace_problem());
        check_text(value, cases[i].text);
    }
    scene_close(&s);
}
END_TEST

/* A message that is refused keeps what is in it. */
START_TEST(test_a_refused_message_is_as_it_was)
{
    static const struct {
        const char *data;
        size_t size, blocks, ends;
    } cases[] = {
#define BAD(data, blocks, ends) {data, sizeof(data) - 1, blocks, ends}
        BAD("\x80\x05](" ATTACH_OP "K\x00\x85R" ATTACH_OP "K\x00\x85R"
            "e.",
            0, 1), /* one end twice */
        BAD("\x80\x05](" ATTACH_OP "K\x00\x85R" ATTACH_OP "K\x01\x85R"
            "e.",
            0, 1),                                     /* one that is not there */
        BAD("\x80\x05" ATTACH_OP "K\x00\x85R.", 1, 0), /* a block as an end */
        BAD("\x80\x05\x97.w", 0, 1),                   /* an end as a block */
        BAD("\x80\x05\x97\x97\x86.ww", 1, 0),
        BAD("\x80\x05\x97.", 1, 0), /* no letter */
        BAD("\x80\x05\x97" ATTACH_OP "K\x01\x85R\x86\x8f.w", 1, 1),
        BAD("\x80\x05}\x97Ns.w", 1, 0), /* as a key */
        BAD("\x80\x05}(\x97\x85N"
            "K\x01Nu.w",
            1, 0),
        BAD("\x80\x05"
            "cbuiltins\nbytearray\n\x97\x85R.w",
            1, 0),
        BAD("", 0, 1),
        BAD("w", 1, 0), /* the block is the pickle, and none */
        BAD("", 1, 1),
#undef BAD
    };
    scene s;
    scene_open(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lace_value *value = NULL;
        size_t count = cases[i].blocks + cases[i].ends;
        send_parts(&s, cases[i].data, cases[i].size, cases[i].blocks, cases[i].ends);
        CHECK_OK(lace_recv(s.over.receiver, s.over.message, TRY));
        for (int again = 0; again < 2; again++) {
            CHECK_MSG(lace_value_of_message(s.over.message, &value) == LACE_NOT_PLAIN && value == NULL, "%zu", i);
            CHECK_UINT(lace_message_attachments(s.over.message), count);
            CHECK_UINT(lace_message_size(s.over.message), cases[i].size);
            for (size_t k = 0; k < count; k++)
                CHECK_UINT(lace_message_kind(s.over.message, k),
                           k < cases[i].blocks ? LACE_ATTACH_BLOCK : LACE_ATTACH_SENDER);
        }
        lace_message_clear(s.over.message);
        send_parts(&s, cases[i].data, cases[i].size, cases[i].blocks, cases[i].ends);
        CHECK_STATUS(LACE_NOT_PLAIN, lace_recv_value(s.over.receiver, TRY, &value));
        CHECK_STATUS(LACE_TIMEOUT, lace_recv_value(s.over.receiver, TRY, &value)); /* that one is gone */
    }
    scene_close(&s);
}
END_TEST

/* The same by way of a payload: taken when it could be read, the caller's when not. */
START_TEST(test_payloads)
{
    scene s;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_value *value = NULL;
    scene_open(&s);
    channel_make(s.over.region, 1, &sender, &receiver);
    lace_attachment parts[] = {{.kind = LACE_ATTACH_BLOCK, .as.block = block_of(s.over.region, "a", 1)},
                               {.kind = LACE_ATTACH_SENDER, .as.sender = sender},
                               {.kind = LACE_ATTACH_RECEIVER, .as.receiver = receiver},
                               {.kind = LACE_ATTACH_BLOCK, .as.block = block_of(s.over.region, "b", 1)}};
    lace_payload payload = {STREAM("\x80\x05\x97\x97" ATTACH_OP "K\x01\x85R\x87\x8f.ww"), parts, 4};
    CHECK_STATUS(LACE_NOT_PLAIN, lace_value_decode(&payload, &value));
    CHECK(value == NULL && !lace_sender_closed(sender) && lace_block_size(parts[3].as.block) == 1);
    payload = (lace_payload){STREAM("\x80\x05\x97" ATTACH_OP "K\x01\x85R\x86.w"), parts, 4};
    CHECK_OK(lace_value_decode(&payload, &value));
    CHECK_OK(lace_value_take_sender(lace_value_at(value, 1), &sender));
    CHECK_STATUS(LACE_BROKEN, send_u64(sender, 1, TRY)); /* the receiver was not named */
    lace_sender_destroy(sender);
    check_text(value, "(b'a', <Sender>)");
    CHECK_OK(lace_value_encode(lace_value_block(block_of(s.over.region, "c", 1)), s.over.region, &payload));
    CHECK_OK(lace_value_decode(&payload, &value));
    lace_payload_finish(&payload, true);
    check_text(value, "b'c'");
    char *text = calloc(1, 100001); /* a message that is a block */
    memset(text, 'x', 100000);
    CHECK_OK(lace_value_encode(lace_value_build("(sv)", text, lace_value_block(block_of(s.over.region, "d", 1))),
                               s.over.region, &payload));
    CHECK(payload.attachment_count == 2 && payload.size == 1);
    CHECK_OK(lace_value_decode(&payload, &value));
    lace_payload_finish(&payload, true);
    CHECK_UINT(lace_value_size(lace_value_at(value, 0)), 100000);
    lace_value_destroy(value);
    free(text);
    scene_close(&s);
}
END_TEST

/* Garbage with attachments beside it: nothing is taken twice or left behind. */
START_TEST(test_garbage_with_attachments)
{
    rng random = rng_fixed((uint64_t)_i + 100);
    scene s;
    unsigned char data[4096 + 8];
    size_t read = 0;
    scene_open(&s);
    for (size_t i = test_scaled(5000); i > 0; i--) {
        size_t size = stream_random(&random, data, 4096), blocks = rng_below(&random, 4);
        for (size_t letters = blocks; letters > 0; letters--)
            data[size++] = rng_below(&random, 2) ? 'r' : 'w';
        send_parts(&s, data, size, blocks, rng_below(&random, 3));
        lace_value *value = NULL;
        lace_status status = lace_recv_value(s.over.receiver, TRY, &value);
        CHECK(status == LACE_OK || (status == LACE_NOT_PLAIN && value == NULL));
        read += status == LACE_OK;
        if (status == LACE_OK && rng_below(&random, 2)) {
            lace_value_destroy(sent_and_received(&s, value));
            value = NULL;
        }
        lace_value_destroy(value);
        if (i % 512 == 0)
            CHECK_UINT(region_used(s.over.region), s.used);
    }
    CHECK(read > 0);
    scene_close(&s);
}
END_TEST

/* ---- threads -------------------------------------------------------------------------------------------- */

enum { THREADS = 4 };

typedef struct crowd {
    scene *over;
    const lace_value *value;
    gate begin;
    lace_sender *taken[THREADS];
} crowd;

typedef struct one_of {
    crowd *all;
    size_t index;
    rng random;
} one_of;

static void use_shared(void *context)
{
    one_of *self = context;
    char text[200];
    lace_payload payload;
    gate_wait(&self->all->begin);
    for (size_t i = test_scaled(2000); i > 0; i--) {
        lace_value *handle = lace_value_share(self->all->value), *wrapped;
        const lace_value *part = lace_value_at(handle, rng_below(&self->random, 3));
        switch (rng_below(&self->random, 6)) {
        case 0:
            wrapped = lace_value_list();
            CHECK_OK(lace_value_append(wrapped, lace_value_share(part)));
            CHECK_OK(lace_value_append(wrapped, handle));
            handle = wrapped;
            break;
        case 1:
            CHECK(lace_value_format(handle, text, sizeof text) > 0);
            break;
        case 2:
            CHECK(values_equal(handle, self->all->value));
            break;
        case 3:
            if (lace_value_encode(lace_value_share(handle), self->all->over->over.region, &payload) == LACE_OK)
                lace_payload_finish(&payload, false);
            break;
        case 4:
            wrapped = lace_value_dict();
            CHECK_OK(lace_value_put(wrapped, lace_value_share(lace_value_at(handle, 0)), lace_value_share(part)));
            lace_value_destroy(wrapped);
            break;
        default:
            if (self->all->taken[self->index] == NULL)
                lace_value_take_sender(lace_value_at(handle, 2), &self->all->taken[self->index]);
            break;
        }
        lace_value_destroy(handle);
    }
}

/* A value that does not change any more may be used by all; an end is taken by one. */
START_TEST(test_threads)
{
    scene s;
    lace_sender *sender;
    lace_receiver *receiver;
    thread runners[THREADS];
    one_of those[THREADS];
    scene_open(&s);
    channel_make(s.over.region, 1, &sender, &receiver);
    lace_value *value = lace_value_build("[(is(ss))vv]", 1, "key", "deep", "er",
                                         lace_value_block(block_of(s.over.region, "block", 5)),
                                         lace_value_sender(sender));
    lace_value *other = lace_value_share(value);
    crowd all = {.over = &s, .value = value, .begin = GATE_INIT};
    for (size_t i = 0; i < THREADS; i++) {
        those[i] = (one_of){&all, i, rng_start(__func__, i)};
        thread_start(&runners[i], use_shared, &those[i]);
    }
    gate_open(&all.begin);
    size_t taken = 0;
    for (size_t i = 0; i < THREADS; i++) {
        thread_join(&runners[i]);
        taken += all.taken[i] != NULL;
        lace_sender_destroy(all.taken[i]);
    }
    CHECK_UINT(taken, 1);
    lace_value_destroy(other);
    lace_value_destroy(value);
    uint64_t number;
    CHECK_STATUS(LACE_END, recv_u64(receiver, s.over.message, &number, TRY));
    lace_receiver_destroy(receiver);
    scene_close(&s);
}
END_TEST

static void echo(void *context)
{
    pair *ends = context;
    lace_value *value;
    while (lace_recv_value(ends[0].receiver, NULL, &value) == LACE_OK)
        CHECK_OK(lace_send_value(ends[1].sender, value, NULL));
    lace_sender_close(ends[1].sender);
}

/* There and back through another thread, waiting at both channels. */
START_TEST(test_round_trips)
{
    pair ends[2];
    thread other;
    rng random = rng_start(__func__, 0);
    pair_open_memory(&ends[0], 0, 0);
    pair_open_beside(&ends[1], &ends[0]);
    thread_start(&other, echo, ends);
    for (size_t i = test_scaled(2000); i > 0; i--) {
        lace_value *value = value_random(&random, 3), *back;
        CHECK_OK(lace_send_value(ends[0].sender, lace_value_share(value), NULL));
        CHECK_OK(lace_recv_value(ends[1].receiver, NULL, &back));
        CHECK(values_equal(value, back));
        lace_value_destroy(value);
        lace_value_destroy(back);
    }
    lace_sender_close(ends[0].sender);
    thread_join(&other);
    pair_close_ends(&ends[1]);
    pair_close(&ends[0]);
}
END_TEST

TEST_MAIN("value_carry", TEST_LOOP(test_values_travel, TRANSPORT_COUNT), TEST_LONG(test_values_of_every_size, 1, 60),
          TEST(test_a_value_for_a_select), TEST(test_ends_travel), TEST(test_ends_are_closed),
          TEST(test_ends_that_cannot_travel), TEST(test_shared_ends), TEST(test_a_block_is_not_copied),
          TEST(test_a_shared_block_is_read_only), TEST(test_blocks_and_ends_together),
          TEST(test_large_bytes_are_not_copied), TEST(test_a_block_in_a_pipe), TEST_LONG(test_too_many_blocks, 1, 60),
          TEST(test_what_python_sends), TEST(test_a_refused_message_is_as_it_was), TEST(test_payloads),
          TEST_LONG(test_garbage_with_attachments, 4, 60), TEST_LONG(test_threads, 1, 60),
          TEST_LONG(test_round_trips, 1, 60))
