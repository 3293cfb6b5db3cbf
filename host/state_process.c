/* state_process.c - what a worker in a process does now: asked of that process, through the socket at which it answers anybody.
 *
 * The child reads its state as any host does and sends the part about its own worker. It keeps its looks at the channels until
 * the connection ends, so that its host can take looks of its own meanwhile; and the host keeps it from being buried. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "process.h"
#include "state.h"

#define PATIENCE_S 2            /* for a process that does not answer; who asked has given up before */
#define LONGEST ((size_t)8 << 20) /* bytes of an answer */

/* ---- in the child ------------------------------------------------------------------------------------------- */

void lace_state_write_share(const lace_state *state, FILE *out)
{
    if (state->worker_count == 0)
        return;
    const lace_state_worker *own = &state->workers[0]; /* the oldest */
    fprintf(out, "worker %d %llu %llu %zu %zu\n", (int)own->reach, (unsigned long long)own->received,
            (unsigned long long)own->sent, own->thread_count, own->end_count);
    for (size_t i = 0; i < own->thread_count; i++) {
        const lace_state_thread *thread = &own->threads[i];
        const char *awaits = thread->awaits ? thread->awaits : "", *stack = thread->stack ? thread->stack : "";
        fprintf(out, "thread %lu %.3f %d %zu %zu\n%s%s\n", thread->native, thread->seconds, thread->awaits != NULL,
                strlen(awaits), strlen(stack), awaits, stack);
    }
    for (size_t i = 0; i < own->end_count; i++) {
        const lace_state_end *end = &own->ends[i];
        fprintf(out, "end %llu %d %llu %llu\n",
                (unsigned long long)lace_look_place(lace_region_of_host(), lace_look_channel(end->look)), end->sender,
                (unsigned long long)end->messages, (unsigned long long)end->bytes);
    }
    fputs(".\n", out);
}

/* ---- in the host: asking ------------------------------------------------------------------------------------ */

static int connect_to(pid_t pid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    size_t length = lace_state_address(pid, address.sun_path, sizeof address.sun_path);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int other;
    if (made < 0)
        return -1;
    setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(made, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) == 0 &&
        lace_state_is_ours(made, &other) && other == pid && send(made, "share\n", 6, MSG_NOSIGNAL) == 6)
        return made;
    close(made);
    return -1;
}

/* Receives until the answer is whole; NULL: it does not come. */
static char *hear(int connection)
{
    size_t size = 0, room = 4096;
    char *text = malloc(room);
    while (text != NULL && (size < 3 || memcmp(text + size - 3, "\n.\n", 3) != 0)) {
        if (room - size < 2) {
            char *grown = room < LONGEST ? realloc(text, 2 * room) : NULL;
            if (grown == NULL)
                break;
            text = grown;
            room *= 2;
        }
        ssize_t got = recv(connection, text + size, room - size - 1, 0);
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    if (text != NULL && size >= 3 && memcmp(text + size - 3, "\n.\n", 3) == 0) {
        text[size] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

/* ---- in the host: reading ----------------------------------------------------------------------------------- */

/* A copy of the next `size` bytes; NULL: there are not so many. */
static char *take(const char **at, size_t size)
{
    if (strnlen(*at, size) < size)
        return NULL;
    char *made = strndup(*at, size);
    *at += size;
    return made;
}

static bool read_one_thread(lace_state_thread *thread, const char **at)
{
    int awaits = 0, used = 0;
    size_t first = 0, second = 0;
    *thread = (lace_state_thread){0};
    if (sscanf(*at, "thread %lu %lf %d %zu %zu%n", &thread->native, &thread->seconds, &awaits, &first, &second, &used) < 5 ||
        (*at)[used] != '\n')
        return false;
    *at += used + 1;
    thread->awaits = take(at, first);
    thread->stack = take(at, second);
    bool well = thread->awaits != NULL && thread->stack != NULL && **at == '\n';
    if (!awaits || !well) {
        free(thread->awaits);
        thread->awaits = NULL;
    }
    *at += well;
    return well;
}

static bool read_one_end(lace_state_end *end, const char **at)
{
    unsigned long long place, messages, bytes;
    int sender = 0, used = 0;
    if (sscanf(*at, "end %llu %d %llu %llu%n", &place, &sender, &messages, &bytes, &used) < 4 || (*at)[used] != '\n')
        return false;
    *at += used + 1;
    *end = (lace_state_end){.look = lace_look_at(lace_region_of_host(), place),
                            .sender = sender != 0,
                            .messages = messages,
                            .bytes = bytes};
    return end->look != NULL;
}

/* Fills in what the answer says, as far as it is sound. */
static void read_share(lace_state_worker *seen, const char *at)
{
    int reach = 0, used = 0;
    unsigned long long received, sent;
    size_t threads, ends;
    if (sscanf(at, "worker %d %llu %llu %zu %zu%n", &reach, &received, &sent, &threads, &ends, &used) < 5 || at[used] != '\n')
        return;
    at += used + 1;
    seen->reach = reach == LACE_REACH_READ ? LACE_REACH_READ : LACE_REACH_BUSY;
    seen->received = received;
    seen->sent = sent;
    seen->threads = threads <= LONGEST ? calloc(threads + 1, sizeof *seen->threads) : NULL;
    seen->ends = ends <= LONGEST ? calloc(ends + 1, sizeof *seen->ends) : NULL;
    while (seen->threads != NULL && seen->thread_count < threads &&
           read_one_thread(&seen->threads[seen->thread_count], &at))
        seen->thread_count++;
    while (seen->ends != NULL && seen->end_count < ends && read_one_end(&seen->ends[seen->end_count], &at))
        seen->end_count++;
}

void lace_state_read_process(lace_state_worker *seen)
{
    int connection = connect_to(lace_process_pid(seen->worker));
    char *text = connection >= 0 ? hear(connection) : NULL;
    seen->reach = LACE_REACH_BUSY;
    if (text != NULL && lace_process_hold(seen->worker)) {
        read_share(seen, text); /* dead or not: what it kept is there until it is buried */
        lace_process_release(seen->worker);
    }
    free(text);
    if (connection >= 0)
        close(connection); /* now the child may let go of its looks */
}
