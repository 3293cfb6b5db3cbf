/* pipe.c - interlace pipe. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static const char usage[] =
    "Usage: interlace pipe [OPTION...] 'STAGE' 'STAGE' ...\n"
    "\n"
    "Runs the stages at once, each joined to the next by a channel of objects: what a stage sends to\n"
    "interlace.output, the next one receives from interlace.input. A STAGE is the words after `interlace run`,\n"
    "quoted as one: '-n 4 parse.py --strict', '-m package.module', '-c \"import interlace; ...\"'.\n"
    "\n"
    "The first stage's input is the lines of standard input; the last stage's output writes str(object) as a line\n"
    "to standard output. A stage that ends early ends those before it quietly.\n"
    "\n"
    "Two pipelines are joined by a FIFO, a Unix socket or memory, through which objects go as between stages, sealed\n"
    "with the user's key (see `interlace key`). The one that reads a socket or memory listens there; any number may\n"
    "write to it, and when the last of them has left, the input ends. An --output waits for the other side.\n"
    "\n"
    "Options:\n"
    "      --isolation KIND\n"
    "                      where stages run that do not say it themselves: interpreter, process or auto (see run --help)\n"
    "      --input ADDR    what the first stage receives: pipe:/path/to/fifo, unix:/path/to/socket or memory:NAME\n"
    "      --output ADDR   where the last stage sends its objects, likewise\n"
    "      --key FILE      the key of these two, instead of the user's own\n"
    "      --tag           begin each line of output with the worker's name\n"
    "      --grace S       let cancelled workers end for S seconds, 5 by default, before leaving without them\n"
    LACE_TELL_USAGE
    "  -h, --help          this text\n"
    "\n"
    "Example:\n"
    "  interlace pipe 'list.py src' '-n 4 parse.py' 'table.py' | head\n"
    "  interlace pipe --output pipe:/tmp/rows 'parse.py' & interlace pipe --input pipe:/tmp/rows 'table.py'\n"
    "\n"
    "Exit status: 0 all well, 1 a worker failed, 2 wrong usage, 3 a deadlock, 130 interrupted, 143 terminated; a\n"
    "stage's own sys.exit(N) is passed on.\n";

static bool takes_value(const char *word)
{
    static const char *const words[] = {"--grace", "--input", "--output", "--key", "--isolation"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return lace_tell_takes_value(word);
}

/* How many words come before the first stage. A stage may begin with a dash, as '-n 4 x.py', but has a space then. */
static int count_own(int argc, char **argv)
{
    int own = 1;
    while (own < argc && argv[own][0] == '-' && strpbrk(argv[own], " \t\n") == NULL)
        own += takes_value(argv[own]) && own + 1 < argc ? 2 : 1;
    return own;
}

/* Reads the command's own options; returns the index of the first stage, 0 after --help, -1 when they are wrong. */
static int parse_options(int argc, char **argv, lace_command_options *options)
{
    enum { TAG = 256, GRACE, INPUT, OUTPUT, KEY, ISOLATION };
    static const struct option long_options[] = {
        {"help", no_argument, NULL, 'h'},
        {"isolation", required_argument, NULL, ISOLATION},
        {"tag", no_argument, NULL, TAG},
        {"grace", required_argument, NULL, GRACE},
        {"input", required_argument, NULL, INPUT},
        {"output", required_argument, NULL, OUTPUT},
        {"key", required_argument, NULL, KEY},
        LACE_TELL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    int own = count_own(argc, argv), letter;
    optind = 0; /* glibc: start afresh */
    opterr = 0;
    while ((letter = getopt_long(own, argv, "+:h", long_options, NULL)) != -1) {
        const char *word = argv[optind - 1];
        if (letter == 'h') {
            return 0;
        } else if (letter == TAG) {
            options->tag = true;
        } else if (letter == INPUT) {
            options->input = optarg;
        } else if (letter == OUTPUT) {
            options->output = optarg;
        } else if (letter == KEY) {
            options->key = optarg;
        } else if (lace_tell_is(letter)) {
            if (!lace_tell_take(&options->tell, letter, optarg, "pipe"))
                return -1;
        } else if (letter == GRACE) {
            if (!lace_parse_seconds(optarg, &options->grace)) {
                lace_complain("pipe: --grace takes a number of seconds above 0, not '%s'", optarg);
                return -1;
            }
        } else if (letter == ISOLATION) {
            if (!lace_parse_isolation(optarg, "pipe", &options->isolation))
                return -1;
        } else if (letter == ':') {
            lace_complain("pipe: %s needs a value", word);
            return -1;
        } else {
            lace_complain("pipe: unknown option %s; a stage's own options belong inside its quotes: '-n 4 parse.py'",
                          word);
            return -1;
        }
    }
    if (optind == argc) {
        lace_complain("pipe: a stage is missing (try interlace pipe --help)");
        return -1;
    }
    if (options->key != NULL && options->input == NULL && options->output == NULL) {
        lace_complain("pipe: --key is for --input and --output: what goes between the stages needs none");
        return -1;
    }
    if (!lace_tell_check(&options->tell, "pipe"))
        return -1;
    return optind;
}

/* Splits and reads the stages; false when one is wrong, which has been said. The words are never freed: the stages
 * point into them until the process ends. */
static bool read_stages(int count, char **texts, lace_isolation isolation, lace_stage *stages)
{
    unsigned total = 0;
    for (int s = 0; s < count; s++) {
        char where[32], *error = NULL;
        snprintf(where, sizeof where, "pipe: stage %d", s + 1);
        char **split = lace_host_split(texts[s], &error);
        int words = 0;
        while (split != NULL && split[words] != NULL)
            words++;
        char **shifted = split ? calloc((size_t)words + 2, sizeof *shifted) : NULL;
        if (shifted == NULL) {
            lace_complain("%s: %s: %s", where, texts[s], error ? error : "out of memory");
            return false;
        }
        shifted[0] = where; /* where a program's name would be */
        for (int w = 0; w < words; w++)
            shifted[w + 1] = split[w];
        lace_parsed parsed = lace_stage_parse(words + 1, shifted, where, &stages[s], NULL);
        if (parsed == LACE_PARSED_HELP)
            lace_complain("%s: --help is not for a stage (try interlace run --help)", where);
        if (parsed != LACE_PARSED || !lace_stage_check(&stages[s], where))
            return false;
        if (!stages[s].isolated)
            stages[s].isolation = isolation;
        total += stages[s].replicas;
        if (total > LACE_MAX_WORKERS) {
            lace_complain("pipe: that is more than %d workers in all", LACE_MAX_WORKERS);
            return false;
        }
    }
    return true;
}

int lace_command_pipe(int argc, char **argv)
{
    lace_command_options options = {.tell = lace_tell_preset};
    int first = parse_options(argc, argv, &options);
    if (first == 0)
        fputs(usage, stdout);
    if (first <= 0)
        return first == 0 ? 0 : LACE_EXIT_USAGE;
    int count = argc - first;
    lace_stage *stages = calloc((size_t)count, sizeof *stages);
    if (stages == NULL || !lace_command_open(&options))
        return 1;
    if (!read_stages(count, argv + first, options.isolation, stages))
        return LACE_EXIT_USAGE; /* nothing runs yet: the process may just go */
    if (options.tell.graph != NULL)
        return lace_command_draw(stages, (size_t)count, &options.tell) ? 0 : 1; /* likewise */
    lace_outside *outside = NULL;
    if (options.input != NULL || options.output != NULL) {
        int code;
        outside = lace_outside_open(&options, &code);
        if (outside == NULL) {
            int number = lace_keeper_signal();
            return number ? 128 + number : code;
        }
    }
    int status = lace_command_finish(stages, (size_t)count, true, outside, &options.tell);
    free(stages);
    return status;
}
