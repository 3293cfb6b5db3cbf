/* look.h - a memory channel looked at from outside, for those who tell what a program waits for.
 *
 * A look holds the channel's memory, and is no end of it: it keeps no channel from ending. */
#ifndef LACE_LOOK_H
#define LACE_LOOK_H

#include "channel.h"

#include <stdatomic.h>

typedef struct lace_look lace_look;

/* What waits at a channel, of one end: for its send, for its receive, for the channel's end. */
typedef enum lace_look_list { LACE_LOOK_SENDING, LACE_LOOK_RECEIVING, LACE_LOOK_ENDING } lace_look_list;

typedef struct lace_sight {
    uint32_t senders, receivers;  /* open ends, and ends on their way in messages */
    uint64_t sent, received;      /* messages, since it was made; those from hand to hand among them */
    uint64_t bytes;               /* of those sent */
    uint32_t unconfirmed;         /* received, by ends that have not confirmed it; and... */
    uint32_t back;                /* ...come back from such, to be received again: both among `received` */
    uint32_t sending;             /* waits to send, about */
    uint64_t capacity, max_bytes; /* max_bytes: 0 for none */
} lace_sight;

/* Whether something that the last call on this end received had been received before, and not been confirmed. */
bool lace_receiver_redelivered(const lace_receiver *receiver);
/* lace_recv for somebody who asked before: does not wait, and confirms nothing. */
lace_status lace_receiver_serve(lace_receiver *receiver, lace_message *message);

/* What tells one channel from another while somebody holds an end or a look of either; NULL: a pipe channel. */
const void *lace_sender_channel(const lace_sender *sender);
const void *lace_receiver_channel(const lace_receiver *receiver);

/* Which end it is, among those of all channels. */
uint64_t lace_sender_id(const lace_sender *sender);
uint64_t lace_receiver_id(const lace_receiver *receiver);

/* Called when an end of a memory channel has gone, in whatever way, and was not the last of its side: then nobody is woken
 * who waits for the others. From any thread of the process that let go of it; it may not call the library. NULL: nobody wants
 * to know. */
extern _Atomic(void (*)(void)) lace_end_gone __attribute__((visibility("hidden")));

/* A look at the channel of an end, which is somebody's who keeps it meanwhile. NULL: a pipe channel, or no memory. */
lace_look *lace_look_at_sender(const lace_sender *sender);
lace_look *lace_look_at_receiver(const lace_receiver *receiver);
void lace_look_finish(lace_look *look);

/* Where a channel lies in its region: the same number in every process that has attached to it. */
uint64_t lace_look_place(const lace_region *region, const void *channel);
/* The channel there, as lace_look_channel() has it: not looked at, it need not be one any more. */
const void *lace_look_named(const lace_region *region, uint64_t place);
/* A look at the channel there, which somebody, in whatever process, keeps meanwhile: by a look of his own, for one. NULL: there
 * is none, or no memory. */
lace_look *lace_look_at(lace_region *region, uint64_t place);

/* Marks a new channel, which nobody else knows yet, with a number. */
void lace_sender_mark(const lace_sender *sender, uint32_t mark);

/* Puts a new channel, which nobody else knows yet, into the host's list under that number: see struct lace_ring. */
void lace_sender_list(const lace_sender *sender, uint32_t number);

/* Whether nobody but this look holds the channel's memory any more: it has no end. */
bool lace_look_is_last(const lace_look *look);

const void *lace_look_channel(const lace_look *look);
const char *lace_look_name(const lace_look *look);
uint32_t lace_look_mark(const lace_look *look);
bool lace_look_is_counter(const lace_look *look); /* it is a counter's, whose message holds those who wait for it */
/* The figures, each as it was at some moment of the call. */
void lace_look_see(const lace_look *look, lace_sight *ret_sight);

/* How many wait there, on the end with that id, whom nobody has woken yet. */
size_t lace_look_waiting(const lace_look *look, lace_look_list list, uint64_t end);
/* Wakes them with the status. */
void lace_look_tell(const lace_look *look, lace_look_list list, uint64_t end, lace_status status);

/* Calls `visit` with the channel of each end that lies in a message in there, queued or of somebody who waits to send.
 * `visit` may not touch the channel itself. */
void lace_look_inside(const lace_look *look, void (*visit)(const void *channel, bool sender, void *context),
                      void *context);

#endif
