/* test_redeliver_death.c - a child process that receives from a channel that redelivers dies at every step, or at random:
 * each message is received by somebody, none that was confirmed is received again, and nothing stays in use.
 *
 * The child passes on the number of each message before it asks for the next: so all that it has passed on but the last is
 * confirmed. Steps are those of test_crash.c. */
#include "family.h"
#include "numbered.h"

#include "../../channels/end.h"
#include "../../channels/hooks.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 64

/* ---- receiving ---------------------------------------------------------------------------------------- */

enum { BY_RECV, BY_MANY, BY_SELECT, BY_SELECTOR, WAYS };

/* Calls `each` with each message of the channel, until it says no, or the channel ends: true. */
static bool receive_all(lace_region *region, lace_receiver *receiver, int way, bool (*each)(void *context, uint64_t value),
                        void *context)
{
    lace_message *messages[2] = {message_make(region), message_make(region)};
    const lace_case it = {.kind = LACE_CASE_RECV, .receiver = receiver, .message = messages[0]};
    lace_selector *selector = NULL;
    lace_status status = LACE_OK;
    bool goes_on = true;

    if (way == BY_SELECTOR)
        CHECK_OK(lace_selector_create(&it, 1, &selector));
    while (goes_on) {
        size_t count = 1, index;

        if (way == BY_RECV)
            status = lace_recv(receiver, messages[0], NULL);
        else if (way == BY_MANY)
            status = lace_recv_many(receiver, messages, 2, NULL, &count);
        else if (way == BY_SELECT)
            status = lace_select(&it, 1, 0, NULL, &index);
        else
            status = lace_selector_wait(selector, 0, messages[0], NULL, &index);
        if (status != LACE_OK)
            break;
        for (size_t i = 0; i < count && goes_on; i++)
            goes_on = each(context, numbered_check(messages[i], MOST));
    }
    if (goes_on)
        CHECK_STATUS(LACE_END, status);
    lace_selector_destroy(selector);
    lace_message_destroy(messages[0]);
    lace_message_destroy(messages[1]);
    return goes_on;
}

/* ---- the child ---------------------------------------------------------------------------------------- */

static long steps_left;

static void count_down(void)
{
    if (__atomic_sub_fetch(&steps_left, 1, __ATOMIC_RELAXED) == 0)
        kill(getpid(), SIGKILL);
}

struct eater {
    lace_region *region;
    lace_receiver *in;
    lace_sender *out;
    int way;
    bool confirms; /* by itself, each message */
    int leaves;    /* so many messages before it goes, without a word; 0: never */
};

static bool eat(void *context, uint64_t value)
{
    struct eater *eater = context;

    CHECK_OK(send_u64(eater->out, value, NULL));
    if (eater->confirms)
        CHECK_OK(lace_receiver_confirm(eater->in));
    return eater->leaves == 0 || --eater->leaves > 0;
}

/* argument: "step way confirms leaves" */
static int run_eater(lace_region *region, const char *argument)
{
    struct eater eater = {.region = region};
    int confirms;
    long step;

    CHECK(sscanf(argument, "%ld %d %d %d", &step, &eater.way, &confirms, &eater.leaves) == 4);
    eater.confirms = confirms != 0;
    steps_left = step;
    if (step != 0)
        lace_hooks.step = count_down;
    eater.in = gift_receiver(region);
    eater.out = gift_sender(region);
    receive_all(region, eater.in, eater.way, eat, &eater);
    lace_receiver_destroy(eater.in);
    lace_sender_destroy(eater.out);
    lace_hooks.step = NULL;
    return 0;
}

/* ---- the host ----------------------------------------------------------------------------------------- */

#define CHILDREN 4

struct round {
    /* What is to happen. */
    uint64_t messages;
    int way; /* the child's */
    bool confirms;
    int leaves;
    int rival;      /* how a thread of the host receives as well; -1: none does */
    size_t capacity;
    long step;      /* of the child's death; 0: all children but one are killed at random */
    int children;
    rng *random;

    lace_region *region;
    lace_sender *to;
    lace_receiver *in; /* for the rival, and then for what is left */
    lace_receiver *from[CHILDREN];
    unsigned times[MOST]; /* how often the host has received it */
    _Atomic unsigned received;
    bool died;
};

static void feed(void *context)
{
    struct round *round = context;

    for (uint64_t i = 0; i < round->messages; i++)
        CHECK_OK(numbered_send(round->region, round->to, i));
    lace_sender_destroy(round->to);
}

static bool note(void *context, uint64_t value)
{
    struct round *round = context;

    round->times[value]++;
    atomic_fetch_add(&round->received, 1);
    return true;
}

static void be_rival(void *context)
{
    struct round *round = context;

    receive_all(round->region, round->in, round->rival, note, round);
}

static void start_child(struct round *round, child *started, int number)
{
    lace_receiver *in;
    lace_sender *out;
    char argument[64];

    CHECK_OK(lace_receiver_clone(round->in, &in));
    channel_make(round->region, MOST, &out, &round->from[number]);
    child_make(started, round->region);
    child_give_receiver(started, in);
    child_give_sender(started, out);
    snprintf(argument, sizeof argument, "%ld %d %d %d", round->step,
             round->random != NULL ? (int)rng_below(round->random, WAYS) : round->way, round->confirms, round->leaves);
    child_start(started, "eater", argument);
}

/* What a child has passed on: it has been received; and confirmed, but for the last call's. */
static void check_passed_on(struct round *round, int number, bool by_many, bool was_killed, bool seen[])
{
    lace_message *message = message_make(round->region);
    uint64_t values[MOST], value;
    size_t count = 0;

    while (recv_u64(round->from[number], message, &value, NULL) == LACE_OK) {
        CHECK(count < MOST);
        values[count++] = value;
        seen[value] = true;
    }
    size_t unsure = !was_killed && round->leaves == 0 ? 0 : round->confirms && !by_many ? 1 : 2;
    for (size_t i = 0; i + unsure < count; i++)
        CHECK_MSG(round->times[values[i]] == 0, "message %d was confirmed, and comes again", (int)values[i]);
    lace_message_destroy(message);
    lace_receiver_destroy(round->from[number]);
}

static void play(void *context)
{
    struct round *round = context;
    child children[CHILDREN];
    thread feeder, rival;
    bool seen[MOST] = {false}, killed[CHILDREN] = {false};

    round->region = region_make(16 << 20);
    CHECK_OK(lace_channel_create(round->region,
                                 &(lace_channel_options){.capacity = round->capacity, .redeliver = true}, &round->to,
                                 &round->in));
    if (round->rival < 0 && round->random == NULL)
        feed(round);
    else
        thread_start(&feeder, feed, round);
    if (round->rival >= 0)
        thread_start(&rival, be_rival, round);
    for (int i = 0; i < round->children; i++)
        start_child(round, &children[i], i);
    if (round->random != NULL) {
        for (size_t spins = rng_below(round->random, 3000000); spins > 0; spins--)
            __asm__ volatile("" ::: "memory");
        for (int i = 1; i < round->children; i++) {
            killed[i] = true;
            child_kill(&children[i]);
            child_wait(&children[i]);
            child_bury(&children[i]);
        }
        child_join(&children[0]);
    } else {
        int status = child_wait(&children[0]);

        round->died = killed[0] = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        CHECK_MSG(round->died || status == 0, "status 0x%x", (unsigned)status);
        child_bury(&children[0]);
    }
    if (round->rival >= 0)
        thread_join(&rival);
    else
        receive_all(round->region, round->in, BY_RECV, note, round);
    if (round->rival >= 0 || round->random != NULL)
        thread_join(&feeder);
    for (int i = 0; i < round->children; i++)
        check_passed_on(round, i, round->random != NULL || round->way == BY_MANY, killed[i], seen);
    for (uint64_t i = 0; i < round->messages; i++) {
        CHECK_MSG(seen[i] || round->times[i] != 0, "message %d is lost", (int)i);
        CHECK(round->times[i] <= 1);
    }
    /* Alone, the child has had the first ones, and the host gets the rest. */
    for (uint64_t i = 1; round->rival < 0 && round->random == NULL && i < round->messages; i++)
        CHECK(round->times[i] >= round->times[i - 1]);
    CHECK_UINT(lace_receiver_length(round->in), 0);
    CHECK_UINT(round->in->end.view.ring->out_count, 0);
    lace_receiver_destroy(round->in);
}

/* In a thread of its own, whose cached parties go with it: then nothing at all may be in use. */
static bool play_once(struct round *round)
{
    thread player;

    thread_start(&player, play, round);
    thread_join(&player);
    /* The bell's thread drains what the child had left to it. */
    for (int i = 0; i < 10000 && region_used(round->region) != 0; i++)
        pass_ms(1);
    CHECK_UINT(region_used(round->region), 0);
    CHECK_OK(lace_region_destroy(round->region));
    return round->died;
}

/* A run looks at some of the steps, others each time; all of them with LACE_TEST_SCALE=10 (./dev soak). */
static long stride(void)
{
    long scaled = (long)test_scaled(100);

    return scaled >= 1000 ? 1 : 1000 / scaled;
}

static const struct {
    int way;
    bool confirms;
    int leaves;
    int rival;
    size_t capacity;
} plays[] = {
    {BY_RECV, true, 0, -1, 8},       {BY_RECV, false, 0, -1, 8},    {BY_RECV, false, 3, -1, 8},
    {BY_MANY, false, 0, -1, 8},      {BY_MANY, false, 4, -1, 8},    {BY_SELECT, false, 0, -1, 8},
    {BY_SELECTOR, true, 3, -1, 8},   {BY_RECV, false, 2, BY_RECV, 1}, {BY_RECV, true, 0, BY_SELECT, 1},
    {BY_SELECT, false, 2, BY_SELECTOR, 2}, {BY_SELECTOR, false, 0, BY_MANY, 2}, {BY_MANY, true, 3, BY_RECV, 3},
};
#define PLAYS (int)(sizeof plays / sizeof *plays)

START_TEST(test_redeliver_death_at_every_step)
{
    rng random = rng_start(__func__, (uint64_t)_i);
    long step = 1 + (long)rng_below(&random, (size_t)stride());
    bool died = true;

    for (; died; step += stride()) {
        struct round round = {.messages = 6,
                              .way = plays[_i].way,
                              .confirms = plays[_i].confirms,
                              .leaves = plays[_i].leaves,
                              .rival = plays[_i].rival,
                              .capacity = plays[_i].capacity,
                              .step = step,
                              .children = 1};

        CHECK(step < 20000);
        died = play_once(&round);
    }
    CHECK(step > 100);
}
END_TEST

/* A pool of children at one channel, of which all but one are killed. */
START_TEST(test_redeliver_death_at_random)
{
    rng random = rng_start(__func__, (uint64_t)_i);

    for (size_t i = test_scaled(60); i > 0; i--) {
        struct round round = {.messages = MOST,
                              .confirms = rng_below(&random, 2),
                              .rival = -1,
                              .capacity = 1 + rng_below(&random, 8),
                              .children = CHILDREN,
                              .random = &random};
        play_once(&round);
    }
}
END_TEST

/* ---- the last receiver goes while a message is copied from its channel ---------------------------------- */

static lace_receiver *last;
static pthread_t copier;
static bool copies;

/* Stays where the copier has what it received and copies it. */
static void stay(void)
{
    const struct lace_ring *ring = last->end.view.ring;

    if (pthread_equal(pthread_self(), copier) && atomic_load(&ring->out_count) == 1 && atomic_load(&ring->lock.word) == 0) {
        __atomic_store_n(&copies, true, __ATOMIC_RELEASE);
        for (;;)
            pause();
    }
}

static void copy(void *context)
{
    lace_message *message = message_make(context);

    copier = pthread_self();
    lace_hooks.step = stay;
    (void)lace_recv(last, message, NULL);
    CHECK_MSG(false, "the message has been received");
}

static int run_leaver(lace_region *region, const char *argument)
{
    thread receives;

    (void)argument;
    last = gift_receiver(region);
    thread_start(&receives, copy, region);
    while (!__atomic_load_n(&copies, __ATOMIC_ACQUIRE))
        pass_ms(1);
    lace_receiver_close(last);
    kill(getpid(), SIGKILL);
    return 1;
}

/* What comes back to a channel without receivers is discarded, and what is in it. */
START_TEST(test_redeliver_death_of_the_last_receiver)
{
    lace_region *region = region_make(16 << 20);
    lace_sender *sender;
    lace_receiver *receiver;
    child leaver;

    CHECK_OK(lace_channel_create(region, &(lace_channel_options){.capacity = 8, .redeliver = true}, &sender, &receiver));
    size_t before = region_used(region);
    for (uint64_t value = 2; value > 0; value--)
        CHECK_OK(numbered_send(region, sender, value)); /* the first has a block and a sender, the other is long */
    child_make(&leaver, region);
    child_give_receiver(&leaver, receiver);
    child_start(&leaver, "leaver", NULL);
    int status = child_wait(&leaver);
    CHECK_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status 0x%x", (unsigned)status);
    child_bury(&leaver);
    for (int i = 0; i < 10000 && region_used(region) != before; i++)
        pass_ms(1); /* the bell's thread drains what the child had left to it */
    CHECK_UINT(region_used(region), before);
    lace_sender_destroy(sender);
    CHECK_OK(lace_region_destroy(region));
}
END_TEST

static const script scripts[] = {{"eater", run_eater}, {"leaver", run_leaver}};

FAMILY_MAIN("redeliver_death", scripts, TEST(test_redeliver_death_of_the_last_receiver),
            TEST_LONG(test_redeliver_death_at_random, 1, 200),
            TEST_LONG(test_redeliver_death_at_every_step, PLAYS, 200))
