/* place.c - a memory channel between two processes beside one between two threads: round trips, and 64 MiB handed over.
 *
 *   meson test -C build/3.14 --benchmark --verbose place        or: build/3.14/bench_place [ROUNDS]
 *
 * A round trip is 8 bytes there and back over two channels; three passes each, one after the other, the best counts.
 */
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../channels/place.h"

#define BIG ((size_t)64 << 20)

static void check(lace_status status)
{
    if (status != LACE_OK) {
        fprintf(stderr, "place: %s\n", lace_explain(status));
        exit(1);
    }
}

/* One side: sends back all that comes, with the block that came along. */
typedef struct side {
    lace_region *region;
    lace_receiver *in;
    lace_sender *out;
} side;

static void *echo(void *context)
{
    side *self = context;
    lace_message *message;

    check(lace_message_create(self->region, &message));
    while (lace_recv(self->in, message, NULL) == LACE_OK) {
        lace_attachment block;
        lace_payload payload = {.data = lace_message_data(message), .size = lace_message_size(message)};

        if (lace_message_attachments(message) == 1) {
            check(lace_message_take(message, 0, &block));
            payload.attachments = &block;
            payload.attachment_count = 1;
        }
        check(lace_send(self->out, &payload, NULL));
    }
    lace_message_destroy(message);
    lace_receiver_destroy(self->in);
    lace_sender_destroy(self->out);
    return NULL;
}

/* ---- the child ---------------------------------------------------------------------------------------- */

static int child(int fd, uint32_t seat)
{
    lace_attachment in, out;
    side self;

    check(lace_region_attach(fd, seat, NULL, &self.region));
    check(lace_place_take(self.region, &in));
    check(lace_place_take(self.region, &out));
    self.in = in.as.receiver;
    self.out = out.as.sender;
    echo(&self);
    return 0;
}

static pid_t start_child(const char *program, lace_place *place, side *its)
{
    lace_attachment in = {.kind = LACE_ATTACH_RECEIVER, .as.receiver = its->in};
    lace_attachment out = {.kind = LACE_ATTACH_SENDER, .as.sender = its->out};
    char fd[16], seat[16];
    char *argv[] = {(char *)(uintptr_t)program, fd, seat, NULL, NULL};
    int inherited = dup(lace_region_descriptor(its->region));
    pid_t pid;

    check(lace_place_give(place, &in));
    check(lace_place_give(place, &out));
    snprintf(fd, sizeof fd, "%d", inherited);
    snprintf(seat, sizeof seat, "%u", lace_place_seat(place));
    if (inherited < 0 || posix_spawn(&pid, program, NULL, NULL, argv, environ) != 0)
        exit(1);
    close(inherited);
    return pid;
}

/* ---- the host ----------------------------------------------------------------------------------------- */

static double measure(lace_sender *to, lace_receiver *from, lace_message *message, unsigned rounds)
{
    const lace_payload payload = {.data = "8 bytes", .size = 8};
    int64_t started = lace_clock();

    for (unsigned i = 0; i < rounds; i++) {
        check(lace_send(to, &payload, NULL));
        check(lace_recv(from, message, NULL));
    }
    return (double)(lace_clock() - started) / rounds;
}

static double hand_over(lace_region *region, lace_sender *to, lace_receiver *from, lace_message *message)
{
    lace_attachment block = {.kind = LACE_ATTACH_BLOCK};
    double best = 1e12;

    check(lace_block_create(region, BIG, &block.as.block));
    memset(lace_block_data(block.as.block), 1, BIG);
    for (int i = 0; i < 20; i++) {
        const lace_payload payload = {.attachments = &block, .attachment_count = 1};
        int64_t started = lace_clock();

        check(lace_send(to, &payload, NULL));
        check(lace_recv(from, message, NULL));
        if ((double)(lace_clock() - started) < best)
            best = (double)(lace_clock() - started);
        check(lace_message_take(message, 0, &block));
    }
    lace_block_destroy(block.as.block);
    return best;
}

static void run(const char *program, bool process, unsigned rounds, double *trip, double *big)
{
    const lace_channel_options options = {.capacity = 1};
    lace_region *region;
    lace_sender *to;
    lace_receiver *from;
    lace_message *message;
    lace_place *place = NULL;
    pthread_t thread;
    side other;
    pid_t pid = 0;

    check(lace_region_create(NULL, &region));
    check(lace_channel_create(region, &options, &to, &other.in));
    check(lace_channel_create(region, &options, &other.out, &from));
    check(lace_message_create(region, &message));
    other.region = region;
    if (process) {
        check(lace_place_create(region, &place));
        pid = start_child(program, place, &other);
    } else if (pthread_create(&thread, NULL, echo, &other) != 0) {
        exit(1);
    }
    measure(to, from, message, rounds / 10 + 1);
    double now = measure(to, from, message, rounds);
    if (now < *trip)
        *trip = now;
    now = hand_over(region, to, from, message);
    if (now < *big)
        *big = now;
    lace_sender_destroy(to);
    if (process)
        waitpid(pid, NULL, 0);
    else
        pthread_join(thread, NULL);
    lace_place_bury(place);
    lace_receiver_destroy(from);
    lace_message_destroy(message);
    check(lace_region_abandon(region));
}

int main(int argc, char **argv)
{
    double trip[2] = {1e12, 1e12}, big[2] = {1e12, 1e12};
    unsigned rounds = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;

    if (argc == 3) /* FD SEAT */
        return child(atoi(argv[1]), (uint32_t)atoi(argv[2]));
    for (int pass = 0; pass < 3; pass++) {
        for (int process = 0; process < 2; process++)
            run("/proc/self/exe", process, rounds, &trip[process], &big[process]);
    }
    printf("round trip   two threads %8.0f ns   two processes %8.0f ns   ratio %.2f\n", trip[0], trip[1],
           trip[1] / trip[0]);
    printf("64 MiB       two threads %8.0f ns   two processes %8.0f ns   there and back\n", big[0], big[1]);
    return 0;
}
