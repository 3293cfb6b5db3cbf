/* value_attached.c - what a message has beside its bytes, and the functions by which its pickle names that.
 *
 * Those functions are known by name, and what they do is done here: nothing is called. Attachments stay where they
 * are until the whole message has been read: a message that is refused is as it was. */
#include "value_reader.h"

#include <string.h>

enum function { ATTACH, BUFFER, REBUILD, ENCODE, BYTES, BYTEARRAY };

static const struct known {
    const char *module, *name;
    enum function function;
} functions[] = {
    {"_interlace", "_attach", ATTACH},          /* codec.c: an end */
    {"_interlace", "_buffer", BUFFER},          /* codec.c: interlace.Buffer */
    {"interlace._buffers", "rebuild", REBUILD}, /* _buffers.py: memoryview */
    {"_codecs", "encode", ENCODE},              /* pickle: bytes before protocol 3 */
    {"builtins", "bytes", BYTES},               /* and empty bytes */
    {"__builtin__", "bytes", BYTES},
    {"builtins", "bytearray", BYTEARRAY}, /* before protocol 5 */
    {"__builtin__", "bytearray", BYTEARRAY},
};

/* ---- attachments ---------------------------------------------------------------------------------------- */

lace_attachment_kind lace_source_kind(const lace_source *from, size_t index)
{
    if (index >= from->count || from->named[index])
        return LACE_ATTACH_NONE;
    return from->message ? lace_message_kind(from->message, index) : from->payload->attachments[index].kind;
}

/* Takes the value, which has one handle, and notes that its attachment is to be taken. */
static lace_status push_pending(lace_reader *r, lace_value *value, size_t index)
{
    if (value == NULL)
        return lace_value_no_memory();
    if (r->pending_count == r->pending_room &&
        !lace_value_grow(&r->pending, &r->pending_room, sizeof *r->pending, NULL)) {
        lace_value_destroy(value);
        return lace_value_no_memory();
    }
    lace_reader_share(value);
    r->pending[r->pending_count++] = value;
    r->from->named[index] = true;
    return lace_reader_push(r, value);
}

static lace_status end_of(lace_reader *r, const lace_value *number)
{
    int64_t index;
    lace_attachment_kind kind = LACE_ATTACH_NONE;
    if (lace_value_get_int(number, &index) == LACE_OK && index >= 0 && (uint64_t)index < r->from->count)
        kind = lace_source_kind(r->from, (size_t)index + r->from->first);
    if (kind != LACE_ATTACH_SENDER && kind != LACE_ATTACH_RECEIVER)
        return lace_object(LACE_NOT_PLAIN, "the message names an end that does not travel with it");
    unsigned type = kind == LACE_ATTACH_SENDER ? LACE_TYPE_SENDER : LACE_TYPE_RECEIVER;
    struct lace_carried *carried = lace_value_make(sizeof *carried, type, 0);
    if (carried != NULL) {
        carried->end = NULL;
        carried->index = (size_t)index + r->from->first;
    }
    return push_pending(r, (lace_value *)carried, (size_t)index + r->from->first);
}

/* The next out-of-band buffer. */
lace_status lace_reader_next_buffer(lace_reader *r)
{
    lace_source *from = r->from;
    while (from->next < from->count && lace_source_kind(from, from->next) != LACE_ATTACH_BLOCK)
        from->next++;
    if (from->next >= from->count || from->letters_read == from->letter_count)
        return lace_object(LACE_NOT_PLAIN, "the message names a buffer that does not travel with it");
    struct lace_laid *laid = lace_value_make(sizeof *laid, LACE_TYPE_BYTES, LACE_VALUE_LAID | LACE_VALUE_OUT_OF_BAND);
    if (laid != NULL) {
        laid->block = NULL;
        laid->data = NULL;
        laid->size = 0;
        laid->index = from->next;
        atomic_init(&laid->readonly, from->letters[from->letters_read++] == 'r');
    }
    return push_pending(r, (lace_value *)laid, from->next++);
}

lace_status lace_reader_readonly_buffer(lace_reader *r)
{
    lace_status status = lace_reader_need(r, 1);
    if (status != LACE_OK)
        return status;
    lace_value *value = r->stack[r->stack_count - 1];
    if (value->type != LACE_TYPE_BYTES)
        return lace_reader_malformed(r, "what is to be read-only is no buffer");
    if (value->flags & LACE_VALUE_OUT_OF_BAND)
        atomic_store_explicit(&((struct lace_laid *)value)->readonly, true, memory_order_relaxed);
    return LACE_OK;
}

lace_status lace_reader_take_attachments(lace_reader *r)
{
    lace_source *from = r->from;
    for (size_t i = 0; i < r->pending_count; i++) {
        lace_value *value = r->pending[i];
        struct lace_carried *carried = (struct lace_carried *)value;
        struct lace_laid *laid = (struct lace_laid *)value;
        size_t index = value->type == LACE_TYPE_BYTES ? laid->index : carried->index;
        lace_attachment taken;
        if (from->message != NULL) {
            lace_status status = lace_message_take(from->message, index, &taken);
            if (status != LACE_OK)
                return lace_object(status, "an end or block of the message: %s", lace_strerror(status));
        } else {
            taken = from->payload->attachments[index];
        }
        if (value->type == LACE_TYPE_BYTES) {
            laid->block = taken.as.block;
            laid->data = lace_block_data(taken.as.block);
            laid->size = lace_block_size(taken.as.block);
        } else if (value->type == LACE_TYPE_SENDER) {
            carried->end = taken.as.sender;
        } else {
            carried->end = taken.as.receiver;
        }
    }
    return LACE_OK;
}

/* ---- functions ------------------------------------------------------------------------------------------ */

static bool text_is(const lace_value *value, const char *wanted)
{
    const struct lace_text *given = (const struct lace_text *)value;
    return value->type == LACE_TYPE_STR && given->size == strlen(wanted) &&
           memcmp(given->bytes, wanted, given->size) == 0;
}

/* Takes nothing: both are texts. */
static lace_status push_function(lace_reader *r, const lace_value *module, const lace_value *name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (text_is(module, functions[i].module) && text_is(name, functions[i].name)) {
            struct lace_number *made = lace_value_make(sizeof *made, LACE_TYPE_FUNCTION, 0);
            if (made != NULL)
                made->as.integer = functions[i].function;
            return lace_reader_push(r, (lace_value *)made);
        }
    }
    if (module->type != LACE_TYPE_STR || name->type != LACE_TYPE_STR)
        return lace_reader_malformed(r, "a name is no str");
    return lace_object(LACE_NOT_PLAIN, "%.100s.%.100s is no plain value",
                                (const char *)((const struct lace_text *)module)->bytes,
                                (const char *)((const struct lace_text *)name)->bytes);
}

lace_status lace_reader_stack_global(lace_reader *r)
{
    lace_status status = lace_reader_need(r, 2);
    if (status != LACE_OK)
        return status;
    lace_value *name = r->stack[--r->stack_count], *module = r->stack[--r->stack_count];
    status = push_function(r, module, name);
    lace_value_destroy(module);
    lace_value_destroy(name);
    return status;
}

/* A text of characters below 256 as bytes, one each. */
static lace_status push_latin(lace_reader *r, const lace_value *value)
{
    const struct lace_text *given = (const struct lace_text *)value;
    struct lace_text *made = lace_text_make(given->size, LACE_TYPE_BYTES, 0);
    if (made == NULL)
        return lace_value_no_memory();
    size_t size = 0;
    for (size_t i = 0; i < given->size; i++) {
        unsigned char c = given->bytes[i];
        if (c > 0xc3) {
            free(made);
            return lace_reader_malformed(r, "a character is no byte");
        }
        if (c >= 0xc2)
            c = (unsigned char)(c << 6 | (given->bytes[++i] & 0x3f));
        made->bytes[size++] = c;
    }
    made->size = size;
    made->bytes[size] = '\0';
    return lace_reader_push(r, &made->value);
}

/* Pushes what the function makes of its arguments. */
static lace_status call(lace_reader *r, int64_t function, const lace_value *arguments)
{
    size_t count = lace_value_size(arguments);
    lace_value *first = (lace_value *)lace_value_at(arguments, 0),
               *second = (lace_value *)lace_value_at(arguments, 1);
    bool latin = count == 2 && first->type == LACE_TYPE_STR &&
                 (text_is(second, "latin1") || text_is(second, "latin-1"));
    switch (function) {
    case ATTACH:
        if (count == 1)
            return end_of(r, first);
        break;
    case BUFFER:
    case REBUILD: /* with a format and a shape, which bytes do not have */
        if (count == (function == BUFFER ? 1 : 3) && first->flags & LACE_VALUE_OUT_OF_BAND)
            return lace_reader_share(first) ? lace_reader_push(r, first) : lace_value_no_memory();
        break;
    case BYTEARRAY:
        if (count == 1 && first->type == LACE_TYPE_BYTES && (first->flags & LACE_VALUE_OUT_OF_BAND) == 0)
            return lace_reader_share(first) ? lace_reader_push(r, first) : lace_value_no_memory();
        /* fall through */
    case ENCODE:
        if (latin)
            return push_latin(r, first);
        /* fall through */
    default:
        if (count == 0 && function != ENCODE)
            return lace_reader_push(r, lace_value_bytes(NULL, 0));
        break;
    }
    return lace_reader_malformed(r, "a function has the wrong arguments");
}

lace_status lace_reader_reduce(lace_reader *r)
{
    lace_status status = lace_reader_need(r, 2);
    if (status != LACE_OK)
        return status;
    lace_value *arguments = r->stack[--r->stack_count], *function = r->stack[--r->stack_count];
    if (function->type == LACE_TYPE_FUNCTION && arguments->type == LACE_TYPE_TUPLE)
        status = call(r, ((struct lace_number *)function)->as.integer, arguments);
    else
        status = lace_reader_malformed(r, "something is called that is no function");
    lace_value_destroy(arguments);
    lace_value_destroy(function);
    return status;
}
