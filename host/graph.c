/* graph.c - interlace graph: the network of a pipeline, or of a script's run. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

static const char usage[] =
    "Usage: interlace graph [OPTION...] pipe 'STAGE' 'STAGE' ...\n"
    "       interlace graph [OPTION...] run SCRIPT [ARG...]\n"
    "\n"
    "Draws a network: the stages of a pipeline, which is not run, or what the workers of a script sent to one another,\n"
    "once it has been run. What follows pipe and run is as there; what the script prints goes to standard error.\n"
    "\n"
    "Options:\n"
    "  -f, --format FORMAT  dot (for Graphviz, the default), mermaid or svg\n"
    "  -o, --output FILE    write it there instead of to standard output; the script prints as usual then\n"
    "  -h, --help           this text\n"
    "\n"
    "Example:\n"
    "  interlace graph -f svg pipe 'list.py src' '-n 4 parse.py' 'table.py' > network.svg\n"
    "\n"
    "Exit status: as that of pipe and run.\n";

static const struct option long_options[] = {
    {"format", required_argument, NULL, 'f'},
    {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Standard output becomes standard error, for what the script prints; the descriptor that it was. */
static int take_output(void)
{
    int fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
    if (fd < 0 || dup2(2, 1) < 0) {
        lace_complain("graph: standard output: %s", strerror(errno));
        return -1;
    }
    return fd;
}

int lace_command_graph(int argc, char **argv)
{
    lace_tell tell = {.graph = "dot", .graph_fd = -1};
    int letter;
    optind = 0; /* glibc: start afresh */
    opterr = 0;
    while ((letter = getopt_long(argc, argv, "+:f:o:h", long_options, NULL)) != -1) {
        if (letter == 'h') {
            fputs(usage, stdout);
            return 0;
        } else if (letter == 'o' && optarg[0] != '\0') {
            tell.graph_path = optarg;
        } else if (letter == 'f' && (strcmp(optarg, "dot") == 0 || strcmp(optarg, "mermaid") == 0 ||
                                     strcmp(optarg, "svg") == 0)) {
            tell.graph = optarg;
        } else if (letter == 'f') {
            lace_complain("graph: --format takes dot, mermaid or svg, not '%s'", optarg);
            return LACE_EXIT_USAGE;
        } else if (letter == ':' || letter == 'o') {
            lace_complain("graph: %s needs a value", argv[optind - 1]);
            return LACE_EXIT_USAGE;
        } else {
            lace_complain("graph: unknown option %s (try interlace graph --help)", argv[optind - 1]);
            return LACE_EXIT_USAGE;
        }
    }
    const char *command = optind < argc ? argv[optind] : "";
    bool runs = strcmp(command, "run") == 0;
    if (!runs && strcmp(command, "pipe") != 0) {
        lace_complain("graph: '%s' is neither pipe nor run: interlace graph pipe 'STAGE' ..., interlace graph run SCRIPT",
                      command);
        return LACE_EXIT_USAGE;
    }
    if (tell.graph_path == NULL)
        tell.graph_fd = runs ? take_output() : 1;
    if (tell.graph_path == NULL && tell.graph_fd < 0)
        return 1;
    lace_tell_preset = tell;
    int first = optind;
    return runs ? lace_command_run(argc - first, argv + first) : lace_command_pipe(argc - first, argv + first);
}
