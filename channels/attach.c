/* attach.c - the memory of a "memory:NAME" connection: making it, passing it on, and not believing what was passed.
 *
 *   server -> client  an OFFER, with the descriptors of the memory and of a second socket
 *   client -> server  the same word again: it has mapped the memory, and put the last seals on it
 *
 * The connection's own socket is the bell of the bytes from client to server, the second one that of the others.
 *
 * The memory is a file that can neither shrink nor grow (F_SEAL_SHRINK, F_SEAL_GROW). Once both have it mapped nobody can
 * punch holes into it either (F_SEAL_FUTURE_WRITE, which mappings that are there already outlive), and then each side has
 * all of it backed: so nothing that the other one does can have us touch a page that is not there. */
#define _GNU_SOURCE
#include "attach.h"

#include "await.h"
#include "byte_ring.h"
#include "descriptor.h"
#include "greeting.h"
#include "hooks.h"
#include "pipe.h"
#include "turn.h"

#include <errno.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define OFFER UINT32_C(0x314d484c) /* "LHM1" */
#define SIZE (2 * LACE_RING_SIZE)  /* the bytes of the client, then those of the server */
#define PASSED 2                   /* descriptors */
#define FIRST_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)
#define LAST_SEALS (F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

/* One side while it attaches. Descriptors are -1, ends and rings NULL until they are there. */
struct side {
    int fd; /* the connection; the caller's */
    int memory;
    int bell;  /* the second socket, this side's end */
    int other; /* and the other side's */
    struct lace_end *sender;
    struct lace_end *receiver;
    struct lace_byte_ring *out;
    struct lace_byte_ring *in;
    struct lace_sealer *sealer;
    struct lace_unsealer *unsealer;
    struct lace_await await;
};

static lace_status fail(lace_status status, const char *story)
{
    lace_explained(status, "%s", story);
    return status;
}

/* ---- the memory --------------------------------------------------------------------------------------- */

static lace_status back(int fd)
{
    if (LACE_FAILS(LACE_FAULT_FALLOCATE))
        return LACE_NOMEM;
    while (fallocate(fd, 0, 0, (off_t)SIZE) != 0)
        if (errno != EINTR)
            return LACE_NOMEM;
    return LACE_OK;
}

static lace_status make_memory(struct side *side)
{
    side->memory = LACE_FAILS(LACE_FAULT_MEMFD)
                       ? (errno = EMFILE, -1)
                       : lace_descriptor(memfd_create("interlace", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (side->memory < 0 || ftruncate(side->memory, (off_t)SIZE) != 0 ||
        fcntl(side->memory, F_ADD_SEALS, FIRST_SEALS) != 0)
        return LACE_SYSTEM;
    return back(side->memory);
}

/* Whether what was passed is memory as make_memory() makes it, with these seals. */
static lace_status check_memory(int fd, int seals)
{
    struct stat stat;
    struct statfs system;
    int found = fcntl(fd, F_GET_SEALS);

    if (found >= 0 && (found & (FIRST_SEALS | LAST_SEALS | F_SEAL_WRITE)) == seals && fstat(fd, &stat) == 0 &&
        S_ISREG(stat.st_mode) && stat.st_size == (off_t)SIZE && stat.st_uid == geteuid() && fstatfs(fd, &system) == 0 &&
        system.f_type == TMPFS_MAGIC && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR)
        return LACE_OK;
    return fail(LACE_FORGED, "the memory that the other side offers is not what it should be");
}

static lace_status map(int fd, off_t at, bool writes, struct lace_byte_ring **ret_ring)
{
    void *memory = LACE_FAILS(LACE_FAULT_MMAP)
                       ? (errno = ENOMEM, MAP_FAILED)
                       : mmap(NULL, LACE_RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);

    if (memory == MAP_FAILED)
        return errno == ENOMEM ? LACE_NOMEM : LACE_SYSTEM;
    *ret_ring = lace_byte_ring_make(memory, writes);
    if (*ret_ring == NULL)
        munmap(memory, LACE_RING_SIZE);
    return *ret_ring != NULL ? LACE_OK : LACE_NOMEM;
}

static lace_status map_both(struct side *side, lace_role role)
{
    off_t client = 0;
    off_t server = (off_t)LACE_RING_SIZE;
    bool is_client = role == LACE_ROLE_CLIENT;
    lace_status status = map(side->memory, is_client ? client : server, true, &side->out);

    return status == LACE_OK ? map(side->memory, is_client ? server : client, false, &side->in) : status;
}

/* ---- passing it --------------------------------------------------------------------------------------- */

/* A message of one word, with descriptors. */
struct parcel {
    uint32_t word;
    struct iovec vector;
    struct msghdr header;
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(PASSED * sizeof(int))];
};

static void parcel_make(struct parcel *parcel)
{
    *parcel = (struct parcel){.word = OFFER};
    parcel->vector = (struct iovec){&parcel->word, sizeof parcel->word};
    parcel->header = (struct msghdr){.msg_iov = &parcel->vector, .msg_iovlen = 1};
}

/* After a call on the connection has failed: waits until it may be done again. */
static lace_status await_again(struct side *side, short events)
{
    if (errno == EINTR)
        return LACE_OK;
    return errno == EAGAIN || errno == EWOULDBLOCK ? lace_await(&side->await, side->fd, events) : LACE_SYSTEM;
}

static lace_status say(struct side *side, const int *passed)
{
    struct parcel parcel;

    parcel_make(&parcel);
    if (passed != NULL) {
        parcel.header.msg_control = parcel.control;
        parcel.header.msg_controllen = sizeof parcel.control;
        struct cmsghdr *control = CMSG_FIRSTHDR(&parcel.header);
        control->cmsg_level = SOL_SOCKET;
        control->cmsg_type = SCM_RIGHTS;
        control->cmsg_len = CMSG_LEN(PASSED * sizeof(int));
        memcpy(CMSG_DATA(control), passed, PASSED * sizeof(int));
    }
    for (;;) {
        ssize_t count = sendmsg(side->fd, &parcel.header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count == (ssize_t)sizeof parcel.word)
            return LACE_OK;
        if (count >= 0 || errno == EPIPE || errno == ECONNRESET)
            return fail(LACE_TRUNCATED, "the other side left in the middle of the greeting");
        lace_status status = await_again(side, POLLOUT);
        if (status != LACE_OK)
            return status;
    }
}

/* The descriptors that came, -1 where there is none. */
static void unpack(struct msghdr *header, int passed[PASSED])
{
    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control != NULL; control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
            continue;
        size_t size = control->cmsg_len - CMSG_LEN(0);
        memcpy(passed, CMSG_DATA(control), size < PASSED * sizeof(int) ? size : PASSED * sizeof(int));
        return; /* there is no room for another one */
    }
}

/* Waits for the other side's word. With `passed` NULL no descriptors may come with it. */
static lace_status hear(struct side *side, int *passed)
{
    struct parcel parcel;

    for (;;) {
        parcel_make(&parcel);
        if (passed != NULL) {
            parcel.header.msg_control = parcel.control;
            parcel.header.msg_controllen = sizeof parcel.control;
        }
        ssize_t count = recvmsg(side->fd, &parcel.header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (count >= 0 && passed != NULL)
            unpack(&parcel.header, passed);
        if (count == (ssize_t)sizeof parcel.word)
            break;
        if (count == 0 || (count < 0 && errno == ECONNRESET))
            return fail(LACE_TRUNCATED, "the other side left in the middle of the greeting");
        if (count > 0)
            return fail(LACE_FORGED, "the other side greets and then does not speak of memory");
        lace_status status = await_again(side, POLLIN);
        if (status != LACE_OK)
            return status;
    }
    if (parcel.word != OFFER || (parcel.header.msg_flags & MSG_CTRUNC) != 0)
        return fail(LACE_FORGED, "the other side greets and then does not speak of memory");
    return LACE_OK;
}

/* ---- the two sides ------------------------------------------------------------------------------------ */

static lace_status make_bell(struct side *side)
{
    int pair[2];

    if (LACE_FAILS(LACE_FAULT_PIPE)) {
        errno = EMFILE;
        return LACE_SYSTEM;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return LACE_SYSTEM;
    side->bell = lace_descriptor(pair[0]);
    side->other = lace_descriptor(pair[1]);
    return side->bell >= 0 && side->other >= 0 ? LACE_OK : LACE_SYSTEM;
}

static lace_status check_bell(int fd)
{
    int domain;
    int type;
    socklen_t size = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM)
        return LACE_OK;
    return fail(LACE_FORGED, "the bell that the other side offers is not what it should be");
}

static lace_status serve(struct side *side, const struct lace_manners *manners, const char *name, const lace_wait *wait)
{
    lace_status status = make_memory(side);

    if (status == LACE_OK)
        status = map_both(side, LACE_ROLE_SERVER);
    if (status == LACE_OK)
        status = make_bell(side);
    if (status == LACE_OK)
        status = lace_pipe_make(side->bell, name, LACE_SIDE_SENDER, &side->sender);
    if (status == LACE_OK)
        status = lace_pipe_make(side->fd, name, LACE_SIDE_RECEIVER, &side->receiver);
    if (status == LACE_OK)
        status = lace_greet(side->receiver, manners, wait, &side->sealer, &side->unsealer);
    if (status == LACE_OK)
        status = say(side, (const int[PASSED]){side->memory, side->other});
    if (status == LACE_OK)
        status = hear(side, NULL);
    if (status == LACE_OK)
        status = check_memory(side->memory, FIRST_SEALS | LAST_SEALS);
    return status == LACE_OK ? back(side->memory) : status;
}

static lace_status take_offer(struct side *side)
{
    int passed[PASSED] = {-1, -1};
    lace_status status = hear(side, passed);

    side->memory = lace_descriptor(passed[0]);
    side->bell = lace_descriptor(passed[1]);
    if (status == LACE_OK)
        status = check_memory(side->memory, FIRST_SEALS);
    return status == LACE_OK ? check_bell(side->bell) : status;
}

static lace_status attend(struct side *side, const struct lace_manners *manners, const char *name,
                          const lace_wait *wait)
{
    lace_status status = lace_pipe_make(side->fd, name, LACE_SIDE_SENDER, &side->sender);

    if (status == LACE_OK)
        status = lace_greet(side->sender, manners, wait, &side->sealer, &side->unsealer);
    if (status == LACE_OK)
        status = take_offer(side);
    if (status == LACE_OK)
        status = map_both(side, LACE_ROLE_CLIENT);
    if (status == LACE_OK && fcntl(side->memory, F_ADD_SEALS, LAST_SEALS) != 0)
        status = LACE_SYSTEM;
    if (status == LACE_OK)
        status = back(side->memory);
    if (status == LACE_OK)
        status = lace_pipe_make(side->bell, name, LACE_SIDE_RECEIVER, &side->receiver);
    return status == LACE_OK ? say(side, NULL) : status;
}

static void drop(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* What is left of one that failed. */
static void undo(struct side *side)
{
    if (side->sender != NULL)
        lace_pipe_unmake(side->sender);
    if (side->receiver != NULL)
        lace_pipe_unmake(side->receiver);
    drop(side->bell);
    lace_byte_ring_destroy(side->out);
    lace_byte_ring_destroy(side->in);
    lace_sealer_destroy(side->sealer);
    lace_unsealer_destroy(side->unsealer);
}

/* Has the ends use what there is now. */
static void join(struct side *side)
{
    struct lace_pipe *out = side->sender->pipe;
    struct lace_pipe *in = side->receiver->pipe;

    out->greeted = in->greeted = true;
    out->forks = in->forks = lace_forks();
    out->bytes = side->out;
    in->bytes = side->in;
    out->sealer = side->sealer;
    in->reader.unsealer = side->unsealer;
}

lace_status lace_sealed_memory(int fd, lace_role role, const lace_seal_options *options, const lace_wait *wait,
                               lace_sender **ret_sender, lace_receiver **ret_receiver)
{
    struct side side = {.fd = fd, .memory = -1, .bell = -1, .other = -1, .await = {.wait = wait, .event = -1}};
    struct lace_manners manners = {.role = role, .memory = true, .key = options->key, .label = options->label};
    lace_status status = role == LACE_ROLE_SERVER ? serve(&side, &manners, options->name, wait)
                                                  : attend(&side, &manners, options->name, wait);
    int saved = errno;

    lace_await_end(&side.await);
    drop(side.memory);
    drop(side.other);
    if (status == LACE_OK) {
        join(&side);
        *ret_sender = (lace_sender *)side.sender;
        *ret_receiver = (lace_receiver *)side.receiver;
    } else {
        undo(&side);
    }
    errno = saved;
    return status;
}
