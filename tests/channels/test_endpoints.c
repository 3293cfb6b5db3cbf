/* test_endpoints.c - I3: endpoints with names, from C: who waits for whom, and what is said to those who may not. */
#include "fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- places -------------------------------------------------------------------------------------------- */

/* Where a socket's address comes from: what the tests of sockets run over. */
enum { UNIX, MEMORY, SCHEMES };

/* A new folder, and addresses in it. */
typedef struct place {
    char root[64];
    char folder[80]; /* below it for memory, which has a folder of its own there */
    char path[96];
    char fifo[112];
    char socket[112];
    lace_seal_options options;
} place;

static void place_make(place *made, int scheme)
{
    snprintf(made->root, sizeof made->root, "/tmp/lace-test-XXXXXX");
    CHECK(mkdtemp(made->root) != NULL);
    snprintf(made->folder, sizeof made->folder, "%s%s", made->root, scheme == MEMORY ? "/interlace" : "");
    snprintf(made->path, sizeof made->path, "%s/here", made->folder);
    snprintf(made->fifo, sizeof made->fifo, "pipe:%s", made->path);
    if (scheme == MEMORY) {
        CHECK(setenv("XDG_RUNTIME_DIR", made->root, 1) == 0);
        snprintf(made->socket, sizeof made->socket, "memory:here");
    } else {
        snprintf(made->socket, sizeof made->socket, "unix:%s", made->path);
    }
    made->options = (lace_seal_options){.key = test_key()};
}

/* Checks that nothing else is left in the folder. */
static void place_end(place *ended)
{
    unlink(ended->path);
    CHECK_MSG(rmdir(ended->folder) == 0, "%s is not empty", ended->folder);
    if (strcmp(ended->root, ended->folder) != 0)
        CHECK_MSG(rmdir(ended->root) == 0, "%s is not empty", ended->root);
}

static mode_t mode_of(const char *path)
{
    struct stat stat;

    CHECK(lstat(path, &stat) == 0);
    return stat.st_mode & 07777;
}

/* An opening in a thread of its own. */
typedef struct opening {
    thread runner;
    watch watching;
    const place *at;
    lace_listener *listener;
    lace_cancel *cancel;
    lace_status status;
    lace_sender *sender;
    lace_receiver *receiver;
} opening;

static void run_sender(void *context)
{
    opening *self = context;
    lace_wait wait = watch_wait(&self->watching, LACE_NEVER, self->cancel);
    self->status = lace_open_sender(self->at->fifo, &self->at->options, &wait, &self->sender);
}

static void run_client(void *context)
{
    opening *self = context;
    lace_wait wait = watch_wait(&self->watching, LACE_NEVER, self->cancel);
    self->status = lace_connect(self->at->socket, &self->at->options, &wait, &self->sender, &self->receiver);
}

static void run_accept(void *context)
{
    opening *self = context;
    lace_wait wait = watch_wait(&self->watching, LACE_NEVER, self->cancel);
    self->status = lace_accept(self->listener, &wait, &self->sender, &self->receiver);
}

static void opening_start(opening *started, const place *at, lace_listener *listener, lace_cancel *cancel,
                          void (*body)(void *))
{
    *started = (opening){.watching = WATCH_INIT, .at = at, .listener = listener, .cancel = cancel};
    thread_start(&started->runner, body, started);
}

static lace_status opening_join(opening *joined)
{
    thread_join(&joined->runner);
    return joined->status;
}

static void opening_end(opening *ended)
{
    lace_sender_destroy(ended->sender);
    lace_receiver_destroy(ended->receiver);
}

/* ---- FIFOs --------------------------------------------------------------------------------------------- */

START_TEST(test_i3_a_fifo)
{
    place at;
    opening writer;
    lace_receiver *receiver;
    lace_receiver *second;
    lace_sender *sender;
    lace_message *message = message_make(NULL);

    place_make(&at, UNIX);
    CHECK_STATUS(LACE_TIMEOUT, lace_open_sender(at.fifo, &at.options, TRY, &sender));
    CHECK_STATUS(LACE_TIMEOUT, lace_open_sender(at.fifo, &at.options, WITHIN_MS(20), &sender));
    CHECK_UINT(mode_of(at.path), 0600);
    opening_start(&writer, &at, NULL, NULL, run_sender);
    watch_until_parked(&writer.watching, 1);
    thread_until_asleep(&writer.runner);
    CHECK_OK(lace_open_receiver(at.fifo, &at.options, &receiver));
    CHECK_OK(opening_join(&writer));
    CHECK(strcmp(lace_receiver_name(receiver), at.fifo) == 0);
    CHECK_STATUS(LACE_BUSY, lace_open_receiver(at.fifo, &at.options, &second));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(receiver, message, TRY));
    CHECK_OK(send_text(writer.sender, "hello", NULL));
    CHECK_OK(lace_recv(receiver, message, NULL));
    CHECK(message_is(message, "hello"));
    CHECK_OK(lace_sender_finish(writer.sender, NULL));
    CHECK_STATUS(LACE_END, lace_recv(receiver, message, NULL));
    opening_end(&writer);
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
    place_end(&at);
}
END_TEST

START_TEST(test_i3_a_fifo_that_goes_away)
{
    place at;
    opening writer;
    lace_receiver *receiver;

    place_make(&at, UNIX);
    opening_start(&writer, &at, NULL, NULL, run_sender);
    for (int i = 0; i < 20; i++) {
        while (unlink(at.path) != 0) /* made again each time, or the loop does not end */
            CHECK(errno == ENOENT);
    }
    CHECK_OK(lace_open_receiver(at.fifo, &at.options, &receiver));
    CHECK_OK(opening_join(&writer));
    opening_end(&writer);
    lace_receiver_destroy(receiver);
    place_end(&at);
}
END_TEST

/* ---- sockets ------------------------------------------------------------------------------------------- */

START_TEST(test_i3_a_socket)
{
    place at;
    opening client;
    lace_listener *listener;
    lace_listener *second;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_message *message = message_make(NULL);
    int fd;

    place_make(&at, _i);
    CHECK_STATUS(LACE_TIMEOUT, lace_connect(at.socket, &at.options, TRY, &sender, &receiver));
    CHECK_STATUS(LACE_TIMEOUT, lace_connect(at.socket, &at.options, WITHIN_MS(20), &sender, &receiver));
    opening_start(&client, &at, NULL, NULL, run_client);
    watch_until_parked(&client.watching, 1);
    thread_until_asleep(&client.runner);
    CHECK_OK(lace_listen(at.socket, &at.options, &listener));
    CHECK_UINT(mode_of(at.path), 0600);
    CHECK(strcmp(lace_listener_name(listener), at.socket) == 0);
    CHECK_STATUS(LACE_BUSY, lace_listen(at.socket, &at.options, &second));
    CHECK_OK(lace_listener_fd(listener, &fd));
    size_t index;
    lace_case ready = {.kind = LACE_CASE_READABLE, .fd = fd};
    CHECK_OK(lace_select(&ready, 1, 0, NULL, &index));
    CHECK_OK(lace_accept(listener, NULL, &sender, &receiver));
    CHECK_OK(opening_join(&client));
    /* The second listener that looked whether there is one may still be in the set: this is what sends it home. */
    CHECK_STATUS(LACE_TIMEOUT, lace_accept(listener, TRY, &sender, &receiver));
    CHECK_STATUS(LACE_TIMEOUT, lace_select(&ready, 1, 0, WITHIN_MS(20), &index));
    CHECK_OK(send_text(sender, "to the client", NULL));
    CHECK_OK(send_text(client.sender, "to the server", NULL));
    CHECK_OK(lace_recv(receiver, message, NULL));
    CHECK(message_is(message, "to the server"));
    lace_listener_close(listener);
    CHECK(access(at.path, F_OK) != 0);
    CHECK(lace_listener_closed(listener));
    CHECK_STATUS(LACE_CLOSED, lace_accept(listener, NULL, &sender, &receiver));
    CHECK_STATUS(LACE_CLOSED, lace_listener_fd(listener, &fd));
    lace_listener_destroy(listener);
    CHECK_OK(lace_recv(client.receiver, message, NULL));
    CHECK(message_is(message, "to the client"));
    lace_sender_destroy(sender);
    CHECK_STATUS(LACE_END, lace_recv(client.receiver, message, NULL));
    lace_receiver_destroy(receiver);
    opening_end(&client);
    lace_message_destroy(message);
    place_end(&at);
}
END_TEST

/* ---- ending waits -------------------------------------------------------------------------------------- */

START_TEST(test_i3_cancelling_and_closing)
{
    static void (*const bodies[])(void *) = {run_sender, run_client, run_accept};
    place at[3];
    opening waiting[3];
    opening other;
    lace_listener *listener;
    lace_cancel *token;

    CHECK_OK(lace_cancel_create(NULL, &token));
    place_make(&at[0], UNIX);
    place_make(&at[1], _i);
    place_make(&at[2], UNIX); /* one place of memory at a time: the folder is named by the environment */
    CHECK_OK(lace_listen(at[2].socket, &at[2].options, &listener));
    for (int i = 0; i < 3; i++) {
        opening_start(&waiting[i], &at[i], listener, token, bodies[i]);
        watch_until_parked(&waiting[i].watching, 1);
    }
    opening_start(&other, &at[2], listener, NULL, run_accept);
    watch_until_parked(&other.watching, 1);
    lace_cancel_fire(token);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(LACE_CANCELLED, opening_join(&waiting[i]));
    thread_until_asleep(&other.runner);
    lace_listener_close(listener);
    CHECK_STATUS(LACE_CLOSED, opening_join(&other));
    CHECK_UINT(other.watching.parks, other.watching.unparks);
    lace_listener_destroy(listener);
    lace_cancel_destroy(token);
    for (int i = 0; i < 3; i++)
        place_end(&at[i]);
}
END_TEST

/* ---- what is refused ----------------------------------------------------------------------------------- */

static void check_refusal(lace_status want, lace_status got, const char *words)
{
    CHECK_STATUS(want, got);
    CHECK_MSG(strstr(lace_explain(got), words) != NULL, "'%s' is not in: %s", words, lace_explain(got));
}

/* A listener in memory is cancelled and closed as well. */
START_TEST(test_i3_closing_a_listener)
{
    place at;
    opening waiting, other;
    lace_listener *listener;
    lace_cancel *token;

    place_make(&at, _i);
    CHECK_OK(lace_cancel_create(NULL, &token));
    CHECK_OK(lace_listen(at.socket, &at.options, &listener));
    opening_start(&waiting, &at, listener, token, run_accept);
    opening_start(&other, &at, listener, NULL, run_accept);
    watch_until_parked(&waiting.watching, 1);
    watch_until_parked(&other.watching, 1);
    lace_cancel_fire(token);
    CHECK_STATUS(LACE_CANCELLED, opening_join(&waiting));
    lace_listener_close(listener);
    CHECK_STATUS(LACE_CLOSED, opening_join(&other));
    lace_listener_destroy(listener);
    lace_cancel_destroy(token);
    place_end(&at);
}
END_TEST

START_TEST(test_i3_names_of_memory)
{
    static const char *const bad[] = {"", ".hidden", "a/b", "..", "a b", "\xc3\xa9", "a\n", "/tmp/x",
                                      "12345678901234567890123456789012345678901234567890123456789012345"};
    place at;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_listener *listener;
    char address[128];

    place_make(&at, MEMORY);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(address, sizeof address, "memory:%s", bad[i]);
        check_refusal(LACE_INVALID, lace_listen(address, &at.options, &listener), "1 to 64 letters");
        check_refusal(LACE_INVALID, lace_connect(address, &at.options, TRY, &sender, &receiver), "1 to 64 letters");
    }
    CHECK(access(at.folder, F_OK) != 0);
    snprintf(address, sizeof address, "memory:A-b_c.9%054d", 0);
    CHECK_OK(lace_listen(address, &at.options, &listener));
    CHECK_UINT(mode_of(at.folder), 0700);
    lace_listener_destroy(listener);
    check_refusal(LACE_INVALID, lace_open_receiver("memory:x", &at.options, &receiver), "pipe:PATH");

    /* The folder is to be this user's alone. */
    CHECK(chmod(at.folder, 0750) == 0);
    check_refusal(LACE_EXPOSED, lace_listen(at.socket, &at.options, &listener), "0750");
    check_refusal(LACE_EXPOSED, lace_connect(at.socket, &at.options, TRY, &sender, &receiver), "chmod 700");
    CHECK(rmdir(at.folder) == 0 && symlink("/tmp", at.folder) == 0);
    check_refusal(LACE_MALFORMED, lace_listen(at.socket, &at.options, &listener), "no folder");
    CHECK(unlink(at.folder) == 0);
    if (geteuid() == 0) {
        CHECK(mkdir(at.folder, 0700) == 0 && chown(at.folder, 65534, -1) == 0);
        check_refusal(LACE_EXPOSED, lace_listen(at.socket, &at.options, &listener), "uid 65534");
        CHECK(rmdir(at.folder) == 0);
    }
    CHECK(setenv("XDG_RUNTIME_DIR", "/nowhere/at/all", 1) == 0);
    check_refusal(LACE_INVALID, lace_listen(at.socket, &at.options, &listener), "XDG_RUNTIME_DIR");

    /* Without one of the system's, it lies in the home folder; whatever the umask is. */
    char usual[64];
    snprintf(usual, sizeof usual, "/run/user/%u", (unsigned)geteuid());
    if (access(usual, F_OK) != 0) {
        umask(0777);
        CHECK(unsetenv("XDG_RUNTIME_DIR") == 0 && setenv("HOME", at.root, 1) == 0);
        snprintf(at.folder, sizeof at.folder, "%s/.interlace", at.root);
        CHECK_OK(lace_listen(at.socket, &at.options, &listener));
        CHECK_UINT(mode_of(at.folder), 0700);
        CHECK_STATUS(LACE_BUSY, lace_listen(at.socket, &at.options, &(lace_listener *){NULL}));
        lace_listener_destroy(listener);
    } else {
        CHECK(mkdir(at.folder, 0700) == 0);
    }
    place_end(&at);
}
END_TEST

START_TEST(test_i3_addresses_and_files)
{
    place at;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_listener *listener;
    char longer[300] = "unix:/tmp/";

    place_make(&at, UNIX);
    memset(longer + strlen(longer), 'x', 200);
    check_refusal(LACE_INVALID, lace_open_receiver(at.socket, &at.options, &receiver), "pipe:PATH");
    check_refusal(LACE_INVALID, lace_listen(at.fifo, &at.options, &listener), "unix:PATH");
    check_refusal(LACE_INVALID, lace_listen("unix:", &at.options, &listener), "names no file");
    check_refusal(LACE_INVALID, lace_listen(longer, &at.options, &listener), "too long");
    CHECK_STATUS(LACE_INVALID, lace_listen(at.socket, &(lace_seal_options){0}, &listener));
    CHECK_STATUS(LACE_INVALID, lace_open_sender(NULL, &at.options, TRY, &sender));
    CHECK_STATUS(LACE_SYSTEM, lace_open_receiver("pipe:/nowhere/x", &at.options, &receiver));
    CHECK(errno == ENOENT);
    CHECK_STATUS(LACE_SYSTEM, lace_connect("unix:/nowhere/x", &at.options, NULL, &sender, &receiver));
    CHECK(errno == ENOENT);

    CHECK(mkfifo(at.path, 0600) == 0 && chmod(at.path, 0620) == 0);
    check_refusal(LACE_EXPOSED, lace_open_sender(at.fifo, &at.options, TRY, &sender), "0620");
    check_refusal(LACE_EXPOSED, lace_open_receiver(at.fifo, &at.options, &receiver), "0620");
    check_refusal(LACE_MALFORMED, lace_listen(at.socket, &at.options, &listener), "no socket");
    CHECK(unlink(at.path) == 0 && symlink("/tmp/elsewhere", at.path) == 0);
    check_refusal(LACE_MALFORMED, lace_open_receiver(at.fifo, &at.options, &receiver), "symbolic link");
    check_refusal(LACE_MALFORMED, lace_connect(at.socket, &at.options, TRY, &sender, &receiver), "symbolic link");
    check_refusal(LACE_MALFORMED, lace_listen(at.socket, &at.options, &listener), "symbolic link");
    place_end(&at);
}
END_TEST

static int connect_plainly(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* Strangers who say nothing, half a word, garbage; in any order, and more than are kept. The one that greets is served. */
START_TEST(test_i3_strangers)
{
    place at;
    opening client;
    lace_listener *listener;
    lace_sender *sender;
    lace_receiver *receiver;
    int strangers[150];
    rng random = rng_start(__func__, (uint64_t)_i);
    unsigned refused = 0;
    unsigned garbage = 0;

    place_make(&at, _i % SCHEMES);
    CHECK_OK(lace_listen(at.socket, &at.options, &listener));
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        strangers[i] = connect_plainly(at.path);
        if (rng_below(&random, 3) == 0) {
            char noise[100];
            size_t size = 4 + rng_below(&random, sizeof noise - 4);

            for (size_t n = 0; n < size; n++)
                noise[n] = (char)rng_next(&random);
            CHECK(send(strangers[i], noise, size, MSG_NOSIGNAL) == (ssize_t)size);
            garbage++;
        } else if (rng_below(&random, 2) == 0) {
            CHECK(send(strangers[i], "LHG1 and no more", 1 + rng_below(&random, 16), MSG_NOSIGNAL) > 0);
        }
        if (rng_below(&random, 4) == 0) {
            lace_status status = lace_accept(listener, TRY, &sender, &receiver);

            CHECK(status == LACE_TIMEOUT || status == LACE_FORGED);
            refused += status == LACE_FORGED;
        }
    }
    opening_start(&client, &at, NULL, NULL, run_client);
    lace_status status;
    while ((status = lace_accept(listener, WITHIN_MS(20000), &sender, &receiver)) != LACE_OK) {
        CHECK_STATUS(LACE_FORGED, status);
        refused++;
    }
    CHECK_OK(opening_join(&client));
    while (lace_accept(listener, TRY, &(lace_sender *){NULL}, &(lace_receiver *){NULL}) == LACE_FORGED)
        refused++;
    CHECK_UINT(refused, garbage);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    opening_end(&client);
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        close(strangers[i]);
    lace_listener_destroy(listener);
    place_end(&at);
}
END_TEST

/* A listener whose queue is full is waited for, and an accept makes room. */
START_TEST(test_c4_a_full_queue)
{
    place at;
    opening clients[3];
    lace_listener *listener;
    static int fillers[8192]; /* more than the kernel queues, unless it has been told to */
    size_t filled = 0;
    struct rlimit files;
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    place_make(&at, _i);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", at.path);
    CHECK_OK(lace_listen(at.socket, &at.options, &listener));
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (; filled + 100 < sizeof fillers / sizeof *fillers && filled + 100 < files.rlim_cur; filled++) {
        fillers[filled] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fillers[filled] < 0 || connect(fillers[filled], (const struct sockaddr *)&address, sizeof address) != 0)
            break;
    }
    for (int i = 0; i < 3; i++) {
        opening_start(&clients[i], &at, NULL, NULL, run_client);
        watch_until_parked(&clients[i].watching, 1);
    }
    for (int i = 0; i < 3; i++) {
        lace_sender *sender;
        lace_receiver *receiver;

        CHECK_OK(lace_accept(listener, WITHIN_MS(20000), &sender, &receiver));
        lace_sender_destroy(sender);
        lace_receiver_destroy(receiver);
    }
    for (int i = 0; i < 3; i++) {
        CHECK_OK(opening_join(&clients[i]));
        opening_end(&clients[i]);
    }
    while (filled-- > 0)
        close(fillers[filled]);
    lace_listener_destroy(listener);
    place_end(&at);
}
END_TEST

TEST_MAIN("endpoints", TEST(test_i3_a_fifo), TEST(test_i3_a_fifo_that_goes_away),
          TEST_LOOP(test_i3_a_socket, SCHEMES), TEST_LOOP(test_i3_cancelling_and_closing, SCHEMES),
          TEST_LOOP(test_i3_closing_a_listener, SCHEMES), TEST(test_i3_names_of_memory),
          TEST(test_i3_addresses_and_files), TEST_LONG(test_i3_strangers, 2 * SCHEMES, 40),
          TEST_LONG(test_c4_a_full_queue, SCHEMES, 40))
