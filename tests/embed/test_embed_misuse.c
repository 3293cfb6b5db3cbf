/* test_embed_misuse.c - NULL where none may be: for each function of the header, each of its pointers. Nothing is
 * written, what is taken is gone, and all works on. */
#include "embedding.h"

#define NO_OUTPUT(pointer) CHECK((pointer) == NULL)

START_TEST(test_null_to_the_host)
{
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    CHECK_STATUS(LACE_INVALID, lace_host_open(NULL, NULL));
    CHECK_STATUS(LACE_INVALID, lace_host_open(&(lace_host_options){.tag = true}, NULL));
    CHECK_STATUS(LACE_INVALID, lace_host_close(NULL));
    CHECK(lace_host_region(NULL) == NULL);
    open_host(&(lace_host_options){0}); /* all that an option may be is NULL */
    CHECK_STATUS(LACE_INVALID, lace_host_close(NULL));
    CHECK(lace_host_region(NULL) == NULL);
    CHECK_REFUSED(LACE_INVALID, "host", lace_host_channel(NULL, NULL, &sender, &receiver));
    CHECK_REFUSED(LACE_INVALID, "channel", lace_host_channel(host, NULL, NULL, &receiver));
    CHECK_REFUSED(LACE_INVALID, "channel", lace_host_channel(host, NULL, &sender, NULL));
    NO_OUTPUT(sender);
    NO_OUTPUT(receiver);
    CHECK_OK(lace_host_channel(host, NULL, &sender, &receiver)); /* options may be */
    CHECK_UINT(lace_sender_capacity(sender), 0);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    close_host();
}
END_TEST

START_TEST(test_null_to_workers)
{
    lace_worker *worker = NULL;
    lace_value *value = NULL;
    lace_worker_options options = {.code = "pass"};
    open_host(NULL);
    CHECK_REFUSED(LACE_INVALID, "host", lace_worker_start(NULL, &options, &worker));
    CHECK_REFUSED(LACE_INVALID, "options", lace_worker_start(host, NULL, &worker));
    CHECK_REFUSED(LACE_INVALID, "options", lace_worker_start(NULL, NULL, NULL));
    NO_OUTPUT(worker);
    /* What it takes is gone also then. */
    lace_sender *feed, *output;
    lace_receiver *input, *results;
    make_channel(1, &feed, &input);
    make_channel(1, &output, &results);
    options.args = lace_value_list();
    options.input = input;
    options.output = output;
    CHECK_STATUS(LACE_INVALID, lace_worker_start(NULL, &options, NULL));
    CHECK_STATUS(LACE_BROKEN, lace_send_value(feed, lace_value_none(), TRY));
    CHECK_STATUS(LACE_END, lace_recv_value(results, TRY, &value));
    lace_sender_destroy(feed);
    lace_receiver_destroy(results);

    CHECK_REFUSED(LACE_INVALID, "worker", lace_worker_wait(NULL, TRY));
    CHECK_REFUSED(LACE_INVALID, "worker", lace_worker_result(NULL, TRY, &value));
    CHECK_REFUSED(LACE_INVALID, "worker", lace_worker_cancel(NULL));
    CHECK(lace_worker_error(NULL) == NULL);
    CHECK_TEXT(lace_worker_name(NULL), "");
    CHECK(lace_worker_ended(NULL));
    CHECK(lace_worker_end(NULL) == NULL);
    lace_worker_destroy(NULL);
    worker = start_code("pass");
    CHECK_REFUSED(LACE_INVALID, "ret_value", lace_worker_result(worker, SOON, NULL));
    CHECK_OK(lace_worker_wait(worker, NULL)); /* a wait may be */
    CHECK_OK(lace_worker_result(worker, NULL, &value));
    lace_value_destroy(value);
    lace_worker_destroy(worker);
    close_host();
}
END_TEST

START_TEST(test_null_to_groups)
{
    lace_group *group = NULL;
    open_host(NULL);
    CHECK_REFUSED(LACE_INVALID, "host", lace_group_create(NULL, "x", &group));
    CHECK_REFUSED(LACE_INVALID, "ret_group", lace_group_create(host, "x", NULL));
    NO_OUTPUT(group);
    CHECK_REFUSED(LACE_INVALID, "group", lace_group_cancel(NULL));
    CHECK_REFUSED(LACE_INVALID, "group", lace_group_wait(NULL, TRY));
    CHECK(lace_group_error(NULL) == NULL);
    lace_group_destroy(NULL);
    CHECK_OK(lace_group_create(host, NULL, &group)); /* a name may be, and a wait */
    CHECK_OK(lace_group_wait(group, NULL));
    lace_group_destroy(group);
    close_host();
}
END_TEST

static lace_value *nothing(lace_call *call, void *context)
{
    (void)call;
    (void)context;
    return lace_value_none();
}

START_TEST(test_null_to_exports)
{
    open_host(NULL);
    CHECK_REFUSED(LACE_INVALID, "host", lace_export(NULL, "f", nothing, NULL, 0));
    CHECK_REFUSED(LACE_INVALID, "NULL", lace_export(host, NULL, nothing, NULL, 0));
    CHECK_REFUSED(LACE_INVALID, "NULL", lace_export(host, "f", NULL, NULL, 0));
    CHECK_OK(lace_export(host, "f", nothing, NULL, 0)); /* the context may be */
    run_code("import interlace.host; assert dir(interlace.host) == ['f'] and interlace.host.f() is None");
    CHECK(lace_call_args(NULL) == NULL);
    CHECK(lace_call_wait(NULL) == NULL);
    CHECK_TEXT(lace_call_worker(NULL), "");
    CHECK(lace_call_fail(NULL, "ValueError", "x") == NULL);
    close_host();
}
END_TEST

static void check_failed(lace_value *value, lace_status status)
{
    CHECK(value != NULL);
    CHECK_STATUS(status, lace_value_status(value));
    lace_value_destroy(value);
}

START_TEST(test_null_to_makers_of_values)
{
    check_failed(lace_value_big(NULL, 3), LACE_INVALID);
    check_value(lace_value_big(NULL, 0), "0");
    check_failed(lace_value_str(NULL), LACE_INVALID);
    check_failed(lace_value_str_sized(NULL, 3), LACE_INVALID);
    check_value(lace_value_str_sized(NULL, 0), "''");
    check_failed(lace_value_bytes(NULL, 3), LACE_INVALID);
    check_value(lace_value_bytes(NULL, 0), "b''");
    check_failed(lace_value_block(NULL), LACE_INVALID);
    check_failed(lace_value_sender(NULL), LACE_INVALID);
    check_failed(lace_value_receiver(NULL), LACE_INVALID);
    check_failed(lace_value_build(NULL), LACE_INVALID);
    check_failed(lace_value_build("(s#)", NULL, (size_t)3), LACE_INVALID);
    check_failed(lace_value_build("[y#]", NULL, (size_t)3), LACE_INVALID);
    check_failed(lace_value_build("[v]", NULL), LACE_INVALID);
    check_value(lace_value_build("(s s# y#)", NULL, NULL, (size_t)0, NULL, (size_t)0), "(None, '', b'')");
    check_failed(lace_value_share(NULL), LACE_INVALID);
    CHECK_STATUS(LACE_INVALID, lace_value_status(NULL));
    lace_value_destroy(NULL);
    /* One that is NULL fails what it was to be put into. */
    lace_value *made[4] = {lace_value_list(), lace_value_dict(), lace_value_dict(), lace_value_dict()};
    CHECK_REFUSED(LACE_INVALID, "", lace_value_append(made[0], NULL));
    CHECK_REFUSED(LACE_INVALID, "", lace_value_set(made[1], "key", NULL));
    CHECK_REFUSED(LACE_INVALID, "", lace_value_set(made[2], NULL, lace_value_none()));
    CHECK_REFUSED(LACE_INVALID, "", lace_value_put(made[3], NULL, lace_value_none()));
    for (int i = 0; i < 4; i++)
        check_failed(made[i], LACE_INVALID);
    CHECK_REFUSED(LACE_INVALID, "", lace_value_append(NULL, lace_value_none()));
    CHECK_REFUSED(LACE_INVALID, "", lace_value_set(NULL, "key", lace_value_none()));
    CHECK_REFUSED(LACE_INVALID, "", lace_value_put(NULL, lace_value_none(), lace_value_none()));
}
END_TEST

START_TEST(test_null_to_readers_of_values)
{
    bool truth = true;
    int64_t number = 9;
    uint64_t natural = 9;
    double real = 9;
    const char *text = "untouched";
    const void *data = text;
    size_t size = 9;
    char room[8] = "room";
    lace_block *block = NULL;
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    const lace_value *inner = NULL;
    CHECK(lace_value_type(NULL) == LACE_TYPE_FAILED && lace_value_size(NULL) == 0);
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_bool(NULL, &truth));
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_int(NULL, &number));
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_uint(NULL, &natural));
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_big(NULL, room, sizeof room));
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_float(NULL, &real));
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_str(NULL, &text, &size));
    CHECK_STATUS(LACE_MISMATCH, lace_value_get_bytes(NULL, &data, &size));
    CHECK_STATUS(LACE_MISMATCH, lace_value_share_block(NULL, &block));
    CHECK_STATUS(LACE_MISMATCH, lace_value_take_sender(NULL, &sender));
    CHECK_STATUS(LACE_MISMATCH, lace_value_take_receiver(NULL, &receiver));
    CHECK_STATUS(LACE_MISMATCH, lace_value_unpack(NULL, "v", &inner));
    CHECK_STATUS(LACE_MISMATCH, lace_value_unpack(NULL, "_"));
    CHECK(lace_value_at(NULL, 0) == NULL && lace_value_key(NULL, 0) == NULL);
    CHECK(lace_value_find(NULL, "x") == NULL && lace_value_find_any(NULL, NULL) == NULL);
    CHECK(truth && number == 9 && natural == 9 && real == 9 && size == 9 && strcmp(text, "untouched") == 0 &&
          data == text);
    CHECK_TEXT(room, "room");
    CHECK(!block && !sender && !receiver && !inner);
    CHECK(lace_value_equal(NULL, NULL, &truth) == LACE_OK && !truth); /* nothing is equal to nothing */

    lace_value *dict = lace_value_build("{sisv}", "x", 1, "list",
                                        lace_value_build("[bidsny#]", 1, 2, 0.5, "s", "b", (size_t)1));
    const lace_value *list = lace_value_find(dict, "list");
    CHECK_STATUS(LACE_INVALID, lace_value_get_bool(lace_value_at(list, 0), NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_get_int(lace_value_at(list, 1), NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_get_uint(lace_value_at(list, 1), NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_get_big(lace_value_at(list, 1), NULL, 8));
    CHECK_STATUS(LACE_INVALID, lace_value_get_float(lace_value_at(list, 2), NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_get_str(lace_value_at(list, 3), NULL, &size));
    CHECK_OK(lace_value_get_str(lace_value_at(list, 3), &text, NULL)); /* may be: a text without NULs */
    CHECK_TEXT(text, "s");
    CHECK_STATUS(LACE_INVALID, lace_value_get_bytes(lace_value_at(list, 5), NULL, &size));
    CHECK_STATUS(LACE_INVALID, lace_value_get_bytes(lace_value_at(list, 5), &data, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_share_block(list, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_take_sender(list, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_take_receiver(list, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(dict, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(list, "[v_____]", NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(list, "[_i____]", NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(list, "[___s__]", NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(list, "[___s#__]", &text, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_unpack(dict, "{s_}", NULL));
    CHECK(lace_value_find(dict, NULL) == NULL && lace_value_find_any(dict, NULL) == NULL);
    CHECK_STATUS(LACE_INVALID, lace_value_equal(dict, dict, NULL));
    CHECK(lace_value_equal(dict, NULL, &truth) == LACE_OK && !truth);
    CHECK(lace_value_equal(NULL, dict, &truth) == LACE_OK && !truth);
    CHECK_UINT(lace_value_format(dict, NULL, 0), 0);
    CHECK_UINT(lace_value_format(dict, NULL, 10), 0);
    CHECK(lace_value_format(NULL, room, sizeof room) < sizeof room && room[sizeof room - 1] == '\0');
    lace_value_destroy(dict);
}
END_TEST

START_TEST(test_null_to_messages_of_values)
{
    lace_sender *sender;
    lace_receiver *receiver;
    lace_value *value = NULL;
    lace_message *message;
    lace_payload payload = {.size = 77};
    open_host(NULL);
    make_channel(3, &sender, &receiver);
    CHECK_STATUS(LACE_INVALID, lace_send_value(NULL, lace_value_none(), TRY));
    CHECK_STATUS(LACE_INVALID, lace_send_value(sender, NULL, TRY));
    CHECK_STATUS(LACE_INVALID, lace_recv_value(NULL, TRY, &value));
    CHECK_OK(lace_send_value(sender, lace_value_int(5), NULL));
    CHECK_STATUS(LACE_INVALID, lace_recv_value(receiver, TRY, NULL)); /* it has not been received */
    CHECK_UINT(lace_receiver_length(receiver), 1);
    CHECK_OK(lace_message_create(lace_host_region(host), &message));
    CHECK_OK(lace_recv(receiver, message, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_of_message(NULL, &value));
    CHECK_STATUS(LACE_INVALID, lace_value_of_message(message, NULL));
    NO_OUTPUT(value);
    CHECK_OK(lace_value_of_message(message, &value));
    check_shown(value, "5");
    CHECK_STATUS(LACE_INVALID, lace_value_encode(NULL, NULL, &payload));
    CHECK_STATUS(LACE_INVALID, lace_value_encode(lace_value_none(), NULL, NULL));
    CHECK_STATUS(LACE_INVALID, lace_value_decode(NULL, &value));
    CHECK_STATUS(LACE_INVALID, lace_value_decode(&payload, NULL));
    CHECK_UINT(payload.size, 77);
    payload = (lace_payload){.data = NULL, .size = 5};
    CHECK_STATUS(LACE_INVALID, lace_value_decode(&payload, &value));
    payload = (lace_payload){.data = "N.", .size = 2, .attachments = NULL, .attachment_count = 1};
    CHECK_STATUS(LACE_INVALID, lace_value_decode(&payload, &value));
    check_shown(value, "5");
    lace_payload_finish(NULL, true);
    lace_payload_finish(NULL, false);
    CHECK_OK(lace_value_encode(value, NULL, &payload)); /* the region may be */
    lace_payload_finish(&payload, false);
    lace_message_destroy(message);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    close_host();
}
END_TEST

/* A value is used up by what takes it, also where that fails; an end that was closed can go into no message. */
START_TEST(test_ends_after_close)
{
    lace_sender *sender, *to;
    lace_receiver *receiver, *from;
    lace_value *value = NULL;
    lace_worker *worker = NULL;
    open_host(NULL);
    make_channel(2, &sender, &receiver);
    make_channel(2, &to, &from);
    lace_receiver_close(receiver);
    lace_receiver_close(receiver);
    CHECK_STATUS(LACE_CLOSED, lace_recv_value(receiver, TRY, &value));
    CHECK_STATUS(LACE_BROKEN, lace_send_value(sender, lace_value_none(), TRY));
    CHECK_STATUS(LACE_INVALID, lace_send_value(to, lace_value_receiver(receiver), TRY));
    lace_sender_close(sender);
    lace_sender_close(sender);
    CHECK_STATUS(LACE_CLOSED, lace_send_value(sender, lace_value_none(), TRY));
    lace_worker_options options = {.function = "builtins:len",
                                   .args = lace_value_build("(v)", lace_value_sender(sender))};
    CHECK_STATUS(LACE_INVALID, lace_worker_start(host, &options, &worker));
    NO_OUTPUT(value);
    NO_OUTPUT(worker);
    /* As input: the worker is told. */
    make_channel(2, &sender, &receiver);
    lace_receiver_close(receiver);
    check_failure(start_code_with("import interlace; interlace.input.recv()", receiver, NULL), "ValueError",
                  "closed");
    lace_sender_destroy(sender);
    lace_sender_destroy(to);
    lace_receiver_destroy(from);
    close_host();
}
END_TEST

TEST_MAIN("embed_misuse", EMBED(test_null_to_the_host), EMBED(test_null_to_workers), EMBED(test_null_to_groups),
          EMBED(test_null_to_exports), EMBED(test_null_to_makers_of_values), EMBED(test_null_to_readers_of_values),
          EMBED(test_null_to_messages_of_values), EMBED(test_ends_after_close))
