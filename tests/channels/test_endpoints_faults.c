/* test_endpoints_faults.c - endpoints with names when memory and descriptors run out: a clear status each time, and nothing
 * is left behind, no descriptor and no file. Needs channels/ with hooks. */
#include "fixture.h"

#include "../../channels/hooks.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if !LACE_HOOKS
#error "test_endpoints_faults.c needs -DLACE_HOOKS=1, here and in channels/"
#endif

static _Thread_local unsigned left; /* calls of this thread that still succeed; 0: none was to fail */
static _Atomic bool failed;

static bool fail_after(enum lace_fault site)
{
    if (site == LACE_FAULT_READ || site == LACE_FAULT_WRITE || site == LACE_FAULT_SHORT || site == LACE_FAULT_HEAP)
        return false;
    if (left == 0 || --left > 0)
        return false;
    failed = true;
    return true;
}

static unsigned entries(const char *folder)
{
    unsigned count = 0;
    DIR *open = opendir(folder);

    CHECK(open != NULL);
    while (readdir(open) != NULL)
        count++;
    closedir(open);
    return count;
}

static char folder[64];
static char fifo[96];
static char where[96];
static char home[96]; /* where the socket lies */
static lace_seal_options options;

static void setup(bool memory)
{
    snprintf(folder, sizeof folder, "/tmp/lace-test-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(fifo, sizeof fifo, "pipe:%s/fifo", folder);
    snprintf(home, sizeof home, "%s%s", folder, memory ? "/interlace" : "");
    if (memory) {
        CHECK(setenv("XDG_RUNTIME_DIR", folder, 1) == 0 && mkdir(home, 0700) == 0);
        snprintf(where, sizeof where, "memory:socket");
    } else {
        snprintf(where, sizeof where, "unix:%s/socket", folder);
    }
    options = (lace_seal_options){.key = test_key()};
    lace_hooks.fail = fail_after;
}

static void check_status(lace_status status)
{
    CHECK_MSG(status == LACE_OK || status == LACE_NOMEM || status == LACE_SYSTEM, "it gave %s", status_name(status));
}

/* Has the n-th call of the operation fail, for each n, until nothing is left to fail. */
static void fail_each(void (*operation)(void), unsigned files)
{
    operation(); /* what is made once for all is there then */
    unsigned before = entries("/proc/self/fd");
    unsigned tries = 0;

    do {
        failed = false;
        left = ++tries;
        operation();
        left = 0;
        CHECK_UINT(entries("/proc/self/fd"), before);
        CHECK_UINT(entries(home), 2 + files);
    } while (failed);
    CHECK(tries > 3);
    operation();
}

static void open_and_close(void)
{
    lace_receiver *receiver;
    lace_sender *sender;
    lace_status status = lace_open_receiver(fifo, &options, &receiver);

    check_status(status);
    if (status != LACE_OK)
        return;
    status = lace_open_sender(fifo, &options, NULL, &sender);
    check_status(status);
    if (status == LACE_OK)
        lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
}

static void listen_and_close(void)
{
    lace_listener *listener;
    lace_status status = lace_listen(where, &options, &listener);

    check_status(status);
    if (status == LACE_OK) {
        lace_sender *sender;
        lace_receiver *receiver;

        status = lace_accept(listener, WITHIN_MS(1), &sender, &receiver);
        CHECK(status == LACE_TIMEOUT || status == LACE_SYSTEM);
        lace_listener_destroy(listener);
    }
}

static void connect_in_vain(void)
{
    lace_sender *sender;
    lace_receiver *receiver;
    lace_status status = lace_connect(where, &options, WITHIN_MS(1), &sender, &receiver);

    CHECK_MSG(status == LACE_TIMEOUT || status == LACE_NOMEM || status == LACE_SYSTEM, "it gave %s",
              status_name(status));
}

static void connect_client(void *context)
{
    lace_sender *sender;
    lace_receiver *receiver;

    (void)context;
    lace_status status = lace_connect(where, &options, NULL, &sender, &receiver);
    CHECK(status == LACE_OK || status == LACE_TRUNCATED);
    if (status == LACE_OK) {
        lace_sender_destroy(sender);
        lace_receiver_destroy(receiver);
    }
}

/* The accepting side fails, and the other one is told. */
static void accept_one(void)
{
    static lace_listener *listener;
    lace_sender *sender;
    lace_receiver *receiver;
    unsigned kept = left;
    size_t index;
    thread client;

    left = 0;
    CHECK_OK(lace_listen(where, &options, &listener));
    thread_start(&client, connect_client, NULL);
    /* It has connected, or it would wait for the next listener after all this. */
    lace_case ready = {.kind = LACE_CASE_READABLE};
    CHECK_OK(lace_listener_fd(listener, &ready.fd));
    CHECK_OK(lace_select(&ready, 1, 0, NULL, &index));
    left = kept;
    lace_status status = lace_accept(listener, NULL, &sender, &receiver);
    left = 0;
    check_status(status);
    if (status == LACE_OK) {
        lace_sender_destroy(sender);
        lace_receiver_destroy(receiver);
    }
    lace_listener_destroy(listener);
    thread_join(&client);
}

static void end(void)
{
    char path[96];

    lace_hooks.fail = NULL;
    snprintf(path, sizeof path, "%s", fifo + strlen("pipe:"));
    unlink(path);
    CHECK(rmdir(home) == 0);
    if (strcmp(home, folder) != 0)
        CHECK(rmdir(folder) == 0);
}

START_TEST(test_i3_a_fifo_without_means)
{
    setup(false);
    fail_each(open_and_close, 1);
    end();
}
END_TEST

START_TEST(test_i3_a_listener_without_means)
{
    setup(_i != 0);
    fail_each(listen_and_close, 0);
    end();
}
END_TEST

START_TEST(test_i3_connecting_without_means)
{
    setup(_i != 0);
    left = 0;
    connect_in_vain();
    for (unsigned n = 1; n < 6; n++) {
        left = n;
        connect_in_vain();
        left = 0;
        CHECK_UINT(entries(home), 2);
    }
    end();
}
END_TEST

START_TEST(test_i3_accepting_without_means)
{
    setup(_i != 0);
    fail_each(accept_one, 0);
    end();
}
END_TEST

TEST_MAIN("endpoints_faults", TEST(test_i3_a_fifo_without_means), TEST_LOOP(test_i3_a_listener_without_means, 2),
          TEST_LOOP(test_i3_connecting_without_means, 2), TEST_LOOP(test_i3_accepting_without_means, 2))
