/* sheet.c - what a worker in a process of its own writes down for its host. */
#include <errno.h>
#include <string.h>

#include "sheet.h"

bool lace_sheet_begin(lace_sheet *sheet)
{
    pthread_mutexattr_t attributes;
    memset(sheet, 0, offsetof(lace_sheet, statement) + offsetof(lace_statement, awaits));
    memset(&sheet->account, 0, offsetof(lace_account, strands));
    atomic_init(&sheet->account.failed, false);
    sheet->reported_at = 0;
    if (pthread_mutexattr_init(&attributes) != 0)
        return false;
    bool made = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
                pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
                pthread_mutex_init(&sheet->lock, &attributes) == 0;
    pthread_mutexattr_destroy(&attributes);
    return made;
}

bool lace_sheet_lock(lace_sheet *sheet)
{
    int error = pthread_mutex_trylock(&sheet->lock);
    if (error != EOWNERDEAD)
        return error == 0;
    /* The child died while it wrote: what it wrote is of no use, and it is to be buried soon. */
    pthread_mutex_consistent(&sheet->lock);
    sheet->statement.parks = 0;
    atomic_store(&sheet->stated, 0);
    pthread_mutex_unlock(&sheet->lock);
    return false;
}

void lace_sheet_unlock(lace_sheet *sheet)
{
    pthread_mutex_unlock(&sheet->lock);
}
