/* test_seal_faults.c - I3 when the kernel is at its worst: reads and writes of one byte, full at every other try, out of
 * descriptors and memory. Needs channels/ with hooks. */
#include "fixture.h"

#include "../../channels/hooks.h"
#include "../../channels/seal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if !LACE_HOOKS
#error "test_seal_faults.c needs -DLACE_HOOKS=1, here and in channels/"
#endif

static void sealed_open(pair *opened, int index)
{
    pair_open(opened, TRANSPORT_PIPE + 1 + index % 2);
}

/* ---- bits and pieces ---------------------------------------------------------------------------------- */

static _Atomic unsigned misery;

static bool fail_misery(enum lace_fault site)
{
    if (site == LACE_FAULT_READ || site == LACE_FAULT_SHORT)
        return true;
    return site == LACE_FAULT_WRITE && atomic_fetch_add(&misery, 1) % 2 == 0;
}

typedef struct source {
    lace_sender *sender;
    uint64_t count;
} source;

static void source_run(void *context)
{
    source *self = context;
    static char large[9000];
    for (uint64_t i = 0; i < self->count; i++) {
        lace_payload payload = payload_of(large, (size_t)i * 137 % sizeof large);
        CHECK_OK(lace_send(self->sender, &payload, NULL));
    }
    CHECK_OK(lace_sender_finish(self->sender, NULL));
}

START_TEST(test_i3_a_miserable_channel)
{
    pair p;
    thread other;
    lace_hooks.fail = fail_misery;
    sealed_open(&p, _i); /* greets likewise */
    source work = {p.sender, test_scaled(60)};
    thread_start(&other, source_run, &work);
    for (uint64_t i = 0; i < work.count; i++) {
        CHECK_OK(lace_recv(p.receiver, p.message, NULL));
        CHECK_UINT(lace_message_size(p.message), (size_t)i * 137 % 9000);
    }
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    thread_join(&other);
    pair_close(&p);
}
END_TEST

/* ---- a record stopped at every byte ------------------------------------------------------------------- */

static size_t budget; /* single bytes that the socket still takes */

static bool fail_beyond_budget(enum lace_fault site)
{
    if (site == LACE_FAULT_WRITE)
        return budget == 0;
    if (site == LACE_FAULT_SHORT && budget != SIZE_MAX) {
        budget--;
        return true;
    }
    return false;
}

/* A message counts if its send says so, and only then, wherever in its record it was given up. Within the last bytes,
 * which say that it counts, it can be given up only along with the stream. */
START_TEST(test_i3_a_message_is_given_up_at_every_byte)
{
    static char text[50];
    size_t length = sizeof(struct lace_record) + sizeof(struct lace_chunk) + sizeof text + 2 * LACE_SEAL_ADDED;
    size_t commit = length - LACE_SEAL_ADDED;
    for (size_t bytes = 0; bytes <= length; bytes++) {
        pair p;
        lace_payload payload = payload_of(text, sizeof text);
        lace_hooks.fail = NULL;
        pair_open(&p, TRANSPORT_SOCKET);
        budget = bytes;
        lace_hooks.fail = fail_beyond_budget;
        lace_status status = lace_send(p.sender, &payload, WITHIN_MS(1));
        budget = SIZE_MAX;
        bool torn = bytes > commit && bytes < length;
        CHECK_STATUS(bytes == length ? LACE_OK : LACE_TIMEOUT, status);
        CHECK_STATUS(torn ? LACE_TRUNCATED : LACE_OK, send_u64(p.sender, 7, WITHIN_MS(1000)));
        if (torn)
            CHECK(strstr(lace_explain(LACE_TRUNCATED), "given up"));
        lace_sender_close(p.sender);
        if (bytes == length) {
            CHECK_OK(lace_recv(p.receiver, p.message, NULL));
            CHECK_UINT(lace_message_size(p.message), sizeof text);
        }
        if (!torn) {
            CHECK_OK(lace_recv(p.receiver, p.message, NULL));
            CHECK_UINT(lace_message_size(p.message), 8);
        }
        CHECK_STATUS(torn ? LACE_TRUNCATED : LACE_END, lace_recv(p.receiver, p.message, NULL));
        pair_close(&p);
    }
}
END_TEST

/* ---- no room for the last word ------------------------------------------------------------------------ */

static bool fail_resize(enum lace_fault site)
{
    return site == LACE_FAULT_PIPE;
}

static void finish_run(void *context)
{
    CHECK_OK(lace_sender_finish(context, NULL));
}

/* The kernel does not let a full pipe grow: a close that does not wait cannot tell, and the receiver says so; one that
 * waits can. _i: over what, and which */
START_TEST(test_i3_a_full_channel_that_cannot_grow)
{
    static const char bytes[19]; /* these fill a pipe of a page to the last byte */
    lace_payload payload = payload_of(bytes, sizeof bytes);
    pair p;
    thread other;
    size_t sent = 0;
    sealed_open(&p, _i);
    pair_shrink(&p);
    while (lace_send(p.sender, &payload, TRY) == LACE_OK)
        sent++;
    lace_hooks.fail = fail_resize;
    if (_i < 2)
        lace_sender_close(p.sender);
    else
        thread_start(&other, finish_run, p.sender);
    for (size_t i = 0; i < sent; i++)
        CHECK_OK(lace_recv(p.receiver, p.message, NULL));
    CHECK_STATUS(_i < 2 ? LACE_TRUNCATED : LACE_END, lace_recv(p.receiver, p.message, NULL));
    if (_i >= 2)
        thread_join(&other);
    pair_close(&p);
}
END_TEST

static _Atomic unsigned taken; /* so often somebody else will have been faster */

static bool fail_taken(enum lace_fault site)
{
    if (site != LACE_FAULT_WRITE || taken == 0)
        return false;
    taken--;
    return true;
}

/* Several processes write to one FIFO: the room that a close makes for its last word may be gone when it comes to use it. */
START_TEST(test_i3_room_that_others_take)
{
    pair p;
    uint64_t value;
    sealed_open(&p, 0);
    CHECK_OK(send_u64(p.sender, 1, TRY));
    taken = 3;
    lace_hooks.fail = fail_taken;
    lace_sender_close(p.sender);
    CHECK_UINT(taken, 0);
    CHECK_OK(recv_u64(p.receiver, p.message, &value, NULL));
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    pair_close(&p);
}
END_TEST

/* ---- out of memory and descriptors -------------------------------------------------------------------- */

static _Atomic uint64_t fate;
static _Atomic bool fateful;

static bool fail_by_fate(enum lace_fault site)
{
    if (!fateful)
        return false;
    rng random = {atomic_fetch_add(&fate, 1)};
    return rng_below(&random,
                     site == LACE_FAULT_READ || site == LACE_FAULT_WRITE || site == LACE_FAULT_SHORT ? 3 : 40) == 0;
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Guarded memory is not of the heap: leaks of it are mappings that stay. */
static size_t mappings(void)
{
    char line[512];
    size_t count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        count++;
    fclose(maps);
    return count;
}

typedef struct greeter {
    int fd;
    lace_status status;
    lace_sender *sender;
    lace_receiver *receiver;
} greeter;

static void greeter_run(void *context)
{
    greeter *self = context;
    lace_seal_options options = {.key = test_key()};
    self->status = lace_sealed_socket(self->fd, LACE_ROLE_SERVER, &options, WITHIN_MS(2000), &self->sender,
                                      &self->receiver);
    if (self->status != LACE_OK)
        close(self->fd);
}

static bool is_shortage(lace_status status)
{
    return status == LACE_OK || status == LACE_NOMEM || status == LACE_SYSTEM || status == LACE_TRUNCATED;
}

START_TEST(test_i3_greetings_in_need)
{
    size_t went_well = 0, rounds = test_scaled(400), descriptors = 0, maps = 0;
    fate = rng_start(__func__, 0).state;
    lace_hooks.fail = fail_by_fate;
    for (size_t round = 0; round < rounds; round++) {
        int fds[2];
        thread other;
        lace_seal_options options = {.key = test_key()};
        lace_sender *sender = NULL;
        lace_receiver *receiver = NULL;
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        greeter server = {.fd = fds[1]};
        fateful = round > 20;
        thread_start(&other, greeter_run, &server);
        lace_status status = lace_sealed_socket(fds[0], LACE_ROLE_CLIENT, &options, WITHIN_MS(2000), &sender,
                                                &receiver);
        if (status != LACE_OK)
            close(fds[0]);
        thread_join(&other);
        fateful = false;
        CHECK_MSG(is_shortage(status) && is_shortage(server.status), "%s, %s", status_name(status),
                  status_name(server.status));
        if (status == LACE_OK && server.status == LACE_OK) {
            lace_message *message = message_make(NULL);
            uint64_t value;
            CHECK_OK(send_u64(sender, round, TRY));
            CHECK_OK(recv_u64(server.receiver, message, &value, NULL));
            lace_message_destroy(message);
            went_well++;
        }
        lace_sender_destroy(sender);
        lace_receiver_destroy(receiver);
        lace_sender_destroy(server.sender);
        lace_receiver_destroy(server.receiver);
        if (round == 20) {
            descriptors = open_descriptors();
            maps = mappings();
        }
    }
    CHECK(rounds < 100 || (went_well > 21 && went_well < rounds));
    if (rounds > 21) {
        CHECK_UINT(open_descriptors(), descriptors);
        CHECK_MSG(mappings() < maps + 60, "%zu mappings, and there were %zu", mappings(), maps);
    }
}
END_TEST

TEST_MAIN("seal_faults", TEST(test_i3_room_that_others_take), TEST_LONG(test_i3_a_miserable_channel, 2, 40),
          TEST(test_i3_a_message_is_given_up_at_every_byte), TEST_LOOP(test_i3_a_full_channel_that_cannot_grow, 4),
          TEST(test_i3_greetings_in_need))
