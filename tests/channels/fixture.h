/* fixture.h - the table of transports that the common contract is tested over, and short hands for the calls. */
#ifndef LACE_TESTS_FIXTURE_H
#define LACE_TESTS_FIXTURE_H

#include "../harness.h"

/* What a transport can do beyond the common contract. */
enum {
    CAN_QUEUE = 1,   /* a send may succeed with no receiver there */
    CAN_COUNT = 2,   /* its capacity is a number, and messages waiting are counted */
    CAN_ATTACH = 4,  /* ends and blocks travel in it */
    CAN_REGISTER = 8 /* a persistent selector takes it */
};

typedef enum seal_kind {
    NOT_SEALED,
    SEALED_PIPE,
    SEALED_SOCKET, /* the client sends to the server; the other direction has ended */
    SEALED_MEMORY, /* likewise */
} seal_kind;

typedef struct transport {
    const char *name;
    bool pipe;
    size_t capacity;
    unsigned can;
    seal_kind seal;
} transport;

extern const transport transports[];
#define TRANSPORT_COUNT 8 /* a test run over all of them: {test, TRANSPORT_COUNT} */
#define TRANSPORT_PIPE 4  /* from here on they are pipes */
#define TRANSPORT_SOCKET 6 /* the sealed socket */

/* One channel of a transport, and what is needed around it. */
typedef struct pair {
    const transport *kind;
    lace_region *region;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_message *message; /* for the test's own thread */
} pair;

/* Makes a channel of transports[index]. */
void pair_open(pair *opened, int index);
/* Makes one more channel of the same transport in the same region: its `message` and `region` are shared. */
void pair_open_beside(pair *opened, const pair *beside);
/* Makes a memory channel. */
void pair_open_memory(pair *opened, size_t capacity, size_t max_bytes);
/* Destroys what is left of it, and checks that its region can go then. */
void pair_close(pair *closed);
/* The ends only. */
void pair_close_ends(pair *closed);
/* Makes a pipe or socket hold as little as it can. Memory is as large as it is. */
void pair_shrink(const pair *shrunk);

/* A key for the tests of a process, the same each time. Borrowed. */
const lace_key *test_key(void);
/* Both sides of a sealed socket. The server's side greets in a thread of its own. */
typedef struct connection {
    lace_sender *sender[2];     /* the client's, the server's */
    lace_receiver *receiver[2]; /* likewise */
} connection;
void connection_open(connection *opened, int client_fd, int server_fd);
/* The same, through memory; over sockets of its own. */
void connection_open_memory(connection *opened);
void connection_close(connection *closed);

lace_region *region_make(size_t limit);
lace_message *message_make(lace_region *region);
/* A memory channel in `region`. */
void channel_make(lace_region *region, size_t capacity, lace_sender **ret_sender, lace_receiver **ret_receiver);
size_t region_used(const lace_region *region);
/* Has this thread wait once in the region, so that what is made on first use counts no more. */
void region_warm(lace_region *region);

lace_payload payload_of(const void *data, size_t size);
lace_status send_text(lace_sender *sender, const char *text, const lace_wait *wait);
lace_status send_u64(lace_sender *sender, uint64_t value, const lace_wait *wait);
/* Checks that the message received is a u64. */
lace_status recv_u64(lace_receiver *receiver, lace_message *message, uint64_t *ret_value, const lace_wait *wait);
uint64_t message_u64(const lace_message *message);
bool message_is(const lace_message *message, const char *text);

/* Sends `count` filler messages into a channel that has room: all of them must go at once. */
void fill(lace_sender *sender, size_t count);
/* Sends 0, 1, 2 ... until the channel is full, without waiting; gives how many. */
size_t fill_up(lace_sender *sender);

/* Attachments. Each of these takes what it is given when the send succeeds. */
lace_status send_attached(lace_sender *sender, const char *text, const lace_attachment *attachments, size_t count,
                          const lace_wait *wait);
lace_status send_sender(lace_sender *over, lace_sender *sent, const lace_wait *wait);
lace_status send_receiver(lace_sender *over, lace_receiver *sent, const lace_wait *wait);
lace_status send_block(lace_sender *over, lace_block *sent, const lace_wait *wait);
lace_sender *take_sender(lace_message *message, size_t index);
lace_receiver *take_receiver(lace_message *message, size_t index);
lace_block *take_block(lace_message *message, size_t index);

/* ---- calls in threads of their own -------------------------------------------------------------------- */

/* A call made in another thread, which is then watched. What it uses is borrowed until call_join. */
typedef enum call_kind {
    CALL_SEND,
    CALL_RECV,
    CALL_SELECT_RECV,  /* a select with this and an idle channel's receiver */
    CALL_SELECT_SEND,  /* a select with this and an idle channel's receiver */
    CALL_SELECTOR_RECV /* a persistent selector of the same two */
} call_kind;

typedef struct call {
    thread runner;
    watch watching;
    call_kind kind;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_region *region; /* NULL for pipes */
    int64_t deadline;
    lace_cancel *cancel;
    uint64_t value; /* to send, or received */
    lace_status status;
    _Atomic bool done;
} call;

/* Starts sending `value`, or receiving one. */
void call_start(call *started, call_kind kind, const pair *on, uint64_t value);
/* The same with a deadline and a cancel token. */
void call_start_waiting(call *started, call_kind kind, const pair *on, uint64_t value, int64_t deadline,
                        lace_cancel *cancel);
/* Returns when it waits in the kernel. */
void call_until_asleep(call *watched);
/* Waits for its end, and gives its status. */
lace_status call_join(call *ended);

#endif
