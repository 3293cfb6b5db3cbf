/* stage.c - the words of a stage: '-n 4 parse.py --strict'. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

bool lace_parse_seconds(const char *text, double *ret_seconds)
{
    char *end;
    errno = 0;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !isfinite(seconds) || seconds <= 0)
        return false;
    *ret_seconds = seconds;
    return true;
}

bool lace_parse_isolation(const char *text, const char *where, lace_isolation *ret_isolation)
{
    static const char *const kinds[] = {"interpreter", "process", "auto"};
    for (int kind = 0; kind < 3; kind++) {
        if (strcmp(text, kinds[kind]) == 0) {
            *ret_isolation = (lace_isolation)kind;
            return true;
        }
    }
    lace_complain("%s: --isolation is interpreter, process or auto, not '%s'", where, text);
    return false;
}

static bool parse_replicas(const char *text, unsigned *ret_replicas)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || n < 1 || n > LACE_MAX_WORKERS)
        return false;
    *ret_replicas = (unsigned)n;
    return true;
}

static bool add_python_option(lace_python_options *options, int letter, const char *value)
{
    size_t *count = letter == 'X' ? &options->x_count : &options->w_count;
    if (*count == LACE_MOST_OPTIONS)
        return false;
    (letter == 'X' ? options->x : options->w)[(*count)++] = value;
    return true;
}

lace_parsed lace_stage_parse(int count, char **words, const char *where, lace_stage *ret_stage,
                             lace_command_options *options)
{
    enum { TAG = 256, GRACE, ISOLATION };
    static const struct option long_options[] = {
        {"workers", required_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},
        {"isolation", required_argument, NULL, ISOLATION},
        {"tag", no_argument, NULL, TAG},
        {"grace", required_argument, NULL, GRACE},
        LACE_TELL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    lace_stage stage = {.kind = LACE_STAGE_SCRIPT, .replicas = 1};
    optind = 0; /* glibc: start afresh */
    opterr = 0;
    int letter;
    while (stage.target == NULL && (letter = getopt_long(count, words, "+:n:m:c:hX:W:", long_options, NULL)) != -1) {
        const char *word = words[optind - 1];
        if (letter == 'h')
            return LACE_PARSED_HELP;
        if ((letter == TAG || letter == GRACE || letter == 'X' || letter == 'W' || lace_tell_is(letter)) &&
            options == NULL) {
            lace_complain("%s: %s belongs before the first stage", where, word);
            return LACE_PARSED_WRONG;
        }
        if (lace_tell_is(letter)) {
            if (!lace_tell_take(&options->tell, letter, optarg, where))
                return LACE_PARSED_WRONG;
            continue;
        }
        switch (letter) {
        case 'n':
            if (!parse_replicas(optarg, &stage.replicas)) {
                lace_complain("%s: -n takes a number of workers from 1 to %d, not '%s'", where, LACE_MAX_WORKERS,
                              optarg);
                return LACE_PARSED_WRONG;
            }
            break;
        case 'm':
        case 'c':
            stage.kind = letter == 'm' ? LACE_STAGE_MODULE : LACE_STAGE_CODE;
            stage.target = optarg; /* what follows is the target's, as with python */
            break;
        case 'X':
        case 'W':
            if (!add_python_option(&options->python, letter, optarg)) {
                lace_complain("%s: -%c may be given %d times at most", where, letter, LACE_MOST_OPTIONS);
                return LACE_PARSED_WRONG;
            }
            break;
        case TAG:
            options->tag = true;
            break;
        case GRACE:
            if (!lace_parse_seconds(optarg, &options->grace)) {
                lace_complain("%s: --grace takes a number of seconds above 0, not '%s'", where, optarg);
                return LACE_PARSED_WRONG;
            }
            break;
        case ISOLATION:
            if (!lace_parse_isolation(optarg, where, &stage.isolation))
                return LACE_PARSED_WRONG;
            stage.isolated = true;
            break;
        case ':':
            lace_complain("%s: %s needs a value", where, word);
            return LACE_PARSED_WRONG;
        default:
            lace_complain("%s: unknown option %s (try interlace run --help)", where, word);
            return LACE_PARSED_WRONG;
        }
    }
    if (stage.target == NULL)
        stage.target = optind < count ? words[optind++] : NULL;
    if (stage.target == NULL) {
        lace_complain("%s: a script is missing (or -m MODULE, or -c CODE)", where);
        return LACE_PARSED_WRONG;
    }
    stage.args = words + optind;
    *ret_stage = stage;
    return LACE_PARSED;
}

bool lace_stage_check(const lace_stage *stage, const char *where)
{
    if (stage->kind != LACE_STAGE_SCRIPT || strcmp(stage->target, "-") == 0)
        return true;
    int fd = open(stage->target, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        lace_complain("%s: cannot open '%s': %s", where, stage->target, strerror(errno));
        return false;
    }
    close(fd);
    return true;
}
