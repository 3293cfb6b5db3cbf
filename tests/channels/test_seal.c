/* test_seal.c - I3: attacks on a sealed stream, each by its name: whatever is done to the bytes on their way, the
 * receiver has what was sent, in order, up to where the damage begins, and then says what it is. */
#include "wire.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const size_t small_sizes[] = {0, 1, 20};
static const size_t large_sizes[] = {10, 5000, 3, 9000, 100};
#define SMALL small_sizes, 3
#define LARGE large_sizes, 5

static lace_seal_options sealed(void)
{
    return (lace_seal_options){.key = test_key()};
}

static void check_outcome(outcome got, lace_status status, size_t messages)
{
    CHECK_MSG(got.status == status, "%s, not %s: %s", status_name(got.status), status_name(status),
              lace_explain(got.status));
    CHECK_UINT(got.messages, messages);
}

START_TEST(test_i3_what_is_sealed_arrives)
{
    static const size_t sizes[] = {0, 1, 4000, 4096, 100000, 7, 65536};
    lace_seal_options options = sealed();
    wire sent = wire_of(&options, sizes, 7);
    check_outcome(wire_play(&sent, &options, sizes, 7), LACE_END, 7);
    for (size_t i = 0; i < sent.size; i++) /* and nothing of it can be read on the way */
        CHECK(i + 8 > sent.size || memcmp(sent.bytes + i, "aaaaaaaa", 8) != 0);
    for (size_t i = 0; i < sent.count; i++)
        CHECK(sent.at[i + 1] - sent.at[i] <= 4096); /* so that a pipe takes it whole */
    wire_free(&sent);
    wire other = wire_of(&options, sizes, 1), twin = wire_of(&options, sizes, 1);
    CHECK_UINT(other.size, twin.size);
    CHECK(memcmp(other.bytes, twin.bytes, other.size) != 0); /* the same message twice looks different */
    wire_free(&other);
    wire_free(&twin);
}
END_TEST

START_TEST(test_i3_truncated_anywhere)
{
    lace_seal_options options = sealed();
    wire sent = wire_of(&options, LARGE);
    wire cut = sent;
    for (cut.size = 0; cut.size<sent.size; cut.size += cut.size % 4000> 300 ? 61 : 1)
        check_outcome(wire_play(&cut, &options, LARGE), LACE_TRUNCATED, wire_whole_at(&sent, LARGE, cut.size));
    cut.size = sent.at[sent.count - 1]; /* all that is missing is the word that it ends */
    check_outcome(wire_play(&cut, &options, LARGE), LACE_TRUNCATED, 5);
    check_outcome(wire_play(&sent, &options, LARGE), LACE_END, 5);
    wire_free(&sent);
}
END_TEST

/* _i 0: every bit of a small stream; 1: of a large one, some */
START_TEST(test_i3_every_flipped_bit)
{
    lace_seal_options options = sealed();
    const size_t *sizes = _i == 0 ? small_sizes : large_sizes;
    size_t count = _i == 0 ? 3 : 5, forged = 0, bits = 0;
    wire sent = wire_of(&options, sizes, count);
    size_t step = _i == 0 ? 1 : 97;
    for (size_t bit = 0; bit < sent.size * 8; bit += step, bits++) {
        sent.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        outcome got = wire_play(&sent, &options, sizes, count);
        sent.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        switch (got.status) {
        case LACE_FORGED:
            forged++;
            break;
        case LACE_TRUNCATED: /* a size that says there is more to come */
        case LACE_WRONG_KEY: /* the key's id, the stream's, the record's number: these are told from each other by */
        case LACE_SPLICED:   /* what the header says, which is just what is damaged here */
        case LACE_REPLAYED:
        case LACE_REORDERED:
            break;
        default:
            CHECK_MSG(false, "bit %zu: %s", bit, status_name(got.status));
        }
        CHECK_UINT(got.messages, wire_whole_at(&sent, sizes, count, bit / 8)); /* all before the damage */
    }
    CHECK_MSG(forged * 10 > bits * 6, "%zu of %zu", forged, bits);
    wire_free(&sent);
}
END_TEST

START_TEST(test_i3_reordered)
{
    lace_seal_options options = sealed();
    wire sent = wire_of(&options, LARGE);
    for (size_t i = 0; i + 1 < sent.count; i++) {
        wire made = {0};
        wire_add(&made, &sent, 0, i);
        wire_add(&made, &sent, i + 1, i + 2);
        wire_add(&made, &sent, i, i + 1);
        wire_add(&made, &sent, i + 2, sent.count);
        check_outcome(wire_play(&made, &options, LARGE), i == 0 ? LACE_SPLICED : LACE_REORDERED,
                      wire_whole(LARGE, i));
        wire_free(&made);
    }
    for (size_t i = 0; i < sent.count; i++) { /* one is missing */
        wire made = {0};
        wire_add(&made, &sent, 0, i);
        wire_add(&made, &sent, i + 1, sent.count);
        lace_status status = i == 0 ? LACE_SPLICED : i + 1 == sent.count ? LACE_TRUNCATED : LACE_REORDERED;
        check_outcome(wire_play(&made, &options, LARGE), status, wire_whole(LARGE, i));
        wire_free(&made);
    }
    wire_free(&sent);
}
END_TEST

START_TEST(test_i3_replayed_record)
{
    lace_seal_options options = sealed();
    wire sent = wire_of(&options, SMALL);
    for (size_t i = 0; i < sent.count; i++)
        for (size_t again = 0; again <= i; again++) {
            wire made = {0};
            wire_add(&made, &sent, 0, i + 1);
            wire_add(&made, &sent, again, again + 1);
            wire_add(&made, &sent, i + 1, sent.count);
            /* After its end the stream is no more. */
            lace_status status = i + 1 == sent.count && again > 0 ? LACE_SPLICED : LACE_REPLAYED;
            check_outcome(wire_play(&made, &options, SMALL), status, i < 3 ? i : 3);
            wire_free(&made);
        }
    wire_free(&sent);
}
END_TEST

/* The whole of a stream, again: to the receiver that had it, and to a later one. */
START_TEST(test_i3_replayed_stream)
{
    static const size_t twice[] = {0, 1, 20, 0, 1, 20};
    lace_seal_options options = sealed();
    wire sent = wire_of(&options, SMALL), made = {0};
    wire_add(&made, &sent, 0, sent.count);
    wire_add(&made, &sent, 0, sent.count);
    check_outcome(wire_play(&made, &options, twice, 6), LACE_REPLAYED, 3);
    CHECK(strstr(lace_explain(LACE_REPLAYED), "received before"));
    wire_free(&made);

    /* The time of the opening is what counts for a later receiver: no one who has not got the key can change it. */
    unsigned char master[LACE_KEY_BYTES];
    struct lace_opening opening;
    static const int64_t ages[] = {0, 50, 70, -50, -70, 1000000000};
    lace_seal_one_way_key(test_key(), NULL, master);
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        wire aged = wire_copy(&sent);
        memcpy(&opening, aged.bytes, sizeof opening);
        opening.began = (uint64_t)((int64_t)lace_seal_now() - ages[i] * 1000000);
        memcpy(aged.bytes, &opening, sizeof opening);
        check_outcome(wire_play(&aged, &options, SMALL), LACE_FORGED, 0);
        lace_opening_authenticate(&opening, master, opening.mac);
        memcpy(aged.bytes, &opening, sizeof opening);
        aged.size = sizeof opening;
        bool fits = ages[i] < 60 && ages[i] > -60;
        check_outcome(wire_play(&aged, &options, SMALL), fits ? LACE_TRUNCATED : LACE_REPLAYED, 0);
        if (ages[i] == 50) {
            options.max_age = 40;
            check_outcome(wire_play(&aged, &options, SMALL), LACE_REPLAYED, 0);
            options.max_age = 0;
        }
        wire_free(&aged);
    }
    wire_free(&sent);
}
END_TEST

START_TEST(test_i3_spliced)
{
    lace_seal_options options = sealed();
    wire sent = wire_of(&options, SMALL), other = wire_of(&options, SMALL);
    for (size_t i = 1; i < sent.count; i++) {
        wire made = {0};
        wire_add(&made, &sent, 0, i);
        wire_add(&made, &other, i, i + 1); /* in its place */
        wire_add(&made, &sent, i + 1, sent.count);
        check_outcome(wire_play(&made, &options, SMALL), LACE_SPLICED, i - 1);
        uint64_t stream = wire_record(&sent, 0).stream; /* renamed, so that it looks as if it belonged there */
        memcpy(made.bytes + made.size - (sent.size - sent.at[i]) + offsetof(struct lace_record, stream), &stream,
               sizeof stream);
        check_outcome(wire_play(&made, &options, SMALL), LACE_FORGED, i - 1);
        wire_free(&made);
    }
    wire head = {0}; /* the one's opening, the other's messages */
    wire_add(&head, &sent, 0, 1);
    wire_add(&head, &other, 1, other.count);
    check_outcome(wire_play(&head, &options, SMALL), LACE_SPLICED, 0);
    wire_free(&head);
    wire_free(&sent);
    wire_free(&other);
}
END_TEST

START_TEST(test_i3_wrong_key)
{
    lace_key *stranger;
    CHECK_OK(lace_key_create(&stranger));
    lace_seal_options ours = sealed(), theirs = {.key = stranger};
    wire sent = wire_of(&theirs, SMALL);
    check_outcome(wire_play(&sent, &ours, SMALL), LACE_WRONG_KEY, 0);
    CHECK(strstr(lace_explain(LACE_WRONG_KEY), lace_key_fingerprint(test_key())));
    CHECK(strstr(lace_explain(LACE_WRONG_KEY), lace_key_fingerprint(stranger)));
    wire renamed = wire_copy(&sent); /* with our key's id, and without our key */
    memcpy(renamed.bytes + offsetof(struct lace_opening, key_id), lace_key_id(test_key()), LACE_KEY_ID);
    check_outcome(wire_play(&renamed, &ours, SMALL), LACE_FORGED, 0);
    wire_free(&renamed);
    lace_key_destroy(stranger);
    wire_free(&sent);
}
END_TEST

/* Recorded from one channel and played into another, both with the same key. */
START_TEST(test_i3_another_channels_label)
{
    lace_seal_options orders = {.key = test_key(), .label = "orders"},
                      refunds = {.key = test_key(), .label = "refunds"};
    lace_seal_options none = sealed(), empty = {.key = test_key(), .label = ""};
    wire sent = wire_of(&orders, SMALL), plain = wire_of(&none, SMALL);
    check_outcome(wire_play(&sent, &orders, SMALL), LACE_END, 3);
    check_outcome(wire_play(&sent, &refunds, SMALL), LACE_FORGED, 0);
    check_outcome(wire_play(&sent, &none, SMALL), LACE_FORGED, 0);
    check_outcome(wire_play(&plain, &empty, SMALL), LACE_END, 3);
    wire_free(&sent);
    wire_free(&plain);
}
END_TEST

/* A seal cannot be left out, by either side. */
START_TEST(test_i3_downgrade)
{
    lace_seal_options options = sealed(), none = {0};
    int fds[2];
    lace_sender *sender;
    unsigned char bytes[4096];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_OK(lace_pipe_sender(fds[1], NULL, &sender));
    CHECK_OK(send_text(sender, "bare", TRY));
    ssize_t size = read(fds[0], bytes, sizeof bytes);
    CHECK(size > 0);
    wire bare = {0};
    wire_add_bytes(&bare, bytes, (size_t)size);
    check_outcome(wire_play(&bare, &options, SMALL), LACE_UNSEALED, 0);
    wire sent = wire_of(&options, SMALL);
    check_outcome(wire_play(&sent, &none, SMALL), LACE_UNSEALED, 0);
    CHECK(strstr(lace_explain(LACE_UNSEALED), "has no key"));
    wire mixed = {0}; /* in the middle */
    wire_add(&mixed, &sent, 0, 2);
    wire_add_bytes(&mixed, bytes, (size_t)size);
    wire_add(&mixed, &sent, 2, sent.count);
    check_outcome(wire_play(&mixed, &options, SMALL), LACE_UNSEALED, 1);
    wire_free(&bare);
    wire_free(&sent);
    wire_free(&mixed);
    lace_sender_destroy(sender);
    close(fds[0]);
}
END_TEST

/* A sealed end cannot be made without a key, nor one way over a socket, where more can be had. */
START_TEST(test_i3_no_seal_without_a_key)
{
    lace_seal_options none = {0}, options = sealed();
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    int fds[2], sockets[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    CHECK_STATUS(LACE_INVALID, lace_sealed_sender(fds[1], &none, &sender));
    CHECK_STATUS(LACE_INVALID, lace_sealed_sender(fds[1], NULL, &sender));
    CHECK_STATUS(LACE_INVALID, lace_sealed_sender(fds[1], &options, NULL));
    CHECK_STATUS(LACE_INVALID, lace_sealed_receiver(fds[0], &none, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_sealed_receiver(fds[0], NULL, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_sealed_receiver(fds[0], &options, NULL));
    CHECK_STATUS(LACE_INVALID, lace_sealed_sender(fds[0], &options, &sender)); /* the wrong way round */
    CHECK_STATUS(LACE_INVALID, lace_sealed_receiver(fds[1], &options, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_sealed_sender(sockets[0], &options, &sender));
    CHECK_STATUS(LACE_INVALID, lace_sealed_receiver(sockets[0], &options, &receiver));
    CHECK_STATUS(LACE_SYSTEM, lace_sealed_sender(987, &options, &sender));
    for (lace_role role = 0; role < 4; role++) /* a pipe is no socket, and there are two roles */
        CHECK_STATUS(LACE_INVALID, lace_sealed_socket(role == 1 || role == 2 ? fds[0] : sockets[0], role, &options,
                                                      TRY, &sender, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_sealed_socket(sockets[0], LACE_ROLE_CLIENT, &none, TRY, &sender, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_sealed_socket(sockets[0], LACE_ROLE_CLIENT, &options, TRY, NULL, &receiver));
    CHECK_STATUS(LACE_INVALID, lace_sealed_socket(sockets[0], LACE_ROLE_CLIENT, &options, TRY, &sender, NULL));
    CHECK_STATUS(LACE_INVALID, lace_sender_finish(NULL, NULL));
    CHECK(!sender && !receiver);
    for (int i = 0; i < 2; i++)
        CHECK(close(fds[i]) == 0 && close(sockets[i]) == 0); /* they are still ours */
}
END_TEST

START_TEST(test_i3_garbage)
{
    rng random = rng_start(__func__, (uint64_t)_i);
    lace_seal_options options = sealed();
    for (size_t round = 0; round < 100; round++) {
        unsigned char bytes[3000];
        size_t size = 4 + rng_below(&random, sizeof bytes - 4);
        for (size_t i = 0; i < size; i++)
            bytes[i] = _i == 0 ? (unsigned char)rng_next(&random) : _i == 1 ? 0 : "plain text\n"[i % 11];
        wire made = {0};
        wire_add_bytes(&made, bytes, size);
        check_outcome(wire_play(&made, &options, SMALL), LACE_FORGED, 0);
        wire_free(&made);
    }
}
END_TEST

/* Whatever size a header claims, memory does not grow, and nothing is waited for that cannot come. */
START_TEST(test_i3_hostile_lengths)
{
    rng random = rng_start(__func__, 0);
    lace_seal_options options = sealed();
    wire sent = wire_of(&options, SMALL);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    for (size_t size = 0; size < 65536; size += size < 200 || (size > 3900 && size < 4200) ? 1 : 251) {
        size_t which = rng_below(&random, sent.count);
        struct lace_record healthy = wire_record(&sent, which), record = healthy;
        if (record.size == size)
            continue;
        record.size = (uint16_t)size;
        memcpy(sent.bytes + sent.at[which], &record, sizeof record);
        outcome got = wire_play(&sent, &options, SMALL);
        CHECK_MSG(got.status == LACE_FORGED || got.status == LACE_TRUNCATED, "%zu: %s", size,
                  status_name(got.status));
        CHECK_UINT(got.messages, which == 0 ? 0 : which - 1);
        memcpy(sent.bytes + sent.at[which], &healthy, sizeof healthy);
    }
    getrusage(RUSAGE_SELF, &after);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which keep what is freed */
    CHECK_MSG(after.ru_maxrss - before.ru_maxrss < 12000, "grew by %ld KiB", after.ru_maxrss - before.ru_maxrss);
#endif
    wire_free(&sent);
}
END_TEST

/* Two senders at one FIFO, mixed in every way that keeps each one's order. */
START_TEST(test_i3_streams_mix)
{
    rng random = rng_start(__func__, 0);
    static const size_t sizes[] = {5000, 20};
    lace_seal_options options = sealed();
    for (size_t round = test_scaled(100); round > 0; round--) {
        wire both[2] = {wire_of(&options, sizes, 2), wire_of(&options, sizes, 2)}, made = {0};
        size_t next[2] = {0, 0};
        int fds[2];
        lace_receiver *receiver;
        lace_message *message = message_make(NULL);
        while (next[0] < both[0].count || next[1] < both[1].count) {
            size_t which = rng_below(&random, 2);
            if (next[which] == both[which].count)
                which = 1 - which;
            wire_add(&made, &both[which], next[which], next[which] + 1);
            next[which]++;
        }
        CHECK(pipe2(fds, O_CLOEXEC) == 0);
        CHECK(write(fds[1], made.bytes, made.size) == (ssize_t)made.size);
        close(fds[1]);
        CHECK_OK(lace_sealed_receiver(fds[0], &options, &receiver));
        size_t large = 0, small = 0;
        lace_status status;
        while ((status = lace_recv(receiver, message, NULL)) == LACE_OK) {
            large += lace_message_size(message) == 5000;
            small += lace_message_size(message) == 20;
            CHECK(small <= large);
        }
        CHECK_STATUS(LACE_END, status);
        CHECK(large == 2 && small == 2);
        lace_receiver_destroy(receiver);
        lace_message_destroy(message);
        wire_free(&both[0]);
        wire_free(&both[1]);
        wire_free(&made);
    }
}
END_TEST

/* One stream of two is cut off: END would be a lie. */
START_TEST(test_i3_one_of_two_truncated)
{
    lace_seal_options options = sealed();
    wire first = wire_of(&options, SMALL), second = wire_of(&options, NULL, 0);
    for (size_t cut = 1; cut <= first.count; cut++) {
        wire made = {0};
        wire_add(&made, &first, 0, cut);
        wire_add(&made, &second, 0, second.count);
        check_outcome(wire_play(&made, &options, SMALL), cut == first.count ? LACE_END : LACE_TRUNCATED,
                      wire_whole(SMALL, cut));
        wire_free(&made);
    }
    wire_free(&first);
    wire_free(&second);
}
END_TEST

TEST_MAIN("seal", TEST(test_i3_what_is_sealed_arrives), TEST(test_i3_truncated_anywhere),
          TEST_LOOP(test_i3_every_flipped_bit, 2), TEST(test_i3_reordered), TEST(test_i3_replayed_record),
          TEST(test_i3_replayed_stream), TEST(test_i3_spliced), TEST(test_i3_wrong_key),
          TEST(test_i3_another_channels_label), TEST(test_i3_downgrade), TEST(test_i3_no_seal_without_a_key),
          TEST_LOOP(test_i3_garbage, 3), TEST(test_i3_hostile_lengths), TEST(test_i3_streams_mix),
          TEST(test_i3_one_of_two_truncated))
