/* process_talk.c - what a host and its child say to each other: short messages on a SOCK_SEQPACKET socket. Both are the same
 * program, so that they agree on how a number lies. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "process.h"

typedef struct head {
    unsigned char what;
    int32_t code;
    uint32_t text_size; /* the rest of the message is `more` */
} head;

bool lace_talk_say(int fd, const lace_talk *talk, bool waits)
{
    head first = {.what = (unsigned char)talk->what, .code = talk->code, .text_size = (uint32_t)talk->text_size};
    struct iovec parts[3] = {{&first, sizeof first},
                             {(void *)(uintptr_t)talk->text, talk->text_size},
                             {(void *)(uintptr_t)talk->more, talk->more_size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    while (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EAGAIN && waits) {
            struct pollfd poller = {.fd = fd, .events = POLLOUT};
            poll(&poller, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

int lace_talk_hear(int fd, char *room, lace_talk *ret_talk)
{
    ssize_t size;
    do
        size = recv(fd, room, LACE_TALK_ROOM, MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0 && errno == EAGAIN)
        return 0;
    head first;
    if (size < (ssize_t)sizeof first)
        return -1;
    memcpy(&first, room, sizeof first);
    size_t rest = (size_t)size - sizeof first, text = first.text_size < rest ? first.text_size : rest;
    *ret_talk = (lace_talk){.what = (lace_saying)first.what,
                            .code = first.code,
                            .text = room + sizeof first,
                            .text_size = text,
                            .more = room + sizeof first + text,
                            .more_size = rest - text};
    return 1;
}
