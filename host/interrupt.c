/* interrupt.c - Python's signal handlers, while its main thread waits in one of our calls: where Python is not ours, and in a
 * process that is a worker. Elsewhere no code of the user's runs in the main interpreter.
 *
 * Python's signal handlers run in its main thread, between two bytecodes. So a signal has to end a wait of that thread's:
 * for its duration Python writes to our pipe when a signal comes (PySignal_SetWakeupFd), the keeper reads that and fires a
 * token that the wait stands under. Then the handlers run, and if none raises an exception, the call waits again. */
#include <fcntl.h>
#include <unistd.h>

#include "../channels/descriptor.h"
#include "module.h"

static int wakeup[2] = {-1, -1}; /* the pipe; made once, by the thread that opens the host first */

/* Guards `armed` and what it points to: the keeper may fire it as long as it is there. Held for a few instructions. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static lace_interrupt *armed; /* the wait of the main thread; NULL: it does not wait */

bool lace_interrupt_open(void)
{
    if (wakeup[0] >= 0)
        return true;
    if (pipe2(wakeup, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    for (int i = 0; i < 2; i++)
        wakeup[i] = lace_descriptor(wakeup[i]);
    bool made = wakeup[0] >= 0 && wakeup[1] >= 0;
    for (int i = 0; i < 2 && !made; i++) {
        if (wakeup[i] >= 0)
            close(wakeup[i]);
        wakeup[i] = -1;
    }
    return made;
}

int lace_interrupt_fd(void)
{
    return wakeup[0];
}

void lace_interrupt_take(void)
{
    char numbers[64];
    while (read(wakeup[0], numbers, sizeof numbers) > 0)
        continue;
    pthread_mutex_lock(&lock);
    if (armed != NULL) {
        armed->fired = true;
        lace_cancel_fire(armed->token);
    }
    pthread_mutex_unlock(&lock);
}

void lace_interrupt_arm(lace_interrupt *interrupt, lace_cancel *parent)
{
    *interrupt = (lace_interrupt){.parent = parent, .fd_before = -1};
    if (lace_cancel_create(parent, &interrupt->token) != LACE_OK) {
        interrupt->token = NULL; /* no memory: the handlers run once the wait has ended */
        return;
    }
    interrupt->fd_before = PySignal_SetWakeupFd(wakeup[1]);
    /* What came before that wakes nobody. */
    if (PyErr_CheckSignals() < 0) {
        interrupt->raised = PyErr_GetRaisedException();
        interrupt->fired = true;
        lace_cancel_fire(interrupt->token);
    }
    pthread_mutex_lock(&lock);
    armed = interrupt;
    pthread_mutex_unlock(&lock);
}

void lace_interrupt_disarm(lace_interrupt *interrupt)
{
    if (interrupt->token == NULL)
        return;
    pthread_mutex_lock(&lock);
    armed = NULL;
    pthread_mutex_unlock(&lock);
    PySignal_SetWakeupFd(interrupt->fd_before);
    lace_cancel_destroy(interrupt->token);
    interrupt->token = NULL;
}

bool lace_interrupt_raises(lace_interrupt *interrupt)
{
    if (interrupt->raised == NULL)
        return PyErr_CheckSignals() < 0;
    PyErr_SetRaisedException(interrupt->raised);
    interrupt->raised = NULL;
    return true;
}
