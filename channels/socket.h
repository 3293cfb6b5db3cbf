/* socket.h - what both sides of a named Unix socket do: its address, whose process is at the other side. */
#ifndef LACE_SOCKET_H
#define LACE_SOCKET_H

#include "channel.h"

#include <sys/socket.h>
#include <sys/un.h>

/* The socket's address for a path. INVALID, explained, when it is too long. */
lace_status lace_socket_address(const char *path, struct sockaddr_un *ret_address);
/* A new stream socket that does not block. SYSTEM. */
lace_status lace_socket_make(int *ret_fd);
/* Whether the process at the other side is the same user's, as the kernel tells. FOREIGN, explained; SYSTEM. */
lace_status lace_socket_check_peer(int fd, const char *path);
/* Closes a descriptor; errno stays. */
void lace_socket_drop(int fd);

#endif
