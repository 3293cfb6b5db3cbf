/* region.c - making and ending a region: the file, its seals, the mapping, the list of living regions. */
#define _GNU_SOURCE
#include "region.h"

#include "bell.h"
#include "descriptor.h"
#include "heap.h"
#include "hooks.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x31304e4745524c49) /* "ILREGN01" */
#define SMALLEST ((uint64_t)512 << 10)
#define SMALLEST_RETRY ((uint64_t)64 << 20)
#define LARGEST ((uint64_t)1 << 46)
#define BACK_STEP ((uint64_t)16 << 20) /* a signal makes fallocate start again: not in too large steps */

/* The living regions of this process. `living_lock` guards the list and keeps its regions from being unmapped; it
 * comes before every lock of a region. */
static pthread_mutex_t living_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lace_region *living;
static uint64_t generations;

bool lace_region_back(const struct lace_region *region, uint64_t offset, uint64_t size)
{
    if (LACE_FAILS(LACE_FAULT_FALLOCATE))
        return false;
    while (size > 0) {
        uint64_t step = size < BACK_STEP ? size : BACK_STEP;

        while (fallocate(region->fd, 0, (off_t)offset, (off_t)step) != 0) {
            if (errno != EINTR)
                return false;
        }
        offset += step;
        size -= step;
    }
    return true;
}

bool lace_region_punch(const struct lace_region *region, uint64_t offset, uint64_t size)
{
    while (fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) != 0) {
        if (errno != EINTR)
            return false;
    }
    return true;
}

void lace_region_visit(struct lace_region *region, uint64_t generation,
                       void (*visit)(struct lace_region *region, void *context), void *context)
{
    pthread_mutex_lock(&living_lock);
    for (struct lace_region *each = living; each != NULL; each = each->next) {
        if (each == region && each->generation == generation) {
            visit(each, context);
            break;
        }
    }
    pthread_mutex_unlock(&living_lock);
}

/* How large a file may be (ulimit -f): for a larger one the system kills the process. */
static uint64_t largest_file(void)
{
    struct rlimit files;

    return getrlimit(RLIMIT_FSIZE, &files) == 0 && files.rlim_cur < LARGEST ? files.rlim_cur : LARGEST;
}

/* Makes the file with `size` bytes, all holes. */
static lace_status make_file(uint64_t size, int *ret_fd)
{
    int fd = LACE_FAILS(LACE_FAULT_MEMFD) ? (errno = EMFILE, -1)
                                          : lace_descriptor(memfd_create("interlace", MFD_CLOEXEC | MFD_ALLOW_SEALING));

    if (fd < 0)
        return LACE_SYSTEM;
    bool allowed = size <= largest_file();
    if (!allowed)
        errno = EFBIG;
    if (!allowed || ftruncate(fd, (off_t)size) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return saved == ENOMEM ? LACE_NOMEM : LACE_SYSTEM;
    }
    *ret_fd = fd;
    return LACE_OK;
}

/* Maps the file, or closes it. */
static lace_status map_file(struct lace_region *region)
{
    void *base = LACE_FAILS(LACE_FAULT_MMAP)
                     ? (errno = ENOMEM, MAP_FAILED)
                     : mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, region->fd, 0);
    if (base == MAP_FAILED) {
        int saved = errno;
        close(region->fd);
        errno = saved;
        return saved == ENOMEM ? LACE_NOMEM : LACE_SYSTEM;
    }
    region->base = base;
    return LACE_OK;
}

static lace_status make_and_map_file(struct lace_region *region)
{
    lace_status status = make_file(region->size, &region->fd);

    return status == LACE_OK ? map_file(region) : status;
}

static void unmap_file(struct lace_region *region)
{
    munmap(region->base, region->size);
    close(region->fd);
}

/* A region that is ready, for this process. */
static void enlist(struct lace_region *region)
{
    atomic_init(&region->handles, 1);
    pthread_mutex_init(&region->watch, NULL);
    pthread_mutex_lock(&living_lock);
    region->generation = ++generations;
    region->next = living;
    living = region;
    pthread_mutex_unlock(&living_lock);
}

/* Half of the machine's memory, or as much less as a file may have. */
static uint64_t usual_limit(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    uint64_t half = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 2 : (uint64_t)1 << 30;
    uint64_t most = largest_file() / LACE_SPAN_SIZE * LACE_SPAN_SIZE;

    return half < most ? half : most;
}

lace_status lace_region_create(const lace_region_options *options, lace_region **ret_region)
{
    if (ret_region == NULL)
        return LACE_INVALID;
    if (!lace_fork_watch())
        return LACE_NOMEM;
    if (lace_forked())
        return LACE_FORKED;

    uint64_t limit = options != NULL && options->limit != 0 ? options->limit : usual_limit();
    bool exact = options != NULL && options->limit != 0;
    struct lace_region *region = lace_allocate(sizeof *region);

    if (region == NULL)
        return LACE_NOMEM;
    if (limit < SMALLEST)
        limit = SMALLEST;
    if (limit > LARGEST)
        limit = LARGEST;
    region->size = (limit + LACE_SPAN_SIZE - 1) / LACE_SPAN_SIZE * LACE_SPAN_SIZE;

    /* Address space may be rationed (ulimit -v): take less of it, if that is how it is. */
    lace_status status = make_and_map_file(region);
    while (status == LACE_NOMEM && !exact && region->size / 2 >= SMALLEST_RETRY) {
        region->size = region->size / 2 / LACE_SPAN_SIZE * LACE_SPAN_SIZE;
        status = make_and_map_file(region);
    }
    if (status != LACE_OK)
        goto fail_region;
    if (!lace_heap_init(region)) {
        status = LACE_NOMEM;
        goto fail_map;
    }
    lace_region_front(region)->magic = MAGIC;
    lace_region_front(region)->size = region->size;
    enlist(region);
    *ret_region = region;
    return LACE_OK;

fail_map:
    unmap_file(region);
fail_region:
    free(region);
    return status;
}

lace_status lace_region_map(int fd, uint32_t seat, struct lace_region **ret_region)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
    struct lace_region *region;
    struct stat about;

    if (!lace_fork_watch())
        return LACE_NOMEM;
    if (lace_forked())
        return LACE_FORKED;
    if (fstat(fd, &about) != 0)
        return LACE_SYSTEM;
    if (!S_ISREG(about.st_mode) || (fcntl(fd, F_GET_SEALS) & seals) != seals || (uint64_t)about.st_size < SMALLEST ||
        (uint64_t)about.st_size > LARGEST || (uint64_t)about.st_size % LACE_SPAN_SIZE != 0)
        return LACE_INVALID;
    region = lace_allocate(sizeof *region);
    if (region == NULL)
        return LACE_NOMEM;
    region->size = (uint64_t)about.st_size;
    region->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); /* so that a failure leaves the caller his */
    lace_status status = region->fd >= 0 ? map_file(region) : LACE_SYSTEM;
    if (status != LACE_OK) {
        free(region);
        return status;
    }
    if (lace_region_front(region)->magic != MAGIC || lace_region_front(region)->size != region->size) {
        unmap_file(region);
        free(region);
        return LACE_INVALID;
    }
    lace_heap_lay_out(region);
    region->seat = seat;
    LACE_ORDER_HIDDEN();
    atomic_store_explicit(&region->shared, true, memory_order_relaxed);
    enlist(region);
    close(fd);
    *ret_region = region;
    return LACE_OK;
}

void lace_region_end(struct lace_region *region)
{
    pthread_mutex_lock(&living_lock);
    struct lace_region **link = &living;
    while (*link != region)
        link = &(*link)->next;
    *link = region->next;
    pthread_mutex_unlock(&living_lock);

    lace_bell_hush(region);
    lace_lane_close(region);
    lace_heap_finish(region);
    unmap_file(region);
    pthread_mutex_destroy(&region->watch);
    free(region);
}

lace_status lace_region_destroy(lace_region *region)
{
    uint64_t mine = 1;

    if (region == NULL)
        return LACE_OK;
    if (lace_forked())
        return LACE_FORKED;
    if (!atomic_compare_exchange_strong_explicit(&region->handles, &mine, 0, memory_order_acquire,
                                                 memory_order_relaxed))
        return LACE_INVALID;
    lace_region_end(region);
    return LACE_OK;
}

lace_status lace_region_abandon(lace_region *region)
{
    if (region == NULL)
        return LACE_INVALID;
    if (lace_forked())
        return LACE_FORKED;
    lace_region_drop(region);
    return LACE_OK;
}

void lace_region_usage(const lace_region *region, size_t *ret_used, size_t *ret_backed)
{
    if (region == NULL) {
        if (ret_used != NULL)
            *ret_used = 0;
        if (ret_backed != NULL)
            *ret_backed = 0;
        return;
    }
    struct lace_heap *heap = &lace_region_front(region)->heap;

    if (ret_used != NULL)
        *ret_used = atomic_load_explicit(&heap->used, memory_order_relaxed);
    if (ret_backed != NULL)
        *ret_backed = atomic_load_explicit(&heap->backed, memory_order_relaxed);
}
