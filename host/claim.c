/* claim.c - one host in a process, also where several copies of this library are in it: that which a program is linked with
 * and the extension module, say. They share nothing but Python, whose main interpreter keeps a pointer to this word. */
#include "host.h"

/* Whether this copy has the host. Set with the lock of the main interpreter; other copies read it with that. */
static atomic_bool claimed;

lace_status lace_claim(void)
{
    static const char name[] = "interlace.host";
    PyObject *kept = PyInterpreterState_GetDict(PyInterpreterState_Main()); /* borrowed, as what is in it */
    PyObject *capsule = kept != NULL ? PyDict_GetItemString(kept, name) : NULL;
    if (capsule != NULL && PyCapsule_IsValid(capsule, name)) {
        const atomic_bool *other = PyCapsule_GetPointer(capsule, name);
        if (other != &claimed && atomic_load(other))
            return lace_object(LACE_BUSY, "another copy of the library has a host in this process, as the extension module "
                                          "interlace has once it is imported, and one at a time is all");
    }
    PyObject *own = PyCapsule_New(&claimed, name, NULL);
    bool kept_own = kept != NULL && own != NULL && PyDict_SetItemString(kept, name, own) == 0;
    Py_XDECREF(own);
    if (!kept_own) {
        PyErr_Clear();
        return lace_object(LACE_NOMEM, "out of memory");
    }
    atomic_store(&claimed, true);
    return LACE_OK;
}

void lace_claim_drop(void)
{
    atomic_store(&claimed, false);
}
