/* value_text.c - values for people to read, and what was wrong with one. */
#include "value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

lace_status lace_value_no_memory(void)
{
    return lace_object(LACE_NOMEM, "%s", lace_strerror(LACE_NOMEM));
}

const char *lace_type_name(unsigned type)
{
    switch (type) {
    case LACE_TYPE_NONE:
        return "None";
    case LACE_TYPE_BOOL:
        return "bool";
    case LACE_TYPE_INT:
        return "int";
    case LACE_TYPE_FLOAT:
        return "float";
    case LACE_TYPE_STR:
        return "str";
    case LACE_TYPE_BYTES:
        return "bytes";
    case LACE_TYPE_LIST:
        return "list";
    case LACE_TYPE_TUPLE:
        return "tuple";
    case LACE_TYPE_DICT:
        return "dict";
    case LACE_TYPE_SENDER:
        return "Sender";
    case LACE_TYPE_RECEIVER:
        return "Receiver";
    case LACE_TYPE_FUNCTION:
        return "function";
    default:
        return "failed";
    }
}

/* ---- values as text ------------------------------------------------------------------------------------- */

#define SHOWN_DEPTH 24 /* levels; what is deeper is "..." */

typedef struct sink {
    char *text;
    size_t size, room;
    bool full;
} sink;

static void put_text(sink *s, const char *text, size_t size)
{
    size_t fits = s->room - s->size;
    if (size > fits) {
        s->full = true;
        size = fits;
    }
    memcpy(s->text + s->size, text, size);
    s->size += size;
}

static void put(sink *s, const char *text)
{
    put_text(s, text, strlen(text));
}

static void put_float(sink *s, double number)
{
    char text[40];
    /* The fewest digits that mean this number. printf writes the locale's point. */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    bool plain = true;
    for (char *c = text; *c != '\0'; c++) {
        if (*c == ',')
            *c = '.';
        plain = plain && ((*c >= '0' && *c <= '9') || *c == '-');
    }
    put(s, text);
    if (plain)
        put(s, ".0");
}

static void put_big(sink *s, const lace_value *value)
{
    const struct lace_text *big = (const struct lace_text *)value;
    bool negative = big->bytes[big->size - 1] & 0x80;
    char digits[3];
    /* -x is ~x + 1: the lowest byte that is not 0 takes the 1, all above are turned. */
    size_t lowest = 0;
    while (lowest < big->size - 1 && big->bytes[lowest] == 0)
        lowest++;
    put(s, negative ? "-0x" : "0x");
    bool leading = true;
    for (size_t i = big->size; i > 0 && !s->full; i--) {
        unsigned byte = big->bytes[i - 1];
        if (negative && i - 1 >= lowest)
            byte = (i - 1 == lowest ? 0x100 - byte : ~byte) & 0xff;
        if (leading && byte == 0)
            continue;
        snprintf(digits, sizeof digits, leading ? "%x" : "%02x", byte);
        leading = false;
        put(s, digits);
    }
}

/* Text and bytes in quotes; of text only what cannot be seen is written as a number. */
static void put_quoted(sink *s, const unsigned char *bytes, size_t size, bool text)
{
    char escaped[8];
    put(s, text ? "'" : "b'");
    for (size_t i = 0; i < size && !s->full; i++) {
        unsigned char c = bytes[i];
        if (c == '\'' || c == '\\') {
            snprintf(escaped, sizeof escaped, "\\%c", c);
        } else if (c == '\n') {
            strcpy(escaped, "\\n");
        } else if (text && c == 0xed && i + 2 < size && bytes[i + 1] >= 0xa0) { /* a lone surrogate */
            snprintf(escaped, sizeof escaped, "\\u%04x",
                     0xd000u | (bytes[i + 1] & 0x3fu) << 6 | (bytes[i + 2] & 0x3fu));
            i += 2;
        } else if (c < ' ' || c == 0x7f || (!text && c >= 0x80)) {
            snprintf(escaped, sizeof escaped, "\\x%02x", c);
        } else {
            put_text(s, (const char *)bytes + i, 1);
            continue;
        }
        put(s, escaped);
    }
    put(s, "'");
}

static void put_end(sink *s, const lace_value *value)
{
    /* Not its name: whoever takes the end may destroy it meanwhile. */
    put(s, value->type == LACE_TYPE_SENDER ? "<Sender>" : "<Receiver>");
}

static void put_leaf(sink *s, const lace_value *value)
{
    char text[32];
    const void *data;
    size_t size;
    switch (value->type) {
    case LACE_TYPE_NONE:
        put(s, "None");
        break;
    case LACE_TYPE_BOOL:
        put(s, ((const struct lace_number *)value)->as.integer ? "True" : "False");
        break;
    case LACE_TYPE_INT:
        if (value->flags & LACE_VALUE_BIG) {
            put_big(s, value);
            break;
        }
        snprintf(text, sizeof text, "%lld", (long long)((const struct lace_number *)value)->as.integer);
        put(s, text);
        break;
    case LACE_TYPE_FLOAT:
        put_float(s, ((const struct lace_number *)value)->as.real);
        break;
    case LACE_TYPE_STR:
        put_quoted(s, ((const struct lace_text *)value)->bytes, ((const struct lace_text *)value)->size, true);
        break;
    case LACE_TYPE_BYTES:
        if (lace_value_get_bytes(value, &data, &size) == LACE_OK)
            put_quoted(s, data, size, false);
        break;
    case LACE_TYPE_SENDER:
    case LACE_TYPE_RECEIVER:
        put_end(s, value);
        break;
    default:
        put(s, "<failed>");
        break;
    }
}

/* A container of which some items have been written. */
typedef struct shown {
    const lace_value *container;
    size_t next; /* of a dict: its keys and items in turn */
} shown;

static const char *bracket(const lace_value *container, bool closing)
{
    if (container->type == LACE_TYPE_LIST)
        return closing ? "]" : "[";
    if (container->type == LACE_TYPE_DICT)
        return closing ? "}" : "{";
    return closing ? lace_value_size(container) == 1 ? ",)" : ")" : "(";
}

static void put_value(sink *s, const lace_value *value)
{
    shown open[SHOWN_DEPTH];
    size_t depth = 0;
    while (!s->full) {
        if (!lace_value_is_container(value)) {
            put_leaf(s, value);
        } else if (depth == SHOWN_DEPTH) {
            put(s, "...");
        } else {
            put(s, bracket(value, false));
            open[depth++] = (shown){value, 0};
        }
        /* What comes next, behind the containers that end here. */
        while (depth > 0 && !s->full) {
            shown *top = &open[depth - 1];
            bool dict = top->container->type == LACE_TYPE_DICT;
            size_t next = top->next++;
            if (next < lace_value_size(top->container) * (dict ? 2 : 1)) {
                if (next > 0)
                    put(s, dict && next % 2 == 1 ? ": " : ", ");
                if (dict)
                    value = next % 2 == 0 ? lace_value_key(top->container, next / 2)
                                          : lace_value_at(top->container, next / 2);
                else
                    value = lace_value_at(top->container, next);
                break;
            }
            put(s, bracket(top->container, true));
            depth--;
        }
        if (depth == 0)
            return;
    }
}

size_t lace_value_format(const lace_value *value, char *text, size_t room)
{
    if (text == NULL || room == 0)
        return 0;
    sink s = {.text = text, .room = room - 1};
    if (value == NULL)
        put(&s, "NULL");
    else
        put_value(&s, value);
    if (s.full && room > 3) { /* not in the middle of a character */
        s.size = s.room - 3;
        while (s.size > 0 && ((unsigned char)text[s.size] & 0xc0) == 0x80)
            s.size--;
        memcpy(text + s.size, "...", 3);
        s.size += 3;
    }
    text[s.size] = '\0';
    return s.size;
}
