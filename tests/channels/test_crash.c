/* test_crash.c - a child process dies at every step of every operation, and is buried: nothing may be left of it, and
 * nothing be lost but what it had.
 *
 * A step lies between two stores that others could see (LACE_STEP in channels/). For each operation the child is
 * started again and again, to die by SIGKILL at its first step, its second, and so on, until it comes through. */
#include "family.h"

#include "../../channels/counter.h"
#include "../../channels/end.h"
#include "../../channels/hooks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- messages that can be checked --------------------------------------------------------------------- */

#define LARGE 3000
#define BLOCK 1000

/* Message `value`: short, longer, long, or with a block and the last receiver of a channel that holds a message. */
static lace_status send_value(lace_region *region, lace_sender *sender, uint64_t value, const lace_wait *wait)
{
    static const size_t sizes[4] = {8, 100, LARGE, 16};
    unsigned char bytes[LARGE];
    lace_attachment attached[2] = {{LACE_ATTACH_BLOCK, {NULL}}, {LACE_ATTACH_RECEIVER, {NULL}}};
    lace_payload payload = {.data = bytes, .size = sizes[value % 4], .attachments = attached};

    memset(bytes, (int)value, sizeof bytes);
    memcpy(bytes, &value, sizeof value);
    if (value % 4 == 3) {
        lace_sender *inner;

        CHECK_OK(lace_block_create(region, BLOCK, &attached[0].as.block));
        memset(lace_block_data(attached[0].as.block), (int)value, BLOCK);
        channel_make(region, 1, &inner, &attached[1].as.receiver);
        CHECK_OK(send_text(inner,
                           "a message that is long enough to be on the heap: "
                           "0123456789012345678901234567890123456789012345678901234567890123456789"
                           "0123456789012345678901234567890123456789012345678901234567890123456789"
                           "0123456789012345678901234567890123456789012345678901234567890123456789",
                           TRY));
        lace_sender_destroy(inner);
        payload.attachment_count = 2;
    }
    lace_status status = lace_send(sender, &payload, wait);
    if (status != LACE_OK && payload.attachment_count != 0) {
        lace_block_destroy(attached[0].as.block);
        lace_receiver_destroy(attached[1].as.receiver);
    }
    return status;
}

/* Checks that the message is whole, and takes what is in it. */
static uint64_t check_value(lace_message *message)
{
    const unsigned char *bytes = lace_message_data(message);
    uint64_t value;

    CHECK(lace_message_size(message) >= sizeof value);
    memcpy(&value, bytes, sizeof value);
    for (size_t i = sizeof value; i < lace_message_size(message); i++)
        CHECK(bytes[i] == (unsigned char)value);
    CHECK_UINT(lace_message_attachments(message), value % 4 == 3 ? 2 : 0);
    if (value % 4 == 3) {
        lace_block *block = take_block(message, 0);
        lace_receiver *receiver = take_receiver(message, 1);

        CHECK(((unsigned char *)lace_block_data(block))[BLOCK - 1] == (unsigned char)value);
        CHECK_UINT(lace_receiver_length(receiver), 1);
        lace_block_destroy(block);
        lace_receiver_destroy(receiver);
    }
    return value;
}

/* ---- the child ---------------------------------------------------------------------------------------- */

static long steps_left;

static void count_down(void)
{
    if (__atomic_sub_fetch(&steps_left, 1, __ATOMIC_RELAXED) == 0)
        kill(getpid(), SIGKILL);
}

/* What it has. */
struct child_ends {
    lace_region *region;
    lace_receiver *in;
    lace_sender *out;
    lace_sender *over; /* of a channel that overwrites */
    lace_counter counter;
    lace_message *message;
};

typedef void operation(struct child_ends *ends);

static void do_send(struct child_ends *ends)
{
    for (uint64_t i = 0; i < 4; i++)
        CHECK_OK(send_value(ends->region, ends->out, i, NULL));
}

static void do_recv(struct child_ends *ends)
{
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_OK(lace_recv(ends->in, ends->message, NULL));
        CHECK_UINT(check_value(ends->message), i);
    }
}

/* Receives and lets go of what was in it, taken or not. */
static void do_recv_clear(struct child_ends *ends)
{
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_OK(lace_recv(ends->in, ends->message, NULL));
        lace_message_clear(ends->message);
    }
}

static void do_pass_on(struct child_ends *ends)
{
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_OK(lace_recv(ends->in, ends->message, NULL));
        CHECK_OK(send_value(ends->region, ends->out, check_value(ends->message), NULL));
    }
}

static void do_many(struct child_ends *ends)
{
    lace_message *others[3] = {ends->message, message_make(ends->region), message_make(ends->region)};
    uint64_t values[6] = {0, 4, 8, 12, 16, 20};
    lace_payload payloads[6];
    size_t count;

    CHECK_OK(lace_recv_many(ends->in, others, 3, NULL, &count));
    for (size_t i = 0; i < 6; i++)
        payloads[i] = payload_of(&values[i], 8);
    CHECK_OK(lace_send_many(ends->out, payloads, 6, NULL, &count));
    lace_message_destroy(others[1]);
    lace_message_destroy(others[2]);
}

/* Times out on a channel that nobody else sends to. */
static void do_timeout(struct child_ends *ends)
{
    lace_sender *sender;
    lace_receiver *receiver;

    channel_make(ends->region, 1, &sender, &receiver);
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(receiver, ends->message, WITHIN_MS(1)));
    CHECK_OK(send_value(ends->region, sender, 3, TRY));
    CHECK_STATUS(LACE_TIMEOUT, send_value(ends->region, sender, 3, WITHIN_MS(1)));
    CHECK_STATUS(LACE_TIMEOUT, send_value(ends->region, sender, 2, WITHIN_MS(1)));
    lace_receiver_destroy(receiver);
    lace_sender_destroy(sender);
}

static void do_select(struct child_ends *ends)
{
    static unsigned char bytes[LARGE]; /* value 0, of any size */
    const lace_payload payload = payload_of(bytes, LARGE);
    const lace_case cases[3] = {{.kind = LACE_CASE_RECV, .receiver = ends->in, .message = ends->message},
                                {.kind = LACE_CASE_SEND, .sender = ends->out, .payload = &payload},
                                {.kind = LACE_CASE_ENDED, .receiver = ends->in}};
    size_t index;

    for (int i = 0; i < 4; i++)
        CHECK_OK(lace_select(cases, 2, 0, NULL, &index));
    CHECK_OK(lace_select(cases, 3, LACE_SELECT_PRIORITY, NULL, &index));
}

/* Selects that wait: on its own channels, so that it is alone with them. */
static void do_select_wait(struct child_ends *ends)
{
    lace_sender *sender[2];
    lace_receiver *receiver[2];
    lace_case cases[2];
    size_t index;

    for (int i = 0; i < 2; i++) {
        channel_make(ends->region, (size_t)i, &sender[i], &receiver[i]);
        cases[i] = (lace_case){.kind = LACE_CASE_RECV, .receiver = receiver[i], .message = ends->message};
    }
    CHECK_STATUS(LACE_TIMEOUT, lace_select(cases, 2, 0, WITHIN_MS(1), &index));
    for (int i = 0; i < 2; i++) {
        lace_sender_destroy(sender[i]);
        lace_receiver_destroy(receiver[i]);
    }
}

static void do_selector(struct child_ends *ends)
{
    const lace_case it = {.kind = LACE_CASE_RECV, .receiver = ends->in};
    lace_selector *selector;
    size_t index;

    CHECK_OK(lace_selector_create(&it, 1, &selector));
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_OK(lace_selector_wait(selector, 0, ends->message, NULL, &index));
        CHECK_UINT(check_value(ends->message), i);
    }
    lace_selector_destroy(selector);
}

/* Ends of its own and clones of the others'. */
static void do_ends(struct child_ends *ends)
{
    lace_sender *sender, *clone;
    lace_receiver *receiver, *other;

    CHECK_OK(lace_sender_clone(ends->out, &clone));
    CHECK_OK(lace_receiver_clone(ends->in, &other));
    lace_sender_close(clone);
    lace_receiver_destroy(other);
    lace_sender_destroy(clone);
    channel_make(ends->region, 3, &sender, &receiver);
    CHECK_OK(send_value(ends->region, sender, 2, TRY));
    CHECK_OK(send_value(ends->region, sender, 3, TRY));
    lace_receiver_close(receiver); /* the host drains it */
    CHECK_STATUS(LACE_BROKEN, send_value(ends->region, sender, 3, TRY));
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
}

/* Small, large, a whole span of one size and more. */
static void do_blocks(struct child_ends *ends)
{
    static const size_t sizes[] = {10, 1000, 30000, 30000, 30000, 30000, 30000, 200000, 70000};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    lace_block *blocks[COUNT], *shared;

    for (int i = 0; i < COUNT; i++)
        CHECK_OK(lace_block_create(ends->region, sizes[i], &blocks[i]));
    CHECK_OK(lace_block_share(blocks[1], &shared));
    for (int i = 0; i < COUNT; i++)
        lace_block_destroy(blocks[i]);
    lace_block_destroy(shared);
}

static void do_overwrite(struct child_ends *ends)
{
    for (uint64_t i = 0; i < 8; i++)
        CHECK_OK(send_value(ends->region, ends->over, i, TRY));
}

static void do_counter(struct child_ends *ends)
{
    lace_sender *sender;
    lace_receiver *receiver;
    lace_counter_watch wanted = {.at_least = 2, .size = 4, .answer = "done"};
    int64_t number;

    channel_make(ends->region, 1, &sender, &receiver);
    CHECK_OK(lace_counter_watch_for(ends->counter, &wanted, sender));
    CHECK(lace_counter_add(ends->counter, 2, &number));
    if (lace_counter_due(ends->counter))
        CHECK_OK(lace_counter_settle(ends->counter));
    lace_receiver_destroy(receiver);
}

static void do_descriptors(struct child_ends *ends)
{
    int fd;

    CHECK_OK(lace_receiver_fd(ends->in, &fd));
    CHECK_OK(lace_sender_fd(ends->out, &fd));
    CHECK_OK(lace_recv(ends->in, ends->message, NULL));
    CHECK_OK(send_value(ends->region, ends->out, 0, NULL));
}

#define FEED 4 /* messages that wait for the child */

static const struct {
    const char *name;
    operation *run;
    unsigned receives; /* so many messages may go down with it */
    bool sends;        /* to `out`, values in order */
} operations[] = {
    {"send", do_send, 0, true},
    {"recv", do_recv, 4, true},
    {"recv_clear", do_recv_clear, 4, true},
    {"pass_on", do_pass_on, 4, true},
    {"many", do_many, 3, true},
    {"timeout", do_timeout, 0, true},
    {"select", do_select, 4, false},
    {"select_wait", do_select_wait, 0, true},
    {"selector", do_selector, 4, true},
    {"ends", do_ends, 0, true},
    {"blocks", do_blocks, 0, true},
    {"overwrite", do_overwrite, 0, true},
    {"counter", do_counter, 0, true},
    {"descriptors", do_descriptors, 1, true},
};
#define OPERATIONS (int)(sizeof operations / sizeof *operations)

/* argument: "operation step" */
static int run_operation(lace_region *region, const char *argument)
{
    struct child_ends ends = {.region = region};
    unsigned which;
    long step;

    CHECK(sscanf(argument, "%u %ld", &which, &step) == 2);
    steps_left = step;
    lace_hooks.step = count_down;
    ends.in = gift_receiver(region);
    ends.out = gift_sender(region);
    ends.over = gift_sender(region);
    ends.counter.sender = gift_sender(region);
    ends.counter.receiver = gift_receiver(region);
    ends.message = message_make(region);
    operations[which].run(&ends);
    lace_message_destroy(ends.message);
    lace_sender_destroy(ends.counter.sender);
    lace_receiver_destroy(ends.counter.receiver);
    lace_sender_destroy(ends.over);
    lace_sender_destroy(ends.out);
    lace_receiver_destroy(ends.in);
    lace_hooks.step = NULL;
    return 0;
}

/* ---- the host ----------------------------------------------------------------------------------------- */

/* One round: channels with threads of the host at their other ends, or none. */
struct round {
    lace_region *region;
    lace_sender *to;
    lace_receiver *spare; /* of the same channel, so that it goes on without the child */
    lace_receiver *from;
    lace_sender *spare_out;
    lace_receiver *over;
    lace_sender *spare_over;
    lace_counter counter;
    child process, twin;
    thread feeder, drainer;
    uint64_t fed; /* how many messages have been sent to the child's channel */
    uint64_t drained;
    bool ordered; /* what is received must be 0, 1, 2 ... */
    uint64_t expected;
    int way; /* of waiting: recv, select or a selector */
};

static void feed(void *context)
{
    struct round *round = context;

    for (round->fed = 0; round->fed < FEED; round->fed++)
        CHECK_OK(send_value(round->region, round->to, round->fed, NULL));
    lace_sender_destroy(round->to);
}

static void note_received(struct round *round, lace_message *message)
{
    uint64_t value = check_value(message);

    if (round->ordered)
        CHECK(value >= round->expected); /* sends of one sender: in order, none twice */
    round->expected = value + 1;
    round->drained++;
}

static void drain(void *context)
{
    struct round *round = context;
    lace_message *message = message_make(round->region);
    const lace_case it = {.kind = LACE_CASE_RECV, .receiver = round->from, .message = message};
    lace_selector *selector = NULL;
    lace_status status;
    size_t index;

    if (round->way == 2)
        CHECK_OK(lace_selector_create(&it, 1, &selector));
    for (;;) {
        if (round->way == 0)
            status = lace_recv(round->from, message, NULL);
        else if (round->way == 1)
            status = lace_select(&it, 1, 0, NULL, &index);
        else
            status = lace_selector_wait(selector, 0, message, NULL, &index);
        if (status != LACE_OK)
            break;
        note_received(round, message);
    }
    CHECK_STATUS(LACE_END, status);
    lace_selector_destroy(selector);
    lace_message_destroy(message);
    lace_receiver_destroy(round->from);
}

static void round_open(struct round *round, unsigned which, size_t capacity, int way)
{
    lace_receiver *in;
    lace_sender *out, *over, *counter_sender;
    lace_receiver *counter_receiver;

    *round = (struct round){.ordered = operations[which].sends, .way = way};
    round->region = region_make(16 << 20);
    channel_make(round->region, capacity, &round->to, &in);
    CHECK_OK(lace_receiver_clone(in, &round->spare));
    channel_make(round->region, capacity, &out, &round->from);
    CHECK_OK(lace_sender_clone(out, &round->spare_out));
    CHECK_OK(lace_channel_create(round->region, &(lace_channel_options){.capacity = 3, .overwrite = true}, &over,
                                 &round->over));
    CHECK_OK(lace_sender_clone(over, &round->spare_over));
    CHECK_OK(lace_counter_create(round->region, 0, NULL, &round->counter.sender, &round->counter.receiver));
    CHECK_OK(lace_sender_clone(round->counter.sender, &counter_sender));
    CHECK_OK(lace_receiver_clone(round->counter.receiver, &counter_receiver));
    child_make(&round->process, round->region);
    child_give_receiver(&round->process, in);
    child_give_sender(&round->process, out);
    child_give_sender(&round->process, over);
    child_give_sender(&round->process, counter_sender);
    child_give_receiver(&round->process, counter_receiver);
}

/* Starts a second child that does the same at the same channels. */
static void twin_start(struct round *round, unsigned which)
{
    lace_receiver *in, *counter_receiver;
    lace_sender *out, *over, *counter_sender;
    char argument[64];

    CHECK_OK(lace_receiver_clone(round->spare, &in));
    CHECK_OK(lace_sender_clone(round->spare_out, &out));
    CHECK_OK(lace_sender_clone(round->spare_over, &over));
    CHECK_OK(lace_sender_clone(round->counter.sender, &counter_sender));
    CHECK_OK(lace_receiver_clone(round->counter.receiver, &counter_receiver));
    child_make(&round->twin, round->region);
    child_give_receiver(&round->twin, in);
    child_give_sender(&round->twin, out);
    child_give_sender(&round->twin, over);
    child_give_sender(&round->twin, counter_sender);
    child_give_receiver(&round->twin, counter_receiver);
    snprintf(argument, sizeof argument, "%u 1000000", which);
    child_start(&round->twin, "operation", argument);
}

/* The locks are free, the counts are those of the lists. */
static void check_list(const struct lace_view *view, const struct lace_list *list)
{
    uint64_t previous = 0, offset = list->first;
    uint32_t count = 0;

    for (; offset != 0; count++) {
        const struct lace_node *node = lace_region_at(view->region, offset, sizeof *node, 8);

        CHECK(node != NULL && node->linked && node->previous == previous && node->seat == 0);
        previous = offset;
        offset = node->next;
    }
    CHECK(list->last == previous);
    CHECK_UINT(count, list->count);
}

static void check_channel(const struct lace_end *end, uint32_t senders, uint32_t receivers)
{
    struct lace_ring *ring = end->view.ring;
    struct lace_wakes wakes = {.count = 0};

    lace_ring_lock(&end->view);
    CHECK(ring->tail - ring->head <= ring->capacity);
    check_list(&end->view, &ring->receiving);
    check_list(&end->view, &ring->sending);
    check_list(&end->view, &ring->ending);
    CHECK_UINT(ring->senders, senders);
    CHECK_UINT(ring->receivers, receivers);
    CHECK(ring->notes == 0);
    lace_ring_unlock(&end->view, &wakes);
}

/* What can be done with a counter can be done still. */
static void check_counter(struct round *round)
{
    lace_message *message = message_make(round->region);
    lace_counter_watch wanted = {.size = 2, .answer = "ok"};
    lace_sender *sender;
    lace_receiver *receiver;
    int64_t number;

    channel_make(round->region, 1, &sender, &receiver);
    wanted.at_least = lace_counter_number(round->counter) + 1;
    CHECK(wanted.at_least == 1 || wanted.at_least == 3);
    CHECK_OK(lace_counter_watch_for(round->counter, &wanted, sender));
    CHECK(lace_counter_add(round->counter, 1, &number));
    CHECK(lace_counter_due(round->counter));
    CHECK_OK(lace_counter_settle(round->counter));
    CHECK_OK(lace_recv(receiver, message, TRY));
    CHECK(message_is(message, "ok"));
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
}

/* After the burial: drains, ends, and checks that nothing is left. */
static void round_close(struct round *round, unsigned which, bool lively, bool died)
{
    lace_message *message = message_make(round->region);
    uint64_t expected = 0, received = 0;

    if (!lively)
        check_channel(&round->spare->end, 0, 1);
    while (lace_recv(round->spare, message, NULL) == LACE_OK) {
        uint64_t value = check_value(message);

        CHECK(value >= expected);
        expected = value + 1;
        received++;
    }
    if (lively)
        thread_join(&round->feeder);
    CHECK(received + operations[which].receives >= FEED);
    CHECK(died || lively || received + operations[which].receives == FEED || operations[which].run == do_select);
    if (!lively)
        check_channel(&round->from->end, 1, 1);
    lace_sender_destroy(round->spare_out);
    if (lively)
        thread_join(&round->drainer);
    else
        drain(round);
    CHECK(!died || round->drained <= (round->twin.pid != 0 ? 8 : 6));
    for (uint64_t before = 0; lace_recv(round->over, message, TRY) == LACE_OK;) {
        uint64_t value = check_value(message);

        CHECK(value >= before);
        before = value + 1;
    }
    check_channel(&round->over->end, 1, 1);
    lace_sender_destroy(round->spare_over);
    lace_receiver_destroy(round->over);
    check_channel(&round->counter.sender->end, 1, 1);
    check_counter(round);
    lace_sender_destroy(round->counter.sender);
    lace_receiver_destroy(round->counter.receiver);
    lace_receiver_destroy(round->spare);
    lace_message_destroy(message);
}

/* One death. */
struct death {
    unsigned which;
    long step;
    size_t capacity;
    bool lively;
    bool twins; /* a second child is killed with it, and buried first */
    int way;
    bool died;
    lace_region *region;
};

static void die(void *context)
{
    struct death *death = context;
    struct round round;
    char argument[64];

    round_open(&round, death->which, death->capacity, death->way);
    death->region = round.region;
    if (death->lively) {
        thread_start(&round.feeder, feed, &round);
        thread_start(&round.drainer, drain, &round);
    } else {
        feed(&round);
    }
    snprintf(argument, sizeof argument, "%u %ld", death->which, death->step);
    if (death->twins) {
        round.ordered = false;
        twin_start(&round, death->which);
    }
    child_start(&round.process, "operation", argument);
    int status = child_wait(&round.process);
    if (death->twins) {
        child_kill(&round.twin);
        child_wait(&round.twin);
        child_bury(&round.twin);
    }
    death->died = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CHECK_MSG(death->died || status == 0, "status 0x%x", (unsigned)status);
    child_bury(&round.process);
    round_close(&round, death->which, death->lively, death->died);
}

/* In a thread of its own, whose cached parties go with it: then nothing at all may be in use. */
static bool die_once(struct death *death)
{
    thread round;
    lace_block *block;

    thread_start(&round, die, death);
    thread_join(&round);
    /* The bell's thread drains what the child had left to it. */
    for (int i = 0; i < 10000 && region_used(death->region) != 0; i++)
        pass_ms(1);
    CHECK_UINT(region_used(death->region), 0);
    CHECK_OK(lace_block_create(death->region, 12 << 20, &block)); /* the heap is whole */
    lace_block_destroy(block);
    CHECK_OK(lace_region_destroy(death->region));
    return death->died;
}

/* A run looks at some of the steps, others each time; all of them with LACE_TEST_SCALE=10 (./dev soak). */
static long stride(void)
{
    long scaled = (long)test_scaled(100);

    return scaled >= 1000 ? 1 : 1000 / scaled;
}

START_TEST(test_crash_at_every_step)
{
    struct death death = {.which = (unsigned)_i, .capacity = 8};
    rng random = rng_start(__func__, (uint64_t)_i);

    for (death.step = 1 + (long)rng_below(&random, (size_t)stride()); die_once(&death); death.step += stride())
        CHECK(death.step < 20000);
    CHECK(death.step > 100);
}
END_TEST

/* The same with threads of the host waiting at the other ends. Which steps there are differs from time to time. */
START_TEST(test_crash_while_others_wait)
{
    struct death death = {
        .which = (unsigned)(_i / 3), .capacity = (size_t)(_i % 3 == 0 ? 0 : 1), .lively = true, .way = _i % 3};
    rng random = rng_start(__func__, (uint64_t)_i);

    for (death.step = 1 + (long)rng_below(&random, 3 * (size_t)stride()); die_once(&death);
         death.step += 3 * stride())
        CHECK(death.step < 20000);
}
END_TEST

/* Two die, and the one that is buried first may need a lock that the other one died with. */
START_TEST(test_crash_of_two)
{
    struct death death = {.capacity = 8, .twins = true};
    rng random = rng_start(__func__, 0);

    for (size_t i = test_scaled(60); i > 0; i--) {
        death.step = 1 + (long)rng_below(&random, 400);
        die_once(&death);
    }
}
END_TEST

static const script scripts[] = {{"operation", run_operation}};

FAMILY_MAIN("crash", scripts, TEST_LONG(test_crash_of_two, 1, 200),
            TEST_LONG(test_crash_at_every_step, OPERATIONS, 200),
            TEST_LONG(test_crash_while_others_wait, 3 * OPERATIONS, 200))
