/* process_own.h - a worker's process as the files of the host's side have it. */
#ifndef LACE_PROCESS_OWN_H
#define LACE_PROCESS_OWN_H

#include "../channels/place.h"
#include "process.h"

/* Constant once its worker has been started, or the keeper's alone. */
struct lace_process {
    lace_worker *worker; /* counted while it is listed */
    lace_place *place;   /* NULL once it is buried */
    char *program;
    lace_block *at;            /* see lace_process_at */
    lace_block *sheet;         /* see sheet.h */
    pthread_mutex_t grave;     /* held by the watcher while it looks, and by the keeper around what follows */
    bool buried;               /* what it held is let go of, or about to be */
    _Atomic uint32_t closed;   /* how many LACE_SAY_CLOSED have been heard and seen to; the keeper writes it */
    pthread_mutex_t talk_lock; /* held by others than the keeper while they talk, and by it when it closes `talk` */
    int talk;                  /* our end of the socket, or -1 */
    int child_talk;            /* its end, until it has been started; or -1 */
    pid_t pid;                 /* 0: it has not been started */
    int pidfd;
    bool told, done, refused, killed;
    int exit_code;
    char *stuck;    /* where it sat when it did not end; malloc'ed */
    lace_tail text; /* the beginning of what a worker of it prints */
    struct lace_process *next;
};

/* process_start.c. Has the program run, and be watched by lace_process_fd(): its socket with the process's address, its end
 * with that and one more. 0 or an errno. By the keeper. */
int lace_process_run(struct lace_process *process);

/* process.c. Has the keeper start it, from any thread. */
void lace_process_enlist(struct lace_process *process);

#endif
