/* byte_ring.c - one direction of bytes in memory shared with a process that may do anything to it. */
#define _GNU_SOURCE
#include "byte_ring.h"

#include "channel.h"
#include "hooks.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define DATA 4096             /* where the data begin */
#define LOOK 1000000          /* how long a writer believes that the other side is there, in nanoseconds */
#define IDLE_MOST 16          /* idle rings in a row; of a side that keeps the rules there is at most one */
#define ROOMY (LACE_RING_BYTES / 4) /* the room that a waiting writer is told of */

/* What is shared, each line written by one side: by the writer, and by the reader. Any of it may be garbage. */
struct shared {
    _Atomic uint64_t written;
    _Atomic uint32_t writer_waits; /* set by the writer, taken back by the reader that rings */
    _Alignas(128) _Atomic uint64_t read;
    _Atomic uint32_t reader_waits; /* the other way round */
    _Atomic uint32_t reader_left;
};
_Static_assert(sizeof(struct shared) <= DATA, "the words have a page of their own");
_Static_assert((LACE_RING_BYTES & (LACE_RING_BYTES - 1)) == 0, "an index is a place in the data by its low bits");

static struct shared *words(const struct lace_byte_ring *ring)
{
    return (struct shared *)ring->memory;
}

struct lace_byte_ring *lace_byte_ring_make(unsigned char *memory, bool writes)
{
    struct lace_byte_ring *ring = lace_allocate(sizeof *ring);

    if (ring != NULL) {
        ring->memory = memory;
        ring->writes = writes;
    }
    return ring;
}

void lace_byte_ring_destroy(struct lace_byte_ring *ring)
{
    if (ring == NULL)
        return;
    munmap(ring->memory, LACE_RING_SIZE);
    free(ring);
}

/* ---- indices ------------------------------------------------------------------------------------------ */

/* Reads the other side's index, once. False: it is impossible. It never goes back, and between the two indices there is
 * never more than the ring holds. */
static bool look_there(struct lace_byte_ring *ring)
{
    uint64_t index = atomic_load(ring->writes ? &words(ring)->read : &words(ring)->written);
    uint64_t most = ring->writes ? ring->here - ring->there : ring->here - ring->there + LACE_RING_BYTES;

    if (index - ring->there > most)
        ring->corrupt = true;
    else
        ring->there = index;
    return !ring->corrupt;
}

/* Bytes that can be read, or written. */
static uint64_t available(const struct lace_byte_ring *ring)
{
    return ring->writes ? LACE_RING_BYTES - (ring->here - ring->there) : ring->there - ring->here;
}

/* Whether the reader has said that it leaves: it cannot take that back. */
static bool left_by_reader(struct lace_byte_ring *ring)
{
    if (ring->writes && atomic_load_explicit(&words(ring)->reader_left, memory_order_relaxed) != 0)
        ring->gone = true;
    return ring->writes && ring->gone;
}

static bool is_ready(struct lace_byte_ring *ring)
{
    if (ring->corrupt || ring->gone || left_by_reader(ring) || !look_there(ring))
        return true;
    return available(ring) >= (ring->writes ? LACE_RING_RESERVE + LACE_RING_RECORD : 1);
}

/* ---- the bell ----------------------------------------------------------------------------------------- */

/* Rings if the other side has asked for it. What the bell has no room for is said by what is in it already. */
static void ring_bell(_Atomic uint32_t *waits, int bell)
{
    if (atomic_load(waits) != 0 && atomic_exchange(waits, 0) != 0) {
        int saved = errno;
        (void)send(bell, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        errno = saved;
    }
}

/* Takes rings out of the bell, as many as there are, or all the more than there may be. How many it were. */
static size_t hear_bell(struct lace_byte_ring *ring, int bell)
{
    char rings[256];
    size_t heard = 0;

    /* Behind the rings there may be a hang-up: so it looks again. */
    for (int turn = 0; turn < 2; turn++) {
        ssize_t count = recv(bell, rings, sizeof rings, MSG_DONTWAIT);

        if (count == 0 || (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            ring->gone = true;
        if (count <= 0)
            break;
        heard += (size_t)count;
    }
    return heard;
}

bool lace_byte_ring_ready(struct lace_byte_ring *ring)
{
    lace_lock_acquire(&ring->lock);
    bool ready = is_ready(ring);
    lace_lock_release(&ring->lock);
    return ready;
}

bool lace_byte_ring_listen(struct lace_byte_ring *ring, int bell)
{
    lace_lock_acquire(&ring->lock);
    int saved = errno;
    size_t rung = hear_bell(ring, bell);
    errno = saved;
    ring->rung += rung;
    if (ring->rung > ring->asked)
        ring->corrupt = true;
    atomic_store(ring->writes ? &words(ring)->writer_waits : &words(ring)->reader_waits, 1);
    ring->asked++;
    bool ready = is_ready(ring);
    if (rung != 0) {
        /* It may tell of what has been used up meanwhile: once, for the next ring comes after something new. */
        ring->idle = ready || ring->here != ring->rung_at ? 0 : ring->idle + 1;
        ring->rung_at = ring->here;
        if (ring->idle > IDLE_MOST)
            ring->corrupt = ready = true;
    }
    lace_lock_release(&ring->lock);
    return ready;
}

/* ---- bytes -------------------------------------------------------------------------------------------- */

static ssize_t fail(int error)
{
    errno = error;
    return -1;
}

/* Where the byte of the own index lies, and how many of `size` bytes come before the ring begins anew. */
static unsigned char *place(const struct lace_byte_ring *ring, size_t size, size_t *ret_first)
{
    size_t at = (size_t)(ring->here & (LACE_RING_BYTES - 1));
    size_t left = (size_t)LACE_RING_BYTES - at;

    *ret_first = size < left ? size : left;
    return ring->memory + DATA + at;
}

static void copy_out(const struct lace_byte_ring *ring, unsigned char *to, size_t size)
{
    size_t first;
    const unsigned char *from = place(ring, size, &first);

    memcpy(to, from, first);
    memcpy(to + first, ring->memory + DATA, size - first);
    /* The copy is made here and now: no compiler may read the shared memory again in its place. */
    __asm__ volatile("" : : "r"(to) : "memory");
}

static void copy_in(const struct lace_byte_ring *ring, const unsigned char *from, size_t size)
{
    size_t first;
    unsigned char *to = place(ring, size, &first);

    memcpy(to, from, first);
    memcpy(ring->memory + DATA, from + first, size - first);
}

static ssize_t read_some(struct lace_byte_ring *ring, int bell, unsigned char *to, size_t room)
{
    struct shared *shared = words(ring);
    bool gone = ring->gone; /* what was written before that is seen after it */

    if (ring->corrupt || !look_there(ring))
        return fail(EBADMSG);
    size_t size = available(ring) < room ? (size_t)available(ring) : room;
    if (size == 0)
        return gone ? 0 : fail(EAGAIN);
    copy_out(ring, to, size);
    ring->here += size;
    atomic_store(&shared->read, ring->here);
    if (LACE_RING_BYTES - available(ring) >= ROOMY)
        ring_bell(&shared->writer_waits, bell);
    return (ssize_t)size;
}

/* Whether the other side can still be there: asked of the kernel once in a while, since a process that was killed says
 * nothing. */
static bool is_left(struct lace_byte_ring *ring, int bell)
{
    int64_t now = lace_clock();

    if (!ring->gone && now - ring->looked > LOOK) {
        struct pollfd poll_fd = {.fd = bell, .events = POLLRDHUP};

        ring->gone = poll(&poll_fd, 1, 0) == 1;
        ring->looked = now;
    }
    return ring->gone || left_by_reader(ring);
}

static ssize_t write_all(struct lace_byte_ring *ring, int bell, const unsigned char *from, size_t size, bool last)
{
    struct shared *shared = words(ring);

    if (ring->corrupt || !look_there(ring))
        return fail(EBADMSG);
    if (is_left(ring, bell))
        return fail(EPIPE);
    if (available(ring) < size + (last ? 0 : LACE_RING_RESERVE))
        return fail(EAGAIN);
    copy_in(ring, from, size);
    ring->here += size;
    atomic_store(&shared->written, ring->here);
    ring_bell(&shared->reader_waits, bell);
    return (ssize_t)size;
}

ssize_t lace_byte_ring_read(struct lace_byte_ring *ring, int bell, void *to, size_t room)
{
    lace_lock_acquire(&ring->lock);
    ssize_t count = read_some(ring, bell, to, room);
    lace_lock_release(&ring->lock);
    return count;
}

ssize_t lace_byte_ring_write(struct lace_byte_ring *ring, int bell, const void *from, size_t size, bool last)
{
    lace_lock_acquire(&ring->lock);
    ssize_t count = write_all(ring, bell, from, size, last);
    lace_lock_release(&ring->lock);
    return count;
}

void lace_byte_ring_leave(struct lace_byte_ring *ring)
{
    if (!ring->writes)
        atomic_store(&words(ring)->reader_left, 1);
}
