/* command.h - what the subcommands share: stages, and running them to their end. */
#ifndef LACE_COMMAND_H
#define LACE_COMMAND_H

#include "host.h"
#include "tell.h"

#define LACE_EXIT_USAGE 2

typedef enum lace_stage_kind {
    LACE_STAGE_SCRIPT,
    LACE_STAGE_MODULE,
    LACE_STAGE_CODE,
    LACE_STAGE_MAP, /* of `interlace map`: the target is its function, the arguments its options */
} lace_stage_kind;

/* The words after `interlace run`: what to run, and how often. The pointers are into the words. */
typedef struct lace_stage {
    lace_stage_kind kind;
    unsigned replicas;
    const char *target;
    char **args; /* NULL-ended */
    bool isolated;            /* whether its words have said where it runs, which is then: */
    lace_isolation isolation; /* else that of the whole command */
} lace_stage;

/* What holds for a whole command. */
typedef struct lace_command_options {
    bool tag;
    double grace; /* seconds; 0: the default */
    const char *input, *output; /* addresses, of `interlace pipe`; NULL: standard input and output */
    const char *key;            /* the file of their key; NULL: the user's own */
    lace_isolation isolation;
    lace_tell tell;
    lace_python_options python;
} lace_command_options;

/* What a pipeline has at its sides instead of standard input and output (outside.c). */
typedef struct lace_outside lace_outside;
/* Opens them, waiting for whoever is to read; NULL when that failed, which has been said (*ret_code: the exit code for
 * it), or was interrupted. */
lace_outside *lace_outside_open(const lace_command_options *options, int *ret_code);
lace_receiver *lace_outside_input(lace_outside *outside);        /* gives, once; NULL: standard input */
lace_sender *lace_outside_output(const lace_outside *outside);   /* borrowed; NULL: standard output */
/* Ends and frees it. Waits until the output's last word has gone. False: a client was lost. */
bool lace_outside_close(lace_outside *outside);

typedef enum lace_parsed { LACE_PARSED, LACE_PARSED_HELP, LACE_PARSED_WRONG } lace_parsed;

/* Reads the words of a stage; words[0] is skipped. `options` NULL: options of the whole command are refused here.
 * WRONG has said why on stderr, with `where` ("run", "pipe: stage 2") before it. */
lace_parsed lace_stage_parse(int count, char **words, const char *where, lace_stage *ret_stage,
                             lace_command_options *options);
/* Whether its script can be opened; says so on stderr if not. */
bool lace_stage_check(const lace_stage *stage, const char *where);
/* "interpreter", "process" or "auto"; false when it is none of them, which has been said. */
bool lace_parse_isolation(const char *text, const char *where, lace_isolation *ret_isolation);
/* A number of seconds above 0; false when it is none. */
bool lace_parse_seconds(const char *text, double *ret_seconds);

/* Opens the host for a command; false when it did not start, which has been said. */
bool lace_command_open(const lace_command_options *options);
/* Runs the stages, joined by channels when `joined`, until every worker has ended; ends the host. Takes `outside` (NULL:
 * none). Tells of the run what is wanted. Returns the exit status. */
int lace_command_finish(lace_stage *stages, size_t count, bool joined, lace_outside *outside,
                        const lace_tell *tell);
/* Draws the network of a pipeline that does not run; false when that failed, which was said. */
bool lace_command_draw(const lace_stage *stages, size_t count, const lace_tell *tell);
/* The words of the command line, for those that tell what was run: set by main(). */
extern char *const *lace_command_words;

int lace_command_run(int argc, char **argv);
int lace_command_pipe(int argc, char **argv);
int lace_command_doctor(int argc, char **argv);
int lace_command_dump(int argc, char **argv);
int lace_command_key(int argc, char **argv);
int lace_command_map(int argc, char **argv);
int lace_command_top(int argc, char **argv);
int lace_command_graph(int argc, char **argv);

#endif
