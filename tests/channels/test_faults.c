/* test_faults.c - the n-th allocation or system call fails, for n = 0, 1, 2 ... until all goes well: once, and from then
 * on for ever. Each time the call says NOMEM or SYSTEM (or does without), the caller still owns what it passed, nothing
 * is left behind, and the next try without faults succeeds. Needs channels/ with hooks. */
#include "fixture.h"

#include "../../channels/hooks.h"

#include <fcntl.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#if !LACE_HOOKS
#error "test_faults.c needs -DLACE_HOOKS=1, here and in channels/"
#endif

/* ---- failing ------------------------------------------------------------------------------------------ */

static struct {
    size_t calls, first; /* the calls [first, first + span) fail */
    size_t span;
    bool armed;
} plan;

/* One thread only. */
static bool fail_by_plan(enum lace_fault site)
{
    if (!plan.armed || site == LACE_FAULT_READ || site == LACE_FAULT_WRITE ||
        site == LACE_FAULT_SHORT) /* those are no failures */
        return false;
    size_t number = plan.calls++;
    return number >= plan.first && number - plan.first < plan.span;
}

void test_prepare(uint64_t seed)
{
    (void)seed;
    lace_hooks.fail = fail_by_plan;
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* ---- things to do, each of which undoes what it could do ---------------------------------------------- */

/* One of the library's fallible calls: on a failure, the status is kept and the rest is skipped. */
#define STEP(call)                                                                                             \
    do {                                                                                                       \
        status = (call);                                                                                       \
        if (status != LACE_OK)                                                                                 \
            goto out;                                                                                          \
    } while (0)

static lace_status do_region(lace_region *region)
{
    lace_region *other;
    (void)region;
    lace_status status = lace_region_create(&(lace_region_options){.limit = (size_t)8 << 20}, &other);
    if (status == LACE_OK)
        CHECK_OK(lace_region_destroy(other));
    return status;
}

static lace_status do_ends(lace_region *region)
{
    lace_sender *sender = NULL, *more_senders = NULL;
    lace_receiver *receiver = NULL, *more_receivers = NULL;
    lace_message *message = NULL;
    lace_status status;
    STEP(lace_channel_create(region, &(lace_channel_options){.capacity = 300}, &sender, &receiver));
    STEP(lace_message_create(region, &message));
    status = lace_sender_clone(sender, &more_senders);
    if (status == LACE_OK)
        status = lace_receiver_clone(receiver, &more_receivers);
    lace_sender_close(sender); /* a clone that failed must not count */
    CHECK_STATUS(more_senders ? LACE_TIMEOUT : LACE_END, lace_recv(receiver, message, TRY));
out:
    lace_message_destroy(message);
    lace_sender_destroy(more_senders);
    lace_receiver_destroy(more_receivers);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return status;
}

static lace_status do_attachments(lace_region *region)
{
    lace_sender *sender = NULL, *carried_sender = NULL;
    lace_receiver *receiver = NULL, *carried_receiver = NULL;
    lace_block *block = NULL, *share = NULL;
    lace_message *message = NULL;
    lace_attachment taken;
    lace_status status;
    static char large[100000];
    STEP(lace_message_create(region, &message));
    STEP(lace_channel_create(region, &(lace_channel_options){.capacity = 4}, &sender, &receiver));
    STEP(lace_channel_create(region, &(lace_channel_options){.capacity = 1}, &carried_sender, &carried_receiver));
    STEP(lace_block_create(region, 5000, &block));
    STEP(lace_block_share(block, &share));
    lace_attachment carried[3] = {{LACE_ATTACH_SENDER, {.sender = carried_sender}},
                                  {LACE_ATTACH_RECEIVER, {.receiver = carried_receiver}},
                                  {LACE_ATTACH_BLOCK, {.block = share}}};
    lace_payload payload = {large, sizeof large, carried, 3};
    status = lace_send(sender, &payload, TRY);
    CHECK_UINT(lace_sender_length(sender), status == LACE_OK ? 1 : 0);
    if (status != LACE_OK) { /* all of it is still ours, and counted once */
        CHECK_UINT(lace_block_size(share), 5000);
        CHECK(!lace_sender_closed(carried_sender) && !lace_receiver_closed(carried_receiver));
        goto out;
    }
    carried_sender = NULL;
    carried_receiver = NULL;
    share = NULL;
    STEP(lace_recv(receiver, message, TRY));
    for (size_t i = 3; i > 0; i--) {
        status = lace_message_take(message, i - 1, &taken);
        if (status != LACE_OK) { /* it stays in the message */
            plan.armed = false;
            CHECK_OK(lace_message_take(message, i - 1, &taken));
        }
        if (taken.kind == LACE_ATTACH_SENDER)
            carried_sender = taken.as.sender;
        else if (taken.kind == LACE_ATTACH_RECEIVER)
            carried_receiver = taken.as.receiver;
        else
            share = taken.as.block;
        if (status != LACE_OK)
            goto out;
    }
out:
    lace_message_destroy(message);
    lace_block_destroy(block);
    lace_block_destroy(share);
    lace_sender_destroy(carried_sender);
    lace_receiver_destroy(carried_receiver);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return status;
}

static lace_status do_descriptors(lace_region *region)
{
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_status status;
    int fd;
    STEP(lace_channel_create(region, &(lace_channel_options){.capacity = 1}, &sender, &receiver));
    STEP(lace_receiver_fd(receiver, &fd));
    STEP(lace_sender_fd(sender, &fd));
    STEP(send_u64(sender, 1, TRY));
out:
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return status;
}

static lace_status expect_timeout(lace_status status)
{
    CHECK(status != LACE_OK);
    return status == LACE_TIMEOUT ? LACE_OK : status;
}

static lace_status do_posts(lace_region *region)
{
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_block *block = NULL;
    lace_cancel *cancel = NULL;
    lace_post *post = NULL;
    lace_status status;
    int fd;
    static char large[1000];
    STEP(lace_channel_create(region, &(lace_channel_options){.capacity = 0}, &sender, &receiver));
    STEP(lace_block_create(region, 100, &block));
    lace_attachment carried = {LACE_ATTACH_BLOCK, {.block = block}};
    lace_payload payload = {large, sizeof large, &carried, 1};
    STEP(expect_timeout(lace_post_send(sender, &payload, &post)));
    CHECK_STATUS(LACE_TIMEOUT, lace_post_result(post));
    STEP(lace_sender_posts_fd(sender, &fd));
    STEP(lace_cancel_create(NULL, &cancel));
    STEP(lace_cancel_fd(cancel, &fd));
out:
    lace_cancel_destroy(cancel);
    lace_post_destroy(post);
    if (sender)
        CHECK_UINT(lace_sender_length(sender), 0);
    if (block)
        CHECK_UINT(lace_block_size(block), 100);
    lace_block_destroy(block);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return status;
}

/* More cases than fit beside the call. */
static lace_status do_select(lace_region *region)
{
    enum { CASES = 40 };
    lace_sender *senders[CASES] = {NULL};
    lace_receiver *receivers[CASES] = {NULL};
    lace_case cases[CASES];
    lace_message *message = NULL;
    lace_status status;
    lace_block *block = NULL;
    size_t index;
    static char large[1000];
    STEP(lace_message_create(region, &message));
    STEP(lace_block_create(region, 100, &block));
    lace_attachment carried = {LACE_ATTACH_BLOCK, {.block = block}};
    lace_payload payload = {large, sizeof large, &carried, 1};
    for (size_t i = 0; i < CASES; i++) {
        STEP(lace_channel_create(region, &(lace_channel_options){.capacity = 0}, &senders[i], &receivers[i]));
        if (i % 3 == 0)
            cases[i] = (lace_case){.kind = LACE_CASE_SEND, .sender = senders[i], .payload = &payload};
        else
            cases[i] = (lace_case){.kind = LACE_CASE_RECV, .receiver = receivers[i], .message = message};
    }
    STEP(expect_timeout(lace_select(cases, CASES, 0, WITHIN_MS(1), &index)));
    STEP(expect_timeout(lace_select(cases, CASES, LACE_SELECT_PRIORITY, WITHIN_MS(1), &index)));
    STEP(expect_timeout(lace_select(cases, 3, 0, WITHIN_MS(1), &index)));
out:
    if (block)
        CHECK_UINT(lace_block_size(block), 100);
    lace_block_destroy(block);
    for (size_t i = 0; i < CASES; i++) {
        if (senders[i])
            CHECK_UINT(lace_sender_length(senders[i]), 0); /* nothing of it waits any more */
        lace_sender_destroy(senders[i]);
        lace_receiver_destroy(receivers[i]);
    }
    lace_message_destroy(message);
    return status;
}

static lace_status do_mixed_select(lace_region *region)
{
    lace_sender *sender = NULL, *tube_sender = NULL;
    lace_receiver *receiver = NULL, *tube_receiver = NULL;
    lace_message *message = NULL, *tube_message = NULL;
    lace_status status;
    size_t index;
    STEP(lace_message_create(region, &message));
    STEP(lace_message_create(NULL, &tube_message));
    STEP(lace_channel_create(region, &(lace_channel_options){.capacity = 1}, &sender, &receiver));
    STEP(lace_pipe_create(NULL, &tube_sender, &tube_receiver));
    lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = receiver, .message = message},
                          {.kind = LACE_CASE_RECV, .receiver = tube_receiver, .message = tube_message}};
    STEP(expect_timeout(lace_select(cases, 2, 0, WITHIN_MS(1), &index)));
    STEP(expect_timeout(lace_select(cases + 1, 1, 0, WITHIN_MS(1), &index)));
    STEP(send_u64(tube_sender, 1, TRY));
    STEP(lace_select(cases, 2, 0, NULL, &index));
out:
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_sender_destroy(tube_sender);
    lace_receiver_destroy(tube_receiver);
    lace_message_destroy(message);
    lace_message_destroy(tube_message);
    return status;
}

static lace_status do_selector(lace_region *region)
{
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_message *message = NULL;
    lace_selector *selector = NULL;
    lace_status status;
    size_t index;
    STEP(lace_message_create(region, &message));
    STEP(lace_channel_create(region, &(lace_channel_options){.capacity = 1}, &sender, &receiver));
    lace_case cases[2] = {{.kind = LACE_CASE_RECV, .receiver = receiver},
                          {.kind = LACE_CASE_ENDED, .receiver = receiver}};
    STEP(lace_selector_create(cases, 2, &selector));
    STEP(expect_timeout(lace_selector_wait(selector, 0, message, WITHIN_MS(1), &index)));
    STEP(send_u64(sender, 1, TRY));
    STEP(lace_selector_wait(selector, 0, message, NULL, &index));
out:
    lace_selector_destroy(selector);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
    return status;
}

static lace_status do_waits(lace_region *region)
{
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_message *message = NULL;
    lace_cancel *cancel = NULL, *child = NULL;
    lace_status status;
    STEP(lace_message_create(region, &message));
    STEP(lace_channel_create(region, &(lace_channel_options){.capacity = 1}, &sender, &receiver));
    STEP(lace_cancel_create(NULL, &cancel));
    STEP(lace_cancel_create(cancel, &child));
    lace_wait wait = {.deadline = lace_clock() + 1000000, .cancel = child};
    STEP(expect_timeout(lace_recv(receiver, message, &wait)));
    STEP(send_u64(sender, 1, &wait));
    STEP(expect_timeout(send_u64(sender, 2, WITHIN_MS(1))));
    lace_cancel_fire(cancel);
    status = lace_send(sender, &(lace_payload){.data = "x", .size = 1}, UNDER(child));
    CHECK(status == LACE_CANCELLED || status == LACE_NOMEM);
    status = status == LACE_CANCELLED ? LACE_OK : status;
out:
    lace_cancel_destroy(child);
    lace_cancel_destroy(cancel);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
    return status;
}

static lace_status do_pipe(lace_region *region)
{
    lace_sender *sender = NULL, *clone = NULL;
    lace_receiver *receiver = NULL;
    lace_message *message = NULL;
    lace_status status;
    int fd;
    static char large[20000];
    lace_payload payload = payload_of(large, sizeof large);
    (void)region;
    STEP(lace_message_create(NULL, &message));
    STEP(lace_pipe_create(NULL, &sender, &receiver));
    STEP(lace_sender_clone(sender, &clone));
    STEP(lace_receiver_fd(receiver, &fd));
    STEP(lace_sender_fd(sender, &fd));
    STEP(send_u64(sender, 5, TRY));
    STEP(lace_send(clone, &payload, TRY));
    for (size_t got = 0; got < 2; got++) {
        status = lace_recv(receiver, message, TRY);
        if (status == LACE_OK)
            continue;
        plan.armed = false; /* the channel has lost nothing: what could not be received is still there */
        lace_status again = lace_recv(receiver, message, TRY);
        CHECK_MSG(again == LACE_OK, "after %s a receive said %s", status_name(status), status_name(again));
        goto out;
    }
out:
    lace_sender_destroy(clone);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
    return status;
}

static lace_status do_sealed_pipe(lace_region *region)
{
    lace_key *key = NULL;
    lace_sender *sender = NULL;
    lace_receiver *receiver = NULL;
    lace_message *message = NULL;
    lace_status status;
    static char large[20000];
    lace_payload payload = payload_of(large, sizeof large);
    int fds[2] = {-1, -1};
    (void)region;
    STEP(lace_key_create(&key));
    STEP(lace_message_create(NULL, &message));
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    STEP(lace_sealed_sender(fds[1], &(lace_seal_options){.key = key}, &sender));
    fds[1] = -1;
    STEP(lace_sealed_receiver(fds[0], &(lace_seal_options){.key = key}, &receiver));
    fds[0] = -1;
    STEP(send_u64(sender, 5, TRY));
    STEP(lace_send(sender, &payload, TRY));
    lace_sender_close(sender);
    for (size_t got = 0; got < 3; got++) {
        lace_status wanted = got < 2 ? LACE_OK : LACE_END;
        status = lace_recv(receiver, message, TRY);
        if (status == wanted)
            continue;
        plan.armed = false; /* nothing is lost: neither messages nor, halfway through, the place in the stream */
        CHECK_STATUS(wanted, lace_recv(receiver, message, TRY));
        goto out;
    }
    status = LACE_OK;
out:
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    lace_message_destroy(message);
    lace_key_destroy(key);
    if (fds[0] >= 0)
        close(fds[0]);
    if (fds[1] >= 0)
        close(fds[1]);
    return status;
}

typedef lace_status (*deed)(lace_region *region);
static const deed deeds[] = {do_region,       do_ends,     do_attachments, do_descriptors, do_select,
                             do_mixed_select, do_selector, do_waits,       do_pipe,        do_sealed_pipe,
                             do_posts};
#define DEEDS (int)(sizeof deeds / sizeof *deeds)

/* ---- the tests ---------------------------------------------------------------------------------------- */

/* _i: the deed, and whether one call fails or all from then on */
START_TEST(test_faults_leave_everything_as_it_was)
{
    deed act = deeds[_i / 2];
    size_t failures = 0;
    lace_region *warm = region_make(0);
    CHECK_OK(act(warm)); /* what a thread keeps is made now */
    CHECK_OK(lace_region_destroy(warm));
    size_t descriptors = open_descriptors();
    for (plan.first = 0;; plan.first++) {
        CHECK(plan.first < 2000);
        lace_region *region = region_make((size_t)16 << 20);
        size_t before = region_used(region);
        plan.calls = 0;
        plan.span = _i % 2 ? SIZE_MAX : 1;
        plan.armed = true;
        lace_status status = act(region);
        plan.armed = false;
        bool reached = plan.calls > plan.first;
        CHECK_MSG(status == LACE_OK || (reached && (status == LACE_NOMEM || status == LACE_SYSTEM)), "%s at call %zu",
                  status_name(status), plan.first);
        failures += status != LACE_OK;
        CHECK_OK(act(region));
        lace_region *other = region_make((size_t)8 << 20), *third = region_make((size_t)8 << 20);
        region_warm(other); /* pushes what this thread keeps of `region` out */
        region_warm(third);
        CHECK_UINT(region_used(region), before);
        CHECK_OK(lace_region_destroy(other));
        CHECK_OK(lace_region_destroy(third));
        CHECK_OK(lace_region_destroy(region));
        CHECK_UINT(open_descriptors(), descriptors);
        if (!reached)
            break;
    }
    CHECK(failures > 0);
}
END_TEST

/* A pipe of which every read gives one byte, and which is full every other time. */
static _Atomic unsigned misery;

static bool fail_misery(enum lace_fault site)
{
    if (site == LACE_FAULT_READ)
        return true;
    return site == LACE_FAULT_WRITE && atomic_fetch_add(&misery, 1) % 2 == 0;
}

typedef struct source {
    lace_sender *sender;
    uint64_t count;
} source;

static void source_run(void *context)
{
    source *self = context;
    static char large[9000];
    for (uint64_t i = 0; i < self->count; i++) {
        lace_payload payload = payload_of(large, (size_t)i * 37 % sizeof large);
        CHECK_OK(lace_send(self->sender, &payload, NULL));
    }
    lace_sender_close(self->sender);
}

START_TEST(test_faults_a_miserable_pipe)
{
    pair p;
    thread other;
    lace_hooks.fail = fail_misery;
    pair_open(&p, TRANSPORT_PIPE);
    source work = {p.sender, 200};
    thread_start(&other, source_run, &work);
    for (uint64_t i = 0; i < work.count; i++) {
        CHECK_OK(lace_recv(p.receiver, p.message, NULL));
        CHECK_UINT(lace_message_size(p.message), (size_t)i * 37 % 9000);
    }
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, NULL));
    thread_join(&other);
    pair_close(&p);
}
END_TEST

/* ---- a channel that redelivers, and an end that is closed in mid-copy ---------------------------------- */

static sem_t copying, closed;
static _Thread_local unsigned copier; /* the allocation, counted from 1, that waits until the end is closed, and fails */

static bool fail_the_copy(enum lace_fault site)
{
    if (site != LACE_FAULT_HEAP || copier == 0 || --copier != 0)
        return false;
    sem_post(&copying);
    while (sem_wait(&closed) != 0)
        continue;
    return true;
}

static void copy_run(void *context)
{
    pair *p = context;
    copier = 2; /* the first is the receipt */
    CHECK_STATUS(LACE_NOMEM, lace_recv(p->receiver, p->message, TRY));
    copier = 0;
}

/* What could not be copied is not lost with the end: it is another receiver's then. */
START_TEST(test_faults_a_copy_for_a_closed_end)
{
    static const char bytes[3000];
    lace_payload payload = payload_of(bytes, sizeof bytes);
    pair p = {.region = region_make(0)};
    thread other;
    lace_receiver *clone;
    p.message = message_make(p.region);
    CHECK_OK(lace_channel_create(p.region, &(lace_channel_options){.capacity = 2, .redeliver = true}, &p.sender,
                                 &p.receiver));
    CHECK_OK(lace_receiver_clone(p.receiver, &clone));
    CHECK_OK(lace_send(p.sender, &payload, TRY));
    CHECK(sem_init(&copying, 0, 0) == 0 && sem_init(&closed, 0, 0) == 0);
    lace_hooks.fail = fail_the_copy;
    thread_start(&other, copy_run, &p);
    while (sem_wait(&copying) != 0)
        continue;
    lace_receiver_close(p.receiver);
    CHECK(sem_post(&closed) == 0);
    thread_join(&other);
    CHECK_OK(lace_recv(clone, p.message, TRY));
    CHECK(lace_message_redelivered(p.message));
    CHECK_UINT(lace_message_size(p.message), sizeof bytes);
    lace_receiver_destroy(clone);
    lace_receiver_destroy(p.receiver);
    lace_sender_destroy(p.sender);
    lace_message_destroy(p.message);
    CHECK_OK(lace_region_destroy(p.region));
}
END_TEST

TEST_MAIN("faults", TEST(test_faults_a_copy_for_a_closed_end),
          TEST_LONG(test_faults_leave_everything_as_it_was, DEEDS * 2, 60),
          TEST(test_faults_a_miserable_pipe))
