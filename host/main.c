/* main.c - the command `interlace`: which subcommand, and what all of them share. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "process.h"

static const char usage[] =
    "Usage: interlace COMMAND [OPTION...] ...\n"
    "\n"
    "Runs Python scripts in interpreters of their own, one per thread, each with its own GIL, joined by channels.\n"
    "\n"
    "Commands:\n"
    "  run SCRIPT [ARG...]        run a script, a module (-m) or a piece of code (-c)\n"
    "  pipe 'STAGE' 'STAGE' ...   run scripts as a pipeline of objects\n"
    "  map FUNCTION               call a function with each line of standard input\n"
    "  graph pipe|run ...         draw the network of a pipeline or of a script's run\n"
    "  doctor [MODULE...]         tell which modules load in a worker, and what to do for the rest\n"
    "  dump PID                   tell what a running process's workers do now\n"
    "  top PID                    the same, again and again, the busiest first\n"
    "  key new|show [FILE]        make or show a key, for channels to other hosts\n"
    "\n"
    "interlace COMMAND --help says more. interlace --version, interlace --help.\n"
    "\n"
    "Example:\n"
    "  interlace pipe 'list.py src' '-n 4 parse.py' 'table.py'\n"
    "\n"
    "Exit status: 0 all well, 1 a worker failed, 2 wrong usage, 3 a deadlock, 130 interrupted, 143 terminated; a\n"
    "script's own sys.exit(N) is passed on.\n";

int main(int argc, char **argv)
{
    /* A standard stream that was closed must not become one of our own descriptors: print() would write to it. */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return 1;
    const char *command = argc > 1 ? argv[1] : "";
    bool child = strcmp(command, LACE_CHILD_COMMAND) == 0;
    const char *error = lace_keeper_take_signals(child); /* from the first instruction on */
    if (error != NULL) {
        lace_complain("%s", error);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN); /* as Python does: writing to nobody is an error, not the end */
    signal(SIGXFSZ, SIG_IGN); /* likewise: a file that grows too large */

    if (child)
        return lace_command_child(argc - 1, argv + 1);
    lace_program_is_this();
    lace_command_words = argv;
    if (strcmp(command, "run") == 0)
        return lace_command_run(argc - 1, argv + 1);
    if (strcmp(command, "pipe") == 0)
        return lace_command_pipe(argc - 1, argv + 1);
    if (strcmp(command, "key") == 0)
        return lace_command_key(argc - 1, argv + 1);
    if (strcmp(command, "doctor") == 0)
        return lace_command_doctor(argc - 1, argv + 1);
    if (strcmp(command, "dump") == 0)
        return lace_command_dump(argc - 1, argv + 1);
    if (strcmp(command, "top") == 0)
        return lace_command_top(argc - 1, argv + 1);
    if (strcmp(command, "map") == 0)
        return lace_command_map(argc - 1, argv + 1);
    if (strcmp(command, "graph") == 0)
        return lace_command_graph(argc - 1, argv + 1);
    if (strcmp(command, "--version") == 0 || strcmp(command, "-V") == 0) {
        printf("interlace %s (CPython %s)\n", LACE_VERSION, PY_VERSION);
        return 0;
    }
    if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0 || strcmp(command, "help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc < 2)
        fputs(usage, stderr);
    else
        lace_complain("'%s' is not a command: there are run, pipe, map, graph, doctor, dump, top and key (try "
                      "interlace --help)",
                      command);
    return LACE_EXIT_USAGE;
}
