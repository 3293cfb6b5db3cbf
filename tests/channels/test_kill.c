/* test_kill.c - child processes of two threads each are killed with SIGKILL at random moments while they pass messages
 * on. Each time: nobody hangs, no message is doubled, none is lost but what the dead had in hand, nothing stays in use.
 *
 * LACE_KILLS=10000 sets how many rounds; LACE_SEED replays what is random here (the kernel's part in it is not). */
#include "family.h"
#include "numbered.h"

#include "../../channels/counter.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define MESSAGES 48
#define CHILDREN 2
#define THREADS 2

/* ---- a child ------------------------------------------------------------------------------------------ */

struct busy {
    lace_region *region;
    lace_receiver *in;
    lace_sender *out;
    lace_counter counter;
    uint64_t salt;
    thread runner;
};

/* Something else that leaves traces in the region. */
static void noise(struct busy *busy, rng *random, lace_message *message)
{
    lace_sender *sender;
    lace_receiver *receiver;
    lace_block *block;
    int64_t number;
    int fd;

    switch (rng_below(random, 5)) {
    case 0:
        CHECK_OK(lace_block_create(busy->region, 1 + rng_below(random, 100000), &block));
        lace_block_destroy(block);
        break;
    case 1:
        channel_make(busy->region, 1, &sender, &receiver);
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(receiver, message, &(lace_wait){.deadline = lace_clock() + 1000}));
        CHECK_OK(lace_receiver_fd(receiver, &fd));
        CHECK_OK(numbered_send(busy->region, sender, 2));
        lace_receiver_destroy(receiver);
        lace_sender_destroy(sender);
        break;
    case 2: {
        lace_counter_watch wanted = {.at_least = lace_counter_number(busy->counter) + 1, .size = 1};
        lace_status status;

        channel_make(busy->region, 1, &sender, &receiver);
        CHECK_OK(lace_counter_watch_for(busy->counter, &wanted, sender));
        CHECK(lace_counter_add(busy->counter, 1, &number));
        if (lace_counter_due(busy->counter))
            CHECK_OK(lace_counter_settle(busy->counter));
        status = lace_recv(receiver, message, NULL); /* END: the other child died with the list */
        CHECK(status == LACE_OK || status == LACE_END);
        lace_receiver_destroy(receiver);
        break;
    }
    case 3:
        CHECK_OK(lace_receiver_clone(busy->in, &receiver));
        lace_receiver_destroy(receiver);
        break;
    default:
        break;
    }
}

static void be_busy(void *context)
{
    struct busy *busy = context;
    rng random = rng_start("busy", busy->salt);
    lace_message *message = message_make(busy->region);
    const lace_case receive = {.kind = LACE_CASE_RECV, .receiver = busy->in, .message = message};
    lace_selector *selector;
    lace_status status;

    CHECK_OK(lace_selector_create(&receive, 1, &selector));
    for (;;) {
        unsigned char bytes[NUMBERED_LARGE];
        lace_attachment attached[2];
        lace_payload payload;
        size_t index;

        switch (rng_below(&random, 3)) {
        case 0:
            status = lace_recv(busy->in, message, NULL);
            break;
        case 1:
            status = lace_select(&receive, 1, 0, NULL, &index);
            break;
        default:
            status = lace_selector_wait(selector, 0, message, NULL, &index);
            break;
        }
        if (status != LACE_OK)
            break;
        numbered_payload(busy->region, numbered_check(message, MESSAGES), bytes, attached, &payload);
        lace_case there = {.kind = LACE_CASE_SEND, .sender = busy->out, .payload = &payload};
        CHECK_OK(rng_below(&random, 2) ? lace_select(&there, 1, 0, NULL, &index)
                                       : lace_send(busy->out, &payload, NULL));
        noise(busy, &random, message);
    }
    CHECK_STATUS(LACE_END, status);
    lace_selector_destroy(selector);
    lace_message_destroy(message);
}

static int run_busy(lace_region *region, const char *argument)
{
    struct busy busy[THREADS] = {{.region = region}};

    busy[0].in = gift_receiver(region);
    busy[0].out = gift_sender(region);
    busy[0].counter.sender = gift_sender(region);
    busy[0].counter.receiver = gift_receiver(region);
    for (int i = 1; i < THREADS; i++)
        busy[i] = busy[0];
    for (int i = 0; i < THREADS; i++) {
        busy[i].salt = strtoull(argument, NULL, 10) + (uint64_t)i;
        thread_start(&busy[i].runner, be_busy, &busy[i]);
    }
    for (int i = 0; i < THREADS; i++)
        thread_join(&busy[i].runner);
    lace_receiver_destroy(busy[0].in);
    lace_sender_destroy(busy[0].out);
    lace_sender_destroy(busy[0].counter.sender);
    lace_receiver_destroy(busy[0].counter.receiver);
    return 0;
}

/* ---- the host ----------------------------------------------------------------------------------------- */

struct round {
    lace_region *region;
    lace_sender *to;
    lace_receiver *from;
    _Atomic size_t drained;
    bool seen[MESSAGES];
};

static void feed(void *context)
{
    struct round *round = context;

    for (uint64_t i = 0; i < MESSAGES; i++)
        CHECK_OK(numbered_send(round->region, round->to, i));
    lace_sender_destroy(round->to);
}

static void drain(void *context)
{
    struct round *round = context;
    lace_message *message = message_make(round->region);
    lace_status status;

    while ((status = lace_recv(round->from, message, NULL)) == LACE_OK) {
        uint64_t value = numbered_check(message, MESSAGES);

        CHECK_MSG(!round->seen[value], "message %d comes twice", (int)value);
        round->seen[value] = true;
        atomic_fetch_add(&round->drained, 1);
    }
    CHECK_STATUS(LACE_END, status);
    lace_message_destroy(message);
    lace_receiver_destroy(round->from);
}

struct player {
    rng random;
    lace_region *region;
};

/* One round. */
static void play(void *context)
{
    struct player *player = context;
    rng *random = &player->random;
    struct round round = {.region = region_make(16 << 20)};
    child children[CHILDREN];
    thread feeder, drainer;
    lace_receiver *in, *in_clone;
    lace_sender *out, *out_clone;
    lace_counter counter;
    size_t capacity = rng_below(random, 4);
    size_t killed = 1 + rng_below(random, CHILDREN - 1);
    char salt[32];

    channel_make(round.region, capacity, &round.to, &in);
    channel_make(round.region, rng_below(random, 4), &out, &round.from);
    CHECK_OK(lace_counter_create(round.region, 0, NULL, &counter.sender, &counter.receiver));
    for (int i = 0; i < CHILDREN; i++) {
        lace_sender *counter_sender;
        lace_receiver *counter_receiver;

        CHECK_OK(lace_receiver_clone(in, &in_clone));
        CHECK_OK(lace_sender_clone(out, &out_clone));
        CHECK_OK(lace_sender_clone(counter.sender, &counter_sender));
        CHECK_OK(lace_receiver_clone(counter.receiver, &counter_receiver));
        child_make(&children[i], round.region);
        child_give_receiver(&children[i], in_clone);
        child_give_sender(&children[i], out_clone);
        child_give_sender(&children[i], counter_sender);
        child_give_receiver(&children[i], counter_receiver);
        snprintf(salt, sizeof salt, "%llu", (unsigned long long)rng_next(random) >> 1);
        child_start(&children[i], "busy", salt);
    }
    lace_receiver_destroy(in);
    lace_sender_destroy(out);
    thread_start(&feeder, feed, &round);
    thread_start(&drainer, drain, &round);

    size_t until = rng_below(random, MESSAGES * 3 / 4);
    while (atomic_load(&round.drained) < until)
        sched_yield();
    for (size_t spins = rng_below(random, 20000); spins > 0; spins--)
        __asm__ volatile("" ::: "memory");
    for (size_t i = 0; i < killed; i++) {
        child_kill(&children[i]);
        int status = child_wait(&children[i]);
        CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) || status == 0); /* it may have been ready */
        child_bury(&children[i]);
    }
    for (size_t i = killed; i < CHILDREN; i++)
        child_join(&children[i]); /* it does the rest */
    thread_join(&feeder);
    thread_join(&drainer);
    CHECK_MSG(round.drained + killed * THREADS >= MESSAGES, "%zu messages of %d have arrived", (size_t)round.drained,
              MESSAGES);
    lace_sender_destroy(counter.sender);
    lace_receiver_destroy(counter.receiver);
    player->region = round.region;
}

START_TEST(test_kill_at_random)
{
    const char *wanted = getenv("LACE_KILLS");
    size_t rounds = wanted != NULL ? strtoul(wanted, NULL, 10) : test_scaled(200);
    struct player player = {.random = rng_start(__func__, (uint64_t)_i)};

    for (size_t i = 0; i < rounds; i++) {
        thread runner;

        thread_start(&runner, play, &player); /* in a thread of its own, whose cached parties go with it */
        thread_join(&runner);
        /* The bell's thread drains what a child had left to it. */
        for (int k = 0; k < 10000 && region_used(player.region) != 0; k++)
            pass_ms(1);
        CHECK_UINT(region_used(player.region), 0);
        CHECK_OK(lace_region_destroy(player.region));
    }
}
END_TEST

static const script scripts[] = {{"busy", run_busy}};

FAMILY_MAIN("kill", scripts, TEST_LONG(test_kill_at_random, 1, 150))
