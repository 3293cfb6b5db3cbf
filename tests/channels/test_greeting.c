/* test_greeting.c - I3 on sockets: two sides that have the same key, in different roles, come to a session; any other
 * two are told why not; and nobody in between can change, replay or turn round what they say. */
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELLO 64
#define GREETING (HELLO + LACE_CONFIRM_SIZE) /* what each side says before its first message */

/* ---- one side ----------------------------------------------------------------------------------------- */

/* A side that greets in a thread of its own; on failure it closes the socket. */
typedef struct side {
    thread runner;
    int fd;
    lace_role role;
    lace_seal_options options;
    lace_wait wait;
    lace_status status;
    char story[300];
    lace_sender *sender;
    lace_receiver *receiver;
} side;

static void side_run(void *context)
{
    side *self = context;
    self->status = lace_sealed_socket(self->fd, self->role, &self->options, &self->wait, &self->sender,
                                      &self->receiver);
    if (self->status != LACE_OK) {
        snprintf(self->story, sizeof self->story, "%s", lace_explain(self->status));
        CHECK(close(self->fd) == 0); /* it is still ours */
    }
}

static void side_start(side *started, int fd, lace_role role)
{
    *started = (side){.fd = fd, .role = role, .options = {.key = test_key()}};
    thread_start(&started->runner, side_run, started);
}

static void side_end(side *ended)
{
    lace_sender_destroy(ended->sender);
    lace_receiver_destroy(ended->receiver);
    ended->sender = NULL;
    ended->receiver = NULL;
}

static lace_status side_join(side *joined)
{
    thread_join(&joined->runner);
    return joined->status;
}

static void sockets_make(int fds[2])
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
}

static void write_all(int fd, const void *bytes, size_t size)
{
    CHECK(send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size);
}

static void read_all(int fd, void *bytes, size_t size)
{
    CHECK(recv(fd, bytes, size, MSG_WAITALL) == (ssize_t)size);
}

static bool has_session(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};
    return fcntl(fd, F_GETFD) >= 0 && poll(&poll_fd, 1, 0) == 0;
}

/* ---- two that belong together ------------------------------------------------------------------------- */

/* Both directions carry messages at the same time. */
static void converse(connection *both)
{
    lace_message *message = message_make(NULL);
    uint64_t value;
    for (uint64_t i = 0; i < 300; i++) {
        CHECK_OK(send_u64(both->sender[0], i, TRY));
        CHECK_OK(send_u64(both->sender[1], 1000 + i, TRY));
        CHECK_OK(recv_u64(both->receiver[0], message, &value, NULL));
        CHECK_UINT(value, 1000 + i);
        CHECK_OK(recv_u64(both->receiver[1], message, &value, NULL));
        CHECK_UINT(value, i);
    }
    lace_sender_close(both->sender[0]); /* ends one direction, and no more */
    CHECK_STATUS(LACE_END, lace_recv(both->receiver[1], message, NULL));
    CHECK_OK(send_u64(both->sender[1], 7, TRY));
    CHECK_OK(recv_u64(both->receiver[0], message, &value, NULL));
    CHECK_UINT(value, 7);
    lace_receiver_close(both->receiver[0]);
    CHECK_STATUS(LACE_BROKEN, send_u64(both->sender[1], 8, NULL));
    lace_message_destroy(message);
}

START_TEST(test_i3_a_session_both_ways)
{
    connection both;
    int fds[2];
    sockets_make(fds);
    connection_open(&both, fds[0], fds[1]);
    CHECK_OK(lace_sender_fd(both.sender[0], &fds[0]));
    CHECK(fcntl(fds[0], F_GETFD) == FD_CLOEXEC && fcntl(fds[0], F_GETFL) & O_NONBLOCK);
    converse(&both);
    connection_close(&both);
}
END_TEST

START_TEST(test_i3_a_session_over_tcp)
{
    connection both;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listening >= 0);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) != 0) {
        close(listening); /* a sandbox without a loopback */
        return;
    }
    CHECK(listen(listening, 1) == 0 && getsockname(listening, (struct sockaddr *)&address, &size) == 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(client >= 0 && connect(client, (struct sockaddr *)&address, sizeof address) == 0);
    int server = accept(listening, NULL, NULL);
    CHECK(server >= 0);
    connection_open(&both, client, server);
    lace_message *message = message_make(NULL);
    uint64_t value;
    CHECK_OK(send_u64(both.sender[0], 5, NULL));
    CHECK_OK(recv_u64(both.receiver[1], message, &value, NULL));
    CHECK_OK(send_u64(both.sender[1], 6, NULL));
    CHECK_OK(recv_u64(both.receiver[0], message, &value, NULL));
    lace_sender_close(both.sender[1]);
    CHECK_STATUS(LACE_END, lace_recv(both.receiver[0], message, NULL));
    lace_message_destroy(message);
    connection_close(&both);
    close(listening);
}
END_TEST

/* ---- two that do not ---------------------------------------------------------------------------------- */

START_TEST(test_i3_different_keys_are_named)
{
    side client, server;
    lace_key *stranger;
    int fds[2];
    sockets_make(fds);
    CHECK_OK(lace_key_create(&stranger));
    side_start(&client, fds[0], LACE_ROLE_CLIENT);
    server = (side){.fd = fds[1], .role = LACE_ROLE_SERVER, .options = {.key = stranger}};
    thread_start(&server.runner, side_run, &server);
    CHECK_STATUS(LACE_WRONG_KEY, side_join(&client));
    CHECK_STATUS(LACE_WRONG_KEY, side_join(&server));
    char wanted[200];
    snprintf(wanted, sizeof wanted, "the two sides have different keys (ours %s, theirs %s)",
             lace_key_fingerprint(test_key()), lace_key_fingerprint(stranger));
    CHECK_MSG(strcmp(client.story, wanted) == 0, "%s", client.story);
    snprintf(wanted, sizeof wanted, "the two sides have different keys (ours %s, theirs %s)",
             lace_key_fingerprint(stranger), lace_key_fingerprint(test_key()));
    CHECK_MSG(strcmp(server.story, wanted) == 0, "%s", server.story);
    lace_key_destroy(stranger);
}
END_TEST

START_TEST(test_i3_same_roles_and_other_labels)
{
    side client, server;
    int fds[2];
    for (lace_role role = LACE_ROLE_CLIENT; role <= LACE_ROLE_SERVER; role++) {
        sockets_make(fds);
        side_start(&client, fds[0], role);
        side_start(&server, fds[1], role);
        CHECK_STATUS(LACE_SPLICED, side_join(&client));
        CHECK_STATUS(LACE_SPLICED, side_join(&server));
        CHECK(strstr(client.story, role == LACE_ROLE_CLIENT ? "clients" : "servers"));
    }
    sockets_make(fds);
    side_start(&client, fds[0], LACE_ROLE_CLIENT);
    server = (side){.fd = fds[1], .role = LACE_ROLE_SERVER, .options = {.key = test_key(), .label = "other"}};
    thread_start(&server.runner, side_run, &server);
    CHECK_STATUS(LACE_FORGED, side_join(&client));
    CHECK_STATUS(LACE_FORGED, side_join(&server));
    CHECK(strstr(client.story, "label"));
}
END_TEST

/* A stranger who says nothing costs no more than the deadline. */
START_TEST(test_i3_a_silent_peer)
{
    int fds[2];
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_cancel *cancel;
    lace_seal_options options = {.key = test_key()};
    side waiting;
    sockets_make(fds);
    CHECK_STATUS(LACE_TIMEOUT,
                 lace_sealed_socket(fds[0], LACE_ROLE_SERVER, &options, WITHIN_MS(5), &sender, &receiver));
    CHECK_STATUS(LACE_TIMEOUT, lace_sealed_socket(fds[0], LACE_ROLE_SERVER, &options, TRY, &sender, &receiver));
    CHECK(!sender && !receiver && has_session(fds[0]));
    CHECK_OK(lace_cancel_create(NULL, &cancel));
    watch watching = WATCH_INIT;
    waiting = (side){.fd = fds[0], .role = LACE_ROLE_SERVER, .options = options};
    waiting.wait = watch_wait(&watching, LACE_NEVER, cancel);
    thread_start(&waiting.runner, side_run, &waiting);
    watch_until_parked(&watching, 1);
    lace_cancel_fire(cancel);
    CHECK_STATUS(LACE_CANCELLED, side_join(&waiting));
    CHECK_UINT(watching.unparks, 1);
    lace_cancel_destroy(cancel);
    close(fds[1]);
}
END_TEST

/* What somebody else says instead of greeting; _i: who */
START_TEST(test_i3_a_peer_of_another_kind)
{
    side server;
    int fds[2];
    char story[] = "GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n", zeros[HELLO] = {0};
    lace_sender *sender;
    sockets_make(fds);
    side_start(&server, fds[1], LACE_ROLE_SERVER);
    switch (_i) {
    case 0: /* a sender of ours without a seal */
        CHECK_OK(lace_pipe_sender(fds[0], NULL, &sender));
        CHECK_OK(send_text(sender, "", TRY));
        CHECK_STATUS(LACE_UNSEALED, side_join(&server));
        lace_sender_destroy(sender);
        return;
    case 1:
        write_all(fds[0], story, sizeof story);
        CHECK_STATUS(LACE_FORGED, side_join(&server));
        CHECK(strstr(server.story, "does not seem to be Interlace"));
        break;
    case 2:
        write_all(fds[0], zeros, sizeof zeros);
        CHECK_STATUS(LACE_FORGED, side_join(&server));
        break;
    default: { /* and the other way round: a receiver without a seal is greeted */
        lace_receiver *receiver;
        lace_message *message = message_make(NULL);
        CHECK_OK(lace_pipe_receiver(fds[0], NULL, &receiver));
        CHECK_STATUS(LACE_UNSEALED, lace_recv(receiver, message, NULL));
        lace_receiver_destroy(receiver);
        lace_message_destroy(message);
        CHECK_STATUS(LACE_TRUNCATED, side_join(&server));
        return;
    }
    }
    close(fds[0]);
}
END_TEST

/* A mirror has the key's MAC on everything it says. */
START_TEST(test_i3_a_mirror)
{
    side client;
    int fds[2];
    unsigned char bytes[HELLO];
    sockets_make(fds);
    side_start(&client, fds[0], LACE_ROLE_CLIENT);
    read_all(fds[1], bytes, HELLO);
    write_all(fds[1], bytes, HELLO);
    CHECK_STATUS(LACE_REPLAYED, side_join(&client));
    CHECK(strstr(client.story, "our own"));
    close(fds[1]);
}
END_TEST

/* ---- somebody in between ------------------------------------------------------------------------------ */

/* A line between a client and a server that the test holds in the middle: middle[0] is where the client's bytes come
 * out, middle[1] the server's. */
typedef struct line {
    side client, server;
    int middle[2];
} line;

static void line_open(line *opened)
{
    int near[2], far[2];
    sockets_make(near);
    sockets_make(far);
    opened->middle[0] = near[1];
    opened->middle[1] = far[1];
    side_start(&opened->client, near[0], LACE_ROLE_CLIENT);
    side_start(&opened->server, far[0], LACE_ROLE_SERVER);
}

static void line_close(line *closed)
{
    close(closed->middle[0]);
    close(closed->middle[1]);
    side_end(&closed->client);
    side_end(&closed->server);
}

/* Passes the greetings on, with one bit of what the side `from` says flipped, or (`cut`) no more from that byte on. */
static void line_greet(line *on, int from, size_t bit, bool cut)
{
    bool open[2] = {true, true};
    size_t passed[2] = {0, 0};
    while (open[0] || open[1]) {
        struct pollfd polls[2] = {{open[0] ? on->middle[0] : -1, POLLIN, 0},
                                  {open[1] ? on->middle[1] : -1, POLLIN, 0}};
        CHECK(poll(polls, 2, -1) > 0);
        for (int i = 0; i < 2; i++) {
            unsigned char bytes[GREETING];
            if (polls[i].revents == 0)
                continue;
            size_t end = cut && i == from ? bit / 8 : GREETING;
            ssize_t size = end > passed[i] ? recv(on->middle[i], bytes, end - passed[i], 0) : 0;
            for (ssize_t k = 0; k < size; k++)
                if (i == from && !cut && passed[i] + (size_t)k == bit / 8)
                    bytes[k] ^= (unsigned char)(1 << bit % 8);
            if (size > 0 && send(on->middle[1 - i], bytes, (size_t)size, MSG_NOSIGNAL) == size) {
                passed[i] += (size_t)size;
                if (passed[i] < end)
                    continue;
            }
            open[i] = false;
            if (size <= 0 || cut)
                shutdown(on->middle[1 - i], SHUT_WR);
        }
    }
}

static bool is_named(lace_status status)
{
    return status == LACE_FORGED || status == LACE_WRONG_KEY || status == LACE_REPLAYED || status == LACE_SPLICED ||
           status == LACE_TRUNCATED;
}

/* _i: whose greeting */
START_TEST(test_i3_every_flipped_bit_of_a_greeting)
{
    for (size_t bit = 0; bit < GREETING * 8; bit++) {
        line on;
        line_open(&on);
        line_greet(&on, _i, bit, false);
        lace_status hit, other;
        /* That it was hit is seen by the other one; the one that said it well may not know yet. */
        if (_i == 0) {
            shutdown(on.middle[0], SHUT_RDWR);
            other = side_join(&on.client);
            hit = side_join(&on.server);
        } else {
            shutdown(on.middle[1], SHUT_RDWR);
            other = side_join(&on.server);
            hit = side_join(&on.client);
        }
        CHECK_MSG(is_named(hit), "bit %zu: %s", bit, status_name(hit));
        CHECK_MSG(other == LACE_OK ? bit >= HELLO * 8 : is_named(other), "bit %zu: %s", bit, status_name(other));
        line_close(&on);
    }
}
END_TEST

START_TEST(test_i3_a_greeting_cut_anywhere)
{
    for (size_t cut = 0; cut < GREETING; cut++) {
        line on;
        line_open(&on);
        line_greet(&on, _i, cut * 8, true);
        close(on.middle[0]);
        close(on.middle[1]);
        CHECK_STATUS(LACE_TRUNCATED, side_join(_i == 0 ? &on.server : &on.client));
        (void)side_join(_i == 0 ? &on.client : &on.server);
        side_end(&on.client);
        side_end(&on.server);
    }
}
END_TEST

/* A whole session, recorded, and said again to the same server. */
START_TEST(test_i3_a_replayed_session)
{
    line on;
    side again;
    int fds[2];
    unsigned char bytes[1000];
    line_open(&on);
    line_greet(&on, 0, SIZE_MAX, false);
    CHECK_OK(side_join(&on.client));
    CHECK_OK(side_join(&on.server));
    CHECK_OK(send_text(on.client.sender, "pay the bearer", TRY));
    lace_sender_close(on.client.sender);
    ssize_t size = recv(on.middle[0], bytes, sizeof bytes, 0);
    CHECK(size > 0);
    write_all(on.middle[1], bytes, (size_t)size);
    lace_message *message = message_make(NULL);
    CHECK_OK(lace_recv(on.server.receiver, message, NULL));
    CHECK(message_is(message, "pay the bearer"));
    CHECK_STATUS(LACE_END, lace_recv(on.server.receiver, message, NULL));
    line_close(&on);

    /* The greeting is not in `bytes`: it has to be recorded from a line of its own. */
    unsigned char said[GREETING];
    line_open(&on);
    read_all(on.middle[0], said, HELLO);
    write_all(on.middle[1], said, HELLO);
    unsigned char answer[GREETING];
    read_all(on.middle[1], answer, HELLO);
    write_all(on.middle[0], answer, HELLO);
    read_all(on.middle[0], said + HELLO, LACE_CONFIRM_SIZE);
    write_all(on.middle[1], said + HELLO, LACE_CONFIRM_SIZE);
    read_all(on.middle[1], answer + HELLO, LACE_CONFIRM_SIZE);
    write_all(on.middle[0], answer + HELLO, LACE_CONFIRM_SIZE);
    CHECK_OK(side_join(&on.client));
    CHECK_OK(side_join(&on.server));
    line_close(&on);
    for (int i = 0; i < 2; i++) {
        sockets_make(fds);
        side_start(&again, fds[0], i == 0 ? LACE_ROLE_SERVER : LACE_ROLE_CLIENT);
        write_all(fds[1], i == 0 ? said : answer, GREETING);
        write_all(fds[1], bytes, (size_t)size);
        CHECK_STATUS(LACE_REPLAYED, side_join(&again));
        CHECK(strstr(again.story, "an old one"));
        close(fds[1]);
    }
    lace_message_destroy(message);
}
END_TEST

/* In mid-session: _i 0: what the client said is said to itself; 1: by another session; 2: bare frames; 3: again;
 * 4: the line is cut; 5: a bit flips */
START_TEST(test_i3_a_session_under_attack)
{
    static const lace_status names[] = {LACE_SPLICED,  LACE_SPLICED,   LACE_UNSEALED,
                                        LACE_REPLAYED, LACE_TRUNCATED, LACE_FORGED};
    line on, other;
    unsigned char bytes[1000];
    lace_message *message = message_make(NULL);
    line_open(&on);
    line_greet(&on, 0, SIZE_MAX, false);
    CHECK_OK(side_join(&on.client));
    CHECK_OK(side_join(&on.server));
    lace_receiver *victim = on.server.receiver;
    int into = on.middle[1];
    CHECK_OK(send_text(on.client.sender, "one", TRY));
    CHECK_OK(send_text(on.client.sender, "two", TRY));
    ssize_t size = recv(on.middle[0], bytes, sizeof bytes, 0);
    CHECK(size > 0);
    if (_i == 0) {
        victim = on.client.receiver;
        into = on.middle[0];
    } else if (_i == 1) {
        line_open(&other);
        line_greet(&other, 0, SIZE_MAX, false);
        CHECK_OK(side_join(&other.client));
        CHECK_OK(side_join(&other.server));
        victim = other.server.receiver;
        into = other.middle[1];
    } else if (_i == 2) {
        struct lace_chunk chunk = {.magic = LACE_CHUNK_MAGIC};
        memcpy(bytes, &chunk, sizeof chunk);
        bytes[sizeof chunk] = LACE_CHUNK_GOOD;
        size = sizeof chunk + 1;
    } else if (_i == 3) {
        write_all(into, bytes, (size_t)size);
        CHECK_OK(lace_recv(victim, message, NULL));
        CHECK_OK(lace_recv(victim, message, NULL));
    } else if (_i == 4) {
        size = size / 2 + 3;
    } else {
        bytes[size - 1] ^= 1; /* of the commit of the second */
    }
    write_all(into, bytes, (size_t)size);
    shutdown(into, SHUT_WR);
    if (_i >= 4) {
        CHECK_OK(lace_recv(victim, message, NULL));
        CHECK(message_is(message, "one"));
    }
    CHECK_STATUS(names[_i], lace_recv(victim, message, NULL));
    CHECK_STATUS(names[_i], lace_recv(victim, message, TRY));
    if (_i == 1)
        line_close(&other);
    line_close(&on);
    lace_message_destroy(message);
}
END_TEST

TEST_MAIN("greeting", TEST(test_i3_a_session_both_ways), TEST(test_i3_a_session_over_tcp),
          TEST(test_i3_different_keys_are_named), TEST(test_i3_same_roles_and_other_labels),
          TEST(test_i3_a_silent_peer), TEST_LOOP(test_i3_a_peer_of_another_kind, 4), TEST(test_i3_a_mirror),
          TEST_LONG(test_i3_every_flipped_bit_of_a_greeting, 2, 40), TEST_LOOP(test_i3_a_greeting_cut_anywhere, 2),
          TEST(test_i3_a_replayed_session), TEST_LOOP(test_i3_a_session_under_attack, 6))
