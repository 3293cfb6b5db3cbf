/* statement.c - what a child process waits for, told to its host: so that a deadlock is found that runs through it.
 *
 * When all that could ever act in a child has waited for a while, its watcher writes down, with the GIL, what deadlock.c would
 * read there: the waits, and the ends it has open. That statement stands as long as no other wait has begun in the child, which
 * the host sees in the sheet. To the host such a child is a worker like others: step 1 of deadlock.c was done by the child, and
 * steps 2 to 5 look at the channels' own memory and at the number of waits, wherever those are who use them. A child that
 * is dead or dying does not answer, and is no suspect: its burial will wake others.
 *
 * The child says nothing where something could act of which it does not know: a thread that is neither Python's nor ours (it
 * may call Python at any time), a signal handler, a worker of its own. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "../channels/place.h"
#include "../channels/text.h"
#include "deadlock.h"
#include "process.h"
#include "process_own.h"
#include "sheet.h"
#include "site.h"

/* ---- in the child: is there anything else? ---------------------------------------------------------------- */

#define MOST_OWN 32
static pid_t own_threads[MOST_OWN]; /* those that were there before the user's code; constant then */
static size_t own_count;

/* Calls `visit` with each thread of the process; false when that cannot be done, or it says so. */
static bool each_thread(bool (*visit)(pid_t tid, void *context), void *context)
{
    DIR *folder = opendir("/proc/self/task");
    if (folder == NULL)
        return false;
    bool well = true;
    for (struct dirent *entry; well && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            well = visit((pid_t)atoi(entry->d_name), context);
    closedir(folder);
    return well;
}

static bool note_own(pid_t tid, void *context)
{
    (void)context;
    if (own_count == MOST_OWN)
        return false;
    own_threads[own_count++] = tid;
    return true;
}

void lace_statement_begin(void)
{
    if (!each_thread(note_own, NULL))
        own_count = 0; /* all of them are strangers, then */
}

/* Whether a thread is ours, or one of the attached interpreter's. */
static bool is_known(pid_t tid, void *context)
{
    (void)context;
    for (size_t i = 0; i < own_count; i++)
        if (own_threads[i] == tid)
            return true;
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyThreadState_GetInterpreter(PyThreadState_Get()));
    for (; thread != NULL; thread = PyThreadState_Next(thread))
        if (thread->native_thread_id == (unsigned long)tid)
            return true;
    return false;
}

/* Whether a signal could have the attached interpreter run code, while its main thread waits for a lock: it has a handler, and
 * that is not Ctrl-C's usual one, to which no signal comes here. */
static bool heeds_signals(void)
{
    PyObject *module = PyImport_ImportModule("_signal");
    PyObject *usual = module ? PyObject_GetAttrString(module, "default_int_handler") : NULL;
    bool heeds = usual == NULL;
    for (int number = 1; number <= 64 && !heeds; number++) {
        PyObject *handler = PyObject_CallMethod(module, "getsignal", "i", number);
        heeds = handler == NULL || (handler != usual && PyCallable_Check(handler));
        Py_XDECREF(handler);
    }
    PyErr_Clear();
    Py_XDECREF(usual);
    Py_XDECREF(module);
    return heeds;
}

bool lace_statement_is_all(void)
{
    return lace_child_sheet() == NULL || lace_workers_alive() != 1 || (each_thread(is_known, NULL) && !heeds_signals());
}

/* ---- in the child: saying it ------------------------------------------------------------------------------ */

static lace_net standing; /* what the statement was made of: its looks keep the channels; the watcher's */

/* Adds a string; gives where it begins, 0 for one that is empty or finds no room. */
static uint32_t put_text(lace_statement *statement, const char *text)
{
    size_t size = strlen(text) + 1;
    if (size == 1 || size > LACE_STATED_TEXT - statement->text_size)
        return 0;
    uint32_t at = statement->text_size;
    memcpy(statement->text + at, text, size);
    statement->text_size += (uint32_t)size;
    return at;
}

static uint32_t put_site(lace_statement *statement, const lace_look *look)
{
    lace_site made;
    char text[512];
    if (!lace_site_find(lace_look_mark(look), &made))
        return 0;
    lace_text_print(text, sizeof text, "%s, line %d, in %s", made.file, made.line, made.function);
    return put_text(statement, text);
}

static void put_all(lace_statement *statement, const lace_net *net)
{
    const lace_region *region = lace_region_of_host();
    statement->text[0] = '\0';
    statement->text_size = 1;
    for (size_t i = 0; i < net->await_count; i++) {
        const lace_await *await = &net->awaits[i];
        statement->awaits[i] = (lace_stated_await){.operation = await->operation,
                                                   .first_case = (uint32_t)await->first_case,
                                                   .case_count = (uint32_t)await->case_count,
                                                   .where = put_text(statement, await->where),
                                                   .since = await->since};
    }
    for (size_t i = 0; i < net->case_count; i++) {
        const lace_await_case *one = &net->cases[i];
        statement->cases[i] = (lace_stated_case){.place = lace_look_place(region, one->channel),
                                                 .end = one->end,
                                                 .list = (uint16_t)one->list,
                                                 .sends_matter = one->sends_matter,
                                                 .made = put_site(statement, one->look)};
    }
    for (size_t i = 0; i < net->hold_count; i++)
        statement->holds[i] = (lace_stated_hold){.place = lace_look_place(region, net->holds[i].channel),
                                                 .sender = net->holds[i].sender};
    statement->await_count = (uint32_t)net->await_count;
    statement->case_count = (uint32_t)net->case_count;
    statement->hold_count = (uint32_t)net->hold_count;
}

bool lace_statement_withdraw(void)
{
    lace_sheet *sheet = lace_child_sheet();
    if (sheet == NULL || atomic_load(&sheet->stated) == 0)
        return true;
    if (!lace_sheet_lock(sheet))
        return false;
    sheet->statement.parks = 0;
    atomic_store(&sheet->stated, 0);
    lace_sheet_unlock(sheet);
    lace_net_finish(&standing);
    return true;
}

bool lace_statement_make(lace_net *net)
{
    lace_sheet *sheet = lace_child_sheet();
    if (sheet == NULL || net->failed || net->suspect_count != 1 || lace_net_stuck(net) != 1 ||
        net->await_count > LACE_STATED_AWAITS || net->case_count > LACE_STATED_CASES ||
        net->hold_count > LACE_STATED_HOLDS)
        return true;
    lace_net_find_lines(net);
    uint64_t parks = net->suspects[0].parks;
    if (atomic_load(&net->suspects[0].worker->waits.parks) != parks)
        return true; /* it goes on: the next wait is looked at in its turn */
    if (!lace_sheet_lock(sheet))
        return false;
    put_all(&sheet->statement, net);
    sheet->statement.parks = parks;
    atomic_store(&sheet->stated, parks);
    lace_sheet_unlock(sheet);
    standing = *net;
    *net = (lace_net){0};
    lace_child_say_waits();
    return true;
}

/* ---- in the host: reading it ------------------------------------------------------------------------------ */

bool lace_statement_stands(const lace_worker *worker, uint64_t *ret_parks)
{
    const lace_sheet *sheet = lace_process_sheet(worker);
    *ret_parks = atomic_load(&sheet->waits.parks);
    return atomic_load(&sheet->waits.count) != 0 && *ret_parks != 0 && atomic_load(&sheet->stated) == *ret_parks &&
           lace_process_is_heard(worker);
}

static const char *text_at(const lace_statement *statement, uint32_t at)
{
    bool sound = at < LACE_STATED_TEXT && memchr(statement->text + at, '\0', LACE_STATED_TEXT - at) != NULL;
    return sound ? statement->text + at : "";
}

static bool is_sound(const lace_statement *statement)
{
    bool sound = statement->await_count <= LACE_STATED_AWAITS && statement->case_count <= LACE_STATED_CASES &&
                 statement->hold_count <= LACE_STATED_HOLDS;
    for (uint32_t i = 0; sound && i < statement->await_count; i++) {
        const lace_stated_await *await = &statement->awaits[i];
        sound = await->operation <= LACE_AWAITS_LOCK && await->first_case <= statement->case_count &&
                await->case_count <= statement->case_count - await->first_case;
    }
    for (uint32_t i = 0; sound && i < statement->case_count; i++)
        sound = statement->cases[i].list <= LACE_LOOK_ENDING;
    return sound;
}

static void read_await(lace_net *net, const lace_statement *statement, const lace_stated_await *stated, size_t suspect)
{
    lace_await await = {.suspect = suspect,
                        .operation = (lace_operation)stated->operation,
                        .since = stated->since,
                        .first_case = net->case_count,
                        .case_count = stated->case_count};
    lace_text_print(await.where, sizeof await.where, "%s", text_at(statement, stated->where));
    for (uint32_t i = 0; i < stated->case_count && !net->failed; i++) {
        const lace_stated_case *one = &statement->cases[stated->first_case + i];
        lace_look *look = lace_look_at(lace_region_of_host(), one->place);
        if (look == NULL) {
            net->failed = true;
            return;
        }
        lace_net_put_case(net, &(lace_await_case){.channel = lace_look_channel(look),
                                                  .look = look,
                                                  .list = (lace_look_list)one->list,
                                                  .end = one->end,
                                                  .sends_matter = one->sends_matter != 0,
                                                  .made = strdup(text_at(statement, one->made))});
    }
    lace_net_put_await(net, &await);
}

/* Locked: adds all that the statement says. */
static void read_statement(lace_net *net, const lace_statement *statement, size_t suspect)
{
    lace_region *region = lace_region_of_host();
    for (uint32_t i = 0; i < statement->await_count; i++)
        read_await(net, statement, &statement->awaits[i], suspect);
    for (uint32_t i = 0; i < statement->hold_count && !net->failed; i++) {
        const lace_stated_hold *hold = &statement->holds[i];
        lace_net_put_hold(net, lace_look_named(region, hold->place), hold->sender != 0, suspect);
        lace_look *look = hold->sender ? NULL : lace_look_at(region, hold->place);
        if (look != NULL)
            lace_net_put_container(net, look);
    }
}

void lace_net_add_process(lace_net *net, lace_worker *worker)
{
    uint64_t parks;
    if (lace_scope_is_timed(worker->scope) || !lace_statement_stands(worker, &parks) || !lace_process_hold(worker))
        return;
    lace_sheet *sheet = lace_process_sheet(worker);
    size_t number = net->suspect_count;
    if (!lace_sheet_lock(sheet)) {
        net->moved = true;
    } else {
        if (sheet->statement.parks == parks && is_sound(&sheet->statement)) {
            lace_net_put_suspect(net, worker, parks);
            read_statement(net, &sheet->statement, number);
        }
        lace_sheet_unlock(sheet);
    }
    if (net->suspect_count > number) /* what the host has of it, and lets go of when it is dead */
        lace_net_put_ends(net, worker, number);
    lace_process_release(worker);
}

/* ---- its report, and where the child finds it --------------------------------------------------------------- */

void lace_statement_report(const lace_worker *worker, const char *text)
{
    lace_sheet *sheet = lace_process_sheet(worker);
    size_t size = strnlen(text, LACE_SHEET_REPORT - 1);
    memcpy(sheet->report, text, size);
    sheet->report[size] = '\0';
    sheet->reported_at = lace_clock();
}
