/* raw.h - what the programs raw_*.c share: they are called and tell their results as measure.py says. */
#ifndef RAW_H
#define RAW_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_SAMPLES 4000000

static double seconds;
static double *samples;
static size_t count;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double percentile(double part)
{
    qsort(samples, count, sizeof *samples, ascending);
    return samples[(size_t)((double)count * part)];
}

static inline void tell(const char *row, const char *peer, double value)
{
    printf("{\"row\": \"%s\", \"peer\": \"%s\", \"value\": %.9g}\n", row, peer, value);
    fflush(stdout);
}

static void check(bool ok)
{
    if (!ok) {
        perror("raw");
        exit(1);
    }
}

/* Microseconds of each call of `once`, into samples, after a warm-up. */
static inline void repeat(void (*once)(void *), void *context)
{
    int64_t start = now(), measured = start + (int64_t)(seconds * 2e8);
    int64_t end = measured + (int64_t)(seconds * 1e9);
    count = 0;
    for (int64_t at = start; at < end || count < 4; start = at) {
        once(context);
        at = now();
        if (at >= measured && count < MOST_SAMPLES)
            samples[count++] = (double)(at - start) / 1000;
    }
}

static inline pthread_t start_thread(void *(*body)(void *), void *context)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, body, context) == 0);
    return thread;
}

/* Measures a row and tells what it found: each program's own. */
static void measure(const char *row);

int main(int argc, char **argv)
{
    seconds = argc > 1 ? atof(argv[1]) : 0.5;
    samples = malloc(MOST_SAMPLES * sizeof *samples);
    check(samples != NULL);
    for (int i = 2; i < argc; i++)
        measure(argv[i]);
    return 0;
}

#endif
