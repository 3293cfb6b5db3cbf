/* watcher.c - when to look for deadlocks.
 *
 * Only a wait that begins, a worker that ends or an end that somebody closes can complete a deadlock. So the watcher's
 * thread sleeps until there is one of these: it sets `watched` in each worker's waits, and the next to begin pokes it, once
 * for all workers; the first of the others pokes it as well, and sets `changed`. Then it looks, a little later, at those
 * that have been waiting for a while. Nothing has it look again at a host whose workers all wait, and a busy one pays for a
 * few looks in a second. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../channels/descriptor.h"
#include "../channels/look.h"
#include "deadlock.h"
#include "process.h"

#define SLACK ((int64_t)10 * 1000 * 1000)         /* by how much the time a wait began may be wrong, and more */
#define ELSEWHERE_MOST ((int64_t)10 * 1000000000) /* between looks at workers with threads outside our waits */

static _Atomic int64_t settled = (int64_t)100 * 1000 * 1000; /* ns that a worker has to wait before it is looked at */
static _Atomic int64_t warned = (int64_t)1000 * 1000 * 1000; /* that some have to wait for one another before it is said */
static _Atomic int64_t share = 50; /* looking takes one part in so many of the time at most */

static pthread_t thread;
static bool running;     /* written by start and stop, which one thread calls */
static bool raises;      /* set before the thread starts */
static int poke_fd = -1; /* eventfd; made once and never closed, so that late pokes meet no other descriptor */
static atomic_bool stopping;
static atomic_bool poked; /* somebody has, since the last look: nobody else needs to */
/* A worker or an end has gone since the last look: what had been waiting before may be stuck now. Whoever goes has done so
 * before he reads this; a look takes it back before it reads anything, a full fence between the two on both sides: so he
 * finds it taken back, or the look finds him gone. */
static atomic_bool changed;

void lace_watcher_poke(lace_waits *waits)
{
    atomic_store(&waits->watched, false);
    lace_watcher_wake();
}

void lace_watcher_wake(void)
{
    uint64_t one = 1;
    /* It fails only when 2^64 - 2 pokes are waiting: one is enough. */
    if (poke_fd >= 0 && !atomic_exchange(&poked, true) && write(poke_fd, &one, sizeof one) < 0)
        return;
}

void lace_watcher_heed(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load(&changed)) {
        atomic_store(&changed, true);
        lace_watcher_wake();
    }
}

/* _watch_sooner(factor): times are shorter by it from now on, so that a test of many waits has them looked at. */
PyObject *lace_py_watch_sooner(PyObject *self, PyObject *factor)
{
    (void)self;
    long by = PyLong_AsLong(factor);
    if (by < 1 || by > 50)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "a factor from 1 to 50, not %ld", by);
    atomic_store(&settled, (int64_t)100 * 1000 * 1000 / by);
    atomic_store(&warned, (int64_t)1000 * 1000 * 1000 / by);
    atomic_store(&share, 50 / by);
    Py_RETURN_NONE;
}

/* ---- one look -------------------------------------------------------------------------------------------- */

/* What the thread keeps from one look to the next. */
typedef struct lace_memory {
    int64_t elsewhere; /* how long it lets threads outside our waits be before it looks again */
    bool unsettled;    /* the last look could not tell: look again whatever has changed */
} lace_memory;

typedef struct lace_round {
    int64_t now;
    int64_t again; /* when to look again; LACE_NEVER: when poked */
    lace_worker **settled;
    size_t count, room;
    size_t living; /* workers that have not ended */
    bool news;     /* among the settled is one whose wait has not been looked at */
} lace_round;

static void look_again(lace_round *round, int64_t at)
{
    if (round->again == LACE_NEVER || at < round->again)
        round->again = at;
}

/* Whether the worker has been waiting for a while; *ret_parks: in which wait. */
static bool is_settled(lace_worker *worker, lace_round *round, uint64_t *ret_parks)
{
    atomic_store(&worker->waits.watched, true);
    atomic_thread_fence(memory_order_seq_cst); /* see waits.h */
    /* The state first: once it runs, what it is of is set. A process states what it waits for when it has for a while. */
    if (atomic_load(&worker->state) == LACE_WORKER_RUNNING && worker->process != NULL)
        return lace_statement_stands(worker, ret_parks);
    if (atomic_load(&worker->waits.count) == 0)
        return false;
    *ret_parks = atomic_load(&worker->waits.parks);
    int64_t since = atomic_load(&worker->waits.since);
    if (round->now - since >= settled)
        return true;
    look_again(round, since + settled + SLACK);
    return false;
}

static void sort_worker(lace_worker *worker, void *context)
{
    lace_round *round = context;
    uint64_t parks;
    round->living++;
    if (!is_settled(worker, round, &parks))
        return;
    if (round->count == round->room) {
        size_t wanted = round->room ? 2 * round->room : 64;
        lace_worker **larger = realloc(round->settled, wanted * sizeof *larger);
        if (larger == NULL)
            return;
        round->settled = larger;
        round->room = wanted;
    }
    round->news |= worker->looked_at != parks;
    round->settled[round->count++] = lace_worker_ref(worker);
}

/* When the latest of the stuck began to wait. */
static int64_t stuck_since(const lace_net *net)
{
    int64_t since = 0;
    for (size_t a = 0; a < net->await_count; a++)
        if (net->suspects[net->awaits[a].suspect].stuck && net->awaits[a].since > since)
            since = net->awaits[a].since;
    return since;
}

/* Whether all of the stuck have been warned of; they have afterwards. */
static bool known(lace_net *net)
{
    bool all = true;
    for (size_t i = 0; i < net->suspect_count; i++) {
        lace_suspect *suspect = &net->suspects[i];
        if (!suspect->stuck)
            continue;
        all &= suspect->worker->warned_of == suspect->parks;
        suspect->worker->warned_of = suspect->parks;
    }
    return all;
}

/* Says that some are stuck; when they have not waited long enough for that, later. */
static void say(lace_net *net, lace_round *round, lace_memory *memory)
{
    int64_t due = stuck_since(net) + warned;
    if (raises && lace_net_stuck(net) == round->living) {
        lace_deadlock_report(net, true);
        lace_deadlock_tell(net);
    } else if (round->now >= due) {
        if (!known(net))
            lace_deadlock_report(net, false);
    } else {
        look_again(round, due + SLACK);
        memory->unsettled = true;
    }
}

/* In a child with one worker: what is to be said of it is its host's to say. */
static lace_verdict state(lace_net *net)
{
    return lace_statement_make(net) ? LACE_VERDICT_NONE : LACE_VERDICT_MOVED;
}

static void examine(lace_round *round, lace_memory *memory)
{
    lace_net net = {0};
    memory->unsettled = false;
    for (size_t i = 0; i < round->count; i++) {
        lace_worker *worker = round->settled[i];
        if (worker->process != NULL) {
            lace_statement_stands(worker, &worker->looked_at);
            lace_net_add_process(&net, worker);
        } else {
            worker->looked_at = atomic_load(&worker->waits.parks);
            lace_net_add(&net, worker);
        }
    }
    lace_verdict verdict = lace_child_sheet() != NULL && round->living == 1 ? state(&net) : lace_net_judge(&net);
    if (verdict == LACE_VERDICT_STUCK)
        say(&net, round, memory);
    if (verdict == LACE_VERDICT_MOVED) {
        look_again(round, round->now + settled);
        memory->unsettled = true;
    }
    if (net.elsewhere) {
        look_again(round, round->now + memory->elsewhere);
        memory->elsewhere = memory->elsewhere * 2 < ELSEWHERE_MOST ? memory->elsewhere * 2 : ELSEWHERE_MOST;
        memory->unsettled = true;
    } else {
        memory->elsewhere = settled;
    }
    lace_net_finish(&net);
}

/* Returns when to look again. */
static int64_t look(lace_memory *memory)
{
    lace_round round = {.now = lace_clock(), .again = LACE_NEVER};
    memory->unsettled |= atomic_exchange(&changed, false);
    lace_workers_each(sort_worker, &round);
    if ((round.news || memory->unsettled) && !lace_statement_withdraw()) {
        memory->unsettled = true;
        look_again(&round, round.now + settled);
    } else if (round.count > 0 && (round.news || memory->unsettled))
        examine(&round, memory);
    for (size_t i = 0; i < round.count; i++)
        lace_worker_unref(round.settled[i]);
    free(round.settled);
    return round.again;
}

/* ---- the thread -------------------------------------------------------------------------------------------- */

/* Sleeps until that time, or until poked where that is allowed. */
static void sleep_until(int64_t time, bool heeds_pokes)
{
    struct pollfd poller = {.fd = poke_fd, .events = POLLIN};
    struct timespec rest = {0};
    if (time != LACE_NEVER) {
        int64_t left = time - lace_clock();
        if (left > 0)
            rest = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    }
    ppoll(&poller, heeds_pokes ? 1 : 0, time != LACE_NEVER ? &rest : NULL, NULL);
    uint64_t pokes;
    if (poller.revents && read(poke_fd, &pokes, sizeof pokes) < 0 && errno != EAGAIN)
        lace_complain("eventfd: %s", strerror(errno));
}

/* Nanoseconds of a processor that this thread has had. */
static int64_t work_done(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

static void *watch(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "watcher");
    lace_memory memory = {.elsewhere = settled};
    int64_t again = LACE_NEVER, least = 0;
    while (!atomic_load(&stopping)) {
        sleep_until(again, true);
        int64_t now = lace_clock();
        if (atomic_load(&stopping))
            break;
        if (atomic_load(&poked)) { /* a wait has begun: to be looked at when it has lasted */
            int64_t then = now + settled + SLACK > least ? now + settled + SLACK : least;
            again = again == LACE_NEVER || then < again ? then : again;
        }
        if (again == LACE_NEVER || now < again)
            continue;
        atomic_store(&poked, false);
        int64_t worked = work_done();
        again = look(&memory);
        least = lace_clock() + share * (work_done() - worked);
        if (again != LACE_NEVER && again < least)
            again = least;
    }
    return NULL;
}

/* ---- start and stop ------------------------------------------------------------------------------------------ */

static void wake(void)
{
    uint64_t one = 1;
    if (write(poke_fd, &one, sizeof one) < 0)
        return; /* it is awake */
}

const char *lace_watcher_start(bool raise)
{
    raises = raise;
    if (poke_fd < 0)
        poke_fd = lace_descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (poke_fd < 0)
        return "no descriptor for the thread that looks for deadlocks";
    atomic_store(&stopping, false);
    atomic_store(&lace_end_gone, lace_watcher_heed);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)512 << 10);
    running = pthread_create(&thread, &attributes, watch, NULL) == 0;
    pthread_attr_destroy(&attributes);
    return running ? NULL : "the thread that looks for deadlocks could not be started";
}

void lace_watcher_stop(void)
{
    if (!running)
        return;
    atomic_store(&stopping, true);
    wake();
    pthread_join(thread, NULL);
    running = false;
}
