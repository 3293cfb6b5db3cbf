/* test_pipe.c - pipe channels: frames that stay whole whoever writes beside them, however small the pipe and however
 * they are cut; what a torn or damaged stream does; and what cannot go through a pipe. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A pipe with the two ends not yet made into a channel. */
typedef struct tube {
    int in, out; /* to read from, to write to */
    lace_message *message;
} tube;

static void tube_open(tube *t, size_t size)
{
    int fds[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    t->in = fds[0];
    t->out = fds[1];
    t->message = message_make(NULL);
    if (size > 0)
        CHECK(fcntl(t->out, F_SETPIPE_SZ, (int)size) > 0);
}

static lace_sender *tube_sender(tube *t)
{
    lace_sender *sender;
    CHECK_OK(lace_pipe_sender(t->out, NULL, &sender));
    return sender;
}

static lace_receiver *tube_receiver(tube *t)
{
    lace_receiver *receiver;
    CHECK_OK(lace_pipe_receiver(t->in, NULL, &receiver));
    return receiver;
}

static void write_all(int fd, const unsigned char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(fd, bytes, size);
        CHECK(wrote > 0);
        bytes += wrote;
        size -= (size_t)wrote;
    }
}

/* The bytes that messages of these sizes become on the wire, from one writer; the data is 'a', 'b' ... Free it. */
static unsigned char *wire_of(const size_t *sizes, size_t count, size_t *ret_size)
{
    tube t;
    size_t room = 1 << 20, got = 0;
    tube_open(&t, room);
    lace_sender *sender = tube_sender(&t);
    unsigned char *bytes = malloc(room);
    for (size_t i = 0; i < count; i++) {
        memset(bytes, 'a' + (int)i, sizes[i]);
        lace_payload payload = payload_of(bytes, sizes[i]);
        CHECK_OK(lace_send(sender, &payload, TRY));
    }
    lace_sender_destroy(sender);
    ssize_t part;
    while ((part = read(t.in, bytes + got, room - got)) > 0)
        got += (size_t)part;
    close(t.in);
    lace_message_destroy(t.message);
    *ret_size = got;
    return bytes;
}

static bool message_is_all(const lace_message *message, char letter, size_t size)
{
    const char *data = lace_message_data(message);
    bool same = lace_message_size(message) == size;
    for (size_t i = 0; same && i < size; i++)
        same = data[i] == letter;
    return same;
}

/* ---- whole frames ------------------------------------------------------------------------------------- */

typedef struct writer {
    lace_sender *sender;
    uint64_t number, seed;
    size_t count, largest;
} writer;

/* A message: number, index, then bytes that follow from the two. */
static void writer_run(void *context)
{
    writer *self = context;
    rng random = {self->seed};
    unsigned char *bytes = malloc(self->largest + 16);
    for (uint64_t i = 0; i < self->count; i++) {
        size_t size = 16 + rng_below(&random, rng_below(&random, 3) ? 200 : self->largest);
        memcpy(bytes, &self->number, 8);
        memcpy(bytes + 8, &i, 8);
        memset(bytes + 16, (int)(self->number * 37 + i), size - 16);
        lace_payload payload = payload_of(bytes, size);
        CHECK_OK(lace_send(self->sender, &payload, NULL));
    }
    lace_sender_close(self->sender);
    free(bytes);
}

#define WRITERS 4

static void check_writers(lace_receiver *receiver, lace_message *message, size_t count)
{
    uint64_t next[WRITERS] = {0}, number, index;
    lace_status status;
    while ((status = lace_recv(receiver, message, NULL)) == LACE_OK) {
        const unsigned char *data = lace_message_data(message);
        size_t size = lace_message_size(message);
        CHECK(size >= 16);
        memcpy(&number, data, 8);
        memcpy(&index, data + 8, 8);
        CHECK(number < WRITERS);
        CHECK_UINT(index, next[number]);
        next[number]++;
        for (size_t i = 16; i < size; i++)
            CHECK_MSG(data[i] == (unsigned char)(number * 37 + index), "byte %zu of %zu is another writer's", i, size);
    }
    CHECK_STATUS(LACE_END, status);
    for (size_t i = 0; i < WRITERS; i++)
        CHECK_UINT(next[i], count);
}

/* _i 0: each writer has opened the FIFO itself; 1: they are clones of one end; 2: one end, and a tiny pipe */
START_TEST(test_c2_frames_of_several_threads_stay_whole)
{
    rng random = rng_start(__func__, (uint64_t)_i);
    char directory[] = "/tmp/lace-pipe-XXXXXX", path[64];
    thread threads[WRITERS];
    writer writers[WRITERS];
    tube t = {.message = message_make(NULL)};
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/fifo", directory);
    CHECK(mkfifo(path, 0600) == 0);
    t.in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (_i == 2)
        CHECK(fcntl(t.in, F_SETPIPE_SZ, 4096) == 4096);
    for (size_t i = 0; i < WRITERS; i++) {
        writers[i] = (writer){NULL, i, rng_next(&random), test_scaled(300), 30000};
        if (i == 0 || _i == 0) {
            t.out = open(path, O_WRONLY | O_CLOEXEC);
            CHECK(t.out >= 0);
            writers[i].sender = tube_sender(&t);
        } else if (_i == 1) {
            CHECK_OK(lace_sender_clone(writers[0].sender, &writers[i].sender));
        }
    }
    unlink(path);
    rmdir(directory);
    lace_receiver *receiver = tube_receiver(&t);
    size_t count = writers[0].count;
    if (_i < 2) {
        for (size_t i = 0; i < WRITERS; i++)
            thread_start(&threads[i], writer_run, &writers[i]);
        check_writers(receiver, t.message, count);
        for (size_t i = 0; i < WRITERS; i++) {
            thread_join(&threads[i]);
            lace_sender_destroy(writers[i].sender);
        }
    } else {
        lace_sender *clones[WRITERS];
        for (size_t i = 0; i < WRITERS; i++)
            CHECK_OK(lace_sender_clone(writers[0].sender, &clones[i]));
        lace_sender_destroy(writers[0].sender);
        for (size_t i = 0; i < WRITERS; i++) {
            writers[i].sender = clones[i];
            thread_start(&threads[i], writer_run, &writers[i]);
        }
        check_writers(receiver, t.message, count);
        for (size_t i = 0; i < WRITERS; i++) {
            thread_join(&threads[i]);
            lace_sender_destroy(clones[i]);
        }
    }
    lace_receiver_destroy(receiver);
    lace_message_destroy(t.message);
}
END_TEST

START_TEST(test_c2_frames_of_several_processes_stay_whole)
{
    rng random = rng_start(__func__, 0);
    tube t;
    pid_t children[WRITERS];
    size_t count = test_scaled(200);
    tube_open(&t, 0);
    for (size_t i = 0; i < WRITERS; i++) {
        writer work = {NULL, i, rng_next(&random), count, 30000};
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            close(t.in);
            work.sender = tube_sender(&t);
            writer_run(&work);
            lace_sender_destroy(work.sender);
            _exit(0);
        }
    }
    close(t.out);
    lace_receiver *receiver = tube_receiver(&t);
    check_writers(receiver, t.message, count);
    for (size_t i = 0; i < WRITERS; i++) {
        int state;
        CHECK(waitpid(children[i], &state, 0) == children[i]);
        CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    }
    lace_receiver_destroy(receiver);
    lace_message_destroy(t.message);
}
END_TEST

START_TEST(test_c2_frames_through_a_stream_socket)
{
    rng random = rng_start(__func__, 0);
    int fds[2], small = 1;
    tube t = {.message = message_make(NULL)};
    thread other;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    t.in = fds[0];
    t.out = fds[1];
    writer work = {tube_sender(&t), 0, rng_next(&random), test_scaled(300), 200000};
    lace_receiver *receiver = tube_receiver(&t);
    thread_start(&other, writer_run, &work);
    for (uint64_t i = 0; i < work.count; i++) {
        uint64_t index;
        CHECK_OK(lace_recv(receiver, t.message, NULL));
        memcpy(&index, (const char *)lace_message_data(t.message) + 8, 8);
        CHECK_UINT(index, i);
    }
    thread_join(&other);
    CHECK_STATUS(LACE_END, lace_recv(receiver, t.message, NULL)); /* it was closed, if not destroyed */
    lace_sender_destroy(work.sender);
    lace_receiver_destroy(receiver);
    lace_message_destroy(t.message);
}
END_TEST

static const size_t big_sizes[] = {4000, 4096, 5000, 65536, 1000000, 5000001};
#define BIG_COUNT (sizeof big_sizes / sizeof *big_sizes)

static void big_send(void *context)
{
    writer *self = context;
    unsigned char *bytes = malloc(big_sizes[BIG_COUNT - 1]);
    for (size_t i = 0; i < BIG_COUNT; i++) {
        memset(bytes, 'A' + (int)i, big_sizes[i]);
        lace_payload payload = payload_of(bytes, big_sizes[i]);
        CHECK_OK(lace_send(self->sender, &payload, NULL));
    }
    free(bytes);
}

START_TEST(test_c1_big_frames_through_a_small_pipe)
{
    tube t;
    thread other;
    tube_open(&t, 4096);
    CHECK_UINT(fcntl(t.out, F_GETPIPE_SZ), 4096);
    writer work = {.sender = tube_sender(&t)};
    lace_receiver *receiver = tube_receiver(&t);
    thread_start(&other, big_send, &work);
    for (size_t i = 0; i < BIG_COUNT; i++) {
        CHECK_OK(lace_recv(receiver, t.message, NULL));
        CHECK(message_is_all(t.message, (char)('A' + i), big_sizes[i]));
    }
    thread_join(&other);
    lace_sender_destroy(work.sender);
    CHECK_STATUS(LACE_END, lace_recv(receiver, t.message, NULL));
    lace_receiver_destroy(receiver);
    lace_message_destroy(t.message);
}
END_TEST

/* The same stream, cut everywhere: a reader must not care how the bytes come. */
typedef struct dribble {
    int fd;
    const unsigned char *bytes;
    size_t size;
    uint64_t seed;
} dribble;

static void dribble_run(void *context)
{
    dribble *self = context;
    rng random = {self->seed};
    for (size_t at = 0; at < self->size;) {
        size_t part = self->seed == 0 ? 1 : 1 + rng_below(&random, 100);
        part = part < self->size - at ? part : self->size - at;
        write_all(self->fd, self->bytes + at, part);
        at += part;
    }
    close(self->fd);
}

START_TEST(test_c2_frames_in_bits_and_pieces)
{
    static const size_t sizes[] = {0, 1, 300, 5000, 20000, 8, 4096};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    rng random = rng_start(__func__, (uint64_t)_i);
    tube t;
    thread other;
    size_t size;
    unsigned char *wire = wire_of(sizes, COUNT, &size);
    tube_open(&t, 4096);
    lace_receiver *receiver = tube_receiver(&t);
    dribble work = {t.out, wire, size, _i == 0 ? 0 : rng_next(&random)};
    thread_start(&other, dribble_run, &work);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_OK(lace_recv(receiver, t.message, NULL));
        CHECK(message_is_all(t.message, (char)('a' + i), sizes[i]));
    }
    CHECK_STATUS(LACE_END, lace_recv(receiver, t.message, NULL));
    thread_join(&other);
    free(wire);
    lace_receiver_destroy(receiver);
    lace_message_destroy(t.message);
}
END_TEST

/* ---- deadlines in the middle -------------------------------------------------------------------------- */

START_TEST(test_c4_receive_deadline_in_mid_frame_loses_nothing)
{
    static const size_t sizes[] = {3000, 10000, 5};
    tube t;
    size_t size;
    unsigned char *wire = wire_of(sizes, 3, &size);
    tube_open(&t, 1 << 20);
    lace_receiver *receiver = tube_receiver(&t);
    size_t step = size / 7 + 1, got = 0;
    for (size_t at = 0; at < size; at += step) {
        write_all(t.out, wire + at, step < size - at ? step : size - at);
        lace_status status;
        while ((status = lace_recv(receiver, t.message, at % 2 ? TRY : WITHIN_MS(1))) == LACE_OK) {
            CHECK(message_is_all(t.message, (char)('a' + got), sizes[got]));
            got++;
        }
        CHECK_STATUS(LACE_TIMEOUT, status);
    }
    CHECK_UINT(got, 3);
    close(t.out);
    CHECK_STATUS(LACE_END, lace_recv(receiver, t.message, NULL));
    free(wire);
    lace_receiver_destroy(receiver);
    lace_message_destroy(t.message);
}
END_TEST

/* _i: what stops the send in the middle of its frame */
START_TEST(test_c4_send_stopped_in_mid_frame_is_never_received)
{
    tube t;
    lace_cancel *cancel;
    uint64_t value;
    size_t large = 100000;
    tube_open(&t, 4096);
    pair p = {.kind = &transports[TRANSPORT_PIPE], .sender = tube_sender(&t), .receiver = tube_receiver(&t)};
    unsigned char *bytes = calloc(large, 1);
    lace_payload payload = payload_of(bytes, large);
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    for (size_t round = 0; round < 3; round++) {
        if (_i == 0) {
            CHECK_STATUS(LACE_TIMEOUT, lace_send(p.sender, &payload, WITHIN_MS(10)));
        } else if (_i == 1) {
            CHECK_STATUS(LACE_TIMEOUT, lace_send(p.sender, &payload, TRY));
        } else {
            lace_cancel_fire(cancel);
            CHECK_STATUS(LACE_CANCELLED, lace_send(p.sender, &payload, UNDER(cancel)));
        }
        call sending;
        call_start(&sending, CALL_SEND, &p, 1000 + round);
        CHECK_OK(recv_u64(p.receiver, t.message, &value, NULL));
        CHECK_UINT(value, 1000 + round);
        CHECK_OK(call_join(&sending));
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, t.message, TRY));
    }
    lace_cancel_destroy(cancel);
    free(bytes);
    pair_close_ends(&p);
    lace_message_destroy(t.message);
}
END_TEST

/* One writer stopped in the middle of its frame must not hold the others up. */
START_TEST(test_c2_half_a_frame_of_one_writer_does_not_stop_another)
{
    tube t;
    size_t half;
    static const size_t sizes[] = {20000};
    unsigned char *wire = wire_of(sizes, 1, &half);
    tube_open(&t, 1 << 20);
    uint64_t value;
    write_all(t.out, wire, 4096); /* a first chunk, whole: frames are cut into pieces of PIPE_BUF */
    lace_sender *sender = tube_sender(&t);
    lace_receiver *receiver = tube_receiver(&t);
    CHECK_OK(send_u64(sender, 5, TRY));
    CHECK_OK(recv_u64(receiver, t.message, &value, NULL));
    CHECK_UINT(value, 5);
    lace_sender_destroy(sender);
    lace_status status = lace_recv(receiver, t.message, NULL);
    CHECK_MSG(status == LACE_END || status == LACE_CORRUPT, "%s", status_name(status));
    free(wire);
    lace_receiver_destroy(receiver);
    lace_message_destroy(t.message);
}
END_TEST

START_TEST(test_c6_close_in_mid_frame)
{
    tube t;
    tube_open(&t, 4096);
    pair p = {.kind = &transports[TRANSPORT_PIPE], .sender = tube_sender(&t), .receiver = tube_receiver(&t)};
    size_t large = 100000;
    unsigned char *bytes = calloc(large, 1);
    lace_payload payload = payload_of(bytes, large);
    CHECK_STATUS(LACE_TIMEOUT, lace_send(p.sender, &payload, TRY));
    if (_i == 0) { /* the writer goes: the torn frame is never delivered */
        lace_sender_close(p.sender);
        lace_status status = lace_recv(p.receiver, t.message, NULL);
        CHECK_MSG(status == LACE_END || status == LACE_CORRUPT, "%s", status_name(status));
        CHECK_STATUS(status, lace_recv(p.receiver, t.message, NULL));
    } else { /* the reader goes */
        lace_receiver_close(p.receiver);
        CHECK_STATUS(LACE_BROKEN, lace_send(p.sender, &payload, NULL));
    }
    free(bytes);
    pair_close_ends(&p);
    lace_message_destroy(t.message);
}
END_TEST

/* ---- damage ------------------------------------------------------------------------------------------- */

/* Reads all there is of a stream that may be damaged; gives the last status. What comes is never larger than what
 * went in, so no claim in a header was believed. */
static lace_status drain_damaged(lace_receiver *receiver, lace_message *message, size_t limit, size_t *ret_messages)
{
    lace_status status;
    *ret_messages = 0;
    while ((status = lace_recv(receiver, message, NULL)) == LACE_OK) {
        CHECK(lace_message_size(message) <= limit);
        ++*ret_messages;
    }
    return status;
}

START_TEST(test_pipe_garbage_is_corrupt)
{
    rng random = rng_start(__func__, (uint64_t)_i);
    for (size_t round = 0; round < 50; round++) {
        tube t;
        unsigned char bytes[3000];
        size_t size = 200 + rng_below(&random, sizeof bytes - 200), messages;
        tube_open(&t, 0);
        for (size_t i = 0; i < size; i++)
            bytes[i] = _i == 0 ? (unsigned char)rng_next(&random) : _i == 1 ? 0 : _i == 2 ? 0xff : "plain text\n"[i % 11];
        write_all(t.out, bytes, size);
        lace_receiver *receiver = tube_receiver(&t);
        CHECK_STATUS(LACE_CORRUPT, drain_damaged(receiver, t.message, 0, &messages)); /* while a writer lives */
        CHECK_UINT(messages, 0);
        CHECK_STATUS(LACE_CORRUPT, lace_recv(receiver, t.message, NULL)); /* it does not heal */
        close(t.out);
        CHECK_STATUS(LACE_CORRUPT, lace_recv(receiver, t.message, TRY));
        lace_receiver_destroy(receiver);
        lace_message_destroy(t.message);
    }
}
END_TEST

START_TEST(test_pipe_every_flipped_bit_is_survived)
{
    static const size_t sizes[] = {50, 6000, 10};
    size_t size, corrupt = 0, messages;
    unsigned char *wire = wire_of(sizes, 3, &size);
    for (size_t bit = 0; bit < size * 8; bit += bit < 1200 ? 1 : 211) {
        tube t;
        tube_open(&t, 0);
        wire[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_all(t.out, wire, size);
        wire[bit / 8] ^= (unsigned char)(1 << bit % 8);
        close(t.out);
        lace_receiver *receiver = tube_receiver(&t);
        lace_status status = drain_damaged(receiver, t.message, size, &messages);
        CHECK_MSG(status == LACE_END || status == LACE_CORRUPT, "bit %zu: %s", bit, status_name(status));
        CHECK(messages <= 3);
        corrupt += status == LACE_CORRUPT;
        lace_receiver_destroy(receiver);
        lace_message_destroy(t.message);
    }
    CHECK(corrupt > 30); /* a header has at least a magic number of four bytes */
    free(wire);
}
END_TEST

START_TEST(test_pipe_end_of_file_anywhere)
{
    static const size_t sizes[] = {40, 4500, 3};
    size_t size;
    unsigned char *wire = wire_of(sizes, 3, &size);
    for (size_t cut = 0; cut <= size; cut += cut < 200 || cut + 100 > size ? 1 : 97) {
        tube t;
        size_t messages;
        tube_open(&t, 0);
        write_all(t.out, wire, cut);
        close(t.out);
        lace_receiver *receiver = tube_receiver(&t);
        lace_status status = drain_damaged(receiver, t.message, size, &messages);
        CHECK_MSG(status == LACE_END || (status == LACE_CORRUPT && cut > 0 && cut < size), "cut at %zu: %s", cut,
                  status_name(status));
        CHECK(cut == size ? messages == 3 : messages < 3);
        CHECK_STATUS(status, lace_recv(receiver, t.message, TRY));
        lace_receiver_destroy(receiver);
        lace_message_destroy(t.message);
    }
    free(wire);
}
END_TEST

/* Whatever size a header claims, memory grows with what has arrived. */
START_TEST(test_pipe_claims_are_not_believed)
{
    static const size_t sizes[] = {9000};
    size_t size, messages;
    struct rusage before, after;
    unsigned char *wire = wire_of(sizes, 1, &size), *found = NULL;
    for (size_t at = 0; at + 4 <= 64 && !found; at++) /* where the total size lies: 9000, little end first */
        if (wire[at] == 0x28 && wire[at + 1] == 0x23 && wire[at + 2] == 0 && wire[at + 3] == 0)
            found = wire + at;
    CHECK(found != NULL);
    getrusage(RUSAGE_SELF, &before);
    for (int claim = 24; claim < 32; claim++) {
        tube t;
        tube_open(&t, 0);
        uint32_t value = (uint32_t)1 << claim;
        memcpy(found, &value, 4);
        write_all(t.out, wire, 4096);
        close(t.out);
        lace_receiver *receiver = tube_receiver(&t);
        lace_status status = drain_damaged(receiver, t.message, 0, &messages);
        CHECK(status == LACE_END || status == LACE_CORRUPT);
        lace_receiver_destroy(receiver);
        lace_message_destroy(t.message);
    }
    getrusage(RUSAGE_SELF, &after);
    CHECK_MSG(after.ru_maxrss - before.ru_maxrss < 12000, "grew by %ld KiB", after.ru_maxrss - before.ru_maxrss);
    free(wire);
}
END_TEST

/* ---- what an end of a pipe is made of ----------------------------------------------------------------- */

START_TEST(test_pipe_takes_its_descriptor)
{
    tube t;
    tube_open(&t, 0);
    lace_sender *sender = tube_sender(&t), *clone;
    lace_receiver *receiver = tube_receiver(&t);
    CHECK(fcntl(t.in, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(t.out, F_GETFL) & O_NONBLOCK);
    CHECK_OK(lace_sender_clone(sender, &clone));
    lace_sender_destroy(sender);
    CHECK_OK(send_u64(clone, 1, TRY));
    CHECK_OK(lace_recv(receiver, t.message, TRY));
    lace_sender_destroy(clone);
    lace_receiver_destroy(receiver);
    CHECK(fcntl(t.out, F_GETFD) < 0 && errno == EBADF);
    CHECK(fcntl(t.in, F_GETFD) < 0 && errno == EBADF);
    lace_message_destroy(t.message);
}
END_TEST

START_TEST(test_pipe_refuses_other_descriptors)
{
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    CHECK(lace_pipe_sender(-1, NULL, &sender) != LACE_OK);
    CHECK(lace_pipe_receiver(-1, NULL, &receiver) != LACE_OK);
    CHECK(lace_pipe_sender(987, NULL, &sender) != LACE_OK);
    CHECK(lace_pipe_receiver(987, NULL, &receiver) != LACE_OK);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), directory = open("/", O_RDONLY | O_CLOEXEC);
    CHECK_STATUS(LACE_INVALID, lace_pipe_sender(file, NULL, &sender));
    CHECK_STATUS(LACE_INVALID, lace_pipe_receiver(file, NULL, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_pipe_receiver(directory, NULL, &receiver));
    CHECK(close(file) == 0 && close(directory) == 0); /* after a failure they are still the caller's */
    CHECK(!sender && !receiver);
}
END_TEST

START_TEST(test_pipe_carries_no_attachments)
{
    pair p, q;
    lace_block *block;
    pair_open(&p, TRANSPORT_PIPE);
    pair_open(&q, 1);
    CHECK_OK(lace_block_create(q.region, 10, &block));
    CHECK_STATUS(LACE_UNSUPPORTED, send_block(p.sender, block, TRY));
    CHECK_STATUS(LACE_UNSUPPORTED, send_sender(p.sender, q.sender, NULL));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
    CHECK_OK(send_u64(q.sender, 1, TRY)); /* still ours */
    lace_block_destroy(block);
    CHECK_STATUS(LACE_UNSUPPORTED, send_sender(q.sender, p.sender, TRY)); /* nor does a pipe's end travel */
    CHECK_OK(send_u64(p.sender, 1, TRY));
    pair_close(&p);
    pair_close(&q);
}
END_TEST

START_TEST(test_pipe_names)
{
    lace_sender *sender;
    lace_receiver *receiver;
    CHECK_OK(lace_pipe_create("tubes", &sender, &receiver));
    CHECK(strcmp(lace_sender_name(sender), "tubes") == 0);
    CHECK(strcmp(lace_receiver_name(receiver), "tubes") == 0);
    CHECK_UINT(lace_sender_length(sender), 0);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
}
END_TEST

/* A name is cut to 63 bytes, and to fewer where the 64th would be inside a character of 2, 3 or 4 bytes. */
START_TEST(test_pipe_name_is_cut_between_characters)
{
    static const char *const letters[] = {"\303\251", "\342\202\254", "\360\237\215\260"};
    for (size_t before = 58; before <= 63; before++) {
        lace_sender *sender;
        lace_receiver *receiver;
        char name[128];
        size_t size = strlen(letters[_i]);
        memset(name, 'a', before);
        snprintf(name + before, sizeof name - before, "%s%s%s%s", letters[_i], letters[_i], letters[_i], letters[_i]);
        CHECK_OK(lace_pipe_create(name, &sender, &receiver));
        CHECK_UINT(strlen(lace_sender_name(sender)), before + (63 - before) / size * size);
        CHECK(strncmp(lace_sender_name(sender), name, strlen(lace_sender_name(sender))) == 0);
        lace_sender_destroy(sender);
        lace_receiver_destroy(receiver);
    }
}
END_TEST

TEST_MAIN("pipe", TEST_LONG(test_c2_frames_of_several_threads_stay_whole, 3, 40),
          TEST_LONG(test_c2_frames_of_several_processes_stay_whole, 1, 40),
          TEST_LONG(test_c2_frames_through_a_stream_socket, 1, 40), TEST(test_c1_big_frames_through_a_small_pipe),
          TEST_LOOP(test_c2_frames_in_bits_and_pieces, 3), TEST(test_c4_receive_deadline_in_mid_frame_loses_nothing),
          TEST_LOOP(test_c4_send_stopped_in_mid_frame_is_never_received, 3),
          TEST(test_c2_half_a_frame_of_one_writer_does_not_stop_another), TEST_LOOP(test_c6_close_in_mid_frame, 2),
          TEST_LOOP(test_pipe_garbage_is_corrupt, 4), TEST(test_pipe_every_flipped_bit_is_survived),
          TEST(test_pipe_end_of_file_anywhere), TEST(test_pipe_claims_are_not_believed),
          TEST(test_pipe_takes_its_descriptor), TEST(test_pipe_refuses_other_descriptors),
          TEST(test_pipe_carries_no_attachments), TEST(test_pipe_names),
          TEST_LOOP(test_pipe_name_is_cut_between_characters, 3))
