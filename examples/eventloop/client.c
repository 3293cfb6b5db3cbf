/* client.c - a connection of lines. Nothing here waits. */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct client *client_create(int fd, uint64_t ticket)
{
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        close(fd);
        return NULL;
    }
    client->fd = fd;
    client->ticket = ticket;
    return client;
}

void client_destroy(struct client *client)
{
    close(client->fd); /* which epoll notices */
    free(client->out);
    free(client);
}

read_result client_read(struct client *client)
{
    ssize_t size;
    if (client->in_size == sizeof client->in) {
        client->overlong = true;
        client->in_size = 0;
    }
    do
        size = recv(client->fd, client->in + client->in_size, sizeof client->in - client->in_size, 0);
    while (size < 0 && errno == EINTR);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return READ_NOTHING;
    if (size <= 0)
        return READ_END;
    client->in_size += (size_t)size;
    return READ_SOME;
}

bool client_line(const struct client *client, size_t *ret_size)
{
    const char *end = memchr(client->in, '\n', client->in_size);
    if (end == NULL)
        return false;
    *ret_size = (size_t)(end - client->in);
    return true;
}

bool client_answer(struct client *client, const char *text, size_t size)
{
    size_t line = client->in_size;
    char *out = malloc(size + 1);
    if (out == NULL)
        return false;
    memcpy(out, text, size);
    out[size] = '\n';
    client->out = out;
    client->out_size = size + 1;
    client->out_sent = 0;
    if (client_line(client, &line))
        line++;
    client->in_size -= line;
    client->overlong = false;
    memmove(client->in, client->in + line, client->in_size);
    return true;
}

bool client_write(struct client *client)
{
    while (client->out != NULL) {
        ssize_t size = send(client->fd, client->out + client->out_sent, client->out_size - client->out_sent,
                            MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        client->out_sent += (size_t)size;
        if (client->out_sent == client->out_size) {
            free(client->out);
            client->out = NULL;
        }
    }
    return true;
}
