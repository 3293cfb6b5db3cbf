/* main.c - mill: lines of text through commands that plug-ins offer: mill FOLDER [COMMAND...] < TEXT */
#define _GNU_SOURCE
#include "plugins.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_command(const char *command, const char *plugin, const char *help)
{
    printf("%-8s (%s) %s\n", command, plugin, help);
}

/* Has each command change the line (malloc'ed) in turn. A command that fails leaves it as it was. Gives the line; false:
 * a command failed. */
static bool put_through(struct plugins *plugins, char **commands, char **line)
{
    bool well = true;
    for (; *commands != NULL; commands++) {
        char *changed;
        switch (plugins_do(plugins, *commands, *line, &changed)) {
        case PLUGINS_DONE:
            free(*line);
            *line = changed;
            break;
        case PLUGINS_UNKNOWN:
            fprintf(stderr, "mill: there is no command '%s'\n", *commands);
            well = false;
            break;
        case PLUGINS_FAILED:
            well = false;
        }
    }
    return well;
}

static bool put_all_through(struct plugins *plugins, char **commands)
{
    bool well = true;
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    while ((size = getline(&line, &room, stdin)) >= 0) {
        if (size > 0 && line[size - 1] == '\n')
            line[size - 1] = '\0';
        if (!put_through(plugins, commands, &line))
            well = false;
        puts(line);
        room = strlen(line) + 1; /* the line is another one perhaps */
    }
    free(line);
    return well;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: mill FOLDER [COMMAND...] < TEXT\n");
        return 2;
    }
    struct plugins *plugins = plugins_load(argv[1]);
    if (plugins == NULL)
        return EXIT_FAILURE;
    bool well = true;
    if (argc > 2)
        well = put_all_through(plugins, argv + 2);
    else
        plugins_list(plugins, print_command);
    plugins_unload(plugins);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("mill: standard output");
        well = false;
    }
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
