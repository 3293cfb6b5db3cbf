/* outside.c - what a pipeline has at its two sides instead of standard input and output: endpoints with names.
 *
 * A socket, or memory, as the input has many clients, and a stage one receiver: a thread accepts them, and one for each of them
 * passes on what it sends, as it is, to a channel that the first stage receives from. When clients have come and the last
 * of them has left, that channel ends, as a FIFO does. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

#define FROM_CLIENTS 64 /* messages that may wait for the first stage */

struct lace_outside {
    lace_receiver *input; /* for the first stage, taken by it; NULL: there is none */
    lace_sender *output;  /* for the last stage; NULL: there is none */
    lace_listener *listener;
    lace_sender *gathered; /* the clients' messages; of the accepting thread once that runs */
    lace_cancel *over;     /* fired when no more clients are to be taken, below the host's scope */
    pthread_t thread;
    bool runs;
    atomic_bool failed;   /* a client was cut off */
    pthread_mutex_t lock; /* guards the next two; held for a few instructions */
    pthread_cond_t left;  /* `clients` is less */
    size_t clients;
};

typedef struct client {
    lace_outside *outside;
    lace_receiver *from;
    lace_sender *to;
} client;

/* ---- clients ------------------------------------------------------------------------------------------- */

static void *pass_on(void *context)
{
    client *self = context;
    lace_outside *outside = self->outside;
    lace_wait wait = {.cancel = outside->over};
    lace_message *message = NULL;
    lace_status status = lace_message_create(NULL, &message);
    while (status == LACE_OK && (status = lace_recv(self->from, message, &wait)) == LACE_OK) {
        lace_payload payload = {.data = lace_message_data(message), .size = lace_message_size(message)};
        status = lace_send(self->to, &payload, &wait);
        if (status == LACE_BROKEN)
            lace_cancel_fire(outside->over); /* the first stage wants no more */
    }
    if (status != LACE_END && status != LACE_BROKEN && status != LACE_CANCELLED) {
        lace_complain("pipe: --input: lost a client of '%s': %s", lace_listener_name(outside->listener),
                      status == LACE_SYSTEM ? strerror(errno) : lace_explain(status));
        atomic_store(&outside->failed, true);
    }
    lace_message_destroy(message);
    lace_receiver_destroy(self->from);
    lace_sender_destroy(self->to);
    free(self);
    pthread_mutex_lock(&outside->lock);
    if (--outside->clients == 0) {
        lace_cancel_fire(outside->over); /* they have come, and they have all left */
        pthread_cond_signal(&outside->left);
    }
    pthread_mutex_unlock(&outside->lock);
    return NULL;
}

/* Starts a thread for a client; takes its receiver. */
static bool begin_client(lace_outside *outside, lace_receiver *from)
{
    client *one = calloc(1, sizeof *one);
    pthread_attr_t detached;
    pthread_t thread;
    if (one == NULL || lace_sender_clone(outside->gathered, &one->to) != LACE_OK) {
        lace_receiver_destroy(from);
        free(one);
        return false;
    }
    one->outside = outside;
    one->from = from;
    pthread_mutex_lock(&outside->lock);
    outside->clients++;
    pthread_mutex_unlock(&outside->lock);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    bool begun = pthread_create(&thread, &detached, pass_on, one) == 0;
    pthread_attr_destroy(&detached);
    if (!begun) {
        lace_receiver_destroy(from);
        lace_sender_destroy(one->to);
        free(one);
        pthread_mutex_lock(&outside->lock);
        outside->clients--;
        pthread_mutex_unlock(&outside->lock);
    }
    return begun;
}

static void *accept_all(void *context)
{
    lace_outside *outside = context;
    lace_wait wait = {.cancel = outside->over};
    for (;;) {
        lace_sender *answers;
        lace_receiver *from;
        lace_status status = lace_accept(outside->listener, &wait, &answers, &from);
        if (status == LACE_CANCELLED || status == LACE_CLOSED)
            break;
        if (status == LACE_OK) {
            lace_sender_destroy(answers); /* a pipeline does not answer */
            if (begin_client(outside, from))
                continue;
            status = LACE_NOMEM;
        }
        bool stranger = status == LACE_FOREIGN || (status >= LACE_WRONG_KEY && status <= LACE_SPLICED);
        lace_complain("pipe: --input: refused a client of '%s': %s", lace_listener_name(outside->listener),
                      status == LACE_SYSTEM ? strerror(errno) : lace_explain(status));
        if (stranger)
            continue;
        atomic_store(&outside->failed, true); /* no memory, no descriptors: whoever is there may end */
        break;
    }
    lace_listener_close(outside->listener);
    lace_sender_destroy(outside->gathered);
    outside->gathered = NULL;
    pthread_mutex_lock(&outside->lock);
    while (outside->clients > 0)
        pthread_cond_wait(&outside->left, &outside->lock);
    pthread_mutex_unlock(&outside->lock);
    return NULL;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* Whether it is one where a side listens and others connect. */
static bool has_clients(const char *address)
{
    return strncmp(address, "unix:", 5) == 0 || strncmp(address, "memory:", 7) == 0;
}

static lace_status listen_for_input(lace_outside *outside, const char *address, const lace_seal_options *options)
{
    lace_channel_options channel = {.capacity = FROM_CLIENTS, .name = address};
    lace_status status = lace_listen(address, options, &outside->listener);
    if (status == LACE_OK)
        status = lace_channel_create(lace_region_of_host(), &channel, &outside->gathered, &outside->input);
    if (status != LACE_OK)
        return status;
    outside->runs = pthread_create(&outside->thread, NULL, accept_all, outside) == 0;
    return outside->runs ? LACE_OK : LACE_NOMEM;
}

static lace_status open_output(lace_outside *outside, const char *address, const lace_seal_options *options)
{
    lace_wait wait = {.cancel = lace_scope_cancel_token(lace_host_scope())};
    lace_receiver *answers;
    if (!has_clients(address))
        return lace_open_sender(address, options, &wait, &outside->output);
    lace_status status = lace_connect(address, options, &wait, &outside->output, &answers);
    if (status == LACE_OK)
        lace_receiver_destroy(answers);
    return status;
}

/* *ret_code is the exit code where it has not. */
static bool has_opened(lace_status status, const char *option, const char *address, int *ret_code)
{
    if (status == LACE_INVALID)
        *ret_code = LACE_EXIT_USAGE;
    if (status == LACE_SYSTEM)
        lace_complain("pipe: %s '%s': %s", option, address, strerror(errno));
    else if (status == LACE_INVALID && strncmp(address, "pipe:", 5) != 0 && !has_clients(address))
        lace_complain("pipe: %s takes an address, pipe:/path/to/fifo, unix:/path/to/socket or memory:NAME, not '%s'",
                      option, address);
    else if (status != LACE_OK && status != LACE_CANCELLED) /* a signal says enough */
        lace_complain("pipe: %s '%s': %s", option, address, lace_explain(status));
    return status == LACE_OK;
}

lace_outside *lace_outside_open(const lace_command_options *options, int *ret_code)
{
    *ret_code = 1;
    lace_key *key;
    if (lace_key_load_own(options->key, &key) != LACE_OK) {
        lace_complain("pipe: %s", lace_problem());
        return NULL;
    }
    lace_outside *outside = calloc(1, sizeof *outside);
    lace_seal_options seal = {.key = key};
    bool opened = outside != NULL &&
                  lace_cancel_create(lace_scope_cancel_token(lace_host_scope()), &outside->over) == LACE_OK;
    if (!opened)
        lace_complain("pipe: out of memory");
    if (outside != NULL) {
        pthread_mutex_init(&outside->lock, NULL);
        pthread_cond_init(&outside->left, NULL);
    }
    if (opened && options->input != NULL)
        opened = has_opened(has_clients(options->input) ? listen_for_input(outside, options->input, &seal)
                                                      : lace_open_receiver(options->input, &seal, &outside->input),
                            "--input", options->input, ret_code);
    if (opened && options->output != NULL)
        opened = has_opened(open_output(outside, options->output, &seal), "--output", options->output,
                            ret_code);
    lace_key_destroy(key);
    if (!opened && outside != NULL)
        lace_outside_close(outside);
    return opened ? outside : NULL;
}

lace_receiver *lace_outside_input(lace_outside *outside)
{
    lace_receiver *input = outside->input;
    outside->input = NULL;
    return input;
}

lace_sender *lace_outside_output(const lace_outside *outside)
{
    return outside->output;
}

bool lace_outside_close(lace_outside *outside)
{
    if (outside->over != NULL)
        lace_cancel_fire(outside->over);
    if (outside->runs)
        pthread_join(outside->thread, NULL);
    else
        lace_sender_destroy(outside->gathered);
    lace_receiver_destroy(outside->input);
    if (outside->output != NULL) {
        /* The workers' senders are closed: this says that the stream ends. Whoever reads may take their time. */
        lace_wait wait = {.cancel = lace_scope_cancel_token(lace_host_scope())};
        lace_sender_finish(outside->output, &wait);
        lace_sender_destroy(outside->output);
    }
    lace_listener_destroy(outside->listener);
    if (outside->over != NULL)
        lace_cancel_destroy(outside->over);
    pthread_cond_destroy(&outside->left);
    pthread_mutex_destroy(&outside->lock);
    bool well = !atomic_load(&outside->failed);
    free(outside);
    return well;
}
