/* seal.c - what a seal costs: frames through a pipe, a sealed pipe and a sealed socket, from one thread to another.
 *
 *   meson test -C build/3.14 --benchmark --verbose seal        or: build/3.14/bench_seal [SECONDS]
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../channels/channel.h"

typedef enum kind { PIPE, SEALED_PIPE, SOCKET, SEALED_SOCKET, KINDS } kind;
static const char *const names[KINDS] = {"pipe", "sealed pipe", "socket", "sealed socket"};

typedef struct run {
    lace_sender *sender[2];
    lace_receiver *receiver[2];
    int fds[2];
    size_t size;
    double seconds;
} run;

static lace_key *key;

static void check(lace_status status)
{
    if (status != LACE_OK) {
        fprintf(stderr, "seal: %s\n", lace_explain(status));
        exit(1);
    }
}

static void *serve(void *context)
{
    run *self = context;
    check(lace_sealed_socket(self->fds[1], LACE_ROLE_SERVER, &(lace_seal_options){.key = key}, NULL, &self->sender[1],
                             &self->receiver[1]));
    return NULL;
}

static void open_ends(run *self, kind over)
{
    lace_seal_options options = {.key = key};
    pthread_t other;
    if ((over == SOCKET || over == SEALED_SOCKET ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->fds)
                                                 : pipe2(self->fds, O_CLOEXEC)) != 0)
        exit(1);
    if (over == SEALED_SOCKET) {
        if (pthread_create(&other, NULL, serve, self) != 0)
            exit(1);
        check(
            lace_sealed_socket(self->fds[0], LACE_ROLE_CLIENT, &options, NULL, &self->sender[0], &self->receiver[0]));
        pthread_join(other, NULL);
    } else if (over == SEALED_PIPE) {
        check(lace_sealed_sender(self->fds[1], &options, &self->sender[0]));
        check(lace_sealed_receiver(self->fds[0], &options, &self->receiver[1]));
    } else {
        check(lace_pipe_sender(self->fds[1], NULL, &self->sender[0]));
        check(lace_pipe_receiver(self->fds[0], NULL, &self->receiver[1]));
    }
}

static void *fill(void *context)
{
    run *self = context;
    char *data = calloc(self->size, 1);
    lace_payload payload = {.data = data, .size = self->size};
    int64_t end = lace_clock() + (int64_t)(self->seconds * 1e9);
    while (lace_clock() < end)
        check(lace_send(self->sender[0], &payload, NULL));
    lace_sender_close(self->sender[0]);
    free(data);
    return NULL;
}

/* Nanoseconds a frame. */
static double measure(kind over, size_t size, double seconds)
{
    run self = {.size = size, .seconds = seconds};
    lace_message *message;
    pthread_t other;
    uint64_t count = 0;
    check(lace_message_create(NULL, &message));
    open_ends(&self, over);
    if (pthread_create(&other, NULL, fill, &self) != 0)
        exit(1);
    check(lace_recv(self.receiver[1], message, NULL));
    int64_t start = lace_clock();
    lace_status status;
    while ((status = lace_recv(self.receiver[1], message, NULL)) == LACE_OK)
        count++;
    int64_t took = lace_clock() - start;
    if (status != LACE_END)
        check(status);
    pthread_join(other, NULL);
    for (int i = 0; i < 2; i++) {
        lace_sender_destroy(self.sender[i]);
        lace_receiver_destroy(self.receiver[i]);
    }
    lace_message_destroy(message);
    return (double)took / (double)(count > 0 ? count : 1);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    check(lace_key_create(&key));
    for (kind over = 0; over < KINDS; over++)
        printf("%-14s %7.0f ns for 100 bytes, %6.0f MB/s in frames of 1 MB\n", names[over],
               measure(over, 100, seconds), 1e6 / measure(over, 1000000, seconds) * 1e3);
    lace_key_destroy(key);
    return 0;
}
