/* family.h - tests with child processes: real ones, the test program started anew, each in a place of a region. */
#ifndef LACE_TESTS_FAMILY_H
#define LACE_TESTS_FAMILY_H

#include "fixture.h"

#include "../../channels/place.h"

#include <sys/types.h>

/* What a child does; the result is its exit status. It runs in a thread of its own, so that CHECK works in it. */
typedef struct script {
    const char *name;
    int (*run)(lace_region *region, const char *argument);
} script;

/* What main begins with: in a child this runs its script and does not return. */
void family_begin(int argc, char **argv, const script *scripts, size_t count);

#define FAMILY_MAIN(suite, scripts, ...)                                         \
    int main(int argc, char **argv)                                              \
    {                                                                            \
        const test_entry tests[] = {__VA_ARGS__};                                \
        family_begin(argc, argv, scripts, sizeof scripts / sizeof *scripts);     \
        return test_run(suite, tests, sizeof tests / sizeof *tests, argc, argv); \
    }

typedef struct child {
    lace_place *place;
    pid_t pid;
} child;

/* Makes a place. */
void child_make(child *made, lace_region *region);
void child_give_sender(child *to, lace_sender *sender);
void child_give_receiver(child *to, lace_receiver *receiver);
void child_give_block(child *to, lace_block *block);
/* Starts the program in it. `argument` may be NULL. */
void child_start(child *started, const char *script, const char *argument);
/* Waits for its death; gives waitpid's status. */
int child_wait(child *awaited);
void child_kill(child *killed);
void child_bury(child *buried);
/* Waits, checks that it ended with status 0, and buries it. */
void child_join(child *joined);

/* In a child: the next gift, which must be of that kind. */
lace_sender *gift_sender(lace_region *region);
lace_receiver *gift_receiver(lace_region *region);
lace_block *gift_block(lace_region *region);
/* In a child: the orders that have come so far; waits until `wanted` are among them. */
void orders_await(uint32_t wanted);

#endif
