/* ours_embed.c - Interlace in a C application: 100 bytes to a worker and back. */
#include "../../host/interlace.h"
#include "raw.h"

#define SIZE 100

static lace_sender *to_worker;
static lace_receiver *from_worker;

static void must(lace_status status)
{
    if (status != LACE_OK) {
        fprintf(stderr, "%s: %s\n", lace_strerror(status), lace_problem());
        exit(1);
    }
}

static void trip(void *context)
{
    const char *message = context;
    const void *data;
    size_t size;
    lace_value *value;
    must(lace_send_value(to_worker, lace_value_bytes(message, SIZE), NULL));
    must(lace_recv_value(from_worker, NULL, &value));
    must(lace_value_get_bytes(value, &data, &size));
    check(size == SIZE && memcmp(data, message, SIZE) == 0);
    lace_value_destroy(value);
}

static void measure(const char *row)
{
    static char message[SIZE];
    lace_host *host;
    lace_worker *worker;
    lace_worker_options options = {.code = "import interlace, measure\n"
                                           "measure.echo(interlace.input.recv, interlace.output.send)\n"};
    lace_channel_options one = {.capacity = 1};
    memset(message, 'x', SIZE);
    must(lace_host_open(NULL, &host));
    must(lace_host_channel(host, &one, &to_worker, &options.input));
    must(lace_host_channel(host, &one, &options.output, &from_worker));
    must(lace_worker_start(host, &options, &worker));
    for (int64_t settled = now() + 100000000; now() < settled;)
        trip(message); /* the worker has started, and each side has found a processor */
    repeat(trip, message);
    tell(row, "interlace", percentile(0.5));
    must(lace_send_value(to_worker, lace_value_none(), NULL));
    must(lace_worker_wait(worker, NULL));
    lace_worker_destroy(worker);
    lace_sender_destroy(to_worker);
    lace_receiver_destroy(from_worker);
    must(lace_host_close(host));
}
