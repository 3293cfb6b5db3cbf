/* test_hostile.c - I3: the other side of a memory connection has the key, and writes whatever it likes wherever it likes.
 * Each message that comes is one that was sent, and everything else is an error with a name; nothing hangs.
 *
 * LACE_HOSTILES says how many connections there are in all; without it, some thousands. The seed replays what one thread
 * does; what a second thread or a process writes meanwhile comes as it comes. */
#include "fixture.h"

#include "../../channels/byte_ring.h"
#include "../../channels/pipe.h"
#include "../../channels/turn.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SPAN 2000000000 /* of processor time that a call may take, in nanoseconds: what is hung takes it all, or sleeps */
#define LARGEST 9000

static size_t hostiles(double share)
{
    const char *given = getenv("LACE_HOSTILES");
    double all = given != NULL ? strtod(given, NULL) : (double)test_scaled(4000);
    return (size_t)(all * share) + 1;
}

/* ---- what is attacked ---------------------------------------------------------------------------------- */

/* The words of a ring, as byte_ring.c lays them out. */
enum { WRITTEN = 0, WRITER_WAITS = 8, READ = 128, READER_WAITS = 136, READER_LEFT = 140, DATA = 4096 };

typedef struct attack {
    connection made; /* [0] is the hostile side, [1] the one under attack */
    unsigned char *in; /* what the one under attack reads from, and writes to, as the hostile side has it mapped */
    unsigned char *out;
    int bells[2]; /* the hostile side's, of these two */
    uint64_t sent, received, answered;
    lace_message *message;
    rng random;
} attack;

/* One more mapping of the same memory: what is written there nobody has agreed on. */
static unsigned char *map_again(struct lace_byte_ring *ring)
{
    void *memory = mremap(ring->memory, 0, LACE_RING_SIZE, MREMAP_MAYMOVE);

    CHECK(memory != MAP_FAILED);
    return memory;
}

static void attack_begin(attack *begun, const char *name, uint64_t salt)
{
    *begun = (attack){.random = rng_start(name, salt)};
    connection_open_memory(&begun->made);
    struct lace_pipe *in = ((struct lace_end *)begun->made.sender[0])->pipe;
    struct lace_pipe *out = ((struct lace_end *)begun->made.receiver[0])->pipe;
    begun->in = map_again(in->bytes);
    begun->out = map_again(out->bytes);
    begun->bells[0] = in->fd;
    begun->bells[1] = out->fd;
    begun->message = message_make(NULL);
}

static void attack_end(attack *ended)
{
    munmap(ended->in, LACE_RING_SIZE);
    munmap(ended->out, LACE_RING_SIZE);
    connection_close(&ended->made);
    lace_message_destroy(ended->message);
}

static uint64_t cpu_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Message number n: its size and each of its bytes follow from n. */
static size_t fill_in(unsigned char *bytes, uint64_t number)
{
    size_t size = 8 + (size_t)(number * 2654435761u % LARGEST);

    memset(bytes, (int)(number % 251), size);
    memcpy(bytes, &number, sizeof number);
    return size;
}

static bool is_named(lace_status status)
{
    return status >= LACE_WRONG_KEY && status <= LACE_SPLICED;
}

/* The side under attack receives once. False: it has got an error, and keeps it. */
static bool receive(attack *on, unsigned milliseconds)
{
    unsigned char wanted[LARGEST + 8];
    uint64_t begun = cpu_time();
    lace_status status = lace_recv(on->made.receiver[1], on->message, WITHIN_MS(milliseconds));

    CHECK_MSG(cpu_time() - begun < SPAN, "a call took %g s of processor time", (double)(cpu_time() - begun) / 1e9);
    if (status == LACE_OK) {
        size_t size = fill_in(wanted, on->received++);
        CHECK(on->received <= on->sent + 1 && lace_message_size(on->message) == size &&
              memcmp(lace_message_data(on->message), wanted, size) == 0);
        return true;
    }
    if (status == LACE_TIMEOUT)
        return true;
    CHECK_MSG(is_named(status), "it gave %s", status_name(status));
    CHECK_STATUS(status, lace_recv(on->made.receiver[1], on->message, TRY));
    return false;
}

/* It sends once. */
static bool send_back(attack *on, unsigned milliseconds)
{
    unsigned char bytes[LARGEST + 8];
    size_t size = fill_in(bytes, on->answered);
    lace_payload payload = payload_of(bytes, size);
    uint64_t begun = cpu_time();
    lace_status status = lace_send(on->made.sender[1], &payload, WITHIN_MS(milliseconds));

    CHECK_MSG(cpu_time() - begun < SPAN, "a call took %g s of processor time", (double)(cpu_time() - begun) / 1e9);
    on->answered += status == LACE_OK;
    CHECK_MSG(status == LACE_OK || status == LACE_TIMEOUT || status == LACE_BROKEN || status == LACE_TRUNCATED ||
                  status == LACE_FORGED, "it gave %s", status_name(status));
    return status == LACE_OK || status == LACE_TIMEOUT;
}

/* The hostile side sends what it should, which may fail as it will. */
static void send_well(attack *on)
{
    unsigned char bytes[LARGEST + 8];
    size_t size = fill_in(bytes, on->sent);
    lace_payload payload = payload_of(bytes, size);

    on->sent += lace_send(on->made.sender[0], &payload, TRY) == LACE_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void put_u64(unsigned char *at, uint64_t value)
{
    atomic_store((_Atomic uint64_t *)(void *)at, value);
}

static uint64_t value_near(rng *random, uint64_t value)
{
    static const uint64_t steps[] = {1, 2, 8, 100, 4095, 4096, 4097, LACE_RING_BYTES - 1, LACE_RING_BYTES,
                                     LACE_RING_BYTES + 1, UINT64_C(1) << 32, UINT64_C(1) << 63};
    uint64_t step = steps[rng_below(random, sizeof steps / sizeof *steps)];

    switch (rng_below(random, 6)) {
    case 0:
        return rng_next(random);
    case 1:
        return 0;
    case 2:
        return UINT64_MAX - rng_below(random, 3);
    case 3:
        return value - step;
    default:
        return value + step;
    }
}

/* One thing that the hostile side does to the memory, or with the bells. */
static void scribble(rng *random, unsigned char *in, unsigned char *out, const int *bells)
{
    unsigned char *ring = rng_below(random, 3) != 0 ? in : out;
    static const unsigned words[] = {WRITTEN, WRITER_WAITS, READ, READER_WAITS, READER_LEFT};

    switch (rng_below(random, 8)) {
    case 0:
    case 1:
        put_u64(ring + WRITTEN, value_near(random, atomic_load((_Atomic uint64_t *)(void *)(ring + WRITTEN))));
        break;
    case 2:
        put_u64(ring + READ, value_near(random, atomic_load((_Atomic uint64_t *)(void *)(ring + READ))));
        break;
    case 3: {
        unsigned at = words[rng_below(random, sizeof words / sizeof *words)];
        atomic_store((_Atomic uint32_t *)(void *)(ring + at), (uint32_t)rng_next(random));
        break;
    }
    case 4: /* some bytes anywhere */
        for (size_t n = rng_below(random, 64) + 1; n > 0; n--)
            ring[rng_below(random, LACE_RING_SIZE)] = (unsigned char)rng_next(random);
        break;
    case 5: /* where the next records lie: their headers, sizes, numbers */
        for (size_t n = rng_below(random, 8) + 1; n > 0; n--)
            ring[DATA + (atomic_load((_Atomic uint64_t *)(void *)(ring + READ)) + rng_below(random, 64)) % LACE_RING_BYTES] ^=
                (unsigned char)(1u << rng_below(random, 8));
        break;
    case 6: {
        char rings[300] = {0};
        send(bells[rng_below(random, 2)], rings, rng_below(random, 8) == 0 ? sizeof rings : 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    }
    default: /* everything */
        for (size_t i = 0; i + 8 <= LACE_RING_SIZE; i += 8) {
            uint64_t garbage = rng_next(random);
            memcpy(ring + i, &garbage, sizeof garbage);
        }
    }
}

/* ---- the tests ----------------------------------------------------------------------------------------- */

/* One thing after the other, all of it by the seed. */
START_TEST(test_i3_chosen_words)
{
    size_t failed = 0, rounds = hostiles(0.6);

    for (size_t round = 0; round < rounds; round++) {
        attack on;
        bool reads = true, writes = true;

        attack_begin(&on, __func__, round);
        for (size_t step = 0; step < 60 && (reads || writes); step++) {
            size_t what = rng_below(&on.random, 10);

            if (what < 4)
                send_well(&on);
            else if (what < 6 && reads)
                reads = receive(&on, 0);
            else if (what < 8 && writes)
                writes = send_back(&on, 0);
            else if (what == 8 && rng_below(&on.random, 4) == 0)
                scribble(&on.random, on.in, on.out, on.bells);
            else if (reads)
                reads = receive(&on, rng_below(&on.random, 8) == 0);
        }
        failed += !reads;
        failed += !writes;
        attack_end(&on);
    }
    CHECK_MSG(failed > rounds / 4, "only %zu of %zu connections have come to harm", failed, rounds);
}
END_TEST

typedef struct writer {
    attack *on;
    rng random;
    atomic_bool over;
} writer;

static void write_on(void *context)
{
    writer *self = context;
    while (!atomic_load(&self->over))
        scribble(&self->random, self->on->in, self->on->out, self->on->bells);
}

/* Both sides work, or think so, while somebody writes over all of it. */
static void work_under_fire(attack *on)
{
    bool reads = true, writes = true;

    for (size_t step = 0; step < 40 && (reads || writes); step++) {
        send_well(on);
        if (reads)
            reads = receive(on, (unsigned)rng_below(&on->random, 3));
        if (writes)
            writes = send_back(on, (unsigned)rng_below(&on->random, 3));
    }
}

START_TEST(test_i3_a_thread_writes_over_all_of_it)
{
    for (size_t round = hostiles(0.3); round > 0; round--) {
        attack on;
        thread runner;
        attack_begin(&on, __func__, round);
        writer hostile = {.on = &on, .random = rng_start("thread", round)};

        thread_start(&runner, write_on, &hostile);
        work_under_fire(&on);
        atomic_store(&hostile.over, true);
        thread_join(&runner);
        attack_end(&on);
    }
}
END_TEST

START_TEST(test_i3_a_process_writes_over_all_of_it)
{
    for (size_t round = hostiles(0.1); round > 0; round--) {
        attack on;
        attack_begin(&on, __func__, round);
        rng random = rng_start("process", round);
        pid_t child = fork();

        CHECK(child >= 0);
        while (child == 0) /* it calls nothing of the library's, and is killed */
            scribble(&random, on.in, on.out, on.bells);
        work_under_fire(&on);
        CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
        attack_end(&on);
    }
}
END_TEST

/* ---- bells --------------------------------------------------------------------------------------------- */

/* A side that rings whenever it is asked to, and has nothing to say: it is found out, not waited for. */
START_TEST(test_i3_ringing_for_nothing)
{
    attack on;
    lace_status status;

    attack_begin(&on, __func__, 0);
    unsigned rounds = 0;
    do {
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(on.made.receiver[1], on.message, TRY));
        CHECK(send(on.bells[0], "", 1, MSG_NOSIGNAL) == 1);
        status = lace_recv(on.made.receiver[1], on.message, TRY);
    } while (status == LACE_TIMEOUT && ++rounds < 1000);
    CHECK_STATUS(LACE_FORGED, status);
    CHECK(strstr(lace_explain(status), "nonsense") != NULL);
    CHECK_STATUS(LACE_FORGED, lace_recv(on.made.receiver[1], on.message, NULL)); /* which does not wait */
    attack_end(&on);
    attack_begin(&on, __func__, 1); /* many at once */
    char rings[200] = {0};
    CHECK(send(on.bells[0], rings, sizeof rings, MSG_NOSIGNAL) == (ssize_t)sizeof rings);
    CHECK_STATUS(LACE_FORGED, lace_recv(on.made.receiver[1], on.message, NULL));
    attack_end(&on);
}
END_TEST

/* Rings that have been asked for, however many, are no reason for anything. */
START_TEST(test_i3_rings_that_were_asked_for)
{
    attack on;

    attack_begin(&on, __func__, 0);
    for (int i = 0; i < 1000; i++) {
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(on.made.receiver[1], on.message, TRY)); /* asks for a ring */
        send_well(&on);                                                            /* which comes */
        CHECK(receive(&on, 20000));
    }
    CHECK_UINT(on.received, 1000);
    attack_end(&on);
}
END_TEST

TEST_MAIN("hostile", TEST_LONG(test_i3_chosen_words, 1, 600), TEST_LONG(test_i3_a_thread_writes_over_all_of_it, 1, 600),
          TEST_LONG(test_i3_a_process_writes_over_all_of_it, 1, 600), TEST(test_i3_ringing_for_nothing),
          TEST(test_i3_rings_that_were_asked_for))
