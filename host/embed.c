/* embed.c - the host as a C application has it: opening, closing, its memory. */
#include "embed.h"
#include "../channels/fork.h"

/* There is one at a time, and its handle is the address of this: a handle of before is never a stray pointer. */
struct lace_host {
    char unused;
};
static struct lace_host the_host;

lace_status lace_host_check(const lace_host *host)
{
    if (lace_forked())
        return lace_object(LACE_FORKED, "%s", lace_strerror(LACE_FORKED));
    if (host != &the_host)
        return lace_object(LACE_INVALID, host == NULL ? "the host is NULL" : "this is no host");
    if (lace_host_now() != LACE_HOST_OPEN)
        return lace_object(LACE_CLOSED, "the host has been closed");
    return LACE_OK;
}

lace_status lace_host_enter(const lace_host *host)
{
    lace_status status = lace_host_check(host);
    return status != LACE_OK || lace_host_use() ? status : lace_object(LACE_CLOSED, "the host has been closed");
}

int lace_version(void)
{
    return LACE_VERSION_NUMBER;
}

lace_status lace_host_open_version(int version, const lace_host_options *options, lace_host **ret_host)
{
    if (ret_host == NULL)
        return lace_object(LACE_INVALID, "ret_host is NULL");
    if (version > LACE_VERSION_NUMBER || version < LACE_VERSION_MAJOR * 1000000)
        return lace_object(LACE_OUTDATED, "the program was compiled with interlace.h %d.%d.%d, and the library is %s",
                           version / 1000000, version / 1000 % 1000, version % 1000, LACE_VERSION);
    if (lace_forked())
        return lace_object(LACE_FORKED, "%s", lace_strerror(LACE_FORKED));
    lace_host_setup setup = {0};
    if (options != NULL) {
        if (!(options->grace >= 0 && options->grace <= 1e6))
            return lace_object(LACE_INVALID, "grace must be a number of seconds from 0 (for 5) to a million");
        setup = (lace_host_setup){.tag = options->tag,
                                  .grace = options->grace,
                                  .output = options->output,
                                  .context = options->context,
                                  .path = options->path};
    }
    /* Without a GIL: another thread may be opening it, which needs that of the main interpreter. */
    PyThreadState *attached = PyThreadState_GetUnchecked() != NULL ? PyEval_SaveThread() : NULL;
    lace_status status = lace_host_start(&setup);
    if (attached != NULL)
        PyEval_RestoreThread(attached);
    if (status != LACE_OK)
        return status;
    const char *error = lace_python_greet();
    if (error != NULL) {
        lace_host_close(&the_host);
        return lace_object(LACE_FAILED, "%s", error);
    }
    *ret_host = &the_host;
    return LACE_OK;
}

lace_status lace_host_close(lace_host *host)
{
    lace_status status = lace_host_check(host);
    if (status != LACE_OK && (status != LACE_CLOSED || lace_host_now() == LACE_HOST_CLOSED))
        return status;
    if (lace_worker_around() != NULL)
        return lace_object(LACE_BUSY, "a worker cannot close the host that it runs in");
    PyThreadState *attached = PyThreadState_GetUnchecked() != NULL ? PyEval_SaveThread() : NULL;
    status = lace_host_stop();
    if (attached != NULL)
        PyEval_RestoreThread(attached);
    return status;
}

lace_region *lace_host_region(lace_host *host)
{
    return lace_host_check(host) == LACE_OK ? lace_region_of_host() : NULL;
}

lace_status lace_host_channel(lace_host *host, const lace_channel_options *options, lace_sender **ret_sender,
                              lace_receiver **ret_receiver)
{
    lace_status status = lace_host_enter(host);
    if (status == LACE_OK) {
        status = lace_channel_create(lace_region_of_host(), options, ret_sender, ret_receiver);
        if (status != LACE_OK)
            lace_object(status, "the channel cannot be made: %s", lace_strerror(status));
        lace_host_leave();
    }
    return status;
}
