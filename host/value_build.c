/* value_build.c - values by a format: built, and read. Neither recurses: a format nests up to DEPTH containers. */
#include "value.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEPTH 32

/* What means nothing. */
static const char *skipped(const char *format)
{
    return format + strspn(format, " ,:\t\n");
}

/* Of ( [ {: what ends it, and its type. */
static char end_of(char bracket, lace_type *ret_type)
{
    *ret_type = bracket == '(' ? LACE_TYPE_TUPLE : bracket == '[' ? LACE_TYPE_LIST : LACE_TYPE_DICT;
    return bracket == '(' ? ')' : bracket == '[' ? ']' : '}';
}

/* ---- building ------------------------------------------------------------------------------------------- */

/* A container that is not complete. */
typedef struct level {
    lace_value *container, *key; /* of a dict whose item comes next, or NULL */
    char end;
} level;

/* Adds to the innermost container. Takes the value. */
static void add(level *top, lace_value *value)
{
    if (top->end != '}') {
        lace_value_append(top->container, value);
    } else if (top->key == NULL) {
        top->key = value;
        return;
    } else {
        lace_value_put(top->container, top->key, value);
    }
    top->key = NULL;
}

/* The value of one letter; NULL when it is none. */
static lace_value *argument(const char **format, va_list *arguments)
{
    bool sized = (*format)[1] == '#';
    const void *data;
    char letter = *(*format)++;
    if (sized && letter != 's' && letter != 'y')
        return NULL;
    *format += sized;
    switch (letter) {
    case 'n':
        return lace_value_none();
    case 'b':
        return lace_value_bool(va_arg(*arguments, int) != 0);
    case 'i':
        return lace_value_int(va_arg(*arguments, int));
    case 'l':
        return lace_value_int(va_arg(*arguments, int64_t));
    case 'u':
        return lace_value_uint(va_arg(*arguments, uint64_t));
    case 'd':
        return lace_value_float(va_arg(*arguments, double));
    case 's':
        data = va_arg(*arguments, const char *);
        if (sized)
            return lace_value_str_sized(data, va_arg(*arguments, size_t));
        return data != NULL ? lace_value_str(data) : lace_value_none();
    case 'y':
        if (!sized)
            return NULL;
        data = va_arg(*arguments, const void *);
        return lace_value_bytes(data, va_arg(*arguments, size_t));
    case 'v':
        data = va_arg(*arguments, lace_value *);
        return data != NULL ? (lace_value *)data : lace_value_share(NULL);
    default:
        return NULL;
    }
}

lace_value *lace_value_build(const char *format, ...)
{
    level open[DEPTH];
    size_t depth = 0;
    lace_value *whole = NULL;
    const char *at = format != NULL ? format : "", *wrong = NULL;
    va_list arguments;
    va_start(arguments, format);
    for (at = skipped(at); *at != '\0' && wrong == NULL; at = skipped(at)) {
        lace_value *value;
        if (whole != NULL) {
            wrong = "something behind its end";
        } else if (*at == '(' || *at == '[' || *at == '{') {
            lace_type type;
            if (depth == DEPTH) {
                wrong = "more levels than a format can have";
                break;
            }
            open[depth].end = end_of(*at++, &type);
            open[depth].key = NULL;
            open[depth++].container = type == LACE_TYPE_TUPLE  ? lace_value_tuple()
                                      : type == LACE_TYPE_LIST ? lace_value_list()
                                                               : lace_value_dict();
        } else if (depth > 0 && *at == open[depth - 1].end) {
            if (open[depth - 1].key != NULL) {
                wrong = "a key without an item";
                break;
            }
            at++;
            value = open[--depth].container;
            if (depth > 0)
                add(&open[depth - 1], value);
            else
                whole = value;
        } else {
            value = argument(&at, &arguments);
            if (value == NULL)
                wrong = "a letter that means nothing there";
            else if (depth > 0)
                add(&open[depth - 1], value);
            else
                whole = value;
        }
    }
    va_end(arguments);
    if (wrong == NULL && whole == NULL)
        wrong = depth > 0 ? "a bracket that is not closed" : "nothing in it";
    if (wrong == NULL)
        return whole;
    while (depth > 0) {
        lace_value_destroy(open[--depth].container);
        lace_value_destroy(open[depth].key);
    }
    lace_value_destroy(whole);
    return lace_value_failed(
        lace_object(LACE_INVALID, "the format \"%.100s\" has %s", format ? format : "", wrong));
}

/* ---- reading -------------------------------------------------------------------------------------------- */

/* A container that is being read. */
typedef struct place {
    const lace_value *container;
    size_t next; /* of a list or tuple */
    char end;
} place;

typedef struct reading {
    const char *format, *at;
    place open[DEPTH];
    size_t depth;
    bool storing;    /* the second pass, in which nothing can be wrong any more */
    const char *key; /* that led to the item, or NULL */
} reading;

static lace_status wrong_format(const reading *r, const char *why)
{
    return lace_object(LACE_INVALID, "the format \"%.100s\" has %s", r->format, why);
}

/* Says where, in front of what was wrong with it. */
static void at_item(const reading *r)
{
    char why[128];
    snprintf(why, sizeof why, "%.120s", lace_problem());
    if (r->key != NULL)
        lace_object(LACE_MISMATCH, "key '%.60s': %s", r->key, why);
    else if (r->depth > 0)
        lace_object(LACE_MISMATCH, "item %zu: %s", r->open[r->depth - 1].next - 1, why);
}

/* Reads one letter. */
static lace_status read_letter(reading *r, const lace_value *value, va_list *arguments)
{
    union {
        bool truth;
        int64_t integer;
        uint64_t natural;
        double real;
        const char *text;
        const void *data;
    } got;
    size_t size = 0;
    char letter = *r->at++;
    bool sized = *r->at == '#' && (letter == 's' || letter == 'y'), stores = strchr("bilusdyv", letter) != NULL;
    if (!stores && letter != 'n' && letter != '_')
        return wrong_format(r, "a letter that means nothing there");
    if (letter == 'y' && !sized)
        return wrong_format(r, "a 'y' without '#'");
    r->at += sized;
    void *to = stores ? va_arg(*arguments, void *) : NULL;
    size_t *to_size = sized ? va_arg(*arguments, size_t *) : NULL;
    if ((stores && to == NULL) || (sized && to_size == NULL))
        return lace_object(LACE_INVALID, "there is nowhere to store what '%c' reads", letter);
    lace_status status = LACE_OK;
    switch (letter) {
    case 'n':
        if (lace_value_type(value) != LACE_TYPE_NONE)
            status = lace_object(LACE_MISMATCH, "wanted None, got a value of type %s",
                                          lace_type_name(lace_value_type(value)));
        break;
    case 'b':
        status = lace_value_get_bool(value, &got.truth);
        if (r->storing)
            *(bool *)to = got.truth;
        break;
    case 'i':
        status = lace_value_get_int(value, &got.integer);
        if (status == LACE_OK && (got.integer < INT_MIN || got.integer > INT_MAX))
            status = lace_object(LACE_MISMATCH, "an int does not fit into what it is read into");
        if (r->storing)
            *(int *)to = (int)got.integer;
        break;
    case 'l':
        status = lace_value_get_int(value, &got.integer);
        if (r->storing)
            *(int64_t *)to = got.integer;
        break;
    case 'u':
        status = lace_value_get_uint(value, &got.natural);
        if (r->storing)
            *(uint64_t *)to = got.natural;
        break;
    case 'd':
        status = lace_value_get_float(value, &got.real);
        if (r->storing)
            *(double *)to = got.real;
        break;
    case 's':
        status = lace_value_get_str(value, &got.text, sized ? &size : NULL);
        if (r->storing)
            *(const char **)to = got.text;
        break;
    case 'y':
        status = lace_value_get_bytes(value, &got.data, &size);
        if (r->storing)
            *(const void **)to = got.data;
        break;
    case 'v':
        if (r->storing)
            *(const lace_value **)to = value;
        break;
    default:
        break;
    }
    if (r->storing && sized)
        *to_size = size;
    return status;
}

/* One container begins: `value` has to be it. */
static lace_status descend(reading *r, const lace_value *value)
{
    lace_type type;
    if (r->depth == DEPTH)
        return wrong_format(r, "more levels than a format can have");
    char end = end_of(*r->at++, &type);
    if (lace_value_type(value) != type)
        return lace_object(LACE_MISMATCH, "wanted a %s, got a value of type %s", lace_type_name(type),
                                    lace_type_name(lace_value_type(value)));
    r->open[r->depth++] = (place){value, 0, end};
    return LACE_OK;
}

/* The innermost container ends. */
static lace_status ascend(reading *r)
{
    place *top = &r->open[r->depth - 1];
    r->at++;
    if (top->end != '}' && top->next < lace_value_size(top->container))
        return lace_object(LACE_MISMATCH, "wanted a %s of %zu items, got one of %zu",
                                    lace_type_name(top->container->type), top->next, lace_value_size(top->container));
    r->depth--;
    return LACE_OK;
}

/* Finds what the next letter or bracket is for. */
static lace_status next_item(reading *r, va_list *arguments, const lace_value **ret_item)
{
    place *top = &r->open[r->depth - 1];
    r->key = NULL;
    if (top->end != '}') {
        *ret_item = lace_value_at(top->container, top->next++);
        if (*ret_item == NULL)
            return lace_object(LACE_MISMATCH, "wanted a %s of %zu items or more, got one of %zu",
                                        lace_type_name(top->container->type), top->next,
                                        lace_value_size(top->container));
        return LACE_OK;
    }
    if (*r->at != 's' || r->at[1] == '#')
        return wrong_format(r, "an item of a dict without the 's' of its key");
    r->at = skipped(r->at + 1);
    r->key = va_arg(*arguments, const char *);
    if (r->key == NULL)
        return lace_object(LACE_INVALID, "a key of a dict is NULL");
    *ret_item = lace_value_find(top->container, r->key);
    if (*ret_item == NULL)
        return lace_object(LACE_MISMATCH, "there is no key '%.60s'", r->key);
    return *r->at != '\0' && *r->at != '}' ? LACE_OK : wrong_format(r, "a key without an item");
}

static lace_status pass(reading *r, const lace_value *value, va_list *arguments)
{
    bool done = false;
    for (r->at = skipped(r->format); *r->at != '\0'; r->at = skipped(r->at)) {
        lace_status status = LACE_OK;
        const lace_value *item = value;
        if (done)
            return wrong_format(r, "something behind its end");
        if (r->depth > 0 && *r->at == r->open[r->depth - 1].end) {
            status = ascend(r);
        } else {
            if (r->depth > 0)
                status = next_item(r, arguments, &item);
            if (status == LACE_OK) {
                bool bracket = *r->at == '(' || *r->at == '[' || *r->at == '{';
                status = bracket ? descend(r, item) : read_letter(r, item, arguments);
                if (status == LACE_MISMATCH)
                    at_item(r);
            }
        }
        if (status != LACE_OK)
            return status;
        done = r->depth == 0;
    }
    if (!done)
        return wrong_format(r, r->depth > 0 ? "a bracket that is not closed" : "nothing in it");
    return LACE_OK;
}

lace_status lace_value_unpack(const lace_value *value, const char *format, ...)
{
    reading r = {.format = format != NULL ? format : ""};
    va_list arguments, again;
    if (lace_value_type(value) == LACE_TYPE_FAILED)
        return lace_object(LACE_MISMATCH, "there is no value to read"); /* not even for 'v' and '_' */
    va_start(arguments, format);
    va_copy(again, arguments);
    lace_status status = pass(&r, value, &arguments);
    if (status == LACE_OK) {
        r.storing = true;
        pass(&r, value, &again); /* the same steps once more */
    }
    va_end(again);
    va_end(arguments);
    return status;
}
