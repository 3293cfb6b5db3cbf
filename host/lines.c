/* lines.c - a thread that sends the lines of a descriptor as messages, once somebody wants them. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../channels/descriptor.h"
#include "host.h"

#define CHUNK 65536
#define BATCH 64

struct lace_lines {
    int fd;
    int stop_fd; /* eventfd: readable when the thread has to go */
    lace_sender *sender;
    lace_cancel *cancel;
    pthread_mutex_t lock; /* guards started */
    bool started;
    pthread_t thread;
    lace_pickle pickles[BATCH]; /* the thread's alone */
};

lace_lines *lace_stdin_lines;

lace_lines *lace_lines_create(int fd, lace_sender *sender)
{
    lace_lines *lines = calloc(1, sizeof *lines);
    if (lines == NULL)
        return NULL;
    lines->fd = fd;
    lines->stop_fd = lace_descriptor(eventfd(0, EFD_CLOEXEC));
    if (lines->stop_fd < 0 || lace_cancel_create(NULL, &lines->cancel) != LACE_OK) {
        if (lines->stop_fd >= 0)
            close(lines->stop_fd);
        free(lines);
        return NULL;
    }
    pthread_mutex_init(&lines->lock, NULL);
    lines->sender = sender;
    return lines;
}

/* Sends the first `count` of lines->pickles; false when nobody wants more. */
static bool send_batch(lace_lines *lines, size_t count)
{
    lace_payload payloads[BATCH] = {0};
    for (size_t i = 0; i < count; i++) {
        if (lines->pickles[i].failed)
            return false;
        payloads[i] = (lace_payload){.data = lines->pickles[i].data, .size = lines->pickles[i].size};
    }
    lace_wait wait = {.cancel = lines->cancel};
    size_t sent;
    return lace_send_many(lines->sender, payloads, count, &wait, &sent) == LACE_OK;
}

static size_t add_line(lace_lines *lines, size_t count, const char *text, size_t size)
{
    lace_pickle *pickle = &lines->pickles[count];
    lace_pickle_begin(pickle);
    lace_pickle_str(pickle, text, size);
    lace_pickle_end(pickle);
    return count + 1;
}

/* Reads on into the buffer: the bytes read, 0 at the end, -1 when it has to stop. */
static ssize_t read_more(lace_lines *lines, char *into, size_t room)
{
    for (;;) {
        struct pollfd pollers[2] = {{.fd = lines->fd, .events = POLLIN}, {.fd = lines->stop_fd, .events = POLLIN}};
        if (poll(pollers, 2, -1) < 0 && errno != EINTR)
            return -1;
        if (pollers[1].revents)
            return -1;
        if (pollers[0].revents & POLLNVAL)
            return 0; /* standard input was closed before we started: no lines */
        if (pollers[0].revents) {
            ssize_t n = read(lines->fd, into, room);
            if (n >= 0)
                return n;
            if (errno != EINTR && errno != EAGAIN) {
                lace_complain("standard input: %s", strerror(errno));
                return 0;
            }
        }
    }
}

static void *feed(void *argument)
{
    lace_lines *lines = argument;
    pthread_setname_np(pthread_self(), "standard input");
    size_t room = 2 * CHUNK, size = 0;
    char *buffer = malloc(room);
    bool wanted = buffer != NULL;
    ssize_t n = 1;
    while (wanted && n > 0) {
        if (room - size < CHUNK) {
            char *grown = realloc(buffer, room * 2);
            if (grown == NULL)
                break;
            buffer = grown;
            room *= 2;
        }
        n = read_more(lines, buffer + size, CHUNK);
        if (n < 0)
            break;
        size_t start = 0, count = 0, scanned = size;
        size += (size_t)n;
        for (char *newline; wanted && (newline = memchr(buffer + scanned, '\n', size - scanned)) != NULL;) {
            size_t end = (size_t)(newline - buffer);
            count = add_line(lines, count, buffer + start, end - start);
            start = scanned = end + 1;
            if (count == BATCH) {
                wanted = send_batch(lines, count);
                count = 0;
            }
        }
        if (n == 0 && start < size) { /* a last line without a newline */
            count = add_line(lines, count, buffer + start, size - start);
            start = size;
        }
        if (wanted && count > 0)
            wanted = send_batch(lines, count);
        memmove(buffer, buffer + start, size - start);
        size -= start;
    }
    free(buffer);
    lace_sender_close(lines->sender);
    return NULL;
}

void lace_lines_want(lace_lines *lines)
{
    pthread_mutex_lock(&lines->lock);
    if (!lines->started) {
        lines->started = pthread_create(&lines->thread, NULL, feed, lines) == 0;
        if (!lines->started) {
            lace_complain("no thread to read standard input with: %s", strerror(errno));
            lace_sender_close(lines->sender);
        }
    }
    pthread_mutex_unlock(&lines->lock);
}

void lace_lines_destroy(lace_lines *lines)
{
    if (lines == NULL)
        return;
    lace_cancel_fire(lines->cancel);
    uint64_t one = 1;
    if (write(lines->stop_fd, &one, sizeof one) < 0)
        lace_complain("eventfd: %s", strerror(errno));
    if (lines->started)
        pthread_join(lines->thread, NULL);
    lace_sender_destroy(lines->sender);
    lace_cancel_destroy(lines->cancel);
    close(lines->stop_fd);
    for (size_t i = 0; i < BATCH; i++)
        free(lines->pickles[i].data);
    pthread_mutex_destroy(&lines->lock);
    free(lines);
}
