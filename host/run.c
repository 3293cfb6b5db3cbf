/* run.c - interlace run. */
#include <stdio.h>

#include "command.h"

static const char usage[] =
    "Usage: interlace run [OPTION...] SCRIPT [ARG...]\n"
    "       interlace run [OPTION...] -m MODULE [ARG...]\n"
    "       interlace run [OPTION...] -c CODE [ARG...]\n"
    "\n"
    "Runs a Python script in an interpreter of its own, which may start workers with interlace.Group. SCRIPT may be\n"
    "- for standard input, or a folder or zip file with a __main__.py.\n"
    "\n"
    "Options:\n"
    "  -n, --workers N     run N of it, each in its own interpreter (interlace.current_worker().index tells which)\n"
    "      --isolation KIND\n"
    "                      interpreter: on a thread, the default; process: in a process of its own, where every\n"
    "                      extension module loads and a crash is the worker's alone; auto: in an interpreter, unless the\n"
    "                      script imports a module that is known not to load there\n"
    "  -X OPTION, -W ACTION\n"
    "                      as with python: for every worker; may be given several times\n"
    "      --tag           begin each line of output with the worker's name\n"
    "      --grace S       let cancelled workers end for S seconds, 5 by default, before leaving without them\n"
    LACE_TELL_USAGE
    "  -h, --help          this text\n"
    "\n"
    "Example:\n"
    "  interlace run -n 4 crawl.py --depth 2\n"
    "\n"
    "Exit status: 0 all well, 1 a worker failed, 2 wrong usage, 3 a deadlock, 130 interrupted, 143 terminated; a\n"
    "script's own sys.exit(N) is passed on.\n";

int lace_command_run(int argc, char **argv)
{
    lace_stage stage;
    lace_command_options options = {.tell = lace_tell_preset};
    switch (lace_stage_parse(argc, argv, "run", &stage, &options)) {
    case LACE_PARSED_HELP:
        fputs(usage, stdout);
        return 0;
    case LACE_PARSED_WRONG:
        return LACE_EXIT_USAGE;
    case LACE_PARSED:
        break;
    }
    if (!lace_stage_check(&stage, "run"))
        return LACE_EXIT_USAGE;
    if (!lace_tell_check(&options.tell, "run"))
        return LACE_EXIT_USAGE;
    return lace_command_open(&options) ? lace_command_finish(&stage, 1, false, NULL, &options.tell) : 1;
}
