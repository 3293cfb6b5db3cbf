/* embedding.h - what the suites of the C API share: a host, and short hands for workers and values.
 *
 * Each test runs in a process of its own (harness.h), so each opens a host, and Python, afresh. */
#ifndef LACE_TESTS_EMBEDDING_H
#define LACE_TESTS_EMBEDDING_H

#include "../harness.h"
#include "../../host/interlace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A test of a suite here: Python starts slowly where the machine is loaded and the build instrumented. */
#define EMBED(name) {name, 1, 90}
#define EMBED_LOOP(name, loops) {name, loops, 90}

/* For what takes milliseconds on an idle machine. */
#define SOON WITHIN_MS(60000)

/* The host of the test. */
extern lace_host *host;
void open_host(const lace_host_options *options);
void close_host(void);

/* For a process that ends while Python runs: LeakSanitizer does not see what Python's frames hold, since they lie in
 * memory that Python maps itself. */
void ignore_leaks(void);

/* Checks a status, and that lace_problem() has these words for it. */
#define CHECK_REFUSED(want, words, call)                                                                       \
    do {                                                                                                       \
        CHECK_STATUS(want, call);                                                                              \
        CHECK_MSG(strstr(lace_problem(), words), "%s: the problem is \"%s\"", #call, lace_problem());          \
    } while (0)

#define CHECK_TEXT(got, want)                                                                                  \
    do {                                                                                                       \
        const char *got_text_ = (got), *want_text_ = (want);                                                   \
        CHECK_MSG(strcmp(got_text_, want_text_) == 0, "%s is \"%s\", not \"%s\"", #got, got_text_, want_text_); \
    } while (0)

/* Workers: one that runs Python source; one that calls "module:function" with args (taken; NULL: none). */
lace_worker *start_code(const char *code);
lace_worker *start_code_with(const char *code, lace_receiver *input, lace_sender *output); /* takes both */
lace_worker *start_function(const char *function, lace_value *args);
/* Waits for its end and takes the handle. It has to give what lace_value_format() shows like this ... */
void check_result(lace_worker *worker, const char *shown);
/* ... or to fail with this type and these words in its message. */
void check_failure(lace_worker *worker, const char *type, const char *words);
/* Waits until a thread of this name (15 characters at most are one) is inside a system call: a worker, say, in foreign
 * code. */
void until_in_syscall(const char *name, long number);
/* Runs a script, which has to end well. */
void run_code(const char *code);

/* Checks what lace_value_format() shows of a value; the first borrows it, the second takes it. */
void check_shown(const lace_value *value, const char *shown);
void check_value(lace_value *value, const char *shown);
/* Receives a value. Gives it. */
lace_value *receive(lace_receiver *receiver);
/* Receives a value, which has to show like this. */
void check_received(lace_receiver *receiver, const char *shown);

/* A channel of the host. */
void make_channel(size_t capacity, lace_sender **ret_sender, lace_receiver **ret_receiver);
/* One that workers tell the test something over: `told` is the test's end. Exported as interlace.host.tell(value). */
lace_receiver *open_tell(void);

/* Writes a file into a folder of the test's own, which goes when the process ends. Gives its path, which stays good. */
const char *write_file(const char *name, const char *text);
const char *own_folder(void);

/* How many regions of shared memory this process has mapped, and how many descriptors it has open. */
size_t mapped_regions(void);
size_t open_descriptors(void);
/* The kilobytes of memory that this process has resident. */
size_t resident_kb(void);

#endif
