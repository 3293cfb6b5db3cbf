/* pyledger.c - the accounts as Python sees them: interlace.stats(), and what is told at the end of a run.
 *
 * They are copied under the ledger's lock, as a pickle, and become objects afterwards: making objects may collect others,
 * and an end that goes takes that lock. */
#include <stdlib.h>
#include <string.h>

#include "../channels/fork.h"
#include "../channels/trace.h"
#include "ledger.h"
#include "module.h"

void lace_py_drop_end(lace_module *state, const lace_holding *held)
{
    if (state->worker == NULL)
        return;
    lace_worker_count_end(state->worker, held);
    lace_life_drop_end(state->worker->life, held->sender, held->receiver);
}

static void put_text(lace_pickle *out, const char *name, const char *text)
{
    lace_pickle_str(out, name, strlen(name));
    if (text != NULL)
        lace_pickle_str(out, text, strlen(text));
    else
        lace_pickle_none(out);
}

static void put_int(lace_pickle *out, const char *name, uint64_t number)
{
    lace_pickle_str(out, name, strlen(name));
    lace_pickle_int(out, (int64_t)number);
}

static void put_bytes(lace_pickle *out, const char *name, const void *bytes, size_t size)
{
    lace_pickle_str(out, name, strlen(name));
    lace_pickle_bytes(out, bytes, size);
}

/* A dict: its items come between the two. */
static void begin_dict(lace_pickle *out)
{
    lace_pickle_op(out, '}'); /* EMPTY_DICT */
    lace_pickle_op(out, '('); /* MARK */
}

static void end_dict(lace_pickle *out)
{
    lace_pickle_op(out, 'u'); /* SETITEMS */
}

static void begin_list(lace_pickle *out)
{
    lace_pickle_op(out, ']'); /* EMPTY_LIST */
    lace_pickle_op(out, '(');
}

static void end_list(lace_pickle *out)
{
    lace_pickle_op(out, 'e'); /* APPENDS */
}

static void put_strands(lace_pickle *out, const lace_life *life)
{
    lace_pickle_str(out, "strands", 7);
    begin_list(out);
    size_t count;
    const lace_strand *strands = lace_life_strands(life, &count);
    for (size_t i = 0; i < count; i++) {
        const lace_strand *strand = &strands[i];
        begin_dict(out);
        put_int(out, "channel", strand->channel);
        put_int(out, "sends", strand->sends);
        put_int(out, "messages", strand->messages);
        put_int(out, "bytes", strand->bytes);
        put_int(out, "waits", strand->waits);
        put_int(out, "blocked", strand->blocked);
        end_dict(out);
    }
    end_list(out);
}

static void put_life(lace_pickle *out, lace_life *life)
{
    const lace_spent *spent = lace_life_spent(life);
    begin_dict(out);
    put_int(out, "id", life->id);
    put_text(out, "name", life->name);
    put_int(out, "index", life->index);
    put_int(out, "count", life->count);
    put_int(out, "began", (uint64_t)atomic_load(&life->began));
    put_int(out, "ready", atomic_load(&life->tally->ready) != 0);
    put_int(out, "ended", atomic_load(&life->ended) != 0);
    put_int(out, "end", (uint64_t)spent->end);
    put_int(out, "starting", spent->shares[LACE_SPENT_STARTING]);
    put_int(out, "busy", spent->shares[LACE_SPENT_BUSY]);
    put_int(out, "waiting", spent->waiting);
    put_int(out, "cpu", spent->cpu);
    put_int(out, "queued", atomic_load(&life->tally->queued));
    put_int(out, "input", spent->shares[LACE_SPENT_WAITED + LACE_FOR_INPUT]);
    put_int(out, "output", spent->shares[LACE_SPENT_WAITED + LACE_FOR_OUTPUT]);
    put_int(out, "other", spent->shares[LACE_SPENT_WAITED + LACE_FOR_OTHER]);
    put_int(out, "waits", spent->waits);
    put_int(out, "written", atomic_load(&life->tally->written));
    put_int(out, "written_ns", atomic_load(&life->tally->blocked));
    put_int(out, "failed", atomic_load(&life->failed));
    put_text(out, "failure", life->failure);
    put_strands(out, life);
    put_int(out, "first", life->first);
    put_bytes(out, "samples", life->samples, life->sample_count * sizeof *life->samples);
    end_dict(out);
}

static void put_channel(lace_pickle *out, const lace_listed *listed)
{
    lace_sight sight;
    uint64_t depth;
    lace_listed_read(listed, &sight, &depth);
    begin_dict(out);
    put_int(out, "number", listed->number);
    put_text(out, "name", listed->name);
    put_int(out, "capacity", listed->capacity);
    put_int(out, "alive", listed->look != NULL);
    put_int(out, "began", (uint64_t)listed->began);
    put_int(out, "ended", (uint64_t)listed->ended);
    put_int(out, "sent", sight.sent);
    put_int(out, "received", sight.received);
    put_int(out, "bytes", sight.bytes);
    put_int(out, "waiting", depth);
    put_int(out, "watched", listed->watched_ns);
    put_int(out, "full", listed->full_ns);
    put_int(out, "empty", listed->empty_ns);
    put_int(out, "depth", (uint64_t)listed->depth);
    put_int(out, "first", listed->first);
    put_bytes(out, "samples", listed->samples, listed->sample_count * sizeof *listed->samples);
    end_dict(out);
}

/* _ledger(): all accounts, as a dict of plain things. Times are in ns, those of the monotonic clock. */
PyObject *lace_py_ledger(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (lace_forked()) /* the lock is as it was when the process was forked */
        return lace_raise(lace_module_state(self), LACE_FORKED, "stats of", "the host");
    lace_pickle out = {0};
    size_t count;
    lace_pickle_begin(&out);
    begin_dict(&out);
    lace_ledger_lock();
    int64_t now = lace_clock();
    put_int(&out, "now", (uint64_t)now);
    put_int(&out, "keeps", lace_ledger_keeps);
    put_int(&out, "dropped", lace_ledger_dropped());
    const int64_t *moments = lace_sampler_moments(&count);
    put_bytes(&out, "moments", moments, count * sizeof *moments);
    lace_pickle_str(&out, "workers", 7);
    begin_list(&out);
    for (lace_life *life = lace_ledger_lives(); life != NULL; life = life->next)
        put_life(&out, life);
    end_list(&out);
    lace_pickle_str(&out, "channels", 8);
    begin_list(&out);
    for (const lace_listed *listed = lace_ledger_channels(); listed != NULL; listed = listed->next)
        put_channel(&out, listed);
    end_list(&out);
    lace_ledger_unlock();
    end_dict(&out);
    lace_pickle_end(&out);
    PyObject *accounts = out.failed ? PyErr_NoMemory() : lace_decode_bytes(lace_module_state(self), out.data, out.size);
    free(out.data);
    return accounts;
}

/* _tracks(): of each thread that had events: (id of its worker or 0, the thread's name, how many it had, those that are kept).
 * When all of them have ended. */
PyObject *lace_py_tracks(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    PyObject *list = PyList_New(0);
    for (const struct lace_track *track = lace_trace_tracks(); track != NULL && list != NULL; track = track->next) {
        uint64_t count = atomic_load_explicit(&track->ring->count, memory_order_acquire);
        size_t kept = (size_t)(count < track->room ? count : track->room), start = 0;
        if (count > track->room)
            start = (size_t)(count & (track->room - 1));
        PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(kept * sizeof *track->ring->events));
        PyObject *item = NULL;
        if (bytes != NULL) {
            char *to = PyBytes_AS_STRING(bytes);
            memcpy(to, track->ring->events + start, (kept - start) * sizeof *track->ring->events);
            memcpy(to + (kept - start) * sizeof *track->ring->events, track->ring->events, start * sizeof *track->ring->events);
            /* As the kernel has it: anything may have named the thread, in any bytes. */
            PyObject *name = PyUnicode_DecodeUTF8(track->name, (Py_ssize_t)strlen(track->name), "replace");
            item = Py_BuildValue("(KNKN)", (unsigned long long)track->owner, name, (unsigned long long)count, bytes);
        }
        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* _note_failure(text): the traceback of this worker's exception. */
PyObject *lace_py_note_failure(PyObject *self, PyObject *text)
{
    const char *utf8 = PyUnicode_AsUTF8(text);
    lace_worker *worker = lace_module_state(self)->worker;
    if (utf8 == NULL)
        return NULL;
    if (worker != NULL)
        lace_life_fail(worker->life, utf8);
    Py_RETURN_NONE;
}
