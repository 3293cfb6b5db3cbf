/* hooks.h - the seam for tests: named yield points and injectable failures.
 *
 * Compiled out unless LACE_HOOKS is 1. A test sets lace_hooks before it starts threads; the callbacks may be called
 * from any thread and with locks held, so they must not call the library.
 */
#ifndef LACE_HOOKS_H
#define LACE_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#ifndef LACE_HOOKS
#define LACE_HOOKS 0
#endif

/* What can be made to fail. */
enum lace_fault {
    LACE_FAULT_ALLOC,     /* malloc in the process */
    LACE_FAULT_HEAP,      /* an allocation in a region */
    LACE_FAULT_MEMFD,     /* memfd_create, ftruncate, fcntl */
    LACE_FAULT_MMAP,      /* mmap, with ENOMEM */
    LACE_FAULT_FALLOCATE, /* backing of pages */
    LACE_FAULT_EVENTFD,   /* eventfd, epoll_create1 */
    LACE_FAULT_PIPE,      /* pipe2, fcntl on a pipe */
    LACE_FAULT_READ,      /* a read from a pipe is cut to one byte */
    LACE_FAULT_WRITE,     /* a write to a pipe finds it full */
    LACE_FAULT_SHORT,     /* a write to a socket takes one byte */
};

/* Where a seeded schedule may switch threads. */
enum lace_point {
    LACE_POINT_SEND,     /* before the channel lock of a send */
    LACE_POINT_RECV,     /* before the channel lock of a receive */
    LACE_POINT_CLAIM,    /* a waiting party has been claimed and not been told yet */
    LACE_POINT_ENQUEUED, /* registered, not asleep yet */
    LACE_POINT_SLEEP,    /* just before sleeping */
    LACE_POINT_TIMEOUT,  /* a deadline has passed, the party is not closed yet */
    LACE_POINT_CANCEL,   /* a token has been marked as fired, nobody woken yet */
    LACE_POINT_CLOSE,    /* before the channel lock of a close */
    LACE_POINT_REGISTER, /* a select between two of its registrations */
    LACE_POINT_UNLINK,   /* a wait is over and its nodes are still linked */
    LACE_POINT_OPEN,     /* a selector about to open its party */
};

#if LACE_HOOKS
struct lace_hooks {
    bool (*fail)(enum lace_fault site);  /* true: this one fails */
    void (*yield)(enum lace_point where);
    void (*step)(void); /* between two stores of a child process that others could see */
};
extern __attribute__((visibility("default"))) struct lace_hooks lace_hooks;
#define LACE_YIELD(where) (lace_hooks.yield != NULL ? lace_hooks.yield(where) : (void)0)
#define LACE_STEP() (lace_hooks.step != NULL ? lace_hooks.step() : (void)0)
#define LACE_FAILS(site) (lace_hooks.fail != NULL && lace_hooks.fail(site))
#else
#define LACE_YIELD(where) ((void)0)
#define LACE_STEP() ((void)0)
#define LACE_FAILS(site) false
#endif

/* Zeroed memory of the process, ended with free. */
static inline void *lace_allocate(size_t size)
{
    return LACE_FAILS(LACE_FAULT_ALLOC) ? NULL : calloc(1, size);
}

#endif
