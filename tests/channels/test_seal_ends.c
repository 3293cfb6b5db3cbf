/* test_seal_ends.c - I3: how sealed streams begin and end: slow readers, full pipes, messages given up half-way, writers
 * that are killed, several of them, and forks. */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEALED_KINDS 3 /* transports from TRANSPORT_PIPE + 1 on; the last, memory, keeps room for the last word */

static void sealed_open(pair *opened, int index)
{
    pair_open(opened, TRANSPORT_PIPE + 1 + index % SEALED_KINDS);
}

/* Sends messages of FULL bytes until no more go; gives how many. That size leaves no room in a pipe of one page for as
 * much as an END: 96 bytes of an opening and 40 records of 100. */
#define FULL 19

static size_t fill_full(lace_sender *sender)
{
    static const char bytes[FULL];
    lace_payload payload = payload_of(bytes, FULL);
    size_t sent = 0;
    lace_status status;
    while ((status = lace_send(sender, &payload, TRY)) == LACE_OK)
        sent++;
    CHECK_STATUS(LACE_TIMEOUT, status);
    return sent;
}

/* ---- the last word ------------------------------------------------------------------------------------ */

/* Nobody reads, nothing more goes in, and the sender closes: that it did must still be told.  _i: over what, and how
 * small */
START_TEST(test_i3_a_full_channel_ends)
{
    pair p;
    sealed_open(&p, _i);
    if (_i >= SEALED_KINDS)
        pair_shrink(&p);
    size_t sent = fill_full(p.sender);
    CHECK(sent > 1);
    int64_t start = lace_clock();
    lace_sender_close(p.sender);
    CHECK(lace_clock() - start < INT64_C(2000000000)); /* without waiting */
    for (size_t i = 0; i < sent; i++)
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, TRY));
    pair_close(&p);
}
END_TEST

/* The same with half a message in it, which does not count. */
START_TEST(test_i3_a_channel_full_of_half_a_message_ends)
{
    pair p;
    size_t large = 1000000;
    unsigned char *bytes = calloc(large, 1);
    lace_payload payload = payload_of(bytes, large);
    sealed_open(&p, _i);
    if (_i >= SEALED_KINDS)
        pair_shrink(&p);
    CHECK_OK(send_u64(p.sender, 1, TRY));
    CHECK_STATUS(LACE_TIMEOUT, lace_send(p.sender, &payload, TRY));
    lace_sender_close(p.sender);
    CHECK_OK(lace_recv(p.receiver, p.message, NULL));
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    free(bytes);
    pair_close(&p);
}
END_TEST

static void finish_run(void *context)
{
    pair *p = context;
    CHECK_OK(lace_sender_finish(p->sender, NULL));
}

START_TEST(test_i3_finish)
{
    pair p;
    lace_sender *clone;
    thread other;
    pair_open(&p, _i);
    CHECK_OK(lace_sender_clone(p.sender, &clone));
    if (p.kind->can & CAN_QUEUE)
        CHECK_OK(send_u64(p.sender, 5, TRY));
    CHECK_OK(lace_sender_finish(clone, NULL)); /* not the last one: just closed */
    CHECK(lace_sender_closed(clone) && !lace_sender_closed(p.sender));
    CHECK_STATUS(LACE_CLOSED, lace_sender_finish(clone, NULL));
    thread_start(&other, finish_run, &p);
    if (p.kind->can & CAN_QUEUE)
        CHECK_OK(lace_recv(p.receiver, p.message, NULL));
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    thread_join(&other);
    CHECK(lace_sender_closed(p.sender));
    CHECK_STATUS(LACE_CLOSED, lace_sender_finish(p.sender, NULL));
    lace_sender_destroy(clone);
    pair_close(&p);
}
END_TEST

/* A finish that must wait ends with its deadline or its token, says so, and may be repeated. */
START_TEST(test_i3_finish_waits_as_told)
{
    pair p;
    lace_cancel *cancel;
    thread other;
    sealed_open(&p, _i);
    pair_shrink(&p);
    size_t sent = fill_full(p.sender);
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    CHECK_STATUS(LACE_TIMEOUT, lace_sender_finish(p.sender, TRY));
    CHECK_STATUS(LACE_TIMEOUT, lace_sender_finish(p.sender, WITHIN_MS(5)));
    lace_cancel_fire(cancel);
    CHECK_STATUS(LACE_CANCELLED, lace_sender_finish(p.sender, UNDER(cancel)));
    CHECK(!lace_sender_closed(p.sender));
    lace_status status = send_u64(p.sender, 1, TRY); /* some of the END may have gone: then nothing follows it */
    CHECK(status == LACE_TIMEOUT || status == LACE_CLOSED);
    thread_start(&other, finish_run, &p);
    for (size_t i = 0; i < sent; i++)
        CHECK_OK(lace_recv(p.receiver, p.message, NULL));
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    thread_join(&other);
    lace_cancel_destroy(cancel);
    pair_close(&p);
}
END_TEST

START_TEST(test_i3_finish_of_a_broken_channel)
{
    pair p;
    sealed_open(&p, _i);
    CHECK_OK(send_u64(p.sender, 1, TRY));
    lace_receiver_close(p.receiver);
    CHECK_STATUS(LACE_BROKEN, lace_sender_finish(p.sender, NULL));
    CHECK(lace_sender_closed(p.sender));
    pair_close(&p);
}
END_TEST

START_TEST(test_i3_no_message_at_all)
{
    static const size_t none[1];
    lace_seal_options options = {.key = test_key()};
    wire said = wire_of(&options, NULL, 0), nothing = {0};
    CHECK_UINT(said.count, 2);
    CHECK_STATUS(LACE_END, wire_play(&said, &options, none, 0).status);
    CHECK_STATUS(LACE_TRUNCATED, wire_play(&nothing, &options, none, 0).status); /* not even that it ends */
    wire_free(&said);
}
END_TEST

/* ---- messages given up -------------------------------------------------------------------------------- */

/* _i: over what, and what stops the send in the middle of its message */
START_TEST(test_i3_a_message_given_up_never_comes)
{
    pair p;
    lace_cancel *cancel;
    uint64_t value;
    size_t large = 1000000;
    sealed_open(&p, _i);
    pair_shrink(&p);
    unsigned char *bytes = calloc(large, 1);
    lace_payload payload = payload_of(bytes, large);
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    for (size_t round = 0; round < 5; round++) {
        if (_i / SEALED_KINDS == 0) {
            CHECK_STATUS(LACE_TIMEOUT, lace_send(p.sender, &payload, WITHIN_MS(5)));
        } else if (_i / SEALED_KINDS == 1) {
            CHECK_STATUS(LACE_TIMEOUT, lace_send(p.sender, &payload, TRY));
        } else {
            lace_cancel_fire(cancel);
            CHECK_STATUS(LACE_CANCELLED, lace_send(p.sender, &payload, UNDER(cancel)));
        }
        call sending;
        call_start(&sending, CALL_SEND, &p, 1000 + round);
        CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
        CHECK_UINT(value, 1000 + round);
        CHECK_OK(call_join(&sending));
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    }
    lace_cancel_destroy(cancel);
    free(bytes);
    pair_close(&p);
}
END_TEST

/* One record, stopped at whatever byte the socket stops at: its message was sent or was not, as the call says. */
START_TEST(test_i3_a_record_given_up_anywhere)
{
    rng random = rng_start(__func__, 0);
    for (size_t round = test_scaled(300); round > 0; round--) {
        pair p;
        unsigned char bytes[3998];
        size_t sent = 0, got = 0;
        pair_open(&p, TRANSPORT_SOCKET);
        pair_shrink(&p);
        memset(bytes, 'x', sizeof bytes);
        for (size_t i = 0; i < 40; i++) {
            lace_payload payload = payload_of(bytes, rng_below(&random, sizeof bytes + 1));
            lace_status status = lace_send(p.sender, &payload, TRY);
            CHECK(status == LACE_OK || status == LACE_TIMEOUT);
            sent += status == LACE_OK;
            if (rng_below(&random, 3) == 0)
                got += lace_recv(p.receiver, p.message, TRY) == LACE_OK;
        }
        lace_sender_close(p.sender);
        lace_status status;
        while ((status = lace_recv(p.receiver, p.message, NULL)) == LACE_OK)
            got++;
        CHECK_STATUS(LACE_END, status);
        CHECK_UINT(got, sent);
        pair_close(&p);
    }
}
END_TEST

/* ---- partial reads ------------------------------------------------------------------------------------ */

typedef struct dribble {
    int fd;
    const wire *sent;
    uint64_t seed;
} dribble;

static void dribble_run(void *context)
{
    dribble *self = context;
    rng random = {self->seed};
    for (size_t at = 0; at < self->sent->size;) {
        size_t part = self->seed == 0 ? 1 : 1 + rng_below(&random, 100);
        part = part < self->sent->size - at ? part : self->sent->size - at;
        CHECK(write(self->fd, self->sent->bytes + at, part) == (ssize_t)part);
        at += part;
    }
    close(self->fd);
}

START_TEST(test_i3_a_stream_in_bits_and_pieces)
{
    static const size_t sizes[] = {0, 1, 300, 5000, 20000, 8, 4096};
    rng random = rng_start(__func__, (uint64_t)_i);
    lace_seal_options options = {.key = test_key()};
    wire sent = wire_of(&options, sizes, 7);
    int fds[2];
    thread other;
    lace_receiver *receiver;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_OK(lace_sealed_receiver(fds[0], &options, &receiver));
    dribble work = {fds[1], &sent, _i == 0 ? 0 : rng_next(&random)};
    thread_start(&other, dribble_run, &work);
    outcome got = wire_drain(receiver, sizes, 7);
    CHECK_STATUS(LACE_END, got.status);
    CHECK_UINT(got.messages, 7);
    thread_join(&other);
    lace_receiver_destroy(receiver);
    wire_free(&sent);
}
END_TEST

/* ---- readiness after a failure ------------------------------------------------------------------------ */

START_TEST(test_i3_a_failed_receiver_is_ready)
{
    static const size_t sizes[] = {20, 20};
    lace_seal_options options = {.key = test_key()};
    wire sent = wire_of(&options, sizes, 2);
    pair idle;
    int fds[2], fd;
    size_t index;
    lace_receiver *receiver;
    lace_message *message = message_make(NULL);
    pair_open(&idle, TRANSPORT_PIPE);
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_OK(lace_sealed_receiver(fds[0], &options, &receiver));
    CHECK_OK(lace_receiver_fd(receiver, &fd));
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    CHECK(poll(&poll_fd, 1, 0) == 0);
    sent.bytes[sent.at[2] + 30] ^= 1; /* of the second message */
    CHECK(write(fds[1], sent.bytes, sent.at[3]) == (ssize_t)sent.at[3]);
    CHECK(poll(&poll_fd, 1, 0) == 1);
    lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = receiver, .message = message},
                          {.kind = LACE_CASE_RECV, .receiver = idle.receiver, .message = idle.message}};
    CHECK_OK(lace_select(cases, 2, 0, NULL, &index)); /* what came before it */
    CHECK_UINT(index, 0);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(LACE_FORGED, lace_select(cases, 2, 0, NULL, &index));
        CHECK(poll(&poll_fd, 1, 0) == 1); /* a call is worth it: it will say so at once */
        CHECK_STATUS(LACE_FORGED, lace_recv(receiver, message, TRY));
    }
    close(fds[1]);
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
    wire_free(&sent);
    pair_close(&idle);
}
END_TEST

/* ---- processes ---------------------------------------------------------------------------------------- */

/* A child that sends `count` messages into the FIFO, and then (`killed`) is. */
static pid_t start_writer(const char *path, size_t count, size_t size, bool killed)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child != 0)
        return child;
    lace_seal_options options = {.key = test_key()};
    lace_sender *sender;
    unsigned char *bytes = calloc(size, 1);
    lace_payload payload = payload_of(bytes, size);
    CHECK_OK(lace_sealed_sender(open(path, O_WRONLY | O_CLOEXEC), &options, &sender));
    for (size_t i = 0; i < count; i++)
        CHECK_OK(lace_send(sender, &payload, NULL));
    if (killed)
        kill(getpid(), SIGKILL);
    CHECK_OK(lace_sender_finish(sender, NULL)); /* a close does not wait, and the others may have filled it */
    lace_sender_destroy(sender);
    free(bytes);
    _exit(0);
}

static void reap(pid_t child, bool killed)
{
    int state;
    CHECK(waitpid(child, &state, 0) == child);
    CHECK(killed ? WIFSIGNALED(state) : WIFEXITED(state) && WEXITSTATUS(state) == 0);
}

/* A FIFO that several processes write to, each a stream of its own; _i 1: one of them is killed */
START_TEST(test_i3_several_processes_and_one_fifo)
{
    char folder[] = "/tmp/lace-seal-XXXXXX", path[64];
    pid_t children[4];
    lace_seal_options options = {.key = test_key()};
    lace_receiver *receiver;
    lace_message *message = message_make(NULL);
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/fifo", folder);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK_OK(lace_sealed_receiver(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), &options, &receiver));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(receiver, message, WITHIN_MS(2))); /* nobody has opened it yet */
    for (size_t round = 0; round < 3; round++) {
        size_t count = test_scaled(100);
        int held = open(path, O_WRONLY | O_CLOEXEC); /* so that it does not end before all of them have come */
        for (size_t i = 0; i < 4; i++)
            children[i] = start_writer(path, count, 10 + 3000 * i, _i == 1 && i == 2);
        for (size_t got = 0; got < 4 * count; got++)
            CHECK_OK(lace_recv(receiver, message, NULL));
        for (size_t i = 0; i < 4; i++)
            reap(children[i], _i == 1 && i == 2);
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(receiver, message, TRY)); /* the words that they end */
        close(held);
        CHECK_STATUS(_i == 1 ? LACE_TRUNCATED : LACE_END, lace_recv(receiver, message, NULL));
        if (_i == 1)
            break; /* else others are welcome: it is open again when they open it */
    }
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
    unlink(path);
    rmdir(folder);
}
END_TEST

/* A forked child has the parent's keys and must not use them: two different frames under one would tell of each other.
 * It cannot send, and its end is not the stream's. */
START_TEST(test_i3_a_fork_does_not_share_a_stream)
{
    pair p;
    uint64_t value;
    sealed_open(&p, _i);
    CHECK_OK(send_u64(p.sender, 1, TRY));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        bool refused = send_u64(p.sender, 2, TRY) == LACE_UNSUPPORTED;
        lace_sender_close(p.sender);
        _exit(refused ? 0 : 1);
    }
    reap(child, false);
    CHECK_OK(send_u64(p.sender, 3, TRY));
    CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
    CHECK_UINT(value, 1);
    CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
    CHECK_UINT(value, 3);
    lace_sender_close(p.sender);
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    pair_close(&p);
}
END_TEST

/* ---- what is kept ------------------------------------------------------------------------------------- */

START_TEST(test_i3_a_channel_outlives_its_key)
{
    lace_key *key;
    int fds[2];
    lace_sender *sender;
    lace_receiver *receiver;
    lace_message *message = message_make(NULL);
    uint64_t value;
    CHECK_OK(lace_key_create(&key));
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_OK(lace_sealed_sender(fds[1], &(lace_seal_options){.key = key, .name = "kept"}, &sender));
    CHECK_OK(lace_sealed_receiver(fds[0], &(lace_seal_options){.key = key}, &receiver));
    lace_key_destroy(key);
    CHECK(strcmp(lace_sender_name(sender), "kept") == 0);
    CHECK_OK(send_u64(sender, 9, TRY));
    CHECK_OK(recv_u64(receiver, message, &value, TRY));
    lace_sender_destroy(sender);
    CHECK_STATUS(LACE_END, lace_recv(receiver, message, NULL));
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
}
END_TEST

/* Puts a stream's opening, and its end, through an unsealer. */
static lace_status pass_stream(struct lace_unsealer *unsealer, unsigned char *bytes, bool ends, size_t *ret_size)
{
    struct lace_sealer *sealer;
    struct lace_unsealed unsealed;
    size_t used;
    CHECK_OK(lace_sealer_create(test_key(), NULL, &sealer));
    size_t size = lace_sealer_open(sealer, bytes);
    size += ends ? lace_sealer_end(sealer, bytes + size) : 0;
    lace_sealer_destroy(sealer);
    *ret_size = size;
    lace_status status = lace_unsealer_next(unsealer, bytes, size, &used, &unsealed);
    CHECK(status != LACE_OK || used == size);
    return status;
}

/* More streams than are remembered: the oldest are then too old, not unknown. */
START_TEST(test_i3_old_streams_stay_refused)
{
    struct lace_unsealer *unsealer;
    struct lace_unsealed unsealed;
    unsigned char first[200], bytes[200];
    size_t first_size, size, used;
    CHECK_OK(lace_unsealer_create(test_key(), NULL, 0, &unsealer));
    CHECK_OK(pass_stream(unsealer, first, true, &first_size));
    for (size_t i = 0; i < 4200; i++)
        CHECK_OK(pass_stream(unsealer, bytes, true, &size));
    CHECK_UINT(unsealer->seen_count, 4096);
    CHECK_UINT(unsealer->count, 0);
    CHECK_STATUS(LACE_REPLAYED, lace_unsealer_next(unsealer, bytes, size, &used, &unsealed));
    CHECK_STATUS(LACE_REPLAYED, lace_unsealer_next(unsealer, first, first_size, &used, &unsealed));
    lace_unsealer_destroy(unsealer);
}
END_TEST

/* Open streams cost memory: there is an end to it, and it gets better when one ends. */
START_TEST(test_i3_open_streams_are_bounded)
{
    struct lace_unsealer *unsealer;
    struct lace_unsealed unsealed;
    unsigned char first[200], bytes[200];
    size_t first_size, size, used;
    struct lace_sealer *sealer;
    CHECK_OK(lace_unsealer_create(test_key(), NULL, 0, &unsealer));
    CHECK_OK(lace_sealer_create(test_key(), NULL, &sealer));
    first_size = lace_sealer_open(sealer, first);
    CHECK_STATUS(LACE_AGAIN, lace_unsealer_next(unsealer, first, first_size, &used, &unsealed));
    for (size_t i = 1; i < 1024; i++)
        CHECK_STATUS(LACE_AGAIN, pass_stream(unsealer, bytes, false, &size));
    CHECK_STATUS(LACE_NOMEM, pass_stream(unsealer, bytes, false, &size));
    CHECK_STATUS(LACE_NOMEM, lace_unsealer_next(unsealer, bytes, size, &used, &unsealed));
    CHECK_UINT(used, 0);
    first_size = lace_sealer_end(sealer, first);
    CHECK_OK(lace_unsealer_next(unsealer, first, first_size, &used, &unsealed));
    CHECK_STATUS(LACE_AGAIN, lace_unsealer_next(unsealer, bytes, size, &used, &unsealed));
    lace_sealer_destroy(sealer);
    lace_unsealer_destroy(unsealer);
}
END_TEST

TEST_MAIN("seal_ends", TEST_LOOP(test_i3_a_full_channel_ends, 2 * SEALED_KINDS),
          TEST_LOOP(test_i3_a_channel_full_of_half_a_message_ends, 2 * SEALED_KINDS),
          TEST_LOOP(test_i3_finish, TRANSPORT_COUNT), TEST_LOOP(test_i3_finish_waits_as_told, SEALED_KINDS - 1),
          TEST_LOOP(test_i3_finish_of_a_broken_channel, SEALED_KINDS), TEST(test_i3_no_message_at_all),
          TEST_LOOP(test_i3_a_message_given_up_never_comes, 3 * SEALED_KINDS),
          TEST(test_i3_a_record_given_up_anywhere), TEST_LOOP(test_i3_a_stream_in_bits_and_pieces, 3),
          TEST(test_i3_a_failed_receiver_is_ready), TEST_LOOP(test_i3_several_processes_and_one_fifo, 2),
          TEST_LOOP(test_i3_a_fork_does_not_share_a_stream, SEALED_KINDS), TEST(test_i3_a_channel_outlives_its_key),
          TEST(test_i3_old_streams_stay_refused), TEST(test_i3_open_streams_are_bounded))
