/* fixture.c - the table of transports and the short hands of fixture.h. */
#include "fixture.h"

#include "../../channels/attach.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CAN_ALL (CAN_QUEUE | CAN_COUNT | CAN_ATTACH | CAN_REGISTER)

const transport transports[TRANSPORT_COUNT] = {
    {"memory 0", false, 0, CAN_ALL & ~CAN_QUEUE}, {"memory 1", false, 1, CAN_ALL},   {"memory 2", false, 2, CAN_ALL},
    {"memory 64", false, 64, CAN_ALL},            {"pipe", true, 0, CAN_QUEUE},
    {"sealed pipe", true, 0, CAN_QUEUE, SEALED_PIPE}, {"sealed socket", true, 0, CAN_QUEUE, SEALED_SOCKET},
    {"sealed memory", true, 0, CAN_QUEUE, SEALED_MEMORY},
};

/* ---- making ------------------------------------------------------------------------------------------- */

lace_region *region_make(size_t limit)
{
    lace_region *region;
    CHECK_OK(lace_region_create(&(lace_region_options){.limit = limit}, &region));
    return region;
}

lace_message *message_make(lace_region *region)
{
    lace_message *message;
    CHECK_OK(lace_message_create(region, &message));
    return message;
}

void channel_make(lace_region *region, size_t capacity, lace_sender **ret_sender, lace_receiver **ret_receiver)
{
    CHECK_OK(lace_channel_create(region, &(lace_channel_options){.capacity = capacity}, ret_sender, ret_receiver));
}

const lace_key *test_key(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static lace_key *key;
    pthread_mutex_lock(&mutex);
    if (!key)
        CHECK_OK(lace_key_create(&key));
    pthread_mutex_unlock(&mutex);
    return key;
}

typedef lace_status (*greeting)(int fd, lace_role role, const lace_seal_options *options, const lace_wait *wait,
                                lace_sender **ret_sender, lace_receiver **ret_receiver);

typedef struct greeter {
    connection *made;
    int fd;
    greeting greet;
} greeter;

static void greeter_run(void *context)
{
    greeter *self = context;
    lace_seal_options options = {.key = test_key()};
    CHECK_OK(self->greet(self->fd, LACE_ROLE_SERVER, &options, NULL, &self->made->sender[1], &self->made->receiver[1]));
}

static void connect_by(greeting greet, connection *opened, int client_fd, int server_fd)
{
    lace_seal_options options = {.key = test_key()};
    greeter server = {opened, server_fd, greet};
    thread other;
    thread_start(&other, greeter_run, &server);
    CHECK_OK(greet(client_fd, LACE_ROLE_CLIENT, &options, NULL, &opened->sender[0], &opened->receiver[0]));
    thread_join(&other);
}

void connection_open(connection *opened, int client_fd, int server_fd)
{
    connect_by(lace_sealed_socket, opened, client_fd, server_fd);
}

void connection_open_memory(connection *opened)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    connect_by(lace_sealed_memory, opened, fds[0], fds[1]);
}

void connection_close(connection *closed)
{
    for (int i = 0; i < 2; i++) {
        lace_sender_destroy(closed->sender[i]);
        lace_receiver_destroy(closed->receiver[i]);
    }
}

static void pair_open_sealed(pair *opened)
{
    lace_seal_options options = {.key = test_key()};
    int fds[2];
    if (opened->kind->seal == SEALED_SOCKET || opened->kind->seal == SEALED_MEMORY) {
        connection made;
        if (opened->kind->seal == SEALED_MEMORY) {
            connection_open_memory(&made);
        } else {
            CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
            connection_open(&made, fds[0], fds[1]);
        }
        opened->sender = made.sender[0];
        opened->receiver = made.receiver[1];
        made.sender[0] = NULL;
        made.receiver[1] = NULL;
        connection_close(&made);
        return;
    }
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_OK(lace_sealed_sender(fds[1], &options, &opened->sender));
    options.name = lace_sender_name(opened->sender);
    CHECK_OK(lace_sealed_receiver(fds[0], &options, &opened->receiver));
}

void pair_shrink(const pair *shrunk)
{
    int fd, small = 1;
    if (shrunk->kind->seal == SEALED_MEMORY)
        return; /* it has one size */
    CHECK_OK(lace_sender_fd(shrunk->sender, &fd));
    if (shrunk->kind->seal == SEALED_SOCKET)
        CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    else
        CHECK_UINT(fcntl(fd, F_SETPIPE_SZ, 4096), 4096);
}

static void pair_open_ends(pair *opened)
{
    if (opened->kind->seal != NOT_SEALED)
        pair_open_sealed(opened);
    else if (opened->kind->pipe)
        CHECK_OK(lace_pipe_create(NULL, &opened->sender, &opened->receiver));
    else
        channel_make(opened->region, opened->kind->capacity, &opened->sender, &opened->receiver);
}

void pair_open(pair *opened, int index)
{
    CHECK(index >= 0 && index < TRANSPORT_COUNT);
    opened->kind = &transports[index];
    opened->region = opened->kind->pipe ? NULL : region_make(0);
    opened->message = message_make(opened->region);
    pair_open_ends(opened);
}

void pair_open_beside(pair *opened, const pair *beside)
{
    *opened = *beside;
    pair_open_ends(opened);
}

void pair_open_memory(pair *opened, size_t capacity, size_t max_bytes)
{
    static const transport memory = {"memory", false, 0, CAN_ALL};
    opened->kind = &memory;
    opened->region = region_make(0);
    opened->message = message_make(opened->region);
    CHECK_OK(lace_channel_create(opened->region, &(lace_channel_options){capacity, max_bytes, NULL}, &opened->sender,
                                 &opened->receiver));
}

void pair_close_ends(pair *closed)
{
    lace_sender_destroy(closed->sender);
    lace_receiver_destroy(closed->receiver);
    closed->sender = NULL;
    closed->receiver = NULL;
}

void pair_close(pair *closed)
{
    pair_close_ends(closed);
    lace_message_destroy(closed->message);
    if (closed->region)
        CHECK_OK(lace_region_destroy(closed->region));
}

size_t region_used(const lace_region *region)
{
    size_t used, backed;
    lace_region_usage(region, &used, &backed);
    CHECK(used <= backed);
    return used;
}

void region_warm(lace_region *region)
{
    lace_sender *sender;
    lace_receiver *receiver;
    lace_message *message = message_make(region);
    channel_make(region, 0, &sender, &receiver);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(receiver, message, WITHIN_MS(1)));
    CHECK_STATUS(LACE_TIMEOUT, send_u64(sender, 1, WITHIN_MS(1)));
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
}

/* ---- sending and receiving ---------------------------------------------------------------------------- */

lace_payload payload_of(const void *data, size_t size)
{
    return (lace_payload){.data = data, .size = size};
}

lace_status send_text(lace_sender *sender, const char *text, const lace_wait *wait)
{
    lace_payload payload = payload_of(text, strlen(text));
    return lace_send(sender, &payload, wait);
}

lace_status send_u64(lace_sender *sender, uint64_t value, const lace_wait *wait)
{
    lace_payload payload = payload_of(&value, sizeof value);
    return lace_send(sender, &payload, wait);
}

uint64_t message_u64(const lace_message *message)
{
    uint64_t value;
    CHECK_UINT(lace_message_size(message), sizeof value);
    memcpy(&value, lace_message_data(message), sizeof value);
    return value;
}

lace_status recv_u64(lace_receiver *receiver, lace_message *message, uint64_t *ret_value, const lace_wait *wait)
{
    lace_status status = lace_recv(receiver, message, wait);
    if (status == LACE_OK)
        *ret_value = message_u64(message);
    return status;
}

bool message_is(const lace_message *message, const char *text)
{
    return lace_message_size(message) == strlen(text) &&
           (*text == '\0' || memcmp(lace_message_data(message), text, strlen(text)) == 0);
}

void fill(lace_sender *sender, size_t count)
{
    for (size_t i = 0; i < count; i++)
        CHECK_OK(send_u64(sender, i, TRY));
}

size_t fill_up(lace_sender *sender)
{
    size_t sent = 0;
    lace_status status;
    while ((status = send_u64(sender, sent, TRY)) == LACE_OK)
        sent++;
    CHECK_STATUS(LACE_TIMEOUT, status);
    return sent;
}

/* ---- attachments -------------------------------------------------------------------------------------- */

lace_status send_attached(lace_sender *sender, const char *text, const lace_attachment *attachments, size_t count,
                          const lace_wait *wait)
{
    lace_payload payload = {text, strlen(text), attachments, count};
    return lace_send(sender, &payload, wait);
}

lace_status send_sender(lace_sender *over, lace_sender *sent, const lace_wait *wait)
{
    return send_attached(over, "sender", &(lace_attachment){LACE_ATTACH_SENDER, {.sender = sent}}, 1, wait);
}

lace_status send_receiver(lace_sender *over, lace_receiver *sent, const lace_wait *wait)
{
    return send_attached(over, "receiver", &(lace_attachment){LACE_ATTACH_RECEIVER, {.receiver = sent}}, 1, wait);
}

lace_status send_block(lace_sender *over, lace_block *sent, const lace_wait *wait)
{
    return send_attached(over, "block", &(lace_attachment){LACE_ATTACH_BLOCK, {.block = sent}}, 1, wait);
}

static lace_attachment take(lace_message *message, size_t index, lace_attachment_kind kind)
{
    lace_attachment taken;
    CHECK_OK(lace_message_take(message, index, &taken));
    CHECK_UINT(taken.kind, kind);
    return taken;
}

lace_sender *take_sender(lace_message *message, size_t index)
{
    return take(message, index, LACE_ATTACH_SENDER).as.sender;
}

lace_receiver *take_receiver(lace_message *message, size_t index)
{
    return take(message, index, LACE_ATTACH_RECEIVER).as.receiver;
}

lace_block *take_block(lace_message *message, size_t index)
{
    return take(message, index, LACE_ATTACH_BLOCK).as.block;
}

/* ---- calls in threads of their own -------------------------------------------------------------------- */

/* A choice between the call's own case and a channel on which nothing ever happens. */
static void call_choose(call *self, lace_message *message, const lace_wait *wait)
{
    pair idle = {.kind = &transports[self->region ? 1 : TRANSPORT_PIPE], .region = self->region};
    pair_open_ends(&idle);
    lace_payload payload = payload_of(&self->value, sizeof self->value);
    lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = idle.receiver, .message = message},
                          {.kind = LACE_CASE_RECV, .receiver = self->receiver, .message = message}};
    if (self->kind == CALL_SELECT_SEND)
        cases[1] = (lace_case){.kind = LACE_CASE_SEND, .sender = self->sender, .payload = &payload};
    size_t index = 7;
    if (self->kind == CALL_SELECTOR_RECV) {
        lace_selector *selector;
        CHECK_OK(lace_selector_create(cases, 2, &selector));
        self->status = lace_selector_wait(selector, 0, message, wait, &index);
        lace_selector_destroy(selector);
    } else {
        self->status = lace_select(cases, 2, 0, wait, &index);
    }
    CHECK_UINT(index, self->status == LACE_OK ? 1 : 7);
    pair_close_ends(&idle);
}

static void call_body(void *context)
{
    call *self = context;
    lace_message *message = message_make(self->region);
    lace_wait wait = watch_wait(&self->watching, self->deadline, self->cancel);
    switch (self->kind) {
    case CALL_SEND:
        self->status = send_u64(self->sender, self->value, &wait);
        break;
    case CALL_RECV:
        self->status = lace_recv(self->receiver, message, &wait);
        break;
    case CALL_SELECT_RECV:
    case CALL_SELECT_SEND:
    case CALL_SELECTOR_RECV:
        call_choose(self, message, &wait);
        break;
    }
    if (self->status == LACE_OK && self->kind != CALL_SEND && self->kind != CALL_SELECT_SEND)
        self->value = message_u64(message);
    lace_message_destroy(message);
    atomic_store(&self->done, true);
}

void call_start_waiting(call *started, call_kind kind, const pair *on, uint64_t value, int64_t deadline,
                        lace_cancel *cancel)
{
    *started = (call){.watching = WATCH_INIT,
                      .kind = kind,
                      .sender = on->sender,
                      .receiver = on->receiver,
                      .region = on->region,
                      .deadline = deadline,
                      .cancel = cancel,
                      .value = value,
                      .status = LACE_UNSUPPORTED};
    thread_start(&started->runner, call_body, started);
}

void call_start(call *started, call_kind kind, const pair *on, uint64_t value)
{
    call_start_waiting(started, kind, on, value, LACE_NEVER, NULL);
}

void call_until_asleep(call *watched)
{
    watch_until_parked(&watched->watching, 1);
    thread_until_asleep(&watched->runner);
}

lace_status call_join(call *ended)
{
    thread_join(&ended->runner);
    return ended->status;
}
