/* map.c - interlace map: its words. The work is done in Python, by a worker that runs python/interlace/_map.py. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

static const char usage[] =
    "Usage: interlace map [OPTION...] MODULE:FUNCTION\n"
    "       interlace map [OPTION...] FILE.py:FUNCTION\n"
    "       interlace map [OPTION...] -c EXPRESSION\n"
    "\n"
    "Calls the function with each line of standard input, in several interpreters at once, and writes str(result) as\n"
    "a line to standard output, in the order of the input. None writes nothing. In an EXPRESSION, `line` is the line,\n"
    "or whatever --in makes of it. What the function prints goes to standard error.\n"
    "\n"
    "Options:\n"
    "  -n, --workers N     this many interpreters; by default one for each CPU this process may use\n"
    "      --in FORMAT     lines (a str without its newline), json (one document a line), csv (a list of str),\n"
    "                      null (a str; each ends with a NUL)\n"
    "      --out FORMAT    lines (str(result)) or json (one document a line)\n"
    "      --unordered     write results as they come\n"
    "      --batch K       hand out K items at a time; by default as many as take some 20 ms\n"
    "      --import M,...  modules that EXPRESSION uses\n"
    "      --retries K     call the function up to K times more with an item that failed\n"
    "      --timeout S     interrupt an item that takes more than S seconds: it has failed\n"
    "      --keep-going    go on after an item has failed; the exit status is 1 at the end\n"
    "      --joblog FILE   note there what is done\n"
    "      --resume        go on where the run of that FILE ended, however it ended; write with >> to the same output\n"
    "      --progress      show what is done, the rate and each worker's load on standard error, if it is a terminal\n"
    "      --grace S       let cancelled workers end for S seconds, 5 by default, before leaving without them\n"
    LACE_TELL_USAGE
    "  -h, --help          this text\n"
    "\n"
    "Examples:\n"
    "  interlace map -n 4 --in json clean.py:clean < rows.jsonl > clean.jsonl\n"
    "  find . -name '*.gz' -print0 | interlace map --in null --import gzip -c 'len(gzip.open(line).read())'\n"
    "\n"
    "Exit status: 0 all well, 1 an item failed, 2 wrong usage, 130 interrupted, 143 terminated.\n";

enum { IN = 256, OUT, UNORDERED, BATCH, IMPORT, RETRIES, TIMEOUT, KEEP_GOING, JOBLOG, RESUME, PROGRESS, GRACE };

static const struct option long_options[] = {
    {"workers", required_argument, NULL, 'n'},
    {"in", required_argument, NULL, IN},
    {"out", required_argument, NULL, OUT},
    {"unordered", no_argument, NULL, UNORDERED},
    {"batch", required_argument, NULL, BATCH},
    {"import", required_argument, NULL, IMPORT},
    {"retries", required_argument, NULL, RETRIES},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"keep-going", no_argument, NULL, KEEP_GOING},
    {"joblog", required_argument, NULL, JOBLOG},
    {"resume", no_argument, NULL, RESUME},
    {"progress", no_argument, NULL, PROGRESS},
    {"grace", required_argument, NULL, GRACE},
    LACE_TELL_OPTIONS,
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* An option that takes one of a few words, or a number, which Python reads again. */
static const struct value {
    int letter;
    const char *word;     /* its name as Python gets it */
    const char *choices;  /* " lines json ", or NULL: a whole number */
    const char *expected; /* for the message */
    long least, most;
} values[] = {
    {'n', "workers", NULL, "a number of workers from 1 to 10000", 1, LACE_MAX_WORKERS},
    {IN, "in", " lines json csv null ", "lines, json, csv or null", 0, 0},
    {OUT, "out", " lines json ", "lines or json", 0, 0},
    {BATCH, "batch", NULL, "a number of items from 1 to 1000000", 1, 1000000},
    {RETRIES, "retries", NULL, "a number from 0 to 1000000", 0, 1000000},
};

typedef struct map_words {
    const char *expression, *function;
    const char *joblog;
    bool resume, import;
    char **words; /* "name=value" for Python, NULL-ended */
    size_t count;
    lace_command_options options;
} map_words;

/* Adds "name=value"; there is room for as many as there were words on the command line. */
static bool add_word(map_words *map, const char *name, const char *value)
{
    char *word = NULL;
    if (asprintf(&word, "%s=%s", name, value) < 0) {
        lace_complain("out of memory");
        return false;
    }
    map->words[map->count++] = word;
    return true;
}

static bool fits(const struct value *wanted, const char *text)
{
    if (wanted->choices != NULL) {
        const char *found = text[0] != '\0' && strchr(text, ' ') == NULL ? strstr(wanted->choices, text) : NULL;
        return found != NULL && found[-1] == ' ' && found[strlen(text)] == ' ';
    }
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && n >= wanted->least && n <= wanted->most;
}

/* Takes one option in; false when it is wrong, which has been said. `word` is how it was written. */
static bool take_option(map_words *map, int letter, const char *word)
{
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (values[i].letter != letter)
            continue;
        if (fits(&values[i], optarg))
            return add_word(map, values[i].word, optarg);
        lace_complain("map: %s%s takes %s, not '%s'", letter == 'n' ? "-" : "--",
                      letter == 'n' ? "n" : values[i].word, values[i].expected, optarg);
        return false;
    }
    if (lace_tell_is(letter))
        return lace_tell_take(&map->options.tell, letter, optarg, "map");
    double seconds;
    switch (letter) {
    case 'c':
        map->expression = optarg;
        return true;
    case IMPORT:
        map->import = true;
        return add_word(map, "import", optarg);
    case UNORDERED:
        return add_word(map, "unordered", "1");
    case KEEP_GOING:
        return add_word(map, "keep_going", "1");
    case PROGRESS:
        return add_word(map, "progress", "1");
    case RESUME:
        map->resume = true;
        return add_word(map, "resume", "1");
    case JOBLOG:
        map->joblog = optarg;
        return add_word(map, "joblog", optarg);
    case TIMEOUT:
        if (lace_parse_seconds(optarg, &seconds))
            return add_word(map, "timeout", optarg);
        lace_complain("map: --timeout takes a number of seconds above 0, not '%s'", optarg);
        return false;
    case GRACE:
        if (lace_parse_seconds(optarg, &map->options.grace))
            return true;
        lace_complain("map: --grace takes a number of seconds above 0, not '%s'", optarg);
        return false;
    case ':':
        lace_complain("map: %s needs a value", word);
        return false;
    default:
        lace_complain("map: unknown option %s (try interlace map --help)", word);
        return false;
    }
}

/* Whether FUNCTION has the form of one, and its file can be opened; says so if not. */
static bool check_function(const char *function)
{
    const char *colon = strrchr(function, ':');
    if (colon == NULL || colon == function || colon[1] == '\0') {
        lace_complain("map: '%s' is not a function: it takes MODULE:FUNCTION, FILE.py:FUNCTION or -c EXPRESSION",
                      function);
        return false;
    }
    size_t length = (size_t)(colon - function);
    char *file = strndup(function, length);
    bool good = true;
    if (file != NULL && (strchr(file, '/') != NULL || (length > 3 && strcmp(file + length - 3, ".py") == 0))) {
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        good = fd >= 0;
        if (good)
            close(fd);
        else
            lace_complain("map: cannot open '%s': %s", file, strerror(errno));
    }
    free(file);
    return good;
}

/* Whether the options go together; says so if not. */
static bool check_words(const map_words *map)
{
    if (map->expression != NULL && map->function != NULL)
        lace_complain("map: -c EXPRESSION and the function '%s' exclude each other (input comes from standard input)",
                      map->function);
    else if (map->expression == NULL && map->function == NULL)
        lace_complain("map: a function is missing: MODULE:FUNCTION, FILE.py:FUNCTION or -c EXPRESSION");
    else if (map->import && map->expression == NULL)
        lace_complain("map: --import is for -c EXPRESSION: a function imports what it needs itself");
    else if (map->resume && map->joblog == NULL)
        lace_complain("map: --resume needs the --joblog FILE of the run that it goes on with");
    else if (map->joblog != NULL && map->joblog[0] == '\0')
        lace_complain("map: --joblog needs the name of a file");
    else
        return (map->function == NULL || check_function(map->function)) && lace_tell_check(&map->options.tell, "map");
    return false;
}

static lace_parsed parse(int argc, char **argv, map_words *map)
{
    optind = 0; /* glibc: start afresh */
    opterr = 0;
    int letter;
    while ((letter = getopt_long(argc, argv, ":n:c:h", long_options, NULL)) != -1) {
        if (letter == 'h')
            return LACE_PARSED_HELP;
        char dash[] = {'-', (char)optopt, '\0'};
        bool is_short = optopt > 0 && optopt < 256;
        if (!take_option(map, letter, is_short ? dash : argv[optind - 1]))
            return LACE_PARSED_WRONG;
    }
    if (optind < argc)
        map->function = argv[optind++];
    if (optind < argc && map->expression == NULL) {
        lace_complain("map: '%s' is one word too many: input comes from standard input (< FILE)", argv[optind]);
        return LACE_PARSED_WRONG;
    }
    return check_words(map) ? LACE_PARSED : LACE_PARSED_WRONG;
}

int lace_command_map(int argc, char **argv)
{
    map_words map = {.words = calloc((size_t)argc + 2, sizeof *map.words)};
    if (map.words == NULL)
        return 1;
    switch (parse(argc, argv, &map)) {
    case LACE_PARSED_HELP:
        fputs(usage, stdout);
        return 0;
    case LACE_PARSED_WRONG:
        return LACE_EXIT_USAGE;
    case LACE_PARSED:
        break;
    }
    /* The words are never freed: the stage points to them until the process ends. */
    if (map.expression != NULL && !add_word(&map, "expression", "1"))
        return 1;
    lace_stage stage = {.kind = LACE_STAGE_MAP,
                        .replicas = 1,
                        .target = map.expression != NULL ? map.expression : map.function,
                        .args = map.words};
    return lace_command_open(&map.options) ? lace_command_finish(&stage, 1, false, NULL, &map.options.tell) : 1;
}
