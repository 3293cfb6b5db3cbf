/* attach.h - connections whose bytes go through memory that both processes have mapped. */
#ifndef LACE_ATTACH_H
#define LACE_ATTACH_H

#include "channel.h"

/* As lace_sealed_socket, but that after the greeting the server passes memory to the client through the socket, and that
 * the same sealed records go through it then. */
lace_status lace_sealed_memory(int fd, lace_role role, const lace_seal_options *options, const lace_wait *wait,
                               lace_sender **ret_sender, lace_receiver **ret_receiver);

#endif
