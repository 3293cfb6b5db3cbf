/* offers.c - C functions that Python calls. Each runs in the thread of the plug-in that calls it. */
#include "offers.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void offers_log(const char *plugin, const char *text, size_t size)
{
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t line = end != NULL ? (size_t)(end - text) : size;
        fprintf(stderr, "mill: %s: %.*s\n", plugin, (int)line,
                text); /* one call: lines of others do not get into it */
        text += line;
        size -= line;
        if (size > 0) {
            text++;
            size--;
        }
    }
}

/* register(name, help): there is a command now, which is the calling plug-in's. */
static lace_value *offer_register(lace_call *call, void *context)
{
    struct offers *offers = context;
    const char *name, *help;
    size_t plugin = 0;
    if (lace_value_unpack(lace_call_args(call), "(ss)", &name, &help) != LACE_OK)
        return lace_call_fail(call, "TypeError", "register(name, help) takes two str");
    while (plugin < offers->count && strcmp(offers->plugins[plugin], lace_call_worker(call)) != 0)
        plugin++;
    if (plugin == offers->count)
        return lace_call_fail(call, "RuntimeError", "register() is for plug-ins");
    switch (registry_add(&offers->registry, name, help, plugin)) {
    case REGISTRY_DONE:
        return lace_value_none();
    case REGISTRY_TAKEN:
        return lace_call_fail(call, "ValueError", "there is a command '%s' already", name);
    default:
        return lace_call_fail(call, "MemoryError", "no memory for a command");
    }
}

/* log(text) */
static lace_value *offer_log(lace_call *call, void *context)
{
    const char *text;
    size_t size;
    (void)context;
    if (lace_value_unpack(lace_call_args(call), "(s#)", &text, &size) != LACE_OK)
        return lace_call_fail(call, "TypeError", "log(text) takes a str");
    offers_log(lace_call_worker(call), text, size);
    return lace_value_none();
}

/* measure(text) -> {'words': int, 'bytes': int}. Meanwhile other plug-ins run Python, and so may other threads of this
 * one: the interpreter's lock is not held here. */
static lace_value *offer_measure(lace_call *call, void *context)
{
    const char *text;
    size_t size;
    int64_t words = 0;
    (void)context;
    if (lace_value_unpack(lace_call_args(call), "(s#)", &text, &size) != LACE_OK)
        return lace_call_fail(call, "TypeError", "measure(text) takes a str");
    for (size_t i = 0; i < size; i++)
        if (!isspace((unsigned char)text[i]) && (i == 0 || isspace((unsigned char)text[i - 1])))
            words++;
    return lace_value_build("{s:l, s:l}", "words", words, "bytes", (int64_t)size);
}

lace_status offers_export(lace_host *host, struct offers *offers)
{
    lace_status status = lace_export(host, "register", offer_register, offers, 0);
    if (status == LACE_OK)
        status = lace_export(host, "log", offer_log, NULL, 0);
    if (status == LACE_OK)
        status = lace_export(host, "measure", offer_measure, NULL, 0);
    return status;
}
