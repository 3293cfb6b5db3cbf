/* test_mutants.c - I3: frames that were changed at random, bare and sealed, from outside and from somebody who has the
 * key. Each one is a clean error or what was sent; whoever has not got the key gets nothing else across.
 *
 * LACE_MUTANTS says how many there are in all; without it, some ten thousands. The seed replays them. */
#include "wire.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM 50000 /* bytes of a stream, at most; a pipe holds them all */
#define MESSAGES 6
#define A_BASE 300 /* mutants of one stream */

/* What is changed. */
enum kind { BARE, ONE_WAY, SESSION, INSIDER, GREETING, KINDS };

typedef struct base {
    enum kind kind;
    unsigned char bytes[ROOM];
    size_t size;
    size_t sizes[MESSAGES]; /* of its messages; the data of message i is all 'a' + i */
    size_t frames[64];      /* where each frame begins */
    size_t frame_count;
    unsigned char session[LACE_KEY_BYTES];
    unsigned char confirm[LACE_CONFIRM_SIZE];
} base;

static size_t mutants(void)
{
    const char *given = getenv("LACE_MUTANTS");
    return given ? strtoul(given, NULL, 10) : test_scaled(60000);
}

static void add(base *to, const void *bytes, size_t size)
{
    CHECK(size <= ROOM - to->size && to->frame_count < 64);
    to->frames[to->frame_count++] = to->size;
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

/* ---- streams ------------------------------------------------------------------------------------------ */

static void make_bare(base *made)
{
    for (size_t i = 0; i < MESSAGES; i++) {
        unsigned char data[10000], chunk[LACE_CHUNK_MOST];
        memset(data, 'a' + (int)i, sizeof data);
        lace_payload payload = payload_of(data, made->sizes[i]);
        size_t offset = 0, part;
        do {
            size_t length = lace_chunk_make(chunk, sizeof chunk, i % 2 + 1, i, &payload, offset, &part);
            add(made, chunk, length);
            offset += part;
        } while (offset < payload.size);
    }
}

/* By the library's own sealer. */
static void make_sealed(base *made)
{
    struct lace_sealer *sealer;
    unsigned char record[LACE_RECORD_MOST], session[LACE_KEY_BYTES];
    if (made->kind == ONE_WAY) {
        CHECK_OK(lace_sealer_create(test_key(), NULL, &sealer));
    } else {
        memcpy(session, made->session, sizeof session);
        CHECK_OK(lace_sealer_confirm(session, 77, &sealer, made->confirm));
    }
    for (size_t i = 0; i < MESSAGES; i++) {
        unsigned char data[10000];
        memset(data, 'a' + (int)i, sizeof data);
        lace_payload payload = payload_of(data, made->sizes[i]);
        size_t offset = 0, part;
        do {
            size_t length = lace_sealer_chunk(sealer, record, i, &payload, offset, &part);
            add(made, record, length);
            sealer->opened = true;
            offset += part;
        } while (offset < payload.size);
    }
    add(made, record, lace_sealer_end(sealer, record));
    lace_sealer_destroy(sealer);
}

static uint64_t odd_value(rng *random)
{
    static const uint64_t values[] = {0,
                                      1,
                                      0xff,
                                      0xffff,
                                      0x10000,
                                      0x7fffffff,
                                      0xffffffff,
                                      (uint64_t)1 << 30,
                                      ((uint64_t)1 << 30) + 1,
                                      UINT64_MAX / 2,
                                      UINT64_MAX};
    return rng_below(random, 3) ? values[rng_below(random, sizeof values / sizeof *values)] : rng_next(random);
}

/* Somebody who has the key seals what is no chunk, or none that follows the one before. */
static void make_insider(base *made, rng *random)
{
    crypto_secretstream_xchacha20poly1305_state state;
    unsigned char record[LACE_RECORD_MOST];
    struct lace_confirm confirm;
    memset(&confirm, 0, sizeof confirm);
    confirm.record = (struct lace_record){
        LACE_RECORD_MAGIC, LACE_RECORD_CONFIRM, 0, LACE_CONFIRM_SIZE - sizeof confirm.record, 77, 0};
    crypto_secretstream_xchacha20poly1305_init_push(&state, confirm.header, made->session);
    crypto_secretstream_xchacha20poly1305_push(&state, confirm.proof, NULL, NULL, 0, (void *)&confirm.record,
                                               sizeof confirm.record, 0);
    memcpy(made->confirm, &confirm, LACE_CONFIRM_SIZE);
    uint64_t number = 1;
    for (size_t i = 0; i < MESSAGES; i++) {
        unsigned char chunk[LACE_CHUNK_MOST], data[10000] = {0};
        lace_payload payload = payload_of(data, made->sizes[i]);
        size_t part, offset = 0;
        bool last;
        do {
            size_t length = lace_chunk_make(chunk, LACE_SEALED_CHUNK, 77, i, &payload, offset, &part) - 1;
            offset += part;
            last = offset == payload.size;
            if (rng_below(random, 4) == 0) { /* one of the header's fields, or the length */
                static const struct {
                    size_t at, size;
                } fields[] = {{0, 4}, {4, 2}, {6, 2}, {8, 8}, {16, 8}, {24, 8}, {32, 8}};
                size_t field = rng_below(random, 8);
                uint64_t value = odd_value(random);
                if (field == 7)
                    length = rng_below(random, LACE_SEALED_CHUNK);
                else
                    memcpy(chunk + fields[field].at, &value, fields[field].size);
            }
            struct lace_record header = {LACE_RECORD_MAGIC, LACE_RECORD_DATA, last, 0, 77, number++};
            header.size = (uint16_t)(length + LACE_SEAL_ADDED * (last ? 2 : 1));
            memcpy(record, &header, sizeof header);
            unsigned char *to = record + sizeof header;
            unsigned char tag = (unsigned char)(rng_below(random, 30) == 0 ? rng_next(random) : 0);
            crypto_secretstream_xchacha20poly1305_push(&state, to, NULL, chunk, length, record, sizeof header, tag);
            if (last)
                crypto_secretstream_xchacha20poly1305_push(&state, to + length + LACE_SEAL_ADDED, NULL, NULL, 0, NULL,
                                                           0, (unsigned char)rng_below(random, 4));
            add(made, record, sizeof header + header.size);
        } while (!last);
    }
}

typedef struct greeter {
    thread runner;
    lace_role role;
    int fd;
} greeter;

static void greeter_run(void *context)
{
    greeter *self = context;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_seal_options options = {.key = test_key()};
    CHECK_OK(lace_sealed_socket(self->fd, self->role, &options, NULL, &sender, &receiver));
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
}

/* Passes on what one side says; keeps a copy. */
static void pass(int from, int to, unsigned char *bytes, size_t size)
{
    CHECK(recv(from, bytes, size, MSG_WAITALL) == (ssize_t)size);
    CHECK(send(to, bytes, size, MSG_NOSIGNAL) == (ssize_t)size);
}

/* What a client said to a server once: its two parts greet, and can never again. */
static void make_greeting(base *made)
{
    greeter sides[2] = {{.role = LACE_ROLE_CLIENT}, {.role = LACE_ROLE_SERVER}};
    int middle[2];
    unsigned char said[64 + LACE_CONFIRM_SIZE], heard[64 + LACE_CONFIRM_SIZE];
    for (int i = 0; i < 2; i++) {
        int fds[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        sides[i].fd = fds[0];
        middle[i] = fds[1];
        thread_start(&sides[i].runner, greeter_run, &sides[i]);
    }
    for (size_t at = 0; at <= 64; at += 64) {
        size_t size = at == 0 ? 64 : LACE_CONFIRM_SIZE;
        pass(middle[0], middle[1], said + at, size);
        pass(middle[1], middle[0], heard + at, size);
        add(made, said + at, size);
    }
    for (int i = 0; i < 2; i++) {
        thread_join(&sides[i].runner);
        close(middle[i]);
    }
}

static void make_base(base *made, enum kind kind, rng *random)
{
    *made = (base){.kind = kind};
    for (size_t i = 0; i < MESSAGES; i++)
        made->sizes[i] = rng_below(random, rng_below(random, 3) ? 100 : 6000);
    randombytes_buf(made->session, sizeof made->session);
    if (kind == BARE)
        make_bare(made);
    else if (kind == INSIDER)
        make_insider(made, random);
    else if (kind == GREETING)
        make_greeting(made);
    else
        make_sealed(made);
}

/* ---- changes ------------------------------------------------------------------------------------------ */

typedef struct mutant {
    unsigned char bytes[ROOM + 1000];
    size_t size;
} mutant;

/* Puts `size` bytes where `gone` bytes were. */
static void replace(mutant *m, size_t at, size_t gone, const unsigned char *bytes, size_t size)
{
    if (m->size - gone + size > sizeof m->bytes)
        return;
    unsigned char copy[LACE_RECORD_MOST];
    memcpy(copy, bytes, size); /* it may lie in what is moved */
    memmove(m->bytes + at + size, m->bytes + at + gone, m->size - at - gone);
    memcpy(m->bytes + at, copy, size);
    m->size += size - gone;
}

static size_t frame_size(const base *from, size_t frame)
{
    return (frame + 1 < from->frame_count ? from->frames[frame + 1] : from->size) - from->frames[frame];
}

static void mutate_once(mutant *m, const base *from, rng *random)
{
    unsigned char bytes[64];
    if (m->size == 0)
        return;
    size_t at = rng_below(random, m->size);
    if (rng_below(random, 2)) /* near the front of a frame, where the sense is */
        at = from->frames[rng_below(random, from->frame_count)] + rng_below(random, 70);
    at = at < m->size ? at : m->size - 1;
    size_t left = m->size - at, frame = rng_below(random, from->frame_count),
           other = rng_below(random, from->frame_count);
    size_t part = 1 + rng_below(random, left < sizeof bytes ? left : sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)rng_next(random);
    switch (rng_below(random, 9)) {
    case 0:
    case 1:
        m->bytes[at] ^= (unsigned char)(1 << rng_below(random, 8));
        break;
    case 2: { /* a field */
        uint64_t value = odd_value(random);
        size_t width = (size_t)1 << rng_below(random, 4);
        memcpy(m->bytes + at, &value, width < left ? width : left);
        break;
    }
    case 3:
        replace(m, at, part, bytes, part);
        break;
    case 4:
        replace(m, at, 0, bytes, part);
        break;
    case 5:
        replace(m, at, part, bytes, 0);
        break;
    case 6: /* a frame again, or in another's place */
        if (from->frames[other] + frame_size(from, other) <= m->size)
            replace(m, from->frames[other], rng_below(random, 2) ? frame_size(from, other) : 0,
                    from->bytes + from->frames[frame], frame_size(from, frame));
        break;
    case 7:
        if (from->frames[other] + frame_size(from, other) <= m->size)
            replace(m, from->frames[other], frame_size(from, other), bytes, 0);
        break;
    default:
        m->size = at;
        break;
    }
}

/* ---- what comes of it --------------------------------------------------------------------------------- */

typedef struct result {
    size_t messages;
    size_t bytes;
    lace_status status;
} result;

/* Takes in a message. From outside a seal nothing comes through but what was sent; every byte is looked at. */
static void take(result *got, const lace_message *message, const base *from, bool exact)
{
    const unsigned char *data = lace_message_data(message);
    size_t size = lace_message_size(message);
    CHECK(size <= ROOM);
    got->bytes += size;
    if (exact) {
        CHECK(got->messages < MESSAGES);
        CHECK_UINT(size, from->sizes[got->messages]);
    }
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum += data[i];
        CHECK(!exact || data[i] == 'a' + got->messages);
    }
    CHECK(sum <= size * 255);
    got->messages++;
}

/* To the reader itself, in pieces of any size. */
static result read_directly(const mutant *m, const base *from, bool exact, rng *random, lace_message *message)
{
    struct lace_reader reader = {0};
    result got = {0, 0, LACE_AGAIN};
    unsigned char session[LACE_KEY_BYTES];
    memcpy(session, from->session, sizeof session);
    if (from->kind == ONE_WAY)
        CHECK_OK(lace_unsealer_create(test_key(), NULL, 0, &reader.unsealer));
    else if (from->kind != BARE)
        CHECK_OK(lace_unsealer_confirm(session, 77, from->confirm, &reader.unsealer));
    for (size_t at = 0; got.status == LACE_AGAIN && at < m->size;) {
        size_t room;
        unsigned char *space = lace_reader_space(&reader, &room);
        size_t part = 1 + rng_below(random, rng_below(random, 4) ? 20000 : 200);
        CHECK(space != NULL && room > 0);
        part = part < room ? part : room;
        part = part < m->size - at ? part : m->size - at;
        memcpy(space, m->bytes + at, part);
        lace_reader_filled(&reader, part);
        at += part;
        while (lace_message_clear(message), (got.status = lace_reader_next(&reader, message)) == LACE_OK)
            take(&got, message, from, exact);
        CHECK(reader.held <= ROOM); /* whatever it claims to be, memory grows with what came */
    }
    if (got.status == LACE_AGAIN)
        got.status = lace_reader_ended(&reader);
    lace_reader_finish(&reader);
    return got;
}

/* Through a pipe. */
static result read_pipe(const mutant *m, const base *from, bool exact, lace_message *message)
{
    int fds[2];
    lace_receiver *receiver;
    lace_seal_options options = {.key = test_key()};
    result got = {0};
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    if (m->size > 0)
        CHECK(write(fds[1], m->bytes, m->size) == (ssize_t)m->size);
    close(fds[1]);
    if (from->kind == BARE)
        CHECK_OK(lace_pipe_receiver(fds[0], NULL, &receiver));
    else
        CHECK_OK(lace_sealed_receiver(fds[0], &options, &receiver));
    while ((got.status = lace_recv(receiver, message, NULL)) == LACE_OK)
        take(&got, message, from, exact);
    lace_receiver_destroy(receiver);
    return got;
}

/* To a server that waits for a greeting. */
static lace_status read_greeting(const mutant *m)
{
    int fds[2];
    lace_sender *sender;
    lace_receiver *receiver;
    lace_seal_options options = {.key = test_key()};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    if (m->size > 0)
        CHECK(send(fds[1], m->bytes, m->size, 0) == (ssize_t)m->size);
    shutdown(fds[1], SHUT_WR);
    lace_status status = lace_sealed_socket(fds[0], LACE_ROLE_SERVER, &options, NULL, &sender, &receiver);
    CHECK(status != LACE_OK);
    close(fds[0]);
    close(fds[1]);
    return status;
}

static bool is_clean(lace_status status)
{
    switch (status) {
    case LACE_END:
    case LACE_CORRUPT:
    case LACE_WRONG_KEY:
    case LACE_UNSEALED:
    case LACE_FORGED:
    case LACE_TRUNCATED:
    case LACE_REORDERED:
    case LACE_REPLAYED:
    case LACE_SPLICED:
        return *lace_explain(status) != '\0';
    default:
        return false;
    }
}

static void try_mutant(const mutant *m, const base *from, rng *random, lace_message *message)
{
    bool exact = from->kind == ONE_WAY || from->kind == SESSION;
    bool whole = m->size >= from->size && memcmp(m->bytes, from->bytes, from->size) == 0;
    result got = {0};
    if (from->kind == GREETING)
        got.status = read_greeting(m);
    else if ((from->kind == BARE || from->kind == ONE_WAY) && rng_below(random, 8) == 0)
        got = read_pipe(m, from, exact, message);
    else
        got = read_directly(m, from, exact, random, message);
    CHECK_MSG(is_clean(got.status), "%s", status_name(got.status));
    CHECK(got.bytes <= m->size);
    if (!exact)
        return;
    /* Nothing is changed and nobody sees it. (What comes behind the end of a session is not looked at any more.) */
    bool unharmed = whole && (m->size == from->size || from->kind == SESSION);
    CHECK_MSG((got.status == LACE_END) == unharmed, "%s after %zu messages", status_name(got.status), got.messages);
    CHECK(got.status != LACE_CORRUPT); /* no bare word gets as far as the chunks */
    CHECK(!unharmed || got.messages == MESSAGES);
}

START_TEST(test_i3_mutants)
{
    static base from;
    static mutant m;
    rng random = rng_start(__func__, (uint64_t)_i);
    lace_message *message = message_make(NULL);
    size_t count = _i == GREETING ? mutants() / 100 + 1 : mutants() / 4; /* one of those costs as much as 30 others */
    for (size_t i = 0; i < count; i++) {
        if (i % A_BASE == 0 || (_i == INSIDER && i % 10 == 0)) {
            make_base(&from, (enum kind)_i, &random);
            memcpy(m.bytes, from.bytes, from.size);
            m.size = from.size;
            try_mutant(&m, &from, &random, message); /* as it is */
        }
        memcpy(m.bytes, from.bytes, from.size);
        m.size = from.size;
        for (size_t changes = 1 + rng_below(&random, 3); changes > 0 && _i != INSIDER; changes--)
            mutate_once(&m, &from, &random);
        if (_i == INSIDER && i % 2)
            mutate_once(&m, &from, &random);
        try_mutant(&m, &from, &random, message);
    }
    lace_message_destroy(message);
}
END_TEST

TEST_MAIN("mutants", TEST_LONG(test_i3_mutants, KINDS, 60))
