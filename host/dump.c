/* dump.c - interlace dump: what another host's workers do now. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "command.h"
#include "state.h"

static const char usage[] =
    "Usage: interlace dump PID\n"
    "\n"
    "Prints what a running interlace run, pipe or map does now, without stopping it: each worker's state (what it waits\n"
    "for, and since when), its Python calls, the innermost first, its CPU time, the messages it has received and sent;\n"
    "each channel's messages that wait, its ends, and the rate at which messages are received.\n"
    "\n"
    "PID is the number of the process, which has to be your own. SIGQUIT (Ctrl-\\) has it print the same on its own\n"
    "standard error.\n"
    "\n"
    "Options:\n"
    "  -h, --help          this text\n"
    "\n"
    "Example:\n"
    "  interlace dump $(pgrep -n interlace)\n"
    "\n"
    "Exit status: 0 all well, 1 there is no such process, 2 wrong usage.\n";

static int connect_to(int pid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = lace_state_address(pid, address.sun_path, sizeof address.sun_path);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), other;
    if (connection < 0) {
        lace_complain("socket: %s", strerror(errno));
        return -1;
    }
    if (connect(connection, (struct sockaddr *)&address,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) != 0)
        lace_complain("process %d is no interlace run, pipe or map", pid);
    else if (!lace_state_is_ours(connection, &other) || other != pid)
        lace_complain("process %d is not yours", pid);
    else
        return connection;
    close(connection);
    return -1;
}

static bool read_pid(int argc, char **argv, int *ret_pid)
{
    char *end = NULL;
    long pid = argc == 2 ? strtol(argv[1], &end, 10) : 0;
    bool well = argc == 2 && end != argv[1] && *end == '\0' && pid > 0 && pid <= INT32_MAX;
    if (!well)
        lace_complain("dump takes the number of a process (try interlace dump --help)");
    *ret_pid = (int)pid;
    return well;
}

int lace_command_dump(int argc, char **argv)
{
    int pid;
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (!read_pid(argc, argv, &pid))
        return LACE_EXIT_USAGE;
    int connection = connect_to(pid);
    if (connection < 0)
        return 1;
    static const char ask[] = "dump\n";
    char data[4096];
    ssize_t n = send(connection, ask, sizeof ask - 1, MSG_NOSIGNAL);
    size_t all = 0;
    while (n > 0 && (n = recv(connection, data, sizeof data, 0)) > 0)
        all += fwrite(data, 1, (size_t)n, stdout);
    close(connection);
    if (all == 0) {
        lace_complain("process %d gave no answer: it may be ending", pid);
        return 1;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
