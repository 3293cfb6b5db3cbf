/* doctor.c - the commands that are written in Python: interlace doctor and interlace top, run as scripts are. */
#include "command.h"

static int run_module(const char *name, char **words)
{
    lace_stage stage = {.kind = LACE_STAGE_MODULE, .replicas = 1, .target = name, .args = words};
    const lace_command_options options = {0};
    return lace_command_open(&options) ? lace_command_finish(&stage, 1, false, NULL, &options.tell) : 1;
}

int lace_command_doctor(int argc, char **argv)
{
    (void)argc;
    return run_module("interlace._doctor", argv + 1);
}

int lace_command_top(int argc, char **argv)
{
    (void)argc;
    return run_module("interlace._top", argv + 1);
}
