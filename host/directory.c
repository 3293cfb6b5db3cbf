/* directory.c - kept interpreters and queues, found by their numbers. */
#include <stdlib.h>

#include "directory.h"

/* Guards the list, last_queue, closing, and what each entry says it does. Held for a few instructions, by threads with
 * or without a GIL, and never while waiting; the locks of channels are taken below it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static lace_entry directory = {.prev = &directory, .next = &directory}; /* head of the list, ordered by id */
static int64_t last_queue;
static bool closing; /* interpreters are not kept any more */

static bool ended(lace_receiver *receiver)
{
    const lace_case end = {.kind = LACE_CASE_ENDED, .receiver = receiver};
    size_t index;
    return lace_select(&end, 1, 0, &(lace_wait){.deadline = LACE_NOW}, &index) == LACE_OK;
}

/* With the lock. */
static void forget_landed(lace_entry *entry)
{
    size_t kept = 0;
    for (size_t i = 0; i < entry->flight_count; i++) {
        if (ended(entry->flights[i]))
            lace_receiver_destroy(entry->flights[i]);
        else
            entry->flights[kept++] = entry->flights[i];
    }
    entry->flight_count = kept;
}

/* With the lock. */
static void take_out(lace_entry *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
    entry->listed = false;
}

/* Without the lock: what is discarded here may hold other entries' flights. */
static void destroy(lace_entry *entry)
{
    lace_sender_destroy(entry->requests);
    lace_receiver_destroy(entry->outcome);
    lace_worker_unref(entry->worker);
    lace_queue_destroy(entry->queue);
    while (entry->flight_count > 0)
        lace_receiver_destroy(entry->flights[--entry->flight_count]);
    free(entry->flights);
    free(entry);
}

static void destroy_all(lace_entry *chain)
{
    while (chain != NULL) {
        lace_entry *next = chain->next;
        destroy(chain);
        chain = next;
    }
}

/* Takes out those that nobody names and no message brings any more. With the lock; gives a chain for destroy_all(). */
static lace_entry *sweep(void)
{
    lace_entry *chain = NULL;
    for (lace_entry *each = directory.next, *next; each != &directory; each = next) {
        next = each->next;
        if (each->bindings > 0)
            continue;
        forget_landed(each);
        if (each->flight_count == 0) {
            take_out(each);
            each->next = chain;
            chain = each;
        }
    }
    return chain;
}

bool lace_directory_add(lace_entry *entry)
{
    pthread_mutex_lock(&lock);
    bool added = entry->kind == LACE_ENTRY_QUEUE || !closing;
    if (added) {
        if (entry->kind == LACE_ENTRY_QUEUE)
            entry->id = ++last_queue;
        lace_entry *after = directory.prev;
        while (after != &directory && after->id > entry->id)
            after = after->prev;
        entry->prev = after;
        entry->next = after->next;
        entry->prev->next = entry->next->prev = entry;
        entry->bindings = 1;
        entry->listed = true;
    }
    lace_entry *chain = sweep();
    pthread_mutex_unlock(&lock);
    destroy_all(chain);
    return added;
}

/* With the lock. */
static lace_entry *look_up(lace_entry_kind kind, int64_t id)
{
    lace_entry *each = directory.next;
    while (each != &directory && (each->kind != kind || each->id != id))
        each = each->next;
    return each != &directory ? each : NULL;
}

lace_entry *lace_directory_find(lace_entry_kind kind, int64_t id)
{
    pthread_mutex_lock(&lock);
    lace_entry *found = look_up(kind, id);
    if (found != NULL)
        found->bindings++;
    pthread_mutex_unlock(&lock);
    return found;
}

void lace_entry_unbind(lace_entry *entry)
{
    pthread_mutex_lock(&lock);
    bool last = --entry->bindings == 0;
    if (last && entry->listed) {
        forget_landed(entry);
        last = entry->flight_count == 0;
        if (last)
            take_out(entry);
    }
    pthread_mutex_unlock(&lock);
    if (last)
        destroy(entry);
}

bool lace_entry_end(lace_entry *entry)
{
    pthread_mutex_lock(&lock);
    bool listed = entry->listed;
    if (listed)
        take_out(entry);
    pthread_mutex_unlock(&lock);
    if (listed)
        lace_sender_close(entry->requests);
    return listed;
}

bool lace_entry_is_listed(lace_entry *entry)
{
    pthread_mutex_lock(&lock);
    bool listed = entry->listed;
    pthread_mutex_unlock(&lock);
    return listed;
}

lace_status lace_entry_fly(lace_entry *entry, lace_sender **ret_sender)
{
    lace_sender *sender;
    lace_receiver *receiver;
    const lace_channel_options options = {.name = "on its way"};
    lace_status status = lace_channel_create(lace_region_of_host(), &options, &sender, &receiver);
    if (status != LACE_OK)
        return status;
    pthread_mutex_lock(&lock);
    if (entry->flight_count == entry->flight_room) {
        forget_landed(entry);
        if (entry->flight_count > entry->flight_room / 2 || entry->flight_room == 0) {
            size_t room = entry->flight_room ? entry->flight_room * 2 : 4;
            lace_receiver **grown = realloc(entry->flights, room * sizeof *grown);
            if (grown != NULL) {
                entry->flights = grown;
                entry->flight_room = room;
            }
        }
    }
    bool noted = entry->flight_count < entry->flight_room;
    if (noted)
        entry->flights[entry->flight_count++] = receiver;
    pthread_mutex_unlock(&lock);
    if (!noted) {
        lace_sender_destroy(sender);
        lace_receiver_destroy(receiver);
        return LACE_NOMEM;
    }
    *ret_sender = sender;
    return LACE_OK;
}

void lace_directory_idle(int64_t id)
{
    pthread_mutex_lock(&lock);
    lace_entry *found = look_up(LACE_ENTRY_INTERPRETER, id);
    if (found != NULL)
        atomic_store(&found->busy, false);
    pthread_mutex_unlock(&lock);
}

int64_t *lace_directory_ids(lace_entry_kind kind, size_t *ret_count)
{
    pthread_mutex_lock(&lock);
    lace_entry *chain = sweep();
    size_t count = 0;
    for (const lace_entry *each = directory.next; each != &directory; each = each->next)
        count += each->kind == kind;
    int64_t *ids = malloc((count ? count : 1) * sizeof *ids);
    size_t n = 0;
    for (const lace_entry *each = directory.next; ids != NULL && each != &directory; each = each->next)
        if (each->kind == kind)
            ids[n++] = each->id;
    pthread_mutex_unlock(&lock);
    destroy_all(chain);
    *ret_count = n;
    return ids;
}

void lace_directory_end(void)
{
    pthread_mutex_lock(&lock);
    closing = true;
    for (lace_entry *each = directory.next; each != &directory; each = each->next)
        if (each->kind == LACE_ENTRY_INTERPRETER)
            lace_sender_close(each->requests);
    pthread_mutex_unlock(&lock);
}

void lace_directory_close(void)
{
    lace_entry *chain = NULL;
    pthread_mutex_lock(&lock);
    while (directory.next != &directory) {
        lace_entry *each = directory.next;
        take_out(each);
        if (each->bindings > 0) /* by an interpreter that goes on, where Python is not ours: the last of them destroys it */
            continue;
        each->next = chain;
        chain = each;
    }
    closing = false;
    pthread_mutex_unlock(&lock);
    destroy_all(chain);
}
