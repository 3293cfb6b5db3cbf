/* embedding.c - see embedding.h. */
#include "embedding.h"

#include <dirent.h>
#include <unistd.h>

lace_host *host;

/* LeakSanitizer looks for pointers in memory that malloc() gave, and Python's own allocator does not use that. */
void test_prepare(uint64_t seed)
{
    (void)seed;
#ifdef __SANITIZE_ADDRESS__
    setenv("PYTHONMALLOC", "malloc", 1);
#endif
}

static bool leaks_are_ignored;

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return leaks_are_ignored;
}

void ignore_leaks(void)
{
    leaks_are_ignored = true;
}

void open_host(const lace_host_options *options)
{
    lace_status status = lace_host_open(options, &host);
    CHECK_MSG(status == LACE_OK, "lace_host_open gave %s: %s", status_name(status), lace_problem());
}

void close_host(void)
{
    lace_status status = lace_host_close(host);
    CHECK_MSG(status == LACE_OK, "lace_host_close gave %s: %s", status_name(status), lace_problem());
}

/* ---- workers ------------------------------------------------------------------------------------------ */

static lace_worker *start(const lace_worker_options *options)
{
    lace_worker *worker;
    lace_status status = lace_worker_start(host, options, &worker);
    CHECK_MSG(status == LACE_OK, "lace_worker_start gave %s: %s", status_name(status), lace_problem());
    return worker;
}

lace_worker *start_code(const char *code)
{
    return start(&(lace_worker_options){.code = code});
}

lace_worker *start_code_with(const char *code, lace_receiver *input, lace_sender *output)
{
    return start(&(lace_worker_options){.code = code, .input = input, .output = output});
}

lace_worker *start_function(const char *function, lace_value *args)
{
    return start(&(lace_worker_options){.function = function, .args = args});
}

void check_result(lace_worker *worker, const char *shown)
{
    lace_value *value;
    lace_status status = lace_worker_result(worker, SOON, &value);
    const lace_error *error = lace_worker_error(worker);
    CHECK_MSG(status == LACE_OK, "the worker's result is %s: %s\n%s", status_name(status), lace_problem(),
              error ? error->traceback : "");
    CHECK(error == NULL && lace_worker_ended(worker));
    check_value(value, shown);
    lace_worker_destroy(worker);
}

void check_failure(lace_worker *worker, const char *type, const char *words)
{
    lace_value *value = NULL;
    CHECK_REFUSED(LACE_FAILED, type, lace_worker_result(worker, SOON, &value));
    CHECK(value == NULL);
    const lace_error *error = lace_worker_error(worker);
    CHECK(error != NULL);
    CHECK_TEXT(error->worker, lace_worker_name(worker));
    CHECK_TEXT(error->type, type);
    CHECK_MSG(strstr(error->message, words), "\"%s\" is not in the message \"%s\"", words, error->message);
    lace_worker_destroy(worker);
}

void run_code(const char *code)
{
    check_result(start_code(code), "None");
}

static bool read_file(const char *task, const char *name, char *text, size_t room)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, name);
    FILE *file = fopen(path, "r");
    size_t got = file ? fread(text, 1, room - 1, file) : 0;
    text[got] = '\0';
    if (file)
        fclose(file);
    return got > 0;
}

static bool is_in_syscall(const char *name, long number)
{
    char text[300];
    bool found = false;
    DIR *all = opendir("/proc/self/task");
    CHECK(all != NULL);
    for (struct dirent *task; !found && (task = readdir(all)) != NULL;)
        found = read_file(task->d_name, "comm", text, sizeof text) && strncmp(text, name, strlen(name)) == 0 &&
                text[strlen(name)] == '\n' && read_file(task->d_name, "syscall", text, sizeof text) &&
                text[0] != 'r' /* "running" */ && strtol(text, NULL, 10) == number;
    closedir(all);
    return found;
}

void until_in_syscall(const char *name, long number)
{
    while (!is_in_syscall(name, number))
        pass_ms(1);
}

/* ---- values ------------------------------------------------------------------------------------------- */

void check_shown(const lace_value *value, const char *shown)
{
    char text[4096];
    lace_value_format(value, text, sizeof text);
    CHECK_MSG(strcmp(text, shown) == 0, "the value is %s, not %s", text, shown);
}

void check_value(lace_value *value, const char *shown)
{
    check_shown(value, shown);
    lace_value_destroy(value);
}

lace_value *receive(lace_receiver *receiver)
{
    lace_value *value;
    CHECK_OK(lace_recv_value(receiver, SOON, &value));
    return value;
}

void check_received(lace_receiver *receiver, const char *shown)
{
    check_value(receive(receiver), shown);
}

/* ---- channels ----------------------------------------------------------------------------------------- */

void make_channel(size_t capacity, lace_sender **ret_sender, lace_receiver **ret_receiver)
{
    CHECK_OK(lace_host_channel(host, &(lace_channel_options){.capacity = capacity}, ret_sender, ret_receiver));
}

static lace_value *tell(lace_call *call, void *context)
{
    lace_value *told = lace_value_share(lace_value_at(lace_call_args(call), 0));
    lace_status status = lace_send_value(context, told, lace_call_wait(call));
    return status == LACE_OK ? lace_value_none() : lace_call_fail(call, "OSError", "tell: %s", status_name(status));
}

lace_receiver *open_tell(void)
{
    static lace_sender *teller; /* goes with the process */
    lace_receiver *told;
    make_channel(1000, &teller, &told);
    CHECK_OK(lace_export(host, "tell", tell, teller, 0));
    return told;
}

/* ---- files -------------------------------------------------------------------------------------------- */

static char folder[64];

/* In the process that made it only: not in children that a test forks. */
static pid_t folder_owner;

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (getpid() == folder_owner && system(command) != 0)
        fprintf(stderr, "%s is left behind\n", folder);
}

const char *own_folder(void)
{
    if (folder[0] == '\0') {
        strcpy(folder, "/tmp/interlace-embed.XXXXXX");
        CHECK(mkdtemp(folder) != NULL);
        folder_owner = getpid();
        atexit(remove_folder);
    }
    return folder;
}

const char *write_file(const char *name, const char *text)
{
    static char paths[8][256];
    static size_t next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", own_folder(), name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    return path;
}

/* ---- the process -------------------------------------------------------------------------------------- */

size_t mapped_regions(void)
{
    char line[512];
    size_t count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        count += strstr(line, "/memfd:") != NULL;
    fclose(maps);
    return count;
}

size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *all = opendir("/proc/self/fd");
    CHECK(all != NULL);
    while (readdir(all) != NULL)
        count++;
    closedir(all);
    return count;
}

size_t resident_kb(void)
{
    unsigned long size, resident;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%lu %lu", &size, &resident) == 2);
    fclose(statm);
    return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}
