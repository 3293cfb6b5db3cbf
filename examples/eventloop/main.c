/* main.c - a calculator as a server on this machine's loopback interface: server SCRIPT [PORT [WORKERS]] */
#define _GNU_SOURCE
#include "server.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Gives a socket that listens on a port, and in *port which, when any free one was wanted (0); or -1. */
static int listen_on(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t size = sizeof address;
    const int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0) {
        perror("server: listening");
        return -1;
    }
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        perror("server: listening");
        close(listener);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return listener;
}

/* Gives a descriptor that SIGINT and SIGTERM arrive at from now on; or -1. Called before there is another thread: those to
 * come inherit it. */
static int take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    int signals = sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC) : -1;
    if (signals < 0)
        perror("server: signals");
    return signals;
}

static bool serve(int listener, int signals, const char *script, int port, int workers)
{
    struct pool *pool = pool_open(script, workers);
    if (pool == NULL)
        return false;
    printf("listening on 127.0.0.1:%d, %d workers\n", port, workers);
    fflush(stdout);
    bool well = server_run(listener, signals, pool);
    return pool_close(pool) && well;
}

int main(int argc, char **argv)
{
    int port = argc > 2 ? atoi(argv[2]) : 0;
    long workers = argc > 3 ? atol(argv[3]) : sysconf(_SC_NPROCESSORS_ONLN);
    if (argc < 2 || argc > 4 || port < 0 || port > 65535 || workers < 1 || workers > 1000) {
        fprintf(stderr, "usage: server SCRIPT [PORT [WORKERS]]\n");
        return 2;
    }
    int signals = take_signals();
    int listener = listen_on(&port);
    bool well = signals >= 0 && listener >= 0 && serve(listener, signals, argv[1], port, (int)workers);
    if (listener >= 0)
        close(listener);
    if (signals >= 0)
        close(signals);
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
