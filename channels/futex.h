/* futex.h - the kernel's two verbs on a 32-bit word: wait while it has a value, wake its waiters.
 *
 * Always the process-shared kind, since most words lie in a region that child processes map as well.
 */
#ifndef LACE_FUTEX_H
#define LACE_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps while *word is `expected`, until the CLOCK_MONOTONIC time `deadline` (0: without end). Returns 0 or an
 * errno: ETIMEDOUT, or EAGAIN and EINTR, after which the caller looks at the word again, as it does after 0. */
static inline int lace_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline)
{
    struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    int saved = errno;
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, deadline ? &until : NULL, NULL,
                      FUTEX_BITSET_MATCH_ANY);
    int error = rc == 0 ? 0 : errno;

    errno = saved;
    return error;
}

/* Wakes up to `count` waiters. The word may have been reused for something else by now: every wait is in a loop. */
static inline void lace_futex_wake(_Atomic uint32_t *word, int count)
{
    int saved = errno;

    syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
    errno = saved;
}

/* Has the processor fetch what is about to be written. */
static inline void lace_prefetch_to_write(const void *place)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)place));
#else
    __builtin_prefetch(place, 1);
#endif
}

/* One turn of a spinning loop. */
static inline void lace_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif
