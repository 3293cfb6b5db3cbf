/* deadlock.c - which workers can only wake one another.
 *
 * A worker is stuck when each of its threads is in a wait of ours that has no time limit, and each of those waits can be
 * ended only by workers that are stuck as well: they hold all ends that a message, or room for one, could come from, or
 * those ends lie in messages that nobody else can receive. Whatever is not known to be held so is held by somebody who may
 * do anything: C code, a thread that reads standard input, a process that does not say what it waits for (statement.c).
 *
 * Why whoever is called stuck is stuck, though nobody is stopped while we look:
 *
 *   1. Each suspect's waits and open ends are read with its GIL, and the number of its waits with them.
 *   2. Then the channels' counts of ends are read. Where all of a count are held by suspects, nobody else has one, nor
 *      gets one as long as the suspects do nothing. For ends in messages: the receivers of the channel that the messages
 *      lie in are counted first, then the messages are looked through, then what they hold is counted.
 *   3. Then the waits are looked at in their channels: nobody may have been woken yet. Who is not woken by now can be
 *      woken only by the others, since whoever else could have done it let go of his ends before they were counted.
 *   4. A process may have been killed by a thread that has ended since, and have yet to die of it. So each is asked for an
 *      answer, which what is killed does not give: its burial will wake others. The same holds for one that is stopped.
 *   5. Last, no suspect may have begun another wait than in step 1: so what was read there held all the time.
 *
 * The first of them to be woken after step 3 would have to be woken by another one, and there is none before him. Only
 * cancelling comes from outside: who is cancelled meanwhile is not stuck any more, and telling him harms nobody. */
#include "deadlock.h"

#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "restart.h"

#define PATIENCE ((int64_t)100 * 1000 * 1000) /* with a process that is to answer */

/* Makes room for one more and gives its place; NULL, and the net has failed, without memory. */
static void *one_more(lace_net *net, void *array, size_t *count, size_t *room, size_t size)
{
    void **place = array;
    if (*count == *room) {
        size_t wanted = *room ? 2 * *room : 16;
        void *larger = realloc(*place, wanted * size);
        if (larger == NULL) {
            net->failed = true;
            return NULL;
        }
        *place = larger;
        *room = wanted;
    }
    void *made = (char *)*place + (*count)++ * size;
    memset(made, 0, size);
    return made;
}

#define ONE_MORE(net, what) \
    one_more(net, &(net)->what##s, &(net)->what##_count, &(net)->what##_room, sizeof *(net)->what##s)

/* ---- reading one worker, attached to it ------------------------------------------------------------------ */

static void add_hold(lace_net *net, const void *channel, bool sender, size_t suspect, size_t container)
{
    lace_hold *hold = channel != NULL ? ONE_MORE(net, hold) : NULL;
    if (hold != NULL)
        *hold = (lace_hold){.channel = channel, .sender = sender, .suspect = suspect, .container = container};
}

void lace_net_put_hold(lace_net *net, const void *channel, bool sender, size_t suspect)
{
    add_hold(net, channel, sender, suspect, 0);
}

void lace_net_put_container(lace_net *net, lace_look *look)
{
    lace_container *container = look ? ONE_MORE(net, container) : NULL;
    if (container != NULL)
        container->look = look;
    else
        lace_look_finish(look);
}

/* A channel whose messages a suspect may receive. */
static void add_container(lace_net *net, const lace_receiver *receiver)
{
    lace_net_put_container(net, lace_look_at_receiver(receiver));
}

static void read_sender(lace_net *net, const lace_sender *sender, size_t suspect)
{
    if (sender != NULL && !lace_sender_closed(sender))
        add_hold(net, lace_sender_channel(sender), true, suspect, 0);
}

static void read_receiver(lace_net *net, const lace_receiver *receiver, size_t suspect)
{
    if (receiver == NULL || lace_receiver_closed(receiver))
        return;
    add_hold(net, lace_receiver_channel(receiver), false, suspect, 0);
    add_container(net, receiver);
}

/* What is kept for further attempts: there is none as long as this one waits, and what is kept waits with it. */
static void read_kept(lace_net *net, const lace_restart *restart, size_t suspect)
{
    const lace_job *job = lace_restart_job(restart);
    read_sender(net, lace_restart_outcome(restart), suspect);
    for (size_t i = 0; i < job->attachment_count; i++) {
        const lace_attachment *kept = &job->attachments[i];
        read_sender(net, kept->kind == LACE_ATTACH_SENDER ? kept->as.sender : NULL, suspect);
        read_receiver(net, kept->kind == LACE_ATTACH_RECEIVER ? kept->as.receiver : NULL, suspect);
    }
}

/* Its own thread's alone otherwise; that one waits. Of one in a process: the keeper's, which is kept from burying it. */
void lace_net_put_ends(lace_net *net, const lace_worker *worker, size_t suspect)
{
    read_sender(net, worker->outcome, suspect);
    read_sender(net, worker->end, suspect);
    if (worker->restart != NULL)
        read_kept(net, worker->restart, suspect);
}

static void read_holds(lace_net *net, const lace_worker *worker, size_t suspect)
{
    for (const lace_holding *held = worker->ends.next; held != &worker->ends; held = held->next) {
        read_sender(net, held->sender, suspect);
        read_receiver(net, held->receiver, suspect);
    }
    lace_net_put_ends(net, worker, suspect);
    if (worker->job != NULL) {
        read_sender(net, worker->job->output, suspect);
        read_receiver(net, worker->job->input, suspect);
    }
}

void lace_net_put_suspect(lace_net *net, lace_worker *worker, uint64_t parks)
{
    lace_suspect *suspect = ONE_MORE(net, suspect);
    if (suspect != NULL)
        *suspect = (lace_suspect){.worker = lace_worker_ref(worker), .parks = parks, .stuck = true};
}

void lace_net_put_await(lace_net *net, const lace_await *await)
{
    lace_await *made = ONE_MORE(net, await);
    if (made != NULL)
        *made = *await;
}

void lace_net_put_case(lace_net *net, const lace_await_case *one)
{
    lace_await_case *made = ONE_MORE(net, case);
    if (made != NULL) {
        *made = *one;
        return;
    }
    lace_look_finish(one->look);
    free(one->made);
}

/* False: it waits for something that cannot be known. */
static bool add_receiving(lace_net *net, const lace_receiver *receiver, lace_look_list list)
{
    lace_look *look = lace_look_at_receiver(receiver);
    lace_await_case *one = look ? ONE_MORE(net, case) : NULL;
    if (one == NULL) {
        lace_look_finish(look);
        return false;
    }
    *one = (lace_await_case){
        .channel = lace_look_channel(look), .look = look, .list = list, .end = lace_receiver_id(receiver)};
    return true;
}

static bool add_sending(lace_net *net, const lace_sender *sender)
{
    lace_look *look = lace_look_at_sender(sender);
    lace_await_case *one = look ? ONE_MORE(net, case) : NULL;
    if (one == NULL) {
        lace_look_finish(look);
        return false;
    }
    lace_sight sight;
    lace_look_see(look, &sight);
    *one = (lace_await_case){.channel = lace_look_channel(look),
                             .look = look,
                             .list = LACE_LOOK_SENDING,
                             .end = lace_sender_id(sender),
                             .sends_matter = sight.max_bytes != 0};
    return true;
}

static bool add_select(lace_net *net, const lace_module *module, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == module->receiver_type)
        return add_receiving(net, lace_object_receiver(object), LACE_LOOK_RECEIVING);
    if (type == module->worker_type)
        return add_receiving(net, lace_object_outcome(object), LACE_LOOK_ENDING);
    if (PyTuple_CheckExact(object) && Py_TYPE(PyTuple_GET_ITEM(object, 0)) == module->sender_type)
        return add_sending(net, lace_object_sender(PyTuple_GET_ITEM(object, 0)));
    return false; /* a timer or a descriptor */
}

static bool read_wait(lace_net *net, const lace_awaited *awaited, size_t suspect)
{
    const lace_pywait *wait = lace_pywait_of(awaited);
    if (awaited->timed || lace_scope_is_timed(wait->scope))
        return false;
    size_t first = net->case_count;
    bool known = true;
    switch (awaited->operation) {
    case LACE_AWAITS_OTHER:
    case LACE_AWAITS_LOCK:
        return false;
    case LACE_AWAITS_SEND:
        known = add_sending(net, awaited->sender);
        break;
    case LACE_AWAITS_RECV:
    case LACE_AWAITS_WORK:
    case LACE_AWAITS_PERMIT:
    case LACE_AWAITS_COUNT:
    case LACE_AWAITS_RESULT:
        known = add_receiving(net, awaited->receiver, LACE_LOOK_RECEIVING);
        break;
    case LACE_AWAITS_END:
        known = add_receiving(net, awaited->receiver, LACE_LOOK_ENDING);
        break;
    case LACE_AWAITS_SELECT:
        for (size_t i = 0; i < awaited->case_count && known; i++)
            known = add_select(net, wait->module, awaited->cases[i]);
        break;
    }
    lace_await *await = known ? ONE_MORE(net, await) : NULL;
    if (await == NULL)
        return false;
    *await = (lace_await){.suspect = suspect,
                          .thread = awaited->thread,
                          .ident = awaited->thread->thread_id,
                          .operation = awaited->operation,
                          .since = awaited->since,
                          .first_case = first,
                          .case_count = net->case_count - first};
    return true;
}

static const lace_awaited *wait_of(const lace_waits *waits, const PyThreadState *thread)
{
    const lace_awaited *awaited = waits->first;
    while (awaited != NULL && awaited->thread != thread)
        awaited = awaited->next;
    return awaited;
}

/* A local variable of a frame; NULL: it has none of that name. */
static PyObject *local_of(PyFrameObject *frame, const char *name)
{
    PyObject *value = PyFrame_GetVarString(frame, name);
    PyErr_Clear();
    return value;
}

/* Whether a thread of the attached interpreter waits in a threading.Condition, without a timeout, to be notified: only
 * another thread of that interpreter can do it. All of the module threading's waits for others but those for a plain lock
 * or a thread's end are made of this, and so is a Future's result(). A condition's waiters are those not notified yet. */
static bool is_in_condition(PyThreadState *thread)
{
    PyFrameObject *frame = PyThreadState_GetFrame(thread);
    if (frame == NULL)
        return false;
    PyCodeObject *code = PyFrame_GetCode(frame);
    const char *file = PyUnicode_AsUTF8(code->co_filename), *name = PyUnicode_AsUTF8(code->co_qualname);
    const char *slash = file ? strrchr(file, '/') : NULL;
    bool inside = false;
    if (name != NULL && slash != NULL && strcmp(slash, "/threading.py") == 0 && strcmp(name, "Condition.wait") == 0) {
        PyObject *self = local_of(frame, "self"), *waiter = local_of(frame, "waiter");
        PyObject *timeout = local_of(frame, "timeout");
        PyObject *waiters = self ? PyObject_GetAttrString(self, "_waiters") : NULL;
        inside = waiter && waiters && timeout == Py_None && PySequence_Contains(waiters, waiter) == 1;
        Py_XDECREF(waiters);
        Py_XDECREF(timeout);
        Py_XDECREF(waiter);
        Py_XDECREF(self);
    }
    PyErr_Clear();
    Py_DECREF(code);
    Py_DECREF(frame);
    return inside;
}

static bool add_locked(lace_net *net, const PyThreadState *thread, size_t suspect)
{
    lace_await *await = ONE_MORE(net, await);
    if (await != NULL)
        *await = (lace_await){
            .suspect = suspect, .thread = thread, .ident = thread->thread_id, .operation = LACE_AWAITS_LOCK};
    return await != NULL;
}

/* Whether all threads of the attached interpreter wait, as far as anybody knows for ever. */
static bool read_threads(lace_net *net, const lace_worker *worker, size_t suspect)
{
    const PyThreadState *own = PyThreadState_Get();
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyThreadState_GetInterpreter(PyThreadState_Get()));
    bool waits = false;
    for (; thread != NULL; thread = PyThreadState_Next(thread)) {
        if (thread == own)
            continue;
        const lace_awaited *awaited = wait_of(&worker->waits, thread);
        bool locked = awaited == NULL && is_in_condition(thread);
        if (awaited == NULL && !locked)
            net->elsewhere = true;
        if (!(locked ? add_locked(net, thread, suspect) : awaited != NULL && read_wait(net, awaited, suspect)))
            return false;
        waits |= awaited != NULL;
    }
    return waits;
}

void lace_net_add(lace_net *net, lace_worker *worker)
{
    PyThreadState *tstate = lace_worker_attach(worker);
    if (tstate == NULL)
        return;
    size_t number = net->suspect_count, holds = net->hold_count;
    lace_suspect *suspect = ONE_MORE(net, suspect);
    if (suspect != NULL) {
        *suspect = (lace_suspect){.worker = lace_worker_ref(worker), .parks = atomic_load(&worker->waits.parks)};
        bool waits = atomic_load(&worker->state) == LACE_WORKER_RUNNING && read_threads(net, worker, number);
        suspect->stuck = waits && lace_statement_is_all();
        net->elsewhere |= waits && !suspect->stuck; /* that thread may end, too */
        if (suspect->stuck)
            read_holds(net, worker, number);
        else
            net->hold_count = holds;
    }
    lace_worker_detach(worker, tstate);
}

/* ---- judging ---------------------------------------------------------------------------------------------- */

static int compare_holds(const void *one, const void *other)
{
    const lace_hold *a = one, *b = other;
    if (a->channel != b->channel)
        return (uintptr_t)a->channel < (uintptr_t)b->channel ? -1 : 1;
    return (int)a->sender - (int)b->sender;
}

size_t lace_net_holders(const lace_net *net, const void *channel, bool sender, size_t *ret_first)
{
    const lace_hold wanted = {.channel = channel, .sender = sender};
    size_t low = 0, high = net->hold_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_holds(&net->holds[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_first = low;
    while (high < net->hold_count && compare_holds(&net->holds[high], &wanted) == 0)
        high++;
    return high - low;
}

bool lace_net_hold_is_stuck(const lace_net *net, const lace_hold *hold)
{
    return hold->suspect != LACE_NOBODY ? net->suspects[hold->suspect].stuck
                                        : net->containers[hold->container].sealed;
}

/* Whether all ends on a side of a channel are with the stuck: there are `all` of them. */
static bool all_stuck(const lace_net *net, const void *channel, bool sender, uint32_t all)
{
    size_t first, count = lace_net_holders(net, channel, sender, &first), stuck = 0;
    if (count < all)
        return false;
    for (size_t i = first; i < first + count; i++)
        stuck += lace_net_hold_is_stuck(net, &net->holds[i]);
    return stuck == all;
}

typedef struct search {
    lace_net *net;
    size_t container;
} search;

static void found_inside(const void *channel, bool sender, void *context)
{
    const search *at = context;
    add_hold(at->net, channel, sender, LACE_NOBODY, at->container);
}

static int compare_containers(const void *one, const void *other)
{
    const void *a = lace_look_channel(((const lace_container *)one)->look);
    const void *b = lace_look_channel(((const lace_container *)other)->look);
    return (uintptr_t)a < (uintptr_t)b ? -1 : a != b;
}

/* Step 2 of the above. */
static void count_ends(lace_net *net)
{
    size_t kept = 0;
    qsort(net->containers, net->container_count, sizeof *net->containers, compare_containers);
    for (size_t i = 0; i < net->container_count; i++) {
        if (kept > 0 && compare_containers(&net->containers[kept - 1], &net->containers[i]) == 0)
            lace_look_finish(net->containers[i].look);
        else
            net->containers[kept++] = net->containers[i];
    }
    net->container_count = kept;
    lace_sight sight;
    for (size_t i = 0; i < net->container_count; i++) {
        lace_look_see(net->containers[i].look, &sight);
        net->containers[i].receivers = sight.receivers;
    }
    for (size_t i = 0; i < net->container_count; i++)
        lace_look_inside(net->containers[i].look, found_inside, &(search){.net = net, .container = i});
    for (size_t i = 0; i < net->container_count; i++) {
        lace_look_see(net->containers[i].look, &sight);
        net->containers[i].sealed = sight.receivers == net->containers[i].receivers && sight.receivers > 0;
    }
    for (size_t i = 0; i < net->case_count; i++) {
        lace_look_see(net->cases[i].look, &sight);
        net->cases[i].needs[0] = sight.receivers;
        net->cases[i].needs[1] = sight.senders;
        net->cases[i].unconfirmed = net->cases[i].list == LACE_LOOK_RECEIVING && sight.unconfirmed > 0;
    }
    if (!net->failed && net->hold_count > 0)
        qsort(net->holds, net->hold_count, sizeof *net->holds, compare_holds);
}

static bool is_hopeless(const lace_net *net, const lace_await *await)
{
    for (size_t i = await->first_case; i < await->first_case + await->case_count; i++) {
        const lace_await_case *one = &net->cases[i];
        bool sends = one->list == LACE_LOOK_SENDING;
        if ((!sends || one->sends_matter) && !all_stuck(net, one->channel, true, one->needs[1]))
            return false;
        if ((sends || one->unconfirmed) && !all_stuck(net, one->channel, false, one->needs[0]))
            return false;
    }
    return true;
}

/* Takes from the suspects whoever may be woken by somebody else, until those are left that cannot. */
static void free_whom_others_wake(lace_net *net)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < net->container_count; i++) {
            lace_container *container = &net->containers[i];
            if (container->sealed &&
                !all_stuck(net, lace_look_channel(container->look), false, container->receivers)) {
                container->sealed = false;
                changed = true;
            }
        }
        for (size_t i = 0; i < net->await_count; i++) {
            lace_suspect *suspect = &net->suspects[net->awaits[i].suspect];
            if (suspect->stuck && !is_hopeless(net, &net->awaits[i])) {
                suspect->stuck = false;
                changed = true;
            }
        }
    }
}

/* Whether a case is waited on at all: not when its other side is gone. */
static bool is_alive(const lace_await_case *one)
{
    return one->unconfirmed || one->needs[one->list == LACE_LOOK_SENDING ? 0 : 1] > 0;
}

/* How many cases of the stuck wait where this one does. */
static size_t waiting_there(const lace_net *net, const lace_await_case *there)
{
    size_t count = 0;
    for (size_t a = 0; a < net->await_count; a++) {
        const lace_await *await = &net->awaits[a];
        for (size_t i = 0; i < await->case_count && net->suspects[await->suspect].stuck; i++) {
            const lace_await_case *one = &net->cases[await->first_case + i];
            count += one->channel == there->channel && one->list == there->list && one->end == there->end;
        }
    }
    return count;
}

static bool is_where_it_was(const lace_suspect *suspect)
{
    if (suspect->worker->process == NULL)
        return atomic_load(&suspect->worker->waits.parks) == suspect->parks;
    uint64_t parks;
    return lace_statement_stands(suspect->worker, &parks) && parks == suspect->parks;
}

/* Step 4. */
static bool processes_answer(lace_net *net)
{
    static uint32_t number; /* the watcher's */
    bool asked = false;
    number++;
    for (size_t i = 0; i < net->suspect_count; i++)
        if (net->suspects[i].stuck && net->suspects[i].worker->process != NULL) {
            lace_process_ask(net->suspects[i].worker, number);
            asked = true;
        }
    int64_t deadline = asked ? lace_clock() + PATIENCE : 0;
    for (size_t i = 0; i < net->suspect_count; i++)
        if (net->suspects[i].stuck && net->suspects[i].worker->process != NULL &&
            !lace_process_answers(net->suspects[i].worker, number, deadline)) {
            net->elsewhere = true; /* at longer and longer intervals, if it is stopped */
            return false;
        }
    return true;
}

/* Step 3. */
static bool none_is_woken(const lace_net *net)
{
    for (size_t a = 0; a < net->await_count; a++) {
        const lace_await *await = &net->awaits[a];
        bool stuck = net->suspects[await->suspect].stuck, alive = await->operation == LACE_AWAITS_LOCK;
        for (size_t i = await->first_case; i < await->first_case + await->case_count && stuck; i++) {
            const lace_await_case *one = &net->cases[i];
            if (!is_alive(one))
                continue;
            alive = true;
            if (lace_look_waiting(one->look, one->list, one->end) != waiting_there(net, one))
                return false;
        }
        if (stuck && !alive)
            return false; /* it is about to be told so */
    }
    return true;
}

/* Step 5. */
static bool all_are_where_they_were(const lace_net *net)
{
    atomic_thread_fence(memory_order_acquire);
    for (size_t i = 0; i < net->suspect_count; i++) {
        const lace_suspect *suspect = &net->suspects[i];
        if (suspect->stuck && !is_where_it_was(suspect))
            return false;
    }
    return true;
}

size_t lace_net_stuck(const lace_net *net)
{
    size_t count = 0;
    for (size_t i = 0; i < net->suspect_count; i++)
        count += net->suspects[i].stuck;
    return count;
}

lace_verdict lace_net_judge(lace_net *net)
{
    if (!net->failed && lace_net_stuck(net) > 0)
        count_ends(net);
    if (net->failed)
        return LACE_VERDICT_NONE;
    free_whom_others_wake(net);
    if (lace_net_stuck(net) == 0)
        return net->moved ? LACE_VERDICT_MOVED : LACE_VERDICT_NONE;
    if (!none_is_woken(net) || !all_are_where_they_were(net))
        return LACE_VERDICT_MOVED;
    if (!processes_answer(net))
        return LACE_VERDICT_NONE;
    return all_are_where_they_were(net) ? LACE_VERDICT_STUCK : LACE_VERDICT_MOVED;
}

void lace_net_finish(lace_net *net)
{
    for (size_t i = 0; i < net->case_count; i++) {
        lace_look_finish(net->cases[i].look);
        free(net->cases[i].made);
    }
    for (size_t i = 0; i < net->container_count; i++)
        lace_look_finish(net->containers[i].look);
    for (size_t i = 0; i < net->suspect_count; i++)
        lace_worker_unref(net->suspects[i].worker);
    free(net->suspects);
    free(net->awaits);
    free(net->cases);
    free(net->holds);
    free(net->containers);
    *net = (lace_net){0};
}
