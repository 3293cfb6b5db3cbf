/* doctor.c - interlace doctor: python/interlace/_doctor.py, run as a script is. */
#include "command.h"

int lace_command_doctor(int argc, char **argv)
{
    (void)argc;
    const lace_stage stage = {
        .kind = LACE_STAGE_MODULE, .replicas = 1, .target = "interlace._doctor", .args = argv + 1};
    const lace_command_options options = {0};
    return lace_command_open(&options) ? lace_command_finish(&stage, 1, false) : 1;
}
