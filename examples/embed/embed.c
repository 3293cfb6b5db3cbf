/* embed.c - Python in a C program: a worker is sent texts, and answers with the most frequent word of each. */
#include <interlace/interlace.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char code[] = "import collections, interlace\n"
                           "for text in interlace.input:\n"
                           "    [answer] = collections.Counter(text.split()).most_common(1)\n"
                           "    interlace.output.send(answer)\n";

static void check(lace_status status)
{
    if (status == LACE_OK)
        return;
    fprintf(stderr, "embed: %s\n", lace_problem());
    exit(EXIT_FAILURE);
}

static lace_status ask(lace_sender *work, lace_receiver *answers, const char *text)
{
    lace_value *answer = NULL;
    const char *word;
    int64_t times;
    lace_status status = lace_send_value(work, lace_value_str(text), NULL);
    if (status == LACE_OK)
        status = lace_recv_value(answers, NULL, &answer);
    if (status == LACE_OK)
        status = lace_value_unpack(answer, "(sl)", &word, &times);
    if (status == LACE_OK)
        printf("%s (%" PRId64 ")\n", word, times);
    lace_value_destroy(answer);
    return status;
}

int main(int argc, char **argv)
{
    lace_host *host;
    lace_worker *worker;
    lace_sender *work;
    lace_receiver *answers;
    lace_value *result = NULL;
    lace_worker_options options = {.code = code, .name = "counter"};
    lace_channel_options one = {.capacity = 1};

    check(lace_host_open(NULL, &host));
    check(lace_host_channel(host, &one, &work, &options.input));
    check(lace_host_channel(host, &one, &options.output, &answers));
    check(lace_worker_start(host, &options, &worker));

    lace_status status = LACE_OK;
    for (int i = 1; i < argc && status == LACE_OK; i++)
        status = ask(work, answers, argv[i]);

    lace_sender_destroy(work); /* there is no more: the worker's loop ends, and so does the worker */
    lace_receiver_destroy(answers);
    check(lace_worker_result(worker, NULL, &result)); /* if it has failed, this says why */
    if (status != LACE_OK)
        fprintf(stderr, "embed: %s\n", lace_problem());
    lace_value_destroy(result);
    lace_worker_destroy(worker);
    check(lace_host_close(host));
    return status == LACE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
