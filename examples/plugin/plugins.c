/* plugins.c - a worker for each plug-in, and how it is asked. */
#define _GNU_SOURCE
#include "plugins.h"

#include "offers.h"

#include <dirent.h>
#include <errno.h>
#include <interlace/interlace.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE 5 /* seconds that a plug-in has to load, to do a command, to end */

struct plugin {
    lace_worker *worker; /* NULL: it has not been started */
    lace_sender *calls;  /* (command, text) */
    lace_receiver
        *answers; /* True: it has been loaded; then (True, text) or (False, what went wrong) for each call */
    bool out;     /* nothing is asked of it any more, and it has been said why */
};

struct plugins {
    lace_host *host;
    struct plugin *list;
    char **names; /* of plug-ins, workers and files alike */
    size_t count;
    struct offers offers;
};

/* ---- plug-ins that fail --------------------------------------------------------------------------------- */

static void say(const char *plugin, const char *what)
{
    fprintf(stderr, "mill: plug-in '%s' %s\n", plugin, what);
}

/* Says why a plug-in does not answer, and asks nothing of it any more. Others do not notice. */
static void put_out(struct plugins *plugins, size_t which, lace_status status)
{
    struct plugin *plugin = &plugins->list[which];
    lace_wait bounded = {.deadline = lace_deadline_after(PATIENCE)};
    plugin->out = true;
    if (status == LACE_TIMEOUT) {
        say(plugins->names[which], "takes too long, and is out");
        lace_worker_cancel(plugin->worker);
    } else if (status == LACE_END || status == LACE_BROKEN) { /* its ends of the channels have gone, as it has */
        lace_worker_wait(plugin->worker, &bounded);
        const lace_error *error = lace_worker_error(plugin->worker);
        say(plugins->names[which], error != NULL ? "failed, and is out:" : "has ended, and is out");
        if (error != NULL)
            fputs(error->traceback, stderr);
    } else {
        say(plugins->names[which], "does not behave, and is out:");
        fprintf(stderr, "%s\n", lace_problem());
    }
}

/* ---- loading -------------------------------------------------------------------------------------------- */

static int is_python(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot != NULL && dot != entry->d_name && strcmp(dot, ".py") == 0;
}

/* Finds out which plug-ins there are. False: no folder, or no memory. */
static bool find_names(struct plugins *plugins, const char *folder)
{
    struct dirent **entries;
    int found = scandir(folder, &entries, is_python, alphasort);
    if (found < 0) {
        fprintf(stderr, "mill: %s: %s\n", folder, strerror(errno));
        return false;
    }
    bool there = false;
    plugins->list = calloc((size_t)found + 1, sizeof *plugins->list);
    plugins->names = calloc((size_t)found + 1, sizeof *plugins->names);
    if (plugins->list != NULL && plugins->names != NULL) {
        there = true;
        for (int i = 0; i < found; i++) {
            char *name = strndup(entries[i]->d_name, strlen(entries[i]->d_name) - strlen(".py"));
            there = there && name != NULL;
            plugins->names[plugins->count] = name;
            plugins->count += name != NULL;
        }
    }
    for (int i = 0; i < found; i++)
        free(entries[i]);
    free(entries);
    if (!there)
        fprintf(stderr, "mill: out of memory\n");
    return there;
}

/* What plug-ins print goes where what they log goes. */
static void print(void *context, const char *worker, int fd, const char *text, size_t size)
{
    (void)context;
    (void)fd;
    offers_log(worker, text, size);
}

static bool open_host(struct plugins *plugins)
{
    static const char *const path[] = {"python", NULL}; /* where mill.py is */
    lace_host_options options = {.path = path, .output = print};
    lace_status status = lace_host_open(&options, &plugins->host);
    if (status == LACE_OK)
        status = offers_export(plugins->host, &plugins->offers);
    if (status != LACE_OK)
        fprintf(stderr, "mill: %s\n", lace_problem());
    return status == LACE_OK;
}

/* Starts a plug-in's worker, which begins with loading it. */
static lace_status start(struct plugins *plugins, size_t which, const char *path)
{
    struct plugin *plugin = &plugins->list[which];
    lace_channel_options one = {.capacity = 1};
    lace_worker_options options = {.function = "mill:serve", .name = plugins->names[which]};
    lace_status status = lace_host_channel(plugins->host, &one, &plugin->calls, &options.input);
    if (status != LACE_OK)
        return status;
    status = lace_host_channel(plugins->host, &one, &options.output, &plugin->answers);
    if (status != LACE_OK) {
        lace_receiver_destroy(options.input);
        return status;
    }
    options.args = lace_value_build("(s)", path);
    return lace_worker_start(plugins->host, &options, &plugin->worker);
}

static void start_all(struct plugins *plugins, const char *folder)
{
    for (size_t i = 0; i < plugins->count; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s.py", folder, plugins->names[i]) >= 0 && start(plugins, i, path) == LACE_OK) {
            free(path);
            continue;
        }
        plugins->list[i].out = true;
        say(plugins->names[i], "cannot be started, and is out:");
        fprintf(stderr, "%s\n", lace_problem());
        free(path);
    }
}

/* Waits until every plug-in has been loaded. They do that at the same time. */
static void await_all(struct plugins *plugins)
{
    lace_wait bounded = {.deadline = lace_deadline_after(PATIENCE)};
    for (size_t i = 0; i < plugins->count; i++) {
        if (plugins->list[i].out)
            continue;
        lace_value *loaded = NULL;
        lace_status status = lace_recv_value(plugins->list[i].answers, &bounded, &loaded);
        lace_value_destroy(loaded);
        if (status != LACE_OK)
            put_out(plugins, i, status);
    }
}

struct plugins *plugins_load(const char *folder)
{
    struct plugins *plugins = calloc(1, sizeof *plugins);
    if (plugins == NULL || !registry_init(&plugins->offers.registry)) {
        fprintf(stderr, "mill: out of memory\n");
        free(plugins);
        return NULL;
    }
    bool there = find_names(plugins, folder);
    plugins->offers.plugins = plugins->names;
    plugins->offers.count = plugins->count;
    if (!there || !open_host(plugins)) {
        plugins_unload(plugins);
        return NULL;
    }
    start_all(plugins, folder);
    await_all(plugins);
    return plugins;
}

/* ---- commands ------------------------------------------------------------------------------------------- */

void plugins_list(struct plugins *plugins, void (*each)(const char *command, const char *plugin, const char *help))
{
    const struct command *command = NULL;
    while ((command = registry_next(&plugins->offers.registry, command)) != NULL)
        if (!plugins->list[command->plugin].out)
            each(command->name, plugins->names[command->plugin], command->help);
}

/* Asks a plug-in (takes the call). Gives its answer. */
static lace_status ask(struct plugin *plugin, lace_value *call, lace_value **ret_answer)
{
    lace_wait bounded = {.deadline = lace_deadline_after(PATIENCE)};
    lace_status status = lace_send_value(plugin->calls, call, &bounded);
    return status == LACE_OK ? lace_recv_value(plugin->answers, &bounded, ret_answer) : status;
}

plugins_result plugins_do(struct plugins *plugins, const char *name, const char *text, char **ret_text)
{
    const struct command *command = registry_find(&plugins->offers.registry, name);
    if (command == NULL || plugins->list[command->plugin].out)
        return PLUGINS_UNKNOWN;
    lace_value *answer = NULL, *call = lace_value_build("(ss)", name, text);
    if (lace_value_status(call) != LACE_OK) { /* it is no text: not the plug-in's fault */
        fprintf(stderr, "mill: command '%s': %s\n", name, lace_problem());
        lace_value_destroy(call);
        return PLUGINS_FAILED;
    }
    const char *said = NULL;
    bool done = false;
    char *copy = NULL;
    lace_status status = ask(&plugins->list[command->plugin], call, &answer);
    if (status == LACE_OK)
        status = lace_value_unpack(answer, "(bs)", &done, &said);
    if (status != LACE_OK)
        put_out(plugins, command->plugin, status);
    else if (!done)
        fprintf(stderr, "mill: plug-in '%s': command '%s': %s\n", plugins->names[command->plugin], name, said);
    else if ((copy = strdup(said)) == NULL)
        fprintf(stderr, "mill: out of memory\n");
    lace_value_destroy(answer);
    if (copy == NULL)
        return PLUGINS_FAILED;
    *ret_text = copy;
    return PLUGINS_DONE;
}

/* ---- unloading ------------------------------------------------------------------------------------------ */

void plugins_unload(struct plugins *plugins)
{
    lace_wait bounded = {.deadline = lace_deadline_after(PATIENCE)};
    for (size_t i = 0; i < plugins->count; i++) {
        lace_sender_destroy(plugins->list[i].calls); /* its loop ends, and so does it */
        lace_receiver_destroy(plugins->list[i].answers);
    }
    for (size_t i = 0; i < plugins->count; i++) {
        struct plugin *plugin = &plugins->list[i];
        if (plugin->worker != NULL && lace_worker_wait(plugin->worker, &bounded) != LACE_OK)
            say(plugins->names[i], "does not end by itself");
        lace_worker_destroy(plugin->worker);
    }
    /* Whoever still runs is cancelled now. */
    if (plugins->host != NULL && lace_host_close(plugins->host) != LACE_OK)
        fprintf(stderr, "mill: %s\n", lace_problem());
    registry_end(&plugins->offers.registry);
    for (size_t i = 0; i < plugins->count; i++)
        free(plugins->names[i]);
    free(plugins->names);
    free(plugins->list);
    free(plugins);
}
