/* test_fd.c - the descriptors of ends, for event loops: readable (a pipe's or socket's sender: writable) exactly while the
 * end is worth a call. Exact both ways: never set too late, and never left set. */
#include "fixture.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>

static bool ready_now(int fd, short events)
{
    struct pollfd polled = {fd, events, 0};
    int got;
    while ((got = poll(&polled, 1, 0)) < 0 && errno == EINTR)
        continue;
    CHECK(got >= 0);
    return got == 1;
}

/* What a sender's descriptor is polled for. */
static short sender_events(const pair *p)
{
    return p->kind->pipe && p->kind->seal != SEALED_MEMORY ? POLLOUT : POLLIN;
}

static bool readable(int fd)
{
    return ready_now(fd, POLLIN);
}

static int receiver_fd(const pair *p)
{
    int fd, again;
    CHECK_OK(lace_receiver_fd(p->receiver, &fd));
    CHECK_OK(lace_receiver_fd(p->receiver, &again));
    CHECK(fd >= 0 && fd == again); /* it belongs to the end, one for all calls */
    return fd;
}

static int sender_fd(const pair *p)
{
    int fd, again;
    CHECK_OK(lace_sender_fd(p->sender, &fd));
    CHECK_OK(lace_sender_fd(p->sender, &again));
    CHECK(fd >= 0 && fd == again);
    return fd;
}

START_TEST(test_fd_of_a_receiver_is_exact)
{
    pair p;
    pair_open(&p, _i + 1);
    int fd = receiver_fd(&p);
    CHECK(!readable(fd));
    for (size_t round = 0; round < 3; round++) {
        CHECK_OK(send_u64(p.sender, 1, TRY));
        CHECK(readable(fd));
        CHECK(readable(fd));
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        CHECK(!readable(fd));
        size_t room = fill_up(p.sender);
        for (size_t i = 0; i < room; i++) {
            CHECK(readable(fd));
            CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        }
        CHECK(!readable(fd));
        CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, TRY));
        CHECK(!readable(fd));
    }
    CHECK_OK(send_u64(p.sender, 1, TRY));
    lace_sender_close(p.sender);
    CHECK(readable(fd));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK(ready_now(fd, POLLIN)); /* the end is worth a call too: a pipe says POLLHUP */
    CHECK_STATUS(LACE_END, lace_recv(p.receiver, p.message, TRY));
    CHECK(ready_now(fd, POLLIN));
    pair_close(&p);
}
END_TEST

START_TEST(test_fd_made_late_knows_the_state)
{
    pair p, q;
    pair_open(&p, _i);
    pair_open_beside(&q, &p);
    if (p.kind->can & CAN_QUEUE)
        CHECK_OK(send_u64(p.sender, 1, TRY));
    else
        lace_sender_close(p.sender);
    CHECK(readable(receiver_fd(&p)));
    CHECK(!readable(receiver_fd(&q)));
    lace_receiver_close(q.receiver);
    short events = sender_events(&q);
    CHECK(ready_now(sender_fd(&q), events)); /* broken */
    pair_close_ends(&q);
    pair_close(&p);
}
END_TEST

START_TEST(test_fd_of_a_sender_is_exact)
{
    pair p;
    pair_open(&p, _i + 1); /* memory 1, 2, 64 */
    int fd = sender_fd(&p);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < p.kind->capacity; i++) {
            CHECK(readable(fd));
            CHECK_OK(send_u64(p.sender, i, TRY));
        }
        CHECK(!readable(fd));
        CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 1, TRY));
        CHECK(!readable(fd));
        CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        CHECK(readable(fd));
        for (size_t i = 1; i < p.kind->capacity; i++)
            CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        CHECK(readable(fd));
    }
    fill(p.sender, p.kind->capacity);
    CHECK(!readable(fd));
    lace_receiver_close(p.receiver);
    CHECK(readable(fd)); /* broken */
    CHECK_STATUS(LACE_BROKEN, send_u64(p.sender, 1, TRY));
    CHECK(readable(fd));
    pair_close(&p);
}
END_TEST

START_TEST(test_fd_of_a_pipes_sender)
{
    pair p;
    pair_open(&p, TRANSPORT_PIPE + _i);
    int fd = sender_fd(&p);
    short events = sender_events(&p);
    for (int round = 0; round < 3; round++) {
        CHECK(ready_now(fd, events));
        size_t room = fill_up(p.sender);
        CHECK(!ready_now(fd, events));
        for (size_t i = 0; i < room; i++)
            CHECK_OK(lace_recv(p.receiver, p.message, TRY));
        CHECK(ready_now(fd, events));
    }
    fill_up(p.sender);
    lace_receiver_close(p.receiver);
    CHECK(ready_now(fd, events));
    pair_close(&p);
}
END_TEST

START_TEST(test_fd_of_a_rendezvous)
{
    pair p;
    call other;
    pair_open(&p, 0);
    int in = receiver_fd(&p), out = sender_fd(&p);
    CHECK(!readable(in) && !readable(out));
    call_start(&other, CALL_SEND, &p, 1); /* a waiting sender is worth a receive */
    while (!readable(in))
        sched_yield();
    CHECK(!readable(out));
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK_OK(call_join(&other));
    CHECK(!readable(in) && !readable(out));
    call_start(&other, CALL_RECV, &p, 0); /* a waiting receiver is room */
    while (!readable(out))
        sched_yield();
    CHECK(!readable(in));
    CHECK_OK(send_u64(p.sender, 1, TRY));
    CHECK_OK(call_join(&other));
    CHECK(!readable(in) && !readable(out));
    CHECK_STATUS(LACE_TIMEOUT, lace_recv(p.receiver, p.message, WITHIN_MS(1)));
    CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 1, WITHIN_MS(1)));
    CHECK(!readable(in) && !readable(out)); /* also when those who waited gave up */
    pair_close(&p);
}
END_TEST

/* On a rendezvous, a selector stands for room also while nobody waits in it: as the header says. */
START_TEST(test_fd_a_selector_stands_for_room)
{
    pair p;
    lace_selector *selector;
    pair_open(&p, 0);
    lace_case choice = {.kind = LACE_CASE_RECV, .receiver = p.receiver};
    int out = sender_fd(&p);
    CHECK(!readable(out));
    CHECK_OK(lace_selector_create(&choice, 1, &selector));
    CHECK(readable(out));
    CHECK_STATUS(LACE_TIMEOUT, send_u64(p.sender, 1, TRY)); /* which does not make it true */
    lace_selector_destroy(selector);
    CHECK(!readable(out));
    pair_close(&p);
}
END_TEST

START_TEST(test_fd_of_every_clone)
{
    pair p;
    lace_receiver *clone;
    int other;
    pair_open(&p, 2);
    CHECK_OK(lace_receiver_clone(p.receiver, &clone));
    int one = receiver_fd(&p);
    CHECK_OK(lace_receiver_fd(clone, &other));
    CHECK(one != other);
    CHECK_OK(send_u64(p.sender, 1, TRY));
    CHECK(readable(one) && readable(other));
    CHECK_OK(lace_recv(clone, p.message, TRY));
    CHECK(!readable(one) && !readable(other));
    lace_receiver_destroy(clone);
    CHECK_OK(send_u64(p.sender, 1, TRY));
    CHECK(readable(one));
    pair_close(&p);
}
END_TEST

/* Who polls an end that its own side closes is woken, and told CLOSED by the call that it then makes. */
START_TEST(test_fd_of_a_closed_end)
{
    pair p;
    lace_sender *sender;
    lace_receiver *receiver;
    pair_open(&p, _i);
    CHECK_OK(lace_sender_clone(p.sender, &sender)); /* so that the channel neither ends nor breaks */
    CHECK_OK(lace_receiver_clone(p.receiver, &receiver));
    int in = receiver_fd(&p), out = sender_fd(&p);
    CHECK(!readable(in));
    lace_receiver_close(p.receiver);
    CHECK(readable(in));
    CHECK_STATUS(LACE_CLOSED, lace_recv(p.receiver, p.message, TRY));
    fill(p.sender, p.kind->capacity);
    CHECK(!readable(out));
    lace_sender_close(p.sender);
    CHECK(readable(out));
    CHECK_STATUS(LACE_CLOSED, send_u64(p.sender, 1, TRY));
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    pair_close(&p);
}
END_TEST

START_TEST(test_fd_follows_max_bytes)
{
    pair p;
    char bytes[60] = {0};
    lace_payload payload = payload_of(bytes, sizeof bytes);
    pair_open_memory(&p, 10, 100);
    int fd = sender_fd(&p);
    CHECK(readable(fd));
    CHECK_OK(lace_send(p.sender, &payload, TRY));
    CHECK(readable(fd)); /* 40 bytes fit */
    payload.size = 40;
    CHECK_OK(lace_send(p.sender, &payload, TRY));
    CHECK(!readable(fd)); /* not a byte more */
    CHECK_OK(lace_recv(p.receiver, p.message, TRY));
    CHECK(readable(fd));
    pair_close(&p);
}
END_TEST

/* A token's: readable once it has fired, whoever of its parents was fired. */
START_TEST(test_fd_of_a_token)
{
    lace_cancel *root, *early, *late;
    int fd, again, other;
    CHECK_OK(lace_cancel_create(NULL, &root));
    CHECK_OK(lace_cancel_create(root, &early));
    CHECK_OK(lace_cancel_create(root, &late));
    CHECK_OK(lace_cancel_fd(early, &fd));
    CHECK_OK(lace_cancel_fd(early, &again));
    CHECK(fd == again);
    CHECK(!readable(fd));
    lace_cancel_fire(root);
    CHECK(readable(fd) && readable(fd));
    CHECK_OK(lace_cancel_fd(late, &other)); /* asked for afterwards */
    CHECK(readable(other));
    CHECK_STATUS(LACE_INVALID, lace_cancel_fd(NULL, &other));
    lace_cancel_destroy(late);
    lace_cancel_destroy(early);
    lace_cancel_destroy(root);
}
END_TEST

/* ---- a message that comes while poll sleeps, and an event loop made of it ------------------------------ */

typedef struct loop {
    const pair *on;
    uint64_t count;
    _Atomic uint64_t sum;
} loop;

static void loop_send(void *context)
{
    loop *self = context;
    int fd = sender_fd(self->on);
    short events = sender_events(self->on);
    for (uint64_t i = 1; i <= self->count;) {
        struct pollfd polled = {fd, events, 0};
        CHECK(poll(&polled, 1, -1) == 1);
        lace_status status = send_u64(self->on->sender, i, TRY);
        CHECK(status == LACE_OK || status == LACE_TIMEOUT);
        i += status == LACE_OK;
    }
    lace_sender_close(self->on->sender);
}

static void loop_receive(void *context)
{
    loop *self = context;
    int fd = receiver_fd(self->on);
    lace_message *message = message_make(self->on->region);
    for (;;) {
        struct pollfd polled = {fd, POLLIN, 0};
        uint64_t value;
        CHECK(poll(&polled, 1, -1) == 1);
        lace_status status = recv_u64(self->on->receiver, message, &value, TRY);
        if (status == LACE_END)
            break;
        if (status == LACE_TIMEOUT &&
            (self->on->kind->seal == SEALED_PIPE || self->on->kind->seal == SEALED_MEMORY))
            continue; /* the sender has said that it ends, and is about to close; or it rang after the message was seen */
        CHECK_OK(status); /* the only receiver: what poll promised is there */
        atomic_fetch_add(&self->sum, value);
    }
    lace_message_destroy(message);
}

START_TEST(test_fd_drives_two_event_loops)
{
    pair p;
    thread sending, receiving;
    pair_open(&p, _i + 1);
    loop work = {.on = &p, .count = test_scaled(10000)};
    thread_start(&receiving, loop_receive, &work);
    thread_start(&sending, loop_send, &work);
    thread_join(&sending);
    thread_join(&receiving);
    CHECK_UINT(work.sum, work.count * (work.count + 1) / 2);
    pair_close(&p);
}
END_TEST

TEST_MAIN("fd", TEST_LOOP(test_fd_of_a_receiver_is_exact, TRANSPORT_COUNT - 1),
          TEST_LOOP(test_fd_made_late_knows_the_state, TRANSPORT_COUNT), TEST_LOOP(test_fd_of_a_sender_is_exact, 3),
          TEST_LOOP(test_fd_of_a_pipes_sender, TRANSPORT_COUNT - TRANSPORT_PIPE), TEST(test_fd_of_a_rendezvous),
          TEST(test_fd_a_selector_stands_for_room),
          TEST(test_fd_of_every_clone), TEST_LOOP(test_fd_of_a_closed_end, TRANSPORT_PIPE),
          TEST(test_fd_follows_max_bytes), TEST(test_fd_of_a_token),
          TEST_LOOP(test_fd_drives_two_event_loops, TRANSPORT_COUNT - 1))
