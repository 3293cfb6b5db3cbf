/* output.c - whole lines from many workers on one stdout and one stderr.
 *
 * What a worker writes is passed on up to its last newline; the rest, its tail, waits for the newline. A tail is
 * shown at once when nobody can get between: when one worker at most is alive, or on a terminal, where another
 * worker's text then starts on a line of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../channels/text.h"
#include "process.h"
#include "shown.h"

#define LONGEST_TAIL ((size_t)1 << 20) /* a longer unfinished line is passed on in pieces */

typedef struct stream {
    int fd;
    pthread_mutex_t lock; /* guards everything below and the writing to fd; taken without a GIL, held while writing */
    uint64_t *open_line;  /* whose unfinished line the descriptor's last line is; 0: it is finished */
} stream;

/* Where the workers of several processes print, a stream has a second lock: of a byte in a file, by an open file and not by
 * a process, since the kernel would take two streams and two processes for a deadlock. It lets go of the lock of a process
 * that dies. The word that open_line points to lies in memory that all have then. */
static uint64_t own_lines[2];
static stream streams[2] = {{1, PTHREAD_MUTEX_INITIALIZER, &own_lines[0]},
                            {2, PTHREAD_MUTEX_INITIALIZER, &own_lines[1]}};
static int turns_fd = -1; /* that file's; -1: there is one process. Written with both locks */
static bool tagging;      /* set before the first worker starts, like the next two */
static lace_output sink;  /* where it goes instead; NULL: nowhere else */
static void *sink_context;

/* Who writes: a number that no other writer has, in whatever process. */
static uint64_t writer(const lace_worker *worker)
{
    return (uint64_t)getpid() << 32 | (worker != NULL ? (uint32_t)worker->id + 1 : 1);
}

#define NOBODY 1 /* an open line that is nobody's any more */

void lace_output_configure(bool tag, lace_output output, void *context)
{
    tagging = tag;
    sink = output;
    sink_context = context;
    own_lines[0] = own_lines[1] = 0; /* what was written last, to where it leads now, is not known */
}

bool lace_output_is_taken(void)
{
    return sink != NULL;
}

bool lace_output_tags(void)
{
    return tagging;
}

void lace_output_pass(const char *worker, int fd, const char *text, size_t size)
{
    stream *out = &streams[fd == 2];
    pthread_mutex_lock(&out->lock);
    if (sink != NULL)
        sink(sink_context, worker, fd, text, size);
    pthread_mutex_unlock(&out->lock);
}

void lace_output_share(int fd, void *shared)
{
    uint64_t *lines = shared != NULL ? shared : own_lines;
    for (int i = 0; i < 2; i++)
        pthread_mutex_lock(&streams[i].lock);
    for (int i = 0; i < 2; i++) {
        if (shared == NULL)
            lines[i] = *streams[i].open_line; /* those who share it are gone */
        else if (lines[i] == 0 && *streams[i].open_line != 0)
            lines[i] = *streams[i].open_line;
        streams[i].open_line = &lines[i];
    }
    turns_fd = fd;
    for (int i = 1; i >= 0; i--)
        pthread_mutex_unlock(&streams[i].lock);
}

/* The turn of this process at a stream, whose own lock is held. ECANCELED when the worker was cancelled meanwhile. */
static int take_turn(const stream *out, const lace_worker *worker)
{
    if (turns_fd < 0)
        return 0;
    struct flock turn = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = out->fd, .l_len = 1};
    while (fcntl(turns_fd, F_OFD_SETLKW, &turn) != 0) {
        if (errno != EINTR)
            return errno;
        if (worker != NULL && atomic_load(&worker->cancelled_at) != 0)
            return ECANCELED;
    }
    return 0;
}

static void end_turn(const stream *out)
{
    struct flock turn = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = out->fd, .l_len = 1};
    int saved = errno;
    if (turns_fd >= 0)
        fcntl(turns_fd, F_OFD_SETLK, &turn);
    errno = saved;
}

/* All the bytes, or an errno. Interrupted by the keeper's signal once the worker is cancelled. */
static int write_all(lace_worker *worker, int fd, const char *data, size_t size)
{
    if (sink != NULL && worker != NULL) {
        sink(sink_context, worker->name, fd, data, size);
        return 0;
    }
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n >= 0) {
            data += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd poller = {.fd = fd, .events = POLLOUT};
            poll(&poller, 1, -1);
        } else if (errno != EINTR) {
            return errno;
        }
        if (size > 0 && worker != NULL && atomic_load(&worker->cancelled_at) != 0)
            return ECANCELED;
    }
    return 0;
}

static bool append(lace_tail *tail, const char *data, size_t size)
{
    if (tail->size + size > tail->room) {
        size_t room = tail->room ? tail->room * 2 : 256;
        while (room < tail->size + size)
            room *= 2;
        char *grown = realloc(tail->data, room);
        if (grown == NULL)
            return false;
        tail->data = grown;
        tail->room = room;
    }
    memcpy(tail->data + tail->size, data, size);
    tail->size += size;
    return true;
}

/* Writes `data` for `worker`, its lines tagged. The stream's lock is held. */
static int put(stream *out, lace_worker *worker, const char *data, size_t size)
{
    if (size == 0)
        return 0;
    const uint64_t who = writer(worker);
    int error = take_turn(out, worker);
    if (error != 0)
        return error;
    bool continues = *out->open_line == who;
    if (*out->open_line != 0 && !continues && sink == NULL)
        error = write_all(worker, out->fd, "\n", 1);
    if (error == 0 && tagging && worker != NULL) {
        lace_tail tagged = {0};
        char *tag = strdup(worker->name);
        bool ok = tag != NULL;
        if (ok)
            lace_show(tag, "");
        for (size_t at = 0; ok && at < size;) {
            const char *newline = memchr(data + at, '\n', size - at);
            size_t end = newline ? (size_t)(newline - data) + 1 : size;
            if (!continues)
                ok = append(&tagged, "[", 1) && append(&tagged, tag, strlen(tag)) && append(&tagged, "] ", 2);
            ok = ok && append(&tagged, data + at, end - at);
            continues = false;
            at = end;
        }
        error = ok ? write_all(worker, out->fd, tagged.data, tagged.size) : ENOMEM;
        free(tagged.data);
        free(tag);
    } else if (error == 0) {
        error = write_all(worker, out->fd, data, size);
    }
    if (error == 0)
        *out->open_line = data[size - 1] == '\n' ? 0 : who;
    end_turn(out);
    return error;
}

int lace_output_write(lace_worker *worker, int fd, const char *data, size_t size)
{
    stream *out = &streams[fd == 2];
    pthread_mutex_lock(&out->lock);
    int error = 0;
    if (worker == NULL) {
        error = put(out, NULL, data, size);
    } else {
        lace_tail *tail = &worker->tails[fd == 2];
        const char *newline = memrchr(data, '\n', size);
        size_t whole = newline ? (size_t)(newline - data) + 1 : 0;
        if (whole > 0 && tail->size > 0) {
            /* one write for the line that is finished now, so that it cannot be torn by another process either */
            if (!append(tail, data, whole))
                error = ENOMEM;
            else
                error = put(out, worker, tail->data, tail->size);
            tail->size = 0;
        } else {
            error = put(out, worker, data, whole);
        }
        if (error == 0 && whole < size && !append(tail, data + whole, size - whole))
            error = ENOMEM;
        bool show = !tagging && sink == NULL && ((lace_workers_alive() <= 1 && !lace_child_is()) || isatty(fd));
        if (error == 0 && tail->size > 0 && (show || tail->size > LONGEST_TAIL)) {
            error = put(out, worker, tail->data, tail->size);
            tail->size = 0;
        }
    }
    pthread_mutex_unlock(&out->lock);
    return error;
}

int lace_output_end(lace_worker *worker)
{
    int first = 0;
    for (int i = 0; i < 2; i++) {
        stream *out = &streams[i];
        lace_tail *tail = &worker->tails[i];
        pthread_mutex_lock(&out->lock);
        int error = put(out, worker, tail->data, tail->size);
        if (take_turn(out, NULL) == 0) {
            if (*out->open_line == writer(worker))
                *out->open_line = NOBODY;
            end_turn(out);
        }
        free(tail->data);
        *tail = (lace_tail){0};
        pthread_mutex_unlock(&out->lock);
        if (first == 0)
            first = error;
    }
    return first;
}

void lace_complain(const char *format, ...)
{
    char line[1024];
    size_t room = sizeof line - 1;
    size_t prefix = lace_text_print(line, room, "interlace: ");
    va_list arguments;
    va_start(arguments, format);
    lace_text_vprint(line + prefix, room - prefix, format, arguments);
    va_end(arguments);
    lace_show(line, "\n\t");
    size_t size = strlen(line);
    line[size++] = '\n';
    lace_output_write(NULL, 2, line, size);
}
