/* sheet.h - what a worker in a process of its own writes down for its host, in a block that both have.
 *
 * The host makes it, with the job. The child writes, the host reads, also when the child is dead: so nothing in it is an
 * address, and its host takes no number in it for granted. */
#ifndef LACE_SHEET_H
#define LACE_SHEET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tally.h"
#include "waits.h"

/* ---- what its threads wait for (statement.c) ------------------------------------------------------------- */

/* More than that of anything, and the child says nothing. */
#define LACE_STATED_AWAITS 16
#define LACE_STATED_CASES 128
#define LACE_STATED_HOLDS 1024
#define LACE_STATED_TEXT 8192

/* See lace_await and its like in deadlock.h; a channel is told by its place: lace_look_place(). */
typedef struct lace_stated_case {
    uint64_t place, end;
    uint16_t list, sends_matter;
    uint32_t made; /* where the channel was made, in words: where they begin in `text`; 0: not known here */
} lace_stated_case;

typedef struct lace_stated_await {
    uint32_t operation, first_case, case_count;
    uint32_t where; /* likewise, its line of Python */
    int64_t since;
} lace_stated_await;

typedef struct lace_stated_hold {
    uint64_t place;
    uint64_t sender; /* 0 or 1 */
} lace_stated_hold;

typedef struct lace_statement {
    uint64_t parks; /* it was made when there had been so many waits, and stands for as long as there are; 0: there is none */
    uint32_t await_count, case_count, hold_count, text_size;
    lace_stated_await awaits[LACE_STATED_AWAITS];
    lace_stated_case cases[LACE_STATED_CASES];
    lace_stated_hold holds[LACE_STATED_HOLDS];
    char text[LACE_STATED_TEXT]; /* strings, each with its NUL; the first is empty */
} lace_statement;

#define LACE_SHEET_REPORT 16384

typedef struct lace_sheet {
    lace_waits_shown waits;
    atomic_bool cancelled; /* by the host, before anybody acts on the cancellation: the word that it says comes later */
    _Atomic uint32_t closed; /* how often it has said LACE_SAY_CLOSED, or is about to */
    _Atomic uint32_t
        answered; /* the last LACE_SAY_ANSWER that it has heard: its keeper writes it, the host's watcher waits */
    /* Process-shared and robust; guards `statement`, and that the channels in it are there: as long as it stands, the child has
     * a look at each of them. Nobody waits for it: who does not get it comes again. */
    pthread_mutex_t lock;
    _Atomic uint64_t stated; /* statement.parks, for a glance */
    lace_statement statement;
    lace_account account;
    /* The latest deadlock that the host has raised in it, and when: written before it is raised there. */
    int64_t reported_at; /* lace_clock() */
    char report[LACE_SHEET_REPORT];
} lace_sheet;

/* In the host: makes one of memory; false when it cannot be. */
bool lace_sheet_begin(lace_sheet *sheet);
/* Without waiting: false when somebody else has it, or the child died with it. */
bool lace_sheet_lock(lace_sheet *sheet);
void lace_sheet_unlock(lace_sheet *sheet);

#endif
