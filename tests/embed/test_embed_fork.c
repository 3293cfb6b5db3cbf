/* test_embed_fork.c - after fork(): in the child each call that can fail says FORKED, the others do nothing, and the
 * parent is not disturbed. */
#include "embedding.h"

#include <sys/wait.h>
#include <unistd.h>

/* What the parent has when it forks. */
static struct things {
    lace_worker *running, *ended, *failed;
    lace_group *group, *failed_group;
    lace_sender *sender, *pipe_sender;
    lace_receiver *receiver, *pipe_receiver;
    lace_message *message;
    lace_block *block;
    lace_cancel *cancel;
    lace_selector *selector;
    lace_key *key;
    lace_value *value, *held; /* `held` has an end and a block in it */
    lace_receiver *told;
    lace_sender *stop;
} t;

static lace_value *nothing(lace_call *call, void *context)
{
    (void)call;
    (void)context;
    return lace_value_none();
}

static void open_things(void)
{
    lace_receiver *input;
    lace_value *result;
    open_host(NULL);
    t.told = open_tell();
    make_channel(0, &t.stop, &input);
    t.running = start_code_with("import interlace, interlace.host\n"
                                "for x in interlace.input: interlace.host.tell(x)\n",
                                input, NULL);
    t.ended = start_function("builtins:len", lace_value_build("(s)", "abc"));
    CHECK_OK(lace_worker_result(t.ended, SOON, &result));
    lace_value_destroy(result);
    t.failed = start_code("1 / 0");
    CHECK_OK(lace_worker_wait(t.failed, SOON));
    CHECK_OK(lace_group_create(host, "g", &t.group));
    CHECK_OK(lace_worker_start(host, &(lace_worker_options){.code = "pass", .group = t.group}, NULL));
    CHECK_OK(lace_group_create(host, "f", &t.failed_group));
    CHECK_OK(lace_worker_start(host, &(lace_worker_options){.code = "1 / 0", .group = t.failed_group}, NULL));
    CHECK_STATUS(LACE_FAILED, lace_group_wait(t.failed_group, SOON));
    make_channel(3, &t.sender, &t.receiver);
    CHECK_OK(lace_send_value(t.sender, lace_value_str("kept"), TRY));
    CHECK_OK(lace_pipe_create("p", &t.pipe_sender, &t.pipe_receiver));
    CHECK_OK(lace_message_create(lace_host_region(host), &t.message));
    CHECK_OK(lace_block_create(lace_host_region(host), 5000, &t.block));
    memset(lace_block_data(t.block), 'b', 5000);
    CHECK_OK(lace_cancel_create(NULL, &t.cancel));
    CHECK_OK(lace_key_create(&t.key));
    lace_case choice = {.kind = LACE_CASE_RECV, .receiver = t.receiver};
    CHECK_OK(lace_selector_create(&choice, 1, &t.selector));
    t.value = lace_value_build("{s[id]}", "k", 1, 2.5);
    lace_sender *twin;
    lace_block *shared;
    CHECK_OK(lace_sender_clone(t.sender, &twin));
    CHECK_OK(lace_block_share(t.block, &shared));
    t.held = lace_value_build("[vv]", lace_value_sender(twin), lace_value_block(shared));
}

static void close_things(void)
{
    lace_selector_destroy(t.selector);
    lace_sender_destroy(t.stop);
    check_result(t.running, "None");
    lace_worker_destroy(t.ended);
    lace_worker_destroy(t.failed);
    lace_group_destroy(t.group);
    lace_group_destroy(t.failed_group);
    lace_sender_destroy(t.sender);
    lace_receiver_destroy(t.receiver);
    lace_sender_destroy(t.pipe_sender);
    lace_receiver_destroy(t.pipe_receiver);
    lace_message_destroy(t.message);
    lace_block_destroy(t.block);
    lace_cancel_destroy(t.cancel);
    lace_key_destroy(t.key);
    lace_value_destroy(t.value);
    lace_value_destroy(t.held);
    lace_receiver_destroy(t.told);
    close_host();
    CHECK_UINT(mapped_regions(), 1); /* the teller's */
}

/* Runs `body` in a child, which has to come to its end, and soon. */
static void in_child(void (*body)(void))
{
    int status;
    fflush(stderr);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60); /* a lock that nobody opens any more */
        body();
        _exit(33);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 33, "the child's status is %#x", (unsigned)status);
}

/* A failure in the child ends it: check's own ways are the parent's. */
#define SAY(condition, ...)                                               \
    do {                                                                  \
        if (!(condition)) {                                               \
            fprintf(stderr, "%s:%d: in the child: ", __FILE__, __LINE__); \
            fprintf(stderr, __VA_ARGS__);                                 \
            fputc('\n', stderr);                                          \
            _exit(1);                                                     \
        }                                                                 \
    } while (0)
#define FORKED(call)                                                            \
    do {                                                                        \
        lace_status status_ = (call);                                           \
        SAY(status_ == LACE_FORKED, "%s gave %s", #call, status_name(status_)); \
    } while (0)
#define HOLDS(condition) SAY(condition, "%s", #condition)

static void call_the_host(void)
{
    lace_host *opened = NULL;
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_worker *worker = NULL;
    lace_group *group = NULL;
    lace_value *value = NULL;
    FORKED(lace_host_open(NULL, &opened));
    FORKED(lace_host_channel(host, NULL, &sender, &receiver));
    FORKED(lace_worker_start(host, &(lace_worker_options){.code = "pass"}, &worker));
    FORKED(lace_worker_start(
        host, &(lace_worker_options){.function = "builtins:len", .args = lace_value_share(t.held)}, &worker));
    FORKED(lace_worker_wait(t.running, NULL));
    FORKED(lace_worker_wait(t.ended, TRY));
    FORKED(lace_worker_result(t.ended, TRY, &value));
    FORKED(lace_worker_result(t.failed, TRY, &value));
    FORKED(lace_worker_cancel(t.running));
    FORKED(lace_group_create(host, NULL, &group));
    FORKED(lace_group_cancel(t.group));
    FORKED(lace_group_wait(t.group, NULL));
    FORKED(lace_export(host, "f", nothing, NULL, 0));
    FORKED(lace_host_close(host));
    HOLDS(strstr(lace_problem(), "forked"));
    HOLDS(!opened && !sender && !receiver && !worker && !group && !value);
    HOLDS(lace_host_region(host) == NULL);
    HOLDS(lace_worker_error(t.failed) == NULL && lace_group_error(t.failed_group) == NULL);
    HOLDS(lace_worker_end(t.running) == NULL);
    HOLDS(strcmp(lace_worker_name(t.running), "-c-1") == 0 && lace_worker_ended(t.ended));
    HOLDS(lace_version() == LACE_VERSION_NUMBER);
    lace_worker_destroy(t.running);
    lace_worker_destroy(t.ended);
    lace_group_destroy(t.group);
    lace_group_destroy(t.failed_group);
}

static void call_channels(void)
{
    lace_region *region = NULL;
    lace_block *block = NULL;
    lace_message *message = NULL;
    lace_cancel *cancel = NULL;
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_selector *selector = NULL;
    lace_attachment attachment = {LACE_ATTACH_NONE, {NULL}};
    lace_key *key = NULL;
    lace_payload payload = {.data = "x", .size = 1};
    lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = t.receiver, .message = t.message},
                          {.kind = LACE_CASE_AT, .at = 1}};
    size_t count = 0, index = 9;
    int fd = -1;
    FORKED(lace_region_create(NULL, &region));
    FORKED(lace_region_destroy(lace_sender_region(t.sender)));
    FORKED(lace_region_abandon(lace_sender_region(t.sender)));
    FORKED(lace_block_create(lace_sender_region(t.sender), 10, &block));
    FORKED(lace_block_share(t.block, &block));
    FORKED(lace_message_create(lace_sender_region(t.sender), &message));
    FORKED(lace_message_take(t.message, 0, &attachment));
    FORKED(lace_message_block(t.message, 0, &block));
    FORKED(lace_cancel_create(NULL, &cancel));
    FORKED(lace_channel_create(lace_sender_region(t.sender), NULL, &sender, &receiver));
    FORKED(lace_pipe_create(NULL, &sender, &receiver));
    FORKED(lace_pipe_sender(1, NULL, &sender));
    FORKED(lace_pipe_receiver(0, NULL, &receiver));
    FORKED(lace_key_create(&key));
    FORKED(lace_key_load("/nowhere", &key));
    FORKED(lace_key_save(t.key, "/nowhere/at/all"));
    FORKED(lace_sealed_sender(1, &(lace_seal_options){.key = t.key}, &sender));
    FORKED(lace_sealed_receiver(0, &(lace_seal_options){.key = t.key}, &receiver));
    lace_sender *senders[2] = {t.sender, t.pipe_sender};
    lace_receiver *receivers[2] = {t.receiver, t.pipe_receiver};
    for (int i = 0; i < 2; i++) { /* of memory, of a pipe */
        FORKED(lace_send(senders[i], &payload, NULL));
        FORKED(lace_send_many(senders[i], &payload, 1, NULL, &count));
        FORKED(lace_recv(receivers[i], t.message, NULL));
        FORKED(lace_recv_many(receivers[i], &t.message, 1, NULL, &count));
        FORKED(lace_sender_clone(senders[i], &sender));
        FORKED(lace_receiver_clone(receivers[i], &receiver));
        FORKED(lace_sender_fd(senders[i], &fd));
        FORKED(lace_receiver_fd(receivers[i], &fd));
        FORKED(lace_sender_finish(senders[i], NULL));
        cases[0].receiver = receivers[i];
        FORKED(lace_select(cases, 2, 0, NULL, &index));
    }
    FORKED(lace_selector_create(cases + 1, 0, &selector));
    FORKED(lace_selector_wait(t.selector, 0, t.message, NULL, &index));
    HOLDS(!region && !block && !message && !cancel && !sender && !receiver && !selector && !key);
    HOLDS(count == 0 && index == 9 && fd == -1 && attachment.kind == LACE_ATTACH_NONE);
    lace_cancel_fire(t.cancel);
    HOLDS(!lace_cancel_fired(t.cancel));
    for (int i = 0; i < 2; i++) {
        lace_sender_close(senders[i]);
        lace_receiver_close(receivers[i]);
        HOLDS(!lace_sender_closed(senders[i]) && !lace_receiver_closed(receivers[i]));
        lace_sender_destroy(senders[i]);
        lace_receiver_destroy(receivers[i]);
    }
    lace_message_clear(t.message);
    lace_message_destroy(t.message);
    lace_block_destroy(t.block);
    lace_cancel_destroy(t.cancel);
    lace_selector_destroy(t.selector);
    lace_key_destroy(t.key);
}

/* Values are memory: they can be built and read in the child, but what is of the parent's region stays the parent's. */
static void call_values(void)
{
    const void *data = NULL;
    size_t size = 0;
    int number = 0;
    lace_value *value = lace_value_build("[is]", 5, "text"), *got = NULL;
    lace_payload payload;
    lace_block *block = NULL;
    HOLDS(lace_value_unpack(value, "[i_]", &number) == LACE_OK && number == 5);
    lace_value_append(value, lace_value_share(t.value));
    HOLDS(lace_value_size(value) == 3);
    HOLDS(lace_value_encode(lace_value_share(value), NULL, &payload) == LACE_OK);
    HOLDS(lace_value_decode(&payload, &got) == LACE_OK && lace_value_size(got) == 3);
    lace_payload_finish(&payload, false);
    lace_value_destroy(got);
    FORKED(lace_send_value(t.sender, lace_value_share(value), NULL));
    FORKED(lace_send_value(t.pipe_sender, lace_value_share(value), NULL));
    FORKED(lace_recv_value(t.receiver, NULL, &got));
    FORKED(lace_recv_value(t.pipe_receiver, NULL, &got));
    lace_value_destroy(value);
    const lace_value *second = lace_value_at(t.held, 1);
    HOLDS(lace_value_get_bytes(second, &data, &size) == LACE_OK && size == 5000);
    FORKED(lace_value_share_block(second, &block));
    lace_value_destroy(lace_value_share(t.held));
    lace_value_destroy(t.held);
    lace_value_destroy(t.value);
}

START_TEST(test_fork_in_the_child)
{
    static void (*const bodies[])(void) = {call_the_host, call_channels, call_values};
    open_things();
    in_child(bodies[_i]);
    /* The parent has noticed nothing. */
    CHECK_OK(lace_send_value(t.stop, lace_value_str("to the worker"), SOON));
    check_received(t.told, "'to the worker'");
    check_received(t.receiver, "'kept'");
    CHECK(!lace_cancel_fired(t.cancel) && !lace_worker_ended(t.running));
    CHECK(((char *)lace_block_data(t.block))[4999] == 'b');
    lace_sender *held;
    CHECK_OK(lace_value_take_sender(lace_value_at(t.held, 0), &held));
    CHECK_OK(lace_send_value(held, lace_value_share(lace_value_at(t.held, 1)), TRY));
    lace_sender_destroy(held);
    lace_value_destroy(receive(t.receiver));
    CHECK_OK(lace_send_value(t.pipe_sender, lace_value_int(5), SOON));
    check_received(t.pipe_receiver, "5");
    lace_value *value;
    CHECK_OK(lace_worker_result(t.ended, TRY, &value));
    check_value(value, "3");
    CHECK_STATUS(LACE_FAILED, lace_group_wait(t.failed_group, TRY));
    CHECK_OK(lace_group_wait(t.group, SOON));
    run_code("pass");
    close_things();
}
END_TEST

static void leave_with_exit(void)
{
    ignore_leaks();
    exit(33); /* its exit handlers find what they may not touch */
}

START_TEST(test_fork_that_exits)
{
    open_things();
    for (int i = 0; i < 3; i++)
        in_child(leave_with_exit);
    close_things();
}
END_TEST

static void run_a_program(void)
{
    execl("/bin/sh", "sh", "-c",
          "for fd in /proc/self/fd/*; do readlink $fd; done | grep -E 'memfd:|eventfd' && exit 1; exit 33",
          (char *)NULL);
}

START_TEST(test_fork_and_exec_inherits_nothing)
{
    open_things();
    in_child(run_a_program);
    close_things();
}
END_TEST

/* While workers run, send, print, start and end, whatever locks are held at that moment. */
START_TEST(test_fork_at_any_moment)
{
    open_things();
    lace_worker *busy = start_code(
        "import interlace, interlace.host, sys\n"
        "def f(): pass\n"
        "s, r = interlace.channel(10)\n"
        "while True:\n"
        "    s.send([1, 'x' * 1000]); r.recv(); s.send(memoryview(b'x' * 5000)); r.recv()\n"
        "    with interlace.Group() as g: g.start(f)\n");
    for (size_t i = 0; i < test_scaled(60); i++)
        in_child(i % 2 ? call_the_host : call_values);
    CHECK_OK(lace_worker_cancel(busy));
    check_failure(busy, "Cancelled", "");
    close_things();
}
END_TEST

TEST_MAIN("embed_fork", EMBED_LOOP(test_fork_in_the_child, 3), EMBED(test_fork_that_exits),
          EMBED(test_fork_and_exec_inherits_nothing), EMBED(test_fork_at_any_moment))
