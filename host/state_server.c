/* state_server.c - answering who asks for the state of the host: on SIGQUIT, and through a Unix socket.
 *
 * The socket lies in the abstract namespace, so it is no file: nothing to clean up, nothing to be in the way. Its name says
 * the process, and both sides ask the kernel who the other one is: only the same user, or root, gets an answer. A
 * connection sends one line, "dump" for text or "state" for JSON, and gets the answer and the end. A child's host sends
 * "share", for state_process.c. */
#include "state.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "process.h"

#define BETWEEN ((long)200 * 1000 * 1000) /* ns between the two looks that a rate is made of */
#define PATIENCE 2                        /* seconds for whoever asks and does not listen */
#define AT_ONCE 16                        /* answers under way */

static int listening = -1; /* written by serve and stop, before and after the keeper runs */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards answers; held for a few instructions */
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;   /* answers has become 0 */
static int answers;                                      /* threads at it */

size_t lace_state_address(int pid, char *name, size_t size)
{
    name[0] = '\0';
    return (size_t)snprintf(name + 1, size - 1, "interlace-%d", pid) + 1;
}

bool lace_state_is_ours(int connection, int *ret_pid)
{
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
        return false;
    *ret_pid = who.pid;
    return who.uid == geteuid() || who.uid == 0 || geteuid() == 0;
}

void lace_state_serve(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = lace_state_address(getpid(), address.sun_path, sizeof address.sun_path);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made >= 0 &&
        (bind(made, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) != 0 ||
         listen(made, AT_ONCE) != 0)) {
        close(made);
        made = -1; /* somebody else has the name: nobody can ask this process */
    }
    listening = made;
}

int lace_state_fd(void)
{
    return listening;
}

/* ---- an answer ----------------------------------------------------------------------------------------------- */

static char *describe(bool json, size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    lace_state *before = json ? NULL : lace_state_read();
    if (before != NULL)
        nanosleep(&(struct timespec){.tv_nsec = BETWEEN}, NULL); /* the time that rates are measured over */
    lace_state *state = lace_state_read();
    if (state != NULL && before != NULL)
        lace_state_compare(state, before);
    if (out != NULL && state != NULL)
        (json ? lace_state_write_json : lace_state_write_text)(state, out);
    lace_state_free(before);
    lace_state_free(state);
    if (out != NULL && fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static bool say(int connection, const char *text, size_t size)
{
    size_t sent = 0;
    while (text != NULL && sent < size) {
        ssize_t n = send(connection, text + sent, size - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    return text != NULL;
}

/* In a child: see state_process.c. */
static void answer_host(int connection)
{
    const struct timeval forever = {0};
    char *text = NULL, end;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    lace_state *state = out ? lace_state_read() : NULL;
    if (state != NULL)
        lace_state_write_share(state, out);
    if (out != NULL && fclose(out) == 0 && say(connection, text, size)) {
        /* It closes its side when it has read it, or has died: and with it this process. */
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
        while (recv(connection, &end, 1, 0) > 0)
            continue;
    }
    lace_state_free(state);
    free(text);
}

static void answer_connection(int connection)
{
    char asked[16] = "";
    size_t got = 0;
    int pid;
    const struct timeval patience = {.tv_sec = PATIENCE};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    while (got < sizeof asked - 1 && strchr(asked, '\n') == NULL) {
        ssize_t n = recv(connection, asked + got, sizeof asked - 1 - got, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
        asked[got] = '\0';
    }
    bool json = strcmp(asked, "state\n") == 0, share = strcmp(asked, "share\n") == 0 && lace_child_is();
    if (!lace_state_is_ours(connection, &pid) || (!json && !share && strcmp(asked, "dump\n") != 0))
        return;
    size_t size = 0;
    if (share) {
        answer_host(connection);
        return;
    }
    char *text = describe(json, &size);
    say(connection, text, size);
    free(text);
}

/* -1 for standard error, else a connection, which it closes. */
static void *answer(void *argument)
{
    int connection = (int)(intptr_t)argument;
    if (connection < 0) {
        size_t size = 0;
        char *text = describe(false, &size);
        if (text != NULL)
            lace_output_write(NULL, 2, text, size);
        free(text);
    } else {
        answer_connection(connection);
        close(connection);
    }
    pthread_mutex_lock(&lock);
    if (--answers == 0)
        pthread_cond_broadcast(&idle);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static bool start_answer(int connection)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_mutex_lock(&lock);
    bool room = answers < AT_ONCE;
    answers += room;
    pthread_mutex_unlock(&lock);
    if (!room)
        return false;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)256 << 10);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool started = pthread_create(&thread, &attributes, answer, (void *)(intptr_t)connection) == 0;
    pthread_attr_destroy(&attributes);
    if (!started) {
        pthread_mutex_lock(&lock);
        if (--answers == 0)
            pthread_cond_broadcast(&idle);
        pthread_mutex_unlock(&lock);
    }
    return started;
}

void lace_state_accept(void)
{
    int connection = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    if (connection >= 0 && !start_answer(connection))
        close(connection);
}

void lace_state_print(void)
{
    start_answer(-1);
}

void lace_state_stop(void)
{
    if (listening >= 0)
        close(listening);
    listening = -1;
    pthread_mutex_lock(&lock);
    while (answers > 0)
        pthread_cond_wait(&idle, &lock);
    pthread_mutex_unlock(&lock);
}
