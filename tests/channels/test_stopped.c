/* test_stopped.c - a child is stopped while it waits, and another process does what it waits for. Then it dies without
 * having seen that, or goes on; and the other one dies as well, at every step. Nothing is lost, doubled or left but what
 * the dead had in hand. */
#include "family.h"

#include "../../channels/end.h"
#include "../../channels/hooks.h"
#include "../../channels/queued.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- messages that can be checked --------------------------------------------------------------------- */

#define LARGE 3000
#define BLOCK 1000
#define ENDED 100 /* a receiver's exit status: there was no message */

/* An even value is a long message, an odd one a short message with a block. */
static lace_status send_value(lace_region *region, lace_sender *sender, uint64_t value, const lace_wait *wait)
{
    unsigned char bytes[LARGE];
    lace_attachment block = {.kind = LACE_ATTACH_BLOCK};
    lace_payload payload = {.data = bytes, .size = LARGE};

    memset(bytes, (int)value, sizeof bytes);
    if (value % 2 == 1) {
        CHECK_OK(lace_block_create(region, BLOCK, &block.as.block));
        memset(lace_block_data(block.as.block), (int)value, BLOCK);
        payload.size = 8;
        payload.attachments = &block;
        payload.attachment_count = 1;
    }
    lace_status status = lace_send(sender, &payload, wait);
    if (status != LACE_OK && payload.attachment_count != 0)
        lace_block_destroy(block.as.block);
    return status;
}

static uint64_t check_value(lace_message *message)
{
    const unsigned char *bytes = lace_message_data(message);
    uint64_t value = bytes[0];

    CHECK_UINT(lace_message_size(message), value % 2 == 1 ? 8 : LARGE);
    for (size_t i = 0; i < lace_message_size(message); i++)
        CHECK_UINT(bytes[i], value);
    CHECK_UINT(lace_message_attachments(message), value % 2);
    if (value % 2 == 1) {
        lace_block *block = take_block(message, 0);

        CHECK_UINT(lace_block_size(block), BLOCK);
        for (size_t i = 0; i < BLOCK; i++)
            CHECK_UINT(((unsigned char *)lace_block_data(block))[i], value);
        lace_block_destroy(block);
    }
    return value;
}

/* Writes over all memory of the sizes used here that is free: what has been let go of too early does not look well. */
static void soil(lace_region *region)
{
    lace_sender *sender;
    lace_receiver *receiver;

    channel_make(region, 64, &sender, &receiver);
    for (uint64_t i = 0; i < 64; i++)
        CHECK_OK(send_value(region, sender, 254 + i % 2, TRY));
    lace_receiver_destroy(receiver);
    lace_sender_destroy(sender);
}

/* ---- the children ------------------------------------------------------------------------------------- */

enum way { SEND, SELECT_SEND, RECV, SELECT_RECV, SELECTOR, WAYS };

/* Waits in one way or another, and reports when that is over. argument: "way value" */
static int run_waiter(lace_region *region, const char *argument)
{
    lace_message *message = message_make(region);
    lace_sender *report = gift_sender(region), *sender = NULL, *idle_sender;
    lace_receiver *receiver = NULL, *idle;
    lace_selector *selector = NULL;
    lace_status status = LACE_OK;
    unsigned way, value;
    size_t index;

    CHECK(sscanf(argument, "%u %u", &way, &value) == 2);
    if (way <= SELECT_SEND)
        sender = gift_sender(region);
    else
        receiver = gift_receiver(region);
    channel_make(region, 1, &idle_sender, &idle);

    unsigned char bytes[LARGE];
    memset(bytes, (int)value, sizeof bytes);
    const lace_payload payload = payload_of(bytes, LARGE);
    const lace_case cases[3] = {{.kind = LACE_CASE_RECV, .receiver = idle, .message = message},
                                {.kind = LACE_CASE_SEND, .sender = sender, .payload = &payload},
                                {.kind = LACE_CASE_RECV, .receiver = receiver, .message = message}};
    switch (way) {
    case SEND:
        CHECK_OK(send_value(region, sender, value, NULL));
        break;
    case SELECT_SEND:
        CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
        break;
    case RECV:
        status = lace_recv(receiver, message, NULL);
        break;
    case SELECT_RECV:
        status = lace_select(&cases[2], 1, 0, NULL, &index);
        break;
    default:
        CHECK_OK(lace_selector_create(&cases[2], 1, &selector));
        status = lace_selector_wait(selector, 0, message, NULL, &index);
        break;
    }
    CHECK_OK(send_text(report, "over", TRY));
    unsigned result = 0;
    if (receiver != NULL)
        result = status == LACE_OK ? (unsigned)check_value(message) : ENDED;
    CHECK(status == LACE_OK || status == LACE_END);
    lace_selector_destroy(selector);
    lace_message_destroy(message);
    lace_sender_destroy(report);
    lace_sender_destroy(idle_sender);
    lace_receiver_destroy(idle);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return (int)result;
}

static long steps_left;

static void count_down(void)
{
    if (__atomic_sub_fetch(&steps_left, 1, __ATOMIC_RELAXED) == 0)
        kill(getpid(), SIGKILL);
}

/* Does what the waiter waits for, and dies at that step. argument: "way value step" */
static int run_other(lace_region *region, const char *argument)
{
    lace_message *message = message_make(region);
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    unsigned way, value;
    long step;

    CHECK(sscanf(argument, "%u %u %ld", &way, &value, &step) == 3);
    if (way <= SELECT_SEND)
        receiver = gift_receiver(region);
    else
        sender = gift_sender(region);
    steps_left = step;
    lace_hooks.step = count_down;
    if (receiver != NULL) {
        CHECK_OK(lace_recv(receiver, message, TRY));
        check_value(message);
    } else {
        CHECK_OK(send_value(region, sender, value, TRY));
    }
    lace_message_destroy(message);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_hooks.step = NULL;
    return 0;
}

/* ---- the host ----------------------------------------------------------------------------------------- */

/* What becomes of the waiter. */
enum fate {
    GOES_ON,       /* after the other one has been buried */
    GOES_ON_FIRST, /* before, if it has its result; with a plain send or receive */
    DIES,
    DIES_FIRST,
    FATES
};

struct scene {
    enum way way;
    size_t capacity;
    unsigned value;
    enum fate fate;
    long step;
    bool died;
    lace_region *region;
    lace_sender *sender; /* the host's own ends */
    lace_receiver *receiver;
    lace_receiver *reports;
    struct lace_party *party; /* the waiter's */
    child waiter, other;
};

static bool sends(const struct scene *scene)
{
    return scene->way <= SELECT_SEND;
}

/* Whether the child is registered at the channel and may be claimed; it holds no lock then that others need. */
static bool waits(struct scene *scene)
{
    const struct lace_view *view = &scene->receiver->end.view;
    const struct lace_list *list = sends(scene) ? &view->ring->sending : &view->ring->receiving;
    struct lace_wakes wakes = {.count = 0};
    bool open = false;

    lace_ring_lock(view);
    if (list->first != 0) {
        const struct lace_node *node = lace_region_at(view->region, list->first, sizeof *node, 8);

        scene->party = lace_region_at(view->region, node->party, sizeof *scene->party, 64);
        lace_lock_acquire(&scene->party->lock);
        open = scene->party->state == LACE_PARTY_OPEN;
        lace_lock_release(&scene->party->lock);
    }
    lace_ring_unlock(view, &wakes);
    return open;
}

/* Makes the channel, full if there is room in it and the child is to send, and has the child wait there, stopped. */
static void scene_open(struct scene *scene)
{
    lace_sender *report;
    char argument[64];
    int status;

    scene->region = region_make(16 << 20);
    channel_make(scene->region, 1, &report, &scene->reports);
    channel_make(scene->region, scene->capacity, &scene->sender, &scene->receiver);
    if (sends(scene)) {
        for (size_t i = 0; i < scene->capacity; i++)
            CHECK_OK(send_value(scene->region, scene->sender, 0, TRY));
    }
    child_make(&scene->waiter, scene->region);
    child_give_sender(&scene->waiter, report);
    if (sends(scene)) {
        lace_sender *given;

        CHECK_OK(lace_sender_clone(scene->sender, &given));
        child_give_sender(&scene->waiter, given);
    } else {
        lace_receiver *given;

        CHECK_OK(lace_receiver_clone(scene->receiver, &given));
        child_give_receiver(&scene->waiter, given);
    }
    snprintf(argument, sizeof argument, "%u %u", (unsigned)scene->way, scene->value);
    child_start(&scene->waiter, "waiter", argument);
    while (!waits(scene))
        pass_ms(1);
    CHECK(kill(scene->waiter.pid, SIGSTOP) == 0);
    while (waitpid(scene->waiter.pid, &status, WUNTRACED) < 0)
        CHECK(errno == EINTR);
    CHECK(WIFSTOPPED(status));
}

/* Starts the other child, and waits for its death. */
static void other_acts(struct scene *scene)
{
    char argument[64];

    child_make(&scene->other, scene->region);
    if (sends(scene)) {
        lace_receiver *given;

        CHECK_OK(lace_receiver_clone(scene->receiver, &given));
        child_give_receiver(&scene->other, given);
    } else {
        lace_sender *given;

        CHECK_OK(lace_sender_clone(scene->sender, &given));
        child_give_sender(&scene->other, given);
    }
    snprintf(argument, sizeof argument, "%u %u %ld", (unsigned)scene->way, scene->value, scene->step);
    child_start(&scene->other, "other", argument);
    int status = child_wait(&scene->other);
    scene->died = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CHECK_MSG(scene->died || status == 0, "status 0x%x", (unsigned)status);
}

static void waiter_dies(struct scene *scene)
{
    child_kill(&scene->waiter);
    int status = child_wait(&scene->waiter);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    child_bury(&scene->waiter);
}

/* Closes the host's receiver, after all that is left in the channel was received; bit V of the result: V was. */
static unsigned scene_drain(struct scene *scene)
{
    lace_message *message = message_make(scene->region);
    unsigned seen = 0;
    lace_status status;

    while ((status = lace_recv(scene->receiver, message, NULL)) == LACE_OK) {
        uint64_t value = check_value(message);

        CHECK(value < 8 && (seen >> value) == 0); /* in order, none twice */
        seen |= 1u << value;
    }
    CHECK_STATUS(LACE_END, status);
    lace_message_destroy(message);
    lace_receiver_destroy(scene->receiver);
    lace_receiver_destroy(scene->reports);
    return seen;
}

/* In a thread of its own, whose cached parties go with it: then nothing at all may be in use. */
static void scene_play(struct scene *scene, void (*body)(void *context))
{
    thread runner;

    thread_start(&runner, body, scene);
    thread_join(&runner);
    for (int i = 0; i < 10000 && region_used(scene->region) != 0; i++)
        pass_ms(1); /* the bell's thread drains what a child had left to it */
    CHECK_UINT(region_used(scene->region), 0);
    CHECK_OK(lace_region_destroy(scene->region));
}

/* ---- the host does it --------------------------------------------------------------------------------- */

/* A child waits to send. The host takes its message, or takes another one so that it comes into the queue: the message
 * is the child's no more, so it stays whole when the child dies. */
static void take_from_the_stopped(void *context)
{
    struct scene *scene = context;

    scene_open(scene);
    lace_message *message = message_make(scene->region);
    CHECK_OK(lace_recv(scene->receiver, message, TRY));
    waiter_dies(scene);
    CHECK_UINT(lace_region_discarded(scene->region), 0);
    soil(scene->region);
    CHECK_UINT(check_value(message), scene->capacity == 0 ? scene->value : 0);
    lace_message_destroy(message);
    lace_sender_destroy(scene->sender);
    CHECK_UINT(scene_drain(scene), scene->capacity == 0 ? 0 : 1u << scene->value);
}

/* A child waits to receive. What the host sends is the child's, and goes with it. */
static void give_to_the_stopped(void *context)
{
    struct scene *scene = context;

    scene_open(scene);
    CHECK_OK(send_value(scene->region, scene->sender, scene->value, TRY));
    waiter_dies(scene);
    CHECK_UINT(lace_region_discarded(scene->region), 1);
    soil(scene->region);
    lace_sender_destroy(scene->sender);
    CHECK_UINT(scene_drain(scene), 0);
}

START_TEST(test_it_dies_while_stopped)
{
    struct scene scene = {.way = (enum way)(_i / 4), .capacity = (size_t)(_i / 2 % 2), .value = 2 + (unsigned)_i % 2};

    if (scene.way == SELECT_SEND)
        scene.value = 2; /* its payload has no block */
    scene_play(&scene, sends(&scene) ? take_from_the_stopped : give_to_the_stopped);
}
END_TEST

/* ---- another child does it, and dies ------------------------------------------------------------------ */

static void play(void *context)
{
    struct scene *scene = context;
    bool goes_on = scene->fate <= GOES_ON_FIRST, stopped = true;
    unsigned mine = 1u << scene->value, seen;

    scene_open(scene);
    other_acts(scene);
    /* Told, by one that still has the channel's lock. Of locks that the dead has the waiter needs none to see it. */
    if (scene->fate == GOES_ON_FIRST && lace_party_done(scene->party) &&
        atomic_load(&scene->receiver->end.view.ring->lock.word) != 0) {
        lace_message *message = message_make(scene->region);

        /* From then on it counts, and is not taken back. */
        CHECK(kill(scene->waiter.pid, SIGCONT) == 0);
        stopped = false;
        CHECK_OK(lace_recv(scene->reports, message, NULL));
        lace_message_destroy(message);
    }
    if (scene->fate == DIES_FIRST)
        waiter_dies(scene);
    child_bury(&scene->other);
    if (scene->fate == DIES)
        waiter_dies(scene);
    soil(scene->region);
    lace_sender_destroy(scene->sender);
    /* Once only: as it ends, AddressSanitizer looks for leaks, for which it stops the process, and this would undo that. */
    if (goes_on && stopped)
        CHECK(kill(scene->waiter.pid, SIGCONT) == 0);
    if (!sends(scene)) {
        unsigned result = 0;

        if (goes_on) {
            int status = child_wait(&scene->waiter);

            CHECK_MSG(WIFEXITED(status), "status 0x%x", (unsigned)status);
            result = (unsigned)WEXITSTATUS(status);
            CHECK(result == scene->value || (scene->died && result == ENDED));
            child_bury(&scene->waiter);
        }
        CHECK_UINT(scene_drain(scene), 0);
        return;
    }
    seen = scene_drain(scene);
    if (goes_on) {
        child_join(&scene->waiter); /* it says that the message has been sent */
        if (scene->capacity == 0)
            CHECK(seen == mine || seen == 0);
        else
            CHECK(seen == mine || (scene->died && seen == (mine | 1)));
    } else {
        CHECK((seen & ~(mine | 1)) == 0 && seen != (mine | 1));
    }
    if (!scene->died)
        CHECK_UINT(seen, scene->capacity == 0 ? 0 : mine);
}

/* A run looks at some of the steps, others each time; all of them with LACE_TEST_SCALE=10 (./dev soak). */
START_TEST(test_the_other_dies_at_every_step)
{
    long stride = test_scaled(100) >= 1000 ? 1 : 1000 / (long)test_scaled(100);
    rng random = rng_start(__func__, (uint64_t)_i);
    struct scene scene = {
        .way = (enum way)(_i % WAYS), .capacity = (size_t)(_i / WAYS % 2), .fate = (enum fate)(_i / WAYS / 2)};

    if (scene.fate == GOES_ON_FIRST && scene.way != SEND && scene.way != RECV)
        return;
    scene.value = scene.way == SELECT_SEND ? 2 : 2 + (unsigned)rng_below(&random, 2);
    if (scene.fate == GOES_ON_FIRST && stride <= 10) /* not where the sanitizers slow it down */
        stride = 1;
    scene.step = 1 + (long)rng_below(&random, (size_t)stride);
    do {
        scene_play(&scene, play);
        scene.step += stride;
        CHECK(scene.step < 2000);
    } while (scene.died);
}
END_TEST

/* ---- one who is sent to when it is dead --------------------------------------------------------------- */

static int run_receiver(lace_region *region, const char *argument)
{
    (void)argument;
    (void)lace_recv(gift_receiver(region), message_make(region), NULL);
    CHECK_MSG(false, "it is killed");
    return 1;
}

static lace_region *late_region;
static lace_sender *late_sender;
static _Atomic bool given; /* relaxed: it orders nothing, so that ThreadSanitizer sees what does */

/* With the channel's lock held, and the message given: stays until another thread wants the lock. */
static void stay(enum lace_point where)
{
    struct lace_lock *lock = &late_sender->end.view.ring->lock;

    if (where != LACE_POINT_CLAIM)
        return;
    atomic_store_explicit(&given, true, memory_order_relaxed);
    while ((atomic_load_explicit(&lock->word, memory_order_relaxed) & LACE_LOCK_WAITERS) == 0)
        continue;
}

static void send_late(void *context)
{
    (void)context;
    CHECK_OK(send_value(late_region, late_sender, 2, NULL));
}

/* While a thread gives a message to a child that waits for it, and is dead, another thread begins to bury the child. */
START_TEST(test_stopped_for_good)
{
    lace_receiver *receiver;
    child waiter;
    thread sender;

    late_region = region_make(16 << 20);
    channel_make(late_region, 0, &late_sender, &receiver);
    child_make(&waiter, late_region);
    child_give_receiver(&waiter, receiver);
    child_start(&waiter, "receiver", NULL);
    while (lace_list_count(&late_sender->end.view.ring->receiving) == 0)
        pass_ms(1);
    child_kill(&waiter);
    child_wait(&waiter);
    lace_hooks.yield = stay;
    thread_start(&sender, send_late, NULL);
    while (!atomic_load_explicit(&given, memory_order_relaxed))
        continue;
    child_bury(&waiter);
    thread_join(&sender);
    lace_hooks.yield = NULL;
    CHECK_UINT(lace_region_discarded(late_region), 1);
    lace_sender_destroy(late_sender);
    CHECK_OK(lace_region_destroy(late_region));
}
END_TEST

static const script scripts[] = {{"waiter", run_waiter}, {"other", run_other}, {"receiver", run_receiver}};

FAMILY_MAIN("stopped", scripts, TEST(test_stopped_for_good), TEST_LONG(test_it_dies_while_stopped, 4 * WAYS, 60),
            TEST_LONG(test_the_other_dies_at_every_step, 2 * WAYS * FATES, 200))
