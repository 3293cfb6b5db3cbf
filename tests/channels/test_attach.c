/* test_attach.c - I3: what a side that has the key and yet cannot be trusted offers as memory. Each is named, nothing of it
 * is touched, and no descriptor is left. */
#include "fixture.h"

#include "../../channels/attach.h"
#include "../../channels/byte_ring.h"
#include "../../channels/greeting.h"
#include "../../channels/pipe.h"
#include "../../channels/turn.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE (2 * LACE_RING_SIZE)
#define FIRST (F_SEAL_SHRINK | F_SEAL_GROW)
#define LAST (F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

static unsigned open_files(void)
{
    unsigned count = 0;
    DIR *open = opendir("/proc/self/fd");

    CHECK(open != NULL);
    while (readdir(open) != NULL)
        count++;
    closedir(open);
    return count;
}

/* ---- a side that does as it likes ---------------------------------------------------------------------- */

typedef struct side {
    int fd;
    lace_role role;
    lace_status status;
    thread runner;
    lace_sender *sender;
    lace_receiver *receiver;
    int64_t took;
} side;

/* The honest side, in a thread. */
static void attach(void *context)
{
    side *self = context;
    lace_seal_options options = {.key = test_key()};
    int64_t begun = lace_clock();
    self->status = lace_sealed_memory(self->fd, self->role, &options, WITHIN_MS(20000), &self->sender, &self->receiver);
    self->took = lace_clock() - begun;
}

/* Greets as it should. */
static void greet(int fd, lace_role role)
{
    struct lace_manners manners = {.role = role, .memory = true, .key = test_key()};
    struct lace_sealer *sealer;
    struct lace_unsealer *unsealer;
    struct lace_end *end;

    CHECK_OK(lace_pipe_make(fd, "hostile", LACE_SIDE_RECEIVER, &end));
    CHECK_OK(lace_greet(end, &manners, WITHIN_MS(20000), &sealer, &unsealer));
    lace_pipe_unmake(end);
    lace_sealer_destroy(sealer);
    lace_unsealer_destroy(unsealer);
}

static void pass(int fd, const char *word, size_t size, const int *passed, size_t count)
{
    struct iovec vector = {(void *)word, size};
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};

    if (count > 0) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *first = CMSG_FIRSTHDR(&header);
        *first = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(first), passed, count * sizeof(int));
    }
    CHECK(sendmsg(fd, &header, MSG_NOSIGNAL) == (ssize_t)size);
}

static int memory_of(off_t size, int seals)
{
    int fd = memfd_create("offer", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    CHECK(fd >= 0 && ftruncate(fd, size) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

/* ---- offers -------------------------------------------------------------------------------------------- */

enum offer {
    GOOD, /* so that the others are known to fail for what is wrong with them */
    SMALL,
    LARGE,
    NO_SEALS,
    CAN_SHRINK,
    NO_WRITING,
    NO_MORE_SEALS,
    READ_ONLY,
    A_PIPE,
    A_FOLDER,
    A_BELL_THAT_IS_A_PIPE,
    A_BELL_THAT_IS_A_DATAGRAM_SOCKET,
    ONE_ONLY,
    THREE,
    NOTHING,
    ANOTHER_WORD,
    HALF_A_WORD,
    LEAVING,
    OFFERS
};

static void make_offer(enum offer offer, int fd)
{
    int passed[3] = {-1, -1, -1};
    int bells[2];
    size_t count = 2;
    const char *word = offer == ANOTHER_WORD ? "LHS1" : "LHM1";
    int type = offer == A_BELL_THAT_IS_A_DATAGRAM_SOCKET ? SOCK_DGRAM : SOCK_STREAM;

    CHECK(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, bells) == 0);
    passed[1] = bells[1];
    switch (offer) {
    case SMALL:
        passed[0] = memory_of((off_t)SIZE - 4096, FIRST);
        break;
    case LARGE:
        passed[0] = memory_of((off_t)SIZE + 4096, FIRST);
        break;
    case NO_SEALS:
        passed[0] = memory_of((off_t)SIZE, 0);
        break;
    case CAN_SHRINK:
        passed[0] = memory_of((off_t)SIZE, F_SEAL_GROW);
        break;
    case NO_WRITING:
        passed[0] = memory_of((off_t)SIZE, FIRST | F_SEAL_WRITE);
        break;
    case NO_MORE_SEALS:
        passed[0] = memory_of((off_t)SIZE, FIRST | F_SEAL_SEAL);
        break;
    case READ_ONLY: {
        char path[64];
        int writable = memory_of((off_t)SIZE, FIRST);
        snprintf(path, sizeof path, "/proc/self/fd/%d", writable);
        passed[0] = open(path, O_RDONLY | O_CLOEXEC);
        close(writable);
        break;
    }
    case A_PIPE:
        passed[0] = dup(bells[0]);
        break;
    case A_FOLDER:
        passed[0] = open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
        break;
    case A_BELL_THAT_IS_A_PIPE: {
        int ends[2];
        CHECK(pipe2(ends, O_CLOEXEC) == 0);
        close(bells[1]);
        close(ends[1]);
        bells[1] = passed[1] = ends[0];
    } /* fall through */
    default:
        passed[0] = memory_of((off_t)SIZE, FIRST);
    }
    CHECK(passed[0] >= 0);
    passed[2] = passed[0];
    count = offer == NOTHING ? 0 : offer == ONE_ONLY ? 1 : offer == THREE ? 3 : 2;
    if (offer != LEAVING)
        pass(fd, word, offer == HALF_A_WORD ? 2 : 4, passed, count);
    close(passed[0]);
    close(bells[0]);
    close(bells[1]);
}

START_TEST(test_i3_an_offer)
{
    int fds[2];
    unsigned before = open_files();
    side honest = {.role = LACE_ROLE_CLIENT};

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    honest.fd = fds[0];
    thread_start(&honest.runner, attach, &honest);
    greet(fds[1], LACE_ROLE_SERVER);
    make_offer((enum offer)_i, fds[1]);
    if (_i == LEAVING)
        shutdown(fds[1], SHUT_RDWR);
    thread_join(&honest.runner);
    CHECK_STATUS(_i == GOOD ? LACE_OK : _i == LEAVING ? LACE_TRUNCATED : LACE_FORGED, honest.status);
    CHECK(honest.took < 10 * INT64_C(1000000000));
    if (_i == GOOD) {
        lace_sender_destroy(honest.sender);
        lace_receiver_destroy(honest.receiver);
    } else {
        close(fds[0]);
    }
    close(fds[1]);
    CHECK_UINT(open_files(), before);
}
END_TEST

/* ---- answers ------------------------------------------------------------------------------------------- */

enum answer { SEALED, UNSEALED, HALF_SEALED, NO_ANSWER, WITH_A_GIFT, ANSWERS };

START_TEST(test_i3_an_answer)
{
    int fds[2], passed[2];
    unsigned before = open_files();
    side honest = {.role = LACE_ROLE_SERVER};
    char word[4];
    struct iovec vector = {word, sizeof word};
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof passed)];
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    honest.fd = fds[0];
    thread_start(&honest.runner, attach, &honest);
    greet(fds[1], LACE_ROLE_CLIENT);
    fcntl(fds[1], F_SETFL, 0);
    CHECK(recvmsg(fds[1], &header, MSG_CMSG_CLOEXEC) == (ssize_t)sizeof word);
    memcpy(passed, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof passed);
    if (_i == SEALED || _i == NO_ANSWER || _i == WITH_A_GIFT)
        CHECK(fcntl(passed[0], F_ADD_SEALS, LAST) == 0);
    else if (_i == HALF_SEALED)
        CHECK(fcntl(passed[0], F_ADD_SEALS, F_SEAL_SEAL) == 0); /* now nobody can add the other one */
    if (_i == NO_ANSWER)
        shutdown(fds[1], SHUT_RDWR);
    else
        pass(fds[1], "LHM1", 4, passed, _i == WITH_A_GIFT ? 2 : 0);
    thread_join(&honest.runner);
    CHECK_STATUS(_i == SEALED ? LACE_OK : _i == NO_ANSWER ? LACE_TRUNCATED : LACE_FORGED, honest.status);
    if (_i == SEALED) {
        /* Nobody can take a page away any more. */
        CHECK(fallocate(passed[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0);
        CHECK(ftruncate(passed[0], 0) != 0);
        lace_sender_destroy(honest.sender);
        lace_receiver_destroy(honest.receiver);
    } else {
        close(fds[0]);
    }
    close(passed[0]);
    close(passed[1]);
    close(fds[1]);
    CHECK_UINT(open_files(), before);
}
END_TEST

/* One side wants memory, the other one the socket. */
START_TEST(test_i3_two_manners)
{
    int fds[2];
    lace_sender *sender;
    lace_receiver *receiver;
    lace_seal_options options = {.key = test_key()};
    side honest = {.role = _i == 0 ? LACE_ROLE_CLIENT : LACE_ROLE_SERVER};

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    honest.fd = fds[0];
    thread_start(&honest.runner, attach, &honest);
    CHECK_STATUS(LACE_SPLICED, lace_sealed_socket(fds[1], _i == 0 ? LACE_ROLE_SERVER : LACE_ROLE_CLIENT, &options,
                                                  WITHIN_MS(20000), &sender, &receiver));
    CHECK(strstr(lace_explain(LACE_SPLICED), "memory:NAME") != NULL);
    thread_join(&honest.runner);
    CHECK_STATUS(LACE_SPLICED, honest.status);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

TEST_MAIN("attach", TEST_LOOP(test_i3_an_offer, OFFERS), TEST_LOOP(test_i3_an_answer, ANSWERS),
          TEST_LOOP(test_i3_two_manners, 2))
