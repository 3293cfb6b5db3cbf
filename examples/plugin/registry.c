/* registry.c - a list of commands, sorted by name. */
#define _POSIX_C_SOURCE 200809L
#include "registry.h"

#include <stdlib.h>
#include <string.h>

static void free_command(struct command *command)
{
    free(command->name);
    free(command->help);
    free(command);
}

bool registry_init(struct registry *registry)
{
    registry->first = NULL;
    return pthread_mutex_init(&registry->lock, NULL) == 0;
}

registry_result registry_add(struct registry *registry, const char *name, const char *help, size_t plugin)
{
    struct command *command = calloc(1, sizeof *command);
    if (command == NULL)
        return REGISTRY_NO_MEMORY;
    command->name = strdup(name);
    command->help = strdup(help);
    command->plugin = plugin;
    if (command->name == NULL || command->help == NULL) {
        free_command(command);
        return REGISTRY_NO_MEMORY;
    }
    pthread_mutex_lock(&registry->lock);
    struct command **place = &registry->first;
    while (*place != NULL && strcmp((*place)->name, name) < 0)
        place = &(*place)->next;
    if (*place != NULL && strcmp((*place)->name, name) == 0) {
        pthread_mutex_unlock(&registry->lock);
        free_command(command);
        return REGISTRY_TAKEN;
    }
    command->next = *place;
    *place = command;
    pthread_mutex_unlock(&registry->lock);
    return REGISTRY_DONE;
}

const struct command *registry_find(struct registry *registry, const char *name)
{
    pthread_mutex_lock(&registry->lock);
    const struct command *command = registry->first;
    while (command != NULL && strcmp(command->name, name) != 0)
        command = command->next;
    pthread_mutex_unlock(&registry->lock);
    return command;
}

const struct command *registry_next(struct registry *registry, const struct command *command)
{
    pthread_mutex_lock(&registry->lock);
    const struct command *next = command != NULL ? command->next : registry->first;
    pthread_mutex_unlock(&registry->lock);
    return next;
}

void registry_end(struct registry *registry)
{
    while (registry->first != NULL) {
        struct command *command = registry->first;
        registry->first = command->next;
        free_command(command);
    }
    pthread_mutex_destroy(&registry->lock);
}
