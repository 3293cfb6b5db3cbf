/* test_embed_output.c - what workers print. */
#include "embedding.h"

#include <fcntl.h>
#include <unistd.h>

/* What the callback was given: a line each, "worker/fd: text", in the order in which it came. */
typedef struct record {
    pthread_mutex_t lock;
    char text[2][100000]; /* of stdout and stderr */
    size_t size[2];
    bool broken;          /* it was not whole lines */
    atomic_int inside[2]; /* callers */
} record;

static record kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void keep(void *context, const char *worker, int fd, const char *text, size_t size)
{
    record *here = context;
    int which = fd == 2;
    CHECK(here == &kept && (fd == 1 || fd == 2) && size > 0);
    CHECK(atomic_fetch_add(&here->inside[which], 1) == 0); /* one thread at a time for each fd */
    pthread_mutex_lock(&here->lock);
    for (const char *at = text; at < text + size;) {
        const char *newline = memchr(at, '\n', (size_t)(text + size - at));
        const char *end = newline ? newline : text + size;
        if (newline == NULL)
            here->broken = true;
        here->size[which] += (size_t)snprintf(here->text[which] + here->size[which],
                                              sizeof here->text[which] - here->size[which], "%s: %.*s\n", worker,
                                              (int)(end - at), at);
        at = end + 1;
    }
    pthread_mutex_unlock(&here->lock);
    atomic_fetch_sub(&here->inside[which], 1);
}

static void run_named(const char *name, const char *code)
{
    lace_worker *worker;
    CHECK_OK(lace_worker_start(host, &(lace_worker_options){.code = code, .name = name}, &worker));
    check_result(worker, "None");
}

START_TEST(test_output_goes_to_the_callback)
{
    open_host(&(lace_host_options){.output = keep, .context = &kept});
    run_named("a", "import sys, os\n"
                   "print('one'); print('two', end=''); print(); print('three\\nfour')\n"
                   "print('wrong', file=sys.stderr)\n"
                   "sys.stdout.buffer.write(b'raw \\xff\\n'); sys.stdout.flush()\n"
                   "sys.stderr.write('part '); sys.stderr.write('of a line\\n')\n");
    CHECK_TEXT(kept.text[0], "a: one\na: two\na: three\na: four\na: raw \xff\n");
    CHECK_TEXT(kept.text[1], "a: wrong\na: part of a line\n");
    CHECK(!kept.broken);
    kept.size[0] = kept.size[1] = 0;
    run_named("b", "print('unfinished', end='')"); /* comes when the worker has ended */
    CHECK_TEXT(kept.text[0], "b: unfinished\n");
    close_host();
    kept.size[0] = 0;
    kept.text[0][0] = '\0';
    open_host(NULL); /* the next host has no callback */
    run_named("c", "pass");
    close_host();
    CHECK_TEXT(kept.text[0], "");
}
END_TEST

START_TEST(test_output_lines_of_several_workers_stay_whole)
{
    enum { WORKERS = 4, LINES = 300 };
    lace_worker *workers[WORKERS];
    char name[16];
    open_host(&(lace_host_options){.output = keep, .context = &kept});
    for (int i = 0; i < WORKERS; i++) {
        snprintf(name, sizeof name, "w%d", i);
        lace_worker_options options = {.code = "import interlace, sys\n"
                                               "name = interlace.current_worker().name\n"
                                               "for i in range(300):\n"
                                               "    sys.stdout.write(name); sys.stdout.write(f' {i}')\n"
                                               "    if i % 7 == 0: sys.stdout.flush()\n"
                                               "    print()\n",
                                       .name = name};
        CHECK_OK(lace_worker_start(host, &options, &workers[i]));
    }
    for (int i = 0; i < WORKERS; i++)
        check_result(workers[i], "None");
    close_host();
    int next[WORKERS] = {0}, worker, said, number;
    for (char *line = kept.text[0]; *line != '\0'; line = strchr(line, '\n') + 1) {
        CHECK_MSG(sscanf(line, "w%d: w%d %d\n", &worker, &said, &number) == 3 && worker == said, "a line is %.40s",
                  line);
        CHECK(number == next[worker]++);
    }
    for (int i = 0; i < WORKERS; i++)
        CHECK_UINT(next[i], LINES);
    CHECK(!kept.broken);
}
END_TEST

START_TEST(test_output_is_tagged)
{
    open_host(&(lace_host_options){.output = keep, .context = &kept, .tag = true});
    run_named("a", "print('one\\ntwo'); print('three', end='')");
    CHECK_TEXT(kept.text[0], "a: [a] one\na: [a] two\na: [a] three\n");
    close_host();
}
END_TEST

/* Of a worker's own workers, of its threads, of a module that is imported, of an exception in a thread. */
START_TEST(test_output_of_all_that_runs_in_a_worker)
{
    open_host(&(lace_host_options){.output = keep, .context = &kept});
    run_named("a", "import interlace, threading, warnings\n"
                   "def say(): print('said')\n"
                   "with interlace.Group() as group: group.start(say, name='child')\n"
                   "t = threading.Thread(target=say); t.start(); t.join()\n"
                   "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()\n"
                   "warnings.warn('warned')\n"
                   "import atexit; atexit.register(print, 'at exit')\n");
    CHECK_TEXT(kept.text[0], "child: said\na: said\na: at exit\n");
    CHECK_MSG(strstr(kept.text[1], "a: ZeroDivisionError") && strstr(kept.text[1], "UserWarning: warned"), "%s",
              kept.text[1]);
    close_host();
}
END_TEST

/* The callback takes its time, and the worker is cancelled and the host closed meanwhile. */
static gate slow_in = GATE_INIT;

static void be_slow(void *context, const char *worker, int fd, const char *text, size_t size)
{
    (void)context, (void)worker, (void)fd, (void)text, (void)size;
    gate_open(&slow_in);
    pass_ms(50);
}

START_TEST(test_output_while_the_host_is_closed)
{
    open_host(&(lace_host_options){.output = be_slow, .grace = 60});
    lace_worker *worker = start_code("while True: print('x')");
    gate_wait(&slow_in);
    close_host();
    check_failure(worker, "Cancelled", "");
}
END_TEST

/* ---- without a callback ----------------------------------------------------------------------------------- */

/* Has descriptors 1 and 2 be a file each, while `code` is run by a worker. */
static void run_into_files(const char *code, const lace_host_options *options, char *ret_out, char *ret_err,
                           size_t room)
{
    const char *paths[2] = {write_file("out", ""), write_file("err", "")};
    char *texts[2] = {ret_out, ret_err};
    int before[2];
    for (int i = 0; i < 2; i++) {
        int fd = open(paths[i], O_RDWR | O_APPEND);
        before[i] = dup(i + 1);
        CHECK(fd >= 0 && before[i] >= 0 && dup2(fd, i + 1) == i + 1 && close(fd) == 0);
    }
    open_host(options);
    run_named("a", code);
    close_host();
    for (int i = 0; i < 2; i++) {
        CHECK(dup2(before[i], i + 1) == i + 1 && close(before[i]) == 0);
        FILE *file = fopen(paths[i], "r");
        texts[i][fread(texts[i], 1, room - 1, file)] = '\0';
        fclose(file);
    }
}

START_TEST(test_output_goes_to_the_descriptors)
{
    char out[1000], err[1000];
    run_into_files("import sys; print('one'); print('h\xc3\xa9', file=sys.stderr); print('end', end='')", NULL, out,
                   err, sizeof out);
    CHECK_TEXT(out, "one\nend");
    CHECK_TEXT(err, "h\xc3\xa9\n");
    run_into_files("import sys; print('one'); print('two', file=sys.stderr)", &(lace_host_options){.tag = true}, out,
                   err, sizeof out);
    CHECK_TEXT(out, "[a] one\n");
    CHECK_TEXT(err, "[a] two\n");
    run_into_files("import sys; print('one'); print('two', file=sys.stderr)",
                   &(lace_host_options){.output = keep, .context = &kept}, out, err, sizeof out);
    CHECK_TEXT(out, "");
    CHECK_TEXT(err, "");
}
END_TEST

/* An application without standard streams, such as a daemon: print() goes to the callback, or nowhere. */
START_TEST(test_output_where_the_descriptors_are_closed)
{
    int before[3];
    for (int fd = 0; fd < 3; fd++) {
        before[fd] = fcntl(fd, F_DUPFD, 100);
        close(fd);
    }
    open_host(_i == 0 ? NULL : &(lace_host_options){.output = keep, .context = &kept});
    lace_value *value = NULL;
    lace_worker *worker = start_code("import sys\nprint('out')\nprint('err', file=sys.stderr)\n");
    lace_status status = lace_worker_result(worker, SOON, &value);
    lace_value_destroy(value);
    lace_worker_destroy(worker);
    lace_status closed = lace_host_close(host);
    for (int fd = 0; fd < 3; fd++)
        dup2(before[fd], fd);
    CHECK_OK(status);
    CHECK_OK(closed);
    CHECK_TEXT(kept.text[0], _i == 0 ? "" : "-c-1: out\n");
    CHECK_TEXT(kept.text[1], _i == 0 ? "" : "-c-1: err\n");
}
END_TEST

TEST_MAIN("embed_output", EMBED(test_output_goes_to_the_callback),
          EMBED(test_output_lines_of_several_workers_stay_whole), EMBED(test_output_is_tagged),
          EMBED(test_output_of_all_that_runs_in_a_worker), EMBED(test_output_while_the_host_is_closed),
          EMBED(test_output_goes_to_the_descriptors), EMBED_LOOP(test_output_where_the_descriptors_are_closed, 2))
