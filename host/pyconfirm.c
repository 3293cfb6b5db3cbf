/* pyconfirm.c - channels that redeliver, as Python sees them: confirming, and what a worker that fails hands back. */
#include "../channels/look.h"
#include "module.h"

const char lace_confirm_doc[] =
    "confirm($self, /)\n--\n\n"
    "Say that what this end has received is done with.\n\n"
    "On a channel made with redeliver=True a message that was received, and not confirmed, goes to another receiver when\n"
    "its worker fails, is cancelled or is killed. Asking this end for the next message (recv(), recv_many(), iterating, a\n"
    "select() with it) confirms those before, and so does letting go of it while all is well: close(), leaving its with\n"
    "block, collecting it, its worker's return. On other channels this does nothing. ValueError when this end is closed.\n\n"
    "    sender, receiver = interlace.channel(4, redeliver=True)\n"
    "    sender.send('a job')\n"
    "    job = receiver.recv()\n"
    "    print(job)                         # a job\n"
    "    receiver.confirm()";

const char lace_redelivered_doc[] =
    "Whether what the last call on this end received had been received before (bool): by somebody who has not confirmed\n"
    "it, and may have done part of the work. Of recv_many(): any of it. False on channels without redeliver=True.";

PyObject *lace_py_confirm(PyObject *self, PyObject *unused)
{
    (void)unused;
    lace_receiver *receiver = lace_object_receiver(self);
    lace_status status = lace_receiver_confirm(receiver);
    if (status != LACE_OK)
        return lace_raise(lace_module_of(Py_TYPE(self)), status, "confirm on", lace_receiver_name(receiver));
    Py_RETURN_NONE;
}

PyObject *lace_py_redelivered(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(lace_receiver_redelivered(lace_object_receiver(self)));
}

/* _hand_back(): the worker fails: what its receivers have not confirmed goes back when they go. */
PyObject *lace_py_hand_back(PyObject *self, PyObject *unused)
{
    (void)unused;
    const lace_module *module = lace_module_state(self);
    if (module->worker != NULL)
        atomic_store(&module->worker->hands_back, true);
    Py_RETURN_NONE;
}

void lace_confirm_at_end(const lace_module *module, lace_receiver *receiver)
{
    bool fails = module->worker != NULL && atomic_load(&module->worker->hands_back);
    if (receiver != NULL && !fails)
        lace_receiver_confirm(receiver);
}
